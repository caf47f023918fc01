//! IPv6 without translation: routed packets (RFC 8200), what is the kernel's, and what no packet may look like (RFC 4291).

use tandem_engine::drop_reason::DropReason;
use tandem_wire::build::{PacketBuilder6, Payload};
use tandem_wire::error::ParseError;
use tandem_wire::{ethernet, icmp6};

use crate::frames::{ETHERNET, ethernet_frame, open};
use crate::frames6::*;
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig};

#[test]
fn packets_are_routed_one_hop_further() {
    let mut rig = Rig::new();
    let sent = rig.pass_one(P_TRUNK, &frame6(P_TRUNK, udp6((OTHER6, 1), (OUT6, 2))), P_OUT);
    assert_eq!(open(&sent).0, mac6(ROUTER6));
    assert_eq!(ends6(&sent), ((OTHER6, 1), (OUT6, 2)));
    assert_eq!(packet6(&sent).1.hop_limit, 63);
    // Between a VLAN and none, both ways.
    let sent = rig.pass_one(
        P_TRUNK,
        &frame6(P_TRUNK, syn6((OTHER6, 1), (OTHER6_VLAN, 2))),
        P_TRUNK,
    );
    assert_eq!((open(&sent).0, open(&sent).1), (mac6(OTHER6_VLAN), Some(300)));
    assert_eq!(ends6(&sent), ((OTHER6, 1), (OTHER6_VLAN, 2)));
    let back = tagged6(P_TRUNK, 300, syn6((OTHER6_VLAN, 2), (OTHER6, 1)));
    let sent = rig.pass_one(P_TRUNK, &back, P_TRUNK);
    assert_eq!((open(&sent).0, open(&sent).1), (mac6(OTHER6), None));
    // From inside of a service set that has nothing to do with IPv6, too.
    let sent = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 1), (OUT6, 2))), P_OUT);
    assert_eq!(ends6(&sent), ((IN6, 1), (OUT6, 2)));
    let sent = rig.pass_one(P_OUT, &frame6(P_OUT, udp6((OUT6, 2), (IN6, 1))), P_IN);
    assert_eq!(open(&sent).0, mac6(IN6));
    // Whatever the upper layer is.
    let esp = PacketBuilder6::new(OTHER6, OUT6, Payload::Raw { proto: 50 }).data(b"esp");
    rig.pass_one(P_TRUNK, &frame6(P_TRUNK, esp), P_OUT);
    assert_eq!((rig.count(|c| c.routed), rig.drops()), (6, vec![]));
    rig.finish();
}

#[test]
fn padding_ends_at_the_packet() {
    let mut rig = Rig::new();
    for packet in [
        udp6((OTHER6, 1), (OUT6, 2)),
        PacketBuilder6::echo(OTHER6, OUT6, 1, 1),
    ] {
        let mut frame = frame6(P_TRUNK, packet);
        let length = frame.len();
        frame.extend([0xa5; 9]);
        assert_eq!(rig.pass_one(P_TRUNK, &frame, P_OUT).len(), length);
    }
    rig.finish();
}

#[test]
fn senders_are_told_why_a_packet_does_not_go_on() {
    let mut rig = Rig::new();
    let data = [1; 1400];
    for (packet, kind, word) in [
        (udp6((OTHER6, 1), (OUT6, 2)).hop_limit(1), (3, 0), 0),
        (udp6((OTHER6, 1), (OTHER6_VLAN, 2)).data(&data), (2, 0), 1280),
        (udp6((OTHER6, 1), (PROHIBITED6, 2)), (1, 1), 0),
    ] {
        let sent = rig.pass_one(P_TRUNK, &frame6(P_TRUNK, packet), P_TRUNK);
        let told = error6(&sent);
        assert_eq!((told.from, told.to), (OWN6_OTHER, OTHER6));
        assert_eq!((told.kind, told.word), (kind, word));
        assert_eq!(told.about.0, (OTHER6, 1));
        assert!(packet6(&sent).0.len() <= 1280);
    }
    let drops = [("route-prohibited", 1), ("mtu-exceeded", 1), ("ttl-expired", 1)];
    for drop in drops {
        assert!(rig.drops().contains(&drop), "{:?}", rig.drops());
    }
    // Never about an error, and not without an address of our own.
    let quoted = frame6(P_TRUNK, udp6((OUT6, 1), (OTHER6, 2)));
    let error = PacketBuilder6::icmp(OTHER6, OUT6, 1, 4, 0).data(&quoted[ETHERNET..]);
    assert!(rig.pass(P_TRUNK, &frame6(P_TRUNK, error.hop_limit(1))).is_empty());
    for interface in &rig.interfaces.all {
        interface.set_ipv6(0);
    }
    let dying = udp6((OTHER6, 1), (OUT6, 2)).hop_limit(1);
    assert!(rig.pass(P_TRUNK, &frame6(P_TRUNK, dying)).is_empty());
    assert_eq!(
        (rig.count(|c| c.icmp_sent), rig.count(|c| c.icmp_suppressed)),
        (3, 2)
    );
    rig.finish();
}

#[test]
fn neighbours_are_asked_for_and_packets_wait() {
    let mut rig = Rig::new();
    let packet = frame6(P_TRUNK, udp6((OTHER6, 1), (IN6_SILENT, 2)));
    rig.feed(P_TRUNK, &[&packet, &packet]);
    assert_eq!(
        (rig.asked.as_slice(), rig.workers[0].in_hand()),
        (&[(I_IN, IN6_SILENT)][..], 2)
    );
    rig.check_books();
    rig.routes
        .neighbour6(I_IN, IN6_SILENT.into(), Some(mac6(IN6_SILENT)), false);
    rig.routes.publish();
    rig.settle();
    assert_eq!(rig.sent.len(), 2);
    assert!(rig.sent.iter().all(|s| open(&s.frame).0 == mac6(IN6_SILENT)));
    // One that never answers: its sender is told "address unreachable".
    rig.sent.clear();
    rig.feed(
        P_TRUNK,
        &[frame6(P_TRUNK, udp6((OTHER6, 1), (IN6_SILENT + 1, 2)))],
    );
    rig.wait(40);
    let told = error6(&rig.sent[0].frame);
    assert_eq!(
        (told.to, told.kind, told.about.1),
        (OTHER6, (1, 3), (IN6_SILENT + 1, 2))
    );
    assert_eq!(rig.drops(), [("neighbour-unresolved", 1)]);
    rig.finish();
}

#[test]
fn what_links_and_this_box_talk_about_is_the_kernels() {
    let mut rig = Rig::with(Options {
        program: firewall(),
        ..Options::default()
    });
    let link_local = ROUTER6;
    let solicitation = PacketBuilder6::icmp(IN6, OWN6_IN, icmp6::NEIGHBOUR_SOLICITATION, 0, 0);
    let mut frames = vec![
        frame6(P_IN, solicitation.hop_limit(255)),
        frame6(P_IN, udp6((IN6, 1), (OWN6_IN, 2))),
        frame6(P_IN, udp6((IN6, 546), (link_local + 1, 547))),
        frame6(
            P_IN,
            PacketBuilder6::new(link_local + 1, OWN6_IN, Payload::Raw { proto: 89 }).data(b"ospf"),
        ),
        frame6(P_IN, udp6((link_local + 1, 1), (OUT6, 2))),
        frame6(P_IN, udp6((IN6, 1), (ip6([0xff05, 0, 0, 0, 0, 0, 1, 3]), 547))),
        frame6(P_IN, PacketBuilder6::echo(IN6, OWN6_OUT, 1, 1)),
    ];
    // To a group's MAC, whatever is in it: MLD with a router alert, and somebody without an address.
    let alert: [(u8, &[u8]); 1] = [(0, &[5, 2, 0, 0, 1, 0])];
    let report = PacketBuilder6::icmp(link_local + 1, ip6([0xff02, 0, 0, 0, 0, 0, 0, 0x16]), 143, 0, 0);
    let unspecified = PacketBuilder6::icmp(0, ip6([0xff02, 0, 0, 0, 0, 1, 0xff00, 1]), 135, 0, 0);
    for packet in [report.extensions(&alert), unspecified] {
        let mut frame = frame6(P_IN, packet);
        frames.push(frame.clone());
        frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 0x16]);
        frames.push(frame);
    }
    for frame in &frames {
        rig.punted.clear();
        rig.feed(P_IN, &[frame]);
        assert_eq!(rig.punted.len(), 1, "{:?} {frame:02x?}", rig.drops());
        assert_eq!(
            (rig.punted[0].interface, &rig.punted[0].frame),
            (I_IN, frame),
            "as it came"
        );
    }
    assert!(rig.sent.is_empty());
    assert_eq!(rig.count(|c| c.punted), frames.len() as u64);
    rig.finish();
}

#[test]
fn sources_and_destinations_of_nobody_are_dropped() {
    let mut rig = Rig::new();
    let mapped = ip6([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1]);
    let multicast = ip6([0xff02, 0, 0, 0, 0, 0, 0, 1]);
    for (n, source) in [0, 1, mapped, multicast].into_iter().enumerate() {
        rig.feed(P_TRUNK, &[frame6(P_TRUNK, udp6((source, 1), (OUT6, 2)))]);
        assert_eq!(rig.dropped(DropReason::MartianSource), n as u64 + 1, "{source:x}");
    }
    for destination in [0, 1, mapped] {
        rig.feed(P_TRUNK, &[frame6(P_TRUNK, udp6((OTHER6, 1), (destination, 2)))]);
    }
    assert_eq!(rig.drops(), [("martian-source", 4), ("no-route", 3)]);
    assert!(rig.sent.is_empty() && rig.punted.is_empty());
    rig.finish();
}

#[test]
fn malformed_packets_are_counted_by_their_fault() {
    let mut rig = Rig::new();
    let mut version = frame6(P_TRUNK, udp6((OTHER6, 1), (OUT6, 2)));
    version[ETHERNET] = 0x45;
    let mut cut = frame6(P_TRUNK, udp6((OTHER6, 1), (OUT6, 2)));
    cut.truncate(ETHERNET + 44);
    let mut zero = frame6(P_TRUNK, udp6((OTHER6, 1), (OUT6, 2)));
    zero[ETHERNET + 46..ETHERNET + 48].fill(0);
    let land = frame6(P_TRUNK, udp6((OTHER6, 7), (OTHER6, 7)));
    let short = ethernet_frame(mac(P_TRUNK), ethernet::IPV6, &[0x60; 20]);
    let before: u64 = rig.workers[0].parse_errors().iter().sum();
    rig.feed(P_TRUNK, &[version, cut, zero, land, short]);
    let errors: u64 = rig.workers[0].parse_errors().iter().sum();
    assert_eq!(errors - before, 5);
    assert_eq!(rig.parse_errors(ParseError::UdpZeroChecksum), 1);
    assert_eq!(rig.parse_errors(ParseError::Land), 1);
    assert!(rig.sent.is_empty() && rig.punted.is_empty());
    assert_eq!(rig.drops(), []);
    rig.finish();
}

/// A burst of everything: each packet goes its way, and those of one family in the order they came.
#[test]
fn families_may_be_mixed_in_a_burst() {
    let mut rig = Rig::with(Options {
        program: nat64(),
        ..Options::default()
    });
    let frames: Vec<_> = (0..16u16)
        .map(|i| match i % 4 {
            0 => frame6(P_IN, udp6((IN6, 100 + i), (in64(OUT1), 53))),
            1 => crate::frames::frame(P_IN, crate::frames::udp((IN1, 100 + i), (OUT1, 53))),
            2 => frame6(P_IN, udp6((IN6, 100 + i), (OUT6, 53))),
            _ => frame6(P_IN, PacketBuilder6::echo(IN6, in64(OUT1), i, 1).data(b"ping")),
        })
        .collect();
    rig.feed(P_IN, &frames);
    assert_eq!(rig.sent.len(), 16, "{:?}", rig.drops());
    let routed: Vec<_> = rig
        .sent
        .iter()
        .filter(|s| crate::frames::ethertype(&s.frame) == ethernet::IPV6)
        .map(|s| ends6(&s.frame).0.1)
        .collect();
    assert_eq!(routed, [102, 106, 110, 114]);
    rig.finish();
}
