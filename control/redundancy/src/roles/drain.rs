//! Draining: of a set that was handed over, the workers go on with what they know until the peer has it, and for a while after, as
//! routers send here still. Signal routes stay for three quarters of that while: the peer's have to be there first.
//!
//! ```text
//!   release --Begin--> waits for the peer --it is primary, and most of the time--> Withdraw --the time is over--> End
//!                          '--too long, or the peer's claim was the better one: Withdraw, End
//! ```

use std::collections::BTreeMap;

use super::Roles;
use super::change::CHANGE_MAX_MS;
use super::rules::Hands;

/// How long a set drains after the peer has become primary, at most. Milliseconds.
pub const DRAIN_MS_MAX: u64 = 10_000;

/// A step of a set that drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// The workers are about to be made standby, and go on with the sessions they have. Virtual addresses go, signal routes stay.
    Begin {
        /// For so long at most, if nobody says that it ends. Milliseconds.
        most_ms: u64,
    },
    /// What sends packets here goes.
    Withdraw,
    /// The workers stop.
    End,
}

/// One that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// Since when the peer is primary.
    taken_ms: Option<u64>,
    /// When it ends: for as long as the peer is not primary, the latest time it may.
    end_ms: u64,
    has_withdrawn: bool,
}

/// The sets that drain, or would.
#[derive(Debug, Default)]
pub(super) struct Drains {
    /// How long each is to, milliseconds; not at all without.
    times: BTreeMap<u8, u64>,
    running: BTreeMap<u8, Running>,
}

impl Drains {
    /// A set is handed over: to be called before its workers hear of it. Where it is because something has failed here, nothing is to be sent
    /// here any more, and what sends goes at once: a link that is down, or a routing daemon whose successor would find routes that are about to go.
    pub fn begin(&mut self, set: u8, has_failed: bool, now_ms: u64, hands: &mut impl Hands) {
        let Some(time) = self.times.get(&set).copied().filter(|time| *time > 0) else {
            return;
        };
        let most_ms = CHANGE_MAX_MS + time;
        let running = Running {
            taken_ms: None,
            end_ms: now_ms + most_ms,
            has_withdrawn: has_failed,
        };
        self.running.insert(set, running);
        hands.drain(set, Drain::Begin { most_ms });
        if has_failed {
            hands.drain(set, Drain::Withdraw);
        }
    }

    /// The set is primary here again.
    pub fn forget(&mut self, set: u8) {
        self.running.remove(&set);
    }

    /// Only such sets are there from now on. What drains of another has nobody any more who would withdraw it.
    pub fn keep(&mut self, is_there: impl Fn(u8) -> bool, hands: &mut impl Hands) {
        self.running.retain(|set, running| {
            let stays = is_there(*set);
            if !stays && !running.has_withdrawn {
                hands.drain(*set, Drain::Withdraw);
            }
            stays
        });
    }

    /// The peer is primary.
    pub fn taken(&mut self, set: u8, now_ms: u64) {
        let time = self.times.get(&set).copied().unwrap_or(0);
        if let Some(running) = self.running.get_mut(&set).filter(|r| r.taken_ms.is_none()) {
            (running.taken_ms, running.end_ms) = (Some(now_ms), now_ms + time);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64, hands: &mut impl Hands) {
        for (set, running) in &mut self.running {
            let most = |taken: u64| taken + running.end_ms.saturating_sub(taken) / 4 * 3;
            let withdraw_ms = running.taken_ms.map_or(running.end_ms, most);
            if now_ms >= withdraw_ms && !running.has_withdrawn {
                running.has_withdrawn = true;
                hands.drain(*set, Drain::Withdraw);
            }
            if now_ms >= running.end_ms {
                hands.drain(*set, Drain::End);
            }
        }
        self.running.retain(|_, running| now_ms < running.end_ms);
    }

    /// It ends at once: the peer's claim was the better one, and what it gave out may be given out here.
    pub fn end(&mut self, set: u8, hands: &mut impl Hands) {
        if self.running.remove(&set).is_some() {
            hands.drain(set, Drain::Withdraw);
            hands.drain(set, Drain::End);
        }
    }
}

impl Roles {
    /// How long each set drains after the peer has taken it over, milliseconds, 0..=[`DRAIN_MS_MAX`]; one that is not named does
    /// not. To be called after [`Roles::follow`]; what runs goes on as it began.
    pub fn set_drains(&mut self, times: &[(u8, u64)]) {
        self.drains.times = times
            .iter()
            .map(|(set, ms)| (*set, (*ms).min(DRAIN_MS_MAX)))
            .collect();
    }

    /// Whether the peer has taken over a set that drains here still.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drains
            .running
            .values()
            .any(|running| running.taken_ms.is_some())
    }

    /// When a set that drains ends that at the latest, milliseconds.
    #[must_use]
    pub fn drains_until(&self, set: u8) -> Option<u64> {
        self.drains.running.get(&set).map(|running| running.end_ms)
    }
}

#[cfg(test)]
mod tests;
