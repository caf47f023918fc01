//! What both chassis of a run are configured with: one or two service sets of any translation type, small pools, short times.
//!
//! Everything is small, so that ports, blocks, tables and addresses run out, and time passes thresholds and timeouts often.

use std::sync::Arc;

use tandem_engine::address::of_v4;
use tandem_engine::hash::Rng;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::policy::PolicyMatch;
use tandem_engine::program::{
    AddressAllocation, AddressPooling, AddressRange, FilteringType, Firewall, MappingType, NatAction,
    NatTerm, Policy, PolicyAction, PolicyList, Pool, PoolMode, PortAllocation, PortBlocks, PortRange,
    RefreshDirection, ServiceSet, StaticMapping, TermMatch,
};
use tandem_engine::replica::Replication;
use tandem_engine::statics::StaticTable;
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::plan::{Plan, pool};
use tandem_engine_testkit::{IN1, POOL, POOL2, PREF64, in6};

/// Hosts inside with IPv4 of each service set, and prefixes with IPv6.
pub const HOSTS: u32 = 6;

/// One of some.
pub fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u32) as usize]
}

/// So many times in a hundred.
pub fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.below(100) < percent
}

/// What a service set does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ports, endpoint-independent mapping.
    Independent,
    /// Ports, each session its own.
    Dependent,
    /// Ports in blocks.
    Blocks,
    /// Ports that sessions share.
    Overloaded,
    /// Whole addresses.
    Addresses,
    /// Ports by a formula.
    Formula,
    /// No translation.
    Firewall,
}

const KINDS: [Kind; 7] = [
    Kind::Independent,
    Kind::Dependent,
    Kind::Blocks,
    Kind::Overloaded,
    Kind::Addresses,
    Kind::Formula,
    Kind::Firewall,
];

/// The age at which sessions of a run are replicated.
pub fn threshold(seed: u64) -> Ticks {
    Ticks::from_seconds([0, 0, 1, 2, 5][(seed % 5) as usize])
}

/// The plan of a run: the same for the same seed, but for the sizes of tables.
pub fn plan(plan: &mut Plan, seed: u64, workers: u8) -> Vec<Kind> {
    let workers = u32::from(workers);
    let mut rng = Rng::new(seed ^ 0x706c_616e);
    let rng = &mut rng;
    // For each worker as much as for all of the other chassis: a standby must not run out of room where its primary did not.
    plan.sizes.max_sessions = 256 * workers;
    plan.sizes.max_mappings = 256 * workers;
    plan.sizes.max_subscribers = 32 * workers;
    // Of blocks each shard has its own, whose ever workers it is.
    plan.sizes.max_blocks = 64;
    plan.sizes.max_reassemblies = 4;
    plan.sizes.max_held_fragments = 4;
    plan.max_extents = 64;
    plan.prefix64(1, PREF64, 96);
    plan.second(POOL2, 1);
    let mut kinds = vec![pick(rng, &KINDS), pick(rng, &KINDS)];
    if chance(rng, 50) {
        kinds.pop();
        plan.program.service_sets.pop();
        plan.program.pools.pop();
        plan.program.interfaces.pop();
        plan.program.interfaces[1].outside_of.pop();
    }
    let mut statics = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        plan.program.pools[at] = pool_of(at, *kind, rng);
        let set = &mut plan.program.service_sets[at];
        service_set(set, *kind, seed, rng);
        if chance(rng, 40) {
            statics.push(forward(set.id, &plan.program.pools[at], rng));
        }
    }
    statics.retain(|_| !kinds.contains(&Kind::Addresses));
    plan.program.statics = Arc::new(StaticTable::new(statics).expect("one for each pool"));
    kinds
}

/// Instead of it: one service set that takes ports one by one from the whole of one address.
pub fn widen(plan: &mut Plan) -> Vec<Kind> {
    plan.program.service_sets.truncate(1);
    plan.program.pools.truncate(1);
    plan.program.interfaces[1].outside_of.truncate(1);
    plan.program.statics = Arc::new(StaticTable::new(Vec::new()).expect("none is no conflict"));
    let set = &mut plan.program.service_sets[0];
    (set.terms, set.firewall, set.limits.max_sessions) = (Vec::new(), None, 0);
    set.replication.excluded_terms = Vec::new();
    let (pool, filtering) = (set.id, FilteringType::EndpointIndependent);
    let mapping = MappingType::AddressAndPortDependent;
    let napt = NatAction::Napt44 {
        pool,
        mapping,
        filtering,
    };
    set.terms = vec![term(0, napt)];
    let first = plan.program.pools[0].addresses[0].first;
    let p = &mut plan.program.pools[0];
    p.addresses = vec![AddressRange { first, last: first }];
    p.ports = PortRange {
        first: 1024,
        last: 65_535,
    };
    (p.mode, p.port_blocks) = (PoolMode::Ports, None);
    p.quarantine = Ticks::from_seconds(5);
    vec![Kind::Dependent]
}

fn pool_of(at: usize, kind: Kind, rng: &mut Rng) -> Pool {
    let (id, first) = (at as u16 + 1, [POOL, POOL2][at]);
    let mut p = pool(id, first, pick(rng, &[1, 2, 4]));
    let first = pick(rng, &[1024, 4000]);
    p.ports = PortRange {
        first,
        last: first + pick(rng, &[127, 1200, 13_000]),
    };
    p.mode = match kind {
        Kind::Overloaded => PoolMode::OverloadedPorts,
        Kind::Addresses => PoolMode::Addresses,
        Kind::Formula => {
            let hosts = of_v4(host4(at, 0));
            PoolMode::Deterministic(Deterministic::new(vec![(hosts & !7, 8)], 128, 16).expect("a formula"))
        }
        _ => PoolMode::Ports,
    };
    if kind == Kind::Blocks {
        p.port_blocks = Some(PortBlocks {
            block_size: pick(rng, &[64, 128]),
            max_blocks_per_subscriber: pick(rng, &[1, 2, 8]),
            active_block_timeout: Ticks::from_seconds(pick(rng, &[0, 5])),
            last_block_recycle_timeout: Ticks::from_seconds(pick(rng, &[0, 5])),
            interim_logging_interval: Ticks::ZERO,
        });
    }
    p.address_allocation = pick(
        rng,
        &[AddressAllocation::RoundRobin, AddressAllocation::Sequential],
    );
    p.address_pooling = pick(
        rng,
        &[
            AddressPooling::Paired,
            AddressPooling::PairedSoft,
            AddressPooling::Arbitrary,
        ],
    );
    p.port_allocation = pick(rng, &[PortAllocation::Random, PortAllocation::Sequential]);
    p.preserve_parity = chance(rng, 20);
    p.preserve_contiguity = chance(rng, 20);
    p.quarantine = Ticks::from_seconds(pick(rng, &[0, 1, 5, 120]));
    p
}

fn service_set(set: &mut ServiceSet, kind: Kind, seed: u64, rng: &mut Rng) {
    let filtering = pick(
        rng,
        &[
            FilteringType::EndpointIndependent,
            FilteringType::AddressDependent,
            FilteringType::AddressAndPortDependent,
        ],
    );
    let mapping = match kind {
        Kind::Dependent | Kind::Overloaded => MappingType::AddressAndPortDependent,
        Kind::Blocks if chance(rng, 30) => MappingType::AddressAndPortDependent,
        _ => MappingType::EndpointIndependent,
    };
    let pool = set.id;
    set.terms = match kind {
        Kind::Firewall => vec![],
        Kind::Addresses => vec![term(0, NatAction::Dynamic44 { pool, filtering })],
        Kind::Formula => vec![term(
            0,
            NatAction::Napt44 {
                pool,
                mapping,
                filtering,
            },
        )],
        _ => vec![
            term(
                0,
                NatAction::Napt44 {
                    pool,
                    mapping,
                    filtering,
                },
            ),
            term(
                1,
                NatAction::Nat64 {
                    pool,
                    mapping,
                    filtering,
                },
            ),
        ],
    };
    set.ipv6.nat64_prefixes = vec![1];
    if kind == Kind::Firewall || chance(rng, 20) {
        set.firewall = Some(Firewall {
            outbound: PolicyList::plain(vec![policy(0, PolicyAction::Permit)], PolicyAction::Deny),
            inbound: PolicyList::plain(
                vec![policy(10, pick(rng, &[PolicyAction::Permit, PolicyAction::Deny]))],
                PolicyAction::Deny,
            ),
        });
    }
    let t = &mut set.timeouts;
    for timeout in [
        &mut t.tcp_established,
        &mut t.tcp_opening,
        &mut t.tcp_closing,
        &mut t.udp,
        &mut t.udp_well_known,
        &mut t.icmp,
        &mut t.other,
    ] {
        *timeout = Ticks::from_seconds(pick(rng, &[2, 4, 10, 60]));
    }
    set.limits.max_sessions = pick(rng, &[0, 0, 3, 10]);
    set.refresh = pick(rng, &[RefreshDirection::Outbound, RefreshDirection::Both]);
    set.tcp.accept_non_syn = chance(rng, 30);
    set.tcp.track_window = chance(rng, 10);
    set.replication = Replication {
        threshold: Some(threshold(seed)),
        excluded_terms: if chance(rng, 10) { vec![1] } else { vec![] },
        excluded_policies: vec![],
    };
}

fn term(number: u16, action: NatAction) -> NatTerm {
    NatTerm {
        name: format!("r/{number}"),
        number,
        matches: TermMatch::default(),
        action,
        destination: None,
    }
}

fn policy(id: u16, action: PolicyAction) -> Policy {
    Policy {
        id,
        name: format!("p{id}"),
        action,
        log: false,
        matches: vec![PolicyMatch::default()],
    }
}

/// A port forward to the first host on the first port of a pool.
fn forward(service_set: u16, pool: &Pool, rng: &mut Rng) -> StaticMapping {
    let public = pool.addresses[0].first;
    let six = chance(rng, 20) && matches!(pool.mode, PoolMode::Ports);
    StaticMapping {
        name: format!("static{service_set}"),
        service_set,
        number: 100 + service_set,
        inside: if six {
            in6(16 * service_set, 1)
        } else {
            of_v4(host4(usize::from(service_set) - 1, 0))
        },
        public: AddressRange {
            first: public,
            last: public,
        },
        to_one: false,
        protocol: pick(rng, &[6, 17]),
        inside_port: 80,
        public_port: pool.ports.first,
        ports: 1,
        inbound_only: chance(rng, 30),
        destination: None,
    }
}

/// A host with IPv4 behind a service set, by their positions.
pub fn host4(set: usize, host: u32) -> u32 {
    IN1 + 15 + 16 * set as u32 + host
}

/// A host with IPv6.
pub fn host6(set: usize, host: u32) -> u128 {
    in6(16 * (set as u16 + 1) + (host % 3) as u16, 1 + u64::from(host / 3))
}
