//! `tandemd`, the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    tandem_control::daemon::main()
}
