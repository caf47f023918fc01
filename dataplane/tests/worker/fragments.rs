//! Fragments through a whole worker: both directions, any order, what never gets its first one; and packets that are cut here.

use tandem_engine::drop_reason::DropReason;
use tandem_wire::build::{PacketBuilder, Payload};
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::{Ipv4, ipv4};

use crate::frames::{ETHERNET, End, checksums_are_right, ends, frame, open, packet, udp};
use crate::plan::*;
use crate::rig::{Rig, Sent};

const DATA: [u8; 3000] = {
    let mut data = [0; 3000];
    let mut at = 0;
    while at < data.len() {
        data[at] = (at * 7) as u8;
        at += 1;
    }
    data
};

/// A datagram of [`DATA`] in fragments of `size` octets of payload, as frames to a port.
fn pieces(port: u8, src: End, dst: End, id: u16, size: usize) -> Vec<Vec<u8>> {
    let whole = frame(port, udp(src, dst).data(&DATA));
    let l4 = &whole[ETHERNET + 20..];
    (0..l4.len())
        .step_by(size)
        .map(|at| {
            let part = &l4[at..(at + size).min(l4.len())];
            let more = at + size < l4.len();
            let raw = PacketBuilder::new(src.0, dst.0, Payload::Raw { proto: ipv4::UDP });
            frame(port, raw.data(part).id(id).fragment(more, at as u16))
        })
        .collect()
}

/// Puts fragments together; the datagram, with its checksums verified.
fn reassemble(sent: &[Sent]) -> Vec<u8> {
    let mut parts: Vec<(u16, &[u8], bool)> = Vec::new();
    let mut header = Vec::new();
    for s in sent {
        let packet = open(&s.frame).2;
        assert!(checksums_are_right(packet));
        let meta = parse_ipv4_verified(packet).expect("a fragment");
        if meta.fragment_offset == 0 {
            header = packet[..20].to_vec();
        }
        parts.push((meta.fragment_offset, &packet[20..], meta.more_fragments));
    }
    parts.sort_unstable();
    let mut l4 = Vec::new();
    let last = parts.len() - 1;
    for (at, (offset, part, more)) in parts.iter().enumerate() {
        assert_eq!(usize::from(*offset), l4.len(), "no hole, no overlap");
        assert_eq!(*more, at != last);
        l4.extend_from_slice(part);
    }
    let total = (20 + l4.len()) as u16;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6..8].fill(0);
    header[10..12].fill(0);
    let sum = tandem_wire::checksum::checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(l4);
    assert!(
        checksums_are_right(&header),
        "the datagram's own checksum is right, too"
    );
    header
}

/// Ends and data of a UDP datagram.
fn look(datagram: &[u8]) -> (End, End, &[u8]) {
    let meta = parse_ipv4_verified(datagram).expect("a datagram");
    (
        (meta.src, meta.sport()),
        (meta.dst, meta.dport()),
        &datagram[28..],
    )
}

#[test]
fn fragments_in_any_order_both_ways() {
    let mut rig = Rig::new();
    let orders: [[usize; 4]; 6] = [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [1, 0, 3, 2],
        [2, 3, 0, 1],
        [1, 2, 3, 0],
        [3, 0, 2, 1],
    ];
    let mut public = (0, 0);
    for (round, order) in orders.iter().enumerate() {
        let frames = pieces(P_IN, (IN1, 5000), (OUT1, 53), 100 + round as u16, 800);
        assert_eq!(frames.len(), 4);
        rig.sent.clear();
        for at in order {
            rig.feed(P_IN, &[&frames[*at]]);
        }
        assert!(rig.sent.iter().all(|s| s.port == P_OUT));
        let datagram = reassemble(&rig.sent);
        let (src, dst, data) = look(&datagram);
        assert_eq!((dst, data), ((OUT1, 53), &DATA[..]));
        assert!(round == 0 || src == public, "one mapping for all of them");
        public = src;

        let frames = pieces(P_OUT, (OUT1, 53), public, 200 + round as u16, 800);
        rig.sent.clear();
        for at in order {
            rig.feed(P_OUT, &[&frames[*at]]);
        }
        assert!(
            rig.sent
                .iter()
                .all(|s| s.port == P_IN && open(&s.frame).0 == host_mac(IN1))
        );
        let datagram = reassemble(&rig.sent);
        assert_eq!(look(&datagram), ((OUT1, 53), (IN1, 5000), &DATA[..]));
    }
    assert_eq!(rig.drops(), []);
    // All of one datagram in one burst, last first.
    let mut frames = pieces(P_IN, (IN1, 5000), (OUT1, 53), 300, 200);
    frames.reverse();
    rig.sent.clear();
    rig.feed(P_IN, &frames);
    assert_eq!(look(&reassemble(&rig.sent)).0, public);
    assert!(rig.count(|c| c.fragments_released) > 0);
    rig.finish();
}

#[test]
fn fragments_without_their_first_one_wait_and_are_dropped() {
    let mut rig = Rig::new();
    let frames = pieces(P_IN, (IN1, 5000), (OUT1, 53), 7, 800);
    rig.feed(P_IN, &frames[1..]);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.workers[0].in_hand(), 3);
    rig.check_books();
    rig.wait(60);
    assert_eq!(rig.workers[0].in_hand(), 0);
    assert_eq!(rig.drops(), [("fragment-timeout", 3)]);
    rig.finish();
}

#[test]
fn overlapping_fragments_are_dropped() {
    let mut rig = Rig::new();
    let frames = pieces(P_IN, (IN1, 5000), (OUT1, 53), 7, 800);
    let raw = PacketBuilder::new(IN1, OUT1, Payload::Raw { proto: ipv4::UDP });
    let overlap = frame(P_IN, raw.data(&DATA[..800]).id(7).fragment(true, 400));
    rig.feed(P_IN, &[&frames[0], &overlap, &frames[1]]);
    assert!(rig.dropped(DropReason::FragmentOverlap) >= 1, "{:?}", rig.drops());
    rig.finish();
}

#[test]
fn without_df_a_packet_too_large_is_cut() {
    let mut rig = Rig::new();
    // Translated, into the VLAN with the small MTU.
    let data = &DATA[..1400];
    let from = tandem_frame(P_IN, (IN1, 5000), (OUT_VLAN, 53), data);
    rig.sent.clear();
    rig.feed(P_IN, &[&from]);
    assert_eq!(rig.sent.len(), 2, "{:?}", rig.drops());
    for s in &rig.sent {
        let (dst, vlan, packet) = open(&s.frame);
        assert_eq!((s.port, dst, vlan), (P_TRUNK, host_mac(OUT_VLAN), Some(200)));
        assert!(packet.len() <= 1280);
    }
    let datagram = reassemble(&rig.sent);
    let (src, dst, cut) = look(&datagram);
    assert!((POOL..=POOL_LAST).contains(&src.0));
    assert_eq!((dst, cut), ((OUT_VLAN, 53), data));
    assert_eq!(rig.count(|c| c.fragmented), 1);
    assert_eq!(rig.count(|c| c.fragments_made), 2);
    // Routed, too.
    rig.sent.clear();
    rig.feed(
        P_TRUNK,
        &[&tandem_frame(P_TRUNK, (OTHER, 1), (OTHER_VLAN, 2), data)],
    );
    assert_eq!(rig.sent.len(), 2);
    assert_eq!(look(&reassemble(&rig.sent)), ((OTHER, 1), (OTHER_VLAN, 2), data));
    rig.finish();
}

fn tandem_frame(port: u8, src: End, dst: End, data: &[u8]) -> Vec<u8> {
    frame(port, udp(src, dst).data(data).dont_fragment(false).id(9))
}

/// Cutting needs a buffer for each piece; without one the packet is dropped once, whatever was already sent.
#[test]
fn a_packet_that_finds_no_buffer_to_be_cut_is_dropped_once() {
    let mut rig = Rig::new();
    let large = tandem_frame(P_TRUNK, (OTHER, 1), (OTHER_VLAN, 2), &DATA[..1400]);
    let mbuf = rig.mbuf(&large);
    let mut all = Vec::new();
    while rig.pool.available() > 1 {
        all.push(rig.pool.alloc().expect("a buffer"));
    }
    rig.feed_mbufs(0, P_TRUNK, vec![mbuf]);
    assert_eq!(rig.drops(), [("no-buffer", 1)]);
    rig.check_books();
    drop(all);
    rig.finish();
}

#[test]
fn fragments_that_are_routed_need_no_first_one() {
    let mut rig = Rig::new();
    let frames = pieces(P_TRUNK, (OTHER, 5000), (OUT1, 53), 7, 800);
    rig.feed(P_TRUNK, &frames[2..]);
    assert_eq!(rig.sent.len(), 2);
    for (s, was) in rig.sent.iter().zip(&frames[2..]) {
        let (now, was) = (packet(&s.frame), packet(was));
        assert_eq!(now[20..], was[20..]);
        assert_eq!(Ipv4::new_checked(now).expect("IPv4").src(), OTHER);
    }
    rig.finish();
}

#[test]
fn a_whole_datagram_is_no_fragment() {
    let mut rig = Rig::new();
    let sent = rig.pass_one(
        P_IN,
        &frame(P_IN, udp((IN1, 1), (OUT1, 2)).dont_fragment(false)),
        P_OUT,
    );
    assert_eq!(ends(&sent).1, (OUT1, 2));
    rig.finish();
}
