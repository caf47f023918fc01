//! Two model chassis and a network between their links.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod model;
pub mod net;

use ha_sync::link::LinkConfig;
use ha_sync::wire::Dictionary;
use rtrb::{Consumer, Producer, RingBuffer};
use tandem_engine::program::{Program, Replication};
use tandem_engine::replica::Op;
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::plan::Plan;

/// SplitMix64: the same on every run.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }
}

/// One replicated service set (1) with one pool (1), NAT64 prefix 1.
pub fn program() -> Program {
    let mut plan = Plan::new();
    plan.nat64();
    plan.set().replication = Replication {
        threshold: Some(Ticks::ZERO),
        ..Replication::default()
    };
    plan.compile(None).as_ref().clone()
}

pub fn dictionary() -> Dictionary {
    Dictionary::of(&program())
}

pub fn config(incarnation: u64) -> LinkConfig {
    LinkConfig::new(incarnation, 4, [7; 32], dictionary())
}

/// A worker's ends of its rings: what it says, and what it is told.
pub type WorkerEnds = (Producer<Op>, Consumer<Op>);

/// The rings of so many workers: a bridge's outboxes and inboxes, and the workers' ends.
pub fn rings(workers: usize) -> (Vec<Consumer<Op>>, Vec<Producer<Op>>, Vec<WorkerEnds>) {
    let (mut outboxes, mut inboxes, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..workers {
        let ((out, outbox), (inbox, into)) = (RingBuffer::new(64), RingBuffer::new(64));
        outboxes.push(outbox);
        inboxes.push(inbox);
        ends.push((out, into));
    }
    (outboxes, inboxes, ends)
}
