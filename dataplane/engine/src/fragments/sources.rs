//! How much of the fragment memory each sender has: a quarter at most, so that one flooder leaves room for the others.
//!
//! RFC 6146 section 3.4 and RFC 4787 REQ-14 ask for bounds against fragment floods. A bound for all together would let a
//! single sender shut everybody else's fragments out; a bound per source address does not.

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

#[derive(Clone, Copy, Debug)]
struct Source {
    address: u32,
    realm: u16,
    reassemblies: u32,
    held: u32,
    /// Of a free record: the next free one.
    link: u32,
}

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
            address: 0,
            realm: 0,
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

    fn place(&self, address: u32, realm: u16) -> Place {
        self.index
            .place(self.keys.hash(u64::from(address), u64::from(realm)))
    }

    fn find(&self, address: u32, realm: u16) -> Option<u32> {
        let is = |n: u32| {
            let source = self.records.get(n as usize);
            source.is_some_and(|s| s.address == address && s.realm == realm)
        };
        self.index.find(self.place(address, realm), is)
    }

    /// Whether a sender may have one more.
    pub(super) fn may_have(&self, address: u32, realm: u16, what: Resource) -> bool {
        let source = self
            .find(address, realm)
            .and_then(|n| self.records.get(n as usize));
        source.is_none_or(|s| match what {
            Resource::Reassembly => s.reassemblies < self.reassemblies_max,
            Resource::Held => s.held < self.held_max,
        })
    }

    /// Notes that a sender has one more, and gives its number. `None` when there is no room for another sender.
    pub(super) fn give(&mut self, address: u32, realm: u16, what: Resource) -> Option<u32> {
        let number = match self.find(address, realm) {
            Some(number) => number,
            None => self.add(address, realm)?,
        };
        let source = self.records.get_mut(number as usize)?;
        match what {
            Resource::Reassembly => source.reassemblies += 1,
            Resource::Held => source.held += 1,
        }
        Some(number)
    }

    fn add(&mut self, address: u32, realm: u16) -> Option<u32> {
        let records = &self.records;
        let number = self
            .free
            .take(|n| records.get(n as usize).map_or(NONE, |s| s.link))?;
        let place = self.place(address, realm);
        let source = self.records.get_mut(number as usize)?;
        *source = Source {
            address,
            realm,
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
            let (address, realm) = (source.address, source.realm);
            self.index.remove(self.place(address, realm), number);
        }
    }
}
