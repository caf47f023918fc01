//! Input: operations on two workers, one after the other: packets from either side, a reply to a session, time, a reload,
//! a clearing. Every packet has a verdict, nothing panics, and the books of ports and sessions stay right.

use std::sync::Arc;

use tandem_engine::claims::Claims;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::packet::{Desc, Route, RouteKind, Router, Sides, Verdict};
use tandem_engine::program::*;
use tandem_engine::public_space::PublicSpace;
use tandem_engine::session::{Direction, KIND_FREE};
use tandem_engine::steer::{Split, Steering};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter, Query};
use tandem_wire::build::PacketBuilder;
use tandem_wire::l4::parse_ipv4;

const POOL: u32 = 0xcb00_7100;

struct Net;
impl Router for Net {
    fn generation(&self) -> u32 {
        1
    }
    fn route(&self, destination: u32, _hash: u32) -> Route {
        let next_hop = match destination >> 24 {
            10 => 0,
            192 => 2,
            172 => 3,
            _ => 1,
        };
        Route {
            next_hop,
            kind: self.next_hop(next_hop),
        }
    }
    fn route6(&self, _destination: u128, _hash: u32) -> Route {
        Route {
            next_hop: 0,
            kind: self.next_hop(0),
        }
    }

    fn next_hop(&self, number: u16) -> RouteKind {
        match number {
            0 => RouteKind::Forward {
                interface: 1,
                mtu: 1500,
            },
            1 => RouteKind::Forward {
                interface: 2,
                mtu: 1400,
            },
            2 => RouteKind::Kernel,
            _ => RouteKind::Drop(DropReason::NoRoute),
        }
    }
}

fn pick<T: Copy>(byte: u8, from: &[T]) -> T {
    from[usize::from(byte) % from.len()]
}

/// A program from eight octets.
fn program(c: &[u8; 8], previous: Option<&Program>) -> Arc<Program> {
    let seconds = |b: u8| Ticks::from_seconds(u32::from(b % 60));
    let mapping = pick(
        c[0],
        &[
            MappingType::EndpointIndependent,
            MappingType::AddressAndPortDependent,
        ],
    );
    let filtering = pick(
        c[0] >> 1,
        &[
            FilteringType::EndpointIndependent,
            FilteringType::AddressDependent,
            FilteringType::AddressAndPortDependent,
        ],
    );
    let pool = |id: u16, first: u32, count: u32| Pool {
        id,
        name: String::new(),
        addresses: vec![AddressRange {
            first,
            last: first + count - 1,
        }],
        ports: PortRange {
            first: u16::from(c[1]) * 16,
            last: u16::from(c[1]) * 16 + 300,
        },
        address_allocation: pick(
            c[2],
            &[AddressAllocation::RoundRobin, AddressAllocation::Sequential],
        ),
        address_pooling: pick(
            c[2] >> 1,
            &[
                AddressPooling::Paired,
                AddressPooling::PairedSoft,
                AddressPooling::Arbitrary,
            ],
        ),
        port_allocation: pick(c[2] >> 3, &[PortAllocation::Random, PortAllocation::Sequential]),
        preserve_range: c[2] & 16 != 0,
        preserve_parity: c[2] & 32 != 0,
        preserve_contiguity: c[2] & 64 != 0,
        port_blocks: (c[3] & 1 != 0).then(|| PortBlocks {
            block_size: 64 << (c[3] >> 1 & 3),
            max_blocks_per_subscriber: 1 + u16::from(c[3] >> 3 & 3),
            active_block_timeout: seconds(c[4]),
            last_block_recycle_timeout: seconds(c[4] >> 2),
            interim_logging_interval: seconds(c[4] >> 4),
        }),
        quarantine: seconds(c[5]),
        drain: c[5] == 255,
        interface_address: c[3] & 128 != 0,
        mode: Default::default(),
    };
    let pools = match c[6] % 4 {
        0 => vec![pool(1, POOL, 3)],
        1 => vec![pool(1, POOL, 1), pool(2, POOL + 1, 2)],
        2 => vec![pool(2, POOL, 3)],
        _ => vec![pool(1, POOL + 2, 1)],
    };
    let terms = [
        (
            0,
            TermMatch {
                sources6: Vec::new(),
                protocols: vec![17],
                ..TermMatch::default()
            },
        ),
        (1, TermMatch::default()),
    ]
    .map(|(number, matches)| NatTerm {
        destination: None,
        name: String::new(),
        number,
        matches,
        action: NatAction::Napt44 {
            pool: 1 + number % 2,
            mapping,
            filtering,
        },
    })
    .to_vec();
    let limit = u32::from(c[7] & 15);
    let set = ServiceSet {
        id: 1,
        name: String::new(),
        terms,
        timeouts: Timeouts {
            tcp_established: seconds(c[7]),
            tcp_opening: seconds(c[7] >> 1),
            tcp_closing: seconds(c[7] >> 2),
            udp: seconds(c[7] >> 3),
            udp_well_known: seconds(c[7] >> 4),
            icmp: seconds(c[7] >> 5),
            other: seconds(c[7]),
        },
        limits: SubscriberLimits {
            max_sessions: limit,
            max_ports: limit,
            ..SubscriberLimits::default()
        },
        tcp: TcpOptions {
            accept_non_syn: c[0] & 8 != 0,
            track_window: false,
            mss_clamp: if c[0] & 16 != 0 { 600 } else { 0 },
        },
        refresh: pick(c[0] >> 5, &[RefreshDirection::Outbound, RefreshDirection::Both]),
        on_refusal: RefusalAnswer::HostUnreachable,
        ipv6: Default::default(),
        firewall: None,
        stateless: Vec::new(),
        replication: Default::default(),
        on_unsolicited: pick(
            c[0] >> 6,
            &[
                UnsolicitedAnswer::Silent,
                UnsolicitedAnswer::HoldThenPortUnreachable,
            ],
        ),
    };
    let interface = |id, inside_of, outside_of| Interface {
        id,
        name: String::new(),
        inside_of,
        outside_of,
    };
    Arc::new(Program {
        generation: previous.map_or(1, |p| p.generation + 1),
        statics: Default::default(),
        prefixes: Vec::new(),
        steering_prefix: 64,
        public_space: Arc::new(PublicSpace::build(&pools, previous.map(|p| &*p.public_space))),
        service_sets: vec![set],
        pools,
        interfaces: vec![
            interface(1, 1, vec![]),
            interface(2, NONE, vec![1]),
            interface(3, NONE, vec![]),
        ],
        fragment_timeout: Ticks::from_seconds(2),
        verify_ipv4_checksum: false,
        data_link: None,
    })
}

struct World {
    engines: Vec<Engine>,
    program: Arc<Program>,
    claims: Arc<Claims>,
    now: Ticks,
}

impl World {
    fn pass(&mut self, packet: Vec<u8>, interface: u16, ports: Option<(u16, u16)>) {
        let Ok(meta) = parse_ipv4(&packet) else { return };
        let mut desc = Desc::new(meta, interface, Sides::of(&self.program).side(interface));
        if let Some(ports) = ports {
            (desc.sport, desc.dport) = ports;
        }
        let mut packets = [packet];
        for round in 0..2 {
            let split = self.engines[0].split();
            let at = Steering::of(&self.program).worker(&desc, &packets[0], &self.claims, split);
            let engine = &mut self.engines[usize::from(at.unwrap_or(0))];
            let mut descs = [desc];
            engine.process(self.now, &Net, &mut packets, &mut descs);
            desc = descs[0];
            assert_ne!(desc.verdict, Verdict::Pending);
            if desc.verdict != Verdict::Hairpin {
                return;
            }
            assert_eq!(round, 0, "round and round");
            let Ok(meta) = parse_ipv4(&packets[0]) else { return };
            desc = Desc::hairpin(meta, desc.sport, desc.dport);
        }
    }

    /// Ports in use are those of mappings and of sessions that own one; sessions of subscribers are all sessions.
    fn check(&self) {
        let mut ends = std::collections::HashSet::new();
        for engine in &self.engines {
            assert_eq!(engine.counters().port_release_mismatch, 0);
            let tables = engine.tables();
            let mut owned = 0u64;
            for m in (0..tables.mappings.high_water()).filter_map(|n| tables.mappings.get(n)) {
                assert!(ends.insert((m.public, m.public_port, m.protocol)));
                owned += 1;
            }
            for hot in (0..tables.sessions.high_water()).filter_map(|n| tables.sessions.hot(n)) {
                if hot.kind != KIND_FREE && hot.flags & tandem_engine::session::FLAG_OWNS_PORT != 0 {
                    let back = hot.tuples[Direction::In as usize];
                    assert!(ends.insert((back.dst, back.dport, hot.protocol)));
                    owned += 1;
                }
            }
            let used: u64 = engine
                .pool_use()
                .map(|u| u.tcp_ports + u.udp_ports + u.icmp_ids)
                .sum();
            assert_eq!(used, owned);
            let sessions: u32 = (0..tables.subscribers.high_water())
                .filter_map(|n| tables.subscribers.get(n))
                .map(|s| s.sessions)
                .sum();
            assert_eq!(sessions, tables.sessions.live());
        }
    }
}

fn operations(mut data: &[u8]) -> Option<()> {
    let mut take = |n: usize| -> Option<&[u8]> {
        let (head, rest) = data.split_at_checked(n)?;
        data = rest;
        Some(head)
    };
    let program_ = program(take(8)?.try_into().ok()?, None);
    let claims = Arc::new(Claims::default());
    let sizes = TableSizes {
        max_sessions: 32,
        max_mappings: 24,
        max_subscribers: 8,
        max_blocks: 8,
        max_reassemblies: 16,
        max_held_fragments: 16,
    };
    let engine = |worker| {
        let config = EngineConfig {
            worker,
            split: Split::new(2, 4).ok()?,
            sizes,
            max_extents: 8,
            seed: 7,
            claims: Arc::clone(&claims),
        };
        Engine::new(config, Arc::clone(&program_)).ok()
    };
    let mut world = World {
        engines: vec![engine(0)?, engine(1)?],
        program: Arc::clone(&program_),
        claims: Arc::clone(&claims),
        now: Ticks(1000),
    };
    while let Some(&[code, a, b]) = take(3) {
        let inside = (0x0a00_0001 + u32::from(a & 7), 1000 + u16::from(a >> 3));
        let outside = (0xc633_6401 + u32::from(b & 3), 50 + u16::from(b >> 2));
        let end = (POOL + u32::from(b & 3), u16::from(a) + u16::from(b >> 2) * 256);
        let mut buffer = [0u8; 128];
        let mut built = |builder: PacketBuilder<'_>| builder.write(&mut buffer).map(|n| buffer[..n].to_vec());
        match code % 12 {
            0 => world.pass(
                built(PacketBuilder::udp(inside.0, inside.1, outside.0, outside.1))?,
                1,
                None,
            ),
            1 => world.pass(
                built(PacketBuilder::tcp(
                    inside.0,
                    inside.1,
                    outside.0,
                    outside.1,
                    code >> 2,
                ))?,
                1,
                None,
            ),
            2 => world.pass(
                built(PacketBuilder::echo(inside.0, outside.0, inside.1, 0))?,
                1,
                None,
            ),
            3 => world.pass(
                built(PacketBuilder::udp(inside.0, inside.1, end.0, end.1))?,
                1,
                None,
            ),
            4 => world.pass(
                built(PacketBuilder::tcp(outside.0, outside.1, end.0, end.1, code >> 2))?,
                2,
                None,
            ),
            // To a session there is, from its peer or, from inside, as the subscriber.
            5 | 6 => {
                let tables = world.engines[usize::from(a & 1)].tables();
                let live = |n: &u32| tables.sessions.hot(*n).is_some_and(|h| h.kind != KIND_FREE);
                let all: Vec<u32> = (0..tables.sessions.high_water()).filter(live).collect();
                let hot = all
                    .get(usize::from(b) % all.len().max(1))
                    .and_then(|n| tables.sessions.hot(*n))
                    .copied();
                if let Some(hot) = hot {
                    let t = hot.tuples[usize::from(code % 12 == 6)];
                    let packet = match hot.protocol {
                        6 => built(PacketBuilder::tcp(t.src, t.sport, t.dst, t.dport, code >> 2))?,
                        17 => built(PacketBuilder::udp(t.src, t.sport, t.dst, t.dport))?,
                        _ => built(PacketBuilder::echo(t.src, t.dst, t.sport | t.dport, 0))?,
                    };
                    let about = [3, 11, 12][usize::from(a) % 3];
                    world.pass(packet.clone(), if code % 12 == 6 { 2 } else { 1 }, None);
                    // And an error about it, as if it had been forwarded the other way round.
                    if let Some(error) =
                        built(PacketBuilder::icmp(outside.0, t.src, about, 0, 0).data(&packet))
                    {
                        world.pass(error, if code % 12 == 6 { 1 } else { 2 }, None);
                    }
                }
            }
            7 => {
                world.now = world.now.plus(Ticks(u32::from(a) * u32::from(b & 15)));
                let now = world.now;
                world
                    .engines
                    .iter_mut()
                    .for_each(|e| e.maintain(now, usize::from(b)));
            }
            8 => {
                world.program = program(take(8)?.try_into().ok()?, Some(&world.program));
                for e in &mut world.engines {
                    e.apply(Arc::clone(&world.program));
                }
            }
            9 => {
                let filter = Filter {
                    protocol: Some([6, 17, 1, 47][usize::from(a) % 4]),
                    ..Filter::default()
                };
                for e in &mut world.engines {
                    let mut query = Query::new(Ask::ClearSessions, filter, 0, 0);
                    while !query.done {
                        e.answer(&mut query, 16);
                    }
                }
            }
            // The fuzzer's own octets, perhaps with ports as virtual reassembly would tell them.
            _ => {
                let packet = take(usize::from(a))?.to_vec();
                world.pass(
                    packet,
                    1 + u16::from(b % 3),
                    (b & 4 != 0).then_some((inside.1, outside.1)),
                );
            }
        }
        world.check();
    }
    // Everything ends.
    let empty = |world: &World| {
        world
            .engines
            .iter()
            .all(|e| e.table_use().iter().all(|(live, _)| *live == 0))
    };
    for _ in 0..200 {
        if empty(&world) {
            break;
        }
        world.now = world.now.plus(Ticks::from_seconds(30));
        let now = world.now;
        world.engines.iter_mut().for_each(|e| e.maintain(now, 64));
    }
    world.check();
    assert!(empty(&world));
    Some(())
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let _ended_early = operations(data);
}
