//! The table against a scan of all mappings.

use proptest::prelude::*;

use super::*;

const V4: u128 = 0xffff << 32;
/// Public addresses of the tests are BASE..BASE + SPAN.
const BASE: u32 = 0xc000_0200;
const SPAN: u32 = 24;
const INSIDE: u128 = V4 | 0x0a00_0000;

fn mapping(name: &str, inside: u128, first: u32, last: u32) -> StaticMapping {
    StaticMapping {
        name: name.into(),
        service_set: 1,
        number: 0,
        inside,
        public: AddressRange { first, last },
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    }
}

fn forward(
    name: &str,
    inside: u128,
    public: u32,
    protocol: u8,
    (from, to): (u16, u16),
    ports: u16,
) -> StaticMapping {
    StaticMapping {
        protocol,
        public_port: from,
        inside_port: to,
        ports,
        ..mapping(name, inside, public, public)
    }
}

/// How narrow a mapping is where it covers this end, and the other end.
fn inside_of(m: &StaticMapping, address: u32, protocol: u8, port: u16) -> Option<(u8, u128, u16)> {
    let (width, covered) = covers(m, protocol, port, m.public_port);
    let at = (m.public.first..=m.public.last).position(|a| a == address)? as u128;
    let other = if width == 2 {
        port.wrapping_sub(m.public_port).wrapping_add(m.inside_port)
    } else {
        port
    };
    covered.then_some((width, if m.to_one { m.inside } else { m.inside + at }, other))
}

fn public_of(m: &StaticMapping, set: u16, address: u128, protocol: u8, port: u16) -> Option<(u8, u32, u16)> {
    let many = m.public.first != m.public.last;
    if m.service_set != set || m.inbound_only || m.to_one && many {
        return None;
    }
    let (width, covered) = covers(m, protocol, port, m.inside_port);
    let public = (m.public.first..=m.public.last)
        .zip(m.inside..)
        .find(|(_, inside)| *inside == address)?
        .0;
    let other = if width == 2 {
        port.wrapping_sub(m.inside_port).wrapping_add(m.public_port)
    } else {
        port
    };
    covered.then_some((width, public, other))
}

fn covers(m: &StaticMapping, protocol: u8, port: u16, first: u16) -> (u8, bool) {
    match (m.protocol, m.ports) {
        (0, _) => (0, true),
        (p, 0) => (1, p == protocol),
        (p, n) => (
            2,
            p == protocol && port >= first && u32::from(port) < u32::from(first) + u32::from(n),
        ),
    }
}

/// Of all answers the narrowest, unless two are as narrow: then the mappings contradict each other.
fn narrowest<A: Copy>(answers: impl Iterator<Item = (u8, A, u16)>) -> Result<Option<(A, u16)>, ()> {
    let mut best: Option<(u8, A, u16)> = None;
    let mut seen = [0; 3];
    for answer in answers {
        seen[usize::from(answer.0)] += 1;
        if best.is_none_or(|b| b.0 < answer.0) {
            best = Some(answer);
        }
    }
    if seen.iter().any(|n| *n > 1) {
        Err(())
    } else {
        Ok(best.map(|b| (b.1, b.2)))
    }
}

prop_compose! {
    fn any_mapping()(
        first in 0..SPAN, more in prop_oneof![3 => Just(0u32), 1 => 0u32..10], inside in 0u128..200,
        v6 in prop::bool::weighted(0.2), set in 1u16..3, protocol in prop::sample::select(vec![0u8, 6, 17]),
        ports in 0u16..5, public_port in 0u16..12, inside_port in 0u16..12, to_one in prop::bool::weighted(0.2),
        inbound_only in prop::bool::weighted(0.2),
    ) -> StaticMapping {
        StaticMapping {
            service_set: set,
            to_one,
            protocol,
            ports: if protocol == 0 { 0 } else { ports },
            public_port,
            inside_port,
            inbound_only,
            ..mapping("m", if v6 { inside } else { INSIDE + inside }, BASE + first, (BASE + first + more).min(BASE + SPAN - 1))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_answers_as_a_scan_does(all in prop::collection::vec(any_mapping(), 0..12)) {
        // Mappings that contradict what is there already are refused, and left out.
        let mut kept: Vec<StaticMapping> = Vec::new();
        let mut table = StaticTable::default();
        for m in all {
            let mut with = kept.clone();
            with.push(m);
            let contradicts = scan(&with).is_none();
            match StaticTable::new(with.clone()) {
                Ok(t) => {
                    prop_assert!(!contradicts);
                    (kept, table) = (with, t);
                }
                Err(_) => prop_assert!(contradicts),
            }
        }
        prop_assert_eq!(table.iter().collect::<Vec<_>>(), kept.iter().collect::<Vec<_>>());
        let (publics, insides) = scan(&kept).expect("no contradiction was kept");
        for ((address, protocol, port), expected) in publics {
            let found = table.by_public(address, protocol, port);
            prop_assert_eq!(found.map(|f| (f.address, f.port)), expected);
            prop_assert!(found.is_none_or(|f| table.get(f.number) == Some(f.mapping)));
        }
        for ((set, address, protocol, port), expected) in insides {
            let found = table.by_inside(set, address, protocol, port);
            prop_assert_eq!(found.map(|f| (f.address, f.port)), expected);
        }
        for address in BASE - 2..BASE + SPAN + 2 {
            prop_assert_eq!(table.owns(address), kept.iter().any(|m| m.public.contains(address)));
        }
    }
}

type Answers<K, A> = Vec<(K, Option<(A, u16)>)>;

/// Every answer of a scan, or `None` when mappings contradict each other.
#[allow(clippy::type_complexity)] // Keys are the arguments of the two look-ups.
fn scan(
    all: &[StaticMapping],
) -> Option<(Answers<(u32, u8, u16), u128>, Answers<(u16, u128, u8, u16), u32>)> {
    let (mut publics, mut insides) = (Vec::new(), Vec::new());
    for (protocol, port) in [6u8, 17, 50]
        .into_iter()
        .flat_map(|p| (0..18).map(move |port| (p, port)))
    {
        for address in BASE - 1..=BASE + SPAN {
            let answer = narrowest(all.iter().filter_map(|m| inside_of(m, address, protocol, port))).ok()?;
            publics.push(((address, protocol, port), answer));
        }
        for set in 1..3 {
            for address in (0..212).flat_map(|n| [n, INSIDE + n]) {
                let found = all
                    .iter()
                    .filter_map(|m| public_of(m, set, address, protocol, port));
                insides.push(((set, address, protocol, port), narrowest(found).ok()?));
            }
        }
    }
    Some((publics, insides))
}

#[test]
fn a_forward_goes_before_basic_nat_of_its_address() {
    let table = StaticTable::new(vec![
        mapping("host", INSIDE + 1, BASE, BASE),
        forward("web", INSIDE + 2, BASE, 6, (80, 8080), 1),
        forward("mail", 0x2001_0db8 << 96, BASE, 6, (25, 25), 1),
    ])
    .unwrap();
    let inside = |protocol, port| table.by_public(BASE, protocol, port).map(|f| (f.address, f.port));
    assert_eq!(inside(6, 80), Some((INSIDE + 2, 8080)));
    assert_eq!(inside(6, 81), Some((INSIDE + 1, 81)));
    assert_eq!(inside(17, 80), Some((INSIDE + 1, 80)));
    assert_eq!(inside(47, 0), Some((INSIDE + 1, 0)));
    assert_eq!(inside(6, 25), Some((0x2001_0db8 << 96, 25)));
    let public = table.by_inside(1, INSIDE + 2, 6, 8080).unwrap();
    assert_eq!(
        (public.mapping.name.as_str(), public.address, public.port),
        ("web", BASE, 80)
    );
    assert_eq!(table.by_inside(1, INSIDE + 2, 6, 80), None);
    assert_eq!(table.by_inside(2, INSIDE + 1, 6, 80), None, "another service set");
}

#[test]
fn contradictions_name_both() {
    let text = |mappings| StaticTable::new(mappings).unwrap_err().to_string();
    assert_eq!(
        text(vec![
            mapping("net", INSIDE, BASE, BASE + 255),
            mapping("host", INSIDE + 1000, BASE + 9, BASE + 9),
        ]),
        "static mappings `net` and `host` both cover the public address 192.0.2.9, protocol 0, port 0 (protocol 0: any)"
    );
    let twice = vec![
        forward("a", INSIDE, BASE, 6, (80, 8080), 10),
        forward("b", INSIDE, BASE + 1, 6, (80, 8089), 1),
    ];
    assert_eq!(
        text(twice.clone()),
        "static mappings `a` and `b` both cover the inside address 10.0.0.0, protocol 6, port 8089 (protocol 0: any)"
    );
    // Two ways in are fine when only one is a way out.
    let mut twice = twice;
    twice[1].inbound_only = true;
    assert!(StaticTable::new(twice).is_ok());
}

#[test]
fn ports_beyond_the_last_do_not_exist() {
    let table = StaticTable::new(vec![forward("end", INSIDE, BASE, 17, (100, 65530), 50)]).unwrap();
    assert_eq!(table.by_public(BASE, 17, 105).map(|f| f.port), Some(65535));
    assert_eq!(table.by_public(BASE, 17, 106), None);
    assert_eq!(table.by_inside(1, INSIDE, 17, 65535).map(|f| f.port), Some(105));
}

#[test]
fn large_tables_are_found_through() {
    let many = (0..100_000u32)
        .map(|i| {
            let (public, port) = (BASE + i / 10, (i % 10) as u16 * 10);
            forward("f", INSIDE + u128::from(i), public, 6, (port, 1000), 10)
        })
        .chain([mapping("net", INSIDE + 0x10_0000, 0x0a00_0000, 0x0a00_ffff)])
        .collect();
    let table = StaticTable::new(many).unwrap();
    assert_eq!(table.by_public.entries_len(), 100_001, "a prefix costs one entry");
    for i in (0..100_000u32).step_by(37) {
        let port = (i % 10) as u16 * 10 + 7;
        let found = table.by_public(BASE + i / 10, 6, port).unwrap();
        assert_eq!(
            (found.number, found.address, found.port),
            (i, INSIDE + u128::from(i), 1007)
        );
        assert_eq!(
            table
                .by_inside(1, found.address, 6, 1007)
                .map(|f| (f.address, f.port)),
            Some((BASE + i / 10, port))
        );
    }
    let found = table.by_public(0x0a00_1234, 50, 0).unwrap();
    assert_eq!(found.address, INSIDE + 0x10_1234);
    assert!(table.owns(0x0a00_ffff) && !table.owns(0x0a01_0000) && table.owns(BASE + 9999));
}
