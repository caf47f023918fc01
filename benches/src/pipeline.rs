//! Packets of established sessions: each session once per pass, in random order, bursts of alternating direction.

use tandem_dataplane::worker::BURST;
use tandem_engine::hash::Rng;
use tandem_engine::mem::mapped_bytes;

use crate::Options;
use crate::line::cycles_per_line;
use crate::memory::resident;
use crate::report::{Report, median};
use crate::rig::{Flow, Ground, INSIDE, OUTSIDE, Rig};
use crate::setup::fill;

/// Packets in a run, at least: small tables are passed over several times.
const PACKETS: u64 = 2_000_000;

pub fn run(options: &Options) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    let sessions = options.sessions / BURST as u32 * BURST as u32;
    let before = resident()?;
    let mut flows = vec![Flow::default(); sessions as usize];
    flows.iter_mut().for_each(|f| f.public_port = 1);
    let flows_bytes = resident()?.saturating_sub(before);
    let mut rig = Rig::new(&ground, sessions, 0)?;
    fill(&mut rig, &mut flows)?;
    let table = resident()?.saturating_sub(before).saturating_sub(flows_bytes);
    let huge_pages = mapped_bytes().0 > u64::from(sessions) * 64;
    let mut order: Vec<u32> = (0..sessions).collect();
    let mut rng = Rng::new(13);
    let (mut runs, mut lines, mut allocations, mut packets_all) = (Vec::new(), Vec::new(), 0, 0u64);
    let passes = PACKETS.div_ceil(u64::from(sessions)).max(1);
    for run in 0..=options.runs {
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i as u32 + 1) as usize);
        }
        let (mut cycles, mut packets) = (0, 0u64);
        let mut failure = None;
        let counted = allocation_counter::measure(|| {
            for _ in 0..passes {
                for (n, numbers) in order.chunks_exact(BURST).enumerate() {
                    let direction = if n % 2 == 0 { INSIDE } else { OUTSIDE };
                    match rig.pass(direction, numbers, &mut flows, false) {
                        Ok(c) => cycles += c,
                        Err(error) => {
                            failure = Some(error);
                            return;
                        }
                    }
                    packets += numbers.len() as u64;
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        // The first run warms caches and branch predictors up.
        if run > 0 {
            runs.push(cycles as f64 / packets as f64 / ground.hz * 1e9);
            allocations += counted.count_total;
            packets_all += packets;
            lines.push(cycles_per_line(table, &mut Rng::new(5))? / ground.hz * 1e9);
        }
    }
    if !options.json {
        stages(&mut rig, &order, &mut flows, ground.hz)?;
    }
    let (ns, line) = (median(&runs), median(&lines));
    Report {
        bench: "pipeline",
        kind: options.kind.clone(),
        sessions: u64::from(sessions),
        ns_per_packet: ns,
        cycles_per_packet: ns * ground.hz / 1e9,
        mpps: 1e3 / ns,
        ns_per_session: 0.0,
        sessions_per_s: 0.0,
        bytes_per_session: table as f64 / f64::from(sessions),
        allocations_per_packet: allocations as f64 / packets_all.max(1) as f64,
        ns_per_line: line,
        lines_per_packet: ns / line,
        lines_per_session: 0.0,
        huge_pages,
        runs,
    }
    .print(options.json)
}

/// Cycles by stage, in a pass of its own: reading the clock between stages costs a little.
fn stages(rig: &mut Rig, order: &[u32], flows: &mut [Flow], hz: f64) -> anyhow::Result<()> {
    rig.worker().measure_stages();
    let mut packets = 0u64;
    for (n, numbers) in order.chunks_exact(BURST).enumerate() {
        let direction = if n % 2 == 0 { INSIDE } else { OUTSIDE };
        rig.pass(direction, numbers, flows, false)?;
        packets += numbers.len() as u64;
    }
    let stages = rig.worker().stage_cycles().unwrap_or_default();
    let all = stages.receive + stages.steer + stages.engine + stages.deliver;
    println!("stages:");
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
