//! What one worker knows of each public address, and of the pools they are in.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::mem::HugeSlice;
use crate::program::{AddressAllocation, Pool, PoolId, PoolMode};
use crate::public_space::EXTENTS_PER_ADDRESS;
use crate::ticks::Ticks;
use crate::view::PoolUse;
use crate::wheel::{Linked, Links};

/// What is taken from a pool, [`PoolMode`] without what belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Hold {
    /// Ports, each for one mapping or session.
    #[default]
    Ports,
    /// Ports that sessions to different outside ends share.
    Shared,
    /// Whole addresses.
    Whole,
    /// Ports by a formula.
    Formula,
    /// Nothing.
    Static,
}

impl Hold {
    /// What is taken from a pool of this mode.
    pub(super) const fn of(mode: &PoolMode) -> Self {
        match mode {
            PoolMode::Ports => Self::Ports,
            PoolMode::OverloadedPorts => Self::Shared,
            PoolMode::Addresses => Self::Whole,
            PoolMode::Deterministic(_) => Self::Formula,
            PoolMode::Static => Self::Static,
        }
    }

    /// Whether who has what follows from the configuration alone, so that no extent is taken for it.
    pub(super) const fn is_by_rule(self) -> bool {
        matches!(self, Self::Formula | Self::Static)
    }
}

/// What an address is in use for here, and by which pool. One word, so that one comparison tells whether that is still so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, KnownLayout, Immutable)]
#[repr(transparent)]
pub(super) struct Tag(u16);

/// Bits of a tag that are the pool's id plus one.
const POOL_BITS: u16 = (1 << 13) - 1;

impl Tag {
    /// Of an address that is not in use.
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn new(hold: Hold, pool: PoolId) -> Self {
        Self(pool.wrapping_add(1) & POOL_BITS | (hold as u16) << 13)
    }

    /// Of what is taken from `pool`.
    pub(super) const fn of(pool: &Pool) -> Self {
        Self::new(Hold::of(&pool.mode), pool.id)
    }

    /// Whether it is in use for ports of single mappings and sessions, or not at all.
    #[inline]
    pub(super) const fn is_ports(self) -> bool {
        self.0 & !POOL_BITS == 0
    }

    /// What it is in use for; ports when it is not in use.
    pub(super) const fn hold(self) -> Hold {
        match self.0 >> 13 {
            1 => Hold::Shared,
            2 => Hold::Whole,
            3 => Hold::Formula,
            4 => Hold::Static,
            _ => Hold::Ports,
        }
    }

    /// Position of the pool's plan; beyond the last one when it is not in use.
    pub(super) const fn plan(self) -> usize {
        (self.0 & POOL_BITS).wrapping_sub(1) as usize
    }
}

/// What is known of one public address on this worker.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(128))]
pub(super) struct AddressState {
    /// Slab number of each owned extent plus one; 0 when not owned.
    pub(super) extents: [u32; EXTENTS_PER_ADDRESS],
    /// Ports in use, all classes; sessions where they share ports; 1 for a whole address in use.
    pub(super) used: u32,
    /// Subscribers paired with it.
    pub(super) subscribers: u32,
    /// When `used` last became 0.
    pub(super) idle_since: u32,
    /// Until when a whole address rests that was given back, in ticks.
    pub(super) rest_until: u32,
    /// Links of a resting whole address.
    pub(super) links: Links,
    /// Next port to try, sequential allocation.
    pub(super) cursor: [u16; 3],
    /// What it is in use for, and by which pool.
    pub(super) tag: Tag,
    /// Bit per owned extent.
    pub(super) owned: u16,
}

const _: () = assert!(size_of::<AddressState>() == 128);

impl Linked for HugeSlice<AddressState> {
    fn links(&mut self, number: u32) -> &mut Links {
        &mut self[number as usize].links
    }
}

/// Ranks of a pool's addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolPlan {
    /// (rank of the first, first address, count)
    pub(super) ranges: Vec<(u32, u32, u32)>,
    pub(super) total: u32,
    pub(super) cursor: u32,
    pub(super) hold: Hold,
    /// Of the addresses that are in use for it.
    pub(super) tag: Tag,
    /// Low addresses first.
    pub(super) sequential: bool,
    /// Whole addresses: ranks looked at in vain since one was last found.
    pub(super) fruitless: u32,
    /// Whole addresses: none was free, and until then none is looked for.
    pub(super) exhausted_until: Ticks,
    /// Whole addresses: one would be free when its lease is granted.
    pub(super) waits_for_lease: bool,
    /// A replicated service set takes from it.
    pub(super) is_replicated: bool,
    /// The other chassis gives out what is in it.
    pub(super) follows: bool,
    /// What ends on its word was given out here, and its end is logged.
    pub(super) logs_drops: bool,
    /// What the other chassis may have given out without a word rests until then.
    pub(super) held_until: Ticks,
    /// What the other chassis said of held extents counts if it was said under this number.
    pub(super) holds: u32,
    /// How long ports rest.
    pub(super) quarantine: Ticks,
    pub(super) used: PoolUse,
}

impl PoolPlan {
    /// Takes up what a program says of the pool.
    pub(super) fn apply(&mut self, pool: &Pool) {
        self.used.pool = pool.id;
        self.quarantine = pool.quarantine;
        (self.hold, self.tag) = (Hold::of(&pool.mode), Tag::of(pool));
        self.sequential = pool.address_allocation == AddressAllocation::Sequential;
        (self.fruitless, self.exhausted_until) = (0, Ticks::ZERO);
        for range in pool.addresses.iter().filter(|_| !self.hold.is_by_rule()) {
            let count = (range.last - range.first).saturating_add(1);
            self.ranges.push((self.total, range.first, count));
            self.total = self.total.saturating_add(count);
        }
        // Workers start apart, so that round-robin does not send all of them to the same address.
        if self.cursor >= self.total {
            self.cursor = 0;
        }
    }

    /// The address of a rank.
    pub(super) fn address(&self, rank: u32) -> Option<u32> {
        let at = self
            .ranges
            .partition_point(|(start, _, _)| *start <= rank)
            .checked_sub(1)?;
        let (start, first, count) = *self.ranges.get(at)?;
        (rank - start < count).then(|| first + (rank - start))
    }

    /// The rank of an address.
    pub(super) fn rank(&self, address: u32) -> Option<u32> {
        self.ranges.iter().find_map(|(start, first, count)| {
            let offset = address.wrapping_sub(*first);
            (offset < *count).then(|| start + offset)
        })
    }
}

pub(super) fn plan_cursor(plans: &[PoolPlan], id: usize) -> u32 {
    plans.get(id).map_or(0, |p| p.cursor)
}
