//! Frames for tests, and what can be seen of them. Every packet that is looked at has its checksums verified.

use tandem_wire::build::PacketBuilder;
use tandem_wire::ethernet::{self, Mac, Tag};
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::{Ipv4, icmp, icmp_error, ipv4, tcp, udp};

use crate::plan::{host_mac, mac};

/// An address and a port (or ICMP identifier).
pub type End = (u32, u16);

/// Octets of an untagged Ethernet header.
pub const ETHERNET: usize = ethernet::HEADER_LEN;

fn write(builder: &PacketBuilder<'_>) -> Vec<u8> {
    let mut frame = vec![0; builder.len()];
    assert_eq!(builder.write(&mut frame), Some(frame.len()));
    frame
}

/// A packet to our MAC on a port, from some host.
pub fn frame(port: u8, packet: PacketBuilder<'_>) -> Vec<u8> {
    write(&packet.ethernet(Mac(mac(port)), Mac(host_mac(1))))
}

/// The same with VLAN tags, outer first.
pub fn tagged(port: u8, vlans: &[u16], packet: PacketBuilder<'_>) -> Vec<u8> {
    let tags: Vec<Tag> = vlans
        .iter()
        .enumerate()
        .map(|(at, vlan)| Tag {
            tpid: if at + 1 < vlans.len() {
                ethernet::QINQ
            } else {
                ethernet::VLAN
            },
            tci: *vlan,
        })
        .collect();
    write(&packet.ethernet(Mac(mac(port)), Mac(host_mac(1))).tags(&tags))
}

/// A UDP datagram with a few octets.
pub fn udp(src: End, dst: End) -> PacketBuilder<'static> {
    PacketBuilder::udp(src.0, src.1, dst.0, dst.1).data(b"tandem")
}

/// A SYN.
pub fn syn(src: End, dst: End) -> PacketBuilder<'static> {
    PacketBuilder::tcp(src.0, src.1, dst.0, dst.1, tcp::SYN)
}

/// A frame that is not IP.
pub fn ethernet_frame(dst: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET];
    let written = ethernet::write_header(&mut frame, Mac(dst), Mac(host_mac(1)), &[], ethertype);
    assert_eq!(written, Some(ETHERNET));
    frame.extend_from_slice(payload);
    frame
}

/// Destination MAC, VLAN and IP packet of a frame that left.
pub fn open(frame: &[u8]) -> ([u8; 6], Option<u16>, &[u8]) {
    let meta = ethernet::parse(frame).expect("an Ethernet frame");
    assert!(meta.inner.is_none());
    (
        meta.dst.0,
        meta.outer.map(|t| t.tci),
        &frame[usize::from(meta.l3_offset)..],
    )
}

/// The ethertype of a frame that left.
pub fn ethertype(frame: &[u8]) -> u16 {
    ethernet::parse(frame).expect("an Ethernet frame").ethertype
}

/// The IP packet of an untagged frame.
pub fn packet(frame: &[u8]) -> &[u8] {
    let (_, vlan, packet) = open(frame);
    assert_eq!(vlan, None);
    packet
}

/// Ends of the packet in a frame, all checksums verified.
pub fn ends(frame: &[u8]) -> (End, End) {
    let (_, _, packet) = open(frame);
    assert!(checksums_are_right(packet), "{packet:02x?}");
    let meta = parse_ipv4_verified(packet).expect("a well-formed packet");
    ((meta.src, meta.sport()), (meta.dst, meta.dport()))
}

/// Whether all checksums of a packet are right: IPv4 header and L4; fragments have only the header's.
pub fn checksums_are_right(packet: &[u8]) -> bool {
    let Ok(ip) = Ipv4::new_checked(packet) else {
        return false;
    };
    if !ip.verify_checksum() {
        return false;
    }
    if ip.is_fragment() {
        return true;
    }
    let l4 = ip.payload();
    match ip.protocol() {
        ipv4::UDP => udp::Udp::new_checked(l4).is_ok_and(|u| u.verify_checksum_v4(ip.src(), ip.dst())),
        ipv4::TCP => tcp::Tcp::new_checked(l4).is_ok_and(|t| t.verify_checksum_v4(ip.src(), ip.dst())),
        ipv4::ICMP => icmp::Icmp::new_checked(l4).is_ok_and(|m| m.verify_checksum()),
        _ => true,
    }
}

/// An ICMP error as its receiver sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct IcmpError {
    pub from: u32,
    pub to: u32,
    pub kind: (u8, u8),
    /// Next-hop MTU of 3/4.
    pub mtu: u16,
    pub about: (End, End),
    /// The quoted packet, as much of it as came.
    pub quote: Vec<u8>,
}

/// The ICMP error in a frame; checksums verified.
pub fn error(frame: &[u8]) -> IcmpError {
    let (_, _, packet) = open(frame);
    assert!(checksums_are_right(packet), "{packet:02x?}");
    let ip = Ipv4::new_checked(packet).expect("IPv4");
    let message = ip.payload();
    let about = icmp_error::parse(message).expect("an ICMP error").embedded;
    IcmpError {
        from: ip.src(),
        to: ip.dst(),
        kind: (message[0], message[1]),
        mtu: u16::from_be_bytes([message[6], message[7]]),
        about: (
            (about.src, about.sport().unwrap_or(0)),
            (about.dst, about.dport().unwrap_or(0)),
        ),
        quote: message[8..].to_vec(),
    }
}
