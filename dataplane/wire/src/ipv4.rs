//! IPv4 headers (RFC 791): a checked view to read, a checked view to write, and the walk over options.
//!
//! `new_checked` proves: version 4, header length 20..=60 and inside the buffer, total length at least the
//! header and inside the buffer. Octets behind the total length are Ethernet padding and are cut off the view.

mod options;
mod write;

pub use options::{
    OPT_END, OPT_LSRR, OPT_NOP, OPT_SSRR, Options, has_unexpired_source_route, option_is_copied,
};
pub use write::{Ipv4Mut, decrement_ttl};

use crate::checksum::{self, Sum};
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
}
