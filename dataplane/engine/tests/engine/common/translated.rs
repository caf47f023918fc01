//! What RFC 7915 and RFC 6146 say about a packet that changed its family, computed here from scratch: every field of its
//! headers from the packet it was made of, and every checksum over the octets it has now.
//!
//! Which addresses and ports it must have is what tests look at themselves.

use tandem_wire::checksum::{Sum, pseudo_v4, pseudo_v6};
use tandem_wire::l4::parse_ipv4;
use tandem_wire::{Fragment, L4, icmp, icmp6, ipv4, ipv6, parse_ipv6};

/// Most octets of an ICMPv4 error, and of an ICMPv6 one.
const ERROR_MAX: [usize; 2] = [576, 1280];

/// A packet of either family as its headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen<'a> {
    six: bool,
    class: u8,
    hops: u8,
    /// The protocol as IPv6 calls it.
    proto: u8,
    fragment: Fragment,
    /// Offset, more fragments, identification, when it is or was made from a fragment.
    place: Option<(u16, bool, u32)>,
    dont_fragment: bool,
    id: u16,
    /// From the upper layer on.
    upper: &'a [u8],
    checksum_ok: bool,
}

fn six_proto(proto: u8) -> u8 {
    if proto == ipv4::ICMP { ipv4::ICMPV6 } else { proto }
}

/// Whether the checksum of a whole upper layer is right; one that has none is.
fn upper_is_right(proto: u8, upper: &[u8], pseudo: Sum) -> bool {
    match proto {
        ipv4::UDP if upper.get(6..8) == Some(&[0, 0]) => true,
        ipv4::UDP | ipv4::TCP | ipv4::ICMP | ipv4::ICMPV6 => pseudo.slice(upper).is_valid(),
        _ => true,
    }
}

fn seen4(packet: &[u8]) -> Seen<'_> {
    let meta = parse_ipv4(packet).expect("a well-formed IPv4 packet");
    assert_eq!(usize::from(meta.total_len), packet.len(), "total length");
    assert!(
        Sum::new()
            .slice(&packet[..usize::from(meta.l4_offset)])
            .is_valid(),
        "IPv4 header checksum"
    );
    let upper = &packet[usize::from(meta.l4_offset)..];
    let pseudo = match meta.proto {
        ipv4::ICMP => Sum::new(),
        proto => pseudo_v4(meta.src, meta.dst, proto, upper.len() as u16),
    };
    let part = meta.fragment != Fragment::None;
    Seen {
        six: false,
        class: meta.tos,
        hops: meta.ttl,
        proto: six_proto(meta.proto),
        fragment: meta.fragment,
        place: part.then_some((meta.fragment_offset, meta.more_fragments, u32::from(meta.id))),
        dont_fragment: meta.dont_fragment,
        id: meta.id,
        upper,
        checksum_ok: part || upper_is_right(meta.proto, upper, pseudo),
    }
}

fn seen6(packet: &[u8]) -> Seen<'_> {
    let meta = parse_ipv6(packet).expect("a well-formed IPv6 packet");
    assert_eq!(usize::from(meta.total_len), packet.len(), "payload length");
    let upper = &packet[usize::from(meta.l4_offset)..];
    let pseudo = pseudo_v6(meta.src, meta.dst, meta.proto, upper.len() as u32);
    Seen {
        six: true,
        class: meta.traffic_class,
        hops: meta.hop_limit,
        proto: meta.proto,
        fragment: meta.fragment,
        place: (meta.fragment_header != 0).then_some((
            meta.fragment_offset,
            meta.more_fragments,
            meta.fragment_id,
        )),
        dont_fragment: true,
        id: 0,
        upper,
        checksum_ok: meta.fragment != Fragment::None || upper_is_right(meta.proto, upper, pseudo),
    }
}

fn seen(packet: &[u8]) -> Seen<'_> {
    match packet.first().map(|b| b >> 4) {
        Some(4) => seen4(packet),
        Some(6) => seen6(packet),
        other => panic!("neither IPv4 nor IPv6 but {other:?}"),
    }
}

/// Whether every checksum of a packet of either family is right, its lengths being checked as well. Quotes of ICMP errors
/// are verified by [`assert_translated`].
pub fn is_right(packet: &[u8]) -> bool {
    seen(packet).checksum_ok
}

fn is_error(s: &Seen<'_>) -> bool {
    let first = s.upper.first().copied().unwrap_or(u8::MAX);
    s.proto == ipv4::ICMPV6
        && s.fragment == Fragment::None
        && if s.six {
            icmp6::is_error(first)
        } else {
            icmp::is_error(first)
        }
}

/// Checks all of `after`, which was made of `before`, addresses and ports apart: lengths, checksums, time to live, type of
/// service, fragment fields, payload. `hops`: how many routers it looks like; `copy_class`: whether traffic classes are copied.
#[track_caller]
pub fn assert_translated(before: &[u8], after: &[u8], hops: u8, copy_class: bool) {
    let (old, new) = (seen(before), seen(after));
    assert_eq!(new.hops, old.hops - hops, "time to live");
    assert_eq!(new.class, if copy_class { old.class } else { 0 }, "traffic class");
    if new.six {
        assert_eq!(
            &after[..4],
            &[0x60 | new.class >> 4, new.class << 4, 0, 0],
            "flow label"
        );
        let header = if new.place.is_some() { 48 } else { 40 };
        assert_eq!(after.len() - new.upper.len(), header, "no extension headers");
    } else {
        assert_eq!(after[0], 0x45, "no options");
    }
    assert_eq!(new.proto, old.proto, "protocol");
    if is_error(&old) {
        return assert_error(before, after, &old, &new, copy_class);
    }
    assert_eq!(new.upper.len(), old.upper.len(), "length of the upper layer");
    assert_place(&old, &new, after.len());
    let no_checksum = old.upper.get(6..8) == Some(&[0, 0]) && old.proto == ipv4::UDP;
    assert_eq!(new.checksum_ok, old.checksum_ok || no_checksum, "checksum");
    if new.six && new.proto == ipv4::UDP && new.fragment == Fragment::None {
        assert_ne!(&new.upper[6..8], [0, 0], "UDP over IPv6 has a checksum");
    }
    let changed = changed_octets(&old);
    for (at, (a, b)) in old.upper.iter().zip(new.upper).enumerate() {
        assert!(a == b || changed.contains(&at), "octet {at} of the upper layer");
    }
}

/// Octets of the upper layer that translation may change: ports, identifiers, types, checksums.
fn changed_octets(old: &Seen<'_>) -> Vec<usize> {
    match (old.fragment, old.proto) {
        (Fragment::Later, _) => vec![],
        (_, ipv4::UDP) => vec![0, 1, 2, 3, 6, 7],
        (_, ipv4::TCP) => vec![0, 1, 2, 3, 16, 17],
        (_, ipv4::ICMPV6) => vec![0, 2, 3, 4, 5],
        _ => vec![],
    }
}

/// RFC 7915 sections 4.1 and 5.1, 5.1.1: fragment header, identification, DF.
#[track_caller]
fn assert_place(old: &Seen<'_>, new: &Seen<'_>, length: usize) {
    match (old.six, new.six, old.place) {
        (false, true, place) => assert_eq!(new.place, place, "fragment header"),
        (true, false, Some((offset, more, id))) => {
            assert_eq!(new.id, id as u16, "low 16 bits of the identification");
            assert!(!new.dont_fragment, "a fragment has no DF");
            let place = (offset != 0 || more).then_some((offset, more, id & 0xffff));
            assert_eq!(new.place, place, "place in the datagram");
        }
        (true, false, None) => {
            assert_eq!(new.dont_fragment, length > 1260, "DF above 1260 octets");
            assert_eq!(new.place, None);
        }
        // Round by hairpinning: what was lost on the way stays lost.
        (_, _, Some((offset, more, id))) if offset != 0 || more => {
            assert_eq!(new.place, Some((offset, more, id & 0xffff)));
        }
        _ => assert_eq!(new.place, None),
    }
}

/// An ICMP error: its own length and checksum, and the quoted packet's header and, as far as it is whole, checksum.
#[track_caller]
fn assert_error(before: &[u8], after: &[u8], old: &Seen<'_>, new: &Seen<'_>, copy_class: bool) {
    assert!(new.checksum_ok, "checksum of the error");
    assert_eq!(new.place, None);
    if before[0] >> 4 != after[0] >> 4 || before.len() > ERROR_MAX[usize::from(new.six)] {
        assert!(
            after.len() <= ERROR_MAX[usize::from(new.six)],
            "length of an error"
        );
    }
    let (was, is) = (&old.upper[8..], &new.upper[8..]);
    // Time to live and traffic class as they were: the quoted packet went nowhere.
    let hops = |quote: &[u8]| if quote[0] >> 4 == 6 { quote[7] } else { quote[8] };
    assert_eq!(hops(is), hops(was), "time to live of the quoted packet");
    let class = |quote: &[u8]| match quote[0] >> 4 {
        6 => quote[0] << 4 | quote[1] >> 4,
        _ => quote[1],
    };
    assert_eq!(
        class(is),
        if copy_class { class(was) } else { 0 },
        "class of the quoted packet"
    );
    let (Some(was), Some(is)) = (whole_quote(was), whole_quote(is)) else {
        return;
    };
    assert_eq!(
        seen(is).checksum_ok,
        seen(was).checksum_ok,
        "checksum of the quoted packet"
    );
    assert_eq!(seen(is).proto, seen(was).proto);
    assert_eq!(seen(is).upper.len(), seen(was).upper.len());
}

/// The quoted packet, if all of it is there and it can be parsed.
fn whole_quote(quote: &[u8]) -> Option<&[u8]> {
    let length = match quote[0] >> 4 {
        6 => ipv6::HEADER_LEN + usize::from(u16::from_be_bytes([quote[4], quote[5]])),
        _ => usize::from(u16::from_be_bytes([quote[2], quote[3]])),
    };
    let quote = quote.get(..length)?;
    let parses = match quote[0] >> 4 {
        6 => parse_ipv6(quote).is_ok_and(|m| !matches!(m.l4, L4::Other)),
        _ => parse_ipv4(quote).is_ok_and(|m| !matches!(m.l4, L4::Other)),
    };
    parses.then_some(quote)
}
