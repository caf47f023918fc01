//! What is shown of redundancy sets and of the group's connection.

use ha_sync::chassis::SetRole;
use ha_sync::net::Status;

use super::PENDING_MAX;
use super::roles::{Lack, Shown, advice, nobody};
use super::talk::TalkState;
use crate::api::model::{GroupView, RedundancySet, ReplicationGroup, RoleState, Use, unix_seconds};
use crate::config::{self, Config};

/// A set, as the thread sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetShown {
    ours: SetRole,
    role: RoleState,
    peer: Option<(RoleState, u64)>,
    change: Shown,
    /// What it lacks, where that matters.
    lack: Option<Lack>,
    /// The peer is connected.
    is_there: bool,
}

/// A standby that does not know all is not ready.
const fn role(role: SetRole, knows_all: bool) -> RoleState {
    match (role.primary, knows_all) {
        (true, _) => RoleState::Primary,
        (false, true) => RoleState::Standby,
        (false, false) => RoleState::Wait,
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
    ) -> Self {
        let lack = lack.filter(|_| !ours.primary && !change.was_last);
        Self {
            ours,
            role: change.starting.unwrap_or_else(|| role(ours, lack.is_none())),
            peer: peer.map(|peer| (role(peer, peer_knows_all), peer.epoch)),
            change,
            lack,
            is_there,
        }
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

    /// As the API has it.
    pub(super) fn row(&self, config: &Config) -> Option<RedundancySet> {
        let set = config.redundancy.set(self.ours.set)?;
        Some(RedundancySet {
            id: set.id,
            name: set.name.clone(),
            redundancy_group: set.group,
            service_sets: set.service_sets.clone(),
            role: self.role,
            peer_role: self.peer.map(|(role, _)| role),
            changing_to: self.change.changing_to,
            epoch: self.ours.epoch,
            peer_epoch: self.peer.map(|(_, epoch)| epoch),
            since_unix_s: unix_seconds(self.change.since),
            last_cause: self.change.cause,
        })
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
        digest: config::group_digest(config, id),
        window_limit_bytes: group.map_or(0, |group| u64::from(group.replay_window_mb) << 20),
        pending_max: PENDING_MAX as u64,
        outbox: use_of(talk.rings.outboxes),
        inbox: use_of(talk.rings.inboxes),
        expected_objects,
    };
    view.row()
}
