//! Translation in place for IPv6: new addresses and ports into a packet, with its L4 checksum; and the hop limit.
//!
//! An IPv6 header has no checksum, but every L4 checksum, ICMPv6's too, covers the addresses (RFC 8200, 8.1).

use crate::checksum::Delta;
use crate::field::{put_u16, u16_at};
use crate::l4::L4;
use crate::meta6::Ipv6Meta;
use crate::{icmp6, ipv4, ipv6, tcp, udp};

/// Octets from the start of an ICMPv6 message to its checksum.
const ICMP_CHECKSUM_OFFSET: usize = 2;
/// Octets from the start of an IPv6 header to its hop limit.
const HOP_LIMIT_OFFSET: usize = 7;

/// The addresses and ports a packet shall have, in host order; what stays is given as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints6 {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port; of an ICMPv6 echo its identifier.
    pub sport: u16,
    /// Destination port; of an ICMPv6 echo not looked at.
    pub dport: u16,
}

impl Endpoints6 {
    /// What a packet has now.
    #[inline(always)]
    #[must_use]
    pub const fn of(meta: &Ipv6Meta) -> Self {
        Self {
            src: meta.src,
            dst: meta.dst,
            sport: meta.sport(),
            dport: meta.dport(),
        }
    }
}

/// Gives a packet new addresses and ports and moves its L4 checksum along (RFC 1624).
///
/// `l3` starts at the IPv6 header and `meta` is its parse. Later fragments and protocols without ports get the addresses
/// only; the checksums of all ICMPv6 messages, of DCCP and of UDP-Lite move too; a UDP checksum of 0 stays 0. The embedded
/// packet of an ICMPv6 error is not touched: see [`crate::icmp6_error`].
/// Returns `false`, with `l3` in an undefined state, only when `meta` is not the parse of `l3`.
#[inline]
#[must_use]
pub fn rewrite_ipv6(l3: &mut [u8], meta: &Ipv6Meta, to: &Endpoints6) -> bool {
    rewrite(l3, meta, to, meta.hop_limit).is_some()
}

/// [`rewrite_ipv6`] and one off the hop limit. The caller has seen that `meta.hop_limit` is above 1; below that it wraps
/// nowhere but stays 0.
#[inline]
#[must_use]
pub fn forward_ipv6(l3: &mut [u8], meta: &Ipv6Meta, to: &Endpoints6) -> bool {
    rewrite(l3, meta, to, meta.hop_limit.saturating_sub(1)).is_some()
}

/// [`forward_ipv6`] for a packet that keeps its addresses and ports: one off the hop limit and nothing else.
///
/// `false`, and nothing changed, when `l3` is shorter than an IPv6 header.
#[inline(always)]
#[must_use]
pub fn forward_same_ipv6(l3: &mut [u8], meta: &Ipv6Meta) -> bool {
    let Some(head) = l3.first_chunk_mut::<{ ipv6::HEADER_LEN }>() else {
        return false;
    };
    head[HOP_LIMIT_OFFSET] = meta.hop_limit.saturating_sub(1);
    true
}

/// Takes one from the hop limit of the packet at `l3`. `false`, and nothing changed, when it is 0 or 1 or the packet is
/// shorter than an IPv6 header.
#[inline(always)]
#[must_use]
pub fn decrement_hop_limit(l3: &mut [u8]) -> bool {
    let Some(head) = l3.first_chunk_mut::<{ ipv6::HEADER_LEN }>() else {
        return false;
    };
    let left = head[HOP_LIMIT_OFFSET];
    if left <= 1 {
        return false;
    }
    head[HOP_LIMIT_OFFSET] = left - 1;
    true
}

#[inline(always)]
fn rewrite(l3: &mut [u8], meta: &Ipv6Meta, to: &Endpoints6, hop_limit: u8) -> Option<()> {
    let head = l3.first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
    head[HOP_LIMIT_OFFSET] = hop_limit;
    *head[8..].first_chunk_mut()? = to.src.to_be_bytes();
    *head[24..].first_chunk_mut()? = to.dst.to_be_bytes();
    let mut addresses = Delta::new().replace_u128(meta.src, to.src);
    // While segments are left, the pseudo header has the final destination, which is in the routing header.
    if meta.segments_left_at == 0 {
        addresses = addresses.replace_u128(meta.dst, to.dst);
    }

    let l4_at = usize::from(meta.l4_offset);
    match meta.l4 {
        L4::Tcp { sport, dport, .. } => {
            let head = l3.get_mut(l4_at..)?.first_chunk_mut::<{ tcp::HEADER_LEN }>()?;
            let delta = addresses
                .replace_u16(sport, to.sport)
                .replace_u16(dport, to.dport);
            [head[0], head[1]] = to.sport.to_be_bytes();
            [head[2], head[3]] = to.dport.to_be_bytes();
            let sum = delta.apply(u16::from_be_bytes([head[16], head[17]]));
            [head[16], head[17]] = sum.to_be_bytes();
        }
        L4::Udp { sport, dport } => {
            let head = l3.get_mut(l4_at..)?.first_chunk_mut::<{ udp::HEADER_LEN }>()?;
            let delta = addresses
                .replace_u16(sport, to.sport)
                .replace_u16(dport, to.dport);
            [head[0], head[1]] = to.sport.to_be_bytes();
            [head[2], head[3]] = to.dport.to_be_bytes();
            let sum = delta.apply_udp(u16::from_be_bytes([head[6], head[7]]));
            [head[6], head[7]] = sum.to_be_bytes();
        }
        L4::IcmpQuery { .. } => icmp6::set_query_id(l3.get_mut(l4_at..)?, to.sport, addresses)?,
        L4::IcmpError { .. } | L4::IcmpOther { .. } => {
            let sum = u16_at(l3, l4_at + ICMP_CHECKSUM_OFFSET)?;
            put_u16(l3, l4_at + ICMP_CHECKSUM_OFFSET, addresses.apply(sum))?;
        }
        L4::Other => pseudo_header_only(l3, meta, addresses),
        L4::LaterFragment => {}
    }
    Some(())
}

/// Protocols whose ports are not translated but whose checksum covers the addresses: DCCP (RFC 4340, 9.1) and
/// UDP-Lite (RFC 3828, 3.1), both at octet 6. A packet too short to have one has nothing to fix.
#[inline]
fn pseudo_header_only(l3: &mut [u8], meta: &Ipv6Meta, addresses: Delta) {
    if matches!(meta.proto, ipv4::DCCP | ipv4::UDPLITE) && meta.payload_len() >= 8 {
        let at = usize::from(meta.l4_offset) + udp::CHECKSUM_OFFSET;
        if let Some(sum) = u16_at(l3, at) {
            let fixed = if meta.proto == ipv4::UDPLITE {
                addresses.apply_udp(sum)
            } else {
                addresses.apply(sum)
            };
            let _written = put_u16(l3, at, fixed);
        }
    }
}

#[cfg(test)]
mod tests;
