//! Tables of packets: what is refused and why, and what passes.

use super::*;
use crate::build::{PacketBuilder, Payload};

const S: u32 = 0x0a00_0001;
const D: u32 = 0xc000_0201;

fn written(builder: &PacketBuilder<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

fn raw(proto: u8, data: &[u8]) -> PacketBuilder<'_> {
    PacketBuilder::new(S, D, Payload::Raw { proto }).data(data)
}

/// A TCP header whose length field says 5 words.
const TCP: [u8; 24] = [
    0,
    7,
    0,
    9,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0x50,
    tcp::ACK,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    2,
    3,
    4,
];
/// A UDP header whose length field says 24 octets.
const UDP: [u8; 24] = [
    0, 7, 0, 9, 0, 24, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];

#[test]
fn meta_stays_small() {
    assert!(size_of::<Ipv4Meta>() <= 32, "{}", size_of::<Ipv4Meta>());
}

#[test]
fn table_of_refusals() {
    let same = PacketBuilder::tcp(S, 5, S, 5, tcp::SYN);
    let patched = |mut data: [u8; 24], at: usize, value: u8| {
        data[at] = value;
        data
    };
    let (short_offset, long_offset) = (patched(TCP, 12, 0x40), patched(TCP, 12, 0xf0));
    let (udp_7, udp_25) = (patched(UDP, 5, 7), patched(UDP, 5, 25));
    for (packet, want) in [
        (raw(ipv4::TCP, &TCP[..19]), ParseError::TcpTruncated),
        (raw(ipv4::TCP, &long_offset), ParseError::TcpTruncated),
        (raw(ipv4::TCP, &short_offset), ParseError::TcpBadDataOffset),
        (
            raw(ipv4::TCP, &short_offset).fragment(true, 0),
            ParseError::TcpBadDataOffset,
        ),
        (raw(ipv4::UDP, &UDP[..7]), ParseError::UdpTruncated),
        (raw(ipv4::UDP, &udp_7), ParseError::UdpBadLength),
        (raw(ipv4::UDP, &udp_25), ParseError::UdpBadLength),
        (raw(ipv4::UDP, &UDP).fragment(true, 0), ParseError::UdpBadLength),
        (raw(ipv4::ICMP, &[8, 0, 0, 0, 0, 0, 0]), ParseError::IcmpTruncated),
        (
            raw(ipv4::TCP, &TCP[..16]).fragment(true, 0),
            ParseError::Ipv4BadFragment,
        ),
        (
            raw(ipv4::TCP, &TCP[..8]).fragment(false, 8),
            ParseError::Ipv4BadFragment,
        ),
        (
            raw(ipv4::TCP, &TCP[..8]).fragment(false, 16),
            ParseError::Ipv4BadFragment,
        ),
        (raw(ipv4::UDP, &[]).fragment(true, 0), ParseError::Ipv4BadFragment),
        (
            raw(ipv4::UDP, &[]).fragment(false, 16),
            ParseError::Ipv4BadFragment,
        ),
        (
            raw(ipv4::UDP, &UDP[..15]).fragment(true, 16),
            ParseError::Ipv4BadFragment,
        ),
        (
            raw(ipv4::UDP, &UDP).fragment(false, 65_528),
            ParseError::Ipv4BadFragment,
        ),
        (
            raw(ipv4::UDP, &UDP[..12]).fragment(false, 65_504),
            ParseError::Ipv4BadFragment,
        ),
        (
            raw(ipv4::ICMP, &UDP).fragment(false, 65_496),
            ParseError::Ipv4BadFragment,
        ),
        (same, ParseError::Land),
    ] {
        assert_eq!(parse_ipv4_verified(&written(&packet)), Err(want), "{packet:?}");
    }
    let mut bad_sum = written(&PacketBuilder::udp(S, 1, D, 2));
    bad_sum[10] ^= 1;
    assert_eq!(parse_ipv4_verified(&bad_sum), Err(ParseError::Ipv4BadChecksum));
    assert!(
        parse_ipv4(&bad_sum).is_ok(),
        "the plain parse leaves the checksum to the NIC"
    );
}

#[test]
fn fragments_that_pass() {
    let parse = |builder: PacketBuilder<'_>| parse_ipv4_verified(&written(&builder)).unwrap();
    let first = parse(raw(ipv4::TCP, &TCP).fragment(true, 0).id(9));
    assert_eq!(
        (first.fragment, first.id, first.more_fragments),
        (Fragment::First, 9, true)
    );
    assert_eq!(
        first.l4,
        L4::Tcp {
            sport: 7,
            dport: 9,
            flags: tcp::ACK
        }
    );
    let first = parse(raw(ipv4::UDP, &UDP[..16]).fragment(true, 0));
    assert_eq!(
        (first.fragment, first.l4),
        (Fragment::First, L4::Udp { sport: 7, dport: 9 })
    );
    let behind = parse(raw(ipv4::TCP, &TCP[..8]).fragment(false, 24));
    assert_eq!(behind.fragment, Fragment::Later);
    let last = parse(raw(ipv4::UDP, &UDP[..3]).fragment(false, 16));
    assert_eq!(
        (last.fragment, last.fragment_offset, last.l4),
        (Fragment::Later, 16, L4::LaterFragment)
    );
    // The last octet a datagram can have: offset 65504 + 20 + 11 = 65535.
    assert_eq!(
        parse(raw(ipv4::UDP, &UDP[..11]).fragment(false, 65_504)).fragment,
        Fragment::Later
    );
    let ping = parse(raw(ipv4::ICMP, &[8, 0, 0, 0, 0, 5, 0, 1]).fragment(true, 0));
    assert_eq!(
        ping.l4,
        L4::IcmpQuery {
            id: 5,
            icmp_type: icmp::ECHO
        }
    );
}

#[test]
fn kinds_and_ports() {
    let parse = |builder: PacketBuilder<'_>| parse_ipv4_verified(&written(&builder)).unwrap();
    let echo = parse(PacketBuilder::echo(S, D, 77, 1));
    assert_eq!((echo.sport(), echo.dport()), (77, 77));
    let error = parse(PacketBuilder::icmp(S, D, icmp::TIME_EXCEEDED, 1, 0));
    assert_eq!(
        error.l4,
        L4::IcmpError {
            icmp_type: 11,
            code: 1
        }
    );
    let other = parse(PacketBuilder::icmp(S, D, icmp::ROUTER_SOLICITATION, 0, 0));
    assert_eq!((other.l4, other.sport()), (L4::IcmpOther { icmp_type: 10 }, 0));
    assert_eq!(parse(raw(ipv4::ESP, &[1])).l4, L4::Other);
    let tcp = parse(PacketBuilder::tcp(S, 1, D, 2, tcp::SYN).data(&[0; 5]));
    assert_eq!(
        (tcp.sport(), tcp.dport(), tcp.payload_len(), tcp.has_options()),
        (1, 2, 25, false)
    );
    // The same address alone is no land attack, nor are equal ports.
    parse(PacketBuilder::tcp(S, 1, S, 2, 0));
    parse(PacketBuilder::tcp(S, 1, D, 1, 0));
}
