//! Packet classification.

use std::num::NonZeroU32;

use rte_bindings::acl::{BATCH, FieldOrder, Ipv4Prefix, Ipv6Prefix, Key4, Key6, PRIORITY_MAX, V4, V6};
use rte_bindings::{AclConfig, AclError, AclRule, AclRules, heap_usage};

use crate::common::eal;

const ALL: (u16, u16) = (0, u16::MAX);

fn p4(text: &str, length: u8) -> Ipv4Prefix {
    let address = text.parse::<std::net::Ipv4Addr>().unwrap().into();
    Ipv4Prefix { address, length }
}

fn p6(text: &str, length: u8) -> Ipv6Prefix {
    let address = text.parse::<std::net::Ipv6Addr>().unwrap().into();
    Ipv6Prefix { address, length }
}

fn rule<P>(source: P, destination: P, priority: u32, userdata: u32) -> AclRule<P> {
    AclRule {
        source,
        destination,
        source_ports: ALL,
        destination_ports: ALL,
        protocol: None,
        priority,
        userdata: NonZeroU32::new(userdata).unwrap(),
    }
}

fn key4(source: &str, destination: &str, ports: (u16, u16), protocol: u8) -> Key4 {
    let [source, destination] = [source, destination].map(|a| p4(a, 32).address);
    Key4::new(source, destination, ports.0, ports.1, protocol)
}

fn key6(source: &str, destination: &str, ports: (u16, u16), protocol: u8) -> Key6 {
    let [source, destination] = [source, destination].map(|a| p6(a, 128).address);
    Key6::new(source, destination, ports.0, ports.1, protocol)
}

#[test]
fn v4_every_field_counts_and_the_highest_priority_wins() {
    let mut rules = AclRules::<V4>::new();
    let (inside, any) = (p4("10.1.2.3", 8), p4("0.0.0.0", 0));
    let web = AclRule {
        destination_ports: (80, 443),
        protocol: Some(6),
        ..rule(inside, any, 30, 7)
    };
    rules.push(&web).unwrap();
    let from_low = AclRule {
        source_ports: (0, 1023),
        ..rule(any, p4("192.0.2.1", 32), 20, u32::MAX)
    };
    rules.push(&from_low).unwrap();
    rules.push(&rule(inside, any, 10, 9)).unwrap();

    let cases = [
        (key4("10.0.0.0", "8.8.8.8", (5, 80), 6), 7),
        (key4("10.255.255.255", "8.8.8.8", (5, 443), 6), 7),
        (key4("10.255.255.255", "8.8.8.8", (5, 444), 6), 9),
        (key4("10.255.255.255", "8.8.8.8", (5, 79), 6), 9),
        (key4("10.0.0.1", "8.8.8.8", (5, 80), 17), 9),
        (key4("11.0.0.0", "8.8.8.8", (5, 80), 6), 0),
        (key4("9.255.255.255", "192.0.2.1", (1023, 80), 6), u32::MAX),
        (key4("9.255.255.255", "192.0.2.1", (1024, 80), 6), 0),
        (key4("9.255.255.255", "192.0.2.0", (0, 80), 6), 0),
        (key4("10.0.0.1", "192.0.2.1", (0, 65535), 255), u32::MAX),
        (key4("10.0.0.1", "192.0.2.1", (0, 80), 6), 7),
    ];
    let (keys, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for order in FieldOrder::ALL {
        let settings = AclConfig {
            order,
            ..AclConfig::default()
        };
        let acl = rules.clone().build(eal(), &settings).unwrap();
        assert_eq!(acl.rules(), 3);
        let mut results = vec![1; keys.len()];
        assert_eq!(acl.classify(&keys, &mut results), keys.len());
        assert_eq!(results, expected, "{order:?}");
        for (key, expected) in cases {
            assert_eq!(acl.classify_one(key), NonZeroU32::new(expected), "{key:?}");
        }
    }
}

#[test]
fn v6_prefixes_end_in_any_word() {
    let mut rules = AclRules::<V6>::new();
    let any = p6("::", 0);
    let lengths = [0, 1, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128];
    let base = "2001:db8:5555:aaaa:5555:aaaa:5555:aaaa";
    for (n, &length) in lengths.iter().enumerate() {
        rules
            .push(&rule(p6(base, length), any, n as u32 + 1, u32::from(length) + 1))
            .unwrap();
    }
    rules.push(&rule(any, p6(base, 77), PRIORITY_MAX, 999)).unwrap();
    let address = p6(base, 128).address;
    for order in FieldOrder::ALL {
        let settings = AclConfig {
            order,
            ..AclConfig::default()
        };
        let acl = rules.clone().build(eal(), &settings).unwrap();
        for &length in &lengths[..lengths.len() - 1] {
            // Differs in the bit behind `length`: no longer prefix matches, shorter ones do.
            let near = address ^ (1 << (127 - length));
            let expected = lengths.iter().rfind(|&&l| l <= length).unwrap() + 1;
            let key = Key6::new(near, 0, 1, 2, 3);
            assert_eq!(acl.classify_one(key).unwrap().get(), expected.into(), "/{length}");
        }
        assert_eq!(acl.classify_one(key6(base, "::1", (1, 2), 3)).unwrap().get(), 129);
        assert_eq!(acl.classify_one(key6("::", base, (1, 2), 3)).unwrap().get(), 999);
        let outside = Key6::new(0, address ^ (1 << 51), 1, 2, 3);
        assert_eq!(acl.classify_one(outside).unwrap().get(), 2, "/1");
    }
}

#[test]
fn batches_of_every_length_give_what_single_keys_give() {
    let mut rules = AclRules::<V4>::new();
    for n in 0..200u32 {
        let one = rule(
            p4(&format!("10.0.{n}.0"), 24),
            p4("0.0.0.0", 0),
            PRIORITY_MAX - n,
            n + 1,
        );
        rules.push(&one).unwrap();
    }
    let acl = rules.build(eal(), &AclConfig::default()).unwrap();
    let keys: Vec<_> = (0..3 * BATCH as u32 + 7)
        .map(|n| Key4::new(0x0a00_0000 | (n * 7 % 256) << 8 | n & 0xff, n, 1, 2, 6))
        .collect();
    let single: Vec<_> = keys
        .iter()
        .map(|&k| acl.classify_one(k).map_or(0, NonZeroU32::get))
        .collect();
    assert!(single.contains(&0) && single.contains(&1) && single.contains(&200));
    for n in 0..=keys.len() {
        let mut results = vec![12345; n];
        assert_eq!(acl.classify(&keys, &mut results), n);
        assert_eq!(results, single[..n]);
        let mut long = vec![12345; keys.len()];
        assert_eq!(acl.classify(&keys[..n], &mut long), n);
        assert_eq!(long[..n], single[..n]);
        assert!(long[n..].iter().all(|&r| r == 12345), "places without a key stay");
    }
}

#[test]
fn threads_share_one_and_dropping_frees_it() {
    let before = heap_usage(eal(), 0).unwrap();
    let mut rules = AclRules::<V4>::new();
    for n in 0..20_000u32 {
        let address = 0x0a00_0000 | n << 8;
        let one = rule(Ipv4Prefix { address, length: 24 }, p4("0.0.0.0", 0), 1, n + 1);
        rules.push(&one).unwrap();
    }
    let (quarter, all) = (rules.part(4).len(), rules.part(1).len());
    assert!(
        (4500..5500).contains(&quarter) && all == 20_000,
        "{quarter}, {all}"
    );
    let acl = rules.build(eal(), &AclConfig::default()).unwrap();
    let during = heap_usage(eal(), 0).unwrap();
    assert!(during.allocated > before.allocated + 20_000 * 96, "{during:?}");
    std::thread::scope(|scope| {
        for start in 0..4 {
            let acl = &acl;
            scope.spawn(move || {
                for n in (start..20_000).step_by(4) {
                    let key = Key4::new(0x0a00_0001 | n << 8, n, 1, 2, 6);
                    assert_eq!(acl.classify_one(key).unwrap().get(), n + 1);
                }
            });
        }
    });
    std::thread::spawn(move || drop(acl)).join().unwrap();
    // Other tests of this binary take and free memory meanwhile, but none that much.
    let after = heap_usage(eal(), 0).unwrap();
    assert!(during.allocated > after.allocated + 19_000 * 96, "{after:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let good = rule(p4("10.0.0.0", 8), p4("0.0.0.0", 0), 1, 1);
    let refused = |rule: AclRule<Ipv4Prefix>, expected: &str| {
        let mut rules = AclRules::<V4>::new();
        match rules.push(&rule) {
            Err(AclError::Range { what }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert!(rules.is_empty());
    };
    refused(AclRule { priority: 0, ..good }, "priority");
    let priority = PRIORITY_MAX + 1;
    refused(AclRule { priority, ..good }, "priority");
    let wrong = (2, 1);
    refused(
        AclRule {
            source_ports: wrong,
            ..good
        },
        "source ports",
    );
    refused(
        AclRule {
            destination_ports: wrong,
            ..good
        },
        "destination ports",
    );
    let source = p4("10.0.0.0", 33);
    refused(AclRule { source, ..good }, "source");
    let destination = p4("10.0.0.0", 255);
    refused(AclRule { destination, ..good }, "destination");
    let mut rules = AclRules::<V6>::new();
    let long = rule(p6("::", 129), p6("::", 0), 1, 1);
    assert_eq!(rules.push(&long), Err(AclError::Range { what: "source" }));

    let limits = AclConfig::default();
    let empty = AclRules::<V6>::new().build(eal(), &limits);
    assert_eq!(empty.unwrap_err(), AclError::Empty);
    let mut rules = AclRules::<V4>::new();
    rules.push(&good).unwrap();
    let build = |limits: &AclConfig| rules.clone().build(eal(), limits).map(|acl| acl.rules());
    let none = AclConfig {
        max_bytes: 0,
        ..limits
    };
    assert_eq!(build(&none), Err(AclError::Range { what: "max_bytes" }));
    let small = AclConfig {
        max_bytes: 1000,
        ..limits
    };
    assert_eq!(
        build(&small),
        Err(AclError::TooBig {
            rules: 1,
            max_bytes: 1000
        })
    );
    let nowhere = AclConfig {
        socket: Some(u32::MAX),
        ..limits
    };
    assert_eq!(build(&nowhere), Err(AclError::Range { what: "socket" }));
    assert_eq!(build(&limits), Ok(1));
}
