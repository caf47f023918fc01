//! Long quotes and RFC 4884 extensions.

use super::*;

#[test]
fn long_quotes_are_cut_to_the_limits() {
    let whole = sent4(ipv4::UDP, &[7; 1400], SEEN);
    let got = to6(&error4(3, 1, 0, &whole), &options()).unwrap();
    assert_eq!(got.len(), ERROR6_LEN_MAX);
    assert!(l4_is_valid(&got));
    assert_eq!(got[48..], sent6(ipv4::UDP, &[7; 1400], 0x28, 1)[..1232]);
    let whole = sent6(ipv4::UDP, &[7; 1100], 0x28, 1);
    let got = to4(&error6(1, 0, 0, &whole, 61), &options()).unwrap();
    assert_eq!(got.len(), ERROR4_LEN_MAX);
    assert!(l4_is_valid(&got));
    let expect = sent4(ipv4::UDP, &[7; 1100], Head4 { id: 0, ..SEEN });
    assert_eq!(got[28..], expect[..548]);
}

#[test]
fn extensions_are_passed_and_their_place_told_in_the_other_unit() {
    let ext = extensions(20);
    // 29 octets in 128: of IPv6 there are 49, still in 128.
    let (four, six) = (sent4(ipv4::UDP, b"q", SEEN), sent6(ipv4::UDP, b"q", 0x28, 1));
    let got = to6(&error4(11, 0, 32 << 16, &padded(&four, 128, &ext)), &options());
    assert_eq!(got, Ok(error6(3, 0, 16 << 24, &padded(&six, 128, &ext), 59)));
    let got = to4(&error6(3, 0, 16 << 24, &padded(&six, 128, &ext), 61), &options());
    let four = sent4(ipv4::UDP, b"q", Head4 { id: 0, ..SEEN });
    assert_eq!(got, Ok(error4(11, 0, 32 << 16, &padded(&four, 128, &ext))));

    // 132 octets become 152, which is no multiple of 8 octets away: 151 in 152.
    let data = [9; 103];
    let (four, six) = (sent4(ipv4::UDP, &data, SEEN), sent6(ipv4::UDP, &data, 0x28, 1));
    assert_eq!((four.len(), six.len()), (131, 151));
    let got = to6(&error4(3, 1, 33 << 16, &padded(&four, 132, &ext)), &options());
    assert_eq!(got, Ok(error6(1, 0, 19 << 24, &padded(&six, 152, &ext), 59)));
    let got = to4(&error6(1, 0, 19 << 24, &padded(&six, 152, &ext), 61), &options());
    let four = sent4(ipv4::UDP, &data, Head4 { id: 0, ..SEEN });
    assert_eq!(got, Ok(error4(3, 1, 33 << 16, &padded(&four, 132, &ext))));

    // Packet too big has no place for them.
    let got = to6(
        &error4(3, 4, 33 << 16 | 1400, &padded(&four, 132, &ext)),
        &options(),
    );
    assert_eq!(got, Ok(error6(2, 0, 1420, &six, 59)));
    let got = to6(&error4(3, 2, 33 << 16, &padded(&four, 132, &ext)), &options());
    assert_eq!(got, Ok(error6(4, 1, 6, &six, 59)));
}

#[test]
fn extensions_that_do_not_fit_cut_the_quote_and_then_go_themselves() {
    let data = [9; 1000];
    let six = sent6(ipv4::UDP, &data, 0x28, 1);
    let four = sent4(ipv4::UDP, &data, Head4 { id: 0, ..SEEN });
    for (octets, quote) in [(100, 448), (420, 128), (421, 548), (180, 368), (181, 364)] {
        let ext = extensions(octets);
        let got = to4(
            &error6(1, 0, 100 << 24, &padded(&six[..800], 800, &ext), 61),
            &options(),
        )
        .unwrap();
        assert!(l4_is_valid(&got));
        assert_eq!(got[28..28 + quote], four[..quote]);
        if octets > 420 {
            assert_eq!((got.len(), got[25]), (ERROR4_LEN_MAX, 0));
        } else {
            assert_eq!(usize::from(got[25]) * 4, quote);
            assert_eq!(got[28 + quote..], ext);
        }
    }
}
