//! An extent: 4096 ports of one public address, a bit per port and class, with quarantine.
//!
//! ```text
//!   class (TCP, UDP, ICMP id) -> 64 words of { used, freed this period, freed before, begin of the period, last freed }
//! ```
//!
//! A period is as long as the pool's quarantine. A port freed in one period is free again when the next one is over, so it
//! rests for one to two quarantine times. Words move on lazily, when they are looked at: no sweep. A reload may change the
//! quarantine, or move an address to a pool with another one: a word then only moves on when the time that is in force
//! has really passed, and the other chassis knows of what was freed ([`Wait`]).

mod follow;
mod hold;
mod rest;

use zerocopy::{FromZeros, Immutable, KnownLayout};

pub use self::hold::{Hold, HoldStep};
use self::rest::Word;
pub use self::rest::{Rest, Wait};
use crate::hash::Rng;
use crate::program::PoolId;
use crate::session::NO_RECORD;

/// Words of 64 ports in an extent.
pub const UNITS: usize = 64;

/// The three separate spaces of port numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PortClass {
    /// TCP ports.
    Tcp = 0,
    /// UDP ports.
    Udp = 1,
    /// ICMP query identifiers.
    Icmp = 2,
}

impl PortClass {
    /// The class of an IP protocol; `None` when it has no ports to translate.
    #[inline]
    #[must_use]
    pub const fn of_protocol(protocol: u8) -> Option<Self> {
        match protocol {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            1 => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// 4096 ports of one address.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Extent {
    words: [[Word; UNITS]; 3],
    /// Words found without a free port, by class, and the period in which that was true.
    full: [u64; 3],
    full_since: [u32; 3],
    /// Ports in use by class; sessions where they share ports.
    pub used: [u32; 3],
    /// Units that belong to a port block.
    pub units_taken: u64,
    /// Block of each unit that is in one; else when it last was given back, in ticks, or [`NO_RECORD`]. The free list's link
    /// in the first while the extent is free.
    pub unit_block: [u32; UNITS],
    /// Where it is; nowhere while it is free.
    pub at: Home,
    /// See [`Hold`].
    hold: Hold,
}

/// Which extent of which address of which pool an extent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, KnownLayout, Immutable)]
#[repr(C)]
pub struct Home {
    /// Index of the address, or [`NO_RECORD`].
    pub address_index: u32,
    /// Pool.
    pub pool: PoolId,
    /// Number of the extent, 0..16.
    pub extent: u8,
    spare: u8,
}

impl Home {
    /// Of a free extent.
    pub const NOWHERE: Self = Self::new(NO_RECORD, 0, 0);

    /// Extent `extent` of an address.
    #[must_use]
    pub const fn new(address_index: u32, extent: u8, pool: PoolId) -> Self {
        Self {
            address_index,
            pool,
            extent,
            spare: 0,
        }
    }
}

/// In place of the period in which words were found full: the extent is held.
const HELD: u32 = u32::MAX;

/// Which ports are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptable {
    /// First port, within the extent (0..4096).
    pub first: u32,
    /// Last port, inclusive.
    pub last: u32,
    /// Bits acceptable in every word: all, even or odd ports. RFC 4787 REQ-4.
    pub parity: u64,
    /// The ports are those of a block; otherwise no port of a block is acceptable.
    pub in_block: bool,
}

/// Every port, or only even or odd ones.
pub const ANY_PARITY: u64 = u64::MAX;
/// Even ports.
pub const EVEN: u64 = 0x5555_5555_5555_5555;
/// Odd ports.
pub const ODD: u64 = !EVEN;

impl Acceptable {
    #[inline]
    fn mask(&self, word: usize) -> u64 {
        let base = word as u32 * 64;
        if self.last < base || self.first > base + 63 {
            return 0;
        }
        let low = self.first.saturating_sub(base);
        let high = (self.last - base).min(63);
        (u64::MAX << low) & (u64::MAX >> (63 - high)) & self.parity
    }
}

/// The `n`-th set bit of `word`, counted from bit 0; `n` is below the number of set bits.
///
/// Halves the word six times, without a branch: `n` is random, so a loop over the bits would be predicted wrongly each time.
#[inline]
fn nth_bit(mut word: u64, mut n: u32) -> u32 {
    let mut at = 0;
    for half in [32, 16, 8, 4, 2, 1] {
        let below = (word & ((1 << half) - 1)).count_ones();
        let is_above = n >= below;
        n -= if is_above { below } else { 0 };
        let shift = if is_above { half } else { 0 };
        word >>= shift;
        at += shift;
    }
    at
}

impl Extent {
    /// Makes a recycled extent empty.
    pub fn reset(&mut self) {
        for class in &mut self.words {
            class.fill(Word::EMPTY);
        }
        self.full = [0; 3];
        self.full_since = [0; 3];
        self.used = [0; 3];
        self.units_taken = 0;
        self.unit_block = [NO_RECORD; UNITS];
        (self.at, self.hold) = (Home::NOWHERE, Hold::NONE);
    }

    /// Takes a random acceptable port.
    #[inline]
    pub fn take_random(
        &mut self,
        class: PortClass,
        rest: Rest,
        ok: Acceptable,
        rng: &mut Rng,
    ) -> Option<u16> {
        if !self.is_open(class, rest, ok.in_block) {
            return None;
        }
        let random = rng.draw();
        let (first, count) = (ok.first / 64, ok.last / 64 - ok.first / 64 + 1);
        let start = ((random as u32 as u64 * u64::from(count)) >> 32) as u32;
        for i in 0..count {
            let turned = start + i;
            let word = (first + if turned < count { turned } else { turned - count }) as usize;
            if let Some(free) = self.acceptable(class, word, rest, ok) {
                let n = (((random >> 32) * u64::from(free.count_ones())) >> 32) as u32;
                return Some(self.set(class, word, nth_bit(free, n)));
            }
        }
        None
    }

    /// Takes the lowest acceptable port.
    pub fn take_lowest(&mut self, class: PortClass, rest: Rest, ok: Acceptable) -> Option<u16> {
        if !self.is_open(class, rest, ok.in_block) {
            return None;
        }
        for word in (ok.first / 64) as usize..=(ok.last / 64) as usize {
            if let Some(free) = self.acceptable(class, word, rest, ok) {
                return Some(self.set(class, word, free.trailing_zeros()));
            }
        }
        None
    }

    /// Takes this port if it is free (and, with `in_block`, in a block, else in none).
    pub fn take_exact(&mut self, class: PortClass, rest: Rest, port: u32, in_block: bool) -> bool {
        let ok = Acceptable {
            first: port,
            last: port,
            parity: ANY_PARITY,
            in_block,
        };
        self.take_lowest(class, rest, ok).is_some()
    }

    /// Whether it gives ports now; what is known of full words is for this period afterwards.
    #[inline(always)]
    fn is_open(&mut self, class: PortClass, rest: Rest, in_block: bool) -> bool {
        let c = class as usize;
        if self.full_since[c] != rest.period() {
            self.full[c] = 0;
            if self.is_held() {
                return in_block;
            }
            self.full_since[c] = rest.period();
        }
        true
    }

    /// Free acceptable ports of a word, or `None`.
    #[inline]
    fn acceptable(&mut self, class: PortClass, word: usize, rest: Rest, ok: Acceptable) -> Option<u64> {
        let c = class as usize;
        if (self.full[c] | if ok.in_block { 0 } else { self.units_taken }) >> word & 1 != 0 {
            return None;
        }
        let free = self.words[c].get_mut(word)?.free(rest);
        if free == 0 {
            self.full[c] |= 1 << word;
            return None;
        }
        let free = free & ok.mask(word);
        (free != 0).then_some(free)
    }

    #[inline]
    fn set(&mut self, class: PortClass, word: usize, bit: u32) -> u16 {
        self.words[class as usize][word].used |= 1 << bit;
        self.used[class as usize] += 1;
        (word as u32 * 64 + bit) as u16
    }

    /// Frees a port (0..4096), which rests first if there is a quarantine. False when it was not in use.
    pub fn release(&mut self, class: PortClass, rest: Rest, port: u16) -> bool {
        let (word, bit) = (usize::from(port) / 64 % UNITS, 1u64 << (port % 64));
        let entry = &mut self.words[class as usize][word];
        if entry.used & bit == 0 {
            return false;
        }
        if !entry.release(bit, rest) {
            self.full[class as usize] &= !(1 << word);
        }
        self.used[class as usize] -= 1;
        true
    }

    /// Ports of a run of units that are not in use rest as if they were given back now: somebody had them, and may have used any.
    pub fn rest_units(&mut self, first: usize, count: usize, rest: Rest) {
        let words = self
            .words
            .iter_mut()
            .flat_map(|c| c.iter_mut().skip(first).take(count));
        words.for_each(|word| word.rest_unused(rest));
    }

    /// Counts one more session on shared ports, which no bit stands for.
    pub fn share(&mut self, class: PortClass) {
        self.used[class as usize] += 1;
    }

    /// Counts one session less on shared ports. False when there was none.
    pub fn unshare(&mut self, class: PortClass) -> bool {
        let used = &mut self.used[class as usize];
        let some = *used != 0;
        *used = used.saturating_sub(1);
        some
    }

    /// Whether a port (0..4096) is in use.
    #[must_use]
    pub fn is_used(&self, class: PortClass, port: u16) -> bool {
        self.words[class as usize][usize::from(port) / 64 % UNITS].used >> (port % 64) & 1 != 0
    }

    /// Whether these units, which are in no block, may change hands: no port of any class in them is in use or in quarantine,
    /// so that a log line "this block was theirs" is never ambiguous, and the other chassis knows that their last block ended.
    pub fn units_are_clean(&mut self, first: usize, count: usize, rest: Rest) -> bool {
        let given_back = self.unit_block.iter().skip(first).take(count);
        given_back
            .into_iter()
            .all(|at| *at == NO_RECORD || rest.is_settled(*at))
            && self.units_are_unused(first, count, rest)
    }

    /// Whether no port of any class in these units is in use or in quarantine.
    pub fn units_are_unused(&mut self, first: usize, count: usize, rest: Rest) -> bool {
        let is_unused = |word: &mut Word| word.free(rest) == u64::MAX;
        let mut words = self
            .words
            .iter_mut()
            .flat_map(|class| class.iter_mut().skip(first).take(count));
        words.all(is_unused)
    }
}

#[cfg(test)]
mod tests;
