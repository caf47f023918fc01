//! ICMP errors at a firewall: they pass when they are about a packet of a known session, in either direction, and only then.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::PolicyAction;
use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::tcp::SYN;

use super::*;

/// Packets from inside to outside, and the answers to them.
fn exchanges(h: Hosts) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (inside, outside) = ((h.in1, 1000), (h.out1, 53));
    vec![
        (udp(inside, outside), udp(outside, inside)),
        (
            syn(inside, outside),
            tcp(outside, inside, SYN | tandem_wire::tcp::ACK),
        ),
        (echo((h.in1, 9), h.out1), echo_reply(h.out1, (h.in1, 9))),
        (raw(50, h.in1, h.out1), raw(50, h.out1, h.in1)),
        (raw(132, h.in1, h.out1), raw(132, h.out1, h.in1)),
    ]
}

/// A router on the way outside, and one inside.
fn routers(h: Hosts) -> (u128, u128) {
    (h.out2 + 0x50, h.in2 + 0x50)
}

#[test]
fn errors_about_packets_that_left_come_in() {
    for_both(|h| {
        for (out, _) in exchanges(h) {
            // Whatever the policies say: the session is known.
            let mut world = world(vec![], vec![any(1, PolicyAction::Deny)]);
            world.inside(out.clone()).forwarded();
            for from in [routers(h).0, h.out1] {
                let error = unreachable(from, &out);
                assert_untouched(&world.outside(error.clone()), &error);
            }
            assert_eq!(world.engines[0].counters().translated_icmp_errors, 2);
            assert_eq!(world.engines[0].policy_hits(1), 0);
        }
    });
}

#[test]
fn errors_about_packets_that_came_in_leave() {
    for_both(|h| {
        for (out, back) in exchanges(h) {
            let mut world = world(vec![], vec![]);
            world.inside(out).forwarded();
            world.outside(back.clone()).forwarded();
            world.reload(|plan| {
                let firewall = plan.set().firewall.as_mut().unwrap();
                *firewall = super::firewall(vec![any(1, PolicyAction::Deny)], vec![]);
            });
            for from in [routers(h).1, h.in1] {
                let error = unreachable(from, &back);
                assert_untouched(&world.inside(error.clone()), &error);
            }
        }
    });
}

#[test]
fn errors_about_nothing_known_do_not_pass() {
    for_both(|h| {
        // Even where everything may begin a session: an error begins none.
        let mut world = world(
            vec![any(1, PolicyAction::Permit)],
            vec![any(2, PolicyAction::Permit)],
        );
        for (out, back) in exchanges(h) {
            let error = unreachable(routers(h).0, &out);
            assert_eq!(world.outside(error).dropped(), DropReason::IcmpErrorNoSession);
            let error = unreachable(routers(h).1, &back);
            assert_eq!(world.inside(error).dropped(), DropReason::IcmpErrorNoSession);
        }
        assert_eq!(world.sessions().len(), 0);
        assert_eq!(world.drops.get(DropReason::IcmpErrorNoSession), 10);
        // About a session that is there, but not about its packets.
        world.inside(udp((h.in1, 1000), (h.out1, 53))).forwarded();
        for other in [
            udp((h.in1, 1001), (h.out1, 53)),
            udp((h.in1, 1000), (h.out1, 54)),
            udp((h.in1, 1000), (h.out2, 53)),
            udp((h.in2, 1000), (h.out1, 53)),
            syn((h.in1, 1000), (h.out1, 53)),
        ] {
            let error = unreachable(routers(h).0, &other);
            assert_eq!(world.outside(error).dropped(), DropReason::IcmpErrorNoSession);
        }
        // The right packet, from the wrong side.
        let error = unreachable(routers(h).1, &udp((h.in1, 1000), (h.out1, 53)));
        let got = world.inside(error);
        assert_ne!(got.verdict, tandem_engine::packet::Verdict::Forward);
    });
}

#[test]
fn an_error_goes_to_who_sent_what_it_quotes() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let (out, back) = exchanges(h).swap_remove(0);
        world.inside(out.clone()).forwarded();
        world.outside(back.clone()).forwarded();
        let mut elsewhere = |error: Vec<u8>, to: u128, from_inside: bool| {
            let mut error = error;
            if h.is_six() {
                error[24..40].copy_from_slice(&to.to_be_bytes());
                let range = 40..error.len();
                error[42..44].fill(0);
                let sum = icmp6_checksum(&error[8..40], &error[range]);
                error[42..44].copy_from_slice(&sum.to_be_bytes());
            } else {
                error[16..20].copy_from_slice(&(to as u32).to_be_bytes());
                packets::fix_header_checksum(&mut error);
            }
            let got = if from_inside {
                world.inside(error)
            } else {
                world.outside(error)
            };
            assert_eq!(got.dropped(), DropReason::IcmpErrorBadEmbedded);
        };
        elsewhere(unreachable(routers(h).0, &out), h.in2, false);
        elsewhere(unreachable(routers(h).1, &back), h.out2, true);
    });
}

/// The checksum of an ICMPv6 message between the addresses of a header.
fn icmp6_checksum(addresses: &[u8], message: &[u8]) -> u16 {
    let mut over = addresses.to_vec();
    over.extend((message.len() as u32).to_be_bytes());
    over.extend([0, 0, 0, 58]);
    over.extend(message);
    over.resize(over.len().next_multiple_of(2), 0);
    let mut sum: u32 = over
        .chunks(2)
        .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn an_error_keeps_nothing_alive_and_ends_nothing() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let out = udp((h.in1, 1000), (h.out1, 5353));
        world.inside(out.clone()).forwarded();
        for _ in 0..5 {
            world.pass_seconds(50);
            world.outside(unreachable(h.out1, &out)).forwarded();
            assert_eq!(world.sessions().len(), 1);
        }
        world.pass_seconds(53);
        assert_eq!(world.sessions().len(), 0);
        assert_eq!(
            world.outside(unreachable(h.out1, &out)).dropped(),
            DropReason::IcmpErrorNoSession
        );
    });
}

#[test]
fn an_error_with_a_wrong_checksum_is_dropped() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let (out, back) = (udp((h.in1, 1), (h.out1, 53)), udp((h.out1, 53), (h.in1, 1)));
        world.inside(out.clone()).forwarded();
        world.outside(back.clone()).forwarded();
        let at = if h.is_six() { 42 } else { 22 };
        let spoil = |mut error: Vec<u8>| {
            error[at] ^= 0x55;
            error
        };
        let error = spoil(unreachable(h.out1, &out));
        assert_eq!(world.outside(error).dropped(), DropReason::IcmpErrorBadChecksum);
        let error = spoil(unreachable(h.in1, &back));
        assert_eq!(world.inside(error).dropped(), DropReason::IcmpErrorBadChecksum);
    });
}

#[test]
fn an_error_with_little_of_the_packet_is_enough() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let out = tcp((h.in1, 1), (h.out1, 80), SYN);
        world.inside(out.clone()).forwarded();
        let about = |octets: usize| match (of4(h.out1), of4(h.in1)) {
            (Some(from), Some(to)) => {
                packets::bytes(&PacketBuilder::icmp(from, to, 3, 3, 0).data(&out[..octets]))
            }
            _ => packets6::bytes6(&PacketBuilder6::icmp(h.out1, h.in1, 1, 4, 0).data(&out[..octets])),
        };
        let header = if h.is_six() { 40 } else { 20 };
        // The header and eight octets: RFC 792's minimum.
        let error = about(header + 8);
        assert_untouched(&world.outside(error.clone()), &error);
        // Without all of the ports nothing can be found.
        let got = world.outside(about(header + 3));
        assert!(matches!(
            got.dropped(),
            DropReason::IcmpErrorNoSession | DropReason::IcmpErrorBadEmbedded
        ));
    });
}

#[test]
fn errors_of_sessions_from_outside_pass_as_well() {
    for_both(|h| {
        let mut world = world(vec![], vec![any(1, PolicyAction::Permit)]);
        let back = udp((h.out1, 4000), (h.in1, 80));
        world.outside(back.clone()).forwarded();
        let error = unreachable(h.in1, &back);
        assert_untouched(&world.inside(error.clone()), &error);
        let out = udp((h.in1, 80), (h.out1, 4000));
        world.inside(out.clone()).forwarded();
        let error = unreachable(h.out1, &out);
        assert_untouched(&world.outside(error.clone()), &error);
    });
}
