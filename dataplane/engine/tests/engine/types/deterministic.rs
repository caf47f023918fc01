//! Ports by formula (RFC 7422), NAPT44 and NAT64: every public end lies in the block computed for its subscriber, and leads
//! back to it by the inverse.

use std::collections::HashSet;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Verdict;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::{FilteringType, MappingType, PortAllocation};

use super::*;
use crate::common::packets::*;
use crate::common::packets6::{echo6, syn6, udp6};
use crate::common::plan::INSIDE;
use crate::common::world::with_workers;
use crate::common::{IN1, OUT1, OUT2, POOL, in6, ip};

/// First of 24 subscribers.
const FIRST: u32 = ip(10, 0, 2, 0);
/// Ports of each.
const EACH: u16 = 20;

fn formula(plan: &mut Plan, subscribers: (u128, u64), prefix: u8) {
    plan.addresses(2);
    plan.ports(4090, 4090 + 12 * EACH + 5);
    let formula = Deterministic::new(vec![subscribers], prefix, EACH).expect("a formula");
    plan.pool().mode = PoolMode::Deterministic(formula);
}

fn world(workers: u8) -> World {
    World::new(workers, |plan| {
        formula(plan, (address::of_v4(FIRST), 24), 128);
    })
}

/// Whether a public end is one that the formula gives this inside address, either way round.
#[track_caller]
fn assert_agrees(world: &World, inside: u128, subscriber: u128, public: (u32, u16)) {
    let pool = &world.program.pools[0];
    let ports = pool.ports_of(inside).expect("a subscriber of the pool");
    assert_eq!(ports.address, public.0);
    assert!(
        (ports.first..=ports.last).contains(&public.1),
        "{public:?} of {ports:?}"
    );
    assert_eq!(ports.last - ports.first, EACH - 1);
    assert_eq!(pool.subscriber_of(public.0, public.1), Some(subscriber));
}

#[test]
fn every_port_is_of_the_computed_block() {
    with_workers(|workers| {
        let mut world = world(workers);
        let mut seen = HashSet::new();
        for i in 0..24 {
            let inside = FIRST + i;
            for n in 0..EACH {
                let packet = match n % 3 {
                    0 => udp((inside, 1000 + n), (OUT1, 53)),
                    1 => syn((inside, 1000 + n), (OUT1, 80)),
                    _ => echo((inside, 1000 + n), OUT1),
                };
                let public = world.inside(packet).public();
                assert!(seen.insert((public, n % 3)));
                let v6 = address::of_v4(inside);
                assert_agrees(&world, v6, v6, public);
                if n % 3 == 0 {
                    assert_eq!(
                        world.outside(udp((OUT1, 53), public)).ends().1,
                        (inside, 1000 + n)
                    );
                }
            }
        }
        let uses = pool_use(&world);
        assert_eq!((uses.extents, uses.udp_ports), (0, 24 * 7), "no extent is taken");
        world.pass_seconds(8000);
        assert_empty(&world);
    });
}

#[test]
fn a_subscriber_has_its_block_and_no_more() {
    with_workers(|workers| {
        let mut world = world(workers);
        let mut ports = HashSet::new();
        for n in 0..EACH {
            assert!(ports.insert(world.inside(udp((FIRST, 1000 + n), (OUT1, 53))).public()));
        }
        assert_eq!(
            world.inside(udp((FIRST, 5000), (OUT1, 53))).dropped(),
            DropReason::NatOutOfPorts
        );
        // Others are not touched by that, nor is another protocol.
        world.inside(udp((FIRST + 1, 5000), (OUT1, 53))).forwarded();
        world.inside(syn((FIRST, 5000), (OUT1, 80))).forwarded();
        // Freed ports rest in nobody's way: they are always the same subscriber's.
        world.pass_seconds(305);
        let again = world.inside(udp((FIRST, 5000), (OUT1, 53))).public();
        assert!(ports.contains(&again));
    });
}

#[test]
fn a_burst_of_new_sessions_gets_a_port_each() {
    for mapping in [
        MappingType::EndpointIndependent,
        MappingType::AddressAndPortDependent,
    ] {
        let mut world = world(1);
        world.reload(|plan| plan.behaviour(mapping, FilteringType::AddressAndPortDependent));
        for round in 0..3 {
            let packets = (0..8)
                .map(|n| udp((FIRST, 1000 + round * 8 + n), (OUT1, 53)))
                .collect();
            world.burst(INSIDE, packets);
        }
        let sessions = world.sessions();
        assert_eq!(sessions.len(), usize::from(EACH), "{mapping:?}");
        let publics: HashSet<_> = sessions.iter().map(|s| (s.public, s.public_port)).collect();
        assert_eq!(publics.len(), sessions.len(), "{mapping:?}: each has its own");
        for s in &sessions {
            let back = world.outside(udp((OUT1, 53), (POOL, s.public_port)));
            assert_eq!(back.ends().1, (FIRST, s.inside_port));
        }
        world.pass_seconds(400);
        assert_empty(&world);
    }
}

#[test]
fn who_is_no_subscriber_of_the_formula_is_refused() {
    let mut world = world(1);
    for stranger in [FIRST + 24, FIRST - 1, IN1] {
        assert_eq!(
            world.inside(udp((stranger, 1), (OUT1, 53))).dropped(),
            DropReason::NatOutOfAddresses
        );
    }
    assert_eq!(
        world.inside(raw(50, FIRST, OUT1)).dropped(),
        DropReason::NatUnsupportedProtocol
    );
    assert_empty(&world);
}

#[test]
fn nat64_subscribers_are_prefixes() {
    with_workers(|workers| {
        let mut world = World::new(workers, |plan| {
            nat64(
                plan,
                MappingType::EndpointIndependent,
                FilteringType::EndpointIndependent,
            );
            formula(plan, (in6(0x100, 0), 24), 64);
        });
        let (to1, to2) = (pref64().embed(OUT1), pref64().embed(OUT2));
        for subnet in 0..24 {
            for host in 1..5 {
                let inside = in6(0x100 + subnet, host);
                let n = host as u16;
                for got in [
                    world.inside(udp6((inside, n), (to1, 53))),
                    world.inside(udp6((inside, n), (to2, 53))),
                    world.inside(syn6((inside, n), (to1, 80))),
                    world.inside(echo6((inside, n), to2)),
                ] {
                    assert_agrees(&world, inside, in6(0x100 + subnet, 0), got.public());
                }
            }
        }
        // 4 mappings each by now: 16 ports are left of each block.
        let mut refused = 0;
        for n in 0..30 {
            let got = world.inside(udp6((in6(0x100, 99), 2000 + n), (to1, 53)));
            if got.verdict != Verdict::Forward {
                assert_eq!(got.dropped(), DropReason::NatOutOfPorts);
                refused += 1;
            }
        }
        assert_eq!(refused, 14);
        assert_eq!(
            world.inside(udp6((in6(0x118, 1), 1), (to1, 53))).dropped(),
            DropReason::NatOutOfAddresses
        );
        world.pass_seconds(8000);
        assert_empty(&world);
    });
}

#[test]
fn every_port_of_a_long_block_is_used() {
    const LONG: u16 = 1000;
    for allocation in [PortAllocation::Sequential, PortAllocation::Random] {
        let mut world = World::new(1, |plan| {
            plan.addresses(1);
            plan.ports(1024, 1024 + 8 * LONG - 1);
            plan.pool().port_allocation = allocation;
            let formula = Deterministic::new(vec![(address::of_v4(FIRST), 8)], 128, LONG).expect("a formula");
            plan.pool().mode = PoolMode::Deterministic(formula);
        });
        let ports: HashSet<_> = (0..LONG)
            .map(|n| world.inside(udp((FIRST + 1, 5000 + n), (OUT1, 53))).public().1)
            .collect();
        assert_eq!(ports.len(), usize::from(LONG), "{allocation:?}");
        let got = world.inside(udp((FIRST + 1, 4999), (OUT1, 53)));
        assert_eq!(got.dropped(), DropReason::NatOutOfPorts);
        world.pass_seconds(400);
        assert_empty(&world);
    }
}
