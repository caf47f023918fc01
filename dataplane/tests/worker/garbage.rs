//! Garbage: mutated and random frames of both families, a million of them (`TANDEM_GARBAGE_FRAMES` for another number).
//! Nothing panics, every frame has one counted end, every buffer comes back.
//!
//! Not covered: what a translation makes of a mutated packet. The engine's own tests look at that.

use std::time::Instant;

use tandem_engine::hash::Rng;
use tandem_engine::ticks::Ticks;
use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::checksum::checksum;
use tandem_wire::{ethernet, tcp};

use crate::frames::{ETHERNET, ends, ethernet_frame, frame, syn, tagged, udp};
use crate::frames6::{frame6, syn6, tagged6, udp6};
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig};

const FRAMES: u64 = 1_000_000;
const BURST: u64 = 16;
/// Longest frame: what a buffer takes behind its headroom, less what a tag needs.
const LENGTH_MAX: usize = 1600;

/// Valid frames of every kind, with the port they come in on.
fn seeds(rig: &mut Rig) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    let mut publics = Vec::new();
    for host in [IN1, IN2] {
        for packet in [
            udp((host, 5000), (OUT1, 53)),
            syn((host, 5000), (OUT1, 80)),
            PacketBuilder::echo(host, OUT1, 5000, 1).data(b"ping"),
        ] {
            let frame = frame(P_IN, packet);
            publics.push(ends(&rig.pass_one(P_IN, &frame, P_OUT)).0);
            all.push((P_IN, frame));
        }
    }
    let (public, tcp_public, id) = (publics[0], publics[1], publics[2]);
    let quoted = frame(P_OUT, udp(public, (OUT1, 53)));
    let quoted_inside = frame(P_IN, udp((OUT1, 53), (IN1, 5000)));
    let options = [7, 7, 4, 0, 0, 0, 0, 1];
    let mss = [2, 4, 5, 0xb4, 1, 3, 3, 7];
    let large = [3; 1400];
    let raw = |src, dst, proto| PacketBuilder::new(src, dst, Payload::Raw { proto });
    for (port, packet) in [
        (P_IN, udp((IN1, 5000), publics[3])),
        (P_IN, udp((IN1, 5000), (OWN_IN, 53))),
        (P_IN, udp((IN1, 5000), (OUT1, 53)).ip_options(&options)),
        (P_IN, syn((IN1, 5001), (OUT1, 80)).tcp_options(&mss)),
        (
            P_IN,
            PacketBuilder::tcp(IN1, 5000, OUT1, 80, tcp::ACK).data(b"data"),
        ),
        (
            P_IN,
            PacketBuilder::tcp(IN1, 5000, OUT1, 80, tcp::FIN | tcp::ACK).data(b""),
        ),
        (P_IN, PacketBuilder::tcp(IN1, 5000, OUT1, 80, tcp::RST).data(b"")),
        (P_IN, udp((IN1, 5000), (OUT1, 53)).ttl(1)),
        (P_IN, udp((IN1, 5000), (OUT_VLAN, 53)).data(&large)),
        (
            P_IN,
            udp((IN1, 5000), (OUT_VLAN, 53)).data(&large).dont_fragment(false),
        ),
        (P_IN, udp((IN1, 5000), (BEHIND_SILENT, 53))),
        (P_IN, udp((IN1, 5000), (ECMP_NET + 1, 53))),
        (P_IN, udp((IN1, 5000), (PROHIBITED, 53))),
        (P_IN, udp((IN1, 5000), (ip(224, 0, 0, 5), 53))),
        (
            P_IN,
            raw(IN1, OUT1, 17).data(&large[..800]).id(3).fragment(true, 0),
        ),
        (
            P_IN,
            raw(IN1, OUT1, 17).data(&large[..800]).id(3).fragment(true, 800),
        ),
        (
            P_IN,
            raw(IN1, OUT1, 17).data(&large[..80]).id(3).fragment(false, 1600),
        ),
        (
            P_IN,
            raw(IN1, OUT1, 1).data(&large[..80]).id(4).fragment(false, 1600),
        ),
        (P_IN, raw(IN1, OUT1, 47).data(b"gre")),
        (P_IN, raw(IN1, OUT1, 50).data(b"esp")),
        (
            P_IN,
            PacketBuilder::icmp(IN1, OUT1, 3, 3, 0).data(&quoted_inside[ETHERNET..]),
        ),
        (P_IN, PacketBuilder::icmp(IN1, OUT1, 13, 0, 0).data(b"time")),
        (P_OUT, udp((OUT1, 53), public)),
        (P_OUT, udp((OUT1, 53), (public.0, 1))),
        (P_OUT, udp((OUT1, 53), public).ttl(1)),
        (P_OUT, syn((OUT1, 80), tcp_public)),
        (P_OUT, syn((OUT1, 80), (POOL, 2000))),
        (
            P_OUT,
            PacketBuilder::tcp(OUT1, 80, tcp_public.0, tcp_public.1, tcp::SYN | tcp::ACK).data(b""),
        ),
        (
            P_OUT,
            PacketBuilder::tcp(OUT1, 80, tcp_public.0, tcp_public.1, tcp::RST).data(b""),
        ),
        (
            P_OUT,
            PacketBuilder::echo_reply(OUT1, id.0, id.1, 1).data(b"ping"),
        ),
        (
            P_OUT,
            PacketBuilder::icmp(ROUTER, public.0, 3, 1, 0).data(&quoted[ETHERNET..]),
        ),
        (
            P_OUT,
            PacketBuilder::icmp(ROUTER, public.0, 3, 4, 1280).data(&quoted[ETHERNET..]),
        ),
        (
            P_OUT,
            PacketBuilder::icmp(ROUTER, public.0, 11, 0, 0).data(&quoted[ETHERNET..]),
        ),
        (
            P_OUT,
            raw(OUT1, public.0, 17)
                .data(&large[..800])
                .id(5)
                .fragment(true, 0),
        ),
        (
            P_OUT,
            raw(OUT1, public.0, 17)
                .data(&large[..80])
                .id(5)
                .fragment(false, 800),
        ),
        (P_OUT, udp((OUT1, 53), (OTHER, 54))),
        (
            P_TRUNK,
            udp((OTHER, 1), (OTHER_VLAN, 2)).data(&large).dont_fragment(false),
        ),
        (P_TRUNK, udp((OTHER, 1), (OUT1, 2))),
        (P_TRUNK, udp((OTHER, 1), (public.0, public.1))),
    ] {
        all.push((port, frame(port, packet)));
    }
    for (vlan, packet) in [
        (100, udp((IN_VLAN, 1), (OUT_VLAN, 2))),
        (200, udp((OUT_VLAN, 1), public)),
        (300, udp((OTHER_VLAN, 1), (OTHER, 2))),
        (400, udp((OTHER_VLAN, 1), (OTHER, 2))),
    ] {
        all.push((P_TRUNK, tagged(P_TRUNK, &[vlan], packet)));
        all.push((P_TRUNK, tagged(P_TRUNK, &[vlan, 100], packet)));
    }
    all.push((P_IN, ethernet_frame([0xff; 6], ethernet::ARP, &[1; 46])));
    all.push((
        P_OUT,
        ethernet_frame([0x33, 0x33, 0, 0, 0, 1], ethernet::IPV6, &[0x60; 60]),
    ));
    all
}

/// The same over IPv6, for the program with NAT64 and a firewall.
fn seeds6(rig: &mut Rig) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    let mut publics = Vec::new();
    for packet in [
        udp6((IN6, 5000), (in64(OUT1), 53)),
        syn6((IN6, 5000), (in64(OUT1), 80)),
        PacketBuilder6::echo(IN6, in64(OUT1), 5000, 1).data(b"ping"),
        udp6((IN6B, 5000), (in64(OUT1), 53)),
    ] {
        let frame = frame6(P_IN, packet);
        publics.push(ends(&rig.pass_one(P_IN, &frame, P_OUT)).0);
        all.push((P_IN, frame));
    }
    let (public, other) = (publics[0], publics[3]);
    let quoted = frame(P_OUT, udp(public, (OUT1, 53)));
    let quoted64 = frame6(P_IN, udp6((in64(OUT1), 53), (IN6, 5000)));
    let quoted6 = frame6(P_OUT, udp6((IN6, 5000), (OUT6, 53)));
    let large = [3; 1400];
    let raw = |src, dst, proto| PacketBuilder6::new(src, dst, Payload::Raw { proto });
    let alert: [(u8, &[u8]); 1] = [(0, &[5, 2, 0, 0, 1, 0])];
    let routing: [(u8, &[u8]); 2] = [(0, &[1, 4, 0, 0, 0, 0]), (43, &[0, 1, 0, 0, 0, 0])];
    let mss = [2, 4, 5, 0xb4, 1, 3, 3, 7];
    for (port, packet) in [
        (P_IN, udp6((IN6, 5000), (OUT6, 53))),
        (P_IN, syn6((IN6, 5000), (OUT6, 80)).tcp_options(&mss)),
        (P_IN, syn6((IN6, 5000), (OUT6, DENIED))),
        (P_IN, syn6((IN6, 5000), (OUT6, REJECTED))),
        (P_IN, syn6((IN6, 5000), (in64(OUT1), REJECTED))),
        (P_IN, udp6((IN6, 5000), (in64(OUT1), REJECTED))),
        (P_IN, udp6((IN6, 5000), (in64(other.0), other.1))),
        (P_IN, udp6((IN6, 5000), (OWN6_IN, 53))),
        (P_IN, udp6((IN6, 5000), (ROUTER6, 53))),
        (P_IN, udp6((IN6, 5000), (PROHIBITED6, 53))),
        (P_IN, udp6((IN6, 5000), (OUT6, 53)).hop_limit(1)),
        (P_IN, udp6((IN6, 5000), (in64(OUT1), 53)).hop_limit(1)),
        (P_IN, udp6((IN6, 5000), (in64(OUT_VLAN), 53)).data(&large)),
        (P_IN, udp6((IN6, 5000), (in64(BEHIND_SILENT), 53))),
        (P_IN, udp6((IN6, 5000), (OUT6, 53)).extensions(&alert)),
        (P_IN, udp6((IN6, 5000), (in64(OUT1), 53)).extensions(&routing)),
        (P_IN, raw(IN6, OUT6, 17).data(&large[..800]).fragment(true, 0, 3)),
        (
            P_IN,
            raw(IN6, OUT6, 17).data(&large[..800]).fragment(false, 800, 3),
        ),
        (
            P_IN,
            raw(IN6, in64(OUT1), 17).data(&large[..800]).fragment(true, 0, 4),
        ),
        (
            P_IN,
            raw(IN6, in64(OUT1), 17)
                .data(&large[..800])
                .fragment(true, 800, 4),
        ),
        (
            P_IN,
            raw(IN6, in64(OUT1), 58)
                .data(&large[..80])
                .fragment(false, 1600, 5),
        ),
        (P_IN, raw(IN6, in64(OUT1), 50).data(b"esp")),
        (P_IN, raw(IN6, OUT6, 50).data(b"esp")),
        (
            P_IN,
            PacketBuilder6::icmp(IN6, in64(OUT1), 1, 4, 0).data(&quoted64[ETHERNET..]),
        ),
        (
            P_IN,
            PacketBuilder6::icmp(IN6, in64(OUT1), 2, 0, 1280).data(&quoted64[ETHERNET..]),
        ),
        (
            P_IN,
            PacketBuilder6::icmp(IN6, OWN6_IN, 135, 0, 0)
                .hop_limit(255)
                .data(&[0; 16]),
        ),
        (P_OUT, udp6((OUT6, 53), (IN6, 5000))),
        (P_OUT, syn6((OUT6, 999), (IN6, LET_IN))),
        (P_OUT, syn6((OUT6, 999), (IN6, REJECTED))),
        (P_OUT, udp6((OUT6, 53), (IN6_SILENT, LET_IN))),
        (
            P_OUT,
            PacketBuilder6::icmp(OUT6 + 9, IN6, 1, 0, 0).data(&quoted6[ETHERNET..]),
        ),
        (
            P_OUT,
            PacketBuilder6::icmp(OUT6 + 9, IN6, 2, 0, 1280).data(&quoted6[ETHERNET..]),
        ),
        (P_OUT, raw(OUT6, IN6, 17).data(&large[..800]).fragment(true, 0, 6)),
        (
            P_OUT,
            raw(OUT6, IN6, 17).data(&large[..80]).fragment(false, 800, 6),
        ),
        (P_TRUNK, udp6((OTHER6, 1), (OTHER6_VLAN, 2)).data(&large)),
        (P_TRUNK, udp6((OTHER6, 1), (OUT6, 2))),
        (P_TRUNK, udp6((OTHER6, 1), (IN6, 2))),
    ] {
        all.push((port, frame6(port, packet)));
    }
    all.push((
        P_TRUNK,
        tagged6(P_TRUNK, 300, udp6((OTHER6_VLAN, 1), (OTHER6, 2))),
    ));
    for packet in [
        udp((OUT1, 53), public),
        udp((OUT1, 53), public).data(&large).dont_fragment(false),
        udp((OUT1, 53), public).ttl(1),
        PacketBuilder::icmp(ROUTER, public.0, 3, 4, 1280).data(&quoted[ETHERNET..]),
        PacketBuilder::icmp(ROUTER, public.0, 11, 0, 0).data(&quoted[ETHERNET..]),
    ] {
        all.push((P_OUT, frame(P_OUT, packet)));
    }
    all.push((P_IN, frame(P_IN, udp((IN1, 5000), public))));
    all
}

/// Changes a frame a little or a lot.
fn mutate(frame: &mut Vec<u8>, rng: &mut Rng) {
    const TELLING: [u8; 8] = [0, 1, 4, 0x7f, 0x80, 0xfe, 0xff, 0x45];
    for _ in 0..=rng.below(3) {
        let length = frame.len() as u32;
        if length == 0 {
            frame.push(rng.draw() as u8);
            continue;
        }
        // Headers more often than data.
        let reach = if rng.below(4) == 0 { length } else { length.min(64) };
        let at = rng.below(reach) as usize;
        match rng.below(8) {
            0 | 1 => frame[at] ^= 1 << rng.below(8),
            2 => frame[at] = rng.draw() as u8,
            3 => frame[at] = TELLING[rng.below(8) as usize],
            4 => frame.truncate(at),
            5 => frame.resize((frame.len() + rng.below(100) as usize).min(LENGTH_MAX), 0xa5),
            6 => {
                let to = rng.below(reach) as usize;
                let (from, count) = (at.min(to), (rng.below(8) as usize).min(frame.len() - at.max(to)));
                frame.copy_within(from..from + count, at.max(to));
            }
            _ => {
                frame.insert(at, rng.draw() as u8);
                frame.truncate(LENGTH_MAX);
            }
        }
    }
    // A wrong header checksum would end most of them early.
    if rng.below(4) != 0 {
        let start = if frame.get(12..14) == Some(&[0x81, 0]) {
            ETHERNET + 4
        } else {
            ETHERNET
        };
        if frame.get(start).is_some_and(|b| b >> 4 == 6) {
            fix_length6(frame, start);
        } else {
            fix_header(frame, start);
        }
    }
}

/// A wrong payload length would.
fn fix_length6(frame: &mut [u8], start: usize) {
    if let Some(length) = frame.len().checked_sub(start + 40) {
        frame[start + 4..start + 6].copy_from_slice(&(length as u16).to_be_bytes());
    }
}

fn fix_header(frame: &mut [u8], start: usize) {
    let Some(header) = frame.get(start).map(|b| usize::from(b & 15) * 4) else {
        return;
    };
    let Some(header) = frame.get_mut(start..start + header).filter(|h| h.len() >= 20) else {
        return;
    };
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn random(rng: &mut Rng) -> Vec<u8> {
    let mut frame = vec![0; rng.below(200) as usize];
    frame.fill_with(|| rng.draw() as u8);
    // Some pass the first checks.
    let kind = rng.below(4);
    if kind > 0 && frame.len() >= 34 {
        frame[..6].copy_from_slice(&mac(P_IN));
        frame[12..14].copy_from_slice(&[8, 0]);
    }
    if kind > 1 && frame.len() >= 34 {
        frame[14] = 0x45;
        let total = (frame.len() - ETHERNET) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        fix_header(&mut frame, ETHERNET);
        if kind > 2 {
            frame[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
            frame[14] = 0x60;
            fix_length6(&mut frame, ETHERNET);
        }
    }
    frame
}

#[test]
fn a_million_broken_frames() {
    let frames: u64 = std::env::var("TANDEM_GARBAGE_FRAMES")
        .map_or(FRAMES, |n| n.parse().expect("TANDEM_GARBAGE_FRAMES is a number"));
    let rig = |program| {
        Rig::with(Options {
            workers: 2,
            program,
            ..Options::default()
        })
    };
    let mut plain = rig(program());
    let seeds4 = seeds(&mut plain);
    pound(plain, &seeds4, frames / 2);
    let mut both = rig(firewall());
    let mut all = seeds(&mut both);
    all.extend(seeds6(&mut both));
    pound(both, &all, frames / 2);
}

/// So many frames made from seeds, through two workers.
fn pound(mut rig: Rig, seeds: &[(u8, Vec<u8>)], frames: u64) {
    let mut rng = Rng::new(0x5eed);
    let (start, mut fed) = (Instant::now(), rig.count(|c| c.rx_packets));
    let before = fed;
    while fed - before < frames {
        let (port, _) = seeds[rng.below(seeds.len() as u32) as usize];
        let at = rng.below(2) as usize;
        let mut mbufs = Vec::new();
        for _ in 0..BURST {
            let mut bytes = if rng.below(8) == 0 {
                random(&mut rng)
            } else {
                let (_, seed) = &seeds[rng.below(seeds.len() as u32) as usize];
                let mut frame = seed.clone();
                if frame.len() > 5 && rng.below(8) != 0 && frame[0] == 2 {
                    frame[5] = port;
                }
                frame
            };
            if rng.below(16) != 0 {
                mutate(&mut bytes, &mut rng);
            }
            let whole = bytes.is_empty() || rng.below(8) != 0;
            mbufs.push(if whole {
                rig.mbuf(&bytes)
            } else {
                rig.chained(&bytes, 1 + rng.below(100) as usize)
            });
        }
        fed += BURST;
        rig.feed_mbufs(at, port, mbufs);
        if rng.below(16) == 0 {
            rig.wait(1 + rng.below(3));
        }
        if fed % (BURST * 1024) == 0 {
            rig.check_books();
        }
        rig.sent.clear();
        rig.punted.clear();
        rig.asked.clear();
        rig.policy_events.clear();
    }
    assert_eq!(rig.count(|c| c.rx_packets), fed, "every frame was counted");
    let ends = (
        rig.drops(),
        rig.count(|c| c.punted),
        rig.count(|c| c.fragments_released),
    );
    println!("{} frames in {:?}; ends: {ends:?}", fed - before, start.elapsed());
    assert!(ends.0.len() > 20, "many kinds of ends: {ends:?}");
    rig.wait(Ticks::from_seconds(60).0);
    rig.finish();
}
