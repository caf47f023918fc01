//! Routing: packets of no service set, equal ways, dead ends, and interfaces that are down.

use std::collections::HashMap;
use std::sync::Arc;

use tandem_dataplane::routes::Action;
use tandem_engine::drop_reason::DropReason;
use tandem_wire::build::PacketBuilder;
use tandem_wire::tcp;

use crate::frames::{ends, error, frame, open, packet, tagged, udp};
use crate::plan::*;
use crate::rig::Rig;

#[test]
fn packets_of_no_service_set_are_routed_untouched() {
    let mut rig = Rig::new();
    let was = frame(P_TRUNK, udp((OTHER, 1), (OUT1, 2)));
    let sent = rig.pass_one(P_TRUNK, &was, P_OUT);
    assert_eq!(open(&sent).0, host_mac(ROUTER));
    assert_eq!(ends(&sent), ((OTHER, 1), (OUT1, 2)));
    let (now, was) = (packet(&sent), packet(&was));
    assert_eq!((now[8], was[8]), (63, 64));
    assert_eq!(now[12..], was[12..]);
    // Into a VLAN and out of one; any protocol.
    let sent = rig.pass_one(
        P_TRUNK,
        &frame(P_TRUNK, udp((OTHER, 1), (OTHER_VLAN, 2))),
        P_TRUNK,
    );
    assert_eq!((open(&sent).0, open(&sent).1), (host_mac(OTHER_VLAN), Some(300)));
    let ack = PacketBuilder::tcp(OTHER_VLAN, 1, OTHER, 2, tcp::ACK).data(b"");
    let sent = rig.pass_one(P_TRUNK, &tagged(P_TRUNK, &[300], ack), P_TRUNK);
    assert_eq!((open(&sent).0, open(&sent).1), (host_mac(OTHER), None));
    // From outside to what is no pool address.
    let sent = rig.pass_one(P_OUT, &frame(P_OUT, udp((OUT1, 1), (OTHER, 2))), P_TRUNK);
    assert_eq!(ends(&sent), ((OUT1, 1), (OTHER, 2)));
    assert_eq!(rig.count(|c| c.routed), 4);
    rig.finish();
}

#[test]
fn dead_ends_are_told_as_the_route_says() {
    let mut rig = Rig::new();
    rig.routes.remove(0, 0);
    rig.routes.publish();
    for (port, src) in [(P_TRUNK, OTHER), (P_IN, IN1)] {
        for (to, reason, code) in [
            (BLACKHOLE, DropReason::RouteBlackhole, None),
            (UNREACHABLE, DropReason::RouteUnreachable, Some(1)),
            (PROHIBITED, DropReason::RouteProhibited, Some(13)),
            (NO_WAYS, DropReason::RouteUnreachable, Some(1)),
            (NO_ROUTE, DropReason::NoRoute, Some(0)),
        ] {
            let before = rig.dropped(reason);
            let lost = frame(port, udp((src, 5000), (to, 53)));
            let sent = rig.pass(port, &lost);
            assert_eq!(rig.dropped(reason), before + 1);
            assert_eq!(
                sent.len(),
                usize::from(code.is_some()),
                "to {to:08x}: {:?}",
                rig.drops()
            );
            if let (Some(code), Some(sent)) = (code, sent.first()) {
                let error = error(&sent.frame);
                assert_eq!((error.to, error.kind), (src, (3, code)));
                assert_eq!(error.about, ((src, 5000), (to, 53)));
            }
        }
    }
    rig.finish();
}

#[test]
fn equal_ways_share_flows_and_keep_them() {
    let mut rig = Rig::new();
    let mut way_of = HashMap::new();
    for round in 0..3 {
        for flow in 0..200u16 {
            let to = ECMP_NET + u32::from(flow % 100) + 1;
            for (port, src) in [(P_TRUNK, (OTHER, 1000 + flow)), (P_IN, (IN1, 1000 + flow))] {
                let sent = rig.pass_one(port, &frame(port, udp(src, (to, 53))), P_OUT);
                let way = open(&sent).0;
                assert!(way == host_mac(ROUTER) || way == host_mac(ROUTER2));
                let known = *way_of.entry((port, flow)).or_insert(way);
                assert_eq!(known, way, "round {round}: a flow keeps its way");
            }
        }
    }
    for port in [P_TRUNK, P_IN] {
        let ways = way_of
            .iter()
            .filter(|((p, _), w)| *p == port && **w == host_mac(ROUTER));
        let share = ways.count();
        assert!((60..=140).contains(&share), "{share} of 200 by the first way");
    }
    rig.finish();
}

#[test]
fn nothing_leaves_by_an_interface_that_is_down() {
    let mut rig = Rig::new();
    let translated = frame(P_IN, udp((IN1, 1), (OUT1, 2)));
    let routed = frame(P_TRUNK, udp((OTHER, 1), (OUT1, 2)));
    rig.pass_one(P_IN, &translated, P_OUT);
    rig.interfaces.get(I_OUT).unwrap().set_up(false);
    assert!(rig.pass(P_IN, &translated).is_empty());
    assert!(rig.pass(P_TRUNK, &routed).is_empty());
    assert_eq!(rig.drops(), [("port-down", 2)]);
    rig.interfaces.get(I_OUT).unwrap().set_up(true);
    rig.pass_one(P_IN, &translated, P_OUT);
    rig.pass_one(P_TRUNK, &routed, P_OUT);
    rig.finish();
}

/// A route's next hop changes: sessions go on by the old one until the change is published, and by the new one then.
#[test]
fn a_changed_route_is_made_before_the_old_one_is_broken() {
    let mut rig = Rig::new();
    let net = ip(198, 51, 105, 0);
    let via = |gateway| Arc::new(Action::Ways(vec![way(I_OUT, Some(gateway))]));
    let (old, new) = (ip(192, 0, 2, 10), ip(192, 0, 2, 11));
    for router in [old, new] {
        rig.routes
            .neighbour(I_OUT, router.into(), Some(host_mac(router)), false);
    }
    rig.routes.set(net, 24, via(old)).unwrap();
    rig.routes.publish();
    let packet = frame(P_IN, udp((IN1, 1), (net + 1, 2)));
    assert_eq!(open(&rig.pass_one(P_IN, &packet, P_OUT)).0, host_mac(old));
    // The neighbour's own entry goes, too: only the route's reference is left, and then none.
    rig.routes.set(net, 24, via(new)).unwrap();
    assert_eq!(open(&rig.pass_one(P_IN, &packet, P_OUT)).0, host_mac(old));
    rig.routes.publish();
    assert_eq!(open(&rig.pass_one(P_IN, &packet, P_OUT)).0, host_mac(new));
    // A way without a neighbour's entry has its number to itself.
    let lone = ip(192, 0, 2, 12);
    rig.routes.set(net, 24, via(lone)).unwrap();
    rig.routes.publish();
    rig.routes
        .neighbour(I_OUT, lone.into(), Some(host_mac(lone)), false);
    rig.routes.publish();
    assert_eq!(open(&rig.pass_one(P_IN, &packet, P_OUT)).0, host_mac(lone));
    rig.routes.set(net, 24, Arc::new(Action::Kernel)).unwrap();
    rig.routes.publish();
    assert!(rig.pass(P_IN, &packet).is_empty());
    assert_eq!(rig.punted.len(), 1, "the kernel's, now");
    // The way and its neighbour go before anything is published: the packet waits, it is not told that there is no route.
    let other = frame(P_IN, udp((IN2, 1), (net + 1, 2)));
    let last = ip(192, 0, 2, 13);
    rig.routes.set(net, 24, via(last)).unwrap();
    rig.routes
        .neighbour(I_OUT, last.into(), Some(host_mac(last)), false);
    rig.routes.publish();
    assert_eq!(open(&rig.pass_one(P_IN, &other, P_OUT)).0, host_mac(last));
    rig.routes.neighbour(I_OUT, last.into(), None, true);
    rig.routes.set(net, 24, via(new)).unwrap();
    assert!(rig.pass(P_IN, &other).is_empty());
    assert_eq!((rig.workers[0].in_hand(), rig.drops()), (1, vec![]));
    rig.routes.publish();
    assert_eq!(open(&rig.pass_one(P_IN, &other, P_OUT)).0, host_mac(new));
    rig.finish();
}

#[test]
fn a_packet_to_this_box_needs_no_ttl() {
    let mut rig = Rig::new();
    let to_us = frame(P_TRUNK, udp((OTHER, 1), (OWN_OTHER, 2)).ttl(1));
    rig.feed(P_TRUNK, &[&to_us]);
    assert_eq!(rig.punted.len(), 1);
    assert_eq!(rig.punted[0].frame, to_us);
    rig.finish();
}
