//! Holding an extent: it gives no port but to subscribers in blocks of their own, because a chassis before this one may have given
//! out ports of it without a word.
//!
//! ```text
//!   standby    told until when it is held --.      [`Extent::note_hold`]
//!   takeover   until then, or anew <--------'      [`Extent::hold`]
//!   primary    the time is over, and its ports are needed --> the end is told --> the other chassis knows --> it gives ports
//!                                                  [`Extent::go_on`]
//! ```
//!
//! So a chassis that takes over from a primary while that held the extent knows that nobody was given a port of it meanwhile, and what
//! is left of its rest is enough. That is why a hold does not end before its ports are needed: the next takeover need not rest it again.

use zerocopy::{FromZeros, Immutable, KnownLayout};

use super::rest::Word;
use super::{Extent, HELD, Wait};
use crate::session::NO_RECORD;
use crate::ticks::Ticks;

/// After so long the end is told again: a connection may have ended meanwhile, and nothing else that ends be told on the next one.
const AGAIN: Ticks = Ticks::from_seconds(60);

/// Until when an extent is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, KnownLayout, Immutable)]
#[repr(C)]
pub struct Hold {
    /// In ticks; zero: it is not held.
    until: u32,
    /// When its end was told, in ticks; [`NO_RECORD`]: it was not; or [`SECRET`].
    told: u32,
    /// Of what a standby was told: until the pool has another number, it counts.
    of: u32,
}

impl Hold {
    /// It is not held.
    pub const NONE: Self = Self {
        until: 0,
        told: NO_RECORD,
        of: 0,
    };
}

/// In place of the time at which the end of a hold was told: the other chassis is told nothing of the hold, because something that it
/// does not know may be in use here.
const SECRET: u32 = NO_RECORD - 1;

/// What is to be done about a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldStep {
    /// There is none, or none any more.
    None,
    /// It goes on.
    Goes,
    /// It ends, and the other chassis is to be told now.
    Tell,
    /// That was told, and has still to be known.
    Waits,
}

impl Extent {
    /// A takeover: it is held until `until`, or as long as the other chassis said under the number `of`. `is_told`: all that is in
    /// use of it is known to the other chassis, or will be.
    pub fn hold(&mut self, until: Ticks, of: u32, is_told: bool) {
        if self.hold.until == 0 || self.hold.of != of {
            self.hold.until = until.0.max(1);
        }
        self.hold.told = if is_told { NO_RECORD } else { SECRET };
        self.full_since = [HELD; 3];
    }

    /// Another chassis gave out ports of it beside this one, and what ended there is not known here: it is held until `until` at least,
    /// and as ports of it are in use here, the other chassis is told nothing of that.
    pub fn hold_longer(&mut self, until: Ticks) {
        self.hold.until = self.hold.until.max(until.0).max(1);
        self.hold.told = SECRET;
        self.full_since = [HELD; 3];
    }

    /// The other chassis holds it until then (zero: it does not), and said so under the number `of`.
    pub fn note_hold(&mut self, until: Ticks, of: u32) {
        self.hold = Hold {
            until: until.0,
            told: NO_RECORD,
            of,
        };
        self.full_since = [HELD; 3];
    }

    /// Whether it is held: its time may be over.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.hold.until != 0
    }

    /// Whether it is held, and the time is not over at `now`.
    #[must_use]
    pub const fn is_resting(&self, now: Ticks) -> bool {
        now.0 < self.hold.until
    }

    /// Whether nobody else may have it: its time is not over at `now`, or the other chassis may still go by what it was told of it.
    #[must_use]
    pub const fn is_binding(&self, now: Ticks, wait: Wait) -> bool {
        let is_told = self.hold.until != 0 && self.hold.told != SECRET;
        self.is_resting(now) || is_told && !wait.is_hold_over(self.hold.told)
    }

    /// Until when the other chassis can go by that it gives no port, if it was not told otherwise; zero: it may give ports. It may know
    /// nothing of ports that ended here under a quarantine, so these have rested then, too.
    #[must_use]
    pub fn held_until(&self, quarantine: Ticks) -> Ticks {
        if self.hold.until == 0 || self.hold.told != NO_RECORD {
            return Ticks::ZERO;
        }
        let last_end = self.words.iter().flatten().map(Word::last_freed).max();
        let rested = last_end
            .filter(|at| *at != 0)
            .map_or(0, |at| at.saturating_add(quarantine.0));
        Ticks(self.hold.until.max(rested))
    }

    /// What is to be done about its hold at `now`, where its ports are needed or not. [`HoldStep::Tell`] counts as told.
    pub fn go_on(&mut self, now: Ticks, wait: Wait, is_needed: bool) -> HoldStep {
        if self.hold.until == 0 {
            HoldStep::None
        } else if self.hold.told == SECRET {
            if !is_needed || now.0 < self.hold.until {
                return HoldStep::Goes;
            }
            self.hold = Hold::NONE;
            HoldStep::None
        } else if self.hold.told != NO_RECORD {
            if wait.is_hold_over(self.hold.told) {
                self.hold = Hold::NONE;
                return HoldStep::None;
            }
            if now.since(Ticks(self.hold.told)) < AGAIN {
                return HoldStep::Waits;
            }
            self.hold.told = now.0;
            HoldStep::Tell
        } else if is_needed && now.0 >= self.hold.until {
            self.hold.told = now.0;
            HoldStep::Tell
        } else {
            HoldStep::Goes
        }
    }
}
