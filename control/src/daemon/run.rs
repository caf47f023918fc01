//! Start, life and stop, in order.
//!
//! ```text
//!   guard, signals, stale signal routes, program, DPDK and ports, taps, watcher, workers, threads, API, addresses ... ready
//!   virtual addresses and signal routes, API, workers, threads, ports, taps, DPDK, guard .. gone
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rte_bindings::{Eal, PoolError, current_affinity, hugepages_free};
use tandem_dataplane::classifier::AclBuilder;
use tandem_dataplane::dataplane::{Dataplane, Prepared, StartError};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use tracing_appender::non_blocking::ErrorCounter;

use super::actions::Actions;
use super::backend::{Api, Daemon, Lives};
use super::classifiers::{ClassifierError, equip};
use super::clock::Clock;
use super::events::{Events, Heartbeat, PolicyLines, WorkerWatch};
use super::hangups::Hangups;
use super::life::{self, Life};
use super::monitors::{self, Counts, Monitors};
use super::pair::Answers;
use super::ports::{InterfaceRecord, Monitor, Ports};
use super::probes::{self, Probes};
use super::questions::Questions;
use super::redundant::{RedundantInterfaces, port_links};
use super::replication::{self, Replication, Replicator, SetupError};
use super::running::{Reach, Running, compile_first};
use super::sink::{Routing, Sink};
use super::spec::{self, Memory};
use super::statics::{StateError, StateFile};
use super::taps::Taps;
use super::watches::Watches;
use crate::api::{Listener, ServeError, Server, SharedToken};
use crate::config::{CompileError, Config, NameRegistry, Redundancy};
use crate::guard::{Keeper, end_as_killed};
use crate::kernel::{Binding, KernelError, Rtnl, SignalRouteError, TapError, Watcher, WatcherConfig};
use crate::monitor::{Consequences, ProbeSockets, Tracker};

/// The stop is over after this long, whatever hangs.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Why the daemon does not run (any more).
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The classifiers of the firewall policies could not be built.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// The configuration cannot become a program.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The static mappings of run time cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nor a dataplane.
    #[error(transparent)]
    Spec(#[from] spec::SpecError),
    /// The dataplane did not start.
    #[error("{0}{hint}", hint = hint(.0))]
    Dataplane(#[from] StartError),
    /// A tap could not be made.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// A port's kernel device is not there, or the kernel cannot be spoken to.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Signal routes of an earlier process cannot be removed.
    #[error(transparent)]
    SignalRoutes(#[from] SignalRouteError),
    /// The replication cannot be set up.
    #[error(transparent)]
    Replication(#[from] SetupError),
    /// The API does not listen.
    #[error(transparent)]
    Api(#[from] ServeError),
    /// A thread ended that nobody had told to.
    #[error("the thread \"{0}\" ended unasked, and what it does is not done any more")]
    Thread(String),
    /// The system refused something.
    #[error("{0}: {1}")]
    System(&'static str, #[source] std::io::Error),
}

/// What the operator can do about it, in the words of the configuration.
fn hint(error: &StartError) -> String {
    match error {
        StartError::Pool(PoolError::Create { count, .. }) => format!(
            "; {} packet buffers are wanted: raise dpdk.memory-mb (or reserve more hugepages), or set dpdk.mbufs to fewer",
            count.saturating_add(1)
        ),
        _ => String::new(),
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> RunError {
    move |error| RunError::System(what, error)
}

/// The signals that mean something.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one that ends the daemon, and reloads for each that asks for it. A thread that dies ends it too. None of these
    /// waits for a reload.
    async fn serve(&mut self, daemon: &Arc<Daemon>) -> Result<(), RunError> {
        let reloaded = Arc::clone(daemon);
        let mut hangups = Hangups::new(move || reloaded.running.reload(&*reloaded, Reach::default()));
        let mut death = std::pin::pin!(life::first_dead(|| daemon.dead_thread()));
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {
                    info!("SIGTERM: stopping");
                    return Ok(());
                }
                _ = self.interrupt.recv() => {
                    info!("SIGINT: stopping");
                    return Ok(());
                }
                thread = &mut death => {
                    error!(thread, "a thread ended unasked: stopping");
                    return Err(RunError::Thread(thread));
                }
                _ = self.hangup.recv() => hangups.came(),
                () = hangups.ended() => {}
            }
        }
    }
}

/// The threads of the control side, and how they end.
struct Threads {
    stop: Arc<AtomicBool>,
    watcher: crate::kernel::WatcherHandle,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn spawn(
        &mut self,
        name: &str,
        life: &Life,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), RunError> {
        let breath = life.breath();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let _breath = breath;
            work();
        });
        self.handles
            .push(thread.map_err(system("cannot start a thread"))?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.watcher.stop();
        for thread in self.handles.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the daemon had panicked");
            }
        }
    }
}

/// Runs the daemon until a signal, or the end of one of its threads, ends it.
pub(super) fn run(
    file: PathBuf,
    state_directory: Option<&Path>,
    config: Config,
    guard: Option<&Arc<Keeper>>,
    log_lost: ErrorCounter,
) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("api")
        .enable_all()
        .build()
        .map_err(system("cannot start the runtime"))?;
    // From here on a signal that comes early is not lost and not deadly.
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(system("cannot wait for signals"))?
    };
    let listener = Listener::new(config.api.listen, config.api.token_file.as_deref())?;
    let state = StateFile::new(state_directory);
    let actions = Actions::start(guard, &config)?;
    let token = listener.token.clone();
    let handle = runtime.handle();
    let (daemon, threads, eal) = start(file, state, config, token, actions, log_lost, handle)?;
    let result = serve(&runtime, &daemon, listener, signals);
    stop(runtime, daemon, threads, eal);
    result
}

/// Everything but the API.
fn start(
    file: PathBuf,
    state: StateFile,
    config: Config,
    token: SharedToken,
    actions: Actions,
    log_lost: ErrorCounter,
    runtime: &Handle,
) -> Result<(Arc<Daemon>, Threads, Eal), RunError> {
    let mut registry = NameRegistry::new();
    let kept = state.read()?;
    let (plain, restored) = compile_first(&config, &mut registry, state, kept)?;
    let channel = replication::channel(&config)?;
    let mut rtnl = Rtnl::open()?;
    let mut prepared = prepare(&config, &Arc::new(plain.clone()), &mut rtnl)?;
    let classifiers = AclBuilder::new(&prepared.eal);
    let program = equip(&plain, &classifiers)?;
    prepared.set_program(&program);
    let rings = std::mem::take(&mut prepared.replica);
    let workers = (rings, Arc::clone(&prepared.interfaces));
    let replicator = match channel {
        Some(channel) => Replicator::new(channel, &config, &program, &registry, workers, actions.orders())?,
        None => None,
    };
    let carriers = actions.carriers();
    let (eal, interfaces) = (prepared.eal.clone(), Arc::clone(&prepared.interfaces));
    let lives = Lives::default();
    let (taps, devices) = Taps::create(&config, &interfaces, &lives.mirror)?;
    let records: Arc<Vec<InterfaceRecord>> = Arc::new(records(&config, &interfaces, &taps));
    let (mut dataplane, writer) = prepared.start(devices)?;
    let routing = Arc::new(Routing::new(writer));
    let (link_sender, links) = mpsc::channel();
    let sink = Sink::new(Arc::clone(&routing), link_sender);
    let (watcher, handle) = Watcher::open(watcher_config(&interfaces, &records), sink)?;

    let ports = Arc::new(Ports::new(std::mem::take(&mut dataplane.ports)));
    let clock = Clock::of(&dataplane);
    let questions = Arc::new(Questions::new(&dataplane.mailboxes));
    let watches: Arc<Vec<WorkerWatch>> = Arc::new(
        dataplane
            .mailboxes
            .iter()
            .map(|_| WorkerWatch::default())
            .collect(),
    );
    let stall_threshold = Duration::from_millis(u64::from(config.workers.stall_threshold_ms));
    let heartbeat = Arc::new(Heartbeat::default());
    let policy_lines = Arc::new(PolicyLines::default());
    let running = Arc::new(Running::new(
        file,
        config,
        program,
        registry,
        Box::new(classifiers),
        token,
        restored,
    ));
    let mut threads = Threads {
        stop: Arc::new(AtomicBool::new(false)),
        watcher: handle.clone(),
        handles: Vec::new(),
    };
    let (feed, inbox) = monitors::feed();
    let redundant = RedundantInterfaces::new(
        &running.in_force().config,
        Arc::clone(&interfaces),
        feed.clone(),
        clock,
    );
    let redundant = Arc::new(redundant);
    let (reloads_sender, reloads) = probes::reloads();
    let (watches_sender, watched) = probes::reloads();
    let counts = Arc::new(Counts::default());
    let replication =
        replicator.map(|replicator| replicate(replicator, feed.clone(), clock, &mut threads, &lives));
    let replication = replication.transpose()?.unwrap_or_default();
    let redundancy = running.in_force().config.redundancy.clone();
    if replication.is_there() || redundant.tracks() {
        let taps = interfaces.all.iter().zip(records.iter());
        let probes = Probes {
            tracker: Tracker::new(clock.uptime().as_millis() as u64, &redundancy),
            sockets: ProbeSockets::new(probes::cookie().ok_or(SetupError::Random)?),
            reloads,
            taps: taps
                .map(|(state, record)| (state.name.clone(), record.tap.clone()))
                .collect(),
            feed: feed.clone(),
            redundant: Arc::clone(&redundant),
            clock,
            stop: Arc::clone(&threads.stop),
        };
        threads.spawn("probes", &lives.probes, || probes.run())?;
    }
    if let Some(reports) = replication.reports() {
        let monitors = Monitors {
            inbox,
            consequences: Consequences::new(&redundancy),
            reports,
            outward: actions.orders(),
            policies: monitors::policies(&redundancy),
            first_look: Some(clock.uptime() + first_look(&redundancy)),
            counts: Arc::clone(&counts),
            stats: dataplane.stats.clone(),
            stall_threshold,
            clock,
            stop: Arc::clone(&threads.stop),
        };
        threads.spawn("monitors", &lives.monitors, || monitors.run())?;
        let watches = Watches {
            redundancy: Box::new(redundancy),
            reloads: watched,
            feed: feed.clone(),
            stop: Arc::clone(&threads.stop),
        };
        threads.spawn("routing", &lives.watches, || watches.run())?;
    }
    let events = Events {
        mailboxes: dataplane.mailboxes.clone(),
        stats: dataplane.stats.clone(),
        warnings: Arc::clone(&dataplane.warnings),
        watches: Arc::clone(&watches),
        heartbeat: Arc::clone(&heartbeat),
        policy_lines: Arc::clone(&policy_lines),
        clock,
        stall_threshold,
        questions: Arc::clone(&questions),
        running: Arc::clone(&running),
        routing: Arc::clone(&routing),
        watcher: handle.clone(),
        stop: Arc::clone(&threads.stop),
    };
    let daemon = Arc::new(Daemon {
        running,
        interfaces: Arc::clone(&interfaces),
        records: Arc::clone(&records),
        ports: Arc::clone(&ports),
        routing,
        questions,
        stats: dataplane.stats.clone(),
        watches,
        heartbeat,
        policy_lines,
        stall_threshold,
        mirror: Arc::clone(&dataplane.mirror),
        clock,
        watcher: handle,
        lives: lives.clone(),
        redundant: Arc::clone(&redundant),
        replication,
        actions,
        feed: feed.clone(),
        probes: reloads_sender,
        routing_watches: watches_sender,
        monitor_counts: counts,
        log_lost,
        buffers: dataplane.pool.clone(),
        dataplane: Arc::new(Mutex::new(Some(dataplane))),
        taps: Mutex::new((taps, Rtnl::open()?)),
        refused_addresses: Mutex::default(),
    });
    let refused = daemon.put_addresses(&daemon.running.in_force().config);
    for refusal in refused {
        warn!("{refusal}");
    }
    let monitor = Monitor {
        interfaces,
        records,
        ports,
        links,
        rtnl,
        carriers,
        redundant,
        feed,
        stop: Arc::clone(&threads.stop),
    };
    if let Some(asked) = daemon.replication.questions() {
        let answers = Answers {
            daemon: Arc::clone(&daemon),
            asked,
            runtime: runtime.clone(),
        };
        threads.spawn("pair", &lives.pair, || answers.run())?;
    }
    threads.spawn("ports", &lives.ports, || monitor.run())?;
    threads.spawn("events", &lives.events, || events.run())?;
    threads.spawn("kernel", &lives.kernel, move || {
        if let Err(error) = watcher.run() {
            error!(%error, "the kernel's tables are not followed any more");
        }
    })?;
    Ok((daemon, threads, eal))
}

/// Starts the thread that speaks with the other chassis.
fn replicate(
    replicator: Replicator,
    feed: monitors::Feed,
    clock: Clock,
    threads: &mut Threads,
    lives: &Lives,
) -> Result<Replication, RunError> {
    let (name, work, ready) = replicator.start(clock, feed, &lives.heartbeats);
    threads.spawn(&name, &lives.replication, work)?;
    Ok(ready()?)
}

/// DPDK, ports and memory.
fn prepare(
    config: &Config,
    program: &Arc<tandem_engine::program::Program>,
    rtnl: &mut Rtnl,
) -> Result<Prepared, RunError> {
    let mut macs = std::collections::HashMap::new();
    for opened in spec::ports(config).filter(|opened| spec::shares_netdev(opened.port)) {
        if let Some(netdev) = &opened.port.netdev {
            // It must exist and be up before DPDK opens it.
            let link = rtnl.link(netdev)?;
            rtnl.set_up(link.ifindex, true)?;
            macs.extend(link.mac.map(|mac| (netdev.clone(), mac)));
        }
    }
    let reserves = hugepages_free().map_err(system("cannot read the hugepage reserves"))?;
    let memory = spec::memory(config, &reserves)?;
    let cpus = current_affinity().map_err(system("cannot read the CPU affinity"))?;
    let spec = spec::build(config, program, memory, &cpus, |netdev| macs.get(netdev).copied())?;
    match memory {
        Memory::Huge(free) => info!(
            free_mib = free >> 20,
            max_routes = spec.max_routes.ipv4,
            max_routes_ipv6 = spec.max_routes.ipv6,
            "memory: hugepages"
        ),
        Memory::Plain(mib) => info!(
            mib,
            max_routes = spec.max_routes.ipv4,
            max_routes_ipv6 = spec.max_routes.ipv6,
            "memory: ordinary pages"
        ),
    }
    info!(arguments = %spec.eal_args.join(" "), "starting DPDK");
    Ok(Prepared::new(spec)?)
}

fn records(
    config: &Config,
    interfaces: &tandem_dataplane::interfaces::Interfaces,
    taps: &Taps,
) -> Vec<InterfaceRecord> {
    let record = |state: &tandem_dataplane::interfaces::InterfaceState| {
        let found = config.interfaces.iter().find(|i| i.name == state.name);
        let tap = found.map(|i| i.tap.clone()).unwrap_or_default();
        let ports = found.map(|i| port_links(config, i)).unwrap_or_default();
        InterfaceRecord::new(ports, tap, taps.ifindex(state.id))
    };
    interfaces.all.iter().map(record).collect()
}

fn watcher_config(
    interfaces: &tandem_dataplane::interfaces::Interfaces,
    records: &[InterfaceRecord],
) -> WatcherConfig {
    let taps = interfaces.all.iter().zip(records);
    let mut bindings: Vec<(String, Binding)> = taps
        .map(|(state, record)| (record.tap.clone(), Binding::Tap(state.id)))
        .collect();
    let netdevs: std::collections::BTreeSet<&String> = records
        .iter()
        .flat_map(|r| &r.ports)
        .filter_map(|p| p.netdev.as_ref())
        .collect();
    bindings.extend(netdevs.into_iter().map(|name| (name.clone(), Binding::Watched)));
    WatcherConfig {
        bindings,
        ..WatcherConfig::default()
    }
}

/// Pauses after the taps were made, and after each of which their addresses are said again.
const REPEATS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

async fn repeat_addresses(daemon: Arc<Daemon>) {
    for pause in REPEATS {
        tokio::time::sleep(pause).await;
        let theirs = Arc::clone(&daemon);
        // It ends with the daemon.
        let _done = tokio::task::spawn_blocking(move || theirs.repeat_addresses()).await;
    }
}

/// The API, until something ends the daemon.
fn serve(
    runtime: &Runtime,
    daemon: &Arc<Daemon>,
    listener: Listener,
    mut signals: Signals,
) -> Result<(), RunError> {
    runtime.block_on(async {
        let server = Server::bind(listener, Arc::new(Api(Arc::clone(daemon)))).await?;
        info!(api = %server.local_addr(), generation = daemon.running.in_force().program.generation, "ready");
        // Nobody listens when it was not systemd that started it.
        let _alone = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let api = tokio::spawn(server.run(async move {
            let _dropped = ended.await;
        }));
        let repeated = tokio::spawn(repeat_addresses(Arc::clone(daemon)));
        let end_of_life = signals.serve(daemon).await;
        repeated.abort();
        let _aborted = repeated.await;
        let _alone = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        drop(end);
        if api.await.is_err() {
            error!("the API had panicked");
        }
        end_of_life
    })
}

/// Ends everything, in bounded time.
fn stop(runtime: Runtime, daemon: Arc<Daemon>, threads: Threads, eal: Eal) {
    // A driver that never returns must not keep the process: systemd and people wait for its end.
    std::thread::spawn(|| {
        std::thread::sleep(STOP_MAX);
        // Not by the log: nobody would wait for it.
        eprintln!("tandemd: the stop takes too long: giving up");
        std::process::exit(1);
    });
    if let Some(why) = daemon.actions.has_failed() {
        // In order nothing is taken out any more, and the peer would have the addresses, too.
        end_as_killed(why);
    }
    // While the workers still run: they take up the roles. Virtual addresses and signal routes go with these.
    daemon.replication.leave();
    // What is left of a set that nobody took: routers turn elsewhere, if there is anywhere, while this chassis still forwards.
    daemon.actions.stop();
    runtime.shutdown_timeout(Duration::from_secs(2));
    let dataplane: Option<Dataplane> = daemon
        .dataplane
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    // Workers end, and with them their queues and the taps; their last events are still carried on.
    if let Some(dataplane) = dataplane {
        dataplane.stop();
    }
    // What the workers had put out until then still goes to the other chassis.
    daemon.replication.stop();
    drop(threads);
    let mut ports = std::mem::take(&mut *daemon.ports.lock());
    for running in ports.iter_mut().filter(|p| p.spec.promiscuous) {
        // The kernel keeps the netdev under some ports. A driver that cannot is about to close the port anyway.
        let _cannot = running.port.set_promiscuous(false);
    }
    drop(ports);
    drop(daemon);
    // The last one, on the thread that started DPDK: it is shut down here.
    drop(eal);
    info!("stopped");
}

/// How long after the start a monitor may not have spoken yet: as long as the peer is waited for.
fn first_look(redundancy: &Redundancy) -> Duration {
    let holds = redundancy
        .groups
        .iter()
        .map(|group| redundancy.initial_hold_ms(group));
    Duration::from_millis(holds.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_packet_buffers_name_the_keys_and_the_number() {
        let refused = PoolError::Create {
            name: "tandem".into(),
            count: 65_535,
            errno: rte_bindings::Errno::new(12),
        };
        let said = RunError::from(StartError::Pool(refused)).to_string();
        for part in ["65536 packet buffers", "dpdk.memory-mb", "dpdk.mbufs"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
