//! Clean stops: a chassis hands over what somebody can take, says that it leaves, and is gone. What is checked of it is what is checked
//! of roles that are handed over, and of a chassis that is lost.

use super::Pair;

/// How long a chassis has for handing over, milliseconds: as long as the daemon's supervisors give it.
const STOP_MS_MAX: u64 = 5000;
/// What it has told is on its way still when it has handed over: so long the daemon waits for that.
const LAST_MS: u64 = 1000;

impl Pair {
    /// A chassis is to stop.
    pub(super) fn stop(&mut self, at: usize) -> &'static str {
        let (Some(around), Some(side)) = (&mut self.around, &mut self.sides[at]) else {
            return "nobody to stop";
        };
        if around.stopping[at].is_none() {
            self.report.stops += 1;
            around.stopping[at] = Some(self.now + STOP_MS_MAX);
            side.stop(self.now);
            self.pump();
        }
        "a stop"
    }

    /// Those that have handed over everything end soon, and those that can not, in the end.
    pub(super) fn look_at_stops(&mut self) {
        for at in 0..2 {
            let (Some(around), Some(side)) = (&mut self.around, &mut self.sides[at]) else {
                continue;
            };
            let Some(until) = &mut around.stopping[at] else {
                continue;
            };
            if side.has_stopped(self.now) {
                *until = (*until).min(self.now + LAST_MS);
            }
            if self.now >= *until {
                self.lose(at, true);
            }
        }
    }

    /// All stops are over.
    pub(super) fn end_stops(&mut self) {
        for at in 0..2 {
            if self
                .around
                .as_ref()
                .is_some_and(|around| around.stopping[at].is_some())
            {
                self.lose(at, true);
            }
        }
    }
}
