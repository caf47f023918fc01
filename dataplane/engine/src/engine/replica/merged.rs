//! The account of a merge: what came of what the other chassis offers, by service set, each thing that is refused once.
//!
//! ```text
//!   Merges --> counted by service set --BulkEnd, or the next BulkBegin--> Merged of each that had something, MergeEnd
//! ```
//!
//! An offer that breaks off is reported as far as it came. It comes again from its begin, so what is refused is remembered, and not
//! counted once more.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Engine;
use crate::program::ServiceSetId;
use crate::replica::{Merge, Op};

/// Things refused that are remembered; of more than these, those that come again count again.
const REFUSED_MAX: usize = 65_536;
/// Service sets with numbers, and reports that wait for room. Of more service sets in one merge only the counters tell.
const SETS_MAX: usize = 1024;

/// What is merged, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// By service set, of those that had something.
    now: Vec<(ServiceSetId, Merge)>,
    /// Checksums of what was refused, with its service set and the number of the bulk that told it last.
    refused: HashMap<u64, (ServiceSetId, u16)>,
    /// The bulk that is merged.
    bulk: u16,
    /// To be reported.
    done: VecDeque<Op>,
    /// What is taken is not of a merge; whether something of it was refused.
    late: Option<bool>,
}

impl Merging {
    /// Room for all of it, so that a merge takes no memory between bursts.
    pub fn reserve(&mut self) {
        self.now.reserve_exact(SETS_MAX);
        self.refused.reserve(REFUSED_MAX);
        self.done.reserve_exact(2 * SETS_MAX);
    }

    pub fn is_reported(&self) -> bool {
        self.done.is_empty()
    }

    /// A bulk that is merged has begun.
    pub const fn begin(&mut self, bulk: u16) {
        self.bulk = bulk;
    }

    /// What is taken from now on is not of a merge.
    pub const fn pause(&mut self) {
        self.late = Some(false);
    }

    /// It is again. Whether something was refused meanwhile.
    pub const fn resume(&mut self) -> bool {
        matches!(self.late.take(), Some(true))
    }

    pub const fn is_paused(&self) -> bool {
        self.late.is_some()
    }

    /// Something is refused. Whether that is of a merge.
    pub const fn refuse(&mut self) -> bool {
        if let Some(is_refused) = &mut self.late {
            *is_refused = true;
        }
        self.late.is_none()
    }

    /// The numbers of a service set.
    pub fn of(&mut self, set: ServiceSetId) -> Option<&mut Merge> {
        if self.is_paused() {
            return None;
        }
        let at = self.now.iter().position(|(known, _)| *known == set);
        if at.is_none() && self.now.len() < SETS_MAX {
            self.now.push((set, Merge::default()));
        }
        let at = at.or(self.now.len().checked_sub(1))?;
        let (known, merge) = self.now.get_mut(at)?;
        (*known == set).then_some(merge)
    }

    /// Whether something of a service set is refused for the first time in this merge.
    pub fn is_new(&mut self, set: ServiceSetId, refused: impl Hash) -> bool {
        if !self.refuse() {
            return false;
        }
        let mut sum = DefaultHasher::new();
        (set, refused).hash(&mut sum);
        let has_room = self.refused.len() < REFUSED_MAX;
        match self.refused.entry(sum.finish()) {
            Entry::Occupied(mut known) => {
                known.get_mut().1 = self.bulk;
                false
            }
            Entry::Vacant(vacant) => {
                if has_room {
                    vacant.insert((set, self.bulk));
                }
                true
            }
        }
    }

    /// A service set has another role: what comes of it next is of another merge.
    pub fn forget(&mut self, set: ServiceSetId) {
        self.now.retain(|(known, _)| *known != set);
        self.refused.retain(|_, (of, _)| *of != set);
    }

    /// The bulk is through, or broke off. Whether something came of it.
    pub fn end(&mut self, is_complete: bool) -> bool {
        let bulk = self.bulk;
        if is_complete {
            // Should this bulk come again, its answer was lost. What it did not tell any more is over.
            self.refused.retain(|_, (_, told)| *told == bulk);
        }
        let has_something = !self.now.is_empty();
        for (service_set, merge) in self.now.drain(..) {
            if self.done.len() < 2 * SETS_MAX - 1 {
                self.done.push_back(Op::Merged { service_set, merge });
            }
        }
        // Of several that wait, the last one says all.
        self.done.pop_back_if(|op| matches!(op, Op::MergeEnd(_)));
        self.done.push_back(Op::MergeEnd(bulk));
        has_something
    }
}

impl Engine {
    /// Counts something of a merge.
    pub(super) fn count_merged(&mut self, set: ServiceSetId, count: impl FnOnce(&mut Merge)) {
        if let Some(merge) = self.replica.merging.of(set) {
            count(merge);
        }
    }

    /// Reports what came of a merge.
    pub(super) fn tell_merged(&mut self) {
        while let Some(op) = self.replica.merging.done.front().copied() {
            if !self.push(op) {
                return;
            }
            self.replica.merging.done.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_counts_once_until_it_is_over() {
        let mut merging = Merging::default();
        merging.reserve();
        let room = (
            merging.now.capacity(),
            merging.refused.capacity(),
            merging.done.capacity(),
        );
        merging.begin(5);
        assert!(merging.is_new(1, 1) && merging.is_new(1, 2) && !merging.is_new(1, 1));
        assert!(merging.is_new(2, 1), "another service set's");
        assert!(!merging.end(false));
        merging.begin(6);
        assert!(!merging.is_new(1, 1), "it broke off, and comes again");
        assert!(!merging.is_new(2, 1));
        assert!(!merging.end(true));
        merging.begin(7);
        assert!(merging.is_new(1, 2), "6 did not tell it");
        merging.forget(1);
        assert!(merging.is_new(1, 1) && !merging.is_new(2, 1));
        for number in 0..2 * REFUSED_MAX as u64 {
            assert!(merging.is_new(1, (number, "much")));
        }
        for set in 0..2 * SETS_MAX as u16 {
            assert_eq!(merging.of(set).is_some(), usize::from(set) < SETS_MAX);
        }
        for bulk in 0..4 {
            merging.begin(bulk);
            assert!(merging.of(bulk).is_some());
            assert!(merging.end(false));
            assert_eq!(merging.done.back(), Some(&Op::MergeEnd(bulk)));
        }
        assert_eq!(
            room,
            (
                merging.now.capacity(),
                merging.refused.capacity(),
                merging.done.capacity()
            )
        );
    }
}
