//! Somebody who has recorded what was said, and says it again.

use ha_sync::heartbeat::{Datagram, HeartbeatEvent, PathId, PeerLife};

use crate::world::{ONE, TWO, World, cut, through, timing};

/// Says everything again and again, one datagram a millisecond.
fn replay(world: &mut World, recording: &[Datagram], ms: u64) {
    for datagram in recording.iter().cycle().take(usize::try_from(ms).expect("fits")) {
        world.throw(ONE, datagram, 0);
        world.step();
    }
}

fn alive(events: &[HeartbeatEvent]) -> usize {
    let is_alive = |event: &&HeartbeatEvent| matches!(event, HeartbeatEvent::Alive { .. });
    events.iter().filter(is_alive).count()
}

#[test]
fn a_recording_does_not_keep_a_dead_peer_alive() {
    let mut world = World::plain();
    world.run(5001);
    let recording = world.recorded[TWO].clone();
    world.ends[TWO] = None;
    let heard_ms = world.status(ONE).paths[0].heard_us.expect("heard") / 1000;
    let _before = world.told(ONE);
    world.events[ONE].clear();
    replay(&mut world, &recording, 20_000);
    assert_eq!(world.lost_at(ONE), Some(heard_ms + 600));
    assert_eq!((world.life(ONE), alive(&world.told(ONE))), (PeerLife::Lost, 0));
    assert!(world.status(ONE).paths[0].counters.replayed > 1000);
}

#[test]
fn a_recording_is_nothing_to_another_life_of_ours() {
    let mut world = World::plain();
    world.run(5000);
    let recording = world.recorded[TWO].clone();
    world.ends[TWO] = None;
    world.start(ONE, 0x1002, timing(200, 3));
    world.events[ONE].clear();
    replay(&mut world, &recording, 20_000);
    assert_eq!((world.told(ONE), world.life(ONE)), (vec![], PeerLife::Unheard));
    assert!(world.status(ONE).paths[0].counters.foreign > 1000);
}

/// More lives than are remembered, all of which knew this life of ours.
#[test]
fn no_former_life_comes_back_from_a_recording() {
    let mut world = World::plain();
    for life in 1..=20 {
        world.start(TWO, 0x2000 + life, timing(200, 3));
        world.run(600);
        assert_eq!(world.status(ONE).peer.incarnation, Some(0x2000 + life));
    }
    let recording = world.recorded[TWO].clone();
    world.ends[TWO] = None;
    world.run(1000);
    let _before = world.told(ONE);
    replay(&mut world, &recording, 5000);
    assert_eq!((alive(&world.told(ONE)), world.life(ONE)), (0, PeerLife::Lost));
}

/// Lives that end within less time than what they say is fresh for.
#[test]
fn the_last_lives_do_not_come_back_at_once() {
    let mut world = World::plain();
    for life in 1..=5 {
        world.start(TWO, 0x2000 + life, timing(200, 3));
        world.run(20);
        assert_eq!(world.status(ONE).peer.incarnation, Some(0x2000 + life));
    }
    let recording = world.recorded[TWO].clone();
    world.ends[TWO] = None;
    let _before = world.told(ONE);
    replay(&mut world, &recording, 2000);
    assert_eq!((alive(&world.told(ONE)), world.life(ONE)), (0, PeerLife::Lost));
}

/// What was kept from us while a path was cut has numbers that we have not heard.
#[test]
fn what_was_withheld_brings_no_dead_peer_back() {
    let mut world = World::plain();
    world.run(1000);
    world.fates = [cut(), cut()];
    let heard = world.recorded[TWO].len();
    world.run(60_000);
    let recording = world.recorded[TWO].split_off(heard);
    world.ends[TWO] = None;
    let _before = world.told(ONE);
    replay(&mut world, &recording, 2000);
    assert_eq!((world.told(ONE), world.life(ONE)), (vec![], PeerLife::Lost));
}

#[test]
fn a_recording_does_not_disturb_the_living() {
    let mut world = World::plain();
    world.run(1000);
    let recording = world.recorded[TWO].clone();
    world.start(TWO, 0x2002, timing(200, 3));
    world.run(1000);
    world.events[ONE].clear();
    replay(&mut world, &recording, 5000);
    assert_eq!(world.told(ONE), []);
    assert_eq!(world.status(ONE).peer.incarnation, Some(0x2002));
    // Nor does what this chassis said itself, or what it said on another path.
    let own = world.recorded[ONE].clone();
    replay(&mut world, &own, 1000);
    let counters = world.status(ONE).paths[0].counters;
    assert_eq!((world.told(ONE), counters.bad_mac), (vec![], 1000));
}

#[test]
fn a_recording_of_one_path_does_not_keep_up_another() {
    let mut world = World::new([timing(200, 3); 2], &[PathId::Control, PathId::Data]);
    world.run(1000);
    world.fates[TWO] = Box::new(|_, datagram| {
        if datagram.path == PathId::Data {
            vec![]
        } else {
            vec![0]
        }
    });
    world.events[ONE].clear();
    for _ in 0..2000 {
        let last = world.recorded[TWO]
            .iter()
            .rfind(|d| d.path == PathId::Control)
            .cloned();
        let octets = last.expect("sent").octets;
        let path = PathId::Data;
        world.throw(ONE, &Datagram { path, octets }, 0);
        world.step();
    }
    assert_eq!(world.told(ONE), [HeartbeatEvent::PathDown(PathId::Data)]);
    world.fates[TWO] = through();
    world.run(201);
    assert_eq!(world.told(ONE), [HeartbeatEvent::PathUp(PathId::Data)]);
}
