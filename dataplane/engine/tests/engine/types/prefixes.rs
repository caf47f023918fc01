//! IPv6 prefix translation (NPTv6, RFC 6296), without sessions, and with them behind a firewall.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{Firewall, PolicyAction, PolicyList, Stateless};
use tandem_wire::npt::Nptv6;

use super::*;
use crate::common::packets6::*;
use crate::common::plan::INSIDE;
use crate::common::world::with_workers;
use crate::common::{in6, out6};

/// The inside, 2001:db8::/48, is 2001:db8:77::/48 outside.
fn pair() -> Nptv6 {
    let prefix = |first| Ipv6Prefix::new(first, 48).expect("a prefix");
    Nptv6::new(prefix(0x2001_0db8 << 96), prefix(0x2001_0db8_0077 << 80)).expect("a pair")
}

fn world(workers: u8, firewall: bool) -> World {
    World::new(workers, |plan| {
        plan.set().terms.clear();
        plan.program.pools.clear();
        plan.set().stateless = vec![Stateless::Nptv6(pair())];
        plan.set().firewall = firewall.then(|| Firewall {
            outbound: PolicyList::plain(vec![], PolicyAction::Permit),
            inbound: PolicyList::plain(vec![], PolicyAction::Deny),
        });
    })
}

fn outside_of(inside: u128) -> u128 {
    pair().to_outside(inside).expect("it can be translated")
}

#[test]
fn the_prefix_changes_and_nothing_else() {
    for firewall in [false, true] {
        with_workers(|workers| {
            let mut world = world(workers, firewall);
            for subnet in [0, 1, 0x1234] {
                let inside = in6(subnet, 7);
                let public = outside_of(inside);
                assert_eq!(public >> 80, 0x2001_0db8_0077);
                assert_eq!(public as u64, inside as u64);
                let got = world.inside(udp6((inside, 1000), (out6(1), 53)));
                assert_eq!(got.ends6(), ((public, 1000), (out6(1), 53)));
                let got = world.outside(udp6((out6(1), 53), (public, 1000)));
                assert_eq!(got.ends6(), ((out6(1), 53), (inside, 1000)));
                let got = world.inside(echo6((inside, 5), out6(1)));
                assert_eq!(got.ends6().0.0, public);
                let got = world.outside(echo_reply6(out6(1), (public, 5)));
                assert_eq!(got.ends6().1, (inside, 5));
                let got = world.inside(raw6(50, inside, out6(1)));
                assert_eq!(got.ends6().0.0, public);
                let got = world.outside(raw6(50, out6(1), public));
                assert_eq!(got.ends6().1.0, inside);
                let got = world.inside(syn6((inside, 1), (out6(1), 80)));
                assert_eq!(got.ends6().0, (public, 1));
            }
            let counters = world
                .engines
                .iter()
                .map(|e| e.counters().translated_stateless)
                .sum::<u64>();
            assert_eq!(counters, if firewall { 0 } else { 21 });
            assert_eq!(world.sessions().len(), if firewall { 12 } else { 0 });
        });
    }
}

#[test]
fn without_policies_anybody_may_begin() {
    let mut world = world(1, false);
    let inside = in6(3, 9);
    let got = world.outside(syn6((out6(1), 4000), (outside_of(inside), 80)));
    assert_eq!(got.ends6(), ((out6(1), 4000), (inside, 80)));
    // No session, so no state that could refuse anything.
    world
        .outside(tcp6((out6(1), 4000), (outside_of(inside), 81), 0x10))
        .forwarded();
    assert_eq!(world.engines[0].table_use()[0].0, 0);
}

#[test]
fn with_policies_only_answers_come_in() {
    with_workers(|workers| {
        let mut world = world(workers, true);
        let inside = in6(3, 9);
        let public = outside_of(inside);
        assert_eq!(
            world.outside(udp6((out6(1), 53), (public, 1000))).dropped(),
            DropReason::FirewallDefault
        );
        world.inside(udp6((inside, 1000), (out6(1), 53))).forwarded();
        assert_eq!(
            world.outside(udp6((out6(1), 53), (public, 1000))).ends6().1,
            (inside, 1000)
        );
        assert_eq!(
            world.outside(udp6((out6(2), 53), (public, 1000))).dropped(),
            DropReason::FirewallDefault
        );
        let session = world.sessions()[0];
        assert_eq!(
            session.inside,
            std::net::IpAddr::from(std::net::Ipv6Addr::from_bits(inside))
        );
        assert_eq!(
            session.public,
            std::net::IpAddr::from(std::net::Ipv6Addr::from_bits(public))
        );
        let filter = tandem_engine::view::Filter {
            public: Some(session.public),
            ..Default::default()
        };
        let found = world.ask(tandem_engine::view::Ask::CountSessions, filter);
        assert_eq!(found.iter().map(|q| q.matched).sum::<u64>(), 1);
    });
}

#[test]
fn errors_show_each_side_the_addresses_it_knows() {
    for firewall in [false, true] {
        with_workers(|workers| {
            let mut world = world(workers, firewall);
            let inside = in6(3, 9);
            let public = outside_of(inside);
            let left = world.inside(udp6((inside, 1000), (out6(1), 53)));
            let got = world.outside(error6(out6(99), 3, 0, left.forwarded()));
            assert_eq!((got.ends6().0.0, got.ends6().1.0), (out6(99), inside));
            assert_eq!(quoted_ends6(&got.packet), ((inside, 1000), (out6(1), 53)));
            let came = world.outside(udp6((out6(1), 53), (public, 1000)));
            let got = world.inside(error6(inside, 1, 4, came.forwarded()));
            assert_eq!((got.ends6().0.0, got.ends6().1.0), (public, out6(1)));
            assert_eq!(quoted_ends6(&got.packet), ((out6(1), 53), (public, 1000)));
            // A router inside is seen in the outside prefix as well.
            let router = in6(8, 1);
            let got = world.inside(error6(router, 1, 3, came.forwarded()));
            assert_eq!(got.ends6().0.0, outside_of(router));
            assert_eq!(quoted_ends6(&got.packet), ((out6(1), 53), (public, 1000)));
        });
    }
}

#[test]
fn addresses_that_cannot_be_translated_are_refused() {
    // Subnet 0xffff: RFC 6296 section 3.4.
    let mut world = world(1, false);
    let got = world.inside(udp6((in6(0xffff, 9), 1), (out6(1), 53)));
    assert_eq!(
        got.drop_answer(),
        (DropReason::StatelessNoMapping, Answer::Unreachable(3))
    );
    let mut world = self::world(1, true);
    let got = world.inside(udp6((in6(0xffff, 9), 1), (out6(1), 53)));
    assert_eq!(got.dropped(), DropReason::StatelessNoMapping);
}

#[test]
fn inside_hosts_reach_each_other_by_their_outside_addresses() {
    // RFC 6296 section 4: both addresses are translated. With policies as without, since nothing leaves.
    for firewall in [false, true] {
        with_workers(|workers| {
            let mut world = world(workers, firewall);
            let (a, b) = (in6(1, 1), in6(2, 2));
            for (out, back) in [
                (
                    udp6((a, 1000), (outside_of(b), 53)),
                    udp6((b, 53), (outside_of(a), 1000)),
                ),
                (
                    syn6((a, 1000), (outside_of(b), 53)),
                    tcp6((b, 53), (outside_of(a), 1000), 0x12),
                ),
            ] {
                let got = world.inside(out);
                assert_eq!(got.ends6(), ((outside_of(a), 1000), (b, 53)));
                assert_eq!(got.interface, Some(INSIDE));
                let seen = got.packet;
                let got = world.inside(back);
                assert_eq!(got.ends6(), ((outside_of(b), 53), (a, 1000)));
                assert_eq!(got.interface, Some(INSIDE));
                // Its error goes back by the same way, with what its receiver sent in it.
                let got = world.inside(error6(b, 1, 4, &seen));
                assert_eq!((got.ends6().0.0, got.ends6().1.0), (outside_of(b), a));
                assert_eq!(quoted_ends6(&got.packet), ((a, 1000), (outside_of(b), 53)));
            }
            assert!(world.sessions().is_empty());
        });
    }
}

#[test]
fn an_outside_address_that_nobody_inside_has() {
    // A second inside prefix that no route leads inside for.
    let prefix = |number: u128| Ipv6Prefix::new((0x2001_0db8 << 16 | number) << 80, 48).expect("a prefix");
    let gone = Nptv6::new(prefix(0x99), prefix(0x98)).expect("a pair");
    for firewall in [false, true] {
        let mut world = world(1, firewall);
        world.reload(|plan| plan.set().stateless.push(Stateless::Nptv6(gone)));
        let to = gone.to_outside(prefix(0x99).first() | 5).expect("an address");
        let got = world.inside(udp6((in6(1, 1), 1000), (to, 53)));
        assert_eq!(got.drop_answer(), (DropReason::NoRoute, Answer::Unreachable(0)));
        assert!(world.sessions().is_empty());
    }
}

#[test]
fn what_stays_inside_keeps_its_addresses() {
    let mut world = world(1, false);
    for to in [in6(2, 2), in6(0x1234, 9)] {
        for packet in [
            udp6((in6(1, 1), 1000), (to, 53)),
            udp6((in6(0xffff, 1), 1000), (to, 53)),
            error6(in6(1, 1), 1, 4, &udp6((to, 53), (in6(1, 1), 1000))),
        ] {
            assert_eq!(world.inside(packet).verdict, Verdict::Route);
        }
    }
    // And what is for this box.
    assert_eq!(
        world.inside(udp6((in6(1, 1), 1000), (in6(0xff, 1), 53))).verdict,
        Verdict::Kernel
    );
    assert_eq!(world.engines[0].counters().translated_stateless, 0);
}

#[test]
fn what_is_not_of_the_prefix_is_routed() {
    let mut world = world(1, false);
    assert_eq!(
        world.inside(udp6((out6(50), 1), (out6(1), 53))).verdict,
        Verdict::Route
    );
    assert_eq!(
        world.outside(udp6((out6(1), 1), (out6(50), 53))).verdict,
        Verdict::Route
    );
}
