//! What the peer does, for the monitors: it asks for a set, hands one over or warns about one, and is lost. Redundancy spec, section 1.

use std::collections::BTreeSet;

use tandem_redundancy::machine::PeerSeen;

use super::Talk;
use crate::config::PeerEvent;
use crate::daemon::monitors::Feed;
use crate::monitor::{Condition, Observation};

/// Tells what is new.
pub(super) struct Watched {
    feed: Option<Feed>,
    is_lost: bool,
    /// The sets that it warns about.
    warned: BTreeSet<u8>,
    hands_over: bool,
}

impl Watched {
    /// Nothing has been told yet. `feed`: who hears it.
    pub(super) const fn over(feed: Option<Feed>) -> Self {
        Self {
            feed,
            is_lost: false,
            warned: BTreeSet::new(),
            hands_over: false,
        }
    }

    /// The peer asks for a set.
    pub(super) fn asks_to_acquire(&self, set: u8) {
        let text = format!("the peer asks for redundancy set {set}");
        self.tell(Observation::Happened(
            Condition::Peer(PeerEvent::Acquire, Some(set)),
            text,
        ));
    }

    /// The peer hands a set over.
    pub(super) fn asks_to_release(&self, set: u8) {
        let text = format!("the peer releases redundancy set {set}");
        self.tell(Observation::Happened(
            Condition::Peer(PeerEvent::Release, Some(set)),
            text,
        ));
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
            self.changed(Condition::Peer(PeerEvent::Lost, None), is_lost, text.to_owned());
        }
    }

    /// A set that is there no more is warned about no more.
    fn warned(&mut self, warned: BTreeSet<u8>) {
        let before = std::mem::replace(&mut self.warned, warned);
        for set in self.warned.symmetric_difference(&before) {
            let warns = self.warned.contains(set);
            let no_more = if warns { "" } else { "no more " };
            let text = format!("the peer warns {no_more}about redundancy set {set}");
            self.changed(Condition::Peer(PeerEvent::Warned, Some(*set)), warns, text);
        }
    }

    fn changed(&self, condition: Condition, is_so: bool, text: String) {
        self.tell(if is_so {
            Observation::Failed(condition, text)
        } else {
            Observation::Well(condition, text)
        });
    }

    fn tell(&self, seen: Observation) {
        if let Some(feed) = &self.feed {
            feed.seen(vec![seen]);
        }
    }
}

impl Talk {
    /// Tells monitors whether the peer is lost, and which sets it warns about.
    pub(super) fn look_at_peer(&mut self) {
        let numbers = self.automatic.numbers();
        let seen = |set: &u8| Some((*set, self.automatic.shown(*set, &self.line)?.peer));
        let seen: Vec<(u8, PeerSeen)> = numbers.iter().filter_map(seen).collect();
        for (set, peer) in &seen {
            self.line
                .look_apart(*set, peer.set().is_none_or(|theirs| theirs.is_primary));
        }
        let gone = |peer: &PeerSeen| matches!(peer, PeerSeen::Lost | PeerSeen::Gone | PeerSeen::Leaving);
        self.watched.lost(seen.iter().any(|(_, peer)| gone(peer)));
        let warns = |peer: &PeerSeen| peer.set().is_some_and(|set| set.broadcasts);
        let warned = seen.iter().filter(|(_, peer)| warns(peer));
        self.watched.warned(warned.map(|(set, _)| *set).collect());
    }
}
