//! Metrics for Prometheus: one snapshot of the daemon, written in the OpenMetrics text format.
//!
//! Nothing is kept between scrapes: the counters live where they are counted, and a scrape reads them.

mod dataplane;
mod families;
mod redundancy;
mod replication;

use std::fmt;

use families::{Families, packets};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::model::{
    ConfigSummary, Counter, Health, Interface, Policy, Pool, Redundancy, ReplicationGroup, Version, Worker,
};

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything a scrape shows.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub version: Version,
    pub config: ConfigSummary,
    pub health: Health,
    pub workers: Vec<Worker>,
    pub interfaces: Vec<Interface>,
    pub pools: Vec<Pool>,
    pub counters: Vec<Counter>,
    pub policies: Vec<Policy>,
    pub replication: Vec<ReplicationGroup>,
    pub redundancy: Redundancy,
}

/// Policies whose hits are shown, at most: each is a time series of its own. The API shows all. Defaults are not counted
/// among them: there are two for a service set, and they are what an alert looks at.
const POLICIES_MAX: usize = 1024;

/// Of all policies those whose hits are shown.
pub(super) fn shown(policies: impl Iterator<Item = Policy>) -> Vec<Policy> {
    let mut named = 0;
    policies
        .filter(|policy| {
            named += usize::from(policy.policy.is_some());
            policy.policy.is_none() || named <= POLICIES_MAX
        })
        .collect()
}

/// Writes the snapshot.
pub(super) fn encode(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tandem");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Snapshot {
    fn system(&self, out: &mut Families<'_>) -> fmt::Result {
        let versions = [
            ("tandem", self.version.tandem.clone()),
            ("dpdk", self.version.dpdk.clone()),
        ];
        out.0
            .encode_descriptor("build", "What is running.", None, MetricType::Info)?
            .encode_info(&versions)?;
        out.gauge(
            "uptime",
            Some(&Unit::Seconds),
            "Time since start.",
            self.health.uptime_s as f64,
        )?;
        let checks = self
            .health
            .checks
            .iter()
            .map(|c| ([("check", c.name.clone())], f64::from(c.ok)));
        out.gauges(
            "health_check_passed",
            None,
            "1 when the check passes, 0 when it fails.",
            checks,
        )?;
        let generation = f64::from(self.config.generation);
        out.gauge(
            "config_generation",
            None,
            "Generation of the running configuration.",
            generation,
        )?;
        let loaded = self.config.loaded_at_unix_s as f64;
        out.gauge(
            "config_loaded_timestamp",
            Some(&Unit::Seconds),
            "When it was loaded, Unix time.",
            loaded,
        )?;
        let Some(reload) = &self.config.last_reload else {
            return Ok(());
        };
        let help = "1 when the last reload was applied, 0 when it was refused.";
        out.gauge(
            "config_last_reload_applied",
            None,
            help,
            f64::from(reload.applied),
        )
    }

    fn counters(&self, out: &mut Families<'_>) -> fmt::Result {
        let (drops, events): (Vec<_>, Vec<_>) = self.counters.iter().partition(|c| c.group.is_drop());
        let drops = drops.into_iter().flat_map(|c| {
            samples(c).map(move |(worker, n)| {
                (
                    [
                        ("reason", c.name.clone()),
                        ("kind", c.group.as_str().to_owned()),
                        ("worker", worker),
                    ],
                    n,
                )
            })
        });
        out.counters("dropped", Some(&packets()), "Packets dropped, by reason.", drops)?;
        let events = events.into_iter().flat_map(|c| {
            samples(c).map(move |(worker, n)| {
                (
                    [
                        ("event", c.name.clone()),
                        ("group", c.group.as_str().to_owned()),
                        ("worker", worker),
                    ],
                    n,
                )
            })
        });
        out.counters(
            "events",
            None,
            "Everything else that is counted, by name.",
            events,
        )
    }
}

/// The samples of a counter: one per worker, or one with an empty `worker`, which Prometheus reads as no label.
fn samples(counter: &Counter) -> impl Iterator<Item = (String, u64)> {
    let single = counter.workers.is_empty().then(|| (String::new(), counter.total));
    counter
        .workers
        .iter()
        .enumerate()
        .map(|(worker, n)| (worker.to_string(), *n))
        .chain(single)
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(encoder);
        self.system(&mut out)?;
        self.workers(&mut out)?;
        self.interfaces(&mut out)?;
        self.members(&mut out)?;
        self.pools(&mut out)?;
        self.policies(&mut out)?;
        self.replication(&mut out)?;
        self.redundancy(&mut out)?;
        self.counters(&mut out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_a_long_list_is_shown() {
        let row = |policy: Option<String>| Policy {
            service_set: "office".to_owned(),
            direction: "outbound".to_owned(),
            position: 1,
            policy,
            action: "deny".to_owned(),
            log: false,
            hits: 1,
        };
        let list = || {
            (0..=POLICIES_MAX)
                .map(|n| Some(format!("list/{n}")))
                .chain([None])
        };
        let rows = shown(list().chain(list()).map(row));
        let named = rows.iter().filter(|p| p.policy.is_some());
        assert_eq!((named.count(), rows.len()), (POLICIES_MAX, POLICIES_MAX + 2));
        assert_eq!(rows[POLICIES_MAX - 1].policy.as_deref(), Some("list/1023"));
    }
}
