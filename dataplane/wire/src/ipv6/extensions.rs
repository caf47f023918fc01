//! The walk over IPv6 extension headers (RFC 8200, 4), bounded, to the upper layer.
//!
//! ```text
//!  fixed 40 | hop-by-hop? | destination? | routing? | fragment? | destination? | upper layer ...
//! ```

use super::HEADER_LEN;
use crate::error::ParseError;

/// Extension headers that are followed; a packet with more is refused.
pub const EXTENSIONS_MAX: usize = 8;

/// Hop-by-hop options header.
pub const HOP_BY_HOP: u8 = 0;
/// Routing header.
pub const ROUTING: u8 = 43;
/// Fragment header.
pub const FRAGMENT: u8 = 44;
/// Octets of the fragment header.
pub const FRAGMENT_LEN: usize = 8;
/// "No next header".
pub const NO_NEXT: u8 = 59;
/// Destination options header.
pub const DESTINATION: u8 = 60;

/// What a fragment header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Where the fragment header starts, from the start of the IPv6 header.
    pub header_offset: u16,
    /// Offset of this fragment's data in octets, a multiple of 8.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

/// Where the walk over the extension headers ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper {
    /// Number of the upper-layer header. Of a later fragment: what its fragment header says, which may be an
    /// extension header that the first fragment holds.
    pub proto: u8,
    /// Where it starts, from the start of the IPv6 header.
    pub offset: u16,
    /// The fragment header, if there is one.
    pub fragment: Option<FragmentInfo>,
    /// Segments left of a routing header; 0 without one (RFC 7915, 5.1 refuses others).
    pub segments_left: u8,
    /// Where the segments-left field of that header is, from the start of the IPv6 header (the pointer of a
    /// parameter problem); 0 without one.
    pub segments_left_offset: u16,
}

impl Upper {
    /// Whether this is a fragment above offset 0, without an upper-layer header.
    #[inline(always)]
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|f| f.offset != 0)
    }
}

/// Walks the extension headers of a packet, whose first has number `next` and stands at octet 40. Follows
/// hop-by-hop (only first), destination options, routing and fragment headers, at most [`EXTENSIONS_MAX`];
/// anything else is the upper layer. `packet` may be cut off behind the headers (one embedded in an error).
///
/// # Errors
/// `Ipv6BadExtension`, `Ipv6TooManyExtensions`, `Ipv6BadFragment`.
#[inline]
pub fn walk(packet: &[u8], next: u8) -> Result<Upper, ParseError> {
    let mut upper = Upper {
        proto: next,
        offset: HEADER_LEN as u16,
        fragment: None,
        segments_left: 0,
        segments_left_offset: 0,
    };
    for step in 0..=EXTENSIONS_MAX {
        if !matches!(upper.proto, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
            return Ok(upper);
        }
        if step == EXTENSIONS_MAX {
            break;
        }
        if upper.proto == HOP_BY_HOP && step != 0 {
            return Err(ParseError::Ipv6BadExtension);
        }
        walk_one(packet, &mut upper)?;
        if upper.is_later_fragment() {
            return Ok(upper);
        }
    }
    Err(ParseError::Ipv6TooManyExtensions)
}

/// Takes the extension header that `upper` stands at and moves behind it.
#[cold]
fn walk_one(packet: &[u8], upper: &mut Upper) -> Result<(), ParseError> {
    let cut_off = match upper.fragment {
        Some(_) => ParseError::Ipv6BadFragment,
        None => ParseError::Ipv6BadExtension,
    };
    let rest = packet.get(usize::from(upper.offset)..).ok_or(cut_off)?;
    let head = rest.first_chunk::<8>().ok_or(cut_off)?;
    let len = match upper.proto {
        FRAGMENT => FRAGMENT_LEN,
        _ => (usize::from(head[1]) + 1) * 8,
    };
    if len > rest.len() {
        return Err(cut_off);
    }
    match upper.proto {
        ROUTING if head[3] > 0 && upper.segments_left == 0 => {
            upper.segments_left = head[3];
            upper.segments_left_offset = upper.offset.saturating_add(3);
        }
        FRAGMENT => {
            if upper.fragment.is_some() {
                return Err(ParseError::Ipv6BadFragment);
            }
            let word = u16::from_be_bytes([head[2], head[3]]);
            let info = FragmentInfo {
                header_offset: upper.offset,
                offset: word & 0xfff8,
                more: word & 1 != 0,
                id: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            };
            upper.fragment = Some(info);
        }
        _ => {}
    }
    upper.proto = head[0];
    upper.offset = upper.offset.checked_add(len as u16).ok_or(cut_off)?;
    Ok(())
}

/// Checks the lengths of a fragment: a whole packet within 65535 octets of payload length, not empty unless it is the only one ("atomic",
/// RFC 6946), and a multiple of 8 when more follow (RFC 8200, 4.5). Not for packets embedded in errors.
///
/// # Errors
/// `Ipv6BadFragment`.
#[inline]
pub fn check_fragment(packet_len: usize, upper: &Upper) -> Result<(), ParseError> {
    let Some(info) = upper.fragment else {
        return Ok(());
    };
    let start = usize::from(info.header_offset) + FRAGMENT_LEN;
    let Some(len) = packet_len.checked_sub(start) else {
        return Err(ParseError::Ipv6BadFragment);
    };
    let atomic = info.offset == 0 && !info.more;
    // What the whole packet's payload length would be: the headers before the fragment header count.
    let end = usize::from(info.header_offset).saturating_sub(HEADER_LEN) + usize::from(info.offset) + len;
    if end > 65535 || len == 0 && !atomic || info.more && !len.is_multiple_of(8) {
        return Err(ParseError::Ipv6BadFragment);
    }
    Ok(())
}
