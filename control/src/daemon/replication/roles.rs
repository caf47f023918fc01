//! Roles of redundancy sets, changed by hand: which are asked for, refused, handed over and taken, without threads or sockets.
//!
//! ```text
//!   primary   peer gone, or standby -----------------------------------------> workers take it up --> done
//!             peer primary --> it is asked --> it has released ---------------^
//!   standby   peer knows all --> workers take it up --> the peer is told --> the peer is primary ---> done
//! ```
//!
//! A change is one at a time for each set, has the next epoch, and is logged and kept in the history whether it came about or
//! was refused. Redundancy spec, section 1.

mod change;
mod rules;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ha_sync::chassis::SetRole;
use tandem_engine::replica::Role;

use super::history::{Entry, History};
use crate::api::BackendError;
use crate::api::model::{RoleCause, RoleChange, RoleState, WantedRole};
use change::{CHANGE_MAX_MS, Change, Stage, give, role_of, state};
use rules::{may_acquire, may_release, next_epoch};
use start::Start;

pub(super) use change::Answer;
pub(super) use rules::{Hands, Peer};
pub(super) use start::advice;

/// A redundancy set.
#[derive(Debug)]
struct Set {
    since: SystemTime,
    cause: RoleCause,
    change: Option<Change>,
    /// It has not found its role since the start.
    start: Option<Start>,
}

/// What is shown of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Since when it has its role, and why.
    pub since: SystemTime,
    pub cause: RoleCause,
    /// The role that is being taken up.
    pub changing_to: Option<WantedRole>,
    /// What it is called until it has found its role after the start.
    pub starting: Option<RoleState>,
    /// The peer holds its sessions, nobody is primary, and a person has to decide: [`advice`].
    pub held: bool,
}

/// The roles of all redundancy sets of a group.
#[derive(Debug)]
pub(super) struct Roles {
    sets: BTreeMap<u8, Set>,
    history: Arc<History>,
    /// This chassis has the lower redundancy address: it stays primary where both are, with the same epoch.
    is_lower: bool,
    /// How long a set waits at start to hear of the peer.
    hold_ms: u64,
}

impl Roles {
    pub(super) const fn new(history: Arc<History>, is_lower: bool, hold_ms: u64) -> Self {
        Self {
            sets: BTreeMap::new(),
            history,
            is_lower,
            hold_ms,
        }
    }

    /// These are the sets from now on, each with its configured role; those that are new start, as standby.
    pub(super) fn follow(&mut self, sets: &[(u8, Role)], hands: &mut impl Hands) {
        self.sets
            .retain(|number, _| sets.iter().any(|(one, _)| one == number));
        for (number, role) in sets {
            if self.sets.contains_key(number) {
                continue;
            }
            let set = Set {
                since: SystemTime::now(),
                cause: RoleCause::Start,
                change: None,
                start: Some(Start::new(*role)),
            };
            self.sets.insert(*number, set);
            // Engines begin as primary, but nothing was translated yet.
            hands.take_up(*number, Role::Standby, 0);
            let (from, to) = (RoleState::Standby, RoleState::Initializing);
            self.history.add(start::entry(*number, from, to, 0, None));
        }
    }

    pub(super) fn shown(&self, set: u8) -> Option<Shown> {
        self.sets.get(&set).map(|set| Shown {
            since: set.since,
            cause: set.cause,
            changing_to: set.change.as_ref().map(|change| change.to),
            starting: set.start.as_ref().map(Start::state),
            held: set.start.as_ref().is_some_and(Start::is_held),
        })
    }

    /// Somebody wants a role here.
    pub(super) fn request(
        &mut self,
        set: u8,
        to: WantedRole,
        forced: bool,
        answer: Answer,
        now_ms: u64,
        hands: &mut impl Hands,
    ) {
        let (Some(known), Some(role)) = (self.sets.get_mut(&set), hands.role(set)) else {
            let unknown = format!("no redundancy set {set} runs");
            give(answer, Err(BackendError::Unknown(unknown)));
            return;
        };
        let allowed = match &mut known.change {
            Some(change) if change.to == to => {
                change.answers.push(answer);
                return;
            }
            Some(change) => Err(format!(
                "redundancy set {set} is becoming {}; ask again in a moment",
                change.to.as_str()
            )),
            None if role.primary == (to == WantedRole::Primary) => {
                if let Some(start) = &mut known.start {
                    start.stay_standby();
                }
                let done = RoleChange {
                    redundancy_set: set,
                    role: state(role.role()),
                    epoch: role.epoch,
                    changed: false,
                };
                give(answer, Ok(done));
                return;
            }
            None if to == WantedRole::Primary => {
                let start = known.start.as_ref();
                let settled = start.map_or(Ok(()), |start| start.may_acquire(set, forced, hands.peer()));
                settled.and_then(|()| may_acquire(set, forced, hands))
            }
            None => may_release(set, forced, hands),
        };
        if let Err(why) = allowed {
            self.note(set, to, &role, RoleCause::Operator, forced, &why);
            give(answer, Err(BackendError::Refused(why)));
            return;
        }
        let mut change = Change::new(to, RoleCause::Operator, role.role(), now_ms);
        (change.forced, change.answers) = (forced, vec![answer]);
        let peer = hands.peer_role(set).filter(|_| hands.peer().is_there());
        if to == WantedRole::Primary && peer.is_some_and(|peer| peer.primary) && hands.ask(set) {
            change.stage = Stage::Asked;
            self.put(set, change);
            return;
        }
        change.tell = to == WantedRole::Standby && peer.is_some();
        let epoch = next_epoch(set, hands);
        self.begin(set, change, epoch, hands);
    }

    /// The peer asks for a set.
    pub(super) fn asked(&mut self, set: u8, now_ms: u64, hands: &mut impl Hands) {
        let (Some(known), Some(role)) = (self.sets.get_mut(&set), hands.role(set)) else {
            hands.refuse(set);
            return;
        };
        if known.change.is_some() {
            let why = "it is changing its role already";
            self.note(set, WantedRole::Standby, &role, RoleCause::Peer, false, why);
            hands.refuse(set);
        } else if role.primary {
            let mut change = Change::new(WantedRole::Standby, RoleCause::Peer, role.role(), now_ms);
            change.tell = true;
            let epoch = next_epoch(set, hands);
            self.begin(set, change, epoch, hands);
        } else {
            // It becomes primary, whatever the configuration says here.
            if let Some(start) = &mut known.start {
                start.stay_standby();
            }
            // It has not heard of the release yet; what there was to tell is on its way before this.
            let _gone = hands.released(set, role.epoch);
        }
    }

    /// The peer has released a set, and everything it did as its primary is here.
    pub(super) fn released(&mut self, set: u8, epoch: u64, now_ms: u64, hands: &mut impl Hands) {
        let (Some(known), Some(role)) = (self.sets.get_mut(&set), hands.role(set)) else {
            return;
        };
        if role.primary {
            return;
        }
        let epoch = next_epoch(set, hands).max(epoch.saturating_add(1));
        let change = match known.change.take() {
            Some(mut asked) if asked.stage == Stage::Asked => {
                asked.until_ms = now_ms + CHANGE_MAX_MS;
                asked
            }
            // Its operator wants it so; or nobody waits for it any more here. Either way nobody else is primary.
            _ => Change::new(WantedRole::Primary, RoleCause::Peer, role.role(), now_ms),
        };
        self.begin(set, change, epoch, hands);
    }

    /// The peer does not release a set.
    pub(super) fn release_refused(&mut self, set: u8, hands: &impl Hands) {
        let why = "the peer does not release the set: it is changing its role there already, or there is no such set; \
                   ask again in a moment";
        self.give_up_asking(set, why, BackendError::Refused(why.into()), hands);
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, hands: &impl Hands) {
        let why = "the connection broke before the peer had released the set; \
                   ask again: a peer that is not connected is not waited for";
        for set in self.numbers() {
            self.give_up_asking(set, why, BackendError::Refused(why.into()), hands);
            self.handed_over(set, hands);
        }
    }

    /// The peer is primary with a higher epoch: the workers become standby.
    pub(super) fn yielded(&mut self, to: &SetRole, hands: &impl Hands) {
        self.yields(to.set, "the peer is primary with a higher epoch", hands);
    }

    /// The peer has said its roles.
    pub(super) fn peer_said(&mut self, hands: &mut impl Hands) {
        for set in self.numbers() {
            let (Some(ours), Some(theirs)) = (hands.role(set), hands.peer_role(set)) else {
                continue;
            };
            if theirs.primary {
                self.handed_over(set, hands);
            }
            if ours.primary && theirs.primary && ours.epoch == theirs.epoch && !self.is_lower {
                hands.take_up(set, Role::Standby, theirs.epoch);
                let why = "the peer is primary with the same epoch, and has the lower redundancy address";
                self.yields(set, why, hands);
            }
        }
    }

    /// All workers have taken up a role, and what they did before is with the link.
    pub(super) fn taken_up(&mut self, role: &SetRole, now_ms: u64, hands: &mut impl Hands) {
        let number = role.set;
        let change = self.sets.get_mut(&number).and_then(|set| set.change.as_mut());
        let taken = |change: &&mut Change| change.stage == Stage::Taking && change.role() == role.role();
        let Some(change) = change.filter(taken) else {
            return;
        };
        if !change.tell {
            self.finish(number, hands);
        } else if hands.released(number, role.epoch) {
            (change.stage, change.until_ms) = (Stage::HandedOver, now_ms + CHANGE_MAX_MS);
            if change.cause == RoleCause::Peer {
                self.finish(number, hands);
            }
        } else if change.forced {
            self.finish(number, hands);
        } else {
            // The peer has not heard of it and will not: without this, nobody would be primary.
            let why = "the peer was gone before it could be told; this chassis becomes primary again";
            change.answer(&Err(BackendError::Refused(why.into())));
            let cause = change.cause;
            self.note(number, WantedRole::Standby, role, cause, false, why);
            let back = Change::new(WantedRole::Primary, cause, Role::Standby, now_ms);
            let epoch = next_epoch(number, hands);
            self.begin(number, back, epoch, hands);
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now_ms: u64, hands: &mut impl Hands) {
        self.settle(now_ms, hands);
        self.adopt_epochs(hands);
        for number in self.numbers() {
            let change = self.sets.get_mut(&number).and_then(|set| set.change.as_mut());
            let Some(change) = change.filter(|change| change.until_ms <= now_ms) else {
                continue;
            };
            let no_answer = |who: &str| BackendError::NoAnswer { who: who.into() };
            match change.stage {
                Stage::Asked => {
                    let why = "the peer did not release the set in time; a release that comes later is taken";
                    let who = "the peer, which was asked to release the set (if it still does, this chassis becomes \
                               primary then; see its log, and ask again; once its tandemd is stopped it is not asked),";
                    self.give_up_asking(number, why, no_answer(who), hands);
                }
                Stage::HandedOver => self.finish(number, hands),
                // It comes about when the worker moves again; nobody waits for that.
                Stage::Taking => change.answer(&Err(no_answer("a worker that was told the role"))),
            }
        }
    }

    fn numbers(&self) -> Vec<u8> {
        self.sets.keys().copied().collect()
    }

    fn put(&mut self, set: u8, change: Change) {
        if let Some(known) = self.sets.get_mut(&set) {
            known.change = Some(change);
        }
    }

    fn begin(&mut self, set: u8, mut change: Change, epoch: u64, hands: &mut impl Hands) {
        change.stage = Stage::Taking;
        if let Some(start) = self.sets.get_mut(&set).and_then(|set| set.start.take()) {
            change.from = start.state();
        }
        let role = change.role();
        self.put(set, change);
        hands.take_up(set, role, epoch);
    }

    /// A set that the peer was told of is its own now, as far as can be seen from here.
    fn handed_over(&mut self, set: u8, hands: &impl Hands) {
        let change = self.sets.get(&set).and_then(|set| set.change.as_ref());
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
            change.answer(&Err(BackendError::Refused(why.into())));
        }
        (set.since, set.cause) = (SystemTime::now(), RoleCause::Epoch);
        self.history.add(Entry {
            set: number,
            from: RoleState::Primary,
            to: RoleState::Standby,
            epoch: now.epoch,
            cause: RoleCause::Epoch,
            forced: false,
            reason: None,
        });
    }

    fn finish(&mut self, number: u8, hands: &impl Hands) {
        let (Some(set), Some(role)) = (self.sets.get_mut(&number), hands.role(number)) else {
            return;
        };
        let Some(mut change) = set.change.take() else {
            return;
        };
        (set.since, set.cause) = (SystemTime::now(), change.cause);
        let to = state(role.role());
        change.answer(&Ok(RoleChange {
            redundancy_set: number,
            role: to,
            epoch: role.epoch,
            changed: true,
        }));
        self.history.add(Entry {
            set: number,
            from: change.from,
            to,
            epoch: role.epoch,
            cause: change.cause,
            forced: change.forced,
            reason: None,
        });
    }

    fn give_up_asking(&mut self, number: u8, why: &str, error: BackendError, hands: &impl Hands) {
        let Some(set) = self.sets.get_mut(&number) else {
            return;
        };
        let Some(mut change) = set.change.take_if(|change| change.stage == Stage::Asked) else {
            return;
        };
        change.answer(&Err(error));
        if let Some(role) = hands.role(number) {
            self.note(number, change.to, &role, change.cause, change.forced, why);
        }
    }

    /// A change that does not come about.
    fn note(&self, set: u8, to: WantedRole, now: &SetRole, cause: RoleCause, forced: bool, why: &str) {
        let start = self.sets.get(&set).and_then(|set| set.start.as_ref());
        self.history.add(Entry {
            set,
            from: start.map_or(state(now.role()), Start::state),
            to: state(role_of(to)),
            epoch: now.epoch,
            cause,
            forced,
            reason: Some(why.to_owned()),
        });
    }
}

#[cfg(test)]
mod tests;
