//! Whatever arrives, nothing panics: every public entry is driven with truncations of valid packets, with
//! mutations of them, and with noise. Built in debug, integer overflow panics too.
//!
//! Seeds are fixed, so a failure repeats; the case number is in the message. The `fuzz` folder drives the same
//! entries with coverage guidance.

use tandem_wire::build::{self, Icmp6ErrorKind, IcmpErrorKind, PacketBuilder, PacketBuilder6, Payload};
use tandem_wire::ethernet::{self, Tag};
use tandem_wire::rewrite::{self, Endpoints};
use tandem_wire::rewrite6::{self, Endpoints6};
use tandem_wire::{
    Ipv4, Ipv4Mut, Ipv6, Ipv6Mut, Mac, fragment, icmp, icmp_error, icmp6, icmp6_error, ipv4, ipv6, l4,
    parse_ipv6, parse_plain_ipv6, tcp, udp,
};

const CASES: u32 = if cfg!(debug_assertions) { 60_000 } else { 400_000 };

/// SplitMix64: enough for test data, and the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn written(builder: PacketBuilder<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

fn written6(builder: PacketBuilder6<'_>) -> Vec<u8> {
    let mut buf = vec![0; builder.len()];
    assert_eq!(builder.write(&mut buf), Some(buf.len()));
    buf
}

/// Valid IPv6 packets of every shape the crate knows.
fn corpus6() -> Vec<Vec<u8>> {
    let (a, b) = (0x2001_0db8 << 96 | 1, 0x2001_0db8 << 96 | 2);
    let routing = [0, 1, 0, 0, 0, 0];
    let chain: [(u8, &[u8]); 3] = [
        (ipv6::HOP_BY_HOP, &[1, 4, 0, 0, 0, 0]),
        (ipv6::ROUTING, &routing),
        (ipv6::DESTINATION, &[1, 4, 0, 0, 0, 0]),
    ];
    let syn = PacketBuilder6::tcp(a, 1, b, 2, tcp::SYN).tcp_options(&[1, 2, 4, 5, 0xb4, 3, 3, 7]);
    let dns = PacketBuilder6::udp(a, 1000, b, 53).data(&[7; 30]);
    let echo = PacketBuilder6::echo(a, b, 1, 2).data(&[0; 40]);
    let mut all = vec![
        written6(syn),
        written6(dns),
        written6(echo),
        written6(dns.extensions(&chain)),
        written6(syn.extensions(&chain).fragment(false, 0, 7)),
        written6(dns.extensions(&chain[..2]).fragment(true, 0, 7).data(&[0; 1400])),
        written6(dns.fragment(true, 256, 7).data(&[0; 1400])),
    ];
    for packet in [written6(syn), written6(dns.extensions(&chain)), written6(echo)] {
        for (icmp_type, word) in [(icmp6::UNREACHABLE, 8 << 24), (icmp6::PACKET_TOO_BIG, 1300)] {
            all.push(written6(
                PacketBuilder6::icmp(b, a, icmp_type, 0, word).data(&packet),
            ));
        }
    }
    all
}

/// Valid packets of every shape the crate knows.
fn corpus() -> Vec<Vec<u8>> {
    let (a, b) = (0x0a00_0001, 0xc000_0201);
    let syn = PacketBuilder::tcp(a, 1, b, 2, tcp::SYN).tcp_options(&[1, 2, 4, 5, 0xb4, 3, 3, 7]);
    let dns = PacketBuilder::udp(a, 1000, b, 53).data(&[7; 30]);
    let echo = PacketBuilder::echo(a, b, 1, 2).data(&[0; 40]);
    let lsrr = [131, 7, 4, 1, 2, 3, 4, 0];
    let mut all = vec![
        written(syn),
        written(dns),
        written(echo),
        written(dns.ip_options(&lsrr)),
    ];
    all.extend(corpus6());
    for packet in [written(syn), written(dns.ip_options(&lsrr)), written(echo)] {
        for word in [0, 8 << 16, 1300] {
            all.push(written(
                PacketBuilder::icmp(b, a, icmp::UNREACHABLE, 4, word).data(&packet),
            ));
        }
    }
    all.push(written(
        PacketBuilder::new(a, b, Payload::Raw { proto: ipv4::UDP })
            .data(&[1; 64])
            .fragment(true, 64),
    ));
    let tags = [
        Tag {
            tpid: ethernet::QINQ,
            tci: 1,
        },
        Tag {
            tpid: ethernet::VLAN,
            tci: 2,
        },
    ];
    all.push(written(dns.ethernet(Mac::BROADCAST, Mac::ZERO).tags(&tags)));
    all
}

/// Drives every entry. What it asserts must hold for any input.
fn drive(data: &[u8], random: &mut Random) {
    let _ = ethernet::parse(data).map(|m| assert!(usize::from(m.l3_offset) <= data.len()));
    drive_ipv4(data, random);
    drive_messages(data, random);
    drive_ipv6(data, random);
    drive_ipv6_packets(data, random);
}

fn drive_ipv4(data: &[u8], random: &mut Random) {
    let numbers = random.next();
    let to = Endpoints {
        src: numbers as u32,
        dst: (numbers >> 32) as u32,
        sport: (numbers >> 16) as u16,
        dport: (numbers >> 48) as u16,
    };
    if let Ok(ip) = Ipv4::new_checked(data) {
        assert_eq!(ip.header().len() + ip.payload().len(), ip.packet().len());
        assert!(ipv4::Options::new(ip.options()).count() <= 40);
        let _ = ipv4::has_unexpired_source_route(ip.options());
        let mut copy = data.to_vec();
        let mut writer = Ipv4Mut::new_checked(&mut copy).unwrap();
        let _ = writer.decrement_ttl();
        writer.fill_checksum();
        assert!(Ipv4::new_checked(&copy).unwrap().verify_checksum());
    }
    if let Ok(meta) = l4::parse_ipv4(data) {
        assert!(meta.l4_offset <= meta.total_len && usize::from(meta.total_len) <= data.len());
        let mut copy = data.to_vec();
        assert!(
            rewrite::forward_ipv4(&mut copy, &meta, &to),
            "a parsed packet can be translated"
        );
        let again = Ipv4::new_checked(&copy).unwrap();
        assert_eq!((again.src(), again.dst()), (to.src, to.dst));
        assert_eq!(
            again.verify_checksum(),
            Ipv4::new_checked(data).unwrap().verify_checksum()
        );
    }
    let mut out = [0u8; 2048];
    let kind = IcmpErrorKind::FragmentationNeeded(numbers as u16);
    let error = build::icmp_error(&mut out, data, to.src, 0, kind);
    assert_eq!(error.is_some(), build::may_send_error_about(data));
    assert!(error.is_none_or(|len| len <= 576));
    assert!(build::tcp_reset(&mut out, data).is_none_or(|len| len == 40));
    if let Ok(fragmenter) = fragment::Fragmenter::new(data, 68 + (numbers % 64) as u16) {
        let mut at = Ipv4::new_checked(data).unwrap().header().len();
        for piece in fragmenter.clone() {
            assert_eq!(piece.range.start, at);
            at = piece.range.end;
            assert_eq!(
                fragmenter.write(&piece, &mut out),
                Some(fragmenter.piece_len(&piece))
            );
        }
        assert_eq!(at, Ipv4::new_checked(data).unwrap().packet().len());
    }
}

fn drive_messages(data: &[u8], random: &mut Random) {
    let numbers = random.next();
    for start in [0, 20, 28] {
        let Some(message) = data.get(start..) else {
            continue;
        };
        let _ = udp::Udp::new_checked(message).map(|u| u.verify_checksum_v4(1, 2));
        let _ =
            tcp::Tcp::new_checked(message).map(|t| (t.verify_checksum_v4(1, 2), t.mss(), t.sequence_len()));
        let _ = icmp6::Icmp6::new_checked(message).map(|i| i.verify_checksum(1, 2));
        let mut copy = message.to_vec();
        let _ = tcp::clamp_mss(&mut copy, numbers as u16);
        let _ = icmp::set_query_id(&mut copy, numbers as u16);
        let mut copy = message.to_vec();
        let (src, dst) = (
            (numbers as u32, (numbers >> 32) as u16),
            ((numbers >> 13) as u32, numbers as u16),
        );
        let before = icmp_error::parse(message);
        let src = (numbers & 1 << 60 != 0).then_some(src);
        let rewritten = icmp_error::rewrite_embedded(&mut copy, src, Some(dst));
        assert_eq!(rewritten.is_some(), before.is_ok());
        let Ok(before) = before else {
            assert_eq!(copy, message);
            continue;
        };
        let after = icmp_error::parse(&copy).unwrap();
        assert_eq!(after.embedded.dst, dst.0);
        assert_eq!(after.embedded.src, src.map_or(before.embedded.src, |s| s.0));
        assert_eq!(after.embedded_checksum_ok, before.embedded_checksum_ok);
        assert_eq!(after.checksum_ok, before.checksum_ok);
        let end = usize::from(before.embedded.end);
        assert_eq!(
            copy.get(end..),
            message.get(end..),
            "nothing behind the quote is touched"
        );
    }
}

fn drive_ipv6(data: &[u8], random: &mut Random) {
    let _ = ipv6::walk(data, random.next() as u8);
    let Ok(ip) = Ipv6::new_checked(data) else { return };
    if let Ok(upper) = ip.upper() {
        assert!(usize::from(upper.offset) <= ip.packet().len());
        let _ = ipv6::check_fragment(ip.packet().len(), &upper);
    }
    let mut copy = data.to_vec();
    let mut writer = Ipv6Mut::new_checked(&mut copy).unwrap();
    writer.set_src(1);
    writer.set_dst(2);
    let _ = writer.decrement_hop_limit();
    let again = Ipv6::new_checked(&copy).unwrap();
    assert_eq!((again.src(), again.dst(), again.payload()), (1, 2, ip.payload()));
}

fn drive_ipv6_packets(data: &[u8], random: &mut Random) {
    let numbers = random.next();
    let to = Endpoints6 {
        src: u128::from(numbers) << 64 | 5,
        dst: u128::from(numbers) << 13 | 1 << 127,
        sport: numbers as u16,
        dport: (numbers >> 16) as u16,
    };
    let meta = parse_ipv6(data);
    if let Some(plain) = parse_plain_ipv6(data) {
        assert_eq!(meta, Ok(plain));
    }
    if let Ok(meta) = meta {
        let mut copy = data.to_vec();
        assert!(
            rewrite6::forward_ipv6(&mut copy, &meta, &to),
            "a parsed packet can be translated"
        );
        let again = parse_ipv6(&copy).unwrap();
        assert_eq!((again.src, again.dst), (to.src, to.dst));
        assert_eq!(again.hop_limit, meta.hop_limit.saturating_sub(1));
    }
    let mut out = [0u8; 2048];
    let kind = Icmp6ErrorKind::PacketTooBig(numbers as u32);
    let error = build::icmp6_error(&mut out, data, to.src, kind);
    assert_eq!(error.is_some(), build::may_send_error6_about(data, kind));
    assert!(error.is_none_or(|len| len <= 1280));
    assert!(build::tcp_reset6(&mut out, data).is_none_or(|len| len == 60));
    if let Ok(fragmenter) = fragment::Fragmenter6::new(data, 1280 + (numbers % 64) as u16, 1) {
        let mut last = None;
        for piece in fragmenter.clone() {
            assert!(last.is_none_or(|at| at == piece.range.start));
            last = Some(piece.range.end);
            assert_eq!(
                fragmenter.write(&piece, &mut out),
                Some(fragmenter.piece_len(&piece))
            );
        }
        assert_eq!(last, Some(Ipv6::new_checked(data).unwrap().packet().len()));
    }
    for message in [data.get(40..), data.get(64..)].into_iter().flatten() {
        let mut copy = message.to_vec();
        let rewritten = icmp6_error::rewrite_embedded(&mut copy, Some((to.src, to.sport)), None);
        match icmp6_error::parse(message, 1, 2) {
            Ok(_) => {
                let after = icmp6_error::parse(&copy, 1, 2).unwrap();
                assert_eq!((rewritten, after.embedded.src), (Some(()), to.src));
            }
            Err(_) => assert!(rewritten.is_none() && copy == message),
        }
    }
}

/// Makes the outer length what it is.
fn fit(packet: &mut [u8]) {
    let len = packet.len();
    let is_v6 = packet.first().is_some_and(|b| b >> 4 == 6);
    let (field, value) = if is_v6 {
        (4..6, len.saturating_sub(40))
    } else {
        (2..4, len)
    };
    if let Some(field) = packet.get_mut(field) {
        field.copy_from_slice(&(value as u16).to_be_bytes());
    }
}

#[test]
fn truncations() {
    let mut random = Random(1);
    for packet in corpus() {
        for len in 0..=packet.len() {
            drive(&packet[..len], &mut random);
            // The same cut with lengths that match it, so that the cut reaches the inner layers.
            let mut fitting = packet[..len].to_vec();
            fit(&mut fitting);
            drive(&fitting, &mut random);
        }
    }
}

#[test]
fn mutations() {
    let corpus = corpus();
    let mut random = Random(2);
    for case in 0..CASES {
        let mut packet = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(packet.len());
            packet[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => packet[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        if random.below(4) == 0 {
            packet.truncate(random.below(packet.len() + 1));
        }
        if random.below(3) == 0 && packet.len() >= 20 {
            // Keep the outer lengths right, or most mutations end at the first check.
            if packet[0] >> 4 != 6 {
                packet[0] = 0x45 + random.below(3) as u8;
            }
            fit(&mut packet);
        }
        let copy = packet.clone();
        let driven = std::panic::catch_unwind(move || drive(&packet, &mut Random(u64::from(case))));
        assert!(driven.is_ok(), "case {case}: {copy:02x?}");
    }
}

#[test]
fn noise() {
    let mut random = Random(3);
    for _ in 0..CASES {
        let len = random.below(120);
        let mut data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if let Some(first) = data.first_mut() {
            *first = [0x45, 0x46, 0x4f, 0x60, *first][random.below(5)];
        }
        drive(&data, &mut random);
    }
}
