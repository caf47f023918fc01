use super::*;
use crate::l4::parse_ipv4_verified;
use crate::xlat::testing::{Head4, fill4, fill6, icmp, l4, l4_is_valid, meta6, packet4, packet6};

mod limits;
mod random;

/// The IPv6 host, as itself and as its public address.
const HOST6: u128 = 0x2001_0db8_0001_0002_0003_0004_0005_0006;
const HOST4: u32 = 0xc633_6407;
/// The IPv4 host, as itself and behind the prefix.
const FAR4: u32 = 0xc000_0221;
const FAR6: u128 = 0x0064_ff9b_0000_0000_0000_0000_c000_0221;
/// A router on the way, of each family.
const ROUTER4: u32 = 0xcb00_7101;
const ROUTER6: u128 = 0x0064_ff9b_0000_0000_0000_0000_cb00_7101;

const EMBEDDED6: Endpoints6 = Endpoints6 {
    src: HOST6,
    dst: FAR6,
    sport: 1234,
    dport: 53,
};
const EMBEDDED4: Endpoints = Endpoints {
    src: HOST4,
    dst: FAR4,
    sport: 40000,
    dport: 53,
};

fn options() -> Options {
    Options {
        mtu4: 1500,
        mtu6: 1500,
        ..Options::default()
    }
}

/// What the host sent, as an IPv4 router sees it, and as it was before.
fn sent4(proto: u8, data: &[u8], head: Head4) -> Vec<u8> {
    let mut upper = match proto {
        ipv4::ICMP => icmp(8, 0, 40000 << 16 | 7, data),
        _ => l4(proto, EMBEDDED4.sport, EMBEDDED4.dport, data),
    };
    fill4(HOST4, FAR4, proto, &mut upper);
    let head = Head4 {
        src: HOST4,
        dst: FAR4,
        ..head
    };
    packet4(head, proto, &[], &upper)
}

fn sent6(proto: u8, data: &[u8], class: u8, hops: u8) -> Vec<u8> {
    let mut upper = match proto {
        ipv4::ICMPV6 => icmp(128, 0, 1234 << 16 | 7, data),
        _ => l4(proto, EMBEDDED6.sport, EMBEDDED6.dport, data),
    };
    fill6(HOST6, FAR6, proto, &mut upper);
    packet6(HOST6, FAR6, class, hops, proto, &upper)
}

/// An ICMPv4 error from the router to the host.
fn error4(icmp_type: u8, code: u8, word: u32, inside: &[u8]) -> Vec<u8> {
    let mut message = icmp(icmp_type, code, word, inside);
    fill4(ROUTER4, HOST4, ipv4::ICMP, &mut message);
    let head = Head4 {
        tos: 0xc0,
        id: 9,
        ttl: 60,
        src: ROUTER4,
        dst: HOST4,
        ..Head4::default()
    };
    packet4(head, ipv4::ICMP, &[], &message)
}

fn error6(icmp_type: u8, code: u8, word: u32, inside: &[u8], hops: u8) -> Vec<u8> {
    let mut message = icmp(icmp_type, code, word, inside);
    fill6(ROUTER6, HOST6, ipv4::ICMPV6, &mut message);
    packet6(ROUTER6, HOST6, 0xc0, hops, ipv4::ICMPV6, &message)
}

/// Translates an error about what the host sent.
fn to6(packet: &[u8], options: &Options) -> Result<Vec<u8>, XlatError> {
    let mut got = packet.to_vec();
    let meta = parse_ipv4_verified(packet).unwrap();
    let result = icmp_error_four_to_six(&mut got, &meta, ROUTER6, HOST6, &EMBEDDED6, options);
    if result.is_err() {
        assert_eq!(got, packet);
    }
    result.map(|()| got)
}

/// Translates an error that an IPv6 router sends about what the host got: here the roles are turned.
fn to4(packet: &[u8], options: &Options) -> Result<Vec<u8>, XlatError> {
    let mut got = packet.to_vec();
    let meta = meta6(packet);
    let result = icmp_error_six_to_four(&mut got, &meta, ROUTER4, HOST4, &EMBEDDED4, options, 9);
    if result.is_err() {
        assert_eq!(got, packet);
    }
    result.map(|()| got)
}

const SEEN: Head4 = Head4 {
    tos: 0x28,
    id: 5,
    flags: 0,
    ttl: 1,
    src: 0,
    dst: 0,
};

#[test]
fn an_error_and_its_packet_octet_by_octet() {
    // 192.0.2.33 has no such port; 198.51.100.7 is 2001:db8::7. Checksums computed elsewhere.
    let mut packet = vec![
        0x45, 0, 0, 56, 0, 9, 0, 0, 60, 1, 0x92, 0x60, 192, 0, 2, 33, 198, 51, 100, 7, // IPv4
        3, 3, 0x39, 0x60, 0, 0, 0, 0, // ICMP
        0x45, 0, 0, 33, 0, 5, 0, 0, 61, 17, 0x91, 0x6b, 198, 51, 100, 7, 192, 0, 2, 33, // embedded
        0x9c, 0x40, 0, 53, 0, 13, 0x27, 0x1a,
    ];
    let meta = parse_ipv4_verified(&packet).unwrap();
    let inside = Endpoints6 {
        src: 0x2001_0db8 << 96 | 7,
        ..EMBEDDED6
    };
    icmp_error_four_to_six(&mut packet, &meta, FAR6, inside.src, &inside, &options()).unwrap();
    let expect = [
        0x60, 0, 0, 0, 0, 56, 58, 59, // IPv6
        0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 33, //
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, //
        1, 4, 0xed, 0x63, 0, 0, 0, 0, // ICMPv6
        0x60, 0, 0, 0, 0, 13, 17, 61, // embedded
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, //
        0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 33, //
        0x04, 0xd2, 0, 53, 0, 13, 0xbb, 0x03,
    ];
    assert_eq!(packet, expect);
}

#[test]
fn every_protocol_inside_to_six() {
    for (proto, six) in [
        (ipv4::UDP, ipv4::UDP),
        (ipv4::TCP, ipv4::TCP),
        (ipv4::ICMP, ipv4::ICMPV6),
    ] {
        let got = to6(&error4(11, 0, 0, &sent4(proto, b"some data", SEEN)), &options()).unwrap();
        let expect = error6(3, 0, 0, &sent6(six, b"some data", 0x28, 1), 59);
        assert_eq!(got, expect);
        assert!(l4_is_valid(&got));
    }
    // ESP: addresses only.
    let inside = packet4(
        Head4 {
            src: HOST4,
            dst: FAR4,
            ..SEEN
        },
        ipv4::ESP,
        &[],
        &[7; 20],
    );
    let expect = error6(3, 0, 0, &packet6(HOST6, FAR6, 0x28, 1, ipv4::ESP, &[7; 20]), 59);
    assert_eq!(to6(&error4(11, 0, 0, &inside), &options()), Ok(expect));
}

#[test]
fn every_protocol_inside_to_four() {
    for (proto, six) in [
        (ipv4::UDP, ipv4::UDP),
        (ipv4::TCP, ipv4::TCP),
        (ipv4::ICMP, ipv4::ICMPV6),
    ] {
        let got = to4(
            &error6(3, 0, 0, &sent6(six, b"some data", 0x28, 1), 61),
            &options(),
        )
        .unwrap();
        let expect = error4(11, 0, 0, &sent4(proto, b"some data", Head4 { id: 0, ..SEEN }));
        assert_eq!(got, expect);
        assert!(l4_is_valid(&got));
    }
}

#[test]
fn a_quote_cut_off_anywhere_is_translated_as_far_as_it_goes() {
    for proto in [ipv4::UDP, ipv4::TCP, ipv4::ICMP] {
        let (whole4, whole6) = match proto {
            ipv4::ICMP => (sent4(proto, b"data", SEEN), sent6(ipv4::ICMPV6, b"data", 0x28, 1)),
            _ => (sent4(proto, b"data", SEEN), sent6(proto, b"data", 0x28, 1)),
        };
        for len in 20..whole4.len() {
            let got = to6(&error4(3, 1, 0, &whole4[..len]), &options()).unwrap();
            assert!(l4_is_valid(&got));
            let quote = &got[48..];
            assert_eq!(quote.len(), len + 20);
            // From where all that changes is there, it is what a whole one is cut.
            let changed = if proto == ipv4::TCP { 18 } else { 8 };
            if len >= 20 + changed {
                assert_eq!(quote, &whole6[..len + 20]);
            }
            let got = to4(&error6(1, 0, 0, &whole6[..len + 20], 61), &options()).unwrap();
            assert!(l4_is_valid(&got));
            assert_eq!(got.len() - 28, len);
            if len >= 20 + changed {
                // All but the identification, which nobody knows.
                assert_eq!(got[28 + 20..], whole4[20..len]);
            }
        }
        for len in 0..20 {
            assert_eq!(
                to6(&error4(3, 1, 0, &whole4[..len]), &options()),
                Err(XlatError::Embedded)
            );
        }
        for len in 0..40 {
            let cut = error6(1, 0, 0, &whole6[..len], 61);
            assert_eq!(to4(&cut, &options()), Err(XlatError::Embedded));
        }
    }
}

#[test]
fn embedded_options_and_extension_headers_go_and_fragments_stay() {
    let mut upper = l4(ipv4::UDP, EMBEDDED4.sport, EMBEDDED4.dport, &[7; 40]);
    fill4(HOST4, FAR4, ipv4::UDP, &mut upper);
    let mut upper_six = l4(ipv4::UDP, EMBEDDED6.sport, EMBEDDED6.dport, &[7; 40]);
    fill6(HOST6, FAR6, ipv4::UDP, &mut upper_six);
    let head = Head4 {
        src: HOST4,
        dst: FAR4,
        ..SEEN
    };
    let with_options = packet4(head, ipv4::UDP, &[1; 24], &upper);
    let expect = error6(3, 0, 0, &packet6(HOST6, FAR6, 0x28, 1, ipv4::UDP, &upper_six), 59);
    assert_eq!(to6(&error4(11, 0, 0, &with_options), &options()), Ok(expect));

    for (flags, word, range) in [(ipv4::FLAG_MF, 1u16, 0..32), (4, 32, 32..48)] {
        let part = packet4(Head4 { flags, ..head }, ipv4::UDP, &[], &upper[range.clone()]);
        let mut payload = vec![ipv4::UDP, 0];
        payload.extend_from_slice(&word.to_be_bytes());
        payload.extend_from_slice(&[0, 0, 0, 5]);
        payload.extend_from_slice(&upper_six[range]);
        let part6 = packet6(HOST6, FAR6, 0x28, 1, ipv6::FRAGMENT, &payload);
        let expect = error6(3, 1, 0, &part6, 59);
        assert_eq!(to6(&error4(11, 1, 0, &part), &options()), Ok(expect));
        // The same back, behind destination options before the fragment header.
        let mut longer = vec![ipv6::FRAGMENT, 0, 1, 4, 0, 0, 0, 0];
        longer.extend_from_slice(&payload);
        let longer = packet6(HOST6, FAR6, 0x28, 1, ipv6::DESTINATION, &longer);
        let got = to4(&error6(3, 1, 0, &longer, 61), &options());
        assert_eq!(got, Ok(error4(11, 1, 0, &part)));
        // Cut off inside its extension headers: where it goes is not known.
        let cut = error6(3, 1, 0, &longer[..52], 61);
        assert_eq!(to4(&cut, &options()), Err(XlatError::Embedded));
    }
}

#[test]
fn errors_about_errors_are_refused() {
    let inside = error4(3, 1, 0, &sent4(ipv4::UDP, b"", SEEN));
    assert_eq!(
        to6(&error4(11, 0, 0, &inside), &options()),
        Err(XlatError::DoublyEmbedded)
    );
    let inside = error6(1, 0, 0, &sent6(ipv4::UDP, b"", 0, 1), 9);
    let about = error6(3, 0, 0, &inside, 9);
    assert_eq!(to4(&about, &options()), Err(XlatError::DoublyEmbedded));
    // Neither error nor echo.
    let head = Head4 {
        src: HOST4,
        dst: FAR4,
        ..SEEN
    };
    let inside = packet4(head, ipv4::ICMP, &[], &icmp(13, 0, 0, &[0; 12]));
    assert_eq!(
        to6(&error4(11, 0, 0, &inside), &options()),
        Err(XlatError::IcmpType)
    );
    let inside = packet6(HOST6, FAR6, 0, 1, ipv4::ICMPV6, &icmp(135, 0, 0, &[0; 16]));
    let about = error6(3, 0, 0, &inside, 9);
    assert_eq!(to4(&about, &options()), Err(XlatError::IcmpType));
    // Protocols without a counterpart.
    let inside = packet4(head, ipv4::ICMPV6, &[], &[0; 16]);
    assert_eq!(
        to6(&error4(11, 0, 0, &inside), &options()),
        Err(XlatError::Embedded)
    );
    let inside = packet6(HOST6, FAR6, 0, 1, ipv4::ICMP, &[0; 16]);
    assert_eq!(
        to4(&error6(3, 0, 0, &inside, 9), &options()),
        Err(XlatError::Embedded)
    );
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut packet = error4(11, 0, 0, &sent4(ipv4::UDP, b"", SEEN));
    packet[30] ^= 1;
    assert_eq!(to6(&packet, &options()), Err(XlatError::IcmpChecksum));
    let mut packet = error6(3, 0, 0, &sent6(ipv4::UDP, b"", 0, 1), 9);
    packet[50] ^= 1;
    assert_eq!(to4(&packet, &options()), Err(XlatError::IcmpChecksum));
}

#[test]
fn what_has_no_counterpart_is_refused() {
    let inside = sent4(ipv4::UDP, b"", SEEN);
    for (icmp_type, code, word) in [(4, 0, 0), (5, 1, 0), (3, 14, 0), (12, 0, 20 << 24), (12, 1, 0)] {
        let packet = error4(icmp_type, code, word, &inside);
        assert_eq!(to6(&packet, &options()), Err(XlatError::IcmpType));
    }
    let inside = sent6(ipv4::UDP, b"", 0, 1);
    for (icmp_type, code, word) in [(1, 5, 0), (4, 2, 0), (4, 0, 40)] {
        let packet = error6(icmp_type, code, word, &inside, 9);
        assert_eq!(to4(&packet, &options()), Err(XlatError::IcmpType));
    }
    // Not ICMP at all, and a fragment.
    let udp = sent4(ipv4::UDP, b"", SEEN);
    assert_eq!(to6(&udp, &options()), Err(XlatError::Protocol));
    assert_eq!(to4(&inside, &options()), Err(XlatError::Protocol));
    let head = Head4 {
        flags: 3,
        src: ROUTER4,
        dst: HOST4,
        ..SEEN
    };
    let later = packet4(head, ipv4::ICMP, &[], &[0; 40]);
    assert_eq!(to6(&later, &options()), Err(XlatError::FragmentedIcmp));
}

#[test]
fn mtus_are_those_of_the_other_family() {
    let got = to6(&error4(3, 4, 1400, &sent4(ipv4::UDP, b"", SEEN)), &options());
    let expect = error6(2, 0, 1420, &sent6(ipv4::UDP, b"", 0x28, 1), 59);
    assert_eq!(got, Ok(expect));
    let got = to4(
        &error6(2, 0, 1280, &sent6(ipv4::UDP, b"", 0x28, 1), 61),
        &options(),
    );
    let inside = sent4(ipv4::UDP, b"", Head4 { id: 0, ..SEEN });
    assert_eq!(got, Ok(error4(3, 4, 1260, &inside)));
}

/// An RFC 4884 extension structure of some length; nobody here looks into it.
fn extensions(octets: usize) -> Vec<u8> {
    let mut extensions = vec![0xee; octets];
    extensions[0] = 0x20;
    extensions
}

/// A quote padded with zeros to `octets`, and extensions.
fn padded(quote: &[u8], octets: usize, extensions: &[u8]) -> Vec<u8> {
    let mut inside = quote.to_vec();
    inside.resize(octets, 0);
    inside.extend_from_slice(extensions);
    inside
}

#[test]
fn outer_headers_with_more_in_them() {
    // Options of the error itself go, as do extension headers and an atomic fragment's header.
    let plain = error4(11, 0, 0, &sent4(ipv4::UDP, b"x", SEEN));
    let head = Head4 {
        tos: 0xc0,
        ttl: 60,
        src: ROUTER4,
        dst: HOST4,
        ..Head4::default()
    };
    let packet = packet4(head, ipv4::ICMP, &[1; 8], &plain[20..]);
    assert_eq!(to6(&packet, &options()), to6(&plain, &options()));
    let six = error6(3, 0, 0, &sent6(ipv4::UDP, b"x", 0, 1), 61);
    let mut payload = vec![ipv4::ICMPV6, 0, 0, 0, 0xde, 0xad, 0, 9];
    payload.extend_from_slice(&six[40..]);
    let packet = packet6(ROUTER6, HOST6, 0xc0, 61, ipv6::FRAGMENT, &payload);
    assert_eq!(to4(&packet, &options()), to4(&six, &options()));
    // Ethernet padding is no part of it.
    let mut padding = six.clone();
    padding.extend_from_slice(&[0xee; 9]);
    assert_eq!(to4(&padding, &options()), to4(&six, &options()));
    let plain_class = Options {
        copy_traffic_class: false,
        ..options()
    };
    let got = to4(&six, &plain_class).unwrap();
    assert_eq!((got[1], got[29]), (0, 0));
    let got = to6(&plain, &plain_class).unwrap();
    assert_eq!((meta6(&got).traffic_class, got[48], got[49]), (0, 0x60, 0));
}
