//! The simulator: random operations on one or several workers with one to three shards each, their books checked after each.
//!
//! A seed decides everything. `SIMULATOR_SEED=n` runs that one alone and tells each step; `SIMULATOR_SEEDS=n` runs that many
//! (by default enough for a few seconds). A failure prints its seed.

pub mod books;
mod ledger;
pub mod operations;
pub mod plans;
mod rules;

use tandem_engine::hash::Rng;

use crate::common::world::World;
use books::{Books, Seen};
use operations::Operations;

/// Operations of one run.
const STEPS: u32 = 80;

fn run(seed: u64, loud: bool) -> Seen {
    let mut rng = Rng::new(seed);
    let workers = [1, 2, 4][rng.below(3) as usize];
    let mut world = World::new(workers, |plan| {
        plan.seed = seed;
        plan.shards_each = 1 + (seed % 3) as u8;
        plans::first(plan, &mut rng);
    });
    let mut books = Books::new(&world);
    let mut operations = Operations::default();
    for step in 0..STEPS {
        let done = operations.step(&mut world, &mut books, &mut rng);
        if loud {
            eprintln!("step {step} at {:?}: {done}", world.now);
        }
        books.check(&mut world);
    }
    finish(&mut world, &mut books);
    books.seen
}

/// Everything ends: tables empty, and when the pools are gone, every extent free.
fn finish(world: &mut World, books: &mut Books) {
    world.pass_seconds(1000);
    world.pass_seconds(1000);
    books.settled(tandem_engine::ticks::Ticks::from_seconds(1000));
    books.check(world);
    for (at, engine) in world.engines.iter().enumerate() {
        let live: Vec<u32> = engine.table_use().iter().map(|(live, _)| *live).collect();
        assert_eq!(
            live, [0; 4],
            "sessions, mappings, subscribers, blocks of worker {at}"
        );
    }
    world.reload(|plan| plan.program.pools.clear());
    books.reloaded(world);
    world.pass_seconds(1000);
    let space = std::sync::Arc::clone(&world.program.public_space);
    let rounds = space.index_end() / 64 + 2;
    for _ in 0..rounds {
        world.pass_seconds(1);
    }
    for index in 0..space.index_end() {
        for extent in 0..16 {
            assert_eq!(
                space.owner(index, extent),
                0xff,
                "extent {extent} of address {index} is nobody's"
            );
        }
    }
    for pool in world.engines.iter().flat_map(|e| e.pool_use()) {
        let left = (
            pool.tcp_ports,
            pool.udp_ports,
            pool.icmp_ids,
            pool.extents,
            pool.blocks,
            pool.subscribers,
        );
        assert_eq!(left, (0, 0, 0, 0, 0, 0), "use of pool {}", pool.pool);
    }
}

#[test]
fn random_operations_keep_the_books() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|v: String| v.parse::<u64>().ok())
    };
    if let Some(seed) = number("SIMULATOR_SEED") {
        run(seed, true);
        return;
    }
    let seeds = number("SIMULATOR_SEEDS").unwrap_or(60);
    let mut seen = Seen::new();
    for seed in 0..seeds {
        match std::panic::catch_unwind(|| run(seed, false)) {
            Ok(more) => seen.extend(more),
            Err(panic) => {
                eprintln!("seed {seed} fails; SIMULATOR_SEED={seed} repeats it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds >= 60 {
        everything_was_reached(&seen);
    }
}

/// Random runs that no longer reach something say nothing about it.
fn everything_was_reached(seen: &Seen) {
    for families in ["IPv4", "NAT64"] {
        for basis in ["a rule", "a shared port", "a port", "a mapping"] {
            assert!(
                seen.iter().any(|s| (s.0, s.1) == (basis, families)),
                "no {families} session on {basis}: {seen:?}"
            );
        }
        assert!(
            seen.contains(&("a mapping", families, "not answered")),
            "{seen:?}"
        );
        assert!(seen.contains(&("a rule", families, "from outside")), "{seen:?}");
    }
    assert!(seen.contains(&("a claim", "IPv4", "")), "{seen:?}");
    for families in ["IPv4", "IPv6"] {
        for special in ["", "from outside", "extended"] {
            assert!(seen.contains(&("nothing", families, special)), "{seen:?}");
        }
    }
}
