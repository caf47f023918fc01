//! A worker: one thread, its own queues, its own tables. This file is the way of a packet, in order.
//!
//! ```text
//!   port rx -> receive (Ethernet, parse, fragments) -> steer -> engine -> deliver (route, resolve, fragment) -> port tx
//!                 |                                      |         |         |-> hairpin: once more from "engine"
//!                 '-> kernel mirror                      |         |         '-> kernel mirror, answers, waiting
//!                                                        '-> ring to the owner's worker
//! ```

mod answer;
mod data_link;
mod deliver;
mod descs;
mod hand_over;
mod kernel;
mod leave;
mod per_second;
mod queue;
mod receive;
mod receive6;
mod route;
mod run;
mod waiting;

use std::sync::Arc;

use rte_bindings::{
    Mbuf, MbufBurst, Mempool, RingConsumer, RingProducer, RxQueue, Single, TxQueue, tsc_cycles,
};
use tandem_engine::claims::Claims;
use tandem_engine::drop_reason::{DropCounts, DropReason};
use tandem_engine::engine::{Engine, MAX_BURST};
use tandem_engine::fragments::Fragments;
use tandem_engine::hash::{HashKeys, Rng};
use tandem_engine::held::HeldSyns;
use tandem_engine::mem::OutOfMemory;
use tandem_engine::packet::{Desc, Sides};
use tandem_engine::packet6::Desc6;
use tandem_engine::program::{InterfaceId, TableSizes};
use tandem_engine::replica::Op;
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::Query;
use tandem_wire::error::ParseError;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use run::Idle;

use crate::command::{Commit, Mailbox};
use crate::interfaces::Interfaces;
use crate::routes::WorkerRouter;
use crate::stats::{PublishedStats, WorkerCounters};
use answer::Budgets;
use descs::Descs;
use waiting::Waiting;

/// Packets in one burst.
pub const BURST: usize = MAX_BURST;

/// Unsolicited SYNs held at once, per worker. RFC 5382 REQ-4.
const HELD_SYNS: u32 = 1024;

/// A burst of packets.
pub type Burst = MbufBurst<BURST>;

/// What travels with a packet between workers and to the kernel mirror, in the mbuf's private area.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PacketNote {
    /// Interface it came in on, or shall leave by.
    pub interface: u16,
    /// Ports to look up by (of a later fragment: the first one's).
    pub sport: u16,
    /// Destination port likewise.
    pub dport: u16,
    /// [`NOTE_IN`], [`NOTE_HAIRPIN`] or [`NOTE_OUT`].
    pub kind: u8,
    /// With [`NOTE_OUT`] the port to leave by; of an IPv6 packet with [`NOTE_IN`] its protocol, which a later fragment does not
    /// know itself. One octet for both: the note's size moves the data in a buffer, and with it the cache lines of headers.
    pub detail: u8,
}

/// For its owner: came in on an interface.
pub const NOTE_IN: u8 = 0;
/// For its owner: came back by hairpinning.
pub const NOTE_HAIRPIN: u8 = 1;
/// A whole frame, for the worker that has the port's transmit queue.
pub const NOTE_OUT: u8 = 2;

/// How a worker sends on a port.
pub enum TxPath {
    /// Its own queue.
    Own(TxQueue),
    /// Another worker has the port's queue.
    Worker(u8),
    /// Packets are kept for whoever drives the worker by hand (benches and tests).
    Keep,
}

/// A port as a sender sees it.
pub(crate) struct TxPort {
    path: TxPath,
    burst: Burst,
}

/// What a worker is made from.
pub struct WorkerParts {
    /// Its number.
    pub id: u8,
    /// How many there are, and into how many shards what they have is split.
    pub split: Split,
    /// Its engine.
    pub engine: Engine,
    /// The program the engine runs, with its sides.
    pub commit: Box<Commit>,
    /// Its view of the routes.
    pub router: WorkerRouter,
    /// All interfaces.
    pub interfaces: Arc<Interfaces>,
    /// Receive queues with the position of their port.
    pub rx: Vec<(u8, RxQueue)>,
    /// Transmit paths by port position.
    pub tx: Vec<TxPath>,
    /// Rings to the other workers, by number; `None` for itself.
    pub to_workers: Vec<Option<RingProducer<Single>>>,
    /// Rings from the other workers.
    pub from_workers: Vec<RingConsumer<Single>>,
    /// Ring to the kernel mirror.
    pub to_kernel: Option<RingProducer<Single>>,
    /// Ring from the kernel mirror.
    pub from_kernel: Option<RingConsumer<Single>>,
    /// What the other chassis tells of sessions, and commands that come in order with it; `None` when nothing is replicated.
    pub inbox: Option<rtrb::Consumer<Op>>,
    /// Buffers for packets of our own.
    pub pool: Mempool,
    /// Shared by all workers.
    pub claims: Arc<Claims>,
    /// Commands and events.
    pub mailbox: Arc<Mailbox>,
    /// Published numbers.
    pub stats: Arc<PublishedStats>,
    /// TSC cycles in one second.
    pub tsc_hz: u64,
    /// TSC cycles at tick 0, the same for all workers.
    pub tsc_start: u64,
    /// Table sizes; the worker's own stores are bounded by them.
    pub sizes: TableSizes,
    /// How it waits when there is nothing to do.
    pub idle: Idle,
    /// Randomness from the system.
    pub seed: u64,
}

/// Cycles by stage, for the bench; see [`Worker::measure_stages`].
#[derive(Clone, Copy, Debug, Default)]
pub struct StageCycles {
    /// Ethernet, parse, fragments.
    pub receive: u64,
    /// Ownership.
    pub steer: u64,
    /// Sessions and translation.
    pub engine: u64,
    /// Next hop, Ethernet header, transmit bursts.
    pub deliver: u64,
}

/// A worker.
pub struct Worker {
    id: u8,
    split: Split,
    engine: Engine,
    commit: Box<Commit>,
    router: WorkerRouter,
    interfaces: Arc<Interfaces>,
    rx: Vec<(u8, RxQueue)>,
    tx: Vec<TxPort>,
    to_workers: Vec<Option<RingProducer<Single>>>,
    handover: Vec<Burst>,
    from_workers: Vec<RingConsumer<Single>>,
    to_kernel: Option<RingProducer<Single>>,
    punts: Burst,
    from_kernel: Option<RingConsumer<Single>>,
    inbox: Option<rtrb::Consumer<Op>>,
    pool: Mempool,
    claims: Arc<Claims>,
    mailbox: Arc<Mailbox>,
    stats: Arc<PublishedStats>,
    fragments: Fragments<(Mbuf, InterfaceId)>,
    held: HeldSyns<Mbuf>,
    waiting: Waiting,
    answers: Budgets,
    /// IPv4 packets under way, and what is known of each.
    batch: Box<Burst>,
    descs: Descs<Desc>,
    /// The empty one of two batches: what leaves is worked off while the other stands in its place. Half a kilobyte need not
    /// be moved for that.
    spare: Option<Box<Burst>>,
    /// IPv6 packets likewise.
    batch6: Burst,
    descs6: Descs<Desc6>,
    /// What both batches send round at once.
    hairpins: MbufBurst<{ 2 * BURST }>,
    counters: WorkerCounters,
    drops: DropCounts,
    parse_errors: [u64; ParseError::COUNT],
    tsc_start: u64,
    tsc_per_tick: u64,
    now: Ticks,
    idle: Idle,
    stages: Option<StageCycles>,
    ip_id: u16,
    query: Option<(u64, Box<Query>)>,
}

impl Worker {
    /// Puts a worker together; takes the rest of its memory.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses it.
    pub fn new(parts: WorkerParts) -> Result<Self, OutOfMemory> {
        let burst = Burst::default;
        let mut rng = Rng::new(parts.seed);
        Ok(Self {
            handover: parts.to_workers.iter().map(|_| burst()).collect(),
            tx: parts
                .tx
                .into_iter()
                .map(|path| TxPort { path, burst: burst() })
                .collect(),
            fragments: Fragments::new(
                &parts.sizes,
                parts.commit.program.fragment_timeout,
                HashKeys::new(rng.draw()),
            )?,
            held: HeldSyns::new(HELD_SYNS, HashKeys::new(rng.draw()))?,
            waiting: Waiting::new(parts.interfaces.all.iter().map(|i| i.id)),
            answers: Budgets::new(),
            batch: Box::default(),
            descs: Descs::new(),
            spare: Some(Box::default()),
            batch6: burst(),
            descs6: Descs::new6(),
            hairpins: MbufBurst::default(),
            punts: burst(),
            counters: WorkerCounters::default(),
            drops: DropCounts::default(),
            parse_errors: [0; ParseError::COUNT],
            tsc_per_tick: (parts.tsc_hz / u64::from(Ticks::PER_SECOND)).max(1),
            tsc_start: parts.tsc_start,
            now: Ticks::ZERO,
            stages: None,
            ip_id: parts.seed as u16,
            query: None,
            id: parts.id,
            split: parts.split,
            engine: parts.engine,
            commit: parts.commit,
            router: parts.router,
            interfaces: parts.interfaces,
            rx: parts.rx,
            to_workers: parts.to_workers,
            from_workers: parts.from_workers,
            to_kernel: parts.to_kernel,
            from_kernel: parts.from_kernel,
            inbox: parts.inbox,
            pool: parts.pool,
            claims: parts.claims,
            mailbox: parts.mailbox,
            stats: parts.stats,
            idle: parts.idle,
        })
    }

    fn sides(&self) -> &Sides {
        &self.commit.sides
    }

    /// Passes one received burst through all stages. Transmit bursts are left for [`Worker::flush`].
    pub fn process_burst(&mut self, port: u8, burst: &mut Box<Burst>) {
        let start = self.stage_start();
        self.receive(port, burst);
        let start = self.stage_end(start, |s| &mut s.receive);
        self.process_batch(start);
    }

    /// From "steer" on, for what is in the batches, which are empty afterwards; hairpinned packets go round once more, and as
    /// IPv4 packets, whatever they came as.
    fn process_batch(&mut self, mut start: u64) {
        loop {
            if self.split.workers() > 1 {
                self.steer_batch();
                start = self.stage_end(start, |s| &mut s.steer);
            }
            self.engine
                .process(self.now, &self.router, self.batch.as_mut_slice(), &mut self.descs);
            start = self.stage_end(start, |s| &mut s.engine);
            self.deliver_batch();
            start = self.stage_end(start, |s| &mut s.deliver);
            if !self.batch6.is_empty() {
                start = self.process_batch6(start);
            }
            if self.hairpins.is_empty() {
                return;
            }
            self.take_hairpins();
        }
    }

    #[inline(never)]
    fn process_batch6(&mut self, mut start: u64) -> u64 {
        if self.split.workers() > 1 {
            self.steer_batch6();
            start = self.stage_end(start, |s| &mut s.steer);
        }
        self.process_owned6(start)
    }

    /// The IPv6 batch, all of which is ours.
    fn process_owned6(&mut self, start: u64) -> u64 {
        self.engine.process6(
            self.now,
            &self.router,
            self.batch6.as_mut_slice(),
            &mut self.descs6,
        );
        let start = self.stage_end(start, |s| &mut s.engine);
        self.deliver_batch6();
        self.stage_end(start, |s| &mut s.deliver)
    }

    fn take_hairpins(&mut self) {
        self.batch.clear();
        self.descs.clear();
        let mut hairpins = std::mem::take(&mut self.hairpins);
        for mbuf in hairpins.drain() {
            let note = mbuf.priv_ref::<PacketNote>().copied().unwrap_or_default();
            self.take_hairpin(mbuf, note);
        }
    }

    /// The interface of a frame's port and tag.
    fn interface_of(&self, port: u8, vlan: u16) -> Option<InterfaceId> {
        self.interfaces.find(port, vlan)
    }

    #[inline]
    fn drop_packet(&mut self, mbuf: Mbuf, reason: DropReason) {
        self.drops.count(reason);
        drop(mbuf);
    }

    /// Measures cycles by stage from now on.
    pub fn measure_stages(&mut self) {
        self.stages = Some(StageCycles::default());
    }

    /// Cycles by stage so far.
    #[must_use]
    pub fn stage_cycles(&self) -> Option<StageCycles> {
        self.stages
    }

    #[inline(always)]
    fn stage_start(&self) -> u64 {
        if self.stages.is_some() { tsc_cycles() } else { 0 }
    }

    #[inline(always)]
    fn stage_end(&mut self, start: u64, stage: impl FnOnce(&mut StageCycles) -> &mut u64) -> u64 {
        match &mut self.stages {
            Some(stages) => {
                let now = tsc_cycles();
                *stage(stages) += now.wrapping_sub(start);
                now
            }
            None => 0,
        }
    }

    /// The engine, for whoever drives the worker by hand.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Drops by reason so far.
    #[must_use]
    pub fn drops(&self) -> &DropCounts {
        &self.drops
    }

    /// Parse errors so far, in the order of [`ParseError::ALL`].
    #[must_use]
    pub fn parse_errors(&self) -> &[u64] {
        &self.parse_errors
    }

    /// Packets the worker keeps between two bursts: fragments without their first one, held SYNs, packets whose next hop is
    /// not resolved yet, and those that wait for [`Worker::flush`]. Those of [`TxPath::Keep`] are not counted.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        let unsent = |t: &TxPort| {
            if matches!(t.path, TxPath::Keep) {
                0
            } else {
                t.burst.len()
            }
        };
        self.fragments.held() as usize
            + self.held.len() as usize
            + self.waiting.len()
            + self.punts.len()
            + self.handover.iter().map(|b| b.len()).sum::<usize>()
            + self.tx.iter().map(unsent).sum::<usize>()
    }

    /// Counters so far.
    #[must_use]
    pub fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// The packets waiting to be sent on a port with [`TxPath::Keep`].
    pub fn kept(&mut self, port: u8) -> Option<&mut Burst> {
        let tx = self.tx.get_mut(usize::from(port))?;
        matches!(tx.path, TxPath::Keep).then_some(&mut tx.burst)
    }
}
