//! Translation in place: new addresses and ports into a packet, with its header and L4 checksums.
//!
//! One [`Delta`] covers the addresses for the header checksum, and the same plus the ports for the L4 one.

use crate::checksum::Delta;
use crate::field::{put_u16, u16_at};
use crate::l4::{Ipv4Meta, L4};
use crate::{icmp, ipv4, tcp, udp};

/// The addresses and ports a packet shall have, in host order; what stays is given as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port; of an ICMP query its identifier.
    pub sport: u16,
    /// Destination port; of an ICMP query not looked at.
    pub dport: u16,
}

impl Endpoints {
    /// What a packet has now.
    #[inline(always)]
    #[must_use]
    pub const fn of(meta: &Ipv4Meta) -> Self {
        Self {
            src: meta.src,
            dst: meta.dst,
            sport: meta.sport(),
            dport: meta.dport(),
        }
    }
}

/// Gives a packet new addresses and ports and moves its checksums along (RFC 1624).
///
/// `l3` starts at the IPv4 header and `meta` is its parse. Later fragments and protocols without ports get the
/// addresses only; of DCCP and UDP-Lite the L4 checksum moves too (their pseudo header holds the addresses); a UDP
/// checksum of 0 stays 0. The embedded packet of an ICMP error is not touched: see [`crate::icmp_error`].
/// Returns `false`, with `l3` in an undefined state, only when `meta` is not the parse of `l3`.
#[inline]
#[must_use]
pub fn rewrite_ipv4(l3: &mut [u8], meta: &Ipv4Meta, to: &Endpoints) -> bool {
    rewrite::<false>(l3, meta, to).is_some()
}

/// [`rewrite_ipv4`] and one off the time to live, in the same pass over the header. The caller has seen that
/// `meta.ttl` is above 1; below that it wraps nowhere but stays 0.
#[inline]
#[must_use]
pub fn forward_ipv4(l3: &mut [u8], meta: &Ipv4Meta, to: &Endpoints) -> bool {
    rewrite::<true>(l3, meta, to).is_some()
}

/// [`forward_ipv4`] for the plain case: a packet that [`crate::l4::parse_plain`] accepted, of UDP or else TCP, whose time to
/// live is above 1; `sport` and `dport` are its ports. One sum over all that changes, wide loads and stores.
///
/// `false`, and nothing changed, when `l3` is shorter than its headers.
#[inline(always)]
#[must_use]
pub fn forward_plain(
    l3: &mut [u8],
    meta: &Ipv4Meta,
    sport: u16,
    dport: u16,
    to: &Endpoints,
    udp: bool,
) -> bool {
    /// Sum of 32-bit words, folded to 16 bits: 2^16 counts as 1.
    #[inline(always)]
    const fn fold(sum: u64) -> u16 {
        // Adding the halves crosswise leaves the end-around sum in the upper half.
        let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
        (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
    }
    let ports = |s: u16, d: u16| (s as u32) << 16 | d as u32;
    let new_ports = ports(to.sport, to.dport);
    let addresses = u64::from(to.src) + u64::from(to.dst) + u64::from(!meta.src) + u64::from(!meta.dst);
    let both = addresses + u64::from(new_ports) + u64::from(!ports(sport, dport));
    let checksum_at = ipv4::HEADER_LEN
        + if udp {
            udp::CHECKSUM_OFFSET
        } else {
            tcp::CHECKSUM_OFFSET
        };
    let Some(l4_sum) = l3.get(checksum_at..).and_then(|b| b.first_chunk::<2>()) else {
        return false;
    };
    let l4_sum = u16::from_be_bytes(*l4_sum);
    let mut new_l4 = !fold(both + u64::from(!l4_sum));
    if udp {
        if l4_sum == 0 {
            new_l4 = 0;
        } else if new_l4 == 0 {
            new_l4 = 0xffff;
        }
    }
    let Some(head) = l3.first_chunk_mut::<24>() else {
        return false;
    };
    // RFC 1624: HC' = ~(~HC + ~m + m'); one off the upper octet is -0x0100, which is 0xfeff.
    let old_sum = u16::from_be_bytes([head[10], head[11]]);
    let new_sum = !fold(addresses + 0xfeff + u64::from(!old_sum));
    head[8] = meta.ttl.wrapping_sub(1);
    [head[10], head[11]] = new_sum.to_be_bytes();
    let words = (u64::from(to.src) << 32 | u64::from(to.dst)).to_be_bytes();
    head[12..20].copy_from_slice(&words);
    head[20..24].copy_from_slice(&new_ports.to_be_bytes());
    if let Some(sum) = l3.get_mut(checksum_at..).and_then(|b| b.first_chunk_mut::<2>()) {
        *sum = new_l4.to_be_bytes();
    }
    true
}

#[inline(always)]
fn rewrite<const TTL: bool>(l3: &mut [u8], meta: &Ipv4Meta, to: &Endpoints) -> Option<()> {
    let head = l3.first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    let addresses = Delta::new()
        .replace_u32(meta.src, to.src)
        .replace_u32(meta.dst, to.dst);
    let mut header = addresses;
    if TTL {
        let ttl = meta.ttl.saturating_sub(1);
        header = header.replace_u16(
            u16::from_be_bytes([meta.ttl, meta.proto]),
            u16::from_be_bytes([ttl, meta.proto]),
        );
        head[8] = ttl;
    }
    let sum = header.apply(u16::from_be_bytes([head[10], head[11]]));
    [head[10], head[11]] = sum.to_be_bytes();
    [head[12], head[13], head[14], head[15]] = to.src.to_be_bytes();
    [head[16], head[17], head[18], head[19]] = to.dst.to_be_bytes();

    match meta.l4 {
        L4::Tcp { sport, dport, .. } => {
            let head = l3
                .get_mut(usize::from(meta.l4_offset)..)?
                .first_chunk_mut::<{ tcp::HEADER_LEN }>()?;
            let delta = addresses
                .replace_u16(sport, to.sport)
                .replace_u16(dport, to.dport);
            [head[0], head[1]] = to.sport.to_be_bytes();
            [head[2], head[3]] = to.dport.to_be_bytes();
            let sum = delta.apply(u16::from_be_bytes([head[16], head[17]]));
            [head[16], head[17]] = sum.to_be_bytes();
        }
        L4::Udp { sport, dport } => {
            let head = l3
                .get_mut(usize::from(meta.l4_offset)..)?
                .first_chunk_mut::<{ udp::HEADER_LEN }>()?;
            let delta = addresses
                .replace_u16(sport, to.sport)
                .replace_u16(dport, to.dport);
            [head[0], head[1]] = to.sport.to_be_bytes();
            [head[2], head[3]] = to.dport.to_be_bytes();
            let sum = delta.apply_udp(u16::from_be_bytes([head[6], head[7]]));
            [head[6], head[7]] = sum.to_be_bytes();
        }
        L4::IcmpQuery { .. } => {
            let message = l3.get_mut(usize::from(meta.l4_offset)..usize::from(meta.total_len))?;
            icmp::set_query_id(message, to.sport)?;
        }
        L4::Other => pseudo_header_only(l3, meta, addresses),
        L4::IcmpError { .. } | L4::IcmpOther { .. } | L4::LaterFragment => {}
    }
    Some(())
}

/// Protocols whose ports are not translated but whose checksum covers the addresses: DCCP (RFC 4340, 9.1) and
/// UDP-Lite (RFC 3828, 3.1), both at octet 6. A packet too short to have one has nothing to fix.
#[inline]
fn pseudo_header_only(l3: &mut [u8], meta: &Ipv4Meta, addresses: Delta) {
    if matches!(meta.proto, ipv4::DCCP | ipv4::UDPLITE) && meta.payload_len() >= 8 {
        let at = usize::from(meta.l4_offset) + udp::CHECKSUM_OFFSET;
        if let Some(sum) = u16_at(l3, at) {
            let fixed = if meta.proto == ipv4::UDPLITE {
                addresses.apply_udp(sum)
            } else {
                addresses.apply(sum)
            };
            let _written = put_u16(l3, at, fixed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{PacketBuilder, Payload};
    use crate::l4::parse_ipv4_verified;
    use proptest::prelude::*;

    type Tuple = (u32, u16, u32, u16);

    /// One packet of each kind between two ends, from scratch.
    fn packet(kind: usize, t: Tuple, ttl: u8, data: &[u8], options: &[u8]) -> Vec<u8> {
        let (src, sport, dst, dport) = t;
        let builder = match kind {
            0 => PacketBuilder::udp(src, sport, dst, dport),
            1 => PacketBuilder::tcp(src, sport, dst, dport, tcp::ACK),
            2 => PacketBuilder::echo(src, dst, sport, 0),
            3 => PacketBuilder::echo_reply(src, dst, sport, 0),
            4 => PacketBuilder::new(
                src,
                dst,
                Payload::Udp {
                    sport,
                    dport,
                    checksum: false,
                },
            ),
            5 => PacketBuilder::new(src, dst, Payload::Raw { proto: ipv4::ESP }),
            6 => PacketBuilder::new(src, dst, Payload::Raw { proto: ipv4::UDP }).fragment(false, 8),
            _ => PacketBuilder::icmp(src, dst, icmp::ROUTER_ADVERTISEMENT, 0, 0),
        };
        let mut buf = vec![0; 300];
        let len = builder
            .ttl(ttl)
            .data(data)
            .ip_options(options)
            .write(&mut buf)
            .unwrap();
        buf.truncate(len);
        buf
    }

    fn to(t: Tuple) -> Endpoints {
        Endpoints {
            src: t.0,
            sport: t.1,
            dst: t.2,
            dport: t.3,
        }
    }

    #[test]
    fn udp_checksum_that_becomes_zero_is_written_as_all_ones() {
        // Search the source port for which the sum over the translated datagram is zero.
        let mut seen = 0;
        for port in 0..=u16::MAX {
            let want = packet(0, (5, port, 6, 7), 64, b"", &[]);
            let mut got = packet(0, (1, 2, 3, 4), 64, b"", &[]);
            let meta = parse_ipv4_verified(&got).unwrap();
            assert!(rewrite_ipv4(&mut got, &meta, &to((5, port, 6, 7))));
            assert_eq!(got, want);
            seen += u32::from(got[26..28] == [0xff, 0xff]);
        }
        assert_eq!(seen, 1);
    }

    #[test]
    fn udplite_and_dccp_checksums_follow_the_addresses() {
        for proto in [ipv4::UDPLITE, ipv4::DCCP] {
            let build = |src: u32| {
                let mut data = [0, 1, 0, 2, 0, 0, 0, 0, 9, 9];
                let sum = crate::checksum::pseudo_v4(src, 8, proto, 10)
                    .slice(&data)
                    .finish();
                data[6..8].copy_from_slice(&sum.to_be_bytes());
                let mut buf = vec![0; 30];
                let raw = PacketBuilder::new(src, 8, Payload::Raw { proto }).data(&data);
                assert_eq!(raw.write(&mut buf), Some(30));
                buf
            };
            let mut got = build(7);
            let meta = parse_ipv4_verified(&got).unwrap();
            assert!(rewrite_ipv4(
                &mut got,
                &meta,
                &Endpoints {
                    src: 0xffff_1234,
                    ..Endpoints::of(&meta)
                }
            ));
            assert_eq!(got, build(0xffff_1234));
        }
    }

    #[test]
    fn foreign_meta_is_refused_without_panic() {
        let long = packet(1, (1, 2, 3, 4), 64, &[0; 40], &[]);
        let meta = parse_ipv4_verified(&long).unwrap();
        for len in 0..40 {
            assert!(!rewrite_ipv4(&mut long[..len].to_vec(), &meta, &to((5, 6, 7, 8))));
        }
    }

    #[test]
    fn wrong_stays_wrong() {
        let mut got = packet(0, (1, 2, 3, 4), 64, b"data", &[]);
        got[26] ^= 0x40;
        got[10] ^= 0x04;
        let meta = crate::l4::parse_ipv4(&got).unwrap();
        assert!(forward_ipv4(&mut got, &meta, &to((5, 6, 7, 8))));
        let ip = crate::Ipv4::new_checked(&got).unwrap();
        assert!(!ip.verify_checksum());
        assert!(
            !udp::Udp::new_checked(ip.payload())
                .unwrap()
                .verify_checksum_v4(5, 7)
        );
    }

    proptest! {
        #[test]
        fn rewritten_equals_built(
            kind in 0usize..8, old in any::<Tuple>(), new in any::<Tuple>(), ttl in 2u8..,
            data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 8..60), words in 0usize..=10,
        ) {
            prop_assume!((old.0, old.1) != (old.2, old.3));
            let options = [1u8; 40];
            let options = &options[..words * 4];
            let before = packet(kind, old, ttl, &data, options);
            let meta = parse_ipv4_verified(&before).unwrap();
            let mut got = before.clone();
            prop_assert!(forward_ipv4(&mut got, &meta, &to(new)));
            prop_assert_eq!(&got, &packet(kind, new, ttl - 1, &data, options));
            let mut same = before.clone();
            prop_assert!(rewrite_ipv4(&mut same, &meta, &Endpoints::of(&meta)));
            prop_assert_eq!(&same, &before);
            prop_assert!(rewrite_ipv4(&mut same, &meta, &to(new)));
            prop_assert_eq!(&same, &packet(kind, new, ttl, &data, options));
        }
    }
}

#[cfg(test)]
mod plain_tests {
    use super::*;
    use crate::build::{PacketBuilder, Payload};
    use crate::l4::{parse_ipv4_verified, parse_plain};
    use proptest::prelude::*;

    type End = (u32, u16);

    fn packet(udp: bool, (a, p): End, (b, q): End, ttl: u8, data: &[u8], zero: bool) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        let builder = if udp {
            PacketBuilder::udp(a, p, b, q)
        } else {
            PacketBuilder::new(
                a,
                b,
                Payload::Tcp {
                    sport: p,
                    dport: q,
                    seq: 7,
                    ack: 9,
                    flags: tcp::ACK,
                    window: 512,
                    options: &[],
                },
            )
        };
        let length = builder.data(data).ttl(ttl).write(&mut buffer).unwrap();
        buffer.truncate(length);
        if udp && zero {
            buffer[26..28].fill(0);
        }
        buffer
    }

    proptest! {
        #[test]
        fn plain_is_the_general_case_octet_by_octet(
            udp: bool, zero: bool, a: u32, b: u32, p: u16, q: u16, ttl in 2u8.., data in proptest::collection::vec(any::<u8>(), 0..40),
            src in prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>()], dst: u32, sport: u16, dport: u16,
        ) {
            prop_assume!(a != b);
            let mut one = packet(udp, (a, p), (b, q), ttl, &data, zero);
            let mut two = one.clone();
            let meta = parse_plain::<true>(&one).expect("plain");
            prop_assert_eq!(Ok(meta), parse_ipv4_verified(&one));
            let to = Endpoints { src, dst, sport, dport };
            prop_assert!(forward_plain(&mut one, &meta, p, q, &to, udp));
            prop_assert!(forward_ipv4(&mut two, &meta, &to));
            prop_assert_eq!(one, two);
        }

        #[test]
        fn what_plain_accepts_the_general_parse_accepts_alike(
            udp: bool, at in 0usize..60, with: u8, cut in 0usize..70, data in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = packet(udp, (0x0a00_0001, 5), (0x0808_0808, 5), 9, &data, false);
            if let Some(b) = bytes.get_mut(at) {
                *b = with;
            }
            bytes.truncate(cut);
            if let Some(meta) = parse_plain::<true>(&bytes) {
                prop_assert_eq!(Ok(meta), parse_ipv4_verified(&bytes));
            }
            if let Some(meta) = parse_plain::<false>(&bytes) {
                prop_assert_eq!(Ok(meta), crate::l4::parse_ipv4(&bytes));
            }
        }
    }
}
