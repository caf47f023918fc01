//! Redundancy sets: the units of takeover, their roles on both chassis, and what became of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::redundancy_view::{Hold, Light, Outside, PeerOfSet, Weights};

/// The part a chassis plays for a redundancy set. Redundancy spec, section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoleState {
    /// Standby since the process started, until the peer was heard or the hold time passed.
    Initializing,
    /// It translates, allocates, and tells the other.
    Primary,
    /// It holds what it is told, forwards nothing of the set, and is ready to take over.
    Standby,
    /// It holds what it is told and is complete, but a monitored event is active on this chassis.
    StandbyWarned,
    /// Standby, and not ready to take over: the bulk synchronization is not complete, the hold after a recovered failure still
    /// runs, or the peer holds sessions that nobody is primary for.
    Wait,
    /// Standby: the operator has taken it out.
    Ineligible,
    /// Standby: its failed weights have reached the threshold.
    Inoperable,
}

impl RoleState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Initializing,
        Self::Primary,
        Self::Standby,
        Self::StandbyWarned,
        Self::Wait,
        Self::Ineligible,
        Self::Inoperable,
    ];

    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::StandbyWarned => "standby-warned",
            Self::Wait => "wait",
            Self::Ineligible => "ineligible",
            Self::Inoperable => "inoperable",
        }
    }
}

/// A role that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WantedRole {
    /// Be primary: the peer, if it is there and primary, is asked to release the set.
    Primary,
    /// Release the set.
    Standby,
}

impl WantedRole {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// Why a role changed, or was to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoleCause {
    /// The process started: the configuration says so, or what was heard of the peer.
    Start,
    /// Somebody asked for it here.
    Operator,
    /// The peer asked for it.
    Peer,
    /// The peer is primary with a higher epoch.
    Epoch,
    /// The peer is not there any more.
    PeerLost,
    /// Neither was primary, and this chassis is the one of both that is to be.
    Election,
    /// What is monitored here has failed or is back, or the operator has taken the set out.
    Monitor,
    /// This chassis is preferred, and may take the role from a running primary.
    Preempt,
    /// A redundancy policy asks for it.
    Policy,
    /// The daemon stops.
    Shutdown,
    /// Replication has failed here.
    Failure,
}

impl RoleCause {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Start,
        Self::Operator,
        Self::Peer,
        Self::Epoch,
        Self::PeerLost,
        Self::Election,
        Self::Monitor,
        Self::Preempt,
        Self::Policy,
        Self::Shutdown,
        Self::Failure,
    ];

    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Operator => "operator",
            Self::Peer => "peer",
            Self::Epoch => "epoch",
            Self::PeerLost => "peer-lost",
            Self::Election => "election",
            Self::Monitor => "monitor",
            Self::Preempt => "preempt",
            Self::Policy => "policy",
            Self::Shutdown => "shutdown",
            Self::Failure => "failure",
        }
    }
}

/// One redundancy set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RedundancySet {
    /// Its number, the same on both chassis, 1..=128.
    pub id: u8,
    /// Its name.
    pub name: Option<String>,
    /// Number of its redundancy group.
    pub redundancy_group: u8,
    /// Its service sets, in the order of the config file.
    pub service_sets: Vec<String>,
    /// Role of this chassis.
    pub role: RoleState,
    /// Role of the other chassis, as it said last; none while it is not connected.
    pub peer_role: Option<RoleState>,
    /// The role that was asked for and is not taken up yet.
    pub changing_to: Option<WantedRole>,
    /// Number of the role change that led here; grows with each. The higher one wins where both say primary.
    pub epoch: u64,
    /// The peer's, as it said last.
    pub peer_epoch: Option<u64>,
    /// Since when the role is so, seconds since 1970-01-01 UTC.
    pub since_unix_s: u64,
    /// For how long it has been so, seconds, whatever became of the time of day meanwhile.
    pub role_age_s: u64,
    /// Why it became so.
    pub last_cause: RoleCause,
    /// Its colour.
    pub light: Light,
    /// Why that is not green.
    pub why: Vec<String>,
    /// Its role is automatic: the group has heartbeats. Otherwise it changes by command alone, and what an automatic set has beside
    /// is not there.
    pub automatic: bool,
    /// Why the role is what it is, in words.
    pub reason: Option<String>,
    /// The lower number is preferred.
    pub priority: u8,
    /// It takes the role back when it is preferred.
    pub preempt: bool,
    /// The operator has taken it out.
    pub taken_out: bool,
    /// What is broadcast to the peer as a warning.
    pub warning: Option<String>,
    /// Holds that run.
    pub holds: Vec<Hold>,
    /// What has failed on this chassis.
    pub weights: Option<Weights>,
    /// The other chassis.
    pub peer: PeerOfSet,
    /// Virtual addresses and signal routes.
    pub outside: Outside,
    /// What became of the set last.
    pub last_event: Option<RedundancyEvent>,
}

impl RedundancySet {
    /// A set of group 1 of which nothing is known yet.
    #[must_use]
    pub fn of(id: u8) -> Self {
        Self {
            id,
            name: None,
            redundancy_group: 1,
            service_sets: Vec::new(),
            role: RoleState::Initializing,
            peer_role: None,
            changing_to: None,
            epoch: 0,
            peer_epoch: None,
            since_unix_s: 0,
            role_age_s: 0,
            last_cause: RoleCause::Start,
            light: Light::default(),
            why: Vec::new(),
            automatic: false,
            reason: None,
            priority: 100,
            preempt: false,
            taken_out: false,
            warning: None,
            holds: Vec::new(),
            weights: None,
            peer: PeerOfSet::default(),
            outside: Outside::default(),
            last_event: None,
        }
    }
}

/// Something that became of a redundancy set's role, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RedundancyEvent {
    /// Its number since start, from 1: a gap says that events have been forgotten.
    pub id: u64,
    /// When, seconds since 1970-01-01 UTC.
    pub at_unix_s: u64,
    /// The redundancy set.
    pub redundancy_set: u8,
    /// Role before.
    pub from: RoleState,
    /// Role it changed to, or was to change to.
    pub to: RoleState,
    /// The set's epoch after it.
    pub epoch: u64,
    /// Why.
    pub cause: RoleCause,
    /// It was asked for by force.
    pub forced: bool,
    /// It was carried out.
    pub ok: bool,
    /// Why not, if it was not. Of a monitored event, which changes no role by itself: what became active or inactive, and why.
    pub reason: Option<String>,
    /// What is to be known beside: what led to it, that what the new primary lacks is lost, that nobody is primary now.
    #[serde(default)]
    pub note: Option<String>,
}

/// A role that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleRequest {
    /// The role.
    pub role: WantedRole,
    /// Also when it costs something: a standby that does not know all becomes primary, or the primary releases the set to such
    /// a one.
    #[serde(default)]
    pub force: bool,
}

/// The other chassis is to be primary, whichever has the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// As with the role that it comes to on this chassis.
    #[serde(default)]
    pub force: bool,
}

/// Whether this chassis may have a set's primary role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EligibilityRequest {
    /// False: it is taken out, and hands over when it can. True: it is put back.
    pub eligible: bool,
}

/// A warning that the peer is to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WarningRequest {
    /// Its text, 1 to 200 characters; none takes it back.
    pub text: Option<String>,
}

/// What is asked of a set beside a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRequest {
    /// The other chassis is to be primary.
    Switchover(SwitchoverRequest),
    /// Whether this chassis may be.
    Eligibility(EligibilityRequest),
    /// What the peer is to see.
    Warning(WarningRequest),
}

/// A role that was taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RoleChange {
    /// The redundancy set.
    pub redundancy_set: u8,
    /// Role of this chassis from now on.
    pub role: RoleState,
    /// The set's epoch.
    pub epoch: u64,
    /// False: it was so already, and nothing was done.
    pub changed: bool,
    /// What is to be known beside: that nobody is primary now, as far as is known.
    #[serde(default)]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_views_are_those_in_json() {
        let name = |value: serde_json::Value| value.as_str().map(str::to_owned);
        for role in RoleState::ALL {
            let written = serde_json::to_value(role).expect("it can be written");
            assert_eq!(name(written).as_deref(), Some(role.as_str()));
        }
        for role in [WantedRole::Primary, WantedRole::Standby] {
            let written = serde_json::to_value(role).expect("it can be written");
            assert_eq!(name(written).as_deref(), Some(role.as_str()));
        }
        for cause in RoleCause::ALL {
            let written = serde_json::to_value(cause).expect("it can be written");
            assert_eq!(name(written).as_deref(), Some(cause.as_str()));
        }
    }
}
