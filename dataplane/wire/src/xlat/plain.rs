//! The fast way between IPv4 and IPv6: a whole TCP or UDP packet with nothing between its IP header and its ports.
//!
//! ```text
//!   IPv6 40                                | ports ...          IPv4 20            | ports ...
//!   ^ front                                                     ^ front = front + 20
//! ```
//! One header is written over the other with wide stores; the L4 checksum takes the difference of the pseudo headers
//! (RFC 7915 sections 4.5 and 5.5), whose lengths and protocol numbers are the same. A wrong checksum stays wrong.

use crate::l4::{Fragment, Ipv4Meta};
use crate::meta6::Ipv6Meta;
use crate::packet::Packet;
use crate::rewrite::Endpoints;
use crate::xlat::Endpoints6;
use crate::{ipv4, ipv6, tcp, udp};

/// How much longer an IPv6 header is.
const DIFFERENCE: u16 = (ipv6::HEADER_LEN - ipv4::HEADER_LEN) as u16;
/// Translated packets up to this length may be fragmented by IPv4 routers: with an IPv6 header and a fragment header
/// they would be 1280 octets and more. RFC 7915 section 5.1.
pub(super) const DF_ABOVE: u16 = 1260;

/// Sum of 32-bit words, folded to 16 bits: 2^16 counts as 1.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    // Adding the halves crosswise leaves the end-around sum in the upper half.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// Two IPv6 addresses, added with end-around carries: what fits in 33 bits counts as much as all of them.
#[inline(always)]
const fn sum6(src: u128, dst: u128) -> u64 {
    let (sum, one) = ((src >> 64) as u64).overflowing_add(src as u64);
    let (sum, two) = sum.overflowing_add((dst >> 64) as u64);
    let (sum, three) = sum.overflowing_add(dst as u64);
    let (sum, last) = sum.overflowing_add(one as u64 + two as u64 + three as u64);
    // Every carry counts as 1, and so does what is above 32 bits.
    (sum >> 32) + (sum as u32) as u64 + last as u64
}

#[inline(always)]
const fn sum4(src: u32, dst: u32) -> u64 {
    src as u64 + dst as u64
}

/// What takes a word or a sum of up to 34 bits away from a checksum: its complement in three whole 16-bit words.
#[inline(always)]
const fn minus(sum: u64) -> u64 {
    0xffff_ffff_ffff - sum
}

#[inline(always)]
const fn ports(sport: u16, dport: u16) -> u32 {
    (sport as u32) << 16 | dport as u32
}

/// Where the checksum is in the L4 header; `None` for protocols other than TCP and UDP.
#[inline(always)]
const fn checksum_offset(proto: u8) -> Option<usize> {
    match proto {
        ipv4::TCP => Some(tcp::CHECKSUM_OFFSET),
        ipv4::UDP => Some(udp::CHECKSUM_OFFSET),
        _ => None,
    }
}

#[inline(always)]
fn checksum_at(l3: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*l3.get(at..)?.first_chunk::<2>()?))
}

/// The L4 checksum after a change: RFC 1624 equation 3, and a computed 0 of UDP is written as all ones (RFC 768).
#[inline(always)]
const fn moved(checksum: u16, change: u64, udp: bool) -> u16 {
    let new = !fold(change + (!checksum) as u64);
    if udp && new == 0 { 0xffff } else { new }
}

/// Makes an IPv4 packet of a whole TCP or UDP packet over IPv6 without extension headers, whose hop limit is above 1.
///
/// `traffic`: the traffic class is copied, else the type of service is 0. `id`: the identification; it counts for packets
/// of up to 1260 octets, which go without DF (RFC 7915 section 5.1). A UDP checksum of 0 stays 0.
/// `false`, and nothing changed, when it is another kind of packet or `meta` is not its parse.
#[inline(always)]
#[must_use]
pub fn six_to_four_plain<P: Packet>(
    packet: &mut P,
    meta: &Ipv6Meta,
    to: &Endpoints,
    traffic: bool,
    id: u16,
) -> bool {
    let Some(offset) = checksum_offset(meta.proto) else {
        return false;
    };
    let Some(old) = checksum_at(packet.l3(), ipv6::HEADER_LEN + offset) else {
        return false;
    };
    if meta.l4_offset != ipv6::HEADER_LEN as u16 || meta.total_len < meta.l4_offset {
        return false;
    }
    if !packet.shrink_front(DIFFERENCE) {
        return false;
    }
    let udp = meta.proto == ipv4::UDP;
    let addresses = sum4(to.src, to.dst);
    let new_ports = ports(to.sport, to.dport);
    let change = addresses
        + minus(sum6(meta.src, meta.dst))
        + u64::from(new_ports)
        + u64::from(!ports(meta.sport(), meta.dport()));
    let new = if udp && old == 0 {
        0
    } else {
        moved(old, change, udp)
    };

    let total_len = meta.total_len.wrapping_sub(DIFFERENCE);
    let tos = if traffic { meta.traffic_class } else { 0 };
    let flags = if total_len > DF_ABOVE { ipv4::FLAG_DF } else { 0 };
    let first = 0x4500_0000 | u32::from(tos) << 16 | u32::from(total_len);
    let second = u32::from(id) << 16 | u32::from(flags);
    let third = u16::from_be_bytes([meta.hop_limit.wrapping_sub(1), meta.proto]);
    let sum = !fold(addresses + u64::from(first) + u64::from(second) + u64::from(third));

    let l3 = packet.l3_mut();
    let Some(head) = l3.first_chunk_mut::<24>() else {
        return false;
    };
    let wide = [
        u64::from(first) << 32 | u64::from(second),
        u64::from(third) << 48 | u64::from(sum) << 32 | u64::from(to.src),
        u64::from(to.dst) << 32 | u64::from(new_ports),
    ];
    for (at, word) in head.as_chunks_mut::<8>().0.iter_mut().zip(wide) {
        *at = word.to_be_bytes();
    }
    put_checksum(l3, ipv4::HEADER_LEN + offset, new)
}

/// Makes an IPv6 packet of a whole TCP or UDP packet over IPv4 without options, whose time to live is above 1.
///
/// `traffic`: the type of service is copied, else the traffic class is 0. The flow label is 0 and there is no fragment
/// header (RFC 7915 section 4.1): the caller has seen that the packet need not be fragmented.
/// `false`, and nothing changed, when it is another kind of packet, has a UDP checksum of 0, there is no room before it,
/// or `meta` is not its parse.
#[inline(always)]
#[must_use]
pub fn four_to_six_plain<P: Packet>(packet: &mut P, meta: &Ipv4Meta, to: &Endpoints6, traffic: bool) -> bool {
    let Some(offset) = checksum_offset(meta.proto) else {
        return false;
    };
    let Some(old) = checksum_at(packet.l3(), ipv4::HEADER_LEN + offset) else {
        return false;
    };
    let udp = meta.proto == ipv4::UDP;
    let plain = meta.l4_offset == ipv4::HEADER_LEN as u16 && matches!(meta.fragment, Fragment::None);
    if !plain || meta.total_len < meta.l4_offset || (udp && old == 0) {
        return false;
    }
    if !packet.grow_front(DIFFERENCE) {
        return false;
    }
    let new_ports = ports(to.sport, to.dport);
    let change = sum6(to.src, to.dst)
        + minus(sum4(meta.src, meta.dst))
        + u64::from(new_ports)
        + u64::from(!ports(meta.sport(), meta.dport()));
    let new = moved(old, change, udp);

    let payload_len = meta.total_len.wrapping_sub(ipv4::HEADER_LEN as u16);
    let class = if traffic { meta.tos } else { 0 };
    let first = 6u64 << 60
        | u64::from(class) << 52
        | u64::from(payload_len) << 16
        | u64::from(meta.proto) << 8
        | u64::from(meta.ttl.wrapping_sub(1));
    let l3 = packet.l3_mut();
    let Some(head) = l3.first_chunk_mut::<44>() else {
        return false;
    };
    head[..8].copy_from_slice(&first.to_be_bytes());
    head[8..24].copy_from_slice(&to.src.to_be_bytes());
    head[24..40].copy_from_slice(&to.dst.to_be_bytes());
    head[40..].copy_from_slice(&new_ports.to_be_bytes());
    put_checksum(l3, ipv6::HEADER_LEN + offset, new)
}

#[inline(always)]
fn put_checksum(l3: &mut [u8], at: usize, checksum: u16) -> bool {
    match l3.get_mut(at..).and_then(|b| b.first_chunk_mut::<2>()) {
        Some(field) => {
            *field = checksum.to_be_bytes();
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests;
