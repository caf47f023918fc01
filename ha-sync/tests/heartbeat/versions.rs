//! Releases that speak heartbeats of different versions: they hear each other, either way, in the highest version that both know.

use ha_sync::heartbeat::{
    BEAT_VERSION, BEAT_VERSION_OLDEST, BeatError, HeartbeatEvent, LostWhy, PathId, PeerLife, SetBeat,
    SetState,
};

use crate::world::{ONE, TWO, World, codecs, cut, set, timing};

/// The version of a datagram.
const AT: usize = 4;

fn world(versions: [u8; 2]) -> World {
    let mut world = World::plain();
    world.start_in(ONE, 0x1001, timing(200, 3), versions[ONE]);
    world.start_in(TWO, 0x2001, timing(200, 3), versions[TWO]);
    world
}

/// Versions of what an end has sent since this was last asked.
fn spoken(world: &mut World, end: usize) -> Vec<u8> {
    let sent = std::mem::take(&mut world.recorded[end]);
    sent.iter().map(|datagram| datagram.octets[AT]).collect()
}

#[test]
fn ends_of_two_versions_hear_each_other_either_way() {
    for newer in [ONE, TWO] {
        let mut versions = [BEAT_VERSION_OLDEST; 2];
        versions[newer] = BEAT_VERSION;
        let mut world = world(versions);
        world.run(10_000);
        for end in [ONE, TWO] {
            assert_eq!(world.life(end), PeerLife::Alive, "as end {end} hears it");
            assert_eq!(world.lost_at(end), None);
            let strange = |event: &HeartbeatEvent| matches!(event, HeartbeatEvent::OtherVersion { .. });
            assert!(!world.told(end).iter().any(strange));
        }
        // The newer one asks now and then, beside its beats; the older one speaks as it knows, and counts what it does not.
        let said = spoken(&mut world, newer);
        let asked = said.iter().filter(|version| **version == BEAT_VERSION).count();
        assert!((5..10).contains(&asked), "{asked} of {}", said.len());
        assert!(
            spoken(&mut world, 1 - newer)
                .iter()
                .all(|version| *version == BEAT_VERSION_OLDEST)
        );
        let malformed = |world: &World, end: usize| world.status(end).paths[0].counters.malformed;
        assert_eq!(malformed(&world, 1 - newer), asked as u64);
        assert_eq!(malformed(&world, newer), 0);
    }
}

#[test]
fn two_newest_ends_soon_speak_the_newest_and_an_older_life_is_heard_at_once() {
    let mut world = world([BEAT_VERSION; 2]);
    world.run(5000);
    for end in [ONE, TWO] {
        let _before = spoken(&mut world, end);
    }
    world.run(5000);
    for end in [ONE, TWO] {
        let said = spoken(&mut world, end);
        assert!(
            said.len() > 20 && said.iter().all(|version| *version == BEAT_VERSION),
            "{said:?}"
        );
        assert_eq!(world.status(end).paths[0].counters.malformed, 0);
    }
    // One is put back to the release before, and then to the newest again.
    for (incarnation, version) in [(0x2002, BEAT_VERSION_OLDEST), (0x2003, BEAT_VERSION)] {
        world.told(ONE);
        world.start_in(TWO, incarnation, timing(200, 3), version);
        world.run(400);
        assert_eq!(
            (world.life(ONE), world.life(TWO)),
            (PeerLife::Alive, PeerLife::Alive)
        );
        let lives = [
            HeartbeatEvent::Lost {
                why: LostWhy::Restarted,
            },
            HeartbeatEvent::Alive { incarnation },
        ];
        let told = world.told(ONE);
        assert!(lives.iter().all(|event| told.contains(event)), "{told:?}");
        world.run(5000);
        for end in [ONE, TWO] {
            let _before = spoken(&mut world, end);
        }
        world.run(1000);
        assert!(spoken(&mut world, TWO).iter().all(|said| *said == version));
        assert_eq!(world.lost_at(ONE), None);
    }
}

#[test]
fn who_is_warned_is_said_in_a_part_that_the_oldest_version_has_not() {
    let (one, two) = codecs();
    let (one, two) = (one.speaking(BEAT_VERSION), two.speaking(BEAT_VERSION));
    let mut world = world([BEAT_VERSION; 2]);
    world.run(1000);
    let mut beat = two.decode(&world.recorded[ONE][0].octets).expect("a beat");
    let one_set = |number, broadcasts| SetBeat {
        broadcasts,
        ..set(number, SetState::Primary, 1)
    };
    beat.sets = vec![one_set(1, true), one_set(2, false), one_set(128, true)];
    let heard = |version| two.decode(&one.encode_as(&beat, version)).expect("a beat").sets;
    assert_eq!(heard(BEAT_VERSION), beat.sets);
    let silent: Vec<_> = [1, 2, 128].map(|number| one_set(number, false)).into();
    assert_eq!(heard(BEAT_VERSION_OLDEST), silent);
}

#[test]
fn who_warns_and_hears_nothing_goes_on_warning() {
    let mut world = world([BEAT_VERSION; 2]);
    let warns = |broadcasts| SetBeat {
        broadcasts,
        ..set(1, SetState::Primary, 1)
    };
    world.end(TWO).tell(&[warns(true)]);
    world.run(4000);
    assert_eq!(world.status(ONE).peer.sets, [warns(true)]);
    // What it says then is of the oldest version, but for one beat in eight periods.
    world.fates[ONE] = cut();
    let _before = world.told(ONE);
    world.run(10_000);
    assert_eq!(
        (world.life(ONE), world.life(TWO)),
        (PeerLife::Alive, PeerLife::Lost)
    );
    assert_eq!(world.told(ONE), []);
    world.end(TWO).tell(&[warns(false)]);
    world.run(4000);
    assert_eq!(world.told(ONE), [HeartbeatEvent::Sets(vec![warns(false)])]);
}

#[test]
fn what_is_spoken_nowhere_here_is_said_once_with_both_versions() {
    let (one, two) = codecs();
    let (one, two) = (one.speaking(BEAT_VERSION), two.speaking(BEAT_VERSION));
    let mut world = world([BEAT_VERSION; 2]);
    world.run(1000);
    let template = world.recorded[ONE][0].clone();
    let beat = two.decode(&template.octets).expect("a beat");
    // Unknown parts are skipped, since the code is over them; it is another release that makes them.
    let in_newest = one.encode_as(&beat, BEAT_VERSION);
    assert_eq!(two.read(&in_newest), Ok((beat, Some(BEAT_VERSION))));
    let newer = BEAT_VERSION + 5;
    let mut strange = template;
    strange.octets[AT] = newer;
    let refused = BeatError::Version {
        theirs: newer,
        highest: BEAT_VERSION,
    };
    assert_eq!(two.decode(&strange.octets), Err(refused));
    let text = refused.to_string();
    assert!(
        text.contains(&newer.to_string()) && text.contains(&BEAT_VERSION.to_string()),
        "{text}"
    );
    world.ends[ONE] = None;
    world.run(1000);
    world.told(TWO);
    for _ in 0..10 {
        world.throw(TWO, &strange, 1);
        world.run(10);
    }
    let other = HeartbeatEvent::OtherVersion {
        path: PathId::Control,
        theirs: newer,
        highest: BEAT_VERSION,
    };
    assert_eq!(world.told(TWO), [other]);
}
