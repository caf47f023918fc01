//! The public space: which pool a public address belongs to, and which shard owns each extent of its ports.
//!
//! It is the steering table for packets from outside, save for pools by rule (deterministic and static ones), and, at the
//! same time, the only thing shards share when they allocate:
//!
//! ```text
//!   address >> 8 --hash--> chunk of 256 addresses --+-- pool id per address            (immutable, per program)
//!                                                   +-- 16 extent owners per address   (atomic, for the process' life)
//!   port >> 12 = extent (4096 ports); owner = shard, or one of the states below
//! ```
//!
//! An extent is the unit a shard takes ports in, and the unit of the lease the other chassis acknowledges (redundancy spec,
//! section 2). While leases are required ([`PublicSpace::set_leases_required`]), only a granted extent is taken:
//!
//! ```text
//!   here:  FREE --offer--> LEASE_PENDING --grant--> GRANTED --acquire--> shard --release--> FREE
//!            ^------------------ withdraw -------------'
//!   there: FREE --mark_peer--> PEER --install--> shard --forget--> PEER --unmark_peer--> FREE
//! ```
//!
//! Owners survive a reload because the atomic half of a chunk is shared between programs: there is one allocator
//! for the process' life.

mod lease;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

pub use self::lease::LeaseStates;
use crate::program::{NONE, Pool, PoolId};

/// Ports per extent.
pub const EXTENT_PORTS: u32 = 4096;
/// Extents per address.
pub const EXTENTS_PER_ADDRESS: usize = 16;
/// Chunks of 256 addresses there can be over the process' life.
pub const MAX_CHUNKS: usize = 4096;
/// Nobody owns the extent: any shard may take it, unless leases are required.
pub const OWNER_FREE: u8 = 0xff;
/// Offered to the other chassis, not acknowledged yet: nobody may take it.
pub const OWNER_LEASE_PENDING: u8 = 0xfe;
/// Leased to the other chassis: nobody here may take it.
pub const OWNER_PEER: u8 = 0xfd;
/// Leased, and the other chassis acknowledged it: any shard may take it.
pub const OWNER_GRANTED: u8 = 0xfc;
/// Workers are numbered 0..MAX_WORKERS, and so are shards.
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
    /// Outside of these last octets no address has a pool.
    pooled: Range<u32>,
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
    /// Only granted extents may be taken. Of all programs, as owners are.
    leases: Arc<AtomicBool>,
}

/// More /24s than the public space can hold. Chunks live as long as the process, so those of former programs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pools of this process have touched more than {MAX_CHUNKS} different /24 prefixes; restart it to begin anew"
)]
pub struct TooManyAddresses;

fn slot_of(prefix: u32, mask: u32) -> u32 {
    (prefix.wrapping_mul(0x9E37_79B1) >> 7) & mask
}

impl PublicSpace {
    /// Builds the space of `pools` as far as there is room: of addresses beyond [`MAX_CHUNKS`] nothing is translated. A
    /// caller who can refuse a program asks [`PublicSpace::try_build`].
    #[must_use]
    pub fn build(pools: &[Pool], previous: Option<&Self>) -> Self {
        Self::build_what_fits(pools, previous).0
    }

    /// Builds the space of `pools`; chunks known to `previous` keep their number and their owners.
    ///
    /// # Errors
    /// [`TooManyAddresses`].
    pub fn try_build(pools: &[Pool], previous: Option<&Self>) -> Result<Self, TooManyAddresses> {
        let (space, complete) = Self::build_what_fits(pools, previous);
        complete.then_some(space).ok_or(TooManyAddresses)
    }

    fn build_what_fits(pools: &[Pool], previous: Option<&Self>) -> (Self, bool) {
        let mut chunks: Vec<Chunk> = previous.map(|p| p.chunks.clone()).unwrap_or_default();
        for chunk in &mut chunks {
            chunk.pools.fill(NONE);
        }
        let mut numbers: HashMap<u32, usize> = chunks
            .iter()
            .enumerate()
            .map(|(number, chunk)| (chunk.prefix, number))
            .collect();
        let mut complete = true;
        for pool in pools {
            for range in &pool.addresses {
                for prefix in (range.first >> 8)..=(range.last >> 8) {
                    let number = if let Some(number) = numbers.get(&prefix) {
                        *number
                    } else if chunks.len() < MAX_CHUNKS {
                        chunks.push(Chunk {
                            prefix,
                            pools: Box::new([NONE; 256]),
                            pooled: 0..0,
                            owners: Arc::new(OwnerChunk::new()),
                        });
                        numbers.insert(prefix, chunks.len() - 1);
                        chunks.len() - 1
                    } else {
                        complete = false;
                        break;
                    };
                    for octet in 0..256u32 {
                        if range.contains(prefix << 8 | octet) {
                            chunks[number].pools[octet as usize] = pool.id;
                        }
                    }
                }
            }
        }
        for chunk in &mut chunks {
            let octets = || (0..256u32).filter(|octet| chunk.pools[*octet as usize] != NONE);
            chunk.pooled = octets().next().map_or(0..0, |first| {
                first..octets().next_back().map_or(first, |last| last + 1)
            });
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
        let leases = previous.map(|p| Arc::clone(&p.leases)).unwrap_or_default();
        let space = Self {
            chunks,
            slots,
            mask,
            leases,
        };
        (space, complete)
    }

    /// Finds a public address; `None` when no pool has it.
    #[inline]
    #[must_use]
    pub fn find(&self, address: u32) -> Option<PublicAddress> {
        let (number, chunk) = self.chunk_of(address >> 8)?;
        let pool = chunk.pools[(address & 0xff) as usize];
        (pool != NONE).then_some(PublicAddress {
            index: number << 8 | (address & 0xff),
            pool,
        })
    }

    /// The index of an address that a pool of this program or a former one has or had.
    #[inline]
    #[must_use]
    pub fn index_of(&self, address: u32) -> Option<AddressIndex> {
        self.chunk_of(address >> 8)
            .map(|(number, _)| number << 8 | (address & 0xff))
    }

    #[inline]
    fn chunk_of(&self, prefix: u32) -> Option<(u32, &Chunk)> {
        let mut slot = slot_of(prefix, self.mask);
        loop {
            let number = *self.slots.get(slot as usize)?;
            let chunk = self.chunks.get(number as usize)?;
            if chunk.prefix == prefix {
                return Some((number, chunk));
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

    /// The owner of an extent: a shard or one of the `OWNER_` states.
    #[inline]
    #[must_use]
    pub fn owner(&self, index: AddressIndex, extent: usize) -> u8 {
        self.cell(index, extent)
            .map_or(OWNER_FREE, |c| c.load(Ordering::Acquire))
    }

    /// Moves an extent from one state to another, if it is in the first.
    fn change(&self, index: AddressIndex, extent: usize, from: u8, to: u8) -> bool {
        self.cell(index, extent).is_some_and(|c| {
            c.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }

    /// Whether a shard may take an extent in this state.
    fn may_be_taken(&self, state: u8) -> bool {
        state == OWNER_GRANTED || state == OWNER_FREE && !self.leases_required()
    }

    /// Takes an extent for `shard`: a granted one, or a free one while no leases are required. Rare (once per 4096 ports),
    /// and the only atomic exchange of the allocator.
    pub fn acquire(&self, index: AddressIndex, extent: usize, shard: u8) -> bool {
        let state = self.owner(index, extent);
        self.may_be_taken(state) && self.change(index, extent, state, shard)
    }

    /// Takes all extents of an address or none. From the first on: of two shards that begin at once, one has it.
    pub fn acquire_all(&self, index: AddressIndex, shard: u8) -> bool {
        self.take_all(index, shard, |state| self.may_be_taken(state))
    }

    /// Whether all extents of an address may be taken now.
    #[must_use]
    pub fn is_free(&self, index: AddressIndex) -> bool {
        (0..EXTENTS_PER_ADDRESS).all(|e| self.may_be_taken(self.owner(index, e)))
    }

    /// Whether all extents of an address may be taken as soon as their leases are granted.
    #[must_use]
    pub fn waits_for_lease(&self, index: AddressIndex) -> bool {
        let waits = |e| {
            matches!(
                self.owner(index, e),
                OWNER_FREE | OWNER_LEASE_PENDING | OWNER_GRANTED
            )
        };
        self.leases_required() && (0..EXTENTS_PER_ADDRESS).all(waits)
    }

    fn take_all(&self, index: AddressIndex, shard: u8, may_be_taken: impl Fn(u8) -> bool) -> bool {
        let mut states = [OWNER_FREE; EXTENTS_PER_ADDRESS];
        for extent in 0..EXTENTS_PER_ADDRESS {
            states[extent] = self.owner(index, extent);
            if may_be_taken(states[extent]) && self.change(index, extent, states[extent], shard) {
                continue;
            }
            for (taken, state) in states.iter().enumerate().take(extent) {
                self.change(index, taken, shard, *state);
            }
            return false;
        }
        true
    }

    /// Gives back an extent that `shard` owns. False when it did not.
    pub fn release(&self, index: AddressIndex, extent: usize, shard: u8) -> bool {
        self.change(index, extent, shard, OWNER_FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::deterministic::Deterministic;
    use crate::program::{
        AddressAllocation, AddressPooling, AddressRange, PoolMode, PortAllocation, PortRange,
    };
    use crate::ticks::Ticks;

    pub(super) fn pool(id: PoolId, first: u32, count: u32) -> Pool {
        Pool {
            id,
            name: String::new(),
            addresses: vec![AddressRange {
                first,
                last: first + (count - 1),
            }],
            ports: PortRange {
                first: 1024,
                last: 65535,
            },
            address_allocation: AddressAllocation::RoundRobin,
            address_pooling: AddressPooling::Paired,
            port_allocation: PortAllocation::Random,
            preserve_range: false,
            preserve_parity: false,
            preserve_contiguity: false,
            port_blocks: None,
            quarantine: Ticks::ZERO,
            drain: false,
            interface_address: false,
            mode: Default::default(),
        }
    }

    #[test]
    fn it_is_bounded_and_says_so() {
        let all = pool(1, 1 << 24, 256 * MAX_CHUNKS as u32);
        let space = PublicSpace::try_build(std::slice::from_ref(&all), None).unwrap();
        assert_eq!(space.index_end(), 1 << 20);
        assert_eq!(space.find((1 << 24) + 70_000).map(|f| f.pool), Some(1));
        let more = pool(2, 9 << 24, 1);
        assert_eq!(
            PublicSpace::try_build(&[all.clone(), more.clone()], None).unwrap_err(),
            TooManyAddresses
        );
        // What former programs touched stays.
        assert!(PublicSpace::try_build(std::slice::from_ref(&more), Some(&space)).is_err());
        let rest = PublicSpace::build(&[more], Some(&space));
        assert!(rest.find(9 << 24).is_none() && rest.find(1 << 24).is_none());
        // The largest pool that can be written is no trap either.
        assert!(
            PublicSpace::build(&[pool(1, 0, u32::MAX)], None)
                .find(5)
                .is_some()
        );
    }

    #[test]
    fn pools_of_every_mode_have_their_addresses_in_it() {
        let formula = Deterministic::new(vec![(0xffff << 32, 10)], 128, 64).unwrap();
        let modes = [
            PoolMode::Ports,
            PoolMode::OverloadedPorts,
            PoolMode::Deterministic(formula),
            PoolMode::Addresses,
            PoolMode::Static,
        ];
        let pools: Vec<Pool> = (1..)
            .zip(modes)
            .map(|(id, mode)| Pool {
                mode,
                ..pool(id, u32::from(id) * 100, 100)
            })
            .collect();
        let space = PublicSpace::try_build(&pools, None).unwrap();
        for address in 0..700 {
            let id = (100..600).contains(&address).then_some((address / 100) as PoolId);
            assert_eq!(space.find(address).map(|f| f.pool), id);
        }
    }

    #[test]
    fn indices_and_owners_outlive_a_program() {
        let first = PublicSpace::try_build(&[pool(1, 256, 600)], None).unwrap();
        let index = first.find(700).unwrap().index;
        assert!(first.acquire(index, 3, 7));
        let second = PublicSpace::try_build(&[pool(2, 10_000, 5), pool(3, 690, 20)], Some(&first)).unwrap();
        assert_eq!(second.find(700), Some(PublicAddress { index, pool: 3 }));
        assert_eq!(second.find(400), None);
        assert_eq!(second.address(second.index_of(400).unwrap()), Some((400, NONE)));
        assert_eq!(second.owner(index, 3), 7);
        assert!(!second.acquire(index, 3, 1) && second.release(index, 3, 7));
        assert_eq!(first.owner(index, 3), OWNER_FREE);
    }
}
