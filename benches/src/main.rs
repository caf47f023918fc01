//! The bench: what a worker core can do, as a ratio to what this machine's memory can do, in one run.
//!
//! `pipeline` passes packets of established sessions through a worker's real stages; `setup` makes sessions until the
//! table is full. `line` is the yardstick of both: one random cache line with 32 in flight. `scripts/bench` calls this.

#![forbid(unsafe_code)]

mod line;
mod memory;
mod pipeline;
mod report;
mod rig;
mod setup;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures a worker core over packets in memory")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Packets of established sessions, in random order, half of them in each direction.
    Pipeline(Options),
    /// First packets, until the table is full.
    Setup(Options),
}

#[derive(clap::Args, Clone)]
struct Options {
    /// What the sessions are.
    #[arg(long, value_parser = ["napt44"], default_value = "napt44")]
    kind: String,
    /// Sessions in the table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=16_000_000))]
    sessions: u32,
    /// Runs; the median is quoted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=101))]
    runs: u32,
    /// CPU to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().bench {
        Bench::Pipeline(options) => pipeline::run(&options),
        Bench::Setup(options) => setup::run(&options),
    }
}
