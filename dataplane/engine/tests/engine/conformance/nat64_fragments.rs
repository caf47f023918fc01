//! Fragments through NAT64: RFC 7915 sections 4.1, 4.5, 5.1.1; RFC 6146 section 3.4. What waits for what is the fragment
//! table's (`src/fragments`), which gives later fragments the ports of their first one.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Desc, Side, Verdict};
use tandem_engine::packet6::Desc6;
use tandem_wire::build::{PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::fragment::{Fragmenter, Fragmenter6};
use tandem_wire::l4::{parse_ipv4, parse_ipv4_verified};
use tandem_wire::{ipv4, ipv6, parse_ipv6};

use crate::common::batch::AnyDesc;
use crate::common::packets::{bytes, udp};
use crate::common::packets6::{bytes6, echo6, udp6};
use crate::common::plan::{INSIDE, OUTSIDE};
use crate::common::translated::{assert_translated, is_right};
use crate::common::world::{Got, World, with_nat64};
use crate::common::{HOST_SMALL_MTU, HOST1, OUT_TINY_MTU, OUT1, in64};

const FROM: (u128, u16) = (HOST1, 5000);
const TO: (u128, u16) = (in64(OUT1), 80);

/// The pieces of an IPv4 packet for a link with this MTU.
fn pieces4(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let mut cut = Fragmenter::new(packet, mtu).expect("a packet without DF");
    let mut out = Vec::new();
    while let Some(piece) = cut.next() {
        let mut buffer = vec![0; cut.piece_len(&piece)];
        assert_eq!(cut.write(&piece, &mut buffer), Some(buffer.len()));
        out.push(buffer);
    }
    out
}

/// The pieces of an IPv6 packet.
fn pieces6(packet: &[u8], mtu: u16, id: u32) -> Vec<Vec<u8>> {
    let mut cut = Fragmenter6::new(packet, mtu, id).expect("a packet");
    let mut out = Vec::new();
    while let Some(piece) = cut.next() {
        let mut buffer = vec![0; cut.piece_len(&piece)];
        assert_eq!(cut.write(&piece, &mut buffer), Some(buffer.len()));
        out.push(buffer);
    }
    out
}

/// The upper layer put together again from fragments of either family, which may be in any order.
fn reassembled(fragments: &[&[u8]]) -> Vec<u8> {
    let mut parts: Vec<(u16, bool, u32, &[u8])> = fragments
        .iter()
        .map(|f| match f[0] >> 4 {
            4 => {
                let m = parse_ipv4(f).expect("IPv4");
                let data = &f[usize::from(m.l4_offset)..];
                (m.fragment_offset, m.more_fragments, u32::from(m.id), data)
            }
            _ => {
                let m = parse_ipv6(f).expect("IPv6");
                let at = usize::from(m.fragment_header) + ipv6::FRAGMENT_LEN;
                (m.fragment_offset, m.more_fragments, m.fragment_id, &f[at..])
            }
        })
        .collect();
    parts.sort_by_key(|p| p.0);
    let mut whole = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(usize::from(part.0), whole.len(), "no hole");
        assert_eq!(part.1, n + 1 < parts.len(), "more fragments");
        assert_eq!(part.2, parts[0].2, "one identification");
        whole.extend_from_slice(part.3);
    }
    whole
}

/// IPv6 fragments as the worker hands them to the engine: each with its first one's ports and protocol.
fn send6(world: &mut World, fragments: &[Vec<u8>]) -> Vec<Got> {
    let descs = (fragments.iter())
        .map(|f| {
            let meta = parse_ipv6(f).expect("a fragment");
            let desc = Desc6::new(meta, INSIDE, Side::Inside(1));
            AnyDesc::Six(desc.with_first_fragment(FROM.1, TO.1, ipv4::UDP))
        })
        .collect();
    let got = world.run_any(fragments.to_vec(), descs);
    for (before, after) in fragments.iter().zip(&got) {
        assert_translated(before, after.forwarded(), 1, true);
    }
    got
}

/// The same from outside.
fn send4(world: &mut World, public: (u32, u16), fragments: &[Vec<u8>]) -> Vec<Got> {
    let descs = (fragments.iter())
        .map(|f| {
            let meta = parse_ipv4_verified(f).expect("a fragment");
            Desc::new(meta, OUTSIDE, Side::Outside).with_ports(80, public.1)
        })
        .collect();
    world.run(fragments.to_vec(), descs)
}

fn all(got: &[Got]) -> Vec<&[u8]> {
    got.iter().map(|g| &g.packet[..]).collect()
}

#[test]
fn n9_fragments_from_inside_are_translated_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        for workers in [1, 2] {
            let mut world = World::nat64(workers, |_| {});
            let data: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
            let whole = bytes6(&PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).data(&data));
            let fragments = pieces6(&whole, 1280, 0xabcd_1234);
            let sent: Vec<_> = order.iter().map(|n| fragments[*n].clone()).collect();
            let got = send6(&mut world, &sent);
            let public = got[order.iter().position(|n| *n == 0).expect("first")].public();
            for g in &got {
                let meta = parse_ipv4(g.forwarded()).expect("IPv4");
                assert_eq!((meta.src, meta.dst, meta.id), (public.0, OUT1, 0x1234));
            }
            // Put together it is the datagram, with a right checksum.
            let mut datagram = udp(public, (OUT1, 80))[..20].to_vec();
            datagram.extend_from_slice(&reassembled(&all(&got)));
            let length = (datagram.len() as u16).to_be_bytes();
            datagram[2..4].copy_from_slice(&length);
            crate::common::packets::fix_header_checksum(&mut datagram);
            assert!(is_right(&datagram) && datagram[28..] == data);
            assert_eq!(world.sessions().len(), 1);
        }
    }
}

#[test]
fn n9_fragments_from_outside_are_translated_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut world = World::nat64(2, |_| {});
        let public = world.inside(udp6(FROM, TO)).public();
        let data: Vec<u8> = (0..3000u32).map(|n| (n / 3) as u8).collect();
        let whole = bytes(
            &PacketBuilder::udp(OUT1, 80, public.0, public.1)
                .dont_fragment(false)
                .id(0x4321)
                .data(&data),
        );
        let fragments = pieces4(&whole, 1200);
        let sent: Vec<_> = order.iter().map(|n| fragments[*n].clone()).collect();
        let got = send4(&mut world, public, &sent);
        for (before, after) in sent.iter().zip(&got) {
            assert_translated(before, after.forwarded(), 1, true);
            let meta = parse_ipv6(&after.packet).expect("IPv6");
            assert_eq!((meta.src, meta.dst, meta.fragment_id), (TO.0, HOST1, 0x4321));
        }
        let mut datagram = udp6(TO, FROM)[..40].to_vec();
        datagram.extend_from_slice(&reassembled(&all(&got)));
        let length = (datagram.len() as u16 - 40).to_be_bytes();
        datagram[4..6].copy_from_slice(&length);
        assert!(is_right(&datagram) && datagram[48..] == data);
    }
}

#[test]
fn n9_a_fragment_without_its_first_one_begins_nothing() {
    with_nat64(
        |_| {},
        |world| {
            let data = vec![1; 3000];
            let whole = bytes6(&PacketBuilder6::udp(FROM.0, FROM.1, TO.0, TO.1).data(&data));
            let later = pieces6(&whole, 1280, 1).remove(1);
            assert_eq!(world.inside(later).dropped(), DropReason::NoMapping);
            assert!(world.sessions().is_empty() && world.subscribers().is_empty());
        },
    );
}

#[test]
fn n9_fragments_of_icmp_are_not_translated() {
    // RFC 7915 section 1.2: the pseudo header needs the length of the whole message.
    with_nat64(
        |_| {},
        |world| {
            let data = vec![1; 3000];
            let echo = bytes6(&PacketBuilder6::echo(HOST1, TO.0, 7, 1).data(&data));
            let first = pieces6(&echo, 1280, 1).remove(0);
            let got = world.inside(first);
            assert_eq!(got.drop_answer(), (DropReason::Untranslatable, Answer::None));
            assert!(world.sessions().is_empty(), "it took nothing");
            let public = world.inside(echo6((HOST1, 7), TO.0)).public();
            let reply = PacketBuilder::echo_reply(OUT1, public.0, public.1, 1).data(&data);
            let reply = bytes(&reply.dont_fragment(false));
            let got = world.outside(pieces4(&reply, 1200).remove(0));
            assert_eq!(got.drop_answer(), (DropReason::Untranslatable, Answer::None));
        },
    );
}

#[test]
fn n9_udp_without_checksum_in_fragments_is_dropped() {
    // RFC 6146 section 3.4: reassemble or drop; the whole of it would have to be held for that, so it is dropped.
    let mut world = World::nat64(1, |_| {});
    let public = world.inside(udp6(FROM, TO)).public();
    let data = vec![1; 3000];
    let none = Payload::Udp {
        sport: 80,
        dport: public.1,
        checksum: false,
    };
    let whole = PacketBuilder::new(OUT1, public.0, none).data(&data);
    let fragments = pieces4(&bytes(&whole.dont_fragment(false)), 1200);
    let got = send4(&mut world, public, &fragments[..1]);
    assert_eq!(got[0].drop_answer(), (DropReason::UdpZeroChecksum, Answer::None));
}

#[test]
fn x3_without_df_it_is_cut_to_the_lowest_mtu() {
    for (lowest, host, limit) in [
        (1280, HOST1, 1280),
        (1400, HOST1, 1400),
        (9000, HOST1, 1500),
        (1400, HOST_SMALL_MTU, 1280),
    ] {
        with_nat64(
            |plan| plan.set().ipv6.lowest_mtu = lowest,
            |world| {
                let public = world.inside(udp6((host, 5000), TO)).public();
                for length in [1240, 1260, 1261, 1380, 1381, 1480, 1481, 1500] {
                    let data = vec![3; length - 28];
                    let packet = PacketBuilder::udp(OUT1, 80, public.0, public.1).data(&data);
                    let packet = bytes(&packet.dont_fragment(false).id(0x4242));
                    let got = world.outside(packet.clone());
                    if length + 20 <= usize::from(limit) {
                        assert_eq!(got.forwarded().len(), length + 20, "{lowest} {length}");
                        continue;
                    }
                    assert_eq!(
                        got.verdict,
                        Verdict::ForwardFragmented(limit),
                        "{lowest} {length}"
                    );
                    // As the worker does: with the identification the packet had.
                    let pieces = pieces6(&got.packet, limit, 0x4242);
                    assert!(pieces.len() == 2 && pieces.iter().all(|p| p.len() <= usize::from(limit)));
                    let all: Vec<&[u8]> = pieces.iter().map(|p| &p[..]).collect();
                    assert_eq!(reassembled(&all), got.packet[40..]);
                }
            },
        );
    }
}

#[test]
fn x3_fragments_that_grow_too_long_are_cut_again() {
    let mut world = World::nat64(1, |_| {});
    let public = world.inside(udp6(FROM, TO)).public();
    let data = vec![3; 2900];
    let packet = PacketBuilder::udp(OUT1, 80, public.0, public.1).data(&data);
    let packet = bytes(&packet.dont_fragment(false).id(0x4242));
    let fragments = pieces4(&packet, 1500);
    let got = send4(&mut world, public, &fragments);
    let mut pieces = Vec::new();
    for (before, after) in fragments.iter().zip(&got) {
        assert_translated(before, &after.packet, 1, true);
        if after.packet.len() > 1280 {
            assert_eq!(after.verdict, Verdict::ForwardFragmented(1280));
        } else {
            assert_eq!(after.verdict, Verdict::Forward);
        }
        pieces.extend(pieces6(&after.packet, 1280, 0xffff_ffff));
    }
    let pieces: Vec<&[u8]> = pieces.iter().map(|p| &p[..]).collect();
    assert!(pieces.iter().all(|p| p.len() <= 1280));
    let mut datagram = udp6(TO, FROM)[..40].to_vec();
    datagram.extend_from_slice(&reassembled(&pieces));
    let length = (datagram.len() as u16 - 40).to_be_bytes();
    datagram[4..6].copy_from_slice(&length);
    assert!(is_right(&datagram) && datagram[48..] == data);
}

#[test]
fn x7_fragments_too_big_for_an_ipv4_link_are_cut_there() {
    let mut world = World::nat64(1, |_| {});
    let data = vec![3; 2900];
    let to = (in64(OUT_TINY_MTU), 80);
    let whole = bytes6(&PacketBuilder6::udp(FROM.0, FROM.1, to.0, to.1).data(&data));
    for fragment in send6(&mut world, &pieces6(&whole, 1500, 77)) {
        let meta = parse_ipv4(fragment.forwarded()).expect("IPv4");
        assert!(!meta.dont_fragment && meta.id == 77);
    }
}
