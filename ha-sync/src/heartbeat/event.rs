//! What a detector is given and gives: the time, what is to be sent, and what it tells whoever decides about roles.

use super::beat::{Beat, PathId, SetBeat};
use super::codec::Codec;

/// The time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Of a clock that is never set and never goes back, since anything that is the same for the whole life of a [`super::Detector`]. 1 at least.
    pub mono_us: u64,
    /// Since 1970-01-01 UTC.
    pub wall_us: u64,
}

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// On which path.
    pub path: PathId,
    /// What.
    pub octets: Vec<u8>,
}

impl Datagram {
    pub(super) fn of(beat: &Beat, codec: &Codec) -> Self {
        Self {
            path: beat.path,
            octets: codec.encode(beat),
        }
    }

    pub(super) fn in_version(beat: &Beat, codec: &Codec, version: u8) -> Self {
        Self {
            path: beat.path,
            octets: codec.encode_as(beat, version),
        }
    }
}

/// Why the peer's life ended, when nobody said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostWhy {
    /// No beat on any path for the deciding timing: a dead host, or all paths cut.
    Silent,
    /// Its process was started anew: another incarnation answers. [`HeartbeatEvent::Alive`] follows.
    Restarted,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatEvent {
    /// The peer lives: a beat of it echoes this life of ours. All its sets follow.
    Alive {
        /// The peer's incarnation.
        incarnation: u64,
    },
    /// It does no longer, as far as can be heard. All paths are down.
    Lost {
        /// Why.
        why: LostWhy,
    },
    /// Its guard says that its process is dead.
    Gone,
    /// It stops, cleanly.
    Leaving,
    /// A path brings beats.
    PathUp(PathId),
    /// It does no longer.
    PathDown(PathId),
    /// The peer's sets, all of them: at first, and whenever something of them has changed.
    Sets(Vec<SetBeat>),
    /// The peer's host answers on this path that nobody takes heartbeats there. Said once until a beat is heard or a probe is sent.
    /// Not authenticated: it means something only together with what else is known, as a channel that has closed.
    Refused(PathId),
    /// What comes on this path is of a version that is not spoken here, and nothing else comes. Said once until something else does. Not
    /// authenticated.
    OtherVersion {
        /// The path.
        path: PathId,
        /// The version that comes.
        theirs: u8,
        /// The highest that is spoken here.
        highest: u8,
    },
}
