//! The allocators of one worker: one for each of its shards.
//!
//! Extents and subscribers belong to shards ([`crate::steer::Split`]). With as many shards as workers there is one allocator,
//! and finding it costs one comparison.

use super::{Block, BlockEvent, PortAllocator, Wait};
use crate::hash::Rng;
use crate::mem::OutOfMemory;
use crate::program::{PoolId, Program};
use crate::public_space::{AddressIndex, PublicSpace};
use crate::replica::{ExtentRecord, Op};
use crate::steer::Split;
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;
use crate::view::PoolUse;

/// The allocators of one worker.
#[derive(Debug)]
pub struct Shards {
    first: PortAllocator,
    more: Vec<PortAllocator>,
    split: Split,
    /// Number of the first shard.
    first_shard: u8,
    steering_prefix: u8,
}

impl Shards {
    /// Allocators for the shards of `worker`. Each has room for `max_extents` extents, of which only those are in memory
    /// that were once taken; together they cannot have more than the pools. The worker's `max_blocks` blocks are divided
    /// among them.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(
        worker: u8,
        split: Split,
        max_extents: u32,
        max_blocks: u32,
        rng: &mut Rng,
    ) -> Result<Self, OutOfMemory> {
        let shards = split.shards_of(worker);
        let blocks = max_blocks.div_ceil(shards.len().max(1) as u32);
        let mut allocator =
            |shard| PortAllocator::new(shard, split.shards(), max_extents, blocks, rng.draw());
        let first_shard = shards.start;
        Ok(Self {
            first: allocator(first_shard)?,
            more: shards.skip(1).map(allocator).collect::<Result<_, _>>()?,
            split,
            first_shard,
            steering_prefix: 64,
        })
    }

    /// [`PortAllocator::apply`].
    pub fn apply(&mut self, program: &Program) {
        self.steering_prefix = program.steering_prefix;
        self.all_mut().for_each(|allocator| allocator.apply(program));
    }

    /// How shards and workers are numbered.
    #[must_use]
    pub fn split(&self) -> Split {
        self.split
    }

    /// The shard of the subscriber with an inside address (or the first address of its prefix); IPv4 under
    /// `::ffff:0:0/96`.
    #[must_use]
    pub fn shard(&self, inside: u128) -> u8 {
        self.split.shard(inside, self.steering_prefix)
    }

    fn position(&self, inside: u128) -> usize {
        let position = usize::from(self.shard(inside).wrapping_sub(self.first_shard));
        // Another worker's subscriber has no business here; whatever it gets then is given back to the same allocator.
        if position <= self.more.len() { position } else { 0 }
    }

    /// The allocator of the subscriber with an inside address.
    #[inline(always)]
    #[must_use]
    pub fn of(&self, inside: &u128) -> &PortAllocator {
        if self.more.is_empty() {
            return &self.first;
        }
        self.get(self.position(*inside)).unwrap_or(&self.first)
    }

    /// The same, to change.
    #[inline(always)]
    pub fn of_mut(&mut self, inside: &u128) -> &mut PortAllocator {
        if self.more.is_empty() {
            return &mut self.first;
        }
        self.one_of_mut(inside)
    }

    #[inline(never)]
    fn one_of_mut(&mut self, inside: &u128) -> &mut PortAllocator {
        match self.position(*inside).checked_sub(1) {
            Some(at) => self.more.get_mut(at).unwrap_or(&mut self.first),
            None => &mut self.first,
        }
    }

    /// The allocator of a subscriber by its number.
    #[inline(always)]
    pub fn of_subscriber_mut(&mut self, subscribers: &SubscriberTable, number: u32) -> &mut PortAllocator {
        if self.more.is_empty() {
            return &mut self.first;
        }
        let inside = subscribers.get(number).map_or(0, |s| s.address());
        self.one_of_mut(&inside)
    }

    /// The allocator of a shard, if it is one of this worker's.
    #[must_use]
    pub fn of_shard(&self, shard: u8) -> Option<&PortAllocator> {
        self.get(usize::from(shard.checked_sub(self.first_shard)?))
    }

    /// The same, to change.
    pub fn of_shard_mut(&mut self, shard: u8) -> Option<&mut PortAllocator> {
        self.get_mut(usize::from(shard.checked_sub(self.first_shard)?))
    }

    fn get(&self, position: usize) -> Option<&PortAllocator> {
        match position.checked_sub(1) {
            None => Some(&self.first),
            Some(at) => self.more.get(at),
        }
    }

    fn get_mut(&mut self, position: usize) -> Option<&mut PortAllocator> {
        match position.checked_sub(1) {
            None => Some(&mut self.first),
            Some(at) => self.more.get_mut(at),
        }
    }

    /// How many shards this worker has.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.more.len()
    }

    /// All allocators, in the order of their shards.
    pub fn all(&self) -> impl Iterator<Item = &PortAllocator> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// All allocators, to change.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut PortAllocator> {
        std::iter::once(&mut self.first).chain(&mut self.more)
    }

    /// [`PortAllocator::tick`] of the allocator at a position, 0..[`Shards::count`].
    #[inline]
    pub fn tick(
        &mut self,
        position: usize,
        program: &Program,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> Option<u32> {
        self.get_mut(position)?.tick(program, subscribers, now)
    }

    /// Use of every pool that ever was, on this worker.
    pub fn pool_use(&self) -> impl Iterator<Item = PoolUse> + '_ {
        let of_first = self.first.pool_use().enumerate();
        of_first.map(|(id, first)| {
            let more = self.more.iter().filter_map(|a| a.use_of(id as PoolId));
            more.fold(first, PoolUse::plus)
        })
    }

    /// Blocks given out, and how many there can be.
    #[must_use]
    pub fn block_use(&self) -> (u32, u32) {
        self.all().fold((0, 0), |(live, capacity), a| {
            (live + a.blocks().live(), capacity + a.blocks().capacity())
        })
    }

    /// One more than the last place [`Shards::block`] may find a block at.
    #[must_use]
    pub fn blocks_end(&self) -> u32 {
        let highest = self.all().map(|a| a.blocks().high_water()).max();
        highest.unwrap_or(0) * self.count() as u32
    }

    /// The block at a place of a walk over those of all shards, with its number in its own.
    #[must_use]
    pub fn block(&self, place: u32) -> Option<(u32, &Block)> {
        let count = self.count() as u32;
        let number = place / count;
        let allocator = self.get((place % count) as usize)?;
        Some((number, allocator.blocks().get(number)?))
    }

    /// The place of a block of a shard of this worker.
    #[must_use]
    pub fn block_place(&self, shard: u8, number: u32) -> u32 {
        self.place(shard, number)
    }

    /// One more than the last place [`Shards::extent`] may find an extent at.
    #[must_use]
    pub fn extents_end(&self) -> u32 {
        let highest = self.all().map(PortAllocator::extents_end).max();
        highest.unwrap_or(0) * self.count() as u32
    }

    /// The extent at a place of a walk over those of all shards.
    #[must_use]
    pub fn extent(&self, space: &PublicSpace, place: u32) -> Option<ExtentRecord> {
        let count = self.count() as u32;
        let allocator = self.get((place % count) as usize)?;
        allocator.owned_extent(space, place / count)
    }

    /// The place of an extent that a shard of this worker has.
    #[must_use]
    pub fn extent_place(&self, shard: u8, index: AddressIndex, extent: usize) -> Option<u32> {
        let number = self.of_shard(shard)?.extent_number(index, extent)?;
        Some(self.place(shard, number))
    }

    fn place(&self, shard: u8, number: u32) -> u32 {
        number * self.count() as u32 + u32::from(shard.wrapping_sub(self.first_shard))
    }

    /// [`PortAllocator::drain_events`] of all shards.
    pub fn drain_events(&mut self, mut sink: impl FnMut(BlockEvent) -> bool) {
        self.all_mut()
            .for_each(|allocator| allocator.drain_events(&mut sink));
    }

    /// Events that found no room.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.all().map(PortAllocator::events_lost).sum()
    }

    /// [`PortAllocator::set_telling`] of all shards.
    pub fn set_telling(&mut self, telling: bool) {
        self.all_mut()
            .for_each(|allocator| allocator.set_telling(telling));
    }

    /// [`PortAllocator::set_wait`] of all shards.
    pub fn set_wait(&mut self, wait: Wait) {
        self.all_mut().for_each(|allocator| allocator.set_wait(wait));
    }

    /// [`PortAllocator::last_end`] of any shard.
    #[must_use]
    pub fn last_end(&self) -> Ticks {
        self.all().map(PortAllocator::last_end).max().unwrap_or_default()
    }

    /// [`PortAllocator::drain_told`] of all shards.
    #[inline]
    pub fn drain_told(&mut self, mut sink: impl FnMut(&Op) -> bool) {
        self.all_mut()
            .for_each(|allocator| allocator.drain_told(&mut sink));
    }

    /// [`PortAllocator::take_told_lost`] of any shard.
    pub fn take_told_lost(&mut self) -> bool {
        self.all_mut()
            .fold(false, |lost, allocator| lost | allocator.take_told_lost())
    }

    /// [`PortAllocator::follow`] of all shards.
    pub fn follow(&mut self, pool: PoolId, follows: bool) {
        self.all_mut()
            .for_each(|allocator| allocator.follow(pool, follows));
    }

    /// [`PortAllocator::log_drops`] of all shards.
    pub fn log_drops(&mut self, pool: PoolId, logs: bool) {
        self.all_mut()
            .for_each(|allocator| allocator.log_drops(pool, logs));
    }

    /// [`PortAllocator::hold`] of all shards.
    pub fn hold(&mut self, until: impl Fn(PoolId) -> Option<Ticks>, is_told: bool) {
        self.all_mut()
            .for_each(|allocator| allocator.hold(&until, is_told));
    }

    /// [`PortAllocator::forget_holds`] of all shards.
    pub fn forget_holds(&mut self) {
        self.all_mut().for_each(PortAllocator::forget_holds);
    }

    /// Ports in use and subscribers paired, by address; see [`PortAllocator::address_use`].
    #[must_use]
    pub fn address_use(&self, address_index: u32) -> (u32, u32) {
        self.all().fold((0, 0), |(used, paired), allocator| {
            let here = allocator.address_use(address_index);
            (used + here.0, paired + here.1)
        })
    }
}
