//! What became of the roles of redundancy sets, and what monitors saw beside: in the log, and the latest of it in memory for the API.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tandem_redundancy::Event;
use tracing::{info, warn};

use crate::api::EVENTS_MAX;
use crate::api::model::{RedundancyEvent, RoleCause, RoleCount, RoleState, unix_seconds};

/// A change of a role, or one that did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub set: u8,
    pub from: RoleState,
    pub to: RoleState,
    pub epoch: u64,
    pub cause: RoleCause,
    pub forced: bool,
    /// Why it did not come about, if it did not.
    pub reason: Option<String>,
    /// What is to be known beside.
    pub note: Option<String>,
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self {
            set: event.set,
            from: event.from.into(),
            to: event.to.into(),
            epoch: event.epoch,
            cause: event.cause.into(),
            forced: event.forced,
            reason: event.reason,
            note: event.note,
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<RedundancyEvent>,
    count: u64,
    /// Transitions and refusals.
    counts: BTreeMap<(u8, RoleCause), (u64, u64)>,
    /// The latest of each set.
    latest: BTreeMap<u8, RedundancyEvent>,
}

/// The history.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Kept>);

impl History {
    /// Logs it and keeps it.
    pub(super) fn add(&self, entry: Entry) {
        let (from, to, cause) = (entry.from.as_str(), entry.to.as_str(), entry.cause.as_str());
        let (set, epoch, forced) = (entry.set, entry.epoch, entry.forced);
        match &entry.reason {
            None => info!(set, from, to, epoch, cause, forced, "redundancy set: role"),
            Some(reason) => {
                warn!(set, from, to, epoch, cause, forced, %reason, "redundancy set: no change of role");
            }
        }
        self.keep(RedundancyEvent {
            id: 0,
            at_unix_s: unix_seconds(SystemTime::now()),
            redundancy_set: entry.set,
            from: entry.from,
            to: entry.to,
            epoch: entry.epoch,
            cause: entry.cause,
            forced: entry.forced,
            ok: entry.reason.is_none(),
            reason: entry.reason,
            note: entry.note,
        });
    }

    /// A monitored event of a set became active or inactive: logged by whoever saw it, and kept here.
    pub(super) fn monitored(&self, set: u8, state: RoleState, epoch: u64, what: String) {
        self.keep(RedundancyEvent {
            id: 0,
            at_unix_s: unix_seconds(SystemTime::now()),
            redundancy_set: set,
            from: state,
            to: state,
            epoch,
            cause: RoleCause::Monitor,
            forced: false,
            ok: true,
            reason: Some(what),
            note: None,
        });
    }

    /// Numbers it; the oldest goes when there are too many.
    fn keep(&self, event: RedundancyEvent) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let event = RedundancyEvent {
            id: kept.count,
            ..event
        };
        let (transitions, refusals) = kept
            .counts
            .entry((event.redundancy_set, event.cause))
            .or_default();
        // What a monitor saw is no change.
        *transitions += u64::from(event.ok && event.from != event.to);
        *refusals += u64::from(!event.ok);
        kept.latest.insert(event.redundancy_set, event.clone());
        kept.events.push_front(event);
        kept.events.truncate(EVENTS_MAX);
    }

    /// What became of a set last.
    pub(super) fn latest(&self, set: u8) -> Option<RedundancyEvent> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.latest.get(&set).cloned()
    }

    /// What was counted of these sets, by cause.
    pub(super) fn counts(&self, sets: impl Iterator<Item = u8>) -> Vec<RoleCount> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.flat_map(|set| RoleCause::ALL.map(|cause| (set, cause)))
            .map(|(set, cause)| {
                let (transitions, refusals) = kept.counts.get(&(set, cause)).copied().unwrap_or_default();
                RoleCount {
                    redundancy_set: set,
                    cause,
                    transitions,
                    refusals,
                }
            })
            .collect()
    }

    /// The latest first.
    pub(super) fn events(&self) -> Vec<RedundancyEvent> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_numbered() {
        let history = History::default();
        for epoch in 1..=EVENTS_MAX as u64 + 2 {
            history.add(Entry {
                set: 1,
                from: RoleState::Standby,
                to: RoleState::Primary,
                epoch,
                cause: RoleCause::Operator,
                forced: false,
                reason: (epoch % 2 == 0).then(|| "not now".to_owned()),
                note: None,
            });
        }
        let events = history.events();
        let last = EVENTS_MAX as u64 + 2;
        let shown = |event: Option<&RedundancyEvent>| event.map(|event| (event.id, event.epoch, event.ok));
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(shown(events.first()), Some((last, last, false)));
        assert_eq!(shown(events.last()), Some((3, 3, true)));
    }
}
