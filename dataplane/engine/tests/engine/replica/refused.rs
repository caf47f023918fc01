//! What is too much to be told, or cannot be had on the standby: both chassis come to the same all the same, by themselves or
//! by a bulk that is asked for.

use tandem_engine::replica::Op;
use tandem_engine::ticks::Ticks;

use super::{Pair, known_sessions, replicate_at};
use crate::common::IN1;
use crate::common::OUT1;
use crate::common::packets::udp;
use crate::common::plan::INSIDE;

#[test]
fn more_blocks_between_two_looks_than_allocators_remember_are_made_up_for_by_a_bulk() {
    let mut pair = Pair::new(1, 65_536, |plan| {
        plan.blocks(64, 1);
        (plan.sizes.max_subscribers, plan.sizes.max_blocks) = (8192, 8192);
    });
    // Sessions are told late, so nobody looks after the blocks while there is no time between bursts.
    for world in &mut pair.worlds {
        world.reload(|plan| replicate_at(plan, Ticks::from_seconds(60)));
    }
    pair.carry();
    let packets: Vec<_> = (0..4500)
        .map(|host| udp((IN1 + host, 2000), (OUT1, 53)))
        .collect();
    for part in packets.chunks(64) {
        pair.worlds[0].burst(INSIDE, part.to_vec());
    }
    pair.carry();
    assert!(pair.worlds[0].engines[0].counters().replica_lost > 0);
    assert_eq!(pair.words[0].iter().filter(|op| **op == Op::Lost).count(), 1);
    let blocks = |pair: &Pair, at: usize| pair.worlds[at].engines[0].tables().ports.block_use().0;
    assert_eq!(blocks(&pair, 0), 4500);
    assert!(blocks(&pair, 1) < 4500);
    pair.bulk(0, 1);
    assert_eq!(blocks(&pair, 1), 4500);
    pair.pass(Ticks::from_seconds(61));
    assert_eq!(known_sessions(&mut pair.worlds[1]).len(), 4500);
    pair.assert_same();
}
