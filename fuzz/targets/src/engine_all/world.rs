//! One engine and the network around it: packets go in bursts as workers hand them over, and what comes out is looked at.

use std::sync::Arc;

use tandem_engine::claims::Claims;
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::packet::{Answer, Desc, RouteKind, Router, Side, Sides, Verdict};
use tandem_engine::packet6::Desc6;
use tandem_engine::program::{Program, TableSizes};
use tandem_engine::session::NO_NEXT_HOP;
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter, Query};
use tandem_wire::l4::{self, parse_plain};
use tandem_wire::{
    Fragment, Ipv4, Ipv4Meta, Ipv6Meta, L4, ParseError, ipv4, parse_ipv4, parse_ipv6, parse_plain_ipv6,
};

use super::net::Net;
use super::{books, plans};
use crate::sums::{has_checksum, remainder4, remainder6};

/// A packet on its way in.
#[derive(Clone, Debug)]
pub struct Sent {
    pub packet: Vec<u8>,
    pub interface: u16,
    /// Of a later fragment: ports and protocol of its datagram, as virtual reassembly tells them.
    pub transport: (u16, u16, u8),
}

/// A packet that was forwarded: what it was, what it became, and which interface it left by.
#[derive(Clone, Debug)]
pub struct Passed {
    pub sent: Sent,
    pub packet: Vec<u8>,
    pub interface: u16,
}

/// What counts of a description when the engine is done with it.
struct Came {
    verdict: Verdict,
    next_hop: u16,
    ports: (u16, u16),
}

/// A parse of either family.
#[derive(Clone, Copy, Debug)]
pub enum Meta {
    V4(Ipv4Meta),
    V6(Ipv6Meta),
}

pub fn parse(packet: &[u8]) -> Result<Meta, ParseError> {
    match packet.first().map_or(0, |b| b >> 4) {
        6 => parse_ipv6(packet).map(Meta::V6),
        _ => parse_ipv4(packet).map(Meta::V4),
    }
}

pub struct World {
    pub engine: Engine,
    pub program: Arc<Program>,
    pub now: Ticks,
    pub net: Net,
    programs: Vec<Arc<Program>>,
    /// A program without service sets and pools.
    nothing: Arc<Program>,
    /// Packets that were forwarded in this run, the latest last.
    pub passed: Vec<Passed>,
    burst: Vec<Sent>,
}

/// Packets that are remembered.
const PASSED_MAX: usize = 64;

impl World {
    /// All programs, their owners of ports shared, and an empty engine.
    pub fn new() -> Self {
        let mut programs: Vec<Arc<Program>> = Vec::new();
        for number in 0..plans::COUNT {
            programs.push(plans::build(number, programs.last().map(|p| &**p)));
        }
        let sizes = TableSizes {
            max_sessions: 40,
            max_mappings: 32,
            max_subscribers: 14,
            max_blocks: 5,
            max_reassemblies: 16,
            max_held_fragments: 16,
        };
        let config = EngineConfig {
            worker: 0,
            split: Split::new(1, 0).expect("one worker"),
            sizes,
            max_extents: 9,
            seed: 7,
            claims: Arc::new(Claims::default()),
        };
        let nothing = plans::nothing(programs.last().expect("there are some"));
        let program = Arc::clone(&nothing);
        Self {
            engine: Engine::new(config, Arc::clone(&program)).expect("a few pages"),
            program,
            now: Ticks(1000),
            net: Net { generation: 1 },
            programs,
            nothing,
            passed: Vec::new(),
            burst: Vec::new(),
        }
    }

    pub fn apply(&mut self, number: u8) {
        self.program = Arc::clone(&self.programs[usize::from(number % plans::COUNT)]);
        self.engine.apply(Arc::clone(&self.program));
    }

    pub fn advance(&mut self, ticks: u32, budget: usize) {
        self.now = self.now.plus(Ticks(ticks));
        self.engine.maintain(self.now, budget);
    }

    /// Puts a packet into the burst that comes next.
    pub fn send(&mut self, sent: Sent) {
        self.burst.push(sent);
        if self.burst.len() >= 40 {
            self.flush();
        }
    }

    /// Hands the burst over, as two: each family's.
    pub fn flush(&mut self) {
        let burst = std::mem::take(&mut self.burst);
        if burst.is_empty() {
            return;
        }
        let sides = Sides::of(&self.program);
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for sent in burst {
            let side = sides.side(sent.interface);
            match parse(&sent.packet) {
                Ok(Meta::V4(meta)) => {
                    let desc = desc4(&sent, meta, side);
                    four.push((sent, desc));
                }
                Ok(Meta::V6(meta)) => {
                    let desc = desc6(&sent, meta, side);
                    six.push((sent, desc));
                }
                Err(_) => {}
            }
        }
        self.pass4(four);
        self.pass6(six);
        if cfg!(debug_assertions) {
            books::check(&self.engine);
        }
    }

    fn pass4(&mut self, burst: Vec<(Sent, Desc)>) {
        let mut packets: Vec<Vec<u8>> = burst.iter().map(|(s, _)| s.packet.clone()).collect();
        let mut descs: Vec<Desc> = burst.iter().map(|(_, d)| *d).collect();
        self.engine.process(self.now, &self.net, &mut packets, &mut descs);
        for (((sent, before), packet), after) in burst.into_iter().zip(packets).zip(descs) {
            let old = Meta::V4(before.meta);
            let after = Came {
                verdict: after.verdict,
                next_hop: after.next_hop,
                ports: (after.sport, after.dport),
            };
            self.came_out(sent, &old, packet, &after, before.hairpinned);
        }
    }

    fn pass6(&mut self, burst: Vec<(Sent, Desc6)>) {
        let mut packets: Vec<Vec<u8>> = burst.iter().map(|(s, _)| s.packet.clone()).collect();
        let mut descs: Vec<Desc6> = burst.iter().map(|(_, d)| *d).collect();
        self.engine
            .process6(self.now, &self.net, &mut packets, &mut descs);
        for (((sent, before), packet), after) in burst.into_iter().zip(packets).zip(descs) {
            let old = Meta::V6(before.meta);
            let after = Came {
                verdict: after.verdict,
                next_hop: after.next_hop,
                ports: (after.sport, after.dport),
            };
            self.came_out(sent, &old, packet, &after, false);
        }
    }

    /// Looks at what became of a packet.
    fn came_out(&mut self, sent: Sent, old: &Meta, packet: Vec<u8>, after: &Came, was_hairpinned: bool) {
        match after.verdict {
            Verdict::Pending => panic!("no verdict for {sent:?}"),
            Verdict::Route | Verdict::Kernel | Verdict::HoldSyn | Verdict::NotPrimary(_) => {
                assert_eq!(packet, sent.packet, "{:?}", after.verdict);
            }
            // The answer quotes what the sender sent.
            Verdict::Drop(reason, answer) => {
                assert!(
                    answer == Answer::None || packet == sent.packet,
                    "{reason:?} {answer:?}"
                );
            }
            Verdict::Forward | Verdict::ForwardFragmented(_) => {
                assert!(after.next_hop < NO_NEXT_HOP - 1, "{}", after.next_hop);
                let kind = self.net.next_hop(after.next_hop);
                check_passed(&sent, old, &packet, after.verdict, kind);
                let interface = match kind {
                    RouteKind::Forward { interface, .. } => interface,
                    RouteKind::Kernel | RouteKind::Drop(_) => return,
                };
                self.passed.push(Passed {
                    sent,
                    packet,
                    interface,
                });
                if self.passed.len() > PASSED_MAX {
                    self.passed.remove(0);
                }
            }
            Verdict::Hairpin => {
                assert!(!was_hairpinned, "round and round");
                check_passed(&sent, old, &packet, after.verdict, RouteKind::Kernel);
                self.hairpin(sent, packet, after);
            }
        }
    }

    fn hairpin(&mut self, sent: Sent, packet: Vec<u8>, after: &Came) {
        let Ok(Meta::V4(meta)) = parse(&packet) else {
            return;
        };
        let desc = Desc::hairpin(meta, after.ports.0, after.ports.1);
        let back = Sent { packet, ..sent };
        self.pass4(vec![(back, desc)]);
    }

    /// Answers a question to its end; rows and all.
    pub fn ask(&mut self, ask: Ask, filter: Filter) -> u64 {
        let mut matched = 0;
        let mut query = Query::new(ask, filter, 0, 3);
        loop {
            while !query.done {
                self.engine.answer(&mut query, 7);
            }
            matched += query.matched;
            if query.end {
                return matched;
            }
            let cursor = query.cursor;
            let rows = (query.rows.sessions.len(), query.rows.mappings.len());
            let others = (query.rows.blocks.len(), query.rows.subscribers.len());
            assert!((rows, others) != ((0, 0), (0, 0)), "no progress");
            query = Query::new(ask, filter, cursor, 3);
        }
    }

    /// Ends everything by a command, by time, or by a program without anything; and sees that nothing is left, so that
    /// the engine is as a new one.
    pub fn end(&mut self, how: u8) {
        self.flush();
        books::check(&self.engine);
        match how % 3 {
            0 => {
                self.ask(Ask::ClearSessions, Filter::default());
                assert!(books::no_session(&self.engine));
                books::check(&self.engine);
                self.settle(books::nothing_used);
            }
            1 => self.settle(books::nothing_used),
            _ => {}
        }
        // An address that stays a pool's keeps its extents here; one that nobody has gives them back.
        self.program = Arc::clone(&self.nothing);
        self.engine.apply(Arc::clone(&self.program));
        self.settle(books::is_empty);
        assert!(!self.engine.is_purging());
        self.engine.drain_block_events(|_| true);
        self.engine.drain_policy_events(|_| true);
        self.passed.clear();
    }

    /// Lets time pass until the engine is what it is to become: at most an hour and a half.
    fn settle(&mut self, is_settled: fn(&Engine, &Program) -> bool) {
        for _ in 0..300 {
            if is_settled(&self.engine, &self.program) && !self.engine.is_purging() {
                break;
            }
            self.advance(300, 64);
        }
        books::check(&self.engine);
        let pools: Vec<_> = self.engine.pool_use().collect();
        let settled = is_settled(&self.engine, &self.program);
        assert!(settled, "{:?} {pools:?}", self.engine.table_use());
    }
}

fn desc4(sent: &Sent, meta: Ipv4Meta, side: Side) -> Desc {
    if parse_plain::<false>(&sent.packet).is_some() {
        return Desc::plain(meta, sent.interface, side);
    }
    let desc = Desc::new(meta, sent.interface, side);
    match meta.fragment {
        Fragment::Later if matches!(meta.proto, 1 | 6 | 17) => {
            desc.with_ports(sent.transport.0, sent.transport.1)
        }
        _ => desc,
    }
}

fn desc6(sent: &Sent, meta: Ipv6Meta, side: Side) -> Desc6 {
    if parse_plain_ipv6(&sent.packet).is_some() {
        return Desc6::plain(meta, sent.interface, side);
    }
    let desc = Desc6::new(meta, sent.interface, side);
    let (sport, dport, proto) = sent.transport;
    match meta.fragment {
        Fragment::Later => desc.with_first_fragment(sport, dport, proto),
        _ => desc,
    }
}

/// The remainder of a packet's checksum, if it is one that can be looked at: of a whole packet that has one.
fn remainder_of(packet: &[u8], meta: &Meta) -> Option<u64> {
    match meta {
        Meta::V4(m) => {
            let upper = &packet[usize::from(m.l4_offset)..usize::from(m.total_len)];
            // The other family's ICMP is some protocol.
            let known = m.proto != ipv4::ICMPV6 && has_checksum(m.proto, upper);
            let whole = m.fragment == Fragment::None && known;
            whole.then(|| remainder4(packet, m))
        }
        Meta::V6(m) => {
            let upper = &packet[usize::from(m.l4_offset)..usize::from(m.total_len)];
            let known = m.proto != ipv4::ICMP && has_checksum(m.proto, upper);
            let whole = m.fragment == Fragment::None && m.segments_left_at == 0 && known;
            whole.then(|| remainder6(packet, m))
        }
    }
}

fn check_passed(sent: &Sent, old: &Meta, packet: &[u8], verdict: Verdict, next: RouteKind) {
    let new = match parse(packet) {
        Ok(new) => new,
        // Two subscribers' ends may look like one.
        Err(ParseError::Land) => return,
        Err(error) => panic!("{error:?} of {sent:?}: {packet:x?}"),
    };
    let hops = |meta: &Meta| match meta {
        Meta::V4(m) => m.ttl,
        Meta::V6(m) => m.hop_limit,
    };
    assert_eq!(hops(&new) + 1, hops(old), "{sent:?}");
    match (old, &new) {
        (Meta::V4(_), Meta::V4(_)) => {
            let right = |packet| Ipv4::new_checked(packet).is_ok_and(|ip| ip.verify_checksum());
            assert_eq!(right(packet), right(&sent.packet), "{sent:?}");
        }
        (_, Meta::V4(_)) => assert!(l4::parse_ipv4_verified(packet).is_ok(), "{sent:?}"),
        _ => {}
    }
    let before = remainder_of(&sent.packet, old);
    let after = remainder_of(packet, &new);
    if let (Some(before), Some(after)) = (before, after) {
        // The remainder stays, wrong or right; an error is written anew when its checksum was right.
        assert_eq!(before, after, "{sent:?} became {packet:x?}");
    }
    let (length, may_fragment) = match &new {
        Meta::V4(m) => (m.total_len, !m.dont_fragment),
        Meta::V6(m) => (m.total_len, matches!(verdict, Verdict::ForwardFragmented(_))),
    };
    // Nobody is told that an ICMP error is too long: whoever sends it on drops it then.
    let is_error = match &new {
        Meta::V4(m) => matches!(m.l4, L4::IcmpError { .. }),
        Meta::V6(m) => matches!(m.l4, L4::IcmpError { .. }),
    };
    if let (RouteKind::Forward { mtu, .. }, false) = (next, may_fragment || is_error) {
        assert!(length <= mtu, "{length} of {mtu}: {sent:?}");
    }
    if let Verdict::ForwardFragmented(limit) = verdict {
        assert!(limit >= 1280 && matches!(new, Meta::V6(_)));
    }
}
