//! Policies of a service set that is a NAT64: they see IPv6 inside and IPv4 outside, and ICMP is ICMPv6, whichever side
//! began.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Answer;
use tandem_engine::program::{FilteringType, MappingType, PolicyAction};
use tandem_engine::view::Filter;

use super::reevaluate::reevaluate;
use super::*;
use crate::common::packets as four;
use crate::common::packets6::{echo6, udp6};
use crate::common::{HOST1, HOST2, OUT1, OUT2, in64};

/// A NAT64 with these policies.
fn nat64(outbound: Vec<Policy>, inbound: Vec<Policy>) -> World {
    World::nat64(1, |plan| {
        plan.behaviour64(
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
        plan.set().firewall = Some(firewall(outbound, inbound));
    })
}

/// What both policies see: from this address to that one.
fn between(source: u128, destination: u128, applications: Vec<Application>) -> PolicyMatch {
    PolicyMatch {
        sources: vec![(source, source)],
        destinations: vec![(destination, destination)],
        applications,
    }
}

#[test]
fn from_inside_the_destination_is_ipv4() {
    let deny = |id, matches| policy(id, PolicyAction::Deny, vec![matches]);
    let outbound = vec![
        deny(1, to(in64(OUT2))),
        deny(2, between(HOST1, FOUR.out2, Vec::new())),
        // Echo requests of IPv4 nobody sees here.
        deny(3, only(application(1, (0, u16::MAX)))),
        policy(
            4,
            PolicyAction::Reject,
            vec![between(
                HOST1,
                FOUR.out1,
                vec![application(58, (128 << 8, 128 << 8))],
            )],
        ),
    ];
    let mut world = nat64(outbound, vec![]);
    let hits = |world: &World| -> Vec<u64> { (1..=4).map(|id| world.engines[0].policy_hits(id)).collect() };
    let got = world.inside(udp6((HOST1, 1000), (in64(OUT2), 53)));
    assert_eq!(got.dropped(), DropReason::FirewallDenied);
    assert_eq!(hits(&world), [0, 1, 0, 0]);
    world.inside(udp6((HOST2, 1000), (in64(OUT2), 53))).forwarded();
    world.inside(udp6((HOST1, 1000), (in64(OUT1), 53))).forwarded();
    let got = world.inside(echo6((HOST1, 7), in64(OUT1)));
    assert_eq!(got.drop_answer(), (DropReason::FirewallRejected, Answer::Reset));
    assert_eq!(hits(&world), [0, 1, 0, 1]);
}

#[test]
fn from_outside_the_source_is_ipv4() {
    let inbound = vec![
        policy(1, PolicyAction::Deny, vec![from(in64(OUT2))]),
        policy(
            2,
            PolicyAction::Deny,
            vec![between(FOUR.out2, HOST1, vec![application(17, (5000, 5000))])],
        ),
    ];
    let mut world = nat64(vec![], inbound);
    let public = world.inside(udp6((HOST1, 5000), (in64(OUT1), 53))).public();
    let got = world.outside(four::udp((OUT2, 53), public));
    assert_eq!(got.dropped(), DropReason::FirewallDenied);
    let hits = [1, 2].map(|id| world.engines[0].policy_hits(id));
    assert_eq!(hits, [0, 1]);
    world.outside(four::udp((OUT1, 54), public)).forwarded();
}

#[test]
fn sessions_are_looked_at_again_by_the_same_ends() {
    let mut world = nat64(vec![], vec![]);
    world.inside(udp6((HOST1, 1000), (in64(OUT1), 53))).forwarded();
    world.inside(udp6((HOST1, 1000), (in64(OUT2), 53))).forwarded();
    world.inside(echo6((HOST1, 7), in64(OUT2))).forwarded();
    for (matches, left) in [(to(in64(OUT2)), 3), (to(FOUR.out2), 1)] {
        world.reload(|plan| {
            let outbound = vec![policy(1, PolicyAction::Deny, vec![matches.clone()])];
            plan.set().firewall = Some(firewall(outbound, vec![]));
        });
        reevaluate(&mut world, Filter::default());
        assert_eq!(world.sessions().len(), left);
    }
}
