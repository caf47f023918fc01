//! RFC 6888: carrier-grade NAT.

use std::collections::{HashMap, HashSet};

use tandem_engine::address::of_v4;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::ports::BlockEventKind;
use tandem_engine::program::{
    AddressRange, FilteringType, MappingType, NatAction, NatTerm, PortAllocation, PortRange, RefusalAnswer,
    SubscriberLimits, TermMatch,
};
use tandem_engine::ticks::Ticks;

use crate::common::packets::{echo, raw, syn, udp};
use crate::common::plan::{INSIDE, INSIDE2, napt_term};
use crate::common::world::{Got, World, with_workers};
use crate::common::{IN1, IN2, OUT1, OUT2, POOL, POOL2, ip};

#[test]
fn c1_every_protocol_is_forwarded() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        for proto in [47, 50, 132, 4] {
            let got = world.inside(raw(proto, IN1, OUT1));
            let public = got.public().0;
            assert_eq!(world.outside(raw(proto, OUT1, public)).ends().1.0, IN1);
            assert_eq!(
                world.outside(raw(proto, OUT2, public)).dropped(),
                DropReason::NoMapping
            );
        }
        world.pass_seconds(303);
        assert!(world.sessions().is_empty() && world.subscribers().is_empty());
        for proto in [47, 50, 132, 4] {
            assert!((0..16).all(|i| world.claims.owner(POOL + i, OUT1, proto).is_none()));
        }
    });
}

#[test]
fn c1_a_burst_of_a_protocol_without_ports_is_one_session() {
    let mut world = World::new(1, |_| {});
    let got = world.burst(INSIDE, vec![raw(47, IN1, OUT1); 10]);
    assert!(got.iter().all(|g| g.verdict == Verdict::Forward));
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn c1_no_room_for_a_protocol_without_ports_has_a_name_of_its_own() {
    let mut world = World::new(1, |p| p.addresses(1));
    // Another worker's, until next to nothing more fits in.
    for other in 0..1 << 18 {
        let _full = world.claims.claim(POOL2, other, 47, 9);
    }
    for host in 0..8 {
        assert_eq!(
            world.inside(raw(47, IN1, OUT1 + host)).dropped(),
            DropReason::NatAddressOnlyFull
        );
    }
    assert!(world.sessions().is_empty());
    // Protocols with ports need none of it.
    world.inside(udp((IN1, 5000), (OUT1, 80))).forwarded();
    for other in 0..1 << 18 {
        world.claims.release(POOL2, other, 47, 9);
    }
    world.inside(raw(47, IN1, OUT1)).forwarded();
}

#[test]
fn c1_a_protocol_without_ports_and_others_share_an_address() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        for host in 1..60 {
            let inside = ip(10, 0, 3, host);
            // The first packet decides the pairing, whatever its protocol.
            let public = world.inside(raw(47, inside, OUT1 + u32::from(host))).public().0;
            assert_eq!(world.inside(udp((inside, 5000), (OUT1, 80))).public().0, public);
            assert_eq!(world.inside(echo((inside, 5000), OUT1)).public().0, public);
        }
    });
}

#[test]
fn c1_two_subscribers_of_one_address_and_peer_without_ports() {
    let mut world = World::new(2, |p| p.addresses(1));
    world.inside(raw(47, IN1, OUT1)).forwarded();
    assert_eq!(
        world.inside(raw(47, IN2, OUT1)).dropped(),
        DropReason::NatAddressOnlyConflict
    );
    world.inside(raw(47, IN2, OUT2)).forwarded();
    assert_eq!(world.outside(raw(47, OUT2, POOL)).ends().1.0, IN2);
}

#[test]
fn c2_pairing_holds_for_all_protocols() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        for host in 1..30 {
            let inside = ip(10, 0, 2, host);
            let a = world.inside(udp((inside, 5000), (OUT1, 80))).public().0;
            let b = world.inside(syn((inside, 5000), (OUT1, 80))).public().0;
            let c = world.inside(echo((inside, 5000), OUT1)).public().0;
            assert_eq!((a, a), (b, c));
        }
    });
}

#[test]
fn c3_a_pool_of_scattered_ranges() {
    let mut world = World::new(1, |p| {
        let scattered = [(0, 0), (5, 6), (1000, 1003), (70_000, 70_000)];
        p.pool().addresses = scattered
            .map(|(first, last)| AddressRange {
                first: POOL + first,
                last: POOL + last,
            })
            .to_vec();
    });
    let used: HashSet<u32> = (0..64)
        .map(|i| world.inside(udp((IN1 + i, 5000), (OUT1, 80))).public().0 - POOL)
        .collect();
    assert_eq!(used, HashSet::from([0, 5, 6, 1000, 1001, 1002, 1003, 70_000]));
    for public in used.iter().map(|u| POOL + u) {
        assert!(world.program.public_space.find(public).is_some());
    }
    assert!(world.program.public_space.find(POOL + 7).is_none());
}

#[test]
fn c4_limits_of_one_subscriber_leave_others_alone() {
    let limit = |change: fn(&mut SubscriberLimits)| {
        World::new(2, |p| {
            change(&mut p.set().limits);
        })
    };
    let send_udp = |world: &mut World, host, port| world.inside(udp((host, port), (OUT1, 80)));
    // A: all protocols together.
    let mut world = limit(|l| l.max_ports = 3);
    send_udp(&mut world, IN1, 1000).forwarded();
    world.inside(syn((IN1, 1000), (OUT1, 80))).forwarded();
    world.inside(echo((IN1, 1000), OUT1)).forwarded();
    assert_eq!(
        send_udp(&mut world, IN1, 1001).dropped(),
        DropReason::SubscriberPortLimit
    );
    send_udp(&mut world, IN1, 1000).forwarded();
    assert_eq!(
        world.inside(udp((IN1, 1000), (OUT2, 80))).verdict,
        Verdict::Forward,
        "no new port"
    );
    send_udp(&mut world, IN2, 1001).forwarded();
    // B: by protocol.
    let mut world = limit(|l| (l.max_tcp_ports, l.max_udp_ports, l.max_icmp_ids) = (1, 2, 1));
    for (port, passes) in [(1, true), (2, true), (3, false)] {
        assert_eq!(
            send_udp(&mut world, IN1, port).verdict == Verdict::Forward,
            passes
        );
    }
    for (port, passes) in [(1, true), (2, false)] {
        assert_eq!(
            world.inside(syn((IN1, port), (OUT1, 80))).verdict == Verdict::Forward,
            passes
        );
        assert_eq!(
            world.inside(echo((IN1, port), OUT1)).verdict == Verdict::Forward,
            passes
        );
    }
    // C: new mappings per second.
    let mut world = limit(|l| l.max_session_rate = 5);
    let passed = |world: &mut World, from: u16| {
        (from..from + 20)
            .filter(|p| send_udp(world, IN1, *p).verdict == Verdict::Forward)
            .count()
    };
    assert_eq!(passed(&mut world, 1000), 5);
    send_udp(&mut world, IN2, 1).forwarded();
    world.pass_seconds(1);
    assert_eq!(passed(&mut world, 2000), 5);
    // Freed ports count no more.
    let mut world = limit(|l| l.max_ports = 1);
    send_udp(&mut world, IN1, 1).forwarded();
    world.pass_seconds(310);
    send_udp(&mut world, IN1, 2).forwarded();
}

#[test]
fn c5_session_limit() {
    let mut world = World::new(1, |p| p.set().limits.max_sessions = 10);
    let send = |world: &mut World, i: u16| world.inside(udp((IN1, 5000), (OUT1, 1000 + i)));
    for i in 0..10 {
        send(&mut world, i).forwarded();
    }
    assert_eq!(
        send(&mut world, 10).drop_answer(),
        (DropReason::SubscriberSessionLimit, Answer::Unreachable(1))
    );
    send(&mut world, 3).forwarded();
    // Sessions from outside count, too: nobody outside can open more for a subscriber.
    let public = world.inside(udp((IN2, 5000), (OUT1, 80))).public();
    let admitted = (0..50)
        .filter(|i| world.outside(udp((OUT2, 2000 + i), public)).verdict == Verdict::Forward)
        .count();
    assert_eq!(admitted, 9);
    assert_eq!(world.subscribers().iter().map(|s| s.sessions).max(), Some(10));
    assert!(world.subscribers().iter().all(|s| s.refused > 0));
}

#[test]
fn c5_session_limit_within_one_burst() {
    let mut world = World::new(1, |p| p.set().limits.max_sessions = 10);
    let packets = (0..64).map(|i| udp((IN1, 5000), (OUT1, 1000 + i))).collect();
    let passed = world
        .burst(INSIDE, packets)
        .iter()
        .filter(|g| g.verdict == Verdict::Forward)
        .count();
    assert_eq!((passed, world.sessions().len()), (10, 10));
    // Packets of one new session are one session, also at the limit.
    let mut world = World::new(1, |p| p.set().limits.max_sessions = 1);
    let got = world.burst(INSIDE, vec![udp((IN1, 5000), (OUT1, 80)); 8]);
    assert!(got.iter().all(|g| g.verdict == Verdict::Forward));
    let mut world = World::new(1, |p| {
        p.set().limits.max_ports = 1;
        p.set().limits.max_session_rate = 1;
        p.behaviour(
            MappingType::AddressAndPortDependent,
            FilteringType::AddressAndPortDependent,
        );
    });
    let got = world.burst(INSIDE, vec![udp((IN1, 5000), (OUT1, 80)); 8]);
    assert!(got.iter().all(|g| g.verdict == Verdict::Forward));
}

#[test]
fn c6_exempt_destinations_are_not_translated() {
    let mut world = World::new(1, |p| {
        let exempt = NatTerm {
            destination: None,
            name: "r/exempt".to_owned(),
            number: 0,
            matches: TermMatch {
                destinations: vec![AddressRange {
                    first: OUT2,
                    last: OUT2,
                }],
                destination_ports: vec![PortRange { first: 25, last: 25 }],
                ..TermMatch::default()
            },
            action: NatAction::NoTranslation,
        };
        p.set().terms.insert(0, exempt);
        p.set().terms[1].number = 1;
    });
    let packet = syn((IN1, 5000), (OUT2, 25));
    let got = world.inside(packet.clone());
    assert_eq!((got.verdict, &got.packet), (Verdict::Route, &packet));
    world.inside(syn((IN1, 5000), (OUT2, 26))).forwarded();
    world.inside(syn((IN1, 5000), (OUT1, 25))).forwarded();
    // A term with ports matches no protocol without them.
    world.inside(echo((IN1, 25), OUT2)).forwarded();
    assert_eq!(world.sessions().iter().filter(|s| s.term == 1).count(), 3);
    // Off altogether.
    world.reload(|p| p.set().terms.truncate(1));
    assert_eq!(
        world.inside(syn((IN2, 5000), (OUT1, 80))).drop_answer(),
        (DropReason::NatNoRuleMatch, Answer::None)
    );
}

#[test]
fn c7_filtering_default() {
    // The default is the configuration's; endpoint-independent filtering works together with address pairing.
    let mut world = World::new(1, |_| {});
    let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
    world.outside(udp((OUT2, 4444), public)).forwarded();
}

#[test]
fn c8_a_freed_port_rests() {
    for quarantine in [120, 30] {
        let mut world = World::new(1, |p| {
            p.addresses(1);
            p.ports(1024, 1024);
            p.pool().quarantine = Ticks::from_seconds(quarantine);
        });
        let mut freed = None;
        let mut reused = None;
        world.inside(udp((IN1, 5000), (OUT1, 80))).forwarded();
        for second in 0..1000 {
            world.pass_seconds(1);
            if freed.is_none() && world.sessions().is_empty() {
                freed = Some(second);
            }
            if freed.is_some() && world.inside(udp((IN2, 5000), (OUT1, 80))).verdict == Verdict::Forward {
                reused = Some(second);
                break;
            }
        }
        let rest = reused.expect("reused") - freed.expect("freed");
        assert!(
            (quarantine..=2 * quarantine + 2).contains(&rest),
            "rested {rest} s"
        );
    }
}

#[test]
fn c8_reload_of_the_quarantine_shortens_no_rest_below_it() {
    for (before, after) in [(120, 60), (60, 120), (120, 119), (10, 300)] {
        let mut world = World::new(1, |p| {
            p.addresses(1);
            p.ports(1024, 1024);
            p.pool().quarantine = Ticks::from_seconds(before);
            p.set().timeouts.udp = Ticks::from_seconds(5);
        });
        world.inside(udp((IN1, 5000), (OUT1, 8000))).forwarded();
        world.pass_seconds(7);
        assert!(world.sessions().is_empty());
        let freed = world.now;
        world.reload(|p| p.pool().quarantine = Ticks::from_seconds(after));
        while world.inside(udp((IN2, 5000), (OUT1, 80))).verdict != Verdict::Forward {
            world.pass_seconds(1);
            assert!(world.now.since(freed).seconds() < 1000, "never given out again");
        }
        let rested = world.now.since(freed).seconds();
        assert!(rested + 2 >= after, "{before} -> {after}: rested {rested} s");
    }
}

#[test]
fn c8_no_quarantine_when_configured() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(1024, 1024);
        p.pool().quarantine = Ticks::ZERO;
    });
    world.inside(udp((IN1, 5000), (OUT1, 80))).forwarded();
    world.pass_seconds(303);
    world.inside(udp((IN2, 5000), (OUT1, 80))).forwarded();
}

#[test]
fn c10_exhaustion_refuses_the_new_and_keeps_the_old() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(1024, 1033);
    });
    let first: Vec<_> = (0..10)
        .map(|i| world.inside(udp((IN1 + i, 5000), (OUT1, 80))).public())
        .collect();
    for i in 10..30 {
        let got = world.inside(udp((IN1 + i, 5000), (OUT1, 80)));
        assert_eq!(
            got.drop_answer(),
            (DropReason::NatOutOfPorts, Answer::Unreachable(1))
        );
    }
    for (i, public) in first.iter().enumerate() {
        assert_eq!(
            world.outside(udp((OUT1, 80), *public)).ends().1,
            (IN1 + i as u32, 5000)
        );
    }
    assert_eq!(world.drops.get(DropReason::NatOutOfPorts), 20);
    assert_eq!(world.engines[0].pool_use().map(|u| u.refused).sum::<u64>(), 20);
    assert_eq!(world.subscribers().len(), 10, "who got nothing leaves nothing");
}

#[test]
fn c10_full_tables_refuse_and_recover() {
    type Shrink = fn(&mut tandem_engine::program::TableSizes);
    let tables: [(DropReason, Shrink); 3] = [
        (DropReason::SessionTableFull, |s| s.max_sessions = 16),
        (DropReason::MappingTableFull, |s| s.max_mappings = 16),
        (DropReason::SubscriberTableFull, |s| s.max_subscribers = 16),
    ];
    for (reason, shrink) in tables {
        for in_one_burst in [false, true] {
            let mut world = World::new(1, |p| {
                shrink(&mut p.sizes);
                p.set().on_refusal = RefusalAnswer::Silent;
            });
            let send = |world: &mut World| -> Vec<Got> {
                let packets: Vec<_> = (0..40).map(|i| udp((IN1 + i, 5000), (OUT1, 80))).collect();
                if in_one_burst {
                    world.burst(INSIDE, packets)
                } else {
                    packets.into_iter().map(|p| world.inside(p)).collect()
                }
            };
            for _ in 0..3 {
                let got = send(&mut world);
                assert_eq!(got.iter().filter(|g| g.verdict == Verdict::Forward).count(), 16);
                assert!(got[16..].iter().all(|g| g.dropped() == reason));
                world.pass_seconds(310);
                for (live, _) in world.engines[0].table_use() {
                    assert_eq!(live, 0, "{reason:?}");
                }
            }
            assert_eq!(world.engines[0].counters().port_release_mismatch, 0);
        }
    }
}

#[test]
fn c11_block_events_name_no_destination() {
    let mut world = World::new(1, |p| p.blocks(64, 4));
    let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
    let events = world.block_events();
    assert_eq!(events.len(), 1);
    let event = events[0];
    assert_eq!(
        (event.kind, event.inside, event.public),
        (BlockEventKind::Allocated, of_v4(IN1), public.0)
    );
    assert!((event.first_port..=event.last_port).contains(&public.1));
    // The record has no field for a destination: what could be one is the subscriber's or the pool's.
    let text = format!("{event:?}");
    assert!(!text.contains(&OUT1.to_string()) && !text.contains("outside") && !text.contains("destination"));
}

#[test]
fn c12_blocks_cut_log_volume() {
    let mut world = World::new(1, |p| p.blocks(256, 8));
    for host in 0..10 {
        for port in 0..100 {
            world
                .inside(udp((IN1 + host, 2000 + port), (OUT1, 80)))
                .forwarded();
        }
    }
    assert_eq!(world.block_events().len(), 10, "log records per 1000 flows");
    assert_eq!(world.engines[0].pool_use().map(|u| u.blocks).sum::<u64>(), 10);
}

/// Ports a new world gives to 1000 mappings of as many subscribers, or of one.
fn thousand_ports(seed: u64, one_subscriber: bool, blocks: bool) -> Vec<u16> {
    let mut world = World::new(1, |p| {
        p.seed = seed;
        p.addresses(1);
        if blocks {
            p.blocks(1024, 1);
        }
    });
    (0..1000u16)
        .map(|i| {
            let host = if one_subscriber { IN1 } else { IN1 + u32::from(i) };
            world.inside(udp((host, 5000 + i), (OUT1, 80))).public().1
        })
        .collect()
}

#[test]
fn c13_port_choice_is_unpredictable() {
    let mut steps: HashMap<i32, u32> = HashMap::new();
    let mut cells = [0f64; 63];
    for seed in 0..4 {
        let ports = thousand_ports(seed + 100, seed % 2 == 0, false);
        for pair in ports.windows(2) {
            *steps.entry(i32::from(pair[1]) - i32::from(pair[0])).or_default() += 1;
        }
        for port in ports {
            cells[usize::from((port - 1024) / 1024)] += 1.0;
        }
    }
    assert!(steps.values().all(|n| *n < 6), "no step is common");
    let expected = 4000.0 / 63.0;
    let chi: f64 = cells.iter().map(|c| (c - expected).powi(2) / expected).sum();
    // 62 degrees of freedom: mean 62, 99.9 % below 104. Without replacement, so a little less is normal.
    assert!((25.0..104.0).contains(&chi), "chi-square {chi}");
    assert_ne!(thousand_ports(7, false, false), thousand_ports(8, false, false));
}

#[test]
fn c13_within_a_block_too() {
    let ports = thousand_ports(9, true, true);
    let (low, high) = (ports.iter().min().copied(), ports.iter().max().copied());
    assert!(
        high.zip(low).is_some_and(|(h, l)| h - l < 1024),
        "all of one block"
    );
    let ascending = ports.windows(2).filter(|w| w[1] > w[0]).count();
    assert!((400..600).contains(&ascending), "{ascending} of 999 steps go up");
}

#[test]
fn c13_sequential_when_configured() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.pool().port_allocation = PortAllocation::Sequential;
    });
    let ports: Vec<u16> = (0..100)
        .map(|i| world.inside(udp((IN1 + i, 5000), (OUT1, 80))).public().1)
        .collect();
    assert_eq!(ports, (1024..1124).collect::<Vec<u16>>());
}

#[test]
fn several_service_sets_keep_the_same_inside_address_apart() {
    with_workers(|workers| {
        let mut world = World::new(workers, |p| p.second(POOL2, 4));
        let a = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
        let b = world.one(INSIDE2, udp((IN1, 5000), (OUT1, 80))).public();
        assert!(a.0 < POOL + 16 && (POOL2..POOL2 + 4).contains(&b.0));
        assert_eq!(world.sessions().len(), 2);
        assert_eq!(world.subscribers().len(), 2);
        let term = napt_term(
            0,
            2,
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
            TermMatch::default(),
        );
        world.reload(|p| p.set().terms = vec![term]);
        assert_eq!(
            world.inside(udp((IN1, 5000), (OUT2, 80))).public(),
            a,
            "a mapping outlives its rule"
        );
    });
}
