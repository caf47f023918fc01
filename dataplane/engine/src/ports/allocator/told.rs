//! What the other chassis is told of extents and blocks, and the walk over those there are.
//!
//! Only extents of ports are told: a whole address comes with its mapping, and what goes by rule with the configuration.

use super::PortAllocator;
use crate::ports::block::Block;
use crate::ports::extent::Wait;
use crate::program::PoolId;
use crate::public_space::PublicSpace;
use crate::replica::{BlockRecord, ExtentRecord, Op};
use crate::subscriber::Subscriber;
use crate::ticks::Ticks;

impl PortAllocator {
    /// Whether extents and blocks that are taken and given back from now on are told, by [`PortAllocator::drain_told`]. What
    /// is installed or dropped is not: the other chassis said so.
    pub fn set_telling(&mut self, telling: bool) {
        self.telling = telling;
        if !telling {
            self.wait = self.wait.holds_only();
            self.told.drain(|_| true);
            self.told_lost = self.told.lost();
        }
    }

    /// From now on what ended waits so for the other chassis before it is anybody else's.
    pub fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// When a port, a block or an address was last given back.
    #[must_use]
    pub const fn last_end(&self) -> Ticks {
        self.last_end
    }

    /// Hands out what is to be told, oldest first: [`Op::Extent`], [`Op::ExtentClose`], [`Op::Block`] and
    /// [`Op::BlockClose`], of all pools. `sink` says whether it took one; the rest waits on.
    #[inline]
    pub fn drain_told(&mut self, sink: impl FnMut(&Op) -> bool) {
        if self.telling {
            self.told.drain(sink);
        }
    }

    /// Whether something to be told has found no room (4096 wait at most) since this was last asked.
    pub fn take_told_lost(&mut self) -> bool {
        let lost = self.told.lost();
        std::mem::replace(&mut self.told_lost, lost) != lost
    }

    /// Extents of ports this shard has, from a number on, each with its number, in no order. The numbers end at
    /// [`PortAllocator::extents_end`].
    pub fn owned_extents<'a>(
        &'a self,
        space: &'a PublicSpace,
        from: u32,
    ) -> impl Iterator<Item = (u32, ExtentRecord)> + 'a {
        (from..self.extents_end())
            .filter_map(move |number| self.owned_extent(space, number).map(|record| (number, record)))
    }

    /// The extent of ports with a number, if this shard has it.
    #[must_use]
    pub fn owned_extent(&self, space: &PublicSpace, number: u32) -> Option<ExtentRecord> {
        // What is behind was never anybody's, and says nothing of where it is.
        if number >= self.extents_end() {
            return None;
        }
        let extent = self.extents.get(number as usize)?;
        let at = extent.at;
        let (public, _) = space.address(at.address_index)?;
        let quarantine = self
            .plans
            .get(usize::from(at.pool))
            .map_or(Ticks::ZERO, |p| p.quarantine);
        Some(ExtentRecord {
            public,
            pool: at.pool,
            extent: at.extent,
            shard: self.shard,
            held_until: extent.held_until(quarantine),
        })
    }

    /// One more than the largest number an extent ever had.
    #[must_use]
    pub fn extents_end(&self) -> u32 {
        self.slab.high_water()
    }

    /// A block, as the other chassis is told of it.
    #[must_use]
    pub fn block_record(
        &self,
        space: &PublicSpace,
        block: &Block,
        subscriber: &Subscriber,
    ) -> Option<BlockRecord> {
        Some(BlockRecord {
            subscriber: subscriber.address(),
            public: space.address(block.address_index)?.0,
            first_port: block.first_port,
            size: block.size,
            service_set: subscriber.service_set,
            pool: block.pool,
            created: Ticks(block.created),
        })
    }

    #[inline]
    pub(super) fn tell_block(
        &mut self,
        space: &PublicSpace,
        block: &Block,
        subscriber: &Subscriber,
        taken: bool,
    ) {
        if self.telling
            && let Some(record) = self.block_record(space, block, subscriber)
        {
            self.told.push(if taken {
                Op::Block(record)
            } else {
                Op::BlockClose(record)
            });
        }
    }

    #[inline]
    pub(super) fn tell_extent(
        &mut self,
        space: &PublicSpace,
        index: u32,
        extent: usize,
        pool: PoolId,
        taken: bool,
    ) {
        if self.telling
            && let Some((public, _)) = space.address(index)
        {
            let record = ExtentRecord {
                public,
                pool,
                extent: extent as u8,
                shard: self.shard,
                held_until: Ticks::ZERO,
            };
            self.told.push(if taken {
                Op::Extent(record)
            } else {
                Op::ExtentClose(record)
            });
        }
    }
}
