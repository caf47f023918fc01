//! The route writer and what workers read of it: both families against a naive longest match, and what routes say.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rte_bindings::Eal;
use tandem_dataplane::next_hop::Exit;
use tandem_dataplane::routes::{Action, MaxRoutes, RouteError, RouteWriter, Way};
use tandem_engine::address;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::hash::Rng;
use tandem_engine::packet::{RouteKind, Router};

/// Routes to a writer of its own: there is one at a time in a process.
struct Writer {
    routes: RouteWriter,
    _alone: MutexGuard<'static, ()>,
}

fn writer(ipv6: u32) -> Writer {
    static EAL: OnceLock<Eal> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let eal = EAL.get_or_init(|| {
        let args = "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 256";
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        Eal::init(&args).expect("DPDK starts")
    });
    let mtus = HashMap::from([(1, 1501), (2, 1502), (3, 1503)]);
    let max = MaxRoutes { ipv4: 4096, ipv6 };
    Writer {
        routes: RouteWriter::new(eal, max, mtus).expect("tables"),
        _alone: alone,
    }
}

fn v4(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().expect("an address").to_bits()
}

fn v6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().expect("an address").to_bits()
}

fn way(interface: u16, gateway: Option<&str>) -> Way {
    Way {
        interface,
        gateway: gateway.map(|g| g.parse().expect("a gateway")),
        weight: 1,
    }
}

fn ways(ways: &[Way]) -> Arc<Action> {
    Arc::new(Action::Ways(ways.to_vec()))
}

fn forward(interface: u16) -> RouteKind {
    RouteKind::Forward {
        interface,
        mtu: 1500 + interface,
    }
}

fn unresolved(interface: u16, gateway: Option<&str>) -> Exit {
    Exit::Unresolved {
        interface,
        gateway: gateway.map(|g| address::from_ip(g.parse().expect("a gateway"))),
    }
}

fn resolved(interface: u16, last: u8) -> Exit {
    Exit::Neighbour {
        interface,
        mac: 0x0200_0000_0000 | u64::from(last),
    }
}

const fn mac(last: u8) -> Option<[u8; 6]> {
    Some([2, 0, 0, 0, 0, last])
}

/// Prefixes of both families, as bits from the top of a `u128`.
fn prefix(rng: &mut Rng) -> (bool, u128, u8) {
    let ipv4 = rng.below(2) == 0;
    let length = if ipv4 {
        [0, 8, 16, 22, 23, 24, 25, 30, 32][rng.below(9) as usize]
    } else {
        [0, 7, 9, 16, 19, 32, 47, 48, 52, 64, 96, 127, 128][rng.below(13) as usize]
    };
    let bits = address(rng, ipv4);
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    (ipv4, bits & mask, length)
}

fn address(rng: &mut Rng, ipv4: bool) -> u128 {
    let mut bits = if ipv4 {
        u128::from(v4("10.1.2.3")) << 96
    } else {
        [v6("2001:db8:1:2::3"), v6("fe80::9"), v6("ff02::1")][(rng.below(8) as usize).saturating_sub(5)]
    };
    for at in [127, 113, 105, 104, 103, 97, 80, 64, 1, 0] {
        bits ^= u128::from(rng.below(8) == 0) << at;
    }
    if ipv4 { bits >> 96 << 96 } else { bits }
}

fn naive(routes: &BTreeMap<(bool, u128, u8), u16>, ipv4: bool, address: u128) -> RouteKind {
    let kernels = address >> 118 == 0xfe80 >> 6 || address >> 120 == 0xff;
    if !ipv4 && kernels {
        return RouteKind::Kernel;
    }
    let found = (0..=128u8).rev().find_map(|length| {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        routes.get(&(ipv4, address & mask, length))
    });
    match found {
        None => RouteKind::Drop(DropReason::NoRoute),
        Some(0) => RouteKind::Kernel,
        Some(interface) => forward(*interface),
    }
}

#[test]
fn any_changes_leave_what_a_naive_search_finds() {
    let mut writer = writer(4096);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    for seed in 0..10 {
        let (mut rng, mut known) = (Rng::new(seed), BTreeMap::new());
        for _ in 0..300 {
            let at @ (ipv4, network, length) = prefix(&mut rng);
            let old = known.keys().copied().nth(rng.below(60) as usize);
            if let (0, Some(old)) = (rng.below(2), old) {
                known.remove(&old);
                match old {
                    (true, network, length) => routes.remove((network >> 96) as u32, length),
                    (false, network, length) => routes.remove6(network, length),
                }
            } else {
                let interface = rng.below(4) as u16;
                let action = match interface {
                    0 => Arc::new(Action::Kernel),
                    n => ways(&[way(n, Some(["10.9.9.9", "2001:db8::9"][rng.below(2) as usize]))]),
                };
                match ipv4 {
                    true => routes.set((network >> 96) as u32, length, action).expect("room"),
                    false => routes.set6(network, length, action).expect("room"),
                }
                known.insert(at, interface);
            }
            for _ in 0..10 {
                let address = address(&mut rng, ipv4);
                let kind = if ipv4 {
                    reader.route((address >> 96) as u32, 1).kind
                } else {
                    reader.route6(address, 1).kind
                };
                assert_eq!(kind, naive(&known, ipv4, address), "seed {seed}: {address:032x}");
            }
        }
        for (ipv4, network, length) in known.keys() {
            match ipv4 {
                true => routes.remove((network >> 96) as u32, *length),
                false => routes.remove6(*network, *length),
            }
        }
        assert_eq!(
            (routes.route_count(), routes.groups6().used),
            (2, 0),
            "seed {seed}"
        );
    }
}

/// With next hops of several routes equal, DPDK loses count of its groups and refuses everything; see `tagged`.
#[test]
fn routes_by_the_same_router_come_and_go_for_ever() {
    let mut writer = writer(64);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    let by = ways(&[way(1, Some("192.0.2.1"))]);
    routes.set(0, 0, Arc::clone(&by)).expect("room");
    routes.set6(0, 0, Arc::clone(&by)).expect("room");
    for i in 0..2000 {
        let (four, six) = (v4("10.1.2.0") + i % 7, v6("2001:db8::") + u128::from(i % 7));
        // There are groups for six host routes; then freed ones must rest a while.
        let with_six = i % 50 == 0;
        routes.set(v4("10.1.2.0"), 24, Arc::clone(&by)).expect("room");
        routes.set(four, 32, Arc::clone(&by)).expect("room");
        if with_six {
            routes
                .set6(six, 128, Arc::clone(&by))
                .expect("room, if not at once");
            assert_eq!(reader.route6(six, 0).kind, forward(1));
        }
        assert_eq!(reader.route(four, 0).kind, forward(1));
        routes.remove(v4("10.1.2.0"), 24);
        routes.remove(four, 32);
        if with_six {
            routes.remove6(six, 128);
        }
    }
    routes
        .set(v4("10.1.2.3"), 32, Arc::new(Action::Kernel))
        .expect("room");
    assert_eq!(reader.route(v4("10.1.2.3"), 0).kind, RouteKind::Kernel);
}

#[test]
fn ipv6_routes_say_what_ipv4_routes_say() {
    let mut writer = writer(64);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    let kind = |address| reader.route6(v6(address), 0).kind;
    let actions = [
        ("2001:db8::1", 128, Action::Kernel, RouteKind::Kernel),
        (
            "2001:db8:1::",
            48,
            Action::Blackhole,
            RouteKind::Drop(DropReason::RouteBlackhole),
        ),
        (
            "2001:db8:2::",
            48,
            Action::Unreachable,
            RouteKind::Drop(DropReason::RouteUnreachable),
        ),
        (
            "2001:db8:3::",
            48,
            Action::Prohibited,
            RouteKind::Drop(DropReason::RouteProhibited),
        ),
        (
            "2001:db8:4::",
            48,
            Action::Ways(vec![]),
            RouteKind::Drop(DropReason::RouteUnreachable),
        ),
    ];
    for (network, length, action, said) in actions {
        assert_eq!(kind(network), RouteKind::Drop(DropReason::NoRoute));
        routes.set6(v6(network), length, Arc::new(action)).expect("room");
        assert_eq!(kind(network), said);
    }
    // Link-local and multicast are the kernel's, whatever routes say.
    for (network, length) in [("::", 0), ("fe80::", 64), ("ff00::", 8), ("ff02::1", 128)] {
        routes
            .set6(v6(network), length, ways(&[way(1, None)]))
            .expect("room");
    }
    for address in ["fe80::1", "febf:ffff::1", "ff02::1", "ff0e::101"] {
        assert_eq!(kind(address), RouteKind::Kernel, "{address}");
    }
    for address in ["fec0::1", "fe7f::1", "feff::1"] {
        assert_eq!(kind(address), forward(1), "{address}");
    }
    routes.remove6(v6("fe80::"), 64);
    routes.remove6(v6("ff00::"), 8);
    routes.remove6(v6("::"), 0);
    assert_eq!(
        (kind("fe80::1"), kind("ff02::1")),
        (RouteKind::Kernel, RouteKind::Kernel)
    );
}

#[test]
fn hosts_on_an_ipv6_link_are_neighbours_of_their_own() {
    let mut writer = writer(64);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    let host = v6("2001:db8:0:1::7");
    routes
        .set6(v6("2001:db8:0:1::"), 64, ways(&[way(2, None)]))
        .expect("room");
    routes.publish();
    let on_link = reader.route6(host, 0);
    assert_eq!(on_link.kind, forward(2));
    assert_eq!(reader.table().exit6(on_link.next_hop, host), unresolved(2, None));
    assert_eq!(
        reader.table().neighbour_exit6(2, host),
        unresolved(2, Some("2001:db8:0:1::7"))
    );

    let before = reader.generation();
    routes.neighbour6(2, host.into(), None, false);
    routes.publish();
    assert_ne!(reader.generation(), before, "sessions look again");
    let own = reader.route6(host, 0);
    assert_ne!(own.next_hop, on_link.next_hop);
    assert_eq!(
        reader.table().exit6(own.next_hop, host),
        unresolved(2, Some("2001:db8:0:1::7"))
    );
    routes.neighbour6(2, host.into(), mac(7), false);
    assert_eq!(reader.table().exit6(own.next_hop, host), resolved(2, 7));
    assert_eq!(
        reader.table().exit6(on_link.next_hop, host),
        resolved(2, 7),
        "those who did not look"
    );
    assert_eq!(reader.table().neighbour_exit6(2, host), resolved(2, 7));
    assert_eq!(routes.used_neighbours(), [(2, IpAddr::V6(host.into()))]);
    assert_eq!(routes.used_neighbours(), []);
    let other = v6("2001:db8:0:1::8");
    assert_eq!(reader.route6(other, 0).next_hop, on_link.next_hop);

    routes.neighbour(2, v4("10.0.0.7").into(), mac(4), false);
    let rows = [
        (2, "10.0.0.7".parse().expect("an address"), mac(4)),
        (2, IpAddr::V6(host.into()), mac(7)),
    ];
    assert_eq!(routes.neighbours(), rows);
    routes.neighbour6(2, host.into(), None, true);
    assert_eq!(reader.route6(host, 0).next_hop, on_link.next_hop);
    assert_eq!(
        reader.table().exit6(own.next_hop, host),
        unresolved(2, Some("2001:db8:0:1::7"))
    );
    assert_eq!(routes.neighbours(), rows[..1]);
    // An IPv4 address in IPv6's clothes is no neighbour.
    routes.neighbour6(2, v6("::ffff:10.0.0.9").into(), mac(9), false);
    assert_eq!(routes.neighbours(), rows[..1]);
}

#[test]
fn a_router_has_one_number_for_both_families() {
    let mut writer = writer(64);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    // RFC 8950: IPv4 by a router that has an IPv6 address alone.
    let by = ways(&[way(1, Some("fe80::1"))]);
    routes.set(v4("198.51.100.0"), 24, Arc::clone(&by)).expect("room");
    routes.set6(v6("2001:db8::"), 32, by).expect("room");
    routes
        .set6(v6("2001:db8:2::"), 48, ways(&[way(2, Some("fe80::1"))]))
        .expect("room");
    let (four, six) = (
        reader.route(v4("198.51.100.9"), 0),
        reader.route6(v6("2001:db8::9"), 0),
    );
    assert_eq!(four, six);
    let elsewhere = reader.route6(v6("2001:db8:2::9"), 0);
    assert_ne!(
        elsewhere.next_hop, six.next_hop,
        "the same link-local address on another link"
    );
    assert_eq!(
        reader.table().exit(four.next_hop, v4("198.51.100.9")),
        unresolved(1, Some("fe80::1"))
    );
    routes.neighbour6(1, v6("fe80::1").into(), mac(1), false);
    assert_eq!(
        reader.table().exit(four.next_hop, v4("198.51.100.9")),
        resolved(1, 1)
    );
    assert_eq!(
        reader.table().exit6(six.next_hop, v6("2001:db8::9")),
        resolved(1, 1)
    );
    assert_eq!(
        reader.table().exit_of(elsewhere.next_hop),
        unresolved(2, Some("fe80::1"))
    );
}

#[test]
fn equal_ipv6_ways_share_flows_by_weight_and_flows_stay() {
    let mut writer = writer(64);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    let heavy = Way {
        weight: 3,
        ..way(1, Some("2001:db8:0:1::1"))
    };
    routes.set6(0, 0, ways(&[heavy, way(2, None)])).expect("room");
    routes.neighbour6(2, v6("2001:db8:9::5").into(), mac(5), false);
    let mut first = 0;
    for flow in 0..4000u32 {
        let destination = v6("2001:db8:9::") + u128::from(flow % 10);
        let route = reader.route6(destination, flow);
        assert_eq!(reader.route6(destination, flow), route);
        let by_first = route.kind == forward(1);
        assert!(by_first || route.kind == forward(2));
        first += u32::from(by_first);
        if !by_first && flow % 10 == 5 {
            assert_eq!(
                reader.table().exit_of(route.next_hop),
                resolved(2, 5),
                "settled to the host"
            );
        }
    }
    assert!((2700..3300).contains(&first), "{first} of 4000 by three quarters");
}

#[test]
fn a_route_that_finds_no_room_leaves_what_was_there() {
    let mut writer = writer(5);
    let routes = &mut writer.routes;
    let reader = routes.reader();
    let by = |last: u16| ways(&[way(1, Some(&format!("2001:db8::{last}")))]);
    // 15 groups: a host route alone needs 28, a /64 12.
    routes.set6(v6("2001:db8:0:1::"), 64, by(1)).expect("room");
    let error = routes
        .set6(v6("2001:db8:0:2::3"), 128, by(2))
        .expect_err("no room");
    assert!(matches!(error, RouteError::Fib6(..)), "{error}");
    assert_eq!(
        error.to_string(),
        "no room for 2001:db8:0:2::3/128: the IPv6 table is full: 12 groups are in use"
    );
    assert_eq!(reader.route6(v6("2001:db8:0:1::9"), 0).kind, forward(1));
    assert_eq!(
        reader.route6(v6("2001:db8:0:2::3"), 0).kind,
        RouteKind::Drop(DropReason::NoRoute)
    );
    assert_eq!(routes.route_count(), 3);
    routes
        .set6(v6("2001:db8:0:1::"), 64, by(3))
        .expect("a change needs no room");
    routes
        .set6(v6("2001:db8:0:2::"), 64, by(3))
        .expect("its neighbour shares the last group");
}

#[test]
fn rows_come_in_order_from_anywhere() {
    let mut writer = writer(64);
    let routes = &mut writer.routes;
    let action = ways(&[way(1, None)]);
    for (network, length) in [("10.0.0.0", 8), ("0.0.0.0", 0), ("10.0.0.0", 16)] {
        routes
            .set(v4(network), length, Arc::clone(&action))
            .expect("room");
    }
    for (network, length) in [("2001:db8::", 32), ("::", 0), ("2001:db8::", 48)] {
        routes
            .set6(v6(network), length, Arc::clone(&action))
            .expect("room");
    }
    let all: Vec<(IpAddr, u8)> = routes.routes(None).map(|r| (r.network, r.length)).collect();
    let texts: Vec<String> = all.iter().map(|(n, l)| format!("{n}/{l}")).collect();
    assert_eq!(
        texts,
        [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/16",
            "::/0",
            "2001:db8::/32",
            "2001:db8::/48",
            "fe80::/10",
            "ff00::/8"
        ]
    );
    for (at, row) in all.iter().enumerate() {
        let rest: Vec<_> = routes.routes(Some(*row)).map(|r| (r.network, r.length)).collect();
        assert_eq!(rest, all[at + 1..]);
    }
}
