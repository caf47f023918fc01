//! Tracked IPs: which address is probed when, which is lost, and which object has failed by that.
//!
//! A probe that is not answered before the next one is due is a loss; so many in a row, and the address is lost. An answer, also a late
//! one, brings it back. An object has failed while the weights of its lost addresses reach its threshold. Redundancy spec, section 4.
//!
//! What is told of an object is twofold. Observations, for redundancy events, are its changes. Verdicts, for the member of a redundant
//! interface that its probes leave by, are those as well; and when another member is active, or one is trusted anew, what the old probes
//! said is no word about it: [`Tracker::judge_anew`] begins a window in which only new probes count, and its end is a verdict, also
//! where nothing has changed.

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

/// How an object is by the member of a redundant interface that its probes leave by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Name of the object.
    pub object: String,
    /// What it failed by, if it has.
    pub failed: Option<String>,
}

/// The tracked-IP objects of a configuration.
#[derive(Debug, Default)]
pub struct Tracker {
    objects: Vec<Object>,
    addresses: Vec<Address>,
    verdicts: Vec<Verdict>,
}

#[derive(Debug)]
struct Object {
    config: TrackedIp,
    failed: bool,
    /// Only new probes count, until they suffice for a verdict.
    anew: bool,
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
    /// While its object is judged anew: the last probe that is too old for that, until a newer one is answered or so many are lost.
    undecided_since: Option<u16>,
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
        let mut before = std::mem::take(self);
        self.verdicts.append(&mut before.verdicts);
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
                    undecided_since: same.and_then(|one| one.undecided_since),
                    due_ms: same.map_or(now_ms + spread_ms, |one| one.due_ms.min(now_ms + interval_ms)),
                });
            }
            let old = old.and_then(|at| before.objects.get(at));
            self.objects.push(Object {
                config: config.clone(),
                failed: old.is_some_and(|old| old.failed),
                anew: old.is_some_and(|old| old.anew),
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
                if address.losses >= threshold && (!address.lost || address.undecided_since.is_some()) {
                    (address.lost, address.undecided_since) = (true, None);
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
        let is_decided = address
            .undecided_since
            .is_some_and(|old| (sequence.wrapping_sub(old) as i16) > 0);
        if is_decided {
            address.undecided_since = None;
        }
        if std::mem::take(&mut address.lost) || is_decided {
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

    /// Another member is active, or one is trusted anew: what was lost by the old probes counts no more for it, and the next
    /// `lost-threshold` probes end in a verdict. For redundancy events nothing changes by this.
    pub fn judge_anew(&mut self, name: &str) {
        let Some(at) = self.objects.iter().position(|one| one.config.name == name) else {
            return;
        };
        if let Some(object) = self.objects.get_mut(at) {
            object.anew = true;
        }
        for address in self.addresses.iter_mut().filter(|one| one.object == at) {
            // The probe that is under way is no loss of the new member.
            (address.waits, address.losses) = (false, 0);
            address.undecided_since = Some(address.sequence);
        }
    }

    /// The verdicts since the last call, in their order.
    pub fn verdicts(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts)
    }

    /// Tells an object that changed, and the end of a window of new probes.
    fn judge(&mut self, at: usize, cause: &str, seen: &mut Vec<Observation>) {
        let weigh = |counts: fn(&Address) -> bool| -> u32 {
            let own = self.addresses.iter().filter(|one| one.object == at);
            own.filter(|one| counts(one))
                .map(|one| u32::from(one.to.weight))
                .sum()
        };
        let sum = weigh(|one| one.lost);
        let at_least = weigh(|one| one.lost && one.undecided_since.is_none());
        let at_most = weigh(|one| one.lost || one.undecided_since.is_some());
        let Some(object) = self.objects.get_mut(at) else {
            return;
        };
        let (name, threshold) = (&object.config.name, object.config.threshold);
        let limit = u32::from(threshold);
        let failed = sum >= limit;
        let has_changed = failed != std::mem::replace(&mut object.failed, failed);
        let text = format!("tracked IP {name}: {cause} ({sum} of {threshold} lost)");
        // Where what is undecided cannot change it, the verdict is what all together say.
        let is_decided = at_least >= limit || at_most < limit;
        if is_decided && (has_changed || object.anew) {
            self.verdicts.push(Verdict {
                object: name.clone(),
                failed: failed.then(|| text.clone()),
            });
        }
        let condition = Condition::Tracked(name.clone());
        if is_decided && std::mem::take(&mut object.anew) {
            let own = self.addresses.iter_mut().filter(|one| one.object == at);
            own.for_each(|one| one.undecided_since = None);
        }
        if !has_changed {
            return;
        }
        seen.push(if failed {
            Observation::Failed(condition, text)
        } else {
            Observation::Well(condition, text)
        });
    }
}

#[cfg(test)]
mod tests;
