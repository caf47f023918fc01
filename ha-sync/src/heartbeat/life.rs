//! The peer's life: which one is believed in, and which ones have ended.

use std::collections::VecDeque;

use super::beat::{Beat, BeatTiming, SetBeat};
use super::path::PathState;

/// Lives that have ended and are remembered. No process is restarted more often while what it said is fresh.
const ENDED_MAX: usize = 8;
/// A clock that differs from what was known by more than this was set: the new value counts at once.
const SKEW_STEP_US: i64 = 500_000;

/// What is known of the peer's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerLife {
    /// Never heard since the start.
    #[default]
    Unheard,
    /// Heard.
    Alive,
    /// Not heard any more.
    Lost,
    /// Dead, its guard said.
    Gone,
    /// Stopped cleanly.
    Leaving,
}

impl PeerLife {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Alive => "alive",
            Self::Lost => "lost",
            Self::Gone => "gone",
            Self::Leaving => "leaving",
        }
    }
}

/// What is shown of the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its life.
    pub life: PeerLife,
    /// Since when, the detector's microseconds.
    pub since_us: u64,
    /// Its incarnation, when it was heard.
    pub incarnation: Option<u64>,
    /// The timing it states.
    pub timing: Option<BeatTiming>,
    /// Microseconds its wall clock is ahead of ours (negative: behind), corrected by half the round trip and smoothed.
    pub clock_ahead_us: Option<i64>,
    /// Its sets as last heard.
    pub sets: Vec<SetBeat>,
}

/// What is shown of a detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectorStatus {
    /// This life of ours.
    pub incarnation: u64,
    /// What this chassis states.
    pub timing: BeatTiming,
    /// What decides: of both timings the one with the longer time without a beat.
    pub deciding: BeatTiming,
    /// The peer.
    pub peer: PeerStatus,
    /// The paths.
    pub paths: Vec<PathState>,
}

/// The peer as it is believed in.
#[derive(Debug, Default)]
pub(super) struct Peer {
    shown: PeerStatus,
    /// The peer's clock when it sent what is in `shown`: paths overtake each other.
    said_us: u64,
    /// Its sets were told since it lives.
    told: bool,
    /// Lives that have ended, and until when nothing of them counts.
    ended: VecDeque<(u64, u64)>,
}

impl Peer {
    pub fn shown(&self) -> &PeerStatus {
        &self.shown
    }

    pub fn is_alive(&self) -> bool {
        self.shown.life == PeerLife::Alive
    }

    pub fn is(&self, incarnation: u64) -> bool {
        self.shown.incarnation == Some(incarnation)
    }

    /// Whether this life has ended, and something of it may still be on its way.
    pub fn has_ended(&self, incarnation: u64, now_us: u64) -> bool {
        let is = |(ended, until_us): &(u64, u64)| *ended == incarnation && now_us < *until_us;
        self.ended.iter().any(is)
    }

    /// Whose beats ours echo; 0: nobody's.
    pub fn echoed(&self) -> u64 {
        match self.shown.life {
            PeerLife::Alive | PeerLife::Lost => self.shown.incarnation.unwrap_or(0),
            PeerLife::Unheard | PeerLife::Gone | PeerLife::Leaving => 0,
        }
    }

    /// Its life is in another state.
    pub fn becomes(&mut self, life: PeerLife, now_us: u64) {
        (self.shown.life, self.shown.since_us, self.told) = (life, now_us, false);
    }

    /// Its present life, if it has one, has ended: nothing of it counts until then.
    pub fn bury(&mut self, until_us: u64) {
        if let Some(incarnation) = self.shown.incarnation {
            self.ended.truncate(ENDED_MAX - 1);
            self.ended.push_front((incarnation, until_us));
        }
    }

    /// Another life is believed in.
    pub fn adopt(&mut self, incarnation: u64) {
        self.shown = PeerStatus {
            incarnation: Some(incarnation),
            ..PeerStatus::default()
        };
        self.said_us = 0;
    }

    /// Its sets are told with the next beat, new or not.
    pub fn tell_again(&mut self) {
        self.told = false;
    }

    /// A beat that does not say of what the receiver is warned, with what was said of that before.
    pub fn warned_as_before(&self, beat: &Beat) -> Beat {
        let mut beat = beat.clone();
        for set in &mut beat.sets {
            let mut before = self.shown.sets.iter();
            set.broadcasts = before.any(|one| one.set == set.set && one.broadcasts);
        }
        beat
    }

    /// Takes down what a beat says, unless a later one was heard on another path. What is new of the sets comes back.
    pub fn said(&mut self, beat: &Beat) -> Option<Vec<SetBeat>> {
        if beat.sent_us < self.said_us {
            return None;
        }
        self.said_us = beat.sent_us;
        self.shown.timing = Some(beat.timing);
        if self.told && self.shown.sets == beat.sets {
            return None;
        }
        self.told = true;
        self.shown.sets.clone_from(&beat.sets);
        Some(beat.sets.clone())
    }

    /// Takes down how far its clock is ahead.
    pub fn clock_ahead(&mut self, sample_us: i64) {
        let old = self.shown.clock_ahead_us.unwrap_or(sample_us);
        let off = sample_us.saturating_sub(old);
        self.shown.clock_ahead_us = Some(if off.saturating_abs() > SKEW_STEP_US {
            sample_us
        } else {
            old + off / 8
        });
    }
}
