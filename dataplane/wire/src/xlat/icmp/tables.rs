//! Types, codes, pointers and MTUs of ICMP errors on both sides: the tables of RFC 7915 sections 4.2 and 5.2.

use crate::{icmp, icmp6};

use crate::xlat::Options;

/// An ICMP error's header without checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// What stands behind the checksum, the length attribute of RFC 4884 left 0.
    pub word: u32,
}

/// What an IPv6 header is longer by. Octets.
const DIFFERENCE: u32 = 20;
/// The lowest MTU of an IPv6 link. RFC 8200 section 5.
const MTU6_MIN: u32 = 1280;
/// The lowest MTU of an IPv4 link. RFC 791 section 3.2.
const MTU4_MIN: u32 = 68;
/// Place of the next header field in an IPv6 header.
const NEXT_HEADER: u32 = 6;
/// Codes of a destination unreachable that only this table knows.
const CODE_TOS_NET: u8 = 11;
const CODE_TOS_HOST: u8 = 12;
const CODE_NET_PROHIBITED: u8 = 9;
const CODE_HOST_PROHIBITED: u8 = 10;
const CODE_PRECEDENCE_CUTOFF: u8 = 15;
/// ICMPv6 unreachable: beyond scope of source address.
const CODE_SCOPE: u8 = 2;
/// Parameter problem: erroneous header field, of both families.
const CODE_POINTER: u8 = 0;
/// ICMPv4 parameter problem: bad length.
const CODE_BAD_LENGTH: u8 = 2;
/// ICMPv6 parameter problem: unrecognized next header.
const CODE_NEXT_HEADER: u8 = 1;

/// The plateaus of RFC 1191 section 7.1, highest first, down to the lowest that an IPv6 host may be told.
const PLATEAUS: [u16; 7] = [65535, 32000, 17914, 8166, 4352, 2002, 1492];

/// The MTU of a router that gave none: the greatest plateau below the length of the packet it could not send; 0 when that
/// is one an IPv6 host is not told.
const fn plateau(total_len: u16) -> u32 {
    let mut at = 0;
    while at < PLATEAUS.len() {
        if PLATEAUS[at] < total_len {
            return PLATEAUS[at] as u32;
        }
        at += 1;
    }
    0
}

const fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// The MTU an IPv6 host is told: at least 1280. RFC 7915 section 4.2, type 3 code 4.
const fn mtu_to_six(told: u16, total_len: u16, options: &Options) -> u32 {
    let path = if told == 0 {
        plateau(total_len)
    } else {
        told as u32
    };
    let links = min(options.mtu6 as u32, options.mtu4 as u32 + DIFFERENCE);
    let mtu = min(path + DIFFERENCE, links);
    if mtu < MTU6_MIN { MTU6_MIN } else { mtu }
}

/// The MTU an IPv4 host is told. RFC 7915 section 5.2, type 2.
const fn mtu_to_four(told: u32, options: &Options) -> u32 {
    let links = min(
        options.mtu4 as u32,
        (options.mtu6 as u32).saturating_sub(DIFFERENCE),
    );
    let mtu = min(told.saturating_sub(DIFFERENCE), links);
    if mtu < MTU4_MIN { MTU4_MIN } else { mtu }
}

/// RFC 7915 figure 3: where a field of an IPv4 header is in an IPv6 one.
const fn pointer_to_six(pointer: u8) -> Option<u32> {
    match pointer {
        0 => Some(0),           // version
        1 => Some(1),           // type of service: traffic class
        2 | 3 => Some(4),       // total length: payload length
        8 => Some(7),           // time to live: hop limit
        9 => Some(NEXT_HEADER), // protocol
        12..=15 => Some(8),     // source address
        16..=19 => Some(24),    // destination address
        _ => None,              // identification, flags, offset, checksum, options
    }
}

/// RFC 7915 figure 6: where a field of an IPv6 header is in an IPv4 one.
const fn pointer_to_four(pointer: u32) -> Option<u32> {
    match pointer {
        0 => Some(0),           // version
        1 => Some(1),           // traffic class: type of service
        4 | 5 => Some(2),       // payload length: total length
        NEXT_HEADER => Some(9), // protocol
        7 => Some(8),           // hop limit: time to live
        8..=23 => Some(12),     // source address
        24..=39 => Some(16),    // destination address
        _ => None,              // flow label, extension headers
    }
}

/// The ICMPv6 error of an ICMPv4 one; `total_len` is what the embedded header claims. `None`: silently dropped. RFC 7915
/// section 4.2.
#[must_use]
pub const fn to_six(old: Kind, total_len: u16, options: &Options) -> Option<Kind> {
    let (icmp_type, code, word) = match old.icmp_type {
        icmp::UNREACHABLE => match old.code {
            icmp::CODE_PROTOCOL => (icmp6::PARAMETER_PROBLEM, CODE_NEXT_HEADER, NEXT_HEADER),
            icmp::CODE_PORT => (icmp6::UNREACHABLE, icmp6::CODE_PORT, 0),
            icmp::CODE_FRAG_NEEDED => {
                let mtu = mtu_to_six(old.word as u16, total_len, options);
                (icmp6::PACKET_TOO_BIG, 0, mtu)
            }
            CODE_NET_PROHIBITED
            | CODE_HOST_PROHIBITED
            | icmp::CODE_ADMIN_PROHIBITED
            | CODE_PRECEDENCE_CUTOFF => (icmp6::UNREACHABLE, icmp6::CODE_ADMIN_PROHIBITED, 0),
            // Net and host unreachable, unknown, isolated, source route failed.
            0 | 1 | 5..=8 | CODE_TOS_NET | CODE_TOS_HOST => (icmp6::UNREACHABLE, icmp6::CODE_NO_ROUTE, 0),
            // Host precedence violation, and what nobody has defined.
            _ => return None,
        },
        icmp::TIME_EXCEEDED => (icmp6::TIME_EXCEEDED, old.code, 0),
        icmp::PARAMETER_PROBLEM => match old.code {
            CODE_POINTER | CODE_BAD_LENGTH => match pointer_to_six((old.word >> 24) as u8) {
                Some(pointer) => (icmp6::PARAMETER_PROBLEM, CODE_POINTER, pointer),
                None => return None,
            },
            _ => return None,
        },
        // Redirect and source quench.
        _ => return None,
    };
    Some(Kind {
        icmp_type,
        code,
        word,
    })
}

/// The ICMPv4 error of an ICMPv6 one. `None`: silently dropped. RFC 7915 section 5.2.
#[must_use]
pub const fn to_four(old: Kind, options: &Options) -> Option<Kind> {
    let (icmp_type, code, word) = match old.icmp_type {
        icmp6::UNREACHABLE => match old.code {
            icmp6::CODE_NO_ROUTE | CODE_SCOPE | icmp6::CODE_ADDRESS => {
                (icmp::UNREACHABLE, icmp::CODE_HOST, 0)
            }
            icmp6::CODE_ADMIN_PROHIBITED => (icmp::UNREACHABLE, CODE_HOST_PROHIBITED, 0),
            icmp6::CODE_PORT => (icmp::UNREACHABLE, icmp::CODE_PORT, 0),
            _ => return None,
        },
        icmp6::PACKET_TOO_BIG => {
            let mtu = mtu_to_four(old.word, options);
            (icmp::UNREACHABLE, icmp::CODE_FRAG_NEEDED, mtu)
        }
        icmp6::TIME_EXCEEDED => (icmp::TIME_EXCEEDED, old.code, 0),
        icmp6::PARAMETER_PROBLEM => match old.code {
            CODE_POINTER => match pointer_to_four(old.word) {
                Some(pointer) => (icmp::PARAMETER_PROBLEM, CODE_POINTER, pointer << 24),
                None => return None,
            },
            CODE_NEXT_HEADER => (icmp::UNREACHABLE, icmp::CODE_PROTOCOL, 0),
            _ => return None,
        },
        _ => return None,
    };
    Some(Kind {
        icmp_type,
        code,
        word,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn kind(icmp_type: u8, code: u8, word: u32) -> Kind {
        Kind {
            icmp_type,
            code,
            word,
        }
    }

    /// (type, code, pointer or MTU) on both sides.
    fn six(icmp_type: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
        to_six(kind(icmp_type, code, word), 1500, &Options::default()).map(|k| (k.icmp_type, k.code, k.word))
    }

    fn four(icmp_type: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
        to_four(kind(icmp_type, code, word), &Options::default()).map(|k| (k.icmp_type, k.code, k.word))
    }

    #[test]
    fn every_unreachable_code_to_six() {
        let expect = [
            Some((1, 0)),
            Some((1, 0)),
            Some((4, 1)),
            Some((1, 4)),
            Some((2, 0)),
            Some((1, 0)),
            Some((1, 0)),
            Some((1, 0)),
            Some((1, 0)),
            Some((1, 1)),
            Some((1, 1)),
            Some((1, 0)),
            Some((1, 0)),
            Some((1, 1)),
            None,
            Some((1, 1)),
        ];
        for code in 0..=255u8 {
            let got = six(3, code, 1400).map(|k| (k.0, k.1));
            assert_eq!(got, expect.get(usize::from(code)).copied().flatten(), "{code}");
        }
        assert_eq!(six(3, 2, 0), Some((4, 1, 6)));
    }

    #[test]
    fn every_type_to_six() {
        assert_eq!(six(11, 0, 7), Some((3, 0, 0)));
        assert_eq!(six(11, 1, 7), Some((3, 1, 0)));
        for icmp_type in (0..=255u8).filter(|t| !matches!(t, 3 | 11 | 12)) {
            assert_eq!(six(icmp_type, 0, 0), None, "{icmp_type}");
        }
        let pointers = [
            0, 1, 4, 4, 99, 99, 99, 99, 7, 6, 99, 99, 8, 8, 8, 8, 24, 24, 24, 24,
        ];
        for pointer in 0..=255u8 {
            let to = pointers.get(usize::from(pointer)).copied().filter(|p| *p != 99);
            for code in [0, 2] {
                // What follows the pointer is a length attribute or garbage.
                let got = six(12, code, u32::from(pointer) << 24 | 0x00ab_cdef);
                assert_eq!(got, to.map(|p| (4, 0, p)), "{pointer}");
            }
            assert_eq!(six(12, 1, u32::from(pointer) << 24), None);
        }
    }

    #[test]
    fn every_type_and_code_to_four() {
        let unreachable = [
            Some((3, 1)),
            Some((3, 10)),
            Some((3, 1)),
            Some((3, 1)),
            Some((3, 3)),
        ];
        for code in 0..=255u8 {
            let expect = unreachable.get(usize::from(code)).copied().flatten();
            assert_eq!(four(1, code, 0), expect.map(|(t, c)| (t, c, 0)), "{code}");
            assert_eq!(four(3, code, 0), Some((11, code, 0)));
        }
        for icmp_type in (0..=255u8).filter(|t| !matches!(t, 1..=4)) {
            assert_eq!(four(icmp_type, 0, 0), None, "{icmp_type}");
        }
        assert_eq!(four(4, 1, 40), Some((3, 2, 0)));
        assert_eq!(four(4, 2, 40), None);
        for pointer in 0..=300 {
            let expect = match pointer {
                0 | 1 => Some(pointer),
                4 | 5 => Some(2),
                6 => Some(9),
                7 => Some(8),
                8..=23 => Some(12),
                24..=39 => Some(16),
                _ => None,
            };
            assert_eq!(four(4, 0, pointer), expect.map(|p| (12, 0, p << 24)), "{pointer}");
        }
        assert_eq!(four(4, 0, u32::MAX), None);
    }

    #[test]
    fn mtus() {
        let links = |mtu4, mtu6| Options {
            mtu4,
            mtu6,
            ..Options::default()
        };
        let to6 = |told, total_len, options| to_six(kind(3, 4, told), total_len, &options).unwrap().word;
        assert_eq!(to6(1400, 1500, links(1500, 1500)), 1420);
        assert_eq!(to6(1500, 1500, links(1500, 1500)), 1500);
        assert_eq!(to6(1500, 1500, links(1300, 1500)), 1320);
        assert_eq!(to6(1260, 1500, links(1500, 1500)), 1280);
        assert_eq!(to6(576, 1500, links(1500, 1500)), 1280);
        assert_eq!(to6(65535, 1500, links(65535, 65535)), 65535);
        // No MTU told: the plateaus. The upper half of the word is not an MTU.
        assert_eq!(to6(0xffff_0000, 65535, links(65535, 65535)), 32020);
        assert_eq!(to6(0, 4353, links(65535, 65535)), 4372);
        assert_eq!(to6(0, 4352, links(65535, 65535)), 2022);
        assert_eq!(to6(0, 1500, links(65535, 65535)), 1512);
        assert_eq!(to6(0, 1492, links(65535, 65535)), 1280);
        assert_eq!(to6(0, 0, links(65535, 65535)), 1280);
        assert_eq!(to6(0, 1500, links(1500, 1280)), 1280);
        let to4 = |told, options| to_four(kind(2, 0, told), &options).unwrap().word;
        assert_eq!(to4(1280, links(1500, 1500)), 1260);
        assert_eq!(to4(9000, links(1500, 9000)), 1500);
        assert_eq!(to4(9000, links(9000, 1500)), 1480);
        assert_eq!(to4(u32::MAX, links(65535, 65535)), 65515);
        assert_eq!(to4(0, links(1500, 1500)), 68);
    }
}
