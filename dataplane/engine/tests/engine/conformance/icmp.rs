//! RFC 5508: ICMP.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::RefusalAnswer;
use tandem_wire::build::{PacketBuilder, Payload};

use crate::common::packets::{
    bytes, echo, echo_reply, ends, error, fix_icmp_checksum, quoted_ends, raw, udp, with_ttl,
};
use crate::common::plan::{INSIDE, OTHER};
use crate::common::world::{World, with_workers};
use crate::common::{BOX, IN1, IN2, INSIDE_SERVER, NO_ROUTE, OUT_ROUTER, OUT1, OUT2, POOL, ip};

#[test]
fn i1_echo_passes_and_its_mapping_is_host_independent() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let public = world.inside(echo((IN1, 7), OUT1)).public();
        assert_eq!(world.outside(echo_reply(OUT1, public)).ends().1, (IN1, 7));
        // 1a: the same identifier to another host has the same public identifier.
        assert_eq!(world.inside(echo((IN1, 7), OUT2)).public(), public);
        // Another host with the same identifier has its own.
        assert_ne!(world.inside(echo((IN2, 7), OUT1)).public(), public);
        assert_eq!(world.outside(echo_reply(OUT2, public)).ends().1, (IN1, 7));
        assert_eq!(
            world.outside(echo_reply(OUT_ROUTER, public)).dropped(),
            DropReason::Filtered
        );
    });
}

#[test]
fn i1_identifiers_are_not_udp_or_tcp_ports() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(1024, 1024);
    });
    assert_eq!(world.inside(echo((IN1, 7), OUT1)).public(), (POOL, 1024));
    assert_eq!(world.inside(udp((IN1, 7), (OUT1, 9))).public(), (POOL, 1024));
    assert_eq!(world.outside(udp((OUT1, 9), (POOL, 1024))).ends().1, (IN1, 7));
    assert_eq!(world.outside(echo_reply(OUT1, (POOL, 1024))).ends().1, (IN1, 7));
}

#[test]
fn i2_query_timer() {
    let mut world = World::new(1, |_| {});
    let public = world.inside(echo((IN1, 7), OUT1)).public();
    world.pass_seconds(59);
    world.outside(echo_reply(OUT1, public)).forwarded();
    world.pass_seconds(3);
    assert_eq!(
        world.outside(echo_reply(OUT1, public)).dropped(),
        DropReason::NoMapping
    );
}

#[test]
fn i3_bad_checksums_are_dropped() {
    let mut world = World::new(1, |_| {});
    let sent = world.inside(udp((IN1, 5000), (OUT1, 80)));
    let mut bad = error(OUT_ROUTER, 3, 3, sent.forwarded());
    bad[22] ^= 0x55;
    assert_eq!(world.outside(bad).dropped(), DropReason::IcmpErrorBadChecksum);
    // 3a: the embedded IP header's.
    let mut quote = sent.forwarded().to_vec();
    quote[10] ^= 0x55;
    assert_eq!(
        world.outside(error(OUT_ROUTER, 3, 3, &quote)).dropped(),
        DropReason::IcmpErrorBadEmbedded
    );
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn i4_ports_behind_embedded_options() {
    let mut world = World::new(1, |_| {});
    let options = [0x94, 4, 0, 0];
    let sent = world.inside(bytes(
        &PacketBuilder::udp(IN1, 5000, OUT1, 80)
            .ip_options(&options)
            .data(b"behind options"),
    ));
    let got = world.outside(error(OUT_ROUTER, 11, 0, sent.forwarded()));
    assert_eq!(quoted_ends(got.forwarded()), ((IN1, 5000), (OUT1, 80)));
}

#[test]
fn i5_embedded_l4_checksum_bad_zero_or_cut_off() {
    let mut world = World::new(1, |_| {});
    let sent = world.inside(udp((IN1, 5000), (OUT1, 80)));
    let sent = sent.forwarded();
    for sum in [[0, 0], [0x12, 0x34]] {
        let mut quote = sent.to_vec();
        quote[26..28].copy_from_slice(&sum);
        let packet = error(OUT_ROUTER, 3, 3, &quote);
        let got = world.burst(2, vec![packet]).remove(0);
        assert_eq!(quoted_ends(got.forwarded()), ((IN1, 5000), (OUT1, 80)));
    }
    for quoted in [24, 25, 26, 27, 28] {
        let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&sent[..quoted]);
        let to = ends(sent).0.0;
        let mut packet = bytes(&PacketBuilder::new(OUT_ROUTER, to, Payload::Raw { proto: 1 }).data(&message));
        fix_icmp_checksum(&mut packet);
        let got = world.outside(packet);
        assert_eq!(
            quoted_ends(got.forwarded()),
            ((IN1, 5000), (OUT1, 80)),
            "quoted {quoted}"
        );
    }
}

#[test]
fn i6_extensions_pass_through_unchanged() {
    let mut world = World::new(1, |_| {});
    let sent = world.inside(udp((IN1, 5000), (OUT1, 80)));
    // RFC 4884: the quote padded to 128 octets, its length in words in octet 5, then an extension structure.
    let mut data = sent.forwarded().to_vec();
    data.resize(128, 0);
    let extension = [0x20, 0, 0xb2, 0x2f, 0, 8, 1, 1, 0x18, 0x6a, 0x11, 1];
    data.extend_from_slice(&extension);
    let packet = bytes(&PacketBuilder::icmp(OUT_ROUTER, sent.public().0, 11, 0, 32 << 16).data(&data));
    let got = world.outside(packet);
    assert_eq!(quoted_ends(got.forwarded()), ((IN1, 5000), (OUT1, 80)));
    assert!(got.packet.ends_with(&extension));
    assert_eq!(got.packet[20 + 5], 32);
}

#[test]
fn i7_error_from_outside() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        // With a mapping: (a) embedded reverted, (b) type and code unchanged, (c) outer destination = embedded source.
        for (sent, original) in [
            (
                world.inside(udp((IN1, 5000), (OUT1, 80))),
                ((IN1, 5000), (OUT1, 80)),
            ),
            (world.inside(echo((IN1, 7), OUT1)), ((IN1, 7), (OUT1, 7))),
        ] {
            let got = world.outside(error(OUT_ROUTER, 12, 1, sent.forwarded()));
            assert_eq!(quoted_ends(got.forwarded()), original);
            assert_eq!((got.packet[20], got.packet[21]), (12, 1));
            assert_eq!((ends(&got.packet).0.0, ends(&got.packet).1.0), (OUT_ROUTER, IN1));
        }
        // Without: silence.
        let stray = udp((POOL + 3, 4000), (OUT1, 80));
        let got = world.outside(error(OUT_ROUTER, 3, 3, &stray));
        assert_eq!(got.drop_answer(), (DropReason::IcmpErrorNoSession, Answer::None));
    });
}

#[test]
fn i8_error_from_inside_about_an_inbound_packet() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
        let inbound = world.outside(udp((OUT1, 80), public));
        let got = world.inside(error(IN1, 3, 3, inbound.forwarded()));
        // (c) seen from the sender's public address, about what the outside host sent.
        assert_eq!(
            (ends(got.forwarded()).0.0, ends(&got.packet).1.0),
            (public.0, OUT1)
        );
        assert_eq!(quoted_ends(&got.packet), ((OUT1, 80), public));
        assert_eq!((got.packet[20], got.packet[21]), (3, 3));
    });
}

#[test]
fn i8_error_from_a_router_inside_hides_the_router() {
    let mut world = World::new(2, |_| {});
    let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
    let inbound = world.outside(udp((OUT1, 80), public));
    let got = world.inside(error(ip(10, 9, 9, 9), 11, 0, inbound.forwarded()));
    assert_eq!(ends(got.forwarded()).0.0, public.0);
}

#[test]
fn i8_error_about_nothing_of_ours_does_not_leave() {
    let mut world = World::new(1, |_| {});
    let stray = udp((OUT1, 80), (IN1, 5000));
    assert_eq!(
        world.inside(error(IN1, 3, 3, &stray)).dropped(),
        DropReason::IcmpErrorNoSession
    );
    // Between inside hosts it is only routed; to this box it is the kernel's.
    let local = udp((INSIDE_SERVER, 80), (IN1, 5000));
    assert_eq!(world.inside(error(IN1, 3, 3, &local)).verdict, Verdict::Route);
    let to_box = udp((BOX, 80), (IN1, 5000));
    assert_eq!(world.inside(error(IN1, 3, 3, &to_box)).verdict, Verdict::Kernel);
}

#[test]
fn i9_error_about_an_echo_neither_refreshes_nor_ends() {
    let mut world = World::new(1, |_| {});
    let sent = world.inside(echo((IN1, 7), OUT1));
    world.pass_seconds(50);
    world
        .outside(error(OUT_ROUTER, 3, 1, sent.forwarded()))
        .forwarded();
    assert_eq!(world.sessions().len(), 1);
    world.pass_seconds(12);
    assert!(world.sessions().is_empty());
}

#[test]
fn i10_hairpinned_errors() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let x2 = world.inside(udp((IN2, 6000), (OUT1, 80))).public();
        let sent = world.inside(udp((IN1, 5000), x2));
        let x1 = sent.public();
        let got = world.inside(error(IN2, 3, 3, sent.forwarded()));
        assert!(got.hairpinned);
        assert_eq!((ends(got.forwarded()).0.0, ends(&got.packet).1.0), (x2.0, IN1));
        assert_eq!(quoted_ends(&got.packet), ((IN1, 5000), x2));
        assert_ne!(x1, x2);
    });
}

#[test]
fn i11_refusal_answers() {
    for (policy, answer) in [
        (RefusalAnswer::HostUnreachable, Answer::Unreachable(1)),
        (RefusalAnswer::AdminProhibited, Answer::Unreachable(13)),
        (RefusalAnswer::Silent, Answer::None),
    ] {
        let mut world = World::new(1, |p| {
            p.addresses(1);
            p.ports(1024, 1024);
            p.set().on_refusal = policy;
        });
        world.inside(echo((IN1, 7), OUT1)).forwarded();
        let packet = echo((IN2, 7), OUT1);
        let got = world.inside(packet.clone());
        assert_eq!(got.drop_answer(), (DropReason::NatOutOfPorts, answer));
        assert_eq!(got.packet, packet, "quoted untranslated");
    }
}

#[test]
fn i12_ttl_quotes_the_untranslated_packet_in_both_directions() {
    let mut world = World::new(1, |_| {});
    let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
    let expired = (DropReason::TtlExpired, Answer::TimeExceeded);
    for packet in [udp((IN1, 5000), (OUT1, 80)), udp((IN1, 5001), (OUT1, 80))] {
        let packet = with_ttl(packet, 1);
        let got = world.inside(packet.clone());
        assert_eq!((got.drop_answer(), &got.packet), (expired, &packet));
    }
    for from in [(OUT1, 80), (OUT2, 81)] {
        let packet = with_ttl(udp(from, public), 1);
        let got = world.outside(packet.clone());
        assert_eq!((got.drop_answer(), &got.packet), (expired, &packet));
    }
    assert_eq!(world.sessions().len(), 1, "an expired packet begins nothing");
    let got = world.inside(with_ttl(udp((IN1, 5000), (OUT1, 80)), 2));
    assert_eq!(got.forwarded()[8], 1);
}

#[test]
fn i12_routes_that_say_no() {
    let mut world = World::new(1, |_| {});
    for (to, reason, answer) in [
        (NO_ROUTE, DropReason::NoRoute, Answer::Unreachable(0)),
        (
            ip(198, 18, 1, 1),
            DropReason::RouteProhibited,
            Answer::Unreachable(13),
        ),
        (ip(198, 18, 2, 1), DropReason::RouteBlackhole, Answer::None),
        (
            ip(198, 18, 3, 1),
            DropReason::RouteUnreachable,
            Answer::Unreachable(1),
        ),
    ] {
        assert_eq!(
            world.inside(udp((IN1, 5000), (to, 80))).drop_answer(),
            (reason, answer)
        );
    }
    assert!(world.sessions().is_empty());
}

#[test]
fn i12_echo_to_the_box_is_the_kernels() {
    let mut world = World::new(1, |_| {});
    assert_eq!(world.inside(echo((IN1, 7), BOX)).verdict, Verdict::Kernel);
    assert_eq!(world.inside(udp((IN1, 7), (BOX, 53))).verdict, Verdict::Kernel);
    assert_eq!(world.one(OTHER, echo((IN1, 7), OUT1)).verdict, Verdict::Route);
    assert_eq!(
        world.inside(udp((IN1, 7), (INSIDE_SERVER, 53))).verdict,
        Verdict::Route
    );
}

/// A pool that is the outside interface's own address: what it does not translate is the kernel's.
#[test]
fn i12_an_interfaces_own_address_answers_for_itself() {
    with_workers(|workers| {
        let mut world = World::new(workers, |p| {
            p.addresses(1);
            p.ports(32768, 65535);
            p.pool().interface_address = true;
        });
        let mapped = world.inside(echo((IN1, 7), OUT1)).public();
        let tcp22 = crate::common::packets::syn((OUT1, 999), (POOL, 22));
        assert_eq!(world.outside(tcp22).verdict, Verdict::Kernel);
        assert_eq!(
            world.outside(udp((OUT1, 9), (POOL, 40000))).dropped(),
            DropReason::NoMapping
        );
        assert_eq!(world.inside(udp((IN1, 9), (POOL, 53))).verdict, Verdict::Kernel);
        assert_eq!(world.outside(raw(89, OUT1, POOL)).verdict, Verdict::Kernel);
        // Pings of the box, even with an identifier that a subscriber's mapping has.
        for id in [1, mapped.1] {
            assert_eq!(world.outside(echo((OUT2, id), POOL)).verdict, Verdict::Kernel);
            assert_eq!(world.inside(echo((IN2, id), POOL)).verdict, Verdict::Kernel);
        }
        // Answers to the box's own pings, and errors about its own packets.
        assert_eq!(
            world.outside(echo_reply(OUT2, (POOL, 5))).verdict,
            Verdict::Kernel
        );
        let own = udp((POOL, 123), (OUT1, 123));
        assert_eq!(
            world.outside(error(OUT_ROUTER, 3, 4, &own)).verdict,
            Verdict::Kernel
        );
        assert_eq!(world.outside(echo_reply(OUT1, mapped)).ends().1, (IN1, 7));
    });
}

#[test]
fn i12_other_icmp_makes_no_state() {
    let mut world = World::new(1, |_| {});
    for icmp_type in [0, 5, 9, 10, 14, 16, 18, 40, 200] {
        let packet = bytes(&PacketBuilder::icmp(IN1, OUT1, icmp_type, 0, 7 << 16).data(&[0x45; 28]));
        let got = world.burst(INSIDE, vec![packet]).remove(0);
        assert!(
            matches!(got.verdict, Verdict::Drop(_, Answer::None)),
            "type {icmp_type}: {:?}",
            got.verdict
        );
        let packet = bytes(&PacketBuilder::icmp(OUT1, POOL, icmp_type, 0, 7 << 16).data(&[0x45; 28]));
        let got = world.burst(2, vec![packet]).remove(0);
        assert!(
            matches!(got.verdict, Verdict::Drop(_, Answer::None)),
            "type {icmp_type}: {:?}",
            got.verdict
        );
    }
    assert!(world.sessions().is_empty() && world.subscribers().is_empty());
}
