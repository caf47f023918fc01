//! A takeover while workers have not read all that they were told: no new extent is given out before they have, but a worker that
//! stands still does not keep the others waiting for ever.

mod common;

use std::sync::Arc;

use common::{WorkerEnds, program, rings};
use ha_sync::bridge::{Bridge, BridgeConfig, RedundancySet};
use ha_sync::chassis::{Chassis, PeerEvent};
use tandem_engine::program::Program;
use tandem_engine::public_space::{OWNER_LEASE_PENDING, PublicSpace};
use tandem_engine::replica::{ExtentRecord, Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::POOL;

/// When the role is taken, milliseconds.
const NOW: u64 = 1_000_000;
/// Those who have it wait so long for the others.
const WAIT_MS: u64 = 1000;
/// The extent that the peer tells of, and whose it is.
const EXTENT: usize = 0;
const SHARD: u8 = 1;

/// A standby of two workers, which have read nothing of what they were told last.
struct Side {
    bridge: Bridge,
    program: Arc<Program>,
    workers: Vec<WorkerEnds>,
}

impl Side {
    fn new() -> Self {
        let mut program = program();
        program.public_space = Arc::new(PublicSpace::build(&program.pools, None));
        let program = Arc::new(program);
        let (outboxes, inboxes, workers) = rings(2);
        let config = BridgeConfig {
            shards: 2,
            sets: vec![RedundancySet {
                number: 1,
                service_sets: vec![1],
            }],
            tick_zero_ms: 0,
        };
        let bridge = Bridge::new(config, Arc::clone(&program), outboxes, inboxes).expect("rings that fit");
        let mut side = Self {
            bridge,
            program,
            workers,
        };
        side.bridge.set_role(1, Role::Standby, 1);
        side.bridge.peer(PeerEvent::Connected { new_bulk: None });
        side.bridge.heard(NOW);
        side.read(0);
        side.read(1);
        side.bridge.service(NOW);
        side
    }

    /// The peer tells worker 1 of an extent that was never leased.
    fn is_told(&mut self) {
        let record = ExtentRecord {
            public: POOL,
            pool: 1,
            extent: EXTENT as u8,
            shard: SHARD,
            held_until: Ticks::ZERO,
        };
        assert!(self.bridge.install(&Op::Extent(record)));
    }

    /// A worker does what it is told, as far as extents and roles go. Whether it could.
    fn read(&mut self, worker: usize) -> bool {
        let space = &self.program.public_space;
        let (outbox, inbox) = &mut self.workers[worker];
        let mut could = true;
        while let Ok(op) = inbox.pop() {
            match op {
                Op::Extent(record) => {
                    let index = space.index_of(record.public).expect("a public address");
                    could &= space.install(index, record.extent.into(), record.shard);
                }
                Op::Role {
                    service_set, epoch, ..
                } => outbox.push(Op::RoleDone { service_set, epoch }).expect("room"),
                _ => {}
            }
        }
        could
    }

    fn takes_over(&mut self, alone: bool) {
        if alone {
            self.bridge.peer_died();
        }
        assert!(self.bridge.set_role(1, Role::Primary, 2));
    }

    /// Whether anything is leased, or could be taken without a lease.
    fn gives_out(&mut self, now: u64) -> bool {
        // Its round of leases is complete after the second call.
        (0..2).for_each(|_| self.bridge.service(now));
        let space = &self.program.public_space;
        let offers = space.lease_states(0).any(|s| s.count(OWNER_LEASE_PENDING) > 0);
        offers || !space.leases_required()
    }
}

#[test]
fn no_extent_is_new_before_all_have_read_what_was_told() {
    for alone in [false, true] {
        let mut side = Side::new();
        side.is_told();
        side.takes_over(alone);
        assert!(
            side.program.public_space.leases_required(),
            "before any worker has the role"
        );
        // One worker has it, and the other is late.
        side.read(0);
        assert!(!side.gives_out(NOW) && !side.gives_out(NOW + WAIT_MS - 1));
        // That the peer goes meanwhile changes nothing.
        side.bridge.peer(PeerEvent::Disconnected);
        assert!(!side.gives_out(NOW + WAIT_MS - 1));
        assert!(side.bridge.is_changing_roles());
        assert!(side.read(1), "the extent is still there to be installed");
        assert!(side.gives_out(NOW + WAIT_MS - 1));
    }
}

#[test]
fn a_worker_that_stands_still_does_not_stop_the_others() {
    let mut side = Side::new();
    side.is_told();
    side.takes_over(true);
    // As long as nobody has the role, nobody needs an extent.
    assert!(!side.gives_out(NOW) && !side.gives_out(NOW + 10 * WAIT_MS));
    side.read(0);
    assert!(!side.gives_out(NOW + 11 * WAIT_MS) && !side.gives_out(NOW + 12 * WAIT_MS - 1));
    assert!(side.gives_out(NOW + 12 * WAIT_MS));
}

#[test]
fn where_all_is_read_nothing_waits() {
    for (alone, is_told) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut side = Side::new();
        if is_told {
            side.is_told();
            assert!(side.read(1));
        }
        side.takes_over(alone);
        assert!(side.gives_out(NOW), "the role itself is not waited for");
    }
}
