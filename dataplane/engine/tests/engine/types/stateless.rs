//! Translation between the families without sessions (SIIT, RFC 7915) by explicit address mappings (RFC 7757) and a prefix.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::Stateless;
use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::prefix::Ipv4Prefix;
use tandem_wire::siit::{Eam, Siit};

use super::*;
use crate::common::packets::{self, echo_reply, error, quoted_ends, raw, tcp, udp};
use crate::common::packets6::*;
use crate::common::plan::OUTSIDE;
use crate::common::{IN1, OUT_ROUTER, OUT1, in6, ip};

/// 192.0.2.64/28 stands for 2001:db8:0:40::/124, an IPv6-only network inside.
const V4: u32 = ip(203, 0, 113, 64);

fn eam(v4: (u32, u8), v6: (u128, u8)) -> Eam {
    Eam {
        v4: Ipv4Prefix::new(v4.0, v4.1).expect("a prefix"),
        v6: Ipv6Prefix::new(v6.0, v6.1).expect("a prefix"),
    }
}

/// IPv6 inside, IPv4 outside: an edge relay (SIIT-DC).
fn world() -> World {
    World::new(1, |plan| {
        plan.set().terms.clear();
        plan.program.pools.clear();
        let siit = Siit::new(vec![eam((V4, 28), (in6(0x40, 0), 124))], Some(pref64())).expect("a table");
        plan.set().stateless = vec![Stateless::Siit(siit)];
    })
}

#[test]
fn both_directions_by_mapping_and_prefix() {
    let mut world = world();
    let outside = pref64().embed(OUT1);
    for i in 0..16u32 {
        let inside = in6(0x40, u64::from(i));
        let got = world.inside(udp6((inside, 1000), (outside, 53)));
        assert_eq!(got.ends(), ((V4 + i, 1000), (OUT1, 53)));
        let got = world.outside(udp((OUT1, 53), (V4 + i, 1000)));
        assert_eq!(got.ends6(), ((outside, 53), (inside, 1000)));
        let got = world.inside(syn6((inside, 1), (outside, 80)));
        assert_eq!(got.ends(), ((V4 + i, 1), (OUT1, 80)));
        // Nobody asks whether it was begun.
        let got = world.outside(tcp((OUT1, 80), (V4 + i, 9), 0x10));
        assert_eq!(got.ends6().1, (inside, 9));
        let got = world.inside(echo6((inside, 5), outside));
        assert_eq!(got.ends(), ((V4 + i, 5), (OUT1, 5)));
        let got = world.outside(echo_reply(OUT1, (V4 + i, 5)));
        assert_eq!(got.ends6(), ((outside, 5), (inside, 5)));
        let got = world.inside(raw6(50, inside, outside));
        assert_eq!((got.ends().0.0, got.ends().1.0), (V4 + i, OUT1));
        let got = world.outside(raw(50, OUT1, V4 + i));
        assert_eq!((got.ends6().0.0, got.ends6().1.0), (outside, inside));
    }
    assert_eq!(world.engines[0].counters().translated_stateless, 16 * 8);
    assert_eq!(world.engines[0].table_use()[0].0, 0);
}

#[test]
fn hop_counts_go_down_and_their_end_is_told() {
    let mut world = world();
    let (inside, outside) = (in6(0x40, 1), pref64().embed(OUT1));
    let got = world.inside(udp6((inside, 1), (outside, 53)));
    assert_eq!(got.forwarded()[8], 63);
    let mut old = udp6((inside, 1), (outside, 53));
    old[7] = 1;
    assert_eq!(
        world.inside(old).drop_answer(),
        (DropReason::TtlExpired, Answer::TimeExceeded)
    );
    let old = packets::with_ttl(udp((OUT1, 53), (V4 + 1, 1)), 1);
    assert_eq!(
        world.outside(old).drop_answer(),
        (DropReason::TtlExpired, Answer::TimeExceeded)
    );
}

#[test]
fn errors_are_translated_with_what_they_quote() {
    let mut world = world();
    let (inside, outside) = (in6(0x40, 1), pref64().embed(OUT1));
    let left = world.inside(udp6((inside, 1000), (outside, 53)));
    let got = world.outside(error(OUT_ROUTER, 3, 1, left.forwarded()));
    assert_eq!(
        (got.ends6().0.0, got.ends6().1.0),
        (pref64().embed(OUT_ROUTER), inside)
    );
    assert_eq!(quoted_ends6(&got.packet), ((inside, 1000), (outside, 53)));
    let came = world.outside(udp((OUT1, 53), (V4 + 1, 1000)));
    let got = world.inside(error6(inside, 1, 4, came.forwarded()));
    assert_eq!((got.ends().0.0, got.ends().1.0), (V4 + 1, OUT1));
    assert_eq!(quoted_ends(&got.packet), ((OUT1, 53), (V4 + 1, 1000)));
    // Port unreachable is 3/3 in IPv4.
    assert_eq!(&got.packet[20..22], [3, 3]);
}

#[test]
fn addresses_without_a_mapping() {
    let mut world = world();
    let outside = pref64().embed(OUT1);
    // The source has none, so there is no packet.
    assert_eq!(
        world.inside(udp6((in6(0x41, 1), 1), (outside, 53))).dropped(),
        DropReason::StatelessNoMapping
    );
    // The destination has none: it stays IPv6.
    assert_eq!(
        world.inside(udp6((in6(0x40, 1), 1), (in6(0x41, 2), 53))).verdict,
        Verdict::Route
    );
    // From outside to an address that stands for nobody.
    assert_eq!(
        world.outside(udp((OUT1, 53), (V4 + 16, 1))).verdict,
        Verdict::Route
    );
}

#[test]
fn too_long_for_the_other_side() {
    let mut world = world();
    let data = [7; 1452];
    // 1480 octets, with DF: 1500 in IPv6, which just fits; one more does not.
    let packet = |length: usize, dont_fragment| {
        let builder = PacketBuilder::udp(OUT1, 53, V4 + 1, 1)
            .data(&data[..length])
            .dont_fragment(dont_fragment);
        packets::bytes(&builder)
    };
    world.outside(packet(1452, true)).forwarded();
    let long = vec![7; 1453];
    let builder = PacketBuilder::udp(OUT1, 53, V4 + 1, 1)
        .data(&long)
        .dont_fragment(true);
    assert_eq!(
        world.outside(packets::bytes(&builder)).drop_answer(),
        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1480))
    );
    // Without DF it is cut to what IPv6 passes everywhere.
    let got = world.outside(packet(1452, false));
    assert_eq!(got.verdict, Verdict::ForwardFragmented(1280));
    world.outside(packet(1200, false)).forwarded();
    // The other way the header shrinks.
    let small = pref64().embed(crate::common::OUT_SMALL_MTU);
    let builder = PacketBuilder6::udp(in6(0x40, 1), 1, small, 53).data(&data[..1300]);
    assert_eq!(
        world.inside(bytes6(&builder)).drop_answer(),
        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1300))
    );
}

#[test]
fn x12_stateless_illegal_addresses_are_dropped() {
    let legal = [ip(1, 0, 0, 1), ip(126, 255, 255, 255), ip(223, 255, 255, 255)];
    let illegal = [
        ip(0, 0, 0, 0),
        ip(0, 1, 2, 3),
        ip(127, 0, 0, 1),
        ip(224, 0, 0, 1),
        ip(239, 1, 2, 3),
        ip(240, 0, 0, 1),
        ip(255, 255, 255, 255),
    ];
    let dropped = (DropReason::StatelessIllegalAddress, Answer::None);
    // IPv6 inside, by the prefix and by a mapping.
    let mut world = world();
    for v4 in legal {
        let got = world.inside(udp6((pref64().embed(v4), 1), (pref64().embed(OUT1), 53)));
        assert_eq!(got.ends().0.0, v4);
        let got = world.inside(udp6((in6(0x40, 1), 1), (pref64().embed(v4), 53)));
        assert_eq!(got.ends().1.0, v4);
        let got = world.outside(udp((v4, 53), (V4 + 1, 1)));
        assert_eq!(got.ends6().0.0, pref64().embed(v4));
    }
    for v4 in illegal {
        let got = world.inside(udp6((pref64().embed(v4), 1), (pref64().embed(OUT1), 53)));
        assert_eq!(got.drop_answer(), dropped, "from {v4:x}");
        let got = world.inside(udp6((in6(0x40, 1), 1), (pref64().embed(v4), 53)));
        assert_eq!(got.drop_answer(), dropped, "to {v4:x}");
        // Errors are no exception: there is no pool of addresses for them (RFC 6791).
        let left = udp((V4 + 1, 1), (OUT1, 53));
        for packet in [udp((v4, 53), (V4 + 1, 1)), error(v4, 3, 1, &left)] {
            assert_eq!(world.outside(packet).drop_answer(), dropped, "from {v4:x}");
        }
    }
    // IPv4 inside.
    let mut world = nat46();
    let client = (0x2001_0db8_0046_u128 << 80) | u128::from(IN1 & 255);
    for v4 in illegal {
        let got = world.inside(udp((IN1, 1), (v4, 53)));
        assert_eq!(got.drop_answer(), dropped, "to {v4:x}");
        let got = world.outside(udp6((pref64().embed(v4), 53), (client, 1)));
        assert_eq!(got.drop_answer(), dropped, "from {v4:x}");
    }
    // IPv6 addresses that a mapping gives.
    for v6 in [1, 0xfe80 << 112 | 9, 0xff02 << 112 | 9] {
        let mut world = World::new(1, |plan| {
            plan.set().terms.clear();
            plan.program.pools.clear();
            let siit = Siit::new(vec![eam((V4, 32), (v6, 128))], Some(pref64())).expect("a table");
            plan.set().stateless = vec![Stateless::Siit(siit)];
        });
        let got = world.inside(udp6((v6, 1), (pref64().embed(OUT1), 53)));
        assert_eq!(got.drop_answer(), dropped, "from {v6:x}");
        let got = world.outside(udp((OUT1, 53), (V4, 1)));
        assert_eq!(got.drop_answer(), dropped, "to {v6:x}");
    }
}

#[test]
fn what_an_ipv6_host_cannot_make_smaller_is_fragmented_behind() {
    // RFC 7915 section 5.1: up to 1260 octets in IPv4 there is no DF, so a link of 1000 octets is no reason to answer: the host
    // would be told 1280, send the same again, and never get through.
    let mut world = world();
    let tiny = pref64().embed(crate::common::OUT_TINY_MTU);
    let packet = |length: usize| {
        let data = vec![7; length - 48];
        bytes6(&PacketBuilder6::udp(in6(0x40, 1), 1, tiny, 53).data(&data))
    };
    for length in [1000, 1021, 1228, 1280] {
        let got = world.inside(packet(length));
        assert_eq!(got.forwarded().len(), length - 20);
        assert_eq!(got.packet[6] & 0x40, 0, "no DF");
    }
    for length in [1281, 1400] {
        assert_eq!(
            world.inside(packet(length)).drop_answer(),
            (DropReason::MtuExceeded, Answer::FragmentationNeeded(1280))
        );
    }
}

#[test]
fn errors_are_cut_and_never_fragmented() {
    let mut world = world();
    for length in [1200, 1300, 1400] {
        let data = vec![7; length];
        let about = packets::bytes(&PacketBuilder::udp(V4 + 1, 1000, OUT1, 53).data(&data));
        for dont_fragment in [false, true] {
            let builder = PacketBuilder::icmp(OUT_ROUTER, V4 + 1, 11, 0, 0)
                .data(&about)
                .dont_fragment(dont_fragment);
            let got = world.outside(packets::bytes(&builder));
            assert_eq!(got.ends6().1.0, in6(0x40, 1));
            assert_eq!(got.packet.len(), 1280);
        }
    }
}

#[test]
fn packets_of_every_length() {
    let mut world = world();
    let (inside, outside) = (in6(0x40, 1), pref64().embed(OUT1));
    for length in [32_000, 32_700, 32_748, 32_768, 65_000, 65_488, 65_507] {
        let data = vec![7; length];
        for (dont_fragment, verdict) in [
            (
                true,
                Verdict::Drop(DropReason::MtuExceeded, Answer::FragmentationNeeded(1480)),
            ),
            (false, Verdict::ForwardFragmented(1280)),
        ] {
            let builder = PacketBuilder::udp(OUT1, 53, V4 + 1, 1)
                .data(&data)
                .dont_fragment(dont_fragment);
            // As IPv6 the longest have no parse any more.
            let got = world.burst(OUTSIDE, vec![packets::bytes(&builder)]).remove(0);
            assert_eq!(got.verdict, verdict);
        }
        if length <= 65_487 {
            let builder = PacketBuilder6::udp(inside, 1, outside, 53).data(&data);
            assert_eq!(
                world.inside(bytes6(&builder)).drop_answer(),
                (DropReason::MtuExceeded, Answer::FragmentationNeeded(1520))
            );
        }
    }
}

/// The other way round: IPv4 inside, IPv6 outside, a client that speaks IPv4 to servers that do not (the client side of
/// 464XLAT, and NAT46 for servers with a mapping).
fn nat46() -> World {
    World::new(1, |plan| {
        plan.set().terms.clear();
        plan.program.pools.clear();
        let clients = eam((ip(10, 0, 0, 0), 24), (0x2001_0db8_0046 << 80, 120));
        let server = eam((ip(198, 51, 100, 200), 32), (crate::common::out6(0x200), 128));
        let siit = Siit::new(vec![clients, server], Some(pref64())).expect("a table");
        plan.set().stateless = vec![Stateless::Siit(siit)];
    })
}

#[test]
fn ipv4_clients_reach_ipv6_servers() {
    let mut world = nat46();
    let client = (0x2001_0db8_0046_u128 << 80) | u128::from(IN1 & 255);
    let server = crate::common::out6(0x200);
    let got = world.inside(udp((IN1, 1000), (ip(198, 51, 100, 200), 53)));
    assert_eq!(got.ends6(), ((client, 1000), (server, 53)));
    let got = world.outside(udp6((server, 53), (client, 1000)));
    assert_eq!(got.ends(), ((ip(198, 51, 100, 200), 53), (IN1, 1000)));
    // By the prefix.
    let got = world.inside(udp((IN1, 1000), (OUT1, 53)));
    assert_eq!(got.ends6(), ((client, 1000), (pref64().embed(OUT1), 53)));
    let got = world.outside(udp6((pref64().embed(OUT1), 53), (client, 1000)));
    assert_eq!(got.ends(), ((OUT1, 53), (IN1, 1000)));
    // Errors, both ways.
    let left = world.inside(udp((IN1, 1000), (ip(198, 51, 100, 200), 53)));
    let got = world.outside(error6(pref64().embed(OUT_ROUTER), 1, 0, left.forwarded()));
    assert_eq!((got.ends().0.0, got.ends().1.0), (OUT_ROUTER, IN1));
    assert_eq!(
        quoted_ends(&got.packet),
        ((IN1, 1000), (ip(198, 51, 100, 200), 53))
    );
    let came = world.outside(udp6((server, 53), (client, 1000)));
    let got = world.inside(error(IN1, 3, 3, came.forwarded()));
    assert_eq!((got.ends6().0.0, got.ends6().1.0), (client, server));
    assert_eq!(quoted_ends6(&got.packet), ((server, 53), (client, 1000)));
}
