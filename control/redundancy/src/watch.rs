//! Whether the peer lives: by its heartbeats, and by the channel where those are lost. Redundancy spec, sections 2 and 6.
//!
//! A peer is taken to be dead only when neither speaks for it, and to be reachable only when the channel is there.

use std::collections::BTreeMap;

use tandem_engine::replica::{Role, SetRole};

use crate::machine::{PeerSeen, PeerSet};
use crate::{Hands, Lack, Peer, RoleState};

/// The priority of a set whose heartbeats were never heard: the default.
const PRIORITY_UNKNOWN: u8 = 100;

/// What heartbeats say of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// It was not heard for too long on any path.
    Lost,
    /// Its process has ended.
    Gone,
    /// It has stopped cleanly.
    Leaving,
    /// It is heard, and its sets are these.
    Sets(Vec<(u8, PeerSet)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Unheard,
    Alive,
    Lost,
    Gone,
    Leaving,
}

/// What is known of the peer's life.
#[derive(Debug)]
pub struct Watch {
    life: Life,
    sets: BTreeMap<u8, PeerSet>,
    /// The channel has brought something since heartbeats stopped, and is still there.
    is_heard_otherwise: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            life: Life::Unheard,
            sets: BTreeMap::new(),
            is_heard_otherwise: false,
        }
    }
}

impl Watch {
    /// Heartbeats say something. True: the peer was there, and is not any more.
    pub fn heartbeat(&mut self, heartbeat: Heartbeat) -> bool {
        let life = match heartbeat {
            Heartbeat::Lost => Life::Lost,
            Heartbeat::Gone => Life::Gone,
            Heartbeat::Leaving => Life::Leaving,
            Heartbeat::Sets(sets) => {
                self.sets = sets.into_iter().collect();
                Life::Alive
            }
        };
        let ends = life != Life::Alive && life != self.life;
        if ends {
            self.is_heard_otherwise = false;
        }
        self.life = life;
        ends
    }

    /// The channel has brought something, or is gone.
    pub const fn channel(&mut self, is_there: bool) {
        self.is_heard_otherwise = is_there;
    }

    fn is_dead(&self) -> bool {
        matches!(self.life, Life::Lost | Life::Gone | Life::Leaving) && !self.is_heard_otherwise
    }

    /// A set on the peer; `channel`: what the channel says of it, while its roles are known there.
    #[must_use]
    pub fn peer(&self, set: u8, channel: Option<SetRole>) -> PeerSeen {
        let told = self.sets.get(&set);
        let is_told = channel.filter(|_| !self.is_dead());
        match (self.life, is_told) {
            (Life::Alive, _) => told.map_or(PeerSeen::Without, |told| PeerSeen::Heard(later(told, is_told))),
            (_, Some(role)) => PeerSeen::Heard(by_channel(role, told)),
            (Life::Unheard, None) => PeerSeen::Unheard,
            (Life::Lost, None) => PeerSeen::Lost,
            (Life::Gone, None) => PeerSeen::Gone,
            (Life::Leaving, None) => PeerSeen::Leaving,
        }
    }

    /// The hands of a set's roles with this in mind.
    pub const fn over<'a, H: Hands>(&'a self, hands: &'a mut H) -> Watched<'a, H> {
        Watched { watch: self, hands }
    }
}

/// What was told last, and what the channel has said of its role since.
fn later(told: &PeerSet, said: Option<SetRole>) -> PeerSet {
    match said.filter(|said| said.epoch > told.epoch) {
        Some(role) => by_channel(role, Some(told)),
        None => *told,
    }
}

/// A set of which only the channel says something: its role and epoch, and beside what its last heartbeat had.
fn by_channel(role: SetRole, told: Option<&PeerSet>) -> PeerSet {
    let state = match told.map(|set| set.state) {
        _ if role.primary => RoleState::Primary,
        // Whether it is ready only its next heartbeat says.
        None | Some(RoleState::Primary) => RoleState::Wait,
        Some(state) => state,
    };
    PeerSet {
        state,
        is_primary: role.primary,
        epoch: role.epoch,
        priority: told.map_or(PRIORITY_UNKNOWN, |set| set.priority),
        failed_weight: told.map_or(0, |set| set.failed_weight),
        is_complete: told.is_none_or(|set| set.is_complete),
        is_eligible: told.is_none_or(|set| set.is_eligible),
        is_warned: told.is_some_and(|set| set.is_warned),
    }
}

/// Hands whose peer is dead when its heartbeats say so, and cut off when only they are heard.
pub struct Watched<'a, H> {
    watch: &'a Watch,
    hands: &'a mut H,
}

impl<H: Hands> Hands for Watched<'_, H> {
    fn role(&self, set: u8) -> Option<SetRole> {
        self.hands.role(set)
    }

    fn peer(&self) -> Peer {
        match (self.hands.peer(), self.watch.life) {
            _ if self.watch.is_dead() => Peer::Gone,
            (Peer::Gone, Life::Alive) => Peer::Cut,
            (peer, _) => peer,
        }
    }

    fn lack(&self) -> Option<Lack> {
        self.hands.lack()
    }

    /// The later word of both. What an earlier life said by heartbeats counts no more when the channel brings another.
    fn peer_role(&self, set: u8) -> Option<SetRole> {
        let told = self.watch.sets.get(&set).map(|told| SetRole {
            set,
            primary: told.is_primary,
            epoch: told.epoch,
        });
        let said = self.hands.peer_role(set);
        let is_past = self.watch.life != Life::Alive && self.peer().is_there();
        let later = |told: &SetRole| said.is_none_or(|said| told.epoch > said.epoch && !is_past);
        told.filter(later).or(said)
    }

    fn take_up(&mut self, set: u8, role: Role, epoch: u64) {
        self.hands.take_up(set, role, epoch);
    }

    fn adopt(&mut self, set: u8, epoch: u64) {
        self.hands.adopt(set, epoch);
    }

    fn yield_to(&mut self, set: u8, epoch: u64) {
        self.hands.yield_to(set, epoch);
    }

    fn ask(&mut self, set: u8) -> bool {
        self.peer().is_there() && self.hands.ask(set)
    }

    fn released(&mut self, set: u8, epoch: u64) -> bool {
        self.peer().is_there() && self.hands.released(set, epoch)
    }

    fn refuse(&mut self, set: u8) {
        self.hands.refuse(set);
    }
}
