//! A full table is told to an empty standby, which connects when all sessions are there: from the first operation that the worker
//! puts out until the standby has installed the last session.

use std::time::{Duration, Instant};

use serde::Serialize;
use tandem_engine::mem::mapped_bytes;

use crate::PairOptions;
use crate::kind::no_flows;
use crate::pair::{Pair, assert_equal, rings};
use crate::rig::{Ground, Rig, WorkerRig};
use crate::setup::fill;
use crate::sync::case;

/// What one run says.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    sessions: usize,
    seconds: f64,
    sessions_per_s: f64,
    wire_bytes: u64,
    mega_bytes_per_s: f64,
    bytes_per_session: f64,
    /// Times the link waited for the standby's inbox.
    install_waits: u64,
    /// The most octets in the link's window.
    window_peak: u64,
    huge_pages: bool,
}

/// Runs, one after the other.
pub fn run(options: &PairOptions) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    for run in 0..options.runs {
        let report = one(&ground, options.sessions, run)?;
        if options.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!(
                "bulk: {} sessions in {:.2} s: {:.0} sessions/s, {:.1} MB/s, {:.1} octets a session (huge pages: {})",
                report.sessions,
                report.seconds,
                report.sessions_per_s,
                report.mega_bytes_per_s,
                report.bytes_per_session,
                report.huge_pages
            );
        }
    }
    Ok(())
}

fn one(ground: &Ground, sessions: u32, run: u32) -> anyhow::Result<Report> {
    let case = case(sessions, true);
    let program = ground.program(&case)?;
    let (worker, speaker) = rings();
    let mut rig = WorkerRig::new(ground, &case, &program, run, Some(worker))?;
    fill(&mut rig, &mut no_flows(case.sessions))?;
    let pair = Pair::start(ground, &case, &program, speaker, run)?;
    let waits = Instant::now();
    while rig.engine().counters().replica_emitted == 0 {
        rig.turn();
        std::thread::yield_now();
        anyhow::ensure!(
            waits.elapsed() < Duration::from_secs(60),
            "no bulk began: {:?}",
            pair.view()
        );
    }
    let took = pair.wait_until_told(&mut rig)?;
    let huge_pages = mapped_bytes().0 > u64::from(case.sessions) * 128;
    let mut ended = pair.end()?;
    let equal = assert_equal(&mut rig, &mut ended.engine)?;
    let (seconds, bytes) = (took.as_secs_f64(), ended.link.bytes_sent);
    Ok(Report {
        bench: "bulk",
        sessions: equal,
        seconds,
        sessions_per_s: equal as f64 / seconds,
        wire_bytes: bytes,
        mega_bytes_per_s: bytes as f64 / seconds / 1e6,
        bytes_per_session: bytes as f64 / equal as f64,
        install_waits: ended.heard.install_waits,
        window_peak: ended.link.window_peak,
        huge_pages,
    })
}
