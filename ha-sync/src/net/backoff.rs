//! How long to wait before the next attempt: doubling, with jitter, so that two ends do not keep in step.

use std::time::Duration;

/// The waits between attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max: max.max(min),
            next: min,
        }
    }

    /// The wait before the next attempt: between half of the step and all of it. The step after it is twice as long.
    pub(super) fn wait(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        step.mul_f64(0.5 + fastrand::f64() / 2.0).max(self.min)
    }

    /// It worked: the next wait is a short one again.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_again() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max);
        let waits: Vec<_> = (0..12).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| (min..=max).contains(wait)), "{waits:?}");
        assert!(waits[11] >= max / 2);
        backoff.reset();
        assert_eq!(backoff.wait(), min);
    }
}
