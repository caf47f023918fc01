//! The dataplane as a whole: from a specification to running workers, and back to nothing.
//!
//! ```text
//!   spec -> EAL -> buffers -> ports (queues, MTU, RSS) -> interfaces -> routes -> engines -> rings -> threads
//! ```
//!
//! Stopping goes the other way. One dataplane per process: DPDK's EAL starts once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rte_bindings::{
    Eal, EalError, Mempool, PoolConfig, PoolError, Port, PortConfig, PortError, PortGrants, RingConsumer,
    RingError, RingProducer, RssFields, RxOffloads, Single, TxOffloads, WorkerThread, pin_current_thread,
    spsc_ring, tsc_cycles, tsc_hz,
};
use rtrb::RingBuffer;
use tandem_engine::claims::Claims;
use tandem_engine::engine::{Engine, EngineConfig, HeldBack};
use tandem_engine::mem::OutOfMemory;
use tandem_engine::packet::Sides;
use tandem_engine::program::{InterfaceId, Program, TableSizes};
use tandem_engine::replica::Op;
use tandem_engine::steer::{Split, Steering, UnevenSplit};

use crate::command::{Commit, Mailbox};
use crate::interfaces::{InterfaceState, Interfaces};
use crate::mirror::{KernelDevice, Mirror, MirrorStats};
use crate::routes::{MaxRoutes, RouteWriter};
use crate::stats::PublishedStats;
use crate::worker::{Idle, PacketNote, TxPath, Worker, WorkerParts};

/// Entries of a ring between two threads.
const RING: u32 = 4096;
/// Bytes in a packet buffer, headroom included; more when a port's MTU asks for it.
const DATA_ROOM: u16 = 2048 + 128;

/// A port to open.
#[derive(Clone, Debug)]
pub struct PortSpec {
    /// DPDK device arguments, or a PCI address.
    pub devargs: String,
    /// MTU of the port: the largest of its interfaces', plus a tag if it has VLANs.
    pub mtu: u16,
    /// MAC address to set; `None` keeps the port's own.
    pub mac: Option<[u8; 6]>,
    /// Promiscuous mode.
    pub promiscuous: bool,
    /// Receive queues; `None`: one per worker where the port has them.
    pub rx_queues: Option<u16>,
    /// Receive descriptors per queue.
    pub rx_descriptors: u16,
    /// Transmit descriptors per queue.
    pub tx_descriptors: u16,
}

/// An interface to make.
#[derive(Clone, Debug)]
pub struct InterfaceSpec {
    /// Its id in the program.
    pub id: InterfaceId,
    /// Its name.
    pub name: String,
    /// Position of its port, of a redundant interface of the primary member's.
    pub port: usize,
    /// Of a redundant interface, position of the other member's port.
    pub other_port: Option<usize>,
    /// Its VLAN.
    pub vlan: Option<u16>,
    /// Its MTU.
    pub mtu: u16,
    /// The MAC address frames are sent from and received at; `None`: its port's. A port that shares a kernel device
    /// (AF_XDP, AF_PACKET) needs one of its own, or the kernel takes every frame for its own a second time.
    pub mac: Option<[u8; 6]>,
}

/// Everything a dataplane is made from.
#[derive(Clone, Debug)]
pub struct DataplaneSpec {
    /// EAL arguments, without the program's name.
    pub eal_args: Vec<String>,
    /// Packet buffers; `None`: as many as ports and rings can hold, and some.
    pub mbufs: Option<u32>,
    /// CPU of each worker; `None`: not pinned.
    pub workers: Vec<Option<usize>>,
    /// Shards of subscribers and public ports, a multiple of the workers; `None`: as many as workers. The two chassis of a
    /// pair have the same.
    pub shards: Option<u8>,
    /// How workers wait.
    pub idle: Idle,
    /// Ports.
    pub ports: Vec<PortSpec>,
    /// Interfaces.
    pub interfaces: Vec<InterfaceSpec>,
    /// Table sizes.
    pub sizes: TableSizes,
    /// Routes there is room for.
    pub max_routes: MaxRoutes,
    /// The first program.
    pub program: Arc<Program>,
    /// Operations that can wait between a worker and the replication, each way; `None`: nothing is ever replicated.
    pub replica_ring: Option<usize>,
}

/// One worker's ends of the replication, for whoever speaks with the other chassis.
#[derive(Debug)]
pub struct ReplicaRings {
    /// What the worker puts out.
    pub outbox: rtrb::Consumer<Op>,
    /// What it is to do.
    pub inbox: rtrb::Producer<Op>,
    /// What it holds back because there was no room to put it out.
    pub held_back: Arc<HeldBack>,
}

/// The dataplane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// DPDK's environment.
    #[error("DPDK did not start: {0}")]
    Eal(#[from] EalError),
    /// Packet buffers.
    #[error("no packet buffers: {0}")]
    Pool(#[from] PoolError),
    /// A port.
    #[error("port {0}: {1}")]
    Port(String, PortError),
    /// A ring.
    #[error("no ring between threads: {0}")]
    Ring(#[from] RingError),
    /// The FIB.
    #[error("no FIB: {0}")]
    Fib(#[from] rte_bindings::FibError),
    /// Shards.
    #[error("{0}")]
    Shards(#[from] UnevenSplit),
    /// Tables.
    #[error("{0}")]
    Memory(#[from] OutOfMemory),
    /// A thread.
    #[error("thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Randomness.
    #[error("the system gives no randomness: {0}")]
    Random(getrandom::Error),
}

/// A running port.
pub struct RunningPort {
    /// DPDK's handle.
    pub port: Port,
    /// What it was asked for.
    pub spec: PortSpec,
    /// What it granted.
    pub grants: PortGrants,
    /// Its MAC address.
    pub mac: [u8; 6],
}

/// What is prepared before the threads start: the kernel's devices can be made with it.
pub struct Prepared {
    /// DPDK's environment.
    pub eal: Eal,
    /// Interfaces.
    pub interfaces: Arc<Interfaces>,
    /// Routes, to be filled by the control side.
    pub routes: RouteWriter,
    /// Ports by position.
    pub ports: Vec<RunningPort>,
    pool: Mempool,
    workers: Vec<WorkerParts>,
    /// The replication's rings by worker, to be taken before the start; empty when nothing is replicated.
    pub replica: Vec<ReplicaRings>,
    cores: Vec<Option<usize>>,
    mirror_rings: (Vec<RingConsumer<Single>>, RingProducer<Single>),
}

/// A running dataplane.
pub struct Dataplane {
    /// Interfaces.
    pub interfaces: Arc<Interfaces>,
    /// Ports by position. Not for the packet way.
    pub ports: Vec<RunningPort>,
    /// Commands and events by worker.
    pub mailboxes: Vec<Arc<Mailbox>>,
    /// Published numbers by worker.
    pub stats: Vec<Arc<PublishedStats>>,
    /// Numbers of the mirror.
    pub mirror: Arc<MirrorStats>,
    /// TSC cycles in a second.
    pub tsc_hz: u64,
    /// TSC cycles at tick 0.
    pub tsc_start: u64,
    /// Packet buffers.
    pub pool: Mempool,
    /// What threads could not have as they started and do without: a CPU of their own, a buffer cache. Each thread adds
    /// its own before its first turn; see [`Dataplane::take_warnings`].
    pub warnings: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    stop_mirror: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    mirror_thread: Option<JoinHandle<()>>,
    _eal: Eal,
}

fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(StartError::Random)
}

/// Buffers that ports and rings can hold at once, with a reserve for what is on its way.
fn buffers(ports: &[PortSpec], workers: u32, held_fragments: u32) -> u32 {
    let ports: u32 = ports
        .iter()
        .map(|p| {
            // Some drivers keep a fill ring of their own beside the descriptors.
            // An automatic count opens one queue per worker; a port that has fewer leaves some of these unused.
            let queues = p.rx_queues.map_or(workers, u32::from).max(1);
            let rx = u32::from(p.rx_descriptors).max(2048) * queues;
            rx + u32::from(p.tx_descriptors).max(2048) * workers
        })
        .sum();
    let rings = (workers * workers.saturating_sub(1) + workers + 1) * 1024;
    let held = held_fragments * workers;
    (ports + rings + held + 4096).next_power_of_two()
}

impl Prepared {
    /// Takes up another program before the workers run: the one they were made with, with what could only be made once DPDK
    /// runs.
    pub fn set_program(&mut self, program: &Arc<Program>) {
        for worker in &mut self.workers {
            worker.engine.apply(Arc::clone(program));
            worker.commit = commit(program);
        }
    }

    /// Starts DPDK, opens the ports and takes all memory.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    pub fn new(spec: DataplaneSpec) -> Result<Self, StartError> {
        let split = Split::new(spec.workers.len() as u8, spec.shards.unwrap_or(0))?;
        let eal = Eal::init(&spec.eal_args)?;
        let enough = || {
            buffers(
                &spec.ports,
                spec.workers.len() as u32,
                spec.sizes.max_held_fragments,
            )
        };
        let pool = Mempool::create(
            &eal,
            &PoolConfig {
                name: "tandem".into(),
                count: spec.mbufs.unwrap_or_else(enough) - 1,
                cache: 256,
                priv_size: size_of::<PacketNote>().next_multiple_of(8) as u16,
                data_room: DATA_ROOM.max(spec.ports.iter().map(|p| p.mtu + 256).max().unwrap_or(0)),
                socket: None,
            },
        )?;
        let workers = spec.workers.len();
        let mut ports = Vec::new();
        for port in &spec.ports {
            let running = open_port(&eal, port, workers as u16, &pool)
                .map_err(|error| StartError::Port(port.devargs.clone(), error))?;
            ports.push(running);
        }
        let states = spec
            .interfaces
            .iter()
            .map(|i| {
                let mac = i.mac.or(ports.get(i.port).map(|p| p.mac)).unwrap_or_default();
                let state = InterfaceState::new(i.id, i.name.clone(), i.port as u8, i.vlan, mac, i.mtu);
                let Some(other) = i.other_port else {
                    return Ok(state);
                };
                for member in [i.port, other] {
                    if let Some(port) = ports.get_mut(member) {
                        take_mac(port, mac)
                            .map_err(|error| StartError::Port(port.spec.devargs.clone(), error))?;
                    }
                }
                Ok(state.with_member(other as u8))
            })
            .collect::<Result<_, StartError>>()?;
        let interfaces = Arc::new(Interfaces::new(states));
        let mtus: HashMap<InterfaceId, u16> = spec.interfaces.iter().map(|i| (i.id, i.mtu)).collect();
        let routes = RouteWriter::new(&eal, spec.max_routes, mtus)?;
        let claims = Arc::new(Claims::default());
        let tsc = (tsc_hz(&eal), tsc_cycles());
        let (mut parts, mut replica) = (Vec::new(), Vec::new());
        let mut to_kernel = Vec::new();
        for id in 0..workers {
            let seed = random()?;
            let (producer, consumer) = spsc_ring(&eal, &format!("punt{id}"), RING, None)?;
            to_kernel.push(consumer);
            let mut engine = Engine::new(
                EngineConfig {
                    worker: id as u8,
                    split,
                    sizes: spec.sizes,
                    max_extents: max_extents(&spec.program, &spec.sizes),
                    seed,
                    claims: Arc::clone(&claims),
                },
                Arc::clone(&spec.program),
            )?;
            let inbox = spec.replica_ring.map(|room| {
                let ((out, outbox), (inbox, into)) = (RingBuffer::new(room), RingBuffer::new(room));
                engine.connect(out);
                let held_back = engine.held_back();
                replica.push(ReplicaRings {
                    outbox,
                    inbox,
                    held_back,
                });
                into
            });
            parts.push(WorkerParts {
                id: id as u8,
                split,
                engine,
                commit: commit(&spec.program),
                router: routes.reader(),
                interfaces: Arc::clone(&interfaces),
                rx: Vec::new(),
                tx: Vec::new(),
                to_workers: (0..workers).map(|_| None).collect(),
                from_workers: Vec::new(),
                to_kernel: Some(producer),
                from_kernel: None,
                inbox,
                pool: pool.clone(),
                claims: Arc::clone(&claims),
                mailbox: Arc::new(Mailbox::default()),
                stats: Arc::new(PublishedStats::default()),
                tsc_hz: tsc.0,
                tsc_start: tsc.1,
                sizes: spec.sizes,
                idle: spec.idle,
                seed: random()?,
            });
        }
        for from in 0..workers {
            for to in 0..workers {
                if from != to {
                    let (producer, consumer) = spsc_ring(&eal, &format!("over{from}-{to}"), RING, None)?;
                    parts[from].to_workers[to] = Some(producer);
                    parts[to].from_workers.push(consumer);
                }
            }
        }
        for (position, port) in ports.iter().enumerate() {
            share_queues(position, port, &mut parts)
                .map_err(|e| StartError::Port(port.spec.devargs.clone(), e))?;
        }
        let (to_worker, from_kernel) = spsc_ring(&eal, "kernel", RING, None)?;
        if let Some(first) = parts.first_mut() {
            first.from_kernel = Some(from_kernel);
        }
        Ok(Self {
            eal,
            interfaces,
            routes,
            ports,
            pool,
            workers: parts,
            replica,
            cores: spec.workers,
            mirror_rings: (to_kernel, to_worker),
        })
    }

    /// Starts the threads. `devices` are the kernel's, by interface. Routes stay with the caller.
    ///
    /// # Errors
    /// [`StartError`] when a thread or a table could not be made.
    pub fn start(
        self,
        devices: Vec<(InterfaceId, Box<dyn KernelDevice>)>,
    ) -> Result<(Dataplane, RouteWriter), StartError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_mirror = Arc::new(AtomicBool::new(false));
        let mirror_stats = Arc::new(MirrorStats::default());
        let (from_workers, to_worker) = self.mirror_rings;
        let mut mirror = Mirror::new(
            devices,
            from_workers,
            to_worker,
            self.pool.clone(),
            Arc::clone(&mirror_stats),
        );
        let tsc = self.workers.first().map_or((1, 0), |w| (w.tsc_hz, w.tsc_start));
        let mailboxes = self.workers.iter().map(|w| Arc::clone(&w.mailbox)).collect();
        let stats = self.workers.iter().map(|w| Arc::clone(&w.stats)).collect();
        // All memory first: with a table missing, no thread starts.
        let workers: Vec<Worker> = self
            .workers
            .into_iter()
            .map(Worker::new)
            .collect::<Result<_, _>>()?;
        // From here on an early return drops the dataplane, which ends the threads it has.
        let mut dataplane = Dataplane {
            interfaces: self.interfaces,
            ports: self.ports,
            mailboxes,
            stats,
            mirror: mirror_stats,
            tsc_hz: tsc.0,
            tsc_start: tsc.1,
            pool: self.pool,
            warnings: Arc::default(),
            stop: Arc::clone(&stop),
            stop_mirror: Arc::clone(&stop_mirror),
            threads: Vec::new(),
            mirror_thread: None,
            _eal: self.eal.clone(),
        };
        for ((id, mut worker), core) in workers.into_iter().enumerate().zip(self.cores) {
            let (stop, eal) = (Arc::clone(&stop), self.eal.clone());
            let warnings = Arc::clone(&dataplane.warnings);
            let name = format!("worker-{id}");
            let thread = std::thread::Builder::new().name(name.clone());
            dataplane.threads.push(thread.spawn(move || {
                // Without its core or its buffer cache a worker is slower, but it runs.
                if let Some(core) = core
                    && let Err(error) = pin_current_thread(core)
                {
                    warn(&warnings, format!("{name} is not pinned to CPU {core}: {error}"));
                }
                let _registered = register(&eal, &name, &warnings);
                worker.run(&stop);
            })?);
        }
        let eal = self.eal;
        let warnings = Arc::clone(&dataplane.warnings);
        let thread = std::thread::Builder::new().name("mirror".into());
        dataplane.mirror_thread = Some(thread.spawn(move || {
            let _registered = register(&eal, "mirror", &warnings);
            mirror.run(&stop_mirror);
        })?);
        Ok((dataplane, self.routes))
    }
}

impl Dataplane {
    /// Milliseconds since a worker's last sign of life.
    #[must_use]
    pub fn heartbeat_age_ms(&self, worker: usize) -> Option<u64> {
        let beat = self.stats.get(worker)?.heartbeat();
        (beat != 0).then(|| tsc_cycles().saturating_sub(beat) * 1000 / self.tsc_hz.max(1))
    }

    /// Seconds since tick 0.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        tsc_cycles().saturating_sub(self.tsc_start) / self.tsc_hz.max(1)
    }

    /// Sends a program to all workers. They take it up between two bursts; see [`PublishedStats::program`]. Fails when a
    /// worker's mailbox is full, which means that it stands still.
    ///
    /// # Errors
    /// The number of the worker.
    pub fn apply(&self, program: &Arc<Program>) -> Result<(), usize> {
        for (worker, mailbox) in self.mailboxes.iter().enumerate() {
            while mailbox.left.pop().is_some() {}
            mailbox.programs.push(commit(program)).map_err(|_| worker)?;
        }
        Ok(())
    }

    /// Stops workers, then the mirror, then the ports. Dropping does the same.
    pub fn stop(self) {}

    fn end_threads(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
        self.stop_mirror.store(true, Ordering::Relaxed);
        if let Some(thread) = self.mirror_thread.take() {
            let _panicked = thread.join();
        }
    }

    /// Whether all workers' threads still run.
    #[must_use]
    pub fn workers_alive(&self) -> Vec<bool> {
        self.threads.iter().map(|t| !t.is_finished()).collect()
    }

    /// Whether the mirror's thread still runs.
    #[must_use]
    pub fn mirror_alive(&self) -> bool {
        self.mirror_thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// The warnings so far, each given out once. A worker's are in before its first heartbeat.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.end_threads();
    }
}

fn warn(warnings: &Mutex<Vec<String>>, warning: String) {
    warnings
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(warning);
}

/// Registers the calling thread with DPDK, or says that it has no buffer cache.
fn register(eal: &Eal, name: &str, warnings: &Mutex<Vec<String>>) -> Option<WorkerThread> {
    WorkerThread::register(eal)
        .map_err(|error| warn(warnings, format!("{name} has no buffer cache: {error}")))
        .ok()
}

/// A program with its sides.
#[must_use]
pub fn commit(program: &Arc<Program>) -> Box<Commit> {
    Box::new(Commit {
        sides: Sides::of(program),
        steering: Steering::of(program),
        changes_family: !program.prefixes.is_empty()
            || program.service_sets.iter().any(|s| !s.stateless.is_empty()),
        program: Arc::clone(program),
    })
}

/// Extents a shard may own: all of the pools', with room for a reload that adds as many again.
fn max_extents(program: &Program, sizes: &TableSizes) -> u32 {
    let addresses: u64 = program
        .pools
        .iter()
        .flat_map(|p| &p.addresses)
        .map(|r| u64::from(r.last - r.first) + 1)
        .sum();
    let wanted = (addresses * 32)
        .max(u64::from(sizes.max_mappings / 1024))
        .max(1024);
    wanted.min(1 << 24) as u32
}

fn open_port(eal: &Eal, spec: &PortSpec, workers: u16, pool: &Mempool) -> Result<RunningPort, PortError> {
    let mut port = Port::attach(eal, &spec.devargs)?;
    let info = port.info()?;
    let rx_queues = spec.rx_queues.unwrap_or(workers).min(info.max_rx_queues).max(1);
    let tx_queues = workers.min(info.max_tx_queues).max(1);
    let grants = port.configure(
        &PortConfig {
            rx_queues,
            tx_queues,
            rx_desc: spec.rx_descriptors,
            tx_desc: spec.tx_descriptors,
            mtu: Some(spec.mtu),
            promiscuous: spec.promiscuous,
            allmulticast: true,
            rss: (rx_queues > 1).then_some(RssFields::IPV4 | RssFields::IPV6),
            rx_offloads: RxOffloads::IPV4_CHECKSUM,
            tx_offloads: TxOffloads::empty(),
        },
        pool,
    )?;
    if let Some(mac) = spec.mac {
        port.set_mac(rte_bindings::MacAddr(mac))?;
    }
    port.start()?;
    let mac = spec.mac.map_or_else(|| port.mac().map(|m| m.0), Ok)?;
    let mut spec = spec.clone();
    spec.rx_queues = Some(rx_queues);
    Ok(RunningPort {
        port,
        spec,
        grants,
        mac,
    })
}

/// Makes a member of a redundant interface receive what is for the interface's MAC address: by taking it on, or, where the driver
/// cannot, all frames.
fn take_mac(running: &mut RunningPort, mac: [u8; 6]) -> Result<(), PortError> {
    // One that is promiscuous already may share its address with the kernel, which is to keep it.
    if running.mac == mac || running.spec.promiscuous {
        return Ok(());
    }
    if running.port.set_mac(rte_bindings::MacAddr(mac)).is_ok() {
        running.mac = mac;
        return Ok(());
    }
    running.port.set_promiscuous(true)?;
    running.spec.promiscuous = true;
    Ok(())
}

/// Gives each worker its share of a port's queues. A port with fewer transmit queues than workers is sent on by the
/// workers that have one, for the others.
fn share_queues(
    position: usize,
    running: &RunningPort,
    workers: &mut [WorkerParts],
) -> Result<(), PortError> {
    let count = workers.len();
    let info = running.port.info()?;
    let tx_queues = usize::from((count as u16).min(info.max_tx_queues).max(1));
    for queue in 0..running.spec.rx_queues.unwrap_or(1) {
        // Ports with one queue each are spread over the workers.
        let worker = (usize::from(queue) + position) % count;
        let rx = running.port.rx_queue(queue)?;
        if let Some(parts) = workers.get_mut(worker) {
            parts.rx.push((position as u8, rx));
        }
    }
    for (id, parts) in workers.iter_mut().enumerate() {
        // The worker that receives on a one-queue port sends on it, too.
        let queue = (id + count - position % count) % count;
        let path = if queue < tx_queues {
            TxPath::Own(running.port.tx_queue(queue as u16)?)
        } else {
            TxPath::Worker(((queue % tx_queues + position) % count) as u8)
        };
        parts.tx.push(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(workers: u32, rx_queues: Option<u16>) -> u32 {
        let port = PortSpec {
            devargs: "net_null0".into(),
            mtu: 1500,
            mac: None,
            promiscuous: false,
            rx_queues,
            rx_descriptors: 4096,
            tx_descriptors: 4096,
        };
        buffers(&[port.clone(), port], workers, 1024)
    }

    /// With fewer, filling the receive queues alone takes all buffers, and nothing is left to receive into.
    #[test]
    fn an_automatic_queue_count_has_buffers_for_every_workers_queue() {
        for workers in [1, 4, 16] {
            let automatic = needed(workers, None);
            assert_eq!(automatic, needed(workers, Some(workers as u16)));
            let descriptors = 2 * (4096 + 4096) * workers;
            assert!(automatic > descriptors, "{workers} workers: {automatic} buffers");
        }
        assert!(needed(16, None) > needed(16, Some(1)));
    }
}
