//! Whether the replication's thread still goes round: one that hangs decides about no role, and its heartbeats would go on saying
//! what was so before.
//!
//! It is counted in looks and not by a clock, so that a process that was stopped for a while, or a machine that stood still, is
//! not taken for one that hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many looks in a row without a round: ten seconds, at ten looks a second. A round is due every 20 ms.
const LOOKS_MAX: u32 = 100;

/// The thread's rounds.
#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The thread goes round.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks at the rounds from another thread.
pub(super) struct Feeler {
    pulse: Pulse,
    /// What was seen last, and for how many looks.
    seen: Mutex<(u64, u32)>,
}

impl Feeler {
    pub(super) fn new(pulse: Pulse) -> Self {
        Self {
            pulse,
            seen: Mutex::default(),
        }
    }

    /// Looks, and says whether it stands still for too long.
    pub(super) fn stands_still(&self) -> bool {
        let now = self.pulse.0.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = if seen.0 == now {
            (now, seen.1.saturating_add(1))
        } else {
            (now, 0)
        };
        seen.1 >= LOOKS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_does_not_go_round_for_many_looks_stands_still() {
        let pulse = Pulse::default();
        let feeler = Feeler::new(pulse.clone());
        for _ in 0..2 {
            for _ in 0..LOOKS_MAX - 1 {
                assert!(!feeler.stands_still());
            }
            pulse.beat();
            assert!(!feeler.stands_still());
        }
        let still = (0..LOOKS_MAX).filter(|_| feeler.stands_still()).count();
        assert_eq!(still, 1, "with the last");
    }
}
