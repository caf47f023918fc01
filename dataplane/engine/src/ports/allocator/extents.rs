//! Extents: taken from the public space when an address is used, given back when it lies idle.

use super::address::{Hold, Tag};
use super::{PortAllocator, Request, SWEEP_PER_SECOND};
use crate::ports::extent::{Extent, Home};
use crate::program::{NONE, Pool, PoolId, Program};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS, PublicSpace};
use crate::session::NO_RECORD;
use crate::ticks::Ticks;

impl PortAllocator {
    /// An address that a reload moved between pools is used again when the old pool's sessions and blocks are gone. Its
    /// extents stay, and with them what they know of ports in quarantine.
    #[cold]
    pub(super) fn take_over(&mut self, index: u32, tag: Tag) -> bool {
        let Some(state) = self.addresses.get(index as usize).copied() else {
            return false;
        };
        // A whole address given back is nobody's until it has rested.
        if state.used != 0 || state.tag.hold() == Hold::Whole || self.has_blocks(index) {
            return false;
        }
        let extents = u64::from(state.owned.count_ones());
        if let Some(plan) = self.plans.get_mut(state.tag.plan()) {
            plan.used.extents = plan.used.extents.saturating_sub(extents);
        }
        if let Some(plan) = self.plans.get_mut(tag.plan()) {
            plan.used.extents += extents;
        }
        self.addresses[index as usize].tag = tag;
        for slot in state.extents {
            if let Some(extent) = slot.checked_sub(1).and_then(|n| self.extents.get_mut(n as usize)) {
                extent.at.pool = tag.plan() as PoolId;
            }
        }
        true
    }

    pub(super) fn extent_of(&mut self, index: u32, port: u16) -> Option<&mut Extent> {
        let slot = self.addresses.get(index as usize)?.extents[usize::from(port >> 12)];
        self.extents.get_mut(slot.checked_sub(1)? as usize)
    }

    /// Takes the free home extents of an address that has none yet. Of replicated pools they are taken one by one, as they are
    /// needed, whether or not there is a peer: what is left is the other chassis' after a takeover.
    pub(super) fn acquire_home(&mut self, index: u32, address: u32, request: &Request<'_>) {
        let plan = self.plans.get(usize::from(request.pool.id));
        if request.space.leases_required() || plan.is_none_or(|p| p.is_replicated) {
            return;
        }
        let total = plan.map_or(0, |p| p.total);
        let by_address = total >= u32::from(self.shards);
        if by_address && !self.is_home_address(address) {
            return;
        }
        let ports = request.pool.ports;
        for e in usize::from(ports.first >> 12)..=usize::from(ports.last >> 12) {
            if by_address || e % usize::from(self.shards) == usize::from(self.shard) {
                self.acquire(index, e, request);
            }
        }
    }

    /// Takes one more free extent that has ports of `first..=last`, one of those that fall to this shard if there is one: two chassis
    /// that do not hear each other then rarely give one to different shards, where what both have could not be merged. False when
    /// there is none.
    pub(super) fn acquire_one(
        &mut self,
        index: u32,
        address: u32,
        request: &Request<'_>,
        first: u32,
        last: u32,
    ) -> bool {
        let (from, to) = (first / EXTENT_PORTS, last / EXTENT_PORTS);
        let count = to - from + 1;
        let start = self.rng.below(count);
        let (shards, shard) = (u32::from(self.shards.max(1)), u32::from(self.shard));
        let first_of = address.wrapping_mul(EXTENTS_PER_ADDRESS as u32);
        [true, false].into_iter().any(|own| {
            (0..count)
                .map(|i| from + (start + i) % count)
                .filter(|e| (first_of.wrapping_add(*e) % shards == shard) == own)
                .any(|e| self.acquire(index, e as usize, request))
        })
    }

    pub(super) fn acquire(&mut self, index: u32, extent: usize, request: &Request<'_>) -> bool {
        if self.slab.peek().is_none() || !request.space.acquire(index, extent, self.shard) {
            return false;
        }
        self.enter_extent(index, extent, request.pool, request.now);
        self.tell_extent(request.space, index, extent, request.pool.id, true);
        true
    }

    /// Enters an extent that is this shard's in the public space. There is room for it.
    pub(super) fn enter_extent(&mut self, index: u32, extent: usize, pool: &Pool, now: Ticks) {
        let extents = &self.extents;
        let Some(slot) = self.slab.take(|n| extents[n as usize].unit_block[0]) else {
            return;
        };
        self.extents[slot as usize].reset();
        self.extents[slot as usize].at = Home::new(index, extent as u8, pool.id);
        let state = &mut self.addresses[index as usize];
        state.extents[extent] = slot + 1;
        state.owned |= 1 << extent;
        state.tag = Tag::of(pool);
        state.idle_since = now.0;
        if let Some(plan) = self.plans.get_mut(usize::from(pool.id)) {
            plan.used.extents += 1;
        }
    }

    /// Takes an extent off the books. What it is in the public space is the caller's.
    pub(super) fn strike_extent(&mut self, index: u32, extent: usize) -> bool {
        let Some(state) = self.addresses.get_mut(index as usize) else {
            return false;
        };
        let Some(slot) = state.extents.get_mut(extent) else {
            return false;
        };
        let Some(number) = std::mem::take(slot).checked_sub(1) else {
            return false;
        };
        self.extents[number as usize].at = Home::NOWHERE;
        self.extents[number as usize].unit_block[0] = self.slab.give_back(number);
        state.owned &= !(1 << extent);
        let plan = state.tag.plan();
        if state.owned == 0 && state.used == 0 {
            state.tag = Tag::NONE;
        }
        if let Some(plan) = self.plans.get_mut(plan) {
            plan.used.extents = plan.used.extents.saturating_sub(1);
        }
        true
    }

    /// Gives all extents of an address back to the public space.
    pub(super) fn release_extents(&mut self, index: u32, space: &PublicSpace) {
        let pool = self.addresses.get(index as usize).map(|s| s.tag.plan() as PoolId);
        for e in 0..EXTENTS_PER_ADDRESS {
            if self.strike_extent(index, e) {
                self.tell_extent(space, index, e, pool.unwrap_or(NONE), false);
                space.release(index, e, self.shard);
            }
        }
    }

    /// Gives back the extents of idle addresses whose home is another shard, so that capacity follows the load, and of
    /// those that their pool has lost. Not before all their ports have rested: who takes them next knows nothing of that.
    pub(super) fn sweep_extents(&mut self, program: &Program, now: Ticks) {
        let end = program.public_space.index_end();
        for _ in 0..SWEEP_PER_SECOND.min(end) {
            self.sweep = if self.sweep + 1 >= end { 0 } else { self.sweep + 1 };
            let Some(state) = self.addresses.get(self.sweep as usize) else {
                continue;
            };
            if state.owned == 0 || state.used != 0 || state.tag.hold() == Hold::Whole {
                continue;
            }
            let Some((address, pool)) = program.public_space.address(self.sweep) else {
                continue;
            };
            let lost = self
                .plans
                .get(usize::from(pool))
                .is_none_or(|p| p.hold.is_by_rule() || p.tag != state.tag);
            if (state.subscribers != 0 || self.follows(pool)) && !lost {
                continue;
            }
            let quarantine = Self::quarantine(program.pools.iter().find(|p| p.id == pool));
            let rested = now.0.saturating_sub(state.idle_since) > quarantine.0.saturating_mul(2);
            let settled = self.wait.is_settled(state.idle_since);
            let goes = rested
                && settled
                && (lost || !self.is_home_address(address))
                && !self.has_blocks(self.sweep)
                && self.blocks_are_settled(self.sweep);
            if goes && self.has_holds(self.sweep, now, lost) {
                // Taken anew, an extent would no longer be held: the end of that is told first.
                self.needs(self.sweep);
            } else if goes {
                self.release_extents(self.sweep, &program.public_space);
            }
        }
        for plan in &mut self.plans {
            if plan.sequential && plan.hold != Hold::Whole {
                plan.cursor = 0;
            }
        }
    }

    /// Whether an extent of an address is held at `now`, or may be for all that the other chassis knows. That one knows of the new
    /// program, too, so that on an address which its pool has lost the time alone counts.
    fn has_holds(&self, index: u32, now: Ticks, lost: bool) -> bool {
        let mut extents = (0..EXTENTS_PER_ADDRESS).filter_map(|e| self.extent(index, e));
        let counts = |extent: &Extent| extent.is_resting(now) || !lost && extent.is_binding(now, self.wait);
        self.holds.is_any && extents.any(counts)
    }

    /// Whether the other chassis knows of all blocks that ended on an address, which has none now.
    fn blocks_are_settled(&self, index: u32) -> bool {
        let extents = (0..EXTENTS_PER_ADDRESS).filter_map(|e| self.extent(index, e));
        let mut ends = extents.flat_map(|e| &e.unit_block);
        ends.all(|at| *at == NO_RECORD || self.wait.is_settled(*at))
    }

    pub(super) fn has_blocks(&self, index: u32) -> bool {
        self.addresses[index as usize]
            .extents
            .iter()
            .filter_map(|slot| self.extents.get(slot.checked_sub(1)? as usize))
            .any(|e| e.units_taken != 0)
    }
}
