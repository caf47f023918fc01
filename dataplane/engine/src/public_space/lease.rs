//! Leases of extents: what one chassis may take of the public space only when the other knows of it.
//!
//! All of it are single atomic exchanges of a cell, so the thread that keeps the leases and the workers that take extents need
//! no lock between them: of two that want the same cell, one is told `false`.

use std::sync::atomic::Ordering;

use super::{
    AddressIndex, EXTENTS_PER_ADDRESS, MAX_WORKERS, OWNER_FREE, OWNER_GRANTED, OWNER_LEASE_PENDING,
    OWNER_PEER, PublicSpace,
};
use crate::program::{NONE, PoolId};

/// The states of an address' extents at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStates {
    /// Its index.
    pub index: AddressIndex,
    /// The address.
    pub address: u32,
    /// Its pool.
    pub pool: PoolId,
    /// Owner of each extent: a shard or one of the `OWNER_` states.
    pub owners: [u8; EXTENTS_PER_ADDRESS],
}

impl LeaseStates {
    /// How many extents are in a state.
    #[must_use]
    pub fn count(&self, state: u8) -> usize {
        self.owners.iter().filter(|o| **o == state).count()
    }

    /// The extents in a state.
    pub fn extents(&self, state: u8) -> impl Iterator<Item = usize> + '_ {
        let owners = self.owners.iter().enumerate();
        owners.filter_map(move |(extent, owner)| (*owner == state).then_some(extent))
    }

    /// How many a shard has.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.owners.iter().filter(|o| **o < MAX_WORKERS).count()
    }
}

impl PublicSpace {
    /// Whether only granted extents may be taken.
    #[inline]
    #[must_use]
    pub fn leases_required(&self) -> bool {
        self.leases.load(Ordering::Acquire)
    }

    /// From now on only granted extents may be taken, or free ones, too; in this and every later program of the process.
    /// What is taken stays so. A worker that is taking an extent at this moment may still go by what was said before.
    pub fn set_leases_required(&self, required: bool) {
        self.leases.store(required, Ordering::Release);
    }

    /// The lease of a free extent is asked for: nobody may take it until it is granted.
    pub fn offer(&self, index: AddressIndex, extent: usize) -> bool {
        self.change(index, extent, OWNER_FREE, OWNER_LEASE_PENDING)
    }

    /// The other chassis acknowledged the lease.
    pub fn grant(&self, index: AddressIndex, extent: usize) -> bool {
        self.change(index, extent, OWNER_LEASE_PENDING, OWNER_GRANTED)
    }

    /// The lease is given up, asked for or granted. False when a shard has taken the extent meanwhile.
    pub fn withdraw(&self, index: AddressIndex, extent: usize) -> bool {
        self.change(index, extent, OWNER_LEASE_PENDING, OWNER_FREE)
            || self.change(index, extent, OWNER_GRANTED, OWNER_FREE)
    }

    /// The other chassis has the lease. False when somebody here has the extent, or asks for it.
    pub fn mark_peer(&self, index: AddressIndex, extent: usize) -> bool {
        self.change(index, extent, OWNER_FREE, OWNER_PEER)
    }

    /// The other chassis has the lease no more, or is gone.
    pub fn unmark_peer(&self, index: AddressIndex, extent: usize) -> bool {
        self.change(index, extent, OWNER_PEER, OWNER_FREE)
    }

    /// The other chassis took the extent for `shard`, which follows it here.
    pub fn install(&self, index: AddressIndex, extent: usize, shard: u8) -> bool {
        self.change(index, extent, OWNER_PEER, shard) || self.change(index, extent, OWNER_FREE, shard)
    }

    /// The other chassis took the extent for `shard` when it was primary beside this one. No shard here has it: what this chassis has asked
    /// for, or was granted, and does not use, goes to that shard.
    pub fn adopt(&self, index: AddressIndex, extent: usize, shard: u8) -> bool {
        self.install(index, extent, shard)
            || self.change(index, extent, OWNER_GRANTED, shard)
            || self.change(index, extent, OWNER_LEASE_PENDING, shard)
    }

    /// [`PublicSpace::install`] of all extents of an address, or of none.
    pub fn install_all(&self, index: AddressIndex, shard: u8) -> bool {
        self.take_all(index, shard, |state| matches!(state, OWNER_FREE | OWNER_PEER))
    }

    /// [`PublicSpace::adopt`] of all extents of an address, or of none.
    pub fn adopt_all(&self, index: AddressIndex, shard: u8) -> bool {
        self.take_all(index, shard, |state| {
            matches!(
                state,
                OWNER_FREE | OWNER_PEER | OWNER_GRANTED | OWNER_LEASE_PENDING
            )
        })
    }

    /// The other chassis gave the extent back. It is taken for the other chassis' still: a new lease of it may be on its way
    /// already, and at a takeover nothing is lost but the time it is held for. False when `shard` did not have it.
    pub fn forget(&self, index: AddressIndex, extent: usize, shard: u8) -> bool {
        self.change(index, extent, shard, OWNER_PEER)
    }

    /// Addresses that are in a pool, from an index on, with their extents' states. For the one who keeps the leases.
    pub fn lease_states(&self, from: AddressIndex) -> impl Iterator<Item = LeaseStates> + '_ {
        let chunks = self.chunks.iter().enumerate().skip((from >> 8) as usize);
        let indices = chunks.flat_map(move |(number, chunk)| {
            let base = (number as u32) << 8;
            (base + chunk.pooled.start).max(from)..base + chunk.pooled.end
        });
        indices.filter_map(|index| {
            let (address, pool) = self.address(index).filter(|(_, pool)| *pool != NONE)?;
            let owners = std::array::from_fn(|extent| self.owner(index, extent));
            Some(LeaseStates {
                index,
                address,
                pool,
                owners,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32};

    use super::*;
    use crate::public_space::tests::pool;

    fn space() -> PublicSpace {
        PublicSpace::build(&[pool(1, 0x0a00_0000, 4), pool(2, 0x0a00_0010, 2)], None)
    }

    #[test]
    fn every_address_of_a_pool_is_there_once_from_any_index_on() {
        let space = PublicSpace::build(&[pool(1, 0x0a00_00fd, 6), pool(2, 0x0b00_0000, 2)], None);
        let gone = PublicSpace::build(&[pool(1, 0x0a00_00fe, 4)], Some(&space));
        for space in [space, gone] {
            let pooled = |index: &u32| space.address(*index).is_some_and(|(_, pool)| pool != NONE);
            for from in 0..=space.index_end() + 300 {
                let all: Vec<u32> = space.lease_states(from).map(|states| states.index).collect();
                let due: Vec<u32> = (from..space.index_end()).filter(pooled).collect();
                assert_eq!(all, due, "from {from}");
            }
        }
    }

    #[test]
    fn a_lease_is_asked_for_granted_taken_and_given_back() {
        let space = space();
        let index = space.index_of(0x0a00_0001).unwrap();
        let later = PublicSpace::build(&[pool(1, 0x0a00_0000, 4)], Some(&space));
        assert!(!later.leases_required());
        space.set_leases_required(true);
        assert!(later.leases_required(), "whatever the program");
        assert!(!later.acquire(index, 3, 1), "free, but nobody knows of it");
        assert!(!space.grant(index, 3) && space.offer(index, 3) && !space.offer(index, 3));
        assert!(!later.acquire(index, 3, 1), "not acknowledged");
        assert!(!space.mark_peer(index, 3) && !space.install(index, 3, 2));
        assert!(space.grant(index, 3) && later.acquire(index, 3, 1) && !later.acquire(index, 3, 2));
        assert!(!space.withdraw(index, 3), "taken");
        assert!(space.release(index, 3, 1) && space.owner(index, 3) == OWNER_FREE);
        for state in [OWNER_LEASE_PENDING, OWNER_GRANTED] {
            assert!(space.offer(index, 3) && (state == OWNER_LEASE_PENDING || space.grant(index, 3)));
            assert_eq!(space.owner(index, 3), state);
            assert!(space.withdraw(index, 3) && space.owner(index, 3) == OWNER_FREE);
        }
        space.set_leases_required(false);
        assert!(space.acquire(index, 3, 7));
    }

    #[test]
    fn what_the_other_chassis_has_nobody_takes() {
        let space = space();
        let index = space.index_of(0x0a00_0010).unwrap();
        assert!(space.mark_peer(index, 0) && !space.acquire(index, 0, 1) && !space.offer(index, 0));
        assert!(space.install(index, 0, 5) && !space.install(index, 0, 6));
        assert_eq!(space.owner(index, 0), 5);
        assert!(!space.forget(index, 0, 6) && space.forget(index, 0, 5));
        assert!(space.unmark_peer(index, 0) && !space.unmark_peer(index, 0));
        assert!(space.install(index, 0, 5), "an extent whose lease came late");
        // All or nothing, and what was there before comes back.
        assert!(space.mark_peer(index, 1));
        assert!(!space.install_all(index, 3) && !space.acquire_all(index, 3) && !space.is_free(index));
        assert_eq!(space.owner(index, 1), OWNER_PEER);
        assert!(space.release(index, 0, 5) && space.install_all(index, 3));
        assert!((0..16).all(|e| space.release(index, e, 3)) && space.is_free(index));
        space.set_leases_required(true);
        for e in 0..15 {
            assert!(space.offer(index, e) && space.grant(index, e));
        }
        assert!(!space.acquire_all(index, 3));
        let states = space.lease_states(0).find(|s| s.index == index).unwrap();
        assert_eq!((states.count(OWNER_GRANTED), states.count(OWNER_FREE)), (15, 1));
        assert!(space.offer(index, 15) && space.grant(index, 15) && space.acquire_all(index, 3));
    }

    #[test]
    fn the_keeper_sees_addresses_of_pools_only() {
        let space = space();
        let seen: Vec<_> = space.lease_states(0).map(|s| (s.address, s.pool)).collect();
        let expected = (0..4)
            .map(|i| (0x0a00_0000 + i, 1))
            .chain([(0x0a00_0010, 2), (0x0a00_0011, 2)]);
        assert_eq!(seen, expected.collect::<Vec<_>>());
        let index = space.index_of(0x0a00_0002).unwrap();
        assert!(space.offer(index, 9) && space.offer(index, 4) && space.acquire(index, 5, 0));
        let states = space.lease_states(index).next().unwrap();
        assert_eq!(states.extents(OWNER_LEASE_PENDING).collect::<Vec<_>>(), [4, 9]);
        assert_eq!((states.owned(), states.count(OWNER_FREE)), (1, 13));
    }

    /// One keeps the leases, four take: what is taken was granted, by one shard, and nothing gets lost between the states.
    #[test]
    fn shards_and_the_keeper_race_and_every_grant_is_taken_once_or_withdrawn() {
        const ROUNDS: u32 = 20_000;
        let space = space();
        space.set_leases_required(true);
        let index = space.index_of(0x0a00_0000).unwrap();
        let (done, taken) = (AtomicBool::new(false), AtomicU32::new(0));
        let holders: Vec<AtomicU32> = (0..16).map(|_| AtomicU32::new(0)).collect();
        let (granted, withdrawn) = std::thread::scope(|scope| {
            for shard in 0..4u8 {
                let (space, done, taken, holders) = (&space, &done, &taken, &holders);
                scope.spawn(move || {
                    while !done.load(Ordering::Acquire) {
                        for (e, holder) in holders.iter().enumerate() {
                            if !space.acquire(index, e, shard) {
                                continue;
                            }
                            taken.fetch_add(1, Ordering::AcqRel);
                            assert_eq!(holder.swap(u32::from(shard) + 1, Ordering::AcqRel), 0);
                            assert_eq!(holder.swap(0, Ordering::AcqRel), u32::from(shard) + 1);
                            assert!(space.release(index, e, shard));
                        }
                    }
                });
            }
            let keeper = scope.spawn(|| {
                let (mut granted, mut withdrawn) = (0, 0);
                for round in 0..ROUNDS {
                    let e = (round % 16) as usize;
                    if space.offer(index, e) {
                        assert!(space.grant(index, e), "only the keeper moves a pending one");
                        granted += 1;
                    }
                    if round % 3 == 0 && space.withdraw(index, (round / 3 % 16) as usize) {
                        withdrawn += 1;
                    }
                }
                for e in 0..16 {
                    withdrawn += u32::from(space.withdraw(index, e));
                }
                (granted, withdrawn)
            });
            let books = keeper.join();
            done.store(true, Ordering::Release);
            books.unwrap()
        });
        assert_eq!(granted, withdrawn + taken.load(Ordering::Acquire));
        let states = space.lease_states(index).next().unwrap();
        assert_eq!(states.count(OWNER_FREE), 16);
    }
}
