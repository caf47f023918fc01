//! The program: what a validated configuration becomes before the workers see it.
//!
//! Immutable once built. The control side compiles one from the config, publishes it behind an `Arc`, and every worker
//! picks it up between two bursts. Ids are stable across reloads (the same name keeps its id for the process' life),
//! because sessions and ports refer to them; a program therefore carries ids, never positions.

pub mod policy;
pub mod translation;

use std::sync::Arc;

pub use crate::replica::Replication;
pub use policy::{Firewall, Policy, PolicyAction, PolicyId, PolicyList};
pub use translation::{
    AddressRange6, DestinationMap, Ipv6Options, Pref64, PrefixId, Stateless, StaticMapping,
};

use crate::ports::deterministic::Deterministic;
use crate::public_space::PublicSpace;
use crate::statics::StaticTable;
use crate::ticks::Ticks;

/// Id of a service set, stable for the process' life. Range 0..=1023.
pub type ServiceSetId = u16;
/// Service sets there can be in a process' life.
pub const SERVICE_SETS_MAX: u16 = 1024;
/// Id of a pool, stable for the process' life. Range 0..=4095.
pub type PoolId = u16;
/// Id of a logical interface (port, or port and VLAN), stable for the process' life. Range 0..=4095.
pub type InterfaceId = u16;

/// "No id": an interface outside every service set, a mapping without a rule.
pub const NONE: u16 = u16::MAX;

/// Sizes fixed at start: all memory is taken then, and nothing grows after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// Sessions per chassis; each worker gets an equal share, rounded up. 1024..=64 Mi.
    pub max_sessions: u32,
    /// EIM mappings per chassis. 1024..=64 Mi.
    pub max_mappings: u32,
    /// Subscribers per chassis. 16..=16 Mi.
    pub max_subscribers: u32,
    /// Port blocks in subscribers' hands per chassis (port block allocation only). 16..=16 Mi.
    pub max_blocks: u32,
    /// Packets that may be under virtual reassembly at once, per worker. 16..=65536.
    pub max_reassemblies: u32,
    /// Fragments held back until their first fragment arrives, per worker. 16..=4096.
    pub max_held_fragments: u32,
}

/// The whole compiled configuration of the dataplane.
#[derive(Clone, Debug)]
pub struct Program {
    /// Grows by one with every commit.
    pub generation: u32,
    /// Service sets; `id` may be sparse.
    pub service_sets: Vec<ServiceSet>,
    /// Pools; `id` may be sparse.
    pub pools: Vec<Pool>,
    /// Logical interfaces and the part they play.
    pub interfaces: Vec<Interface>,
    /// Which public address belongs to which pool, and which worker owns its ports.
    pub public_space: Arc<PublicSpace>,
    /// Static mappings of all service sets.
    pub statics: Arc<StaticTable>,
    /// NAT64 prefixes of all service sets; `id` may be sparse.
    pub prefixes: Vec<Pref64>,
    /// Bits of an IPv6 inside address that choose its worker: the shortest subscriber prefix of all service sets, at most 64.
    pub steering_prefix: u8,
    /// How long fragments wait for their first one. RFC 6146 section 3.4: at least 2 s.
    pub fragment_timeout: Ticks,
    /// Whether an IPv4 header checksum is verified in software when the port did not. RFC 1812 section 5.2.2.
    pub verify_ipv4_checksum: bool,
}

/// A logical interface: a port, or one VLAN of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its id.
    pub id: InterfaceId,
    /// Its name in the config.
    pub name: String,
    /// The service set whose inside it is, or [`NONE`].
    pub inside_of: ServiceSetId,
    /// The service sets whose outside it is.
    pub outside_of: Vec<ServiceSetId>,
}

/// A service set: NAT rules bound to inside and outside interfaces (next-hop style).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSet {
    /// Its id.
    pub id: ServiceSetId,
    /// Its name in the config.
    pub name: String,
    /// NAT terms in order; the first that matches decides.
    pub terms: Vec<NatTerm>,
    /// Idle timeouts.
    pub timeouts: Timeouts,
    /// Limits of one subscriber.
    pub limits: SubscriberLimits,
    /// TCP behaviour.
    pub tcp: TcpOptions,
    /// Which packets keep a UDP, ICMP or other session alive. RFC 4787 REQ-6.
    pub refresh: RefreshDirection,
    /// What is told to a sender whose packet found no port, address or table room. RFC 6888 REQ-11, RFC 5508 REQ-8.
    pub on_refusal: RefusalAnswer,
    /// What an unsolicited packet from outside gets. RFC 5382 REQ-4.
    pub on_unsolicited: UnsolicitedAnswer,
    /// IPv6 and NAT64.
    pub ipv6: Ipv6Options,
    /// Its policies. Without a firewall, sessions from inside may begin, those from outside where mappings let them.
    pub firewall: Option<Firewall>,
    /// Translation without sessions. A service set has either this or terms, static mappings and IPv4 policies.
    pub stateless: Vec<Stateless>,
    /// What of it the other chassis is told.
    pub replication: Replication,
}

/// Idle timeouts of a service set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established. RFC 5382 REQ-5: at least 2 h 4 min.
    pub tcp_established: Ticks,
    /// TCP, opening (first SYN seen). RFC 7857 section 2.2: 4 min by default.
    pub tcp_opening: Ticks,
    /// TCP, closing (both FINs seen, or RST). RFC 7857 section 2.2: 4 min by default.
    pub tcp_closing: Ticks,
    /// UDP. RFC 4787 REQ-5: at least 2 min, 5 min by default.
    pub udp: Ticks,
    /// UDP whose outside port is below 1024. RFC 4787 REQ-5a: may be shorter.
    pub udp_well_known: Ticks,
    /// ICMP queries. RFC 5508 REQ-2: at least 60 s.
    pub icmp: Ticks,
    /// Other protocols, translated by address only.
    pub other: Ticks,
}

/// Limits of one subscriber; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriberLimits {
    /// Sessions at once. RFC 6888 REQ-5.
    pub max_sessions: u32,
    /// New sessions per second (token bucket of one second). RFC 6888 REQ-4C, REQ-5.
    pub max_session_rate: u32,
    /// Public ports and ICMP ids at once, all protocols. RFC 6888 REQ-4A.
    pub max_ports: u32,
    /// Of these, TCP ports. RFC 6888 REQ-4B.
    pub max_tcp_ports: u32,
    /// Of these, UDP ports.
    pub max_udp_ports: u32,
    /// Of these, ICMP query ids.
    pub max_icmp_ids: u32,
}

/// TCP behaviour of a service set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// A session may start with a segment that has ACK, but neither SYN nor RST (after a restart, or asymmetric paths).
    /// Default no.
    pub accept_non_syn: bool,
    /// Segments whose sequence numbers lie outside the windows both ends agreed on are dropped. Default no.
    pub track_window: bool,
    /// Clamp the MSS of SYNs to this many bytes; 0 leaves them alone. 0 or 536..=9000.
    pub mss_clamp: u16,
}

/// Which direction's packets keep a non-TCP session alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshDirection {
    /// Only packets from inside (default; RFC 4787 REQ-6 requires these, RFC 7857 section 7 advises against the others).
    Outbound,
    /// Packets of both directions.
    Both,
}

/// What the sender of a refused first packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalAnswer {
    /// Nothing.
    Silent,
    /// ICMP destination unreachable, host unreachable (3/1): RFC 6888 REQ-11B. Default.
    HostUnreachable,
    /// ICMP destination unreachable, administratively prohibited (3/13): RFC 5508 REQ-8.
    AdminProhibited,
}

/// What the sender of an unsolicited packet from outside is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsolicitedAnswer {
    /// Nothing (default).
    Silent,
    /// For a TCP SYN: hold it 6 s; if no SYN of the same tuple leaves meanwhile, ICMP port unreachable (3/3). RFC 5382 REQ-4.
    HoldThenPortUnreachable,
}

/// One NAT term: a match and an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatTerm {
    /// Rule and term name, `rule/term`, for views and logs.
    pub name: String,
    /// Number of the term in the service set's first-to-last order, 0..=65534; counters are kept by it.
    pub number: u16,
    /// What it matches.
    pub matches: TermMatch,
    /// What it does.
    pub action: NatAction,
    /// Twice NAT: the destination is translated, too; the match sees the one before.
    pub destination: Option<DestinationMap>,
}

/// An inclusive range of IPv4 addresses, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// First address.
    pub first: u32,
    /// Last address, inclusive.
    pub last: u32,
}

impl AddressRange {
    /// Whether `address` lies inside.
    #[must_use]
    pub const fn contains(&self, address: u32) -> bool {
        self.first <= address && address <= self.last
    }
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, inclusive.
    pub last: u16,
}

impl PortRange {
    /// Whether `port` lies inside.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// The match of a term. An empty list matches everything; between lists all must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermMatch {
    /// Inside source addresses, IPv4.
    pub sources: Vec<AddressRange>,
    /// Inside source addresses, IPv6.
    pub sources6: Vec<AddressRange6>,
    /// Destination addresses.
    pub destinations: Vec<AddressRange>,
    /// Destination ports (TCP and UDP only; a term with ports never matches other protocols).
    pub destination_ports: Vec<PortRange>,
    /// IP protocol numbers.
    pub protocols: Vec<u8>,
}

/// The action of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatAction {
    /// Forward untranslated, without a session. RFC 6888 REQ-6.
    NoTranslation,
    /// Source NAT with port translation.
    Napt44 {
        /// From which pool.
        pool: PoolId,
        /// How mappings are shared.
        mapping: MappingType,
        /// Who may use a mapping from outside.
        filtering: FilteringType,
    },
    /// Stateful NAT64: source NAT with port translation of IPv6 sources, for destinations in a NAT64 prefix. RFC 6146. The
    /// term's destinations are the IPv4 ones.
    Nat64 {
        /// From which pool.
        pool: PoolId,
        /// How mappings are shared.
        mapping: MappingType,
        /// Who may use a mapping from outside.
        filtering: FilteringType,
    },
    /// Source NAT of the address only: a subscriber has a public address for itself and keeps its ports.
    Dynamic44 {
        /// From which pool; its mode is [`PoolMode::Addresses`].
        pool: PoolId,
        /// Who may use the address from outside.
        filtering: FilteringType,
    },
    /// Only the destination is translated (by [`NatTerm::destination`]); the source stays.
    DestinationOnly,
}

impl NatAction {
    /// The pool it takes from, if any.
    #[must_use]
    pub const fn pool(&self) -> Option<PoolId> {
        match self {
            Self::Napt44 { pool, .. } | Self::Nat64 { pool, .. } | Self::Dynamic44 { pool, .. } => {
                Some(*pool)
            }
            Self::NoTranslation | Self::DestinationOnly => None,
        }
    }
}

/// RFC 4787 section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingType {
    /// One mapping per inside address and port, whatever the destination. RFC 4787 REQ-1.
    EndpointIndependent,
    /// One public port per session.
    AddressAndPortDependent,
}

/// RFC 4787 section 5. The last two also apply to endpoint-independent mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilteringType {
    /// Anyone may send to a mapping.
    EndpointIndependent,
    /// Only addresses the mapping has sent to.
    AddressDependent,
    /// Only address and port pairs the mapping has sent to.
    AddressAndPortDependent,
}

/// A source pool. Its addresses are in [`Program::public_space`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its id.
    pub id: PoolId,
    /// Its name in the config.
    pub name: String,
    /// Address ranges, sorted, not overlapping within or between pools.
    pub addresses: Vec<AddressRange>,
    /// The ports it may use. For an interface's own address the others stay the kernel's. Default 1024..=65535.
    pub ports: PortRange,
    /// How the next address is chosen.
    pub address_allocation: AddressAllocation,
    /// Whether a subscriber keeps one public address.
    pub address_pooling: AddressPooling,
    /// How the next port is chosen.
    pub port_allocation: PortAllocation,
    /// Ports below 1024 map to ports below 1024 when the pool has them. RFC 4787 REQ-3a.
    pub preserve_range: bool,
    /// Even ports map to even ports, odd to odd. RFC 4787 REQ-4.
    pub preserve_parity: bool,
    /// Port n+1 maps next to port n's mapping when that is free. RFC 4787 section 4.2.3.
    pub preserve_contiguity: bool,
    /// Port block allocation, if configured.
    pub port_blocks: Option<PortBlocks>,
    /// A freed port is not given out again for this long. RFC 6888 REQ-8: 120 s by default.
    pub quarantine: Ticks,
    /// No new allocation; sessions live on until they end.
    pub drain: bool,
    /// The pool is an interface's own address: what it does not translate goes to the kernel.
    pub interface_address: bool,
    /// What is taken from it, and how.
    pub mode: PoolMode,
}

/// What is taken from a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PoolMode {
    /// Ports, each for one mapping or session.
    #[default]
    Ports,
    /// Ports that sessions to different outside ends may share. Needs endpoint-dependent mapping. RFC 7857 section 3.
    OverloadedPorts,
    /// Ports by a formula: no state, no logs. RFC 7422.
    Deterministic(Deterministic),
    /// Whole addresses.
    Addresses,
    /// Nothing: its addresses belong to static mappings.
    Static,
}

/// How a pool chooses the address of a new subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressAllocation {
    /// The next address, round and round.
    RoundRobin,
    /// The first address until it is full, then the next.
    Sequential,
}

/// RFC 4787 section 4.1, "paired" and "arbitrary".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPooling {
    /// A subscriber keeps one public address; when its ports are used up, new sessions are refused.
    Paired,
    /// Paired while that works, another address when the paired one is used up. RFC 7857 section 3.
    PairedSoft,
    /// Any address for any mapping.
    Arbitrary,
}

/// How a pool chooses ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortAllocation {
    /// Unpredictable. RFC 6888 REQ-15, RFC 6056.
    Random,
    /// The next free one.
    Sequential,
}

/// Port block allocation. RFC 6888 REQ-14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlocks {
    /// Ports per block: a power of two, 64..=4096.
    pub block_size: u16,
    /// Blocks one subscriber may hold. 1..=64.
    pub max_blocks_per_subscriber: u16,
    /// After this long a new active block is taken for new sessions; zero never.
    pub active_block_timeout: Ticks,
    /// How long an idle subscriber keeps its last block; zero gives it back at once.
    pub last_block_recycle_timeout: Ticks,
    /// How often a held block is logged again; zero never.
    pub interim_logging_interval: Ticks,
}
