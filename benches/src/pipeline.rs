//! Packets of established sessions: each session once per pass, in random order, bursts of alternating direction.

use tandem_dataplane::worker::BURST;
use tandem_engine::hash::Rng;
use tandem_engine::mem::mapped_bytes;

use crate::Options;
use crate::kind::{Flow, INSIDE, OUTSIDE, no_flows};
use crate::line::cycles_per_line;
use crate::memory::resident;
use crate::report::{Report, median, median_ratio};
use crate::rig::{Case, Ground, Rig, rig};
use crate::setup::fill;

/// Packets in a run, at least: small tables are passed over several times.
const PACKETS: u64 = 2_000_000;
/// Packets of one direction that the small counters of a session with IPv6 hold.
const SMALL_COUNT: u64 = 1000;

/// One table, and what was measured with it.
struct Lane {
    case: Case,
    rig: Box<dyn Rig>,
    flows: Vec<Flow>,
    /// Bytes it takes.
    table: u64,
    huge_pages: bool,
    order: Vec<u32>,
    rng: Rng,
    runs: Vec<f64>,
    lines: Vec<f64>,
    allocations: u64,
    packets: u64,
}

impl Lane {
    fn new(ground: &Ground, case: Case, engine: bool) -> anyhow::Result<Self> {
        let mut flows = no_flows(case.sessions);
        let program = ground.program(&case)?;
        let (before, mapped) = (resident()?, mapped_bytes().0);
        let mut rig = rig(ground, &case, &program, 0, engine)?;
        fill(&mut *rig, &mut flows)?;
        Ok(Self {
            table: resident()?.saturating_sub(before),
            huge_pages: mapped_bytes().0 - mapped > u64::from(case.sessions) * 64,
            order: (0..case.sessions).collect(),
            rng: Rng::new(13),
            case,
            rig,
            flows,
            runs: Vec::new(),
            lines: Vec::new(),
            allocations: 0,
            packets: 0,
        })
    }

    /// Passes every session's packets `passes` times, in a new order.
    fn run(&mut self, passes: u64, hz: f64) -> anyhow::Result<f64> {
        for i in (1..self.order.len()).rev() {
            self.order.swap(i, self.rng.below(i as u32 + 1) as usize);
        }
        let mut outcome = Ok((0, 0));
        let counted = allocation_counter::measure(|| outcome = self.passes(passes));
        let (cycles, packets) = outcome?;
        self.allocations += counted.count_total;
        self.packets += packets;
        Ok(cycles as f64 / packets as f64 / hz * 1e9)
    }

    /// Cycles and packets of so many passes.
    fn passes(&mut self, passes: u64) -> anyhow::Result<(u64, u64)> {
        let (mut cycles, mut packets) = (0, 0);
        for _ in 0..passes {
            for (n, numbers) in self.order.chunks_exact(BURST).enumerate() {
                let direction = if n % 2 == 0 { INSIDE } else { OUTSIDE };
                cycles += self.rig.pass(direction, numbers, &mut self.flows, false)?;
                packets += numbers.len() as u64;
            }
        }
        Ok((cycles, packets))
    }

    /// Cycles by stage, in a pass of its own: reading the clock between stages costs a little.
    fn stages(&mut self, hz: f64) -> anyhow::Result<()> {
        if !self.rig.measure_stages() {
            return Ok(());
        }
        let (_, packets) = self.passes(1)?;
        let stages = self.rig.stage_cycles().unwrap_or_default();
        let all = stages.receive + stages.steer + stages.engine + stages.deliver;
        println!("stages of {}:", self.case.kind);
        let rows = [
            ("receive", stages.receive),
            ("steer", stages.steer),
            ("engine", stages.engine),
            ("deliver", stages.deliver),
        ];
        for (name, cycles) in rows {
            println!(
                "  {name:<8} {:6.1} cycles/packet {:6.1} ns  {:3.0} %",
                cycles as f64 / packets as f64,
                cycles as f64 / packets as f64 / hz * 1e9,
                cycles as f64 * 100.0 / all.max(1) as f64
            );
        }
        Ok(())
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    let mut lanes = Vec::new();
    for mut case in options.cases() {
        let passes = PACKETS.div_ceil(u64::from(case.sessions)).max(1);
        case.extensions = passes * u64::from(options.runs + 2) >= SMALL_COUNT;
        lanes.push((Lane::new(&ground, case, options.engine)?, passes));
    }
    // By turns, and not always in the same order: what else the machine does then hits all alike.
    for run in 0..=options.runs as usize {
        for n in 0..lanes.len() {
            let at = (n + run) % lanes.len();
            let (lane, passes) = &mut lanes[at];
            let ns = lane.run(*passes, ground.hz)?;
            // The first run warms caches and branch predictors up.
            if run > 0 {
                lane.runs.push(ns);
                let line = cycles_per_line(lane.table, &mut Rng::new(5))?;
                lane.lines.push(line / ground.hz * 1e9);
            }
        }
    }
    let base = lanes[0].0.runs.clone();
    for (lane, _) in &mut lanes {
        if !options.json {
            lane.stages(ground.hz)?;
        }
        report(lane, options.engine, &base, ground.hz).print(options.json)?;
    }
    Ok(())
}

fn report(lane: &Lane, engine: bool, base: &[f64], hz: f64) -> Report {
    let (ns, line) = (median(&lane.runs), median(&lane.lines));
    let sessions = u64::from(lane.case.sessions);
    Report {
        bench: "pipeline",
        engine,
        kind: lane.case.kind,
        rules: lane.case.rules.unwrap_or(0),
        frame_octets: lane.case.frame,
        sessions,
        ns_per_packet: ns,
        cycles_per_packet: ns * hz / 1e9,
        mpps: 1e3 / ns,
        ratio_to_napt44: median_ratio(&lane.runs, base),
        bytes_per_session: lane.table as f64 / sessions as f64,
        allocations_per_packet: lane.allocations as f64 / lane.packets.max(1) as f64,
        ns_per_line: line,
        lines_per_packet: ns / line,
        huge_pages: lane.huge_pages,
        runs: lane.runs.clone(),
        ..Report::default()
    }
}
