//! Input: 37 octets that choose the translation, then an ICMPv6 message. Parses and translates the embedded packet
//! and checks that only what should change did.

use tandem_wire::{checksum, icmp6_error, ipv4};

/// Between whom the message went: any two will do.
const OUTER: (u128, u128) = (0x2001_0db8 << 96 | 1, 0x2001_0db8 << 96 | 2);

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((choice, message)) = data.split_first_chunk::<37>() else {
        return;
    };
    let end = |at: usize| {
        let c = &choice[at..];
        let address = c.first_chunk().map_or(0, |a| u128::from_be_bytes(*a));
        (address, u16::from_be_bytes([c[16], c[17]]))
    };
    let src = (choice[0] & 1 != 0).then(|| end(1));
    let dst = (choice[0] & 2 != 0).then(|| end(19));
    let mut message = message.to_vec();
    if choice[0] & 4 != 0 && message.len() >= 4 {
        // A right outer checksum is hard to guess.
        message[2..4].fill(0);
        let pseudo = checksum::pseudo_v6(OUTER.0, OUTER.1, ipv4::ICMPV6, message.len() as u32);
        let sum = pseudo.slice(&message).finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let mut copy = message.clone();
    let rewritten = icmp6_error::rewrite_embedded(&mut copy, src, dst);
    let Ok(before) = icmp6_error::parse(&message, OUTER.0, OUTER.1) else {
        assert!(rewritten.is_none());
        assert_eq!(copy, message);
        return;
    };
    assert!(rewritten.is_some());
    let after = icmp6_error::parse(&copy, OUTER.0, OUTER.1).expect("still an error");
    let (old, new) = (before.embedded, after.embedded);
    assert_eq!(new.src, src.map_or(old.src, |s| s.0));
    assert_eq!(new.dst, dst.map_or(old.dst, |d| d.0));
    if old.sport().is_some() && src.is_some() {
        assert_eq!(new.sport(), src.map(|s| s.1));
    }
    assert_eq!(before.checksum_ok, after.checksum_ok);
    assert_eq!(
        (old.end, old.l4_offset, old.payload_len),
        (new.end, new.l4_offset, new.payload_len)
    );
    let (l4, end) = (usize::from(old.l4_offset), usize::from(old.end));
    assert_eq!(copy.get(48..l4), message.get(48..l4));
    assert_eq!(copy.get(end..), message.get(end..));
}
