//! Extents that the other chassis gave back, and in which something is still in use here: a chassis' own sessions of the time when
//! it was primary, or what a sweep has not come to yet.
//!
//! Such an extent is marked. A running sweep takes it away when it comes to the extents, since no bulk confirms it any more; a walk
//! in slices looks at what is left of them until nothing of it is in use.

use super::{Engine, WALK_STEP};

/// The extents, by their places ([`crate::ports::Shards::extent_place`]).
#[derive(Debug, Default)]
pub(super) struct Leaving {
    marked: Vec<bool>,
    count: u32,
    /// Where the walk goes on.
    at: u32,
}

impl Leaving {
    pub fn reserve(&mut self, places: usize) {
        self.marked.resize(places, false);
    }

    fn set(&mut self, place: u32, leaves: bool) {
        if let Some(marked) = self.marked.get_mut(place as usize) {
            let was = std::mem::replace(marked, leaves);
            self.count = self.count + u32::from(leaves) - u32::from(was);
        }
    }

    fn is_marked(&self, place: u32) -> bool {
        self.marked.get(place as usize).is_some_and(|marked| *marked)
    }
}

impl Engine {
    /// Extents that the other chassis gave back, and in which something is still in use here. They go when that ends.
    #[must_use]
    pub const fn extents_leaving(&self) -> u32 {
        self.replica.leaving.count
    }

    /// The other chassis gave back an extent that is in use here.
    pub(super) fn extent_leaves(&mut self, place: u32) {
        self.replica.leaving.set(place, true);
        if let Some(epoch) = self.replica.extent_epochs.get_mut(place as usize) {
            *epoch = self.replica.epoch.wrapping_sub(1);
        }
    }

    /// The other chassis has an extent, or nobody here has one in this place any more.
    pub(super) fn extent_stays(&mut self, place: u32) {
        self.replica.leaving.set(place, false);
    }

    /// Goes on with the walk over what leaves.
    pub(super) fn end_leaving(&mut self) {
        if self.replica.leaving.count == 0 {
            return;
        }
        let places = self.ports.extents_end();
        let from = self.replica.leaving.at;
        let end = places.min(from.saturating_add(WALK_STEP));
        for place in from..end {
            if self.replica.leaving.is_marked(place) && self.has_left(place) {
                self.extent_stays(place);
            }
        }
        self.replica.leaving.at = if end >= places { 0 } else { end };
    }

    /// Gives up an extent if nothing of it is in use. Whether there is nothing to wait for: it is gone, or this chassis decides about
    /// it now.
    fn has_left(&mut self, place: u32) -> bool {
        let space = &self.program.public_space;
        let Some(record) = self.ports.extent(space, place) else {
            return true;
        };
        let allocator = self.ports.of_shard_mut(record.shard);
        let Some(allocator) = allocator.filter(|a| a.follows(record.pool)) else {
            return true;
        };
        let index = space.index_of(record.public);
        index.is_none_or(|index| allocator.drop_extent(space, index, usize::from(record.extent)))
    }
}
