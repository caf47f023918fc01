//! Paths, what is measured on them, and what they do to datagrams.

use ha_sync::heartbeat::{HeartbeatEvent, LostWhy, PathId, PeerLife, SetState};

use crate::world::{Fate, ONE, TWO, WALL_AHEAD_US, World, cut, set, through, timing};

use HeartbeatEvent::{Lost, PathDown, PathUp, Refused, Sets};

/// Cuts some of the paths.
fn without(paths: &'static [PathId]) -> Fate {
    Box::new(|_, datagram| {
        if paths.contains(&datagram.path) {
            vec![]
        } else {
            vec![0]
        }
    })
}

fn delayed(ms: u64) -> Fate {
    Box::new(move |_, _| vec![ms])
}

#[test]
fn the_peer_lives_while_one_path_is_up() {
    let all = PathId::ALL;
    let mut world = World::new([timing(200, 3); 2], &all);
    world.run(1001);
    assert!(
        world
            .status(ONE)
            .paths
            .iter()
            .all(|path| path.up && path.heard_by_peer)
    );
    let _before = world.told(ONE);
    world.fates[TWO] = without(&[PathId::Control, PathId::Data]);
    world.run(1000);
    assert_eq!(
        world.told(ONE),
        [PathDown(PathId::Control), PathDown(PathId::Data)]
    );
    world.fates[TWO] = without(&[PathId::Control, PathId::Data, PathId::Secondary1]);
    world.run(1000);
    assert_eq!(world.told(ONE), [PathDown(PathId::Secondary1)]);
    assert_eq!(world.life(ONE), PeerLife::Alive);
    world.fates[TWO] = cut();
    world.run(1000);
    let why = LostWhy::Silent;
    assert_eq!(world.told(ONE), [PathDown(PathId::Secondary2), Lost { why }]);
    world.fates[TWO] = without(&[PathId::Control]);
    world.run(201);
    let ups = world
        .told(ONE)
        .into_iter()
        .filter(|event| matches!(event, PathUp(_)));
    assert_eq!(ups.count(), 3);
}

#[test]
fn a_path_counts_only_what_was_sent_on_it() {
    let mut world = World::new([timing(200, 3); 2], &[PathId::Control, PathId::Data]);
    // Cabled crosswise.
    let crossed = |datagram: &ha_sync::heartbeat::Datagram| ha_sync::heartbeat::Datagram {
        path: if datagram.path == PathId::Control {
            PathId::Data
        } else {
            PathId::Control
        },
        octets: datagram.octets.clone(),
    };
    world.fates = [cut(), cut()];
    for _ in 0..20 {
        world.run(100);
        for end in [ONE, TWO] {
            for datagram in std::mem::take(&mut world.recorded[end]) {
                world.throw(1 - end, &crossed(&datagram), 0);
            }
        }
    }
    assert_eq!(world.told(ONE), []);
    assert!(
        world
            .status(ONE)
            .paths
            .iter()
            .all(|path| path.counters.wrong_path >= 5)
    );
}

#[test]
fn round_trip_and_clocks_are_measured() {
    let mut world = World::plain();
    world.fates = [delayed(2), delayed(4)];
    world.run(10_000);
    for (end, sign) in [(ONE, 1), (TWO, -1)] {
        let status = world.status(end);
        assert_eq!(status.paths[0].rtt_us, Some(6000));
        let ahead = status.peer.clock_ahead_us.expect("measured");
        // Half of the difference between the two ways is what cannot be known.
        assert!((ahead - sign * WALL_AHEAD_US).abs() <= 1000, "{ahead}");
    }
}

#[test]
fn what_was_overtaken_or_doubled_is_counted_and_is_no_sign_of_life() {
    let mut world = World::plain();
    world.run(1000);
    let before = world.status(ONE).paths[0].counters;
    // Every second beat arrives twice, every other one after the next.
    let mut number = 0;
    world.fates[TWO] = Box::new(move |_, _| {
        number += 1;
        if number % 2 == 0 { vec![0, 1] } else { vec![250] }
    });
    world.run(4000);
    let after = world.status(ONE).paths[0].counters;
    assert_eq!(world.lost_at(ONE), None);
    let doubled = after.replayed - before.replayed;
    assert_eq!(after.received - before.received, doubled);
    assert!(
        doubled >= 11 && (doubled - 1..=doubled).contains(&(after.late - before.late)),
        "{after:?}"
    );
    // Late and doubled ones alone keep nobody alive: the last one that was said counts once, whenever it comes.
    let late = world.recorded[TWO].last().cloned().expect("sent");
    world.ends[TWO] = None;
    let dead_ms = world.now_ms;
    (1..50).for_each(|n| world.throw(ONE, &late, n * 40));
    world.run(2000);
    let lost_ms = world.lost_at(ONE).expect("lost");
    assert!(lost_ms <= dead_ms + 40 + 600, "{lost_ms} {dead_ms}");
}

#[test]
fn sets_are_told_at_once_and_the_slower_path_takes_nothing_back() {
    let mut world = World::new([timing(200, 3); 2], &[PathId::Control, PathId::Data]);
    world.fates[TWO] = Box::new(|_, datagram| vec![if datagram.path == PathId::Data { 150 } else { 0 }]);
    let mine = |state, epoch| vec![set(3, state, epoch), set(7, SetState::Wait, 1)];
    world.end(TWO).tell(&mine(SetState::Standby, 1));
    world.run(1150);
    let _before = world.told(ONE);
    assert_eq!(world.status(ONE).peer.sets, mine(SetState::Standby, 1));
    for epoch in 2..20 {
        let state = if epoch % 2 == 0 {
            SetState::Primary
        } else {
            SetState::Standby
        };
        world.end(TWO).tell(&mine(state, epoch));
        world.run(37);
        assert_eq!(world.told(ONE), [Sets(mine(state, epoch))]);
    }
    world.run(2000);
    assert_eq!(world.told(ONE), []);
}

#[test]
fn of_too_many_sets_and_of_doubled_ones_the_first_are_told() {
    let mut world = World::plain();
    let mut sets: Vec<_> = (1..=40).rev().map(|n| set(n, SetState::Standby, 0)).collect();
    sets.push(set(5, SetState::Primary, 9));
    world.end(TWO).tell(&sets);
    world.run(10);
    let heard: Vec<u8> = world.status(ONE).peer.sets.iter().map(|set| set.set).collect();
    assert_eq!(heard, (1..=16).collect::<Vec<u8>>());
}

#[test]
fn a_refusal_is_told_once_until_something_is_heard_or_asked() {
    let mut world = World::plain();
    world.run(1000);
    let mut events = vec![];
    let mut refuse = |world: &mut World| {
        events.clear();
        world.end(ONE).refused(PathId::Control, &mut events);
        events.clone()
    };
    assert_eq!(refuse(&mut world), [Refused(PathId::Control)]);
    assert_eq!(refuse(&mut world), []);
    let sent = world.recorded[ONE].len();
    world.end(ONE).probe();
    world.run(1);
    assert_eq!(world.recorded[ONE].len(), sent + 1);
    assert_eq!(refuse(&mut world), [Refused(PathId::Control)]);
    world.run(200);
    assert!(!world.status(ONE).paths[0].refused);
    assert_eq!(refuse(&mut world), [Refused(PathId::Control)]);
    assert_eq!(world.status(ONE).paths[0].counters.refused, 4);
    // Whoever took it for the peer's end hears that it lives, though nothing of its sets is new.
    world.told(ONE);
    world.run(200);
    assert_eq!(world.told(ONE), [Sets(vec![])]);
    world.run(400);
    assert_eq!(world.told(ONE), [], "once");
}

/// Paths that lose, delay and double as they like, ends that restart: nobody believes in what is not there, and in the end all is well.
#[test]
fn whatever_paths_do_both_find_each_other_again() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new([timing(10, 3), timing(20, 4)], &[PathId::Control, PathId::Data]);
        let mut lives = [1u64; 2];
        for _ in 0..20 {
            for fate in &mut world.fates {
                let mut dice = random.fork();
                let (loss, delay_ms) = (dice.u32(0..=100), dice.u64(1..120));
                *fate = Box::new(move |_, _| {
                    let copies = usize::from(dice.u32(0..100) >= loss) + usize::from(dice.u32(0..10) == 0);
                    (0..copies).map(|_| dice.u64(0..delay_ms)).collect()
                });
            }
            world.run(random.u64(1..400));
            if random.u32(0..4) == 0 {
                let end = random.usize(0..2);
                lives[end] += 1;
                let incarnation = (0x1000 << end) + lives[end];
                world.start(end, incarnation, timing(10, 3));
            }
        }
        world.fates = [through(), through()];
        // As long as something of a former life is fresh, and a little.
        world.run(1500);
        for end in [ONE, TWO] {
            let (peer, theirs) = (world.status(end).peer, world.status(1 - end).incarnation);
            assert_eq!(
                (peer.life, peer.incarnation),
                (PeerLife::Alive, Some(theirs)),
                "seed {seed}"
            );
        }
    }
}
