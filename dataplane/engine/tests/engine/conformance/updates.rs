//! RFC 7857: updates to the requirements.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Verdict;
use tandem_engine::program::{AddressPooling, FilteringType, MappingType, RefreshDirection};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::SessionState;
use tandem_wire::Ipv4;
use tandem_wire::build::PacketBuilder;
use tandem_wire::tcp::{ACK, FIN, PSH, RST, SYN};

use crate::common::packets::{End, bytes, echo, error, syn, tcp, udp};
use crate::common::world::World;
use crate::common::{IN1, IN2, OUT1, OUT2};

const CLIENT: End = (IN1, 5000);
const SERVER: End = (OUT1, 80);

fn established(change: impl FnOnce(&mut crate::common::plan::Plan)) -> (World, End) {
    let mut world = World::new(1, change);
    let public = world.inside(syn(CLIENT, SERVER)).public();
    world.outside(tcp(SERVER, public, SYN | ACK)).forwarded();
    world.inside(tcp(CLIENT, SERVER, ACK)).forwarded();
    (world, public)
}

#[test]
fn p1_tcp_tracking_state_by_state() {
    let (mut world, public) = established(|_| {});
    let state = |world: &mut World| world.sessions()[0].state;
    for (packet, inside, expected) in [
        (tcp(CLIENT, SERVER, FIN | ACK), true, SessionState::FinInside),
        (tcp(SERVER, public, ACK), false, SessionState::FinInside),
        (tcp(SERVER, public, FIN | ACK), false, SessionState::Closing),
        (tcp(CLIENT, SERVER, ACK), true, SessionState::Closing),
        (syn(CLIENT, SERVER), true, SessionState::OpeningInside),
        (tcp(SERVER, public, SYN | ACK), false, SessionState::Established),
        (tcp(SERVER, public, FIN | ACK), false, SessionState::FinOutside),
        (tcp(SERVER, public, RST), false, SessionState::Closing),
    ] {
        let got = if inside {
            world.inside(packet)
        } else {
            world.outside(packet)
        };
        got.forwarded();
        assert_eq!(state(&mut world), expected);
    }
}

#[test]
fn p2_opening_and_closing_timers_are_separate() {
    let timers = |p: &mut crate::common::plan::Plan| {
        p.set().timeouts.tcp_opening = Ticks::from_seconds(30);
        p.set().timeouts.tcp_closing = Ticks::from_seconds(90);
    };
    let mut world = World::new(1, timers);
    world.inside(syn(CLIENT, SERVER)).forwarded();
    world.pass_seconds(32);
    assert!(world.sessions().is_empty());
    let (mut world, public) = established(timers);
    world.pass_seconds(1000);
    world.inside(tcp(CLIENT, SERVER, FIN | ACK)).forwarded();
    world.outside(tcp(SERVER, public, FIN | ACK)).forwarded();
    world.pass_seconds(88);
    assert_eq!(world.sessions().len(), 1);
    world.pass_seconds(4);
    assert!(world.sessions().is_empty());
}

#[test]
fn p3_rst_keeps_the_session_four_minutes_and_data_restores_it() {
    let (mut world, public) = established(|_| {});
    world.pass_seconds(3600);
    assert_eq!(world.outside(tcp(SERVER, public, RST)).ends(), (SERVER, CLIENT));
    world.pass_seconds(200);
    assert_eq!(world.sessions()[0].state, SessionState::Closing);
    world.inside(tcp(CLIENT, SERVER, ACK | PSH)).forwarded();
    assert_eq!(world.sessions()[0].state, SessionState::Established);
    world.pass_seconds(3600);
    world.outside(tcp(SERVER, public, ACK)).forwarded();
    world.outside(tcp(SERVER, public, RST)).forwarded();
    world.pass_seconds(243);
    assert!(world.sessions().is_empty());
}

#[test]
fn p3_rst_after_both_fins_cannot_bring_the_session_back() {
    let (mut world, public) = established(|_| {});
    world.inside(tcp(CLIENT, SERVER, FIN | ACK)).forwarded();
    world.outside(tcp(SERVER, public, FIN | ACK)).forwarded();
    world.outside(tcp(SERVER, public, RST)).forwarded();
    world.inside(tcp(CLIENT, SERVER, ACK)).forwarded();
    assert_eq!(world.sessions()[0].state, SessionState::Closing);
    world.pass_seconds(243);
    assert!(world.sessions().is_empty());
}

#[test]
fn p4_one_inside_port_has_one_public_port_whatever_the_destination() {
    let mut world = World::new(1, |p| {
        p.addresses(1);
        p.ports(1024, 1027);
    });
    let public = world.inside(udp((IN1, 5000), (OUT1, 1))).public();
    for i in 2..100 {
        assert_eq!(world.inside(udp((IN1, 5000), (OUT1, i))).public(), public);
    }
    for i in 0..3 {
        assert_ne!(world.inside(udp((IN2, 5000 + i), (OUT1, 1))).public(), public);
    }
    // Overlapping the port would reach another destination; it is refused instead.
    assert_eq!(
        world.inside(udp((IN2, 6000), (OUT2, 1))).dropped(),
        DropReason::NatOutOfPorts
    );
}

#[test]
fn p5_paired_hard_soft_and_arbitrary() {
    for pooling in [
        AddressPooling::Paired,
        AddressPooling::PairedSoft,
        AddressPooling::Arbitrary,
    ] {
        let mut world = World::new(1, |p| {
            p.addresses(2);
            p.ports(1024, 1033);
            p.pool().address_pooling = pooling;
        });
        let got: Vec<_> = (0..20)
            .map(|i| world.inside(udp((IN1, 5000 + i), (OUT1, 80))))
            .collect();
        let passed: Vec<_> = got.iter().filter(|g| g.verdict == Verdict::Forward).collect();
        let first = passed[0].public().0;
        let same = passed.iter().filter(|g| g.public().0 == first).count();
        match pooling {
            AddressPooling::Paired => assert_eq!((passed.len(), same), (10, 10)),
            AddressPooling::PairedSoft => {
                assert_eq!((passed.len(), same), (20, 10));
                assert!(
                    passed[..10].iter().all(|g| g.public().0 == first),
                    "its own address first"
                );
            }
            AddressPooling::Arbitrary => {
                assert_eq!((passed.len(), same), (20, 10));
                assert!(passed[..10].iter().any(|g| g.public().0 != first));
            }
        }
    }
}

#[test]
fn p6_udp_and_tcp_are_mapped_apart() {
    let mut world = World::new(1, |_| {});
    let mut differ = 0;
    for port in 5000..5020 {
        let u = world.inside(udp((IN1, port), (OUT1, 80))).public();
        let t = world.inside(syn((IN1, port), (OUT1, 80))).public();
        assert_eq!(u.0, t.0);
        differ += u32::from(u.1 != t.1);
    }
    assert!(
        differ > 0,
        "the public ports of one inside port are chosen independently"
    );
}

#[test]
fn p7_inbound_packets_keep_no_mapping_alive_by_default() {
    for (refresh, stays) in [
        (RefreshDirection::Outbound, false),
        (RefreshDirection::Both, true),
    ] {
        let mut world = World::new(1, |p| p.set().refresh = refresh);
        let public = world.inside(udp((IN1, 5000), (OUT1, 8000))).public();
        // From the peer, and from ever new ends.
        for i in 0..40 {
            world.pass_seconds(30);
            world.outside(udp((OUT1, 8000), public));
            world.outside(udp((OUT2, 2000 + i), public));
        }
        assert_eq!(world.mappings().len(), usize::from(stays), "{refresh:?}");
        // The subscriber's own packets do, also to somebody who called first.
        let public = world.inside(udp((IN1, 5000), (OUT1, 8000))).public();
        world.outside(udp((OUT2, 9), public)).forwarded();
        for _ in 0..10 {
            world.pass_seconds(200);
            assert_eq!(world.inside(udp((IN1, 5000), (OUT2, 9))).public(), public);
        }
    }
}

#[test]
fn p8_answers_to_inbound_packets_do_not_refresh() {
    // An ICMP error from inside.
    let mut world = World::new(1, |_| {});
    let public = world.inside(udp((IN1, 5000), (OUT1, 8000))).public();
    world.pass_seconds(200);
    let inbound = world.outside(udp((OUT1, 8000), public));
    world.inside(error(IN1, 3, 3, inbound.forwarded())).forwarded();
    world.pass_seconds(103);
    assert!(world.mappings().is_empty());
    // A RST from inside: the connection from outside that it refuses does not live on because of it.
    let mut world = World::new(1, |_| {});
    let public = world.inside(syn(CLIENT, SERVER)).public();
    world.outside(syn((OUT2, 9), public)).forwarded();
    world.pass_seconds(200);
    world.inside(tcp(CLIENT, (OUT2, 9), RST | ACK)).forwarded();
    world.pass_seconds(43);
    assert!(world.sessions().is_empty());
}

#[test]
fn p9_parity_of_tcp_is_like_that_of_udp() {
    let mut world = World::new(1, |_| {});
    let parities = (0..40u16).filter(|i| {
        let port = 5000 + i * 2;
        world.inside(syn((IN1, port), (OUT1, 80))).public().1 % 2 == 1
    });
    assert!(
        (5..35).contains(&parities.count()),
        "parity is not looked at unless configured"
    );
}

#[test]
fn p10_ipv4_id_is_left_alone() {
    let mut world = World::new(1, |_| {});
    for (id, df) in [(0, true), (77, true), (78, false)] {
        let packet = bytes(
            &PacketBuilder::udp(IN1, 5000, OUT1, 80)
                .id(id)
                .dont_fragment(df)
                .data(b"x"),
        );
        let got = world.inside(packet);
        let seen = Ipv4::new_checked(got.forwarded()).expect("a packet");
        assert_eq!((seen.id(), seen.dont_fragment()), (id, df));
    }
}

#[test]
fn p11_query_mapping_goes_with_its_last_session() {
    let mut world = World::new(1, |_| {});
    world.inside(echo((IN1, 7), OUT1)).forwarded();
    world.pass_seconds(30);
    world.inside(echo((IN1, 7), OUT2)).forwarded();
    world.pass_seconds(32);
    assert_eq!((world.sessions().len(), world.mappings().len()), (1, 1));
    world.pass_seconds(30);
    assert_eq!((world.sessions().len(), world.mappings().len()), (0, 0));
}

#[test]
fn p12_hairpin_filtering_is_inbound_filtering() {
    for (filtering, passes) in [
        (FilteringType::EndpointIndependent, true),
        (FilteringType::AddressAndPortDependent, false),
    ] {
        let mut world = World::new(2, |p| p.behaviour(MappingType::EndpointIndependent, filtering));
        let x2 = world.inside(udp((IN2, 6000), (OUT1, 80))).public();
        let got = world.inside(udp((IN1, 5000), x2));
        assert!(got.hairpinned);
        if passes {
            got.forwarded();
        } else {
            assert_eq!(got.dropped(), DropReason::Filtered);
            // Once both have sent, they may talk.
            let x1 = world
                .mappings()
                .iter()
                .find(|m| m.inside_port == 5000)
                .map(|m| m.public_port);
            let address = got.packet[12..16]
                .try_into()
                .map(u32::from_be_bytes)
                .expect("an address");
            assert_eq!(
                world
                    .inside(udp((IN2, 6000), (address, x1.expect("a mapping"))))
                    .ends()
                    .1,
                (IN1, 5000)
            );
            assert_eq!(world.inside(udp((IN1, 5000), x2)).ends().1, (IN2, 6000));
        }
    }
}
