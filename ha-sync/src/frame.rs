//! Frames: messages on a byte stream, each with magic, version, type, length and checksums.
//!
//! ```text
//!    0        4         6        8         12                 16                20            20 + length
//!    +--------+---------+--------+---------+------------------+-----------------+-- - - - ----+
//!    | "TdHA" | version |  type  | length  | payload's CRC-32 | header's CRC-32 |   payload   |
//!    +--------+---------+--------+---------+------------------+-----------------+-- - - - ----+
//! ```
//!
//! All numbers are big-endian. `length` is the payload's, in octets, at most what the receiver agreed to ([`PAYLOAD_MAX`] at
//! the very most). The header's checksum covers the 16 octets before it, so that a damaged length is noticed before anybody
//! waits for that many octets; CRC-32 is IEEE 802.3's.
//!
//! - Magic and version stay where they are in every version to come. A stream of another version is refused with both
//!   versions named ([`FrameError::Version`]) and nothing else of it is interpreted.
//! - A type the receiver does not know is not an error: the frame is delivered with its number, and can be skipped
//!   ([`Frame::message`]). A newer peer of the same version may send such messages.
//! - After an error the stream is lost: where the next frame would start is unknown. The error stays, and the connection is
//!   to be closed.
//!
//! The checksums find damage and mistakes, not attacks: against those the channel has TLS. They matter when it runs with
//! `security = "none"`, and they name what went wrong when one end has a bug.

mod decode;
mod encode;

pub use decode::{Decoder, Frame, FrameError, Unknown};
pub use encode::{EncodeError, encode, seal};

/// What every frame begins with.
pub const MAGIC: [u8; 4] = *b"TdHA";
/// The version this build speaks.
pub const VERSION: u16 = 1;
/// Octets of a header.
pub const HEADER_LEN: usize = 20;
/// Octets of the longest payload there can be; a decoder may be told to accept less.
pub const PAYLOAD_MAX: u32 = 1 << 20;

/// Octets the header's checksum covers.
const CHECKED_LEN: usize = 16;

const _: () = assert!(HEADER_LEN == CHECKED_LEN + 4);
