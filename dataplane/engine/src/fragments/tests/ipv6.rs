//! What is different in IPv6: key, protocol, counted octets, senders; and both families in one instance.

use tandem_wire::ipv4::ICMPV6;

use super::*;

const SRC: u128 = 0x2001_0db8_0000_0001_0000_0000_0000_0001;
const DST: u128 = 0x2001_0db8_ffff_0000_0000_0000_0000_0008;
/// What a later fragment's header says of its protocol: nothing to rely on.
const DESTINATION_OPTIONS: u8 = 60;
const GRE: u8 = 47;

/// `len` octets at `offset` of the UDP datagram `id` from `src`; a first fragment has ports 5000 and 53.
pub(super) fn udp6(src: u128, id: u32, offset: u16, len: u16, more: bool) -> Ipv6Meta {
    let first = offset == 0;
    Ipv6Meta {
        src,
        dst: DST,
        l4: if first {
            L4::Udp {
                sport: 5000,
                dport: 53,
            }
        } else {
            L4::LaterFragment
        },
        l4_offset: 48,
        total_len: 48 + len,
        fragment_offset: offset,
        fragment_header: 40,
        fragment_id: id,
        fragment: match (first, more) {
            (true, false) => Fragment::None,
            (true, true) => Fragment::First,
            (false, _) => Fragment::Later,
        },
        more_fragments: more,
        proto: if first { UDP } else { DESTINATION_OPTIONS },
        hop_limit: 64,
        traffic_class: 0,
        has_extensions: false,
        segments_left_at: 0,
    }
}

fn drop_as(packet: u32, reason: DropReason) -> Offer<u32> {
    Offer::Drop(packet, reason)
}

#[test]
fn whole_packets_and_atomic_fragments_leave_no_trace() {
    let mut f = fragments(1, 1);
    let atomic = udp6(SRC, 1, 0, 64, false);
    let whole = Ipv6Meta {
        fragment_header: 0,
        fragment_id: 0,
        ..atomic
    };
    for meta in [atomic, whole] {
        assert_eq!(f.offer6(Ticks(1), &meta, 0, 7), pass(7));
    }
    assert!(is_empty(&f));
}

#[test]
fn later_fragments_get_ports_and_protocol_of_the_first() {
    let mut f = fragments(8, 8);
    for (packet, offset, proto) in [(2, 128, 50), (1, 64, DESTINATION_OPTIONS)] {
        let meta = udp6(SRC, 1, offset, 64, true);
        let meta = Ipv6Meta { proto, ..meta };
        assert_eq!(f.offer6(Ticks(1), &meta, 0, packet), Offer::Held);
    }
    assert_eq!(f.offer6(Ticks(1), &udp6(SRC, 1, 0, 64, true), 0, 0), pass(0));
    for (packet, proto) in [(1, DESTINATION_OPTIONS), (2, 50)] {
        let waited = f.released().unwrap();
        assert_eq!(
            (waited.packet, waited.transport),
            (packet, transport(UDP, 5000, 53))
        );
        assert!(
            matches!(waited.meta, Meta::V6(meta) if meta.proto == proto),
            "as offered"
        );
    }
    assert_eq!(f.offer6(Ticks(1), &udp6(SRC, 1, 192, 5, false), 0, 3), pass(3));
    assert!(is_empty(&f), "every octet came");
}

#[test]
fn every_part_of_the_key_counts_and_the_protocol_is_none() {
    let base = udp6(SRC, 1, 64, 64, true);
    let others = [
        (Ipv6Meta { src: SRC | 2, ..base }, 0),
        (
            Ipv6Meta {
                src: SRC | 2 << 64,
                ..base
            },
            0,
        ),
        (Ipv6Meta { dst: DST | 1, ..base }, 0),
        (
            Ipv6Meta {
                dst: DST | 1 << 64,
                ..base
            },
            0,
        ),
        (
            Ipv6Meta {
                fragment_id: 0x1_0001,
                ..base
            },
            0,
        ),
        (base, 1),
    ];
    for (other, realm) in others {
        let mut f = fragments(8, 8);
        assert_eq!(f.offer6(Ticks(1), &udp6(SRC, 1, 0, 64, true), 0, 0), pass(0));
        assert_eq!(f.offer6(Ticks(1), &other, realm, 1), Offer::Held, "{other:?}");
        assert_eq!(f.offer6(Ticks(1), &base, 0, 2), pass(2));
        let other_proto = Ipv6Meta {
            fragment_offset: 128,
            proto: TCP,
            ..base
        };
        assert_eq!(f.offer6(Ticks(1), &other_proto, 0, 3), pass(3));
    }
}

#[test]
fn headers_behind_the_fragment_header_are_octets_of_the_datagram() {
    let overlap = DropReason::FragmentOverlap;
    let mut f = fragments(8, 8);
    // 16 octets of destination options and 48 of UDP, behind a hop-by-hop header that is part of no fragment.
    let first = |id| Ipv6Meta {
        fragment_header: 48,
        l4_offset: 72,
        total_len: 120,
        has_extensions: true,
        ..udp6(SRC, id, 0, 64, true)
    };
    assert_eq!(f.offer6(Ticks(1), &first(1), 0, 0), pass(0));
    assert_eq!(f.offer6(Ticks(1), &udp6(SRC, 1, 64, 3, false), 0, 1), pass(1));
    assert!(is_empty(&f), "0..64 and 64..67");

    assert_eq!(f.offer6(Ticks(1), &first(2), 0, 2), pass(2));
    let crossing = udp6(SRC, 2, 48, 64, true);
    assert_eq!(f.offer6(Ticks(1), &crossing, 0, 3), drop_as(3, overlap));
}

#[test]
fn protocols_without_ports_wait_for_the_first_fragment() {
    let mut f = fragments(8, 8);
    let later = Ipv6Meta {
        proto: GRE,
        ..udp6(SRC, 1, 64, 64, false)
    };
    let first = Ipv6Meta {
        proto: GRE,
        l4: L4::Other,
        ..udp6(SRC, 1, 0, 64, true)
    };
    assert_eq!(f.offer6(Ticks(1), &later, 0, 1), Offer::Held);
    let gre = transport(GRE, 0, 0);
    assert_eq!(f.offer6(Ticks(1), &first, 0, 0), pass_as(0, gre));
    let waited = f.released().unwrap();
    assert_eq!((waited.packet, waited.transport), (1, gre));
    assert!(is_empty(&f));
}

#[test]
fn overlaps_and_contradictions_refuse_the_datagram() {
    let overlap = DropReason::FragmentOverlap;
    let mut f = fragments(16, 16);
    assert_eq!(f.offer6(Ticks(1), &udp6(SRC, 1, 64, 64, true), 0, 1), Offer::Held);
    for (packet, offset) in [(2, 72), (3, 0), (4, 256)] {
        let meta = udp6(SRC, 1, offset, 64, true);
        assert_eq!(
            f.offer6(Ticks(1), &meta, 0, packet),
            drop_as(packet, overlap),
            "RFC 8200 section 4.5: those not yet received, too"
        );
    }
    assert_eq!(expired(&mut f, 1), [(1, overlap)]);

    // A first fragment that comes again, whole as it was and then as another protocol's.
    let first = udp6(SRC, 2, 0, 64, true);
    assert_eq!(f.offer6(Ticks(1), &first, 0, 5), pass(5));
    assert_eq!(f.offer6(Ticks(1), &first, 0, 6), pass(6));
    let other = Ipv6Meta { proto: TCP, ..first };
    assert_eq!(f.offer6(Ticks(1), &other, 0, 7), drop_as(7, overlap));
    assert_eq!(f.offer6(Ticks(1), &first, 0, 8), drop_as(8, overlap));
}

#[test]
fn icmpv6_queries_have_their_identifier_as_ports_and_errors_are_refused() {
    let mut f = fragments(16, 16);
    let icmp6 = |id, l4| Ipv6Meta {
        l4,
        proto: ICMPV6,
        ..udp6(SRC, id, 0, 64, true)
    };
    let later = |id, offset| udp6(SRC, id, offset, 64, offset != 128);
    assert_eq!(f.offer6(Ticks(1), &later(1, 128), 0, 1), Offer::Held);
    let echo = L4::IcmpQuery {
        id: 77,
        icmp_type: 128,
    };
    let ports = transport(ICMPV6, 77, 77);
    assert_eq!(f.offer6(Ticks(1), &icmp6(1, echo), 0, 2), pass_as(2, ports));
    assert_eq!(f.released().map(|r| (r.packet, r.transport)), Some((1, ports)));
    assert_eq!(f.offer6(Ticks(1), &later(1, 64), 0, 3), pass_as(3, ports));
    assert!(is_empty(&f));

    let refused = [
        (
            L4::IcmpError {
                icmp_type: 2,
                code: 0,
            },
            DropReason::FragmentOfIcmpError,
        ),
        (L4::IcmpOther { icmp_type: 135 }, DropReason::IcmpUnsupported),
    ];
    for (id, (l4, reason)) in (2..).zip(refused) {
        assert_eq!(f.offer6(Ticks(1), &later(id, 64), 0, 1), Offer::Held);
        assert_eq!(f.offer6(Ticks(1), &icmp6(id, l4), 0, 2), drop_as(2, reason));
        assert_eq!(f.offer6(Ticks(1), &later(id, 128), 0, 3), drop_as(3, reason));
        assert_eq!(expired(&mut f, 1), [(1, reason)]);
    }
}

#[test]
fn what_waits_in_vain_times_out() {
    let mut f = fragments(8, 8);
    assert_eq!(
        f.offer6(Ticks(100), &udp6(SRC, 1, 64, 64, true), 0, 1),
        Offer::Held
    );
    assert_eq!(expired(&mut f, 120), []);
    assert_eq!(expired(&mut f, 121), [(1, DropReason::FragmentTimeout)]);
    assert!(is_empty(&f));
}

#[test]
fn all_addresses_of_a_64_have_one_share() {
    let mut f = fragments(16, 64);
    for host in 0..4 {
        let meta = udp6(SRC + host, 1, 64, 64, true);
        assert_eq!(f.offer6(Ticks(1), &meta, 0, 0), Offer::Held);
    }
    let fifth = udp6(SRC + 4, 1, 64, 64, true);
    assert_eq!(
        f.offer6(Ticks(1), &fifth, 0, 9),
        drop_as(9, DropReason::FragmentTableFull)
    );
    for piece in 2..14 {
        let meta = udp6(SRC, 1, piece * 64, 64, true);
        assert_eq!(f.offer6(Ticks(1), &meta, 0, 0), Offer::Held, "piece {piece}");
    }
    let more = udp6(SRC + 1, 1, 128, 64, true);
    assert_eq!(
        f.offer6(Ticks(1), &more, 0, 9),
        drop_as(9, DropReason::FragmentStoreFull)
    );
    assert_eq!((f.reassemblies(), f.held(), f.sources.len()), (4, 16, 1));
    // The next /64, the same one on another side, and an IPv4 host whose number is that of a /64.
    let next = udp6(SRC + (1 << 64), 1, 64, 64, true);
    assert_eq!(f.offer6(Ticks(1), &next, 0, 0), Offer::Held);
    assert_eq!(f.offer6(Ticks(1), &fifth, 1, 0), Offer::Held);
    assert_eq!(
        f.offer6(Ticks(1), &udp6(7 << 64, 1, 64, 64, true), 0, 0),
        Offer::Held
    );
    assert_eq!(f.offer(Ticks(1), &udp(7, 1, 64, 64, true), 0, 0), Offer::Held);
    assert_eq!(f.sources.len(), 5);
}

#[test]
fn families_share_the_memory_and_nothing_else() {
    let mut f = fragments(16, 16);
    // The same numbers in both, as far as they go.
    let meta4 = |offset| udp(9, 1, offset, 64, true);
    let meta6 = |offset| Ipv6Meta {
        dst: 0xffff << 32 | u128::from(meta4(0).dst),
        proto: UDP,
        ..udp6(0xffff << 32 | 9, 1, offset, 64, true)
    };
    assert_eq!(f.offer(Ticks(1), &meta4(64), 0, 1), Offer::Held);
    assert_eq!(f.offer6(Ticks(1), &meta6(64), 0, 2), Offer::Held);
    assert_eq!(f.offer(Ticks(1), &meta4(128), 0, 3), Offer::Held);
    assert_eq!((f.reassemblies(), f.held(), f.sources.len()), (2, 3, 2));
    assert_eq!(f.offer6(Ticks(1), &meta6(0), 0, 4), pass(4));
    assert_eq!(f.offer(Ticks(1), &meta4(0), 0, 5), pass(5));
    let waited = std::iter::from_fn(|| f.released()).map(|r| (r.packet, r.meta));
    let expected = [
        (2, Meta::V6(meta6(64))),
        (1, Meta::V4(meta4(64))),
        (3, Meta::V4(meta4(128))),
    ];
    assert_eq!(Vec::from_iter(waited), expected);

    // IPv6 senders fill the table: no room for IPv4 either.
    for net in 0..14 {
        let first = udp6(net << 64, 1, 0, 64, true);
        assert_eq!(f.offer6(Ticks(1), &first, 0, 0), pass(0));
    }
    assert_eq!(
        f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 6),
        drop_as(6, DropReason::FragmentTableFull)
    );
    assert_eq!(expired(&mut f, 100), []);
    assert!(is_empty(&f));
}
