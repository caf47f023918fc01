//! What is monitored on a chassis, here and in the simulator of a pair: the real events and weights over links that fail and recover, and beside them what the rules say
//! should count, worked out anew.

use std::collections::BTreeSet;

use tandem_redundancy::machine::Command;
use tandem_redundancy::monitor::{Edge, Event, Sight, Weights};
use tandem_redundancy::{Monitored, RoleCause};

/// Links of a chassis; the last one stands for its workers.
pub const LINKS: usize = 8;
/// The condition that workers stand still.
pub const SERVICE: usize = LINKS - 1;

/// What a policy does when an event becomes active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Warn,
    Release { force: bool },
    ReleaseIfClear,
    Acquire { force: bool },
}

impl Action {
    /// As a policy asks for it.
    pub fn command(self) -> Command {
        let cause = RoleCause::Policy;
        match self {
            Self::Warn => Command::BroadcastWarning("played".to_owned()),
            Self::Release { force } => Command::Release { force, cause },
            Self::ReleaseIfClear => Command::ReleaseIfStandbyClear,
            Self::Acquire { force } => Command::Acquire { force, cause },
        }
    }
}

/// An event, the same on both chassis.
#[derive(Clone, Debug)]
pub struct EventPlan {
    pub set: Option<u8>,
    pub hold_ms: u64,
    /// Links and their weights.
    pub links: Vec<(usize, u32)>,
    pub action: Option<Action>,
}

/// What both chassis monitor.
#[derive(Clone, Debug)]
pub struct Plan {
    pub events: Vec<EventPlan>,
    pub sets: Vec<u8>,
    pub set_threshold: u16,
    pub chassis_threshold: u16,
}

impl Plan {
    pub fn draw(rng: &mut fastrand::Rng, sets: &[u8], acts: bool) -> Self {
        let mut free: Vec<usize> = (0..SERVICE).collect();
        rng.shuffle(&mut free);
        let mut events = Vec::new();
        for set in sets.iter().copied().map(Some).chain([None]) {
            let count = rng.usize(1..=2).min(free.len());
            let links: Vec<_> = free
                .drain(..count)
                .map(|link| (link, rng.u32(60..=255)))
                .collect();
            let action = match rng.u8(0..8) {
                0 | 1 if acts => Some(Action::Release { force: rng.bool() }),
                2 if acts => Some(Action::ReleaseIfClear),
                3 if acts => Some(Action::Acquire { force: rng.bool() }),
                4 => Some(Action::Warn),
                _ => None,
            };
            events.push(EventPlan {
                set,
                hold_ms: [0, 500, 2000][rng.usize(0..3)],
                links,
                action: action.filter(|_| set.is_some()),
            });
        }
        if acts {
            events.push(EventPlan {
                set: Some(sets[0]),
                hold_ms: 0,
                links: vec![(SERVICE, 0)],
                action: Some(Action::Release { force: true }),
            });
        }
        Self {
            events,
            sets: sets.to_vec(),
            set_threshold: if rng.bool() { 255 } else { 150 },
            chassis_threshold: 255,
        }
    }
}

/// What should count: a condition does once it has been so for the hold time without a break, and no longer once it has been well for
/// as long.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    counts: bool,
    differs_ms: Option<u64>,
}

impl Due {
    fn look(&mut self, now_ms: u64, hold_ms: u64, is_down: bool) {
        if is_down == self.counts {
            self.differs_ms = None;
        } else if now_ms - *self.differs_ms.get_or_insert(now_ms) >= hold_ms {
            (self.counts, self.differs_ms) = (is_down, None);
        }
    }
}

/// The monitors of one life.
pub struct Monitors {
    plan: Plan,
    events: Vec<Event<usize>>,
    weights: Weights,
    due: Vec<Vec<Due>>,
    seen: [bool; LINKS],
    active: BTreeSet<String>,
}

fn name(at: usize) -> String {
    format!("event-{at}")
}

impl Monitors {
    pub fn new(plan: &Plan) -> Self {
        let planned = plan.events.iter().enumerate();
        let events =
            planned.map(|(at, event)| Event::new(name(at), event.hold_ms, event.links.iter().copied()));
        let mut weights = Weights::default();
        weights.follow(
            plan.events
                .iter()
                .enumerate()
                .map(|(at, event)| (name(at), event.set)),
            plan.sets.iter().map(|set| (*set, u32::from(plan.set_threshold))),
            u32::from(plan.chassis_threshold),
        );
        Self {
            events: events.collect(),
            weights,
            due: plan
                .events
                .iter()
                .map(|event| vec![Due::default(); event.links.len()])
                .collect(),
            seen: [false; LINKS],
            active: BTreeSet::new(),
            plan: plan.clone(),
        }
    }

    /// Looks at the links; what policies want done, and of which set.
    pub fn look(&mut self, now_ms: u64, down: &[bool; LINKS]) -> Vec<(u8, Action)> {
        let mut edges: Vec<Edge> = Vec::new();
        // What is due counts before anything else is seen.
        self.pass(now_ms, &mut edges);
        for (link, is_down) in down.iter().enumerate() {
            if std::mem::replace(&mut self.seen[link], *is_down) != *is_down {
                let sight = if *is_down { Sight::Failed } else { Sight::Well };
                for event in &mut self.events {
                    event.see(now_ms, &link, sight, "played", &mut edges);
                }
            }
        }
        self.pass(now_ms, &mut edges);
        let mut actions = Vec::new();
        for edge in edges {
            self.weights.take(&edge);
            let is_new = edge.active && self.active.insert(edge.event.clone());
            if !edge.active {
                self.active.remove(&edge.event);
            }
            let at = (0..self.events.len()).find(|at| name(*at) == edge.event);
            let planned = at.map(|at| &self.plan.events[at]).filter(|_| is_new);
            actions.extend(planned.and_then(|event| event.set.zip(event.action)));
        }
        actions
    }

    /// Time has passed, with what was seen last.
    fn pass(&mut self, now_ms: u64, edges: &mut Vec<Edge>) {
        for event in &mut self.events {
            event.poll(now_ms, edges);
        }
        for (event, due) in self.plan.events.iter().zip(&mut self.due) {
            for ((link, _), due) in event.links.iter().zip(due) {
                due.look(now_ms, event.hold_ms, self.seen[*link]);
            }
        }
    }

    /// What is said of a set.
    pub fn of_set(&self, set: u8) -> Monitored {
        let active = || {
            let all = self.plan.events.iter().zip(&self.events);
            let of_set = all.filter(|(plan, event)| plan.set == Some(set) && event.told().0);
            of_set.map(|(plan, _)| plan)
        };
        let releases = |action: &Action| matches!(action, Action::Release { .. });
        Monitored {
            failed_weight: u16::try_from(self.weights.of_set(set)).unwrap_or(u16::MAX),
            is_warned: active().next().is_some(),
            releases: active().any(|plan| plan.action.as_ref().is_some_and(releases)),
            broadcasts: active().next().is_some(),
        }
    }

    pub fn of_chassis(&self) -> u16 {
        u16::try_from(self.weights.of_chassis()).unwrap_or(u16::MAX)
    }

    /// Whether a set is inoperable by what should count.
    pub fn has_failed(&self, set: u8) -> bool {
        self.due_of(Some(set)) >= u32::from(self.plan.set_threshold)
            || self.due_of(None) >= u32::from(self.plan.chassis_threshold)
    }

    /// What should be the sum of weights of a set, or of the chassis.
    fn due_of(&self, set: Option<u8>) -> u32 {
        let events = self.plan.events.iter().zip(&self.due);
        let events = events.filter(|(event, _)| set.is_none() || event.set == set);
        let conditions = events.flat_map(|(event, due)| event.links.iter().zip(due));
        conditions
            .filter(|(_, due)| due.counts)
            .map(|((_, weight), _)| weight)
            .sum()
    }

    /// Each failed object counts once, after its event's hold and until it has been well for as long.
    pub fn check(&self) -> Result<(), String> {
        for set in &self.plan.sets {
            let (is, due) = (self.weights.of_set(*set), self.due_of(Some(*set)));
            if is != due {
                return Err(format!(
                    "the failed weight of set {set} is {is}, and should be {due}"
                ));
            }
        }
        let (is, due) = (self.weights.of_chassis(), self.due_of(None));
        if is != due {
            return Err(format!(
                "the failed weight of the chassis is {is}, and should be {due}"
            ));
        }
        Ok(())
    }
}
