//! Address ranges of policies as the prefixes that a trie holds.
//!
//! ```text
//!   ranges -> in order, merged where they touch -> prefixes of 128 bits -> IPv4 ones: those under ::ffff:0:0/96
//! ```
//!
//! A range becomes at most 254 prefixes (62 in IPv4), one if it is a prefix, two if it lacks its first or last address.

/// Where IPv4 addresses are among those of 128 bits: `::ffff:0:0/96`.
const V4_FIRST: u128 = 0xffff << 32;
const V4_LAST: u128 = V4_FIRST | 0xffff_ffff;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The first of them.
    pub(super) first: u128,
    /// Bits alike, 0 to 128.
    pub(super) length: u8,
}

impl Prefix {
    /// Whether all of its addresses are IPv4.
    pub(super) fn is_v4(&self) -> bool {
        self.length >= 96 && is_v4(self.first)
    }
}

/// Whether an address is IPv4.
#[inline]
pub(super) fn is_v4(address: u128) -> bool {
    address >> 32 == 0xffff
}

/// What a list of a policy means, in order, without overlaps and gaps between ranges that touch: everything when it is empty,
/// nothing of a range whose last address comes before its first.
pub(super) fn merged(list: &[(u128, u128)]) -> Vec<(u128, u128)> {
    if list.is_empty() {
        return vec![(0, u128::MAX)];
    }
    let mut ranges: Vec<_> = list.iter().copied().filter(|r| r.0 <= r.1).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.0 <= last.1.saturating_add(1) => last.1 = last.1.max(range.1),
            _ => merged.push(range),
        }
    }
    merged
}

/// The IPv4 addresses of merged ranges, as prefixes of 128 bits: lengths are 96 and more.
pub(super) fn prefixes4(ranges: &[(u128, u128)]) -> Vec<Prefix> {
    let clipped = ranges
        .iter()
        .map(|r| (r.0.max(V4_FIRST), r.1.min(V4_LAST)))
        .filter(|r| r.0 <= r.1);
    clipped.flat_map(split).collect()
}

/// All addresses of merged ranges as prefixes.
pub(super) fn prefixes(ranges: &[(u128, u128)]) -> Vec<Prefix> {
    ranges.iter().copied().flat_map(split).collect()
}

/// A range as the fewest prefixes: each time the largest that begins at its first address and stays inside.
fn split((first, last): (u128, u128)) -> impl Iterator<Item = Prefix> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let first = next.filter(|&first| first <= last)?;
        // Bits that may be free: as many as the address has zeros at its end, and no more than the range has addresses.
        let aligned = first.trailing_zeros();
        let room = match (last - first).checked_add(1) {
            Some(addresses) => addresses.ilog2(),
            None => 128,
        };
        let free = aligned.min(room);
        let size = 1u128.checked_shl(free);
        next = size.and_then(|size| first.checked_add(size));
        Some(Prefix {
            first,
            length: (128 - free) as u8,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(prefix: &Prefix) -> u128 {
        prefix.first | u128::MAX.checked_shr(prefix.length.into()).unwrap_or(0)
    }

    /// Put together again, prefixes are the range they came from, in order and without overlap.
    fn check(first: u128, last_address: u128) -> usize {
        let prefixes = prefixes(&[(first, last_address)]);
        let mut next = Some(first);
        for prefix in &prefixes {
            assert_eq!(Some(prefix.first), next);
            let mask = u128::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
            assert_eq!(prefix.first & mask, 0, "aligned");
            next = last(prefix).checked_add(1);
        }
        assert_eq!(next, last_address.checked_add(1));
        prefixes.len()
    }

    #[test]
    fn ranges_are_split_at_every_border() {
        let max = u128::MAX;
        assert_eq!(check(0, max), 1);
        assert_eq!(check(1, max - 1), 254);
        assert_eq!(check(0, max - 1), 128);
        assert_eq!(check(1, max), 128);
        assert_eq!(check(max, max), 1);
        assert_eq!(check(0, 0), 1);
        assert_eq!(check(max / 2, max / 2 + 1), 2);
        assert_eq!(check(5, 5), 1);
        assert_eq!(check(V4_FIRST, V4_LAST), 1);
        assert_eq!(check(V4_FIRST + 1, V4_LAST - 1), 62);
    }

    #[test]
    fn lists_are_merged() {
        let max = u128::MAX;
        assert_eq!(merged(&[]), [(0, max)]);
        assert_eq!(merged(&[(7, 3)]), []);
        assert_eq!(
            merged(&[(20, 30), (4, 5), (1, 3), (25, 26), (32, 40)]),
            [(1, 5), (20, 30), (32, 40)]
        );
        assert_eq!(merged(&[(5, max), (9, 9)]), [(5, max)]);
    }

    #[test]
    fn the_ipv4_part_is_cut_out() {
        assert_eq!(
            prefixes4(&[(0, u128::MAX)]),
            [Prefix {
                first: V4_FIRST,
                length: 96
            }]
        );
        assert_eq!(prefixes4(&[(0, V4_FIRST - 1), (V4_LAST + 1, u128::MAX)]), []);
        let edge = prefixes4(&[(0, V4_FIRST), (V4_LAST, u128::MAX)]);
        assert_eq!(edge.len(), 2);
        assert!(edge.iter().all(|p| p.is_v4() && p.length == 128));
        assert!(!prefixes(&[(0, u128::MAX)])[0].is_v4());
    }
}
