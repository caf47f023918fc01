//! TCP headers (RFC 9293): ports, flags, the walk over options, and clamping of the maximum segment size.

use crate::checksum::{Delta, pseudo_v4};
use crate::error::ParseError;
use crate::field::{put_u16, u16_at};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of the longest header.
pub const HEADER_LEN_MAX: usize = 60;
/// Octets from the start of the header to its checksum.
pub const CHECKSUM_OFFSET: usize = 16;
/// Octets from the start of the header to its flags.
pub const FLAGS_OFFSET: usize = 13;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgment field counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
/// ECN echo.
pub const ECE: u8 = 0x40;
/// Congestion window reduced.
pub const CWR: u8 = 0x80;

/// A checked header and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<'a> {
    head: &'a [u8; HEADER_LEN],
    segment: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Checks that the header with its options is there.
    ///
    /// # Errors
    /// `TcpTruncated`, `TcpBadDataOffset`.
    #[inline(always)]
    pub fn new_checked(segment: &'a [u8]) -> Result<Self, ParseError> {
        let head = segment
            .first_chunk::<HEADER_LEN>()
            .ok_or(ParseError::TcpTruncated)?;
        let tcp = Self { head, segment };
        if tcp.header_len() < HEADER_LEN {
            return Err(ParseError::TcpBadDataOffset);
        }
        if tcp.header_len() > segment.len() {
            return Err(ParseError::TcpTruncated);
        }
        Ok(tcp)
    }

    /// Source port.
    #[inline(always)]
    #[must_use]
    pub const fn sport(&self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }

    /// Destination port.
    #[inline(always)]
    #[must_use]
    pub const fn dport(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Sequence number.
    #[inline(always)]
    #[must_use]
    pub const fn seq(&self) -> u32 {
        u32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]])
    }

    /// Acknowledgment number; counts when [`ACK`] is set.
    #[inline(always)]
    #[must_use]
    pub const fn ack(&self) -> u32 {
        u32::from_be_bytes([self.head[8], self.head[9], self.head[10], self.head[11]])
    }

    /// Header length in octets, options included: 20..=60.
    #[inline(always)]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        ((self.head[12] >> 4) as usize) * 4
    }

    /// Flags: [`FIN`] to [`CWR`].
    #[inline(always)]
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.head[FLAGS_OFFSET]
    }

    /// Window, unscaled.
    #[inline(always)]
    #[must_use]
    pub const fn window(&self) -> u16 {
        u16::from_be_bytes([self.head[14], self.head[15]])
    }

    /// Checksum as it stands.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[16], self.head[17]])
    }

    /// Options, 0..=40 octets.
    #[inline(always)]
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        self.segment.get(HEADER_LEN..self.header_len()).unwrap_or(&[])
    }

    /// What follows the header.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.segment.get(self.header_len()..).unwrap_or(&[])
    }

    /// Octets of sequence space the segment takes: payload, and one each for SYN and FIN.
    #[inline]
    #[must_use]
    pub fn sequence_len(&self) -> u32 {
        let flags = self.flags();
        self.payload().len() as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0)
    }

    /// The maximum segment size option, if there is one.
    #[inline]
    #[must_use]
    pub fn mss(&self) -> Option<u16> {
        let at = find_option(self.options(), OPT_MSS, 4)?;
        u16_at(self.options(), at + 2)
    }

    /// Whether the checksum is right over IPv4.
    #[inline]
    #[must_use]
    pub fn verify_checksum_v4(&self, src: u32, dst: u32) -> bool {
        let Ok(len) = u16::try_from(self.segment.len()) else {
            return false;
        };
        pseudo_v4(src, dst, crate::ipv4::TCP, len)
            .slice(self.segment)
            .is_valid()
    }
}

/// Option number of "end of option list".
pub const OPT_END: u8 = 0;
/// Option number of "no operation".
pub const OPT_NOP: u8 = 1;
/// Option number of "maximum segment size".
pub const OPT_MSS: u8 = 2;
/// Option number of "window scale".
pub const OPT_WINDOW_SCALE: u8 = 3;
/// Option number of "selective acknowledgment permitted".
pub const OPT_SACK_PERMITTED: u8 = 4;
/// Option number of "selective acknowledgment".
pub const OPT_SACK: u8 = 5;
/// Option number of "timestamps".
pub const OPT_TIMESTAMPS: u8 = 8;

/// Offset within `options` of the first option of this number whose length is `len`. The walk ends at the
/// first malformed option; every step moves on, so there are at most as many as octets.
#[inline]
#[must_use]
pub fn find_option(options: &[u8], kind: u8, len: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = *options.get(at)?;
        match found {
            OPT_END => return None,
            OPT_NOP => at += 1,
            _ => {
                let option_len = usize::from(*options.get(at + 1)?);
                if option_len < 2 || at + option_len > options.len() {
                    return None;
                }
                if found == kind && option_len == usize::from(len) {
                    return Some(at);
                }
                at += option_len;
            }
        }
    }
}

/// Lowers the maximum segment size option of a SYN to `max` and moves the checksum along. Returns whether it
/// changed something: not without SYN, without the option, or when the option is no larger than `max`.
///
/// `segment` starts at the TCP header and may be cut off behind its options (a first fragment).
#[inline]
pub fn clamp_mss(segment: &mut [u8], max: u16) -> bool {
    clamp(segment, max).is_some()
}

#[inline]
fn clamp(segment: &mut [u8], max: u16) -> Option<()> {
    let head = segment.first_chunk::<HEADER_LEN>()?;
    if head[FLAGS_OFFSET] & SYN == 0 {
        return None;
    }
    let header_len = usize::from(head[12] >> 4) * 4;
    let end = header_len.min(segment.len());
    let at = HEADER_LEN + find_option(segment.get(HEADER_LEN..end)?, OPT_MSS, 4)? + 2;
    let old = u16_at(segment, at)?;
    if old <= max {
        return None;
    }
    let checksum = u16_at(segment, CHECKSUM_OFFSET)?;
    // Behind an odd number of no-operations the two octets lie across two checksum words: swapping both values
    // adds the same to the one's complement sum.
    let delta = match at % 2 {
        0 => Delta::new().replace_u16(old, max),
        _ => Delta::new().replace_u16(old.swap_bytes(), max.swap_bytes()),
    };
    put_u16(segment, at, max)?;
    put_u16(segment, CHECKSUM_OFFSET, delta.apply(checksum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn syn(options: &[u8]) -> Vec<u8> {
        assert_eq!(options.len() % 4, 0);
        let mut s = vec![0u8; 20];
        s[0..4].copy_from_slice(&[0x30, 0x39, 0x00, 0x50]);
        s[4..8].copy_from_slice(&7u32.to_be_bytes());
        s[12] = ((20 + options.len()) / 4 * 16) as u8;
        s[13] = SYN;
        s.extend_from_slice(options);
        fill(&mut s);
        s
    }

    fn fill(s: &mut [u8]) {
        put_u16(s, CHECKSUM_OFFSET, 0);
        let sum = pseudo_v4(0x0a00_0001, 0x0a00_0002, crate::ipv4::TCP, s.len() as u16)
            .slice(s)
            .finish();
        put_u16(s, CHECKSUM_OFFSET, sum);
    }

    #[test]
    fn accessors_and_refusals() {
        let mut s = syn(&[OPT_MSS, 4, 0x05, 0xb4]);
        s.extend_from_slice(b"xy");
        let tcp = Tcp::new_checked(&s).unwrap();
        assert_eq!(
            (tcp.sport(), tcp.dport(), tcp.seq(), tcp.ack(), tcp.window()),
            (12345, 80, 7, 0, 0)
        );
        assert_eq!(
            (tcp.flags(), tcp.header_len(), tcp.mss(), tcp.sequence_len()),
            (SYN, 24, Some(1460), 3)
        );
        assert_eq!(tcp.payload(), b"xy");
        assert_eq!(
            Tcp::new_checked(&s[..19]).map(|_| ()),
            Err(ParseError::TcpTruncated)
        );
        assert_eq!(
            Tcp::new_checked(&s[..23]).map(|_| ()),
            Err(ParseError::TcpTruncated)
        );
        s[12] = 0x40;
        assert_eq!(
            Tcp::new_checked(&s).map(|_| ()),
            Err(ParseError::TcpBadDataOffset)
        );
    }

    #[test]
    fn clamp_at_every_alignment() {
        for nops in 0..4usize {
            let mut options = vec![OPT_NOP; nops];
            options.extend_from_slice(&[OPT_MSS, 4, 0x05, 0xb4]);
            options.resize(8, OPT_END);
            let mut s = syn(&options);
            assert!(!clamp_mss(&mut s, 1460), "not larger");
            assert!(clamp_mss(&mut s, 1300));
            let tcp = Tcp::new_checked(&s).unwrap();
            assert_eq!(tcp.mss(), Some(1300));
            let incremental = tcp.checksum();
            assert!(
                tcp.verify_checksum_v4(0x0a00_0001, 0x0a00_0002),
                "after {nops} nops"
            );
            fill(&mut s);
            assert_eq!(Tcp::new_checked(&s).unwrap().checksum(), incremental);
        }
    }

    #[test]
    fn clamp_leaves_alone() {
        let mut ack = syn(&[OPT_MSS, 4, 0x05, 0xb4]);
        ack[13] = ACK;
        assert!(!clamp_mss(&mut ack, 100));
        for options in [
            &[OPT_MSS, 3, 5, 0][..],
            &[OPT_END, OPT_MSS, 4, 5],
            &[9, 0, 0, 0],
            &[OPT_MSS, 5, 5, 5],
        ] {
            let mut s = syn(options);
            let before = s.clone();
            assert!(!clamp_mss(&mut s, 100));
            assert_eq!(s, before);
        }
    }

    proptest! {
        #[test]
        fn clamp_is_exact(mss in any::<u16>(), max in any::<u16>(), lead in 0usize..5, seq in any::<u32>()) {
            let mut options = vec![OPT_NOP; lead];
            options.extend_from_slice(&[OPT_MSS, 4]);
            options.extend_from_slice(&mss.to_be_bytes());
            options.resize(12, OPT_NOP);
            let mut s = syn(&options);
            s[4..8].copy_from_slice(&seq.to_be_bytes());
            fill(&mut s);
            prop_assert_eq!(clamp_mss(&mut s, max), mss > max);
            let got = Tcp::new_checked(&s).unwrap().checksum();
            fill(&mut s);
            prop_assert_eq!(got, Tcp::new_checked(&s).unwrap().checksum());
        }
    }
}
