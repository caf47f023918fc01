//! The moment of a role change: what was under way then is neither forgotten nor done twice.

use std::collections::BTreeSet;

use tandem_engine::program::policy::PolicyAction;
use tandem_engine::program::{FilteringType, Firewall, MappingType, PolicyList};
use tandem_engine::replica::{MappingRecord, ObjectTypes, Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter};

use super::refused::contested_pair;
use super::{Pair, blocks, extents, replicate_at};
use crate::common::packets::{syn, udp};
use crate::common::{IN1, IN2, OUT1, OUT2};

#[test]
fn blocks_taken_right_before_a_role_is_given_up_are_told() {
    let mut pair = Pair::new(1, 4096, |plan| plan.blocks(64, 8));
    pair.worlds[0].reload(|plan| replicate_at(plan, Ticks::from_seconds(100)));
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    // No time for the engine between the packet and the command.
    pair.role(0, Role::Standby);
    pair.carry();
    let [first, second] = pair.worlds.each_mut().map(extents);
    assert!(!first.is_empty());
    assert_eq!(first, second);
    // The session in it was too young.
    let [first, second] = pair.worlds.each_mut().map(blocks);
    let used_here = |b: String| b.replace("used: 1", "used: 0");
    assert_eq!(first.into_iter().map(used_here).collect::<BTreeSet<_>>(), second);
}

#[test]
fn what_waits_for_its_port_at_a_takeover_is_installed() {
    let (mut pair, first, second) = contested_pair();
    let now = pair.worlds[1].now;
    for record in [first, second] {
        let installed = pair.worlds[1].engines[0].install(&Op::Session(record), now);
        assert_eq!(installed, Ok(()));
    }
    // The primary is gone before the walk was over.
    pair.role(1, Role::Primary);
    let there = pair.worlds[1].sessions();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].inside, std::net::Ipv4Addr::from(IN2));
}

#[test]
fn a_sweep_of_a_former_time_as_standby_ends_nothing() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.command(1, Op::BulkBegin(3, ObjectTypes::ALL));
    pair.command(1, Op::Covers(1));
    pair.command(1, Op::BulkEnd(3));
    // Before the sweep has begun it is primary, has sessions of its own, and is standby again.
    pair.role(1, Role::Primary);
    let now = pair.worlds[1].now;
    let first = udp((IN1, 1000), (OUT1, 53));
    pair.worlds[1].inside(first).forwarded();
    pair.role(1, Role::Standby);
    assert_eq!(pair.worlds[1].now, now);
    pair.carry();
    assert_eq!(pair.worlds[1].sessions().len(), 1);
    assert_eq!(pair.worlds[1].engines[0].counters().replica_swept, 0);
}

#[test]
fn what_a_bulk_did_not_confirm_is_gone_at_a_takeover_before_the_sweep_has_come_to_it() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    pair.carry();
    assert_eq!(pair.worlds[1].sessions().len(), 1);
    // The primary lost it, and this chassis was told so by a bulk alone.
    pair.command(1, Op::BulkBegin(3, ObjectTypes::ALL));
    pair.command(1, Op::Covers(1));
    pair.command(1, Op::BulkEnd(3));
    pair.role(1, Role::Primary);
    assert_eq!(pair.worlds[1].sessions(), []);
    assert_eq!(pair.worlds[1].engines[0].counters().replica_refused_ground, 0);
}

#[test]
fn a_bulk_of_some_types_that_cuts_a_sweep_short_is_made_up_for() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.command(1, Op::BulkBegin(3, ObjectTypes::ALL));
    pair.command(1, Op::BulkEnd(3));
    pair.command(1, Op::BulkBegin(4, ObjectTypes::SESSIONS));
    pair.carry();
    assert_eq!(pair.words[1].last(), Some(&Op::Lacks(true)));
    pair.command(1, Op::BulkEnd(4));
    pair.pass(Ticks::from_seconds(31));
    assert_eq!(
        pair.words[1].last(),
        Some(&Op::Refused),
        "everything is asked for"
    );
    pair.command(1, Op::BulkBegin(5, ObjectTypes::ALL));
    pair.carry();
    assert_eq!(pair.words[1].last(), Some(&Op::Lacks(false)));
}

#[test]
fn policies_asked_again_end_nothing_that_the_primary_keeps() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    pair.carry();
    let world = &mut pair.worlds[1];
    world.reload(|plan| {
        let nothing = PolicyList::plain(Vec::new(), PolicyAction::Deny);
        plan.set().firewall = Some(Firewall {
            outbound: nothing.clone(),
            inbound: nothing,
        });
    });
    let ended = |world: &mut crate::common::world::World| -> u64 {
        let asked = world.ask(Ask::Reevaluate, Filter::default());
        asked.iter().map(|q| q.matched).sum()
    };
    assert_eq!(ended(world), 0);
    assert_eq!(world.sessions().len(), 1);
    pair.role(1, Role::Primary);
    assert_eq!(ended(&mut pair.worlds[1]), 1);
}

#[test]
fn a_mapping_that_only_young_sessions_held_takes_sessions_from_outside_after_a_takeover() {
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.behaviour(
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
    });
    for world in &mut pair.worlds {
        world.reload(|plan| replicate_at(plan, Ticks::from_seconds(100)));
    }
    // Two sessions of a mapping: the one that is told ends, the other is too young.
    let public = pair.worlds[0].inside(syn((IN1, 1000), (OUT1, 80))).public();
    pair.pass(Ticks::from_seconds(102));
    pair.worlds[0].inside(syn((IN1, 1000), (OUT2, 80))).forwarded();
    let told = Filter {
        outside: Some(std::net::Ipv4Addr::from(OUT1).into()),
        ..Filter::default()
    };
    pair.worlds[0].ask(Ask::ClearSessions, told);
    pair.carry();
    pair.role(1, Role::Primary);
    let world = &mut pair.worlds[1];
    assert_eq!((world.sessions().len(), world.mappings().len()), (0, 1));
    for port in [8000, 8001] {
        world.outside(syn((OUT1, port), public)).forwarded();
    }
    // Later it is the subscriber's to hold.
    world.pass_seconds(301);
    assert!(world.mappings().is_empty());
}

#[test]
fn lost_mappings_do_not_keep_a_purge_from_its_end() {
    const SESSIONS: u16 = 1500;
    let mut pair = Pair::new(1, 8192, |plan| plan.ports(1024, 65_535));
    for port in 0..SESSIONS {
        pair.worlds[0]
            .inside(udp((IN1, 2000 + port), (OUT1, 53)))
            .forwarded();
    }
    pair.carry();
    let mut ends: Vec<(u32, u16)> = pair.worlds[1].mappings().iter().map(public_end).collect();
    ends.reverse();
    let world = &mut pair.worlds[1];
    // One after the other belongs to somebody else by the word of the primary, and each needs a purge. In a quarter of the
    // steps that all need, those lost first are gone.
    for (at, (public, public_port)) in ends.into_iter().take(64).enumerate() {
        let record = MappingRecord {
            inside: tandem_engine::address::of_v4(IN2),
            inside_port: 3000 + at as u16,
            public_port,
            public,
            service_set: 1,
            pool: 1,
            protocol: 17,
            filtering: 0,
            prefix: 0,
        };
        world.engines[0]
            .install(&Op::Mapping(record), world.now)
            .expect("room");
        world.engines[0].maintain(world.now, 0);
    }
    assert!(world.engines[0].counters().sessions_purged > 32);
    // And the last ones' in the end.
    while world.engines[0].is_purging() {
        world.engines[0].maintain(world.now, 0);
    }
    assert_eq!(world.engines[0].counters().sessions_purged, 64);
}

fn public_end(mapping: &tandem_engine::view::MappingView) -> (u32, u16) {
    match mapping.public {
        std::net::IpAddr::V4(address) => (address.to_bits(), mapping.public_port),
        std::net::IpAddr::V6(_) => panic!("an IPv4 address"),
    }
}
