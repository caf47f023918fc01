//! The program: what a validated configuration becomes before the workers see it.
//!
//! Immutable once built. The control side compiles one from the config, publishes it behind an `Arc`, and every worker
//! picks it up between two bursts. Ids are stable across reloads (the same name keeps its id for the process' life),
//! because sessions and ports refer to them; a program therefore carries ids, never positions.

mod data_link;
pub mod policy;
mod pool;
mod service_set;
mod term;
pub mod translation;

use std::sync::Arc;

pub use crate::replica::Replication;
pub use data_link::{DataLink, LinkWay, LinkedSet};
pub use policy::{Firewall, Policy, PolicyAction, PolicyId, PolicyList};
pub use pool::{AddressAllocation, AddressPooling, Pool, PoolMode, PortAllocation, PortBlocks};
pub use service_set::{
    RefreshDirection, RefusalAnswer, ServiceSet, SubscriberLimits, TcpOptions, Timeouts, UnsolicitedAnswer,
};
pub use term::{FilteringType, MappingType, NatAction, NatTerm, TermMatch};
pub use translation::{
    AddressRange6, DestinationMap, Ipv6Options, Pref64, PrefixId, Stateless, StaticMapping,
};

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
    /// The HA data link, over which packets go to the chassis that is primary of their service set. `None`: they are dropped.
    pub data_link: Option<DataLink>,
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
