//! What is built parses back, with right checksums.

use super::*;
use crate::checksum::pseudo_v6;
use crate::l4::{Fragment, L4};
use crate::{ParseError, parse_ipv6, tcp};

const S: u128 = 0x2001_0db8 << 96 | 1;
const D: u128 = 0x0064_ff9b << 96 | 0xc000_0201;
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

fn written(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut buf = vec![0xee; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

#[test]
fn every_kind_parses_back_with_a_right_checksum() {
    let options = [tcp::OPT_MSS, 4, 5, 0xb4];
    let udp = PacketBuilder6::udp(S, 1, D, 2).data(b"odd");
    let tcp = PacketBuilder6::tcp(S, 3, D, 4, tcp::SYN)
        .seq_ack(5, 6)
        .tcp_options(&options)
        .data(b"hello");
    let echo = PacketBuilder6::echo(S, D, 7, 8).data(b"ping!");
    for (builder, proto, l4) in [
        (udp, 17, L4::Udp { sport: 1, dport: 2 }),
        (
            tcp,
            6,
            L4::Tcp {
                sport: 3,
                dport: 4,
                flags: tcp::SYN,
            },
        ),
        (
            echo,
            58,
            L4::IcmpQuery {
                id: 7,
                icmp_type: 128,
            },
        ),
    ] {
        for extensions in [
            &[][..],
            &[(0, &PAD[..])],
            &[(0, &PAD), (43, &[0; 14]), (60, &PAD)],
        ] {
            let packet = written(
                &builder
                    .extensions(extensions)
                    .hop_limit(3)
                    .traffic_class(0x12)
                    .flow_label(0xabcde),
            );
            let meta = parse_ipv6(&packet).unwrap();
            assert_eq!((meta.src, meta.dst, meta.proto, meta.l4), (S, D, proto, l4));
            assert_eq!((meta.hop_limit, meta.traffic_class), (3, 0x12));
            assert_eq!(packet[..4], [0x61, 0x2a, 0xbc, 0xde]);
            assert_eq!(meta.has_extensions, !extensions.is_empty());
            let l4 = &packet[usize::from(meta.l4_offset)..];
            assert!(pseudo_v6(S, D, proto, l4.len() as u32).slice(l4).is_valid());
        }
    }
}

#[test]
fn headers_stand_in_order() {
    let packet = written(
        &PacketBuilder6::udp(S, 1, D, 2)
            .extensions(&[(0, &PAD), (43, &PAD)])
            .fragment(true, 0, 0xdead_beef)
            .inner_extensions(&[(60, &[0; 14])]),
    );
    assert_eq!(packet.len(), 40 + 16 + 8 + 16 + 8);
    assert_eq!((packet[6], packet[40], packet[41], packet[48]), (0, 43, 0, 44));
    assert_eq!(packet[56..64], [60, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(packet[64..66], [17, 1]);
    let later = written(
        &PacketBuilder6::new(S, D, Payload::Raw { proto: 17 })
            .data(&[1; 9])
            .fragment(false, 1232, 1),
    );
    let meta = parse_ipv6(&later).unwrap();
    assert_eq!((meta.fragment, meta.fragment_offset), (Fragment::Later, 1232));
}

#[test]
fn frames_and_refusals() {
    let mac = |n| Mac([2, 0, 0, 0, 0, n]);
    let tags = [Tag {
        tpid: ethernet::VLAN,
        tci: 7,
    }];
    let builder = PacketBuilder6::udp(S, 1, D, 2)
        .ethernet(mac(1), mac(2))
        .tags(&tags);
    let frame = written(&builder);
    let parsed = ethernet::parse(&frame).unwrap();
    assert_eq!(parsed.ethertype, ethernet::IPV6);
    assert!(parse_ipv6(&frame[18..]).is_ok());
    assert_eq!(builder.write(&mut vec![0; frame.len() - 1]), None);

    let mut buf = vec![0; 70_000];
    let udp = PacketBuilder6::udp(S, 1, D, 2);
    assert_eq!(udp.extensions(&[(60, &[0; 7])]).write(&mut buf), None);
    assert_eq!(udp.extensions(&[(60, &[0; 2054])]).write(&mut buf), None);
    assert_eq!(
        udp.extensions(&[(60, &[0; 2046])]).write(&mut buf),
        Some(40 + 2048 + 8)
    );
    assert_eq!(udp.data(&[0; 65_528]).write(&mut buf), None);
    assert_eq!(udp.data(&[0; 65_527]).write(&mut buf), Some(65_575));
    let tcp = PacketBuilder6::tcp(S, 1, D, 2, 0);
    assert_eq!(tcp.tcp_options(&[0; 3]).write(&mut buf), None);
    assert_eq!(tcp.tcp_options(&[0; 44]).write(&mut buf), None);
    assert_eq!(parse_ipv6(&[]), Err(ParseError::Ipv6Truncated));
}
