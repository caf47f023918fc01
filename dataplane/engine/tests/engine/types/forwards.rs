//! Port forwards on addresses that source NAT uses as well (`napt-44` with static mappings), and destination NAT (`dnat-44`).

use std::collections::HashSet;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{AddressRange, PortAllocation, StaticMapping};

use super::*;
use crate::common::packets::*;
use crate::common::world::with_workers;
use crate::common::{IN1, IN2, OUT1, OUT2, POOL, ip};

const SERVER: u32 = ip(10, 0, 9, 1);

/// Public ports 2000..2099 of the pool's first address, TCP, are the server's 80..179.
fn forward() -> StaticMapping {
    StaticMapping {
        protocol: 6,
        inside_port: 80,
        public_port: 2000,
        ports: 100,
        ..one_to_one(50, SERVER, POOL)
    }
}

#[test]
fn source_nat_never_takes_a_forwarded_port() {
    with_workers(|workers| {
        let mut world = World::new(workers, |plan| {
            plan.addresses(1);
            plan.ports(1990, 2110);
            plan.pool().port_allocation = PortAllocation::Sequential;
            set_statics(plan, vec![forward()]);
        });
        // Ports of one extent: one worker's subscribers get them.
        let hosts: Vec<u32> = (0..8).map(|i| IN1 + i).collect();
        let mut taken = HashSet::new();
        for port in 0..40 {
            for host in &hosts {
                let got = world.inside(syn((*host, 5000 + port), (OUT1, 80)));
                if matches!(got.verdict, tandem_engine::packet::Verdict::Forward) {
                    let (address, port) = got.public();
                    assert_eq!(address, POOL);
                    assert!(
                        (1990..=2110).contains(&port) && !(2000..2100).contains(&port),
                        "{port}"
                    );
                    assert!(taken.insert(port));
                } else {
                    assert!(matches!(
                        got.dropped(),
                        DropReason::NatOutOfPorts | DropReason::NatOutOfAddresses
                    ));
                }
            }
        }
        assert_eq!(taken.len(), 21, "all others are used");
        // UDP ports of the same numbers are free for all.
        let udp_ports: HashSet<u16> = (0..121)
            .flat_map(|i| hosts.iter().map(move |h| (*h, 6000 + i)).collect::<Vec<_>>())
            .filter_map(|end| {
                let got = world.inside(udp(end, (OUT1, 53)));
                (got.verdict == tandem_engine::packet::Verdict::Forward).then(|| got.public().1)
            })
            .collect();
        assert_eq!(udp_ports.len(), 121);
        world.pass_seconds(8000);
        assert_empty(&world);
    });
}

#[test]
fn a_forwarded_port_works_in_both_directions() {
    with_workers(|workers| {
        let mut world = World::new(workers, |plan| set_statics(plan, vec![forward()]));
        let got = world.outside(syn((OUT1, 4000), (POOL, 2005)));
        assert_eq!(got.ends(), ((OUT1, 4000), (SERVER, 85)));
        let got = world.inside(tcp((SERVER, 85), (OUT1, 4000), 0x12));
        assert_eq!(got.ends(), ((POOL, 2005), (OUT1, 4000)));
        // What the server begins from that port looks the same.
        let got = world.inside(syn((SERVER, 86), (OUT2, 4000)));
        assert_eq!(got.public(), (POOL, 2006));
        // From another port it is source NAT as everybody's.
        let got = world.inside(syn((SERVER, 7000), (OUT2, 4000)));
        assert!(!(got.public().0 == POOL && (2000..2100).contains(&got.public().1)));
        assert_eq!(
            world.outside(syn((OUT1, 4000), (POOL, 2100))).dropped(),
            DropReason::NoMapping
        );
        assert_eq!(
            world.outside(udp((OUT1, 4000), (POOL, 2005))).dropped(),
            DropReason::NoMapping
        );
        // An error about the forwarded packet shows the public end.
        let came = world.outside(syn((OUT1, 4001), (POOL, 2007)));
        let got = world.inside(error(SERVER, 3, 3, came.forwarded()));
        assert_eq!(got.ends().0.0, POOL);
        assert_eq!(quoted_ends(&got.packet), ((OUT1, 4001), (POOL, 2007)));
    });
}

#[test]
fn a_forward_of_a_port_in_use_takes_it() {
    for overloaded in [false, true] {
        with_workers(|workers| {
            let mut world = World::new(workers, |plan| {
                if overloaded {
                    plan.pool().mode = PoolMode::OverloadedPorts;
                    let mapping = tandem_engine::program::MappingType::AddressAndPortDependent;
                    plan.behaviour(mapping, tandem_engine::program::FilteringType::AddressDependent);
                }
            });
            let public = world.inside(syn((IN1, 1000), (OUT1, 80))).public();
            world.reload(|plan| {
                let forward = StaticMapping {
                    public_port: public.1,
                    ports: 1,
                    ..one_to_one(50, SERVER, public.0)
                };
                set_statics(
                    plan,
                    vec![StaticMapping {
                        protocol: 6,
                        inside_port: 80,
                        ..forward
                    }],
                );
            });
            world.settle_time();
            assert_eq!(world.sessions().len(), 0, "two would have one public end");
            let got = world.outside(syn((OUT1, 80), public));
            assert_eq!(got.ends().1, (SERVER, 80));
            assert_ne!(world.inside(syn((IN1, 1000), (OUT1, 80))).public(), public);
        });
    }
}

fn dnat(number: u16, public: (u32, u32), inside: u32) -> StaticMapping {
    StaticMapping {
        public: AddressRange {
            first: public.0,
            last: public.1,
        },
        inbound_only: true,
        ..one_to_one(number, inside, public.0)
    }
}

fn dnat_world(workers: u8) -> World {
    World::new(workers, |plan| {
        let range = dnat(1, (POOL, POOL + 3), ip(10, 0, 9, 16));
        let all_to_one = StaticMapping {
            to_one: true,
            ..dnat(2, (POOL + 4, POOL + 7), ip(10, 0, 9, 32))
        };
        let shifted = StaticMapping {
            protocol: 17,
            inside_port: 8000,
            public_port: 53,
            ports: 10,
            ..dnat(3, (POOL + 8, POOL + 9), ip(10, 0, 9, 48))
        };
        only_statics(plan, vec![range, all_to_one, shifted]);
    })
}

#[test]
fn destination_nat_of_ranges_to_one_and_with_other_ports() {
    with_workers(|workers| {
        let mut world = dnat_world(workers);
        for i in 0..4 {
            let got = world.outside(udp((OUT1, 4000), (POOL + i, 99)));
            assert_eq!(got.ends(), ((OUT1, 4000), (ip(10, 0, 9, 16) + i, 99)));
            let got = world.inside(udp((ip(10, 0, 9, 16) + i, 99), (OUT1, 4000)));
            assert_eq!(got.public(), (POOL + i, 99));
            let got = world.outside(udp((OUT1, 4000 + i as u16), (POOL + 4 + i, 99)));
            assert_eq!(got.ends().1, (ip(10, 0, 9, 32), 99));
            let got = world.inside(udp((ip(10, 0, 9, 32), 99), (OUT1, 4000 + i as u16)));
            assert_eq!(got.public(), (POOL + 4 + i, 99), "the address it was sent to");
        }
        let got = world.outside(udp((OUT1, 4000), (POOL + 9, 60)));
        assert_eq!(got.ends().1, (ip(10, 0, 9, 49), 8007));
        let got = world.inside(udp((ip(10, 0, 9, 49), 8007), (OUT1, 4000)));
        assert_eq!(got.public(), (POOL + 9, 60));
        for (public, port) in [(POOL + 9, 63), (POOL + 8, 52), (POOL + 10, 53)] {
            assert_eq!(
                world.outside(udp((OUT1, 4000), (public, port))).dropped(),
                DropReason::NoMapping
            );
        }
        world.pass_seconds(400);
        assert_empty(&world);
    });
}

#[test]
fn two_public_addresses_of_one_host_do_not_mix() {
    // The same outside end to two addresses that lead to one inside end: from inside they would look the same.
    let mut world = dnat_world(1);
    world.outside(udp((OUT1, 4000), (POOL + 4, 99))).forwarded();
    let second = world.outside(udp((OUT1, 4000), (POOL + 5, 99)));
    assert_eq!(second.dropped(), DropReason::SessionConflict);
    assert_eq!(
        world.inside(udp((ip(10, 0, 9, 32), 99), (OUT1, 4000))).public(),
        (POOL + 4, 99)
    );
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn sessions_from_inside_do_not_use_destination_nat() {
    let mut world = dnat_world(1);
    // Nothing translates what such a host begins; the service set translates nothing from inside, so it is routed.
    let got = world.inside(udp((ip(10, 0, 9, 16), 1000), (OUT1, 53)));
    assert_eq!(got.verdict, tandem_engine::packet::Verdict::Route);
    assert_eq!(world.sessions().len(), 0);
}

#[test]
fn a_subscriber_reaches_a_destination_nat_address_by_hairpinning() {
    with_workers(|workers| {
        let mut world = World::new(workers, |plan| {
            let forward = StaticMapping {
                inbound_only: true,
                ..forward()
            };
            set_statics(plan, vec![forward]);
        });
        let got = world.inside(syn((IN1, 1000), (POOL, 2003)));
        assert!(got.hairpinned);
        let (public, server) = got.ends();
        assert_eq!(server, (SERVER, 83));
        assert!((POOL..POOL + 16).contains(&public.0));
        let got = world.inside(tcp((SERVER, 83), public, 0x12));
        assert!(got.hairpinned);
        assert_eq!(got.ends(), ((POOL, 2003), (IN1, 1000)));
        // The server itself, too.
        let got = world.inside(syn((SERVER, 9000), (POOL, 2003)));
        assert_eq!(got.ends().1, (SERVER, 83));
        assert_eq!(world.sessions().len(), 4);
        // A forwarded port nobody has: no way.
        assert_eq!(
            world.inside(syn((IN2, 1), (POOL, 1999))).dropped(),
            DropReason::NoMapping
        );
    });
}
