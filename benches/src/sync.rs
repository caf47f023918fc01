//! New sessions per second with a standby that is told of each at once, beside the same worker without one, by turns.
//!
//! With replication the pool has so many addresses that the two extents leased ahead of each are enough: what a worker waits for
//! leases is not what is measured here. Without, it has as few as `setup` gives it, with which a worker is fastest.

use std::time::{Duration, Instant};

use serde::Serialize;
use tandem_dataplane::worker::BURST;
use tandem_engine::mem::mapped_bytes;

use crate::Options;
use crate::kind::{INSIDE, Kind, no_flows};
use crate::pair::{Pair, assert_equal, rings};
use crate::report::{median, median_ratio};
use crate::rig::{Case, Ground, Rig, WorkerRig};
use crate::setup::mixed;

/// Ports of an address that are used: both extents that are leased ahead, less those below 1024 and some for chance.
const PORTS_PER_ADDRESS: u32 = 6000;

/// Which lanes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sync {
    /// With replication, and without it, by turns.
    On,
    /// Without.
    Off,
}

/// The case of all benches of a pair.
pub fn case(sessions: u32, replicated: bool) -> Case {
    Case {
        kind: Kind::Napt44,
        sessions: sessions / BURST as u32 * BURST as u32,
        rules: None,
        frame: Kind::frame_octets(&[Kind::Napt44]),
        extensions: false,
        addresses: replicated.then_some(sessions / PORTS_PER_ADDRESS + 2),
        replicated,
    }
}

/// One run with replication, but for the rate.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Told {
    /// Until the standby had all sessions, after the last one was made.
    equal_after_s: f64,
    /// Sessions that both were found to have.
    equal_sessions: usize,
    /// Sessions that found the outbox full, how many of the marks a walk found, and other operations that had to wait.
    dirty: u64,
    walked: u64,
    backlogged: u64,
    /// Operations that found no room at all, and the bulks that came of it, the one at the connect not counted.
    lost: u64,
    bulks: u64,
    /// Times the standby's inbox was full, and times the link waited for it.
    install_waits: u64,
    /// Most operations that waited beside the link's window, and most octets in it.
    pending_peak: u64,
    window_peak: u64,
    wire_bytes: u64,
}

/// What a bench of both lanes says.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    sync: &'static str,
    sessions: u32,
    ns_per_session: f64,
    sessions_per_s: f64,
    /// New sessions per second with replication, to those without, run by run; the median. 1 without.
    ratio_to_off: f64,
    huge_pages: bool,
    runs: Vec<f64>,
    /// Of the wall-clock time of each run, the share the worker's thread had a CPU; what others took is not counted.
    cpu_shares: Vec<f64>,
    told: Vec<Told>,
}

/// One lane's runs: nanoseconds a session, and what was told.
#[derive(Default)]
struct Lane {
    runs: Vec<f64>,
    cpu_shares: Vec<f64>,
    told: Vec<Told>,
    huge_pages: bool,
}

/// How long this thread has run so far.
fn thread_time() -> anyhow::Result<Duration> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns = schedstat.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(ns))
}

/// Makes all sessions, with a turn of the worker's loop after each burst. The cycles that both took, and the share of the time
/// that this thread ran: it never waits, so the rest other threads took from it.
fn make(rig: &mut WorkerRig, case: &Case) -> anyhow::Result<(u64, f64)> {
    let mut flows = no_flows(case.sessions);
    let order = mixed(case.sessions);
    let (began, ran_before) = (Instant::now(), thread_time()?);
    let mut cycles = 0;
    for numbers in order.chunks_exact(BURST) {
        cycles += rig.pass(INSIDE, numbers, &mut flows, false)?;
        cycles += rig.turn();
    }
    let ran = thread_time()?.saturating_sub(ran_before);
    let share = ran.as_secs_f64() / began.elapsed().as_secs_f64();
    anyhow::ensure!(
        rig.engine().table_use()[0].0 == case.sessions,
        "the table is not full"
    );
    Ok((cycles, share.min(1.0)))
}

impl Lane {
    fn note(&mut self, ground: &Ground, case: &Case, (cycles, share): (u64, f64)) {
        self.huge_pages = mapped_bytes().0 > u64::from(case.sessions) * 64;
        let ns = cycles as f64 / f64::from(case.sessions) / ground.hz * 1e9;
        self.runs.push(ns * share);
        self.cpu_shares.push(share);
    }

    fn run_off(&mut self, ground: &Ground, sessions: u32, run: u32) -> anyhow::Result<()> {
        let case = case(sessions, false);
        let mut rig = WorkerRig::new(ground, &case, &ground.program(&case)?, run, None)?;
        let made = make(&mut rig, &case)?;
        self.note(ground, &case, made);
        Ok(())
    }

    fn run_on(&mut self, ground: &Ground, sessions: u32, run: u32) -> anyhow::Result<()> {
        let case = case(sessions, true);
        let program = ground.program(&case)?;
        let (worker, speaker) = rings();
        let mut rig = WorkerRig::new(ground, &case, &program, run, Some(worker))?;
        let pair = Pair::start(ground, &case, &program, speaker, run)?;
        pair.wait_until_ready(&mut rig)?;
        let made = make(&mut rig, &case)?;
        let equal_after = pair.wait_until_told(&mut rig)?;
        self.note(ground, &case, made);
        let told = told(pair, &mut rig, equal_after)?;
        self.told.push(told);
        Ok(())
    }
}

fn told(pair: Pair, rig: &mut WorkerRig, equal_after: Duration) -> anyhow::Result<Told> {
    let mut ended = pair.end()?;
    let equal_sessions = assert_equal(rig, &mut ended.engine)?;
    let counters = rig.engine().counters();
    Ok(Told {
        equal_after_s: equal_after.as_secs_f64(),
        equal_sessions,
        dirty: counters.replica_dirty,
        walked: counters.replica_walked,
        backlogged: counters.replica_backlogged,
        lost: counters.replica_lost,
        bulks: ended.bridge.bulks.saturating_sub(1),
        install_waits: ended.heard.install_waits,
        pending_peak: ended.link.pending_peak,
        window_peak: ended.link.window_peak,
        wire_bytes: ended.link.bytes_sent,
    })
}

/// Runs the lanes by turns.
pub fn run(options: &Options, sync: Sync) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    let (mut off, mut on) = (Lane::default(), Lane::default());
    for run in 0..options.runs {
        // Not always in the same order.
        for lane in [run % 2, 1 - run % 2] {
            if lane == 0 {
                off.run_off(&ground, options.sessions, run)?;
            } else if sync == Sync::On {
                on.run_on(&ground, options.sessions, run)?;
            }
        }
    }
    report("off", &off, &off, options)?;
    if sync == Sync::On {
        report("on", &on, &off, options)?;
    }
    Ok(())
}

fn report(name: &'static str, lane: &Lane, off: &Lane, options: &Options) -> anyhow::Result<()> {
    let ns = median(&lane.runs);
    let report = Report {
        bench: "setup",
        sync: name,
        sessions: case(options.sessions, false).sessions,
        ns_per_session: ns,
        sessions_per_s: 1e9 / ns,
        ratio_to_off: median_ratio(&off.runs, &lane.runs),
        huge_pages: lane.huge_pages,
        runs: lane.runs.clone(),
        cpu_shares: lane.cpu_shares.clone(),
        told: lane.told.clone(),
    };
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!(
        "setup, sync {name}: {} sessions, median of {} runs (huge pages: {})",
        report.sessions,
        report.runs.len(),
        report.huge_pages
    );
    println!(
        "  {ns:8.1} ns/session  {:8.2} M sessions/s  {:5.3} x sync off, run by run",
        report.sessions_per_s / 1e6,
        report.ratio_to_off
    );
    for (n, (ns, share)) in report.runs.iter().zip(&report.cpu_shares).enumerate() {
        println!("  run {n}: {ns:.1} ns, the worker had its CPU for {share:.3} of the time");
    }
    for (n, told) in report.told.iter().enumerate() {
        println!("  run {n}: {told:?}");
    }
    Ok(())
}
