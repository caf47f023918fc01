//! Two primaries that are one again: extents of the other one, taken over while this one goes on; and the log of what ends at the one
//! that yields.

use super::PortAllocator;
use super::address::Hold;
use super::blocks::units;
use crate::ports::block::BlockEventKind;
use crate::ports::extent::{PortClass, Rest};
use crate::program::{Pool, PoolId};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS, PublicSpace};
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;

impl PortAllocator {
    /// The other chassis has this extent for this shard: it is entered here, and gives no port before `until` but in blocks, since
    /// what was given out of it, or given back there a moment ago, may not all be known. True: it is new here. False: this shard has it
    /// already; or nothing is taken of such a pool by the extent. `None`: it is another's here, or there is no room.
    pub fn merge_extent(
        &mut self,
        space: &PublicSpace,
        pool: &Pool,
        index: u32,
        extent: usize,
        now: Ticks,
        until: Ticks,
    ) -> Option<bool> {
        let hold = Hold::of(&pool.mode);
        if hold.is_by_rule() || hold == Hold::Whole {
            return Some(false);
        }
        if extent >= EXTENTS_PER_ADDRESS || !self.make_use_of(space, pool, index) {
            return None;
        }
        if let Some(number) = self.extent_number(index, extent) {
            self.extents.get_mut(number as usize)?.hold_longer(until);
            self.holds.is_any = true;
            self.tell_extent(space, index, extent, pool.id, true);
            return Some(false);
        }
        if self.slab.peek().is_none() || !space.adopt(index, extent, self.shard) {
            return None;
        }
        self.enter_extent(index, extent, pool, now);
        let number = self.extent_number(index, extent)?;
        let of = self.plans.get(usize::from(pool.id)).map_or(0, |plan| plan.holds);
        self.extents.get_mut(number as usize)?.hold(until, of, false);
        self.holds.is_any = true;
        // The other chassis may be told everything just now, and would end what that does not have.
        self.tell_extent(space, index, extent, pool.id, true);
        Some(true)
    }

    /// Whether somebody here has a whole address, or had it less than a quarantine ago.
    #[must_use]
    pub fn was_address_given(&self, index: u32) -> bool {
        let state = self.addresses.get(index as usize);
        state.is_some_and(|state| state.tag.hold() == Hold::Whole && state.owned != 0)
    }

    /// Whether somebody here has a port, or had it less than a quarantine ago: it is nobody else's. Ports that are shared are anybody's.
    pub fn was_given(&mut self, index: u32, class: PortClass, port: u16, now: Ticks) -> bool {
        let Some(state) = self.addresses.get(index as usize).copied() else {
            return false;
        };
        if state.tag.hold() != Hold::Ports {
            return state.tag.hold() != Hold::Shared && self.is_used(index, class, port);
        }
        let plan = self.plans.get(state.tag.plan());
        let rest = Rest::new(now, plan.map_or(Ticks::ZERO, |p| p.quarantine), self.wait);
        let in_extent = (u32::from(port) % EXTENT_PORTS) as u16;
        self.extent_of(index, port)
            .is_some_and(|extent| !extent.is_unused(class, in_extent, rest))
    }

    /// The same of any port of a block. Out of an extent that this shard does not have it gave nothing.
    pub fn was_block_given(&mut self, index: u32, first_port: u16, size: u16, now: Ticks) -> bool {
        let plan = self
            .addresses
            .get(index as usize)
            .and_then(|state| self.plans.get(state.tag.plan()));
        let rest = Rest::new(now, plan.map_or(Ticks::ZERO, |p| p.quarantine), self.wait);
        let (unit, count) = units(first_port, size);
        self.extent_of(index, first_port)
            .is_some_and(|extent| !extent.units_are_unused(unit, count, rest))
    }

    /// Blocks of a pool that follows may be of this chassis' own time as primary beside the other one: the log has their beginnings, so
    /// it gets their ends, too.
    pub fn log_drops(&mut self, pool: PoolId, logs: bool) {
        if let Some(plan) = self.plans.get_mut(usize::from(pool)) {
            plan.logs_drops = logs;
        }
    }

    /// Logs the end of a block that [`PortAllocator::drop_block`] is about to drop, if it is to be.
    pub fn log_drop(
        &mut self,
        space: &PublicSpace,
        index: u32,
        (first_port, size): (u16, u16),
        subscribers: &SubscriberTable,
        now: Ticks,
    ) {
        let block = self
            .block_at(index, first_port)
            .and_then(|n| self.blocks.get(n))
            .copied();
        let Some(block) = block.filter(|b| (b.first_port, b.size) == (first_port, size)) else {
            return;
        };
        if !self
            .plans
            .get(usize::from(block.pool))
            .is_some_and(|plan| plan.logs_drops)
        {
            return;
        }
        let (set, inside) = subscribers.get(block.subscriber).map_or((0, 0), |subscriber| {
            (subscriber.service_set, subscriber.address())
        });
        let public = space.address(index).map_or(0, |(address, _)| address);
        self.log(BlockEventKind::Released, &block, set, inside, public, now);
    }
}
