//! Sessions of a firewall: what lets answers back, what may begin one, how they end.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::PolicyAction;
use tandem_engine::view::SessionState;
use tandem_wire::tcp::{ACK, FIN, RST, SYN};

use super::*;

#[test]
fn answers_come_back_and_nothing_else() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let (inside, outside) = ((h.in1, 1000), (h.out1, 53));
        world.inside(udp(inside, outside)).forwarded();
        let answer = udp(outside, inside);
        assert_untouched(&world.outside(answer.clone()), &answer);
        for stranger in [
            udp((h.out1, 54), inside),
            udp((h.out2, 53), inside),
            udp(outside, (h.in1, 1001)),
            udp(outside, (h.in2, 1000)),
            syn(outside, inside),
        ] {
            assert_eq!(world.outside(stranger).dropped(), DropReason::FirewallDefault);
        }
        assert_eq!(world.sessions().len(), 1);
    });
}

#[test]
fn outside_may_begin_a_session_and_inside_answers_even_if_it_may_begin_none() {
    for_both(|h| {
        let mut world = world(
            vec![any(1, PolicyAction::Deny)],
            vec![any(2, PolicyAction::Permit)],
        );
        let (inside, outside) = ((h.in1, 80), (h.out1, 4000));
        world.outside(syn(outside, inside)).forwarded();
        assert_eq!(world.sessions()[0].state, SessionState::OpeningOutside);
        world.inside(tcp(inside, outside, SYN | ACK)).forwarded();
        world.outside(tcp(outside, inside, ACK)).forwarded();
        let session = world.sessions()[0];
        assert_eq!(session.state, SessionState::Established);
        assert!(session.initiated_outside);
        assert_eq!((session.packets_in, session.packets_out), (2, 1));
        assert_eq!(
            world.inside(syn((h.in1, 81), outside)).dropped(),
            DropReason::FirewallDenied
        );
    });
}

#[test]
fn a_tcp_session_begins_with_a_syn_unless_configured() {
    for_both(|h| {
        let mut world = world(vec![], vec![any(1, PolicyAction::Permit)]);
        for flags in [ACK, SYN | ACK, FIN | ACK, RST, FIN | SYN, 0] {
            let out = world.inside(tcp((h.in1, 1000), (h.out1, 80), flags));
            assert_eq!(out.drop_answer(), (DropReason::TcpNonSyn, Answer::None));
            let back = world.outside(tcp((h.out1, 1000), (h.in1, 80), flags));
            assert_eq!(back.drop_answer(), (DropReason::TcpNonSyn, Answer::None));
        }
        assert_eq!(world.engines[0].policy_hits(1), 0);
        world.reload(|plan| plan.set().tcp.accept_non_syn = true);
        world.inside(tcp((h.in1, 1000), (h.out1, 80), ACK)).forwarded();
        world.outside(tcp((h.out1, 1000), (h.in1, 80), ACK)).forwarded();
        let sessions = world.sessions();
        assert_eq!(sessions.len(), 2);
        assert!(sessions.iter().all(|s| s.state == SessionState::Established));
    });
}

#[test]
fn queries_are_known_by_their_identifier() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        world.inside(echo((h.in1, 77), h.out1)).forwarded();
        let answer = echo_reply(h.out1, (h.in1, 77));
        assert_untouched(&world.outside(answer.clone()), &answer);
        for stranger in [
            echo_reply(h.out1, (h.in1, 78)),
            echo_reply(h.out2, (h.in1, 77)),
            echo_reply(h.out1, (h.in2, 77)),
        ] {
            assert_eq!(world.outside(stranger).dropped(), DropReason::IcmpUnsupported);
        }
        assert_eq!(
            world.outside(echo((h.out2, 77), h.in1)).dropped(),
            DropReason::FirewallDefault
        );
        let session = world.sessions()[0];
        assert_eq!((session.protocol, session.inside_port), (h.icmp(), 77));
    });
}

#[test]
fn protocols_without_ports_are_known_by_their_addresses() {
    for_both(|h| {
        // SCTP, ESP, GRE and one nobody knows.
        for proto in [132, 50, 47, 253] {
            let mut world = world(vec![], vec![]);
            assert_eq!(
                world.outside(raw(proto, h.out1, h.in1)).dropped(),
                DropReason::FirewallDefault
            );
            let packet = raw(proto, h.in1, h.out1);
            assert_untouched(&world.inside(packet.clone()), &packet);
            let answer = raw(proto, h.out1, h.in1);
            assert_untouched(&world.outside(answer.clone()), &answer);
            assert_eq!(
                world.outside(raw(proto, h.out2, h.in1)).dropped(),
                DropReason::FirewallDefault
            );
            assert_eq!(
                world.outside(raw(254, h.out1, h.in1)).dropped(),
                DropReason::FirewallDefault
            );
            // Two insides to one outside: nothing is translated, so nothing is in the way.
            world.inside(raw(proto, h.in2, h.out1)).forwarded();
            assert_eq!(world.sessions().len(), 2);
        }
    });
}

#[test]
fn sessions_end_by_time_and_answers_with_them() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        world.inside(udp((h.in1, 1000), (h.out1, 5353))).forwarded();
        world.inside(raw(50, h.in1, h.out1)).forwarded();
        world.inside(echo((h.in1, 5), h.out1)).forwarded();
        world.pass_seconds(59);
        assert_eq!(world.sessions().len(), 3);
        world.pass_seconds(3);
        assert_eq!(world.sessions().len(), 2, "the echo's timeout is a minute");
        assert_eq!(
            world.outside(echo_reply(h.out1, (h.in1, 5))).dropped(),
            DropReason::IcmpUnsupported
        );
        world.pass_seconds(300);
        assert_eq!(world.sessions().len(), 0);
        assert_eq!(
            world.outside(udp((h.out1, 5353), (h.in1, 1000))).dropped(),
            DropReason::FirewallDefault
        );
        assert_eq!(world.subscribers().len(), 0);
        assert_eq!(world.engines[0].counters().sessions_expired, 3);
    });
}

#[test]
fn a_closed_connection_lets_nothing_more_in_after_its_timeout() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let (inside, outside) = ((h.in1, 1000), (h.out1, 80));
        world.inside(syn(inside, outside)).forwarded();
        world.outside(tcp(outside, inside, SYN | ACK)).forwarded();
        world.inside(tcp(inside, outside, FIN | ACK)).forwarded();
        world.outside(tcp(outside, inside, FIN | ACK)).forwarded();
        assert_eq!(world.sessions()[0].state, SessionState::Closing);
        world.outside(tcp(outside, inside, ACK)).forwarded();
        world.pass_seconds(243);
        assert_eq!(world.sessions().len(), 0);
        assert_eq!(
            world.outside(tcp(outside, inside, ACK)).dropped(),
            DropReason::TcpNonSyn
        );
    });
}

#[test]
fn the_subscribers_limits_hold() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        world.reload(|plan| plan.set().limits.max_sessions = 2);
        world.inside(udp((h.in1, 1), (h.out1, 53))).forwarded();
        world.inside(udp((h.in1, 2), (h.out1, 53))).forwarded();
        assert_eq!(
            world.inside(udp((h.in1, 3), (h.out1, 53))).dropped(),
            DropReason::SubscriberSessionLimit
        );
        world.inside(udp((h.in2, 3), (h.out1, 53))).forwarded();
        let mut refused: Vec<u64> = world.subscribers().iter().map(|s| s.refused).collect();
        refused.sort_unstable();
        assert_eq!(refused, [0, 1]);
    });
}

#[test]
fn an_ipv6_subscriber_is_a_prefix() {
    let mut world = world(vec![], vec![]);
    world.reload(|plan| plan.set().limits.max_sessions = 2);
    world.inside(udp((in6(1, 1), 1), (SIX.out1, 53))).forwarded();
    world.inside(udp((in6(1, 2), 1), (SIX.out1, 53))).forwarded();
    assert_eq!(
        world.inside(udp((in6(1, 3), 1), (SIX.out1, 53))).dropped(),
        DropReason::SubscriberSessionLimit
    );
    world.inside(udp((in6(2, 3), 1), (SIX.out1, 53))).forwarded();
    assert_eq!(world.subscribers().len(), 2);
}

#[test]
fn a_packet_whose_time_is_up_begins_nothing() {
    for_both(|h| {
        let mut world = world(vec![], vec![any(1, PolicyAction::Permit)]);
        let old = |packet: Vec<u8>| {
            let mut packet = packet;
            if h.is_six() {
                packet[7] = 1;
            } else {
                packet = packets::with_ttl(packet, 1);
            }
            packet
        };
        let expected = (DropReason::TtlExpired, Answer::TimeExceeded);
        let (out, back) = (
            old(udp((h.in1, 1), (h.out1, 53))),
            old(udp((h.out1, 53), (h.in1, 2))),
        );
        assert_eq!(world.inside(out.clone()).drop_answer(), expected);
        assert_eq!(world.outside(back).drop_answer(), expected);
        assert_eq!(world.sessions().len(), 0);
        world.inside(udp((h.in1, 1), (h.out1, 53))).forwarded();
        assert_eq!(world.inside(out).drop_answer(), expected);
    });
}

#[test]
fn totals_are_exact_over_many_packets() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let packet = udp((h.in1, 1), (h.out1, 53));
        for _ in 0..3000 {
            world.inside(packet.clone()).forwarded();
        }
        let session = world.sessions()[0];
        assert_eq!(
            (session.packets_out, session.bytes_out),
            (3000, 3000 * packet.len() as u64)
        );
        assert_eq!((session.packets_in, session.bytes_in), (0, 0));
        let extensions = u32::from(h.is_six());
        assert_eq!(world.engines[0].table_use()[0].0, 1 + extensions);
        world.pass_seconds(400);
        assert_eq!(world.engines[0].table_use()[0].0, 0);
    });
}

#[test]
fn a_link_too_small_is_told() {
    let mut world = world(vec![], vec![]);
    let small = 0x2001_0db8_00ff_u128 << 80 | 1;
    let data = [0; 1300];
    let big = packets6::bytes6(&tandem_wire::build::PacketBuilder6::udp(SIX.in1, 1, small, 2).data(&data));
    assert_eq!(
        world.inside(big).verdict,
        Verdict::Drop(DropReason::MtuExceeded, Answer::FragmentationNeeded(1280))
    );
}

#[test]
fn sessions_are_found_whatever_the_number_of_workers() {
    crate::common::world::with_workers(|workers| {
        let mut world = World::new(workers, |plan| {
            no_translation(plan);
            plan.set().firewall = Some(firewall(
                vec![],
                vec![policy(
                    1,
                    PolicyAction::Permit,
                    vec![only(application(6, (22, 22)))],
                )],
            ));
        });
        for i in 0..40u64 {
            for (inside, outside) in [
                (FOUR.in1 + u128::from(i), FOUR.out1),
                (crate::common::in6(i as u16, 9), SIX.out1),
            ] {
                let (a, b) = ((inside, 1000), (outside, 53));
                let packet = udp(a, b);
                world.inside(packet.clone()).forwarded();
                let answer = udp(b, a);
                assert_untouched(&world.outside(answer.clone()), &answer);
                let error = unreachable(outside + 9, &packet);
                assert_untouched(&world.outside(error.clone()), &error);
                let error = unreachable(inside, &answer);
                assert_untouched(&world.inside(error.clone()), &error);
                world.outside(syn((outside, 4000), (inside, 22))).forwarded();
                world
                    .inside(tcp((inside, 22), (outside, 4000), SYN | ACK))
                    .forwarded();
                world.inside(raw(50, inside, outside)).forwarded();
                world.outside(raw(50, outside, inside)).forwarded();
            }
        }
        assert_eq!(world.sessions().len(), 240);
        let busy = world.engines.iter().filter(|e| e.table_use()[0].0 > 0).count();
        assert_eq!(busy, usize::from(workers), "all workers have some");
    });
}

#[test]
fn only_segments_of_an_open_connection_are_taken_up_in_the_middle() {
    use tandem_wire::tcp::{ACK, FIN, PSH, RST, SYN};
    for_both(|h| {
        let mut world = world(vec![], vec![any(1, PolicyAction::Permit)]);
        world.reload(|plan| plan.set().tcp.accept_non_syn = true);
        for flags in [0, FIN, PSH, RST, RST | ACK, SYN | ACK, SYN | FIN, SYN | RST] {
            let inside = world.inside(tcp((h.in1, 1000), (h.out1, 80), flags));
            assert_eq!(inside.dropped(), DropReason::TcpNonSyn, "{flags:x}");
            let outside = world.outside(tcp((h.out1, 80), (h.in1, 1000), flags));
            assert_eq!(outside.dropped(), DropReason::TcpNonSyn, "{flags:x}");
        }
        for (port, flags) in [(1, ACK), (2, ACK | PSH), (3, ACK | FIN), (4, SYN)] {
            world.inside(tcp((h.in1, port), (h.out1, 80), flags)).forwarded();
            world.outside(tcp((h.out2, 80), (h.in1, port), flags)).forwarded();
        }
        assert_eq!(world.sessions().len(), 8);
    });
}

/// The IPv6 packet with a routing header of one address, which was or is still to be visited.
fn by_way_of(packet: &[u8], address: u128, segments_left: u8) -> Vec<u8> {
    let mut routed = packet[..40].to_vec();
    routed[6] = 43;
    let length = (packet.len() - 40 + 24) as u16;
    routed[4..6].copy_from_slice(&length.to_be_bytes());
    routed.extend([packet[6], 2, 0, segments_left, 0, 0, 0, 0]);
    routed.extend(address.to_be_bytes());
    routed.extend(&packet[40..]);
    routed
}

#[test]
fn who_has_further_to_go_does_not_pass() {
    let h = SIX;
    for begun in [false, true] {
        let mut world = world(vec![], vec![any(1, PolicyAction::Permit)]);
        let (out, back) = (udp((h.in1, 1000), (h.out1, 53)), udp((h.out1, 53), (h.in1, 1000)));
        if begun {
            world.inside(out.clone()).forwarded();
            world.outside(back.clone()).forwarded();
        }
        for _ in 0..2 {
            let got = world.outside(by_way_of(&back, h.in2, 1));
            assert_eq!(got.drop_answer(), (DropReason::RoutingHeader, Answer::None));
            let got = world.inside(by_way_of(&out, h.out2, 1));
            assert_eq!(got.drop_answer(), (DropReason::RoutingHeader, Answer::None));
        }
        assert_eq!(world.sessions().len(), usize::from(begun));
        world.inside(by_way_of(&out, h.out2, 0)).forwarded();
        world.outside(by_way_of(&back, h.in2, 0)).forwarded();
        assert_eq!(world.sessions().len(), 1);
        // What the firewall has nothing to do with is routed.
        let here = udp((h.out1, 53), (h.out2, 53));
        assert_eq!(world.outside(by_way_of(&here, h.in2, 1)).verdict, Verdict::Route);
    }
}
