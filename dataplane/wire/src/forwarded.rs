//! Packets that one chassis of a pair forwards to the other over the HA data link: in UDP, with a header of our own before them.
//!
//! ```text
//!  0               8               16              24            31
//!  +---------------+---------------+---------------+---------------+
//!  | version = 1   | hops=1 | side | redundancy set| 0             |     side 0: inside, 1: outside
//!  +---------------+---------------+---------------+---------------+
//!  | service set: FNV-1a of its name                               |
//!  +---------------------------------------------------------------+
//!  | the packet, from its IP header on
//! ```
//!
//! Over IPv4 the UDP checksum is 0: the packet has checksums of its own. Over IPv6 there is one, because it must be (RFC 8200
//! section 8.1). The IP header has DF (RFC 6864: no identification is needed then) and the packet's DSCP without ECN (RFC 6040
//! section 4.1, compatibility mode).

use std::net::IpAddr;

use crate::checksum::pseudo_v6;
use crate::{Ipv4Mut, ethernet, ipv4, ipv6, udp};

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
/// Octets of the header.
pub const HEADER_LEN: usize = 8;
/// Most octets that forwarding puts before a packet: with IPv6.
pub const OVERHEAD_MAX: u16 = overhead(false);
/// Hops of a packet on the link: it is forwarded once.
const HOPS: u8 = 1;
const TTL: u8 = 64;
/// Source ports begin here, so that who spreads packets by ports spreads these. RFC 6335 section 6: dynamic ports.
const SOURCE_PORTS: u16 = 49_152;

/// Octets before a packet, of an IPv4 or an IPv6 link.
#[must_use]
pub const fn overhead(is_ipv4: bool) -> u16 {
    (if is_ipv4 {
        ipv4::HEADER_LEN
    } else {
        ipv6::HEADER_LEN
    } + udp::HEADER_LEN
        + HEADER_LEN) as u16
}

/// The two ends of the link, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// This chassis' address.
    pub local: IpAddr,
    /// The other chassis' address.
    pub peer: IpAddr,
    /// UDP port on both.
    pub port: u16,
}

/// What is said of a forwarded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// It came from outside.
    pub outside: bool,
    /// Number of the redundancy set, 1..=128.
    pub redundancy_set: u8,
    /// FNV-1a of the service set's name: [`name_key`].
    pub service_set: u32,
}

/// What a service set is called on the link: 32 bits of its name (FNV-1a), which both chassis have alike whatever else is in their
/// configurations.
#[must_use]
pub const fn name_key(name: &str) -> u32 {
    let (mut key, mut at) = (0x811c_9dc5_u32, 0);
    let octets = name.as_bytes();
    while at < octets.len() {
        key = (key ^ octets[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    key
}

/// Writes the headers into the first octets of `out`, behind which the packet stands already. `flow` is the same for all packets
/// that shall stay in order. `None`, and `out` in an undefined state, when that is too short or too long, or `way` of two families.
#[must_use]
pub fn write(way: &Way, header: &Header, flow: u32, out: &mut [u8]) -> Option<()> {
    let total = u16::try_from(out.len()).ok()?;
    let before = usize::from(overhead(way.local.is_ipv4()));
    let class = traffic_class(out.get(before..)?)? & 0xfc;
    let (ip, rest) = out.split_at_mut_checked(before - udp::HEADER_LEN - HEADER_LEN)?;
    let length = u16::try_from(rest.len()).ok()?;
    match (way.local, way.peer) {
        (IpAddr::V4(local), IpAddr::V4(peer)) => {
            let head: &mut [u8; ipv4::HEADER_LEN] = ip.first_chunk_mut()?;
            *head = [0; ipv4::HEADER_LEN];
            (head[0], head[1]) = (0x45, class);
            head[2..4].copy_from_slice(&total.to_be_bytes());
            (head[6], head[8], head[9]) = (0x40, TTL, ipv4::UDP);
            head[12..16].copy_from_slice(&local.octets());
            head[16..20].copy_from_slice(&peer.octets());
        }
        (IpAddr::V6(local), IpAddr::V6(peer)) => {
            let head: &mut [u8; ipv6::HEADER_LEN] = ip.first_chunk_mut()?;
            *head = [0; ipv6::HEADER_LEN];
            (head[0], head[1]) = (0x60 | class >> 4, class << 4);
            head[4..6].copy_from_slice(&length.to_be_bytes());
            (head[6], head[7]) = (ipv4::UDP, TTL);
            head[8..24].copy_from_slice(&local.octets());
            head[24..40].copy_from_slice(&peer.octets());
        }
        _ => return None,
    }
    let source = SOURCE_PORTS | ((flow ^ flow >> 16) as u16 & 0x3fff);
    let [s0, s1] = source.to_be_bytes();
    let [p0, p1] = way.port.to_be_bytes();
    let [l0, l1] = length.to_be_bytes();
    let [k0, k1, k2, k3] = header.service_set.to_be_bytes();
    let side = HOPS << 4 | u8::from(header.outside);
    let ours = [
        s0,
        s1,
        p0,
        p1,
        l0,
        l1,
        0,
        0,
        VERSION,
        side,
        header.redundancy_set,
        0,
        k0,
        k1,
        k2,
        k3,
    ];
    *rest.first_chunk_mut::<{ udp::HEADER_LEN + HEADER_LEN }>()? = ours;
    if let (IpAddr::V6(local), IpAddr::V6(peer)) = (way.local, way.peer) {
        let sum = pseudo_v6(local.to_bits(), peer.to_bits(), ipv4::UDP, u32::from(length));
        let sum = sum.slice(rest).finish_udp();
        rest.get_mut(udp::CHECKSUM_OFFSET..udp::HEADER_LEN)?
            .copy_from_slice(&sum.to_be_bytes());
    } else {
        Ipv4Mut::new_checked(out).ok()?.fill_checksum();
    }
    Some(())
}

/// The octet of a packet that has its DSCP and ECN.
fn traffic_class(l3: &[u8]) -> Option<u8> {
    match l3.first()? >> 4 {
        6 => Some(l3.first()? << 4 | l3.get(1)? >> 4),
        _ => l3.get(1).copied(),
    }
}

/// What the header says, of a datagram from its UDP header on, and the ethertype of the packet behind it. `None`: another version,
/// or it contradicts itself.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<(Header, u16)> {
    let udp = udp::Udp::new_checked(datagram).ok()?;
    let payload = udp.payload();
    if usize::from(udp.len()) != datagram.len() {
        return None;
    }
    let (head, packet) = payload.split_first_chunk::<HEADER_LEN>()?;
    let [version, side, redundancy_set, zero, k0, k1, k2, k3] = *head;
    if version != VERSION || side >> 4 != HOPS || side & 0xe != 0 || zero != 0 {
        return None;
    }
    let ethertype = match packet.first()? >> 4 {
        4 => ethernet::IPV4,
        6 => ethernet::IPV6,
        _ => return None,
    };
    let header = Header {
        outside: side & 1 != 0,
        redundancy_set,
        service_set: u32::from_be_bytes([k0, k1, k2, k3]),
    };
    Some((header, ethertype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::PacketBuilder;
    use crate::{parse_ipv4, parse_ipv6};

    const HEADER: Header = Header {
        outside: true,
        redundancy_set: 128,
        service_set: 0x1234_5678,
    };

    fn way(local: &str, peer: &str) -> Way {
        let address = |text: &str| text.parse().expect("an address");
        Way {
            local: address(local),
            peer: address(peer),
            port: 4794,
        }
    }

    fn wrapped(way: &Way) -> Option<(Vec<u8>, Vec<u8>)> {
        let builder = PacketBuilder::udp(1, 2, 3, 4).data(b"hello");
        let mut packet = vec![0; builder.len()];
        builder.write(&mut packet)?;
        packet[1] = 0xbb;
        let mut out = vec![0xee; usize::from(overhead(way.local.is_ipv4()))];
        out.extend(&packet);
        write(way, &HEADER, 0xdead_beef, &mut out)?;
        Some((out, packet))
    }

    #[test]
    fn what_is_written_is_read_over_both_families() {
        for link in [way("10.9.9.1", "10.9.9.2"), way("fd00::1", "fd00::2")] {
            let (out, packet) = wrapped(&link).expect("written");
            let before = usize::from(overhead(link.local.is_ipv4()));
            assert_eq!(out[before..], packet, "the packet is as it was");
            let l4 = before - 16;
            assert_eq!(read(&out[l4..]), Some((HEADER, ethernet::IPV4)));
            assert_eq!(out[l4 + 2..l4 + 4], 4794u16.to_be_bytes());
            assert!(u16::from_be_bytes([out[l4], out[l4 + 1]]) >= SOURCE_PORTS);
            if link.local.is_ipv4() {
                let meta = parse_ipv4(&out).expect("right, with its checksum");
                assert_eq!(
                    (meta.src, meta.dst, meta.total_len),
                    (0x0a09_0901, 0x0a09_0902, out.len() as u16)
                );
                assert!(meta.dont_fragment && meta.tos == 0xb8, "DSCP without ECN");
                assert!(crate::l4::parse_ipv4_verified(&out).is_ok());
            } else {
                let meta = parse_ipv6(&out).expect("right");
                let sum = pseudo_v6(meta.src, meta.dst, ipv4::UDP, out.len() as u32 - 40);
                assert!(sum.slice(&out[40..]).is_valid());
                assert_eq!(meta.dst & 0xff, 2);
                assert_eq!(meta.traffic_class, 0xb8);
            }
        }
        assert_eq!(wrapped(&way("10.9.9.1", "fd00::2")), None, "two families");
        assert_eq!(
            write(&way("10.9.9.1", "10.9.9.2"), &HEADER, 0, &mut [0; 36]),
            None,
            "no packet"
        );
    }

    #[test]
    fn what_contradicts_itself_is_not_read() {
        let (out, _) = wrapped(&way("10.9.9.1", "10.9.9.2")).expect("written");
        let good = &out[20..];
        assert!(read(good).is_some());
        // Version, a second hop, a bit of the side without meaning, the octet that is zero, the packet's version.
        for (at, value) in [(8, 2), (9, 0x21), (9, 0x13), (11, 1), (16, 0x55)] {
            let mut bad = good.to_vec();
            bad[at] = value;
            assert_eq!(read(&bad), None, "octet {at} is {value:#x}");
        }
        for cut in 0..good.len() {
            assert_eq!(read(&good[..cut]), None, "cut to {cut}");
        }
        let mut longer = good.to_vec();
        longer.push(0);
        assert_eq!(read(&longer), None, "octets that nobody counts");
    }

    #[test]
    fn the_key_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv, appendix C.
        assert_eq!(name_key(""), 0x811c_9dc5);
        assert_eq!(name_key("a"), 0xe40c_292c);
        assert_eq!(name_key("foobar"), 0xbf9c_f968);
    }
}
