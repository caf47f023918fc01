//! What is too much to be told, or cannot be had on the standby: both chassis come to the same all the same, by themselves or
//! by a bulk that is asked for.

use tandem_engine::program::{FilteringType, MappingType};
use tandem_engine::replica::{Op, Role, SessionKey, SessionRecord};
use tandem_engine::session::FLAG_EXTENDED;
use tandem_engine::ticks::Ticks;

use super::{Pair, blocks, known_sessions, replicate_at};
use crate::common::packets::{tcp, udp};
use crate::common::plan::INSIDE;
use crate::common::{IN1, IN2, OUT1, OUT2};

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

/// The next session operation of the first chassis' only worker.
fn next_session(pair: &mut Pair) -> SessionRecord {
    loop {
        match pair.links[0][0].pop().expect("a session is told") {
            Op::Session(record) => return record,
            _ => continue,
        }
    }
}

/// A pair, and two sessions of its primary that have the same public end towards different outside ends, as if the first one's
/// end had never been told.
pub(super) fn contested_pair() -> (Pair, SessionRecord, SessionRecord) {
    contested_pair_with(MappingType::AddressAndPortDependent)
}

fn contested_pair_with(mapping: MappingType) -> (Pair, SessionRecord, SessionRecord) {
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.behaviour(mapping, FilteringType::AddressAndPortDependent);
    });
    pair.worlds[0]
        .one(INSIDE, udp((IN1, 2000), (OUT1, 53)))
        .forwarded();
    pair.worlds[0].engines[0].maintain(pair.worlds[0].now, 8);
    let first = next_session(&mut pair);
    pair.worlds[0]
        .one(INSIDE, udp((IN2, 2000), (OUT2, 53)))
        .forwarded();
    pair.worlds[0].engines[0].maintain(pair.worlds[0].now, 8);
    let mut second = next_session(&mut pair);
    // The same public end, towards somebody else.
    let (SessionKey::V4 { back: had, .. }, SessionKey::V4 { back, .. }) = (first.key, &mut second.key) else {
        panic!("IPv4");
    };
    (back.dst, back.dport) = (had.dst, had.dport);
    assert_ne!(back.src, had.src);
    (pair, first, second)
}

#[test]
fn a_port_that_a_session_has_towards_another_end_goes_to_whom_the_primary_says() {
    let (mut pair, first, second) = contested_pair();
    let SessionKey::V4 { back: had, .. } = first.key else {
        panic!("IPv4");
    };
    let now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines[0];
    for record in [first, second, second] {
        assert_eq!(standby.install(&Op::Session(record), now), Ok(()));
    }
    while !standby.has_told_all() {
        standby.maintain(now, 8);
    }
    let c = *standby.counters();
    assert_eq!(
        (c.replica_conflicts, c.replica_refused_ground, c.replica_installed),
        (1, 0, 2)
    );
    assert_eq!(c.port_release_mismatch, 0);
    let there = pair.worlds[1].sessions();
    assert_eq!(there.len(), 1);
    assert_eq!((there[0].outside_port, there[0].public_port), (53, had.dport));
    // And the other way round; but that one ends before it could be installed.
    let standby = &mut pair.worlds[1].engines[0];
    assert_eq!(standby.install(&Op::Session(first), now), Ok(()));
    let (key, service_set, protocol) = (first.key, first.service_set, first.protocol);
    let end = Op::Close {
        key,
        service_set,
        protocol,
    };
    assert_eq!(standby.install(&end, now), Ok(()));
    assert!(standby.has_told_all());
    assert_eq!(pair.worlds[1].sessions().len(), 1);
}

#[test]
fn a_session_whose_mapping_went_to_another_and_came_back_is_not_purged_with_the_first() {
    let (mut pair, first, second) = contested_pair_with(MappingType::EndpointIndependent);
    let now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines[0];
    // The last is what a bulk tells again before the purge has come by.
    for record in [first, second, first] {
        assert_eq!(standby.install(&Op::Session(record), now), Ok(()));
    }
    assert!(standby.is_purging());
    while standby.is_purging() {
        standby.maintain(now, 8);
    }
    assert_eq!(standby.counters().port_release_mismatch, 0);
    let there = pair.worlds[1].sessions();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].outside, std::net::Ipv4Addr::from_bits(OUT1));
    assert_eq!(pair.worlds[1].mappings().len(), 1);
}

#[test]
fn what_a_full_standby_refused_is_asked_for_when_there_is_room() {
    let mut pair = Pair::new(1, 4096, |_| {});
    // A smaller standby than its primary: more cannot be had than it has room for.
    let room = 256;
    pair.worlds[1].plan.sizes.max_sessions = room;
    let (outbox, inbox) = rtrb::RingBuffer::new(4096);
    pair.worlds[1].engines[0] = super::other_engine(&pair.worlds[1], 0);
    pair.worlds[1].engines[0].connect(outbox);
    pair.links[1][0] = inbox;
    pair.command(1, Op::Listen(true));
    pair.role(1, Role::Standby);
    for (host, count) in [(IN1, 200), (IN2, 200)] {
        let packets: Vec<_> = (0..count).map(|p| udp((host, 2000 + p), (OUT1, 53))).collect();
        for part in packets.chunks(64) {
            pair.worlds[0].burst(INSIDE, part.to_vec());
        }
        pair.carry();
    }
    let asked = |pair: &Pair| pair.words[1].iter().filter(|op| **op == Op::Refused).count();
    assert!(pair.worlds[1].engines[0].counters().replica_refused_room >= 100);
    let lacks = |pair: &Pair| {
        let said = pair.words[1].iter().filter(|op| matches!(op, Op::Lacks(_)));
        said.copied().collect::<Vec<_>>()
    };
    assert_eq!(lacks(&pair), [Op::Lacks(true)], "it is said at once, and once");
    pair.pass(Ticks::from_seconds(100));
    assert_eq!(asked(&pair), 0, "there is no room");
    let filter = tandem_engine::view::Filter {
        inside: Some(std::net::IpAddr::V4(IN1.into())),
        ..Default::default()
    };
    pair.worlds[0].ask(tandem_engine::view::Ask::ClearSessions, filter);
    pair.carry();
    assert_eq!(asked(&pair), 1);
    // Nobody hears it: it asks again, but less and less often.
    for _ in 0..10 {
        pair.pass(Ticks::from_seconds(10));
    }
    assert_eq!(asked(&pair), 2);
    pair.bulk(0, 1);
    pair.assert_same();
    assert_eq!(known_sessions(&mut pair.worlds[1]).len(), 200);
    pair.pass(Ticks::from_seconds(150));
    assert_eq!(asked(&pair), 2, "nothing is missing any more");
}

#[test]
fn records_of_windows_are_free_on_a_standby() {
    let mut pair = Pair::new(1, 4096, |plan| plan.set().tcp.track_window = true);
    for port in 0..50 {
        pair.worlds[0]
            .one(INSIDE, tcp((IN1, 2000 + port), (OUT1, 80), tandem_wire::tcp::SYN))
            .forwarded();
    }
    pair.carry();
    let extended = |pair: &Pair, at: usize| {
        let table = pair.worlds[at].engines[0].tables().sessions;
        let hot = (0..table.high_water()).filter_map(|n| table.hot(n));
        hot.filter(|h| h.is_session() && h.flags & FLAG_EXTENDED != 0)
            .count()
    };
    assert_eq!(extended(&pair, 0), 50);
    assert_eq!(pair.worlds[0].engines[0].table_use()[0].0, 100);
    pair.switch_over(1);
    assert_eq!(extended(&pair, 0), 0);
    assert_eq!(pair.worlds[0].engines[0].table_use()[0].0, 50);
    pair.assert_same();
    pair.assert_no_trouble();
}

#[test]
fn blocks_of_a_service_set_that_is_gone_end_when_the_primary_says_so() {
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.blocks(64, 2);
        plan.second(crate::common::POOL2, 4);
        plan.program.pools[1].port_blocks = plan.program.pools[0].port_blocks;
    });
    let inside2 = crate::common::plan::INSIDE2;
    pair.worlds[0]
        .one(inside2, udp((IN1, 2000), (OUT1, 53)))
        .forwarded();
    pair.carry();
    pair.switch_over(1);
    for world in &mut pair.worlds {
        world.reload(|plan| {
            plan.program.service_sets.truncate(1);
            plan.program.interfaces.retain(|i| i.id != inside2);
            plan.program.interfaces[1].outside_of = vec![1];
        });
        world.settle_time();
    }
    for _ in 0..30 {
        pair.pass(Ticks::from_seconds(10));
        pair.assert_same();
    }
    assert!(blocks(&mut pair.worlds[0]).is_empty());
    pair.assert_no_trouble();
}
