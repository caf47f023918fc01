//! The state machine of services redundancy: one for each redundancy set whose roles are automatic. Redundancy spec, section 1.
//!
//! ```text
//!   heartbeats, monitors, workers --> Seen --tick--> table.rs: state x condition --> state shown, Wish
//!   policies, operator, stop ------> Command --ask--> Wish, or why not                             |
//!                                                                   Roles carries it out <--------'
//! ```
//!
//! It is pure: it looks, and says what is wished for. The state follows what the workers do; a wish that does not come about is
//! wished for again after [`RETRY_MS`].

mod command;
mod facts;
mod seen;
mod table;

use crate::{RoleCause, RoleState, WantedRole};
pub use command::{Command, Refused};
use facts::Facts;
pub use facts::{VACANCY_HOLD_MS, VACANCY_MAX_MS};
pub use seen::{PeerSeen, PeerSet, Seen, Settings};
pub use table::{Row, TABLE, Then, When};

/// How long a wish is not repeated, milliseconds.
pub const RETRY_MS: u64 = 1000;

/// How long a policy's release that the peer did not take, so that this chassis is primary again, is not tried again, milliseconds.
pub const RELEASE_AGAIN_MS: u64 = 30_000;

/// Rows that may follow each other at one time: more than the longest way through the states.
const STEPS_MAX: usize = 8;

/// A role that is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The role.
    pub to: WantedRole,
    /// Why.
    pub cause: RoleCause,
    /// Also when it costs sessions.
    pub force: bool,
    /// Of a release: the peer takes over. Otherwise it is not told, because nobody is to be primary.
    pub hands_over: bool,
    /// It is wished for again and again while all is as it is: refused for the same reason again it is no news.
    pub repeats: bool,
    /// Why, in words.
    pub reason: &'static str,
}

/// What a look or a command leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The set is called something else from now on.
    State {
        /// Before.
        from: RoleState,
        /// From now on.
        to: RoleState,
        /// Why.
        reason: &'static str,
    },
    /// A role is wished for.
    Wish(Wish),
    /// The peer's claim to a set that both are primary of is the better one: its epoch.
    Yield {
        /// The peer's epoch.
        epoch: u64,
        /// Why.
        reason: &'static str,
    },
}

/// What a set waits for, by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// In `initializing`, to hear of the peer.
    Initial,
    /// In `wait`, after a recovered failure.
    Recovery,
    /// Beside a primary that it is preferred to, before it preempts.
    Preempt,
    /// With nobody primary, before the better one takes the set.
    Vacancy,
}

/// The machine of one set.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    state: RoleState,
    reason: &'static str,
    since_ms: u64,
    /// It has looked once: the holds of the start are counted from then, however long the start took.
    has_looked: bool,
    /// It has been in `initializing` since the process started.
    is_fresh: bool,
    /// The recovery hold: until when a set rests in `wait`.
    hold_until_ms: u64,
    /// Since when it can carry the set, if it can: moves between `standby`, `standby-warned` and `wait` change nothing of that. One that
    /// fails, or is taken out, can do no more than before, and waits for nobody longer because of that.
    settled_ms: u64,
    vacant_since_ms: Option<u64>,
    /// When the peer was heard last, by whatever way.
    heard_ms: Option<u64>,
    preferred_since_ms: Option<u64>,
    is_taken_out: bool,
    is_stopping: bool,
    /// By command, while the peer was not there: it is not to be taken back because of that.
    was_released_alone: bool,
    /// Released by force to a peer that is heard, and perhaps could not be told: until then that one is to take it, as long as it can, and not
    /// this chassis because nobody has it.
    left_until_ms: Option<u64>,
    /// By the operator: it is not to be taken back by preemption.
    was_released_by_hand: bool,
    /// By the operator: no policy releases it for an event that was active then.
    was_acquired_by_hand: bool,
    /// When the workers gave the role up last, before the set was called anything else for it.
    given_up_ms: Option<u64>,
    /// What is broadcast, while it lasts.
    warning: Option<String>,
    /// What the operator warns of, until it is taken back.
    warning_by_hand: Option<String>,
    /// The last row that wished for something, and until when it does not again.
    wished: Option<(usize, u64)>,
}

impl Machine {
    /// As the process starts.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: RoleState::Initializing,
            reason: "the process has started",
            since_ms: 0,
            has_looked: false,
            is_fresh: true,
            hold_until_ms: 0,
            settled_ms: 0,
            vacant_since_ms: None,
            heard_ms: None,
            preferred_since_ms: None,
            is_taken_out: false,
            is_stopping: false,
            was_released_alone: false,
            left_until_ms: None,
            was_released_by_hand: false,
            was_acquired_by_hand: false,
            given_up_ms: None,
            warning: None,
            warning_by_hand: None,
            wished: None,
        }
    }

    /// What the set is called.
    #[must_use]
    pub const fn state(&self) -> RoleState {
        self.state
    }

    /// What the configuration says.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The holds that count for the present state, and when each is over, in the milliseconds it is given.
    #[must_use]
    pub fn holds(&self) -> Vec<(Hold, u64)> {
        let resting = matches!(
            self.state,
            RoleState::Standby | RoleState::StandbyWarned | RoleState::Wait
        );
        let settings = &self.settings;
        let initial =
            (self.state == RoleState::Initializing).then(|| self.since_ms + settings.initial_hold_ms);
        let recovery = (self.state == RoleState::Wait).then_some(self.hold_until_ms);
        let preempt = self
            .preferred_since_ms
            .map(|since| since + settings.preempt_hold_ms);
        let vacant = self.vacant_since_ms.filter(|_| resting);
        let left_until = self.left_until_ms.filter(|_| !settings.primary_always_exists);
        let vacancy = vacant.map(|since| {
            let until = since.max(self.settled_ms) + VACANCY_HOLD_MS;
            until.max(left_until.unwrap_or(0))
        });
        [
            (Hold::Initial, initial),
            (Hold::Recovery, recovery),
            (Hold::Preempt, preempt),
            (Hold::Vacancy, vacancy),
        ]
        .into_iter()
        .filter_map(|(hold, until)| Some((hold, until?)))
        .collect()
    }

    /// Of two primaries with the same epoch: whether it is this one that yields, to a peer of that priority. The better priority
    /// stays, then the lower redundancy address.
    #[must_use]
    pub fn yields_equal(&self, priority: u8) -> bool {
        let is_gateway_1 = self.settings.is_gateway_1;
        (self.settings.priority, !is_gateway_1) > (priority, is_gateway_1)
    }

    /// Whether the operator has taken it out or the daemon stops, so that nothing may be handed to it.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.is_taken_out || self.is_stopping
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// Since when, in the milliseconds it is given.
    #[must_use]
    pub const fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Whether the operator has taken it out, which a primary may still wait for.
    #[must_use]
    pub const fn is_taken_out(&self) -> bool {
        self.is_taken_out
    }

    /// The cause of the warning that the operator or a policy broadcasts.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning_by_hand.as_deref().or(self.warning.as_deref())
    }

    /// Whether the operator warns.
    const fn is_warned_by_hand(&self) -> bool {
        self.warning_by_hand.is_some()
    }

    /// The configuration is another.
    pub const fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Looks, and says what follows: at most one wish.
    pub fn tick(&mut self, seen: &Seen) -> Vec<Output> {
        self.remember(seen);
        let mut out = Vec::new();
        for _ in 0..STEPS_MAX {
            let Some((at, row)) = self.row(seen) else { break };
            match row.then {
                Then::Go(to) => out.push(self.go(to, row.reason, seen)),
                Then::Yield => {
                    let epoch = seen.peer.set().map_or(0, |peer| peer.epoch);
                    let reason = row.reason;
                    self.wished = Some((at, seen.now_ms + RETRY_MS));
                    out.push(Output::Yield { epoch, reason });
                    break;
                }
                Then::Wish {
                    to,
                    cause,
                    force,
                    hands_over,
                } => {
                    self.wished = Some((at, seen.now_ms + RETRY_MS));
                    let reason = row.reason;
                    out.push(Output::Wish(Wish {
                        to,
                        cause,
                        force,
                        hands_over,
                        repeats: true,
                        reason,
                    }));
                    break;
                }
            }
        }
        out
    }

    /// The first row that holds. One that wishes for something waits for a change under way, and for its retry.
    fn row(&self, seen: &Seen) -> Option<(usize, &'static Row)> {
        let facts = Facts::of(self, seen);
        let waits = |at: usize| {
            self.wished
                .is_some_and(|(row, until)| row == at && seen.now_ms < until)
        };
        TABLE.iter().enumerate().find(|(at, row)| {
            let may = match row.then {
                Then::Go(_) => true,
                Then::Yield => !waits(*at),
                Then::Wish { .. } => !seen.is_changing && !waits(*at),
            };
            may && row.from.contains(&self.state) && facts.holds(row.when)
        })
    }

    fn go(&mut self, to: RoleState, reason: &'static str, seen: &Seen) -> Output {
        let from = self.state;
        let is_peer_well = seen.peer.set().is_some_and(PeerSet::is_well);
        if to == RoleState::Primary {
            (self.was_released_alone, self.was_released_by_hand) = (false, false);
            self.left_until_ms = None;
            // A peer that is well, and hands over to one with an active event, does as an operator says.
            self.was_acquired_by_hand |= seen.was_asked_for && is_peer_well;
        }
        if from == RoleState::Primary {
            (self.was_acquired_by_hand, self.given_up_ms) = (false, None);
            // With nothing wrong on either nobody asks but an operator over there, and one that is preferred.
            let is_well = is_peer_well && !seen.is_warned && !self.is_warned_by_hand();
            let is_preferred = Facts::of(self, seen).is_peer_preferred();
            self.was_released_by_hand |= seen.was_asked_for && is_well && !is_preferred;
        }
        let rests = |state| {
            matches!(
                state,
                RoleState::Standby | RoleState::StandbyWarned | RoleState::Wait
            )
        };
        if !rests(from) && rests(to) {
            self.settled_ms = seen.now_ms;
        }
        self.is_fresh = false;
        (self.state, self.reason, self.since_ms) = (to, reason, seen.now_ms);
        self.wished = None;
        Output::State { from, to, reason }
    }

    /// What lasts, and what is over.
    fn remember(&mut self, seen: &Seen) {
        if !std::mem::replace(&mut self.has_looked, true) {
            (self.since_ms, self.settled_ms) = (seen.now_ms, seen.now_ms);
        }
        let facts = Facts::of(self, seen);
        let (vacant, preferred, failed) = (facts.is_vacant(), facts.is_preferred(), facts.is_failed);
        let since = |before: Option<u64>, lasts: bool| lasts.then(|| before.unwrap_or(seen.now_ms));
        self.vacant_since_ms = since(self.vacant_since_ms, vacant && !seen.is_changing);
        self.preferred_since_ms = since(self.preferred_since_ms, preferred);
        if failed {
            self.hold_until_ms = seen.now_ms.saturating_add(self.settings.recovery_hold_ms);
        }
        self.warning = self.warning.take().filter(|_| seen.broadcasts);
        let is_to_take = |peer: &PeerSet| !peer.is_primary && peer.can_take_over();
        let is_left = seen.peer.set().is_some_and(is_to_take);
        self.left_until_ms = self.left_until_ms.filter(|&until| is_left && seen.now_ms < until);
        if seen.peer.set().is_some() {
            self.heard_ms = Some(seen.now_ms);
            self.was_released_alone = false;
        } else {
            self.was_released_by_hand = false;
        }
        if self.state == RoleState::Primary {
            self.was_acquired_by_hand &= seen.releases;
            if !seen.ours.primary {
                self.given_up_ms = Some(seen.now_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests;
