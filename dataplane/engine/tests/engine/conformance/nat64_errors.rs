//! ICMP errors through NAT64 and the packets they quote: RFC 7915 sections 4.3 and 5.3, RFC 6146 section 3.5.3, RFC 5508, RFC
//! 4884.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::parse_ipv6;

use crate::common::packets::{
    bytes, echo_reply, ends, error, error_with, fix_icmp_checksum, quoted_ends, tcp, udp,
};
use crate::common::packets6::{bytes6, echo6, ends6, error6_with, quoted_ends6, syn6, tcp6, udp6};
use crate::common::world::{World, with_nat64};
use crate::common::{HOST1, HOST2, IN1, OUT_ROUTER, OUT1, OUT2, ROUTER6, in64};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

#[test]
fn x9_embedded_of_every_protocol_both_ways() {
    with_nat64(
        |_| {},
        |world| {
            for packet in [udp6(FROM, TO), syn6(FROM, TO), echo6((HOST1, 7), TO.0)] {
                let original = ends6(&packet);
                let sent = world.inside(packet);
                let got = world.outside(error_with(OUT_ROUTER, (11, 0, 0), sent.forwarded()));
                assert_eq!(quoted_ends6(got.forwarded()), original);
                // From a router inside, about what came in.
                let public = sent.public();
                let inbound = match original.0.1 {
                    7 => echo_reply(OUT1, public),
                    _ if sent.packet[9] == 6 => tcp((OUT1, 80), public, 0x12),
                    _ => udp((OUT1, 80), public),
                };
                let quoted = ends(&inbound);
                let inbound = world.outside(inbound);
                let got = world.inside(error6_with(ROUTER6, (3, 0, 0), inbound.forwarded()));
                assert_eq!(quoted_ends(got.forwarded()), quoted);
                assert_eq!(got.ends().0.0, public.0);
            }
            assert_eq!(world.sessions().len(), 3);
        },
    );
}

#[test]
fn x9_errors_about_errors_are_dropped() {
    let mut world = World::nat64(1, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    let inner = error_with(OUT_ROUTER, (3, 3, 0), sent.forwarded());
    let about_error = bytes(&PacketBuilder::icmp(OUT1, sent.public().0, 11, 0, 0).data(&inner));
    assert!(matches!(
        world.outside(about_error).verdict,
        Verdict::Drop(_, Answer::None)
    ));
    let public = sent.public();
    let inbound = world.outside(udp((OUT1, 80), public));
    let inner = error6_with(HOST1, (1, 4, 0), inbound.forwarded());
    let about_error = bytes6(&PacketBuilder6::icmp(ROUTER6, TO.0, 3, 0, 0).data(&inner));
    assert!(matches!(
        world.inside(about_error).verdict,
        Verdict::Drop(_, Answer::None)
    ));
}

#[test]
fn x9_time_to_live_of_the_quote_is_left_alone() {
    // Checked of every error by the world; here with values that would show.
    let mut world = World::nat64(1, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    for ttl in [0, 1, 255] {
        let about = crate::common::packets::with_ttl(sent.forwarded().to_vec(), ttl);
        let got = world.outside(error_with(OUT_ROUTER, (11, 0, 0), &about));
        assert_eq!(got.forwarded()[48 + 7], ttl);
        assert_eq!(got.packet[7], 63);
    }
}

#[test]
fn x9_length_of_errors_is_bounded() {
    with_nat64(
        |_| {},
        |world| {
            let data = vec![7; 1400];
            let big = PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).data(&data);
            let sent = world.inside(bytes6(&big));
            let public = sent.public();
            let got = world.outside(error_with(OUT_ROUTER, (11, 0, 0), sent.forwarded()));
            assert_eq!(got.forwarded().len(), 1280);
            assert_eq!(quoted_ends6(&got.packet), (FROM, TO));
            let big = PacketBuilder::udp(OUT1, 80, public.0, public.1).data(&data);
            let inbound = world.outside(bytes(&big));
            let got = world.inside(error6_with(HOST1, (1, 4, 0), &inbound.forwarded()[..1232]));
            assert_eq!(got.forwarded().len(), 576);
            assert_eq!(quoted_ends(&got.packet), ((OUT1, 80), public));
        },
    );
}

/// An RFC 4884 extension structure: an MPLS label stack.
const EXTENSION: [u8; 12] = [0x20, 0, 0xb2, 0x2f, 0, 8, 1, 1, 0x18, 0x6a, 0x11, 1];

#[test]
fn x9_rfc_4884_length_and_extensions() {
    with_nat64(
        |_| {},
        |world| {
            let sent = world.inside(udp6(FROM, TO));
            let public = sent.public();
            let mut quote = sent.forwarded().to_vec();
            quote.resize(128, 0);
            quote.extend_from_slice(&EXTENSION);
            let got = world.outside(bytes(
                &PacketBuilder::icmp(OUT_ROUTER, public.0, 11, 0, 32 << 16).data(&quote),
            ));
            assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO));
            // 64-bit words in the octet behind the checksum.
            let octets = 8 * usize::from(got.packet[44]);
            assert!(octets >= 128);
            assert_eq!(got.packet[48 + octets..], EXTENSION);

            let inbound = world.outside(udp((OUT1, 80), public));
            let mut quote = inbound.forwarded().to_vec();
            quote.resize(128, 0);
            quote.extend_from_slice(&EXTENSION);
            let got = world.inside(bytes6(
                &PacketBuilder6::icmp(ROUTER6, TO.0, 3, 0, 16 << 24).data(&quote),
            ));
            assert_eq!(quoted_ends(got.forwarded()), ((OUT1, 80), public));
            // 32-bit words in the second octet behind the checksum.
            let octets = 4 * usize::from(got.packet[25]);
            assert!(octets >= 128 && got.packet[24] == 0);
            assert_eq!(got.packet[28 + octets..], EXTENSION);
        },
    );
}

#[test]
fn i3_nat64_bad_checksums_are_dropped() {
    with_nat64(
        |_| {},
        |world| {
            let sent = world.inside(udp6(FROM, TO));
            let mut bad = error_with(OUT_ROUTER, (3, 3, 0), sent.forwarded());
            bad[22] ^= 0x55;
            assert_eq!(world.outside(bad).dropped(), DropReason::IcmpErrorBadChecksum);
            let mut quote = sent.forwarded().to_vec();
            quote[10] ^= 0x55;
            let got = world.outside(error(OUT_ROUTER, 3, 3, &quote));
            assert_eq!(got.dropped(), DropReason::IcmpErrorBadEmbedded);
            let inbound = world.outside(udp((OUT1, 80), sent.public()));
            let mut bad = error6_with(HOST1, (1, 4, 0), inbound.forwarded());
            bad[42] ^= 0x55;
            let got = world.inside(bad);
            assert_eq!(
                got.drop_answer(),
                (DropReason::IcmpErrorBadChecksum, Answer::None)
            );
            assert_eq!(world.sessions().len(), 1);
        },
    );
}

#[test]
fn i4_nat64_ports_behind_embedded_options_and_headers() {
    let mut world = World::nat64(1, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    let public = sent.public();
    let with_options = bytes(
        &PacketBuilder::udp(public.0, public.1, OUT1, 80)
            .ip_options(&[0x94, 4, 0, 0])
            .data(b"behind options"),
    );
    let got = world.outside(error_with(OUT_ROUTER, (11, 0, 0), &with_options));
    assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO));
    // A router inside that adds a header quotes it, too.
    let with_header = bytes6(
        &PacketBuilder6::udp(TO.0, TO.1, FROM.0, FROM.1)
            .extensions(&[(60, &[1, 4, 0, 0, 0, 0])])
            .data(b"behind a header"),
    );
    let got = world.inside(error6_with(ROUTER6, (3, 0, 0), &with_header));
    assert_eq!(quoted_ends(got.forwarded()), ((OUT1, 80), public));
}

#[test]
fn i5_nat64_embedded_l4_checksum_bad_zero_or_cut_off() {
    with_nat64(
        |_| {},
        |world| {
            let sent = world.inside(udp6(FROM, TO));
            let public = sent.public();
            let sent = sent.forwarded();
            for sum in [[0, 0], [0x12, 0x34]] {
                let mut quote = sent.to_vec();
                quote[26..28].copy_from_slice(&sum);
                let got = world.burst(2, vec![error(OUT_ROUTER, 3, 3, &quote)]).remove(0);
                assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO));
            }
            for quoted in 24..=28 {
                let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
                message.extend_from_slice(&sent[..quoted]);
                let raw = Payload::Raw { proto: 1 };
                let mut packet = bytes(&PacketBuilder::new(OUT_ROUTER, public.0, raw).data(&message));
                fix_icmp_checksum(&mut packet);
                let got = world.outside(packet);
                assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO), "quoted {quoted}");
            }
            let inbound = world.outside(udp((OUT1, 80), public));
            for quoted in 44..=48 {
                let quote = &inbound.forwarded()[..quoted];
                let got = world.inside(error6_with(HOST1, (1, 4, 0), quote));
                assert_eq!(
                    quoted_ends(got.forwarded()),
                    ((OUT1, 80), public),
                    "quoted {quoted}"
                );
            }
        },
    );
}

#[test]
fn i7_nat64_error_about_nothing_of_ours() {
    with_nat64(
        |_| {},
        |world| {
            let stray = udp((crate::common::POOL + 3, 4000), (OUT1, 80));
            let got = world.outside(error(OUT_ROUTER, 3, 3, &stray));
            assert_eq!(got.drop_answer(), (DropReason::IcmpErrorNoSession, Answer::None));
            let stray = udp6(TO, FROM);
            let got = world.inside(error6_with(HOST1, (1, 4, 0), &stray));
            assert_eq!(got.drop_answer(), (DropReason::IcmpErrorNoSession, Answer::None));
            assert!(world.sessions().is_empty() && world.subscribers().is_empty());
        },
    );
}

#[test]
fn n13_errors_make_refresh_and_end_nothing() {
    let mut world = World::nat64(1, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    let public = sent.public();
    let inbound = world.outside(udp((OUT1, 80), public));
    world.pass_seconds(299);
    for icmp_type in [3, 11, 12] {
        world
            .outside(error_with(OUT_ROUTER, (icmp_type, 0, 0), sent.forwarded()))
            .forwarded();
    }
    for icmp_type in [1, 2, 3] {
        world
            .inside(error6_with(HOST1, (icmp_type, 0, 1400), inbound.forwarded()))
            .forwarded();
    }
    let sessions = world.sessions();
    assert_eq!((sessions.len(), sessions[0].idle_s), (1, 299));
    assert_eq!((sessions[0].packets_in, sessions[0].packets_out), (1, 1));
    world.pass_seconds(3);
    assert!(world.sessions().is_empty());
    // About a connection, too.
    let sent = world.inside(syn6(FROM, TO));
    world
        .outside(error_with(OUT_ROUTER, (3, 3, 0), sent.forwarded()))
        .forwarded();
    world.outside(tcp((OUT1, 80), sent.public(), 0x12)).forwarded();
    world.inside(tcp6(FROM, TO, 0x10)).forwarded();
}

#[test]
fn n13_an_error_finds_its_mapping_when_the_session_is_gone() {
    let mut world = World::nat64(1, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    world.pass_seconds(200);
    assert_eq!(world.inside(udp6(FROM, (in64(OUT2), 80))).public(), sent.public());
    world.pass_seconds(101);
    assert_eq!(world.sessions().len(), 1);
    let got = world.outside(error_with(OUT_ROUTER, (3, 3, 0), sent.forwarded()));
    assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO));
    assert_eq!(parse_ipv6(&got.packet).expect("IPv6").dst, HOST1);
}

#[test]
fn n13_errors_come_from_anybody_on_the_path() {
    let mut world = World::nat64(2, |_| {});
    let sent = world.inside(udp6(FROM, TO));
    for router in [OUT1, OUT2, OUT_ROUTER] {
        let got = world.outside(error(router, 11, 0, sent.forwarded()));
        assert_eq!(got.ends6().0.0, in64(router));
    }
    // I8: who sends it inside is not seen outside.
    let inbound = world.outside(udp((OUT1, 80), sent.public()));
    for router in [HOST1, ROUTER6, HOST2] {
        let got = world.inside(error6_with(router, (3, 0, 0), inbound.forwarded()));
        assert_eq!(ends(got.forwarded()).0.0, sent.public().0);
    }
}

#[test]
fn errors_of_ipv4_hosts_leave_where_their_packets_do() {
    use tandem_engine::program::{
        AddressRange, Firewall, NatAction, NatTerm, PolicyAction, PolicyList, TermMatch,
    };
    // A service set that translates no IPv4 routes it, errors included.
    let mut world = World::nat64(1, |_| {});
    let came = |from: u32| udp((from, 53), (IN1, 1000));
    assert_eq!(world.inside(udp((IN1, 1000), (OUT1, 53))).verdict, Verdict::Route);
    assert_eq!(
        world.inside(error(IN1, 3, 3, &came(OUT1))).verdict,
        Verdict::Route
    );
    // But not one to another than it is about.
    let stray = bytes(&PacketBuilder::icmp(IN1, OUT2, 3, 3, 0).data(&came(OUT1)));
    assert_eq!(world.inside(stray).dropped(), DropReason::IcmpErrorNoSession);
    // With policies it is about no session.
    world.reload(|plan| {
        plan.set().firewall = Some(Firewall {
            outbound: PolicyList::plain(vec![], PolicyAction::Permit),
            inbound: PolicyList::plain(vec![], PolicyAction::Permit),
        });
    });
    let got = world.inside(error(IN1, 3, 3, &came(OUT1)));
    assert_eq!(got.dropped(), DropReason::IcmpErrorNoSession);
    // One that translates all IPv4 but that to one host.
    let mut world = World::new(1, |plan| {
        let only = AddressRange {
            first: OUT2,
            last: OUT2,
        };
        let term = NatTerm {
            name: "plain".into(),
            number: 50,
            matches: TermMatch {
                destinations: vec![only],
                ..TermMatch::default()
            },
            action: NatAction::NoTranslation,
            destination: None,
        };
        plan.set().terms.insert(0, term);
    });
    assert_eq!(
        world.inside(error(IN1, 3, 3, &came(OUT2))).verdict,
        Verdict::Route
    );
    let got = world.inside(error(IN1, 3, 3, &came(OUT1)));
    assert_eq!(got.dropped(), DropReason::IcmpErrorNoSession);
}
