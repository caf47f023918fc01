//! Coarse time: the only clock the engine knows.
//!
//! One tick is 100 ms. The worker reads the TSC once per burst and passes ticks in; tests pass whatever they like.

/// Ticks of 100 ms since the engine's start, or a span of them. Wraps after 13 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u32);

impl Ticks {
    /// Ticks in one second.
    pub const PER_SECOND: u32 = 10;
    /// No time at all; as a timeout: "never" or "at once", as the field says.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds; saturates after 13 years.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds.saturating_mul(Self::PER_SECOND))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0 / Self::PER_SECOND
    }

    /// The span since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// This point in time plus a span; saturates.
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
