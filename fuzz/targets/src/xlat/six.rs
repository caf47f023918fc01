//! From IPv6 to IPv4, and back.

use tandem_wire::rewrite6::Endpoints6;
use tandem_wire::xlat::{self, XlatError};
use tandem_wire::{Fragment, Ipv4, Ipv4Meta, Ipv6Meta, L4, ipv4, parse_ipv4, parse_ipv6};

use super::{Buffer, Choice, assert_only, assert_same, errors, upper6};
use crate::sums::{has_checksum, mend6, remainder4, remainder6};

pub(super) fn run(choice: &Choice, packet: &[u8]) {
    let Ok(meta) = parse_ipv6(packet) else { return };
    if meta.hop_limit <= 1 {
        return;
    }
    let mut packet = packet.to_vec();
    if choice.mend {
        mend6(&mut packet, &meta);
    }
    errors::six(choice, &packet, &meta);
    let before = Buffer::new(&packet, choice);
    let mut plain = before.clone();
    let is_plain = meta.fragment_header == 0 && {
        let traffic = choice.options.copy_traffic_class;
        xlat::six_to_four_plain(&mut plain, &meta, &choice.to4, traffic, choice.id)
    };
    let mut after = before.clone();
    let result = xlat::six_to_four(&mut after, &meta, &choice.to4, &choice.options, choice.id);
    if is_plain {
        assert_eq!(result, Ok(()));
        assert_eq!(plain.whole(), after.whole());
    } else {
        assert_eq!(plain, before);
    }
    match result {
        Ok(()) => translated(choice, &packet, &meta, &after.whole()),
        // It never gets longer.
        Err(XlatError::NoRoom | XlatError::Malformed) => assert!(before.is_chained()),
        Err(_) => assert_eq!(after, before),
    }
}

/// A UDP datagram without checksum: over IPv4 that is allowed.
fn has_none(packet: &[u8], meta: &Ipv6Meta) -> bool {
    matches!(meta.l4, L4::Udp { .. }) && upper6(packet, meta)[6..8] == [0, 0]
}

fn translated(choice: &Choice, old: &[u8], meta: &Ipv6Meta, new: &[u8]) {
    assert!(Ipv4::new_checked(new).is_ok_and(|ip| ip.verify_checksum()));
    let Ok(got) = parse_ipv4(new) else {
        assert_eq!(choice.to4.src, choice.to4.dst);
        return;
    };
    assert_eq!((got.src, got.dst), (choice.to4.src, choice.to4.dst));
    assert_eq!((got.l4_offset, got.total_len), (20, 20 + meta.payload_len()));
    assert_eq!(got.ttl, meta.hop_limit - 1);
    let tos = if choice.options.copy_traffic_class {
        meta.traffic_class
    } else {
        0
    };
    assert_eq!(got.tos, tos);
    let proto = if meta.proto == ipv4::ICMPV6 {
        ipv4::ICMP
    } else {
        meta.proto
    };
    assert_eq!(got.proto, proto);
    assert_eq!(
        (got.fragment, got.fragment_offset, got.more_fragments),
        (meta.fragment, meta.fragment_offset, meta.more_fragments)
    );
    if meta.fragment_header == 0 {
        assert_eq!((got.id, got.dont_fragment), (choice.id, got.total_len > 1260));
    } else {
        assert_eq!((got.id, got.dont_fragment), (meta.fragment_id as u16, false));
    }
    assert_eq!(
        new[usize::from(got.total_len)..],
        old[usize::from(meta.total_len)..]
    );
    let upper = &new[20..usize::from(got.total_len)];
    if matches!(meta.l4, L4::LaterFragment) {
        assert_eq!(upper, upper6(old, meta));
    } else {
        assert_only(meta.proto, upper6(old, meta), upper);
        if has_none(old, meta) {
            assert_eq!(upper[6..8], [0, 0]);
        } else if has_checksum(meta.proto, upper6(old, meta)) {
            assert_eq!(remainder4(new, &got), remainder6(old, meta));
        }
    }
    match meta.l4 {
        L4::Tcp { .. } | L4::Udp { .. } => {
            assert_eq!((got.sport(), got.dport()), (choice.to4.sport, choice.to4.dport));
        }
        L4::IcmpQuery { .. } => assert_eq!(got.sport(), choice.to4.sport),
        _ => {}
    }
    back(choice, old, meta, new, &got);
}

/// Extension headers and the flow label are gone, the fragment header of an atomic fragment, and the upper half of an
/// identification.
fn back(choice: &Choice, old: &[u8], meta: &Ipv6Meta, new: &[u8], got: &Ipv4Meta) {
    let to = Endpoints6 {
        src: meta.src,
        dst: meta.dst,
        sport: meta.sport(),
        dport: meta.dport(),
    };
    let mut back = new.to_vec();
    let result = xlat::four_to_six(&mut back, got, &to, &choice.options);
    if has_none(old, meta) && (meta.fragment != Fragment::None || !choice.options.compute_udp_checksum) {
        assert_eq!(result, Err(XlatError::UdpNoChecksum));
        return;
    }
    assert_eq!(result, Ok(()));
    let came = parse_ipv6(&back).expect("the packet it was");
    if has_none(old, meta) {
        assert_eq!(remainder6(&back, &came), 0);
        assert_only(meta.proto, upper6(old, meta), upper6(&back, &came));
    } else {
        assert_same(meta.proto, upper6(old, meta), upper6(&back, &came));
    }
    let front = if meta.fragment == Fragment::None { 40 } else { 48 };
    let expected = Ipv6Meta {
        l4_offset: front,
        total_len: front + meta.payload_len(),
        hop_limit: meta.hop_limit.saturating_sub(2),
        traffic_class: got.tos,
        has_extensions: false,
        fragment_header: if front == 48 { 40 } else { 0 },
        fragment_id: if front == 48 { meta.fragment_id & 0xffff } else { 0 },
        ..*meta
    };
    assert_eq!(came, expected);
}
