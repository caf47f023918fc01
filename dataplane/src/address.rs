//! Addresses where their family does not matter: `u128` in host order, IPv4 in `::ffff:0:0/96`. RFC 4291 section 2.5.5.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address among IPv6 ones.
#[inline(always)]
#[must_use]
pub const fn neutral(address: u32) -> u128 {
    0xffff << 32 | address as u128
}

/// The IPv4 address in `::ffff:0:0/96`, if it is one.
#[inline(always)]
#[must_use]
pub const fn as_ipv4(address: u128) -> Option<u32> {
    if address >> 32 == 0xffff {
        Some(address as u32)
    } else {
        None
    }
}

/// An address of either family, for people.
#[must_use]
pub fn address_of(neutral: u128) -> IpAddr {
    match as_ipv4(neutral) {
        Some(address) => IpAddr::V4(Ipv4Addr::from_bits(address)),
        None => IpAddr::V6(Ipv6Addr::from_bits(neutral)),
    }
}

/// An address for where its family does not matter.
#[must_use]
pub fn neutral_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => neutral(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_keep_apart() {
        assert_eq!(address_of(neutral(0x0a00_0001)).to_string(), "10.0.0.1");
        assert_eq!(
            (as_ipv4(neutral(7)), as_ipv4(7), as_ipv4(1 << 127 | 0xffff << 32)),
            (Some(7), None, None)
        );
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(address_of(neutral_of(address)), address);
        }
    }
}
