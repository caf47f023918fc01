//! Whether the peer lives: by its heartbeats, and by the channel where those are lost. Redundancy spec, sections 2 and 6.
//!
//! A peer is taken to be dead only when neither speaks for it, and to be reachable only when the channel is there.

use std::collections::BTreeMap;

use tandem_engine::replica::{Role, SetRole};

use crate::machine::{PeerSeen, PeerSet};
use crate::roles::Drain;
use crate::{Hands, Lack, Peer, RoleState};

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
    /// The channel has brought something, and has not ended.
    is_open: bool,
    /// It is that of a process that has ended since, and what it still brings is no sign of life.
    is_outlived: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            life: Life::Unheard,
            sets: BTreeMap::new(),
            is_heard_otherwise: false,
            is_open: false,
            is_outlived: false,
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
            self.is_outlived |= self.is_open && life != Life::Lost;
        } else if life == Life::Alive {
            self.is_outlived = false;
        }
        self.life = life;
        ends
    }

    /// The channel has brought something, or is gone.
    pub const fn channel(&mut self, is_there: bool) {
        self.is_open = is_there;
        self.is_outlived &= is_there;
        self.is_heard_otherwise = is_there && !self.is_outlived;
    }

    fn is_dead(&self) -> bool {
        matches!(self.life, Life::Lost | Life::Gone | Life::Leaving) && !self.is_heard_otherwise
    }

    /// The priority of a set on the peer, if a heartbeat has ever told it.
    #[must_use]
    pub fn priority(&self, set: u8) -> Option<u8> {
        self.sets.get(&set).map(|told| told.priority)
    }

    /// A set on the peer; `channel`: what the channel says of it, while its roles are known there; `priority`: what is taken for
    /// its priority while no heartbeat has told it.
    #[must_use]
    pub fn peer(&self, set: u8, channel: Option<SetRole>, priority: u8) -> PeerSeen {
        let told = self.sets.get(&set);
        let is_told = channel.filter(|_| !self.is_dead());
        match (self.life, is_told) {
            (Life::Alive, _) => told.map_or(PeerSeen::Without, |told| {
                PeerSeen::Heard(later(told, is_told, priority))
            }),
            (_, Some(role)) => PeerSeen::Heard(by_channel(role, told, priority)),
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
fn later(told: &PeerSet, said: Option<SetRole>, priority: u8) -> PeerSet {
    match said.filter(|said| said.epoch > told.epoch) {
        Some(role) => by_channel(role, Some(told), priority),
        None => *told,
    }
}

/// A set of which only the channel says something: its role and epoch, and beside what its last heartbeat had.
fn by_channel(role: SetRole, told: Option<&PeerSet>, priority: u8) -> PeerSet {
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
        priority: told.map_or(priority, |set| set.priority),
        failed_weight: told.map_or(0, |set| set.failed_weight),
        is_complete: told.is_none_or(|set| set.is_complete),
        is_eligible: told.is_none_or(|set| set.is_eligible),
        is_warned: told.is_some_and(|set| set.is_warned),
        // Only heartbeats say when that is over.
        broadcasts: false,
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

    /// The later word of both. What an earlier life said by heartbeats counts no more when the channel brings another; nor what an
    /// earlier one said over a channel that is closed, when heartbeats bring another.
    fn peer_role(&self, set: u8) -> Option<SetRole> {
        let told = self.watch.sets.get(&set).map(|told| SetRole {
            set,
            primary: told.is_primary,
            epoch: told.epoch,
        });
        let said = self.hands.peer_role(set);
        let is_past = self.watch.life != Life::Alive && self.peer().is_there();
        let is_cut = self.peer() == Peer::Cut;
        let later = |told: &SetRole| is_cut || said.is_none_or(|said| told.epoch > said.epoch && !is_past);
        told.filter(later).or(said)
    }

    fn drain(&mut self, set: u8, step: Drain) {
        self.hands.drain(set, step);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: SetRole = SetRole {
        set: 1,
        primary: true,
        epoch: 3,
    };

    fn beat() -> Heartbeat {
        let set = by_channel(ROLE, None, 7);
        Heartbeat::Sets(vec![(1, set)])
    }

    #[test]
    fn what_a_dead_process_left_in_the_channel_does_not_bring_it_back() {
        for (ends, comes_back) in [
            (Heartbeat::Gone, false),
            (Heartbeat::Leaving, false),
            (Heartbeat::Lost, true),
        ] {
            let mut watch = Watch::default();
            watch.heartbeat(beat());
            watch.channel(true);
            assert!(watch.heartbeat(ends.clone()) && watch.is_dead());
            watch.channel(true);
            assert_eq!(!watch.is_dead(), comes_back, "{ends:?}");
            // Another connection is another process, or the same one that lives after all.
            watch.channel(false);
            assert!(watch.is_dead());
            watch.channel(true);
            assert!(!watch.is_dead());
        }
        // Said when the channel was closed already.
        let mut watch = Watch::default();
        watch.heartbeat(beat());
        watch.heartbeat(Heartbeat::Gone);
        watch.channel(true);
        assert!(!watch.is_dead());
    }

    #[test]
    fn a_priority_that_nobody_told_is_taken_for_what_decides_nothing() {
        let mut watch = Watch::default();
        let priority = |watch: &Watch| watch.peer(1, Some(ROLE), 50).set().map(|set| set.priority);
        assert_eq!((watch.priority(1), priority(&watch)), (None, Some(50)));
        watch.heartbeat(beat());
        assert_eq!((watch.priority(1), priority(&watch)), (Some(7), Some(7)));
    }
}
