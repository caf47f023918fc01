//! Endpoint-independent mappings: one public port per inside address and port, whatever the destination.
//!
//! RFC 4787 REQ-1. A mapping lives as long as a session uses it. It is found from inside by (service set, inside address,
//! port) and from outside by (public address, port): two entries in one index.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::hash::HashKeys;
use crate::index::{Fill, Index, IndexFull, Place};
use crate::mem::{HugeSlice, OutOfMemory, Pages, prefetch_index};
use crate::program::FilteringType;
use crate::slab::Slab;

/// One mapping. IPv6 inside addresses take the subscriber's prefix and the `inside_low` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(32))]
pub struct Mapping {
    /// Inside IPv4 address (for IPv6: the lower 64 bits, with the next word). The free list's link while free.
    pub inside: u32,
    /// Second word of an IPv6 interface identifier.
    pub inside_low: u32,
    /// Public address.
    pub public: u32,
    /// Of its sessions, those the subscriber has sent on itself. Without any, and unless packets from outside shall
    /// refresh (RFC 7857 section 7), it takes no new sessions from outside: nobody outside can keep it alive.
    pub holders: u32,
    /// Subscriber it belongs to.
    pub subscriber: u32,
    /// Sessions that use it.
    pub sessions: u32,
    /// Inside port or ICMP id.
    pub inside_port: u16,
    /// Public port or ICMP id.
    pub public_port: u16,
    /// Service set.
    pub service_set: u16,
    /// IP protocol; 0 when the record is free.
    pub protocol: u8,
    /// Filtering type, as `FilteringType as u8`.
    pub filtering: u8,
}

const _: () = assert!(size_of::<Mapping>() == 32);

impl Mapping {
    /// Who may use it from outside.
    #[must_use]
    pub const fn filtering_type(&self) -> FilteringType {
        match self.filtering {
            0 => FilteringType::EndpointIndependent,
            1 => FilteringType::AddressDependent,
            _ => FilteringType::AddressAndPortDependent,
        }
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
    pub fn inside_place(&self, service_set: u16, inside: u32, port: u16, protocol: u8) -> Place {
        let rest = u64::from(port) << 32 | u64::from(service_set) << 16 | u64::from(protocol) << 8;
        self.index.place(self.keys.hash(u64::from(inside), rest))
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
    #[inline]
    #[must_use]
    pub fn find_inside(
        &self,
        place: Place,
        service_set: u16,
        inside: u32,
        port: u16,
        protocol: u8,
    ) -> Option<u32> {
        self.index.find(place, |n| {
            self.records.get(n as usize).is_some_and(|m| {
                (m.inside, m.inside_port, m.service_set, m.protocol) == (inside, port, service_set, protocol)
            })
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

    /// Takes a mapping out of the index and frees its record.
    pub fn remove(&mut self, number: u32) {
        let mapping = self.records[number as usize];
        let inside = self.inside_place(
            mapping.service_set,
            mapping.inside,
            mapping.inside_port,
            mapping.protocol,
        );
        let public = self.public_place(mapping.public, mapping.public_port, mapping.protocol);
        self.index.remove(inside, number);
        self.index.remove(public, number);
        self.records[number as usize].protocol = 0;
        self.records[number as usize].inside = self.slab.give_back(number);
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
