//! Real IPv6 datagrams, split and parsed as on the wire: many at once among IPv4 ones, in any order, some pieces lost.

use std::collections::BTreeMap;

use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::ipv4::ICMPV6;
use tandem_wire::ipv6::{DESTINATION, FRAGMENT_LEN, HEADER_LEN, HOP_BY_HOP};
use tandem_wire::{parse_ipv4, parse_ipv6};

use super::*;
use crate::hash::Rng;

/// The body of an extension header of 16 octets: a padding option.
const PADDING: [u8; 14] = [1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const GRE: u8 = 47;

/// One datagram: its pieces, in order, and what is to be said of each.
struct Datagram {
    pieces: Vec<Vec<u8>>,
    transport: Transport,
}

/// Splits a whole packet whose `unfragmentable` first octets every piece repeats, as RFC 8200 section 4.5 says. The next
/// header of the pieces behind the first is `later`: right is what the first says, any other makes no difference.
fn split(whole: &[u8], unfragmentable: usize, id: u32, step: usize, later: Option<u8>) -> Vec<Vec<u8>> {
    // Where the last header before the split says what follows it.
    let next_at = if unfragmentable == HEADER_LEN {
        6
    } else {
        HEADER_LEN
    };
    let (head, rest) = whole.split_at(unfragmentable);
    let ends = rest.len().div_ceil(step);
    let piece = |(n, data): (usize, &[u8])| {
        let mut out = head.to_vec();
        let next = std::mem::replace(&mut out[next_at], tandem_wire::ipv6::FRAGMENT);
        let word = (n * step) as u16 | u16::from(n + 1 < ends);
        out.extend([if n == 0 { next } else { later.unwrap_or(next) }, 0]);
        out.extend(word.to_be_bytes());
        out.extend(id.to_be_bytes());
        out.extend(data);
        let len = (unfragmentable - HEADER_LEN + FRAGMENT_LEN + data.len()) as u16;
        out[4..6].copy_from_slice(&len.to_be_bytes());
        out
    };
    rest.chunks(step).enumerate().map(piece).collect()
}

/// A datagram of a random protocol and shape.
fn datagram6(rng: &mut Rng, src: u128, id: u32) -> Datagram {
    let dst = 0x2001_0db8 << 96 | 8;
    let mut data = vec![0; 1600 + rng.below(6000) as usize];
    data.fill_with(|| rng.draw() as u8);
    let (sport, dport) = (rng.draw() as u16 | 1, rng.draw() as u16);
    let (builder, transport) = match rng.below(4) {
        0 => (
            PacketBuilder6::tcp(src, sport, dst, dport, 0x10),
            transport(TCP, sport, dport),
        ),
        1 => (
            PacketBuilder6::echo(src, dst, sport, 1),
            transport(ICMPV6, sport, sport),
        ),
        2 => (
            PacketBuilder6::new(src, dst, Payload::Raw { proto: GRE }),
            transport(GRE, 0, 0),
        ),
        _ => (
            PacketBuilder6::udp(src, sport, dst, dport),
            transport(UDP, sport, dport),
        ),
    };
    let before = [(HOP_BY_HOP, &PADDING[..])];
    let behind = [(DESTINATION, &PADDING[..])];
    let before = &before[..rng.below(2) as usize];
    let behind = &behind[..rng.below(2) as usize];
    let builder = builder.data(&data).extensions(before).inner_extensions(behind);
    let mut whole = vec![0; builder.len()];
    assert_eq!(builder.write(&mut whole), Some(whole.len()));
    let step = [1232, 512, 1440][rng.below(3) as usize];
    let later = (rng.below(2) == 0).then_some(rng.draw() as u8 | 0x80);
    Datagram {
        pieces: split(&whole, HEADER_LEN + before.len() * 16, id, step, later),
        transport,
    }
}

/// A UDP datagram, in pieces of 1400 octets.
fn datagram4(rng: &mut Rng, src: u32, id: u16) -> Datagram {
    let (sport, dport) = (rng.draw() as u16, rng.draw() as u16 | 1);
    let dst = 0x0808_0808;
    let data = vec![0; 1600 + rng.below(6000) as usize];
    let builder = PacketBuilder::udp(src, sport, dst, dport).data(&data);
    let mut whole = vec![0; builder.len()];
    assert_eq!(builder.write(&mut whole), Some(whole.len()));
    let rest = &whole[20..];
    let piece = |(n, part): (usize, &[u8])| {
        let offset = n * 1400;
        let builder = PacketBuilder::new(src, dst, Payload::Raw { proto: UDP })
            .data(part)
            .id(id)
            .fragment(offset + part.len() < rest.len(), offset as u16);
        let mut out = vec![0; builder.len()];
        assert_eq!(builder.write(&mut out), Some(out.len()));
        out
    };
    Datagram {
        pieces: rest.chunks(1400).enumerate().map(piece).collect(),
        transport: transport(UDP, sport, dport),
    }
}

fn parse(packet: &[u8]) -> Meta {
    if packet[0] >> 4 == 6 {
        Meta::V6(parse_ipv6(packet).unwrap())
    } else {
        Meta::V4(parse_ipv4(packet).unwrap())
    }
}

/// Sends 200 datagrams of 20 senders of both families, interleaved at random, without the pieces that were lost. Returns
/// how many pieces came out, and how many did not, with reasons.
fn send(seed: u64, lost: u32) -> (usize, BTreeMap<&'static str, usize>, usize) {
    let mut rng = Rng::new(seed);
    let mut datagrams = Vec::new();
    for sender in 1..=10u32 {
        for id in 0..10u16 {
            // The same identification from two hosts of one /64.
            let src = 0x2001_0db8 << 96 | u128::from(sender / 2) << 64 | u128::from(sender);
            datagrams.push(datagram6(&mut rng, src, u32::from(id) << 20));
            datagrams.push(datagram4(&mut rng, sender, id));
        }
    }
    let mut queue = Vec::new();
    let mut without_first = 0;
    for (number, datagram) in datagrams.iter().enumerate() {
        let sent = (0..datagram.pieces.len()).filter(|_| rng.below(100) >= lost);
        let sent = Vec::from_iter(sent);
        without_first += if sent.first() == Some(&0) { 0 } else { sent.len() };
        queue.extend(sent.into_iter().map(|piece| (number, piece)));
    }
    for i in (1..queue.len()).rev() {
        queue.swap(i, rng.below(i as u32 + 1) as usize);
    }
    let total = queue.len();
    let mut f: Fragments<(usize, usize)> =
        Fragments::new(&sizes(2000, 8192), TIMEOUT, HashKeys::new(seed)).unwrap();
    let mut passed = 0;
    let mut begun = vec![false; datagrams.len()];
    let mut arrive = |(number, piece): (usize, usize), said: Transport| {
        begun[number] |= piece == 0;
        assert!(begun[number], "a later fragment before the first one");
        assert_eq!(
            said, datagrams[number].transport,
            "datagram {number} piece {piece}"
        );
        passed += 1;
    };
    let mut reasons = BTreeMap::new();
    for (i, (number, piece)) in queue.into_iter().enumerate() {
        let now = Ticks(i as u32 / 1000);
        let meta = parse(&datagrams[number].pieces[piece]);
        let offer = match &meta {
            Meta::V4(meta) => f.offer(now, meta, 0, (number, piece)),
            Meta::V6(meta) => f.offer6(now, meta, 0, (number, piece)),
        };
        match offer {
            Offer::Pass { packet, transport } => {
                arrive(packet, transport);
                while let Some(r) = f.released() {
                    let (number, piece) = r.packet;
                    assert_eq!(r.meta, parse(&datagrams[number].pieces[piece]));
                    arrive(r.packet, r.transport);
                }
            }
            Offer::Held => {}
            Offer::Drop(_, reason) => *reasons.entry(reason.as_str()).or_default() += 1,
        }
    }
    if lost == 0 {
        assert!(f.reassemblies() == 0, "all came whole and were forgotten");
    }
    while f.reassemblies() + f.held() > 0 {
        f.expire(Ticks(1000), |_, reason| {
            *reasons.entry(reason.as_str()).or_default() += 1
        });
    }
    assert_eq!(
        passed + reasons.values().sum::<usize>(),
        total,
        "every packet exactly once"
    );
    (passed, reasons, without_first)
}

#[test]
fn u17_without_loss_every_piece_arrives_with_protocol_and_ports() {
    for seed in 0..20 {
        let (passed, reasons, _) = send(seed, 0);
        assert!(passed > 400);
        assert!(reasons.is_empty(), "{reasons:?}");
    }
}

#[test]
fn u17_with_loss_only_those_without_a_first_fragment_time_out() {
    for seed in 0..20 {
        let (passed, reasons, without_first) = send(seed, 20);
        assert!(passed > 0 && without_first > 0);
        assert_eq!(Vec::from_iter(reasons), [("fragment-timeout", without_first)]);
    }
}
