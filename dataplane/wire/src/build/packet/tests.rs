//! What is built parses back, with right checksums.

use super::*;
use crate::l4::{Fragment, L4, parse_ipv4_verified};
use crate::{Ipv4, ParseError};
use crate::{tcp, udp};

const S: u32 = 0x0a00_0001;
const D: u32 = 0xc000_0201;

#[test]
fn every_kind_parses_back() {
    let mut buf = [0xeeu8; 200];
    let options = [tcp::OPT_MSS, 4, 5, 0xb4];
    let udp = PacketBuilder::udp(S, 1, D, 2).data(b"odd");
    let tcp = PacketBuilder::tcp(S, 3, D, 4, tcp::SYN)
        .seq_ack(5, 6)
        .tcp_options(&options)
        .data(b"hello");
    let echo = PacketBuilder::echo(S, D, 7, 8).data(b"ping!");
    for (builder, l4) in [
        (udp, L4::Udp { sport: 1, dport: 2 }),
        (
            tcp,
            L4::Tcp {
                sport: 3,
                dport: 4,
                flags: tcp::SYN,
            },
        ),
        (
            echo,
            L4::IcmpQuery {
                id: 7,
                icmp_type: icmp::ECHO,
            },
        ),
        (
            PacketBuilder::new(S, D, Payload::Raw { proto: ipv4::GRE }).data(b"x"),
            L4::Other,
        ),
    ] {
        let len = builder
            .ip_options(&[1, 1, 1, 0])
            .ttl(3)
            .tos(4)
            .id(5)
            .write(&mut buf)
            .unwrap();
        let meta = parse_ipv4_verified(&buf[..len]).unwrap();
        assert_eq!(
            (meta.src, meta.dst, meta.l4, meta.ttl, meta.tos, meta.id),
            (S, D, l4, 3, 4, 5)
        );
        assert!(meta.has_options() && meta.dont_fragment && usize::from(meta.total_len) == len);
        let ip = Ipv4::new_checked(&buf[..len]).unwrap();
        match l4 {
            L4::Udp { .. } => {
                assert!(
                    udp::Udp::new_checked(ip.payload())
                        .unwrap()
                        .verify_checksum_v4(S, D)
                )
            }
            L4::Tcp { .. } => {
                let tcp = tcp::Tcp::new_checked(ip.payload()).unwrap();
                assert!(tcp.verify_checksum_v4(S, D));
                assert_eq!(
                    (tcp.seq(), tcp.ack(), tcp.mss(), tcp.payload()),
                    (5, 6, Some(1460), &b"hello"[..])
                );
            }
            L4::IcmpQuery { .. } => {
                assert!(icmp::Icmp::new_checked(ip.payload()).unwrap().verify_checksum())
            }
            _ => assert_eq!(ip.payload(), b"x"),
        }
        assert_eq!(builder.ip_options(&[1, 1, 1, 0]).write(&mut buf[..len - 1]), None);
    }
}

#[test]
fn frames_and_fragments() {
    let mut buf = [0u8; 100];
    let tags = [Tag {
        tpid: ethernet::VLAN,
        tci: 7,
    }];
    let builder = PacketBuilder::new(S, D, Payload::Raw { proto: ipv4::UDP })
        .data(&[9; 16])
        .fragment(true, 16);
    let len = builder
        .ethernet(Mac::BROADCAST, Mac::ZERO)
        .tags(&tags)
        .write(&mut buf)
        .unwrap();
    let ether = ethernet::parse(&buf[..len]).unwrap();
    assert_eq!(
        (ether.ethertype, ether.outer, len),
        (ethernet::IPV4, Some(tags[0]), 18 + 36)
    );
    let meta = parse_ipv4_verified(&buf[usize::from(ether.l3_offset)..len]).unwrap();
    assert_eq!(
        (meta.fragment, meta.fragment_offset, meta.more_fragments),
        (Fragment::Later, 16, true)
    );
    assert_eq!(meta.l4, L4::LaterFragment);
}

#[test]
fn impossible_packets_are_refused() {
    let mut buf = vec![0u8; 70_000];
    assert_eq!(
        PacketBuilder::udp(S, 1, D, 2)
            .ip_options(&[1, 1, 1])
            .write(&mut buf),
        None
    );
    assert_eq!(
        PacketBuilder::udp(S, 1, D, 2)
            .ip_options(&[1; 44])
            .write(&mut buf),
        None
    );
    assert_eq!(
        PacketBuilder::tcp(S, 1, D, 2, 0)
            .tcp_options(&[1; 2])
            .write(&mut buf),
        None
    );
    let big = vec![0u8; 65_535];
    assert_eq!(PacketBuilder::udp(S, 1, D, 2).data(&big).write(&mut buf), None);
    assert_eq!(
        PacketBuilder::udp(S, 1, D, 2)
            .data(&big[..65_507])
            .write(&mut buf),
        Some(65_535)
    );
    let same = PacketBuilder::udp(S, 1, S, 1).write(&mut buf).unwrap();
    assert_eq!(parse_ipv4_verified(&buf[..same]), Err(ParseError::Land));
}
