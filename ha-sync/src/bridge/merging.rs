//! Two primaries that are one again: the one that yields offers what it has of its own, and the other one takes what it lacks. Redundancy
//! spec, section 1.
//!
//! ```text
//!   yields: workers are standby, and offer                             primary
//!   bulk: all that they have of the set, a mark behind it  --------->  BulkBegin: workers take what is lacking (Merges)
//!                                                                      BulkEnd: they say what came of it (Merged, MergeEnd)
//!   the mark comes back: nothing is offered any more       <=========  acknowledged
//!   everything is asked for                                --------->  bulk: what was taken is in it
//!   what that does not have is swept                       <---------
//! ```
//!
//! A bulk of a chassis that is standby tells nothing of the set otherwise, so a primary can take whatever comes in one. Nothing is offered
//! until the peer is connected and says that it is primary: a standby would take it for a primary's word, or leave it, if it has something
//! to offer itself. The peer may be primary no more when it comes. So whoever ceases to be primary, and does not know that the peer is it,
//! passes over all that the peer tells of the set until that says that it is primary. (Roles go ahead of what is told, and who becomes
//! primary tells everything.) A set of which the peer was primary last is no such: what comes late of it is a primary's word.
//! The peer is asked for its bulk on the same stream behind the offer, and tells it behind what its workers were told: so what it has
//! taken is in it. One whose begin it had said before may come after the mark, and may lack that: it does not say that it answers.

use tandem_engine::program::ServiceSetId;
use tandem_engine::replica::{Mark, Merge, ObjectTypes, Op, Role};
use tandem_engine::ticks::Ticks;

use super::roles::SetState;
use super::{Bridge, BridgeEvent, Listening};
use crate::chassis::SetRole;

/// In place of a worker's number, in the mark behind an offer.
const OFFER: u8 = u8::MAX;

/// What a set that has yielded offers. Each has its own: one that yields later is told by a later bulk.
#[derive(Debug, Default)]
pub(super) struct Offering {
    /// The bulk under way that tells it, and the one that has.
    telling: Option<u16>,
    told: Option<u16>,
    /// The epoch in which the peer was primary when that bulk began. In another one it may have been standby meanwhile.
    taker: Option<u64>,
}

impl Offering {
    /// No bulk tells it, nor has one.
    const fn is_untold(&self) -> bool {
        self.telling.is_none() && self.told.is_none()
    }
}

/// The epoch in which the peer says that it is primary of a set.
fn taker_of(peer_roles: &[SetRole], set: u8) -> Option<u64> {
    let theirs = peer_roles.iter().find(|role| role.set == set && role.primary);
    theirs.map(|role| role.epoch)
}

/// Offers out and in.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// Whether the peer takes what it is offered; `None`: it was never there.
    peer_merges: Option<bool>,
    /// A mark is to be put behind this bulk, which told what is offered.
    marks: Option<u16>,
    /// By worker: the bulk of which it has said last what came of it.
    ended: Vec<Option<u16>>,
}

impl Bridge {
    /// The peer's release takes what it is offered, or does not.
    pub(super) fn peer_is_to_merge(&mut self, merges: bool) {
        self.merging.peer_merges = Some(merges);
        if !merges && self.is_offering() {
            self.end_offers(false, |_| true);
        }
    }

    /// Whether something is offered to the peer.
    pub(super) fn is_offering(&self) -> bool {
        self.sets.iter().any(|set| set.offer.is_some())
    }

    /// A set that has just yielded: what its workers have is offered. False: the peer's release knows nothing of that.
    pub(super) fn offer(&mut self, set: u8) -> bool {
        if self.merging.peer_merges == Some(false) {
            self.stats.offers_in_vain += 1;
            self.events.push_back(BridgeEvent::Offered { set, told: false });
            return false;
        }
        self.stats.offers += 1;
        self.command_offer(set, true);
        // A bulk that is under way has passed some of it. While it is held none need begin.
        self.bulks.renew |= self.listening == Listening::On && self.peer_is_primary_of(set);
        true
    }

    /// The peer said its roles: what was told while it was standby, or before it was, was not taken, and is untold. What is untold is
    /// offered now to one that is primary.
    pub(super) fn look_at_offers(&mut self) {
        for set in &mut self.sets {
            let taker = taker_of(&self.peer_roles, set.number);
            let offering = set.offer.as_mut();
            if let Some(offering) = offering.filter(|offering| offering.taker != taker) {
                *offering = Offering::default();
            }
        }
        let goes_on = |set: &SetState| {
            let offering = set.offer.as_ref();
            offering.is_some_and(Offering::is_untold) && self.peer_is_primary_of(set.number)
        };
        self.bulks.renew |= self.listening == Listening::On && self.sets.iter().any(goes_on);
    }

    /// Workers leave alone what the peer tells of a set that is standby here, or do not.
    pub(super) fn pass_over(&mut self, set: u8, passes_over: bool) {
        let Some(state) = self.sets.iter_mut().find(|state| state.number == set) else {
            return;
        };
        state.passes_over = passes_over;
        for service_set in state.service_sets.clone() {
            self.rings.command(Op::PassOver {
                service_set,
                passes_over,
            });
        }
    }

    /// The peer said its roles: of what it is primary of, what it tells from now on is a primary's word.
    pub(super) fn look_at_passed_over(&mut self) {
        let is_told = |set: &&SetState| set.passes_over && self.peer_is_primary_of(set.number);
        let told: Vec<u8> = self.sets.iter().filter(is_told).map(|set| set.number).collect();
        for set in told {
            self.pass_over(set, false);
        }
    }

    pub(super) fn peer_is_primary_of(&self, set: u8) -> bool {
        taker_of(&self.peer_roles, set).is_some()
    }

    /// Sets whose offers no bulk may tell that begins now.
    fn held_offers(&self) -> Vec<u8> {
        let is_held = |set: &&SetState| set.offer.is_some() && !self.peer_is_primary_of(set.number);
        self.sets.iter().filter(is_held).map(|set| set.number).collect()
    }

    fn command_offer(&mut self, set: u8, offers: bool) {
        let Some(state) = self.sets.iter_mut().find(|state| state.number == set) else {
            return;
        };
        state.offer = offers.then(Offering::default);
        for service_set in state.service_sets.clone() {
            self.rings.command(Op::Offer { service_set, offers });
        }
    }

    /// What these sets offered is told, or will never be.
    fn end_offers(&mut self, told: bool, which: impl Fn(&Offering) -> bool) {
        let ends = |set: &&SetState| set.offer.as_ref().is_some_and(&which);
        let ended = self.sets.iter().filter(ends).map(|set| set.number);
        for set in ended.collect::<Vec<u8>>() {
            self.command_offer(set, false);
            if told {
                self.bulks.awaited = self.bulks.awaited.with(set);
                self.bulks.offers_taken += 1;
            }
            self.stats.offers_in_vain += u64::from(!told);
            self.events.push_back(BridgeEvent::Offered { set, told });
            self.lack();
        }
    }

    fn offerings(&mut self) -> impl Iterator<Item = &mut Offering> {
        self.sets.iter_mut().filter_map(|set| set.offer.as_mut())
    }

    /// The workers are asked for a bulk: it tells what is offered by now, and is not held back.
    pub(super) fn bulk_with_offers(&mut self, number: u16, types: ObjectTypes) {
        let held = self.held_offers();
        for set in &held {
            self.command_offer(*set, false);
        }
        self.rings.command(Op::Bulk(number, types));
        for set in &held {
            self.command_offer(*set, true);
        }
        for set in self.sets.iter_mut().filter(|set| !held.contains(&set.number)) {
            if let Some(offering) = &mut set.offer {
                offering.telling = (types == ObjectTypes::ALL).then_some(number);
                offering.taker = taker_of(&self.peer_roles, set.number);
            }
        }
    }

    /// All workers have told a bulk.
    pub(super) fn offer_went_with(&mut self, number: u16) {
        let mut marks = None;
        for offering in self.offerings() {
            if offering.telling.take_if(|telling| *telling == number).is_some() {
                (offering.told, marks) = (Some(number), Some(number));
            }
        }
        self.merging.marks = marks.or(self.merging.marks);
    }

    /// The peer will not have what went out: it is told everything anew, with what is offered.
    pub(super) fn offers_are_lost(&mut self) {
        self.offerings()
            .for_each(|offering| *offering = Offering::default());
        self.merging.marks = None;
    }

    /// The mark behind what was offered.
    pub(super) fn mark_of_offer(&mut self) -> Option<Op> {
        let told = self.merging.marks.take()?;
        Some(Op::Mark(Mark {
            worker: OFFER,
            at: Ticks(told.into()),
        }))
    }

    /// The peer has everything before a mark. Whether that is one behind what was offered: what a set offers that this bulk did not
    /// tell is still to come.
    pub(super) fn is_offer_taken(&mut self, mark: Mark) -> bool {
        if mark.worker != OFFER {
            return false;
        }
        let is_of = |offering: &Offering| offering.told.is_some_and(|told| mark.at == Ticks(told.into()));
        self.end_offers(true, is_of);
        true
    }

    /// The peer's bulk begins: the service sets of which workers take what is lacking, because they are primary here and the peer
    /// was it until now.
    pub(super) fn merges(&mut self) -> Vec<Op> {
        let is_merged = |number| self.peer_is_standby_of(number);
        let sets = self.sets.iter();
        let sets = sets.filter(|set| set.role == Role::Primary && is_merged(set.number));
        let service_sets = sets.flat_map(|set| &set.service_sets);
        service_sets.map(|id| Op::Merges(*id)).collect()
    }

    /// A worker says what came of it for a service set.
    pub(super) fn merged(&mut self, service_set: ServiceSetId, merge: Merge) {
        let at = self.of_service_set.get(&service_set).copied();
        let set = at.and_then(|at| self.sets.get_mut(at));
        if let Some(set) = set.filter(|set| set.role == Role::Primary) {
            set.merge = set.merge.and(merge);
        }
    }

    /// A worker has said all of a bulk; once all have, each set that had something is told of.
    pub(super) fn merge_ended(&mut self, worker: usize, bulk: u16) {
        let ended = &mut self.merging.ended;
        ended.resize(self.rings.workers(), None);
        if let Some(ended) = ended.get_mut(worker) {
            *ended = Some(bulk);
        }
        if ended.iter().any(|ended| *ended != Some(bulk)) {
            return;
        }
        ended.fill(None);
        let mut has_something = false;
        for set in &mut self.sets {
            let merge = std::mem::take(&mut set.merge);
            // Any standby's bulk is one, and has nothing to tell.
            if merge != Merge::default() {
                has_something = true;
                let set = set.number;
                self.events.push_back(BridgeEvent::Merged { set, merge });
            }
        }
        self.stats.merges += u64::from(has_something);
    }
}
