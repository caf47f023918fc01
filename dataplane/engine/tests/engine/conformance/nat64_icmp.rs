//! RFC 7915 sections 4.2, 4.3, 5.2, 5.3 and RFC 6146 section 3.5.3: ICMP between the families. RFC 5508 where it applies.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::ipv4;

use crate::common::packets::{bytes, echo, echo_reply, ends, error_with, quoted_ends, udp};
use crate::common::packets6::{bytes6, echo_reply6, echo6, error6_with, quoted_ends6, udp6};
use crate::common::world::{Got, World, with_nat64};
use crate::common::{HOST1, HOST1B, HOST2, OUT_ROUTER, OUT1, OUT2, in64};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

/// Type, code and the word behind the checksum of an error of either family.
fn kind(got: &Got) -> (u8, u8, u32) {
    let packet = got.forwarded();
    let at = if packet[0] >> 4 == 6 { 40 } else { 20 };
    let word = u32::from_be_bytes([packet[at + 4], packet[at + 5], packet[at + 6], packet[at + 7]]);
    (packet[at], packet[at + 1], word)
}

#[test]
fn x8_every_unreachable_towards_ipv6() {
    with_nat64(
        |_| {},
        |world| {
            let sent = world.inside(udp6(FROM, TO));
            let sent = sent.forwarded();
            // RFC 7915 section 4.2.
            for (code, expect) in [
                (0, Some((1, 0, 0))),
                (1, Some((1, 0, 0))),
                (2, Some((4, 1, 6))),
                (3, Some((1, 4, 0))),
                (5, Some((1, 0, 0))),
                (6, Some((1, 0, 0))),
                (7, Some((1, 0, 0))),
                (8, Some((1, 0, 0))),
                (9, Some((1, 1, 0))),
                (10, Some((1, 1, 0))),
                (11, Some((1, 0, 0))),
                (12, Some((1, 0, 0))),
                (13, Some((1, 1, 0))),
                (14, None),
                (15, Some((1, 1, 0))),
                (16, None),
            ] {
                let got = world.outside(error_with(OUT_ROUTER, (3, code, 0), sent));
                match expect {
                    Some(expect) => {
                        assert_eq!(kind(&got), expect, "3/{code}");
                        assert_eq!(quoted_ends6(&got.packet), (FROM, TO));
                        assert_eq!(got.ends6().1.0, HOST1);
                        assert_eq!(got.ends6().0.0, in64(OUT_ROUTER));
                    }
                    None => assert_eq!(
                        got.drop_answer(),
                        (DropReason::Untranslatable, Answer::None),
                        "3/{code}"
                    ),
                }
            }
        },
    );
}

#[test]
fn x8_every_other_type_towards_ipv6() {
    let mut world = World::nat64(1, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    let sent = sent.forwarded();
    for code in [0, 1] {
        let got = world.outside(error_with(OUT_ROUTER, (11, code, 0), sent));
        assert_eq!(kind(&got), (3, code, 0));
    }
    // Parameter problem: figure 3.
    let pointers = [
        (0, 0),
        (1, 1),
        (2, 4),
        (3, 4),
        (8, 7),
        (9, 6),
        (12, 8),
        (15, 8),
        (16, 24),
        (19, 24),
    ];
    for pointer in 0..=24u8 {
        for code in [0, 2] {
            let got = world.outside(error_with(OUT_ROUTER, (12, code, u32::from(pointer) << 24), sent));
            match pointers.iter().find(|p| p.0 == pointer) {
                Some((_, to)) => assert_eq!(kind(&got), (4, 0, *to), "pointer {pointer}"),
                None if (12..=19).contains(&pointer) => {
                    let to = if pointer < 16 { 8 } else { 24 };
                    assert_eq!(kind(&got), (4, 0, to), "pointer {pointer}");
                }
                None => assert_eq!(got.dropped(), DropReason::Untranslatable, "pointer {pointer}"),
            }
        }
    }
    assert_eq!(
        world.outside(error_with(OUT_ROUTER, (12, 1, 0), sent)).dropped(),
        DropReason::Untranslatable
    );
    // Source quench and redirect have no counterpart, nor have queries other than echo.
    for icmp_type in [4, 5] {
        let got = world.outside(error_with(OUT_ROUTER, (icmp_type, 0, 0), sent));
        assert_eq!(got.drop_answer(), (DropReason::Untranslatable, Answer::None));
    }
    let public = ends(sent).0.0;
    for icmp_type in [9, 10, 13, 14, 15, 16, 17, 18, 30, 40] {
        let packet = bytes(&PacketBuilder::icmp(OUT1, public, icmp_type, 0, 0x0007_0001).data(&[0; 12]));
        let got = world.outside(packet);
        assert!(
            matches!(got.verdict, Verdict::Drop(_, Answer::None)),
            "type {icmp_type}"
        );
    }
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn x8_mtu_towards_ipv6() {
    with_nat64(
        |_| {},
        |world| {
            let data = vec![7; 1440];
            let big = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).data(&data);
            let sent = world.inside(bytes6(&big));
            let sent = sent.forwarded();
            assert_eq!(sent.len(), 1468);
            for (told, expect) in [
                (1400, 1420),
                // Not above the link of the inside.
                (1492, 1500),
                (9000, 1500),
                // Not below what every IPv6 link has.
                (1200, 1280),
                (68, 1280),
                // A router that tells none: the plateau below the packet's 1468 octets is below 1280.
                (0, 1280),
            ] {
                let got = world.outside(error_with(OUT_ROUTER, (3, 4, told), sent));
                assert_eq!(kind(&got), (2, 0, expect), "{told}");
                assert_eq!(quoted_ends6(&got.packet), (FROM, TO));
            }
        },
    );
}

#[test]
fn x8_every_type_towards_ipv4() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(udp6(FROM, TO)).public();
            let inbound = world.outside(udp((OUT1, 80), public));
            let inbound = inbound.forwarded();
            // RFC 7915 section 5.2.
            let mut rows = vec![
                (1, 0, 0, Some((3, 1, 0))),
                (1, 1, 0, Some((3, 10, 0))),
                (1, 2, 0, Some((3, 1, 0))),
                (1, 3, 0, Some((3, 1, 0))),
                (1, 4, 0, Some((3, 3, 0))),
                (1, 5, 0, None),
                (1, 6, 0, None),
                (2, 0, 1400, Some((3, 4, 1380))),
                (2, 0, 1280, Some((3, 4, 1260))),
                (2, 0, 9000, Some((3, 4, 1480))),
                (3, 0, 0, Some((11, 0, 0))),
                (3, 1, 0, Some((11, 1, 0))),
                (4, 1, 40, Some((3, 2, 0))),
                (4, 2, 40, None),
            ];
            // Figure 6.
            for (pointer, to) in [
                (0, Some(0)),
                (1, Some(1)),
                (2, None),
                (3, None),
                (4, Some(2)),
                (5, Some(2)),
                (6, Some(9)),
                (7, Some(8)),
                (8, Some(12)),
                (23, Some(12)),
                (24, Some(16)),
                (39, Some(16)),
                (40, None),
                (u32::MAX, None),
            ] {
                rows.push((4, 0, pointer, to.map(|to: u32| (12, 0, to << 24))));
            }
            for (icmp_type, code, word, expect) in rows {
                let got = world.inside(error6_with(HOST1, (icmp_type, code, word), inbound));
                match expect {
                    Some(expect) => {
                        assert_eq!(kind(&got), expect, "{icmp_type}/{code} {word}");
                        assert_eq!(quoted_ends(&got.packet), ((OUT1, 80), public));
                        assert_eq!((ends(&got.packet).0.0, ends(&got.packet).1.0), (public.0, OUT1));
                    }
                    None => assert_eq!(
                        got.drop_answer(),
                        (DropReason::Untranslatable, Answer::None),
                        "{icmp_type}/{code} {word}"
                    ),
                }
            }
        },
    );
}

#[test]
fn x8_other_icmpv6_is_dropped_without_a_word() {
    with_nat64(
        |_| {},
        |world| {
            // Multicast listener discovery, neighbour discovery, and what nobody has defined.
            for icmp_type in [130, 131, 132, 133, 134, 135, 136, 137, 143, 200, 255] {
                let packet = PacketBuilder6::icmp(HOST1, TO.0, icmp_type, 0, 0).data(&[0; 16]);
                let got = world.inside(bytes6(&packet));
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::IcmpUnsupported, Answer::None),
                    "type {icmp_type}"
                );
            }
            for icmp_type in [5, 100, 127] {
                let about = udp6(TO, FROM);
                let packet = PacketBuilder6::icmp(HOST1, TO.0, icmp_type, 0, 0).data(&about);
                let got = world.inside(bytes6(&packet));
                assert!(
                    matches!(got.verdict, Verdict::Drop(_, Answer::None)),
                    "type {icmp_type}"
                );
            }
            assert!(world.sessions().is_empty());
        },
    );
}

#[test]
fn i1_nat64_echo_passes_and_its_mapping_is_host_independent() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(echo6((HOST1, 7), TO.0)).public();
            let got = world.outside(echo_reply(OUT1, public));
            assert_eq!(got.ends6(), ((TO.0, 7), (HOST1, 7)));
            assert_eq!(world.inside(echo6((HOST1, 7), in64(OUT2))).public(), public);
            assert_ne!(world.inside(echo6((HOST1B, 7), TO.0)).public(), public);
            assert_eq!(
                world.outside(echo_reply(OUT_ROUTER, public)).dropped(),
                DropReason::Filtered
            );
            // A request from outside for somebody's identifier begins nothing; nor does a reply from inside.
            let got = world.outside(echo((OUT1, public.1 ^ 1), public.0));
            assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
            let got = world.inside(echo_reply6(HOST2, (TO.0, 9)));
            assert_eq!(got.dropped(), DropReason::IcmpUnsupported);
        },
    );
}

#[test]
fn n8_echo_identifiers_are_mapped_and_time_out() {
    let mut world = World::nat64(1, |_| {});
    let public = world.inside(echo6((HOST1, 7), TO.0)).public();
    // A pool like any other: identifiers are not UDP or TCP ports.
    world.inside(udp6((HOST1, 7), TO)).forwarded();
    assert_eq!(world.sessions().len(), 2);
    world.pass_seconds(59);
    assert_eq!(world.outside(echo_reply(OUT1, public)).ends6().1, (HOST1, 7));
    world.pass_seconds(3);
    assert_eq!(
        world.outside(echo_reply(OUT1, public)).dropped(),
        DropReason::NoMapping
    );
    let left = world.sessions();
    assert_eq!((left.len(), left[0].protocol), (1, ipv4::UDP));
    assert_eq!(world.subscribers()[0].icmp_ids, 0);
}
