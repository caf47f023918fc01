//! What may happen to a world: traffic of every kind, time, and operators.

use std::net::IpAddr;

use tandem_engine::hash::Rng;
use tandem_engine::packet::Verdict;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter, SessionView};
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::tcp::{ACK, FIN, RST, SYN};

use super::books::Books;
use super::plans::{self, PUBLIC};
use crate::common::packets::{End, echo, echo_reply, error, raw, syn, tcp, udp};
use crate::common::plan::{INSIDE, INSIDE2, OUTSIDE};
use crate::common::world::World;
use crate::common::{IN1, OUT1};

/// What operations remember: packets that were forwarded lately.
#[derive(Default)]
pub struct Operations {
    forwarded: Vec<Vec<u8>>,
}

fn v4(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(a) => u32::from(a),
        IpAddr::V6(_) => panic!("no IPv6 yet"),
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
            17 => Self::clear(world, rng),
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

    fn new_flows(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let packets = (0..1 + rng.below(24))
            .map(|_| {
                let from: End = (IN1 + rng.below(10), [1000, 2000, 2001, 80][rng.below(4) as usize]);
                let to: End = if rng.below(6) == 0 {
                    (PUBLIC[rng.below(6) as usize], 1000 + rng.below(40) as u16)
                } else {
                    (OUT1 + rng.below(4), [53, 80, 8080][rng.below(3) as usize])
                };
                match rng.below(8) {
                    0..=2 => udp(from, to),
                    3 | 4 => syn(from, to),
                    5 => tcp(from, to, [ACK, FIN | ACK, RST, SYN | ACK][rng.below(4) as usize]),
                    6 => echo(from, to.0),
                    _ => raw(47 + rng.below(2) as u8, from.0, to.0),
                }
            })
            .collect();
        let got = world.burst(if rng.below(4) == 0 { INSIDE2 } else { INSIDE }, packets);
        self.keep(got);
        "new flows"
    }

    /// Packets of sessions there are, both ways.
    fn known_flows(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let sessions = world.sessions();
        if sessions.is_empty() {
            return "nothing known";
        }
        for _ in 0..1 + rng.below(10) {
            let s = sessions[rng.below(sessions.len() as u32) as usize];
            let (interface, packet) = packet_of(&s, rng);
            // A session of a mapping with itself has packets that no parser lets in (LAND).
            if parse_ipv4_verified(&packet).is_ok() {
                let got = world.burst(interface, vec![packet]);
                self.keep(got);
            }
        }
        "known flows"
    }

    fn strangers(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let mappings = world.mappings();
        let packets = (0..1 + rng.below(10))
            .map(|_| {
                let from = (OUT1 + rng.below(5), 7000 + rng.below(3) as u16);
                let to = if mappings.is_empty() || rng.below(3) == 0 {
                    (PUBLIC[rng.below(6) as usize], rng.below(10_000) as u16)
                } else {
                    let m = &mappings[rng.below(mappings.len() as u32) as usize];
                    (v4(m.public), m.public_port)
                };
                match rng.below(5) {
                    0 | 1 => udp(from, to),
                    2 => syn(from, to),
                    3 => tcp(from, to, ACK),
                    _ => echo((from.0, to.1), to.0),
                }
            })
            .collect();
        let got = world.burst(OUTSIDE, packets);
        self.keep(got);
        "from outside"
    }

    fn errors(&mut self, world: &mut World, rng: &mut Rng) -> &'static str {
        let mut got = Vec::new();
        for _ in 0..1 + rng.below(6) {
            if self.forwarded.is_empty() {
                break;
            }
            let about = &self.forwarded[rng.below(self.forwarded.len() as u32) as usize];
            let packet = error(OUT1 + 99, 3, rng.below(14) as u8, about);
            got.extend(world.burst([OUTSIDE, INSIDE][rng.below(2) as usize], vec![packet]));
        }
        "ICMP errors"
    }

    fn clear(world: &mut World, rng: &mut Rng) -> &'static str {
        let mut filter = Filter::default();
        match rng.below(4) {
            0 => filter.inside = Some(IpAddr::from((IN1 + rng.below(10)).to_be_bytes())),
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
    let outside: End = (v4(s.outside), s.outside_port);
    let (from, to) = if inside {
        ((v4(s.inside), s.inside_port), outside)
    } else {
        (outside, (v4(s.public), s.public_port))
    };
    let packet = match s.protocol {
        6 => tcp(from, to, flags),
        17 => udp(from, to),
        1 if inside => echo(from, to.0),
        1 => echo_reply(from.0, to),
        proto => raw(proto, from.0, to.0),
    };
    (interface, packet)
}
