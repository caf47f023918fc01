//! The terms of a role: what a set is on a chassis, what can be wished for, why it changed, and what became of a wish.

/// The part a chassis plays for a redundancy set. Redundancy spec, section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// All of them, in the order of the specification.
    pub const ALL: [Self; 7] = [
        Self::Initializing,
        Self::Primary,
        Self::Standby,
        Self::StandbyWarned,
        Self::Wait,
        Self::Ineligible,
        Self::Inoperable,
    ];

    /// Its name.
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

/// A role that can be wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedRole {
    /// Be primary: the peer, if it is there and primary, is asked to release the set.
    Primary,
    /// Release the set.
    Standby,
}

impl WantedRole {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// Why a role changed, or was to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// What is monitored here has failed, or the operator has taken the set out.
    Monitor,
    /// This chassis is preferred, and may take the role from a running primary.
    Preempt,
    /// A redundancy policy asks for it.
    Policy,
    /// The daemon stops.
    Shutdown,
}

impl RoleCause {
    /// Its name.
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
        }
    }
}

/// Something that became of a redundancy set's role, or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The redundancy set, 1..=128.
    pub set: u8,
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
    /// Why it did not come about, if it did not.
    pub reason: Option<String>,
    /// What is to be known beside: that nobody is primary now, as far as is known.
    pub note: Option<String>,
}

/// A role that was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The redundancy set, 1..=128.
    pub redundancy_set: u8,
    /// Role of this chassis from now on.
    pub role: RoleState,
    /// The set's epoch.
    pub epoch: u64,
    /// False: it was so already, and nothing was done.
    pub changed: bool,
    /// What is to be known beside: that nobody is primary now, as far as is known.
    pub note: Option<String>,
}

/// Why a role was not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Somebody that had to be asked did not answer in time: the peer, or a worker.
    #[error("{who} did not answer in time")]
    NoAnswer {
        /// Who.
        who: String,
    },
    /// The state of the pair does not allow it, and nothing was changed: why, and what would help.
    #[error("{0}")]
    Refused(String),
    /// There is no such set.
    #[error("{0}")]
    Unknown(String),
}
