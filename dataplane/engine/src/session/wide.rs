//! The hot record of sessions with IPv6 on one side or both. Addresses take so much of the line that counters are small there;
//! before one overflows it is added to the totals in an extension record.
//!
//! ```text
//!   KIND_64 (NAT64)                                    KIND_66
//!   inside address, upper 12 bytes   12                inside address           16
//!   tuple from outside (IPv4)        12 as in KIND_44  outside address          16
//!   inside address, last 4 bytes      4                ports inside, outside   2 + 2
//!   inside port, prefix           2 + 2                small counts             2 x 4
//!   small counts                  2 x 4
//!   outside port as seen inside       2
//! ```
//!
//! Addresses of [`SixSix`] are those seen inside; with prefix translation the other form follows from the prefixes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut, transmute_ref};

use super::{Direction, FLAG_EXTENDED, Hot, KIND_44, KIND_64, KIND_66, KIND_EXTENSION, SessionTable, Tuple4};
use crate::index::Place;

/// Packets and bytes of one direction since they were last added to the totals: 10 and 22 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct SmallCount(u32);

const PACKET: u32 = 1 << 22;
const BYTES: u32 = PACKET - 1;
/// A count in which one more packet of any size might not fit.
const NEARLY_FULL_PACKETS: u32 = 1022;
const NEARLY_FULL_BYTES: u32 = BYTES - u16::MAX as u32;

impl SmallCount {
    /// Counts one packet; true when the next may not fit.
    #[inline(always)]
    pub fn count(&mut self, length: u16) -> bool {
        self.0 = self.0.wrapping_add(PACKET | u32::from(length));
        self.0 >= NEARLY_FULL_PACKETS * PACKET || self.0 & BYTES > NEARLY_FULL_BYTES
    }

    /// A count of so many packets and bytes; `None` when the next packet might not fit.
    pub(super) const fn of(packets: u64, bytes: u64) -> Option<Self> {
        if packets < NEARLY_FULL_PACKETS as u64 && bytes <= NEARLY_FULL_BYTES as u64 {
            Some(Self((packets as u32) << 22 | bytes as u32))
        } else {
            None
        }
    }

    /// Packets and bytes.
    #[must_use]
    pub const fn parts(self) -> (u32, u32) {
        (self.0 >> 22, self.0 & BYTES)
    }
}

/// A NAT64 session's record.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct SixFour {
    inside_upper: [u32; 3],
    /// What its packets look like from outside.
    pub back: Tuple4,
    inside_lower: u32,
    /// Inside port or ICMP identifier.
    pub inside_port: u16,
    /// Id of the NAT64 prefix the subscriber used.
    pub prefix: u16,
    /// Counts by direction.
    pub counts: [SmallCount; 2],
    outside_port: u16,
    spare: u16,
    tail: [u32; 5],
}

/// The record of a session with IPv6 on both sides.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct SixSix {
    inside: [u64; 2],
    outside: [u64; 2],
    ports: u32,
    /// Counts by direction.
    pub counts: [SmallCount; 2],
    tail: [u32; 5],
}

/// Ends of a session with IPv6 on both sides, as seen inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key66 {
    /// Inside address.
    pub inside: u128,
    /// Outside address.
    pub outside: u128,
    /// Inside port; the identifier of an ICMP echo.
    pub inside_port: u16,
    /// Outside port; 0 for ICMP.
    pub outside_port: u16,
}

const _: () = assert!(size_of::<SixFour>() == 64 && size_of::<SixSix>() == 64);
const _: () = assert!(std::mem::offset_of!(SixFour, back) == 12 && std::mem::offset_of!(SixFour, tail) == 44);

const fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

const fn whole(halves: [u64; 2]) -> u128 {
    (halves[0] as u128) << 64 | halves[1] as u128
}

const fn both(ports: (u16, u16)) -> u32 {
    (ports.0 as u32) << 16 | ports.1 as u32
}

impl Hot {
    /// The record as a NAT64 session's. Only of [`KIND_64`] does that mean anything.
    #[inline(always)]
    #[must_use]
    pub fn six_four(&self) -> &SixFour {
        transmute_ref!(self)
    }

    /// The same, to change.
    #[inline(always)]
    pub fn six_four_mut(&mut self) -> &mut SixFour {
        transmute_mut!(self)
    }

    /// The record as one with IPv6 on both sides. Only of [`KIND_66`] does that mean anything.
    #[inline(always)]
    #[must_use]
    pub fn six_six(&self) -> &SixSix {
        transmute_ref!(self)
    }

    /// The same, to change.
    #[inline(always)]
    pub fn six_six_mut(&mut self) -> &mut SixSix {
        transmute_mut!(self)
    }

    pub(super) fn small_counts(&mut self) -> Option<&mut [SmallCount; 2]> {
        match self.kind {
            KIND_64 => Some(&mut self.six_four_mut().counts),
            KIND_66 => Some(&mut self.six_six_mut().counts),
            _ => None,
        }
    }
}

impl SixFour {
    /// Writes the ends: inside address and port, the outside port as seen inside, the prefix, and the tuple from outside.
    pub fn set(&mut self, inside: u128, ports: (u16, u16), prefix: u16, back: Tuple4) {
        self.inside_upper = [
            (inside >> 96) as u32,
            (inside >> 64) as u32,
            (inside >> 32) as u32,
        ];
        self.inside_lower = inside as u32;
        (self.inside_port, self.outside_port) = ports;
        self.prefix = prefix;
        self.back = back;
        self.counts = Default::default();
        self.spare = 0;
    }

    /// Inside address.
    #[inline(always)]
    #[must_use]
    pub fn inside(&self) -> u128 {
        let [a, b, c] = self.inside_upper;
        u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(self.inside_lower)
    }

    /// Outside port as the subscriber sends to it.
    #[inline(always)]
    #[must_use]
    pub const fn outside_port(&self) -> u16 {
        self.outside_port
    }
}

impl SixSix {
    /// Writes the ends.
    pub fn set(&mut self, key: &Key66) {
        (self.inside, self.outside) = (halves(key.inside), halves(key.outside));
        self.ports = both((key.inside_port, key.outside_port));
        self.counts = Default::default();
    }

    /// The ends.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self) -> Key66 {
        Key66 {
            inside: whole(self.inside),
            outside: whole(self.outside),
            inside_port: (self.ports >> 16) as u16,
            outside_port: self.ports as u16,
        }
    }
}

impl SessionTable {
    /// Place of a NAT64 session as it looks from inside: inside address, the IPv4 destination, ports inside and outside,
    /// protocol, service set and prefix.
    #[inline(always)]
    #[must_use]
    pub fn place_64(
        &self,
        inside: u128,
        outside: u32,
        ports: (u16, u16),
        protocol: u8,
        of: (u16, u16),
    ) -> Place {
        let [upper, lower] = halves(inside);
        let rest = u64::from(both(ports)) << 32 | u64::from(outside);
        let what = u64::from(of.0) << 32 | u64::from(of.1) << 16 | u64::from(protocol) << 8;
        self.index.place(self.keys.hash4(upper, lower, rest, what))
    }

    /// Place of a session with IPv6 on both sides.
    #[inline(always)]
    #[must_use]
    pub fn place_66(&self, key: &Key66, protocol: u8) -> Place {
        let [a, b] = halves(key.inside);
        let [c, d] = halves(key.outside);
        let what = u64::from(both((key.inside_port, key.outside_port))) << 32 | u64::from(protocol) << 8 | 1;
        self.index
            .place(self.keys.hash4(a, b, c ^ d.rotate_left(32), d ^ what))
    }

    /// Whether record `number` is this NAT64 session; see [`SessionTable::place_64`].
    #[inline(always)]
    #[must_use]
    pub fn is_64(
        &self,
        number: u32,
        inside: u128,
        outside: u32,
        ports: (u16, u16),
        protocol: u8,
        of: (u16, u16),
    ) -> bool {
        let Some(hot) = self.hot.get(number as usize) else {
            return false;
        };
        let wide = hot.six_four();
        hot.kind == KIND_64
            && wide.inside() == inside
            && wide.back.src == outside
            && (wide.inside_port, wide.outside_port) == ports
            && hot.protocol == protocol
            && (hot.service_set, wide.prefix) == of
    }

    /// Whether record `number` is this session with IPv6 on both sides.
    #[inline(always)]
    #[must_use]
    pub fn is_66(&self, number: u32, key: &Key66, protocol: u8) -> bool {
        let Some(hot) = self.hot.get(number as usize) else {
            return false;
        };
        let wide = hot.six_six();
        hot.kind == KIND_66
            && wide.inside == halves(key.inside)
            && wide.outside == halves(key.outside)
            && wide.ports == both((key.inside_port, key.outside_port))
            && hot.protocol == protocol
    }

    /// Finds a NAT64 session from inside.
    #[inline]
    #[must_use]
    pub fn find_64(
        &self,
        place: Place,
        inside: u128,
        outside: u32,
        ports: (u16, u16),
        protocol: u8,
        of: (u16, u16),
    ) -> Option<u32> {
        self.index
            .find(place, |n| self.is_64(n, inside, outside, ports, protocol, of))
    }

    /// Finds a session with IPv6 on both sides.
    #[inline]
    #[must_use]
    pub fn find_66(&self, place: Place, key: &Key66, protocol: u8) -> Option<u32> {
        self.index.find(place, |n| self.is_66(n, key, protocol))
    }

    /// Adds the small counts of a session to its totals, making the extension that holds them at the first time. False
    /// when the table has no record left for one: the counts then stay as they are, and stop.
    #[cold]
    #[inline(never)]
    pub fn spill(&mut self, number: u32) -> bool {
        let Some(extension) = self.extension(number) else {
            // Nothing is added where nothing can be kept; one packet more must not carry into the other field.
            if let Some(counts) = self.hot.get_mut(number as usize).and_then(Hot::small_counts) {
                for count in counts {
                    let (packets, bytes) = count.parts();
                    *count =
                        SmallCount(packets.min(NEARLY_FULL_PACKETS) << 22 | bytes.min(NEARLY_FULL_BYTES));
                }
            }
            return false;
        };
        let Some(counts) = self.hot.get_mut(number as usize).and_then(Hot::small_counts) else {
            return false;
        };
        let small = std::mem::take(counts);
        if let Some(totals) = self.hot.get_mut(extension as usize) {
            totals.add(Direction::Out, small[0].parts());
            totals.add(Direction::In, small[1].parts());
        }
        true
    }

    /// The number of a session's extension record, made if there is none.
    pub(super) fn extension(&mut self, number: u32) -> Option<u32> {
        let hot = self.hot.get(number as usize)?;
        if hot.flags & FLAG_EXTENDED != 0 {
            return self.cold(number).map(|c| c.slot);
        }
        let mut record = super::new_hot(
            KIND_EXTENSION,
            Default::default(),
            hot.protocol,
            hot.service_set,
            super::Ticks(0),
        );
        record.last_seen = number;
        // No routes are kept here: window scales are, and there are none yet.
        record.next_hop = [0; 2];
        let extension = self.take(record, super::new_cold(number, 0, 0, 0, super::Ticks(0)))?;
        self.hot.get_mut(number as usize)?.flags |= FLAG_EXTENDED;
        self.cold_mut(number)?.slot = extension;
        Some(extension)
    }

    /// Packets and bytes of a session's direction so far.
    #[must_use]
    pub fn counts(&self, number: u32, direction: Direction) -> (u64, u64) {
        let Some(hot) = self.hot(number) else {
            return (0, 0);
        };
        let small = match hot.kind {
            KIND_44 => return hot.counts(direction),
            KIND_64 => hot.six_four().counts,
            KIND_66 => hot.six_six().counts,
            _ => return (0, 0),
        };
        let (packets, bytes) = small[direction as usize].parts();
        let mut sum = (u64::from(packets), u64::from(bytes));
        if hot.flags & FLAG_EXTENDED != 0
            && let Some(totals) = self.cold(number).and_then(|c| self.hot(c.slot))
        {
            let (packets, bytes) = totals.counts(direction);
            sum = (sum.0 + packets, sum.1 + bytes);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKeys;
    use crate::session::{KIND_FREE, new_cold, new_hot};
    use crate::ticks::Ticks;

    fn table() -> (SessionTable, u32, Key66) {
        let mut table = SessionTable::new(2, HashKeys::new(1)).unwrap();
        let key = Key66 {
            inside: 0x2001 << 112 | 7,
            outside: 0x2002 << 112 | 9,
            inside_port: 1000,
            outside_port: 80,
        };
        let mut hot = new_hot(KIND_66, Default::default(), 17, 3, Ticks(0));
        hot.six_six_mut().set(&key);
        let number = table.take(hot, new_cold(0, 0, 0, 0, Ticks(0))).unwrap();
        let (place, other) = table.places(table.hot(number).unwrap());
        assert!(other.is_none());
        table.enter(place, number).unwrap();
        (table, number, key)
    }

    #[test]
    fn totals_are_exact_across_spills() {
        let (mut table, number, _) = table();
        for i in 0..5_000u32 {
            let hot = table.hot_mut(number).unwrap();
            if hot.six_six_mut().counts[1].count(if i % 2 == 0 { 65_535 } else { 40 }) {
                assert!(table.spill(number));
            }
        }
        assert_eq!(
            table.counts(number, Direction::In),
            (5_000, 2_500 * (65_535 + 40))
        );
        assert_eq!(table.counts(number, Direction::Out), (0, 0));
        assert_eq!(table.live(), 2, "the session and its extension");
        table.free(number);
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn counts_stop_when_there_is_no_room_for_totals() {
        let (mut table, number, key) = table();
        let other = table
            .take(
                new_hot(KIND_44, Default::default(), 6, 1, Ticks(0)),
                new_cold(0, 0, 0, 0, Ticks(0)),
            )
            .unwrap();
        for _ in 0..5_000 {
            if table.hot_mut(number).unwrap().six_six_mut().counts[0].count(100) {
                assert!(!table.spill(number));
            }
        }
        let (packets, bytes) = table.counts(number, Direction::Out);
        assert!(
            (1000..=1023).contains(&packets) && bytes > 100_000,
            "{packets} {bytes}"
        );
        let (place, _) = table.places(table.hot(number).unwrap());
        assert_eq!(table.find_66(place, &key, 17), Some(number));
        table.free(other);
        assert_eq!(table.hot(other).unwrap().kind, KIND_FREE);
    }

    #[test]
    fn a_nat64_record_is_found_from_both_sides() {
        let mut table = SessionTable::new(4, HashKeys::new(2)).unwrap();
        let inside = 0x2001_0db8_0000_0001_0000_0000_0000_0005_u128;
        let back = Tuple4 {
            src: 0xc633_6407,
            dst: 0xcb00_7101,
            sport: 443,
            dport: 2000,
        };
        let mut hot = new_hot(KIND_64, Default::default(), 6, 9, Ticks(0));
        hot.six_four_mut().set(inside, (5000, 443), 3, back);
        assert_eq!(hot.six_four().inside(), inside);
        let number = table.take(hot, new_cold(0, 0, 0, 0, Ticks(0))).unwrap();
        let (out, from_outside) = table.places(table.hot(number).unwrap());
        table.enter(out, number).unwrap();
        table.enter(from_outside.unwrap(), number).unwrap();
        let found = |set, prefix| table.find_64(out, inside, back.src, (5000, 443), 6, (set, prefix));
        assert_eq!(found(9, 3), Some(number));
        assert_eq!((found(9, 4), found(8, 3)), (None, None));
        let place = table.place(&back, 6, Direction::In, 0);
        assert_eq!(table.find(place, &back, 6, Direction::In, 0), Some(number));
        // Its bytes are no tuple from inside, whatever they look like.
        let odd = table.hot(number).unwrap().tuples[0];
        assert!(!table.is(number, &odd, 6, Direction::Out, 9));
    }
}
