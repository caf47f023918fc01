//! Tests of virtual reassembly by example; `model` compares it with a naive one, `wire` feeds it real datagrams.

use super::*;
use tandem_wire::L4;
use tandem_wire::ipv4::{ICMP, TCP, UDP};

mod bounds;
mod ipv6;
mod model;
mod random;
mod wire;
mod wire6;

const HEADER: u16 = 20;
const TIMEOUT: Ticks = Ticks::from_seconds(2);

fn sizes(max_reassemblies: u32, max_held_fragments: u32) -> TableSizes {
    TableSizes {
        max_sessions: 0,
        max_mappings: 0,
        max_subscribers: 0,
        max_blocks: 0,
        max_reassemblies,
        max_held_fragments,
    }
}

fn fragments(reassemblies: u32, held: u32) -> Fragments<u32> {
    Fragments::new(&sizes(reassemblies, held), TIMEOUT, HashKeys::new(11)).unwrap()
}

/// `len` octets of payload at `offset`, of the UDP datagram `id` from `src`; a first fragment has ports 5000 and 53.
fn udp(src: u32, id: u16, offset: u16, len: u16, more: bool) -> Ipv4Meta {
    let first = offset == 0;
    Ipv4Meta {
        src,
        dst: 0x0808_0808,
        l4: if first {
            L4::Udp {
                sport: 5000,
                dport: 53,
            }
        } else {
            L4::LaterFragment
        },
        l4_offset: HEADER,
        total_len: HEADER + len,
        id,
        fragment_offset: offset,
        fragment: match (first, more) {
            (true, false) => Fragment::None,
            (true, true) => Fragment::First,
            (false, _) => Fragment::Later,
        },
        more_fragments: more,
        dont_fragment: false,
        proto: UDP,
        ttl: 64,
        tos: 0,
    }
}

fn icmp(id: u16, l4: L4, offset: u16, more: bool) -> Ipv4Meta {
    Ipv4Meta {
        l4,
        proto: ICMP,
        ..udp(1, id, offset, 64, more)
    }
}

fn transport(proto: u8, sport: u16, dport: u16) -> Transport {
    Transport { proto, sport, dport }
}

fn pass_as(packet: u32, transport: Transport) -> Offer<u32> {
    Offer::Pass { packet, transport }
}

fn pass(packet: u32) -> Offer<u32> {
    pass_as(packet, transport(UDP, 5000, 53))
}

fn released(f: &mut Fragments<u32>) -> Vec<u32> {
    std::iter::from_fn(|| f.released())
        .map(|r| {
            assert_eq!(r.transport, transport(UDP, 5000, 53));
            r.packet
        })
        .collect()
}

fn expired(f: &mut Fragments<u32>, now: u32) -> Vec<(u32, DropReason)> {
    let mut out = Vec::new();
    f.expire(Ticks(now), |packet, reason| out.push((packet, reason)));
    out
}

fn is_empty(f: &Fragments<u32>) -> bool {
    (f.reassemblies(), f.held(), f.sources.len()) == (0, 0, 0)
}

#[test]
fn whole_packets_and_protocols_without_ports_leave_no_trace() {
    let mut f = fragments(1, 1);
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 0, 64, false), 0, 7), pass(7));
    for offset in [0, 64] {
        let gre = Ipv4Meta {
            proto: 47,
            l4: if offset == 0 { L4::Other } else { L4::LaterFragment },
            ..udp(1, 1, offset, 64, true)
        };
        let without_ports = pass_as(8, transport(47, 0, 0));
        assert_eq!(f.offer(Ticks(1), &gre, 0, 8), without_ports);
    }
    assert!(is_empty(&f));
}

#[test]
fn u17_fragments_in_order_pass_and_are_forgotten_at_the_last() {
    let mut f = fragments(4, 4);
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 0), pass(0));
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 64, 64, true), 0, 1), pass(1));
    assert_eq!(f.reassemblies(), 1);
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 128, 5, false), 0, 2), pass(2));
    assert_eq!(released(&mut f), []);
    assert!(is_empty(&f));
}

#[test]
fn u17_first_fragment_last_releases_the_others_by_offset() {
    let mut f = fragments(4, 16);
    for (packet, offset, more) in [(2, 128, true), (3, 192, false), (1, 64, true)] {
        let meta = udp(1, 1, offset, 64, more);
        assert_eq!(f.offer(Ticks(1), &meta, 0, packet), Offer::Held);
    }
    assert_eq!(released(&mut f), []);
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 0), pass(0));
    assert_eq!(f.reassemblies(), 0, "every octet came");
    assert_eq!(released(&mut f), [1, 2, 3]);
    assert!(is_empty(&f));
}

#[test]
fn datagrams_are_released_in_the_order_of_their_first_fragments() {
    let mut f = fragments(16, 32);
    for id in [1, 2, 3] {
        for piece in [2, 1] {
            let meta = udp(1, id, piece * 64, 64, true);
            assert_eq!(
                f.offer(Ticks(1), &meta, 0, u32::from(id * 10 + piece)),
                Offer::Held
            );
        }
    }
    for id in [2, 3] {
        let first = u32::from(id * 10);
        assert_eq!(f.offer(Ticks(1), &udp(1, id, 0, 64, true), 0, first), pass(first));
    }
    assert_eq!(released(&mut f), [21, 22, 31, 32]);
    assert_eq!((f.reassemblies(), f.held()), (3, 2));
}

#[test]
fn every_part_of_the_key_counts() {
    let base = udp(1, 1, 64, 64, true);
    let others = [
        (Ipv4Meta { src: 2, ..base }, 0),
        (Ipv4Meta { dst: 2, ..base }, 0),
        (Ipv4Meta { id: 2, ..base }, 0),
        (Ipv4Meta { proto: TCP, ..base }, 0),
        (base, 1),
    ];
    for (other, realm) in others {
        let mut f = fragments(8, 8);
        assert_eq!(f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 0), pass(0));
        assert_eq!(f.offer(Ticks(1), &other, realm, 1), Offer::Held, "{other:?}");
        assert_eq!(f.offer(Ticks(1), &base, 0, 2), pass(2));
    }
}

#[test]
fn n9_what_waits_in_vain_is_dropped_after_two_seconds_and_never_before() {
    let mut f = fragments(8, 8);
    assert_eq!(f.offer(Ticks(100), &udp(1, 1, 64, 64, true), 0, 1), Offer::Held);
    assert_eq!(f.offer(Ticks(105), &udp(1, 1, 128, 64, true), 0, 2), Offer::Held);
    assert_eq!(expired(&mut f, 120), []);
    let timeout = DropReason::FragmentTimeout;
    assert_eq!(expired(&mut f, 121), [(1, timeout), (2, timeout)]);
    assert!(is_empty(&f));
}

#[test]
fn known_ports_time_out_without_a_drop() {
    let mut f = fragments(8, 8);
    assert_eq!(f.offer(Ticks(100), &udp(1, 1, 0, 64, true), 0, 0), pass(0));
    assert_eq!(expired(&mut f, 121), []);
    assert!(is_empty(&f));
    assert_eq!(f.offer(Ticks(121), &udp(1, 1, 64, 64, true), 0, 1), Offer::Held);
}

#[test]
fn a_clock_that_goes_back_does_not_disturb_the_order() {
    let mut f = fragments(8, 8);
    assert_eq!(f.offer(Ticks(100), &udp(1, 1, 64, 64, true), 0, 1), Offer::Held);
    assert_eq!(f.offer(Ticks(3), &udp(1, 2, 64, 64, true), 0, 2), Offer::Held);
    assert_eq!(expired(&mut f, 50), []);
    let timeout = DropReason::FragmentTimeout;
    assert_eq!(expired(&mut f, 121), [(1, timeout), (2, timeout)]);
}

#[test]
fn a_new_timeout_holds_for_those_under_way() {
    let mut f = fragments(8, 8);
    assert_eq!(f.offer(Ticks(0), &udp(1, 1, 64, 64, true), 0, 1), Offer::Held);
    f.set_timeout(Ticks::from_seconds(5));
    assert_eq!(expired(&mut f, 50), []);
    f.set_timeout(TIMEOUT);
    assert_eq!(expired(&mut f, 50).len(), 1);
}

#[test]
fn n9_an_overlap_refuses_the_datagram_before_and_after_its_first_fragment() {
    let overlap = DropReason::FragmentOverlap;
    let mut f = fragments(8, 32);
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 64, 64, true), 0, 1), Offer::Held);
    let crossing = udp(1, 1, 72, 64, true);
    assert_eq!(f.offer(Ticks(1), &crossing, 0, 2), Offer::Drop(2, overlap));
    assert_eq!(
        f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 3),
        Offer::Drop(3, overlap)
    );
    assert_eq!(released(&mut f), []);
    assert_eq!(expired(&mut f, 1), [(1, overlap)]);

    assert_eq!(f.offer(Ticks(1), &udp(1, 2, 0, 64, true), 0, 4), pass(4));
    let crossing = udp(1, 2, 56, 64, true);
    assert_eq!(f.offer(Ticks(1), &crossing, 0, 5), Offer::Drop(5, overlap));
    let good = udp(1, 2, 64, 64, false);
    assert_eq!(f.offer(Ticks(1), &good, 0, 6), Offer::Drop(6, overlap));
    assert_eq!(expired(&mut f, 22), []);
    assert!(is_empty(&f));
}

#[test]
fn contradictions_refuse_the_datagram() {
    let overlap = DropReason::FragmentOverlap;
    let mut f = fragments(16, 64);
    // Two ends.
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 64, 64, false), 0, 1), Offer::Held);
    assert_eq!(
        f.offer(Ticks(1), &udp(1, 1, 192, 64, false), 0, 2),
        Offer::Drop(2, overlap)
    );
    // Two first fragments with other ports.
    let first = udp(1, 2, 0, 64, true);
    assert_eq!(f.offer(Ticks(1), &first, 0, 3), pass(3));
    let other = Ipv4Meta {
        l4: L4::Udp {
            sport: 5001,
            dport: 53,
        },
        ..first
    };
    assert_eq!(f.offer(Ticks(1), &other, 0, 4), Offer::Drop(4, overlap));
    assert_eq!(f.offer(Ticks(1), &first, 0, 5), Offer::Drop(5, overlap));
}

#[test]
fn duplicates_pass_once_ports_are_known_and_are_dropped_while_waiting() {
    let mut f = fragments(8, 8);
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 64, 64, true), 0, 1), Offer::Held);
    assert_eq!(
        f.offer(Ticks(1), &udp(1, 1, 64, 64, true), 0, 2),
        Offer::Drop(2, DropReason::FragmentOverlap)
    );
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 3), pass(3));
    assert_eq!(released(&mut f), [1], "the duplicate did no harm");
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 0, 64, true), 0, 4), pass(4));
    assert_eq!(f.offer(Ticks(1), &udp(1, 1, 64, 64, true), 0, 5), pass(5));
}

#[test]
fn icmp_queries_have_their_identifier_as_ports_and_errors_are_refused() {
    let mut f = fragments(16, 16);
    let query = L4::IcmpQuery { id: 77, icmp_type: 8 };
    assert_eq!(
        f.offer(Ticks(1), &icmp(1, L4::LaterFragment, 64, false), 0, 1),
        Offer::Held
    );
    let ports = transport(ICMP, 77, 77);
    let offer = f.offer(Ticks(1), &icmp(1, query, 0, true), 0, 2);
    assert_eq!(offer, pass_as(2, ports));
    let waited = f.released().unwrap();
    assert_eq!((waited.packet, waited.transport), (1, ports));

    let refused = [
        (
            L4::IcmpError {
                icmp_type: 3,
                code: 4,
            },
            DropReason::FragmentOfIcmpError,
        ),
        (L4::IcmpOther { icmp_type: 9 }, DropReason::IcmpUnsupported),
    ];
    for (id, (l4, reason)) in (2..).zip(refused) {
        let later = |offset| icmp(id, L4::LaterFragment, offset, true);
        assert_eq!(f.offer(Ticks(1), &later(64), 0, 1), Offer::Held);
        assert_eq!(
            f.offer(Ticks(1), &icmp(id, l4, 0, true), 0, 2),
            Offer::Drop(2, reason)
        );
        assert_eq!(f.offer(Ticks(1), &later(128), 0, 3), Offer::Drop(3, reason));
        assert_eq!(expired(&mut f, 1), [(1, reason)]);
    }
}

#[test]
fn drain_hands_everything_out() {
    let mut f = fragments(8, 32);
    // One waits, one is released, one is refused.
    for src in [1, 2, 3] {
        assert_eq!(f.offer(Ticks(1), &udp(src, 1, 64, 64, true), 0, src), Offer::Held);
    }
    assert_eq!(f.offer(Ticks(1), &udp(2, 1, 0, 64, true), 0, 0), pass(0));
    let overlap = DropReason::FragmentOverlap;
    let crossing = udp(3, 1, 72, 64, true);
    assert_eq!(f.offer(Ticks(1), &crossing, 0, 0), Offer::Drop(0, overlap));
    let mut out = Vec::new();
    f.drain(|packet, reason| out.push((packet, reason)));
    out.sort_unstable();
    let stopping = DropReason::Stopping;
    assert_eq!(out, [(1, stopping), (2, stopping), (3, overlap)]);
    assert!(is_empty(&f));
}
