//! The clock of a chassis, here and in the simulator of a pair: it does not go back, and agrees with the world's neither in its beginning nor quite in its speed.

/// How much faster or slower one runs at most, in a thousand.
pub const SKEW_MAX: u64 = 10;

/// A clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begin_ms: u64,
    /// Its milliseconds in a thousand of the world's.
    per_1000: u64,
}

impl Clock {
    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        Self {
            begin_ms: rng.u64(0..10_000_000),
            per_1000: [1000 - SKEW_MAX, 1000, 1000 + SKEW_MAX][rng.usize(0..3)],
        }
    }

    /// What it shows at a time of the world.
    pub fn local(&self, world_ms: u64) -> u64 {
        self.begin_ms + world_ms * self.per_1000 / 1000
    }
}
