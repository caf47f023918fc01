//! The sums of failed weights against the failover thresholds: for each redundancy set those of its events, for the chassis all.
//!
//! An event is of one policy and a policy of one set, so nothing counts twice.

use std::collections::BTreeMap;

use super::event::Edge;
use crate::config::Redundancy;

/// The weights of active events, by event.
#[derive(Debug, Default)]
pub struct Weights {
    events: BTreeMap<String, Event>,
    sets: BTreeMap<u8, u32>,
    chassis_threshold: u32,
}

#[derive(Debug, Default)]
struct Event {
    set: Option<u8>,
    weight: u32,
}

impl Weights {
    /// The sets and events of a configuration, nothing failed.
    #[must_use]
    pub fn new(redundancy: &Redundancy) -> Self {
        let mut weights = Self::default();
        weights.reload(redundancy);
        weights
    }

    /// Takes over another configuration; events that stay keep their weights until an edge says otherwise.
    pub fn reload(&mut self, redundancy: &Redundancy) {
        let mut before = std::mem::take(&mut self.events);
        for event in &redundancy.events {
            let of = |set: &&crate::config::RedundancySet| {
                redundancy.events_of(set).any(|one| one.name == event.name)
            };
            let set = redundancy.sets.iter().find(of).map(|set| set.id);
            let weight = before.remove(&event.name).map_or(0, |old| old.weight);
            self.events.insert(event.name.clone(), Event { set, weight });
        }
        let thresholds = redundancy.sets.iter();
        self.sets = thresholds
            .map(|set| (set.id, u32::from(set.failover_threshold)))
            .collect();
        self.chassis_threshold = u32::from(redundancy.failover_threshold);
    }

    /// An edge came.
    pub fn take(&mut self, edge: &Edge) {
        if let Some(event) = self.events.get_mut(&edge.event) {
            event.weight = if edge.active { edge.weight } else { 0 };
        }
    }

    /// Sum of what has failed in the events of a set.
    #[must_use]
    pub fn of_set(&self, set: u8) -> u32 {
        let of_set = self.events.values().filter(|event| event.set == Some(set));
        of_set.map(|event| event.weight).sum()
    }

    /// Sum of all that has failed.
    #[must_use]
    pub fn of_chassis(&self) -> u32 {
        self.events.values().map(|event| event.weight).sum()
    }

    /// Whether a set is inoperable: its own threshold is reached, or the chassis'.
    #[must_use]
    pub fn is_inoperable(&self, set: u8) -> bool {
        let own = self
            .sets
            .get(&set)
            .is_some_and(|threshold| self.of_set(set) >= *threshold);
        own || self.of_chassis() >= self.chassis_threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn redundancy(chassis: u8) -> Redundancy {
        let text = format!(
            "[interfaces.a]\ndevice = \"net_ring0\"\n[interfaces.b]\ndevice = \"net_ring1\"\n[interfaces.c]\ndevice = \"net_ring2\"\n\
             [redundancy]\nfailover-threshold = {chassis}\n\
             [redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n\
             [redundancy-sets.1]\nredundancy-group = 1\nfailover-threshold = 100\npolicies = [\"p\"]\n\
             [redundancy-sets.2]\nredundancy-group = 1\npolicies = [\"q\"]\n\
             [redundancy-policies.p]\nevents = [\"a\", \"b\"]\naction = \"broadcast-warning\"\n\
             [redundancy-policies.q]\nevents = [\"c\"]\naction = \"broadcast-warning\"\n\
             [redundancy-events.a]\nlinks = [\"a\"]\n[redundancy-events.b]\nlinks = [\"b\"]\n[redundancy-events.c]\nlinks = [\"c\"]\n"
        );
        config::parse(&text, "t.toml")
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
            .redundancy
    }

    fn edge(event: &str, weight: u32) -> Edge {
        let (event, active, cause) = (event.into(), weight > 0, String::new());
        Edge {
            event,
            active,
            weight,
            cause,
        }
    }

    #[test]
    fn a_set_counts_its_own_events_and_the_chassis_all_of_them_once_each() {
        let mut weights = Weights::new(&redundancy(255));
        for _ in 0..2 {
            weights.take(&edge("a", 60));
        }
        assert_eq!(
            (weights.of_set(1), weights.of_set(2), weights.of_chassis()),
            (60, 0, 60)
        );
        weights.take(&edge("b", 39));
        assert!(!weights.is_inoperable(1), "99 of 100");
        weights.take(&edge("b", 40));
        assert!(weights.is_inoperable(1) && !weights.is_inoperable(2));
        weights.take(&edge("c", 155));
        assert_eq!((weights.of_set(2), weights.of_chassis()), (155, 255));
        assert!(weights.is_inoperable(2), "the chassis' threshold is reached");
        weights.take(&edge("c", 0));
        weights.take(&edge("a", 0));
        assert_eq!((weights.of_chassis(), weights.is_inoperable(1)), (40, false));
    }

    #[test]
    fn a_reload_changes_thresholds_and_keeps_weights() {
        let mut weights = Weights::new(&redundancy(255));
        weights.take(&edge("c", 20));
        assert!(!weights.is_inoperable(2));
        weights.reload(&redundancy(20));
        assert!(weights.is_inoperable(1) && weights.is_inoperable(2));
    }
}
