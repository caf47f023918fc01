//! UDP headers (RFC 768).

use crate::checksum::pseudo_v4;
use crate::error::ParseError;

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

/// Octets from the start of the header to its checksum.
pub const CHECKSUM_OFFSET: usize = 6;

/// A checked header and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Udp<'a> {
    head: &'a [u8; HEADER_LEN],
    datagram: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Checks that the header is there, and that its length field is at least 8 and inside `datagram`; octets
    /// behind it are cut off.
    ///
    /// # Errors
    /// `UdpTruncated`, `UdpBadLength`.
    #[inline(always)]
    pub fn new_checked(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let head = datagram
            .first_chunk::<HEADER_LEN>()
            .ok_or(ParseError::UdpTruncated)?;
        let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
        if len < HEADER_LEN {
            return Err(ParseError::UdpBadLength);
        }
        let datagram = datagram.get(..len).ok_or(ParseError::UdpBadLength)?;
        Ok(Self { head, datagram })
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

    /// Length field: octets of header and payload.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// Whether there is no payload.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.datagram.len() == HEADER_LEN
    }

    /// Checksum as it stands; 0 means none.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }

    /// What follows the header.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.datagram.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// Whether the checksum is right, or absent, over IPv4.
    #[inline]
    #[must_use]
    pub fn verify_checksum_v4(&self, src: u32, dst: u32) -> bool {
        self.checksum() == 0
            || pseudo_v4(src, dst, crate::ipv4::UDP, self.len())
                .slice(self.datagram)
                .is_valid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let datagram = [0x12, 0x34, 0x00, 0x35, 0x00, 0x09, 0x00, 0x00, 0xaa, 0xbb];
        let udp = Udp::new_checked(&datagram).unwrap();
        assert_eq!(
            (udp.sport(), udp.dport(), udp.len(), udp.checksum()),
            (0x1234, 53, 9, 0)
        );
        assert_eq!(udp.payload(), [0xaa]);
        assert!(!udp.is_empty() && udp.verify_checksum_v4(1, 2));
        for (len, expect) in [(7, ParseError::UdpBadLength), (11, ParseError::UdpBadLength)] {
            let mut bad = datagram;
            bad[5] = len;
            assert_eq!(Udp::new_checked(&bad).map(|_| ()), Err(expect));
        }
        assert_eq!(
            Udp::new_checked(&datagram[..7]).map(|_| ()),
            Err(ParseError::UdpTruncated)
        );
    }
}
