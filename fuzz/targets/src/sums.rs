//! Checksums counted the slow way, so that they share nothing with the code under test: sums modulo 0xffff. What a
//! translator adds to a sum it takes away again, so the remainder over pseudo header and upper layer stays, be the checksum
//! right or wrong, whole or a part of it: that says more than "right stays right".

use tandem_wire::{Ipv4Meta, Ipv6Meta, L4, ipv4};

/// Sum of the 16-bit words, modulo 0xffff; an odd octet at the end is padded with zero.
pub fn remainder(octets: &[u8]) -> u64 {
    let words = octets
        .chunks(2)
        .map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    words.sum::<u64>() % 0xffff
}

/// Octets of an upper layer that its pseudo header tells, as its own header says: of UDP it may end before the packet.
fn told(l4: &L4, upper: &[u8]) -> usize {
    match l4 {
        L4::Udp { .. } if upper.len() >= 6 => usize::from(u16::from_be_bytes([upper[4], upper[5]])),
        _ => upper.len(),
    }
}

/// The remainder over pseudo header and upper layer of an IPv4 packet, as far as it is there.
pub fn remainder4(packet: &[u8], meta: &Ipv4Meta) -> u64 {
    let upper = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    let told = told(&meta.l4, upper);
    let part = remainder(&upper[..told.min(upper.len())]);
    if meta.proto == ipv4::ICMP {
        return part;
    }
    (remainder(&packet[12..20]) + u64::from(meta.proto) + told as u64 + part) % 0xffff
}

/// The same of an IPv6 packet.
pub fn remainder6(packet: &[u8], meta: &Ipv6Meta) -> u64 {
    let upper = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    let told = told(&meta.l4, upper);
    let part = remainder(&upper[..told.min(upper.len())]);
    (remainder(&packet[8..40]) + u64::from(meta.proto) + told as u64 + part) % 0xffff
}

/// Where the checksum of an upper layer stands that covers its addresses; `None`: there is none we know of.
pub fn checksum_at(proto: u8) -> Option<usize> {
    match proto {
        ipv4::TCP => Some(16),
        ipv4::UDP | ipv4::UDPLITE | ipv4::DCCP => Some(6),
        ipv4::ICMP | ipv4::ICMPV6 => Some(2),
        _ => None,
    }
}

/// Makes the checksums of an IPv4 packet right: it is not left to chance.
pub fn mend4(packet: &mut [u8], meta: &Ipv4Meta) {
    let (at, end) = (usize::from(meta.l4_offset), usize::from(meta.total_len));
    packet[10..12].fill(0);
    let header = !(remainder(&packet[..at]) as u16);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    if let Some(sum) = checksum_at(meta.proto)
        && end - at >= sum + 2
        && !matches!(meta.l4, L4::LaterFragment)
    {
        packet[at + sum..at + sum + 2].fill(0);
        let right = !(remainder4(packet, meta) as u16);
        packet[at + sum..at + sum + 2].copy_from_slice(&right.to_be_bytes());
    }
}

/// The same of an IPv6 packet.
pub fn mend6(packet: &mut [u8], meta: &Ipv6Meta) {
    let (at, end) = (usize::from(meta.l4_offset), usize::from(meta.total_len));
    if let Some(sum) = checksum_at(meta.proto)
        && end - at >= sum + 2
        && !matches!(meta.l4, L4::LaterFragment)
    {
        packet[at + sum..at + sum + 2].fill(0);
        let right = !(remainder6(packet, meta) as u16);
        packet[at + sum..at + sum + 2].copy_from_slice(&right.to_be_bytes());
    }
}

/// Whether an upper layer has its checksum: the protocol has one, the octets reach to it, and it is not the 0 that says
/// "none" in UDP and is always wrong in UDP-Lite (RFC 3828 section 3.1): that stays.
pub fn has_checksum(proto: u8, upper: &[u8]) -> bool {
    checksum_at(proto).is_some_and(|at| match upper.get(at..at + 2) {
        Some(sum) => sum != [0, 0] || !matches!(proto, ipv4::UDP | ipv4::UDPLITE),
        None => false,
    })
}
