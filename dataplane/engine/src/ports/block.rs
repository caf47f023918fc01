//! Port blocks: runs of ports in one subscriber's hands, so that one log line answers for hundreds of sessions.
//!
//! RFC 6888 REQ-14. Giving out, giving back and (when configured) still having a block are events for the log.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::mem::{HugeSlice, OutOfMemory, Pages};
use crate::slab::Slab;
use crate::ticks::Ticks;
use crate::wheel::{Linked, Links};

/// One block.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C)]
pub struct Block {
    links: Links,
    /// Subscriber that has it. The free list's link while free.
    pub subscriber: u32,
    /// Next block of the same subscriber, or [`crate::session::NO_RECORD`].
    pub next: u32,
    /// Index of the public address.
    pub address_index: u32,
    /// When it was given out, in ticks.
    pub created: u32,
    /// When its last port was freed, in ticks (meaningful while `used` is 0).
    pub idle_since: u32,
    /// When it was last logged, in ticks.
    pub logged: u32,
    /// Ports of it in use, all classes.
    pub used: u16,
    /// Pool.
    pub pool: u16,
    /// First port.
    pub first_port: u16,
    /// Ports; 0 when the record is free.
    pub size: u16,
}

impl Block {
    /// A block just given out.
    #[must_use]
    pub fn new(
        subscriber: u32,
        next: u32,
        address_index: u32,
        pool: u16,
        first_port: u16,
        size: u16,
        now: Ticks,
    ) -> Self {
        Self {
            links: Links::default(),
            subscriber,
            next,
            address_index,
            created: now.0,
            idle_since: now.0,
            logged: now.0,
            used: 0,
            pool,
            first_port,
            size,
        }
    }

    /// Last port, inclusive.
    #[must_use]
    pub const fn last_port(&self) -> u16 {
        self.first_port + (self.size - 1)
    }
}

/// What happened to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockEventKind {
    /// Given to a subscriber.
    Allocated,
    /// Given back.
    Released,
    /// Still held (interim logging).
    Interim,
}

/// A block event, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEvent {
    /// What happened.
    pub kind: BlockEventKind,
    /// When.
    pub at: Ticks,
    /// When the block was given out.
    pub since: Ticks,
    /// Service set of the subscriber.
    pub service_set: u16,
    /// Pool.
    pub pool: u16,
    /// Inside address of the subscriber, or the first one of its prefix; IPv4 under `::ffff:0:0/96`.
    pub inside: u128,
    /// Public address.
    pub public: u32,
    /// First port.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
}

/// All blocks of a shard.
#[derive(Debug)]
pub struct BlockTable {
    records: HugeSlice<Block>,
    slab: Slab,
}

impl Linked for BlockTable {
    fn links(&mut self, number: u32) -> &mut Links {
        &mut self.records[number as usize].links
    }
}

impl BlockTable {
    /// A table of `capacity` blocks.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(capacity: u32) -> Result<Self, OutOfMemory> {
        Ok(Self {
            records: HugeSlice::new(capacity as usize, "port blocks", Pages::Preallocated)?,
            slab: Slab::new(capacity),
        })
    }

    /// Whether no block is left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slab.peek().is_none()
    }

    /// Takes a record.
    pub fn insert(&mut self, block: Block) -> Option<u32> {
        let records = &self.records;
        let number = self.slab.take(|n| records[n as usize].subscriber)?;
        self.records[number as usize] = block;
        Some(number)
    }

    /// Frees a record that is out of the wheel and of its subscriber's list.
    pub fn remove(&mut self, number: u32) {
        self.records[number as usize].size = 0;
        self.records[number as usize].subscriber = self.slab.give_back(number);
    }

    /// A block.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Block> {
        self.records.get(number as usize).filter(|b| b.size != 0)
    }

    /// A block, to change.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Block> {
        self.records.get_mut(number as usize).filter(|b| b.size != 0)
    }

    /// Blocks given out.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.slab.live()
    }

    /// Blocks there can be.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.slab.capacity()
    }

    /// Where a walk may stop.
    #[must_use]
    pub fn high_water(&self) -> u32 {
        self.slab.high_water()
    }
}
