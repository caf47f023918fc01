//! Virtual reassembly: fragments are translated one by one as they come, in any order and in both directions, of both
//! families.
//!
//! Only the first fragment of a datagram has ports and, in IPv6, the protocol. It opens the way for the others, which are
//! held until it comes; nothing is merged or copied. RFC 4787 REQ-14, RFC 6146 section 3.4, RFC 8200 section 4.5.
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
//! - **Overlaps** (RFC 5722, RFC 8200, RFC 1858): a fragment that shares octets with another without being the same, gives
//!   another end of the datagram, other ports or another protocol refuses the datagram: what waits of it and all that still comes within the timeout
//!   is dropped as `fragment-overlap`. An exact duplicate passes when the ports are known, since the network may duplicate
//!   packets; one of a fragment that still waits is dropped as `fragment-overlap` and harms nothing else.
//! - **ICMP and ICMPv6**: fragments of a query have its identifier as both ports. The checksum of an
//!   error has to be verified before it is translated (RFC 5508 REQ-3), which takes the whole message, so a fragmented one
//!   is dropped as `fragment-of-icmp-error`; any other fragmented ICMP message as `icmp-unsupported`
//!   (fragmented neighbour discovery is to be ignored, RFC 6980).
//! - **Protocols without ports**: in IPv4 they pass at once with ports 0 and leave no trace. In IPv6 a later fragment does
//!   not know its protocol, so it waits for the first one as all others do, and then has ports 0.
//! - **Bounds**: all memory is taken by [`Fragments::new`], and both families share it. A sender (an IPv4 address, an IPv6
//!   /64) has at most a quarter of the reassembly table and of the store. A datagram has at most [`PIECES_MAX`] fragments (1500 octets of MTU make 45 at most). Offering costs
//!   at most a walk over one datagram's fragments, and [`Fragments::expire`] does at most [`EXPIRE_MAX`] steps.
//! - **Freed early**: a datagram of which every octet came is forgotten at once.
//!
//! A datagram's fragments have to reach the same instance, so the worker of a fragment is chosen by addresses alone.

use tandem_wire::fragment::{Progress, ReassemblyError};
use tandem_wire::{Fragment, Ipv4Meta, Ipv6Meta, ipv4};

use crate::drop_reason::DropReason;
use crate::hash::HashKeys;
use crate::mem::OutOfMemory;
use crate::program::TableSizes;
use crate::ticks::Ticks;

mod piece;
mod sources;
mod store;
mod table;

pub use piece::{Meta, Transport};

use piece::Piece;
use sources::{Resource, Sources};
use store::{Fate, Kept, Queue, Store};
use table::{State, Table};

/// Most fragments one datagram may come in.
pub const PIECES_MAX: usize = 64;

/// Most packets handed out and datagrams ended by one call of [`Fragments::expire`]. A burst of 64 fragments adds at most
/// 64 of each, so one call per burst keeps up with any flood.
pub const EXPIRE_MAX: usize = 128;

/// What to do with an offered packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<P> {
    /// Go on with it, as part of this. Then call [`Fragments::released`] until it has no more.
    Pass {
        /// The packet.
        packet: P,
        /// Protocol and ports of its datagram.
        transport: Transport,
    },
    /// Kept until the first fragment comes.
    Held,
    /// Drop it and count it. No ICMP error is due.
    Drop(P, DropReason),
}

/// A fragment that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Released<P> {
    /// The packet.
    pub packet: P,
    /// Its parse, as it was offered.
    pub meta: Meta,
    /// Protocol and ports of its datagram.
    pub transport: Transport,
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

    /// Takes an IPv4 packet that was just parsed. `realm` keeps apart what only looks alike: packets from inside and from
    /// outside, and those of different service sets' insides.
    ///
    /// After a `Pass`, the caller goes on with the packet first and with [`Fragments::released`] then, so that the first
    /// fragment opens the session.
    #[inline]
    pub fn offer(&mut self, now: Ticks, meta: &Ipv4Meta, realm: u16, packet: P) -> Offer<P> {
        let has_ports = matches!(meta.proto, ipv4::TCP | ipv4::UDP | ipv4::ICMP);
        if meta.fragment == Fragment::None || !has_ports {
            let transport = Transport::of4(meta);
            return Offer::Pass { packet, transport };
        }
        self.fragment(now, &Piece::of4(meta, realm), || Meta::V4(*meta), packet)
    }

    /// [`Fragments::offer`] for an IPv6 packet. An atomic fragment (RFC 6946) is whole.
    #[inline]
    pub fn offer6(&mut self, now: Ticks, meta: &Ipv6Meta, realm: u16, packet: P) -> Offer<P> {
        if meta.fragment == Fragment::None {
            let transport = Transport::of6(meta);
            return Offer::Pass { packet, transport };
        }
        self.fragment(now, &Piece::of6(meta, realm), || Meta::V6(*meta), packet)
    }

    /// `meta` is asked for when the packet has to wait.
    #[cold]
    fn fragment(&mut self, now: Ticks, piece: &Piece, meta: impl FnOnce() -> Meta, packet: P) -> Offer<P> {
        self.clock = self.clock.max(now);
        let found = self.table.find(&piece.key);
        let entry = found.and_then(|n| self.table.get_mut(n));
        let (state, source) = match entry {
            Some(entry) => (entry.state, Some(entry.source)),
            None => (State::Waiting, self.sources.find(piece.sender)),
        };
        if let State::Refused(reason) = state {
            return Offer::Drop(packet, reason);
        }
        // A fragment that would have to wait but cannot leaves nothing behind.
        if piece.first.is_none()
            && state == State::Waiting
            && (self.store.is_full() || !self.sources.may_have(source, Resource::Held))
        {
            return Offer::Drop(packet, DropReason::FragmentStoreFull);
        }
        let Some(number) = found.or_else(|| self.open(piece, source)) else {
            return Offer::Drop(packet, DropReason::FragmentTableFull);
        };
        let Some(entry) = self.table.get_mut(number) else {
            return Offer::Drop(packet, DropReason::FragmentTableFull);
        };
        let transport = match (piece.first, state) {
            (Some(Err(reason)), _) => return self.refuse(number, packet, reason),
            (Some(Ok(said)), State::Known(known)) if said != known => {
                return self.refuse(number, packet, DropReason::FragmentOverlap);
            }
            (Some(Ok(transport)), _) | (None, State::Known(transport)) => Some(transport),
            (None, State::Waiting | State::Refused(_)) => None,
        };
        let placed = entry.coverage.insert(piece.offset, piece.len, piece.more);
        match (placed, transport) {
            (Err(ReassemblyError::TooMany), _) => self.refuse(number, packet, DropReason::FragmentTooMany),
            (Err(ReassemblyError::Overlap | ReassemblyError::BadLength), _) => {
                self.refuse(number, packet, DropReason::FragmentOverlap)
            }
            (Ok(progress), Some(transport)) => {
                self.pass(number, transport, progress);
                Offer::Pass { packet, transport }
            }
            (Ok(Progress::Duplicate), None) => Offer::Drop(packet, DropReason::FragmentOverlap),
            // Without its first fragment no datagram is complete.
            (Ok(Progress::Incomplete | Progress::Complete(_)), None) => self.hold(number, meta(), packet),
        }
    }

    /// A new entry in the table, when both the table and the sender's share have room.
    fn open(&mut self, piece: &Piece, source: Option<u32>) -> Option<u32> {
        if self.table.is_full() || !self.sources.may_have(source, Resource::Reassembly) {
            return None;
        }
        let source = source.or_else(|| self.sources.add(piece.sender))?;
        self.sources.give(source, Resource::Reassembly);
        let number = self.table.add(piece.key, source, self.clock);
        if number.is_none() {
            self.sources.take(source, Resource::Reassembly);
        }
        number
    }

    /// The first fragment is known: what waits may go on. A datagram that came whole is forgotten.
    fn pass(&mut self, number: u32, transport: Transport, progress: Progress) {
        if let Some(entry) = self.table.get_mut(number) {
            entry.state = State::Known(transport);
            let chain = std::mem::replace(&mut entry.chain, store::Chain::EMPTY);
            let reason = DropReason::Stopping;
            let fate = Fate { transport, reason };
            self.store.settle(chain, fate, &mut self.released);
        }
        if matches!(progress, Progress::Complete(_))
            && let Some((source, _)) = self.table.remove(number)
        {
            self.sources.take(source, Resource::Reassembly);
        }
    }

    /// Keeps a packet until its first fragment comes.
    fn hold(&mut self, number: u32, meta: Meta, packet: P) -> Offer<P> {
        let Some(entry) = self.table.get_mut(number) else {
            return Offer::Drop(packet, DropReason::FragmentTableFull);
        };
        let source = entry.source;
        let kept = Kept { packet, meta, source };
        match self.store.put(&mut entry.chain, kept) {
            Ok(()) => {
                self.sources.give(source, Resource::Held);
                Offer::Held
            }
            Err(kept) => Offer::Drop(kept.packet, DropReason::FragmentStoreFull),
        }
    }

    /// Gives a datagram up; what waits of it comes out of [`Fragments::expire`].
    fn refuse(&mut self, number: u32, packet: P, reason: DropReason) -> Offer<P> {
        if let Some(entry) = self.table.get_mut(number) {
            entry.state = State::Refused(reason);
            let chain = std::mem::replace(&mut entry.chain, store::Chain::EMPTY);
            self.store.settle(chain, Fate::refused(reason), &mut self.refused);
        }
        Offer::Drop(packet, reason)
    }

    /// The next fragment that waited and whose first one is known now: datagrams in the order their first fragments came,
    /// each by ascending offset.
    #[inline]
    pub fn released(&mut self) -> Option<Released<P>> {
        let (kept, fate) = self.store.pop(&mut self.released)?;
        self.sources.take(kept.source, Resource::Held);
        Some(Released {
            packet: kept.packet,
            meta: kept.meta,
            transport: fate.transport,
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
            self.store.settle(chain, Fate::refused(reason), &mut self.refused);
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

#[cfg(test)]
mod tests;
