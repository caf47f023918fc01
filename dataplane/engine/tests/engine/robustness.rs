//! Garbage in: mutated packets of every kind, and random bytes. No panic, a verdict for each, a counter for each.
//!
//! `ROBUSTNESS_PACKETS=n` says how many; without it a million in release builds and fewer in debug ones.

use tandem_engine::hash::Rng;
use tandem_engine::packet::{Desc, Verdict};
use tandem_engine::program::{FilteringType, MappingType, UnsolicitedAnswer};
use tandem_engine::ticks::Ticks;
use tandem_wire::build::PacketBuilder;
use tandem_wire::l4::parse_ipv4;
use tandem_wire::tcp::{ACK, FIN, RST, SYN};

use crate::common::packets::{
    bytes, echo, echo_reply, error, fix_header_checksum, fix_icmp_checksum, raw, syn, tcp, udp,
};
use crate::common::plan::{INSIDE, OTHER, OUTSIDE};
use crate::common::world::World;
use crate::common::{BOX, IN1, OUT_ROUTER, OUT1, POOL};

/// A well-formed packet to spoil; from inside or from outside.
fn seed_packet(rng: &mut Rng, publics: &[(u32, u16)]) -> Vec<u8> {
    let inside = (IN1 + rng.below(20), 5000 + rng.below(20) as u16);
    let outside = (OUT1 + rng.below(20), [53, 80, 443][rng.below(3) as usize]);
    let public = if publics.is_empty() {
        (POOL, 2000)
    } else {
        publics[rng.below(publics.len() as u32) as usize]
    };
    let flags = [SYN, SYN | ACK, ACK, FIN | ACK, RST][rng.below(5) as usize];
    let data = [3u8; 900];
    match rng.below(14) {
        0 => udp(inside, outside),
        1 => syn(inside, outside),
        2 => tcp(inside, outside, flags),
        3 => echo(inside, outside.0),
        4 => raw(rng.below(256) as u8, inside.0, outside.0),
        5 => udp(inside, public),
        6 => udp(outside, public),
        7 => tcp(outside, public, flags),
        8 => echo_reply(outside.0, public),
        9 => error(
            OUT_ROUTER,
            [3, 4, 5, 11, 12][rng.below(5) as usize],
            rng.below(16) as u8,
            &udp(public, outside),
        ),
        10 => error(inside.0, 3, 3, &udp(outside, inside)),
        11 => bytes(
            &PacketBuilder::udp(inside.0, inside.1, outside.0, outside.1)
                .data(&data)
                .fragment(true, 0),
        ),
        12 => bytes(
            &PacketBuilder::tcp(inside.0, inside.1, outside.0, 80, SYN)
                .tcp_options(&[2, 4, 5, 180, 1, 1, 1, 0]),
        ),
        _ => udp(inside, (BOX, 53)),
    }
}

fn spoil(rng: &mut Rng, packet: &mut Vec<u8>) {
    if rng.below(20) == 0 {
        *packet = (0..rng.below(120)).map(|_| rng.draw() as u8).collect();
        if rng.below(2) == 0 && packet.len() > 20 {
            packet[0] = 0x45;
            let length = packet.len() as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
        }
    }
    for _ in 0..[0, 0, 1, 1, 2, 4][rng.below(6) as usize] {
        if packet.is_empty() {
            break;
        }
        let at = rng.below(packet.len() as u32) as usize;
        match rng.below(16) {
            0..=5 => packet[at] = rng.draw() as u8,
            6..=10 => packet[at] ^= 1 << rng.below(8),
            11 => packet.truncate(at),
            _ => packet[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
        }
    }
    if rng.below(2) == 0 && packet.len() >= 60 {
        fix_header_checksum(packet);
        if packet[9] == 1 && packet[0] == 0x45 {
            fix_icmp_checksum(packet);
        }
    }
}

#[test]
fn mutated_packets_have_a_verdict_and_a_counter() {
    let wanted = std::env::var("ROBUSTNESS_PACKETS")
        .ok()
        .and_then(|v| v.parse().ok());
    let total = wanted.unwrap_or(if cfg!(debug_assertions) {
        40_000
    } else {
        1_000_000u64
    });
    let mut rng = Rng::new(2026);
    let mut world = World::new(2, |p| {
        p.set().on_unsolicited = UnsolicitedAnswer::HoldThenPortUnreachable;
        p.set().tcp.mss_clamp = 1300;
        p.set().tcp.accept_non_syn = true;
        p.sizes.max_sessions = 4096;
    });
    let (mut sent, mut unparsed, mut forwarded, mut dropped, mut others) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let mut round = 0;
    while sent < total {
        round += 1;
        if round % 50 == 0 {
            world.pass(Ticks(rng.below(2000)));
        }
        if round % 400 == 0 {
            let mapping = [
                MappingType::EndpointIndependent,
                MappingType::AddressAndPortDependent,
            ];
            let filtering = [
                FilteringType::EndpointIndependent,
                FilteringType::AddressDependent,
            ];
            let (m, f) = (mapping[rng.below(2) as usize], filtering[rng.below(2) as usize]);
            world.reload(|p| p.behaviour(m, f));
        }
        let publics: Vec<_> = world
            .mappings()
            .iter()
            .take(40)
            .filter_map(|m| match m.public {
                std::net::IpAddr::V4(a) => Some((u32::from(a), m.public_port)),
                std::net::IpAddr::V6(_) => None,
            })
            .collect();
        let interface = [INSIDE, OUTSIDE, OTHER][[0, 0, 1, 1, 1, 2][rng.below(6) as usize]];
        let (mut packets, mut descs) = (Vec::new(), Vec::new());
        for _ in 0..64 {
            let mut packet = seed_packet(&mut rng, &publics);
            spoil(&mut rng, &mut packet);
            sent += 1;
            match parse_ipv4(&packet) {
                Ok(meta) => {
                    let mut desc = Desc::new(meta, interface, world.side(interface));
                    if rng.below(8) == 0 {
                        // As virtual reassembly would say it.
                        (desc.sport, desc.dport) = (rng.draw() as u16, rng.draw() as u16);
                    }
                    packets.push(packet);
                    descs.push(desc);
                }
                Err(_) => unparsed += 1,
            }
        }
        for got in world.run(packets, descs) {
            match got.verdict {
                Verdict::Forward => forwarded += 1,
                Verdict::Drop(..) | Verdict::NotPrimary(_) => dropped += 1,
                Verdict::ForwardFragmented(_) => panic!("IPv4 became IPv6"),
                Verdict::Route | Verdict::Kernel | Verdict::HoldSyn | Verdict::Hairpin => others += 1,
                Verdict::Pending => panic!("no verdict"),
            }
        }
    }
    assert_eq!(unparsed + forwarded + dropped + others, sent);
    assert_eq!(world.drops.0.iter().sum::<u64>(), dropped);
    let count = |f: fn(&tandem_engine::engine::Counters) -> u64| -> u64 {
        world.engines.iter().map(|e| f(e.counters())).sum()
    };
    let translated = count(|c| c.translated_out + c.translated_in + c.translated_icmp_errors);
    // A hairpinned packet is translated twice, unless it is refused on its way back.
    assert!(forwarded <= translated && translated <= forwarded + count(|c| c.hairpinned));
    assert_eq!(count(|c| c.port_release_mismatch), 0);
    assert!(
        forwarded > sent / 20 && dropped > sent / 20 && unparsed > sent / 20,
        "{forwarded} {dropped} {unparsed}"
    );
    world.pass_seconds(8000);
    assert!(
        world
            .engines
            .iter()
            .all(|e| e.table_use().iter().all(|(live, _)| *live == 0))
    );
}
