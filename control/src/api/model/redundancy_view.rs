//! What is shown of the pair beside its sets: the summary colour, heartbeats, guard, what is counted; and the parts of a set's row.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::redundancy::{RedundancySet, RoleCause};

/// One look at it all, as an LED would have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Light {
    /// One chassis is primary, and the other can take over.
    #[default]
    Green,
    /// Somebody is primary, and something is not as it should be.
    Amber,
    /// Nobody is primary as far as is known, both are, or who is has failed.
    Red,
}

impl Light {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Green, Self::Amber, Self::Red];

    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// A hold that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Hold {
    /// `initial`, `recovery`, `preempt`, `vacancy` or `drain`.
    #[schema(example = "recovery")]
    pub hold: String,
    /// How long it still does, milliseconds.
    pub left_ms: u64,
}

/// Weights of what has failed on this chassis, and what they are measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Weights {
    /// The sum of the failed objects of the set.
    pub failed: u16,
    /// At which the set is inoperable.
    pub threshold: u16,
    /// The sum of all failed objects of the chassis.
    pub chassis_failed: u16,
    /// At which every set is inoperable.
    pub chassis_threshold: u16,
}

impl Weights {
    /// Whether one of the thresholds is reached.
    #[must_use]
    pub const fn are_reached(&self) -> bool {
        self.failed >= self.threshold || self.chassis_failed >= self.chassis_threshold
    }
}

/// How the other chassis is for a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PeerOfSet {
    /// `heard`, `without` (heard, and it has no such set), `unheard` (never), `lost`, `gone` (its process has ended) or `leaving`
    /// (it has stopped).
    #[schema(example = "heard")]
    pub life: String,
    /// On what it is heard: names of the heartbeats' paths, and `channel`.
    pub heard_on: Vec<String>,
    /// Its priority for the set; none while it is not heard by heartbeats.
    pub priority: Option<u8>,
    /// The failed weights of the set there.
    pub failed_weight: Option<u16>,
    /// It has been told everything.
    pub complete: Option<bool>,
    /// The operator has not taken it out there.
    pub eligible: Option<bool>,
    /// An event is active there, or it warns.
    pub warned: Option<bool>,
    /// It warns this chassis: a policy or the operator there broadcasts a warning.
    pub warns: Option<bool>,
}

/// An address that moves with the primary role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VirtualAddressOfSet {
    /// Its interface.
    pub interface: String,
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// It is on the interface now.
    pub in_place: bool,
}

/// A signal route that is in the kernel now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SignalRouteOfSet {
    /// Its prefix.
    #[schema(value_type = String)]
    pub prefix: IpNet,
    /// Number of its table.
    pub table: u32,
    /// What it does: `via ADDRESS`, `dev NUMBER`, both, `discard` or `receive`.
    #[schema(example = "discard")]
    pub target: String,
}

/// The file by which VRRP follows a set's role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrackFileOfSet {
    /// Its path.
    #[schema(example = "/run/tandem/set-1")]
    pub path: String,
    /// What it says now: 0 primary, 1 not.
    pub number: u8,
}

/// What a set's role has done outside the dataplane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Outside {
    /// The configured virtual addresses.
    pub virtual_addresses: Vec<VirtualAddressOfSet>,
    /// Signal routes in the kernel.
    pub signal_routes: Vec<SignalRouteOfSet>,
    /// The tracking file, if it was written.
    pub track_file: Option<TrackFileOfSet>,
    /// Interfaces whose ports show as down to the kernel, because the set is not primary here (`standby-ports-down`).
    #[serde(default)]
    pub ports_down: Vec<String>,
    /// What is not as it should be; tried again every second.
    pub failures: Vec<String>,
    /// How long the last change of role took there, milliseconds.
    pub took_ms: u64,
}

/// The guard process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GuardProcess {
    /// Its process id; none: it does not run.
    pub pid: Option<u32>,
    /// Guards that were started because one had died.
    pub restarts: u64,
    /// How the last one that died ended.
    pub last_end: Option<String>,
}

/// What was counted of a path of heartbeats since start, datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatCounters {
    /// Made.
    pub sent: u64,
    /// Of these, not taken by a socket.
    pub send_failed: u64,
    /// That counted.
    pub received: u64,
    /// With a wrong code.
    pub bad_mac: u64,
    /// That are no heartbeat of this version.
    pub malformed: u64,
    /// Sent on another path.
    pub wrong_path: u64,
    /// Seen before.
    pub replayed: u64,
    /// Overtaken.
    pub late: u64,
    /// Of a life that has ended.
    pub ended: u64,
    /// That do not prove to know this life.
    pub foreign: u64,
    /// Answers of the peer's host that nobody is there.
    pub refused: u64,
}

impl HeartbeatCounters {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("sent", self.sent),
            ("send-failed", self.send_failed),
            ("received", self.received),
            ("bad-mac", self.bad_mac),
            ("malformed", self.malformed),
            ("wrong-path", self.wrong_path),
            ("replayed", self.replayed),
            ("late", self.late),
            ("ended", self.ended),
            ("foreign", self.foreign),
            ("refused", self.refused),
        ]
    }
}

/// A path of heartbeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatPath {
    /// `control`, `data`, `secondary-1` or `secondary-2`.
    #[schema(example = "control")]
    pub path: String,
    /// This end.
    #[schema(value_type = String)]
    pub local_address: IpAddr,
    /// The other end.
    #[schema(value_type = String)]
    pub peer_address: IpAddr,
    /// UDP port of both.
    pub port: u16,
    /// The peer is heard on it.
    pub up: bool,
    /// The peer hears this chassis on it, as it says.
    pub heard_by_peer: bool,
    /// When it was heard last, milliseconds ago; none: not in the peer's present life.
    pub heard_ms_ago: Option<u64>,
    /// Round trip, smoothed, microseconds.
    pub round_trip_us: Option<u32>,
    /// What is wrong with its socket.
    pub fault: Option<String>,
    /// Counters.
    pub counters: HeartbeatCounters,
}

/// Heartbeats with the peer of a redundancy group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatGroup {
    /// Number of the redundancy group.
    pub redundancy_group: u8,
    /// The peer: `unheard`, `alive`, `lost`, `gone` or `leaving`.
    #[schema(example = "alive")]
    pub peer: String,
    /// For how long it has been so, milliseconds.
    pub since_ms: u64,
    /// The interval that decides, milliseconds: of both chassis' timings the one with the longer time without a beat.
    pub interval_ms: u16,
    /// The threshold that decides, intervals.
    pub lost_threshold: u8,
    /// How far the peer's clock is ahead of this chassis' (negative: behind), microseconds.
    pub clock_ahead_us: Option<i64>,
    /// Why their thread has no real-time priority; none: it has.
    pub no_real_time: Option<String>,
    /// Longest time their thread woke up too late, microseconds.
    pub late_max_us: u64,
    /// The paths.
    pub paths: Vec<HeartbeatPath>,
}

/// What became of a set's roles since start, by cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RoleCount {
    /// The redundancy set.
    pub redundancy_set: u8,
    /// The cause.
    pub cause: RoleCause,
    /// Changes of its state.
    pub transitions: u64,
    /// Changes that were refused, or did not come about.
    pub refusals: u64,
}

/// The cluster that the two chassis are, and which of them this one is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// Its number, 1 to 7; none: it has none.
    pub id: Option<u8>,
    /// Its name.
    pub name: Option<String>,
    /// This chassis: 1 with the lower redundancy address, else 2; none without a redundancy group.
    pub unit: Option<u8>,
}

/// The whole pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Redundancy {
    /// The cluster, and this chassis' place in it.
    pub cluster: Cluster,
    /// The worst of all colours.
    pub light: Light,
    /// Why it is not green.
    pub why: Vec<String>,
    /// Redundancy sets, by number.
    #[serde(rename = "rows")]
    pub sets: Vec<RedundancySet>,
    /// Heartbeats, of each group that has them.
    pub heartbeats: Vec<HeartbeatGroup>,
    /// The guard; none without a redundancy group.
    pub guard: Option<GuardProcess>,
    /// What was counted; every cause of every set, zero ones too.
    pub counts: Vec<RoleCount>,
}
