//! Twice NAT: source and destination are translated at once, in both directions (`twice-nat`), or the source with a port of a
//! pool (`twice-napt-44`); and destination-only terms. ICMP errors show each side the addresses it knows.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{
    AddressRange, DestinationMap, FilteringType, MappingType, PolicyAction, PolicyList, StaticMapping,
};

use super::*;
use crate::common::packets::*;
use crate::common::world::with_workers;
use crate::common::{IN1, IN2, OUT_ROUTER, OUT1, OUT2, POOL, ip};

/// What subscribers call 198.51.100.0/24.
const ALIAS: u32 = ip(172, 16, 5, 0);

fn map() -> DestinationMap {
    DestinationMap {
        from: AddressRange {
            first: ALIAS,
            last: ALIAS + 255,
        },
        to_first: OUT1 & !255,
    }
}

fn alias(real: u32) -> u32 {
    ALIAS | real & 255
}

/// 10.0.0.0/28 stands for the pool, and the outside for its aliases.
fn twice_static(workers: u8) -> World {
    World::new(workers, |plan| {
        let mapping = StaticMapping {
            public: AddressRange {
                first: POOL,
                last: POOL + 15,
            },
            destination: Some(map()),
            ..one_to_one(5, ip(10, 0, 0, 0), POOL)
        };
        only_statics(plan, vec![mapping]);
    })
}

#[test]
fn both_addresses_change_and_change_back() {
    with_workers(|workers| {
        let mut world = twice_static(workers);
        let got = world.inside(udp((IN1, 1000), (alias(OUT1), 53)));
        assert_eq!(got.ends(), ((POOL + 1, 1000), (OUT1, 53)));
        let got = world.outside(udp((OUT1, 53), (POOL + 1, 1000)));
        assert_eq!(got.ends(), ((alias(OUT1), 53), (IN1, 1000)));
        let got = world.inside(echo((IN1, 9), alias(OUT1)));
        assert_eq!(got.ends(), ((POOL + 1, 9), (OUT1, 9)));
        let got = world.outside(echo_reply(OUT1, (POOL + 1, 9)));
        assert_eq!(got.ends(), ((alias(OUT1), 9), (IN1, 9)));
        let got = world.inside(raw(50, IN1, alias(OUT1)));
        assert_eq!((got.ends().0.0, got.ends().1.0), (POOL + 1, OUT1));
        // Other destinations stay what they are.
        let got = world.inside(udp((IN1, 1000), (ip(192, 0, 3, 1), 53)));
        assert_eq!(got.ends(), ((POOL + 1, 1000), (ip(192, 0, 3, 1), 53)));
        let session = world.sessions()[0];
        assert_eq!(session.outside, std::net::IpAddr::from(alias(OUT1).to_be_bytes()));
        assert_eq!(session.remote, std::net::IpAddr::from(OUT1.to_be_bytes()));
    });
}

#[test]
fn sessions_from_outside_are_seen_from_the_alias() {
    with_workers(|workers| {
        let mut world = twice_static(workers);
        let got = world.outside(syn((OUT2, 4000), (POOL + 2, 22)));
        assert_eq!(got.ends(), ((alias(OUT2), 4000), (IN2, 22)));
        let got = world.inside(tcp((IN2, 22), (alias(OUT2), 4000), 0x12));
        assert_eq!(got.ends(), ((POOL + 2, 22), (OUT2, 4000)));
        // By its real address the host is another one, whom that would confuse: nothing goes there.
        let direct = world.inside(syn((IN2, 22), (OUT2, 4000)));
        assert_eq!(direct.dropped(), DropReason::SessionConflict);
        assert_eq!(world.sessions().len(), 1);
    });
}

#[test]
fn errors_show_each_side_the_addresses_it_knows() {
    with_workers(|workers| {
        let mut world = twice_static(workers);
        let left = world.inside(udp((IN1, 1000), (alias(OUT1), 53)));
        // From a router on the way, and from the host itself, which is seen by its alias.
        for (from, seen) in [(ip(192, 0, 3, 9), ip(192, 0, 3, 9)), (OUT1, alias(OUT1))] {
            let got = world.outside(error(from, 3, 3, left.forwarded()));
            assert_eq!((got.ends().0.0, got.ends().1.0), (seen, IN1));
            assert_eq!(quoted_ends(&got.packet), ((IN1, 1000), (alias(OUT1), 53)));
        }
        let came = world.outside(udp((OUT1, 53), (POOL + 1, 1000)));
        assert_eq!(came.ends().0, (alias(OUT1), 53));
        for from in [IN1, IN2] {
            let got = world.inside(error(from, 3, 3, came.forwarded()));
            assert_eq!((got.ends().0.0, got.ends().1.0), (POOL + 1, OUT1));
            assert_eq!(quoted_ends(&got.packet), ((OUT1, 53), (POOL + 1, 1000)));
        }
        // About a session from outside.
        let came = world.outside(udp((OUT2, 4000), (POOL + 2, 22)));
        let got = world.inside(error(IN2, 3, 3, came.forwarded()));
        assert_eq!((got.ends().0.0, got.ends().1.0), (POOL + 2, OUT2));
        assert_eq!(quoted_ends(&got.packet), ((OUT2, 4000), (POOL + 2, 22)));
    });
}

fn twice_napt(workers: u8, mapping: MappingType) -> World {
    World::new(workers, |plan| {
        plan.behaviour(mapping, FilteringType::EndpointIndependent);
        plan.set().terms[0].destination = Some(map());
    })
}

#[test]
fn with_a_port_of_the_pool_as_well() {
    for mapping in [
        MappingType::EndpointIndependent,
        MappingType::AddressAndPortDependent,
    ] {
        with_workers(|workers| {
            let mut world = twice_napt(workers, mapping);
            let got = world.inside(udp((IN1, 1000), (alias(OUT1), 53)));
            let (public, real) = got.ends();
            assert_eq!(real, (OUT1, 53));
            assert!((POOL..POOL + 16).contains(&public.0));
            let got = world.outside(udp((OUT1, 53), public));
            assert_eq!(got.ends(), ((alias(OUT1), 53), (IN1, 1000)));
            let got = world.outside(error(OUT_ROUTER, 11, 0, &udp(public, (OUT1, 53))));
            assert_eq!(quoted_ends(got.forwarded()), ((IN1, 1000), (alias(OUT1), 53)));
            let got = world.inside(error(IN1, 3, 3, &udp((alias(OUT1), 53), (IN1, 1000))));
            assert_eq!((got.ends().0.0, got.ends().1.0), (public.0, OUT1));
            assert_eq!(quoted_ends(&got.packet), ((OUT1, 53), public));
            let public = world.inside(echo((IN1, 5), alias(OUT1))).public();
            let got = world.outside(echo_reply(OUT1, public));
            assert_eq!(got.ends(), ((alias(OUT1), 5), (IN1, 5)));
            world.pass_seconds(400);
            assert_empty(&world);
        });
    }
}

#[test]
fn two_aliases_of_one_host_do_not_mix() {
    // By alias and by its own address, from one inside port: with one mapping the answers could not be told apart.
    let mut world = twice_napt(1, MappingType::EndpointIndependent);
    let public = world.inside(udp((IN1, 1000), (alias(OUT1), 53))).public();
    let second = world.inside(udp((IN1, 1000), (OUT1, 53)));
    match second.verdict {
        tandem_engine::packet::Verdict::Drop(reason, _) => assert_eq!(reason, DropReason::SessionConflict),
        _ => assert_ne!(
            second.public(),
            public,
            "two sessions may not look the same from outside"
        ),
    }
    let got = world.outside(udp((OUT1, 53), public));
    assert_eq!(got.ends(), ((alias(OUT1), 53), (IN1, 1000)));
}

#[test]
fn two_nat64_prefixes_of_one_host_do_not_mix() {
    use crate::common::packets6::udp6;
    use tandem_engine::program::Pref64;
    let prefix = |n: u128| {
        let first = (0x2001_0db8_0640 | n) << 80;
        Prefix64::new(Ipv6Prefix::new(first, 96).expect("a prefix")).expect("of a length for NAT64")
    };
    let mut world = World::new(1, |plan| {
        nat64(
            plan,
            MappingType::EndpointIndependent,
            FilteringType::EndpointIndependent,
        );
        plan.program.prefixes = [1, 2]
            .map(|id| Pref64 {
                id,
                prefix: prefix(id.into()),
            })
            .to_vec();
        plan.set().ipv6.nat64_prefixes = vec![1, 2];
    });
    let inside = (crate::common::in6(1, 1), 1000);
    let public = world.inside(udp6(inside, (prefix(1).embed(OUT1), 53))).public();
    let second = world.inside(udp6(inside, (prefix(2).embed(OUT1), 53)));
    assert_eq!(second.dropped(), DropReason::SessionConflict);
    let got = world.outside(udp((OUT1, 53), public));
    assert_eq!(got.ends6(), ((prefix(1).embed(OUT1), 53), inside));
    // To another host by the other prefix: the same mapping.
    let got = world.inside(udp6(inside, (prefix(2).embed(OUT2), 53)));
    assert_eq!(got.public(), public);
    let got = world.outside(udp((OUT2, 53), public));
    assert_eq!(got.ends6(), ((prefix(2).embed(OUT2), 53), inside));
}

#[test]
fn only_the_destination_is_translated() {
    with_workers(|workers| {
        let mut world = World::new(workers, |plan| {
            plan.program.pools.clear();
            let mut term = term(NatAction::DestinationOnly);
            term.destination = Some(map());
            term.matches.destinations = vec![map().from];
            plan.set().terms = vec![term];
        });
        let got = world.inside(udp((IN1, 1000), (alias(OUT1), 53)));
        assert_eq!(got.ends(), ((IN1, 1000), (OUT1, 53)));
        let got = world.outside(udp((OUT1, 53), (IN1, 1000)));
        assert_eq!(got.ends(), ((alias(OUT1), 53), (IN1, 1000)));
        let got = world.outside(error(OUT1, 3, 3, &udp((IN1, 1000), (OUT1, 53))));
        assert_eq!(
            (got.verdict, packet_source(&got.packet)),
            (tandem_engine::packet::Verdict::Forward, alias(OUT1))
        );
        assert_eq!(quoted_ends(&got.packet), ((IN1, 1000), (alias(OUT1), 53)));
        // Nobody else is let in or out by it.
        assert_eq!(
            world.outside(udp((OUT2, 53), (IN1, 1000))).verdict,
            tandem_engine::packet::Verdict::Route
        );
    });
}

fn packet_source(packet: &[u8]) -> u32 {
    ends(packet).0.0
}

#[test]
fn the_real_destination_is_what_routes_and_policies_see() {
    let mut world = twice_napt(1, MappingType::EndpointIndependent);
    world.reload(|plan| {
        let default = || PolicyList::plain(vec![], PolicyAction::Permit);
        plan.set().firewall = Some(tandem_engine::program::Firewall {
            outbound: default(),
            inbound: default(),
        });
        // The alias range now stands for destinations without a route.
        plan.set().terms[0].destination = Some(DestinationMap {
            to_first: crate::common::NO_ROUTE & !255,
            ..map()
        });
    });
    assert_eq!(
        world.inside(udp((IN1, 1), (ALIAS + 1, 53))).dropped(),
        DropReason::NoRoute
    );
    assert_empty(&world);
}

#[test]
fn a_reload_that_sends_destinations_elsewhere_ends_their_sessions() {
    let destination_only = |plan: &mut Plan, destination: Option<DestinationMap>| {
        plan.set().terms = vec![NatTerm {
            destination,
            ..term(NatAction::DestinationOnly)
        }];
    };
    let elsewhere = DestinationMap {
        to_first: (OUT1 & !255) + 1,
        ..map()
    };
    let begin = |world: &mut World| {
        let got = world.inside(udp((IN1, 5000), (alias(OUT1), 53)));
        assert_eq!(got.ends(), ((IN1, 5000), (OUT1, 53)));
        world.settle_time();
        assert_eq!(world.sessions().len(), 1);
    };
    let changes: [&dyn Fn(&mut Plan); 4] = [
        &|plan| destination_only(plan, Some(elsewhere)),
        &|plan| destination_only(plan, None),
        &|plan| plan.set().terms = vec![term(NatAction::NoTranslation)],
        &|plan| {
            let independent = MappingType::EndpointIndependent;
            plan.behaviour(independent, FilteringType::EndpointIndependent);
        },
    ];
    for change in changes {
        let mut world = World::new(1, |plan| destination_only(plan, Some(map())));
        begin(&mut world);
        world.reload(|_| {});
        world.settle_time();
        assert_eq!(world.sessions().len(), 1, "nothing changed");
        world.reload(change);
        world.settle_time();
        assert_empty(&world);
        assert_eq!(world.engines[0].counters().sessions_purged, 1);
    }
}
