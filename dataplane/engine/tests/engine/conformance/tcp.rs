//! RFC 5382: TCP.

use std::collections::HashSet;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{FilteringType, MappingType, UnsolicitedAnswer};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::SessionState;
use tandem_wire::tcp::{ACK, FIN, PSH, RST, SYN, URG};

use crate::common::packets::{End, error, quoted_ends, syn, tcp};
use crate::common::plan::INSIDE;
use crate::common::world::{World, with_workers};
use crate::common::{IN1, IN2, OUT_ROUTER, OUT1, OUT2};

const CLIENT: End = (IN1, 5000);
const SERVER: End = (OUT1, 80);

/// A world with one established connection, and its public end.
fn established() -> (World, End) {
    let mut world = World::new(1, |_| {});
    let public = world.inside(syn(CLIENT, SERVER)).public();
    world.outside(tcp(SERVER, public, SYN | ACK)).forwarded();
    world.inside(tcp(CLIENT, SERVER, ACK)).forwarded();
    assert_eq!(world.sessions()[0].state, SessionState::Established);
    (world, public)
}

/// Sends segments, from inside or not, and expects all of them through.
fn exchange(world: &mut World, public: End, segments: &[(u8, bool)]) {
    for (flags, from_inside) in segments {
        if *from_inside {
            assert_eq!(world.inside(tcp(CLIENT, SERVER, *flags)).ends(), (public, SERVER));
        } else {
            assert_eq!(
                world.outside(tcp(SERVER, public, *flags)).ends(),
                (SERVER, CLIENT)
            );
        }
    }
}

#[test]
fn t1_endpoint_independent_mapping() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let public = world.inside(syn(CLIENT, SERVER)).public();
        for to in [(OUT1, 81), (OUT2, 80), (OUT2, 443)] {
            assert_eq!(world.inside(syn(CLIENT, to)).public(), public);
        }
    });
}

#[test]
fn t2_half_close_in_both_orders_with_data_after_it() {
    for first in [true, false] {
        let (mut world, public) = established();
        exchange(
            &mut world,
            public,
            &[
                (FIN | ACK, first),
                (ACK, !first),
                (ACK | PSH, !first),
                (ACK, first),
                (ACK | PSH, !first),
            ],
        );
        world.pass_seconds(600);
        exchange(
            &mut world,
            public,
            &[(ACK | PSH, !first), (FIN | ACK, !first), (ACK, first)],
        );
        assert_eq!(world.sessions()[0].state, SessionState::Closing);
        world.pass_seconds(239);
        exchange(&mut world, public, &[(FIN | ACK, !first), (ACK, first)]);
        world.pass_seconds(243);
        assert!(world.sessions().is_empty());
    }
}

#[test]
fn t2_every_valid_segment_passes() {
    let (mut world, public) = established();
    // Keep-alive, urgent data, zero window, retransmitted SYN-ACK, data with FIN.
    exchange(
        &mut world,
        public,
        &[
            (ACK, true),
            (ACK, false),
            (ACK | URG | PSH, true),
            (SYN | ACK, false),
            (ACK, true),
            (FIN | ACK | PSH, true),
            (FIN | ACK | PSH, false),
            (ACK, true),
        ],
    );
}

#[test]
fn t2_rst_passes_in_every_state() {
    for before in [
        &[][..],
        &[(FIN | ACK, true)],
        &[(FIN | ACK, false)],
        &[(FIN | ACK, true), (FIN | ACK, false)],
    ] {
        for from_inside in [true, false] {
            let (mut world, public) = established();
            exchange(&mut world, public, before);
            exchange(
                &mut world,
                public,
                &[(RST, from_inside), (RST | ACK, !from_inside)],
            );
            world.pass_seconds(243);
            assert!(world.sessions().is_empty());
        }
    }
}

#[test]
fn t2_a_refused_connection_can_be_tried_again_at_once() {
    let mut world = World::new(1, |_| {});
    let public = world.inside(syn(CLIENT, SERVER)).public();
    world.outside(tcp(SERVER, public, RST | ACK)).forwarded();
    assert_eq!(world.inside(syn(CLIENT, SERVER)).public(), public);
    world.outside(tcp(SERVER, public, SYN | ACK)).forwarded();
    assert_eq!(world.sessions()[0].state, SessionState::Established);
}

#[test]
fn t3_simultaneous_open_across_the_nat() {
    for filtering in [
        FilteringType::EndpointIndependent,
        FilteringType::AddressAndPortDependent,
    ] {
        let mut world = World::new(1, |p| p.behaviour(MappingType::EndpointIndependent, filtering));
        let public = world.inside(syn(CLIENT, SERVER)).public();
        assert_eq!(world.outside(syn(SERVER, public)).ends(), (SERVER, CLIENT));
        assert_eq!(world.sessions()[0].state, SessionState::Established);
        exchange(
            &mut world,
            public,
            &[(SYN | ACK, true), (SYN | ACK, false), (ACK, true)],
        );
    }
}

#[test]
fn t3_simultaneous_open_the_outside_first() {
    let mut world = World::new(1, |_| {});
    let public = world.inside(syn(CLIENT, (OUT2, 80))).public();
    assert_eq!(world.outside(syn(SERVER, public)).ends(), (SERVER, CLIENT));
    assert_eq!(world.inside(syn(CLIENT, SERVER)).public(), public);
    let state = world
        .sessions()
        .into_iter()
        .find(|s| s.outside_port == 80 && s.initiated_outside);
    assert_eq!(state.map(|s| s.state), Some(SessionState::Established));
}

#[test]
fn t4_filtering_is_as_configured() {
    use FilteringType::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for (filtering, other_port, other_address) in [
        (EndpointIndependent, true, true),
        (AddressDependent, true, false),
        (AddressAndPortDependent, false, false),
    ] {
        let mut world = World::new(2, |p| p.behaviour(MappingType::EndpointIndependent, filtering));
        let public = world.inside(syn(CLIENT, SERVER)).public();
        for (from, passes) in [((OUT1, 81), other_port), ((OUT2, 80), other_address)] {
            let got = world.outside(syn(from, public));
            if passes {
                assert_eq!(got.ends(), (from, CLIENT));
            } else {
                assert_eq!(got.drop_answer(), (DropReason::Filtered, Answer::None));
            }
        }
        // What is no SYN begins nothing, whatever the filtering.
        for flags in [ACK, SYN | ACK, RST, FIN | ACK, 0] {
            let got = world.outside(tcp((OUT_ROUTER, 9), public, flags));
            assert!(matches!(
                got.dropped(),
                DropReason::TcpNonSyn | DropReason::Filtered
            ));
        }
    }
}

#[test]
fn t5_unsolicited_syn_is_silent_or_held() {
    for (policy, held) in [
        (UnsolicitedAnswer::Silent, false),
        (UnsolicitedAnswer::HoldThenPortUnreachable, true),
    ] {
        let mut world = World::new(1, |p| {
            p.behaviour(
                MappingType::EndpointIndependent,
                FilteringType::AddressAndPortDependent,
            );
            p.set().on_unsolicited = policy;
        });
        let public = world.inside(syn(CLIENT, (OUT2, 80))).public();
        for (to, reason) in [
            (public, DropReason::Filtered),
            ((public.0, public.1 ^ 1), DropReason::NoMapping),
        ] {
            let got = world.outside(syn(SERVER, to));
            if held {
                assert_eq!(got.verdict, Verdict::HoldSyn);
            } else {
                assert_eq!(got.drop_answer(), (reason, Answer::None));
            }
            // Only a SYN is held.
            let got = world.outside(tcp(SERVER, to, SYN | ACK));
            assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
        }
    }
}

#[test]
fn t5_a_held_syn_is_known_to_be_half_of_a_simultaneous_open() {
    use tandem_engine::packet::{Desc, Side};
    let mut world = World::new(1, |p| {
        p.behaviour(
            MappingType::EndpointIndependent,
            FilteringType::AddressAndPortDependent,
        );
        p.set().on_unsolicited = UnsolicitedAnswer::HoldThenPortUnreachable;
    });
    let public = world.inside(syn(CLIENT, (OUT2, 80))).public();
    let held = syn(SERVER, public);
    let meta = tandem_wire::l4::parse_ipv4_verified(&held).expect("a SYN");
    let mut descs = [Desc::new(meta, 2, Side::Outside)];
    let mut packets = [held];
    world.engines[0].process(world.now, &world.router, &mut packets, &mut descs);
    assert_eq!(descs[0].verdict, Verdict::HoldSyn);
    assert!(!world.engines[0].has_session_from_outside(&descs[0]));
    world.inside(syn(CLIENT, SERVER)).forwarded();
    assert!(world.engines[0].has_session_from_outside(&descs[0]));
}

#[test]
fn t6_idle_timeouts() {
    let (mut world, public) = established();
    world.pass_seconds(7439);
    exchange(&mut world, public, &[(ACK, false)]);
    world.pass_seconds(7439);
    assert_eq!(world.sessions().len(), 1);
    world.pass_seconds(3);
    assert!(world.sessions().is_empty());
    // Transitory: four minutes.
    let mut world = World::new(1, |_| {});
    world.inside(syn(CLIENT, SERVER));
    world.pass_seconds(239);
    assert_eq!(world.sessions().len(), 1);
    world.pass_seconds(3);
    assert!(world.sessions().is_empty());
}

/// RFC 7857 section 2.3: what a RST may bring back is an established session, and this one never was.
#[test]
fn p3_rst_does_not_establish_what_one_side_opened() {
    for rst_from_inside in [true, false] {
        let mut world = World::new(1, |_| {});
        let public = world.inside(syn(CLIENT, SERVER)).public();
        exchange(&mut world, public, &[(RST | ACK, rst_from_inside), (ACK, true)]);
        assert_eq!(world.sessions()[0].state, SessionState::Closing);
        world.pass_seconds(239);
        assert_eq!(world.sessions().len(), 1);
        world.pass_seconds(3);
        assert!(world.sessions().is_empty());
    }
}

#[test]
fn t8_no_port_overloading() {
    let mut world = World::new(2, |p| {
        p.addresses(1);
        p.ports(1024, 1151);
        p.behaviour(
            MappingType::AddressAndPortDependent,
            FilteringType::AddressAndPortDependent,
        );
    });
    let mut seen = HashSet::new();
    for host in 0..200 {
        // Other destinations, and still no public end is shared.
        let got = world.inside(syn((IN1 + host, 5000), (OUT1 + host, 80)));
        if got.verdict == Verdict::Forward {
            assert!(seen.insert(got.public()));
        } else {
            assert_eq!(got.dropped(), DropReason::NatOutOfPorts);
        }
    }
    assert!(!seen.is_empty() && seen.len() <= 128);
}

#[test]
fn t9_hairpinning_with_external_source() {
    with_workers(|workers| {
        let mut world = World::new(workers, |_| {});
        let x2 = world.inside(syn((IN2, 6000), (OUT1, 80))).public();
        let got = world.inside(syn(CLIENT, x2));
        let x1 = got.public();
        assert_eq!((got.ends().1, got.interface), ((IN2, 6000), Some(INSIDE)));
        assert_eq!(world.inside(tcp((IN2, 6000), x1, SYN | ACK)).ends(), (x2, CLIENT));
        assert_eq!(world.inside(tcp(CLIENT, x2, ACK)).ends(), (x1, (IN2, 6000)));
    });
}

#[test]
fn t10_destination_unreachable_is_translated() {
    let (mut world, public) = established();
    let sent = world.inside(tcp(CLIENT, SERVER, ACK | PSH));
    for code in 0..=15 {
        let got = world.outside(error(OUT_ROUTER, 3, code, sent.forwarded()));
        assert_eq!(quoted_ends(got.forwarded()), (CLIENT, SERVER));
    }
    exchange(&mut world, public, &[(ACK, false)]);
}

#[test]
fn t11_icmp_ends_no_connection() {
    let (mut world, public) = established();
    let sent = world.inside(tcp(CLIENT, SERVER, ACK | PSH));
    for icmp_type in [3, 4, 5, 11, 12] {
        world
            .outside(error(OUT_ROUTER, icmp_type, 0, sent.forwarded()))
            .forwarded();
    }
    assert_eq!(world.sessions()[0].state, SessionState::Established);
    exchange(&mut world, public, &[(ACK, false), (ACK, true)]);
}

#[test]
fn segments_that_begin_nothing() {
    let mut world = World::new(1, |_| {});
    for flags in [ACK, SYN | ACK, FIN, RST, SYN | FIN, SYN | RST, 0] {
        assert_eq!(
            world.inside(tcp(CLIENT, SERVER, flags)).dropped(),
            DropReason::TcpNonSyn
        );
    }
    assert!(world.subscribers().is_empty());
}

#[test]
fn connections_from_before_a_restart_when_configured() {
    let mut world = World::new(1, |p| p.set().tcp.accept_non_syn = true);
    // A segment in mid-connection, from either end of it.
    for (port, flags) in [(5000, ACK), (5001, ACK | PSH), (5002, ACK | PSH)] {
        let public = world.inside(tcp((IN1, port), SERVER, flags)).public();
        world.outside(tcp(SERVER, public, ACK)).forwarded();
    }
    // Neither the answer to a SYN nor what ends a connection is of one that was open before.
    for flags in [SYN | ACK, RST, RST | ACK, FIN, 0] {
        let got = world.inside(tcp((IN1, 5003), SERVER, flags));
        assert_eq!(got.dropped(), DropReason::TcpNonSyn);
    }
    world.pass(Ticks::from_seconds(3600));
    assert!(
        world
            .sessions()
            .iter()
            .all(|s| s.state == SessionState::Established)
    );
    assert_eq!(world.sessions().len(), 3);
}

#[test]
fn mss_is_clamped_and_its_checksum_kept() {
    use tandem_wire::build::PacketBuilder;
    let mut world = World::new(1, |p| p.set().tcp.mss_clamp = 1300);
    let options = [2, 4, 0x05, 0xb4];
    let packet =
        crate::common::packets::bytes(&PacketBuilder::tcp(IN1, 5000, OUT1, 80, SYN).tcp_options(&options));
    let got = world.inside(packet);
    assert_eq!(got.forwarded()[40..44], [2, 4, 0x05, 0x14]);
    assert_eq!(world.engines[0].counters().mss_clamped, 1);
}
