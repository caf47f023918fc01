//! What happens in the midst of a bulk: some of it is told, some of that was heard, and the rest never comes or comes late.

use tandem_engine::hash::Rng;

use super::{Pair, SLICE_MS};
use crate::program::{chance, pick};
use crate::side::Side;
use crate::survivors;

impl Pair {
    /// A chassis begins to tell everything anew, and before the other has heard it all somebody crashes or a role moves.
    pub fn amid_bulk(&mut self, rng: &mut Rng) -> &'static str {
        let teller = rng.below(2) as usize;
        let hearer = 1 - teller;
        let ([Some(_), Some(_)], true) = (&self.sides, self.network.is_connected()) else {
            return "no bulk, nobody hears";
        };
        self.remember_told(teller);
        self.network.stall(hearer, true);
        if let Some(side) = &mut self.sides[teller] {
            side.resynchronize(self.now, true);
        }
        self.advance(u64::from(rng.below(SLICE_MS as u32)));
        self.network.stall(hearer, false);
        self.hear_some(hearer, rng);
        let done = if self.sides[teller].as_ref().is_some_and(Side::is_telling_all) {
            self.interrupt(teller, rng)
        } else {
            "a bulk, and it is over"
        };
        self.told_before[teller].clear();
        done
    }

    fn interrupt(&mut self, teller: usize, rng: &mut Rng) -> &'static str {
        if chance(rng, 50) {
            self.report.amid_crashes += 1;
            let at = if chance(rng, 70) { teller } else { 1 - teller };
            self.crash(at, chance(rng, 80));
            return "a crash amid a bulk";
        }
        let set = pick(rng, &self.sets());
        let before = self.report.flips + self.report.forced;
        let done = if chance(rng, 50) {
            self.flip(set)
        } else {
            self.force(set)
        };
        let is_moving = self.moves[usize::from(set) - 1].is_some();
        self.report.amid_moves += u64::from(is_moving || self.report.flips + self.report.forced > before);
        done
    }

    /// What the other chassis has for certain of what one is primary of.
    fn remember_told(&mut self, teller: usize) {
        let Some(side) = self.sides[teller].as_ref().filter(|side| side.covered) else {
            return;
        };
        if !self.sides[1 - teller].as_ref().is_some_and(Side::has_all) {
            return;
        }
        let age = self.threshold_and(1000 + SLICE_MS + side.lag_ms() + side.silent_ms(self.now));
        let sets = self.sets().into_iter();
        let told = sets.filter(|set| side.is_primary(*set));
        self.told_before[teller] = told
            .flat_map(|set| survivors::due(&side.world, set, age))
            .collect();
    }

    /// A chassis reads some of what has arrived.
    fn hear_some(&mut self, at: usize, rng: &mut Rng) {
        for _ in 0..rng.below(16) {
            let Some(octets) = self.network.read(at, self.now) else {
                return;
            };
            let part = if self.network.is_stream() {
                rng.below(octets.len() as u32 + 1) as usize
            } else {
                octets.len()
            };
            let Some(side) = &mut self.sides[at] else { return };
            let used = side.hear(self.now, &octets[..part]);
            side.work(self.now);
            if used < octets.len() {
                self.network.unread(at, self.now, octets[used..].to_vec());
            }
        }
    }
}
