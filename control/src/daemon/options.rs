//! The command line of tandemd.

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Carrier-grade NAT and stateful firewall: the daemon.
#[derive(Clone, Debug, Parser)]
#[command(name = "tandemd", version, about)]
pub(super) struct Options {
    /// The configuration file; `tandem check FILE` says whether it is right.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where static mappings that were set at run time are kept; without one they end with the process.
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY")]
    pub state_directory: Option<PathBuf>,
    /// How log lines look, on standard error.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// The least severe level that is logged: error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    pub log_level: LevelFilter,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Lines that wait for who reads the log. Some seconds of port blocks at the highest rate; 20 MiB.
const LINES_WAITING_MAX: usize = 65_536;

/// A writer that never waits: a thread of its own writes to `sink`, and lines beyond what may wait are lost and counted. The
/// guard's end writes out what waits, in bounded time.
fn writer(sink: impl Write + Send + 'static, waiting_max: usize) -> (NonBlocking, WorkerGuard, ErrorCounter) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(waiting_max)
        .thread_name("log")
        .finish(sink);
    let lost = writer.error_counter();
    (writer, guard, lost)
}

/// Starts logging; once per process. The guard is kept to the process' end; the counter is of lines lost.
pub(super) fn start_logging(options: &Options) -> (WorkerGuard, ErrorCounter) {
    let (writer, guard, lost) = writer(std::io::stderr(), LINES_WAITING_MAX);
    let builder = tracing_subscriber::fmt()
        .with_max_level(options.log_level)
        .with_writer(writer);
    match options.log_format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    (guard, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a line only when told to.
    struct Slow(std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<usize>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            // Without somebody to tell, lines run freely.
            let _told = self.0.recv();
            let _heard = self.1.send(line.len());
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_blocks_nobody_and_the_loss_is_counted() {
        let (go, told) = std::sync::mpsc::channel();
        let (heard, lines) = std::sync::mpsc::channel();
        let (mut writer, guard, lost) = writer(Slow(told, heard), 4);
        for _ in 0..100 {
            writer.write_all(b"line").expect("it is never refused");
        }
        // Four wait, and one more may be in the writing thread's hands.
        let dropped = lost.dropped_lines();
        assert!((95..=96).contains(&dropped), "{dropped}");
        drop(go);
        drop(guard);
        assert_eq!(
            lines.iter().take(100 - dropped).sum::<usize>(),
            (100 - dropped) * 4
        );
    }

    #[test]
    fn the_command_line_is_what_the_help_says() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let args = ["tandemd", "--config", "/etc/tandem/tandem.toml"];
        let options = Options::try_parse_from(args).expect("the least there is");
        assert_eq!(
            (options.log_format, options.log_level),
            (LogFormat::Text, LevelFilter::INFO)
        );
        for wrong in [
            &["tandemd"][..],
            &["tandemd", "--config", "x", "--log-level", "loud"],
            &["tandemd", "--config", "x", "--log-format", "xml"],
        ] {
            assert!(Options::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
