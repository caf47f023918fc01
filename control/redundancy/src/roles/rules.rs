//! When a role may change, and what a change needs of the chassis and its peer. Redundancy spec, section 1.

use tandem_engine::replica::{Role, SetRole};

use super::drain::Drain;

/// How the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Not connected.
    Gone,
    /// Not connected, and heard all the same: its heartbeats say which roles it has.
    Cut,
    /// Connected, and no word of it yet.
    Greeting,
    /// Connected, its roles known, and nothing is replicated: the configurations differ.
    Suspended,
    /// Connected, its roles known.
    There {
        /// It has been told everything by this chassis.
        knows_all: bool,
    },
}

/// What a standby lacks that its peer has, or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The peer has not told it everything.
    Untold,
    /// Its workers had to refuse something that they were told.
    Refused,
}

impl Lack {
    /// What is missing, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Untold => "the peer has not told it all its sessions",
            Self::Refused => "its workers had to refuse some of the peer's sessions",
        }
    }
}

impl Peer {
    /// Connected, its roles known.
    #[must_use]
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Suspended | Self::There { .. })
    }

    /// What it says of its roles counts.
    #[must_use]
    pub const fn is_heard(self) -> bool {
        self.is_there() || matches!(self, Self::Cut)
    }

    /// Connected, and told everything by this chassis.
    #[must_use]
    pub const fn knows_all(self) -> bool {
        matches!(self, Self::There { knows_all: true })
    }
}

/// What roles are given to, and the way to the peer.
pub trait Hands {
    /// The role a set has here.
    fn role(&self, set: u8) -> Option<SetRole>;
    /// How the peer is.
    fn peer(&self) -> Peer;
    /// What the workers here lack of what the peer has, or had when it was there last.
    fn lack(&self) -> Option<Lack>;
    /// A set that is primary here is standby from now on, with the peer's epoch: the peer is primary, and its claim is the better
    /// one.
    fn yield_to(&mut self, set: u8, epoch: u64);
    /// The role a set has there, as last heard.
    fn peer_role(&self, set: u8) -> Option<SetRole>;
    /// A set that is handed over drains: the first step comes right before [`Hands::take_up`], which ends it by making the set primary.
    fn drain(&mut self, set: u8, step: Drain) {
        let _without = (set, step);
    }
    /// Has the workers take up a role; [`super::Roles::taken_up`] is called when they have.
    fn take_up(&mut self, set: u8, role: Role, epoch: u64);
    /// A set that is standby has this epoch from now on, higher than its own: that of the peer, which is primary.
    fn adopt(&mut self, set: u8, epoch: u64);
    /// Asks the peer to release a set. False: there is none to ask.
    fn ask(&mut self, set: u8) -> bool;
    /// Tells the peer that a set is released. False: there is none to tell.
    fn released(&mut self, set: u8, epoch: u64) -> bool;
    /// Tells the peer that a set is not released.
    fn refuse(&mut self, set: u8);
}

/// The epoch of a change that is made now: higher than any known.
pub(super) fn next_epoch(set: u8, hands: &impl Hands) -> u64 {
    let known = [hands.role(set), hands.peer_role(set)];
    let highest = known.iter().flatten().map(|role| role.epoch).max();
    highest.unwrap_or(0).saturating_add(1)
}

/// Whether this chassis may become primary. A standby that lacks something is in `wait`, whether or not the peer is there.
pub(super) fn may_acquire(
    forced: bool,
    peer: Peer,
    theirs: Option<SetRole>,
    lack: Option<Lack>,
) -> Result<(), String> {
    match (peer, lack) {
        (Peer::Cut, _) if theirs.is_some_and(|role| role.primary) => Err(
            "the peer is primary, its heartbeats say, and is not connected, so that it cannot be asked to release the set".into(),
        ),
        (Peer::Greeting, _) => Err(
            "the peer has connected and does not say its roles; see its log, and ask again in a moment"
                .into(),
        ),
        (_, Some(lack)) if !forced => {
            let missing = lack.text();
            let until = match (peer, lack) {
                (Peer::Gone | Peer::Cut, _) => "the peer is not connected",
                (_, Lack::Untold) => "show replication says how far it is, and why; ask again when it has",
                (_, Lack::Refused) => {
                    "give both chassis the same [table-sizes]; ask again after the next bulk"
                }
            };
            Err(format!(
                "this chassis is in `wait`: {missing} ({until}); force takes the role all the same, and loses what is missing"
            ))
        }
        (Peer::Gone | Peer::Cut | Peer::Suspended | Peer::There { .. }, _) => Ok(()),
    }
}

/// Whether this chassis may stop being primary.
pub(super) fn may_release(set: u8, forced: bool, hands: &impl Hands) -> Result<(), String> {
    if forced {
        return Ok(());
    }
    let why = match (hands.peer(), hands.peer_role(set)) {
        (Peer::Gone | Peer::Cut | Peer::Greeting, _) => {
            "the peer is not connected, so nobody would be primary"
        }
        (Peer::Suspended | Peer::There { .. }, None) => {
            "the peer has no such redundancy set, so nobody would be primary"
        }
        (Peer::Suspended | Peer::There { knows_all: false, .. }, _) => {
            "the peer has not been told all sessions (show replication says how far it is, and why)"
        }
        (Peer::There { .. }, Some(_)) => return Ok(()),
    };
    Err(format!("{why}; use force to release the set all the same"))
}
