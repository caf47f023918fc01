//! Tables of packets: what is refused and why, and what passes; and that the plain parse agrees with the general one.

use super::*;
use crate::build::{PacketBuilder6, Payload};
use proptest::prelude::*;

const S: u128 = 0x2001_0db8 << 96 | 1;
const D: u128 = 0x2001_0db8_00ff << 80 | 2;

fn written(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

fn raw(proto: u8, data: &[u8]) -> PacketBuilder6<'_> {
    PacketBuilder6::new(S, D, Payload::Raw { proto }).data(data)
}

fn parse(builder: PacketBuilder6<'_>) -> Ipv6Meta {
    parse_ipv6(&written(&builder)).unwrap_or_else(|e| panic!("{e}: {builder:?}"))
}

/// A TCP header whose length field says 5 words, and four octets of data.
const TCP: [u8; 24] = [
    0, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4,
];
/// A UDP header whose length field says 24 octets, with some checksum.
const UDP: [u8; 24] = [
    0, 7, 0, 9, 0, 24, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];
/// The body of an extension header of 8 octets: PadN.
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

#[test]
fn meta_stays_small() {
    assert!(size_of::<Ipv6Meta>() <= 64, "{}", size_of::<Ipv6Meta>());
}

#[test]
fn table_of_refusals() {
    let patched = |mut data: [u8; 24], at: usize, value: u8| {
        data[at] = value;
        data
    };
    let (short_offset, long_offset) = (patched(TCP, 12, 0x40), patched(TCP, 12, 0xf0));
    let (udp_7, udp_25) = (patched(UDP, 5, 7), patched(UDP, 5, 25));
    let no_sum = PacketBuilder6::new(
        S,
        D,
        Payload::Udp {
            sport: 1,
            dport: 2,
            checksum: false,
        },
    );
    const BAD: ParseError = ParseError::Ipv6BadFragment;
    for (packet, want) in [
        (raw(ipv4::TCP, &TCP[..19]), ParseError::TcpTruncated),
        (raw(ipv4::TCP, &long_offset), ParseError::TcpTruncated),
        (raw(ipv4::TCP, &short_offset), ParseError::TcpBadDataOffset),
        (
            raw(ipv4::TCP, &short_offset).fragment(true, 0, 1),
            ParseError::TcpBadDataOffset,
        ),
        (raw(ipv4::UDP, &UDP[..7]), ParseError::UdpTruncated),
        (raw(ipv4::UDP, &udp_7), ParseError::UdpBadLength),
        (raw(ipv4::UDP, &udp_25), ParseError::UdpBadLength),
        (
            raw(ipv4::UDP, &UDP).fragment(true, 0, 1),
            ParseError::UdpBadLength,
        ),
        (no_sum, ParseError::UdpZeroChecksum),
        (no_sum.fragment(false, 0, 1), ParseError::UdpZeroChecksum),
        (no_sum.extensions(&[(60, &PAD)]), ParseError::UdpZeroChecksum),
        (
            raw(ipv4::ICMPV6, &[128, 0, 0, 0, 0, 0, 0]),
            ParseError::IcmpTruncated,
        ),
        (raw(ipv4::TCP, &TCP[..16]).fragment(true, 0, 1), BAD),
        (raw(ipv4::TCP, &TCP[..8]).fragment(false, 8, 1), BAD),
        (raw(ipv4::TCP, &TCP[..8]).fragment(true, 16, 1), BAD),
        (raw(ipv4::ICMPV6, &[]).fragment(true, 0, 1), BAD),
        (raw(ipv4::UDP, &[]).fragment(true, 0, 1), BAD),
        (raw(ipv4::UDP, &[]).fragment(false, 16, 1), BAD),
        (raw(ipv4::UDP, &UDP[..15]).fragment(true, 16, 1), BAD),
        (raw(ipv4::UDP, &UDP[..8]).fragment(false, 65_528, 1), BAD),
        // Headers before the fragment header count: 8 + 65520 + 8.
        (
            raw(ipv4::UDP, &UDP[..8])
                .extensions(&[(60, &PAD)])
                .fragment(false, 65_520, 1),
            BAD,
        ),
        // The chain of headers ends in a later fragment (RFC 7112).
        (
            raw(ipv6::DESTINATION, &[6, 1, 0, 0, 0, 0, 0, 0]).fragment(true, 0, 1),
            BAD,
        ),
        (
            raw(ipv4::UDP, &UDP).extensions(&[(60, &PAD), (0, &PAD)]),
            ParseError::Ipv6BadExtension,
        ),
        (raw(ipv6::ROUTING, &UDP[..7]), ParseError::Ipv6BadExtension),
        (
            raw(ipv4::UDP, &UDP).extensions(&[(60, &PAD[..]); 9]),
            ParseError::Ipv6TooManyExtensions,
        ),
        (PacketBuilder6::tcp(S, 5, S, 5, tcp::SYN), ParseError::Land),
        (
            PacketBuilder6::udp(S, 5, S, 5).extensions(&[(0, &PAD)]),
            ParseError::Land,
        ),
    ] {
        assert_eq!(parse_ipv6(&written(&packet)), Err(want), "{packet:?}");
    }
    let whole = written(&PacketBuilder6::udp(S, 1, D, 2));
    assert_eq!(parse_ipv6(&whole[..47]), Err(ParseError::Ipv6BadPayloadLength));
    assert_eq!(parse_ipv6(&whole[..39]), Err(ParseError::Ipv6Truncated));
    let mut v4 = whole.clone();
    v4[0] = 0x45;
    assert_eq!(parse_ipv6(&v4), Err(ParseError::Ipv6BadVersion));
    let huge = written(&raw(ipv4::ESP, &vec![0; 65_496]));
    assert_eq!(parse_ipv6(&huge), Err(ParseError::Ipv6BadPayloadLength));
    assert!(parse_ipv6(&written(&raw(ipv4::ESP, &vec![0; 65_495]))).is_ok());
    // A jumbogram (RFC 2675): payload length 0 and a hop-by-hop header.
    let mut jumbo = written(&raw(ipv4::UDP, &UDP).extensions(&[(0, &[0xc2, 4, 0, 1, 0, 0])]));
    [jumbo[4], jumbo[5]] = [0, 0];
    assert_eq!(parse_ipv6(&jumbo), Err(ParseError::Ipv6BadExtension));
}

#[test]
fn fragments_that_pass() {
    let first = parse(
        raw(ipv4::TCP, &TCP)
            .extensions(&[(60, &PAD)])
            .fragment(true, 0, 0x1234_5678),
    );
    assert_eq!(
        (
            first.fragment,
            first.fragment_id,
            first.more_fragments,
            first.fragment_header,
            first.l4_offset
        ),
        (Fragment::First, 0x1234_5678, true, 48, 56)
    );
    assert!(first.has_extensions);
    assert_eq!(
        first.l4,
        L4::Tcp {
            sport: 7,
            dport: 9,
            flags: 0x10
        }
    );
    // Nobody sees the whole datagram here, so a zero checksum is the receiver's matter.
    let mut zero = UDP;
    [zero[6], zero[7]] = [0, 0];
    let first = parse(raw(ipv4::UDP, &zero[..16]).fragment(true, 0, 1));
    assert_eq!(
        (first.fragment, first.l4, first.has_extensions),
        (Fragment::First, L4::Udp { sport: 7, dport: 9 }, false)
    );
    let last = parse(raw(ipv4::UDP, &UDP[..3]).fragment(false, 16, 1));
    assert_eq!(
        (
            last.fragment,
            last.fragment_offset,
            last.l4,
            last.l4_offset,
            last.has_extensions
        ),
        (Fragment::Later, 16, L4::LaterFragment, 48, false)
    );
    // What its fragment header says is what the first fragment has behind its own.
    let last = parse(raw(ipv6::DESTINATION, &UDP[..3]).fragment(false, 8, 1));
    assert_eq!((last.l4, last.proto), (L4::LaterFragment, ipv6::DESTINATION));
    // The last octets a datagram can have.
    parse(raw(ipv4::UDP, &UDP[..7]).fragment(false, 65_528, 1));
    parse(raw(ipv4::TCP, &UDP[..8]).fragment(false, 24, 1));
    // Headers behind the fragment header.
    let first = parse(
        raw(ipv4::TCP, &TCP)
            .inner_extensions(&[(60, &PAD)])
            .fragment(true, 0, 1),
    );
    assert_eq!(
        (first.l4_offset, first.proto, first.has_extensions),
        (56, ipv4::TCP, true)
    );
}

#[test]
fn an_atomic_fragment_is_whole() {
    let atomic = parse(PacketBuilder6::udp(S, 5, D, 6).data(b"x").fragment(false, 0, 9));
    assert_eq!(
        (
            atomic.fragment,
            atomic.fragment_header,
            atomic.fragment_id,
            atomic.more_fragments
        ),
        (Fragment::None, 40, 9, false)
    );
    assert_eq!(
        (atomic.l4, atomic.payload_len()),
        (L4::Udp { sport: 5, dport: 6 }, 9)
    );
}

#[test]
fn kinds_and_ports() {
    let echo = parse(PacketBuilder6::echo(S, D, 77, 1));
    assert_eq!((echo.sport(), echo.dport()), (77, 77));
    let icmp = |icmp_type, code| parse(PacketBuilder6::icmp(S, D, icmp_type, code, 0)).l4;
    assert_eq!(
        icmp(3, 1),
        L4::IcmpError {
            icmp_type: 3,
            code: 1
        }
    );
    assert_eq!(
        icmp(127, 0),
        L4::IcmpError {
            icmp_type: 127,
            code: 0
        }
    );
    assert_eq!(icmp(135, 0), L4::IcmpOther { icmp_type: 135 });
    for proto in [ipv4::ESP, ipv4::AH, ipv6::NO_NEXT, ipv4::ICMP, 200] {
        assert_eq!(parse(raw(proto, &[1])).l4, L4::Other);
    }
    let tcp = parse(
        PacketBuilder6::tcp(S, 1, D, 2, tcp::SYN)
            .data(&[0; 5])
            .hop_limit(9)
            .traffic_class(0xb8)
            .flow_label(0xf_ffff),
    );
    assert_eq!(
        (
            tcp.src,
            tcp.dst,
            tcp.sport(),
            tcp.dport(),
            tcp.payload_len(),
            tcp.total_len
        ),
        (S, D, 1, 2, 25, 65)
    );
    assert_eq!(
        (tcp.hop_limit, tcp.traffic_class, tcp.has_extensions),
        (9, 0xb8, false)
    );
    // The same address alone is no land attack, nor are equal ports.
    parse(PacketBuilder6::tcp(S, 1, S, 2, 0));
    parse(PacketBuilder6::tcp(S, 1, D, 1, 0));
}

#[test]
fn a_routing_header_tells_where_its_segments_are() {
    let routing = |left: u8| [4u8, left, 0, 0, 0, 0];
    let (none, some) = (routing(0), routing(3));
    let udp = PacketBuilder6::udp(S, 1, D, 2);
    assert_eq!(parse(udp.extensions(&[(43, &none)])).segments_left_at, 0);
    assert_eq!(
        parse(udp.extensions(&[(0, &PAD), (43, &some)])).segments_left_at,
        51
    );
}

proptest! {
    #[test]
    fn what_plain_accepts_the_general_parse_accepts_alike(
        udp: bool, at in 0usize..70, with: u8, cut in 0usize..110, pad in 0usize..20, data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let builder = if udp { PacketBuilder6::udp(S, 5, D, 5) } else { PacketBuilder6::tcp(S, 5, D, 5, 0x12) };
        let mut bytes = written(&builder.data(&data).traffic_class(0x5a).flow_label(0xabcde));
        bytes.resize(bytes.len() + pad, 0xcc);
        prop_assert_eq!(parse_plain_ipv6(&bytes), parse_ipv6(&bytes).ok());
        prop_assert!(parse_plain_ipv6(&bytes).is_some());
        if let Some(b) = bytes.get_mut(at) {
            *b = with;
        }
        bytes.truncate(cut);
        if let Some(meta) = parse_plain_ipv6(&bytes) {
            prop_assert_eq!(Ok(meta), parse_ipv6(&bytes));
        }
    }

    #[test]
    fn no_bytes_panic_and_all_offsets_are_inside(
        next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6), Just(17), Just(58), any::<u8>()],
        mut body in proptest::collection::vec(any::<u8>(), 0..120), small: bool,
    ) {
        if small {
            for (i, b) in body.iter_mut().enumerate() {
                *b = if i % 8 == 0 { [0, 43, 44, 60, 6, 17, 58, *b][usize::from(*b >> 5)] } else { *b & 1 };
            }
        }
        let bytes = written(&raw(next, &body));
        if let Ok(meta) = parse_ipv6(&bytes) {
            prop_assert_eq!(usize::from(meta.total_len), bytes.len());
            prop_assert!(meta.l4_offset >= 40 && meta.l4_offset <= meta.total_len);
            prop_assert!(meta.fragment_header == 0 || meta.fragment_header + 8 <= meta.l4_offset);
            prop_assert!(meta.segments_left_at == 0 || meta.segments_left_at < meta.l4_offset);
            prop_assert_eq!(meta.fragment == Fragment::Later, meta.l4 == L4::LaterFragment);
        }
    }
}
