//! What a heartbeat says. How it looks on the wire is [`super::codec`]'s concern.

/// Sets of one redundancy group, at most. Redundancy spec, section 1.
pub const SETS_MAX: usize = 16;
/// Shortest interval, milliseconds. Redundancy spec, section 2.
pub const INTERVAL_MS_MIN: u16 = 10;
/// Longest interval, milliseconds.
pub const INTERVAL_MS_MAX: u16 = 10_000;
/// Smallest number of intervals without a beat after which a path is down. Redundancy spec, section 2.
pub const LOST_THRESHOLD_MIN: u8 = 3;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The sender lives.
    Beat,
    /// The process of this incarnation is dead. Said by the guard process that outlived it.
    Gone,
    /// The process of this incarnation stops now, cleanly.
    Leaving,
}

/// A way between the two chassis. Both must give it the same number, since it is part of what is authenticated: a datagram counts only on
/// the path it was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathId {
    /// The control link.
    Control,
    /// The data link.
    Data,
    /// The first secondary path: an ordinary interface, for heartbeats alone.
    Secondary1,
    /// The second one.
    Secondary2,
}

impl PathId {
    /// All there can be, in the order of their numbers, from 0.
    pub const ALL: [Self; 4] = [Self::Control, Self::Data, Self::Secondary1, Self::Secondary2];

    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The path of a number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in the API and in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
            Self::Secondary1 => "secondary-1",
            Self::Secondary2 => "secondary-2",
        }
    }
}

impl std::fmt::Display for PathId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How often a chassis sends, and after how many intervals without a beat it takes a path for down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BeatTiming {
    /// Milliseconds between two beats at most, [`INTERVAL_MS_MIN`]..=[`INTERVAL_MS_MAX`]. They are sent an eighth earlier.
    pub interval_ms: u16,
    /// Intervals, at least [`LOST_THRESHOLD_MIN`].
    pub lost_threshold: u8,
}

impl BeatTiming {
    /// Milliseconds without a beat after which a path is down.
    #[must_use]
    pub fn lost_after_ms(self) -> u32 {
        u32::from(self.interval_ms) * u32::from(self.lost_threshold)
    }

    /// Microseconds between two beats: an eighth less than is stated. Else the beat after the last that may be missing would come just
    /// when the path goes down, and a little jitter would make it one less (RFC 5880 section 6.8.7 does so for the same reason).
    #[must_use]
    pub fn period_us(self) -> u64 {
        u64::from(self.interval_ms) * 875
    }

    /// Whether both numbers are in their ranges.
    #[must_use]
    pub fn is_valid(self) -> bool {
        (INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&self.interval_ms)
            && self.lost_threshold >= LOST_THRESHOLD_MIN
    }

    /// With both numbers in their ranges.
    pub(super) fn clamped(self) -> Self {
        Self {
            interval_ms: self.interval_ms.clamp(INTERVAL_MS_MIN, INTERVAL_MS_MAX),
            lost_threshold: self.lost_threshold.max(LOST_THRESHOLD_MIN),
        }
    }
}

impl Default for BeatTiming {
    /// 200 ms x 3. Redundancy spec, section 2.
    fn default() -> Self {
        Self {
            interval_ms: 200,
            lost_threshold: 3,
        }
    }
}

/// State of a redundancy set on one chassis. Redundancy spec, section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetState {
    /// Has not heard the peer yet, and its initial hold time still runs.
    Initializing,
    /// Primary.
    Primary,
    /// Standby, and ready to take over.
    Standby,
    /// Standby, ready, but a monitored event is active.
    StandbyWarned,
    /// Standby, not ready to take over.
    Wait,
    /// Taken out by the operator.
    Ineligible,
    /// The weighted failures have reached the threshold.
    Inoperable,
}

impl SetState {
    /// All, in the order of their numbers on the wire, from 0.
    pub const ALL: [Self; 7] = [
        Self::Initializing,
        Self::Primary,
        Self::Standby,
        Self::StandbyWarned,
        Self::Wait,
        Self::Ineligible,
        Self::Inoperable,
    ];

    /// Its name in the API and in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::StandbyWarned => "standby-warned",
            Self::Wait => "wait",
            Self::Ineligible => "ineligible",
            Self::Inoperable => "inoperable",
        }
    }
}

/// What a chassis says of one of its redundancy sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetBeat {
    /// The set, 1..=128.
    pub set: u8,
    /// Its state.
    pub state: SetState,
    /// The workers forward it: their role, which follows the state during a change.
    pub primary: bool,
    /// Holds everything it was told, and everything it was told is complete.
    pub complete: bool,
    /// A monitored event is active, or somebody warns.
    pub warned: bool,
    /// A policy or the operator warns the receiver. Said since version 2.
    pub broadcasts: bool,
    /// May become primary.
    pub eligible: bool,
    /// The number of the role change that made the role.
    pub epoch: u64,
    /// Lower wins, 1..=254.
    pub priority: u8,
    /// Sum of the weights of what has failed.
    pub failed_weight: u16,
}

/// A heartbeat. Times are microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What it is.
    pub kind: Kind,
    /// The path it is sent on.
    pub path: PathId,
    /// A number no other life of the sender's process had (random, not zero).
    pub incarnation: u64,
    /// The receiver's incarnation as the sender last heard it; 0: not heard.
    pub echo_incarnation: u64,
    /// Grows with each datagram of a path and incarnation, from 1; 0 in [`Kind::Gone`].
    pub sequence: u64,
    /// The sender's monotonic clock at sending; not zero but in [`Kind::Gone`].
    pub sent_us: u64,
    /// `sent_us` of the last beat that the sender heard on this path; 0: none.
    pub echoed_us: u64,
    /// How long ago that was; [`u32::MAX`] for longer than fits.
    pub held_us: u32,
    /// The sender's wall clock at sending, since 1970-01-01 UTC.
    pub wall_us: u64,
    /// The sender's timing.
    pub timing: BeatTiming,
    /// The sender's sets, by ascending number, at most [`SETS_MAX`].
    pub sets: Vec<SetBeat>,
}

impl Beat {
    /// The last word of a life or about it, with nothing in it but whose it is.
    pub(super) fn last(kind: Kind, path: PathId, incarnation: u64) -> Self {
        Self {
            kind,
            path,
            incarnation,
            echo_incarnation: 0,
            sequence: 0,
            sent_us: 0,
            echoed_us: 0,
            held_us: 0,
            wall_us: 0,
            timing: BeatTiming::default(),
            sets: Vec::new(),
        }
    }
}
