//! What may happen to a world: traffic of every kind, time, and operators.

use std::net::{IpAddr, Ipv6Addr};

use tandem_engine::address::of_v4;
use tandem_engine::hash::Rng;
use tandem_engine::packet::Verdict;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter, SessionView};
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::parse6::parse_ipv6;
use tandem_wire::tcp::{ACK, FIN, RST, SYN};

use super::books::Books;
use super::plans::{self, PUBLIC};
use super::rules::{ALIAS, prefix};
use crate::common::any::{self, End};
use crate::common::packets::error;
use crate::common::packets6::{error6, is_six};
use crate::common::plan::{INSIDE, INSIDE2, OUTSIDE};
use crate::common::world::World;
use crate::common::{IN1, OUT1, in6, out6};

/// What operations remember: packets that were forwarded lately.
#[derive(Default)]
pub struct Operations {
    forwarded: Vec<Vec<u8>>,
}

/// An address as tests have it: IPv4 under `::ffff:0:0/96`.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => of_v4(u32::from(a)),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// A host inside: one of ten with IPv4, or of nine in three prefixes with IPv6.
fn inside_host(six: bool, rng: &mut Rng) -> u128 {
    if six {
        in6(rng.below(3) as u16, u64::from(1 + rng.below(3)))
    } else {
        of_v4(IN1 + rng.below(10))
    }
}

/// Somebody to send to from inside: a host outside, by its address or its alias or a NAT64 prefix, or a public address.
fn destination(six: bool, rng: &mut Rng) -> u128 {
    let four = match rng.below(8) {
        0 => PUBLIC[rng.below(6) as usize],
        1 => ALIAS | ((OUT1 & 255) + rng.below(4)),
        _ => OUT1 + rng.below(4),
    };
    match (six, rng.below(3)) {
        (true, 0) => out6(u64::from(rng.below(4))),
        (true, _) => prefix(1 + rng.below(2) as u16).embed(four),
        (false, _) => of_v4(four),
    }
}

/// Whether a parser lets a packet in. One of a session of a mapping with itself, none does (LAND).
fn is_well_formed(packet: &[u8]) -> bool {
    if is_six(packet) {
        parse_ipv6(packet).is_ok()
    } else {
        parse_ipv4_verified(packet).is_ok()
    }
}

impl Operations {
    /// One operation; tells what it was.
    pub fn step(&mut self, world: &mut World, books: &mut Books, rng: &mut Rng) -> &'static str {
        match rng.below(20) {
            0..=6 => self.new_flows(world, rng),
            7..=9 => self.known_flows(world, rng),
            10 | 11 => self.strangers(world, rng),
            12 => self.errors(world, rng),
            13 | 14 => {
                let time = Ticks(rng.below(100));
                world.settle_time();
                books.check(world);
                world.pass(time);
                books.settled(time);
                "a little time"
            }
            15 => {
                let time = Ticks::from_seconds(rng.below(200));
                world.settle_time();
                books.check(world);
                world.pass(time);
                books.settled(time);
                "time"
            }
            16 => {
                // Time passes, and workers have little leisure to look at it.
                world.now = world.now.plus(Ticks(rng.below(600)));
                for engine in &mut world.engines {
                    engine.maintain(world.now, 1 + rng.below(3) as usize);
                }
                "time, budget short"
            }
            17 => match rng.below(3) {
                0 => Self::reevaluate(world),
                _ => Self::clear(world, rng),
            },
            _ => {
                world.reload(|plan| plans::change(plan, rng, false));
                books.reloaded(world);
                if rng.below(2) == 0 {
                    return "reload, purge to come";
                }
                world.settle_time();
                "reload"
            }
        }
    }

    fn keep(&mut self, got: Vec<crate::common::world::Got>) {
        self.forwarded.extend(
            got.into_iter()
                .filter(|g| g.verdict == Verdict::Forward)
                .map(|g| g.packet),
        );
        let extra = self.forwarded.len().saturating_sub(30);
        self.forwarded.drain(..extra);
    }

    /// Some packets of this sort.
    pub fn new_flows(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let packets = (0..1 + rng.below(24))
            .map(|_| {
                let six = rng.below(3) == 0;
                let from: End = (
                    inside_host(six, rng),
                    [1000, 2000, 2001, 80][rng.below(4) as usize],
                );
                let port = match rng.below(6) {
                    0 => 1000 + rng.below(40) as u16,
                    _ => [53, 80, 8080][rng.below(3) as usize],
                };
                let to: End = (destination(six, rng), port);
                match rng.below(8) {
                    0..=2 => any::udp(from, to),
                    3 | 4 => any::tcp(from, to, SYN),
                    5 => any::tcp(from, to, [ACK, FIN | ACK, RST, SYN | ACK][rng.below(4) as usize]),
                    6 => any::echo(from, to.0),
                    _ => any::raw(47 + rng.below(2) as u8, from.0, to.0),
                }
            })
            .collect();
        let got = world.burst(if rng.below(4) == 0 { INSIDE2 } else { INSIDE }, packets);
        self.keep(got);
        "new flows"
    }

    /// Packets of sessions there are, both ways.
    pub fn known_flows(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let sessions = world.sessions();
        if sessions.is_empty() {
            return "nothing known";
        }
        for _ in 0..1 + rng.below(10) {
            let s = sessions[rng.below(sessions.len() as u32) as usize];
            let (interface, packet) = packet_of(&s, rng);
            if is_well_formed(&packet) {
                let got = world.burst(interface, vec![packet]);
                self.keep(got);
            }
        }
        "known flows"
    }

    /// Some packets of this sort.
    pub fn strangers(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let mappings = world.mappings();
        let packets = (0..1 + rng.below(10))
            .map(|_| {
                let six = rng.below(4) == 0;
                let port = 7000 + rng.below(3) as u16;
                let host = if six {
                    out6(u64::from(rng.below(4)))
                } else {
                    of_v4(OUT1 + rng.below(5))
                };
                let (from, to): (End, End) = if six || rng.below(4) == 0 {
                    // To an inside host as it is, or as prefix translation shows it.
                    let mut inside = inside_host(six, rng);
                    if six && rng.below(2) == 0 {
                        inside |= 0x77 << 80;
                    }
                    ((host, port), (inside, [80, 1000, 2000][rng.below(3) as usize]))
                } else if mappings.is_empty() || rng.below(3) == 0 {
                    let public = of_v4(PUBLIC[rng.below(6) as usize]);
                    (
                        (host, port),
                        (
                            public,
                            [1000, 1024, 4000, 8191][rng.below(4) as usize] + rng.below(3) as u16,
                        ),
                    )
                } else {
                    let m = &mappings[rng.below(mappings.len() as u32) as usize];
                    let port_there = if m.public_port == 0 { 80 } else { m.public_port };
                    ((host, port), (bits(m.public), port_there))
                };
                match rng.below(6) {
                    0 | 1 => any::udp(from, to),
                    2 => any::tcp(from, to, SYN),
                    3 => any::tcp(from, to, ACK),
                    4 => any::raw(47, from.0, to.0),
                    _ => any::echo((from.0, to.1), to.0),
                }
            })
            .collect();
        let got = world.burst(OUTSIDE, packets);
        self.keep(got);
        "from outside"
    }

    /// Some packets of this sort.
    pub fn errors(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let mut got = Vec::new();
        for _ in 0..1 + rng.below(6) {
            if self.forwarded.is_empty() {
                break;
            }
            let about = &self.forwarded[rng.below(self.forwarded.len() as u32) as usize];
            let packet = if is_six(about) {
                error6(out6(99), 1, rng.below(7) as u8, about)
            } else {
                error(OUT1 + 99, 3, rng.below(14) as u8, about)
            };
            got.extend(world.burst([OUTSIDE, INSIDE][rng.below(2) as usize], vec![packet]));
        }
        "ICMP errors"
    }

    /// An operator ends some sessions.
    pub fn clear(world: &mut World, rng: &mut Rng) -> &'static str {
        let mut filter = Filter::default();
        match rng.below(4) {
            0 => {
                let six = rng.below(2) == 0;
                filter.inside = Some(IpAddr::V6(Ipv6Addr::from_bits(inside_host(six, rng))).to_canonical());
            }
            1 => filter.protocol = Some([6, 17, 1, 47][rng.below(4) as usize]),
            2 => filter.pool = Some(1 + rng.below(3) as u16),
            _ => filter.outside_port = Some(80),
        }
        let count = |world: &mut World, ask| world.ask(ask, filter).iter().map(|q| q.matched).sum::<u64>();
        let counted = count(world, Ask::CountSessions);
        assert_eq!(count(world, Ask::ClearSessions), counted);
        assert_eq!(count(world, Ask::CountSessions), 0);
        "clear"
    }

    /// Sessions the policies refuse end; then there is none that they refuse.
    fn reevaluate(world: &mut World) -> &'static str {
        let before = world.sessions().len() as u64;
        let ended = |world: &mut World| {
            let queries = world.ask(Ask::Reevaluate, Filter::default());
            queries.iter().map(|q| q.matched).sum::<u64>()
        };
        let first = ended(world);
        assert_eq!(world.sessions().len() as u64, before - first);
        assert_eq!(ended(world), 0);
        "re-evaluation"
    }
}

/// A packet of a session, from either end.
fn packet_of(s: &SessionView, rng: &mut Rng) -> (u16, Vec<u8>) {
    let flags = [ACK, ACK, SYN | ACK, FIN | ACK, RST, SYN][rng.below(6) as usize];
    let inside = rng.below(2) == 0;
    let interface = match (inside, s.service_set) {
        (false, _) => OUTSIDE,
        (true, 1) => INSIDE,
        (true, _) => INSIDE2,
    };
    let inside_end: End = (bits(s.inside), s.inside_port);
    let (from, to) = if inside {
        (inside_end, (bits(s.outside), s.outside_port))
    } else {
        ((bits(s.remote), s.outside_port), (bits(s.public), s.public_port))
    };
    let packet = match s.protocol {
        6 => any::tcp(from, to, flags),
        17 => any::udp(from, to),
        1 | 58 if inside => any::echo(from, to.0),
        1 | 58 => any::echo_reply(from.0, to),
        proto => any::raw(proto, from.0, to.0),
    };
    (interface, packet)
}
