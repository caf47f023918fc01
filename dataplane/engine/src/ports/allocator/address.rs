//! What one worker knows of each public address, and of the pools they are in.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::public_space::EXTENTS_PER_ADDRESS;
use crate::view::PoolUse;

/// What is known of one public address on this worker.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(128))]
pub(super) struct AddressState {
    /// Slab number of each owned extent plus one; 0 when not owned.
    pub(super) extents: [u32; EXTENTS_PER_ADDRESS],
    /// Ports in use, all classes.
    pub(super) used: u32,
    /// Subscribers paired with it.
    pub(super) subscribers: u32,
    /// When `used` last became 0.
    pub(super) idle_since: u32,
    /// Next port to try, sequential allocation.
    pub(super) cursor: [u16; 3],
    /// Pool the extents were taken for, plus one; 0 when none are.
    pub(super) pool_plus_one: u16,
    /// Bit per owned extent.
    pub(super) owned: u16,
}

/// Ranks of a pool's addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolPlan {
    /// (rank of the first, first address, count)
    pub(super) ranges: Vec<(u32, u32, u32)>,
    pub(super) total: u32,
    pub(super) cursor: u32,
    pub(super) used: PoolUse,
}

impl PoolPlan {
    pub(super) fn address(&self, rank: u32) -> Option<u32> {
        let at = self
            .ranges
            .partition_point(|(start, _, _)| *start <= rank)
            .checked_sub(1)?;
        let (start, first, count) = *self.ranges.get(at)?;
        (rank - start < count).then(|| first + (rank - start))
    }
}

pub(super) fn plan_cursor(plans: &[PoolPlan], id: usize) -> u32 {
    plans.get(id).map_or(0, |p| p.cursor)
}
