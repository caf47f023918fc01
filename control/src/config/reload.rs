//! What a reload would change, and which of it a running daemon can take.
//!
//! DPDK, workers, ports, table sizes and the channel to the other chassis are taken at start and stay; everything else is live. A reload that changes
//! anything of the first sort is refused whole, so that the file and the running daemon never tell different stories.

use std::collections::BTreeSet;

use super::diagnostics::{join, position_of};
use super::fault::{Fault, FaultKind};
use super::reload_live;
use super::{Config, ServiceSet};

/// One key that two configurations have differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key path.
    pub path: String,
    /// Value in the old one, as the file would write it; `None` when it has none.
    pub from: Option<String>,
    /// Value in the new one; `None` when it has none.
    pub to: Option<String>,
    /// When it can take effect.
    pub effect: Effect,
}

/// When a change can take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once, without touching established sessions.
    Live,
    /// After a restart only.
    Restart,
}

/// Whether `path` says which redundancy set a service set is of that was there before and stays: its ports were leased, and its
/// sessions told, by the one it is of.
fn moves(path: &str, old: &Config, new: &Config) -> bool {
    let of = |set: &ServiceSet| join("service-sets", &set.name) + ".redundancy-set" == path;
    path.ends_with(".redundancy-set") && [old, new].iter().all(|config| config.service_sets.iter().any(of))
}

/// When a change of `path` can take effect.
fn effect_of(path: &str, old: &Config, new: &Config) -> Effect {
    let fixed = ["dpdk.", "workers.", "table-sizes."]
        .iter()
        .any(|section| path.starts_with(section))
        || path == "api.listen"
        || (path.starts_with("interfaces.") && !path.ends_with(".addresses"))
        || (path.starts_with("redundancy-groups.") && !path.ends_with(".name"))
        || (path.starts_with("redundancy-sets.") && path.ends_with(".redundancy-group"))
        || moves(path, old, new);
    if fixed { Effect::Restart } else { Effect::Live }
}

/// Every key that `old` and `new` have differently, defaults and derived values included, sorted by key path.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (old.effective(), new.effective());
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| Change {
            path: key.clone(),
            from: before.get(key).cloned(),
            to: after.get(key).cloned(),
            effect: effect_of(key, old, new),
        })
        .collect()
}

/// What a running daemon that has `old` would change to take `new`.
///
/// # Errors
/// One fault for each key that needs a restart, and for each pool or subscriber prefix that cannot change under its sessions; nothing of `new` may be applied then. A default that follows another key
/// (`max-mappings` after `max-sessions`) is left to that key's fault.
pub fn check_reload(old: &Config, new: &Config) -> Result<Vec<Change>, Vec<Fault>> {
    let changes = changes(old, new);
    let written = |path: &str| old.places.contains_key(path) || new.places.contains_key(path);
    let fixed = |change: &&Change| change.effect == Effect::Restart;
    let any_written = changes.iter().filter(fixed).any(|change| written(&change.path));
    let mut faults: Vec<Fault> = changes
        .iter()
        .filter(fixed)
        .filter(|change| !any_written || written(&change.path))
        .map(|change| {
            let (line, column) = position_of(&new.places, &change.path);
            let none = || "nothing".to_owned();
            let (from, to) = (
                change.from.clone().unwrap_or_else(none),
                change.to.clone().unwrap_or_else(none),
            );
            Fault {
                kind: FaultKind::NeedsRestart,
                file: new.file.clone(),
                line,
                column,
                path: change.path.clone(),
                problem: format!(
                    "the change from {from} to {to} needs a restart, so nothing of the file was applied"
                ),
                remedy: format!("restart tandemd, or put {from} back"),
            }
        })
        .collect();
    faults.extend(reload_live::faults(old, new));
    faults.sort_by_key(|fault| (fault.line, fault.column));
    if faults.is_empty() {
        Ok(changes)
    } else {
        Err(faults)
    }
}
