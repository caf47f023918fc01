//! Metrics of what packets go through: workers, pools, interfaces.

use std::fmt;

use prometheus_client::registry::Unit;

use super::Snapshot;
use super::families::{Families, packets, ratio};
use crate::api::model::{
    Interface, LinkState, MemberState, Policy, Pool, PortCounters, RedundantState, Use, Worker,
};

/// The label of a direction's default, which has no list: a policy's label always has a slash.
const DEFAULT: &str = "default";

impl Snapshot {
    pub(super) fn workers(&self, out: &mut Families<'_>) -> fmt::Result {
        let by = |field: fn(&Worker) -> u64| {
            self.workers
                .iter()
                .map(move |w| ([("worker", w.id.to_string())], field(w)))
        };
        let gauge = |field: fn(&Worker) -> f64| {
            self.workers
                .iter()
                .map(move |w| ([("worker", w.id.to_string())], field(w)))
        };
        let (packets, bytes) = (packets(), Unit::Bytes);
        out.counters(
            "worker_received",
            Some(&packets),
            "Packets taken from ports.",
            by(|w| w.rx_packets),
        )?;
        out.counters(
            "worker_received",
            Some(&bytes),
            "Bytes taken from ports.",
            by(|w| w.rx_bytes),
        )?;
        out.counters(
            "worker_sent",
            Some(&packets),
            "Packets given to ports.",
            by(|w| w.tx_packets),
        )?;
        out.counters(
            "worker_sent",
            Some(&bytes),
            "Bytes given to ports.",
            by(|w| w.tx_bytes),
        )?;
        let help = "Packets handed to the worker that owns them.";
        out.counters(
            "worker_handed_over",
            Some(&packets),
            help,
            by(|w| w.handed_over_packets),
        )?;
        out.counters(
            "worker_punted",
            Some(&packets),
            "Packets given to the kernel mirror.",
            by(|w| w.punted_packets),
        )?;
        out.counters(
            "worker_bursts",
            None,
            "Bursts that were not empty.",
            by(|w| w.bursts),
        )?;
        out.counters(
            "sessions_created",
            None,
            "Sessions since start.",
            by(|w| w.sessions_created),
        )?;
        out.gauges(
            "worker_busy",
            Some(&ratio()),
            "Share of time with packets in hand, 0 to 1.",
            gauge(|w| w.busy_percent / 100.0),
        )?;
        let help = "Time since the worker said it was alive.";
        out.gauges(
            "worker_heartbeat_age",
            Some(&Unit::Seconds),
            help,
            gauge(|w| w.heartbeat_age_ms as f64 / 1000.0),
        )?;
        out.gauges(
            "worker_stalled",
            None,
            "1 when the heartbeat is too old.",
            gauge(|w| f64::from(w.stalled)),
        )?;
        for (name, help, field) in TABLES {
            let used = self
                .workers
                .iter()
                .map(|w| ([("worker", w.id.to_string())], field(w).used as f64));
            out.gauges(name, None, help, used)?;
            let total = self
                .workers
                .iter()
                .map(|w| ([("worker", w.id.to_string())], field(w).total as f64));
            out.gauges(&format!("{name}_max"), None, "Room in that table.", total)?;
        }
        Ok(())
    }

    pub(super) fn pools(&self, out: &mut Families<'_>) -> fmt::Result {
        let ports = || {
            self.pools.iter().flat_map(|p| {
                [("tcp", p.tcp_ports), ("udp", p.udp_ports), ("icmp", p.icmp_ids)]
                    .map(|(protocol, n)| ([("pool", p.name.clone()), ("protocol", protocol.to_owned())], n))
            })
        };
        let by = |field: fn(&Pool) -> f64| {
            self.pools
                .iter()
                .map(move |p| ([("pool", p.name.clone())], field(p)))
        };
        let used = ports().map(|(labels, n)| (labels, n.used as f64));
        out.gauges("pool_ports_used", None, "Public ports or ICMP ids in use.", used)?;
        out.gauges(
            "pool_ports",
            None,
            "Public ports or ICMP ids there are.",
            ports().map(|(l, n)| (l, n.total as f64)),
        )?;
        let share = ports().map(|(labels, n)| (labels, n.ratio()));
        out.gauges(
            "pool_utilisation",
            Some(&ratio()),
            "Used share of the ports, 0 to 1; more where sessions share ports.",
            share,
        )?;
        out.gauges(
            "pool_addresses",
            None,
            "Public addresses.",
            by(|p| p.addresses as f64),
        )?;
        out.gauges(
            "pool_addresses_used",
            None,
            "Public addresses held as a whole.",
            by(|p| p.addresses_used as f64),
        )?;
        out.gauges(
            "pool_blocks_used",
            None,
            "Port blocks in subscribers' hands.",
            by(|p| p.blocks.used as f64),
        )?;
        out.gauges(
            "pool_blocks",
            None,
            "Port blocks there are.",
            by(|p| p.blocks.total as f64),
        )?;
        out.gauges(
            "pool_subscribers",
            None,
            "Subscribers paired with an address.",
            by(|p| p.subscribers as f64),
        )?;
        out.gauges(
            "pool_draining",
            None,
            "1 when the pool gives out nothing new.",
            by(|p| f64::from(p.drain)),
        )?;
        let refused = self.pools.iter().map(|p| ([("pool", p.name.clone())], p.refused));
        out.counters(
            "pool_refused_allocations",
            None,
            "Allocations refused because nothing was free.",
            refused,
        )
    }

    pub(super) fn policies(&self, out: &mut Families<'_>) -> fmt::Result {
        let row = |policy: &Policy| {
            let labels = [
                ("service_set", policy.service_set.clone()),
                ("direction", policy.direction.clone()),
                (
                    "policy",
                    policy.policy.clone().unwrap_or_else(|| DEFAULT.to_owned()),
                ),
                ("action", policy.action.clone()),
            ];
            (labels, policy.hits)
        };
        let help = "First packets that a firewall policy, or a direction's default, decided about.";
        out.counters("firewall_policy_hits", None, help, self.policies.iter().map(row))
    }

    /// Members of redundant interfaces.
    pub(super) fn members(&self, out: &mut Families<'_>) -> fmt::Result {
        let redundant = || {
            let of = |i: &Interface| Some((i.name.clone(), i.redundant.clone()?));
            self.interfaces.iter().filter_map(of)
        };
        let by = |field: fn(&RedundantState, &MemberState) -> bool| {
            redundant().flat_map(move |(interface, both)| {
                let row = |member: &MemberState| {
                    let labels = [("interface", interface.clone()), ("member", member.name.clone())];
                    (labels, f64::from(field(&both, member)))
                };
                both.members.iter().map(row).collect::<Vec<_>>()
            })
        };
        let help = "1 for the active member of a redundant interface.";
        out.gauges(
            "interface_member_active",
            None,
            help,
            by(|both, member| both.active == member.name),
        )?;
        let help = "1 when link and carrier of the member are up, and no tracked IP failed by it.";
        out.gauges(
            "interface_member_well",
            None,
            help,
            by(|_, member| member.up && member.failed.is_none()),
        )?;
        let label = |interface| [("interface", interface)];
        let help = "How often the secondary member became active.";
        let failovers = redundant().map(|(interface, both)| (label(interface), both.failovers));
        out.counters("interface_failovers", None, help, failovers)?;
        let help = "How often the primary member became active again.";
        let take_backs = redundant().map(|(interface, both)| (label(interface), both.take_backs));
        out.counters("interface_take_backs", None, help, take_backs)?;
        let rows = || {
            redundant().flat_map(|(interface, both)| {
                let row = move |member: MemberState| {
                    let labels = [("interface", interface.clone()), ("member", member.name)];
                    (labels, member.counters)
                };
                both.members.into_iter().map(row)
            })
        };
        port_counters(out, "interface_member", rows)
    }

    pub(super) fn interfaces(&self, out: &mut Families<'_>) -> fmt::Result {
        let label = |i: &Interface| [("interface", i.name.clone())];
        let up = self
            .interfaces
            .iter()
            .map(|i| (label(i), f64::from(i.state == LinkState::Up)));
        out.gauges("interface_up", None, "1 when link and carrier are up.", up)?;
        let rows = || self.interfaces.iter().map(move |i| (label(i), i.counters));
        port_counters(out, "interface", rows)
    }
}

/// The families of what ports have counted.
fn port_counters<const N: usize, I: Iterator<Item = ([(&'static str, String); N], PortCounters)>>(
    out: &mut Families<'_>,
    of: &str,
    rows: impl Fn() -> I,
) -> fmt::Result {
    let (packets, bytes) = (packets(), Unit::Bytes);
    let families: [PortFamily<'_>; 8] = [
        ("received", Some(&packets), "Frames received.", |c| c.rx_packets),
        ("received", Some(&bytes), "Bytes received.", |c| c.rx_bytes),
        ("sent", Some(&packets), "Frames sent.", |c| c.tx_packets),
        ("sent", Some(&bytes), "Bytes sent.", |c| c.tx_bytes),
        ("receive_errors", None, "Frames refused as erroneous.", |c| {
            c.rx_errors
        }),
        (
            "receive_missed",
            None,
            "Frames lost because no receive descriptor was free.",
            |c| c.rx_missed,
        ),
        (
            "receive_no_buffer",
            None,
            "Frames lost because no packet buffer was free.",
            |c| c.rx_no_buffer,
        ),
        ("send_errors", None, "Frames the port failed to send.", |c| {
            c.tx_errors
        }),
    ];
    for (name, unit, help, field) in families {
        let samples = rows().map(|(labels, counters)| (labels, field(&counters)));
        out.counters(&format!("{of}_{name}"), unit, help, samples)?;
    }
    Ok(())
}

/// One of them: what is behind its prefix, its unit, its help, its value.
type PortFamily<'u> = (
    &'static str,
    Option<&'u Unit>,
    &'static str,
    fn(&PortCounters) -> u64,
);

/// A worker's table: its metric, its help, its use.
type Table = (&'static str, &'static str, fn(&Worker) -> Use);

const TABLES: [Table; 4] = [
    ("sessions", "Sessions.", |w| w.sessions),
    ("mappings", "Endpoint-independent mappings.", |w| w.mappings),
    ("subscribers", "Subscribers.", |w| w.subscribers),
    ("blocks", "Port blocks in subscribers' hands.", |w| w.blocks),
];
