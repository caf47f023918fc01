//! The store of packets that wait: slots taken once, strung into one chain per datagram.
//!
//! ```text
//!   slots   [ p ][ p ][ - ][ p ][ - ][ p ]         - is free
//!   chain     0 -> 3 -> 5                          one datagram's fragments, ascending offsets
//!   queue   ( chain ) -> ( chain ) -> ( chain )    chains whose fate is settled, first in first out
//! ```
//!
//! Handing a whole chain to a queue is one step however long it is: what becomes of its packets is written at its head
//! and moves on with it.

use crate::drop_reason::DropReason;
use crate::slab::Slab;

use super::piece::{Meta, Transport};

/// "No slot".
pub(super) const NONE: u32 = u32::MAX;

/// A packet in the store.
#[derive(Debug)]
pub(super) struct Kept<P> {
    pub(super) packet: P,
    pub(super) meta: Meta,
    /// Number of its sender in the list of sources.
    pub(super) source: u32,
}

/// What becomes of a chain. A queue of released chains reads the transport, one of refused chains the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) transport: Transport,
    pub(super) reason: DropReason,
}

impl Fate {
    /// Of a chain that is refused.
    pub(super) const fn refused(reason: DropReason) -> Self {
        let transport = Transport {
            proto: 0,
            sport: 0,
            dport: 0,
        };
        Self { transport, reason }
    }
}

const UNSETTLED: Fate = Fate::refused(DropReason::FragmentTimeout);

#[derive(Debug)]
struct Slot<P> {
    kept: Option<Kept<P>>,
    /// The next one of its chain, or of the free list.
    next: u32,
    /// Of the head of a queued chain: the head of the next chain.
    next_chain: u32,
    /// Of the head of a queued chain.
    fate: Fate,
}

/// The fragments of one datagram that wait, by ascending offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

/// Chains whose fate is settled.
#[derive(Debug)]
pub(super) struct Queue {
    first: u32,
    last: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

/// All slots.
#[derive(Debug)]
pub(super) struct Store<P> {
    slots: Box<[Slot<P>]>,
    free: Slab,
}

impl<P> Store<P> {
    /// Room for `capacity` packets, taken now.
    pub(super) fn new(capacity: u32) -> Self {
        let slots = (0..capacity).map(|_| Slot {
            kept: None,
            next: NONE,
            next_chain: NONE,
            fate: UNSETTLED,
        });
        Self {
            slots: slots.collect(),
            free: Slab::new(capacity),
        }
    }

    /// Packets in the store, those in queues included.
    pub(super) fn len(&self) -> u32 {
        self.free.live()
    }

    /// Whether there is no room.
    pub(super) fn is_full(&self) -> bool {
        self.free.peek().is_none()
    }

    fn offset(&self, number: u32) -> Option<u16> {
        let kept = self.slots.get(number as usize)?.kept.as_ref()?;
        Some(kept.meta.fragment_offset())
    }

    /// Puts a packet into its place in a chain; a full store gives it back. At the end, where most fragments belong, that
    /// is one step, else one per fragment before it.
    pub(super) fn put(&mut self, chain: &mut Chain, kept: Kept<P>) -> Result<(), Kept<P>> {
        let offset = kept.meta.fragment_offset();
        let slots = &self.slots;
        let next_free = |n: u32| slots.get(n as usize).map_or(NONE, |slot| slot.next);
        let Some(number) = self.free.take(next_free) else {
            return Err(kept);
        };
        // The slot behind which it belongs: NONE is before the first.
        let mut before = NONE;
        if self.offset(chain.last).is_some_and(|last| last <= offset) {
            before = chain.last;
        } else {
            let mut at = chain.first;
            while self.offset(at).is_some_and(|there| there <= offset) {
                before = at;
                at = self.next(at);
            }
        }
        let after = if before == NONE {
            chain.first
        } else {
            self.next(before)
        };
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.kept = Some(kept);
            slot.next = after;
        }
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.next = number,
            None => chain.first = number,
        }
        if after == NONE {
            chain.last = number;
        }
        Ok(())
    }

    fn next(&self, number: u32) -> u32 {
        self.slots.get(number as usize).map_or(NONE, |slot| slot.next)
    }

    /// Puts a chain at the end of a queue. An empty chain changes nothing.
    pub(super) fn settle(&mut self, chain: Chain, fate: Fate, queue: &mut Queue) {
        let Some(head) = self.slots.get_mut(chain.first as usize) else {
            return;
        };
        head.fate = fate;
        head.next_chain = NONE;
        match self.slots.get_mut(queue.last as usize) {
            Some(last) => last.next_chain = chain.first,
            None => queue.first = chain.first,
        }
        queue.last = chain.first;
    }

    /// Takes the next packet out of a queue.
    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<(Kept<P>, Fate)> {
        let number = queue.first;
        let slot = self.slots.get_mut(number as usize)?;
        let kept = slot.kept.take()?;
        let (next, next_chain, fate) = (slot.next, slot.next_chain, slot.fate);
        slot.next = self.free.give_back(number);
        if let Some(head) = self.slots.get_mut(next as usize) {
            head.fate = fate;
            head.next_chain = next_chain;
            queue.first = next;
            if queue.last == number {
                queue.last = next;
            }
        } else {
            queue.first = next_chain;
            if queue.last == number {
                queue.last = NONE;
            }
        }
        Some((kept, fate))
    }
}
