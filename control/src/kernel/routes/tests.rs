//! Named cases of the route model; the generated ones are in `model_tests`.

use super::*;
use crate::kernel::types::NextHop;

pub(super) const TAP0: u32 = 10;
pub(super) const TAP1: u32 = 11;
pub(super) const ETH: u32 = 12;

pub(super) fn link(up: bool, carrier: bool, interface: Option<u16>) -> LinkState {
    LinkState {
        up,
        carrier,
        interface,
    }
}

pub(super) fn table() -> RouteTable {
    let mut table = RouteTable::new();
    let mut out = Vec::new();
    table.link_set(TAP0, link(true, true, Some(0)), &mut out);
    table.link_set(TAP1, link(true, true, Some(1)), &mut out);
    table.link_set(ETH, link(true, true, None), &mut out);
    assert_eq!(out, vec![]);
    table
}

fn hop(ifindex: u32, gateway: u8) -> Hop {
    Hop {
        ifindex,
        gateway: Some([10, 0, 0, gateway].into()),
        weight: 1,
    }
}

fn hop6(ifindex: u32, gateway: u16) -> Hop {
    Hop {
        ifindex,
        gateway: Some([0xfe80, 0, 0, 0, 0, 0, 0, gateway].into()),
        weight: 1,
    }
}

fn net4(metric: u32, hops: &[Hop]) -> RouteRecord {
    let target = Target::Hops(hops.to_vec());
    RouteRecord {
        prefix: Prefix::V4(0x0b00_0000, 8),
        table: RouteTableId::Main,
        metric,
        target,
    }
}

fn net6(metric: u32, hops: &[Hop]) -> RouteRecord {
    RouteRecord {
        prefix: Prefix::V6(0x2001 << 112, 16),
        ..net4(metric, hops)
    }
}

fn via(list: &[(u16, &Hop)]) -> RouteAction {
    let next = |(interface, hop): &(u16, &Hop)| NextHop {
        interface: *interface,
        gateway: hop.gateway,
        weight: hop.weight,
    };
    RouteAction::NextHops(list.iter().map(next).collect())
}

fn only(table: &RouteTable) -> Option<RouteAction> {
    let mut all = table.effective();
    let first = all.next().map(|(_, action)| (*action).clone());
    assert!(all.next().is_none(), "one prefix at most");
    first
}

#[test]
fn the_lowest_metric_wins_and_the_next_takes_over() {
    let (mut table, mut out) = (table(), Vec::new());
    table.route_added(net4(20, &[hop(TAP1, 2)]), Change::Create, &mut out);
    table.route_added(net4(10, &[hop(TAP0, 1)]), Change::Create, &mut out);
    table.route_added(net4(30, &[hop(TAP0, 3)]), Change::Create, &mut out);
    assert_eq!(out.len(), 2, "the third is no news: {out:?}");
    assert_eq!(only(&table), Some(via(&[(0, &hop(TAP0, 1))])));
    assert_eq!(
        table.route_removed(&net4(10, &[hop(TAP0, 1)]), &mut out),
        Removal::Found
    );
    assert_eq!(only(&table), Some(via(&[(1, &hop(TAP1, 2))])));
    assert_eq!(
        table.route_removed(&net4(10, &[hop(TAP0, 1)]), &mut out),
        Removal::Unknown
    );
    table.route_removed(&net4(30, &[hop(TAP0, 3)]), &mut out);
    table.route_removed(&net4(20, &[hop(TAP1, 2)]), &mut out);
    assert_eq!(
        out.last(),
        Some(&FibUpdate::Route4Gone {
            prefix: (0x0b00_0000, 8)
        })
    );
    assert!(table.is_empty());
    assert_eq!(table.target_count(), 0, "targets are freed");
}

#[test]
fn the_local_table_comes_before_main_whatever_the_metric() {
    let (mut table, mut out) = (table(), Vec::new());
    table.route_added(net4(0, &[hop(TAP0, 1)]), Change::Create, &mut out);
    let target = Target::Special(Special::Local { ifindex: TAP1 });
    let local = RouteRecord {
        table: RouteTableId::Local,
        metric: 5,
        target,
        ..net4(0, &[])
    };
    table.route_added(local, Change::Create, &mut out);
    assert_eq!(only(&table), Some(RouteAction::Local));
    table.link_set(TAP1, link(false, false, Some(1)), &mut out);
    assert_eq!(
        only(&table),
        Some(RouteAction::Local),
        "an address survives its device being down"
    );
    table.link_removed(TAP1, &mut out);
    assert_eq!(
        only(&table),
        Some(via(&[(0, &hop(TAP0, 1))])),
        "but not its device"
    );
}

#[test]
fn routes_over_other_devices_are_punted_and_special_ones_answered() {
    let (mut table, mut out) = (table(), Vec::new());
    table.route_added(net4(0, &[hop(ETH, 1)]), Change::Create, &mut out);
    assert_eq!(only(&table), Some(RouteAction::Punt));
    for (special, action) in [
        (Special::Blackhole, RouteAction::Blackhole),
        (Special::Unreachable, RouteAction::Unreachable),
        (Special::Prohibited, RouteAction::Prohibited),
        (Special::Punt, RouteAction::Punt),
    ] {
        let route = RouteRecord {
            target: Target::Special(special),
            ..net4(0, &[])
        };
        table.route_added(route, Change::Replace, &mut out);
        assert_eq!(only(&table), Some(action));
    }
}

#[test]
fn a_mixed_multipath_route_uses_the_taps() {
    let (mut table, mut out) = (table(), Vec::new());
    table.route_added(net4(0, &[hop(ETH, 1), hop(TAP0, 2)]), Change::Create, &mut out);
    assert_eq!(only(&table), Some(via(&[(0, &hop(TAP0, 2))])));
    table.link_set(TAP0, link(false, false, Some(0)), &mut out);
    assert_eq!(only(&table), Some(RouteAction::Punt));
}

#[test]
fn ipv4_link_down_purges_single_routes_and_masks_one_hop_of_many() {
    let (mut table, mut out) = (table(), Vec::new());
    let both = [hop(TAP0, 1), hop(TAP1, 2)];
    table.route_added(net4(5, &[hop(TAP0, 9)]), Change::Create, &mut out);
    table.route_added(net4(10, &both), Change::Create, &mut out);
    table.link_set(TAP0, link(false, false, Some(0)), &mut out);
    assert_eq!(only(&table), Some(via(&[(1, &both[1])])));
    table.link_set(TAP0, link(true, true, Some(0)), &mut out);
    assert_eq!(
        only(&table),
        Some(via(&[(0, &both[0]), (1, &both[1])])),
        "the kernel revives the dead hop"
    );
    table.link_set(TAP0, link(false, false, Some(0)), &mut out);
    table.link_set(TAP1, link(false, false, Some(1)), &mut out);
    assert!(table.is_empty());
}

#[test]
fn a_hop_without_carrier_yields_to_its_siblings_only() {
    let (mut table, mut out) = (table(), Vec::new());
    let both = [hop(TAP0, 1), hop(TAP1, 2)];
    table.route_added(net4(0, &both), Change::Create, &mut out);
    table.link_set(TAP0, link(true, false, Some(0)), &mut out);
    assert_eq!(only(&table), Some(via(&[(1, &both[1])])));
    table.link_set(TAP1, link(true, false, Some(1)), &mut out);
    assert_eq!(
        only(&table),
        Some(via(&[(0, &both[0]), (1, &both[1])])),
        "as the kernel: kept, though dead"
    );
}

#[test]
fn ipv6_siblings_join_and_part() {
    let (mut table, mut out) = (table(), Vec::new());
    let (a, b) = (hop6(TAP0, 1), hop6(TAP1, 2));
    table.route_added(net6(1024, std::slice::from_ref(&a)), Change::Create, &mut out);
    table.route_added(net6(1024, std::slice::from_ref(&b)), Change::Append, &mut out);
    assert_eq!(only(&table), Some(via(&[(0, &a), (1, &b)])));
    table.route_removed(&net6(1024, std::slice::from_ref(&a)), &mut out);
    assert_eq!(only(&table), Some(via(&[(1, &b)])));
    table.route_added(net6(1024, &[a.clone(), b.clone()]), Change::Replace, &mut out);
    assert_eq!(only(&table), Some(via(&[(0, &a), (1, &b)])));
    table.route_removed(&net6(1024, &[a, b]), &mut out);
    assert!(table.is_empty());
}

#[test]
fn next_hop_objects_change_under_their_routes() {
    let (mut table, mut out) = (table(), Vec::new());
    table.nexthop_set(1, NextHopObject::Hop(hop(TAP0, 1)), &mut out);
    table.nexthop_set(2, NextHopObject::Hop(hop(TAP1, 2)), &mut out);
    table.nexthop_set(9, NextHopObject::Group(vec![(1, 3), (2, 1)]), &mut out);
    table.route_added(
        RouteRecord {
            target: Target::Object(9),
            ..net4(0, &[])
        },
        Change::Create,
        &mut out,
    );
    let weighted = Hop {
        weight: 3,
        ..hop(TAP0, 1)
    };
    assert_eq!(only(&table), Some(via(&[(0, &weighted), (1, &hop(TAP1, 2))])));
    table.nexthop_set(2, NextHopObject::Hop(hop(TAP1, 7)), &mut out);
    assert_eq!(only(&table), Some(via(&[(0, &weighted), (1, &hop(TAP1, 7))])));
    table.link_set(TAP0, link(true, false, Some(0)), &mut out);
    assert_eq!(
        only(&table),
        Some(via(&[(1, &hop(TAP1, 7))])),
        "object 1 went with the carrier"
    );
    table.nexthop_removed(2, &mut out);
    assert!(
        table.is_empty(),
        "the group and its routes went with its last member"
    );
    table.route_added(
        RouteRecord {
            target: Target::Object(9),
            ..net4(0, &[])
        },
        Change::Create,
        &mut out,
    );
    assert!(table.is_empty(), "a late word about a route of a dead object");
}

#[test]
fn a_dump_forgets_what_it_does_not_name_and_notifications_stand_against_it() {
    let (mut table, mut out) = (table(), Vec::new());
    let (old, new) = (net4(10, &[hop(TAP0, 1)]), net4(10, &[hop(TAP1, 2)]));
    let lost = RouteRecord {
        prefix: Prefix::V4(0x0c00_0000, 8),
        ..old.clone()
    };
    table.route_added(old.clone(), Change::Create, &mut out);
    table.route_added(lost, Change::Create, &mut out);
    table.resync_begin();
    table.route_added(new, Change::Replace, &mut out);
    table.route_dumped(old, &mut out);
    // The older dump of the route might have been another one of the same metric.
    assert!(table.resync_end(&mut out), "a doubt is left");
    assert_eq!(only(&table), Some(via(&[(1, &hop(TAP1, 2))])));
}

#[test]
fn a_replacement_of_the_unknown_asks_for_another_dump() {
    let (mut table, mut out) = (table(), Vec::new());
    table.resync_begin();
    table.route_added(net4(10, &[hop(TAP1, 2)]), Change::Replace, &mut out);
    table.route_dumped(net4(10, &[hop(TAP0, 1)]), &mut out);
    assert!(table.resync_end(&mut out));
    assert_eq!(only(&table), Some(via(&[(1, &hop(TAP1, 2))])));
}
