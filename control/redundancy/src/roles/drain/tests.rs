use tandem_engine::replica::Role;

use super::super::tests::{Bench, IN_STEP, SET, role};
use super::*;
use crate::{Peer, WantedRole};

const BEGIN: Drain = Drain::Begin {
    most_ms: CHANGE_MAX_MS + 800,
};

/// A primary that drains for 800 ms after a handover, and has just told its standby peer that the set is released: at 1010.
fn handed_over() -> Bench {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    bench.roles.set_drains(&[(SET, 800)]);
    let _answered = bench.request(WantedRole::Standby, false);
    assert_eq!(bench.chassis.drained, [BEGIN], "before the workers are standby");
    bench.workers_take_it_up(1010);
    bench
}

#[test]
fn it_lasts_until_the_peer_is_primary_and_for_its_time_after() {
    let mut bench = handed_over();
    bench.tick(3000);
    assert!(!bench.roles.is_draining() && bench.chassis.drained == [BEGIN]);
    bench.chassis.theirs = Some(role(true, 3));
    bench.tick(3100);
    assert_eq!(bench.roles.drains_until(SET), Some(3900));
    bench.tick(3699);
    assert_eq!(bench.chassis.drained, [BEGIN]);
    bench.tick(3700);
    bench.tick(3899);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw]);
    assert!(bench.roles.is_draining());
    bench.tick(3900);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw, Drain::End]);
    assert!(!bench.roles.is_draining());
}

#[test]
fn a_set_that_the_peer_asks_for_drains_as_well() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    bench.roles.set_drains(&[(SET, 800)]);
    bench.roles.asked(SET, 2000, &mut bench.chassis);
    assert_eq!(bench.chassis.drained, [BEGIN]);
    assert_eq!(bench.roles.drains_until(SET), Some(2000 + CHANGE_MAX_MS + 800));
}

#[test]
fn one_that_gets_its_role_back_drains_no_more() {
    let mut bench = handed_over();
    bench.tick(1010 + CHANGE_MAX_MS);
    assert!(bench.chassis.ours.primary, "nobody took it");
    assert_eq!(bench.roles.drains_until(SET), None);
    bench.tick(20_000);
    assert_eq!(bench.chassis.drained, [BEGIN]);
}

#[test]
fn it_has_an_end_when_the_peer_never_says_that_it_is_primary() {
    let mut bench = handed_over();
    (bench.chassis.peer, bench.chassis.theirs) = (Peer::Gone, Some(role(false, 1)));
    bench.roles.disconnected(1020, &mut bench.chassis);
    bench.tick(1000 + CHANGE_MAX_MS + 799);
    assert_eq!(bench.chassis.drained, [BEGIN]);
    bench.tick(1000 + CHANGE_MAX_MS + 800);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw, Drain::End]);
}

#[test]
fn nothing_drains_that_is_not_handed_over() {
    // A release that the peer is not told of; one of two primaries that yields; and no time to drain.
    let mut bench = Bench::new(Role::Primary, Peer::Gone, None);
    bench.roles.set_drains(&[(SET, 800)]);
    let _answered = bench.request(WantedRole::Standby, true);
    assert!(bench.chassis.drained.is_empty() && !bench.chassis.ours.primary);

    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(true, 9)));
    bench.roles.set_drains(&[(SET, 800)]);
    bench.roles.yield_to(SET, 9, &mut bench.chassis);
    assert!(bench.chassis.drained.is_empty() && !bench.chassis.ours.primary);

    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    bench.roles.set_drains(&[(SET, 0)]);
    let _answered = bench.request(WantedRole::Standby, false);
    assert!(bench.chassis.drained.is_empty() && !bench.chassis.ours.primary);
}

#[test]
fn one_that_is_there_no_more_withdraws() {
    let mut bench = handed_over();
    bench.roles.follow(&[], &mut bench.chassis);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw]);
    bench.tick(20_000);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw]);
}

#[test]
fn what_is_handed_over_because_something_has_failed_withdraws_at_once() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    bench.roles.set_drains(&[(SET, 800)]);
    let mut drains = std::mem::take(&mut bench.roles.drains);
    drains.begin(SET, true, 1000, &mut bench.chassis);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw]);
    drains.tick(1000 + CHANGE_MAX_MS + 800, &mut bench.chassis);
    assert_eq!(bench.chassis.drained, [BEGIN, Drain::Withdraw, Drain::End]);
}
