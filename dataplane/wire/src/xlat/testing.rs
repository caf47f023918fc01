//! Packets of both families from parts, and their checksums from scratch, for the tests of this folder.

use crate::checksum::{Sum, checksum, pseudo_v4, pseudo_v6};
use crate::meta6::Ipv6Meta;
use crate::{icmp, ipv4};

/// A TCP segment or UDP datagram without checksum.
pub fn l4(proto: u8, sport: u16, dport: u16, data: &[u8]) -> Vec<u8> {
    let mut l4 = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    match proto {
        ipv4::TCP => l4.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]),
        _ => {
            l4.extend_from_slice(&(8 + data.len() as u16).to_be_bytes());
            l4.extend_from_slice(&[0, 0]);
        }
    }
    l4.extend_from_slice(data);
    l4
}

/// Where the checksum of an upper layer is; `None` when it has none that we know.
pub fn checksum_at(proto: u8) -> Option<usize> {
    match proto {
        ipv4::TCP => Some(16),
        ipv4::UDP | ipv4::UDPLITE | ipv4::DCCP => Some(6),
        ipv4::ICMP | ipv4::ICMPV6 => Some(2),
        _ => None,
    }
}

/// Writes the checksum of a whole upper layer over its pseudo header.
fn fill(proto: u8, l4: &mut [u8], pseudo: Sum) {
    let Some(at) = checksum_at(proto) else { return };
    l4[at..at + 2].fill(0);
    let sum = match proto {
        ipv4::UDP | ipv4::UDPLITE => pseudo.slice(l4).finish_udp(),
        _ => pseudo.slice(l4).finish(),
    };
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Fills in the checksum of an upper layer for IPv4.
pub fn fill4(src: u32, dst: u32, proto: u8, l4: &mut [u8]) {
    let pseudo = match proto {
        ipv4::ICMP => Sum::new(),
        _ => pseudo_v4(src, dst, proto, l4.len() as u16),
    };
    fill(proto, l4, pseudo);
}

/// Fills in the checksum of an upper layer for IPv6.
pub fn fill6(src: u128, dst: u128, proto: u8, l4: &mut [u8]) {
    fill(proto, l4, pseudo_v6(src, dst, proto, l4.len() as u32));
}

/// The fixed fields of an IPv4 header.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head4 {
    pub tos: u8,
    pub id: u16,
    pub flags: u16,
    pub ttl: u8,
    pub src: u32,
    pub dst: u32,
}

/// An IPv4 packet around an upper layer as it is.
pub fn packet4(head: Head4, proto: u8, options: &[u8], l4: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut p = vec![0x40 | (header / 4) as u8, head.tos];
    p.extend_from_slice(&((header + l4.len()) as u16).to_be_bytes());
    p.extend_from_slice(&head.id.to_be_bytes());
    p.extend_from_slice(&head.flags.to_be_bytes());
    p.extend_from_slice(&[head.ttl, proto, 0, 0]);
    p.extend_from_slice(&head.src.to_be_bytes());
    p.extend_from_slice(&head.dst.to_be_bytes());
    p.extend_from_slice(options);
    let sum = checksum(&p);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.extend_from_slice(l4);
    p
}

/// An IPv6 packet around extension headers and an upper layer as they are; `next` is the number of the first.
pub fn packet6(src: u128, dst: u128, class: u8, hops: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60 | class >> 4, class << 4, 0, 0];
    p.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    p.extend_from_slice(&[next, hops]);
    p.extend_from_slice(&src.to_be_bytes());
    p.extend_from_slice(&dst.to_be_bytes());
    p.extend_from_slice(payload);
    p
}

/// The parse of an IPv6 packet.
pub fn meta6(packet: &[u8]) -> Ipv6Meta {
    crate::parse_ipv6(packet).unwrap()
}

/// Whether the checksum of a whole packet's upper layer is right, from scratch. ICMPv4 has no pseudo header.
pub fn l4_is_valid(packet: &[u8]) -> bool {
    if packet[0] >> 4 == 4 {
        let ip = ipv4::Ipv4::new_checked(packet).unwrap();
        assert!(ip.verify_checksum());
        let sum = match ip.protocol() {
            ipv4::ICMP => Sum::new(),
            proto => pseudo_v4(ip.src(), ip.dst(), proto, ip.payload().len() as u16),
        };
        return sum.slice(ip.payload()).is_valid();
    }
    let meta = meta6(packet);
    let l4 = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    pseudo_v6(meta.src, meta.dst, meta.proto, l4.len() as u32)
        .slice(l4)
        .is_valid()
}

/// An ICMP message of either family, its checksum not filled in.
pub fn icmp(icmp_type: u8, code: u8, word: u32, data: &[u8]) -> Vec<u8> {
    let mut m = vec![icmp_type, code, 0, 0];
    m.extend_from_slice(&word.to_be_bytes());
    m.extend_from_slice(data);
    assert!(m.len() >= icmp::HEADER_LEN);
    m
}
