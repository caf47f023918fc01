//! NAT64 through a whole worker: an IPv6 inside and an IPv4 outside, and the inside with itself. RFC 6146.

use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::tcp;

use crate::frames::{End, ends, error, frame, open, packet, udp};
use crate::frames6::*;
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig};

fn rig() -> Rig {
    Rig::with(Options {
        program: nat64(),
        ..Options::default()
    })
}

fn is_public(end: End) -> bool {
    (POOL..=POOL_LAST).contains(&end.0) && end.1 >= 1024
}

#[test]
fn tcp_goes_out_as_ipv4_and_comes_back_as_ipv6() {
    let mut rig = rig();
    let out = rig.pass_one(P_IN, &frame6(P_IN, syn6((IN6, 40000), (in64(OUT1), 80))), P_OUT);
    assert_eq!(open(&out).0, host_mac(ROUTER));
    let (public, to) = ends(&out);
    assert!(is_public(public) && to == (OUT1, 80));
    assert_eq!(packet(&out)[8], 63, "one hop further");
    let answer = PacketBuilder::tcp(OUT1, 80, public.0, public.1, tcp::SYN | tcp::ACK).data(b"");
    let back = rig.pass_one(P_OUT, &frame(P_OUT, answer), P_IN);
    assert_eq!(open(&back).0, mac6(IN6));
    assert_eq!(ends6(&back), ((in64(OUT1), 80), (IN6, 40000)));
    let data = PacketBuilder6::tcp(IN6, 40000, in64(OUT1), 80, tcp::ACK).data(b"GET / HTTP/1.0\r\n\r\n");
    let out = rig.pass_one(P_IN, &frame6(P_IN, data), P_OUT);
    assert_eq!(ends(&out), (public, (OUT1, 80)));
    assert_eq!(rig.drops(), []);
    rig.finish();
}

#[test]
fn udp_and_echo_go_out_and_come_back() {
    let mut rig = rig();
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OUT1), 53))), P_OUT);
    let (public, to) = ends(&out);
    assert!(is_public(public) && to == (OUT1, 53));
    let back = rig.pass_one(P_OUT, &frame(P_OUT, udp((OUT1, 53), public)), P_IN);
    assert_eq!(ends6(&back), ((in64(OUT1), 53), (IN6, 5000)));
    // Anybody may answer a mapping.
    let other = rig.pass_one(P_OUT, &frame(P_OUT, udp((OUT1 + 9, 9), public)), P_IN);
    assert_eq!(ends6(&other), ((in64(OUT1 + 9), 9), (IN6, 5000)));

    let echo = PacketBuilder6::echo(IN6, in64(OUT1), 77, 1).data(b"ping");
    let out = rig.pass_one(P_IN, &frame6(P_IN, echo), P_OUT);
    let ((address, id), _) = ends(&out);
    let reply = PacketBuilder::echo_reply(OUT1, address, id, 1).data(b"ping");
    let back = rig.pass_one(P_OUT, &frame(P_OUT, reply), P_IN);
    assert_eq!(ends6(&back), ((in64(OUT1), 77), (IN6, 77)));
    assert_eq!(rig.drops(), []);
    rig.finish();
}

/// The public ends of an IPv6 and an IPv4 subscriber.
fn two_publics(rig: &mut Rig) -> (End, End) {
    let six = ends(&rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 1111), (in64(OUT1), 1))), P_OUT)).0;
    let four = ends(&rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 4444), (OUT1, 1))), P_OUT)).0;
    (six, four)
}

#[test]
fn subscribers_of_both_families_talk_by_their_public_ends() {
    let mut rig = rig();
    let (six, four) = two_publics(&mut rig);
    let other = ends(&rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6B, 2222), (in64(OUT1), 1))), P_OUT)).0;
    let to_other = udp6((IN6, 1111), (in64(other.0), other.1));
    let sent = rig.pass_one(P_IN, &frame6(P_IN, to_other), P_IN);
    assert_eq!(ends6(&sent), ((in64(six.0), six.1), (IN6B, 2222)));
    assert_eq!(open(&sent).0, mac6(IN6B));
    let to_four = udp6((IN6, 1111), (in64(four.0), four.1));
    let sent = rig.pass_one(P_IN, &frame6(P_IN, to_four), P_IN);
    assert_eq!(ends(&sent), (six, (IN1, 4444)));
    assert_eq!(open(&sent).0, host_mac(IN1));
    let sent = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 4444), six)), P_IN);
    assert_eq!(ends6(&sent), ((in64(four.0), four.1), (IN6, 1111)));
    // A burst in which both batches go round at once.
    let frames: Vec<_> = (0..16u16)
        .map(|i| match i % 2 {
            0 => frame6(P_IN, udp6((IN6, 3000 + i), (in64(other.0), other.1))),
            _ => frame(P_IN, udp((IN1, 3000 + i), other)),
        })
        .collect();
    rig.sent.clear();
    rig.feed(P_IN, &frames);
    assert_eq!(rig.sent.len(), 16, "{:?}", rig.drops());
    assert!(rig.sent.iter().all(|s| ends6(&s.frame).1 == (IN6B, 2222)));
    assert_eq!(rig.drops(), []);
    rig.finish();
}

#[test]
fn senders_are_told_that_a_packet_is_too_big() {
    let mut rig = rig();
    let data = [5; 1400];
    // The way out has an MTU of 1280: 20 octets more before translation.
    let large = udp6((IN6, 5000), (in64(OUT_VLAN), 53)).data(&data);
    let answer = rig.pass_one(P_IN, &frame6(P_IN, large), P_IN);
    let about = ((IN6, 5000), (in64(OUT_VLAN), 53));
    let told = error6(&answer);
    assert_eq!((told.from, told.to, told.kind), (OWN6_IN, IN6, (2, 0)));
    assert_eq!((told.word, told.about), (1300, about));
    // The way in has one of 1500.
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OUT1), 53))), P_OUT);
    let public = ends(&out).0;
    let data = [5; 1472];
    let large = udp((OUT1, 53), public).data(&data);
    let answer = rig.pass_one(P_OUT, &frame(P_OUT, large), P_OUT);
    let told = error(&answer);
    assert_eq!((told.from, told.to, told.kind), (OWN_OUT, OUT1, (3, 4)));
    assert_eq!((told.mtu, told.about), (1480, ((OUT1, 53), public)));
    assert_eq!(rig.drops(), [("mtu-exceeded", 2)]);
    rig.finish();
}

#[test]
fn routers_of_either_side_are_understood_on_the_other() {
    let mut rig = rig();
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OUT1), 53))), P_OUT);
    let public = ends(&out).0;
    let quoted = packet(&out).to_vec();
    let about = ((IN6, 5000), (in64(OUT1), 53));
    for (kind, word, told) in [
        ((3, 4), 1280, ((2, 0), 1300)),
        ((11, 0), 0, ((3, 0), 0)),
        ((3, 1), 0, ((1, 0), 0)),
    ] {
        let icmp = PacketBuilder::icmp(ROUTER, public.0, kind.0, kind.1, word).data(&quoted);
        let error = error6(&rig.pass_one(P_OUT, &frame(P_OUT, icmp), P_IN));
        assert_eq!((error.to, error.kind, error.word), (IN6, told.0, told.1));
        assert_eq!((error.from, error.about), (in64(ROUTER), about));
    }
    let back = rig.pass_one(P_OUT, &frame(P_OUT, udp((OUT1, 53), public)), P_IN);
    let quoted = packet6(&back).0.to_vec();
    for (kind, word, told) in [((2, 0), 1280, ((3, 4), 1260)), ((1, 4), 0, ((3, 3), 0))] {
        let icmp = PacketBuilder6::icmp(IN6, in64(OUT1), kind.0, kind.1, word).data(&quoted);
        let error = error(&rig.pass_one(P_IN, &frame6(P_IN, icmp), P_OUT));
        assert_eq!((error.to, error.kind, error.mtu), (OUT1, told.0, told.1));
        assert_eq!((error.from, error.about), (public.0, ((OUT1, 53), public)));
    }
    assert_eq!(rig.drops(), []);
    rig.finish();
}

#[test]
fn dying_packets_are_answered_in_the_family_of_their_sender() {
    let mut rig = rig();
    let dying = udp6((IN6, 5000), (in64(OUT1), 53)).hop_limit(1);
    let told = error6(&rig.pass_one(P_IN, &frame6(P_IN, dying), P_IN));
    assert_eq!((told.from, told.to, told.kind), (OWN6_IN, IN6, (3, 0)));
    assert_eq!(told.about, ((IN6, 5000), (in64(OUT1), 53)));
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OUT1), 53))), P_OUT);
    let public = ends(&out).0;
    let dying = udp((OUT1, 53), public).ttl(1);
    let told = error(&rig.pass_one(P_OUT, &frame(P_OUT, dying), P_OUT));
    assert_eq!((told.from, told.to, told.kind), (OWN_OUT, OUT1, (11, 0)));
    assert_eq!(told.about, ((OUT1, 53), public));
    assert_eq!(rig.drops(), [("ttl-expired", 2)]);
    assert_eq!(rig.count(|c| c.icmp_sent), 2);
    rig.finish();
}

/// A packet that became IPv4 waits for its router; when that does not answer, the error comes back through the translation.
#[test]
fn a_silent_router_outside_is_told_inside() {
    let mut rig = rig();
    rig.feed(
        P_IN,
        &[frame6(P_IN, udp6((IN6, 5000), (in64(BEHIND_SILENT), 53)))],
    );
    assert_eq!(rig.asked.len(), 1);
    assert!(rig.sent.is_empty());
    rig.wait(40);
    assert_eq!(rig.sent.len(), 1, "{:?}", rig.drops());
    let told = error6(&rig.sent[0].frame);
    assert_eq!((rig.sent[0].port, told.to, told.kind), (P_IN, IN6, (1, 0)));
    assert_eq!(told.about, ((IN6, 5000), (in64(BEHIND_SILENT), 53)));
    // The other way round a host inside is not named to the outside.
    let silent = rig.pass_one(
        P_IN,
        &frame6(P_IN, udp6((IN6_SILENT, 5000), (in64(OUT1), 53))),
        P_OUT,
    );
    rig.sent.clear();
    rig.asked.clear();
    rig.feed(P_OUT, &[frame(P_OUT, udp((OUT1, 53), ends(&silent).0))]);
    assert_eq!(rig.asked, [(I_IN, IN6_SILENT)]);
    rig.wait(40);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.drops(), [("neighbour-unresolved", 2)]);
    rig.finish();
}

/// What NAT64 leads to this box or nowhere cannot be given to the kernel as an IPv4 packet of nobody.
#[test]
fn our_own_addresses_are_not_behind_the_prefix() {
    let mut rig = rig();
    let sent = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (in64(OWN_OUT), 53))), P_IN);
    assert_eq!(error6(&sent).kind, (1, 0));
    assert!(rig.punted.is_empty());
    assert_eq!(rig.drops(), [("no-route", 1)]);
    rig.finish();
}
