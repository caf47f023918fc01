//! Neighbours that are not known yet: packets wait, the kernel is asked, and either they go or their senders are told.

use tandem_engine::address;
use tandem_engine::drop_reason::DropReason;

use crate::frames::{ends, error, frame, open, udp};
use crate::plan::*;
use crate::rig::Rig;

#[test]
fn packets_wait_for_a_router_and_go_in_order() {
    let mut rig = Rig::new();
    let frames: Vec<_> = (0..5u16)
        .map(|i| frame(P_IN, udp((IN1, 1000 + i), (BEHIND_SILENT, 53))))
        .collect();
    rig.feed(P_IN, &frames);
    assert!(rig.sent.is_empty());
    assert_eq!(
        rig.asked,
        [(I_OUT, address::of_v4(ROUTER_SILENT))],
        "asked once for all of them"
    );
    assert_eq!(rig.workers[0].in_hand(), 5);
    rig.check_books();
    rig.asked.clear();
    rig.wait(11);
    assert!(!rig.asked.is_empty(), "asked again");
    rig.routes
        .neighbour(I_OUT, ROUTER_SILENT.into(), Some(host_mac(ROUTER_SILENT)), false);
    rig.routes.publish();
    rig.settle();
    assert_eq!(rig.sent.len(), 5);
    for (sent, i) in rig.sent.iter().zip(0u16..) {
        assert_eq!((sent.port, open(&sent.frame).0), (P_OUT, host_mac(ROUTER_SILENT)));
        assert_eq!(ends(&sent.frame).1, (BEHIND_SILENT, 53), "packet {i}");
    }
    assert_eq!(rig.count(|c| c.neighbour_waited), 5);
    assert_eq!(rig.drops(), []);
    rig.finish();
}

#[test]
fn packets_for_a_silent_host_on_the_link_wait_too() {
    let mut rig = Rig::new();
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (IN_SILENT, 2)))]);
    assert_eq!(rig.asked, [(I_IN, address::of_v4(IN_SILENT))]);
    // Found, lost again, and found with another address.
    for (mac, sent) in [(Some(host_mac(1)), 1), (None, 1), (Some(host_mac(2)), 2)] {
        rig.routes.neighbour(I_IN, IN_SILENT.into(), mac, false);
        rig.routes.publish();
        rig.settle();
        if mac.is_none() {
            rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (IN_SILENT, 2)))]);
        }
        assert_eq!(rig.sent.len(), sent);
    }
    assert_eq!(open(&rig.sent[1].frame).0, host_mac(2));
    rig.finish();
}

/// RFC 1812 section 5.2.7.1: host unreachable. Of a translated packet the error goes back through the translation.
#[test]
fn after_some_patience_the_sender_is_told() {
    let mut rig = Rig::new();
    rig.feed(P_IN, &[frame(P_IN, udp((IN1, 5000), (BEHIND_SILENT, 53)))]);
    rig.feed(
        P_TRUNK,
        &[frame(P_TRUNK, udp((OTHER, 5000), (BEHIND_SILENT, 53)))],
    );
    rig.wait(29);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.workers[0].in_hand(), 2);
    rig.wait(3);
    assert_eq!(rig.workers[0].in_hand(), 0);
    assert_eq!(rig.drops(), [("neighbour-unresolved", 2)]);
    let mut told: Vec<_> = rig.sent.iter().map(|s| (s.port, error(&s.frame))).collect();
    told.sort_by_key(|(port, _)| *port);
    assert_eq!(told.len(), 2);
    for ((port, error), (on, to)) in told.iter().zip([(P_IN, IN1), (P_TRUNK, OTHER)]) {
        assert_eq!((*port, error.to, error.kind), (on, to, (3, 1)));
        assert_eq!(error.about, ((to, 5000), (BEHIND_SILENT, 53)));
    }
    rig.finish();
}

/// An error to the outside about a packet on its way in would show where it was going.
#[test]
fn a_sender_outside_is_not_told_about_silent_subscribers() {
    let mut rig = Rig::new();
    rig.routes
        .neighbour(I_IN, IN_SILENT.into(), Some(host_mac(1)), false);
    rig.routes.publish();
    let out = rig.pass_one(P_IN, &frame(P_IN, udp((IN_SILENT, 5000), (OUT1, 1))), P_OUT);
    let public = ends(&out).0;
    rig.routes.neighbour(I_IN, IN_SILENT.into(), None, true);
    rig.routes.publish();
    assert!(rig.pass(P_OUT, &frame(P_OUT, udp((OUT1, 1), public))).is_empty());
    assert_eq!(rig.asked, [(I_IN, address::of_v4(IN_SILENT))]);
    rig.wait(40);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.drops(), [("neighbour-unresolved", 1)]);
    rig.finish();
}

#[test]
fn few_packets_wait_for_one_neighbour_and_few_for_all() {
    let mut rig = Rig::new();
    for i in 0..70u16 {
        rig.feed(
            P_TRUNK,
            &[frame(P_TRUNK, udp((OTHER, i + 1), (BEHIND_SILENT, 53)))],
        );
    }
    assert_eq!(rig.workers[0].in_hand(), 64);
    assert_eq!(rig.dropped(DropReason::NeighbourQueueFull), 6);
    for i in 0..400u32 {
        let to = ip(10, 9, 0, 0) + i;
        rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (to, 53)))]);
    }
    assert_eq!(rig.workers[0].in_hand(), 64 + 256);
    assert_eq!(rig.dropped(DropReason::NeighbourQueueFull), 6 + 144);
    rig.wait(40);
    assert_eq!(rig.workers[0].in_hand(), 0);
    assert_eq!(rig.dropped(DropReason::NeighbourUnresolved), 64 + 256);
    rig.finish();
}

/// RFC 6583: whoever sends to addresses nobody has takes no router's place, nor another link's.
#[test]
fn a_scan_of_a_link_leaves_others_their_neighbours() {
    let mut rig = Rig::new();
    let scan = |rig: &mut Rig, from: u32, count: u32| {
        for i in from..from + count {
            let to = ip(10, 9, 0, 0) + i;
            rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (to, 53)))]);
        }
    };
    scan(&mut rig, 0, 1000);
    assert_eq!(rig.asked.len(), 100, "a second's share of one link");
    assert_eq!(rig.count(|c| c.neighbour_limited), 900);
    // A router, and a host of another link, are asked for at once and get their packets.
    rig.asked.clear();
    let other_link = ip(172, 16, 9, 9);
    rig.feed(P_IN, &[frame(P_IN, udp((IN1, 1000), (BEHIND_SILENT, 53)))]);
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (other_link, 53)))]);
    assert_eq!(
        rig.asked,
        [
            (I_OUT, address::of_v4(ROUTER_SILENT)),
            (I_OTHER, address::of_v4(other_link))
        ]
    );
    scan(&mut rig, 1000, 1000);
    for (interface, address) in [(I_OUT, ROUTER_SILENT), (I_OTHER, other_link)] {
        rig.routes
            .neighbour(interface, address.into(), Some(host_mac(address)), false);
    }
    rig.routes.publish();
    rig.settle();
    assert_eq!(rig.count(|c| c.neighbour_waited), 2);
    // In the next second a host of the scanned link is asked for, too, and its packet is the last to give way.
    rig.wait(10);
    rig.asked.clear();
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (IN_SILENT, 2)))]);
    assert_eq!(rig.asked, [(I_IN, address::of_v4(IN_SILENT))]);
    scan(&mut rig, 2000, 255);
    rig.routes
        .neighbour(I_IN, IN_SILENT.into(), Some(host_mac(1)), false);
    rig.routes.publish();
    rig.settle();
    assert_eq!(rig.count(|c| c.neighbour_waited), 3);
    rig.wait(40);
    rig.finish();
}

/// However fast packets replace each other, the neighbour is asked for again, and given up in time.
#[test]
fn a_full_queue_keeps_its_newest_and_its_time() {
    let mut rig = Rig::new();
    let mut sent = 0u16;
    for _ in 0..29 {
        for _ in 0..70 {
            sent += 1;
            rig.feed(
                P_TRUNK,
                &[frame(P_TRUNK, udp((OTHER, sent), (BEHIND_SILENT, 53)))],
            );
        }
        rig.wait(1);
    }
    assert_eq!(rig.workers[0].in_hand(), 64);
    assert_eq!(rig.asked.len(), 3, "at once, and after one second and two");
    rig.wait(2);
    assert!(rig.dropped(DropReason::NeighbourUnresolved) >= 1);
    let told: Vec<_> = rig.sent.iter().map(|s| error(&s.frame)).collect();
    assert!(
        told.iter().all(|e| e.kind == (3, 1) && e.about.0.1 > sent - 64),
        "the newest"
    );
    assert!(!told.is_empty());
    rig.wait(40);
    rig.finish();
}
