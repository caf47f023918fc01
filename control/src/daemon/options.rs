//! The command line of tandemd.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing::level_filters::LevelFilter;

/// Carrier-grade NAT and stateful firewall: the daemon.
#[derive(Clone, Debug, Parser)]
#[command(name = "tandemd", version, about)]
pub(super) struct Options {
    /// The configuration file; `tandem check FILE` says whether it is right.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
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

/// Starts logging; once per process.
pub(super) fn start_logging(options: &Options) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(options.log_level)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
