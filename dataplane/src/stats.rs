//! Counters of a worker: counted in the worker's own memory, published from time to time for everybody to read.

use std::sync::atomic::{AtomicU64, Ordering};

use tandem_engine::drop_reason::DropReason;
use tandem_engine::engine::Counters as EngineCounters;
use tandem_engine::view::PoolUse;
use tandem_wire::error::ParseError;

macro_rules! worker_counters {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// What a worker did, in numbers that only grow.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct WorkerCounters { $($(#[doc = $doc])+ pub $field: u64,)+ }

        impl WorkerCounters {
            /// Counter names, in the order of [`WorkerCounters::values`].
            pub const NAMES: &'static [&'static str] = &[$($name,)+];
            /// What they mean.
            pub const HELP: &'static [&'static str] = &[$(concat!($($doc,)+),)+];
            /// Their values.
            #[must_use]
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$field,)+]
            }
        }
    };
}

worker_counters! {
    /// Packets received from ports.
    rx_packets = "rx-packets",
    /// Bytes of these, Ethernet header included.
    rx_bytes = "rx-bytes",
    /// Bursts that held at least one packet.
    rx_bursts = "rx-bursts",
    /// Packets handed to ports for sending.
    tx_packets = "tx-packets",
    /// Bytes of these.
    tx_bytes = "tx-bytes",
    /// Packets routed without a service set.
    routed = "routed",
    /// Packets given to the kernel mirror.
    punted = "punted",
    /// Packets of the kernel sent on its behalf.
    from_kernel = "from-kernel",
    /// Packets handed to another worker, which owns their subscriber.
    handed_over = "handed-over",
    /// Packets received from other workers.
    taken_over = "taken-over",
    /// Fragments made from packets larger than the egress MTU.
    fragments_made = "fragments-made",
    /// Packets that were cut into fragments.
    fragmented = "fragmented",
    /// Fragments that waited for their first one and went on.
    fragments_released = "fragments-released",
    /// Packets that waited for a next hop and went on.
    neighbour_waited = "neighbour-waited",
    /// Resolutions asked of the kernel.
    neighbour_asked = "neighbour-asked",
    /// Resolutions of hosts on a link not asked of the kernel: too many of one interface in one second.
    neighbour_limited = "neighbour-limited",
    /// ICMP errors sent.
    icmp_sent = "icmp-sent",
    /// ICMP errors and TCP resets not sent: too many in one second (those inside and everybody else are counted apart), the packet may not be answered, no way to its sender, or no buffer.
    icmp_suppressed = "icmp-suppressed",
    /// TCP resets sent for packets that a policy rejects.
    resets_sent = "resets-sent",
    /// Unsolicited SYNs from outside held for 6 s.
    syn_held = "syn-held",
    /// Held SYNs whose connection was opened from inside.
    syn_answered_inside = "syn-answered-inside",
    /// Packets forwarded to the other chassis over the HA data link, because it is primary of their service set.
    forwarded_to_peer = "forwarded-to-peer",
    /// Of these, packets that went over the other HA link, because the first is cut or has no route.
    forwarded_by_other = "forwarded-by-other",
    /// Packets that the other chassis forwarded to this one, and that were taken.
    forwarded_by_peer = "forwarded-by-peer",
    /// Port block events for the log.
    block_events = "block-events",
    /// Port block events lost because the log did not keep up.
    block_events_lost = "block-events-lost",
    /// Policy events for the log.
    policy_events = "policy-events",
    /// Policy events lost because the log did not keep up.
    policy_events_lost = "policy-events-lost",
    /// Cycles spent on bursts that held packets.
    busy_cycles = "busy-cycles",
    /// Cycles spent finding nothing to do.
    idle_cycles = "idle-cycles",
}

/// How many pools' use can be shown.
const MAX_POOLS: usize = 4096;

/// A worker's published numbers.
#[derive(Debug)]
pub struct PublishedStats {
    worker: Vec<AtomicU64>,
    engine: Vec<AtomicU64>,
    drops: Vec<AtomicU64>,
    parse_errors: Vec<AtomicU64>,
    tables: [[AtomicU64; 2]; 4],
    pools: Vec<[AtomicU64; 7]>,
    heartbeat: AtomicU64,
    program: AtomicU64,
}

fn cells(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn store(cells: &[AtomicU64], values: &[u64]) {
    for (cell, value) in cells.iter().zip(values) {
        cell.store(*value, Ordering::Relaxed);
    }
}

fn load(cells: &[AtomicU64]) -> Vec<u64> {
    cells.iter().map(|c| c.load(Ordering::Relaxed)).collect()
}

impl Default for PublishedStats {
    fn default() -> Self {
        Self {
            worker: cells(WorkerCounters::NAMES.len()),
            engine: cells(EngineCounters::NAMES.len()),
            drops: cells(DropReason::COUNT),
            parse_errors: cells(ParseError::COUNT),
            tables: Default::default(),
            pools: (0..MAX_POOLS).map(|_| Default::default()).collect(),
            heartbeat: AtomicU64::new(0),
            program: AtomicU64::new(0),
        }
    }
}

impl PublishedStats {
    /// Called by the worker in every loop: it lives.
    #[inline(always)]
    pub fn beat(&self, cycles: u64) {
        self.heartbeat.store(cycles, Ordering::Relaxed);
    }

    /// TSC cycles at the last beat; 0 before the first.
    #[must_use]
    pub fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    /// Generation of the program the worker runs.
    #[must_use]
    pub fn program(&self) -> u64 {
        self.program.load(Ordering::Acquire)
    }

    pub(crate) fn set_program(&self, generation: u32) {
        self.program.store(u64::from(generation), Ordering::Release);
    }

    pub(crate) fn publish(
        &self,
        worker: &WorkerCounters,
        engine: &EngineCounters,
        drops: &[u64],
        parse_errors: &[u64],
        tables: [(u32, u32); 4],
        pools: impl Iterator<Item = PoolUse>,
    ) {
        store(&self.worker, &worker.values());
        store(&self.engine, &engine.values());
        store(&self.drops, drops);
        store(&self.parse_errors, parse_errors);
        for (cells, (live, capacity)) in self.tables.iter().zip(tables) {
            store(cells, &[u64::from(live), u64::from(capacity)]);
        }
        for (cells, p) in self.pools.iter().zip(pools) {
            let row = [
                p.tcp_ports,
                p.udp_ports,
                p.icmp_ids,
                p.extents,
                p.blocks,
                p.subscribers,
                p.refused,
            ];
            store(cells, &row);
        }
    }

    /// Worker counters, in the order of [`WorkerCounters::NAMES`].
    #[must_use]
    pub fn worker(&self) -> Vec<u64> {
        load(&self.worker)
    }

    /// Engine counters, in the order of [`EngineCounters::NAMES`].
    #[must_use]
    pub fn engine(&self) -> Vec<u64> {
        load(&self.engine)
    }

    /// Drops, in the order of [`DropReason::ALL`].
    #[must_use]
    pub fn drops(&self) -> Vec<u64> {
        load(&self.drops)
    }

    /// Parse errors, in the order of [`ParseError::ALL`].
    #[must_use]
    pub fn parse_errors(&self) -> Vec<u64> {
        load(&self.parse_errors)
    }

    /// Live and possible: sessions, mappings, subscribers, port blocks.
    #[must_use]
    pub fn tables(&self) -> [(u64, u64); 4] {
        std::array::from_fn(|i| {
            let [live, capacity] = &self.tables[i];
            (live.load(Ordering::Relaxed), capacity.load(Ordering::Relaxed))
        })
    }

    /// Use of a pool on this worker.
    #[must_use]
    pub fn pool(&self, pool: u16) -> Option<PoolUse> {
        let row = self.pools.get(usize::from(pool))?;
        let value = |i: usize| row[i].load(Ordering::Relaxed);
        Some(PoolUse {
            pool,
            tcp_ports: value(0),
            udp_ports: value(1),
            icmp_ids: value(2),
            extents: value(3),
            blocks: value(4),
            subscribers: value(5),
            refused: value(6),
        })
    }
}
