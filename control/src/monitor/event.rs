//! The redundancy events of a configuration: what monitors see becomes edges.

use std::collections::{BTreeMap, BTreeSet};

use tandem_redundancy::monitor::{Event, Sight};

use super::condition::{Condition, Observation};
use crate::config::{PeerEvent, Redundancy, RedundancyEvent};

pub use tandem_redundancy::monitor::Edge;

/// The redundancy events of a configuration.
#[derive(Debug, Default)]
pub struct Events {
    events: Vec<Event<Condition>>,
    /// What has failed as it was seen last, and why: also what no event has, since monitors tell it once.
    failed: BTreeMap<Condition, String>,
    /// Objects of the configuration that are monitored, in an event or in none.
    objects: BTreeSet<Condition>,
}

impl Events {
    /// The events of a configuration, all of them inactive.
    #[must_use]
    pub fn new(redundancy: &Redundancy) -> Self {
        let events = redundancy.events.iter();
        Self {
            events: events.map(|event| of(event, redundancy)).collect(),
            failed: BTreeMap::new(),
            objects: objects(redundancy),
        }
    }

    /// Takes over another configuration. A condition that stays in its event stays as it is; one that is new to an event is as another
    /// event saw it, or well. Events that are gone while active become inactive.
    pub fn reload(&mut self, now_ms: u64, redundancy: &Redundancy, edges: &mut Vec<Edge>) {
        let mut seen: BTreeMap<Condition, (bool, String)> = BTreeMap::new();
        for (condition, failed, cause) in self.events.iter().flat_map(Event::conditions) {
            seen.insert(condition.clone(), (failed, cause.to_owned()));
        }
        let elsewhere = |condition: &Condition| {
            let failed = seen.get(condition).filter(|(failed, _)| *failed);
            failed.map(|(_, cause)| cause.as_str())
        };
        let old = std::mem::replace(self, Self::new(redundancy));
        self.failed = old.failed;
        // One that is gone is monitored no more, and begins anew if it comes back.
        self.failed
            .retain(|condition, _| is_monitored(&self.objects, condition));
        let mut before = old.events;
        for event in &mut self.events {
            let old = before.iter().position(|old| old.name() == event.name());
            let old = old.map(|at| before.swap_remove(at));
            event.follow(now_ms, old.as_ref(), elsewhere, edges);
        }
        for gone in before.into_iter().filter(|event| event.told().0) {
            edges.push(Edge {
                event: gone.name().to_owned(),
                active: false,
                weight: 0,
                warns: false,
                cause: "the configuration has it no more".into(),
            });
        }
    }

    /// A monitor saw something.
    pub fn observe(&mut self, now_ms: u64, observation: &Observation, edges: &mut Vec<Edge>) {
        let (condition, sight, cause) = match observation {
            Observation::Failed(condition, cause) => (condition, Sight::Failed, cause),
            Observation::Happened(condition, cause) => (condition, Sight::Happened, cause),
            Observation::Well(condition, cause) => (condition, Sight::Well, cause),
        };
        if sight != Sight::Failed {
            self.failed.remove(condition);
        } else if is_monitored(&self.objects, condition) {
            self.failed.insert(condition.clone(), cause.clone());
        }
        for event in &mut self.events {
            event.see(now_ms, condition, sight, cause, edges);
        }
    }

    /// All that has failed, as it was seen last. To observe it again says something new only to events that begin to have it.
    #[must_use]
    pub fn failed(&self) -> Vec<Observation> {
        let failed = self.failed.iter();
        let failed = failed.map(|(condition, cause)| Observation::Failed(condition.clone(), cause.clone()));
        failed.collect()
    }

    /// Time has passed: what has been so for long enough counts from now on.
    pub fn poll(&mut self, now_ms: u64, edges: &mut Vec<Edge>) {
        for event in &mut self.events {
            event.poll(now_ms, edges);
        }
    }

    /// When [`Events::poll`] has something to do next, if nothing is observed until then.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.events.iter().filter_map(Event::due_ms).min()
    }

    /// The events that are active, by name, each with its weight.
    pub fn active(&self) -> impl Iterator<Item = (&str, u32)> {
        let active = self.events.iter().filter(|event| event.told().0);
        active.map(|event| (event.name(), event.told().1))
    }
}

/// The objects whose monitors come and go with the configuration.
fn objects(redundancy: &Redundancy) -> BTreeSet<Condition> {
    let zones = redundancy.zones.iter();
    let zones = zones.map(|zone| Condition::Zone(zone.name.clone()));
    let tracked = redundancy.tracked_ips.iter();
    let tracked = tracked.map(|object| Condition::Tracked(object.name.clone()));
    let events = redundancy.events.iter();
    let checks = events.clone().filter(|event| event.check.is_some());
    let checks = checks.map(|event| Condition::Check(event.name.clone()));
    let routing = events.flat_map(|event| &event.routing_processes);
    let routing = routing.map(|one| Condition::Routing(one.name().to_owned()));
    zones.chain(tracked).chain(checks).chain(routing).collect()
}

/// Whether somebody looks at it: what a monitor said of an object that is gone by now is nothing to keep.
fn is_monitored(objects: &BTreeSet<Condition>, condition: &Condition) -> bool {
    match condition {
        Condition::Link(_) | Condition::Service | Condition::Peer(..) => true,
        Condition::Zone(_) | Condition::Tracked(_) | Condition::Routing(_) | Condition::Check(_) => {
            objects.contains(condition)
        }
    }
}

/// An event as configured.
fn of(event: &RedundancyEvent, redundancy: &Redundancy) -> Event<Condition> {
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
    // What it does about another set is nothing to this event; nor is any set's to one of no set.
    let set = redundancy.set_with_event(&event.name).map(|set| set.id);
    let of_peer = event.peer.iter().filter_map(|one| match one {
        PeerEvent::Lost => Some(Condition::Peer(*one, None)),
        PeerEvent::Acquire | PeerEvent::Release | PeerEvent::Warned => {
            set.map(|set| Condition::Peer(*one, Some(set)))
        }
    });
    conditions.extend(of_peer.map(|condition| (condition, 0)));
    // What the other chassis does is no failure of this one. And two that take each other's warnings for their own would warn for ever.
    let event = Event::new(event.name.clone(), u64::from(event.hold_s) * 1000, conditions);
    event.silent(|condition| matches!(condition, Condition::Peer(..)))
}

#[cfg(test)]
mod tests;
