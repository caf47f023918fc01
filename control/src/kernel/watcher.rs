//! The thread that follows the kernel: subscribe, dump, then keep up; dump again after an overrun.
//!
//! ```text
//!   notifications --+                        +--> MirrorSink
//!   commands -------+--> poll --> Mirror ----+
//!   dumps (own socket) ---^
//! ```
//!
//! A full dump follows: the start, an overrun, a change of bindings, and (a moment later, and not too often) whatever
//! lets the kernel drop routes without telling.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::links::Binding;
use super::message::{
    AF_INET, AF_INET6, AF_UNSPEC, RTM_GETLINK, RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE, decode,
};
use super::mirror::{Aftermath, Mirror};
use super::neighbours::NudState;
use super::resolve::{ResolveLimits, Resolver};
use super::rtnl::Rtnl;
use super::socket::{Drained, KernelError, NotificationSocket, RequestSocket};
use super::types::{InterfaceId, MirrorSink, NeighbourState, Update};

/// Datagrams of notifications read before the sink gets its batch and commands their turn.
const DATAGRAMS_PER_TURN: usize = 256;
/// The interval between verifying dumps grows by at most two to this power.
const UNSURE_DOUBLINGS_MAX: u32 = 6;

/// How the watcher works.
#[derive(Clone, Debug)]
pub struct WatcherConfig {
    /// Device names that matter from the start.
    pub bindings: Vec<(String, Binding)>,
    /// Receive buffer for notifications, octets; `None`: 64 MiB.
    pub buffer_bytes: Option<usize>,
    /// How long after an event that may have removed routes silently the dump follows.
    pub verify_after: Duration,
    /// Least time from the end of a dump to the next one that merely verifies.
    pub verify_interval_min: Duration,
    /// Bounds of resolution.
    pub resolve: ResolveLimits,
}

impl Default for WatcherConfig {
    fn default() -> Self {
        Self {
            bindings: Vec::new(),
            buffer_bytes: None,
            verify_after: Duration::from_millis(200),
            verify_interval_min: Duration::from_secs(5),
            resolve: ResolveLimits::default(),
        }
    }
}

/// Counters of a watcher, readable while it runs.
#[derive(Debug, Default)]
pub struct WatcherStats {
    /// Notifications decoded and followed.
    pub notifications: AtomicU64,
    /// Complete dumps.
    pub dumps: AtomicU64,
    /// Notifications lost to a full socket buffer (times, not messages).
    pub overruns: AtomicU64,
    /// Dumps repeated or retried after a failure.
    pub dump_failures: AtomicU64,
    /// Wishes to resolve that went to the kernel.
    pub resolve_sent: AtomicU64,
    /// Wishes held back by deduplication or rate.
    pub resolve_limited: AtomicU64,
    /// Wishes that the kernel refused, or for an interface without a tap.
    pub resolve_failed: AtomicU64,
    /// IPv4 prefixes known.
    pub prefixes_v4: AtomicU64,
    /// IPv6 prefixes known.
    pub prefixes_v6: AtomicU64,
    /// Neighbours known, on all devices.
    pub neighbours: AtomicU64,
}

enum Command {
    Resolve(InterfaceId, IpAddr),
    Refresh(InterfaceId, IpAddr),
    Bind(String, Option<Binding>),
    Resync,
    Stop,
}

/// Speaks to a running watcher; cheap to clone, callable from any thread but a packet worker (it makes a system call).
#[derive(Clone)]
pub struct WatcherHandle {
    commands: mpsc::Sender<Command>,
    wake: Arc<EventFd>,
    stats: Arc<WatcherStats>,
}

impl WatcherHandle {
    /// Makes the kernel resolve a neighbour on an interface's tap; the outcome comes as a neighbour update.
    pub fn resolve(&self, interface: InterfaceId, address: IpAddr) {
        self.command(Command::Resolve(interface, address));
    }

    /// Says that packets are still sent to this neighbour: if the kernel's entry is stale (or has gone or failed), it
    /// is probed. The kernel does not see the dataplane's packets and would forget the entry else. Call it for every
    /// adjacency in use, some times a minute.
    pub fn refresh(&self, interface: InterfaceId, address: IpAddr) {
        self.command(Command::Refresh(interface, address));
    }

    /// Gives a device name a meaning, or takes it away (`None`), and brings everything up to date.
    pub fn bind(&self, name: &str, binding: Option<Binding>) {
        self.command(Command::Bind(name.to_owned(), binding));
    }

    /// Dumps everything again.
    pub fn resync(&self) {
        self.command(Command::Resync);
    }

    /// Ends [`Watcher::run`].
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    /// The counters.
    pub fn stats(&self) -> &WatcherStats {
        &self.stats
    }

    fn command(&self, command: Command) {
        // A watcher that has ended takes no commands; its owner knows from `run`.
        if self.commands.send(command).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}

/// The watcher, ready to run.
pub struct Watcher<S> {
    config: WatcherConfig,
    sink: S,
    mirror: Mirror,
    notifications: NotificationSocket,
    requests: RequestSocket,
    rtnl: Rtnl,
    resolver: Resolver,
    commands: mpsc::Receiver<Command>,
    wake: Arc<EventFd>,
    stats: Arc<WatcherStats>,
    /// When to dump next.
    dump_at: Option<Instant>,
    dumped_at: Option<Instant>,
    /// Dumps in a row that left a doubt.
    unsure: u32,
    updates: Vec<Update>,
}

impl<S: MirrorSink> Watcher<S> {
    /// Opens the sockets in the calling thread's network namespace and subscribes. Run it on any thread.
    ///
    /// # Errors
    /// When a socket cannot be had.
    pub fn open(config: WatcherConfig, sink: S) -> Result<(Self, WatcherHandle), KernelError> {
        let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(|e| {
            KernelError::Socket {
                operation: "eventfd",
                source: e.into(),
            }
        })?;
        let (sender, commands) = mpsc::channel();
        let (wake, stats) = (Arc::new(eventfd), Arc::new(WatcherStats::default()));
        let handle = WatcherHandle {
            commands: sender,
            wake: Arc::clone(&wake),
            stats: Arc::clone(&stats),
        };
        let watcher = Self {
            notifications: NotificationSocket::open(config.buffer_bytes)?,
            requests: RequestSocket::open()?,
            rtnl: Rtnl::open()?,
            resolver: Resolver::new(config.resolve),
            mirror: Mirror::default(),
            dump_at: Some(Instant::now()),
            dumped_at: None,
            unsure: 0,
            updates: Vec::new(),
            config,
            sink,
            commands,
            wake,
            stats,
        };
        Ok((watcher, handle))
    }

    /// Follows the kernel until told to stop.
    ///
    /// # Errors
    /// When the notification socket fails for good. Dumps that fail are tried again.
    pub fn run(mut self) -> Result<(), KernelError> {
        for (name, binding) in std::mem::take(&mut self.config.bindings) {
            self.mirror.bind(&name, Some(binding), &mut self.updates);
        }
        loop {
            if self.dump_at.is_some_and(|at| at <= Instant::now()) {
                self.dump()?;
            }
            self.wait()?;
            let _ = self.wake.read();
            if !self.obey() {
                return Ok(());
            }
            let drained = self.follow()?;
            self.deliver();
            if drained != Drained::More {
                self.sink.batch_end();
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) -> Result<(), KernelError> {
        let timeout = match self.dump_at {
            None => PollTimeout::NONE,
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [
            PollFd::new(self.notifications.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(KernelError::Socket {
                operation: "poll",
                source: e.into(),
            }),
        }
    }

    /// Takes the commands that wait; `false`: stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Resolve(interface, address)) => self.resolve(interface, address),
                Ok(Command::Refresh(interface, address)) => self.refresh(interface, address),
                Ok(Command::Bind(name, binding)) => {
                    self.mirror.bind(&name, binding, &mut self.updates);
                    self.dump_at = Some(Instant::now());
                }
                Ok(Command::Resync) => self.dump_at = Some(Instant::now()),
                Ok(Command::Stop) => return false,
                // Without handles left there is still a sink to serve.
                Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn resolve(&mut self, interface: InterfaceId, address: IpAddr) {
        let Some(ifindex) = self.mirror.links.tap_of(interface) else {
            self.stats.resolve_failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !self.resolver.admit(interface, address, Instant::now()) {
            self.stats.resolve_limited.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let counter = match self.rtnl.use_neighbour(ifindex, address) {
            Ok(()) => &self.stats.resolve_sent,
            Err(_) => &self.stats.resolve_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn refresh(&mut self, interface: InterfaceId, address: IpAddr) {
        let state = self
            .mirror
            .links
            .tap_of(interface)
            .map(|tap| self.mirror.neighbours.state(tap, address));
        match state {
            Some(Some(NudState::Stale | NudState::Failed | NudState::None) | None) | None => {
                self.resolve(interface, address);
            }
            // Confirmed, or the kernel is at it.
            Some(Some(
                NudState::Reachable
                | NudState::Delay
                | NudState::Probe
                | NudState::Incomplete
                | NudState::Fixed,
            )) => {}
        }
    }

    /// Reads the notifications of one turn.
    fn follow(&mut self) -> Result<Drained, KernelError> {
        let (mirror, updates) = (&mut self.mirror, &mut self.updates);
        let turn = follow(&mut self.notifications, mirror, updates, &self.stats)?;
        if turn.verify {
            self.verify_later();
        }
        if turn.drained == Drained::Overrun {
            self.dump_at = Some(Instant::now());
        }
        Ok(turn.drained)
    }

    /// Arranges a dump soon, but not in a row.
    fn verify_later(&mut self) {
        let now = Instant::now();
        // Under constant change every dump may leave a doubt: go slower each time.
        let interval = self.config.verify_interval_min * (1 << self.unsure.min(UNSURE_DOUBLINGS_MAX));
        let earliest = self.dumped_at.map_or(now, |at| at + interval);
        let at = earliest.max(now + self.config.verify_after);
        self.dump_at = Some(self.dump_at.map_or(at, |sooner| sooner.min(at)));
    }

    fn deliver(&mut self) {
        for update in self.updates.drain(..) {
            if let Update::Neighbour(neighbour) = &update
                && matches!(neighbour.state, NeighbourState::Reachable(_))
            {
                self.resolver.settled(neighbour.interface, neighbour.address);
            }
            self.sink.apply(update);
        }
        let (v4, v6) = self.mirror.routes.len();
        self.stats.prefixes_v4.store(v4 as u64, Ordering::Relaxed);
        self.stats.prefixes_v6.store(v6 as u64, Ordering::Relaxed);
        self.stats
            .neighbours
            .store(self.mirror.neighbours.len() as u64, Ordering::Relaxed);
    }

    /// Dumps everything, and brings the mirror in step. An overrun on the way starts it over; a refusal is tried
    /// again after a while.
    fn dump(&mut self) -> Result<(), KernelError> {
        self.dump_at = None;
        self.mirror.resync_begin();
        match self.dump_tables() {
            Ok(true) => {
                let again = self.mirror.resync_end(&mut self.updates);
                self.dumped_at = Some(Instant::now());
                self.stats.dumps.fetch_add(1, Ordering::Relaxed);
                self.unsure = if again { self.unsure + 1 } else { 0 };
                if again {
                    self.verify_later();
                }
            }
            Ok(false) => {
                self.stats.dump_failures.fetch_add(1, Ordering::Relaxed);
                self.dump_at = Some(Instant::now());
            }
            Err(KernelError::Refused { .. }) => {
                self.stats.dump_failures.fetch_add(1, Ordering::Relaxed);
                self.dump_at = Some(Instant::now() + self.config.verify_after);
            }
            Err(e) => return Err(e),
        }
        self.deliver();
        self.sink.batch_end();
        Ok(())
    }

    /// The tables in order of dependence; `false`: given up for an overrun.
    fn dump_tables(&mut self) -> Result<bool, KernelError> {
        if !self.dump_table(RTM_GETLINK, &[0; 16])? {
            return Ok(false);
        }
        self.mirror.links_complete(&mut self.updates);
        if !self.dump_table(RTM_GETNEXTHOP, &[AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0])? {
            return Ok(false);
        }
        self.mirror.nexthops_complete(&mut self.updates);
        for family in [AF_INET, AF_INET6] {
            let mut route = [0u8; 12];
            route[0] = family;
            let mut neighbour = [0u8; 12];
            neighbour[0] = family;
            if !self.dump_table(RTM_GETROUTE, &route)? || !self.dump_table(RTM_GETNEIGH, &neighbour)? {
                return Ok(false);
            }
        }
        // Notifications older than the dump belong before its end.
        loop {
            match self.follow()? {
                Drained::Empty => return Ok(true),
                Drained::Overrun => return Ok(false),
                Drained::More => self.deliver(),
            }
        }
    }

    fn dump_table(&mut self, kind: u16, fixed: &[u8]) -> Result<bool, KernelError> {
        // Both callbacks need the mirror, one at a time.
        let shared = std::cell::RefCell::new((&mut self.mirror, &mut self.updates));
        let (notifications, sink, stats) = (&mut self.notifications, &mut self.sink, &self.stats);
        let mut verify = false;
        let complete = self.requests.dump(
            kind,
            fixed,
            |message| {
                if let Some(event) = decode(message) {
                    let (mirror, updates) = &mut *shared.borrow_mut();
                    mirror.dumped(event, updates);
                }
            },
            || {
                let (mirror, updates) = &mut *shared.borrow_mut();
                let turn = follow(notifications, mirror, updates, stats)?;
                verify |= turn.verify;
                updates.drain(..).for_each(|update| sink.apply(update));
                Ok(turn.drained != Drained::Overrun)
            },
        )?;
        if verify {
            self.verify_later();
        }
        Ok(complete)
    }
}

/// One turn of reading notifications.
struct Turn {
    drained: Drained,
    verify: bool,
}

fn follow(
    socket: &mut NotificationSocket,
    mirror: &mut Mirror,
    updates: &mut Vec<Update>,
    stats: &WatcherStats,
) -> Result<Turn, KernelError> {
    let mut verify = false;
    let drained = socket.drain(DATAGRAMS_PER_TURN, |message| {
        if let Some(event) = decode(message) {
            stats.notifications.fetch_add(1, Ordering::Relaxed);
            verify |= mirror.notified(event, updates) == Aftermath::VerifyRoutes;
        }
    })?;
    if drained == Drained::Overrun {
        stats.overruns.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Turn { drained, verify })
}
