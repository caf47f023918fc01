//! What workers read of next hops.

use super::*;
use tandem_engine::address;

#[test]
fn special_numbers_say_what_they_are() {
    let table = NextHops::default();
    assert_eq!(
        table.kind(NEXT_HOP_NO_ROUTE),
        RouteKind::Drop(DropReason::NoRoute)
    );
    assert_eq!(table.kind(NEXT_HOP_KERNEL), RouteKind::Kernel);
    assert_eq!(
        table.exit(NEXT_HOP_PROHIBITED, 9),
        Exit::Drop(DropReason::RouteProhibited)
    );
    assert!(
        matches!(table.kind(77), RouteKind::Drop(_)),
        "an entry never written drops"
    );
}

#[test]
fn on_link_destinations_find_their_neighbour() {
    let table = NextHops::default();
    table.set_on_link(5, 3, 1500);
    table.set_via(6, 3, 1500, address::of_v4(0x0a00_0001));
    assert_eq!(table.settle(5, 0x0a00_0001, 1), 5);
    assert_eq!(
        table.exit(5, 0x0a00_0001),
        Exit::Unresolved {
            interface: 3,
            gateway: None
        }
    );
    assert!(table.enter_neighbour(3, address::of_v4(0x0a00_0001), 6));
    assert_eq!(table.settle(5, 0x0a00_0001, 1), 6);
    assert_eq!(
        table.exit(5, 0x0a00_0001),
        Exit::Unresolved {
            interface: 3,
            gateway: Some(address::of_v4(0x0a00_0001))
        }
    );
    table.set_mac(6, Some([2, 0, 0, 0, 0, 1]));
    assert_eq!(
        table.exit(5, 0x0a00_0001),
        Exit::Neighbour {
            interface: 3,
            mac: 0x0200_0000_0001
        }
    );
    assert!(table.take_used(6) && !table.take_used(6));
    table.remove_neighbour(3, address::of_v4(0x0a00_0001), 6);
    assert_eq!(table.settle(5, 0x0a00_0001, 1), 5);
}

#[test]
fn on_link_ipv6_destinations_find_theirs_and_no_other() {
    let (host, other) = (0x2001_0db8 << 96 | 1, 0x2001_0db8 << 96 | 2);
    let table = NextHops::default();
    table.set_on_link(5, 3, 1500);
    table.set_on_link(8, 4, 1500);
    table.set_via(6, 3, 1500, host);
    table.set_mac(6, Some([2, 0, 0, 0, 0, 6]));
    let unresolved = |interface, gateway| Exit::Unresolved { interface, gateway };
    assert_eq!(table.exit6(5, host), unresolved(3, None));
    assert_eq!(table.neighbour_exit6(3, host), unresolved(3, Some(host)));
    assert!(table.enter_neighbour(3, host, 6));
    let found = Exit::Neighbour {
        interface: 3,
        mac: 0x0200_0000_0006,
    };
    assert_eq!(table.settle6(5, host, 1), 6);
    assert_eq!((table.exit6(5, host), table.exit6(6, other)), (found, found));
    assert_eq!(table.neighbour_exit6(3, host), found);
    assert_eq!((table.settle6(5, other, 1), table.settle6(8, host, 1)), (5, 8));
    assert_eq!(table.exit6(8, host), unresolved(4, None), "another interface");
    table.remove_neighbour(3, host, 6);
    assert_eq!(table.settle6(5, host, 1), 5);
}

#[test]
fn ipv4_neighbours_are_found_by_neutral_addresses() {
    let table = NextHops::default();
    table.set_via(6, 3, 1500, address::of_v4(0x0a00_0001));
    assert!(table.enter_neighbour(3, address::of_v4(0x0a00_0001), 6));
    let unresolved = Exit::Unresolved {
        interface: 3,
        gateway: Some(address::of_v4(0x0a00_0001)),
    };
    assert_eq!(table.neighbour_exit(3, 0x0a00_0001), unresolved);
    assert_eq!(table.neighbour_exit6(3, address::of_v4(0x0a00_0001)), unresolved);
    assert!(!table.take_used(7) && table.take_used(6), "found by its entry");
}

#[test]
fn groups_spread_by_hash_and_stay_by_flow() {
    let table = NextHops::default();
    table.set_via(6, 1, 1500, 1);
    table.set_via(7, 2, 1500, 2);
    table.set_group(8, 0, &std::array::from_fn(|i| if i % 2 == 0 { 6 } else { 7 }));
    let picks: Vec<u16> = (0..1000).map(|h| table.settle(8, 0x0808_0808, h)).collect();
    let six = picks.iter().filter(|p| **p == 6).count();
    assert!((350..650).contains(&six), "{six} of 1000");
    assert_eq!(
        picks,
        (0..1000)
            .map(|h| table.settle(8, 0x0808_0808, h))
            .collect::<Vec<u16>>()
    );
}
