//! Re-evaluation: sessions that the policies in force now would not let begin end when an operator asks, and no others.

use tandem_engine::program::{FilteringType, MappingType, PolicyAction};
use tandem_engine::view::{Ask, Filter};

use super::*;
use crate::common::packets as four;

pub(super) fn reevaluate(world: &mut World, filter: Filter) -> u64 {
    world.ask(Ask::Reevaluate, filter).iter().map(|q| q.matched).sum()
}

/// Inside ports of the sessions there are.
fn ports(world: &mut World) -> Vec<u16> {
    let mut ports: Vec<_> = world.sessions().iter().map(|s| s.inside_port).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn exactly_the_refused_sessions_end() {
    for_both(|h| {
        let mut world = world(vec![], vec![any(1, PolicyAction::Permit)]);
        world.inside(udp((h.in1, 1), (h.out1, 53))).forwarded();
        world.inside(udp((h.in1, 2), (h.out2, 53))).forwarded();
        world.inside(syn((h.in1, 3), (h.out1, 80))).forwarded();
        world.inside(echo((h.in2, 4), h.out1)).forwarded();
        world.outside(udp((h.out1, 9000), (h.in1, 5))).forwarded();
        world.outside(udp((h.out2, 9000), (h.in1, 6))).forwarded();
        world.outside(echo((h.out2, 7), h.in1)).forwarded();
        assert_eq!(
            reevaluate(&mut world, Filter::default()),
            0,
            "all are still wanted"
        );
        let set = |world: &mut World, outbound, inbound| {
            world.reload(|plan| plan.set().firewall = Some(firewall(outbound, inbound)));
        };
        set(
            &mut world,
            vec![policy(
                2,
                PolicyAction::Deny,
                vec![only(application(17, (53, 53)))],
            )],
            vec![any(1, PolicyAction::Permit)],
        );
        world.settle_time();
        assert_eq!(
            ports(&mut world),
            [1, 2, 3, 4, 5, 6, 7],
            "a commit alone ends nothing"
        );
        world.inside(udp((h.in1, 1), (h.out1, 53))).forwarded();
        assert_eq!(reevaluate(&mut world, Filter::default()), 2);
        assert_eq!(ports(&mut world), [3, 4, 5, 6, 7]);
        // Now the other direction, by source; the filter leaves one out.
        let inbound = vec![
            policy(3, PolicyAction::Reject, vec![from(h.out2)]),
            any(1, PolicyAction::Permit),
        ];
        set(&mut world, vec![], inbound);
        let only_udp = Filter {
            protocol: Some(17),
            ..Filter::default()
        };
        assert_eq!(reevaluate(&mut world, only_udp), 1);
        assert_eq!(ports(&mut world), [3, 4, 5, 7]);
        // An echo is judged by its type.
        let request = if h.is_six() { 128 } else { 8 };
        let ping = only(application(h.icmp(), (request << 8, request << 8)));
        set(
            &mut world,
            vec![policy(4, PolicyAction::Deny, vec![ping.clone()])],
            vec![
                policy(5, PolicyAction::Permit, vec![ping]),
                any(1, PolicyAction::Permit),
            ],
        );
        assert_eq!(reevaluate(&mut world, Filter::default()), 1);
        assert_eq!(ports(&mut world), [3, 5, 7]);
        // Without policies for outside, the default refuses what began there.
        set(&mut world, vec![], vec![]);
        assert_eq!(reevaluate(&mut world, Filter::default()), 2);
        assert_eq!(ports(&mut world), [3]);
        assert_eq!(reevaluate(&mut world, Filter::default()), 0);
        assert_eq!(world.engines[0].counters().sessions_refused, 6);
        assert_eq!(world.subscribers().len(), 1);
    });
}

#[test]
fn sessions_of_mappings_are_judged_by_explicit_policies() {
    let mut world = World::new(1, |plan| {
        plan.behaviour(
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
        plan.set().firewall = Some(firewall(vec![], vec![]));
    });
    let out = world.inside(four::udp((IN1, 1000), (OUT1, 53)));
    let public = out.public();
    world.outside(four::udp((OUT2, 7000), public)).forwarded();
    // The mapping is the permission: the default does not end it.
    assert_eq!(reevaluate(&mut world, Filter::default()), 0);
    world.reload(|plan| {
        let deny = policy(1, PolicyAction::Deny, vec![from(FOUR.out2)]);
        plan.set().firewall = Some(firewall(vec![], vec![deny]));
    });
    assert_eq!(reevaluate(&mut world, Filter::default()), 1);
    assert_eq!(world.sessions().len(), 1);
    assert_eq!(world.mappings()[0].sessions, 1);
    world.reload(|plan| {
        let deny = policy(2, PolicyAction::Deny, vec![to(FOUR.out1)]);
        plan.set().firewall = Some(firewall(vec![deny], vec![]));
    });
    assert_eq!(reevaluate(&mut world, Filter::default()), 1);
    assert_eq!((world.sessions().len(), world.mappings().len()), (0, 0));
    assert_eq!(world.engines[0].pool_use().map(|p| p.udp_ports).sum::<u64>(), 0);
}

#[test]
fn without_a_firewall_nothing_is_judged_and_untranslated_sessions_are_purged() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        world.inside(udp((h.in1, 1), (h.out1, 53))).forwarded();
        world.reload(|plan| plan.set().firewall = None);
        assert_eq!(reevaluate(&mut world, Filter::default()), 0);
        world.settle_time();
        assert_eq!(world.sessions().len(), 0);
        assert_eq!(world.engines[0].counters().sessions_purged, 1);
    });
}
