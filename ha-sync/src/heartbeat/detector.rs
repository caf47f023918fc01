//! Who lives, judged from datagrams and times that are given: no sockets, no clock.
//!
//! Whoever drives it hands in what was received, calls [`Detector::poll`] after that and whenever [`Detector::next_timer`] has come, and
//! sends what is put out. What was received must be handed in before the poll, so that beats which waited while this process did not
//! run are not taken for beats that did not come. Where none waited either, as when a whole host stood still, the peer has one time more to
//! be heard.
//!
//! A beat counts as life only if it echoes this life of ours. While the peer is dead or unheard, it must also echo a time that is not
//! long ago, so no recording, however complete, brings a dead peer to life; and while it lives, only growing numbers count, so no
//! recording keeps it alive.

use super::beat::{Beat, BeatTiming, Kind, PathId, SETS_MAX, SetBeat};
use super::codec::{BEAT_VERSION_OLDEST, BeatError, Codec};
use super::event::{Datagram, HeartbeatEvent, LostWhy, Now};
use super::life::{DetectorStatus, Peer, PeerLife};
use super::path::{Echo, Path};
use super::window::Order;

/// Each so many periods a beat in the newest version follows, until the peer is known to understand it: an older one counts it as malformed.
const PROBE_EACH: u32 = 8;
/// So many datagrams of other versions in a row, and none of one that is spoken, are no such beats.
const STRANGE: u8 = 3;

/// How long a round trip may take where a life begins.
const ROUND_US_MAX: u64 = 1_000_000;

/// Heartbeats with one peer. See the module.
#[derive(Debug)]
pub struct Detector {
    codec: Codec,
    incarnation: u64,
    timing: BeatTiming,
    sets: Vec<SetBeat>,
    peer: Peer,
    paths: Vec<Path>,
    next_send_us: u64,
    /// When it was polled last: each period at least, or this process has not run.
    polled_us: Option<u64>,
    /// Something is to be said at once, on all paths.
    is_due: bool,
    /// The highest version that a life of the peer says it speaks.
    speaks: Option<(u64, u8)>,
    /// Periods so far.
    periods: u32,
}

impl Detector {
    /// One that has heard nothing. `incarnation` is a number no other life of this process had, random and not zero; the timing is taken
    /// into its range ([`BeatTiming::is_valid`]); each path counts once.
    #[must_use]
    pub fn new(
        codec: Codec,
        incarnation: u64,
        timing: BeatTiming,
        paths: impl IntoIterator<Item = PathId>,
    ) -> Self {
        let mut ids: Vec<PathId> = paths.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self {
            codec,
            incarnation: incarnation.max(1),
            timing: timing.clamped(),
            sets: Vec::new(),
            peer: Peer::default(),
            paths: ids.into_iter().map(Path::new).collect(),
            next_send_us: 0,
            polled_us: None,
            is_due: false,
            speaks: None,
            periods: 0,
        }
    }

    /// What is said of our sets from now on, at most [`SETS_MAX`]; at once when it is something new.
    pub fn tell(&mut self, sets: &[SetBeat]) {
        let mut sets = sets.to_vec();
        sets.sort_unstable_by_key(|set| set.set);
        sets.dedup_by_key(|set| set.set);
        sets.truncate(SETS_MAX);
        if sets != self.sets {
            self.sets = sets;
            self.is_due = true;
        }
    }

    /// A beat goes out on every path with the next poll; what was refused before is forgotten.
    pub fn probe(&mut self) {
        self.is_due = true;
        self.paths.iter_mut().for_each(|path| path.refused = false);
    }

    /// The peer's host has answered that nobody takes heartbeats there.
    pub fn refused(&mut self, id: PathId, events: &mut Vec<HeartbeatEvent>) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.id == id) {
            path.counters.refused += 1;
            if !path.refused {
                path.refused = true;
                events.push(HeartbeatEvent::Refused(id));
            }
        }
    }

    /// A datagram that was put out could not be sent.
    pub fn send_failed(&mut self, id: PathId) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.id == id) {
            path.counters.send_failed += 1;
        }
    }

    /// What decides: of both timings the one with the longer time without a beat.
    #[must_use]
    pub fn deciding(&self) -> BeatTiming {
        let theirs = self.peer.shown().timing.unwrap_or(self.timing);
        if theirs.lost_after_ms() > self.timing.lost_after_ms() {
            theirs
        } else {
            self.timing
        }
    }

    fn limit_us(&self) -> u64 {
        u64::from(self.deciding().lost_after_ms()) * 1000
    }

    /// Takes a datagram that came on a path.
    pub fn received(&mut self, now: Now, id: PathId, datagram: &[u8], events: &mut Vec<HeartbeatEvent>) {
        let mut numbered = self.paths.iter_mut().enumerate();
        let Some((index, path)) = numbered.find(|(_, path)| path.id == id) else {
            return;
        };
        let (beat, highest) = match self.codec.read(datagram) {
            Ok(read) => read,
            Err(BeatError::Mac) => {
                path.counters.bad_mac += 1;
                return;
            }
            Err(BeatError::Version { theirs, highest }) => {
                path.counters.malformed += 1;
                path.strange = path.strange.saturating_add(1);
                if path.strange == STRANGE {
                    events.push(HeartbeatEvent::OtherVersion {
                        path: id,
                        theirs,
                        highest,
                    });
                }
                return;
            }
            Err(BeatError::Length(_) | BeatError::Magic | BeatError::Field(_)) => {
                path.counters.malformed += 1;
                return;
            }
        };
        path.strange = 0;
        if beat.path != id {
            path.counters.wrong_path += 1;
        } else if self.peer.has_ended(beat.incarnation, now.mono_us) {
            path.counters.ended += 1;
        } else {
            match beat.kind {
                Kind::Beat => self.beat(now, index, &beat, highest, events),
                Kind::Gone => self.end(now, index, &beat, PeerLife::Gone, events),
                Kind::Leaving => self.end(now, index, &beat, PeerLife::Leaving, events),
            }
        }
    }

    /// The peer's life has ended, somebody who knows says.
    fn end(&mut self, now: Now, index: usize, beat: &Beat, life: PeerLife, events: &mut Vec<HeartbeatEvent>) {
        let Some(path) = self.paths.get_mut(index) else {
            return;
        };
        if !self.peer.is(beat.incarnation) {
            path.counters.foreign += 1;
            return;
        }
        path.counters.received += 1;
        self.bury(now);
        self.peer.becomes(life, now.mono_us);
        self.all_down(events);
        events.push(match life {
            PeerLife::Leaving => HeartbeatEvent::Leaving,
            _ => HeartbeatEvent::Gone,
        });
    }

    /// The peer's life has ended. Of what it said something may still be on its way, or be said again by others, while it is fresh; later it
    /// proves nothing, and if it should live after all, it can prove that.
    fn bury(&mut self, now: Now) {
        let fresh_us = self.fresh_us(self.peer.shown().timing.unwrap_or(self.timing));
        self.peer
            .bury(now.mono_us.saturating_add(fresh_us).saturating_add(1));
    }

    /// How long ago the time may be that proves a life: each end holds what it heard for an interval at most.
    fn fresh_us(&self, theirs: BeatTiming) -> u64 {
        let held_ms = u64::from(self.timing.interval_ms) + u64::from(theirs.interval_ms);
        ROUND_US_MAX + held_ms * 1000
    }

    fn all_down(&mut self, events: &mut Vec<HeartbeatEvent>) {
        for path in self.paths.iter_mut().filter(|path| path.up) {
            path.up = false;
            events.push(HeartbeatEvent::PathDown(path.id));
        }
    }

    /// A beat of a life that may be.
    fn beat(
        &mut self,
        now: Now,
        index: usize,
        beat: &Beat,
        highest: Option<u8>,
        events: &mut Vec<HeartbeatEvent>,
    ) {
        let fresh_us = self.fresh_us(beat.timing);
        let Some(path) = self.paths.get_mut(index) else {
            return;
        };
        let is_known = self.peer.is(beat.incarnation);
        if is_known {
            match path.window.note(beat.sequence) {
                Order::New => {}
                Order::Late => {
                    path.counters.late += 1;
                    return;
                }
                Order::Replayed => {
                    path.counters.replayed += 1;
                    return;
                }
            }
        }
        let echo = Echo {
            sent_us: beat.sent_us,
            at_us: now.mono_us,
        };
        let knows_us = beat.echo_incarnation == self.incarnation;
        let age_us = now.mono_us.checked_sub(beat.echoed_us);
        let is_fresh = beat.echoed_us != 0 && age_us.is_some_and(|age_us| age_us <= fresh_us);
        if !(knows_us && (is_fresh || is_known && self.peer.is_alive())) {
            path.counters.foreign += 1;
            path.answer = Some((beat.incarnation, echo));
            return;
        }
        if !is_known {
            self.adopt(now, index, beat, events);
        }
        if !self.peer.is_alive() {
            self.peer.becomes(PeerLife::Alive, now.mono_us);
            let incarnation = beat.incarnation;
            events.push(HeartbeatEvent::Alive { incarnation });
            // So that the peer need not wait for an interval to know the same.
            self.is_due = true;
        }
        if let Some(highest) = highest {
            self.speaks = Some((beat.incarnation, highest));
        }
        if let Some(path) = self.paths.get_mut(index) {
            if path.refused {
                // Whoever took the refusal for its end hears of it again.
                self.peer.tell_again();
            }
            heard(path, now, beat, echo, &mut self.peer, events);
        }
        // Who is warned is not said in the oldest version, which a peer that knows more speaks while it does not hear this chassis.
        let is_silent = highest.is_none() && self.speaks.is_some_and(|(of, _)| of == beat.incarnation);
        let said = if is_silent {
            self.peer.said(&self.peer.warned_as_before(beat))
        } else {
            self.peer.said(beat)
        };
        if let Some(sets) = said {
            events.push(HeartbeatEvent::Sets(sets));
        }
    }

    /// Another life of the peer has proved to be one.
    fn adopt(&mut self, now: Now, index: usize, beat: &Beat, events: &mut Vec<HeartbeatEvent>) {
        if self.peer.is_alive() {
            self.all_down(events);
            let why = LostWhy::Restarted;
            events.push(HeartbeatEvent::Lost { why });
        }
        self.bury(now);
        self.peer.adopt(beat.incarnation);
        for (position, path) in self.paths.iter_mut().enumerate() {
            path.forget();
            if position == index {
                let _new = path.window.note(beat.sequence);
            }
        }
    }

    /// Does what the time asks for: takes paths down, and puts out what is to be sent.
    pub fn poll(&mut self, now: Now, out: &mut Vec<Datagram>, events: &mut Vec<HeartbeatEvent>) {
        let limit_us = self.limit_us();
        let polled_us = self.polled_us.replace(now.mono_us).unwrap_or(now.mono_us);
        let late_us = now
            .mono_us
            .saturating_sub(polled_us)
            .saturating_sub(self.timing.period_us());
        if late_us > limit_us / 2 {
            self.paths.iter_mut().for_each(|path| path.spare(now.mono_us));
        }
        let is_over = |path: &Path| path.down_at(limit_us).is_some_and(|at_us| now.mono_us >= at_us);
        for path in self.paths.iter_mut().filter(|path| is_over(path)) {
            path.up = false;
            events.push(HeartbeatEvent::PathDown(path.id));
        }
        if self.peer.is_alive() && !self.paths.iter().any(|path| path.up) {
            self.peer.becomes(PeerLife::Lost, now.mono_us);
            let why = LostWhy::Silent;
            events.push(HeartbeatEvent::Lost { why });
        }
        let is_time = now.mono_us >= self.next_send_us;
        let everywhere = std::mem::take(&mut self.is_due) || is_time;
        let newest = self.codec.highest();
        let known = self
            .speaks
            .filter(|(of, _)| self.peer.is_alive() && self.peer.is(*of));
        let spoken = known.map_or(BEAT_VERSION_OLDEST, |(_, theirs)| theirs.min(newest));
        let probes = is_time && known.is_none() && spoken < newest && self.periods.is_multiple_of(PROBE_EACH);
        self.periods = self.periods.wrapping_add(is_time.into());
        for path in &mut self.paths {
            let answer = path.answer.take();
            if everywhere || answer.is_some() {
                // Whoever is answered may be another life of the peer, and another release.
                let version = if answer.is_some() {
                    BEAT_VERSION_OLDEST
                } else {
                    spoken
                };
                let (whose, echo) = match answer {
                    Some((whose, echo)) => (whose, Some(echo)),
                    None => (self.peer.echoed(), path.echo),
                };
                let held_us = echo.map_or(0, |echo| now.mono_us.saturating_sub(echo.at_us));
                let mut beat = Beat {
                    kind: Kind::Beat,
                    path: path.id,
                    incarnation: self.incarnation,
                    echo_incarnation: whose,
                    sequence: path.next_sequence(),
                    sent_us: now.mono_us.max(1),
                    echoed_us: echo.map_or(0, |echo| echo.sent_us),
                    held_us: u32::try_from(held_us).unwrap_or(u32::MAX),
                    wall_us: now.wall_us,
                    timing: self.timing,
                    sets: self.sets.clone(),
                };
                out.push(Datagram::in_version(&beat, &self.codec, version));
                if probes {
                    beat.sequence = path.next_sequence();
                    out.push(Datagram::in_version(&beat, &self.codec, newest));
                }
            }
        }
        if is_time {
            let interval_us = self.timing.period_us();
            self.next_send_us = self.next_send_us.saturating_add(interval_us);
            if self.next_send_us <= now.mono_us {
                // At the start, and after this process did not run for a while: no burst to make up for it.
                self.next_send_us = now.mono_us.saturating_add(interval_us);
            }
        }
    }

    /// The words with which this process stops cleanly, one for each path. Nothing may be sent after them.
    pub fn leave(&mut self, now: Now, out: &mut Vec<Datagram>) {
        for path in &mut self.paths {
            let beat = Beat {
                sequence: path.next_sequence(),
                sent_us: now.mono_us.max(1),
                wall_us: now.wall_us,
                timing: self.timing,
                ..Beat::last(Kind::Leaving, path.id, self.incarnation)
            };
            out.push(Datagram::of(&beat, &self.codec));
        }
    }

    /// When the next poll is due, in the clock of [`Now::mono_us`]; it may be past.
    #[must_use]
    pub fn next_timer(&self) -> u64 {
        if self.is_due || self.paths.iter().any(|path| path.answer.is_some()) {
            return 0;
        }
        let limit_us = self.limit_us();
        let downs = self.paths.iter().filter_map(|path| path.down_at(limit_us));
        downs.fold(self.next_send_us, u64::min)
    }

    /// What is shown.
    #[must_use]
    pub fn status(&self, now: Now) -> DetectorStatus {
        let limit_us = self.limit_us();
        DetectorStatus {
            incarnation: self.incarnation,
            timing: self.timing,
            deciding: self.deciding(),
            peer: self.peer.shown().clone(),
            paths: self
                .paths
                .iter()
                .map(|path| path.state(now.mono_us, limit_us))
                .collect(),
        }
    }
}

/// A beat that counts: the path is up, and what the beat measures is taken down.
fn heard(
    path: &mut Path,
    now: Now,
    beat: &Beat,
    echo: Echo,
    peer: &mut Peer,
    events: &mut Vec<HeartbeatEvent>,
) {
    path.heard(now.mono_us, echo);
    path.echoed_us = path.echoed_us.max(beat.echoed_us.min(now.mono_us));
    let round_us = now.mono_us.checked_sub(beat.echoed_us);
    let round_us = round_us.and_then(|round_us| round_us.checked_sub(beat.held_us.into()));
    if let Some(round_us) = round_us
        && beat.echoed_us != 0
        && beat.held_us != u32::MAX
    {
        path.measured(round_us);
        let way_us = i64::from(path.rtt_us.unwrap_or(0) / 2);
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        peer.clock_ahead(
            signed(beat.wall_us)
                .saturating_sub(signed(now.wall_us))
                .saturating_add(way_us),
        );
    }
    if !path.up {
        path.up = true;
        events.push(HeartbeatEvent::PathUp(path.id));
    }
}
