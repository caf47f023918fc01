//! Writing frames into the caller's memory.

use super::{CHECKED_LEN, HEADER_LEN, MAGIC, PAYLOAD_MAX, VERSION};

/// A frame could not be written; the buffer's contents are undefined then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The payload is longer than any receiver accepts.
    #[error("a payload of {0} octets exceeds {PAYLOAD_MAX}")]
    TooLong(usize),
    /// The buffer is too short.
    #[error("a frame of {needed} octets does not fit into {room}")]
    NoRoom {
        /// Octets the frame takes.
        needed: usize,
        /// Octets the buffer has.
        room: usize,
    },
}

/// Writes a frame of this type and payload to the front of `out`; how many octets it takes.
///
/// # Errors
/// [`EncodeError`].
pub fn encode(out: &mut [u8], message_type: u16, payload: &[u8]) -> Result<usize, EncodeError> {
    let room = out.len();
    let Some(place) = out.get_mut(HEADER_LEN..).and_then(|o| o.get_mut(..payload.len())) else {
        let needed = HEADER_LEN.saturating_add(payload.len());
        return Err(EncodeError::NoRoom { needed, room });
    };
    place.copy_from_slice(payload);
    seal(out, message_type, payload.len())
}

/// Writes the header of a frame whose payload of `length` octets already stands behind its place in `out`: for messages that
/// are written where they are sent from. How many octets the frame takes.
///
/// # Errors
/// [`EncodeError`].
pub fn seal(out: &mut [u8], message_type: u16, length: usize) -> Result<usize, EncodeError> {
    let short = u32::try_from(length).ok().filter(|l| *l <= PAYLOAD_MAX);
    let Some(short) = short else {
        return Err(EncodeError::TooLong(length));
    };
    let (needed, room) = (HEADER_LEN + length, out.len());
    let Some((header, payload)) = out
        .get_mut(..needed)
        .and_then(|f| f.split_first_chunk_mut::<HEADER_LEN>())
    else {
        return Err(EncodeError::NoRoom { needed, room });
    };
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_be_bytes());
    header[6..8].copy_from_slice(&message_type.to_be_bytes());
    header[8..12].copy_from_slice(&short.to_be_bytes());
    header[12..16].copy_from_slice(&crc32fast::hash(payload).to_be_bytes());
    let checksum = crc32fast::hash(&header[..CHECKED_LEN]);
    header[CHECKED_LEN..].copy_from_slice(&checksum.to_be_bytes());
    Ok(needed)
}
