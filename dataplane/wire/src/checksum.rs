//! The Internet checksum: RFC 1071 sums over slices, pseudo headers, and RFC 1624 incremental updates.
//!
//! Two results of one's complement arithmetic are both "zero": 0x0000 and 0xffff. A sender that computes over
//! data with at least one set bit always stores 0x0000 (UDP then writes 0xffff, since 0 means "none"), and
//! stores 0xffff only over data that is all zeros. An IPv4 header and a pseudo header are never all zeros, so
//! [`Delta`] always produces the first form, and equals a full recomputation bit for bit. An ICMP message has no
//! pseudo header and can be all zeros: [`crate::icmp::set_query_id`] handles that one case.
//!
//! An update moves a checksum along with the data: a packet that arrives with a wrong checksum leaves with a
//! wrong one (no silent repair).

/// Folds a sum of 16-bit words into 16 bits, end-around carries included. Zero only for a sum of zero.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    // Adding a word to itself with its halves swapped leaves, in the upper half, the sum of both halves and the
    // carry out of the lower one: one end-around fold.
    let half = (sum.wrapping_add(sum.rotate_right(32)) >> 32) as u32;
    (half.wrapping_add(half.rotate_right(16)) >> 16) as u16
}

/// Sum of the 16-bit words of `data` in the machine's own byte order; an odd last byte is padded with zero.
///
/// The sum does not depend on the byte order except that the result is swapped (RFC 1071, 2 (B)), and 32-bit
/// words may be added as they are, because 2^16 is 1 modulo 0xffff.
#[inline]
fn native_sum(data: &[u8]) -> u64 {
    let (words, tail) = data.as_chunks::<4>();
    let mut sum = 0u64;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0u8; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    sum + u64::from(u32::from_ne_bytes(last))
}

/// A running sum. Slices of odd length may only come last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    #[inline(always)]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds the 16-bit words of a slice; an odd last byte counts as if followed by a zero byte.
    #[inline]
    #[must_use]
    pub fn slice(self, data: &[u8]) -> Self {
        Self(self.0 + u64::from(u16::from_be(fold(native_sum(data)))))
    }

    /// Adds one 16-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn u16(self, value: u16) -> Self {
        Self(self.0 + value as u64)
    }

    /// Adds two 16-bit words held in a `u32`.
    #[inline(always)]
    #[must_use]
    pub const fn u32(self, value: u32) -> Self {
        Self(self.0 + value as u64)
    }

    /// Adds eight 16-bit words held in a `u128` (an IPv6 address).
    #[inline(always)]
    #[must_use]
    pub const fn u128(self, value: u128) -> Self {
        self.u32(value as u32)
            .u32((value >> 32) as u32)
            .u32((value >> 64) as u32)
            .u32((value >> 96) as u32)
    }

    /// The checksum to store: the complement of the folded sum.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }

    /// The checksum to store in a UDP header, where a computed 0 is sent as 0xffff (RFC 768).
    #[inline(always)]
    #[must_use]
    pub const fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            c => c,
        }
    }

    /// Whether data that includes its checksum field sums up right.
    #[inline(always)]
    #[must_use]
    pub const fn is_valid(self) -> bool {
        fold(self.0) == 0xffff
    }
}

/// The checksum of `data` (RFC 1071). The checksum field inside, if any, must be zero.
#[inline]
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::new().slice(data).finish()
}

/// Whether `data`, checksum field included, sums up right. For IPv4 headers and ICMPv4 messages.
#[inline]
#[must_use]
pub fn is_valid(data: &[u8]) -> bool {
    Sum::new().slice(data).is_valid()
}

/// The IPv4 pseudo header of TCP and UDP (RFC 9293, 3.1). `len`: octets of the L4 header and payload.
#[inline(always)]
#[must_use]
pub const fn pseudo_v4(src: u32, dst: u32, protocol: u8, len: u16) -> Sum {
    Sum::new().u32(src).u32(dst).u16(protocol as u16).u16(len)
}

/// The IPv6 pseudo header (RFC 8200, 8.1). `len`: octets of the upper-layer packet.
#[inline(always)]
#[must_use]
pub const fn pseudo_v6(src: u128, dst: u128, next_header: u8, len: u32) -> Sum {
    Sum::new().u128(src).u128(dst).u32(len).u16(next_header as u16)
}

/// What a change of fields does to a checksum (RFC 1624, equation 3).
///
/// ```
/// use tandem_wire::checksum::{Delta, checksum};
/// let (old, new) = ([0x45u8, 0, 0x12, 0x34], [0x45u8, 0, 0xab, 0xcd]);
/// let delta = Delta::new().replace_u16(0x1234, 0xabcd);
/// assert_eq!(delta.apply(checksum(&old)), checksum(&new));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta(u64);

impl Default for Delta {
    #[inline(always)]
    fn default() -> Self {
        Self::new()
    }
}

impl Delta {
    /// No change. It starts at 0xffff, the other zero, so that the folded result is never 0 and `apply` never
    /// returns 0xffff: the form a full computation has.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(0xffff)
    }

    /// A 16-bit field at an even offset changes.
    #[inline(always)]
    #[must_use]
    pub const fn replace_u16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A 32-bit field at an even offset changes.
    #[inline(always)]
    #[must_use]
    pub const fn replace_u32(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A 128-bit field at an even offset changes (an IPv6 address).
    #[inline(always)]
    #[must_use]
    pub const fn replace_u128(self, old: u128, new: u128) -> Self {
        self.replace_u32(old as u32, new as u32)
            .replace_u32((old >> 32) as u32, (new >> 32) as u32)
            .replace_u32((old >> 64) as u32, (new >> 64) as u32)
            .replace_u32((old >> 96) as u32, (new >> 96) as u32)
    }

    /// Words that were not there before (an IPv6 address for an IPv4 one: remove one, add the other).
    #[inline(always)]
    #[must_use]
    pub const fn add(self, new: Sum) -> Self {
        Self(self.0 + fold(new.0) as u64)
    }

    /// Words that are there no more.
    #[inline(always)]
    #[must_use]
    pub const fn remove(self, old: Sum) -> Self {
        Self(self.0 + !fold(old.0) as u64)
    }

    /// The change in 16 bits, to store in a session. Never 0.
    #[inline(always)]
    #[must_use]
    pub const fn to_u16(self) -> u16 {
        fold(self.0)
    }

    /// A stored change. 0 is taken as "no change".
    #[inline(always)]
    #[must_use]
    pub const fn from_u16(stored: u16) -> Self {
        Self(0xffff + stored as u64)
    }

    /// Both changes, one after the other.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + fold(other.0) as u64)
    }

    /// The new checksum for an old one, for IPv4, TCP, ICMPv6 and the like.
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + (!checksum) as u64)
    }

    /// The new checksum of a UDP header: 0 (none) stays 0, a computed 0 becomes 0xffff (RFC 768).
    #[inline(always)]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            c => c,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word, to compare with.
    fn slow(data: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in data.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn rfc1071_example() {
        assert_eq!(
            !checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            0xddf2
        );
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0; 20]), 0xffff);
        assert_eq!(checksum(&[0xff; 7]), slow(&[0xff; 7]));
        assert_eq!(checksum(&[0xff; 65536]), 0);
    }

    #[test]
    fn rfc1624_example() {
        // Section 4: with equation 3 the result is 0x0000, where RFC 1141 gave 0xffff.
        assert_eq!(Delta::new().replace_u16(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn fold_at_the_limits() {
        for sum in [
            0,
            1,
            0xffff,
            0x1_0000,
            0xffff_ffff,
            u64::MAX,
            u64::MAX - 1,
            0xffff_0000_0000_0000,
        ] {
            let exact = match sum % 0xffff {
                0 if sum != 0 => 0xffff,
                m => m as u16,
            };
            assert_eq!(fold(sum), exact, "{sum:#x}");
        }
    }

    #[test]
    fn udp_zero_rules() {
        assert_eq!(Delta::new().replace_u16(1, 2).apply_udp(0), 0);
        // ~0xfffe = 1; taking the 1 away leaves a sum of zero, sent as 0xffff.
        assert_eq!(Delta::new().replace_u16(1, 0).apply_udp(0xfffe), 0xffff);
        assert_eq!(Delta::new().replace_u16(1, 0).apply(0xfffe), 0);
        // 0xffff is the written form of 0 and moves on like it.
        assert_eq!(
            Delta::new().replace_u16(7, 9).apply_udp(0xffff),
            Delta::new().replace_u16(7, 9).apply(0x0000)
        );
    }

    #[test]
    fn every_old_and_edge_new_word() {
        // Exhaustive in one word against edge values: the 0x0000/0xffff corners cannot hide.
        for old in 0..=u16::MAX {
            for new in [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, old, !old] {
                for rest in [1u16, 0xfffe, 0xffff] {
                    let before = Sum::new().u16(old).u16(rest).finish();
                    let after = Sum::new().u16(new).u16(rest).finish();
                    let delta = Delta::new().replace_u16(old, new);
                    assert_eq!(delta.apply(before), after);
                    assert_ne!(delta.to_u16(), 0);
                    if before == 0 {
                        // What a sender writes that computes its own checksum the RFC 1141 way.
                        assert_eq!(delta.apply(0xffff), after);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn fast_equals_slow(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(checksum(&data), slow(&data));
        }

        #[test]
        fn split_sums(mut a in proptest::collection::vec(any::<u8>(), 0..60), b in proptest::collection::vec(any::<u8>(), 0..60)) {
            if a.len() % 2 == 1 { a.pop(); }
            let split = Sum::new().slice(&a).slice(&b).finish();
            a.extend_from_slice(&b);
            prop_assert_eq!(split, checksum(&a));
        }

        #[test]
        fn incremental_equals_full(
            mut data in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 24..80),
            new16 in prop_oneof![Just(0u16), Just(0xffff), any::<u16>()],
            new32 in prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>()],
            new128 in any::<u128>(),
        ) {
            data[0] = 0x45; // as in every IPv4 header: never all zeros
            let before = checksum(&data);
            let old16 = u16::from_be_bytes([data[2], data[3]]);
            let old32 = u32::from_be_bytes([data[4], data[5], data[6], data[7]]);
            let old128 = u128::from_be_bytes(*data[8..].first_chunk().unwrap());
            data[2..4].copy_from_slice(&new16.to_be_bytes());
            data[4..8].copy_from_slice(&new32.to_be_bytes());
            data[8..24].copy_from_slice(&new128.to_be_bytes());
            let delta = Delta::new().replace_u16(old16, new16).replace_u32(old32, new32).replace_u128(old128, new128);
            prop_assert_eq!(delta.apply(before), checksum(&data));
            prop_assert_eq!(Delta::from_u16(delta.to_u16()).apply(before), checksum(&data));
            let swap = Delta::new().remove(Sum::new().u16(old16).u32(old32)).add(Sum::new().u16(new16).u32(new32));
            prop_assert_eq!(swap.and(Delta::new().replace_u128(old128, new128)).apply(before), checksum(&data));
        }

        #[test]
        fn pseudo_headers(src in any::<u32>(), dst in any::<u32>(), s6 in any::<u128>(), d6 in any::<u128>(), proto in any::<u8>(), len in any::<u16>()) {
            let mut v4 = [0u8; 12];
            v4[..4].copy_from_slice(&src.to_be_bytes());
            v4[4..8].copy_from_slice(&dst.to_be_bytes());
            v4[9] = proto;
            v4[10..].copy_from_slice(&len.to_be_bytes());
            prop_assert_eq!(pseudo_v4(src, dst, proto, len).finish(), checksum(&v4));
            let mut v6 = [0u8; 40];
            v6[..16].copy_from_slice(&s6.to_be_bytes());
            v6[16..32].copy_from_slice(&d6.to_be_bytes());
            v6[32..36].copy_from_slice(&u32::from(len).to_be_bytes());
            v6[39] = proto;
            prop_assert_eq!(pseudo_v6(s6, d6, proto, u32::from(len)).finish(), checksum(&v6));
        }
    }
}
