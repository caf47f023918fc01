//! Static NAT64 bindings: RFC 6146 section 3.1, binding entries "created manually".

use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{AddressRange, PoolMode, StaticMapping};

use crate::common::packets::{bytes, echo, fix_header_checksum, fix_icmp_checksum, syn, udp};
use crate::common::packets6::{echo6, error6_with, quoted_ends6, syn6, udp6};
use crate::common::plan::pool;
use crate::common::world::{World, with_workers};
use crate::common::{HOST1, HOST1B, HOST2, HOST3, OUT1, OUT2, POOL2, in64, ip};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

/// A static NAT64 binding of addresses in order; with `ports` of ports of a protocol.
fn binding(number: u16, inside: u128, public: AddressRange) -> StaticMapping {
    StaticMapping {
        name: format!("static{number}"),
        service_set: 1,
        number,
        inside,
        public,
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    }
}

/// A world with a pool of static addresses at [`POOL2`] and two bindings: whole addresses, and UDP port 53 of [`HOST2`].
fn with_bindings(workers: u8) -> World {
    World::nat64(workers, |plan| {
        let mut fixed = pool(2, POOL2, 8);
        fixed.mode = PoolMode::Static;
        plan.program.pools.push(fixed);
        let addresses = binding(
            10,
            HOST1,
            AddressRange {
                first: POOL2,
                last: POOL2 + 1,
            },
        );
        let port = StaticMapping {
            protocol: 17,
            inside_port: 53,
            public_port: 5353,
            ports: 1,
            ..binding(
                11,
                HOST2,
                AddressRange {
                    first: POOL2 + 4,
                    last: POOL2 + 4,
                },
            )
        };
        plan.statics(vec![addresses, port]);
    })
}

#[test]
fn n2_static_bindings_lead_both_ways() {
    with_workers(|workers| {
        let mut world = with_bindings(workers);
        // From outside first: nothing was sent before.
        for (n, host) in [HOST1, HOST1B].into_iter().enumerate() {
            let public = POOL2 + n as u32;
            assert_eq!(
                world.outside(udp((OUT1, 80), (public, 7))).ends6(),
                (TO, (host, 7))
            );
            assert_eq!(
                world.inside(udp6((host, 7), TO)).ends(),
                ((public, 7), (OUT1, 80))
            );
            assert_eq!(
                world.outside(syn((OUT1, 80), (public, 22))).ends6(),
                (TO, (host, 22))
            );
            let got = world.outside(echo((OUT1, 99), public));
            assert_eq!(got.ends6(), ((TO.0, 99), (host, 99)));
            // And from inside: ports and identifiers stay.
            assert_eq!(world.inside(syn6((host, 5000), TO)).public(), (public, 5000));
            assert_eq!(world.inside(echo6((host, 7), TO.0)).public(), (public, 7));
        }
        assert!(world.mappings().is_empty(), "they need none");
        let sessions = world.sessions();
        assert!(sessions.iter().all(|s| s.term == 10));
        // The /64's limits and counts are the subscriber's.
        assert_eq!(world.subscribers().len(), 1);
        world.pass_seconds(8000);
        assert!(world.sessions().is_empty() && world.subscribers().is_empty());
    });
}

#[test]
fn n2_static_binding_of_a_port() {
    with_workers(|workers| {
        let mut world = with_bindings(workers);
        let got = world.outside(udp((OUT1, 80), (POOL2 + 4, 5353)));
        assert_eq!(got.ends6(), (TO, (HOST2, 53)));
        assert_eq!(world.inside(udp6((HOST2, 53), TO)).public(), (POOL2 + 4, 5353));
        assert_eq!(
            world.inside(udp6((HOST2, 53), (in64(OUT2), 9))).public(),
            (POOL2 + 4, 5353)
        );
        // Other ports and protocols of the same host go by the term, of the same address nowhere.
        let public = world.inside(udp6((HOST2, 54), TO)).public();
        assert!(public.0 < POOL2);
        let got = world.outside(udp((OUT1, 80), (POOL2 + 4, 54)));
        assert_eq!(got.dropped(), DropReason::NoMapping);
        // Hairpinned, too.
        let got = world.inside(udp6((HOST3, 1), (in64(POOL2 + 4), 5353)));
        assert!(got.hairpinned);
        assert_eq!(got.ends6().1, (HOST2, 53));
        assert_eq!(
            world
                .outside(udp((ip(9, 9, 9, 9), 1), (POOL2 + 4, 5353)))
                .ends6()
                .1,
            (HOST2, 53)
        );
    });
}

#[test]
fn n2_errors_about_static_bindings() {
    use crate::common::packets::{ends, error, quoted_ends};
    with_workers(|workers| {
        let mut world = with_bindings(workers);
        let sent = world.inside(udp6(FROM, TO));
        let got = world.outside(error(OUT2, 11, 0, sent.forwarded()));
        assert_eq!(quoted_ends6(got.forwarded()), (FROM, TO));
        let inbound = world.outside(udp((OUT2, 9), (POOL2, 7)));
        let got = world.inside(error6_with(HOST1, (1, 4, 0), inbound.forwarded()));
        assert_eq!(quoted_ends(got.forwarded()), ((OUT2, 9), (POOL2, 7)));
        assert_eq!(ends(&got.packet).0.0, POOL2);
    });
}

#[test]
fn what_cannot_become_ipv6_takes_no_session() {
    use tandem_engine::packet::Answer;
    use tandem_wire::build::{PacketBuilder, Payload};
    for compute in [true, false] {
        with_workers(|workers| {
            let mut world = with_bindings(workers);
            world.reload(|plan| plan.set().ipv6.compute_udp_checksum = compute);
            for fixed in [true, false] {
                // A static binding, or an endpoint-independent mapping.
                let mapped = world.inside(udp6((HOST3, 5000), TO)).public();
                let to = if fixed { (POOL2, 7000) } else { mapped };
                let none = Payload::Udp {
                    sport: 9,
                    dport: to.1,
                    checksum: false,
                };
                let no_checksum = || {
                    PacketBuilder::new(OUT2, to.0, none)
                        .data(b"data")
                        .dont_fragment(false)
                };
                let whole = bytes(&no_checksum());
                let mut fragment = bytes(&no_checksum().data(&[1; 24]));
                fragment[6] |= 0x20;
                // Its length is the whole datagram's.
                fragment[24..26].copy_from_slice(&[0, 100]);
                fix_header_checksum(&mut fragment);
                let route = [0x83, 7, 4, 9, 9, 9, 9, 0];
                let routed = bytes(&PacketBuilder::udp(OUT2, 9, to.0, to.1).ip_options(&route));
                let mut timestamp = echo((OUT2, 9), to.0);
                timestamp[20] = 13;
                fix_icmp_checksum(&mut timestamp);
                let mut refused = vec![
                    (fragment, DropReason::UdpZeroChecksum, Answer::None),
                    (routed, DropReason::SourceRoute, Answer::Unreachable(5)),
                ];
                if fixed {
                    refused.push((timestamp, DropReason::Untranslatable, Answer::None));
                }
                if !compute {
                    refused.push((whole.clone(), DropReason::UdpZeroChecksum, Answer::None));
                }
                for (packet, reason, answer) in refused {
                    assert_eq!(world.outside(packet).drop_answer(), (reason, answer));
                }
                let live =
                    |world: &mut World| world.sessions().iter().filter(|s| s.initiated_outside).count();
                assert_eq!(live(&mut world), 0);
                // What can be translated does take one.
                if compute {
                    world.outside(whole).forwarded();
                    assert_eq!(live(&mut world), 1);
                    world.pass_seconds(400);
                }
            }
        });
    }
}
