//! Two links over a network that misbehaves: in the end each chassis knows what the other has, and memory stays bounded.

mod common;

use common::model::Model;
use common::net::{Faults, World};
use common::{Random, config};
use ha_sync::chassis::{PeerEvent, Renewal, SetRole};
use ha_sync::link::{ExchangeError, Link, LinkConfig, LinkState, Mismatch, Refusal};
use ha_sync::wire::{EXCHANGE_MAX, Exchange};
use tandem_engine::replica::{Lease, LeaseChange, Mark, ObjectTypes, Op};
use tandem_engine::ticks::Ticks;

fn world(faults: Faults, seed: u64, change: impl Fn(LinkConfig) -> LinkConfig) -> World {
    let retransmit_ms = if faults.delay_ms > 0 { 200 } else { 0 };
    let configs = [11, 22].map(|incarnation| {
        change(LinkConfig {
            retransmit_ms,
            ..config(incarnation)
        })
    });
    World::new(configs, faults, seed)
}

fn bulks(model: &Model) -> usize {
    let begun = |e: &&PeerEvent| {
        matches!(
            e,
            PeerEvent::Connected { new_bulk: Some(_) } | PeerEvent::Bulk(..)
        )
    };
    model.events.iter().filter(begun).count()
}

#[test]
fn what_one_has_the_other_knows_from_the_bulk_and_from_updates() {
    let mut world = world(Faults::default(), 1, |c| c);
    (0..5000).for_each(|_| world.models[0].act(3000));
    world.connect();
    world.steps(3, 10);
    (0..3000).for_each(|_| world.models.iter_mut().for_each(|m| m.act(3000)));
    world.settle();
    world.assert_equal();
    let stats = world.links[0].stats();
    assert_eq!(
        (stats.bulk_mismatches, stats.retransmits, stats.connects),
        (0, 0, 1)
    );
    assert!(!stats.bulk_sent.running && stats.bulk_sent.objects.total() > 1000);
    assert_eq!(
        stats.bulk_sent.objects,
        world.links[1].stats().bulk_received.objects
    );
    assert!(stats.acknowledgment_ms.count() > 0);
}

#[test]
fn a_question_comes_whole_beside_what_is_replicated_and_ends_with_the_connection() {
    let mut world = world(Faults::default(), 1, |c| c);
    let question = |length: usize| Exchange {
        is_answer: false,
        number: 7,
        content: (0..length).map(|n| n as u8).collect(),
    };
    assert_eq!(
        world.links[0].tell_exchange(question(3)),
        Err(ExchangeError::NotThere)
    );
    (0..5000).for_each(|_| world.models[0].act(3000));
    world.connect();
    world.steps(3, 10);
    (0..3000).for_each(|_| world.models.iter_mut().for_each(|m| m.act(3000)));
    assert_eq!(
        world.links[0].tell_exchange(question(EXCHANGE_MAX + 1)),
        Err(ExchangeError::TooLong(EXCHANGE_MAX + 1))
    );
    assert_eq!(world.links[0].tell_exchange(question(1 << 20)), Ok(()));
    world.settle();
    world.steps(200, 10);
    assert_eq!(world.links[1].next_exchange(), Some(question(1 << 20)));
    world.assert_equal();
    // Nobody waits for an answer on the next connection.
    assert_eq!(world.links[0].tell_exchange(question(3)), Ok(()));
    world.disconnect();
    world.connect();
    world.settle();
    world.steps(200, 10);
    assert_eq!(world.links[1].next_exchange(), None);
    while world.links[0].tell_exchange(question(3)) != Err(ExchangeError::Busy) {}
}

#[test]
fn ages_are_right_on_the_other_chassis_even_after_waiting() {
    let mut world = world(Faults::default(), 1, |c| c);
    world.connect();
    world.settle();
    world.models[0].act(1);
    while !world.models[0].mine.keys().any(|(kind, _)| *kind == 0) {
        world.models[0].act(1);
    }
    let began = world.now / 100;
    world.step(0);
    world.disconnect();
    world.steps(100, 100);
    world.connect();
    world.settle();
    let told = world.models[1]
        .theirs
        .iter()
        .find(|((kind, _), _)| *kind == 0)
        .unwrap();
    let ticks = u64::from(told.1.2.0);
    assert!(ticks.abs_diff(began) <= 2, "{ticks} instead of {began}");
}

#[test]
fn a_short_break_costs_nothing_but_what_was_missing() {
    let mut world = world(Faults::default(), 3, |c| c);
    world.connect();
    world.settle();
    for round in 0..20 {
        for _ in 0..100 {
            (0..20).for_each(|_| world.models[0].act(500));
            world.step(1);
        }
        world.disconnect();
        (0..300).for_each(|_| world.models[round % 2].act(500));
        world.steps(5, 100);
        world.connect();
    }
    world.settle();
    world.assert_equal();
    for i in 0..2 {
        assert_eq!(bulks(&world.models[i]), 1);
        assert_eq!(world.links[i].stats().resumes, 20);
    }
}

#[test]
fn a_long_break_ends_in_a_new_bulk() {
    let mut world = world(Faults::default(), 4, |c| c);
    world.connect();
    (0..1000).for_each(|_| world.models[0].act(500));
    world.settle();
    world.disconnect();
    world.steps(1300, 100);
    assert!(world.models[0].events.contains(&PeerEvent::Forgotten) && !world.models[0].listening);
    (0..1000).for_each(|_| world.models[0].act(500));
    world.connect();
    world.settle();
    world.assert_equal();
    assert_eq!(bulks(&world.models[0]), 2);
}

#[test]
fn a_restarted_peer_is_told_everything() {
    let mut world = world(Faults::default(), 5, |c| c);
    world.connect();
    (0..1000).for_each(|_| world.models.iter_mut().for_each(|m| m.act(500)));
    world.settle();
    world.disconnect();
    world.links[1] = Link::new(config(33));
    world.models[1] = Model::new(9);
    (0..1000).for_each(|_| world.models.iter_mut().for_each(|m| m.act(500)));
    world.connect();
    world.settle();
    world.assert_equal();
}

#[test]
fn a_peer_that_does_not_read_costs_bounded_memory_and_nothing_else() {
    let small = |c| LinkConfig {
        window_bytes: 100_000,
        pending_max: 1000,
        ..c
    };
    let mut world = world(Faults::default(), 6, small);
    world.connect();
    world.settle();
    world.stall(1, true);
    for _ in 0..500 {
        (0..200).for_each(|_| world.models[0].act(800));
        world.step(10);
    }
    let stats = world.links[0].stats();
    assert!(stats.collapsed > 300 && stats.lag_ms > 4000, "{stats:?}");
    assert!(stats.pending_peak <= 1001 && stats.window_peak <= 100_000);
    world.settle();
    world.assert_equal();
}

#[test]
fn a_chassis_without_room_stops_the_reading() {
    let small = |c| LinkConfig {
        window_bytes: 100_000,
        pending_max: 1000,
        ..c
    };
    let mut world = world(Faults::default(), 7, small);
    world.connect();
    world.settle();
    world.models[1].full = true;
    for _ in 0..20_000 {
        (0..2).for_each(|_| world.models[0].act(5000));
        world.step(10);
    }
    assert!(world.links[1].stats().install_waits > 0);
    assert_eq!(
        world.links[1].stats().lost,
        0,
        "it is not the peer that is silent"
    );
    world.settle();
    world.assert_equal();
    assert!(
        world.links[0].stats().bulk_sent.number > 1,
        "what was lost is told anew"
    );
}

#[test]
fn whatever_the_network_does_both_agree_in_the_end() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let faults = match seed % 4 {
            0 => Faults::default(),
            _ => Faults {
                loss: random.below(300),
                double: random.below(300),
                delay_ms: 1 + random.below(200),
            },
        };
        let limits = (
            70_000 + random.below(300_000) as usize,
            1 + random.below(3000) as usize,
        );
        let mut world = world(faults, seed, |c| LinkConfig {
            window_bytes: limits.0,
            pending_max: limits.1,
            batch_bytes: 512 + (limits.0 % 16_000),
            ..c
        });
        world
            .models
            .iter_mut()
            .for_each(|m| m.no_room = random.below(100));
        world.connect();
        for _ in 0..600 {
            let acts = random.below(60);
            for i in 0..2 {
                (0..acts).for_each(|_| world.models[i].act(1000));
            }
            match random.below(200) {
                0 => world.disconnect(),
                1..=3 if !world.connected => world.connect(),
                4 => world.stall(0, true),
                5 => world.stall(1, true),
                6..=9 => (0..2).for_each(|i| world.stall(i, false)),
                10 => drop(world.links[0].resync_to_peer(ObjectTypes::ALL)),
                11 => drop(world.links[1].resync_from_peer(ObjectTypes::ALL, world.now)),
                12 => (0..2).for_each(|i| world.links[i].set_digest([random.below(2) as u8; 32])),
                13 => world.models[0].full = true,
                14..=16 => world.models[0].full = false,
                _ => {}
            }
            let milliseconds = random.below(40);
            world.step(milliseconds);
        }
        (0..2).for_each(|i| world.links[i].set_digest([9; 32]));
        if !world.connected {
            world.connect();
        }
        world.settle();
        world.assert_equal();
        assert_eq!(world.links[0].stats().bulk_mismatches, 0, "seed {seed}");
    }
}

#[test]
fn a_bulk_is_asked_for_what_was_refused_but_not_too_often() {
    let mut world = world(Faults::default(), 5, |c| c);
    world.connect();
    world.settle();
    let bulks = |world: &World| world.links[0].stats().bulks_sent;
    let before = bulks(&world);
    for _ in 0..3 {
        world.models[1].outbox.push_back(Op::Refused);
        world.settle();
    }
    assert_eq!(bulks(&world), before + 1);
    assert_eq!(world.links[1].stats().bulks_sent, 1, "only the other way");
    for _ in 0..31 {
        world.step(1000);
    }
    world.models[1].outbox.push_back(Op::Refused);
    world.settle();
    assert_eq!(bulks(&world), before + 2);
    world.assert_equal();
}

#[test]
fn a_bulk_of_some_types_leaves_the_others_alone() {
    let mut world = world(Faults::default(), 5, |c| c);
    (0..2000).for_each(|_| world.models[0].act(2000));
    world.connect();
    world.settle();
    world.assert_equal();
    // What nobody told of: one object of each kind is too much there, and another one is missing.
    for kind in 0..4 {
        let of_kind = world.models[0].mine.keys().filter(|(k, _)| *k == kind);
        let missing = *of_kind.clone().next().expect("there are some of each kind");
        world.models[1].theirs.remove(&missing);
        let stale = world.models[1].theirs.values().next().copied().expect("some");
        world.models[1].theirs.insert((kind, 100_000), stale);
    }
    let differing = |world: &World| {
        let (mine, copy) = (&world.models[0].mine, world.models[1].copy());
        let names = mine.keys().chain(copy.keys());
        let mut kinds: Vec<u8> = names
            .filter(|name| mine.contains_key(name) != copy.contains_key(name))
            .map(|(kind, _)| *kind)
            .collect();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(differing(&world), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert!(world.links[0].resync_to_peer(ObjectTypes::MAPPINGS));
    world.settle();
    assert_eq!(differing(&world), [0, 0, 2, 2, 3, 3]);
    let progress = world.links[1].stats().bulk_received;
    assert_eq!(
        (progress.types, progress.objects.sessions),
        (ObjectTypes::MAPPINGS, 0)
    );
    assert!(world.links[1].resync_from_peer(ObjectTypes::BLOCKS, world.now));
    world.steps(150, 10);
    world.settle();
    assert_eq!(differing(&world), [0, 0]);
    // One that begins while another is under way takes its types along.
    world.links[0].resync_to_peer(ObjectTypes::MAPPINGS);
    world.step(0);
    world.links[0].resync_to_peer(ObjectTypes::SESSIONS);
    world.settle();
    world.assert_equal();
    let both = ObjectTypes::MAPPINGS.union(ObjectTypes::SESSIONS);
    assert_eq!(world.links[0].stats().bulk_sent.types, both);
    assert_eq!(world.links[0].stats().bulk_mismatches, 0);
}

#[test]
fn bulks_that_lose_again_and_again_rest_longer_and_longer() {
    let mut world = world(Faults::default(), 5, |c| c);
    world.connect();
    world.settle();
    let begun = |world: &World| bulks(&world.models[0]);
    let before = begun(&world);
    for _ in 0..600 {
        world.models[0].outbox.push_back(Op::Lost);
        world.step(100);
    }
    let stats = world.links[0].stats();
    // After 1, 2, 4, 8, 16 and 32 seconds each.
    assert!(
        (5..=7).contains(&(begun(&world) - before)),
        "{}",
        begun(&world) - before
    );
    assert!(stats.bulks_rested >= 5 && stats.bulk_wait_ms > 0, "{stats:?}");
    assert!(!world.links[0].state().is_active(), "the peer does not know all");
    // By hand it begins at once.
    let before = begun(&world);
    world.links[0].resync_to_peer(ObjectTypes::ALL);
    world.settle();
    assert_eq!(begun(&world), before + 1);
    assert_eq!(world.links[0].stats().bulk_wait_ms, 0);
    world.assert_equal();
}

#[test]
fn no_bulk_begins_before_a_renewal_that_comes_later() {
    let mut world = world(Faults::default(), 5, |c| c);
    world.connect();
    world.settle();
    assert!(world.links[0].state().is_active());
    let before = bulks(&world.models[0]);
    world.models[0].renewal = Renewal::Later;
    world.step(1);
    assert!(!world.links[0].state().is_active(), "the peer does not know all");
    // What is lost meanwhile rests once, and not longer each time.
    for turn in 0..100 {
        world.models[0].outbox.push_back(Op::Lost);
        if turn == 50 {
            world.links[0].resync_to_peer(ObjectTypes::ALL);
        }
        world.step(100);
    }
    assert_eq!(bulks(&world.models[0]), before, "nor by hand");
    let stats = world.links[0].stats();
    assert_eq!((stats.bulks_rested, stats.bulk_wait_ms), (1, 0), "{stats:?}");
    assert!(!world.links[0].state().is_active());
    world.models[0].renewal = Renewal::Now;
    world.settle();
    assert_eq!(bulks(&world.models[0]), before + 1);
    assert!(world.links[0].state().is_active());
    world.assert_equal();
}

#[test]
fn a_peer_that_reads_nothing_is_not_asked_without_end() {
    let mut world = world(Faults::default(), 5, |c| LinkConfig {
        window_bytes: 1 << 16,
        pending_max: 100,
        ..c
    });
    world.connect();
    world.settle();
    world.by_hand = 1024;
    world.stall(0, true);
    let mut taken = 0u64;
    for n in 0..20_000 {
        taken += u64::from(world.links[0].request_release(1, world.now));
        world.links[0].resync_from_peer(ObjectTypes::ALL, world.now);
        world.links[0].resync_to_peer(ObjectTypes::SESSIONS);
        if n % 100 == 0 {
            world.step(1);
        }
    }
    assert!(taken < 20_000, "it says so");
    world.settle();
    world.assert_equal();
}

#[test]
fn nothing_is_replicated_while_the_configurations_differ() {
    let mut world = world(Faults::default(), 8, |c| c);
    world.links[1].set_digest([8; 32]);
    (0..500).for_each(|_| world.models.iter_mut().for_each(|m| m.act(500)));
    world.links[0].announce_roles(&[SetRole {
        set: 3,
        primary: true,
        epoch: 5,
    }]);
    world.connect();
    world.steps(50, 10);
    assert!(matches!(
        world.links[0].state(),
        LinkState::Suspended(Mismatch::Digest { .. })
    ));
    assert!(world.models.iter().all(|m| m.theirs.is_empty() && !m.listening));
    assert_eq!(world.links[1].peer_roles()[0].set, 3);
    // Sets are handed over all the same.
    assert!(world.links[1].request_release(3, world.now));
    world.steps(3, 10);
    assert!(
        world.models[0]
            .events
            .contains(&PeerEvent::ReleaseAsked { set: 3 })
    );
    assert!(world.links[0].released(3, 6, world.now));
    world.steps(3, 10);
    assert!(
        world.models[1]
            .events
            .contains(&PeerEvent::Released { set: 3, epoch: 6 })
    );
    assert!(
        !world.links[0].resync_to_peer(ObjectTypes::ALL)
            && !world.links[0].resync_from_peer(ObjectTypes::ALL, world.now)
    );
    // Either end may change.
    world.links[0].set_digest([8; 32]);
    world.settle();
    world.assert_equal();
    // And back, in the midst of it.
    (0..500).for_each(|_| world.models[0].act(500));
    world.links[1].set_digest([1; 32]);
    world.steps(50, 10);
    assert!(
        world
            .links
            .iter()
            .all(|l| matches!(l.state(), LinkState::Suspended(_)))
    );
    assert!(world.models.iter().all(|m| !m.listening));
    world.links[0].set_digest([1; 32]);
    world.settle();
    world.assert_equal();
}

#[test]
fn a_set_is_released_after_everything_was_told() {
    let mut world = world(Faults::default(), 9, |c| c);
    world.connect();
    (0..500).for_each(|_| world.models[0].act(500));
    world.settle();
    (0..500).for_each(|_| world.models[0].act(500));
    assert!(world.links[1].request_release(7, world.now));
    world.steps(3, 10);
    assert!(
        world.models[0]
            .events
            .contains(&PeerEvent::ReleaseAsked { set: 7 })
    );
    (0..500).for_each(|_| world.models[0].act(500));
    world.step(1);
    world.links[0].released(7, 12, world.now);
    for _ in 0..10 {
        world.step(1);
        if world.models[1]
            .events
            .contains(&PeerEvent::Released { set: 7, epoch: 12 })
        {
            world.assert_equal();
            return;
        }
    }
    panic!("never released");
}

#[test]
fn a_lease_counts_when_its_last_offer_is_acknowledged() {
    let mut world = world(Faults::default(), 10, |c| c);
    world.connect();
    world.settle();
    let lease = |extent| Lease { public: 5, extent };
    world.models[0].offers.extend([
        LeaseChange::Offer(lease(1)),
        LeaseChange::Offer(lease(2)),
        LeaseChange::Withdraw(lease(1)),
    ]);
    world.settle();
    assert_eq!(world.models[0].leases, [lease(2)].into());
    assert_eq!(world.models[1].told, [lease(2)].into());
    world.models[0].offers.push_back(LeaseChange::Offer(lease(1)));
    world.settle();
    assert_eq!(world.models[0].leases, world.models[1].told);
}

#[test]
fn a_lease_overtakes_what_waits_beside_a_full_window() {
    let small = |c| LinkConfig {
        window_bytes: 100_000,
        pending_max: 100_000,
        ..c
    };
    let mut world = world(Faults::default(), 13, small);
    world.connect();
    world.settle();
    world.stall(1, true);
    while world.links[0].stats().pending < 20_000 {
        (0..2000).for_each(|_| world.models[0].act(50_000));
        world.step(10);
    }
    let lease = Lease { public: 5, extent: 1 };
    world.models[0].offers.push_back(LeaseChange::Offer(lease));
    world.step(10);
    world.stall(1, false);
    while world.models[0].leases.is_empty() {
        world.step(1);
    }
    let left = world.links[0].stats().pending;
    assert!(left > 10_000, "{left} operations left behind it");
    assert_eq!(world.models[1].told, [lease].into());
    world.settle();
    world.assert_equal();
}

#[test]
fn a_mark_comes_back_when_all_before_it_is_acknowledged_and_costs_nothing() {
    let small = |c| LinkConfig {
        window_bytes: 100_000,
        pending_max: 1000,
        ..c
    };
    let mut world = world(Faults::default(), 11, small);
    let mark = |worker, at| Mark {
        worker,
        at: Ticks(at),
    };
    world.connect();
    world.settle();
    let sent = world.links[0].stats().sequence_sent;
    // With nothing under way there is nothing to wait for, nor to say.
    world.models[0].outbox.push_back(Op::Mark(mark(0, 1)));
    world.step(10);
    assert_eq!(std::mem::take(&mut world.models[0].marks), [mark(0, 1)]);
    assert_eq!(world.links[0].stats().sequence_sent, sent);
    // The peer takes nothing: marks wait, in the window as beside it.
    world.models[1].full = true;
    let mut then = std::collections::BTreeMap::new();
    for n in 2..200 {
        (0..20).for_each(|_| world.models[0].act(5000));
        world.models[0].outbox.push_back(Op::Mark(mark(0, n)));
        world.models[0].outbox.push_back(Op::Mark(mark(1, n)));
        then.insert(n, world.models[0].mine.clone());
        world.step(10);
    }
    assert!(world.links[0].stats().pending > 0, "the window is full");
    assert_eq!(world.models[0].marks, []);
    world.models[1].full = false;
    // Whenever one comes back, the peer has what was put out before.
    let mut last = [0; 2];
    while last != [199; 2] {
        world.step(10);
        for Mark { worker, at } in std::mem::take(&mut world.models[0].marks) {
            let last = &mut last[usize::from(worker)];
            assert!(at.0 > *last, "in order");
            *last = at.0;
            let (mine, theirs) = (&world.models[0].mine, world.models[1].copy());
            for (name, value) in then[&at.0]
                .iter()
                .filter(|(name, value)| mine.get(name) == Some(value))
            {
                assert_eq!(theirs.get(name), Some(value), "{name:?} at mark {at:?}");
            }
        }
        assert!(world.now < 100_000, "marks came back up to {last:?}");
    }
    world.settle();
    world.assert_equal();
}

#[test]
fn marks_of_a_stream_that_ended_do_not_come_back() {
    let mut world = world(Faults::default(), 12, |c| LinkConfig { resume_ms: 0, ..c });
    world.connect();
    world.settle();
    world.models[1].full = true;
    (0..500).for_each(|_| world.models[0].act(500));
    world.models[0].outbox.push_back(Op::Mark(Mark {
        worker: 0,
        at: Ticks(5),
    }));
    world.step(10);
    world.disconnect();
    world.step(10);
    world.connect();
    world.settle();
    world.assert_equal();
    assert_eq!(world.models[0].marks, []);
}

#[test]
fn roles_are_heard_and_an_older_word_does_not_count() {
    let mut world = world(Faults::default(), 11, |c| c);
    let role = |primary, epoch| SetRole {
        set: 1,
        primary,
        epoch,
    };
    world.links[0].announce_roles(&[role(true, 4)]);
    world.connect();
    world.settle();
    assert_eq!(world.links[1].peer_roles(), [role(true, 4)]);
    world.links[0].announce_roles(&[role(false, 5)]);
    world.settle();
    assert!(
        world.models[1]
            .events
            .contains(&PeerEvent::Roles(vec![role(false, 5)]))
    );
    world.links[0].announce_roles(&[role(true, 4)]);
    world.settle();
    assert_eq!(world.links[1].peer_roles(), [role(false, 5)]);
}

#[test]
fn a_silent_peer_is_lost_after_sixteen_keepalives() {
    let mut world = world(Faults::default(), 12, |c| c);
    world.connect();
    world.settle();
    // Keepalives alone hold it.
    world.steps(100, 1000);
    assert!(world.links[0].state().is_active());
    world.stall(0, true);
    world.steps(63, 1000);
    assert!(world.links[0].state().is_active());
    let timer = world.links[0].next_timer().unwrap();
    assert!(timer <= world.now + 4000);
    world.steps(4, 1000);
    assert_eq!(*world.links[0].state(), LinkState::Lost);
    assert!(world.links[0].state().wants_close());
    assert!(world.models[0].events.contains(&PeerEvent::Disconnected));
}

#[test]
fn who_cannot_be_a_peer_is_refused_and_it_says_why() {
    let meet = |first: LinkConfig, second: LinkConfig| {
        let (mut a, mut b) = (Link::new(first), Link::new(second));
        let (mut chassis, mut other) = (Model::new(1), Model::new(2));
        let mut out = Vec::new();
        b.connected(0);
        b.poll(0, &mut other, &mut out);
        a.connected(0);
        let refused = a.received(0, &out, &mut chassis).unwrap_err();
        assert!(a.state().wants_close() && a.received(0, &out, &mut chassis).is_err());
        assert!(
            matches!(chassis.events[..], [PeerEvent::Refused(_)]),
            "{:?}",
            chassis.events
        );
        match a.state() {
            LinkState::Refused(refusal) => (*refusal, refused.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let other = LinkConfig {
        shards: 8,
        ..config(2)
    };
    let (refusal, said) = meet(config(1), other);
    assert_eq!(refusal, Refusal::Shards { ours: 4, theirs: 8 });
    assert!(said.contains('4') && said.contains('8'), "{said}");
    assert_eq!(meet(config(1), config(1)).0, Refusal::Myself);

    let mut link = Link::new(config(1));
    let mut chassis = Model::new(1);
    link.connected(0);
    let said = link
        .received(0, b"TdHA\x00\x09", &mut chassis)
        .unwrap_err()
        .to_string();
    assert!(said.contains("version 9") && said.contains("chassis 1"), "{said}");
    link.connected(0);
    assert!(link.received(0, b"GET / HTTP/1.1", &mut chassis).is_err());
}

#[test]
fn a_refused_release_is_heard_and_asked_again_after_a_new_stream() {
    let mut world = world(Faults::default(), 13, |c| c);
    assert!(!world.links[1].request_release(1, world.now), "nobody to ask");
    world.connect();
    world.settle();
    world.stall(0, true);
    assert!(world.links[1].request_release(1, world.now));
    world.step(1);
    // Both commit: a new stream each, and what was asked is not forgotten.
    (0..2).for_each(|i| world.links[i].set_digest([3; 32]));
    world.step(1);
    world.settle();
    let asked = |e: &&PeerEvent| **e == PeerEvent::ReleaseAsked { set: 1 };
    assert!(world.models[0].events.iter().filter(asked).count() >= 1);
    assert!(world.links[0].refuse_release(1, world.now));
    world.settle();
    assert!(
        world.models[1]
            .events
            .contains(&PeerEvent::ReleaseRefused { set: 1 })
    );
}

#[test]
fn a_link_says_hello_and_then_waits() {
    let (mut link, mut chassis) = (Link::new(config(5)), Model::new(5));
    let mut out = Vec::new();
    link.poll(0, &mut chassis, &mut out);
    assert!(
        out.is_empty() && link.next_timer().is_none(),
        "no stream, nothing to keep"
    );
    link.connected(0);
    link.poll(0, &mut chassis, &mut out);
    assert_eq!(common::net::frames(&out).len(), 1, "a hello");
    out.clear();
    link.poll(1, &mut chassis, &mut out);
    assert!(out.is_empty());
    assert!(link.next_timer().is_some_and(|at| at <= 64_000));
    assert!(matches!(link.received(1, &[], &mut chassis), Ok(0)));
}
