//! Bulks between the workers and a peer: begun at all workers, ended when all have told their part, and what of the redundancy
//! sets one covers.

use tandem_engine::program::{Program, ServiceSetId};
use tandem_engine::replica::{ObjectTypes, Op, Role};

use super::roles::SetState;
use super::{Bridge, Listening};
use crate::chassis::Sets;

/// How long the peer has to begin a bulk that it was asked for, milliseconds.
const ASK_AGAIN_MS: u64 = 1000;

/// A bulk that the workers tell.
#[derive(Debug)]
struct Bulk {
    number: u16,
    /// By worker: it has told its part.
    done: Vec<bool>,
}

/// Bulks out and in.
#[derive(Debug, Default)]
pub(super) struct Bulks {
    /// One to begin as soon as the workers are known to have stopped.
    begin: Option<(u16, ObjectTypes)>,
    out: Option<Bulk>,
    /// The peer has to be told everything anew: the program changed so, or of a set that became primary here it may have what
    /// is here no more.
    pub renew: bool,
    /// What the peer told of a set came when that was not standby here, or it was primary all the while that this chassis was: it has
    /// to tell everything anew.
    pub lacks: bool,
    /// When it is asked for that next, milliseconds. If it was asked a short time ago, the link does not do so again so soon.
    ask_at: u64,
    /// Sets that were primary here since the last bulk began.
    pub told: Sets,
    /// Sets whose offers were taken, until the peer begins a bulk that it said after that: one that was on its way then may have passed
    /// what it took before it took it.
    pub awaited: Sets,
    /// How many offers were taken.
    pub offers_taken: u64,
    /// The bulk that begins next answers.
    pub answers: bool,
    /// What the peer's last bulk is of.
    incoming: ObjectTypes,
    /// Sets that were standby here since it began, and took it, and those that it covers.
    pub heard: Sets,
    pub covered: Sets,
}

impl Bulks {
    pub fn stop(&mut self) {
        (self.begin, self.out) = (None, None);
    }

    /// The peer has some time to begin without being asked.
    pub const fn ask_later(&mut self, now: u64) {
        self.ask_at = now + ASK_AGAIN_MS;
    }

    /// A set has another role from now on: of a bulk under way, workers had a part of it in one role and have the rest in the
    /// other.
    pub fn role_changes(&mut self, set: u8) {
        (self.told, self.heard) = (self.told.without(set), self.heard.without(set));
        self.awaited = self.awaited.without(set);
    }
}

impl Bridge {
    /// A bulk of these types, now or as soon as it can be; with the leases, if blocks are among them.
    pub(super) fn bulk_asked(&mut self, number: u16, types: ObjectTypes) {
        if types.contains(ObjectTypes::BLOCKS) {
            self.keeper.tell_again(&self.program);
        }
        if self.listening == Listening::On {
            self.begin_bulk(number, types);
        } else {
            self.bulks.begin = Some((number, types));
            self.start_if_asked();
        }
    }

    pub(super) fn start_if_asked(&mut self) {
        if self.listening != Listening::Off {
            return;
        }
        let Some((number, types)) = self.bulks.begin.take() else {
            return;
        };
        // The workers have read that nobody listens, and what they had put out before was dropped.
        self.rings.command(Op::Listen(true));
        self.listening = Listening::On;
        self.begin_bulk(number, types);
    }

    fn begin_bulk(&mut self, number: u16, types: ObjectTypes) {
        self.stats.bulks += 1;
        self.bulks.renew &= types != ObjectTypes::ALL;
        self.bulks.told = self.sets_that_are(Role::Primary);
        self.bulks.out = Some(Bulk {
            number,
            done: vec![false; self.rings.workers()],
        });
        self.bulk_with_offers(number, types);
    }

    /// A worker has told its part.
    pub(super) fn part_told(&mut self, worker: usize, number: u16) {
        let bulk = self.bulks.out.as_mut().filter(|bulk| bulk.number == number);
        if let Some(done) = bulk.and_then(|bulk| bulk.done.get_mut(worker)) {
            *done = true;
        }
    }

    /// The end of a bulk that all workers and the keeper of leases have told their parts of.
    pub(super) fn bulk_end(&mut self) -> Option<Op> {
        let keeper = &self.keeper;
        let ended = |bulk: &mut Bulk| bulk.done.iter().all(|done| *done) && keeper.has_told_again();
        let ended = self.bulks.out.take_if(ended);
        let number = ended?.number;
        self.offer_went_with(number);
        Some(Op::BulkEnd(number))
    }

    /// The peer's bulk begins.
    pub(super) fn peer_begins(&mut self, begin: Op, types: ObjectTypes) -> bool {
        let answers = self.bulks.answers && types == ObjectTypes::ALL;
        let awaited = if answers {
            Sets::default()
        } else {
            self.bulks.awaited
        };
        // Of what is offered first, or passed over, nothing is taken; of what was offered, nothing ends before all of it is told again.
        let is_left_out = |set: &&SetState| set.offer.is_some() || set.passes_over || awaited.has(set.number);
        let left_out = self.sets.iter().filter(is_left_out);
        let standby = self.sets_that_are(Role::Standby);
        self.bulks.heard = left_out.fold(standby, |heard, set| heard.without(set.number));
        let mut all = vec![begin];
        all.extend(self.merges());
        let taken = self.rings.push_all(&all);
        if taken {
            self.bulks.incoming = types;
            self.bulks.awaited = awaited;
            self.bulks.lacks &= types != ObjectTypes::ALL || awaited != Sets::default();
            if types.contains(ObjectTypes::BLOCKS) {
                self.keeper.hears_all(&self.program);
            }
        }
        taken
    }

    /// Something that the peer told was refused, because a set was not standby here when it came; or what is here is this chassis' own.
    pub(super) const fn lack(&mut self) {
        (self.bulks.lacks, self.bulks.ask_at) = (true, self.now);
    }

    /// Whether the peer is to be asked for everything now.
    pub(super) fn is_to_ask(&mut self) -> bool {
        let due = self.bulks.lacks && self.now >= self.bulks.ask_at && !self.is_offering();
        if due {
            self.bulks.ask_later(self.now);
        }
        due
    }

    /// The peer's bulk ends: workers sweep what it covers of the sets that are standby here, and were when it began. Those that
    /// became standby in its midst refused some of it.
    pub(super) fn peer_ends(&mut self, end: Op) -> bool {
        if self.sets_that_are(Role::Standby).and(self.bulks.covered)
            != self.bulks.heard.and(self.bulks.covered)
        {
            self.lack();
        }
        let swept = self.bulks.covered.and(self.bulks.heard);
        let sets = self.sets.iter().filter(|set| swept.has(set.number));
        let service_sets = sets.flat_map(|set| &set.service_sets);
        let mut all: Vec<Op> = service_sets.map(|id: &ServiceSetId| Op::Covers(*id)).collect();
        all.push(end);
        let taken = self.rings.push_all(&all);
        if taken && self.bulks.incoming.contains(ObjectTypes::BLOCKS) {
            self.keeper.heard_all(self.now, &self.program);
        }
        taken
    }
}

/// Whether what was told under one program may be wrong under another: addresses are in other pools, or service sets gone or
/// replicated otherwise.
pub(super) fn moves_ground(old: &Program, new: &Program) -> bool {
    let pools = old.pools.iter().any(|before| {
        let now = new.pools.iter().find(|pool| pool.id == before.id);
        now.is_none_or(|now| now.addresses != before.addresses || now.mode != before.mode)
    });
    let sets = old.service_sets.iter().any(|before| {
        let now = new.service_sets.iter().find(|set| set.id == before.id);
        now.is_none_or(|now| now.replication != before.replication)
    });
    pools || sets
}
