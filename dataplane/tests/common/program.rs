//! What all tests of the crate share: addresses, table sizes, and a program of one service set with one pool.

use std::sync::Arc;

use tandem_dataplane::routes::Way;
use tandem_engine::program::{
    AddressAllocation, AddressPooling, AddressRange, FilteringType, Interface, MappingType, NONE, NatAction,
    NatTerm, Pool, PortAllocation, PortRange, Program, RefreshDirection, RefusalAnswer, ServiceSet,
    SubscriberLimits, TableSizes, TcpOptions, TermMatch, Timeouts, UnsolicitedAnswer,
};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::ticks::Ticks;

/// An IPv4 address from its four octets.
pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// Inside of the service set, on its own port.
pub const I_IN: u16 = 1;
/// Outside of the service set, on its own port.
pub const I_OUT: u16 = 2;
/// No service set's, untagged on the trunk.
pub const I_OTHER: u16 = 3;
/// Inside of the service set, VLAN 100 of the trunk.
pub const I_IN_VLAN: u16 = 4;
/// Outside of the service set, VLAN 200 of the trunk, with an MTU of 1280.
pub const I_OUT_VLAN: u16 = 5;
/// No service set's, VLAN 300 of the trunk, with an MTU of 1280.
pub const I_OTHER_VLAN: u16 = 6;

/// Hosts inside.
pub const IN1: u32 = ip(10, 0, 0, 1);
pub const IN2: u32 = ip(10, 0, 0, 2);
/// A host outside, behind the default route.
pub const OUT1: u32 = ip(198, 51, 100, 1);
/// The router of the default route.
pub const ROUTER: u32 = ip(192, 0, 2, 254);
/// The pool.
pub const POOL: u32 = ip(203, 0, 113, 0);
pub const POOL_LAST: u32 = POOL + 15;

/// Our MAC address on a port.
pub const fn mac(port: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, port]
}

/// The MAC address of a host or router, by its last octet.
pub const fn host_mac(address: u32) -> [u8; 6] {
    [
        2,
        0,
        1,
        (address >> 24) as u8,
        (address >> 16) as u8,
        address as u8,
    ]
}

/// A way out.
pub fn way(interface: u16, gateway: Option<u32>) -> Way {
    Way {
        interface,
        gateway: gateway.map(|g| std::net::Ipv4Addr::from_bits(g).into()),
        weight: 1,
    }
}

/// Small tables, so that they are cheap to make.
pub const SIZES: TableSizes = TableSizes {
    max_sessions: 8192,
    max_mappings: 8192,
    max_subscribers: 1024,
    max_blocks: 64,
    max_reassemblies: 64,
    max_held_fragments: 64,
};

/// One service set, one pool of 16 addresses, endpoint-independent mapping and filtering.
pub fn program() -> Program {
    let seconds = Ticks::from_seconds;
    let pools = vec![Pool {
        id: 1,
        name: "pool".into(),
        addresses: vec![AddressRange {
            first: POOL,
            last: POOL_LAST,
        }],
        ports: PortRange {
            first: 1024,
            last: 65535,
        },
        address_allocation: AddressAllocation::RoundRobin,
        address_pooling: AddressPooling::Paired,
        port_allocation: PortAllocation::Random,
        preserve_range: false,
        preserve_parity: false,
        preserve_contiguity: false,
        port_blocks: None,
        quarantine: seconds(120),
        drain: false,
        interface_address: false,
        mode: Default::default(),
    }];
    let set = ServiceSet {
        id: 1,
        name: "cgn".into(),
        terms: vec![NatTerm {
            destination: None,
            name: "all/t".into(),
            number: 0,
            matches: TermMatch::default(),
            action: NatAction::Napt44 {
                pool: 1,
                mapping: MappingType::EndpointIndependent,
                filtering: FilteringType::EndpointIndependent,
            },
        }],
        timeouts: Timeouts {
            tcp_established: seconds(7440),
            tcp_opening: seconds(240),
            tcp_closing: seconds(240),
            udp: seconds(300),
            udp_well_known: seconds(300),
            icmp: seconds(60),
            other: seconds(300),
        },
        limits: SubscriberLimits::default(),
        tcp: TcpOptions {
            accept_non_syn: false,
            track_window: false,
            mss_clamp: 0,
        },
        refresh: RefreshDirection::Outbound,
        on_refusal: RefusalAnswer::HostUnreachable,
        ipv6: Default::default(),
        firewall: None,
        stateless: Vec::new(),
        replication: Default::default(),
        on_unsolicited: UnsolicitedAnswer::HoldThenPortUnreachable,
    };
    let interface = |id, inside_of, outside_of: &[u16]| Interface {
        id,
        name: format!("if{id}"),
        inside_of,
        outside_of: outside_of.to_vec(),
    };
    Program {
        generation: 1,
        statics: Default::default(),
        prefixes: Vec::new(),
        steering_prefix: 64,
        public_space: Arc::new(PublicSpace::build(&pools, None)),
        service_sets: vec![set],
        pools,
        interfaces: vec![
            interface(I_IN, 1, &[]),
            interface(I_OUT, NONE, &[1]),
            interface(I_OTHER, NONE, &[]),
            interface(I_IN_VLAN, 1, &[]),
            interface(I_OUT_VLAN, NONE, &[1]),
            interface(I_OTHER_VLAN, NONE, &[]),
        ],
        fragment_timeout: seconds(2),
        verify_ipv4_checksum: true,
        data_link: None,
    }
}
