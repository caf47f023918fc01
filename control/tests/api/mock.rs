//! A backend whose two workers have sparse tables, and which can be told to be slow, silent or to refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ipnet::IpNet;
use tandem_control::api::model::{
    Check, Committed, ConfigComparison, ConfigPull, ConfigSummary, Counter, CounterGroup, DownReason, Fault,
    Health, HealthStatus, Interface, Mac, MemberRequest, Names, Neighbour, NeighbourState, NewStaticMapping,
    ObjectType, Pool, Redundancy, RedundancyEvent, RedundancySet, RedundantState, ReloadReport,
    ReplicatedConfig, Replication, Resync, ResyncRequest, RoleChange, RoleRequest, Route, RouteQuery,
    RouteRows, SetRequest, SharedFiles, Use, Version, Worker, WorkerReplication,
};
use tandem_control::api::params::SessionParams;
use tandem_control::api::{Backend, BackendError};
use tandem_control::config;
use tandem_engine::drop_reason::{DropCounts, DropReason};
use tandem_engine::program::{Program, ServiceSetId, SubscriberLimits};
use tandem_engine::session::Direction;
use tandem_engine::view::{Ask, Decider, Filter, Query, SessionView};
use tokio::sync::Notify;

use super::pair::{self, Sets};
use super::samples::{
    CONFIG, REDUNDANT, SIX, inside, interface, ip, push, redundant, route, session, session_six, worker,
};

pub const SESSIONS: usize = 25;
const NOBODY: u8 = u8::MAX;
/// Id of the service set with this name.
const SUBSCRIBERS_A: ServiceSetId = 1;

/// What the mock can be told.
pub struct Mock {
    /// Slots of each worker's session table; gaps between the sessions.
    slots: Mutex<[Vec<Option<SessionView>>; 2]>,
    /// This worker says it did not answer in time.
    pub silent: AtomicU8,
    /// This worker never answers.
    pub hanging: AtomicU8,
    /// Questions wait here once while `gated`.
    pub gate: Notify,
    pub gated: AtomicBool,
    /// Somebody waits at the gate.
    pub waiting: AtomicU32,
    pub config_is_bad: AtomicBool,
    /// A reload is the peer's, too.
    pub propagates: AtomicBool,
    pub down: AtomicBool,
    /// There is an IPv6 subscriber.
    six: AtomicBool,
    /// Static mappings set at run time, and the program with them.
    runtime: Mutex<(Vec<NewStaticMapping>, Arc<Program>)>,
    pub sets: Mutex<Sets>,
    /// It is half of no pair.
    pub alone: AtomicBool,
}

fn compiled(runtime: &[NewStaticMapping]) -> Result<Program, config::CompileError> {
    let config = config::parse(CONFIG, "mock.toml").expect("a right configuration");
    let runtime: Vec<_> = runtime.iter().map(|m| m.read().expect("it was read")).collect();
    let extras = config::Extras {
        runtime_statics: &runtime,
        ..config::Extras::default()
    };
    config::compile(&config, &mut config::NameRegistry::new(), None, &extras)
}

impl Default for Mock {
    fn default() -> Self {
        let mut slots: [Vec<Option<SessionView>>; 2] = Default::default();
        for n in 0..SESSIONS {
            slots[n % 2].extend([None, Some(session(n)), None]);
        }
        Self {
            slots: Mutex::new(slots),
            silent: AtomicU8::new(NOBODY),
            hanging: AtomicU8::new(NOBODY),
            gate: Notify::new(),
            gated: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            config_is_bad: AtomicBool::new(false),
            propagates: AtomicBool::new(false),
            down: AtomicBool::new(false),
            six: AtomicBool::new(false),
            runtime: Mutex::new((Vec::new(), Arc::new(compiled(&[]).expect("a program")))),
            sets: Mutex::default(),
            alone: AtomicBool::new(false),
        }
    }
}

fn fault() -> Fault {
    Fault {
        file: "/etc/tandem/tandem.toml".to_owned(),
        line: Some(12),
        column: Some(3),
        path: "pools.cgn.port-range".to_owned(),
        problem: "the range is inverted".to_owned(),
        remedy: "use \"1024-65535\"".to_owned(),
    }
}

fn wants<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
    wanted.is_none_or(|wanted| wanted == is)
}

fn wants_inside(f: &Filter, is: IpAddr) -> bool {
    f.inside.is_none_or(|wanted| match f.inside_bits {
        None => wanted == is,
        Some(bits) => IpNet::new(wanted, bits).expect("a length").contains(&is),
    })
}

/// As the engine: of a subscriber any address of its prefix is one.
fn wants_subscriber(f: &Filter, is: IpAddr) -> bool {
    let of_prefix = |wanted: IpAddr| is.is_ipv6() && IpNet::new(is, 56).expect("a length").contains(&wanted);
    wants_inside(f, is) || f.inside.is_some_and(of_prefix)
}

fn matches(f: &Filter, s: &SessionView) -> bool {
    wants(f.service_set, s.service_set)
        && wants(f.protocol, s.protocol)
        && wants_inside(f, s.inside)
        && wants(f.inside_port, s.inside_port)
        && wants(f.public, s.public)
        && wants(f.public_port, s.public_port)
        && wants(f.outside, s.outside)
        && wants(f.outside_port, s.outside_port)
        && wants(f.pool, s.pool)
}

impl Mock {
    /// As a daemon whose peer may not be there.
    fn peer(&self, what: &str) -> Result<(), BackendError> {
        if self.alone.load(Ordering::SeqCst) {
            return Err(BackendError::Refused(format!(
                "no {what}: the peer is not connected"
            )));
        }
        Ok(())
    }

    /// Adds an IPv6 subscriber with a session to worker 0.
    pub fn add_six(&self) {
        self.six.store(true, Ordering::SeqCst);
        let mut slots = self.slots.lock().expect("no test panics with it");
        slots[0].push(Some(session_six()));
    }

    /// What the policies of the configuration decided: the first about 5 and 7 packets, the second about 2, the outbound
    /// default about 4 and 20; the inbound one was not asked yet.
    fn policies(worker: u8, mut query: Query) -> Query {
        let default = Decider::Default(SUBSCRIBERS_A, Direction::Out);
        let hits = match worker {
            0 => vec![(default, 4), (Decider::Policy(0), 5), (Decider::Policy(1), 2)],
            _ => vec![(default, 20), (Decider::Policy(0), 7)],
        };
        while let Some(row) = hits.get(query.cursor as usize) {
            if query.rows.policies.len() == query.rows.policies.capacity() {
                query.done = true;
                return query;
            }
            query.rows.policies.push(*row);
            query.cursor += 1;
        }
        (query.done, query.end) = (true, true);
        query
    }

    /// Walks slots as a worker does: from the cursor until the answer is full or the table ends.
    fn sessions(&self, worker: u8, mut query: Query) -> Query {
        let slots = &mut self.slots.lock().expect("no test panics with it")[usize::from(worker)];
        let room = query.rows.sessions.capacity();
        while let Some(slot) = slots.get_mut(query.cursor as usize) {
            if let Some(found) = slot.filter(|s| matches(&query.filter, s)) {
                if query.ask == Ask::Sessions && query.rows.sessions.len() == room {
                    query.done = true;
                    return query;
                }
                match query.ask {
                    Ask::Sessions => query.rows.sessions.push(found),
                    Ask::ClearSessions => *slot = None,
                    // The policies in force now refuse UDP.
                    Ask::Reevaluate if found.protocol != 17 => {
                        query.cursor += 1;
                        continue;
                    }
                    Ask::Reevaluate => *slot = None,
                    _ => {}
                }
                query.matched += 1;
            }
            query.cursor += 1;
        }
        (query.done, query.end) = (true, true);
        query
    }

    /// The other tables hold one row per subscriber, two on each worker.
    fn per_subscriber(&self, worker: u8, mut query: Query) -> Query {
        let mut subscribers = vec![usize::from(worker), usize::from(worker) + 2];
        if worker == 0 && self.six.load(Ordering::SeqCst) {
            subscribers.push(SIX);
        }
        let f = query.filter;
        while let Some(n) = subscribers.get(query.cursor as usize) {
            let (address, public) = (inside(*n), ip("203.0.113.7"));
            let room = query.rows.mappings.capacity()
                + query.rows.blocks.capacity()
                + query.rows.subscribers.capacity();
            let (inside_port, public_port) = (5000 + *n as u16, 2000 + *n as u16);
            let block = 1024 + 512 * (*n as u16)..=1535 + 512 * (*n as u16);
            let by_ports = match query.ask {
                Ask::Mappings => {
                    wants(f.protocol, 17)
                        && wants(f.inside_port, inside_port)
                        && wants(f.public_port, public_port)
                }
                Ask::Blocks => f.public_port.is_none_or(|port| block.contains(&port)),
                _ => true,
            };
            if wants_subscriber(&f, address)
                && by_ports
                && wants(f.public, public)
                && wants(f.pool, 3)
                && wants(f.service_set, 1)
            {
                if query.matched as usize == room {
                    query.done = true;
                    return query;
                }
                push(&mut query, worker, *n as u16, address, public);
                query.matched += 1;
            }
            query.cursor += 1;
        }
        (query.done, query.end) = (true, true);
        query
    }
}

#[async_trait]
impl Backend for Mock {
    fn version(&self) -> Version {
        Version {
            tandem: "0.1.0".to_owned(),
            dpdk: "DPDK 22.11.9".to_owned(),
        }
    }

    fn worker_count(&self) -> u8 {
        2
    }

    fn names(&self) -> Arc<Names> {
        let program = self.program();
        let names = Names {
            service_sets: BTreeMap::from([(SUBSCRIBERS_A, "subscribers-a".to_owned())]),
            pools: BTreeMap::from([(1, "formula".to_owned()), (3, "residential".to_owned())]),
            ..Names::default()
        };
        Arc::new(names.with_program(&program))
    }

    fn program(&self) -> Arc<Program> {
        Arc::clone(&self.runtime.lock().expect("no test panics with it").1)
    }

    fn runtime_statics(&self) -> BTreeSet<(String, String)> {
        let runtime = self.runtime.lock().expect("no test panics with it");
        let name = |m: &NewStaticMapping| (m.service_set.clone(), m.name.clone());
        runtime.0.iter().map(name).collect()
    }

    async fn add_static_mapping(&self, new: NewStaticMapping) -> Result<Committed, BackendError> {
        let mut runtime = self.runtime.lock().expect("no test panics with it");
        let list = [runtime.0.clone(), vec![new]].concat();
        let program = compiled(&list).map_err(|error| BackendError::Contradicts {
            key: match &error {
                config::CompileError::RuntimeStatic { fault, .. } => fault.key.to_owned(),
                _ => String::new(),
            },
            why: error.to_string(),
        })?;
        *runtime = (list, Arc::new(program));
        Ok(Committed {
            generation: 5,
            kept: false,
        })
    }

    async fn remove_static_mapping(&self, service_set: &str, name: &str) -> Result<Committed, BackendError> {
        let mut runtime = self.runtime.lock().expect("no test panics with it");
        let is = |m: &NewStaticMapping| m.service_set == service_set && m.name == name;
        let at = runtime.0.iter().position(is);
        let at = at.ok_or_else(|| BackendError::Unknown(format!("no static mapping {name:?}")))?;
        runtime.0.remove(at);
        runtime.1 = Arc::new(compiled(&runtime.0).expect("fewer fit too"));
        Ok(Committed {
            generation: 6,
            kept: true,
        })
    }

    fn subscriber_limits(&self, service_set: ServiceSetId) -> Option<SubscriberLimits> {
        (service_set == 1).then(|| SubscriberLimits {
            max_sessions: 2000,
            ..SubscriberLimits::default()
        })
    }

    fn config(&self) -> ConfigSummary {
        ConfigSummary {
            file: "/etc/tandem/tandem.toml".to_owned(),
            generation: 4,
            loaded_at_unix_s: 1_790_000_000,
            service_sets: 1,
            pools: 1,
            interfaces: 2,
            last_reload: None,
        }
    }

    async fn health(&self) -> Result<Health, BackendError> {
        let down = self.down.load(Ordering::SeqCst);
        let detail = if down { "worker 0 stalled" } else { "" };
        Ok(Health {
            status: if down {
                HealthStatus::Down
            } else {
                HealthStatus::Ok
            },
            uptime_s: 3600,
            checks: vec![Check {
                name: "worker-0".to_owned(),
                ok: !down,
                detail: detail.to_owned(),
            }],
        })
    }

    async fn interfaces(&self) -> Result<Vec<Interface>, BackendError> {
        Ok(vec![
            interface("lan", None),
            interface("wan", Some(DownReason::Carrier)),
            Interface {
                redundant: Some(redundant()),
                ..interface(REDUNDANT, None)
            },
        ])
    }

    async fn request_member(
        &self,
        interface: &str,
        wanted: MemberRequest,
    ) -> Result<RedundantState, BackendError> {
        if interface != REDUNDANT {
            return Err(BackendError::Unknown(format!(
                "there is no redundant interface {interface}"
            )));
        }
        match wanted.member.as_deref() {
            Some("eth2") => Err(BackendError::Refused("the link of eth2 is down".into())),
            forced => Ok(RedundantState {
                forced: forced.map(str::to_owned),
                ..redundant()
            }),
        }
    }

    async fn workers(&self) -> Result<Vec<Worker>, BackendError> {
        Ok(vec![worker(0), worker(1)])
    }

    async fn routes(&self, query: &RouteQuery) -> Result<RouteRows, BackendError> {
        let mut all = vec![
            route("0.0.0.0/0"),
            route("192.0.2.0/24"),
            route("198.51.100.0/24"),
            route("2001:db8::/32"),
        ];
        all.sort_by_key(|r| r.prefix);
        let total = all.len() as u64;
        let mut routes: Vec<Route> = all.into_iter().filter(|r| query.matches(r)).collect();
        let more = routes.len() > query.limit;
        routes.truncate(query.limit);
        Ok(RouteRows { routes, more, total })
    }

    async fn neighbours(&self) -> Result<Vec<Neighbour>, BackendError> {
        Ok(vec![Neighbour {
            address: ip("192.0.2.1"),
            interface: "wan".to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            state: NeighbourState::Resolved,
        }])
    }

    async fn pools(&self) -> Result<Vec<Pool>, BackendError> {
        let ports = |used| Use { used, total: 64_512 };
        Ok(vec![Pool {
            name: "residential".to_owned(),
            mode: "ports".to_owned(),
            service_sets: vec!["subscribers-a".to_owned()],
            addresses: 1,
            addresses_used: 0,
            first_port: 1024,
            last_port: 65_535,
            drain: false,
            interface_address: false,
            tcp_ports: ports(16_128),
            udp_ports: ports(5),
            icmp_ids: ports(0),
            extents: Use { used: 2, total: 16 },
            block_size: Some(512),
            blocks: Use { used: 4, total: 126 },
            subscribers: 4,
            refused: 1,
        }])
    }

    async fn counters(&self) -> Result<Vec<Counter>, BackendError> {
        let mut first = DropCounts::default();
        first.count(DropReason::NoRoute);
        first.count(DropReason::NoRoute);
        first.count(DropReason::TtlExpired);
        let mut counters = Counter::of_drops(&[first, DropCounts::default()]);
        let help = "Less than 20 octets.";
        counters.push(Counter::of_workers(
            "ipv4-truncated",
            CounterGroup::Parse,
            help,
            vec![0, 7],
        ));
        counters.push(Counter::single(
            "reload-refused",
            CounterGroup::Control,
            "Config files refused.",
            1,
        ));
        let help = "Objects of the peer installed.";
        counters.push(Counter::of_workers(
            "replica-installed",
            CounterGroup::Dataplane,
            help,
            vec![4, 5],
        ));
        Ok(counters)
    }

    async fn query(&self, worker: u8, query: Query) -> Result<Query, BackendError> {
        if self.gated.load(Ordering::SeqCst) {
            let mut opened = std::pin::pin!(self.gate.notified());
            // In line before anybody is told so, or the opening could be missed.
            opened.as_mut().enable();
            self.waiting.fetch_add(1, Ordering::SeqCst);
            opened.await;
        }
        if self.hanging.load(Ordering::SeqCst) == worker {
            std::future::pending::<()>().await;
        }
        if self.silent.load(Ordering::SeqCst) == worker {
            return Err(BackendError::NoAnswer {
                who: format!("worker {worker}"),
            });
        }
        Ok(match query.ask {
            Ask::Sessions | Ask::ClearSessions | Ask::CountSessions | Ask::Reevaluate => {
                self.sessions(worker, query)
            }
            Ask::Mappings | Ask::Blocks | Ask::Subscribers => self.per_subscriber(worker, query),
            Ask::Policies => Self::policies(worker, query),
        })
    }

    async fn compare_config(&self) -> Result<ConfigComparison, BackendError> {
        self.peer("comparison")?;
        Ok(pair::comparison())
    }

    async fn pull_config(&self, dry_run: bool) -> Result<ConfigPull, BackendError> {
        self.peer("configuration")?;
        let bad = self.config_is_bad.load(Ordering::SeqCst);
        Ok(ConfigPull {
            applied: !bad && !dry_run,
            dry_run,
            generation: if bad || dry_run { 4 } else { 5 },
            diff: pair::comparison().diff,
            warnings: Vec::new(),
            faults: if bad { vec![fault()] } else { Vec::new() },
        })
    }

    async fn shared_files(&self, take: bool) -> Result<SharedFiles, BackendError> {
        self.peer("files")?;
        Ok(pair::files(take))
    }

    async fn clear_at_peer(&self, filter: SessionParams) -> Result<u64, BackendError> {
        self.peer("sessions")?;
        Ok(if filter.protocol.is_some() { 2 } else { 20 })
    }

    async fn reload(&self, local: bool) -> Result<ReloadReport, BackendError> {
        let bad = self.config_is_bad.load(Ordering::SeqCst);
        let faults = if bad { vec![fault()] } else { Vec::new() };
        Ok(ReloadReport {
            applied: !bad,
            generation: if bad { 4 } else { 5 },
            at_unix_s: 1_790_000_100,
            faults,
            warnings: Vec::new(),
            sessions_ended: None,
            peer: (!bad && !local && self.propagates.load(Ordering::SeqCst))
                .then(|| pair::reload(self.alone.load(Ordering::SeqCst))),
        })
    }

    async fn replication(&self) -> Result<Replication, BackendError> {
        let alone = self.alone.load(Ordering::SeqCst);
        Ok(Replication {
            rows: if alone { Vec::new() } else { pair::groups() },
            workers: WorkerReplication::from_counters(&self.counters().await?),
        })
    }

    async fn resync(&self, group: u8, wanted: ResyncRequest) -> Result<Resync, BackendError> {
        match group {
            pair::GROUP => Ok(Resync {
                redundancy_group: group,
                direction: wanted.direction,
                objects: ObjectType::all_of(wanted.types()),
            }),
            pair::SUSPENDED => Err(BackendError::Refused("the configurations differ".to_owned())),
            _ => Err(BackendError::Unknown(format!("no redundancy group {group} runs"))),
        }
    }

    fn replicated_config(&self, group: u8) -> Option<ReplicatedConfig> {
        (group == pair::GROUP).then(|| pair::config(group))
    }

    fn redundancy_sets(&self) -> Vec<RedundancySet> {
        if self.alone.load(Ordering::SeqCst) {
            return Vec::new();
        }
        self.sets.lock().expect("no test panics with it").rows()
    }

    fn redundancy(&self) -> Redundancy {
        if self.alone.load(Ordering::SeqCst) {
            return Redundancy::default();
        }
        pair::redundancy(self.redundancy_sets())
    }

    async fn request_set(&self, set: u8, wanted: SetRequest) -> Result<RoleChange, BackendError> {
        let mut sets = self.sets.lock().expect("no test panics with it");
        sets.ask(set, wanted)
    }

    fn redundancy_events(&self) -> Vec<RedundancyEvent> {
        self.sets.lock().expect("no test panics with it").events.clone()
    }

    async fn request_role(&self, set: u8, wanted: RoleRequest) -> Result<RoleChange, BackendError> {
        let mut sets = self.sets.lock().expect("no test panics with it");
        sets.request(set, wanted)
    }
}
