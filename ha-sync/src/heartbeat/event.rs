//! What heartbeats tell whoever decides about roles.

use super::beat::{PathId, SetBeat};

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
}
