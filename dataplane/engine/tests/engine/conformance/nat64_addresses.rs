//! RFC 6052: IPv4 addresses inside IPv6 ones; RFC 6146 section 3.5 and RFC 7915: which of them are refused.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{FilteringType, MappingType};
use tandem_wire::l4::parse_ipv4;

use crate::common::packets::{ends, error, udp};
use crate::common::packets6::{echo6, error6_with, quoted_ends6, syn6, udp6};
use crate::common::world::{World, with_nat64};
use crate::common::{HOST1, HOST2, IN1, OUT_ROUTER, OUT1, PREF64, in6, in64, ip};

/// 64:ff9b::/96.
const WELL_KNOWN: u128 = 0x0064_ff9b << 96;
/// An address that is global, as those of the documentation prefixes are not.
const GLOBAL: u32 = ip(9, 9, 9, 9);
/// 192.0.2.33, as in RFC 6052 section 2.4.
const V4: u32 = ip(192, 0, 2, 33);

/// RFC 6052 section 2.4, the examples of its text: length, prefix, the address with [`V4`] in it.
const EXAMPLES: [(u8, &str, &str); 6] = [
    (32, "2001:db8::", "2001:db8:c000:221::"),
    (40, "2001:db8:100::", "2001:db8:1c0:2:21::"),
    (48, "2001:db8:122::", "2001:db8:122:c000:2:2100::"),
    (56, "2001:db8:122:300::", "2001:db8:122:3c0:0:221::"),
    (64, "2001:db8:122:344::", "2001:db8:122:344:c0:2:2100::"),
    (96, "2001:db8:122:344::", "2001:db8:122:344::192.0.2.33"),
];

fn six(text: &str) -> u128 {
    text.parse::<std::net::Ipv6Addr>().expect("an address").to_bits()
}

/// A world with one prefix.
fn with_prefix(prefix: &str, length: u8) -> World {
    World::new(1, |plan| {
        plan.prefix64(1, six(prefix), length);
        plan.set().ipv6.nat64_prefixes = vec![1];
        plan.behaviour64(
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
    })
}

/// The subscriber of [`with_prefix`]: outside of every prefix of the examples, the /32 too.
const FAR_HOST: u128 = 0x2a00_0001 << 96 | 1;

#[test]
fn a1_every_prefix_length_both_ways() {
    for (length, prefix, address) in EXAMPLES {
        let mut world = with_prefix(prefix, length);
        let public = {
            let got = world.inside(udp6((FAR_HOST, 5000), (six(address), 53)));
            assert_eq!(got.ends().1, (V4, 53), "/{length}");
            got.public()
        };
        // The answer, and what somebody else sends, come from inside the prefix.
        let got = world.outside(udp((V4, 53), public));
        // The way back to the host is by the default route of the outside here: only addresses matter.
        assert_eq!(got.ends6(), ((six(address), 53), (FAR_HOST, 5000)), "/{length}");
        let got = world.outside(udp((OUT1, 9), public));
        assert_eq!(got.ends6().1, (FAR_HOST, 5000));
        assert_ne!(got.ends6().0.0, six(address));
    }
}

#[test]
fn a1_prefixes_of_several_lengths_in_one_service_set() {
    let mut world = World::new(2, |plan| {
        plan.nat64();
        plan.prefix64(2, WELL_KNOWN, 96);
        plan.prefix64(3, 0x2001_0db8_0122 << 80, 48);
        plan.prefix64(4, 0x2001_0db8_0133_0044 << 64, 64);
        plan.set().ipv6.nat64_prefixes = vec![1, 2, 3, 4];
        plan.set().ipv6.well_known_for_private = true;
    });
    let in_each = [
        in64(V4),
        WELL_KNOWN | u128::from(V4),
        six("2001:db8:122:c000:2:2100::"),
        six("2001:db8:133:44:c0:2:2100::"),
    ];
    // One inside end has one public end, whatever prefix it uses.
    let public = world.inside(udp6((HOST1, 5000), (in_each[0], 53))).public();
    for (n, address) in in_each.into_iter().enumerate() {
        let port = 100 + n as u16;
        let got = world.inside(udp6((HOST1, 5000), (address, port)));
        assert_eq!(got.ends(), (public, (V4, port)));
        assert_eq!(world.outside(udp((V4, port), public)).ends6().0, (address, port));
    }
    assert_eq!(world.mappings().len(), 1);
    // But to the same peer by two prefixes it has not: who answers could not be told apart.
    for address in in_each.into_iter().skip(1) {
        let got = world.inside(udp6((HOST1, 5000), (address, 53)));
        assert_eq!(got.drop_answer(), (DropReason::SessionConflict, Answer::None));
    }
    assert_eq!(world.outside(udp((V4, 53), public)).ends6().0, (in_each[0], 53));
    // A host that only uses another prefix is answered in that.
    for (n, address) in in_each.into_iter().enumerate() {
        let host = (HOST2, 6000 + n as u16);
        let sent = world.inside(udp6(host, (address, 53)));
        let public = sent.public();
        let got = world.outside(error(V4, 11, 0, sent.forwarded()));
        assert_eq!(got.ends6().0.0, address);
        assert_eq!(quoted_ends6(&got.packet), (host, (address, 53)));
        assert_eq!(
            world.outside(udp((V4, 53), public)).ends6(),
            ((address, 53), host)
        );
        // And so is what begins outside on its mapping.
        let got = world.outside(udp((V4, 54), public));
        assert_eq!(got.ends6(), ((address, 54), host));
    }
}

#[test]
fn a1_icmp_errors_come_in_the_prefix_that_was_used() {
    for (length, prefix, address) in EXAMPLES {
        let mut world = with_prefix(prefix, length);
        let sent = world.inside(udp6((FAR_HOST, 5000), (six(address), 53)));
        let got = world.outside(error(V4, 3, 3, sent.forwarded()));
        assert_eq!(got.ends6().0.0, six(address), "/{length}");
        assert_eq!(quoted_ends6(&got.packet), ((FAR_HOST, 5000), (six(address), 53)));
    }
}

#[test]
fn a2_bits_64_to_71_are_zero() {
    for (length, prefix, _) in EXAMPLES {
        let mut world = with_prefix(prefix, length);
        let to = ip(203, 255, 255, 255);
        // What is asked for with the bits set is the same address; what is answered has them zero.
        let address = {
            let own = with_embedded(prefix, length, to);
            let got = world.inside(udp6((FAR_HOST, 5000), (own, 53)));
            assert_eq!(got.ends().1.0, to, "/{length}");
            let public = got.public();
            world.outside(udp((to, 53), public)).ends6().0.0
        };
        if length != 96 {
            assert_eq!(address >> 56 & 0xff, 0, "/{length}");
        }
        let got = world.inside(udp6((FAR_HOST, 5001), (address | 0xff << 56, 53)));
        match length {
            // There they are the prefix's own.
            96 => assert_eq!(got.verdict, Verdict::Route),
            _ => assert_eq!(got.ends().1, (to, 53)),
        }
    }
}

/// Spelled out bit by bit, as figure 1 of RFC 6052 has it: the address with octet u left out.
fn with_embedded(prefix: &str, length: u8, v4: u32) -> u128 {
    let mut octets = six(prefix).to_be_bytes();
    let mut at = usize::from(length / 8);
    for octet in v4.to_be_bytes() {
        if at == 8 {
            at = 9;
        }
        octets[at] = octet;
        at += 1;
    }
    u128::from_be_bytes(octets)
}

#[test]
fn a3_suffix_zero_when_sent_and_ignored_when_received() {
    for (length, prefix, address) in EXAMPLES.into_iter().filter(|e| e.0 != 96) {
        let mut world = with_prefix(prefix, length);
        // Of a /64 the address ends at bit 104, of a /32 at 64 (and octet u): 24 bits are suffix in all of them.
        let suffix = 0x00ab_cdef;
        let public = {
            let got = world.inside(udp6((FAR_HOST, 5000), (six(address) | suffix, 53)));
            assert_eq!(got.ends().1, (V4, 53), "/{length}");
            got.public()
        };
        let got = world.outside(udp((V4, 53), public));
        assert_eq!(got.ends6().0, (six(address), 53), "/{length}");
        // Both spellings are one session.
        world
            .inside(udp6((FAR_HOST, 5000), (six(address), 53)))
            .forwarded();
        assert_eq!(world.sessions().len(), 1);
    }
}

#[test]
fn a4_well_known_prefix_is_for_global_addresses() {
    let private = [
        ip(10, 1, 2, 3),
        ip(172, 16, 0, 1),
        ip(192, 168, 1, 1),
        ip(100, 64, 0, 1),
        ip(169, 254, 1, 1),
        ip(192, 0, 2, 1),
        ip(198, 18, 5, 5),
        ip(198, 51, 100, 1),
        ip(203, 0, 113, 200),
    ];
    for allowed in [false, true] {
        let mut world = World::nat64(1, |plan| {
            plan.prefix64(2, WELL_KNOWN, 96);
            plan.set().ipv6.nat64_prefixes = vec![1, 2];
            plan.set().ipv6.well_known_for_private = allowed;
        });
        let got = world.inside(udp6((HOST1, 5000), (WELL_KNOWN | u128::from(GLOBAL), 53)));
        assert_eq!(got.ends().1, (GLOBAL, 53));
        for v4 in private {
            let got = world.inside(udp6((HOST1, 5000), (WELL_KNOWN | u128::from(v4), 53)));
            if allowed {
                assert_ne!(reason(&got.verdict), Some(DropReason::Nat64NonGlobal), "{v4:x}");
            } else {
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::Nat64NonGlobal, Answer::None),
                    "{v4:x}"
                );
            }
        }
        // A prefix of the operator's own stands for any.
        let got = world.inside(udp6((HOST1, 5000), (in64(V4), 53)));
        assert_eq!(got.ends().1, (V4, 53));
    }
}

fn reason(verdict: &Verdict) -> Option<DropReason> {
    match verdict {
        Verdict::Drop(reason, _) => Some(*reason),
        _ => None,
    }
}

#[test]
fn a4_well_known_prefix_stands_for_no_private_source_either() {
    // RFC 6052 section 3.1: "MUST NOT translate packets in which an address is composed of the Well-Known Prefix and a
    // non-global IPv4 address", so from outside neither.
    for allowed in [false, true] {
        let mut world = World::new(1, |plan| {
            plan.nat64();
            plan.prefix64(2, WELL_KNOWN, 96);
            plan.set().ipv6.nat64_prefixes = vec![2];
            plan.set().ipv6.well_known_for_private = allowed;
        });
        let to = WELL_KNOWN | u128::from(GLOBAL);
        let public = world.inside(udp6((HOST1, 5000), (to, 53))).public();
        assert_eq!(world.outside(udp((GLOBAL, 53), public)).ends6().0.0, to);
        let got = world.outside(udp((ip(192, 168, 1, 1), 53), public));
        if allowed {
            got.forwarded();
        } else {
            assert_eq!(got.drop_answer(), (DropReason::Nat64NonGlobal, Answer::None));
            assert_eq!(world.sessions().len(), 1);
        }
    }
}

#[test]
fn x12_illegal_destinations_are_dropped() {
    with_nat64(
        |_| {},
        |world| {
            for v4 in [
                ip(0, 0, 0, 0),
                ip(0, 1, 2, 3),
                ip(127, 0, 0, 1),
                ip(224, 0, 0, 1),
                ip(239, 255, 0, 1),
                ip(240, 0, 0, 1),
                ip(255, 255, 255, 255),
            ] {
                for packet in [
                    udp6((HOST1, 5000), (in64(v4), 53)),
                    syn6((HOST1, 5000), (in64(v4), 53)),
                    echo6((HOST1, 7), in64(v4)),
                ] {
                    let got = world.inside(packet);
                    assert_eq!(
                        got.drop_answer(),
                        (DropReason::Nat64IllegalAddress, Answer::None),
                        "{v4:x}"
                    );
                }
            }
            assert!(world.sessions().is_empty() && world.subscribers().is_empty());
        },
    );
}

#[test]
fn x12_errors_of_routers_without_an_address_come_from_its_public_one() {
    // RFC 6791: an IPv6 router has no IPv4 address; here its errors come from the public one of the session.
    let mut world = World::nat64(1, |_| {});
    let public = world.inside(udp6((HOST1, 5000), (in64(OUT1), 80))).public();
    let inbound = world.outside(udp((OUT1, 80), public));
    for router in [in6(0, 77), 0xfe80 << 112 | 1] {
        let got = world.inside(error6_with(router, (3, 0, 0), inbound.forwarded()));
        assert_eq!(
            (ends(got.forwarded()).0.0, ends(&got.packet).1.0),
            (public.0, OUT1)
        );
    }
    // A router outside with a private address is seen in the prefix, so that traceroute shows it.
    let sent = world.inside(udp6((HOST1, 5000), (in64(OUT1), 80)));
    let got = world.outside(error(ip(10, 1, 1, 1), 11, 0, sent.forwarded()));
    assert_eq!(got.ends6().0.0, in64(ip(10, 1, 1, 1)));
}

#[test]
fn n10_a_source_inside_a_prefix_is_a_loop() {
    with_nat64(
        |plan| {
            plan.prefix64(2, 0x2001_0db8_0122 << 80, 48);
            plan.set().ipv6.nat64_prefixes = vec![1, 2];
        },
        |world| {
            for source in [in64(OUT1), PREF64 | 1 << 31, 0x2001_0db8_0122_1234 << 64 | 99] {
                for packet in [
                    udp6((source, 5000), (in64(OUT1), 53)),
                    syn6((source, 5000), (in64(OUT1), 53)),
                    echo6((source, 7), in64(OUT1)),
                ] {
                    let got = world.inside(packet);
                    assert_eq!(got.drop_answer(), (DropReason::Nat64SourceInPrefix, Answer::None));
                }
            }
            assert!(world.sessions().is_empty());
        },
    );
}

#[test]
fn n10_what_is_not_for_a_prefix_is_routed() {
    let mut world = World::nat64(1, |_| {});
    for to in [PREF64 | 1 << 32, in6(0, 55), 0x2001_4860 << 96] {
        let got = world.inside(udp6((HOST1, 5000), (to, 53)));
        assert_eq!(got.verdict, Verdict::Route);
    }
    // And from outside nobody reaches anything by a prefix.
    let got = world.one(2, udp6((in6(0, 1), 9), (in64(OUT_ROUTER), 53)));
    assert_eq!(got.verdict, Verdict::Route);
    // IPv4 from inside is no business of a service set that has NAT64 terms only.
    assert_eq!(world.inside(udp((IN1, 5000), (OUT1, 53))).verdict, Verdict::Route);
    assert!(parse_ipv4(&udp((IN1, 5000), (OUT1, 53))).is_ok() && world.sessions().is_empty());
}
