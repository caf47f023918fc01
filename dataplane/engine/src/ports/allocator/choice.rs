//! Which address a subscriber gets: the one it is paired with, or the next of the pool that has room.

use super::address::{Hold, Tag, plan_cursor};
use super::{MAX_PROBES, Outcome, PortAllocator, Request, Taken};
use crate::drop_reason::DropReason;
use crate::ports::extent::Extent;
use crate::program::{AddressAllocation, AddressPooling, NONE, Pool, PoolId, PoolMode};
use crate::public_space::{OWNER_FREE, OWNER_LEASE_PENDING, PublicSpace};
use crate::session::NO_RECORD;
use crate::subscriber::SubscriberTable;

/// What is done on an address that is tried.
pub(super) trait PickPort {
    /// What the address is then in use for.
    const HOLD: Hold;

    /// Whether a pool is for that.
    fn suits(mode: &PoolMode) -> bool;

    /// Takes a port of address number `index`.
    fn pick(
        &mut self,
        allocator: &mut PortAllocator,
        index: u32,
        address: u32,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
    ) -> Result<u16, DropReason>;
}

impl PortAllocator {
    pub(super) fn take_inner<P: PickPort>(
        &mut self,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        picker: &mut P,
    ) -> Outcome {
        let pool = request.pool;
        if pool.drain || !P::suits(&pool.mode) {
            return Err(DropReason::NatOutOfAddresses);
        }
        self.forget_lost_pairing(request.space, request.subscriber, subscribers);
        let Some(subscriber) = subscribers.get(request.subscriber) else {
            return Err(DropReason::SubscriberTableFull);
        };
        let paired =
            (subscriber.paired != NO_RECORD && subscriber.pool == pool.id).then_some(subscriber.paired);
        if let Some(index) = paired.filter(|_| pool.address_pooling != AddressPooling::Arbitrary) {
            match self.take_on(index, request, subscribers, picker) {
                Ok(taken) => return Ok(taken),
                Err(reason) if pool.address_pooling == AddressPooling::Paired => return Err(reason),
                Err(DropReason::SubscriberBlockLimit) => return Err(DropReason::SubscriberBlockLimit),
                Err(_) => {}
            }
        }
        let taken = self.take_anywhere(request, subscribers, picker)?;
        if paired.is_none() {
            self.pair(pool, taken.address_index, request.subscriber, subscribers);
        }
        Ok(taken)
    }

    /// Pairs a subscriber with an address, unless it has one or the pool does not pair. RFC 4787 REQ-2.
    #[inline(always)]
    pub fn pair(
        &mut self,
        pool: &Pool,
        address_index: u32,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
    ) {
        if pool.address_pooling != AddressPooling::Arbitrary
            && let Some(subscriber) = subscribers.get_mut(subscriber)
            && subscriber.paired == NO_RECORD
        {
            (subscriber.paired, subscriber.pool) = (address_index, pool.id);
            if let Some(state) = self.addresses.get_mut(address_index as usize) {
                state.subscribers += 1;
            }
            if let Some(plan) = self.plans.get_mut(usize::from(pool.id)) {
                plan.used.subscribers += 1;
            }
        }
    }

    /// Forgets a subscriber's pairing when it goes.
    pub fn unpair(&mut self, address_index: u32, pool: PoolId) {
        if let Some(state) = self.addresses.get_mut(address_index as usize) {
            state.subscribers = state.subscribers.saturating_sub(1);
        }
        if let Some(plan) = self.plans.get_mut(usize::from(pool)) {
            plan.used.subscribers = plan.used.subscribers.saturating_sub(1);
        }
    }

    /// Ends a pairing with an address that a reload took out of its pool.
    pub(super) fn forget_lost_pairing(
        &mut self,
        space: &PublicSpace,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
    ) {
        let Some(record) = subscribers.get_mut(subscriber) else {
            return;
        };
        let (paired, pool) = (record.paired, record.pool);
        if paired != NO_RECORD && space.address(paired).is_none_or(|(_, now_in)| now_in != pool) {
            (record.paired, record.pool) = (NO_RECORD, NONE);
            self.unpair(paired, pool);
        }
    }

    /// An address for a subscriber whose protocol has no ports: its paired one, or the pool's next, which it is then paired
    /// with.
    pub fn address_for(
        &mut self,
        pool: &Pool,
        space: &PublicSpace,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
    ) -> Option<(u32, u32)> {
        self.forget_lost_pairing(space, subscriber, subscribers);
        let record = subscribers.get_mut(subscriber)?;
        if record.paired != NO_RECORD && record.pool == pool.id {
            return Some((record.paired, space.address(record.paired)?.0));
        }
        let own_start = own_start(pool, record);
        let (shard, shards) = (u32::from(self.shard), u32::from(self.shards));
        let plan = self
            .plans
            .get_mut(usize::from(pool.id))
            .filter(|p| p.total > 0 && p.hold != Hold::Whole)?;
        // A home address, if there is one near: there this shard has ports for the subscriber's other protocols, too.
        let start = own_start.map_or(plan.cursor, |n| n % plan.total);
        let rank = (0..plan.total.min(MAX_PROBES * shards))
            .map(|i| (start + i) % plan.total)
            .find(|rank| plan.address(*rank).is_some_and(|a| a % shards == shard))
            .unwrap_or(start);
        let address = plan.address(rank)?;
        if own_start.is_none() {
            plan.cursor = (rank + 1) % plan.total;
        }
        let index = space.find(address)?.index;
        if record.paired == NO_RECORD && pool.address_pooling != AddressPooling::Arbitrary {
            (record.paired, record.pool) = (index, pool.id);
            plan.used.subscribers += 1;
            self.addresses.get_mut(index as usize)?.subscribers += 1;
        }
        Some((index, address))
    }

    /// Tries addresses of the pool, at most [`MAX_PROBES`] home addresses and then as many of any kind. Where it ends
    /// without success, the next first packet goes on: full addresses in a row hide no free one for long.
    pub(super) fn take_anywhere<P: PickPort>(
        &mut self,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        picker: &mut P,
    ) -> Outcome {
        let id = usize::from(request.pool.id);
        let Some(plan) = self.plans.get(id).filter(|p| p.total > 0) else {
            return Err(DropReason::NatOutOfAddresses);
        };
        let total = plan.total;
        let sequential = request.pool.address_allocation == AddressAllocation::Sequential;
        let shared = total < u32::from(self.shards);
        let own_start = subscribers
            .get(request.subscriber)
            .and_then(|s| own_start(request.pool, s))
            .map(|start| start % total);
        let mut failure = DropReason::NatOutOfPorts;
        let mut rank = 0;
        for home_only in [true, false] {
            if home_only && shared || !home_only && !shared && self.shards == 1 {
                continue;
            }
            let mut probes = 0;
            rank = own_start.unwrap_or_else(|| plan_cursor(&self.plans, id));
            for step in 0..total.min(MAX_PROBES * u32::from(self.shards)) {
                if probes == MAX_PROBES {
                    break;
                }
                let this = rank;
                rank = if rank + 1 >= total { 0 } else { rank + 1 };
                let Some(address) = self.plans[id].address(this) else {
                    break;
                };
                if home_only && !self.is_home_address(address) {
                    continue;
                }
                probes += 1;
                let Some(found) = request.space.find(address) else {
                    continue;
                };
                match self.take_on(found.index, request, subscribers, picker) {
                    Ok(taken) => {
                        // Sequential stays at the first address that had room; round-robin moves on.
                        if own_start.is_some() {
                            return Ok(taken);
                        }
                        if !sequential {
                            self.plans[id].cursor = rank;
                        } else if step > 0 {
                            self.plans[id].cursor = this;
                        }
                        return Ok(taken);
                    }
                    Err(DropReason::SubscriberBlockLimit) => return Err(DropReason::SubscriberBlockLimit),
                    Err(reason) if failure != DropReason::NatLeaseWait => failure = reason,
                    Err(_) => {}
                }
            }
        }
        if own_start.is_none() {
            self.plans[id].cursor = rank;
        }
        Err(failure)
    }

    /// Why an address has no port for a request.
    #[cold]
    pub(super) fn none_on(&mut self, index: u32, request: &Request<'_>) -> DropReason {
        let ports = request.pool.ports;
        let leases = request.space.leases_required();
        let waits = |e| match request.space.owner(index, e) {
            OWNER_FREE | OWNER_LEASE_PENDING => leases,
            _ => self.extent(index, e).is_some_and(Extent::is_held),
        };
        let mut extents = usize::from(ports.first >> 12)..=usize::from(ports.last >> 12);
        if extents.any(waits) {
            self.needs(index);
            DropReason::NatLeaseWait
        } else {
            DropReason::NatOutOfPorts
        }
    }

    pub(super) fn is_home_address(&self, address: u32) -> bool {
        address % u32::from(self.shards) == u32::from(self.shard)
    }

    /// Takes a port on one address.
    #[inline(always)]
    fn take_on<P: PickPort>(
        &mut self,
        index: u32,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        picker: &mut P,
    ) -> Outcome {
        let Some((address, pool)) = request.space.address(index) else {
            return Err(DropReason::NatOutOfAddresses);
        };
        let state = self
            .addresses
            .get(index as usize)
            .ok_or(DropReason::NatOutOfAddresses)?;
        let tag = Tag::new(P::HOLD, pool);
        if pool != request.pool.id
            || state.tag != Tag::NONE && state.tag != tag && !self.take_over(index, tag)
        {
            return Err(DropReason::NatOutOfAddresses);
        }
        let port = picker.pick(self, index, address, request, subscribers)?;
        self.addresses[index as usize].used += 1;
        Ok(Taken {
            address_index: index,
            address,
            port,
        })
    }
}

/// Where a subscriber begins that is paired in another pool: always at the same place, so that it keeps one address here,
/// too, as long as that has room. The record has room for one pairing.
fn own_start(pool: &Pool, subscriber: &crate::subscriber::Subscriber) -> Option<u32> {
    (pool.address_pooling != AddressPooling::Arbitrary
        && subscriber.paired != NO_RECORD
        && subscriber.pool != pool.id)
        .then(|| subscriber.spread() >> 8)
}
