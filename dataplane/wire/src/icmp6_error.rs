//! The packet inside an ICMPv6 error: parsed as far as it was quoted, and translated in place (RFC 4443, RFC 4884).
//!
//! ```text
//!  ICMPv6 8 | embedded IPv6 header 40 | extension headers? | embedded L4 | padding? | RFC 4884 extensions?
//!           ^ EMBEDDED_OFFSET                              ^ l4_offset   ^ end (at the latest)
//! ```
//! The quote may be cut anywhere behind the fixed header, in the extension headers too; it may be a fragment, its L4
//! checksum may be absent or wrong, and extensions may follow: none of this is an error here, and nothing outside the
//! fields that change is touched.

use crate::checksum::Delta;
use crate::error::ParseError;
use crate::field::{put_u16, u16_at};
use crate::icmp_error::{EmbeddedL4, set_ports};
use crate::ipv6::{self, Upper};
use crate::{icmp6, ipv4, tcp, udp};

/// Where the embedded packet starts in the ICMPv6 message.
pub const EMBEDDED_OFFSET: usize = icmp6::HEADER_LEN;
/// Where what follows its fixed header starts in the ICMPv6 message.
const PAYLOAD_OFFSET: usize = EMBEDDED_OFFSET + ipv6::HEADER_LEN;
/// Octets from the start of an ICMPv6 message to its checksum.
const ICMP_CHECKSUM_OFFSET: usize = 2;

/// The embedded packet, whose source sent it and whose fate the error tells. Numbers are in host order, places are
/// counted from the start of the ICMPv6 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded6 {
    /// Source address: the host the error must reach.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// The L4 header; `Truncated` also when the chain of extension headers was cut off or cannot be followed.
    pub l4: EmbeddedL4,
    /// Protocol number of the upper layer; when the chain was not followed to its end, the number behind the fixed header.
    pub proto: u8,
    /// Hop limit when it was dropped.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// M flag.
    pub more_fragments: bool,
    /// Fragment offset in octets.
    pub fragment_offset: u16,
    /// Where its fragment header starts, or 0.
    pub fragment_header: u16,
    /// Identification of its fragment header, or 0.
    pub fragment_id: u32,
    /// Payload length as its header claims; the quote may be shorter.
    pub payload_len: u16,
    /// Where its L4 header starts: 48 or more. When the chain was not followed to its end, `end`.
    pub l4_offset: u16,
    /// Where the quote ends at the latest.
    pub end: u16,
    /// Where the "segments left" octet of its routing header stands that is not zero, or 0.
    pub segments_left_at: u16,
    /// Whether RFC 4884 extensions follow (or room for them: the length field is set and plausible).
    pub has_extensions: bool,
}

impl Embedded6 {
    /// Source port, or the identifier of an echo; `None` when there is none or it was not quoted.
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

    /// Destination port, or the identifier of an echo; `None` when there is none or it was not quoted.
    #[inline(always)]
    #[must_use]
    pub const fn dport(&self) -> Option<u16> {
        match self.l4 {
            EmbeddedL4::Tcp { dport, .. } | EmbeddedL4::Udp { dport, .. } => Some(dport),
            _ => self.sport(),
        }
    }
}

/// An ICMPv6 error and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpErrorMeta6 {
    /// Type, 1 to 4.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// The word behind the checksum: the MTU of a packet too big, the pointer of a parameter problem.
    pub word: u32,
    /// The packet it is about.
    pub embedded: Embedded6,
    /// Whether the checksum of the ICMPv6 message is right between the outer addresses (else drop).
    pub checksum_ok: bool,
}

/// Whether a type is an error whose layout is known: RFC 4443 defines these four.
#[inline(always)]
const fn is_known_error(icmp_type: u8) -> bool {
    matches!(
        icmp_type,
        icmp6::UNREACHABLE | icmp6::PACKET_TOO_BIG | icmp6::TIME_EXCEEDED | icmp6::PARAMETER_PROBLEM
    )
}

/// Parses an ICMPv6 error; `message` starts at its ICMPv6 header and ends with the IPv6 packet, whose addresses are `src`
/// and `dst`. The checksum is verified and told, not enforced.
///
/// # Errors
/// `IcmpTruncated` below 8 octets; `IcmpErrorTruncated` when the quote ends inside its fixed header;
/// `IcmpErrorBadHeader` when it is not IPv6, or the type is none of 1 to 4.
#[inline]
pub fn parse(message: &[u8], src: u128, dst: u128) -> Result<IcmpErrorMeta6, ParseError> {
    let outer = icmp6::Icmp6::new_checked(message)?;
    if !is_known_error(outer.icmp_type()) {
        return Err(ParseError::IcmpErrorBadHeader);
    }
    Ok(IcmpErrorMeta6 {
        icmp_type: outer.icmp_type(),
        code: outer.code(),
        word: outer.word(),
        embedded: parse_embedded(message)?,
        checksum_ok: outer.verify_checksum(src, dst),
    })
}

/// Where the quote ends: at the RFC 4884 length (in 64-bit words, in octet 4 of types 1 and 3) when that is set and inside
/// the message; else at the end of the message.
#[inline]
fn quote_end(message: &[u8]) -> (usize, bool) {
    let words = match message.first_chunk::<5>() {
        Some([icmp6::UNREACHABLE | icmp6::TIME_EXCEEDED, _, _, _, words]) => *words,
        _ => 0,
    };
    let end = EMBEDDED_OFFSET + usize::from(words) * 8;
    if words != 0 && end < message.len() {
        (end, true)
    } else {
        (message.len(), false)
    }
}

#[inline]
fn parse_embedded(message: &[u8]) -> Result<Embedded6, ParseError> {
    let quote = message
        .get(EMBEDDED_OFFSET..)
        .ok_or(ParseError::IcmpErrorTruncated)?;
    let fixed = quote
        .get(..ipv6::HEADER_LEN)
        .ok_or(ParseError::IcmpErrorTruncated)?;
    // The view wants the payload it claims, which need not be quoted: show it a header without any.
    let mut head = [0; ipv6::HEADER_LEN];
    head.copy_from_slice(fixed);
    let payload_len = u16::from_be_bytes([head[4], head[5]]);
    [head[4], head[5]] = [0, 0];
    let ip = ipv6::Ipv6::new_checked(&head).map_err(|_| ParseError::IcmpErrorBadHeader)?;

    let (end, has_extensions) = quote_end(message);
    // Behind the embedded packet's own end there is padding only.
    let end = end
        .min(PAYLOAD_OFFSET + usize::from(payload_len))
        .max(PAYLOAD_OFFSET);
    let within = message.get(EMBEDDED_OFFSET..end).unwrap_or(&[]);
    let place = |at: u16| at.saturating_add(EMBEDDED_OFFSET as u16);
    let end = u16::try_from(end).unwrap_or(u16::MAX);
    let found = ipv6::walk(within, ip.next_header()).ok();
    let fragment = found.and_then(|u| u.fragment);
    let l4 = match &found {
        None => EmbeddedL4::Truncated,
        Some(upper) if upper.is_later_fragment() => EmbeddedL4::LaterFragment,
        Some(upper) => embedded_l4(upper, within),
    };
    Ok(Embedded6 {
        src: ip.src(),
        dst: ip.dst(),
        l4,
        proto: found.map_or(ip.next_header(), |u| u.proto),
        hop_limit: ip.hop_limit(),
        traffic_class: ip.traffic_class(),
        more_fragments: fragment.is_some_and(|f| f.more),
        fragment_offset: fragment.map_or(0, |f| f.offset),
        fragment_header: fragment.map_or(0, |f| place(f.header_offset)),
        fragment_id: fragment.map_or(0, |f| f.id),
        payload_len,
        l4_offset: found.map_or(end, |u| place(u.offset)),
        end,
        segments_left_at: found
            .filter(|u| u.segments_left_offset != 0)
            .map_or(0, |u| place(u.segments_left_offset)),
        has_extensions,
    })
}

#[inline]
fn embedded_l4(upper: &Upper, packet: &[u8]) -> EmbeddedL4 {
    let l4 = packet.get(usize::from(upper.offset)..).unwrap_or(&[]);
    match upper.proto {
        ipv4::TCP | ipv4::UDP => match l4.first_chunk::<4>() {
            Some([s0, s1, d0, d1]) => {
                let (sport, dport) = (u16::from_be_bytes([*s0, *s1]), u16::from_be_bytes([*d0, *d1]));
                if upper.proto == ipv4::TCP {
                    EmbeddedL4::Tcp { sport, dport }
                } else {
                    EmbeddedL4::Udp { sport, dport }
                }
            }
            None => EmbeddedL4::Truncated,
        },
        ipv4::ICMPV6 => match (l4.first(), u16_at(l4, 4)) {
            (Some(t), Some(id)) if icmp6::is_query(*t) => EmbeddedL4::IcmpQuery { id, icmp_type: *t },
            (Some(t), _) if !icmp6::is_query(*t) => EmbeddedL4::IcmpOther { icmp_type: *t },
            _ => EmbeddedL4::Truncated,
        },
        _ => EmbeddedL4::Other,
    }
}

/// Gives the embedded packet a new source and/or destination, each an address and a port, and moves along the embedded L4
/// checksum, if it was quoted whole (a UDP checksum of 0 stays 0), and the checksum of the ICMPv6 message by what changed
/// inside the message. The change of the outer addresses is the business of [`crate::rewrite6`], before or after this. A
/// wrong checksum stays wrong.
///
/// `message` starts at the ICMPv6 header. The identifier of an echo is set to the port of `new_src`, or else of `new_dst`;
/// ports that were not quoted, or that the protocol does not have, are not written. Returns `None`, and nothing changed,
/// when [`parse`] would refuse the message.
#[inline]
pub fn rewrite_embedded(
    message: &mut [u8],
    new_src: Option<(u128, u16)>,
    new_dst: Option<(u128, u16)>,
) -> Option<()> {
    if !is_known_error(*message.first()?) {
        return None;
    }
    let old = parse_embedded(message).ok()?;
    let outer_sum = u16_at(message, ICMP_CHECKSUM_OFFSET)?;
    let (src, dst) = (new_src.map_or(old.src, |n| n.0), new_dst.map_or(old.dst, |n| n.0));
    let source = Delta::new().replace_u128(old.src, src);
    let addresses = source.replace_u128(old.dst, dst);
    // While segments are left, the pseudo header has the final destination, which is in the routing header.
    let pseudo = if old.segments_left_at == 0 {
        addresses
    } else {
        source
    };

    let head = message
        .get_mut(EMBEDDED_OFFSET..)?
        .first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
    *head[8..].first_chunk_mut()? = src.to_be_bytes();
    *head[24..].first_chunk_mut()? = dst.to_be_bytes();

    let l4 =
        message.get_mut(usize::from(old.l4_offset)..usize::from(old.end).max(usize::from(old.l4_offset)))?;
    let (sport, dport) = (new_src.map(|n| n.1), new_dst.map(|n| n.1));
    let outer = addresses.and(rewrite_l4(l4, &old, pseudo, sport, dport));
    put_u16(message, ICMP_CHECKSUM_OFFSET, outer.apply(outer_sum))
}

/// Writes ports and checksum of the embedded L4 header as far as it was quoted; returns what that does to the sum
/// over the bytes.
#[inline]
fn rewrite_l4(
    l4: &mut [u8],
    old: &Embedded6,
    pseudo: Delta,
    new_sport: Option<u16>,
    new_dport: Option<u16>,
) -> Delta {
    let (checksum_at, mut fields, zero_is_none) = match old.l4 {
        EmbeddedL4::Tcp { sport, dport } => {
            let fields = set_ports(l4, (sport, dport), (new_sport, new_dport));
            (tcp::CHECKSUM_OFFSET, fields, false)
        }
        EmbeddedL4::Udp { sport, dport } => {
            let fields = set_ports(l4, (sport, dport), (new_sport, new_dport));
            (udp::CHECKSUM_OFFSET, fields, true)
        }
        EmbeddedL4::IcmpQuery { id, .. } => {
            let new = new_sport.or(new_dport).unwrap_or(id);
            let fields = put_u16(l4, 4, new).map_or(Delta::new(), |()| Delta::new().replace_u16(id, new));
            (ICMP_CHECKSUM_OFFSET, fields, false)
        }
        EmbeddedL4::IcmpOther { .. } => (ICMP_CHECKSUM_OFFSET, Delta::new(), false),
        EmbeddedL4::Other if matches!(old.proto, ipv4::DCCP | ipv4::UDPLITE) => {
            (udp::CHECKSUM_OFFSET, Delta::new(), old.proto == ipv4::UDPLITE)
        }
        EmbeddedL4::Other | EmbeddedL4::LaterFragment | EmbeddedL4::Truncated => return Delta::new(),
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

#[cfg(test)]
mod tests;
