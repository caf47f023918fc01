//! Extents that the primary gives back while something of them is still in use at the standby.

use tandem_engine::replica::{ExtentRecord, ObjectTypes, Op};

use super::Pair;
use crate::common::packets::udp;
use crate::common::plan::INSIDE;
use crate::common::world::World;
use crate::common::{IN1, OUT1};

fn extents_of(world: &World) -> Vec<ExtentRecord> {
    let ports = world.engines[0].tables().ports;
    let all = ports
        .all()
        .flat_map(|a| a.owned_extents(&world.program.public_space, 0));
    all.map(|(_, record)| record).collect()
}

/// A pair with sessions in one of two extents.
fn pair_with_sessions() -> (Pair, Vec<ExtentRecord>) {
    let mut pair = Pair::new(1, 4096, |_| {});
    let packets = (2000..2010).map(|port| udp((IN1, port), (OUT1, 53)));
    pair.worlds[0].burst(INSIDE, packets.collect());
    pair.carry();
    let used = extents_of(&pair.worlds[1])[0];
    let extent = (used.extent + 1) % 16;
    pair.command(1, Op::Extent(ExtentRecord { extent, ..used }));
    let extents = extents_of(&pair.worlds[1]);
    assert_eq!(extents.len(), 2);
    (pair, extents)
}

fn give_back_all(pair: &mut Pair, extents: &[ExtentRecord]) {
    for extent in extents {
        pair.command(1, Op::ExtentClose(*extent));
    }
}

/// An empty bulk: it confirms nothing.
fn sweep(pair: &mut Pair) {
    pair.command(1, Op::BulkBegin(7, ObjectTypes::ALL));
    pair.command(1, Op::Covers(1));
    pair.command(1, Op::BulkEnd(7));
}

#[test]
fn an_extent_given_back_goes_when_nothing_of_it_is_in_use() {
    let (mut pair, extents) = pair_with_sessions();
    give_back_all(&mut pair, &extents);
    pair.carry();
    let left = extents_of(&pair.worlds[1]);
    assert!(!left.is_empty() && left.len() < extents.len(), "some are in use");
    let leaving = |pair: &Pair| pair.worlds[1].engines[0].extents_leaving() as usize;
    assert_eq!(leaving(&pair), left.len());
    // The other chassis has one after all.
    pair.command(1, Op::Extent(left[0]));
    assert_eq!(leaving(&pair), left.len() - 1);
    // And has not; all that was in it ends.
    give_back_all(&mut pair, &left);
    sweep(&mut pair);
    pair.carry();
    assert_eq!(extents_of(&pair.worlds[1]), []);
    assert_eq!(leaving(&pair), 0);
}

#[test]
fn an_extent_whose_sessions_end_later_goes_with_them() {
    let (mut pair, extents) = pair_with_sessions();
    give_back_all(&mut pair, &extents);
    // The sessions' ends are told after that of what they stand on.
    for world in &mut pair.worlds {
        world.now.0 += 100_000;
    }
    pair.carry();
    assert_eq!(pair.worlds[0].sessions(), []);
    pair.pass(tandem_engine::ticks::Ticks(1));
    assert_eq!(extents_of(&pair.worlds[1]), []);
    pair.assert_no_trouble();
}

#[test]
fn an_extent_that_ends_before_the_sweep_has_come_to_it_ends() {
    let (mut pair, extents) = pair_with_sessions();
    // Confirmed by the bulk, and given back behind its end.
    pair.command(1, Op::BulkBegin(7, ObjectTypes::ALL));
    for extent in &extents {
        pair.command(1, Op::Extent(*extent));
    }
    pair.command(1, Op::Covers(1));
    pair.command(1, Op::BulkEnd(7));
    give_back_all(&mut pair, &extents);
    pair.carry();
    assert_eq!(extents_of(&pair.worlds[1]), []);
}
