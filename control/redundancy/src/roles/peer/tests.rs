use crate::roles::change::TOLD_MAX_MS;
use tandem_engine::replica::Role;

use super::super::change::LISTEN_MS;
use super::super::tests::{Bench, IN_STEP, SET, changed, note_of, now, role, waits};
use super::super::{Lack, Peer};
use super::*;

/// When the peer was told that the set is released.
const TOLD_MS: u64 = 1100;

/// A primary whose operator wants it standby; its peer was told, and has not answered.
fn handed_over(forced: bool) -> (Bench, std::sync::mpsc::Receiver<super::super::tests::Answered>) {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    let mut answered = bench.request(WantedRole::Standby, forced);
    bench.workers_take_it_up(TOLD_MS);
    assert_eq!(bench.chassis.released, [2]);
    assert!(waits(&mut answered));
    (bench, answered)
}

fn breaks(bench: &mut Bench, now_ms: u64) {
    bench.chassis.peer = Peer::Gone;
    bench.roles.disconnected(now_ms, &mut bench.chassis);
}

#[test]
fn asked_by_the_peer_a_primary_releases_when_its_workers_have() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    bench.roles.asked(SET, 1000, &mut bench.chassis);
    assert!(!bench.chassis.ours.primary && bench.chassis.released.is_empty());
    bench.roles.asked(SET, 1001, &mut bench.chassis);
    assert_eq!(bench.chassis.refused, 1, "one at a time");
    bench.workers_take_it_up(1100);
    assert_eq!(bench.chassis.released, [2]);
    bench.roles.asked(SET, 1150, &mut bench.chassis);
    assert_eq!(bench.chassis.released, [2, 2], "it is told again");
    bench.chassis.theirs = Some(role(true, 3));
    bench.roles.peer_said(1160, &mut bench.chassis);
    assert_eq!(
        bench.last(),
        (RoleState::Primary, RoleState::Standby, 2, RoleCause::Peer, true)
    );
    bench.roles.asked(SET, 1200, &mut bench.chassis);
    assert_eq!(bench.chassis.released, [2, 2, 2], "and again");
    bench.roles.asked(9, 1200, &mut bench.chassis);
    assert_eq!(bench.chassis.refused, 2, "there is no such set");
}

#[test]
fn a_release_that_nobody_could_be_told_of_is_taken_back() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    bench.roles.asked(SET, 1000, &mut bench.chassis);
    bench.chassis.peer = Peer::Gone;
    bench.workers_take_it_up(1100);
    assert_eq!(bench.chassis.ours, role(true, 3));
    bench.workers_take_it_up(1200);
    assert_eq!(
        bench.last(),
        (RoleState::Standby, RoleState::Primary, 3, RoleCause::Peer, true)
    );
}

/// Connected, and replication has begun anew.
const ANEW: Peer = Peer::There { knows_all: false };

#[test]
fn a_release_is_not_said_when_replication_began_anew_before_it_could_be() {
    for peer in [ANEW, Peer::Suspended] {
        // By the operator here.
        let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
        let mut answered = bench.request(WantedRole::Standby, false);
        bench.chassis.peer = peer;
        bench.workers_take_it_up(1100);
        assert!(bench.chassis.released.is_empty());
        assert!(matches!(now(&mut answered), Err(RoleError::Refused(why)) if why.contains("anew")));
        assert_eq!(bench.chassis.ours, role(true, 3));
        // By the peer, which hears that it comes to nothing.
        let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
        bench.roles.asked(SET, 1000, &mut bench.chassis);
        bench.chassis.peer = peer;
        bench.workers_take_it_up(1100);
        assert!(bench.chassis.released.is_empty());
        assert_eq!((bench.chassis.refused, bench.chassis.ours), (1, role(true, 3)));
        // By force it is said all the same; also to a peer that asked although it knew that it has not all.
        let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
        let _answered = bench.request(WantedRole::Standby, true);
        bench.chassis.peer = peer;
        bench.workers_take_it_up(1100);
        assert_eq!(bench.chassis.released, [2]);
        let mut bench = Bench::new(Role::Primary, peer, Some(role(false, 1)));
        bench.roles.asked(SET, 1000, &mut bench.chassis);
        bench.workers_take_it_up(1100);
        assert_eq!(bench.chassis.released, [2]);
    }
}

#[test]
fn who_is_standby_already_says_so_again_only_to_a_peer_that_has_everything() {
    let (mut bench, _answered) = handed_over(false);
    bench.chassis.peer = ANEW;
    bench.roles.asked(SET, 1200, &mut bench.chassis);
    assert_eq!(
        (bench.chassis.released.as_slice(), bench.chassis.refused),
        (&[2][..], 1)
    );
    bench.chassis.peer = IN_STEP;
    bench.roles.asked(SET, 1300, &mut bench.chassis);
    assert_eq!(bench.chassis.released, [2, 2]);
}

#[test]
fn a_release_is_taken_without_all_sessions_only_by_force() {
    for (forced, comes) in [(true, false), (false, true), (false, false)] {
        let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 4)));
        let mut answered = bench.request(WantedRole::Primary, forced);
        // Crosses the request.
        bench.chassis.lack = Some(Lack::Untold);
        bench.chassis.theirs = Some(role(false, 5));
        bench.roles.released(SET, 5, 1100, &mut bench.chassis);
        assert_eq!(bench.chassis.ours.primary, forced);
        bench.tick(1200);
        if comes {
            // All that was told anew is here.
            bench.chassis.lack = None;
            bench.tick(1300);
        }
        bench.tick(1100 + TOLD_MAX_MS - 1);
        let asks = bench.roles.shown(SET).is_some_and(|s| s.changing_to.is_some());
        assert_eq!((bench.chassis.ours.primary, asks), (forced || comes, true));
        bench.workers_take_it_up(1100 + TOLD_MAX_MS - 1);
        bench.tick(1100 + TOLD_MAX_MS);
        if forced || comes {
            assert_eq!(now(&mut answered), changed(RoleState::Primary, 6));
        } else {
            assert!(matches!(now(&mut answered), Err(RoleError::Refused(why)) if why.contains("force")));
            assert!(!bench.last().4 && bench.roles.shown(SET).is_some_and(|s| s.changing_to.is_none()));
        }
    }
}

#[test]
fn a_release_that_is_older_than_what_is_known_is_not_taken() {
    // The peer has become primary again since.
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 7)));
    bench.roles.released(SET, 5, 1000, &mut bench.chassis);
    assert_eq!(bench.chassis.ours, role(false, 1));
    assert!(!bench.last().4, "it is in the history");
    // So has this chassis, and has released the set to the peer.
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(false, 7)));
    bench.chassis.ours.epoch = 8;
    bench.roles.released(SET, 7, 1000, &mut bench.chassis);
    assert_eq!(bench.chassis.ours, role(false, 8));
    // Who asked goes on waiting for the right one.
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 7)));
    let mut answered = bench.request(WantedRole::Primary, false);
    bench.roles.released(SET, 6, 1000, &mut bench.chassis);
    assert!(waits(&mut answered));
    bench.roles.released(SET, 8, 1000, &mut bench.chassis);
    bench.workers_take_it_up(TOLD_MS);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 9));
}

#[test]
fn who_asked_a_peer_that_dies_becomes_primary_without_asking_again() {
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 4)));
    let mut answered = bench.request(WantedRole::Primary, false);
    assert_eq!(bench.chassis.asked, 1);
    breaks(&mut bench, 1050);
    assert!(bench.chassis.ours.primary && waits(&mut answered));
    bench.workers_take_it_up(1060);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 5));
    // But one that does not know all needs force for it, as without a peer.
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 4)));
    let mut answered = bench.request(WantedRole::Primary, false);
    bench.chassis.lack = Some(Lack::Untold);
    breaks(&mut bench, 1050);
    assert!(matches!(now(&mut answered), Err(RoleError::Refused(why)) if why.contains("force")));
    assert!(!bench.chassis.ours.primary && !bench.last().4);
}

#[test]
fn a_peer_that_has_just_connected_is_listened_to_before_anything_is_decided() {
    for forced in [false, true] {
        let mut bench = Bench::new(Role::Standby, Peer::Greeting, None);
        let mut answered = bench.request(WantedRole::Primary, forced);
        assert!(waits(&mut answered));
        (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, Some(role(true, 4)));
        bench.roles.peer_said(1100, &mut bench.chassis);
        assert_eq!(bench.chassis.asked, 1);
        // It is gone before it has said anything.
        let mut bench = Bench::new(Role::Standby, Peer::Greeting, None);
        let mut answered = bench.request(WantedRole::Primary, forced);
        breaks(&mut bench, 1100);
        bench.workers_take_it_up(1110);
        assert_eq!(now(&mut answered), changed(RoleState::Primary, 2));
        // It says nothing.
        let mut bench = Bench::new(Role::Standby, Peer::Greeting, None);
        let mut answered = bench.request(WantedRole::Primary, forced);
        bench.tick(999 + LISTEN_MS);
        assert!(waits(&mut answered));
        bench.tick(1000 + LISTEN_MS);
        assert!(matches!(now(&mut answered), Err(RoleError::Refused(_))));
        assert!(
            !bench.chassis.ours.primary && bench.roles.shown(SET).is_some_and(|s| s.changing_to.is_none())
        );
    }
    // A release waits for it, too; by force not for ever.
    for forced in [false, true] {
        let mut bench = Bench::new(Role::Primary, Peer::Greeting, None);
        let mut answered = bench.request(WantedRole::Standby, forced);
        bench.tick(1000 + LISTEN_MS);
        assert_eq!(bench.chassis.ours.primary, !forced);
        bench.workers_take_it_up(5000);
        match forced {
            true => assert!(note_of(now(&mut answered)).contains("nobody is primary")),
            false => assert!(matches!(now(&mut answered), Err(RoleError::Refused(_)))),
        }
    }
}

#[test]
fn a_release_that_the_peer_does_not_read_in_time_is_taken_back() {
    let (mut bench, mut answered) = handed_over(false);
    bench.tick(TOLD_MS + CHANGE_MAX_MS - 1);
    assert!(waits(&mut answered));
    bench.tick(TOLD_MS + CHANGE_MAX_MS);
    assert!(matches!(now(&mut answered), Err(RoleError::NoAnswer { who }) if who.contains("primary again")));
    // Above the epoch that the peer takes the role with, if it reads of it late: 3.
    assert_eq!(bench.chassis.ours, role(true, 4));
    bench.workers_take_it_up(7000);
    assert_eq!(
        bench.last(),
        (
            RoleState::Standby,
            RoleState::Primary,
            4,
            RoleCause::Operator,
            true
        )
    );
    // What it says late does not count.
    bench.chassis.theirs = Some(role(true, 3));
    bench.roles.peer_said(7100, &mut bench.chassis);
    assert_eq!(bench.chassis.ours, role(true, 4));
}

#[test]
fn a_forced_release_stays_and_says_that_nobody_is_primary() {
    let (mut bench, mut answered) = handed_over(true);
    bench.tick(TOLD_MS + CHANGE_MAX_MS);
    assert!(note_of(now(&mut answered)).contains("has not said yet"));
    assert_eq!(bench.chassis.ours, role(false, 2));
    let (mut bench, mut answered) = handed_over(true);
    breaks(&mut bench, 1200);
    assert!(note_of(now(&mut answered)).contains("not connected"));
    (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, Some(role(false, 1)));
    bench.roles.peer_said(9000, &mut bench.chassis);
    assert_eq!(bench.chassis.ours, role(false, 2), "it was meant so");
}

#[test]
fn after_a_break_the_peers_role_says_whether_it_has_heard_of_the_release() {
    for asked in [false, true] {
        let start = || {
            let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
            let answered = if asked {
                bench.roles.asked(SET, 1000, &mut bench.chassis);
                None
            } else {
                Some(bench.request(WantedRole::Standby, false))
            };
            bench.workers_take_it_up(TOLD_MS);
            breaks(&mut bench, 1200);
            assert_eq!(bench.chassis.ours, role(false, 2), "the peer may be primary");
            if let Some(mut answered) = answered {
                assert!(matches!(now(&mut answered), Err(RoleError::NoAnswer { .. })));
            }
            bench
        };
        for theirs in [Some(role(false, 1)), None] {
            let mut bench = start();
            (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, theirs);
            bench.roles.peer_said(9000, &mut bench.chassis);
            assert_eq!(bench.chassis.ours, role(true, 4));
        }
        let mut bench = start();
        (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, Some(role(true, 3)));
        bench.roles.peer_said(9000, &mut bench.chassis);
        assert!(!bench.chassis.ours.primary);
        // Nor later, when it becomes standby by itself.
        bench.chassis.theirs = Some(role(false, 5));
        bench.roles.peer_said(9100, &mut bench.chassis);
        assert!(!bench.chassis.ours.primary);
    }
}

#[test]
fn a_release_beside_a_primary_peer_is_done_when_the_workers_have_it() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(true, 1)));
    let mut answered = bench.request(WantedRole::Standby, false);
    bench.workers_take_it_up(TOLD_MS);
    assert_eq!(now(&mut answered), changed(RoleState::Standby, 2));
    assert!(bench.chassis.released.is_empty());
}
