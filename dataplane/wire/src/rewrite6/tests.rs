//! A rewritten packet is, octet by octet, the packet built with the new addresses and ports.

use super::*;
use crate::build::{PacketBuilder6, Payload};
use crate::parse6::parse_ipv6;
use proptest::prelude::*;

type Tuple = (u128, u16, u128, u16);

const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

/// One packet of each kind between two ends, from scratch.
fn packet(kind: usize, t: Tuple, hop_limit: u8, data: &[u8], extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let (src, sport, dst, dport) = t;
    let builder = match kind {
        0 => PacketBuilder6::udp(src, sport, dst, dport),
        1 => PacketBuilder6::tcp(src, sport, dst, dport, tcp::ACK),
        2 => PacketBuilder6::echo(src, dst, sport, 0),
        3 => PacketBuilder6::echo_reply(src, dst, sport, 0),
        4 => PacketBuilder6::icmp(src, dst, icmp6::PACKET_TOO_BIG, 0, 1280),
        5 => PacketBuilder6::icmp(src, dst, icmp6::NEIGHBOUR_SOLICITATION, 0, 0),
        6 => PacketBuilder6::new(src, dst, Payload::Raw { proto: ipv4::ESP }),
        7 => PacketBuilder6::new(src, dst, Payload::Raw { proto: ipv4::UDP }).fragment(false, 8, 3),
        _ => PacketBuilder6::udp(src, sport, dst, dport).fragment(false, 0, 3),
    };
    let builder = builder.hop_limit(hop_limit).data(data).extensions(extensions);
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

fn to(t: Tuple) -> Endpoints6 {
    Endpoints6 {
        src: t.0,
        sport: t.1,
        dst: t.2,
        dport: t.3,
    }
}

#[test]
fn udp_checksum_that_becomes_zero_is_written_as_all_ones() {
    // Search the source port for which the sum over the translated datagram is zero.
    let mut seen = 0;
    for port in 0..=u16::MAX {
        let want = packet(0, (5, port, 6, 7), 64, b"", &[]);
        let mut got = packet(0, (1, 2, 3, 4), 64, b"", &[]);
        let meta = parse_ipv6(&got).unwrap();
        assert!(rewrite_ipv6(&mut got, &meta, &to((5, port, 6, 7))));
        assert_eq!(got, want);
        seen += u32::from(got[46..48] == [0xff, 0xff]);
    }
    assert_eq!(seen, 1);
}

#[test]
fn udplite_and_dccp_checksums_follow_the_addresses() {
    for proto in [ipv4::UDPLITE, ipv4::DCCP] {
        let build = |src: u128| {
            let mut data = [0, 1, 0, 2, 0, 0, 0, 0, 9, 9];
            let sum = crate::checksum::pseudo_v6(src, 8, proto, 10)
                .slice(&data)
                .finish();
            data[6..8].copy_from_slice(&sum.to_be_bytes());
            let mut buf = vec![0; 50];
            let raw = PacketBuilder6::new(src, 8, Payload::Raw { proto }).data(&data);
            assert_eq!(raw.write(&mut buf), Some(50));
            buf
        };
        let mut got = build(7);
        let meta = parse_ipv6(&got).unwrap();
        let to = Endpoints6 {
            src: 0xffff_1234 << 64,
            ..Endpoints6::of(&meta)
        };
        assert!(rewrite_ipv6(&mut got, &meta, &to));
        assert_eq!(got, build(to.src));
    }
}

#[test]
fn the_checksum_covers_the_final_destination_of_a_routing_header() {
    let routing = [4u8, 1, 0, 0, 0, 0];
    let mut got = packet(1, (1, 2, 3, 4), 64, b"x", &[(43, &routing)]);
    let before = got.clone();
    let meta = parse_ipv6(&got).unwrap();
    assert!(rewrite_ipv6(&mut got, &meta, &to((1, 2, 99, 4))));
    assert_eq!(got[24..40], 99u128.to_be_bytes());
    assert_eq!(got[40..], before[40..]);
    // The source is in the pseudo header as ever.
    let mut got = before;
    assert!(rewrite_ipv6(&mut got, &meta, &to((7, 2, 3, 4))));
    assert_eq!(got, packet(1, (7, 2, 3, 4), 64, b"x", &[(43, &routing)]));
}

#[test]
fn a_zero_checksum_in_a_first_fragment_stays_zero() {
    let zero = Payload::Raw { proto: ipv4::UDP };
    let data = [0, 7, 0, 9, 0, 99, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut got = vec![0; 64];
    let builder = PacketBuilder6::new(1, 2, zero).data(&data).fragment(true, 0, 1);
    assert_eq!(builder.write(&mut got), Some(64));
    let meta = parse_ipv6(&got).unwrap();
    assert!(forward_ipv6(&mut got, &meta, &to((5, 6, 7, 8))));
    assert_eq!(got[48..56], [0, 6, 0, 8, 0, 99, 0, 0]);
}

#[test]
fn foreign_meta_is_refused_without_panic() {
    for kind in 0..9 {
        let long = packet(kind, (1, 2, 3, 4), 64, &[0; 40], &[(60, &PAD)]);
        let meta = parse_ipv6(&long).unwrap();
        for len in 0..long.len() {
            let done = rewrite_ipv6(&mut long[..len].to_vec(), &meta, &to((5, 6, 7, 8)));
            assert!(!done || len >= 40);
            assert_eq!(forward_same_ipv6(&mut long[..len].to_vec(), &meta), len >= 40);
        }
    }
}

#[test]
fn hop_limit_stops_at_one() {
    let mut p = packet(1, (1, 2, 3, 4), 64, &[], &[]);
    for left in (1..64).rev() {
        assert!(decrement_hop_limit(&mut p));
        assert_eq!(p[7], left);
    }
    assert!(!decrement_hop_limit(&mut p));
    assert_eq!(p[7], 1);
    assert!(!decrement_hop_limit(&mut p[..39]));
}

#[test]
fn wrong_stays_wrong() {
    let mut got = packet(0, (1, 2, 3, 4), 64, b"data", &[]);
    got[46] ^= 0x40;
    let meta = parse_ipv6(&got).unwrap();
    assert!(forward_ipv6(&mut got, &meta, &to((5, 6, 7, 8))));
    let mut want = packet(0, (5, 6, 7, 8), 63, b"data", &[]);
    assert_ne!(got, want);
    [want[46], want[47]] = [got[46], got[47]];
    assert_eq!(got, want, "nothing else differs");
}

proptest! {
    #[test]
    fn rewritten_equals_built(
        kind in 0usize..9, old in any::<Tuple>(), new in any::<Tuple>(), hop_limit in 2u8..,
        data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 8..60), count in 0usize..=3,
    ) {
        prop_assume!((old.0, old.1) != (old.2, old.3));
        let extensions: [(u8, &[u8]); 3] = [(0, &PAD), (60, &PAD), (43, &[0; 22])];
        let extensions = &extensions[..count];
        let before = packet(kind, old, hop_limit, &data, extensions);
        let meta = parse_ipv6(&before).unwrap();
        let mut got = before.clone();
        prop_assert!(forward_ipv6(&mut got, &meta, &to(new)));
        prop_assert_eq!(&got, &packet(kind, new, hop_limit - 1, &data, extensions));
        let mut same = before.clone();
        prop_assert!(rewrite_ipv6(&mut same, &meta, &Endpoints6::of(&meta)));
        prop_assert_eq!(&same, &before);
        prop_assert!(forward_same_ipv6(&mut same, &meta));
        let mut fewer = before.clone();
        prop_assert!(decrement_hop_limit(&mut fewer));
        prop_assert_eq!(&same, &fewer);
        prop_assert_eq!(&same, &packet(kind, old, hop_limit - 1, &data, extensions));
        same[7] = hop_limit;
        prop_assert!(rewrite_ipv6(&mut same, &meta, &to(new)));
        prop_assert_eq!(&same, &packet(kind, new, hop_limit, &data, extensions));
    }
}
