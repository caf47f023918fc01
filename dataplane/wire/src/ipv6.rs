//! IPv6 headers (RFC 8200): the fixed header to read and write, and the walk over extension headers.
//!
//! ```text
//!  fixed 40 | hop-by-hop? | destination? | routing? | fragment? | destination? | upper layer ...
//! ```

use crate::error::ParseError;

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 40;
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

/// The address in 16 octets of a header, at a constant place.
#[inline(always)]
fn address(head: &[u8; HEADER_LEN], at: usize) -> u128 {
    head.get(at..)
        .and_then(|a| a.first_chunk())
        .map_or(0, |a| u128::from_be_bytes(*a))
}

/// A whole, checked IPv6 packet to read.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6<'a> {
    head: &'a [u8; HEADER_LEN],
    packet: &'a [u8],
}

/// Checks version and length; returns the length of header and payload.
#[inline(always)]
fn check(l3: &[u8]) -> Result<usize, ParseError> {
    let head = l3.first_chunk::<HEADER_LEN>().ok_or(ParseError::Ipv6Truncated)?;
    if head[0] >> 4 != 6 {
        return Err(ParseError::Ipv6BadVersion);
    }
    let len = HEADER_LEN + usize::from(u16::from_be_bytes([head[4], head[5]]));
    if len > l3.len() {
        Err(ParseError::Ipv6BadPayloadLength)
    } else {
        Ok(len)
    }
}

impl<'a> Ipv6<'a> {
    /// Checks version and payload length and cuts trailing padding. Jumbograms (RFC 2675) read as empty.
    ///
    /// # Errors
    /// `Ipv6Truncated`, `Ipv6BadVersion`, `Ipv6BadPayloadLength`.
    #[inline(always)]
    pub fn new_checked(l3: &'a [u8]) -> Result<Self, ParseError> {
        let packet = l3.get(..check(l3)?).ok_or(ParseError::Ipv6BadPayloadLength)?;
        let head = packet.first_chunk().ok_or(ParseError::Ipv6Truncated)?;
        Ok(Self { head, packet })
    }

    /// Traffic class: DSCP and ECN.
    #[inline(always)]
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        self.head[0] << 4 | self.head[1] >> 4
    }

    /// Flow label, 20 bits.
    #[inline(always)]
    #[must_use]
    pub const fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.head[1] & 0x0f, self.head[2], self.head[3]])
    }

    /// Octets behind the fixed header, extension headers included.
    #[inline(always)]
    #[must_use]
    pub const fn payload_len(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// Number of the header behind the fixed one.
    #[inline(always)]
    #[must_use]
    pub const fn next_header(&self) -> u8 {
        self.head[6]
    }

    /// Hop limit.
    #[inline(always)]
    #[must_use]
    pub const fn hop_limit(&self) -> u8 {
        self.head[7]
    }

    /// Source address, host order.
    #[inline(always)]
    #[must_use]
    pub fn src(&self) -> u128 {
        address(self.head, 8)
    }

    /// Destination address, host order.
    #[inline(always)]
    #[must_use]
    pub fn dst(&self) -> u128 {
        address(self.head, 24)
    }

    /// The packet without padding.
    #[inline(always)]
    #[must_use]
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// What follows the fixed header.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.packet.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// Walks the extension headers to the upper layer.
    ///
    /// # Errors
    /// As [`walk`].
    #[inline]
    pub fn upper(&self) -> Result<Upper, ParseError> {
        walk(self.packet, self.next_header())
    }
}

/// A whole, checked IPv6 packet to write in place.
#[derive(Debug)]
pub struct Ipv6Mut<'a> {
    head: &'a mut [u8; HEADER_LEN],
    payload: &'a mut [u8],
}

impl<'a> Ipv6Mut<'a> {
    /// As [`Ipv6::new_checked`].
    ///
    /// # Errors
    /// The same.
    #[inline(always)]
    pub fn new_checked(l3: &'a mut [u8]) -> Result<Self, ParseError> {
        let len = check(l3)?;
        let packet = l3.get_mut(..len).ok_or(ParseError::Ipv6BadPayloadLength)?;
        let (head, payload) = packet.split_first_chunk_mut().ok_or(ParseError::Ipv6Truncated)?;
        Ok(Self { head, payload })
    }

    /// What follows the fixed header, to write.
    #[inline(always)]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    /// Writes a new fixed header. The flow label's upper 12 bits are ignored; the view keeps its size.
    #[inline(always)]
    pub fn set_header(
        &mut self,
        traffic_class: u8,
        flow_label: u32,
        payload_len: u16,
        next: u8,
        hop_limit: u8,
    ) {
        let word = 6 << 28 | u32::from(traffic_class) << 20 | flow_label & 0x000f_ffff;
        [self.head[0], self.head[1], self.head[2], self.head[3]] = word.to_be_bytes();
        [self.head[4], self.head[5]] = payload_len.to_be_bytes();
        self.head[6] = next;
        self.head[7] = hop_limit;
    }

    /// Sets the hop limit.
    #[inline(always)]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.head[7] = hop_limit;
    }

    /// Sets the source address.
    #[inline(always)]
    pub fn set_src(&mut self, src: u128) {
        if let Some(to) = self.head[8..].first_chunk_mut() {
            *to = src.to_be_bytes();
        }
    }

    /// Sets the destination address.
    #[inline(always)]
    pub fn set_dst(&mut self, dst: u128) {
        if let Some(to) = self.head[24..].first_chunk_mut() {
            *to = dst.to_be_bytes();
        }
    }

    /// Takes one from the hop limit. `false`, and nothing changed, when it is 0 or 1.
    #[inline(always)]
    #[must_use]
    pub fn decrement_hop_limit(&mut self) -> bool {
        let left = self.head[7];
        if left <= 1 {
            return false;
        }
        self.head[7] = left - 1;
        true
    }
}

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

/// Checks the lengths of a fragment: an end within 65535 octets, not empty unless it is the only one ("atomic",
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
    if usize::from(info.offset) + len > 65535 || len == 0 && !atomic || info.more && !len.is_multiple_of(8) {
        return Err(ParseError::Ipv6BadFragment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipv4::UDP;

    const A: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0001;
    const B: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0002;

    fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut p = vec![0u8; 40];
        p[0] = 0x60;
        let mut ip = Ipv6Mut::new_checked(&mut p).unwrap();
        ip.set_header(0xb8, 0x12345, payload.len() as u16, next, 64);
        ip.set_src(A);
        ip.set_dst(B);
        p.extend_from_slice(payload);
        p
    }

    #[test]
    fn fixed_header() {
        let mut p = packet(UDP, &[1, 2, 3]);
        p.push(9); // padding
        let ip = Ipv6::new_checked(&p).unwrap();
        assert_eq!(
            (ip.traffic_class(), ip.flow_label(), ip.payload_len()),
            (0xb8, 0x12345, 3)
        );
        assert_eq!(
            (ip.next_header(), ip.hop_limit(), ip.src(), ip.dst()),
            (UDP, 64, A, B)
        );
        assert_eq!(ip.payload(), [1, 2, 3]);
        assert_eq!(ip.packet().len(), 43);
        let mut ip = Ipv6Mut::new_checked(&mut p).unwrap();
        assert!(ip.decrement_hop_limit());
        ip.set_hop_limit(1);
        assert!(!ip.decrement_hop_limit());
        assert_eq!(ip.payload_mut(), [1, 2, 3]);
        assert_eq!(
            Ipv6::new_checked(&p[..42]).map(|_| ()),
            Err(ParseError::Ipv6BadPayloadLength)
        );
        assert_eq!(
            Ipv6::new_checked(&p[..39]).map(|_| ()),
            Err(ParseError::Ipv6Truncated)
        );
        p[0] = 0x45;
        assert_eq!(Ipv6::new_checked(&p).map(|_| ()), Err(ParseError::Ipv6BadVersion));
    }

    #[test]
    fn chain_to_the_upper_layer() {
        let mut chain = vec![DESTINATION, 0, 1, 4, 0, 0, 0, 0];
        chain.extend_from_slice(&[ROUTING, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend_from_slice(&[FRAGMENT, 2, 4, 3, 0, 0, 0, 0]);
        chain.extend_from_slice(&[0; 16]);
        chain.extend_from_slice(&[UDP, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
        chain.extend_from_slice(&[0; 8]);
        let p = packet(HOP_BY_HOP, &chain);
        let ip = Ipv6::new_checked(&p).unwrap();
        let upper = ip.upper().unwrap();
        assert_eq!(
            (upper.proto, upper.offset, upper.segments_left),
            (UDP, 40 + 8 + 16 + 24 + 8, 3)
        );
        assert_eq!(upper.segments_left_offset, 40 + 8 + 16 + 3);
        let info = FragmentInfo {
            header_offset: 88,
            offset: 0,
            more: true,
            id: 0xdead_beef,
        };
        assert_eq!(upper.fragment, Some(info));
        assert_eq!(check_fragment(p.len(), &upper), Ok(()));
        assert_eq!(
            check_fragment(p.len() - 1, &upper),
            Err(ParseError::Ipv6BadFragment)
        );
        for cut in 40..88 {
            assert_eq!(
                walk(&p[..cut], HOP_BY_HOP),
                Err(ParseError::Ipv6BadExtension),
                "{cut}"
            );
        }
    }

    #[test]
    fn later_fragments_end_the_walk() {
        let p = packet(FRAGMENT, &[DESTINATION, 0, 0x05, 0xa8, 0, 0, 0, 7, 1, 2]);
        let upper = Ipv6::new_checked(&p).unwrap().upper().unwrap();
        assert!(upper.is_later_fragment());
        assert_eq!((upper.proto, upper.offset), (DESTINATION, 48));
        assert_eq!(
            upper.fragment.map(|f| (f.offset, f.more, f.id)),
            Some((1448, false, 7))
        );
        assert_eq!(check_fragment(p.len(), &upper), Ok(()));
        let overflow = packet(
            FRAGMENT,
            &[UDP, 0, 0xff, 0xf8, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8],
        );
        let upper = Ipv6::new_checked(&overflow).unwrap().upper().unwrap();
        assert_eq!(
            check_fragment(overflow.len(), &upper),
            Err(ParseError::Ipv6BadFragment)
        );
    }

    #[test]
    fn refusals() {
        let option = [DESTINATION, 0, 1, 4, 0, 0, 0, 0];
        let p = packet(DESTINATION, &option.repeat(9));
        assert_eq!(
            Ipv6::new_checked(&p).unwrap().upper(),
            Err(ParseError::Ipv6TooManyExtensions)
        );
        let mut eight = option.repeat(8);
        eight[56] = UDP;
        let p = packet(DESTINATION, &eight);
        assert_eq!(Ipv6::new_checked(&p).unwrap().upper().map(|u| u.proto), Ok(UDP));
        let p = packet(
            DESTINATION,
            &[HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, UDP, 0, 1, 4, 0, 0, 0, 0],
        );
        assert_eq!(
            Ipv6::new_checked(&p).unwrap().upper(),
            Err(ParseError::Ipv6BadExtension)
        );
        let first_without_chain = packet(FRAGMENT, &[DESTINATION, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(
            Ipv6::new_checked(&first_without_chain).unwrap().upper(),
            Err(ParseError::Ipv6BadFragment)
        );
    }
}
