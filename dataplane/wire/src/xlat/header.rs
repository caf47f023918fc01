//! The headers translation writes: fixed IPv4 and IPv6 headers and the fragment header, and the front of a packet moved
//! so that they fit.

use crate::checksum::checksum;
use crate::l4::{Fragment, Ipv4Meta};
use crate::meta6::Ipv6Meta;
use crate::packet::Packet;
use crate::{ipv4, ipv6};

use super::XlatError;
use super::plain::DF_ABOVE;

/// Which place a fragment has in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset in octets, a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification; of IPv4 the low 16 bits.
    pub id: u32,
}

impl Place {
    /// Of an IPv4 packet; `None` of a whole one, which gets no fragment header. RFC 7915 section 4.1.
    pub(super) const fn of4(meta: &Ipv4Meta) -> Option<Self> {
        match meta.fragment {
            Fragment::None => None,
            Fragment::First | Fragment::Later => Some(Self {
                offset: meta.fragment_offset,
                more: meta.more_fragments,
                id: meta.id as u32,
            }),
        }
    }

    /// Of an IPv6 packet; `None` of one without fragment header. RFC 7915 section 5.1.1.
    pub(super) const fn of6(meta: &Ipv6Meta) -> Option<Self> {
        match meta.fragment_header {
            0 => None,
            _ => Some(Self {
                offset: meta.fragment_offset,
                more: meta.more_fragments,
                id: meta.fragment_id,
            }),
        }
    }
}

/// An IPv4 header without options and what decides it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header4 {
    pub tos: u8,
    pub total_len: u16,
    /// `None`: no fragment header came with it.
    pub place: Option<Place>,
    /// Identification when there is no place.
    pub id: u16,
    pub ttl: u8,
    pub proto: u8,
    pub src: u32,
    pub dst: u32,
}

impl Header4 {
    /// Its octets, checksum included. RFC 7915 sections 5.1 and 5.1.1.
    pub(super) fn octets(&self) -> [u8; ipv4::HEADER_LEN] {
        let (id, flags) = match self.place {
            // DF is clear: a router behind us may fragment further. The low 16 bits of the identification stay.
            Some(p) => (
                p.id as u16,
                p.offset >> 3 | if p.more { ipv4::FLAG_MF } else { 0 },
            ),
            None if self.total_len > DF_ABOVE => (self.id, ipv4::FLAG_DF),
            None => (self.id, 0),
        };
        let mut h = [0; ipv4::HEADER_LEN];
        [h[0], h[1]] = [0x45, self.tos];
        [h[2], h[3]] = self.total_len.to_be_bytes();
        [h[4], h[5]] = id.to_be_bytes();
        [h[6], h[7]] = flags.to_be_bytes();
        [h[8], h[9]] = [self.ttl, self.proto];
        [h[12], h[13], h[14], h[15]] = self.src.to_be_bytes();
        [h[16], h[17], h[18], h[19]] = self.dst.to_be_bytes();
        [h[10], h[11]] = checksum(&h).to_be_bytes();
        h
    }
}

/// An IPv6 header, with a fragment header behind it when there is a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header6 {
    pub class: u8,
    /// Octets of the upper layer, or of the fragment's part of it.
    pub upper_len: u16,
    pub place: Option<Place>,
    pub hop_limit: u8,
    pub proto: u8,
    pub src: u128,
    pub dst: u128,
}

/// Octets of an IPv6 header with a fragment header.
pub(super) const WITH_FRAGMENT: usize = ipv6::HEADER_LEN + ipv6::FRAGMENT_LEN;

impl Header6 {
    /// Octets it takes: 40 or 48.
    pub(super) const fn len(&self) -> usize {
        match self.place {
            None => ipv6::HEADER_LEN,
            Some(_) => WITH_FRAGMENT,
        }
    }

    /// Its octets, of which the first [`Header6::len`] count. The flow label is 0. RFC 7915 section 4.1.
    pub(super) fn octets(&self) -> [u8; WITH_FRAGMENT] {
        let mut h = [0; WITH_FRAGMENT];
        let (next, extra) = match self.place {
            None => (self.proto, 0),
            Some(_) => (ipv6::FRAGMENT, ipv6::FRAGMENT_LEN as u16),
        };
        let word = 6 << 28 | u32::from(self.class) << 20;
        [h[0], h[1], h[2], h[3]] = word.to_be_bytes();
        [h[4], h[5]] = self.upper_len.saturating_add(extra).to_be_bytes();
        [h[6], h[7]] = [next, self.hop_limit];
        h[8..24].copy_from_slice(&self.src.to_be_bytes());
        h[24..40].copy_from_slice(&self.dst.to_be_bytes());
        if let Some(place) = self.place {
            h[40] = self.proto;
            [h[42], h[43]] = (place.offset & 0xfff8 | u16::from(place.more)).to_be_bytes();
            [h[44], h[45], h[46], h[47]] = place.id.to_be_bytes();
        }
        h
    }
}

/// Moves the front of a packet so that `new` octets of headers stand where `old` octets stood, and writes them.
pub(super) fn replace_front<P: Packet>(packet: &mut P, old: u16, new: &[u8]) -> Result<(), XlatError> {
    let new_len = u16::try_from(new.len()).map_err(|_| XlatError::NoRoom)?;
    let moved = match new_len.checked_sub(old) {
        Some(more) => packet.grow_front(more),
        None => packet.shrink_front(old.saturating_sub(new_len)),
    };
    if !moved {
        return Err(XlatError::NoRoom);
    }
    packet
        .l3_mut()
        .get_mut(..new.len())
        .ok_or(XlatError::NoRoom)?
        .copy_from_slice(new);
    Ok(())
}

/// Protocol numbers that are IPv6 extension headers (or nothing, 59): an IPv4 packet that says so, and an IPv6 fragment whose
/// data starts with one, cannot be translated.
pub(super) const fn is_extension(proto: u8) -> bool {
    const MOBILITY: u8 = 135;
    const HIP: u8 = 139;
    const SHIM6: u8 = 140;
    matches!(
        proto,
        ipv6::HOP_BY_HOP
            | ipv6::ROUTING
            | ipv6::FRAGMENT
            | ipv6::NO_NEXT
            | ipv6::DESTINATION
            | MOBILITY
            | HIP
            | SHIM6
    )
}
const IGMP: u8 = 2;

/// The IPv6 number of an IPv4 protocol: 1 becomes 58, IGMP stays on its link (RFC 7915 section 4.2), all others keep theirs.
pub(super) const fn proto_to_six(proto: u8) -> Option<u8> {
    match proto {
        ipv4::ICMP => Some(ipv4::ICMPV6),
        ipv4::ICMPV6 | IGMP => None,
        _ if is_extension(proto) => None,
        _ => Some(proto),
    }
}

/// The IPv4 number of an IPv6 upper layer: 58 becomes 1, all others keep theirs. RFC 7915 section 5.1.
pub(super) const fn proto_to_four(proto: u8) -> Option<u8> {
    match proto {
        ipv4::ICMPV6 => Some(ipv4::ICMP),
        ipv4::ICMP | IGMP => None,
        _ if is_extension(proto) => None,
        _ => Some(proto),
    }
}

/// The IPv6 type of an ICMP echo. RFC 7915 section 4.2.
pub(super) const fn echo_to_six(icmp_type: u8) -> Option<u8> {
    match icmp_type {
        crate::icmp::ECHO => Some(crate::icmp6::ECHO),
        crate::icmp::ECHO_REPLY => Some(crate::icmp6::ECHO_REPLY),
        _ => None,
    }
}

/// The IPv4 type of an ICMPv6 echo. RFC 7915 section 5.2.
pub(super) const fn echo_to_four(icmp_type: u8) -> Option<u8> {
    match icmp_type {
        crate::icmp6::ECHO => Some(crate::icmp::ECHO),
        crate::icmp6::ECHO_REPLY => Some(crate::icmp::ECHO_REPLY),
        _ => None,
    }
}
