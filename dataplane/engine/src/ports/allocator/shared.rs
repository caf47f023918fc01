//! Port overloading: a port serves any number of sessions, as long as their outside ends differ. RFC 7857 section 3.
//!
//! Who has which port is then a matter of the session table, which the caller asks; here is kept only how many sessions are
//! on an extent, so that it is not given up under them. A freed port does not rest: sessions from outside need a session
//! that is there (address and port-dependent filtering), and TCP is tracked, so RFC 6888 REQ-8 excepts them (A and C).
//! Port blocks would give one subscriber's ports a meaning that sharing takes from them; a pool has one or the other.

use super::address::Hold;
use super::choice::PickPort;
use super::free::port_ranges;
use super::{Outcome, PortAllocator, Request};
use crate::drop_reason::DropReason;
use crate::hash::Rng;
use crate::ports::extent::PortClass;
use crate::program::{PoolMode, PortAllocation};
use crate::public_space::{EXTENT_PORTS, EXTENTS_PER_ADDRESS};
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;

/// Ports looked at for one session, at most.
pub(super) const MAX_TRIES: u32 = 64;
/// Of these, on one address that the subscriber is not paired with.
const TRIES_PER_ADDRESS: u32 = 16;

/// The ports that may serve, in order: runs of consecutive ones, or of every second one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidates {
    /// First port and number of ports of each run.
    runs: [(u32, u32); EXTENTS_PER_ADDRESS],
    run_count: usize,
    total: u32,
    step: u32,
}

impl Candidates {
    /// None, to which runs are added. With `preserve_parity` only ports as even or odd as the inside one.
    pub(super) fn new(request: &Request<'_>) -> Self {
        Self {
            step: if request.pool.preserve_parity { 2 } else { 1 },
            ..Self::default()
        }
    }

    /// Adds the ports of `first..=last`, which lie above those there are.
    pub(super) fn add(&mut self, first: u32, last: u32, inside_port: u16) {
        let odd = self.step == 2 && (first ^ u32::from(inside_port)) & 1 != 0;
        let first = first + u32::from(odd);
        if first > last {
            return;
        }
        if let Some(run) = self.runs.get_mut(self.run_count) {
            let count = (last - first) / self.step + 1;
            *run = (first, count);
            self.run_count += 1;
            self.total += count;
        }
    }

    fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.runs.iter().copied().take(self.run_count)
    }

    fn port(&self, mut number: u32) -> Option<u16> {
        self.runs().find_map(|(first, count)| {
            if number < count {
                return Some((first + number * self.step) as u16);
            }
            number -= count;
            None
        })
    }

    /// How many lie below `port`.
    fn below(&self, port: u16) -> u32 {
        self.runs()
            .map(|(first, count)| {
                u32::from(port)
                    .saturating_sub(first)
                    .div_ceil(self.step)
                    .min(count)
            })
            .sum()
    }

    /// The first that is free from a random one on, or from the one at or after `from`; looks at `tries` at most, and
    /// takes those it looked at from them.
    pub(super) fn search(
        &self,
        from: Option<u16>,
        rng: &mut Rng,
        tries: &mut u32,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        if self.total == 0 {
            return None;
        }
        let start = match from {
            Some(port) => self.below(port),
            None => rng.below(self.total),
        };
        let most = self.total.min(*tries);
        for i in 0..most {
            *tries -= 1;
            let number = start + i;
            let port = self.port(if number >= self.total {
                number - self.total
            } else {
                number
            })?;
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }
}

/// A port that is free towards one outside end.
struct Sharing<F> {
    is_free: F,
    tries: u32,
}

impl<F: FnMut(u32, u16) -> bool> PickPort for Sharing<F> {
    const HOLD: Hold = Hold::Shared;

    fn suits(mode: &PoolMode) -> bool {
        matches!(mode, PoolMode::OverloadedPorts)
    }

    fn pick(
        &mut self,
        allocator: &mut PortAllocator,
        index: u32,
        address: u32,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
    ) -> Result<u16, DropReason> {
        let paired = subscribers
            .get(request.subscriber)
            .is_some_and(|s| s.paired == index);
        let mut tries = if paired {
            self.tries
        } else {
            self.tries.min(TRIES_PER_ADDRESS)
        };
        self.tries -= tries;
        let mut is_free = |port| (self.is_free)(address, port);
        let port = allocator.find_shared(index, address, request, &mut tries, &mut is_free);
        self.tries += tries;
        port.ok_or_else(|| allocator.none_on(index, request))
    }
}

impl PortAllocator {
    /// Takes a port for a session, shared with sessions to other outside ends: one of which `is_free(public address, port)`
    /// says that no session to this session's outside end has it. It is asked at most 64 times; after that the session is
    /// refused. The pool's mode is [`crate::program::PoolMode::OverloadedPorts`]. [`PortAllocator::release`] gives it back.
    ///
    /// # Errors
    /// Why there was none. Nothing changed then.
    pub fn take_shared(
        &mut self,
        request: &Request<'_>,
        subscribers: &mut SubscriberTable,
        is_free: impl FnMut(u32, u16) -> bool,
    ) -> Outcome {
        let tries = MAX_TRIES;
        self.take_by(request, subscribers, &mut Sharing { is_free, tries })
    }

    fn find_shared(
        &mut self,
        index: u32,
        address: u32,
        request: &Request<'_>,
        tries: &mut u32,
        is_free: &mut impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        if *tries == 0 {
            return None;
        }
        if self.addresses[index as usize].owned == 0 {
            self.acquire_home(index, address, request);
        }
        if let Some((near, port)) = request.next_to
            && near == index
            && port != 0
            && request.pool.ports.contains(port)
            && let Some(extent) = self.extent_of(index, port)
            && !extent.is_held()
            && is_free(port)
        {
            extent.share(request.class);
            return Some(port);
        }
        for (first, last) in port_ranges(request) {
            loop {
                if let Some(port) = self.search_owned(index, request, (first, last), tries, is_free) {
                    return Some(port);
                }
                if *tries == 0 || !self.acquire_one(index, address, request, first, last) {
                    break;
                }
            }
        }
        None
    }

    fn search_owned(
        &mut self,
        index: u32,
        request: &Request<'_>,
        (first, last): (u32, u32),
        tries: &mut u32,
        is_free: &mut impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let state = self.addresses[index as usize];
        let owned = state.owned & !self.held(index);
        let mut candidates = Candidates::new(request);
        for e in (first / EXTENT_PORTS..=last / EXTENT_PORTS).filter(|e| owned >> e & 1 != 0) {
            let base = e * EXTENT_PORTS;
            let (low, high) = (first.max(base), last.min(base + EXTENT_PORTS - 1));
            candidates.add(low, high, request.inside_port);
        }
        let class = request.class as usize;
        let sequential = request.pool.port_allocation == PortAllocation::Sequential;
        let from = sequential.then_some(state.cursor[class]);
        let port = candidates.search(from, &mut self.rng, tries, is_free)?;
        self.extent_of(index, port)?.share(request.class);
        if sequential {
            self.addresses[index as usize].cursor[class] = port.saturating_add(1);
        }
        Some(port)
    }

    /// One session less on a shared port.
    pub(super) fn leave_shared(
        &mut self,
        index: u32,
        class: PortClass,
        port: u16,
        subscriber: u32,
        subscribers: &mut SubscriberTable,
        now: Ticks,
    ) -> bool {
        let some = self.extent_of(index, port).is_some_and(|e| e.unshare(class));
        if some {
            self.count_released(index, class, subscriber, subscribers, now);
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_is_looked_at_once() {
        let mut rng = Rng::new(5);
        for (step, expected) in [(1, vec![7, 8, 9, 10, 20, 30, 31]), (2, vec![7, 9, 31])] {
            let mut candidates = Candidates {
                step,
                ..Candidates::default()
            };
            for (first, last) in [(7, 10), (20, 20), (30, 31), (5, 4)] {
                candidates.add(first, last, 1);
            }
            for from in std::iter::once(None).chain((0..40).map(Some)) {
                let mut seen = Vec::new();
                let mut tries = 64;
                let none = candidates.search(from, &mut rng, &mut tries, |port| {
                    seen.push(port);
                    false
                });
                assert_eq!((none, 64 - tries), (None, expected.len() as u32));
                if let Some(from) = from {
                    let next = expected.iter().find(|p| **p >= from).unwrap_or(&expected[0]);
                    assert_eq!(seen.first(), Some(next), "from {from}");
                }
                seen.sort_unstable();
                assert_eq!(seen, expected);
            }
            let mut tries = 2;
            assert_eq!(candidates.search(None, &mut rng, &mut tries, |_| false), None);
            assert_eq!(tries, 0);
        }
    }
}
