//! The dataplane's state in the API's types.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tandem_dataplane::dataplane::RunningPort;
use tandem_dataplane::interfaces::{InterfaceState, Interfaces};
use tandem_dataplane::routes::{Action, RouteRow, RouteWriter};
use tandem_dataplane::stats::{PublishedStats, WorkerCounters};
use tandem_engine::engine::Counters as EngineCounters;
use tandem_engine::program::{InterfaceId, Program};

use super::events::WorkerWatch;
use super::ports::InterfaceRecord;
use crate::api::model::{
    Interface, LinkState, Mac, Names, Neighbour, NeighbourState, NextHop, PortCounters, RedundantState,
    Route, RouteAction, RouteQuery, RouteRows, Use, Worker,
};
use crate::config::NameRegistry;
use crate::kernel;

/// All names the process has given ids to, and what the program says beside.
pub(super) fn names(registry: &NameRegistry, program: &Program) -> Names {
    let sets = (0..).map_while(|id| Some((id, registry.service_set_name(id)?.to_owned())));
    let pools = (0..).map_while(|id| Some((id, registry.pool_name(id)?.to_owned())));
    Names {
        service_sets: sets.collect(),
        pools: pools.collect(),
        ..Names::default()
    }
    .with_program(program)
}

pub(super) fn worker(
    id: u8,
    core: Option<u16>,
    stats: &PublishedStats,
    age: Option<Duration>,
    watch: &WorkerWatch,
    stalled: bool,
) -> Worker {
    let (worker, engine) = (stats.worker(), stats.engine());
    let find = |names: &[&str], values: &[u64], name: &str| {
        let at = names.iter().position(|n| *n == name);
        at.and_then(|at| values.get(at)).copied().unwrap_or(0)
    };
    let count = |name| find(WorkerCounters::NAMES, &worker, name);
    let made = |name| find(EngineCounters::NAMES, &engine, name);
    let [sessions, mappings, subscribers, blocks] = stats.tables().map(|(used, total)| Use { used, total });
    let dropped: u64 = stats.drops().iter().chain(&stats.parse_errors()).sum();
    Worker {
        id,
        core,
        heartbeat_age_ms: age.map_or(0, |age| age.as_millis() as u64),
        stalled,
        busy_percent: watch.busy_percent(),
        bursts: count("rx-bursts"),
        rx_packets: count("rx-packets"),
        rx_bytes: count("rx-bytes"),
        tx_packets: count("tx-packets"),
        tx_bytes: count("tx-bytes"),
        handed_over_packets: count("handed-over"),
        punted_packets: count("punted"),
        dropped_packets: dropped,
        sessions_created: made("sessions-created-out") + made("sessions-created-in"),
        sessions,
        mappings,
        subscribers,
        blocks,
    }
}

pub(super) fn interface(
    state: &InterfaceState,
    record: &InterfaceRecord,
    running: &RunningPort,
    workers: usize,
    counters: PortCounters,
) -> Interface {
    let info = running.port.info().ok();
    let link = running.port.link().ok();
    let down_reason = record.down_reason();
    Interface {
        name: state.name.clone(),
        device: running
            .spec
            .devargs
            .split(',')
            .next()
            .unwrap_or_default()
            .to_owned(),
        driver: info.as_ref().map(|i| i.driver.clone()).unwrap_or_default(),
        mac: Mac(state.mac),
        mtu: u32::from(state.mtu),
        vlan: state.vlan,
        tap: record.tap.clone(),
        rx_queues: running.spec.rx_queues.unwrap_or(1),
        tx_queues: info.map_or(1, |i| (workers as u16).min(i.max_tx_queues).max(1)),
        speed_mbps: link.and_then(|l| l.speed_mbps),
        state: if down_reason.is_none() {
            LinkState::Up
        } else {
            LinkState::Down
        },
        down_reason,
        redundant: None,
        counters,
    }
}

/// What each port of an interface has counted, in their order.
pub(super) fn port_counters(record: &InterfaceRecord, ports: &[RunningPort]) -> Vec<PortCounters> {
    let of = |running: &RunningPort| {
        // A driver without counters shows none.
        let stats = running.port.stats().unwrap_or_default();
        PortCounters {
            rx_packets: stats.rx_packets,
            rx_bytes: stats.rx_bytes,
            rx_errors: stats.rx_errors,
            rx_missed: stats.rx_missed,
            rx_no_buffer: stats.rx_no_mbuf,
            tx_packets: stats.tx_packets,
            tx_bytes: stats.tx_bytes,
            tx_errors: stats.tx_errors,
        }
    };
    let links = record.ports.iter();
    links
        .map(|link| ports.get(link.position).map(of).unwrap_or_default())
        .collect()
}

/// Members with what their ports have counted, the primary's first.
pub(super) fn counted(mut state: RedundantState, counters: &[PortCounters]) -> RedundantState {
    for (member, counters) in state.members.iter_mut().zip(counters) {
        member.counters = *counters;
    }
    state
}

fn interface_name(interfaces: &Interfaces, id: InterfaceId) -> String {
    interfaces
        .get(id)
        .map_or_else(|| format!("#{id}"), |i| i.name.clone())
}

fn route(row: &RouteRow, interfaces: &Interfaces) -> Option<Route> {
    let (action, ways) = match &*row.action {
        Action::Kernel => (RouteAction::Local, &[][..]),
        Action::Blackhole => (RouteAction::Blackhole, &[][..]),
        Action::Unreachable => (RouteAction::Unreachable, &[][..]),
        Action::Prohibited => (RouteAction::Prohibit, &[][..]),
        Action::Ways(ways) => (RouteAction::Forward, ways.as_slice()),
    };
    let next_hops = ways.iter().map(|way| NextHop {
        gateway: way.gateway,
        interface: interface_name(interfaces, way.interface),
        weight: way.weight,
        usable: interfaces.get(way.interface).is_some_and(InterfaceState::is_up),
    });
    Some(Route {
        prefix: IpNet::new(row.network, row.length).ok()?,
        action,
        next_hops: next_hops.collect(),
    })
}

/// Routes that match, at most `query.limit`. The FIB's writer keeps them in the order of the API.
pub(super) fn routes(writer: &RouteWriter, interfaces: &Interfaces, query: &RouteQuery) -> RouteRows {
    let total = writer.route_count() as u64;
    let mut rows = RouteRows {
        routes: Vec::new(),
        more: false,
        total,
    };
    let after = query.after.map(|net| (net.addr(), net.prefix_len()));
    for row in writer.routes(after) {
        let Some(route) = route(&row, interfaces).filter(|r| query.matches(r)) else {
            continue;
        };
        if rows.routes.len() >= query.limit {
            rows.more = true;
            break;
        }
        rows.routes.push(route);
    }
    rows
}

pub(super) fn neighbours(
    known: &BTreeMap<(InterfaceId, IpAddr), kernel::NeighbourState>,
    interfaces: &Interfaces,
) -> Vec<Neighbour> {
    let row = |(key, state): (&(InterfaceId, IpAddr), &kernel::NeighbourState)| {
        let (mac, state) = match state {
            kernel::NeighbourState::Reachable(mac) => (Some(Mac(*mac)), NeighbourState::Resolved),
            kernel::NeighbourState::Unresolved => (None, NeighbourState::Resolving),
            kernel::NeighbourState::Failed => (None, NeighbourState::Failed),
            kernel::NeighbourState::Gone => return None,
        };
        Some(Neighbour {
            address: key.1,
            interface: interface_name(interfaces, key.0),
            mac,
            state,
        })
    };
    known.iter().filter_map(row).collect()
}
