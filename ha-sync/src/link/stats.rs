//! What a link counts.

use tandem_engine::replica::{ObjectTypes, Op};

use super::histogram::Histogram;
use crate::wire::WireError;

/// Objects of a bulk, by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Sessions.
    pub sessions: u64,
    /// Mappings.
    pub mappings: u64,
    /// Port blocks.
    pub blocks: u64,
    /// Extents of public ports.
    pub extents: u64,
}

impl Objects {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.sessions + self.mappings + self.blocks + self.extents
    }

    /// Counts an operation that tells of an object; false: this one does not.
    pub(super) const fn count(&mut self, op: &Op) -> bool {
        match op {
            Op::Session(_) => self.sessions += 1,
            Op::Mapping(_) => self.mappings += 1,
            Op::Block(_) => self.blocks += 1,
            Op::Extent(_) => self.extents += 1,
            _ => return false,
        }
        true
    }
}

/// A batch that this chassis does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison {
    /// The peer's stream.
    pub stream: u32,
    /// Its number there.
    pub sequence: u64,
    /// How often it came.
    pub times: u32,
    /// It was given up, and a bulk is asked for in its place.
    pub skipped: bool,
    /// Why.
    pub error: WireError,
}

/// How far a bulk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkProgress {
    /// Its number; 0 before the first.
    pub number: u16,
    /// The types of objects it is of.
    pub types: ObjectTypes,
    /// It is under way.
    pub running: bool,
    /// When it began, milliseconds of the link's clock.
    pub began_ms: u64,
    /// How long it took, or has taken until the last word of it.
    pub took_ms: u64,
    /// Objects told since its beginning, those that changed meanwhile included.
    pub objects: Objects,
}

/// What a link counts, over all streams since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Streams that greeted well.
    pub connects: u64,
    /// Of these, those that went on where the last one broke.
    pub resumes: u64,
    /// Streams that were refused.
    pub refused: u64,
    /// Times the peer was not heard for too long.
    pub lost: u64,
    /// Octets written.
    pub bytes_sent: u64,
    /// Octets read.
    pub bytes_received: u64,
    /// Batches written for the first time.
    pub batches_sent: u64,
    /// Batches written again.
    pub retransmits: u64,
    /// Batches read in order.
    pub batches_received: u64,
    /// Batches that were here already.
    pub duplicates: u64,
    /// Batches that came before one that is missing.
    pub gaps: u64,
    /// Batches left aside because the configurations differed when they were made or came.
    pub batches_dropped: u64,
    /// Messages of a type this build does not know.
    pub unknown_messages: u64,
    /// Operations put into batches.
    pub updates_sent: u64,
    /// Operations the chassis took.
    pub updates_received: u64,
    /// Operations that replaced an older one about the same session before it was sent.
    pub collapsed: u64,
    /// Operations about something the peer cannot know (a pool or a service set that is not replicated); not sent.
    pub untranslatable: u64,
    /// Times the chassis had no room for an operation.
    pub install_waits: u64,
    /// How long the chassis has had no room for an operation that waits, milliseconds.
    pub install_wait_ms: u64,
    /// Batches that could not be understood, each time that the stream was refused for one.
    pub batches_refused: u64,
    /// Batches that were given up after that happened several times.
    pub batches_skipped: u64,
    /// The last one.
    pub poison: Option<Poison>,
    /// Operations waiting beside the window now.
    pub pending: u64,
    /// The most there have been.
    pub pending_peak: u64,
    /// Octets the window holds now.
    pub window_bytes: u64,
    /// The most it held.
    pub window_peak: u64,
    /// Sequence number of the last batch made, of the last acknowledged by the peer, and of the last one taken from it.
    pub sequence_sent: u64,
    /// See `sequence_sent`.
    pub sequence_acknowledged: u64,
    /// See `sequence_sent`.
    pub sequence_received: u64,
    /// Age of the oldest operation the peer has not acknowledged, whatever the workers still have included, milliseconds; as of
    /// the last poll.
    pub lag_ms: u64,
    /// Milliseconds from taking an operation to its acknowledgment.
    pub acknowledgment_ms: Histogram,
    /// Lease offers the peer acknowledged.
    pub leases_acknowledged: u64,
    /// Objects told, new or changed.
    pub objects_sent: Objects,
    /// Objects the chassis took, new or changed.
    pub objects_received: Objects,
    /// Bulks begun that we tell.
    pub bulks_sent: u64,
    /// Of these, those that had to rest after the one before.
    pub bulks_rested: u64,
    /// Until the workers are asked for the bulk that rests, milliseconds; 0: none does.
    pub bulk_wait_ms: u64,
    /// Bulks begun that we are told.
    pub bulks_received: u64,
    /// The bulk we tell.
    pub bulk_sent: BulkProgress,
    /// The bulk we are told.
    pub bulk_received: BulkProgress,
    /// Bulks whose end did not have as many objects as were counted here.
    pub bulk_mismatches: u64,
}
