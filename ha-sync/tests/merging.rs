//! Two primaries that are one again, over links: real engines, bridges and links, and wires that are cut and mended.

mod common;

use std::collections::BTreeSet;

use ha_sync::bridge::{Bridge, BridgeConfig, BridgeEvent, RedundancySet};
use ha_sync::chassis::Chassis;
use ha_sync::link::{Link, LinkConfig, LinkState};
use ha_sync::wire::Dictionary;
use rtrb::{Consumer, RingBuffer};
use tandem_engine::engine::NotInstalled;
use tandem_engine::program::{FilteringType, MappingType, Replication};
use tandem_engine::replica::{Merge, ObjectTypes, Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::packets::udp;
use tandem_engine_testkit::plan::INSIDE2;
use tandem_engine_testkit::world::World;
use tandem_engine_testkit::{IN1, IN2, OUT1, OUT2, POOL2};

/// After so long the lease of nothing is waited for, and all is told.
const STEPS: usize = 600;
const STEP_MS: u64 = 20;
/// When it all begins, milliseconds.
const NOW: u64 = 1_000_000;

struct Side {
    world: World,
    bridge: Bridge,
    link: Link,
    inboxes: Vec<Consumer<Op>>,
    events: Vec<BridgeEvent>,
}

impl Side {
    fn new(incarnation: u64, workers: u8, now: u64) -> Self {
        // Beyond any split here.
        Self::of(&[1], 0, incarnation, workers, now)
    }

    /// With these redundancy sets, each of the service set of its number, and this time for a stream to go on.
    fn of(sets: &[u8], resume_ms: u64, incarnation: u64, workers: u8, now: u64) -> Self {
        let mut world = World::new(workers, |plan| {
            plan.seed = incarnation;
            plan.shards_each = 2 / workers;
            plan.addresses(2);
            plan.behaviour(
                MappingType::AddressAndPortDependent,
                FilteringType::AddressAndPortDependent,
            );
            if sets.contains(&2) {
                plan.second(POOL2, 2);
            }
            for set in &mut plan.program.service_sets {
                set.replication = Replication {
                    threshold: Some(Ticks::from_seconds(60)),
                    ..Replication::default()
                };
            }
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
            sets: sets
                .iter()
                .map(|number| RedundancySet {
                    number: *number,
                    service_sets: vec![(*number).into()],
                })
                .collect(),
            tick_zero_ms: 0,
        };
        let bridge = Bridge::new(config, world.program.clone(), outboxes, producers).expect("rings that fit");
        let link = Link::new(LinkConfig {
            resume_ms,
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

    /// How many sessions there are of a service set.
    fn sessions_of(&mut self, service_set: u16) -> usize {
        let sessions = self.world.sessions().into_iter();
        sessions.filter(|s| s.service_set == service_set).count()
    }

    /// It has offered this set and been told everything since.
    fn is_lacking_nothing_of(&self, set: u8) -> bool {
        let offered = BridgeEvent::Offered { set, told: true };
        self.events.contains(&offered) && !self.bridge.is_lacking() && self.link.state().is_active()
    }

    fn is_primary(&self, set: u8) -> bool {
        self.bridge.role(set).is_some_and(|role| role.primary)
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
    /// What this side says is lost.
    is_mute: Option<usize>,
}

impl Pair {
    /// Chassis 0 is primary, chassis 1 its complete standby.
    fn new(workers: [u8; 2]) -> Self {
        Self::over([Side::new(1, workers[0], NOW), Side::new(2, workers[1], NOW)])
    }

    /// The same of two redundancy sets, and a stream goes on after a short break.
    fn of_two_sets() -> Self {
        Self::over([1, 2].map(|incarnation| Side::of(&[1, 2], 120_000, incarnation, 1, NOW)))
    }

    fn over(sides: [Side; 2]) -> Self {
        let mut pair = Self {
            sides,
            now: NOW,
            is_cut: true,
            is_mute: None,
        };
        for set in [1, 2] {
            pair.sides[0].bridge.set_role(set, Role::Primary, 1);
            pair.sides[1].bridge.set_role(set, Role::Standby, 1);
        }
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
            if self.is_mute == Some(from) {
                out.clear();
            }
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

    /// The connection is there again, and nothing has come over it yet.
    fn connect(&mut self) {
        (self.is_cut, self.is_mute) = (false, None);
        for side in &mut self.sides {
            side.link.connected(self.now);
        }
    }

    /// Steps until something is so.
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        // A bulk may rest before it begins.
        for _ in 0..10 * STEPS {
            if is_so(self) {
                return;
            }
            self.step();
        }
        panic!("it never came to it");
    }

    /// Hosts of service set 2, on chassis 0.
    fn open_second(&mut self, first: u32, hosts: u32) {
        for host in 0..hosts {
            let packet = udp((first + host, 2000), (OUT1, 53));
            self.sides[0].world.one(INSIDE2, packet).forwarded();
            if host % 16 == 0 {
                self.step();
            }
        }
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

/// What it says of merges of set 1.
fn merged(side: &Side) -> Vec<Merge> {
    merged_of(side, 1)
}

fn merged_of(side: &Side, of: u8) -> Vec<Merge> {
    let merged = |event: &BridgeEvent| match event {
        BridgeEvent::Merged { set, merge } if *set == of => Some(*merge),
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
        let mut merges = merged(&pair.sides[1]);
        pair.mend();
        let [loser, winner] = &mut pair.sides;
        assert_eq!(winner.given(), first, "broken after {broken_after} steps");
        assert_eq!(loser.given(), first);
        assert!(!loser.bridge.is_lacking() && !loser.bridge.lacks());
        // What was taken of the offer that broke off is there in the next one.
        merges.extend(merged(winner));
        let taken = |merge: &Merge| merge.sessions;
        assert_eq!(merges.iter().map(taken).sum::<u64>(), 300, "{merges:?}");
        let told = merges.iter().map(|merge| merge.sessions + merge.known);
        assert_eq!(told.max(), Some(300), "{merges:?}");
        assert_eq!(winner.count(|c| c.replica_merged_sessions), 300);
    }
}

#[test]
fn what_both_had_given_counts_once_however_often_the_offer_breaks() {
    let mut has_refused_twice = false;
    for broken_after in [2, 3, 4, 5, 8] {
        let mut pair = Pair::new([1, 1]);
        pair.split();
        pair.open(0, IN1 + 1000, 600);
        // The same flows are translated there, too, otherwise.
        for host in 0..600 {
            let packet = udp((IN1 + 1000 + host, 2000), (OUT1, 53));
            pair.sides[1].world.inside(packet).forwarded();
            if host % 16 == 0 {
                pair.step();
            }
        }
        let mut merges = Vec::new();
        for _ in 0..3 {
            pair.connect();
            pair.until(|pair| matches!(pair.sides[0].link.state(), LinkState::Connected { .. }));
            // What the winner refuses is not heard of, so all comes again.
            pair.is_mute = Some(1);
            (0..broken_after).for_each(|_| pair.step());
            pair.cut();
            merges.append(&mut merged(&pair.sides[1]));
            pair.sides[1].events.clear();
        }
        pair.is_mute = None;
        pair.mend();
        let winner = &mut pair.sides[1];
        merges.append(&mut merged(winner));
        has_refused_twice |= merges.len() > 1;
        let all = merges.iter().fold(Merge::default(), |all, one| all.and(*one));
        let refused = all.inside_ends + all.public_ends + all.refused;
        assert_eq!((refused, all.sessions), (600, 0), "{merges:?}");
        let counted = winner
            .count(|c| c.replica_merge_inside_ends + c.replica_merge_public_ends + c.replica_merge_refused);
        assert_eq!((counted, winner.count(|c| c.replica_merged_sessions)), (600, 0));
    }
    assert!(has_refused_twice, "no offer broke off");
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

#[test]
fn a_set_that_yields_later_is_told_by_a_later_bulk() {
    let mut pair = Pair::of_two_sets();
    pair.cut();
    pair.sides[1].bridge.set_role(1, Role::Primary, 2);
    pair.open(0, IN1 + 1000, 40);
    // The winner takes the offer, and its answer is lost.
    pair.connect();
    pair.until(|pair| !pair.sides[0].is_primary(1));
    pair.is_mute = Some(1);
    pair.until(|pair| !merged(&pair.sides[1]).is_empty());
    assert!(pair.sides[0].bridge.is_lacking(), "it cannot know");
    assert_eq!(merged_of(&pair.sides[1], 2), [], "it had nothing to do with that");
    pair.cut();
    pair.sides[1].bridge.set_role(2, Role::Primary, 2);
    pair.open_second(IN2 + 3000, 40);
    // The stream goes on where it broke: that the one offer was taken is known when the other one begins.
    pair.connect();
    pair.steps();
    let offered = |event: &BridgeEvent| match event {
        BridgeEvent::Offered { set, told } => Some((*set, *told)),
        _ => None,
    };
    let [loser, winner] = &mut pair.sides;
    assert!(loser.link.stats().resumes > 0, "{:?}", loser.link.stats());
    let offered: Vec<_> = loser.events.iter().filter_map(offered).collect();
    assert_eq!(offered, [(1, true), (2, true)]);
    for side in [winner, loser] {
        assert_eq!((side.sessions_of(1), side.sessions_of(2)), (40, 40));
        assert!(!side.bridge.is_lacking() && !side.bridge.lacks());
    }
}

#[test]
fn a_set_that_yields_amid_the_offer_of_another_one_loses_nothing() {
    for later in [1, 2, 3, 5, 8] {
        let mut pair = Pair::of_two_sets();
        pair.cut();
        pair.sides[1].bridge.set_role(1, Role::Primary, 2);
        pair.open(0, IN1 + 1000, 400);
        pair.open_second(IN2 + 3000, 100);
        pair.connect();
        pair.until(|pair| !pair.sides[0].is_primary(1));
        (0..later).for_each(|_| pair.step());
        pair.sides[1].bridge.set_role(2, Role::Primary, 2);
        pair.until(|pair| pair.sides[0].is_lacking_nothing_of(2));
        // Each set's event says what was of that one.
        let of = |set| {
            let merges = merged_of(&pair.sides[1], set);
            merges.iter().map(|merge| merge.sessions).sum::<u64>()
        };
        assert_eq!([of(1), of(2)], [400, 100]);
        for side in &mut pair.sides {
            assert_eq!((side.sessions_of(1), side.sessions_of(2)), (400, 100));
            assert!(!side.bridge.lacks());
        }
    }
}

#[test]
fn what_a_worker_offers_amid_a_bulk_is_not_of_it() {
    let mut side = Side::of(&[1, 2], 0, 1, 1, NOW);
    for host in 0..20 {
        let packet = udp((IN2 + host, 2000), (OUT1, 53));
        side.world.one(INSIDE2, packet).forwarded();
    }
    let (now, world) = (side.world.now, &mut side.world);
    let (producer, mut outbox) = RingBuffer::new(8);
    let engine = &mut world.engines[0];
    engine.connect(producer);
    let yields = |engine: &mut tandem_engine::engine::Engine, service_set| {
        let role = Op::Role {
            service_set,
            role: Role::Standby,
            epoch: 1,
        };
        let offers = true;
        for op in [role, Op::Offer { service_set, offers }] {
            engine.install(&op, now).expect("a command");
        }
    };
    engine.install(&Op::Listen(true), now).expect("a command");
    yields(engine, 1);
    engine
        .install(&Op::Bulk(5, ObjectTypes::ALL), now)
        .expect("a command");
    yields(engine, 2);
    let mut told_by = |engine: &mut tandem_engine::engine::Engine, number| {
        let mut told = Vec::new();
        for _ in 0..STEPS {
            engine.maintain(now, 64);
            while let Ok(op) = outbox.pop() {
                if op == Op::BulkEnd(number) {
                    return told;
                }
                told.push(op);
            }
        }
        panic!("no end of bulk {number}: {told:?}");
    };
    let session = |op: &Op| match op {
        Op::Session(record) => Some(Op::Close {
            key: record.key,
            service_set: record.service_set,
            protocol: record.protocol,
        }),
        _ => None,
    };
    assert_eq!(told_by(engine, 5).iter().find_map(session), None);
    engine
        .install(&Op::Bulk(6, ObjectTypes::ALL), now)
        .expect("a command");
    let told: Vec<Op> = told_by(engine, 6).iter().filter_map(session).collect();
    assert_eq!(told.len(), 20);
    // Who has not taken it may end nothing: it may have yielded, too. A third bulk tells all again.
    assert_eq!(engine.install(&told[0], now), Err(NotInstalled::Unoffered));
    engine
        .install(&Op::Bulk(7, ObjectTypes::ALL), now)
        .expect("a command");
    assert_eq!(told_by(engine, 7).iter().filter_map(session).count(), 20);
    let (service_set, offers) = (2, false);
    engine
        .install(&Op::Offer { service_set, offers }, now)
        .expect("a command");
    assert_eq!(engine.install(&told[0], now), Ok(()));
}

#[test]
fn one_that_is_made_standby_while_it_is_alone_offers_what_it_has() {
    let mut pair = Pair::new([1, 1]);
    pair.split();
    pair.open(0, IN1 + 1000, 50);
    let first = pair.sides[0].given();
    // By hand, or by what its monitors see; it knows nothing of the other one.
    pair.sides[0].bridge.set_role(1, Role::Standby, 1);
    assert!(pair.sides[0].bridge.is_lacking());
    pair.mend();
    let [loser, winner] = &mut pair.sides;
    assert_eq!(merged(winner).iter().map(|merge| merge.sessions).sum::<u64>(), 50);
    assert_eq!((winner.given(), loser.given()), (first.clone(), first));
    assert!(!loser.bridge.is_lacking() && !loser.bridge.lacks());
    // The same where the stream goes on, and the other one takes over after it.
    let mut pair = Pair::of_two_sets();
    pair.cut();
    pair.open_second(IN2 + 3000, 50);
    pair.sides[0].bridge.set_role(2, Role::Standby, 1);
    pair.sides[1].bridge.set_role(2, Role::Primary, 2);
    pair.connect();
    pair.steps();
    for side in &mut pair.sides {
        assert_eq!(side.sessions_of(2), 50);
        assert!(!side.bridge.is_lacking() && !side.bridge.lacks());
    }
    assert!(pair.sides[0].link.stats().resumes > 0);
}

#[test]
fn one_that_yields_before_it_is_connected_offers_it_once() {
    let mut pair = Pair::of_two_sets();
    pair.split();
    pair.open(0, IN1 + 1000, 50);
    // Its heartbeats say so first: nothing can be told yet, and the stream goes on with what is told meanwhile.
    pair.sides[0].bridge.yields(1, 2);
    pair.steps();
    assert!(pair.sides[0].bridge.is_lacking());
    pair.connect();
    pair.until(|pair| pair.sides[0].is_lacking_nothing_of(1));
    assert!(pair.sides[0].link.stats().resumes > 0);
    let told = merged(&pair.sides[1]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].sessions, 50);
    for side in &mut pair.sides {
        assert_eq!(side.sessions_of(1), 50);
    }
}

#[test]
fn of_two_standbys_neither_takes_what_the_other_offers_until_it_is_primary() {
    let mut pair = Pair::new([1, 1]);
    pair.split();
    pair.open(0, IN1, 100);
    pair.open(1, IN2, 100);
    for side in &mut pair.sides {
        side.bridge.set_role(1, Role::Standby, 3);
    }
    pair.mend();
    for side in &mut pair.sides {
        assert_eq!(side.sessions_of(1), 100);
        assert_eq!(merged(side), []);
        assert!(side.bridge.is_lacking(), "what it offers is not told yet");
    }
    pair.sides[1].bridge.set_role(1, Role::Primary, 4);
    pair.until(|pair| pair.sides[0].is_lacking_nothing_of(1));
    let [loser, winner] = &mut pair.sides;
    let [merge] = merged(winner)[..] else {
        panic!("{:?}", winner.events)
    };
    assert_eq!(
        merge.sessions + merge.public_ends + merge.refused,
        100,
        "{merge:?}"
    );
    assert!(merge.sessions > 0, "{merge:?}");
    assert_eq!(winner.given().len() as u64, 100 + merge.sessions);
    // Not yet by age, but by the merge.
    assert!(loser.given().is_subset(&winner.given()));
}

#[test]
fn a_bulk_that_was_on_its_way_when_the_offer_was_taken_is_no_answer() {
    let mut pair = Pair::new([1, 1]);
    pair.split();
    pair.open(0, IN1 + 1000, 40);
    pair.connect();
    pair.until(|pair| !pair.sides[0].is_primary(1));
    // The winner tells everything, and has no room to write it.
    let now = pair.now;
    assert!(pair.sides[1].link.resync_to_peer(ObjectTypes::ALL));
    for _ in 0..STEPS {
        let side = &mut pair.sides[1];
        side.work(now);
        side.link.absorb(now, &mut side.bridge);
    }
    let say = |pair: &mut Pair, from: usize| {
        let [a, b] = &mut pair.sides;
        let (side, to) = if from == 0 { (a, b) } else { (b, a) };
        let mut out = Vec::new();
        side.work(now);
        side.link.poll(now, &mut side.bridge, &mut out);
        let used = to.link.received(now, &out, &mut to.bridge);
        assert_eq!(used.expect("a good stream"), out.len());
        to.work(now);
    };
    (0..STEPS).for_each(|_| say(&mut pair, 0));
    assert!(pair.sides[0].bridge.is_lacking(), "nobody has told it that");
    // What it says goes before what it has to tell.
    say(&mut pair, 1);
    let offered = BridgeEvent::Offered { set: 1, told: true };
    assert!(pair.sides[0].events.contains(&offered));
    assert!(pair.sides[0].bridge.is_lacking(), "that began before");
    assert_eq!(pair.sides[0].sessions_of(1), 40);
    pair.until(|pair| pair.sides[0].is_lacking_nothing_of(1));
    for side in &mut pair.sides {
        assert_eq!(side.sessions_of(1), 40);
    }
}

#[test]
fn what_was_told_to_one_that_was_standby_in_between_is_offered_again() {
    for steps in (0..60).step_by(3) {
        let mut pair = Pair::new([1, 1]);
        pair.split();
        pair.open(0, IN1 + 1000, 1000);
        pair.connect();
        pair.until(|pair| !pair.sides[0].is_primary(1));
        (0..steps).for_each(|_| pair.step());
        // By hand, and nobody else takes the set. What comes meanwhile is not merged.
        let winner = &mut pair.sides[1].bridge;
        winner.set_role(1, Role::Standby, 3);
        winner.set_role(1, Role::Primary, 4);
        pair.until(|pair| pair.sides[0].is_lacking_nothing_of(1));
        for side in &mut pair.sides {
            assert_eq!(side.sessions_of(1), 1000, "after {steps} steps");
        }
    }
}

/// The primary to which something is offered becomes standby while that is on its way: when some of it, or all that it has heard is that
/// the other one is standby.
#[test]
fn what_is_on_its_way_to_one_that_is_standby_by_then_is_passed_over() {
    let mut untouched = 0;
    for heard in (0..1000).step_by(50).chain((1000..16_000).step_by(1000)) {
        let mut pair = Pair::new([1, 1]);
        pair.split();
        pair.open(0, IN1 + 1000, 400);
        pair.connect();
        pair.until(|pair| !pair.sides[0].is_primary(1));
        let [loser, winner] = &mut pair.sides;
        let mut out = Vec::new();
        for _ in 0..20 {
            pair.now += STEP_MS;
            loser.work(pair.now);
            loser.link.poll(pair.now, &mut loser.bridge, &mut out);
        }
        let hear = |winner: &mut Side, octets: &[u8]| {
            let used = winner.link.received(pair.now, octets, &mut winner.bridge);
            winner.work(pair.now);
            used.expect("a good stream")
        };
        let used = hear(winner, &out[..heard]);
        winner.bridge.set_role(1, Role::Standby, 3);
        winner.work(pair.now);
        let taken = winner.given();
        untouched += u32::from(taken.is_empty() && !winner.bridge.is_lacking());
        assert_eq!(hear(winner, &out[used..]), out.len() - used);
        assert_eq!(winner.given(), taken, "after {heard} octets");
        pair.steps();
        assert_eq!(pair.sides[1].given(), taken, "after {heard} octets");
        // The other one is primary next, and tells what comes of age as its own.
        pair.sides[0].bridge.set_role(1, Role::Primary, 4);
        (0..6).for_each(|_| pair.steps());
        assert!(pair.sides[1].sessions_of(1) >= 400, "after {heard} octets");
    }
    assert!(untouched > 0, "it always had something to offer itself");
}

#[test]
fn one_split_after_the_other_keeps_nobody_waiting_longer_and_longer() {
    let mut pair = Pair::new([1, 1]);
    for round in 0..8 {
        let winner = (round + 1) % 2;
        pair.cut();
        pair.sides[winner]
            .bridge
            .set_role(1, Role::Primary, 2 + round as u64);
        pair.steps();
        for side in &mut pair.sides {
            side.events.clear();
        }
        pair.connect();
        let since = pair.now;
        pair.until(|pair| pair.sides[1 - winner].is_lacking_nothing_of(1));
        assert!(pair.now - since < 5000, "round {round}: {} ms", pair.now - since);
    }
}
