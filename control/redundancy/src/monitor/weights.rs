//! The sums of failed weights against the failover thresholds: for each redundancy set those of its events, for the chassis all.
//!
//! An event is of one policy and a policy of one set, so nothing counts twice.

use std::collections::BTreeMap;

use super::Edge;

/// The weights of active events, by event.
#[derive(Debug, Default)]
pub struct Weights {
    events: BTreeMap<String, One>,
    sets: BTreeMap<u8, u32>,
    chassis_threshold: u32,
}

#[derive(Debug, Default)]
struct One {
    set: Option<u8>,
    weight: u32,
}

impl Weights {
    /// These are the events from now on, each with the set it belongs to if it does to one, and the failover thresholds of the sets
    /// and of the chassis. Events that stay keep their weights until an edge says otherwise.
    pub fn follow(
        &mut self,
        events: impl IntoIterator<Item = (String, Option<u8>)>,
        thresholds: impl IntoIterator<Item = (u8, u32)>,
        chassis_threshold: u32,
    ) {
        let mut before = std::mem::take(&mut self.events);
        for (name, set) in events {
            let weight = before.remove(&name).map_or(0, |old| old.weight);
            self.events.insert(name, One { set, weight });
        }
        self.sets = thresholds.into_iter().collect();
        self.chassis_threshold = chassis_threshold;
    }

    /// An edge came.
    pub fn take(&mut self, edge: &Edge) {
        if let Some(event) = self.events.get_mut(&edge.event) {
            let counted = if cfg!(feature = "plant-weight-twice") {
                event.weight
            } else {
                0
            };
            event.weight = if edge.active { counted + edge.weight } else { 0 };
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
        let of_set = |threshold: &u32| self.of_set(set) >= *threshold;
        self.sets.get(&set).is_some_and(of_set) || self.of_chassis() >= self.chassis_threshold
    }
}
