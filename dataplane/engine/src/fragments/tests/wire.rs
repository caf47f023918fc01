//! Real datagrams, split and parsed as on the wire, many at once, in any order, some pieces lost or sent twice.

use std::collections::{BTreeMap, BTreeSet};

use tandem_wire::fragment::Fragmenter;

use super::*;
use crate::hash::Rng;

/// The pieces of a UDP datagram as packets. Ports follow from `src` and `id`, so that a mix-up shows.
fn pieces(src: u32, id: u16, payload: usize, mtu: u16) -> Vec<Vec<u8>> {
    let len = 20 + 8 + payload;
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[8] = 64;
    packet[9] = UDP;
    packet[12..16].copy_from_slice(&src.to_be_bytes());
    packet[16..20].copy_from_slice(&[8, 8, 8, 8]);
    let (sport, dport) = ports(src, id);
    packet[20..22].copy_from_slice(&sport.to_be_bytes());
    packet[22..24].copy_from_slice(&dport.to_be_bytes());
    packet[24..26].copy_from_slice(&(len as u16 - 20).to_be_bytes());
    let splitter = Fragmenter::new(&packet, mtu).unwrap();
    let write = |piece| {
        let mut out = vec![0; splitter.piece_len(&piece)];
        splitter.write(&piece, &mut out).unwrap();
        out
    };
    splitter.clone().map(write).collect()
}

fn ports(src: u32, id: u16) -> (u16, u16) {
    (src as u16 ^ id.rotate_left(7), id.wrapping_mul(31) ^ 0x5a5a)
}

/// Sends 200 datagrams of 10 senders interleaved at random; of every 100 pieces, loses and repeats as many as said.
/// Returns what came out: of each datagram, its pieces by offset; and how many came out with reasons.
type Arrived = BTreeMap<(u32, u16), Vec<(u16, u16)>>;

fn send(seed: u64, lost: u32, repeated: u32) -> (Arrived, Arrived, BTreeMap<&'static str, usize>) {
    let mut rng = Rng::new(seed);
    let mut queue = Vec::new();
    let mut sent: Arrived = BTreeMap::new();
    for src in 1..=10 {
        for id in 0..20 {
            let mtu = if rng.below(2) == 0 { 576 } else { 1500 };
            for piece in pieces(src, id, 1600 + rng.below(8000) as usize, mtu) {
                let meta = tandem_wire::parse_ipv4(&piece).unwrap();
                if rng.below(100) < lost {
                    continue;
                }
                let there = sent.entry((src, id)).or_default();
                there.push((meta.fragment_offset, meta.payload_len()));
                queue.push(piece.clone());
                if rng.below(100) < repeated {
                    queue.push(piece);
                }
            }
        }
    }
    for i in (1..queue.len()).rev() {
        queue.swap(i, rng.below(i as u32 + 1) as usize);
    }

    let mut f: Fragments<Vec<u8>> =
        Fragments::new(&sizes(2000, 16384), TIMEOUT, HashKeys::new(seed)).unwrap();
    let total = queue.len();
    let mut came: Arrived = BTreeMap::new();
    let mut first_came = BTreeSet::new();
    let mut arrive = |packet: &[u8], said: Transport| {
        let meta = tandem_wire::parse_ipv4(packet).unwrap();
        let datagram = (meta.src, meta.id);
        let (sport, dport) = ports(meta.src, meta.id);
        assert_eq!(said, transport(UDP, sport, dport));
        if meta.fragment == Fragment::First {
            first_came.insert(datagram);
        }
        assert!(
            first_came.contains(&datagram),
            "a later fragment before the first one"
        );
        let there = came.entry(datagram).or_default();
        there.push((meta.fragment_offset, meta.payload_len()));
    };
    let mut out = 0;
    let mut reasons = BTreeMap::new();
    for (i, packet) in queue.into_iter().enumerate() {
        let now = Ticks(i as u32 / 1000);
        let meta = tandem_wire::parse_ipv4(&packet).unwrap();
        match f.offer(now, &meta, 0, packet) {
            Offer::Pass { packet, transport } => {
                out += 1;
                arrive(&packet, transport);
                while let Some(r) = f.released() {
                    out += 1;
                    assert_eq!(r.meta, Meta::V4(tandem_wire::parse_ipv4(&r.packet).unwrap()));
                    arrive(&r.packet, r.transport);
                }
            }
            Offer::Held => {}
            Offer::Drop(_, reason) => {
                out += 1;
                *reasons.entry(reason.as_str()).or_default() += 1;
            }
        }
    }
    while f.reassemblies() + f.held() > 0 {
        f.expire(Ticks(1000), |_, reason| {
            out += 1;
            *reasons.entry(reason.as_str()).or_default() += 1;
        });
    }
    assert_eq!(out, total, "every packet exactly once");
    for pieces in sent.values_mut().chain(came.values_mut()) {
        pieces.sort_unstable();
        pieces.dedup();
    }
    (sent, came, reasons)
}

#[test]
fn u17_without_loss_every_piece_arrives_with_its_ports() {
    for seed in 0..20 {
        let (sent, came, reasons) = send(seed, 0, 0);
        assert_eq!(sent, came);
        assert!(reasons.is_empty(), "{reasons:?}");
    }
}

#[test]
fn u17_with_loss_all_whose_first_fragment_came_arrive_and_the_others_time_out() {
    for seed in 0..20 {
        let (sent, came, reasons) = send(seed, 20, 0);
        let with_first = |d: &Arrived| {
            let has_first = |d: &(&(u32, u16), &Vec<(u16, u16)>)| d.1.first().is_some_and(|p| p.0 == 0);
            let mut kept = BTreeMap::new();
            kept.extend(d.iter().filter(has_first).map(|(k, v)| (*k, v.clone())));
            kept
        };
        assert_eq!(with_first(&sent), came);
        let lost: usize = sent
            .values()
            .filter(|p| p.first().is_none_or(|p| p.0 != 0))
            .map(Vec::len)
            .sum();
        assert!(lost > 0);
        assert_eq!(Vec::from_iter(reasons), [("fragment-timeout", lost)]);
    }
}

#[test]
fn u17_repeated_pieces_cost_nothing_but_themselves() {
    for seed in 0..20 {
        let (sent, came, reasons) = send(seed, 0, 20);
        assert_eq!(sent, came);
        // A repeated piece is dropped while its twin waits, or when it comes after its datagram was complete.
        assert!(reasons.contains_key("fragment-overlap"), "{reasons:?}");
        let known = ["fragment-overlap", "fragment-timeout"];
        assert!(reasons.keys().all(|r| known.contains(r)), "{reasons:?}");
    }
}
