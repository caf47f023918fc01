//! The rig: one worker with everything a real one has, but for ports: packets come from memory and are taken back.
//!
//! Subscribers have 64 sessions each, random outside hosts; of kinds that translate, every session has a mapping of its own (the
//! dearest case).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use rte_bindings::{Eal, Mempool, PoolConfig, pin_current_thread, tsc_cycles, tsc_hz};
use tandem_dataplane::classifier::AclBuilder;
use tandem_dataplane::command::{Command, Mailbox};
use tandem_dataplane::dataplane::commit;
use tandem_dataplane::interfaces::{InterfaceState, Interfaces};
use tandem_dataplane::routes::{Action, MaxRoutes, RouteWriter, Way};
use tandem_dataplane::stats::PublishedStats;
use tandem_dataplane::worker::{BURST, Burst, Idle, PacketNote, StageCycles, TxPath, Worker, WorkerParts};
use tandem_engine::claims::Claims;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::program::{Program, TableSizes};
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::Query;

use crate::bare::EngineRig;
use crate::kind::{
    ETHERNET, FIRST_SUBSCRIBER, FIRST_SUBSCRIBER6, Flow, Frames, Kind, MACS, SESSIONS_PER_SUBSCRIBER,
};
use crate::pair::WorkerEnds;
use crate::program::program;

const GATEWAY: [u32; 2] = [0x0a00_0002, 0xc000_0201];
const GATEWAY6: [u128; 2] = [0xfe80 << 112 | 2, 0xfe80 << 112 | 3];
const GATEWAY_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 1, 1]];

/// What the sessions of one table are.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Their kind.
    pub kind: Kind,
    /// How many.
    pub sessions: u32,
    /// Firewall policies from inside; `None` without a firewall.
    pub rules: Option<u32>,
    /// Octets of a frame, with its frame check sequence.
    pub frame: usize,
    /// Room in the session table for totals that small counters have no room for, too.
    pub extensions: bool,
    /// Public addresses; `None`: as few as the sessions need.
    pub addresses: Option<u32>,
    /// Sessions are replicated as soon as they begin.
    pub replicated: bool,
}

/// Something that passes packets.
pub trait Rig {
    /// Writes a burst of packets of `flows` as a port would, and passes it; returns the cycles that this took. Learns public
    /// ends from packets that left.
    fn pass(
        &mut self,
        direction: u8,
        numbers: &[u32],
        flows: &mut [Flow],
        learn: bool,
    ) -> anyhow::Result<u64>;

    /// Its engine.
    fn engine(&self) -> &Engine;

    /// Measures cycles by stage from now on; false when it has no stages.
    fn measure_stages(&mut self) -> bool {
        false
    }

    /// Cycles by stage so far.
    fn stage_cycles(&self) -> Option<StageCycles> {
        None
    }
}

/// An empty rig for a case: a worker, or an engine alone.
pub fn rig(
    ground: &Ground,
    case: &Case,
    program: &Arc<Program>,
    run: u32,
    engine: bool,
) -> anyhow::Result<Box<dyn Rig>> {
    Ok(if engine {
        Box::new(EngineRig::new(case, program, run)?)
    } else {
        Box::new(WorkerRig::new(ground, case, program, run, None)?)
    })
}

/// DPDK, started once per process.
pub struct Ground {
    pool: Mempool,
    routes: RouteWriter,
    eal: Eal,
    /// TSC cycles in a second.
    pub hz: f64,
    /// The CPU beside the measured one; the same when there is no other.
    pub cpu_beside: usize,
}

impl Ground {
    /// Starts DPDK on a CPU.
    pub fn new(cpu: usize) -> anyhow::Result<Self> {
        // Buffers of the bench are few; the tables' pages are what counts and do not come from DPDK.
        let arguments = [
            "--no-huge",
            "--no-shconf",
            "--no-pci",
            "--no-telemetry",
            "--iova-mode=va",
            "-m",
            "512",
        ];
        let cores = format!("0@({cpu})");
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend(["--lcores".into(), cores, "--log-level=lib.*:error".into()]);
        let eal = Eal::init(&arguments)?;
        pin_current_thread(cpu)?;
        let pool = Mempool::create(
            &eal,
            &PoolConfig {
                name: "bench".into(),
                count: 8191,
                cache: 256,
                priv_size: size_of::<PacketNote>().next_multiple_of(8) as u16,
                data_room: 2176,
                socket: None,
            },
        )?;
        let routes = routes(&eal)?;
        let hz = tsc_hz(&eal) as f64;
        Ok(Self {
            eal,
            pool,
            routes,
            hz,
            cpu_beside: cpu.checked_sub(1).unwrap_or(cpu),
        })
    }

    /// The program of a case, with the classifiers a commit would build.
    pub fn program(&self, case: &Case) -> anyhow::Result<Arc<Program>> {
        let classifiers = AclBuilder::new(&self.eal);
        program(case, &classifiers).map(Arc::new)
    }
}

fn routes(eal: &Eal) -> anyhow::Result<RouteWriter> {
    let max = MaxRoutes {
        ipv4: 4096,
        ipv6: 4096,
    };
    let mut routes = RouteWriter::new(eal, max, HashMap::from([(0, 1500), (1, 1500)]))?;
    let way = |interface: u16, gateway: IpAddr| {
        Arc::new(Action::Ways(vec![Way {
            interface,
            gateway: Some(gateway),
            weight: 1,
        }]))
    };
    let gateway = |n: usize| Ipv4Addr::from_bits(GATEWAY[n]);
    let gateway6 = |n: usize| Ipv6Addr::from_bits(GATEWAY6[n]);
    routes.set(0, 0, way(1, gateway(1).into()))?;
    routes.set(FIRST_SUBSCRIBER, 10, way(0, gateway(0).into()))?;
    routes.set6(0, 0, way(1, gateway6(1).into()))?;
    routes.set6(FIRST_SUBSCRIBER6, 32, way(0, gateway6(0).into()))?;
    for (n, mac) in GATEWAY_MACS.into_iter().enumerate() {
        routes.neighbour(n as u16, gateway(n), Some(mac), false);
        routes.neighbour6(n as u16, gateway6(n), Some(mac), false);
    }
    routes.publish();
    Ok(routes)
}

impl Case {
    /// Table sizes with room for exactly its sessions.
    pub fn sizes(&self) -> TableSizes {
        TableSizes {
            max_sessions: self.sessions * if self.extensions { 2 } else { 1 },
            max_mappings: if self.kind.translates() {
                self.sessions
            } else {
                1024
            },
            max_subscribers: (self.sessions / SESSIONS_PER_SUBSCRIBER + 1).max(16),
            max_blocks: 16,
            max_reassemblies: 1024,
            max_held_fragments: 256,
        }
    }

    /// An engine with such tables.
    pub fn engine(&self, program: &Arc<Program>, claims: &Arc<Claims>, run: u32) -> anyhow::Result<Engine> {
        let config = EngineConfig {
            worker: 0,
            split: Split::new(1, 0)?,
            sizes: self.sizes(),
            max_extents: 1 << 14,
            seed: 0x1234_5678_9abc_def0 + u64::from(run),
            claims: Arc::clone(claims),
        };
        Ok(Engine::new(config, Arc::clone(program))?)
    }
}

/// A worker and what drives it.
pub struct WorkerRig {
    worker: Worker,
    burst: Box<Burst>,
    /// What a turn of the loop receives into: nothing.
    empty: Box<Burst>,
    frames: Frames,
    mailbox: Arc<Mailbox>,
    began: Instant,
}

impl WorkerRig {
    /// A worker with room for exactly the case's sessions, and with rings to the other chassis if there are any.
    pub fn new(
        ground: &Ground,
        case: &Case,
        program: &Arc<Program>,
        run: u32,
        replica: Option<WorkerEnds>,
    ) -> anyhow::Result<Self> {
        let interfaces = (0..2u8)
            .map(|p| {
                let mac = MACS[usize::from(p)];
                InterfaceState::new(u16::from(p), format!("port{p}"), p, None, mac, 1500)
            })
            .collect();
        let interfaces = Arc::new(Interfaces::new(interfaces));
        for interface in &interfaces.all {
            interface.set_up(true);
        }
        let claims = Arc::new(Claims::default());
        let mailbox = Arc::new(Mailbox::default());
        let mut engine = case.engine(program, &claims, run)?;
        let inbox = replica.map(|ends| {
            engine.connect(ends.outbox);
            ends.inbox
        });
        let worker = Worker::new(WorkerParts {
            id: 0,
            split: Split::new(1, 0)?,
            engine,
            commit: commit(program),
            router: ground.routes.reader(),
            interfaces,
            rx: Vec::new(),
            tx: vec![TxPath::Keep, TxPath::Keep],
            to_workers: vec![None],
            from_workers: Vec::new(),
            to_kernel: None,
            from_kernel: None,
            inbox,
            pool: ground.pool.clone(),
            claims,
            mailbox: Arc::clone(&mailbox),
            stats: Arc::new(PublishedStats::default()),
            tsc_hz: ground.hz as u64,
            tsc_start: tsc_cycles(),
            sizes: case.sizes(),
            idle: Idle::BusyPoll,
            seed: 7,
        })?;
        let mut burst = Box::<Burst>::default();
        ground
            .pool
            .alloc_burst(&mut burst, BURST)
            .map_err(|_| anyhow::anyhow!("no packet buffers"))?;
        Ok(Self {
            worker,
            burst,
            empty: Box::default(),
            frames: Frames::new(case.kind, case.frame),
            mailbox,
            began: Instant::now(),
        })
    }

    /// A turn of the worker's loop, with nothing to receive: timers, commands, and what replication does between bursts. Its
    /// time goes on from here. Returns the cycles that this took.
    pub fn turn(&mut self) -> u64 {
        let elapsed = self.began.elapsed().as_millis() / 100;
        let start = tsc_cycles();
        self.worker.set_now(Ticks(elapsed as u32));
        self.worker.turn(&mut self.empty);
        tsc_cycles() - start
    }

    /// Has the worker answer a query.
    pub fn answer(&mut self, query: Query) -> anyhow::Result<Query> {
        let sent = self.mailbox.commands.push(Command::Query(0, Box::new(query)));
        anyhow::ensure!(sent.is_ok(), "the mailbox is full");
        loop {
            self.turn();
            if let Some((_, answer)) = self.mailbox.answers.pop() {
                return Ok(*answer);
            }
        }
    }
}

impl Rig for WorkerRig {
    fn pass(
        &mut self,
        direction: u8,
        numbers: &[u32],
        flows: &mut [Flow],
        learn: bool,
    ) -> anyhow::Result<u64> {
        let mut written = Ok(());
        let mut mbufs = self.burst.as_mut_slice().iter_mut();
        self.frames.write(direction, numbers, flows, |frame| {
            if let Some(mbuf) = mbufs.next() {
                mbuf.reset();
                if let Err(error) = mbuf.copy_from_slice(frame) {
                    written = Err(error);
                }
            }
        });
        written?;
        let start = tsc_cycles();
        self.worker.process_burst(direction, &mut self.burst);
        let cycles = tsc_cycles() - start;
        let out = 1 - direction;
        let kept = self.worker.kept(out).ok_or_else(|| anyhow::anyhow!("no port"))?;
        anyhow::ensure!(
            kept.len() == numbers.len(),
            "{} of {} packets left; drops: {:?}",
            kept.len(),
            numbers.len(),
            {
                let drops = self.worker.drops().0;
                let all = DropReason::ALL.iter().zip(drops);
                all.filter(|(_, n)| *n > 0)
                    .map(|(r, n)| (r.as_str(), n))
                    .collect::<Vec<_>>()
            }
        );
        if learn {
            for (mbuf, i) in kept.as_slice().iter().zip(numbers) {
                let l3 = mbuf.data().get(ETHERNET..).unwrap_or_default();
                if let Some(flow) = self.frames.learn(l3) {
                    flows[*i as usize] = flow;
                }
            }
        }
        self.burst.append(kept);
        Ok(cycles)
    }

    fn engine(&self) -> &Engine {
        self.worker.engine()
    }

    fn measure_stages(&mut self) -> bool {
        self.worker.measure_stages();
        true
    }

    fn stage_cycles(&self) -> Option<StageCycles> {
        self.worker.stage_cycles()
    }
}
