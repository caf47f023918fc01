//! `tandem check`: the daemon's own parser and validator on a file, without a daemon.

use std::io::{self, Write};
use std::path::Path;

use super::Exit;
use crate::config;

/// Checks a file: every fault and warning goes to `err`, one line each, and what the file holds to `out`.
pub fn check(file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    match config::load_to_run(file) {
        Ok(config) => {
            for warning in &config.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            let (sets, pools, interfaces) = (
                config.service_sets.len(),
                config.pools.len(),
                config.interfaces.len(),
            );
            let holds = format!("{sets} service sets, {pools} pools, {interfaces} interfaces");
            writeln!(
                out,
                "{}: no faults, {} warnings; {holds}",
                file.display(),
                config.warnings.len()
            )?;
            Ok(Exit::Ok)
        }
        Err(faults) => {
            for fault in &faults {
                writeln!(err, "{fault}")?;
            }
            writeln!(err, "{}: {} faults", file.display(), faults.len())?;
            Ok(Exit::Refused)
        }
    }
}
