//! The whole dataplane from specification to stop, on virtual ports and with kernel devices made of memory: threads run,
//! frames pass in both directions between kernel and ports, programs reach all workers, questions are answered, and the
//! end comes within a bound. In a process of its own: EAL starts once.

#![forbid(unsafe_code)]

#[path = "../common/program.rs"]
mod program;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tandem_dataplane::command::Command;
use tandem_dataplane::dataplane::{Dataplane, DataplaneSpec, InterfaceSpec, PortSpec, Prepared, StartError};
use tandem_dataplane::mirror::KernelDevice;
use tandem_dataplane::routes::MaxRoutes;
use tandem_dataplane::stats::WorkerCounters;
use tandem_dataplane::worker::Idle;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::Program;
use tandem_engine::view::{Ask, Filter, Query};
use tandem_wire::build::PacketBuilder;
use tandem_wire::ethernet::{self, Mac};

use program::*;

/// How long anything may take before the test fails.
const BOUND: Duration = Duration::from_secs(20);
const WORKERS: usize = 2;
/// More than a CPU set holds.
const NO_CPU: usize = 1 << 20;

/// A kernel device made of two queues.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Queues>>);

#[derive(Default)]
struct Queues {
    to_kernel: Vec<Vec<u8>>,
    from_kernel: VecDeque<Vec<u8>>,
}

impl KernelDevice for Tap {
    fn send(&self, frame: &[u8]) -> io::Result<bool> {
        self.0.lock().expect("no panic").to_kernel.push(frame.to_vec());
        Ok(true)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let frame = self.0.lock().expect("no panic").from_kernel.pop_front();
        Ok(frame.map(|frame| {
            buffer[..frame.len()].copy_from_slice(&frame);
            frame.len()
        }))
    }
}

impl Tap {
    fn write(&self, frame: Vec<u8>) {
        self.0.lock().expect("no panic").from_kernel.push_back(frame);
    }

    fn got(&self, frame: &[u8]) -> bool {
        self.0
            .lock()
            .expect("no panic")
            .to_kernel
            .iter()
            .any(|f| f == frame)
    }
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        std::thread::yield_now();
    }
}

fn spec(program: &Arc<Program>) -> DataplaneSpec {
    let port = |devargs: &str| PortSpec {
        devargs: devargs.into(),
        mtu: 1500,
        mac: None,
        promiscuous: true,
        rx_queues: None,
        rx_descriptors: 512,
        tx_descriptors: 512,
    };
    let interface = |id, name: &str, port, vlan, mac| InterfaceSpec {
        id,
        name: name.into(),
        port,
        other_port: None,
        vlan,
        mtu: 1500,
        mac: Some(mac),
    };
    let args = "--lcores 0@(0,1) --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 768";
    DataplaneSpec {
        eal_args: args.split(' ').map(str::to_owned).collect(),
        mbufs: Some(16384),
        // One has a CPU that no machine has: it runs without.
        workers: vec![None, Some(NO_CPU)],
        shards: None,
        idle: Idle::Adaptive,
        // A port whose other end is itself, and one that receives empty frames without end.
        ports: vec![port("net_ring_start"), port("net_null_flood,size=64")],
        interfaces: vec![
            interface(I_IN, "in", 0, None, mac(0)),
            interface(I_OUT, "out", 0, Some(200), mac(0)),
            interface(I_OTHER, "other", 1, None, mac(1)),
        ],
        sizes: SIZES,
        max_routes: MaxRoutes { ipv4: 256, ipv6: 256 },
        program: Arc::clone(program),
        replica_ring: None,
    }
}

/// A worker's published counter by name.
fn count(dataplane: &Dataplane, worker: usize, name: &str) -> u64 {
    let at = WorkerCounters::NAMES
        .iter()
        .position(|n| *n == name)
        .expect("a counter");
    dataplane.stats[worker].worker()[at]
}

fn count_all(dataplane: &Dataplane, name: &str) -> u64 {
    (0..WORKERS).map(|w| count(dataplane, w, name)).sum()
}

fn ask(dataplane: &Dataplane, worker: usize, number: u64, query: Query) -> Query {
    let mailbox = &dataplane.mailboxes[worker];
    assert!(
        mailbox
            .commands
            .push(Command::Query(number, Box::new(query)))
            .is_ok()
    );
    let mut answer = None;
    until("an answer", || {
        answer = mailbox.answers.pop();
        answer.is_some()
    });
    let (which, query) = answer.expect("an answer");
    assert_eq!(which, number);
    *query
}

fn applied(dataplane: &Dataplane, generation: u32) {
    until("the program at all workers", || {
        dataplane
            .stats
            .iter()
            .all(|s| s.program() == u64::from(generation))
    });
}

#[test]
fn from_a_specification_to_the_end() {
    let program = Arc::new(program());
    let mut prepared = Prepared::new(spec(&program)).expect("a dataplane");
    assert!(
        matches!(Prepared::new(spec(&program)), Err(StartError::Eal(_))),
        "DPDK starts once"
    );
    fill_routes(&mut prepared);
    for interface in &prepared.interfaces.all {
        interface.set_up(true);
    }
    let (tap_in, tap_out) = (Tap::default(), Tap::default());
    let devices: Vec<(u16, Box<dyn KernelDevice>)> = vec![
        (I_IN, Box::new(tap_in.clone())),
        (I_OUT, Box::new(tap_out.clone())),
    ];
    let (dataplane, routes) = prepared.start(devices).expect("threads");

    // They live, and go on living.
    until("a first beat", || {
        dataplane.stats.iter().all(|s| s.heartbeat() != 0)
    });
    let first: Vec<u64> = dataplane.stats.iter().map(|s| s.heartbeat()).collect();
    until("a second beat", || {
        dataplane
            .stats
            .iter()
            .zip(&first)
            .all(|(s, first)| s.heartbeat() > *first)
    });
    assert!((0..WORKERS).all(|w| dataplane.heartbeat_age_ms(w).is_some_and(|age| age < 10_000)));
    assert_eq!(dataplane.heartbeat_age_ms(WORKERS), None);
    assert_eq!(dataplane.workers_alive(), [true; WORKERS]);
    assert!(dataplane.mirror_alive());
    let warnings = dataplane.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with(&format!("worker-1 is not pinned to CPU {NO_CPU}: ")),
        "{warnings:?}"
    );
    assert!(dataplane.take_warnings().is_empty(), "each is given out once");

    frames_pass_between_kernel_and_port(&dataplane, &tap_in, &tap_out);
    a_session_is_made_and_seen(&dataplane, &tap_in);

    // The flood of frames for nobody is received and counted to the last.
    until("a million frames", || {
        count_all(&dataplane, "rx-packets") > 1_000_000
    });

    for generation in 2..=40 {
        let mut next = (*program).clone();
        next.generation = generation;
        dataplane.apply(&Arc::new(next)).expect("room in the mailboxes");
        applied(&dataplane, generation);
    }

    let (pool, stats) = (dataplane.pool.clone(), dataplane.stats.clone());
    let start = Instant::now();
    dataplane.stop();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "stopping took {took:?}");
    drop(routes);
    println!("stopped in {took:?}");
    assert_eq!(pool.in_use(), 0, "every buffer is back");
    books(&stats);
}

fn fill_routes(prepared: &mut Prepared) {
    use tandem_dataplane::routes::Action;
    let mut set = |network, length, interface, gateway| {
        let action = Action::Ways(vec![way(interface, Some(gateway))]);
        prepared
            .routes
            .set(network, length, Arc::new(action))
            .expect("a route");
        prepared
            .routes
            .neighbour(interface, gateway.into(), Some(host_mac(gateway)), false);
    };
    set(0, 0, I_OUT, ROUTER);
    set(ip(10, 0, 0, 0), 8, I_IN, IN1);
    prepared.routes.publish();
}

/// What the kernel writes leaves by the port, comes back on it, and goes to the kernel again: with its tag taken off.
fn frames_pass_between_kernel_and_port(dataplane: &Dataplane, tap_in: &Tap, tap_out: &Tap) {
    let mut arp = vec![0; 14];
    let written = ethernet::write_header(&mut arp, Mac::BROADCAST, Mac(mac(0)), &[], ethernet::ARP);
    assert_eq!(written, Some(14));
    arp.extend([7; 46]);
    for (tap, mark) in [(tap_in, 1), (tap_out, 2)] {
        let mut frame = arp.clone();
        frame[20] = mark;
        tap.write(frame.clone());
        until("a frame from the kernel and back", || tap.got(&frame));
    }
    assert!(
        !tap_in.got(&tap_out.0.lock().expect("no panic").to_kernel[0]),
        "by its tag it is the other's"
    );
    until("the count of what the kernel sent", || {
        count_all(dataplane, "from-kernel") == 2
    });
    until("the count of what it got", || count_all(dataplane, "punted") == 2);
}

/// A packet that the kernel sends as if from a host inside comes back on the inside interface and is translated.
fn a_session_is_made_and_seen(dataplane: &Dataplane, tap_in: &Tap) {
    let packet = PacketBuilder::udp(IN2, 5000, OUT1, 53)
        .data(b"query")
        .ethernet(Mac(mac(0)), Mac(host_mac(IN2)));
    let mut frame = vec![0; packet.len()];
    assert_eq!(packet.write(&mut frame), Some(frame.len()));
    tap_in.write(frame);
    let sessions = |number| -> Vec<_> {
        (0..WORKERS)
            .flat_map(|w| {
                let answer = ask(
                    dataplane,
                    w,
                    number,
                    Query::new(Ask::Sessions, Filter::default(), 0, 16),
                );
                assert!(answer.done && answer.end);
                answer.rows.sessions
            })
            .collect()
    };
    let mut seen = Vec::new();
    until("a session", || {
        seen = sessions(1);
        !seen.is_empty()
    });
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].inside, std::net::IpAddr::V4(IN2.into()));
    assert_eq!((seen[0].inside_port, seen[0].outside_port), (5000, 53));
    let std::net::IpAddr::V4(public) = seen[0].public else {
        panic!("IPv4")
    };
    assert!((POOL..=POOL_LAST).contains(&u32::from(public)));
}

/// Over all workers, everything received has one end.
fn books(stats: &[Arc<tandem_dataplane::stats::PublishedStats>]) {
    let value = |name: &str| -> u64 {
        let at = WorkerCounters::NAMES
            .iter()
            .position(|n| *n == name)
            .expect("a counter");
        stats.iter().map(|s| s.worker()[at]).sum()
    };
    let drops: u64 = stats.iter().flat_map(|s| s.drops()).sum();
    let errors: u64 = stats.iter().flat_map(|s| s.parse_errors()).sum();
    let came = value("rx-packets") + value("from-kernel") + value("icmp-sent");
    assert_eq!(came, value("tx-packets") + value("punted") + drops + errors);
    let not_for_us: u64 = stats
        .iter()
        .map(|s| s.drops()[DropReason::NotForUs as usize])
        .sum();
    println!("{came} came; {errors} parse errors, {not_for_us} not for us");
}
