//! A full Internet table: a million routes through the route writer into the FIB, looked up, half of them withdrawn.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rte_bindings::{Eal, heap_usage};
use tandem_dataplane::routes::{Action, MaxRoutes, RouteWriter, Way};
use tandem_engine::drop_reason::DropReason;
use tandem_engine::hash::Rng;
use tandem_engine::packet::{RouteKind, Router};

const ROUTES: u32 = 1_000_000;

/// Network of route `i`: a /24 for each, spread over the unicast space, never twice.
fn network(i: u32) -> u32 {
    // An odd multiplier permutes the 2^21 numbers; 1.0.0.0 to 32.255.255.0.
    ((i.wrapping_mul(0x9E37_79B1) & 0x1f_ffff) << 8) + (1 << 24)
}

#[test]
fn a_million_routes_are_found_and_withdrawn() {
    let arguments = [
        "--no-huge",
        "--no-shconf",
        "--no-pci",
        "--no-telemetry",
        "--iova-mode=va",
        "-m",
        "1024",
    ];
    let arguments: Vec<String> = arguments
        .iter()
        .map(ToString::to_string)
        .chain(["--lcores".into(), "0@(0)".into()])
        .collect();
    let eal = Eal::init(&arguments).expect("EAL");
    let mut routes = RouteWriter::new(
        &eal,
        MaxRoutes {
            ipv4: ROUTES + 1000,
            ipv6: 1000,
        },
        HashMap::from([(1, 1500), (2, 9000)]),
    )
    .expect("FIB");
    let actions: Vec<Arc<Action>> = (0..8u8)
        .map(|n| {
            let gateway = Some(Ipv4Addr::new(192, 0, 2, n + 1).into());
            Arc::new(Action::Ways(vec![Way {
                interface: u16::from(n % 2) + 1,
                gateway,
                weight: 1,
            }]))
        })
        .collect();
    for i in 0..ROUTES {
        routes
            .set(network(i), 24, Arc::clone(&actions[(i % 8) as usize]))
            .expect("room for a full table");
    }
    routes.publish();
    let kernels = 2; // link-local and multicast
    assert_eq!(routes.route_count(), ROUTES as usize + kernels);
    println!("{ROUTES} routes: {:?}", heap_usage(&eal, 0));

    let reader = routes.reader();
    let mut rng = Rng::new(17);
    let kind = |i: u32, host: u32| reader.route(network(i) | (host & 0xff), 0).kind;
    for _ in 0..200_000 {
        let i = rng.below(ROUTES);
        let interface = (i % 8 % 2) as u16 + 1;
        let mtu = if interface == 1 { 1500 } else { 9000 };
        assert_eq!(kind(i, rng.draw() as u32), RouteKind::Forward { interface, mtu });
    }

    let before = reader.generation();
    for i in (0..ROUTES).step_by(2) {
        routes.remove(network(i), 24);
    }
    routes.publish();
    assert_ne!(reader.generation(), before, "sessions look their routes up again");
    assert_eq!(routes.route_count(), ROUTES as usize / 2 + kernels);
    for _ in 0..200_000 {
        let i = rng.below(ROUTES);
        let gone = kind(i, rng.draw() as u32) == RouteKind::Drop(DropReason::NoRoute);
        assert_eq!(gone, i.is_multiple_of(2));
    }
}
