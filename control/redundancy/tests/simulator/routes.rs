//! The signal routes of a chassis: one of each set, there while the set is primary. What the thread that moves them does, without a
//! kernel.

use std::collections::{BTreeMap, BTreeSet};

use tandem_engine::replica::SetRole;
use tandem_redundancy::signal::{When, is_latest, metric_of};

/// Latest words about roles, and the metrics of the routes that are there.
#[derive(Debug, Default)]
pub struct Routes {
    ordered: BTreeMap<u8, (bool, u64)>,
    table: BTreeMap<u8, u32>,
}

impl Routes {
    /// A set is primary from now on, or is not any more.
    pub fn order(&mut self, set: u8, is_primary: bool, epoch: u64) {
        let last = self.ordered.get(&set).map(|(_, last)| *last);
        if is_latest(last, epoch) {
            self.ordered.insert(set, (is_primary, epoch));
        }
        let role = self.ordered.get(&set).copied();
        match When::Primary.wants(role, &BTreeSet::new()) {
            Some(metric) => self.table.insert(set, metric.unwrap_or(0)),
            None => self.table.remove(&set),
        };
    }

    /// The route is there while the set is primary, with the metric of its epoch, and at no other time. `is_taken`: the workers have
    /// taken up the role.
    pub fn check(&self, ours: &SetRole, is_taken: bool) -> Result<(), String> {
        let set = ours.set;
        match self.table.get(&set) {
            Some(_) if !ours.primary => Err(format!("a stale signal route of set {set}: {self:?}, {ours:?}")),
            Some(metric) if *metric != metric_of(ours.epoch) && is_taken => {
                Err(format!("a signal route of another epoch: {self:?}, {ours:?}"))
            }
            None if ours.primary && is_taken => Err(format!("no signal route: {self:?}, {ours:?}")),
            _ => Ok(()),
        }
    }
}
