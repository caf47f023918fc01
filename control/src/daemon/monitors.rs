//! The thread "monitors": what ports, workers, probes and the peer say becomes weights, warnings and actions of redundancy sets.
//!
//! ```text
//!   ports, probes, routing, checks, the peer --+                                    +--> ha-N: weights, warnings, actions of policies
//!   reloads -----------------------------------+--> Consequences (events, holds) ---+--> srd: signal routes by event; links that are back
//!   workers' heartbeats, looked at ------------+                                    +--> log, history, counters
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tandem_dataplane::stats::PublishedStats;
use tracing::{info, warn};

use super::clock::Clock;
use super::events::is_stalled;
use super::held_up::HeldUp;
use super::replication::{Report, Reports};
use crate::config::Redundancy;
use crate::guard::end_as_killed;
use crate::monitor::{Condition, Consequences, Followed, Observation, SetEdge};
use crate::srd::{Order, Orders};

/// Between two looks at what is not told.
const LOOK: Duration = Duration::from_millis(100);

/// What the thread is told.
enum Message {
    /// The link of an interface.
    Link { interface: String, up: bool },
    /// Something else that was seen.
    Seen(Vec<Observation>),
    /// Something that is to be known of, and changes nothing for redundancy sets.
    Told(String),
    /// Another configuration.
    Reload(Box<Redundancy>),
    /// Workers are to give up a role that the peer waits for, or have.
    HandsOver(bool),
}

/// Tells the thread something, without waiting; cheap to clone.
#[derive(Clone)]
pub(super) struct Feed(Sender<Message>);

impl Feed {
    /// An interface is up or down now.
    pub(super) fn link(&self, interface: &str, up: bool) {
        let interface = interface.to_owned();
        self.say(Message::Link { interface, up });
    }

    /// Monitors saw something.
    pub(super) fn seen(&self, seen: Vec<Observation>) {
        self.say(Message::Seen(seen));
    }

    /// Something that is to stand in the history of all redundancy sets.
    pub(super) fn told(&self, what: String) {
        self.say(Message::Told(what));
    }

    /// This configuration is in force.
    pub(super) fn reload(&self, redundancy: &Redundancy) {
        self.say(Message::Reload(Box::new(redundancy.clone())));
    }

    /// Workers are to give up a role that the peer waits for, or have.
    pub(super) fn hands_over(&self, hands_over: bool) {
        self.say(Message::HandsOver(hands_over));
    }

    fn say(&self, message: Message) {
        // Nobody is there to hear it without a redundancy group, and while the daemon stops.
        let _nobody = self.0.send(message);
    }
}

/// What the thread hears.
pub(super) struct Inbox(Receiver<Message>);

#[cfg(test)]
impl Inbox {
    /// The next thing that was seen, within a time.
    pub(super) fn next_seen(&self, within: Duration) -> Option<Observation> {
        match self.0.recv_timeout(within) {
            Ok(Message::Seen(seen)) => seen.into_iter().next(),
            Ok(Message::Link { .. } | Message::Told(_) | Message::Reload(_) | Message::HandsOver(_))
            | Err(_) => None,
        }
    }
}

/// Both ends.
pub(super) fn feed() -> (Feed, Inbox) {
    let (sender, receiver) = channel();
    (Feed(sender), Inbox(receiver))
}

/// What the thread has done, counted.
#[derive(Default)]
pub(super) struct Counts {
    /// Events that became active.
    pub activated: AtomicU64,
    /// Events that became inactive.
    pub cleared: AtomicU64,
    /// Actions that policies asked for.
    pub actions: AtomicU64,
}

/// What the thread works on.
pub(super) struct Monitors {
    pub inbox: Inbox,
    pub consequences: Consequences,
    pub reports: Reports,
    /// Who moves signal routes.
    pub outward: Option<Orders>,
    /// Names of all policies.
    pub policies: BTreeSet<String>,
    /// Uptime at which what is not known to have failed counts as well: the monitors have looked by then. `None`: it is over.
    pub first_look: Option<Duration>,
    pub counts: Arc<Counts>,
    /// Of the workers: their heartbeats.
    pub stats: Vec<Arc<PublishedStats>>,
    /// A worker whose heartbeat is older stands still.
    pub stall_threshold: Duration,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
}

/// Names of a configuration's policies.
pub(super) fn policies(redundancy: &Redundancy) -> BTreeSet<String> {
    let names = redundancy.policies.iter().map(|policy| policy.name.clone());
    names.collect()
}

impl Monitors {
    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let (mut stalled, mut held_up) = (false, HeldUp::default());
        // Whatever was before: this process is a new one.
        self.observe(&[Observation::Happened(
            Condition::Service,
            "tandemd has started".into(),
        )]);
        while !self.stop.load(Ordering::Relaxed) {
            self.look_at_workers(&mut stalled, &mut held_up);
            let now = self.now();
            let due = self.consequences.due_ms();
            let due = due.map_or(LOOK, |due| Duration::from_millis(due.saturating_sub(now)));
            match self.inbox.0.recv_timeout(due.min(LOOK)) {
                Ok(message) => self.take_in(message, &mut held_up),
                Err(RecvTimeoutError::Timeout) => {}
                // What was told last stays so.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(due.min(LOOK)),
            }
            let now = self.now();
            let followed = self.consequences.poll(now);
            self.carry_out(followed, false);
            if self.first_look.is_some_and(|end| self.clock.uptime() >= end) {
                self.first_look = None;
                self.order(Order::Watched(self.policies.clone()));
            }
        }
    }

    fn now(&self) -> u64 {
        self.clock.uptime().as_millis() as u64
    }

    fn observe(&mut self, seen: &[Observation]) {
        let now = self.now();
        let followed = self.consequences.observe(now, seen);
        self.carry_out(followed, false);
    }

    /// One that died stands still as well, until the daemon ends because of it.
    fn look_at_workers(&mut self, stalled: &mut bool, held_up: &mut HeldUp) {
        let age = |stats: &Arc<PublishedStats>| self.clock.age(stats.heartbeat());
        let mut ages = self.stats.iter().map(age).enumerate();
        let still = ages.find(|(_, age)| is_stalled(*age, self.stall_threshold));
        if held_up.look(still.is_some(), self.clock.uptime()) {
            end_as_killed("a worker stands still and cannot give up its role");
        }
        if still.is_some() == *stalled {
            return;
        }
        *stalled = still.is_some();
        let seen = match still {
            Some((worker, age)) => Observation::Failed(
                Condition::Service,
                format!(
                    "worker {worker} gave its last sign of life {} ms ago",
                    age.map_or(0, |age| age.as_millis())
                ),
            ),
            None => Observation::Well(Condition::Service, "all workers give signs of life".into()),
        };
        self.observe(&[seen]);
    }

    fn take_in(&mut self, message: Message, held_up: &mut HeldUp) {
        let now = self.now();
        match message {
            Message::Link { interface, up } => {
                let followed = self.consequences.link(now, &interface, up);
                self.carry_out(followed, false);
                if up {
                    // The kernel takes routes off a device that is down.
                    self.order(Order::Assert);
                }
            }
            Message::Seen(seen) => self.observe(&seen),
            Message::Told(what) => {
                let sets = self.consequences.sets();
                let told = sets.iter().map(|one| (one.set, what.clone())).collect();
                self.reports.give(Report {
                    sets,
                    chassis_failed_weight: self.consequences.chassis_failed_weight(),
                    actions: Vec::new(),
                    told,
                });
            }
            Message::HandsOver(hands_over) => held_up.hands_over(hands_over),
            Message::Reload(redundancy) => {
                let followed = self.consequences.reload(now, &redundancy);
                // Also when nothing follows: there may be other sets.
                self.carry_out(followed, true);
                self.policies = policies(&redundancy);
                if self.first_look.is_none() {
                    // After what is active of them.
                    self.order(Order::Watched(self.policies.clone()));
                }
            }
        }
    }

    fn order(&self, order: Order) {
        if let Some(outward) = &self.outward {
            outward.give(order);
        }
    }

    fn carry_out(&self, followed: Followed, always: bool) {
        if followed == Followed::default() && !always {
            return;
        }
        let told: Vec<(u8, String)> = followed.edges.iter().filter_map(|edge| self.tell(edge)).collect();
        for (name, is_active) in followed.policies {
            self.order(Order::Policy { name, is_active });
        }
        let actions = followed.actions.len() as u64;
        self.counts.actions.fetch_add(actions, Ordering::Relaxed);
        self.reports.give(Report {
            sets: self.consequences.sets(),
            chassis_failed_weight: self.consequences.chassis_failed_weight(),
            actions: followed.actions,
            told,
        });
    }

    /// Logs and counts an edge; what history is to have of it.
    fn tell(&self, one: &SetEdge) -> Option<(u8, String)> {
        let (edge, set) = (&one.edge, one.set.unwrap_or(0));
        let (event, weight, cause) = (&edge.event, edge.weight, &edge.cause);
        if edge.active {
            self.counts.activated.fetch_add(1, Ordering::Relaxed);
            warn!(set, event, weight, %cause, "redundancy event: active");
        } else {
            self.counts.cleared.fetch_add(1, Ordering::Relaxed);
            info!(set, event, %cause, "redundancy event: over");
        }
        let text = if edge.active {
            format!("event {event} is active, weight {weight}: {cause}")
        } else {
            format!("event {event} is over: {cause}")
        };
        one.set.map(|set| (set, text))
    }
}
