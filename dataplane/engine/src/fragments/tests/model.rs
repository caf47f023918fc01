//! Random operations on tiny tables with packets of both families, compared step by step with a model that stores lists
//! and searches them.
//!
//! Held for every sequence: each outcome, each released packet with its protocol and ports and each expired packet with its reason are
//! the model's, in the same order; every packet comes out exactly once; the bounds of both tables and of each source hold.
//! Not covered: bursts of work beyond [`EXPIRE_MAX`] (an example does that), an index that finds no room.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::random::{meta4, meta6};
use super::*;

#[derive(Clone, Debug)]
enum Op {
    Offer { meta: Meta, realm: u16 },
    Released { most: usize },
    Expire,
    Advance(u32),
    SetBack(u32),
    SetTimeout(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        60 => (prop_oneof![meta4(), meta6()], prop_oneof![9 => Just(0u16), 1 => Just(1u16)])
            .prop_map(|(meta, realm)| Op::Offer { meta, realm }),
        12 => (1..6usize).prop_map(|most| Op::Released { most }),
        8 => Just(Op::Expire),
        6 => prop_oneof![6 => 1..6u32, 1 => 10..60u32].prop_map(Op::Advance),
        1 => (1..40u32).prop_map(Op::SetBack),
        1 => (0..40u32).prop_map(Op::SetTimeout),
    ]
}

/// A packet that waits, by token.
#[derive(Clone, Debug)]
struct Waits {
    token: u32,
    meta: Meta,
    offset: u16,
    sender: Sender,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waiting,
    Known(Transport),
    Refused(DropReason),
}

/// Family, address or /64, realm.
type Sender = (u8, u128, u16);

/// Family, addresses, identification, protocol if it counts, realm.
type ModelKey = (u8, u128, u128, u32, Option<u8>, u16);

/// What the model reads of a packet.
struct Facts {
    whole: bool,
    first: bool,
    key: ModelKey,
    sender: Sender,
    /// Start and end of its octets, and whether more follow.
    piece: (u32, u32, bool),
    l4: L4,
    said: Transport,
}

fn facts(meta: &Meta, realm: u16) -> Facts {
    let piece = |offset: u16, len: u16, more| {
        let start = u32::from(offset);
        (start, start + u32::from(len), more)
    };
    match meta {
        Meta::V4(m) => Facts {
            whole: m.fragment == Fragment::None,
            first: m.fragment_offset == 0,
            key: (4, m.src.into(), m.dst.into(), m.id.into(), Some(m.proto), realm),
            sender: (4, m.src.into(), realm),
            piece: piece(m.fragment_offset, m.total_len - m.l4_offset, m.more_fragments),
            l4: m.l4,
            said: transport(m.proto, m.sport(), m.dport()),
        },
        Meta::V6(m) => Facts {
            whole: m.fragment == Fragment::None,
            first: m.fragment_offset == 0,
            key: (6, m.src, m.dst, m.fragment_id, None, realm),
            sender: (6, m.src >> 64, realm),
            piece: piece(
                m.fragment_offset,
                m.total_len - m.fragment_header - 8,
                m.more_fragments,
            ),
            l4: m.l4,
            said: transport(m.proto, m.sport(), m.dport()),
        },
    }
}

#[derive(Clone, Debug)]
struct Datagram {
    key: ModelKey,
    sender: Sender,
    since: u32,
    fate: Fate,
    pieces: Vec<(u32, u32, bool)>,
    waits: Vec<Waits>,
}

#[derive(Debug)]
struct Model {
    reassemblies_max: usize,
    held_max: usize,
    /// Oldest first.
    datagrams: Vec<Datagram>,
    released: Vec<(Waits, Transport)>,
    refused: Vec<(Waits, DropReason)>,
    clock: u32,
    timeout: u32,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Pass(Transport),
    Held,
    Drop(DropReason),
}

impl Model {
    fn held(&self) -> Vec<&Waits> {
        let waiting = self.datagrams.iter().flat_map(|d| &d.waits);
        let released = self.released.iter().map(|r| &r.0);
        let refused = self.refused.iter().map(|r| &r.0);
        waiting.chain(released).chain(refused).collect()
    }

    fn held_by(&self, sender: Sender) -> usize {
        self.held().iter().filter(|w| w.sender == sender).count()
    }

    fn datagrams_of(&self, sender: Sender) -> usize {
        self.datagrams.iter().filter(|d| d.sender == sender).count()
    }

    fn refuse(&mut self, at: usize, reason: DropReason) -> Outcome {
        let datagram = &mut self.datagrams[at];
        datagram.fate = Fate::Refused(reason);
        let waits = std::mem::take(&mut datagram.waits);
        self.refused.extend(waits.into_iter().map(|w| (w, reason)));
        Outcome::Drop(reason)
    }

    fn offer(&mut self, meta: &Meta, realm: u16, token: u32) -> Outcome {
        let Facts {
            whole,
            first,
            key,
            sender,
            piece,
            l4,
            said,
        } = facts(meta, realm);
        if whole {
            return Outcome::Pass(said);
        }
        let found = self.datagrams.iter().position(|d| d.key == key);
        let fate = found.map_or(Fate::Waiting, |at| self.datagrams[at].fate);
        if let Fate::Refused(reason) = fate {
            return Outcome::Drop(reason);
        }
        let store_full = self.held().len() >= self.held_max;
        let share_used = self.held_by(sender) >= (self.held_max / 4).max(1);
        if !first && fate == Fate::Waiting && (store_full || share_used) {
            return Outcome::Drop(DropReason::FragmentStoreFull);
        }
        let at = match found {
            Some(at) => at,
            None => {
                let share_used = self.datagrams_of(sender) >= (self.reassemblies_max / 4).max(1);
                if self.datagrams.len() >= self.reassemblies_max || share_used {
                    return Outcome::Drop(DropReason::FragmentTableFull);
                }
                self.datagrams.push(Datagram {
                    key,
                    sender,
                    since: self.clock,
                    fate,
                    pieces: Vec::new(),
                    waits: Vec::new(),
                });
                self.datagrams.len() - 1
            }
        };
        match l4 {
            L4::IcmpError { .. } => return self.refuse(at, DropReason::FragmentOfIcmpError),
            L4::IcmpOther { .. } => return self.refuse(at, DropReason::IcmpUnsupported),
            _ => {}
        }
        let datagram = &mut self.datagrams[at];
        let duplicate = datagram.pieces.contains(&piece);
        let contradicts = datagram.pieces.iter().any(|p| {
            let shares = p.0 < piece.1 && piece.0 < p.1;
            let beyond = !p.2 && piece.1 > p.1 || !piece.2 && p.1 > piece.1;
            shares || beyond || !p.2 && !piece.2
        });
        let says_other = matches!(fate, Fate::Known(known) if first && known != said);
        if says_other || contradicts && !duplicate {
            return self.refuse(at, DropReason::FragmentOverlap);
        }
        if !duplicate {
            if datagram.pieces.len() == PIECES_MAX {
                return self.refuse(at, DropReason::FragmentTooMany);
            }
            datagram.pieces.push(piece);
        }
        let known = match fate {
            Fate::Known(known) => known,
            _ if first => said,
            _ if duplicate => return Outcome::Drop(DropReason::FragmentOverlap),
            _ => {
                datagram.waits.push(Waits {
                    token,
                    meta: *meta,
                    offset: piece.0 as u16,
                    sender,
                });
                datagram.waits.sort_by_key(|w| w.offset);
                return Outcome::Held;
            }
        };
        datagram.fate = Fate::Known(known);
        let waits = std::mem::take(&mut datagram.waits);
        let end = datagram.pieces.iter().find(|p| !p.2).map(|p| p.1);
        if end == Some(datagram.pieces.iter().map(|p| p.1 - p.0).sum()) {
            self.datagrams.remove(at);
        }
        self.released.extend(waits.into_iter().map(|w| (w, known)));
        Outcome::Pass(known)
    }

    fn expire(&mut self) -> Vec<(u32, DropReason)> {
        let clock = self.clock;
        let timeout = self.timeout;
        while self.datagrams.first().is_some_and(|d| clock - d.since > timeout) {
            let datagram = self.datagrams.remove(0);
            let reason = DropReason::FragmentTimeout;
            self.refused
                .extend(datagram.waits.into_iter().map(|w| (w, reason)));
        }
        self.refused
            .drain(..)
            .map(|(w, reason)| (w.token, reason))
            .collect()
    }
}

fn check_bounds(f: &Fragments<u32>, model: &Model) {
    assert_eq!(f.reassemblies() as usize, model.datagrams.len());
    assert_eq!(f.held() as usize, model.held().len());
    assert!(model.datagrams.len() <= model.reassemblies_max);
    assert!(model.held().len() <= model.held_max);
    let mut senders = BTreeSet::new();
    senders.extend(model.held().iter().map(|w| w.sender));
    senders.extend(model.datagrams.iter().map(|d| d.sender));
    assert_eq!(f.sources.len() as usize, senders.len());
    for sender in senders {
        assert!(model.held_by(sender) <= (model.held_max / 4).max(1));
        assert!(model.datagrams_of(sender) <= (model.reassemblies_max / 4).max(1));
    }
}

fn run(reassemblies: u32, held: u32, ops: &[Op]) {
    let mut f = fragments(reassemblies, held);
    let mut model = Model {
        reassemblies_max: reassemblies as usize,
        held_max: held as usize,
        datagrams: Vec::new(),
        released: Vec::new(),
        refused: Vec::new(),
        clock: 0,
        timeout: TIMEOUT.0,
    };
    let mut now = 1000;
    let mut offered = 0u32;
    let mut out = Vec::new();
    for op in ops {
        match op {
            Op::Offer { meta, realm } => {
                model.clock = model.clock.max(if facts(meta, *realm).whole { 0 } else { now });
                let token = offered;
                offered += 1;
                let offer = match meta {
                    Meta::V4(meta) => f.offer(Ticks(now), meta, *realm, token),
                    Meta::V6(meta) => f.offer6(Ticks(now), meta, *realm, token),
                };
                let outcome = match offer {
                    Offer::Pass { packet, transport } => {
                        assert_eq!(packet, token);
                        out.push(token);
                        Outcome::Pass(transport)
                    }
                    Offer::Held => Outcome::Held,
                    Offer::Drop(packet, reason) => {
                        assert_eq!(packet, token);
                        out.push(token);
                        Outcome::Drop(reason)
                    }
                };
                assert_eq!(outcome, model.offer(meta, *realm, token), "packet {token}");
            }
            Op::Released { most } => {
                for _ in 0..*most {
                    let got = f.released().map(|r| {
                        out.push(r.packet);
                        (r.packet, r.meta, r.transport)
                    });
                    let expected = (!model.released.is_empty()).then(|| {
                        let (w, known) = model.released.remove(0);
                        (w.token, w.meta, known)
                    });
                    assert_eq!(got, expected);
                }
            }
            Op::Expire => {
                model.clock = model.clock.max(now);
                let got = expired(&mut f, now);
                out.extend(got.iter().map(|e| e.0));
                assert_eq!(got, model.expire());
            }
            Op::Advance(ticks) => now += ticks,
            Op::SetBack(ticks) => now = now.saturating_sub(*ticks),
            Op::SetTimeout(ticks) => {
                f.set_timeout(Ticks(*ticks));
                model.timeout = *ticks;
            }
        }
        check_bounds(&f, &model);
    }
    f.drain(|packet, _| out.push(packet));
    assert!(is_empty(&f));
    out.sort_unstable();
    assert_eq!(out, Vec::from_iter(0..offered), "every packet exactly once");
}

proptest! {
    #[test]
    fn agrees_with_the_model(
        reassemblies in 1..24u32,
        held in 1..48u32,
        ops in proptest::collection::vec(op(), 0..300),
    ) {
        run(reassemblies, held, &ops);
    }
}
