//! A block that the primary gives to one subscriber where the standby still has another's ports.

use std::net::{IpAddr, Ipv4Addr};

use tandem_engine::program::{FilteringType, MappingType};
use tandem_engine::replica::{BlockRecord, Op, Role, SessionKey, SessionRecord};

use super::Pair;
use crate::common::packets::udp;
use crate::common::plan::INSIDE;
use crate::common::{IN1, IN2, OUT1};

/// What a primary told of a subscriber.
#[derive(Default)]
struct Told {
    blocks: Vec<BlockRecord>,
    sessions: Vec<SessionRecord>,
    all: Vec<Op>,
}

/// Two sessions of a subscriber begin at the primary; what it tells.
fn begin(pair: &mut Pair, inside: u32) -> Told {
    let world = &mut pair.worlds[0];
    let packets = (2000..2002).map(|port| udp((inside, port), (OUT1, 53)));
    world.burst(INSIDE, packets.collect());
    world.engines[0].maintain(world.now, 8);
    let mut told = Told::default();
    while let Ok(op) = pair.links[0][0].pop() {
        match op {
            Op::Block(record) => told.blocks.push(record),
            Op::Session(record) => told.sessions.push(record),
            _ => {}
        }
        told.all.push(op);
    }
    assert_eq!((told.blocks.len(), told.sessions.len()), (1, 2));
    told
}

fn public_port(record: &SessionRecord) -> u16 {
    match record.key {
        SessionKey::V4 { back, .. } => back.dport,
        _ => panic!("IPv4"),
    }
}

/// A standby with two sessions of the first subscriber, and what the primary told of them; and of the second, as if it had given
/// that one the first one's block meanwhile.
fn pair_with((mapping, size): Case) -> (Pair, Told, Told) {
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.behaviour(mapping, FilteringType::AddressAndPortDependent);
        plan.addresses(1);
        plan.blocks(size, 1);
    });
    let first = begin(&mut pair, IN1);
    for op in &first.all {
        pair.command(1, *op);
    }
    let mut second = begin(&mut pair, IN2);
    let first_port = first.blocks[0].first_port;
    second.blocks[0].first_port = first_port;
    // Its ports are some that the first one does not have.
    let taken: Vec<u16> = first.sessions.iter().map(public_port).collect();
    let mut free = (first_port..first_port + size).filter(|port| !taken.contains(port));
    for record in &mut second.sessions {
        if let SessionKey::V4 { back, .. } = &mut record.key {
            back.dport = free.next().expect("a free port");
        }
    }
    (pair, first, second)
}

/// The standby takes over at once: its only block is the second subscriber's, and so are all `ports` in it.
#[track_caller]
fn assert_second_has_it(pair: &mut Pair, ports: u16) {
    pair.role(1, Role::Primary);
    let engine = &pair.worlds[1].engines[0];
    let (all, subscribers) = (engine.tables().ports, engine.tables().subscribers);
    let blocks: Vec<_> = (0..all.blocks_end()).filter_map(|n| all.block(n)).collect();
    assert_eq!(blocks.len(), 1);
    let (_, block) = blocks[0];
    let of = subscribers.get(block.subscriber).expect("its subscriber lives");
    assert_eq!(of.address(), tandem_engine::address::of_v4(IN2));
    assert_eq!(block.used, ports, "ports of others in it");
    while pair.worlds[1].engines[0].is_purging() {
        let now = pair.worlds[1].now;
        pair.worlds[1].engines[0].maintain(now, 8);
    }
    let sessions = pair.worlds[1].sessions();
    assert_eq!(sessions.len(), usize::from(ports));
    let second = IpAddr::V4(Ipv4Addr::from(IN2));
    assert!(sessions.iter().all(|s| s.inside == second));
    assert_eq!(pair.worlds[1].engines[0].counters().port_release_mismatch, 0);
}

/// Kind of mapping, ports of a block.
type Case = (MappingType, u16);

const CASES: [Case; 4] = [
    (MappingType::EndpointIndependent, 64),
    (MappingType::AddressAndPortDependent, 64),
    (MappingType::EndpointIndependent, 128),
    (MappingType::AddressAndPortDependent, 128),
];

#[test]
fn ports_of_another_in_a_block_do_not_outlive_their_own_block() {
    for case in CASES {
        let (mut pair, _, second) = pair_with(case);
        pair.command(1, Op::Block(second.blocks[0]));
        assert_second_has_it(&mut pair, 0);
    }
}

#[test]
fn ports_whose_block_ended_before_they_did_are_not_left_in_the_next_one() {
    for case in CASES {
        let (mut pair, first, second) = pair_with(case);
        pair.command(1, Op::BlockClose(first.blocks[0]));
        pair.command(1, Op::Block(second.blocks[0]));
        assert_second_has_it(&mut pair, 0);
    }
}

#[test]
fn ports_of_its_own_that_were_told_before_a_block_stay() {
    for case in CASES {
        let (mut pair, first, second) = pair_with(case);
        pair.command(1, Op::BlockClose(first.blocks[0]));
        for record in &second.sessions {
            pair.command(1, Op::Session(*record));
        }
        pair.command(1, Op::Block(second.blocks[0]));
        assert_second_has_it(&mut pair, 2);
    }
}

#[test]
fn a_block_that_ends_while_a_walk_makes_room_for_it_ends_nothing() {
    let (mut pair, first, second) = pair_with((MappingType::AddressAndPortDependent, 64));
    pair.command(1, Op::Block(second.blocks[0]));
    assert!(!pair.worlds[1].engines[0].has_told_all(), "a walk is under way");
    pair.command(1, Op::BlockClose(second.blocks[0]));
    pair.command(1, Op::Block(first.blocks[0]));
    while !pair.worlds[1].engines[0].has_told_all() {
        let now = pair.worlds[1].now;
        pair.worlds[1].engines[0].maintain(now, 8);
    }
    let sessions = pair.worlds[1].sessions();
    assert_eq!(sessions.len(), 2);
    let ports = pair.worlds[1].engines[0].tables().ports;
    assert_eq!(ports.block_use().0, 1);
}
