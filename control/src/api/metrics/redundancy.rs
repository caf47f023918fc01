//! Metrics of who is primary and why: roles of redundancy sets, heartbeats, the guard.

use std::fmt;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Snapshot;
use super::families::Families;
use crate::api::model::{HeartbeatPath, Light, RedundancySet, RoleCount, RoleState};

impl Snapshot {
    pub(super) fn redundancy(&self, out: &mut Families<'_>) -> fmt::Result {
        let all = &self.redundancy;
        self.cluster(out)?;
        // A chassis alone is no pair that could be well.
        let lights = Light::ALL.into_iter().filter(|_| !all.sets.is_empty());
        let lights = lights.map(|light| ([("light", light.as_str())], f64::from(all.light == light)));
        let help = "1 for the colour of the pair as seen from here, 0 for the others.";
        out.gauges("redundancy_light", None, help, lights)?;
        self.sets(out)?;
        self.counts(out)?;
        self.outside(out)?;
        self.heartbeats(out)?;
        let Some(guard) = &all.guard else {
            return Ok(());
        };
        let help = "1 when the guard process runs.";
        out.gauge("guard_running", None, help, f64::from(guard.pid.is_some()))?;
        let help = "Guard processes that were started because one had died.";
        out.counter("guard_restarts", help, guard.restarts)
    }

    fn cluster(&self, out: &mut Families<'_>) -> fmt::Result {
        let cluster = &self.redundancy.cluster;
        let number = |number: Option<u8>| number.map_or(String::new(), |number| number.to_string());
        // Who is in no pair has no place in one.
        let Some(unit) = cluster.unit else {
            return Ok(());
        };
        let labels = [
            ("id", number(cluster.id)),
            ("name", cluster.name.clone().unwrap_or_default()),
            ("unit", unit.to_string()),
        ];
        let help = "The cluster of the pair, and which of its chassis this one is.";
        let mut family = out
            .0
            .encode_descriptor("redundancy_cluster", help, None, MetricType::Info)?;
        family.encode_info(&labels)
    }

    fn sets(&self, out: &mut Families<'_>) -> fmt::Result {
        let sets = &self.redundancy.sets;
        let roles = sets.iter().flat_map(|set| {
            RoleState::ALL.map(|role| {
                let labels = [("set", set.id.to_string()), ("role", role.as_str().to_owned())];
                (labels, f64::from(set.role == role))
            })
        });
        let help = "1 for the role that this chassis has for the redundancy set, 0 for the others.";
        out.gauges("redundancy_set_role", None, help, roles)?;
        let lights = sets.iter().flat_map(|set| {
            Light::ALL.map(|light| {
                let labels = [("set", set.id.to_string()), ("light", light.as_str().to_owned())];
                (labels, f64::from(set.light == light))
            })
        });
        let help = "1 for the colour of the redundancy set, 0 for the others.";
        out.gauges("redundancy_set_light", None, help, lights)?;
        let by = |field: fn(&RedundancySet) -> Option<f64>| {
            let value = move |set: &RedundancySet| Some(([("set", set.id.to_string())], field(set)?));
            sets.iter().filter_map(value)
        };
        let help = "Number of the role change that led to the present role.";
        out.gauges(
            "redundancy_set_epoch",
            None,
            help,
            by(|set| Some(set.epoch as f64)),
        )?;
        let help = "Since when the role is so, Unix time.";
        out.gauges(
            "redundancy_set_since_timestamp",
            Some(&Unit::Seconds),
            help,
            by(|set| Some(set.since_unix_s as f64)),
        )?;
        let help = "For how long the role has been so.";
        let ages = by(|set| Some(set.role_age_s as f64));
        out.gauges("redundancy_set_role_age", Some(&Unit::Seconds), help, ages)?;
        let help = "1 when the peer is heard for the set.";
        let heard = by(|set| Some(f64::from(set.peer.life == "heard")));
        out.gauges("redundancy_set_peer_heard", None, help, heard)?;
        let help = "Weights of the set's objects that have failed.";
        let failed = by(|set| Some(f64::from(set.weights?.failed)));
        out.gauges("redundancy_set_failed_weight", None, help, failed)?;
        let help = "The failed weight at which the set is inoperable.";
        let threshold = by(|set| Some(f64::from(set.weights?.threshold)));
        out.gauges("redundancy_set_failover_threshold", None, help, threshold)
    }

    fn counts(&self, out: &mut Families<'_>) -> fmt::Result {
        let by = |field: fn(&RoleCount) -> u64| {
            self.redundancy.counts.iter().map(move |count| {
                let labels = [
                    ("set", count.redundancy_set.to_string()),
                    ("cause", count.cause.as_str().to_owned()),
                ];
                (labels, field(count))
            })
        };
        let help = "Changes of the state of a redundancy set, by cause.";
        out.counters(
            "redundancy_set_transitions",
            None,
            help,
            by(|count| count.transitions),
        )?;
        let help = "Changes of a role that were refused or did not come about, by cause.";
        out.counters("redundancy_set_refusals", None, help, by(|count| count.refusals))
    }

    fn outside(&self, out: &mut Families<'_>) -> fmt::Result {
        let by = |field: fn(&RedundancySet) -> usize| {
            let sets = self.redundancy.sets.iter();
            sets.map(move |set| ([("set", set.id.to_string())], field(set) as f64))
        };
        let help = "Virtual addresses of the set that are on their interfaces here.";
        let there = by(|set| {
            set.outside
                .virtual_addresses
                .iter()
                .filter(|one| one.in_place)
                .count()
        });
        out.gauges("redundancy_set_virtual_addresses", None, help, there)?;
        let help = "Virtual addresses that are configured for the set.";
        let configured = by(|set| set.outside.virtual_addresses.len());
        out.gauges(
            "redundancy_set_virtual_addresses_configured",
            None,
            help,
            configured,
        )?;
        let help = "Signal routes of the set that are in the kernel.";
        let routes = by(|set| set.outside.signal_routes.len());
        out.gauges("redundancy_set_signal_routes", None, help, routes)?;
        let help = "Virtual addresses and signal routes of the set that are not as they should be.";
        let failed = by(|set| set.outside.failures.len());
        out.gauges("redundancy_set_failed_actions", None, help, failed)
    }

    fn heartbeats(&self, out: &mut Families<'_>) -> fmt::Result {
        let groups = &self.redundancy.heartbeats;
        let help = "1 when the peer lives, by its heartbeats.";
        let alive = groups.iter().map(|group| {
            let labels = [("group", group.redundancy_group.to_string())];
            (labels, f64::from(group.peer == "alive"))
        });
        out.gauges("heartbeat_peer_alive", None, help, alive)?;
        let help = "How far the peer's clock is ahead of this chassis', negative when it is behind.";
        let ahead = groups.iter().filter_map(|group| {
            let labels = [("group", group.redundancy_group.to_string())];
            Some((labels, group.clock_ahead_us? as f64 / 1e6))
        });
        out.gauges("heartbeat_clock_ahead", Some(&Unit::Seconds), help, ahead)?;
        let by = |field: fn(&HeartbeatPath) -> Option<f64>| {
            groups.iter().flat_map(move |group| {
                group.paths.iter().filter_map(move |path| {
                    let labels = [
                        ("group", group.redundancy_group.to_string()),
                        ("path", path.path.clone()),
                    ];
                    Some((labels, field(path)?))
                })
            })
        };
        let help = "1 when the peer is heard on the path.";
        out.gauges(
            "heartbeat_path_up",
            None,
            help,
            by(|path| Some(f64::from(path.up))),
        )?;
        let help = "1 when the peer says that it hears this chassis on the path.";
        let both_ways = by(|path| Some(f64::from(path.heard_by_peer)));
        out.gauges("heartbeat_path_heard_by_peer", None, help, both_ways)?;
        let help = "Round trip on the path, smoothed.";
        let round_trip = by(|path| Some(f64::from(path.round_trip_us?) / 1e6));
        out.gauges("heartbeat_round_trip", Some(&Unit::Seconds), help, round_trip)?;
        let datagrams = groups.iter().flat_map(|group| {
            group.paths.iter().flat_map(move |path| {
                path.counters.named().map(|(kind, count)| {
                    let labels = [
                        ("group", group.redundancy_group.to_string()),
                        ("path", path.path.clone()),
                        ("kind", kind.to_owned()),
                    ];
                    (labels, count)
                })
            })
        });
        let help = "Heartbeats sent, received, and left aside, by kind.";
        out.counters("heartbeat_datagrams", None, help, datagrams)
    }
}
