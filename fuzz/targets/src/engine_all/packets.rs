//! Packets and their ends from a few octets: few hosts and ports, so that they meet.

use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::ipv6::{DESTINATION, HOP_BY_HOP, ROUTING};

use super::net::{NPT_OUTSIDE, PUBLIC, WIDE, host4, host6};
use super::plans::{PREFIXES, PUBLIC_ENDS, prefix};

pub fn port(n: u8) -> u16 {
    const PORTS: [u16; 16] = [
        1000, 1001, 1002, 1003, 1024, 1025, 53, 80, 81, 443, 5000, 5001, 5002, 5003, 5004, 0,
    ];
    PORTS[usize::from(n % 16)]
}

/// Four hosts outside; the last ones answer twice NAT.
pub fn outside4(n: u8) -> u32 {
    match n % 8 {
        n @ 0..=4 => 0xc633_6401 + u32::from(n),
        5 => 0xc633_6502,
        6 => 0x0b00_0001,
        _ => 0x0b00_0010,
    }
}

/// An address of ours: of a pool, or of a static mapping.
pub fn public4(n: u8) -> u32 {
    PUBLIC + PUBLIC_ENDS[usize::from(n) % PUBLIC_ENDS.len()]
}

pub fn target4(n: u8) -> u32 {
    match n % 32 {
        0..=19 => outside4(n),
        20..=27 => public4(n.rotate_left(3)),
        28 => host4(usize::from(n >> 5 & 3), n >> 5),
        29 => 0xc000_0201,
        30 => 0xac10_0001,
        _ => 0x0b00_0009,
    }
}

pub fn target6(n: u8) -> u128 {
    match n % 16 {
        0..=9 => prefix(u16::from(n % 16) % PREFIXES).embed(target4(n.rotate_left(4))),
        10 | 11 => WIDE | 0xff << 80 | (1 + u128::from(n >> 4 & 3)),
        12 => NPT_OUTSIDE[usize::from(n >> 4 & 1)] | u128::from(n >> 5) << 64 | 1,
        13 => host6(usize::from(n >> 4 & 3), n >> 5),
        14 => WIDE | 0xf000 << 80 | 1,
        _ => WIDE | 0xe000 << 80 | 1,
    }
}

/// How a packet looks beside its ends.
#[derive(Clone, Copy)]
pub struct Look {
    pub kind: u8,
    pub ports: (u16, u16),
    pub more: u8,
}

/// Octets of TCP options: an MSS of 1460.
const MSS: [u8; 4] = [2, 4, 5, 0xb4];
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];
const NO_SEGMENTS: [u8; 6] = [2, 0, 0, 0, 0, 0];
const SEGMENTS: [u8; 22] = [
    0, 1, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
];
const FILL: [u8; 2000] = [0x5a; 2000];

/// Octets behind the upper layer's header.
fn data(more: u8) -> &'static [u8] {
    &FILL[..[0, 1, 8, 13, 64, 1200, 1371, 1480][usize::from(more & 7)]]
}

/// SYN mostly, then what ends connections.
fn flags(more: u8) -> u8 {
    [0x02, 0x02, 0x10, 0x12, 0x11, 0x04, 0x14, 0x18][usize::from(more >> 3 & 7)]
}

pub fn written(len: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut packet = vec![0; len];
    match write(&mut packet) {
        Some(len) => packet.truncate(len),
        None => packet.clear(),
    }
    packet
}

pub fn packet4(src: u32, dst: u32, look: Look) -> Vec<u8> {
    let Look { kind, ports, more } = look;
    let builder = match kind % 8 {
        0..=2 => PacketBuilder::udp(src, ports.0, dst, ports.1),
        3 | 4 => {
            let builder = PacketBuilder::tcp(src, ports.0, dst, ports.1, flags(more));
            let builder = builder.seq_ack(1000 + u32::from(more), u32::from(more >> 1) * 900);
            if more & 64 != 0 {
                builder.tcp_options(&MSS)
            } else {
                builder
            }
        }
        5 => PacketBuilder::echo(src, dst, ports.0, 1),
        6 => PacketBuilder::echo_reply(src, dst, ports.0, 1),
        _ => PacketBuilder::new(
            src,
            dst,
            Payload::Raw {
                proto: [47, 50, 33, 136][usize::from(more >> 3 & 3)],
            },
        ),
    };
    let options: &[u8] = if more & 0xc0 == 0xc0 { &[1, 1, 1, 0] } else { &[] };
    let builder = builder
        .data(data(more))
        .ip_options(options)
        .dont_fragment(more & 32 != 0)
        .id(u16::from(more))
        .ttl(if more == 0x7f { 1 } else { 64 });
    written(builder.len(), |buffer| builder.write(buffer))
}

pub fn packet6(src: u128, dst: u128, look: Look) -> Vec<u8> {
    let Look { kind, ports, more } = look;
    let builder = match kind % 8 {
        0..=2 => PacketBuilder6::udp(src, ports.0, dst, ports.1),
        3 | 4 => {
            let builder = PacketBuilder6::tcp(src, ports.0, dst, ports.1, flags(more));
            let builder = builder.seq_ack(1000 + u32::from(more), u32::from(more >> 1) * 900);
            if more & 64 != 0 {
                builder.tcp_options(&MSS)
            } else {
                builder
            }
        }
        5 => PacketBuilder6::echo(src, dst, ports.0, 1),
        6 => PacketBuilder6::echo_reply(src, dst, ports.0, 1),
        _ => PacketBuilder6::new(
            src,
            dst,
            Payload::Raw {
                proto: [47, 50, 33, 136][usize::from(more >> 3 & 3)],
            },
        ),
    };
    let chains: [&[(u8, &[u8])]; 4] = [
        &[],
        &[(HOP_BY_HOP, &PADDING)],
        &[(DESTINATION, &PADDING), (ROUTING, &NO_SEGMENTS)],
        &[(ROUTING, &SEGMENTS)],
    ];
    let chain = if more & 0xc0 == 0xc0 { more >> 4 & 3 } else { 0 };
    let builder = builder
        .data(data(more))
        .extensions(chains[usize::from(chain)])
        .hop_limit(if more == 0x7f { 1 } else { 64 });
    written(builder.len(), |buffer| builder.write(buffer))
}
