//! What ended is nobody else's before the standby knows: ports, blocks and addresses, however short their quarantine.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{FilteringType, NatAction, PoolMode};
use tandem_engine::public_space::{EXTENTS_PER_ADDRESS, OWNER_FREE};
use tandem_engine::ticks::Ticks;

use super::Pair;
use crate::common::packets::udp;
use crate::common::plan::Plan;
use crate::common::{IN1, IN2, OUT1};

/// A pair with one address and little of it, where the first subscriber's session has ended on the primary, and the standby
/// did not hear of it.
fn ended(change: impl FnOnce(&mut Plan)) -> Pair {
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.addresses(1);
        plan.set().timeouts.udp = Ticks::from_seconds(10);
        plan.pool().quarantine = Ticks::ZERO;
        change(plan);
    });
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 5000))).forwarded();
    pair.carry();
    pair.worlds[0].program.public_space.set_leases_required(true);
    pair.worlds[0].pass_seconds(60);
    assert!(pair.worlds[0].sessions().is_empty());
    assert_eq!(pair.worlds[1].sessions().len(), 1);
    pair
}

fn one_port(plan: &mut Plan) {
    plan.ports(1024, 1024);
}

fn one_block(plan: &mut Plan) {
    plan.ports(1024, 1087);
    plan.blocks(64, 1);
}

/// Ports rest a second, the block for longer: then it ends with all its ports rested.
fn one_kept_block(plan: &mut Plan) {
    one_block(plan);
    plan.pool().quarantine = Ticks::from_seconds(1);
    if let Some(blocks) = &mut plan.pool().port_blocks {
        blocks.last_block_recycle_timeout = Ticks::from_seconds(5);
    }
}

/// A quarantine that is over while the standby is still behind.
fn one_port_that_rests(plan: &mut Plan) {
    one_port(plan);
    plan.pool().quarantine = Ticks::from_seconds(5);
}

const PLANS: [fn(&mut Plan); 4] = [one_port, one_block, one_kept_block, one_port_that_rests];

#[test]
fn nobody_else_gets_what_the_standby_takes_for_somebodys() {
    for (n, plan) in PLANS.into_iter().enumerate() {
        let mut pair = ended(plan);
        for _ in 0..4 {
            let refused = pair.worlds[0].inside(udp((IN2, 1000), (OUT1, 5000))).dropped();
            assert_eq!(refused, DropReason::NatOutOfPorts, "plan {n}");
            pair.worlds[0].pass_seconds(20);
        }
        pair.carry();
        assert!(pair.worlds[1].sessions().is_empty());
        pair.worlds[0].inside(udp((IN2, 1000), (OUT1, 5000))).forwarded();
        pair.carry();
        pair.assert_no_trouble();
        pair.assert_same();
    }
}

#[test]
fn without_leases_nothing_waits_for_a_peer() {
    for plan in PLANS {
        let mut pair = ended(plan);
        let primary = &mut pair.worlds[0];
        primary.program.public_space.set_leases_required(false);
        primary.pass_seconds(20);
        primary.inside(udp((IN2, 1000), (OUT1, 5000))).forwarded();
    }
}

#[test]
fn nothing_waits_when_nobody_listens_any_more() {
    for plan in PLANS {
        let mut pair = ended(plan);
        pair.command(0, tandem_engine::replica::Op::Listen(false));
        pair.worlds[0].pass_seconds(20);
        pair.worlds[0].inside(udp((IN2, 1000), (OUT1, 5000))).forwarded();
    }
}

#[test]
fn a_whole_address_is_free_when_the_standby_knows() {
    let mut pair = ended(|plan| {
        plan.pool().mode = PoolMode::Addresses;
        plan.set().terms[0].action = NatAction::Dynamic44 {
            pool: 1,
            filtering: FilteringType::EndpointIndependent,
        };
    });
    let free = |pair: &Pair| {
        let states = pair.worlds[0].program.public_space.lease_states(0);
        states.map(|s| s.count(OWNER_FREE)).sum::<usize>()
    };
    for _ in 0..4 {
        assert_eq!(free(&pair), 0);
        pair.worlds[0].pass_seconds(20);
    }
    pair.carry();
    assert!(pair.worlds[1].mappings().is_empty());
    pair.pass(Ticks::from_seconds(2));
    assert_eq!(free(&pair), EXTENTS_PER_ADDRESS);
    pair.assert_no_trouble();
}
