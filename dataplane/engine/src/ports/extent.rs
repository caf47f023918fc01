//! An extent: 4096 ports of one public address, a bit per port and class, with quarantine.
//!
//! ```text
//!   class (TCP, UDP, ICMP id) -> 64 words of { used, freed this epoch, freed last epoch, epoch }
//! ```
//!
//! An epoch is as long as the pool's quarantine. A port freed in epoch n is free again in epoch n + 2, so it rests for one
//! to two quarantine times. Words move on lazily, when they are looked at: no sweep.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::hash::Rng;
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

#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(32))]
struct Word {
    used: u64,
    freed_now: u64,
    freed_before: u64,
    epoch: u64,
}

impl Word {
    /// Moves quarantine on to `epoch` and returns the ports that may be taken.
    #[inline]
    fn free(&mut self, epoch: u32) -> u64 {
        let epoch = u64::from(epoch);
        if self.epoch != epoch {
            self.freed_before = if self.epoch + 1 == epoch {
                self.freed_now
            } else {
                0
            };
            self.freed_now = 0;
            self.epoch = epoch;
        }
        !(self.used | self.freed_now | self.freed_before)
    }
}

/// 4096 ports of one address.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Extent {
    words: [[Word; UNITS]; 3],
    /// Words found without a free port, by class, and the epoch in which that was true.
    full: [u64; 3],
    full_epoch: [u32; 3],
    /// Ports in use by class.
    pub used: [u32; 3],
    /// Units that belong to a port block.
    pub units_taken: u64,
    /// Block of each unit; the free list's link in the first while the extent is free.
    pub unit_block: [u32; UNITS],
}

/// Which ports are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptable {
    /// First port, within the extent (0..4096).
    pub first: u32,
    /// Last port, inclusive.
    pub last: u32,
    /// Bits acceptable in every word: all, even or odd ports. RFC 4787 REQ-4.
    pub parity: u64,
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
#[inline]
fn nth_bit(mut word: u64, n: u32) -> u32 {
    for _ in 0..n {
        word &= word - 1;
    }
    word.trailing_zeros()
}

impl Extent {
    /// Makes a recycled extent empty.
    pub fn reset(&mut self) {
        for class in &mut self.words {
            class.fill(Word {
                used: 0,
                freed_now: 0,
                freed_before: 0,
                epoch: 0,
            });
        }
        self.full = [0; 3];
        self.used = [0; 3];
        self.units_taken = 0;
        self.unit_block = [NO_RECORD; UNITS];
    }

    /// Takes a random acceptable port.
    #[inline]
    pub fn take_random(
        &mut self,
        class: PortClass,
        epoch: u32,
        ok: Acceptable,
        rng: &mut Rng,
    ) -> Option<u16> {
        let random = rng.draw();
        let (first, count) = (ok.first / 64, ok.last / 64 - ok.first / 64 + 1);
        let start = ((random as u32 as u64 * u64::from(count)) >> 32) as u32;
        for i in 0..count {
            let word = (first + (start + i) % count) as usize;
            if let Some(free) = self.acceptable(class, word, epoch, ok) {
                let n = (((random >> 32) * u64::from(free.count_ones())) >> 32) as u32;
                return Some(self.set(class, word, nth_bit(free, n)));
            }
        }
        None
    }

    /// Takes the lowest acceptable port.
    pub fn take_lowest(&mut self, class: PortClass, epoch: u32, ok: Acceptable) -> Option<u16> {
        for word in (ok.first / 64) as usize..=(ok.last / 64) as usize {
            if let Some(free) = self.acceptable(class, word, epoch, ok) {
                return Some(self.set(class, word, free.trailing_zeros()));
            }
        }
        None
    }

    /// Takes this port if it is free.
    pub fn take_exact(&mut self, class: PortClass, epoch: u32, port: u32) -> bool {
        let ok = Acceptable {
            first: port,
            last: port,
            parity: ANY_PARITY,
        };
        self.take_lowest(class, epoch, ok).is_some()
    }

    /// Free acceptable ports of a word, or `None`.
    #[inline]
    fn acceptable(&mut self, class: PortClass, word: usize, epoch: u32, ok: Acceptable) -> Option<u64> {
        let c = class as usize;
        if self.full_epoch[c] != epoch {
            (self.full_epoch[c], self.full[c]) = (epoch, 0);
        }
        if self.full[c] >> word & 1 != 0 {
            return None;
        }
        let free = self.words[c].get_mut(word)?.free(epoch);
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

    /// Frees a port (0..4096); with `quarantine` it rests first. False when it was not in use.
    pub fn release(&mut self, class: PortClass, epoch: u32, port: u16, quarantine: bool) -> bool {
        let (word, bit) = (usize::from(port) / 64 % UNITS, 1u64 << (port % 64));
        let entry = &mut self.words[class as usize][word];
        if entry.used & bit == 0 {
            return false;
        }
        entry.free(epoch);
        entry.used &= !bit;
        if quarantine {
            entry.freed_now |= bit;
        } else {
            self.full[class as usize] &= !(1 << word);
        }
        self.used[class as usize] -= 1;
        true
    }

    /// Whether a port (0..4096) is in use.
    #[must_use]
    pub fn is_used(&self, class: PortClass, port: u16) -> bool {
        self.words[class as usize][usize::from(port) / 64 % UNITS].used >> (port % 64) & 1 != 0
    }

    /// Whether no port of any class in these units is in use or in quarantine: only then a run of units may change
    /// hands, so that a log line "this block was theirs" is never ambiguous.
    pub fn units_are_clean(&mut self, first: usize, count: usize, epoch: u32) -> bool {
        self.words.iter_mut().all(|class| {
            class
                .iter_mut()
                .skip(first)
                .take(count)
                .all(|word| word.free(epoch) == u64::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent() -> Box<Extent> {
        let mut e = Box::new(Extent::new_zeroed());
        e.reset();
        e
    }
    const ALL: Acceptable = Acceptable {
        first: 0,
        last: 4095,
        parity: ANY_PARITY,
    };

    #[test]
    fn every_port_is_given_once() {
        let (mut e, mut rng) = (extent(), Rng::new(1));
        let mut seen = [false; 4096];
        while let Some(p) = e.take_random(PortClass::Udp, 5, ALL, &mut rng) {
            assert!(!std::mem::replace(&mut seen[usize::from(p)], true));
        }
        assert!(seen.iter().all(|s| *s));
        assert_eq!(e.used, [0, 4096, 0]);
        assert!(
            e.take_lowest(PortClass::Tcp, 5, ALL).is_some(),
            "classes are separate spaces"
        );
    }

    #[test]
    fn bounds_and_parity_hold() {
        let (mut e, mut rng) = (extent(), Rng::new(1));
        let ok = Acceptable {
            first: 70,
            last: 131,
            parity: ODD,
        };
        let mut got: Vec<_> = std::iter::from_fn(|| e.take_random(PortClass::Tcp, 1, ok, &mut rng)).collect();
        got.sort_unstable();
        assert_eq!(got, (71..=131).step_by(2).collect::<Vec<u16>>());
    }

    #[test]
    fn a_freed_port_rests_for_one_to_two_epochs() {
        let mut e = extent();
        let one = Acceptable {
            first: 9,
            last: 9,
            parity: ANY_PARITY,
        };
        assert_eq!(e.take_lowest(PortClass::Udp, 7, one), Some(9));
        assert!(e.release(PortClass::Udp, 7, 9, true));
        assert!(!e.release(PortClass::Udp, 7, 9, true), "not freed twice");
        assert_eq!(e.take_lowest(PortClass::Udp, 7, one), None);
        assert_eq!(e.take_lowest(PortClass::Udp, 8, one), None);
        assert!(!e.units_are_clean(0, 1, 8));
        assert_eq!(e.take_lowest(PortClass::Udp, 9, one), Some(9));
        assert!(e.release(PortClass::Udp, 9, 9, false));
        assert_eq!(e.take_lowest(PortClass::Udp, 9, one), Some(9));
    }
}
