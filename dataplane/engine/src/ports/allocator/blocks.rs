//! Port block allocation: ports from the subscriber's own blocks, blocks given out, kept, logged and given back.

use super::{PortAllocator, Request};
use crate::drop_reason::DropReason;
use crate::ports::block::{Block, BlockEvent, BlockEventKind};
use crate::ports::extent::{self, Rest};
use crate::program::{NONE, Pool, PortAllocation, PortBlocks, Program};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS, PublicSpace};
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;

impl PortAllocator {
    pub(super) fn take_from_blocks(
        &mut self,
        index: u32,
        address: u32,
        config: PortBlocks,
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
    pub(super) fn take_from_own_blocks(
        &mut self,
        index: u32,
        request: &Request<'_>,
        first_block: u32,
    ) -> Option<u16> {
        let rest = self.rest(Some(request.pool), request.now);
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
    pub(super) fn take_from_new_block(
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
        let rest = self.rest(Some(request.pool), request.now);
        if self.blocks.is_full() {
            return Err(DropReason::BlockTableFull);
        }
        let first_port = self
            .find_block(index, address, block_size, rest, request)
            .ok_or_else(|| self.none_on(index, request))?;
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
        self.take_units(number, &record);
        self.tell_block(request.space, &record, &subscriber, true);
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
            subscriber.address(),
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

    pub(super) fn take_block_port(
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
    pub(super) fn find_block(
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
    pub(super) fn find_block_in(
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
        let positions = extent::UNITS / count;
        let start = if request.pool.port_allocation == PortAllocation::Random {
            self.rng.below(positions as u32) as usize
        } else {
            0
        };
        let extent = self.extents.get_mut(slot as usize)?;
        if extent.is_held() {
            return None;
        }
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

    /// Takes the units of a block that is in the table.
    pub(super) fn take_units(&mut self, number: u32, block: &Block) {
        if let Some(extent) = self.extent_of(block.address_index, block.first_port) {
            let (unit, count) = units(block.first_port, block.size);
            extent.units_taken |= unit_mask(unit, count);
            extent.unit_block[unit..unit + count].fill(number);
        }
    }

    /// Gives a block back.
    pub(super) fn release_block(
        &mut self,
        number: u32,
        space: &PublicSpace,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) {
        let Some(block) = self.blocks.get(number).copied() else {
            return;
        };
        let mut owner = (0, 0u128);
        if let Some(subscriber) = subscribers.get(block.subscriber).copied() {
            owner = (subscriber.service_set, subscriber.address());
            self.tell_block(space, &block, &subscriber, false);
        }
        self.last_end = now;
        let plan = self.plans.get(usize::from(block.pool));
        if plan.is_some_and(|plan| plan.held_until > now) {
            self.rest_block(block.address_index, block.first_port, block.size, block.pool, now);
        }
        self.remove_block(number, now.0, subscribers);
        let public = space
            .address(block.address_index)
            .map_or(0, |(address, _)| address);
        self.log(BlockEventKind::Released, &block, owner.0, owner.1, public, now);
    }

    /// Removes a block, without a word to anybody. Its units were given back at `at`, in ticks; [`NO_RECORD`](crate::session::NO_RECORD): nobody has to
    /// hear of it.
    pub(super) fn remove_block(&mut self, number: u32, at: u32, subscribers: &mut SubscriberTable) {
        let Some(block) = self.blocks.get(number).copied() else {
            return;
        };
        self.block_wheel.remove(&mut self.blocks, number);
        if let Some(extent) = self.extent_of(block.address_index, block.first_port) {
            let (unit, count) = units(block.first_port, block.size);
            extent.units_taken &= !unit_mask(unit, count);
            extent.unit_block[unit..unit + count].fill(at);
        }
        if let Some(subscriber) = subscribers.get_mut(block.subscriber) {
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
        self.blocks.remove(number);
    }

    pub(super) fn log(
        &mut self,
        kind: BlockEventKind,
        block: &Block,
        service_set: u16,
        inside: u128,
        public: u32,
        now: Ticks,
    ) {
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

    pub(super) fn rearm_block(&mut self, number: u32, pool: Option<&Pool>) {
        let Some(block) = self.blocks.get(number).copied() else {
            return;
        };
        self.block_wheel.remove(&mut self.blocks, number);
        let deadline = pool
            .and_then(|p| next_deadline(&block, p))
            .unwrap_or(Ticks(u32::MAX));
        self.block_wheel.insert(&mut self.blocks, number, deadline);
    }

    pub(super) fn block_timer(
        &mut self,
        number: u32,
        program: &Program,
        subs: &mut SubscriberTable,
        now: Ticks,
    ) -> Option<u32> {
        // It came out of the wheel; put it back first, so that it is linked whatever happens next.
        self.block_wheel.insert(&mut self.blocks, number, Ticks(u32::MAX));
        let block = self.blocks.get(number).copied()?;
        if self.follows(block.pool) {
            self.look_at_block_later(number, now);
            return None;
        }
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
                .map_or((NONE, 0), |s| (s.service_set, s.address()));
            self.log(BlockEventKind::Interim, &block, set, inside, public, now);
        }
        self.rearm_block(number, pool);
        None
    }
}

/// Units a block covers within its extent.
pub(super) fn units(first_port: u16, size: u16) -> (usize, usize) {
    (
        usize::from(first_port) % EXTENT_PORTS as usize / 64,
        usize::from(size / 64),
    )
}

pub(super) fn unit_mask(first: usize, count: usize) -> u64 {
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
