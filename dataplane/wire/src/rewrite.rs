//! Translation in place: new addresses and ports into a packet, with its header and L4 checksums.
//!
//! One [`Delta`] covers the addresses for the header checksum, and the same plus the ports for the L4 one.

use crate::checksum::Delta;
use crate::field::{put_u16, u16_at};
use crate::l4::{Ipv4Meta, L4};
use crate::{icmp, ipv4, tcp, udp};

/// The addresses and ports a packet shall have, in host order; what stays is given as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port; of an ICMP query its identifier.
    pub sport: u16,
    /// Destination port; of an ICMP query not looked at.
    pub dport: u16,
}

impl Endpoints {
    /// What a packet has now.
    #[inline(always)]
    #[must_use]
    pub const fn of(meta: &Ipv4Meta) -> Self {
        Self {
            src: meta.src,
            dst: meta.dst,
            sport: meta.sport(),
            dport: meta.dport(),
        }
    }
}

/// Gives a packet new addresses and ports and moves its checksums along (RFC 1624).
///
/// `l3` starts at the IPv4 header and `meta` is its parse. Later fragments and protocols without ports get the
/// addresses only; of DCCP and UDP-Lite the L4 checksum moves too (their pseudo header holds the addresses); a UDP
/// checksum of 0 stays 0. The embedded packet of an ICMP error is not touched: see [`crate::icmp_error`].
/// Returns `false`, with `l3` in an undefined state, only when `meta` is not the parse of `l3`.
#[inline]
#[must_use]
pub fn rewrite_ipv4(l3: &mut [u8], meta: &Ipv4Meta, to: &Endpoints) -> bool {
    rewrite::<false>(l3, meta, to).is_some()
}

/// [`rewrite_ipv4`] and one off the time to live, in the same pass over the header. The caller has seen that
/// `meta.ttl` is above 1; below that it wraps nowhere but stays 0.
#[inline]
#[must_use]
pub fn forward_ipv4(l3: &mut [u8], meta: &Ipv4Meta, to: &Endpoints) -> bool {
    rewrite::<true>(l3, meta, to).is_some()
}

#[inline(always)]
fn rewrite<const TTL: bool>(l3: &mut [u8], meta: &Ipv4Meta, to: &Endpoints) -> Option<()> {
    let head = l3.first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    let addresses = Delta::new()
        .replace_u32(meta.src, to.src)
        .replace_u32(meta.dst, to.dst);
    let mut header = addresses;
    if TTL {
        let ttl = meta.ttl.saturating_sub(1);
        header = header.replace_u16(
            u16::from_be_bytes([meta.ttl, meta.proto]),
            u16::from_be_bytes([ttl, meta.proto]),
        );
        head[8] = ttl;
    }
    let sum = header.apply(u16::from_be_bytes([head[10], head[11]]));
    [head[10], head[11]] = sum.to_be_bytes();
    [head[12], head[13], head[14], head[15]] = to.src.to_be_bytes();
    [head[16], head[17], head[18], head[19]] = to.dst.to_be_bytes();

    match meta.l4 {
        L4::Tcp { sport, dport, .. } => {
            let head = l3
                .get_mut(usize::from(meta.l4_offset)..)?
                .first_chunk_mut::<{ tcp::HEADER_LEN }>()?;
            let delta = addresses
                .replace_u16(sport, to.sport)
                .replace_u16(dport, to.dport);
            [head[0], head[1]] = to.sport.to_be_bytes();
            [head[2], head[3]] = to.dport.to_be_bytes();
            let sum = delta.apply(u16::from_be_bytes([head[16], head[17]]));
            [head[16], head[17]] = sum.to_be_bytes();
        }
        L4::Udp { sport, dport } => {
            let head = l3
                .get_mut(usize::from(meta.l4_offset)..)?
                .first_chunk_mut::<{ udp::HEADER_LEN }>()?;
            let delta = addresses
                .replace_u16(sport, to.sport)
                .replace_u16(dport, to.dport);
            [head[0], head[1]] = to.sport.to_be_bytes();
            [head[2], head[3]] = to.dport.to_be_bytes();
            let sum = delta.apply_udp(u16::from_be_bytes([head[6], head[7]]));
            [head[6], head[7]] = sum.to_be_bytes();
        }
        L4::IcmpQuery { .. } => {
            let message = l3.get_mut(usize::from(meta.l4_offset)..usize::from(meta.total_len))?;
            icmp::set_query_id(message, to.sport)?;
        }
        L4::Other => pseudo_header_only(l3, meta, addresses),
        L4::IcmpError { .. } | L4::IcmpOther { .. } | L4::LaterFragment => {}
    }
    Some(())
}

/// Protocols whose ports are not translated but whose checksum covers the addresses: DCCP (RFC 4340, 9.1) and
/// UDP-Lite (RFC 3828, 3.1), both at octet 6. A packet too short to have one has nothing to fix.
#[inline]
fn pseudo_header_only(l3: &mut [u8], meta: &Ipv4Meta, addresses: Delta) {
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
