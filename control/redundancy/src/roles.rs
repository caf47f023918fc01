//! Roles of redundancy sets, changed by hand: which are asked for, refused, handed over and taken, without threads or sockets.
//!
//! ```text
//!   primary   peer gone, or standby -----------------------------------------> workers take it up --> done
//!             peer primary --> it is asked --> it has released, or is gone ---^
//!   standby   peer knows all --> workers take it up --> the peer is told --> the peer is primary ---> done
//! ```
//!
//! A change is one at a time for each set, has the next epoch, and is logged and kept in the history whether it came about or
//! was refused. Redundancy spec, section 1. Here is what is asked for; `peer.rs` has what the peer says, `progress.rs` how a
//! change goes on.

mod change;
mod drain;
mod peer;
mod progress;
mod rules;
mod start;
mod vacancy;

use std::collections::{BTreeMap, VecDeque};

use tandem_engine::replica::Role;

use crate::machine::Wish;
use crate::{Event, RoleCause, RoleChange, RoleError, RoleState, WantedRole};
use change::{CHANGE_MAX_MS, Change, LISTEN_MS, Stage, give, state};
use drain::Drains;
use rules::{may_acquire, may_release, next_epoch};
pub use start::Configured;
use start::Start;

pub use change::Answer;
pub use drain::{DRAIN_MS_MAX, Drain};
pub use rules::{Hands, Lack, Peer};
pub use start::advice;
pub use vacancy::nobody;

/// A redundancy set.
struct Set {
    cause: RoleCause,
    change: Option<Change>,
    /// It has not found its role since the start.
    start: Option<Start>,
    /// What its machine calls it, if its roles are automatic.
    called: Option<RoleState>,
    /// This chassis was its primary last, as far as it knows: what it has is all there is.
    was_last: bool,
    /// What was wished for last here, again and again, and why it was refused: until another event.
    refused: Option<(WantedRole, String)>,
    /// The peer was told that the set is released, and has not said since that it is primary.
    told: bool,
    /// The same, and the connection broke: perhaps it has not heard it.
    unheard: bool,
    /// Since when nobody is its primary, as far as is known: milliseconds.
    vacant_ms: Option<u64>,
    /// That lasts too long.
    vacant: bool,
}

/// What is shown of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Why it has its role; since when, the events say.
    pub cause: RoleCause,
    /// The role that is being taken up.
    pub changing_to: Option<WantedRole>,
    /// What it is called until it has found its role after the start.
    pub starting: Option<RoleState>,
    /// The peer holds its sessions, nobody is primary, and a person has to decide: [`advice`].
    pub held: bool,
    /// This chassis was its primary last: nothing is missing here.
    pub was_last: bool,
    /// Nobody is its primary for some seconds: [`nobody`].
    pub vacant: bool,
}

/// The roles of all redundancy sets of a group.
pub struct Roles {
    sets: BTreeMap<u8, Set>,
    events: VecDeque<Event>,
    /// How long a set waits at start to hear of the peer.
    hold_ms: u64,
    drains: Drains,
}

impl Roles {
    /// Without sets yet. `hold_ms`: how long a set waits at start to hear of the peer, milliseconds.
    #[must_use]
    pub fn new(hold_ms: u64) -> Self {
        Self {
            sets: BTreeMap::new(),
            events: VecDeque::new(),
            hold_ms,
            drains: Drains::default(),
        }
    }

    /// These are the sets from now on, each with its configured role; those that are new start, as standby.
    pub fn follow(&mut self, sets: &[(u8, Configured)], hands: &mut impl Hands) {
        self.sets
            .retain(|number, _| sets.iter().any(|(one, _)| one == number));
        self.drains
            .keep(|set| sets.iter().any(|(one, _)| *one == set), hands);
        for (number, role) in sets {
            if self.sets.contains_key(number) {
                continue;
            }
            let set = Set {
                cause: RoleCause::Start,
                change: None,
                start: Start::of(*role),
                called: matches!(role, Configured::Automatic).then_some(RoleState::Initializing),
                was_last: false,
                refused: None,
                told: false,
                unheard: false,
                vacant_ms: None,
                vacant: false,
            };
            self.sets.insert(*number, set);
            // Engines begin as primary, but nothing was translated yet.
            hands.take_up(*number, Role::Standby, 0);
            let (from, to) = (RoleState::Standby, RoleState::Initializing);
            self.events.push_back(start::entry(*number, from, to, 0, None));
        }
    }

    /// What is to be shown of a set.
    #[must_use]
    pub fn shown(&self, set: u8) -> Option<Shown> {
        self.sets.get(&set).map(|set| Shown {
            cause: set.cause,
            changing_to: set.change.as_ref().map(|change| change.to),
            starting: set.start.as_ref().map(Start::state),
            held: set.start.as_ref().is_some_and(Start::is_held),
            was_last: set.was_last,
            vacant: set.vacant,
        })
    }

    /// Whether a change is under way that somebody still waits for.
    #[must_use]
    pub fn is_changing(&self, now_ms: u64) -> bool {
        let changes = self.sets.values().filter_map(|set| set.change.as_ref());
        changes.into_iter().any(|change| now_ms < change.until_ms)
    }

    /// Whether workers are still to give up a role that the peer is to take over.
    #[must_use]
    pub fn waits_to_hand_over(&self) -> bool {
        let changes = self.sets.values().filter_map(|set| set.change.as_ref());
        let waits = |change: &Change| {
            change.tell && change.stage == Stage::Taking && change.to == WantedRole::Standby
        };
        changes.into_iter().any(waits)
    }

    /// What became of roles since it was last asked: the oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A set of an automatic chassis is called something else. What follows the workers' role has its event by that.
    pub(crate) fn became(&mut self, set: u8, from: RoleState, to: RoleState, epoch: u64, reason: &str) {
        if let Some(known) = self.sets.get_mut(&set) {
            known.called = Some(to);
            known.refused = None;
        }
        let follows = from == RoleState::Primary || to == RoleState::Primary;
        let cause = match (from, to) {
            _ if follows => return,
            (RoleState::Ineligible, _) | (_, RoleState::Ineligible) => RoleCause::Operator,
            (_, RoleState::Inoperable | RoleState::StandbyWarned) | (RoleState::Inoperable, _) => {
                RoleCause::Monitor
            }
            (RoleState::StandbyWarned, RoleState::Standby) => RoleCause::Monitor,
            _ => RoleCause::Peer,
        };
        self.events.push_back(Event {
            set,
            from,
            to,
            epoch,
            cause,
            forced: false,
            reason: None,
            note: Some(reason.to_owned()),
        });
    }

    /// A primary has taken a higher epoch, so that another one yields.
    pub(crate) fn fenced(&mut self, set: u8, epoch: u64) {
        self.events.push_back(Event {
            set,
            from: RoleState::Primary,
            to: RoleState::Primary,
            epoch,
            cause: RoleCause::Epoch,
            forced: false,
            reason: None,
            note: Some("the peer is primary as well, with the same epoch, and does not yield".to_owned()),
        });
    }

    /// Something was asked of a set that it cannot do.
    pub(crate) fn refused(&mut self, set: u8, state: RoleState, epoch: u64, cause: RoleCause, why: &str) {
        self.events.push_back(Event {
            set,
            from: state,
            to: state,
            epoch,
            cause,
            forced: false,
            reason: Some(why.to_owned()),
            note: None,
        });
    }

    /// The operator wants a role here.
    pub fn request(
        &mut self,
        set: u8,
        to: WantedRole,
        forced: bool,
        answer: Answer,
        now_ms: u64,
        hands: &mut impl Hands,
    ) {
        let wish = Wish {
            to,
            cause: RoleCause::Operator,
            force: forced,
            hands_over: true,
            repeats: false,
            reason: "",
        };
        self.wish(set, wish, answer, now_ms, hands);
    }

    /// A role is wished for here.
    pub fn wish(&mut self, set: u8, wish: Wish, answer: Answer, now_ms: u64, hands: &mut impl Hands) {
        let (to, cause, forced) = (wish.to, wish.cause, wish.force);
        let (Some(known), Some(role)) = (self.sets.get_mut(&set), hands.role(set)) else {
            let unknown = format!("no redundancy set {set} runs");
            give(answer, Err(RoleError::Unknown(unknown)));
            return;
        };
        match &mut known.change {
            Some(change) if change.to == to => {
                change.answers.push(answer);
                return;
            }
            Some(change) => {
                let becoming = change.to.as_str();
                let why = format!("redundancy set {set} is becoming {becoming}; ask again in a moment");
                self.note(set, to, &role, cause, forced, &why);
                give(answer, Err(RoleError::Refused(why)));
                return;
            }
            None => {}
        }
        if role.primary == (to == WantedRole::Primary) {
            if let Some(start) = &mut known.start {
                start.stay_standby();
            }
            let done = RoleChange {
                redundancy_set: set,
                role: state(role.role()),
                epoch: role.epoch,
                changed: false,
                note: None,
            };
            give(answer, Ok(done));
            return;
        }
        let mut change = Change::new(to, cause, role.role(), now_ms);
        change.hands_over = wish.hands_over;
        (change.forced, change.why, change.answers) = (forced, wish.reason, vec![answer]);
        change.repeats = wish.repeats;
        self.decide(set, change, now_ms, hands);
    }

    /// Begins a change, if it may be, asks the peer for it, or waits until it is known how the peer is.
    fn decide(&mut self, set: u8, mut change: Change, now_ms: u64, hands: &mut impl Hands) {
        let listened = change.stage == Stage::Listening && change.until_ms <= now_ms;
        if hands.peer() == Peer::Greeting && !listened {
            (change.stage, change.until_ms) = (Stage::Listening, now_ms + LISTEN_MS);
            self.put(set, change);
            return;
        }
        if let Err(why) = self.may(set, &change, hands) {
            change.answer(&Err(RoleError::Refused(why.clone())));
            self.note_refused(set, &change, &why, hands);
            return;
        }
        let peer = hands.peer_role(set).filter(|_| hands.peer().is_there());
        let to_primary = change.to == WantedRole::Primary;
        if to_primary && peer.is_some_and(|peer| peer.primary) {
            if !hands.ask(set) {
                let why =
                    format!("redundancy set {set}: the peer cannot be asked now; ask again in a moment");
                change.answer(&Err(RoleError::Refused(why.clone())));
                self.note_refused(set, &change, &why, hands);
                return;
            }
            (change.stage, change.until_ms) = (Stage::Asked, now_ms + CHANGE_MAX_MS);
            self.put(set, change);
            return;
        }
        change.tell = !to_primary && change.hands_over && peer.is_some();
        change.until_ms = now_ms + CHANGE_MAX_MS;
        let epoch = next_epoch(set, hands);
        self.begin(set, change, epoch, now_ms, hands);
    }

    /// Whether a change may be made now.
    fn may(&self, set: u8, change: &Change, hands: &impl Hands) -> Result<(), String> {
        let Some(known) = self.sets.get(&set) else {
            return Err(format!("no redundancy set {set} runs"));
        };
        if change.to == WantedRole::Standby {
            return may_release(set, change.forced, hands);
        }
        if let Some(start) = &known.start {
            start.may_acquire(set, change.forced, hands.peer())?;
        }
        let lack = hands.lack().filter(|_| !known.was_last);
        may_acquire(change.forced, hands.peer(), hands.peer_role(set), lack)
    }

    fn numbers(&self) -> Vec<u8> {
        self.sets.keys().copied().collect()
    }

    fn put(&mut self, set: u8, change: Change) {
        if let Some(known) = self.sets.get_mut(&set) {
            known.change = Some(change);
        }
    }
}

#[cfg(test)]
mod tests;
