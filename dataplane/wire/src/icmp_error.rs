//! The packet inside an ICMPv4 error: parsed as far as it was quoted, and translated in place (RFC 5508, 4).
//!
//! ```text
//!  ICMP 8 | embedded IPv4 header 20..60 | embedded L4, 8 octets or more | padding? | RFC 4884 extensions?
//!         ^ EMBEDDED_OFFSET             ^ l4_offset                     ^ end (at the latest)
//! ```
//! The quote may be cut anywhere behind the IP header, its L4 checksum may be absent, zero or wrong (REQ-3c),
//! its ports may be behind options (REQ-3b), it may be a fragment, and extensions may follow (REQ-3d): none of
//! this is an error here, and nothing outside the fields that change is touched.

use crate::checksum::{self, Delta};
use crate::error::ParseError;
use crate::field::{put_u16, u16_at};
use crate::ipv4::{self, Ipv4Head};
use crate::{icmp, tcp, udp};

/// Where the embedded packet starts in the ICMP message.
pub const EMBEDDED_OFFSET: usize = icmp::HEADER_LEN;

/// What is known of the embedded L4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EmbeddedL4 {
    /// TCP, with both ports quoted.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// UDP, with both ports quoted.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// An ICMP query or reply, with its identifier quoted.
    IcmpQuery {
        /// Identifier.
        id: u16,
        /// Type.
        icmp_type: u8,
    },
    /// Another ICMP message. An error about an error must not exist (RFC 1122, 3.2.2): drop it.
    IcmpOther {
        /// Type.
        icmp_type: u8,
    },
    /// Another protocol.
    Other,
    /// A later fragment: no L4 header.
    LaterFragment,
    /// TCP, UDP or ICMP cut off before the ports or the identifier.
    Truncated,
}

/// The embedded packet, whose source sent it and whose fate the error tells. Numbers are in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Source address: the host the error must reach.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// The L4 header.
    pub l4: EmbeddedL4,
    /// Protocol number.
    pub proto: u8,
    /// Time to live when it was dropped.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// Fragment offset in octets.
    pub fragment_offset: u16,
    /// MF.
    pub more_fragments: bool,
    /// Total length as its header claims; the quote may be shorter.
    pub total_len: u16,
    /// Where its L4 header starts in the ICMP message: 28..=68.
    pub l4_offset: u16,
    /// Where the quote ends in the ICMP message at the latest.
    pub end: u16,
    /// Whether RFC 4884 extensions follow (or room for them: the length field is set and plausible).
    pub has_extensions: bool,
}

impl Embedded {
    /// Source port, or the identifier of an ICMP query; `None` when there is none or it was not quoted.
    #[inline(always)]
    #[must_use]
    pub const fn sport(&self) -> Option<u16> {
        match self.l4 {
            EmbeddedL4::Tcp { sport, .. } | EmbeddedL4::Udp { sport, .. } => Some(sport),
            EmbeddedL4::IcmpQuery { id, .. } => Some(id),
            EmbeddedL4::IcmpOther { .. }
            | EmbeddedL4::Other
            | EmbeddedL4::LaterFragment
            | EmbeddedL4::Truncated => None,
        }
    }

    /// Destination port, or the identifier of an ICMP query; `None` when there is none or it was not quoted.
    #[inline(always)]
    #[must_use]
    pub const fn dport(&self) -> Option<u16> {
        match self.l4 {
            EmbeddedL4::Tcp { dport, .. } | EmbeddedL4::Udp { dport, .. } => Some(dport),
            _ => self.sport(),
        }
    }
}

/// An ICMP error and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpErrorMeta {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Next-hop MTU; counts for type 3 code 4 only.
    pub next_hop_mtu: u16,
    /// The packet it is about.
    pub embedded: Embedded,
    /// Whether the checksum of the ICMP message is right (RFC 5508 REQ-3: else drop).
    pub checksum_ok: bool,
    /// Whether the checksum of the embedded IP header is right (REQ-3a: else SHOULD drop).
    pub embedded_checksum_ok: bool,
}

/// Parses an ICMPv4 error; `message` starts at its ICMP header and ends with the IP packet. Both checksums are
/// verified and told, not enforced.
///
/// # Errors
/// `IcmpTruncated` below 8 octets; `IcmpErrorTruncated` when the quote ends inside its IP header;
/// `IcmpErrorBadHeader` when it is not IPv4, its header length is below 20, or the type is no error.
#[inline]
pub fn parse(message: &[u8]) -> Result<IcmpErrorMeta, ParseError> {
    let outer = icmp::Icmp::new_checked(message)?;
    if !icmp::is_error(outer.icmp_type()) {
        return Err(ParseError::IcmpErrorBadHeader);
    }
    let embedded = parse_embedded(message)?;
    let header = message.get(EMBEDDED_OFFSET..usize::from(embedded.l4_offset));
    Ok(IcmpErrorMeta {
        icmp_type: outer.icmp_type(),
        code: outer.code(),
        next_hop_mtu: outer.next_hop_mtu(),
        embedded,
        checksum_ok: outer.verify_checksum(),
        embedded_checksum_ok: header.is_some_and(checksum::is_valid),
    })
}

/// Where the quote ends: at the RFC 4884 length (in 32-bit words, in octet 5 of types 3, 11 and 12) when that is
/// set and inside the message; else at the end of the message.
#[inline]
fn quote_end(message: &[u8]) -> (usize, bool) {
    let words = match message.first_chunk::<6>() {
        Some(
            [
                icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM,
                _,
                _,
                _,
                _,
                words,
            ],
        ) => *words,
        _ => 0,
    };
    let end = EMBEDDED_OFFSET + usize::from(words) * 4;
    if words != 0 && end < message.len() {
        (end, true)
    } else {
        (message.len(), false)
    }
}

#[inline]
fn parse_embedded(message: &[u8]) -> Result<Embedded, ParseError> {
    let quote = message
        .get(EMBEDDED_OFFSET..)
        .ok_or(ParseError::IcmpErrorTruncated)?;
    let head = Ipv4Head(quote.first_chunk().ok_or(ParseError::IcmpErrorTruncated)?);
    let header_len = head.header_len();
    if head.version() != 4 || header_len < ipv4::HEADER_LEN {
        return Err(ParseError::IcmpErrorBadHeader);
    }
    if header_len > quote.len() {
        return Err(ParseError::IcmpErrorTruncated);
    }
    let l4_offset = EMBEDDED_OFFSET + header_len;
    let (mut end, has_extensions) = quote_end(message);
    // Behind the embedded packet's own end there is padding only. Some hosts quote a total length that is off:
    // one below the header is not believed.
    let own_end = EMBEDDED_OFFSET + usize::from(head.total_len());
    if own_end >= l4_offset {
        end = end.min(own_end);
    }
    let end = end.max(l4_offset);
    let l4 = message.get(l4_offset..end).unwrap_or(&[]);
    Ok(Embedded {
        src: head.src(),
        dst: head.dst(),
        l4: if head.fragment_offset() != 0 {
            EmbeddedL4::LaterFragment
        } else {
            embedded_l4(head.protocol(), l4)
        },
        proto: head.protocol(),
        ttl: head.ttl(),
        id: head.id(),
        fragment_offset: head.fragment_offset(),
        more_fragments: head.more_fragments(),
        total_len: head.total_len(),
        l4_offset: l4_offset as u16,
        end: u16::try_from(end).unwrap_or(u16::MAX),
        has_extensions,
    })
}

#[inline]
fn embedded_l4(proto: u8, l4: &[u8]) -> EmbeddedL4 {
    match proto {
        ipv4::TCP | ipv4::UDP => match l4.first_chunk::<4>() {
            Some([s0, s1, d0, d1]) => {
                let (sport, dport) = (u16::from_be_bytes([*s0, *s1]), u16::from_be_bytes([*d0, *d1]));
                if proto == ipv4::TCP {
                    EmbeddedL4::Tcp { sport, dport }
                } else {
                    EmbeddedL4::Udp { sport, dport }
                }
            }
            None => EmbeddedL4::Truncated,
        },
        ipv4::ICMP => match (l4.first(), u16_at(l4, 4)) {
            (Some(t), Some(id)) if icmp::is_query(*t) => EmbeddedL4::IcmpQuery { id, icmp_type: *t },
            (Some(t), _) if !icmp::is_query(*t) => EmbeddedL4::IcmpOther { icmp_type: *t },
            _ => EmbeddedL4::Truncated,
        },
        _ => EmbeddedL4::Other,
    }
}

/// Gives the embedded packet a new source and/or destination, each an address and a port, and moves along the
/// embedded header checksum, the embedded L4 checksum if it was quoted whole (a UDP checksum of 0 stays 0), and the
/// checksum of the ICMP message. A wrong checksum stays wrong.
///
/// `message` starts at the ICMP header. The identifier of an ICMP query is set to the port of `new_src`, or else
/// of `new_dst`; ports that were not quoted, or that the protocol does not have, are not written. Returns
/// `None`, and nothing changed, when [`parse`] would refuse the message.
#[inline]
pub fn rewrite_embedded(
    message: &mut [u8],
    new_src: Option<(u32, u16)>,
    new_dst: Option<(u32, u16)>,
) -> Option<()> {
    if !icmp::is_error(*message.first()?) {
        return None;
    }
    let old = parse_embedded(message).ok()?;
    let outer_sum = u16_at(message, 2)?;
    let (src, dst) = (new_src.map_or(old.src, |n| n.0), new_dst.map_or(old.dst, |n| n.0));
    let addresses = Delta::new().replace_u32(old.src, src).replace_u32(old.dst, dst);

    let head = message
        .get_mut(EMBEDDED_OFFSET..)?
        .first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    let old_sum = u16::from_be_bytes([head[10], head[11]]);
    let new_sum = addresses.apply(old_sum);
    [head[10], head[11]] = new_sum.to_be_bytes();
    [head[12], head[13], head[14], head[15]] = src.to_be_bytes();
    [head[16], head[17], head[18], head[19]] = dst.to_be_bytes();
    let mut outer = addresses.replace_u16(old_sum, new_sum);

    let l4 =
        message.get_mut(usize::from(old.l4_offset)..usize::from(old.end).max(usize::from(old.l4_offset)))?;
    let (sport, dport) = (new_src.map(|n| n.1), new_dst.map(|n| n.1));
    outer = outer.and(rewrite_l4(l4, &old, addresses, sport, dport));
    put_u16(message, 2, outer.apply(outer_sum))
}

/// Writes ports and checksum of the embedded L4 header as far as it was quoted; returns what that does to the sum
/// over the bytes.
#[inline]
fn rewrite_l4(
    l4: &mut [u8],
    old: &Embedded,
    addresses: Delta,
    new_sport: Option<u16>,
    new_dport: Option<u16>,
) -> Delta {
    let (checksum_at, mut fields, pseudo, zero_is_none) = match old.l4 {
        EmbeddedL4::Tcp { sport, dport } => {
            let fields = set_ports(l4, (sport, dport), (new_sport, new_dport));
            (tcp::CHECKSUM_OFFSET, fields, addresses, false)
        }
        EmbeddedL4::Udp { sport, dport } => {
            let fields = set_ports(l4, (sport, dport), (new_sport, new_dport));
            (udp::CHECKSUM_OFFSET, fields, addresses, true)
        }
        EmbeddedL4::IcmpQuery { id, .. } => {
            let new = new_sport.or(new_dport).unwrap_or(id);
            let fields = put_u16(l4, 4, new).map_or(Delta::new(), |()| Delta::new().replace_u16(id, new));
            (2, fields, Delta::new(), false)
        }
        EmbeddedL4::Other if matches!(old.proto, ipv4::DCCP | ipv4::UDPLITE) => (
            udp::CHECKSUM_OFFSET,
            Delta::new(),
            addresses,
            old.proto == ipv4::UDPLITE,
        ),
        EmbeddedL4::IcmpOther { .. }
        | EmbeddedL4::Other
        | EmbeddedL4::LaterFragment
        | EmbeddedL4::Truncated => return Delta::new(),
    };
    if let Some(sum) = u16_at(l4, checksum_at) {
        let delta = pseudo.and(fields);
        let new_sum = if zero_is_none {
            delta.apply_udp(sum)
        } else {
            delta.apply(sum)
        };
        if put_u16(l4, checksum_at, new_sum).is_some() {
            fields = fields.replace_u16(sum, new_sum);
        }
    }
    fields
}

/// Writes the ports that are given; returns the change.
#[inline]
pub(crate) fn set_ports(l4: &mut [u8], old: (u16, u16), new: (Option<u16>, Option<u16>)) -> Delta {
    let (sport, dport) = (new.0.unwrap_or(old.0), new.1.unwrap_or(old.1));
    let Some(ports) = l4.first_chunk_mut::<4>() else {
        return Delta::new();
    };
    [ports[0], ports[1]] = sport.to_be_bytes();
    [ports[2], ports[3]] = dport.to_be_bytes();
    Delta::new().replace_u16(old.0, sport).replace_u16(old.1, dport)
}

#[cfg(test)]
mod tests;
