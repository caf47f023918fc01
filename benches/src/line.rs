//! The yardstick: what one random cache line costs on this machine now, with 32 in flight.

use rte_bindings::tsc_cycles;
use tandem_engine::hash::Rng;
use tandem_engine::mem::{HugeSlice, Pages, prefetch_index};

const IN_FLIGHT: usize = 32;

/// Cycles per random line of a table of `bytes`, on the pages the engine's tables get. A full random permutation, read once
/// per pass; the best of three passes, because everything else on the machine can only make it slower.
pub fn cycles_per_line(bytes: u64, rng: &mut Rng) -> anyhow::Result<f64> {
    let lines = (bytes / 64).max(1024) as usize;
    let mut table = HugeSlice::<[u64; 8]>::new(lines, "yardstick", Pages::Preallocated)?;
    for (i, line) in table.iter_mut().enumerate() {
        line[0] = i as u64;
    }
    let mut order: Vec<u32> = (0..lines as u32).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i as u32 + 1) as usize);
    }
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = tsc_cycles();
        let mut sum = 0u64;
        for group in order.chunks(IN_FLIGHT) {
            for at in group {
                prefetch_index(&table, *at as usize);
            }
            for at in group {
                sum = sum.wrapping_add(table[*at as usize][0]);
            }
        }
        let cycles = tsc_cycles() - start;
        std::hint::black_box(sum);
        best = best.min(cycles as f64 / lines as f64);
    }
    Ok(best)
}
