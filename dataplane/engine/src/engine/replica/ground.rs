//! What installed sessions stand on: mappings, ports, addresses, claims; and extents as the other chassis has them.

use std::collections::BTreeMap;

use super::Engine;
use super::install::{NotInstalled, mapping_of};
use crate::claims::ClaimRefused;
use crate::drop_reason::DropReason;
use crate::mapping::{Mapping, WHOLE_ADDRESS};
use crate::ports::PortClass;
use crate::program::{FilteringType, Pool, PoolId, PoolMode, Program, ServiceSet, ServiceSetId};
use crate::public_space::PublicSpace;
use crate::replica::{ExtentRecord, MappingRecord, Op, Role, SessionRecord};
use crate::session::{FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_OWNS_PORT, FLAG_UNANSWERED, Hot};
use crate::ticks::Ticks;

/// The pools of a service set.
pub(super) fn pools_of(set: &ServiceSet) -> impl Iterator<Item = PoolId> {
    set.terms.iter().filter_map(|term| term.action.pool())
}

fn filtering(number: u8) -> FilteringType {
    match number {
        0 => FilteringType::EndpointIndependent,
        1 => FilteringType::AddressDependent,
        _ => FilteringType::AddressAndPortDependent,
    }
}

pub(super) fn refused(reason: DropReason) -> NotInstalled {
    match reason {
        DropReason::BlockTableFull | DropReason::SubscriberTableFull => NotInstalled::NoRoom,
        DropReason::SessionConflict => NotInstalled::Contested,
        _ => NotInstalled::NoGround,
    }
}

impl Engine {
    /// Takes what an installed session stands on; its anchor.
    pub(super) fn take_ground(
        &mut self,
        record: &SessionRecord,
        hot: &Hot,
        inside: (u128, u16),
        subscriber: u32,
    ) -> Result<u32, NotInstalled> {
        if record.flags & FLAG_FREE_STANDING != 0 {
            return Ok(0);
        }
        let back = hot.from_outside();
        let found = self.program.public_space.find(back.dst);
        let index = found.ok_or(NotInstalled::NoGround)?.index;
        let pool = self.pool_at(record.pool).ok_or(NotInstalled::NoGround)?;
        let program = std::sync::Arc::clone(&self.program);
        let (space, pool): (_, &Pool) = (&program.public_space, &program.pools[pool]);
        if record.flags & FLAG_ADDRESS_ONLY != 0 {
            let worker = self.config.worker;
            self.config
                .claims
                .claim(back.dst, back.src, hot.protocol, worker)
                .map_err(|refused| match refused {
                    // Another worker may be about to end it.
                    ClaimRefused::Taken => NotInstalled::Contested,
                    ClaimRefused::Full => NotInstalled::NoGround,
                })?;
            let ports = self.ports.of_subscriber_mut(&self.subscribers, subscriber);
            ports.install_pairing(space, pool, index, subscriber, &mut self.subscribers);
            return Ok(index);
        }
        if record.flags & FLAG_OWNS_PORT != 0 {
            let class = PortClass::of_protocol(hot.protocol).ok_or(NotInstalled::NoGround)?;
            let port = back.dport;
            let mut taken = self.install_port((space, pool), index, class, port, subscriber);
            // A mapping's that the other chassis does not have.
            let other = self.mappings.find_public(back.dst, port, hot.protocol);
            if let (Err(DropReason::SessionConflict), Some(other)) = (taken, other) {
                self.lose_mapping(other);
                taken = self.install_port((space, pool), index, class, port, subscriber);
            }
            taken.map_err(refused)?;
            return Ok(index);
        }
        let whole = matches!(pool.mode, PoolMode::Addresses);
        let number = self.mapping_for(&mapping_of(record, hot, inside, whole), subscriber)?;
        if let Some(mapping) = self.mappings.get_mut(number) {
            mapping.join(record.flags & FLAG_UNANSWERED == 0);
        }
        if let Some(subscriber) = self.subscribers.get_mut(subscriber).filter(|_| whole) {
            subscriber.keep(false);
        }
        Ok(number)
    }

    /// [`crate::ports::PortAllocator::install_port`].
    fn install_port(
        &mut self,
        (space, pool): (&PublicSpace, &Pool),
        index: u32,
        class: PortClass,
        port: u16,
        subscriber: u32,
    ) -> Result<(), DropReason> {
        let ports = self.ports.of_subscriber_mut(&self.subscribers, subscriber);
        let (subscribers, now) = (&mut self.subscribers, self.now);
        ports.install_port(space, pool, index, class, port, subscriber, subscribers, now)
    }

    /// Position of a pool in the program.
    pub(super) fn pool_at(&self, id: PoolId) -> Option<usize> {
        let at = usize::from(*self.pools.get(usize::from(id))?);
        (at < self.program.pools.len()).then_some(at)
    }

    /// The mapping the other chassis has, made if there is none, and with none in its way.
    pub(super) fn mapping_for(
        &mut self,
        record: &MappingRecord,
        subscriber: u32,
    ) -> Result<u32, NotInstalled> {
        let (inside, port, protocol) = (record.inside, record.inside_port, record.protocol);
        let place = self
            .mappings
            .inside_place(record.service_set, inside, port, protocol);
        let known = self
            .mappings
            .find_inside(place, subscriber, inside, port, protocol);
        if let Some(number) = known {
            let public = self.mappings.get(number).map(|m| (m.public, m.public_port));
            if public == Some((record.public, record.public_port)) {
                self.confirm_mapping(number);
                return Ok(number);
            }
            self.lose_mapping(number);
        }
        let other = self
            .mappings
            .find_public(record.public, record.public_port, protocol);
        if let Some(number) = other {
            self.lose_mapping(number);
        }
        let found = self.program.public_space.find(record.public);
        let index = found.ok_or(NotInstalled::NoGround)?.index;
        let pool = self.pool_at(record.pool).ok_or(NotInstalled::NoGround)?;
        let program = std::sync::Arc::clone(&self.program);
        let (space, pool) = (&program.public_space, &program.pools[pool]);
        match PortClass::of_protocol(protocol) {
            Some(class) => self
                .install_port((space, pool), index, class, record.public_port, subscriber)
                .map_err(refused)?,
            None => {
                let take = match self.merges(record.service_set) {
                    true => PublicSpace::adopt_all,
                    false => PublicSpace::install_all,
                };
                let ports = self.ports.of_subscriber_mut(&self.subscribers, subscriber);
                ports
                    .install_address(space, pool, index, subscriber, &mut self.subscribers, take)
                    .map_err(|_| NotInstalled::NoGround)?;
            }
        }
        let mapping = Mapping::new(
            (inside, port),
            (record.public, record.public_port),
            protocol,
            subscriber,
            filtering(record.filtering),
            record.prefix,
        );
        let Ok(number) = self.mappings.insert(place, mapping) else {
            self.release_port(index, protocol, record.public_port, subscriber);
            return Err(NotInstalled::NoRoom);
        };
        self.counters.mappings_created += 1;
        let public = self
            .mappings
            .public_place(record.public, record.public_port, protocol);
        if self.mappings.enter_public(public, number).is_err() {
            self.end_mapping_if_unused(number);
            return Err(NotInstalled::NoRoom);
        }
        self.confirm_mapping(number);
        Ok(number)
    }

    /// The other chassis has this mapping.
    pub(super) fn confirm_mapping(&mut self, number: u32) {
        if let Some(mapping) = self.mappings.get_mut(number) {
            mapping.set_known(true);
        }
        if let Some(epoch) = self.replica.mapping_epochs.get_mut(number as usize) {
            *epoch = self.replica.epoch;
        }
    }

    /// A mapping that the other chassis has stays without sessions, and so does its subscriber.
    pub(in crate::engine) fn keep_mapping(&mut self, number: u32) {
        let Some(mapping) = self.mappings.get(number).filter(|m| m.sessions == 0) else {
            return;
        };
        // A port keeps its subscriber by itself.
        if mapping.protocol == WHOLE_ADDRESS
            && let Some(subscriber) = self.subscribers.get_mut(mapping.subscriber)
        {
            subscriber.keep(true);
        }
    }

    /// Takes away a mapping whose ends are another's by the word of the other chassis. Its port is free at once; its sessions
    /// are ended by the purge.
    pub(super) fn lose_mapping(&mut self, number: u32) {
        let Some(mapping) = self.mappings.get(number).copied() else {
            return;
        };
        let Some(of) = self.subscribers.get(mapping.subscriber).copied() else {
            return;
        };
        self.counters.replica_conflicts += 1;
        if mapping.sessions == 0 {
            self.end_mapping_if_unused(number);
            return;
        }
        self.mappings.lose(number, &of);
        if let Some(index) = self.program.public_space.index_of(mapping.public) {
            self.release_port(index, mapping.protocol, mapping.public_port, mapping.subscriber);
        }
        self.purge_more();
    }

    /// Ends a mapping without sessions, and its subscriber if that has nothing else.
    pub(super) fn end_mapping_if_unused(&mut self, number: u32) {
        let Some(mapping) = self.mappings.get(number).filter(|m| m.sessions == 0).copied() else {
            return;
        };
        self.end_mapping(number);
        if let Some(subscriber) = self.subscribers.get_mut(mapping.subscriber) {
            if mapping.protocol == WHOLE_ADDRESS {
                subscriber.keep(false);
            }
            self.drop_subscriber_if_idle(mapping.subscriber);
        }
    }

    /// Whether this chassis is standby of a service set that uses a pool: then the other one gives out what is in it.
    pub(super) fn follows(&self, pool: PoolId) -> bool {
        self.is_used_by(pool, |set| self.role(set) == Role::Standby)
    }

    /// Whether one of the service sets that use a pool is such.
    pub(super) fn is_used_by(&self, pool: PoolId, is_such: impl Fn(ServiceSetId) -> bool) -> bool {
        let sets = self.program.service_sets.iter();
        let mut users = sets
            .filter(|s| pools_of(s).any(|p| p == pool))
            .map(|s| s.id)
            .peekable();
        if users.peek().is_some() {
            return users.any(is_such);
        }
        // What is left of those who used it before ends as it began: by the word of the primary.
        let mut former = self.replica.former_pools.iter();
        former.any(|(of, set)| *of == pool && is_such(*set))
    }

    /// Remembers whose pools were that a new program takes away from them.
    pub(in crate::engine) fn remember_pools(&mut self, new: &Program) {
        for set in &self.program.service_sets {
            for pool in pools_of(set) {
                if !self.replica.former_pools.contains(&(pool, set.id)) {
                    self.replica.former_pools.push((pool, set.id));
                }
            }
        }
        let is_left = |pool: PoolId| new.pools.iter().any(|p| p.id == pool);
        self.replica.former_pools.retain(|(pool, _)| is_left(*pool));
    }

    /// Lets the allocator follow or lead, as roles are.
    pub(super) fn follow_pools(&mut self) {
        let program = std::sync::Arc::clone(&self.program);
        for pool in &program.pools {
            let follows = self.has_standby && self.follows(pool.id);
            self.ports.follow(pool.id, follows);
        }
    }

    /// At a takeover: what the other chassis gave out without a word of it is unknown, so what it had rests.
    /// `is_told`: nothing is in use here that the other chassis did not know of.
    pub(super) fn hold_ports(&mut self, set: ServiceSetId, least: Ticks, is_told: bool) {
        let Some(set) = self.service_set(set) else {
            return;
        };
        let held: BTreeMap<PoolId, Ticks> = pools_of(set)
            .filter_map(|id| Some((id, self.now.plus(self.pool(id)?.quarantine.max(least)))))
            .collect();
        if !held.is_empty() {
            self.ports.hold(|id| held.get(&id).copied(), is_told);
        }
    }

    /// The next operation about extents and blocks that the other chassis shall know.
    pub(super) fn next_told(&mut self) -> Option<Op> {
        loop {
            let mut next = None;
            self.ports
                .drain_told(|op| next.is_none() && next.replace(*op).is_none());
            let op = next?;
            if self.is_told(&op) {
                return Some(op);
            }
        }
    }

    /// Whether an extent or block is of a service set that is replicated from here.
    pub(super) fn is_told(&self, op: &Op) -> bool {
        let tells = |s: &ServiceSet| s.replication.threshold.is_some() && !self.is_standby(s.id);
        match op {
            Op::Block(record) => self.service_set(record.service_set).is_some_and(tells),
            Op::Extent(record) => {
                let mut sets = self.program.service_sets.iter();
                sets.any(|s| tells(s) && pools_of(s).any(|p| p == record.pool))
            }
            // A reload may have taken away what it was of.
            Op::BlockClose(record) => !self.is_standby(record.service_set),
            Op::ExtentClose(record) => !self.has_standby || !self.follows(record.pool),
            _ => false,
        }
    }

    pub(super) fn install_extent(&mut self, record: &ExtentRecord) -> Result<(), NotInstalled> {
        let (index, pool) = self.followed(record.public, record.pool)?;
        let program = std::sync::Arc::clone(&self.program);
        let (space, pool) = (&program.public_space, &program.pools[pool]);
        let extent = usize::from(record.extent);
        let ports = self.ports.of_shard_mut(record.shard);
        let ports = ports.ok_or(NotInstalled::NoGround)?;
        if !ports.install_extent(space, pool, index, extent, self.now) {
            return Err(NotInstalled::NoGround);
        }
        ports.note_hold(index, extent, record.held_until);
        if let Some(place) = self.ports.extent_place(record.shard, index, extent) {
            self.confirm_extent(place);
        }
        Ok(())
    }

    pub(super) fn install_extent_end(&mut self, record: &ExtentRecord) -> Result<(), NotInstalled> {
        self.check_heeded(record.pool)?;
        let ports = self.ports.of_shard_mut(record.shard);
        // Of a pool that no standby's service set uses, this chassis decides for itself.
        let Some(ports) = ports.filter(|p| p.follows(record.pool)) else {
            return Ok(());
        };
        let space = &self.program.public_space;
        let index = space.index_of(record.public).ok_or(NotInstalled::NoGround)?;
        let extent = usize::from(record.extent);
        if !ports.drop_extent(space, index, extent)
            && let Some(place) = self.ports.extent_place(record.shard, index, extent)
        {
            self.extent_leaves(place);
        }
        Ok(())
    }

    /// Whether what the other chassis says of a pool that it gives out of counts.
    fn check_heeded(&self, pool: PoolId) -> Result<(), NotInstalled> {
        if self.is_unoffered_of(pool) {
            return Err(NotInstalled::Unoffered);
        }
        match self.is_used_by(pool, |set| self.passes_over(set)) {
            true => Err(NotInstalled::Offered),
            false => Ok(()),
        }
    }

    /// Index of an address and position of its pool, if the other chassis gives out what is in it.
    pub(super) fn followed(&self, public: u32, pool: PoolId) -> Result<(u32, usize), NotInstalled> {
        if !self.follows(pool) {
            return Err(NotInstalled::NotStandby);
        }
        self.check_heeded(pool)?;
        let found = self.program.public_space.find(public);
        let index = found.ok_or(NotInstalled::NoGround)?.index;
        let pool = self.pool_at(pool).ok_or(NotInstalled::NoGround)?;
        Ok((index, pool))
    }
}
