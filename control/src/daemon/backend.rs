//! What the API asks, answered from the running dataplane.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tandem_dataplane::dataplane::Dataplane;
use tandem_dataplane::interfaces::Interfaces;
use tandem_dataplane::mirror::MirrorStats;
use tandem_dataplane::stats::PublishedStats;
use tandem_engine::program::{PoolId, Program, ServiceSetId, SubscriberLimits};
use tandem_engine::view::{PoolUse, Query};

use super::clock::Clock;
use super::events::{Heartbeat, PolicyLines, WorkerWatch, is_stalled};
use super::life::Life;
use super::monitors::{Counts, Feed};
use super::outward;
use super::pair::Propagation;
use super::ports::{InterfaceRecord, Ports};
use super::probes::Reloads;
use super::questions::Questions;
use super::redundant::RedundantInterfaces;
use super::replication;
use super::running::{Reach, Running, Target};
use super::sink::Routing;
use super::taps::Taps;
use super::{counters, views};
use crate::api::model::{
    Check, Committed, ConfigComparison, ConfigPull, ConfigSummary, Counter, Health, HealthStatus, Interface,
    MemberRequest, Names, Neighbour, NewStaticMapping, Pool, Redundancy, RedundancyEvent, RedundancySet,
    RedundantState, ReloadReport, ReplicatedConfig, Replication, Resync, ResyncRequest, RoleChange,
    RoleRequest, RouteQuery, RouteRows, SetRequest, SharedFiles, Version, Worker, WorkerReplication,
    hexadecimal, unix_seconds,
};
use crate::api::params::SessionParams;
use crate::api::{Backend, BackendError};
use crate::config::{self, Config, NameRegistry, Placement};
use crate::guard::end_as_killed;
use crate::kernel::{Rtnl, WatcherHandle};
use crate::srd::Order;

/// The share of all packet buffers that is free at least while all is well: one in so many.
const FREE_BUFFERS_SHARE: u32 = 32;

/// The threads beside the workers.
#[derive(Clone, Default)]
pub(super) struct Lives {
    /// Carries what workers tell.
    pub events: Life,
    /// Follows the kernel's tables.
    pub kernel: Life,
    /// Watches links and carriers.
    pub ports: Life,
    /// The dataplane's, between workers and taps.
    pub mirror: Life,
    /// Speaks with the other chassis.
    pub replication: Life,
    /// Answers its questions.
    pub pair: Life,
    /// Says what is monitored to it.
    pub monitors: Life,
    /// Probes tracked IPs.
    pub probes: Life,
    /// Looks at routing processes, and starts external checks.
    pub watches: Life,
    /// Hears whether the other chassis lives.
    pub heartbeats: Life,
}

/// The events thread does a round in some milliseconds. One that took so long stands still.
const EVENTS_ROUND_MAX: Duration = Duration::from_secs(2);

/// Everything the API and a reload need of the running daemon.
pub(super) struct Daemon {
    pub running: Arc<Running>,
    pub interfaces: Arc<Interfaces>,
    pub records: Arc<Vec<InterfaceRecord>>,
    pub ports: Arc<Ports>,
    pub routing: Arc<Routing>,
    pub questions: Arc<Questions>,
    pub stats: Vec<Arc<PublishedStats>>,
    pub watches: Arc<Vec<WorkerWatch>>,
    /// Of the events thread.
    pub heartbeat: Arc<Heartbeat>,
    pub policy_lines: Arc<PolicyLines>,
    /// A worker whose heartbeat is older stands still.
    pub stall_threshold: Duration,
    pub mirror: Arc<MirrorStats>,
    pub clock: Clock,
    pub watcher: WatcherHandle,
    pub lives: Lives,
    pub redundant: Arc<RedundantInterfaces>,
    pub replication: replication::Replication,
    pub actions: super::actions::Actions,
    /// Takes what monitors have to know.
    pub feed: Feed,
    /// Takes what is to be probed.
    pub probes: Reloads,
    /// Takes what routing processes and external checks there are.
    pub routing_watches: Reloads,
    pub monitor_counts: Arc<Counts>,
    /// Log lines that nobody read in time.
    pub log_lost: tracing_appender::non_blocking::ErrorCounter,
    pub buffers: rte_bindings::Mempool,
    pub dataplane: Arc<std::sync::Mutex<Option<Dataplane>>>,
    pub taps: std::sync::Mutex<(Taps, Rtnl)>,
    /// Addresses that the kernel refused when they were put on the taps last.
    pub refused_addresses: std::sync::Mutex<Vec<String>>,
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs something that may block for a moment where that harms nobody.
async fn blocking<T: Send + 'static>(
    daemon: &Arc<Daemon>,
    work: impl FnOnce(&Daemon) -> T + Send + 'static,
) -> Result<T, BackendError> {
    let daemon = Arc::clone(daemon);
    tokio::task::spawn_blocking(move || work(&daemon))
        .await
        .map_err(|error| {
            if error.is_cancelled() {
                BackendError::Stopping
            } else {
                BackendError::Failed("an inner task ended early".into())
            }
        })
}

impl Lives {
    /// One that nothing goes on without. The chassis translates without replication, which health tells; where it may not, the
    /// replication ends the process itself.
    fn dead(&self) -> Option<&'static str> {
        let all = [
            ("mirror", &self.mirror),
            ("kernel", &self.kernel),
            ("events", &self.events),
            ("ports", &self.ports),
            ("monitors", &self.monitors),
            ("probes", &self.probes),
            ("routing", &self.watches),
            // Deaf, this chassis would take nothing over; silent, what it has would be taken.
            ("heartbeats", &self.heartbeats),
        ];
        all.iter()
            .find(|(_, life)| !life.is_alive())
            .map(|(name, _)| *name)
    }
}

impl Daemon {
    fn workers_alive(&self) -> Vec<bool> {
        let dataplane = locked(&self.dataplane);
        dataplane
            .as_ref()
            .map(Dataplane::workers_alive)
            .unwrap_or_default()
    }

    /// A thread that has ended, if there is one. To be asked while none has been told to end, ten times a second. Does not return
    /// when the thread that decides about roles hangs: an end in order would wait for it, and its heartbeats would go on.
    pub(super) fn dead_thread(&self) -> Option<String> {
        if self.replication.stands_still() {
            end_as_killed("the thread that decides about roles stands still");
        }
        let worker = self.workers_alive().iter().position(|alive| !alive);
        let worker = worker.map(|worker| format!("worker-{worker}"));
        let srd = || self.actions.has_failed().map(|_| "srd");
        worker.or_else(|| self.lives.dead().or_else(srd).map(str::to_owned))
    }

    fn checks(&self) -> Vec<Check> {
        let alive = self.workers_alive();
        let check = |name: String, ok: bool, detail: &str| Check {
            name,
            ok,
            detail: if ok { String::new() } else { detail.to_owned() },
        };
        let mut checks = Vec::new();
        for (worker, stats) in self.stats.iter().enumerate() {
            let runs = alive.get(worker).copied().unwrap_or(false);
            let age = self.clock.age(stats.heartbeat());
            let age_ms = age.map_or(0, |age| age.as_millis());
            let detail = match (runs, age) {
                (false, _) => "its thread has ended".to_owned(),
                (true, None) => "it has not started yet".to_owned(),
                (true, Some(_)) => format!("it gave its last sign of life {age_ms} ms ago"),
            };
            let ok = runs && age.is_some() && !is_stalled(age, self.stall_threshold);
            checks.push(check(format!("worker-{worker}"), ok, &detail));
        }
        checks.push(check(
            "mirror".into(),
            self.lives.mirror.is_alive(),
            "the thread between workers and taps has ended",
        ));
        let (runs, age) = (
            self.lives.events.is_alive(),
            self.heartbeat.age(self.clock.uptime()),
        );
        let detail = if runs {
            format!(
                "the thread that logs port blocks and resolves neighbours stands still since {} ms",
                age.as_millis()
            )
        } else {
            "the thread that logs port blocks and resolves neighbours has ended".to_owned()
        };
        checks.push(check("events".into(), runs && age <= EVENTS_ROUND_MAX, &detail));
        let follows = self.lives.kernel.is_alive();
        checks.push(check(
            "kernel-tables".into(),
            follows && self.routing.is_loaded(),
            if follows {
                "they have not been read yet"
            } else {
                "nobody follows them any more; restart tandemd"
            },
        ));
        let missing = self.routing.missing();
        checks.push(check(
            "routes".into(),
            missing == 0,
            &format!(
                "{missing} of the kernel's routes did not fit and are not forwarded by (the log says why); raise dpdk.memory-mb or reserve more hugepages, and restart tandemd"
            ),
        ));
        let refused = locked(&self.refused_addresses).join("; ");
        checks.push(check(
            "addresses".into(),
            refused.is_empty(),
            &format!("the kernel refused {refused}; a reload tries again"),
        ));
        let left_out = self.running.left_out();
        checks.push(check(
            "static-mappings".into(),
            left_out.is_empty(),
            &format!(
                "kept static mappings did not fit the configuration at start, and are not in force: {}",
                left_out.join("; ")
            ),
        ));
        checks.extend(self.replication_check());
        let fault = self.actions.fault().unwrap_or_default();
        checks.push(check("role-actions".into(), fault.is_empty(), &fault));
        let (free, all) = (self.buffers.available(), self.buffers.capacity());
        checks.push(check(
            "packet-buffers".into(),
            free >= all / FREE_BUFFERS_SHARE,
            &format!("{free} of {all} are free; raise dpdk.mbufs"),
        ));
        for (interface, record) in self.interfaces.all.iter().zip(self.records.iter()) {
            let reason = record.down_reason();
            let detail = reason.map_or("", crate::api::model::DownReason::as_str);
            checks.push(check(
                format!("interface-{}", interface.name),
                reason.is_none(),
                detail,
            ));
        }
        for (name, trouble) in self.redundant.members() {
            let detail = trouble.as_deref().unwrap_or_default();
            checks.push(check(format!("member-{name}"), trouble.is_none(), detail));
        }
        checks
    }

    /// How replication is, if there is one.
    fn replication_check(&self) -> Option<Check> {
        if !self.replication.is_there() {
            return None;
        }
        let is_there = self.replication.failure().is_some() || self.lives.replication.is_alive();
        let trouble = if is_there && self.replication.failure().is_none() && !self.lives.pair.is_alive() {
            Some("the thread that answers the other chassis' questions has ended".to_owned())
        } else if is_there {
            self.replication.trouble(&self.running.in_force().config)
        } else {
            Some("the thread that speaks with the other chassis has ended".to_owned())
        };
        Some(Check {
            name: "replication".to_owned(),
            ok: trouble.is_none(),
            detail: trouble.unwrap_or_default(),
        })
    }

    /// All checks in one word: without a worker, the kernel's tables or any interface nothing is forwarded.
    fn health_now(&self) -> Health {
        let checks = self.checks();
        let some = |prefix: &str| checks.iter().any(|c| c.ok && c.name.starts_with(prefix));
        let status = if checks.iter().all(|c| c.ok) {
            HealthStatus::Ok
        } else if some("worker-") && self.routing.is_loaded() && some("interface-") {
            HealthStatus::Degraded
        } else {
            HealthStatus::Down
        };
        Health {
            status,
            uptime_s: self.clock.uptime().as_secs(),
            checks,
        }
    }

    fn pool_use(&self, pool: PoolId) -> Vec<PoolUse> {
        self.stats.iter().filter_map(|s| s.pool(pool)).collect()
    }

    fn worker_rows(&self) -> Vec<Worker> {
        let in_force = self.running.in_force();
        let cores = match &in_force.config.workers.placement {
            Placement::Cores(cores) => cores.clone(),
            Placement::Count(_) => Vec::new(),
        };
        drop(in_force);
        self.stats
            .iter()
            .zip(self.watches.iter())
            .enumerate()
            .map(|(id, (stats, watch))| {
                let age = self.clock.age(stats.heartbeat());
                let stalled = is_stalled(age, self.stall_threshold);
                views::worker(id as u8, cores.get(id).copied(), stats, age, watch, stalled)
            })
            .collect()
    }

    /// Puts the configured addresses on the taps and says what was refused.
    pub(super) fn put_addresses(&self, config: &Config) -> Vec<String> {
        let (taps, rtnl) = &mut *locked(&self.taps);
        let refused: Vec<String> = taps
            .set_addresses(rtnl, config, &self.interfaces)
            .into_iter()
            .map(|(interface, error)| format!("addresses of {interface}: {error}"))
            .collect();
        locked(&self.refused_addresses).clone_from(&refused);
        // What is planned already is put in again: a virtual address may have been among those that the configuration no longer
        // puts on.
        let plans = outward::plans(config, |interface| {
            let states = self.interfaces.all.iter();
            let state = states.into_iter().find(|state| state.name == interface.name)?;
            taps.ifindex(state.id)
        });
        self.actions.order(Order::Plans(plans));
        self.actions.order(Order::Assert);
        refused
    }

    /// Has the kernel tell of the configured addresses once more.
    pub(super) fn repeat_addresses(&self) {
        let (taps, rtnl) = &mut *locked(&self.taps);
        if let Err(error) = taps.repeat_addresses(rtnl) {
            tracing::warn!(%error, "an address of a tap could not be repeated");
        }
    }
}

impl Target for Daemon {
    fn announce(&self, config: &Config, registry: &NameRegistry) -> Result<(), String> {
        self.replication.announce(config, registry)
    }

    fn take_back(&self) {
        self.replication.take_back();
    }

    fn apply(&self, program: &Arc<Program>) -> Result<(), String> {
        let dataplane = locked(&self.dataplane);
        let Some(dataplane) = dataplane.as_ref() else {
            return Err("the stopping dataplane".into());
        };
        // All or none: a mailbox that is more than half full belongs to a worker that stands still.
        let full = dataplane
            .mailboxes
            .iter()
            .position(|m| m.commands.len() * 2 > m.commands.capacity());
        match full {
            Some(worker) => Err(format!("worker {worker}")),
            None => dataplane
                .apply(program)
                .map_err(|worker| format!("worker {worker}")),
        }
    }

    fn lags(&self, generation: u32) -> Option<String> {
        let lagging = |s: &Arc<PublishedStats>| s.program() != u64::from(generation);
        let worker = self.stats.iter().position(lagging)?;
        Some(format!("worker {worker}"))
    }

    fn committed(&self, config: &Config, program: &Arc<Program>, registry: &NameRegistry) {
        self.replication.committed(config, program, registry);
        // After it: what is said of sets from now on is said of these.
        self.feed.reload(&config.redundancy);
        self.probes.give(&config.redundancy);
        self.routing_watches.give(&config.redundancy);
    }

    fn set_addresses(&self, config: &Config) -> Vec<String> {
        self.put_addresses(config)
    }

    fn propagate(&self, text: &str, dry_run: bool) -> Propagation {
        self.replication.propagate(text, dry_run)
    }

    fn take_back_from_peer(&self, generation: u32) {
        self.replication.revert(generation);
    }
}

/// The daemon as the API sees it.
pub(super) struct Api(pub Arc<Daemon>);

#[async_trait]
impl Backend for Api {
    fn version(&self) -> Version {
        Version {
            tandem: env!("CARGO_PKG_VERSION").to_owned(),
            dpdk: rte_bindings::version(),
        }
    }

    fn worker_count(&self) -> u8 {
        self.0.stats.len() as u8
    }

    fn names(&self) -> Arc<Names> {
        Arc::clone(&self.0.running.in_force().names)
    }

    fn program(&self) -> Arc<Program> {
        Arc::clone(&self.0.running.in_force().program)
    }

    fn runtime_statics(&self) -> BTreeSet<(String, String)> {
        self.0.running.in_force().statics.names()
    }

    async fn add_static_mapping(&self, new: NewStaticMapping) -> Result<Committed, BackendError> {
        let done = blocking(&self.0, move |daemon| daemon.running.add_static(daemon, &new)).await?;
        Ok(done?)
    }

    async fn remove_static_mapping(&self, service_set: &str, name: &str) -> Result<Committed, BackendError> {
        let (set, name) = (service_set.to_owned(), name.to_owned());
        let work = move |daemon: &Daemon| daemon.running.remove_static(daemon, &set, &name);
        Ok(blocking(&self.0, work).await??)
    }

    fn subscriber_limits(&self, service_set: ServiceSetId) -> Option<SubscriberLimits> {
        let in_force = self.0.running.in_force();
        let set = in_force
            .program
            .service_sets
            .iter()
            .find(|s| s.id == service_set)?;
        Some(set.limits)
    }

    fn config(&self) -> ConfigSummary {
        let in_force = self.0.running.in_force();
        ConfigSummary {
            file: in_force.config.file.clone(),
            generation: in_force.program.generation,
            loaded_at_unix_s: unix_seconds(in_force.loaded_at),
            service_sets: in_force.program.service_sets.len() as u32,
            pools: in_force.program.pools.len() as u32,
            interfaces: in_force.program.interfaces.len() as u32,
            last_reload: in_force.last_reload.clone(),
        }
    }

    async fn health(&self) -> Result<Health, BackendError> {
        Ok(self.0.health_now())
    }

    async fn interfaces(&self) -> Result<Vec<Interface>, BackendError> {
        blocking(&self.0, |daemon| {
            let ports = daemon.ports.lock();
            let rows = daemon.interfaces.all.iter().zip(daemon.records.iter());
            rows.filter_map(|(state, record)| {
                let port = ports.get(usize::from(state.port()))?;
                let counters = views::port_counters(record, &ports);
                let sum = counters.iter().copied().sum();
                let shown = views::interface(state, record, port, daemon.stats.len(), sum);
                let redundant = daemon.redundant.view(&state.name);
                let redundant = redundant.map(|both| views::counted(both, &counters));
                Some(Interface { redundant, ..shown })
            })
            .collect()
        })
        .await
    }

    async fn request_member(
        &self,
        interface: &str,
        wanted: MemberRequest,
    ) -> Result<RedundantState, BackendError> {
        let interface = interface.to_owned();
        let work = move |daemon: &Daemon| {
            let both = daemon.redundant.request(&interface, wanted.member.as_deref())?;
            let mut rows = daemon.interfaces.all.iter().zip(daemon.records.iter());
            let record = rows.find_map(|(state, record)| (state.name == interface).then_some(record));
            let ports = daemon.ports.lock();
            let counters = record.map(|record| views::port_counters(record, &ports));
            Ok(views::counted(both, &counters.unwrap_or_default()))
        };
        blocking(&self.0, work).await?
    }

    async fn workers(&self) -> Result<Vec<Worker>, BackendError> {
        Ok(self.0.worker_rows())
    }

    async fn routes(&self, query: &RouteQuery) -> Result<RouteRows, BackendError> {
        let query = query.clone();
        blocking(&self.0, move |daemon| {
            views::routes(&daemon.routing.writer(), &daemon.interfaces, &query)
        })
        .await
    }

    async fn neighbours(&self) -> Result<Vec<Neighbour>, BackendError> {
        let neighbours = self.0.routing.neighbours();
        Ok(views::neighbours(&neighbours, &self.0.interfaces))
    }

    async fn pools(&self) -> Result<Vec<Pool>, BackendError> {
        let program = Arc::clone(&self.0.running.in_force().program);
        let row = |pool| Pool::from_use(pool, &program, &self.0.pool_use(pool.id));
        Ok(program.pools.iter().map(row).collect())
    }

    async fn counters(&self) -> Result<Vec<Counter>, BackendError> {
        Ok(counters::all(&self.0))
    }

    async fn query(&self, worker: u8, query: Query) -> Result<Query, BackendError> {
        self.0.questions.ask(worker, query).await
    }

    async fn reload(&self, local: bool) -> Result<ReloadReport, BackendError> {
        let reach = if local { Reach::Local } else { Reach::Configured };
        let result = blocking(&self.0, move |daemon| daemon.running.reload(daemon, reach)).await?;
        result.map_err(|error| BackendError::Failed(error.to_string()))
    }

    async fn compare_config(&self) -> Result<ConfigComparison, BackendError> {
        blocking(&self.0, |daemon| daemon.replication.compare(&daemon.running)).await?
    }

    async fn pull_config(&self, dry_run: bool) -> Result<ConfigPull, BackendError> {
        let work = move |daemon: &Daemon| daemon.replication.pull(&daemon.running, daemon, dry_run);
        blocking(&self.0, work).await?
    }

    async fn shared_files(&self, take: bool) -> Result<SharedFiles, BackendError> {
        blocking(&self.0, move |daemon| {
            daemon.replication.files(&daemon.running, take)
        })
        .await?
    }

    async fn clear_at_peer(&self, filter: SessionParams) -> Result<u64, BackendError> {
        let work = move |daemon: &Daemon| daemon.replication.clear(filter);
        Ok(blocking(&self.0, work).await??)
    }

    async fn replication(&self) -> Result<Replication, BackendError> {
        // Those too young to be told among them: a bulk ends a little earlier than it seems.
        let told = |stats: &Arc<PublishedStats>| {
            let [sessions, mappings, _, blocks] = stats.tables().map(|(used, _)| used);
            sessions + mappings + blocks
        };
        let expected = self.0.stats.iter().map(told).sum();
        let in_force = self.0.running.in_force();
        let group = self.0.replication.group(&in_force.config, Some(expected));
        drop(in_force);
        Ok(Replication {
            rows: group.into_iter().collect(),
            workers: WorkerReplication::from_counters(&counters::all(&self.0)),
        })
    }

    async fn resync(&self, group: u8, wanted: ResyncRequest) -> Result<Resync, BackendError> {
        self.0.replication.resync(group, &wanted).await
    }

    fn replicated_config(&self, group: u8) -> Option<ReplicatedConfig> {
        let in_force = self.0.running.in_force();
        in_force.config.redundancy.group(group)?;
        Some(ReplicatedConfig {
            redundancy_group: group,
            digest: hexadecimal(&config::group_digest(&in_force.config, group)),
            text: config::group_canonical(&in_force.config, group),
        })
    }

    fn redundancy_sets(&self) -> Vec<RedundancySet> {
        let in_force = self.0.running.in_force();
        let mut sets = self.0.replication.sets(&in_force.config);
        self.0.actions.show(&in_force.config, &mut sets);
        sets.into_iter().map(RedundancySet::judged).collect()
    }

    fn redundancy(&self) -> Redundancy {
        let sets = self.redundancy_sets();
        let all = Redundancy {
            cluster: replication::cluster(&self.0.running.in_force().config.redundancy),
            heartbeats: self.0.replication.heartbeats().into_iter().collect(),
            guard: self.0.actions.guard(),
            counts: self.0.replication.counts(&sets),
            sets,
            ..Redundancy::default()
        };
        all.judged()
    }

    async fn request_set(&self, set: u8, wanted: SetRequest) -> Result<RoleChange, BackendError> {
        self.0.replication.request_set(set, wanted).await
    }

    fn redundancy_events(&self) -> Vec<RedundancyEvent> {
        self.0.replication.events()
    }

    async fn request_role(&self, set: u8, wanted: RoleRequest) -> Result<RoleChange, BackendError> {
        self.0.replication.request_role(set, wanted).await
    }
}
