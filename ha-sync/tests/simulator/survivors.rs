//! What must survive its primary, be it that this crashes or that the role moves: sessions older than the threshold and a second, and
//! the time the other chassis was behind.

use tandem_engine::packet::Verdict;
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::packets::ends;
use tandem_engine_testkit::packets6::{ends6, is_six};
use tandem_engine_testkit::world::World;
use tandem_wire::tcp::ACK;

use crate::traffic::packet_of;
use crate::views::{self, End, Ends, Set};

/// Sessions of a service set that its primary, about to be none, must have told long enough ago: all that are older than `age`.
pub fn due(world: &World, set: u16, age: Ticks) -> Vec<(Ends, Ticks)> {
    let old = |s: &views::Session| s.replicated && s.ends.set == set && world.now.since(s.created) > age;
    let engines = world.engines.iter();
    engines
        .flat_map(|e| views::sessions(e).filter(old).map(|s| (s.ends, s.created)))
        .collect()
}

/// Those of them that a chassis still has.
pub fn alive(world: &World, due: impl IntoIterator<Item = (Ends, Ticks)>) -> Vec<(Ends, Ticks)> {
    let has: Set<(Ends, Ticks)> = world
        .engines
        .iter()
        .flat_map(views::sessions)
        .map(|s| (s.ends, s.created))
        .collect();
    due.into_iter().filter(|session| has.contains(session)).collect()
}

/// Those of them whose ends a chassis has.
pub fn present(world: &World, due: Vec<(Ends, Ticks)>) -> Vec<(Ends, Ticks)> {
    let there = ends_of(world);
    due.into_iter().filter(|(ends, _)| there.contains(ends)).collect()
}

fn ends_of(world: &World) -> Set<Ends> {
    let sessions = world.engines.iter().flat_map(views::sessions);
    sessions.map(|s| s.ends).collect()
}

/// Each of them is there, with the same ends on both sides.
pub fn are_there(world: &World, due: &[(Ends, Ticks)]) {
    let there = ends_of(world);
    for (ends, created) in due {
        assert!(
            there.contains(ends),
            "lost with its primary: {ends:x?}, {:?} old at {:?}",
            world.now.since(*created),
            world.now
        );
    }
}

/// Each of them still passes a packet from inside, which looks outside as it ever did.
pub fn pass(world: &mut World, due: &[(Ends, Ticks)]) {
    for (ends, _) in due {
        let (interface, packet) = packet_of(ends, true, ACK);
        let got = world.burst(interface, vec![packet]).remove(0);
        assert_eq!(got.verdict, Verdict::Forward, "after the takeover, of {ends:x?}");
        looks_as_ever(ends, true, &got.packet);
    }
}

/// A packet of a session that was passed, from inside or from outside, looks as both chassis have it.
pub fn looks_as_ever(ends: &Ends, is_from_inside: bool, packet: &[u8]) {
    let (from, to) = looks(packet);
    if is_from_inside {
        assert_eq!(
            (from, to.0),
            (ends.public, ends.remote.0),
            "it looks different from outside: {ends:x?}"
        );
    } else {
        assert_eq!(
            (from.0, to),
            (ends.outside.0, ends.inside),
            "it looks different from inside: {ends:x?}"
        );
    }
}

/// Source and destination of a packet of either family.
fn looks(packet: &[u8]) -> (End, End) {
    if is_six(packet) {
        return ends6(packet);
    }
    let wide = |(address, port)| (tandem_engine::address::of_v4(address), port);
    let (from, to) = ends(packet);
    (wide(from), wide(to))
}
