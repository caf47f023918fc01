//! What is shown of redundancy sets and of the group's connection.

use std::time::SystemTime;

use ha_sync::chassis::SetRole;
use ha_sync::net::Status;
use tandem_redundancy::machine::{self, PeerSeen};
use tandem_redundancy::roles::{Shown, advice, nobody};
use tandem_redundancy::{Lack, SetView};

use super::PENDING_MAX;
use super::history::Entry;
use super::talk::TalkState;
use crate::api::model::{
    GroupView, Hold, PeerOfSet, RedundancySet, ReplicationGroup, RoleCause, RoleState, Use, WantedRole,
    Weights, unix_seconds,
};
use crate::config::{self, Config};

/// When a set came to its role: by the time of day for people, by the dataplane's clock for its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    wall: SystemTime,
    uptime_ms: u64,
}

impl Since {
    /// At this moment.
    pub(super) fn now(uptime_ms: u64) -> Self {
        Self {
            wall: SystemTime::now(),
            uptime_ms,
        }
    }
}

/// A set, as the thread sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetShown {
    ours: SetRole,
    role: RoleState,
    peer: Option<(RoleState, u64)>,
    change: Shown,
    /// Since when it has its role.
    since: Since,
    /// What it lacks, where that matters.
    lack: Option<Lack>,
    /// The peer is connected.
    is_there: bool,
    /// What its machine says, if its roles are automatic.
    automatic: Option<SetView>,
    /// When it ends to drain, at the latest.
    drains_until_ms: Option<u64>,
}

/// A standby that does not know all is not ready.
const fn role(role: SetRole, knows_all: bool) -> RoleState {
    match (role.primary, knows_all) {
        (true, _) => RoleState::Primary,
        (false, true) => RoleState::Standby,
        (false, false) => RoleState::Wait,
    }
}

const fn name_of(hold: machine::Hold) -> &'static str {
    match hold {
        machine::Hold::Initial => "initial",
        machine::Hold::Recovery => "recovery",
        machine::Hold::Preempt => "preempt",
        machine::Hold::Vacancy => "vacancy",
    }
}

const fn weights(view: &SetView) -> Weights {
    Weights {
        failed: view.monitored.failed_weight,
        threshold: view.settings.set_threshold,
        chassis_failed: view.chassis_failed_weight,
        chassis_threshold: view.settings.chassis_threshold,
    }
}

impl SetShown {
    pub(super) fn of(
        ours: SetRole,
        lack: Option<Lack>,
        peer: Option<SetRole>,
        peer_knows_all: bool,
        is_there: bool,
        change: Shown,
        since: Since,
    ) -> Self {
        let lack = lack.filter(|_| !ours.primary && !change.was_last);
        Self {
            ours,
            role: change
                .starting
                .map_or_else(|| role(ours, lack.is_none()), RoleState::from),
            peer: peer.map(|peer| (role(peer, peer_knows_all), peer.epoch)),
            change,
            since,
            lack,
            is_there,
            automatic: None,
            drains_until_ms: None,
        }
    }

    /// With what its machine says of it, if its roles are automatic.
    pub(super) fn with(mut self, automatic: Option<SetView>) -> Self {
        if let Some(view) = automatic {
            self.role = view.state.into();
            let heard = view.peer.set();
            self.peer = heard.map_or(self.peer, |peer| Some((peer.state.into(), peer.epoch)));
            self.automatic = Some(view);
        }
        self
    }

    /// It drains until then.
    pub(super) const fn draining(mut self, until_ms: Option<u64>) -> Self {
        self.drains_until_ms = until_ms;
        self
    }

    /// What is wrong with it, if something is, and what a person has to do about it. That a bulk is under way the connection's
    /// state says.
    pub(super) fn trouble(&self) -> Option<String> {
        let set = self.ours.set;
        if self.change.held {
            Some(advice(set))
        } else if self.change.vacant {
            Some(nobody(set, self.is_there))
        } else {
            let lack = self.lack.filter(|lack| *lack == Lack::Refused)?;
            Some(format!("redundancy set {set} is in `wait`: {}", lack.text()))
        }
    }

    /// What history has of a set when replication has failed: its role stays as it is.
    pub(super) fn failed(&self, why: &str) -> Entry {
        Entry {
            set: self.ours.set,
            from: self.role,
            to: self.role,
            epoch: self.ours.epoch,
            cause: RoleCause::Failure,
            forced: false,
            reason: Some(why.to_owned()),
            note: None,
        }
    }

    /// As the API has it, without what is outside the dataplane and its colour. `paths`: of heartbeats, those that are up.
    pub(super) fn row(&self, config: &Config, now_ms: u64, paths: &[String]) -> Option<RedundancySet> {
        let set = config.redundancy.set(self.ours.set)?;
        let view = self.automatic.as_ref();
        Some(RedundancySet {
            automatic: view.is_some(),
            reason: view
                .map_or_else(|| self.lack.map(Lack::text), |view| Some(view.reason))
                .map(str::to_owned),
            priority: set.priority,
            preempt: set.preempt,
            taken_out: view.is_some_and(|view| view.is_taken_out),
            warning: view.and_then(|view| view.warning.clone()),
            holds: self.holds(now_ms),
            weights: view.map(weights),
            peer: self.peer_of_set(paths),
            id: set.id,
            name: set.name.clone(),
            redundancy_group: set.group,
            service_sets: set.service_sets.clone(),
            role: self.role,
            peer_role: self.peer.map(|(role, _)| role),
            changing_to: self.change.changing_to.map(WantedRole::from),
            epoch: self.ours.epoch,
            peer_epoch: self.peer.map(|(_, epoch)| epoch),
            since_unix_s: unix_seconds(self.since.wall),
            role_age_s: now_ms.saturating_sub(self.since.uptime_ms) / 1000,
            last_cause: self.change.cause.into(),
            ..RedundancySet::of(set.id)
        })
    }

    /// What still runs.
    fn holds(&self, now_ms: u64) -> Vec<Hold> {
        let machines = self.automatic.iter().flat_map(|view| &view.holds);
        let named = machines.map(|(hold, until_ms)| (name_of(*hold), *until_ms));
        let drain = self.drains_until_ms.map(|until_ms| ("drain", until_ms));
        let left = |(hold, until_ms): (&str, u64)| {
            let left_ms = until_ms.saturating_sub(now_ms);
            (left_ms > 0).then(|| Hold {
                hold: hold.to_owned(),
                left_ms,
            })
        };
        named.chain(drain).filter_map(left).collect()
    }

    fn peer_of_set(&self, paths: &[String]) -> PeerOfSet {
        let mut heard_on = paths.to_vec();
        if self.is_there {
            heard_on.push("channel".to_owned());
        }
        let Some(view) = &self.automatic else {
            let life = if self.peer.is_some() { "heard" } else { "unheard" };
            return PeerOfSet {
                life: life.to_owned(),
                heard_on,
                ..PeerOfSet::default()
            };
        };
        let life = match view.peer {
            PeerSeen::Unheard => "unheard",
            PeerSeen::Lost => "lost",
            PeerSeen::Gone => "gone",
            PeerSeen::Leaving => "leaving",
            PeerSeen::Without => "without",
            PeerSeen::Heard(_) => "heard",
        };
        let set = view.peer.set();
        PeerOfSet {
            life: life.to_owned(),
            heard_on,
            priority: set.map(|set| set.priority),
            failed_weight: set.map(|set| set.failed_weight),
            complete: set.map(|set| set.is_complete),
            eligible: set.map(|set| set.is_eligible),
            warned: set.map(|set| set.is_warned),
            warns: set.map(|set| set.broadcasts),
        }
    }
}

/// The group as the API has it. `expected_objects` is how many the bulk under way will tell.
pub(super) fn group(
    id: u8,
    config: &Config,
    status: &Status<TalkState>,
    expected_objects: Option<u64>,
) -> ReplicationGroup {
    let (group, talk) = (config.redundancy.group(id), &status.conversation);
    let use_of = |(used, total): (usize, usize)| Use {
        used: used as u64,
        total: total as u64,
    };
    let view = GroupView {
        id,
        name: group.and_then(|group| group.name.as_deref()),
        channel: &status.channel,
        state: talk.link,
        stats: &talk.stats,
        bridge: &talk.bridge,
        wire_version: talk.wire_version,
        digest: config::group_digest(config, id),
        window_limit_bytes: group.map_or(0, |group| u64::from(group.replay_window_mb) << 20),
        pending_max: PENDING_MAX as u64,
        outbox: use_of(talk.rings.outboxes),
        inbox: use_of(talk.rings.inboxes),
        expected_objects,
        held_back: talk.rings.held_back,
        replicates: group.is_none_or(|group| group.session_replication),
        differences: &talk.differences,
    };
    view.row()
}

#[cfg(test)]
impl SetShown {
    /// Set 1, primary, alone.
    pub(super) fn example() -> Self {
        let ours = SetRole {
            set: 1,
            primary: true,
            epoch: 1,
        };
        let change = Shown {
            cause: tandem_redundancy::RoleCause::Start,
            changing_to: None,
            starting: None,
            held: false,
            was_last: true,
            vacant: false,
        };
        Self::of(
            ours,
            Some(Lack::Untold),
            None,
            false,
            false,
            change,
            Since::now(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_role_is_not_by_the_time_of_day() {
        let text = "[interfaces.a]\ndevice = \"net_ring0\"\n[redundancy-sets.1]\nredundancy-group = 1\n\
                    [redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n";
        let config = config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
        let mut set = SetShown::example();
        // The clock was put right by years after the set had come to its role.
        set.since = Since {
            wall: SystemTime::UNIX_EPOCH,
            uptime_ms: 2_500,
        };
        let row = |now_ms| set.row(&config, now_ms, &[]).expect("a set of the configuration");
        let ages = [0, 3_499, 3_500, 92_500].map(|now_ms| (row(now_ms).role_age_s, row(now_ms).since_unix_s));
        assert_eq!(ages, [(0, 0), (0, 0), (1, 0), (90, 0)]);
    }

    #[test]
    fn what_is_wrong_with_a_set_has_a_name() {
        let primary = SetShown::example();
        assert_eq!((primary.role, primary.trouble()), (RoleState::Primary, None));
        let standby = |lack, change: fn(&mut Shown)| {
            let mut shown = Shown {
                was_last: false,
                ..primary.change
            };
            change(&mut shown);
            let ours = SetRole {
                primary: false,
                ..primary.ours
            };
            SetShown::of(ours, lack, None, false, false, shown, Since::now(0))
        };
        let complete = standby(None, |_| {});
        assert_eq!((complete.role, complete.trouble()), (RoleState::Standby, None));
        let untold = standby(Some(Lack::Untold), |_| {});
        assert_eq!((untold.role, untold.trouble()), (RoleState::Wait, None));
        let refused = standby(Some(Lack::Refused), |_| {});
        assert_eq!(refused.role, RoleState::Wait);
        assert!(refused.trouble().is_some_and(|why| why.contains("had to refuse")));
        let last = standby(Some(Lack::Untold), |shown| shown.was_last = true);
        assert_eq!(last.role, RoleState::Standby);
        let vacant = standby(None, |shown| shown.vacant = true);
        assert!(
            vacant
                .trouble()
                .is_some_and(|why| why.contains("no primary for redundancy set 1"))
        );
    }
}
