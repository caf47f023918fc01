//! One path: what was sent and heard on it.

use super::beat::PathId;
use super::window::Window;

/// What was counted on a path since the start, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Given out for sending.
    pub sent: u64,
    /// Of these, those that the socket did not take, or that had no socket.
    pub send_failed: u64,
    /// Taken: beats that count as life, and the words that end one.
    pub received: u64,
    /// Whose authentication code is wrong: another key, another pair, or damage.
    pub bad_mac: u64,
    /// That are no heartbeats of this version.
    pub malformed: u64,
    /// Authentic, but sent on another path: paths are numbered or cabled differently.
    pub wrong_path: u64,
    /// Seen before.
    pub replayed: u64,
    /// Overtaken by a later one.
    pub late: u64,
    /// Of a life that has ended.
    pub ended: u64,
    /// That do not prove to know this life of ours; each beat is answered. A few at every start.
    pub foreign: u64,
    /// Answers of the peer's host that nobody takes heartbeats there.
    pub refused: u64,
}

/// What is shown of a path. Times are the detector's microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathState {
    /// Which path.
    pub id: PathId,
    /// The peer is heard on it.
    pub up: bool,
    /// The peer hears us on it, as it says.
    pub heard_by_peer: bool,
    /// When it was heard last, of the peer's present life.
    pub heard_us: Option<u64>,
    /// Round trip, smoothed, microseconds.
    pub rtt_us: Option<u32>,
    /// Nobody takes heartbeats at its other end.
    pub refused: bool,
    /// Counters.
    pub counters: PathCounters,
}

/// What a beat says back of one of the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    /// The other side's clock when it sent.
    pub sent_us: u64,
    /// When that was heard here.
    pub at_us: u64,
}

/// A path.
#[derive(Debug)]
pub(super) struct Path {
    pub id: PathId,
    pub up: bool,
    pub refused: bool,
    pub rtt_us: Option<u32>,
    pub counters: PathCounters,
    /// Of the peer's present life.
    pub window: Window,
    /// When the last beat that counts was heard.
    pub heard_us: Option<u64>,
    /// When it was spared since then, because this process had not run.
    spared_us: Option<u64>,
    /// What to say back of it.
    pub echo: Option<Echo>,
    /// The latest of our times that came back; 0: none.
    pub echoed_us: u64,
    /// A beat to answer at once: whose, and what to say back of it.
    pub answer: Option<(u64, Echo)>,
    /// So many datagrams of other versions came since the last of one that is spoken.
    pub strange: u8,
    sequence: u64,
}

impl Path {
    pub fn new(id: PathId) -> Self {
        Self {
            id,
            up: false,
            refused: false,
            rtt_us: None,
            counters: PathCounters::default(),
            window: Window::default(),
            heard_us: None,
            spared_us: None,
            echo: None,
            echoed_us: 0,
            answer: None,
            strange: 0,
            sequence: 0,
        }
    }

    /// The peer has another life now: nothing of the former one counts.
    pub fn forget(&mut self) {
        (self.up, self.window) = (false, Window::default());
        (self.heard_us, self.spared_us) = (None, None);
        (self.echo, self.echoed_us) = (None, 0);
    }

    /// The number of the next datagram.
    pub fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.counters.sent += 1;
        self.sequence
    }

    /// When it goes down if nothing comes.
    pub fn down_at(&self, limit_us: u64) -> Option<u64> {
        let heard_us = self.heard_us.filter(|_| self.up)?;
        let since_us = self.spared_us.map_or(heard_us, |us| us.max(heard_us));
        Some(since_us.saturating_add(limit_us))
    }

    /// A beat that counts was heard.
    pub fn heard(&mut self, now_us: u64, echo: Echo) {
        (self.heard_us, self.spared_us) = (Some(now_us), None);
        self.echo = Some(echo);
        self.refused = false;
        self.counters.received += 1;
    }

    /// This process has not run for a while: what has not come then is no sign. Once only, or one that hardly ever runs would never find
    /// out.
    pub fn spare(&mut self, now_us: u64) {
        self.spared_us = self.spared_us.or(Some(now_us));
    }

    /// Takes down a round trip: an eighth of each sample, as in RFC 6298 section 2.
    pub fn measured(&mut self, sample_us: u64) {
        let sample = u32::try_from(sample_us).unwrap_or(u32::MAX);
        let smoothed = |old: u32| ((u64::from(old) * 7 + u64::from(sample)) / 8) as u32;
        self.rtt_us = Some(self.rtt_us.map_or(sample, smoothed));
    }

    pub fn state(&self, now_us: u64, limit_us: u64) -> PathState {
        PathState {
            id: self.id,
            up: self.up,
            heard_by_peer: self.echoed_us != 0 && now_us.saturating_sub(self.echoed_us) < limit_us,
            heard_us: self.heard_us,
            rtt_us: self.rtt_us,
            refused: self.refused,
            counters: self.counters,
        }
    }
}
