//! The state of a link, and why there is none.

use crate::frame::FrameError;
use crate::wire::{Versions, WireError};

/// How far one direction of the mirror is. Redundancy spec, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mirror {
    /// Set up; the bulk is under way.
    #[default]
    Set,
    /// The bulk is complete; only what changes is told.
    Active,
}

/// What of the configuration differs, though it has to be alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The digests.
    #[error("the configurations of the replicated service sets differ (digest {} here, {} there)", short(.ours), short(.theirs))]
    Digest {
        /// Ours.
        ours: [u8; 32],
        /// The peer's.
        theirs: [u8; 32],
    },
    /// What ids are called on the wire, although the digests are equal: the builds number them differently.
    #[error(
        "the peer numbers service sets, pools, prefixes and policies otherwise: {ours:08x} here, {theirs:08x} there"
    )]
    Dictionary {
        /// Checksum of ours.
        ours: u32,
        /// Checksum of the peer's.
        theirs: u32,
    },
    /// One of both does not replicate sessions.
    #[error("sessions are not replicated by {}", if *.ours { "the peer" } else { "this chassis" })]
    Disabled {
        /// Whether we do.
        ours: bool,
    },
}

fn short(digest: &[u8; 32]) -> String {
    digest.iter().take(4).map(|b| format!("{b:02x}")).collect()
}

/// Why a stream is not one of our peer, or of one we cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The octets are no stream of frames, or of another version.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message that cannot be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The chassis have different numbers of shards.
    #[error("this chassis has {ours} shards, the peer {theirs}; both must have as many")]
    Shards {
        /// Ours.
        ours: u8,
        /// The peer's.
        theirs: u8,
    },
    /// The chassis have no wire version that both speak.
    #[error(
        "this chassis speaks wire versions {ours}, the peer {theirs}; the older release has to be upgraded"
    )]
    Versions {
        /// Ours.
        ours: Versions,
        /// The peer's.
        theirs: Versions,
    },
    /// The stream leads to ourselves.
    #[error("the peer is this chassis itself")]
    Myself,
}

/// A stream that is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no stream: [`super::Link::connected`] was not called, or this one was given up.
    #[error("octets of a stream that is given up")]
    NotConnected,
}

/// The state of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// No stream.
    #[default]
    Disconnected,
    /// A stream, and no word of the peer yet.
    Greeting,
    /// The stream was refused; close it. Stays until there is another.
    Refused(Refusal),
    /// The peer was not heard for too long; close the stream.
    Lost,
    /// The peer is there and its roles are known; sessions are not replicated.
    Suspended(Mismatch),
    /// Replicating.
    Connected {
        /// What we tell the peer.
        sending: Mirror,
        /// What the peer tells us.
        receiving: Mirror,
    },
}

impl LinkState {
    /// Both directions are complete: each could take over from the other.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(
            self,
            Self::Connected {
                sending: Mirror::Active,
                receiving: Mirror::Active
            }
        )
    }

    /// The stream is of no use any more: close it.
    #[must_use]
    pub const fn wants_close(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Lost)
    }
}
