//! Virtual reassembly: fragments are translated one by one as they come, in any order and in both directions.
//!
//! Only the first fragment of a datagram has ports. It opens the way for the others, which are held until it comes; nothing
//! is merged or copied. RFC 4787 REQ-14, RFC 6146 section 3.4.
//!
//! ```text
//!   first fragment ---> ports known ---> Pass ----> those that waited: released(), by ascending offset
//!   later fragment ---> ports known? --yes--> Pass
//!                           |no
//!                           +------> Held ---> released() or, after the timeout, expire(): fragment-timeout
//!   overlap, contradiction, too many pieces, part of an ICMP error ---> the whole datagram is refused
//! ```
//!
//! What is decided here:
//! - **Overlaps** (RFC 5722, RFC 1858): a fragment that shares octets with another without being the same, gives another
//!   end of the datagram or other ports refuses the datagram: what waits of it and all that still comes within the timeout
//!   is dropped as `fragment-overlap`. An exact duplicate passes when the ports are known, since the network may duplicate
//!   packets; one of a fragment that still waits is dropped as `fragment-overlap` and harms nothing else.
//! - **ICMP**: fragments of a query have its identifier as both ports. The checksum of an ICMP
//!   error has to be verified before it is translated (RFC 5508 REQ-3), which takes the whole message, so a fragmented one
//!   is dropped as `fragment-of-icmp-error`; any other fragmented ICMP message as `icmp-unsupported`.
//! - **Protocols without ports** pass at once with ports 0 and leave no trace.
//! - **Bounds**: all memory is taken by [`Fragments::new`]. A source address has at most a quarter of the reassembly table
//!   and of the store. A datagram has at most [`PIECES_MAX`] fragments (1500 octets of MTU make 45 at most). Offering costs
//!   at most a walk over one datagram's fragments, and [`Fragments::expire`] does at most [`EXPIRE_MAX`] steps.
//! - **Freed early**: a datagram of which every octet came is forgotten at once.
//!
//! A datagram's fragments have to reach the same instance, so the worker of a fragment is chosen by addresses alone.

use tandem_wire::fragment::{Progress, ReassemblyError};
use tandem_wire::{Fragment, Ipv4Meta, L4, ipv4};

use crate::drop_reason::DropReason;
use crate::hash::HashKeys;
use crate::mem::OutOfMemory;
use crate::program::TableSizes;
use crate::ticks::Ticks;

mod sources;
mod store;
mod table;

use sources::{Resource, Sources};
use store::{Fate, Kept, Queue, Store};
use table::{Key, State, Table};

/// Most fragments one datagram may come in.
pub const PIECES_MAX: usize = 64;

/// Most packets handed out and datagrams ended by one call of [`Fragments::expire`]. A burst of 64 fragments adds at most
/// 64 of each, so one call per burst keeps up with any flood.
pub const EXPIRE_MAX: usize = 128;

/// What to do with an offered packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<P> {
    /// Go on with it, with these ports. Then call [`Fragments::released`] until it has no more.
    Pass {
        /// The packet.
        packet: P,
        /// Source port of its datagram, identifier of its ICMP query, or 0 for protocols without ports.
        sport: u16,
        /// Destination port likewise.
        dport: u16,
    },
    /// Kept until the first fragment comes.
    Held,
    /// Drop it and count it. No ICMP error is due.
    Drop(P, DropReason),
}

/// A fragment that waited, and its ports.
#[derive(Debug, PartialEq, Eq)]
pub struct Released<P> {
    /// The packet.
    pub packet: P,
    /// Its parse, as it was offered.
    pub meta: Ipv4Meta,
    /// Source port of its datagram, or identifier of its ICMP query.
    pub sport: u16,
    /// Destination port likewise.
    pub dport: u16,
}

/// Virtual reassembly of one worker. `P` owns a packet; whatever else the caller wants back with it goes into `P`.
#[derive(Debug)]
pub struct Fragments<P> {
    table: Table,
    store: Store<P>,
    sources: Sources,
    /// Waited, and may go on.
    released: Queue,
    /// Waited, and is to be dropped.
    refused: Queue,
    timeout: Ticks,
    /// The latest time heard of: time that goes back is taken for no progress.
    clock: Ticks,
}

impl<P> Fragments<P> {
    /// An empty instance with room for `max_reassemblies` datagrams and `max_held_fragments` packets.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(sizes: &TableSizes, timeout: Ticks, keys: HashKeys) -> Result<Self, OutOfMemory> {
        let (reassemblies, held) = (sizes.max_reassemblies, sizes.max_held_fragments);
        Ok(Self {
            table: Table::new(reassemblies, keys)?,
            store: Store::new(held),
            sources: Sources::new(reassemblies, held, keys)?,
            released: Queue::EMPTY,
            refused: Queue::EMPTY,
            timeout,
            clock: Ticks::ZERO,
        })
    }

    /// Changes the timeout ([`crate::program::Program::fragment_timeout`]), also of datagrams under way.
    pub fn set_timeout(&mut self, timeout: Ticks) {
        self.timeout = timeout;
    }

    /// Datagrams under way.
    #[must_use]
    pub fn reassemblies(&self) -> u32 {
        self.table.len()
    }

    /// Packets kept, those included that [`Fragments::released`] or [`Fragments::expire`] will hand out next.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.store.len()
    }

    /// Takes a packet that was just parsed. `realm` keeps apart what only looks alike: packets from inside and from
    /// outside, and those of different service sets' insides.
    ///
    /// After a `Pass`, the caller goes on with the packet first and with [`Fragments::released`] then, so that the first
    /// fragment opens the session.
    #[inline]
    pub fn offer(&mut self, now: Ticks, meta: &Ipv4Meta, realm: u16, packet: P) -> Offer<P> {
        let has_ports = matches!(meta.proto, ipv4::TCP | ipv4::UDP | ipv4::ICMP);
        if meta.fragment == Fragment::None || !has_ports {
            return Offer::Pass {
                packet,
                sport: meta.sport(),
                dport: meta.dport(),
            };
        }
        self.fragment(now, meta, realm, packet)
    }

    #[cold]
    fn fragment(&mut self, now: Ticks, meta: &Ipv4Meta, realm: u16, packet: P) -> Offer<P> {
        self.clock = self.clock.max(now);
        let key = Key::of(meta, realm);
        let is_first = meta.fragment == Fragment::First;
        let found = self.table.find(&key);
        let state = found
            .and_then(|n| self.table.get_mut(n))
            .map_or(State::Waiting, |entry| entry.state);
        if let State::Refused(reason) = state {
            return Offer::Drop(packet, reason);
        }
        // A fragment that would have to wait but cannot leaves nothing behind.
        if !is_first
            && state == State::Waiting
            && (self.store.is_full() || !self.sources.may_have(key.src, realm, Resource::Held))
        {
            return Offer::Drop(packet, DropReason::FragmentStoreFull);
        }
        let Some(number) = found.or_else(|| self.open(key)) else {
            return Offer::Drop(packet, DropReason::FragmentTableFull);
        };
        let Some(entry) = self.table.get_mut(number) else {
            return Offer::Drop(packet, DropReason::FragmentTableFull);
        };
        let ports = match (state, is_first) {
            (_, true) => match ports_of(meta, state) {
                Ok(ports) => Some(ports),
                Err(reason) => return self.refuse(number, packet, reason),
            },
            (State::Known { sport, dport }, false) => Some((sport, dport)),
            (State::Waiting | State::Refused(_), false) => None,
        };
        let placed = entry
            .coverage
            .insert(meta.fragment_offset, meta.payload_len(), meta.more_fragments);
        match (placed, ports) {
            (Err(ReassemblyError::TooMany), _) => self.refuse(number, packet, DropReason::FragmentTooMany),
            (Err(ReassemblyError::Overlap | ReassemblyError::BadLength), _) => {
                self.refuse(number, packet, DropReason::FragmentOverlap)
            }
            (Ok(progress), Some((sport, dport))) => {
                self.pass(number, sport, dport, progress);
                Offer::Pass { packet, sport, dport }
            }
            (Ok(Progress::Duplicate), None) => Offer::Drop(packet, DropReason::FragmentOverlap),
            // Without its first fragment no datagram is complete.
            (Ok(Progress::Incomplete | Progress::Complete(_)), None) => {
                self.hold(number, meta, realm, packet)
            }
        }
    }

    /// A new entry in the table, when both the table and the sender's share have room.
    fn open(&mut self, key: Key) -> Option<u32> {
        if self.table.is_full() || !self.sources.may_have(key.src, key.realm, Resource::Reassembly) {
            return None;
        }
        let source = self.sources.give(key.src, key.realm, Resource::Reassembly)?;
        let number = self.table.add(key, source, self.clock);
        if number.is_none() {
            self.sources.take(source, Resource::Reassembly);
        }
        number
    }

    /// Ports are known: what waits may go on. A datagram that came whole is forgotten.
    fn pass(&mut self, number: u32, sport: u16, dport: u16, progress: Progress) {
        if let Some(entry) = self.table.get_mut(number) {
            entry.state = State::Known { sport, dport };
            let chain = std::mem::replace(&mut entry.chain, store::Chain::EMPTY);
            let fate = Fate {
                sport,
                dport,
                reason: DropReason::Stopping,
            };
            self.store.settle(chain, fate, &mut self.released);
        }
        if matches!(progress, Progress::Complete(_))
            && let Some((source, _)) = self.table.remove(number)
        {
            self.sources.take(source, Resource::Reassembly);
        }
    }

    /// Keeps a packet until its first fragment comes.
    fn hold(&mut self, number: u32, meta: &Ipv4Meta, realm: u16, packet: P) -> Offer<P> {
        let Some(entry) = self.table.get_mut(number) else {
            return Offer::Drop(packet, DropReason::FragmentTableFull);
        };
        let Some(source) = self.sources.give(meta.src, realm, Resource::Held) else {
            return Offer::Drop(packet, DropReason::FragmentStoreFull);
        };
        let kept = Kept {
            packet,
            meta: *meta,
            source,
        };
        match self.store.put(&mut entry.chain, kept) {
            Ok(()) => Offer::Held,
            Err(kept) => {
                self.sources.take(source, Resource::Held);
                Offer::Drop(kept.packet, DropReason::FragmentStoreFull)
            }
        }
    }

    /// Gives a datagram up; what waits of it comes out of [`Fragments::expire`].
    fn refuse(&mut self, number: u32, packet: P, reason: DropReason) -> Offer<P> {
        if let Some(entry) = self.table.get_mut(number) {
            entry.state = State::Refused(reason);
            let chain = std::mem::replace(&mut entry.chain, store::Chain::EMPTY);
            self.store.settle(chain, drop_as(reason), &mut self.refused);
        }
        Offer::Drop(packet, reason)
    }

    /// The next fragment that waited and whose ports are known now: datagrams in the order their first fragments came,
    /// each by ascending offset.
    #[inline]
    pub fn released(&mut self) -> Option<Released<P>> {
        let (kept, fate) = self.store.pop(&mut self.released)?;
        self.sources.take(kept.source, Resource::Held);
        Some(Released {
            packet: kept.packet,
            meta: kept.meta,
            sport: fate.sport,
            dport: fate.dport,
        })
    }

    /// Hands out what waited for nothing: fragments of refused datagrams, and of those whose time is up. To be called with
    /// every burst, idle ones too. Does at most [`EXPIRE_MAX`] steps; what is left comes next time.
    ///
    /// A datagram's time is up when more than the timeout has passed on the clock of 100 ms since its earliest fragment:
    /// never early, up to 100 ms late (RFC 6146 section 3.4 sets a minimum).
    pub fn expire(&mut self, now: Ticks, mut sink: impl FnMut(P, DropReason)) {
        self.clock = self.clock.max(now);
        for _ in 0..EXPIRE_MAX {
            if let Some((kept, fate)) = self.store.pop(&mut self.refused) {
                self.sources.take(kept.source, Resource::Held);
                sink(kept.packet, fate.reason);
                continue;
            }
            match self.table.oldest() {
                Some((number, since)) if self.clock.since(since) > self.timeout => {
                    self.end(number, DropReason::FragmentTimeout);
                }
                _ => return,
            }
        }
    }

    fn end(&mut self, number: u32, reason: DropReason) {
        if let Some((source, chain)) = self.table.remove(number) {
            self.store.settle(chain, drop_as(reason), &mut self.refused);
            self.sources.take(source, Resource::Reassembly);
        }
    }

    /// Hands out every packet and forgets every datagram: for a worker that stops. Not bounded but by the tables.
    pub fn drain(&mut self, mut sink: impl FnMut(P, DropReason)) {
        while let Some((number, _)) = self.table.oldest() {
            self.end(number, DropReason::Stopping);
        }
        while let Some((kept, fate)) = self
            .store
            .pop(&mut self.released)
            .or_else(|| self.store.pop(&mut self.refused))
        {
            self.sources.take(kept.source, Resource::Held);
            sink(kept.packet, fate.reason);
        }
    }
}

fn drop_as(reason: DropReason) -> Fate {
    Fate {
        sport: 0,
        dport: 0,
        reason,
    }
}

/// Ports of a first fragment, which must be those that are known already.
fn ports_of(meta: &Ipv4Meta, state: State) -> Result<(u16, u16), DropReason> {
    match meta.l4 {
        L4::IcmpError { .. } => return Err(DropReason::FragmentOfIcmpError),
        L4::IcmpOther { .. } => return Err(DropReason::IcmpUnsupported),
        L4::Tcp { .. } | L4::Udp { .. } | L4::IcmpQuery { .. } | L4::Other | L4::LaterFragment => {}
    }
    let ports = (meta.sport(), meta.dport());
    match state {
        State::Known { sport, dport } if (sport, dport) != ports => Err(DropReason::FragmentOverlap),
        _ => Ok(ports),
    }
}

#[cfg(test)]
mod tests;
