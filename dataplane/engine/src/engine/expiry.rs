//! How sessions end: by time, by command, or because a reload took away what they stand on. And everything that is
//! done a little at a time between bursts.

use super::Engine;
use super::replica::has_mapping;
use crate::mapping::{Mapping, WHOLE_ADDRESS};
use crate::ports::PortClass;
use crate::program::{NONE, NatAction, Pool};
use crate::session::{
    Cold, Direction, FLAG_ADDRESS_ENTRY, FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_OWNS_PORT,
    FLAG_REPLICATED, FLAG_UNANSWERED, Hot, KIND_44, KIND_64, NO_RECORD,
};
use crate::ticks::Ticks;

/// Slots looked at per call while a purge runs.
const PURGE_STEP: u32 = 256;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Idle for its timeout.
    Expired,
    /// An operator cleared it.
    Cleared,
    /// A reload took its public address or its service set away.
    Purged,
    /// The policies of a later commit refuse it.
    Refused,
    /// The other chassis, which is primary, says that it ended.
    Told,
    /// It contradicts what the other chassis, which is primary, says is there.
    Contrary,
    /// The other chassis, which is primary, told all it has, and it was not among that.
    Swept,
}

impl Engine {
    /// Does what time asks for: ends at most `budget` sessions that timed out, moves port blocks' timers, goes on with a
    /// purge. Call it every few bursts, and when idle.
    pub fn maintain(&mut self, now: Ticks, budget: usize) {
        self.now = self.now.max(now);
        for _ in 0..budget {
            let Some(number) = self.wheel.expire_one(self.sessions.links(), self.now) else {
                break;
            };
            let deadline = self.deadline(number);
            if self.replicates && self.look(number, deadline) {
                continue;
            }
            if deadline.0 <= self.now.0 {
                self.end_unlinked(number, EndReason::Expired);
            } else {
                self.wheel.insert(self.sessions.links(), number, deadline);
            }
        }
        for shard in 0..self.ports.count() {
            let subscribers = &mut self.subscribers;
            if let Some(subscriber) = self.ports.tick(shard, &self.program, subscribers, self.now) {
                self.drop_subscriber_if_idle(subscriber);
            }
        }
        if self.purge != NO_RECORD {
            self.purge_step();
        }
        if self.replicates {
            self.replicate();
        }
    }

    /// Whether a purge is still under way.
    #[must_use]
    pub fn is_purging(&self) -> bool {
        self.purge != NO_RECORD
    }

    /// When a session times out if no packet comes.
    pub(super) fn deadline(&self, number: u32) -> Ticks {
        let Some(hot) = self.sessions.hot(number) else {
            return self.now;
        };
        let (timeout, not_before) = self.set_plan(hot.service_set).map_or((0, 0), |p| {
            (
                p.timeouts[usize::from(hot.timer) % p.timeouts.len()],
                p.not_before,
            )
        });
        // Idle times count from a takeover at the earliest: the other chassis need not have told of each packet.
        Ticks(hot.last_seen.max(not_before)).plus(Ticks(timeout))
    }

    /// Sessions lost their ground: a purge looks for them. One that runs goes on first, as it may be behind them already.
    pub(super) fn purge_more(&mut self) {
        if self.purge == NO_RECORD {
            self.purge = 0;
        } else {
            self.purge_again = true;
        }
    }

    fn purge_step(&mut self) {
        let end = self
            .sessions
            .high_water()
            .min(self.purge.saturating_add(PURGE_STEP));
        for number in self.purge..end {
            if !self.sessions.hot(number).is_some_and(Hot::is_session) {
                continue;
            }
            if self.has_lost_ground(number) {
                self.end(number, EndReason::Purged);
            } else if self.rearm {
                self.rearm(number);
            }
        }
        self.purge = if end >= self.sessions.high_water() {
            self.rearm = false;
            if std::mem::take(&mut self.purge_again) {
                0
            } else {
                NO_RECORD
            }
        } else {
            end
        };
    }

    /// Whether a session's service set is gone, or its public address is in another pool than it was taken from, or a static
    /// mapping has its public end.
    fn has_lost_ground(&self, number: u32) -> bool {
        let (Some(hot), Some(cold)) = (self.sessions.hot(number), self.sessions.cold(number)) else {
            return false;
        };
        let Some(plan) = self.set_plan(hot.service_set) else {
            return true;
        };
        if hot.kind == KIND_64 {
            let prefix = hot.six_four().prefix;
            if !plan.prefixes.iter().any(|(id, _)| *id == prefix) {
                return true;
            }
        }
        if hot.flags & FLAG_FREE_STANDING != 0 {
            return self.has_lost_rule(hot, cold);
        }
        if has_mapping(hot.flags) && self.mappings.get(cold.anchor).is_some_and(Mapping::is_lost) {
            return true;
        }
        let back = hot.from_outside();
        let now_in = self.program.public_space.find(back.dst).map(|f| f.pool);
        // Packets from outside to a static mapping's public end are its subscriber's, and perhaps another worker's.
        let is_static = self
            .program
            .statics
            .by_public(back.dst, hot.protocol, back.dport)
            .is_some();
        is_static || now_in != Some(cold.pool)
    }

    /// Whether what a session without a mapping or port stands on is gone: its static mapping, or its firewall.
    fn has_lost_rule(&self, hot: &Hot, cold: &Cold) -> bool {
        let Some(set) = self.service_set(hot.service_set) else {
            return true;
        };
        // What is not translated has a session for the firewall's sake.
        if cold.term == NONE {
            return set.firewall.is_none();
        }
        if let Some(term) = set.terms.iter().find(|t| t.number == cold.term) {
            let ends = self.ends_of(hot);
            let map = match term.action {
                NatAction::NoTranslation if set.firewall.is_some() => None,
                NatAction::DestinationOnly => term.destination.as_ref(),
                _ => return true,
            };
            let real = map
                .and_then(|m| m.map(ends.seen.0 as u32))
                .map_or(ends.seen.0, crate::address::of_v4);
            return hot.kind != KIND_44 || real != ends.outside.0 || ends.public != ends.inside;
        }
        let back = hot.from_outside();
        let found = self.program.statics.by_public(back.dst, hot.protocol, back.dport);
        found.is_none_or(|f| {
            (f.mapping.service_set, f.mapping.number) != (hot.service_set, cold.term)
                || (f.address, f.port) != inside_end(hot)
        })
    }

    /// Ends a session that is linked in the wheel.
    pub(super) fn end(&mut self, number: u32, reason: EndReason) {
        self.wheel.remove(self.sessions.links(), number);
        self.end_unlinked(number, reason);
    }

    /// Ends a session that has left the wheel: out of the index, its port, mapping and subscriber updated.
    pub(super) fn end_unlinked(&mut self, number: u32, reason: EndReason) {
        let (Some(hot), Some(cold)) = (
            self.sessions.hot(number).copied(),
            self.sessions.cold(number).copied(),
        ) else {
            return;
        };
        let (out, from_outside) = self.sessions.places(&hot);
        self.sessions.leave(out, number);
        let back = hot.from_outside();
        if let Some(place) = from_outside {
            self.sessions.leave(place, number);
        }
        if hot.flags & FLAG_ADDRESS_ENTRY != 0 {
            let place = self.sessions.address_place(&back, hot.protocol);
            self.sessions.leave(place, number);
        }
        if hot.flags & FLAG_REPLICATED != 0 {
            self.tell_end(&hot);
        }
        self.sessions.free(number);
        match reason {
            EndReason::Expired => self.counters.sessions_expired += 1,
            EndReason::Cleared => self.counters.sessions_cleared += 1,
            EndReason::Purged => self.counters.sessions_purged += 1,
            EndReason::Refused => self.counters.sessions_refused += 1,
            EndReason::Told | EndReason::Contrary | EndReason::Swept => self.counters.replica_ended += 1,
        }
        self.leave_ground(&hot, cold.anchor, cold.subscriber);
        self.leave_subscriber(cold.subscriber);
    }

    /// Gives back what a session stands on.
    pub(super) fn leave_ground(&mut self, hot: &Hot, anchor: u32, subscriber: u32) {
        let back = hot.from_outside();
        if hot.flags & FLAG_ADDRESS_ONLY != 0 {
            self.config
                .claims
                .release(back.dst, back.src, hot.protocol, self.config.worker);
        } else if hot.flags & FLAG_OWNS_PORT != 0 {
            self.release_port(anchor, hot.protocol, back.dport, subscriber);
        } else if has_mapping(hot.flags) {
            self.leave_mapping(anchor, hot.flags);
        }
    }

    /// One session less on a mapping; the mapping ends, and its port is freed, when that was the last.
    pub(super) fn leave_mapping(&mut self, number: u32, session_flags: u16) {
        let Some(mapping) = self.mappings.get_mut(number) else {
            return;
        };
        mapping.leave(session_flags & FLAG_UNANSWERED == 0);
        let mapping = *mapping;
        if mapping.sessions != 0 {
            return;
        }
        // What the other chassis has ends when it says so.
        if mapping.is_known() && !mapping.is_lost() && self.is_standby_of_mapping(&mapping) {
            self.keep_mapping(number);
        } else {
            self.end_mapping(number);
        }
    }

    fn is_standby_of_mapping(&self, mapping: &Mapping) -> bool {
        let subscriber = self.subscribers.get(mapping.subscriber);
        subscriber.is_some_and(|s| self.is_standby(s.service_set))
    }

    /// Ends a mapping that has no sessions.
    pub(super) fn end_mapping(&mut self, number: u32) {
        let Some(mapping) = self.mappings.get(number).copied() else {
            return;
        };
        let Some(subscriber) = self.subscribers.get(mapping.subscriber).copied() else {
            return;
        };
        self.mappings.remove(number, &subscriber);
        self.counters.mappings_ended += 1;
        if mapping.is_lost() && !cfg!(feature = "plant-double-free") {
            return;
        }
        if mapping.is_known() {
            self.tell_mapping_end(&mapping, &subscriber);
        }
        match self.program.public_space.index_of(mapping.public) {
            Some(index) => {
                self.release_port(index, mapping.protocol, mapping.public_port, mapping.subscriber);
            }
            None => self.counters.port_release_mismatch += 1,
        }
    }

    /// One session less of a subscriber, who goes when nothing is left.
    pub(super) fn leave_subscriber(&mut self, number: u32) {
        if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.sessions = subscriber.sessions.saturating_sub(1);
        }
        self.drop_subscriber_if_idle(number);
    }

    /// Gives back a public port, or with [`WHOLE_ADDRESS`] as protocol an address.
    pub(super) fn release_port(&mut self, address_index: u32, protocol: u8, port: u16, subscriber: u32) {
        let space = &self.program.public_space;
        let pool: Option<&Pool> = space.address(address_index).and_then(|(_, id)| {
            self.program
                .pools
                .get(usize::from(*self.pools.get(usize::from(id))?))
        });
        // What is of this chassis' own time as primary, and offered, nobody else rests.
        let rests = protocol == WHOLE_ADDRESS && pool.is_some_and(|pool| self.is_unoffered_of(pool.id));
        let subscribers = &mut self.subscribers;
        let ports = self.ports.of_subscriber_mut(subscribers, subscriber);
        let released = match PortClass::of_protocol(protocol) {
            Some(class) => ports.release(
                space,
                pool,
                address_index,
                class,
                port,
                subscriber,
                subscribers,
                self.now,
            ),
            None if protocol == WHOLE_ADDRESS => ports.release_address(
                space,
                pool,
                rests,
                address_index,
                subscriber,
                subscribers,
                self.now,
            ),
            None => return,
        };
        if !released {
            self.counters.port_release_mismatch += 1;
        }
    }

    pub(super) fn drop_subscriber_if_idle(&mut self, number: u32) {
        let Some(subscriber) = self.subscribers.get(number).filter(|s| s.is_idle()).copied() else {
            return;
        };
        if subscriber.paired != NO_RECORD {
            self.ports
                .of_mut(&subscriber.address())
                .unpair(subscriber.paired, subscriber.pool);
        }
        self.subscribers.remove_if_idle(number);
    }
}

/// The inside end of a session with IPv4 outside.
fn inside_end(hot: &Hot) -> (u128, u16) {
    if hot.kind == KIND_64 {
        let wide = hot.six_four();
        return (wide.inside(), wide.inside_port);
    }
    let out = hot.tuples[Direction::Out as usize];
    (crate::address::of_v4(out.src), out.sport)
}
