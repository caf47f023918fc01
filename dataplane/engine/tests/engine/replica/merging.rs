//! Two primaries that are one again: what the one that yields has of its own goes on at the other one, and what both have given stays
//! with that one's.

use std::collections::BTreeSet;

use tandem_engine::engine::NotInstalled;
use tandem_engine::packet::Verdict;
use tandem_engine::ports::BlockEventKind;
use tandem_engine::program::{FilteringType, MappingType};
use tandem_engine::replica::{Merge, ObjectTypes, Op, Role, SessionKey};
use tandem_engine::session::Tuple4;
use tandem_engine::ticks::Ticks;
use tandem_wire::tcp::{ACK, SYN};

use super::{Pair, blocks, extents, known_sessions, replicate_at};
use crate::common::packets::{End, syn, tcp, udp};
use crate::common::plan::Plan;
use crate::common::world::World;
use crate::common::{IN1, IN2, OUT1, OUT2};

const EIM: MappingType = MappingType::EndpointIndependent;
const APDM: MappingType = MappingType::AddressAndPortDependent;
const EIF: FilteringType = FilteringType::EndpointIndependent;
const APDF: FilteringType = FilteringType::AddressAndPortDependent;

/// Both are primary, and neither hears the other; from the same state.
pub(super) fn split(workers: u8, change: impl FnOnce(&mut Plan)) -> Pair {
    let mut pair = Pair::new(workers, 65_536, change);
    pair.worlds[0].inside(udp((IN1, 999), (OUT1, 53))).forwarded();
    pair.carry();
    pair.role(1, Role::Primary);
    pair
}

/// The same before anybody had anything, so that neither rests anything.
pub(super) fn split_afresh(change: impl FnOnce(&mut Plan)) -> Pair {
    let mut pair = Pair::new(1, 65_536, change);
    pair.role(1, Role::Primary);
    pair
}

/// What was told while nobody heard it is lost.
fn deaf(pair: &mut Pair) {
    for link in pair.links.iter_mut().flatten() {
        while link.pop().is_ok() {}
    }
}

/// Chassis 1 yields to chassis 2, which takes what it offers; what that came to.
pub(super) fn heal(pair: &mut Pair) -> Merge {
    heal_of(pair, 0)
}

/// The same; `loser` yields.
pub(super) fn heal_of(pair: &mut Pair, loser: usize) -> Merge {
    let winner = 1 - loser;
    for world in &mut pair.worlds {
        world.settle_time();
    }
    deaf(pair);
    let bulk = |pair: &mut Pair, from: usize, number| {
        pair.command(1 - from, Op::BulkBegin(number, ObjectTypes::ALL));
        if from == loser {
            pair.command(winner, Op::Merges(1));
        }
        pair.command(from, Op::Bulk(number, ObjectTypes::ALL));
    };
    pair.role(loser, Role::Standby);
    pair.command(loser, offer(true));
    // Both tell each other at once; what the winner tells before it has been offered everything has no effect.
    bulk(pair, loser, 70);
    bulk(pair, winner, 71);
    pair.carry();
    pair.command(loser, offer(false));
    pair.bulk(winner, 72);
    let merged = pair.words[winner].iter().filter_map(|op| match op {
        Op::Merged { merge, .. } => Some(*merge),
        _ => None,
    });
    merged.fold(Merge::default(), Merge::and)
}

pub(super) fn offer(offers: bool) -> Op {
    Op::Offer {
        service_set: 1,
        offers,
    }
}

fn pass_over(pair: &mut Pair, passes_over: bool) {
    pair.command(
        1,
        Op::PassOver {
            service_set: 1,
            passes_over,
        },
    );
}

/// A world's sessions and extents, as text.
fn all(world: &mut World) -> [BTreeSet<String>; 2] {
    let sessions = world.sessions().into_iter();
    let ends = sessions.map(|s| {
        let ends = (s.inside, s.inside_port, s.public, s.public_port);
        format!("{} {} {ends:?}", s.service_set, s.protocol)
    });
    [ends.collect(), extents(world)]
}

/// Public ends of a world's sessions, of those that are not of the first one.
fn given(world: &mut World) -> BTreeSet<(String, u16, u8)> {
    let sessions = world.sessions().into_iter();
    let own = sessions.filter(|s| s.inside_port != 999);
    own.map(|s| (format!("{:?}", s.public), s.public_port, s.protocol))
        .collect()
}

#[track_caller]
pub(super) fn assert_one(pair: &mut Pair) {
    pair.assert_same();
    for world in &mut pair.worlds {
        let sessions = world.sessions();
        let ends: BTreeSet<_> = sessions
            .iter()
            .map(|s| format!("{:?} {} {}", s.public, s.public_port, s.protocol))
            .collect();
        let inside: BTreeSet<_> = sessions
            .iter()
            .map(|s| format!("{:?} {} {}", s.inside, s.inside_port, s.protocol))
            .collect();
        assert_eq!(ends.len(), inside.len(), "a public end of two insides");
        for engine in &world.engines {
            assert_eq!(engine.counters().port_release_mismatch, 0);
        }
    }
}

#[test]
fn what_began_on_the_one_that_yields_goes_on_at_the_other() {
    for (mapping, filtering) in [(EIM, EIF), (APDM, APDF)] {
        for workers in [1, 2] {
            let mut pair = split(workers, |plan| plan.behaviour(mapping, filtering));
            let mut own = Vec::new();
            for host in 0..40 {
                let (inside, outside) = ((IN1 + host, 2000), (OUT1, 80));
                own.push((outside, pair.worlds[0].inside(syn(inside, outside)).public()));
                pair.worlds[1]
                    .inside(udp((IN2 + 300 + host, 2000), (OUT2, 53)))
                    .forwarded();
            }
            let merge = heal(&mut pair);
            let refused = merge.refused + merge.public_ends + merge.inside_ends;
            assert_eq!((merge.sessions + refused, merge.known), (40, 1), "{merge:?}");
            assert_eq!(merge.inside_ends, 0);
            assert_eq!(merge.extents_of_others == 0, merge.refused == 0, "{merge:?}");
            if workers == 1 {
                assert_eq!(refused, 0, "TCP and UDP ports are not the same: {merge:?}");
            }
            // The answers find their way, by whom they did not before.
            let mut passes = |(outside, public): &(End, End)| {
                let got = pair.worlds[1].outside(tcp(*outside, *public, SYN | ACK));
                got.verdict == Verdict::Forward
            };
            assert_eq!(
                own.iter().filter(|ends| passes(ends)).count() as u64,
                merge.sessions
            );
            pair.carry();
            assert_one(&mut pair);
        }
    }
}

#[test]
fn a_public_end_that_both_gave_stays_the_primarys_and_is_counted_once() {
    for (mapping, filtering) in [(EIM, EIF), (APDM, APDF)] {
        let mut pair = split_afresh(|plan| {
            plan.behaviour(mapping, filtering);
            plan.addresses(1);
            plan.ports(1024, 2047);
            (plan.sizes.max_sessions, plan.sizes.max_mappings) = (8192, 8192);
        });
        for port in 0..300 {
            pair.worlds[0]
                .inside(udp((IN1, 2000 + port), (OUT1, 53)))
                .forwarded();
            pair.worlds[1]
                .inside(udp((IN2, 2000 + port), (OUT2, 53)))
                .forwarded();
        }
        let [first, second] = pair.worlds.each_mut().map(given);
        let both = first.intersection(&second).count() as u64;
        assert!(both > 20, "{both}");
        let kept: BTreeSet<_> = first.union(&second).cloned().collect();
        let merge = heal(&mut pair);
        assert_eq!(
            (merge.public_ends, merge.sessions, merge.known),
            (both, 300 - both, 0),
            "{merge:?}"
        );
        // Those of one mapping are refused with it.
        let by_mapping = if mapping == EIM { both } else { 0 };
        assert_eq!((merge.inside_ends, merge.refused), (0, by_mapping));
        assert_eq!(given(&mut pair.worlds[1]), kept);
        let theirs = pair.worlds[1].sessions();
        assert_eq!(
            theirs
                .iter()
                .filter(|s| s.outside == std::net::Ipv4Addr::from(OUT2))
                .count(),
            300
        );
        assert_one(&mut pair);
    }
}

#[test]
fn an_inside_end_that_both_translated_keeps_what_the_primary_made_of_it() {
    let mut pair = split(1, |plan| plan.behaviour(EIM, EIF));
    for port in 0..20 {
        for world in &mut pair.worlds {
            world.inside(udp((IN1, 2000 + port), (OUT1, 53))).forwarded();
        }
    }
    let [first, second] = pair.worlds.each_mut().map(given);
    let alike = first.intersection(&second).count() as u64;
    let merge = heal(&mut pair);
    assert_eq!((merge.sessions, merge.known), (0, 1 + alike), "{merge:?}");
    assert_eq!(merge.inside_ends + merge.public_ends, 20 - alike);
    assert_eq!(given(&mut pair.worlds[1]), second);
    assert_one(&mut pair);
}

#[test]
fn extents_and_blocks_that_only_the_other_had_are_taken_and_rest() {
    const HOSTS: u32 = 150;
    let mut pair = split(1, |plan| {
        plan.addresses(2);
        plan.ports(4096, 4096 * 5 - 1);
        plan.blocks(64, 4);
    });
    // Two extents of each address, of four, on either.
    for host in 0..HOSTS {
        pair.worlds[0]
            .inside(udp((IN2 + host, 2000), (OUT1, 53)))
            .forwarded();
        pair.worlds[1]
            .inside(udp((IN2 + 300 + host, 2000), (OUT2, 53)))
            .forwarded();
    }
    let [first, second] = pair.worlds.each_mut().map(extents);
    let ours = pair.worlds.each_mut().map(blocks);
    pair.worlds[0].block_events();
    let merge = heal(&mut pair);
    // Who had which ports until when: what is refused ends now, where its beginning was logged.
    let ended = pair.worlds[0].block_events();
    assert!(ended.iter().all(|e| e.kind == BlockEventKind::Released));
    assert!(merge.blocks > 0, "blocks that both gave: {merge:?}");
    assert_eq!(ended.len() as u64, merge.blocks);
    assert_eq!(
        merge.extents,
        first.difference(&second).count() as u64,
        "{merge:?}"
    );
    assert_eq!(merge.sessions + merge.blocks, HOSTS.into(), "{merge:?}");
    assert_eq!(merge.refused, merge.blocks, "the session in each");
    assert_eq!(
        blocks(&mut pair.worlds[1]).len() as u64,
        ours[1].len() as u64 + u64::from(HOSTS) - merge.blocks
    );
    assert_one(&mut pair);
    // A subscriber without a block finds no room in an extent that rests.
    let rests: BTreeSet<_> = first.difference(&second).cloned().collect();
    assert!(!rests.is_empty(), "extents that only the other had");
    for host in 0..30 {
        let (address, port) = pair.worlds[1]
            .inside(udp((IN2 + 600 + host, 2000), (OUT2, 53)))
            .public();
        let extent = format!("{address:x} {} 0", port >> 12);
        assert!(!rests.contains(&extent), "{extent}");
    }
}

#[test]
fn what_is_too_young_to_be_told_is_offered_all_the_same() {
    let mut pair = split(1, |_| {});
    for world in &mut pair.worlds {
        world.reload(|plan| replicate_at(plan, Ticks::from_seconds(100)));
    }
    for host in 0..10 {
        pair.worlds[0]
            .inside(udp((IN1 + host, 2000), (OUT1, 53)))
            .forwarded();
    }
    let merge = heal(&mut pair);
    assert_eq!(merge.sessions, 10, "{merge:?}");
    assert_eq!(known_sessions(&mut pair.worlds[0]).len(), 11);
    assert_one(&mut pair);
}

#[test]
fn a_bulk_of_a_standby_offers_nothing_and_a_primary_that_does_not_merge_takes_nothing() {
    let mut pair = split(1, |_| {});
    for host in 0..10 {
        pair.worlds[0]
            .inside(udp((IN1 + host, 2000), (OUT1, 53)))
            .forwarded();
    }
    pair.worlds[0].settle_time();
    deaf(&mut pair);
    pair.role(0, Role::Standby);
    pair.bulk(0, 5);
    assert_eq!(pair.worlds[1].engines[0].counters().replica_refused_role, 0);
    pair.command(0, offer(true));
    pair.bulk(0, 6);
    assert!(pair.worlds[1].engines[0].counters().replica_refused_role > 0);
    assert_eq!(pair.worlds[1].sessions().len(), 1);
}

#[test]
fn a_role_ends_what_was_offered_and_what_is_merged() {
    let mut pair = split(1, |_| {});
    pair.role(0, Role::Standby);
    pair.command(0, offer(true));
    pair.command(1, Op::BulkBegin(5, ObjectTypes::ALL));
    pair.command(1, Op::Merges(1));
    // The winner is gone; then it is back, as standby.
    pair.role(0, Role::Primary);
    pair.role(1, Role::Standby);
    deaf(&mut pair);
    pair.worlds[0].inside(udp((IN2, 2000), (OUT1, 53))).forwarded();
    pair.carry();
    pair.bulk(0, 6);
    assert_eq!(pair.worlds[1].sessions().len(), 2);
    assert_one(&mut pair);
}

#[test]
fn a_bulk_that_was_told_before_the_merge_ends_nothing_that_was_taken() {
    let mut pair = split(1, |_| {});
    for world in &mut pair.worlds {
        world.reload(|plan| replicate_at(plan, Ticks::from_seconds(100)));
    }
    for host in 0..10 {
        pair.worlds[0]
            .inside(udp((IN2 + host, 2000), (OUT1, 53)))
            .forwarded();
    }
    pair.worlds[0].settle_time();
    deaf(&mut pair);
    pair.role(0, Role::Standby);
    pair.command(0, offer(true));
    // All of this bulk is on its way before the first thing is merged.
    pair.command(1, Op::Bulk(71, ObjectTypes::ALL));
    pair.worlds[1].settle_time();
    pair.command(1, Op::BulkBegin(70, ObjectTypes::ALL));
    pair.command(1, Op::Merges(1));
    pair.command(0, Op::Bulk(70, ObjectTypes::ALL));
    pair.worlds[0].settle_time();
    pair.command(0, offer(false));
    pair.command(0, Op::BulkBegin(71, ObjectTypes::ALL));
    pair.command(0, Op::Covers(1));
    pair.carry();
    assert_eq!(pair.worlds[1].sessions().len(), 11);
    assert_eq!(known_sessions(&mut pair.worlds[0]).len(), 11);
    assert_one(&mut pair);
}

/// The primary that takes an offer becomes standby in its midst, and is primary again: it has nothing that it was not offered as primary.
#[test]
fn what_is_offered_to_a_primary_is_nothing_to_a_standby() {
    // Operations of the offer that come while it is primary: at last all of them.
    for while_primary in 0..40 {
        let mut pair = split(1, |plan| plan.behaviour(EIM, EIF));
        for host in 0..5 {
            let (ours, theirs) = ((IN2 + 300 + host, 2000), (IN1 + host, 2000));
            pair.worlds[1].inside(udp(ours, (OUT2, 53))).forwarded();
            pair.worlds[0].inside(syn(theirs, (OUT1, 80))).forwarded();
        }
        for world in &mut pair.worlds {
            world.settle_time();
        }
        deaf(&mut pair);
        let own = all(&mut pair.worlds[1]);
        pair.role(0, Role::Standby);
        pair.command(0, offer(true));
        pair.command(1, Op::BulkBegin(70, ObjectTypes::ALL));
        pair.command(1, Op::Merges(1));
        pair.command(0, Op::Bulk(70, ObjectTypes::ALL));
        for engine in &mut pair.worlds[0].engines {
            engine.maintain(pair.worlds[0].now, 4096);
        }
        let is_all = pair.carry_some(while_primary) < while_primary;
        let taken = all(&mut pair.worlds[1]);
        pair.role(1, Role::Standby);
        pass_over(&mut pair, true);
        // What the other one begins anew is no other.
        pair.command(1, Op::BulkBegin(71, ObjectTypes::ALL));
        pair.carry();
        assert_eq!(all(&mut pair.worlds[1]), taken, "{while_primary}");
        assert!(taken.iter().zip(&own).all(|(taken, own)| taken.is_superset(own)));
        let unoffered = pair.worlds[1]
            .engines
            .iter()
            .map(|e| e.counters().replica_unoffered);
        let refused = unoffered.sum::<u64>();
        assert!(if is_all {
            refused == 0
        } else {
            while_primary > 0 || refused > 0
        });
        assert!(is_all || while_primary < 39, "not all came");
        // Primary again, in another epoch: all of it is offered again, and now taken.
        pair.role(1, Role::Primary);
        pair.command(0, offer(false));
        pair.command(0, offer(true));
        pair.command(1, Op::BulkBegin(72, ObjectTypes::ALL));
        pair.command(1, Op::Merges(1));
        pair.command(0, Op::Bulk(72, ObjectTypes::ALL));
        pair.carry();
        pair.command(0, offer(false));
        pair.bulk(1, 73);
        assert_one(&mut pair);
        let both = all(&mut pair.worlds[1]);
        assert!(
            both[0].is_superset(&taken[0]) && both[0].len() > own[0].len(),
            "{both:#?}"
        );
    }
}

/// One that was primary last takes the other's word when that is primary.
#[test]
fn what_was_passed_over_comes_from_the_next_primary() {
    let mut pair = split_afresh(|plan| plan.behaviour(EIM, EIF));
    let (dst, dport) = pair.worlds[1].inside(udp((IN2, 2000), (OUT2, 53))).public();
    let tuple = |(src, sport): End, (dst, dport): End| Tuple4 {
        src,
        dst,
        sport,
        dport,
    };
    let key = SessionKey::V4 {
        out: tuple((IN2, 2000), (OUT2, 53)),
        back: tuple((OUT2, 53), (dst, dport)),
    };
    pair.role(1, Role::Standby);
    pass_over(&mut pair, true);
    // Nor does it end what is here.
    let own = all(&mut pair.worlds[1]);
    let ends = Op::Close {
        key,
        service_set: 1,
        protocol: 17,
    };
    let now = pair.worlds[1].now;
    let ended = pair.worlds[1].engines[0].install(&ends, now);
    assert_eq!(ended, Err(NotInstalled::Offered));
    pair.worlds[0].inside(udp((IN1, 2000), (OUT1, 53))).forwarded();
    for world in &mut pair.worlds {
        world.settle_time();
    }
    pair.bulk(0, 70);
    assert_eq!((all(&mut pair.worlds[1]), own[0].len()), (own, 1));
    pass_over(&mut pair, false);
    pair.bulk(0, 71);
    pair.pass(Ticks(10));
    pair.assert_same();
    assert_eq!(pair.worlds[1].sessions().len(), 1);
}
