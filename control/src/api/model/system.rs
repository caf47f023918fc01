//! The daemon as a whole: health, version, the running configuration and what the last reload said.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cluster::PeerReload;
use crate::config;

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// How the daemon is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// Every check passes.
    Ok,
    /// It forwards, but a check fails.
    Degraded,
    /// It does not forward.
    Down,
}

impl HealthStatus {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What was looked at, for example `worker-0` or `interface-wan`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Why it is not; empty when it is.
    pub detail: String,
}

/// Health of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// All checks in one word.
    pub status: HealthStatus,
    /// Seconds since the dataplane started.
    pub uptime_s: u64,
    /// The checks behind it.
    pub checks: Vec<Check>,
}

/// What is running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Version {
    /// Version of the daemon.
    pub tandem: String,
    /// Version of DPDK as it names itself.
    pub dpdk: String,
}

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// The file, as it was given.
    pub file: String,
    /// Line, from 1; none when the fault has no place in the file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// Column in characters, from 1; none when the fault has no place in the file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
    /// Key path, for example `pools.cgn.prefixes[1]`; empty when the fault has none.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

impl From<&config::Fault> for Fault {
    fn from(fault: &config::Fault) -> Self {
        let place = |n: u32| (n > 0).then_some(n);
        Self {
            file: fault.file.clone(),
            line: place(fault.line),
            column: place(fault.column),
            path: fault.path.clone(),
            problem: fault.problem.clone(),
            remedy: fault.remedy.clone(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for place in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{place}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadReport {
    /// Whether the file was applied. When not, nothing changed.
    pub applied: bool,
    /// Generation that runs after it.
    pub generation: u32,
    /// When it was tried, seconds since 1970-01-01 UTC.
    pub at_unix_s: u64,
    /// Why it was not applied; empty when it was.
    pub faults: Vec<Fault>,
    /// What of an applied file could not be carried out, for example an address that the kernel refused.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Sessions that were ended because the policies refuse them; only when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sessions_ended: Option<u64>,
    /// What became of it at the peer; only where the configuration is propagated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<PeerReload>,
}

/// The running configuration in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigSummary {
    /// The file it came from.
    pub file: String,
    /// Generation of the running program; grows by one with every commit.
    pub generation: u32,
    /// When it was loaded, seconds since 1970-01-01 UTC.
    pub loaded_at_unix_s: u64,
    /// Service sets in it.
    pub service_sets: u32,
    /// Pools in it.
    pub pools: u32,
    /// Interfaces in it.
    pub interfaces: u32,
    /// What the last reload said; none before the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_reload: Option<ReloadReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_keeps_its_place_and_its_words_on_its_way_through_json() {
        let faults = config::parse("[system]\nnme = \"x\"\n", "f.toml").expect_err("an unknown key");
        for fault in &faults {
            let shown = Fault::from(fault);
            let json = serde_json::to_string(&shown).expect("it can be written");
            let back: Fault = serde_json::from_str(&json).expect("it can be read");
            assert_eq!(back, shown);
            assert_eq!(back.to_string(), fault.to_string());
        }
        assert!(
            faults.iter().any(|f| Fault::from(f).line == Some(2)),
            "{faults:?}"
        );
    }
}
