//! Random packets: the general way is the plain one where that is, checksums stay right or wrong, nothing panics.

use super::*;
use crate::Packet;
use crate::xlat::testing::checksum_at;
use proptest::prelude::*;

proptest! {
    #[test]
    fn general_is_plain_where_plain_is(
        udp: bool, sport: u16, dport: u16, class: u8, hops in 3u8.., data in proptest::collection::vec(any::<u8>(), 0..60),
        to in any::<(u32, u32, u16, u16)>(), id: u16,
    ) {
        prop_assume!((to.0, to.2) != (to.1, to.3));
        let proto = if udp { ipv4::UDP } else { ipv4::TCP };
        let mut upper = l4(proto, sport, dport, &data);
        fill6(SRC6, DST6, proto, &mut upper);
        let packet = packet6(SRC6, DST6, class, hops, proto, &upper);
        let meta = meta6(&packet);
        let to = Endpoints { src: to.0, dst: to.1, sport: to.2, dport: to.3 };
        let (mut one, mut two) = (packet.clone(), packet.clone());
        prop_assert!(six_to_four_plain(&mut one, &meta, &to, true, id));
        prop_assert_eq!(six_to_four(&mut two, &meta, &to, &options(), id), Ok(()));
        prop_assert_eq!(&one, &two);
        let meta = parse_ipv4_verified(&one).unwrap();
        let back = Endpoints6 { src: SRC6, dst: DST6, sport, dport };
        prop_assert!(four_to_six_plain(&mut one, &meta, &back, true));
        prop_assert_eq!(four_to_six(&mut two, &meta, &back, &options()), Ok(()));
        prop_assert_eq!(&one, &two);
        // The round trip keeps everything but two hops.
        let mut expect = packet;
        expect[7] -= 2;
        prop_assert_eq!(one, expect);
    }

    #[test]
    fn checksums_are_as_right_or_wrong_after_as_before(
        kind in 0usize..5, wrong: bool, id: u16, data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..50),
        src: u128, dst: u128, to in any::<(u32, u32, u16, u16)>(),
    ) {
        prop_assume!(src != dst && to.0 != to.1);
        let proto = [ipv4::TCP, ipv4::UDP, ipv4::ICMPV6, ipv4::DCCP, ipv4::UDPLITE][kind];
        let mut upper = match proto {
            ipv4::ICMPV6 => icmp(128, 0, u32::from(id) << 16, &data),
            _ => l4(proto, id, 9, &data),
        };
        fill6(src, dst, proto, &mut upper);
        if wrong {
            let at = checksum_at(proto).unwrap();
            upper[at] ^= 0x10;
            // Neither "none" of UDP nor one of the two zeros, which become the one.
            if matches!(upper[at..at + 2], [0, 0] | [0xff, 0xff]) {
                upper[at] ^= 0x18;
            }
        }
        // Through the general way by a destination options header.
        let mut payload = vec![proto, 0, 1, 4, 0, 0, 0, 0];
        payload.extend_from_slice(&upper);
        let mut packet = packet6(src, dst, 0, 65, ipv6::DESTINATION, &payload);
        let meta = meta6(&packet);
        prop_assert_eq!(l4_is_valid(&packet), !wrong);
        let to = Endpoints { src: to.0, dst: to.1, sport: to.2, dport: to.3 };
        prop_assert_eq!(six_to_four(&mut packet, &meta, &to, &options(), id), Ok(()));
        prop_assert_eq!(l4_is_valid(&packet), !wrong);
        let meta = parse_ipv4_verified(&packet).unwrap();
        let back = Endpoints6 { src, dst, sport: id, dport: 9 };
        prop_assert_eq!(four_to_six(&mut packet, &meta, &back, &options()), Ok(()));
        prop_assert_eq!(l4_is_valid(&packet), !wrong);
        prop_assert_eq!(packet, packet6(src, dst, 0, 63, proto, &upper));
    }

    #[test]
    fn no_octets_make_it_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120), next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6), Just(17), Just(58), any::<u8>()],
        fourth: bool, ihl in 5u8..=15,
    ) {
        if bytes.len() >= 40 {
            let len = bytes.len() as u16;
            if fourth {
                bytes[0] = 0x40 | ihl;
                [bytes[2], bytes[3]] = len.to_be_bytes();
                bytes[9] = next;
            } else {
                bytes[0] = 0x60;
                [bytes[4], bytes[5]] = (len - 40).to_be_bytes();
                bytes[6] = next;
            }
        }
        if let Ok(meta) = crate::parse_ipv4(&bytes) {
            let mut packet = bytes.clone();
            if four_to_six(&mut packet, &meta, &TO6, &options()).is_ok() {
                prop_assert_eq!(packet.l3()[0] >> 4, 6);
                prop_assert_eq!(crate::Ipv6::new_checked(&packet).unwrap().packet().len(), packet.len() - (bytes.len() - usize::from(meta.total_len)));
            }
        }
        if let Ok(meta) = crate::parse_ipv6(&bytes) {
            let mut packet = bytes.clone();
            if six_to_four(&mut packet, &meta, &TO4, &options(), 0).is_ok() {
                let got = crate::ipv4::Ipv4::new_checked(&packet).unwrap();
                prop_assert!(got.verify_checksum());
            }
        }
    }
}
