//! Errors about random packets, there and back, and random octets.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn there_and_back(
        proto in prop_oneof![Just(ipv4::UDP), Just(ipv4::TCP), Just(ipv4::ICMPV6)], code in prop_oneof![Just(1u8), Just(4), Just(0)],
        data in proptest::collection::vec(any::<u8>(), 0..400), keep in 48usize..500, ext in proptest::option::of(8usize..60), class: u8,
    ) {
        let six = sent6(proto, &data, class, 3);
        let quote = &six[..keep.min(six.len())];
        let (word, inside) = match ext {
            Some(octets) => {
                let room = quote.len().next_multiple_of(8).max(128);
                ((room as u32 / 8) << 24, padded(quote, room, &extensions(octets)))
            }
            None => (0, quote.to_vec()),
        };
        let packet = error6(1, code, word, &inside, 70);
        let four = to4(&packet, &options()).unwrap();
        prop_assert!(l4_is_valid(&four));
        prop_assert_eq!((four[8], four[28 + 8]), (69, 3));
        let back = to6(&four, &options()).unwrap();
        prop_assert!(l4_is_valid(&back));
        // What was cut to fit in 576 octets is gone; the padding may have changed.
        let kept = quote.len().min(568 - ext.unwrap_or(0) - 8);
        prop_assert_eq!(&back[48..48 + kept.min(back.len() - 48)], &quote[..kept.min(back.len() - 48)]);
        if let Some(octets) = ext {
            prop_assert_eq!(&back[back.len() - octets..], &extensions(octets)[..]);
        }
    }

    #[test]
    fn no_octets_make_it_panic(
        mut inside in proptest::collection::vec(any::<u8>(), 0..200), icmp_type in 1u8..13, code in 0u8..5, word: u32,
        next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6), Just(17), Just(1), Just(58), any::<u8>()], ihl in 0u8..=15,
        length in 0u8..60, shift in 0u32..24,
    ) {
        let word = word & 0xff | u32::from(length) << shift;
        if inside.len() >= 40 {
            inside[0] = 0x40 | ihl;
            inside[9] = next;
        }
        let packet = error4(icmp_type, code, word, &inside);
        if let Ok(got) = to6(&packet, &options()) {
            prop_assert!(l4_is_valid(&got));
            prop_assert!(got.len() <= ERROR6_LEN_MAX);
        }
        if inside.len() >= 40 {
            inside[0] = 0x60 | inside[0] & 0xf;
            inside[6] = next;
        }
        let packet = error6(icmp_type, code, word, &inside, 9);
        if let Ok(got) = to4(&packet, &options()) {
            prop_assert!(l4_is_valid(&got));
            prop_assert!(got.len() <= ERROR4_LEN_MAX);
        }
    }
}
