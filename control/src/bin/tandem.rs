//! `tandem`, the command line of a running daemon.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let exit = tandem_control::cli::run(std::env::args_os(), &mut out, &mut io::stderr().lock());
    ExitCode::from(exit as u8)
}
