//! How much of the fragment memory each sender has: a quarter at most, so that one flooder leaves room for the others.
//!
//! RFC 6146 section 3.4 and RFC 4787 REQ-14 ask for bounds against fragment floods. A bound for all together would let a
//! single sender shut everybody else's fragments out; a bound per sender does not. A sender is an IPv4 address or an IPv6
//! /64: whoever has one IPv6 address has all of its /64 to send from (RFC 8981), so bounds per address would be none.

use crate::hash::HashKeys;
use crate::index::{Fill, Index, Place};
use crate::mem::OutOfMemory;
use crate::slab::Slab;

use super::store::NONE;

/// One sender can have one part in this many of either table.
const SHARE: u32 = 4;

/// What a sender can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Entries of the reassembly table.
    Reassembly,
    /// Packets in the store.
    Held,
}

/// Who sent a fragment, on one side of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    /// An IPv4 address, or the upper half of an IPv6 one.
    address: u64,
    realm: u16,
    is_v6: bool,
}

impl Sender {
    /// An IPv4 host.
    pub(super) fn v4(address: u32, realm: u16) -> Self {
        Self {
            address: u64::from(address),
            realm,
            is_v6: false,
        }
    }

    /// The /64 of an IPv6 address.
    pub(super) fn v6(address: u128, realm: u16) -> Self {
        Self {
            address: (address >> 64) as u64,
            realm,
            is_v6: true,
        }
    }

    fn hash(self, keys: &HashKeys) -> u64 {
        keys.hash(self.address, u64::from(self.is_v6) << 16 | u64::from(self.realm))
    }
}

#[derive(Clone, Copy, Debug)]
struct Source {
    sender: Sender,
    reassemblies: u32,
    held: u32,
    /// Of a free record: the next free one.
    link: u32,
}

const _: () = assert!(size_of::<Source>() <= 32);

/// All senders that have something.
#[derive(Debug)]
pub(super) struct Sources {
    records: Box<[Source]>,
    free: Slab,
    index: Index,
    keys: HashKeys,
    reassemblies_max: u32,
    held_max: u32,
}

impl Sources {
    /// Senders of at most `reassemblies` datagrams and `held` packets together.
    pub(super) fn new(reassemblies: u32, held: u32, keys: HashKeys) -> Result<Self, OutOfMemory> {
        // A record exists while its sender has at least one of either.
        let capacity = reassemblies.saturating_add(held);
        let empty = Source {
            sender: Sender::v4(0, 0),
            reassemblies: 0,
            held: 0,
            link: NONE,
        };
        Ok(Self {
            records: vec![empty; capacity as usize].into_boxed_slice(),
            free: Slab::new(capacity),
            index: Index::new(capacity as usize, capacity, Fill::Dense, "fragment sources")?,
            keys,
            reassemblies_max: (reassemblies / SHARE).max(1),
            held_max: (held / SHARE).max(1),
        })
    }

    /// Senders that have something.
    #[cfg(test)]
    pub(super) fn len(&self) -> u32 {
        self.free.live()
    }

    fn place(&self, sender: Sender) -> Place {
        self.index.place(sender.hash(&self.keys))
    }

    /// The number of a sender that has something.
    pub(super) fn find(&self, sender: Sender) -> Option<u32> {
        let is = |n: u32| self.records.get(n as usize).is_some_and(|s| s.sender == sender);
        self.index.find(self.place(sender), is)
    }

    /// Whether a sender may have one more. One without a number has nothing yet.
    pub(super) fn may_have(&self, number: Option<u32>, what: Resource) -> bool {
        let source = number.and_then(|n| self.records.get(n as usize));
        source.is_none_or(|s| match what {
            Resource::Reassembly => s.reassemblies < self.reassemblies_max,
            Resource::Held => s.held < self.held_max,
        })
    }

    /// A number for a sender that has none, to be given something at once. `None` when there is no room for another one.
    pub(super) fn add(&mut self, sender: Sender) -> Option<u32> {
        let records = &self.records;
        let number = self
            .free
            .take(|n| records.get(n as usize).map_or(NONE, |s| s.link))?;
        let place = self.place(sender);
        let source = self.records.get_mut(number as usize)?;
        *source = Source {
            sender,
            reassemblies: 0,
            held: 0,
            link: NONE,
        };
        if self.index.insert(place, number).is_err() {
            source.link = self.free.give_back(number);
            return None;
        }
        Some(number)
    }

    /// Notes that the sender of this number has one more.
    pub(super) fn give(&mut self, number: u32, what: Resource) {
        let Some(source) = self.records.get_mut(number as usize) else {
            return;
        };
        match what {
            Resource::Reassembly => source.reassemblies += 1,
            Resource::Held => source.held += 1,
        }
    }

    /// Notes that the sender of this number has one less.
    pub(super) fn take(&mut self, number: u32, what: Resource) {
        let Some(source) = self.records.get_mut(number as usize) else {
            return;
        };
        let count = match what {
            Resource::Reassembly => &mut source.reassemblies,
            Resource::Held => &mut source.held,
        };
        *count = count.saturating_sub(1);
        if source.reassemblies == 0 && source.held == 0 {
            source.link = self.free.give_back(number);
            let sender = source.sender;
            self.index.remove(self.place(sender), number);
        }
    }
}
