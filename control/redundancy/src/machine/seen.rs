//! What the state machine of a redundancy set sees: its settings, its own chassis, and the peer as its heartbeats say.

use std::cmp::Ordering;

use tandem_engine::replica::SetRole;

use crate::{Lack, RoleState};

/// What the configuration says of a set whose roles are automatic. Redundancy spec, sections 1 and 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// 1..=254; the lower number is preferred.
    pub priority: u8,
    /// This chassis has the lower redundancy address: preferred among equal priorities.
    pub is_gateway_1: bool,
    /// A preferred chassis takes the role from a running primary.
    pub preempt: bool,
    /// For how long it must have been fit to, milliseconds, 0..=600,000.
    pub preempt_hold_ms: u64,
    /// How long a set rests in `wait` after a recovered failure, milliseconds, 0..=3,600,000.
    pub recovery_hold_ms: u64,
    /// How long a set in `initializing` waits to hear of the peer, milliseconds.
    pub initial_hold_ms: u64,
    /// When both chassis have failed, the better one carries on.
    pub primary_always_exists: bool,
    /// Failed weights of the set that make it inoperable, 1..=255.
    pub set_threshold: u16,
    /// Failed weights of the chassis, all sets together, that make it inoperable, 1..=255.
    pub chassis_threshold: u16,
}

/// One look at everything a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Milliseconds of any clock that does not go back.
    pub now_ms: u64,
    /// The role that the workers have, or are taking up.
    pub ours: SetRole,
    /// A change of it is under way.
    pub is_changing: bool,
    /// What the workers lack of what the peer has told or was to tell; none for who was primary last.
    pub lack: Option<Lack>,
    /// Weights of what has failed: objects of the set.
    pub failed_weight: u16,
    /// The same of all objects of the chassis.
    pub chassis_failed_weight: u16,
    /// A monitored event of one of the set's policies is active here.
    pub is_warned: bool,
    /// One of a policy that releases the role.
    pub releases: bool,
    /// An event is active of a policy that warns the peer, if only by what the peer does.
    pub broadcasts: bool,
    /// The workers have their role because the peer asked for it.
    pub was_asked_for: bool,
    /// The peer.
    pub peer: PeerSeen,
    /// A heartbeat has told the set's priority there. The channel alone does not, and is often there first.
    pub knows_priority: bool,
    /// The channel to it is up, and it has said its roles, so that it can be told and asked.
    pub is_connected: bool,
}

/// The peer, as far as this set is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerSeen {
    /// Never heard since this process started.
    Unheard,
    /// It was heard, and is not for too long.
    Lost,
    /// Its process has ended: its guard or its kernel says so.
    Gone,
    /// It has stopped cleanly, and said so.
    Leaving,
    /// It is heard, and has no such set.
    Without,
    /// It is heard.
    Heard(PeerSet),
}

/// A set on the peer, as its last heartbeat had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSet {
    /// Its state there.
    pub state: RoleState,
    /// Its workers are primary.
    pub is_primary: bool,
    /// Its epoch there.
    pub epoch: u64,
    /// Its priority there, 1..=254.
    pub priority: u8,
    /// The failed weights there.
    pub failed_weight: u16,
    /// It lacks nothing of what it was to be told.
    pub is_complete: bool,
    /// The operator has not taken it out.
    pub is_eligible: bool,
    /// A monitored event is active there, or somebody there warns.
    pub is_warned: bool,
    /// A policy or the operator there warns this chassis.
    pub broadcasts: bool,
}

impl PeerSet {
    /// Whether it takes a set that is released to it.
    #[must_use]
    pub const fn can_take_over(&self) -> bool {
        let rests = matches!(
            self.state,
            RoleState::Standby | RoleState::StandbyWarned | RoleState::Wait
        );
        rests && self.fitness() == 2
    }

    /// Nothing is wrong there.
    pub(super) const fn is_well(&self) -> bool {
        self.is_eligible && !self.is_warned && self.failed_weight == 0
    }

    /// How far it can carry the set: 2 as it should, 1 with failed monitors, 0 taken out.
    pub(super) const fn fitness(&self) -> u8 {
        match self.state {
            _ if !self.is_eligible => 0,
            RoleState::Ineligible => 0,
            RoleState::Inoperable => 1,
            _ => 2,
        }
    }
}

impl PeerSeen {
    /// The peer's set, if it is heard and has it.
    #[must_use]
    pub const fn set(&self) -> Option<&PeerSet> {
        match self {
            Self::Heard(set) => Some(set),
            Self::Unheard | Self::Lost | Self::Gone | Self::Leaving | Self::Without => None,
        }
    }
}

/// One chassis' claim to a set that nobody is primary of: the greater one has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub fitness: u8,
    pub is_complete: bool,
    pub epoch: u64,
    pub priority: u8,
    pub is_gateway_1: bool,
}

impl Claim {
    /// By priority, then by redundancy address.
    pub fn by_preference(&self, other: &Self) -> Ordering {
        let priority = other.priority.cmp(&self.priority);
        priority.then(self.is_gateway_1.cmp(&other.is_gateway_1))
    }

    /// Who can carry the set better; of two that can as they should the one that holds more of it; then by preference. Of two
    /// that have failed what they hold does not count: redundancy spec, section 1, `primary-always-exists`.
    pub fn is_better(&self, other: &Self) -> bool {
        let fit = self.fitness == 2 && other.fitness == 2;
        let holds = (self.is_complete, self.epoch).cmp(&(other.is_complete, other.epoch));
        let holds = if fit { holds } else { Ordering::Equal };
        let order = self.fitness.cmp(&other.fitness).then(holds);
        order.then_with(|| self.by_preference(other)).is_gt()
    }
}
