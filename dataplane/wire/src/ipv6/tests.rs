//! Fixed headers and chains of extension headers, good and bad.

use super::*;
use crate::ipv4::UDP;

const A: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0001;
const B: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0002;

fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0u8; 40];
    p[0] = 0x60;
    let mut ip = Ipv6Mut::new_checked(&mut p).unwrap();
    ip.set_header(0xb8, 0x12345, payload.len() as u16, next, 64);
    ip.set_src(A);
    ip.set_dst(B);
    p.extend_from_slice(payload);
    p
}

#[test]
fn fixed_header() {
    let mut p = packet(UDP, &[1, 2, 3]);
    p.push(9); // padding
    let ip = Ipv6::new_checked(&p).unwrap();
    assert_eq!(
        (ip.traffic_class(), ip.flow_label(), ip.payload_len()),
        (0xb8, 0x12345, 3)
    );
    assert_eq!(
        (ip.next_header(), ip.hop_limit(), ip.src(), ip.dst()),
        (UDP, 64, A, B)
    );
    assert_eq!(ip.payload(), [1, 2, 3]);
    assert_eq!(ip.packet().len(), 43);
    let mut ip = Ipv6Mut::new_checked(&mut p).unwrap();
    assert!(ip.decrement_hop_limit());
    ip.set_hop_limit(1);
    assert!(!ip.decrement_hop_limit());
    assert_eq!(ip.payload_mut(), [1, 2, 3]);
    assert_eq!(
        Ipv6::new_checked(&p[..42]).map(|_| ()),
        Err(ParseError::Ipv6BadPayloadLength)
    );
    assert_eq!(
        Ipv6::new_checked(&p[..39]).map(|_| ()),
        Err(ParseError::Ipv6Truncated)
    );
    p[0] = 0x45;
    assert_eq!(Ipv6::new_checked(&p).map(|_| ()), Err(ParseError::Ipv6BadVersion));
}

#[test]
fn chain_to_the_upper_layer() {
    let mut chain = vec![DESTINATION, 0, 1, 4, 0, 0, 0, 0];
    chain.extend_from_slice(&[ROUTING, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend_from_slice(&[FRAGMENT, 2, 4, 3, 0, 0, 0, 0]);
    chain.extend_from_slice(&[0; 16]);
    chain.extend_from_slice(&[UDP, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
    chain.extend_from_slice(&[0; 8]);
    let p = packet(HOP_BY_HOP, &chain);
    let ip = Ipv6::new_checked(&p).unwrap();
    let upper = ip.upper().unwrap();
    assert_eq!(
        (upper.proto, upper.offset, upper.segments_left),
        (UDP, 40 + 8 + 16 + 24 + 8, 3)
    );
    assert_eq!(upper.segments_left_offset, 40 + 8 + 16 + 3);
    let info = FragmentInfo {
        header_offset: 88,
        offset: 0,
        more: true,
        id: 0xdead_beef,
    };
    assert_eq!(upper.fragment, Some(info));
    assert_eq!(check_fragment(p.len(), &upper), Ok(()));
    assert_eq!(
        check_fragment(p.len() - 1, &upper),
        Err(ParseError::Ipv6BadFragment)
    );
    for cut in 40..88 {
        assert_eq!(
            walk(&p[..cut], HOP_BY_HOP),
            Err(ParseError::Ipv6BadExtension),
            "{cut}"
        );
    }
}

#[test]
fn later_fragments_end_the_walk() {
    let p = packet(FRAGMENT, &[DESTINATION, 0, 0x05, 0xa8, 0, 0, 0, 7, 1, 2]);
    let upper = Ipv6::new_checked(&p).unwrap().upper().unwrap();
    assert!(upper.is_later_fragment());
    assert_eq!((upper.proto, upper.offset), (DESTINATION, 48));
    assert_eq!(
        upper.fragment.map(|f| (f.offset, f.more, f.id)),
        Some((1448, false, 7))
    );
    assert_eq!(check_fragment(p.len(), &upper), Ok(()));
    let overflow = packet(
        FRAGMENT,
        &[UDP, 0, 0xff, 0xf8, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8],
    );
    let upper = Ipv6::new_checked(&overflow).unwrap().upper().unwrap();
    assert_eq!(
        check_fragment(overflow.len(), &upper),
        Err(ParseError::Ipv6BadFragment)
    );
}

#[test]
fn refusals() {
    let option = [DESTINATION, 0, 1, 4, 0, 0, 0, 0];
    let p = packet(DESTINATION, &option.repeat(9));
    assert_eq!(
        Ipv6::new_checked(&p).unwrap().upper(),
        Err(ParseError::Ipv6TooManyExtensions)
    );
    let mut eight = option.repeat(8);
    eight[56] = UDP;
    let p = packet(DESTINATION, &eight);
    assert_eq!(Ipv6::new_checked(&p).unwrap().upper().map(|u| u.proto), Ok(UDP));
    let p = packet(
        DESTINATION,
        &[HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, UDP, 0, 1, 4, 0, 0, 0, 0],
    );
    assert_eq!(
        Ipv6::new_checked(&p).unwrap().upper(),
        Err(ParseError::Ipv6BadExtension)
    );
    let first_without_chain = packet(FRAGMENT, &[DESTINATION, 0, 0, 1, 0, 0, 0, 7]);
    assert_eq!(
        Ipv6::new_checked(&first_without_chain).unwrap().upper(),
        Err(ParseError::Ipv6BadFragment)
    );
}
