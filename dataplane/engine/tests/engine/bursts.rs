//! First packets that arrive together: what one of them takes, the next of the same burst must not get.

use std::collections::HashSet;

use tandem_engine::address::of_v4;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::{FilteringType, MappingType, PoolMode, PortAllocation};

use crate::common::packets::udp;
use crate::common::plan::INSIDE;
use crate::common::world::World;
use crate::common::{IN1, OUT1};

/// Public ends of as many first packets as there are ports for, sent in one burst by `from`.
fn publics(world: &mut World, from: impl Fn(u16) -> (u32, u16)) -> HashSet<(u32, u16)> {
    let packets = (0..8).map(|n| udp(from(n), (OUT1, 53))).collect();
    let got = world.burst(INSIDE, packets);
    got.iter().map(|g| g.public()).collect()
}

#[test]
fn ports_by_a_formula_are_given_out_once() {
    for allocation in [PortAllocation::Sequential, PortAllocation::Random] {
        let mut world = World::new(1, |plan| {
            plan.ports(1024, 1031);
            plan.pool().mode =
                PoolMode::Deterministic(Deterministic::new(vec![(of_v4(IN1), 16)], 128, 8).unwrap());
            plan.pool().port_allocation = allocation;
        });
        let ends = publics(&mut world, |n| (IN1, 2000 + n));
        assert_eq!(ends.len(), 8);
        for mapping in world.mappings() {
            assert!((1024..=1031).contains(&mapping.public_port));
        }
    }
}

#[test]
fn overloaded_ports_are_shared_with_other_outside_ends_only() {
    for allocation in [PortAllocation::Sequential, PortAllocation::Random] {
        let mut world = World::new(1, |plan| {
            plan.addresses(1);
            plan.ports(1024, 1031);
            plan.pool().mode = PoolMode::OverloadedPorts;
            plan.pool().port_allocation = allocation;
            plan.behaviour(
                MappingType::AddressAndPortDependent,
                FilteringType::AddressAndPortDependent,
            );
        });
        let ends = publics(&mut world, |n| (IN1 + u32::from(n), 2000));
        assert_eq!(ends.len(), 8);
        assert_eq!(world.sessions().len(), 8);
    }
}
