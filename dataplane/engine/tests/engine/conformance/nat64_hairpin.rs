//! RFC 6146 section 3.8: hairpinning between IPv6 hosts, by way of their public IPv4 ends.

use std::net::IpAddr;

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::program::{FilteringType, MappingType};
use tandem_wire::build::{IcmpErrorKind, PacketBuilder6, icmp_error};

use crate::common::packets::with_ttl;
use crate::common::packets6::{bytes6, echo6, error6_with, quoted_ends6, syn6, udp6, with_hop_limit};
use crate::common::world::{World, with_nat64};
use crate::common::{BOX, HOST_SMALL_MTU, HOST1, HOST1B, HOST2, HOST3, OUT1, in64};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

fn show(address: u128) -> IpAddr {
    IpAddr::V6(address.into())
}

#[test]
fn n12_hairpinning_with_external_source() {
    with_nat64(
        |_| {},
        |world| {
            for (client, server) in [(HOST1, HOST2), (HOST1, HOST1B), (HOST2, HOST3)] {
                let server = (server, 6000);
                // UDP.
                let x2 = world.inside(udp6(server, TO)).public();
                let seen_server = (in64(x2.0), x2.1);
                let got = world.inside(udp6((client, 5000), seen_server));
                assert!(got.hairpinned);
                let (seen_client, to) = got.ends6();
                assert_eq!(to, server);
                let x1 = world
                    .mappings()
                    .into_iter()
                    .find(|m| m.inside == show(client) && m.inside_port == 5000 && m.protocol == 17)
                    .expect("the client's mapping");
                let IpAddr::V4(x1_address) = x1.public else {
                    panic!("not IPv4")
                };
                assert_eq!(seen_client, (in64(x1_address.to_bits()), x1.public_port));
                // And the answer.
                let got = world.inside(udp6(server, seen_client));
                assert!(got.hairpinned);
                assert_eq!(got.ends6(), (seen_server, (client, 5000)));
                // TCP, all of the opening.
                let x2 = world.inside(syn6(server, TO)).public();
                let seen_server = (in64(x2.0), x2.1);
                let (seen_client, to) = world.inside(syn6((client, 5000), seen_server)).ends6();
                assert_eq!(to, server);
                let answer = crate::common::packets6::tcp6(server, seen_client, 0x12);
                assert_eq!(world.inside(answer).ends6(), (seen_server, (client, 5000)));
                let last = crate::common::packets6::tcp6((client, 5000), seen_server, 0x10);
                assert_eq!(world.inside(last).ends6(), (seen_client, server));
            }
        },
    );
}

#[test]
fn n12_hairpinned_errors() {
    with_nat64(
        |_| {},
        |world| {
            let x2 = world.inside(udp6((HOST2, 6000), TO)).public();
            let seen_server = (in64(x2.0), x2.1);
            let got = world.inside(udp6(FROM, seen_server));
            for (kind, expect) in [
                ((1, 4, 0), (1, 4, 0)),
                ((3, 0, 0), (3, 0, 0)),
                ((2, 0, 1280), (2, 0, 1280)),
                ((1, 1, 0), (1, 1, 0)),
            ] {
                let back = world.inside(error6_with(HOST2, kind, got.forwarded()));
                assert!(back.hairpinned);
                assert_eq!((back.ends6().0.0, back.ends6().1.0), (seen_server.0, HOST1));
                assert_eq!(quoted_ends6(&back.packet), (FROM, seen_server));
                let word = back.packet[44..48]
                    .try_into()
                    .map(u32::from_be_bytes)
                    .expect("four octets");
                assert_eq!((back.packet[40], back.packet[41], word), expect);
            }
        },
    );
}

#[test]
fn n12_hairpinning_is_filtered_and_bounded() {
    let mut world = World::nat64(2, |plan| {
        plan.behaviour64(MappingType::EndpointIndependent, FilteringType::AddressDependent);
    });
    let x2 = world.inside(udp6((HOST2, 6000), TO)).public();
    let seen_server = (in64(x2.0), x2.1);
    let got = world.inside(udp6(FROM, seen_server));
    assert!(got.hairpinned);
    assert_eq!(got.dropped(), DropReason::Filtered);
    // Nobody has that port; and echoes are not hairpinned.
    let got = world.inside(udp6(FROM, (in64(x2.0), x2.1 ^ 1)));
    assert_eq!((got.hairpinned, got.dropped()), (true, DropReason::NoMapping));
    let got = world.inside(echo6((HOST1, 7), seen_server.0));
    assert!(matches!(got.verdict, Verdict::Drop(_, Answer::None)));
    // To itself: the two ends are the same then, and the packet a LAND.
    let public = world.inside(udp6((HOST3, 1), TO)).public();
    let got = world.inside(udp6((HOST3, 1), (in64(public.0), public.1)));
    assert_eq!(got.verdict, Verdict::Hairpin);
}

#[test]
fn n12_hop_limit_and_size_on_the_way_round() {
    let mut world = World::nat64(1, |_| {});
    let x2 = world.inside(udp6((HOST_SMALL_MTU, 6000), TO)).public();
    let seen_server = (in64(x2.0), x2.1);
    world.inside(udp6(FROM, seen_server)).forwarded();
    let got = world.inside(with_hop_limit(udp6(FROM, seen_server), 2));
    assert_eq!(got.drop_answer(), (DropReason::TtlExpired, Answer::TimeExceeded));
    // Too big for the second link: what is told there comes back to the sender, in its family.
    let data = vec![7; 1400 - 48];
    let big = PacketBuilder6::udp(FROM.0, FROM.1, seen_server.0, seen_server.1).data(&data);
    let got = world.inside(bytes6(&big));
    assert_eq!(
        got.drop_answer(),
        (DropReason::MtuExceeded, Answer::FragmentationNeeded(1260))
    );
    let mut answer = vec![0; 576];
    let kind = IcmpErrorKind::FragmentationNeeded(1260);
    let length = icmp_error(&mut answer, &got.packet, BOX, 1, kind).expect("an answer");
    answer.truncate(length);
    let told = world.outside(with_ttl(answer, 64));
    assert_eq!(
        told.forwarded()[40..48],
        [2, 0, told.packet[42], told.packet[43], 0, 0, 5, 0]
    );
    assert_eq!(quoted_ends6(&told.packet), (FROM, seen_server));
}

#[test]
fn n12_between_ipv4_and_ipv6_hosts_of_one_service_set() {
    use crate::common::IN1;
    use crate::common::packets::{error, quoted_ends, syn, udp};
    use crate::common::plan::napt_term;
    use tandem_engine::program::TermMatch;
    with_nat64(
        |plan| {
            let independent = (
                MappingType::EndpointIndependent,
                FilteringType::EndpointIndependent,
            );
            let four = napt_term(1, 1, independent.0, independent.1, TermMatch::default());
            plan.set().terms.push(four);
        },
        |world| {
            let four = (IN1, 7000);
            // From IPv6 to IPv4: the packet changes family once, and its destination once more.
            let x4 = world.inside(udp(four, (OUT1, 80))).public();
            let x6 = world.inside(udp6(FROM, TO)).public();
            let got = world.inside(udp6(FROM, (in64(x4.0), x4.1)));
            assert!(got.hairpinned);
            assert_eq!(got.ends(), (x6, four));
            let got = world.inside(udp(four, x6));
            assert!(got.hairpinned);
            assert_eq!(got.ends6(), ((in64(x4.0), x4.1), FROM));
            // Errors about both ways.
            let about = world.inside(udp(four, x6));
            let got = world.inside(error6_with(HOST1, (1, 4, 0), about.forwarded()));
            assert_eq!(quoted_ends(got.forwarded()), (four, x6));
            let about = world.inside(udp6(FROM, (in64(x4.0), x4.1)));
            let got = world.inside(error(IN1, 3, 3, about.forwarded()));
            assert_eq!(quoted_ends6(got.forwarded()), (FROM, (in64(x4.0), x4.1)));
            // TCP begun by the IPv4 host.
            let x6 = world.inside(syn6(FROM, TO)).public();
            let got = world.inside(syn(four, x6));
            assert_eq!(got.ends6().1, FROM);
        },
    );
}

#[test]
fn port_0_is_a_port_and_no_identifier() {
    // Every port of the server's address is in use, so whatever port the client is given, the server's address has it, too.
    let mut world = World::nat64(1, |plan| {
        plan.addresses(2);
        plan.ports(2000, 2007);
    });
    let mut server = 0;
    for i in 0..8 {
        server = world.inside(udp6((HOST2, 6000 + i), TO)).public().0;
    }
    assert_ne!(world.inside(udp6(FROM, TO)).public().0, server);
    let got = world.inside(udp6(FROM, (in64(server), 0)));
    assert!(got.hairpinned);
    assert_eq!(got.dropped(), DropReason::NoMapping);
}
