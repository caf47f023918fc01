//! What a reload changes for sessions that live on.

use tandem_engine::packet::Verdict;

use crate::common::packets::udp;
use crate::common::world::World;

const IN: (u32, u16) = (0x6440_0005, 4000);
const OUT: (u32, u16) = (0xc633_6401, 53);

#[test]
fn a_destination_that_becomes_a_public_address_is_hairpinned_at_once() {
    let mut world = World::new(1, |_| {});
    world.inside(udp(IN, OUT)).forwarded();
    assert!(!world.inside(udp(IN, OUT)).hairpinned);
    world.reload(|plan| plan.second(OUT.0, 1));
    let got = world.inside(udp(IN, OUT));
    assert!(got.hairpinned, "{got:?}");
    assert_ne!(got.verdict, Verdict::Forward);
}
