use super::super::Lack;
use super::super::tests::{Bench, IN_STEP, SET, changed, now, role};
use super::*;
use crate::RoleError;

const HOLD_MS: u64 = 5000;

/// A set that has just started, at an uptime of 100 ms.
fn started(configured: Role, peer: Peer, theirs: Option<SetRole>) -> Bench {
    let mut bench = Bench::started(configured, peer, theirs);
    bench.tick(100);
    bench
}

fn state_of(bench: &Bench) -> Option<RoleState> {
    bench.roles.shown(SET).and_then(|set| set.starting)
}

#[test]
fn workers_are_standby_before_anything_is_known() {
    for configured in [Role::Primary, Role::Standby] {
        let mut bench = Bench::started(configured, Peer::Gone, None);
        assert_eq!(bench.chassis.ours, role(false, 0));
        assert_eq!(state_of(&bench), Some(RoleState::Initializing));
        let first = (
            RoleState::Standby,
            RoleState::Initializing,
            0,
            RoleCause::Start,
            true,
        );
        assert_eq!(bench.last(), first);
    }
}

#[test]
fn with_nobody_heard_the_configured_role_comes_after_the_hold() {
    for (configured, state) in [
        (Role::Primary, RoleState::Primary),
        (Role::Standby, RoleState::Standby),
    ] {
        let mut bench = started(configured, Peer::Gone, None);
        bench.tick(99 + HOLD_MS);
        assert_eq!(state_of(&bench), Some(RoleState::Initializing));
        bench.tick(100 + HOLD_MS);
        bench.workers_take_it_up(101 + HOLD_MS);
        let epoch = u64::from(configured == Role::Primary);
        assert_eq!(bench.chassis.ours, role(configured == Role::Primary, epoch));
        let last = (RoleState::Initializing, state, epoch, RoleCause::Start, true);
        assert_eq!((bench.last(), state_of(&bench)), (last, None));
    }
}

#[test]
fn a_peer_that_has_just_connected_is_given_time_to_say_its_roles_but_not_for_ever() {
    let mut bench = started(Role::Primary, Peer::Greeting, None);
    bench.tick(100 + HOLD_MS + GREETING_MS - 1);
    assert!(!bench.chassis.ours.primary);
    bench.tick(100 + HOLD_MS + GREETING_MS);
    assert!(bench.chassis.ours.primary);
}

#[test]
fn a_fresh_peer_means_the_configured_roles_at_once() {
    for theirs in [Some(role(false, 0)), None] {
        for peer in [IN_STEP, Peer::Suspended] {
            let bench = started(Role::Primary, peer, theirs);
            assert_eq!(bench.chassis.ours, role(true, 1));
            let bench = started(Role::Standby, peer, theirs);
            assert_eq!((bench.chassis.ours, state_of(&bench)), (role(false, 0), None));
        }
    }
}

#[test]
fn beside_a_primary_peer_the_configured_primary_is_standby() {
    let mut bench = started(Role::Primary, IN_STEP, Some(role(true, 4)));
    assert_eq!(
        bench.last(),
        (
            RoleState::Initializing,
            RoleState::Standby,
            0,
            RoleCause::Start,
            true
        )
    );
    assert_eq!(bench.chassis.ours, role(false, 4), "it is told from now on");
    let bench = started(Role::Primary, Peer::Suspended, Some(role(true, 4)));
    assert_eq!(bench.chassis.ours, role(false, 0), "it is told nothing");
}

/// Beside a standby that an earlier life of this chassis told its sessions.
fn held() -> Bench {
    started(Role::Primary, IN_STEP, Some(role(false, 4)))
}

#[test]
fn what_the_peer_holds_is_not_lost_by_a_restart() {
    let mut bench = held();
    let refused = (
        RoleState::Initializing,
        RoleState::Primary,
        0,
        RoleCause::Start,
        false,
    );
    assert_eq!((bench.last(), state_of(&bench)), (refused, Some(RoleState::Wait)));
    let events = bench.history().len();
    bench.tick(100 + 2 * HOLD_MS);
    assert_eq!(bench.chassis.ours, role(false, 0));
    assert_eq!(bench.history().len(), events, "it is said once");
    assert!(bench.roles.shown(SET).is_some_and(|set| set.held));
    let plain = now(&mut bench.request(WantedRole::Primary, false));
    assert!(matches!(plain, Err(RoleError::Refused(why)) if why == advice(SET)));
    // A break decides nothing; a peer that comes back with nothing does.
    bench.chassis.peer = Peer::Gone;
    bench.tick(100 + 3 * HOLD_MS);
    assert!(!bench.chassis.ours.primary);
    (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, Some(role(false, 0)));
    bench.tick(100 + 4 * HOLD_MS);
    assert!(bench.chassis.ours.primary && state_of(&bench).is_none());
}

#[test]
fn a_held_set_is_primary_by_force_or_standby_when_the_peer_goes_on() {
    let mut bench = held();
    let mut answered = bench.request(WantedRole::Primary, true);
    bench.workers_take_it_up(1100);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 5));
    assert_eq!(
        bench.last(),
        (RoleState::Wait, RoleState::Primary, 5, RoleCause::Operator, true)
    );
    let mut bench = held();
    bench.chassis.theirs = Some(role(true, 5));
    bench.tick(1000);
    assert_eq!((bench.chassis.ours, state_of(&bench)), (role(false, 5), None));
    // Without the peer, too: it was told nothing, so it is in `wait`.
    let mut bench = held();
    (bench.chassis.peer, bench.chassis.lack) = (Peer::Gone, Some(Lack::Untold));
    let refused = now(&mut bench.request(WantedRole::Primary, false));
    assert!(matches!(refused, Err(RoleError::Refused(why)) if why.contains("`wait`")));
    let mut answered = bench.request(WantedRole::Primary, true);
    bench.workers_take_it_up(1100);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 5));
}

#[test]
fn while_initializing_a_person_needs_force_and_may_keep_it_standby() {
    let mut bench = started(Role::Primary, Peer::Gone, None);
    let plain = now(&mut bench.request(WantedRole::Primary, false));
    assert!(matches!(plain, Err(RoleError::Refused(why)) if why.contains("force")));
    let same = now(&mut bench.request(WantedRole::Standby, false)).expect("no change");
    assert!(!same.changed);
    bench.tick(100 + HOLD_MS);
    assert_eq!((bench.chassis.ours, state_of(&bench)), (role(false, 0), None));
    let mut bench = started(Role::Standby, Peer::Gone, None);
    let _answered = bench.request(WantedRole::Primary, true);
    assert!(bench.chassis.ours.primary);
}

#[test]
fn a_standby_that_was_told_its_sessions_shows_it_by_its_epoch() {
    let mut bench = started(Role::Standby, IN_STEP, Some(role(true, 7)));
    assert_eq!(bench.chassis.ours, role(false, 7));
    bench.chassis.theirs = Some(role(false, 9));
    bench.tick(200);
    assert_eq!(bench.chassis.ours, role(false, 7), "only a primary tells");
}
