//! So many in one second: what bounds what strangers can make a worker do.

use tandem_engine::ticks::Ticks;

/// What is left of this second.
#[derive(Clone, Copy, Debug)]
pub(super) struct PerSecond {
    limit: u32,
    second: u32,
    left: u32,
}

impl PerSecond {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            second: 0,
            left: limit,
        }
    }

    /// One of them.
    pub(super) fn take(&mut self, now: Ticks) -> bool {
        self.take_above(0, now)
    }

    /// One of them, for what leaves the last `reserve` to others.
    pub(super) fn take_above(&mut self, reserve: u32, now: Ticks) -> bool {
        if self.second != now.seconds() {
            (self.second, self.left) = (now.seconds(), self.limit);
        }
        let may = self.left > reserve;
        self.left -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_limit_and_the_reserve_is_for_others() {
        let mut all = PerSecond::new(10);
        let first = Ticks(5);
        assert_eq!((0..20).filter(|_| all.take_above(4, first)).count(), 6);
        assert_eq!((0..20).filter(|_| all.take(Ticks(9))).count(), 4);
        assert!(!all.take_above(4, first));
        assert_eq!(
            (0..20).filter(|_| all.take(Ticks(10))).count(),
            10,
            "the next second"
        );
    }
}
