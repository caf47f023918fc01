//! Every kind of quote is translated and compared, octet by octet, with the error about the translated packet.

use super::*;
use crate::build::{PacketBuilder, Payload};
use proptest::prelude::*;

const INSIDE: u32 = 0x0a00_0001;
const PUBLIC: u32 = 0xcb00_7105;
const PEER: u32 = 0xc000_0201;
const ROUTER: u32 = 0xc633_6401;

fn written(builder: &PacketBuilder<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

/// The ICMP message (without its IP header) about the first `quoted` octets of a packet.
fn error_about(packet: &[u8], quoted: usize, word: u32, tail: &[u8]) -> Vec<u8> {
    let mut data = packet[..quoted.min(packet.len())].to_vec();
    data.extend_from_slice(tail);
    written(&PacketBuilder::icmp(ROUTER, PUBLIC, icmp::UNREACHABLE, 1, word).data(&data))[20..].to_vec()
}

/// The same packet before and after translation of its source, of every protocol, with and without options.
fn pairs() -> Vec<(Vec<u8>, Vec<u8>, u16)> {
    let mut all = Vec::new();
    for options in [&[][..], &[1, 1, 1, 0], &[7, 4, 4, 0], &[1; 40]] {
        for data in [&b""[..], b"odd", &[0; 64]] {
            let build = |src: u32, port: u16| {
                [
                    PacketBuilder::udp(src, port, PEER, 53),
                    PacketBuilder::new(
                        src,
                        PEER,
                        Payload::Udp {
                            sport: port,
                            dport: 53,
                            checksum: false,
                        },
                    ),
                    PacketBuilder::tcp(src, port, PEER, 80, tcp::SYN),
                    PacketBuilder::echo(src, PEER, port, 9),
                    PacketBuilder::new(src, PEER, Payload::Raw { proto: ipv4::GRE }),
                    PacketBuilder::new(src, PEER, Payload::Raw { proto: ipv4::TCP }).fragment(false, 800),
                ]
                .map(|b| written(&b.ip_options(options).data(data)))
            };
            for (before, after) in build(PUBLIC, 40_000).into_iter().zip(build(INSIDE, 1234)) {
                all.push((before, after, 20 + options.len() as u16));
            }
        }
    }
    all
}

#[test]
fn every_quote_of_every_length() {
    for (before, after, header_len) in pairs() {
        for quoted in 0..=before.len() {
            let mut message = error_about(&before, quoted, 0, &[]);
            let expect = error_about(&after, quoted, 0, &[]);
            if quoted < usize::from(header_len) {
                assert_eq!(parse(&message).map(|_| ()), Err(ParseError::IcmpErrorTruncated));
                let untouched = message.clone();
                assert_eq!(rewrite_embedded(&mut message, Some((INSIDE, 1234)), None), None);
                assert_eq!(message, untouched);
                continue;
            }
            let meta = parse(&message).unwrap();
            assert!(meta.checksum_ok && meta.embedded_checksum_ok);
            assert_eq!(
                (meta.embedded.src, meta.embedded.dst, meta.embedded.l4_offset),
                (PUBLIC, PEER, 8 + header_len)
            );
            let half_checksum = match meta.embedded.l4 {
                EmbeddedL4::Tcp { .. } => 17,
                EmbeddedL4::Udp { .. } => 7,
                _ => usize::MAX,
            };
            if meta.embedded.l4 == EmbeddedL4::Truncated
                || quoted.checked_sub(usize::from(header_len)) == Some(half_checksum)
            {
                // Ports cut off, or half a checksum, which nobody can update: only the rest can be compared.
                rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
                let meta = parse(&message).unwrap();
                assert_eq!((meta.embedded.src, meta.embedded.dst), (INSIDE, PEER));
                assert!(meta.checksum_ok && meta.embedded_checksum_ok);
                continue;
            }
            rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
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
        |builder: PacketBuilder<'_>, quoted| parse(&error_about(&written(&builder), quoted, 0, &[])).unwrap();
    let tcp = PacketBuilder::tcp(PUBLIC, 40_000, PEER, 80, 0).ttl(3).id(99);
    let meta = about(tcp, 28);
    assert_eq!((meta.icmp_type, meta.code), (icmp::UNREACHABLE, 1));
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
        (meta.embedded.ttl, meta.embedded.id, meta.embedded.total_len),
        (3, 99, 40)
    );
    assert_eq!((meta.embedded.end, meta.embedded.has_extensions), (36, false));
    let echo = about(PacketBuilder::echo(PUBLIC, PEER, 7, 1), 28).embedded;
    assert_eq!(
        echo.l4,
        EmbeddedL4::IcmpQuery {
            id: 7,
            icmp_type: icmp::ECHO
        }
    );
    assert_eq!((echo.sport(), echo.dport()), (Some(7), Some(7)));
    let nested = about(PacketBuilder::icmp(PUBLIC, PEER, icmp::UNREACHABLE, 1, 0), 28).embedded;
    assert_eq!(
        (nested.l4, nested.sport()),
        (
            EmbeddedL4::IcmpOther {
                icmp_type: icmp::UNREACHABLE
            },
            None
        )
    );
    let later = about(PacketBuilder::udp(PUBLIC, 1, PEER, 2).fragment(true, 8), 28).embedded;
    assert_eq!(
        (later.l4, later.fragment_offset, later.more_fragments),
        (EmbeddedL4::LaterFragment, 8, true)
    );
    assert_eq!(about(tcp, 23).embedded.l4, EmbeddedL4::Truncated);
    let too_big = error_about(&written(&tcp), 28, 1300, &[]);
    assert_eq!(parse(&too_big).unwrap().next_hop_mtu, 1300);
}

#[test]
fn checksums_are_told_apart() {
    let packet = written(&PacketBuilder::udp(PUBLIC, 1, PEER, 2));
    let mut message = error_about(&packet, 28, 0, &[]);
    message[2] ^= 1;
    let meta = parse(&message).unwrap();
    assert_eq!((meta.checksum_ok, meta.embedded_checksum_ok), (false, true));
    rewrite_embedded(&mut message, Some((INSIDE, 5)), None).unwrap();
    assert!(!parse(&message).unwrap().checksum_ok, "no silent repair");

    let mut bad_header = packet.clone();
    bad_header[8] ^= 1;
    let meta = parse(&error_about(&bad_header, 28, 0, &[])).unwrap();
    assert_eq!((meta.checksum_ok, meta.embedded_checksum_ok), (true, false));

    let mut bad_l4 = packet;
    bad_l4[26] ^= 1;
    let mut message = error_about(&bad_l4, 28, 0, &[]);
    rewrite_embedded(&mut message, Some((INSIDE, 5)), None).unwrap();
    let meta = parse(&message).unwrap();
    assert!(
        meta.checksum_ok && meta.embedded_checksum_ok,
        "an embedded wrong L4 checksum harms nothing"
    );
    assert_eq!(meta.embedded.sport(), Some(5));
}

#[test]
fn extensions_and_padding_are_left_alone() {
    // RFC 4884: quote padded to 128 octets (length 32 words), then an extension structure.
    let extension = [0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 0, 1, 0x01, 0x01];
    for (before, after, _) in pairs() {
        if before.len() > 128 {
            continue;
        }
        let mut tail = vec![0xa5; 128 - before.len()];
        tail.extend_from_slice(&extension);
        let mut message = error_about(&before, before.len(), 32 << 16, &tail);
        let meta = parse(&message).unwrap();
        assert!(meta.embedded.has_extensions && meta.checksum_ok);
        assert_eq!(usize::from(meta.embedded.end), 8 + before.len());
        rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
        assert_eq!(message, error_about(&after, after.len(), 32 << 16, &tail));
    }
    // A TCP header that the length field cuts off before its checksum: what follows is extension, not checksum.
    let tcp = written(&PacketBuilder::tcp(PUBLIC, 40_000, PEER, 80, 0));
    let mut message = error_about(&tcp, 28, 7 << 16, &extension);
    let meta = parse(&message).unwrap();
    assert_eq!((meta.embedded.end, meta.embedded.has_extensions), (36, true));
    rewrite_embedded(&mut message, Some((INSIDE, 1234)), None).unwrap();
    assert_eq!(message[36..], extension);
    assert!(parse(&message).unwrap().checksum_ok);
    // A length beyond the message is not believed.
    let message = error_about(&tcp, 28, 200 << 16, &[]);
    assert!(!parse(&message).unwrap().embedded.has_extensions);
}

#[test]
fn refusals() {
    let packet = written(&PacketBuilder::udp(PUBLIC, 1, PEER, 2));
    let message = error_about(&packet, 28, 0, &[]);
    let with = |at: usize, value: u8| {
        let mut m = message.clone();
        m[at] = value;
        parse(&m).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(0, icmp::ECHO), ParseError::IcmpErrorBadHeader);
    assert_eq!(with(8, 0x65), ParseError::IcmpErrorBadHeader);
    assert_eq!(with(8, 0x44), ParseError::IcmpErrorBadHeader);
    assert_eq!(with(8, 0x4f), ParseError::IcmpErrorTruncated);
    assert_eq!(parse(&message[..7]).map(|_| ()), Err(ParseError::IcmpTruncated));
    assert_eq!(
        parse(&message[..27]).map(|_| ()),
        Err(ParseError::IcmpErrorTruncated)
    );
}

proptest! {
    #[test]
    fn both_ends_at_once(
        old in any::<(u32, u16, u32, u16)>(), new in any::<(u32, u16, u32, u16)>(),
        kind in 0usize..3, quoted in 28usize..80, data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        prop_assume!(kind != 1 || quoted != 37); // half a checksum cannot be updated
        let build = |t: (u32, u16, u32, u16)| {
            let builder = match kind {
                0 => PacketBuilder::udp(t.0, t.1, t.2, t.3),
                1 => PacketBuilder::tcp(t.0, t.1, t.2, t.3, 0x12),
                _ => PacketBuilder::echo(t.0, t.2, t.1, 3),
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
}
