//! What the peer does, for the monitors: it asks for a set or hands one over, warns, and is lost. Redundancy spec, section 1.

use tandem_redundancy::machine::PeerSeen;

use super::Talk;
use crate::config::PeerEvent;
use crate::daemon::monitors::Feed;
use crate::monitor::{Condition, Observation};

/// Tells what is new.
pub(super) struct Watched {
    feed: Option<Feed>,
    is_lost: bool,
    is_warned: bool,
    hands_over: bool,
}

impl Watched {
    /// Nothing has been told yet. `feed`: who hears it.
    pub(super) const fn over(feed: Option<Feed>) -> Self {
        Self {
            feed,
            is_lost: false,
            is_warned: false,
            hands_over: false,
        }
    }

    /// The peer asks for a set.
    pub(super) fn asks_to_acquire(&self, set: u8) {
        let text = format!("the peer asks for redundancy set {set}");
        self.tell(Observation::Happened(Condition::Peer(PeerEvent::Acquire), text));
    }

    /// The peer hands a set over.
    pub(super) fn asks_to_release(&self, set: u8) {
        let text = format!("the peer releases redundancy set {set}");
        self.tell(Observation::Happened(Condition::Peer(PeerEvent::Release), text));
    }

    /// Workers are to give up a role that the peer waits for.
    pub(super) fn hands_over(&mut self, hands_over: bool) {
        if self.hands_over != hands_over {
            self.hands_over = hands_over;
            if let Some(feed) = &self.feed {
                feed.hands_over(hands_over);
            }
        }
    }

    fn lost(&mut self, is_lost: bool) {
        if self.is_lost != is_lost {
            self.is_lost = is_lost;
            let text = if is_lost {
                "the peer is lost"
            } else {
                "the peer is heard"
            };
            self.changed(PeerEvent::Lost, is_lost, text);
        }
    }

    fn warned(&mut self, is_warned: bool) {
        if self.is_warned != is_warned {
            self.is_warned = is_warned;
            let text = if is_warned {
                "the peer warns"
            } else {
                "the peer warns no more"
            };
            self.changed(PeerEvent::Warned, is_warned, text);
        }
    }

    fn changed(&self, what: PeerEvent, is_so: bool, text: &str) {
        let condition = Condition::Peer(what);
        self.tell(if is_so {
            Observation::Failed(condition, text.to_owned())
        } else {
            Observation::Well(condition, text.to_owned())
        });
    }

    fn tell(&self, seen: Observation) {
        if let Some(feed) = &self.feed {
            feed.seen(vec![seen]);
        }
    }
}

impl Talk {
    /// Tells monitors whether the peer is lost, and whether it warns of one of its sets.
    pub(super) fn look_at_peer(&mut self) {
        let numbers = self.automatic.numbers();
        let views = numbers
            .iter()
            .filter_map(|set| self.automatic.shown(*set, &self.line));
        let seen: Vec<PeerSeen> = views.map(|view| view.peer).collect();
        for (set, peer) in numbers.iter().zip(&seen) {
            self.line
                .look_apart(*set, peer.set().is_none_or(|theirs| theirs.is_primary));
        }
        let gone = |peer: &PeerSeen| matches!(peer, PeerSeen::Lost | PeerSeen::Gone | PeerSeen::Leaving);
        self.watched.lost(seen.iter().any(gone));
        let warns = |peer: &PeerSeen| peer.set().is_some_and(|set| set.broadcasts);
        self.watched.warned(seen.iter().any(warns));
    }
}
