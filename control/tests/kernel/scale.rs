//! Many routes, lost notifications, and (on demand) a full Internet table with its memory.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tandem_control::kernel::{Binding, MirrorSink, Update, Watcher, WatcherConfig};

use crate::lab::{Lab, Namespace};

/// `count` prefixes of /24 from 20.0.0.0 on, spread over ten gateways.
fn routes(verb: &str, count: u32) -> String {
    let mut lines = String::new();
    for n in 0..count {
        let net = 20 * 65_536 + n;
        let (a, b, c) = (net >> 16, net >> 8 & 255, net & 255);
        writeln!(lines, "route {verb} {a}.{b}.{c}.0/24 via 10.0.0.{}", 2 + n % 10).expect("a string");
    }
    lines
}

fn namespace() -> (Namespace, tandem_control::kernel::Tap) {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    namespace.ip("address add 10.0.0.1/16 dev p0");
    (namespace, tap)
}

#[test]
fn ten_thousand_routes_come_and_go() {
    let (namespace, _tap) = namespace();
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(0))]);
    let before = lab.read(|state| state.fib.len());
    lab.namespace.ip_batch("-4", &routes("add", 10_000));
    lab.wait("all", |state| state.fib.len() == before + 10_000);
    lab.expect_in_step();
    lab.namespace.ip_batch("-4", &routes("del", 10_000));
    lab.wait("none", |state| state.fib.len() == before);
    assert_eq!(lab.handle.stats().overruns.load(Ordering::Relaxed), 0);
}

/// A sink that holds the watcher up, so that notifications overrun its small buffer.
struct Slow<S> {
    inner: S,
    gate: std::sync::Arc<std::sync::Mutex<()>>,
}

impl<S: MirrorSink> MirrorSink for Slow<S> {
    fn apply(&mut self, update: Update) {
        drop(self.gate.lock().expect("not poisoned"));
        self.inner.apply(update);
    }

    fn batch_end(&mut self) {
        self.inner.batch_end();
    }
}

#[test]
fn lost_notifications_are_made_good_by_a_new_dump() {
    let (namespace, _tap) = namespace();
    namespace.ip_batch("-4", &routes("add", 1_000));
    let shared = crate::lab::Shared::default();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(()));
    let sink = Slow {
        inner: shared.clone(),
        gate: gate.clone(),
    };
    let config = WatcherConfig {
        bindings: vec![("p0".into(), Binding::Tap(0))],
        buffer_bytes: Some(4096),
        ..WatcherConfig::default()
    };
    let (watcher, handle) = namespace.inside(|| Watcher::open(config, sink)).expect("watcher");
    let thread = std::thread::spawn(move || watcher.run().expect("the watcher ends well"));
    let lab = Lab::adopt(namespace, handle, shared, thread);
    lab.wait("the first dump", |state| {
        state.dumps > 0 && state.fib.len() > 1_000
    });
    let before = lab.read(|state| state.fib.len());
    {
        let _held = gate.lock().expect("not poisoned");
        lab.namespace.ip_batch("-4", &routes("del", 500));
        lab.namespace.ip_batch(
            "-4",
            &routes("add", 2_000)
                .lines()
                .skip(1_000)
                .collect::<Vec<_>>()
                .join("\n"),
        );
    }
    lab.wait("in step again", |state| state.fib.len() == before + 500);
    assert!(
        lab.handle.stats().overruns.load(Ordering::Relaxed) > 0,
        "the test did overrun the buffer"
    );
    lab.expect_in_step();
}

/// Counts, and keeps nothing.
#[derive(Clone, Default)]
struct Count(
    std::sync::Arc<std::sync::atomic::AtomicU64>,
    std::sync::Arc<std::sync::atomic::AtomicBool>,
);

impl MirrorSink for Count {
    fn apply(&mut self, update: Update) {
        match update {
            Update::Fib(_) => {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
            Update::EndOfDump => self.1.store(true, Ordering::Release),
            Update::Neighbour(_) | Update::Link(_) => {}
        }
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number")
}

#[test]
#[ignore = "a million routes: a minute, and kernel memory of some 200 MB; run with --ignored"]
fn a_full_internet_table() {
    let (namespace, _tap) = namespace();
    namespace.ip_batch("-4", &routes("add", 1_000_000));
    let before_kib = resident_kib();
    let sink = Count::default();
    let counted = sink.clone();
    let config = WatcherConfig {
        bindings: vec![("p0".into(), Binding::Tap(0))],
        ..WatcherConfig::default()
    };
    let (watcher, handle) = namespace.inside(|| Watcher::open(config, sink)).expect("watcher");
    let start = Instant::now();
    let thread = std::thread::spawn(move || watcher.run().expect("the watcher ends well"));
    while !counted.1.load(Ordering::Acquire) {
        assert!(start.elapsed() < crate::lab::WAIT_MAX * 4);
        std::thread::yield_now();
    }
    let (seconds, grown_kib) = (start.elapsed().as_secs_f64(), resident_kib() - before_kib);
    assert!(counted.0.load(Ordering::Relaxed) > 1_000_000);
    println!("1,000,000 routes: dump in {seconds:.2} s, {grown_kib} KiB more resident");
    assert!(grown_kib < 128 * 1024, "{grown_kib} KiB");
    let (again, told) = (Instant::now(), counted.0.load(Ordering::Relaxed));
    counted.1.store(false, Ordering::Release);
    handle.resync();
    while !counted.1.load(Ordering::Acquire) {
        assert!(again.elapsed() < crate::lab::WAIT_MAX * 4);
        std::thread::yield_now();
    }
    println!("resynchronised in {:.2} s", again.elapsed().as_secs_f64());
    assert_eq!(
        counted.0.load(Ordering::Relaxed),
        told,
        "nothing changed, nothing told"
    );
    let down = Instant::now();
    namespace.ip("link set p0 down");
    while handle.stats().prefixes_v4.load(Ordering::Relaxed) > 100 {
        assert!(down.elapsed() < crate::lab::WAIT_MAX * 4);
        std::thread::yield_now();
    }
    println!(
        "link down took all along in {:.2} s",
        down.elapsed().as_secs_f64()
    );
    handle.stop();
    thread.join().expect("watcher");
}
