//! The weights of a configuration: which event counts for which redundancy set, and against which threshold.

use tandem_redundancy::monitor::Weights;

use crate::config::{Redundancy, RedundancyEvent, RedundancySet};

/// Takes over a configuration; events that stay keep their weights until an edge says otherwise.
pub(super) fn follow(weights: &mut Weights, redundancy: &Redundancy) {
    let set_of = |event: &RedundancyEvent| {
        let has = |set: &&RedundancySet| redundancy.events_of(set).any(|one| one.name == event.name);
        redundancy.sets.iter().find(has).map(|set| set.id)
    };
    let events = redundancy.events.iter();
    let sets = redundancy.sets.iter();
    weights.follow(
        events.map(|event| (event.name.clone(), set_of(event))),
        sets.map(|set| (set.id, u32::from(set.failover_threshold))),
        u32::from(redundancy.failover_threshold),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::monitor::Edge;

    fn weights_of(redundancy: &Redundancy) -> Weights {
        let mut weights = Weights::default();
        follow(&mut weights, redundancy);
        weights
    }

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
            warns: active,
            cause,
        }
    }

    #[test]
    fn a_set_counts_its_own_events_and_the_chassis_all_of_them_once_each() {
        let mut weights = weights_of(&redundancy(255));
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
        let mut weights = weights_of(&redundancy(255));
        weights.take(&edge("c", 20));
        assert!(!weights.is_inoperable(2));
        follow(&mut weights, &redundancy(20));
        assert!(weights.is_inoperable(1) && weights.is_inoperable(2));
    }
}
