//! Ethernet II: addresses, the ethertype behind up to two VLAN tags, and building headers.
//!
//! ```text
//!  dst 6 | src 6 | [0x88a8|0x8100 tci 2 2] | [0x8100 tci 2 2] | ethertype 2 | l3 ...
//! ```

use crate::error::ParseError;
use crate::field::{put_u16, u16_at};

/// Octets of an untagged header.
pub const HEADER_LEN: usize = 14;
/// Octets of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// Octets of the longest header that is read or built here: two tags.
pub const HEADER_LEN_MAX: usize = HEADER_LEN + 2 * TAG_LEN;

/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Tag protocol id of an IEEE 802.1Q customer tag.
pub const VLAN: u16 = 0x8100;
/// Tag protocol id of an IEEE 802.1ad service tag (QinQ).
pub const QINQ: u16 = 0x88a8;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// 00:00:00:00:00:00.
    pub const ZERO: Mac = Mac([0; 6]);

    /// Whether the group bit is set (broadcast included).
    #[inline(always)]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether all bits are set.
    #[inline(always)]
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }
}

impl core::fmt::Display for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl core::fmt::Debug for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// A text that is not six pairs of hexadecimal digits joined by colons or dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMac;

impl core::fmt::Display for BadMac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a MAC address: six pairs of hexadecimal digits joined by ':' are wanted")
    }
}

impl core::error::Error for BadMac {}

impl core::str::FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut parts = text.split(separator);
        let mut mac = [0u8; 6];
        for octet in &mut mac {
            let part = parts.next().ok_or(BadMac)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(BadMac);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| BadMac)?;
        }
        if parts.next().is_some() {
            Err(BadMac)
        } else {
            Ok(Mac(mac))
        }
    }
}

/// One VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tag {
    /// Tag protocol id: [`VLAN`] or [`QINQ`].
    pub tpid: u16,
    /// Tag control information: priority (3 bits), drop eligible (1), VLAN id (12).
    pub tci: u16,
}

impl Tag {
    /// VLAN id, 0..=4095.
    #[inline(always)]
    #[must_use]
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// Priority code point, 0..=7.
    #[inline(always)]
    #[must_use]
    pub const fn pcp(self) -> u8 {
        (self.tci >> 13) as u8
    }
}

/// What stands in front of the L3 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EtherMeta {
    /// Destination address.
    pub dst: Mac,
    /// Source address.
    pub src: Mac,
    /// Ethertype behind the tags. A third tag is not followed: then this is its tag protocol id.
    pub ethertype: u16,
    /// Where the L3 header starts: 14, 18 or 22.
    pub l3_offset: u16,
    /// Outer tag, if any.
    pub outer: Option<Tag>,
    /// Inner tag, if there are two.
    pub inner: Option<Tag>,
}

/// Whether an ethertype announces a tag.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | QINQ)
}

/// Reads the header of a frame and walks up to two tags.
///
/// # Errors
/// [`ParseError::EthernetTruncated`] when the frame ends inside them.
#[inline]
pub fn parse(frame: &[u8]) -> Result<EtherMeta, ParseError> {
    let head = frame
        .first_chunk::<HEADER_LEN>()
        .ok_or(ParseError::EthernetTruncated)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *head;
    let mut meta = EtherMeta {
        dst: Mac([d0, d1, d2, d3, d4, d5]),
        src: Mac([s0, s1, s2, s3, s4, s5]),
        ethertype: u16::from_be_bytes([t0, t1]),
        l3_offset: HEADER_LEN as u16,
        outer: None,
        inner: None,
    };
    if is_tag(meta.ethertype) {
        meta.outer = Some(walk_tag(frame, &mut meta)?);
        if is_tag(meta.ethertype) {
            meta.inner = Some(walk_tag(frame, &mut meta)?);
        }
    }
    Ok(meta)
}

/// Takes the tag at `l3_offset` and moves behind it.
#[cold]
fn walk_tag(frame: &[u8], meta: &mut EtherMeta) -> Result<Tag, ParseError> {
    let at = usize::from(meta.l3_offset);
    let tci = u16_at(frame, at).ok_or(ParseError::EthernetTruncated)?;
    let next = u16_at(frame, at + 2).ok_or(ParseError::EthernetTruncated)?;
    let tag = Tag {
        tpid: meta.ethertype,
        tci,
    };
    meta.ethertype = next;
    meta.l3_offset += TAG_LEN as u16;
    Ok(tag)
}

/// Overwrites both addresses of a frame: the next hop's rewrite. `false` when the frame is too short.
#[inline(always)]
pub fn set_addresses(frame: &mut [u8], dst: Mac, src: Mac) -> bool {
    let Some([d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]) = frame.first_chunk_mut::<12>() else {
        return false;
    };
    [*d0, *d1, *d2, *d3, *d4, *d5] = dst.0;
    [*s0, *s1, *s2, *s3, *s4, *s5] = src.0;
    true
}

/// Writes a header with up to any number of tags and returns its length, or `None` when `buf` is too short.
#[inline]
pub fn write_header(buf: &mut [u8], dst: Mac, src: Mac, tags: &[Tag], ethertype: u16) -> Option<usize> {
    let len = HEADER_LEN + tags.len() * TAG_LEN;
    let head = buf.get_mut(..len)?;
    if !set_addresses(head, dst, src) {
        return None;
    }
    let mut at = 12;
    for tag in tags {
        put_u16(head, at, tag.tpid)?;
        put_u16(head, at + 2, tag.tci)?;
        at += TAG_LEN;
    }
    put_u16(head, at, ethertype)?;
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

    #[test]
    fn untagged_tagged_and_qinq_round_trip() {
        let outer = Tag {
            tpid: QINQ,
            tci: 0x6064,
        };
        let inner = Tag {
            tpid: VLAN,
            tci: 0x0fff,
        };
        for (tags, l3) in [(&[][..], 14), (&[inner][..], 18), (&[outer, inner][..], 22)] {
            let mut buf = [0u8; HEADER_LEN_MAX];
            assert_eq!(write_header(&mut buf, A, B, tags, IPV4), Some(l3));
            let meta = parse(&buf[..l3]).unwrap();
            assert_eq!(
                (meta.dst, meta.src, meta.ethertype, usize::from(meta.l3_offset)),
                (A, B, IPV4, l3)
            );
            assert_eq!(meta.outer, tags.first().copied());
            assert_eq!(meta.inner, tags.get(1).copied());
            for cut in 0..l3 {
                assert_eq!(parse(&buf[..cut]), Err(ParseError::EthernetTruncated));
            }
            assert_eq!(write_header(&mut buf[..l3 - 1], A, B, tags, IPV4), None);
        }
        assert_eq!((outer.vid(), outer.pcp(), inner.vid()), (100, 3, 4095));
    }

    #[test]
    fn a_third_tag_is_not_followed() {
        let tag = Tag { tpid: VLAN, tci: 1 };
        let mut buf = [0u8; 26];
        assert_eq!(write_header(&mut buf, A, B, &[tag, tag, tag], IPV4), Some(26));
        let meta = parse(&buf).unwrap();
        assert_eq!((meta.ethertype, meta.l3_offset), (VLAN, 22));
    }

    #[test]
    fn mac_text() {
        assert_eq!("02:00:00:00:00:0A".parse(), Ok(A));
        assert_eq!("02-00-00-00-00-0b".parse(), Ok(B));
        assert_eq!(A.to_string(), "02:00:00:00:00:0a");
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:0a:0b",
            "2:0:0:0:0:a",
            "02:00:00:00:00:+a",
            "020000",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(BadMac), "{bad}");
        }
        assert!(Mac::BROADCAST.is_broadcast() && Mac::BROADCAST.is_multicast() && !A.is_multicast());
    }
}
