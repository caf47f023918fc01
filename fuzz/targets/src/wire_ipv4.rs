//! Input: an IPv4 packet. Parses, translates, clamps, answers and fragments it, and checks what must hold.

use tandem_wire::build::{self, IcmpErrorKind};
use tandem_wire::rewrite::{self, Endpoints};
use tandem_wire::{Ipv4, fragment, ipv4, l4, tcp};

const TO: Endpoints = Endpoints {
    src: 0xcb00_7105,
    dst: 0xc633_6401,
    sport: 40_000,
    dport: 0,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    if let Ok(ip) = Ipv4::new_checked(data) {
        assert_eq!(ip.header().len() + ip.payload().len(), ip.packet().len());
        let _ = ipv4::has_unexpired_source_route(ip.options());
    }
    if let Ok(meta) = l4::parse_ipv4(data) {
        let mut copy = data.to_vec();
        assert!(rewrite::forward_ipv4(&mut copy, &meta, &TO));
        let (old, new) = (
            Ipv4::new_checked(data).unwrap(),
            Ipv4::new_checked(&copy).unwrap(),
        );
        assert_eq!((new.src(), new.dst()), (TO.src, TO.dst));
        assert_eq!(new.verify_checksum(), old.verify_checksum());
        if let (l4::L4::Tcp { .. }, l4::Fragment::None) = (meta.l4, meta.fragment) {
            let right = |ip: Ipv4<'_>| {
                tcp::Tcp::new_checked(ip.payload()).is_ok_and(|t| t.verify_checksum_v4(ip.src(), ip.dst()))
            };
            let was_right = right(old);
            assert_eq!(right(new), was_right);
            let segment = &mut copy[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
            tcp::clamp_mss(segment, 1300);
            // An MSS option may overlap nothing but options, so the checksum stays as right as it was.
            assert_eq!(right(Ipv4::new_checked(&copy).unwrap()), was_right);
        }
    }
    let mut out = [0u8; 2048];
    let error = build::icmp_error(&mut out, data, TO.src, 0, IcmpErrorKind::TtlExceeded);
    assert_eq!(error.is_some(), build::may_send_error_about(data));
    if let Some(len) = error {
        assert!(len <= 576 && l4::parse_ipv4_verified(&out[..len]).is_ok());
    }
    if let Some(len) = build::tcp_reset(&mut out, data) {
        assert_eq!(len, 40);
    }
    if let Ok(fragmenter) = fragment::Fragmenter::new(data, 100) {
        let mut octets = 0;
        for piece in fragmenter.clone() {
            octets += piece.range.len();
            assert_eq!(
                fragmenter.write(&piece, &mut out),
                Some(fragmenter.piece_len(&piece))
            );
            assert!(fragmenter.piece_len(&piece) <= 100);
        }
        assert_eq!(octets, Ipv4::new_checked(data).unwrap().payload().len());
    }
}
