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

use crate::mem::{HugeSlice, OutOfMemory, Pages, equal_entries, match_entries, prefetch};

const ENTRIES: usize = 15;
/// How far from its home bucket an entry may be put. At 12 of 15 entries a run of n full buckets has a chance of about e^(-n/3)
/// per bucket: runs of 16 happen in every large table, runs of 64 in none.
const MAX_DISPLACEMENT: usize = 64;

#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(64))]
struct Bucket {
    /// Fifteen entries; the sixteenth word is the meta word.
    words: [u32; ENTRIES + 1],
}

impl Bucket {
    /// Puts `new` where the first entry is `old`; false when none is.
    #[inline(always)]
    fn replace(&mut self, old: u32, new: u32) -> bool {
        let found = equal_entries(&self.words, old) & ((1 << ENTRIES) - 1);
        if found == 0 {
            return false;
        }
        self.words[found.trailing_zeros() as usize % ENTRIES] = new;
        true
    }

    #[inline(always)]
    const fn meta(&self) -> u32 {
        self.words[ENTRIES]
    }

    /// How many buckets after this one may hold entries that belong here.
    #[inline(always)]
    const fn reach(&self) -> usize {
        if self.meta() & 0xffff == 0 {
            0
        } else {
            (self.meta() >> 16 & 0xff) as usize
        }
    }
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
    tag_mask: u32,
    len: u32,
}

/// How full an index is when all its records are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// 10 of 15 entries: few spill, for look-ups on the packet way.
    Sparse,
    /// 12 of 15 entries: less memory.
    Dense,
}

/// Where a key lives: its home bucket and its tag.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    bucket: u32,
    tag: u32,
}

impl Place {
    /// No place: nothing is ever found there.
    pub const NOWHERE: Self = Self {
        bucket: u32::MAX,
        tag: 0,
    };

    /// Whether it is a place.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.bucket != u32::MAX
    }
}

impl Index {
    /// An index for `records` records of numbers below `numbers`, each entered up to `records / numbers` times.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses the memory.
    pub fn new(records: usize, numbers: u32, fill: Fill, what: &'static str) -> Result<Self, OutOfMemory> {
        let per_bucket = match fill {
            Fill::Sparse => 10,
            Fill::Dense => 12,
        };
        let homes = records.div_ceil(per_bucket).max(1);
        // Numbers are stored plus one, because an entry of 0 is empty.
        let number_bits = 32 - numbers.leading_zeros();
        Ok(Self {
            buckets: HugeSlice::new(homes + MAX_DISPLACEMENT, what, Pages::Preallocated)?,
            homes: homes as u32,
            number_bits,
            tag_mask: !(1u32 << number_bits).wrapping_sub(1),
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

    /// Entries of a bucket with this tag, a bit each.
    #[inline(always)]
    fn matches(&self, bucket: &Bucket, tag: u32) -> u32 {
        match_entries(&bucket.words, tag, self.tag_mask) & ((1 << ENTRIES) - 1)
    }

    /// The first record of a place by its tag: what a pipeline asks for before it compares. Nearly always the right one.
    #[inline(always)]
    #[must_use]
    pub fn first_candidate(&self, place: Place) -> Option<u32> {
        let bucket = self.buckets.get(place.bucket as usize)?;
        let found = self.matches(bucket, place.tag);
        if found == 0 {
            return match bucket.reach() {
                0 => None,
                reach => self.spilled_candidate(place, reach),
            };
        }
        Some(self.number(bucket.words[found.trailing_zeros() as usize % ENTRIES]))
    }

    #[cold]
    fn spilled_candidate(&self, place: Place, reach: usize) -> Option<u32> {
        let first = place.bucket as usize + 1;
        self.buckets.get(first..first + reach)?.iter().find_map(|bucket| {
            let found = self.matches(bucket, place.tag);
            (found != 0).then(|| self.number(bucket.words[found.trailing_zeros() as usize % ENTRIES]))
        })
    }

    #[inline(always)]
    fn number(&self, entry: u32) -> u32 {
        (entry & !self.tag_mask).wrapping_sub(1)
    }

    /// The first record of this hash for which `is` says yes.
    #[inline(always)]
    pub fn find(&self, place: Place, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let bucket = self.buckets.get(place.bucket as usize)?;
        let found = self.find_in(bucket, place.tag, &mut is);
        if found.is_some() || bucket.reach() == 0 {
            return found;
        }
        self.find_spilled(place, bucket.reach(), is)
    }

    #[inline(always)]
    fn find_in(&self, bucket: &Bucket, tag: u32, is: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let mut found = self.matches(bucket, tag);
        while found != 0 {
            let number = self.number(bucket.words[found.trailing_zeros() as usize % ENTRIES]);
            if is(number) {
                return Some(number);
            }
            found &= found - 1;
        }
        None
    }

    #[cold]
    fn find_spilled(&self, place: Place, reach: usize, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let first = place.bucket as usize + 1;
        let buckets = self.buckets.get(first..first + reach)?;
        buckets
            .iter()
            .find_map(|bucket| self.find_in(bucket, place.tag, &mut is))
    }

    /// Enters a record. The same record may be entered under several hashes.
    ///
    /// # Errors
    /// [`IndexFull`] when neither the home bucket nor those within reach have room; nothing changed then.
    #[inline]
    pub fn insert(&mut self, place: Place, number: u32) -> Result<(), IndexFull> {
        let entry = place.tag | (number + 1);
        let bucket = self.buckets.get_mut(place.bucket as usize).ok_or(IndexFull)?;
        if !bucket.replace(0, entry) {
            self.insert_spilled(place.bucket as usize, entry)?;
        }
        self.len += 1;
        Ok(())
    }

    /// Puts an entry into a bucket after its full home bucket.
    #[cold]
    fn insert_spilled(&mut self, home: usize, entry: u32) -> Result<(), IndexFull> {
        for displacement in 1..=MAX_DISPLACEMENT {
            let Some(bucket) = self.buckets.get_mut(home + displacement) else {
                break;
            };
            if bucket.replace(0, entry) {
                let meta = &mut self.buckets[home].words[ENTRIES];
                let farthest = (*meta >> 16 & 0xff).max(displacement as u32);
                *meta = ((*meta & 0xffff) + 1) | (farthest << 16);
                return Ok(());
            }
        }
        Err(IndexFull)
    }

    /// Takes a record out; false when it was not there under this hash.
    pub fn remove(&mut self, place: Place, number: u32) -> bool {
        let home = place.bucket as usize;
        let entry = place.tag | (number + 1);
        let Some(meta) = self.buckets.get(home).map(Bucket::meta) else {
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
            if bucket.replace(entry, 0) {
                if displacement > 0 {
                    let left = (meta & 0xffff) - 1;
                    self.buckets[home].words[ENTRIES] = if left == 0 { 0 } else { meta - 1 };
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
        let mut index = Index::new(records as usize, records, Fill::Dense, "test").unwrap();
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
        assert!(index.buckets.iter().all(|b| b.words == [0; ENTRIES + 1]));
    }

    #[test]
    fn a_bucket_that_spills_over_refuses_at_the_end_and_recovers() {
        let mut index = Index::new(20, 4096, Fill::Dense, "test").unwrap();
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
        let mut index = Index::new(2000, 5000, Fill::Sparse, "test").unwrap();
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
