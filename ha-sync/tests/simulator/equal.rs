//! After quiet time the standby has what its primary has: replicated sessions, mappings, port blocks, extents.

use std::collections::BTreeSet;

use tandem_engine::mapping::WHOLE_ADDRESS;
use tandem_engine::program::PoolMode;
use tandem_engine::public_space::MAX_WORKERS;
use tandem_engine_testkit::world::World;

use crate::views::{self, Detail, Ends, MappingEnds};

/// A port block: pool, address, first port, size, subscriber.
type Block = (u16, u32, u16, u16, u128);

fn sessions(world: &World, set: u16) -> BTreeSet<(Ends, Detail)> {
    let all = world.engines.iter().flat_map(views::sessions);
    all.filter(|s| s.ends.set == set && s.replicated)
        .map(|s| (s.ends, s.detail))
        .collect()
}

fn mappings(world: &World, set: u16) -> BTreeSet<MappingEnds> {
    let all = world.engines.iter().flat_map(views::mappings);
    all.filter(|m| m.0 == set).collect()
}

/// Mappings that a replicated session stands on.
fn replicated<'a>(
    mappings: &'a BTreeSet<MappingEnds>,
    sessions: &'a BTreeSet<(Ends, Detail)>,
) -> impl Iterator<Item = MappingEnds> + 'a {
    let stands_on = |s: &Ends, (_, inside, public, _): &MappingEnds| match public.2 {
        WHOLE_ADDRESS => s.inside.0 == inside.0,
        protocol => (s.inside, s.public.1, s.protocol) == (*inside, public.1, protocol),
    };
    mappings
        .iter()
        .filter(move |m| sessions.iter().any(|(s, _)| stands_on(s, m)))
        .copied()
}

fn blocks(world: &World, pool: u16) -> BTreeSet<Block> {
    let mut found = BTreeSet::new();
    for engine in &world.engines {
        let tables = engine.tables();
        for place in 0..tables.ports.blocks_end() {
            let Some((_, block)) = tables.ports.block(place).filter(|(_, b)| b.pool == pool) else {
                continue;
            };
            let address = world.program.public_space.address(block.address_index);
            let of = tables.subscribers.get(block.subscriber);
            found.insert((
                pool,
                address.map_or(0, |a| a.0),
                block.first_port,
                block.size,
                of.map_or(0, |s| s.address()),
            ));
        }
    }
    found
}

/// Extents of a pool that shards have: address, extent, shard.
fn extents(world: &World, pool: u16) -> BTreeSet<(u32, usize, u8)> {
    let space = &world.program.public_space;
    let mut found = BTreeSet::new();
    for states in space.lease_states(0).filter(|s| s.pool == pool) {
        let owners = states.owners.iter().enumerate();
        found.extend(
            owners
                .filter(|(_, owner)| **owner < MAX_WORKERS)
                .map(|(e, owner)| (states.address, e, *owner)),
        );
    }
    found
}

/// What one has and the other has not.
fn compare<T: Ord + std::fmt::Debug>(what: &str, set: u16, primary: &BTreeSet<T>, standby: &BTreeSet<T>) {
    let missing: Vec<_> = primary.difference(standby).collect();
    let extra: Vec<_> = standby.difference(primary).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{what} of service set {set} after quiet time: the standby lacks {missing:x?} and has {extra:x?} more"
    );
}

/// Checks one service set, whose pool has the same number; how many sessions there are.
pub fn check(primary: &World, standby: &World, set: u16) -> u64 {
    let (here, there) = (sessions(primary, set), sessions(standby, set));
    compare("sessions", set, &here, &there);
    // A mapping without a replicated session may have been told of when it had one, or not.
    let (all, has) = (mappings(primary, set), mappings(standby, set));
    let told = replicated(&all, &here).chain(has.intersection(&all).copied());
    compare("mappings", set, &told.collect(), &has);
    compare("blocks", set, &blocks(primary, set), &blocks(standby, set));
    // Whole addresses come and go with their mappings; those that rest are the primary's alone.
    let pool = primary.program.pools.iter().find(|p| p.id == set);
    if pool.is_none_or(|p| p.mode != PoolMode::Addresses) {
        compare("extents", set, &extents(primary, set), &extents(standby, set));
    }
    here.len() as u64
}
