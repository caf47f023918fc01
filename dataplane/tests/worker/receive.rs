//! Receive: what is ours, what is the kernel's, what is dropped, and the shapes a frame may come in.

use tandem_engine::drop_reason::DropReason;
use tandem_wire::error::ParseError;
use tandem_wire::ethernet;

use crate::frames::{ETHERNET, ends, ethernet_frame, frame, open, packet, syn, tagged, udp};
use crate::plan::*;
use crate::rig::{Punted, Rig};

const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const OSPF_ROUTERS: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 5];

#[test]
fn what_is_not_for_forwarding_goes_to_the_kernel_as_it_came() {
    let mut rig = Rig::new();
    let arp = ethernet_frame([0xff; 6], ethernet::ARP, &[1; 46]);
    let arp_reply = ethernet_frame(mac(P_OUT), ethernet::ARP, &[2; 46]);
    let nd = ethernet_frame(ALL_NODES, ethernet::IPV6, &[3; 60]);
    let mut ospf = frame(P_IN, udp((IN1, 1), (ip(224, 0, 0, 5), 2)));
    ospf[..6].copy_from_slice(&OSPF_ROUTERS);
    let to_us = frame(P_OUT, udp((OUT1, 179), (OWN_OUT, 179)));
    let multicast_ip = frame(P_IN, udp((IN1, 1), (ip(224, 0, 0, 18), 2)));
    let broadcast_ip = frame(P_IN, udp((IN1, 68), (u32::MAX, 67)));
    for (port, interface, sent) in [
        (P_IN, I_IN, &arp),
        (P_OUT, I_OUT, &arp_reply),
        (P_TRUNK, I_OTHER, &arp),
        (P_IN, I_IN, &nd),
        (P_IN, I_IN, &ospf),
        (P_OUT, I_OUT, &to_us),
        (P_IN, I_IN, &multicast_ip),
        (P_IN, I_IN, &broadcast_ip),
    ] {
        rig.feed(port, &[sent]);
        let expected = Punted {
            interface,
            frame: sent.clone(),
        };
        assert_eq!(rig.punted.pop(), Some(expected));
        assert!(rig.punted.is_empty() && rig.sent.is_empty());
    }
    assert_eq!(rig.count(|c| c.punted), 8);
    rig.finish();
}

#[test]
fn the_kernel_gets_tagged_frames_without_the_tag_and_with_their_interface() {
    let mut rig = Rig::new();
    let packet = udp((IN_VLAN, 1), (ip(224, 0, 0, 5), 2));
    rig.feed(P_TRUNK, &[tagged(P_TRUNK, &[100], packet)]);
    assert_eq!(
        rig.punted,
        [Punted {
            interface: I_IN_VLAN,
            frame: frame(P_TRUNK, packet),
        }]
    );
    rig.finish();
}

#[test]
fn frames_of_the_kernel_leave_by_their_interface() {
    let mut rig = Rig::new();
    let arp = ethernet_frame(host_mac(IN_VLAN), ethernet::ARP, &[7; 46]);
    rig.kernel_writes(I_OUT, &arp);
    rig.kernel_writes(I_OUT_VLAN, &arp);
    let (untagged, tagged) = (rig.sent.remove(0), rig.sent.remove(0));
    assert_eq!((untagged.port, &untagged.frame), (P_OUT, &arp));
    assert_eq!(tagged.port, P_TRUNK);
    assert_eq!(tagged.frame[..12], arp[..12]);
    assert_eq!(tagged.frame[12..16], [0x81, 0, 0, 200]);
    assert_eq!(tagged.frame[16..], arp[12..]);
    assert_eq!(rig.count(|c| c.from_kernel), 2);
    rig.interfaces.get(I_OUT).unwrap().set_up(false);
    rig.kernel_writes(I_OUT, &arp);
    rig.kernel_writes(77, &arp);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.drops(), [("no-route", 1), ("port-down", 1)]);
    rig.finish();
}

#[test]
fn tags_are_taken_off_and_put_on() {
    let mut rig = Rig::new();
    // VLAN 100 in, VLAN 200 of the same port out.
    let sent = rig.pass_one(
        P_TRUNK,
        &tagged(P_TRUNK, &[100], udp((IN_VLAN, 5000), (OUT_VLAN, 53))),
        P_TRUNK,
    );
    let (dst, vlan, _) = open(&sent);
    assert_eq!((dst, vlan), (host_mac(OUT_VLAN), Some(200)));
    let (public, to) = ends(&sent);
    assert!((POOL..=POOL_LAST).contains(&public.0));
    assert_eq!(to, (OUT_VLAN, 53));
    // And back.
    let sent = rig.pass_one(
        P_TRUNK,
        &tagged(P_TRUNK, &[200], udp((OUT_VLAN, 53), public)),
        P_TRUNK,
    );
    let (dst, vlan, _) = open(&sent);
    assert_eq!((dst, vlan), (host_mac(IN_VLAN), Some(100)));
    assert_eq!(ends(&sent), ((OUT_VLAN, 53), (IN_VLAN, 5000)));
    // A tag of VLAN 0 only carries a priority.
    let sent = rig.pass_one(P_IN, &tagged(P_IN, &[0], udp((IN1, 1), (OUT1, 2))), P_OUT);
    assert_eq!(open(&sent).1, None);
    rig.finish();
}

#[test]
fn unknown_tags_and_two_tags_are_dropped() {
    let mut rig = Rig::new();
    let packet = udp((IN_VLAN, 5000), (OUT_VLAN, 53));
    rig.feed(
        P_TRUNK,
        &[
            tagged(P_TRUNK, &[101], packet),
            tagged(P_TRUNK, &[100, 100], packet),
            tagged(P_TRUNK, &[0, 100], packet),
        ],
    );
    rig.feed(P_IN, &[tagged(P_IN, &[100], packet)]);
    assert_eq!(rig.dropped(DropReason::VlanUnknown), 4);
    assert!(rig.sent.is_empty() && rig.punted.is_empty());
    rig.finish();
}

#[test]
fn frames_for_another_station_are_dropped() {
    let mut rig = Rig::new();
    let good = frame(P_IN, udp((IN1, 1), (OUT1, 2)));
    let mut other = good.clone();
    other[5] ^= 0x40;
    let mut arp = ethernet_frame(mac(P_OUT), ethernet::ARP, &[1; 46]);
    arp[5] ^= 0x40;
    // Among good ones, so that the burst is taken apart.
    rig.feed(P_IN, &[&good, &other, &good, &arp, &good]);
    assert_eq!(rig.drops(), [("not-for-us", 2)]);
    assert_eq!((rig.sent.len(), rig.punted.len()), (3, 0));
    rig.finish();
}

#[test]
fn padding_ends_here() {
    let mut rig = Rig::new();
    let mut padded = frame(P_IN, syn((IN1, 40000), (OUT1, 80)));
    let length = padded.len();
    padded.resize(60, 0xee);
    let sent = rig.pass_one(P_IN, &padded, P_OUT);
    assert_eq!(sent.len(), length);
    assert_eq!(ends(&sent).1, (OUT1, 80));
    // Where the frame takes the longer way, too.
    let mut padded = tagged(P_TRUNK, &[100], udp((IN_VLAN, 5000), (OUT1, 53)));
    let length = padded.len() - ethernet::TAG_LEN;
    padded.resize(64, 0xee);
    let sent = rig.pass_one(P_TRUNK, &padded, P_OUT);
    assert_eq!(sent.len(), length);
    assert_eq!(ends(&sent).1, (OUT1, 53));
    rig.finish();
}

#[test]
fn chained_buffers_are_taken_as_one_packet() {
    let mut rig = Rig::new();
    let data = [0x5a; 1400];
    let whole = frame(P_IN, udp((IN1, 6000), (OUT1, 53)).data(&data));
    for piece in [20, 50, 700, 1441] {
        let mbuf = rig.chained(&whole, piece);
        rig.sent.clear();
        rig.feed_mbufs(0, P_IN, vec![mbuf]);
        assert_eq!(rig.sent.len(), 1, "in pieces of {piece}: {:?}", rig.drops());
        ends(&rig.sent[0].frame);
        assert_eq!(rig.sent[0].frame[ETHERNET + 28..], data);
    }
    rig.finish();
}

#[test]
fn a_chain_longer_than_a_buffer_is_dropped() {
    let mut rig = Rig::new();
    let data = vec![1; 3000];
    let long = frame(P_IN, udp((IN1, 6000), (OUT1, 53)).data(&data));
    let mbuf = rig.chained(&long, 1000);
    rig.feed_mbufs(0, P_IN, vec![mbuf]);
    assert_eq!(rig.drops(), [("frame-not-contiguous", 1)]);
    rig.finish();
}

#[test]
fn broken_packets_are_parse_errors_and_strange_sources_are_dropped() {
    let mut rig = Rig::new();
    let good = frame(P_IN, udp((IN1, 1), (OUT1, 2)));
    let mut checksum = good.clone();
    checksum[ETHERNET + 10] ^= 1;
    let mut version = good.clone();
    version[ETHERNET] = 0x65;
    let truncated = good[..good.len() - 10].to_vec();
    let runt = good[..10].to_vec();
    let errors = |rig: &Rig| -> u64 { ParseError::ALL.iter().map(|e| rig.parse_errors(*e)).sum() };
    rig.feed(P_IN, &[checksum, version, truncated, runt]);
    assert_eq!(errors(&rig), 4);
    for src in [0, ip(127, 0, 0, 1), ip(224, 0, 0, 1), ip(240, 0, 0, 1), u32::MAX] {
        rig.feed(P_IN, &[frame(P_IN, udp((src, 1), (OUT1, 2)))]);
    }
    assert_eq!(rig.drops(), [("martian-source", 5)]);
    assert!(rig.sent.is_empty());
    let sent = rig.pass_one(P_IN, &good, P_OUT);
    assert_eq!(packet(&sent).len(), good.len() - ETHERNET);
    rig.finish();
}
