//! `[interfaces.NAME]`: ports and their VLANs.
//!
//! A port has a `device`; a VLAN has `parent` and `vlan` instead and shares everything of the device with its parent.

use super::device::Device;
use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, suggestion};
use super::interface_conflicts;
use super::names;
use super::section::{Item, Section};
use super::values::{self, InterfaceAddress};

/// A logical interface: a port, or one VLAN of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it stands on.
    pub attachment: Attachment,
    /// Largest IP packet, in bytes. 576..=9000; a VLAN's is at most its parent's.
    pub mtu: u16,
    /// Name of the tap that mirrors it into the kernel.
    pub tap: String,
    /// Addresses put on the tap.
    pub addresses: Vec<InterfaceAddress>,
}

/// What a logical interface stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A device of its own; carries untagged packets.
    Port(Port),
    /// The tagged packets of another interface's device.
    Vlan {
        /// Name of the interface that has the device.
        parent: String,
        /// VLAN id, 1..=4094 (IEEE 802.1Q).
        vlan: u16,
    },
}

/// A DPDK port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The device.
    pub device: Device,
    /// Kernel netdev whose carrier counts beside DPDK's link state.
    pub netdev: Option<String>,
    /// MAC address to set; `None` leaves the device's own.
    pub mac: Option<[u8; 6]>,
    /// Whether it takes frames for other MAC addresses.
    pub promiscuous: bool,
    /// Receive queues; `None`: one per worker if the device has so many.
    pub rx_queues: Option<u16>,
    /// Descriptors per receive queue. 64..=32768.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue. 64..=32768.
    pub tx_descriptors: u16,
}

/// An interface as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    pub path: String,
    pub device: Option<Device>,
    netdev: Option<String>,
    mtu: Option<u32>,
    mac: Option<[u8; 6]>,
    promiscuous: bool,
    rx_queues: Option<u32>,
    rx_descriptors: u32,
    tx_descriptors: u32,
    pub parent: Option<String>,
    pub vlan: Option<u32>,
    pub tap: Option<String>,
    pub addresses: Vec<Item<InterfaceAddress>>,
    /// Keys of a port that the file sets.
    port_keys: Vec<&'static str>,
    has_device: bool,
    has_parent: bool,
    has_vlan: bool,
}

const PORT_KEYS: [&str; 6] = [
    "netdev",
    "mac",
    "promiscuous",
    "rx-queues",
    "rx-descriptors",
    "tx-descriptors",
];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let raw = Raw {
        path: section.path().to_owned(),
        device: section.parsed("device", "PCI address or net_ virtual device", "", Device::parse),
        parent: section.parsed("parent", "interface name", "", names::reference),
        vlan: section.optional_integer("vlan", 1..=4094),
        netdev: section.parsed("netdev", "kernel interface name", "", names::ifname),
        mtu: section.optional_integer("mtu", 576..=9000),
        mac: section.parsed("mac", "MAC address", "", names::mac),
        promiscuous: section.boolean("promiscuous", false),
        rx_queues: section.integer_or_auto("rx-queues", 1..=240),
        rx_descriptors: section.integer("rx-descriptors", 64..=32_768, 1024),
        tx_descriptors: section.integer("tx-descriptors", 64..=32_768, 1024),
        tap: section.parsed("tap", "kernel interface name", "", names::ifname),
        addresses: section.list(
            "addresses",
            "addresses with prefix length",
            values::interface_address,
        ),
        port_keys: PORT_KEYS.into_iter().filter(|key| section.has(key)).collect(),
        has_device: section.has("device"),
        has_parent: section.has("parent"),
        has_vlan: section.has("vlan"),
        name,
    };
    section.finish();
    raw
}

impl Raw {
    /// Key path of one of its keys.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// The tap's name: as set, or the interface's own.
    pub fn tap(&self) -> &str {
        self.tap.as_deref().unwrap_or(&self.name)
    }

    /// The netdev whose carrier counts: as set, or the one the device takes its packets from.
    pub fn netdev(&self) -> Option<&str> {
        self.netdev
            .as_deref()
            .or_else(|| self.device.as_ref()?.kernel_netdev())
    }
}

/// Checks interfaces against each other; gives back those that can stand.
pub(super) fn validate(raws: &[Raw], d: &Diagnostics) -> Vec<Interface> {
    if raws.is_empty() {
        d.fault(
            FaultKind::Missing,
            "interfaces",
            "there is no interface",
            "add a section [interfaces.NAME] with a device",
        );
    }
    interface_conflicts::check(raws, d);
    raws.iter().filter_map(|raw| interface(raw, raws, d)).collect()
}

fn interface(raw: &Raw, raws: &[Raw], d: &Diagnostics) -> Option<Interface> {
    let parent = raw
        .parent
        .as_ref()
        .and_then(|name| raws.iter().find(|other| other.name == *name));
    let mtu = raw.mtu.or_else(|| parent?.mtu).unwrap_or(1500);
    d.effective(&raw.key("mtu"), mtu.to_string());
    d.effective(&raw.key("tap"), format!("{:?}", raw.tap()));
    let attachment = match (raw.has_device, raw.has_parent || raw.has_vlan) {
        (true, false) => port(raw, d)?,
        (false, true) => vlan(raw, parent, raws, mtu, d)?,
        (true, true) => {
            let other = if raw.has_parent { "parent" } else { "vlan" };
            let problem = format!(
                "stands beside {} (line {})",
                raw.key(other),
                d.line(&raw.key(other))
            );
            let remedy = "keep device for a port, or parent and vlan for a VLAN of another interface";
            d.fault(FaultKind::Conflict, &raw.key("device"), problem, remedy);
            return None;
        }
        (false, false) => {
            let remedy =
                "add device = \"0000:3b:00.0\" (a PCI address or a net_ virtual device), or parent and vlan";
            d.fault(
                FaultKind::Missing,
                &raw.path,
                "the interface has no device",
                remedy,
            );
            return None;
        }
    };
    Some(Interface {
        name: raw.name.clone(),
        attachment,
        mtu: mtu as u16,
        tap: raw.tap().to_owned(),
        addresses: raw.addresses.iter().map(|item| item.value).collect(),
    })
}

fn port(raw: &Raw, d: &Diagnostics) -> Option<Attachment> {
    let device = raw.device.clone()?;
    if let Err(bad) = device.check_arguments() {
        d.bad(&raw.key("device"), bad);
    }
    if let Some(doubt) = device.doubt() {
        d.warn(&raw.key("device"), doubt.problem, doubt.remedy);
    }
    if let Some(netdev) = raw.netdev() {
        d.effective(&raw.key("netdev"), format!("{netdev:?}"));
    }
    Some(Attachment::Port(Port {
        netdev: raw.netdev().map(str::to_owned),
        mac: raw.mac,
        promiscuous: raw.promiscuous,
        rx_queues: raw.rx_queues.map(|queues| queues as u16),
        rx_descriptors: raw.rx_descriptors as u16,
        tx_descriptors: raw.tx_descriptors as u16,
        device,
    }))
}

fn vlan(raw: &Raw, parent: Option<&Raw>, raws: &[Raw], mtu: u32, d: &Diagnostics) -> Option<Attachment> {
    for key in &raw.port_keys {
        let problem = "belongs to a port, and this is a VLAN";
        d.fault(
            FaultKind::Conflict,
            &raw.key(key),
            problem,
            "set it on the parent, or use device instead of parent and vlan",
        );
    }
    for (key, present, remedy) in [
        ("parent", raw.has_parent, "add parent = \"NAME\""),
        ("vlan", raw.has_vlan, "add vlan = 1..=4094"),
    ] {
        if !present {
            d.fault(
                FaultKind::Missing,
                &raw.path,
                format!("the VLAN interface has no {key}"),
                remedy,
            );
        }
    }
    let (name, vlan) = (raw.parent.as_ref()?, raw.vlan?);
    let Some(parent) = parent else {
        let names = raws
            .iter()
            .filter(|other| other.has_device)
            .map(|other| other.name.as_str());
        let problem = format!("there is no interface \"{name}\"");
        d.fault(
            FaultKind::UnknownName,
            &raw.key("parent"),
            problem,
            suggestion(name, names),
        );
        return None;
    };
    if !parent.has_device {
        let problem = format!("\"{name}\" (line {}) has no device itself", d.line(&parent.path));
        d.fault(
            FaultKind::Conflict,
            &raw.key("parent"),
            problem,
            "use an interface that has a device",
        );
    }
    let limit = parent.mtu.unwrap_or(1500);
    if mtu > limit {
        let problem = format!(
            "{mtu} is more than the {limit} of {} (line {})",
            parent.key("mtu"),
            d.line(&parent.key("mtu"))
        );
        d.fault(
            FaultKind::Conflict,
            &raw.key("mtu"),
            problem,
            format!("use at most {limit}, or raise the parent's"),
        );
    }
    Some(Attachment::Vlan {
        parent: name.clone(),
        vlan: vlan as u16,
    })
}
