//! Named counters: every drop, refusal and change of role has one, and a counter that stands at zero is shown too.

use serde::{Deserialize, Serialize};
use tandem_engine::drop_reason::{DropCounts, DropReason};
use tandem_wire::ParseError;
use utoipa::ToSchema;

/// What kind of thing a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CounterGroup {
    /// Packets dropped, by reason.
    Drop,
    /// Packets dropped because a header could not be parsed.
    Parse,
    /// Things the dataplane does that are no drops (packets punted, ICMP errors sent, fragments reassembled).
    Dataplane,
    /// Things the control plane does or refuses (reloads, netlink overruns, role changes).
    Control,
    /// Requests to this API, answered and refused.
    Api,
}

impl CounterGroup {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Parse => "parse",
            Self::Dataplane => "dataplane",
            Self::Control => "control",
            Self::Api => "api",
        }
    }

    /// Whether a packet ended where this counter counted it.
    #[must_use]
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::Drop | Self::Parse)
    }
}

/// One counter, since start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Counter {
    /// Its name, kebab-case; unique within its group.
    pub name: String,
    /// Its group.
    pub group: CounterGroup,
    /// What it means, for people.
    pub help: String,
    /// The sum over all workers, or the count itself when no worker keeps it.
    pub total: u64,
    /// By worker, in the order of `/v1/workers`; empty when no worker keeps it.
    pub workers: Vec<u64>,
}

impl Counter {
    /// A counter the workers keep, one number each.
    #[must_use]
    pub fn of_workers(name: &str, group: CounterGroup, help: &str, workers: Vec<u64>) -> Self {
        let total = workers.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
        Self {
            name: name.to_owned(),
            group,
            help: help.to_owned(),
            total,
            workers,
        }
    }

    /// A counter kept in one place.
    #[must_use]
    pub fn single(name: &str, group: CounterGroup, help: &str, total: u64) -> Self {
        Self {
            name: name.to_owned(),
            group,
            help: help.to_owned(),
            total,
            workers: Vec::new(),
        }
    }

    /// The counters of every [`DropReason`], zero ones included, from the counts of each worker.
    #[must_use]
    pub fn of_drops(workers: &[DropCounts]) -> Vec<Self> {
        DropReason::ALL
            .iter()
            .map(|reason| {
                let counts = workers.iter().map(|w| w.get(*reason)).collect();
                Self::of_workers(reason.as_str(), CounterGroup::Drop, reason.help(), counts)
            })
            .collect()
    }

    /// The counters of every [`ParseError`], zero ones included, from the counts of each worker in the order of
    /// [`ParseError::index`]. The parser's names say what was wrong; they have no longer text.
    #[must_use]
    pub fn of_parse_errors(workers: &[[u64; ParseError::COUNT]]) -> Vec<Self> {
        ParseError::ALL
            .iter()
            .map(|error| {
                let counts = workers
                    .iter()
                    .map(|w| w.get(error.index()).copied().unwrap_or(0))
                    .collect();
                let help = format!("A header did not parse: {}.", error.as_str().replace('-', " "));
                Self::of_workers(error.as_str(), CounterGroup::Parse, &help, counts)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parse_error_has_a_counter_even_at_zero() {
        let mut second = [0; ParseError::COUNT];
        second[ParseError::Ipv4BadVersion.index()] = 5;
        let counters = Counter::of_parse_errors(&[[0; ParseError::COUNT], second]);
        assert_eq!(counters.len(), ParseError::COUNT);
        let bad = counters
            .iter()
            .find(|c| c.name == "ipv4-bad-version")
            .expect("a counter by that name");
        assert_eq!(
            (bad.total, bad.workers.as_slice(), bad.group),
            (5, &[0, 5][..], CounterGroup::Parse)
        );
        assert_eq!(counters.iter().map(|c| c.total).sum::<u64>(), 5);
    }

    #[test]
    fn every_drop_reason_has_a_counter_even_at_zero() {
        let mut second = DropCounts::default();
        second.count(DropReason::NoRoute);
        let counters = Counter::of_drops(&[DropCounts::default(), second]);
        assert_eq!(counters.len(), DropReason::COUNT);
        let no_route = counters
            .iter()
            .find(|c| c.name == "no-route")
            .expect("a counter by that name");
        assert_eq!((no_route.total, no_route.workers.as_slice()), (1, &[0, 1][..]));
        assert!(
            counters
                .iter()
                .all(|c| !c.help.is_empty() && c.workers.len() == 2)
        );
    }
}
