//! Source addresses no packet may have on a wire: a translator drops them silently (RFC 7915 sections 4.1 and 5.1).

/// Whether a host may send from this IPv4 address: not from "this network", loopback, multicast, class E or broadcast (RFC
/// 1812 section 5.3.7). An ICMP error from such an address may still be translated, from another one (RFC 6791).
#[inline(always)]
#[must_use]
pub const fn is_legal_source4(src: u32) -> bool {
    !matches!(src >> 24, 0 | 127 | 224..=255)
}

/// Whether a host may send from this IPv6 address across a router: not from the unspecified address, loopback, a link-local
/// address, multicast (RFC 4291 section 2), or an IPv4-mapped one, which is never on a wire.
#[inline(always)]
#[must_use]
pub const fn is_legal_source6(src: u128) -> bool {
    const LINK_LOCAL: u128 = 0xfe80 >> 6;
    !(src <= 1 || src >> 120 == 0xff || src >> 118 == LINK_LOCAL || src >> 32 == 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn illegal_sources() {
        let four = |text: &str| is_legal_source4(text.parse::<Ipv4Addr>().unwrap().into());
        for illegal in [
            "0.0.0.0",
            "0.255.255.255",
            "127.0.0.1",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!four(illegal), "{illegal}");
        }
        for legal in [
            "1.0.0.0",
            "10.0.0.1",
            "126.255.255.255",
            "128.0.0.0",
            "223.255.255.255",
        ] {
            assert!(four(legal), "{legal}");
        }
        let six = |text: &str| is_legal_source6(text.parse::<Ipv6Addr>().unwrap().into());
        for illegal in ["::", "::1", "fe80::1", "febf::1", "ff02::1", "::ffff:192.0.2.1"] {
            assert!(!six(illegal), "{illegal}");
        }
        for legal in [
            "::2",
            "64:ff9b::1",
            "2001:db8::1",
            "fd00::1",
            "fec0::1",
            "fe7f::1",
            "::1:0:0",
        ] {
            assert!(six(legal), "{legal}");
        }
    }
}
