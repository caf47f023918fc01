//! Packets for tests, and what can be seen on them. Every packet that is looked at has all its checksums verified.

use tandem_wire::build::{PacketBuilder, Payload};
use tandem_wire::icmp_error;
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::{Ipv4, icmp, ipv4, tcp, udp};

/// An address and a port (or ICMP identifier).
pub type End = (u32, u16);

/// A built packet as bytes.
pub fn bytes(builder: &PacketBuilder<'_>) -> Vec<u8> {
    let mut packet = vec![0; builder.len()];
    assert_eq!(builder.write(&mut packet), Some(packet.len()));
    packet
}

/// A UDP datagram with a few octets.
pub fn udp(src: End, dst: End) -> Vec<u8> {
    bytes(&PacketBuilder::udp(src.0, src.1, dst.0, dst.1).data(b"tandem"))
}

/// A TCP segment.
pub fn tcp(src: End, dst: End, flags: u8) -> Vec<u8> {
    bytes(&PacketBuilder::tcp(src.0, src.1, dst.0, dst.1, flags).data(b""))
}

/// A SYN.
pub fn syn(src: End, dst: End) -> Vec<u8> {
    tcp(src, dst, tcp::SYN)
}

/// An ICMP echo request.
pub fn echo(src: End, dst: u32) -> Vec<u8> {
    bytes(&PacketBuilder::echo(src.0, dst, src.1, 1).data(b"ping"))
}

/// An ICMP echo reply.
pub fn echo_reply(src: u32, dst: End) -> Vec<u8> {
    bytes(&PacketBuilder::echo_reply(src, dst.0, dst.1, 1).data(b"ping"))
}

/// A packet of a protocol without ports.
pub fn raw(proto: u8, src: u32, dst: u32) -> Vec<u8> {
    bytes(&PacketBuilder::new(src, dst, Payload::Raw { proto }).data(b"some octets"))
}

/// An ICMP error from `src` to the source of `about`, quoting all of it.
pub fn error(src: u32, icmp_type: u8, code: u8, about: &[u8]) -> Vec<u8> {
    error_with(src, (icmp_type, code, 0), about)
}

/// The same with the word behind its checksum: the MTU, the pointer, lengths of RFC 4884.
pub fn error_with(src: u32, (icmp_type, code, word): (u8, u8, u32), about: &[u8]) -> Vec<u8> {
    let to = Ipv4::new_checked(about).expect("a packet").src();
    bytes(&PacketBuilder::icmp(src, to, icmp_type, code, word).data(about))
}

/// The packet with another TTL.
pub fn with_ttl(mut packet: Vec<u8>, ttl: u8) -> Vec<u8> {
    packet[8] = ttl;
    fix_header_checksum(&mut packet);
    packet
}

/// Computes the IPv4 header checksum anew.
pub fn fix_header_checksum(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = tandem_wire::checksum::checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Computes the checksum of an ICMP message behind a header without options anew.
pub fn fix_icmp_checksum(packet: &mut [u8]) {
    packet[22..24].fill(0);
    let sum = tandem_wire::checksum::checksum(&packet[20..]);
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
}

/// Ends of a packet; an ICMP query has its identifier as both ports.
pub fn ends(packet: &[u8]) -> (End, End) {
    let meta = parse_ipv4_verified(packet).expect("a well-formed packet");
    ((meta.src, meta.sport()), (meta.dst, meta.dport()))
}

/// Ends of the packet quoted by an ICMP error.
pub fn quoted_ends(packet: &[u8]) -> (End, End) {
    let message = &packet[usize::from(packet[0] & 15) * 4..];
    let embedded = icmp_error::parse(message).expect("an ICMP error").embedded;
    (
        (embedded.src, embedded.sport().unwrap_or(0)),
        (embedded.dst, embedded.dport().unwrap_or(0)),
    )
}

/// Whether all checksums of a packet are right: IPv4 header, L4, and of an ICMP error the embedded ones, as far as the
/// quote is whole. Later fragments have only the header's.
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
        ipv4::ICMP => {
            let Ok(message) = icmp::Icmp::new_checked(l4) else {
                return false;
            };
            let whole_quote = || Ipv4::new_checked(&l4[icmp::HEADER_LEN..]).is_ok();
            message.verify_checksum()
                && (!icmp::is_error(message.icmp_type())
                    || icmp_error::parse(l4).is_ok_and(|e| e.embedded_checksum_ok)
                        && (!whole_quote() || checksums_are_right(&l4[icmp::HEADER_LEN..])))
        }
        _ => true,
    }
}
