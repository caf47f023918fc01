//! IPv4 headers to write in place, and the time to live.

use super::{FLAG_DF, FLAG_MF, HEADER_LEN, Ipv4Head, check, head_sum};
use crate::checksum::Delta;
use crate::error::ParseError;

/// A whole, checked IPv4 packet to write in place.
///
/// Setters that end in `_fixed` keep the header checksum right incrementally; the plain ones do not touch it
/// (call [`Ipv4Mut::fill_checksum`] last).
#[derive(Debug)]
pub struct Ipv4Mut<'a> {
    head: &'a mut [u8; HEADER_LEN],
    /// Options and payload.
    rest: &'a mut [u8],
}

impl<'a> Ipv4Mut<'a> {
    /// As [`super::Ipv4::new_checked`].
    ///
    /// # Errors
    /// The same.
    #[inline(always)]
    pub fn new_checked(l3: &'a mut [u8]) -> Result<Self, ParseError> {
        let (_, total_len) = check(l3)?;
        let packet = l3.get_mut(..total_len).ok_or(ParseError::Ipv4BadTotalLength)?;
        let (head, rest) = packet.split_first_chunk_mut().ok_or(ParseError::Ipv4Truncated)?;
        Ok(Self { head, rest })
    }

    /// The fixed header, to read.
    #[inline(always)]
    #[must_use]
    pub fn head(&self) -> Ipv4Head<'_> {
        Ipv4Head(self.head)
    }

    /// What follows the header, to write.
    #[inline(always)]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let options = Ipv4Head(self.head).header_len().saturating_sub(HEADER_LEN);
        self.rest.get_mut(options..).unwrap_or_default()
    }

    /// Sets the type of service.
    #[inline(always)]
    pub fn set_tos(&mut self, tos: u8) {
        self.head[1] = tos;
    }

    /// Sets the total length field. The view keeps its size.
    #[inline(always)]
    pub fn set_total_len(&mut self, len: u16) {
        [self.head[2], self.head[3]] = len.to_be_bytes();
    }

    /// Sets the identification.
    #[inline(always)]
    pub fn set_id(&mut self, id: u16) {
        [self.head[4], self.head[5]] = id.to_be_bytes();
    }

    /// Sets DF, MF and the offset in octets (the low three bits are ignored).
    #[inline(always)]
    pub fn set_fragment(&mut self, dont_fragment: bool, more_fragments: bool, offset: u16) {
        let flags = if dont_fragment { FLAG_DF } else { 0 } | if more_fragments { FLAG_MF } else { 0 };
        [self.head[6], self.head[7]] = (flags | (offset >> 3)).to_be_bytes();
    }

    /// Sets the time to live.
    #[inline(always)]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.head[8] = ttl;
    }

    /// Sets the protocol number.
    #[inline(always)]
    pub fn set_protocol(&mut self, protocol: u8) {
        self.head[9] = protocol;
    }

    /// Sets the checksum field.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        [self.head[10], self.head[11]] = checksum.to_be_bytes();
    }

    /// Sets the source address.
    #[inline(always)]
    pub fn set_src(&mut self, src: u32) {
        [self.head[12], self.head[13], self.head[14], self.head[15]] = src.to_be_bytes();
    }

    /// Sets the destination address.
    #[inline(always)]
    pub fn set_dst(&mut self, dst: u32) {
        [self.head[16], self.head[17], self.head[18], self.head[19]] = dst.to_be_bytes();
    }

    /// Sets the source address and moves the header checksum along.
    #[inline(always)]
    pub fn set_src_fixed(&mut self, src: u32) {
        let fixed = Delta::new()
            .replace_u32(self.head().src(), src)
            .apply(self.head().checksum());
        self.set_src(src);
        self.set_checksum(fixed);
    }

    /// Sets the destination address and moves the header checksum along.
    #[inline(always)]
    pub fn set_dst_fixed(&mut self, dst: u32) {
        let fixed = Delta::new()
            .replace_u32(self.head().dst(), dst)
            .apply(self.head().checksum());
        self.set_dst(dst);
        self.set_checksum(fixed);
    }

    /// Takes one from the time to live and moves the header checksum along. `false`, and nothing changed,
    /// when it is 0 or 1: the packet must not be forwarded (RFC 1812, 5.3.1).
    #[inline(always)]
    #[must_use]
    pub fn decrement_ttl(&mut self) -> bool {
        decrement_ttl_head(self.head)
    }

    /// Computes the header checksum from scratch.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let options = Ipv4Head(self.head).header_len().saturating_sub(HEADER_LEN);
        let sum = head_sum(self.head).slice(self.rest.get(..options).unwrap_or(&[]));
        self.set_checksum(sum.finish());
    }
}

#[inline(always)]
fn decrement_ttl_head(head: &mut [u8; HEADER_LEN]) -> bool {
    let [ttl, protocol] = [head[8], head[9]];
    if ttl <= 1 {
        return false;
    }
    let old = u16::from_be_bytes([ttl, protocol]);
    head[8] = ttl - 1;
    let sum = u16::from_be_bytes([head[10], head[11]]);
    let fixed = Delta::new().replace_u16(old, old - 0x0100).apply(sum);
    [head[10], head[11]] = fixed.to_be_bytes();
    true
}

/// [`Ipv4Mut::decrement_ttl`] on a packet that was parsed already: only the length of 20 is checked again.
#[inline(always)]
#[must_use]
pub fn decrement_ttl(l3: &mut [u8]) -> bool {
    l3.first_chunk_mut().is_some_and(decrement_ttl_head)
}
