//! The rig: one or several workers, driven by hand in one thread under a clock of the test's, and the books: every packet
//! that goes in comes out, is dropped for a counted reason, or is still held; and every buffer comes back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rte_bindings::{Eal, Mbuf, Mempool, PoolConfig, RingConsumer, RingProducer, RxQueue, Single, spsc_ring};
use tandem_dataplane::command::{Event, Mailbox};
use tandem_dataplane::dataplane::commit;
use tandem_dataplane::interfaces::Interfaces;
use tandem_dataplane::routes::{MaxRoutes, RouteWriter};
use tandem_dataplane::stats::{PublishedStats, WorkerCounters};
use tandem_dataplane::worker::{Burst, Idle, NOTE_IN, PacketNote, TxPath, Worker, WorkerParts};
use tandem_engine::address;
use tandem_engine::claims::Claims;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::program::Program;
use tandem_engine::replica::{Op, Role};
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::PolicyEvent;
use tandem_wire::error::ParseError;

use crate::{plan, plan6};

/// Frames in one burst of the tests: what they become never exceeds what a kept burst takes.
const FEED: usize = 16;
/// Turns after which workers must have nothing left to do.
const TURNS_MAX: usize = 10_000;

/// DPDK, started once.
pub fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let args = "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 512";
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        Eal::init(&args).expect("DPDK starts")
    })
}

/// A name nothing else in DPDK has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A frame that left by a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub port: u8,
    pub frame: Vec<u8>,
}

/// A frame that went to the kernel mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punted {
    pub interface: u16,
    pub frame: Vec<u8>,
}

/// What a rig is made with.
pub struct Options {
    pub workers: u8,
    pub shards_each: u8,
    pub program: Program,
    pub seed: u64,
    /// The other chassis is primary of service set 1.
    pub is_standby: bool,
    /// The interfaces outside and on VLANs have two ports.
    pub redundant: bool,
    /// Real ports of worker 0, by position; the others keep their packets.
    pub rx: Vec<(u8, RxQueue)>,
    pub tx: Vec<(u8, TxPath)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            shards_each: 1,
            program: plan::program(),
            seed: 1,
            is_standby: false,
            redundant: false,
            rx: Vec::new(),
            tx: Vec::new(),
        }
    }
}

/// Packets by the way they went, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Books {
    came: u64,
    went: u64,
}

pub struct Rig {
    pub workers: Vec<Worker>,
    pub routes: RouteWriter,
    pub interfaces: Arc<Interfaces>,
    pub mailboxes: Vec<Arc<Mailbox>>,
    pub stats: Vec<Arc<PublishedStats>>,
    pub pool: Mempool,
    pub sent: Vec<Sent>,
    pub punted: Vec<Punted>,
    /// Interfaces and addresses, IPv4 in `::ffff:0:0/96`.
    pub asked: Vec<(u16, u128)>,
    pub policy_events: Vec<PolicyEvent>,
    /// Nobody reads what workers tell.
    pub leave_mailboxes: bool,
    from_workers: Vec<RingConsumer<Single>>,
    to_worker: RingProducer<Single>,
    kept: u64,
    kernel_frames: u64,
    pub in_use_before: u32,
    now: Ticks,
    burst: Box<Burst>,
    // Last, so that all else is gone before the next test begins.
    _turn: MutexGuard<'static, ()>,
}

/// The right to make ports and rigs: tests take turns.
pub fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pool like the dataplane's, one for all tests. It has no cache: buffers in use are counted exactly.
pub fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    let make = || {
        let config = PoolConfig {
            name: "tests".into(),
            count: 4095,
            cache: 0,
            priv_size: size_of::<PacketNote>().next_multiple_of(8) as u16,
            data_room: 2176,
            socket: None,
        };
        Mempool::create(eal(), &config).expect("a pool")
    };
    POOL.get_or_init(make).clone()
}

impl Rig {
    /// One worker, no ports.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let turn = take_turn();
        Self::on(turn, options)
    }

    /// With the turn already taken, for ports that had to be made before.
    pub fn on(turn: MutexGuard<'static, ()>, mut options: Options) -> Self {
        let pool = pool();
        let in_use_before = pool.in_use();
        let interfaces = Arc::new(plan::interfaces(options.redundant));
        let mut routes = RouteWriter::new(eal(), MaxRoutes { ipv4: 256, ipv6: 256 }, plan::mtus(&interfaces))
            .expect("a FIB");
        plan::fill(&mut routes);
        plan6::fill(&mut routes);
        plan6::set_addresses(&interfaces);
        let program = Arc::new(options.program);
        let claims = Arc::new(Claims::default());
        let count = usize::from(options.workers);
        let mut mailboxes = Vec::new();
        let mut stats = Vec::new();
        let mut from_workers = Vec::new();
        let mut parts = Vec::new();
        let split =
            Split::new(options.workers, options.workers * options.shards_each).expect("an even split");
        for id in 0..options.workers {
            let (to_kernel, consumer) = spsc_ring(eal(), &unique("punt"), 256, None).expect("a ring");
            from_workers.push(consumer);
            mailboxes.push(Arc::new(Mailbox::default()));
            stats.push(Arc::new(PublishedStats::default()));
            let config = EngineConfig {
                worker: id,
                split,
                sizes: plan::SIZES,
                max_extents: 1024,
                seed: options.seed + u64::from(id),
                claims: Arc::clone(&claims),
            };
            let mut tx: Vec<TxPath> = (0..plan::PORTS).map(|_| TxPath::Keep).collect();
            let mut rx = Vec::new();
            if id == 0 {
                rx = std::mem::take(&mut options.rx);
                for (port, path) in options.tx.drain(..) {
                    tx[usize::from(port)] = path;
                }
            }
            let mut engine = Engine::new(config, Arc::clone(&program)).expect("an engine");
            let (mut to_engine, inbox) = rtrb::RingBuffer::new(1);
            if options.is_standby {
                engine.connect(rtrb::RingBuffer::new(64).0);
                let role = Op::Role {
                    service_set: 1,
                    role: Role::Standby,
                    epoch: 1,
                };
                to_engine.push(role).expect("room");
            }
            parts.push(WorkerParts {
                id,
                split,
                engine,
                commit: commit(&program),
                router: routes.reader(),
                interfaces: Arc::clone(&interfaces),
                rx,
                tx,
                to_workers: (0..count).map(|_| None).collect(),
                from_workers: Vec::new(),
                to_kernel: Some(to_kernel),
                from_kernel: None,
                inbox: options.is_standby.then_some(inbox),
                pool: pool.clone(),
                claims: Arc::clone(&claims),
                mailbox: Arc::clone(&mailboxes[usize::from(id)]),
                stats: Arc::clone(&stats[usize::from(id)]),
                tsc_hz: 1_000_000_000,
                tsc_start: 0,
                sizes: plan::SIZES,
                idle: Idle::BusyPoll,
                seed: options.seed + 100 + u64::from(id),
            });
        }
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                let (producer, consumer) = spsc_ring(eal(), &unique("over"), 256, None).expect("a ring");
                parts[from].to_workers[to] = Some(producer);
                parts[to].from_workers.push(consumer);
            }
        }
        let (to_worker, from_kernel) = spsc_ring(eal(), &unique("kernel"), 256, None).expect("a ring");
        parts[0].from_kernel = Some(from_kernel);
        let workers = parts
            .into_iter()
            .map(|p| Worker::new(p).expect("a worker"))
            .collect();
        let mut rig = Self {
            workers,
            routes,
            interfaces,
            mailboxes,
            stats,
            pool,
            sent: Vec::new(),
            punted: Vec::new(),
            asked: Vec::new(),
            policy_events: Vec::new(),
            leave_mailboxes: false,
            from_workers,
            to_worker,
            kept: 0,
            kernel_frames: 0,
            in_use_before,
            now: Ticks::ZERO,
            burst: Box::default(),
            _turn: turn,
        };
        rig.wait(10);
        rig
    }

    // ---- packets in ---------------------------------------------------------------------------------------------

    /// A buffer with a frame in it.
    pub fn mbuf(&self, frame: &[u8]) -> Mbuf {
        let mut mbuf = self.pool.alloc().expect("a buffer");
        mbuf.copy_from_slice(frame).expect("room for the frame");
        mbuf
    }

    /// A frame in buffers of at most `piece` octets each.
    pub fn chained(&self, frame: &[u8], piece: usize) -> Mbuf {
        let mut pieces = frame.chunks(piece);
        let mut head = self.mbuf(pieces.next().expect("a frame"));
        for piece in pieces {
            assert!(head.chain(self.mbuf(piece)).is_ok(), "room in the chain");
        }
        head
    }

    /// Frames received on a port by worker 0, and all that follows from them.
    pub fn feed<F: AsRef<[u8]>>(&mut self, port: u8, frames: &[F]) {
        self.feed_at(0, port, frames);
    }

    /// The same by some worker.
    pub fn feed_at<F: AsRef<[u8]>>(&mut self, worker: usize, port: u8, frames: &[F]) {
        for part in frames.chunks(FEED) {
            let mbufs: Vec<Mbuf> = part.iter().map(|f| self.mbuf(f.as_ref())).collect();
            self.feed_mbufs(worker, port, mbufs);
        }
    }

    /// Buffers received on a port, at most a burst.
    pub fn feed_mbufs(&mut self, worker: usize, port: u8, mbufs: Vec<Mbuf>) {
        let mut burst = Box::<Burst>::default();
        for mbuf in mbufs {
            burst.push(mbuf).expect("at most a burst");
        }
        self.workers[worker].process_burst(port, &mut burst);
        assert!(burst.is_empty(), "the worker takes the whole burst");
        self.collect();
        self.settle();
    }

    /// One frame in; what left by ports since then.
    pub fn pass(&mut self, port: u8, frame: &[u8]) -> Vec<Sent> {
        self.sent.clear();
        self.feed(port, &[frame]);
        std::mem::take(&mut self.sent)
    }

    /// One frame in, exactly one out by `out`.
    #[track_caller]
    pub fn pass_one(&mut self, port: u8, frame: &[u8], out: u8) -> Vec<u8> {
        let (drops, punted) = (self.drops(), self.punted.len());
        let mut sent = self.pass(port, frame);
        let ends = (
            self.drops(),
            self.punted.len() - punted,
            self.workers[0].in_hand(),
        );
        assert_eq!(
            sent.len(),
            1,
            "one frame leaves; drops before {drops:?}; drops, punted, held {ends:?}"
        );
        assert_eq!(sent[0].port, out);
        sent.remove(0).frame
    }

    /// A frame the kernel wrote to the mirror of an interface.
    pub fn kernel_writes(&mut self, interface: u16, frame: &[u8]) {
        let mut mbuf = self.mbuf(frame);
        *mbuf.priv_mut::<PacketNote>().expect("a private area") = PacketNote {
            interface,
            kind: NOTE_IN,
            ..PacketNote::default()
        };
        let mut burst = Box::<Burst>::default();
        burst.push(mbuf).expect("room");
        assert_eq!(self.to_worker.enqueue_burst(&mut burst), 1);
        self.kernel_frames += 1;
        self.settle();
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    /// Time passes, in ticks of 100 ms; then the workers turn until nothing happens.
    pub fn wait(&mut self, ticks: u32) {
        self.now = self.now.plus(Ticks(ticks));
        for worker in &mut self.workers {
            worker.set_now(self.now);
        }
        self.settle();
    }

    /// Turns all workers until none of them has anything to do.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if !self.turn_once() {
                return;
            }
        }
        panic!("the workers never come to rest");
    }

    /// One turn of every worker; whether anything moved.
    pub fn turn_once(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.workers.len() {
            let before = self.workers[at].in_hand();
            moved |= self.workers[at].turn(&mut self.burst);
            moved |= self.workers[at].in_hand() != before;
            assert!(self.burst.is_empty());
            moved |= self.collect();
        }
        moved
    }

    /// Takes what was kept, punted and asked; whether there was anything.
    pub fn collect(&mut self) -> bool {
        let before = (self.sent.len(), self.punted.len(), self.asked.len());
        for worker in &mut self.workers {
            for port in 0..plan::PORTS {
                let Some(kept) = worker.kept(port) else { continue };
                for mbuf in kept.drain() {
                    self.kept += 1;
                    self.sent.push(Sent {
                        port,
                        frame: bytes(&mbuf),
                    });
                }
            }
        }
        for ring in &mut self.from_workers {
            while ring.dequeue_burst(&mut self.burst) > 0 {
                for mbuf in self.burst.drain() {
                    let note = mbuf.priv_ref::<PacketNote>().copied().expect("a private area");
                    assert_eq!(note.kind, NOTE_IN);
                    self.punted.push(Punted {
                        interface: note.interface,
                        frame: bytes(&mbuf),
                    });
                }
            }
        }
        for mailbox in self.mailboxes.iter().filter(|_| !self.leave_mailboxes) {
            while let Some(event) = mailbox.events.pop() {
                match event {
                    Event::Resolve(interface, address) => {
                        self.asked.push((interface, address::from_ip(address)))
                    }
                    Event::Policy(event) => self.policy_events.push(event),
                    Event::Block(_) => {}
                }
            }
        }
        before != (self.sent.len(), self.punted.len(), self.asked.len())
    }

    // ---- the books ----------------------------------------------------------------------------------------------

    /// Drops by name, those there were.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        DropReason::ALL
            .iter()
            .map(|r| (r.as_str(), self.dropped(*r)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// Drops for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|w| w.drops().0[reason as usize]).sum()
    }

    /// Parse errors of one kind.
    pub fn parse_errors(&self, error: ParseError) -> u64 {
        self.workers.iter().map(|w| w.parse_errors()[error.index()]).sum()
    }

    /// A counter over all workers.
    pub fn count(&self, counter: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.workers.iter().map(|w| counter(w.counters())).sum()
    }

    fn books(&self) -> Books {
        let held: usize = self.workers.iter().map(Worker::in_hand).sum();
        let drops: u64 = self.workers.iter().flat_map(|w| w.drops().0).sum();
        let errors: u64 = self.workers.iter().flat_map(|w| w.parse_errors()).sum();
        // Packets of our own come, too: errors, and more pieces than there were packets.
        let own =
            self.count(|c| c.icmp_sent + c.resets_sent + c.fragments_made) - self.count(|c| c.fragmented);
        Books {
            came: self.count(|c| c.rx_packets) + self.kernel_frames + own,
            went: self.kept + self.count(|c| c.tx_packets + c.punted) + drops + errors + held as u64,
        }
    }

    /// Nothing was lost so far.
    pub fn check_books(&self) {
        let books = self.books();
        assert_eq!(books.came, books.went, "drops: {:?}", self.drops());
        assert_eq!(
            self.count(|c| c.handed_over),
            self.count(|c| c.taken_over),
            "what is handed over arrives"
        );
    }

    /// Stops the workers: the books are right, nothing is held any more, and every buffer is back.
    pub fn finish(mut self) {
        self.settle();
        self.check_books();
        self.stop();
        assert_eq!(self.pool.in_use(), self.in_use_before, "buffers leaked");
    }

    /// Stops the workers and checks the books, with everything still there to look at.
    pub fn stop(&mut self) {
        for worker in &mut self.workers {
            worker.shut_down();
            assert_eq!(worker.in_hand(), 0);
        }
        self.collect();
        let books = self.books();
        assert_eq!(books.came, books.went, "drops: {:?}", self.drops());
    }
}

/// All octets of a frame.
pub fn bytes(mbuf: &Mbuf) -> Vec<u8> {
    let mut all = vec![0; mbuf.pkt_len() as usize];
    assert_eq!(mbuf.copy_to_slice(&mut all), all.len());
    all
}
