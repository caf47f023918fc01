//! Upper layers through NAT64: RFC 7915 sections 4.5 and 5.5, RFC 6146 section 3.4; protocols that do not pass.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Answer;
use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::tcp;

use crate::common::packets::{bytes, udp};
use crate::common::packets6::{bytes6, echo6, raw6, udp6};
use crate::common::translated::is_right;
use crate::common::world::{World, with_nat64};
use crate::common::{HOST1, OUT1, in64};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

#[test]
fn n11_other_protocols_are_refused_with_an_answer() {
    use tandem_engine::program::RefusalAnswer;
    for (policy, answer) in [
        (RefusalAnswer::HostUnreachable, Answer::Unreachable(4)),
        (RefusalAnswer::Silent, Answer::None),
    ] {
        with_nat64(
            |plan| plan.set().on_refusal = policy,
            |world| {
                // GRE, ESP, SCTP, UDP-Lite; and ICMP of IPv4, which is nothing IPv6 hosts speak.
                for proto in [47, 50, 132, 136, 1, 2, 59] {
                    let got = world.inside(raw6(proto, HOST1, TO.0));
                    assert_eq!(
                        got.drop_answer(),
                        (DropReason::NatUnsupportedProtocol, answer),
                        "protocol {proto}"
                    );
                }
                assert!(world.sessions().is_empty() && world.subscribers().is_empty());
                // From outside there is nobody they could be for.
                let public = world.inside(udp6(FROM, TO)).public();
                for proto in [2, 47, 50, 58, 132] {
                    let got = world.outside(crate::common::packets::raw(proto, OUT1, public.0));
                    assert_eq!(got.drop_answer(), (DropReason::NoMapping, Answer::None));
                }
            },
        );
    }
}

#[test]
fn x11_udp_without_checksum_is_computed_or_dropped() {
    for compute in [true, false] {
        with_nat64(
            |plan| plan.set().ipv6.compute_udp_checksum = compute,
            |world| {
                let public = world.inside(udp6(FROM, TO)).public();
                for length in [0, 1, 5, 1000] {
                    let data = vec![0xa5; length];
                    let none = Payload::Udp {
                        sport: 80,
                        dport: public.1,
                        checksum: false,
                    };
                    let packet = bytes(&PacketBuilder::new(OUT1, public.0, none).data(&data));
                    let got = world.outside(packet);
                    if compute {
                        assert_eq!(got.ends6(), (TO, FROM));
                        assert!(is_right(&got.packet) && got.packet[46..48] != [0, 0]);
                        assert_eq!(got.packet[48..], data);
                    } else {
                        assert_eq!(got.drop_answer(), (DropReason::UdpZeroChecksum, Answer::None));
                    }
                }
            },
        );
    }
}

#[test]
fn x11_wrong_checksums_stay_wrong() {
    with_nat64(
        |_| {},
        |world| {
            use crate::common::packets::tcp;
            use crate::common::packets6::{syn6, tcp6};
            let publics = [
                world.inside(udp6(FROM, TO)).public(),
                world.inside(syn6(FROM, TO)).public(),
                world.inside(echo6((HOST1, 7), TO.0)).public(),
            ];
            let reply = crate::common::packets::echo_reply(OUT1, publics[2]);
            for (mut packet, at) in [
                (udp6(FROM, TO), 46),
                (tcp6(FROM, TO, 2), 56),
                (echo6((HOST1, 7), TO.0), 42),
            ] {
                packet[at] ^= 0x5a;
                assert!(!is_right(world.inside(packet).forwarded()));
            }
            for (mut packet, at) in [
                (udp((OUT1, 80), publics[0]), 26),
                (tcp((OUT1, 80), publics[1], 0x12), 36),
                (reply, 22),
            ] {
                packet[at] ^= 0x5a;
                assert!(!is_right(world.outside(packet).forwarded()));
            }
        },
    );
}

#[test]
fn x1_mss_is_clamped_both_ways() {
    // RFC 7915 says nothing of it, but IPv6 hosts behind a NAT64 have 20 octets less.
    let mut world = World::nat64(1, |plan| plan.set().tcp.mss_clamp = 1440);
    let options = [2, 4, 5, 0xb4];
    let syn = PacketBuilder6::tcp(FROM.0, FROM.1, TO.0, TO.1, tcp::SYN).tcp_options(&options);
    let got = world.burst(1, vec![bytes6(&syn)]).remove(0);
    let public = got.public();
    assert_eq!(got.packet[40..44], [2, 4, 5, 0xa0]);
    assert!(crate::common::translated::is_right(&got.packet));
    let answer = PacketBuilder::tcp(OUT1, 80, public.0, public.1, tcp::SYN | tcp::ACK).tcp_options(&options);
    let got = world.burst(2, vec![bytes(&answer)]).remove(0);
    assert_eq!(got.forwarded()[60..64], [2, 4, 5, 0xa0]);
    assert!(crate::common::translated::is_right(&got.packet));
}
