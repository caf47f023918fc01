//! What policies decide: their order, their defaults, what they look at, what they answer and what they tell.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::policy::PolicyKey;
use tandem_engine::program::{NONE, PolicyAction, PolicyList};
use tandem_engine::session::Direction;
use tandem_engine::view::PolicyEvent;

use super::*;

/// Events so far.
fn events(world: &mut World) -> Vec<PolicyEvent> {
    let mut events = Vec::new();
    world.engines[0].drain_policy_events(|e| {
        events.push(*e);
        true
    });
    events
}

#[test]
fn without_policies_inside_may_begin_sessions_and_outside_may_not() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        let packet = syn((h.in1, 1000), (h.out1, 80));
        assert_untouched(&world.inside(packet.clone()), &packet);
        let refused = world.outside(syn((h.out2, 1000), (h.in1, 80)));
        assert_eq!(refused.drop_answer(), (DropReason::FirewallDefault, Answer::None));
        assert_eq!(world.drops.get(DropReason::FirewallDefault), 1);
        let sessions = world.sessions();
        assert_eq!(sessions.len(), 1);
        assert_eq!(
            (sessions[0].policy, sessions[0].public, sessions[0].public_port),
            (NONE, sessions[0].inside, 1000)
        );
        assert!(!sessions[0].initiated_outside);
    });
}

#[test]
fn the_defaults_of_each_direction_are_as_configured() {
    for_both(|h| {
        for (default, refused) in [
            (PolicyAction::Permit, None),
            (PolicyAction::Deny, Some(Answer::None)),
            (PolicyAction::Reject, Some(Answer::Reset)),
        ] {
            let mut world = world(vec![], vec![]);
            world.reload(|plan| {
                let firewall = plan.set().firewall.as_mut().unwrap();
                firewall.outbound = PolicyList::plain(vec![], default);
                firewall.inbound = PolicyList::plain(vec![], default);
            });
            let expected = match refused {
                None => Verdict::Forward,
                Some(answer) => Verdict::Drop(DropReason::FirewallDefault, answer),
            };
            for packet in [
                syn((h.in1, 1000), (h.out1, 80)),
                udp((h.in1, 1001), (h.out1, 53)),
                echo((h.in1, 7), h.out1),
                raw(47, h.in1, h.out1),
            ] {
                assert_eq!(world.inside(packet).verdict, expected);
            }
            for packet in [
                syn((h.out2, 1000), (h.in1, 80)),
                udp((h.out2, 1001), (h.in1, 53)),
                echo((h.out2, 7), h.in1),
                raw(50, h.out2, h.in1),
            ] {
                assert_eq!(world.outside(packet).verdict, expected);
            }
        }
    });
}

#[test]
fn the_first_policy_that_matches_decides() {
    for_both(|h| {
        let list = vec![
            policy(
                10,
                PolicyAction::Deny,
                vec![PolicyMatch {
                    applications: vec![application(6, (80, 80))],
                    ..to(h.out1)
                }],
            ),
            policy(11, PolicyAction::Permit, vec![to(h.out1)]),
            policy(12, PolicyAction::Reject, vec![only(application(17, (53, 53)))]),
            policy(13, PolicyAction::Permit, vec![only(application(17, (50, 60)))]),
            any(14, PolicyAction::Deny),
            any(15, PolicyAction::Permit),
        ];
        let mut world = world(list, vec![]);
        let cases = [
            (syn((h.in1, 1000), (h.out1, 80)), Some(DropReason::FirewallDenied)),
            (syn((h.in1, 1000), (h.out1, 81)), None),
            (udp((h.in1, 1000), (h.out1, 53)), None),
            (
                udp((h.in1, 1000), (h.out2, 53)),
                Some(DropReason::FirewallRejected),
            ),
            (udp((h.in1, 1000), (h.out2, 54)), None),
            (udp((h.in1, 1000), (h.out2, 61)), Some(DropReason::FirewallDenied)),
        ];
        for (packet, refused) in cases {
            let expected = match refused {
                None => Verdict::Forward,
                Some(DropReason::FirewallRejected) => {
                    Verdict::Drop(DropReason::FirewallRejected, Answer::Reset)
                }
                Some(reason) => Verdict::Drop(reason, Answer::None),
            };
            assert_eq!(world.inside(packet).verdict, expected);
        }
        let hits: Vec<u64> = (10..=15).map(|id| world.engines[0].policy_hits(id)).collect();
        assert_eq!(hits, [1, 2, 1, 1, 1, 0]);
        assert_eq!(world.engines[0].policy_hits(9), 0);
        let mut of: Vec<_> = world.sessions().iter().map(|s| s.policy).collect();
        of.sort_unstable();
        assert_eq!(of, [11, 11, 13]);
    });
}

#[test]
fn a_burst_is_decided_packet_by_packet() {
    for_both(|h| {
        let list = vec![policy(
            1,
            PolicyAction::Deny,
            vec![only(application(17, (0, 79)))],
        )];
        let mut world = world(list, vec![]);
        // More than one batch, refused and permitted mixed.
        let packets = (0..150u16).map(|i| udp((h.in1, 1000 + i), (h.out1, i))).collect();
        for (i, got) in world
            .burst(crate::common::plan::INSIDE, packets)
            .iter()
            .enumerate()
        {
            let expected = if i < 80 {
                Verdict::Drop(DropReason::FirewallDenied, Answer::None)
            } else {
                Verdict::Forward
            };
            assert_eq!(got.verdict, expected, "packet {i}");
        }
        assert_eq!(world.engines[0].policy_hits(1), 80);
        assert_eq!(world.sessions().len(), 70);
    });
}

#[test]
fn each_direction_has_its_own_policies() {
    for_both(|h| {
        let mut world = world(
            vec![policy(1, PolicyAction::Deny, vec![from(h.in2)])],
            vec![policy(2, PolicyAction::Permit, vec![to(h.in2)])],
        );
        assert_eq!(
            world.inside(udp((h.in2, 1), (h.out1, 2))).dropped(),
            DropReason::FirewallDenied
        );
        world.inside(udp((h.in1, 1), (h.out1, 2))).forwarded();
        let packet = udp((h.out1, 3), (h.in2, 4));
        assert_untouched(&world.outside(packet.clone()), &packet);
        assert_eq!(
            world.outside(udp((h.out1, 3), (h.in1, 4))).dropped(),
            DropReason::FirewallDefault
        );
        let from_outside: Vec<_> = world
            .sessions()
            .into_iter()
            .filter(|s| s.initiated_outside)
            .collect();
        assert_eq!(from_outside.len(), 1);
        assert_eq!((from_outside[0].policy, from_outside[0].inside_port), (2, 4));
    });
}

#[test]
fn reject_says_so_and_deny_does_not() {
    for_both(|h| {
        for (action, reason, answer) in [
            (PolicyAction::Deny, DropReason::FirewallDenied, Answer::None),
            (PolicyAction::Reject, DropReason::FirewallRejected, Answer::Reset),
        ] {
            let mut world = world(vec![any(1, action)], vec![any(2, action)]);
            for packet in [
                syn((h.in1, 1000), (h.out1, 80)),
                udp((h.in1, 1001), (h.out1, 53)),
                raw(50, h.in1, h.out1),
            ] {
                assert_eq!(world.inside(packet).drop_answer(), (reason, answer));
            }
            for packet in [
                syn((h.out1, 1000), (h.in1, 80)),
                udp((h.out1, 1001), (h.in1, 53)),
                raw(50, h.out1, h.in1),
            ] {
                assert_eq!(world.outside(packet).drop_answer(), (reason, answer));
            }
            assert_eq!(world.drops.get(reason), 6);
            assert_eq!(world.sessions().len(), 0);
            assert_eq!(world.subscribers().len(), 0, "a refused packet leaves nothing");
        }
    });
}

#[test]
fn policies_match_sources_ports_and_icmp_types() {
    for_both(|h| {
        let sources = PolicyMatch {
            sources: vec![(h.out1, h.out1), (h.out2 + 10, h.out2 + 20)],
            destinations: vec![(h.in1, h.in1)],
            applications: vec![
                Application {
                    source_ports: (1000, 1999),
                    ..application(17, (500, 599))
                },
                application(47, (0, u16::MAX)),
            ],
        };
        let request = if h.is_six() { 128 } else { 8 };
        let ping = only(application(h.icmp(), (request << 8, request << 8 | 255)));
        let mut world = world(
            vec![],
            vec![
                policy(1, PolicyAction::Permit, vec![sources]),
                policy(2, PolicyAction::Permit, vec![ping]),
            ],
        );
        let mut passes = |packet| world.outside(packet).verdict == Verdict::Forward;
        assert!(passes(udp((h.out1, 1000), (h.in1, 500))));
        assert!(passes(udp((h.out1, 1999), (h.in1, 599))));
        assert!(passes(udp((h.out2 + 15, 1000), (h.in1, 500))));
        assert!(!passes(udp((h.out2, 1000), (h.in1, 500))));
        assert!(!passes(udp((h.out1, 999), (h.in1, 500))));
        assert!(!passes(udp((h.out1, 2000), (h.in1, 501))));
        assert!(!passes(udp((h.out1, 1000), (h.in1, 600))));
        assert!(!passes(udp((h.out1, 1000), (h.in2, 500))));
        assert!(!passes(syn((h.out1, 1000), (h.in1, 500))));
        assert!(passes(raw(47, h.out1, h.in1)));
        assert!(!passes(raw(50, h.out1, h.in1)));
        assert!(passes(echo((h.out2, 9), h.in2)));
        assert!(!passes(echo_reply(h.out2, (h.in1, 9))), "a reply begins nothing");
    });
}

#[test]
fn policies_that_log_tell_of_each_session_begun_or_refused() {
    for_both(|h| {
        let mut world = world(
            vec![
                logged(policy(1, PolicyAction::Permit, vec![to(h.out1)])),
                any(2, PolicyAction::Deny),
            ],
            vec![logged(any(3, PolicyAction::Reject))],
        );
        world.inside(udp((h.in1, 1000), (h.out1, 53))).forwarded();
        world.inside(udp((h.in1, 1000), (h.out1, 53))).forwarded();
        assert_eq!(
            world.inside(udp((h.in1, 1000), (h.out2, 53))).dropped(),
            DropReason::FirewallDenied
        );
        world.outside(echo((h.out2, 77), h.in2)).dropped();
        let key = |src, dst, sport, dport, protocol| PolicyKey {
            src,
            dst,
            sport,
            dport,
            protocol,
        };
        let request = if h.is_six() { 128 } else { 8 };
        assert_eq!(
            events(&mut world),
            [
                PolicyEvent {
                    service_set: 1,
                    policy: 1,
                    action: PolicyAction::Permit,
                    direction: Direction::Out,
                    key: key(h.in1, h.out1, 1000, 53, 17),
                },
                PolicyEvent {
                    service_set: 1,
                    policy: 3,
                    action: PolicyAction::Reject,
                    direction: Direction::In,
                    key: key(h.out2, h.in2, 0, request << 8, h.icmp()),
                },
            ]
        );
        assert_eq!(events(&mut world), []);
    });
}

#[test]
fn events_nobody_fetches_are_counted_as_lost() {
    let mut world = world(vec![logged(any(1, PolicyAction::Deny))], vec![]);
    for port in 0..1500 {
        world.inside(udp((SIX.in1, port), (SIX.out1, 53)));
    }
    let kept = events(&mut world).len() as u64;
    assert!(kept > 0 && kept < 1500);
    assert_eq!(kept + world.engines[0].policy_events_lost(), 1500);
    assert_eq!(world.engines[0].policy_hits(1), 1500);
}
