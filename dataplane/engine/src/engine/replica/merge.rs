//! Merging: after both chassis were primary of a service set, the one that stays so takes what the other has and it lacks. Redundancy
//! spec, section 1.
//!
//! ```text
//!   the other, which yielded --bulk: extents, blocks, mappings, sessions--> lacking here: taken, and served from now on
//!        ^                                                                  here as well: nothing to do
//!        '--Close, MappingClose (what was offered ends there)-------------- another's here: this chassis is right; counted
//! ```
//!
//! The other one takes these endings while the bulk that tells its offer runs, of what that has passed, and again once its offer is
//! acknowledged. What ends in between is swept there: the bulk that is asked for then does not have it.
//!
//! Each thing is offered once in a bulk, in the order in which one stands on the other, so a public end that both have given is counted
//! once: with the mapping that has it, or with the session that has it for itself.

use std::cell::Cell;
use std::hash::Hash;

use super::Engine;
use super::emit::has_mapping;
use super::install::{NotInstalled, mapping_of, record_like};
use crate::drop_reason::DropReason;
use crate::ports::PortClass;
use crate::program::{Pool, PoolId, ServiceSetId};
use crate::public_space::PublicSpace;
use crate::replica::{BlockRecord, ExtentRecord, MappingRecord, Op, Role, SessionRecord};
use crate::session::{
    Direction, FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_OWNS_PORT, FLAG_SHARED_PORT, Hot,
};
use crate::tcp_state::TimerClass;
use crate::ticks::Ticks;

use super::roles::HELD;

/// Why something that was offered is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clash {
    /// Its public end is another's here.
    Public,
    /// Its inside end has another public end here.
    Inside,
    /// What it stands on is refused, or a table is full.
    Refused,
}

impl Engine {
    /// [`Op::Merges`].
    pub(super) fn merge(&mut self, set: ServiceSetId) {
        let part = self.replica.role_mut(set);
        part.merges = part.role == Role::Primary;
        self.replica.merging.begin(self.replica.epoch);
    }

    /// Whether what the other chassis tells of a service set is taken where it is lacking here.
    pub(super) fn merges(&self, set: ServiceSetId) -> bool {
        let part = self.replica.roles.get(usize::from(set));
        part.is_some_and(|part| part.merges)
    }

    /// The same of the service sets that use a pool.
    pub(super) fn merges_of(&self, pool: PoolId) -> bool {
        self.is_used_by(pool, |set| self.merges(set))
    }

    /// Whether an operation of the other chassis is to be merged.
    pub(super) fn is_merged(&self, op: &Op) -> bool {
        match op {
            Op::Session(record) => self.merges(record.service_set),
            Op::Mapping(record) => self.merges(record.service_set),
            Op::Block(record) => self.merges(record.service_set),
            Op::Extent(record) => self.merges_of(record.pool),
            _ => false,
        }
    }

    /// Merges one.
    pub(super) fn merge_op(&mut self, op: &Op) {
        match op {
            Op::Session(record) => self.merge_session(record),
            Op::Mapping(record) => self.merge_mapping(record),
            Op::Block(record) => self.merge_block(record),
            Op::Extent(record) => self.merge_extent(record),
            _ => {}
        }
    }

    /// What was told before this chassis took over, and had to wait for another worker, is taken the same way: a refusal is told the
    /// other chassis, and its extent rests as those that were here. No bulk told it and nothing was merged, so it is counted as what
    /// a standby installs or refuses.
    pub(super) fn merge_late(&mut self, op: &Op) {
        self.replica.merging.pause();
        if let Op::Extent(record) = op {
            self.merge_extent(record);
        } else {
            // The first in an extent takes it along, and what this shard has rests already.
            let extent = self.extent_of(op);
            if let Some(extent) = extent.filter(|extent| self.shard_of(extent) != Some(extent.shard)) {
                self.merge_extent(&extent);
            }
            self.merge_op(op);
        }
        self.counters.replica_refused_ground += u64::from(self.replica.merging.resume());
    }

    /// The bulk that told it is complete, or another begins.
    pub(super) fn end_merge(&mut self, is_complete: bool) {
        let mut keep = None;
        for set in 0..self.replica.roles.len() {
            let merged = self.replica.roles.get_mut(set);
            if merged.is_some_and(|part| std::mem::take(&mut part.merges)) {
                let plan = self.set_plan(set as ServiceSetId);
                keep = keep.max(Some(plan.map_or(0, |p| p.timeouts[TimerClass::Udp as usize])));
            }
        }
        let Some(keep) = keep else {
            return;
        };
        let has_something = self.replica.merging.end(is_complete);
        if !is_complete || !has_something {
            // Any standby's bulk has nothing to tell.
            return;
        }
        // As at a takeover: not all that stood on a mapping there need be told.
        self.end_kept_after(keep);
    }

    /// Mappings without sessions stay for so many ticks, and then end.
    fn end_kept_after(&mut self, keep: u32) {
        self.replica.kept_until = self.replica.kept_until.max(self.now.plus(Ticks(keep)));
        self.replica.kept_at = 0;
    }

    /// The service set that is merged and uses a pool.
    fn merging_set_of(&self, pool: PoolId) -> Option<ServiceSetId> {
        let found = Cell::new(None);
        self.is_used_by(pool, |set| {
            found.set(Some(set).filter(|set| self.merges(*set)));
            found.get().is_some()
        });
        found.get()
    }

    /// Takes an extent of the other chassis' that is nobody's here. What it gave out of it without a word rests, as at a takeover.
    pub(super) fn merge_extent(&mut self, record: &ExtentRecord) {
        let program = std::sync::Arc::clone(&self.program);
        let Some((index, pool)) = self.pool_of(record.public, record.pool) else {
            return;
        };
        let (space, pool): (&PublicSpace, &Pool) = (&program.public_space, &program.pools[pool]);
        let extent = usize::from(record.extent);
        let until = self.now.plus(pool.quarantine.max(HELD)).max(record.held_until);
        let Some(ports) = self.ports.of_shard_mut(record.shard) else {
            return;
        };
        let merged = ports.merge_extent(space, pool, index, extent, self.now, until);
        if merged.is_none() && !self.replica.merging.refuse() {
            return;
        }
        let Some(set) = self.merging_set_of(record.pool) else {
            return;
        };
        match merged {
            Some(true) => self.count_merged(set, |merge| merge.extents += 1),
            Some(false) => {}
            None => {
                if self.replica.merging.is_new(set, (record.public, record.extent)) {
                    self.count_merged(set, |merge| merge.extents_of_others += 1);
                    self.counters.replica_merge_extents_of_others += 1;
                }
            }
        }
    }

    /// Index of an address and position of its pool.
    fn pool_of(&self, public: u32, pool: PoolId) -> Option<(u32, usize)> {
        let index = self.program.public_space.find(public)?.index;
        Some((index, self.pool_at(pool)?))
    }

    /// Takes a block of the other chassis' where nobody has a port of it here.
    pub(super) fn merge_block(&mut self, record: &BlockRecord) {
        let Some((index, pool)) = self.pool_of(record.public, record.pool) else {
            return;
        };
        let Ok(subscriber) = self.subscriber_of(record.service_set, record.subscriber) else {
            return;
        };
        self.hold_subscriber(subscriber);
        if !self.has_block(index, record, subscriber) {
            let shard = self.ports.shard(record.subscriber);
            let ports = self.ports.of_subscriber_mut(&self.subscribers, subscriber);
            // Ports in it are somebody's without a block, or were a moment ago.
            let installed = match ports.was_block_given(index, record.first_port, record.size, self.now) {
                true => Err(DropReason::SessionConflict),
                false => self.place_block(index, pool, record, subscriber),
            };
            match installed {
                Ok(number) => {
                    self.confirm_block(self.ports.block_place(shard, number));
                    self.tell_ports();
                    self.put(Op::Block(*record));
                }
                Err(DropReason::SessionConflict) => self.count_block(record),
                // A table is full, or its extent is another shard's: what stands on it is counted.
                Err(_) => {}
            }
        }
        self.leave_subscriber(subscriber);
    }

    fn count_block(&mut self, record: &BlockRecord) {
        let set = record.service_set;
        let block = (record.public, record.first_port, record.size);
        if self.replica.merging.is_new(set, block) {
            self.count_merged(set, |merge| merge.blocks += 1);
            self.counters.replica_merge_blocks += 1;
        }
    }

    /// Takes a mapping of the other chassis', if neither of its ends is otherwise here.
    pub(super) fn merge_mapping(&mut self, record: &MappingRecord) {
        let Ok(subscriber) = self.subscriber_of(record.service_set, record.inside) else {
            return;
        };
        self.hold_subscriber(subscriber);
        let taken = match self.mapping_clash(record, subscriber) {
            None => self.mapping_for(record, subscriber).map_err(|_| Clash::Refused),
            Some(clash) => Err(clash),
        };
        match taken {
            Ok(number) => {
                self.keep_mapping(number);
                // Its sessions may never come: the connection may break, or they may have ended there.
                let keep = self.set_plan(record.service_set);
                self.end_kept_after(keep.map_or(0, |p| p.timeouts[TimerClass::Udp as usize]));
                self.tell_ports();
                self.put(Op::Mapping(*record));
            }
            Err(clash) => {
                // Sessions refused are counted, each; a mapping that cannot be had is not.
                if clash != Clash::Refused {
                    let inside = (record.inside, record.inside_port, record.protocol);
                    let mapping = (inside, record.public, record.public_port);
                    self.count_clash(clash, record.service_set, mapping);
                }
                self.put(Op::MappingClose(*record));
            }
        }
        self.leave_subscriber(subscriber);
    }

    /// What is in the way of a mapping of this subscriber, if something is.
    fn mapping_clash(&mut self, record: &MappingRecord, subscriber: u32) -> Option<Clash> {
        let (inside, port, protocol) = (record.inside, record.inside_port, record.protocol);
        let place = self
            .mappings
            .inside_place(record.service_set, inside, port, protocol);
        let known = self
            .mappings
            .find_inside(place, subscriber, inside, port, protocol);
        let public = self
            .mappings
            .find_public(record.public, record.public_port, protocol);
        if public.is_some() {
            return (public != known).then_some(Clash::Public);
        }
        let is_given = match PortClass::of_protocol(protocol) {
            Some(class) => self.is_port_given(record.public, class, record.public_port),
            None => self.is_address_given(record.public),
        };
        if is_given {
            return Some(Clash::Public);
        }
        known.map(|_| Clash::Inside)
    }

    /// Whether a port is in use here, or was less than a quarantine ago.
    fn is_port_given(&mut self, public: u32, class: PortClass, port: u16) -> bool {
        let space = &self.program.public_space;
        let Some(index) = space.index_of(public) else {
            return false;
        };
        let (_, pool) = space.address(index).unwrap_or_default();
        let blocks = self.pool(pool).and_then(|pool| pool.port_blocks);
        let ports = self
            .ports
            .of_shard_mut(space.owner(index, usize::from(port >> 12)));
        let Some(ports) = ports else {
            return false;
        };
        // Without a block: that was refused, because somebody here had it a moment ago.
        if let Some(blocks) = blocks
            && ports.block_at(index, port).is_none()
        {
            let first = port - port % blocks.block_size;
            return ports.was_block_given(index, first, blocks.block_size, self.now);
        }
        ports.was_given(index, class, port, self.now)
    }

    /// The same of a whole address.
    fn is_address_given(&self, public: u32) -> bool {
        let space = &self.program.public_space;
        let Some(index) = space.index_of(public) else {
            return false;
        };
        let ports = self.ports.of_shard(space.owner(index, 0));
        ports.is_some_and(|ports| ports.was_address_given(index))
    }

    /// Takes a session of the other chassis', which this one serves from now on.
    pub(super) fn merge_session(&mut self, record: &SessionRecord) {
        match self.take_session(record) {
            Ok((number, is_new)) => {
                // One that is here as well may have gone on there.
                self.sessions.forget_windows(number);
                // The other chassis may be told everything just now, and would end what that does not have.
                self.tell_if_primary(number);
                let counters = &mut self.counters;
                *match self.replica.merging.is_paused() {
                    true => &mut counters.replica_installed,
                    false => &mut counters.replica_merged_sessions,
                } += u64::from(is_new);
                self.count_merged(record.service_set, |merge| match is_new {
                    true => merge.sessions += 1,
                    false => merge.known += 1,
                });
            }
            Err(clash) => {
                self.count_clash(clash, record.service_set, (record.key, record.protocol));
                self.put(Op::Close {
                    key: record.key,
                    service_set: record.service_set,
                    protocol: record.protocol,
                });
            }
        }
    }

    /// Something of a service set is refused: once, however often it is offered.
    fn count_clash(&mut self, clash: Clash, set: ServiceSetId, refused: impl Hash) {
        if !self.replica.merging.is_new(set, refused) {
            return;
        }
        let counters = &mut self.counters;
        *match clash {
            Clash::Public => &mut counters.replica_merge_public_ends,
            Clash::Inside => &mut counters.replica_merge_inside_ends,
            Clash::Refused => &mut counters.replica_merge_refused,
        } += 1;
        self.count_merged(set, |merge| {
            *match clash {
                Clash::Public => &mut merge.public_ends,
                Clash::Inside => &mut merge.inside_ends,
                Clash::Refused => &mut merge.refused,
            } += 1;
        });
    }

    /// Its number, and whether it is new here.
    fn take_session(&mut self, record: &SessionRecord) -> Result<(u32, bool), Clash> {
        if self.set_plan(record.service_set).is_none() {
            return Err(Clash::Refused);
        }
        let hot = record_like(&record.key, record.service_set, record.protocol, record.last_seen);
        let (out, back) = self.sessions.places(&hot);
        let like = self.find_like(&hot, out);
        if let Some(number) = like
            && self.is_same(number, &hot)
        {
            return match self.stands_as(number, record.flags) {
                true => Ok((number, false)),
                false => Err(Clash::Inside),
            };
        }
        let from_outside = hot.from_outside();
        let other = back.and_then(|place| {
            self.sessions
                .find(place, &from_outside, hot.protocol, Direction::In, 0)
        });
        if has_mapping(record.flags) {
            // What is in the way of its mapping was counted with that.
            if other.is_some() || self.is_mapping_refused(record, &hot) {
                return Err(Clash::Refused);
            }
        } else if other.is_some() || self.is_end_taken(record, &hot) {
            return Err(Clash::Public);
        }
        if like.is_some() {
            return Err(Clash::Inside);
        }
        self.place_session(record, hot, out, back)
            .map(|number| (number, true))
            .map_err(|error| match error {
                // The claim of an address towards an outside end.
                NotInstalled::Contested if record.flags & FLAG_ADDRESS_ONLY != 0 => Clash::Public,
                _ => Clash::Refused,
            })
    }

    /// Whether the mapping that a session stands on cannot be had here.
    fn is_mapping_refused(&mut self, record: &SessionRecord, hot: &Hot) -> bool {
        let inside = self.ends_of(hot).inside;
        let Ok(subscriber) = self.subscriber_of(record.service_set, inside.0) else {
            return true;
        };
        self.hold_subscriber(subscriber);
        let whole = self
            .pool(record.pool)
            .is_some_and(|pool| matches!(pool.mode, crate::program::PoolMode::Addresses));
        let clash = self.mapping_clash(&mapping_of(record, hot, inside, whole), subscriber);
        self.leave_subscriber(subscriber);
        clash.is_some()
    }

    /// Whether the public port that a session has for itself is another's here.
    fn is_end_taken(&mut self, record: &SessionRecord, hot: &Hot) -> bool {
        const OWN: u16 = FLAG_OWNS_PORT | FLAG_SHARED_PORT | FLAG_FREE_STANDING;
        let back = hot.from_outside();
        let class = PortClass::of_protocol(hot.protocol).filter(|_| record.flags & OWN == FLAG_OWNS_PORT);
        class.is_some_and(|class| self.is_port_given(back.dst, class, back.dport))
    }
}
