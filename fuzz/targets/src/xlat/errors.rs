//! ICMP errors between the families, with what they quote.

use tandem_wire::icmp_error::{self, EmbeddedL4};
use tandem_wire::icmp6_error;
use tandem_wire::xlat::icmp::{ERROR4_LEN_MAX, ERROR6_LEN_MAX};
use tandem_wire::xlat::{self, XlatError};
use tandem_wire::{Ipv4, Ipv4Meta, Ipv6Meta, L4, ipv4, parse_ipv4, parse_ipv6};

use super::{Buffer, Choice};
use crate::sums::{remainder, remainder4, remainder6};

/// The remainder over the pseudo header and upper layer of a quoted packet.
fn quoted_remainder(addresses: u64, proto: u8, upper: &[u8]) -> u64 {
    if proto == ipv4::ICMP {
        return remainder(upper);
    }
    (addresses + u64::from(proto) + upper.len() as u64 + remainder(upper)) % 0xffff
}

/// Whether the checksum of a quoted packet can be followed: it has one, and all of the `told` octets were quoted.
fn has_sum(l4: EmbeddedL4, upper: &[u8], told: usize) -> bool {
    let least = match l4 {
        EmbeddedL4::Tcp { .. } => 20,
        EmbeddedL4::IcmpQuery { .. } | EmbeddedL4::Udp { .. } => 8,
        _ => return false,
    };
    if told < least || upper.len() < told {
        return false;
    }
    let udp_len = usize::from(u16::from_be_bytes([upper[4], upper[5]]));
    !matches!(l4, EmbeddedL4::Udp { .. }) || (upper[6..8] != [0, 0] && udp_len == told)
}

fn refused(choice: &Choice, error: XlatError, before: &Buffer, after: &Buffer) {
    match error {
        // An error has to be in one buffer; towards IPv6 it grows.
        XlatError::NoRoom => assert!(before.is_chained() || choice.room < 1280),
        XlatError::Malformed => assert!(before.is_chained() || before.octets[before.start] > 0x45),
        _ => assert_eq!(after, before),
    }
}

pub(super) fn four(choice: &Choice, packet: &[u8], meta: &Ipv4Meta) {
    let before = Buffer::new(packet, choice);
    let mut after = before.clone();
    let (src, dst) = (choice.to6.src, choice.to6.dst);
    // What is quoted went the other way.
    let embedded = tandem_wire::rewrite6::Endpoints6 {
        src: dst,
        dst: src,
        ..choice.to6
    };
    let result = xlat::icmp_error_four_to_six(&mut after, meta, src, dst, &embedded, &choice.options);
    if let Err(error) = result {
        assert!(matches!(meta.l4, L4::IcmpError { .. }) || !matches!(error, XlatError::DoublyEmbedded));
        return refused(choice, error, &before, &after);
    }
    assert!(matches!(meta.l4, L4::IcmpError { .. }));
    let new = after.whole();
    let got = parse_ipv6(&new).expect("well-formed");
    assert!(matches!(got.l4, L4::IcmpError { .. }) && got.l4_offset == 40);
    assert_eq!(usize::from(got.total_len), new.len());
    assert!(new.len() <= ERROR6_LEN_MAX);
    assert_eq!((got.src, got.dst, got.hop_limit), (src, dst, meta.ttl - 1));
    assert_eq!(remainder6(&new, &got), 0);
    let message = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    let old_error = icmp_error::parse(message).expect("it was translated");
    let error = icmp6_error::parse(&new[40..], src, dst).expect("an error");
    assert!(error.checksum_ok && old_error.checksum_ok);
    let (old, inner) = (old_error.embedded, error.embedded);
    assert_eq!((inner.src, inner.dst), (dst, src));
    assert_eq!(
        (inner.hop_limit, inner.more_fragments),
        (old.ttl, old.more_fragments)
    );
    assert_eq!(inner.fragment_offset, old.fragment_offset);
    if old.sport().is_some() && inner.sport().is_some() {
        assert_eq!(inner.sport(), Some(embedded.sport));
    }
    // Cut off before its ports, it may be padded to where they would be.
    if let (EmbeddedL4::Tcp { .. } | EmbeddedL4::Udp { .. }, Some(_)) = (old.l4, inner.dport()) {
        assert_eq!(inner.dport(), Some(embedded.dport));
    }
    let old_upper = &message[usize::from(old.l4_offset)..usize::from(old.end)];
    let upper = &new[40 + usize::from(inner.l4_offset)..40 + usize::from(inner.end)];
    let told = usize::from(old.total_len.saturating_sub(old.l4_offset - 8));
    if upper.len() >= told && has_sum(old.l4, old_upper, told) {
        assert_eq!(
            quoted_remainder(remainder(&new[56..88]), inner.proto, &upper[..told]),
            quoted_remainder(remainder(&message[20..28]), old.proto, &old_upper[..told])
        );
    }
    again(choice, &new);
}

pub(super) fn six(choice: &Choice, packet: &[u8], meta: &Ipv6Meta) {
    let before = Buffer::new(packet, choice);
    let mut after = before.clone();
    let (src, dst) = (choice.to4.src, choice.to4.dst);
    let embedded = tandem_wire::rewrite::Endpoints {
        src: dst,
        dst: src,
        ..choice.to4
    };
    let result =
        xlat::icmp_error_six_to_four(&mut after, meta, src, dst, &embedded, &choice.options, choice.id);
    if let Err(error) = result {
        return refused(choice, error, &before, &after);
    }
    assert!(matches!(meta.l4, L4::IcmpError { .. }));
    let new = after.whole();
    assert!(Ipv4::new_checked(&new).is_ok_and(|ip| ip.verify_checksum()));
    let got = parse_ipv4(&new).expect("well-formed");
    assert!(matches!(got.l4, L4::IcmpError { .. }) && got.l4_offset == 20);
    assert_eq!(usize::from(got.total_len), new.len());
    assert!(new.len() <= ERROR4_LEN_MAX && !got.dont_fragment);
    assert_eq!((got.src, got.dst, got.ttl), (src, dst, meta.hop_limit - 1));
    assert_eq!(remainder4(&new, &got), 0);
    let message = &packet[usize::from(meta.l4_offset)..usize::from(meta.total_len)];
    let old = icmp6_error::parse(message, meta.src, meta.dst)
        .expect("it was translated")
        .embedded;
    let error = icmp_error::parse(&new[20..]).expect("an error");
    assert!(error.checksum_ok && error.embedded_checksum_ok);
    let inner = error.embedded;
    assert_eq!((inner.src, inner.dst), (dst, src));
    assert_eq!(
        (inner.ttl, inner.more_fragments),
        (old.hop_limit, old.more_fragments)
    );
    assert_eq!(inner.fragment_offset, old.fragment_offset);
    if old.sport().is_some() && inner.sport().is_some() {
        assert_eq!(inner.sport(), Some(embedded.sport));
    }
    let old_upper = &message[usize::from(old.l4_offset)..usize::from(old.end)];
    let upper = &new[20 + usize::from(inner.l4_offset)..20 + usize::from(inner.end)];
    let told = usize::from(inner.total_len) - 20;
    if upper.len() >= told && has_sum(old.l4, old_upper, told) {
        assert_eq!(
            quoted_remainder(remainder(&new[40..48]), inner.proto, &upper[..told]),
            quoted_remainder(remainder(&message[16..48]), old.proto, &old_upper[..told])
        );
    }
    again(choice, &new);
}

/// What was translated can be looked at by the other direction: it is refused or well-formed, as any error.
fn again(choice: &Choice, new: &[u8]) {
    let mut back = new.to_vec();
    if let Ok(meta) = parse_ipv6(new) {
        let to = choice.to4;
        if xlat::icmp_error_six_to_four(&mut back, &meta, to.src, to.dst, &to, &choice.options, 0).is_ok() {
            let meta = parse_ipv4(&back).expect("well-formed");
            assert_eq!(remainder4(&back, &meta), 0);
        }
    } else if let Ok(meta) = parse_ipv4(new) {
        let to = choice.to6;
        if xlat::icmp_error_four_to_six(&mut back, &meta, to.src, to.dst, &to, &choice.options).is_ok() {
            let meta = parse_ipv6(&back).expect("well-formed");
            assert_eq!(remainder6(&back, &meta), 0);
        }
    }
}
