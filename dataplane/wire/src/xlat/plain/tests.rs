use super::*;
use crate::l4::parse_ipv4_verified;
use crate::xlat::testing::{Head4, fill4, fill6, l4, l4_is_valid, meta6, packet4, packet6};
use proptest::prelude::*;

const SRC6: u128 = 0x2001_0db8_0001_0002_0003_0004_0005_0006;
const DST6: u128 = 0x0064_ff9b_0000_0000_0000_0000_c000_0221;

fn six(proto: u8, src: (u128, u16), dst: (u128, u16), class: u8, hops: u8, data: &[u8]) -> Vec<u8> {
    let mut upper = l4(proto, src.1, dst.1, data);
    fill6(src.0, dst.0, proto, &mut upper);
    packet6(src.0, dst.0, class, hops, proto, &upper)
}

fn four(proto: u8, src: (u32, u16), dst: (u32, u16), head: Head4, data: &[u8]) -> Vec<u8> {
    let mut upper = l4(proto, src.1, dst.1, data);
    fill4(src.0, dst.0, proto, &mut upper);
    let head = Head4 {
        src: src.0,
        dst: dst.0,
        ..head
    };
    packet4(head, proto, &[], &upper)
}

#[test]
fn one_datagram_octet_by_octet() {
    let to = Endpoints {
        src: 0xc633_6407,
        dst: 0xc000_0221,
        sport: 40000,
        dport: 53,
    };
    let mut packet = six(ipv4::UDP, (SRC6, 1234), (DST6, 53), 0xb8, 64, b"query");
    let meta = meta6(&packet);
    assert!(six_to_four_plain(&mut packet, &meta, &to, true, 0x1234));
    let expect = [
        0x45, 0xb8, 0, 33, 0x12, 0x34, 0, 0, 63, 17, 0x7c, 0x84, 198, 51, 100, 7, 192, 0, 2, 33, 0x9c, 0x40,
        0, 53, 0, 13, 0x27, 0x1a, b'q', b'u', b'e', b'r', b'y',
    ];
    assert_eq!(packet, expect);
    // And back: the answer with the same octets in it.
    let meta = parse_ipv4_verified(&packet).unwrap();
    let back = Endpoints6 {
        src: SRC6,
        dst: DST6,
        sport: 1234,
        dport: 53,
    };
    assert!(four_to_six_plain(&mut packet, &meta, &back, false));
    assert_eq!(packet, six(ipv4::UDP, (SRC6, 1234), (DST6, 53), 0, 62, b"query"));
}

#[test]
fn df_is_set_above_1260_octets() {
    // RFC 7915 section 5.1: up to 1260 octets of IPv4 the packet may be fragmented.
    for (data, df) in [(1232, false), (1233, true)] {
        let mut packet = six(ipv4::UDP, (SRC6, 1), (DST6, 2), 0xff, 9, &vec![7; data]);
        let meta = meta6(&packet);
        let to = Endpoints {
            src: 1,
            dst: 2,
            sport: 3,
            dport: 4,
        };
        assert!(six_to_four_plain(&mut packet, &meta, &to, false, 77));
        let meta = parse_ipv4_verified(&packet).unwrap();
        assert_eq!((meta.dont_fragment, meta.tos, meta.id), (df, 0, 77));
        assert_eq!(usize::from(meta.total_len), 28 + data);
    }
}

#[test]
fn what_is_not_plain_is_left_as_it_is() {
    let to6 = Endpoints6 {
        src: SRC6,
        dst: DST6,
        sport: 1,
        dport: 2,
    };
    let to4 = Endpoints {
        src: 1,
        dst: 2,
        sport: 3,
        dport: 4,
    };
    let head = Head4 {
        ttl: 9,
        ..Head4::default()
    };
    let whole = four(ipv4::UDP, (1, 2), (3, 4), head, b"data");
    let meta = parse_ipv4_verified(&whole).unwrap();
    // No checksum, a fragment, options, another protocol; and cut below the checksum.
    let mut none = whole.clone();
    none[26..28].fill(0);
    assert!(!four_to_six_plain(&mut none, &meta, &to6, true));
    assert_eq!(none.len(), whole.len());
    for other in [
        Ipv4Meta {
            fragment: Fragment::First,
            ..meta
        },
        Ipv4Meta {
            l4_offset: 24,
            ..meta
        },
        Ipv4Meta { proto: 50, ..meta },
        Ipv4Meta {
            total_len: 19,
            ..meta
        },
    ] {
        let mut packet = whole.clone();
        assert!(!four_to_six_plain(&mut packet, &other, &to6, true));
        assert_eq!(packet, whole);
    }
    for len in 0..28 {
        let mut packet = whole[..len].to_vec();
        assert!(!four_to_six_plain(&mut packet, &meta, &to6, true));
        assert_eq!(packet, &whole[..len]);
    }
    let whole = six(ipv4::UDP, (SRC6, 2), (DST6, 4), 0, 9, b"data");
    let meta = meta6(&whole);
    for len in 0..48 {
        let mut packet = whole[..len].to_vec();
        assert!(!six_to_four_plain(&mut packet, &meta, &to4, true, 0));
        assert_eq!(packet, &whole[..len]);
    }
    for other in [
        Ipv6Meta {
            l4_offset: 48,
            ..meta
        },
        Ipv6Meta { proto: 50, ..meta },
        Ipv6Meta {
            total_len: 39,
            ..meta
        },
    ] {
        let mut packet = whole.clone();
        assert!(!six_to_four_plain(&mut packet, &other, &to4, true, 0));
        assert_eq!(packet, whole);
    }
}

#[test]
fn sums_of_addresses_lose_no_carry() {
    let halves = [0, 1, 2, u64::MAX - 1, u64::MAX];
    for at in 0..halves.len().pow(4) {
        let half = |place: u32| u128::from(halves[at / halves.len().pow(place) % halves.len()]);
        let (src, dst) = (half(0) << 64 | half(1), half(2) << 64 | half(3));
        let exact = crate::checksum::Sum::new().u128(src).u128(dst).finish();
        assert_eq!(!fold(sum6(src, dst)), exact, "{src:x} {dst:x}");
        assert_eq!(sum6(src, dst) >> 34, 0);
    }
}

/// A vector without room before it.
struct Tight(Vec<u8>);

impl Packet for Tight {
    fn l3(&self) -> &[u8] {
        &self.0
    }
    fn l3_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
    fn grow_front(&mut self, _: u16) -> bool {
        false
    }
    fn shrink_front(&mut self, octets: u16) -> bool {
        self.0.shrink_front(octets)
    }
    fn truncate(&mut self, octets: u16) -> bool {
        Packet::truncate(&mut self.0, octets)
    }
}

#[test]
fn without_room_nothing_changes() {
    let head = Head4 {
        ttl: 9,
        ..Head4::default()
    };
    let whole = four(ipv4::TCP, (1, 2), (3, 4), head, b"data");
    let meta = parse_ipv4_verified(&whole).unwrap();
    let to = Endpoints6 {
        src: SRC6,
        dst: DST6,
        sport: 1,
        dport: 2,
    };
    let mut packet = Tight(whole.clone());
    assert!(!four_to_six_plain(&mut packet, &meta, &to, true));
    assert_eq!(packet.0, whole);
}

/// Addresses, with the corners of one's complement arithmetic among them.
fn address6() -> impl Strategy<Value = u128> {
    prop_oneof![Just(0u128), Just(u128::MAX), any::<u128>()]
}

fn address4() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>()]
}

proptest! {
    #[test]
    fn six_to_four_equals_built(
        udp: bool, a in (address6(), any::<u16>()), b in (address6(), any::<u16>()),
        x in (address4(), any::<u16>()), y in (address4(), any::<u16>()), id: u16, class: u8, hops in 2u8.., traffic: bool,
        data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..70), padding in 0usize..7,
    ) {
        prop_assume!(x != y && a != b);
        let proto = if udp { ipv4::UDP } else { ipv4::TCP };
        let mut packet = six(proto, a, b, class, hops, &data);
        let meta = meta6(&packet);
        packet.resize(packet.len() + padding, 0xee);
        let to = Endpoints { src: x.0, dst: y.0, sport: x.1, dport: y.1 };
        prop_assert!(six_to_four_plain(&mut packet, &meta, &to, traffic, id));
        packet.truncate(packet.len() - padding);
        let head = Head4 { tos: if traffic { class } else { 0 }, id, ttl: hops - 1, ..Head4::default() };
        prop_assert_eq!(&packet, &four(proto, x, y, head, &data));
        prop_assert!(l4_is_valid(&packet));
        let meta = parse_ipv4_verified(&packet).unwrap();
        if hops > 2 {
            let back = Endpoints6 { src: a.0, dst: b.0, sport: a.1, dport: b.1 };
            prop_assert!(four_to_six_plain(&mut packet, &meta, &back, true));
            let class = if traffic { class } else { 0 };
            prop_assert_eq!(&packet, &six(proto, a, b, class, hops - 2, &data));
        }
    }

    #[test]
    fn four_to_six_equals_built(
        udp: bool, a in (address6(), any::<u16>()), b in (address6(), any::<u16>()),
        x in (address4(), any::<u16>()), y in (address4(), any::<u16>()), id: u16, df: bool, tos: u8, ttl in 2u8.., traffic: bool,
        data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..70),
    ) {
        prop_assume!(x != y && a != b);
        let proto = if udp { ipv4::UDP } else { ipv4::TCP };
        let head = Head4 { tos, id, flags: if df { ipv4::FLAG_DF } else { 0 }, ttl, ..Head4::default() };
        let mut packet = four(proto, x, y, head, &data);
        let meta = parse_ipv4_verified(&packet).unwrap();
        let to = Endpoints6 { src: a.0, dst: b.0, sport: a.1, dport: b.1 };
        prop_assert!(four_to_six_plain(&mut packet, &meta, &to, traffic));
        let class = if traffic { tos } else { 0 };
        prop_assert_eq!(&packet, &six(proto, a, b, class, ttl - 1, &data));
        prop_assert!(l4_is_valid(&packet));
    }

    #[test]
    fn wrong_stays_wrong_and_none_stays_none(udp: bool, error in 1u16..0xffff, x in any::<(u32, u32)>(), ports in any::<(u16, u16)>()) {
        prop_assume!(x.0 != x.1);
        let (proto, at) = if udp { (ipv4::UDP, 46) } else { (ipv4::TCP, 56) };
        let mut packet = six(proto, (SRC6, 1), (DST6, 2), 0, 9, b"some data");
        let good = u16::from_be_bytes([packet[at], packet[at + 1]]);
        // Another value of the checksum than the two forms of the right one, and none of the two zeros.
        let bad = ((u32::from(good) + u32::from(error)) % 0xffff) as u16;
        prop_assume!(bad != 0);
        packet[at..at + 2].copy_from_slice(&bad.to_be_bytes());
        let meta = meta6(&packet);
        let to = Endpoints { src: x.0, dst: x.1, sport: ports.0, dport: ports.1 };
        let mut wrong = packet.clone();
        prop_assert!(six_to_four_plain(&mut wrong, &meta, &to, false, 0));
        prop_assert!(!l4_is_valid(&wrong));
        let meta4 = parse_ipv4_verified(&wrong).unwrap();
        let back = Endpoints6 { src: SRC6, dst: DST6, sport: 1, dport: 2 };
        prop_assert!(four_to_six_plain(&mut wrong, &meta4, &back, false));
        prop_assert_eq!(&wrong[at..at + 2], &bad.to_be_bytes()[..]);
        if udp {
            packet[at..at + 2].fill(0);
            prop_assert!(six_to_four_plain(&mut packet, &meta, &to, false, 0));
            prop_assert_eq!(&packet[26..28], [0, 0]);
        }
    }
}
