//! Policies and translation in one service set: who decides first. Session, mapping and its filtering, static mapping and
//! destination NAT, policy; an explicit deny wins over all but the session.

use std::sync::Arc;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::policy::PolicyMatch;
use tandem_engine::program::{
    AddressRange, DestinationMap, FilteringType, MappingType, NONE, NatAction, NatTerm, PolicyAction,
    StaticMapping, TermMatch,
};
use tandem_engine::statics::StaticTable;

use super::*;
use crate::common::packets as four;
use crate::common::{POOL, ip};

/// A static mapping of a pool's address, all of it.
fn fixed(number: u16, inside: u32, public: u32) -> StaticMapping {
    StaticMapping {
        name: format!("static{number}"),
        service_set: 1,
        number,
        inside: address::of_v4(inside),
        public: AddressRange {
            first: public,
            last: public,
        },
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    }
}

/// Source NAT with this filtering, a static mapping of the pool's last address to 10.0.0.80, a port forward to
/// 10.0.0.81, and policies.
fn nat_and(filtering: FilteringType, outbound: Vec<Policy>, inbound: Vec<Policy>) -> World {
    World::new(1, |plan| {
        plan.behaviour(MappingType::EndpointIndependent, filtering);
        plan.set().firewall = Some(firewall(outbound, inbound));
        let forward = StaticMapping {
            protocol: 6,
            inside_port: 8080,
            public_port: 80,
            ports: 1,
            inbound_only: true,
            ..fixed(101, ip(10, 0, 0, 81), POOL + 14)
        };
        let statics = vec![fixed(100, ip(10, 0, 0, 80), POOL + 15), forward];
        plan.program.statics = Arc::new(StaticTable::new(statics).unwrap());
    })
}

#[test]
fn a_mapping_is_a_permission() {
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    let public = world.inside(four::udp((IN1, 1000), (OUT1, 53))).public();
    let got = world.outside(four::udp((OUT2, 7000), public));
    assert_eq!(got.ends(), ((OUT2, 7000), (IN1, 1000)));
    let sessions = world.sessions();
    assert!(sessions.iter().all(|s| s.policy == NONE));
    // Nobody mapped that port: not even the policies are asked.
    let other = (public.0, public.1 ^ 1);
    assert_eq!(
        world.outside(four::udp((OUT2, 7000), other)).dropped(),
        DropReason::NoMapping
    );
}

#[test]
fn the_mappings_filtering_comes_before_policies() {
    let permit_all = || vec![any(1, PolicyAction::Permit)];
    for filtering in [
        FilteringType::AddressDependent,
        FilteringType::AddressAndPortDependent,
    ] {
        let mut world = nat_and(filtering, vec![], permit_all());
        let public = world.inside(four::udp((IN1, 1000), (OUT1, 53))).public();
        assert_eq!(
            world.outside(four::udp((OUT2, 53), public)).dropped(),
            DropReason::Filtered,
            "a policy opens no mapping"
        );
        let same_address = world.outside(four::udp((OUT1, 54), public));
        match filtering {
            FilteringType::AddressDependent => {
                assert_eq!(same_address.ends().1, (IN1, 1000));
                assert_eq!(world.engines[0].policy_hits(1), 1);
            }
            _ => assert_eq!(same_address.dropped(), DropReason::Filtered),
        }
    }
}

#[test]
fn an_explicit_deny_wins_over_mappings_statics_and_port_forwards() {
    for (action, reason, answer) in [
        (PolicyAction::Deny, DropReason::FirewallDenied, Answer::None),
        (PolicyAction::Reject, DropReason::FirewallRejected, Answer::Reset),
    ] {
        let inbound = vec![policy(1, action, vec![from(FOUR.out2)])];
        let mut world = nat_and(FilteringType::EndpointIndependent, vec![], inbound);
        let public = world.inside(four::udp((IN1, 1000), (OUT1, 53))).public();
        let to_static = (POOL + 15, 4000);
        let to_forward = (POOL + 14, 80);
        for packet in [
            four::udp((OUT2, 7000), public),
            four::udp((OUT2, 7000), to_static),
            four::echo((OUT2, 7), POOL + 15),
            four::raw(50, OUT2, POOL + 15),
            four::syn((OUT2, 7000), to_forward),
        ] {
            assert_eq!(world.outside(packet).drop_answer(), (reason, answer));
        }
        assert_eq!(world.engines[0].policy_hits(1), 5);
        assert_eq!(world.sessions().len(), 1);
        assert_eq!(world.mappings()[0].sessions, 1);
        // Others are let in, by default.
        world.outside(four::udp((OUT1, 7000), public)).forwarded();
        let got = world.outside(four::udp((OUT1, 7000), to_static));
        assert_eq!(got.ends().1, (ip(10, 0, 0, 80), 4000));
        let got = world.outside(four::syn((OUT1, 7000), to_forward));
        assert_eq!(got.ends().1, (ip(10, 0, 0, 81), 8080));
    }
}

#[test]
fn a_session_comes_before_everything() {
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    let public = world.inside(four::udp((IN1, 1000), (OUT1, 53))).public();
    world.outside(four::udp((OUT2, 7000), public)).forwarded();
    world
        .outside(four::udp((OUT2, 7000), (POOL + 15, 4000)))
        .forwarded();
    world.reload(|plan| {
        let deny = || vec![any(1, PolicyAction::Deny)];
        plan.set().firewall = Some(firewall(deny(), deny()));
    });
    world.inside(four::udp((IN1, 1000), (OUT1, 53))).forwarded();
    world.outside(four::udp((OUT1, 53), public)).forwarded();
    world.outside(four::udp((OUT2, 7000), public)).forwarded();
    world
        .outside(four::udp((OUT2, 7000), (POOL + 15, 4000)))
        .forwarded();
    assert_eq!(world.engines[0].policy_hits(1), 0);
    assert_eq!(
        world.outside(four::udp((OUT2, 7001), public)).dropped(),
        DropReason::FirewallDenied
    );
}

#[test]
fn a_refused_packet_from_inside_takes_nothing() {
    let outbound = vec![policy(1, PolicyAction::Reject, vec![to(FOUR.out1)])];
    let mut world = nat_and(FilteringType::EndpointIndependent, outbound, vec![]);
    let got = world.inside(four::syn((IN1, 1000), (OUT1, 80)));
    assert_eq!(got.drop_answer(), (DropReason::FirewallRejected, Answer::Reset));
    let got = world.inside(four::syn((ip(10, 0, 0, 80), 1000), (OUT1, 80)));
    assert_eq!(got.drop_answer(), (DropReason::FirewallRejected, Answer::Reset));
    assert_eq!((world.sessions().len(), world.mappings().len()), (0, 0));
    assert_eq!(world.subscribers().len(), 0);
    assert_eq!(world.engines[0].pool_use().map(|p| p.tcp_ports).sum::<u64>(), 0);
    let public = world.inside(four::syn((IN1, 1000), (OUT2, 80))).public();
    assert_ne!(public.0, IN1);
}

#[test]
fn policies_for_packets_from_outside_see_the_inside_end() {
    let inbound = vec![
        policy(
            1,
            PolicyAction::Deny,
            vec![PolicyMatch {
                applications: vec![application(6, (8080, 8080))],
                ..to(address::of_v4(ip(10, 0, 0, 81)))
            }],
        ),
        policy(2, PolicyAction::Deny, vec![to(address::of_v4(POOL + 15))]),
        policy(
            3,
            PolicyAction::Deny,
            vec![PolicyMatch {
                applications: vec![application(17, (1000, 1000))],
                ..to(FOUR.in1)
            }],
        ),
    ];
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], inbound);
    assert_eq!(
        world.outside(four::syn((OUT1, 7000), (POOL + 14, 80))).dropped(),
        DropReason::FirewallDenied
    );
    // Nobody sees the public address.
    world
        .outside(four::udp((OUT1, 7000), (POOL + 15, 4000)))
        .forwarded();
    let public = world.inside(four::udp((IN1, 1000), (OUT1, 53))).public();
    assert_eq!(
        world.outside(four::udp((OUT2, 7000), public)).dropped(),
        DropReason::FirewallDenied
    );
    let hits: Vec<u64> = (1..=3).map(|id| world.engines[0].policy_hits(id)).collect();
    assert_eq!(hits, [1, 0, 1]);
}

#[test]
fn a_policy_from_inside_sees_the_real_destination() {
    let alias = ip(172, 16, 0, 1);
    let outbound = vec![
        policy(1, PolicyAction::Deny, vec![to(address::of_v4(alias))]),
        policy(2, PolicyAction::Deny, vec![to(FOUR.out1)]),
    ];
    let mut world = nat_and(FilteringType::EndpointIndependent, outbound, vec![]);
    world.reload(|plan| {
        plan.set().terms[0].destination = Some(DestinationMap {
            from: AddressRange {
                first: alias,
                last: alias + 1,
            },
            to_first: OUT1,
        });
    });
    assert_eq!(
        world.inside(four::udp((IN1, 1), (alias, 53))).dropped(),
        DropReason::FirewallDenied
    );
    let got = world.inside(four::udp((IN1, 1), (alias + 1, 53)));
    assert_eq!(got.ends().1, (OUT2, 53));
    assert_eq!(world.engines[0].policy_hits(1), 0);
    assert_eq!(world.engines[0].policy_hits(2), 1);
}

#[test]
fn inside_hosts_by_their_own_address_are_the_policies() {
    let inbound = vec![policy(1, PolicyAction::Permit, vec![from(FOUR.out1)])];
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], inbound);
    let packet = four::udp((OUT1, 7000), (IN2, 53));
    assert_untouched(&world.outside(packet.clone()), &packet);
    assert_eq!(
        world.outside(four::udp((OUT2, 7000), (IN2, 53))).dropped(),
        DropReason::FirewallDefault
    );
    // Its answer leaves untranslated: it is of that session.
    let answer = four::udp((IN2, 53), (OUT1, 7000));
    assert_untouched(&world.inside(answer.clone()), &answer);
    // What the host begins itself is translated.
    let public = world.inside(four::udp((IN2, 54), (OUT1, 7000))).public();
    assert!((POOL..POOL + 16).contains(&public.0));
}

#[test]
fn what_a_term_leaves_untranslated_has_a_session_behind_a_firewall() {
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    world.reload(|plan| {
        let term = NatTerm {
            name: "plain".into(),
            number: 50,
            matches: TermMatch {
                destinations: vec![AddressRange {
                    first: OUT2,
                    last: OUT2,
                }],
                ..TermMatch::default()
            },
            action: NatAction::NoTranslation,
            destination: None,
        };
        plan.set().terms.insert(0, term);
    });
    let packet = four::udp((IN1, 1000), (OUT2, 53));
    assert_untouched(&world.inside(packet.clone()), &packet);
    let answer = four::udp((OUT2, 53), (IN1, 1000));
    assert_untouched(&world.outside(answer.clone()), &answer);
    assert_eq!(
        world.outside(four::udp((OUT2, 54), (IN1, 1000))).dropped(),
        DropReason::FirewallDefault
    );
    world.settle_time();
    assert_eq!(world.sessions().len(), 1);
    // Without the firewall such a packet is routed, and has no session.
    world.reload(|plan| plan.set().firewall = None);
    world.settle_time();
    assert_eq!(world.inside(packet).verdict, Verdict::Route);
    assert_eq!(world.sessions().len(), 0);
}

#[test]
fn a_packet_for_nat64_that_a_term_leaves_untranslated_has_nowhere_to_go() {
    use tandem_engine::program::Pref64;
    use tandem_wire::{prefix::Ipv6Prefix, rfc6052::Prefix64};
    let prefix = Ipv6Prefix::new(0x2001_0db8_0064 << 80, 96).expect("a prefix");
    let prefix = Prefix64::new(prefix).expect("of a length for NAT64");
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    world.reload(|plan| {
        plan.program.prefixes = vec![Pref64 { id: 1, prefix }];
        plan.set().ipv6.nat64_prefixes = vec![1];
        plan.set().terms = vec![NatTerm {
            name: "plain".into(),
            number: 0,
            matches: TermMatch::default(),
            action: NatAction::NoTranslation,
            destination: None,
        }];
    });
    let packet = udp((SIX.in1, 1000), (prefix.embed(OUT1), 53));
    assert_eq!(world.inside(packet.clone()).dropped(), DropReason::NatNoRuleMatch);
    assert_eq!(world.sessions().len(), 0);
    world.reload(|plan| plan.set().firewall = None);
    assert_eq!(world.inside(packet).verdict, Verdict::Route);
}

#[test]
fn ipv6_passes_the_firewall_of_a_set_that_translates_ipv4() {
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    let packet = udp((SIX.in1, 1000), (SIX.out1, 53));
    assert_untouched(&world.inside(packet.clone()), &packet);
    let answer = udp((SIX.out1, 53), (SIX.in1, 1000));
    assert_untouched(&world.outside(answer.clone()), &answer);
    assert_eq!(
        world.outside(udp((SIX.out2, 53), (SIX.in1, 1000))).dropped(),
        DropReason::FirewallDefault
    );
}

#[test]
fn a_term_that_does_not_match_is_still_no_rule() {
    let mut world = nat_and(
        FilteringType::EndpointIndependent,
        vec![any(1, PolicyAction::Permit)],
        vec![],
    );
    world.reload(|plan| plan.set().terms[0].matches.protocols = vec![6]);
    assert_eq!(
        world.inside(four::udp((IN1, 1), (OUT1, 53))).dropped(),
        DropReason::NatNoRuleMatch
    );
    assert_eq!(world.engines[0].policy_hits(1), 0);
}

#[test]
fn nobody_inside_speaks_for_a_public_end() {
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    world.reload(|plan| {
        let term = NatTerm {
            name: "plain".into(),
            number: 50,
            matches: TermMatch {
                destinations: vec![AddressRange {
                    first: OUT2,
                    last: OUT2,
                }],
                ..TermMatch::default()
            },
            action: NatAction::NoTranslation,
            destination: None,
        };
        plan.set().terms.insert(0, term);
    });
    let public = world.inside(four::udp((IN1, 5000), (OUT1, 53))).public();
    for to in [OUT1, OUT2, POOL + 15, crate::common::BOX] {
        for packet in [four::udp(public, (to, 53)), four::syn(public, (to, 80))] {
            assert_eq!(world.inside(packet).dropped(), DropReason::MartianSource);
        }
    }
    assert_eq!(world.sessions().len(), 1);
    // Nothing stands in the way of whose end it is.
    let got = world.outside(four::udp((OUT2, 53), public));
    assert_eq!(got.ends(), ((OUT2, 53), (IN1, 5000)));
}

#[test]
fn a_host_that_stands_for_itself_may_send() {
    let host = POOL + 15;
    let mut world = nat_and(FilteringType::EndpointIndependent, vec![], vec![]);
    world.reload(|plan| {
        let statics = vec![fixed(100, host, host)];
        plan.program.statics = Arc::new(StaticTable::new(statics).unwrap());
    });
    let got = world.inside(four::udp((host, 1000), (OUT1, 53)));
    assert_eq!(got.ends(), ((host, 1000), (OUT1, 53)));
}
