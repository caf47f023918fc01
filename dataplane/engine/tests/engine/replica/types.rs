//! Sessions of every translation type survive a takeover.

use tandem_engine::address::of_v4;
use tandem_engine::hash::Rng;
use tandem_engine::packet::Verdict;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::policy::PolicyAction;
use tandem_engine::program::{
    AddressRange, DestinationMap, FilteringType, Firewall, MappingType, NatAction, PolicyList, PoolMode,
    Stateless, StaticMapping,
};
use tandem_engine::statics::StaticTable;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::SessionState;
use tandem_wire::Ipv6Prefix;
use tandem_wire::npt::Nptv6;
use tandem_wire::tcp::{ACK, FIN, PSH, SYN};

use super::{Outcome, Pair, outcome};
use crate::common::any::{self, End};
use crate::common::plan::{INSIDE, OUTSIDE, Plan};
use crate::common::world::{Got, World};
use crate::common::{HOST1, HOST1B, HOST2, IN1, IN2, OUT1, OUT2, POOL, in64, out6};
use crate::simulator::books::Books;

const EIM: MappingType = MappingType::EndpointIndependent;
const APDM: MappingType = MappingType::AddressAndPortDependent;
const EIF: FilteringType = FilteringType::EndpointIndependent;
const ADF: FilteringType = FilteringType::AddressDependent;
const APDF: FilteringType = FilteringType::AddressAndPortDependent;

/// A translation type: what it changes of the plan, and whether its inside is IPv6 and its outside.
type Case = (&'static str, fn(&mut Plan), bool, bool);

fn open_firewall(plan: &mut Plan) {
    let all = PolicyList::plain(Vec::new(), PolicyAction::Permit);
    plan.set().firewall = Some(Firewall {
        outbound: all.clone(),
        inbound: all,
    });
}

fn one_static(plan: &mut Plan, destination: Option<DestinationMap>) {
    plan.set().terms.clear();
    plan.pool().mode = PoolMode::Static;
    let mapping = StaticMapping {
        name: "static".into(),
        service_set: 1,
        number: 7,
        inside: of_v4(IN1 & !15),
        public: AddressRange {
            first: POOL,
            last: POOL + 15,
        },
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination,
    };
    plan.program.statics = std::sync::Arc::new(StaticTable::new(vec![mapping]).expect("one mapping"));
}

fn alias() -> DestinationMap {
    DestinationMap {
        from: AddressRange {
            first: OUT1 & !255,
            last: OUT1 | 255,
        },
        to_first: OUT1 & !255,
    }
}

const CASES: &[Case] = &[
    ("napt-44, EIM and EIF", |_| {}, false, false),
    ("napt-44, EIM and ADF", |p| p.behaviour(EIM, ADF), false, false),
    ("napt-44, EIM and APDF", |p| p.behaviour(EIM, APDF), false, false),
    ("napt-44, APDM", |p| p.behaviour(APDM, APDF), false, false),
    ("napt-44, port blocks", |p| p.blocks(64, 4), false, false),
    (
        "napt-44, ports shared",
        |p| {
            p.pool().mode = PoolMode::OverloadedPorts;
            p.behaviour(APDM, APDF);
        },
        false,
        false,
    ),
    (
        "deterministic napt-44",
        |p| {
            let formula = Deterministic::new(vec![(of_v4(IN1 & !15), 16)], 128, 64);
            p.pool().mode = PoolMode::Deterministic(formula.expect("a formula"));
        },
        false,
        false,
    ),
    (
        "dynamic-nat44",
        |p| {
            p.pool().mode = PoolMode::Addresses;
            p.set().terms[0].action = NatAction::Dynamic44 {
                pool: 1,
                filtering: EIF,
            };
        },
        false,
        false,
    ),
    ("basic-nat44", |p| one_static(p, None), false, false),
    ("twice-nat", |p| one_static(p, Some(alias())), false, false),
    (
        "twice-napt-44",
        |p| p.set().terms[0].destination = Some(alias()),
        false,
        false,
    ),
    (
        "destination NAT",
        |p| {
            p.set().terms[0].action = NatAction::DestinationOnly;
            p.set().terms[0].destination = Some(alias());
        },
        false,
        false,
    ),
    ("NAT64, EIM", |p| p.nat64(), true, false),
    (
        "NAT64, APDM",
        |p| {
            p.nat64();
            p.behaviour64(APDM, APDF);
        },
        true,
        false,
    ),
    (
        "firewall, IPv4",
        |p| {
            p.set().terms.clear();
            open_firewall(p);
        },
        false,
        false,
    ),
    ("firewall, IPv6", open_firewall, true, true),
    (
        "IPv6 prefixes and a firewall",
        |p| {
            open_firewall(p);
            let prefix = |bits: u128| Ipv6Prefix::new(bits, 48).expect("a prefix");
            let pair = Nptv6::new(prefix(0x2001_0db8 << 96), prefix(0x2001_0db8_0077_u128 << 80));
            p.set().stateless = vec![Stateless::Nptv6(pair.expect("a pair"))];
        },
        true,
        true,
    ),
];

/// Packets from inside that begin sessions of every protocol.
fn openers(six_inside: bool, six_outside: bool, rng: &mut Rng) -> Vec<Vec<u8>> {
    let hosts = if six_inside {
        [HOST1, HOST1B, HOST2]
    } else {
        [of_v4(IN1), of_v4(IN2), of_v4(IN1 + 4)]
    };
    let there = |host: u32| match (six_inside, six_outside) {
        (true, true) => out6(u64::from(host & 255)),
        (true, false) => in64(host),
        _ => of_v4(host),
    };
    let mut packets = Vec::new();
    for host in hosts {
        for outside in [OUT1, OUT2] {
            let from: End = (host, 1024 + rng.below(60_000) as u16);
            let to: End = (there(outside), 443);
            packets.push(any::udp(from, to));
            packets.push(any::tcp(from, to, SYN));
            packets.push(any::echo(from, to.0));
            if !six_inside || six_outside {
                packets.push(any::raw(47, from.0, to.0));
            }
        }
    }
    packets
}

/// The answer to a packet as it is outside.
fn answer(packet: &[u8], flags: u8) -> Vec<u8> {
    let (src, dst, proto) = ends_of(packet);
    match proto {
        6 => any::tcp(dst, src, flags),
        17 => any::udp(dst, src),
        1 | 58 => any::echo_reply(dst.0, src),
        other => any::raw(other, dst.0, src.0),
    }
}

/// The same flow's next packet from inside.
fn next(packet: &[u8], flags: u8) -> Vec<u8> {
    let (src, dst, proto) = ends_of(packet);
    if proto == 6 {
        return any::tcp(src, dst, flags);
    }
    packet.to_vec()
}

fn ends_of(packet: &[u8]) -> (End, End, u8) {
    if packet[0] >> 4 == 6 {
        let (src, dst) = crate::common::packets6::ends6(packet);
        (src, dst, packet[6])
    } else {
        let ((src, sport), (dst, dport)) = crate::common::packets::ends(packet);
        ((of_v4(src), sport), (of_v4(dst), dport), packet[9])
    }
}

fn forwarded(world: &mut World, interface: u16, packet: Vec<u8>, what: &str) -> Got {
    let got = world.one(interface, packet);
    assert_eq!(got.verdict, Verdict::Forward, "{what}");
    got
}

/// Begins sessions on the primary: from inside, answered, and TCP opened.
fn begin(world: &mut World, case: &Case, seed: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (name, _, six_inside, six_outside) = *case;
    openers(six_inside, six_outside, &mut Rng::new(seed))
        .into_iter()
        .filter_map(|packet| {
            let got = world.one(INSIDE, packet.clone());
            // Two inside hosts do not have the same address towards one outside host: some types have no ports.
            if got.verdict != Verdict::Forward {
                return None;
            }
            let back = answer(&got.packet, SYN | ACK);
            forwarded(world, OUTSIDE, back, name);
            forwarded(world, INSIDE, next(&packet, ACK), name);
            Some((packet, got.packet))
        })
        .collect()
}

/// What both directions of these flows look like behind the translation now.
fn looks(world: &mut World, flows: &[(Vec<u8>, Vec<u8>)], name: &str) -> Vec<Outcome> {
    let mut all = Vec::new();
    for (inside, outside) in flows {
        all.push(outcome(&forwarded(world, INSIDE, next(inside, ACK | PSH), name)));
        all.push(outcome(&forwarded(
            world,
            OUTSIDE,
            answer(outside, ACK | PSH),
            name,
        )));
    }
    all
}

#[test]
fn packets_look_the_same_after_a_takeover() {
    for case in CASES {
        for workers in [1, 2] {
            let (name, change, ..) = *case;
            let mut pair = Pair::new(workers, 4096, change);
            let flows = begin(&mut pair.worlds[0], case, 5);
            assert!(flows.len() >= 6, "{name}: only {} flows", flows.len());
            pair.carry();
            pair.assert_no_trouble();
            pair.assert_same();
            for world in &mut pair.worlds {
                Books::new(world).check(world);
            }
            let before = looks(&mut pair.worlds[0], &flows, name);
            pair.switch_over(1);
            let after = looks(&mut pair.worlds[1], &flows, name);
            assert_eq!(before, after, "{name}");
            Books::new(&pair.worlds[1]).check(&mut pair.worlds[1]);
            // New sessions of known subscribers go on where the old ones are, once what the old primary had has rested.
            pair.pass(Ticks::from_seconds(130));
            let more = begin(&mut pair.worlds[1], case, 6);
            assert!(!more.is_empty(), "{name}: no new sessions after a takeover");
            for (_, outside) in &more {
                let (src, _, _) = ends_of(outside);
                let known = flows.iter().any(|(_, old)| ends_of(old).0.0 == src.0);
                assert!(known, "{name}: {src:?} is no address of before");
            }
            pair.carry();
            pair.assert_no_trouble();
            pair.assert_same();
        }
    }
}

#[test]
fn what_ends_on_the_primary_ends_on_the_standby_once() {
    for case in CASES {
        let (name, change, ..) = *case;
        let mut pair = Pair::new(1, 4096, change);
        let flows = begin(&mut pair.worlds[0], case, 9);
        pair.carry();
        assert!(!pair.worlds[1].sessions().is_empty(), "{name}");
        for (inside, outside) in &flows {
            if ends_of(inside).2 == 6 {
                forwarded(&mut pair.worlds[0], INSIDE, next(inside, FIN | ACK), name);
                forwarded(&mut pair.worlds[0], OUTSIDE, answer(outside, FIN | ACK), name);
            }
        }
        pair.carry();
        pair.assert_same();
        let closing = |world: &mut World| {
            let sessions = world.sessions();
            sessions
                .iter()
                .filter(|s| s.state == SessionState::Closing)
                .count()
        };
        let [a, b] = pair.worlds.each_mut().map(closing);
        assert!(a == b && a > 0, "{name}: {a} and {b} close");
        pair.pass(Ticks::from_seconds(8000));
        pair.pass(Ticks::from_seconds(8000));
        pair.assert_no_trouble();
        for world in &mut pair.worlds {
            Books::new(world).check(world);
            for engine in &world.engines {
                assert_eq!(engine.table_use().map(|(live, _)| live), [0; 4], "{name}");
            }
        }
    }
}
