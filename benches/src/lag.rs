//! How far the standby is behind under a steady load of new sessions, each told at once.
//!
//! Two figures: from a session's beginning until the standby has as many sessions as there were then, looked at each millisecond;
//! and the link's own histogram, from taking an operation out of the worker's ring to the peer's acknowledgment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;
use tandem_dataplane::worker::BURST;

use crate::kind::{INSIDE, no_flows};
use crate::pair::{Pair, assert_equal, rings};
use crate::rig::{Ground, Rig, WorkerRig};
use crate::setup::mixed;
use crate::sync::case;

/// Time between two samples.
const SAMPLE: Duration = Duration::from_millis(1);

/// What the bench is told.
#[derive(clap::Args, Clone)]
pub struct LagOptions {
    /// New sessions per second; several with commas between, each measured with a pair of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [50_000, 200_000, 500_000],
        value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    rates: Vec<u32>,
    /// Seconds of load at each rate.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// CPU the worker runs on. The standby and what speaks for both run on the one before it.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// One JSON object for each rate instead of text.
    #[arg(long)]
    json: bool,
}

/// Three figures of many.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Quantiles {
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |share: usize| {
            let sample = samples.get((samples.len() * share / 1000).min(samples.len().saturating_sub(1)));
            sample.map_or(f64::NAN, |lag| lag.as_secs_f64() * 1e3)
        };
        Self {
            p50: at(500),
            p99: at(990),
            max: at(1000),
        }
    }
}

/// What is said of one rate.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    rate: u32,
    /// New sessions per second as they were made.
    rate_reached: f64,
    sessions: usize,
    samples: usize,
    /// Milliseconds until the standby has installed a session.
    standby_lag_ms: Quantiles,
    /// Milliseconds from taking an operation to its acknowledgment, as the link counts them.
    acknowledgment_ms: Quantiles,
    /// Sessions that found the outbox full.
    dirty: u64,
}

/// Measures each rate.
pub fn run(options: &LagOptions) -> anyhow::Result<()> {
    let ground = Ground::new(options.cpu)?;
    for (run, rate) in (0..).zip(&options.rates) {
        let report = one(&ground, *rate, options.seconds, run)?;
        if options.json {
            println!("{}", serde_json::to_string(&report)?);
            continue;
        }
        let [lag, told] = [&report.standby_lag_ms, &report.acknowledgment_ms];
        println!(
            "lag at {rate} new sessions/s ({:.0} reached, {} sessions, {} samples, {} marked dirty)",
            report.rate_reached, report.sessions, report.samples, report.dirty
        );
        println!(
            "  standby has it after  {:8.2} ms p50  {:8.2} ms p99  {:8.2} ms max",
            lag.p50, lag.p99, lag.max
        );
        println!(
            "  acknowledged after    {:8.0} ms p50  {:8.0} ms p99  {:8.0} ms max",
            told.p50, told.p99, told.max
        );
    }
    Ok(())
}

/// Samples of how many sessions there were when, until the standby has as many.
struct Samples {
    next: Instant,
    open: VecDeque<(Instant, u32)>,
    lags: Vec<Duration>,
}

impl Samples {
    fn look(&mut self, now: Instant, here: u32, there: u32) {
        if now >= self.next {
            self.open.push_back((now, here));
            self.next = now + SAMPLE;
        }
        while let Some((at, count)) = self.open.front().copied()
            && count <= there
        {
            self.lags.push(now.duration_since(at));
            self.open.pop_front();
        }
    }
}

fn one(ground: &Ground, rate: u32, seconds: u32, run: u32) -> anyhow::Result<Report> {
    let case = case(rate.saturating_mul(seconds), true);
    let program = ground.program(&case)?;
    let (worker, speaker) = rings();
    let mut rig = WorkerRig::new(ground, &case, &program, run, Some(worker))?;
    let pair = Pair::start(ground, &case, &program, speaker, run)?;
    pair.wait_until_ready(&mut rig)?;

    let mut flows = no_flows(case.sessions);
    let order = mixed(case.sessions);
    let pause = Duration::from_secs_f64(BURST as f64 / f64::from(rate));
    let began = Instant::now();
    let mut samples = Samples {
        next: began + SAMPLE,
        open: VecDeque::new(),
        lags: Vec::new(),
    };
    let mut due = began;
    for numbers in order.chunks_exact(BURST) {
        loop {
            let now = Instant::now();
            samples.look(now, rig.engine().table_use()[0].0, pair.standby_sessions());
            if now >= due {
                break;
            }
            rig.turn();
            std::hint::spin_loop();
        }
        due += pause;
        rig.pass(INSIDE, numbers, &mut flows, false)?;
        rig.turn();
    }
    let load = began.elapsed();
    pair.wait_until_told(&mut rig)?;
    // What the last samples waited for is there now, at the latest.
    samples.look(Instant::now(), case.sessions, pair.standby_sessions());
    let mut ended = pair.end()?;
    let sessions = assert_equal(&mut rig, &mut ended.engine)?;
    let histogram = &ended.link.acknowledgment_ms;
    Ok(Report {
        bench: "lag",
        rate,
        rate_reached: f64::from(case.sessions) / load.as_secs_f64(),
        sessions,
        samples: samples.lags.len(),
        standby_lag_ms: Quantiles::of(samples.lags),
        acknowledgment_ms: Quantiles {
            p50: histogram.quantile(500) as f64,
            p99: histogram.quantile(990) as f64,
            max: histogram.max() as f64,
        },
        dirty: rig.engine().counters().replica_dirty,
    })
}
