//! The allocator of one shard: addresses for subscribers, extents for addresses, ports for mappings.
//!
//! Extents are taken from the shared public space, its own ("home") ones first: with as many addresses as shards or
//! more, an address' home is one shard; with fewer, an extent's home is. So shards rarely meet on an address, and when a
//! shard's own are used up it takes what others have not touched.

mod address;
mod blocks;
mod choice;
mod extents;
mod follow;
mod formula;
mod free;
mod merge;
mod shared;
mod told;
mod whole;

use self::address::{AddressState, Hold, PoolPlan, Tag};
use self::choice::PickPort;
use self::follow::Holds;
use self::free::Exclusive;
use super::block::{BlockEvent, BlockTable};
use super::extent::{Extent, PortClass, Rest, Wait};
use crate::drop_reason::DropReason;
use crate::event_ring::EventRing;
use crate::hash::Rng;
use crate::mem::{HugeSlice, OutOfMemory, Pages};
use crate::program::{Pool, PoolId, Program};
use crate::public_space::{EXTENT_PORTS, MAX_CHUNKS, PublicSpace};
use crate::replica::Op;
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
/// Operations that wait for the engine to pass them on, at most: it does so after each burst.
const MAX_TOLD: usize = 4096;
/// Address states looked at per second to give idle foreign extents back.
const SWEEP_PER_SECOND: u32 = 64;

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

/// The allocator of one shard.
#[derive(Debug)]
pub struct PortAllocator {
    shard: u8,
    shards: u8,
    addresses: HugeSlice<AddressState>,
    extents: HugeSlice<Extent>,
    slab: Slab,
    blocks: BlockTable,
    block_wheel: Wheel,
    /// Whole addresses that were given back and rest.
    resting: Wheel,
    plans: Vec<PoolPlan>,
    rng: Rng,
    events: EventRing<BlockEvent>,
    /// Somebody wants to be told of extents and blocks.
    telling: bool,
    told: EventRing<Op>,
    /// Of `told`, so many are known to be lost.
    told_lost: u64,
    /// What of all that ended the other chassis has still to hear of, and when something last ended.
    wait: Wait,
    last_end: Ticks,
    holds: Holds,
    sweep: u32,
    swept: u32,
}

impl PortAllocator {
    /// An allocator for `shard` of `shards`, with room for `max_extents` extents and `max_blocks` blocks.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(
        shard: u8,
        shards: u8,
        max_extents: u32,
        max_blocks: u32,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            shard,
            shards: shards.max(1),
            addresses: HugeSlice::new(MAX_ADDRESSES, "public addresses", Pages::Lazy)?,
            extents: HugeSlice::new(max_extents as usize, "port extents", Pages::Lazy)?,
            slab: Slab::new(max_extents),
            blocks: BlockTable::new(max_blocks)?,
            block_wheel: Wheel::new(Ticks::ZERO),
            resting: Wheel::new(Ticks::ZERO),
            plans: Vec::new(),
            rng: Rng::new(seed),
            events: EventRing::new(MAX_EVENTS),
            telling: false,
            told: EventRing::new(MAX_TOLD),
            told_lost: 0,
            wait: Wait::NONE,
            last_end: Ticks::ZERO,
            holds: Holds::default(),
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
            plan.is_replicated = false;
        }
        self.plans = old;
        for pool in &program.pools {
            self.plans[usize::from(pool.id)].apply(pool);
        }
        let sets = program.service_sets.iter();
        let replicated = sets.filter(|set| set.replication.threshold.is_some());
        for pool in replicated
            .flat_map(|set| &set.terms)
            .filter_map(|term| term.action.pool())
        {
            if let Some(plan) = self.plans.get_mut(usize::from(pool)) {
                plan.is_replicated = true;
            }
        }
    }

    /// The quarantine of what a pool gave out; two minutes when the pool is gone. RFC 6888 REQ-8.
    #[inline]
    fn quarantine(pool: Option<&Pool>) -> Ticks {
        pool.map_or(Ticks::from_seconds(120), |p| p.quarantine)
    }

    /// The rest of a pool's ports now.
    #[inline]
    fn rest(&self, pool: Option<&Pool>, now: Ticks) -> Rest {
        Rest::new(now, Self::quarantine(pool), self.wait)
    }

    /// Whether what this shard has on an address was taken for `pool`, as that is now, so that mappings and sessions there
    /// may serve on. Of pools by rule (deterministic and static ones) nothing is taken: theirs serve unless another pool's
    /// sessions are still on the address.
    #[inline]
    #[must_use]
    pub fn serves(&self, address_index: u32, pool: PoolId) -> bool {
        let state = self.addresses.get(address_index as usize);
        let plan = self.plans.get(usize::from(pool));
        state
            .zip(plan)
            .is_some_and(|(state, plan)| state.tag == plan.tag || plan.hold.is_by_rule() && state.used == 0)
    }

    /// Takes a port for a mapping of `request.subscriber`. The pool's mode is [`crate::program::PoolMode::Ports`].
    ///
    /// # Errors
    /// Why there was none. Nothing changed then, and nothing of anybody's was taken away to make room (RFC 6888 REQ-11D).
    pub fn take(&mut self, request: &Request<'_>, subscribers: &mut SubscriberTable) -> Outcome {
        self.take_by(request, subscribers, &mut Exclusive)
    }

    fn take_by<P: PickPort>(
        &mut self,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        picker: &mut P,
    ) -> Outcome {
        let taken = self.take_inner(request, subscribers, picker);
        self.count_taken(request, subscribers, taken)
    }

    /// Keeps the counts of the pool and the subscriber.
    #[inline(always)]
    fn count_taken(
        &mut self,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        taken: Outcome,
    ) -> Outcome {
        if taken.is_ok() {
            self.count_one(request.pool.id, request.class, request.subscriber, subscribers);
        } else if let Some(plan) = self.plans.get_mut(usize::from(request.pool.id)) {
            plan.used.refused += 1;
        }
        taken
    }

    /// One port more of a pool and a subscriber.
    #[inline(always)]
    fn count_one(
        &mut self,
        pool: PoolId,
        class: PortClass,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
    ) {
        if let Some(plan) = self.plans.get_mut(usize::from(pool)) {
            *class_count(&mut plan.used, class) += 1;
        }
        if let Some(subscriber) = subscribers.get_mut(subscriber) {
            subscriber.ports[class as usize] += 1;
        }
    }

    /// Keeps the counts of the address, the pool and the subscriber when a port is given back.
    #[inline]
    fn count_released(
        &mut self,
        address_index: u32,
        class: PortClass,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) {
        self.last_end = now;
        let state = &mut self.addresses[address_index as usize];
        state.used -= 1;
        if state.used == 0 {
            state.idle_since = now.0;
        }
        if let Some(plan) = self.plans.get_mut(state.tag.plan()) {
            let count = class_count(&mut plan.used, class);
            *count = count.saturating_sub(1);
        }
        if let Some(subscriber) = subscribers.get_mut(subscriber) {
            subscriber.ports[class as usize] = subscriber.ports[class as usize].saturating_sub(1);
        }
    }

    /// Frees a port, or with shared ports one session's part in it, whatever it was taken or installed as. `pool` is the one the address
    /// is in now. False when it was not in use: a defect, which the simulator watches for. Of static pools nothing was
    /// taken, so there it is always true.
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
        let rest = self.rest(pool, now);
        let state = self.addresses.get(address_index as usize);
        if let Some(state) = state.filter(|s| !s.tag.is_ports()) {
            let tag = state.tag;
            return self.leave(tag, address_index, class, port, subscriber, subscribers, now);
        }
        let Some(extent) = self.extent_of(address_index, port) else {
            return pool.is_some_and(|p| Hold::of(&p.mode).is_by_rule());
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
        self.count_released(address_index, class, subscriber, subscribers, now);
        if let Some(b) = self.blocks.get_mut(block) {
            b.used = b.used.saturating_sub(1);
            if b.used == 0 {
                b.idle_since = now.0;
                let of = b.pool;
                let is_last =
                    b.next == NO_RECORD && subscribers.get(b.subscriber).is_some_and(|s| s.block_count == 1);
                let keep = pool
                    .filter(|p| p.id == b.pool)
                    .and_then(|p| p.port_blocks)
                    .is_some_and(|c| is_last && c.last_block_recycle_timeout != Ticks::ZERO);
                if self.follows(of) {
                    self.look_at_block_later(block, now);
                } else if keep {
                    self.rearm_block(block, pool);
                } else {
                    self.release_block(block, space, subscribers, now);
                }
            }
        }
        true
    }

    /// [`PortAllocator::release`] of what was not taken by [`PortAllocator::take`].
    #[cold]
    #[allow(clippy::too_many_arguments)] // As there.
    fn leave(
        &mut self,
        tag: Tag,
        index: u32,
        class: PortClass,
        port: u16,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> bool {
        match tag.hold() {
            Hold::Shared => self.leave_shared(index, class, port, subscriber, subscribers, now),
            Hold::Formula => self.leave_formula(index, class, subscriber, subscribers, now),
            Hold::Ports | Hold::Whole | Hold::Static => false,
        }
    }

    /// Does what time asks for, a bounded amount per call: block timers, idle extents, rested addresses. Returns a subscriber that may have
    /// become idle, if any.
    pub fn tick(&mut self, program: &Program, subscribers: &mut SubscriberTable, now: Ticks) -> Option<u32> {
        let mut idle = None;
        if let Some(number) = self.block_wheel.expire_one(&mut self.blocks, now) {
            idle = self.block_timer(number, program, subscribers, now);
        }
        self.end_rest(&program.public_space, now);
        self.end_holds(&program.public_space, now);
        if self.swept != now.seconds() {
            self.swept = now.seconds();
            self.sweep_extents(program, now);
        }
        idle
    }

    /// Use of every pool that ever was, by this shard.
    pub fn pool_use(&self) -> impl Iterator<Item = PoolUse> + '_ {
        self.plans.iter().map(|p| p.used)
    }

    /// Use of one pool.
    #[must_use]
    pub fn use_of(&self, pool: PoolId) -> Option<PoolUse> {
        self.plans.get(usize::from(pool)).map(|p| p.used)
    }

    /// The block table.
    #[must_use]
    pub fn blocks(&self) -> &BlockTable {
        &self.blocks
    }

    /// Hands out the events that wait, oldest first. `sink` says whether it took one; the rest waits on.
    pub fn drain_events(&mut self, mut sink: impl FnMut(BlockEvent) -> bool) {
        self.events.drain(|event| sink(*event));
    }

    /// Events that found no room.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events.lost()
    }

    /// An extent that this shard owns.
    #[must_use]
    pub fn extent(&self, address_index: u32, extent: usize) -> Option<&Extent> {
        let slot = *self.addresses.get(address_index as usize)?.extents.get(extent)?;
        self.extents.get(slot.checked_sub(1)? as usize)
    }

    /// Ports in use (all classes; with shared ports sessions) and subscribers paired, by address.
    #[must_use]
    pub fn address_use(&self, address_index: u32) -> (u32, u32) {
        self.addresses
            .get(address_index as usize)
            .map_or((0, 0), |state| (state.used, state.subscribers))
    }

    /// Whether a port is in use here; of shared ports, whether some port of its extent is.
    #[must_use]
    pub fn is_used(&self, address_index: u32, class: PortClass, port: u16) -> bool {
        let shared = self
            .addresses
            .get(address_index as usize)
            .is_some_and(|s| s.tag.hold() == Hold::Shared);
        self.extent(address_index, usize::from(port >> 12))
            .is_some_and(|e| match shared {
                true => e.used[class as usize] != 0,
                false => e.is_used(class, (u32::from(port) % EXTENT_PORTS) as u16),
            })
    }
}

fn class_count(used: &mut PoolUse, class: PortClass) -> &mut u64 {
    match class {
        PortClass::Tcp => &mut used.tcp_ports,
        PortClass::Udp => &mut used.udp_ports,
        PortClass::Icmp => &mut used.icmp_ids,
    }
}

#[cfg(test)]
mod tests;
