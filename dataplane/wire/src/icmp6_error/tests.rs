//! Every kind of quote is translated and compared, octet by octet, with the error about the translated packet.

use super::*;
use crate::build::{PacketBuilder6, Payload};
use proptest::prelude::*;

const INSIDE: u128 = 0xfd00 << 112 | 1;
const PUBLIC: u128 = 0x2001_0db8 << 96 | 5;
const PEER: u128 = 0x2001_0db8_00ff << 80 | 2;
const ROUTER: u128 = 0x2001_0db8_00ff << 80 | 0xfe;
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

fn written(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

/// The ICMPv6 message (without its IP header) about the first `quoted` octets of a packet.
fn error_about(packet: &[u8], quoted: usize, word: u32, tail: &[u8]) -> Vec<u8> {
    let mut data = packet[..quoted.min(packet.len())].to_vec();
    data.extend_from_slice(tail);
    written(&PacketBuilder6::icmp(ROUTER, PUBLIC, icmp6::UNREACHABLE, 1, word).data(&data))[40..].to_vec()
}

fn parsed(message: &[u8]) -> IcmpErrorMeta6 {
    parse(message, ROUTER, PUBLIC).unwrap()
}

/// The same packet before and after translation of its source, of every protocol, with and without extension headers:
/// and where its L4 header starts.
fn pairs() -> Vec<(Vec<u8>, Vec<u8>, usize)> {
    let mut all = Vec::new();
    for extensions in [
        &[][..],
        &[(0, &PAD[..])],
        &[(0, &PAD), (43, &[0; 22]), (60, &PAD)],
    ] {
        for data in [&b""[..], b"odd", &[0; 64]] {
            let build = |src: u128, port: u16| {
                [
                    PacketBuilder6::udp(src, port, PEER, 53),
                    PacketBuilder6::new(
                        src,
                        PEER,
                        Payload::Udp {
                            sport: port,
                            dport: 53,
                            checksum: false,
                        },
                    ),
                    PacketBuilder6::tcp(src, port, PEER, 80, tcp::SYN),
                    PacketBuilder6::echo(src, PEER, port, 9),
                    PacketBuilder6::icmp(src, PEER, icmp6::NEIGHBOUR_SOLICITATION, 0, 0),
                    PacketBuilder6::new(src, PEER, Payload::Raw { proto: ipv4::GRE }),
                    PacketBuilder6::new(src, PEER, Payload::Raw { proto: ipv4::TCP }).fragment(false, 800, 7),
                    PacketBuilder6::tcp(src, port, PEER, 80, tcp::SYN).fragment(true, 0, 7),
                ]
                .map(|b| written(&b.extensions(extensions).data(data)))
            };
            let headers: usize = 40 + extensions.iter().map(|e| 2 + e.1.len()).sum::<usize>();
            for (i, (before, after)) in build(PUBLIC, 40_000)
                .into_iter()
                .zip(build(INSIDE, 1234))
                .enumerate()
            {
                all.push((before, after, headers + if i >= 6 { 8 } else { 0 }));
            }
        }
    }
    all
}

#[test]
fn every_quote_of_every_length() {
    for (before, after, l4_at) in pairs() {
        for quoted in 0..=before.len() {
            let mut message = error_about(&before, quoted, 0, &[]);
            let expect = error_about(&after, quoted, 0, &[]);
            if quoted < 40 {
                assert_eq!(
                    parse(&message, ROUTER, PUBLIC).map(|_| ()),
                    Err(ParseError::IcmpErrorTruncated)
                );
                let untouched = message.clone();
                assert_eq!(rewrite_embedded(&mut message, Some((INSIDE, 1234)), None), None);
                assert_eq!(message, untouched);
                continue;
            }
            let meta = parsed(&message);
            assert!(meta.checksum_ok);
            assert_eq!((meta.embedded.src, meta.embedded.dst), (PUBLIC, PEER));
            if quoted >= l4_at {
                assert_eq!(usize::from(meta.embedded.l4_offset), 8 + l4_at);
            } else {
                assert_eq!(
                    (meta.embedded.l4, meta.embedded.l4_offset),
                    (EmbeddedL4::Truncated, meta.embedded.end)
                );
            }
            let half_checksum = match meta.embedded.l4 {
                EmbeddedL4::Tcp { .. } => 17,
                EmbeddedL4::Udp { .. } => 7,
                EmbeddedL4::IcmpOther { .. } => 3,
                _ => usize::MAX,
            };
            let cut = quoted.checked_sub(l4_at);
            rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
            if meta.embedded.l4 == EmbeddedL4::Truncated && cut.is_some() || cut == Some(half_checksum) {
                // Ports cut off, or half a checksum, which nobody can update: only the rest can be compared.
                let meta = parsed(&message);
                assert_eq!((meta.embedded.src, meta.embedded.dst), (INSIDE, PEER));
                assert!(meta.checksum_ok);
                continue;
            }
            assert_eq!(
                message, expect,
                "protocol {} quoted {quoted}",
                meta.embedded.proto
            );
        }
    }
}

#[test]
fn what_is_read() {
    let about =
        |builder: PacketBuilder6<'_>, quoted| parsed(&error_about(&written(&builder), quoted, 0, &[]));
    let tcp = PacketBuilder6::tcp(PUBLIC, 40_000, PEER, 80, 0)
        .hop_limit(3)
        .traffic_class(0x2e);
    let meta = about(tcp, 48);
    assert_eq!((meta.icmp_type, meta.code, meta.word), (icmp6::UNREACHABLE, 1, 0));
    assert_eq!(
        meta.embedded.l4,
        EmbeddedL4::Tcp {
            sport: 40_000,
            dport: 80
        }
    );
    assert_eq!(
        (meta.embedded.sport(), meta.embedded.dport()),
        (Some(40_000), Some(80))
    );
    assert_eq!(
        (
            meta.embedded.hop_limit,
            meta.embedded.traffic_class,
            meta.embedded.payload_len
        ),
        (3, 0x2e, 20)
    );
    assert_eq!(
        (
            meta.embedded.end,
            meta.embedded.has_extensions,
            meta.embedded.segments_left_at
        ),
        (56, false, 0)
    );
    let echo = about(PacketBuilder6::echo(PUBLIC, PEER, 7, 1), 48).embedded;
    assert_eq!(
        echo.l4,
        EmbeddedL4::IcmpQuery {
            id: 7,
            icmp_type: icmp6::ECHO
        }
    );
    assert_eq!((echo.sport(), echo.dport()), (Some(7), Some(7)));
    let nested = about(PacketBuilder6::icmp(PUBLIC, PEER, icmp6::UNREACHABLE, 1, 0), 48).embedded;
    assert_eq!(
        (nested.l4, nested.sport()),
        (
            EmbeddedL4::IcmpOther {
                icmp_type: icmp6::UNREACHABLE
            },
            None
        )
    );
    let later = about(
        PacketBuilder6::udp(PUBLIC, 1, PEER, 2)
            .extensions(&[(60, &PAD)])
            .fragment(true, 8, 0xabcd_ef01),
        56,
    )
    .embedded;
    assert_eq!(
        (
            later.l4,
            later.fragment_offset,
            later.more_fragments,
            later.fragment_id,
            later.fragment_header
        ),
        (EmbeddedL4::LaterFragment, 8, true, 0xabcd_ef01, 56)
    );
    assert_eq!(about(tcp, 43).embedded.l4, EmbeddedL4::Truncated);
    let mut too_big = error_about(&written(&tcp), 48, 1300, &[]);
    too_big[0] = icmp6::PACKET_TOO_BIG;
    assert_eq!(parsed(&too_big).word, 1300);
    let routing = [4u8, 2, 0, 0, 0, 0];
    let routed = about(tcp.extensions(&[(43, &routing)]), 200).embedded;
    assert_eq!((routed.segments_left_at, routed.l4_offset), (51, 56));
    // A chain that cannot be followed at all.
    let odd = about(tcp.extensions(&[(60, &PAD), (0, &PAD)]), 200).embedded;
    assert_eq!(
        (odd.l4, odd.proto, odd.l4_offset),
        (EmbeddedL4::Truncated, 60, odd.end)
    );
}

#[test]
fn a_wrong_checksum_is_told_and_stays_wrong() {
    let packet = written(&PacketBuilder6::udp(PUBLIC, 1, PEER, 2));
    let mut message = error_about(&packet, 48, 0, &[]);
    assert!(
        !parse(&message, ROUTER, PEER).unwrap().checksum_ok,
        "the addresses count"
    );
    message[2] ^= 1;
    assert!(!parsed(&message).checksum_ok);
    rewrite_embedded(&mut message, Some((INSIDE, 5)), None).unwrap();
    assert!(!parsed(&message).checksum_ok, "no silent repair");

    let mut bad_l4 = packet;
    bad_l4[46] ^= 1;
    let mut message = error_about(&bad_l4, 48, 0, &[]);
    rewrite_embedded(&mut message, Some((INSIDE, 5)), None).unwrap();
    let meta = parsed(&message);
    assert!(meta.checksum_ok, "an embedded wrong L4 checksum harms nothing");
    assert_eq!(meta.embedded.sport(), Some(5));
}

#[test]
fn with_the_outer_addresses_the_whole_packet_is_right() {
    let about = |outer: (u128, u128), inner: u128, port| {
        let packet = written(&PacketBuilder6::udp(inner, port, PEER, 53).data(b"query"));
        written(&PacketBuilder6::icmp(outer.0, outer.1, icmp6::UNREACHABLE, 4, 0).data(&packet))
    };
    let mut l3 = about((ROUTER, PUBLIC), PUBLIC, 40_000);
    let meta = crate::parse_ipv6(&l3).unwrap();
    rewrite_embedded(&mut l3[40..], Some((INSIDE, 1234)), None).unwrap();
    let to = crate::rewrite6::Endpoints6 {
        dst: INSIDE,
        ..crate::rewrite6::Endpoints6::of(&meta)
    };
    assert!(crate::rewrite6::rewrite_ipv6(&mut l3, &meta, &to));
    assert_eq!(l3, about((ROUTER, INSIDE), INSIDE, 1234));
}

#[test]
fn extensions_and_padding_are_left_alone() {
    // RFC 4884: quote padded to 192 octets (length 24 words of 8), then an extension structure.
    let extension = [0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 0, 1, 0x01, 0x01];
    for (before, after, _) in pairs() {
        if before.len() > 192 {
            continue;
        }
        let mut tail = vec![0xa5; 192 - before.len()];
        tail.extend_from_slice(&extension);
        let mut message = error_about(&before, before.len(), 24 << 24, &tail);
        let meta = parsed(&message);
        assert!(meta.embedded.has_extensions && meta.checksum_ok);
        assert_eq!(usize::from(meta.embedded.end), 8 + before.len());
        rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
        assert_eq!(message, error_about(&after, after.len(), 24 << 24, &tail));
    }
    // A TCP header that the length field cuts off before its checksum: what follows is extension, not checksum.
    let tcp = written(&PacketBuilder6::tcp(PUBLIC, 40_000, PEER, 80, 0));
    let mut message = error_about(&tcp, 48, 6 << 24, &extension);
    let meta = parsed(&message);
    assert_eq!((meta.embedded.end, meta.embedded.has_extensions), (56, true));
    rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
    assert_eq!(message[56..], extension);
    assert!(parsed(&message).checksum_ok);
    // A length beyond the message is not believed; nor has type 2 one, whose MTU stands there.
    let message = error_about(&tcp, 48, 200 << 24, &[]);
    assert!(!parsed(&message).embedded.has_extensions);
    let mut message = error_about(&tcp, 48, 6 << 24, &extension);
    message[0] = icmp6::PACKET_TOO_BIG;
    assert!(!parsed(&message).embedded.has_extensions);
    // One that ends inside the fixed header cuts everything behind that.
    let message = error_about(&tcp, 48, 1 << 24, &extension);
    assert_eq!(
        (parsed(&message).embedded.end, parsed(&message).embedded.l4),
        (48, EmbeddedL4::Truncated)
    );
}

#[test]
fn refusals() {
    let packet = written(&PacketBuilder6::udp(PUBLIC, 1, PEER, 2));
    let message = error_about(&packet, 48, 0, &[]);
    let with = |at: usize, value: u8| {
        let mut m = message.clone();
        m[at] = value;
        assert_eq!(rewrite_embedded(&mut m.clone(), Some((1, 2)), None), None);
        parse(&m, ROUTER, PUBLIC).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(0, icmp6::ECHO), ParseError::IcmpErrorBadHeader);
    assert_eq!(with(0, 5), ParseError::IcmpErrorBadHeader);
    assert_eq!(with(8, 0x45), ParseError::IcmpErrorBadHeader);
    for (len, want) in [
        (7, ParseError::IcmpTruncated),
        (47, ParseError::IcmpErrorTruncated),
    ] {
        assert_eq!(parse(&message[..len], ROUTER, PUBLIC).map(|_| ()), Err(want));
    }
}

proptest! {
    #[test]
    fn both_ends_at_once(
        old in any::<(u128, u16, u128, u16)>(), new in any::<(u128, u16, u128, u16)>(),
        kind in 0usize..3, quoted in 48usize..100, data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        prop_assume!(kind != 1 || quoted != 57); // half a checksum cannot be updated
        let build = |t: (u128, u16, u128, u16)| {
            let builder = match kind {
                0 => PacketBuilder6::udp(t.0, t.1, t.2, t.3),
                1 => PacketBuilder6::tcp(t.0, t.1, t.2, t.3, 0x12),
                _ => PacketBuilder6::echo(t.0, t.2, t.1, 3),
            };
            written(&builder.data(&data))
        };
        let mut message = error_about(&build(old), quoted, 0, &[]);
        rewrite_embedded(&mut message, Some((new.0, new.1)), Some((new.2, new.3))).unwrap();
        prop_assert_eq!(&message, &error_about(&build(new), quoted, 0, &[]));
        // And back, one end at a time; an echo has one identifier, so its second step sets it again.
        rewrite_embedded(&mut message, None, Some((old.2, if kind == 2 { old.1 } else { old.3 }))).unwrap();
        rewrite_embedded(&mut message, Some((old.0, old.1)), None).unwrap();
        prop_assert_eq!(&message, &error_about(&build(old), quoted, 0, &[]));
    }

    #[test]
    fn no_bytes_panic_and_only_fields_change(
        icmp_type in 0u8..6, next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6), Just(17), Just(58)],
        body in proptest::collection::vec(any::<u8>(), 0..120), length in 0u8..20, payload_len in 0u16..160,
    ) {
        let mut message = vec![icmp_type, 0, 0, 0, length, 0, 0, 0, 0x60, 0, 0, 0];
        message.extend_from_slice(&payload_len.to_be_bytes());
        message.extend_from_slice(&[next, 9]);
        message.extend_from_slice(&body);
        let before = message.clone();
        match parse(&message, 1, 2) {
            Ok(meta) => {
                let e = meta.embedded;
                prop_assert!(48 <= e.l4_offset && e.l4_offset <= e.end && usize::from(e.end) <= message.len());
                rewrite_embedded(&mut message, Some((7, 8)), Some((9, 10))).unwrap();
                prop_assert_eq!(message.len(), before.len());
                prop_assert_eq!(&message[4..16], &before[4..16]);
                prop_assert_eq!(&message[48..usize::from(e.l4_offset)], &before[48..usize::from(e.l4_offset)]);
                prop_assert_eq!(&message[usize::from(e.end)..], &before[usize::from(e.end)..]);
            }
            Err(_) => {
                prop_assert_eq!(rewrite_embedded(&mut message, Some((7, 8)), Some((9, 10))), None);
                prop_assert_eq!(&message, &before);
            }
        }
    }
}
