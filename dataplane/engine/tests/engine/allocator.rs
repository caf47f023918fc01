//! Properties of the port allocator, option by option, whatever the numbers.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tandem_engine::address::of_v4;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Verdict;
use tandem_engine::ports::BlockEventKind::{Allocated, Interim, Released};
use tandem_engine::program::{AddressAllocation, AddressPooling, PortAllocation, PortBlocks};
use tandem_engine::ticks::Ticks;

use crate::common::packets::udp;
use crate::common::world::World;
use crate::common::{IN1, OUT1, POOL};

fn open(world: &mut World, host: u32, port: u16) -> Result<(u32, u16), DropReason> {
    let got = world.inside(udp((IN1 + host, port), (OUT1, 8000)));
    match got.verdict {
        Verdict::Forward => Ok(got.public()),
        _ => Err(got.dropped()),
    }
}

proptest! {
    // What fails is printed with its values; a bug that is fixed becomes a test with a name.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every port of the range is given once, none outside it, and exactly as many as there are.
    #[test]
    fn range_parity_and_exhaustion(
        first in 1u16..60_000, count in 1u16..400, random: bool, parity: bool, addresses in 1u32..4, seed: u64,
    ) {
        let last = first.saturating_add(count - 1);
        let mut world = World::new(1, |p| {
            p.seed = seed;
            p.addresses(addresses);
            p.ports(first, last);
            p.pool().preserve_parity = parity;
            p.pool().address_pooling = AddressPooling::PairedSoft;
            p.pool().port_allocation = if random { PortAllocation::Random } else { PortAllocation::Sequential };
        });
        let room = |odd: u16| (first..=last).filter(|p| !parity || p % 2 == odd).count() * addresses as usize;
        for odd in [0, 1] {
            let mut seen = HashSet::new();
            for i in 0..(u32::from(count) * addresses + 5) {
                let inside = 2000 + odd + (i % 20_000) as u16 * 2;
                if let Ok((address, port)) = open(&mut world, u32::from(odd), inside) {
                    prop_assert!((first..=last).contains(&port) && (POOL..POOL + addresses).contains(&address));
                    prop_assert!(!parity || port % 2 == odd);
                    prop_assert!(seen.insert((address, port)));
                }
            }
            prop_assert_eq!(seen.len(), room(odd));
            if !parity {
                break;
            }
        }
    }

    /// Blocks: of the right size and alignment, one subscriber each, at most as many as allowed, and every port of them
    /// is of use. What is allocated is released.
    #[test]
    fn blocks_are_their_subscribers(
        size_log in 6u32..11, max in 1u16..5, hosts in 1u32..12, seed: u64, random: bool,
    ) {
        let size = 1u16 << size_log;
        let mut world = World::new(1, |p| {
            p.seed = seed;
            p.addresses(2);
            p.blocks(size, max);
            p.sizes.max_blocks = 64;
            (p.sizes.max_sessions, p.sizes.max_mappings) = (32_768, 32_768);
            p.pool().port_allocation = if random { PortAllocation::Random } else { PortAllocation::Sequential };
        });
        let each = u32::from(size / 2) + 3;
        for host in 0..hosts {
            for i in 0..each {
                prop_assert!(open(&mut world, host, 2000 + i as u16).is_ok());
            }
        }
        let mut held: BTreeMap<(u32, u16), (u32, u16)> = BTreeMap::new();
        for event in world.block_events() {
            prop_assert_eq!(event.kind, Allocated);
            prop_assert_eq!((event.last_port - event.first_port + 1, event.first_port % size), (size, 0));
            prop_assert!(event.first_port >= 1024);
            prop_assert!(held.insert((event.public, event.first_port), (event.inside as u32, event.last_port)).is_none());
        }
        prop_assert_eq!(held.len(), hosts as usize, "half a block each needs one block each");
        for m in world.mappings() {
            let std::net::IpAddr::V4(public) = m.public else { unreachable!() };
            let block = held.range(..=(u32::from(public), m.public_port)).next_back();
            let (_, (inside, last)) = block.expect("in a block");
            prop_assert!(m.public_port <= *last);
            prop_assert_eq!(std::net::IpAddr::from(inside.to_be_bytes()), m.inside);
        }
        // To the limit, and no port further.
        let more = (0..u32::from(size) * u32::from(max) + 1)
            .filter(|i| open(&mut world, 0, 10_000u16.wrapping_add(*i as u16)).is_ok())
            .count() as u32;
        prop_assert_eq!(more + each, u32::from(size) * u32::from(max));
        prop_assert_eq!(open(&mut world, 0, 1), Err(DropReason::SubscriberBlockLimit));
        world.pass_seconds(400);
        let events = world.block_events();
        prop_assert!(events.iter().filter(|e| e.kind == Released).count() == hosts as usize + usize::from(max) - 1);
        prop_assert_eq!(world.engines[0].table_use()[3].0, 0);
    }

    /// The last block of an idle subscriber stays for the recycle time, and is its when it comes back.
    #[test]
    fn last_block_recycles(recycle in 2u32..500, seed: u64) {
        let mut world = World::new(1, |p| {
            p.seed = seed;
            p.set().timeouts.udp = Ticks::from_seconds(10);
            p.pool().quarantine = Ticks::from_seconds(1);
            p.blocks(64, 2);
            p.pool().port_blocks = p.pool().port_blocks.map(|b| PortBlocks {
                last_block_recycle_timeout: Ticks::from_seconds(recycle),
                ..b
            });
        });
        let block = |public: (u32, u16)| (public.0, public.1 / 64);
        let first = open(&mut world, 0, 2000).map(block);
        world.pass_seconds(12);
        prop_assert_eq!(world.sessions().len(), 0);
        world.pass_seconds(recycle.saturating_sub(4));
        prop_assert_eq!(open(&mut world, 0, 2001).map(block), first);
        world.pass_seconds(12);
        world.pass_seconds(recycle + 3);
        prop_assert_eq!((world.engines[0].table_use()[3].0, world.subscribers().len()), (0, 0));
        let kinds: Vec<_> = world.block_events().iter().map(|e| e.kind).collect();
        prop_assert_eq!(kinds, vec![Allocated, Released]);
    }
}

#[test]
fn an_old_active_block_gives_way_to_a_new_one() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(1024, 1024 + 127);
        p.blocks(64, 4);
        p.pool().port_blocks = p.pool().port_blocks.map(|b| PortBlocks {
            active_block_timeout: Ticks::from_seconds(60),
            ..b
        });
    });
    let block = |r: Result<(u32, u16), _>| r.map(|(_, port)| port / 64);
    let first = block(open(&mut world, 0, 2000));
    world.pass_seconds(30);
    assert_eq!(block(open(&mut world, 0, 2001)), first);
    world.pass_seconds(31);
    let second = block(open(&mut world, 0, 2002));
    assert!(second.is_ok() && second != first);
    // No third one is to be had: the second serves on, though it is old, and then the first.
    world.pass_seconds(61);
    assert_eq!(block(open(&mut world, 0, 2003)), second);
    let served = (0..200).filter(|i| open(&mut world, 0, 3000 + i).is_ok()).count();
    assert_eq!(served, 128 - 4);
}

#[test]
fn held_blocks_are_logged_again() {
    let mut world = World::new(1, |p| {
        p.set().timeouts.udp = Ticks::from_seconds(1000);
        p.blocks(64, 4);
        p.pool().port_blocks = p.pool().port_blocks.map(|b| PortBlocks {
            interim_logging_interval: Ticks::from_seconds(100),
            ..b
        });
    });
    open(&mut world, 0, 2000).expect("a port");
    for _ in 0..55 {
        world.pass_seconds(10);
    }
    let events = world.block_events();
    let interim: Vec<u32> = events
        .iter()
        .filter(|e| e.kind == Interim)
        .map(|e| e.at.seconds())
        .collect();
    assert!((4..=5).contains(&interim.len()), "{interim:?}");
    assert!(
        interim.windows(2).all(|w| (100..=115).contains(&(w[1] - w[0]))),
        "{interim:?}"
    );
    assert!(
        events
            .iter()
            .all(|e| e.since == events[0].at && e.inside == of_v4(IN1))
    );
}

#[test]
fn full_addresses_in_a_row_hide_no_free_one() {
    for allocation in [AddressAllocation::RoundRobin, AddressAllocation::Sequential] {
        let mut world = World::new(1, |p| {
            p.addresses(200);
            p.ports(1024, 1024);
            p.pool().address_allocation = allocation;
        });
        let mut served = 0;
        for host in 0..600 {
            served += u32::from(open(&mut world, host, 5000).is_ok());
        }
        assert_eq!(served, 200, "{allocation:?}");
        // One comes free in the midst of full ones, far from where the search stands.
        world.reload(|p| p.pool().quarantine = Ticks::ZERO);
        let filter = tandem_engine::view::Filter {
            public: Some(std::net::IpAddr::from((POOL + 150).to_be_bytes())),
            ..Default::default()
        };
        world.ask(tandem_engine::view::Ask::ClearSessions, filter);
        let tries = (0..10).find(|i| open(&mut world, 1000 + i, 5000).is_ok());
        assert!(tries.is_some_and(|t| t < 6), "{allocation:?} {tries:?}");
    }
}

#[test]
fn an_address_that_moved_between_pools_is_used_again() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(2000, 2001);
        p.pool().quarantine = Ticks::from_seconds(20);
    });
    let old = open(&mut world, 0, 5000).expect("a port");
    world.reload(|p| {
        p.program.pools = vec![crate::common::plan::pool(2, POOL, 1)];
        p.ports(2000, 2001);
        p.pool().quarantine = Ticks::from_seconds(20);
        p.program.service_sets = vec![crate::common::plan::service_set(1, 2)];
    });
    // The session of the old pool ends, its port rests, the other serves at once.
    assert!(
        open(&mut world, 0, 5000).is_ok(),
        "until the purge comes by it is still known"
    );
    world.settle_time();
    assert_eq!(
        (
            world.sessions().len(),
            world.engines[0].counters().sessions_purged
        ),
        (0, 1)
    );
    let new = open(&mut world, 1, 5000).expect("the other port");
    assert_ne!(new, old);
    assert_eq!(open(&mut world, 2, 5000), Err(DropReason::NatOutOfPorts));
    world.pass_seconds(41);
    assert_eq!(open(&mut world, 2, 5000), Ok(old));
}

#[test]
fn draining_gives_nothing_new_and_ends_nothing() {
    let mut world = World::new(2, |_| {});
    let public = open(&mut world, 0, 5000);
    world.reload(|p| p.pool().drain = true);
    world.settle_time();
    assert_eq!(open(&mut world, 0, 5000), public);
    let another = world.inside(udp((IN1, 5000), (OUT1 + 1, 8000)));
    assert_eq!(
        Ok(another.public()),
        public,
        "a mapping there is serves new sessions"
    );
    assert_eq!(open(&mut world, 0, 5001), Err(DropReason::NatOutOfAddresses));
    assert_eq!(open(&mut world, 1, 5000), Err(DropReason::NatOutOfAddresses));
}

#[test]
fn new_timeouts_reach_sessions_that_are_there() {
    let mut world = World::new(1, |p| p.set().timeouts.udp = Ticks::from_seconds(4000));
    open(&mut world, 0, 5000).expect("a port");
    world.reload(|p| p.set().timeouts.udp = Ticks::from_seconds(100));
    world.settle_time();
    world.pass_seconds(99);
    assert_eq!(world.sessions().len(), 1);
    world.pass_seconds(3);
    assert!(world.sessions().is_empty());
}
