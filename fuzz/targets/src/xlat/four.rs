//! From IPv4 to IPv6, and back.

use tandem_wire::xlat::{self, XlatError};
use tandem_wire::{Fragment, Ipv4Meta, Ipv6Meta, L4, Packet, ipv4, ipv6, parse_ipv4, parse_ipv6};

use super::{Buffer, Choice, assert_only, assert_same, errors, upper6};
use crate::sums::{has_checksum, mend4, remainder4, remainder6};

pub(super) fn run(choice: &Choice, packet: &[u8]) {
    let Ok(meta) = parse_ipv4(packet) else { return };
    if meta.ttl <= 1 {
        return;
    }
    let mut packet = packet.to_vec();
    if choice.mend {
        mend4(&mut packet, &meta);
    }
    errors::four(choice, &packet, &meta);
    let before = Buffer::new(&packet, choice);
    let mut plain = before.clone();
    let is_plain = xlat::four_to_six_plain(&mut plain, &meta, &choice.to6, choice.options.copy_traffic_class);
    let mut after = before.clone();
    let result = xlat::four_to_six(&mut after, &meta, &choice.to6, &choice.options);
    if is_plain {
        // Ports stand for themselves in both.
        assert_eq!(result, Ok(()));
        assert_eq!(plain.whole(), after.whole());
    } else {
        assert_eq!(plain, before);
    }
    match result {
        Ok(()) => translated(choice, &packet, &meta, &after.whole()),
        Err(XlatError::NoRoom) => assert!(choice.room < 28 || before.is_chained()),
        Err(XlatError::Malformed) => assert!(meta.has_options() || before.is_chained()),
        Err(_) => assert_eq!(after, before),
    }
}

/// Whether the upper layer has no checksum to move along, but got one.
fn got_checksum(old: &[u8], meta: &Ipv4Meta) -> bool {
    let at = usize::from(meta.l4_offset) + 6;
    matches!(meta.l4, L4::Udp { .. }) && old[at..at + 2] == [0, 0]
}

fn translated(choice: &Choice, old: &[u8], meta: &Ipv4Meta, new: &[u8]) {
    let fragment = if meta.fragment == Fragment::None {
        0
    } else {
        ipv6::FRAGMENT_LEN as u16
    };
    let front = ipv6::HEADER_LEN as u16 + fragment;
    // What looks like an attack is refused by the parse: same ends.
    let Ok(got) = parse_ipv6(new) else {
        assert_eq!(choice.to6.src, choice.to6.dst);
        return;
    };
    assert_eq!((got.src, got.dst), (choice.to6.src, choice.to6.dst));
    assert_eq!(got.total_len, front + meta.payload_len());
    assert_eq!((got.l4_offset, got.hop_limit), (front, meta.ttl - 1));
    assert!(!got.has_extensions);
    let class = if choice.options.copy_traffic_class {
        meta.tos
    } else {
        0
    };
    assert_eq!(got.traffic_class, class);
    let proto = if meta.proto == ipv4::ICMP {
        ipv4::ICMPV6
    } else {
        meta.proto
    };
    assert_eq!(got.proto, proto);
    assert_eq!(
        (got.fragment, got.fragment_offset, got.more_fragments),
        (meta.fragment, meta.fragment_offset, meta.more_fragments)
    );
    if fragment != 0 {
        assert_eq!(got.fragment_id, u32::from(meta.id));
    }
    assert_eq!(
        new[usize::from(got.total_len)..],
        old[usize::from(meta.total_len)..]
    );
    let upper = &old[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    if matches!(meta.l4, L4::LaterFragment) {
        assert_eq!(upper6(new, &got), upper);
    } else {
        assert_only(meta.proto, upper, upper6(new, &got));
        if got_checksum(old, meta) {
            assert_eq!(remainder6(new, &got), 0);
        } else if has_checksum(meta.proto, upper) {
            assert_eq!(remainder6(new, &got), remainder4(old, meta));
        }
    }
    match meta.l4 {
        L4::Tcp { .. } | L4::Udp { .. } => {
            assert_eq!((got.sport(), got.dport()), (choice.to6.sport, choice.to6.dport));
        }
        L4::IcmpQuery { .. } => assert_eq!(got.sport(), choice.to6.sport),
        _ => {}
    }
    back(choice, old, meta, new, &got);
}

/// Options are gone, two hops too; DF and the identification of a whole packet are the translator's.
fn back(choice: &Choice, old: &[u8], meta: &Ipv4Meta, new: &[u8], got: &Ipv6Meta) {
    let to = tandem_wire::rewrite::Endpoints {
        src: meta.src,
        dst: meta.dst,
        sport: meta.sport(),
        dport: meta.dport(),
    };
    let mut back = new.to_vec();
    assert_eq!(
        xlat::six_to_four(&mut back, got, &to, &choice.options, choice.id),
        Ok(())
    );
    let l4 = usize::from(meta.l4_offset);
    let upper = &old[l4..usize::from(meta.total_len)];
    let came = parse_ipv4(back.l3()).expect("the packet it was");
    assert!(ipv4::Ipv4::new_checked(&back).is_ok_and(|ip| ip.verify_checksum()));
    if got_checksum(old, meta) {
        assert_eq!(remainder4(&back, &came), 0);
        assert_only(meta.proto, upper, &back[20..usize::from(came.total_len)]);
    } else {
        assert_same(meta.proto, upper, &back[20..usize::from(came.total_len)]);
    }
    let id = if meta.fragment == Fragment::None {
        choice.id
    } else {
        meta.id
    };
    let expected = Ipv4Meta {
        l4_offset: 20,
        total_len: meta.total_len - (meta.l4_offset - 20),
        ttl: meta.ttl.saturating_sub(2),
        tos: if choice.options.copy_traffic_class {
            meta.tos
        } else {
            0
        },
        id,
        dont_fragment: came.dont_fragment,
        ..*meta
    };
    assert_eq!(came, expected);
    assert_eq!(
        came.dont_fragment,
        meta.fragment == Fragment::None && came.total_len > 1260
    );
}
