//! What is answered, with what, and what is not answered.

use super::*;
use crate::build::Payload;
use crate::l4::L4;
use crate::parse_ipv6;
use proptest::prelude::*;

const HOST: u128 = 0x2001_0db8 << 96 | 1;
const PEER: u128 = 0x2001_0db8_00ff << 80 | 2;
const BOX: u128 = 0x2001_0db8 << 96 | 0xfe;
const ALL_NODES: u128 = 0xff02 << 112 | 1;
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];
const TOO_BIG: Icmp6ErrorKind = Icmp6ErrorKind::PacketTooBig(1280);

fn written(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

#[test]
fn error_quotes_the_packet() {
    let long = written(&PacketBuilder6::udp(HOST, 1, PEER, 2).data(&[7; 1400]));
    let short = written(&PacketBuilder6::udp(HOST, 1, PEER, 2).data(&[7; 3]));
    let problem = Icmp6ErrorKind::ParameterProblem {
        code: icmp6::CODE_HEADER_FIELD,
        pointer: 51,
    };
    let mut out = [0u8; 1300];
    for (l3, kind, head) in [
        (&long, Icmp6ErrorKind::HopLimitExceeded, [3, 0, 0, 0, 0, 0]),
        (&short, Icmp6ErrorKind::ReassemblyTimeExceeded, [3, 1, 0, 0, 0, 0]),
        (
            &short,
            Icmp6ErrorKind::Unreachable(icmp6::CODE_ADMIN_PROHIBITED),
            [1, 1, 0, 0, 0, 0],
        ),
        (
            &long,
            Icmp6ErrorKind::PacketTooBig(1300),
            [2, 0, 0, 0, 0x05, 0x14],
        ),
        (&short, problem, [4, 0, 0, 0, 0, 51]),
    ] {
        let len = icmp6_error(&mut out, l3, BOX, kind).unwrap();
        assert_eq!(len, (48 + l3.len()).min(1280));
        let meta = parse_ipv6(&out[..len]).unwrap();
        assert_eq!(
            (meta.src, meta.dst, meta.traffic_class, meta.hop_limit),
            (BOX, HOST, 0xc0, 64)
        );
        assert_eq!(
            meta.l4,
            L4::IcmpError {
                icmp_type: head[0],
                code: head[1]
            }
        );
        assert_eq!(out[44..48], head[2..6]);
        assert_eq!(out[48..len], l3[..len - 48]);
        assert!(
            crate::icmp6_error::parse(&out[40..len], BOX, HOST)
                .unwrap()
                .checksum_ok
        );
        assert!(
            !may_send_error6_about(&out[..len], TOO_BIG),
            "never about an error"
        );
        assert_eq!(icmp6_error(&mut out[..len - 1], l3, BOX, kind), None);
    }
}

#[test]
fn padding_is_not_quoted() {
    let mut l3 = written(&PacketBuilder6::udp(HOST, 1, PEER, 2));
    l3.resize(60, 0);
    let mut out = [0u8; 600];
    assert_eq!(
        icmp6_error(&mut out, &l3, BOX, Icmp6ErrorKind::HopLimitExceeded),
        Some(96)
    );
}

#[test]
fn no_error_about() {
    const GONE: Icmp6ErrorKind = Icmp6ErrorKind::HopLimitExceeded;
    let udp = |src, dst| written(&PacketBuilder6::udp(src, 1, dst, 2));
    assert!(may_send_error6_about(&udp(HOST, PEER), GONE));
    for bad in [0, 1, ALL_NODES] {
        assert!(!may_send_error6_about(&udp(bad, PEER), TOO_BIG), "{bad:#x}");
    }
    assert!(!may_send_error6_about(&udp(HOST, 0), TOO_BIG));
    let problem = |code| Icmp6ErrorKind::ParameterProblem { code, pointer: 42 };
    for (kind, may) in [
        (GONE, false),
        (Icmp6ErrorKind::Unreachable(icmp6::CODE_NO_ROUTE), false),
        (problem(icmp6::CODE_NEXT_HEADER), false),
        (problem(icmp6::CODE_UNKNOWN_OPTION), true),
        (TOO_BIG, true),
    ] {
        assert_eq!(
            may_send_error6_about(&udp(HOST, ALL_NODES), kind),
            may,
            "{kind:?}"
        );
    }
    let icmp = |t| PacketBuilder6::icmp(HOST, PEER, t, 0, 0);
    for t in [icmp6::ECHO, icmp6::ECHO_REPLY, icmp6::NEIGHBOUR_SOLICITATION, 200] {
        assert!(may_send_error6_about(&written(&icmp(t)), GONE));
    }
    for t in [icmp6::UNREACHABLE, icmp6::PARAMETER_PROBLEM, icmp6::REDIRECT, 127] {
        assert!(!may_send_error6_about(&written(&icmp(t)), GONE));
        let hidden = icmp(t).extensions(&[(0, &PAD), (60, &PAD)]).fragment(true, 0, 1);
        assert!(!may_send_error6_about(&written(&hidden), GONE));
    }
    let raw = PacketBuilder6::new(HOST, PEER, Payload::Raw { proto: ipv4::UDP }).data(&[0; 16]);
    assert!(may_send_error6_about(&written(&raw.fragment(true, 0, 1)), GONE));
    assert!(!may_send_error6_about(&written(&raw.fragment(false, 8, 1)), GONE));
    assert!(!may_send_error6_about(&udp(HOST, PEER)[..47], GONE));
    let no_type = PacketBuilder6::new(HOST, PEER, Payload::Raw { proto: ipv4::ICMPV6 });
    assert!(!may_send_error6_about(&written(&no_type), GONE));
    let endless = written(&raw.extensions(&[(60, &PAD), (0, &PAD)]));
    assert!(!may_send_error6_about(&endless, GONE));
}

#[test]
fn reset_by_the_book() {
    let mut out = [0u8; 60];
    let syn = PacketBuilder6::tcp(HOST, 1000, PEER, 80, tcp::SYN)
        .seq_ack(u32::MAX, 0)
        .data(b"ab");
    let ack = PacketBuilder6::tcp(HOST, 1000, PEER, 80, tcp::ACK).seq_ack(9, 55);
    for (builder, seq, ack, flags) in [
        (syn, 0, 2, tcp::RST | tcp::ACK),
        (ack, 55, 0, tcp::RST),
        (
            ack.extensions(&[(60, &PAD)]).fragment(false, 0, 1),
            55,
            0,
            tcp::RST,
        ),
    ] {
        assert_eq!(tcp_reset6(&mut out, &written(&builder)), Some(60));
        let want = PacketBuilder6::new(
            PEER,
            HOST,
            Payload::Tcp {
                sport: 80,
                dport: 1000,
                seq,
                ack,
                flags,
                window: 0,
                options: &[],
            },
        );
        assert_eq!(out[..], written(&want));
        assert_eq!(tcp_reset6(&mut [0; 600], &out), None, "never about a reset");
    }
    let routing = [4u8, 1, 0, 0, 0, 0];
    for none in [
        PacketBuilder6::udp(HOST, 1, PEER, 2),
        syn.fragment(true, 0, 1).data(b"eight oc"),
        syn.fragment(false, 8, 1),
        syn.extensions(&[(43, &routing)]),
        PacketBuilder6::tcp(HOST, 1, ALL_NODES, 2, tcp::SYN),
        PacketBuilder6::tcp(0, 1, PEER, 2, tcp::SYN),
    ] {
        assert_eq!(tcp_reset6(&mut out, &written(&none)), None, "{none:?}");
    }
    assert_eq!(tcp_reset6(&mut out[..59], &written(&ack)), None);
}

proptest! {
    #[test]
    fn what_is_answered_is_well_formed(
        next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6), Just(17), Just(58)],
        body in proptest::collection::vec(any::<u8>(), 0..100), code in 0u8..3,
    ) {
        let l3 = written(&PacketBuilder6::new(HOST, PEER, Payload::Raw { proto: next }).data(&body));
        let mut out = [0; 1280];
        let kind = Icmp6ErrorKind::ParameterProblem { code, pointer: 40 };
        if let Some(len) = icmp6_error(&mut out, &l3, BOX, kind) {
            let meta = crate::icmp6_error::parse(&out[40..len], BOX, HOST).unwrap();
            prop_assert!(meta.checksum_ok);
            prop_assert_eq!((meta.embedded.src, meta.embedded.dst, meta.word), (HOST, PEER, 40));
        }
        if let Some(len) = tcp_reset6(&mut out, &l3) {
            prop_assert_eq!(parse_ipv6(&out[..len]).map(|m| (m.src, m.dst, m.total_len)), Ok((PEER, HOST, 60)));
        }
    }
}
