//! What a standby does not do, what a takeover keeps, and roles that change back and forth.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::engine::NotInstalled;
use tandem_engine::packet::Verdict;
use tandem_engine::program::policy::PolicyAction;
use tandem_engine::program::{Firewall, PolicyList, Stateless};
use tandem_engine::replica::{Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter};
use tandem_wire::Ipv6Prefix;
use tandem_wire::build::PacketBuilder;
use tandem_wire::npt::Nptv6;
use tandem_wire::tcp::{ACK, PSH, RST, SYN};

use super::Pair;
use crate::common::any;
use crate::common::packets::{bytes, echo, error, syn, udp, with_ttl};
use crate::common::packets6::{error6, udp6, with_hop_limit};
use crate::common::plan::Plan;
use crate::common::world::World;
use crate::common::{BOX, HOST1, HOST2, IN1, IN2, OUT_ROUTER, OUT1, OUT2, in64, out6};

#[track_caller]
fn assert_not_primary(verdict: Verdict) {
    assert!(matches!(verdict, Verdict::NotPrimary(_)), "{verdict:?}");
}

#[test]
fn a_standby_forwards_and_answers_nothing() {
    let mut pair = Pair::new(1, 4096, |_| {});
    let inside = udp((IN1, 1000), (OUT1, 53));
    let public = pair.worlds[0].inside(inside.clone()).public();
    pair.carry();
    let world = &mut pair.worlds[1];
    for packet in [
        inside.clone(),
        udp((IN1, 1000), (OUT2, 53)),
        syn((IN2, 1000), (OUT1, 80)),
        echo((IN2, 7), OUT1),
        with_ttl(inside, 1),
        with_ttl(udp((IN2, 1000), (OUT1, 53)), 1),
        error(IN1, 3, 3, &udp((OUT1, 53), (IN1, 1000))),
    ] {
        assert_not_primary(world.inside(packet).verdict);
    }
    for packet in [
        udp((OUT1, 53), public),
        udp((OUT2, 53), public),
        with_ttl(udp((OUT2, 54), public), 1),
        error(OUT_ROUTER, 3, 1, &udp(public, (OUT1, 53))),
    ] {
        assert_not_primary(world.outside(packet).verdict);
    }
    // What is for the box itself is nothing of the service set's.
    assert_eq!(world.inside(udp((IN1, 1000), (BOX, 53))).verdict, Verdict::Kernel);
    assert_eq!(world.sessions().len(), 1);
    assert_eq!(world.subscribers().len(), 1);
    pair.assert_no_trouble();
}

fn firewall(plan: &mut Plan) {
    let all = PolicyList::plain(Vec::new(), PolicyAction::Permit);
    plan.set().firewall = Some(Firewall {
        outbound: all.clone(),
        inbound: all,
    });
}

#[test]
fn a_standby_forwards_no_ipv6_either() {
    let nat64 = |plan: &mut Plan| plan.nat64();
    for (change, there) in [(nat64 as fn(&mut Plan), in64(OUT1)), (firewall, out6(1))] {
        let mut pair = Pair::new(1, 4096, change);
        let packet = udp6((HOST1, 1000), (there, 53));
        pair.worlds[0].inside(packet.clone()).forwarded();
        pair.carry();
        let world = &mut pair.worlds[1];
        assert_eq!(world.sessions().len(), 1);
        for packet in [
            packet.clone(),
            udp6((HOST2, 1000), (there, 53)),
            with_hop_limit(packet, 1),
            with_hop_limit(udp6((HOST2, 1000), (there, 53)), 1),
            error6(HOST1, 1, 4, &udp6((there, 53), (HOST1, 1000))),
        ] {
            assert_not_primary(world.inside(packet).verdict);
        }
        if there == out6(1) {
            for packet in [
                udp6((there, 53), (HOST1, 1000)),
                udp6((there, 53), (HOST2, 1000)),
                error6(out6(9), 1, 4, &udp6((HOST1, 1000), (there, 53))),
            ] {
                assert_not_primary(world.outside(packet).verdict);
            }
        }
    }
}

#[test]
fn a_standby_translates_no_prefixes() {
    let mut pair = Pair::new(1, 4096, |plan| {
        let prefix = |bits: u128| Ipv6Prefix::new(bits, 48).expect("a prefix");
        let other = 0x2001_0db8_0077_u128 << 80;
        let npt = Nptv6::new(prefix(0x2001_0db8 << 96), prefix(other)).expect("a pair");
        plan.set().terms.clear();
        plan.set().stateless = vec![Stateless::Nptv6(npt)];
    });
    let packet = udp6((HOST1, 1000), (out6(1), 53));
    let out = pair.worlds[0].inside(packet.clone()).ends6().0;
    pair.worlds[0].outside(udp6((out6(1), 53), out)).forwarded();
    let world = &mut pair.worlds[1];
    assert_not_primary(world.inside(packet).verdict);
    assert_not_primary(world.outside(udp6((out6(1), 53), out)).verdict);
}

#[test]
fn nothing_expires_on_a_standby_and_idle_times_begin_anew_with_a_takeover() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    pair.worlds[0].inside(syn((IN2, 1000), (OUT1, 80))).forwarded();
    pair.carry();
    // The primary is gone, and nobody says so for hours.
    let world = &mut pair.worlds[1];
    world.pass_seconds(5000);
    world.pass_seconds(5000);
    assert_eq!(world.sessions().len(), 2);
    pair.role(1, Role::Primary);
    let world = &mut pair.worlds[1];
    world.pass_seconds(238);
    assert_eq!(world.sessions().len(), 2);
    world.pass_seconds(60);
    assert_eq!(world.sessions().len(), 1, "the opening of a connection is over");
    world.pass_seconds(4);
    assert!(world.sessions().is_empty() && world.mappings().is_empty());
    assert_eq!(world.engines[0].counters().sessions_expired, 2);
}

#[test]
fn a_mapping_outlives_its_sessions_on_a_standby_and_for_a_while_after() {
    let mut pair = Pair::new(1, 4096, |_| {});
    for world in &mut pair.worlds {
        world.reload(|plan| super::replicate_at(plan, Ticks::from_seconds(100)));
    }
    // Two sessions of a mapping: the one that is told ends, the other is too young.
    let first = pair.worlds[0].inside(syn((IN1, 1000), (OUT1, 80))).public();
    pair.pass(Ticks::from_seconds(102));
    assert_eq!(
        pair.worlds[0].inside(syn((IN1, 1000), (OUT2, 80))).public(),
        first
    );
    let of_first = Filter {
        outside: Some(std::net::Ipv4Addr::from(OUT1).into()),
        ..Filter::default()
    };
    pair.worlds[0].ask(Ask::ClearSessions, of_first);
    pair.carry();
    let world = &mut pair.worlds[1];
    assert_eq!((world.sessions().len(), world.mappings().len()), (0, 1));
    pair.pass(Ticks::from_seconds(50));
    pair.role(1, Role::Primary);
    let world = &mut pair.worlds[1];
    world.pass_seconds(250);
    assert_eq!(world.inside(syn((IN1, 1000), (OUT2, 80))).public(), first);
    world.pass_seconds(1000);
    assert_eq!(world.engines[0].table_use().map(|(live, _)| live), [0; 4]);

    // Unused, it goes: after a takeover nobody else says that it ended.
    let mut pair = Pair::new(1, 4096, |_| {});
    let record = {
        pair.worlds[0].inside(syn((IN1, 1000), (OUT1, 80))).forwarded();
        let told = pair.links[0][0].pop();
        assert!(matches!(told, Ok(Op::Extent(_))), "{told:?}");
        pair.worlds[0].mappings()[0]
    };
    let mapping = tandem_engine::replica::MappingRecord {
        inside: tandem_engine::address::of_v4(IN1),
        inside_port: 1000,
        public_port: record.public_port,
        public: match record.public {
            std::net::IpAddr::V4(a) => a.to_bits(),
            std::net::IpAddr::V6(_) => panic!("an IPv4 address"),
        },
        service_set: 1,
        pool: 1,
        protocol: 6,
        filtering: 0,
        prefix: 0,
    };
    let world = &mut pair.worlds[1];
    world.engines[0]
        .install(&Op::Mapping(mapping), world.now)
        .expect("room");
    assert_eq!(world.mappings().len(), 1);
    world.pass_seconds(5000);
    assert_eq!(world.mappings().len(), 1);
    // Nor does it go because another set is taken over, while the other chassis has this one.
    for role in [Role::Primary, Role::Standby] {
        let other = Op::Role {
            service_set: 2,
            role,
            epoch: 7,
        };
        pair.command(1, other);
        pair.worlds[1].pass_seconds(400);
        assert_eq!(pair.worlds[1].mappings().len(), 1, "{role:?}");
    }
    pair.role(1, Role::Primary);
    let world = &mut pair.worlds[1];
    world.pass_seconds(290);
    assert_eq!(world.mappings().len(), 1);
    world.pass_seconds(20);
    assert_eq!(world.engines[0].table_use().map(|(live, _)| live), [0; 4]);
}

#[test]
fn roles_change_to_and_fro() {
    let mut pair = Pair::new(2, 64, |plan| plan.blocks(64, 8));
    let mut flows = Vec::new();
    for round in 0..10u16 {
        let (primary, other) = (usize::from(round % 2), usize::from(1 - round % 2));
        for host in 0..4 {
            let inside = (IN1 + host, 2000 + round);
            let public = pair.worlds[primary].inside(udp(inside, (OUT1, 53))).public();
            flows.push((inside, public));
        }
        pair.carry();
        pair.switch_over(other);
        for (inside, public) in &flows {
            let world = &mut pair.worlds[other];
            assert_eq!(world.inside(udp(*inside, (OUT1, 53))).public(), *public);
            assert_eq!(world.outside(udp((OUT1, 53), *public)).ends().1, *inside);
            assert_not_primary(pair.worlds[primary].inside(udp(*inside, (OUT1, 53))).verdict);
        }
        pair.pass(Ticks::from_seconds(130));
        pair.assert_no_trouble();
        pair.assert_same();
    }
    assert_eq!(pair.worlds[0].sessions().len(), 40);
    pair.pass(Ticks::from_seconds(400));
    pair.assert_same();
    assert!(pair.worlds.iter_mut().all(|w| w.sessions().is_empty()));
}

#[test]
fn nobody_gets_a_port_that_the_old_primary_may_have_given_out() {
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.addresses(1);
        plan.ports(4096, 8191);
    });
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    pair.carry();
    pair.role(1, Role::Primary);
    let world = &mut pair.worlds[1];
    world.inside(udp((IN1, 1000), (OUT2, 53))).forwarded();
    for seconds in [0, 100] {
        world.pass_seconds(seconds);
        let refused = world.inside(udp((IN2, 1000), (OUT1, 53))).dropped();
        assert!(
            matches!(refused, DropReason::NatOutOfPorts | DropReason::NatLeaseWait),
            "{refused:?}"
        );
    }
    world.pass_seconds(22);
    world.inside(udp((IN2, 1000), (OUT1, 53))).forwarded();
}

/// Whether or not there is a peer to lease them, a primary takes only the extents that it needs: the others are the new
/// primary's at once.
#[test]
fn extents_that_the_old_primary_did_not_need_serve_at_once() {
    for workers in [1, 2] {
        let mut pair = Pair::new(workers, 4096, |plan| plan.addresses(1));
        let (_, old) = pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).public();
        pair.carry();
        pair.role(1, Role::Primary);
        for host in 1..50 {
            let packet = udp((IN1 + host, 1000), (OUT1, 53));
            let (_, port) = pair.worlds[1].inside(packet).public();
            assert_ne!(port >> 12, old >> 12, "a port of an extent that is held");
        }
        pair.assert_no_trouble();
    }
}

#[test]
fn a_standby_is_told_by_nobody_else() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    pair.carry();
    // An operator's clear is the primary's to do.
    assert_eq!(
        pair.worlds[1].ask(Ask::ClearSessions, Filter::default())[0].matched,
        0
    );
    assert_eq!(pair.worlds[1].sessions().len(), 1);
    // A reload is not: both have the same configuration, and the standby says nothing of what that ends.
    for world in &mut pair.worlds {
        world.reload(|plan| {
            let range = &mut plan.program.pools[0].addresses[0];
            (range.first, range.last) = (range.first + 16, range.last + 16);
        });
    }
    for world in &mut pair.worlds {
        world.settle_time();
    }
    assert!(pair.worlds[1].sessions().is_empty());
    assert_eq!(
        pair.worlds[1].engines[0].counters().replica_emitted,
        2,
        "its roles"
    );
    pair.carry();
    pair.assert_no_trouble();
    pair.assert_same();
    // A primary lets nobody say anything.
    let world = &mut pair.worlds[0];
    let close = Op::Close {
        key: tandem_engine::replica::SessionKey::V4 {
            out: Default::default(),
            back: Default::default(),
        },
        service_set: 1,
        protocol: 17,
    };
    assert_eq!(
        world.engines[0].install(&close, world.now),
        Err(NotInstalled::NotStandby)
    );
    assert_eq!(world.engines[0].counters().replica_refused_role, 1);
}

#[test]
fn the_primary_is_right_where_both_have_something() {
    // Both were primary: the same inside ends have other public ends, and public ends other subscribers.
    let mut pair = Pair::new(1, 4096, |plan| {
        plan.addresses(1);
        plan.ports(1024, 1024 + 40);
    });
    pair.command_both(Op::Listen(false));
    pair.role(1, Role::Primary);
    for (at, first) in [(0, 0), (1, 3)] {
        for host in 0..6 {
            for port in 0..4 {
                let inside = (IN1 + first + host, 1000 + port);
                pair.worlds[at].burst(1, vec![udp(inside, (OUT1, 53))]);
            }
        }
    }
    assert_eq!(pair.worlds[0].sessions().len(), 24);
    pair.role(1, Role::Standby);
    pair.command_both(Op::Listen(true));
    pair.bulk(0, 1);
    pair.pass(Ticks::from_seconds(1));
    let conflicts = pair.worlds[1].engines[0].counters().replica_conflicts;
    assert!(conflicts > 0);
    // What stood in the way is gone by now.
    pair.bulk(0, 2);
    pair.assert_same();
    assert_eq!(pair.worlds[1].sessions().len(), 24);
    assert_eq!(pair.worlds[1].engines[0].counters().port_release_mismatch, 0);
}

/// A segment with these numbers and one octet.
fn segment(src: (u32, u16), dst: (u32, u16), flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    bytes(
        &PacketBuilder::tcp(src.0, src.1, dst.0, dst.1, flags)
            .seq_ack(seq, ack)
            .data(b"x"),
    )
}

#[test]
fn windows_are_learnt_anew_after_a_takeover() {
    let mut pair = Pair::new(1, 4096, |plan| plan.set().tcp.track_window = true);
    let (inside, outside) = ((IN1, 1000), (OUT1, 80));
    let open = |world: &mut World| {
        let public = world.inside(segment(inside, outside, SYN, 1000, 0)).public();
        world
            .outside(segment(outside, public, SYN | ACK, 500_000, 1002))
            .forwarded();
        world
            .inside(segment(inside, outside, ACK, 1002, 500_002))
            .forwarded();
        public
    };
    let public = open(&mut pair.worlds[0]);
    let mut numbers = (1003, 500_002);
    for round in 0..4u32 {
        let to = usize::from(round % 2 == 0);
        pair.carry();
        pair.switch_over(to);
        // Far from where this chassis saw the connection last.
        numbers = (numbers.0 + 40_000_000, numbers.1 + 70_000_000);
        let world = &mut pair.worlds[to];
        for _ in 0..50 {
            let out = segment(inside, outside, ACK | PSH, numbers.0, numbers.1);
            world.inside(out).forwarded();
            numbers.0 += 1;
            let back = segment(outside, public, ACK | PSH, numbers.1, numbers.0);
            world.outside(back).forwarded();
            numbers.1 += 1;
        }
        // They are tracked again: a blind guess far away does not pass.
        let guess = segment(
            outside,
            public,
            RST,
            numbers.1.wrapping_add(2_000_000_000),
            numbers.0,
        );
        assert_eq!(world.outside(guess).dropped(), DropReason::TcpOutOfWindow);
    }
    let first = any::tcp(
        (tandem_engine::address::of_v4(IN1), 1001),
        (tandem_engine::address::of_v4(OUT1), 80),
        SYN,
    );
    pair.worlds[0].now = pair.worlds[0].now.plus(Ticks::from_seconds(200));
    pair.worlds[0].inside(first).forwarded();
}
