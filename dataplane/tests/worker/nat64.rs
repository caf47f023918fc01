//! NAT64 through a whole worker: an IPv6 inside and an IPv4 outside, and the inside with itself. RFC 6146.

use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::tcp;

use crate::frames::{End, ends, frame, open, packet, udp};
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
