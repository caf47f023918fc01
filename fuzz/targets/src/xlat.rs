//! Input: 53 octets of choice (addresses, ports, options, room), then a packet of either family. Translates it to the other
//! family, plainly, generally, as an ICMP error, and back.
//!
//! Held: what is translated parses, has the length, addresses, ports, hop limit and place among fragments it must have; the
//! remainder of its checksum is what it was; nothing else of the upper layer changed; the plain way and the general way
//! agree; a refused packet is untouched; back again it is the packet it was, but for what the other family has no place for.

mod errors;
mod four;
mod six;

use tandem_wire::rewrite::Endpoints;
use tandem_wire::rewrite6::Endpoints6;
use tandem_wire::xlat::Options;
use tandem_wire::{Ipv6Meta, Packet, ipv4};

use crate::sums::checksum_at;

/// What the first octets choose.
#[derive(Clone, Copy)]
struct Choice {
    options: Options,
    to4: Endpoints,
    to6: Endpoints6,
    id: u16,
    /// Checksums are made right first.
    mend: bool,
    /// Octets of room before the packet.
    room: usize,
    /// It is spread over buffers, and so many octets of it are in the first.
    here: usize,
}

/// Octets of choice.
const CHOICE: usize = 53;

impl Choice {
    fn read(octets: &[u8; CHOICE]) -> Self {
        let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let four = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        let wide = |at: usize| (0..4).fold(0u128, |sum, n| sum << 32 | u128::from(four(at + 4 * n)));
        let flags = octets[0];
        let (sport, dport) = (word(1), word(3));
        Self {
            options: Options {
                copy_traffic_class: flags & 1 != 0,
                compute_udp_checksum: flags & 2 != 0,
                mtu4: if flags & 64 != 0 { 1500 } else { word(5) },
                mtu6: if flags & 64 != 0 { 1500 } else { word(7) },
            },
            to4: Endpoints {
                src: four(11),
                dst: four(15),
                sport,
                dport,
            },
            to6: Endpoints6 {
                src: wide(19),
                dst: wide(35),
                sport,
                dport,
            },
            id: word(9),
            mend: flags & 4 != 0,
            room: if flags & 8 != 0 {
                usize::from(octets[51] % 64)
            } else {
                2048
            },
            here: if flags & 16 != 0 {
                // Headers are in one buffer.
                128 + usize::from(octets[52])
            } else {
                usize::MAX
            },
        }
    }
}

/// A packet in a buffer with so much room before it, perhaps with more of it in another buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Buffer {
    octets: Vec<u8>,
    start: usize,
    /// Octets that are in other buffers.
    tail: Vec<u8>,
}

impl Buffer {
    fn new(packet: &[u8], choice: &Choice) -> Self {
        let (here, tail) = packet.split_at(choice.here.min(packet.len()));
        let mut octets = vec![0xa5; choice.room];
        octets.extend_from_slice(here);
        Self {
            octets,
            start: choice.room,
            tail: tail.to_vec(),
        }
    }

    fn is_chained(&self) -> bool {
        !self.tail.is_empty()
    }

    /// All of it.
    fn whole(&self) -> Vec<u8> {
        [&self.octets[self.start..], &self.tail].concat()
    }
}

impl Packet for Buffer {
    fn l3(&self) -> &[u8] {
        &self.octets[self.start..]
    }
    fn l3_mut(&mut self) -> &mut [u8] {
        &mut self.octets[self.start..]
    }
    fn grow_front(&mut self, octets: u16) -> bool {
        let start = self.start.checked_sub(usize::from(octets));
        self.start = start.unwrap_or(self.start);
        start.is_some()
    }
    fn shrink_front(&mut self, octets: u16) -> bool {
        let fits = usize::from(octets) <= self.l3().len();
        self.start += if fits { usize::from(octets) } else { 0 };
        fits
    }
    fn truncate(&mut self, octets: u16) -> bool {
        let fits = usize::from(octets) <= self.l3().len() && !self.is_chained();
        if fits {
            self.octets.truncate(self.start + usize::from(octets));
        }
        fits
    }
}

/// The octets of an upper layer that translation may change: ports or identifier, ICMP type, checksum. All others stay.
fn may_change(proto: u8, at: usize) -> bool {
    let in_checksum = checksum_at(proto).is_some_and(|sum| (sum..sum + 2).contains(&at));
    in_checksum
        || match proto {
            ipv4::TCP | ipv4::UDP => at < 4,
            ipv4::ICMP | ipv4::ICMPV6 => at == 0 || (4..6).contains(&at),
            _ => false,
        }
}

/// Two upper layers differ where they may only.
fn assert_only(proto: u8, before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    for (at, (before, after)) in before.iter().zip(after).enumerate() {
        assert!(
            before == after || may_change(proto, at),
            "octet {at} of protocol {proto}"
        );
    }
}

/// Two upper layers are the same, but that a checksum may be the other form of zero.
fn assert_same(proto: u8, before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    let sum = checksum_at(proto).filter(|at| at + 2 <= before.len());
    for at in (0..before.len()).filter(|at| sum.is_none_or(|sum| !(sum..sum + 2).contains(at))) {
        assert_eq!(before[at], after[at], "octet {at} of protocol {proto}");
    }
    if let Some(at) = sum {
        let of = |upper: &[u8]| u16::from_be_bytes([upper[at], upper[at + 1]]) % 0xffff;
        assert_eq!(of(before), of(after), "checksum of protocol {proto}");
    }
}

fn upper6<'a>(packet: &'a [u8], meta: &Ipv6Meta) -> &'a [u8] {
    &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)]
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((choice, packet)) = data.split_first_chunk::<CHOICE>() else {
        return;
    };
    let choice = Choice::read(choice);
    four::run(&choice, packet);
    six::run(&choice, packet);
}
