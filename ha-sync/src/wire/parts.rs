//! Parts of what both chassis must have alike, by name and digest: told in pieces, so that a difference can be named.

use super::octets::{Reader, WireError};

/// Parts that are told at most; of more, the first by name.
pub const PARTS_MAX: usize = 4096;
/// Octets of a part's name that are told at most.
pub const PART_NAME_MAX: usize = 120;
/// Octets of one piece that are filled, about.
const PIECE: usize = 16 << 10;

/// A part of the configuration, or of what was set beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// What it is called: unique among a chassis' parts.
    pub name: String,
    /// Digest of what is in it.
    pub digest: u64,
    /// It is none of what the digest of the configuration is about: where it differs, replication goes on.
    pub beside: bool,
}

/// Appends a piece of the list, from `first` on; where the next one begins.
pub fn parts_to(parts: &[Part], first: usize, out: &mut Vec<u8>) -> usize {
    let told = parts.len().min(PARTS_MAX);
    out.extend_from_slice(&(told as u16).to_be_bytes());
    out.extend_from_slice(&(first as u16).to_be_bytes());
    let start = out.len();
    let mut next = first;
    while let Some(part) = parts
        .get(next)
        .filter(|_| next < told && out.len() - start < PIECE)
    {
        let name = part.name.get(..part.name.floor_char_boundary(PART_NAME_MAX));
        let name = name.unwrap_or_default().as_bytes();
        out.push(u8::from(part.beside));
        out.extend_from_slice(&part.digest.to_be_bytes());
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        next += 1;
    }
    next
}

/// Takes a piece to those before it in `known`; whether the list is complete. A piece that does not follow is left aside.
///
/// # Errors
/// [`WireError`].
pub fn parts_from(payload: &[u8], known: &mut Vec<Part>) -> Result<bool, WireError> {
    let mut from = Reader(payload);
    let told = usize::from(from.u16("number of parts")?).min(PARTS_MAX);
    let first = usize::from(from.u16("first part")?);
    if first == 0 {
        known.clear();
    }
    if first != known.len() {
        return Ok(false);
    }
    while !from.0.is_empty() && known.len() < told {
        let beside = from.u8("kind of part")? & 1 != 0;
        let digest = from.u64("digest")?;
        let length = from.u8("length of a name")?;
        let name = from.take(length.into(), "name")?;
        known.push(Part {
            name: String::from_utf8_lossy(name).into_owned(),
            digest,
            beside,
        });
    }
    Ok(known.len() >= told)
}
