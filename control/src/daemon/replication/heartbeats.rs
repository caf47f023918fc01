//! Heartbeats of a redundancy group: from the configuration to their thread, and what they say in the roles' terms and back.

use std::net::IpAddr;

use ha_sync::heartbeat::{
    BeatTiming, Codec, FileKey, HeartbeatConfig, HeartbeatEvent, KeyFileError, LostWhy, PathConfig, PathId,
    SetBeat, SetState,
};
use tandem_redundancy::machine::{PeerSet, Settings};
use tandem_redundancy::roles::Configured;
use tandem_redundancy::{Heartbeat, RoleState};

use crate::config::{Config, LinkKind, RedundancyGroup, RedundancySet};

/// The heartbeats a group is configured with; its key is read here.
pub(super) fn configured(
    group: &RedundancyGroup,
    incarnation: u64,
) -> Result<Option<HeartbeatConfig>, KeyFileError> {
    let Some(beats) = &group.heartbeats else {
        return Ok(None);
    };
    let key = match &beats.key {
        Some(path) => FileKey::read(path)?,
        None => FileKey::known_to_all(),
    };
    let mut secondaries = [PathId::Secondary1, PathId::Secondary2].into_iter();
    let paths = group.links.iter().filter_map(|link| {
        let id = match link.kind {
            LinkKind::Control => PathId::Control,
            LinkKind::Data => PathId::Data,
            // The configuration has two at most.
            LinkKind::Secondary => secondaries.next()?,
        };
        Some(PathConfig {
            id,
            local: link.local,
            peer: link.peer,
            port: link.port,
            bind: link.bind.clone(),
        })
    });
    Ok(Some(HeartbeatConfig {
        group: group.id,
        incarnation,
        timing: BeatTiming {
            interval_ms: beats.interval_ms,
            lost_threshold: beats.lost_threshold,
        },
        // Heartbeats have a version of their own: that of wire version 2 is the second.
        codec: Codec::new(&key, group.local, group.peer).speaking(group.wire_version.min(255) as u8),
        paths: paths.collect(),
    }))
}

/// How a set gets its role: by hand without heartbeats.
pub(super) fn role(config: &Config, set: &RedundancySet) -> Configured {
    let group = config.redundancy.group(set.group);
    if group.is_some_and(|group| group.heartbeats.is_some()) {
        Configured::Automatic
    } else {
        Configured::As(set.role)
    }
}

/// The sets of a group whose roles are automatic.
pub(super) fn automatic(config: &Config, id: u8) -> Vec<(u8, Settings)> {
    let Some(group) = config
        .redundancy
        .group(id)
        .filter(|group| group.heartbeats.is_some())
    else {
        return Vec::new();
    };
    let settings = |set: &RedundancySet| Settings {
        priority: set.priority,
        is_gateway_1: group.is_gateway_1(),
        preempt: set.preempt,
        preempt_hold_ms: u64::from(set.preempt_hold_s) * 1000,
        recovery_hold_ms: u64::from(set.recovery_hold_s) * 1000,
        initial_hold_ms: config.redundancy.initial_hold_ms(group),
        primary_always_exists: set.primary_always_exists,
        set_threshold: u16::from(set.failover_threshold),
        chassis_threshold: u16::from(config.redundancy.failover_threshold),
    };
    let sets = config.redundancy.sets_of(id);
    sets.map(|set| (set.id, settings(set))).collect()
}

/// What an event means for roles. `is_reached`: the channel is there, or a path that its host has not refused brings heartbeats.
pub(super) fn meaning(event: HeartbeatEvent, is_reached: bool) -> Option<Heartbeat> {
    match event {
        // Its sets follow, and without them it would be a peer that has none.
        HeartbeatEvent::Alive { .. }
        | HeartbeatEvent::PathUp(_)
        | HeartbeatEvent::PathDown(_)
        | HeartbeatEvent::OtherVersion { .. } => None,
        HeartbeatEvent::Lost { why: LostWhy::Silent } => Some(Heartbeat::Lost),
        HeartbeatEvent::Lost {
            why: LostWhy::Restarted,
        }
        | HeartbeatEvent::Gone => Some(Heartbeat::Gone),
        HeartbeatEvent::Leaving => Some(Heartbeat::Leaving),
        // Its host lives; its process does not, if it keeps no connection and no other path either. One path alone may only lack
        // its socket at the other end.
        HeartbeatEvent::Refused(_) => (!is_reached).then_some(Heartbeat::Gone),
        HeartbeatEvent::Sets(sets) => Some(Heartbeat::Sets(sets.iter().map(heard).collect())),
    }
}

/// Whether the HA link with this far end brings no heartbeats while the other one does. Paths, whether each is up, and its far end.
pub(super) fn is_cut(paths: &[(PathId, bool, IpAddr)], over: IpAddr) -> bool {
    let is_ha = |id| matches!(id, PathId::Control | PathId::Data);
    let mut links = paths.iter().filter(|(id, ..)| is_ha(*id));
    let mut others = links.clone();
    links.any(|(_, up, peer)| !up && *peer == over) && others.any(|(_, up, peer)| *up && *peer != over)
}

fn heard(beat: &SetBeat) -> (u8, PeerSet) {
    let set = PeerSet {
        state: state(beat.state),
        is_primary: beat.primary,
        epoch: beat.epoch,
        priority: beat.priority,
        failed_weight: beat.failed_weight,
        is_complete: beat.complete,
        is_eligible: beat.eligible,
        is_warned: beat.warned,
        broadcasts: beat.broadcasts,
    };
    (beat.set, set)
}

/// What is told of a set here.
pub(super) fn told(number: u8, set: &PeerSet) -> SetBeat {
    SetBeat {
        set: number,
        state: beaten(set.state),
        primary: set.is_primary,
        complete: set.is_complete,
        warned: set.is_warned,
        broadcasts: set.broadcasts,
        eligible: set.is_eligible,
        epoch: set.epoch,
        priority: set.priority,
        failed_weight: set.failed_weight,
    }
}

const fn state(state: SetState) -> RoleState {
    match state {
        SetState::Initializing => RoleState::Initializing,
        SetState::Primary => RoleState::Primary,
        SetState::Standby => RoleState::Standby,
        SetState::StandbyWarned => RoleState::StandbyWarned,
        SetState::Wait => RoleState::Wait,
        SetState::Ineligible => RoleState::Ineligible,
        SetState::Inoperable => RoleState::Inoperable,
    }
}

const fn beaten(state: RoleState) -> SetState {
    match state {
        RoleState::Initializing => SetState::Initializing,
        RoleState::Primary => SetState::Primary,
        RoleState::Standby => SetState::Standby,
        RoleState::StandbyWarned => SetState::StandbyWarned,
        RoleState::Wait => SetState::Wait,
        RoleState::Ineligible => SetState::Ineligible,
        RoleState::Inoperable => SetState::Inoperable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard_as_it_was() {
        for state in RoleState::ALL {
            let set = PeerSet {
                state,
                is_primary: state == RoleState::Primary,
                epoch: 7,
                priority: 9,
                failed_weight: 11,
                is_complete: state == RoleState::Standby,
                is_eligible: state != RoleState::Ineligible,
                is_warned: state == RoleState::StandbyWarned,
                broadcasts: state == RoleState::Primary,
            };
            assert_eq!(heard(&told(3, &set)), (3, set));
        }
    }

    #[test]
    fn a_link_is_cut_when_the_other_one_brings_heartbeats() {
        let [control, data, inside] = [1, 2, 3].map(|last| IpAddr::from([10, 0, last, 2]));
        let cut = |ups: [bool; 3], over| {
            let paths = [
                (PathId::Control, ups[0], control),
                (PathId::Data, ups[1], data),
                (PathId::Secondary1, ups[2], inside),
            ];
            is_cut(&paths, over)
        };
        assert!(cut([false, true, true], control) && cut([true, false, true], data));
        assert!(!cut([false, true, true], data), "it is on the one that is up");
        assert!(!cut([true; 3], control) && !cut([false; 3], control));
        assert!(
            !cut([false, false, true], control),
            "a secondary path is for heartbeats alone"
        );
        assert!(!cut([true, true, false], inside));
        let elsewhere = IpAddr::from([10, 0, 9, 2]);
        assert!(!cut([false, true, true], elsewhere), "nobody knows of its link");
    }

    #[test]
    fn a_refusal_ends_a_peer_only_together_with_the_channel() {
        let refused = HeartbeatEvent::Refused(PathId::Control);
        assert_eq!(meaning(refused.clone(), true), None);
        assert_eq!(meaning(refused, false), Some(Heartbeat::Gone));
        assert_eq!(meaning(HeartbeatEvent::Alive { incarnation: 1 }, true), None);
        let anew = HeartbeatEvent::Lost {
            why: LostWhy::Restarted,
        };
        assert_eq!(meaning(anew, true), Some(Heartbeat::Gone));
    }
}
