//! RFC 6146 sections 3.5.1 and 3.5.1.1: UDP, mappings, filtering, hairpinning, static bindings.

use std::collections::HashSet;
use std::net::IpAddr;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{
    AddressRange, FilteringType, MappingType, PoolMode, RefreshDirection, RefusalAnswer, StaticMapping,
};
use tandem_wire::build::{IcmpErrorKind, PacketBuilder6, icmp_error};

use crate::common::packets::{echo, syn, udp, with_ttl};
use crate::common::packets6::{bytes6, echo6, error6_with, quoted_ends6, syn6, udp6, with_hop_limit};
use crate::common::plan::pool;
use crate::common::world::{World, with_nat64};
use crate::common::{BOX, HOST_SMALL_MTU, HOST1, HOST1B, HOST2, HOST3, OUT1, OUT2, POOL, POOL2, in64, ip};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

#[test]
fn n1_udp_makes_a_mapping_and_a_session() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(udp6(FROM, TO)).public();
            let mappings = world.mappings();
            assert_eq!(mappings.len(), 1);
            assert_eq!((mappings[0].inside, mappings[0].inside_port), (show(HOST1), 5000));
            let sessions = world.sessions();
            assert_eq!(sessions.len(), 1);
            let s = &sessions[0];
            assert_eq!(
                (s.inside, s.outside, s.remote),
                (show(HOST1), show(TO.0), show4(OUT1))
            );
            assert_eq!((s.public, s.public_port), (show4(public.0), public.1));
            // Endpoint-independent: other peers, same public end.
            for to in [(OUT1, 81), (OUT2, 80), (OUT2, 53)] {
                assert_eq!(world.inside(udp6(FROM, (in64(to.0), to.1))).public(), public);
                assert_eq!(world.outside(udp(to, public)).ends6().1, FROM);
            }
            assert_eq!((world.mappings().len(), world.sessions().len()), (1, 4));
            let out: u64 = world.sessions().iter().map(|s| s.packets_out).sum();
            let bytes: u64 = world.sessions().iter().map(|s| s.bytes_out).sum();
            assert_eq!((out, bytes), (4, 4 * (48 + 6)), "as the sender counts them");
        },
    );
}

fn show(address: u128) -> IpAddr {
    IpAddr::V6(address.into())
}

fn show4(address: u32) -> IpAddr {
    IpAddr::V4(address.into())
}

#[test]
fn n1_timeout_and_refresh() {
    for refresh in [RefreshDirection::Outbound, RefreshDirection::Both] {
        with_nat64(
            |plan| plan.set().refresh = refresh,
            |world| {
                let public = world.inside(udp6(FROM, TO)).public();
                world.pass_seconds(299);
                world.inside(udp6(FROM, TO)).forwarded();
                world.pass_seconds(299);
                world.outside(udp((OUT1, 80), public)).forwarded();
                world.pass_seconds(3);
                let lives = refresh == RefreshDirection::Both;
                assert_eq!(world.sessions().len(), usize::from(lives));
                world.pass_seconds(300);
                assert!(world.sessions().is_empty() && world.mappings().is_empty());
                assert!(world.subscribers().is_empty());
            },
        );
    }
}

#[test]
fn n1_address_and_port_dependent_mapping() {
    with_nat64(
        |plan| {
            plan.behaviour64(
                MappingType::AddressAndPortDependent,
                FilteringType::AddressAndPortDependent,
            );
        },
        |world| {
            let publics: HashSet<_> = [(OUT1, 80), (OUT1, 81), (OUT2, 80)]
                .map(|to| world.inside(udp6(FROM, (in64(to.0), to.1))).public())
                .into();
            assert_eq!(publics.len(), 3);
            let public = world.inside(udp6(FROM, TO)).public();
            assert_eq!(world.outside(udp((OUT1, 80), public)).ends6(), (TO, FROM));
            let got = world.outside(udp((OUT2, 80), public));
            assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
            world.pass_seconds(302);
            assert!(world.sessions().is_empty() && world.subscribers().is_empty());
        },
    );
}

#[test]
fn n2_pooling_is_paired_per_subscriber() {
    with_nat64(
        |_| {},
        |world| {
            let address = world.inside(udp6(FROM, TO)).public().0;
            // Every host of the /64, every protocol, every port.
            for host in [HOST1, HOST1B, HOST1 | 0xabcd << 32] {
                for port in [1, 80, 5001, 65535] {
                    assert_eq!(world.inside(udp6((host, port), TO)).public().0, address);
                    assert_eq!(world.inside(syn6((host, port), TO)).public().0, address);
                    assert_eq!(world.inside(echo6((host, port), TO.0)).public().0, address);
                }
            }
            assert_eq!(world.subscribers().len(), 1);
            // Others have others, as long as there are some.
            let other = world.inside(udp6((HOST2, 5000), TO)).public().0;
            if world.engines.len() == 1 {
                assert_ne!(other, address);
            }
        },
    );
}

#[test]
fn n2_no_overlap_range_and_parity() {
    with_nat64(
        |plan| {
            plan.addresses(1);
            plan.ports(1, 4095);
            (plan.pool().preserve_range, plan.pool().preserve_parity) = (true, true);
        },
        |world| {
            let mut seen = HashSet::new();
            for n in 0..40u16 {
                let hosts = [HOST1, HOST1B];
                let port = 500 + n * 37;
                let public = world.inside(udp6((hosts[usize::from(n % 2)], port), TO)).public();
                assert_eq!(public.1 < 1024, port < 1024);
                assert_eq!(public.1 % 2, port % 2);
                assert!(seen.insert(public), "no port twice");
            }
        },
    );
}

#[test]
fn n3_inbound_without_a_mapping_is_dropped() {
    with_nat64(
        |_| {},
        |world| {
            let public = world.inside(udp6(FROM, TO)).public();
            for to in [(public.0, public.1 ^ 1), (POOL + 9, 4000)] {
                assert_eq!(
                    world.outside(udp((OUT1, 80), to)).drop_answer(),
                    (DropReason::NoMapping, Answer::None)
                );
                assert_eq!(
                    world.outside(syn((OUT1, 80), to)).drop_answer(),
                    (DropReason::NoMapping, Answer::None)
                );
                let got = world.outside(echo((OUT1, to.1), to.0));
                assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
            }
            assert_eq!(world.sessions().len(), 1);
        },
    );
}

#[test]
fn n3_filtering_is_as_configured() {
    use FilteringType::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for (filtering, other_port, other_address) in [
        (EndpointIndependent, true, true),
        (AddressDependent, true, false),
        (AddressAndPortDependent, false, false),
    ] {
        with_nat64(
            |plan| plan.behaviour64(MappingType::EndpointIndependent, filtering),
            |world| {
                let udp_public = world.inside(udp6(FROM, TO)).public();
                let tcp_public = world.inside(syn6(FROM, TO)).public();
                world.outside(udp((OUT1, 80), udp_public)).forwarded();
                for (from, passes) in [((OUT1, 81), other_port), ((OUT2, 80), other_address)] {
                    for packet in [udp(from, udp_public), syn(from, tcp_public)] {
                        let got = world.outside(packet);
                        if passes {
                            assert_eq!(got.ends6(), ((in64(from.0), from.1), FROM));
                        } else {
                            assert_eq!(got.drop_answer(), (DropReason::Filtered, Answer::None));
                        }
                    }
                }
            },
        );
    }
}

#[test]
fn n4_exhaustion_is_told_and_ends_nothing() {
    for (policy, answer) in [
        (RefusalAnswer::HostUnreachable, Answer::Unreachable(3)),
        (RefusalAnswer::AdminProhibited, Answer::Unreachable(1)),
        (RefusalAnswer::Silent, Answer::None),
    ] {
        let mut world = World::nat64(1, |plan| {
            plan.addresses(1);
            plan.ports(1024, 1025);
            plan.set().on_refusal = policy;
        });
        let first = world.inside(udp6(FROM, TO)).public();
        world.inside(udp6((HOST2, 1), TO)).forwarded();
        for packet in [udp6((HOST3, 1), TO), udp6((HOST1, 5001), TO)] {
            let got = world.inside(packet);
            assert_eq!(got.drop_answer(), (DropReason::NatOutOfPorts, answer));
        }
        // Neither the old ones nor other protocols are any worse for it.
        assert_eq!(world.inside(udp6(FROM, TO)).public(), first);
        assert_eq!(world.outside(udp((OUT1, 80), first)).ends6().1, FROM);
        world.inside(syn6((HOST3, 1), TO)).forwarded();
        assert_eq!(world.sessions().len(), 3);
    }
}

#[test]
fn n12_hairpinning_with_external_source() {
    with_nat64(
        |_| {},
        |world| {
            for (client, server) in [(HOST1, HOST2), (HOST1, HOST1B), (HOST2, HOST3)] {
                let server = (server, 6000);
                // UDP.
                let x2 = world.inside(udp6(server, TO)).public();
                let seen_server = (in64(x2.0), x2.1);
                let got = world.inside(udp6((client, 5000), seen_server));
                assert!(got.hairpinned);
                let (seen_client, to) = got.ends6();
                assert_eq!(to, server);
                let x1 = world
                    .mappings()
                    .into_iter()
                    .find(|m| m.inside == show(client) && m.inside_port == 5000 && m.protocol == 17)
                    .expect("the client's mapping");
                let IpAddr::V4(x1_address) = x1.public else {
                    panic!("not IPv4")
                };
                assert_eq!(seen_client, (in64(x1_address.to_bits()), x1.public_port));
                // And the answer.
                let got = world.inside(udp6(server, seen_client));
                assert!(got.hairpinned);
                assert_eq!(got.ends6(), (seen_server, (client, 5000)));
                // TCP, all of the opening.
                let x2 = world.inside(syn6(server, TO)).public();
                let seen_server = (in64(x2.0), x2.1);
                let (seen_client, to) = world.inside(syn6((client, 5000), seen_server)).ends6();
                assert_eq!(to, server);
                let answer = crate::common::packets6::tcp6(server, seen_client, 0x12);
                assert_eq!(world.inside(answer).ends6(), (seen_server, (client, 5000)));
                let last = crate::common::packets6::tcp6((client, 5000), seen_server, 0x10);
                assert_eq!(world.inside(last).ends6(), (seen_client, server));
            }
        },
    );
}

#[test]
fn n12_hairpinned_errors() {
    with_nat64(
        |_| {},
        |world| {
            let x2 = world.inside(udp6((HOST2, 6000), TO)).public();
            let seen_server = (in64(x2.0), x2.1);
            let got = world.inside(udp6(FROM, seen_server));
            for (kind, expect) in [
                ((1, 4, 0), (1, 4, 0)),
                ((3, 0, 0), (3, 0, 0)),
                ((2, 0, 1280), (2, 0, 1280)),
                ((1, 1, 0), (1, 1, 0)),
            ] {
                let back = world.inside(error6_with(HOST2, kind, got.forwarded()));
                assert!(back.hairpinned);
                assert_eq!((back.ends6().0.0, back.ends6().1.0), (seen_server.0, HOST1));
                assert_eq!(quoted_ends6(&back.packet), (FROM, seen_server));
                let word = back.packet[44..48]
                    .try_into()
                    .map(u32::from_be_bytes)
                    .expect("four octets");
                assert_eq!((back.packet[40], back.packet[41], word), expect);
            }
        },
    );
}

#[test]
fn n12_hairpinning_is_filtered_and_bounded() {
    let mut world = World::nat64(2, |plan| {
        plan.behaviour64(MappingType::EndpointIndependent, FilteringType::AddressDependent);
    });
    let x2 = world.inside(udp6((HOST2, 6000), TO)).public();
    let seen_server = (in64(x2.0), x2.1);
    let got = world.inside(udp6(FROM, seen_server));
    assert!(got.hairpinned);
    assert_eq!(got.dropped(), DropReason::Filtered);
    // Nobody has that port; and echoes are not hairpinned.
    let got = world.inside(udp6(FROM, (in64(x2.0), x2.1 ^ 1)));
    assert_eq!((got.hairpinned, got.dropped()), (true, DropReason::NoMapping));
    let got = world.inside(echo6((HOST1, 7), seen_server.0));
    assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
    // To itself: the two ends are the same then, and the packet a LAND.
    let public = world.inside(udp6((HOST3, 1), TO)).public();
    let got = world.inside(udp6((HOST3, 1), (in64(public.0), public.1)));
    assert_eq!(got.verdict, Verdict::Hairpin);
}

#[test]
fn n12_hop_limit_and_size_on_the_way_round() {
    let mut world = World::nat64(1, |_| {});
    let x2 = world.inside(udp6((HOST_SMALL_MTU, 6000), TO)).public();
    let seen_server = (in64(x2.0), x2.1);
    world.inside(udp6(FROM, seen_server)).forwarded();
    let got = world.inside(with_hop_limit(udp6(FROM, seen_server), 2));
    assert_eq!(got.drop_answer(), (DropReason::TtlExpired, Answer::TimeExceeded));
    // Too big for the second link: what is told there comes back to the sender, in its family.
    let data = vec![7; 1400 - 48];
    let big = PacketBuilder6::udp(FROM.0, FROM.1, seen_server.0, seen_server.1).data(&data);
    let got = world.inside(bytes6(&big));
    assert_eq!(
        got.drop_answer(),
        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1260))
    );
    let mut answer = vec![0; 576];
    let kind = IcmpErrorKind::FragmentationNeeded(1260);
    let length = icmp_error(&mut answer, &got.packet, BOX, 1, kind).expect("an answer");
    answer.truncate(length);
    let told = world.outside(with_ttl(answer, 64));
    assert_eq!(
        told.forwarded()[40..48],
        [2, 0, told.packet[42], told.packet[43], 0, 0, 5, 0]
    );
    assert_eq!(quoted_ends6(&told.packet), (FROM, seen_server));
}

/// A static NAT64 binding of addresses in order; with `ports` of ports of a protocol.
fn binding(number: u16, inside: u128, public: AddressRange) -> StaticMapping {
    StaticMapping {
        name: format!("static{number}"),
        service_set: 1,
        number,
        inside,
        public,
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    }
}

/// A world with a pool of static addresses at [`POOL2`] and two bindings: whole addresses, and UDP port 53 of [`HOST2`].
fn with_bindings() -> World {
    World::nat64(1, |plan| {
        let mut fixed = pool(2, POOL2, 8);
        fixed.mode = PoolMode::Static;
        plan.program.pools.push(fixed);
        let addresses = binding(
            10,
            HOST1,
            AddressRange {
                first: POOL2,
                last: POOL2 + 1,
            },
        );
        let port = StaticMapping {
            protocol: 17,
            inside_port: 53,
            public_port: 5353,
            ports: 1,
            ..binding(
                11,
                HOST2,
                AddressRange {
                    first: POOL2 + 4,
                    last: POOL2 + 4,
                },
            )
        };
        plan.statics(vec![addresses, port]);
    })
}

#[test]
fn n2_static_bindings_lead_both_ways() {
    let mut world = with_bindings();
    // From outside first: nothing was sent before.
    for (n, host) in [HOST1, HOST1B].into_iter().enumerate() {
        let public = POOL2 + n as u32;
        assert_eq!(
            world.outside(udp((OUT1, 80), (public, 7))).ends6(),
            (TO, (host, 7))
        );
        assert_eq!(
            world.inside(udp6((host, 7), TO)).ends(),
            ((public, 7), (OUT1, 80))
        );
        assert_eq!(
            world.outside(syn((OUT1, 80), (public, 22))).ends6(),
            (TO, (host, 22))
        );
        let got = world.outside(echo((OUT1, 99), public));
        assert_eq!(got.ends6(), ((TO.0, 99), (host, 99)));
        // And from inside: ports and identifiers stay.
        assert_eq!(world.inside(syn6((host, 5000), TO)).public(), (public, 5000));
        assert_eq!(world.inside(echo6((host, 7), TO.0)).public(), (public, 7));
    }
    assert!(world.mappings().is_empty(), "they need none");
    let sessions = world.sessions();
    assert!(sessions.iter().all(|s| s.term == 10));
    // The /64's limits and counts are the subscriber's.
    assert_eq!(world.subscribers().len(), 1);
    world.pass_seconds(8000);
    assert!(world.sessions().is_empty() && world.subscribers().is_empty());
}

#[test]
fn n2_static_binding_of_a_port() {
    let mut world = with_bindings();
    let got = world.outside(udp((OUT1, 80), (POOL2 + 4, 5353)));
    assert_eq!(got.ends6(), (TO, (HOST2, 53)));
    assert_eq!(world.inside(udp6((HOST2, 53), TO)).public(), (POOL2 + 4, 5353));
    assert_eq!(
        world.inside(udp6((HOST2, 53), (in64(OUT2), 9))).public(),
        (POOL2 + 4, 5353)
    );
    // Other ports and protocols of the same host go by the term, of the same address nowhere.
    let public = world.inside(udp6((HOST2, 54), TO)).public();
    assert!(public.0 < POOL2);
    let got = world.outside(udp((OUT1, 80), (POOL2 + 4, 54)));
    assert_eq!(got.dropped(), DropReason::NoMapping);
    // Hairpinned, too.
    let got = world.inside(udp6((HOST3, 1), (in64(POOL2 + 4), 5353)));
    assert!(got.hairpinned);
    assert_eq!(got.ends6().1, (HOST2, 53));
    assert_eq!(
        world
            .outside(udp((ip(9, 9, 9, 9), 1), (POOL2 + 4, 5353)))
            .ends6()
            .1,
        (HOST2, 53)
    );
}

#[test]
fn n2_errors_about_static_bindings() {
    use crate::common::packets::{ends, error, quoted_ends};
    let mut world = with_bindings();
    let sent = world.inside(udp6(FROM, TO));
    let got = world.outside(error(OUT2, 11, 0, sent.forwarded()));
    assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO));
    let inbound = world.outside(udp((OUT2, 9), (POOL2, 7)));
    let got = world.inside(error6_with(HOST1, (1, 4, 0), inbound.forwarded()));
    assert_eq!(quoted_ends(got.forwarded()), ((OUT2, 9), (POOL2, 7)));
    assert_eq!(ends(&got.packet).0.0, POOL2);
}
