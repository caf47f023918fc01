//! Input: sizes of the tables, then operations of four octets: fragments of few datagrams of both families, as octets on the
//! wire; time; taking what was released or is given up. Virtual reassembly against a model that keeps lists and searches
//! them: each outcome, what comes out with which transport or reason, and the order; every packet comes out once.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::fragments::{Fragments, Offer, PIECES_MAX, Transport};
use tandem_engine::hash::HashKeys;
use tandem_engine::program::TableSizes;
use tandem_engine::ticks::Ticks;
use tandem_wire::{Fragment, Ipv4Meta, Ipv6Meta, L4, parse_ipv4, parse_ipv6};

/// Headers and a fragment of one datagram of few, of either family. `None`: not to be parsed.
enum Meta {
    V4(Ipv4Meta),
    V6(Ipv6Meta),
}

/// Source, identification, realm and shape from `a` and `b`, the piece from `c`.
fn packet(a: u8, b: u8, c: u8) -> Option<Meta> {
    let (offset, len, more) = match c {
        // Mostly eight pieces of 24 octets, the last one shorter; else any.
        0..=223 => {
            let n = u16::from(c & 7);
            (n * 24, if n == 7 { 5 } else { 24 }, n != 7)
        }
        _ => (u16::from(c & 15) * 8, u16::from(c >> 3 & 3) * 8, c & 4 != 0),
    };
    let (sender, id) = (a & 7, a >> 3 & 3);
    let (proto4, proto6) = [
        (17, 17),
        (17, 17),
        (17, 17),
        (6, 6),
        (1, 58),
        (1, 58),
        (47, 47),
        (17, 43),
    ][usize::from(b & 7)];
    let mut upper = vec![0; usize::from(len)];
    if offset == 0 && len >= 24 {
        upper[..4].copy_from_slice(&[0x10, 0, 0, 53 + u8::from(b & 0x38 == 0x38)]);
        match b & 7 {
            3 => upper[12] = 0x50,
            4 => upper[0] = if proto4 == 1 && a & 0x80 == 0 { 8 } else { 128 },
            5 => upper[0] = if a & 0x80 == 0 { 3 } else { 1 },
            _ => upper[4] = 1,
        }
    }
    if a & 0x80 == 0 {
        let word = offset >> 3 | u16::from(more) << 13;
        let total = 20 + len;
        let mut octets = vec![
            0x45,
            0,
            (total >> 8) as u8,
            total as u8,
            0,
            id,
            (word >> 8) as u8,
            word as u8,
        ];
        octets.extend([64, proto4, 0, 0, 10, 0, 0, 1 + sender / 3, 198, 51, 100, 1]);
        octets.extend(upper);
        return parse_ipv4(&octets).ok().map(Meta::V4);
    }
    // Two networks, of hosts with one /64 each; the chain before the fragment header, and what the header says of others.
    let chain = b & 0x40 != 0;
    let len = len + 8 + if chain { 8 } else { 0 };
    let mut octets = vec![
        0x60,
        0,
        0,
        0,
        (len >> 8) as u8,
        len as u8,
        if chain { 0 } else { 44 },
        64,
    ];
    let address =
        |net: u8, host: u8| (0x2001_0db8u128 << 96 | u128::from(net) << 64 | u128::from(host)).to_be_bytes();
    octets.extend(address(sender / 4, sender & 3));
    octets.extend(address(9, 9));
    if chain {
        octets.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    }
    let said = if offset != 0 && b & 0x80 != 0 { 60 } else { proto6 };
    octets.extend([
        said,
        0,
        (offset >> 8) as u8,
        offset as u8 | u8::from(more),
        0,
        id,
        0,
        7,
    ]);
    octets.extend(upper);
    parse_ipv6(&octets).ok().map(Meta::V6)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waiting,
    Known(Transport),
    Refused(DropReason),
}

/// Family, source, destination, identification, protocol if it counts, realm.
type Key = (u8, u128, u128, u32, u8, u16);
/// Family, address or /64, realm.
type Sender = (u8, u128, u16);
type Span = (u32, u32, bool);

/// What the model reads of a packet.
struct Facts {
    whole: bool,
    first: bool,
    key: Key,
    sender: Sender,
    span: Span,
    l4: L4,
    said: Transport,
}

fn facts(meta: &Meta, realm: u16) -> Facts {
    match meta {
        Meta::V4(m) => Facts {
            // Others pass as they are.
            whole: m.fragment == Fragment::None || !matches!(m.proto, 1 | 6 | 17),
            first: m.fragment_offset == 0,
            key: (4, m.src.into(), m.dst.into(), m.id.into(), m.proto, realm),
            sender: (4, m.src.into(), realm),
            span: span(m.fragment_offset, m.total_len - m.l4_offset, m.more_fragments),
            l4: m.l4,
            said: said(m.proto, m.sport(), m.dport()),
        },
        Meta::V6(m) => Facts {
            whole: m.fragment == Fragment::None,
            first: m.fragment_offset == 0,
            key: (6, m.src, m.dst, m.fragment_id, 0, realm),
            sender: (6, m.src >> 64, realm),
            span: span(
                m.fragment_offset,
                m.total_len - m.fragment_header - 8,
                m.more_fragments,
            ),
            l4: m.l4,
            said: said(m.proto, m.sport(), m.dport()),
        },
    }
}

fn said(proto: u8, sport: u16, dport: u16) -> Transport {
    Transport { proto, sport, dport }
}

fn span(offset: u16, len: u16, more: bool) -> Span {
    (offset.into(), u32::from(offset) + u32::from(len), more)
}

struct Datagram {
    key: Key,
    sender: Sender,
    since: u32,
    fate: Fate,
    spans: Vec<Span>,
    /// Offset and token of what waits.
    waits: Vec<(u32, u32)>,
}

struct Model {
    datagrams_max: usize,
    held_max: usize,
    datagrams: Vec<Datagram>,
    released: Vec<(u32, Sender, Transport)>,
    refused: Vec<(u32, Sender, DropReason)>,
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
    /// Who has how many packets here: all, and those of one sender.
    fn held(&self, sender: Sender) -> (usize, usize) {
        let waiting = self
            .datagrams
            .iter()
            .flat_map(|d| d.waits.iter().map(|_| d.sender));
        let all = waiting
            .chain(self.released.iter().map(|r| r.1))
            .chain(self.refused.iter().map(|r| r.1));
        all.fold((0, 0), |(all, own), s| (all + 1, own + usize::from(s == sender)))
    }

    fn refuse(&mut self, at: usize, reason: DropReason) -> Outcome {
        let datagram = &mut self.datagrams[at];
        datagram.fate = Fate::Refused(reason);
        let waits = std::mem::take(&mut datagram.waits);
        let sender = datagram.sender;
        self.refused.extend(waits.iter().map(|w| (w.1, sender, reason)));
        Outcome::Drop(reason)
    }

    /// Where its datagram is, made if there is room.
    fn place(&mut self, facts: &Facts) -> Option<usize> {
        if let Some(at) = self.datagrams.iter().position(|d| d.key == facts.key) {
            return Some(at);
        }
        let own = self.datagrams.iter().filter(|d| d.sender == facts.sender).count();
        let share = (self.datagrams_max / 4).max(1);
        if self.datagrams.len() >= self.datagrams_max || own >= share {
            return None;
        }
        self.datagrams.push(Datagram {
            key: facts.key,
            sender: facts.sender,
            since: self.clock,
            fate: Fate::Waiting,
            spans: Vec::new(),
            waits: Vec::new(),
        });
        Some(self.datagrams.len() - 1)
    }

    fn offer(&mut self, facts: &Facts, token: u32) -> Outcome {
        if facts.whole {
            return Outcome::Pass(facts.said);
        }
        let found = self.datagrams.iter().find(|d| d.key == facts.key);
        let fate = found.map_or(Fate::Waiting, |d| d.fate);
        if let Fate::Refused(reason) = fate {
            return Outcome::Drop(reason);
        }
        let (all, own) = self.held(facts.sender);
        let no_room = all >= self.held_max || own >= (self.held_max / 4).max(1);
        if !facts.first && fate == Fate::Waiting && no_room {
            return Outcome::Drop(DropReason::FragmentStoreFull);
        }
        let Some(at) = self.place(facts) else {
            return Outcome::Drop(DropReason::FragmentTableFull);
        };
        match facts.l4 {
            L4::IcmpError { .. } => return self.refuse(at, DropReason::FragmentOfIcmpError),
            L4::IcmpOther { .. } => return self.refuse(at, DropReason::IcmpUnsupported),
            _ => {}
        }
        let new = facts.span;
        let datagram = &mut self.datagrams[at];
        let twice = datagram.spans.contains(&new);
        let contradicts = datagram.spans.iter().any(|old| {
            let shares = old.0 < new.1 && new.0 < old.1;
            let beyond = !old.2 && new.1 > old.1 || !new.2 && old.1 > new.1;
            shares || beyond || !old.2 && !new.2
        });
        let other = matches!(fate, Fate::Known(known) if facts.first && known != facts.said);
        if other || contradicts && !twice {
            return self.refuse(at, DropReason::FragmentOverlap);
        }
        if !twice && datagram.spans.len() == PIECES_MAX {
            return self.refuse(at, DropReason::FragmentTooMany);
        }
        if !twice {
            datagram.spans.push(new);
        }
        let known = match fate {
            Fate::Known(known) => known,
            _ if facts.first => facts.said,
            _ if twice => return Outcome::Drop(DropReason::FragmentOverlap),
            _ => {
                datagram.waits.push((new.0, token));
                datagram.waits.sort_unstable();
                return Outcome::Held;
            }
        };
        datagram.fate = Fate::Known(known);
        let waits = std::mem::take(&mut datagram.waits);
        let end = datagram.spans.iter().find(|s| !s.2).map(|s| s.1);
        if end == Some(datagram.spans.iter().map(|s| s.1 - s.0).sum()) {
            self.datagrams.remove(at);
        }
        self.released
            .extend(waits.iter().map(|w| (w.1, facts.sender, known)));
        Outcome::Pass(known)
    }

    fn expire(&mut self) -> Vec<(u32, DropReason)> {
        while let Some(first) = self.datagrams.first()
            && self.clock - first.since > self.timeout
        {
            let old = self.datagrams.remove(0);
            let reason = DropReason::FragmentTimeout;
            self.refused
                .extend(old.waits.iter().map(|w| (w.1, old.sender, reason)));
        }
        self.refused
            .drain(..)
            .map(|(token, _, reason)| (token, reason))
            .collect()
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(([reassemblies, held], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let sizes = TableSizes {
        max_sessions: 1,
        max_mappings: 1,
        max_subscribers: 1,
        max_blocks: 1,
        max_reassemblies: u32::from(reassemblies % 24) + 1,
        max_held_fragments: u32::from(held % 48) + 1,
    };
    let timeout = 20;
    let Ok(mut fragments) = Fragments::<u32>::new(&sizes, Ticks(timeout), HashKeys::new(1)) else {
        return;
    };
    let mut model = Model {
        datagrams_max: sizes.max_reassemblies as usize,
        held_max: sizes.max_held_fragments as usize,
        datagrams: Vec::new(),
        released: Vec::new(),
        refused: Vec::new(),
        clock: 0,
        timeout,
    };
    let (mut now, mut offered, mut out) = (1000u32, 0u32, Vec::new());
    for [code, a, b, c] in data.as_chunks::<4>().0 {
        match code % 16 {
            0..=10 => {
                let Some(meta) = packet(*a, *b, *c) else { continue };
                let realm = u16::from(code & 0x80 != 0);
                let facts = facts(&meta, realm);
                if !facts.whole {
                    model.clock = model.clock.max(now);
                }
                let token = offered;
                offered += 1;
                let offer = match &meta {
                    Meta::V4(m) => fragments.offer(Ticks(now), m, realm, token),
                    Meta::V6(m) => fragments.offer6(Ticks(now), m, realm, token),
                };
                let outcome = match offer {
                    Offer::Pass { packet, transport } => {
                        out.push(packet);
                        Outcome::Pass(transport)
                    }
                    Offer::Held => Outcome::Held,
                    Offer::Drop(packet, reason) => {
                        out.push(packet);
                        Outcome::Drop(reason)
                    }
                };
                assert_eq!(outcome, model.offer(&facts, token), "packet {token}");
            }
            11 | 12 => {
                for _ in 0..=a % 8 {
                    let got = fragments.released().map(|r| (r.packet, r.transport));
                    let expected = (!model.released.is_empty()).then(|| model.released.remove(0));
                    assert_eq!(got, expected.map(|e| (e.0, e.2)));
                    out.extend(got.map(|g| g.0));
                }
            }
            13 => {
                model.clock = model.clock.max(now);
                let mut got = Vec::new();
                fragments.expire(Ticks(now), |packet, reason| got.push((packet, reason)));
                out.extend(got.iter().map(|g| g.0));
                assert_eq!(got, model.expire());
            }
            14 => {
                now = now
                    .saturating_add(u32::from(a % 32))
                    .saturating_sub(u32::from(b % 4))
            }
            _ => {
                model.timeout = u32::from(a % 40);
                fragments.set_timeout(Ticks(model.timeout));
            }
        }
        assert_eq!(fragments.reassemblies() as usize, model.datagrams.len());
        assert_eq!(fragments.held() as usize, model.held((0, 0, 0)).0);
    }
    fragments.drain(|packet, _| out.push(packet));
    assert_eq!((fragments.reassemblies(), fragments.held()), (0, 0));
    out.sort_unstable();
    assert_eq!(out, Vec::from_iter(0..offered), "every packet once");
}
