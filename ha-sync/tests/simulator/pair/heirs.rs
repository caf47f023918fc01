//! What a chassis that becomes primary must have when it has taken up the role: what its predecessor told in time.

use tandem_engine::ticks::Ticks;

use super::{Pair, SLICE_MS};
use crate::side::Side;
use crate::survivors;
use crate::views::Ends;

/// A chassis that is to become primary of a set whose old primary is there still.
#[derive(Debug)]
pub struct Heir {
    /// Sessions that must be there.
    pub(super) due: Vec<(Ends, Ticks)>,
    pub(super) from: Option<usize>,
    pub(super) to: usize,
    /// It was primary beside the other, yielded, and is primary again before it was told all: it may have ended what the other has still,
    /// and what it lacks comes with the next offer.
    pub(super) is_untold: bool,
}

impl Pair {
    /// What the other chassis must have of a set that `side` is primary of, if that ceased to be it now. All that is old enough if
    /// its mirror is complete; while that is made anew, what it had before, for a bulk takes nothing away that is still there. Nothing
    /// when it is standby already, a release being under way: it tells of no more sessions that come of age. Nothing either before
    /// the other chassis has heard that it is primary no more.
    pub(super) fn due_of(&self, side: &Side, at: usize, set: u16) -> Vec<(Ends, Ticks)> {
        // One that still takes itself for the primary refuses what it is told of the set, and asks for it when it has yielded.
        let refuses = self.deposed[usize::from(set) - 1] == Some(1 - at);
        if refuses || !side.is_primary(set) || !self.sides[1 - at].as_ref().is_some_and(Side::has_all) {
            return Vec::new();
        }
        let told_ms = 1000 + SLICE_MS + side.lag_ms() + side.silent_ms(self.now);
        // Of what it has just taken of the other's, the other may have ended some meanwhile, and be told of it again.
        if side.covered && side.unmerged_ms(self.now) > told_ms {
            return survivors::due(&side.world, set, self.threshold_and(told_ms));
        }
        let before = self.told_before[at].iter().filter(|(ends, _)| ends.set == set);
        survivors::alive(&side.world, before.copied())
    }

    /// The old primary of a set goes; the other shall have what it must.
    pub(super) fn bequeath(&mut self, set: u16, from: usize) {
        let side = self.sides[from].as_ref();
        let due = side.map_or_else(Vec::new, |side| self.due_of(side, from, set));
        self.heirs[usize::from(set) - 1] = Some(Heir {
            due,
            from: Some(from),
            to: 1 - from,
            is_untold: false,
        });
    }

    /// The old primary of a set is standby and has told everything before it said so: nothing is on its way behind that.
    pub(super) fn bequeath_all(&mut self, set: u16, from: usize) {
        let age = self.threshold_and(1000 + SLICE_MS);
        let side = self.sides[from].as_ref();
        let due = side.map_or_else(Vec::new, |side| survivors::due(&side.world, set, age));
        self.heirs[usize::from(set) - 1] = Some(Heir {
            due,
            from: Some(from),
            to: 1 - from,
            is_untold: false,
        });
    }

    /// A chassis that has just become primary has what it must, and passes its packets.
    pub(super) fn look_at_heirs(&mut self) {
        for at in 0..self.heirs.len() {
            let now = self.now;
            let heir = self.heirs[at].take_if(|heir| {
                let side = self.sides[heir.to].as_ref().filter(|side| !side.is_stalled(now));
                self.primary[at] == Some(heir.to) && side.is_some_and(|s| s.has_taken_over(at as u16 + 1))
            });
            let Some(mut heir) = heir else { continue };
            // The old one may have ended some since, and said so.
            if let Some(old) = heir.from.and_then(|from| self.sides[from].as_ref()) {
                heir.due = survivors::alive(&old.world, heir.due);
            }
            if let Some(side) = &mut self.sides[heir.to] {
                if heir.is_untold {
                    heir.due = survivors::present(&side.world, heir.due);
                }
                survivors::are_there(&side.world, &heir.due);
                survivors::pass(&mut side.world, &heir.due);
                self.report.survived += heir.due.len() as u64;
            }
        }
    }
}
