//! Rectangles of addresses and ports, apart from each other, and which of them a point lies in.
//!
//! An address range is cut into aligned prefixes. Prefixes of one length, sorted with their ports, are searched by halving;
//! lengths that do not occur cost nothing. One prefix contains another or they are apart, so a rectangle that overlaps
//! another is found by looking its prefixes' parents up.
//!
//! ```text
//!   groups:  (scope, class, host bits) -> a run of entries
//!   entries: (prefix, first port, last port) -> number of the rectangle
//! ```

/// A rectangle of a scope and class. Of different scopes or classes none overlap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cover {
    pub scope: u16,
    pub class: u16,
    /// First address. The range has at most 2^32.
    pub first: u128,
    /// Last address, inclusive.
    pub last: u128,
    /// First and last port, inclusive.
    pub ports: (u16, u16),
    /// What a search returns.
    pub number: u32,
}

/// Two rectangles that overlap, and the lowest point both have of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub first: u32,
    pub second: u32,
    pub class: u16,
    pub address: u128,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Address without its host bits.
    prefix: u128,
    first_port: u16,
    last_port: u16,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    scope: u16,
    class: u16,
    host_bits: u8,
    start: usize,
    end: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeIndex {
    groups: Vec<Group>,
    entries: Vec<Entry>,
}

/// Cuts a range into aligned prefixes: (host bits, prefix).
fn prefixes(mut first: u128, last: u128) -> impl Iterator<Item = (u8, u128)> {
    let mut done = first > last;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let count = (last - first).saturating_add(1);
        let host_bits = first.trailing_zeros().min(count.ilog2());
        let prefix = first >> host_bits;
        let end = first | ((1u128 << host_bits) - 1);
        done = end >= last;
        first = end.saturating_add(1);
        Some((host_bits as u8, prefix))
    })
}

impl RangeIndex {
    pub(super) fn new(covers: impl Iterator<Item = Cover>) -> Result<Self, Overlap> {
        let mut cut: Vec<((u16, u16, u8), Entry)> = Vec::new();
        for cover in covers {
            cut.extend(prefixes(cover.first, cover.last).map(|(host_bits, prefix)| {
                let entry = Entry {
                    prefix,
                    first_port: cover.ports.0,
                    last_port: cover.ports.1,
                    number: cover.number,
                };
                ((cover.scope, cover.class, host_bits), entry)
            }));
        }
        cut.sort_unstable_by_key(|(group, e)| (*group, e.prefix, e.first_port, e.number));
        let mut index = Self::default();
        for run in cut.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(((scope, class, host_bits), _)) = run.first().copied() else {
                continue;
            };
            let start = index.entries.len();
            index.entries.extend(run.iter().map(|(_, entry)| *entry));
            index.groups.push(Group {
                scope,
                class,
                host_bits,
                start,
                end: index.entries.len(),
            });
        }
        match index.overlap() {
            Some(overlap) => Err(overlap),
            None => Ok(index),
        }
    }

    #[cfg(test)]
    pub(super) fn entries_len(&self) -> usize {
        self.entries.len()
    }

    fn entries(&self, group: &Group) -> &[Entry] {
        self.entries.get(group.start..group.end).unwrap_or_default()
    }

    fn overlap(&self) -> Option<Overlap> {
        for (at, group) in self.groups.iter().enumerate() {
            let entries = self.entries(group);
            let same_prefix = entries
                .windows(2)
                .map(|w| (w[0], w[1]))
                .find(|(a, b)| a.prefix == b.prefix && b.first_port <= a.last_port);
            if let Some((a, b)) = same_prefix {
                return Some(found(group, b, a));
            }
            let wider = self.groups.iter().skip(at + 1);
            for parent in wider.take_while(|g| (g.scope, g.class) == (group.scope, group.class)) {
                for entry in entries {
                    let prefix = entry.prefix >> (parent.host_bits - group.host_bits);
                    let other = last_from(self.entries(parent), prefix, entry.last_port);
                    if let Some(other) = other.filter(|o| o.last_port >= entry.first_port) {
                        return Some(found(group, *entry, *other));
                    }
                }
            }
        }
        None
    }

    /// The number of the rectangle a point lies in.
    #[inline]
    pub(super) fn find(&self, scope: u16, class: u16, address: u128, port: u16) -> Option<u32> {
        let start = self
            .groups
            .partition_point(|g| (g.scope, g.class) < (scope, class));
        self.groups
            .iter()
            .skip(start)
            .take_while(|g| (g.scope, g.class) == (scope, class))
            .find_map(|group| {
                last_from(self.entries(group), address >> group.host_bits, port)
                    .filter(|e| port <= e.last_port)
                    .map(|e| e.number)
            })
    }
}

/// The entry of `prefix` with the largest first port that is not above `port`.
#[inline]
fn last_from(entries: &[Entry], prefix: u128, port: u16) -> Option<&Entry> {
    let after = entries.partition_point(|e| (e.prefix, e.first_port) <= (prefix, port));
    entries.get(after.checked_sub(1)?).filter(|e| e.prefix == prefix)
}

/// `narrow` is of `group` and lies in a prefix of `wide`.
fn found(group: &Group, narrow: Entry, wide: Entry) -> Overlap {
    Overlap {
        first: narrow.number.min(wide.number),
        second: narrow.number.max(wide.number),
        class: group.class,
        address: narrow.prefix << group.host_bits,
        port: narrow.first_port.max(wide.first_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_the_range() {
        for first in 0..70u128 {
            for last in first..70 {
                let cut: Vec<_> = prefixes(first, last).collect();
                let covered: Vec<u128> = cut
                    .iter()
                    .flat_map(|(bits, prefix)| (prefix << bits)..(prefix + 1) << bits)
                    .collect();
                assert_eq!(covered, (first..=last).collect::<Vec<_>>());
                assert!(cut.len() <= 12);
            }
        }
        assert_eq!(prefixes(3, 2).count(), 0);
        assert_eq!(prefixes(0x1_0000, 0x1_ffff).collect::<Vec<_>>(), [(16, 1)]);
        assert_eq!(prefixes(u128::MAX - 1, u128::MAX).count(), 1);
        assert_eq!(
            prefixes(0, u128::from(u32::MAX)).collect::<Vec<_>>(),
            [(32, 0)],
            "every IPv4 address"
        );
    }
}
