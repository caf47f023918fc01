//! Two primaries that are one again: the one that yields offers what it has of its own, and the other one takes what it lacks. Redundancy
//! spec, section 1.
//!
//! ```text
//!   yields: workers are standby, and offer                             primary
//!   bulk: all that they have of the set, a mark behind it  --------->  BulkBegin: workers take what is lacking (Merges)
//!                                                                      BulkEnd: they say what came of it (Merged)
//!   the mark comes back: nothing is offered any more       <=========  acknowledged
//!   everything is asked for                                --------->  bulk: what was taken is in it
//!   what that does not have is swept                       <---------
//! ```
//!
//! A bulk of a chassis that is standby tells nothing of the set otherwise, so a primary can take whatever comes in one. The peer is asked
//! for its bulk on the same stream behind the offer, and tells it behind what its workers were told: so what it has taken is in it.

use tandem_engine::replica::{Mark, Merge, ObjectTypes, Op, Role};
use tandem_engine::ticks::Ticks;

use super::roles::SetState;
use super::{Bridge, BridgeEvent, Listening};
use crate::chassis::Sets;

/// In place of a worker's number, in the mark behind an offer.
const OFFER: u8 = u8::MAX;

/// What a set that has yielded offers. Each has its own: one that yields later is told by a later bulk.
#[derive(Debug, Default)]
pub(super) struct Offering {
    /// The bulk under way that tells it, and the one that has.
    telling: Option<u16>,
    told: Option<u16>,
}

/// Offers out and in.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// Whether the peer takes what it is offered; `None`: it was never there.
    peer_merges: Option<bool>,
    /// A mark is to be put behind this bulk, which told what is offered.
    marks: Option<u16>,
    /// Sets whose offers workers are taking, and what those made of them that have reported.
    taking: Sets,
    reported: Vec<bool>,
    merge: Merge,
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
        // A bulk that is under way has passed some of it.
        self.bulks.renew |= self.listening == Listening::On;
        true
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
            self.stats.offers_in_vain += u64::from(!told);
            self.events.push_back(BridgeEvent::Offered { set, told });
            self.lack();
        }
    }

    fn offerings(&mut self) -> impl Iterator<Item = &mut Offering> {
        self.sets.iter_mut().filter_map(|set| set.offer.as_mut())
    }

    /// The workers are asked for a bulk: it tells what is offered by now.
    pub(super) fn offer_goes_with(&mut self, number: u16, types: ObjectTypes) {
        for offering in self.offerings() {
            offering.telling = (types == ObjectTypes::ALL).then_some(number);
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
        self.end_offers(true, |offering| {
            offering.told.is_some_and(|told| mark.at == Ticks(told.into()))
        });
        true
    }

    /// The peer's bulk begins: the service sets of which workers take what is lacking, because they are primary here and the peer
    /// was it until now.
    pub(super) fn merges(&mut self) -> Vec<Op> {
        let is_merged = |number| self.peer_is_standby_of(number);
        let sets = self.sets.iter();
        let sets: Vec<_> = sets
            .filter(|set| set.role == Role::Primary && is_merged(set.number))
            .collect();
        let ops = sets.iter().flat_map(|set| &set.service_sets);
        let ops = ops.map(|id| Op::Merges(*id)).collect();
        self.merging.taking = sets.iter().map(|set| set.number).collect();
        ops
    }

    /// A worker says what came of it.
    pub(super) fn merged(&mut self, worker: usize, merge: Merge) {
        self.merging.reported.resize(self.rings.workers(), false);
        if let Some(reported) = self.merging.reported.get_mut(worker) {
            *reported = true;
        }
        self.merging.merge = self.merging.merge.and(merge);
        if self.merging.reported.iter().all(|reported| *reported) {
            self.merging.reported.fill(false);
            let merge = std::mem::take(&mut self.merging.merge);
            // Any standby's bulk is one, and has nothing to tell.
            if merge != Merge::default() {
                self.stats.merges += 1;
                let sets = self.merging.taking;
                self.events.push_back(BridgeEvent::Merged { sets, merge });
            }
        }
    }
}
