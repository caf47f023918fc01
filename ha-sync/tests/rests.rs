//! What rests over a takeover: each extent until its own time, as the peer said, or anew where it did not.

mod common;

use std::sync::Arc;

use common::program;
use ha_sync::bridge::{Bridge, BridgeConfig, RedundancySet};
use ha_sync::chassis::{Chassis, PeerEvent};
use rtrb::{Consumer, RingBuffer};
use tandem_engine::program::Program;
use tandem_engine::public_space::{OWNER_FREE, OWNER_LEASE_PENDING, OWNER_PEER, PublicSpace};
use tandem_engine::replica::{Lease, LeaseChange, ObjectTypes, Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::POOL;

/// What a lost peer may have given out rests so long, milliseconds.
const ANEW_MS: u64 = 120_000;
/// What the peer said counts for so long after it was last heard.
const SILENT_MS: u64 = 60_000;
/// When a test begins.
const NOW: u64 = 1_000_000;

fn lease(extent: u8) -> Lease {
    Lease { public: POOL, extent }
}

fn at(ms: u64) -> Ticks {
    Ticks((ms / 100) as u32)
}

struct Side {
    bridge: Bridge,
    inbox: Consumer<Op>,
    program: Arc<Program>,
}

impl Side {
    /// A standby, and its peer is there.
    fn standby() -> Self {
        let mut program = program();
        program.public_space = Arc::new(PublicSpace::build(&program.pools, None));
        let program = Arc::new(program);
        let (_, outbox) = RingBuffer::new(64);
        let (producer, inbox) = RingBuffer::new(1024);
        let config = BridgeConfig {
            shards: 1,
            sets: vec![RedundancySet {
                number: 1,
                service_sets: vec![1],
            }],
            tick_zero_ms: 0,
        };
        let bridge =
            Bridge::new(config, Arc::clone(&program), vec![outbox], vec![producer]).expect("one worker");
        let mut side = Self {
            bridge,
            inbox,
            program,
        };
        side.bridge.set_role(1, Role::Standby, 1);
        side.bridge.peer(PeerEvent::Connected { new_bulk: None });
        side.bridge.heard(NOW);
        side.bridge.service(NOW);
        side
    }

    /// It offers from `now` on, each offer acknowledged, until only what is acknowledged may be given out: when that is.
    fn offers_until_required(&mut self, mut now: u64) -> u64 {
        while !self.bridge.stats().leases_required {
            self.bridge.service(now);
            while let Some(change) = self.bridge.next_lease() {
                let (LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _)) = change else {
                    panic!("{change:?}");
                };
                self.bridge.lease_acknowledged(lease);
            }
            now += 100;
            assert!(now < NOW + 10_000, "leases are required soon");
        }
        now
    }

    fn says(&mut self, changes: &[LeaseChange]) {
        changes.iter().for_each(|change| self.bridge.lease_told(*change));
    }

    /// The peer is gone, and the role is taken by a worker that has read all it was told.
    fn takes_over(&mut self, now: u64) {
        self.bridge.peer(PeerEvent::Disconnected);
        self.bridge.service(now);
        self.holds_are_unknown();
        self.bridge.set_role(1, Role::Primary, 2);
    }

    fn owner(&self, extent: u8) -> u8 {
        let space = &self.program.public_space;
        let index = space.index_of(POOL).expect("a public address");
        space.owner(index, extent.into())
    }

    /// Owners of the extents at a time.
    fn owners(&mut self, now: u64, extents: [u8; 2]) -> [u8; 2] {
        self.bridge.service(now);
        extents.map(|extent| self.owner(extent))
    }

    fn holds_are_unknown(&mut self) -> bool {
        std::iter::from_fn(|| self.inbox.pop().ok()).any(|op| op == Op::HoldsUnknown)
    }
}

#[test]
fn each_rests_until_its_own_time() {
    let mut side = Side::standby();
    side.says(&[
        LeaseChange::Resting(lease(1), at(NOW + 30_000)),
        LeaseChange::Offer(lease(2)),
    ]);
    assert!(side.holds_are_unknown(), "nothing was heard before");
    side.takes_over(NOW + 1000);
    assert!(!side.holds_are_unknown());
    assert_eq!(side.owners(NOW + 29_000, [1, 2]), [OWNER_PEER; 2]);
    assert_eq!(side.owners(NOW + 31_000, [1, 2]), [OWNER_FREE, OWNER_PEER]);
    assert_eq!(side.owners(NOW + ANEW_MS, [1, 2]), [OWNER_FREE, OWNER_PEER]);
    assert_eq!(side.owners(NOW + 1000 + ANEW_MS, [1, 2]), [OWNER_FREE; 2]);
}

#[test]
fn what_was_told_long_ago_rests_anew() {
    let rests = LeaseChange::Resting(lease(1), at(NOW + 80_000));
    for (silent_ms, counts) in [(SILENT_MS - 1000, true), (SILENT_MS, false)] {
        let mut side = Side::standby();
        side.says(&[rests]);
        side.holds_are_unknown();
        side.takes_over(NOW + silent_ms);
        assert_eq!(side.holds_are_unknown(), !counts);
        let owner = if counts { OWNER_FREE } else { OWNER_PEER };
        assert_eq!(side.owners(NOW + 81_000, [1, 1]), [owner; 2]);
    }
    // Heard again after so long, the peer says it anew, or it counts no more.
    let mut side = Side::standby();
    side.says(&[rests]);
    side.holds_are_unknown();
    side.bridge.heard(NOW + SILENT_MS);
    assert!(side.holds_are_unknown());
    side.takes_over(NOW + SILENT_MS + 1000);
    assert_eq!(side.owners(NOW + 81_000, [1, 1]), [OWNER_PEER; 2]);
    // So it is when the peer tells everything anew, and when what rested is offered.
    for change in [None, Some(LeaseChange::Offer(lease(1)))] {
        let mut side = Side::standby();
        side.says(&[rests]);
        match change {
            Some(change) => side.says(&[change]),
            None => assert!(side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL))),
        }
        side.takes_over(NOW + 1000);
        assert_eq!(side.owners(NOW + 81_000, [1, 1]), [OWNER_PEER; 2]);
    }
}

#[test]
fn what_rests_is_told_and_ends_when_the_peer_knows_or_is_gone_for_long() {
    let mut side = Side::standby();
    side.says(&[
        LeaseChange::Resting(lease(1), at(NOW + 30_000)),
        LeaseChange::Offer(lease(2)),
    ]);
    side.takes_over(NOW + 1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: None });
    side.bridge.service(NOW + 2000);
    let told: Vec<LeaseChange> = std::iter::from_fn(|| side.bridge.next_lease()).collect();
    assert!(
        told.contains(&LeaseChange::Resting(lease(1), at(NOW + 30_000))),
        "{told:?}"
    );
    assert!(
        told.contains(&LeaseChange::Resting(lease(2), at(NOW + 1000 + ANEW_MS))),
        "{told:?}"
    );
    // It is there, and has not acknowledged all that it was told: it may go by this.
    assert_eq!(side.owners(NOW + 31_000, [1, 2]), [OWNER_PEER; 2]);
    // It is gone: for a while it may.
    side.bridge.peer(PeerEvent::Disconnected);
    assert_eq!(
        side.owners(NOW + 31_000 + ANEW_MS - 1000, [1, 2]),
        [OWNER_PEER; 2]
    );
    assert_eq!(side.owners(NOW + 31_000 + ANEW_MS, [1, 2]), [OWNER_FREE; 2]);
}

#[test]
fn what_rests_is_offered_before_it_is_given_out_beside_a_peer() {
    let mut side = Side::standby();
    // All that is free of the address is the peer's, so that nothing else can be offered.
    let rests: Vec<LeaseChange> = (0..16)
        .map(|extent| LeaseChange::Resting(lease(extent), at(NOW + 30_000)))
        .collect();
    side.says(&rests);
    side.takes_over(NOW + 1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: None });
    side.offers_until_required(NOW + 2000);
    assert!(
        (0..16).all(|extent| side.owner(extent) == OWNER_PEER),
        "acknowledged, and resting"
    );
    (0..5).for_each(|step| side.bridge.service(NOW + 31_000 + step * 100));
    let told: Vec<LeaseChange> = std::iter::from_fn(|| side.bridge.next_lease()).collect();
    assert!(told.contains(&LeaseChange::Offer(lease(0))), "{told:?}");
    let space = &side.program.public_space;
    let index = space.index_of(POOL).expect("a public address");
    assert!(
        (0..16).all(|extent| !space.acquire(index, extent, 0)),
        "not acknowledged"
    );
    side.bridge.lease_acknowledged(lease(0));
    assert!(space.acquire(index, 0, 0));
}

#[test]
fn the_acknowledgment_of_a_rest_grants_no_offer_that_waits_for_the_link() {
    let mut side = Side::standby();
    let rests: Vec<LeaseChange> = (0..16)
        .map(|extent| LeaseChange::Resting(lease(extent), at(NOW + 30_000)))
        .collect();
    side.says(&rests);
    side.takes_over(NOW + 1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: None });
    let now = side.offers_until_required(NOW + 2000);
    // It is told again that they rest, and has not acknowledged that when their time is over.
    side.bridge.peer(PeerEvent::Bulk(2, ObjectTypes::ALL));
    side.bridge.service(now);
    let told: Vec<LeaseChange> = std::iter::from_fn(|| side.bridge.next_lease()).collect();
    assert!(rests.iter().all(|change| told.contains(change)), "{told:?}");
    (0..5).for_each(|step| side.bridge.service(NOW + 31_000 + step * 100));
    let space = Arc::clone(&side.program.public_space);
    let index = space.index_of(POOL).expect("a public address");
    assert_eq!(space.owner(index, 0), OWNER_LEASE_PENDING);
    side.bridge.lease_acknowledged(lease(0));
    assert!(!space.acquire(index, 0, 0), "the offer was not even said");
    let told: Vec<LeaseChange> = std::iter::from_fn(|| side.bridge.next_lease()).collect();
    assert!(told.contains(&LeaseChange::Offer(lease(0))), "{told:?}");
    side.bridge.lease_acknowledged(lease(0));
    assert!(space.acquire(index, 0, 0));
}
