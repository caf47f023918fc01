//! The session table: one record per session, laid out once for every translation type.
//!
//! ```text
//!   hot, 64 bytes, all a packet of an established session touches     cold, 32 bytes
//!   +--------------------------------------------------+              +---------------------------------+
//!   | area, 44 bytes, by kind (v6: wide.rs):           |              | wheel links              8      |
//!   |   v4: tuple in->out 12, tuple out->in 12,        |              | anchor, subscriber       4 + 4  |
//!   |       bytes 2 x 48 bit, packets 2 x 32 bit       |              | created                  4      |
//!   |   (v6 and NAT64 keys fit the same 44 bytes)      |              | term, policy, pool       3 x 2  |
//!   | protocol, kind, state, timer          4 x 1      |              | epoch (replication)      2      |
//!   | last seen                             4          |              | slot (extension)         4      |
//!   | next hop per direction, generation    2 x 2 + 4  |              +---------------------------------+
//!   | service set, flags                    2 + 2      |
//!   +--------------------------------------------------+
//! ```
//!
//! A tuple is what the packet of that direction looks like when it arrives, so a packet is compared with one tuple and
//! rewritten from the other. The index has one entry per tuple.

mod told;
mod wide;
mod window;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

pub use wide::{Key66, SixFour, SixSix, SmallCount};
pub use window::Segment;

use crate::hash::HashKeys;
use crate::index::{Fill, Index, IndexFull, Place};
use crate::mem::{HugeSlice, OutOfMemory, Pages, prefetch_index};
use crate::slab::Slab;
use crate::ticks::Ticks;
use crate::wheel::{Linked, Links};

/// "No record".
pub const NO_RECORD: u32 = u32::MAX;
/// "No next hop known".
pub const NO_NEXT_HOP: u16 = u16::MAX;

/// Direction of a packet: from inside to outside, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From inside.
    Out = 0,
    /// From outside.
    In = 1,
}

/// Addresses and ports of a packet as it arrives. For an ICMP query the identifier is the port of the inside (or
/// public) end and the other port is 0; protocols without ports have zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tuple4 {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

impl Tuple4 {
    /// The tuple of the answer to this packet, were nothing translated.
    #[inline]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

/// A free record.
pub const KIND_FREE: u8 = 0;
/// IPv4 on both sides, translated or not. Bits 0 and 1 of a kind say: from inside (outside) its packets are IPv4 and look
/// like `tuples[0]` (`tuples[1]`).
pub const KIND_44: u8 = 0b0011;
/// IPv6 inside, IPv4 outside: NAT64.
pub const KIND_64: u8 = 0b0110;
/// IPv6 on both sides.
pub const KIND_66: u8 = 0b0100;
/// No session, but what one of them has no room for: its totals.
pub const KIND_EXTENSION: u8 = 0b1000;

/// The first packet came from outside.
pub const FLAG_INITIATED_OUTSIDE: u16 = 1;
/// The session owns its public port itself (no endpoint-independent mapping).
pub const FLAG_OWNS_PORT: u16 = 2;
/// The session has a second index entry for address-dependent filtering.
pub const FLAG_ADDRESS_ENTRY: u16 = 4;
/// The session holds an address-only claim (protocols without ports).
pub const FLAG_ADDRESS_ONLY: u16 = 8;
/// Begun from outside, and the subscriber has not sent on it yet: it does not hold its mapping.
pub const FLAG_UNANSWERED: u16 = 32;
/// The session shares its public port with sessions to other outside ends (with [`FLAG_OWNS_PORT`]).
pub const FLAG_SHARED_PORT: u16 = 64;
/// The session stands on nothing of the allocator's: not translated, or by a static mapping.
pub const FLAG_FREE_STANDING: u16 = 128;
/// Nothing is known of the session's TCP windows: another chassis has followed them, or may have.
pub const FLAG_WINDOWS_UNKNOWN: u16 = 2048;
/// The session has an extension record; [`Cold::slot`] is its number.
pub const FLAG_EXTENDED: u16 = 256;
/// The session's TCP windows are tracked.
pub const FLAG_TRACKED: u16 = 512;
/// Changed since it was last told to the other chassis: there was no room on the way there.
pub const FLAG_DIRTY: u16 = 16;
/// The other chassis knows the session: it was told of it here, or told of it itself.
pub const FLAG_REPLICATED: u16 = 1024;

/// What every packet touches.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Hot {
    /// Tuples by direction.
    pub tuples: [Tuple4; 2],
    bytes_low: [u32; 2],
    bytes_high: [u16; 2],
    packets: [u32; 2],
    /// IP protocol.
    pub protocol: u8,
    /// What the record is; [`KIND_FREE`] when it is none.
    pub kind: u8,
    /// TCP state.
    pub state: u8,
    /// Idle timeout class.
    pub timer: u8,
    /// When a packet last refreshed it, in ticks.
    pub last_seen: u32,
    /// Next hops by direction, valid while the generation is the router's.
    pub next_hop: [u16; 2],
    /// Generation of the routes the next hops came from.
    pub next_hop_generation: u32,
    /// Service set.
    pub service_set: u16,
    /// `FLAG_` bits.
    pub flags: u16,
}

const _: () = assert!(size_of::<Hot>() == 64);

impl Hot {
    /// Whether the record is a session.
    #[inline(always)]
    #[must_use]
    pub const fn is_session(&self) -> bool {
        self.kind & (KIND_44 | KIND_66) != 0
    }

    /// What its packets look like from outside; means nothing for [`KIND_66`].
    #[inline]
    #[must_use]
    pub const fn from_outside(&self) -> Tuple4 {
        self.tuples[Direction::In as usize]
    }

    /// Counts one packet of `length` bytes.
    #[inline(always)]
    pub fn count(&mut self, direction: Direction, length: u16) {
        let d = direction as usize;
        self.packets[d] = self.packets[d].wrapping_add(1);
        let (low, carry) = self.bytes_low[d].overflowing_add(u32::from(length));
        self.bytes_low[d] = low;
        self.bytes_high[d] = self.bytes_high[d].wrapping_add(u16::from(carry));
    }

    /// Adds packets and bytes.
    fn add(&mut self, direction: Direction, (packets, bytes): (u32, u32)) {
        let d = direction as usize;
        self.packets[d] = self.packets[d].wrapping_add(packets);
        let (low, carry) = self.bytes_low[d].overflowing_add(bytes);
        self.bytes_low[d] = low;
        self.bytes_high[d] = self.bytes_high[d].wrapping_add(u16::from(carry));
    }

    /// Sets packets and bytes of a direction, modulo what fits.
    fn set_counts(&mut self, direction: Direction, (packets, bytes): (u64, u64)) {
        let d = direction as usize;
        self.packets[d] = packets as u32;
        (self.bytes_low[d], self.bytes_high[d]) = (bytes as u32, (bytes >> 32) as u16);
    }

    /// Packets and bytes of a direction. Packets count modulo 2^32, bytes modulo 2^48.
    #[must_use]
    pub fn counts(&self, direction: Direction) -> (u64, u64) {
        let d = direction as usize;
        (
            u64::from(self.packets[d]),
            u64::from(self.bytes_high[d]) << 32 | u64::from(self.bytes_low[d]),
        )
    }
}

/// What only set-up, expiry and views touch.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(32))]
pub struct Cold {
    links: Links,
    /// Mapping it uses; with [`FLAG_OWNS_PORT`] or [`FLAG_ADDRESS_ONLY`] the index of its public address instead. The
    /// free list's link while the record is free.
    pub anchor: u32,
    /// Subscriber it belongs to.
    pub subscriber: u32,
    /// When it was made, in ticks.
    pub created: u32,
    /// Number of the NAT term.
    pub term: u16,
    /// Number of the firewall policy.
    pub policy: u16,
    /// Pool its public address was taken from.
    pub pool: u16,
    /// Epoch of its last change as told to the peer.
    pub epoch: u16,
    /// With [`FLAG_EXTENDED`]: the number of the extension record.
    pub slot: u32,
}

const _: () = assert!(size_of::<Cold>() == 32);

/// Cold records, as the wheel sees them.
#[derive(Debug)]
pub struct ColdTable(HugeSlice<Cold>);

impl Linked for ColdTable {
    #[inline]
    fn links(&mut self, number: u32) -> &mut Links {
        &mut self.0[number as usize].links
    }
}

/// All sessions of a worker.
#[derive(Debug)]
pub struct SessionTable {
    hot: HugeSlice<Hot>,
    cold: ColdTable,
    slab: Slab,
    index: Index,
    keys: HashKeys,
}

impl SessionTable {
    /// A table of `capacity` sessions.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(capacity: u32, keys: HashKeys) -> Result<Self, OutOfMemory> {
        Ok(Self {
            hot: HugeSlice::new(capacity as usize, "sessions", Pages::Preallocated)?,
            cold: ColdTable(HugeSlice::new(
                capacity as usize,
                "sessions (cold)",
                Pages::Preallocated,
            )?),
            slab: Slab::new(capacity),
            index: Index::new(capacity as usize * 2, capacity, Fill::Sparse, "session index")?,
            keys,
        })
    }

    /// Place of a tuple in the index. `realm` is the service set for packets from inside and 0 for those from
    /// outside, whose public address says it all.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, tuple: &Tuple4, protocol: u8, direction: Direction, realm: u16) -> Place {
        let addresses = u64::from(tuple.src) << 32 | u64::from(tuple.dst);
        let rest = u64::from(tuple.sport) << 48
            | u64::from(tuple.dport) << 32
            | u64::from(realm) << 16
            | u64::from(protocol) << 8
            | direction as u64;
        self.index.place(self.keys.hash(addresses, rest))
    }

    /// Asks for the index line.
    #[inline(always)]
    pub fn prefetch_place(&self, place: Place) {
        self.index.prefetch(place);
    }

    /// The likely record of a place, or [`NO_RECORD`]; asks for its line.
    #[inline(always)]
    #[must_use]
    pub fn prefetch_candidate(&self, place: Place) -> u32 {
        match self.index.first_candidate(place) {
            Some(number) => {
                prefetch_index(&self.hot, number as usize);
                number
            }
            None => NO_RECORD,
        }
    }

    /// Whether record `number` is the session of this packet.
    #[inline(always)]
    #[must_use]
    pub fn is(
        &self,
        number: u32,
        tuple: &Tuple4,
        protocol: u8,
        direction: Direction,
        service_set: u16,
    ) -> bool {
        let Some(hot) = self.hot.get(number as usize) else {
            return false;
        };
        (hot.tuples[direction as usize] == *tuple)
            & (hot.protocol == protocol)
            & (hot.kind & 1 << direction as u8 != 0)
            & ((direction as u8 == Direction::In as u8) | (hot.service_set == service_set))
    }

    /// Where a record is entered: under what its packets look like from inside and from outside; a session of
    /// [`KIND_66`] has one place for both.
    #[must_use]
    pub fn places(&self, hot: &Hot) -> (Place, Option<Place>) {
        match hot.kind {
            KIND_64 => {
                let wide = hot.six_four();
                let out = self.place_64(
                    wide.inside(),
                    wide.back.src,
                    (wide.inside_port, wide.outside_port()),
                    hot.protocol,
                    (hot.service_set, wide.prefix),
                );
                (out, Some(self.place(&wide.back, hot.protocol, Direction::In, 0)))
            }
            KIND_66 => {
                let wide = hot.six_six();
                (self.place_66(&wide.key(), hot.protocol), None)
            }
            _ => {
                let [out, back] = &hot.tuples;
                (
                    self.place(out, hot.protocol, Direction::Out, hot.service_set),
                    Some(self.place(back, hot.protocol, Direction::In, 0)),
                )
            }
        }
    }

    /// Finds a session.
    #[inline]
    #[must_use]
    pub fn find(
        &self,
        place: Place,
        tuple: &Tuple4,
        protocol: u8,
        dir: Direction,
        service_set: u16,
    ) -> Option<u32> {
        self.index
            .find(place, |n| self.is(n, tuple, protocol, dir, service_set))
    }

    /// The hot record.
    #[inline(always)]
    #[must_use]
    pub fn hot(&self, number: u32) -> Option<&Hot> {
        self.hot.get(number as usize)
    }

    /// The hot record, to change.
    #[inline(always)]
    pub fn hot_mut(&mut self, number: u32) -> Option<&mut Hot> {
        self.hot.get_mut(number as usize)
    }

    /// The cold record.
    #[inline]
    #[must_use]
    pub fn cold(&self, number: u32) -> Option<&Cold> {
        self.cold.0.get(number as usize)
    }

    /// The cold record, to change.
    #[inline]
    pub fn cold_mut(&mut self, number: u32) -> Option<&mut Cold> {
        self.cold.0.get_mut(number as usize)
    }

    /// The cold table, for the wheel.
    #[inline]
    pub fn links(&mut self) -> &mut ColdTable {
        &mut self.cold
    }

    /// Asks for the lines of the record `ahead` takes from now (exact while fresh records are used).
    #[inline]
    pub fn prefetch_free(&self, ahead: u32) {
        if let Some(number) = self.slab.peek() {
            prefetch_index(&self.hot, (number + ahead) as usize);
            prefetch_index(&self.cold.0, (number + ahead) as usize);
        }
    }

    /// Takes a free record; its hot part is all zero but for `kind`, its cold part as `cold` says.
    pub fn take(&mut self, hot: Hot, cold: Cold) -> Option<u32> {
        let (number, to_hot, to_cold) = self.take_to_fill()?;
        (*to_hot, *to_cold) = (hot, cold);
        Some(number)
    }

    /// Takes a free record, in which is what its last session left: all of both parts has to be written.
    #[inline]
    pub fn take_to_fill(&mut self) -> Option<(u32, &mut Hot, &mut Cold)> {
        let records = &self.cold.0;
        let number = self.slab.take(|n| records[n as usize].anchor)?;
        let hot = &mut self.hot[number as usize];
        Some((number, hot, &mut self.cold.0[number as usize]))
    }

    /// Enters a record under a place.
    ///
    /// # Errors
    /// [`IndexFull`]: nothing changed.
    #[inline]
    pub fn enter(&mut self, place: Place, number: u32) -> Result<(), IndexFull> {
        self.index.insert(place, number)
    }

    /// Takes a record out of a place.
    pub fn leave(&mut self, place: Place, number: u32) -> bool {
        self.index.remove(place, number)
    }

    /// Frees a record that is out of the index and the wheel, and its extension.
    pub fn free(&mut self, number: u32) {
        if self.hot[number as usize].flags & FLAG_EXTENDED != 0 {
            let extension = self.cold.0[number as usize].slot;
            self.release(extension);
        }
        self.release(number);
    }

    fn release(&mut self, number: u32) {
        self.hot[number as usize].kind = KIND_FREE;
        self.cold.0[number as usize].anchor = self.slab.give_back(number);
    }

    /// Place of the address-dependent filter entry: public end and outside address, without the outside port.
    #[must_use]
    pub fn address_place(&self, from_outside: &Tuple4, protocol: u8) -> Place {
        let tuple = Tuple4 {
            sport: 0,
            ..*from_outside
        };
        self.place(&tuple, protocol | 0x80, Direction::In, 0)
    }

    /// Whether some session between this public end and this outside address exists.
    #[must_use]
    pub fn has_sent_to(&self, from_outside: &Tuple4, protocol: u8) -> bool {
        self.index
            .find(self.address_place(from_outside, protocol), |n| {
                self.hot(n).is_some_and(|hot| {
                    let t = hot.tuples[Direction::In as usize];
                    hot.kind & 1 << Direction::In as u8 != 0
                        && hot.protocol == protocol
                        && (t.src, t.dst, t.dport) == (from_outside.src, from_outside.dst, from_outside.dport)
                })
            })
            .is_some()
    }

    /// Records in use: sessions, and the extensions of some of them.
    #[inline]
    #[must_use]
    pub fn live(&self) -> u32 {
        self.slab.live()
    }

    /// Sessions there can be.
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

/// A fresh hot record.
#[inline]
#[must_use]
pub fn new_hot(kind: u8, tuples: [Tuple4; 2], protocol: u8, service_set: u16, now: Ticks) -> Hot {
    Hot {
        tuples,
        bytes_low: [0; 2],
        bytes_high: [0; 2],
        packets: [0; 2],
        protocol,
        kind,
        state: 0,
        timer: 0,
        last_seen: now.0,
        next_hop: [NO_NEXT_HOP; 2],
        next_hop_generation: 0,
        service_set,
        flags: 0,
    }
}

/// A fresh cold record.
#[inline]
#[must_use]
pub fn new_cold(anchor: u32, subscriber: u32, term: u16, pool: u16, now: Ticks) -> Cold {
    Cold {
        links: Links::default(),
        anchor,
        subscriber,
        created: now.0,
        term,
        policy: 0,
        pool,
        epoch: 0,
        slot: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_carry_beyond_32_bits() {
        let mut hot = new_hot(KIND_44, [Tuple4::default(); 2], 17, 0, Ticks(0));
        for _ in 0..70_000 {
            hot.count(Direction::In, 65_535);
        }
        assert_eq!(hot.counts(Direction::In), (70_000, 70_000 * 65_535));
        assert_eq!(hot.counts(Direction::Out), (0, 0));
    }

    #[test]
    fn finds_by_both_tuples_and_not_by_another_service_set() {
        let mut table = SessionTable::new(16, HashKeys::new(1)).unwrap();
        let out = Tuple4 {
            src: 1,
            dst: 2,
            sport: 3,
            dport: 4,
        };
        let back = Tuple4 {
            src: 2,
            dst: 9,
            sport: 4,
            dport: 30,
        };
        let n = table
            .take(
                new_hot(KIND_44, [out, back], 17, 5, Ticks(0)),
                new_cold(0, 0, 0, 0, Ticks(0)),
            )
            .unwrap();
        let (po, pb) = (
            table.place(&out, 17, Direction::Out, 5),
            table.place(&back, 17, Direction::In, 0),
        );
        table.enter(po, n).unwrap();
        table.enter(pb, n).unwrap();
        assert_eq!(table.find(po, &out, 17, Direction::Out, 5), Some(n));
        assert_eq!(table.find(pb, &back, 17, Direction::In, 77), Some(n));
        assert_eq!(table.find(po, &out, 17, Direction::Out, 6), None);
        assert_eq!(table.find(po, &out, 6, Direction::Out, 5), None);
        assert!(table.leave(po, n) && table.leave(pb, n));
        table.free(n);
        assert_eq!(table.find(po, &out, 17, Direction::Out, 5), None);
        assert_eq!(table.live(), 0);
    }
}
