//! Subscribers: who owns sessions, ports and blocks, and what each may have.
//!
//! An IPv4 subscriber is one inside address of a service set; an IPv6 one is a prefix (RFC 6888 section 2: what is limited is
//! the customer, and an IPv6 customer has a prefix). A subscriber exists while it
//! has a session or a port block.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::hash::HashKeys;
use crate::index::{Fill, Index, Place};
use crate::mem::{HugeSlice, OutOfMemory, Pages, prefetch_index};
use crate::program::SubscriberLimits;
use crate::session::NO_RECORD;
use crate::slab::Slab;
use crate::ticks::Ticks;

/// One subscriber.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Subscriber {
    /// Lower 32 bits of its address: IPv4 has no more. The free list's link while free.
    low: u32,
    /// The other words, upper first.
    upper: [u32; 3],
    /// Index of its paired public address, or [`NO_RECORD`].
    pub paired: u32,
    /// Sessions.
    pub sessions: u32,
    /// Public ports in use: TCP, UDP, ICMP ids.
    pub ports: [u32; 3],
    /// First of its port blocks, or [`NO_RECORD`].
    pub blocks: u32,
    /// First packets refused because of a limit.
    pub refused: u32,
    /// When tokens were last added, in ticks.
    rate_time: u32,
    /// New-session tokens left, in tenths.
    rate_tokens: u32,
    /// Service set.
    pub service_set: u16,
    /// Port blocks held.
    pub block_count: u16,
    /// Pool of the paired address.
    pub pool: u16,
    /// 0 when the record is free; [`KEPT`] on top of 1.
    pub live: u8,
    /// Whether `rate_tokens` was ever filled.
    rate_started: u8,
}

const _: () = assert!(size_of::<Subscriber>() == 64);

/// It has a whole address whose mapping has no sessions here, but lives on the other chassis.
const KEPT: u8 = 2;

/// Which limit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Sessions at once.
    Sessions,
    /// New sessions per second.
    Rate,
}

impl Subscriber {
    /// A new one without anything.
    #[must_use]
    pub fn new(address: u128, service_set: u16) -> Self {
        Self {
            low: address as u32,
            upper: [
                (address >> 96) as u32,
                (address >> 64) as u32,
                (address >> 32) as u32,
            ],
            paired: NO_RECORD,
            sessions: 0,
            ports: [0; 3],
            blocks: NO_RECORD,
            refused: 0,
            rate_time: 0,
            rate_tokens: 0,
            service_set,
            block_count: 0,
            pool: crate::program::NONE,
            live: 1,
            rate_started: 0,
        }
    }

    /// Its inside address, or the first one of its prefix; IPv4 under `::ffff:0:0/96`.
    #[inline]
    #[must_use]
    pub const fn address(&self) -> u128 {
        let [a, b, c] = self.upper;
        (a as u128) << 96 | (b as u128) << 64 | (c as u128) << 32 | self.low as u128
    }

    /// Whether that is its address. Word by word, as the record has them.
    #[inline(always)]
    const fn is_at(&self, address: u128) -> bool {
        let [a, b, c] = self.upper;
        let upper = (a as u64) << 32 | b as u64;
        let lower = (c as u64) << 32 | self.low as u64;
        ((address >> 64) as u64 ^ upper) | (address as u64 ^ lower) == 0
    }

    /// A number that spreads subscribers, the same for the same address.
    #[inline]
    #[must_use]
    pub const fn spread(&self) -> u32 {
        let [a, b, _] = self.upper;
        (self.low ^ b ^ a.rotate_left(16)).wrapping_mul(0x9E37_79B1)
    }

    /// Whether it may open one more session now; takes a rate token. RFC 6888 REQ-4, REQ-5.
    ///
    /// # Errors
    /// Which limit refused it.
    pub fn admit(&mut self, limits: &SubscriberLimits, now: Ticks) -> Result<(), Refused> {
        if limits.max_sessions != 0 && self.sessions >= limits.max_sessions {
            return Err(Refused::Sessions);
        }
        if limits.max_session_rate != 0 {
            // Tokens in tenths: one tick adds a tenth of a second's allowance, the bucket holds one second.
            let full = limits.max_session_rate.saturating_mul(Ticks::PER_SECOND);
            if self.rate_started == 0 {
                (self.rate_started, self.rate_tokens, self.rate_time) = (1, full, now.0);
            }
            let gained = now
                .0
                .saturating_sub(self.rate_time)
                .saturating_mul(limits.max_session_rate);
            self.rate_tokens = self.rate_tokens.saturating_add(gained).min(full);
            self.rate_time = now.0;
            self.rate_tokens = self
                .rate_tokens
                .checked_sub(Ticks::PER_SECOND)
                .ok_or(Refused::Rate)?;
        }
        Ok(())
    }

    /// Whether it may have one more public port of `class` (0 TCP, 1 UDP, 2 ICMP). RFC 6888 REQ-4A, 4B.
    #[inline(always)]
    #[must_use]
    pub fn may_take_port(&self, class: usize, limits: &SubscriberLimits) -> bool {
        let own = [limits.max_tcp_ports, limits.max_udp_ports, limits.max_icmp_ids][class % 3];
        let all = self.ports.iter().sum::<u32>();
        (limits.max_ports == 0 || all < limits.max_ports) && (own == 0 || self.ports[class % 3] < own)
    }

    /// Says whether a mapping of its whole address keeps it without sessions.
    pub const fn keep(&mut self, keep: bool) {
        self.live = 1 | if keep { KEPT } else { 0 };
    }

    /// Whether nothing keeps it: a port in use without a session is one of a mapping that lives on the other chassis.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sessions == 0 && self.blocks == NO_RECORD && self.ports == [0; 3] && self.live & KEPT == 0
    }
}

/// All subscribers of a worker.
#[derive(Debug)]
pub struct SubscriberTable {
    records: HugeSlice<Subscriber>,
    slab: Slab,
    index: Index,
    keys: HashKeys,
}

impl SubscriberTable {
    /// A table of `capacity` subscribers.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(capacity: u32, keys: HashKeys) -> Result<Self, OutOfMemory> {
        Ok(Self {
            records: HugeSlice::new(capacity as usize, "subscribers", Pages::Preallocated)?,
            slab: Slab::new(capacity),
            index: Index::new(capacity as usize, capacity, Fill::Dense, "subscriber index")?,
            keys,
        })
    }

    /// Place of a subscriber.
    #[inline]
    #[must_use]
    pub fn place(&self, service_set: u16, address: u128) -> Place {
        self.index
            .place(self.keys.hash_address(address, u64::from(service_set)))
    }

    /// Asks for the index line.
    #[inline]
    pub fn prefetch_place(&self, place: Place) {
        self.index.prefetch(place);
    }

    /// Asks for the likely record.
    #[inline]
    pub fn prefetch_candidate(&self, place: Place) {
        if let Some(number) = self.index.first_candidate(place) {
            prefetch_index(&self.records, number as usize);
        }
    }

    /// Finds a subscriber.
    #[inline]
    #[must_use]
    pub fn find(&self, place: Place, service_set: u16, address: u128) -> Option<u32> {
        self.index.find(place, |n| {
            self.get(n)
                .is_some_and(|s| s.is_at(address) && s.service_set == service_set)
        })
    }

    /// Finds a subscriber by its place, or makes it; `None` when the table is full.
    #[inline]
    pub fn find_or_insert(&mut self, place: Place, service_set: u16, address: u128) -> Option<u32> {
        if let Some(number) = self.find(place, service_set, address) {
            return Some(number);
        }
        self.insert(place, service_set, address)
    }

    #[cold]
    fn insert(&mut self, place: Place, service_set: u16, address: u128) -> Option<u32> {
        let records = &self.records;
        let number = self.slab.take(|n| records[n as usize].low)?;
        if self.index.insert(place, number).is_err() {
            self.records[number as usize].low = self.slab.give_back(number);
            return None;
        }
        self.records[number as usize] = Subscriber::new(address, service_set);
        Some(number)
    }

    /// Frees a subscriber that has nothing left.
    pub fn remove_if_idle(&mut self, number: u32) {
        let Some(subscriber) = self.get(number).filter(|s| s.is_idle()).copied() else {
            return;
        };
        self.index
            .remove(self.place(subscriber.service_set, subscriber.address()), number);
        self.records[number as usize].live = 0;
        self.records[number as usize].low = self.slab.give_back(number);
    }

    /// A subscriber.
    #[inline]
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Subscriber> {
        self.records.get(number as usize).filter(|s| s.live != 0)
    }

    /// A subscriber, to change.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Subscriber> {
        self.records.get_mut(number as usize).filter(|s| s.live != 0)
    }

    /// Subscribers alive.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.slab.live()
    }

    /// Subscribers there can be.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_a_bucket_of_one_second() {
        let limits = SubscriberLimits {
            max_session_rate: 5,
            ..Default::default()
        };
        let mut subscriber = Subscriber::new(1, 1);
        let now = Ticks(1000);
        assert_eq!(
            (0..20).filter(|_| subscriber.admit(&limits, now).is_ok()).count(),
            5
        );
        assert_eq!(subscriber.admit(&limits, now), Err(Refused::Rate));
        assert_eq!(
            (0..20)
                .filter(|_| subscriber.admit(&limits, Ticks(1004)).is_ok())
                .count(),
            2
        );
        assert_eq!(
            (0..20)
                .filter(|_| subscriber.admit(&limits, Ticks(9000)).is_ok())
                .count(),
            5
        );
    }

    fn find_or_insert(table: &mut SubscriberTable, service_set: u16, address: u128) -> Option<u32> {
        table.find_or_insert(table.place(service_set, address), service_set, address)
    }

    #[test]
    fn a_full_table_refuses_and_recovers() {
        let mut table = SubscriberTable::new(2, HashKeys::new(1)).unwrap();
        let a = find_or_insert(&mut table, 1, 10).unwrap();
        assert_eq!(find_or_insert(&mut table, 1, 10), Some(a));
        assert!(find_or_insert(&mut table, 2, 10).is_some());
        assert_eq!(find_or_insert(&mut table, 1, 11), None);
        table.remove_if_idle(a);
        assert!(find_or_insert(&mut table, 1, 11).is_some());
        assert_eq!(table.live(), 2);
    }
}
