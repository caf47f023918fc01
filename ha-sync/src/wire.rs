//! The replication format, version 1: what is inside a frame.
//!
//! ```text
//!   frame (crate::frame): magic, version, type, length, checksums
//!     Hello      who, which configuration, which roles, what was received of the other's stream      message.rs
//!     Batch      stream, sequence number, age, then records                                          batch.rs
//!                  record: length, type, body                                                        record.rs, session.rs
//!     Ack        stream, sequence number of the last batch taken
//!     Resend     stream, sequence number of the first batch missing
//!     Keepalive  roles, when one has changed or nothing else was said
//!     Parts      digests of parts of the configuration, by name                                      parts.rs
//!     Exchange   a piece of a question or an answer beside all that                                  exchange.rs
//! ```
//!
//! All numbers are big-endian; those that are mostly small are in base 128, most significant group first, the upper bit of an
//! octet saying that another follows. Service sets, pools, prefixes and policies go by their numbers in the [`Dictionary`], times
//! as ages in ticks at the time the batch was made (how long ago that was stands in its header, and is set again when it is sent
//! again), public addresses as they are.
//!
//! Messages of an unknown type are skipped; records of an unknown type are an error, because what they mean would be missing.
//! Messages and records may be longer than this build knows: a later wire version appends fields, and what is behind those
//! known is ignored. Nothing is allocated by a length that was read.

mod batch;
mod dictionary;
mod exchange;
mod message;
mod octets;
mod parts;
mod record;
mod session;

pub use batch::{BATCH_HEADER_LEN, BatchHeader, CONTROL_ONLY, Records};
pub use dictionary::Dictionary;
pub use exchange::{EXCHANGE_MAX, EXCHANGE_PIECE, Exchange, ExchangePiece, exchange_from, exchange_to};
pub use message::{Ack, Hello, MessageType, roles_from, roles_to};
pub(crate) use octets::Reader;
pub use octets::WireError;
pub use parts::{PART_NAME_MAX, PARTS_MAX, Part, parts_from, parts_to};
pub use record::{RECORD_LEN_MAX, Record, Style, decode, encode, is_control};

/// The wire versions one end speaks: how many times fields were appended to messages and records, or records added. Two ends speak the
/// highest that both know ([`Versions::common`]); what is younger is neither said nor read then.
///
/// | version | what came |
/// |---|---|
/// | 1 | the types of objects that a bulk is of, at its begin and where it is asked for |
/// | 2 | what is left of the rest of extents and leases; the lowest version in [`Hello`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// The lowest that is still understood.
    pub lowest: u16,
    /// The highest that is spoken.
    pub highest: u16,
}

impl Versions {
    /// Those of this build.
    pub const ALL: Self = Self {
        lowest: 0,
        highest: VERSION,
    };

    /// The version that two ends speak; `None`: they do not understand each other.
    #[must_use]
    pub const fn common(self, other: Self) -> Option<u16> {
        let highest = if self.highest < other.highest {
            self.highest
        } else {
            other.highest
        };
        if highest < self.lowest || highest < other.lowest {
            None
        } else {
            Some(highest)
        }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.lowest, self.highest)
    }
}

/// The highest wire version of this build.
pub const VERSION: u16 = 2;

/// From this wire version on a peer understands bulks of some types of objects. To others everything is told.
pub const VERSION_OBJECT_TYPES: u16 = 1;
/// From this one on what is left of a rest is told.
pub const VERSION_RESTS: u16 = 2;
