//! Quiet time, after which both chassis are equal, and the end of a run, when nothing is left on either.

use tandem_engine_testkit::books::Books;

use super::{Pair, QUIET_MAX_MS};
use crate::equal;
use crate::side::Side;
use crate::views;

impl Pair {
    /// Quiet time: when both are up, healthy and connected, and nothing happens, the standby becomes equal.
    pub fn quiet(&mut self) {
        self.make_whole();
        self.network.heal();
        let until = self.now + QUIET_MAX_MS;
        let settle = u64::from(self.tuning.threshold.0) * 100 + 3000;
        self.advance(settle);
        while !self.is_calm() {
            assert!(self.now < until, "no calm after quiet time: {}", self.summary());
            self.advance(200);
            self.ask_for_missing();
        }
        self.check();
        for set in self.sets() {
            let Some(at) = self.primary[usize::from(set) - 1] else {
                continue;
            };
            if let [Some(a), Some(b)] = &self.sides {
                let (primary, standby) = if at == 0 { (a, b) } else { (b, a) };
                self.report.compared += 1;
                self.report.equal += equal::check(&primary.world, &standby.world, set);
            }
        }
        self.network.weather_again();
    }

    /// No role is on its way.
    pub(super) fn roles_rest(&self) -> bool {
        self.around.as_ref().is_none_or(super::Around::rests)
            && self.moves.iter().all(Option::is_none)
            && self.heirs.iter().all(Option::is_none)
            && self.deposed.iter().all(Option::is_none)
    }

    /// Everything has been told and installed.
    fn is_calm(&self) -> bool {
        self.network.in_flight() == 0 && self.roles_rest() && self.sides.iter().flatten().all(Side::is_calm)
    }

    /// All sessions end; nothing is left on either chassis.
    pub fn end(&mut self) {
        self.network.heal();
        self.advance(70_000);
        self.advance(130_000);
        self.check();
        for at in 0..2 {
            let Some(side) = &mut self.sides[at] else { continue };
            Books::new(&side.world).check(&mut side.world);
            for engine in &side.world.engines {
                let left: Vec<_> = views::sessions(engine).collect();
                assert!(left.is_empty(), "sessions left on chassis {at}: {left:x?}");
                let left: Vec<_> = views::mappings(engine).collect();
                assert!(left.is_empty(), "mappings left on chassis {at}: {left:x?}");
            }
            side.count(&mut self.report);
        }
    }
}
