//! Tests of held SYNs: by example, and random operations compared with a list.

use proptest::prelude::*;
use tandem_wire::{Fragment, Ipv4Meta, L4, ipv4, tcp};

use super::*;
use crate::packet::Side;

fn syn(src: u32, sport: u16) -> Desc {
    let meta = Ipv4Meta {
        src,
        dst: 0xcb00_7101,
        l4: L4::Tcp {
            sport,
            dport: 443,
            flags: tcp::SYN,
        },
        l4_offset: 20,
        total_len: 40,
        id: 0,
        fragment_offset: 0,
        fragment: Fragment::None,
        more_fragments: false,
        dont_fragment: true,
        proto: ipv4::TCP,
        ttl: 64,
        tos: 0,
    };
    Desc::new(meta, 3, Side::Outside)
}

fn held(capacity: u32) -> HeldSyns<u32> {
    HeldSyns::new(capacity, HashKeys::new(5)).unwrap()
}

fn due(held: &mut HeldSyns<u32>, now: u32) -> Vec<u32> {
    std::iter::from_fn(|| held.due(Ticks(now)))
        .map(|(_, packet)| packet)
        .collect()
}

#[test]
fn t5_a_syn_is_held_six_seconds_and_comes_back_as_it_was() {
    let mut h = held(4);
    assert_eq!(h.hold(Ticks(100), syn(1, 7), 11), Ok(()));
    assert_eq!(h.hold(Ticks(101), syn(2, 7), 12), Ok(()));
    assert_eq!(due(&mut h, 160), []);
    let (desc, packet) = h.due(Ticks(161)).unwrap();
    assert_eq!((desc.meta.src, desc.sport, desc.interface, packet), (1, 7, 3, 11));
    assert_eq!(due(&mut h, 161), []);
    assert_eq!(due(&mut h, 162), [12]);
    assert!(h.is_empty());
}

#[test]
fn t5_a_repeated_syn_comes_back_and_leaves_the_original_its_time() {
    let mut h = held(4);
    assert_eq!(h.hold(Ticks(100), syn(1, 7), 11), Ok(()));
    let again = Err((12, DropReason::TcpUnsolicitedSyn));
    assert_eq!(h.hold(Ticks(130), syn(1, 7), 12), again);
    assert_eq!(due(&mut h, 161), [11]);
    assert_eq!(h.hold(Ticks(170), syn(1, 7), 13), Ok(()), "known no longer");
}

#[test]
fn a_full_store_gives_the_packet_back() {
    let mut h = held(2);
    assert_eq!(h.hold(Ticks(0), syn(1, 1), 1), Ok(()));
    assert_eq!(h.hold(Ticks(0), syn(1, 2), 2), Ok(()));
    let full = Err((3, DropReason::TcpUnsolicitedFull));
    assert_eq!(h.hold(Ticks(0), syn(1, 3), 3), full);
    assert_eq!(h.take().map(|t| t.1), Some(1));
    assert_eq!(h.hold(Ticks(0), syn(1, 3), 3), Ok(()));
    assert_eq!(h.len(), 2);

    let mut none = held(0);
    let full = Err((1, DropReason::TcpUnsolicitedFull));
    assert_eq!(none.hold(Ticks(0), syn(1, 1), 1), full);
    assert!(none.due(Ticks(1000)).is_none() && none.take().is_none());
}

#[derive(Clone, Debug)]
enum Op {
    Hold { src: u32, sport: u16 },
    Due { most: usize },
    Take,
    Advance(u32),
    SetBack(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..6u32, 0..4u16).prop_map(|(src, sport)| Op::Hold { src, sport }),
        6 => (1..5usize).prop_map(|most| Op::Due { most }),
        1 => Just(Op::Take),
        8 => (0..40u32).prop_map(Op::Advance),
        1 => (0..100u32).prop_map(Op::SetBack),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_list(capacity in 1..20u32, ops in proptest::collection::vec(op(), 0..400)) {
        let mut h = held(capacity);
        let mut list: Vec<(u32, u16, u32, u32)> = Vec::new();
        let (mut now, mut clock, mut token) = (500u32, 0u32, 0u32);
        let mut out = Vec::new();
        for op in ops {
            match op {
                Op::Hold { src, sport } => {
                    clock = clock.max(now);
                    let expected = if list.iter().any(|e| (e.0, e.1) == (src, sport)) {
                        Err((token, DropReason::TcpUnsolicitedSyn))
                    } else if list.len() == capacity as usize {
                        Err((token, DropReason::TcpUnsolicitedFull))
                    } else {
                        list.push((src, sport, token, clock));
                        Ok(())
                    };
                    let got = h.hold(Ticks(now), syn(src, sport), token);
                    out.extend(got.err().map(|e| e.0));
                    prop_assert_eq!(got, expected);
                    token += 1;
                }
                Op::Due { most } => {
                    clock = clock.max(now);
                    for _ in 0..most {
                        let is_due = list.first().is_some_and(|e| clock - e.3 > 60);
                        let expected = is_due.then(|| list.remove(0)).map(|e| (e.0, e.1, e.2));
                        let got = h.due(Ticks(now)).map(|(d, p)| (d.meta.src, d.sport, p));
                        out.extend(got.map(|g| g.2));
                        prop_assert_eq!(got, expected);
                    }
                }
                Op::Take => {
                    let expected = (!list.is_empty()).then(|| list.remove(0).2);
                    let got = h.take().map(|t| t.1);
                    out.extend(got);
                    prop_assert_eq!(got, expected);
                }
                Op::Advance(ticks) => now += ticks,
                Op::SetBack(ticks) => now = now.saturating_sub(ticks),
            }
            prop_assert_eq!(h.len() as usize, list.len());
        }
        while let Some((_, packet)) = h.take() {
            out.push(packet);
        }
        prop_assert!(h.index.is_empty());
        out.sort_unstable();
        prop_assert_eq!(out, Vec::from_iter(0..token), "every packet exactly once");
    }
}
