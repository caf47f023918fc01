//! Input: 13 octets that choose the translation, then an ICMP message. Parses and translates the embedded packet
//! and checks that only what should change did.

use tandem_wire::{checksum, icmp_error};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((choice, message)) = data.split_first_chunk::<13>() else {
        return;
    };
    let end = |at: usize| {
        let c = &choice[at..];
        (
            u32::from_be_bytes([c[0], c[1], c[2], c[3]]),
            u16::from_be_bytes([c[4], c[5]]),
        )
    };
    let src = (choice[0] & 1 != 0).then(|| end(1));
    let dst = (choice[0] & 2 != 0).then(|| end(7));
    let mut message = message.to_vec();
    if choice[0] & 4 != 0 && message.len() >= 4 {
        // A right outer checksum is hard to guess.
        message[2..4].fill(0);
        let sum = checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let mut copy = message.clone();
    let rewritten = icmp_error::rewrite_embedded(&mut copy, src, dst);
    let Ok(before) = icmp_error::parse(&message) else {
        assert!(rewritten.is_none());
        assert_eq!(copy, message);
        return;
    };
    assert!(rewritten.is_some());
    let after = icmp_error::parse(&copy).expect("still an error");
    let (old, new) = (before.embedded, after.embedded);
    assert_eq!(new.src, src.map_or(old.src, |s| s.0));
    assert_eq!(new.dst, dst.map_or(old.dst, |d| d.0));
    if old.sport().is_some() && src.is_some() {
        assert_eq!(new.sport(), src.map(|s| s.1));
    }
    assert_eq!(
        (before.checksum_ok, before.embedded_checksum_ok),
        (after.checksum_ok, after.embedded_checksum_ok)
    );
    assert_eq!(
        (old.end, old.l4_offset, old.total_len),
        (new.end, new.l4_offset, new.total_len)
    );
    let end = usize::from(old.end);
    assert_eq!(copy.get(end..), message.get(end..));
}
