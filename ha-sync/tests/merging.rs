//! Two primaries that are one again, over links: real engines, bridges and links, and wires that are cut and mended.

mod common;

use std::collections::BTreeSet;

use ha_sync::bridge::{Bridge, BridgeConfig, BridgeEvent, RedundancySet};
use ha_sync::chassis::Chassis;
use ha_sync::link::{Link, LinkConfig, LinkState};
use ha_sync::wire::Dictionary;
use rtrb::{Consumer, RingBuffer};
use tandem_engine::program::{FilteringType, MappingType, Replication};
use tandem_engine::replica::{Merge, Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::packets::udp;
use tandem_engine_testkit::world::World;
use tandem_engine_testkit::{IN1, IN2, OUT1, OUT2};

/// After so long the lease of nothing is waited for, and all is told.
const STEPS: usize = 600;
const STEP_MS: u64 = 20;

struct Side {
    world: World,
    bridge: Bridge,
    link: Link,
    inboxes: Vec<Consumer<Op>>,
    events: Vec<BridgeEvent>,
}

impl Side {
    fn new(incarnation: u64, workers: u8, now: u64) -> Self {
        let mut world = World::new(workers, |plan| {
            plan.seed = incarnation;
            plan.shards_each = 2 / workers;
            plan.addresses(2);
            plan.behaviour(
                MappingType::AddressAndPortDependent,
                FilteringType::AddressAndPortDependent,
            );
            plan.set().replication = Replication {
                threshold: Some(Ticks::from_seconds(60)),
                ..Replication::default()
            };
        });
        world.now = Ticks((now / 100) as u32);
        let (mut outboxes, mut inboxes, mut producers) = (Vec::new(), Vec::new(), Vec::new());
        for engine in &mut world.engines {
            let (producer, consumer) = RingBuffer::new(256);
            engine.connect(producer);
            outboxes.push(consumer);
            let (producer, consumer) = RingBuffer::new(256);
            producers.push(producer);
            inboxes.push(consumer);
        }
        let config = BridgeConfig {
            shards: 2,
            sets: vec![RedundancySet {
                number: 1,
                service_sets: vec![1],
            }],
            tick_zero_ms: 0,
        };
        let bridge = Bridge::new(config, world.program.clone(), outboxes, producers).expect("rings that fit");
        let link = Link::new(LinkConfig {
            // Beyond any split here.
            resume_ms: 0,
            ..LinkConfig::new(incarnation, 2, [7; 32], Dictionary::of(&world.program))
        });
        Self {
            world,
            bridge,
            link,
            inboxes,
            events: Vec::new(),
        }
    }

    fn work(&mut self, now: u64) {
        self.world.now = Ticks((now / 100) as u32);
        for (engine, inbox) in self.world.engines.iter_mut().zip(&mut self.inboxes) {
            while let Ok(op) = inbox.pop() {
                // What is refused is counted.
                let _counted = engine.install(&op, self.world.now);
            }
            engine.maintain(self.world.now, 64);
        }
        self.bridge.service(now);
        while let Some(event) = self.bridge.next_event() {
            self.events.push(event);
        }
        self.link.announce_roles(&self.bridge.roles());
    }

    fn count(&self, of: impl Fn(&tandem_engine::engine::Counters) -> u64) -> u64 {
        self.world.engines.iter().map(|e| of(e.counters())).sum()
    }

    /// Public ends with the host that has them.
    fn given(&mut self) -> BTreeSet<(String, u16)> {
        let sessions = self.world.sessions().into_iter();
        sessions
            .map(|s| (format!("{}", s.public), s.public_port))
            .collect()
    }
}

struct Pair {
    sides: [Side; 2],
    now: u64,
    is_cut: bool,
}

impl Pair {
    /// Chassis 0 is primary, chassis 1 its complete standby.
    fn new(workers: [u8; 2]) -> Self {
        let now = 1_000_000;
        let sides = [Side::new(1, workers[0], now), Side::new(2, workers[1], now)];
        let mut pair = Self {
            sides,
            now,
            is_cut: true,
        };
        pair.sides[0].bridge.set_role(1, Role::Primary, 1);
        pair.sides[1].bridge.set_role(1, Role::Standby, 1);
        pair.mend();
        pair
    }

    fn step(&mut self) {
        self.now += STEP_MS;
        for from in 0..2 {
            let now = self.now;
            self.sides[from].work(now);
            let mut out = Vec::new();
            let side = &mut self.sides[from];
            side.link.poll(now, &mut side.bridge, &mut out);
            while !self.is_cut && !out.is_empty() {
                let to = &mut self.sides[1 - from];
                let used = to
                    .link
                    .received(now, &out, &mut to.bridge)
                    .expect("a good stream");
                out.drain(..used);
                to.work(now);
            }
        }
    }

    fn steps(&mut self) {
        (0..STEPS).for_each(|_| self.step());
    }

    fn cut(&mut self) {
        self.is_cut = true;
        for side in &mut self.sides {
            side.link.disconnected(self.now);
        }
        (0..5).for_each(|_| self.step());
    }

    fn mend(&mut self) {
        self.is_cut = false;
        for side in &mut self.sides {
            side.events.clear();
            side.link.connected(self.now);
        }
        self.steps();
        for side in &self.sides {
            assert!(side.link.state().is_active(), "{:?}", side.link.state());
        }
    }

    /// Both are primary, chassis 1 by the higher epoch.
    fn split(&mut self) {
        self.cut();
        self.sides[1].bridge.set_role(1, Role::Primary, 2);
        self.steps();
    }

    fn open(&mut self, at: usize, first: u32, hosts: u32) {
        for host in 0..hosts {
            let packet = udp((first + host, 2000), (if at == 0 { OUT1 } else { OUT2 }, 53));
            self.sides[at].world.inside(packet).forwarded();
            if host % 16 == 0 {
                self.step();
            }
        }
    }
}

fn merged(side: &Side) -> Vec<Merge> {
    let merged = |event: &BridgeEvent| match event {
        BridgeEvent::Merged { sets, merge } => {
            assert!(sets.has(1));
            Some(*merge)
        }
        _ => None,
    };
    side.events.iter().filter_map(merged).collect()
}

#[test]
fn the_loser_offers_all_it_has_and_the_winner_takes_what_it_lacks() {
    for workers in [[1, 1], [1, 2], [2, 2]] {
        let mut pair = Pair::new(workers);
        pair.open(0, IN1, 1);
        pair.split();
        pair.open(0, IN1 + 1000, 200);
        pair.open(1, IN2 + 3000, 200);
        let [first, second] = pair.sides.each_mut().map(Side::given);
        let both = first.intersection(&second).count() as u64;
        pair.mend();
        let [loser, winner] = &mut pair.sides;
        let [merge] = merged(winner)[..] else {
            panic!("{:?}", winner.events)
        };
        // Too young for the threshold, so the winner was never told of the first one either.
        assert_eq!(
            merge.sessions + merge.public_ends + merge.refused,
            201,
            "{workers:?}: {merge:?}"
        );
        assert!(merge.sessions > 0 && merge.known == 0 && merge.inside_ends == 0);
        assert_eq!(merge.refused > 0, merge.extents_of_others > 0, "{merge:?}");
        if merge.extents_of_others == 0 {
            assert_eq!(merge.public_ends, both, "{merge:?}");
        }
        assert_eq!(winner.count(|c| c.replica_merged_sessions), merge.sessions);
        assert_eq!(winner.count(|c| c.replica_refused_role), 0);
        assert_eq!(winner.given().len() as u64, 200 + merge.sessions);
        assert!(winner.given().is_superset(&second));
        let offered = |e: &BridgeEvent| matches!(e, BridgeEvent::Offered { set: 1, told: true });
        assert_eq!(loser.events.iter().filter(|e| offered(e)).count(), 1);
        assert!(
            !loser.bridge.is_lacking() && !loser.bridge.lacks(),
            "ready to take over"
        );
        // What the winner has taken is known to both, and what it refused ended.
        assert!(loser.given().is_subset(&winner.given()));
        assert_eq!(loser.given().len() as u64, merge.sessions);
        for side in &pair.sides {
            assert_eq!(side.count(|c| c.port_release_mismatch), 0);
        }
        // The next connect has nothing to merge.
        pair.cut();
        pair.mend();
        assert_eq!(merged(&pair.sides[1]), []);
    }
}

#[test]
fn a_connection_that_breaks_amid_the_offer_loses_nothing_of_it() {
    for broken_after in [1, 2, 3, 5, 8, 13] {
        let mut pair = Pair::new([1, 1]);
        pair.split();
        pair.open(0, IN1 + 1000, 300);
        let first = pair.sides[0].given();
        pair.is_cut = false;
        for side in &mut pair.sides {
            side.link.connected(pair.now);
        }
        (0..broken_after).for_each(|_| pair.step());
        pair.cut();
        pair.mend();
        let [loser, winner] = &mut pair.sides;
        assert_eq!(winner.given(), first, "broken after {broken_after} steps");
        assert_eq!(loser.given(), first);
        assert!(!loser.bridge.is_lacking() && !loser.bridge.lacks());
    }
}

#[test]
fn a_planned_change_and_a_return_with_nothing_merge_nothing() {
    let mut pair = Pair::new([1, 2]);
    pair.open(0, IN1, 50);
    let before = pair.sides[0].given();
    pair.sides[0].bridge.set_role(1, Role::Standby, 2);
    pair.steps();
    pair.sides[1].bridge.set_role(1, Role::Primary, 3);
    pair.steps();
    assert_eq!(merged(&pair.sides[1]), []);
    assert_eq!(pair.sides[0].bridge.stats().offers, 0);
    // The old primary's are too young to be known; it has them until its peer has told it everything.
    assert!(!before.is_empty());
    pair.cut();
    let now = pair.now;
    let mut back = Side::new(9, 1, now);
    back.bridge.set_role(1, Role::Standby, 0);
    pair.sides[0] = back;
    pair.mend();
    assert_eq!(merged(&pair.sides[1]), []);
    assert_eq!(pair.sides[0].bridge.stats().offers, 0);
    assert_eq!(pair.sides[1].count(|c| c.replica_refused_role), 0);
}

#[test]
fn a_peer_that_knows_nothing_of_it_is_offered_nothing() {
    let mut pair = Pair::new([1, 1]);
    pair.split();
    pair.open(0, IN1 + 1000, 20);
    pair.sides[0].bridge.peer_merges(false);
    pair.sides[0].bridge.yields(1, 2);
    for _ in 0..20 {
        pair.step();
    }
    let side = &pair.sides[0];
    let refused = |e: &BridgeEvent| matches!(e, BridgeEvent::Offered { set: 1, told: false });
    assert_eq!(side.events.iter().filter(|e| refused(e)).count(), 1);
    assert_eq!(
        (side.bridge.stats().offers, side.bridge.stats().offers_in_vain),
        (0, 1)
    );
    assert!(side.bridge.is_lacking(), "everything is asked for");
    // One that yields before it is connected hears of it then.
    let mut pair = Pair::new([1, 1]);
    pair.split();
    pair.sides[0].bridge.yields(1, 2);
    assert_eq!(pair.sides[0].bridge.stats().offers, 1);
    pair.sides[0].bridge.peer_merges(false);
    assert_eq!(pair.sides[0].bridge.stats().offers_in_vain, 1);
}

#[test]
fn an_offer_ends_when_the_winner_is_gone_and_the_role_comes_back() {
    let mut pair = Pair::new([1, 1]);
    pair.split();
    pair.open(0, IN1 + 1000, 20);
    let first = pair.sides[0].given();
    pair.sides[0].bridge.yields(1, 2);
    (0..5).for_each(|_| pair.step());
    assert!(pair.sides[0].bridge.is_lacking());
    assert_eq!(*pair.sides[0].link.state(), LinkState::Disconnected);
    pair.sides[0].bridge.set_role(1, Role::Primary, 3);
    (0..5).for_each(|_| pair.step());
    assert_eq!(pair.sides[0].given(), first);
    // And the other one yields to it.
    pair.open(1, IN2 + 3000, 20);
    pair.mend();
    let [merge] = merged(&pair.sides[0])[..] else {
        panic!("{:?}", pair.sides[0].events)
    };
    assert_eq!(
        merge.sessions + merge.public_ends + merge.refused,
        20,
        "{merge:?}"
    );
}
