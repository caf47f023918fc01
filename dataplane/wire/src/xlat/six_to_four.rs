//! From IPv6 to IPv4, the general way (RFC 7915 section 5): whatever [`super::six_to_four_plain`] does not take, but ICMP
//! errors.
//!
//! ```text
//!   IPv6 40 | hop-by-hop, routing, destination? | fragment? | L4 ...   ->   IPv4 20 | L4 ...
//! ```

use crate::checksum::{Delta, Sum, pseudo_v6};
use crate::l4::{Fragment, L4};
use crate::meta6::Ipv6Meta;
use crate::packet::Packet;
use crate::rewrite::Endpoints;
use crate::{ipv4, ipv6};

use super::header::{Header4, Place, echo_to_four, proto_to_four, replace_front};
use super::{Options, XlatError, upper};

/// What section 5.1 asks of the headers before anything changes; the IPv4 protocol number. A caller that would have to make
/// room for the packet's flow first asks here whether it will be translated at all.
///
/// # Errors
/// [`XlatError`]: `SegmentsLeft`, `FragmentedIcmp`, `Protocol`, `ExtensionInFragment`.
pub fn check(meta: &Ipv6Meta) -> Result<u8, XlatError> {
    if meta.segments_left_at != 0 {
        return Err(XlatError::SegmentsLeft {
            pointer: meta.segments_left_at,
        });
    }
    let proto = proto_to_four(meta.proto).ok_or(XlatError::Protocol)?;
    if meta.fragment != Fragment::None && meta.proto == ipv4::ICMPV6 {
        return Err(XlatError::FragmentedIcmp);
    }
    let behind = meta.fragment_header.saturating_add(ipv6::FRAGMENT_LEN as u16);
    if meta.fragment == Fragment::First && meta.l4_offset != behind {
        return Err(XlatError::ExtensionInFragment);
    }
    let end = u32::from(meta.fragment_offset) + u32::from(meta.payload_len()) + ipv4::HEADER_LEN as u32;
    if end > u32::from(u16::MAX) {
        return Err(XlatError::FragmentEnd);
    }
    Ok(proto)
}

/// Makes an IPv4 packet of an IPv6 one whose hop limit is above 1: TCP, UDP, echoes, other protocols as they are; whole ones,
/// atomic fragments (RFC 6946), first and later fragments. Extension headers go, the low 16 bits of a fragment's
/// identification stay; `id` is the identification of a packet without fragment header.
///
/// Later fragments get the addresses only. A UDP checksum of 0 stays 0.
///
/// # Errors
/// [`XlatError`]: `SegmentsLeft`, `FragmentedIcmp`, `IcmpType` (ICMP errors among them: see [`super::icmp`]), `Protocol`,
/// `ExtensionInFragment`, `FragmentEnd`, `NoRoom`, `Malformed`.
pub fn six_to_four<P: Packet>(
    packet: &mut P,
    meta: &Ipv6Meta,
    to: &Endpoints,
    options: &Options,
    id: u16,
) -> Result<(), XlatError> {
    let proto = check(meta)?;
    let (at, end) = (usize::from(meta.l4_offset), usize::from(meta.total_len));
    let upper_len = meta
        .total_len
        .checked_sub(meta.l4_offset)
        .ok_or(XlatError::Malformed)?;
    let addresses = upper::addresses(
        Sum::new().u128(meta.src).u128(meta.dst),
        Sum::new().u32(to.src).u32(to.dst),
    );
    let echo = match meta.l4 {
        L4::IcmpQuery { icmp_type, .. } => Some(echo_to_four(icmp_type).ok_or(XlatError::IcmpType)?),
        L4::IcmpError { .. } | L4::IcmpOther { .. } => return Err(XlatError::IcmpType),
        L4::Tcp { .. } | L4::Udp { .. } | L4::Other | L4::LaterFragment => None,
    };
    // Of a chained packet the tail is elsewhere; headers are not.
    let end = end.min(packet.l3().len());
    let l4 = packet.l3_mut().get_mut(at..end).ok_or(XlatError::Malformed)?;
    match meta.l4 {
        L4::Tcp { .. } | L4::Udp { .. } => upper::set_ports(l4, meta.proto, (to.sport, to.dport), addresses),
        L4::IcmpQuery { .. } => {
            let pseudo = pseudo_v6(meta.src, meta.dst, ipv4::ICMPV6, u32::from(upper_len));
            echo.and_then(|echo| upper::set_echo(l4, echo, to.sport, Delta::new().remove(pseudo)))
        }
        L4::Other => {
            // Too short for a checksum: nothing to fix.
            let _fixed = upper::pseudo_header_only(l4, meta.proto, addresses);
            Some(())
        }
        L4::IcmpError { .. } | L4::IcmpOther { .. } | L4::LaterFragment => Some(()),
    }
    .ok_or(XlatError::Malformed)?;
    let header = Header4 {
        tos: if options.copy_traffic_class {
            meta.traffic_class
        } else {
            0
        },
        total_len: upper_len.saturating_add(ipv4::HEADER_LEN as u16),
        place: Place::of6(meta),
        id,
        ttl: meta.hop_limit.saturating_sub(1),
        proto,
        src: to.src,
        dst: to.dst,
    };
    replace_front(packet, meta.l4_offset, &header.octets())
}
