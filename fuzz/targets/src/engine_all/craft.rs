//! What operations send: packets from a few octets, and packets made of earlier ones.

use std::net::IpAddr;

use tandem_engine::view::Filter;
use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::{Fragment, L4};

use super::net::{ALONE, INSIDE, OUTSIDE, WIDE, host4, host6};
use super::packets::{Look, outside4, packet4, packet6, port, public4, target4, target6, written};
use super::world::{Meta, Passed, Sent, World, parse};
use crate::sums::{mend4, mend6};

/// Octets of an input.
pub struct Octets<'a>(pub &'a [u8]);

impl<'a> Octets<'a> {
    pub fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }
    pub fn four(&mut self) -> Option<[u8; 4]> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(*head)
    }
    /// As many as there are, up to `n`.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// What makes packets.
pub struct Script<'a> {
    pub octets: Octets<'a>,
}

impl Script<'_> {
    /// A packet as a subscriber sends it: to anyone, of a family its service set has.
    pub fn inside(&mut self, world: &mut World, code: u8, a: u8, b: u8, c: u8) {
        let set = usize::from(a & 3);
        let look = Look {
            kind: code,
            ports: (port(a >> 2), port(b >> 4)),
            more: c,
        };
        let wide = match set {
            1 => false,
            3 => true,
            _ => code & 1 != 0,
        };
        let n = a >> 4 | code << 4;
        let packet = if wide {
            packet6(host6(set, n), target6(b), look)
        } else {
            packet4(host4(set, n), target4(b), look)
        };
        let interface = if code == 9 && c == 0xff {
            ALONE
        } else {
            INSIDE[set]
        };
        world.send(sent(packet, interface));
    }

    /// A packet nobody asked for.
    pub fn outside(&mut self, world: &mut World, code: u8, a: u8, b: u8, c: u8) {
        let look = Look {
            kind: c >> 5,
            ports: (
                port(a >> 4),
                if code & 2 == 0 {
                    1000 + u16::from(b % 140)
                } else {
                    port(b)
                },
            ),
            more: c & 0x1f | c << 6,
        };
        let packet = if a & 8 == 0 {
            packet4(
                outside4(a),
                if b & 0x40 == 0 { public4(b) } else { target4(b) },
                look,
            )
        } else {
            packet6(WIDE | 0xff << 80 | (1 + u128::from(a & 3)), target6(b), look)
        };
        world.send(sent(packet, OUTSIDE));
    }

    fn earlier(&self, world: &World, n: u8) -> Option<Passed> {
        let at = (world.passed.len()).checked_sub(1 + usize::from(n) % world.passed.len().max(1))?;
        world.passed.get(at).cloned()
    }

    /// What the receiver of a packet answers, on the interface it came by.
    pub fn answer(&mut self, world: &mut World, a: u8, b: u8, c: u8) {
        let Some(passed) = self.earlier(world, a) else {
            return;
        };
        let Ok(meta) = parse(&passed.packet) else { return };
        let kind = |proto: u8, l4: L4| match (proto, l4) {
            (17, _) => 0,
            (6, _) => 3,
            (
                _,
                L4::IcmpQuery {
                    icmp_type: 8 | 128, ..
                },
            ) => 6,
            (_, L4::IcmpQuery { .. }) => 5,
            _ => 7,
        };
        let packet = match meta {
            Meta::V4(m) => {
                let look = Look {
                    kind: kind(m.proto, m.l4),
                    ports: (m.dport(), m.sport()),
                    more: b,
                };
                packet4(m.dst, m.src, look)
            }
            Meta::V6(m) => {
                let look = Look {
                    kind: kind(m.proto, m.l4),
                    ports: (m.dport(), m.sport()),
                    more: b,
                };
                packet6(m.dst, m.src, look)
            }
        };
        let mut packet = packet;
        change(&mut packet, c, 0);
        world.send(sent(packet, passed.interface));
    }

    /// An earlier packet once more, or one octet of it other.
    pub fn again(&mut self, world: &mut World, a: u8, b: u8, c: u8) {
        let Some(passed) = self.earlier(world, a) else {
            return;
        };
        let mut again = passed.sent;
        change(&mut again.packet, b, c);
        world.send(again);
    }

    /// An ICMP error about a packet that was forwarded, from its receiver's side, or about what its sender sent.
    pub fn error_about(&mut self, world: &mut World, a: u8, b: u8, c: u8) {
        let Some(passed) = self.earlier(world, a) else {
            return;
        };
        let (mut quoted, interface) = match c & 1 {
            0 => (passed.packet, passed.interface),
            _ => (passed.sent.packet, passed.sent.interface),
        };
        let Ok(meta) = parse(&quoted) else { return };
        if c & 2 != 0 {
            change(&mut quoted, self.octets.octet(), self.octets.octet());
        }
        let keep = [28, 48, 56, 100, 576, 2000][usize::from(b >> 5) % 6];
        quoted.truncate(keep);
        if c & 4 != 0 {
            quoted.resize(128, 0);
            quoted.extend_from_slice(&[0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 0, 1, 1, 1]);
        }
        let kind = b & 7;
        let packet = match meta {
            Meta::V4(m) => {
                let (icmp_type, code) =
                    [(3, 1), (3, 4), (11, 0), (12, 0), (3, 13), (4, 0), (5, 1), (3, 3)][usize::from(kind)];
                let word = if c & 4 != 0 { 32 << 16 } else { 1300 };
                let from = if c & 8 != 0 { m.dst } else { 0xc633_6405 };
                let builder = PacketBuilder::icmp(from, m.src, icmp_type, code, word).data(&quoted);
                written(builder.len(), |buffer| builder.write(buffer))
            }
            Meta::V6(m) => {
                let (icmp_type, code) =
                    [(1, 0), (2, 0), (3, 0), (4, 0), (1, 4), (1, 1), (4, 1), (137, 0)][usize::from(kind)];
                let word = if c & 4 != 0 { 16 << 24 } else { 1300 };
                let from = if c & 8 != 0 { m.dst } else { WIDE | 0xff << 80 | 9 };
                let builder = PacketBuilder6::icmp(from, m.src, icmp_type, code, word).data(&quoted);
                written(builder.len(), |buffer| builder.write(buffer))
            }
        };
        let mut packet = packet;
        if c & 16 != 0 {
            change(&mut packet, self.octets.octet(), self.octets.octet());
        }
        world.send(sent(packet, interface));
    }

    /// Parts of an earlier packet as it was sent, in a burst, as virtual reassembly lets them go on: the first one first, or
    /// only others.
    pub fn fragments_of(&mut self, world: &mut World, a: u8, b: u8, c: u8) {
        let Some(passed) = self.earlier(world, a) else {
            return;
        };
        let Ok(meta) = parse(&passed.sent.packet) else {
            return;
        };
        let whole = &passed.sent.packet;
        let part = (usize::from(b & 0x1f) + 3) * 8;
        let (head, fragment, transport) = match meta {
            Meta::V4(m) => (m.l4_offset, m.fragment, (m.sport(), m.dport(), m.proto)),
            Meta::V6(m) => (m.l4_offset, m.fragment, (m.sport(), m.dport(), m.proto)),
        };
        let (head, transport) = (usize::from(head), (transport.0, transport.1, transport.2));
        if fragment != Fragment::None || head + part >= whole.len() {
            return;
        }
        let (header, upper) = whole.split_at(head);
        let count = upper.len().div_ceil(part);
        for (n, octets) in upper.chunks(part).enumerate().skip(usize::from(c & 1)) {
            let more = n + 1 < count;
            let mut packet = header.to_vec();
            let place = (n * part) as u16;
            match meta {
                Meta::V4(_) => {
                    let word = place >> 3 | u16::from(more) << 13;
                    packet[6..8].copy_from_slice(&word.to_be_bytes());
                    packet.extend_from_slice(octets);
                    let len = packet.len() as u16;
                    packet[2..4].copy_from_slice(&len.to_be_bytes());
                    packet[10..12].fill(0);
                    let sum = tandem_wire::checksum::checksum(&packet[..head]);
                    packet[10..12].copy_from_slice(&sum.to_be_bytes());
                }
                Meta::V6(m) => {
                    packet.truncate(40);
                    packet[6] = 44;
                    let word = place | u16::from(more);
                    packet.extend_from_slice(&[m.proto, 0]);
                    packet.extend_from_slice(&word.to_be_bytes());
                    packet.extend_from_slice(&[1, 2, 3, c]);
                    packet.extend_from_slice(octets);
                    let len = (packet.len() - 40) as u16;
                    packet[4..6].copy_from_slice(&len.to_be_bytes());
                }
            }
            world.send(Sent {
                packet,
                interface: passed.sent.interface,
                transport,
            });
        }
    }

    /// The fuzzer's own packet, its checksums made right or not.
    pub fn own(&mut self, world: &mut World, a: u8, b: u8, c: u8) {
        let mut packet = self.octets.take(usize::from(a)).to_vec();
        if c & 1 != 0 {
            match parse(&packet) {
                Ok(Meta::V4(m)) => mend4(&mut packet, &m),
                Ok(Meta::V6(m)) => mend6(&mut packet, &m),
                Err(_) => {}
            }
        }
        world.send(Sent {
            packet,
            interface: [1, 2, 3, 4, 6, 5][usize::from(b) % 6],
            transport: (port(c >> 4), port(c), [6, 17, 1, 58][usize::from(c >> 1 & 3)]),
        });
    }

    /// Some filter, most often none.
    pub fn filter(&mut self, b: u8, c: u8) -> Filter {
        let v4 = |address: u32| IpAddr::V4(address.into());
        let mut filter = Filter::default();
        if b & 1 != 0 {
            filter.protocol = Some([6, 17, 1, 47][usize::from(c & 3)]);
        }
        if b & 2 != 0 {
            filter.service_set = Some(1 + u16::from(c & 3));
        }
        if b & 4 != 0 {
            filter.inside = Some(match c & 0x80 {
                0 => v4(host4(usize::from(c & 3), c >> 2)),
                _ => IpAddr::V6(host6(usize::from(c & 3), c >> 2).into()),
            });
        }
        if b & 8 != 0 {
            filter.public = Some(v4(public4(c)));
        }
        if b & 16 != 0 {
            filter.outside = Some(v4(outside4(c)));
        }
        if b & 32 != 0 {
            filter.pool = Some(u16::from(c % 10));
        }
        if b & 64 != 0 {
            filter.public_port = Some(1000 + u16::from(c));
        }
        filter
    }
}

fn sent(packet: Vec<u8>, interface: u16) -> Sent {
    let transport = match parse(&packet) {
        Ok(Meta::V4(m)) => (m.sport(), m.dport(), m.proto),
        Ok(Meta::V6(m)) => (m.sport(), m.dport(), m.proto),
        Err(_) => (0, 0, 0),
    };
    Sent {
        packet,
        interface,
        transport,
    }
}

/// Changes an octet, if `how` says so.
fn change(packet: &mut [u8], how: u8, to: u8) {
    if how & 0x80 != 0
        && let Some(octet) = packet.get_mut(usize::from(how & 0x7f))
    {
        *octet ^= to;
    }
}
