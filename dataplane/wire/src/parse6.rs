//! The fast path's one parse of an IPv6 packet: addresses, extension headers, the upper layer, every length checked.
//!
//! ```text
//!  l3 slice ---> Ipv6 lengths ---> extension headers ---> fragment sanity ---> L4 header ---> Ipv6Meta (Copy)
//!                   |                     |                     |                 |
//!                   +---------------------+---------------------+-----------------+---> ParseError = the drop counter
//! ```
//! What cannot be followed (AH, ESP, unknown numbers) is the upper layer, [`L4::Other`].

use crate::error::ParseError;
use crate::field::u16_at;
use crate::ipv6::{self, Ipv6, Upper};
use crate::l4::{Fragment, L4};
use crate::meta6::Ipv6Meta;
use crate::{icmp6, ipv4, tcp, udp};

/// Parses a packet that starts at its IPv6 header. L4 checksums are not verified.
///
/// Of a later fragment `proto` is what its fragment header says, which may be an extension header that the first
/// fragment holds: fragments belong together by addresses and identification alone (RFC 8200, 4.5).
///
/// # Errors
/// Any `Ipv6*`, `Tcp*`, `Udp*` reason and `IcmpTruncated`; `Ipv6BadPayloadLength` also for a packet above 65535 octets,
/// which no link here carries; and `Land`, for TCP and UDP whose source and destination address and port are the same.
#[inline]
pub fn parse_ipv6(l3: &[u8]) -> Result<Ipv6Meta, ParseError> {
    let ip = Ipv6::new_checked(l3)?;
    let packet = ip.packet();
    let total_len = u16::try_from(packet.len()).map_err(|_| ParseError::Ipv6BadPayloadLength)?;
    let upper = ip.upper()?;
    let payload = packet.get(usize::from(upper.offset)..).unwrap_or(&[]);
    let (fragment, l4) = match upper.fragment {
        None => (Fragment::None, whole(upper.proto, payload)?),
        Some(info) => {
            ipv6::check_fragment(packet.len(), &upper)?;
            if info.offset == 0 && !info.more {
                (Fragment::None, whole(upper.proto, payload)?)
            } else {
                part(&upper, payload)?
            }
        }
    };
    let (src, dst) = (ip.src(), ip.dst());
    if src == dst && is_land(l4) {
        return Err(ParseError::Land);
    }
    let fragment_len = upper.fragment.map_or(0, |_| ipv6::FRAGMENT_LEN as u16);
    Ok(Ipv6Meta {
        src,
        dst,
        l4,
        l4_offset: upper.offset,
        total_len,
        fragment_offset: upper.fragment.map_or(0, |f| f.offset),
        fragment_header: upper.fragment.map_or(0, |f| f.header_offset),
        fragment_id: upper.fragment.map_or(0, |f| f.id),
        fragment,
        more_fragments: upper.fragment.is_some_and(|f| f.more),
        proto: upper.proto,
        hop_limit: ip.hop_limit(),
        traffic_class: ip.traffic_class(),
        has_extensions: upper.offset > ipv6::HEADER_LEN as u16 + fragment_len,
        segments_left_at: upper.segments_left_offset,
    })
}

/// [`parse_ipv6`] for what nearly every packet is: a whole TCP or UDP packet without extension headers. A few wide loads,
/// no loop.
///
/// `None` says nothing but that [`parse_ipv6`] has to look: whatever this accepts, that accepts with the same result.
#[inline(always)]
#[must_use]
pub fn parse_plain_ipv6(l3: &[u8]) -> Option<Ipv6Meta> {
    const HEADER_LEN: u16 = ipv6::HEADER_LEN as u16;
    let head = l3.first_chunk::<48>()?;
    let word = |at: usize| {
        head[at..]
            .first_chunk::<8>()
            .map_or(0, |b| u64::from_be_bytes(*b))
    };
    let address = |at: usize| {
        head[at..]
            .first_chunk::<16>()
            .map_or(0, |b| u128::from_be_bytes(*b))
    };
    let (w0, w5) = (word(0), word(40));
    let (src, dst) = (address(8), address(24));
    let (sport, dport) = ((w5 >> 48) as u16, (w5 >> 32) as u16);
    let payload_len = (w0 >> 16) as u16;
    let total_len = payload_len.checked_add(HEADER_LEN)?;
    if w0 >> 60 != 6
        || payload_len < udp::HEADER_LEN as u16
        || usize::from(total_len) > l3.len()
        || (sport == dport && src == dst)
    {
        return None;
    }
    let proto = (w0 >> 8) as u8;
    let l4 = match proto {
        ipv4::UDP => {
            let length = (w5 >> 16) as u16;
            if length < udp::HEADER_LEN as u16 || length > payload_len || w5 as u16 == 0 {
                return None;
            }
            L4::Udp { sport, dport }
        }
        ipv4::TCP => {
            let [offset, flags] = *l3.get(52..)?.first_chunk::<2>()?;
            let header = u16::from(offset >> 4) * 4;
            if header < tcp::HEADER_LEN as u16 || header > payload_len {
                return None;
            }
            L4::Tcp { sport, dport, flags }
        }
        _ => return None,
    };
    Some(Ipv6Meta {
        src,
        dst,
        l4,
        l4_offset: HEADER_LEN,
        total_len,
        fragment_offset: 0,
        fragment_header: 0,
        fragment_id: 0,
        fragment: Fragment::None,
        more_fragments: false,
        proto,
        hop_limit: w0 as u8,
        traffic_class: (w0 >> 52) as u8,
        has_extensions: false,
        segments_left_at: 0,
    })
}

#[inline(always)]
const fn is_land(l4: L4) -> bool {
    match l4 {
        L4::Tcp { sport, dport, .. } | L4::Udp { sport, dport } => sport == dport,
        L4::IcmpQuery { .. }
        | L4::IcmpError { .. }
        | L4::IcmpOther { .. }
        | L4::Other
        | L4::LaterFragment => false,
    }
}

/// The L4 header of a whole datagram, its lengths checked against the packet.
#[inline(always)]
fn whole(proto: u8, payload: &[u8]) -> Result<L4, ParseError> {
    match proto {
        ipv4::TCP => {
            let tcp = tcp::Tcp::new_checked(payload)?;
            Ok(L4::Tcp {
                sport: tcp.sport(),
                dport: tcp.dport(),
                flags: tcp.flags(),
            })
        }
        ipv4::UDP => {
            let udp = udp::Udp::new_checked(payload)?;
            if udp.checksum() == 0 {
                return Err(ParseError::UdpZeroChecksum);
            }
            Ok(L4::Udp {
                sport: udp.sport(),
                dport: udp.dport(),
            })
        }
        ipv4::ICMPV6 => icmp_l4(payload),
        _ => Ok(L4::Other),
    }
}

#[inline(always)]
fn icmp_l4(payload: &[u8]) -> Result<L4, ParseError> {
    let message = icmp6::Icmp6::new_checked(payload)?;
    let icmp_type = message.icmp_type();
    Ok(if icmp6::is_query(icmp_type) {
        L4::IcmpQuery {
            id: message.id(),
            icmp_type,
        }
    } else if icmp6::is_error(icmp_type) {
        L4::IcmpError {
            icmp_type,
            code: message.code(),
        }
    } else {
        L4::IcmpOther { icmp_type }
    })
}

/// What a first or later fragment says; [`ipv6::check_fragment`] has seen its lengths.
///
/// Refused: a first fragment too short for its L4 header (RFC 7112), and a later one that starts inside a TCP header: the
/// first would have been refused, so it could only overwrite one (RFC 5722).
#[cold]
fn part(upper: &Upper, payload: &[u8]) -> Result<(Fragment, L4), ParseError> {
    const BAD: ParseError = ParseError::Ipv6BadFragment;
    if let Some(info) = upper.fragment
        && info.offset != 0
    {
        if upper.proto == ipv4::TCP && usize::from(info.offset) < tcp::HEADER_LEN {
            return Err(BAD);
        }
        return Ok((Fragment::Later, L4::LaterFragment));
    }
    let ports = || Some((u16_at(payload, 0)?, u16_at(payload, 2)?));
    let l4 = match upper.proto {
        ipv4::TCP => {
            let head = payload.first_chunk::<{ tcp::HEADER_LEN }>().ok_or(BAD)?;
            let (sport, dport) = ports().ok_or(BAD)?;
            if head[12] >> 4 < 5 {
                return Err(ParseError::TcpBadDataOffset);
            }
            L4::Tcp {
                sport,
                dport,
                flags: head[tcp::FLAGS_OFFSET],
            }
        }
        ipv4::UDP => {
            // The length field counts the whole datagram, of which this is a part.
            let head = payload.first_chunk::<{ udp::HEADER_LEN }>().ok_or(BAD)?;
            let (sport, dport) = ports().ok_or(BAD)?;
            if usize::from(u16::from_be_bytes([head[4], head[5]])) <= payload.len() {
                return Err(ParseError::UdpBadLength);
            }
            L4::Udp { sport, dport }
        }
        ipv4::ICMPV6 => icmp_l4(payload).map_err(|_| BAD)?,
        _ => L4::Other,
    };
    Ok((Fragment::First, l4))
}

#[cfg(test)]
mod tests;
