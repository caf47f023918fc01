//! The fast path's one parse of an IPv4 packet: addresses, what the L4 header says, and every length checked.
//!
//! ```text
//!  l3 slice ---> Ipv4 lengths ---> fragment sanity ---> L4 header ---> Ipv4Meta (Copy, 32 octets)
//!                   |                   |                  |
//!                   +-------------------+------------------+-------> ParseError = the drop counter
//! ```

use crate::error::ParseError;
use crate::field::u16_at;
use crate::ipv4::{self, Ipv4};
use crate::{icmp, tcp, udp};

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fragment {
    /// A whole datagram.
    None,
    /// Offset 0, more follow: the L4 header is here.
    First,
    /// Offset above 0: no L4 header.
    Later,
}

/// What the L4 header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum L4 {
    /// TCP.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Flags, [`tcp::FIN`] to [`tcp::CWR`].
        flags: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// An ICMP query or its reply.
    IcmpQuery {
        /// Identifier: what NAT treats as the port.
        id: u16,
        /// Type; see [`icmp::is_query_request`].
        icmp_type: u8,
    },
    /// An ICMP error; the embedded packet is parsed by [`crate::icmp_error`].
    IcmpError {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
    /// Any other ICMP message.
    IcmpOther {
        /// Type.
        icmp_type: u8,
    },
    /// Any other protocol: nothing is known behind the IPv4 header.
    Other,
    /// A later fragment: its ports are in the first one.
    LaterFragment,
}

/// What a packet is, as the fast path needs it. Numbers are in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)] // What is constant for plain packets lies together, so that it is written at once.
pub struct Ipv4Meta {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Where the L4 header starts, from the start of the IPv4 header: 20..=60.
    pub l4_offset: u16,
    /// Fragment offset in octets, a multiple of 8.
    pub fragment_offset: u16,
    /// Which part of a datagram this is.
    pub fragment: Fragment,
    /// MF.
    pub more_fragments: bool,
    /// Octets of the whole packet, header included, padding not.
    pub total_len: u16,
    /// The L4 header.
    pub l4: L4,
    /// Identification; with `src`, `dst` and `proto` the key of a fragmented datagram.
    pub id: u16,
    /// DF.
    pub dont_fragment: bool,
    /// Protocol number.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
}

impl Ipv4Meta {
    /// Whether the header has options.
    #[inline(always)]
    #[must_use]
    pub const fn has_options(&self) -> bool {
        self.l4_offset > ipv4::HEADER_LEN as u16
    }

    /// Source port, or the identifier of an ICMP query, or 0.
    #[inline(always)]
    #[must_use]
    pub const fn sport(&self) -> u16 {
        match self.l4 {
            L4::Tcp { sport, .. } | L4::Udp { sport, .. } => sport,
            L4::IcmpQuery { id, .. } => id,
            L4::IcmpError { .. } | L4::IcmpOther { .. } | L4::Other | L4::LaterFragment => 0,
        }
    }

    /// Destination port, or the identifier of an ICMP query, or 0.
    #[inline(always)]
    #[must_use]
    pub const fn dport(&self) -> u16 {
        match self.l4 {
            L4::Tcp { dport, .. } | L4::Udp { dport, .. } => dport,
            L4::IcmpQuery { id, .. } => id,
            L4::IcmpError { .. } | L4::IcmpOther { .. } | L4::Other | L4::LaterFragment => 0,
        }
    }

    /// Octets behind the IPv4 header.
    #[inline(always)]
    #[must_use]
    pub const fn payload_len(&self) -> u16 {
        self.total_len.saturating_sub(self.l4_offset)
    }
}

/// Parses a packet that starts at its IPv4 header. The header checksum is not looked at: for packets whose
/// checksum the NIC found good.
///
/// # Errors
/// Any `Ipv4*`, `Tcp*`, `Udp*`, `Icmp*` reason except `Ipv4BadChecksum` and `Ipv4BadOption`; and `Land`, for TCP
/// and UDP whose source and destination address and port are the same.
#[inline]
pub fn parse_ipv4(l3: &[u8]) -> Result<Ipv4Meta, ParseError> {
    parse::<false>(l3)
}

/// [`parse_ipv4`] that also verifies the header checksum (RFC 1812, 5.2.2), for packets no NIC has checked.
///
/// # Errors
/// As [`parse_ipv4`], and `Ipv4BadChecksum`.
#[inline]
pub fn parse_ipv4_verified(l3: &[u8]) -> Result<Ipv4Meta, ParseError> {
    parse::<true>(l3)
}

/// [`parse_ipv4`] for what nearly every packet is: a whole TCP or UDP packet without IP options. A few wide loads, no loop.
///
/// `None` says nothing but that [`parse_ipv4`] has to look: whatever this accepts, that accepts with the same result.
#[inline(always)]
#[must_use]
pub fn parse_plain<const VERIFY: bool>(l3: &[u8]) -> Option<Ipv4Meta> {
    const MORE_OR_OFFSET: u64 = 0x3fff;
    let head = l3.first_chunk::<28>()?;
    let wide = |at: usize| {
        head[at..]
            .first_chunk::<8>()
            .map_or(0, |b| u64::from_be_bytes(*b))
    };
    let (w0, w1, w2) = (wide(0), wide(8), wide(16));
    let total_len = (w0 >> 32) as u16;
    let payload_len = total_len.wrapping_sub(ipv4::HEADER_LEN as u16);
    let (src, dst) = (w1 as u32, (w2 >> 32) as u32);
    let (sport, dport) = ((w2 >> 16) as u16, w2 as u16);
    if w0 >> 56 != 0x45
        || w0 & MORE_OR_OFFSET != 0
        || total_len < 28
        || usize::from(total_len) > l3.len()
        || (src == dst && sport == dport)
    {
        return None;
    }
    if VERIFY {
        // Carries out of 64 bits count as 1, and so do those between its halves.
        let (sum, carry) = w0.overflowing_add(w1);
        let (sum, more) = sum.overflowing_add(w2 >> 32);
        let (sum, last) = sum.overflowing_add(u64::from(carry) + u64::from(more));
        let sum = sum + u64::from(last);
        let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
        if sum.wrapping_add(sum.rotate_left(16)) >> 16 != 0xffff {
            return None;
        }
    }
    let proto = (w1 >> 48) as u8;
    let l4 = match proto {
        ipv4::UDP => {
            let length = u16::from_be_bytes([head[24], head[25]]);
            if length < udp::HEADER_LEN as u16 || length > payload_len {
                return None;
            }
            L4::Udp { sport, dport }
        }
        ipv4::TCP => {
            let [offset, flags] = *l3.get(32..)?.first_chunk::<2>()?;
            let header = u16::from(offset >> 4) * 4;
            if header < tcp::HEADER_LEN as u16 || header > payload_len {
                return None;
            }
            L4::Tcp { sport, dport, flags }
        }
        _ => return None,
    };
    Some(Ipv4Meta {
        src,
        dst,
        l4,
        l4_offset: ipv4::HEADER_LEN as u16,
        total_len,
        id: (w0 >> 16) as u16,
        fragment_offset: 0,
        fragment: Fragment::None,
        more_fragments: false,
        dont_fragment: w0 & 0x4000 != 0,
        proto,
        ttl: (w1 >> 56) as u8,
        tos: (w0 >> 48) as u8,
    })
}

#[inline(always)]
fn parse<const VERIFY: bool>(l3: &[u8]) -> Result<Ipv4Meta, ParseError> {
    let ip = Ipv4::new_checked(l3)?;
    if VERIFY && !ip.verify_checksum() {
        return Err(ParseError::Ipv4BadChecksum);
    }
    let payload = ip.payload();
    let (fragment, l4) = if ip.is_fragment() {
        fragment(&ip, payload)?
    } else {
        (Fragment::None, whole(ip.protocol(), payload)?)
    };
    if ip.src() == ip.dst() && is_land(l4) {
        return Err(ParseError::Land);
    }
    Ok(Ipv4Meta {
        src: ip.src(),
        dst: ip.dst(),
        l4,
        l4_offset: ip.header_len() as u16,
        total_len: ip.total_len(),
        id: ip.id(),
        fragment_offset: ip.fragment_offset(),
        fragment,
        more_fragments: ip.more_fragments(),
        dont_fragment: ip.dont_fragment(),
        proto: ip.protocol(),
        ttl: ip.ttl(),
        tos: ip.tos(),
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
fn whole(protocol: u8, payload: &[u8]) -> Result<L4, ParseError> {
    match protocol {
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
            Ok(L4::Udp {
                sport: udp.sport(),
                dport: udp.dport(),
            })
        }
        ipv4::ICMP => icmp_l4(payload),
        _ => Ok(L4::Other),
    }
}

#[inline(always)]
fn icmp_l4(payload: &[u8]) -> Result<L4, ParseError> {
    let message = icmp::Icmp::new_checked(payload)?;
    let icmp_type = message.icmp_type();
    Ok(if icmp::is_query(icmp_type) {
        L4::IcmpQuery {
            id: message.id(),
            icmp_type,
        }
    } else if icmp::is_error(icmp_type) {
        L4::IcmpError {
            icmp_type,
            code: message.code(),
        }
    } else {
        L4::IcmpOther { icmp_type }
    })
}

/// A fragment's place and, of a first one, its L4 header, which must be whole but for TCP options.
///
/// Refused: an end beyond 65535 octets ("ping of death"), an empty fragment, a length that is not a multiple of
/// 8 though more follow (RFC 791), a first fragment too short for its L4 header, and one that starts inside a TCP header,
/// which it could only overwrite (RFC 1858, RFC 3128).
#[cold]
fn fragment(ip: &Ipv4<'_>, payload: &[u8]) -> Result<(Fragment, L4), ParseError> {
    const BAD: ParseError = ParseError::Ipv4BadFragment;
    let offset = ip.fragment_offset();
    let end = u32::from(offset) + u32::from(ip.total_len());
    if end > 65535 || payload.is_empty() || ip.more_fragments() && !payload.len().is_multiple_of(8) {
        return Err(BAD);
    }
    if offset != 0 {
        if ip.protocol() == ipv4::TCP && usize::from(offset) < tcp::HEADER_LEN {
            return Err(BAD);
        }
        return Ok((Fragment::Later, L4::LaterFragment));
    }
    let ports = || Some((u16_at(payload, 0)?, u16_at(payload, 2)?));
    let l4 = match ip.protocol() {
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
        ipv4::ICMP => icmp_l4(payload).map_err(|_| BAD)?,
        _ => L4::Other,
    };
    Ok((Fragment::First, l4))
}

#[cfg(test)]
mod tests;
