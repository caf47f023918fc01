//! Port overloading: sessions share a public port as long as their outside ends differ. RFC 7857 section 3.

use std::collections::{HashMap, HashSet};

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Verdict;
use tandem_engine::program::{FilteringType, MappingType};

use super::*;
use crate::common::packets::*;
use crate::common::world::with_workers;
use crate::common::{IN1, OUT_ROUTER, OUT1, OUT2, POOL};

fn world(workers: u8, addresses: u32, ports: (u16, u16)) -> World {
    World::new(workers, |plan| {
        plan.addresses(addresses);
        plan.ports(ports.0, ports.1);
        plan.pool().mode = PoolMode::OverloadedPorts;
        plan.behaviour(
            MappingType::AddressAndPortDependent,
            FilteringType::AddressAndPortDependent,
        );
    })
}

#[test]
fn sessions_to_different_outside_ends_share_ports_and_to_the_same_do_not() {
    let mut world = world(1, 1, (1024, 1027));
    let mut answers = Vec::new();
    for outside in [(OUT1, 53), (OUT1, 54), (OUT2, 53)] {
        let mut ports = HashSet::new();
        for i in 0..4 {
            let inside = (IN1 + i, 1000);
            let public = world.inside(udp(inside, outside)).public();
            assert!(
                ports.insert(public),
                "two sessions to one outside end have one port"
            );
            answers.push((outside, public, inside));
        }
        assert_eq!(ports.len(), 4);
        assert_eq!(
            world.inside(udp((IN1 + 4, 1000), outside)).dropped(),
            DropReason::NatOutOfPorts
        );
    }
    assert_eq!(pool_use(&world).udp_ports, 12);
    for (outside, public, inside) in answers {
        let got = world.outside(udp(outside, public));
        assert_eq!(got.ends(), (outside, inside));
        let got = world.outside(error(OUT_ROUTER, 3, 1, &udp(public, outside)));
        assert_eq!(quoted_ends(got.forwarded()), (inside, outside));
    }
    // Nobody else may send to a shared port.
    for port in 1024..1028 {
        assert!(matches!(
            world.outside(udp((OUT2, 54), (POOL, port))).dropped(),
            DropReason::Filtered | DropReason::NoMapping
        ));
    }
    world.pass_seconds(400);
    assert_empty(&world);
    // All is free again.
    for i in 0..4 {
        world.inside(udp((IN1 + i, 1000), (OUT1, 53))).forwarded();
    }
}

#[test]
fn identifiers_are_shared_towards_different_hosts() {
    let mut world = world(1, 1, (1024, 1025));
    let a = world.inside(echo((IN1, 7), OUT1)).public();
    let b = world.inside(echo((IN1 + 1, 7), OUT1)).public();
    assert_ne!(a, b);
    assert_eq!(
        world.inside(echo((IN1 + 2, 7), OUT1)).dropped(),
        DropReason::NatOutOfPorts
    );
    let c = world.inside(echo((IN1 + 2, 7), OUT2)).public();
    assert!([a, b].contains(&c));
    assert_eq!(world.outside(echo_reply(OUT1, a)).ends().1, (IN1, 7));
    assert_eq!(world.outside(echo_reply(OUT2, c)).ends().1, (IN1 + 2, 7));
}

#[test]
fn what_comes_back_is_always_one_sessions() {
    with_workers(|workers| {
        let mut world = world(workers, 2, (1024, 65535));
        let mut seen = HashMap::new();
        let mut sessions = 0;
        for i in 0..40 {
            for outside in [(OUT1, 53), (OUT2, 53), (OUT2, 5353)] {
                for port in 1000..1006 {
                    let inside = (IN1 + i, port);
                    let got = world.inside(udp(inside, outside));
                    if got.verdict != Verdict::Forward {
                        assert!(matches!(
                            got.dropped(),
                            DropReason::NatOutOfPorts | DropReason::NatOutOfAddresses
                        ));
                        continue;
                    }
                    sessions += 1;
                    assert_eq!(seen.insert((got.public(), outside), inside), None);
                }
            }
        }
        for ((public, outside), inside) in seen {
            assert_eq!(world.outside(udp(outside, public)).ends().1, inside);
        }
        assert!(sessions > 40 * 9, "{sessions}");
        assert_eq!(world.sessions().len(), sessions);
        world.pass_seconds(400);
        assert_empty(&world);
    });
}

#[test]
fn two_packets_of_one_burst_do_not_get_the_same_port() {
    let mut world = world(1, 1, (1024, 1027));
    let packets = (0..6).map(|i| syn((IN1 + i, 1000), (OUT1, 80))).collect();
    let got = world.burst(crate::common::plan::INSIDE, packets);
    let forwarded: Vec<_> = got.iter().filter(|g| g.verdict == Verdict::Forward).collect();
    let ports: HashSet<_> = forwarded.iter().map(|g| g.public()).collect();
    assert_eq!((ports.len(), forwarded.len()), (4, 4), "{got:?}");
    for got in got.iter().filter(|g| g.verdict != Verdict::Forward) {
        assert_eq!(got.dropped(), DropReason::NatOutOfPorts);
    }
    assert_eq!(world.sessions().len(), 4);
}

#[test]
fn a_burst_of_one_session_takes_one_port() {
    let mut world = world(1, 1, (1024, 1027));
    let got = world.burst(crate::common::plan::INSIDE, vec![udp((IN1, 1), (OUT1, 53)); 5]);
    let publics: HashSet<_> = got.iter().map(|g| g.public()).collect();
    assert_eq!((publics.len(), world.sessions().len()), (1, 1));
    assert_eq!(pool_use(&world).udp_ports, 1);
}
