//! Bulks that begin by themselves rest longer and longer after one another: a peer that is slower than what it is told, or asks
//! without end, is not told everything for ever.

/// From the first begin of a bulk to the next one that is asked for soon after it, milliseconds. It doubles each time.
const REST_MS: u64 = 1000;
/// And at most.
const REST_MS_MAX: u64 = 300_000;
/// Without anybody asking for so long, or twice the rest, all is well again.
const CALM_MS: u64 = 60_000;

/// When the next bulk may begin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Damping {
    /// When the last one began.
    began_ms: Option<u64>,
    /// What rested before it.
    rest_ms: u64,
}

impl Damping {
    /// A bulk began.
    pub fn began(&mut self, now: u64) {
        self.began_ms = Some(now);
    }

    /// A bulk is asked for: when it may begin.
    pub fn asked(&mut self, now: u64) -> u64 {
        let Some(began) = self.began_ms else { return now };
        let calm = now.saturating_sub(began) >= CALM_MS.max(2 * self.rest_ms);
        self.rest_ms = match calm {
            true => 0,
            false => (2 * self.rest_ms).clamp(REST_MS, REST_MS_MAX),
        };
        now.max(began.saturating_add(self.rest_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_rests_longer_and_calm_ends_it() {
        let mut damping = Damping::default();
        assert_eq!(damping.asked(5000), 5000);
        damping.began(5000);
        let mut now = 5000;
        let mut rests = Vec::new();
        for _ in 0..11 {
            // Asked for again at once.
            let next = damping.asked(now);
            rests.push((next - now) / 1000);
            now = next;
            damping.began(now);
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(
            damping.asked(now + 599_000),
            now + 599_000,
            "not before its time anyway"
        );
        damping.began(now + 599_000);
        let calm = now + 1_199_000;
        assert_eq!(damping.asked(calm), calm);
        damping.began(calm);
        assert_eq!(damping.asked(calm + 10), calm + 1000, "as at the beginning");
    }
}
