//! The allocator of one worker: addresses for subscribers, extents for addresses, ports for mappings.
//!
//! Extents are taken from the shared public space, its own ("home") ones first: with as many addresses as workers or
//! more, an address' home is one worker; with fewer, an extent's home is. So workers rarely meet on an address, and when a
//! worker's own are used up it takes what others have not touched.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use super::block::{Block, BlockEvent, BlockEventKind, BlockTable};
use super::extent::{ANY_PARITY, Acceptable, EVEN, Extent, ODD, PortClass, Rest};
use crate::drop_reason::DropReason;
use crate::hash::Rng;
use crate::mem::{HugeSlice, OutOfMemory, Pages, prefetch_index};
use crate::program::{AddressAllocation, AddressPooling, NONE, Pool, PoolId, PortAllocation, Program};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS, MAX_CHUNKS, PublicSpace};
use crate::session::NO_RECORD;
use crate::slab::Slab;
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;
use crate::view::PoolUse;
use crate::wheel::Wheel;

/// Public addresses a chassis can have over its life.
pub const MAX_ADDRESSES: usize = MAX_CHUNKS * 256;
/// Addresses looked at for one allocation, at most.
const MAX_PROBES: u32 = 64;
/// Block events that wait for the log, at most; more are counted as lost.
const MAX_EVENTS: usize = 8192;
/// Address states looked at per second to give idle foreign extents back.
const SWEEP_PER_SECOND: u32 = 64;

/// What is known of one public address on this worker.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(128))]
struct AddressState {
    /// Slab number of each owned extent plus one; 0 when not owned.
    extents: [u32; EXTENTS_PER_ADDRESS],
    /// Ports in use, all classes.
    used: u32,
    /// Subscribers paired with it.
    subscribers: u32,
    /// When `used` last became 0.
    idle_since: u32,
    /// Next port to try, sequential allocation.
    cursor: [u16; 3],
    /// Pool the extents were taken for, plus one; 0 when none are.
    pool_plus_one: u16,
    /// Bit per owned extent.
    owned: u16,
}

/// What a mapping asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// From which pool.
    pub pool: &'a Pool,
    /// Where its addresses are.
    pub space: &'a PublicSpace,
    /// Of which class.
    pub class: PortClass,
    /// For which inside port (range and parity preservation).
    pub inside_port: u16,
    /// The port next to which it would like to be, if any (contiguity): address index and port.
    pub next_to: Option<(u32, u16)>,
    /// Subscriber number.
    pub subscriber: u32,
    /// Now.
    pub now: Ticks,
}

/// What it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Index of the public address.
    pub address_index: u32,
    /// The public address.
    pub address: u32,
    /// The port.
    pub port: u16,
}

/// A port, or why there was none.
pub type Outcome = Result<Taken, DropReason>;

/// Ranks of a pool's addresses.
#[derive(Clone, Debug, Default)]
struct PoolPlan {
    /// (rank of the first, first address, count)
    ranges: Vec<(u32, u32, u32)>,
    total: u32,
    cursor: u32,
    used: PoolUse,
}

impl PoolPlan {
    fn address(&self, rank: u32) -> Option<u32> {
        let at = self
            .ranges
            .partition_point(|(start, _, _)| *start <= rank)
            .checked_sub(1)?;
        let (start, first, count) = *self.ranges.get(at)?;
        (rank - start < count).then(|| first + (rank - start))
    }
}

/// The allocator of one worker.
#[derive(Debug)]
pub struct PortAllocator {
    worker: u8,
    workers: u8,
    addresses: HugeSlice<AddressState>,
    extents: HugeSlice<Extent>,
    slab: Slab,
    blocks: BlockTable,
    block_wheel: Wheel,
    plans: Vec<PoolPlan>,
    rng: Rng,
    events: Vec<BlockEvent>,
    events_lost: u64,
    sweep: u32,
    swept: u32,
}

impl PortAllocator {
    /// An allocator for `worker` of `workers`, with room for `max_extents` extents and `max_blocks` blocks.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(
        worker: u8,
        workers: u8,
        max_extents: u32,
        max_blocks: u32,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            worker,
            workers: workers.max(1),
            addresses: HugeSlice::new(MAX_ADDRESSES, "public addresses", Pages::Lazy)?,
            extents: HugeSlice::new(max_extents as usize, "port extents", Pages::Lazy)?,
            slab: Slab::new(max_extents),
            blocks: BlockTable::new(max_blocks)?,
            block_wheel: Wheel::new(Ticks::ZERO),
            plans: Vec::new(),
            rng: Rng::new(seed),
            events: Vec::with_capacity(MAX_EVENTS),
            events_lost: 0,
            sweep: 0,
            swept: 0,
        })
    }

    /// Takes up a new program: pools may have come, gone or changed their addresses.
    pub fn apply(&mut self, program: &Program) {
        let mut old = std::mem::take(&mut self.plans);
        let count = program
            .pools
            .iter()
            .map(|p| usize::from(p.id) + 1)
            .max()
            .unwrap_or(0)
            .max(old.len());
        old.resize_with(count, PoolPlan::default);
        for plan in &mut old {
            plan.ranges.clear();
            plan.total = 0;
        }
        self.plans = old;
        for pool in &program.pools {
            let plan = &mut self.plans[usize::from(pool.id)];
            plan.used.pool = pool.id;
            for range in &pool.addresses {
                let count = (range.last - range.first).saturating_add(1);
                plan.ranges.push((plan.total, range.first, count));
                plan.total = plan.total.saturating_add(count);
            }
            // Workers start apart, so that round-robin does not send all of them to the same address.
            if plan.cursor >= plan.total {
                plan.cursor = 0;
            }
        }
    }

    /// Asks for the lines a subscriber's next allocation will touch.
    #[inline]
    pub fn prefetch_address(&self, address_index: u32) {
        if address_index != NO_RECORD {
            prefetch_index(&self.addresses, address_index as usize);
        }
    }

    /// The quarantine of a pool's ports; two minutes when the pool is gone. RFC 6888 REQ-8.
    fn rest(pool: Option<&Pool>, now: Ticks) -> Rest {
        Rest::new(now, pool.map_or(Ticks::from_seconds(120), |p| p.quarantine))
    }

    /// Whether this worker's ports of an address were taken for `pool`, so that its mappings may serve on.
    #[inline]
    #[must_use]
    pub fn serves(&self, address_index: u32, pool: PoolId) -> bool {
        self.addresses
            .get(address_index as usize)
            .is_some_and(|state| state.pool_plus_one == pool.wrapping_add(1))
    }

    /// Takes a port for a mapping of `request.subscriber`.
    ///
    /// # Errors
    /// Why there was none. Nothing changed then, and nothing of anybody's was taken away to make room (RFC 6888 REQ-11D).
    pub fn take(&mut self, request: &Request<'_>, subscribers: &mut SubscriberTable) -> Outcome {
        let taken = self.take_inner(request, subscribers);
        let plan = self.plans.get_mut(usize::from(request.pool.id));
        match (&taken, plan) {
            (Ok(_), Some(plan)) => *class_count(&mut plan.used, request.class) += 1,
            (Err(_), Some(plan)) => plan.used.refused += 1,
            _ => {}
        }
        if taken.is_ok()
            && let Some(subscriber) = subscribers.get_mut(request.subscriber)
        {
            subscriber.ports[request.class as usize] += 1;
        }
        taken
    }

    fn take_inner(&mut self, request: &Request<'_>, subscribers: &mut SubscriberTable) -> Outcome {
        let pool = request.pool;
        if pool.drain {
            return Err(DropReason::NatOutOfAddresses);
        }
        self.forget_lost_pairing(request.space, request.subscriber, subscribers);
        let Some(subscriber) = subscribers.get(request.subscriber) else {
            return Err(DropReason::SubscriberTableFull);
        };
        let paired =
            (subscriber.paired != NO_RECORD && subscriber.pool == pool.id).then_some(subscriber.paired);
        if let Some(index) = paired.filter(|_| pool.address_pooling != AddressPooling::Arbitrary) {
            match self.take_on(index, request, subscribers) {
                Ok(taken) => return Ok(taken),
                Err(reason) if pool.address_pooling == AddressPooling::Paired => return Err(reason),
                Err(DropReason::SubscriberBlockLimit) => return Err(DropReason::SubscriberBlockLimit),
                Err(_) => {}
            }
        }
        let taken = self.take_anywhere(request, subscribers)?;
        if paired.is_none()
            && pool.address_pooling != AddressPooling::Arbitrary
            && let Some(subscriber) = subscribers.get_mut(request.subscriber)
            && subscriber.paired == NO_RECORD
        {
            (subscriber.paired, subscriber.pool) = (taken.address_index, pool.id);
            self.addresses[taken.address_index as usize].subscribers += 1;
            self.plans[usize::from(pool.id)].used.subscribers += 1;
        }
        Ok(taken)
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
    fn forget_lost_pairing(
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
        let (worker, workers) = (u32::from(self.worker), u32::from(self.workers));
        let plan = self.plans.get_mut(usize::from(pool.id)).filter(|p| p.total > 0)?;
        // A home address, if there is one near: there this worker has ports for the subscriber's other protocols, too.
        let start = own_start.map_or(plan.cursor, |n| n % plan.total);
        let rank = (0..plan.total.min(MAX_PROBES * workers))
            .map(|i| (start + i) % plan.total)
            .find(|rank| plan.address(*rank).is_some_and(|a| a % workers == worker))
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
    fn take_anywhere(&mut self, request: &Request<'_>, subscribers: &mut SubscriberTable) -> Outcome {
        let id = usize::from(request.pool.id);
        let Some(plan) = self.plans.get(id).filter(|p| p.total > 0) else {
            return Err(DropReason::NatOutOfAddresses);
        };
        let total = plan.total;
        let sequential = request.pool.address_allocation == AddressAllocation::Sequential;
        let shared = total < u32::from(self.workers);
        let own_start = subscribers
            .get(request.subscriber)
            .and_then(|s| own_start(request.pool, s))
            .map(|start| start % total);
        let mut failure = DropReason::NatOutOfPorts;
        let mut rank = 0;
        for home_only in [true, false] {
            if home_only && shared || !home_only && !shared && self.workers == 1 {
                continue;
            }
            let mut probes = 0;
            rank = own_start.unwrap_or_else(|| plan_cursor(&self.plans, id));
            for step in 0..total.min(MAX_PROBES * u32::from(self.workers)) {
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
                match self.take_on(found.index, request, subscribers) {
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
                    Err(reason) => failure = reason,
                }
            }
        }
        if own_start.is_none() {
            self.plans[id].cursor = rank;
        }
        Err(failure)
    }

    fn is_home_address(&self, address: u32) -> bool {
        address % u32::from(self.workers) == u32::from(self.worker)
    }

    /// Takes a port on one address.
    fn take_on(&mut self, index: u32, request: &Request<'_>, subscribers: &mut SubscriberTable) -> Outcome {
        let Some((address, pool)) = request.space.address(index) else {
            return Err(DropReason::NatOutOfAddresses);
        };
        let state = self
            .addresses
            .get(index as usize)
            .ok_or(DropReason::NatOutOfAddresses)?;
        if pool != request.pool.id
            || state.pool_plus_one != 0 && state.pool_plus_one != pool + 1 && !self.take_over(index, pool)
        {
            return Err(DropReason::NatOutOfAddresses);
        }
        let port = if let Some(blocks) = request.pool.port_blocks {
            self.take_from_blocks(index, address, blocks, request, subscribers)?
        } else {
            self.take_shared(index, address, request)
                .ok_or(DropReason::NatOutOfPorts)?
        };
        self.addresses[index as usize].used += 1;
        Ok(Taken {
            address_index: index,
            address,
            port,
        })
    }

    /// An address that a reload moved between pools is used again when the old pool's sessions and blocks are gone. Its
    /// extents stay, and with them what they know of ports in quarantine.
    #[cold]
    fn take_over(&mut self, index: u32, pool: PoolId) -> bool {
        let Some(state) = self.addresses.get(index as usize).copied() else {
            return false;
        };
        if state.used != 0 || self.has_blocks(index) {
            return false;
        }
        let extents = u64::from(state.owned.count_ones());
        let old = usize::from(state.pool_plus_one.wrapping_sub(1));
        if let Some(plan) = self.plans.get_mut(old) {
            plan.used.extents = plan.used.extents.saturating_sub(extents);
        }
        if let Some(plan) = self.plans.get_mut(usize::from(pool)) {
            plan.used.extents += extents;
        }
        self.addresses[index as usize].pool_plus_one = pool + 1;
        true
    }

    // ---- ports shared by all subscribers of an address -------------------------------------------------------------

    fn take_shared(&mut self, index: u32, address: u32, request: &Request<'_>) -> Option<u16> {
        if self.addresses[index as usize].owned == 0 {
            self.acquire_home(index, address, request);
        }
        let rest = Self::rest(Some(request.pool), request.now);
        if let Some((near, port)) = request.next_to
            && near == index
            && port != 0
            && request.pool.ports.contains(port)
            && let Some(extent) = self.extent_of(index, port)
            && extent.take_exact(request.class, rest, u32::from(port) % EXTENT_PORTS, false)
        {
            return Some(port);
        }
        for (first, last) in port_ranges(request) {
            loop {
                if let Some(port) = self.take_in_range(index, request, rest, (first, last), false) {
                    return Some(port);
                }
                if !self.acquire_one(index, address, request, first, last) {
                    break;
                }
            }
        }
        None
    }

    fn extent_of(&mut self, index: u32, port: u16) -> Option<&mut Extent> {
        let slot = self.addresses.get(index as usize)?.extents[usize::from(port >> 12)];
        self.extents.get_mut(slot.checked_sub(1)? as usize)
    }

    /// Takes a port of `first..=last` in the extents owned on this address.
    fn take_in_range(
        &mut self,
        index: u32,
        request: &Request<'_>,
        rest: Rest,
        (first, last): (u32, u32),
        in_block: bool,
    ) -> Option<u16> {
        let parity = match (request.pool.preserve_parity, request.inside_port % 2) {
            (false, _) => ANY_PARITY,
            (true, 0) => EVEN,
            (true, _) => ODD,
        };
        let state = self.addresses[index as usize];
        let sequential = request.pool.port_allocation == PortAllocation::Sequential;
        let start = if sequential {
            u32::from(state.cursor[request.class as usize]).clamp(first, last)
        } else {
            first + self.rng.below(last - first + 1)
        };
        let start_extent = start / EXTENT_PORTS;
        // One turn over the extents; sequential comes back to the first for the ports below its start.
        for i in 0..=EXTENTS_PER_ADDRESS as u32 {
            let e = (start_extent + i) % EXTENTS_PER_ADDRESS as u32;
            let base = e * EXTENT_PORTS;
            let (mut low, high) = (first.max(base), last.min(base + EXTENT_PORTS - 1));
            if i == 0 && sequential {
                low = low.max(start);
            }
            let slot = state.extents[e as usize];
            if slot == 0 || low > high {
                continue;
            }
            let ok = Acceptable {
                first: low - base,
                last: high - base,
                parity,
                in_block,
            };
            let Some(extent) = self.extents.get_mut(slot as usize - 1) else {
                continue;
            };
            let port = if sequential {
                extent.take_lowest(request.class, rest, ok)
            } else {
                extent.take_random(request.class, rest, ok, &mut self.rng)
            };
            if let Some(port) = port {
                let port = base as u16 + port;
                if sequential {
                    self.addresses[index as usize].cursor[request.class as usize] = port.saturating_add(1);
                }
                return Some(port);
            }
        }
        None
    }

    // ---- extents ---------------------------------------------------------------------------------------------------

    /// Takes the free home extents of an address that has none yet.
    fn acquire_home(&mut self, index: u32, address: u32, request: &Request<'_>) {
        let total = self
            .plans
            .get(usize::from(request.pool.id))
            .map_or(0, |p| p.total);
        let by_address = total >= u32::from(self.workers);
        if by_address && !self.is_home_address(address) {
            return;
        }
        let ports = request.pool.ports;
        for e in usize::from(ports.first >> 12)..=usize::from(ports.last >> 12) {
            if by_address || e % usize::from(self.workers) == usize::from(self.worker) {
                self.acquire(index, e, request);
            }
        }
    }

    /// Takes one more free extent that has ports of `first..=last`; false when there is none.
    fn acquire_one(
        &mut self,
        index: u32,
        _address: u32,
        request: &Request<'_>,
        first: u32,
        last: u32,
    ) -> bool {
        let (from, to) = (first / EXTENT_PORTS, last / EXTENT_PORTS);
        let count = to - from + 1;
        let start = self.rng.below(count);
        (0..count).any(|i| self.acquire(index, (from + (start + i) % count) as usize, request))
    }

    fn acquire(&mut self, index: u32, extent: usize, request: &Request<'_>) -> bool {
        if self.slab.peek().is_none() || !request.space.acquire(index, extent, self.worker) {
            return false;
        }
        let extents = &self.extents;
        let Some(slot) = self.slab.take(|n| extents[n as usize].unit_block[0]) else {
            return false;
        };
        self.extents[slot as usize].reset();
        let state = &mut self.addresses[index as usize];
        state.extents[extent] = slot + 1;
        state.owned |= 1 << extent;
        state.pool_plus_one = request.pool.id + 1;
        state.idle_since = request.now.0;
        if let Some(plan) = self.plans.get_mut(usize::from(request.pool.id)) {
            plan.used.extents += 1;
        }
        true
    }

    /// Gives all extents of an address back to the public space.
    fn release_extents(&mut self, index: u32, space: &PublicSpace) {
        let Some(state) = self.addresses.get_mut(index as usize) else {
            return;
        };
        let mut given = 0;
        for (e, slot) in state.extents.iter_mut().enumerate() {
            if let Some(number) = slot.checked_sub(1) {
                self.extents[number as usize].unit_block[0] = self.slab.give_back(number);
                *slot = 0;
                given += 1;
                space.release(index, e, self.worker);
            }
        }
        let pool = usize::from(state.pool_plus_one.wrapping_sub(1));
        (state.owned, state.pool_plus_one) = (0, 0);
        if let Some(plan) = self.plans.get_mut(pool) {
            plan.used.extents = plan.used.extents.saturating_sub(given);
        }
    }

    // ---- port blocks -----------------------------------------------------------------------------------------------

    fn take_from_blocks(
        &mut self,
        index: u32,
        address: u32,
        config: crate::program::PortBlocks,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
    ) -> Result<u16, DropReason> {
        let Some(subscriber) = subscribers.get(request.subscriber).copied() else {
            return Err(DropReason::SubscriberTableFull);
        };
        let may_grow = subscriber.block_count < config.max_blocks_per_subscriber;
        let active = self.blocks.get(subscriber.blocks);
        let active_expired = config.active_block_timeout != Ticks::ZERO
            && active.is_some_and(|b| {
                request.now.since(Ticks(b.created)).0 >= config.active_block_timeout.0
                    && b.pool == request.pool.id
            });
        if !(active_expired && may_grow)
            && let Some(port) = self.take_from_own_blocks(index, request, subscriber.blocks)
        {
            return Ok(port);
        }
        if !may_grow {
            return Err(DropReason::SubscriberBlockLimit);
        }
        match self.take_from_new_block(index, address, config.block_size, request, subscribers) {
            // The active block is old, but it is what there is.
            Err(reason) if active_expired => self
                .take_from_own_blocks(index, request, subscriber.blocks)
                .ok_or(reason),
            result => result,
        }
    }

    /// A port of the blocks the subscriber has on this address. The head of the list is the active block; the older ones
    /// only serve when it is full.
    fn take_from_own_blocks(&mut self, index: u32, request: &Request<'_>, first_block: u32) -> Option<u16> {
        let rest = Self::rest(Some(request.pool), request.now);
        let mut block = first_block;
        while let Some(b) = self.blocks.get(block).copied() {
            if b.address_index == index
                && b.pool == request.pool.id
                && let Some(port) = self.take_block_port(index, request, rest, &b)
            {
                if let Some(b) = self.blocks.get_mut(block) {
                    b.used += 1;
                }
                return Some(port);
            }
            block = b.next;
        }
        None
    }

    /// A new block for the subscriber, and a port of it.
    fn take_from_new_block(
        &mut self,
        index: u32,
        address: u32,
        block_size: u16,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
    ) -> Result<u16, DropReason> {
        let Some(subscriber) = subscribers.get(request.subscriber).copied() else {
            return Err(DropReason::SubscriberTableFull);
        };
        let rest = Self::rest(Some(request.pool), request.now);
        if self.blocks.is_full() {
            return Err(DropReason::BlockTableFull);
        }
        let first_port = self
            .find_block(index, address, block_size, rest, request)
            .ok_or(DropReason::NatOutOfPorts)?;
        let record = Block::new(
            request.subscriber,
            subscriber.blocks,
            index,
            request.pool.id,
            first_port,
            block_size,
            request.now,
        );
        let Some(number) = self.blocks.insert(record) else {
            return Err(DropReason::BlockTableFull);
        };
        if let Some(extent) = self.extent_of(index, first_port) {
            let (unit, count) = units(first_port, block_size);
            extent.units_taken |= unit_mask(unit, count);
            extent.unit_block[unit..unit + count].fill(number);
        }
        if let Some(s) = subscribers.get_mut(request.subscriber) {
            s.blocks = number;
            s.block_count += 1;
        }
        self.plans[usize::from(request.pool.id)].used.blocks += 1;
        if let Some(deadline) = next_deadline(&record, request.pool) {
            self.block_wheel.insert(&mut self.blocks, number, deadline);
        } else {
            self.block_wheel.insert(&mut self.blocks, number, Ticks(u32::MAX));
        }
        self.log(
            BlockEventKind::Allocated,
            &record,
            subscriber.service_set,
            subscriber.address,
            address,
            request.now,
        );
        let port = self
            .take_block_port(index, request, rest, &record)
            .ok_or(DropReason::NatOutOfPorts)?;
        if let Some(b) = self.blocks.get_mut(number) {
            b.used += 1;
        }
        Ok(port)
    }

    fn take_block_port(
        &mut self,
        index: u32,
        request: &Request<'_>,
        rest: Rest,
        block: &Block,
    ) -> Option<u16> {
        let (first, last) = (u32::from(block.first_port), u32::from(block.last_port()));
        if let Some((near, port)) = request.next_to
            && near == index
            && (block.first_port..=block.last_port()).contains(&port)
            && let Some(extent) = self.extent_of(index, port)
            && extent.take_exact(request.class, rest, u32::from(port) % EXTENT_PORTS, true)
        {
            return Some(port);
        }
        self.take_in_range(index, request, rest, (first, last), true)
    }

    /// Finds a clean block on an address, taking another extent if need be.
    fn find_block(
        &mut self,
        index: u32,
        address: u32,
        size: u16,
        rest: Rest,
        request: &Request<'_>,
    ) -> Option<u16> {
        if self.addresses[index as usize].owned == 0 {
            self.acquire_home(index, address, request);
        }
        let (first, last) = (
            u32::from(request.pool.ports.first.max(1)),
            u32::from(request.pool.ports.last),
        );
        loop {
            let start = if request.pool.port_allocation == PortAllocation::Random {
                self.rng.below(EXTENTS_PER_ADDRESS as u32)
            } else {
                0
            };
            for i in 0..EXTENTS_PER_ADDRESS as u32 {
                let e = (start + i) % EXTENTS_PER_ADDRESS as u32;
                if let Some(port) = self.find_block_in(index, e, size, rest, request, first, last) {
                    return Some(port);
                }
            }
            if !self.acquire_one(index, address, request, first, last) {
                return None;
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // One call site; a struct for it would say less.
    fn find_block_in(
        &mut self,
        index: u32,
        e: u32,
        size: u16,
        rest: Rest,
        request: &Request<'_>,
        first: u32,
        last: u32,
    ) -> Option<u16> {
        let slot = self.addresses[index as usize].extents[e as usize].checked_sub(1)?;
        let count = usize::from(size / 64);
        let positions = super::extent::UNITS / count;
        let start = if request.pool.port_allocation == PortAllocation::Random {
            self.rng.below(positions as u32) as usize
        } else {
            0
        };
        let extent = self.extents.get_mut(slot as usize)?;
        (0..positions)
            .map(|i| (start + i) % positions * count)
            .find_map(|unit| {
                let port = e * EXTENT_PORTS + unit as u32 * 64;
                let fits = port >= first && port + u32::from(size) - 1 <= last;
                (fits
                    && extent.units_taken & unit_mask(unit, count) == 0
                    && extent.units_are_clean(unit, count, rest))
                .then_some(port as u16)
            })
    }

    /// Gives a block back.
    fn release_block(
        &mut self,
        number: u32,
        space: &PublicSpace,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) {
        let Some(block) = self.blocks.get(number).copied() else {
            return;
        };
        self.block_wheel.remove(&mut self.blocks, number);
        if let Some(extent) = self.extent_of(block.address_index, block.first_port) {
            let (unit, count) = units(block.first_port, block.size);
            extent.units_taken &= !unit_mask(unit, count);
            extent.unit_block[unit..unit + count].fill(NO_RECORD);
        }
        let mut owner = (0, 0);
        if let Some(subscriber) = subscribers.get_mut(block.subscriber) {
            owner = (subscriber.service_set, subscriber.address);
            subscriber.block_count -= 1;
            if subscriber.blocks == number {
                subscriber.blocks = block.next;
            } else {
                let mut before = subscriber.blocks;
                while let Some(b) = self.blocks.get_mut(before) {
                    if b.next == number {
                        b.next = block.next;
                        break;
                    }
                    before = b.next;
                }
            }
        }
        if let Some(plan) = self.plans.get_mut(usize::from(block.pool)) {
            plan.used.blocks = plan.used.blocks.saturating_sub(1);
        }
        let public = space
            .address(block.address_index)
            .map_or(0, |(address, _)| address);
        self.log(BlockEventKind::Released, &block, owner.0, owner.1, public, now);
        self.blocks.remove(number);
    }

    fn log(
        &mut self,
        kind: BlockEventKind,
        block: &Block,
        service_set: u16,
        inside: u32,
        public: u32,
        now: Ticks,
    ) {
        if self.events.len() == MAX_EVENTS {
            self.events_lost += 1;
            return;
        }
        self.events.push(BlockEvent {
            kind,
            at: now,
            since: Ticks(block.created),
            service_set,
            pool: block.pool,
            inside,
            public,
            first_port: block.first_port,
            last_port: block.last_port(),
        });
    }

    // ---- giving back -----------------------------------------------------------------------------------------------

    /// Frees a port. False when it was not in use: a defect, which the simulator watches for.
    #[allow(clippy::too_many_arguments)] // The facts of one port; there is no smaller set.
    pub fn release(
        &mut self,
        space: &PublicSpace,
        pool: Option<&Pool>,
        address_index: u32,
        class: PortClass,
        port: u16,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> bool {
        let rest = Self::rest(pool, now);
        let Some(extent) = self.extent_of(address_index, port) else {
            return false;
        };
        let in_extent = (u32::from(port) % EXTENT_PORTS) as u16;
        if !extent.release(class, rest, in_extent) {
            return false;
        }
        let unit = usize::from(in_extent / 64);
        let block = if extent.units_taken >> unit & 1 != 0 {
            extent.unit_block[unit]
        } else {
            NO_RECORD
        };
        let state = &mut self.addresses[address_index as usize];
        state.used -= 1;
        if state.used == 0 {
            state.idle_since = now.0;
        }
        let stale_pool = state.pool_plus_one.wrapping_sub(1);
        if let Some(plan) = self.plans.get_mut(usize::from(stale_pool)) {
            let count = class_count(&mut plan.used, class);
            *count = count.saturating_sub(1);
        }
        if let Some(subscriber) = subscribers.get_mut(subscriber) {
            subscriber.ports[class as usize] = subscriber.ports[class as usize].saturating_sub(1);
        }
        if let Some(b) = self.blocks.get_mut(block) {
            b.used = b.used.saturating_sub(1);
            if b.used == 0 {
                b.idle_since = now.0;
                let is_last =
                    b.next == NO_RECORD && subscribers.get(b.subscriber).is_some_and(|s| s.block_count == 1);
                let keep = pool
                    .filter(|p| p.id == b.pool)
                    .and_then(|p| p.port_blocks)
                    .is_some_and(|c| is_last && c.last_block_recycle_timeout != Ticks::ZERO);
                if keep {
                    self.rearm_block(block, pool);
                } else {
                    self.release_block(block, space, subscribers, now);
                }
            }
        }
        true
    }

    fn rearm_block(&mut self, number: u32, pool: Option<&Pool>) {
        let Some(block) = self.blocks.get(number).copied() else {
            return;
        };
        self.block_wheel.remove(&mut self.blocks, number);
        let deadline = pool
            .and_then(|p| next_deadline(&block, p))
            .unwrap_or(Ticks(u32::MAX));
        self.block_wheel.insert(&mut self.blocks, number, deadline);
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// Does what time asks for, a bounded amount per call: block timers, idle extents. Returns a subscriber that may have
    /// become idle, if any.
    pub fn tick(&mut self, program: &Program, subscribers: &mut SubscriberTable, now: Ticks) -> Option<u32> {
        let mut idle = None;
        if let Some(number) = self.block_wheel.expire_one(&mut self.blocks, now) {
            idle = self.block_timer(number, program, subscribers, now);
        }
        if self.swept != now.seconds() {
            self.swept = now.seconds();
            self.sweep_extents(program, now);
        }
        idle
    }

    fn block_timer(
        &mut self,
        number: u32,
        program: &Program,
        subs: &mut SubscriberTable,
        now: Ticks,
    ) -> Option<u32> {
        // It came out of the wheel; put it back first, so that it is linked whatever happens next.
        self.block_wheel.insert(&mut self.blocks, number, Ticks(u32::MAX));
        let block = self.blocks.get(number).copied()?;
        let pool = program.pools.iter().find(|p| p.id == block.pool);
        let config = pool.and_then(|p| p.port_blocks);
        let recycle = config.map_or(Ticks::ZERO, |c| c.last_block_recycle_timeout);
        if block.used == 0 && now.0 >= Ticks(block.idle_since).plus(recycle).0 {
            self.release_block(number, &program.public_space, subs, now);
            return Some(block.subscriber);
        }
        let interim = config.map_or(Ticks::ZERO, |c| c.interim_logging_interval);
        if interim != Ticks::ZERO && now.0 >= Ticks(block.logged).plus(interim).0 {
            if let Some(b) = self.blocks.get_mut(number) {
                b.logged = now.0;
            }
            let public = program
                .public_space
                .address(block.address_index)
                .map_or(0, |(address, _)| address);
            let (set, inside) = subs
                .get(block.subscriber)
                .map_or((NONE, 0), |s| (s.service_set, s.address));
            self.log(BlockEventKind::Interim, &block, set, inside, public, now);
        }
        self.rearm_block(number, pool);
        None
    }

    /// Gives back the extents of idle addresses whose home is another worker, so that capacity follows the load, and of
    /// those that their pool has lost. Not before all their ports have rested: who takes them next knows nothing of that.
    fn sweep_extents(&mut self, program: &Program, now: Ticks) {
        let end = program.public_space.index_end();
        for _ in 0..SWEEP_PER_SECOND.min(end) {
            self.sweep = if self.sweep + 1 >= end { 0 } else { self.sweep + 1 };
            let Some(state) = self.addresses.get(self.sweep as usize) else {
                continue;
            };
            if state.owned == 0 || state.used != 0 {
                continue;
            }
            let Some((address, pool)) = program.public_space.address(self.sweep) else {
                continue;
            };
            let lost = !self.serves(self.sweep, pool);
            if state.subscribers != 0 && !lost {
                continue;
            }
            let rest = program
                .pools
                .iter()
                .find(|p| p.id == pool)
                .map_or(1200, |p| p.quarantine.0);
            let rested = now.0.saturating_sub(state.idle_since) > rest.saturating_mul(2);
            if rested && (lost || !self.is_home_address(address)) && !self.has_blocks(self.sweep) {
                self.release_extents(self.sweep, &program.public_space);
            }
        }
        for pool in &program.pools {
            if pool.address_allocation == AddressAllocation::Sequential
                && let Some(plan) = self.plans.get_mut(usize::from(pool.id))
            {
                plan.cursor = 0;
            }
        }
    }

    fn has_blocks(&self, index: u32) -> bool {
        self.addresses[index as usize]
            .extents
            .iter()
            .filter_map(|slot| self.extents.get(slot.checked_sub(1)? as usize))
            .any(|e| e.units_taken != 0)
    }

    // ---- views -----------------------------------------------------------------------------------------------------

    /// Use of every pool that ever was, on this worker.
    pub fn pool_use(&self) -> impl Iterator<Item = PoolUse> + '_ {
        self.plans.iter().map(|p| p.used)
    }

    /// The block table.
    #[must_use]
    pub fn blocks(&self) -> &BlockTable {
        &self.blocks
    }

    /// Hands out the events that wait, oldest first. `sink` says whether it took one; the rest waits on.
    pub fn drain_events(&mut self, mut sink: impl FnMut(BlockEvent) -> bool) {
        let taken = self.events.iter().take_while(|e| sink(**e)).count();
        self.events.drain(..taken);
    }

    /// Events that found no room.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events_lost
    }

    /// An extent that this worker owns.
    #[must_use]
    pub fn extent(&self, address_index: u32, extent: usize) -> Option<&Extent> {
        let slot = *self.addresses.get(address_index as usize)?.extents.get(extent)?;
        self.extents.get(slot.checked_sub(1)? as usize)
    }

    /// Ports in use (all classes) and subscribers paired, by address.
    #[must_use]
    pub fn address_use(&self, address_index: u32) -> (u32, u32) {
        self.addresses
            .get(address_index as usize)
            .map_or((0, 0), |state| (state.used, state.subscribers))
    }

    /// Whether a port is in use here.
    #[must_use]
    pub fn is_used(&self, address_index: u32, class: PortClass, port: u16) -> bool {
        self.addresses
            .get(address_index as usize)
            .and_then(|s| s.extents[usize::from(port >> 12)].checked_sub(1))
            .and_then(|slot| self.extents.get(slot as usize))
            .is_some_and(|e| e.is_used(class, (u32::from(port) % EXTENT_PORTS) as u16))
    }
}

/// Where a subscriber begins that is paired in another pool: always at the same place, so that it keeps one address here,
/// too, as long as that has room. The record has room for one pairing.
fn own_start(pool: &Pool, subscriber: &crate::subscriber::Subscriber) -> Option<u32> {
    (pool.address_pooling != AddressPooling::Arbitrary
        && subscriber.paired != NO_RECORD
        && subscriber.pool != pool.id)
        .then(|| subscriber.address.wrapping_mul(0x9E37_79B1) >> 8)
}

fn plan_cursor(plans: &[PoolPlan], id: usize) -> u32 {
    plans.get(id).map_or(0, |p| p.cursor)
}

fn class_count(used: &mut PoolUse, class: PortClass) -> &mut u64 {
    match class {
        PortClass::Tcp => &mut used.tcp_ports,
        PortClass::Udp => &mut used.udp_ports,
        PortClass::Icmp => &mut used.icmp_ids,
    }
}

/// The port ranges to try, in order. RFC 4787 REQ-3a: well-known ports map to well-known ports where the pool has some,
/// others to others.
fn port_ranges(request: &Request<'_>) -> impl Iterator<Item = (u32, u32)> + use<> {
    let (first, last) = (
        u32::from(request.pool.ports.first.max(1)),
        u32::from(request.pool.ports.last),
    );
    let low = (first, last.min(1023));
    let high = (first.max(1024), last);
    let preserve = request.pool.preserve_range && request.class != PortClass::Icmp;
    let order = match (preserve, request.inside_port < 1024) {
        (false, _) => [(first, last), (1, 0)],
        (true, true) => [low, high],
        (true, false) => [high, (1, 0)],
    };
    order.into_iter().filter(|(first, last)| first <= last)
}

/// Units a block covers within its extent.
fn units(first_port: u16, size: u16) -> (usize, usize) {
    (
        usize::from(first_port) % EXTENT_PORTS as usize / 64,
        usize::from(size / 64),
    )
}

fn unit_mask(first: usize, count: usize) -> u64 {
    (u64::MAX >> (64 - count)) << first
}

/// When a block's timer has something to do next.
fn next_deadline(block: &Block, pool: &Pool) -> Option<Ticks> {
    let config = pool.port_blocks?;
    let interim = (config.interim_logging_interval != Ticks::ZERO)
        .then(|| Ticks(block.logged).plus(config.interim_logging_interval));
    let recycle = (block.used == 0).then(|| Ticks(block.idle_since).plus(config.last_block_recycle_timeout));
    interim.into_iter().chain(recycle).min()
}
