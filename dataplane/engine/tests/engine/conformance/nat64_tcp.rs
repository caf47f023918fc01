//! RFC 6146 section 3.5.2: TCP through NAT64. The state machine is that of NAT44 (RFC 7857 section 2.1); here it is driven from
//! IPv6 on the inside.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Desc, Side, Verdict};
use tandem_engine::program::{FilteringType, MappingType, UnsolicitedAnswer};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::SessionState;
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::tcp::{ACK, FIN, PSH, RST, SYN, URG};

use crate::common::packets::{End, syn, tcp};
use crate::common::packets6::{End6, syn6, tcp6};
use crate::common::plan::{OUTSIDE, Plan};
use crate::common::world::{World, with_nat64};
use crate::common::{HOST1, OUT1, OUT2, in64};

const CLIENT: End6 = (HOST1, 5000);
const SERVER: End = (OUT1, 80);
/// [`SERVER`] as the client knows it.
const SERVER6: End6 = (in64(OUT1), 80);

/// Sends segments, from inside or not, and expects all of them through.
fn exchange(world: &mut World, public: End, segments: &[(u8, bool)]) {
    for (flags, from_inside) in segments {
        if *from_inside {
            let got = world.inside(tcp6(CLIENT, SERVER6, *flags));
            assert_eq!(got.ends(), (public, SERVER));
        } else {
            let got = world.outside(tcp(SERVER, public, *flags));
            assert_eq!(got.ends6(), (SERVER6, CLIENT));
        }
    }
}

fn state(world: &mut World) -> SessionState {
    world.sessions()[0].state
}

/// Opens the connection; its public end.
fn establish(world: &mut World) -> End {
    let public = world.inside(syn6(CLIENT, SERVER6)).public();
    exchange(world, public, &[(SYN | ACK, false), (ACK, true)]);
    assert_eq!(state(world), SessionState::Established);
    public
}

#[test]
fn n5_the_state_machine_step_by_step() {
    with_nat64(
        |_| {},
        |world| {
            // CLOSED to V6 INIT to ESTABLISHED to V6 FIN RCV to V4 + V6 FIN RCV.
            let public = world.inside(syn6(CLIENT, SERVER6)).public();
            assert_eq!(state(world), SessionState::OpeningInside);
            for (flags, inside, expected) in [
                (SYN, true, SessionState::OpeningInside),
                (SYN | ACK, false, SessionState::Established),
                (ACK, true, SessionState::Established),
                (ACK | PSH | URG, true, SessionState::Established),
                (FIN | ACK, true, SessionState::FinInside),
                (ACK | PSH, false, SessionState::FinInside),
                (FIN | ACK, false, SessionState::Closing),
                (ACK, true, SessionState::Closing),
                // The same ends again: a new connection.
                (SYN, true, SessionState::OpeningInside),
                (SYN | ACK, false, SessionState::Established),
                // V4 FIN RCV.
                (FIN | ACK, false, SessionState::FinOutside),
                (ACK | PSH, true, SessionState::FinOutside),
                (FIN | ACK, true, SessionState::Closing),
            ] {
                exchange(world, public, &[(flags, inside)]);
                assert_eq!(state(world), expected, "{flags:x} {inside}");
            }
            assert_eq!(world.sessions().len(), 1);
        },
    );
}

#[test]
fn n5_the_outside_first_is_v4_init() {
    with_nat64(
        |_| {},
        |world| {
            // Endpoint-independent filtering: a mapping lets anybody begin.
            let public = world.inside(syn6(CLIENT, (in64(OUT2), 80))).public();
            assert_eq!(world.outside(syn(SERVER, public)).ends6(), (SERVER6, CLIENT));
            let session = world.sessions().into_iter().find(|s| s.initiated_outside);
            assert_eq!(session.map(|s| s.state), Some(SessionState::OpeningOutside));
            exchange(
                world,
                public,
                &[(SYN | ACK, true), (ACK, false), (PSH | ACK, true)],
            );
            let session = world.sessions().into_iter().find(|s| s.initiated_outside);
            assert_eq!(session.map(|s| s.state), Some(SessionState::Established));
        },
    );
}

#[test]
fn n5_timeouts_of_every_state() {
    for (segments, seconds) in [
        (&[][..], 240),
        (&[(SYN | ACK, false)], 7440),
        (&[(SYN | ACK, false), (FIN | ACK, true)], 7440),
        (&[(SYN | ACK, false), (FIN | ACK, false)], 7440),
        (&[(SYN | ACK, false), (FIN | ACK, true), (FIN | ACK, false)], 240),
        (&[(SYN | ACK, false), (ACK, true), (RST, false)], 240),
    ] {
        let mut world = World::nat64(1, |_| {});
        let public = world.inside(syn6(CLIENT, SERVER6)).public();
        exchange(&mut world, public, segments);
        world.pass_seconds(seconds - 1);
        assert_eq!(world.sessions().len(), 1, "{segments:?}");
        world.pass_seconds(3);
        assert!(world.sessions().is_empty(), "{segments:?}");
        assert!(world.mappings().is_empty() && world.subscribers().is_empty());
    }
    // Configured shorter, opening and closing apart.
    let mut world = World::nat64(1, |p| p.set().timeouts.tcp_opening = Ticks::from_seconds(30));
    world.inside(syn6(CLIENT, SERVER6)).forwarded();
    world.pass_seconds(32);
    assert!(world.sessions().is_empty());
}

#[test]
fn n5_a_segment_without_a_session_begins_nothing() {
    with_nat64(
        |_| {},
        |world| {
            for flags in [ACK, SYN | ACK, FIN | ACK, RST, 0, SYN | FIN, SYN | RST] {
                let got = world.inside(tcp6(CLIENT, SERVER6, flags));
                assert_eq!(
                    got.drop_answer(),
                    (DropReason::TcpNonSyn, Answer::None),
                    "{flags:x}"
                );
            }
            assert!(world.sessions().is_empty());
            let public = world.inside(syn6(CLIENT, (in64(OUT2), 80))).public();
            for flags in [ACK, SYN | ACK, FIN | ACK, RST, 0] {
                let got = world.outside(tcp(SERVER, public, flags));
                assert_eq!(got.dropped(), DropReason::TcpNonSyn);
            }
        },
    );
    let mut world = World::nat64(1, |p| p.set().tcp.accept_non_syn = true);
    world.inside(tcp6(CLIENT, SERVER6, ACK)).forwarded();
    assert_eq!(state(&mut world), SessionState::Established);
}

#[test]
fn n7_rst_is_transitory_and_data_brings_it_back() {
    with_nat64(
        |_| {},
        |world| {
            let public = establish(world);
            for from_inside in [false, true] {
                world.pass_seconds(3600);
                exchange(world, public, &[(RST, from_inside)]);
                assert_eq!(state(world), SessionState::Closing);
                world.pass_seconds(200);
                exchange(world, public, &[(ACK | PSH, true)]);
                assert_eq!(state(world), SessionState::Established);
                world.pass_seconds(7000);
                assert_eq!(world.sessions().len(), 1);
                exchange(world, public, &[(ACK, true)]);
            }
            exchange(world, public, &[(RST | ACK, false)]);
            world.pass_seconds(243);
            assert!(world.sessions().is_empty());
        },
    );
}

#[test]
fn n7_both_fins_are_final() {
    let mut world = World::nat64(1, |_| {});
    let public = establish(&mut world);
    exchange(
        &mut world,
        public,
        &[
            (FIN | ACK, false),
            (FIN | ACK, true),
            (ACK, false),
            (ACK | PSH, true),
        ],
    );
    assert_eq!(state(&mut world), SessionState::Closing);
    world.pass_seconds(243);
    assert!(world.sessions().is_empty());
}

fn address_and_port_dependent(plan: &mut Plan, policy: UnsolicitedAnswer) {
    plan.behaviour64(
        MappingType::EndpointIndependent,
        FilteringType::AddressAndPortDependent,
    );
    plan.set().on_unsolicited = policy;
}

#[test]
fn n6_a_syn_that_filtering_refuses_is_held_or_dropped() {
    for (policy, held) in [
        (UnsolicitedAnswer::Silent, false),
        (UnsolicitedAnswer::HoldThenPortUnreachable, true),
    ] {
        with_nat64(
            |plan| address_and_port_dependent(plan, policy),
            |world| {
                let public = world.inside(syn6(CLIENT, (in64(OUT2), 80))).public();
                let unsolicited = syn(SERVER, public);
                let got = world.outside(unsolicited.clone());
                if held {
                    assert_eq!(got.verdict, Verdict::HoldSyn);
                    assert_eq!(got.packet, unsolicited, "it is quoted later");
                } else {
                    assert_eq!(got.drop_answer(), (DropReason::Filtered, Answer::None));
                }
                // Only a SYN is held, and nothing is made of it.
                let got = world.outside(tcp(SERVER, public, SYN | ACK));
                assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
                assert_eq!(world.sessions().len(), 1);
            },
        );
    }
}

#[test]
fn n6_a_matching_syn_from_inside_consumes_the_held_one() {
    let mut world = World::nat64(1, |plan| {
        address_and_port_dependent(plan, UnsolicitedAnswer::HoldThenPortUnreachable);
    });
    let public = world.inside(syn6(CLIENT, (in64(OUT2), 80))).public();
    let held = syn(SERVER, public);
    let meta = parse_ipv4_verified(&held).expect("a SYN");
    let mut descs = [Desc::new(meta, OUTSIDE, Side::Outside)];
    let mut packets = [held];
    world.engines[0].process(world.now, &world.router, &mut packets, &mut descs);
    assert_eq!(descs[0].verdict, Verdict::HoldSyn);
    assert!(!world.engines[0].has_session_from_outside(&descs[0]));
    world.inside(syn6(CLIENT, SERVER6)).forwarded();
    assert!(world.engines[0].has_session_from_outside(&descs[0]));
    // The other end's repeated SYN comes through, and the connection is there.
    exchange(
        &mut world,
        public,
        &[(SYN, false), (SYN | ACK, true), (SYN | ACK, false), (ACK, true)],
    );
    let session = world
        .sessions()
        .into_iter()
        .find(|s| s.outside_port == 80 && s.packets_in > 0);
    assert_eq!(session.map(|s| s.state), Some(SessionState::Established));
}

#[test]
fn n6_simultaneous_open_in_both_orders() {
    for filtering in [
        FilteringType::EndpointIndependent,
        FilteringType::AddressDependent,
        FilteringType::AddressAndPortDependent,
    ] {
        with_nat64(
            |plan| plan.behaviour64(MappingType::EndpointIndependent, filtering),
            |world| {
                let public = world.inside(syn6(CLIENT, SERVER6)).public();
                exchange(world, public, &[(SYN, false)]);
                assert_eq!(state(world), SessionState::Established);
                exchange(
                    world,
                    public,
                    &[(SYN | ACK, true), (SYN | ACK, false), (ACK, true)],
                );
            },
        );
    }
    // The outside first, where filtering lets it in.
    let mut world = World::nat64(1, |_| {});
    let public = world.inside(syn6(CLIENT, (in64(OUT2), 80))).public();
    exchange(&mut world, public, &[(SYN, false), (SYN, true)]);
    let session = world.sessions().into_iter().find(|s| s.initiated_outside);
    assert_eq!(session.map(|s| s.state), Some(SessionState::Established));
}

#[test]
fn n5_a_segment_outside_the_windows_is_dropped_where_that_is_wanted() {
    use tandem_wire::build::{PacketBuilder, PacketBuilder6};
    let mut world = World::nat64(1, |p| p.set().tcp.track_window = true);
    let out = |seq, ack, flags| {
        let segment = PacketBuilder6::tcp(CLIENT.0, CLIENT.1, SERVER6.0, SERVER6.1, flags);
        crate::common::packets6::bytes6(&segment.seq_ack(seq, ack).data(b"data"))
    };
    let public = world.inside(syn6(CLIENT, SERVER6)).public();
    let back = |seq, ack, flags| {
        let segment = PacketBuilder::tcp(SERVER.0, SERVER.1, public.0, public.1, flags);
        crate::common::packets::bytes(&segment.seq_ack(seq, ack))
    };
    world.outside(back(1000, 1, SYN | ACK)).forwarded();
    world.inside(out(1, 1001, ACK | PSH)).forwarded();
    let far = out(0x8000_0000, 1001, ACK | PSH);
    assert_eq!(world.inside(far).dropped(), DropReason::TcpOutOfWindow);
    assert_eq!(
        world.outside(back(0x9000_0000, 5, ACK)).dropped(),
        DropReason::TcpOutOfWindow
    );
    world.outside(back(1001, 5, ACK)).forwarded();
}
