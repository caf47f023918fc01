//! Random packets of every kind: new sessions from inside, packets of known ones from either end, strangers from outside.

use tandem_engine::address::of_v4;
use tandem_engine::hash::Rng;
use tandem_engine::mapping::WHOLE_ADDRESS;
use tandem_engine::program::InterfaceId;
use tandem_engine_testkit::any;
use tandem_engine_testkit::plan::{INSIDE, INSIDE2, OUTSIDE};
use tandem_engine_testkit::world::World;
use tandem_engine_testkit::{OUT1, in64, out6};
use tandem_wire::tcp::{ACK, FIN, RST, SYN};

use crate::program::{HOSTS, chance, host4, host6, pick};
use crate::views::{self, End, Ends, Session};

/// Packets that come in on one interface.
pub type Burst = (InterfaceId, Vec<Vec<u8>>);

/// The inside interface of a service set.
pub fn inside_of(set: u16) -> InterfaceId {
    if set == 1 { INSIDE } else { INSIDE2 }
}

/// Packets from inside to anybody.
pub fn from_inside(set: u16, rng: &mut Rng) -> Burst {
    let count = pick(rng, &[1, 1, 1, 2, 4]);
    let packets = (0..count).map(|_| first_packet(set, rng)).collect();
    (inside_of(set), packets)
}

fn first_packet(set: u16, rng: &mut Rng) -> Vec<u8> {
    let position = usize::from(set) - 1;
    let six = chance(rng, 30);
    let host = rng.below(HOSTS);
    let address = if six {
        host6(position, host)
    } else {
        of_v4(host4(position, host))
    };
    let from: End = (address, 1000 + rng.below(12) as u16);
    let outside = OUT1 + rng.below(3);
    let to = match six {
        true if chance(rng, 40) => out6(u64::from(rng.below(3))),
        true => in64(outside),
        false => of_v4(outside),
    };
    let to: End = (to, pick(rng, &[53, 80, 8080]));
    match rng.below(8) {
        0..=2 => any::udp(from, to),
        3..=5 => any::syn(from, to),
        6 => any::echo(from, to.0),
        _ => any::raw(47, from.0, to.0),
    }
}

/// A packet of a session, from its inside or its outside end.
pub fn packet_of(ends: &Ends, inside: bool, flags: u8) -> (InterfaceId, Vec<u8>) {
    let (interface, from, to) = if inside {
        (inside_of(ends.set), ends.inside, ends.outside)
    } else {
        (OUTSIDE, ends.remote, ends.public)
    };
    let packet = match ends.protocol {
        6 => any::tcp(from, to, flags),
        17 => any::udp(from, to),
        1 | 58 if inside => any::echo(from, to.0),
        1 | 58 => any::echo_reply(from.0, to),
        protocol => any::raw(protocol, from.0, to.0),
    };
    (interface, packet)
}

/// Some session of a chassis, if a guess finds one.
pub fn any_session(world: &World, rng: &mut Rng) -> Option<Session> {
    let engine = &world.engines[rng.below(world.engines.len() as u32) as usize];
    let end = engine.tables().sessions.high_water();
    (0..4).find_map(|_| views::session_at(engine, rng.below(end)))
}

/// A packet of some session, from either end.
pub fn known(world: &World, rng: &mut Rng) -> Option<(Session, Burst)> {
    let session = any_session(world, rng)?;
    let flags = pick(rng, &[ACK, ACK, ACK, ACK, SYN | ACK, FIN | ACK, RST]);
    let (interface, packet) = packet_of(&session.ends, chance(rng, 50), flags);
    Some((session, (interface, vec![packet])))
}

/// A packet from outside that no session waits for: to a mapping's public end, a forwarded port or an inside host.
pub fn stranger(world: &World, set: u16, rng: &mut Rng) -> Burst {
    let host = OUT1 + 10 + rng.below(3);
    let port = 7000 + rng.below(3) as u16;
    let position = usize::from(set) - 1;
    let engine = &world.engines[rng.below(world.engines.len() as u32) as usize];
    let mappings = engine.tables().mappings;
    let mapping = mappings.get(rng.below(mappings.high_water()));
    let (from, to): (End, End) = match (mapping, rng.below(4)) {
        (Some(m), 0..=2) => {
            let there = if m.protocol == WHOLE_ADDRESS {
                1000
            } else {
                m.public_port
            };
            ((of_v4(host), port), (of_v4(m.public), there))
        }
        (_, 1) => {
            let pool = &world.program.pools[position.min(world.program.pools.len() - 1)];
            let to = (of_v4(pool.addresses[0].first), pool.ports.first);
            ((of_v4(host), port), to)
        }
        (_, 2) => ((out6(9), port), (host6(position, rng.below(HOSTS)), 80)),
        _ => (
            (of_v4(host), port),
            (of_v4(host4(position, rng.below(HOSTS))), 1000),
        ),
    };
    let packet = match rng.below(4) {
        0 | 1 => any::udp(from, to),
        2 => any::syn(from, to),
        _ => any::echo((from.0, to.1), to.0),
    };
    (OUTSIDE, vec![packet])
}
