//! Ports that all subscribers of an address share: which free one a mapping gets.

use super::address::Hold;
use super::choice::PickPort;
use super::{Outcome, PortAllocator, Request, Taken};
use crate::drop_reason::DropReason;
use crate::ports::extent::{ANY_PARITY, Acceptable, EVEN, ODD, PortClass, Rest};
use crate::program::{PoolMode, PortAllocation};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS};
use crate::subscriber::SubscriberTable;

/// Ports of static mappings met in one call, at most.
const MAX_FIXED: usize = 8;

/// A port for one mapping or session alone, by blocks when the pool has them.
pub(super) struct Exclusive;

impl PickPort for Exclusive {
    const HOLD: Hold = Hold::Ports;

    #[inline]
    fn suits(mode: &PoolMode) -> bool {
        matches!(mode, PoolMode::Ports)
    }

    #[inline(always)]
    fn pick(
        &mut self,
        allocator: &mut PortAllocator,
        index: u32,
        address: u32,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
    ) -> Result<u16, DropReason> {
        if let Some(blocks) = request.pool.port_blocks {
            allocator.take_from_blocks(index, address, blocks, request, subscribers)
        } else {
            allocator
                .take_free(index, address, request)
                .ok_or_else(|| allocator.none_on(index, request))
        }
    }
}

impl PortAllocator {
    /// [`PortAllocator::take`], but never a port that `is_fixed(public address, port)` says belongs to a static mapping. Only
    /// of use where the static mappings own addresses of the pool. At most 8 fixed ports are met in one call; they go back
    /// into quarantine, so that the next call meets others.
    ///
    /// # Errors
    /// Why there was none.
    pub fn take_unless(
        &mut self,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        is_fixed: impl Fn(u32, u16) -> bool,
    ) -> Outcome {
        let mut met = [None; MAX_FIXED];
        let mut outcome = Err(DropReason::NatOutOfPorts);
        for slot in &mut met {
            outcome = self.take(request, subscribers);
            match outcome {
                Ok(taken) if is_fixed(taken.address, taken.port) => *slot = Some(taken),
                _ => break,
            }
            outcome = Err(DropReason::NatOutOfPorts);
        }
        let Request {
            pool,
            space,
            class,
            subscriber,
            now,
            ..
        } = *request;
        // Kept until now, so that none was met twice.
        for Taken {
            address_index, port, ..
        } in met.into_iter().flatten()
        {
            self.release(
                space,
                Some(pool),
                address_index,
                class,
                port,
                subscriber,
                subscribers,
                now,
            );
        }
        outcome
    }

    #[inline(always)]
    pub(super) fn take_free(&mut self, index: u32, address: u32, request: &Request<'_>) -> Option<u16> {
        if self.addresses[index as usize].owned == 0 {
            self.acquire_home(index, address, request);
        }
        let rest = self.rest(Some(request.pool), request.now);
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

    /// Takes a port of `first..=last` in the extents owned on this address.
    #[inline]
    pub(super) fn take_in_range(
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
        let state = &self.addresses[index as usize];
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
}

/// The port ranges to try, in order. RFC 4787 REQ-3a: well-known ports map to well-known ports where the pool has some,
/// others to others.
#[inline(always)]
pub(super) fn port_ranges(request: &Request<'_>) -> impl Iterator<Item = (u32, u32)> + use<> {
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
