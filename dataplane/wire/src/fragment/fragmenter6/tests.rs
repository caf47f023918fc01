//! Pieces put together again are the packet.

use super::*;
use crate::build::{PacketBuilder6, Payload};
use crate::fragment::{Coverage, Progress};
use crate::l4::Fragment;
use crate::parse_ipv6;
use proptest::prelude::*;

const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

fn written(builder: &PacketBuilder6<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

fn split(l3: &[u8], mtu: u16, id: u32) -> Vec<Vec<u8>> {
    let fragmenter = Fragmenter6::new(l3, mtu, id).unwrap();
    fragmenter
        .clone()
        .map(|piece| {
            let mut out = vec![0xee; fragmenter.piece_len(&piece)];
            assert_eq!(fragmenter.write(&piece, &mut out), Some(out.len()));
            let short = out.len() - 1;
            assert!(fragmenter.write(&piece, &mut out.clone()[..short]).is_none());
            out
        })
        .collect()
}

#[test]
fn three_pieces() {
    let udp = PacketBuilder6::udp(1, 2, 3, 4);
    let pieces = split(&written(&udp.data(&[5; 3000])), 1500, 0xcafe_f00d);
    let seen: Vec<_> = pieces
        .iter()
        .map(|p| {
            let meta = parse_ipv6(p).unwrap();
            assert_eq!(
                (meta.fragment_id, meta.proto, meta.fragment_header),
                (0xcafe_f00d, 17, 40)
            );
            (meta.total_len, meta.fragment_offset, meta.more_fragments)
        })
        .collect();
    assert_eq!(seen, [(1496, 0, true), (1496, 1448, true), (160, 2896, false)]);
    assert_eq!(parse_ipv6(&pieces[0]).map(|m| m.fragment), Ok(Fragment::First));
}

#[test]
fn what_fits_stays_as_it_is() {
    let udp = PacketBuilder6::udp(1, 2, 3, 4).data(&[5; 1452]);
    for builder in [
        udp,
        udp.extensions(&[(0, &PAD)])
            .fragment(false, 0, 7)
            .data(&[5; 1436]),
        udp.extensions(&[(43, &PAD)])
            .fragment(true, 800, 7)
            .data(&[5; 1432]),
        udp.fragment(false, 64, 7).data(&[5; 700]),
        udp.data(&[]),
    ] {
        let mut l3 = written(&builder);
        assert_eq!(split(&l3, 1500, 99), [l3.clone()]);
        if l3[6] == ipv6::FRAGMENT {
            // Reserved bits of its fragment header.
            (l3[41], l3[43]) = (0xff, l3[43] | 6);
            assert_eq!(split(&l3, 1500, 99), [l3.clone()]);
        }
        // Padding is no part of it.
        let whole = l3.clone();
        l3.resize(1600, 0xee);
        assert_eq!(split(&l3, 1500, 99), [whole]);
    }
}

#[test]
fn per_hop_headers_are_on_every_piece_and_others_on_the_first() {
    let udp = PacketBuilder6::udp(1, 2, 3, 4).data(&[5; 3000]);
    let extensions: [(u8, &[u8]); 4] = [(0, &PAD), (60, &[0; 14]), (43, &[0; 22]), (60, &PAD)];
    for (count, per_hop, first_data) in [(0, 40, 17), (1, 48, 17), (2, 48, 60), (3, 88, 17), (4, 88, 60)] {
        for piece in split(&written(&udp.extensions(&extensions[..count])), 1280, 1) {
            let ip = Ipv6::new_checked(&piece).unwrap();
            let info = ip.upper().unwrap().fragment.unwrap();
            assert_eq!(usize::from(info.header_offset), per_hop, "{count} headers");
            assert_eq!(piece[per_hop], first_data, "{count} headers");
        }
    }
}

#[test]
fn refusals() {
    let udp = PacketBuilder6::udp(1, 2, 3, 4).data(&[0; 1400]);
    let new = |l3: &[u8], mtu| Fragmenter6::new(l3, mtu, 1).map(|_| ());
    let l3 = written(&udp);
    assert_eq!(new(&l3, 1279), Err(FragmentError::MtuTooSmall));
    assert_eq!(
        new(&l3[..1000], 1280),
        Err(FragmentError::Malformed(ParseError::Ipv6BadPayloadLength))
    );
    assert_eq!(
        new(&written(&udp.extensions(&[(60, &PAD), (0, &PAD)])), 1280),
        Err(FragmentError::Malformed(ParseError::Ipv6BadExtension))
    );
    let raw = PacketBuilder6::new(1, 2, Payload::Raw { proto: 17 }).data(&[0; 1400]);
    assert_eq!(
        new(&written(&raw.fragment(true, 65_528, 1)), 1280),
        Err(FragmentError::Malformed(ParseError::Ipv6BadFragment))
    );
    // Of 1280 octets, 48 are on every piece: two headers and that of UDP have 1232.
    let long = [0u8; 1222];
    for (octets, fits) in [(1214, true), (1222, false)] {
        let l3 = written(&udp.extensions(&[(60, &long[..octets]), (60, &PAD)]));
        let want = if fits {
            Ok(())
        } else {
            Err(FragmentError::HeadersTooLong)
        };
        assert_eq!(new(&l3, 1280), want);
    }
    // A later fragment has no chain to hold, but per-hop headers may leave no room for data.
    let later = raw.fragment(false, 800, 1);
    assert!(new(&written(&later.extensions(&[(43, &long)])), 1280).is_ok());
    let l3 = written(&later.extensions(&[(43, &long), (43, &PAD)]));
    assert_eq!(new(&l3, 1280), Err(FragmentError::HeadersTooLong));
}

proptest! {
    #[test]
    fn pieces_make_the_packet(
        len in 0usize..5000, mtu in 1280u16..1600, more: bool, own in proptest::option::of(0u16..1000), count in 0usize..4,
        order: u64, again in 1280u16..1600,
    ) {
        let more = more && own.is_some();
        let len = if more { (len & !7).max(8) } else { len.max(1) };
        let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let extensions: [(u8, &[u8]); 3] = [(0, &PAD), (60, &PAD), (43, &[0; 22])];
        // Up to the routing header all are per-hop; without it a destination header goes with the data.
        let extensions = if count == 2 { &extensions[..1] } else { &extensions[..count] };
        let mut builder = PacketBuilder6::new(1, 2, Payload::Raw { proto: ipv4::ESP }).data(&data).extensions(extensions);
        let base = own.unwrap_or(0) * 8;
        if own.is_some() {
            builder = builder.fragment(more, base, 4711);
        }
        let l3 = written(&builder);
        // Split once, and what came out once more.
        let once = split(&l3, mtu, 4711);
        let other_id = if once.len() == 1 { 4711 } else { 1 };
        let pieces: Vec<_> = once.iter().flat_map(|p| split(p, again, other_id)).collect();
        let mut rebuilt = vec![0u8; len];
        let mut coverage = Coverage::<256>::new();
        let mut shuffled: Vec<_> = pieces.iter().enumerate().collect();
        shuffled.sort_by_key(|(i, _)| (*i as u64 + 1).wrapping_mul(order | 1));
        let mut complete = None;
        for (_, piece) in shuffled {
            prop_assert!(piece.len() <= usize::from(mtu.min(again)));
            let meta = parse_ipv6(piece).unwrap();
            prop_assert!(pieces.len() == 1 || meta.fragment_id == 4711);
            let payload = &piece[usize::from(meta.l4_offset)..];
            let at = usize::from(meta.fragment_offset - base);
            rebuilt[at..at + payload.len()].copy_from_slice(payload);
            let progress = coverage.insert(at as u16, payload.len() as u16, meta.more_fragments);
            if let Ok(Progress::Complete(all)) = progress {
                complete = Some(all);
            }
            prop_assert!(progress.is_ok());
        }
        prop_assert_eq!(rebuilt, data);
        prop_assert_eq!(complete, if more { None } else { Some(len as u16) });
    }
}
