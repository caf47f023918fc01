//! New sessions per second: first packets, rules and pool allocation included, until the table is full.

use tandem_dataplane::worker::BURST;
use tandem_engine::hash::Rng;
use tandem_engine::mem::mapped_bytes;

use crate::Options;
use crate::line::cycles_per_line;
use crate::memory::resident;
use crate::report::{Report, median};
use crate::rig::{Flow, Ground, INSIDE, Rig};

/// Makes every session once, in an order that mixes subscribers; returns the cycles the worker took and its allocations.
pub fn fill(rig: &mut Rig, flows: &mut [Flow]) -> anyhow::Result<(u64, u64)> {
    let sessions = flows.len() as u32;
    let mut order: Vec<u32> = (0..sessions).collect();
    let mut rng = Rng::new(11);
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i as u32 + 1) as usize);
    }
    let mut cycles = 0;
    let mut failure = None;
    let allocations = allocation_counter::measure(|| {
        for numbers in order.chunks_exact(BURST) {
            match rig.pass(INSIDE, numbers, flows, true) {
                Ok(c) => cycles += c,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok((cycles, allocations.count_total)),
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    let sessions = options.sessions / BURST as u32 * BURST as u32;
    let (mut runs, mut bytes, mut lines, mut allocations) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut huge = false;
    for run in 0..options.runs {
        let mut flows = vec![Flow::default(); sessions as usize];
        flows.iter_mut().for_each(|f| f.public_port = 1);
        let before = resident()?;
        let mut rig = Rig::new(&ground, sessions, run)?;
        let (cycles, counted) = fill(&mut rig, &mut flows)?;
        bytes.push(resident()?.saturating_sub(before) as f64 / f64::from(sessions));
        allocations += counted;
        anyhow::ensure!(
            rig.worker().engine().table_use()[0].0 == sessions,
            "the table is not full"
        );
        runs.push(cycles as f64 / f64::from(sessions) / ground.hz * 1e9);
        huge = mapped_bytes().0 > u64::from(sessions) * 64;
        drop(rig);
        let table = (bytes.last().copied().unwrap_or(0.0) * f64::from(sessions)) as u64;
        lines.push(cycles_per_line(table, &mut Rng::new(5))? / ground.hz * 1e9);
    }
    let (ns, line) = (median(&runs), median(&lines));
    Report {
        bench: "setup",
        kind: options.kind.clone(),
        sessions: u64::from(sessions),
        ns_per_packet: 0.0,
        cycles_per_packet: 0.0,
        mpps: 0.0,
        ns_per_session: ns,
        sessions_per_s: 1e9 / ns,
        bytes_per_session: median(&bytes),
        allocations_per_packet: allocations as f64 / (f64::from(sessions) * f64::from(options.runs)),
        ns_per_line: line,
        lines_per_packet: 0.0,
        lines_per_session: ns / line,
        huge_pages: huge,
        runs,
    }
    .print(options.json)
}
