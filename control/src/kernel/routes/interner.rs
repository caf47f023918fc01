//! Values stored once and referred to by a 32-bit number, with reference counts.
//!
//! A million BGP routes share a handful of next-hop sets, so a candidate route holds four octets instead of a list.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// A store of distinct values with reference counts; numbers of dead values are used again.
pub(super) struct Interner<T> {
    slots: Vec<Option<(Arc<T>, u32)>>,
    free: Vec<u32>,
    numbers: HashMap<Arc<T>, u32>,
}

impl<T: Hash + Eq> Interner<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// The number of a value, with one reference more. `true`: the value is new.
    pub(super) fn acquire(&mut self, value: T) -> (u32, bool) {
        if let Some(&number) = self.numbers.get(&value) {
            self.retain(number);
            return (number, false);
        }
        let shared = Arc::new(value);
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[number as usize] = Some((Arc::clone(&shared), 1));
        self.numbers.insert(shared, number);
        (number, true)
    }

    /// The number of a value that is already stored; takes no reference.
    pub(super) fn find(&self, value: &T) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    /// One reference more.
    pub(super) fn retain(&mut self, number: u32) {
        if let Some(Some((_, references))) = self.slots.get_mut(number as usize) {
            *references += 1;
        }
    }

    /// One reference less; `true`: that was the last, the value is gone.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let Some(slot) = self.slots.get_mut(number as usize) else {
            return false;
        };
        match slot {
            Some((_, references)) if *references > 1 => {
                *references -= 1;
                false
            }
            Some((value, _)) => {
                self.numbers.remove(value);
                *slot = None;
                self.free.push(number);
                true
            }
            None => false,
        }
    }

    /// The value of a live number.
    pub(super) fn get(&self, number: u32) -> Option<&Arc<T>> {
        self.slots.get(number as usize)?.as_ref().map(|(value, _)| value)
    }

    /// All live values with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<T>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(n, slot)| slot.as_ref().map(|(v, _)| (n as u32, v)))
    }

    /// How many values are stored.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lives_as_long_as_its_references() {
        let mut interner = Interner::new();
        let (a, new) = interner.acquire("a");
        assert!(new);
        assert_eq!(interner.acquire("a"), (a, false));
        assert!(!interner.release(a));
        assert_eq!(interner.get(a).map(|v| **v), Some("a"));
        assert!(interner.release(a));
        assert_eq!(
            (interner.get(a), interner.find(&"a"), interner.len()),
            (None, None, 0)
        );
        let (b, _) = interner.acquire("b");
        assert_eq!(b, a, "the number is used again");
        assert_eq!(interner.iter().count(), 1);
    }
}
