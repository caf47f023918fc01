//! Neighbours by interface and address, for destinations on the link: written by one thread, read by all without a lock.
//!
//! Open addressing with linear probing, a table for each family. IPv4's slots hold the key, one word. IPv6's hold the next-hop
//! number alone, whose entry says of which interface and address it is: a number keeps its meaning while anybody may hold it.
//! Slots of removed neighbours are used again, and freed where a chain ends with them: a link on which hosts come and go for
//! years must not make look-ups long.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use tandem_engine::program::InterfaceId;

/// Slots of IPv4's table.
const SLOTS: usize = 1 << 16;
/// IPv4 neighbours there can be: half of the slots, so that look-ups stay short.
pub(crate) const NEIGHBOURS_MAX: usize = SLOTS / 2;
/// Slots of IPv6's table.
const SLOTS6: usize = 1 << 15;
/// IPv6 neighbours there can be, likewise. Both families at their most leave numbers to routes.
pub(crate) const NEIGHBOURS6_MAX: usize = SLOTS6 / 2;

/// IPv4 neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// 0: free.
    keys: Box<[AtomicU64]>,
    /// 0: removed.
    values: Box<[AtomicU16]>,
}

fn key(interface: InterfaceId, address: u32) -> u64 {
    1 << 63 | u64::from(interface) << 32 | u64::from(address)
}

fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % SLOTS
}

impl Default for Neighbours {
    fn default() -> Self {
        Self {
            keys: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            values: (0..SLOTS).map(|_| AtomicU16::new(0)).collect(),
        }
    }
}

impl Neighbours {
    /// The number of a neighbour.
    #[inline]
    pub(crate) fn find(&self, interface: InterfaceId, address: u32) -> Option<u16> {
        let key = key(interface, address);
        let mut at = slot(key);
        for _ in 0..SLOTS {
            match self.keys[at].load(Ordering::Acquire) {
                0 => return None,
                k if k == key => {
                    let value = self.values[at].load(Ordering::Acquire);
                    // The slot may have become another neighbour's meanwhile: its key is written before its value.
                    let same = self.keys[at].load(Ordering::Acquire) == key;
                    return (same && value != 0).then_some(value);
                }
                _ => at = (at + 1) % SLOTS,
            }
        }
        None
    }

    /// Enters or removes (`None`) a neighbour; false when there is no slot.
    pub(crate) fn set(&self, interface: InterfaceId, address: u32, number: Option<u16>) -> bool {
        let key = key(interface, address);
        let mut at = slot(key);
        let mut free = None;
        for _ in 0..SLOTS {
            let found = self.keys[at].load(Ordering::Acquire);
            if found == key {
                self.values[at].store(number.unwrap_or(0), Ordering::Release);
                if number.is_none() {
                    self.free_slots_before(at);
                }
                return true;
            }
            if free.is_none() && (found == 0 || self.values[at].load(Ordering::Acquire) == 0) {
                free = Some(at);
            }
            if found == 0 {
                break;
            }
            at = (at + 1) % SLOTS;
        }
        let Some(number) = number else { return true };
        let Some(at) = free else { return false };
        self.keys[at].store(key, Ordering::Release);
        self.values[at].store(number, Ordering::Release);
        true
    }

    /// Frees unused slots from `at` backwards when the chain ends behind it: no look-up goes further than there.
    fn free_slots_before(&self, mut at: usize) {
        let key = |at: usize| self.keys[at].load(Ordering::Acquire);
        if key((at + 1) % SLOTS) != 0 {
            return;
        }
        while key(at) != 0 && self.values[at].load(Ordering::Acquire) == 0 {
            self.keys[at].store(0, Ordering::Release);
            at = (at + SLOTS - 1) % SLOTS;
        }
    }
}

/// A slot never used since the last chain through it ended.
const FREE: u16 = 0;
/// A slot whose neighbour was removed, within a chain. No neighbour has this number: it stands for the kernel.
const REMOVED: u16 = 1;

/// IPv6 neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours6 {
    numbers: Box<[AtomicU16]>,
    /// Keyed: hosts choose 64 bits of their addresses, and shall not choose their slots.
    hash: ahash::RandomState,
}

impl Default for Neighbours6 {
    fn default() -> Self {
        Self {
            numbers: (0..SLOTS6).map(|_| AtomicU16::new(FREE)).collect(),
            hash: ahash::RandomState::new(),
        }
    }
}

impl Neighbours6 {
    #[inline]
    fn slot(&self, interface: InterfaceId, address: u128) -> usize {
        self.hash.hash_one((interface, address)) as usize % SLOTS6
    }

    /// The number of a neighbour; `is` tells whether a number is that of this interface and address.
    #[inline]
    pub(crate) fn find(
        &self,
        interface: InterfaceId,
        address: u128,
        is: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let mut at = self.slot(interface, address);
        for _ in 0..SLOTS6 {
            match self.numbers[at].load(Ordering::Acquire) {
                FREE => return None,
                number if number != REMOVED && is(number) => return Some(number),
                _ => at = (at + 1) % SLOTS6,
            }
        }
        None
    }

    /// Enters a neighbour that is not there; false when there is no slot.
    pub(crate) fn insert(&self, interface: InterfaceId, address: u128, number: u16) -> bool {
        let mut at = self.slot(interface, address);
        for _ in 0..SLOTS6 {
            if self.numbers[at].load(Ordering::Acquire) <= REMOVED {
                self.numbers[at].store(number, Ordering::Release);
                return true;
            }
            at = (at + 1) % SLOTS6;
        }
        false
    }

    /// Removes a neighbour by its number, which nobody else has.
    pub(crate) fn remove(&self, interface: InterfaceId, address: u128, number: u16) {
        let mut at = self.slot(interface, address);
        for _ in 0..SLOTS6 {
            match self.numbers[at].load(Ordering::Acquire) {
                FREE => return,
                found if found == number => break,
                _ => at = (at + 1) % SLOTS6,
            }
        }
        let of = |at: usize| self.numbers[at].load(Ordering::Acquire);
        if of(at) != number {
            return;
        }
        self.numbers[at].store(REMOVED, Ordering::Release);
        if of((at + 1) % SLOTS6) != FREE {
            return;
        }
        while of(at) == REMOVED {
            self.numbers[at].store(FREE, Ordering::Release);
            at = (at + SLOTS6 - 1) % SLOTS6;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::*;

    #[test]
    fn neighbours_come_and_go_without_filling_the_table() {
        let table = Neighbours::default();
        let mut known = VecDeque::new();
        for i in 0..300_000u32 {
            let address = i.wrapping_mul(0x9E37_79B1);
            let number = 5 + (i % 1000) as u16;
            assert!(table.set(3, address, Some(number)));
            known.push_back((address, number));
            if known.len() > 500 {
                // Not in the order they came: the oldest, or one from the middle.
                let gone = known.remove(i as usize % 2 * 250).expect("one of them");
                assert!(table.set(3, gone.0, None));
                assert_eq!(table.find(3, gone.0), None);
            }
            if i % 10_000 == 0 {
                assert!(known.iter().all(|(a, n)| table.find(3, *a) == Some(*n)));
            }
        }
        let taken = table.keys.iter().filter(|k| k.load(Ordering::Relaxed) != 0);
        let taken = taken.count();
        assert!((500..1000).contains(&taken), "{taken} slots for 500 neighbours");
    }

    #[test]
    fn ipv6_neighbours_come_and_go_likewise() {
        let table = Neighbours6::default();
        let mut known = VecDeque::new();
        // What the entries of the numbers say.
        let mut meaning: HashMap<u16, (InterfaceId, u128)> = HashMap::new();
        let find = |meaning: &HashMap<u16, (InterfaceId, u128)>, interface, address| {
            table.find(interface, address, |n| {
                meaning.get(&n) == Some(&(interface, address))
            })
        };
        for i in 0..300_000u32 {
            let address = 0xfe80 << 112 | u128::from(i.wrapping_mul(0x9E37_79B1)) << 20;
            let (interface, number) = ((i % 3) as u16, 5 + (i % 1000) as u16);
            assert_eq!(find(&meaning, interface, address), None);
            assert!(table.insert(interface, address, number));
            meaning.insert(number, (interface, address));
            known.push_back((interface, address, number));
            if known.len() > 500 {
                let gone = known.remove(i as usize % 2 * 250).expect("one of them");
                table.remove(gone.0, gone.1, gone.2);
                assert_eq!(find(&meaning, gone.0, gone.1), None);
            }
            if i % 10_000 == 0 {
                assert!(known.iter().all(|(i, a, n)| find(&meaning, *i, *a) == Some(*n)));
            }
        }
        let taken = table.numbers.iter().filter(|n| n.load(Ordering::Relaxed) != FREE);
        let taken = taken.count();
        assert!((500..1000).contains(&taken), "{taken} slots for 500 neighbours");
    }

    #[test]
    fn a_full_ipv6_table_says_so_and_still_answers() {
        let table = Neighbours6::default();
        for i in 0..SLOTS6 as u32 {
            assert!(table.insert(1, u128::from(i), 2 + i as u16));
        }
        assert!(!table.insert(1, 1 << 100, 60_000));
        assert_eq!(table.find(1, 1 << 100, |_| false), None);
        assert_eq!(table.find(1, 77, |n| n == 79), Some(79));
    }
}
