//! How a change of a role goes on: workers take it up, the peer is told, time passes, those who wait are answered.

use tandem_engine::replica::{Role, SetRole};

use super::Roles;
use super::change::{CHANGE_MAX_MS, Change, Stage, role_of, state};
use super::rules::{Hands, Lack, next_epoch};
use super::start::Start;
use super::vacancy::nobody_after;
use crate::{Event, RoleCause, RoleChange, RoleError, WantedRole};

impl Roles {
    /// All workers have taken up a role, and what they did before is with the link.
    pub fn taken_up(&mut self, role: &SetRole, now_ms: u64, hands: &mut impl Hands) {
        let number = role.set;
        let Some(set) = self.sets.get_mut(&number) else {
            return;
        };
        let taken = |change: &&mut Change| change.stage == Stage::Taking && change.role() == role.role();
        let Some(change) = set.change.as_mut().filter(taken) else {
            return;
        };
        let theirs = hands.peer_role(number).filter(|_| hands.peer().is_heard());
        // Replication began anew, or something was lost: what workers told last may not have gone out, and would not be there before
        // the word of the release.
        let spoiled = change.knew_all && !hands.peer().knows_all() && !change.forced;
        if !change.tell || theirs.is_some_and(|peer| peer.primary) {
            self.finish(number, hands);
        } else if !spoiled && hands.released(number, role.epoch) {
            (change.stage, change.until_ms) = (Stage::HandedOver, now_ms + CHANGE_MAX_MS);
            set.told = true;
        } else if change.forced {
            self.finish(number, hands);
        } else {
            // The peer has not heard of it and will not: without this, nobody would be primary.
            let why = if hands.peer().is_there() {
                "replication began anew before the peer had been told everything; this chassis becomes primary again"
            } else {
                "the peer was gone before it could be told; this chassis becomes primary again"
            };
            change.answer(&Err(RoleError::Refused(why.into())));
            let cause = change.cause;
            if cause == RoleCause::Peer {
                hands.refuse(number);
            }
            self.take_back(number, why, cause, now_ms, hands);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64, hands: &mut impl Hands) {
        self.settle(now_ms, hands);
        self.adopt_epochs(hands);
        self.drains.tick(now_ms, hands);
        for number in self.numbers() {
            self.heard(number, hands);
            let theirs = hands.peer_role(number).filter(|_| hands.peer().is_heard());
            if theirs.is_some_and(|role| role.primary) {
                self.drains.taken(number, now_ms);
            }
            self.watch_vacancy(number, now_ms, hands);
            let Some(set) = self.sets.get_mut(&number) else {
                continue;
            };
            let asked = set.change.as_mut().filter(|change| change.stage == Stage::Asked);
            let released = asked.filter(|_| hands.lack() != Some(Lack::Untold));
            if let Some(epoch) = released.and_then(|change| change.released.take()) {
                self.released(number, epoch, now_ms, hands);
                continue;
            }
            let Some(change) = set.change.as_mut().filter(|change| change.until_ms <= now_ms) else {
                continue;
            };
            let no_answer = |who: &str| RoleError::NoAnswer { who: who.into() };
            match change.stage {
                Stage::Listening => {
                    if let Some(change) = set.change.take() {
                        self.decide(number, change, now_ms, hands);
                    }
                }
                Stage::Asked if change.released.is_some() => {
                    // It takes the role back when nobody else does.
                    let why = "the peer has released the set, and has not told this chassis all its sessions meanwhile; ask \
                               again when it has, or use force, which loses the others";
                    self.give_up_asking(number, why, RoleError::Refused(why.into()), hands);
                }
                Stage::Asked => {
                    let why = "the peer did not release the set in time; a release that comes later is taken";
                    let who = "the peer, which was asked to release the set (if it still does, this chassis becomes \
                               primary then; see its log, and ask again; once its tandemd is stopped it is not asked),";
                    self.give_up_asking(number, why, no_answer(who), hands);
                }
                Stage::HandedOver if change.forced => self.finish(number, hands),
                Stage::HandedOver => {
                    let why = "the peer was told of the release and did not say in time that it is primary; this chassis \
                               becomes primary again";
                    let who = "the peer, which was told that the set is released (it did not say that it is primary, so this \
                               chassis becomes primary again; see its log),";
                    change.answer(&Err(no_answer(who)));
                    let cause = change.cause;
                    self.take_back(number, why, cause, now_ms, hands);
                }
                // It comes about when the worker moves again; nobody waits for that.
                Stage::Taking => change.answer(&Err(no_answer("a worker that was told the role"))),
            }
        }
    }

    /// A release that did not reach the peer, as far as is known: this chassis is primary again. If the peer has taken it, or reads
    /// of it late, the epoch is above the one it takes the role with, so that it yields as soon as it hears of it.
    pub(super) fn take_back(
        &mut self,
        number: u8,
        why: &str,
        cause: RoleCause,
        now_ms: u64,
        hands: &mut impl Hands,
    ) {
        if let Some(role) = hands.role(number) {
            self.note(number, WantedRole::Standby, &role, cause, false, why);
        }
        let back = Change::new(WantedRole::Primary, cause, Role::Standby, now_ms);
        let epoch = next_epoch(number, hands);
        self.begin(number, back, epoch, now_ms, hands);
    }

    pub(super) fn begin(
        &mut self,
        number: u8,
        mut change: Change,
        mut epoch: u64,
        now_ms: u64,
        hands: &mut impl Hands,
    ) {
        let Some(set) = self.sets.get_mut(&number) else {
            return;
        };
        change.stage = Stage::Taking;
        set.refused = None;
        if let Some(start) = set.start.take() {
            change.from = start.state();
        }
        let role = change.role();
        change.knew_all = hands.peer().knows_all();
        if role == Role::Primary {
            change.lost = hands.lack().filter(|_| change.forced && !set.was_last);
            epoch = epoch.saturating_add(u64::from(set.told));
            (set.was_last, set.told, set.unheard) = (true, false, false);
        }
        let hands_over = change.tell;
        let has_failed = matches!(change.cause, RoleCause::Monitor | RoleCause::Policy);
        set.change = Some(change);
        if role == Role::Primary {
            self.drains.forget(number);
        } else if hands_over {
            self.drains.begin(number, has_failed, now_ms, hands);
        }
        hands.take_up(number, role, epoch);
    }

    pub(super) fn finish(&mut self, number: u8, hands: &impl Hands) {
        let (Some(set), Some(role)) = (self.sets.get_mut(&number), hands.role(number)) else {
            return;
        };
        let Some(mut change) = set.change.take() else {
            return;
        };
        set.cause = change.cause;
        let to = state(role.role());
        let note = nobody_after(number, hands);
        change.answer(&Ok(RoleChange {
            redundancy_set: number,
            role: to,
            epoch: role.epoch,
            changed: true,
            note: note.clone(),
        }));
        self.events.push_back(Event {
            set: number,
            from: set.called.unwrap_or(change.from),
            to,
            epoch: role.epoch,
            cause: change.cause,
            forced: change.forced,
            reason: None,
            note: note.or_else(|| change.note()),
        });
    }

    pub(super) fn give_up_asking(&mut self, number: u8, why: &str, error: RoleError, hands: &impl Hands) {
        let Some(set) = self.sets.get_mut(&number) else {
            return;
        };
        let Some(mut change) = set.change.take_if(|change| change.stage == Stage::Asked) else {
            return;
        };
        change.answer(&Err(error));
        self.note_refused(number, &change, why, hands);
    }

    /// A change that somebody wished for is not made. What is wished for again and again is said once.
    pub(super) fn note_refused(&mut self, set: u8, change: &Change, why: &str, hands: &impl Hands) {
        if let Some(known) = self.sets.get_mut(&set).filter(|_| change.repeats) {
            let refused = (change.to, why.to_owned());
            if known.refused.as_ref() == Some(&refused) {
                return;
            }
            known.refused = Some(refused);
        }
        if let Some(role) = hands.role(set) {
            self.note(set, change.to, &role, change.cause, change.forced, why);
        }
    }

    /// A change that does not come about.
    pub(super) fn note(
        &mut self,
        set: u8,
        to: WantedRole,
        now: &SetRole,
        cause: RoleCause,
        forced: bool,
        why: &str,
    ) {
        let known = self.sets.get(&set);
        let start = known.and_then(|set| set.start.as_ref());
        let called = known.and_then(|set| set.called);
        self.events.push_back(Event {
            set,
            from: called.unwrap_or_else(|| start.map_or(state(now.role()), Start::state)),
            to: state(role_of(to)),
            epoch: now.epoch,
            cause,
            forced,
            reason: Some(why.to_owned()),
            note: None,
        });
    }
}
