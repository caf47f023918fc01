//! The numbers of the network in the configuration: addresses, prefixes, address ranges, ports, protocols.
//!
//! Each parser takes the text of one value and says what would be right when it refuses it.

use std::net::{IpAddr, Ipv4Addr};

use tandem_engine::program::{AddressRange, PortRange};

use super::fault::{Bad, quoted};

/// An address with the prefix length of its subnet, as it is put on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address itself.
    pub address: IpAddr,
    /// Prefix length of its subnet, 0..=32 or 0..=128.
    pub prefix_length: u8,
}

impl std::fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

impl InterfaceAddress {
    /// The IPv4 subnet as a range of addresses; `None` for IPv6.
    #[must_use]
    pub fn subnet(&self) -> Option<AddressRange> {
        match self.address {
            IpAddr::V4(address) => Some(span_of(address, u32::from(self.prefix_length))),
            IpAddr::V6(_) => None,
        }
    }

    /// Whether `other` is in its subnet. Never one of the other family.
    #[must_use]
    pub fn covers(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix_length)).unwrap_or(0);
                own.to_bits() | hosts == other.to_bits() | hosts
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let hosts = u128::MAX.checked_shr(u32::from(self.prefix_length)).unwrap_or(0);
                own.to_bits() | hosts == other.to_bits() | hosts
            }
            _ => false,
        }
    }

    /// The IPv4 address alone as a range; `None` for IPv6.
    #[must_use]
    pub fn host(&self) -> Option<AddressRange> {
        match self.address {
            IpAddr::V4(address) => Some(AddressRange {
                first: address.to_bits(),
                last: address.to_bits(),
            }),
            IpAddr::V6(_) => None,
        }
    }
}

fn span_of(address: Ipv4Addr, length: u32) -> AddressRange {
    let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
    AddressRange {
        first: address.to_bits() & !hosts,
        last: address.to_bits() | hosts,
    }
}

/// `203.0.113.0-203.0.113.15`, or the address alone when it is one.
pub(super) fn show_range(range: AddressRange) -> String {
    let (first, last) = (Ipv4Addr::from_bits(range.first), Ipv4Addr::from_bits(range.last));
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

pub(super) fn ipv4(text: &str) -> Result<Ipv4Addr, Bad> {
    let text = text.trim();
    text.parse().map_err(|_| {
        if text.contains(':') {
            Bad::new(
                format!("{} is not an IPv4 address", quoted(text)),
                "use an IPv4 address: only IPv4 stands here",
            )
        } else {
            Bad::new(
                format!("{} is not an IPv4 address", quoted(text)),
                "use four numbers 0..=255, like \"203.0.113.1\"",
            )
        }
    })
}

fn split_prefix<'t>(text: &'t str, example: &str) -> Result<(&'t str, &'t str), Bad> {
    text.split_once('/').ok_or_else(|| {
        let remedy = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => format!("use \"{text}/32\" for the address alone"),
            Ok(IpAddr::V6(_)) => format!("use \"{text}/128\" for the address alone"),
            Err(_) => format!("use a prefix like \"{example}\""),
        };
        Bad::new(format!("{} has no prefix length", quoted(text)), remedy)
    })
}

fn length(text: &str, max: u8) -> Result<u8, Bad> {
    let number = text
        .parse::<u8>()
        .ok()
        .filter(|length| *length <= max && !text.starts_with('+'));
    number.ok_or_else(|| {
        Bad::new(
            format!("{} is not a prefix length", quoted(text)),
            format!("use 0..={max} after the slash"),
        )
    })
}

/// An IPv4 prefix without host bits.
pub(super) fn ipv4_prefix(text: &str) -> Result<AddressRange, Bad> {
    let (address, bits) = split_prefix(text, "203.0.113.0/28")?;
    let address = ipv4(address)?;
    let bits = length(bits, 32)?;
    let range = span_of(address, u32::from(bits));
    if range.first == address.to_bits() {
        return Ok(range);
    }
    let network = Ipv4Addr::from_bits(range.first);
    Err(Bad::new(
        format!("{} has host bits set", quoted(text)),
        format!("use \"{network}/{bits}\", or \"{address}/32\" for the address alone"),
    ))
}

/// An inclusive IPv4 range, `a-b`.
pub(super) fn ipv4_range(text: &str) -> Result<AddressRange, Bad> {
    let (first, last) = text.split_once('-').ok_or_else(|| {
        Bad::new(
            format!("{} is not a range", quoted(text)),
            "use \"first-last\", like \"203.0.113.20-203.0.113.27\"",
        )
    })?;
    let (first, last) = (ipv4(first)?, ipv4(last)?);
    if first > last {
        return Err(Bad::new(
            format!("{} is inverted", quoted(text)),
            format!("use \"{last}-{first}\""),
        ));
    }
    Ok(AddressRange {
        first: first.to_bits(),
        last: last.to_bits(),
    })
}

/// Refuses a range that touches addresses no pool can have: this network, loopback, multicast and reserved space.
pub(super) fn usable_as_public(range: AddressRange) -> Result<AddressRange, Bad> {
    const UNUSABLE: [(u32, u32, &str); 3] = [
        (0x0000_0000, 0x00ff_ffff, "0.0.0.0/8, \"this network\" (RFC 1122)"),
        (0x7f00_0000, 0x7fff_ffff, "127.0.0.0/8, loopback (RFC 1122)"),
        (
            0xe000_0000,
            0xffff_ffff,
            "224.0.0.0/3, multicast and reserved space (RFC 5771, RFC 1112)",
        ),
    ];
    match UNUSABLE
        .iter()
        .find(|(first, last, _)| range.first <= *last && *first <= range.last)
    {
        Some((_, _, what)) => Err(Bad::new(
            format!("{} touches {what}", show_range(range)),
            "use unicast addresses that are routed to this system",
        )),
        None => Ok(range),
    }
}

/// An address on an interface, `192.0.2.1/24` or `2001:db8::1/64`.
pub(super) fn interface_address(text: &str) -> Result<InterfaceAddress, Bad> {
    let (address, bits) = split_prefix(text, "192.0.2.1/24")?;
    let Ok(address) = address.parse::<IpAddr>() else {
        let remedy = "use an address and prefix length, like \"192.0.2.1/24\" or \"2001:db8::1/64\"";
        return Err(Bad::new(
            format!("{} is not an IP address", quoted(address)),
            remedy,
        ));
    };
    let bits = length(bits, if address.is_ipv4() { 32 } else { 128 })?;
    let found = InterfaceAddress {
        address,
        prefix_length: bits,
    };
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
        return Err(Bad::new(
            format!("{found} cannot be on an interface"),
            "use a unicast address other than loopback",
        ));
    }
    if let (IpAddr::V4(v4), Some(subnet), true) = (address, found.subnet(), bits < 31)
        && (v4.to_bits() == subnet.first || v4.to_bits() == subnet.last)
    {
        let (first, last) = (
            Ipv4Addr::from_bits(subnet.first + 1),
            Ipv4Addr::from_bits(subnet.last - 1),
        );
        return Err(Bad::new(
            format!("{found} is the network or broadcast address of its subnet"),
            format!("use one of {first}-{last}"),
        ));
    }
    Ok(found)
}

/// An inclusive port range, `1024-65535`, or one port; never port 0.
pub(super) fn port_range(text: &str) -> Result<PortRange, Bad> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let text = text.trim();
        text.parse::<u16>()
            .ok()
            .filter(|port| *port >= 1 && !text.starts_with('+'))
            .ok_or_else(|| {
                Bad::new(
                    format!("{} is not a port", quoted(text)),
                    "use ports 1..=65535, like \"1024-65535\"",
                )
            })
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(Bad::new(
            format!("{} is inverted", quoted(text)),
            format!("use \"{last}-{first}\""),
        ));
    }
    Ok(PortRange { first, last })
}

/// An IP protocol: a name or a number.
pub(super) fn protocol(text: &str) -> Result<u8, Bad> {
    match text {
        "icmp" => Ok(1),
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "gre" => Ok(47),
        "esp" => Ok(50),
        "ah" => Ok(51),
        "icmp6" => Ok(58),
        "sctp" => Ok(132),
        _ => text.parse().map_err(|_| {
            let remedy = "use \"tcp\", \"udp\", \"icmp\", \"icmp6\", \"sctp\", \"gre\", \"esp\", \"ah\" or a number 0..=255";
            Bad::new(format!("{} is not an IP protocol", quoted(text)), remedy)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: [u8; 4], last: [u8; 4]) -> AddressRange {
        AddressRange {
            first: u32::from_be_bytes(first),
            last: u32::from_be_bytes(last),
        }
    }

    #[test]
    fn prefixes_and_ranges() {
        assert_eq!(ipv4_prefix("0.0.0.0/0"), Ok(range([0; 4], [255; 4])));
        assert_eq!(
            ipv4_prefix("203.0.113.7/32"),
            Ok(range([203, 0, 113, 7], [203, 0, 113, 7]))
        );
        assert_eq!(
            ipv4_prefix("100.64.0.0/10"),
            Ok(range([100, 64, 0, 0], [100, 127, 255, 255]))
        );
        for wrong in [
            "1.2.3.4/33",
            "1.2.3/24",
            "1.2.3.4/+8",
            "1.2.3.4/",
            "/8",
            "01.2.3.4/32",
            "::/0",
            "1.2.3.4",
        ] {
            assert!(ipv4_prefix(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            ipv4_range("10.0.0.1 - 10.0.0.9"),
            Ok(range([10, 0, 0, 1], [10, 0, 0, 9]))
        );
        assert_eq!(
            ipv4_range("10.0.0.9-10.0.0.1").unwrap_err().remedy,
            "use \"10.0.0.1-10.0.0.9\""
        );
        assert!(usable_as_public(range([126, 255, 255, 255], [127, 0, 0, 0])).is_err());
        assert!(usable_as_public(range([1, 0, 0, 0], [126, 255, 255, 255])).is_ok());
        assert!(usable_as_public(range([223, 255, 255, 255], [224, 0, 0, 0])).is_err());
    }

    #[test]
    fn addresses_on_interfaces() {
        let address = interface_address("192.0.2.1/24").unwrap();
        assert_eq!(address.subnet(), Some(range([192, 0, 2, 0], [192, 0, 2, 255])));
        assert_eq!(address.host(), Some(range([192, 0, 2, 1], [192, 0, 2, 1])));
        let covers = |own: &str, other: &str| {
            let own = interface_address(own).unwrap();
            own.covers(other.parse().unwrap())
        };
        assert!(covers("192.0.2.1/24", "192.0.2.255") && !covers("192.0.2.1/24", "192.0.3.0"));
        assert!(covers("192.0.2.1/32", "192.0.2.1") && !covers("192.0.2.1/32", "192.0.2.0"));
        assert!(covers("2001:db8::1/64", "2001:db8::ffff") && !covers("2001:db8::1/64", "2001:db8:0:1::"));
        assert!(!covers("192.0.2.1/24", "::1") && !covers("2001:db8::1/64", "192.0.2.1"));
        assert!(interface_address("192.0.2.0/31").is_ok(), "RFC 3021");
        assert!(interface_address("192.0.2.0/32").is_ok());
        assert!(interface_address("2001:db8::/64").is_ok());
        for wrong in [
            "192.0.2.0/24",
            "192.0.2.255/24",
            "224.0.0.1/24",
            "127.0.0.1/8",
            "::/0",
            "2001:db8::1/129",
            "x/1",
        ] {
            assert!(interface_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_and_protocols() {
        assert_eq!(port_range("53"), Ok(PortRange { first: 53, last: 53 }));
        assert_eq!(
            port_range("1-65535"),
            Ok(PortRange {
                first: 1,
                last: 65_535
            })
        );
        for wrong in ["0", "65536", "9-1", "-", "", "+1-2", "1-2-3", "0-1023"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
        assert_eq!((protocol("tcp"), protocol("255")), (Ok(6), Ok(255)));
        assert!(protocol("256").is_err() && protocol("TCP").is_err());
    }
}
