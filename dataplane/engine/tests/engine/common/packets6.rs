//! IPv6 packets for tests, and what can be seen on them.

use tandem_wire::build::{PacketBuilder6, Payload};
use tandem_wire::ipv6::Ipv6;
use tandem_wire::parse6::parse_ipv6;
use tandem_wire::{icmp6, icmp6_error, ipv4, tcp, udp};

/// An address and a port (or ICMPv6 identifier).
pub type End6 = (u128, u16);

/// A built packet as bytes.
pub fn bytes6(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut packet = vec![0; builder.len()];
    assert_eq!(builder.write(&mut packet), Some(packet.len()));
    packet
}

/// A UDP datagram with a few octets.
pub fn udp6(src: End6, dst: End6) -> Vec<u8> {
    bytes6(&PacketBuilder6::udp(src.0, src.1, dst.0, dst.1).data(b"tandem"))
}

/// A TCP segment.
pub fn tcp6(src: End6, dst: End6, flags: u8) -> Vec<u8> {
    bytes6(&PacketBuilder6::tcp(src.0, src.1, dst.0, dst.1, flags).data(b""))
}

/// A SYN.
pub fn syn6(src: End6, dst: End6) -> Vec<u8> {
    tcp6(src, dst, tcp::SYN)
}

/// An ICMPv6 echo request.
pub fn echo6(src: End6, dst: u128) -> Vec<u8> {
    bytes6(&PacketBuilder6::echo(src.0, dst, src.1, 1).data(b"ping"))
}

/// An ICMPv6 echo reply.
pub fn echo_reply6(src: u128, dst: End6) -> Vec<u8> {
    bytes6(&PacketBuilder6::echo_reply(src, dst.0, dst.1, 1).data(b"ping"))
}

/// A packet of a protocol without ports.
pub fn raw6(proto: u8, src: u128, dst: u128) -> Vec<u8> {
    bytes6(&PacketBuilder6::new(src, dst, Payload::Raw { proto }).data(b"some octets"))
}

/// An ICMPv6 error from `src` to the source of `about`, quoting all of it.
pub fn error6(src: u128, icmp_type: u8, code: u8, about: &[u8]) -> Vec<u8> {
    error6_with(src, (icmp_type, code, 0), about)
}

/// The same with the word behind its checksum: the MTU or the pointer. `about` may be cut off behind its fixed header.
pub fn error6_with(src: u128, (icmp_type, code, word): (u8, u8, u32), about: &[u8]) -> Vec<u8> {
    let source = about.get(8..24).and_then(|s| s.first_chunk());
    let to = u128::from_be_bytes(*source.expect("an IPv6 header"));
    bytes6(&PacketBuilder6::icmp(src, to, icmp_type, code, word).data(about))
}

/// The packet with another hop limit.
pub fn with_hop_limit(mut packet: Vec<u8>, hop_limit: u8) -> Vec<u8> {
    packet[7] = hop_limit;
    packet
}

/// Whether a packet is IPv6.
pub fn is_six(packet: &[u8]) -> bool {
    packet.first().is_some_and(|octet| octet >> 4 == 6)
}

/// Ends of an IPv6 packet; an echo has its identifier as both ports.
#[track_caller]
pub fn ends6(packet: &[u8]) -> (End6, End6) {
    let meta = parse_ipv6(packet).expect("a well-formed packet");
    ((meta.src, meta.sport()), (meta.dst, meta.dport()))
}

/// Ends of the packet quoted by an ICMPv6 error.
#[track_caller]
pub fn quoted_ends6(packet: &[u8]) -> (End6, End6) {
    let meta = parse_ipv6(packet).expect("a well-formed packet");
    let message = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    let about = icmp6_error::parse(message, meta.src, meta.dst)
        .expect("an ICMPv6 error")
        .embedded;
    (
        (about.src, about.sport().unwrap_or(0)),
        (about.dst, about.dport().unwrap_or(0)),
    )
}

/// Whether all checksums of an IPv6 packet are right; of an ICMPv6 error, that of what it quotes as well, when that is whole.
/// Fragments have none that can be seen.
pub fn checksums_are_right6(packet: &[u8]) -> bool {
    let Ok(ip) = Ipv6::new_checked(packet) else {
        return false;
    };
    let Ok(upper) = ip.upper() else { return false };
    if upper.fragment.is_some() {
        return true;
    }
    let (src, dst, l4) = (ip.src(), ip.dst(), &ip.packet()[usize::from(upper.offset)..]);
    match upper.proto {
        ipv4::UDP => udp::Udp::new_checked(l4).is_ok() && sum_is_zero(src, dst, ipv4::UDP, l4),
        ipv4::TCP => tcp::Tcp::new_checked(l4).is_ok() && sum_is_zero(src, dst, ipv4::TCP, l4),
        ipv4::ICMPV6 => {
            let Ok(message) = icmp6::Icmp6::new_checked(l4) else {
                return false;
            };
            let quote = &l4[icmp6::HEADER_LEN..];
            message.verify_checksum(src, dst)
                && (!icmp6::is_error(message.icmp_type())
                    || Ipv6::new_checked(quote).is_err()
                    || checksums_are_right6(quote))
        }
        _ => true,
    }
}

/// Whether an upper layer's checksum is right: the sum of it and the pseudo-header is zero. RFC 8200 section 8.1.
fn sum_is_zero(src: u128, dst: u128, protocol: u8, l4: &[u8]) -> bool {
    let mut all = src.to_be_bytes().to_vec();
    all.extend(dst.to_be_bytes());
    all.extend((l4.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, protocol]);
    all.extend(l4);
    tandem_wire::checksum::checksum(&all) == 0
}
