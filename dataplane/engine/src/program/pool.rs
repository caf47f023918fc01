//! Pools: public addresses, and how addresses, ports and port blocks of them are given out.

use super::{AddressRange, PoolId, PortRange};
use crate::ports::deterministic::Deterministic;
use crate::ticks::Ticks;

/// A source pool. Its addresses are in [`Program::public_space`](super::Program::public_space).
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
