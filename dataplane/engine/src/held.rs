//! SYNs from outside that nobody asked for, held for 6 s in case one from inside crosses them.
//!
//! RFC 5382 REQ-4: an unsolicited SYN gets no answer for 6 s. If its connection was opened from inside meanwhile
//! (simultaneous open), it is dropped without a word; if not, its sender is told port unreachable. The time is the same for
//! all, so a ring in order of arrival is all the timer there is.
//!
//! The store is bounded and its memory taken once. A flood that fills it costs the senders their answer, which is a SHOULD,
//! and nothing else: no SYN of this store would ever be delivered.

use crate::drop_reason::DropReason;
use crate::hash::HashKeys;
use crate::index::{Fill, Index, Place};
use crate::mem::OutOfMemory;
use crate::packet::Desc;
use crate::ticks::Ticks;

/// How long a SYN is held at least. RFC 5382 REQ-4.
pub const HOLD_TIME: Ticks = Ticks::from_seconds(6);

#[derive(Debug)]
struct Held<P> {
    desc: Desc,
    packet: P,
    since: Ticks,
}

/// SYNs held by one worker. `P` owns a packet.
#[derive(Debug)]
pub struct HeldSyns<P> {
    ring: Box<[Option<Held<P>>]>,
    /// Position of the oldest.
    head: u32,
    len: u32,
    /// From tuple to position in the ring.
    index: Index,
    keys: HashKeys,
    /// The latest time heard of: time that goes back is taken for no progress.
    clock: Ticks,
}

impl<P> HeldSyns<P> {
    /// Room for `capacity` SYNs. 1..=65536; 0 holds nothing.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(capacity: u32, keys: HashKeys) -> Result<Self, OutOfMemory> {
        Ok(Self {
            ring: (0..capacity).map(|_| None).collect(),
            head: 0,
            len: 0,
            index: Index::new(capacity as usize, capacity, Fill::Dense, "held SYN index")?,
            keys,
            clock: Ticks::ZERO,
        })
    }

    /// SYNs held.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&self, desc: &Desc) -> Place {
        let addresses = u64::from(desc.meta.src) << 32 | u64::from(desc.meta.dst);
        let ports = u64::from(desc.sport) << 16 | u64::from(desc.dport);
        self.index.place(self.keys.hash(addresses, ports))
    }

    /// Holds a SYN. Call [`HeldSyns::due`] with every burst to get it back.
    ///
    /// # Errors
    /// The packet comes back, to be dropped without an answer, as
    /// - `tcp-unsolicited-syn`: one of its tuple is held already. A sender that repeats its SYN is answered about the
    ///   original, 6 s after that one: were the time counted anew, repeating it would put the answer off.
    /// - `tcp-unsolicited-full`: there is no room.
    pub fn hold(&mut self, now: Ticks, desc: Desc, packet: P) -> Result<(), (P, DropReason)> {
        self.clock = self.clock.max(now);
        let place = self.place(&desc);
        let is_same = |n: u32| {
            let held = self.ring.get(n as usize).and_then(Option::as_ref);
            held.is_some_and(|held| tuple(&held.desc) == tuple(&desc))
        };
        if self.index.find(place, is_same).is_some() {
            return Err((packet, DropReason::TcpUnsolicitedSyn));
        }
        let capacity = self.ring.len() as u64;
        if u64::from(self.len) >= capacity {
            return Err((packet, DropReason::TcpUnsolicitedFull));
        }
        let position = ((u64::from(self.head) + u64::from(self.len)) % capacity) as u32;
        let Some(slot) = self.ring.get_mut(position as usize) else {
            return Err((packet, DropReason::TcpUnsolicitedFull));
        };
        if self.index.insert(place, position).is_err() {
            return Err((packet, DropReason::TcpUnsolicitedFull));
        }
        *slot = Some(Held {
            desc,
            packet,
            since: self.clock,
        });
        self.len += 1;
        Ok(())
    }

    /// The next SYN held for [`HOLD_TIME`]: never less, up to 100 ms more. The caller asks
    /// [`crate::engine::Engine::has_session_from_outside`]: if so the packet is dropped without a word, else its sender is
    /// told ICMP port unreachable. The caller bounds how many it takes per burst.
    pub fn due(&mut self, now: Ticks) -> Option<(Desc, P)> {
        self.clock = self.clock.max(now);
        let oldest = self.ring.get(self.head as usize)?.as_ref()?;
        // A tick is the time rounded down, so equal would be up to a tick early.
        if self.clock.since(oldest.since) > HOLD_TIME {
            self.take()
        } else {
            None
        }
    }

    /// The oldest SYN, due or not: for a worker that stops.
    pub fn take(&mut self) -> Option<(Desc, P)> {
        let held = self.ring.get_mut(self.head as usize)?.take()?;
        let place = self.place(&held.desc);
        self.index.remove(place, self.head);
        self.head = if self.head as usize + 1 < self.ring.len() {
            self.head + 1
        } else {
            0
        };
        self.len -= 1;
        Some((held.desc, held.packet))
    }
}

fn tuple(desc: &Desc) -> (u32, u32, u16, u16) {
    (desc.meta.src, desc.meta.dst, desc.sport, desc.dport)
}

#[cfg(test)]
mod tests;
