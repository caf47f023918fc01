//! What a port is made of: a PCI device, or one of DPDK's virtual devices.

use super::fault::{Bad, nearest, one_of, quoted};

/// DPDK 22.11's network drivers for virtual devices; another `net_` name is only warned about.
pub(super) const VDEV_DRIVERS: [&str; 13] = [
    "net_af_packet",
    "net_af_xdp",
    "net_bonding",
    "net_failsafe",
    "net_memif",
    "net_null",
    "net_pcap",
    "net_ring",
    "net_softnic",
    "net_tap",
    "net_tun",
    "net_vhost",
    "net_virtio_user",
];

/// The device behind a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A PCI device, for EAL's `-a`.
    Pci {
        /// Domain, bus, device, function: `0000:3b:00.0`, lower case.
        address: String,
        /// Device arguments after the comma; empty for none.
        arguments: String,
    },
    /// A virtual device, for EAL's `--vdev`.
    Vdev {
        /// Driver and number, unique in the process: `net_af_xdp0`.
        name: String,
        /// Device arguments after the comma; empty for none.
        arguments: String,
    },
}

impl Device {
    /// Reads `device`.
    pub(super) fn parse(text: &str) -> Result<Self, Bad> {
        let (head, arguments) = text.split_once(',').unwrap_or((text, ""));
        let arguments = arguments.to_owned();
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Bad::new(
                format!("{} has blanks in it", quoted(text)),
                "use no blanks, as in \"net_af_xdp0,iface=eth1\"",
            ));
        }
        if head.starts_with("net_") {
            if head.len() > 4 && head.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Ok(Self::Vdev {
                    name: head.to_owned(),
                    arguments,
                });
            }
        } else if let Some(address) = pci_address(head) {
            return Ok(Self::Pci { address, arguments });
        }
        let remedy = match nearest(driver_of(head), VDEV_DRIVERS) {
            Some(driver) => format!("did you mean \"{driver}\"?"),
            None => {
                "use a PCI address like \"0000:3b:00.0\" or a virtual device like \"net_af_xdp0,iface=eth1\""
                    .into()
            }
        };
        Err(Bad::new(format!("{} is not a device", quoted(text)), remedy))
    }

    /// What EAL is told: name or address with the arguments.
    #[must_use]
    pub fn devargs(&self) -> String {
        let arguments = self.arguments();
        if arguments.is_empty() {
            self.name().to_owned()
        } else {
            format!("{},{arguments}", self.name())
        }
    }

    /// The name DPDK knows the device by: PCI address, or driver and number.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pci { address, .. } => address,
            Self::Vdev { name, .. } => name,
        }
    }

    /// The driver of a virtual device, `net_af_xdp`.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        match self {
            Self::Pci { .. } => None,
            Self::Vdev { name, .. } => Some(driver_of(name)),
        }
    }

    fn arguments(&self) -> &str {
        match self {
            Self::Pci { arguments, .. } | Self::Vdev { arguments, .. } => arguments,
        }
    }

    /// The value of a device argument, `iface` of `net_af_xdp0,iface=eth1`.
    #[must_use]
    pub fn argument(&self, key: &str) -> Option<&str> {
        let mut pairs = self
            .arguments()
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The PCI devices behind it: itself, or those that a bonding device puts together (`slave=`; `member=` since DPDK 23.11).
    #[must_use]
    pub fn pci_addresses(&self) -> Vec<String> {
        match self {
            Self::Pci { address, .. } => vec![address.clone()],
            Self::Vdev { arguments, .. } if self.driver() == Some("net_bonding") => arguments
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(name, _)| matches!(*name, "slave" | "member"))
                .filter_map(|(_, value)| pci_address(value))
                .collect(),
            Self::Vdev { .. } => Vec::new(),
        }
    }

    /// The kernel netdev a virtual device takes its packets from, or makes (net_tap).
    #[must_use]
    pub fn kernel_netdev(&self) -> Option<&str> {
        let takes_iface = matches!(
            self.driver(),
            Some("net_af_packet" | "net_af_xdp" | "net_tap" | "net_tun")
        );
        self.argument("iface").filter(|_| takes_iface)
    }

    /// What is wrong with a well-formed device that its driver would refuse at start.
    pub(super) fn check_arguments(&self) -> Result<(), Bad> {
        if matches!(self.driver(), Some("net_af_packet" | "net_af_xdp"))
            && self.argument("iface").is_none_or(str::is_empty)
        {
            let problem = format!("{} names no kernel interface", self.name());
            return Err(Bad::new(
                problem,
                format!("use \"{},iface=NETDEV\"", self.devargs()),
            ));
        }
        Ok(())
    }

    /// A doubt about the driver's name, if there is one.
    pub(super) fn doubt(&self) -> Option<Bad> {
        let driver = self.driver().filter(|driver| !VDEV_DRIVERS.contains(driver))?;
        let remedy = match nearest(driver, VDEV_DRIVERS) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known are {}", one_of(VDEV_DRIVERS)),
        };
        Some(Bad::new(
            format!("{driver} is not a driver of DPDK 22.11"),
            remedy,
        ))
    }
}

fn driver_of(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// `0000:3b:00.0` or `3b:00.0`, made lower case and complete.
fn pci_address(text: &str) -> Option<String> {
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.rsplit(':');
    let (device, bus, domain) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0000"));
    if parts.next().is_some() {
        return None;
    }
    let hex = |text: &str, digits: usize, max: u32| {
        let right = text.len() == digits && text.chars().all(|c| c.is_ascii_hexdigit());
        right && u32::from_str_radix(text, 16).is_ok_and(|number| number <= max)
    };
    (hex(domain, 4, 0xffff) && hex(bus, 2, 0xff) && hex(device, 2, 0x1f) && hex(function, 1, 7))
        .then(|| format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bonding_device_stands_for_the_devices_it_puts_together() {
        let bond =
            Device::parse("net_bonding0,mode=4,slave=3b:00.0,member=0000:3b:00.1,slave=net_ring0").unwrap();
        assert_eq!(bond.pci_addresses(), ["0000:3b:00.0", "0000:3b:00.1"]);
        assert_eq!(
            Device::parse("3b:00.0,a=b").unwrap().pci_addresses(),
            ["0000:3b:00.0"]
        );
        assert!(
            Device::parse("net_ring0,slave=3b:00.0")
                .unwrap()
                .pci_addresses()
                .is_empty()
        );
    }

    #[test]
    fn pci_addresses_are_completed() {
        let device = Device::parse("3B:00.1").unwrap();
        assert_eq!(device, Device::parse("0000:3b:00.1").unwrap());
        assert_eq!(device.devargs(), "0000:3b:00.1");
        assert_eq!(
            Device::parse("0000:3b:00.0,rxq_cqe_comp_en=0")
                .unwrap()
                .argument("rxq_cqe_comp_en"),
            Some("0")
        );
        for wrong in [
            "0000:3b:20.0",
            "0000:3b:00.8",
            "0:3b:00.0",
            "3b.0",
            "1:2:3:4.0",
            "eth0",
            "",
        ] {
            assert!(Device::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn virtual_devices_have_driver_and_netdev() {
        let device = Device::parse("net_af_xdp0,iface=eth1,queue_count=1").unwrap();
        assert_eq!(
            (device.name(), device.driver()),
            ("net_af_xdp0", Some("net_af_xdp"))
        );
        assert_eq!(device.kernel_netdev(), Some("eth1"));
        assert_eq!(device.devargs(), "net_af_xdp0,iface=eth1,queue_count=1");
        assert_eq!(
            Device::parse("net_pcap0,iface=eth1").unwrap().kernel_netdev(),
            None
        );
        assert!(
            Device::parse("net_af_packet0")
                .unwrap()
                .check_arguments()
                .is_err()
        );
        assert!(Device::parse("net_memif").unwrap().check_arguments().is_ok());
        assert!(Device::parse("net_a xdp").is_err());
    }

    #[test]
    fn misspelt_drivers_are_told() {
        let refused = Device::parse("nt_af_xdp0,iface=eth0").unwrap_err();
        assert_eq!(refused.remedy, "did you mean \"net_af_xdp\"?");
        let doubt = Device::parse("net_afxdp0,iface=eth0").unwrap().doubt().unwrap();
        assert_eq!(doubt.remedy, "did you mean \"net_af_xdp\"?");
        assert_eq!(Device::parse("net_ring0").unwrap().doubt(), None);
    }
}
