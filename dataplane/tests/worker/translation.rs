//! NAPT44 through a whole worker: out and back, every protocol, hairpinning, and what comes uncalled.

use tandem_engine::drop_reason::DropReason;
use tandem_wire::build::{PacketBuilder, Payload};
use tandem_wire::error::ParseError;
use tandem_wire::tcp;

use crate::frames::{End, ends, frame, open, packet, syn, udp};
use crate::plan::*;
use crate::rig::Rig;

fn is_public(end: End) -> bool {
    (POOL..=POOL_LAST).contains(&end.0) && end.1 >= 1024
}

#[test]
fn udp_goes_out_and_comes_back() {
    let mut rig = Rig::new();
    let out = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1, 53))), P_OUT);
    assert_eq!(open(&out).0, host_mac(ROUTER));
    assert_eq!(out[6..12], mac(P_OUT));
    let (public, to) = ends(&out);
    assert!(is_public(public) && to == (OUT1, 53));
    assert_eq!(packet(&out)[8], 63, "one hop further");
    let back = rig.pass_one(P_OUT, &frame(P_OUT, udp((OUT1, 53), public)), P_IN);
    assert_eq!(open(&back).0, host_mac(IN1));
    assert_eq!(ends(&back), ((OUT1, 53), (IN1, 5000)));
    // The mapping does not depend on the destination, and lets anybody in.
    let other = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1 + 1, 54))), P_OUT);
    assert_eq!(ends(&other).0, public);
    let in_new = rig.pass_one(P_OUT, &frame(P_OUT, udp((OUT1 + 9, 9), public)), P_IN);
    assert_eq!(ends(&in_new), ((OUT1 + 9, 9), (IN1, 5000)));
    assert_eq!(rig.drops(), []);
    rig.finish();
}

#[test]
fn tcp_and_icmp_queries_go_out_and_come_back() {
    let mut rig = Rig::new();
    let out = rig.pass_one(P_IN, &frame(P_IN, syn((IN1, 40000), (OUT1, 80))), P_OUT);
    let (public, _) = ends(&out);
    let answer = PacketBuilder::tcp(OUT1, 80, public.0, public.1, tcp::SYN | tcp::ACK).data(b"");
    let back = rig.pass_one(P_OUT, &frame(P_OUT, answer), P_IN);
    assert_eq!(ends(&back), ((OUT1, 80), (IN1, 40000)));
    let data = PacketBuilder::tcp(IN1, 40000, OUT1, 80, tcp::ACK).data(b"GET / HTTP/1.0\r\n\r\n");
    let out = rig.pass_one(P_IN, &frame(P_IN, data), P_OUT);
    assert_eq!(ends(&out), (public, (OUT1, 80)));

    let echo = PacketBuilder::echo(IN1, OUT1, 77, 1).data(b"ping");
    let out = rig.pass_one(P_IN, &frame(P_IN, echo), P_OUT);
    let ((address, id), _) = ends(&out);
    let reply = PacketBuilder::echo_reply(OUT1, address, id, 1).data(b"ping");
    let back = rig.pass_one(P_OUT, &frame(P_OUT, reply), P_IN);
    assert_eq!(ends(&back), ((OUT1, 77), (IN1, 77)));
    rig.finish();
}

#[test]
fn a_udp_packet_without_checksum_keeps_none() {
    let mut rig = Rig::new();
    let payload = Payload::Udp {
        sport: 5000,
        dport: 53,
        checksum: false,
    };
    let out = rig.pass_one(
        P_IN,
        &frame(P_IN, PacketBuilder::new(IN1, OUT1, payload).data(b"x")),
        P_OUT,
    );
    assert_eq!(packet(&out)[26..28], [0, 0]);
    assert!(is_public(ends(&out).0));
    rig.finish();
}

#[test]
fn ip_options_do_not_move_the_ports() {
    let mut rig = Rig::new();
    let options = [1u8; 8];
    let out = rig.pass_one(
        P_IN,
        &frame(P_IN, udp((IN1, 5000), (OUT1, 53)).ip_options(&options)),
        P_OUT,
    );
    assert_eq!(packet(&out)[0], 0x47);
    assert!(is_public(ends(&out).0));
    rig.finish();
}

#[test]
fn two_subscribers_talk_by_their_public_ends() {
    let mut rig = Rig::new();
    let first = ends(&rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 1111), (OUT1, 1))), P_OUT)).0;
    let second = ends(&rig.pass_one(P_IN, &frame(P_IN, udp((IN2, 2222), (OUT1, 1))), P_OUT)).0;
    let sent = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 1111), second)), P_IN);
    assert_eq!(ends(&sent), (first, (IN2, 2222)));
    assert_eq!(open(&sent).0, host_mac(IN2));
    let sent = rig.pass_one(P_IN, &frame(P_IN, udp((IN2, 2222), first)), P_IN);
    assert_eq!(ends(&sent), (second, (IN1, 1111)));
    // From another port of the host itself as well. From the very same port it would be a packet from an end to itself:
    // the parser takes that for a land attack, and it is counted as one.
    let sent = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 1112), first)), P_IN);
    assert_eq!(ends(&sent).1, (IN1, 1111));
    assert!(rig.pass(P_IN, &frame(P_IN, udp((IN1, 1111), first))).is_empty());
    assert_eq!(rig.parse_errors(ParseError::Land), 1);
    // A whole burst of them.
    let frames: Vec<_> = (0..16u16)
        .map(|i| frame(P_IN, udp((IN1, 3000 + i), second)))
        .collect();
    rig.sent.clear();
    rig.feed(P_IN, &frames);
    assert_eq!(rig.sent.len(), 16, "{:?}", rig.drops());
    assert!(
        rig.sent
            .iter()
            .all(|s| s.port == P_IN && ends(&s.frame).1 == (IN2, 2222))
    );
    rig.finish();
}

#[test]
fn the_uncalled_are_counted() {
    let mut rig = Rig::new();
    rig.feed(P_OUT, &[frame(P_OUT, udp((OUT1, 53), (POOL, 5000)))]);
    assert_eq!(rig.dropped(DropReason::NoMapping), 1);
    let ack = PacketBuilder::tcp(IN1, 1, OUT1, 2, tcp::ACK).data(b"");
    rig.feed(P_IN, &[frame(P_IN, ack)]);
    assert_eq!(rig.dropped(DropReason::TcpNonSyn), 1);
    assert!(rig.sent.is_empty());
    rig.finish();
}

/// RFC 5382 REQ-4: a SYN nobody asked for waits six seconds, then its sender is told.
#[test]
fn a_syn_from_outside_waits_and_is_answered() {
    let mut rig = Rig::new();
    rig.feed(P_OUT, &[frame(P_OUT, syn((OUT1, 1000), (POOL, 5000)))]);
    assert_eq!((rig.count(|c| c.syn_held), rig.workers[0].in_hand()), (1, 1));
    rig.check_books();
    rig.wait(50);
    assert!(rig.sent.is_empty());
    rig.wait(20);
    assert_eq!(rig.sent.len(), 1);
    assert_eq!(rig.dropped(DropReason::TcpUnsolicitedSyn), 1);
    let error = crate::frames::error(&rig.sent[0].frame);
    assert_eq!((error.to, error.kind), (OUT1, (3, 3)));
    assert_eq!(error.about, ((OUT1, 1000), (POOL, 5000)));
    rig.finish();
}
