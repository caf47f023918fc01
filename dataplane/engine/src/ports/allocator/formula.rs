//! Ports of deterministic pools: which of its own ports a subscriber's mapping or session gets. RFC 7422.
//!
//! No extent is taken and nothing rests: ports that are always the same subscriber's may be used again at once (RFC 6888
//! REQ-8, exception B). What is in use is known by the caller's tables; here it is only counted, so that an address that a
//! reload moved here serves when its former pool's sessions are gone, and the other way round.

use super::address::{Hold, Tag};
use super::shared::Candidates;
use super::{Outcome, PortAllocator, Request, Taken};
use crate::drop_reason::DropReason;
use crate::ports::extent::PortClass;
use crate::program::PortAllocation;
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;

impl PortAllocator {
    /// Takes a port for the subscriber that has the inside address `inside` (IPv4 under `::ffff:0:0/96`): one of its own of
    /// which `is_free(public address, port)` says that it is not in use. It is asked for consecutive ports from a random one
    /// on (RFC 6056 section 3.3.1), or from the one with as many before it as the subscriber has in use: that is the next
    /// free one while none was given back. At the worst it is asked for every port of the block. The pool's mode is
    /// [`crate::program::PoolMode::Deterministic`]. [`PortAllocator::release`] gives it back.
    ///
    /// # Errors
    /// [`DropReason::NatOutOfAddresses`] when the pool has no ports for this subscriber, is drained, or sessions of the
    /// address' former pool are left; [`DropReason::NatOutOfPorts`] when all of them are in use. Nothing changed then.
    pub fn take_deterministic(
        &mut self,
        request: &Request<'_>,
        inside: u128,
        subscribers: &mut SubscriberTable,
        is_free: impl FnMut(u32, u16) -> bool,
    ) -> Outcome {
        let taken = self.take_of_formula(request, inside, subscribers, is_free);
        self.count_taken(request, subscribers, taken)
    }

    fn take_of_formula(
        &mut self,
        request: &Request<'_>,
        inside: u128,
        subscribers: &SubscriberTable,
        mut is_free: impl FnMut(u32, u16) -> bool,
    ) -> Outcome {
        let pool = request.pool;
        let (ports, found) = pool
            .ports_of(inside)
            .and_then(|ports| Some((ports, request.space.find(ports.address)?)))
            .filter(|(_, found)| found.pool == pool.id && !pool.drain)
            .ok_or(DropReason::NatOutOfAddresses)?;
        let tag = Tag::of(pool);
        let state = self
            .addresses
            .get(found.index as usize)
            .ok_or(DropReason::NatOutOfAddresses)?;
        if state.tag != Tag::NONE && state.tag != tag && !self.take_over(found.index, tag) {
            return Err(DropReason::NatOutOfAddresses);
        }
        let mut candidates = Candidates::new(request);
        let first = u32::from(ports.first.max(1));
        candidates.add(first, u32::from(ports.last), request.inside_port);
        let from = (pool.port_allocation == PortAllocation::Sequential).then(|| {
            let used = subscribers
                .get(request.subscriber)
                .map_or(0, |s| s.ports[request.class as usize]);
            let length = u32::from(ports.last) + 1 - u32::from(ports.first);
            ports.first + (used % length) as u16
        });
        let mut tries = u32::from(u16::MAX);
        let port = candidates
            .search(from, &mut self.rng, &mut tries, |port| {
                is_free(ports.address, port)
            })
            .ok_or(DropReason::NatOutOfPorts)?;
        let state = &mut self.addresses[found.index as usize];
        state.tag = tag;
        state.used += 1;
        Ok(Taken {
            address_index: found.index,
            address: ports.address,
            port,
        })
    }

    /// One port of a formula less in use.
    pub(super) fn leave_formula(
        &mut self,
        index: u32,
        class: PortClass,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> bool {
        let Some(state) = self
            .addresses
            .get(index as usize)
            .filter(|s| s.used != 0 && s.tag.hold() == Hold::Formula)
        else {
            return false;
        };
        let last = state.used == 1 && state.owned == 0;
        self.count_released(index, class, subscriber, subscribers, now);
        if last {
            self.addresses[index as usize].tag = Tag::NONE;
        }
        true
    }
}
