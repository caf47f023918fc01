//! Telling everything there is, catching up with what found no room, and sweeping what a bulk did not confirm.
//!
//! All of it goes over the tables in slices, between bursts, and stops where the outbox is full. Changes meanwhile are told as
//! always: whatever a walk has passed, a change comes after it on the outbox.

use super::emit::has_mapping;
use super::tables::Table;
use super::{Engine, WALK_STEP};
use crate::engine::EndReason;
use crate::program::ServiceSetId;
use crate::replica::{ObjectTypes, Op, Role};
use crate::session::{FLAG_DIRTY, FLAG_REPLICATED, Hot};
use crate::ticks::Ticks;

/// A bulk on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bulk {
    number: u16,
    types: ObjectTypes,
    /// It tells what is offered, too.
    pub offers: bool,
    /// Sessions were looked at up to here for the mappings that are offered with them; `None`: all were, or nothing is offered.
    looked_at: Option<u32>,
    /// `None`: all is told.
    table: Option<Table>,
    at: u32,
}

/// A sweep after a bulk came in: tables in the other order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    table: Table,
    at: u32,
}

impl Engine {
    /// Somebody takes what is put out from now on, or nobody.
    pub(super) fn listen(&mut self, listening: bool) {
        self.replica.listening = listening;
        self.ports.set_telling(listening);
        self.replica.settled.begin(self.now, listening);
        if !listening {
            self.replica.backlog.clear();
            // A bulk that was coming in does not go on: what it was to decide is as if it had not begun.
            self.replica.awaited.is_as_before();
            (self.replica.lost, self.replica.bulk) = (false, None);
        }
    }

    /// Whether the bulk that tells what is offered has passed a place of a table.
    pub(super) fn has_passed(&self, table: Table, number: u32) -> bool {
        let bulk = self.replica.bulk.filter(|bulk| bulk.offers);
        bulk.is_some_and(|bulk| match bulk.table {
            None => true,
            Some(at) if at == table => number < bulk.at,
            Some(at) => at as usize > table as usize,
        })
    }

    /// Tells everything there is of these types.
    pub(super) fn start_bulk(&mut self, number: u16, types: ObjectTypes) {
        let offers = types == ObjectTypes::ALL && self.has_offer();
        self.replica.bulk = Some(Bulk {
            number,
            types,
            offers,
            looked_at: offers.then_some(0),
            table: Table::next_told(None, types),
            at: 0,
        });
    }

    /// Tells sessions that found no room before.
    pub(super) fn walk_marked(&mut self) {
        for _ in 0..WALK_STEP {
            if self.replica.has_told_marked() {
                return;
            }
            if self.replica.walk_at >= self.sessions.high_water() {
                self.replica.walk_at = 0;
            }
            let number = self.replica.walk_at;
            let is_marked = |h: &Hot| h.is_session() && h.flags & FLAG_DIRTY != 0;
            if self.sessions.hot(number).is_some_and(is_marked) {
                if !self.tell(number) {
                    return;
                }
                self.counters.replica_walked += 1;
            }
            self.replica.walk_at += 1;
        }
    }

    /// Goes on with a bulk.
    pub(super) fn walk_bulk(&mut self) {
        for _ in 0..WALK_STEP {
            let Some(mut bulk) = self.replica.bulk else {
                return;
            };
            if let Some(at) = bulk.looked_at {
                self.offer_mapping_of(at);
                bulk.looked_at = Some(at + 1).filter(|at| *at < self.sessions.high_water());
                self.replica.bulk = Some(bulk);
                continue;
            }
            let Some(table) = bulk.table else {
                let rest = self.replica.has_told_marked() && self.replica.backlog.is_empty();
                if rest && self.push(Op::BulkEnd(bulk.number)) {
                    self.replica.bulk = None;
                    if bulk.offers {
                        self.has_offered();
                    }
                }
                return;
            };
            let (next, told) = match table {
                Table::Extents => self.tell_extent_of_bulk(bulk.at),
                Table::Blocks => self.tell_block_of_bulk(bulk.at),
                Table::Mappings => self.tell_mapping_of_bulk(bulk.at),
                Table::Sessions => self.tell_session_of_bulk(bulk.at),
            };
            match next {
                Some(next) => bulk.at = next,
                None => {
                    bulk.at = 0;
                    bulk.table = Table::next_told(Some(table), bulk.types);
                }
            }
            self.replica.bulk = Some(bulk);
            if !told {
                return;
            }
        }
    }

    /// Tells one operation of a bulk if there is something to tell; where to go on, and whether there was room.
    fn tell_of_bulk(&mut self, at: u32, op: Option<Op>) -> (Option<u32>, bool) {
        match op {
            Some(op) if !self.push(op) => (Some(at), false),
            _ => (Some(at + 1), true),
        }
    }

    fn tell_extent_of_bulk(&mut self, at: u32) -> (Option<u32>, bool) {
        if at >= self.ports.extents_end() {
            return (None, true);
        }
        let record = self.ports.extent(&self.program.public_space, at);
        let op = record.map(Op::Extent);
        let op = op.filter(|op| self.is_told(op) || self.is_offered_op(op));
        self.tell_of_bulk(at, op)
    }

    fn tell_block_of_bulk(&mut self, at: u32) -> (Option<u32>, bool) {
        if at >= self.ports.blocks_end() {
            return (None, true);
        }
        let record = self.ports.block(at).and_then(|(_, block)| {
            let subscriber = self.subscribers.get(block.subscriber)?;
            let allocator = self.ports.of(&subscriber.address());
            allocator.block_record(&self.program.public_space, block, subscriber)
        });
        let op = record.map(Op::Block);
        let op = op.filter(|op| self.is_told(op) || self.is_offered_op(op));
        self.tell_of_bulk(at, op)
    }

    fn tell_mapping_of_bulk(&mut self, at: u32) -> (Option<u32>, bool) {
        if at >= self.mappings.high_water() {
            return (None, true);
        }
        let record = self
            .mappings
            .get(at)
            .filter(|m| !m.is_lost())
            .and_then(|mapping| {
                let of = self.subscribers.get(mapping.subscriber)?;
                let is_told = match self.role(of.service_set) {
                    Role::Primary => mapping.is_known(),
                    Role::Standby => {
                        let set = self.service_set(of.service_set);
                        let is_replicated = set.is_some_and(|set| set.replication.threshold.is_some());
                        mapping.is_known() && is_replicated && self.is_offered(of.service_set)
                    }
                };
                is_told.then(|| Op::Mapping(self.mapping_record(mapping, of)))
            });
        self.tell_of_bulk(at, record)
    }

    /// A session that is offered takes its mapping with it: that goes before. Others, of sessions that are replicated nowhere, stay
    /// here.
    fn offer_mapping_of(&mut self, number: u32) {
        let is_offered = self.offered_session(number).is_some();
        let (Some(hot), Some(cold)) = (self.sessions.hot(number), self.sessions.cold(number)) else {
            return;
        };
        let anchor = cold.anchor;
        if is_offered
            && has_mapping(hot.flags)
            && let Some(mapping) = self.mappings.get_mut(anchor)
        {
            mapping.set_known(true);
        }
    }

    fn tell_session_of_bulk(&mut self, at: u32) -> (Option<u32>, bool) {
        if at >= self.sessions.high_water() {
            return (None, true);
        }
        let Some(hot) = self.sessions.hot(at).filter(|h| h.is_session()).copied() else {
            return (Some(at + 1), true);
        };
        if self.is_standby(hot.service_set) {
            let op = self.offered_session(at);
            return self.tell_of_bulk(at, op);
        }
        let from = self.told_from(at);
        if hot.flags & FLAG_REPLICATED != 0 || from.is_some_and(|from| from <= self.now) {
            // One that finds no room is marked, and told before the bulk's end.
            return (Some(at + 1), self.tell(at));
        }
        if from.is_some() {
            self.rearm(at);
        }
        (Some(at + 1), true)
    }

    /// Puts a session to where it belongs in the wheel.
    pub(in crate::engine) fn rearm(&mut self, number: u32) {
        let deadline = self.deadline(number);
        let look = if self.replicates {
            self.look_at(number, deadline)
        } else {
            deadline
        };
        self.wheel.remove(self.sessions.links(), number);
        self.wheel.insert(self.sessions.links(), number, look);
    }

    /// A bulk of these types begins to come in: what is installed from now on is confirmed by it.
    pub(super) fn begin_bulk(&mut self, number: u16, types: ObjectTypes) {
        if types != ObjectTypes::ALL && self.replica.sweep.is_some() {
            // The sweep it cuts short would have gone further than its own will: everything is asked for again.
            self.replica.missing.note(self.now);
        }
        (self.replica.epoch, self.replica.sweep) = (number, None);
        self.replica.incoming = types;
        if types.contains(ObjectTypes::BLOCKS) {
            // It may be another life of the other chassis; what it holds, it says again.
            self.ports.forget_holds();
        }
        if types == ObjectTypes::ALL {
            // All of it comes again if it is still there, and if the bulk covers its service set.
            self.set_awaited_aside();
            self.replica.missing.bulk_begins();
        }
        self.end_merge(false);
        for role in &mut self.replica.roles {
            role.is_covered = false;
        }
    }

    /// The bulk that is about to end told all there was of a service set. Of others it says nothing: a chassis that lost its memory,
    /// and is primary of nothing, tells an empty one, and what it was primary of is here alone. Of what is passed over nothing counts.
    pub(super) fn cover(&mut self, set: ServiceSetId) {
        if let Some(role) = self.replica.roles.get_mut(usize::from(set)) {
            role.is_covered = !role.passes_over;
        }
    }

    /// Whether the bulk that ended says what there is of a service set.
    pub(super) fn is_swept(&self, set: ServiceSetId) -> bool {
        let role = self.replica.roles.get(usize::from(set));
        role.is_some_and(|r| r.role == Role::Standby && r.is_covered)
    }

    /// The bulk that began last is complete: what it did not confirm is gone at the primary.
    pub(super) fn end_bulk(&mut self, number: u16) {
        if number == self.replica.epoch {
            self.end_merge(true);
            if self.replica.incoming == ObjectTypes::ALL {
                self.forget_covered();
                self.note_uncovered(number);
                self.replica.missing.bulk_ends();
            }
            let first = Table::next_swept(None, self.replica.incoming);
            self.replica.sweep = first.map(|table| Sweep { table, at: 0 });
        }
    }

    /// Goes on with a sweep.
    pub(super) fn sweep(&mut self) {
        let Some(mut sweep) = self.replica.sweep else {
            return;
        };
        let high_water = match sweep.table {
            Table::Sessions => self.sessions.high_water(),
            Table::Mappings => self.mappings.high_water(),
            Table::Blocks => self.ports.blocks_end(),
            Table::Extents => self.ports.extents_end(),
        };
        let end = high_water.min(sweep.at.saturating_add(WALK_STEP));
        for number in sweep.at..end {
            let swept = match sweep.table {
                Table::Sessions => self.sweep_session(number),
                Table::Mappings => self.sweep_mapping(number),
                Table::Blocks => self.sweep_block(number),
                Table::Extents => self.sweep_extent(number),
            };
            self.counters.replica_swept += u64::from(swept);
        }
        sweep.at = end;
        self.replica.sweep = Some(sweep);
        if end >= high_water {
            let next = Table::next_swept(Some(sweep.table), self.replica.incoming);
            self.replica.sweep = next.map(|table| Sweep { table, at: 0 });
            if next.is_none() {
                self.has_swept_offers();
            }
        }
    }

    /// Ends a sweep that a service set is part of, all at once: this chassis is about to take that over, and what the old primary did
    /// not have any more stands in the way of what it has given to others since.
    pub(super) fn end_sweep(&mut self, set: ServiceSetId) {
        while self.replica.sweep.is_some() && self.is_swept(set) {
            self.sweep();
        }
    }

    fn sweep_session(&mut self, number: u32) -> bool {
        let hot = self.sessions.hot(number);
        // Asked first: most of a table may be of service sets that are not swept, and its other half is not in the cache.
        if !hot.is_some_and(|hot| hot.is_session() && self.is_swept(hot.service_set)) {
            return false;
        }
        let cold = self.sessions.cold(number);
        let stale = cold.is_some_and(|cold| cold.epoch != self.replica.epoch);
        if stale {
            self.end(number, EndReason::Swept);
        }
        stale
    }

    fn sweep_mapping(&mut self, number: u32) -> bool {
        let Some(mapping) = self.mappings.get(number).filter(|m| m.is_known()) else {
            return false;
        };
        let of = self.subscribers.get(mapping.subscriber).map(|s| s.service_set);
        let epoch = self.replica.mapping_epochs.get(number as usize);
        if !of.is_some_and(|set| self.is_swept(set)) || epoch.is_none_or(|e| *e == self.replica.epoch) {
            return false;
        }
        if let Some(mapping) = self.mappings.get_mut(number) {
            mapping.set_known(false);
        }
        self.end_mapping_if_unused(number);
        true
    }

    fn sweep_block(&mut self, number: u32) -> bool {
        let Some(block) = self.ports.block(number).map(|(_, block)| *block) else {
            return false;
        };
        let of = self.subscribers.get(block.subscriber).map(|s| s.service_set);
        let epoch = self.replica.block_epochs.get(number as usize);
        let stale =
            of.is_some_and(|set| self.is_swept(set)) && epoch.is_some_and(|e| *e != self.replica.epoch);
        if stale {
            self.drop_block(block.address_index, block.first_port, block.size);
        }
        stale
    }

    fn sweep_extent(&mut self, number: u32) -> bool {
        let space = &self.program.public_space;
        let Some(record) = self.ports.extent(space, number) else {
            return false;
        };
        if !self.is_used_by(record.pool, |set| self.is_swept(set)) {
            return false;
        }
        let epoch = self.replica.extent_epochs.get(number as usize);
        let allocator = self.ports.of_shard_mut(record.shard);
        let Some(allocator) = allocator.filter(|a| a.follows(record.pool)) else {
            return false;
        };
        let stale = epoch.is_some_and(|e| *e != self.replica.epoch);
        let index = space.index_of(record.public).filter(|_| stale);
        let gone = index.is_some_and(|index| allocator.drop_extent(space, index, usize::from(record.extent)));
        if gone {
            self.extent_stays(number);
        }
        gone
    }

    /// The other chassis has this block.
    pub(super) fn confirm_block(&mut self, place: u32) {
        if let Some(epoch) = self.replica.block_epochs.get_mut(place as usize) {
            *epoch = self.replica.epoch;
        }
    }

    /// The other chassis has this extent.
    pub(super) fn confirm_extent(&mut self, place: u32) {
        if let Some(epoch) = self.replica.extent_epochs.get_mut(place as usize) {
            *epoch = self.replica.epoch;
        }
        self.extent_stays(place);
    }

    /// The idle timeout of a session.
    pub(super) fn timeout(&self, hot: &Hot) -> Ticks {
        let plan = self.set_plan(hot.service_set);
        Ticks(plan.map_or(0, |p| p.timeouts[usize::from(hot.timer) % p.timeouts.len()]))
    }
}
