//! Conditions, held and brought together: the edges of redundancy events.
//!
//! A condition counts once it has been so for the event's hold time, and stops counting once it has been otherwise for as long. An
//! event is active while any of its conditions counts; its weight is the sum of what of it has failed, each object once.

use std::collections::BTreeMap;

use super::condition::{Condition, Observation};
use crate::config::{Redundancy, RedundancyEvent};

/// An event became active or inactive, or its weight changed while it was active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The event's name.
    pub event: String,
    /// Whether it is active.
    pub active: bool,
    /// Sum of the weights of what of it has failed. 0 when inactive, and for conditions without a weight.
    pub weight: u32,
    /// What changed, for people.
    pub cause: String,
}

/// The redundancy events of a configuration.
#[derive(Debug, Default)]
pub struct Events {
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    name: String,
    hold_ms: u64,
    conditions: Vec<(Condition, State)>,
    /// What was told last.
    told: (bool, u32),
}

/// A condition within an event.
#[derive(Clone, Debug, Default)]
struct State {
    weight: u32,
    /// As it was seen last.
    failed: bool,
    cause: String,
    /// As it counts.
    counts: bool,
    /// When what was seen begins to count, while that differs.
    due_ms: Option<u64>,
}

impl Events {
    /// The events of a configuration, all of them inactive.
    #[must_use]
    pub fn new(redundancy: &Redundancy) -> Self {
        let events = redundancy
            .events
            .iter()
            .map(|event| Event::new(event, redundancy));
        Self {
            events: events.collect(),
        }
    }

    /// Takes over another configuration. A condition that stays in its event stays as it is; one that is new to an event is as another
    /// event saw it, or well. Events that are gone while active become inactive.
    pub fn reload(&mut self, now_ms: u64, redundancy: &Redundancy, edges: &mut Vec<Edge>) {
        let mut seen: BTreeMap<Condition, (bool, String)> = BTreeMap::new();
        for (condition, state) in self.events.iter().flat_map(|event| &event.conditions) {
            seen.insert(condition.clone(), (state.failed, state.cause.clone()));
        }
        let mut before = std::mem::replace(self, Self::new(redundancy)).events;
        for event in &mut self.events {
            let old = before.iter().position(|old| old.name == event.name);
            let old = old.map(|at| before.swap_remove(at));
            if let Some(old) = &old {
                event.told = old.told;
            }
            for (condition, state) in &mut event.conditions {
                let same = old
                    .iter()
                    .flat_map(|old| &old.conditions)
                    .find(|(of, _)| of == condition);
                if let Some((_, same)) = same {
                    *state = State {
                        weight: state.weight,
                        ..same.clone()
                    };
                } else if let Some((true, cause)) = seen.get(condition) {
                    state.see(now_ms, event.hold_ms, true, cause);
                }
            }
            event.tell(now_ms, "another configuration", edges);
        }
        for gone in before.into_iter().filter(|event| event.told.0) {
            edges.push(Edge {
                event: gone.name,
                active: false,
                weight: 0,
                cause: "the configuration has it no more".into(),
            });
        }
    }

    /// A monitor saw something.
    pub fn observe(&mut self, now_ms: u64, observation: &Observation, edges: &mut Vec<Edge>) {
        let (condition, failed, cause) = match observation {
            Observation::Failed(condition, cause) | Observation::Happened(condition, cause) => {
                (condition, true, cause)
            }
            Observation::Well(condition, cause) => (condition, false, cause),
        };
        for event in &mut self.events {
            let hold_ms = event.hold_ms;
            let Some((_, state)) = event.conditions.iter_mut().find(|(of, _)| of == condition) else {
                continue;
            };
            if let Observation::Happened(..) = observation {
                // It counts at once, hold time or not: it is over before any of it could pass. That holds it up instead.
                state.counts = true;
                state.failed = true;
                event.tell(now_ms, cause, edges);
                if let Some((_, state)) = event.conditions.iter_mut().find(|(of, _)| of == condition) {
                    state.see(now_ms, hold_ms, false, cause);
                }
            } else {
                state.see(now_ms, hold_ms, failed, cause);
            }
            event.tell(now_ms, cause, edges);
        }
    }

    /// Time has passed: what has been so for long enough counts from now on.
    pub fn poll(&mut self, now_ms: u64, edges: &mut Vec<Edge>) {
        for event in &mut self.events {
            let due = event
                .conditions
                .iter()
                .find(|(_, state)| state.due_ms.is_some_and(|due| due <= now_ms));
            if let Some((_, state)) = due {
                let cause = state.cause.clone();
                event.tell(now_ms, &cause, edges);
            }
        }
    }

    /// When [`Events::poll`] has something to do next, if nothing is observed until then.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let states = self.events.iter().flat_map(|event| &event.conditions);
        states.filter_map(|(_, state)| state.due_ms).min()
    }

    /// The events that are active, by name, each with its weight.
    pub fn active(&self) -> impl Iterator<Item = (&str, u32)> {
        let active = self.events.iter().filter(|event| event.told.0);
        active.map(|event| (event.name.as_str(), event.told.1))
    }
}

impl Event {
    fn new(event: &RedundancyEvent, redundancy: &Redundancy) -> Self {
        let mut conditions: Vec<(Condition, u32)> = Vec::new();
        let links = event.links.iter();
        conditions.extend(links.map(|name| (Condition::Link(name.clone()), u32::from(event.link_weight))));
        for name in &event.zones {
            let zone = redundancy.zones.iter().find(|zone| zone.name == *name);
            conditions.push((
                Condition::Zone(name.clone()),
                zone.map_or(0, |zone| u32::from(zone.weight)),
            ));
        }
        for name in &event.tracked {
            let object = redundancy.tracked_ips.iter().find(|object| object.name == *name);
            let weight = object.map_or(0, |object| u32::from(object.weight));
            conditions.push((Condition::Tracked(name.clone()), weight));
        }
        if event.service_failure {
            conditions.push((Condition::Service, 0));
        }
        let routing = event.routing_processes.iter();
        conditions.extend(routing.map(|one| (Condition::Routing(one.name().to_owned()), 0)));
        if let Some(check) = &event.check {
            conditions.push((Condition::Check(event.name.clone()), u32::from(check.weight)));
        }
        conditions.extend(event.peer.iter().map(|one| (Condition::Peer(*one), 0)));
        let state = |weight| State {
            weight,
            ..State::default()
        };
        Self {
            name: event.name.clone(),
            hold_ms: u64::from(event.hold_s) * 1000,
            conditions: conditions
                .into_iter()
                .map(|(one, weight)| (one, state(weight)))
                .collect(),
            told: (false, 0),
        }
    }

    /// Says what is different from what was told.
    fn tell(&mut self, now_ms: u64, cause: &str, edges: &mut Vec<Edge>) {
        for (_, state) in &mut self.conditions {
            if state.due_ms.is_some_and(|due| due <= now_ms) {
                state.counts = state.failed;
                state.due_ms = None;
            }
        }
        let counting = || self.conditions.iter().filter(|(_, state)| state.counts);
        let active = counting().next().is_some();
        let weight = counting().map(|(_, state)| state.weight).sum();
        if self.told != (active, weight) {
            self.told = (active, weight);
            edges.push(Edge {
                event: self.name.clone(),
                active,
                weight,
                cause: cause.to_owned(),
            });
        }
    }
}

impl State {
    /// It was seen so. What differs from what counts is due after the hold time, counted from when it began to differ.
    fn see(&mut self, now_ms: u64, hold_ms: u64, failed: bool, cause: &str) {
        self.failed = failed;
        if failed == self.counts {
            self.due_ms = None;
        } else if self.due_ms.is_none() {
            self.due_ms = Some(now_ms.saturating_add(hold_ms));
            cause.clone_into(&mut self.cause);
        }
    }
}

#[cfg(test)]
mod tests;
