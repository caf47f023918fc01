//! The hash of the tables: two multiplications, keyed per process so that nobody outside can aim at one bucket.

/// Secret keys of the hash, drawn at start.
#[derive(Clone, Copy, Debug)]
pub struct HashKeys {
    a: u64,
    b: u64,
    c: u64,
}

/// The 128-bit product of two words, folded to 64 bits.
#[inline(always)]
const fn fold(x: u64, y: u64) -> u64 {
    let product = (x as u128).wrapping_mul(y as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

impl HashKeys {
    /// Keys from one random word.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            a: rng.draw(),
            b: rng.draw() | 1,
            c: rng.draw() | 1,
        }
    }

    /// Hash of 16 bytes of key.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self, x: u64, y: u64) -> u64 {
        let h = fold(x ^ self.a, y ^ self.b) ^ self.c;
        let h = (h ^ h >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        h ^ h >> 32
    }

    /// Hash of 32 bytes of key.
    #[inline(always)]
    #[must_use]
    pub const fn hash4(&self, w: u64, x: u64, y: u64, z: u64) -> u64 {
        self.hash(fold(w ^ self.b, x ^ self.c) ^ y, z)
    }

    /// Hash of an address (IPv4 under `::ffff:0:0/96`) and 8 bytes more.
    #[inline(always)]
    #[must_use]
    pub const fn hash_address(&self, address: u128, rest: u64) -> u64 {
        let (upper, lower) = ((address >> 64) as u64, address as u64);
        if upper == 0 {
            return self.hash(lower, rest);
        }
        self.hash(fold(upper ^ self.b, lower ^ self.c), rest)
    }
}

/// A small random generator (wyrand) for port choice. Seeded from the system's randomness by the caller; 64 bits of
/// state that never leave the process. RFC 6056 section 3.3 asks for choice an off-path attacker cannot guess.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator started from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fold(seed ^ 0x9E37_79B9_7F4A_7C15, 0xA076_1D64_78BD_642F))
    }

    /// The next 64 random bits.
    #[inline]
    #[must_use = "drawing changes the state"]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xA076_1D64_78BD_642F);
        fold(self.0, self.0 ^ 0xE703_7ED1_A0B4_28DB)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    #[inline]
    #[must_use]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.draw() as u32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_keys_spread_over_buckets() {
        let keys = HashKeys::new(42);
        let buckets = 1024u64;
        let mut counts = vec![0u32; buckets as usize];
        for i in 0..buckets * 64 {
            let h = keys.hash(0x6440_0000_0000_0000 + (i >> 8), i & 0xff);
            counts[(((h >> 32) * buckets) >> 32) as usize] += 1;
        }
        let chi: f64 = counts.iter().map(|c| (f64::from(*c) - 64.0).powi(2) / 64.0).sum();
        // 1023 degrees of freedom: mean 1023, standard deviation 45.
        assert!((700.0..1350.0).contains(&chi), "chi-square {chi}");
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(1);
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| rng.below(7) < 7));
    }
}
