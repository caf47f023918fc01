//! Installing what the other chassis says: sessions, and the mappings they stand on.
//!
//! Everything may come twice, updates for what is known, and endings of what is not. Where the other chassis and the tables
//! here contradict each other, it is right: it is primary. What finds no room is refused as a whole.

use super::Engine;
use super::emit::has_mapping;
use crate::engine::EndReason;
use crate::index::Place;
use crate::mapping::Mapping;
use crate::program::ServiceSetId;
use crate::replica::{CARRIED_FLAGS, MappingRecord, Op, SessionKey, SessionRecord};
use crate::session::{
    Direction, FLAG_ADDRESS_ENTRY, FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_OWNS_PORT, FLAG_REPLICATED,
    FLAG_UNANSWERED, Hot, KIND_44, KIND_64, KIND_66, new_cold, new_hot,
};
use crate::tcp_state::TimerClass;
use crate::ticks::Ticks;

/// Why something was not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInstalled {
    /// This chassis is primary of the service set, or does not have it.
    #[error("this chassis is not standby of the service set")]
    NotStandby,
    /// What is here has to be offered to the other chassis before.
    #[error("what this chassis has of the service set has to be offered first")]
    Unoffered,
    /// It is offered to a primary, which this chassis was last, and is no more; or it ends what is this chassis' own.
    #[error("it is offered to a primary, and this chassis is no longer primary of the service set")]
    Offered,
    /// A table is full.
    #[error("a table is full")]
    NoRoom,
    /// Its port or address is in use for somebody else, or is nobody's to have here.
    #[error("its port or address cannot be had here")]
    NoGround,
    /// Its port is another session's here, which is not found at once.
    #[error("its port is another session's here")]
    Contested,
}

/// The record a session of such ends has.
pub(super) fn record_like(key: &SessionKey, set: ServiceSetId, protocol: u8, now: Ticks) -> Hot {
    let of = |kind, tuples| new_hot(kind, tuples, protocol, set, now);
    match key {
        SessionKey::V4 { out, back } => of(KIND_44, [*out, *back]),
        SessionKey::Nat64 {
            inside,
            inside_port,
            outside_port,
            prefix,
            back,
        } => {
            let mut hot = of(KIND_64, Default::default());
            hot.six_four_mut()
                .set(*inside, (*inside_port, *outside_port), *prefix, *back);
            hot
        }
        SessionKey::V6(key) => {
            let mut hot = of(KIND_66, Default::default());
            hot.six_six_mut().set(key);
            hot
        }
    }
}

impl Engine {
    /// Does what an operation says: what the other chassis told, or what the bridge to it commands. Cheap enough for a few
    /// between bursts. What is refused is counted as well.
    ///
    /// # Errors
    /// [`NotInstalled`]; nothing changed then, unless something of this chassis' own stood in the way and was ended.
    pub fn install(&mut self, op: &Op, now: Ticks) -> Result<(), NotInstalled> {
        self.now = self.now.max(now);
        let waited_since = self.forget_awaited(op);
        let result = match self.install_once(op) {
            Err(NotInstalled::Contested | NotInstalled::NoGround) if self.is_anothers(op) => {
                self.wait_for_others(op, waited_since.unwrap_or(self.now))
            }
            Err(NotInstalled::Contested) => self.contest(op),
            result => result,
        };
        self.count_install(op, result);
        result
    }

    /// Does what an operation says, and counts nothing that is refused.
    pub(super) fn install_once(&mut self, op: &Op) -> Result<(), NotInstalled> {
        match op {
            Op::Session(_) | Op::Mapping(_) | Op::Block(_) | Op::Extent(_) if self.is_merged(op) => {
                self.merge_op(op);
                Ok(())
            }
            Op::Session(record) => self.install_session(record),
            Op::Close {
                key,
                service_set,
                protocol,
            } => self.install_end(key, *service_set, *protocol),
            Op::Mapping(record) => self.install_mapping(record),
            Op::MappingClose(record) => self.install_mapping_end(record),
            Op::Block(record) => self.install_block(record, false),
            Op::BlockClose(record) => self.install_block_end(record),
            Op::Extent(record) => self.install_extent(record),
            Op::ExtentClose(record) => self.install_extent_end(record),
            Op::BulkBegin(number, types) => {
                self.begin_bulk(*number, *types);
                Ok(())
            }
            Op::BulkEnd(number) => {
                self.end_bulk(*number);
                Ok(())
            }
            Op::Covers(service_set) => {
                self.cover(*service_set);
                Ok(())
            }
            Op::Bulk(number, types) => {
                self.begin_offers(*types);
                self.start_bulk(*number, *types);
                Ok(())
            }
            Op::Listen(listening) => {
                self.listen(*listening);
                Ok(())
            }
            Op::Mark(mark) => {
                self.heard_of(mark.at);
                Ok(())
            }
            Op::HoldsUnknown => {
                self.ports.forget_holds();
                Ok(())
            }
            Op::Role {
                service_set,
                role,
                epoch,
            } => {
                self.take_role(*service_set, *role, *epoch);
                Ok(())
            }
            Op::Offer { service_set, offers } => {
                self.offer(*service_set, *offers);
                Ok(())
            }
            Op::PassOver {
                service_set,
                passes_over,
            } => {
                self.pass_over(*service_set, *passes_over);
                Ok(())
            }
            Op::Merges(service_set) => {
                self.merge(*service_set);
                Ok(())
            }
            Op::Drain { service_set, time } => {
                self.drain(*service_set, *time);
                Ok(())
            }
            // Words for the bridge.
            Op::Lost
            | Op::Refused
            | Op::Lacks(_)
            | Op::Merged { .. }
            | Op::MergeEnd(_)
            | Op::RoleDone { .. } => Ok(()),
        }
    }

    /// Whether the other chassis may say what ends in a service set. (One that a reload took away may be among them.)
    pub(super) fn check_standby(&self, set: ServiceSetId) -> Result<(), NotInstalled> {
        match self.is_standby(set) {
            true if self.is_unoffered(set) => Err(NotInstalled::Unoffered),
            true if self.passes_over(set) => Err(NotInstalled::Offered),
            true => Ok(()),
            false => Err(NotInstalled::NotStandby),
        }
    }

    /// Whether the other chassis may say what is there in a service set.
    pub(super) fn check_known(&self, set: ServiceSetId) -> Result<(), NotInstalled> {
        self.check_standby(set)?;
        self.set_plan(set).map(|_| ()).ok_or(NotInstalled::NotStandby)
    }

    /// The session that looks the same from inside.
    pub(super) fn find_like(&self, hot: &Hot, place: Place) -> Option<u32> {
        match hot.kind {
            KIND_66 => self.sessions.find_66(place, &hot.six_six().key(), hot.protocol),
            KIND_64 => {
                let wide = hot.six_four();
                let ports = (wide.inside_port, wide.outside_port());
                let of = (hot.service_set, wide.prefix);
                self.sessions
                    .find_64(place, wide.inside(), wide.back.src, ports, hot.protocol, of)
            }
            _ => {
                let out = &hot.tuples[Direction::Out as usize];
                self.sessions
                    .find(place, out, hot.protocol, Direction::Out, hot.service_set)
            }
        }
    }

    /// Whether a session is the same from outside, too.
    pub(super) fn is_same(&self, number: u32, hot: &Hot) -> bool {
        self.sessions.hot(number).is_some_and(|h| {
            h.service_set == hot.service_set
                && (hot.kind == KIND_66 || h.from_outside() == hot.from_outside())
        })
    }

    fn install_session(&mut self, record: &SessionRecord) -> Result<(), NotInstalled> {
        self.check_known(record.service_set)?;
        let hot = record_like(&record.key, record.service_set, record.protocol, record.last_seen);
        let (out, back) = self.sessions.places(&hot);
        if let Some(number) = self.find_like(&hot, out) {
            if self.is_same(number, &hot) && self.stands_as(number, record.flags) {
                self.update(number, record);
                return Ok(());
            }
            self.end_contrary(number);
        }
        let from_outside = hot.from_outside();
        let other = back.and_then(|place| {
            self.sessions
                .find(place, &from_outside, hot.protocol, Direction::In, 0)
        });
        if let Some(number) = other {
            self.end_contrary(number);
        }
        self.place_session(record, hot, out, back)?;
        self.counters.replica_installed += 1;
        Ok(())
    }

    /// Makes a session as the other chassis has it, with what it stands on; nothing is in the way of its ends. Its number.
    pub(super) fn place_session(
        &mut self,
        record: &SessionRecord,
        mut hot: Hot,
        out: Place,
        back: Option<Place>,
    ) -> Result<u32, NotInstalled> {
        let from_outside = hot.from_outside();
        if self.sessions.live() >= self.sessions.capacity() {
            return Err(NotInstalled::NoRoom);
        }
        let inside = self.ends_of(&hot).inside;
        let subscriber = self.subscriber_of(record.service_set, inside.0)?;
        // Counted first: what stands in its way may be the last that the subscriber has.
        self.hold_subscriber(subscriber);
        let anchor = match self.take_ground(record, &hot, inside, subscriber) {
            Ok(anchor) => anchor,
            Err(reason) => {
                self.leave_subscriber(subscriber);
                return Err(reason);
            }
        };
        hot.flags = record.flags & CARRIED_FLAGS | FLAG_REPLICATED;
        (hot.state, hot.timer) = (record.state, record.timer % TimerClass::COUNT as u8);
        let mut cold = new_cold(anchor, subscriber, record.term, record.pool, record.created);
        (cold.policy, cold.epoch) = (record.policy, self.replica.epoch);
        let address = (hot.flags & FLAG_ADDRESS_ENTRY != 0)
            .then(|| self.sessions.address_place(&from_outside, hot.protocol));
        let number = self.sessions.take(hot, cold);
        let entered = number.filter(|n| self.enter(out, back, address, *n));
        let Some(number) = entered else {
            if let Some(number) = number {
                self.sessions.free(number);
            }
            self.leave_ground(&hot, anchor, subscriber);
            self.leave_subscriber(subscriber);
            return Err(NotInstalled::NoRoom);
        };
        if !self.sessions.set_counts(number, record.packets, record.bytes) {
            self.counters.totals_stopped += 1;
        }
        let look = self.look_at(number, self.deadline(number));
        self.wheel.insert(self.sessions.links(), number, look);
        Ok(number)
    }

    /// What a subscriber with this inside address is called.
    pub(super) fn owner_of(&self, set: ServiceSetId, inside: u128) -> u128 {
        if crate::address::is_v4(inside) {
            return inside;
        }
        let mask = self.set_plan(set).map_or(u128::MAX, |p| p.subscriber_mask);
        inside & mask
    }

    /// The subscriber of an inside address, made if there is none.
    pub(super) fn subscriber_of(&mut self, set: ServiceSetId, inside: u128) -> Result<u32, NotInstalled> {
        let owner = self.owner_of(set, inside);
        let place = self.subscribers.place(set, owner);
        self.subscribers
            .find_or_insert(place, set, owner)
            .ok_or(NotInstalled::NoRoom)
    }

    /// Keeps a subscriber while things of it may end, as a session does.
    pub(super) fn hold_subscriber(&mut self, number: u32) {
        if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.sessions += 1;
        }
    }

    /// Whether a session stands on the same kind of ground as the other chassis says, and still has it: one whose mapping went to
    /// another meanwhile is about to be purged, and no word of the other chassis would save it.
    pub(super) fn stands_as(&self, number: u32, flags: u16) -> bool {
        const GROUND: u16 = FLAG_OWNS_PORT | FLAG_ADDRESS_ONLY | FLAG_FREE_STANDING;
        self.sessions
            .hot(number)
            .is_some_and(|h| (h.flags ^ flags) & GROUND == 0)
            && !self.stands_on_lost_mapping(number)
    }

    pub(super) fn stands_on_lost_mapping(&self, number: u32) -> bool {
        let (Some(hot), Some(cold)) = (self.sessions.hot(number), self.sessions.cold(number)) else {
            return false;
        };
        has_mapping(hot.flags) && self.mappings.get(cold.anchor).is_some_and(Mapping::is_lost)
    }

    /// Ends a session that contradicts what the other chassis says.
    pub(super) fn end_contrary(&mut self, number: u32) {
        self.counters.replica_conflicts += 1;
        self.end(number, EndReason::Contrary);
    }

    /// What the other chassis says anew of a session that is known.
    fn update(&mut self, number: u32, record: &SessionRecord) {
        let epoch = self.replica.epoch;
        let Some(hot) = self.sessions.hot_mut(number) else {
            return;
        };
        let timer = record.timer % TimerClass::COUNT as u8;
        let moves = hot.timer != timer || hot.flags & FLAG_REPLICATED == 0;
        let answered = hot.flags & FLAG_UNANSWERED != 0 && record.flags & FLAG_UNANSWERED == 0;
        (hot.state, hot.timer, hot.last_seen) = (record.state, timer, record.last_seen.0);
        hot.flags |= FLAG_REPLICATED;
        if answered {
            hot.flags &= !FLAG_UNANSWERED;
        }
        let stands_on_mapping = has_mapping(hot.flags);
        let Some(cold) = self.sessions.cold_mut(number) else {
            return;
        };
        (cold.created, cold.epoch) = (record.created.0, epoch);
        (cold.term, cold.policy, cold.pool) = (record.term, record.policy, record.pool);
        let anchor = cold.anchor;
        if stands_on_mapping {
            if answered && let Some(mapping) = self.mappings.get_mut(anchor) {
                mapping.hold();
            }
            self.confirm_mapping(anchor);
        }
        if !self.sessions.set_counts(number, record.packets, record.bytes) {
            self.counters.totals_stopped += 1;
        }
        if moves {
            let look = self.look_at(number, self.now);
            self.wheel.remove(self.sessions.links(), number);
            self.wheel.insert(self.sessions.links(), number, look);
        }
        self.counters.replica_updated += 1;
    }

    fn install_mapping(&mut self, record: &MappingRecord) -> Result<(), NotInstalled> {
        self.check_known(record.service_set)?;
        let subscriber = self.subscriber_of(record.service_set, record.inside)?;
        self.hold_subscriber(subscriber);
        let result = self.mapping_for(record, subscriber);
        if let Ok(number) = result {
            self.keep_mapping(number);
        }
        self.leave_subscriber(subscriber);
        result.map(|_| ())
    }
}

/// What a session's record says of the mapping it stands on.
pub(super) fn mapping_of(
    record: &SessionRecord,
    hot: &Hot,
    inside: (u128, u16),
    whole: bool,
) -> MappingRecord {
    let back = hot.from_outside();
    let (inside_port, public_port, protocol) = match whole {
        true => (0, 0, crate::mapping::WHOLE_ADDRESS),
        false => (inside.1, back.dport, hot.protocol),
    };
    MappingRecord {
        inside: inside.0,
        inside_port,
        public_port,
        public: back.dst,
        service_set: record.service_set,
        pool: record.pool,
        protocol,
        filtering: record.filtering,
        prefix: record.mapping_prefix,
    }
}
