//! What finds no room is told later, in an order that leaves both chassis with the same; a bulk tells all there is.

use std::net::{IpAddr, Ipv4Addr};

use tandem_engine::engine::BACKLOG;
use tandem_engine::program::policy::{Application, Policy, PolicyAction, PolicyMatch};
use tandem_engine::program::{Firewall, PolicyList, PortRange, TermMatch};
use tandem_engine::replica::{ObjectTypes, Op};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter};

use super::{Pair, known_sessions, replicate_at};
use crate::common::packets::udp;
use crate::common::plan::{INSIDE, INSIDE2, Plan, napt_term};
use crate::common::world::World;
use crate::common::{IN1, IN2, OUT1, POOL2};

/// Sessions of one subscriber from these inside ports.
fn begin(world: &mut World, inside: u32, ports: std::ops::Range<u16>) {
    let packets: Vec<_> = ports.map(|p| udp((inside, p), (OUT1, 53))).collect();
    for part in packets.chunks(64) {
        world.burst(INSIDE, part.to_vec());
    }
}

/// Ends all sessions of a subscriber.
fn clear(world: &mut World, inside: u32) -> u64 {
    let filter = Filter {
        inside: Some(IpAddr::V4(Ipv4Addr::from(inside))),
        ..Filter::default()
    };
    world
        .ask(Ask::ClearSessions, filter)
        .iter()
        .map(|q| q.matched)
        .sum()
}

#[test]
fn what_finds_no_room_is_told_later() {
    for room in [1, 4, 100] {
        let mut pair = Pair::new(2, room, |plan| plan.blocks(64, 8));
        begin(&mut pair.worlds[0], IN1, 2000..2300);
        begin(&mut pair.worlds[0], IN2, 2000..2100);
        let held = |pair: &Pair| -> u32 {
            let all = pair.worlds[0].engines.iter();
            all.filter_map(|e| e.held_back().get())
                .map(|(count, _)| count)
                .sum()
        };
        pair.worlds[0].pass(Ticks(0));
        assert!(held(&pair) > 100, "{}", held(&pair));
        let counters = pair.worlds[0].engines.iter().map(|e| e.counters().replica_dirty);
        assert!(counters.sum::<u64>() > 200);
        // Endings of what was never told, and of what was, and others in their place.
        assert_eq!(clear(&mut pair.worlds[0], IN2), 100);
        begin(&mut pair.worlds[0], IN2, 2050..2150);
        pair.carry();
        pair.assert_no_trouble();
        pair.assert_same();
        assert_eq!(known_sessions(&mut pair.worlds[1]).len(), 400);
        assert_eq!(held(&pair), 0);
        assert_eq!(clear(&mut pair.worlds[0], IN1), 300);
        begin(&mut pair.worlds[0], IN1, 2000..2300);
        pair.carry();
        pair.assert_no_trouble();
        pair.assert_same();
    }
}

#[test]
fn endings_without_room_to_wait_are_made_up_for_by_a_bulk() {
    let mut pair = Pair::new(1, 16, |plan| {
        plan.sizes.max_sessions = 16_384;
        plan.sizes.max_mappings = 16_384;
    });
    let mut ended = 0;
    while ended < BACKLOG as u64 {
        begin(&mut pair.worlds[0], IN1, 2000..12_000);
        ended += clear(&mut pair.worlds[0], IN1);
    }
    assert!(pair.worlds[0].engines[0].counters().replica_lost > 0);
    // No mark says that what was lost is known: the peer is told that it does not know all first.
    pair.worlds[0].pass(Ticks(5));
    let mut told = Vec::new();
    while told.last() != Some(&Op::Lost) {
        let [first, second] = &mut pair.worlds;
        first.engines[0].maintain(first.now, 0);
        told.clear();
        while told.last() != Some(&Op::Lost)
            && let Ok(op) = pair.links[0][0].pop()
        {
            told.push(op);
        }
        assert!(!told.iter().any(|op| matches!(op, Op::Mark(_))));
        second.engines[0].install_all(&told, second.now);
    }
    pair.words[0].push(Op::Lost);
    begin(&mut pair.worlds[0], IN2, 2000..2100);
    pair.carry();
    assert_eq!(
        pair.words[0].iter().filter(|op| **op == Op::Lost).count(),
        1,
        "it asks for a bulk once"
    );
    pair.bulk(0, 1);
    pair.assert_same();
    assert_eq!(known_sessions(&mut pair.worlds[1]).len(), 100);
}

#[test]
fn a_bulk_tells_all_there_is_while_that_changes() {
    for (workers, room) in [(1, 8), (2, 64), (4, 1024)] {
        let mut pair = Pair::new(workers, room, |plan| plan.blocks(128, 8));
        // Nobody listens: nothing is kept for later.
        pair.command_both(Op::Listen(false));
        for host in 0..8 {
            begin(&mut pair.worlds[0], IN1 + host, 2000..2300);
        }
        assert!(pair.worlds[0].engines.iter().all(|e| e.has_told_all()));
        pair.carry();
        assert!(pair.worlds[1].sessions().is_empty());
        pair.command_both(Op::Listen(true));
        pair.command(1, Op::BulkBegin(1, ObjectTypes::ALL));
        pair.command(0, Op::Bulk(1, ObjectTypes::ALL));
        for round in 0..8 {
            for engine in &mut pair.worlds[0].engines {
                engine.maintain(pair.worlds[1].now, 8);
            }
            pair.carry_some(room / 2 + 1);
            begin(&mut pair.worlds[0], IN1 + 20 + round, 2000..2040);
            if round % 2 == 1 {
                clear(&mut pair.worlds[0], IN1 + round);
                clear(&mut pair.worlds[0], IN1 + 20 + round);
            }
        }
        pair.carry();
        pair.assert_no_trouble();
        pair.assert_same();
        assert_eq!(known_sessions(&mut pair.worlds[1]).len(), 4 * 300 + 4 * 40);
    }
}

#[test]
fn what_a_bulk_does_not_confirm_is_swept() {
    let mut pair = Pair::new(2, 4096, |plan| plan.blocks(64, 8));
    for host in 0..6 {
        begin(&mut pair.worlds[0], IN1 + host, 2000..2100);
    }
    pair.carry();
    pair.assert_same();
    // A break in which much ends and begins.
    pair.command(0, Op::Listen(false));
    for host in [1, 3] {
        assert_eq!(clear(&mut pair.worlds[0], IN1 + host), 100);
    }
    begin(&mut pair.worlds[0], IN1, 3000..3050);
    begin(&mut pair.worlds[0], IN1 + 9, 3000..3050);
    pair.command(0, Op::Listen(true));
    for number in 1..4 {
        pair.bulk(0, number);
        pair.assert_no_trouble();
        pair.assert_same();
    }
    let swept: u64 = pair.worlds[1]
        .engines
        .iter()
        .map(|e| e.counters().replica_swept)
        .sum();
    assert!(swept >= 200, "{swept}");
    let primary: u64 = pair.worlds[0]
        .engines
        .iter()
        .map(|e| e.counters().replica_swept)
        .sum();
    assert_eq!(primary, 0);
}

/// What each of them has: sessions, mappings and blocks.
fn tables(pair: &mut Pair) -> [[usize; 3]; 2] {
    pair.worlds
        .each_mut()
        .map(|w| [w.sessions().len(), w.mappings().len(), super::blocks(w).len()])
}

#[test]
fn a_bulk_of_some_types_tells_and_sweeps_these_alone() {
    let mut pair = Pair::new(2, 4096, |plan| plan.blocks(64, 8));
    for host in 0..4 {
        begin(&mut pair.worlds[0], IN1 + host, 2000..2100);
    }
    pair.carry();
    pair.assert_same();
    // A break in which much ends and begins.
    pair.command(0, Op::Listen(false));
    assert_eq!(clear(&mut pair.worlds[0], IN1 + 1), 100);
    begin(&mut pair.worlds[0], IN1 + 9, 3000..3050);
    pair.pass(Ticks::from_seconds(1));
    pair.command(0, Op::Listen(true));
    assert_eq!(tables(&mut pair), [[350, 350, 7], [400, 400, 8]]);
    let emitted = |pair: &Pair| -> u64 {
        let engines = pair.worlds[0].engines.iter();
        engines.map(|e| e.counters().replica_emitted).sum()
    };
    let told = |pair: &mut Pair, types, number| {
        let before = emitted(pair);
        pair.bulk_of(types, 0, number);
        pair.assert_no_trouble();
        // Each of the two workers says the end.
        (emitted(pair) - before - 2, tables(pair)[1])
    };
    // What sessions stand on comes with them, where it is not known; what they stood on stays.
    assert_eq!(told(&mut pair, ObjectTypes::SESSIONS, 1), (350, [350, 450, 8]));
    assert_eq!(told(&mut pair, ObjectTypes::SESSIONS, 2).0, 350);
    assert_eq!(told(&mut pair, ObjectTypes::MAPPINGS, 3), (350, [350, 350, 8]));
    let (blocks, after) = told(&mut pair, ObjectTypes::BLOCKS, 4);
    let extents = super::extents(&mut pair.worlds[0]).len() as u64;
    assert_eq!((blocks, after), (7 + extents, [350, 350, 7]));
    pair.assert_same();
    let both = ObjectTypes::SESSIONS.union(ObjectTypes::BLOCKS);
    assert_eq!(told(&mut pair, both, 5).0, 350 + blocks);
    pair.assert_same();
}

#[test]
fn a_bulk_sweeps_nothing_of_service_sets_it_does_not_cover() {
    let mut pair = Pair::new(2, 4096, |plan| plan.blocks(64, 8));
    for host in 0..6 {
        begin(&mut pair.worlds[0], IN1 + host, 2000..2100);
    }
    pair.carry();
    let swept = |pair: &Pair| -> u64 {
        let engines = pair.worlds[1].engines.iter();
        engines.map(|e| e.counters().replica_swept).sum()
    };
    // The primary lost its memory, and is primary of nothing now: its bulk is empty.
    pair.command(1, Op::BulkBegin(1, ObjectTypes::ALL));
    pair.command(1, Op::BulkEnd(1));
    pair.carry();
    pair.assert_same();
    assert_eq!((swept(&pair), pair.worlds[1].sessions().len()), (0, 600));
    // What an earlier bulk covered is forgotten.
    pair.bulk(0, 2);
    pair.command(1, Op::BulkBegin(3, ObjectTypes::ALL));
    pair.command(1, Op::BulkEnd(3));
    pair.carry();
    pair.assert_same();
    assert_eq!(swept(&pair), 0);
    pair.command(1, Op::BulkBegin(4, ObjectTypes::ALL));
    pair.command(1, Op::Covers(1));
    pair.command(1, Op::BulkEnd(4));
    pair.carry();
    assert!(swept(&pair) >= 600 && pair.worlds[1].sessions().is_empty());
}

#[test]
fn sessions_are_told_at_their_age_and_short_ones_never() {
    let mut pair = Pair::new(1, 4096, |_| {});
    let threshold = Ticks::from_seconds(30);
    for world in &mut pair.worlds {
        world.reload(|plan| replicate_at(plan, threshold));
    }
    begin(&mut pair.worlds[0], IN1, 2000..2010);
    pair.pass(Ticks::from_seconds(20));
    begin(&mut pair.worlds[0], IN2, 2000..2010);
    assert!(pair.worlds[1].sessions().is_empty());
    pair.pass(Ticks::from_seconds(12));
    assert_eq!(pair.worlds[1].sessions().len(), 10);
    assert_eq!(pair.worlds[1].sessions()[0].age_s, 32);
    // The first ten are told to have ended, the others were never told of.
    let emitted = |pair: &Pair| pair.worlds[0].engines[0].counters().replica_emitted;
    let before = emitted(&pair);
    assert_eq!(clear(&mut pair.worlds[0], IN2), 10);
    pair.carry();
    assert_eq!(emitted(&pair), before);
    assert_eq!(clear(&mut pair.worlds[0], IN1), 10);
    pair.carry();
    assert_eq!(emitted(&pair), before + 20, "sessions and mappings");
    pair.assert_no_trouble();
    pair.assert_same();
    // A bulk tells what is old enough, and what is not, at its time.
    pair.command(0, Op::Listen(false));
    begin(&mut pair.worlds[0], IN1, 2000..2010);
    pair.pass(Ticks::from_seconds(31));
    begin(&mut pair.worlds[0], IN2, 2000..2010);
    pair.command(0, Op::Listen(true));
    pair.bulk(0, 1);
    assert_eq!(pair.worlds[1].sessions().len(), 10);
    pair.pass(Ticks::from_seconds(32));
    assert_eq!(pair.worlds[1].sessions().len(), 20);
    pair.assert_same();
}

/// Two terms by destination port, two policies by destination port, and two service sets.
fn three_ways_out(plan: &mut Plan) {
    plan.second(POOL2, 4);
    let port = |port| PortRange {
        first: port,
        last: port,
    };
    let of = |at| TermMatch {
        destination_ports: vec![port(at)],
        ..TermMatch::default()
    };
    use tandem_engine::program::FilteringType::EndpointIndependent as Eif;
    use tandem_engine::program::MappingType::AddressAndPortDependent as Apdm;
    plan.set().terms = vec![
        napt_term(4, 1, Apdm, Eif, of(1004)),
        napt_term(5, 1, Apdm, Eif, TermMatch::default()),
    ];
    let policy = |id, at| Policy {
        id,
        name: format!("p{id}"),
        matches: vec![PolicyMatch {
            applications: vec![Application {
                protocol: Some(17),
                source_ports: (0, u16::MAX),
                destination_ports: (at, at),
            }],
            ..PolicyMatch::default()
        }],
        action: PolicyAction::Permit,
        log: false,
    };
    let list = PolicyList::plain(vec![policy(8, 1008), policy(9, 1009)], PolicyAction::Permit);
    plan.set().firewall = Some(Firewall {
        outbound: list.clone(),
        inbound: list,
    });
}

#[test]
fn terms_policies_and_service_sets_can_be_left_out() {
    let mut pair = Pair::new(1, 4096, three_ways_out);
    for world in &mut pair.worlds {
        world.reload(|plan| {
            let [first, second] = &mut plan.program.service_sets[..] else {
                panic!("two service sets");
            };
            first.replication.excluded_terms = vec![4];
            first.replication.excluded_policies = vec![8];
            second.replication.threshold = None;
        });
    }
    let world = &mut pair.worlds[0];
    for (interface, host, port) in [
        (INSIDE, IN1, 1004),
        (INSIDE, IN1, 1005),
        (INSIDE, IN1, 1008),
        (INSIDE, IN1, 1009),
        (INSIDE2, IN2, 1005),
    ] {
        world.one(interface, udp((host, 2000), (OUT1, port))).forwarded();
    }
    assert_eq!(world.sessions().len(), 5);
    pair.carry();
    pair.assert_no_trouble();
    let there = |pair: &mut Pair| {
        let sessions = pair.worlds[1].sessions().into_iter();
        let mut ports: Vec<u16> = sessions.map(|s| s.outside_port).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(there(&mut pair), [1005, 1009]);
    pair.bulk(0, 1);
    assert_eq!(there(&mut pair), [1005, 1009]);
    pair.assert_no_trouble();
}
