//! Changes of leases that wait for the link, in their order, and which leases they are of: an acknowledgment that comes while
//! one waits is of something older.

use std::collections::{HashMap, VecDeque};

use tandem_engine::replica::{Lease, LeaseChange};

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    changes: VecDeque<LeaseChange>,
    /// How many there are of each lease; none has 0.
    of: HashMap<Lease, usize>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether something of this lease waits.
    pub fn has(&self, lease: Lease) -> bool {
        self.of.contains_key(&lease)
    }

    pub fn push(&mut self, change: LeaseChange) {
        *self.of.entry(lease(change)).or_default() += 1;
        self.changes.push_back(change);
    }

    pub fn pop(&mut self) -> Option<LeaseChange> {
        let change = self.changes.pop_front()?;
        let lease = lease(change);
        if let Some(count) = self.of.get_mut(&lease) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&lease);
            }
        }
        Some(change)
    }
}

fn lease(change: LeaseChange) -> Lease {
    match change {
        LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _) | LeaseChange::Withdraw(lease) => lease,
    }
}
