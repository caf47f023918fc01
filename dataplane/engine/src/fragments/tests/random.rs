//! Random packets of few senders, datagrams and places, so that they meet: what the model is compared on.

use proptest::prelude::*;

use super::ipv6::udp6;
use super::*;

fn l4() -> impl Strategy<Value = L4> {
    prop_oneof![
        30 => Just(L4::Udp { sport: 5000, dport: 53 }),
        1 => Just(L4::Udp { sport: 5001, dport: 53 }),
        4 => Just(L4::IcmpQuery { id: 9, icmp_type: 8 }),
        1 => Just(L4::IcmpError { icmp_type: 3, code: 1 }),
        1 => Just(L4::IcmpOther { icmp_type: 9 }),
    ]
}

/// Mostly eight pieces of 8 octets, the last one shorter; at times any piece.
fn piece() -> impl Strategy<Value = (u16, u16, bool)> {
    let grid = (0..8u16).prop_map(|n| if n == 7 { (56, 5, false) } else { (n * 8, 8, true) });
    let any = (0..10u16, 1..4u16, any::<bool>()).prop_map(|(n, len, more)| (n * 8, len * 8, more));
    prop_oneof![15 => grid, 1 => any]
}

/// IPv4 packets.
pub(super) fn meta4() -> impl Strategy<Value = Meta> {
    let sender = prop_oneof![4 => Just(1u32), 1 => 2..6u32];
    (sender, 0..4u16, l4(), piece()).prop_map(|(src, id, l4, (offset, len, more))| {
        let proto = match l4 {
            L4::Udp { .. } => UDP,
            _ => ICMP,
        };
        let base = udp(src, id, offset, len, more);
        let l4 = if offset == 0 { l4 } else { L4::LaterFragment };
        Meta::V4(Ipv4Meta { l4, proto, ..base })
    })
}

/// IPv6 packets: hosts of three /64 with the numbers of IPv4 senders, extension headers before and behind the fragment
/// header, and any protocol in later fragments.
pub(super) fn meta6() -> impl Strategy<Value = Meta> {
    let net = prop_oneof![4 => Just(1u128), 1 => 2..4u128];
    let host = prop_oneof![4 => Just(1u128), 1 => Just(2u128)];
    let l4 = prop_oneof![20 => l4(), 1 => Just(L4::Other)];
    let headers = (0..2u16, 0..2u16, any::<u8>());
    (net, host, 0..4u32, l4, piece(), headers).prop_map(
        |(net, host, id, l4, (offset, len, more), (before, behind, later_proto))| {
            let proto = match l4 {
                _ if offset != 0 => later_proto,
                L4::Udp { .. } => UDP,
                L4::Other => 47,
                _ => 58,
            };
            let behind = if offset == 0 { behind } else { 0 };
            let base = udp6(net << 64 | host, id << 16, offset, len, more);
            Meta::V6(Ipv6Meta {
                l4: if offset == 0 { l4 } else { L4::LaterFragment },
                proto,
                fragment_header: 40 + before * 8,
                l4_offset: 48 + before * 8 + behind * 8,
                total_len: base.total_len + before * 8,
                ..base
            })
        },
    )
}
