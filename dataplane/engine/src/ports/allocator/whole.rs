//! Whole addresses: a subscriber has a public address for itself and keeps its ports (dynamic NAT44 without ports).
//!
//! A worker takes all extents of an address at once, so nobody else can have ports of it, and keeps no bits for them.
//! Given back, the address rests for the pool's quarantine with its extents still taken, and is then anyone's:
//!
//! ```text
//!   free in the public space --take_address--> in use --release_address--> rests (in a wheel) --tick--> free
//! ```

use super::address::{Hold, Tag};
use super::{Outcome, PortAllocator, Taken};
use crate::drop_reason::DropReason;
use crate::program::{NONE, Pool};
use crate::public_space::{EXTENTS_PER_ADDRESS, PublicSpace};
use crate::session::NO_RECORD;
use crate::subscriber::{Subscriber, SubscriberTable};
use crate::ticks::Ticks;

/// Addresses looked at for one subscriber, at most: four to a cache line of owners, and only when a subscriber begins.
const MAX_LOOKS: u32 = 1024;
/// How long a pool counts as exhausted when no address of it was free.
const EXHAUSTED_TICKS: u32 = Ticks::PER_SECOND;

impl PortAllocator {
    /// Takes a whole address for a subscriber: all its ports, for nobody else, on this worker. The subscriber is paired with
    /// it unless it is paired in another pool. The pool's mode is [`crate::program::PoolMode::Addresses`]; the order is by
    /// its `address_allocation`, those whose home this worker is first. The port of what it returns is 0.
    ///
    /// # Errors
    /// [`DropReason::NatLeaseWait`] when one would be free but for its lease; [`DropReason::NatOutOfAddresses`] when none was
    /// found (1024 are looked at; the next call goes on from there, and when
    /// the whole pool was looked at in vain, it is not looked at again for a second). Nothing changed then.
    pub fn take_address(
        &mut self,
        pool: &Pool,
        space: &PublicSpace,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> Outcome {
        let taken = self.take_whole(pool, space, subscriber, subscribers, now);
        if taken.is_err()
            && let Some(plan) = self.plans.get_mut(usize::from(pool.id))
        {
            plan.used.refused += 1;
        }
        taken
    }

    fn take_whole(
        &mut self,
        pool: &Pool,
        space: &PublicSpace,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> Outcome {
        if pool.drain || Hold::of(&pool.mode) != Hold::Whole {
            return Err(DropReason::NatOutOfAddresses);
        }
        self.forget_lost_pairing(space, subscriber, subscribers);
        let Some(record) = subscribers.get_mut(subscriber) else {
            return Err(DropReason::SubscriberTableFull);
        };
        let (address_index, address) = self
            .find_whole(pool, space, now)
            .ok_or_else(|| self.no_whole(pool))?;
        let state = &mut self.addresses[address_index as usize];
        (state.tag, state.owned) = (Tag::of(pool), u16::MAX);
        if let Some(plan) = self.plans.get_mut(usize::from(pool.id)) {
            plan.used.extents += EXTENTS_PER_ADDRESS as u64;
        }
        self.use_whole(pool, address_index, record);
        Ok(Taken {
            address_index,
            address,
            port: 0,
        })
    }

    /// An address of this worker is the subscriber's from now on, who is paired with it.
    pub(super) fn use_whole(&mut self, pool: &Pool, address_index: u32, record: &mut Subscriber) {
        let state = &mut self.addresses[address_index as usize];
        state.used = 1;
        if record.paired != NO_RECORD && record.pool != pool.id {
            return;
        }
        state.subscribers += 1;
        let before = std::mem::replace(&mut record.paired, address_index);
        record.pool = pool.id;
        if let Some(plan) = self.plans.get_mut(usize::from(pool.id)) {
            plan.used.subscribers += 1;
        }
        if before != NO_RECORD {
            self.unpair(before, pool.id);
        }
    }

    /// Why no address was found.
    #[cold]
    fn no_whole(&self, pool: &Pool) -> DropReason {
        match self.plans.get(usize::from(pool.id)) {
            Some(plan) if plan.waits_for_lease => DropReason::NatLeaseWait,
            _ => DropReason::NatOutOfAddresses,
        }
    }

    /// Finds a free address and takes its extents: the next home one, or else the next.
    fn find_whole(&mut self, pool: &Pool, space: &PublicSpace, now: Ticks) -> Option<(u32, u32)> {
        let id = usize::from(pool.id);
        let plan = self
            .plans
            .get(id)
            .filter(|p| p.total > 0 && p.exhausted_until <= now)?;
        let (total, start) = (plan.total, plan.cursor);
        let looks = total.min(MAX_LOOKS);
        let mut foreign = None;
        for i in 0..looks {
            let rank = (start + i) % total;
            let Some((index, address)) = self.free_whole(id, rank, space) else {
                continue;
            };
            if !self.is_home_address(address) {
                foreign = foreign.or(Some((rank, index, address)));
            } else if space.acquire_all(index, self.shard) {
                return Some(self.found_whole(id, rank, index, address));
            }
        }
        if let Some((rank, index, address)) = foreign
            && space.acquire_all(index, self.shard)
        {
            return Some(self.found_whole(id, rank, index, address));
        }
        let plan = self.plans.get_mut(id)?;
        plan.cursor = (start + looks) % total;
        plan.fruitless += looks;
        if plan.fruitless >= total {
            let pause = if plan.waits_for_lease { 1 } else { EXHAUSTED_TICKS };
            (plan.fruitless, plan.exhausted_until) = (0, now.plus(Ticks(pause)));
        }
        None
    }

    /// The address of a rank, if nobody has anything of it.
    fn free_whole(&mut self, id: usize, rank: u32, space: &PublicSpace) -> Option<(u32, u32)> {
        let address = self.plans.get(id)?.address(rank)?;
        let index = space.find(address)?.index;
        if !space.is_free(index) {
            self.plans.get_mut(id)?.waits_for_lease |= space.waits_for_lease(index);
            return None;
        }
        ((index as usize) < self.addresses.len()).then_some((index, address))
    }

    fn found_whole(&mut self, id: usize, rank: u32, index: u32, address: u32) -> (u32, u32) {
        if let Some(plan) = self.plans.get_mut(id) {
            plan.cursor = if rank + 1 >= plan.total { 0 } else { rank + 1 };
            (plan.fruitless, plan.waits_for_lease) = (0, false);
        }
        (index, address)
    }

    /// Gives a whole address back. It rests for the quarantine of `pool`, the one it is in now, or for two minutes when it
    /// is in none. Of a pool that follows the other chassis sees to that, and may give it to another shard before this one would:
    /// the address is taken for the other chassis' at once, unless it `rests` here in any case. False when it was not in use: a defect.
    #[allow(clippy::too_many_arguments)] // As `release`: the facts of one address.
    pub fn release_address(
        &mut self,
        space: &PublicSpace,
        pool: Option<&Pool>,
        rests: bool,
        address_index: u32,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> bool {
        let Some(state) = self
            .addresses
            .get_mut(address_index as usize)
            .filter(|s| s.used != 0 && s.tag.hold() == Hold::Whole)
        else {
            return false;
        };
        let until = now.plus(Self::quarantine(pool));
        (state.used, state.idle_since, state.rest_until) = (0, now.0, until.0);
        self.last_end = now;
        let follows = self.plans.get(state.tag.plan()).is_some_and(|p| p.follows);
        if follows && !rests {
            self.give_up_whole(space, address_index);
        } else {
            self.resting.insert(&mut self.addresses, address_index, until);
        }
        if let Some(record) = subscribers.get_mut(subscriber)
            && record.paired == address_index
        {
            let pool = std::mem::replace(&mut record.pool, NONE);
            record.paired = NO_RECORD;
            self.unpair(address_index, pool);
        }
        true
    }

    /// Gives the next address that has rested, if any, back to the public space.
    pub(super) fn end_rest(&mut self, space: &PublicSpace, now: Ticks) {
        let Some(index) = self.resting.expire_one(&mut self.addresses, now) else {
            return;
        };
        let state = &mut self.addresses[index as usize];
        let plan = self.plans.get(state.tag.plan());
        let held_until = plan.map_or(Ticks::ZERO, |p| p.held_until);
        let mut until = Ticks(state.rest_until).max(held_until);
        if !self.wait.is_settled(state.idle_since) {
            until = until.max(now.plus(Ticks::from_seconds(1)));
        }
        if until > now {
            self.resting.insert(&mut self.addresses, index, until);
            return;
        }
        self.give_up_whole(space, index);
    }

    /// An address that is in use no more is the public space's.
    fn give_up_whole(&mut self, space: &PublicSpace, index: u32) {
        let state = &mut self.addresses[index as usize];
        let tag = std::mem::replace(&mut state.tag, Tag::NONE);
        state.owned = 0;
        let follows = self.plans.get(tag.plan()).is_some_and(|p| p.follows);
        for e in 0..EXTENTS_PER_ADDRESS {
            if follows {
                space.forget(index, e, self.shard);
            } else {
                space.release(index, e, self.shard);
            }
        }
        let Some(plan) = self.plans.get_mut(tag.plan()) else {
            return;
        };
        plan.used.extents = plan.used.extents.saturating_sub(EXTENTS_PER_ADDRESS as u64);
        plan.exhausted_until = Ticks::ZERO;
        if plan.sequential
            && let Some(rank) = space.address(index).and_then(|(address, _)| plan.rank(address))
        {
            plan.cursor = plan.cursor.min(rank);
        }
    }
}
