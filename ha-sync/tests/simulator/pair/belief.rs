//! What the standby takes for somebody's, the primary has not given to another: else both would be right after a takeover.

use super::Pair;
use crate::public_ends::Believed;
use crate::side::{Known, Side};
use crate::views;

impl Pair {
    /// While the mirror is complete and leases are required, whatever is on its way, save that of a time without leases.
    pub(super) fn check_belief(&self) {
        for at in 0..2 {
            let (Some(primary), Some(standby)) = (&self.sides[at], &self.sides[1 - at]) else {
                return;
            };
            let knows = primary.knowledge(self.now, primary.covered && standby.has_all());
            if knows != Known::ALL || !standby.is_tidy() {
                continue;
            }
            let is_settled = |set: u16| {
                let index = usize::from(set) - 1;
                let leaving = self.around.as_ref().is_some_and(|around| !around.rests());
                let rests = !leaving
                    && self.moves[index].is_none()
                    && self.heirs[index].is_none()
                    && self.deposed[index].is_none()
                    && self.primary[index] == Some(at);
                rests && primary.is_primary(set) && standby.is_standby(set)
            };
            let mut believed = Believed::default();
            for engine in &standby.world.engines {
                believed.note(engine, is_settled);
            }
            self.compare_belief(primary, &believed, is_settled);
        }
    }

    fn compare_belief(&self, primary: &Side, believed: &Believed, is_settled: impl Fn(u16) -> bool) {
        for engine in &primary.world.engines {
            views::taken(engine, |taken| {
                if is_settled(taken.set) {
                    believed.check(&taken);
                }
            });
        }
    }
}
