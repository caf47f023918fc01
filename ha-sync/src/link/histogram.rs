//! A histogram of times in fixed memory: each power of two is cut into eight, so that a quantile is off by at most an eighth.

/// Parts of each power of two.
const PARTS: usize = 8;
/// Buckets: 0..8 exactly, then up to 2^32 ms (seven weeks).
const BUCKETS: usize = PARTS * 30;

/// Times in milliseconds, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            max: 0,
        }
    }
}

const fn bucket(value: u64) -> usize {
    if value < PARTS as u64 {
        return value as usize;
    }
    let magnitude = value.ilog2() as usize - 3;
    let part = (value >> magnitude) as usize - PARTS;
    let at = PARTS * (magnitude + 1) + part;
    if at < BUCKETS { at } else { BUCKETS - 1 }
}

/// The largest value of a bucket.
const fn upper(at: usize) -> u64 {
    if at < PARTS {
        return at as u64;
    }
    let (magnitude, part) = (at / PARTS - 1, at % PARTS);
    (((PARTS + part + 1) as u64) << magnitude) - 1
}

impl Histogram {
    /// Counts `times` values.
    pub fn add(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += times;
        }
        self.total += times;
        self.max = self.max.max(value);
    }

    /// How many were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The largest.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The value that this share of all (per thousand, 0..=1000) does not exceed, at most an eighth too large; 0 when
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, per_mille: u32) -> u64 {
        let rank = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_off_by_an_eighth_at_most() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), 0);
        for value in 1..=100_000 {
            histogram.add(value, 1);
        }
        for (per_mille, exact) in [(10, 1000), (500, 50_000), (990, 99_000), (1000, 100_000)] {
            let found = histogram.quantile(per_mille);
            assert!(
                found >= exact && found <= exact + exact / 8,
                "{per_mille}: {found}"
            );
        }
        assert_eq!((histogram.count(), histogram.max()), (100_000, 100_000));
    }

    #[test]
    fn every_value_has_a_bucket_that_holds_it() {
        for value in (0..4096).chain((12..64).flat_map(|b| [(1 << b) - 1, 1 << b, (1 << b) + 1])) {
            let at = bucket(value);
            assert!(
                at < BUCKETS && (upper(at) >= value || at == BUCKETS - 1),
                "{value}"
            );
            assert!(at == 0 || upper(at - 1) < value, "{value}");
        }
    }
}
