//! `tandemd`, the daemon: puts configuration, dataplane, kernel and API together and keeps them together.
//!
//! ```text
//!   signals --> run (start, reload, stop)          clients --> api --> backend --> views, counters
//!                |                                                       |   \--> questions --> workers' mailboxes
//!   file --> running (in force) --> program --> workers                  |
//!   kernel --> watcher --> sink --> FIB, neighbours                      '--> ports, taps
//!                             \---> ports (link and carrier) --> interface up, tap carrier
//!   ports, workers, reloads --> monitors --> events of redundancy sets --> replication (roles), srd
//!   workers' mailboxes --> events --> kernel (resolve), log (port blocks)
//!   workers' rings <--> replication <--> the other chassis
//!                        \--> pair: its questions about configurations and files, and ours
//!   roles --> srd --> virtual addresses, signal routes; the guard process undoes them if this one dies
//! ```
//!
//! Every thread here is a control thread. What they share with the workers are atomics and bounded queues.

mod actions;
mod backend;
mod classifiers;
mod clock;
mod counters;
mod cpu;
mod events;
mod hangups;
mod held_up;
mod life;
mod monitors;
mod options;
mod outward;
mod pair;
mod ports;
mod probes;
mod questions;
mod redundant;
mod replication;
mod run;
mod running;
mod sink;
mod spec;
mod statics;
mod taps;
mod views;
mod watches;

use std::process::ExitCode;

use clap::Parser;
use tracing::{error, warn};

use crate::{config, guard};
use options::Options;

/// Exit status for a command line or a configuration that is wrong, as clap's.
const EXIT_CONFIG: u8 = 2;

/// The daemon, from the command line to the exit status: 0 after a clean stop, 1 when something failed, 2 when the command
/// line or the configuration is wrong.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == guard::ARGUMENT) {
        return guard::main(&arguments.collect::<Vec<_>>());
    }
    let missing = cpu::missing();
    if !missing.is_empty() {
        eprintln!(
            "tandemd: this CPU lacks {}; Tandem needs x86-64-v3 (AVX2, BMI2, FMA: Intel Haswell, AMD Excavator and later)",
            missing.join(", ")
        );
        return ExitCode::FAILURE;
    }
    let options = Options::parse();
    // Its end, after everything else, writes out what waits.
    let (_log, lost) = options::start_logging(&options);
    let config = match config::load_to_run(&options.config) {
        Ok(config) => config,
        Err(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            error!(file = %options.config.display(), faults = faults.len(), "the configuration is refused");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let cpus = config::online_cpus().unwrap_or_default();
    let of_machine = config::machine_warnings(&config, &cpus);
    for warning in config.warnings.iter().chain(&of_machine) {
        warn!("{warning}");
    }
    let is_json = options.log_format == options::LogFormat::Json;
    let guard = match actions::start_guard(&config, is_json) {
        Ok(guard) => guard,
        Err(problem) => {
            error!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let directory = options.state_directory.as_deref();
    let ended = run::run(options.config, directory, config, guard.as_ref(), lost);
    // A failure is an end in order too: all that was put into the kernel is taken out again by now.
    if let Some(guard) = guard {
        guard.stop();
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem:#}");
            ExitCode::FAILURE
        }
    }
}
