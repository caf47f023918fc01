//! What the other chassis says of something that another worker has here still: it waits, over bulks and takeovers, for as long as it may.

use tandem_engine::address::of_v4;
use tandem_engine::replica::{ExtentRecord, ObjectTypes, Op, Role, SessionKey, SessionRecord};
use tandem_engine::ticks::Ticks;

use super::Pair;
use super::refused::contested_pair;
use crate::common::any;
use crate::common::packets::udp;
use crate::common::plan::INSIDE;
use crate::common::{IN1, IN2, OUT1};

/// Two sessions of a protocol without ports, each of another worker, that have the same public address towards the same outside end:
/// the second one began when the first one had ended.
fn contested_claim() -> (Pair, [SessionRecord; 2]) {
    let mut pair = Pair::new(2, 4096, |_| {});
    let mut records: [Option<SessionRecord>; 2] = [None; 2];
    for host in 0..64 {
        let packet = any::raw(47, of_v4(IN1 + host), of_v4(OUT1 + host));
        pair.worlds[0].one(INSIDE, packet).forwarded();
        for (worker, record) in records.iter_mut().enumerate() {
            pair.worlds[0].engines[worker].maintain(pair.worlds[0].now, 8);
            while let Ok(op) = pair.links[0][worker].pop() {
                if let Op::Session(told) = op {
                    *record = Some(told);
                }
            }
        }
        if let [Some(first), Some(mut second)] = records {
            let (SessionKey::V4 { back: had, .. }, SessionKey::V4 { out, back }) =
                (first.key, &mut second.key)
            else {
                panic!("IPv4");
            };
            (out.dst, back.src, back.dst) = (had.src, had.src, had.dst);
            return (pair, [first, second]);
        }
    }
    panic!("64 hosts, and all of one worker");
}

fn end_of(record: &SessionRecord) -> Op {
    Op::Close {
        key: record.key,
        service_set: record.service_set,
        protocol: record.protocol,
    }
}

#[test]
fn what_another_worker_claims_is_waited_for_until_that_has_heard_of_its_end() {
    let (mut pair, [first, second]) = contested_claim();
    let mut now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines;
    assert_eq!(standby[0].install(&Op::Session(first), now), Ok(()));
    assert_eq!(standby[1].install(&Op::Session(second), now), Ok(()));
    for _ in 0..10 {
        standby[1].maintain(now, 8);
    }
    assert!(standby[1].waits_for_workers(), "it waits");
    assert_eq!(standby[0].install(&end_of(&first), now), Ok(()));
    for _ in 0..10 {
        standby[1].maintain(now, 8);
    }
    assert!(!standby[1].waits_for_workers());
    assert_eq!(standby[1].tables().sessions.live(), 1);
    // The first one again: the one that has it now has it by right. It is told again meanwhile, which does not make it wait longer.
    assert_eq!(standby[0].install(&Op::Session(first), now), Ok(()));
    for _ in 0..3 {
        assert!(standby[0].waits_for_workers(), "it waits");
        assert_eq!(standby[0].counters().replica_refused_ground, 0);
        now = now.plus(Ticks::from_seconds(1));
        assert_eq!(standby[0].install(&Op::Session(first), now), Ok(()));
        standby[0].maintain(now, 8);
        if !standby[0].waits_for_workers() {
            break;
        }
    }
    assert!(!standby[0].waits_for_workers(), "and is refused in the end");
    assert_eq!(standby[0].counters().replica_refused_ground, 1);
    assert_eq!(standby[0].tables().sessions.live(), 0);
    // A takeover changes nothing: it is refused when it has waited for as long.
    assert_eq!(standby[0].install(&Op::Session(first), now), Ok(()));
    pair.role(1, Role::Primary);
    let standby = &mut pair.worlds[1].engines;
    assert!(standby[0].waits_for_workers());
    now = now.plus(Ticks::from_seconds(2));
    standby[0].maintain(now, 8);
    assert!(!standby[0].waits_for_workers());
    let counters = standby[0].counters();
    assert_eq!(
        (
            counters.replica_refused_ground,
            counters.replica_merge_public_ends
        ),
        (2, 0),
        "there was no merge"
    );
    assert_eq!(standby[0].tables().sessions.live(), 0);
    assert_eq!(standby[1].tables().sessions.live(), 1);
}

/// A pair whose primary has a session in an extent that its other worker had before, as the standby's workers are told of it: which of
/// them has the session, what that one is told, and the extent as the other one knows it.
fn extent_of_another() -> (Pair, usize, Vec<Op>, ExtentRecord) {
    let mut pair = Pair::new(2, 4096, |_| {});
    pair.worlds[0]
        .one(INSIDE, udp((IN1, 2000), (OUT1, 53)))
        .forwarded();
    let (mut told, mut worker) = (Vec::new(), 0);
    for (at, link) in pair.links[0].iter_mut().enumerate() {
        pair.worlds[0].engines[at].maintain(pair.worlds[0].now, 8);
        while let Ok(op) = link.pop() {
            told.push(op);
            worker = at;
        }
    }
    let is_extent = |op: &&Op| matches!(op, Op::Extent(_));
    let Some(Op::Extent(extent)) = told.iter().find(is_extent).copied() else {
        panic!("no extent is told");
    };
    assert!(told.iter().any(|op| matches!(op, Op::Session(_))));
    let before = ExtentRecord {
        shard: 1 - extent.shard,
        ..extent
    };
    // The worker that has it has not yet heard of its end.
    let now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines;
    assert_eq!(standby[1 - worker].install(&Op::Extent(before), now), Ok(()));
    for op in &told {
        assert_eq!(standby[worker].install(op, now), Ok(()));
    }
    standby[worker].maintain(now, 8);
    assert!(standby[worker].waits_for_workers());
    assert_eq!(standby[worker].tables().sessions.live(), 0);
    (pair, worker, told, before)
}

#[test]
fn an_extent_of_another_worker_is_waited_for_with_all_that_is_in_it() {
    let (mut pair, worker, told, before) = extent_of_another();
    let now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines;
    assert!(!standby[worker].lacks(), "workers are milliseconds apart");
    let later = now.plus(Ticks(2));
    standby[worker].maintain(later, 8);
    assert!(standby[worker].lacks(), "this one stands still");
    // A newer word is not installed twice, nor does it wait for longer.
    for op in &told {
        assert_eq!(standby[worker].install(op, later), Ok(()));
    }
    assert!(standby[worker].lacks());
    assert_eq!(
        standby[1 - worker].install(&Op::ExtentClose(before), later),
        Ok(())
    );
    standby[worker].maintain(later, 8);
    assert!(!standby[worker].waits_for_workers() && !standby[worker].lacks());
    assert_eq!(standby[worker].tables().sessions.live(), 1);
    let counters = standby[worker].counters();
    assert_eq!(
        (counters.replica_refused_ground, counters.replica_installed),
        (0, 1)
    );
    assert_eq!(super::extents(&mut pair.worlds[1]).len(), 1);
}

#[test]
fn sessions_of_two_protocols_with_the_same_ends_wait_side_by_side() {
    let (mut pair, worker, told, before) = extent_of_another();
    let now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines;
    let session = |op: &Op| match op {
        Op::Session(record) => Some(*record),
        _ => None,
    };
    let first = told.iter().find_map(session).expect("a session");
    let second = Op::Session(SessionRecord { protocol: 6, ..first });
    assert_eq!(standby[worker].install(&second, now), Ok(()));
    assert_eq!(standby[1 - worker].install(&Op::ExtentClose(before), now), Ok(()));
    standby[worker].maintain(now, 8);
    assert_eq!(standby[worker].tables().sessions.live(), 2);
}

#[test]
fn what_ends_while_it_waits_for_another_worker_does_not_come() {
    let (mut pair, worker, told, before) = extent_of_another();
    let now = pair.worlds[1].now;
    let standby = &mut pair.worlds[1].engines;
    let ends = told.iter().filter_map(|op| match op {
        Op::Session(record) => Some(end_of(record)),
        Op::Mapping(record) => Some(Op::MappingClose(*record)),
        Op::Extent(record) => Some(Op::ExtentClose(*record)),
        _ => None,
    });
    for end in ends {
        assert_eq!(standby[worker].install(&end, now), Ok(()));
    }
    assert!(!standby[worker].waits_for_workers());
    assert_eq!(standby[1 - worker].install(&Op::ExtentClose(before), now), Ok(()));
    standby[worker].maintain(now, 8);
    assert_eq!(standby[worker].tables().sessions.live(), 0);
    assert!(super::extents(&mut pair.worlds[1]).is_empty());
}

#[test]
fn an_extent_of_another_worker_is_refused_in_the_end() {
    let (mut pair, worker, told, _) = extent_of_another();
    let now = pair.worlds[1].now.plus(Ticks::from_seconds(2));
    let standby = &mut pair.worlds[1].engines;
    standby[worker].maintain(now, 8);
    assert!(!standby[worker].waits_for_workers() && standby[worker].lacks());
    let refused = standby[worker].counters().replica_refused_ground;
    assert_eq!(refused as usize, told.len());
}

#[test]
fn a_takeover_loses_nothing_of_what_waits_for_a_worker_that_has_still_to_read() {
    let (mut pair, worker, _, before) = extent_of_another();
    let now = pair.worlds[1].now;
    let role = Op::Role {
        service_set: 1,
        role: Role::Primary,
        epoch: 9,
    };
    let standby = &mut pair.worlds[1].engines;
    assert_eq!(standby[worker].install(&role, now), Ok(()));
    standby[worker].maintain(now, 8);
    assert!(standby[worker].waits_for_workers());
    for op in [Op::ExtentClose(before), role] {
        assert_eq!(standby[1 - worker].install(&op, now), Ok(()));
    }
    for engine in standby.iter_mut() {
        engine.maintain(now, 8);
    }
    assert!(!standby[worker].waits_for_workers());
    let counters = standby[worker].counters();
    assert_eq!(
        (counters.replica_installed, counters.replica_merged_sessions),
        (1, 0)
    );
    // Its session goes on, and what else the old primary may have given out of the extent rests: a new one gets no port of it.
    let world = &mut pair.worlds[1];
    assert_eq!(world.sessions().len(), 1);
    world.one(INSIDE, udp((IN1, 2000), (OUT1, 53))).forwarded();
    assert_eq!(super::extents(world).len(), 1);
    world.one(INSIDE, udp((IN1, 2001), (OUT1, 53))).forwarded();
    assert_eq!(super::extents(world).len(), 2);
}

#[test]
fn what_waited_before_a_time_as_primary_is_not_taken_for_the_next_primarys_word() {
    let (mut pair, worker, told, before) = extent_of_another();
    let now = pair.worlds[1].now;
    pair.role(1, Role::Primary);
    assert!(pair.worlds[1].engines[worker].waits_for_workers());
    pair.role(1, Role::Standby);
    let standby = &mut pair.worlds[1].engines;
    assert!(!standby[worker].waits_for_workers() && standby[worker].lacks());
    assert_eq!(standby[1 - worker].install(&Op::ExtentClose(before), now), Ok(()));
    standby[worker].maintain(now, 8);
    assert_eq!(standby[worker].tables().sessions.live(), 0);
    // The new primary tells it, if it has it.
    pair.command(1, Op::BulkBegin(1, ObjectTypes::ALL));
    let standby = &mut pair.worlds[1].engines;
    for op in &told {
        assert_eq!(standby[worker].install(op, now), Ok(()));
    }
    pair.command(1, Op::Covers(1));
    pair.command(1, Op::BulkEnd(1));
    let standby = &mut pair.worlds[1].engines[worker];
    standby.maintain(now, 8);
    assert_eq!((standby.tables().sessions.live(), standby.lacks()), (1, false));
}

/// The chassis that is standby hears a bulk that says nothing, of its service set or of others.
fn empty_bulk(pair: &mut Pair, number: u16, covers: bool) {
    pair.command(1, Op::BulkBegin(number, ObjectTypes::ALL));
    let now = pair.worlds[1].now;
    for engine in &mut pair.worlds[1].engines {
        engine.maintain(now, 8);
    }
    if covers {
        pair.command(1, Op::Covers(1));
    }
    pair.command(1, Op::BulkEnd(number));
}

#[test]
fn a_bulk_that_does_not_cover_a_set_makes_nothing_of_it_forgotten_that_waits() {
    for covers in [false, true] {
        let (mut pair, worker, _, before) = extent_of_another();
        let now = pair.worlds[1].now;
        empty_bulk(&mut pair, 1, covers);
        let standby = &mut pair.worlds[1].engines;
        assert_eq!(standby[worker].waits_for_workers(), !covers);
        assert_eq!(standby[1 - worker].install(&Op::ExtentClose(before), now), Ok(()));
        standby[worker].maintain(now, 8);
        assert!(!standby[worker].waits_for_workers());
        assert_eq!(standby[worker].tables().sessions.live(), u32::from(!covers));
    }
    // Nor is what waits for its port only.
    for covers in [false, true] {
        let (mut pair, first, second) = contested_pair();
        let now = pair.worlds[1].now;
        for record in [first, second] {
            let installed = pair.worlds[1].engines[0].install(&Op::Session(record), now);
            assert_eq!(installed, Ok(()));
        }
        empty_bulk(&mut pair, 1, covers);
        let standby = &mut pair.worlds[1].engines[0];
        while standby.waits_for_workers() || !standby.has_told_all() {
            standby.maintain(now, 8);
        }
        let there = pair.worlds[1].sessions();
        let insides = there.iter().map(|s| s.inside).collect::<Vec<_>>();
        let kept = [std::net::Ipv4Addr::from(IN2)];
        assert_eq!(insides, kept[..usize::from(!covers)], "covers: {covers}");
    }
}

#[test]
fn a_takeover_amid_a_bulk_loses_nothing_of_what_waited_before() {
    let (mut pair, worker, _, before) = extent_of_another();
    let now = pair.worlds[1].now;
    pair.command(1, Op::BulkBegin(1, ObjectTypes::ALL));
    let standby = &mut pair.worlds[1].engines;
    assert_eq!(standby[1 - worker].install(&Op::ExtentClose(before), now), Ok(()));
    standby[worker].maintain(now, 8);
    assert!(standby[worker].waits_for_workers(), "the bulk may say otherwise");
    pair.role(1, Role::Primary);
    let engine = &mut pair.worlds[1].engines[worker];
    engine.maintain(now, 8);
    assert_eq!(engine.tables().sessions.live(), 1);
}

#[test]
fn a_bulk_that_breaks_off_keeps_nothing_waiting() {
    let (mut pair, worker, _, before) = extent_of_another();
    let now = pair.worlds[1].now;
    pair.command(1, Op::BulkBegin(1, ObjectTypes::ALL));
    pair.command(1, Op::Listen(false));
    let standby = &mut pair.worlds[1].engines;
    assert_eq!(standby[1 - worker].install(&Op::ExtentClose(before), now), Ok(()));
    standby[worker].maintain(now, 8);
    assert!(!standby[worker].waits_for_workers());
    assert_eq!(standby[worker].tables().sessions.live(), 1);
}

#[test]
fn what_was_refused_is_missing_until_a_bulk_covers_its_set() {
    let (mut pair, worker, _, _) = extent_of_another();
    let now = pair.worlds[1].now.plus(Ticks::from_seconds(2));
    pair.worlds[1].engines[worker].maintain(now, 8);
    for (number, covers) in [(1, false), (2, false), (3, true), (4, false)] {
        empty_bulk(&mut pair, number, covers);
        assert_eq!(pair.worlds[1].engines[worker].lacks(), number < 3, "{number}");
    }
}
