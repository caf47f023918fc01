//! ICMP errors between IPv4 and IPv6, with the packet inside (RFC 7915 sections 4.2, 4.3, 5.2, 5.3).
//!
//! ```text
//!   IPv4 20 | ICMP 8   | embedded IPv4 20..60              | L4 ... | padding | RFC 4884 extensions
//!   IPv6 40 | ICMPv6 8 | embedded IPv6 40 | fragment hdr 8 | L4 ... | padding | RFC 4884 extensions
//! ```
//! The embedded packet is translated once, its time to live left as it is; an error about an error is refused. Errors are
//! rare and small, so the new message is written in a buffer on the stack and then put in place of the old one: at most 1280
//! octets towards IPv6 (RFC 4443 section 2.4) and 576 towards IPv4 (RFC 1812 section 4.3.2.3). Its checksum is computed
//! anew; so a message that comes in with a wrong one is refused here.
//!
//! Extensions (RFC 4884) are passed as they are when the new type can have them and they fit; the length of the embedded
//! packet before them changes from 32-bit words to 64-bit words or back, and is at least 128 octets.

mod compose;
mod tables;

pub use tables::{Kind, to_four, to_six};

use crate::checksum::{Delta, Sum, checksum, pseudo_v6};
use crate::field::copy;
use crate::icmp_error::{Embedded, EmbeddedL4};
use crate::icmp6_error::Embedded6;
use crate::l4::Ipv4Meta;
use crate::meta6::Ipv6Meta;
use crate::packet::Packet;
use crate::rewrite::Endpoints;
use crate::rewrite6::Endpoints6;
use crate::{icmp, icmp_error, icmp6, icmp6_error, ipv4, ipv6};

use super::header::{Header4, Header6, Place, echo_to_four, echo_to_six, proto_to_four, proto_to_six};
use super::{Options, XlatError, four_to_six, six_to_four, upper};
use compose::{Message, Quote};

/// Octets of the longest ICMPv6 error that is written. RFC 4443 section 2.4 (c).
pub const ERROR6_LEN_MAX: usize = 1280;
/// Octets of the longest ICMPv4 error that is written. RFC 1812 section 4.3.2.3.
pub const ERROR4_LEN_MAX: usize = 576;

/// Makes an ICMPv6 error of an ICMPv4 one whose time to live is above 1.
///
/// `src` and `dst` are the new outer addresses, `embedded` the addresses and ports the embedded packet shall have, in its
/// own direction (an echo's identifier is `sport`). `meta` is the parse of the packet. Only `copy_traffic_class` and the
/// MTUs of `options` count.
///
/// # Errors
/// [`XlatError`]: `SourceRoute`, `FragmentedIcmp`, `IcmpType`, `IcmpChecksum`, `Embedded`, `DoublyEmbedded`, `NoRoom`,
/// `Malformed`. Nothing is ever sent back about an ICMP error.
pub fn icmp_error_four_to_six<P: Packet>(
    packet: &mut P,
    meta: &Ipv4Meta,
    src: u128,
    dst: u128,
    embedded: &Endpoints6,
    options: &Options,
) -> Result<(), XlatError> {
    if meta.proto != ipv4::ICMP {
        return Err(XlatError::Protocol);
    }
    four_to_six::check(packet.l3(), meta)?;
    let message = packet
        .l3()
        .get(usize::from(meta.l4_offset)..usize::from(meta.total_len))
        .ok_or(XlatError::NoRoom)?;
    let old = icmp_error::parse(message).map_err(|_| XlatError::Embedded)?;
    if !old.checksum_ok {
        return Err(XlatError::IcmpChecksum);
    }
    let (inner, word) = (&old.embedded, word_at_4(message)?);
    let kind = Kind {
        icmp_type: old.icmp_type,
        code: old.code,
        word,
    };
    let kind = to_six(kind, inner.total_len, options).ok_or(XlatError::IcmpType)?;

    let upper_len = inner
        .total_len
        .saturating_sub(inner.l4_offset.saturating_sub(icmp::HEADER_LEN as u16));
    let header = Header6 {
        class: class(message.get(icmp::HEADER_LEN + 1), options),
        upper_len,
        place: place4(inner),
        hop_limit: inner.ttl,
        proto: proto_to_six(inner.proto).ok_or(XlatError::Embedded)?,
        src: embedded.src,
        dst: embedded.dst,
    };
    let octets = header.octets();
    let extensions_at = icmp::HEADER_LEN + 4 * usize::from((word >> 16) as u8);
    let quote = Quote {
        header: octets.get(..header.len()).ok_or(XlatError::Malformed)?,
        data: quoted(message, inner.l4_offset, inner.end),
        extensions: extensions(message, inner.has_extensions, extensions_at),
    };
    let has_length = matches!(kind.icmp_type, icmp6::UNREACHABLE | icmp6::TIME_EXCEEDED);
    let mut buffer = [0; ERROR6_LEN_MAX];
    let mut new = Message::compose(
        &mut buffer,
        ipv6::HEADER_LEN,
        &kind,
        &quote,
        has_length.then_some(8),
    )?;
    if let Some(octets) = new.length_octets {
        new.put_length(4, octets / 8)?;
    }
    let change = L4Change {
        l4: inner.l4,
        proto: inner.proto,
        ports: (embedded.sport, embedded.dport),
        addresses: upper::addresses(
            Sum::new().u32(inner.src).u32(inner.dst),
            Sum::new().u128(embedded.src).u128(embedded.dst),
        ),
        pseudo: Delta::new().add(pseudo_v6(
            embedded.src,
            embedded.dst,
            ipv4::ICMPV6,
            u32::from(upper_len),
        )),
    };
    change.apply(new.quoted_l4(), echo_to_six, icmp::is_error)?;

    let len = new.upper_len();
    let sum = pseudo_v6(src, dst, ipv4::ICMPV6, u32::from(len));
    let sum = sum.slice(new.upper()).finish();
    let outer = Header6 {
        class: if options.copy_traffic_class { meta.tos } else { 0 },
        upper_len: len,
        place: None,
        hop_limit: meta.ttl.saturating_sub(1),
        proto: ipv4::ICMPV6,
        src,
        dst,
    };
    let outer = outer.octets();
    new.finish(sum, outer.get(..ipv6::HEADER_LEN).unwrap_or(&[]))?;
    replace(packet, new.octets())
}

/// Makes an ICMPv4 error of an ICMPv6 one whose hop limit is above 1.
///
/// As [`icmp_error_four_to_six`]; `id` is the identification of the new packet, which goes without DF.
///
/// # Errors
/// [`XlatError`]: `SegmentsLeft`, `FragmentedIcmp`, `IcmpType`, `IcmpChecksum`, `Embedded`, `DoublyEmbedded`, `NoRoom`,
/// `Malformed`. Nothing is ever sent back about an ICMP error.
pub fn icmp_error_six_to_four<P: Packet>(
    packet: &mut P,
    meta: &Ipv6Meta,
    src: u32,
    dst: u32,
    embedded: &Endpoints,
    options: &Options,
    id: u16,
) -> Result<(), XlatError> {
    if meta.proto != ipv4::ICMPV6 {
        return Err(XlatError::Protocol);
    }
    six_to_four::check(meta)?;
    let message = packet
        .l3()
        .get(usize::from(meta.l4_offset)..usize::from(meta.total_len))
        .ok_or(XlatError::NoRoom)?;
    let old = icmp6_error::parse(message, meta.src, meta.dst).map_err(|_| XlatError::Embedded)?;
    if !old.checksum_ok {
        return Err(XlatError::IcmpChecksum);
    }
    let inner = &old.embedded;
    let kind = Kind {
        icmp_type: old.icmp_type,
        code: old.code,
        word: old.word,
    };
    let kind = to_four(kind, options).ok_or(XlatError::IcmpType)?;

    // Octets of extension headers behind the fixed one, which do not go along.
    let extra = inner
        .l4_offset
        .saturating_sub((icmp6::HEADER_LEN + ipv6::HEADER_LEN) as u16);
    let upper_len = inner.payload_len.saturating_sub(extra);
    let header = Header4 {
        tos: if options.copy_traffic_class {
            inner.traffic_class
        } else {
            0
        },
        total_len: upper_len.saturating_add(ipv4::HEADER_LEN as u16),
        place: place6(inner),
        id: 0,
        ttl: inner.hop_limit,
        proto: proto_to_four(inner.proto).ok_or(XlatError::Embedded)?,
        src: embedded.src,
        dst: embedded.dst,
    };
    let octets = header.octets();
    let extensions_at = icmp6::HEADER_LEN + 8 * (old.word >> 24) as usize;
    let quote = Quote {
        header: &octets,
        data: quoted(message, inner.l4_offset, inner.end),
        extensions: extensions(message, inner.has_extensions, extensions_at),
    };
    let mut buffer = [0; ERROR4_LEN_MAX];
    // Types 3, 11 and 12 of ICMPv4 all have a length.
    let mut new = Message::compose(&mut buffer, ipv4::HEADER_LEN, &kind, &quote, Some(4))?;
    if let Some(octets) = new.length_octets {
        new.put_length(5, octets / 4)?;
    }
    let change = L4Change {
        l4: inner.l4,
        proto: inner.proto,
        ports: (embedded.sport, embedded.dport),
        addresses: upper::addresses(
            Sum::new().u128(inner.src).u128(inner.dst),
            Sum::new().u32(embedded.src).u32(embedded.dst),
        ),
        pseudo: Delta::new().remove(pseudo_v6(
            inner.src,
            inner.dst,
            ipv4::ICMPV6,
            u32::from(upper_len),
        )),
    };
    change.apply(new.quoted_l4(), echo_to_four, icmp6::is_error)?;

    let sum = checksum(new.upper());
    let outer = Header4 {
        tos: if options.copy_traffic_class {
            meta.traffic_class
        } else {
            0
        },
        total_len: new.upper_len().saturating_add(ipv4::HEADER_LEN as u16),
        place: Place::of6(meta),
        id,
        ttl: meta.hop_limit.saturating_sub(1),
        proto: ipv4::ICMP,
        src,
        dst,
    };
    new.finish(sum, &outer.octets())?;
    replace(packet, new.octets())
}

fn word_at_4(message: &[u8]) -> Result<u32, XlatError> {
    let word = message.get(4..).and_then(|m| m.first_chunk::<4>());
    Ok(u32::from_be_bytes(*word.ok_or(XlatError::Malformed)?))
}

fn class(octet: Option<&u8>, options: &Options) -> u8 {
    octet.copied().filter(|_| options.copy_traffic_class).unwrap_or(0)
}

/// The place of an embedded fragment of IPv4.
const fn place4(inner: &Embedded) -> Option<Place> {
    if inner.fragment_offset == 0 && !inner.more_fragments {
        return None;
    }
    Some(Place {
        offset: inner.fragment_offset,
        more: inner.more_fragments,
        id: inner.id as u32,
    })
}

/// The place of an embedded packet of IPv6 with a fragment header.
const fn place6(inner: &Embedded6) -> Option<Place> {
    match inner.fragment_header {
        0 => None,
        _ => Some(Place {
            offset: inner.fragment_offset,
            more: inner.more_fragments,
            id: inner.fragment_id,
        }),
    }
}

fn quoted(message: &[u8], from: u16, to: u16) -> &[u8] {
    message.get(usize::from(from)..usize::from(to)).unwrap_or(&[])
}

fn extensions(message: &[u8], has: bool, at: usize) -> &[u8] {
    message.get(at..).filter(|_| has).unwrap_or(&[])
}

/// What is to change in the embedded L4 header.
struct L4Change {
    l4: EmbeddedL4,
    proto: u8,
    ports: (u16, u16),
    addresses: Delta,
    /// The pseudo header that an embedded ICMP message gets or loses.
    pseudo: Delta,
}

impl L4Change {
    /// Changes it as far as it was quoted.
    fn apply(
        &self,
        l4: &mut [u8],
        echo: impl Fn(u8) -> Option<u8>,
        is_error: impl Fn(u8) -> bool,
    ) -> Result<(), XlatError> {
        // What was cut off needs no change: the results say no more than that.
        match self.l4 {
            EmbeddedL4::Tcp { .. } | EmbeddedL4::Udp { .. } => {
                let _quoted = upper::set_ports(l4, self.proto, self.ports, self.addresses);
            }
            EmbeddedL4::IcmpQuery { icmp_type, .. } => {
                let new = echo(icmp_type).ok_or(XlatError::IcmpType)?;
                let _quoted = upper::set_echo(l4, new, self.ports.0, self.pseudo);
            }
            EmbeddedL4::IcmpOther { icmp_type } if is_error(icmp_type) => {
                return Err(XlatError::DoublyEmbedded);
            }
            EmbeddedL4::IcmpOther { .. } => return Err(XlatError::IcmpType),
            EmbeddedL4::Other => {
                let _quoted = upper::pseudo_header_only(l4, self.proto, self.addresses);
            }
            // Cut off before the identifier: the type is not.
            EmbeddedL4::Truncated if matches!(self.proto, ipv4::ICMP | ipv4::ICMPV6) => {
                if let Some(first) = l4.first_mut() {
                    *first = echo(*first).ok_or(XlatError::IcmpType)?;
                }
            }
            EmbeddedL4::Truncated | EmbeddedL4::LaterFragment => {}
        }
        Ok(())
    }
}

/// Puts a packet in the place of another.
fn replace<P: Packet>(packet: &mut P, new: &[u8]) -> Result<(), XlatError> {
    let old_len = packet.l3().len();
    let octets = |n: usize| u16::try_from(n).map_err(|_| XlatError::NoRoom);
    // Cutting it, even at its end, also says whether all of it is here.
    if !packet.truncate(octets(old_len.min(new.len()))?)
        || !packet.grow_front(octets(new.len().saturating_sub(old_len))?)
    {
        return Err(XlatError::NoRoom);
    }
    copy(packet.l3_mut(), new).ok_or(XlatError::NoRoom)
}

#[cfg(test)]
mod tests;
