//! NAT64 of several service sets, terms and pools, and what a reload may take away.

use std::collections::HashSet;
use std::net::IpAddr;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{
    AddressRange6, FilteringType, MappingType, NatAction, PoolMode, PortRange, TermMatch,
};

use crate::common::packets::udp;
use crate::common::packets6::{echo6, syn6, udp6};
use crate::common::plan::{INSIDE2, Plan, nat64_term, pool};
use crate::common::world::World;
use crate::common::{HOST1, HOST2, HOST3, OUT1, OUT2, POOL2, in6, in64};

fn v6(address: u128) -> IpAddr {
    IpAddr::V6(address.into())
}

const TO: (u128, u16) = (in64(OUT1), 80);

/// A second service set of NAT64 with its own pool; `prefix` is its prefix's id.
fn second(plan: &mut Plan, prefix: u16) {
    plan.second(POOL2, 4);
    let set = &mut plan.program.service_sets[1];
    set.ipv6.nat64_prefixes = vec![prefix];
    let any = TermMatch::default();
    let independent = (
        MappingType::EndpointIndependent,
        FilteringType::EndpointIndependent,
    );
    set.terms = vec![nat64_term(0, 2, independent.0, independent.1, any)];
}

#[test]
fn n2_two_service_sets_keep_apart() {
    let other = 0x2001_0db8_0065 << 80 | u128::from(OUT1);
    for (prefix, to2) in [(1, TO.0), (2, other)] {
        for workers in [1, 2] {
            let mut world = World::nat64(workers, |plan| {
                plan.prefix64(2, 0x2001_0db8_0065 << 80, 96);
                second(plan, prefix);
                plan.program.service_sets[1].limits.max_sessions = 1;
            });
            // The same inside end in both: two hosts.
            let one = world.inside(udp6((HOST1, 5000), TO)).public();
            let two = world.one(INSIDE2, udp6((HOST1, 5000), (to2, 80))).public();
            assert!(one.0 < POOL2 && two.0 >= POOL2);
            assert_eq!(world.outside(udp((OUT1, 80), one)).ends6(), (TO, (HOST1, 5000)));
            assert_eq!(
                world.outside(udp((OUT1, 80), two)).ends6(),
                ((to2, 80), (HOST1, 5000))
            );
            // Limits are each set's own.
            let got = world.one(INSIDE2, udp6((HOST1, 5001), (to2, 80)));
            assert_eq!(got.dropped(), DropReason::SubscriberSessionLimit);
            world.inside(udp6((HOST1, 5001), TO)).forwarded();
            // A prefix is only its own set's.
            if prefix == 2 {
                let got = world.one(INSIDE2, udp6((HOST1, 5000), TO));
                assert_eq!(got.verdict, Verdict::Route);
                let got = world.inside(udp6((HOST1, 5000), (to2, 80)));
                assert_eq!(got.verdict, Verdict::Route);
            }
            let sets: HashSet<_> = world.sessions().iter().map(|s| s.service_set).collect();
            assert_eq!(sets, HashSet::from([1, 2]));
            // From one to the other by their public ends.
            let got = world.inside(udp6((HOST2, 1), (in64(two.0), two.1)));
            assert!(got.hairpinned);
            assert_eq!(got.dropped(), DropReason::SubscriberSessionLimit);
        }
    }
}

#[test]
fn n2_terms_choose_the_pool_by_source_destination_and_protocol() {
    let mut world = World::nat64(1, |plan| {
        plan.program.pools.push(pool(2, POOL2, 4));
        let independent = (
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
        let term = |number, pool, matches| nat64_term(number, pool, independent.0, independent.1, matches);
        let subnet2 = TermMatch {
            sources6: vec![AddressRange6 {
                first: in6(2, 0),
                last: in6(2, u64::MAX),
            }],
            ..TermMatch::default()
        };
        let dns = TermMatch {
            destination_ports: vec![PortRange { first: 53, last: 53 }],
            protocols: vec![17],
            ..TermMatch::default()
        };
        let mut direct = term(0, 1, TermMatch::default());
        direct.action = NatAction::NoTranslation;
        direct.matches.destinations = vec![tandem_engine::program::AddressRange {
            first: OUT2,
            last: OUT2,
        }];
        let rest = TermMatch {
            protocols: vec![6, 17],
            ..TermMatch::default()
        };
        plan.set().terms = vec![direct, term(1, 2, subnet2), term(2, 2, dns), term(3, 1, rest)];
    });
    assert!(world.inside(udp6((HOST1, 1), TO)).public().0 < POOL2);
    assert!(world.inside(udp6((HOST2, 1), TO)).public().0 >= POOL2);
    assert!(world.inside(udp6((HOST3, 1), (in64(OUT1), 53))).public().0 >= POOL2);
    assert!(world.inside(syn6((HOST3, 1), (in64(OUT1), 53))).public().0 < POOL2);
    // No rule for echoes of subnet 1: dropped. A term that says no translation: routed as IPv6.
    let got = world.inside(echo6((HOST1, 7), TO.0));
    assert_eq!(got.drop_answer(), (DropReason::NatNoRuleMatch, Answer::None));
    let got = world.inside(udp6((HOST1, 1), (in64(OUT2), 80)));
    assert_eq!(got.verdict, Verdict::Route);
}

#[test]
fn n1_a_prefix_that_a_reload_takes_away_ends_its_sessions() {
    let mut world = World::nat64(2, |_| {});
    let public = world.inside(udp6((HOST1, 5000), TO)).public();
    world.reload(|plan| {
        plan.prefix64(2, 0x2001_0db8_0065 << 80, 96);
        plan.set().ipv6.nat64_prefixes = vec![1, 2];
    });
    assert_eq!(
        world.outside(udp((OUT1, 80), public)).ends6(),
        (TO, (HOST1, 5000))
    );
    world.reload(|plan| {
        plan.program.prefixes.remove(0);
        plan.set().ipv6.nat64_prefixes = vec![2];
    });
    assert!(matches!(
        world.outside(udp((OUT1, 80), public)).verdict,
        Verdict::Drop(_, Answer::None)
    ));
    world.settle_time();
    assert!(world.sessions().is_empty() && world.subscribers().is_empty());
    assert_eq!(world.inside(udp6((HOST1, 5000), TO)).verdict, Verdict::Route);
}

#[test]
fn n1_ports_of_sessions_to_different_peers_may_be_shared() {
    // RFC 7857 section 3: where mapping depends on the peer, a port may serve several, as long as their peers differ.
    for workers in [1, 2] {
        let mut world = World::nat64(workers, |plan| {
            plan.addresses(1);
            plan.ports(1024, 1027);
            plan.pool().mode = PoolMode::OverloadedPorts;
            plan.behaviour64(
                MappingType::AddressAndPortDependent,
                FilteringType::AddressAndPortDependent,
            );
        });
        let mut sessions = Vec::new();
        for n in 0..20u16 {
            let (from, to) = ((HOST1, 5000 + n), (OUT1 + u32::from(n), 80));
            let public = world.inside(udp6(from, (in64(to.0), to.1))).public();
            sessions.push((from, to, public));
        }
        for (from, to, public) in sessions {
            assert_eq!(world.outside(udp(to, public)).ends6(), ((in64(to.0), to.1), from));
        }
        // One peer has as many as there are ports.
        let same: Vec<_> = (0..6u16)
            .map(|n| world.inside(udp6((HOST1, 6000 + n), (in64(OUT1), 9))).verdict)
            .collect();
        assert_eq!(same.iter().filter(|v| **v == Verdict::Forward).count(), 4);
    }
}

#[test]
fn n1_sessions_are_found_by_any_of_their_ends() {
    use tandem_engine::view::{Ask, Filter};
    let mut world = World::nat64(2, |_| {});
    let public = world.inside(udp6((HOST1, 5000), TO)).public();
    world.inside(udp6((HOST2, 5000), TO)).forwarded();
    world.inside(syn6((HOST1, 5001), (in64(OUT2), 80))).forwarded();
    let by = |f: &mut dyn FnMut(&mut Filter)| {
        let mut filter = Filter::default();
        f(&mut filter);
        filter
    };
    let v4 = |address: u32| IpAddr::V4(address.into());
    for (filter, count) in [
        (by(&mut |f| f.inside = Some(v6(HOST1))), 2),
        (by(&mut |f| f.outside = Some(v6(TO.0))), 2),
        (by(&mut |f| f.outside = Some(v4(OUT1))), 2),
        (by(&mut |f| f.outside = Some(v4(OUT2))), 1),
        (
            by(&mut |f| {
                (f.public, f.public_port, f.protocol) = (Some(v4(public.0)), Some(public.1), Some(17))
            }),
            1,
        ),
        (by(&mut |f| f.protocol = Some(6)), 1),
        (by(&mut |f| f.service_set = Some(2)), 0),
    ] {
        let found: u64 = world
            .ask(Ask::CountSessions, filter)
            .iter()
            .map(|q| q.matched)
            .sum();
        assert_eq!(found, count, "{filter:?}");
    }
    let all = world.ask(Ask::ClearSessions, by(&mut |f| f.inside = Some(v6(HOST1))));
    assert_eq!(all.iter().map(|q| q.matched).sum::<u64>(), 2);
    assert_eq!((world.sessions().len(), world.mappings().len()), (1, 1));
}

#[test]
fn n1_mappings_keep_their_prefix_when_a_reload_orders_them_anew() {
    let second = 0x2001_0db8_0065 << 80;
    let third = 0x2001_0db8_0066 << 80;
    let mut world = World::nat64(1, |plan| {
        plan.prefix64(2, second, 96);
        plan.prefix64(3, third, 96);
        plan.set().ipv6.nat64_prefixes = vec![1, 2];
    });
    let v4 = |address: u32| u128::from(address);
    let one = world.inside(udp6((HOST1, 5000), TO)).public();
    let two = world
        .inside(udp6((HOST2, 5000), (second | v4(OUT1), 80)))
        .public();
    for (round, order) in [vec![2, 1], vec![3, 2, 1], vec![3, 2], vec![1, 3, 2]]
        .into_iter()
        .enumerate()
    {
        world.reload(|plan| plan.set().ipv6.nat64_prefixes = order.clone());
        world.settle_time();
        let port = 100 + round as u16;
        let got = world.outside(udp((OUT2, port), two));
        assert_eq!(
            got.ends6(),
            ((second | v4(OUT2), port), (HOST2, 5000)),
            "{order:?}"
        );
        if round < 2 {
            let got = world.outside(udp((OUT2, port), one));
            assert_eq!(got.ends6(), ((in64(OUT2), port), (HOST1, 5000)), "{order:?}");
        } else {
            // Its last session went with the prefix.
            assert_eq!(
                world.outside(udp((OUT2, port), one)).dropped(),
                DropReason::NoMapping
            );
        }
    }
    // A new mapping's prefix is its own, whatever stood in its place before.
    let three = world.inside(udp6((HOST3, 5000), (third | v4(OUT1), 80))).public();
    let got = world.outside(udp((OUT2, 7), three));
    assert_eq!(got.ends6(), ((third | v4(OUT2), 7), (HOST3, 5000)));
}
