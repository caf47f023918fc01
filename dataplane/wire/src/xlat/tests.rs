use super::testing::{Head4, fill4, fill6, icmp, l4, l4_is_valid, meta6, packet4, packet6};
use super::*;
use crate::l4::parse_ipv4_verified;
use crate::rewrite::Endpoints;
use crate::{Ipv4Meta, ipv4, ipv6};

mod random;

const SRC6: u128 = 0x2001_0db8_0001_0002_0003_0004_0005_0006;
const DST6: u128 = 0x0064_ff9b_0000_0000_0000_0000_c000_0221;
const SRC4: u32 = 0xc633_6407;
const DST4: u32 = 0xc000_0221;
const TO4: Endpoints = Endpoints {
    src: SRC4,
    dst: DST4,
    sport: 40000,
    dport: 53,
};
const TO6: Endpoints6 = Endpoints6 {
    src: DST6,
    dst: SRC6,
    sport: 53,
    dport: 1234,
};

fn options() -> Options {
    Options::default()
}

fn head() -> Head4 {
    Head4 {
        tos: 0x28,
        id: 0x4321,
        ttl: 64,
        src: SRC4,
        dst: DST4,
        ..Head4::default()
    }
}

/// A datagram of IPv6 with its checksum.
fn upper6(proto: u8, data: &[u8]) -> Vec<u8> {
    let mut upper = l4(proto, 1234, 53, data);
    fill6(SRC6, DST6, proto, &mut upper);
    upper
}

fn upper4(proto: u8, data: &[u8]) -> Vec<u8> {
    let mut upper = l4(proto, 1234, 53, data);
    fill4(SRC4, DST4, proto, &mut upper);
    upper
}

fn to_four(packet: &[u8]) -> Result<Vec<u8>, XlatError> {
    let mut got = packet.to_vec();
    let result = six_to_four(&mut got, &meta6(packet), &TO4, &options(), 0x1234);
    if result.is_err() {
        assert_eq!(got, packet);
    }
    result.map(|()| got)
}

fn to_six(packet: &[u8], options: &Options) -> Result<Vec<u8>, XlatError> {
    let mut got = packet.to_vec();
    let meta = parse_ipv4_verified(packet).unwrap();
    let result = four_to_six(&mut got, &meta, &TO6, options);
    if result.is_err() {
        assert_eq!(got, packet);
    }
    result.map(|()| got)
}

#[test]
fn extension_headers_go() {
    // Hop-by-hop with a pad option, a routing header that is done, destination options; then UDP.
    let mut payload = vec![ipv6::ROUTING, 0, 1, 4, 0, 0, 0, 0];
    payload.extend_from_slice(&[ipv6::DESTINATION, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&[ipv4::UDP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&upper6(ipv4::UDP, b"query"));
    let packet = packet6(SRC6, DST6, 0x28, 65, ipv6::HOP_BY_HOP, &payload);
    let got = to_four(&packet).unwrap();
    let mut upper = l4(ipv4::UDP, TO4.sport, TO4.dport, b"query");
    fill4(SRC4, DST4, ipv4::UDP, &mut upper);
    let expect = Head4 { id: 0x1234, ..head() };
    assert_eq!(got, packet4(expect, ipv4::UDP, &[], &upper));

    // RFC 7915 section 5.1: segments left, and a pointer to them.
    let mut left = packet;
    left[40 + 8 + 3] = 2;
    assert_eq!(to_four(&left), Err(XlatError::SegmentsLeft { pointer: 51 }));
}

#[test]
fn df_is_set_above_1260_octets() {
    for (data, df) in [(1232, false), (1233, true)] {
        let mut payload = vec![ipv4::UDP, 0, 1, 4, 0, 0, 0, 0];
        payload.extend_from_slice(&upper6(ipv4::UDP, &vec![7; data]));
        let got = to_four(&packet6(SRC6, DST6, 0, 65, ipv6::DESTINATION, &payload)).unwrap();
        let meta = parse_ipv4_verified(&got).unwrap();
        assert_eq!((meta.dont_fragment, meta.id), (df, 0x1234));
    }
}

#[test]
fn fragments_keep_place_and_the_low_half_of_the_identification() {
    let whole = upper6(ipv4::UDP, &[7; 100]);
    let fragment = |next: u8, word: u16, data: &[u8]| {
        let mut payload = vec![next, 0];
        payload.extend_from_slice(&word.to_be_bytes());
        payload.extend_from_slice(&0xdead_beef_u32.to_be_bytes());
        payload.extend_from_slice(data);
        packet6(SRC6, DST6, 0x28, 65, ipv6::FRAGMENT, &payload)
    };
    let first = to_four(&fragment(ipv4::UDP, 1, &whole[..64])).unwrap();
    let second = to_four(&fragment(ipv4::UDP, 64, &whole[64..])).unwrap();
    let mut upper = l4(ipv4::UDP, TO4.sport, TO4.dport, &[7; 100]);
    fill4(SRC4, DST4, ipv4::UDP, &mut upper);
    let place = |flags| Head4 {
        id: 0xbeef,
        flags,
        ..head()
    };
    assert_eq!(first, packet4(place(ipv4::FLAG_MF), ipv4::UDP, &[], &upper[..64]));
    assert_eq!(second, packet4(place(8), ipv4::UDP, &[], &upper[64..]));
    // An atomic fragment: whole, DF clear (RFC 7915 section 5.1.1), however long.
    let long = upper6(ipv4::UDP, &[7; 1300]);
    let atomic = to_four(&fragment(ipv4::UDP, 0, &long)).unwrap();
    let meta = parse_ipv4_verified(&atomic).unwrap();
    assert_eq!(
        (meta.id, meta.dont_fragment, meta.more_fragments),
        (0xbeef, false, false)
    );
    assert!(l4_is_valid(&atomic));

    // And back.
    let there = |packet: &[u8]| to_six(packet, &options()).unwrap();
    let mut upper = l4(ipv4::UDP, TO6.sport, TO6.dport, &[7; 100]);
    fill6(TO6.src, TO6.dst, ipv4::UDP, &mut upper);
    for (packet, word, data) in [(first, 1u16, &upper[..64]), (second, 64, &upper[64..])] {
        let mut payload = vec![ipv4::UDP, 0];
        payload.extend_from_slice(&word.to_be_bytes());
        payload.extend_from_slice(&0x0000_beef_u32.to_be_bytes());
        payload.extend_from_slice(data);
        let expect = packet6(TO6.src, TO6.dst, 0x28, 63, ipv6::FRAGMENT, &payload);
        assert_eq!(there(&packet), expect);
    }

    // A first fragment with destination options behind its fragment header, and a later one that continues such.
    let mut data = vec![ipv4::UDP, 0, 1, 4, 0, 0, 0, 0];
    data.extend_from_slice(&whole[..64]);
    let packet = fragment(ipv6::DESTINATION, 1, &data);
    assert_eq!(to_four(&packet), Err(XlatError::ExtensionInFragment));
    let packet = fragment(ipv6::DESTINATION, 64, &data);
    assert_eq!(to_four(&packet), Err(XlatError::Protocol));

    // The last octet an IPv4 datagram can have is 65514 behind its header.
    let packet = fragment(ipv4::UDP, 65504 | 1, &[7; 8]);
    assert!(to_four(&packet).is_ok());
    let packet = fragment(ipv4::UDP, 65504 | 1, &[7; 16]);
    assert_eq!(to_four(&packet), Err(XlatError::FragmentEnd));
}

#[test]
fn options_go_but_a_live_source_route_is_told() {
    let upper = upper4(ipv4::TCP, b"data");
    // Longer than the IPv6 header would need: the front moves back, not forward.
    let nops = [ipv4::OPT_NOP; 40];
    for len in [4, 16, 20, 24, 40] {
        let got = to_six(&packet4(head(), ipv4::TCP, &nops[..len], &upper), &options()).unwrap();
        let mut expect = l4(ipv4::TCP, TO6.sport, TO6.dport, b"data");
        fill6(TO6.src, TO6.dst, ipv4::TCP, &mut expect);
        assert_eq!(got, packet6(TO6.src, TO6.dst, 0x28, 63, ipv4::TCP, &expect));
    }
    let route = [ipv4::OPT_LSRR, 7, 4, 10, 0, 0, 1, 0];
    let packet = packet4(head(), ipv4::TCP, &route, &upper);
    assert_eq!(to_six(&packet, &options()), Err(XlatError::SourceRoute));
    let mut done = route;
    done[2] = 8;
    assert!(to_six(&packet4(head(), ipv4::TCP, &done, &upper), &options()).is_ok());
    done[1] = 1;
    let packet = packet4(head(), ipv4::TCP, &done, &upper);
    assert_eq!(to_six(&packet, &options()), Err(XlatError::Malformed));
}

#[test]
fn udp_without_checksum() {
    for data in [&b"query"[..], b"", b"query!"] {
        let packet = packet4(head(), ipv4::UDP, &[], &l4(ipv4::UDP, 1, 2, data));
        let mut upper = l4(ipv4::UDP, TO6.sport, TO6.dport, data);
        fill6(TO6.src, TO6.dst, ipv4::UDP, &mut upper);
        let expect = packet6(TO6.src, TO6.dst, 0x28, 63, ipv4::UDP, &upper);
        assert_eq!(to_six(&packet, &options()), Ok(expect));
        let strict = Options {
            compute_udp_checksum: false,
            ..options()
        };
        assert_eq!(to_six(&packet, &strict), Err(XlatError::UdpNoChecksum));
    }
    let datagram = l4(ipv4::UDP, 1, 2, &[7; 64]);
    let first = Head4 {
        flags: ipv4::FLAG_MF,
        ..head()
    };
    let packet = packet4(first, ipv4::UDP, &[], &datagram[..32]);
    assert_eq!(to_six(&packet, &options()), Err(XlatError::UdpNoChecksum));
    // Half of the datagram is in another buffer: it cannot be summed up here.
    let mut part = packet4(head(), ipv4::UDP, &[], &datagram);
    let meta = parse_ipv4_verified(&part).unwrap();
    part.truncate(40);
    assert_eq!(
        four_to_six(&mut part, &meta, &TO6, &options()),
        Err(XlatError::NoRoom)
    );
}

#[test]
fn traffic_class_is_copied_or_zero() {
    let plain = Options {
        copy_traffic_class: false,
        ..options()
    };
    let packet = packet4(head(), ipv4::TCP, &[], &upper4(ipv4::TCP, b""));
    assert_eq!(meta6(&to_six(&packet, &plain).unwrap()).traffic_class, 0);
    assert_eq!(meta6(&to_six(&packet, &options()).unwrap()).traffic_class, 0x28);
    let mut packet = packet6(SRC6, DST6, 0x28, 65, ipv4::TCP, &upper6(ipv4::TCP, b""));
    let meta = meta6(&packet);
    six_to_four(&mut packet, &meta, &TO4, &plain, 0).unwrap();
    assert_eq!(packet[1], 0);
}

#[test]
fn echoes_change_type_and_identifier() {
    for (four, six) in [(8, 128), (0, 129)] {
        let mut message = icmp(four, 0, 0x1111_0007, b"ping");
        fill4(SRC4, DST4, ipv4::ICMP, &mut message);
        let got = to_six(&packet4(head(), ipv4::ICMP, &[], &message), &options()).unwrap();
        let mut expect = icmp(six, 0, u32::from(TO6.sport) << 16 | 7, b"ping");
        fill6(TO6.src, TO6.dst, ipv4::ICMPV6, &mut expect);
        assert_eq!(got, packet6(TO6.src, TO6.dst, 0x28, 63, ipv4::ICMPV6, &expect));

        let mut message = icmp(six, 0, 0x1111_0007, b"ping");
        fill6(SRC6, DST6, ipv4::ICMPV6, &mut message);
        let got = to_four(&packet6(SRC6, DST6, 0x28, 65, ipv4::ICMPV6, &message)).unwrap();
        let mut expect = icmp(four, 0, u32::from(TO4.sport) << 16 | 7, b"ping");
        fill4(SRC4, DST4, ipv4::ICMP, &mut expect);
        let head = Head4 { id: 0x1234, ..head() };
        assert_eq!(got, packet4(head, ipv4::ICMP, &[], &expect));
    }
}

#[test]
fn an_echo_reply_of_zeros_has_the_other_zero_as_checksum() {
    let mut message = icmp(129, 0, 5 << 16, &[0; 20]);
    fill6(SRC6, DST6, ipv4::ICMPV6, &mut message);
    let mut packet = packet6(SRC6, DST6, 0, 65, ipv4::ICMPV6, &message);
    let meta = meta6(&packet);
    six_to_four(&mut packet, &meta, &Endpoints { sport: 0, ..TO4 }, &options(), 0).unwrap();
    assert_eq!(packet[20..24], [0, 0, 0xff, 0xff]);
    assert!(l4_is_valid(&packet));
}

#[test]
fn other_icmp_and_fragments_of_icmp_are_refused() {
    for icmp_type in [3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 40] {
        let mut message = icmp(icmp_type, 0, 0, &[0; 28]);
        fill4(SRC4, DST4, ipv4::ICMP, &mut message);
        let packet = packet4(head(), ipv4::ICMP, &[], &message);
        assert_eq!(to_six(&packet, &options()), Err(XlatError::IcmpType));
    }
    for icmp_type in [1, 2, 3, 4, 100, 127, 130, 131, 132, 133, 134, 135, 136, 137, 143] {
        let mut message = icmp(icmp_type, 0, 0, &[0; 48]);
        fill6(SRC6, DST6, ipv4::ICMPV6, &mut message);
        let packet = packet6(SRC6, DST6, 0, 65, ipv4::ICMPV6, &message);
        assert_eq!(to_four(&packet), Err(XlatError::IcmpType));
    }
    for flags in [ipv4::FLAG_MF, 2] {
        let packet = packet4(Head4 { flags, ..head() }, ipv4::ICMP, &[], &icmp(8, 0, 0, &[]));
        assert_eq!(to_six(&packet, &options()), Err(XlatError::FragmentedIcmp));
    }
    for word in [1, 16] {
        let mut payload = vec![ipv4::ICMPV6, 0, 0, word, 0, 0, 0, 1];
        payload.extend_from_slice(&icmp(128, 0, 0, &[]));
        let packet = packet6(SRC6, DST6, 0, 65, ipv6::FRAGMENT, &payload);
        assert_eq!(to_four(&packet), Err(XlatError::FragmentedIcmp));
    }
}

#[test]
fn other_protocols_pass_and_illegal_ones_do_not() {
    let data = [0x5a; 24];
    for proto in 0..=255u8 {
        if matches!(
            proto,
            ipv4::TCP | ipv4::UDP | ipv4::ICMP | ipv4::DCCP | ipv4::UDPLITE
        ) {
            continue;
        }
        let got = to_six(&packet4(head(), proto, &[], &data), &options());
        let illegal = matches!(proto, 0 | 2 | 43 | 44 | 58 | 59 | 60 | 135 | 139 | 140);
        let expect = packet6(TO6.src, TO6.dst, 0x28, 63, proto, &data);
        assert_eq!(
            got,
            if illegal {
                Err(XlatError::Protocol)
            } else {
                Ok(expect)
            }
        );
    }
    for proto in [1, 2, 59, 135, 139, 140] {
        let packet = packet6(SRC6, DST6, 0, 65, proto, &data);
        assert_eq!(to_four(&packet), Err(XlatError::Protocol), "{proto}");
    }
    for proto in [ipv4::ESP, ipv4::AH, ipv4::GRE, ipv4::SCTP, ipv4::IPV6, 253] {
        let got = to_four(&packet6(SRC6, DST6, 0x28, 65, proto, &data));
        let head = Head4 { id: 0x1234, ..head() };
        assert_eq!(got, Ok(packet4(head, proto, &[], &data)));
    }
}

#[test]
fn dccp_and_udplite_follow_the_addresses() {
    for proto in [ipv4::DCCP, ipv4::UDPLITE] {
        let mut upper = vec![0x5a; 25];
        fill6(SRC6, DST6, proto, &mut upper);
        let got = to_four(&packet6(SRC6, DST6, 0, 65, proto, &upper)).unwrap();
        assert!(l4_is_valid(&got));
        let back = to_six(&got, &options()).unwrap();
        assert!(l4_is_valid(&back));
        // Too short for a checksum.
        assert!(to_four(&packet6(SRC6, DST6, 0, 65, proto, &[1; 7])).is_ok());
    }
}

#[test]
fn foreign_meta_is_refused_without_panic() {
    let whole = packet6(SRC6, DST6, 0, 65, ipv4::TCP, &upper6(ipv4::TCP, b"data"));
    let meta = meta6(&whole);
    for len in 0..58 {
        let mut cut = whole[..len].to_vec();
        assert_eq!(
            six_to_four(&mut cut, &meta, &TO4, &options(), 0),
            Err(XlatError::Malformed)
        );
    }
    let whole = packet4(head(), ipv4::TCP, &[1; 8], &upper4(ipv4::TCP, b"data"));
    let meta = parse_ipv4_verified(&whole).unwrap();
    for len in 0..46 {
        let mut cut = whole[..len].to_vec();
        assert_eq!(
            four_to_six(&mut cut, &meta, &TO6, &options()),
            Err(XlatError::Malformed)
        );
    }
    let odd = Ipv4Meta { total_len: 3, ..meta };
    assert_eq!(
        four_to_six(&mut whole.clone(), &odd, &TO6, &options()),
        Err(XlatError::Malformed)
    );
}
