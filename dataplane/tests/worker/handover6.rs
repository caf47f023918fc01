//! Several workers and every kind of ownership: NAT64, firewalled hosts, static and deterministic mappings, whole addresses,
//! prefix translation with policies. Whoever receives a packet, what comes out is what one worker alone sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_dataplane::routes::{Action, Way};
use tandem_engine::address::of_v4;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::{
    AddressRange, AddressRange6, DestinationMap, FilteringType, MappingType, NONE, NatAction, NatTerm, Pool,
    PoolMode, Program, Stateless, StaticMapping, TermMatch,
};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::statics::StaticTable;
use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::npt::Nptv6;
use tandem_wire::prefix::Ipv6Prefix;
use tandem_wire::{ethernet, ipv4, parse6, tcp};

use crate::frames::{End, ends, ethertype, frame, open, syn, udp};
use crate::frames6::*;
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig};

/// Public addresses of static mappings, deterministic pools of both families, and whole addresses.
const STATIC: u32 = ip(203, 0, 114, 0);
const FORMULA: u32 = ip(203, 0, 115, 0);
const FORMULA6: u32 = ip(203, 0, 115, 128);
const WHOLE: u32 = ip(203, 0, 116, 0);
/// Prefix translation: an inside host's prefix and what the outside sees.
const ULA: u128 = ip6([0xfd00, 0, 1, 0, 0, 0, 0, 0]);
const SEEN: u128 = ip6([0x2001, 0xdb8, 9, 0, 0, 0, 0, 0]);

fn sub4(i: u32) -> u32 {
    ip(10, 0, 1, 0) + i
}

fn range(first: u32, count: u32) -> AddressRange {
    AddressRange {
        first,
        last: first + count - 1,
    }
}

/// Subscribers by what translates them: 16.. NAPT44, 32.. deterministic, 48.. whole addresses, 56.. static, 64.. not at all.
fn everything() -> Program {
    let mut program = firewall();
    let base = program.pools[0].clone();
    let pool = |id, first, count, mode| Pool {
        id,
        name: format!("pool{id}"),
        addresses: vec![range(first, count)],
        mode,
        ..base.clone()
    };
    let formula = |first, count, prefix| {
        PoolMode::Deterministic(Deterministic::new(vec![(first, count)], prefix, 2016).expect("a formula"))
    };
    program.pools.extend([
        pool(2, STATIC, 32, PoolMode::Static),
        pool(3, FORMULA, 1, formula(of_v4(sub4(32)), 16, 128)),
        pool(4, WHOLE, 64, PoolMode::Addresses),
        pool(5, FORMULA6, 1, formula(subscriber6(32) & !0xffff, 16, 64)),
    ]);
    let (mapping, filtering) = (
        MappingType::EndpointIndependent,
        FilteringType::EndpointIndependent,
    );
    let set = &mut program.service_sets[0];
    let sources = |first, count| TermMatch {
        sources: vec![range(sub4(first), count)],
        ..TermMatch::default()
    };
    let sources6 = TermMatch {
        sources6: vec![AddressRange6 {
            first: subscriber6(32) & !0xffff,
            last: subscriber6(47) | 0xffff,
        }],
        ..TermMatch::default()
    };
    let terms = [
        (
            sources(32, 16),
            NatAction::Napt44 {
                pool: 3,
                mapping,
                filtering,
            },
        ),
        (sources(48, 8), NatAction::Dynamic44 { pool: 4, filtering }),
        (sources(64, 8), NatAction::NoTranslation),
        (
            sources6,
            NatAction::Nat64 {
                pool: 5,
                mapping,
                filtering,
            },
        ),
    ];
    let new = (10u16..).zip(terms).map(|(number, (matches, action))| NatTerm {
        name: format!("t{number}"),
        number,
        matches,
        action,
        destination: None,
    });
    set.terms.splice(0..0, new);

    let fixed = |number, inside, public, protocol, port, ports| StaticMapping {
        name: format!("s{number}"),
        service_set: 1,
        number,
        inside,
        public,
        to_one: false,
        protocol,
        inside_port: port,
        public_port: port,
        ports,
        inbound_only: false,
        destination: None,
    };
    program.statics = Arc::new(
        StaticTable::new(vec![
            fixed(20, of_v4(sub4(56)), range(STATIC, 8), 0, 0, 0),
            // A port of an address of the pool, and of a static one.
            fixed(21, of_v4(sub4(16)), range(POOL, 1), 6, LET_IN, 1),
            fixed(22, subscriber6(20), range(STATIC + 20, 1), 6, LET_IN, 1),
        ])
        .expect("no contradiction"),
    );

    let mut second = program.service_sets[0].clone();
    second.id = 2;
    second.name = "npt".into();
    second.terms.clear();
    second.ipv6.nat64_prefixes.clear();
    let prefix = |network| Ipv6Prefix::new(network, 48).expect("a prefix");
    let pair = Nptv6::new(prefix(ULA), prefix(SEEN)).expect("a pair");
    second.stateless = vec![Stateless::Nptv6(pair)];
    program.service_sets.push(second);
    for interface in &mut program.interfaces {
        match interface.id {
            I_IN_VLAN => interface.inside_of = 2,
            I_OUT_VLAN => (interface.inside_of, interface.outside_of) = (NONE, vec![2]),
            _ => {}
        }
    }
    program.public_space = Arc::new(PublicSpace::build(&program.pools, None));
    program
}

/// An address and port, without what may differ between runs.
fn name(address: u128, port: u16) -> String {
    let v4 = (address >> 32 == 0xffff)
        .then_some(address as u32)
        .or_else(|| prefix64().extract(address));
    match v4 {
        Some(v4) if (POOL..=POOL_LAST).contains(&v4) && port != LET_IN => "public".into(),
        // Ports of a formula are some of the subscriber's own.
        Some(v4) if [FORMULA, FORMULA6].contains(&v4) => {
            format!("formula {v4:08x} {:?}", port.checked_sub(1024).map(|p| p / 2016))
        }
        Some(v4) if v4 & !255 == WHOLE => format!("whole:{port}"),
        _ => format!("{address:x}:{port}"),
    }
}

fn outcome(rig: &mut Rig) -> Vec<String> {
    let mut all: Vec<String> = rig
        .sent
        .drain(..)
        .map(|s| {
            let (dst, vlan, packet) = open(&s.frame);
            let six = ethertype(&s.frame) == ethernet::IPV6;
            let (src, to, protocol) = if six {
                let meta = parse6::parse_ipv6(packet).expect("IPv6");
                let (src, dst) = ((meta.src, meta.sport()), (meta.dst, meta.dport()));
                assert!(checksum_is_right(packet, &meta));
                (src, dst, meta.proto)
            } else {
                let (src, dst) = ends(&s.frame);
                ((of_v4(src.0), src.1), (of_v4(dst.0), dst.1), packet[9])
            };
            // A query's identifier is one of the public ends, whichever address stands beside it.
            let echo = matches!(protocol, ipv4::ICMP | ipv4::ICMPV6);
            let port = |end: (u128, u16)| if echo { 1024 } else { end.1 };
            let (src, to) = (name(src.0, port(src)), name(to.0, port(to)));
            format!(
                "{} {dst:02x?} {vlan:?} {protocol} {src} {to} {}",
                s.port,
                packet.len()
            )
        })
        .collect();
    let punted = rig.punted.drain(..);
    all.extend(punted.map(|p| format!("kernel {} {}", p.interface, p.frame.len())));
    all.sort();
    all
}

/// A rig, and whose turn it is to receive.
struct Run {
    rig: Rig,
    workers: usize,
    next: usize,
}

impl Run {
    fn feed(&mut self, port: u8, frame: &[u8]) {
        self.next += 1;
        self.rig.feed_at(self.next % self.workers, port, &[frame]);
    }

    /// Feeds one frame; the packet that left of it.
    fn pass(&mut self, port: u8, frame: &[u8]) -> Vec<u8> {
        let before = self.rig.sent.len();
        self.feed(port, frame);
        let sent = self.rig.sent.get(before);
        sent.unwrap_or_else(|| panic!("nothing left; {:?}", self.rig.drops()))
            .frame
            .clone()
    }

    fn routes(&mut self) {
        let on_link = Action::Ways(vec![Way {
            interface: I_IN_VLAN,
            gateway: None,
            weight: 1,
        }]);
        self.rig.routes.set6(ULA, 48, Arc::new(on_link)).expect("a route");
        for i in 0..16 {
            let host = ula(i);
            self.rig
                .routes
                .neighbour6(I_IN_VLAN, host.into(), Some(mac6(host)), false);
        }
        self.rig.routes.publish();
        self.rig.settle();
    }
}

fn ula(i: u128) -> u128 {
    ULA | i << 64 | 1
}

/// The same traffic through so many workers, every packet received by another one.
fn run(workers: u8) -> (Vec<Vec<String>>, Vec<(&'static str, u64)>) {
    let mut run = Run {
        rig: Rig::with(Options {
            workers,
            // Two have two shards each.
            shards_each: 1 + u8::from(workers == 2),
            program: everything(),
            ..Options::default()
        }),
        workers: usize::from(workers),
        next: 0,
    };
    run.routes();
    let mut outcomes = Vec::new();

    // Everybody opens a UDP and a TCP session and pings.
    let mut publics: BTreeMap<(u32, u8), End> = BTreeMap::new();
    for i in 16..72 {
        let kinds = [
            udp((sub4(i), 5000), (OUT1, 53)),
            syn((sub4(i), 5000), (OUT1, 80)),
            PacketBuilder::echo(sub4(i), OUT1, 5000, 1).data(b"ping"),
        ];
        for (kind, packet) in (0..).zip(kinds) {
            let sent = run.pass(P_IN, &frame(P_IN, packet));
            publics.insert((i, kind), ends(&sent).0);
        }
    }
    let mut publics6: BTreeMap<(u16, u8), End> = BTreeMap::new();
    for i in 1..48 {
        let host = subscriber6(i);
        let kinds = [
            udp6((host, 5000), (in64(OUT1), 53)),
            syn6((host, 5000), (in64(OUT1), 80)),
            PacketBuilder6::echo(host, in64(OUT1), 5000, 1).data(b"ping"),
        ];
        for (kind, packet) in (0..).zip(kinds) {
            let sent = run.pass(P_IN, &frame6(P_IN, packet));
            publics6.insert((i, kind), ends(&sent).0);
        }
        run.pass(P_IN, &frame6(P_IN, udp6((host, 5000), (OUT6, 53))));
        run.pass(P_IN, &frame6(P_IN, syn6((host, 5000), (OUT6, 80))));
    }
    let mut seen = Vec::new();
    for i in 0..16 {
        let packet = udp6((ula(i), 5000), (OUT6_VLAN, 53));
        let sent = run.pass(P_TRUNK, &tagged6(P_TRUNK, 100, packet));
        seen.push(ends6(&sent).0);
    }
    outcomes.push(outcome(&mut run.rig));

    // They are answered.
    for (kind, public) in publics
        .iter()
        .map(|(k, p)| (k.1, p))
        .chain(publics6.iter().map(|(k, p)| (k.1, p)))
    {
        let packet = match kind {
            0 => udp((OUT1, 53), *public),
            1 => PacketBuilder::tcp(OUT1, 80, public.0, public.1, tcp::SYN | tcp::ACK).data(b""),
            _ => PacketBuilder::echo_reply(OUT1, public.0, public.1, 1).data(b"ping"),
        };
        run.feed(P_OUT, &frame(P_OUT, packet));
    }
    for i in 1..48 {
        run.feed(P_OUT, &frame6(P_OUT, udp6((OUT6, 53), (subscriber6(i), 5000))));
        let answer = PacketBuilder6::tcp(OUT6, 80, subscriber6(i), 5000, tcp::SYN | tcp::ACK).data(b"");
        run.feed(P_OUT, &frame6(P_OUT, answer));
    }
    for end in &seen {
        run.feed(P_TRUNK, &tagged6(P_TRUNK, 200, udp6((OUT6_VLAN, 53), *end)));
    }
    outcomes.push(outcome(&mut run.rig));

    // They are called: by static mappings, by mappings, through the firewall; what policies say decides.
    // Whose address in the shared pool has the open port is chance.
    for port in [LET_IN, DENIED, REJECTED] {
        for i in 32..72 {
            run.feed(
                P_OUT,
                &frame(P_OUT, syn((OUT1 + i, 9), (publics[&(i, 1)].0, port))),
            );
        }
        run.feed(P_OUT, &frame(P_OUT, syn((OUT1 + 3, 9), (POOL, port))));
        run.feed(P_OUT, &frame(P_OUT, syn((OUT1 + 3, 9), (STATIC + 20, port))));
        for i in 1..48 {
            run.feed(P_OUT, &frame6(P_OUT, syn6((OUT6, 9), (subscriber6(i), port))));
        }
        for end in &seen {
            run.feed(
                P_TRUNK,
                &tagged6(P_TRUNK, 200, syn6((OUT6_VLAN, 9), (end.0, port))),
            );
        }
    }
    // The static port's host answers.
    let answer =
        PacketBuilder6::tcp(subscriber6(20), LET_IN, in64(OUT1 + 3), 9, tcp::SYN | tcp::ACK).data(b"");
    let sent = run.pass(P_IN, &frame6(P_IN, answer));
    assert_eq!(ends(&sent), ((STATIC + 20, LET_IN), (OUT1 + 3, 9)));
    outcomes.push(outcome(&mut run.rig));

    // What the outside complains about, what is too large, what dies, and fragments last first.
    for (at, public) in publics.values().chain(publics6.values()).enumerate().step_by(3) {
        let about = frame(P_OUT, udp(*public, (OUT1, 53)));
        for (kind, word) in [((3, 1), 0), ((3, 4), 1280)] {
            let icmp = PacketBuilder::icmp(ROUTER, public.0, kind.0, kind.1, word).data(&about[14..]);
            run.feed(P_OUT, &frame(P_OUT, icmp));
        }
        let whole = frame(P_OUT, udp((OUT1, 53), *public).data(&[2; 1000]));
        let raw = PacketBuilder::new(OUT1, public.0, Payload::Raw { proto: ipv4::UDP });
        let first = frame(P_OUT, raw.data(&whole[34..34 + 800]).id(9).fragment(true, 0));
        let last = frame(P_OUT, raw.data(&whole[34 + 800..]).id(9).fragment(false, 800));
        // A port spreads by addresses: fragments of one packet reach one worker.
        run.rig.feed_at(at % run.workers, P_OUT, &[last, first]);
        let large = udp((OUT1, 53), *public).data(&[2; 1400]).dont_fragment(false);
        run.feed(P_OUT, &frame(P_OUT, large));
    }
    for i in 1..48 {
        let host = subscriber6(i);
        for to in [in64(OUT1), OUT6] {
            let dying = udp6((host, 5000), (to, 53)).hop_limit(1);
            run.feed(P_IN, &frame6(P_IN, dying));
            let about = frame6(P_IN, udp6((to, 53), (host, 5000)));
            // From a router of the subscriber's, which has an address of another prefix.
            let icmp = PacketBuilder6::icmp(subscriber6(200 + i), to, 1, 4, 0).data(&about[14..]);
            run.feed(P_IN, &frame6(P_IN, icmp));
            let whole = frame6(P_IN, udp6((host, 5000), (to, 53)).data(&[2; 1000]));
            let raw = PacketBuilder6::new(host, to, Payload::Raw { proto: ipv4::UDP });
            let first = frame6(P_IN, raw.data(&whole[54..54 + 800]).fragment(true, 0, 9));
            let last = frame6(P_IN, raw.data(&whole[54 + 800..]).fragment(false, 800, 9));
            run.rig
                .feed_at(usize::from(i) % run.workers, P_IN, &[last, first]);
        }
        let about = frame6(P_OUT, udp6((host, 5000), (OUT6, 53)));
        let icmp = PacketBuilder6::icmp(OUT6 + 7, host, 1, 3, 0).data(&about[14..]);
        run.feed(P_OUT, &frame6(P_OUT, icmp));
    }
    for end in &seen {
        let about = frame6(P_TRUNK, udp6(*end, (OUT6_VLAN, 53)));
        let icmp = PacketBuilder6::icmp(OUT6_VLAN + 7, end.0, 1, 3, 0).data(&about[14..]);
        run.feed(P_TRUNK, &tagged6(P_TRUNK, 200, icmp));
    }
    outcomes.push(outcome(&mut run.rig));

    // They call each other by their public ends, and find the port that is open.
    for i in 1..48u16 {
        let to = publics6[&((i + 6) % 47 + 1, 0)];
        run.feed(
            P_IN,
            &frame6(P_IN, udp6((subscriber6(i), 5000), (in64(to.0), to.1))),
        );
        let to = publics[&(32 + u32::from(i) % 32, 1)];
        run.feed(
            P_IN,
            &frame6(P_IN, syn6((subscriber6(i), 5001), (in64(to.0), LET_IN))),
        );
        let to = publics6[&(i, 0)];
        run.feed(P_IN, &frame(P_IN, udp((sub4(16 + u32::from(i)), 5000), to)));
    }
    let call = syn6((subscriber6(7), 5002), (in64(STATIC + 20), LET_IN));
    run.feed(P_IN, &frame6(P_IN, call));
    outcomes.push(outcome(&mut run.rig));

    // SYNs that nobody waited for are answered.
    run.rig.wait(70);
    outcomes.push(outcome(&mut run.rig));

    if workers > 1 {
        let over = run.rig.count(|c| c.handed_over);
        assert!(
            over > 500,
            "most packets came to a worker that does not own them: {over}"
        );
    }
    run.rig.check_books();
    let drops = run.rig.drops();
    run.rig.finish();
    (outcomes, drops)
}

#[test]
fn any_number_of_workers_sends_the_same() {
    let one = run(1);
    let counts: Vec<usize> = one.0.iter().map(Vec::len).collect();
    println!("{counts:?} {:?}", one.1);
    for workers in [2, 4] {
        let several = run(workers);
        for (step, (a, b)) in one.0.iter().zip(&several.0).enumerate() {
            let only = |x: &[String], y: &[String]| -> Vec<String> {
                x.iter().filter(|l| !y.contains(l)).take(6).cloned().collect()
            };
            assert!(
                a == b,
                "step {step} with {workers} workers: {} and {}; only one: {:#?}; only several: {:#?}",
                a.len(),
                b.len(),
                only(a, b),
                only(b, a)
            );
        }
        assert_eq!(one.1, several.1, "drops with {workers} workers");
    }
}

/// Without a firewall, too, an inside address may be seen outside: when only destinations are translated.
#[test]
fn answers_to_untranslated_sources_reach_their_session() {
    const SERVICE: u32 = ip(198, 51, 99, 1);
    for workers in [2u8, 4] {
        let mut program = program();
        let destination = DestinationMap {
            from: range(SERVICE, 1),
            to_first: OUT1,
        };
        let term = NatTerm {
            name: "service".into(),
            number: 5,
            matches: TermMatch {
                destinations: vec![destination.from],
                ..TermMatch::default()
            },
            action: NatAction::DestinationOnly,
            destination: Some(destination),
        };
        program.service_sets[0].terms.insert(0, term);
        let mut run = Run {
            rig: Rig::with(Options {
                workers,
                program,
                ..Options::default()
            }),
            workers: usize::from(workers),
            next: 0,
        };
        for i in 16..48 {
            let (inside, outside) = ((sub4(i), 5000), (OUT1, 53));
            let sent = run.pass(P_IN, &frame(P_IN, udp(inside, (SERVICE, 53))));
            assert_eq!(ends(&sent), (inside, outside));
            let sent = run.pass(P_OUT, &frame(P_OUT, udp(outside, inside)));
            assert_eq!(ends(&sent), ((SERVICE, 53), inside));
            let sent = run.pass(P_OUT, &frame(P_OUT, udp(outside, inside)));
            assert_eq!(ends(&sent), ((SERVICE, 53), inside));
        }
        assert!(run.rig.count(|c| c.handed_over) > 10);
        run.rig.finish();
    }
}
