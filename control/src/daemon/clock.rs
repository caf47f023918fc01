//! The dataplane's time in the world's: ticks and TSC cycles as seconds, milliseconds and points in time.

use std::time::{Duration, SystemTime};

use rte_bindings::tsc_cycles;
use tandem_dataplane::dataplane::Dataplane;
use tandem_engine::ticks::Ticks;

/// When tick 0 was, and how long a second is, in cycles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    hz: u64,
    start: u64,
}

impl Clock {
    pub(super) fn of(dataplane: &Dataplane) -> Self {
        Self {
            hz: dataplane.tsc_hz.max(1),
            start: dataplane.tsc_start,
        }
    }

    /// One that stands at tick 0.
    #[cfg(test)]
    pub(super) const fn stopped() -> Self {
        Self {
            hz: 1,
            start: u64::MAX,
        }
    }

    /// Time since tick 0.
    pub(super) fn uptime(self) -> Duration {
        let cycles = tsc_cycles().saturating_sub(self.start);
        Duration::from_millis((u128::from(cycles) * 1000 / u128::from(self.hz)) as u64)
    }

    /// How long ago a heartbeat was; `None` before the first.
    pub(super) fn age(self, heartbeat: u64) -> Option<Duration> {
        let cycles = tsc_cycles().saturating_sub(heartbeat);
        (heartbeat != 0)
            .then(|| Duration::from_millis((u128::from(cycles) * 1000 / u128::from(self.hz)) as u64))
    }

    /// A tick as a point in time. Reckoned from now, so that a clock that was set meanwhile is right for what is logged now.
    pub(super) fn wall(self, at: Ticks) -> SystemTime {
        wall(SystemTime::now(), self.uptime(), at)
    }
}

fn wall(now: SystemTime, uptime: Duration, at: Ticks) -> SystemTime {
    let since_start = Duration::from_millis(u64::from(at.0) * 1000 / u64::from(Ticks::PER_SECOND));
    now.checked_sub(uptime.saturating_sub(since_start)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::unix_seconds;

    #[test]
    fn ticks_are_places_on_the_wall_clock() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let uptime = Duration::from_secs(60);
        let at = |tick| unix_seconds(wall(now, uptime, Ticks(tick)));
        assert_eq!((at(0), at(100), at(600)), (999_940, 999_950, 1_000_000));
        assert_eq!(at(9_999), 1_000_000, "nothing lies in the future");
    }
}
