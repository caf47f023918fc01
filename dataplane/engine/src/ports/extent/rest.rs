//! The rest of ports that were given back: the pool's quarantine (RFC 6888 REQ-8), and with another chassis until that knows.
//!
//! A chassis that takes over goes by what it knows: a port that ended here is still its former holder's there until it has
//! heard of the end. So none goes to somebody else before that is acknowledged ([`Wait`]), however short the quarantine.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use crate::ticks::Ticks;

/// What the other chassis has still to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Shortest rest, in ticks: 1 so that bits stand for what waits.
    least: u32,
    /// What ended at this tick or later waits.
    settled: u32,
    /// Holds whose end was told at this tick or later wait.
    holds: u32,
}

impl Wait {
    /// There is nobody to tell.
    pub const NONE: Self = Self {
        least: 0,
        settled: u32::MAX,
        holds: u32::MAX,
    };

    /// Somebody is told. What ended before `settled` is known there; with `None`, nothing waits for it.
    #[must_use]
    pub const fn told(settled: Option<Ticks>) -> Self {
        Self {
            least: 1,
            settled: match settled {
                Some(settled) => settled.0,
                None => u32::MAX,
            },
            holds: u32::MAX,
        }
    }

    /// The same, and extents are held until their end, told before `known`, is known to the other chassis; with `None`, until that is
    /// told to nobody.
    #[must_use]
    pub const fn holding(self, known: Option<Ticks>) -> Self {
        Self {
            holds: match known {
                Some(known) => known.0,
                None => u32::MAX,
            },
            ..self
        }
    }

    /// [`Wait::NONE`], but for holds.
    #[must_use]
    pub const fn holds_only(self) -> Self {
        Self {
            holds: self.holds,
            ..Self::NONE
        }
    }

    /// Whether the other chassis knows of the end of a hold that was told at `at`, in ticks, or need not.
    #[inline]
    #[must_use]
    pub const fn is_hold_over(self, at: u32) -> bool {
        self.holds == u32::MAX || at < self.holds
    }

    /// Whether the other chassis knows of what ended at `at`, in ticks, or need not.
    #[inline]
    #[must_use]
    pub const fn is_settled(self, at: u32) -> bool {
        at < self.settled
    }
}

/// The rest in force, and where in its periods now is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    now: u32,
    /// Begin of the period that holds now.
    start: u32,
    /// Zero: freed ports do not rest.
    quarantine: u32,
    /// See [`Wait`].
    settled: u32,
}

impl Rest {
    /// The rest of ports at `now` under a pool's quarantine, and until the other chassis knows.
    #[inline]
    #[must_use]
    pub const fn new(now: Ticks, quarantine: Ticks, wait: Wait) -> Self {
        let quarantine = if quarantine.0 < wait.least {
            wait.least
        } else {
            quarantine.0
        };
        Self {
            now: now.0,
            start: if quarantine == 0 {
                0
            } else {
                now.0 - now.0 % quarantine
            },
            quarantine,
            settled: wait.settled,
        }
    }

    /// Now, in ticks.
    #[inline]
    pub const fn now(&self) -> u32 {
        self.now
    }

    /// Begin of the period that holds now, in ticks; zero without a quarantine.
    #[inline]
    pub const fn period(&self) -> u32 {
        self.start
    }

    /// [`Wait::is_settled`].
    #[inline]
    pub const fn is_settled(&self, at: u32) -> bool {
        at < self.settled
    }
}

/// 64 ports of one class.
#[derive(Clone, Copy, Debug, FromZeros, KnownLayout, Immutable)]
#[repr(C, align(32))]
pub(super) struct Word {
    pub used: u64,
    pub freed_now: u64,
    pub freed_before: u64,
    /// When the period of `freed_now` began, in ticks.
    since: u32,
    /// When a port was last freed, in ticks.
    last_freed: u32,
}

impl Word {
    /// All free.
    pub const EMPTY: Self = Self {
        used: 0,
        freed_now: 0,
        freed_before: 0,
        since: 0,
        last_freed: 0,
    };

    /// When a port was last freed, in ticks; zero: never.
    pub fn last_freed(&self) -> u32 {
        self.last_freed
    }

    /// Moves quarantine on and returns the ports that may be taken.
    #[inline]
    pub fn free(&mut self, rest: Rest) -> u64 {
        if self.since != rest.start {
            self.move_on(rest);
        }
        !(self.used | self.freed_now | self.freed_before)
    }

    /// `freed_before` was freed before `since`, and `freed_now` at `last_freed` at the latest.
    fn move_on(&mut self, rest: Rest) {
        let rested = |at: u32| rest.now.saturating_sub(at) >= rest.quarantine;
        if rested(self.last_freed) && rest.is_settled(self.last_freed) {
            (self.freed_now, self.freed_before, self.since) = (0, 0, rest.start);
        } else if rested(self.since) && self.last_freed < rest.start && self.since <= rest.settled {
            (self.freed_before, self.freed_now, self.since) = (self.freed_now, 0, rest.start);
        }
    }

    /// What is not in use rests as if it were freed now.
    pub fn rest_unused(&mut self, rest: Rest) {
        self.free(rest);
        if rest.quarantine != 0 {
            self.freed_now |= !self.used;
            self.last_freed = rest.now;
        }
    }

    /// Frees a port that is in use. Whether it rests.
    #[inline]
    pub fn release(&mut self, bit: u64, rest: Rest) -> bool {
        self.free(rest);
        self.used &= !bit;
        if rest.quarantine == 0 {
            return false;
        }
        self.freed_now |= bit;
        self.last_freed = rest.now;
        true
    }
}
