//! Following another chassis: extents, blocks and ports it gave out are entered here as if they had been taken here, so that
//! after a takeover nothing is given out twice.
//!
//! ```text
//!   follow(pool, true)     blocks and extents end when the other chassis says so, not when they are idle here
//!   install_..., drop_...  what it says
//!   note_hold              that it gives no port of an extent until then
//!   hold(until)            takeover: ports it gave out without a word are unknown, so its other extents rest,
//!   follow(pool, false)    and all else is as if it had always been this chassis'
//! ```

use super::PortAllocator;
use super::address::{Hold, Tag};
use super::blocks::{unit_mask, units};
use crate::drop_reason::DropReason;
use crate::ports::block::Block;
use crate::ports::extent::{Extent, HoldStep, Home, PortClass, Rest, UNITS};
use crate::program::{Pool, PoolId};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS, PublicSpace};
use crate::session::NO_RECORD;
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;

/// How often a block of a pool that follows is looked at, so that soon after a takeover idle ones are given back.
const LOOK: Ticks = Ticks::from_seconds(120);
/// Extents looked at per call for the end of their holds.
const HOLDS_PER_CALL: u32 = 64;

/// Where the look at held extents is.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Some extent may be held.
    pub is_any: bool,
    /// Addresses whose ports are needed.
    needed: [Option<u32>; 4],
    /// The look came to here, began then, and left some held, or some whose end has still to be known.
    at: u32,
    begun: Ticks,
    left: bool,
    waits: bool,
}

impl PortAllocator {
    /// Whether another chassis gives out what is in a pool: then nothing of it is given back but on its word. A pool follows
    /// or leads as a whole, so service sets of different roles should not share one.
    pub fn follow(&mut self, pool: PoolId, follows: bool) {
        if let Some(plan) = self.plans.get_mut(usize::from(pool)) {
            // What was said of its extents ends as any hold does.
            self.holds.is_any |= plan.follows && !follows;
            plan.follows = follows;
            plan.logs_drops &= follows;
        }
    }

    /// Whether a pool follows; see [`PortAllocator::follow`].
    #[must_use]
    pub fn follows(&self, pool: PoolId) -> bool {
        self.plans.get(usize::from(pool)).is_some_and(|p| p.follows)
    }

    /// Every extent there is now of a pool for which `until` has a time gives no port before that, or before the time that the other
    /// chassis said, except in blocks of the asking subscriber, and no whole address becomes free before. Costs a look at each
    /// extent; for takeovers. `is_told`: the other chassis knows all that is in use, or will; so it is told of the hold.
    pub fn hold(&mut self, until: impl Fn(PoolId) -> Option<Ticks>, is_told: bool) {
        for (id, plan) in self.plans.iter_mut().enumerate() {
            if let Some(until) = until(id as PoolId) {
                plan.held_until = plan.held_until.max(until);
                plan.exhausted_until = Ticks::ZERO;
            }
        }
        let end = self.slab.high_water() as usize;
        for extent in self.extents.iter_mut().take(end) {
            if extent.at != Home::NOWHERE
                && let Some(until) = until(extent.at.pool)
            {
                let plan = self.plans.get(usize::from(extent.at.pool));
                extent.hold(until, plan.map_or(0, |plan| plan.holds), is_told);
                self.holds.is_any = true;
            }
        }
    }

    /// What the other chassis said of held extents, of all pools that follow, counts no more.
    pub fn forget_holds(&mut self) {
        for plan in self.plans.iter_mut().filter(|plan| plan.follows) {
            plan.holds = plan.holds.wrapping_add(1);
        }
    }

    /// The other chassis gives no port of this extent before `until`; zero: it gives ports.
    pub fn note_hold(&mut self, index: u32, extent: usize, until: Ticks) {
        let Some(number) = self.extent_number(index, extent) else {
            return;
        };
        if let Some(extent) = self.extents.get_mut(number as usize)
            && let Some(plan) = self.plans.get(usize::from(extent.at.pool)).filter(|p| p.follows)
        {
            extent.note_hold(until, plan.holds);
        }
    }

    /// Ports of an address are needed that are held.
    pub(super) fn needs(&mut self, index: u32) {
        if self.holds.is_any && !self.holds.needed.contains(&Some(index)) {
            self.holds.needed.rotate_right(1);
            self.holds.needed[0] = Some(index);
        }
    }

    /// Ends holds whose time is over where ports are needed, an extent for each time that they were: tells of it first. Looks at a
    /// bounded number per call.
    pub(super) fn end_holds(&mut self, space: &PublicSpace, now: Ticks) {
        let holds = &mut self.holds;
        if holds.at == 0 {
            let is_idle = !holds.waits && holds.needed.iter().all(Option::is_none);
            if !holds.is_any || is_idle || holds.begun == now {
                return;
            }
            (holds.begun, holds.left, holds.waits) = (now, false, false);
        }
        let end = self.slab.high_water();
        let last = end.min(self.holds.at.saturating_add(HOLDS_PER_CALL));
        for number in self.holds.at..last {
            let Some(extent) = self.extents.get_mut(number as usize) else {
                continue;
            };
            let at = extent.at;
            if at == Home::NOWHERE || self.plans.get(usize::from(at.pool)).is_some_and(|p| p.follows) {
                continue;
            }
            let need = self
                .holds
                .needed
                .iter_mut()
                .find(|n| **n == Some(at.address_index));
            let step = extent.go_on(now, self.wait, need.is_some());
            self.holds.left |= step != HoldStep::None;
            self.holds.waits |= matches!(step, HoldStep::Tell | HoldStep::Waits);
            if step == HoldStep::Tell {
                need.into_iter().for_each(|need| *need = None);
                self.last_end = now;
                self.tell_extent(space, at.address_index, at.extent.into(), at.pool, true);
            }
        }
        self.holds.at = last;
        if last >= end {
            // What is needed still is asked for again.
            (self.holds.at, self.holds.is_any, self.holds.needed) = (0, self.holds.left, Default::default());
        }
    }

    /// [`PortAllocator::hold`] of all pools.
    pub fn hold_all(&mut self, until: Ticks) {
        self.hold(|_| Some(until), true);
    }

    /// The extents of an address that are held, a bit each. For shared ports, which the bits of extents do not stand for.
    pub(super) fn held(&self, index: u32) -> u16 {
        if !self.holds.is_any {
            return 0;
        }
        let held = |e: &usize| self.extent(index, *e).is_some_and(Extent::is_held);
        (0..EXTENTS_PER_ADDRESS)
            .filter(held)
            .fold(0, |held, e| held | 1 << e)
    }

    /// The other chassis has this extent, so this shard has it here. True as well when that is so already. False when the
    /// address is not in this pool or in use for another, the extent is another shard's or leased the other way, there is no
    /// room, or nothing is taken of such a pool by the extent.
    pub fn install_extent(
        &mut self,
        space: &PublicSpace,
        pool: &Pool,
        index: u32,
        extent: usize,
        now: Ticks,
    ) -> bool {
        let hold = Hold::of(&pool.mode);
        if extent >= EXTENTS_PER_ADDRESS || hold.is_by_rule() || hold == Hold::Whole {
            return false;
        }
        if !self.make_use_of(space, pool, index) {
            return false;
        }
        if self.extent(index, extent).is_some() {
            return true;
        }
        if self.slab.peek().is_none() || !space.install(index, extent, self.shard) {
            return false;
        }
        self.enter_extent(index, extent, pool, now);
        true
    }

    /// The other chassis gave this extent back. It is taken for the other chassis' still, unless this shard did not have it;
    /// see [`PublicSpace::forget`]. False when something of it is in use: then it stays.
    pub fn drop_extent(&mut self, space: &PublicSpace, index: u32, extent: usize) -> bool {
        match self.extent(index, extent) {
            None => true,
            Some(kept) if !kept.is_idle() => false,
            Some(_) => {
                self.strike_extent(index, extent);
                space.forget(index, extent, self.shard);
                true
            }
        }
    }

    /// Whether an address is this pool's and is in use for it, or may be from now on.
    pub(super) fn make_use_of(&mut self, space: &PublicSpace, pool: &Pool, index: u32) -> bool {
        if space.address(index).is_none_or(|(_, now_in)| now_in != pool.id) {
            return false;
        }
        let tag = Tag::of(pool);
        self.addresses
            .get(index as usize)
            .is_some_and(|s| s.tag == Tag::NONE || s.tag == tag)
            || self.take_over(index, tag)
    }

    /// The other chassis gave this port to the subscriber: books are kept as if [`PortAllocator::take`] (or `take_shared`,
    /// `take_deterministic`) had, and [`PortAllocator::release`] gives it back. The extent is taken, too, if it is not here.
    /// Of whole addresses see [`PortAllocator::install_address`]; of static pools nothing is taken.
    ///
    /// # Errors
    /// [`DropReason::SessionConflict`] when the port is in use, or in another subscriber's block;
    /// [`DropReason::NatOutOfPorts`] when the extent is not to be had; [`DropReason::NatOutOfAddresses`] when the address is
    /// not this pool's. Nothing changed then, but that the extent may have come.
    #[allow(clippy::too_many_arguments)] // As `release`: the facts of one port.
    pub fn install_port(
        &mut self,
        space: &PublicSpace,
        pool: &Pool,
        index: u32,
        class: PortClass,
        port: u16,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> Result<(), DropReason> {
        let hold = Hold::of(&pool.mode);
        if hold == Hold::Static {
            return Ok(());
        }
        if hold == Hold::Whole || !self.make_use_of(space, pool, index) {
            return Err(DropReason::NatOutOfAddresses);
        }
        if hold == Hold::Formula {
            self.addresses[index as usize].tag = Tag::of(pool);
        } else {
            let extent = usize::from(port >> 12);
            if !self.install_extent(space, pool, index, extent, now) {
                return Err(DropReason::NatOutOfPorts);
            }
            self.forget_lost_pairing(space, subscriber, subscribers);
            if hold == Hold::Shared {
                if let Some(extent) = self.extent_of(index, port) {
                    extent.share(class);
                }
            } else {
                self.install_in_extent(index, class, port, subscriber)?;
            }
            self.pair(pool, index, subscriber, subscribers);
        }
        self.addresses[index as usize].used += 1;
        self.count_one(pool.id, class, subscriber, subscribers);
        Ok(())
    }

    fn install_in_extent(
        &mut self,
        index: u32,
        class: PortClass,
        port: u16,
        subscriber: u32,
    ) -> Result<(), DropReason> {
        let block = self.block_at(index, port);
        let of = block.and_then(|b| self.blocks.get(b)).map(|b| b.subscriber);
        let extent = self.extent_of(index, port).ok_or(DropReason::NatOutOfPorts)?;
        let in_extent = (u32::from(port) % EXTENT_PORTS) as u16;
        if of.is_some_and(|of| of != subscriber) || !extent.install(class, in_extent) {
            return Err(DropReason::SessionConflict);
        }
        if let Some(block) = block.and_then(|b| self.blocks.get_mut(b)) {
            block.used += 1;
        }
        Ok(())
    }

    /// The other chassis gave this whole address to the subscriber: as [`PortAllocator::take_address`], and
    /// [`PortAllocator::release_address`] gives it back. `take` takes the extents of one that this shard does not have:
    /// [`PublicSpace::install_all`], or [`PublicSpace::adopt_all`] where the other chassis was primary beside this one, so that its
    /// lease may have been asked for ahead here.
    ///
    /// # Errors
    /// [`DropReason::SessionConflict`] when it is in use; [`DropReason::NatOutOfAddresses`] when it is not to be had, or is
    /// not this pool's.
    pub fn install_address(
        &mut self,
        space: &PublicSpace,
        pool: &Pool,
        index: u32,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        take: impl FnOnce(&PublicSpace, u32, u8) -> bool,
    ) -> Result<(), DropReason> {
        let tag = Tag::of(pool);
        self.forget_lost_pairing(space, subscriber, subscribers);
        let record = subscribers
            .get_mut(subscriber)
            .ok_or(DropReason::SubscriberTableFull)?;
        if tag.hold() != Hold::Whole || !self.make_use_of(space, pool, index) {
            return Err(DropReason::NatOutOfAddresses);
        }
        let state = &mut self.addresses[index as usize];
        if state.used != 0 {
            return Err(DropReason::SessionConflict);
        }
        if state.tag == tag && state.owned == u16::MAX {
            // It rests here, and no more there.
            self.resting.remove(&mut self.addresses, index);
        } else if take(space, index, self.shard) {
            (state.tag, state.owned) = (tag, u16::MAX);
            if let Some(plan) = self.plans.get_mut(usize::from(pool.id)) {
                plan.used.extents += EXTENTS_PER_ADDRESS as u64;
            }
        } else {
            return Err(DropReason::NatOutOfAddresses);
        }
        self.use_whole(pool, index, record);
        Ok(())
    }

    /// The other chassis uses this address for the subscriber, without a port: pairs them, as ports do.
    pub fn install_pairing(
        &mut self,
        space: &PublicSpace,
        pool: &Pool,
        index: u32,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
    ) {
        self.forget_lost_pairing(space, subscriber, subscribers);
        let is_here = space.address(index).is_some_and(|(_, now_in)| now_in == pool.id);
        if is_here && (index as usize) < self.addresses.len() {
            self.pair(pool, index, subscriber, subscribers);
        }
    }

    /// The number of an extent this shard has, as [`PortAllocator::owned_extents`] counts.
    #[must_use]
    pub fn extent_number(&self, index: u32, extent: usize) -> Option<u32> {
        let slot = *self.addresses.get(index as usize)?.extents.get(extent)?;
        slot.checked_sub(1)
    }

    /// The block a port is in.
    #[must_use]
    pub fn block_at(&self, index: u32, port: u16) -> Option<u32> {
        let extent = self.extent(index, usize::from(port >> 12))?;
        let unit = (u32::from(port) % EXTENT_PORTS / 64) as usize;
        (extent.units_taken >> unit & 1 != 0)
            .then(|| extent.unit_block.get(unit).copied())
            .flatten()
    }

    /// The other chassis gave this block to the subscriber; its number here. As well when that is so already. Nothing is
    /// logged: the other chassis did. Ports in it that are in use already count as its own.
    ///
    /// # Errors
    /// [`DropReason::SessionConflict`] when some of it is in another block: [`PortAllocator::block_at`] says in which;
    /// [`DropReason::NatOutOfPorts`] when it is no block, or the extent is not to be had;
    /// [`DropReason::BlockTableFull`]; [`DropReason::SubscriberTableFull`] when there is no such subscriber. Nothing changed
    /// then, but that the extent may have come.
    #[allow(clippy::too_many_arguments)] // The facts of one block.
    pub fn install_block(
        &mut self,
        space: &PublicSpace,
        pool: &Pool,
        index: u32,
        first_port: u16,
        size: u16,
        created: Ticks,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> Result<u32, DropReason> {
        let (unit, count) = units(first_port, size);
        let fits =
            size >= 64 && size.is_multiple_of(64) && first_port.is_multiple_of(64) && unit + count <= UNITS;
        if !fits || Hold::of(&pool.mode) != Hold::Ports {
            return Err(DropReason::NatOutOfPorts);
        }
        if let Some(number) = self.block_at(index, first_port)
            && let Some(block) = self.blocks.get(number)
            && (block.first_port, block.size, block.subscriber) == (first_port, size, subscriber)
        {
            return Ok(number);
        }
        let record = subscribers
            .get_mut(subscriber)
            .ok_or(DropReason::SubscriberTableFull)?;
        if !self.install_extent(space, pool, index, usize::from(first_port >> 12), now) {
            return Err(DropReason::NatOutOfPorts);
        }
        let extent = self
            .extent_of(index, first_port)
            .ok_or(DropReason::NatOutOfPorts)?;
        if extent.units_taken & unit_mask(unit, count) != 0 {
            return Err(DropReason::SessionConflict);
        }
        let used = extent.used_in(unit, count);
        let mut block = Block::new(subscriber, NO_RECORD, index, pool.id, first_port, size, now);
        (block.used, block.created) = (used, created.0);
        let number = self.blocks.insert(block).ok_or(DropReason::BlockTableFull)?;
        self.take_units(number, &block);
        self.link_block(number, &mut record.blocks, created);
        record.block_count += 1;
        if let Some(plan) = self.plans.get_mut(usize::from(pool.id)) {
            plan.used.blocks += 1;
        }
        self.block_wheel.insert(&mut self.blocks, number, now.plus(LOOK));
        Ok(number)
    }

    /// Puts a block among its subscriber's, of which the youngest is the first: the active one.
    fn link_block(&mut self, number: u32, first: &mut u32, created: Ticks) {
        let mut before = NO_RECORD;
        let mut next = *first;
        while let Some(block) = self.blocks.get(next).filter(|b| b.created > created.0) {
            (before, next) = (next, block.next);
        }
        if let Some(block) = self.blocks.get_mut(number) {
            block.next = next;
        }
        match self.blocks.get_mut(before) {
            Some(block) => block.next = number,
            None => *first = number,
        }
    }

    /// The other chassis took this block back. Ports of it that are in use stay so; the others rest, for they may have been in use there. Returns the subscriber that had it, who
    /// may be idle now; `None` when there was no such block. Nothing is logged.
    pub fn drop_block(
        &mut self,
        index: u32,
        first_port: u16,
        size: u16,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> Option<u32> {
        let number = self.block_at(index, first_port)?;
        let block = self
            .blocks
            .get(number)
            .filter(|b| (b.first_port, b.size) == (first_port, size))?;
        let (subscriber, pool) = (block.subscriber, block.pool);
        self.rest_block(index, first_port, size, pool, now);
        self.remove_block(number, NO_RECORD, subscribers);
        Some(subscriber)
    }

    /// Ports of a block that ends rest, if nobody here uses them: another chassis gave them out without a word.
    pub(super) fn rest_block(&mut self, index: u32, first_port: u16, size: u16, pool: PoolId, now: Ticks) {
        let plan = self.plans.get(usize::from(pool));
        let rest = Rest::new(now, plan.map_or(Ticks::ZERO, |p| p.quarantine), self.wait);
        let (unit, count) = units(first_port, size);
        if let Some(extent) = self.extent_of(index, first_port) {
            extent.rest_units(unit, count, rest);
        }
    }

    /// The other chassis says when this block ends; whether it still does, is asked again later.
    pub(super) fn look_at_block_later(&mut self, number: u32, now: Ticks) {
        self.block_wheel.remove(&mut self.blocks, number);
        self.block_wheel.insert(&mut self.blocks, number, now.plus(LOOK));
    }
}
