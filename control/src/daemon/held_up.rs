//! A worker that stands still cannot give up its role, so a set that is to be handed over has no primary until the peer takes it
//! by the vacancy rule, after seconds. A process that is killed is taken over from at once: this decides when that is better.
//!
//! It is counted in looks and not by a clock alone, so that a process that was stopped for a while, whose workers all seem to stand
//! still for a moment, is not taken for one whose worker does.

use std::time::Duration;

/// Between two looks that count, at least.
const BETWEEN: Duration = Duration::from_millis(100);
/// So many looks in a row: half a second.
const LOOKS_MAX: u32 = 5;

/// A handover that a worker holds up.
#[derive(Default)]
pub(super) struct HeldUp {
    /// Workers are to give up a role that the peer waits for.
    hands_over: bool,
    looks: u32,
    last: Duration,
}

impl HeldUp {
    /// Workers are to give up a role that the peer waits for, or have.
    pub(super) const fn hands_over(&mut self, hands_over: bool) {
        (self.hands_over, self.looks) = (hands_over, 0);
    }

    /// A look: whether a worker stands still, at a time since the start. True: it has held up a handover for too long.
    pub(super) fn look(&mut self, is_stalled: bool, now: Duration) -> bool {
        if !(self.hands_over && is_stalled) {
            self.looks = 0;
        } else if now.saturating_sub(self.last) >= BETWEEN || self.looks == 0 {
            (self.looks, self.last) = (self.looks + 1, now);
        }
        self.looks > LOOKS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: u64) -> Duration {
        Duration::from_millis(at)
    }

    /// When it says so first, of looks every `step` milliseconds.
    fn first(held: &mut HeldUp, step: u64) -> Option<u64> {
        let mut times = (0..100).map(|look| 1000 + look * step);
        times.find(|at| held.look(true, ms(*at)))
    }

    #[test]
    fn a_handover_waits_half_a_second_for_a_worker() {
        let mut held = HeldUp::default();
        assert_eq!(first(&mut held, 100), None, "nothing is handed over");
        for step in [100, 10] {
            held.hands_over(true);
            assert_eq!(first(&mut held, step), Some(1500), "{step}");
        }
    }

    #[test]
    fn one_that_moves_again_or_a_handover_that_is_done_begins_anew() {
        let mut held = HeldUp::default();
        for between in [false, true] {
            held.hands_over(true);
            for look in 0..5 {
                assert!(!held.look(true, ms(1000 + look * 100)));
            }
            if between {
                assert!(!held.look(false, ms(1500)));
            } else {
                held.hands_over(true);
            }
            assert!(!held.look(true, ms(1600)));
        }
        // A process that was stopped for minutes: one look, and then the workers are back.
        held.hands_over(true);
        assert!(!held.look(true, ms(400_000)) && !held.look(false, ms(400_001)));
    }
}
