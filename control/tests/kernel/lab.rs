//! A network namespace of the test's own, with taps, a running watcher, and the state its updates add up to.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use tandem_control::kernel::{
    Binding, FibUpdate, LinkUpdate, MirrorSink, NeighbourState, NextHop, Prefix, RouteAction, Tap, TapConfig,
    Update, Watcher, WatcherConfig, WatcherHandle,
};

/// Bound of every wait; only a failing test waits that long.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// A named network namespace, removed with everything in it when dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tk{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        // A kernel whose link-local address is tentative still (RFC 4862 section 5.4) asks for no neighbour: its three
        // solicitations can all fall into that time.
        let quiet = "net.ipv6.conf.default.accept_dad=0";
        run("ip", &["netns", "exec", &namespace.name, "sysctl", "-qw", quiet]);
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, arguments: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        run("ip", &all);
    }

    /// Runs a batch of `ip` commands in the namespace.
    pub fn ip_batch(&self, family: &str, lines: &str) {
        let mut child = Command::new("ip")
            .args([family, "-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("ip starts");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(lines.as_bytes())
            .expect("ip reads");
        assert!(child.wait().expect("ip ends").success());
    }

    /// Runs a closure on a thread of its own inside the namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("namespace file");
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&file, CloneFlags::CLONE_NEWNET).expect("setns (root?)");
                    work()
                })
                .join()
                .expect("the thread in the namespace")
        })
    }

    pub fn tap(&self, name: &str, last: u8) -> Tap {
        let config = TapConfig {
            name: name.into(),
            mac: [2, 0, 0, 0, 0, last],
            mtu: 1500,
        };
        self.inside(|| Tap::create(&config)).expect("tap")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Taps and veths go with it, once no thread is inside any more.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

/// What the updates add up to.
#[derive(Default)]
pub struct State {
    pub fib: HashMap<Prefix, RouteAction>,
    pub neighbours: HashMap<(u16, IpAddr), NeighbourState>,
    pub links: HashMap<String, LinkUpdate>,
    pub dumps: u32,
    pub updates: u64,
    /// A prefix whose removals are counted, to show that something did not flap.
    pub withdrawals: HashMap<Prefix, u32>,
}

#[derive(Clone, Default)]
pub struct Shared(Arc<(Mutex<State>, Condvar)>);

impl MirrorSink for Shared {
    fn apply(&mut self, update: Update) {
        let mut state = self.0.0.lock().expect("not poisoned");
        state.updates += 1;
        match update {
            Update::Fib(FibUpdate::Route4 {
                prefix: (net, len),
                action,
            }) => {
                state.fib.insert(Prefix::V4(net, len), (*action).clone());
            }
            Update::Fib(FibUpdate::Route6 {
                prefix: (net, len),
                action,
            }) => {
                state.fib.insert(Prefix::V6(net, len), (*action).clone());
            }
            Update::Fib(FibUpdate::Route4Gone { prefix: (net, len) }) => state.withdraw(Prefix::V4(net, len)),
            Update::Fib(FibUpdate::Route6Gone { prefix: (net, len) }) => state.withdraw(Prefix::V6(net, len)),
            Update::Neighbour(neighbour) => {
                state
                    .neighbours
                    .insert((neighbour.interface, neighbour.address), neighbour.state);
            }
            Update::Link(link) => {
                state.links.insert(link.name.clone(), link);
            }
            Update::EndOfDump => state.dumps += 1,
        }
    }

    fn batch_end(&mut self) {
        self.0.1.notify_all();
    }
}

impl State {
    fn withdraw(&mut self, prefix: Prefix) {
        assert!(
            self.fib.remove(&prefix).is_some(),
            "a withdrawal of what was there: {prefix:?}"
        );
        *self.withdrawals.entry(prefix).or_default() += 1;
    }
}

/// A watcher at work on a namespace.
pub struct Lab {
    pub handle: WatcherHandle,
    pub state: Shared,
    thread: Option<JoinHandle<()>>,
    // Last: the watcher's sockets must be closed when the namespace goes.
    pub namespace: Namespace,
}

impl Lab {
    /// Starts following the namespace; returns after the first dump.
    pub fn new(namespace: Namespace, bindings: &[(&str, Binding)]) -> Self {
        Self::with(namespace, bindings, WatcherConfig::default())
    }

    pub fn with(namespace: Namespace, bindings: &[(&str, Binding)], config: WatcherConfig) -> Self {
        let bindings = bindings
            .iter()
            .map(|(name, binding)| ((*name).to_owned(), *binding))
            .collect();
        let config = WatcherConfig { bindings, ..config };
        let state = Shared::default();
        let sink = state.clone();
        let (watcher, handle) = namespace.inside(|| Watcher::open(config, sink)).expect("watcher");
        let thread = std::thread::spawn(move || watcher.run().expect("the watcher ends well"));
        let lab = Self::adopt(namespace, handle, state, thread);
        lab.wait("the first dump", |state| state.dumps > 0);
        lab
    }

    /// Takes charge of a watcher that runs already.
    pub fn adopt(namespace: Namespace, handle: WatcherHandle, state: Shared, thread: JoinHandle<()>) -> Self {
        Self {
            handle,
            state,
            thread: Some(thread),
            namespace,
        }
    }

    pub fn ip(&self, arguments: &str) {
        self.namespace.ip(arguments);
    }

    /// Waits until the state is as wanted.
    pub fn wait(&self, what: &str, wanted: impl Fn(&State) -> bool) {
        let (state, changed) = &*self.state.0;
        let deadline = Instant::now() + WAIT_MAX;
        let mut guard = state.lock().expect("not poisoned");
        while !wanted(&guard) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for {what}; fib {:?}",
                first_few(&guard)
            );
            guard = changed.wait_timeout(guard, left).expect("not poisoned").0;
        }
    }

    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.0.0.lock().expect("not poisoned"))
    }

    /// Waits until a prefix has an action, or none.
    pub fn expect(&self, prefix: &str, action: Option<RouteAction>) {
        let key = prefix_of(prefix);
        self.wait(&format!("{prefix} {action:?}"), |state| {
            state.fib.get(&key) == action.as_ref()
        });
    }

    /// A dump from scratch finds the same FIB: nothing was missed, nothing is left over.
    pub fn expect_in_step(&self) {
        let dumps = self.read(|state| state.dumps);
        self.handle.resync();
        self.wait("a dump", |state| state.dumps > dumps);
        let here = self.read(|state| state.fib.clone());
        let fresh = Shared::default();
        let sink = fresh.clone();
        let bindings = self.read(|state| {
            let binding = |link: &LinkUpdate| link.interface.map_or(Binding::Watched, Binding::Tap);
            state
                .links
                .iter()
                .map(|(name, link)| (name.clone(), binding(link)))
                .collect()
        });
        let config = WatcherConfig {
            bindings,
            ..WatcherConfig::default()
        };
        let (watcher, handle) = self
            .namespace
            .inside(|| Watcher::open(config, sink))
            .expect("watcher");
        let thread = std::thread::spawn(move || watcher.run().expect("the watcher ends well"));
        let deadline = Instant::now() + WAIT_MAX;
        let (state, changed) = &*fresh.0;
        let mut guard = state.lock().expect("not poisoned");
        while guard.dumps == 0 {
            assert!(Instant::now() < deadline, "a second watcher dumps");
            guard = changed.wait_timeout(guard, WAIT_MAX).expect("not poisoned").0;
        }
        assert_eq!(guard.fib, here);
        drop(guard);
        handle.stop();
        thread.join().expect("watcher");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn first_few(state: &State) -> Vec<(&Prefix, &RouteAction)> {
    state.fib.iter().take(40).collect()
}

pub fn prefix_of(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("a prefix");
    let length = length.parse().expect("a length");
    match address.parse().expect("an address") {
        IpAddr::V4(address) => Prefix::V4(Ipv4Addr::to_bits(address), length),
        IpAddr::V6(address) => Prefix::V6(Ipv6Addr::to_bits(address), length),
    }
}

/// "0 10.0.0.1 1": interface, gateway or "-", weight; several separated by commas.
pub fn hops(text: &str) -> Option<RouteAction> {
    let hop = |part: &str| {
        let words: Vec<&str> = part.split_whitespace().collect();
        NextHop {
            interface: words[0].parse().expect("an interface"),
            gateway: (words[1] != "-").then(|| words[1].parse().expect("a gateway")),
            weight: words[2].parse().expect("a weight"),
        }
    };
    Some(RouteAction::NextHops(text.split(',').map(hop).collect()))
}

/// Waits for a frame that the kernel sends out of a tap and that the test wants.
pub fn frame(tap: &Tap, what: &str, mut wanted: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    use std::os::fd::AsFd;
    let deadline = Instant::now() + WAIT_MAX;
    let mut buffer = vec![0; 2048];
    loop {
        while let Some(length) = tap.recv(&mut buffer).expect("tap receives") {
            if wanted(&buffer[..length]) {
                return buffer[..length].to_vec();
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited in vain for {what}");
        let mut fds = [nix::poll::PollFd::new(tap.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::try_from(left).expect("short")).expect("poll");
    }
}
