//! The daemon as a whole: health, version, the running configuration and what the last reload said.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// The file.
    pub file: String,
    /// Line in it, from 1; none when the fault is in no one line (a missing table).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// Path of the key, for example `pools.residential.addresses[0]`; empty when the file could not be parsed.
    pub key: String,
    /// What is wrong, and what would be right.
    pub detail: String,
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
