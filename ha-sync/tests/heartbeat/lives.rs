//! What begins the peer's life and what ends it.

use ha_sync::heartbeat::{Beat, Datagram, HeartbeatEvent, Kind, LostWhy, PathId, PeerLife, SetState};

use crate::world::{ONE, TWO, World, codecs, cut, set, through, timing};

use HeartbeatEvent::{Alive, Gone, Leaving, Lost, PathDown, PathUp, Sets};

#[test]
fn two_that_hear_each_other_know_it_without_waiting_for_an_interval() {
    let mut world = World::new([timing(10_000, 3); 2], &[PathId::Control]);
    world.run(3);
    for (end, incarnation) in [(ONE, 0x2001), (TWO, 0x1001)] {
        let told = world.told(end);
        assert_eq!(
            told,
            [Alive { incarnation }, PathUp(PathId::Control), Sets(vec![])]
        );
        assert_eq!(world.status(end).peer.incarnation, Some(incarnation));
    }
    // And then nothing until the interval is over.
    let sent = world.recorded[ONE].len();
    world.run(8_740);
    assert_eq!(world.recorded[ONE].len(), sent);
    world.run(10);
    assert_eq!(world.recorded[ONE].len(), sent + 1);
}

#[test]
fn beats_go_out_at_the_interval() {
    let mut world = World::plain();
    world.run(1000);
    let sent = world.recorded[ONE].len();
    // An eighth earlier than stated.
    world.run(175 * 40);
    assert_eq!(world.recorded[ONE].len(), sent + 40);
    assert_eq!(world.events[ONE].len(), 3, "{:?}", world.events[ONE]);
}

#[test]
fn the_threshold_is_exact() {
    // The default, and the shortest there is.
    for (interval_ms, lost_ms) in [(200, 600), (10, 30)] {
        let mut world = World::new([timing(interval_ms, 3); 2], &[PathId::Control]);
        world.run(1000);
        world.ends[TWO] = None;
        let heard_us = world.status(ONE).paths[0].heard_us.expect("heard");
        world.run(heard_us / 1000 + lost_ms - 1 - 1000);
        assert_eq!(world.life(ONE), PeerLife::Alive);
        assert!(world.end(ONE).next_timer() <= heard_us + lost_ms * 1000);
        let _before = world.told(ONE);
        world.step();
        assert_eq!(world.now(ONE).mono_us, heard_us + lost_ms * 1000);
        let why = LostWhy::Silent;
        assert_eq!(world.told(ONE), [PathDown(PathId::Control), Lost { why }]);
        assert_eq!(world.life(ONE), PeerLife::Lost);
    }
}

#[test]
fn the_longer_of_both_timings_decides_and_is_shown() {
    for timings in [[timing(10, 3), timing(200, 3)], [timing(200, 3), timing(10, 3)]] {
        let mut world = World::new(timings, &[PathId::Control]);
        assert_eq!(world.status(ONE).deciding, timings[ONE]);
        world.run(1001);
        assert_eq!(world.status(ONE).deciding, timing(200, 3));
        assert_eq!(world.status(ONE).peer.timing, Some(timings[TWO]));
        assert_eq!(world.lost_at(ONE), None);
        world.ends[TWO] = None;
        world.run(1000);
        let heard_ms = world.status(ONE).paths[0].heard_us.expect("heard") / 1000;
        assert_eq!(world.lost_at(ONE), Some(heard_ms + 600));
    }
}

#[test]
fn two_lost_beats_are_nothing_three_are_the_end() {
    for (lost, ends) in [(2, false), (3, true)] {
        let mut world = World::plain();
        world.run(1000);
        world.fates[TWO] = cut();
        world.run(lost * 175);
        world.fates[TWO] = through();
        world.run(1000);
        assert_eq!(world.lost_at(ONE).is_some(), ends, "{lost}");
        assert_eq!(world.life(ONE), PeerLife::Alive);
    }
}

#[test]
fn one_way_the_deaf_one_loses_the_other_which_sees_that_it_is_not_heard() {
    let mut world = World::plain();
    world.end(TWO).tell(&[set(1, SetState::Standby, 1)]);
    world.run(1000);
    world.fates[ONE] = cut();
    world.run(2000);
    assert_eq!(
        (world.life(ONE), world.life(TWO)),
        (PeerLife::Alive, PeerLife::Lost)
    );
    assert!(!world.status(ONE).paths[0].heard_by_peer);
    let _before = world.told(ONE);
    // What the deaf one does then is heard.
    let taken_over = [set(1, SetState::Primary, 2)];
    world.end(TWO).tell(&taken_over);
    world.run(1);
    assert_eq!(world.told(ONE), [Sets(taken_over.to_vec())]);
    world.fates[ONE] = through();
    world.run(201);
    assert_eq!(world.life(TWO), PeerLife::Alive);
    world.run(200);
    assert!(world.status(ONE).paths[0].heard_by_peer);
}

#[test]
fn a_cut_that_heals_brings_the_same_life_back() {
    let mut world = World::plain();
    world.run(1000);
    (world.fates[ONE], world.fates[TWO]) = (cut(), cut());
    world.run(60_000);
    assert_eq!(
        (world.life(ONE), world.life(TWO)),
        (PeerLife::Lost, PeerLife::Lost)
    );
    let _before = world.told(ONE);
    (world.fates[ONE], world.fates[TWO]) = (through(), through());
    world.run(201);
    let incarnation = 0x2001;
    assert_eq!(
        world.told(ONE),
        [Alive { incarnation }, PathUp(PathId::Control), Sets(vec![])]
    );
    assert_eq!(world.life(TWO), PeerLife::Alive);
}

#[test]
fn a_restarted_peer_is_another_life_at_once() {
    let mut world = World::plain();
    world.run(1000);
    let _before = world.told(ONE);
    world.start(TWO, 0x2002, timing(200, 3));
    world.run(2);
    let (why, incarnation) = (LostWhy::Restarted, 0x2002);
    let control = PathId::Control;
    assert_eq!(
        world.told(ONE),
        [
            PathDown(control),
            Lost { why },
            Alive { incarnation },
            PathUp(control),
            Sets(vec![])
        ]
    );
    assert_eq!(world.life(TWO), PeerLife::Alive);
    // The former life's last word comes late, and is nothing.
    let word = last_word(Kind::Gone, 0x2001);
    world.throw(ONE, &word, 0);
    world.run(1000);
    assert_eq!(world.told(ONE), []);
    assert_eq!(world.status(ONE).paths[0].counters.ended, 1);
}

fn last_word(kind: Kind, incarnation: u64) -> Datagram {
    let beat = Beat {
        kind,
        path: PathId::Control,
        incarnation,
        echo_incarnation: 0,
        sequence: if kind == Kind::Gone { 0 } else { 1 },
        sent_us: 1,
        echoed_us: 0,
        held_us: 0,
        wall_us: 0,
        timing: timing(200, 3),
        sets: vec![],
    };
    Datagram {
        path: PathId::Control,
        octets: codecs().1.encode(&beat),
    }
}

#[test]
fn a_last_word_ends_the_life_at_once() {
    for (kind, event, life) in [
        (Kind::Gone, Gone, PeerLife::Gone),
        (Kind::Leaving, Leaving, PeerLife::Leaving),
    ] {
        let mut world = World::plain();
        world.run(1000);
        let _before = world.told(ONE);
        // Of another life: nothing.
        world.throw(ONE, &last_word(kind, 0x2000), 0);
        world.run(1);
        assert_eq!(world.told(ONE), []);
        assert_eq!(world.status(ONE).paths[0].counters.foreign, 1 + starting(&world));
        for _ in 0..3 {
            world.throw(ONE, &last_word(kind, 0x2001), 0);
        }
        // Beats that are still on their way do not bring it back.
        world.fates[TWO] = Box::new(|_, _| vec![0, 900]);
        world.run(1);
        assert_eq!(world.told(ONE), [PathDown(PathId::Control), event]);
        world.run(200);
        world.ends[TWO] = None;
        world.run(2000);
        assert_eq!((world.told(ONE), world.life(ONE)), (vec![], life));
        assert!(world.status(ONE).paths[0].counters.ended >= 2);
        world.fates[TWO] = through();
        // Another life does.
        world.start(TWO, 0x2002, timing(200, 3));
        world.run(3);
        assert_eq!(world.life(ONE), PeerLife::Alive);
    }
}

/// Beats of the start that did not know the other end yet: counted as foreign.
fn starting(world: &World) -> u64 {
    let mut same = World::plain();
    same.run(world.now_ms.min(100));
    same.status(ONE).paths[0].counters.foreign
}

#[test]
fn a_life_that_was_lost_may_still_be_said_to_be_gone() {
    let mut world = World::plain();
    world.run(1000);
    world.ends[TWO] = None;
    world.run(1000);
    assert_eq!(world.life(ONE), PeerLife::Lost);
    let _before = world.told(ONE);
    world.throw(ONE, &last_word(Kind::Gone, 0x2001), 0);
    world.run(1);
    assert_eq!(world.told(ONE), [Gone]);
}

#[test]
fn a_clean_stop_is_heard_at_once() {
    let mut world = World::plain();
    world.run(1000);
    let _before = world.told(ONE);
    let (now, mut out) = (world.now(TWO), vec![]);
    world.end(TWO).leave(now, &mut out);
    world.ends[TWO] = None;
    out.iter().for_each(|datagram| world.throw(ONE, datagram, 0));
    world.run(1);
    assert_eq!(world.told(ONE), [PathDown(PathId::Control), Leaving]);
}

/// As when a guard errs.
#[test]
fn a_life_that_was_wrongly_said_to_be_gone_proves_itself_again() {
    let mut world = World::plain();
    world.run(1000);
    world.throw(ONE, &last_word(Kind::Gone, 0x2001), 0);
    world.run(1);
    assert_eq!(world.life(ONE), PeerLife::Gone);
    world.run(1390);
    assert_eq!(world.life(ONE), PeerLife::Gone);
    world.run(200);
    assert_eq!(world.life(ONE), PeerLife::Alive);
}

/// A life that was followed by another before it was believed in, and whose beat comes after that one's.
#[test]
fn a_beat_of_a_former_life_that_comes_late_does_not_last() {
    let mut world = World::plain();
    world.run(1000);
    world.start(TWO, 0x2002, timing(200, 3));
    world.fates[TWO] = Box::new(|_, _| vec![50]);
    world.run(55);
    // Its beat that has heard us is on its way.
    world.start(TWO, 0x2003, timing(200, 3));
    world.fates[TWO] = through();
    world.run(5);
    assert_eq!(world.status(ONE).peer.incarnation, Some(0x2003));
    world.run(2500);
    let peer = world.status(ONE).peer;
    assert_eq!((peer.life, peer.incarnation), (PeerLife::Alive, Some(0x2003)));
}

/// As when the hosts of both are virtual, and stood still.
#[test]
fn one_that_did_not_run_does_not_take_the_other_for_dead_at_once() {
    let mut world = World::plain();
    world.run(1000);
    let _before = (world.told(ONE), world.told(TWO));
    world.now_ms += 35_000;
    world.run(2000);
    assert_eq!((world.told(ONE), world.told(TWO)), (vec![], vec![]));
    // But for long.
    world.ends[TWO] = None;
    world.now_ms += 35_000;
    let woken_ms = world.now_ms + 1;
    world.events[ONE].clear();
    world.run(2000);
    assert_eq!(world.lost_at(ONE), Some(woken_ms + 600));
}

#[test]
fn one_that_hardly_ever_runs_finds_out_all_the_same() {
    let mut world = World::plain();
    world.run(1000);
    world.ends[TWO] = None;
    for _ in 0..2 {
        assert_eq!(world.life(ONE), PeerLife::Alive);
        world.now_ms += 700;
        world.step();
    }
    assert_eq!(world.life(ONE), PeerLife::Lost);
}
