//! A full IPv6 Internet table through the route writer: filled, looked up, withdrawn; what it takes.
//!
//! Shaped like the real one: allocations of /29 and /32 lie densely in a few /12s, half of all prefixes are /48s, most of them
//! near others of the same allocation.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Instant;

use rte_bindings::Eal;
use tandem_dataplane::lpm6::GROUP_BYTES;
use tandem_dataplane::routes::{Action, MaxRoutes, RouteWriter, Way};
use tandem_engine::drop_reason::DropReason;
use tandem_engine::hash::Rng;
use tandem_engine::packet::{RouteKind, Router};

const ROUTES: usize = 250_000;
const LOOKUPS: u32 = 2_000_000;

fn prefix(rng: &mut Rng) -> (u128, u8) {
    let registry = [0x2001u128, 0x2400, 0x2600, 0x2804, 0x2a00, 0x2c0f][rng.below(6) as usize];
    let allocation = registry << 112 | u128::from(rng.below(6_000)) << 99; // a /29
    let length = match rng.below(100) {
        0..10 => 29,
        10..28 => 32,
        28..40 => 36,
        40..52 => 40,
        52..60 => 44,
        _ => 48,
    };
    let below = u128::from(rng.below(8)) << 96 | u128::from(rng.below(200)) << 80;
    ((allocation | below) & (u128::MAX << (128 - length)), length)
}

#[test]
fn a_full_ipv6_table_is_found_and_withdrawn() {
    let arguments = "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 128";
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let eal = Eal::init(&arguments).expect("EAL");
    let max = MaxRoutes {
        ipv4: 4096,
        ipv6: ROUTES as u32,
    };
    let mut routes = RouteWriter::new(&eal, max, HashMap::from([(1, 1500), (2, 9000)])).expect("tables");
    let actions: Vec<Arc<Action>> = (0..8u16)
        .map(|n| {
            Arc::new(Action::Ways(vec![Way {
                interface: n % 2 + 1,
                gateway: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n + 1).into()),
                weight: 1,
            }]))
        })
        .collect();
    let mut rng = Rng::new(6);
    let mut prefixes: HashMap<(u128, u8), u16> = HashMap::new();
    while prefixes.len() < ROUTES {
        let next_hop = rng.below(8) as u16;
        prefixes.insert(prefix(&mut rng), next_hop);
    }
    let start = Instant::now();
    for ((network, length), n) in &prefixes {
        routes
            .set6(*network, *length, Arc::clone(&actions[usize::from(*n)]))
            .expect("room for a full table");
    }
    routes.publish();
    println!("{ROUTES} routes filled in {:?}", start.elapsed());
    let groups = routes.groups6();
    let (taken, made) = (groups.used * GROUP_BYTES, groups.total * GROUP_BYTES);
    println!("{groups:?}: {} of {} MiB", taken >> 20, made >> 20);
    assert!(
        groups.used < groups.total * 3 / 4,
        "a table like this leaves room"
    );

    let reader = routes.reader();
    let most_specific = |address: u128| {
        (0..=128u8).rev().find_map(|length| {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            prefixes.get(&(address & mask, length)).copied()
        })
    };
    let targets: Vec<u128> = prefixes
        .keys()
        .map(|(network, _)| network | u128::from(rng.draw()))
        .collect();
    for address in &targets {
        let interface = most_specific(*address).expect("a route") % 2 + 1;
        let mtu = if interface == 1 { 1500 } else { 9000 };
        assert_eq!(
            reader.route6(*address, 0).kind,
            RouteKind::Forward { interface, mtu },
            "{address:x}"
        );
    }
    let start = Instant::now();
    for _ in 0..LOOKUPS {
        black_box(reader.route6(targets[rng.below(ROUTES as u32) as usize], 0));
    }
    println!(
        "{} ns a look-up",
        start.elapsed().as_nanos() / u128::from(LOOKUPS)
    );

    for (network, length) in prefixes.keys() {
        routes.remove6(*network, *length);
    }
    assert_eq!(routes.groups6().used, 0, "every group is back");
    for address in targets.iter().step_by(100) {
        assert_eq!(
            reader.route6(*address, 0).kind,
            RouteKind::Drop(DropReason::NoRoute)
        );
    }
}
