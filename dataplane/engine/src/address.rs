//! Addresses of either family in one type: a `u128`, with IPv4 under `::ffff:0:0/96` (RFC 4291 section 2.5.5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MAPPED: u128 = 0xffff << 32;

/// An IPv4 address as one of either family.
#[inline(always)]
#[must_use]
pub const fn of_v4(address: u32) -> u128 {
    MAPPED | address as u128
}

/// Whether an address is an IPv4 one.
#[inline(always)]
#[must_use]
pub const fn is_v4(address: u128) -> bool {
    address >> 32 == 0xffff
}

/// The IPv4 address, if it is one.
#[inline(always)]
#[must_use]
pub const fn v4(address: u128) -> Option<u32> {
    if is_v4(address) {
        Some(address as u32)
    } else {
        None
    }
}

/// As people write it.
#[must_use]
pub const fn show(address: u128) -> IpAddr {
    match v4(address) {
        Some(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4)),
        None => IpAddr::V6(Ipv6Addr::from_bits(address)),
    }
}

/// From what people write.
#[must_use]
pub const fn from_ip(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => of_v4(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_go_there_and_back() {
        for text in ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(show(from_ip(ip)), ip);
            assert_eq!(v4(from_ip(ip)).is_some(), ip.is_ipv4());
        }
    }
}
