//! What heartbeats say, in the words of the state machines, and the other way round.

use ha_sync::heartbeat::{HeartbeatEvent, LostWhy, SetBeat, SetState};
use tandem_redundancy::machine::PeerSet;
use tandem_redundancy::{Heartbeat, RoleState};

/// What heartbeats mean for roles.
pub(super) fn meaning(event: HeartbeatEvent) -> Option<Heartbeat> {
    match event {
        HeartbeatEvent::Lost { why: LostWhy::Silent } => Some(Heartbeat::Lost),
        HeartbeatEvent::Lost { .. } | HeartbeatEvent::Gone => Some(Heartbeat::Gone),
        HeartbeatEvent::Leaving => Some(Heartbeat::Leaving),
        HeartbeatEvent::Sets(sets) => Some(Heartbeat::Sets(sets.iter().map(heard).collect())),
        _ => None,
    }
}

/// Both have the states of the specification, in its order.
fn heard(beat: &SetBeat) -> (u8, PeerSet) {
    let at = SetState::ALL.iter().position(|state| *state == beat.state);
    let set = PeerSet {
        state: RoleState::ALL[at.expect("one of all")],
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

/// What a heartbeat says of a set.
pub(super) fn beaten(number: u8, set: &PeerSet) -> SetBeat {
    let at = RoleState::ALL.iter().position(|state| *state == set.state);
    let state = SetState::ALL[at.expect("one of all")];
    assert_eq!(state.name(), set.state.as_str());
    SetBeat {
        set: number,
        state,
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
