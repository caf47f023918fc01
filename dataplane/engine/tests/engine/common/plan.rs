//! Programs in few words: a complete one to start from, which a test changes where it matters.

use std::sync::Arc;

use tandem_engine::program::{
    AddressAllocation, AddressPooling, AddressRange, FilteringType, Interface, MappingType, NONE, NatAction,
    NatTerm, Pool, PoolId, PortAllocation, PortBlocks, PortRange, Pref64, PrefixId, Program,
    RefreshDirection, RefusalAnswer, ServiceSet, StaticMapping, SubscriberLimits, TableSizes, TcpOptions,
    TermMatch, Timeouts, UnsolicitedAnswer,
};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::statics::StaticTable;
use tandem_engine::ticks::Ticks;
use tandem_wire::Ipv6Prefix;
use tandem_wire::rfc6052::Prefix64;

use super::{POOL, PREF64};

/// Inside interface of service set 1.
pub const INSIDE: u16 = 1;
/// Outside interface of every service set.
pub const OUTSIDE: u16 = 2;
/// An interface of no service set.
pub const OTHER: u16 = 3;
/// Inside interface of service set 2.
pub const INSIDE2: u16 = 4;

/// What a world is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program; its public space is built last.
    pub program: Program,
    /// Table sizes of the chassis.
    pub sizes: TableSizes,
    /// Extents per shard.
    pub max_extents: u32,
    /// Shards of each worker.
    pub shards_each: u8,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// One service set, one pool of 16 addresses, endpoint-independent mapping and filtering, everything else default.
    pub fn new() -> Self {
        let program = Program {
            generation: 1,
            service_sets: vec![service_set(1, 1)],
            pools: vec![pool(1, POOL, 16)],
            interfaces: vec![
                interface(INSIDE, 1, &[]),
                interface(OUTSIDE, NONE, &[1]),
                interface(OTHER, NONE, &[]),
            ],
            statics: Default::default(),
            prefixes: Vec::new(),
            steering_prefix: 64,
            public_space: Arc::new(PublicSpace::build(&[], None)),
            fragment_timeout: Ticks::from_seconds(2),
            verify_ipv4_checksum: true,
            data_link: None,
        };
        Self {
            program,
            sizes: TableSizes {
                max_sessions: 8192,
                max_mappings: 8192,
                max_subscribers: 1024,
                max_blocks: 1024,
                max_reassemblies: 64,
                max_held_fragments: 64,
            },
            max_extents: 4096,
            shards_each: 1,
            seed: 1,
        }
    }

    /// The only service set of most tests.
    pub fn set(&mut self) -> &mut ServiceSet {
        &mut self.program.service_sets[0]
    }

    /// The only pool of most tests.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.program.pools[0]
    }

    /// The pool has this many addresses.
    pub fn addresses(&mut self, count: u32) {
        let first = self.pool().addresses[0].first;
        self.pool().addresses = vec![AddressRange {
            first,
            last: first + count - 1,
        }];
    }

    /// The pool has this port range.
    pub fn ports(&mut self, first: u16, last: u16) {
        self.pool().ports = PortRange { first, last };
    }

    /// Mapping and filtering of the one term.
    pub fn behaviour(&mut self, mapping: MappingType, filtering: FilteringType) {
        self.set().terms = vec![napt_term(0, 1, mapping, filtering, TermMatch::default())];
    }

    /// Port block allocation with blocks of `block_size`, `max` per subscriber, all timers off.
    pub fn blocks(&mut self, block_size: u16, max: u16) {
        self.pool().port_blocks = Some(PortBlocks {
            block_size,
            max_blocks_per_subscriber: max,
            active_block_timeout: Ticks::ZERO,
            last_block_recycle_timeout: Ticks::ZERO,
            interim_logging_interval: Ticks::ZERO,
        });
    }

    /// NAT64 in place of NAPT44: [`PREF64`] as prefix 1, endpoint-independent mapping and filtering.
    pub fn nat64(&mut self) {
        self.prefix64(1, PREF64, 96);
        self.set().ipv6.nat64_prefixes = vec![1];
        self.behaviour64(
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
    }

    /// Mapping and filtering of the one NAT64 term.
    pub fn behaviour64(&mut self, mapping: MappingType, filtering: FilteringType) {
        self.set().terms = vec![nat64_term(0, 1, mapping, filtering, TermMatch::default())];
    }

    /// A NAT64 prefix, which no service set uses yet.
    pub fn prefix64(&mut self, id: PrefixId, prefix: u128, length: u8) {
        let prefix = Ipv6Prefix::new(prefix, length).expect("a prefix");
        let prefix = Prefix64::new(prefix).expect("a NAT64 prefix");
        self.program.prefixes.push(Pref64 { id, prefix });
    }

    /// These static mappings.
    pub fn statics(&mut self, mappings: Vec<StaticMapping>) {
        self.program.statics = Arc::new(StaticTable::new(mappings).expect("no conflict"));
    }

    /// A second service set (inside on [`INSIDE2`]) and a second pool of `count` addresses at `first` for it.
    pub fn second(&mut self, first: u32, count: u32) {
        self.program.service_sets.push(service_set(2, 2));
        self.program.pools.push(pool(2, first, count));
        self.program.interfaces.push(interface(INSIDE2, 2, &[]));
        self.program.interfaces[1].outside_of.push(2);
    }

    /// The program, with its public space built on what `previous` knew.
    pub fn compile(&self, previous: Option<&Program>) -> Arc<Program> {
        let mut program = self.program.clone();
        let known = previous.map(|p| &*p.public_space);
        program.public_space = Arc::new(PublicSpace::build(&program.pools, known));
        program.generation = previous.map_or(1, |p| p.generation + 1);
        Arc::new(program)
    }
}

fn interface(id: u16, inside_of: u16, outside_of: &[u16]) -> Interface {
    Interface {
        id,
        name: format!("if{id}"),
        inside_of,
        outside_of: outside_of.to_vec(),
    }
}

/// A service set with the defaults of the RFCs and one endpoint-independent term.
pub fn service_set(id: u16, pool: PoolId) -> ServiceSet {
    ServiceSet {
        id,
        name: format!("set{id}"),
        terms: vec![napt_term(
            0,
            pool,
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
            TermMatch::default(),
        )],
        timeouts: Timeouts {
            tcp_established: Ticks::from_seconds(7440),
            tcp_opening: Ticks::from_seconds(240),
            tcp_closing: Ticks::from_seconds(240),
            udp: Ticks::from_seconds(300),
            udp_well_known: Ticks::from_seconds(300),
            icmp: Ticks::from_seconds(60),
            other: Ticks::from_seconds(300),
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
        on_unsolicited: UnsolicitedAnswer::Silent,
    }
}

/// A `napt-44` term.
pub fn napt_term(
    number: u16,
    pool: PoolId,
    mapping: MappingType,
    filtering: FilteringType,
    matches: TermMatch,
) -> NatTerm {
    NatTerm {
        destination: None,
        name: format!("r/{number}"),
        number,
        matches,
        action: NatAction::Napt44 {
            pool,
            mapping,
            filtering,
        },
    }
}

/// A `nat64` term.
pub fn nat64_term(
    number: u16,
    pool: PoolId,
    mapping: MappingType,
    filtering: FilteringType,
    matches: TermMatch,
) -> NatTerm {
    NatTerm {
        action: NatAction::Nat64 {
            pool,
            mapping,
            filtering,
        },
        ..napt_term(number, pool, mapping, filtering, matches)
    }
}

/// A pool with the defaults.
pub fn pool(id: PoolId, first: u32, count: u32) -> Pool {
    Pool {
        id,
        name: format!("pool{id}"),
        addresses: vec![AddressRange {
            first,
            last: first + count - 1,
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
        quarantine: Ticks::from_seconds(120),
        drain: false,
        interface_address: false,
        mode: Default::default(),
    }
}
