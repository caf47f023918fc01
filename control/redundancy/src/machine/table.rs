//! The transition table of services redundancy: from a state, under a condition, what is done and what the set is then.
//!
//! Rows are tried from the top; the first that holds counts. docs/redundancy.md shows this table whole, and a test holds the two
//! together.

use crate::RoleState::{self, Ineligible, Initializing, Inoperable, Primary, Standby, StandbyWarned, Wait};
use crate::{RoleCause, WantedRole};

/// A condition. What each means exactly is in `facts.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// The workers are primary, and no change is under way.
    WorkersPrimary,
    /// The workers are standby, and no change is under way.
    WorkersStandby,
    /// The peer is heard as primary and has the better claim.
    PeerClaimsBetter,
    /// Not fit, and the peer is fit and ready.
    UnfitPeerReady,
    /// Not fit, the peer is not either, and has the better claim.
    UnfitPeerBetter,
    /// Not fit, nobody fit is heard, and there need be no primary.
    UnfitAlone,
    /// The daemon stops, and the peer can take over.
    StoppingPeerReady,
    /// The operator has taken the set out.
    TakenOut,
    /// The operator has put it back.
    PutBack,
    /// The failed weights have reached a threshold.
    Failed,
    /// They are below all thresholds again.
    Recovered,
    /// The peer's process has ended.
    PeerGone,
    /// The peer has stopped cleanly.
    PeerLeft,
    /// The peer is not heard any more.
    PeerLost,
    /// The peer has no such set, or none of its heartbeats ever came and nothing else for the initial hold.
    PeerNone,
    /// Nobody was heard for the initial hold.
    HoldOver,
    /// Since the process started neither was primary, and this chassis has the better claim.
    Elected,
    /// The peer is heard.
    PeerHeard,
    /// Neither is primary for a while, and this chassis has the better claim.
    Vacant,
    /// As `PeerGone`, `PeerLeft`, `PeerLost` and `PeerNone`, and there must be a primary.
    AloneAlways,
    /// As `Vacant`, and there must be a primary.
    VacantAlways,
    /// Something is lacking, or the recovery hold runs.
    NotReady,
    /// Nothing is lacking, and no hold runs.
    Ready,
    /// A monitored event is active.
    Warned,
    /// None is active any more.
    Clear,
    /// Preferred to the running primary, allowed to preempt, for as long as the hold.
    PreemptDue,
    /// An event of a policy that releases the role is active, nobody has taken the role in spite of it, and the peer is a `standby`
    /// without warning: what could not be released when the event began can be now.
    PolicyReleases,
}

impl When {
    /// In words, as in the documentation.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::WorkersPrimary => "the workers have become primary",
            Self::WorkersStandby => "the workers have become standby",
            Self::PeerClaimsBetter => "the peer is heard as primary, with the better claim",
            Self::UnfitPeerReady => "not fit, the peer fit and ready",
            Self::UnfitPeerBetter => {
                "not fit nor is the peer, it is preferred, primary-always-exists, role held for the recovery hold"
            }
            Self::UnfitAlone => "not fit, nobody fit is heard, no primary-always-exists",
            Self::StoppingPeerReady => "the daemon stops, the peer can take over",
            Self::TakenOut => "taken out by the operator",
            Self::PutBack => "put back by the operator",
            Self::Failed => "failed weights reach a threshold",
            Self::Recovered => "failed weights are below the thresholds",
            Self::PeerGone => "the peer's process is gone",
            Self::PeerLeft => "the peer has stopped cleanly",
            Self::PeerLost => "the peer is lost",
            Self::PeerNone => {
                "the peer has no such set, or never beat and was not heard for the initial hold"
            }
            Self::HoldOver => "nobody heard for the initial hold",
            Self::Elected => "both have just started, the better claim is here",
            Self::PeerHeard => "the peer is heard",
            Self::Vacant => "neither is primary for the vacancy hold, the better claim is here",
            Self::AloneAlways => "the peer is not there, primary-always-exists",
            Self::VacantAlways => {
                "neither is primary for the vacancy hold, the better claim is here, primary-always-exists"
            }
            Self::NotReady => "something is lacking",
            Self::Ready => "nothing is lacking, the recovery hold is over",
            Self::Warned => "a monitored event is active",
            Self::Clear => "no monitored event is active",
            Self::PreemptDue => "preempt, preferred to the primary for the preempt hold",
            Self::PolicyReleases => {
                "an event of a policy that releases is active, the peer is `standby` without warning"
            }
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The set is shown as this from now on.
    Go(RoleState),
    /// A role is wished for; the state follows the workers.
    Wish {
        /// The role.
        to: WantedRole,
        /// Why.
        cause: RoleCause,
        /// Also when it costs sessions.
        force: bool,
        /// Of a release: the peer takes over.
        hands_over: bool,
    },
    /// The peer's claim counts.
    Yield,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The states it is for.
    pub from: &'static [RoleState],
    /// The condition.
    pub when: When,
    /// What is done.
    pub then: Then,
    /// Why, as shown and logged.
    pub reason: &'static str,
}

const fn go(from: &'static [RoleState], when: When, to: RoleState, reason: &'static str) -> Row {
    Row {
        from,
        when,
        then: Then::Go(to),
        reason,
    }
}

const fn take(from: &'static [RoleState], when: When, cause: RoleCause, reason: &'static str) -> Row {
    let (to, force) = (WantedRole::Primary, !matches!(cause, RoleCause::Preempt));
    Row {
        from,
        when,
        then: Then::Wish {
            to,
            cause,
            force,
            hands_over: true,
        },
        reason,
    }
}

const fn give(when: When, cause: RoleCause, reason: &'static str) -> Row {
    let asks = matches!(cause, RoleCause::Shutdown | RoleCause::Policy);
    let (to, force) = (WantedRole::Standby, !asks);
    Row {
        from: &[Primary],
        when,
        then: Then::Wish {
            to,
            cause,
            force,
            hands_over: true,
        },
        reason,
    }
}

/// All but primary.
const NOT_PRIMARY: &[RoleState] = &[Initializing, Standby, StandbyWarned, Wait, Ineligible, Inoperable];
/// Those that a failure or the operator ends.
const UNDISTURBED: &[RoleState] = &[Initializing, Standby, StandbyWarned, Wait];
/// Those that take over from a peer that is not there any more.
const RESTING: &[RoleState] = &[Standby, StandbyWarned, Wait];
/// Those that take over only because there must be a primary.
const UNFIT: &[RoleState] = &[Ineligible, Inoperable];

/// The table.
pub const TABLE: &[Row] = &[
    go(NOT_PRIMARY, When::WorkersPrimary, Primary, "it has the role"),
    go(&[Primary], When::WorkersStandby, Wait, "it has the role no more"),
    Row {
        from: &[Primary],
        when: When::PeerClaimsBetter,
        then: Then::Yield,
        reason: "of two primaries the one with the lower epoch yields, with the same one the worse priority, then the higher address",
    },
    give(
        When::UnfitPeerReady,
        RoleCause::Monitor,
        "this chassis has failed or was taken out, and the peer is ready",
    ),
    give(
        When::UnfitPeerBetter,
        RoleCause::Monitor,
        "both have failed or were taken out, and the peer is to carry on",
    ),
    Row {
        from: &[Primary],
        when: When::UnfitAlone,
        then: Then::Wish {
            to: WantedRole::Standby,
            cause: RoleCause::Monitor,
            force: true,
            hands_over: false,
        },
        reason: "this chassis has failed or was taken out, and need not carry on",
    },
    give(
        When::StoppingPeerReady,
        RoleCause::Shutdown,
        "the daemon stops and hands over first",
    ),
    go(
        &[Initializing, Standby, StandbyWarned, Wait, Inoperable],
        When::TakenOut,
        Ineligible,
        "the operator has taken it out",
    ),
    go(
        &[Ineligible],
        When::PutBack,
        Initializing,
        "the operator has put it back",
    ),
    go(
        UNDISTURBED,
        When::Failed,
        Inoperable,
        "what is monitored has failed",
    ),
    go(
        &[Inoperable],
        When::Recovered,
        Initializing,
        "what had failed is back",
    ),
    take(
        RESTING,
        When::PeerGone,
        RoleCause::PeerLost,
        "the peer's process is gone",
    ),
    take(
        RESTING,
        When::PeerLeft,
        RoleCause::PeerLost,
        "the peer has stopped",
    ),
    take(
        RESTING,
        When::PeerLost,
        RoleCause::PeerLost,
        "the peer is not heard any more",
    ),
    take(
        RESTING,
        When::PeerNone,
        RoleCause::PeerLost,
        "there is no peer for this set",
    ),
    take(
        &[Initializing],
        When::HoldOver,
        RoleCause::Start,
        "nobody was heard",
    ),
    take(
        &[Initializing],
        When::Elected,
        RoleCause::Start,
        "neither is primary, and this chassis is the one to be",
    ),
    go(&[Initializing], When::PeerHeard, Wait, "the peer was heard"),
    take(
        RESTING,
        When::Vacant,
        RoleCause::Election,
        "nobody is primary, and this chassis is the one to be",
    ),
    take(
        UNFIT,
        When::AloneAlways,
        RoleCause::PeerLost,
        "there must be a primary, and the peer is not there",
    ),
    take(
        UNFIT,
        When::VacantAlways,
        RoleCause::Election,
        "there must be a primary, and this chassis is the better one",
    ),
    go(
        &[Standby, StandbyWarned],
        When::NotReady,
        Wait,
        "it has not all the peer's sessions",
    ),
    go(
        &[Wait],
        When::Ready,
        Standby,
        "it has all the peer's sessions, and no hold runs",
    ),
    go(
        &[Standby],
        When::Warned,
        StandbyWarned,
        "a monitored event is active here",
    ),
    go(
        &[StandbyWarned],
        When::Clear,
        Standby,
        "no monitored event is active here any more",
    ),
    take(
        &[Standby],
        When::PreemptDue,
        RoleCause::Preempt,
        "this chassis is preferred, and may preempt",
    ),
    give(
        When::PolicyReleases,
        RoleCause::Policy,
        "a policy releases the role, and the peer can take it now",
    ),
];

impl Row {
    /// The row as docs/redundancy.md has it; `number` from 1.
    #[must_use]
    pub fn markdown(&self, number: usize) -> String {
        let from: Vec<_> = self.from.iter().map(|state| state.as_str()).collect();
        let (action, next) = match self.then {
            Then::Go(next) => (String::from("-"), next.as_str()),
            Then::Wish {
                to,
                cause,
                force,
                hands_over,
            } => {
                let force = match (force, hands_over) {
                    (_, false) => ", the peer is not told",
                    (true, true) => ", force",
                    (false, true) => "",
                };
                (
                    format!("wish {} ({}{force})", to.as_str(), cause.as_str()),
                    "as the workers",
                )
            }
            Then::Yield => (String::from("yield (epoch)"), "as the workers"),
        };
        format!(
            "| {number} | {} | {} | {action} | {next} | {} |",
            from.join(", "),
            self.when.text(),
            self.reason
        )
    }
}
