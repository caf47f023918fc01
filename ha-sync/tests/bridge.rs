//! The bridge over real rings: what goes to which worker, bulks of several workers, roles, and leases between two of them.

mod common;

use std::sync::Arc;

use common::model::session;
use common::{dictionary, program};
use ha_sync::bridge::{Bridge, BridgeConfig, BridgeError, BridgeEvent, RedundancySet};
use ha_sync::chassis::{Chassis, PeerEvent, Renewal, SetRole, Sets};
use ha_sync::link::{Link, LinkConfig};
use rtrb::{Consumer, Producer, RingBuffer};
use tandem_engine::address;
use tandem_engine::program::Program;
use tandem_engine::public_space::{OWNER_FREE, OWNER_GRANTED, OWNER_LEASE_PENDING, OWNER_PEER, PublicSpace};
use tandem_engine::replica::{ExtentRecord, LeaseChange, Mark, ObjectTypes, Op, Role};
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::POOL;

const WORKERS: usize = 2;
const SHARDS: u8 = 4;
/// What is to be renewed is said to be so once.
const ONCE: [Renewal; 2] = [Renewal::Now, Renewal::Not];

/// The worker's ends of its rings.
struct Worker {
    outbox: Producer<Op>,
    inbox: Consumer<Op>,
}

impl Worker {
    fn read(&mut self) -> Vec<Op> {
        std::iter::from_fn(|| self.inbox.pop().ok()).collect()
    }

    fn say(&mut self, op: Op) {
        self.outbox.push(op).unwrap();
    }
}

struct Side {
    bridge: Bridge,
    workers: Vec<Worker>,
    program: Arc<Program>,
}

fn side(capacity: usize) -> Side {
    // A public space of its own: it is another process.
    let mut program = program();
    program.public_space = Arc::new(PublicSpace::build(&program.pools, None));
    let program = Arc::new(program);
    let (mut outboxes, mut inboxes, mut workers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WORKERS {
        let (outbox, ours) = RingBuffer::new(64);
        let (theirs, inbox) = RingBuffer::new(capacity);
        outboxes.push(ours);
        inboxes.push(theirs);
        workers.push(Worker { outbox, inbox });
    }
    let config = BridgeConfig {
        shards: SHARDS,
        sets: vec![RedundancySet {
            number: 1,
            service_sets: vec![1],
        }],
        tick_zero_ms: 0,
    };
    let bridge = Bridge::new(config, Arc::clone(&program), outboxes, inboxes).unwrap();
    Side {
        bridge,
        workers,
        program,
    }
}

impl Side {
    /// The link takes the leases there are, and the peer acknowledges them; a bulk does not end before.
    fn offer_leases(&mut self, now: u64) {
        self.bridge.service(now);
        assert_eq!(self.bridge.next(), None, "leases are not taken yet");
        let offers: Vec<LeaseChange> = std::iter::from_fn(|| self.bridge.next_lease()).collect();
        for change in offers {
            self.bridge.service(now);
            assert_eq!(self.bridge.next(), None, "nor all acknowledged");
            assert!(!self.bridge.stats().leases_required);
            let LeaseChange::Offer(lease) = change else {
                continue;
            };
            self.bridge.lease_acknowledged(lease);
        }
        self.bridge.service(now);
    }

    fn events(&mut self) -> Vec<BridgeEvent> {
        std::iter::from_fn(|| self.bridge.next_event()).collect()
    }

    /// How many extents are in a state.
    fn count(&self, state: u8) -> usize {
        let states = self.program.public_space.lease_states(0);
        states.map(|s| s.count(state)).sum()
    }

    /// Workers read, and answer what engines answer.
    fn work(&mut self) -> Vec<Op> {
        let mut all = Vec::new();
        for worker in &mut self.workers {
            for op in worker.read() {
                match op {
                    Op::Bulk(n, _) => worker.say(Op::BulkEnd(n)),
                    Op::Role {
                        service_set, epoch, ..
                    } => worker.say(Op::RoleDone { service_set, epoch }),
                    _ => {}
                }
                all.push(op);
            }
        }
        all
    }
}

#[test]
fn each_operation_goes_to_the_worker_of_its_subscribers_shard() {
    let mut side = side(1024);
    let split = Split::new(WORKERS as u8, SHARDS).unwrap();
    for n in 0..200 {
        let record = session(n, 1, Ticks(5));
        assert!(side.bridge.install(&Op::Session(record)));
        let worker = split.worker_of(split.shard(address::of_v4(0x0a00_0000 + n), 64));
        assert_eq!(side.workers[usize::from(worker)].read(), [Op::Session(record)]);
        assert!(side.workers[1 - usize::from(worker)].read().is_empty());
    }
    for shard in 0..SHARDS {
        let op = Op::Extent(ExtentRecord {
            public: POOL,
            pool: 1,
            extent: 3,
            shard,
            held_until: Ticks::ZERO,
        });
        assert!(side.bridge.install(&op));
        assert_eq!(side.workers[usize::from(split.worker_of(shard))].read(), [op]);
    }
}

#[test]
fn the_beginning_of_a_bulk_waits_until_all_workers_have_room() {
    let mut side = side(2);
    let record = session(1, 1, Ticks(5));
    while side.bridge.install(&Op::Session(record)) {}
    assert!(!side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL)));
    assert_eq!(side.workers.iter_mut().flat_map(Worker::read).count(), 2);
    assert!(side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL)));
    for worker in &mut side.workers {
        assert_eq!(worker.read(), [Op::BulkBegin(1, ObjectTypes::ALL)]);
    }
}

#[test]
fn a_bulk_ends_when_every_worker_has_told_its_part() {
    let mut side = side(64);
    side.bridge.service(1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(9) });
    for worker in &mut side.workers {
        assert_eq!(worker.read(), [Op::Listen(true), Op::Bulk(9, ObjectTypes::ALL)]);
    }
    let told = Op::Session(session(1, 1, Ticks(5)));
    side.workers[0].say(told);
    side.workers[0].say(Op::BulkEnd(9));
    side.workers[1].say(Op::BulkEnd(8));
    let mut next = || std::iter::from_fn(|| side.bridge.next()).collect::<Vec<_>>();
    assert_eq!(next(), [told]);
    side.workers[1].say(told);
    side.workers[1].say(Op::BulkEnd(9));
    assert_eq!(next(), [told], "leases are not offered again yet");
    side.offer_leases(1010);
    assert_eq!(side.bridge.next(), Some(Op::BulkEnd(9)));
}

#[test]
fn a_program_that_moves_addresses_or_replicates_otherwise_is_followed_by_a_bulk() {
    let mut side = side(64);
    side.bridge.service(1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.work();
    side.offer_leases(1010);
    assert_eq!(side.bridge.next(), Some(Op::BulkEnd(1)));
    let sets = || {
        vec![RedundancySet {
            number: 1,
            service_sets: vec![1],
        }]
    };
    let mut program = (*side.program).clone();
    program.generation += 1;
    side.bridge.set_program(Arc::new(program.clone()), sets());
    assert_eq!(side.bridge.renews(), Renewal::Not, "nothing moved");
    let moved = program.pools[0].addresses[0].last;
    program.pools[0].addresses[0].last = moved - 1;
    side.bridge.set_program(Arc::new(program.clone()), sets());
    assert_eq!([(); 2].map(|()| side.bridge.renews()), ONCE);
    program.service_sets[0].replication.threshold = None;
    side.bridge.set_program(Arc::new(program.clone()), sets());
    assert_eq!(side.bridge.renews(), Renewal::Now);
    program.service_sets[0].replication.threshold = Some(Ticks(5));
    side.bridge.set_program(Arc::new(program), sets());
    // The link began one by itself.
    side.bridge.peer(PeerEvent::Bulk(2, ObjectTypes::ALL));
    assert_eq!(side.bridge.renews(), Renewal::Not);
}

#[test]
fn how_long_something_waits_in_an_outbox_is_known() {
    let mut side = side(64);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.bridge.service(500);
    let waiting = |side: &Side| side.bridge.waiting_since();
    assert_eq!(waiting(&side), None);
    side.workers[1].say(Op::Lost);
    side.bridge.service(1000);
    side.workers[1].say(Op::Refused);
    side.workers[0].say(Op::Refused);
    side.bridge.service(1400);
    assert_eq!(waiting(&side), Some(1000));
    while side.bridge.next() != Some(Op::Lost) {}
    side.bridge.service(1500);
    assert!(
        matches!(waiting(&side), Some(1400 | 1500)),
        "{:?}",
        waiting(&side)
    );
    while side.bridge.next().is_some() {}
    side.bridge.service(1600);
    assert_eq!((waiting(&side), side.bridge.ring_use().outboxes.0), (None, 0));
}

#[test]
fn a_bulk_covers_sets_that_were_primary_there_and_standby_here_all_along() {
    let end = |mut all: Vec<Op>| {
        all.retain(|op| matches!(op, Op::Covers(_) | Op::BulkEnd(_)));
        all
    };
    // What the peer covers, whether this chassis is standby when the bulk begins, and becomes primary meanwhile.
    for (covers, standby, flips, swept) in [
        (1, true, false, true),
        (0, true, false, false),
        (1 << 127, true, false, false),
        (1, false, false, false),
        (1, true, true, false),
    ] {
        let mut side = side(64);
        if standby {
            assert!(side.bridge.set_role(1, Role::Standby, 1));
        }
        assert!(side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL)));
        if flips {
            for role in [Role::Primary, Role::Standby] {
                assert!(side.bridge.set_role(1, role, 2));
            }
        }
        side.bridge.covered(Sets::from_bits(covers));
        assert!(side.bridge.install(&Op::BulkEnd(1)));
        let one = if swept {
            vec![Op::Covers(1), Op::BulkEnd(1)]
        } else {
            vec![Op::BulkEnd(1)]
        };
        for worker in &mut side.workers {
            assert_eq!(end(worker.read()), one, "{covers} {standby} {flips}");
        }
    }
}

#[test]
fn a_chassis_that_yields_asks_for_what_it_refused() {
    let asks = |side: &mut Side| std::iter::from_fn(|| side.bridge.next()).any(|op| op == Op::Refused);
    let begins = |side: &mut Side| side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL));
    let mut side = side(64);
    // One that takes something is offered that first: tests/merging.rs.
    side.bridge.peer_merges(false);
    assert!(side.bridge.set_role(1, Role::Primary, 4));
    side.bridge.service(1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.work();
    // All of this bulk was refused.
    assert!(begins(&mut side));
    side.bridge.covered(Sets::from_bits(1));
    assert!(side.bridge.install(&Op::BulkEnd(1)));
    assert!(!side.bridge.is_lacking() && !asks(&mut side), "it is primary");
    side.bridge.peer(PeerEvent::Roles(vec![SetRole {
        set: 1,
        primary: true,
        epoch: 5,
    }]));
    assert!(side.bridge.is_lacking() && asks(&mut side));
    assert!(!asks(&mut side), "the peer has some time");
    side.bridge.service(2000);
    assert!(asks(&mut side), "it did not begin");
    assert!(begins(&mut side));
    side.bridge.service(4000);
    assert!(!side.bridge.is_lacking() && !asks(&mut side));
    // A role that changes in the midst of a bulk: some of it was refused.
    side.bridge.peer(PeerEvent::Roles(vec![SetRole {
        set: 1,
        primary: false,
        epoch: 5,
    }]));
    for role in [Role::Primary, Role::Standby] {
        assert!(side.bridge.set_role(1, role, 6));
    }
    assert!(!side.bridge.is_lacking());
    assert!(side.bridge.install(&Op::BulkEnd(1)));
    assert!(side.bridge.is_lacking() && asks(&mut side));
}

#[test]
fn a_chassis_that_was_primary_beside_its_peer_asks_for_everything_when_it_is_standby() {
    let asks = |side: &mut Side| std::iter::from_fn(|| side.bridge.next()).any(|op| op == Op::Refused);
    let says = |primary, epoch| {
        let set = 1;
        PeerEvent::Roles(vec![SetRole { set, primary, epoch }])
    };
    let mut side = side(64);
    // One that takes something is offered that first: tests/merging.rs.
    side.bridge.peer_merges(false);
    assert!(side.bridge.set_role(1, Role::Standby, 0));
    assert!(!side.bridge.is_lacking(), "it has nothing of its own");
    // A peer that is not heard may be primary. It goes on with its stream when it is back, where nothing is missing for it.
    assert!(side.bridge.set_role(1, Role::Primary, 2));
    assert!(side.bridge.set_role(1, Role::Standby, 3));
    assert!(side.bridge.is_lacking());
    side.bridge.service(1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.work();
    assert!(!asks(&mut side), "most begin to tell everything by themselves");
    side.bridge.service(2000);
    assert!(asks(&mut side));
    assert!(side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL)));
    assert!(!side.bridge.is_lacking());
    // A peer that is standby tells everything when it takes the set over.
    side.bridge.peer(says(false, 3));
    assert!(side.bridge.set_role(1, Role::Primary, 4));
    assert!(side.bridge.set_role(1, Role::Standby, 5));
    assert!(!side.bridge.is_lacking());
    // One that is primary all the while does not.
    assert!(side.bridge.set_role(1, Role::Primary, 6));
    side.bridge.peer(says(true, 4));
    assert!(side.bridge.set_role(1, Role::Standby, 7));
    assert!(side.bridge.is_lacking());
    // What it said on another connection does not count.
    assert!(side.bridge.install(&Op::BulkBegin(2, ObjectTypes::ALL)));
    side.bridge.peer(says(false, 7));
    side.bridge.peer(PeerEvent::Disconnected);
    assert!(side.bridge.set_role(1, Role::Primary, 8));
    assert!(side.bridge.set_role(1, Role::Standby, 9));
    assert!(side.bridge.is_lacking());
}

#[test]
fn a_chassis_that_becomes_primary_tells_everything_anew() {
    let mut side = side(64);
    assert!(side.bridge.set_role(1, Role::Standby, 1));
    side.bridge.service(1000);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.work();
    // Leases come first: a bulk ends behind them.
    let told = |side: &mut Side| {
        side.bridge.service(1100);
        while side.bridge.next_lease().is_some() {}
        std::iter::from_fn(|| side.bridge.next()).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut side), [Op::BulkEnd(1)]);
    assert_eq!(side.bridge.covers().bits(), 0, "primary of nothing");
    assert!(side.bridge.set_role(1, Role::Primary, 2) && side.bridge.is_renewing());
    assert_eq!(
        side.bridge.renews(),
        Renewal::Later,
        "workers have not taken it up"
    );
    side.work();
    assert_eq!(side.bridge.next(), None);
    assert_eq!(side.bridge.renews(), Renewal::Later, "packets wait for the role");
    assert!(matches!(side.events().last(), Some(BridgeEvent::RoleDone(_))));
    assert_eq!([(); 2].map(|()| side.bridge.renews()), ONCE);
    side.bridge.peer(PeerEvent::Bulk(2, ObjectTypes::ALL));
    side.work();
    assert_eq!(told(&mut side), [Op::BulkEnd(2)]);
    assert_eq!(
        (side.bridge.covers().bits(), side.bridge.is_renewing()),
        (1, false)
    );
    // Once is enough, and a standby has nothing to tell, unless its peer may be primary, too.
    side.bridge.peer(PeerEvent::Roles(vec![SetRole {
        set: 1,
        primary: false,
        epoch: 1,
    }]));
    assert!(side.bridge.set_role(1, Role::Primary, 3) && !side.bridge.is_renewing());
    assert!(side.bridge.set_role(1, Role::Standby, 4) && !side.bridge.is_renewing());
    assert_eq!(side.bridge.covers().bits(), 0, "it is not primary to the end");
}

#[test]
fn who_takes_over_from_the_dead_tells_them_nothing_before_they_are_heard_again() {
    type Sign = fn(&mut Bridge);
    let signs: [(Sign, [Renewal; 2]); 3] = [
        (|bridge| bridge.heard(1200), ONCE),
        (
            |bridge| bridge.peer(PeerEvent::Connected { new_bulk: None }),
            ONCE,
        ),
        // The bulk of that connection tells everything.
        (
            |bridge| bridge.peer(PeerEvent::Connected { new_bulk: Some(2) }),
            [Renewal::Not; 2],
        ),
    ];
    for (sign, renewed) in signs {
        let mut side = side(64);
        assert!(side.bridge.set_role(1, Role::Standby, 1));
        side.bridge.service(1000);
        side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
        side.work();
        side.bridge.peer_died();
        assert!(side.bridge.set_role(1, Role::Primary, 2));
        side.bridge.service(1100);
        side.work();
        while side.bridge.next_lease().is_some() {}
        while side.bridge.next().is_some() {}
        assert!(matches!(side.events().last(), Some(BridgeEvent::RoleDone(_))));
        assert!(side.bridge.renews() == Renewal::Later && side.bridge.is_renewing());
        sign(&mut side.bridge);
        assert_eq!([(); 2].map(|()| side.bridge.renews()), renewed);
    }
}

#[test]
fn what_was_put_out_before_anybody_listened_is_not_told() {
    let mut side = side(64);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.workers.iter_mut().for_each(|w| drop(w.read()));
    let old = Op::Session(session(1, 1, Ticks(5)));
    side.bridge.peer(PeerEvent::Forgotten);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(2) });
    // The worker has not read yet that it shall stop.
    side.workers[0].say(old);
    side.bridge.service(2000);
    assert_eq!(side.bridge.next(), None);
    assert_eq!(side.workers[0].read(), [Op::Listen(false)]);
    side.workers[0].say(old);
    side.bridge.service(2001);
    assert!(side.workers[0].read().is_empty(), "the other one has not read it");
    assert_eq!(side.workers[1].read(), [Op::Listen(false)]);
    side.bridge.service(2002);
    assert_eq!(
        side.workers[0].read(),
        [Op::Listen(true), Op::Bulk(2, ObjectTypes::ALL)]
    );
    assert_eq!(side.bridge.stats().dropped, 2);
    side.workers[0].say(old);
    assert_eq!(side.bridge.next(), Some(old));
}

#[test]
fn workers_that_have_read_that_they_shall_stop_are_not_waited_for_longer() {
    let mut side = side(64);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.workers.iter_mut().for_each(|w| drop(w.read()));
    side.bridge.peer(PeerEvent::Forgotten);
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(2) });
    // The peer tells everything meanwhile: no inbox is ever empty.
    let fill = |bridge: &mut Bridge| {
        for n in 0..400 {
            // As far as there is room.
            let _taken = bridge.install(&Op::Session(session(n, 1, Ticks(5))));
        }
    };
    fill(&mut side.bridge);
    let mut listens = [None; WORKERS];
    for now in 0..200 {
        for (worker, listens) in side.workers.iter_mut().zip(&mut listens) {
            match worker.inbox.pop() {
                Ok(Op::Listen(on)) => *listens = Some(on),
                Ok(_) => {}
                Err(_) => panic!("it was to be kept full"),
            }
        }
        side.bridge.service(2000 + now);
        fill(&mut side.bridge);
    }
    assert_eq!(listens, [Some(true); WORKERS]);
}

#[test]
fn of_equal_epochs_one_yields_before_it_is_told_anything() {
    let mut side = side(64);
    side.bridge.yield_equal_epochs(true);
    assert!(side.bridge.set_role(1, Role::Primary, 4));
    let theirs = |epoch| SetRole {
        set: 1,
        primary: true,
        epoch,
    };
    side.bridge.peer(PeerEvent::Roles(vec![theirs(3)]));
    assert_eq!(side.bridge.roles(), [theirs(4)], "a lower one");
    // All in one read: who it is, and all it has.
    side.bridge.peer(PeerEvent::Roles(vec![theirs(4)]));
    assert!(side.bridge.install(&Op::BulkBegin(1, ObjectTypes::ALL)));
    side.bridge.covered(Sets::ALL);
    assert!(side.bridge.install(&Op::BulkEnd(1)));
    let yielded = SetRole {
        primary: false,
        ..theirs(4)
    };
    assert_eq!(side.bridge.roles(), [yielded]);
    assert!(side.events().contains(&BridgeEvent::Yielded(yielded)));
    for worker in &mut side.workers {
        let read = worker.read();
        let [.., standby, offer, begin, end] = &*read else {
            panic!("{read:?}");
        };
        assert!(matches!(
            standby,
            Op::Role {
                role: Role::Standby,
                ..
            }
        ));
        assert_eq!(
            (offer, begin, end),
            // It covers nothing: of what is offered first nothing is taken.
            (
                &Op::Offer {
                    service_set: 1,
                    offers: true
                },
                &Op::BulkBegin(1, ObjectTypes::ALL),
                &Op::BulkEnd(1)
            )
        );
    }
}

#[test]
fn of_equal_epochs_each_set_has_its_own_answer() {
    for (of_all, of_this) in [(true, false), (false, true)] {
        let mut side = side(64);
        side.bridge.yield_equal_epochs(of_all);
        side.bridge.yield_equal_epoch_of(1, of_this);
        assert!(side.bridge.set_role(1, Role::Primary, 4) && side.bridge.is_changing_roles());
        let theirs = SetRole {
            set: 1,
            primary: true,
            epoch: 4,
        };
        side.bridge.peer(PeerEvent::Roles(vec![theirs]));
        let primary = side.bridge.roles().iter().any(|role| role.primary);
        assert_eq!(
            primary, !of_this,
            "the peer's is the worse priority, or the better"
        );
        side.work();
        side.bridge.service(1000);
        side.events();
        assert!(!side.bridge.is_changing_roles(), "all have answered");
    }
}

#[test]
fn a_role_is_done_when_all_workers_say_so_and_a_higher_epoch_makes_us_yield() {
    let mut side = side(64);
    assert!(!side.bridge.set_role(2, Role::Standby, 1), "no such set");
    assert!(side.bridge.set_role(1, Role::Primary, 4) && !side.bridge.role_is_done(1));
    side.work();
    side.bridge.service(1000);
    let primary = SetRole {
        set: 1,
        primary: true,
        epoch: 4,
    };
    assert_eq!(side.events(), [BridgeEvent::RoleDone(primary)]);
    let standby = SetRole {
        primary: false,
        epoch: 5,
        ..primary
    };
    let theirs = |epoch| PeerEvent::Roles(vec![SetRole { epoch, ..primary }]);
    side.bridge.peer(theirs(4));
    assert_eq!(
        side.bridge.roles(),
        [primary],
        "with equal epochs the other one yields"
    );
    side.bridge.peer(theirs(5));
    assert_eq!(side.bridge.roles(), [standby]);
    assert!(side.events().contains(&BridgeEvent::Yielded(standby)));
    side.work();
    side.bridge.service(1001);
    assert_eq!(side.events(), [BridgeEvent::RoleDone(standby)]);
}

/// Two sides with a link each, and wires in between.
struct Pair {
    sides: [Side; 2],
    links: [Link; 2],
    now: u64,
}

impl Pair {
    fn new() -> Self {
        let link = |incarnation| {
            let mut link = Link::new(LinkConfig::new(incarnation, SHARDS, [1; 32], dictionary()));
            link.connected(1000);
            link
        };
        Self {
            sides: [side(1024), side(1024)],
            links: [link(1), link(2)],
            now: 1000,
        }
    }

    fn step(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        for from in 0..2 {
            let side = &mut self.sides[from];
            side.work();
            side.bridge.service(self.now);
            let mut out = Vec::new();
            self.links[from].poll(self.now, &mut side.bridge, &mut out);
            if !out.is_empty() {
                let used = self.links[1 - from]
                    .received(self.now, &out, &mut self.sides[1 - from].bridge)
                    .unwrap();
                assert_eq!(used, out.len());
            }
        }
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step(10));
    }
}

#[test]
fn leases_are_ahead_required_and_known_to_the_peer() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    assert!(!pair.sides[0].bridge.stats().leases_required);
    pair.steps(40);
    // 16 addresses, two extents ahead on each.
    assert_eq!(pair.sides[0].count(OWNER_GRANTED), 32);
    assert_eq!(pair.sides[1].count(OWNER_PEER), 32);
    assert!(pair.sides[0].bridge.stats().leases_required);
    assert!(!pair.sides[1].bridge.stats().leases_required, "standby");
    // One is taken: another is leased in its place.
    let space = Arc::clone(&pair.sides[0].program.public_space);
    let index = space.index_of(POOL).unwrap();
    assert!(
        space.acquire(index, 0, 2) && !space.acquire(index, 9, 2),
        "not granted"
    );
    pair.steps(10);
    assert_eq!(pair.sides[0].count(OWNER_GRANTED), 32);
    assert_eq!(pair.sides[1].count(OWNER_PEER), 33);
    // It comes back, and some time later so does its lease.
    assert!(space.release(index, 0, 2));
    pair.steps(1200);
    assert_eq!(pair.sides[0].count(OWNER_GRANTED), 32);
    assert_eq!(pair.sides[1].count(OWNER_PEER), 32);
    // Without the peer nobody waits for it.
    let now = pair.now;
    pair.links[0].disconnected(now);
    let side = &mut pair.sides[0];
    pair.links[0].poll(now, &mut side.bridge, &mut Vec::new());
    assert!(!side.bridge.stats().leases_required && !space.leases_required());
    assert_eq!(side.count(OWNER_LEASE_PENDING), 0);
    assert!(space.acquire(index, 9, 2));
}

#[test]
fn leases_stay_required_while_a_bulk_tells_them_again() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    let offered = pair.sides[0].bridge.stats().leases_offered;
    assert!(pair.links[0].resync_to_peer(ObjectTypes::ALL));
    for _ in 0..20 {
        pair.step(10);
        assert!(pair.sides[0].program.public_space.leases_required());
    }
    assert_eq!(pair.sides[0].bridge.stats().leases_offered, offered + 32);
    assert!(!pair.links[0].stats().bulk_sent.running);
}

#[test]
fn a_peer_that_began_anew_knows_all_leases_before_they_are_required() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    assert_eq!(pair.sides[0].count(OWNER_GRANTED), 32);
    let now = pair.now;
    pair.links[0].disconnected(now);
    let side = &mut pair.sides[0];
    pair.links[0].poll(now, &mut side.bridge, &mut Vec::new());
    assert!(!side.bridge.stats().leases_required);
    pair.sides[1] = self::side(1024);
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.links[1] = Link::new(LinkConfig::new(3, SHARDS, [1; 32], dictionary()));
    pair.links.iter_mut().for_each(|link| link.connected(now));
    for _ in 0..60 {
        pair.step(10);
        if pair.sides[0].bridge.stats().leases_required {
            assert_eq!(pair.sides[1].count(OWNER_PEER), 32);
        }
    }
    assert!(pair.sides[0].bridge.stats().leases_required);
}

#[test]
fn an_offer_that_was_not_made_before_a_break_is_made_after_it() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    // What rests here is offered as well; the link breaks before that is said.
    let space = Arc::clone(&pair.sides[0].program.public_space);
    let index = space.index_of(POOL).unwrap();
    let extent = (0..16).find(|e| space.mark_peer(index, *e)).unwrap();
    let now = pair.now;
    pair.sides[0].bridge.service(now);
    for (link, side) in pair.links.iter_mut().zip(&mut pair.sides) {
        side.bridge.peer(PeerEvent::Disconnected);
        link.disconnected(now);
        link.connected(now);
    }
    pair.steps(40);
    let theirs = &pair.sides[1].program.public_space;
    assert_eq!(theirs.owner(index, extent), OWNER_PEER);
}

#[test]
fn what_is_free_when_the_role_goes_is_no_lease_of_the_peers_any_more() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    let space = Arc::clone(&pair.sides[0].program.public_space);
    let index = space.index_of(POOL).unwrap();
    assert!(space.acquire(index, 0, 2));
    pair.steps(10);
    assert_eq!(pair.sides[1].count(OWNER_PEER), 33);
    assert!(space.release(index, 0, 2));
    pair.sides[0].bridge.set_role(1, Role::Standby, 2);
    pair.steps(40);
    assert_eq!(pair.sides[0].count(OWNER_GRANTED), 0);
    assert_eq!(pair.sides[1].count(OWNER_PEER), 0);
}

#[test]
fn who_yields_leaves_to_the_peer_what_both_had_leased() {
    for breaks in [false, true] {
        // Both are primary, and their offers of the same extents cross.
        let mut side = side(1024);
        side.bridge.peer(PeerEvent::Connected { new_bulk: None });
        side.bridge.service(1000);
        let offers: Vec<LeaseChange> = std::iter::from_fn(|| side.bridge.next_lease()).collect();
        let lease = |at: usize| match offers[at] {
            LeaseChange::Offer(lease) | LeaseChange::Withdraw(lease) | LeaseChange::Resting(lease, _) => {
                lease
            }
        };
        side.bridge.lease_acknowledged(lease(0));
        for at in 0..3 {
            side.bridge.lease_told(LeaseChange::Offer(lease(at)));
        }
        side.bridge.lease_told(LeaseChange::Withdraw(lease(2)));
        assert_eq!(side.bridge.stats().lease_conflicts, 3);
        if breaks {
            side.bridge.peer(PeerEvent::Disconnected);
            side.bridge.peer(PeerEvent::Connected { new_bulk: None });
            side.bridge.service(1100);
        }
        side.bridge.set_role(1, Role::Standby, 2);
        let space = &side.program.public_space;
        for (at, owner) in [(0, OWNER_PEER), (1, OWNER_PEER), (2, OWNER_FREE)] {
            let index = space.index_of(lease(at).public).unwrap();
            assert_eq!(space.owner(index, lease(at).extent.into()), owner);
        }
        assert_eq!((side.count(OWNER_PEER), side.count(OWNER_GRANTED)), (2, 0));
    }
}

#[test]
fn leases_given_up_without_the_peer_are_given_back_when_it_returns() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    pair.links.iter_mut().for_each(|link| link.disconnected(1400));
    for _ in 0..10 {
        let now = pair.now;
        for (link, side) in pair.links.iter_mut().zip(&mut pair.sides) {
            link.poll(now, &mut side.bridge, &mut Vec::new());
            side.bridge.service(now);
        }
        pair.sides[0].bridge.set_role(1, Role::Standby, 2);
    }
    assert_eq!(
        (
            pair.sides[0].count(OWNER_GRANTED),
            pair.sides[1].count(OWNER_PEER)
        ),
        (0, 32)
    );
    let now = pair.now;
    pair.links.iter_mut().for_each(|link| link.connected(now));
    pair.steps(40);
    assert_eq!(pair.links[0].stats().resumes, 1, "nothing is told anew");
    assert_eq!(pair.sides[1].count(OWNER_PEER), 0);
}

#[test]
fn marks_that_a_bulk_does_not_renew_go_when_they_have_rested() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    let space = Arc::clone(&pair.sides[1].program.public_space);
    let index = space.index_of(POOL).unwrap();
    assert!((0..16).any(|e| space.mark_peer(index, e)));
    assert_eq!(pair.sides[1].count(OWNER_PEER), 33);
    assert!(pair.links[0].resync_to_peer(ObjectTypes::ALL));
    pair.steps(20);
    let (now, side) = (pair.now, &mut pair.sides[1]);
    side.bridge.service(now + 119_000);
    assert_eq!(side.count(OWNER_PEER), 33);
    side.bridge.service(now + 121_000);
    assert_eq!(side.count(OWNER_PEER), 32);
    assert_eq!(side.bridge.stats().leases_freed, 1);
}

#[test]
fn a_mark_comes_back_to_its_worker_when_the_peer_has_what_was_before_it() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    let mark = |at| {
        Op::Mark(Mark {
            worker: 1,
            at: Ticks(at),
        })
    };
    let marks = |read: Vec<Op>| {
        read.into_iter()
            .filter(|op| matches!(op, Op::Mark(_)))
            .collect::<Vec<_>>()
    };
    let worker = &mut pair.sides[0].workers[1];
    worker.say(Op::Session(session(1, 1, Ticks(5))));
    worker.say(mark(7));
    // Given to the link, and not acknowledged.
    let mut out = Vec::new();
    let side = &mut pair.sides[0];
    pair.links[0].poll(pair.now, &mut side.bridge, &mut out);
    assert_eq!(marks(side.work()), []);
    pair.links[1]
        .received(pair.now, &out, &mut pair.sides[1].bridge)
        .unwrap();
    let mut back = Vec::new();
    pair.links[1].poll(pair.now, &mut pair.sides[1].bridge, &mut back);
    pair.links[0]
        .received(pair.now, &back, &mut pair.sides[0].bridge)
        .unwrap();
    assert_eq!(marks(pair.sides[0].workers[0].read()), [], "the other's");
    assert_eq!(marks(pair.sides[0].workers[1].read()), [mark(7)]);
    // An inbox that is full: the last one says all.
    let side = &mut pair.sides[0];
    for at in 8..3000 {
        side.bridge.mark_acknowledged(Mark {
            worker: 1,
            at: Ticks(at),
        });
    }
    let first = marks(side.workers[1].read());
    side.bridge.service(pair.now);
    assert_eq!(
        (first.len(), marks(side.workers[1].read())),
        (1024, vec![mark(2999)])
    );
}

#[test]
fn what_a_lost_primary_had_leased_rests_before_anybody_gets_it() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    let now = pair.now;
    pair.links[1].disconnected(now);
    let side = &mut pair.sides[1];
    side.bridge.set_role(1, Role::Primary, 2);
    for at in [now, now + 119_000] {
        side.work();
        side.bridge.service(at);
        assert_eq!(side.count(OWNER_PEER), 32);
    }
    side.bridge.service(now + 121_000);
    assert_eq!(
        (side.count(OWNER_PEER), side.bridge.stats().leases_freed),
        (0, 32)
    );
}

#[test]
fn who_becomes_primary_beside_a_peer_gives_nothing_out_before_that_knows() {
    for alone in [false, true] {
        let mut pair = Pair::new();
        pair.sides[1].bridge.set_role(1, Role::Standby, 1);
        pair.steps(40);
        if alone {
            let now = pair.now;
            pair.links[1].disconnected(now);
            let side = &mut pair.sides[1];
            pair.links[1].absorb(now, &mut side.bridge);
        }
        pair.sides[0].bridge.set_role(1, Role::Standby, 2);
        pair.sides[1].work();
        let side = &mut pair.sides[1];
        assert!(!side.program.public_space.leases_required());
        assert!(side.bridge.set_role(1, Role::Primary, 3));
        // Whatever a worker does when it reads that, it does it so.
        assert_eq!(side.program.public_space.leases_required(), !alone);
        assert_eq!(side.bridge.stats().leases_required, !alone);
        assert!(matches!(
            side.work().as_slice(),
            [Op::Role { .. }, Op::Role { .. }]
        ));
    }
}

#[test]
fn who_takes_over_from_a_dead_peer_gives_out_at_once_whatever_the_connection_says() {
    let mut pair = Pair::new();
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    let side = &mut pair.sides[1];
    side.bridge.peer_died();
    assert!(side.bridge.set_role(1, Role::Primary, 2));
    side.work();
    side.bridge.service(pair.now);
    assert!(!side.program.public_space.leases_required());
    // Until there is another connection, on which it has acknowledged what there is.
    pair.sides[0].bridge.set_role(1, Role::Standby, 2);
    let now = pair.now;
    for (link, side) in pair.links.iter_mut().zip(&mut pair.sides) {
        link.disconnected(now);
        link.absorb(now, &mut side.bridge);
        link.connected(now);
    }
    pair.steps(80);
    assert!(pair.sides[1].program.public_space.leases_required());
}

#[test]
fn a_graceful_switch_hands_the_set_over_and_its_leases_back() {
    let mut pair = Pair::new();
    pair.sides[0].bridge.set_role(1, Role::Primary, 1);
    pair.sides[1].bridge.set_role(1, Role::Standby, 1);
    pair.steps(40);
    pair.sides.iter_mut().for_each(|s| drop(s.events()));
    let now = pair.now;
    assert!(pair.links[1].request_release(1, now));
    pair.steps(2);
    assert!(
        pair.sides[0]
            .events()
            .contains(&BridgeEvent::Peer(PeerEvent::ReleaseAsked { set: 1 }))
    );
    let last = Op::Session(session(5, 3, Ticks(1)));
    pair.sides[0].workers[0].say(last);
    assert!(pair.sides[0].bridge.set_role(1, Role::Standby, 2));
    pair.steps(2);
    let released = SetRole {
        set: 1,
        primary: false,
        epoch: 2,
    };
    assert!(pair.sides[0].events().contains(&BridgeEvent::RoleDone(released)));
    pair.links[0].released(1, 2, pair.now);
    let roles = pair.sides[0].bridge.roles();
    pair.links[0].announce_roles(&roles);
    // Workers of the asker have the last session before the release is heard.
    let side = &mut pair.sides[0];
    side.bridge.service(pair.now);
    let mut out = Vec::new();
    pair.links[0].poll(pair.now, &mut side.bridge, &mut out);
    pair.links[1]
        .received(pair.now, &out, &mut pair.sides[1].bridge)
        .unwrap();
    let heard = PeerEvent::Released { set: 1, epoch: 2 };
    assert!(pair.sides[1].events().contains(&BridgeEvent::Peer(heard)));
    pair.sides[1].bridge.set_role(1, Role::Primary, 3);
    pair.steps(60);
    assert!(pair.sides[1].bridge.stats().leases_required);
    assert!(!pair.sides[0].bridge.stats().leases_required);
    assert_eq!(pair.sides[0].count(OWNER_GRANTED), 0);
    assert_eq!(pair.sides[0].count(OWNER_PEER), 32);
    assert_eq!(
        (
            pair.sides[1].count(OWNER_GRANTED),
            pair.sides[1].count(OWNER_PEER)
        ),
        (32, 0)
    );
}

#[test]
fn rings_that_do_not_go_together_are_refused() {
    let config = BridgeConfig {
        shards: 3,
        sets: Vec::new(),
        tick_zero_ms: 0,
    };
    let program = Arc::new(program());
    let rings = |n: usize| (0..n).map(|_| RingBuffer::new(4)).unzip::<_, _, Vec<_>, Vec<_>>();
    let uneven = Bridge::new(config.clone(), Arc::clone(&program), rings(2).1, rings(2).0);
    assert!(matches!(uneven, Err(BridgeError::Split(_))));
    let missing = Bridge::new(config, program, rings(2).1, rings(3).0);
    assert!(matches!(
        missing,
        Err(BridgeError::Rings {
            outboxes: 2,
            inboxes: 3
        })
    ));
}
