//! The programs of the bench: one service set, a pool with twice the ports the sessions need, policies.

use std::sync::Arc;

use tandem_engine::program::policy::{Application, ClassifierBuilder, PolicyMatch};
use tandem_engine::program::{
    AddressAllocation, AddressPooling, AddressRange, AddressRange6, FilteringType, Firewall, Interface,
    Ipv6Options, MappingType, NONE, NatAction, NatTerm, Policy, PolicyAction, PolicyList, Pool,
    PortAllocation, PortRange, Pref64, Program, RefreshDirection, RefusalAnswer, ServiceSet,
    SubscriberLimits, TcpOptions, TermMatch, Timeouts, UnsolicitedAnswer,
};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::replica::Replication;
use tandem_engine::ticks::Ticks;
use tandem_wire::rfc6052::Prefix64;

use crate::kind::{FIRST_HOST, FIRST_SUBSCRIBER, FIRST_SUBSCRIBER6, INSIDE, Kind, host6};
use crate::rig::Case;

const FIRST_PUBLIC: u32 = 0xcb00_7100; // 203.0.113.0
/// Bits of a host's number that a policy's network does not have: networks are /22 of IPv4.
const NETWORK_BITS: u32 = 10;
/// There are so many networks.
pub const RULES_MAX: u32 = 1 << (24 - NETWORK_BITS);
const UDP: u8 = 17;
const TCP: u8 = 6;

/// The program of a case.
pub fn program(case: &Case, classifiers: &dyn ClassifierBuilder) -> anyhow::Result<Program> {
    let (kind, rules) = (case.kind, case.rules);
    let seconds = Ticks::from_seconds;
    let addresses = case.addresses.unwrap_or((case.sessions / 32_000 + 1).max(2));
    let pools: Vec<Pool> = kind.translates().then(|| pool(addresses)).into_iter().collect();
    let set = ServiceSet {
        id: 0,
        name: "cgn".into(),
        terms: term(kind).into_iter().collect(),
        timeouts: Timeouts {
            tcp_established: seconds(7440),
            tcp_opening: seconds(240),
            tcp_closing: seconds(240),
            udp: seconds(300),
            udp_well_known: seconds(300),
            icmp: seconds(60),
            other: seconds(600),
        },
        limits: SubscriberLimits::default(),
        tcp: TcpOptions {
            accept_non_syn: false,
            track_window: false,
            mss_clamp: 0,
        },
        refresh: RefreshDirection::Outbound,
        on_refusal: RefusalAnswer::HostUnreachable,
        ipv6: Ipv6Options {
            nat64_prefixes: if kind == Kind::Nat64 { vec![0] } else { vec![] },
            ..Ipv6Options::default()
        },
        firewall: rules.map(|n| firewall(kind, n, classifiers)).transpose()?,
        stateless: Vec::new(),
        replication: Replication {
            threshold: case.replicated.then_some(Ticks::ZERO),
            ..Replication::default()
        },
        on_unsolicited: UnsolicitedAnswer::Silent,
    };
    let interface = |id, name: &str, inside_of, outside_of: &[u16]| Interface {
        id,
        name: name.into(),
        inside_of,
        outside_of: outside_of.to_vec(),
    };
    Ok(Program {
        generation: 1,
        statics: Default::default(),
        prefixes: vec![Pref64 {
            id: 0,
            prefix: Prefix64::WELL_KNOWN,
        }],
        steering_prefix: 64,
        public_space: Arc::new(PublicSpace::build(&pools, None)),
        service_sets: vec![set],
        pools,
        interfaces: vec![
            interface(0, "inside", 0, &[]),
            interface(1, "outside", NONE, &[0]),
        ],
        fragment_timeout: seconds(2),
        verify_ipv4_checksum: true,
        data_link: None,
    })
}

fn pool(addresses: u32) -> Pool {
    Pool {
        id: 0,
        name: "bench".into(),
        addresses: vec![AddressRange {
            first: FIRST_PUBLIC,
            last: FIRST_PUBLIC + addresses - 1,
        }],
        ports: PortRange {
            first: 1024,
            last: 65_535,
        },
        address_allocation: AddressAllocation::RoundRobin,
        address_pooling: AddressPooling::Paired,
        port_allocation: PortAllocation::Random,
        preserve_range: false,
        preserve_parity: false,
        preserve_contiguity: false,
        port_blocks: None,
        quarantine: Ticks::from_seconds(120),
        drain: false,
        interface_address: false,
        mode: Default::default(),
    }
}

/// The term that translates all subscribers, unless nothing is translated.
fn term(kind: Kind) -> Option<NatTerm> {
    let (pool, mapping, filtering) = (
        0,
        MappingType::EndpointIndependent,
        FilteringType::EndpointIndependent,
    );
    let mut matches = TermMatch::default();
    let action = match kind {
        Kind::Napt44 => {
            matches.sources = vec![AddressRange {
                first: FIRST_SUBSCRIBER,
                last: FIRST_SUBSCRIBER + (1 << 22) - 1,
            }];
            NatAction::Napt44 {
                pool,
                mapping,
                filtering,
            }
        }
        Kind::Nat64 => {
            matches.sources6 = vec![AddressRange6 {
                first: FIRST_SUBSCRIBER6,
                last: FIRST_SUBSCRIBER6 | u128::MAX >> 32,
            }];
            NatAction::Nat64 {
                pool,
                mapping,
                filtering,
            }
        }
        Kind::Firewall | Kind::Firewall6 => return None,
    };
    Some(NatTerm {
        destination: None,
        name: "all/t".into(),
        number: 0,
        matches,
        action,
    })
}

/// `rules` policies from inside, none from outside: subscribers' networks to networks of hosts, by turns for the sessions'
/// ports and for others; the last one is for all of the rest.
fn firewall(kind: Kind, rules: u32, classifiers: &dyn ClassifierBuilder) -> anyhow::Result<Firewall> {
    let mut policies: Vec<Policy> = (0..rules.saturating_sub(1)).map(|n| policy(kind, n)).collect();
    let rest = PolicyMatch {
        sources: vec![subscribers(kind, 0, 1)],
        applications: vec![application(UDP, (0, u16::MAX))],
        ..PolicyMatch::default()
    };
    policies.push(permit(policies.len() as u16, rest));
    let classifier = classifiers.build(&policies).map_err(anyhow::Error::msg)?;
    Ok(Firewall {
        outbound: PolicyList {
            policies,
            default: PolicyAction::Deny,
            classifier,
        },
        inbound: PolicyList::plain(Vec::new(), PolicyAction::Deny),
    })
}

fn policy(kind: Kind, n: u32) -> Policy {
    // An odd factor: each network comes once.
    let network = (n.wrapping_mul(0x9E37_79B1) % RULES_MAX) << NETWORK_BITS;
    let last = network + (1 << NETWORK_BITS) - 1;
    let hosts = if kind.is_v6(INSIDE) {
        let bits = if kind == Kind::Nat64 { 0 } else { u64::MAX.into() };
        (host6(kind, network) & !bits, host6(kind, last) | bits)
    } else {
        (neutral(FIRST_HOST | network), neutral(FIRST_HOST | last))
    };
    let sources = match n % 3 {
        0 => vec![],
        _ => vec![subscribers(kind, n / 3 % 4, 4)],
    };
    let service = match n % 2 {
        0 => application(UDP, (2000, 2999)),
        _ => application(TCP, (443, 443)),
    };
    permit(
        n as u16,
        PolicyMatch {
            sources,
            destinations: vec![hosts],
            applications: vec![service],
        },
    )
}

/// One of `parts` equal networks of subscribers.
fn subscribers(kind: Kind, part: u32, parts: u32) -> (u128, u128) {
    let size = (1 << 22) / parts;
    if kind.is_v6(INSIDE) {
        let at = |n: u32| FIRST_SUBSCRIBER6 | u128::from(n) << 64;
        (at(part * size), at((part + 1) * size) - 1)
    } else {
        let at = |n: u32| neutral(FIRST_SUBSCRIBER + n);
        (at(part * size), at((part + 1) * size - 1))
    }
}

fn neutral(v4: u32) -> u128 {
    0xffff << 32 | u128::from(v4)
}

fn application(protocol: u8, destination_ports: (u16, u16)) -> Application {
    Application {
        protocol: Some(protocol),
        source_ports: (0, u16::MAX),
        destination_ports,
    }
}

fn permit(id: u16, matches: PolicyMatch) -> Policy {
    Policy {
        id,
        name: format!("p{id}"),
        action: PolicyAction::Permit,
        log: false,
        matches: vec![matches],
    }
}
