//! Whole addresses (`dynamic-nat44`): a subscriber has a public address for itself while it has sessions, and keeps its ports.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{AddressAllocation, FilteringType};
use tandem_engine::ticks::Ticks;

use super::*;
use crate::common::packets::*;
use crate::common::world::with_workers;
use crate::common::{IN1, IN2, OUT_ROUTER, OUT1, OUT2, POOL};

fn world(workers: u8, addresses: u32, filtering: FilteringType) -> World {
    World::new(workers, |plan| {
        plan.addresses(addresses);
        plan.pool().mode = PoolMode::Addresses;
        plan.pool().address_allocation = AddressAllocation::Sequential;
        plan.set().terms = vec![term(NatAction::Dynamic44 { pool: 1, filtering })];
    })
}

#[test]
fn ports_and_identifiers_stay_and_all_protocols_pass() {
    with_workers(|workers| {
        let mut world = world(workers, 16, FilteringType::EndpointIndependent);
        let public = world.inside(udp((IN1, 1000), (OUT1, 53))).public();
        assert_eq!(public.1, 1000);
        let a = public.0;
        assert_eq!(world.inside(udp((IN1, 7), (OUT2, 53))).public(), (a, 7));
        assert_eq!(world.inside(syn((IN1, 1000), (OUT1, 80))).public(), (a, 1000));
        assert_eq!(world.inside(echo((IN1, 3), OUT1)).public(), (a, 3));
        for proto in [50, 47, 132] {
            assert_eq!(world.inside(raw(proto, IN1, OUT1)).public().0, a);
            assert_eq!(world.outside(raw(proto, OUT1, a)).ends().1.0, IN1);
        }
        assert_eq!(world.outside(udp((OUT1, 53), (a, 1000))).ends().1, (IN1, 1000));
        assert_eq!(world.outside(echo_reply(OUT1, (a, 3))).ends().1, (IN1, 3));
        let mappings = world.mappings();
        assert_eq!(mappings.len(), 1);
        assert_eq!((mappings[0].public_port, mappings[0].sessions), (0, 7));
        // Another subscriber has another address, with the same ports.
        let other = world.inside(udp((IN2, 1000), (OUT1, 53))).public();
        assert_eq!(other.1, 1000);
        assert_ne!(other.0, a);
        world.pass_seconds(400);
        assert_empty(&world);
    });
}

#[test]
fn an_error_finds_its_way() {
    with_workers(|workers| {
        let mut world = world(workers, 4, FilteringType::EndpointIndependent);
        for out in [
            udp((IN1, 1000), (OUT1, 53)),
            raw(50, IN1, OUT1),
            echo((IN1, 9), OUT1),
        ] {
            let left = world.inside(out);
            let got = world.outside(error(OUT_ROUTER, 3, 1, left.forwarded()));
            assert_eq!((got.ends().0.0, got.ends().1.0), (OUT_ROUTER, IN1));
            assert_eq!(quoted_ends(&got.packet).0.0, IN1);
        }
    });
}

#[test]
fn when_all_addresses_are_taken_the_next_subscriber_is_refused() {
    let mut world = world(1, 2, FilteringType::EndpointIndependent);
    let first = world.inside(udp((IN1, 1), (OUT1, 53))).public().0;
    let second = world.inside(udp((IN2, 1), (OUT1, 53))).public().0;
    assert_ne!(first, second);
    let third = IN1 + 7;
    assert_eq!(
        world.inside(udp((third, 1), (OUT1, 53))).dropped(),
        DropReason::NatOutOfAddresses
    );
    // Those who have one go on.
    assert_eq!(world.inside(udp((IN1, 2), (OUT1, 53))).public(), (first, 2));
    world.pass_seconds(200);
    world.inside(udp((IN2, 1), (OUT1, 53))).forwarded();
    world.pass_seconds(105);
    // The first one's sessions are over, its address rests.
    assert_eq!(world.mappings().len(), 1);
    assert_eq!(
        world.inside(udp((third, 1), (OUT1, 53))).dropped(),
        DropReason::NatOutOfAddresses
    );
    world.pass_seconds(125);
    assert_eq!(world.inside(udp((third, 1), (OUT1, 53))).public().0, first);
}

#[test]
fn an_address_without_quarantine_is_free_at_once() {
    let mut world = world(1, 1, FilteringType::EndpointIndependent);
    world.reload(|plan| plan.pool().quarantine = Ticks::ZERO);
    world.inside(echo((IN1, 1), OUT1)).forwarded();
    world.pass_seconds(63);
    world.pass_seconds(2);
    assert_eq!(world.inside(udp((IN2, 5), (OUT1, 53))).public(), (POOL, 5));
}

#[test]
fn filtering_says_who_may_use_the_address_from_outside() {
    with_workers(|workers| {
        let mut open = world(workers, 4, FilteringType::EndpointIndependent);
        let a = open.inside(udp((IN1, 1000), (OUT1, 53))).public().0;
        assert_eq!(open.outside(udp((OUT2, 9), (a, 4444))).ends().1, (IN1, 4444));
        assert_eq!(open.outside(syn((OUT2, 9), (a, 22))).ends().1, (IN1, 22));
        assert_eq!(open.outside(echo((OUT2, 9), a)).ends().1, (IN1, 9));
        assert_eq!(open.outside(raw(50, OUT2, a)).ends().1.0, IN1);
        assert_eq!(
            open.outside(tcp((OUT2, 9), (a, 23), 0x10)).dropped(),
            DropReason::TcpNonSyn
        );

        let mut closed = world(workers, 4, FilteringType::AddressAndPortDependent);
        let a = closed.inside(udp((IN1, 1000), (OUT1, 53))).public().0;
        closed.outside(udp((OUT1, 53), (a, 1000))).forwarded();
        for stranger in [
            udp((OUT1, 54), (a, 1000)),
            udp((OUT1, 53), (a, 1001)),
            udp((OUT2, 53), (a, 1000)),
        ] {
            assert_eq!(closed.outside(stranger).dropped(), DropReason::Filtered);
        }

        let mut known = world(workers, 4, FilteringType::AddressDependent);
        let a = known.inside(udp((IN1, 1000), (OUT1, 53))).public().0;
        known.outside(udp((OUT1, 54), (a, 1000))).forwarded();
        assert_eq!(
            known.outside(udp((OUT2, 53), (a, 1000))).dropped(),
            DropReason::Filtered
        );
    });
}

#[test]
fn strangers_do_not_keep_an_address() {
    let mut world = world(1, 1, FilteringType::EndpointIndependent);
    world.inside(udp((IN1, 1000), (OUT1, 5353))).forwarded();
    for _ in 0..5 {
        world.pass_seconds(70);
        world.outside(udp((OUT2, 9), (POOL, 4444)));
    }
    // The subscriber's own session has ended; new ones from outside do not begin.
    world.pass_seconds(2);
    assert_eq!(
        world.outside(udp((OUT2, 10), (POOL, 4444))).dropped(),
        DropReason::NoMapping
    );
    world.pass_seconds(400);
    assert_empty(&world);
}

#[test]
fn two_subscribers_reach_each_other_by_their_public_addresses() {
    with_workers(|workers| {
        let mut world = world(workers, 8, FilteringType::EndpointIndependent);
        let a = world.inside(udp((IN1, 1000), (OUT1, 53))).public().0;
        let b = world.inside(udp((IN2, 2000), (OUT1, 53))).public().0;
        let got = world.inside(udp((IN1, 1000), (b, 2000)));
        assert!(got.hairpinned);
        assert_eq!(got.ends(), ((a, 1000), (IN2, 2000)));
        let got = world.inside(udp((IN2, 2000), (a, 1000)));
        assert_eq!(got.ends(), ((b, 2000), (IN1, 1000)));
    });
}

#[test]
fn each_address_is_one_subscribers_whatever_the_worker() {
    with_workers(|workers| {
        let mut world = world(workers, 16, FilteringType::EndpointIndependent);
        let mut seen = std::collections::HashSet::new();
        let mut refused = 0;
        for i in 0..24 {
            let got = world.inside(udp((IN1 + i, 1000), (OUT1, 53)));
            match got.verdict {
                tandem_engine::packet::Verdict::Forward => {
                    assert!(seen.insert(got.public().0));
                    let back = world.outside(udp((OUT1, 53), got.public()));
                    assert_eq!(back.ends().1, (IN1 + i, 1000));
                }
                _ => {
                    assert_eq!(got.dropped(), DropReason::NatOutOfAddresses);
                    refused += 1;
                }
            }
        }
        assert_eq!((seen.len(), refused), (16, 8));
    });
}
