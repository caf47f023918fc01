//! RFC 4787: UDP.

use std::collections::HashSet;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Desc, Side, Verdict};
use tandem_engine::program::{FilteringType, MappingType, RefreshDirection};
use tandem_engine::ticks::Ticks;
use tandem_wire::build::PacketBuilder;
use tandem_wire::l4::parse_ipv4_verified;

use crate::common::packets::{bytes, ends, error, quoted_ends, udp};
use crate::common::plan::INSIDE;
use crate::common::world::{World, with_workers};
use crate::common::{IN1, IN2, OUT_ROUTER, OUT_SMALL_MTU, OUT1, OUT2, POOL, ip};

#[test]
fn u1_endpoint_independent_mapping() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
        for to in [(OUT1, 81), (OUT2, 80), (OUT2, 81)] {
            assert_eq!(world.inside(udp((IN1, 5000), to)).public(), public);
        }
        assert_eq!(world.mappings().len(), 1);
        assert_eq!(world.sessions().len(), 4);
    });
}

#[test]
fn u1_within_one_burst_too() {
    let mut world = World::new(1, |_| {});
    let packets = (0..64).map(|i| udp((IN1, 5000), (OUT1, 1000 + i))).collect();
    let publics: HashSet<_> = world.burst(INSIDE, packets).iter().map(|g| g.public()).collect();
    assert_eq!(publics.len(), 1);
    let packets = (0..64).map(|_| udp((IN1, 5001), (OUT1, 7))).collect();
    let publics: HashSet<_> = world.burst(INSIDE, packets).iter().map(|g| g.public()).collect();
    assert_eq!(publics.len(), 1);
    assert_eq!(world.sessions().len(), 65);
}

#[test]
fn u2_pooling_is_paired() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        for host in 1..40u8 {
            let addresses: HashSet<u32> = (0..20)
                .map(|i| {
                    world
                        .inside(udp((ip(10, 0, 1, host), 4000 + i), (OUT1, 80)))
                        .public()
                        .0
                })
                .collect();
            assert_eq!(addresses.len(), 1);
        }
        let used: HashSet<_> = world.mappings().iter().map(|m| m.public).collect();
        assert!(used.len() > 8, "subscribers spread over the pool: {used:?}");
    });
}

#[test]
fn u3_no_port_overloading() {
    with_workers(|workers| {
        let mut world = World::new(workers, |p| {
            p.addresses(1);
            p.ports(1024, 1024 + 255);
        });
        let mut seen = HashSet::new();
        let mut refused = 0;
        for host in 0..100u32 {
            for port in 0..4 {
                let got = world.inside(udp((IN1 + host, 5000 + port), (OUT1, 80)));
                if got.verdict == Verdict::Forward {
                    assert!(seen.insert(got.public()), "one public end, two owners");
                } else {
                    assert_eq!(got.dropped(), DropReason::NatOutOfPorts);
                    refused += 1;
                }
            }
        }
        assert!(refused >= 400 - 256);
        assert!(workers > 1 || seen.len() == 256);
    });
}

#[test]
fn u4_port_range_is_preserved() {
    let mut world = World::new(1, |p| {
        p.ports(512, 65535);
        p.pool().preserve_range = true;
    });
    for port in [1, 53, 500, 1023] {
        assert!(world.inside(udp((IN1, port), (OUT1, 80))).public().1 < 1024);
    }
    for port in [1024, 5000, 65535] {
        assert!(world.inside(udp((IN1, port), (OUT1, 80))).public().1 >= 1024);
    }
}

#[test]
fn u5_port_parity_is_preserved() {
    for blocks in [false, true] {
        let mut world = World::new(1, |p| {
            p.pool().preserve_parity = true;
            if blocks {
                p.blocks(64, 8);
            }
        });
        for port in 5000..5060 {
            assert_eq!(
                world.inside(udp((IN1, port), (OUT1, 80))).public().1 % 2,
                port % 2
            );
        }
    }
}

#[test]
fn u5_port_contiguity_is_preserved() {
    let mut world = World::new(1, |p| {
        p.pool().preserve_parity = true;
        p.pool().preserve_contiguity = true;
    });
    for port in (5000..5100).step_by(2) {
        let rtp = world.inside(udp((IN1, port), (OUT1, 80))).public();
        let rtcp = world.inside(udp((IN1, port + 1), (OUT1, 80))).public();
        assert_eq!((rtcp.0, rtcp.1), (rtp.0, rtp.1 + 1));
    }
}

#[test]
fn u6_mapping_lives_its_timeout_and_not_longer() {
    let mut world = World::new(1, |p| {
        p.set().timeouts.udp = Ticks::from_seconds(300);
        p.set().timeouts.udp_well_known = Ticks::from_seconds(150);
    });
    let public = world.inside(udp((IN1, 5000), (OUT1, 5060))).public();
    world.pass_seconds(299);
    assert_eq!(world.outside(udp((OUT1, 5060), public)).ends().1, (IN1, 5000));
    world.pass_seconds(3);
    assert_eq!(
        world.outside(udp((OUT1, 5060), public)).dropped(),
        DropReason::NoMapping
    );
    // REQ-5a: shorter for a well-known port outside.
    let public = world.inside(udp((IN1, 5000), (OUT1, 53))).public();
    world.pass_seconds(149);
    assert_eq!(world.mappings().len(), 1);
    assert_eq!(world.outside(udp((OUT1, 53), public)).ends().1, (IN1, 5000));
    world.pass_seconds(3);
    assert!(world.mappings().is_empty() && world.subscribers().is_empty());
}

#[test]
fn u7_outbound_refreshes_and_inbound_only_when_configured() {
    for refresh in [RefreshDirection::Outbound, RefreshDirection::Both] {
        let mut world = World::new(1, |p| p.set().refresh = refresh);
        let public = world.inside(udp((IN1, 5000), (OUT1, 5060))).public();
        for _ in 0..4 {
            world.pass_seconds(200);
            assert_eq!(world.inside(udp((IN1, 5000), (OUT1, 5060))).public(), public);
        }
        world.pass_seconds(200);
        world.outside(udp((OUT1, 5060), public)).forwarded();
        world.pass_seconds(200);
        let got = world.outside(udp((OUT1, 5060), public));
        assert_eq!(got.verdict == Verdict::Forward, refresh == RefreshDirection::Both);
    }
}

#[test]
fn u8_filtering_is_as_configured() {
    use FilteringType::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for (filtering, other_port, other_address) in [
        (EndpointIndependent, true, true),
        (AddressDependent, true, false),
        (AddressAndPortDependent, false, false),
    ] {
        with_workers(|workers| {
            let mut world = World::new(workers, |p| {
                p.behaviour(MappingType::EndpointIndependent, filtering)
            });
            let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
            assert_eq!(world.outside(udp((OUT1, 80), public)).ends().1, (IN1, 5000));
            for (from, passes) in [((OUT1, 81), other_port), ((OUT2, 80), other_address)] {
                let got = world.outside(udp(from, public));
                if passes {
                    assert_eq!(got.ends(), (from, (IN1, 5000)));
                    // The subscriber's answer leaves by the same public end.
                    assert_eq!(world.inside(udp((IN1, 5000), from)).public(), public);
                } else {
                    assert_eq!(got.drop_answer(), (DropReason::Filtered, Answer::None));
                }
            }
        });
    }
}

#[test]
fn u8_address_and_port_dependent_mapping_admits_its_peer_only() {
    for filtering in [
        FilteringType::EndpointIndependent,
        FilteringType::AddressDependent,
    ] {
        let mut world = World::new(1, |p| {
            p.behaviour(MappingType::AddressAndPortDependent, filtering)
        });
        let a = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
        let b = world.inside(udp((IN1, 5000), (OUT1, 81))).public();
        assert_ne!(a.1, b.1, "a port of its own for each session");
        world.outside(udp((OUT1, 80), a)).forwarded();
        assert_eq!(world.outside(udp((OUT1, 81), a)).dropped(), DropReason::NoMapping);
        assert_eq!(world.outside(udp((OUT2, 80), a)).dropped(), DropReason::NoMapping);
    }
}

#[test]
fn u9_hairpinning_with_external_source() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let x2 = world.inside(udp((IN2, 6000), (OUT1, 80))).public();
        let x1 = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
        let got = world.inside(udp((IN1, 5000), x2));
        assert!(got.hairpinned);
        assert_eq!(got.ends(), (x1, (IN2, 6000)));
        assert_eq!(got.interface, Some(INSIDE));
        let back = world.inside(udp((IN2, 6000), x1));
        assert_eq!(back.ends(), (x2, (IN1, 5000)));
        // And again, now that both sessions are there.
        assert_eq!(world.inside(udp((IN1, 5000), x2)).ends(), (x1, (IN2, 6000)));
    });
}

#[test]
fn u9_hairpinning_to_oneself_and_from_a_new_mapping() {
    let mut world = World::new(2, |_| {});
    let x1 = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
    // From another of its own ports; a socket that sends to itself makes a packet whose ends are the same (LAND).
    let own = world.inside(udp((IN1, 5001), x1));
    assert_eq!((own.ends().0.0, own.ends().1), (x1.0, (IN1, 5000)));
    assert_eq!(world.inside(udp((IN1, 5000), x1)).verdict, Verdict::Hairpin);
    let got = world.inside(udp((IN2, 7000), x1));
    assert_eq!(got.ends().1, (IN1, 5000));
    assert_eq!(
        world.inside(udp((IN1, 5000), got.public())).ends(),
        (x1, (IN2, 7000))
    );
}

#[test]
fn u11_deterministic_under_pressure() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(1024, 1024 + 10_999);
        p.sizes.max_sessions = 40_000;
        p.sizes.max_mappings = 20_000;
        p.sizes.max_subscribers = 16_384;
    });
    let inside = |i: u32| (ip(10, 1, 0, 0) + i, 5000);
    let mut publics = Vec::new();
    for i in 0..10_000 {
        publics.push(world.inside(udp(inside(i), (OUT1, 80))).public());
    }
    assert_eq!(publics.iter().collect::<HashSet<_>>().len(), 10_000);
    for (i, public) in publics.iter().enumerate() {
        assert_eq!(world.inside(udp(inside(i as u32), (OUT2, 81))).public(), *public);
        assert_eq!(
            world.outside(udp((OUT_ROUTER, 9), *public)).ends().1,
            inside(i as u32)
        );
    }
}

#[test]
fn u12_icmp_errors_end_nothing() {
    let mut world = World::new(1, |_| {});
    let sent = world.inside(udp((IN1, 5000), (OUT1, 80)));
    for icmp_type in [3, 4, 5, 11, 12] {
        for code in 0..=16 {
            world
                .outside(error(OUT_ROUTER, icmp_type, code, sent.forwarded()))
                .forwarded();
        }
    }
    assert_eq!(world.sessions().len(), 1);
    assert_eq!(
        world.outside(udp((OUT1, 80), sent.public())).ends().1,
        (IN1, 5000)
    );
}

#[test]
fn u13_error_from_a_router_never_contacted() {
    with_workers(|workers| {
        for filtering in [
            FilteringType::EndpointIndependent,
            FilteringType::AddressAndPortDependent,
        ] {
            let mut world = World::new(workers, |p| {
                p.behaviour(MappingType::EndpointIndependent, filtering)
            });
            let sent = world.inside(udp((IN1, 5000), (OUT1, 80)));
            let got = world.outside(error(OUT_ROUTER, 11, 0, sent.forwarded()));
            assert_eq!(
                (ends(got.forwarded()).0.0, ends(&got.packet).1.0),
                (OUT_ROUTER, IN1)
            );
        }
    });
}

#[test]
fn u14_destination_unreachable_is_translated_back() {
    let mut world = World::new(1, |_| {});
    let sent = world.inside(udp((IN1, 5000), (OUT1, 80)));
    let got = world.outside(error(OUT1, 3, 3, sent.forwarded()));
    assert_eq!(quoted_ends(got.forwarded()), ((IN1, 5000), (OUT1, 80)));
    assert_eq!((got.packet[20], got.packet[21]), (3, 3));
    assert_eq!(
        world.sessions()[0].packets_in,
        0,
        "the error is no packet of the session"
    );
}

#[test]
fn u15_df_and_too_big_is_told_with_the_next_hops_mtu() {
    let mut world = World::new(1, |_| {});
    let big = vec![7; 1300];
    let packet = bytes(&PacketBuilder::udp(IN1, 5000, OUT_SMALL_MTU, 80).data(&big));
    let got = world.inside(packet.clone());
    assert_eq!(
        got.drop_answer(),
        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1280))
    );
    assert_eq!(got.packet, packet, "quoted as the subscriber sent it");
    // Also when the session is known, and in the other direction.
    let public = world.inside(udp((IN1, 5000), (OUT1, 80))).public();
    assert_eq!(world.inside(packet.clone()).packet, packet);
    let big = vec![7; 1600];
    let inbound = bytes(&PacketBuilder::udp(OUT1, 80, public.0, public.1).data(&big));
    let got = world.outside(inbound.clone());
    assert_eq!(
        got.drop_answer(),
        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1500))
    );
    assert_eq!(got.packet, inbound);
}

#[test]
fn u16_without_df_it_is_translated_whole_and_fragmented_after() {
    let mut world = World::new(1, |_| {});
    let big = vec![7; 1300];
    let got = world.inside(bytes(
        &PacketBuilder::udp(IN1, 5000, OUT_SMALL_MTU, 80)
            .data(&big)
            .dont_fragment(false),
    ));
    let pieces = tandem_wire::fragment::Fragmenter::new(got.forwarded(), 1280).expect("fragments");
    let mut offsets = Vec::new();
    for piece in pieces.clone() {
        let mut out = vec![0; pieces.piece_len(&piece)];
        assert!(pieces.write(&piece, &mut out).is_some() && out.len() <= 1280);
        offsets.push(parse_ipv4_verified(&out).expect("a fragment").fragment_offset);
    }
    assert!(offsets.len() == 2 && offsets.is_sorted());
}

/// Fragments of one datagram, the first one first.
fn fragments(src: (u32, u16), dst: (u32, u16)) -> Vec<Vec<u8>> {
    let whole = bytes(
        &PacketBuilder::udp(src.0, src.1, dst.0, dst.1)
            .data(&[9; 4000])
            .id(77)
            .dont_fragment(false),
    );
    let pieces = tandem_wire::fragment::Fragmenter::new(&whole, 1500).expect("fragments");
    pieces
        .clone()
        .map(|piece| {
            let mut out = vec![0; pieces.piece_len(&piece)];
            pieces.write(&piece, &mut out).expect("room");
            out
        })
        .collect()
}

#[test]
fn u17_fragments_follow_their_first_one() {
    let mut world = World::new(1, |_| {});
    // Virtual reassembly gives later fragments the ports of the first; their translation is the engine's.
    let send = |world: &mut World, side, interface, src: (u32, u16), dst: (u32, u16)| {
        let packets = fragments(src, dst);
        let descs = packets
            .iter()
            .map(|p| {
                let mut desc = Desc::new(parse_ipv4_verified(p).expect("a fragment"), interface, side);
                (desc.sport, desc.dport) = (src.1, dst.1);
                desc
            })
            .collect();
        let got = world.run(packets, descs);
        assert!(got.len() == 3 && got.iter().all(|g| g.verdict == Verdict::Forward));
        got
    };
    let out = send(&mut world, Side::Inside(1), INSIDE, (IN1, 5000), (OUT1, 80));
    let public = out[0].public();
    assert!(
        out.iter()
            .all(|g| (g.ends().0.0, g.ends().1.0) == (public.0, OUT1))
    );
    let back = send(&mut world, Side::Outside, 2, (OUT1, 80), public);
    assert!(back.iter().all(|g| (g.ends().0.0, g.ends().1.0) == (OUT1, IN1)));
    assert_eq!(world.sessions()[0].packets_in, 3);
    // Also where the first one, from outside, begins the session in the same burst.
    let other = send(&mut world, Side::Outside, 2, (OUT2, 99), public);
    assert!(other.iter().all(|g| (g.ends().0.0, g.ends().1.0) == (OUT2, IN1)));
    // One that has no first fragment begins nothing.
    let later = fragments((IN1, 5001), (OUT1, 80)).remove(1);
    assert_eq!(world.inside(later).dropped(), DropReason::NoMapping);
    assert_eq!(world.sessions().len(), 2);
}

#[test]
fn udp_without_checksum_stays_without() {
    let mut world = World::new(1, |_| {});
    let mut packet = udp((IN1, 5000), (OUT1, 80));
    packet[26..28].fill(0);
    let got = world.inside(packet);
    assert_eq!(got.packet[26..28], [0, 0]);
}

#[test]
fn a_pool_address_that_nobody_mapped_answers_nothing() {
    let mut world = World::new(2, |_| {});
    assert_eq!(
        world.outside(udp((OUT1, 80), (POOL + 1, 5000))).drop_answer(),
        (DropReason::NoMapping, Answer::None)
    );
    assert_eq!(
        world.outside(udp((OUT1, 80), (ip(192, 0, 2, 77), 5000))).verdict,
        Verdict::Route
    );
}
