//! The allocator's side of the books: what sessions and mappings hold is what it counts as taken, by port, extent, address, class
//! and pool, and nothing else is.

use std::collections::HashMap;

use tandem_engine::engine::Tables;
use tandem_engine::mapping::WHOLE_ADDRESS;
use tandem_engine::ports::{PortAllocator, PortClass};
use tandem_engine::session::NO_RECORD;
use tandem_engine::view::PoolUse;

use crate::common::world::World;

/// A public end: address, port, protocol; of a whole address port 0 and [`WHOLE_ADDRESS`].
pub type Public = (u32, u16, u8);

/// Something that is taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// What.
    pub public: Public,
    /// By whom.
    pub subscriber: u32,
    /// Other sessions may have it as well.
    pub shared: bool,
}

/// Checks one worker, shard by shard; says which of what is taken will rest when it is freed.
pub fn check(world: &World, worker: u8, tables: &Tables<'_>, taken: &[Taken]) -> Vec<Public> {
    let shards = tables.ports.split().shards_of(worker);
    let of = |subscriber| {
        let subscriber = tables.subscribers.get(subscriber).expect("it lives");
        tables.ports.shard(subscriber.address())
    };
    for n in 0..tables.subscribers.high_water() {
        assert!(tables.subscribers.get(n).is_none() || shards.contains(&of(n)));
    }
    let each = shards.map(|shard| {
        let mine: Vec<_> = taken
            .iter()
            .copied()
            .filter(|t| of(t.subscriber) == shard)
            .collect();
        check_shard(world, shard, tables, &mine)
    });
    let all = each.flatten().collect();
    let use_of = |f: fn(&PoolUse) -> u64| {
        let shards = tables.ports.all().flat_map(|a| a.pool_use());
        assert_eq!(
            tables.ports.pool_use().map(|u| f(&u)).sum::<u64>(),
            shards.map(|u| f(&u)).sum()
        );
    };
    use_of(|u| u.udp_ports);
    use_of(|u| u.extents);
    use_of(|u| u.subscribers);
    all
}

fn check_shard(world: &World, shard: u8, tables: &Tables<'_>, taken: &[Taken]) -> Vec<Public> {
    let ports = tables.ports.of_shard(shard).expect("this worker's shard");
    let space = &world.program.public_space;
    let mut by_address = HashMap::<u32, u32>::new();
    let mut by_class = [0u64; 3];
    let mut will_rest = Vec::new();
    for t in taken {
        let (address, port, protocol) = t.public;
        let index = space.index_of(address).expect("a public address keeps its index");
        *by_address.entry(index).or_default() += 1;
        let Some(class) = PortClass::of_protocol(protocol) else {
            assert_eq!((protocol, port), (WHOLE_ADDRESS, 0));
            will_rest.push(t.public);
            continue;
        };
        by_class[class as usize] += 1;
        assert_ne!(port, 0);
        // Ports by a formula are counted, not kept; an address has only one kind at a time.
        let by_formula = (0..16)
            .filter_map(|e| ports.extent(index, e))
            .all(|x| x.used == [0; 3]);
        if !by_formula {
            assert!(
                ports.is_used(index, class, port),
                "{address:x}:{port} is not used"
            );
            if !t.shared {
                will_rest.push(t.public);
            }
        }
    }
    let mut paired = HashMap::<u32, u32>::new();
    for s in (0..tables.subscribers.high_water()).filter_map(|n| tables.subscribers.get(n)) {
        if s.paired != NO_RECORD && tables.ports.shard(s.address()) == shard {
            *paired.entry(s.paired).or_default() += 1;
        }
    }
    let mut extents = 0;
    for index in 0..space.index_end() {
        let owned = |e| space.owner(index, e) == shard;
        let kept = |e| ports.extent(index, e);
        let whole = (0..16).all(|e| owned(e) && kept(e).is_none());
        let mut in_extents = 0;
        for e in 0..16 {
            assert_eq!(
                kept(e).is_some(),
                owned(e) && !whole,
                "extent {e} of address {index}"
            );
            extents += u64::from(owned(e));
            in_extents += kept(e).map_or(0, |x| x.used.iter().sum::<u32>());
        }
        let here = by_address.get(&index).copied().unwrap_or(0);
        let pairs = paired.get(&index).copied().unwrap_or(0);
        let of = |t: &&Taken| space.index_of(t.public.0) == Some(index);
        assert_eq!(
            ports.address_use(index),
            (here, pairs),
            "address {index}: {:?}",
            taken.iter().filter(of).collect::<Vec<_>>()
        );
        assert!(
            in_extents == 0 || in_extents == here,
            "{in_extents} of {here} on address {index}"
        );
        if whole {
            assert!(here <= 1, "{here} have address {index}");
        }
    }
    let use_of = |f: fn(&PoolUse) -> u64| ports.pool_use().map(|u| f(&u)).sum::<u64>();
    assert_eq!(
        [
            use_of(|u| u.tcp_ports),
            use_of(|u| u.udp_ports),
            use_of(|u| u.icmp_ids)
        ],
        by_class,
        "use of pools"
    );
    assert_eq!(use_of(|u| u.extents), extents);
    assert_eq!(
        use_of(|u| u.subscribers),
        paired.values().map(|n| u64::from(*n)).sum::<u64>()
    );
    assert_eq!(use_of(|u| u.blocks), u64::from(ports.blocks().live()));
    will_rest
}

/// Blocks lie in extents of this worker, units and blocks name each other, and all ports in use in a block are its
/// subscriber's.
pub fn blocks_agree(world: &World, tables: &Tables<'_>, taken: &[Taken], ranges: &mut Vec<(u32, u16, u16)>) {
    for ports in tables.ports.all() {
        blocks_of_shard_agree(world, tables, ports, taken, ranges);
    }
    let places = (0..tables.ports.blocks_end()).filter(|place| tables.ports.block(*place).is_some());
    assert_eq!(places.count() as u32, tables.ports.block_use().0);
}

fn blocks_of_shard_agree(
    world: &World,
    tables: &Tables<'_>,
    ports: &PortAllocator,
    taken: &[Taken],
    ranges: &mut Vec<(u32, u16, u16)>,
) {
    let blocks = ports.blocks();
    let mut live = 0;
    let mut units = 0;
    for n in 0..blocks.high_water() {
        let Some(b) = blocks.get(n) else { continue };
        live += 1;
        ranges.push((b.address_index, b.first_port, b.last_port()));
        let extent = ports
            .extent(b.address_index, usize::from(b.first_port >> 12))
            .expect("its extent");
        let first = usize::from(b.first_port % 4096 / 64);
        for unit in first..first + usize::from(b.size / 64) {
            assert!(extent.units_taken >> unit & 1 == 1 && extent.unit_block[unit] == n);
            units += 1;
        }
        assert!(
            tables.subscribers.get(b.subscriber).is_some(),
            "a block's subscriber lives"
        );
        let address = world
            .program
            .public_space
            .address(b.address_index)
            .expect("its address")
            .0;
        let inside: Vec<_> = taken
            .iter()
            .filter(|t| t.public.0 == address && (b.first_port..=b.last_port()).contains(&t.public.1))
            .filter(|t| t.public.2 != WHOLE_ADDRESS)
            .collect();
        assert_eq!(usize::from(b.used), inside.len(), "{b:?}");
        for t in inside {
            assert_eq!(t.subscriber, b.subscriber, "a stranger in {b:?}");
        }
    }
    assert_eq!(blocks.live(), live);
    let taken: u32 = (0..world.program.public_space.index_end())
        .flat_map(|i| (0..16).filter_map(move |e| ports.extent(i, e)))
        .map(|e| e.units_taken.count_ones())
        .sum();
    assert_eq!(taken, units);
}
