//! What waits beside a full window: in order, but only the last word about each session.
//!
//! An update of a session takes the place of one that waits, and so does its end: what happened in between nobody needs to know.
//! A session that begins after its end waits behind that, for in between its port may have been another's. Nothing moves
//! across a barrier (the beginning and end of a bulk, a release): what is told anew must come after its beginning.
//!
//! Leases go first: workers wait for them, and what else is told of an extent does not depend on when its lease is asked for or given
//! back. Among themselves they keep their order, and the beginning of a bulk none overtakes: the peer takes what comes after
//! that for all there are.

use std::collections::{HashMap, VecDeque};

use tandem_engine::replica::{Op, SessionKey};

use crate::wire::Record;

/// Names a session.
type Name = (SessionKey, u16, u8);

/// What waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub record: Record,
    /// When it was taken from the chassis; of several that became one, the first.
    pub taken_ms: u64,
    /// Of a lease offer: its serial number. Of what is about redundancy sets: the number of the connection it was said on.
    pub serial: u64,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Pending {
    items: VecDeque<Item>,
    /// Leases that go before `items`.
    leases: VecDeque<Item>,
    /// Of `items`, so many no lease may overtake: other leases, and beginnings of bulks.
    heads: usize,
    /// Position of the front, counted from the beginning of time.
    first: u64,
    /// Positions of sessions' updates that may be replaced.
    newest: HashMap<Name, u64>,
}

fn name(record: &Record) -> Option<(Name, bool)> {
    match record {
        Record::Op(Op::Session(s)) => Some(((s.key, s.service_set, s.protocol), false)),
        Record::Op(Op::Close {
            key,
            service_set,
            protocol,
        }) => Some(((*key, *service_set, *protocol), true)),
        _ => None,
    }
}

const fn is_barrier(record: &Record) -> bool {
    matches!(
        record,
        Record::BulkBegin(..) | Record::BulkEnd { .. } | Record::Released { .. }
    )
}

const fn stops_leases(record: &Record) -> bool {
    matches!(record, Record::Lease(_) | Record::BulkBegin(..))
}

impl Pending {
    pub fn len(&self) -> usize {
        self.items.len() + self.leases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.leases.is_empty()
    }

    /// When the oldest was taken.
    pub fn oldest(&self) -> Option<u64> {
        let fronts = [self.items.front(), self.leases.front()];
        fronts.into_iter().flatten().map(|item| item.taken_ms).min()
    }

    /// Appends, or replaces the word about the same session that waits: true then.
    pub fn push(&mut self, item: Item) -> bool {
        if self.heads == 0 && matches!(item.record, Record::Lease(_)) {
            self.leases.push_back(item);
            return false;
        }
        self.heads += usize::from(stops_leases(&item.record));
        if is_barrier(&item.record) {
            self.newest.clear();
        }
        let end = self.first + self.items.len() as u64;
        if let Some((name, closes)) = name(&item.record) {
            let waits = self.newest.get(&name).and_then(|at| at.checked_sub(self.first));
            let place = waits.and_then(|at| self.items.get_mut(at as usize));
            if let Some(place) = place {
                place.record = item.record;
                if closes {
                    self.newest.remove(&name);
                }
                return true;
            }
            if !closes {
                self.newest.insert(name, end);
            }
        }
        self.items.push_back(item);
        false
    }

    /// The front.
    pub fn front(&self) -> Option<&Item> {
        self.leases.front().or_else(|| self.items.front())
    }

    /// Drops the front.
    pub fn pop(&mut self) {
        if self.leases.pop_front().is_some() {
            return;
        }
        let Some(item) = self.items.pop_front() else {
            return;
        };
        self.heads -= usize::from(stops_leases(&item.record));
        if let Some((name, false)) = name(&item.record)
            && self.newest.get(&name) == Some(&self.first)
        {
            self.newest.remove(&name);
        }
        self.first += 1;
        if self.items.is_empty() && self.items.capacity() > KEPT {
            // What a stalled peer cost is given back when it caught up.
            self.items.shrink_to(KEPT);
            self.newest.shrink_to(KEPT);
        }
    }
}

/// Places kept when nothing waits.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_engine::replica::{ObjectTypes, SessionRecord};
    use tandem_engine::session::Tuple4;
    use tandem_engine::ticks::Ticks;

    fn key(n: u16) -> SessionKey {
        let out = Tuple4 {
            sport: n,
            ..Tuple4::default()
        };
        SessionKey::V4 {
            out,
            back: out.reversed(),
        }
    }

    fn item(record: Record, taken_ms: u64) -> Item {
        Item {
            record,
            taken_ms,
            serial: 0,
        }
    }

    fn session(n: u16, state: u8) -> Record {
        Record::Op(Op::Session(SessionRecord {
            key: key(n),
            service_set: 0,
            protocol: 6,
            state,
            timer: 0,
            filtering: 0,
            flags: 0,
            term: 0,
            policy: 0,
            pool: 0,
            mapping_prefix: 0,
            created: Ticks(0),
            last_seen: Ticks(0),
            packets: [0; 2],
            bytes: [0; 2],
        }))
    }

    fn close(n: u16) -> Record {
        Record::Op(Op::Close {
            key: key(n),
            service_set: 0,
            protocol: 6,
        })
    }

    fn drain(pending: &mut Pending) -> Vec<(Record, u64)> {
        let mut all = Vec::new();
        while let Some(item) = pending.front() {
            all.push((item.record, item.taken_ms));
            pending.pop();
        }
        assert!(pending.newest.is_empty());
        all
    }

    #[test]
    fn the_last_word_about_a_session_takes_the_first_ones_place() {
        let mut pending = Pending::default();
        assert!(!pending.push(item(session(1, 1), 10)));
        assert!(!pending.push(item(session(2, 1), 11)));
        assert!(pending.push(item(session(1, 3), 12)));
        assert!(pending.push(item(close(2), 13)));
        assert_eq!(drain(&mut pending), [(session(1, 3), 10), (close(2), 11)]);
    }

    #[test]
    fn a_session_that_begins_again_waits_behind_its_end() {
        let mut pending = Pending::default();
        for record in [
            session(1, 1),
            close(1),
            session(2, 1),
            session(1, 2),
            session(1, 3),
        ] {
            pending.push(item(record, 0));
        }
        let records: Vec<_> = drain(&mut pending).into_iter().map(|(r, _)| r).collect();
        assert_eq!(records, [close(1), session(2, 1), session(1, 3)]);
    }

    #[test]
    fn leases_go_first_but_not_before_each_other_or_the_beginning_of_a_bulk() {
        use tandem_engine::replica::{Lease, LeaseChange};
        let lease = |extent| Lease { public: 5, extent };
        let offer = |extent| Record::Lease(LeaseChange::Offer(lease(extent)));
        let withdraw = |extent| Record::Lease(LeaseChange::Withdraw(lease(extent)));
        let mut pending = Pending::default();
        for record in [session(1, 1), close(2), offer(1), withdraw(1)] {
            pending.push(item(record, 0));
        }
        assert_eq!(pending.len(), 4);
        for record in [
            Record::BulkBegin(7, ObjectTypes::ALL, false),
            offer(1),
            session(1, 2),
            offer(2),
        ] {
            pending.push(item(record, 1));
        }
        let records: Vec<_> = drain(&mut pending).into_iter().map(|(r, _)| r).collect();
        let behind = [
            Record::BulkBegin(7, ObjectTypes::ALL, false),
            offer(1),
            session(1, 2),
            offer(2),
        ];
        let all: Vec<_> = [offer(1), withdraw(1), session(1, 1), close(2)]
            .into_iter()
            .chain(behind)
            .collect();
        assert_eq!(records, all);
        assert!(pending.is_empty() && pending.oldest().is_none());
        // With the bulk's beginning gone, they go first again.
        pending.push(item(session(1, 1), 3));
        pending.push(item(offer(3), 2));
        assert_eq!(
            (pending.front().map(|i| i.record), pending.oldest()),
            (Some(offer(3)), Some(2))
        );
    }

    #[test]
    fn an_end_without_a_beginning_stays_alone() {
        let mut pending = Pending::default();
        assert!(!pending.push(item(close(1), 0)));
        assert!(!pending.push(item(session(1, 1), 0)));
        assert!(pending.push(item(close(1), 0)));
        assert_eq!(drain(&mut pending).len(), 2);
    }

    #[test]
    fn nothing_moves_across_a_barrier_or_over_what_is_gone() {
        let mut pending = Pending::default();
        pending.push(item(session(1, 1), 0));
        pending.push(item(Record::BulkBegin(7, ObjectTypes::ALL, false), 0));
        assert!(!pending.push(item(session(1, 2), 0)));
        pending.pop();
        pending.pop();
        assert!(pending.push(item(session(1, 3), 0)));
        pending.pop();
        assert!(!pending.push(item(session(1, 4), 0)));
        assert_eq!(pending.len(), 1);
    }
}
