//! What stands between a merge and what is offered: leases asked for ahead, addresses and ports that rest, mappings whose sessions never
//! come, what is not replicated, extents that another shard has, and TCP windows that another chassis has followed.

use std::collections::BTreeSet;

use tandem_engine::address::of_v4;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Verdict;
use tandem_engine::program::{
    AddressAllocation, AddressRange, FilteringType, MappingType, NatAction, PoolMode,
};
use tandem_engine::replica::{MappingRecord, Merge, ObjectTypes, Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_wire::build::PacketBuilder;
use tandem_wire::tcp::{ACK, PSH, RST, SYN};

use super::merging::{assert_one, heal, heal_of, offer, split_afresh};
use super::{Pair, blocks, extents, replicate_at};
use crate::common::packets::{End, bytes, udp};
use crate::common::plan::Plan;
use crate::common::world::World;
use crate::common::{IN1, IN2, OUT1, OUT2, POOL};

const EIM: MappingType = MappingType::EndpointIndependent;
const EIF: FilteringType = FilteringType::EndpointIndependent;

/// Whole addresses, low ones first.
fn dynamic(plan: &mut Plan) {
    plan.pool().mode = PoolMode::Addresses;
    plan.pool().address_allocation = AddressAllocation::Sequential;
    plan.set().terms[0].action = NatAction::Dynamic44 {
        pool: 1,
        filtering: EIF,
    };
}

#[test]
fn whole_addresses_whose_leases_were_asked_for_ahead_are_taken() {
    let mut pair = split_afresh(dynamic);
    for host in 0..6 {
        let (public, _) = pair.worlds[0]
            .inside(udp((IN1 + host, 1000), (OUT1, 53)))
            .public();
        assert_eq!(public, POOL + host);
    }
    // As the keeper of the leases does when it hears the other chassis.
    let space = &pair.worlds[1].program.public_space;
    space.set_leases_required(true);
    for address in 0..8 {
        let index = space.index_of(POOL + address).unwrap();
        for extent in 0..16 {
            assert!(space.offer(index, extent));
            // Some are acknowledged by now.
            assert!(address % 2 == 0 || space.grant(index, extent));
        }
    }
    let merge = heal(&mut pair);
    assert_eq!(
        (merge.sessions, merge.public_ends, merge.refused),
        (6, 0, 0),
        "{merge:?}"
    );
    assert_eq!(pair.worlds[1].mappings().len(), 6);
    // Who comes next gets another one.
    let next = pair.worlds[1].inside(udp((IN1 + 50, 1000), (OUT1, 53))).public();
    assert_eq!(next.0, POOL + 7, "the only one left that was granted");
    pair.carry();
    assert_one(&mut pair);
}

#[test]
fn a_whole_address_that_rests_goes_to_nobody_else() {
    let mut pair = split_afresh(dynamic);
    let (before, after) = ((IN2, 1000), (IN1, 1000));
    assert_eq!(
        pair.worlds[1].inside(udp(before, (OUT1, 53))).public(),
        (POOL, 1000)
    );
    // Its last session ends, and it rests.
    pair.pass(Ticks::from_seconds(310));
    assert_eq!(pair.worlds[1].mappings().len(), 0);
    assert_eq!(
        pair.worlds[0].inside(udp(after, (OUT1, 53))).public(),
        (POOL, 1000)
    );
    let merge = heal(&mut pair);
    assert_eq!((merge.public_ends, merge.sessions), (1, 0), "{merge:?}");
    assert_eq!(merge.refused, 1, "the session of that mapping: {merge:?}");
    assert_eq!(pair.worlds[1].mappings().len(), 0);
    assert_one(&mut pair);
}

#[test]
fn a_whole_address_that_one_gave_up_as_standby_rests_all_the_same() {
    let mut pair = split_afresh(dynamic);
    // Too young to be told, so it ends by its own time.
    for world in &mut pair.worlds {
        world.reload(|plan| replicate_at(plan, Ticks::from_seconds(1000)));
    }
    let (before, after) = ((IN2, 1000), (IN1, 1000));
    assert_eq!(
        pair.worlds[1].inside(udp(before, (OUT1, 53))).public(),
        (POOL, 1000)
    );
    // It is standby for a while, offers what it has, and its last session ends meanwhile.
    pair.role(1, Role::Standby);
    pair.command(1, offer(true));
    pair.pass(Ticks::from_seconds(310));
    assert_eq!(pair.worlds[1].mappings().len(), 0);
    pair.command(1, offer(false));
    pair.role(1, Role::Primary);
    assert_eq!(
        pair.worlds[0].inside(udp(after, (OUT1, 53))).public(),
        (POOL, 1000)
    );
    let merge = heal(&mut pair);
    assert_eq!((merge.public_ends, merge.sessions), (1, 0), "{merge:?}");
    assert_one(&mut pair);
}

#[test]
fn a_block_whose_ports_rest_goes_to_nobody_else() {
    let mut pair = split_afresh(|plan| {
        plan.addresses(1);
        plan.ports(1024, 1024 + 63);
        plan.blocks(64, 1);
    });
    let given = pair.worlds[1].inside(udp((IN2, 1000), (OUT1, 53)));
    assert_eq!(given.public().0, POOL);
    // Its last session ends, and its block with that.
    pair.pass(Ticks::from_seconds(310));
    assert_eq!(blocks(&mut pair.worlds[1]), BTreeSet::new());
    let given = pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53)));
    assert_eq!(given.public().0, POOL);
    let merge = heal(&mut pair);
    assert_eq!((merge.blocks, merge.sessions), (1, 0), "{merge:?}");
    assert_eq!(blocks(&mut pair.worlds[1]), BTreeSet::new());
    assert_one(&mut pair);
}

#[test]
fn a_mapping_whose_sessions_never_come_ends() {
    let record = MappingRecord {
        inside: of_v4(IN1),
        inside_port: 2000,
        public_port: 5000,
        public: POOL,
        service_set: 1,
        pool: 1,
        protocol: 17,
        filtering: 0,
        prefix: 0,
    };
    // The bulk ends; another begins in place of it; the connection breaks and never comes back.
    let ends = [
        Some(Op::BulkEnd(70)),
        Some(Op::BulkBegin(71, ObjectTypes::ALL)),
        None,
    ];
    for end in ends {
        let mut pair = split_afresh(|plan| plan.behaviour(EIM, EIF));
        // What a takeover keeps is looked at before.
        pair.pass(Ticks::from_seconds(400));
        pair.command(1, Op::BulkBegin(70, ObjectTypes::ALL));
        pair.command(1, Op::Merges(1));
        pair.command(1, Op::Mapping(record));
        if let Some(end) = end {
            pair.command(1, end);
        }
        pair.pass(Ticks::from_seconds(290));
        let world = &mut pair.worlds[1];
        assert_eq!(world.mappings().len(), 1, "for a while it stays: {end:?}");
        pair.pass(Ticks::from_seconds(20));
        let world = &mut pair.worlds[1];
        assert_eq!(world.mappings().len(), 0, "{end:?}");
        assert_eq!(world.subscribers().len(), 0, "{end:?}");
        assert_eq!(world.engines[0].counters().port_release_mismatch, 0);
    }
}

#[test]
fn mappings_of_what_is_not_replicated_are_not_offered() {
    let mut pair = split_afresh(|plan| {
        plan.behaviour(EIM, EIF);
        // Everything but what goes to one host.
        let mut included = plan.set().terms[0].clone();
        included.number = 1;
        included.matches.destinations = vec![AddressRange {
            first: OUT2,
            last: OUT2,
        }];
        plan.set().terms.insert(0, included);
        plan.set().replication.excluded_terms = vec![0];
    });
    for (host, outside) in [(IN1, OUT1), (IN2, OUT1), (IN2, OUT2)] {
        pair.worlds[0]
            .inside(udp((host, 2000), (outside, 53)))
            .forwarded();
    }
    let merge = heal(&mut pair);
    assert_eq!((merge.sessions, merge.refused), (1, 0), "{merge:?}");
    let taken: Vec<_> = pair.worlds[1].mappings().iter().map(|m| m.inside).collect();
    assert_eq!(taken, [std::net::IpAddr::from(std::net::Ipv4Addr::from(IN2))]);
}

#[test]
fn nothing_of_a_set_that_is_not_replicated_is_offered() {
    let mut pair = split_afresh(|plan| plan.behaviour(EIM, EIF));
    for world in &mut pair.worlds {
        world.reload(|plan| plan.set().replication.threshold = None);
    }
    pair.worlds[0].inside(udp((IN1, 2000), (OUT1, 53))).forwarded();
    let merge = heal(&mut pair);
    assert_eq!(merge.sessions, 0, "{merge:?}");
    assert_eq!(pair.worlds[1].mappings().len(), 0);
}

#[test]
fn an_extent_that_both_gave_ports_of_gives_none_until_what_ended_has_rested() {
    let mut pair = split_afresh(|plan| {
        plan.addresses(1);
        plan.ports(1024, 1024 + 63);
    });
    let kept = (IN2, 2000);
    let public = pair.worlds[1].inside(udp(kept, (OUT1, 53))).public();
    for port in 0..40 {
        pair.worlds[0]
            .inside(udp((IN1, 2000 + port), (OUT1, 53)))
            .forwarded();
    }
    // All of the one that yields ended just now, and nobody tells of that.
    pair.worlds[1].pass_seconds(200);
    pair.worlds[1].inside(udp(kept, (OUT1, 53))).forwarded();
    pair.pass(Ticks::from_seconds(200));
    pair.worlds[0].pass_seconds(200);
    assert_eq!(pair.worlds[0].sessions().len(), 0);
    let merge = heal(&mut pair);
    assert_eq!((merge.sessions, merge.extents), (0, 0), "{merge:?}");
    let fresh = |pair: &mut Pair| pair.worlds[1].inside(udp((IN1 + 7, 2000), (OUT1, 53)));
    assert_eq!(fresh(&mut pair).dropped(), DropReason::NatLeaseWait);
    // Whoever has a port has it still.
    assert_eq!(pair.worlds[1].inside(udp(kept, (OUT2, 53))).public(), public);
    pair.pass(Ticks::from_seconds(119));
    assert_eq!(fresh(&mut pair).dropped(), DropReason::NatLeaseWait);
    pair.pass(Ticks::from_seconds(2));
    fresh(&mut pair);
    pair.pass(Ticks(1));
    fresh(&mut pair).forwarded();
    pair.carry();
    assert_one(&mut pair);
}

/// One extent of ports, and two workers: whose host comes first has it, and the other one's have nothing.
fn one_extent(seed: u64, (mapping, filtering): (MappingType, FilteringType)) -> Pair {
    let mut pair = Pair::new(2, 65_536, |plan| {
        plan.behaviour(mapping, filtering);
        plan.addresses(1);
        plan.ports(1024, 4095);
        plan.seed = seed;
    });
    pair.role(1, Role::Primary);
    pair
}

#[test]
fn what_stands_on_an_extent_that_another_shard_has_ends() {
    const HOSTS: u32 = 40;
    const ENDS: [(MappingType, FilteringType); 2] = [
        (EIM, EIF),
        (
            MappingType::AddressAndPortDependent,
            FilteringType::AddressAndPortDependent,
        ),
    ];
    for (seed, behaviour) in (1..4).flat_map(|seed| ENDS.map(|behaviour| (seed, behaviour))) {
        let mut pair = one_extent(seed, behaviour);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for host in 0..HOSTS {
            let inside = (IN1 + host, 2000);
            let got = pair.worlds[0].inside(udp(inside, (OUT1, 53)));
            match got.verdict {
                Verdict::Forward => theirs.push((inside, got.public())),
                _ => ours.push(inside),
            }
        }
        assert!(!theirs.is_empty() && !ours.is_empty(), "hosts of both workers");
        for inside in &ours {
            pair.worlds[1].inside(udp(*inside, (OUT2, 53))).forwarded();
        }
        let [loser, winner] = pair.worlds.each_mut().map(extents);
        assert!(loser.len() == 1 && winner.len() == 1 && loser != winner);

        let merge = heal(&mut pair);
        let expected = Merge {
            extents_of_others: 1,
            refused: theirs.len() as u64,
            ..Merge::default()
        };
        assert_eq!(merge, expected);
        // All of it ended at the one that yielded, too: what the primary has there has waited for that.
        pair.pass(Ticks(1));
        let mut said = pair.words[0].iter().rev();
        let lacks = said.find(|op| matches!(op, Op::Lacks(_)));
        assert_ne!(lacks, Some(&Op::Lacks(true)));
        assert!(!pair.words[0].contains(&Op::Refused));
        assert_one(&mut pair);
        assert_eq!(extents(&mut pair.worlds[0]), winner);
        for world in &mut pair.worlds {
            assert_eq!(world.sessions().len(), ours.len());
            assert_eq!(world.subscribers().len(), ours.len());
        }
        // An answer to one of them reaches nobody else; it begins anew where there are ports.
        let world = &mut pair.worlds[1];
        for (inside, public) in &theirs {
            let answer = world.outside(udp((OUT1, 53), *public));
            assert!(!matches!(answer.verdict, Verdict::Forward) || answer.ends().1 != *inside);
        }
        world.reload(|plan| plan.ports(1024, 8191));
        for (inside, _) in &theirs {
            let (_, port) = world.inside(udp(*inside, (OUT1, 53))).public();
            assert_eq!(port >> 12, 1, "of an extent that was nobody's");
        }
    }
}

/// A segment with these numbers and one octet.
fn segment(src: End, dst: End, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    bytes(
        &PacketBuilder::tcp(src.0, src.1, dst.0, dst.1, flags)
            .seq_ack(seq, ack)
            .data(b"x"),
    )
}

const INSIDE: End = (IN1, 1000);
const OUTSIDE: End = (OUT1, 80);

fn open(world: &mut World) -> End {
    let public = world.inside(segment(INSIDE, OUTSIDE, SYN, 1000, 0)).public();
    world
        .outside(segment(OUTSIDE, public, SYN | ACK, 500_000, 1002))
        .forwarded();
    world
        .inside(segment(INSIDE, OUTSIDE, ACK, 1002, 500_002))
        .forwarded();
    public
}

/// What one end sends and the other answers, from these numbers on, with more under way than a window without scaling tells.
fn goes_on(world: &mut World, public: End, (mut seq, mut ack): (u32, u32)) -> (u32, u32) {
    for _ in 0..20 {
        let out = segment(INSIDE, OUTSIDE, ACK | PSH, seq, ack);
        world.inside(out).forwarded();
        seq += 1;
        for ahead in [0, 200_000, 400_000] {
            let back = segment(OUTSIDE, public, ACK | PSH, ack + ahead, seq);
            world.outside(back).forwarded();
        }
        ack += 400_001;
    }
    let guess = segment(OUTSIDE, public, RST, ack.wrapping_add(2_000_000_000), seq);
    assert_eq!(world.outside(guess).dropped(), DropReason::TcpOutOfWindow);
    (seq, ack)
}

#[test]
fn windows_of_what_is_taken_are_learnt_anew_by_one_that_never_took_over() {
    for is_known in [false, true] {
        let mut pair = Pair::new(1, 4096, |plan| plan.set().tcp.track_window = true);
        if is_known {
            // Here it began; it moves to the other chassis, which is primary as well, and back.
            open(&mut pair.worlds[0]);
            pair.carry();
        }
        pair.role(1, Role::Primary);
        let public = match is_known {
            true => pair.worlds[0]
                .inside(segment(INSIDE, OUTSIDE, ACK, 1002, 500_002))
                .public(),
            false => open(&mut pair.worlds[1]),
        };
        let mut numbers = (1003, 500_002);
        if is_known {
            numbers = goes_on(&mut pair.worlds[1], public, (30_000_000, 60_000_000));
        }
        let merge = heal_of(&mut pair, 1);
        assert_eq!(
            (merge.sessions, merge.known),
            (1 - u64::from(is_known), is_known.into())
        );
        let (seq, ack) = goes_on(&mut pair.worlds[0], public, numbers);
        pair.carry();
        assert!(seq > numbers.0 && ack > numbers.1);
        assert_one(&mut pair);
    }
}
