//! One, two and four workers, with one shard each and several: the same traffic, the same verdicts. (Protocols without ports are left to the conformance
//! tests: whether two subscribers meet on one address and peer depends on their pairing, which is not the same.)

use tandem_engine::hash::Rng;
use tandem_engine::packet::Verdict;
use tandem_engine::program::{FilteringType, MappingType};
use tandem_wire::tcp::{ACK, FIN, RST, SYN};

use crate::common::packets::{End, echo, echo_reply, ends, error, tcp, udp};
use crate::common::plan::{INSIDE, OUTSIDE};
use crate::common::world::World;
use crate::common::{IN1, OUT_ROUTER, OUT1};

/// A conversation begun from inside: protocol, inside end, outside end.
#[derive(Clone, Copy)]
struct Flow(u8, End, End);

fn outbound(flow: Flow, flags: u8) -> Vec<u8> {
    match flow {
        Flow(6, from, to) => tcp(from, to, flags),
        Flow(17, from, to) => udp(from, to),
        Flow(_, from, to) => echo(from, to.0),
    }
}

fn inbound(flow: Flow, public: End, from: End, flags: u8) -> Vec<u8> {
    match flow.0 {
        6 => tcp(from, public, flags),
        17 => udp(from, public),
        _ => echo_reply(from.0, public),
    }
}

/// Passes the same script through a world; verdicts and what can be compared of the packets.
fn script(workers: u8, shards_each: u8, seed: u64, filtering: FilteringType) -> Vec<String> {
    let mut world = World::new(workers, |p| {
        p.shards_each = shards_each;
        p.behaviour(MappingType::EndpointIndependent, filtering);
        p.set().limits.max_ports = 25;
        p.set().limits.max_sessions = 40;
    });
    let mut rng = Rng::new(seed);
    let mut flows: Vec<(Flow, Option<End>)> = Vec::new();
    let mut told = Vec::new();
    for _ in 0..400 {
        let flags = [SYN, SYN, SYN | ACK, ACK, FIN | ACK, RST][rng.below(6) as usize];
        let (choice, known) = (rng.below(10), rng.below(flows.len().max(1) as u32) as usize);
        let other = (OUT1 + rng.below(6), [53, 80, 8080][rng.below(3) as usize]);
        let packet = match (choice, flows.get(known).copied()) {
            (0..=3, _) | (_, None) => {
                let proto = [6, 17, 1, 17][rng.below(4) as usize];
                let from = (IN1 + rng.below(8), 5000 + rng.below(8) as u16);
                let flow = Flow(proto, from, other);
                let got = world.burst(INSIDE, vec![outbound(flow, SYN)]).remove(0);
                flows.push((flow, (got.verdict == Verdict::Forward).then(|| got.public())));
                told.push(format!("new {:?}", got.verdict));
                continue;
            }
            (4, Some((flow, _))) => (INSIDE, outbound(flow, flags)),
            (5 | 6, Some((flow, Some(public)))) => (OUTSIDE, inbound(flow, public, flow.2, flags)),
            (7, Some((flow, Some(public)))) => (OUTSIDE, inbound(flow, public, other, SYN)),
            (8, Some((flow, Some(public)))) => {
                let mut about = outbound(Flow(flow.0, public, flow.2), ACK);
                about[8] = 9;
                crate::common::packets::fix_header_checksum(&mut about);
                (OUTSIDE, error(OUT_ROUTER, 3, 1, &about))
            }
            // Hairpin to another flow's public end.
            (9, Some((Flow(17, ..), Some(public)))) => (INSIDE, udp((IN1 + 50, 7), public)),
            _ => {
                world.pass_seconds(rng.below(20));
                continue;
            }
        };
        let got = world.burst(packet.0, vec![packet.1]).remove(0);
        // The public end differs from world to world; the other ends must not.
        let seen = match (got.verdict, packet.0) {
            (Verdict::Forward, OUTSIDE) => format!("{:?}", ends(&got.packet)),
            (Verdict::Forward, _) => format!("{:?}", ends(&got.packet).1.0),
            _ => String::new(),
        };
        told.push(format!("{:?} {} {seen}", got.verdict, got.hairpinned));
    }
    let created: u64 = world
        .engines
        .iter()
        .map(|e| e.counters().sessions_created_out)
        .sum();
    told.push(format!("sessions {} {created}", world.sessions().len()));
    told
}

#[test]
fn one_two_and_four_workers_say_the_same() {
    for seed in 0..12 {
        for filtering in [
            FilteringType::EndpointIndependent,
            FilteringType::AddressDependent,
            FilteringType::AddressAndPortDependent,
        ] {
            let one = script(1, 1, seed, filtering);
            for (workers, shards_each) in [(2, 1), (4, 1), (1, 2), (2, 2), (1, 7)] {
                let many = script(workers, shards_each, seed, filtering);
                for (at, (a, b)) in one.iter().zip(&many).enumerate() {
                    assert_eq!(
                        a, b,
                        "packet {at} of seed {seed} with {workers} workers, {shards_each} shards each"
                    );
                }
            }
        }
    }
}
