//! Tracked IPs: which address is probed when, which is lost, and which object has failed by that.
//!
//! A probe that is not answered before the next one is due is a loss; so many in a row, and the address is lost. An answer, also a late
//! one, brings it back. An object has failed while the weights of its lost addresses reach its threshold. Redundancy spec, section 4.

use std::net::IpAddr;

use super::condition::{Condition, Observation};
use crate::config::{Redundancy, TrackMethod, TrackedAddress, TrackedIp};

/// A probe to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which address it is for; comes back with the answer.
    pub id: u16,
    /// Its number; comes back with the answer.
    pub sequence: u16,
    /// How.
    pub method: TrackMethod,
    /// What is probed, from where.
    pub to: TrackedAddress,
}

/// The tracked-IP objects of a configuration.
#[derive(Debug, Default)]
pub struct Tracker {
    objects: Vec<Object>,
    addresses: Vec<Address>,
}

#[derive(Debug)]
struct Object {
    config: TrackedIp,
    failed: bool,
}

#[derive(Debug)]
struct Address {
    /// Position of its object.
    object: usize,
    to: TrackedAddress,
    /// Of the last probe.
    sequence: u16,
    /// Whether one was sent that has no answer yet.
    waits: bool,
    /// Losses in a row.
    losses: u32,
    lost: bool,
    due_ms: u64,
}

impl Tracker {
    /// The objects of a configuration; nothing is lost, and the first probes are due within an interval of their object.
    #[must_use]
    pub fn new(now_ms: u64, redundancy: &Redundancy) -> Self {
        let mut tracker = Self::default();
        tracker.reload(now_ms, redundancy, &mut Vec::new());
        tracker
    }

    /// Takes over another configuration. Addresses that stay in their object stay as they are.
    pub fn reload(&mut self, now_ms: u64, redundancy: &Redundancy, seen: &mut Vec<Observation>) {
        let before = std::mem::take(self);
        for config in &redundancy.tracked_ips {
            let old = before
                .objects
                .iter()
                .position(|old| old.config.name == config.name);
            let object = self.objects.len();
            let interval_ms = u64::from(config.interval_s) * 1000;
            for (at, to) in (0u64..).zip(&config.addresses) {
                let same = |one: &&Address| Some(one.object) == old && one.to.address == to.address;
                let same = before.addresses.iter().find(same);
                let spread_ms = interval_ms * at / config.addresses.len().max(1) as u64;
                self.addresses.push(Address {
                    object,
                    to: to.clone(),
                    sequence: same.map_or(0, |one| one.sequence),
                    waits: same.is_some_and(|one| one.waits),
                    losses: same.map_or(0, |one| one.losses),
                    lost: same.is_some_and(|one| one.lost),
                    due_ms: same.map_or(now_ms + spread_ms, |one| one.due_ms.min(now_ms + interval_ms)),
                });
            }
            self.objects.push(Object {
                config: config.clone(),
                failed: old.is_some_and(|at| before.objects.get(at).is_some_and(|old| old.failed)),
            });
        }
        for object in 0..self.objects.len() {
            self.judge(object, "another configuration", seen);
        }
    }

    /// What is to be sent now, and what is lost by now.
    pub fn poll(&mut self, now_ms: u64, probes: &mut Vec<Probe>, seen: &mut Vec<Observation>) {
        for at in 0..self.addresses.len() {
            let Some(address) = self.addresses.get_mut(at).filter(|one| one.due_ms <= now_ms) else {
                continue;
            };
            let Some(object) = self.objects.get(address.object) else {
                continue;
            };
            let interval_ms = u64::from(object.config.interval_s) * 1000;
            let threshold = u32::from(object.config.lost_threshold);
            let mut lost = None;
            if address.waits {
                address.losses = address.losses.saturating_add(1);
                if address.losses >= threshold && !address.lost {
                    address.lost = true;
                    lost = Some((address.object, format!("{} does not answer", address.to.address)));
                }
            }
            address.sequence = address.sequence.wrapping_add(1);
            address.waits = true;
            // After a pause of this thread, no burst that makes up for it.
            address.due_ms = (address.due_ms + interval_ms).max(now_ms + interval_ms / 2);
            probes.push(Probe {
                id: at as u16,
                sequence: address.sequence,
                method: object.config.method,
                to: address.to.clone(),
            });
            if let Some((object, cause)) = lost {
                self.judge(object, &cause, seen);
            }
        }
    }

    /// An answer came. One of another address, or of a probe that is too long ago, is ignored.
    pub fn answered(&mut self, from: IpAddr, id: u16, sequence: u16, seen: &mut Vec<Observation>) {
        let Some(address) = self
            .addresses
            .get_mut(usize::from(id))
            .filter(|one| one.to.address == from)
        else {
            return;
        };
        let Some(object) = self.objects.get(address.object) else {
            return;
        };
        let age = address.sequence.wrapping_sub(sequence);
        if age >= u16::from(object.config.lost_threshold) || address.sequence == 0 {
            return;
        }
        address.waits &= age > 0;
        address.losses = 0;
        if std::mem::take(&mut address.lost) {
            let (object, cause) = (address.object, format!("{from} answers"));
            self.judge(object, &cause, seen);
        }
    }

    /// A neighbour on an interface says that it has this address: the answer to the last probe that asked for it.
    pub fn neighbour_answered(&mut self, from: IpAddr, interface: &str, seen: &mut Vec<Observation>) {
        for at in 0..self.addresses.len() {
            let Some(address) = self.addresses.get(at) else {
                continue;
            };
            let method = self
                .objects
                .get(address.object)
                .map(|object| object.config.method);
            if method == Some(TrackMethod::Neighbour) && address.to.interface == interface {
                self.answered(from, at as u16, address.sequence, seen);
            }
        }
    }

    /// When [`Tracker::poll`] has something to do next.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.addresses.iter().map(|address| address.due_ms).min()
    }

    /// Tells an object that changed.
    fn judge(&mut self, at: usize, cause: &str, seen: &mut Vec<Observation>) {
        let lost = self.addresses.iter().filter(|one| one.object == at && one.lost);
        let sum: u32 = lost.map(|one| u32::from(one.to.weight)).sum();
        let Some(object) = self.objects.get_mut(at) else {
            return;
        };
        let (name, threshold) = (&object.config.name, object.config.threshold);
        let failed = sum >= u32::from(threshold);
        if failed == object.failed {
            return;
        }
        object.failed = failed;
        let condition = Condition::Tracked(name.clone());
        let text = format!("tracked IP {name}: {cause} ({sum} of {threshold} lost)");
        seen.push(if failed {
            Observation::Failed(condition, text)
        } else {
            Observation::Well(condition, text)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn redundancy(keys: &str) -> Redundancy {
        let text = format!(
            "[interfaces.a]\ndevice = \"net_ring0\"\naddresses = [\"10.0.0.1/24\"]\n[tracked-ips.t]\n{keys}"
        );
        config::parse(&text, "t.toml")
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
            .redundancy
    }

    const TWO: &str =
        "addresses = [{ address = \"10.0.0.7\", weight = 2 }, { address = \"10.0.0.8\" }]\nthreshold = 3\n";

    /// Polls second by second; `answers` says who does. The times at which something was seen.
    fn run(
        tracker: &mut Tracker,
        from_s: u64,
        to_s: u64,
        answers: impl Fn(u64, &IpAddr) -> bool,
    ) -> Vec<String> {
        let mut told = Vec::new();
        for now_ms in (from_s * 1000..to_s * 1000).step_by(100) {
            let (mut probes, mut seen) = (Vec::new(), Vec::new());
            tracker.poll(now_ms, &mut probes, &mut seen);
            for probe in probes {
                if answers(now_ms, &probe.to.address) {
                    tracker.answered(probe.to.address, probe.id, probe.sequence, &mut seen);
                }
            }
            told.extend(seen.into_iter().map(|one| match one {
                Observation::Failed(_, text) => format!("{now_ms} failed {text}"),
                Observation::Well(_, text) => format!("{now_ms} well {text}"),
                Observation::Happened(_, text) => format!("{now_ms} happened {text}"),
            }));
        }
        told
    }

    #[test]
    fn an_object_fails_when_the_weights_of_its_lost_addresses_reach_its_threshold() {
        let mut tracker = Tracker::new(0, &redundancy(TWO));
        let eight = |_: u64, address: &IpAddr| address.to_string() == "10.0.0.8";
        assert_eq!(run(&mut tracker, 0, 10, |_, _| true), [""; 0]);
        assert_eq!(run(&mut tracker, 10, 20, eight), [""; 0], "2 of 3");
        let told = run(&mut tracker, 20, 30, |_, _| false);
        assert_eq!(
            told,
            ["23500 failed tracked IP t: 10.0.0.8 does not answer (3 of 3 lost)"]
        );
        let told = run(&mut tracker, 30, 40, |_, _| true);
        assert_eq!(told, ["30000 well tracked IP t: 10.0.0.7 answers (1 of 3 lost)"]);
    }

    #[test]
    fn an_address_is_lost_after_so_many_losses_in_a_row_and_not_before() {
        let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\nlost-threshold = 3\n";
        let mut tracker = Tracker::new(0, &redundancy(keys));
        // Two of three are lost, for a hundred times.
        assert_eq!(
            run(&mut tracker, 0, 300, |now_ms, _| now_ms / 1000 % 3 == 0),
            [""; 0]
        );
        let told = run(&mut tracker, 300, 310, |_, _| false);
        assert_eq!(told.len(), 1, "{told:?}");
    }

    #[test]
    fn late_answers_count_and_foreign_ones_do_not() {
        let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\nlost-threshold = 3\n";
        let mut tracker = Tracker::new(0, &redundancy(keys));
        let (address, stranger): (IpAddr, IpAddr) = ([10, 0, 0, 7].into(), [10, 0, 0, 9].into());
        let mut seen = Vec::new();
        tracker.answered(address, 0, 0, &mut seen);
        let mut probes = Vec::new();
        for second in 0..100u64 {
            tracker.poll(second * 1000, &mut probes, &mut seen);
            // The answer is two probes late.
            if let Some(late) = second.checked_sub(2) {
                tracker.answered(address, 0, late as u16 + 1, &mut seen);
            }
        }
        assert_eq!(seen, []);
        for second in 100..110u64 {
            tracker.poll(second * 1000, &mut probes, &mut seen);
            let last = probes.last().expect("one").sequence;
            tracker.answered(stranger, 0, last, &mut seen);
            tracker.answered(address, 1, last, &mut seen);
            tracker.answered(address, 0, last.wrapping_sub(3), &mut seen);
            tracker.answered(address, 0, last.wrapping_add(1), &mut seen);
        }
        assert!(matches!(&seen[..], [Observation::Failed(..)]), "{seen:?}");
    }

    #[test]
    fn a_neighbour_answers_by_its_address_and_interface() {
        let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\nmethod = \"neighbour\"\n";
        let mut tracker = Tracker::new(0, &redundancy(keys));
        let (mut probes, mut seen) = (Vec::new(), Vec::new());
        for second in 0..10u64 {
            tracker.poll(second * 1000, &mut probes, &mut seen);
            tracker.neighbour_answered([10, 0, 0, 7].into(), "a", &mut seen);
        }
        assert_eq!(seen, []);
        for second in 10..20u64 {
            tracker.poll(second * 1000, &mut probes, &mut seen);
            tracker.neighbour_answered([10, 0, 0, 7].into(), "b", &mut seen);
            tracker.neighbour_answered([10, 0, 0, 8].into(), "a", &mut seen);
        }
        assert!(matches!(&seen[..], [Observation::Failed(..)]), "{seen:?}");
    }

    #[test]
    fn a_pause_is_followed_by_one_probe_and_not_by_a_burst() {
        let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\n";
        let mut tracker = Tracker::new(0, &redundancy(keys));
        let (mut probes, mut seen) = (Vec::new(), Vec::new());
        tracker.poll(0, &mut probes, &mut seen);
        for now_ms in (60_000..60_500).step_by(50) {
            tracker.poll(now_ms, &mut probes, &mut seen);
        }
        assert_eq!(probes.len(), 2);
    }

    #[test]
    fn a_reload_keeps_what_is_lost_and_judges_anew() {
        let mut tracker = Tracker::new(0, &redundancy(TWO));
        let told = run(&mut tracker, 0, 10, |_, _| false);
        assert_eq!(told.len(), 1, "{told:?}");
        let mut seen = Vec::new();
        tracker.reload(
            10_000,
            &redundancy(&TWO.replace("threshold = 3", "threshold = 4")),
            &mut seen,
        );
        assert!(matches!(&seen[..], [Observation::Well(..)]), "{seen:?}");
        seen.clear();
        tracker.reload(10_000, &redundancy(TWO), &mut seen);
        assert!(matches!(&seen[..], [Observation::Failed(..)]), "{seen:?}");
    }
}
