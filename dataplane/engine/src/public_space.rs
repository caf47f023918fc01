//! The public space: which pool a public address belongs to, and which worker owns each extent of its ports.
//!
//! It is the steering table for packets from outside and, at the same time, the only thing workers share when they allocate:
//!
//! ```text
//!   address >> 8 --hash--> chunk of 256 addresses --+-- pool id per address            (immutable, per program)
//!                                                   +-- 16 extent owners per address   (atomic, for the process' life)
//!   port >> 12 = extent (4096 ports); owner = worker, or one of the free states below
//! ```
//!
//! An extent is the unit a worker takes ports in, and the unit of the lease the standby acknowledges (redundancy spec,
//! section 2): [`OWNER_LEASE_PENDING`] and [`OWNER_PEER`] are the states of an extent that may not be given out yet.
//! Owners survive a reload because the atomic half of a chunk is shared between programs: there is one allocator
//! for the process' life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::program::{NONE, Pool, PoolId};

/// Ports per extent.
pub const EXTENT_PORTS: u32 = 4096;
/// Extents per address.
pub const EXTENTS_PER_ADDRESS: usize = 16;
/// Nobody owns the extent: any worker may take it.
pub const OWNER_FREE: u8 = 0xff;
/// Offered to the standby, not acknowledged yet: nobody may take it.
pub const OWNER_LEASE_PENDING: u8 = 0xfe;
/// Leased to the other chassis: nobody here may take it.
pub const OWNER_PEER: u8 = 0xfd;
/// Workers are numbered 0..MAX_WORKERS.
pub const MAX_WORKERS: u8 = 0xf0;

/// Index of a public address, stable for the process' life: chunk number * 256 + last octet.
pub type AddressIndex = u32;

/// Owners of the 16 extents of the 256 addresses of one /24.
#[derive(Debug)]
pub struct OwnerChunk {
    owners: Box<[[AtomicU8; EXTENTS_PER_ADDRESS]; 256]>,
}

impl OwnerChunk {
    fn new() -> Self {
        Self {
            owners: Box::new(std::array::from_fn(|_| {
                std::array::from_fn(|_| AtomicU8::new(OWNER_FREE))
            })),
        }
    }
}

#[derive(Clone, Debug)]
struct Chunk {
    prefix: u32,
    pools: Box<[PoolId; 256]>,
    owners: Arc<OwnerChunk>,
}

/// Where a public address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// Its stable index.
    pub index: AddressIndex,
    /// Its pool now.
    pub pool: PoolId,
}

/// All public addresses of a program.
#[derive(Clone, Debug)]
pub struct PublicSpace {
    chunks: Vec<Chunk>,
    /// Open-addressed hash of `prefix` to chunk number, `u32::MAX` when empty; never more than half full.
    slots: Vec<u32>,
    mask: u32,
}

fn slot_of(prefix: u32, mask: u32) -> u32 {
    (prefix.wrapping_mul(0x9E37_79B1) >> 7) & mask
}

impl PublicSpace {
    /// Builds the space of `pools`; chunks known to `previous` keep their number and their owners.
    #[must_use]
    pub fn build(pools: &[Pool], previous: Option<&Self>) -> Self {
        let mut chunks: Vec<Chunk> = previous.map(|p| p.chunks.clone()).unwrap_or_default();
        for chunk in &mut chunks {
            chunk.pools.fill(NONE);
        }
        for pool in pools {
            for range in &pool.addresses {
                for prefix in (range.first >> 8)..=(range.last >> 8) {
                    let number = chunks.iter().position(|c| c.prefix == prefix).unwrap_or_else(|| {
                        chunks.push(Chunk {
                            prefix,
                            pools: Box::new([NONE; 256]),
                            owners: Arc::new(OwnerChunk::new()),
                        });
                        chunks.len() - 1
                    });
                    for octet in 0..256u32 {
                        if range.contains(prefix << 8 | octet) {
                            chunks[number].pools[octet as usize] = pool.id;
                        }
                    }
                }
            }
        }
        let size = (chunks.len() * 2).next_power_of_two().max(2);
        let mask = size as u32 - 1;
        let mut slots = vec![u32::MAX; size];
        for (number, chunk) in chunks.iter().enumerate() {
            let mut slot = slot_of(chunk.prefix, mask);
            while slots[slot as usize] != u32::MAX {
                slot = (slot + 1) & mask;
            }
            slots[slot as usize] = number as u32;
        }
        Self { chunks, slots, mask }
    }

    /// Finds a public address; `None` when no pool has it.
    #[inline]
    #[must_use]
    pub fn find(&self, address: u32) -> Option<PublicAddress> {
        let prefix = address >> 8;
        let mut slot = slot_of(prefix, self.mask);
        loop {
            let number = *self.slots.get(slot as usize)?;
            let chunk = self.chunks.get(number as usize)?;
            if chunk.prefix == prefix {
                let pool = chunk.pools[(address & 0xff) as usize];
                return (pool != NONE).then_some(PublicAddress {
                    index: number << 8 | (address & 0xff),
                    pool,
                });
            }
            slot = (slot + 1) & self.mask;
        }
    }

    /// The address behind an index, and its pool now ([`NONE`] when a reload removed it).
    #[inline]
    #[must_use]
    pub fn address(&self, index: AddressIndex) -> Option<(u32, PoolId)> {
        let chunk = self.chunks.get((index >> 8) as usize)?;
        Some((
            chunk.prefix << 8 | (index & 0xff),
            chunk.pools[(index & 0xff) as usize],
        ))
    }

    /// One more than the largest index.
    #[must_use]
    pub fn index_end(&self) -> u32 {
        (self.chunks.len() as u32) << 8
    }

    fn cell(&self, index: AddressIndex, extent: usize) -> Option<&AtomicU8> {
        self.chunks.get((index >> 8) as usize)?.owners.owners[(index & 0xff) as usize].get(extent)
    }

    /// The owner of an extent: a worker number or one of the `OWNER_` states.
    #[inline]
    #[must_use]
    pub fn owner(&self, index: AddressIndex, extent: usize) -> u8 {
        self.cell(index, extent)
            .map_or(OWNER_FREE, |c| c.load(Ordering::Acquire))
    }

    /// Takes a free extent for `worker`. Rare (once per 4096 ports), and the only atomic exchange of the allocator.
    pub fn acquire(&self, index: AddressIndex, extent: usize, worker: u8) -> bool {
        self.cell(index, extent).is_some_and(|c| {
            c.compare_exchange(OWNER_FREE, worker, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }

    /// Gives back an extent that `worker` owns. False when it did not.
    pub fn release(&self, index: AddressIndex, extent: usize, worker: u8) -> bool {
        self.cell(index, extent).is_some_and(|c| {
            c.compare_exchange(worker, OWNER_FREE, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }
}
