//! Tests of the bounds: floods, full tables, work per call.

use super::*;

#[test]
fn u18_one_flooder_takes_a_quarter_and_the_others_go_on() {
    let mut f = fragments(16, 64);
    // Datagrams that never begin, and one that never ends its pieces.
    let mut outcomes = std::collections::BTreeMap::new();
    for id in 0..1000u16 {
        let outcome = match f.offer(Ticks(1), &udp(66, id % 500, 64, 64, true), 0, u32::from(id)) {
            Offer::Drop(_, reason) => reason.as_str(),
            Offer::Held => "held",
            Offer::Pass { .. } => "pass",
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    // 4 of 500 ids have an entry and come again as duplicates.
    let expected = [("fragment-overlap", 4), ("fragment-table-full", 992), ("held", 4)];
    assert_eq!(Vec::from_iter(outcomes), expected);
    for piece in 2..100u16 {
        let offer = f.offer(Ticks(1), &udp(66, 0, piece * 64, 64, true), 0, 0);
        let expected = if piece < 14 {
            Offer::Held
        } else {
            Offer::Drop(0, DropReason::FragmentStoreFull)
        };
        assert_eq!(offer, expected, "piece {piece}");
    }
    assert_eq!((f.reassemblies(), f.held()), (4, 16));
    // Everybody else, and what is whole.
    assert_eq!(f.offer(Ticks(1), &udp(5, 1, 64, 64, false), 0, 1), Offer::Held);
    assert_eq!(f.offer(Ticks(1), &udp(5, 1, 0, 64, true), 0, 2), pass(2));
    assert_eq!(released(&mut f), [1]);
    assert_eq!(f.offer(Ticks(1), &udp(66, 9, 0, 64, false), 0, 3), pass(3));
}

#[test]
fn u18_a_full_store_and_a_full_table_are_counted_and_recover() {
    let mut f = fragments(16, 16);
    for src in 0..4 {
        for piece in 1..5u16 {
            let meta = udp(src, 1, piece * 64, 64, true);
            assert_eq!(f.offer(Ticks(1), &meta, 0, 0), Offer::Held);
        }
    }
    let full = Offer::Drop(9, DropReason::FragmentStoreFull);
    assert_eq!(f.offer(Ticks(1), &udp(4, 1, 64, 64, true), 0, 9), full);
    assert_eq!(f.reassemblies(), 4, "what could not wait left nothing behind");
    for src in 4..16 {
        assert_eq!(f.offer(Ticks(1), &udp(src, 1, 0, 64, true), 0, 0), pass(0));
    }
    let full = Offer::Drop(9, DropReason::FragmentTableFull);
    assert_eq!(f.offer(Ticks(1), &udp(16, 1, 0, 64, true), 0, 9), full);
    assert_eq!(f.offer(Ticks(1), &udp(16, 1, 0, 64, false), 0, 9), pass(9));
    assert_eq!(expired(&mut f, 100).len(), 16);
    assert!(is_empty(&f));
    assert_eq!(f.offer(Ticks(100), &udp(16, 1, 0, 64, true), 0, 9), pass(9));
}

#[test]
fn expiry_does_bounded_work_per_call() {
    let mut f = fragments(4096, 4096);
    for src in 0..1000 {
        assert_eq!(f.offer(Ticks(1), &udp(src, 1, 64, 64, true), 0, src), Offer::Held);
    }
    let mut out = Vec::new();
    while !is_empty(&f) {
        let before = (f.reassemblies(), f.held());
        let packets = expired(&mut f, 1000);
        let steps = packets.len() as u32 + before.0 - f.reassemblies();
        assert!((1..=EXPIRE_MAX as u32).contains(&steps));
        out.extend(packets.into_iter().map(|(packet, _)| packet));
    }
    assert_eq!(out, Vec::from_iter(0..1000), "oldest first");
}

#[test]
fn more_pieces_than_tracked_refuse_the_datagram() {
    let mut f = fragments(8, 8);
    for piece in 0..PIECES_MAX as u16 {
        let meta = udp(1, 1, piece * 8, 8, true);
        assert_eq!(f.offer(Ticks(1), &meta, 0, 0), pass(0));
    }
    for piece in [PIECES_MAX as u16, PIECES_MAX as u16 + 1] {
        let meta = udp(1, 1, piece * 8, 8, true);
        assert_eq!(
            f.offer(Ticks(1), &meta, 0, 1),
            Offer::Drop(1, DropReason::FragmentTooMany)
        );
    }
}
