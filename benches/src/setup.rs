//! New sessions per second: first packets, rules and pool allocation included, until the table is full.

use tandem_dataplane::worker::BURST;
use tandem_engine::hash::Rng;
use tandem_engine::mem::mapped_bytes;

use crate::Options;
use crate::kind::{Flow, INSIDE, no_flows};
use crate::line::cycles_per_line;
use crate::memory::resident;
use crate::report::{Report, median, median_ratio};
use crate::rig::{Case, Ground, Rig, rig};

/// Numbers of all sessions in an order that mixes subscribers.
pub fn mixed(sessions: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..sessions).collect();
    let mut rng = Rng::new(11);
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i as u32 + 1) as usize);
    }
    order
}

/// Makes every session once, in an order that mixes subscribers; returns the cycles the rig took and its allocations.
pub fn fill(rig: &mut dyn Rig, flows: &mut [Flow]) -> anyhow::Result<(u64, u64)> {
    let order = mixed(flows.len() as u32);
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

/// What was measured of one case.
struct Lane {
    case: Case,
    runs: Vec<f64>,
    bytes: Vec<f64>,
    lines: Vec<f64>,
    allocations: u64,
    huge_pages: bool,
}

impl Lane {
    fn run(&mut self, ground: &Ground, run: u32, engine: bool) -> anyhow::Result<()> {
        let sessions = f64::from(self.case.sessions);
        let mut flows = no_flows(self.case.sessions);
        let program = ground.program(&self.case)?;
        let before = resident()?;
        let mut rig = rig(ground, &self.case, &program, run, engine)?;
        let (cycles, counted) = fill(&mut *rig, &mut flows)?;
        let table = resident()?.saturating_sub(before);
        anyhow::ensure!(
            rig.engine().table_use()[0].0 == self.case.sessions,
            "the table is not full"
        );
        let hits = |n: u32| rig.engine().policy_hits(n as u16);
        let classified: u64 = (0..self.case.rules.unwrap_or(0)).map(hits).sum();
        anyhow::ensure!(
            self.case.rules.is_none() || classified == u64::from(self.case.sessions),
            "policies decided about {classified} sessions"
        );
        self.huge_pages = mapped_bytes().0 > u64::from(self.case.sessions) * 64;
        drop(rig);
        self.runs.push(cycles as f64 / sessions / ground.hz * 1e9);
        self.bytes.push(table as f64 / sessions);
        self.allocations += counted;
        let line = cycles_per_line(table, &mut Rng::new(5))?;
        self.lines.push(line / ground.hz * 1e9);
        Ok(())
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    let mut lanes: Vec<Lane> = options
        .cases()
        .into_iter()
        .map(|case| Lane {
            case,
            runs: Vec::new(),
            bytes: Vec::new(),
            lines: Vec::new(),
            allocations: 0,
            huge_pages: false,
        })
        .collect();
    for run in 0..options.runs {
        for n in 0..lanes.len() {
            let at = (n + run as usize) % lanes.len();
            lanes[at].run(&ground, run, options.engine)?;
        }
    }
    for lane in &lanes {
        let of_kind = lanes.iter().filter(|l| l.case.kind == lane.case.kind);
        let fewest = of_kind.min_by_key(|l| l.case.rules).unwrap_or(lane);
        report(lane, &lanes[0], fewest, options.engine).print(options.json)?;
    }
    Ok(())
}

fn report(lane: &Lane, napt44: &Lane, fewest: &Lane, engine: bool) -> Report {
    let (ns, line) = (median(&lane.runs), median(&lane.lines));
    let sessions = f64::from(lane.case.sessions);
    Report {
        bench: "setup",
        engine,
        kind: lane.case.kind,
        rules: lane.case.rules.unwrap_or(0),
        frame_octets: lane.case.frame,
        sessions: u64::from(lane.case.sessions),
        ns_per_session: ns,
        sessions_per_s: 1e9 / ns,
        ratio_to_napt44: median_ratio(&lane.runs, &napt44.runs),
        ratio_to_fewest_rules: median_ratio(&lane.runs, &fewest.runs),
        bytes_per_session: median(&lane.bytes),
        allocations_per_packet: lane.allocations as f64 / (sessions * lane.runs.len() as f64),
        ns_per_line: line,
        lines_per_session: ns / line,
        huge_pages: lane.huge_pages,
        runs: lane.runs.clone(),
        ..Report::default()
    }
}
