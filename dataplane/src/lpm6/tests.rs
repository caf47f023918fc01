//! The IPv6 table against a naive search, at its limits, and read while it changes.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::atomic::AtomicBool;

use tandem_engine::hash::Rng;

use super::*;

type Routes = BTreeMap<(u128, u8), u16>;

fn ip(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().expect("an address").to_bits()
}

fn naive(routes: &Routes, address: u128) -> u16 {
    (0..=128u8)
        .rev()
        .find_map(|length| routes.get(&(masked(address, length), length)).copied())
        .unwrap_or(NEXT_HOP_NO_ROUTE)
}

/// A prefix that meets others often: few distinct bits, all lengths.
fn prefix(rng: &mut Rng) -> (u128, u8) {
    let length = match rng.below(4) {
        0 => rng.below(129) as u8,
        1 => [0, 16, 20, 32, 48, 64, 128][rng.below(7) as usize],
        2 => 40 + rng.below(12) as u8,
        _ => 120 + rng.below(9) as u8,
    };
    (masked(address(rng), length), length)
}

fn address(rng: &mut Rng) -> u128 {
    let mut bits = ip("2001:db8::");
    for at in [113, 110, 95, 84, 80, 79, 64, 9, 4, 3, 0] {
        bits ^= u128::from(rng.below(4) == 0) << at;
    }
    bits
}

#[test]
fn any_changes_leave_what_a_naive_search_finds() {
    let start = Instant::now();
    for seed in 0..20 {
        let (mut rng, mut routes) = (Rng::new(seed), Routes::new());
        let mut lpm = Lpm6::new(4000);
        let reader = lpm.reader();
        for step in 0..600u64 {
            let now = start + Duration::from_millis(step * 100);
            let (network, length) = prefix(&mut rng);
            let known = routes.keys().copied().nth(rng.below(40) as usize);
            match (rng.below(2), known) {
                (0, Some((network, length))) => {
                    routes.remove(&(network, length));
                    lpm.remove(network, length, |n, l| routes.get(&(n, l)).copied(), now);
                }
                _ => {
                    let next_hop = 1 + rng.below(60_000) as u16;
                    lpm.set(network, length, next_hop, now).expect("room");
                    routes.insert((network, length), next_hop);
                }
            }
            for _ in 0..20 {
                let address = address(&mut rng);
                assert_eq!(
                    reader.lookup(address),
                    naive(&routes, address),
                    "seed {seed} step {step} {address:x}"
                );
            }
        }
        for (network, length) in routes.keys().copied().collect::<Vec<_>>() {
            assert_eq!(reader.lookup(network), naive(&routes, network));
            routes.remove(&(network, length));
            lpm.remove(network, length, |n, l| routes.get(&(n, l)).copied(), start);
        }
        assert_eq!(lpm.used(), 0, "nothing is left of them");
        assert!(
            lpm.table
                .root
                .iter()
                .all(|cell| cell.load(Ordering::Relaxed) == 0),
            "seed {seed}"
        );
    }
}

#[test]
fn a_full_table_stays_as_it_was_and_groups_come_back_after_a_rest() {
    let mut now = Instant::now();
    let step = Duration::from_millis(10);
    let full = |used, later| Full { used, later };
    // A /48 alone needs 8 groups.
    let mut lpm = Lpm6::new(10);
    lpm.set(ip("2001:db8:1::"), 48, 5, now).expect("room");
    assert_eq!(lpm.used(), 8);
    lpm.set(ip("2001:db8:10::"), 48, 6, now)
        .expect("the last group is another");
    assert_eq!(lpm.used(), 9);
    assert_eq!(lpm.set(ip("2001:db9::"), 48, 7, now), Err(full(9, None)));
    assert_eq!(lpm.used(), 9, "nothing was begun");
    let reader = lpm.reader();
    assert_eq!(
        ["2001:db8:1::1", "2001:db8:10::1", "2001:db9::1"].map(|a| reader.lookup(ip(a))),
        [5, 6, 0]
    );
    // Routes come and go as long as they like; groups rest, so it takes time.
    lpm.remove(ip("2001:db8:1::"), 48, |_, _| None, now);
    lpm.remove(ip("2001:db8:10::"), 48, |_, _| None, now);
    assert_eq!(lpm.used(), 0);
    now += 2 * step;
    assert_eq!(
        lpm.set(ip("2a00::"), 48, 7, now),
        Err(full(0, Some(REST - 2 * step))),
        "they rest"
    );
    for i in 0..10_000u128 {
        now += REST;
        lpm.set(ip("2a00::") + (i << 80), 48, 7, now).expect("rested");
        assert_eq!(reader.lookup(ip("2a00::") + (i << 80) + 9), 7);
        lpm.remove(ip("2a00::") + (i << 80), 48, |_, _| None, now);
    }
    assert_eq!(lpm.used(), 0);
}

#[test]
fn readers_go_on_during_changes() {
    let mut lpm = Lpm6::new(4000);
    let now = Instant::now();
    lpm.set(ip("2001:db8::"), 32, 1, now).expect("room");
    let reader = lpm.reader();
    let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(reader.lookup(ip("2001:db8:9::1")), 1);
                let changing = reader.lookup(ip("2001:db8:1:2::3"));
                assert!([1, 2, 3].contains(&changing), "{changing}");
                ready.store(true, Ordering::Relaxed);
            }
        });
        while !ready.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        for i in 0..20_000u64 {
            let now = now + REST * i as u32;
            lpm.set(ip("2001:db8:1::"), 48, 2, now).expect("room");
            lpm.set(ip("2001:db8:1:2::3"), 128, 3, now).expect("room");
            let others = |n, l| ((n, l) == (ip("2001:db8:1::"), 48)).then_some(2);
            lpm.remove(ip("2001:db8:1:2::3"), 128, others, now);
            lpm.remove(ip("2001:db8:1::"), 48, |_, _| None, now);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
