//! What is not the firewall's: packets of interfaces and directions no service set has; and two service sets side by side.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{Interface, NONE, PolicyAction, ServiceSet};
use tandem_engine::session::Direction;
use tandem_engine::view::{Ask, Decider, Filter, Query};

use super::*;
use crate::common::plan::{INSIDE, INSIDE2, OTHER, OUTSIDE, service_set};
use crate::common::{BOX, OUT_ROUTER, POOL2};

/// An outside interface that only service set 2 has.
const OUTSIDE2: u16 = 9;

/// Two firewalls; the second one's inside is [`INSIDE2`], its outside [`OUTSIDE`] and [`OUTSIDE2`].
fn two_sets(inbound: PolicyAction) -> World {
    let mut world = World::new(1, |plan| {
        plan.second(POOL2, 1);
        no_translation(plan);
        let second = &mut plan.program.service_sets[1];
        *second = ServiceSet {
            terms: Vec::new(),
            ..service_set(2, 2)
        };
        for (at, set) in plan.program.service_sets.iter_mut().enumerate() {
            set.firewall = Some(firewall(vec![], vec![any(at as u16, inbound)]));
        }
        plan.program.interfaces.push(Interface {
            id: OUTSIDE2,
            name: "out2".into(),
            inside_of: NONE,
            outside_of: vec![2],
        });
    });
    assert_eq!(world.sessions().len(), 0);
    world
}

#[test]
fn packets_of_no_service_set_are_routed() {
    for_both(|h| {
        let mut world = world(vec![any(1, PolicyAction::Deny)], vec![any(2, PolicyAction::Deny)]);
        let kinds = |src: u128, dst: u128| {
            [
                syn((src, 1000), (dst, 80)),
                tcp((src, 1000), (dst, 80), tandem_wire::tcp::ACK),
                udp((src, 1000), (dst, 53)),
                echo((src, 1), dst),
                raw(50, src, dst),
            ]
        };
        for packet in [
            kinds(h.out1, h.in1),
            kinds(h.in1, h.out1),
            kinds(h.out1, h.out2),
            kinds(h.in1, h.in2),
        ]
        .concat()
        {
            assert_eq!(world.one(OTHER, packet).verdict, Verdict::Route);
        }
        // From inside to inside, and from outside to outside.
        for packet in kinds(h.in1, h.in2) {
            assert_eq!(world.inside(packet).verdict, Verdict::Route);
        }
        for packet in kinds(h.out1, h.out2) {
            assert_eq!(world.outside(packet).verdict, Verdict::Route);
        }
        let about = udp((h.out2, 1), (h.out1, 2));
        assert_eq!(world.outside(unreachable(h.out1, &about)).verdict, Verdict::Route);
        assert_eq!(world.sessions().len(), 0);
        assert!(world.drops.0.iter().all(|n| *n == 0));
        assert_eq!(
            world.engines[0].policy_hits(1) + world.engines[0].policy_hits(2),
            0
        );
    });
}

#[test]
fn packets_to_this_box_are_not_the_firewalls() {
    for h in [FOUR, SIX] {
        let mut world = world(vec![any(1, PolicyAction::Deny)], vec![any(2, PolicyAction::Deny)]);
        let this = if h.is_six() {
            0x2001_0db8 << 96 | 0xff << 64 | 1
        } else {
            address::of_v4(BOX)
        };
        let from_inside = world.inside(syn((h.in1, 1000), (this, 179))).verdict;
        assert_eq!(from_inside, Verdict::Kernel);
        let from_outside = world.outside(syn((h.out1, 1000), (this, 179))).verdict;
        assert!(matches!(from_outside, Verdict::Route | Verdict::Kernel));
        assert_eq!(world.sessions().len(), 0);
    }
}

#[test]
fn a_route_that_says_no_is_told() {
    let mut world = world(vec![], vec![]);
    let nowhere = 0x2001_0db8_00fe_u128 << 80 | 1;
    assert_eq!(
        world.inside(udp((SIX.in1, 1), (nowhere, 2))).drop_answer(),
        (DropReason::NoRoute, Answer::Unreachable(0))
    );
    let nowhere = address::of_v4(crate::common::NO_ROUTE);
    assert_eq!(
        world.inside(udp((FOUR.in1, 1), (nowhere, 2))).drop_answer(),
        (DropReason::NoRoute, Answer::Unreachable(0))
    );
    assert_eq!(world.sessions().len(), 0);
}

#[test]
fn an_outside_of_another_set_begins_nothing_here() {
    for_both(|h| {
        let mut world = two_sets(PolicyAction::Permit);
        // The route leads to the inside of set 1, which has nothing to do with that interface.
        let packet = udp((h.out1, 1000), (h.in1, 53));
        assert_eq!(world.one(OUTSIDE2, packet.clone()).verdict, Verdict::Route);
        assert_eq!(world.sessions().len(), 0);
        assert_eq!(world.one(OUTSIDE, packet.clone()).verdict, Verdict::Forward);
        assert_eq!(world.sessions()[0].service_set, 1);
        let about = udp((h.in1, 7), (h.out1, 8));
        let error = unreachable(h.out1, &about);
        assert_eq!(world.one(OUTSIDE2, error.clone()).verdict, Verdict::Route);
        assert_eq!(
            world.one(OUTSIDE, error).dropped(),
            DropReason::IcmpErrorNoSession
        );
    });
}

#[test]
fn two_sets_with_the_same_addresses_do_not_mix() {
    for_both(|h| {
        for (out, back) in [
            (udp((h.in1, 1000), (h.out1, 53)), udp((h.out1, 53), (h.in1, 1000))),
            (echo((h.in1, 7), h.out1), echo_reply(h.out1, (h.in1, 7))),
            (raw(50, h.in1, h.out1), raw(50, h.out1, h.in1)),
        ] {
            let mut world = two_sets(PolicyAction::Deny);
            world.one(INSIDE, out.clone()).forwarded();
            for _ in 0..3 {
                let second = world.one(INSIDE2, out.clone());
                assert_eq!(second.drop_answer(), (DropReason::SessionConflict, Answer::None));
            }
            // In one burst with packets of the first as well.
            let burst = world.burst(INSIDE2, vec![out.clone(), out.clone()]);
            assert!(burst.iter().all(|g| g.dropped() == DropReason::SessionConflict));
            assert_eq!(world.drops.get(DropReason::SessionConflict), 5);
            world.outside(back.clone()).forwarded();
            let sessions = world.sessions();
            assert_eq!(sessions.len(), 1);
            assert_eq!((sessions[0].service_set, sessions[0].packets_out), (1, 1));
            assert_eq!(sessions[0].packets_in, 1);
            assert_eq!(world.subscribers().len(), 1, "nothing is left of the refused");
            // When the first has ended, the second may.
            world.pass_seconds(400);
            world.one(INSIDE2, out.clone()).forwarded();
            world.outside(back).forwarded();
            assert_eq!(
                world.one(INSIDE, out).dropped(),
                DropReason::SessionConflict,
                "now the other way round"
            );
            assert_eq!(world.sessions()[0].service_set, 2);
        }
    });
}

#[test]
fn errors_of_one_set_are_not_about_sessions_of_another() {
    for_both(|h| {
        let mut world = two_sets(PolicyAction::Deny);
        world.one(INSIDE, udp((h.in1, 1000), (h.out1, 53))).forwarded();
        let back = udp((h.out1, 53), (h.in1, 1000));
        world.outside(back.clone()).forwarded();
        let error = unreachable(h.in1, &back);
        assert_eq!(
            world.one(INSIDE2, error.clone()).dropped(),
            DropReason::IcmpErrorNoSession
        );
        world.one(INSIDE, error).forwarded();
    });
}

#[test]
fn refused_packets_are_counted_by_reason() {
    for_both(|h| {
        let mut world = world(
            vec![
                policy(1, PolicyAction::Deny, vec![to(h.out1)]),
                policy(2, PolicyAction::Reject, vec![to(h.out2)]),
            ],
            vec![],
        );
        for i in 0..5 {
            world.inside(udp((h.in1, i), (h.out1, 53)));
            world.inside(udp((h.in1, i), (h.out2, 53)));
            world.outside(udp((h.out1, 53), (h.in1, i)));
        }
        for reason in [
            DropReason::FirewallDenied,
            DropReason::FirewallRejected,
            DropReason::FirewallDefault,
        ] {
            assert_eq!(world.drops.get(reason), 5, "{reason:?}");
        }
        assert_eq!(world.drops.0.iter().sum::<u64>(), 15);
        let third = if h.is_six() {
            h.out2 + 1
        } else {
            address::of_v4(OUT_ROUTER)
        };
        world.inside(udp((h.in2, 1), (third, 53))).forwarded();
        let engine = &world.engines[0];
        let defaults = [Direction::Out, Direction::In].map(|d| engine.default_hits(1, d));
        assert_eq!(defaults, [1, 5]);
    });
}

/// Everything that decided about a packet, asked for in pages of `room` rows, `slots` slots at a time; pages, too.
fn deciders(world: &mut World, room: usize, slots: u32) -> (Vec<(Decider, u64)>, usize) {
    let (mut rows, mut pages, mut cursor) = (Vec::new(), 0, 0);
    loop {
        let mut query = Query::new(Ask::Policies, Filter::default(), cursor, room);
        while !query.done {
            world.engines[0].answer(&mut query, slots);
        }
        (cursor, pages) = (query.cursor, pages + 1);
        assert_eq!(query.matched, query.rows.policies.len() as u64);
        rows.extend(query.rows.policies);
        if query.end {
            return (rows, pages);
        }
    }
}

#[test]
fn policies_and_defaults_of_all_sets_are_told_with_their_hits() {
    for_both(|h| {
        let mut world = two_sets(PolicyAction::Permit);
        assert_eq!(deciders(&mut world, 4, 1000), (vec![], 1));
        for port in 0..3 {
            world
                .one(INSIDE, udp((h.in1, 1000 + port), (h.out1, 53)))
                .forwarded();
        }
        world.one(INSIDE2, udp((h.in2, 1), (h.out1, 53))).forwarded();
        world.outside(udp((h.out2, 53), (h.in2, 7))).forwarded();
        let expect = vec![
            (Decider::Default(1, Direction::Out), 3),
            (Decider::Default(2, Direction::Out), 1),
            (Decider::Policy(0), 1),
        ];
        assert_eq!(deciders(&mut world, 4, 1000), (expect.clone(), 1));
        assert_eq!(deciders(&mut world, 1, 7), (expect, 3));
    });
}
