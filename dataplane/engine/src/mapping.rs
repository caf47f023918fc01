//! Endpoint-independent mappings: one public port per inside address and port, whatever the destination.
//!
//! RFC 4787 REQ-1; the binding information base of RFC 6146. A mapping lives as long as a session uses it. It is found from
//! inside by (subscriber, inside address, port) and from outside by (public address, port): two entries in one index.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::address;
use crate::hash::HashKeys;
use crate::index::{Fill, Index, IndexFull, Place};
use crate::mem::{HugeSlice, OutOfMemory, Pages, prefetch_index};
use crate::program::FilteringType;
use crate::slab::Slab;
use crate::subscriber::Subscriber;

/// Pseudo protocol of a mapping of a whole address: all protocols, ports as they are (`dynamic-nat44`).
pub const WHOLE_ADDRESS: u8 = 255;

/// One mapping. Its inside address is here as far as the subscriber's prefix does not say it: the lower 64 bits and the 16
/// before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(32))]
pub struct Mapping {
    /// Inside IPv4 address, or bits 32 to 63 of an IPv6 one. The free list's link while free.
    inside: u32,
    /// Bits 0 to 31 of an IPv6 address.
    inside_low: u32,
    /// Public address.
    pub public: u32,
    /// Of its sessions, those the subscriber has sent on itself: [`Mapping::holders`].
    /// The uppermost bits: see [`KNOWN`] and [`LOST`].
    holders: u32,
    /// Subscriber it belongs to.
    pub subscriber: u32,
    /// Sessions that use it.
    pub sessions: u32,
    /// Inside port or ICMP id.
    pub inside_port: u16,
    /// Public port or ICMP id.
    pub public_port: u16,
    /// Bits 64 to 79 of an IPv6 address.
    subnet: u16,
    /// IP protocol (of IPv6 insides: the one outside); 0 when the record is free.
    pub protocol: u8,
    /// Bits 0 and 1: filtering type. Bit 2: the inside is IPv6. Bits 3 to 7: position of the NAT64 prefix of its first session
    /// among those of its service set.
    kind: u8,
}

const _: () = assert!(size_of::<Mapping>() == 32);

/// The other chassis knows the mapping: it was told of a session of it, or told of it itself.
const KNOWN: u32 = 1 << 31;
/// Its public end, or its inside end, is another's by the word of the other chassis: it is in no index, its port is given
/// back, and its sessions are on their way out.
const LOST: u32 = 1 << 30;

/// Most NAT64 prefixes of one service set: what a mapping can tell apart.
pub const MAX_PREFIXES: usize = 32;

impl Mapping {
    /// A mapping without sessions.
    #[inline]
    #[must_use]
    pub fn new(
        (inside, inside_port): (u128, u16),
        (public, public_port): (u32, u16),
        protocol: u8,
        subscriber: u32,
        filtering: FilteringType,
        prefix: u8,
    ) -> Self {
        let (words, subnet, wide) = match address::v4(inside) {
            Some(v4) => ([v4, 0], 0, 0),
            None => (
                [(inside >> 32) as u32, inside as u32],
                (inside >> 64) as u16,
                1 << 2,
            ),
        };
        Self {
            inside: words[0],
            inside_low: words[1],
            public,
            holders: 0,
            subscriber,
            sessions: 0,
            inside_port,
            public_port,
            subnet,
            protocol,
            kind: filtering as u8 | wide | prefix << 3,
        }
    }

    /// Of its sessions, those the subscriber has sent on itself. Without any, and unless packets from outside shall refresh
    /// (RFC 7857 section 7), it takes no new sessions from outside: nobody outside can keep it alive.
    #[inline(always)]
    #[must_use]
    pub const fn holders(&self) -> u32 {
        self.holders & !(KNOWN | LOST)
    }

    /// One session more; `holds`: the subscriber has sent on it.
    #[inline(always)]
    pub const fn join(&mut self, holds: bool) {
        self.sessions += 1;
        self.holders += holds as u32;
    }

    /// One session less; `held`: the subscriber had sent on it.
    #[inline(always)]
    pub const fn leave(&mut self, held: bool) {
        self.sessions = self.sessions.saturating_sub(1);
        if held && self.holders() != 0 {
            self.holders -= 1;
        }
    }

    /// The subscriber has now sent on one of its sessions.
    pub const fn hold(&mut self) {
        self.holders += 1;
    }

    /// Whether the other chassis knows it.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.holders & KNOWN != 0
    }

    /// Says whether the other chassis knows it.
    pub const fn set_known(&mut self, known: bool) {
        self.holders = self.holders & !KNOWN | if known { KNOWN } else { 0 };
    }

    /// Whether its ends are another's; see [`MappingTable::lose`].
    #[inline(always)]
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.holders & LOST != 0
    }

    /// Its inside address; `of` is its subscriber.
    #[must_use]
    pub fn inside(&self, of: &Subscriber) -> u128 {
        if !self.is_wide() {
            return address::of_v4(self.inside);
        }
        of.address()
            | u128::from(self.subnet) << 64
            | u128::from(self.inside) << 32
            | u128::from(self.inside_low)
    }

    /// Whether its inside is IPv6.
    #[inline]
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        self.kind & 1 << 2 != 0
    }

    /// Position of its NAT64 prefix among those of its service set.
    #[must_use]
    pub const fn prefix(&self) -> usize {
        (self.kind >> 3) as usize
    }

    /// Who may use it from outside.
    #[must_use]
    pub const fn filtering_type(&self) -> FilteringType {
        match self.kind & 3 {
            0 => FilteringType::EndpointIndependent,
            1 => FilteringType::AddressDependent,
            _ => FilteringType::AddressAndPortDependent,
        }
    }

    /// Whether it maps this end of its subscriber.
    #[inline]
    fn is_of(&self, subscriber: u32, inside: u128, port: u16, protocol: u8) -> bool {
        let same_address = match address::v4(inside) {
            Some(v4) => !self.is_wide() && self.inside == v4,
            None => {
                self.is_wide()
                    && (self.inside, self.inside_low, self.subnet)
                        == ((inside >> 32) as u32, inside as u32, (inside >> 64) as u16)
            }
        };
        same_address && self.subscriber == subscriber && self.inside_port == port && self.protocol == protocol
    }
}

/// All mappings of a worker.
#[derive(Debug)]
pub struct MappingTable {
    records: HugeSlice<Mapping>,
    slab: Slab,
    index: Index,
    keys: HashKeys,
}

impl MappingTable {
    /// A table of `capacity` mappings.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(capacity: u32, keys: HashKeys) -> Result<Self, OutOfMemory> {
        Ok(Self {
            records: HugeSlice::new(capacity as usize, "mappings", Pages::Preallocated)?,
            slab: Slab::new(capacity),
            index: Index::new(capacity as usize * 2, capacity, Fill::Dense, "mapping index")?,
            keys,
        })
    }

    /// Place by inside end.
    #[inline]
    #[must_use]
    pub fn inside_place(&self, service_set: u16, inside: u128, port: u16, protocol: u8) -> Place {
        let rest = u64::from(port) << 32 | u64::from(service_set) << 16 | u64::from(protocol) << 8;
        self.index.place(self.keys.hash_address(inside, rest))
    }

    /// Place by public end.
    #[inline]
    #[must_use]
    pub fn public_place(&self, public: u32, port: u16, protocol: u8) -> Place {
        let rest = u64::from(port) << 32 | u64::from(protocol) << 8 | 1;
        self.index.place(self.keys.hash(u64::from(public), rest))
    }

    /// Asks for the index line of a place.
    #[inline]
    pub fn prefetch_place(&self, place: Place) {
        self.index.prefetch(place);
    }

    /// Asks for the likely record of a place.
    #[inline]
    pub fn prefetch_candidate(&self, place: Place) {
        if let Some(number) = self.index.first_candidate(place) {
            prefetch_index(&self.records, number as usize);
        }
    }

    /// Asks for the record `ahead` takes from now.
    #[inline]
    pub fn prefetch_free(&self, ahead: u32) {
        if let Some(number) = self.slab.peek() {
            prefetch_index(&self.records, (number + ahead) as usize);
        }
    }

    /// Finds by inside end.
    #[inline(always)]
    #[must_use]
    pub fn find_inside(
        &self,
        place: Place,
        subscriber: u32,
        inside: u128,
        port: u16,
        protocol: u8,
    ) -> Option<u32> {
        self.index.find(place, |n| {
            self.records
                .get(n as usize)
                .is_some_and(|m| m.is_of(subscriber, inside, port, protocol))
        })
    }

    /// Finds by public end.
    #[inline]
    #[must_use]
    pub fn find_public(&self, public: u32, port: u16, protocol: u8) -> Option<u32> {
        self.index.find(self.public_place(public, port, protocol), |n| {
            self.records
                .get(n as usize)
                .is_some_and(|m| (m.public, m.public_port, m.protocol) == (public, port, protocol))
        })
    }

    /// Takes a record and enters it under its inside end; [`MappingTable::enter_public`] makes it reachable from outside.
    ///
    /// # Errors
    /// The flag says whether the table (`true`) or the index was full; nothing changed.
    #[inline(always)]
    pub fn insert(&mut self, place: Place, mapping: Mapping) -> Result<u32, bool> {
        let records = &self.records;
        let number = self.slab.take(|n| records[n as usize].inside).ok_or(true)?;
        if self.index.insert(place, number).is_err() {
            self.records[number as usize].inside = self.slab.give_back(number);
            return Err(false);
        }
        self.records[number as usize] = mapping;
        Ok(number)
    }

    /// Enters a mapping under its public end.
    ///
    /// # Errors
    /// [`IndexFull`]: nothing changed.
    pub fn enter_public(&mut self, place: Place, number: u32) -> Result<(), IndexFull> {
        self.index.insert(place, number)
    }

    /// Takes a mapping out of the index and frees its record; `of` is its subscriber.
    pub fn remove(&mut self, number: u32, of: &Subscriber) {
        self.leave_index(number, of);
        self.records[number as usize].protocol = 0;
        self.records[number as usize].inside = self.slab.give_back(number);
    }

    /// Takes a mapping out of the index, because its ends are another's. It stays until its sessions have ended.
    pub fn lose(&mut self, number: u32, of: &Subscriber) {
        self.leave_index(number, of);
        self.records[number as usize].holders |= LOST;
    }

    fn leave_index(&mut self, number: u32, of: &Subscriber) {
        let mapping = self.records[number as usize];
        let inside = self.inside_place(
            of.service_set,
            mapping.inside(of),
            mapping.inside_port,
            mapping.protocol,
        );
        let public = self.public_place(mapping.public, mapping.public_port, mapping.protocol);
        self.index.remove(inside, number);
        self.index.remove(public, number);
    }

    /// A mapping.
    #[inline]
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Mapping> {
        self.records.get(number as usize).filter(|m| m.protocol != 0)
    }

    /// A mapping, to change.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Mapping> {
        self.records.get_mut(number as usize).filter(|m| m.protocol != 0)
    }

    /// Mappings alive.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.slab.live()
    }

    /// Mappings there can be.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.slab.capacity()
    }

    /// Where a walk may stop.
    #[must_use]
    pub fn high_water(&self) -> u32 {
        self.slab.high_water()
    }
}
