//! Two chassis of a pair, their roles alone, on clocks that are played: each path of heartbeats and channel is lost, delayed and cut off
//! in one direction, chassis crash, stop and start, workers stand still, monitors flap, people and policies command. Each seed draws
//! which of that happens. What must hold of each of up to three sets is checked at each of 1100 steps of 100 ms.
//!
//! ```text
//!   world.rs: paths, channel, lives      storm.rs: trouble      commands.rs: commands, and what must become of them
//!     chassis.rs: a life, with its clock.rs, monitors.rs and routes.rs
//!   checks.rs: what must hold
//! ```
//!
//! A failing seed is printed; `TANDEM_SEED=n` replays it and shows what happened.
//! `TANDEM_SEEDS=a..b TANDEM_THREADS=n cargo test --release -p tandem-redundancy --test simulator many -- --ignored --nocapture` runs others.

mod chassis;
mod checks;
mod clock;
mod commands;
mod monitors;
mod routes;
mod storm;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use checks::Longest;
use world::{Fault, STEP_MS, World};

/// Seeds of a usual run.
const SEEDS: Range<u64> = 0..1000;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.trim().parse().ok()
}

fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var("TANDEM_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = range.split_once("..").expect("a range like 0..1000");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Runs seeds on threads until so many have failed; what was seen, and the seeds that fail.
fn run(seeds: Range<u64>, threads: usize, failures_max: usize) -> (Longest, Vec<u64>) {
    let (next, seen) = (
        AtomicU64::new(seeds.start),
        Mutex::new((Longest::default(), Vec::new())),
    );
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = seen.lock().expect("nobody panics with it").1.len() >= failures_max;
                    if seed >= seeds.end || enough {
                        return;
                    }
                    let mut world = World::new(seed, false);
                    let done = world.run();
                    let mut seen = seen.lock().expect("nobody panics with it");
                    seen.0.add(seed, &world.checks.longest);
                    if let Err(Fault { now_ms, what }) = done {
                        let step = now_ms / STEP_MS;
                        println!("seed {seed} fails at step {step}; {what}");
                        seen.1.push(seed);
                    }
                }
            });
        }
    });
    seen.into_inner().expect("all are done")
}

/// A bounded number of runs.
#[test]
fn roles_of_a_pair_hold_what_they_promise() {
    let (seen, failed) = run(SEEDS, 1, 20);
    assert!(
        failed.is_empty(),
        "seeds {failed:?} fail, replay with TANDEM_SEED=n"
    );
    assert!(seen.takeovers > 0, "nothing happened");
}

/// Seeds that failed once. 46: a primary is heard over the channel before a heartbeat tells its priority. 13762: what a preempting chassis asks
/// for crosses the beginning of a bulk. 65096: workers stand still for as long as one asks for its set, and it fails meanwhile.
#[test]
fn what_failed_once_holds() {
    for seed in [46, 13_762, 65_096] {
        if let Err(Fault { now_ms, what }) = World::new(seed, false).run() {
            panic!("seed {seed} at {now_ms} ms: {what}");
        }
    }
}

/// Runs the seed of the environment variable `TANDEM_SEED` (0 without it) and tells what happens.
#[test]
fn replay() {
    let mut world = World::new(variable("TANDEM_SEED").unwrap_or(0), true);
    if let Err(Fault { now_ms, what }) = world.run() {
        panic!("at {now_ms} ms: {what}");
    }
}

/// Runs the seeds of `TANDEM_SEEDS` on `TANDEM_THREADS` threads, until `TANDEM_FAILURES` have failed.
#[test]
#[ignore = "takes as long as it is told to"]
fn many() {
    let (seeds, start) = (seeds(), Instant::now());
    let (threads, failures) = (variable("TANDEM_THREADS"), variable("TANDEM_FAILURES"));
    let (seen, failed) = run(seeds.clone(), threads.unwrap_or(2), failures.unwrap_or(20));
    println!("{seeds:?}: {seen:?} in {:?}", start.elapsed());
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
}
