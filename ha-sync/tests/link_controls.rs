//! What is said about redundancy sets counts for the connection it was said on, and for no later one; and roles are heard.

mod common;

use common::config;
use common::net::{Faults, World};
use ha_sync::chassis::{PeerEvent, SetRole};
use tandem_engine::replica::{Mark, ObjectTypes, Op};
use tandem_engine::ticks::Ticks;

fn world(window_bytes: usize) -> World {
    let configs = [config(1), config(2)].map(|mut one| {
        one.window_bytes = window_bytes;
        one
    });
    World::new(configs, Faults::default(), 21)
}

fn said(event: &PeerEvent) -> bool {
    matches!(
        event,
        PeerEvent::ReleaseAsked { .. } | PeerEvent::Released { .. } | PeerEvent::ReleaseRefused { .. }
    )
}

/// Both say something while nothing comes through, the connection breaks, and goes on where it stopped.
fn say_and_break(world: &mut World) {
    world.stall(0, true);
    world.stall(1, true);
    assert!(world.links[0].released(3, 6, world.now));
    assert!(world.links[0].refuse_release(4, world.now));
    assert!(world.links[1].request_release(5, world.now));
    world.steps(20, 10);
    world.disconnect();
    world.stall(0, false);
    world.stall(1, false);
    world.steps(5, 10);
}

fn heard(world: &World) -> Vec<PeerEvent> {
    let events = world.models.iter().flat_map(|model| &model.events);
    events.filter(|event| said(event)).cloned().collect()
}

#[test]
fn what_a_connection_did_not_bring_is_not_said_on_the_next() {
    let mut world = world(1 << 20);
    world.connect();
    world.settle();
    (0..500).for_each(|_| world.models.iter_mut().for_each(|m| m.act(500)));
    say_and_break(&mut world);
    world.connect();
    world.settle();
    assert!(
        world.links.iter().all(|l| l.stats().resumes == 1),
        "the stream went on"
    );
    assert_eq!(heard(&world), []);
    // The changes around it came, and what is said now is heard, once.
    world.assert_equal();
    assert!(world.links[0].released(3, 9, world.now));
    world.settle();
    assert_eq!(heard(&world), [PeerEvent::Released { set: 3, epoch: 9 }]);
}

#[test]
fn a_release_is_not_said_without_what_it_stands_behind() {
    let mut world = world(1 << 20);
    world.connect();
    world.settle();
    // Nothing gets through to either when the last changes are made, and the sets handed over.
    world.stall(0, true);
    world.stall(1, true);
    (0..500).for_each(|_| world.models.iter_mut().for_each(|m| m.act(500)));
    world.steps(2, 10);
    assert!(world.links[0].released(3, 6, world.now));
    assert!(world.links[0].refuse_release(4, world.now));
    assert!(world.links[0].request_release(5, world.now));
    world.steps(2, 10);
    // A commit, on both in the end: the stream begins anew on the same connection, twice.
    world.links[0].set_digest([9; 32]);
    world.stall(0, false);
    world.steps(20, 10);
    world.links[1].set_digest([9; 32]);
    world.stall(1, false);
    world.settle();
    assert!(world.links.iter().all(|l| l.stats().connects == 1));
    let (refused, asked) = (
        PeerEvent::ReleaseRefused { set: 4 },
        PeerEvent::ReleaseAsked { set: 5 },
    );
    let said = heard(&world);
    assert!(said.contains(&refused) && said.contains(&asked), "{said:?}");
    let released = |event: &PeerEvent| matches!(event, PeerEvent::Released { .. });
    assert!(!said.iter().any(released), "{said:?}");
    world.assert_equal();
    assert!(world.links[0].released(3, 9, world.now));
    world.settle();
    assert_eq!(
        heard(&world).last(),
        Some(&PeerEvent::Released { set: 3, epoch: 9 })
    );
}

#[test]
fn what_waited_beside_a_full_window_is_not_said_on_the_next_connection() {
    let mut world = world(64 << 10);
    world.connect();
    world.settle();
    world.stall(0, true);
    world.stall(1, true);
    for _ in 0..40 {
        (0..500).for_each(|_| world.models.iter_mut().for_each(|m| m.act(5000)));
        world.step(10);
    }
    assert!(
        world.links.iter().all(|l| l.stats().pending > 0),
        "the windows are full"
    );
    say_and_break(&mut world);
    world.connect();
    world.settle();
    assert_eq!(heard(&world), []);
    world.assert_equal();
}

#[test]
fn a_mark_behind_what_is_not_said_again_comes_back_all_the_same() {
    let mut world = world(1 << 20);
    world.connect();
    world.settle();
    world.stall(0, true);
    assert!(world.links[0].refuse_release(4, world.now));
    let mark = Mark {
        worker: 0,
        at: Ticks(7),
    };
    world.models[0].outbox.push_back(Op::Mark(mark));
    // It is taken behind the refusal, which no batch has left with yet; and then the connection breaks.
    world.links[0].absorb(world.now, &mut world.models[0]);
    world.disconnect();
    world.stall(0, false);
    world.connect();
    world.settle();
    assert_eq!(world.models[0].marks, [mark]);
}

#[test]
fn without_a_connection_there_is_nobody_to_say_it_to() {
    let mut world = world(1 << 20);
    world.connect();
    world.settle();
    world.disconnect();
    let now = world.now;
    assert!(!world.links[0].released(3, 6, now));
    assert!(!world.links[0].request_release(3, now));
    assert!(!world.links[0].refuse_release(3, now));
    // Connected, and the peer has said nothing yet: it may be another one.
    world.links[0].connected(now);
    assert!(!world.links[0].released(3, 6, now));
}

#[test]
fn a_peer_that_asks_without_end_is_told_everything_now_and_then() {
    let mut world = world(1 << 20);
    (0..500).for_each(|_| world.models.iter_mut().for_each(|m| m.act(500)));
    world.connect();
    world.settle();
    let begun = |world: &World| {
        let events = world.models[0].events.iter();
        events
            .filter(|event| matches!(event, PeerEvent::Bulk(..)))
            .count()
    };
    for _ in 0..1000 {
        assert!(world.links[1].resync_from_peer(ObjectTypes::ALL, world.now));
        world.step(20);
    }
    let bulks = begun(&world);
    assert!((1..=5).contains(&bulks), "{bulks} in 20 s");
    assert!(
        world.links[0].stats().bulks_sent <= bulks as u64 + 2,
        "nor is its begin said more often"
    );
    world.settle();
    world.assert_equal();
}

#[test]
fn roles_that_got_lost_are_said_again_although_there_is_no_silence() {
    let configs = [config(1), config(2)].map(|mut one| {
        one.retransmit_ms = 200;
        one
    });
    let faults = Faults {
        delay_ms: 5,
        ..Faults::default()
    };
    let mut world = World::new(configs, faults, 23);
    world.connect();
    world.settle();
    let roles = [SetRole {
        set: 1,
        primary: true,
        epoch: 4,
    }];
    world.faults.loss = 1000;
    world.links[0].announce_roles(&roles);
    world.step(10);
    world.faults.loss = 0;
    // Less than from one keepalive to the next, and always something to tell.
    for _ in 0..100 {
        world.models[0].act(500);
        world.step(10);
    }
    assert_eq!(world.links[1].peer_roles(), roles);
}
