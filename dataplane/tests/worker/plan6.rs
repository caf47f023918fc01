//! The IPv6 side of the tests' network, and programs that have something to do with it.

use std::sync::Arc;

use tandem_dataplane::interfaces::Interfaces;
use tandem_dataplane::routes::{Action, RouteWriter, Way};
use tandem_engine::program::policy::{Application, PolicyMatch};
use tandem_engine::program::{
    FilteringType, Firewall, MappingType, NatAction, NatTerm, Policy, PolicyAction, PolicyList, Pref64,
    Program, TermMatch,
};
use tandem_wire::prefix::Ipv6Prefix;
use tandem_wire::rfc6052::Prefix64;

use crate::plan::*;

/// An IPv6 address from its eight groups.
pub const fn ip6(groups: [u16; 8]) -> u128 {
    let (mut all, mut at) = (0, 0);
    while at < 8 {
        all = all << 16 | groups[at] as u128;
        at += 1;
    }
    all
}

/// The first address of a subscriber inside, who has a /64.
pub const fn subscriber6(number: u16) -> u128 {
    ip6([0x2001, 0xdb8, 1, number, 0, 0, 0, 1])
}

/// Hosts inside.
pub const IN6: u128 = subscriber6(1);
pub const IN6B: u128 = subscriber6(2);
/// A host inside that nobody resolved.
pub const IN6_SILENT: u128 = subscriber6(900);
/// A host outside, behind the default route.
pub const OUT6: u128 = ip6([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1]);
/// A host outside, on VLAN 200.
pub const OUT6_VLAN: u128 = ip6([0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 1]);
/// The router of the default route.
pub const ROUTER6: u128 = ip6([0xfe80, 0, 0, 0, 0, 0, 0, 0x254]);
/// Hosts of no service set: untagged, and on VLAN 300.
pub const OTHER6: u128 = ip6([0x2001, 0xdb8, 3, 0, 0, 0, 0, 1]);
pub const OTHER6_VLAN: u128 = ip6([0x2001, 0xdb8, 4, 0, 0, 0, 0, 1]);
/// Our addresses.
pub const OWN6_IN: u128 = ip6([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe]);
pub const OWN6_OUT: u128 = ip6([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xfe]);
pub const OWN6_OTHER: u128 = ip6([0x2001, 0xdb8, 3, 0, 0, 0, 0, 0xfe]);
/// A destination that goes nowhere.
pub const PROHIBITED6: u128 = ip6([0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1]);

/// The NAT64 prefix.
pub fn prefix64() -> Prefix64 {
    let prefix = Ipv6Prefix::new(ip6([0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0]), 96).expect("a prefix");
    Prefix64::new(prefix).expect("96 bits are a length of RFC 6052")
}

/// An IPv4 address as the inside sees it.
pub fn in64(address: u32) -> u128 {
    prefix64().embed(address)
}

/// The MAC address of a host or router.
pub const fn mac6(address: u128) -> [u8; 6] {
    [
        2,
        6,
        (address >> 72) as u8,
        (address >> 64) as u8,
        (address >> 8) as u8,
        address as u8,
    ]
}

/// Gives interfaces their IPv6 addresses.
pub fn set_addresses(interfaces: &Interfaces) {
    for (id, address) in [(I_IN, OWN6_IN), (I_OUT, OWN6_OUT), (I_OTHER, OWN6_OTHER)] {
        interfaces.get(id).expect("an interface").set_ipv6(address);
    }
}

/// Fills the IPv6 table.
pub fn fill(routes: &mut RouteWriter) {
    let way = |interface, gateway: Option<u128>| {
        Action::Ways(vec![Way {
            interface,
            gateway: gateway.map(|g| std::net::Ipv6Addr::from_bits(g).into()),
            weight: 1,
        }])
    };
    for (network, length, action) in [
        (0, 0, way(I_OUT, Some(ROUTER6))),
        (subscriber6(0) & !0xffff, 48, way(I_IN, None)),
        (OUT6_VLAN & !0xffff, 64, way(I_OUT_VLAN, None)),
        (OTHER6 & !0xffff, 64, way(I_OTHER, None)),
        (OTHER6_VLAN & !0xffff, 64, way(I_OTHER_VLAN, None)),
        (OWN6_IN, 128, Action::Kernel),
        (OWN6_OUT, 128, Action::Kernel),
        (OWN6_OTHER, 128, Action::Kernel),
        (PROHIBITED6 & !0xffff, 64, Action::Prohibited),
    ] {
        routes.set6(network, length, Arc::new(action)).expect("a route");
    }
    let mut neighbour = |interface, address: u128| {
        routes.neighbour6(interface, address.into(), Some(mac6(address)), false);
    };
    for (interface, address) in [
        (I_OUT, ROUTER6),
        (I_OUT_VLAN, OUT6_VLAN),
        (I_OTHER, OTHER6),
        (I_OTHER_VLAN, OTHER6_VLAN),
    ] {
        neighbour(interface, address);
    }
    for number in 1..64 {
        neighbour(I_IN, subscriber6(number));
    }
    routes.publish();
}

/// The plain program with NAT64 beside NAPT44, from the same pool.
pub fn nat64() -> Program {
    let mut program = program();
    program.prefixes = vec![Pref64 {
        id: 1,
        prefix: prefix64(),
    }];
    let set = &mut program.service_sets[0];
    set.ipv6.nat64_prefixes = vec![1];
    set.terms.push(NatTerm {
        name: "six/t".into(),
        number: 1,
        matches: TermMatch::default(),
        action: NatAction::Nat64 {
            pool: 1,
            mapping: MappingType::EndpointIndependent,
            filtering: FilteringType::EndpointIndependent,
        },
        destination: None,
    });
    program
}

/// A policy about one destination port of TCP and UDP, which is logged.
pub fn policy(id: u16, action: PolicyAction, port: u16) -> Policy {
    let application = |protocol| Application {
        protocol: Some(protocol),
        source_ports: (0, u16::MAX),
        destination_ports: (port, port),
    };
    Policy {
        id,
        name: format!("p{id}"),
        action,
        log: true,
        matches: vec![PolicyMatch {
            applications: vec![application(6), application(17)],
            ..PolicyMatch::default()
        }],
    }
}

/// Ports with a meaning in [`firewall`].
pub const DENIED: u16 = 666;
pub const REJECTED: u16 = 667;
pub const LET_IN: u16 = 443;

/// NAT64 and NAPT44 behind a firewall: everything may leave but to two ports, only one port may be reached from outside, and
/// one is refused with a word.
pub fn firewall() -> Program {
    let mut program = nat64();
    program.service_sets[0].firewall = Some(Firewall {
        outbound: PolicyList::plain(
            vec![
                policy(1, PolicyAction::Deny, DENIED),
                policy(2, PolicyAction::Reject, REJECTED),
            ],
            PolicyAction::Permit,
        ),
        inbound: PolicyList::plain(
            vec![
                policy(3, PolicyAction::Permit, LET_IN),
                policy(4, PolicyAction::Reject, REJECTED),
            ],
            PolicyAction::Deny,
        ),
    });
    program
}
