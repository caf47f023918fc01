//! Answers that the guard owes: one for each list. One that runs and does not take what it is given would undo things that are gone,
//! and leave what is there.
//!
//! It is counted in looks and not by a clock alone, so that a process that was stopped for a while does not take the guard, to which
//! it had not listened, for one that hangs.

use std::time::{Duration, Instant};

/// Between two looks that count, at least.
const BETWEEN: Duration = Duration::from_millis(100);
/// So many looks without an answer: two seconds. A list is taken in milliseconds, also when each of its ways leads through a namespace.
const LOOKS_MAX: u32 = 20;

/// How long the oldest answer that has not come is owed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    answers: usize,
    /// Looks since the last answer, or since the first list after it.
    looks: u32,
    last: Option<Instant>,
}

impl Owed {
    /// The guard was given a list.
    pub(super) const fn asked(&mut self) {
        self.answers += 1;
    }

    /// So many answers have come.
    pub(super) const fn answered(&mut self, count: usize) {
        if count > 0 {
            self.answers = self.answers.saturating_sub(count);
            (self.looks, self.last) = (0, None);
        }
    }

    /// A look, after the answers that have come were taken: whether the guard is silent for too long.
    pub(super) fn is_overdue(&mut self, now: Instant) -> bool {
        if self.answers == 0 {
            (self.looks, self.last) = (0, None);
        } else if self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN)
        {
            (self.looks, self.last) = (self.looks + 1, Some(now));
        }
        self.looks > LOOKS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of many looks, `step_ms` apart, at which it is overdue: milliseconds.
    fn first(owed: &mut Owed, begin: Instant, step_ms: u64) -> Option<u64> {
        let mut times = (0..10_000).map(|look| look * step_ms);
        times.find(|at| owed.is_overdue(begin + Duration::from_millis(*at)))
    }

    #[test]
    fn an_answer_that_does_not_come_is_overdue_after_two_seconds_however_often_it_is_looked_at() {
        let begin = Instant::now();
        for step_ms in [1, 10, 100] {
            let mut owed = Owed::default();
            assert_eq!(first(&mut owed, begin, step_ms), None, "nothing is owed");
            owed.asked();
            assert_eq!(first(&mut owed, begin, step_ms), Some(2000), "{step_ms}");
        }
    }

    #[test]
    fn lists_while_one_is_owed_put_nothing_off_and_an_answer_does() {
        let (mut owed, begin) = (Owed::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        for look in 0..20 {
            owed.asked();
            assert!(!owed.is_overdue(at(look * 100)));
        }
        assert!(owed.is_overdue(at(2000)));
        owed.answered(0);
        assert!(owed.is_overdue(at(2001)), "no answer is none");
        owed.answered(1);
        assert!(!owed.is_overdue(at(2002)), "it moves");
        owed.answered(19);
        assert_eq!(first(&mut owed, at(2003), 100), None);
    }

    #[test]
    fn a_process_that_was_stopped_looks_once() {
        let (mut owed, begin) = (Owed::default(), Instant::now());
        owed.asked();
        assert!(!owed.is_overdue(begin));
        assert!(!owed.is_overdue(begin + Duration::from_secs(600)));
        owed.answered(1);
        assert!(!owed.is_overdue(begin + Duration::from_secs(601)));
    }
}
