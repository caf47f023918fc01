//! The rig: one worker with everything a real one has, but for ports: packets come from memory and are taken back.
//!
//! Subscribers have 64 sessions each, every session with a mapping of its own (the dearest case), random outside hosts.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rte_bindings::{Eal, Mempool, PoolConfig, pin_current_thread, tsc_cycles, tsc_hz};
use tandem_dataplane::command::Mailbox;
use tandem_dataplane::dataplane::commit;
use tandem_dataplane::interfaces::{InterfaceState, Interfaces};
use tandem_dataplane::routes::{Action, MaxRoutes, RouteWriter, Way};
use tandem_dataplane::stats::PublishedStats;
use tandem_dataplane::worker::{BURST, Burst, Idle, PacketNote, TxPath, Worker, WorkerParts};
use tandem_engine::claims::Claims;
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::program::{
    AddressAllocation, AddressPooling, AddressRange, FilteringType, Interface, MappingType, NONE, NatAction,
    NatTerm, Pool, PortAllocation, PortRange, Program, RefreshDirection, RefusalAnswer, ServiceSet,
    SubscriberLimits, TableSizes, TcpOptions, TermMatch, Timeouts, UnsolicitedAnswer,
};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::ticks::Ticks;

/// Inside interface and port.
pub const INSIDE: u8 = 0;
/// Outside interface and port.
pub const OUTSIDE: u8 = 1;
const SESSIONS_PER_SUBSCRIBER: u32 = 64;
const FIRST_SUBSCRIBER: u32 = 0x6440_0000; // 100.64.0.0
const FIRST_PUBLIC: u32 = 0xcb00_7100; // 203.0.113.0
const FRAME: usize = 64 - 4; // the frame check sequence is the port's
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// DPDK, started once per process.
pub struct Ground {
    pool: Mempool,
    routes: RouteWriter,
    _eal: Eal,
    /// TSC cycles in a second.
    pub hz: f64,
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
            "256",
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
        let mut routes = RouteWriter::new(
            &eal,
            MaxRoutes {
                ipv4: 4096,
                ipv6: 4096,
            },
            HashMap::from([(0, 1500), (1, 1500)]),
        )?;
        let way = |interface, gateway: u32| {
            Action::Ways(vec![Way {
                interface,
                gateway: Some(Ipv4Addr::from_bits(gateway).into()),
                weight: 1,
            }])
        };
        routes.set(0, 0, Arc::new(way(1, 0xc000_0201)))?;
        routes.set(FIRST_SUBSCRIBER, 10, Arc::new(way(0, 0x0a00_0002)))?;
        routes.neighbour(1, 0xc000_0201.into(), Some([2, 0, 0, 0, 1, 1]), false);
        routes.neighbour(0, 0x0a00_0002.into(), Some([2, 0, 0, 0, 1, 2]), false);
        routes.publish();
        let hz = tsc_hz(&eal) as f64;
        Ok(Self {
            _eal: eal,
            pool,
            routes,
            hz,
        })
    }
}

/// The program of the bench: one service set, one pool with twice the ports the sessions need.
fn program(sessions: u32) -> Program {
    let addresses = (sessions / 32_000 + 1).max(2);
    let seconds = Ticks::from_seconds;
    let pool = Pool {
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
        quarantine: seconds(120),
        drain: false,
        interface_address: false,
        mode: Default::default(),
    };
    let term = NatTerm {
        destination: None,
        name: "all/t".into(),
        number: 0,
        matches: TermMatch {
            sources: vec![AddressRange {
                first: FIRST_SUBSCRIBER,
                last: FIRST_SUBSCRIBER + (1 << 22) - 1,
            }],
            ..TermMatch::default()
        },
        action: NatAction::Napt44 {
            pool: 0,
            mapping: MappingType::EndpointIndependent,
            filtering: FilteringType::EndpointIndependent,
        },
    };
    let set = ServiceSet {
        id: 0,
        name: "cgn".into(),
        terms: vec![term],
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
        ipv6: Default::default(),
        firewall: None,
        stateless: Vec::new(),
        on_unsolicited: UnsolicitedAnswer::Silent,
    };
    let pools = vec![pool];
    Program {
        generation: 1,
        statics: Default::default(),
        prefixes: Vec::new(),
        steering_prefix: 64,
        public_space: Arc::new(PublicSpace::build(&pools, None)),
        service_sets: vec![set],
        pools,
        interfaces: vec![
            Interface {
                id: 0,
                name: "inside".into(),
                inside_of: 0,
                outside_of: vec![],
            },
            Interface {
                id: 1,
                name: "outside".into(),
                inside_of: NONE,
                outside_of: vec![0],
            },
        ],
        fragment_timeout: seconds(2),
        verify_ipv4_checksum: true,
    }
}

/// One session's ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Public address; 0 until the session is made.
    pub public: u32,
    /// Public port.
    pub public_port: u16,
}

/// Inside address and port, outside address and port of session `i`: arithmetic, so that the generator stays out of memory.
fn ends(i: u32) -> (u32, u16, u32, u16) {
    let subscriber = FIRST_SUBSCRIBER + i / SESSIONS_PER_SUBSCRIBER;
    let sport = 1024 + (i % SESSIONS_PER_SUBSCRIBER) as u16 * 97;
    let host = 0x0800_0000 | (i.wrapping_mul(0x9E37_79B1) >> 8);
    (subscriber, sport, host, 2000 + (i % 1000) as u16)
}

/// A worker and what drives it.
pub struct Rig {
    worker: Worker,
    burst: Burst,
    template: [u8; FRAME],
}

impl Rig {
    /// A worker with room for exactly `sessions`.
    pub fn new(ground: &Ground, sessions: u32, run: u32) -> anyhow::Result<Self> {
        let sizes = TableSizes {
            max_sessions: sessions,
            max_mappings: sessions,
            max_subscribers: (sessions / SESSIONS_PER_SUBSCRIBER + 1).max(16),
            max_blocks: 16,
            max_reassemblies: 1024,
            max_held_fragments: 256,
        };
        let program = Arc::new(program(sessions));
        let interfaces = (0..2u8)
            .map(|p| {
                InterfaceState::new(
                    u16::from(p),
                    format!("port{p}"),
                    p,
                    None,
                    MACS[usize::from(p)],
                    1500,
                )
            })
            .collect();
        let interfaces = Arc::new(Interfaces::new(interfaces));
        for interface in &interfaces.all {
            interface.set_up(true);
        }
        let claims = Arc::new(Claims::default());
        let config = EngineConfig {
            worker: 0,
            workers: 1,
            sizes,
            max_extents: 1 << 14,
            seed: 0x1234_5678_9abc_def0 + u64::from(run),
            claims: Arc::clone(&claims),
        };
        let worker = Worker::new(WorkerParts {
            id: 0,
            workers: 1,
            engine: Engine::new(config, Arc::clone(&program))?,
            commit: commit(&program),
            router: ground.routes.reader(),
            interfaces,
            rx: Vec::new(),
            tx: vec![TxPath::Keep, TxPath::Keep],
            to_workers: vec![None],
            from_workers: Vec::new(),
            to_kernel: None,
            from_kernel: None,
            pool: ground.pool.clone(),
            claims,
            mailbox: Arc::new(Mailbox::default()),
            stats: Arc::new(PublishedStats::default()),
            tsc_hz: ground.hz as u64,
            tsc_start: tsc_cycles(),
            sizes,
            idle: Idle::BusyPoll,
            seed: 7,
        })?;
        let mut burst = Burst::default();
        ground
            .pool
            .alloc_burst(&mut burst, BURST)
            .map_err(|_| anyhow::anyhow!("no packet buffers"))?;
        Ok(Self {
            worker,
            burst,
            template: template(),
        })
    }

    /// The worker.
    pub fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// Writes a burst of packets of `flows` as a port would, and passes it through the worker; returns the cycles that the
    /// worker took. Learns public ends from packets that left.
    pub fn pass(
        &mut self,
        direction: u8,
        numbers: &[u32],
        flows: &mut [Flow],
        learn: bool,
    ) -> anyhow::Result<u64> {
        for (mbuf, i) in self.burst.as_mut_slice().iter_mut().zip(numbers) {
            let (inside, inside_port, host, host_port) = ends(*i);
            let flow = flows[*i as usize];
            let frame = if direction == INSIDE {
                fill(&self.template, 0, (inside, inside_port), (host, host_port))
            } else {
                fill(
                    &self.template,
                    1,
                    (host, host_port),
                    (flow.public, flow.public_port),
                )
            };
            mbuf.reset();
            mbuf.copy_from_slice(&frame)?;
        }
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
                tandem_engine::drop_reason::DropReason::ALL
                    .iter()
                    .zip(drops)
                    .filter(|(_, n)| *n > 0)
                    .map(|(r, n)| (r.as_str(), n))
                    .collect::<Vec<_>>()
            }
        );
        if learn {
            for (mbuf, i) in kept.as_slice().iter().zip(numbers) {
                let frame = mbuf.data();
                let public = frame
                    .get(26..30)
                    .and_then(|b| b.try_into().ok())
                    .map_or(0, u32::from_be_bytes);
                let port = frame
                    .get(34..36)
                    .and_then(|b| b.try_into().ok())
                    .map_or(0, u16::from_be_bytes);
                flows[*i as usize] = Flow {
                    public,
                    public_port: port,
                };
            }
        }
        self.burst.append(kept);
        Ok(cycles)
    }
}

/// A UDP packet with everything but addresses, ports and checksums.
fn template() -> [u8; FRAME] {
    let mut frame = [0u8; FRAME];
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&((FRAME - 14) as u16).to_be_bytes());
    frame[22] = 64;
    frame[23] = 17;
    frame[38..40].copy_from_slice(&((FRAME - 34) as u16).to_be_bytes());
    frame
}

fn fill(template: &[u8; FRAME], port: usize, src: (u32, u16), dst: (u32, u16)) -> [u8; FRAME] {
    let mut frame = *template;
    frame[..6].copy_from_slice(&MACS[port]);
    frame[26..30].copy_from_slice(&src.0.to_be_bytes());
    frame[30..34].copy_from_slice(&dst.0.to_be_bytes());
    frame[34..36].copy_from_slice(&src.1.to_be_bytes());
    frame[36..38].copy_from_slice(&dst.1.to_be_bytes());
    let header = tandem_wire::checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&header.to_be_bytes());
    let sum = tandem_wire::checksum::pseudo_v4(src.0, dst.0, 17, (FRAME - 34) as u16).slice(&frame[34..]);
    frame[40..42].copy_from_slice(&sum.finish_udp().to_be_bytes());
    frame
}
