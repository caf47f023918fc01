//! IPv6 subscribers are prefixes: RFC 6146 section 5, RFC 6888 where it holds for NAT64, RFC 6877 (464XLAT), RFC 7422.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::{PoolMode, SubscriberLimits};

use crate::common::packets::{syn, udp};
use crate::common::packets6::{echo6, syn6, udp6};
use crate::common::plan::Plan;
use crate::common::world::{World, with_nat64};
use crate::common::{HOST1, HOST1B, HOST2, HOST3, IN1, OUT1, OUT2, POOL, in6, in64};

const TO: (u128, u16) = (in64(OUT1), 80);

fn v6(address: u128) -> IpAddr {
    IpAddr::V6(address.into())
}

/// Subscribers of this many bits.
fn of_prefix(plan: &mut Plan, bits: u8) {
    plan.set().ipv6.subscriber_prefix = bits;
    plan.program.steering_prefix = bits.min(64);
}

#[test]
fn n14_limits_are_those_of_a_prefix() {
    // HOST1 and HOST1B share a /64, HOST2 the /56 with them, HOST3 the /48.
    for (bits, together) in [
        (128, &[HOST1][..]),
        (64, &[HOST1, HOST1B]),
        (56, &[HOST1, HOST1B, HOST2]),
        (48, &[HOST1, HOST1B, HOST2, HOST3]),
    ] {
        with_nat64(
            |plan| {
                of_prefix(plan, bits);
                plan.set().limits.max_sessions = 4;
            },
            |world| {
                for n in 0..4 {
                    let host = together[n % together.len()];
                    world.inside(udp6((host, 5000 + n as u16), TO)).forwarded();
                }
                let addresses: HashSet<_> = world.mappings().into_iter().map(|m| m.public).collect();
                assert_eq!((addresses.len(), world.subscribers().len()), (1, 1), "/{bits}");
                for host in [HOST1, HOST1B, HOST2, HOST3] {
                    let got = world.inside(udp6((host, 9), TO));
                    if together.contains(&host) {
                        let told = (DropReason::SubscriberSessionLimit, Answer::Unreachable(3));
                        assert_eq!(got.drop_answer(), told, "/{bits}");
                    } else {
                        got.forwarded();
                    }
                }
                let first = world
                    .subscribers()
                    .into_iter()
                    .find(|s| s.sessions == 4)
                    .expect("it is full");
                let mask = u128::MAX << (128 - u32::from(bits));
                assert_eq!(first.address, v6(HOST1 & mask), "its first address");
                assert_eq!(first.refused as usize, together.len());
                // From outside it is refused, too, without a word.
                let mapping = world.mappings().into_iter().find(|m| m.inside == v6(HOST1));
                let mapping = mapping.expect("the first one's");
                let IpAddr::V4(public) = mapping.public else {
                    panic!("not IPv4")
                };
                let got = world.outside(udp((OUT2, 9), (public.to_bits(), mapping.public_port)));
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::SubscriberSessionLimit, Answer::None)
                );
            },
        );
    }
}

#[test]
fn n14_port_limits_and_rates_of_one_leave_others_alone() {
    let world = |change: fn(&mut SubscriberLimits)| World::nat64(2, |p| change(&mut p.set().limits));
    let mut limited = world(|l| l.max_ports = 3);
    limited.inside(udp6((HOST1, 1000), TO)).forwarded();
    limited.inside(syn6((HOST1B, 1000), TO)).forwarded();
    limited.inside(echo6((HOST1, 1000), TO.0)).forwarded();
    for packet in [
        udp6((HOST1B, 1000), TO),
        syn6((HOST1, 1), TO),
        echo6((HOST1B, 1), TO.0),
    ] {
        assert_eq!(limited.inside(packet).dropped(), DropReason::SubscriberPortLimit);
    }
    limited.inside(udp6((HOST1, 1000), (in64(OUT2), 80))).forwarded();
    limited.inside(udp6((HOST2, 1000), TO)).forwarded();
    let s = limited
        .subscribers()
        .into_iter()
        .find(|s| s.address == v6(in6(1, 0)));
    let s = s.expect("the /64");
    assert_eq!((s.tcp_ports, s.udp_ports, s.icmp_ids, s.refused), (1, 1, 1, 3));

    let mut limited = world(|l| (l.max_tcp_ports, l.max_udp_ports, l.max_icmp_ids) = (1, 2, 1));
    for (port, passes) in [(1, true), (2, true), (3, false)] {
        let got = limited.inside(udp6((HOST1, port), TO));
        assert_eq!(got.verdict == Verdict::Forward, passes);
        let passes = port == 1;
        for packet in [syn6((HOST1, port), TO), echo6((HOST1, port), TO.0)] {
            assert_eq!(limited.inside(packet).verdict == Verdict::Forward, passes);
        }
    }

    let mut limited = world(|l| l.max_session_rate = 5);
    for n in 0..8 {
        let got = limited.inside(udp6((HOST1, 1000 + n), TO));
        if n < 5 {
            got.forwarded();
        } else {
            assert_eq!(got.dropped(), DropReason::SubscriberSessionRate);
        }
    }
    limited.inside(udp6((HOST2, 1), TO)).forwarded();
    limited.pass_seconds(1);
    limited.inside(udp6((HOST1B, 1), TO)).forwarded();
}

#[test]
fn n14_half_open_floods_hurt_only_who_floods() {
    with_nat64(
        |plan| {
            plan.set().limits.max_sessions = 100;
            plan.addresses(4);
        },
        |world| {
            // Out of a whole /64, to everywhere.
            let mut refused = 0;
            for n in 0..500u16 {
                let got = world.inside(syn6(
                    (in6(1, u64::from(n)), n),
                    (in64(OUT1 + u32::from(n % 50)), 80),
                ));
                refused += u32::from(matches!(
                    got.verdict,
                    Verdict::Drop(DropReason::SubscriberSessionLimit, _)
                ));
            }
            assert_eq!(refused, 400);
            for n in 2..100 {
                let public = world.inside(syn6((in6(n, 1), 1), TO)).public();
                let got = world.outside(crate::common::packets::tcp((OUT1, 80), public, 0x12));
                assert_eq!(got.ends6().1, (in6(n, 1), 1));
            }
            // They are gone when the opening timer says so, and all they took.
            world.pass_seconds(243);
            assert_eq!(world.sessions().len(), 98);
            world.inside(syn6((HOST1, 1), TO)).forwarded();
            // A flood from outside on a mapping is its subscriber's, too.
            let public = world.inside(syn6((HOST1, 7), TO)).public();
            for n in 0..200 {
                world.outside(syn((OUT2, 1000 + n), public));
            }
            assert_eq!(world.sessions().len(), 98 + 100);
            world.inside(syn6((HOST2, 7), TO)).forwarded();
        },
    );
}

#[test]
fn n14_port_blocks_belong_to_a_prefix() {
    with_nat64(
        |plan| {
            of_prefix(plan, 56);
            plan.blocks(64, 1);
        },
        |world| {
            // A block per /56, whatever host and port.
            let mut blocks = HashMap::new();
            for n in 0..30u16 {
                for (who, host) in [(1, HOST1), (1, HOST1B), (1, HOST2), (3, HOST3)] {
                    let got = world.inside(udp6((host, 1000 + n), TO));
                    if got.verdict != Verdict::Forward {
                        let told = (DropReason::SubscriberBlockLimit, Answer::Unreachable(3));
                        assert_eq!((got.drop_answer(), who), (told, 1));
                        continue;
                    }
                    let (address, port) = got.public();
                    assert_eq!(
                        *blocks.entry(who).or_insert((address, port / 64)),
                        (address, port / 64)
                    );
                }
            }
            assert_eq!(blocks.len(), 2);
            assert_ne!(blocks[&1], blocks[&3]);
            let used: Vec<_> = world
                .subscribers()
                .iter()
                .map(|s| (s.udp_ports, s.blocks))
                .collect();
            assert!(used.contains(&(64, 1)) && used.contains(&(30, 1)), "{used:?}");
            assert_eq!(world.block_events().len(), 2, "a log record per block");
        },
    );
}

#[test]
fn n2_several_hosts_with_the_same_port_stay_apart() {
    // Their addresses differ in one bit each, at every place a table may forget.
    with_nat64(
        |plan| of_prefix(plan, 48),
        |world| {
            let hosts: Vec<u128> = (0..80).map(|bit| HOST1 ^ 1 << bit).chain([HOST1]).collect();
            let publics: Vec<_> = hosts
                .iter()
                .map(|h| world.inside(udp6((*h, 5000), TO)).public())
                .collect();
            assert_eq!(publics.iter().collect::<HashSet<_>>().len(), hosts.len());
            for (host, public) in hosts.iter().zip(&publics) {
                assert_eq!(world.inside(udp6((*host, 5000), TO)).public(), *public);
                assert_eq!(world.outside(udp((OUT1, 80), *public)).ends6().1, (*host, 5000));
                assert_eq!(world.outside(udp((OUT2, 9), *public)).ends6().1, (*host, 5000));
            }
            assert_eq!(world.subscribers().len(), 1);
            assert_eq!(
                world
                    .mappings()
                    .iter()
                    .map(|m| m.inside)
                    .collect::<HashSet<_>>()
                    .len(),
                hosts.len()
            );
        },
    );
}

#[test]
fn n2_many_hosts_of_a_clat_are_one_subscriber() {
    // RFC 6877: a CLAT sends from IPv4 addresses in a /96 of the customer's /64, all of them at once.
    with_nat64(
        |plan| plan.set().limits.max_ports = 300,
        |world| {
            let clat = |v4: u32| in6(1, 0x00c1_a700 << 32 | u64::from(v4));
            let mut publics = HashSet::new();
            for n in 0..100 {
                let from = clat(IN1 + n);
                let public = world.inside(udp6((from, 5000), TO)).public();
                assert!(publics.insert(public));
                // Back to the address it came from, which the CLAT makes IPv4 again.
                assert_eq!(world.outside(udp((OUT1, 80), public)).ends6(), (TO, (from, 5000)));
                world.inside(syn6((from, 5000), TO)).forwarded();
                world.inside(echo6((from, 5000), TO.0)).forwarded();
            }
            let addresses: HashSet<_> = publics.iter().map(|p| p.0).collect();
            assert_eq!(addresses.len(), 1, "paired");
            let subscribers = world.subscribers();
            assert_eq!((subscribers.len(), subscribers[0].sessions), (1, 300));
            let got = world.inside(udp6((clat(IN1 + 200), 1), TO));
            assert_eq!(got.dropped(), DropReason::SubscriberPortLimit);
            // A host of the /64 that speaks IPv6 itself counts to the same.
            let got = world.inside(udp6((HOST1, 1), TO));
            assert_eq!(got.dropped(), DropReason::SubscriberPortLimit);
            world.inside(udp6((HOST2, 1), TO)).forwarded();
        },
    );
}

#[test]
fn n2_deterministic_ports_follow_from_the_prefix() {
    for (bits, first) in [(64, in6(0, 0)), (56, in6(0, 0))] {
        with_nat64(
            |plan| {
                of_prefix(plan, bits);
                plan.addresses(4);
                let formula = Deterministic::new(vec![(first, 64)], bits, 1000).expect("a formula");
                plan.pool().mode = PoolMode::Deterministic(formula);
            },
            |world| {
                // 64 blocks of 1000 to an address: subscriber n has the n-th.
                let step = if bits == 64 { 1 } else { 256 };
                for n in [0u16, 1, 2, 63] {
                    let host = in6(n * step, 1);
                    let mut seen = HashSet::new();
                    for port in 0..20 {
                        let (address, public) = world.inside(udp6((host, 5000 + port), TO)).public();
                        let begin = 1024 + n * 1000;
                        assert_eq!(address, POOL);
                        assert!((begin..begin + 1000).contains(&public), "{public} of {n}");
                        assert!(seen.insert(public));
                        let got = world.outside(udp((OUT1, 80), (address, public)));
                        assert_eq!(got.ends6().1, (host, 5000 + port));
                    }
                }
                assert!(world.block_events().is_empty(), "nothing to log");
                // Beyond the formula there is nothing.
                let got = world.inside(udp6((in6(64 * step, 1), 1), TO));
                assert_eq!(got.dropped(), DropReason::NatOutOfAddresses);
            },
        );
    }
}

#[test]
fn n2_deterministic_ports_run_out_alone() {
    let mut world = World::nat64(2, |plan| {
        plan.addresses(1);
        plan.ports(1024, 1087);
        let formula = Deterministic::new(vec![(in6(0, 0), 8)], 64, 8).expect("a formula");
        plan.pool().mode = PoolMode::Deterministic(formula);
    });
    for n in 0..8 {
        world.inside(udp6((HOST1, 5000 + n), TO)).forwarded();
    }
    assert_eq!(
        world.inside(udp6((HOST1B, 1), TO)).drop_answer(),
        (DropReason::NatOutOfPorts, Answer::Unreachable(3))
    );
    world.inside(udp6((HOST2, 1), TO)).forwarded();
    world.inside(syn6((HOST1B, 1), TO)).forwarded();
    // What ended is free again.
    world.pass_seconds(302);
    world.inside(udp6((HOST1B, 1), TO)).forwarded();
}
