//! What a machine wishes for, and roles refuse.

use super::*;
use crate::machine::{Command, PeerSet, Settings};
use crate::{Automatic, Heartbeat, TIE_MS};

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
    broadcasts: false,
};

/// The set of a bench that has just started, with roles that are automatic.
fn of_automatic(bench: &mut Bench, settings: Settings) -> Automatic {
    bench.roles = Roles::new(1000);
    bench
        .roles
        .follow(&[(SET, Configured::Automatic)], &mut bench.chassis);
    let mut automatic = Automatic::default();
    automatic.follow(&[(SET, settings)]);
    automatic
}

#[test]
fn a_release_that_roles_refuse_leaves_nothing_behind() {
    let mut bench = Bench::started(Role::Primary, Peer::Gone, None);
    let mut automatic = of_automatic(&mut bench, SETTINGS);
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

#[test]
fn of_two_primaries_with_one_epoch_that_both_stay_gateway_1_takes_a_higher_one() {
    for is_gateway_1 in [true, false] {
        let mut bench = Bench::started(Role::Primary, Peer::Gone, None);
        let mut automatic = of_automatic(
            &mut bench,
            Settings {
                is_gateway_1,
                ..SETTINGS
            },
        );
        for now_ms in [0, 1000] {
            automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
        }
        bench.workers_take_it_up(1000);
        let ours = bench.chassis.ours;
        assert!(ours.primary);
        // By the priority that it had told this chassis is the better one, whatever its address. Then only the channel is there.
        let heard = Heartbeat::Sets(vec![(
            SET,
            PeerSet {
                priority: 200,
                ..PEER
            },
        )]);
        automatic.heartbeat(heard, 1200, &mut bench.roles, &mut bench.chassis);
        automatic.heartbeat(Heartbeat::Lost, 1300, &mut bench.roles, &mut bench.chassis);
        automatic.channel(true);
        (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, Some(role(true, ours.epoch)));
        for now_ms in (1400..1400 + TIE_MS).step_by(100) {
            automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
        }
        assert_eq!(bench.chassis.ours, ours, "the other may yield");
        automatic.tick(1400 + TIE_MS, &mut bench.roles, &mut bench.chassis);
        let epoch = ours.epoch + u64::from(is_gateway_1);
        assert_eq!(bench.chassis.ours, role(true, epoch));
        let told = std::iter::from_fn(|| bench.roles.next_event()).last();
        let is_told = told.is_some_and(|event| event.cause == RoleCause::Epoch && event.epoch == epoch);
        assert_eq!(is_told, is_gateway_1);
        for now_ms in [5000, 9000, 20_000] {
            automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
        }
        assert_eq!(bench.chassis.ours, role(true, epoch), "once is enough");
    }
}

#[test]
fn a_primary_that_only_the_channel_tells_of_is_not_preempted() {
    // By address this chassis would be preferred, by priority it is not or is.
    for (theirs, preempts) in [(50, false), (200, true)] {
        let mut bench = Bench::started(Role::Standby, IN_STEP, Some(role(true, 5)));
        let mut automatic = of_automatic(&mut bench, SETTINGS);
        automatic.channel(true);
        for now_ms in [0, 100, 1000, 5000] {
            automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
        }
        let state = automatic.shown(SET, &bench.chassis).map(|view| view.state);
        assert_eq!((state, bench.chassis.asked), (Some(RoleState::Standby), 0));
        let peer = PeerSet {
            state: RoleState::Primary,
            is_primary: true,
            epoch: 5,
            priority: theirs,
            ..PEER
        };
        let heard = Heartbeat::Sets(vec![(SET, peer)]);
        automatic.heartbeat(heard, 5100, &mut bench.roles, &mut bench.chassis);
        for now_ms in [5200, 5300] {
            bench.tick(now_ms);
            automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
        }
        assert_eq!(bench.chassis.asked > 0, preempts);
    }
}

#[test]
fn a_release_that_was_asked_for_is_taken_although_this_chassis_failed_meanwhile() {
    let settings = Settings {
        recovery_hold_ms: 3000,
        ..SETTINGS
    };
    let mut bench = Bench::started(Role::Standby, IN_STEP, Some(role(true, 5)));
    let mut automatic = of_automatic(&mut bench, settings);
    let peer = PeerSet {
        state: RoleState::Primary,
        is_primary: true,
        epoch: 5,
        priority: 200,
        ..PEER
    };
    automatic.channel(true);
    let heard = Heartbeat::Sets(vec![(SET, peer)]);
    automatic.heartbeat(heard, 100, &mut bench.roles, &mut bench.chassis);
    bench.workers_take_it_up(200);
    for now_ms in [200, 300] {
        bench.tick(now_ms);
        automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
    }
    assert_eq!(bench.chassis.asked, 1, "it is preferred, and preempts");

    // The peer's workers stand still. What is monitored here fails, and is well again.
    for (now_ms, failed_weight, state) in [(1000, 255, RoleState::Inoperable), (2000, 0, RoleState::Wait)] {
        let is_warned = false;
        let monitored = crate::Monitored {
            failed_weight,
            is_warned,
            releases: false,
            broadcasts: false,
        };
        automatic.monitored(SET, monitored);
        automatic.tick(now_ms, &mut bench.roles, &mut bench.chassis);
        let shown = automatic.shown(SET, &bench.chassis);
        assert_eq!(shown.map(|view| view.state), Some(state));
    }
    // Nobody else is primary, and its hold would last longer than the peer waits until it takes the set back.
    bench.chassis.theirs = Some(role(false, 6));
    bench.roles.released(SET, 6, 2100, &mut bench.chassis);
    assert_eq!(bench.chassis.ours, role(true, 7));
}

#[test]
fn what_an_earlier_life_said_over_the_channel_counts_no_more_when_heartbeats_bring_another() {
    let mut bench = Bench::started(Role::Standby, Peer::Gone, Some(role(true, 5)));
    bench.roles = Roles::new(1000);
    bench
        .roles
        .follow(&[(SET, Configured::Automatic)], &mut bench.chassis);
    let settings = Settings {
        recovery_hold_ms: 3000,
        ..SETTINGS
    };
    let mut automatic = Automatic::default();
    automatic.follow(&[(SET, settings)]);
    bench.workers_take_it_up(0);
    // A peer that has just started is standby of everything, and its channel is not there yet.
    let peer = PeerSet { epoch: 0, ..PEER };
    for now_ms in [100, 1200] {
        let heard = Heartbeat::Sets(vec![(SET, peer)]);
        automatic.heartbeat(heard, now_ms, &mut bench.roles, &mut bench.chassis);
    }
    let theirs = automatic.over(&mut bench.chassis).peer_role(SET);
    assert_eq!(theirs, Some(role(false, 0)));
    assert!(
        bench.chassis.ours.primary,
        "nobody was, and this chassis has the better claim"
    );
}

#[test]
fn a_peer_that_cannot_be_asked_keeps_the_role_and_a_wish_refused_again_and_again_is_said_once() {
    let mut bench = Bench::started(Role::Standby, IN_STEP, Some(role(true, 1)));
    bench.roles = Roles::new(1000);
    bench
        .roles
        .follow(&[(SET, Configured::Automatic)], &mut bench.chassis);
    bench.workers_take_it_up(0);
    bench.chassis.is_stuck = true;
    let mut automatic = Automatic::default();
    automatic.follow(&[(SET, SETTINGS)]);
    let worse = PeerSet {
        state: RoleState::Primary,
        is_primary: true,
        priority: 200,
        ..PEER
    };
    for now_ms in (0..60_000).step_by(200) {
        let heard = Heartbeat::Sets(vec![(SET, worse)]);
        automatic.heartbeat(heard, now_ms, &mut bench.roles, &mut bench.chassis);
    }
    assert!(
        !bench.chassis.ours.primary && bench.chassis.asked > 30,
        "{}",
        bench.chassis.asked
    );
    let mut refused = Vec::new();
    while let Some(event) = bench.roles.next_event() {
        refused.extend(event.reason);
    }
    assert_eq!(
        refused,
        ["redundancy set 1: the peer cannot be asked now; ask again in a moment"]
    );
    bench.chassis.is_stuck = false;
    let heard = Heartbeat::Sets(vec![(SET, worse)]);
    automatic.heartbeat(heard, 61_000, &mut bench.roles, &mut bench.chassis);
    let shown = bench.roles.shown(SET).expect("the set");
    assert_eq!(
        shown.changing_to,
        Some(WantedRole::Primary),
        "it waits for the release"
    );
}
