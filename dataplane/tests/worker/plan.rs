//! The network of the worker's tests: ports, interfaces, addresses and routes.

use std::collections::HashMap;
use std::sync::Arc;

use tandem_dataplane::interfaces::{InterfaceState, Interfaces};
use tandem_dataplane::routes::{Action, RouteWriter, Way};

pub use crate::program::*;

/// Ports. The third carries VLANs.
pub const P_IN: u8 = 0;
pub const P_OUT: u8 = 1;
pub const P_TRUNK: u8 = 2;

/// Second members of the last two, in a rig with redundant interfaces.
pub const P_OUT_SECOND: u8 = 3;
pub const P_TRUNK_SECOND: u8 = 4;
pub const PORTS: u8 = 5;

/// A host inside that nobody resolved.
pub const IN_SILENT: u32 = ip(10, 0, 0, 9);
/// A host inside, on the VLAN.
pub const IN_VLAN: u32 = ip(100, 65, 0, 1);
/// A host outside, on VLAN 200.
pub const OUT_VLAN: u32 = ip(198, 51, 103, 1);
/// Hosts of no service set: untagged, and on VLAN 300.
pub const OTHER: u32 = ip(172, 16, 0, 1);
pub const OTHER_VLAN: u32 = ip(172, 17, 0, 1);
/// Behind two routers.
pub const ECMP_NET: u32 = ip(198, 51, 102, 0);
/// Our addresses.
pub const OWN_IN: u32 = ip(10, 255, 255, 254);
pub const OWN_OUT: u32 = ip(192, 0, 2, 1);
pub const OWN_OTHER: u32 = ip(172, 16, 255, 254);
/// Another router outside.
pub const ROUTER2: u32 = ip(192, 0, 2, 253);
/// A router outside that nobody resolved, and a host behind it.
pub const ROUTER_SILENT: u32 = ip(192, 0, 2, 252);
pub const BEHIND_SILENT: u32 = ip(198, 51, 104, 1);
/// Destinations that go nowhere.
pub const BLACKHOLE: u32 = ip(198, 18, 0, 1);
pub const UNREACHABLE: u32 = ip(198, 18, 1, 1);
pub const PROHIBITED: u32 = ip(198, 18, 2, 1);
pub const NO_WAYS: u32 = ip(198, 18, 3, 1);
/// A destination only the default route has.
pub const NO_ROUTE: u32 = ip(198, 19, 0, 1);
/// A fresh set of interfaces: all up. Those outside and on VLANs are redundant ones if asked for.
pub fn interfaces(redundant: bool) -> Interfaces {
    let new = |id, name: &str, port, vlan, mtu, address| {
        let state = InterfaceState::new(id, name.into(), port, vlan, mac(port), mtu);
        state.set_up(true);
        state.set_ipv4(address);
        match port {
            P_OUT if redundant => state.with_member(P_OUT_SECOND),
            P_TRUNK if redundant => state.with_member(P_TRUNK_SECOND),
            _ => state,
        }
    };
    Interfaces::new(vec![
        new(I_IN, "in", P_IN, None, 1500, OWN_IN),
        new(I_OUT, "out", P_OUT, None, 1500, OWN_OUT),
        new(I_OTHER, "other", P_TRUNK, None, 1500, OWN_OTHER),
        new(I_IN_VLAN, "in.100", P_TRUNK, Some(100), 1500, 0),
        new(I_OUT_VLAN, "out.200", P_TRUNK, Some(200), 1280, 0),
        new(I_OTHER_VLAN, "other.300", P_TRUNK, Some(300), 1280, 0),
    ])
}

/// MTUs by interface.
pub fn mtus(interfaces: &Interfaces) -> HashMap<u16, u16> {
    interfaces.all.iter().map(|i| (i.id, i.mtu)).collect()
}

/// Fills a FIB.
pub fn fill(routes: &mut RouteWriter) {
    let ways = |ways: &[Way]| Action::Ways(ways.to_vec());
    let router = Some(ROUTER);
    for (network, length, action) in [
        (0, 0, ways(&[way(I_OUT, router)])),
        (ip(10, 0, 0, 0), 8, ways(&[way(I_IN, None)])),
        (ip(100, 65, 0, 0), 16, ways(&[way(I_IN_VLAN, None)])),
        (ip(172, 16, 0, 0), 16, ways(&[way(I_OTHER, None)])),
        (ip(172, 17, 0, 0), 16, ways(&[way(I_OTHER_VLAN, None)])),
        (ip(198, 51, 103, 0), 24, ways(&[way(I_OUT_VLAN, None)])),
        (ip(198, 51, 104, 0), 24, ways(&[way(I_OUT, Some(ROUTER_SILENT))])),
        (
            ECMP_NET,
            24,
            ways(&[way(I_OUT, router), way(I_OUT, Some(ROUTER2))]),
        ),
        (OWN_IN, 32, Action::Kernel),
        (OWN_OUT, 32, Action::Kernel),
        (OWN_OTHER, 32, Action::Kernel),
        (BLACKHOLE & !255, 24, Action::Blackhole),
        (UNREACHABLE & !255, 24, Action::Unreachable),
        (PROHIBITED & !255, 24, Action::Prohibited),
        (NO_WAYS & !255, 24, ways(&[])),
    ] {
        routes.set(network, length, Arc::new(action)).expect("a route");
    }
    for (interface, address) in [
        (I_IN, IN1),
        (I_IN, IN2),
        (I_IN_VLAN, IN_VLAN),
        (I_OUT_VLAN, OUT_VLAN),
        (I_OTHER, OTHER),
        (I_OTHER_VLAN, OTHER_VLAN),
        (I_OUT, ROUTER),
        (I_OUT, ROUTER2),
    ] {
        routes.neighbour(interface, address.into(), Some(host_mac(address)), false);
    }
    // More subscribers, for tests that need some on every worker.
    for host in 16..80 {
        let address = ip(10, 0, 1, host);
        routes.neighbour(I_IN, address.into(), Some(host_mac(address)), false);
    }
    routes.publish();
}
