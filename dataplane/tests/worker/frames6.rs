//! IPv6 frames for tests, and what can be seen of them, with every checksum verified.

use tandem_wire::build::PacketBuilder6;
use tandem_wire::checksum::pseudo_v6;
use tandem_wire::ethernet::{self, Mac, Tag};
use tandem_wire::parse6::parse_ipv6;
use tandem_wire::{Fragment, Ipv6Meta, icmp6_error, ipv4, tcp};

use crate::frames::{ethertype, open};
use crate::plan::{host_mac, mac};

/// An address and a port (or echo identifier).
pub type End6 = (u128, u16);

fn write(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut frame = vec![0; builder.len()];
    assert_eq!(builder.write(&mut frame), Some(frame.len()));
    frame
}

/// A packet to our MAC on a port, from some host.
pub fn frame6(port: u8, packet: PacketBuilder6<'_>) -> Vec<u8> {
    write(&packet.ethernet(Mac(mac(port)), Mac(host_mac(1))))
}

/// The same with a VLAN tag.
pub fn tagged6(port: u8, vlan: u16, packet: PacketBuilder6<'_>) -> Vec<u8> {
    let tags = [Tag {
        tpid: ethernet::VLAN,
        tci: vlan,
    }];
    write(&packet.ethernet(Mac(mac(port)), Mac(host_mac(1))).tags(&tags))
}

/// A UDP datagram with a few octets.
pub fn udp6(src: End6, dst: End6) -> PacketBuilder6<'static> {
    PacketBuilder6::udp(src.0, src.1, dst.0, dst.1).data(b"tandem")
}

/// A SYN.
pub fn syn6(src: End6, dst: End6) -> PacketBuilder6<'static> {
    PacketBuilder6::tcp(src.0, src.1, dst.0, dst.1, tcp::SYN)
}

/// The IPv6 packet of a frame that left, and its parse; checksums and the ethertype are right.
pub fn packet6(frame: &[u8]) -> (&[u8], Ipv6Meta) {
    assert_eq!(ethertype(frame), ethernet::IPV6, "the ethertype says IPv6");
    let packet = open(frame).2;
    let meta = parse_ipv6(packet).expect("a well-formed packet");
    assert_eq!(usize::from(meta.total_len), packet.len());
    assert!(checksum_is_right(packet, &meta), "{packet:02x?}");
    (packet, meta)
}

/// Ends of the packet in a frame, all checksums verified.
pub fn ends6(frame: &[u8]) -> (End6, End6) {
    let (_, meta) = packet6(frame);
    ((meta.src, meta.sport()), (meta.dst, meta.dport()))
}

/// Whether the upper layer's checksum is right; fragments have none of their own.
pub fn checksum_is_right(packet: &[u8], meta: &Ipv6Meta) -> bool {
    if meta.fragment != Fragment::None {
        return true;
    }
    let l4 = &packet[usize::from(meta.l4_offset)..];
    !matches!(meta.proto, ipv4::UDP | ipv4::TCP | ipv4::ICMPV6)
        || pseudo_v6(meta.src, meta.dst, meta.proto, l4.len() as u32)
            .slice(l4)
            .is_valid()
}

/// An ICMPv6 error as its receiver sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Error6 {
    pub from: u128,
    pub to: u128,
    pub kind: (u8, u8),
    /// MTU or pointer.
    pub word: u32,
    pub about: (End6, End6),
}

/// The ICMPv6 error in a frame.
pub fn error6(frame: &[u8]) -> Error6 {
    let (packet, meta) = packet6(frame);
    let message = &packet[usize::from(meta.l4_offset)..];
    let error = icmp6_error::parse(message, meta.src, meta.dst).expect("an ICMPv6 error");
    let about = error.embedded;
    Error6 {
        from: meta.src,
        to: meta.dst,
        kind: (error.icmp_type, error.code),
        word: error.word,
        about: (
            (about.src, about.sport().unwrap_or(0)),
            (about.dst, about.dport().unwrap_or(0)),
        ),
    }
}

/// TCP ports, flags, sequence and acknowledgement numbers of a reset, of either family.
pub fn reset(l4: &[u8]) -> (u16, u16, u8, u32, u32) {
    let segment = tcp::Tcp::new_checked(l4).expect("a segment");
    (
        segment.sport(),
        segment.dport(),
        segment.flags(),
        segment.seq(),
        segment.ack(),
    )
}
