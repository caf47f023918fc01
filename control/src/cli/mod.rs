//! The CLI: questions to a running daemon as tables or JSON, and a check of a config file without one.
//!
//! It speaks the REST API and nothing else, so whatever it shows, a program can have too. Exit codes are part of
//! its interface: scripts that track a chassis branch on them.

mod args;
mod changes;
mod check;
mod client;
mod cluster;
mod dataplane_tables;
mod fetch;
mod ha;
mod pair_tables;
mod redundancy;
mod redundancy_args;
mod redundancy_tables;
mod row_tables;
mod system_tables;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

pub use args::Cli;
use args::{Clear, Command, Ha};
use client::{CallError, Client};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `show health`: all is well.
    Ok = 0,
    /// The daemon refused, the answer is no, or the file has faults.
    Refused = 1,
    /// The command line is wrong, or a filter on it.
    Usage = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
}

/// What ends a command early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Call(error) => error.exit(),
            // The reader of a pipe had enough (`| head`): that is no failure.
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Write(_) => Exit::Refused,
        }
    }
}

/// Runs one command line, program name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows by itself which stream and whether to colour.
            let printed = error.print();
            return if printed.is_ok() && !error.use_stderr() {
                Exit::Ok
            } else {
                Exit::Usage
            };
        }
    };
    let ended = execute(&cli, out, err).and_then(|exit| Ok(out.flush().map(|()| exit)?));
    ended.unwrap_or_else(|failure| {
        let exit = failure.exit();
        if exit != Exit::Ok {
            // Nothing is left to do when even this cannot be written; the exit code still says it.
            let _written = writeln!(err, "tandem: {failure}");
        }
        exit
    })
}

fn execute(cli: &Cli, out: &mut dyn Write, err: &mut dyn Write) -> Result<Exit, Failure> {
    let client = || Client::new(&cli.api, cli.token_file.as_deref());
    match &cli.command {
        Command::Show(show) => fetch::show(&client()?, show, out, err),
        Command::Clear(Clear::Sessions { filter, all, cluster }) => {
            let mut query = filter.pairs();
            for (key, is_given) in [("all", *all), ("cluster", *cluster)] {
                query.extend(is_given.then(|| (key, "true".to_owned())));
            }
            cluster::clear(&client()?, &query, out, err)
        }
        Command::Lookup(wanted) => changes::lookup(&client()?, wanted, out, err),
        Command::StaticMapping(what) => changes::static_mapping(&client()?, what, out, err),
        Command::Reload { reevaluate, local } => {
            let mut query = Vec::new();
            for (key, is_given) in [("reevaluate", *reevaluate), ("local", *local)] {
                query.extend(is_given.then(|| (key, "true".to_owned())));
            }
            let report: crate::api::model::ReloadReport = client()?.post("/v1/config/reload", &query)?;
            write!(out, "applied, generation {}", report.generation)?;
            if let Some(ended) = report.sessions_ended {
                write!(out, ", {ended} sessions ended")?;
            }
            writeln!(out)?;
            cluster::peers_reload(&report, out, err)?;
            Ok(Exit::Ok)
        }
        Command::Request(what) => redundancy::request(&client()?, what, out),
        Command::Check { file } => Ok(check::check(file, out, err)?),
        Command::Ha(Ha::Keygen { directory, name }) => Ok(ha::keygen(directory, name, out, err)?),
    }
}
