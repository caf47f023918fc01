//! What the conditions of the transition table mean, in terms of what is seen and of what the set remembers.

use super::seen::{Claim, PeerSeen, PeerSet, Seen};
use super::table::When;
use super::{Machine, RELEASE_AGAIN_MS};
use crate::RoleState;

/// How long nobody may be primary of a set while both are heard, before the better one takes it: a handover that goes its way
/// leaves it for less, and brings all sessions. Milliseconds.
pub const VACANCY_HOLD_MS: u64 = 1000;

/// How long the better one may leave it at that before the other takes the set: a release that nobody answers is taken back
/// sooner. It cannot know that it is the better one when the peer's heartbeats do not reach it, and leaves the set to the peer for twice that
/// when it has released it by force. Milliseconds.
pub const VACANCY_MAX_MS: u64 = 6000;

/// What follows from one look.
pub(super) struct Facts<'a> {
    machine: &'a Machine,
    seen: &'a Seen,
    pub is_failed: bool,
}

impl<'a> Facts<'a> {
    pub fn of(machine: &'a Machine, seen: &'a Seen) -> Self {
        let settings = &machine.settings;
        let is_failed = seen.failed_weight >= settings.set_threshold
            || seen.chassis_failed_weight >= settings.chassis_threshold;
        Self {
            machine,
            seen,
            is_failed,
        }
    }

    pub fn holds(&self, when: When) -> bool {
        let (machine, seen) = (self.machine, self.seen);
        let settings = &machine.settings;
        let always = settings.primary_always_exists;
        match when {
            When::WorkersPrimary => seen.ours.primary && !seen.is_changing,
            When::WorkersStandby => !seen.ours.primary && !seen.is_changing,
            When::PeerClaimsBetter => self.peer().is_some_and(|peer| self.yields_to(peer)),
            When::UnfitPeerReady => {
                self.is_unfit() && self.peer().is_some_and(|peer| self.is_ready_for_failure(peer))
            }
            When::UnfitPeerBetter => {
                let better =
                    |peer: &PeerSet| peer.fitness() < 2 && !self.claim().is_better(&self.claim_of(peer));
                self.is_unfit() && always && self.has_held_the_role() && self.peer().is_some_and(better)
            }
            When::UnfitAlone => {
                self.is_unfit() && !always && self.peer().is_none_or(|peer| peer.fitness() < 2)
            }
            When::StoppingPeerReady => machine.is_stopping && self.peer().is_some_and(PeerSet::can_take_over),
            When::TakenOut => machine.is_taken_out,
            When::PutBack => !machine.is_taken_out,
            When::Failed => self.is_failed,
            When::Recovered => !self.is_failed,
            When::PeerGone => self.may_take() && self.is_alone() && seen.peer == PeerSeen::Gone,
            When::PeerLeft => self.may_take() && self.is_alone() && seen.peer == PeerSeen::Leaving,
            When::PeerLost => self.may_take() && self.is_alone() && seen.peer == PeerSeen::Lost,
            When::PeerNone => {
                let none = matches!(seen.peer, PeerSeen::Unheard | PeerSeen::Without);
                self.may_take() && self.is_alone() && none
            }
            When::HoldOver => {
                let is_over = seen.now_ms.saturating_sub(machine.since_ms) >= settings.initial_hold_ms;
                self.may_take() && self.peer().is_none() && !machine.was_released_alone && is_over
            }
            When::Elected => self.may_take() && machine.is_fresh && self.is_first(0),
            When::PeerHeard => self.peer().is_some(),
            When::Vacant => {
                let is_the_peers = machine.left_until_ms.is_some() && !always;
                self.may_take() && !is_the_peers && self.is_first(VACANCY_HOLD_MS)
            }
            When::AloneAlways => self.may_take() && always && self.is_alone(),
            When::VacantAlways => self.may_take() && always && self.is_first(VACANCY_HOLD_MS),
            When::NotReady => seen.lack.is_some(),
            When::Ready => {
                let is_over = cfg!(feature = "plant-hold-skipped") || seen.now_ms >= machine.hold_until_ms;
                seen.lack.is_none() && is_over
            }
            When::Warned => seen.is_warned,
            When::Clear => !seen.is_warned,
            When::PreemptDue => {
                let since = machine.preferred_since_ms;
                let is_due =
                    since.is_some_and(|since| seen.now_ms.saturating_sub(since) >= settings.preempt_hold_ms);
                self.may_take() && is_due
            }
            When::PolicyReleases => {
                let is_clear =
                    |peer: &PeerSet| peer.state == RoleState::Standby && peer.is_eligible && !peer.is_warned;
                let rests = |given_up: u64| seen.now_ms.saturating_sub(given_up) < RELEASE_AGAIN_MS;
                seen.releases
                    && !machine.was_acquired_by_hand
                    && !machine.given_up_ms.is_some_and(rests)
                    && self.peer().is_some_and(is_clear)
            }
        }
    }

    fn peer(&self) -> Option<&PeerSet> {
        self.seen.peer.set()
    }

    /// Whether the role may be wished for here at all.
    fn may_take(&self) -> bool {
        !self.machine.is_stopping
    }

    /// Nobody else is there, and the set was not given up knowing that.
    fn is_alone(&self) -> bool {
        self.peer().is_none() && !self.machine.was_released_alone && !self.is_silence_new()
    }

    /// A peer that never beat and whose channel has just broken may be as well as before: no guard and no heartbeat says otherwise.
    fn is_silence_new(&self) -> bool {
        let since = |heard: u64| self.seen.now_ms.saturating_sub(heard);
        let hold = self.machine.settings.initial_hold_ms;
        let is_new = self.machine.heard_ms.is_some_and(|heard| since(heard) < hold);
        self.seen.peer == PeerSeen::Unheard && is_new
    }

    fn is_unfit(&self) -> bool {
        self.is_failed || self.machine.is_taken_out
    }

    fn has_held_the_role(&self) -> bool {
        let held_ms = self.seen.now_ms.saturating_sub(self.machine.since_ms);
        held_ms >= self.machine.settings.recovery_hold_ms
    }

    /// A peer in `wait` is given a failed set only after a while: two chassis whose monitors flap do not play ball.
    fn is_ready_for_failure(&self, peer: &PeerSet) -> bool {
        match peer.state {
            _ if peer.fitness() < 2 => false,
            RoleState::Standby | RoleState::StandbyWarned => true,
            RoleState::Wait => self.machine.is_taken_out || self.has_held_the_role(),
            _ => false,
        }
    }

    /// Redundancy spec, section 1: of two primaries the higher epoch wins, then the better priority, then the lower address.
    fn yields_to(&self, peer: &PeerSet) -> bool {
        let ours = self.seen.ours;
        let is_equal = ours.epoch == peer.epoch && self.machine.yields_equal(peer.priority);
        ours.primary && peer.is_primary && (ours.epoch < peer.epoch || is_equal)
    }

    fn claim(&self) -> Claim {
        let fitness = match (self.machine.is_taken_out, self.is_failed) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        Claim {
            fitness,
            is_complete: self.seen.lack.is_none(),
            epoch: self.seen.ours.epoch,
            priority: self.machine.settings.priority,
            is_gateway_1: self.machine.settings.is_gateway_1,
        }
    }

    fn claim_of(&self, peer: &PeerSet) -> Claim {
        Claim {
            fitness: peer.fitness(),
            is_complete: peer.is_complete,
            epoch: peer.epoch,
            priority: peer.priority,
            is_gateway_1: !self.machine.settings.is_gateway_1,
        }
    }

    /// Both are heard, nobody is primary for so long, and this chassis is the one that should be.
    fn is_first(&self, vacant_for_ms: u64) -> bool {
        let better = |peer: &PeerSet| self.claim().is_better(&self.claim_of(peer));
        let is_better = self.peer().is_some_and(better);
        // A set that has just recovered looks first: the peer may have, too, and take it.
        let since = |since: u64| {
            self.seen
                .now_ms
                .saturating_sub(since.max(self.machine.settled_ms))
        };
        match self.machine.vacant_since_ms.map(since) {
            // At once only by what the peer has told: with the hold its heartbeat comes first.
            Some(_) if vacant_for_ms == 0 => is_better && self.seen.knows_priority,
            Some(ms) => ms >= vacant_for_ms && is_better || ms >= VACANCY_MAX_MS,
            None => false,
        }
    }

    /// Both are heard, and neither is primary.
    pub fn is_vacant(&self) -> bool {
        !self.seen.ours.primary && self.peer().is_some_and(|peer| !peer.is_primary)
    }

    /// Of two that are well the peer is the one to be primary.
    pub fn is_peer_preferred(&self) -> bool {
        let preferred = |peer: &PeerSet| self.claim().by_preference(&self.claim_of(peer)).is_lt();
        self.peer().is_some_and(preferred)
    }

    /// In `standby`, beside a primary that this chassis is preferred to, and may preempt. Of a primary that only the channel tells of
    /// nobody knows whether it is: it may well be the preferred one.
    pub fn is_preferred(&self) -> bool {
        let machine = self.machine;
        let may = machine.settings.preempt && !machine.was_released_by_hand && !self.is_unfit();
        let is_standby = machine.state == RoleState::Standby;
        let preferred =
            |peer: &PeerSet| peer.is_primary && self.claim().by_preference(&self.claim_of(peer)).is_gt();
        may && is_standby && self.seen.knows_priority && self.peer().is_some_and(preferred)
    }
}
