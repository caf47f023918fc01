//! Fragments and NAT64: both directions, any order, and packets that are cut because they grow.

use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::{Ipv4, Ipv6, ipv4, parse6};

use crate::frames::{ETHERNET, End, ends, frame, open, udp};
use crate::frames6::*;
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig, Sent};

const DATA: [u8; 3000] = {
    let mut data = [0; 3000];
    let mut at = 0;
    while at < data.len() {
        data[at] = (at * 11) as u8;
        at += 1;
    }
    data
};

const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 1, 0]];

fn rig() -> Rig {
    Rig::with(Options {
        program: nat64(),
        ..Options::default()
    })
}

/// Pieces of an upper layer's octets: offset, octets, whether more follow.
fn cut(l4: &[u8], size: usize) -> impl Iterator<Item = (u16, &[u8], bool)> {
    (0..l4.len()).step_by(size).map(move |at| {
        (
            at as u16,
            &l4[at..(at + size).min(l4.len())],
            at + size < l4.len(),
        )
    })
}

fn pieces6(src: End6, dst: End6, id: u32) -> Vec<Vec<u8>> {
    let whole = frame6(P_IN, udp6(src, dst).data(&DATA));
    cut(&whole[ETHERNET + 40..], 800)
        .map(|(offset, part, more)| {
            let raw = PacketBuilder6::new(src.0, dst.0, Payload::Raw { proto: ipv4::UDP });
            frame6(P_IN, raw.data(part).fragment(more, offset, id))
        })
        .collect()
}

fn pieces(src: End, dst: End, id: u16) -> Vec<Vec<u8>> {
    let whole = frame(P_OUT, udp(src, dst).data(&DATA));
    cut(&whole[ETHERNET + 20..], 800)
        .map(|(offset, part, more)| {
            let raw = PacketBuilder::new(src.0, dst.0, Payload::Raw { proto: ipv4::UDP });
            frame(P_OUT, raw.data(part).id(id).fragment(more, offset))
        })
        .collect()
}

/// Identifications and octets of the upper layer of fragments of either family, without holes or overlaps.
fn reassemble(sent: &[Sent]) -> (Vec<u32>, Vec<u8>) {
    let mut parts: Vec<(u16, bool, u32, Vec<u8>)> = sent
        .iter()
        .map(|s| {
            let packet = open(&s.frame).2;
            if packet[0] >> 4 == 4 {
                let ip = Ipv4::new_checked(packet).expect("IPv4");
                assert!(ip.verify_checksum());
                let more = ip.more_fragments();
                return (
                    ip.fragment_offset(),
                    more,
                    u32::from(ip.id()),
                    ip.payload().to_vec(),
                );
            }
            let meta = parse6::parse_ipv6(packet).expect("IPv6");
            let l4 = packet[usize::from(meta.l4_offset)..].to_vec();
            (meta.fragment_offset, meta.more_fragments, meta.fragment_id, l4)
        })
        .collect();
    parts.sort();
    let (mut all, mut ids, last) = (Vec::new(), Vec::new(), parts.len() - 1);
    for (at, (offset, more, id, part)) in parts.into_iter().enumerate() {
        assert_eq!((usize::from(offset), more), (all.len(), at != last));
        ids.push(id);
        all.extend(part);
    }
    (ids, all)
}

/// Ports and data of a UDP datagram.
fn look(l4: &[u8]) -> (u16, u16, &[u8]) {
    let port = |at: usize| u16::from_be_bytes([l4[at], l4[at + 1]]);
    (port(0), port(2), &l4[8..])
}

#[test]
fn fragments_in_any_order_both_ways() {
    let mut rig = rig();
    for (round, order) in ORDERS.iter().enumerate() {
        let frames = pieces6((IN6, 5000), (in64(OUT1), 53), 70_000 + round as u32);
        rig.sent.clear();
        for at in order {
            rig.feed(P_IN, &[&frames[*at]]);
        }
        assert_eq!(rig.sent.len(), 4, "{:?}", rig.drops());
        let (src, dst) = {
            let packet = open(&rig.sent[0].frame).2;
            let ip = Ipv4::new_checked(packet).expect("IPv4");
            (ip.src(), ip.dst())
        };
        assert!((POOL..=POOL_LAST).contains(&src) && dst == OUT1);
        let (ids, l4) = reassemble(&rig.sent);
        assert!(
            ids.iter().all(|id| *id == (70_000 + round as u32) & 0xffff),
            "RFC 7915 section 5.1.1"
        );
        let (port, to, data) = look(&l4);
        assert_eq!((to, data), (53, &DATA[..]));

        let frames = pieces((OUT1, 53), (src, port), 200 + round as u16);
        rig.sent.clear();
        for at in order {
            rig.feed(P_OUT, &[&frames[*at]]);
        }
        assert_eq!(rig.sent.len(), 4, "{:?}", rig.drops());
        for s in &rig.sent {
            let ip = Ipv6::new_checked(open(&s.frame).2).expect("IPv6");
            assert_eq!((s.port, ip.src(), ip.dst()), (P_IN, in64(OUT1), IN6));
        }
        let (ids, l4) = reassemble(&rig.sent);
        assert!(ids.iter().all(|id| *id == 200 + round as u32));
        assert_eq!(look(&l4), (53, 5000, &DATA[..]));
    }
    assert_eq!(rig.drops(), []);
    assert!(rig.count(|c| c.fragments_released) > 0);
    rig.finish();
}

#[test]
fn fragments_without_their_first_one_wait_and_are_dropped() {
    let mut rig = rig();
    let frames = pieces6((IN6, 5000), (in64(OUT1), 53), 7);
    rig.feed(P_IN, &frames[1..]);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.workers[0].in_hand(), 3);
    rig.check_books();
    rig.wait(60);
    assert_eq!(rig.drops(), [("fragment-timeout", 3)]);
    rig.finish();
}

/// RFC 7915 section 4.1: without DF an IPv4 packet that would be longer than 1280 octets is cut for IPv6.
#[test]
fn without_df_a_packet_is_cut_as_it_becomes_ipv6() {
    let mut rig = rig();
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OUT1), 53))), P_OUT);
    let public = ends(&out).0;
    let large = udp((OUT1, 53), public)
        .data(&DATA[..1400])
        .dont_fragment(false)
        .id(0xbeef);
    rig.sent.clear();
    rig.feed(P_OUT, &[frame(P_OUT, large)]);
    assert_eq!(rig.sent.len(), 2, "{:?}", rig.drops());
    for s in &rig.sent {
        let (dst, _, packet) = open(&s.frame);
        assert_eq!((s.port, dst), (P_IN, mac6(IN6)));
        assert!(packet.len() <= 1280);
    }
    let (ids, l4) = reassemble(&rig.sent);
    assert_eq!(ids, [0xbeef; 2]);
    assert_eq!(look(&l4), (53, 5000, &DATA[..1400]));
    assert_eq!(
        (rig.count(|c| c.fragmented), rig.count(|c| c.fragments_made)),
        (1, 2)
    );
    rig.finish();
}

/// The pieces wait for the host they are for, each as a packet of its own.
#[test]
fn pieces_wait_for_their_neighbour() {
    let mut rig = rig();
    let out = rig.pass_one(
        P_IN,
        &frame6(P_IN, udp6((IN6_SILENT, 5000), (in64(OUT1), 53))),
        P_OUT,
    );
    let large = udp((OUT1, 53), ends(&out).0)
        .data(&DATA[..1400])
        .dont_fragment(false);
    rig.sent.clear();
    rig.feed(P_OUT, &[frame(P_OUT, large)]);
    assert_eq!(
        (rig.asked.as_slice(), rig.workers[0].in_hand()),
        (&[(I_IN, IN6_SILENT)][..], 2)
    );
    rig.check_books();
    rig.routes
        .neighbour6(I_IN, IN6_SILENT.into(), Some(mac6(IN6_SILENT)), false);
    rig.routes.publish();
    rig.settle();
    assert_eq!(look(&reassemble(&rig.sent).1), (53, 5000, &DATA[..1400]));
    assert_eq!(rig.drops(), []);
    rig.finish();
}

/// Cutting needs a buffer for each piece; without one the packet is dropped once, whatever was already sent.
#[test]
fn a_packet_that_finds_no_buffer_to_be_cut_is_dropped_once() {
    let mut rig = rig();
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OUT1), 53))), P_OUT);
    let large = udp((OUT1, 53), ends(&out).0)
        .data(&DATA[..1400])
        .dont_fragment(false);
    let mbuf = rig.mbuf(&frame(P_OUT, large));
    let mut all = Vec::new();
    while rig.pool.available() > 1 {
        all.push(rig.pool.alloc().expect("a buffer"));
    }
    rig.feed_mbufs(0, P_OUT, vec![mbuf]);
    assert_eq!(rig.drops(), [("no-buffer", 1)]);
    rig.check_books();
    drop(all);
    rig.finish();
}

#[test]
fn fragments_that_are_routed_need_no_first_one() {
    let mut rig = Rig::new();
    let raw = PacketBuilder6::new(OTHER6, OUT6, Payload::Raw { proto: ipv4::UDP });
    let later = frame6(P_TRUNK, raw.data(&DATA[..800]).fragment(false, 1600, 9));
    let sent = rig.pass_one(P_TRUNK, &later, P_OUT);
    assert_eq!(sent[ETHERNET + 40..], later[ETHERNET + 40..]);
    assert_eq!(rig.drops(), []);
    rig.finish();
}
