//! What the peer says of redundancy sets, and what follows when it says nothing any more.

use tandem_engine::replica::SetRole;

use super::Roles;
use super::change::{CHANGE_MAX_MS, Change, Stage, TOLD_MAX_MS};
use super::rules::{Hands, Lack, next_epoch};
use crate::{Event, RoleCause, RoleError, RoleState, WantedRole};

impl Roles {
    /// The peer asks for a set.
    pub fn asked(&mut self, set: u8, now_ms: u64, hands: &mut impl Hands) {
        let (Some(known), Some(role)) = (self.sets.get_mut(&set), hands.role(set)) else {
            hands.refuse(set);
            return;
        };
        let is_told = |change: &Change| change.stage == Stage::HandedOver;
        if known.change.as_ref().is_some_and(|change| !is_told(change)) {
            let why = "it is changing its role already";
            self.note(set, WantedRole::Standby, &role, RoleCause::Peer, false, why);
            hands.refuse(set);
        } else if role.primary {
            let mut change = Change::new(WantedRole::Standby, RoleCause::Peer, role.role(), now_ms);
            change.tell = true;
            let epoch = next_epoch(set, hands);
            self.begin(set, change, epoch, now_ms, hands);
        } else {
            // It becomes primary, whatever the configuration says here.
            if let Some(start) = &mut known.start {
                start.stay_standby();
            }
            // It has not heard of the release yet. What there was to tell is on its way before this, unless it is told anew: then it
            // hears of the role as well, and can take it when it has everything.
            if hands.peer().knows_all() {
                let _gone = hands.released(set, role.epoch);
            } else {
                hands.refuse(set);
            }
        }
    }

    /// The peer has released a set, and everything it did as its primary is here.
    pub fn released(&mut self, set: u8, epoch: u64, now_ms: u64, hands: &mut impl Hands) {
        let (Some(known), Some(role)) = (self.sets.get_mut(&set), hands.role(set)) else {
            return;
        };
        if role.primary {
            return;
        }
        let theirs = hands.peer_role(set).map_or(0, |peer| peer.epoch);
        if epoch < role.epoch.max(theirs) {
            let why = "the peer has released the set, and has changed its role since then";
            self.note(set, WantedRole::Primary, &role, RoleCause::Peer, false, why);
            return;
        }
        let waits = |change: &&mut Change| change.stage == Stage::Asked && !change.forced;
        if hands.lack() == Some(Lack::Untold)
            && !known.was_last
            && let Some(change) = known.change.as_mut().filter(waits)
        {
            // It tells everything anew since it was asked. All that it did before the release is in that.
            (change.released, change.until_ms) = (Some(epoch), now_ms + TOLD_MAX_MS);
            return;
        }
        let epoch = next_epoch(set, hands).max(epoch.saturating_add(1));
        let change = match known.change.take() {
            Some(mut wanted) if wanted.to == WantedRole::Primary => {
                wanted.until_ms = now_ms + CHANGE_MAX_MS;
                wanted
            }
            // Its operator wants it so; or nobody waits for it any more here. Either way nobody else is primary.
            _ => Change::new(WantedRole::Primary, RoleCause::Peer, role.role(), now_ms),
        };
        self.begin(set, change, epoch, now_ms, hands);
    }

    /// The peer does not release a set.
    pub fn release_refused(&mut self, set: u8, hands: &impl Hands) {
        let why = "the peer does not release the set: it is changing its role there already, or there is no such set; \
                   ask again in a moment";
        self.give_up_asking(set, why, RoleError::Refused(why.into()), hands);
    }

    /// The connection is gone. Who waited for a word of the peer does not any more: what was asked for is decided as without a
    /// peer. Whether it has heard of a release that it was told of is not known; it is told again by what it says when it is back.
    pub fn disconnected(&mut self, now_ms: u64, hands: &mut impl Hands) {
        for set in self.numbers() {
            let Some(known) = self.sets.get_mut(&set) else {
                continue;
            };
            let waits = |change: &mut Change| matches!(change.stage, Stage::Asked | Stage::Listening);
            if let Some(change) = known.change.take_if(waits) {
                self.decide(set, change, now_ms, hands);
                continue;
            }
            let handed = |change: &&mut Change| change.stage == Stage::HandedOver;
            let Some(change) = known.change.as_mut().filter(handed) else {
                continue;
            };
            if !change.forced {
                known.unheard = true;
                let who = "the peer, which was told that the set is released just before the connection broke (this chassis is \
                           standby; it becomes primary again if the peer comes back and is not, or by command),";
                change.answer(&Err(RoleError::NoAnswer { who: who.into() }));
            }
            self.finish(set, hands);
        }
    }

    /// The peer is primary with the better claim: the workers become standby.
    pub fn yielded(&mut self, to: &SetRole, hands: &impl Hands) {
        let why = "the peer is primary with a higher epoch, or with the same one and the better priority or lower redundancy address";
        self.yields(to.set, why, hands);
    }

    /// Heartbeats say that the peer is primary of a set that is so here, too, and that its claim is the better one.
    pub fn yield_to(&mut self, set: u8, epoch: u64, hands: &mut impl Hands) {
        if hands.role(set).is_some_and(|role| role.primary) {
            hands.yield_to(set, epoch);
            self.drains.end(set, hands);
            let why = "the peer's heartbeats say that it is primary, with a higher epoch, or the better priority or lower \
                       redundancy address";
            self.yields(set, why, hands);
        }
    }

    /// The peer has said its roles.
    pub fn peer_said(&mut self, now_ms: u64, hands: &mut impl Hands) {
        for set in self.numbers() {
            self.heard(set, hands);
            let listens = |change: &mut Change| change.stage == Stage::Listening;
            let known = self.sets.get_mut(&set);
            if let Some(change) = known.and_then(|known| known.change.take_if(listens)) {
                self.decide(set, change, now_ms, hands);
            }
            let unheard = self.sets.get(&set).filter(|known| known.unheard);
            if let Some(cause) = unheard.map(|known| known.cause)
                && hands.peer().is_there()
            {
                let why = "the peer has not heard of the release; this chassis becomes primary again";
                self.take_back(set, why, cause, now_ms, hands);
            }
        }
    }

    /// A set that the peer is primary of, and says so, was heard of.
    pub(super) fn heard(&mut self, set: u8, hands: &impl Hands) {
        let theirs = hands.peer_role(set).filter(|_| hands.peer().is_heard());
        let ours = hands.role(set);
        if !theirs.is_some_and(|role| role.primary) || ours.is_none_or(|role| role.primary) {
            return;
        }
        let Some(known) = self.sets.get_mut(&set) else {
            return;
        };
        (known.was_last, known.told, known.unheard) = (false, false, false);
        let change = known.change.as_ref();
        if change.is_some_and(|change| change.stage == Stage::HandedOver) {
            self.finish(set, hands);
        }
    }

    /// This chassis becomes standby because the peer's claim is better.
    fn yields(&mut self, number: u8, why: &str, hands: &impl Hands) {
        let (Some(set), Some(now)) = (self.sets.get_mut(&number), hands.role(number)) else {
            return;
        };
        if let Some(mut change) = set.change.take() {
            change.answer(&Err(RoleError::Refused(why.into())));
        }
        (set.cause, set.was_last) = (RoleCause::Epoch, false);
        self.events.push_back(Event {
            set: number,
            from: RoleState::Primary,
            to: RoleState::Standby,
            epoch: now.epoch,
            cause: RoleCause::Epoch,
            forced: false,
            reason: None,
            note: None,
        });
    }
}

#[cfg(test)]
mod tests;
