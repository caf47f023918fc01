//! The thread "probes": tracked IPs are probed, and what fails by that is told to the monitors. A thread of its own, because system
//! calls that wait for memory or a device must not hold up an edge of a link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{info, warn};

use super::clock::Clock;
use super::monitors::Feed;
use super::redundant::RedundantInterfaces;
use crate::config::Redundancy;
use crate::monitor::{Cookie, ProbeSockets, Reply, Tracker};

/// Longest sleep: so late a configuration is taken over.
const NAP: Duration = Duration::from_millis(100);

/// Tells a thread of another configuration.
pub(super) struct Reloads(Sender<Box<Redundancy>>);

impl Reloads {
    /// This one is in force.
    pub(super) fn give(&self, redundancy: &Redundancy) {
        // Nobody is there to hear it without a redundancy group, and while the daemon stops.
        let _nobody = self.0.send(Box::new(redundancy.clone()));
    }
}

/// Both ends.
pub(super) fn reloads() -> (Reloads, Receiver<Box<Redundancy>>) {
    let (sender, receiver) = channel();
    (Reloads(sender), receiver)
}

/// What the thread works on.
pub(super) struct Probes {
    pub tracker: Tracker,
    pub sockets: ProbeSockets,
    pub reloads: Receiver<Box<Redundancy>>,
    /// Taps by the names of their interfaces.
    pub taps: BTreeMap<String, String>,
    pub feed: Feed,
    pub redundant: Arc<RedundantInterfaces>,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
}

/// A number that no other process has.
pub(super) fn cookie() -> Option<Cookie> {
    let mut octets = [0; 8];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut octets);
    filled.ok().map(|()| Cookie(octets))
}

impl Probes {
    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        // Addresses whose last probe could not be sent: the log has it once.
        let mut unsent: BTreeSet<IpAddr> = BTreeSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            let mut seen = Vec::new();
            while let Ok(redundancy) = self.reloads.try_recv() {
                let now = self.now();
                self.tracker.reload(now, &redundancy, &mut seen);
                self.sockets.close();
            }
            for object in self.redundant.to_be_judged() {
                self.tracker.judge_anew(&object);
            }
            let mut probes = Vec::new();
            let now = self.now();
            self.tracker.poll(now, &mut probes, &mut seen);
            for probe in probes {
                let (address, interface) = (probe.to.address, &probe.to.interface);
                let Some(tap) = self.taps.get(interface) else {
                    continue;
                };
                match self.sockets.send(tap, &probe) {
                    Ok(()) if unsent.remove(&address) => {
                        info!(%address, interface, "tracked IP: probed again")
                    }
                    Ok(()) => {}
                    // It is a loss.
                    Err(error) => {
                        if unsent.insert(address) {
                            warn!(%address, interface, %error, "tracked IP: a probe could not be sent");
                        }
                    }
                }
            }
            self.wait();
            for (tap, from, reply) in self.sockets.replies() {
                match reply {
                    Reply::Echo { id, sequence } => self.tracker.answered(from, id, sequence, &mut seen),
                    Reply::Neighbour(of) => {
                        let taps = self.taps.iter();
                        for (interface, _) in taps.filter(|(_, name)| **name == tap) {
                            self.tracker.neighbour_answered(of, interface, &mut seen);
                        }
                    }
                }
            }
            let verdicts = self.tracker.verdicts();
            if !verdicts.is_empty() {
                self.redundant.judged(&verdicts);
            }
            if !seen.is_empty() {
                self.feed.seen(seen);
            }
        }
    }

    fn now(&self) -> u64 {
        self.clock.uptime().as_millis() as u64
    }

    /// Until an answer comes or a probe is due.
    fn wait(&self) {
        let now = self.now();
        let due = self.tracker.due_ms();
        let due = due.map_or(NAP, |due| Duration::from_millis(due.saturating_sub(now)));
        let mut fds: Vec<PollFd<'_>> = self
            .sockets
            .fds()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(due.min(NAP)).unwrap_or(PollTimeout::ZERO);
        // A signal or a refusal: as if nothing had come. What is due bounds the next wait.
        if poll(&mut fds, timeout).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
