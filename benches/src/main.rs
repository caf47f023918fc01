//! The bench: what a worker core can do, as a ratio to what this machine's memory can do, in one run.
//!
//! `pipeline` passes packets of established sessions through a worker's real stages; `setup` makes sessions until the table is
//! full, also with a standby that is told of each; `bulk` and `lag` measure the way to that standby. `line` is the yardstick of the first two: one random cache line with 32 in flight. Kinds of sessions are compared with NAPT44 in
//! one run, by turns. `scripts/bench` calls this.

#![forbid(unsafe_code)]

mod bare;
mod bulk;
mod kind;
mod lag;
mod line;
mod memory;
mod pair;
mod pipeline;
mod program;
mod report;
mod rig;
mod setup;
mod sync;

use clap::{Parser, Subcommand};
use tandem_dataplane::worker::BURST;

use crate::kind::Kind;
use crate::rig::Case;

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
    Setup {
        #[command(flatten)]
        options: Options,
        /// NAPT44 beside a pair's other chassis: `on` runs with and without replication of every session, by turns, `off`
        /// only without.
        #[arg(long, value_enum, conflicts_with_all = ["kind", "rules", "engine"])]
        sync: Option<sync::Sync>,
    },
    /// A full table is told to an empty standby.
    Bulk(PairOptions),
    /// How far the standby is behind under a steady load of new sessions.
    Lag(lag::LagOptions),
}

/// What benches of a pair have in common.
#[derive(clap::Args, Clone)]
struct PairOptions {
    /// Sessions in the table.
    #[arg(long, default_value_t = 4_000_000, value_parser = clap::value_parser!(u32).range(1_000..=16_000_000))]
    sessions: u32,
    /// Runs; the median is quoted.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=101))]
    runs: u32,
    /// CPU the worker runs on. The standby and what speaks for both run on the one before it.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// One JSON object for each run instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Clone)]
struct Options {
    /// What the sessions are; several with commas between. NAPT44 always runs, too, by turns.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "napt44")]
    kind: Vec<Kind>,
    /// Firewall policies from inside, several numbers with commas between. Firewalls have 10 when this is not given, and
    /// translations none.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=i64::from(program::RULES_MAX)))]
    rules: Vec<u32>,
    /// Sessions in the table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=16_000_000))]
    sessions: u32,
    /// Runs; the median is quoted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=101))]
    runs: u32,
    /// CPU to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Through an engine alone, without its worker: parse, look up, translate.
    #[arg(long)]
    engine: bool,
    /// One JSON object for each kind instead of tables.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Everything to be measured, NAPT44 without policies first.
    fn cases(&self) -> Vec<Case> {
        let mut kinds = vec![Kind::Napt44];
        kinds.extend(self.kind.iter().filter(|k| **k != Kind::Napt44));
        kinds.dedup();
        let case = |kind, rules| Case {
            kind,
            rules,
            sessions: self.sessions / BURST as u32 * BURST as u32,
            frame: Kind::frame_octets(&kinds),
            extensions: false,
            addresses: None,
            replicated: false,
        };
        let mut cases = vec![case(Kind::Napt44, None)];
        for kind in &kinds {
            if self.rules.is_empty() && *kind != Kind::Napt44 {
                cases.push(case(*kind, (!kind.translates()).then_some(10)));
            } else if self.kind.contains(kind) {
                cases.extend(self.rules.iter().map(|n| case(*kind, Some(*n))));
            }
        }
        cases
    }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().bench {
        Bench::Pipeline(options) => pipeline::run(&options),
        Bench::Setup { options, sync: None } => setup::run(&options),
        Bench::Setup {
            options,
            sync: Some(sync),
        } => sync::run(&options, sync),
        Bench::Bulk(options) => bulk::run(&options),
        Bench::Lag(options) => lag::run(&options),
    }
}
