//! Input: an IPv6 packet. Parses, translates, clamps, answers and fragments it, and checks what must hold.

use tandem_wire::build::{self, Icmp6ErrorKind};
use tandem_wire::fragment::{Fragmenter6, MTU_MIN6};
use tandem_wire::l4::{Fragment, L4};
use tandem_wire::rewrite6::{self, Endpoints6};
use tandem_wire::{Ipv6, Ipv6Meta, checksum, icmp6_error, ipv6, parse_ipv6, parse_plain_ipv6, tcp, udp};

const TO: Endpoints6 = Endpoints6 {
    src: 0x2001_0db8 << 96 | 5,
    dst: 0x0064_ff9b << 96 | 0xc633_6401,
    sport: 40_000,
    dport: 0,
};

/// Whether the checksum of a whole TCP, UDP or ICMPv6 packet is right.
fn is_right(packet: &[u8], meta: &Ipv6Meta) -> bool {
    let mut l4 = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    if let L4::Udp { .. } = meta.l4 {
        let len = udp::Udp::new_checked(l4).expect("parsed").len();
        l4 = &l4[..usize::from(len)];
    }
    checksum::pseudo_v6(meta.src, meta.dst, meta.proto, l4.len() as u32)
        .slice(l4)
        .is_valid()
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let parsed = parse_ipv6(data);
    match parse_plain_ipv6(data) {
        Some(plain) => assert_eq!(parsed, Ok(plain)),
        None => assert!(
            !parsed.is_ok_and(|m| m.l4_offset == 40 && matches!(m.l4, L4::Tcp { .. } | L4::Udp { .. }))
        ),
    }
    if let Ok(meta) = parsed {
        assert!(meta.l4_offset <= meta.total_len && usize::from(meta.total_len) <= data.len());
        translate(data, &meta);
    }
    answers(data);
    fragments(data);
}

fn translate(data: &[u8], meta: &Ipv6Meta) {
    let mut copy = data.to_vec();
    assert!(rewrite6::forward_same_ipv6(&mut copy, meta));
    let mut fewer = data.to_vec();
    if rewrite6::decrement_hop_limit(&mut fewer) {
        assert_eq!(copy, fewer);
    } else {
        assert!(meta.hop_limit <= 1 && fewer == data);
    }
    assert!(rewrite6::rewrite_ipv6(&mut copy, meta, &TO));
    let new = parse_ipv6(&copy).expect("still a packet");
    assert_eq!((new.src, new.dst), (TO.src, TO.dst));
    assert_eq!(
        (new.l4_offset, new.total_len, new.fragment),
        (meta.l4_offset, meta.total_len, meta.fragment)
    );
    let end = usize::from(meta.total_len);
    assert_eq!(copy[end..], data[end..]);
    let has_sum = !matches!(meta.l4, L4::Other | L4::LaterFragment);
    // With segments left, the final destination is elsewhere; of a part of a datagram nobody can tell.
    if !has_sum || meta.fragment != Fragment::None || meta.segments_left_at != 0 {
        return;
    }
    let was_right = is_right(data, meta);
    assert_eq!(is_right(&copy, &new), was_right);
    if let L4::Tcp { .. } = meta.l4 {
        tcp::clamp_mss(&mut copy[usize::from(meta.l4_offset)..end], 1300);
        // An MSS option may overlap nothing but options, so the checksum stays as right as it was.
        assert_eq!(is_right(&copy, &new), was_right);
    }
}

fn answers(data: &[u8]) {
    let mut out = [0u8; 2048];
    for kind in [
        Icmp6ErrorKind::HopLimitExceeded,
        Icmp6ErrorKind::PacketTooBig(1280),
    ] {
        let error = build::icmp6_error(&mut out, data, TO.src, kind);
        assert_eq!(error.is_some(), build::may_send_error6_about(data, kind));
        if let Some(len) = error {
            assert!(len <= 1280);
            let meta = parse_ipv6(&out[..len]).expect("well-formed");
            let error = icmp6_error::parse(&out[40..len], meta.src, meta.dst).expect("an error");
            assert!(error.checksum_ok && error.embedded.src == meta.dst);
            assert!(!build::may_send_error6_about(&out[..len], kind));
        }
    }
    if let Some(len) = build::tcp_reset6(&mut out, data) {
        assert_eq!(len, 60);
    }
}

fn fragments(data: &[u8]) {
    let mut out = [0u8; 2048];
    let Ok(fragmenter) = Fragmenter6::new(data, MTU_MIN6, 7) else {
        return;
    };
    let packet = Ipv6::new_checked(data).expect("it was split").packet();
    let fits = packet.len() <= usize::from(MTU_MIN6);
    let (mut octets, mut pieces) = (0, 0);
    for piece in fragmenter.clone() {
        octets += piece.range.len();
        pieces += 1;
        let len = fragmenter.write(&piece, &mut out).expect("there is room");
        assert_eq!(len, fragmenter.piece_len(&piece));
        assert!(len <= usize::from(MTU_MIN6));
        if fits {
            assert_eq!(&out[..len], packet);
            continue;
        }
        let upper = Ipv6::new_checked(&out[..len])
            .and_then(|ip| ip.upper())
            .expect("well-formed");
        assert!(upper.fragment.is_some() && ipv6::check_fragment(len, &upper).is_ok());
        assert_eq!(upper.is_later_fragment(), piece.offset != 0);
    }
    assert!(octets <= packet.len() - 40 && fits == (pieces == 1));
}
