//! Commands about both chassis: their configurations and files, and what acts on both.

use std::io::Write;

use super::client::Client;
use super::fetch::Printer;
use super::redundancy_args::{ConfigurationView, RequestConfiguration, RequestFiles};
use super::table::Table;
use super::{Exit, Failure};
use crate::api::model::{Cleared, ConfigComparison, ConfigPull, FileState, ReloadReport, SharedFiles};

const COMPARE: &str = "/v1/config/compare";
const PULL: &str = "/v1/config/pull";
const FILES: &str = "/v1/config/files";

/// Shows both configurations or files beside each other; exit code 1 when they differ.
pub fn show(client: &Client, view: ConfigurationView, to: &mut Printer<'_>) -> Result<Exit, Failure> {
    let are_alike = match view {
        ConfigurationView::Compare => {
            let compared: ConfigComparison = client.get(COMPARE, &[])?;
            if to.json {
                to.print(&compared, |_| Vec::new())?;
            } else {
                comparison(&compared, to)?;
            }
            compared.alike
        }
        ConfigurationView::Files => {
            let files: SharedFiles = client.get(FILES, &[])?;
            to.print(&files, |files| vec![table(files)])?;
            if files.rows.is_empty() && !to.json {
                writeln!(to.out, "{NO_FILES}")?;
            }
            are_alike(&files)
        }
    };
    Ok(if are_alike { Exit::Ok } else { Exit::Refused })
}

const NO_FILES: &str = "Neither configuration names a shared file by a relative path.";

fn comparison(compared: &ConfigComparison, to: &mut Printer<'_>) -> std::io::Result<()> {
    writeln!(to.out, "this chassis  {}", compared.digest)?;
    writeln!(to.out, "the peer      {}", compared.peer_digest)?;
    for (has_changed, whose) in [
        (compared.file_changed, "This chassis' file"),
        (compared.peer_file_changed, "The peer's file"),
    ] {
        if has_changed {
            writeln!(
                to.out,
                "{whose} has been changed since it was read; this is what runs."
            )?;
        }
    }
    if compared.alike {
        writeln!(to.out, "The shared parts are alike.")
    } else {
        write!(to.out, "\n{}", compared.diff)
    }
}

fn table(files: &SharedFiles) -> Table {
    let mut table = Table::new(&["key", "path", "state", "detail"]);
    for row in &files.rows {
        table.row(vec![
            row.key.clone(),
            row.path.clone(),
            row.state.as_str().to_owned(),
            row.detail.clone(),
        ]);
    }
    table
}

fn are_alike(files: &SharedFiles) -> bool {
    let is_right = |state: FileState| matches!(state, FileState::Alike | FileState::Taken);
    files.rows.iter().all(|row| is_right(row.state))
}

/// Takes the peer's configuration over.
pub fn configuration(
    client: &Client,
    what: &RequestConfiguration,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let RequestConfiguration::Pull { dry_run } = what;
    let query = dry_run.then(|| ("dry-run", "true".to_owned()));
    let pulled: ConfigPull = client.post(PULL, query.as_slice())?;
    write!(out, "{}", pulled.diff)?;
    match (pulled.diff.is_empty() && !pulled.applied, *dry_run) {
        (true, _) => writeln!(out, "The shared parts are alike; nothing was changed.")?,
        (false, true) => writeln!(out, "It can be taken over; nothing was changed.")?,
        (false, false) => writeln!(out, "taken over, generation {}", pulled.generation)?,
    }
    for warning in &pulled.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(Exit::Ok)
}

/// Takes the peer's files.
pub fn request_files(client: &Client, what: &RequestFiles, out: &mut dyn Write) -> Result<Exit, Failure> {
    let RequestFiles::Synchronize = what;
    let files: SharedFiles = client.post(&format!("{FILES}/synchronize"), &[])?;
    if files.rows.is_empty() {
        writeln!(out, "{NO_FILES}")?;
    } else {
        table(&files).write(out)?;
    }
    Ok(if are_alike(&files) {
        Exit::Ok
    } else {
        Exit::Refused
    })
}

/// Ends sessions, and says what each chassis did.
pub fn clear(
    client: &Client,
    query: &[(&'static str, String)],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Exit, Failure> {
    let cleared: Cleared = client.delete("/v1/sessions", query)?;
    writeln!(out, "{} sessions cleared", cleared.cleared)?;
    let Some(peer) = cleared.peer else {
        return Ok(Exit::Ok);
    };
    if let Some(sessions) = peer.cleared {
        writeln!(out, "{sessions} sessions cleared at the peer")?;
        return Ok(Exit::Ok);
    }
    let why = peer.error.unwrap_or_default();
    writeln!(
        err,
        "tandem: on this chassis only; at the peer nothing is known to be cleared: {why}"
    )?;
    Ok(Exit::Refused)
}

/// What became of a reload at the peer.
pub fn peers_reload(report: &ReloadReport, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<()> {
    let Some(peer) = &report.peer else { return Ok(()) };
    if !peer.applied {
        return writeln!(err, "tandem: warning: not at the peer: {}", peer.detail);
    }
    write!(out, "at the peer")?;
    if let Some(generation) = peer.generation {
        write!(out, ", generation {generation}")?;
    }
    if !peer.detail.is_empty() {
        write!(out, ": {}", peer.detail)?;
    }
    writeln!(out)
}
