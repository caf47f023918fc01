//! The index: from a hash to the records that may have it, in one cache line.
//!
//! ```text
//!   bucket, 64 bytes:  [ entry x 15 | meta ]      entry = tag : record number     0 = empty
//!   meta: bits 0..16  entries of this home bucket that live in a later bucket
//!         bits 16..24 how far away the farthest was ever put
//! ```
//!
//! A record number takes as many bits as the table needs and the tag takes the rest, so a table of a million records has
//! 11 tag bits and one false candidate in about 180 look-ups. A full bucket spills into the buckets after it; the meta word
//! of the home bucket says whether a miss has to look there. The index stores no keys: the caller compares the record.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::mem::{HugeSlice, OutOfMemory, Pages, prefetch};

const ENTRIES: usize = 15;
/// How far from its home bucket an entry may be put. At 75 % use a run of n full buckets has a chance of about e^(-n/2) per
/// bucket: runs of 16 happen in every large table, runs of 64 in none.
const MAX_DISPLACEMENT: usize = 64;

#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(64))]
struct Bucket {
    entries: [u32; ENTRIES],
    meta: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// No room within reach of the home bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFull;

/// A hash index of 32-bit record numbers.
#[derive(Debug)]
pub struct Index {
    buckets: HugeSlice<Bucket>,
    /// Home buckets; the slice has `MAX_DISPLACEMENT` more for the last ones to spill into.
    homes: u32,
    number_bits: u32,
    len: u32,
}

/// Where a key lives: its home bucket and its tag.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    bucket: u32,
    tag: u32,
}

/// Candidates of a look-up in one bucket, as a bit per entry.
#[derive(Clone, Copy, Debug)]
pub struct Candidates(u32);

impl Index {
    /// An index for `records` records of numbers below `numbers`, each entered up to `records / numbers` times.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(records: usize, numbers: u32, what: &'static str) -> Result<Self, OutOfMemory> {
        // 11.25 of 15 entries used when full: 75 %.
        let homes = (records * 4).div_ceil(ENTRIES * 3).max(1);
        Ok(Self {
            buckets: HugeSlice::new(homes + MAX_DISPLACEMENT, what, Pages::Preallocated)?,
            homes: homes as u32,
            // Entry 0 is "empty", so numbers are stored plus one.
            number_bits: 32 - numbers.leading_zeros(),
            len: 0,
        })
    }

    /// Home bucket and tag of a hash.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, hash: u64) -> Place {
        let bucket = (((hash >> 32) * u64::from(self.homes)) >> 32) as u32;
        Place {
            bucket,
            tag: (hash as u32) << self.number_bits,
        }
    }

    /// Asks for the home bucket's line.
    #[inline(always)]
    pub fn prefetch(&self, place: Place) {
        if let Some(bucket) = self.buckets.get(place.bucket as usize) {
            prefetch(bucket);
        }
    }

    #[inline(always)]
    fn matches(&self, bucket: &Bucket, tag: u32) -> Candidates {
        let low = (1u32 << self.number_bits).wrapping_sub(1);
        let mut found = 0u32;
        for (i, entry) in bucket.entries.iter().enumerate() {
            // Same tag, and not empty: an empty entry has number 0.
            let hit = (entry & !low == tag) & (entry & low != 0);
            found |= u32::from(hit) << i;
        }
        Candidates(found)
    }

    /// The first candidate in the home bucket, without looking at spilled entries: what a pipeline prefetches.
    #[inline(always)]
    #[must_use]
    pub fn first_candidate(&self, place: Place) -> Option<u32> {
        let bucket = self.buckets.get(place.bucket as usize)?;
        let found = self.matches(bucket, place.tag);
        let entry = bucket.entries.get(found.0.trailing_zeros() as usize)?;
        Some(self.number(*entry))
    }

    #[inline(always)]
    fn number(&self, entry: u32) -> u32 {
        (entry & (1u32 << self.number_bits).wrapping_sub(1)) - 1
    }

    /// The first record of this hash for which `is` says yes.
    #[inline]
    pub fn find(&self, place: Place, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let home = self.buckets.get(place.bucket as usize)?;
        let reach = if home.meta & 0xffff == 0 {
            0
        } else {
            (home.meta >> 16 & 0xff) as usize
        };
        for bucket in self
            .buckets
            .get(place.bucket as usize..=place.bucket as usize + reach)?
        {
            let mut found = self.matches(bucket, place.tag).0;
            while found != 0 {
                let number = self.number(bucket.entries[found.trailing_zeros() as usize]);
                if is(number) {
                    return Some(number);
                }
                found &= found - 1;
            }
        }
        None
    }

    /// Enters a record. The same record may be entered under several hashes.
    ///
    /// # Errors
    /// [`IndexFull`] when neither the home bucket nor those within reach have room; nothing changed then.
    #[inline]
    pub fn insert(&mut self, place: Place, number: u32) -> Result<(), IndexFull> {
        let home = place.bucket as usize;
        let entry = place.tag | (number + 1);
        for displacement in 0..=MAX_DISPLACEMENT {
            let Some(bucket) = self.buckets.get_mut(home + displacement) else {
                break;
            };
            if let Some(free) = bucket.entries.iter_mut().find(|e| **e == 0) {
                *free = entry;
                if displacement > 0 {
                    let meta = &mut self.buckets[home].meta;
                    let farthest = (*meta >> 16 & 0xff).max(displacement as u32);
                    *meta = ((*meta & 0xffff) + 1) | (farthest << 16);
                }
                self.len += 1;
                return Ok(());
            }
        }
        Err(IndexFull)
    }

    /// Takes a record out; false when it was not there under this hash.
    pub fn remove(&mut self, place: Place, number: u32) -> bool {
        let home = place.bucket as usize;
        let entry = place.tag | (number + 1);
        let Some(meta) = self.buckets.get(home).map(|b| b.meta) else {
            return false;
        };
        let reach = if meta & 0xffff == 0 {
            0
        } else {
            (meta >> 16 & 0xff) as usize
        };
        for displacement in 0..=reach {
            let Some(bucket) = self.buckets.get_mut(home + displacement) else {
                break;
            };
            if let Some(slot) = bucket.entries.iter_mut().find(|e| **e == entry) {
                *slot = 0;
                if displacement > 0 {
                    let left = (meta & 0xffff) - 1;
                    self.buckets[home].meta = if left == 0 { 0 } else { meta - 1 };
                }
                self.len -= 1;
                return true;
            }
        }
        false
    }

    /// Entries in the index.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{HashKeys, Rng};
    use std::collections::HashMap;

    #[test]
    fn fills_to_its_size_and_finds_everything() {
        let records = 100_000u32;
        let mut index = Index::new(records as usize, records, "test").unwrap();
        let keys = HashKeys::new(7);
        for n in 0..records {
            index.insert(index.place(keys.hash(u64::from(n), 1)), n).unwrap();
        }
        assert_eq!(index.len(), records);
        for n in 0..records {
            assert_eq!(
                index.find(index.place(keys.hash(u64::from(n), 1)), |m| m == n),
                Some(n)
            );
        }
        for n in 0..records {
            assert!(index.remove(index.place(keys.hash(u64::from(n), 1)), n));
        }
        assert!(index.is_empty());
        assert!(
            index
                .buckets
                .iter()
                .all(|b| b.entries == [0; ENTRIES] && b.meta == 0)
        );
    }

    #[test]
    fn a_bucket_that_spills_over_refuses_at_the_end_and_recovers() {
        let mut index = Index::new(20, 4096, "test").unwrap();
        let place = Place { bucket: 0, tag: 0 };
        let mut entered = Vec::new();
        let mut n = 0;
        while index.insert(place, n).is_ok() {
            entered.push(n);
            n += 1;
        }
        assert!(n as usize >= ENTRIES * MAX_DISPLACEMENT);
        for n in &entered {
            assert_eq!(index.find(place, |m| m == *n), Some(*n));
        }
        for n in &entered {
            assert!(index.remove(place, *n));
            assert!(!index.remove(place, *n));
        }
        assert!(index.is_empty());
    }

    #[test]
    fn random_operations_agree_with_a_map() {
        let mut rng = Rng::new(3);
        let keys = HashKeys::new(5);
        let mut index = Index::new(2000, 5000, "test").unwrap();
        let mut model: HashMap<u32, u64> = HashMap::new();
        for _ in 0..200_000 {
            let n = rng.below(5000);
            let place = |index: &Index, k: u64| index.place(keys.hash(k, 0));
            if let Some(key) = model.get(&n).copied() {
                if rng.below(2) == 0 {
                    assert_eq!(index.find(place(&index, key), |m| m == n), Some(n));
                } else {
                    assert!(index.remove(place(&index, key), n));
                    model.remove(&n);
                }
            } else if model.len() < 2000 {
                let key = u64::from(rng.below(300));
                if index.insert(place(&index, key), n).is_ok() {
                    model.insert(n, key);
                }
            }
            assert_eq!(index.len() as usize, model.len());
        }
    }
}
