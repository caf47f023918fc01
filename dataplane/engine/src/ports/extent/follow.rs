//! An extent whose ports another chassis gives out, or did until a takeover.

use super::{Extent, PortClass, Rest, UNITS};

impl Extent {
    /// Uses this port (0..4096), in a block or not, held, in quarantine or free: the other chassis gave it out. False when it
    /// is in use.
    pub fn install(&mut self, class: PortClass, port: u16) -> bool {
        let (word, bit) = (usize::from(port) / 64 % UNITS, 1u64 << (port % 64));
        let entry = &mut self.words[class as usize][word];
        if entry.used & bit != 0 {
            return false;
        }
        entry.used |= bit;
        entry.freed_now &= !bit;
        entry.freed_before &= !bit;
        self.used[class as usize] += 1;
        true
    }

    /// Whether a port (0..4096) is neither in use nor in quarantine; blocks and holds do not count.
    pub fn is_unused(&mut self, class: PortClass, port: u16, rest: Rest) -> bool {
        let (word, bit) = (usize::from(port) / 64 % UNITS, 1u64 << (port % 64));
        self.words[class as usize][word].free(rest) & bit != 0
    }

    /// Ports in use, of all classes, in a run of units.
    #[must_use]
    pub fn used_in(&self, first: usize, count: usize) -> u16 {
        let words = self.words.iter().flat_map(|c| c.iter().skip(first).take(count));
        words.map(|word| word.used.count_ones() as u16).sum()
    }

    /// Whether nothing of it is in use, nor in a block.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.used == [0; 3] && self.units_taken == 0
    }
}
