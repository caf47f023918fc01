//! IPv6 longest prefix match: one writer, any number of readers without a lock.
//!
//! ```text
//!   root[first 16 bits] -> entry: next hop of the longest prefix of up to 16 bits | child
//!                                                                                     |
//!     group of 16 entries, by the next 4 bits <---------------------------------------'   128 octets, two cache lines
//!       entry: next hop of the longest prefix of 17 to 20 bits | child -> 21 to 24 bits -> ... -> 125 to 128 bits
//! ```
//!
//! A look-up walks down as long as there are children and keeps the last next hop it saw: a route is written into one group
//! only, and what covers it stays where it is. Each entry is one atomic word.
//!
//! Why not `rte_fib6`: in DPDK 22.11 each deletion of a prefix longer than /24 keeps the groups that were reserved for it, so
//! that a table in which routes come and go is full after some thousand changes, with hardly a route in it; and it gives
//! groups to other prefixes while look-ups may still be inside. Here groups are counted exactly, and one that became empty
//! rests before it is used again: a look-up inside it finds nothing more specific, which is right.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::next_hop::NEXT_HOP_NO_ROUTE;

/// Bits the root resolves.
const ROOT_BITS: u32 = 16;
/// Bits each group resolves.
const GROUP_BITS: u32 = 4;
/// Entries of a group.
const WIDTH: usize = 1 << GROUP_BITS;
/// How long a freed group rests: longer than any look-up takes, even one on a core that has other work. Would one last longer,
/// its answer could be another prefix's, until the change is published and it is asked again.
const REST: Duration = Duration::from_millis(100);

/// Octets of a group.
pub const GROUP_BYTES: usize = size_of::<Group>();

/// Entry: next hop 0..16, prefix length + 1 16..24 (0: no next hop), child group 32..64 (0: none).
const LENGTH_SHIFT: u32 = 16;
const CHILD_SHIFT: u32 = 32;
const OWN: u64 = (1 << CHILD_SHIFT) - 1;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Group([AtomicU64; WIDTH]);

#[derive(Debug)]
struct Table {
    root: Box<[AtomicU64]>,
    /// The first is nobody's: child 0 is none.
    groups: Box<[Group]>,
}

impl Table {
    /// The entry for an address in a group, whose last bit is bit `shift` of the address; group 0 is the root.
    #[inline(always)]
    fn entry(&self, group: u32, address: u128, shift: u32) -> Option<&AtomicU64> {
        if group == 0 {
            return self.root.get((address >> (128 - ROOT_BITS)) as usize);
        }
        let group = self.groups.get(group as usize)?;
        Some(&group.0[(address >> shift) as usize % WIDTH])
    }
}

/// Looks up, from any thread.
#[derive(Clone, Debug)]
pub struct Lpm6Reader(Arc<Table>);

impl Lpm6Reader {
    /// The next hop of the longest prefix that covers `address`, or [`NEXT_HOP_NO_ROUTE`].
    #[inline]
    #[must_use]
    pub fn lookup(&self, address: u128) -> u16 {
        let mut best = NEXT_HOP_NO_ROUTE;
        let mut shift = 128 - ROOT_BITS;
        let mut entry = self.0.entry(0, address, shift);
        while let Some(cell) = entry {
            let value = cell.load(Ordering::Acquire);
            let next_hop = value as u16;
            if next_hop != NEXT_HOP_NO_ROUTE {
                best = next_hop;
            }
            let child = (value >> CHILD_SHIFT) as u32;
            if child == 0 || shift == 0 {
                break;
            }
            shift -= GROUP_BITS;
            entry = self.0.entry(child, address, shift);
        }
        best
    }
}

/// There are not groups enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the IPv6 table is full: {used} groups are in use")]
pub struct Full {
    /// Groups in use.
    pub used: usize,
    /// When enough have rested, if there will be.
    pub later: Option<Duration>,
}

/// The table's one writer.
#[derive(Debug)]
pub struct Lpm6 {
    table: Arc<Table>,
    /// First group never used yet.
    unused: u32,
    /// Empty groups, and since when, oldest first.
    resting: VecDeque<(Instant, u32)>,
}

/// Where an entry is: its group (0: the root), and the bit of the address the group ends with.
type Level = (u32, u32);

impl Lpm6 {
    /// A table without routes that may take up to `groups` groups, whose memory it takes now. A prefix of n bits needs
    /// (n - 16) / 4 of them, rounded up, less those that it shares with others.
    #[must_use]
    pub fn new(groups: u32) -> Self {
        Self {
            table: Arc::new(Table {
                root: (0..1 << ROOT_BITS).map(|_| AtomicU64::new(0)).collect(),
                groups: (0..=groups).map(|_| Group::default()).collect(),
            }),
            unused: 1,
            resting: VecDeque::new(),
        }
    }

    /// A reader.
    #[must_use]
    pub fn reader(&self) -> Lpm6Reader {
        Lpm6Reader(Arc::clone(&self.table))
    }

    /// Groups there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.table.groups.len() - 1
    }

    /// Groups in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.unused as usize - 1 - self.resting.len()
    }

    /// Adds a route, or changes its next hop. Bits of `network` behind `length` (0 to 128; more is as 128) do not matter.
    ///
    /// # Errors
    /// [`Full`]; the table is then as it was.
    pub fn set(&mut self, network: u128, length: u8, next_hop: u16, now: Instant) -> Result<(), Full> {
        let length = length.min(128);
        let (group, shift) = self.path(network, length, now)?;
        for cell in self.covered(group, shift, network, length) {
            let value = cell.load(Ordering::Relaxed);
            if length_of(value) <= u64::from(length) + 1 {
                cell.store(value & !OWN | own(next_hop, length), Ordering::Release);
            }
        }
        Ok(())
    }

    /// Takes a route out. `others` tells the next hop of the routes that stay, by network and length.
    pub fn remove(
        &mut self,
        network: u128,
        length: u8,
        others: impl Fn(u128, u8) -> Option<u16>,
        now: Instant,
    ) {
        let length = length.min(128);
        let levels = self.existing(network, length);
        let Some(&(group, shift)) = levels.last() else {
            return;
        };
        if shift > 128 - u32::from(length) {
            return;
        }
        // Within a group, what covers it is a shorter prefix of the same group; groups above speak for themselves.
        let shortest = if group == 0 {
            0
        } else {
            (128 - shift - GROUP_BITS) as u8 + 1
        };
        let heir = (shortest..length)
            .rev()
            .find_map(|length| others(masked(network, length), length).map(|n| own(n, length)));
        for cell in self.covered(group, shift, network, length) {
            let value = cell.load(Ordering::Relaxed);
            if length_of(value) == u64::from(length) + 1 {
                cell.store(value & !OWN | heir.unwrap_or(0), Ordering::Release);
            }
        }
        self.prune(network, &levels, now);
    }

    /// The groups from the root towards a prefix's that are there.
    fn existing(&self, network: u128, length: u8) -> Vec<Level> {
        let mut levels = vec![(0, 128 - ROOT_BITS)];
        while let Some(&(group, shift)) = levels.last()
            && shift > 128 - u32::from(length)
        {
            let child = self
                .table
                .entry(group, network, shift)
                .map_or(0, |cell| (cell.load(Ordering::Relaxed) >> CHILD_SHIFT) as u32);
            if child == 0 {
                break;
            }
            levels.push((child, shift - GROUP_BITS));
        }
        levels
    }

    /// The group of a prefix, made with those above it when there is none.
    fn path(&mut self, network: u128, length: u8, now: Instant) -> Result<Level, Full> {
        let end = 128 - u32::from(length);
        let (mut group, mut shift) = *self
            .existing(network, length)
            .last()
            .unwrap_or(&(0, 128 - ROOT_BITS));
        let missing = shift.saturating_sub(end).div_ceil(GROUP_BITS) as usize;
        let never = self.table.groups.len() - self.unused as usize;
        if let Some(last) = missing.checked_sub(never + 1) {
            let rest = self.resting.get(last).map(|(since, _)| left(*since, now));
            if rest != Some(Duration::ZERO) {
                let (used, later) = (self.used(), rest);
                return Err(Full { used, later });
            }
        }
        while shift > end {
            let child = match self.resting.front() {
                Some(&(since, child)) if left(since, now).is_zero() => {
                    self.resting.pop_front();
                    child
                }
                _ => {
                    self.unused += 1;
                    self.unused - 1
                }
            };
            // Empty groups are all zeros: look-ups may enter at once.
            if let Some(cell) = self.table.entry(group, network, shift) {
                let value = cell.load(Ordering::Relaxed);
                cell.store(value | u64::from(child) << CHILD_SHIFT, Ordering::Release);
            }
            (group, shift) = (child, shift - GROUP_BITS);
        }
        Ok((group, shift))
    }

    /// The entries of a group that a prefix covers.
    fn covered(&self, group: u32, shift: u32, network: u128, length: u8) -> &[AtomicU64] {
        let (cells, bits) = match self.table.groups.get(group as usize) {
            Some(found) if group != 0 => (&found.0[..], GROUP_BITS),
            _ => (&self.table.root[..], ROOT_BITS),
        };
        let count = 1usize << (128 - u32::from(length)).saturating_sub(shift).min(bits);
        let at = (network >> shift) as usize % cells.len() / count * count;
        cells.get(at..at + count).unwrap_or(&[])
    }

    /// Takes the empty groups at the end of a path away.
    fn prune(&mut self, network: u128, levels: &[Level], now: Instant) {
        for pair in levels.windows(2).rev() {
            let &[(parent, shift), (child, _)] = pair else {
                return;
            };
            let Some(group) = self.table.groups.get(child as usize) else {
                return;
            };
            if group.0.iter().any(|cell| cell.load(Ordering::Relaxed) != 0) {
                return;
            }
            if let Some(cell) = self.table.entry(parent, network, shift) {
                let value = cell.load(Ordering::Relaxed);
                cell.store(value & OWN, Ordering::Release);
            }
            self.resting.push_back((now, child));
        }
    }
}

/// How long a group freed at `since` still rests.
fn left(since: Instant, now: Instant) -> Duration {
    REST.saturating_sub(now.saturating_duration_since(since))
}

fn own(next_hop: u16, length: u8) -> u64 {
    u64::from(next_hop) | (u64::from(length) + 1) << LENGTH_SHIFT
}

/// Prefix length + 1 of an entry's next hop.
fn length_of(value: u64) -> u64 {
    value >> LENGTH_SHIFT & 0xff
}

/// The network of an address.
#[must_use]
pub fn masked(address: u128, length: u8) -> u128 {
    address
        & u128::MAX
            .checked_shl(128 - u32::from(length.min(128)))
            .unwrap_or(0)
}

#[cfg(test)]
mod tests;
