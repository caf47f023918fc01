//! A run: a pair, and what happens to it step by step, all drawn from one seed.

use tandem_engine::hash::Rng;

use crate::pair::Pair;
use crate::program::{chance, pick};
use crate::report::Report;

/// Steps of a run.
pub const STEPS: u32 = 1000;
/// Steps at which a crash, or a flip, comes in any case.
const CERTAIN_FLIP: u32 = 300;
const CERTAIN_CRASH: u32 = 600;

/// Runs one seed; `at` is told each step's number before it is done, and what was done when `loud`.
pub fn run(seed: u64, is_automatic: bool, loud: bool, mut at: impl FnMut(u32)) -> Report {
    let mut rng = Rng::new(seed);
    let mut pair = Pair::new(seed, is_automatic);
    for step in 0..STEPS {
        at(step);
        let by_itself = if is_automatic {
            trouble(&mut pair, &mut rng)
        } else {
            None
        };
        let done = by_itself.unwrap_or_else(|| one_step(&mut pair, step, &mut rng));
        if loud {
            eprintln!("step {step} at {} ms: {done} | {}", pair.now, pair.summary());
        }
        pair.check();
    }
    at(STEPS);
    pair.quiet();
    pair.end();
    pair.report.seeds = 1;
    pair.report.steps = u64::from(STEPS);
    pair.report
}

/// What is done to an automatic pair beside all else: none, and the step is as any.
fn trouble(pair: &mut Pair, rng: &mut Rng) -> Option<&'static str> {
    Some(match rng.below(1000) {
        0..=14 => pair.change_paths(rng),
        15..=34 => pair.flap(rng),
        35..=39 => pair.stall_workers(rng),
        40..=54 => pair.ask(rng),
        _ => return None,
    })
}

fn one_step(pair: &mut Pair, step: u32, rng: &mut Rng) -> &'static str {
    if step == CERTAIN_FLIP {
        pair.make_whole();
        let set = pick(rng, &pair.sets());
        pair.flip(set);
        return "a flip for certain";
    }
    if step == CERTAIN_CRASH {
        pair.make_whole();
        pair.crash(rng.below(2) as usize, true);
        return "a crash for certain";
    }
    match rng.below(1000) {
        0..=299 => pair.new_sessions(rng),
        300..=549 => pair.known_sessions(rng),
        550..=599 => pair.strangers(rng),
        600..=619 => pair.lost_ways(rng),
        620..=879 => {
            let time = u64::from(rng.below(200));
            pair.advance(time);
            "a little time"
        }
        880..=929 => {
            pair.advance(u64::from(rng.below(3000)));
            "time"
        }
        930..=941 => {
            pair.advance(u64::from(rng.below(20_000)));
            "a while"
        }
        942..=943 => {
            pair.advance(125_000);
            "a long while"
        }
        944..=958 if pair.is_automatic() => pair.change_paths(rng),
        944..=958 => {
            let (side, on) = (rng.below(2) as usize, chance(rng, 50));
            pair.network.cut(side, on);
            if on { "a way is cut" } else { "a way is open" }
        }
        959..=968 => {
            let (side, on) = (rng.below(2) as usize, chance(rng, 50));
            pair.network.stall(side, on);
            if on {
                "a chassis reads nothing"
            } else {
                "a chassis reads"
            }
        }
        969..=974 => {
            pair.break_connection();
            "the connection breaks"
        }
        975..=977 => pair.amid_bulk(rng),
        978..=983 => {
            pair.resynchronize(rng);
            "all is told anew"
        }
        984..=988 => {
            let set = pick(rng, &pair.sets());
            pair.flip(set)
        }
        989..=990 => {
            let set = pick(rng, &pair.sets());
            pair.force(set)
        }
        991..=994 => {
            pair.crash(rng.below(2) as usize, chance(rng, 80));
            "a crash"
        }
        995..=997 => {
            pair.make_whole();
            "all is well again"
        }
        _ => {
            pair.quiet();
            "quiet"
        }
    }
}
