//! Static NAT (`basic-nat44`): an address or a prefix for another, ports as they are, both directions.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{AddressRange, StaticMapping};

use super::*;
use crate::common::packets::*;
use crate::common::plan::pool;
use crate::common::world::with_workers;
use crate::common::{IN1, IN2, OUT_ROUTER, OUT1, OUT2, POOL, POOL2, ip};

/// 10.0.1.0/28 stands for the pool's 16 addresses.
const FIRST: u32 = ip(10, 0, 1, 0);

fn prefix() -> StaticMapping {
    StaticMapping {
        public: AddressRange {
            first: POOL,
            last: POOL + 15,
        },
        ..one_to_one(7, FIRST, POOL)
    }
}

fn world(workers: u8) -> World {
    World::new(workers, |plan| only_statics(plan, vec![prefix()]))
}

#[test]
fn sessions_from_inside_keep_their_ports() {
    with_workers(|workers| {
        let mut world = world(workers);
        for i in 0..16 {
            let got = world.inside(udp((FIRST + i, 1000), (OUT1, 53)));
            assert_eq!(got.ends(), ((POOL + i, 1000), (OUT1, 53)));
            let back = world.outside(udp((OUT1, 53), (POOL + i, 1000)));
            assert_eq!(back.ends(), ((OUT1, 53), (FIRST + i, 1000)));
            let got = world.inside(echo((FIRST + i, 77), OUT1));
            assert_eq!(got.public(), (POOL + i, 77));
            let back = world.outside(echo_reply(OUT1, (POOL + i, 77)));
            assert_eq!(back.ends().1, (FIRST + i, 77));
            let got = world.inside(raw(50, FIRST + i, OUT1));
            assert_eq!(got.public().0, POOL + i);
            let back = world.outside(raw(50, OUT1, POOL + i));
            assert_eq!(back.ends().1.0, FIRST + i);
        }
        assert_eq!(world.sessions().len(), 48);
        let uses = pool_use(&world);
        assert_eq!(
            (uses.udp_ports, uses.icmp_ids, uses.extents),
            (0, 0, 0),
            "nothing is taken"
        );
        world.pass_seconds(400);
        assert_empty(&world);
    });
}

#[test]
fn sessions_from_outside_are_let_in() {
    with_workers(|workers| {
        let mut world = world(workers);
        let got = world.outside(syn((OUT2, 4000), (POOL + 3, 22)));
        assert_eq!(got.ends(), ((OUT2, 4000), (FIRST + 3, 22)));
        let got = world.inside(tcp((FIRST + 3, 22), (OUT2, 4000), 0x12));
        assert_eq!(got.ends(), ((POOL + 3, 22), (OUT2, 4000)));
        let got = world.outside(echo((OUT2, 5), POOL + 4));
        assert_eq!(got.ends().1, (FIRST + 4, 5));
        assert_eq!(
            world.inside(echo_reply(FIRST + 4, (OUT2, 5))).public(),
            (POOL + 4, 5)
        );
        world.outside(raw(47, OUT2, POOL + 5)).forwarded();
        assert_eq!(world.inside(raw(47, FIRST + 5, OUT2)).public().0, POOL + 5);
        assert!(
            world
                .sessions()
                .iter()
                .all(|s| s.initiated_outside && s.term == 7)
        );
        assert_eq!(world.sessions().len(), 3);
        assert_eq!(
            world.outside(tcp((OUT2, 4001), (POOL + 3, 22), 0x10)).dropped(),
            DropReason::TcpNonSyn
        );
    });
}

#[test]
fn who_has_no_static_mapping_is_not_translated() {
    let mut world = world(1);
    assert_eq!(
        world.inside(udp((IN1, 1000), (OUT1, 53))).dropped(),
        DropReason::NatNoRuleMatch
    );
    assert_eq!(
        world.inside(udp((FIRST + 16, 1), (OUT1, 53))).dropped(),
        DropReason::NatNoRuleMatch
    );
}

#[test]
fn two_static_hosts_reach_each_other_by_their_public_addresses() {
    with_workers(|workers| {
        let mut world = world(workers);
        let got = world.inside(udp((FIRST + 1, 1000), (POOL + 2, 53)));
        assert!(got.hairpinned);
        assert_eq!(got.ends(), ((POOL + 1, 1000), (FIRST + 2, 53)));
        let back = world.inside(udp((FIRST + 2, 53), (POOL + 1, 1000)));
        assert_eq!(back.ends(), ((POOL + 2, 53), (FIRST + 1, 1000)));
    });
}

#[test]
fn errors_hide_the_inside() {
    with_workers(|workers| {
        let mut world = world(workers);
        let out = world.inside(udp((FIRST + 1, 1000), (OUT1, 53)));
        let got = world.outside(error(OUT_ROUTER, 11, 0, out.forwarded()));
        assert_eq!((got.ends().0.0, got.ends().1.0), (OUT_ROUTER, FIRST + 1));
        assert_eq!(quoted_ends(&got.packet), ((FIRST + 1, 1000), (OUT1, 53)));
        let back = world.outside(udp((OUT1, 53), (POOL + 1, 1000)));
        let got = world.inside(error(FIRST + 1, 3, 3, back.forwarded()));
        assert_eq!((got.ends().0.0, got.ends().1.0), (POOL + 1, OUT1));
        assert_eq!(quoted_ends(&got.packet), ((OUT1, 53), (POOL + 1, 1000)));
        // From a router inside: nobody outside may see who it is.
        let got = world.inside(error(IN2, 11, 0, back.forwarded()));
        assert_eq!(got.ends().0.0, POOL + 1);
    });
}

#[test]
fn a_reload_that_takes_the_mapping_away_ends_its_sessions() {
    let mut world = world(1);
    world.inside(udp((FIRST + 1, 1000), (OUT1, 53))).forwarded();
    world.outside(udp((OUT2, 1000), (POOL + 2, 53))).forwarded();
    world.reload(|_| {});
    world.settle_time();
    assert_eq!(world.sessions().len(), 2, "nothing changed");
    world.reload(|plan| {
        let one = one_to_one(7, FIRST + 1, POOL + 1);
        only_statics(plan, vec![one]);
    });
    world.settle_time();
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].inside_port, 1000);
    // The same public address for another host: not the same mapping any more.
    world.reload(|plan| only_statics(plan, vec![one_to_one(7, FIRST + 9, POOL + 1)]));
    world.settle_time();
    assert_empty(&world);
    assert_eq!(world.engines[0].counters().sessions_purged, 2);
}

#[test]
fn a_static_mapping_comes_before_terms() {
    with_workers(|workers| {
        let mut world = World::new(workers, |plan| {
            let mut fixed = pool(2, POOL2, 1);
            fixed.mode = PoolMode::Static;
            plan.program.pools.push(fixed);
            set_statics(plan, vec![one_to_one(100, IN1, POOL2)]);
        });
        assert_eq!(world.inside(udp((IN1, 1000), (OUT1, 53))).public(), (POOL2, 1000));
        for port in 0..200 {
            let public = world.inside(udp((IN2, 2000 + port), (OUT1, 53))).public();
            assert_ne!(public.0, POOL2, "the address is all the static mapping's");
        }
    });
}
