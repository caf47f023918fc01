//! IPv4 headers (RFC 791): a checked view to read, a checked view to write, and the walk over options.
//!
//! `new_checked` proves: version 4, header length 20..=60 and inside the buffer, total length at least the
//! header and inside the buffer. Octets behind the total length are Ethernet padding and are cut off the view.

use crate::checksum::{self, Delta, Sum};
use crate::error::ParseError;

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of the longest header.
pub const HEADER_LEN_MAX: usize = 60;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of DCCP.
pub const DCCP: u8 = 33;
/// Protocol number of IPv6 in IPv4.
pub const IPV6: u8 = 41;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of ESP.
pub const ESP: u8 = 50;
/// Protocol number of AH.
pub const AH: u8 = 51;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;
/// Protocol number of UDP-Lite.
pub const UDPLITE: u8 = 136;

/// "Don't fragment" in the flags and offset word.
pub const FLAG_DF: u16 = 0x4000;
/// "More fragments" in the flags and offset word.
pub const FLAG_MF: u16 = 0x2000;

/// The fixed 20 octets of a header: every read is one load, none can fail.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4Head<'a>(pub &'a [u8; HEADER_LEN]);

impl<'a> Ipv4Head<'a> {
    /// Version field (4 in a checked header).
    #[inline(always)]
    #[must_use]
    pub const fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Header length in octets, options included, 0..=60 (20..=60 in a checked header).
    #[inline(always)]
    #[must_use]
    pub const fn header_len(self) -> usize {
        ((self.0[0] & 0x0f) as usize) * 4
    }

    /// Type of service: DSCP and ECN.
    #[inline(always)]
    #[must_use]
    pub const fn tos(self) -> u8 {
        self.0[1]
    }

    /// Total length in octets, header included.
    #[inline(always)]
    #[must_use]
    pub const fn total_len(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Identification.
    #[inline(always)]
    #[must_use]
    pub const fn id(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// The word with the flags and the fragment offset, as it stands.
    #[inline(always)]
    #[must_use]
    pub const fn flags_and_offset(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// DF.
    #[inline(always)]
    #[must_use]
    pub const fn dont_fragment(self) -> bool {
        self.flags_and_offset() & FLAG_DF != 0
    }

    /// MF.
    #[inline(always)]
    #[must_use]
    pub const fn more_fragments(self) -> bool {
        self.flags_and_offset() & FLAG_MF != 0
    }

    /// Fragment offset in octets: a multiple of 8, 0..=65528.
    #[inline(always)]
    #[must_use]
    pub const fn fragment_offset(self) -> u16 {
        (self.flags_and_offset() & 0x1fff) << 3
    }

    /// Whether this is a fragment: MF set or offset not zero.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(self) -> bool {
        self.flags_and_offset() & 0x3fff != 0
    }

    /// Time to live.
    #[inline(always)]
    #[must_use]
    pub const fn ttl(self) -> u8 {
        self.0[8]
    }

    /// Protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn protocol(self) -> u8 {
        self.0[9]
    }

    /// Header checksum as it stands.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        u16::from_be_bytes([self.0[10], self.0[11]])
    }

    /// Source address, host order.
    #[inline(always)]
    #[must_use]
    pub const fn src(self) -> u32 {
        u32::from_be_bytes([self.0[12], self.0[13], self.0[14], self.0[15]])
    }

    /// Destination address, host order.
    #[inline(always)]
    #[must_use]
    pub const fn dst(self) -> u32 {
        u32::from_be_bytes([self.0[16], self.0[17], self.0[18], self.0[19]])
    }
}

/// Checks the claims of a header about lengths; returns (header length, total length).
#[inline(always)]
fn check(l3: &[u8]) -> Result<(usize, usize), ParseError> {
    let head = Ipv4Head(l3.first_chunk::<HEADER_LEN>().ok_or(ParseError::Ipv4Truncated)?);
    if head.version() != 4 {
        return Err(ParseError::Ipv4BadVersion);
    }
    let header_len = head.header_len();
    let total_len = usize::from(head.total_len());
    if header_len < HEADER_LEN {
        return Err(ParseError::Ipv4BadHeaderLength);
    }
    if header_len > l3.len() {
        return Err(ParseError::Ipv4Truncated);
    }
    if total_len < header_len || total_len > l3.len() {
        return Err(ParseError::Ipv4BadTotalLength);
    }
    Ok((header_len, total_len))
}

/// A whole, checked IPv4 packet to read. Fields of the fixed header come through `Deref`.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4<'a> {
    head: Ipv4Head<'a>,
    packet: &'a [u8],
}

impl<'a> core::ops::Deref for Ipv4<'a> {
    type Target = Ipv4Head<'a>;

    #[inline(always)]
    fn deref(&self) -> &Ipv4Head<'a> {
        &self.head
    }
}

impl<'a> Ipv4<'a> {
    /// Checks the lengths (not the checksum) and cuts trailing padding.
    ///
    /// # Errors
    /// `Ipv4Truncated`, `Ipv4BadVersion`, `Ipv4BadHeaderLength`, `Ipv4BadTotalLength`.
    #[inline(always)]
    pub fn new_checked(l3: &'a [u8]) -> Result<Self, ParseError> {
        let (_, total_len) = check(l3)?;
        let packet = l3.get(..total_len).ok_or(ParseError::Ipv4BadTotalLength)?;
        let head = Ipv4Head(packet.first_chunk().ok_or(ParseError::Ipv4Truncated)?);
        Ok(Self { head, packet })
    }

    /// The packet without padding: exactly `total_len` octets.
    #[inline(always)]
    #[must_use]
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// The header with its options, 20..=60 octets.
    #[inline(always)]
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        self.packet.get(..self.head.header_len()).unwrap_or(&[])
    }

    /// The options, 0..=40 octets.
    #[inline(always)]
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        self.packet.get(HEADER_LEN..self.head.header_len()).unwrap_or(&[])
    }

    /// What follows the header.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.packet.get(self.head.header_len()..).unwrap_or(&[])
    }

    /// Whether the header checksum is right.
    #[inline]
    #[must_use]
    pub fn verify_checksum(&self) -> bool {
        if self.packet.len() >= HEADER_LEN && self.head.header_len() == HEADER_LEN {
            return head_sum(self.head.0).is_valid();
        }
        checksum::is_valid(self.header())
    }
}

/// Sum of a header without options: five loads, no loop.
#[inline(always)]
fn head_sum(head: &[u8; HEADER_LEN]) -> Sum {
    let (words, _) = head.as_chunks::<4>();
    words
        .iter()
        .fold(Sum::new(), |sum, word| sum.u32(u32::from_be_bytes(*word)))
}

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
    /// As [`Ipv4::new_checked`].
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

/// Option number of "end of option list".
pub const OPT_END: u8 = 0;
/// Option number of "no operation".
pub const OPT_NOP: u8 = 1;
/// Option number of "loose source and record route".
pub const OPT_LSRR: u8 = 131;
/// Option number of "strict source and record route".
pub const OPT_SSRR: u8 = 137;

/// Whether an option is copied into every fragment (RFC 791, 3.1: the copied flag).
#[inline(always)]
#[must_use]
pub const fn option_is_copied(kind: u8) -> bool {
    kind & 0x80 != 0
}

/// Walks the options: yields (option number, the option with its number and length octets).
///
/// It ends at "end of option list", at the end of the slice, or behind a malformed option, which it yields as
/// [`ParseError::Ipv4BadOption`]. At most 40 steps for a checked header.
#[derive(Debug, Clone)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// A walk over the options of a header, as [`Ipv4::options`] gives them.
    #[inline(always)]
    #[must_use]
    pub const fn new(options: &'a [u8]) -> Self {
        Self(options)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.0.first()?;
        let len = match kind {
            OPT_END => {
                self.0 = &[];
                return None;
            }
            OPT_NOP => 1,
            _ => self.0.get(1).copied().map_or(0, usize::from),
        };
        if kind != OPT_NOP && len < 2 || len > self.0.len() {
            self.0 = &[];
            return Some(Err(ParseError::Ipv4BadOption));
        }
        let (option, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(Ok((kind, option)))
    }
}

/// Whether the options hold a source route (loose or strict) that has not reached its end: the pointer is not
/// beyond the length (RFC 791, 3.1; RFC 7915, 4.1 wants such packets refused).
///
/// # Errors
/// [`ParseError::Ipv4BadOption`] when an option is malformed before one is found.
#[inline]
pub fn has_unexpired_source_route(options: &[u8]) -> Result<bool, ParseError> {
    for option in Options::new(options) {
        let (kind, bytes) = option?;
        if matches!(kind, OPT_LSRR | OPT_SSRR) {
            let pointer = bytes.get(2).copied().ok_or(ParseError::Ipv4BadOption)?;
            if usize::from(pointer) <= bytes.len() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header every textbook shows: 192.168.0.1 -> 192.168.0.199, UDP, checksum b861.
    const KNOWN: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7,
    ];

    fn known() -> Vec<u8> {
        let mut p = KNOWN.to_vec();
        p.resize(0x73, 0xaa);
        p
    }

    #[test]
    fn known_header() {
        let mut padded = known();
        padded.extend_from_slice(&[0; 6]);
        let ip = Ipv4::new_checked(&padded).unwrap();
        assert_eq!(
            (ip.version(), ip.header_len(), ip.total_len(), ip.tos(), ip.id()),
            (4, 20, 0x73, 0, 0)
        );
        assert!(ip.dont_fragment() && !ip.more_fragments() && !ip.is_fragment());
        assert_eq!((ip.ttl(), ip.protocol(), ip.checksum()), (64, UDP, 0xb861));
        assert_eq!((ip.src(), ip.dst()), (0xc0a8_0001, 0xc0a8_00c7));
        assert!(ip.verify_checksum());
        assert_eq!(
            (ip.packet().len(), ip.payload().len(), ip.options().len()),
            (0x73, 0x73 - 20, 0)
        );
    }

    #[test]
    fn refusals() {
        let with = |at: usize, value: u8| {
            let mut p = known();
            p[at] = value;
            Ipv4::new_checked(&p).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(0, 0x65), ParseError::Ipv4BadVersion);
        assert_eq!(with(0, 0x44), ParseError::Ipv4BadHeaderLength);
        assert_eq!(with(3, 19), ParseError::Ipv4BadTotalLength);
        assert_eq!(with(3, 0x74), ParseError::Ipv4BadTotalLength);
        assert_eq!(
            Ipv4::new_checked(&KNOWN[..19]).map(|_| ()),
            Err(ParseError::Ipv4Truncated)
        );
        let mut options = KNOWN;
        options[0] = 0x46;
        assert_eq!(
            Ipv4::new_checked(&options).map(|_| ()),
            Err(ParseError::Ipv4Truncated)
        );
    }

    #[test]
    fn setters_and_checksum() {
        let mut p = known();
        let mut ip = Ipv4Mut::new_checked(&mut p).unwrap();
        ip.set_src_fixed(0x0a00_0001);
        ip.set_dst_fixed(0xffff_fffe);
        let incremental = ip.head().checksum();
        ip.fill_checksum();
        assert_eq!(ip.head().checksum(), incremental);
        ip.set_tos(0xb8);
        ip.set_id(0x1234);
        ip.set_fragment(false, true, 1480);
        ip.set_ttl(9);
        ip.set_protocol(TCP);
        ip.set_total_len(60);
        ip.fill_checksum();
        assert_eq!(ip.payload_mut().len(), 0x73 - 20);
        let ip = Ipv4::new_checked(&p).unwrap();
        assert_eq!(
            (ip.tos(), ip.id(), ip.ttl(), ip.protocol(), ip.total_len()),
            (0xb8, 0x1234, 9, TCP, 60)
        );
        assert_eq!(
            (
                ip.dont_fragment(),
                ip.more_fragments(),
                ip.fragment_offset(),
                ip.is_fragment()
            ),
            (false, true, 1480, true)
        );
        assert!(ip.verify_checksum());
    }

    #[test]
    fn ttl_stops_at_one() {
        let mut p = known();
        for left in (1..64).rev() {
            assert!(decrement_ttl(&mut p));
            let ip = Ipv4::new_checked(&p).unwrap();
            assert_eq!(ip.ttl(), left);
            assert!(ip.verify_checksum());
        }
        assert!(!decrement_ttl(&mut p));
        assert_eq!(p[8], 1);
        assert!(!decrement_ttl(&mut p[..19]));
    }

    #[test]
    fn options_walk() {
        // nop, lsrr with pointer 4 of length 7, end.
        let live = [OPT_NOP, OPT_LSRR, 7, 4, 10, 0, 0, 1, OPT_END, 99, 99, 99];
        let kinds: Vec<_> = Options::new(&live).map(|o| o.unwrap().0).collect();
        assert_eq!(kinds, [OPT_NOP, OPT_LSRR]);
        assert_eq!(has_unexpired_source_route(&live), Ok(true));
        let mut spent = live;
        spent[3] = 8;
        assert_eq!(has_unexpired_source_route(&spent), Ok(false));
        spent[1] = OPT_SSRR;
        spent[3] = 7;
        assert_eq!(has_unexpired_source_route(&spent), Ok(true));
        for bad in [&[7u8, 0][..], &[7, 1], &[7], &[7, 3], &[OPT_LSRR, 2]] {
            assert_eq!(
                has_unexpired_source_route(bad),
                Err(ParseError::Ipv4BadOption),
                "{bad:?}"
            );
        }
        assert!(option_is_copied(OPT_LSRR) && !option_is_copied(7));
    }
}
