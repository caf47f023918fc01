//! Installing several operations: the lines that they will look at are asked for before the first is installed, as for packets.
//!
//! A standby is told of sessions in the order in which they began, so each one's lines are somewhere else in the tables: one after
//! the other, the core would wait for memory most of the time.

use super::Engine;
use super::emit::has_mapping;
use super::install::record_like;
use crate::index::Place;
use crate::replica::{Op, SessionKey};
use crate::session::FLAG_REPLICATED;
use crate::ticks::Ticks;

/// Operations looked at together: so many lines can be on their way.
const TOGETHER: usize = 16;

/// Where an operation about a session will look.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    out: Place,
    subscriber: Place,
}

impl Engine {
    /// Does what operations say, in their order, as [`Engine::install`] does for each; what is refused is counted.
    pub fn install_all(&mut self, ops: &[Op], now: Ticks) {
        for some in ops.chunks(TOGETHER) {
            let mut places = [None; TOGETHER];
            let mut records = 0;
            for (place, op) in places.iter_mut().zip(some) {
                *place = self.ask_for_places(op, &mut records);
            }
            for place in places.into_iter().flatten() {
                let _likely = self.sessions.prefetch_candidate(place.out);
                self.subscribers.prefetch_candidate(place.subscriber);
            }
            for op in some {
                // Counted, with its reason.
                let _refused = self.install(op, now);
            }
        }
    }

    /// Asks for the index lines of an operation about a session, and for a record that it may take.
    fn ask_for_places(&self, op: &Op, records: &mut u32) -> Option<Ahead> {
        let (key, set, protocol, flags) = match op {
            Op::Session(record) => {
                self.sessions.prefetch_free(*records);
                self.mappings.prefetch_free(*records);
                *records += 1;
                (&record.key, record.service_set, record.protocol, record.flags)
            }
            Op::Close {
                key,
                service_set,
                protocol,
            } => (key, *service_set, *protocol, FLAG_REPLICATED),
            _ => return None,
        };
        let hot = record_like(key, set, protocol, self.now);
        let (out, back) = self.sessions.places(&hot);
        self.sessions.prefetch_place(out);
        if let Some(back) = back {
            self.sessions.prefetch_place(back);
        }
        let (inside, port) = inside_of(key);
        if has_mapping(flags) {
            let outside = hot.from_outside();
            let mappings = &self.mappings;
            mappings.prefetch_place(mappings.inside_place(set, inside, port, protocol));
            mappings.prefetch_place(mappings.public_place(outside.dst, outside.dport, protocol));
        }
        let subscriber = self.subscribers.place(set, self.owner_of(set, inside));
        self.subscribers.prefetch_place(subscriber);
        Some(Ahead { out, subscriber })
    }
}

/// The inside end of a session.
const fn inside_of(key: &SessionKey) -> (u128, u16) {
    match key {
        SessionKey::V4 { out, .. } => (crate::address::of_v4(out.src), out.sport),
        SessionKey::Nat64 {
            inside, inside_port, ..
        } => (*inside, *inside_port),
        SessionKey::V6(key) => (key.inside, key.inside_port),
    }
}
