//! Putting out: sessions that came of age, changed or ended, and what became of mappings and ports.

use rtrb::Producer;

use super::{BACKLOG, Engine};
use crate::mapping::Mapping;
use crate::mem::prefetch_to_write;
use crate::program::NONE;
use crate::replica::{CARRIED_FLAGS, MappingRecord, Op, SessionKey, SessionRecord};
use crate::session::{
    Cold, Direction, FLAG_ADDRESS_ONLY, FLAG_DIRTY, FLAG_FREE_STANDING, FLAG_OWNS_PORT, FLAG_REPLICATED, Hot,
    KIND_64, KIND_66,
};
use crate::subscriber::Subscriber;
use crate::ticks::Ticks;

/// How many operations ahead the ring's memory is asked for.
const AHEAD: usize = 8;

/// Asks for a place in the ring some operations before it is written: the other core has read it since, and has it.
#[inline]
fn ask_ahead(outbox: &mut Producer<Op>) {
    let Ok(mut places) = outbox.write_chunk_uninit(AHEAD) else {
        return;
    };
    let (first, second) = places.as_mut_slices();
    if let Some(place) = second.last().or(first.last()) {
        prefetch_to_write(place);
    }
}

/// How the other chassis finds a session.
pub(super) fn key_of(hot: &Hot) -> SessionKey {
    match hot.kind {
        KIND_66 => SessionKey::V6(hot.six_six().key()),
        KIND_64 => {
            let wide = hot.six_four();
            SessionKey::Nat64 {
                inside: wide.inside(),
                inside_port: wide.inside_port,
                outside_port: wide.outside_port(),
                prefix: wide.prefix,
                back: wide.back,
            }
        }
        _ => SessionKey::V4 {
            out: hot.tuples[Direction::Out as usize],
            back: hot.tuples[Direction::In as usize],
        },
    }
}

/// Whether a session stands on a mapping.
pub(in crate::engine) const fn has_mapping(flags: u16) -> bool {
    flags & (FLAG_OWNS_PORT | FLAG_ADDRESS_ONLY | FLAG_FREE_STANDING) == 0
}

impl Engine {
    /// A change of a session that the other chassis knows.
    #[inline]
    pub(in crate::engine) fn changed(&mut self, number: u32) {
        let is_known = self
            .sessions
            .hot(number)
            .is_some_and(|h| h.flags & FLAG_REPLICATED != 0);
        if self.replicates && is_known {
            self.tell_if_primary(number);
        }
    }

    /// Tells of a session as it now is, if this chassis is primary of its service set.
    pub(super) fn tell_if_primary(&mut self, number: u32) {
        let set = self.sessions.hot(number).map_or(NONE, |h| h.service_set);
        let leaves_it_to_the_bulk = cfg!(feature = "plant-bulk-misses-change") && self.replica.bulk.is_some();
        if self.replica.listening && !self.is_standby(set) && !leaves_it_to_the_bulk {
            self.tell(number);
        }
    }

    /// Tells of a session as it now is, or marks it to be told later. Whether it is told.
    pub(super) fn tell(&mut self, number: u32) -> bool {
        self.tell_ports();
        let Some(record) = self.record_of(number) else {
            return false;
        };
        if has_mapping(record.flags) {
            let anchor = self.sessions.cold(number).map_or(NONE.into(), |c| c.anchor);
            if let Some(mapping) = self.mappings.get_mut(anchor) {
                mapping.set_known(true);
            }
        }
        let told = self.replica.backlog.is_empty() && self.push(Op::Session(record));
        let Some(hot) = self.sessions.hot_mut(number) else {
            return told;
        };
        // Known from the moment that it is to be told: of its end, too.
        hot.flags |= FLAG_REPLICATED;
        let was_marked = hot.flags & FLAG_DIRTY != 0;
        if told {
            hot.flags &= !FLAG_DIRTY;
            self.replica.marked -= u32::from(was_marked);
        } else if !was_marked {
            hot.flags |= FLAG_DIRTY;
            self.replica.marked += 1;
            self.counters.replica_dirty += 1;
        }
        told
    }

    /// Tells that a session ended.
    pub(in crate::engine) fn tell_end(&mut self, hot: &Hot) {
        self.replica.marked -= u32::from(hot.flags & FLAG_DIRTY != 0);
        if self.is_standby(hot.service_set) {
            return;
        }
        self.put(Op::Close {
            key: key_of(hot),
            service_set: hot.service_set,
            protocol: hot.protocol,
        });
    }

    /// Tells that a mapping ended.
    pub(in crate::engine) fn tell_mapping_end(&mut self, mapping: &Mapping, of: &Subscriber) {
        if !self.is_standby(of.service_set) {
            self.put(Op::MappingClose(self.mapping_record(mapping, of)));
        }
    }

    /// Tells which extents and blocks were taken and given back.
    pub(super) fn tell_ports(&mut self) {
        while let Some(op) = self.next_told() {
            self.put(op);
        }
        // More happened between two looks than an allocator keeps.
        if self.ports.take_told_lost() && self.replica.listening {
            self.lose();
        }
    }

    /// Something cannot be told any more: only a bulk makes up for it.
    fn lose(&mut self) {
        self.replica.lost = true;
        self.counters.replica_lost += 1;
    }

    /// Puts out what must not get lost: it waits in the backlog when there is no room.
    pub(super) fn put(&mut self, op: Op) {
        if !self.replica.listening {
            return;
        }
        if self.replica.backlog.is_empty() && self.push(op) {
            return;
        }
        if cfg!(feature = "plant-lost-close") && matches!(op, Op::Close { .. }) {
            return;
        }
        if self.replica.backlog.len() < BACKLOG {
            self.replica.backlog.push_back(op);
            self.counters.replica_backlogged += 1;
        } else {
            self.lose();
        }
    }

    /// Puts an operation on the outbox; false when that is full.
    pub(super) fn push(&mut self, op: Op) -> bool {
        let told = self.replica.outbox.as_mut().is_some_and(|outbox| {
            let told = outbox.push(op).is_ok();
            ask_ahead(outbox);
            told
        });
        // A mark goes to nobody.
        self.counters.replica_emitted += u64::from(told && !matches!(op, Op::Mark(_)));
        told
    }

    /// Puts out what waits; whether nothing waits any more.
    pub(super) fn drain_backlog(&mut self) -> bool {
        while let Some(op) = self.replica.backlog.front().copied() {
            if !self.push(op) {
                return false;
            }
            self.replica.backlog.pop_front();
        }
        if self.replica.lost && self.push(Op::Lost) {
            self.replica.lost = false;
        }
        !self.replica.lost
    }

    /// A session as the other chassis is told of it.
    pub(super) fn record_of(&self, number: u32) -> Option<SessionRecord> {
        let hot = self.sessions.hot(number).filter(|h| h.is_session())?;
        let cold: &Cold = self.sessions.cold(number)?;
        let mapping = has_mapping(hot.flags)
            .then(|| self.mappings.get(cold.anchor))
            .flatten();
        let [(packets_out, bytes_out), (packets_in, bytes_in)] =
            [Direction::Out, Direction::In].map(|d| self.sessions.counts(number, d));
        Some(SessionRecord {
            key: key_of(hot),
            service_set: hot.service_set,
            protocol: hot.protocol,
            state: hot.state,
            timer: hot.timer,
            filtering: mapping.map_or(0, |m| m.filtering_type() as u8),
            flags: hot.flags & CARRIED_FLAGS,
            term: cold.term,
            policy: cold.policy,
            pool: cold.pool,
            mapping_prefix: mapping.map_or(0, |m| m.prefix() as u8),
            created: Ticks(cold.created),
            last_seen: Ticks(hot.last_seen),
            packets: [packets_out, packets_in],
            bytes: [bytes_out, bytes_in],
        })
    }

    /// A mapping as the other chassis is told of it.
    pub(super) fn mapping_record(&self, mapping: &Mapping, of: &Subscriber) -> MappingRecord {
        let found = self.program.public_space.find(mapping.public);
        MappingRecord {
            inside: mapping.inside(of),
            inside_port: mapping.inside_port,
            public_port: mapping.public_port,
            public: mapping.public,
            service_set: of.service_set,
            pool: found.map_or(NONE, |f| f.pool),
            protocol: mapping.protocol,
            filtering: mapping.filtering_type() as u8,
            prefix: mapping.prefix() as u8,
        }
    }
}
