//! How a set starts: as standby, until it is known that nobody else is primary and that nothing of an earlier life is lost by
//! becoming so. Redundancy spec, section 1, `initializing`.
//!
//! ```text
//!   initializing --peer is primary----------------------------> standby
//!                --peer is standby, its epoch above 0---------> wait: a person decides which chassis goes on
//!                --peer is standby, epoch 0; or nobody heard--> the configured role
//! ```
//!
//! A standby has the epoch of the primary that told it its sessions, or of its own last role: 0 is one that holds nothing.

use tandem_engine::replica::{Role, SetRole};

use super::Roles;
use super::change::{Change, state};
use super::rules::{Hands, Peer, next_epoch};
use crate::{Event, RoleCause, RoleState, WantedRole};

/// How much longer than the hold a peer may take that has connected and not said its roles yet, milliseconds.
const GREETING_MS: u64 = 2000;

/// The role that a set starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured {
    /// This one, when nobody else has it: roles are changed by hand.
    As(Role),
    /// The set's [`crate::machine::Machine`] says so.
    Automatic,
}

/// A set that has not found its role since the start.
#[derive(Debug)]
pub(super) struct Start {
    configured: Role,
    /// When the configured role is taken with nobody heard; from the first look on.
    until_ms: Option<u64>,
    /// The peer holds what an earlier life of this chassis told it, and history has it.
    held: bool,
}

/// What follows from what is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Hold,
    Take(Role),
}

impl Start {
    pub const fn of(configured: Configured) -> Option<Self> {
        match configured {
            Configured::As(configured) => Some(Self {
                configured,
                until_ms: None,
                held: false,
            }),
            Configured::Automatic => None,
        }
    }

    /// What it is called meanwhile.
    pub const fn state(&self) -> RoleState {
        if self.held {
            RoleState::Wait
        } else {
            RoleState::Initializing
        }
    }

    /// Whether a person has to decide.
    pub const fn is_held(&self) -> bool {
        self.held
    }

    /// Somebody wants it standby, whatever the configuration says.
    pub const fn stay_standby(&mut self) {
        self.configured = Role::Standby;
    }

    /// Whether it may become primary by hand.
    pub fn may_acquire(&self, set: u8, forced: bool, peer: Peer) -> Result<(), String> {
        match (self.held, peer.is_there()) {
            _ if forced => Ok(()),
            (true, true) => Err(advice(set)),
            // What it lacks decides.
            (true, false) => Ok(()),
            (false, _) => Err(
                "this chassis has just started and has not heard of the peer yet; ask again in a few seconds, or use \
                 force, which loses what the peer holds"
                    .into(),
            ),
        }
    }

    fn verdict(&mut self, now_ms: u64, hold_ms: u64, peer: Peer, theirs: Option<SetRole>) -> Verdict {
        let until_ms = *self.until_ms.get_or_insert(now_ms.saturating_add(hold_ms));
        match (peer, theirs) {
            (Peer::There { .. } | Peer::Suspended, Some(theirs)) if theirs.primary => {
                Verdict::Take(Role::Standby)
            }
            (Peer::There { .. } | Peer::Suspended, Some(theirs)) if theirs.epoch > 0 => Verdict::Hold,
            (Peer::There { .. } | Peer::Suspended, _) => Verdict::Take(self.configured),
            // What it holds may come back with it.
            (Peer::Gone | Peer::Cut | Peer::Greeting, _) if self.held => Verdict::Wait,
            (Peer::Gone | Peer::Cut, _) if now_ms >= until_ms => Verdict::Take(self.configured),
            (Peer::Greeting, _) if now_ms >= until_ms.saturating_add(GREETING_MS) => {
                Verdict::Take(self.configured)
            }
            (Peer::Gone | Peer::Cut | Peer::Greeting, _) => Verdict::Wait,
        }
    }
}

/// What to do when the peer has the sessions and nobody is primary.
pub fn advice(set: u8) -> String {
    format!(
        "the peer holds the sessions of redundancy set {set}, and neither chassis is primary: `tandem request redundancy set \
         {set} primary` on the peer keeps them, here with --force it loses them"
    )
}

/// What history has of a start.
pub(super) const fn entry(
    set: u8,
    from: RoleState,
    to: RoleState,
    epoch: u64,
    reason: Option<String>,
) -> Event {
    Event {
        set,
        from,
        to,
        epoch,
        cause: RoleCause::Start,
        forced: false,
        reason,
        note: None,
    }
}

impl Roles {
    /// Sets that have started find their role.
    pub(super) fn settle(&mut self, now_ms: u64, hands: &mut impl Hands) {
        for number in self.numbers() {
            let known = self.sets.get_mut(&number).filter(|set| set.change.is_none());
            let Some((set, ours)) = known.zip(hands.role(number)) else {
                continue;
            };
            let Some(start) = &mut set.start else { continue };
            let before = start.state();
            match start.verdict(now_ms, self.hold_ms, hands.peer(), hands.peer_role(number)) {
                Verdict::Wait => {}
                Verdict::Hold if start.held => {}
                Verdict::Hold => {
                    start.held = true;
                    let to = state(start.configured);
                    self.events
                        .push_back(entry(number, before, to, ours.epoch, Some(advice(number))));
                }
                Verdict::Take(Role::Primary) => {
                    let change = Change::new(WantedRole::Primary, RoleCause::Start, Role::Standby, now_ms);
                    let epoch = next_epoch(number, hands);
                    self.begin(number, change, epoch, now_ms, hands);
                }
                Verdict::Take(Role::Standby) => {
                    set.start = None;
                    set.cause = RoleCause::Start;
                    self.events
                        .push_back(entry(number, before, RoleState::Standby, ours.epoch, None));
                }
            }
        }
    }

    /// A standby has the epoch of the primary that tells it everything: after a restart the primary sees by it that there is
    /// something to lose.
    pub(super) fn adopt_epochs(&self, hands: &mut impl Hands) {
        if !matches!(hands.peer(), Peer::There { .. }) {
            return;
        }
        let at_rest = self.sets.iter().filter(|(_, set)| set.change.is_none());
        for number in at_rest.map(|(number, _)| *number) {
            let (Some(ours), Some(theirs)) = (hands.role(number), hands.peer_role(number)) else {
                continue;
            };
            if !ours.primary && theirs.primary && theirs.epoch > ours.epoch {
                hands.adopt(number, theirs.epoch);
            }
        }
    }
}

#[cfg(test)]
mod tests;
