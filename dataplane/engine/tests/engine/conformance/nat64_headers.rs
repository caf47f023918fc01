//! RFC 7915 sections 4.1 and 5.1: headers. What each field becomes is checked for every packet of every NAT64 test
//! (`common/translated.rs`); here are the packets that show it.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::l4::parse_ipv4;
use tandem_wire::{Ipv6, ipv4, ipv6, parse_ipv6, tcp};

use crate::common::packets::{bytes, echo_reply, tcp as tcp4, udp, with_ttl};
use crate::common::packets6::{bytes6, echo6, tcp6, udp6, with_hop_limit};
use crate::common::plan::OUTSIDE;
use crate::common::world::{World, with_nat64};
use crate::common::{HOST_SMALL_MTU, HOST1, OUT_SMALL_MTU, OUT_TINY_MTU, OUT1, in64};

const TO: (u128, u16) = (in64(OUT1), 80);
const FROM: (u128, u16) = (HOST1, 5000);

#[test]
fn x1_traffic_class_flow_label_and_hop_limit() {
    for copied in [true, false] {
        with_nat64(
            |plan| plan.set().ipv6.copy_traffic_class = copied,
            |world| {
                for class in [0, 0xb8, 0x03, 0xff] {
                    let packet = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1)
                        .traffic_class(class)
                        .flow_label(0xf_edcb)
                        .hop_limit(9)
                        .data(b"x1");
                    let got = world.inside(bytes6(&packet));
                    let public = got.public();
                    let expect = if copied { class } else { 0 };
                    assert_eq!((got.packet[1], got.packet[8]), (expect, 8));
                    let packet = PacketBuilder::udp(OUT1, 80, public.0, public.1)
                        .tos(class)
                        .ttl(17)
                        .data(b"x1");
                    let got = world.outside(bytes(&packet));
                    let six = Ipv6::new_checked(got.forwarded()).expect("IPv6");
                    assert_eq!((six.traffic_class(), six.flow_label()), (expect, 0));
                    assert_eq!(six.hop_limit(), 16);
                }
            },
        );
    }
}

#[test]
fn x1_hop_limit_that_ends_here_is_told_in_the_senders_family() {
    with_nat64(
        |_| {},
        |world| {
            let told = (DropReason::TtlExpired, Answer::TimeExceeded);
            for hops in [0, 1] {
                let got = world.inside(with_hop_limit(udp6(FROM, TO), hops));
                assert_eq!(got.drop_answer(), told);
                // Nothing came of it.
                assert!(world.sessions().is_empty() && world.subscribers().is_empty());
            }
            let public = world.inside(udp6(FROM, TO)).public();
            for hops in [0, 1] {
                let got = world.inside(with_hop_limit(udp6(FROM, TO), hops));
                assert_eq!(got.drop_answer(), told);
                let inbound = with_ttl(udp((OUT1, 80), public), hops);
                let got = world.outside(inbound.clone());
                assert_eq!(got.drop_answer(), told);
                assert_eq!(got.packet, inbound, "quoted as it came");
            }
            world.inside(with_hop_limit(udp6(FROM, TO), 2)).forwarded();
            world.outside(with_ttl(udp((OUT1, 80), public), 2)).forwarded();
        },
    );
}

/// An IPv4 UDP datagram of so many octets in all.
fn sized(src: (u32, u16), dst: (u32, u16), total: usize, df: bool) -> Vec<u8> {
    let data = vec![0x55; total - 28];
    bytes(
        &PacketBuilder::udp(src.0, src.1, dst.0, dst.1)
            .data(&data)
            .dont_fragment(df)
            .id(0x1234),
    )
}

/// An IPv6 UDP datagram of so many octets in all.
fn sized6(src: (u128, u16), dst: (u128, u16), total: usize) -> Vec<u8> {
    let data = vec![0x55; total - 48];
    bytes6(&PacketBuilder6::udp(src.0, src.1, dst.0, dst.1).data(&data))
}

#[test]
fn x2_df_and_too_big_is_told_less_the_difference() {
    with_nat64(
        |_| {},
        |world| {
            for (host, mtu) in [(HOST1, 1500), (HOST_SMALL_MTU, 1280)] {
                let public = world.inside(udp6((host, 5000), TO)).public();
                let fits = mtu - 20;
                let got = world.outside(sized((OUT1, 80), public, fits, true));
                assert_eq!(got.forwarded().len(), mtu);
                let too_big = sized((OUT1, 80), public, fits + 1, true);
                let got = world.outside(too_big.clone());
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::MtuExceeded, Answer::FragmentationNeeded(fits as u16))
                );
                assert_eq!(got.packet, too_big);
            }
        },
    );
}

#[test]
fn x6_df_and_identification_towards_ipv4() {
    with_nat64(
        |_| {},
        |world| {
            // Up to 1260 octets over IPv4: routers may fragment it, and each packet has an identification of its own, whatever
            // way through the engine it took.
            let mut last = None;
            for n in 0..12 {
                let packet = match n % 3 {
                    0 => udp6(FROM, TO),
                    1 => echo6((HOST1, 7), TO.0),
                    _ => sized6(FROM, TO, 1280),
                };
                let got = world.inside(packet);
                let meta = parse_ipv4(got.forwarded()).expect("IPv4");
                assert!(!meta.dont_fragment);
                assert_ne!(
                    Some(meta.id),
                    last,
                    "two packets in a row with one identification"
                );
                last = Some(meta.id);
            }
            for (total, df) in [(1279, false), (1280, false), (1281, true), (1500, true)] {
                let got = world.inside(sized6(FROM, TO, total));
                let meta = parse_ipv4(got.forwarded()).expect("IPv4");
                assert_eq!(
                    (meta.dont_fragment, usize::from(meta.total_len)),
                    (df, total - 20)
                );
            }
        },
    );
}

#[test]
fn x6_extension_headers_are_skipped() {
    with_nat64(
        |_| {},
        |world| {
            let pad = [1, 4, 0, 0, 0, 0];
            // A routing header whose segments left are zero.
            let routing = [0, 0, 0, 0, 0, 0];
            let extensions: [(u8, &[u8]); 3] = [
                (ipv6::HOP_BY_HOP, &pad),
                (ipv6::ROUTING, &routing),
                (ipv6::DESTINATION, &pad),
            ];
            for count in 1..=3 {
                let udp = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).data(b"behind headers");
                let got = world.inside(bytes6(&udp.extensions(&extensions[..count])));
                assert_eq!(got.ends().1, (OUT1, 80));
                assert_eq!(got.packet.len(), 28 + 14);
                let syn = PacketBuilder6::tcp(FROM.0, FROM.1, TO.0, TO.1, tcp::SYN);
                let got = world.inside(bytes6(&syn.extensions(&extensions[..count])));
                assert_eq!(got.ends().1, (OUT1, 80));
                let echo = PacketBuilder6::echo(HOST1, TO.0, 7, 1).data(b"ping");
                let got = world.inside(bytes6(&echo.extensions(&extensions[..count])));
                assert_eq!(got.ends().1.0, OUT1);
            }
            assert_eq!(world.sessions().len(), 3);
        },
    );
}

#[test]
fn x6_segments_left_is_told_with_its_place() {
    with_nat64(
        |_| {},
        |world| {
            let pad = [1, 4, 0, 0, 0, 0];
            let routing = [2, 3, 0, 0, 0, 0];
            let first: [(u8, &[u8]); 1] = [(ipv6::ROUTING, &routing)];
            let second: [(u8, &[u8]); 2] = [(ipv6::HOP_BY_HOP, &pad), (ipv6::ROUTING, &routing)];
            for (extensions, pointer) in [(&first[..], 43), (&second[..], 51)] {
                let udp = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).extensions(extensions);
                let got = world.inside(bytes6(&udp));
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::RoutingHeader, Answer::ParameterProblem(pointer))
                );
                assert!(world.sessions().is_empty(), "it began nothing");
            }
            // Nor does a session that is there let it pass.
            world.inside(udp6(FROM, TO)).forwarded();
            let udp = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).extensions(&first);
            let got = world.inside(bytes6(&udp));
            assert_eq!(got.dropped(), DropReason::RoutingHeader);
        },
    );
}

#[test]
fn x7_too_big_for_an_ipv4_link_is_told_with_the_difference() {
    with_nat64(
        |_| {},
        |world| {
            for (to, mtu) in [(OUT1, 1500), (OUT_SMALL_MTU, 1280)] {
                let to = (in64(to), 80);
                let got = world.inside(sized6(FROM, to, mtu + 20));
                assert_eq!(got.forwarded().len(), mtu);
                let too_big = sized6(FROM, to, mtu + 21);
                let got = world.inside(too_big.clone());
                assert_eq!(
                    got.drop_answer(),
                    (
                        DropReason::MtuExceeded,
                        Answer::FragmentationNeeded(mtu as u16 + 20)
                    )
                );
                assert_eq!(got.packet, too_big);
            }
        },
    );
}

#[test]
fn x7_what_an_ipv6_host_cannot_make_smaller_is_fragmented_behind() {
    // RFC 7915 section 5.1: a link below 1260 is no IPv6 host's to know of; what goes without DF is fragmented there.
    with_nat64(
        |_| {},
        |world| {
            let to = (in64(OUT_TINY_MTU), 80);
            let got = world.inside(sized6(FROM, to, 1280));
            let meta = parse_ipv4(got.forwarded()).expect("IPv4");
            assert_eq!((meta.total_len, meta.dont_fragment), (1260, false));
            let got = world.inside(sized6(FROM, to, 1281));
            assert_eq!(
                got.drop_answer(),
                (DropReason::MtuExceeded, Answer::FragmentationNeeded(1280))
            );
        },
    );
}

#[test]
fn x5_options_are_ignored_but_an_unexpired_source_route() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(udp6(FROM, TO)).public();
            let router_alert = [0x94, 4, 0, 0];
            let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
            let expired_route = [0x83, 7, 8, 9, 9, 9, 9, 0];
            for options in [&router_alert[..], &record_route, &expired_route] {
                let packet = PacketBuilder::udp(OUT1, 80, public.0, public.1)
                    .ip_options(options)
                    .data(b"options");
                let got = world.outside(bytes(&packet));
                assert_eq!(got.ends6().1, FROM);
                assert_eq!(got.packet.len(), 48 + 7);
            }
            for kind in [0x83, 0x89] {
                let route = [kind, 7, 4, 9, 9, 9, 9, 0];
                let packet = bytes(&PacketBuilder::udp(OUT1, 80, public.0, public.1).ip_options(&route));
                let got = world.outside(packet.clone());
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::SourceRoute, Answer::Unreachable(5))
                );
                assert_eq!(got.packet, packet);
            }
        },
    );
}

#[test]
fn x4_a_fragment_header_only_for_fragments() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(udp6(FROM, TO)).public();
            for df in [true, false] {
                let packet = PacketBuilder::udp(OUT1, 80, public.0, public.1)
                    .dont_fragment(df)
                    .id(0x7777);
                let got = world.outside(bytes(&packet));
                assert_eq!(parse_ipv6(got.forwarded()).expect("IPv6").fragment_header, 0);
            }
            let first = PacketBuilder::new(OUT1, public.0, Payload::Raw { proto: ipv4::UDP });
            let mut data = [&udp((OUT1, 80), public)[20..28], &[9; 24]].concat();
            data[5] = 100;
            let got = world.outside(bytes(&first.data(&data).fragment(true, 0).id(0x7777)));
            let meta = parse_ipv6(got.forwarded()).expect("IPv6");
            assert_eq!((meta.fragment_header, meta.fragment_id), (40, 0x7777));
            assert!(meta.more_fragments && meta.fragment_offset == 0);
        },
    );
}

#[test]
fn x6_an_atomic_fragment_keeps_its_identification() {
    with_nat64(
        |_| {},
        |world| {
            let packet = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1)
                .fragment(false, 0, 0xdead_beef)
                .data(b"atomic");
            let got = world.inside(bytes6(&packet));
            let meta = parse_ipv4(got.forwarded()).expect("IPv4");
            assert_eq!(
                (meta.id, meta.dont_fragment, meta.more_fragments),
                (0xbeef, false, false)
            );
            assert_eq!(got.ends().1, (OUT1, 80));
        },
    );
}

#[test]
fn x10_answers_in_the_senders_family_and_never_about_an_error() {
    use crate::common::packets::error;
    use crate::common::packets6::error6_with;
    with_nat64(
        |_| {},
        |world| {
            let sent = world.inside(udp6(FROM, TO));
            let inbound = world.outside(udp((OUT1, 80), sent.public()));
            // Errors that end here end without a word: hop limit, no session, no counterpart.
            let expired = with_hop_limit(error6_with(HOST1, (1, 4, 0), inbound.forwarded()), 1);
            assert_eq!(world.inside(expired).drop_answer().1, Answer::None);
            let expired = with_ttl(error(OUT1, 3, 3, sent.forwarded()), 1);
            assert_eq!(world.outside(expired).drop_answer().1, Answer::None);
            let stray = udp6((in64(OUT1), 81), FROM);
            let got = world.inside(error6_with(HOST1, (1, 4, 0), &stray));
            assert_eq!(got.drop_answer(), (DropReason::IcmpErrorNoSession, Answer::None));
            let got = world.outside(error(OUT1, 4, 0, sent.forwarded()));
            assert_eq!(got.drop_answer(), (DropReason::Untranslatable, Answer::None));
            // Routes that say no are told in the sender's family.
            for (last, answer) in [
                (0, Answer::Unreachable(0)),
                (1, Answer::Unreachable(1)),
                (3, Answer::Unreachable(3)),
            ] {
                let to = in64(crate::common::ip(198, 18, last, 1));
                let got = world.inside(udp6(FROM, (to, 80)));
                assert_eq!(got.drop_answer().1, answer);
                assert_eq!(world.sessions().len(), 1);
            }
            let got = world.inside(udp6(FROM, (in64(crate::common::ip(198, 18, 2, 1)), 80)));
            assert_eq!(got.drop_answer(), (DropReason::RouteBlackhole, Answer::None));
        },
    );
}

#[test]
fn x1_every_protocol_and_both_ways_in_one_burst() {
    for seed in 0..4 {
        let mut world = World::nat64(2, |plan| plan.seed = seed);
        let out = vec![
            udp6(FROM, TO),
            tcp6(FROM, TO, tcp::SYN),
            echo6((HOST1, 7), TO.0),
            udp6(FROM, TO),
            tcp6(FROM, TO, tcp::SYN),
            echo6((HOST1, 7), TO.0),
        ];
        let got = world.burst(1, out.clone());
        for (before, after) in out.iter().zip(&got) {
            crate::common::translated::assert_translated(before, after.forwarded(), 1, true);
        }
        assert_eq!(world.sessions().len(), 3);
        let publics: Vec<_> = got.iter().take(3).map(|g| g.public()).collect();
        let back = vec![
            udp((OUT1, 80), publics[0]),
            tcp4((OUT1, 80), publics[1], tcp::SYN | tcp::ACK),
            echo_reply(OUT1, publics[2]),
        ];
        let got = world.burst(2, back.clone());
        for (before, after) in back.iter().zip(&got) {
            crate::common::translated::assert_translated(before, after.forwarded(), 1, true);
            assert_eq!(after.ends6().1.0, HOST1);
        }
    }
}

#[test]
fn x8_what_is_told_of_a_path_fits_the_links_at_hand() {
    use crate::common::packets::error;
    use crate::common::packets6::error6_with;
    // RFC 7915 section 5.2: not more than our own link to the IPv6 host takes, less the difference of the headers.
    let mut world = World::nat64(1, |_| {});
    for (host, told, mtu) in [
        (HOST1, 1400, 1380),
        (HOST1, 9000, 1480),
        (HOST_SMALL_MTU, 9000, 1260),
    ] {
        let sent = world.inside(udp6((host, 5000), TO));
        let inbound = world.outside(udp((OUT1, 80), sent.public()));
        let got = world.inside(error6_with(host, (2, 0, told), inbound.forwarded()));
        assert_eq!(got.forwarded()[20..28][6..], u16::to_be_bytes(mtu));
    }
    // Section 4.2: the IPv4 link's MTU and that difference, but the IPv6 link's if that is less.
    let to = (in64(OUT_SMALL_MTU), 80);
    let sent = world.inside(udp6(FROM, to));
    let mut needed = error(OUT1, 3, 4, sent.forwarded());
    needed[26..28].copy_from_slice(&9000_u16.to_be_bytes());
    crate::common::packets::fix_icmp_checksum(&mut needed);
    let got = world.outside(needed);
    assert_eq!(got.forwarded()[44..48], 1300_u32.to_be_bytes());
}

#[test]
fn packets_of_every_length() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(udp6((HOST1, 5000), (in64(OUT1), 80))).public();
            for length in [32_000, 32_700, 32_748, 32_768, 65_000, 65_487, 65_507] {
                let data = vec![7; length];
                for (dont_fragment, verdict) in [
                    (
                        true,
                        Verdict::Drop(DropReason::MtuExceeded, Answer::FragmentationNeeded(1480)),
                    ),
                    (false, Verdict::ForwardFragmented(1280)),
                ] {
                    let builder = PacketBuilder::udp(OUT1, 80, public.0, public.1)
                        .data(&data)
                        .dont_fragment(dont_fragment);
                    // As IPv6 the longest have no parse any more.
                    let got = world.burst(OUTSIDE, vec![bytes(&builder)]).remove(0);
                    assert_eq!(got.verdict, verdict);
                }
                if length <= 65_487 {
                    let builder = PacketBuilder6::udp(HOST1, 5000, in64(OUT1), 80).data(&data);
                    assert_eq!(
                        world.inside(bytes6(&builder)).drop_answer(),
                        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1520))
                    );
                }
            }
        },
    );
}
