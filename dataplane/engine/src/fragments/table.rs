//! The reassembly table: one entry per datagram under way, found by its key, in order of age.
//!
//! The timeout is the same for all, so the oldest entry is always the next to time out and a list by age is all the timer
//! there is. RFC 791, RFC 8200 and RFC 6146 count from the first fragment that came, so no later fragment moves an entry.

use tandem_wire::fragment::Coverage;

use crate::drop_reason::DropReason;
use crate::hash::HashKeys;
use crate::index::{Fill, Index, Place};
use crate::mem::OutOfMemory;
use crate::slab::Slab;
use crate::ticks::Ticks;

use super::PIECES_MAX;
use super::piece::Transport;
use super::store::{Chain, NONE};

/// The protocol number in keys of IPv6 datagrams. No IPv4 datagram with this one is in the table.
const ANY_PROTO: u8 = 0;
/// Where IPv4 addresses are among those of IPv6: `::ffff:0:0/96`.
const MAPPED: u128 = 0xffff << 32;

/// What makes fragments belong to one datagram, on one side of the box: RFC 791 section 3.2, RFC 8200 section 4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    src: u128,
    dst: u128,
    id: u32,
    realm: u16,
    proto: u8,
}

impl Key {
    /// Of an IPv4 datagram of a protocol with ports.
    pub(super) fn v4(src: u32, dst: u32, id: u16, proto: u8, realm: u16) -> Self {
        Self {
            src: MAPPED | u128::from(src),
            dst: MAPPED | u128::from(dst),
            id: u32::from(id),
            realm,
            proto,
        }
    }

    /// Of an IPv6 datagram, whose protocol is not part of it.
    pub(super) fn v6(src: u128, dst: u128, id: u32, realm: u16) -> Self {
        Self {
            src,
            dst,
            id,
            realm,
            proto: ANY_PROTO,
        }
    }

    fn hash(&self, keys: &HashKeys) -> u64 {
        let (src, dst) = (self.src as u64, self.dst as u64);
        let last = u64::from(self.proto) << 48 | u64::from(self.realm) << 32 | u64::from(self.id);
        if self.proto != ANY_PROTO {
            return keys.hash(src << 32 | dst & 0xffff_ffff, last);
        }
        // Each step's result is secret, so that nobody can choose what comes in next to undo it.
        let from = keys.hash((self.src >> 64) as u64, src);
        let both = keys.hash(from ^ (self.dst >> 64) as u64, dst);
        keys.hash(both, last)
    }
}

/// How far a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its first fragment has not come.
    Waiting,
    /// Its first fragment has come.
    Known(Transport),
    /// Given up: all that still comes of it is dropped.
    Refused(DropReason),
}

/// A datagram under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reassembly {
    key: Key,
    /// Number of its sender in the list of sources.
    pub(super) source: u32,
    pub(super) state: State,
    /// Its fragments that wait; empty unless the state is waiting.
    pub(super) chain: Chain,
    pub(super) coverage: Coverage<PIECES_MAX>,
    since: Ticks,
    older: u32,
    /// The next younger one; of a free entry, the next free one.
    newer: u32,
}

const _: () = assert!(size_of::<Reassembly>() <= 352);

/// All datagrams under way.
#[derive(Debug)]
pub(super) struct Table {
    entries: Box<[Reassembly]>,
    free: Slab,
    index: Index,
    keys: HashKeys,
    oldest: u32,
    newest: u32,
}

impl Table {
    /// Room for `capacity` datagrams, taken now.
    pub(super) fn new(capacity: u32, keys: HashKeys) -> Result<Self, OutOfMemory> {
        let empty = Reassembly {
            key: Key::v6(0, 0, 0, 0),
            source: NONE,
            state: State::Waiting,
            chain: Chain::EMPTY,
            coverage: Coverage::new(),
            since: Ticks::ZERO,
            older: NONE,
            newer: NONE,
        };
        Ok(Self {
            entries: vec![empty; capacity as usize].into_boxed_slice(),
            free: Slab::new(capacity),
            index: Index::new(capacity as usize, capacity, Fill::Dense, "reassembly index")?,
            keys,
            oldest: NONE,
            newest: NONE,
        })
    }

    /// Datagrams under way.
    pub(super) fn len(&self) -> u32 {
        self.free.live()
    }

    /// Whether there is no room.
    pub(super) fn is_full(&self) -> bool {
        self.free.peek().is_none()
    }

    fn place(&self, key: &Key) -> Place {
        self.index.place(key.hash(&self.keys))
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let is = |n: u32| self.entries.get(n as usize).is_some_and(|e| e.key == *key);
        self.index.find(self.place(key), is)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Reassembly> {
        self.entries.get_mut(number as usize)
    }

    /// Enters a datagram that is not in the table; `None` when there is no room. `now` never goes back.
    pub(super) fn add(&mut self, key: Key, source: u32, now: Ticks) -> Option<u32> {
        let entries = &self.entries;
        let number = self
            .free
            .take(|n| entries.get(n as usize).map_or(NONE, |e| e.newer))?;
        let place = self.place(&key);
        let entry = self.entries.get_mut(number as usize)?;
        *entry = Reassembly {
            key,
            source,
            state: State::Waiting,
            chain: Chain::EMPTY,
            coverage: Coverage::new(),
            since: now,
            older: self.newest,
            newer: NONE,
        };
        if self.index.insert(place, number).is_err() {
            entry.newer = self.free.give_back(number);
            return None;
        }
        match self.entries.get_mut(self.newest as usize) {
            Some(newest) => newest.newer = number,
            None => self.oldest = number,
        }
        self.newest = number;
        Some(number)
    }

    /// Takes a datagram out; gives its sender's number and what waits of it.
    pub(super) fn remove(&mut self, number: u32) -> Option<(u32, Chain)> {
        let entry = self.entries.get_mut(number as usize)?;
        let (key, source, chain) = (entry.key, entry.source, entry.chain);
        let (older, newer) = (entry.older, entry.newer);
        entry.newer = self.free.give_back(number);
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        self.index.remove(self.place(&key), number);
        Some((source, chain))
    }

    /// The oldest datagram and when its first fragment came.
    pub(super) fn oldest(&self) -> Option<(u32, Ticks)> {
        let entry = self.entries.get(self.oldest as usize)?;
        Some((self.oldest, entry.since))
    }
}
