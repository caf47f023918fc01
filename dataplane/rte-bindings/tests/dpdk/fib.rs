//! Forwarding tables.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rte_bindings::{Fib4, Fib6, FibConfig, FibError};

use crate::common::eal;

const DEFAULT: u32 = 999;

fn config(name: &str, max_routes: u32, num_tbl8: u32) -> FibConfig {
    FibConfig {
        name: name.to_owned(),
        max_routes,
        num_tbl8,
        default_next_hop: DEFAULT,
        socket: None,
    }
}

fn ip(text: &str) -> u32 {
    text.parse::<std::net::Ipv4Addr>().unwrap().into()
}

fn ip6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

#[test]
fn v4_longest_match_wins_and_deletes_restore() {
    let mut fib = Fib4::create(eal(), &config("v4_basic", 64, 8)).unwrap();
    let reader = fib.reader();
    assert_eq!(reader.lookup(ip("10.1.2.3")), DEFAULT);
    fib.add(0, 0, 1).unwrap();
    fib.add(ip("10.0.0.0"), 8, 2).unwrap();
    fib.add(ip("10.1.2.77"), 24, 3).unwrap();
    fib.add(ip("10.1.2.128"), 25, 4).unwrap();
    fib.add(ip("10.1.2.200"), 32, BIG).unwrap();
    let addresses = [
        "192.0.2.1",
        "10.255.255.255",
        "10.1.2.127",
        "10.1.2.128",
        "10.1.2.200",
        "10.1.3.0",
    ]
    .map(ip);
    let mut next_hops = [0; 6];
    assert_eq!(reader.lookup_bulk(&addresses, &mut next_hops), 6);
    assert_eq!(next_hops, [1, 2, 3, 4, u64::from(BIG), 2]);

    fib.add(ip("10.1.2.0"), 24, 7).unwrap();
    fib.delete(ip("10.1.2.200"), 32).unwrap();
    fib.delete(ip("10.0.0.0"), 8).unwrap();
    reader.lookup_bulk(&addresses, &mut next_hops);
    assert_eq!(next_hops, [1, 1, 7, 4, 4, 1]);
    fib.delete(ip("10.1.2.128"), 25).unwrap();
    fib.delete(ip("10.1.2.0"), 24).unwrap();
    fib.delete(0, 0).unwrap();
    reader.lookup_bulk(&addresses, &mut next_hops);
    assert_eq!(next_hops, [u64::from(DEFAULT); 6]);
    assert!(matches!(fib.delete(0, 0), Err(FibError::NotFound)));

    let mut short = [0; 2];
    assert_eq!(reader.lookup_bulk(&addresses, &mut short), 2);
    assert_eq!(reader.lookup_bulk(&[], &mut short), 0);
}

/// The largest next hop.
pub const BIG: u32 = rte_bindings::fib::NEXT_HOP_MAX;

#[test]
fn v4_refuses_what_it_cannot_hold() {
    let mut fib = Fib4::create(eal(), &config("v4_limits", 4, 64)).unwrap();
    assert!(matches!(fib.add(0, 33, 1), Err(FibError::PrefixLength(33))));
    assert!(matches!(fib.add(0, 8, 0), Err(FibError::NextHop(0))));
    assert!(matches!(fib.add(0, 8, BIG + 1), Err(FibError::NextHop(_))));
    // The tree of routes has 2 * max_routes nodes, so up to twice as many fit.
    let fitted = (0..16u32)
        .take_while(|n| fib.add(n << 24, 8, n + 1).is_ok())
        .count();
    assert!((4..=8).contains(&fitted), "{fitted}");
    assert!(matches!(fib.add(200 << 24, 8, 1), Err(FibError::Full)));
    assert_eq!(fib.reader().lookup(200 << 24), DEFAULT);

    let create = |config| Fib4::create(eal(), &config).map(|_| ());
    assert!(matches!(
        create(config("", 4, 4)),
        Err(FibError::Range { what: "name", .. })
    ));
    assert!(matches!(
        create(config(&"x".repeat(21), 4, 4)),
        Err(FibError::Range { what: "name", .. })
    ));
    assert!(matches!(
        create(config("a", 0, 4)),
        Err(FibError::Range {
            what: "max_routes",
            ..
        })
    ));
    assert!(matches!(
        create(config("a", 4, 0)),
        Err(FibError::Range { what: "num_tbl8", .. })
    ));
    assert!(
        matches!(create(config("v4_limits", 4, 4)), Err(FibError::Create { .. })),
        "name in use"
    );
}

#[test]
fn v4_groups_run_out_and_come_back() {
    // DPDK rounds the number of groups up to a multiple of 64.
    let mut fib = Fib4::create(eal(), &config("v4_groups", 512, 64)).unwrap();
    let prefix = |n: u32| ip("10.0.0.64") + (n << 8);
    for round in 1..=2 {
        let fitted = (0..200)
            .take_while(|&n| fib.add(prefix(n), 26, round).is_ok())
            .count() as u32;
        assert!((60..=64).contains(&fitted), "{fitted}");
        assert!(matches!(fib.add(prefix(fitted), 26, 1), Err(FibError::Full)));
        let reader = fib.reader();
        assert_eq!(reader.lookup(prefix(fitted)), DEFAULT);
        for n in 0..fitted {
            assert_eq!(
                (reader.lookup(prefix(n)), reader.lookup(prefix(n) - 1)),
                (round, DEFAULT)
            );
            fib.delete(prefix(n), 26).unwrap();
            assert_eq!(reader.lookup(prefix(n)), DEFAULT);
        }
    }
}

/// 100 000 routes of mixed lengths against a reference that tries each length.
#[test]
fn v4_many_routes_match_a_reference() {
    let mut fib = Fib4::create(eal(), &config("v4_many", 100_000, 16_384)).unwrap();
    let mut reference = HashMap::new();
    let mut random = Random(1);
    while reference.len() < 100_000 {
        let length = [8, 16, 19, 20, 22, 24, 24, 24, 24, 24][random.below(10) as usize];
        let length = if random.below(20) == 0 {
            25 + random.below(8) as u8
        } else {
            length
        };
        let prefix = mask(random.next(), length);
        let next_hop = 1 + random.below(1000);
        fib.add(prefix, length, next_hop).unwrap();
        reference.insert((prefix, length), next_hop);
    }
    compare(&fib, &reference, &mut random);
    let half: Vec<_> = reference
        .keys()
        .copied()
        .filter(|key| key.0 & 0x100 != 0)
        .collect();
    for (prefix, length) in half {
        fib.delete(prefix, length).unwrap();
        reference.remove(&(prefix, length));
    }
    compare(&fib, &reference, &mut random);
}

fn compare(fib: &Fib4, reference: &HashMap<(u32, u8), u32>, random: &mut Random) {
    let reader = fib.reader();
    let near: Vec<u32> = reference
        .keys()
        .map(|key| key.0 ^ random.below(4))
        .take(50_000)
        .collect();
    let anywhere: Vec<u32> = (0..50_000).map(|_| random.next()).collect();
    for addresses in [near, anywhere] {
        let mut next_hops = vec![0; addresses.len()];
        reader.lookup_bulk(&addresses, &mut next_hops);
        for (&address, &got) in addresses.iter().zip(&next_hops) {
            let mut lengths = (0..=32).rev();
            let expect = lengths.find_map(|length| reference.get(&(mask(address, length), length)));
            assert_eq!(got, u64::from(*expect.unwrap_or(&DEFAULT)), "{address:08x}");
        }
    }
}

/// A stable route is found throughout, whatever happens to others, and a changing one is old or new.
#[test]
fn v4_readers_go_on_during_changes() {
    let mut fib = Fib4::create(eal(), &config("v4_readers", 64, 64)).unwrap();
    fib.add(ip("10.0.0.0"), 8, 1).unwrap();
    let reader = fib.reader();
    let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let addresses = [ip("10.9.9.9"), ip("10.1.0.1")];
            let mut next_hops = [0; 2];
            while !stop.load(Ordering::Relaxed) {
                reader.lookup_bulk(&addresses, &mut next_hops);
                ready.store(true, Ordering::Relaxed);
                assert_eq!(next_hops[0], 1);
                assert!([1, 2].contains(&next_hops[1]), "{}", next_hops[1]);
            }
        });
        while !ready.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        for _ in 0..20_000 {
            fib.add(ip("10.1.0.0"), 16, 2).unwrap();
            fib.delete(ip("10.1.0.0"), 16).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(fib);
    assert_eq!(reader.lookup(ip("10.9.9.9")), 1, "a reader keeps the table");
}

#[test]
fn v6_longest_match_wins_and_deletes_restore() {
    let mut fib = Fib6::create(eal(), &config("v6_basic", 64, 256)).unwrap();
    let reader = fib.reader();
    let routes = [
        ("::", 0, 1),
        ("2001:db8::", 32, 2),
        ("2001:db8:1::", 48, 3),
        ("2001:db8:1:2::", 64, 4),
        ("2001:db8:1:2::3", 128, BIG),
        ("64:ff9b::", 96, 6),
    ];
    for (prefix, length, next_hop) in routes {
        fib.add(ip6(prefix), length, next_hop).unwrap();
    }
    let addresses = [
        "2a00::1",
        "2001:db8:2::",
        "2001:db8:1:ffff::1",
        "2001:db8:1:2::2",
        "2001:db8:1:2::3",
        "64:ff9b::198.51.100.1",
        "64:ff9b::1:0:0",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]
    .map(ip6);
    let mut next_hops = [0; 8];
    assert_eq!(reader.lookup_bulk(&addresses, &mut next_hops), 8);
    assert_eq!(next_hops, [1, 2, 3, 4, u64::from(BIG), 6, 1, 1]);
    assert_eq!(reader.lookup(addresses[3]), 4);

    for (prefix, length) in [("2001:db8:1:2::3", 128), ("2001:db8:1::", 48), ("::", 0)] {
        fib.delete(ip6(prefix), length).unwrap();
    }
    reader.lookup_bulk(&addresses, &mut next_hops);
    let default = u64::from(DEFAULT);
    assert_eq!(next_hops, [default, 2, 2, 4, 4, 6, default, default]);
    assert!(matches!(fib.delete(ip6("::"), 0), Err(FibError::NotFound)));
    assert!(matches!(
        fib.add(ip6("::"), 129, 1),
        Err(FibError::PrefixLength(129))
    ));
    assert!(matches!(fib.add(ip6("::"), 1, 0), Err(FibError::NextHop(0))));
}

fn mask(address: u32, length: u8) -> u32 {
    if length == 0 {
        0
    } else {
        address & (u32::MAX << (32 - length))
    }
}

/// xorshift: repeatable numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.next() % bound
    }
}
