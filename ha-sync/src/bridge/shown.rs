//! What a bridge says of itself: events, counters, errors.

use tandem_engine::replica::Merge;
use tandem_engine::steer::UnevenSplit;

use crate::chassis::{PeerEvent, SetRole};

/// What the bridge tells whoever drives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// From the link.
    Peer(PeerEvent),
    /// All workers have taken up a redundancy set's role, and what they put out before was given to the link.
    RoleDone(SetRole),
    /// The peer is primary with a higher epoch, or with the same one ([`super::Bridge::yield_equal_epochs`]), so this chassis
    /// yields: its workers are taking up the standby role.
    Yielded(SetRole),
    /// What a set that has yielded had of its own was offered to the peer, which has it; or its release knows nothing of that.
    Offered {
        /// The set.
        set: u8,
        /// The peer has it.
        told: bool,
    },
    /// What the workers made of what the peer offered of a set, in one bulk; not when that was nothing.
    Merged {
        /// The set.
        set: u8,
        /// The numbers of all workers.
        merge: Merge,
    },
}

/// What a bridge counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// Operations taken from the workers for the peer.
    pub taken: u64,
    /// Operations brought to the workers.
    pub installed: u64,
    /// Times a worker's inbox was full.
    pub inbox_full: u64,
    /// Operations dropped because nobody listened any more.
    pub dropped: u64,
    /// Bulks the workers were asked for.
    pub bulks: u64,
    /// Leases offered to the peer, and again after a connect.
    pub leases_offered: u64,
    /// Leases acknowledged.
    pub leases_granted: u64,
    /// Leases given back to the peer.
    pub leases_withdrawn: u64,
    /// Leases of the peer taken note of.
    pub leases_told: u64,
    /// Leases the peer offered of extents that this chassis leases or uses itself.
    pub lease_conflicts: u64,
    /// Extents of a lost peer's, or of one that began anew, that were freed after their rest.
    pub leases_freed: u64,
    /// Times that a set was primary beside the peer, or may have been, and what it had of its own was offered.
    pub offers: u64,
    /// Times that it could not be, because the peer's release knows nothing of that.
    pub offers_in_vain: u64,
    /// Times that workers were through with what the peer's bulk told of sets that are primary here.
    pub merges: u64,
    /// Only granted extents may be taken; otherwise a peer does not know of what is given out.
    pub leases_required: bool,
}

/// Operations in all workers' rings, and how many fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingUse {
    /// Put out by the workers, and not taken yet.
    pub outboxes: (usize, usize),
    /// Brought to the workers, and not done yet.
    pub inboxes: (usize, usize),
    /// What workers hold back because there was no room to put it out. While there is something, the peer does not know all.
    pub held_back: u64,
}

/// The rings do not go together, or the workers not with the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// There is one outbox and one inbox for every worker.
    #[error("{outboxes} outboxes and {inboxes} inboxes are not one of each for every worker")]
    Rings {
        /// Outboxes.
        outboxes: usize,
        /// Inboxes.
        inboxes: usize,
    },
    /// Shards.
    #[error(transparent)]
    Split(#[from] UnevenSplit),
}
