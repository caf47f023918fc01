//! The service sets of a program, one for each kind of customer, and the static mappings.

use tandem_engine::address::of_v4;
use tandem_engine::program::policy::{Application, PolicyMatch};
use tandem_engine::program::*;
use tandem_wire::npt::Nptv6;
use tandem_wire::siit::{Eam, Siit};
use tandem_wire::{Ipv4Prefix, Ipv6Prefix};

use super::net::{NPT_OUTSIDE, PUBLIC, WIDE, host4, host6};
use super::plans::{Draw, prefix};

fn npt(set: usize) -> Nptv6 {
    let inside = Ipv6Prefix::containing(host6(set, 0), 48);
    let outside = Ipv6Prefix::containing(NPT_OUTSIDE[set - 2], 48);
    Nptv6::new(inside, outside).expect("both have 48 bits")
}

fn term(number: u16, action: NatAction, matches: TermMatch) -> NatTerm {
    NatTerm {
        name: format!("r/{number}"),
        number,
        matches,
        action,
        destination: None,
    }
}

fn protocols(protocols: &[u8]) -> TermMatch {
    TermMatch {
        protocols: protocols.to_vec(),
        ..TermMatch::default()
    }
}

fn napt(draw: &mut Draw, pool: PoolId, mapping: MappingType) -> NatAction {
    NatAction::Napt44 {
        pool,
        mapping,
        filtering: draw.filtering(),
    }
}

fn nat64(draw: &mut Draw, pool: PoolId, mapping: MappingType) -> NatAction {
    NatAction::Nat64 {
        pool,
        mapping,
        filtering: draw.filtering(),
    }
}

fn mapping_type(draw: &mut Draw) -> MappingType {
    draw.pick(&[
        MappingType::EndpointIndependent,
        MappingType::EndpointIndependent,
        MappingType::AddressAndPortDependent,
    ])
}

fn policies(draw: &mut Draw, first_id: PolicyId) -> PolicyList {
    let application = |protocol: u8, first: u16, last: u16| Application {
        protocol: Some(protocol),
        source_ports: (0, u16::MAX),
        destination_ports: (first, last),
    };
    let rules = [
        (PolicyAction::Deny, application(6, 23, 53)),
        (PolicyAction::Reject, application(17, 81, 81)),
        (PolicyAction::Reject, application(6, 81, 81)),
        (PolicyAction::Permit, Application::ANY),
    ];
    let list = rules
        .into_iter()
        .enumerate()
        .map(|(n, (action, application))| Policy {
            id: first_id + n as u16,
            name: format!("o{n}"),
            action,
            log: draw.one_in(2),
            matches: vec![PolicyMatch {
                applications: vec![application],
                sources: if n == 3 && draw.one_in(3) {
                    vec![(0, of_v4(host4(3, 5)))]
                } else {
                    Vec::new()
                },
                ..PolicyMatch::default()
            }],
        });
    PolicyList::plain(
        list.collect(),
        draw.pick(&[PolicyAction::Deny, PolicyAction::Reject, PolicyAction::Permit]),
    )
}

fn set(draw: &mut Draw, id: ServiceSetId) -> ServiceSet {
    const SHORT: [u32; 4] = [3, 10, 60, 240];
    let limit = |draw: &mut Draw| draw.pick(&[0, 0, 0, 0, 2, 5, 9]);
    ServiceSet {
        id,
        name: format!("s{id}"),
        terms: Vec::new(),
        timeouts: Timeouts {
            tcp_established: draw.seconds(&[60, 7440]),
            tcp_opening: draw.seconds(&SHORT),
            tcp_closing: draw.seconds(&SHORT),
            udp: draw.seconds(&SHORT),
            udp_well_known: draw.seconds(&SHORT),
            icmp: draw.seconds(&SHORT),
            other: draw.seconds(&SHORT),
        },
        limits: SubscriberLimits {
            max_sessions: limit(draw),
            max_session_rate: limit(draw),
            max_ports: limit(draw),
            max_tcp_ports: limit(draw),
            max_udp_ports: limit(draw),
            max_icmp_ids: limit(draw),
        },
        tcp: TcpOptions {
            accept_non_syn: draw.one_in(3),
            track_window: draw.one_in(3),
            mss_clamp: draw.pick(&[0, 536, 1300]),
        },
        refresh: draw.pick(&[RefreshDirection::Outbound, RefreshDirection::Both]),
        on_refusal: draw.pick(&[
            RefusalAnswer::Silent,
            RefusalAnswer::HostUnreachable,
            RefusalAnswer::AdminProhibited,
        ]),
        on_unsolicited: draw.pick(&[
            UnsolicitedAnswer::Silent,
            UnsolicitedAnswer::Silent,
            UnsolicitedAnswer::HoldThenPortUnreachable,
        ]),
        ipv6: Ipv6Options {
            nat64_prefixes: Vec::new(),
            subscriber_prefix: draw.pick(&[56, 64, 128]),
            compute_udp_checksum: draw.one_in(2),
            copy_traffic_class: draw.one_in(2),
            lowest_mtu: draw.pick(&[1280, 1500]),
            well_known_for_private: true,
        },
        firewall: None,
        stateless: Vec::new(),
        replication: Default::default(),
    }
}

/// The subscriber edge: NAPT44 and NAT64, behind policies or not.
pub fn edge(draw: &mut Draw) -> ServiceSet {
    let mut set = set(draw, 1);
    let (general, web) = (mapping_type(draw), mapping_type(draw));
    set.terms = vec![
        term(
            0,
            napt(draw, 3, MappingType::AddressAndPortDependent),
            protocols(&[17]),
        ),
        term(1, napt(draw, 6, web), protocols(&[6])),
        term(2, napt(draw, 1, general), TermMatch::default()),
        term(3, nat64(draw, 2, general), TermMatch::default()),
    ];
    if draw.one_in(3) {
        set.terms.remove(0);
    }
    if draw.one_in(4) {
        let to_kernel = NatAction::NoTranslation;
        set.terms.insert(0, term(9, to_kernel, protocols(&[47])));
    }
    set.ipv6.nat64_prefixes = vec![0, draw.pick(&[1, 2, 6])];
    if draw.one_in(2) {
        set.firewall = Some(Firewall {
            outbound: policies(draw, 0),
            inbound: policies(draw, 10),
        });
    }
    set
}

/// What a public address stands for without a session having begun.
pub fn statics(draw: &mut Draw) -> Vec<StaticMapping> {
    let base = |number: u16, service_set, inside, public: (u32, u32)| StaticMapping {
        name: format!("m{number}"),
        service_set,
        number,
        inside,
        public: AddressRange {
            first: PUBLIC + public.0,
            last: PUBLIC + public.1,
        },
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    };
    let twice = DestinationMap {
        from: AddressRange {
            first: 0x0b00_0000,
            last: 0x0b00_0003,
        },
        to_first: 0xc633_6401,
    };
    let mut all = vec![
        // An address for a host, and one with twice NAT.
        base(20, 2, of_v4(host4(1, 7)), (96, 97)),
        StaticMapping {
            destination: Some(twice),
            ..base(21, 2, of_v4(host4(1, 9)), (98, 98))
        },
        // A port forward, on an address of a pool of ports, too.
        StaticMapping {
            protocol: 6,
            inside_port: 80,
            public_port: 1030,
            ports: 2,
            ..base(22, 2, of_v4(host4(1, 10)), (1, 1))
        },
        // Destination NAT: two addresses to one host.
        StaticMapping {
            to_one: true,
            inbound_only: true,
            ..base(23, 2, of_v4(host4(1, 11)), (99, 100))
        },
        // A static NAT64 binding, and ports of one.
        base(24, 4, host6(3, 9), (101, 101)),
        StaticMapping {
            protocol: 17,
            inside_port: 53,
            public_port: 53,
            ports: 1,
            ..base(25, 4, host6(3, 10), (102, 102))
        },
    ];
    if draw.one_in(3) {
        all.swap_remove(draw.below(6) as usize);
    }
    all
}

/// Business customers: addresses of their own, formulas, static mappings, destinations that are translated.
pub fn business(draw: &mut Draw) -> ServiceSet {
    let mut set = set(draw, 2);
    let sources = |first: u8, last: u8| TermMatch {
        sources: vec![AddressRange {
            first: host4(1, first),
            last: host4(1, last),
        }],
        ..TermMatch::default()
    };
    let whole = NatAction::Dynamic44 {
        pool: 4,
        filtering: draw.filtering(),
    };
    let map = |from: u32, to_first| {
        Some(DestinationMap {
            from: AddressRange {
                first: from,
                last: from + 3,
            },
            to_first,
        })
    };
    let udp = mapping_type_of(draw.below(2));
    set.terms = vec![
        NatTerm {
            destination: map(0x0b00_0008, 0xc633_6401),
            ..term(10, whole, sources(0, 2))
        },
        term(11, napt(draw, 5, MappingType::EndpointIndependent), sources(3, 6)),
        NatTerm {
            destination: map(0x0b00_0010, 0xc633_6402),
            ..term(
                12,
                NatAction::DestinationOnly,
                TermMatch {
                    destinations: vec![AddressRange {
                        first: 0x0b00_0010,
                        last: 0x0b00_0013,
                    }],
                    ..TermMatch::default()
                },
            )
        },
        term(13, napt(draw, 8, udp), protocols(&[17, 1])),
    ];
    if draw.one_in(4) {
        set.firewall = Some(Firewall {
            outbound: policies(draw, 20),
            inbound: policies(draw, 30),
        });
    }
    set
}

fn mapping_type_of(n: u64) -> MappingType {
    if n == 0 {
        MappingType::EndpointIndependent
    } else {
        MappingType::AddressAndPortDependent
    }
}

/// No sessions: explicit mappings and a prefix, or prefix translation.
pub fn stateless(draw: &mut Draw) -> ServiceSet {
    let mut set = set(draw, 3);
    if draw.one_in(3) {
        set.stateless = vec![Stateless::Nptv6(npt(2))];
        return set;
    }
    let eams = vec![
        Eam {
            v4: Ipv4Prefix::containing(0xc633_6500, 28),
            v6: Ipv6Prefix::containing(host6(2, 0), 124),
        },
        Eam {
            v4: Ipv4Prefix::containing(host4(2, 0), 28),
            v6: Ipv6Prefix::containing(WIDE | 0xff << 80, 124),
        },
    ];
    let with = draw.one_in(2).then(|| prefix(draw.pick(&[4, 5, 6])));
    set.stateless = vec![Stateless::Siit(Siit::new(eams, with).expect("they differ"))];
    set
}

/// IPv6 customers: NAT64 in several prefixes and by a formula, or prefix translation with policies.
pub fn wide(draw: &mut Draw) -> ServiceSet {
    let mut set = set(draw, 4);
    let firewall = Firewall {
        outbound: policies(draw, 40),
        inbound: policies(draw, 50),
    };
    if draw.one_in(3) {
        set.stateless = vec![Stateless::Nptv6(npt(3))];
        set.firewall = Some(firewall);
        return set;
    }
    set.ipv6.subscriber_prefix = 64;
    let by_formula = TermMatch {
        sources6: vec![AddressRange6 {
            first: host6(3, 0),
            last: host6(3, 3),
        }],
        ..TermMatch::default()
    };
    let mapping = mapping_type(draw);
    set.terms = vec![
        term(30, nat64(draw, 9, MappingType::EndpointIndependent), by_formula),
        term(31, nat64(draw, 6, mapping), protocols(&[17])),
        term(
            32,
            nat64(draw, 3, MappingType::AddressAndPortDependent),
            protocols(&[6]),
        ),
        term(33, nat64(draw, 2, mapping), TermMatch::default()),
    ];
    set.ipv6.nat64_prefixes = vec![3, 4, 5];
    if draw.one_in(4) {
        set.ipv6.nat64_prefixes = vec![4, draw.pick(&[2, 6])];
    }
    if draw.one_in(2) {
        set.firewall = Some(firewall);
    }
    set
}
