//! RFC 6146 sections 3.5.1 and 3.5.1.1: UDP, mappings, filtering, exhaustion.

use std::collections::HashSet;
use std::net::IpAddr;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{FilteringType, MappingType, RefreshDirection, RefusalAnswer};

use crate::common::packets::{echo, syn, udp};
use crate::common::packets6::{echo6, syn6, udp6};
use crate::common::world::{World, with_nat64};
use crate::common::{HOST1, HOST1B, HOST2, HOST3, OUT1, OUT2, POOL, in64};

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
                // Several, so that some of them take the plain way through the engine.
                for _ in 0..10 {
                    world.outside(udp((OUT1, 80), public)).forwarded();
                }
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
