//! Held extents that lie idle: they go to nobody else while another chassis may go by the hold.

use super::*;
use crate::ports::Wait;
use crate::public_space::OWNER_FREE;
use crate::replica::Op;

/// A worker that took over an extent of an address whose home is another worker, and held it for two minutes.
fn taken_over() -> (Chassis, u32) {
    let mut nat = Chassis::new(2, vec![pool(1, PoolMode::Ports, FIRST, 2)]);
    let space = Arc::clone(&nat.program.public_space);
    let index = space.index_of(FIRST + 1).unwrap();
    let now = nat.now;
    let allocator = &mut nat.workers[0].0;
    assert!(!allocator.is_home_address(FIRST + 1));
    allocator.follow(1, true);
    assert!(allocator.install_extent(&space, &nat.program.pools[0], index, 1, now));
    allocator.hold_all(now.plus(Ticks::from_seconds(120)));
    allocator.follow(1, false);
    allocator.set_telling(true);
    (nat, index)
}

fn told(nat: &mut Chassis) -> Vec<Op> {
    let mut told = Vec::new();
    nat.workers[0].0.drain_told(|op| {
        told.push(*op);
        true
    });
    told
}

#[test]
fn an_idle_extent_goes_to_nobody_else_before_the_other_chassis_knows_of_the_end_of_its_hold() {
    let (mut nat, index) = taken_over();
    let space = Arc::clone(&nat.program.public_space);
    let began = nat.now;
    nat.workers[0].0.set_wait(Wait::NONE.holding(Some(began)));
    nat.pass_seconds(119);
    assert!(told(&mut nat).is_empty(), "it goes on");
    nat.pass_seconds(4);
    assert_eq!(space.owner(index, 1), 0);
    let ends = told(&mut nat);
    assert!(
        matches!(ends[..], [Op::Extent(e)] if e.extent == 1 && e.held_until == Ticks::ZERO),
        "{ends:?}"
    );
    nat.pass_seconds(300);
    assert_eq!(space.owner(index, 1), 0, "told, and not known");
    told(&mut nat);
    let knows = nat.now.plus(Ticks(1));
    nat.workers[0].0.set_wait(Wait::NONE.holding(Some(knows)));
    nat.pass_seconds(3);
    assert_eq!(space.owner(index, 1), OWNER_FREE);
    assert!(matches!(told(&mut nat)[..], [Op::ExtentClose(_)]));
}

#[test]
fn an_idle_extent_is_given_back_when_its_time_is_over_and_nobody_goes_by_its_hold() {
    let (mut nat, index) = taken_over();
    let space = Arc::clone(&nat.program.public_space);
    nat.pass_seconds(118);
    assert_eq!(space.owner(index, 1), 0);
    nat.pass_seconds(4);
    assert_eq!(space.owner(index, 1), OWNER_FREE);
}

#[test]
fn a_held_extent_of_an_address_that_its_pool_lost_rests_all_its_time() {
    let (mut nat, index) = taken_over();
    nat.reload(vec![pool(2, PoolMode::Ports, FIRST, 2)]);
    let space = Arc::clone(&nat.program.public_space);
    nat.pass_seconds(118);
    assert_eq!(space.owner(index, 1), 0, "it is held");
    nat.pass_seconds(4);
    assert_eq!(space.owner(index, 1), OWNER_FREE);
}
