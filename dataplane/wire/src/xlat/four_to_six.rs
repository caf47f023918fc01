//! From IPv4 to IPv6, the general way (RFC 7915 section 4): whatever [`super::four_to_six_plain`] does not take, but ICMP
//! errors.
//!
//! ```text
//!   IPv4 20 | options? | L4 ...   ->   IPv6 40 | fragment? | L4 ...
//! ```

use crate::checksum::{Delta, Sum, pseudo_v6};
use crate::field::{put_u16, u16_at};
use crate::l4::{Fragment, Ipv4Meta, L4};
use crate::packet::Packet;
use crate::rewrite6::Endpoints6;
use crate::{ipv4, udp};

use super::header::{Header6, Place, echo_to_six, proto_to_six, replace_front};
use super::{Options, XlatError, upper};

/// What section 4.1 asks of the headers before anything changes; the IPv6 number of the upper layer.
pub(super) fn check(l3: &[u8], meta: &Ipv4Meta) -> Result<u8, XlatError> {
    if meta.has_options() {
        let options = l3
            .get(ipv4::HEADER_LEN..usize::from(meta.l4_offset))
            .ok_or(XlatError::Malformed)?;
        if ipv4::has_unexpired_source_route(options).map_err(|_| XlatError::Malformed)? {
            return Err(XlatError::SourceRoute);
        }
    }
    let proto = proto_to_six(meta.proto).ok_or(XlatError::Protocol)?;
    if meta.fragment != Fragment::None && meta.proto == ipv4::ICMP {
        return Err(XlatError::FragmentedIcmp);
    }
    Ok(proto)
}

/// What has to be done to the upper layer, decided before anything changes.
enum Change {
    Ports,
    /// Compute the UDP checksum over so many octets.
    Compute(u16),
    Echo(u8),
    AddressesOnly,
    Nothing,
}

fn change(l4: &[u8], meta: &Ipv4Meta, options: &Options) -> Result<Change, XlatError> {
    Ok(match meta.l4 {
        L4::Udp { .. } if u16_at(l4, udp::CHECKSUM_OFFSET).ok_or(XlatError::Malformed)? == 0 => {
            if meta.fragment != Fragment::None || !options.compute_udp_checksum {
                return Err(XlatError::UdpNoChecksum);
            }
            let len = u16_at(l4, 4).ok_or(XlatError::Malformed)?;
            if usize::from(len) > l4.len() {
                // Parsed as whole, so the rest lies in another buffer.
                return Err(XlatError::NoRoom);
            }
            Change::Compute(len)
        }
        L4::Tcp { .. } | L4::Udp { .. } => Change::Ports,
        L4::IcmpQuery { icmp_type, .. } => Change::Echo(echo_to_six(icmp_type).ok_or(XlatError::IcmpType)?),
        L4::IcmpError { .. } | L4::IcmpOther { .. } => return Err(XlatError::IcmpType),
        L4::Other => Change::AddressesOnly,
        L4::LaterFragment => Change::Nothing,
    })
}

/// Whether [`four_to_six`] will translate a packet, as far as it can be seen beforehand. A caller that would have to make room
/// for the packet's flow first asks here.
///
/// # Errors
/// As [`four_to_six`].
pub fn check_packet(l3: &[u8], meta: &Ipv4Meta, options: &Options) -> Result<(), XlatError> {
    check(l3, meta)?;
    let end = usize::from(meta.total_len).min(l3.len());
    let l4 = l3.get(usize::from(meta.l4_offset)..end);
    change(l4.ok_or(XlatError::Malformed)?, meta, options)?;
    Ok(())
}

/// Makes an IPv6 packet of an IPv4 one whose time to live is above 1: TCP, UDP, echoes, other protocols as they are; whole
/// ones, first and later fragments. Options go; there is a fragment header exactly when it was a fragment, with its
/// identification in the low 16 bits. A packet without DF that is longer than the lowest MTU of the IPv6 network is the
/// caller's to fragment.
///
/// Later fragments get the addresses only.
///
/// # Errors
/// [`XlatError`]: `SourceRoute`, `UdpNoChecksum`, `FragmentedIcmp`, `IcmpType` (ICMP errors among them: see
/// [`super::icmp`]), `Protocol`, `NoRoom`, `Malformed`.
pub fn four_to_six<P: Packet>(
    packet: &mut P,
    meta: &Ipv4Meta,
    to: &Endpoints6,
    options: &Options,
) -> Result<(), XlatError> {
    let proto = check(packet.l3(), meta)?;
    let upper_len = meta
        .total_len
        .checked_sub(meta.l4_offset)
        .ok_or(XlatError::Malformed)?;
    let (at, end) = (usize::from(meta.l4_offset), usize::from(meta.total_len));
    let end = end.min(packet.l3().len());
    let l4 = packet.l3_mut().get_mut(at..end).ok_or(XlatError::Malformed)?;
    let change = change(l4, meta, options)?;
    let new = Sum::new().u128(to.src).u128(to.dst);
    let addresses = upper::addresses(Sum::new().u32(meta.src).u32(meta.dst), new);
    match change {
        Change::Ports => upper::set_ports(l4, meta.proto, (to.sport, to.dport), addresses),
        Change::Compute(len) => compute_udp(l4, len, to),
        Change::Echo(echo) => {
            let pseudo = pseudo_v6(to.src, to.dst, ipv4::ICMPV6, u32::from(upper_len));
            upper::set_echo(l4, echo, to.sport, Delta::new().add(pseudo))
        }
        Change::AddressesOnly => {
            // Too short for a checksum: nothing to fix.
            let _fixed = upper::pseudo_header_only(l4, meta.proto, addresses);
            Some(())
        }
        Change::Nothing => Some(()),
    }
    .ok_or(XlatError::Malformed)?;
    let header = Header6 {
        class: if options.copy_traffic_class { meta.tos } else { 0 },
        upper_len,
        place: Place::of4(meta),
        hop_limit: meta.ttl.saturating_sub(1),
        proto,
        src: to.src,
        dst: to.dst,
    };
    let octets = header.octets();
    let octets = octets.get(..header.len()).ok_or(XlatError::NoRoom)?;
    replace_front(packet, meta.l4_offset, octets)
}

/// Ports and the checksum of a UDP datagram that had none, over its `len` octets. RFC 7915 section 4.5.
fn compute_udp(l4: &mut [u8], len: u16, to: &Endpoints6) -> Option<()> {
    let datagram = l4.get_mut(..usize::from(len))?;
    let ports = u32::from(to.sport) << 16 | u32::from(to.dport);
    *datagram.first_chunk_mut::<4>()? = ports.to_be_bytes();
    let sum = pseudo_v6(to.src, to.dst, ipv4::UDP, u32::from(len))
        .slice(datagram)
        .finish_udp();
    put_u16(datagram, udp::CHECKSUM_OFFSET, sum)
}
