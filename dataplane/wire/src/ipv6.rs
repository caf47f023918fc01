//! IPv6 headers (RFC 8200): the fixed header to read and write, and the walk over extension headers.
//!
//! ```text
//!  fixed 40 | hop-by-hop? | destination? | routing? | fragment? | destination? | upper layer ...
//! ```

mod extensions;

pub use extensions::{
    DESTINATION, EXTENSIONS_MAX, FRAGMENT, FRAGMENT_LEN, FragmentInfo, HOP_BY_HOP, NO_NEXT, ROUTING, Upper,
    check_fragment, walk,
};

use crate::error::ParseError;

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 40;
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

#[cfg(test)]
mod tests;
