//! What a machine wishes for, and roles refuse.

use super::*;
use crate::machine::{Command, PeerSet, Settings};
use crate::{Automatic, Heartbeat};

const SETTINGS: Settings = Settings {
    priority: 100,
    is_gateway_1: true,
    preempt: true,
    preempt_hold_ms: 0,
    recovery_hold_ms: 0,
    initial_hold_ms: 1000,
    primary_always_exists: false,
    set_threshold: 255,
    chassis_threshold: 255,
};

const PEER: PeerSet = PeerSet {
    state: RoleState::Standby,
    is_primary: false,
    epoch: 1,
    priority: 100,
    failed_weight: 0,
    is_complete: true,
    is_eligible: true,
    is_warned: false,
};

#[test]
fn a_release_that_roles_refuse_leaves_nothing_behind() {
    let mut bench = Bench::started(Role::Primary, Peer::Gone, None);
    bench.roles = Roles::new(1000);
    bench
        .roles
        .follow(&[(SET, Configured::Automatic)], &mut bench.chassis);
    let mut automatic = Automatic::default();
    automatic.follow(&[(SET, SETTINGS)]);
    for now_ms in [0, 1000] {
        automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
    }
    bench.workers_take_it_up(1000);
    automatic.tick(1100, &mut bench.roles, &mut bench.chassis);
    assert!(bench.chassis.ours.primary, "nobody else was heard");
    (bench.chassis.peer, bench.chassis.theirs) = (BEHIND, Some(role(false, 1)));
    let heard = Heartbeat::Sets(vec![(SET, PEER)]);
    automatic.heartbeat(heard, 1200, &mut bench.roles, &mut bench.chassis);

    let before = format!("{automatic:?}");
    let (sender, answered) = channel::<Answered>();
    let answer = Box::new(move |result| drop(sender.send(result)));
    let cause = RoleCause::Operator;
    let release = Command::Release { force: false, cause };
    automatic.command(SET, release, answer, 1300, &mut bench.roles, &mut bench.chassis);
    assert!(matches!(answered.try_recv(), Ok(Err(RoleError::Refused(_)))));
    assert_eq!(
        before,
        format!("{automatic:?}"),
        "it is not to be taken for one that was released by hand"
    );

    // A stop is none that can be refused, whatever becomes of the handover.
    automatic.stop(1400, &mut bench.roles, &mut bench.chassis);
    let told = automatic.told(SET, &bench.roles, &bench.chassis);
    assert!(bench.chassis.ours.primary && told.is_some_and(|told| !told.is_eligible));
}
