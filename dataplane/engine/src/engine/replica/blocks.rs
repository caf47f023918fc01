//! Port blocks as the other chassis has them.
//!
//! A block it gives to somebody may lie where another had one here, who still has ports of it: sessions of the time when this
//! chassis was primary, or what no sweep has come to yet. Those ports are not theirs any more, or else this chassis could take
//! over with a block in which two have ports, and tell that back.
//!
//! ```text
//!   Block --> blocks of ours in its way go --> mappings of others in it are lost --> are all ports left in it mappings'?
//!                                                      yes: it is entered <----------------'   '--> no: the walk of
//!                                                           it is entered <---- contest.rs ends sessions of others
//! ```

use super::Engine;
use super::ground::refused;
use super::install::NotInstalled;
use crate::drop_reason::DropReason;
use crate::ports::{PortAllocator, PortClass};
use crate::replica::BlockRecord;

/// IP protocols that have ports.
const WITH_PORTS: [u8; 3] = [1, 6, 17];

impl Engine {
    /// Enters a block. `is_settled`: no session of another has a port in it, as a walk has found.
    pub(super) fn install_block(
        &mut self,
        record: &BlockRecord,
        is_settled: bool,
    ) -> Result<(), NotInstalled> {
        self.replica.contested.forget_block(record);
        self.check_known(record.service_set)?;
        let (index, pool) = self.followed(record.public, record.pool)?;
        let subscriber = self.subscriber_of(record.service_set, record.subscriber)?;
        let (first, size) = (record.first_port, record.size);
        self.hold_subscriber(subscriber);
        let is_known = self.has_block(index, record, subscriber);
        let shard = self.ports.shard(record.subscriber);
        let mut result = Err(NotInstalled::NoGround);
        // Blocks of ours in its way, one in each unit at most: the other chassis is right.
        for _ in 0..=size / 64 {
            match self.place_block(index, pool, record, subscriber) {
                Ok(_) if !is_known && self.lose_strangers(index, record, subscriber) && !is_settled => {
                    self.drop_block(index, first, size);
                    result = Err(NotInstalled::Contested);
                }
                Ok(number) => {
                    self.confirm_block(self.ports.block_place(shard, number));
                    result = Ok(());
                }
                Err(DropReason::SessionConflict) if self.drop_block_at(index, first, size) => continue,
                Err(reason) => result = Err(refused(reason)),
            }
            break;
        }
        self.leave_subscriber(subscriber);
        result
    }

    /// Gives a subscriber the block of a record, out of a pool of that place in the program; its number.
    pub(super) fn place_block(
        &mut self,
        index: u32,
        pool: usize,
        record: &BlockRecord,
        subscriber: u32,
    ) -> Result<u32, DropReason> {
        let program = &self.program;
        self.ports.of_mut(&record.subscriber).install_block(
            &program.public_space,
            &program.pools[pool],
            index,
            record.first_port,
            record.size,
            record.created,
            subscriber,
            &mut self.subscribers,
            self.now,
        )
    }

    /// Whether the subscriber has this very block.
    pub(super) fn has_block(&self, index: u32, record: &BlockRecord, subscriber: u32) -> bool {
        let ports = self.shard_at(index, record.first_port);
        let block = ports.and_then(|p| p.blocks().get(p.block_at(index, record.first_port)?));
        block.is_some_and(|b| {
            (b.first_port, b.size, b.subscriber) == (record.first_port, record.size, subscriber)
        })
    }

    /// Takes away the mappings of others in a new block. Whether ports in it are in use for sessions of their own: whose
    /// these are is not found at once.
    fn lose_strangers(&mut self, index: u32, record: &BlockRecord, subscriber: u32) -> bool {
        let shard = self.ports.shard(record.subscriber);
        let used = |engine: &Self| {
            let ports = engine.ports.of_shard(shard)?;
            let block = ports.block_at(index, record.first_port)?;
            Some(ports.blocks().get(block)?.used)
        };
        let mut left = used(self).unwrap_or(0);
        let mut has_sessions = false;
        for port in (0..record.size).map_while(|n| record.first_port.checked_add(n)) {
            for protocol in WITH_PORTS {
                if left == 0 {
                    return has_sessions;
                }
                let class = PortClass::of_protocol(protocol);
                let ports = self.ports.of_shard(shard);
                let is_used = |(p, class): (&PortAllocator, _)| p.is_used(index, class, port);
                if !ports.zip(class).is_some_and(is_used) {
                    continue;
                }
                left -= 1;
                let Some(number) = self.mappings.find_public(record.public, port, protocol) else {
                    has_sessions = true;
                    continue;
                };
                if self
                    .mappings
                    .get(number)
                    .is_some_and(|m| m.subscriber != subscriber)
                {
                    self.lose_mapping(number);
                }
            }
        }
        has_sessions
    }

    /// Drops a block that is in some of these ports.
    fn drop_block_at(&mut self, index: u32, first: u16, size: u16) -> bool {
        let Some(ports) = self.shard_at(index, first) else {
            return false;
        };
        let number = (first..=first + (size - 1))
            .step_by(64)
            .find_map(|port| ports.block_at(index, port));
        let Some(block) = number.and_then(|n| ports.blocks().get(n)).copied() else {
            return false;
        };
        self.counters.replica_conflicts += 1;
        self.drop_block(index, block.first_port, block.size);
        true
    }

    pub(super) fn drop_block(&mut self, index: u32, first: u16, size: u16) {
        let shard = self.program.public_space.owner(index, usize::from(first >> 12));
        let (ports, now) = (self.ports.of_shard_mut(shard), self.now);
        let owner = ports.and_then(|p| {
            p.log_drop(
                &self.program.public_space,
                index,
                (first, size),
                &self.subscribers,
                now,
            );
            p.drop_block(index, first, size, &mut self.subscribers, now)
        });
        if let Some(owner) = owner {
            self.drop_subscriber_if_idle(owner);
        }
    }

    /// The allocator of the shard that has the extent of a port.
    fn shard_at(&self, index: u32, port: u16) -> Option<&PortAllocator> {
        let shard = self.program.public_space.owner(index, usize::from(port >> 12));
        self.ports.of_shard(shard)
    }

    pub(super) fn install_block_end(&mut self, record: &BlockRecord) -> Result<(), NotInstalled> {
        self.replica.contested.forget_block(record);
        self.check_standby(record.service_set)?;
        let index = self.program.public_space.index_of(record.public);
        let index = index.ok_or(NotInstalled::NoGround)?;
        self.drop_block(index, record.first_port, record.size);
        Ok(())
    }

    /// Whether a block is of the service set and address of a subscriber.
    pub(super) fn is_block_of(&self, record: &BlockRecord, subscriber: u32) -> bool {
        let owner = self.owner_of(record.service_set, record.subscriber);
        self.subscribers
            .get(subscriber)
            .is_some_and(|s| (s.service_set, s.address()) == (record.service_set, owner))
    }
}
