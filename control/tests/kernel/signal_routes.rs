//! Signal routes in a real kernel: put in, found again, replaced, taken out, and nobody else's touched.

use std::process::Command;

use tandem_control::kernel::{
    KernelRoute, RouteAction, Rtnl, SIGNAL_ROUTE_PROTOCOL, SignalRoute, SignalRouteError, SignalRoutes,
    SignalTable, SignalTarget,
};

use crate::lab::{Lab, Namespace, hops};
use tandem_control::kernel::Binding;

fn route(prefix: &str, table: u32, target: SignalTarget) -> SignalRoute {
    SignalRoute {
        prefix: prefix.parse().expect("a prefix"),
        table: SignalTable::Number(table),
        target,
        metric: None,
    }
}

fn via(gateway: &str) -> SignalTarget {
    SignalTarget::NextHop {
        gateway: Some(gateway.parse().expect("an address")),
        device: None,
    }
}

fn through(device: &str) -> SignalTarget {
    SignalTarget::NextHop {
        gateway: None,
        device: Some(device.into()),
    }
}

/// Routes and what looks names up, in a namespace.
struct Both(SignalRoutes, Rtnl);

impl Both {
    fn new(namespace: &Namespace) -> Self {
        namespace.inside(|| {
            Self(
                SignalRoutes::open().expect("socket"),
                Rtnl::open().expect("socket"),
            )
        })
    }

    fn resolve(&mut self, route: &SignalRoute) -> Result<KernelRoute, SignalRouteError> {
        self.0.resolve(&mut self.1, route)
    }

    fn put(&mut self, route: &SignalRoute) -> Result<bool, SignalRouteError> {
        let route = self.resolve(route)?;
        self.0.put(&route)
    }

    fn take(&mut self, route: &SignalRoute) -> Result<bool, SignalRouteError> {
        let route = self.resolve(route)?;
        self.0.take(&route)
    }
}

/// What `ip` shows of a table, one line a route.
fn shown(namespace: &Namespace, family: &str, table: u32) -> Vec<String> {
    let table = table.to_string();
    let arguments = [family, "-n", &namespace.name, "route", "show", "table", &table];
    let output = Command::new("ip").args(arguments).output().expect("ip starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn has(namespace: &Namespace, family: &str, table: u32, parts: &[&str]) -> bool {
    shown(namespace, family, table)
        .iter()
        .any(|line| parts.iter().all(|part| line.contains(part)))
}

fn prepared() -> (Namespace, tandem_control::kernel::Tap) {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    namespace.ip("address add 10.0.0.1/24 dev p0");
    namespace.ip("address add 2001:db8::1/64 dev p0 nodad");
    (namespace, tap)
}

#[test]
fn every_kind_goes_in_once_and_out_once() {
    let (namespace, _tap) = prepared();
    let mut both = Both::new(&namespace);
    let proto = format!("proto {SIGNAL_ROUTE_PROTOCOL}");
    let cases = [
        (
            route("198.51.100.7/24", 254, SignalTarget::Discard),
            "-4",
            "blackhole 198.51.100.0/24",
        ),
        (
            route("198.51.101.0/24", 1000, SignalTarget::Receive),
            "-4",
            "local 198.51.101.0/24",
        ),
        (
            route("198.51.102.0/24", 254, via("10.0.0.2")),
            "-4",
            "198.51.102.0/24 via 10.0.0.2",
        ),
        (
            route("198.51.103.0/24", 254, via("2001:db8::2")),
            "-4",
            "198.51.103.0/24 via inet6 2001:db8::2",
        ),
        (route("0.0.0.0/0", 100_000, through("p0")), "-4", "default dev p0"),
        (
            route("2001:db8:1::/48", 254, SignalTarget::Discard),
            "-6",
            "blackhole 2001:db8:1::/48",
        ),
        (
            route("2001:db8:2::/48", 1000, SignalTarget::Receive),
            "-6",
            "local 2001:db8:2::/48",
        ),
        (
            route("2001:db8:3::/48", 254, via("2001:db8::2")),
            "-6",
            "2001:db8:3::/48 via 2001:db8::2",
        ),
        (route("::/0", 100_000, through("p0")), "-6", "default dev p0"),
    ];
    for (route, family, text) in &cases {
        let SignalTable::Number(table) = route.table else {
            continue;
        };
        let is_there = || has(&namespace, family, table, &[text, &proto]);
        assert!(!is_there(), "{text}");
        assert!(both.put(route).expect(text));
        assert!(is_there(), "{text} in {:?}", shown(&namespace, family, table));
        assert!(!both.put(route).expect(text), "{text}: nothing to do");
        assert!(both.take(route).expect(text));
        assert!(!is_there(), "{text}");
        assert!(!both.take(route).expect(text), "{text}: nothing to do");
    }
    assert_eq!(both.0.list().expect("a dump"), []);
}

#[test]
fn one_of_ours_is_replaced_and_somebody_elses_is_left_alone() {
    let (namespace, _tap) = prepared();
    let mut both = Both::new(&namespace);
    for (family, prefix, gateway) in [
        ("-4", "198.51.100.0/24", "10.0.0.2"),
        ("-6", "2001:db8:1::/48", "2001:db8::2"),
    ] {
        let (discard, hop) = (
            route(prefix, 254, SignalTarget::Discard),
            route(prefix, 254, via(gateway)),
        );
        assert!(both.put(&discard).expect("put"));
        assert!(both.put(&hop).expect("replaced"));
        assert!(has(&namespace, family, 254, &[prefix, gateway]));
        assert!(!has(&namespace, family, 254, &["blackhole", prefix]));
        assert!(!both.take(&discard).expect("it is not there"));
        assert!(both.put(&discard).expect("replaced"));
        assert!(!has(&namespace, family, 254, &[prefix, gateway]));
        assert!(both.take(&discard).expect("taken"));

        namespace.ip(&format!("{family} route add {prefix} via {gateway} proto static"));
        let text = both.put(&hop).expect_err("it is somebody else's").to_string();
        for part in [prefix, "table 254", "not Tandem's"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!both.take(&hop).expect("nothing of ours"));
        assert_eq!(both.0.take_all().expect("swept"), 0);
        assert!(has(&namespace, family, 254, &[prefix, gateway, "proto static"]));
    }
}

#[test]
fn a_metric_is_part_of_a_route() {
    let (namespace, _tap) = prepared();
    let mut both = Both::new(&namespace);
    for (family, prefix, gateway) in [
        ("-4", "198.51.100.0/24", "10.0.0.2"),
        ("-6", "2001:db8:1::/48", "2001:db8::2"),
    ] {
        let with = |metric, target| SignalRoute {
            metric,
            ..route(prefix, 100, target)
        };
        let has = |metric: u32| has(&namespace, family, 100, &[prefix, &format!("metric {metric}")]);
        let (old, new) = (
            with(Some(16_777_215), via(gateway)),
            with(Some(16_777_214), via(gateway)),
        );
        assert!(both.put(&old).expect("put"));
        assert!(has(16_777_215));
        assert!(!both.put(&old).expect("nothing to do"));
        assert!(!both.take(&new).expect("it is not there"));
        assert!(both.put(&new).expect("beside the old one"));
        assert!(both.take(&old).expect("taken"));
        assert!(has(16_777_214) && !has(16_777_215));
        let discard = with(new.metric, SignalTarget::Discard);
        assert!(both.put(&discard).expect("replaced"));
        assert!(!both.put(&discard).expect("nothing to do"));
        assert!(!both.take(&new).expect("it is not there"));
        let usual = with(None, SignalTarget::Discard);
        assert!(both.put(&usual).expect("beside it"));
        assert!(!both.put(&usual).expect("nothing to do"));
        assert_eq!(both.0.take_all().expect("swept"), 2);
    }
}

#[test]
fn a_stale_process_routes_go_and_no_others() {
    let (namespace, _tap) = prepared();
    let mut before = Both::new(&namespace);
    let routes = [
        route("198.51.100.0/24", 254, SignalTarget::Discard),
        route("198.51.100.0/24", 7, via("10.0.0.2")),
        route("198.51.101.0/24", 90_000, SignalTarget::Receive),
        route("2001:db8:1::/48", 7, SignalTarget::Discard),
        route("2001:db8:2::/48", 254, via("2001:db8::2")),
    ];
    for route in &routes {
        before.put(route).expect("put");
    }
    namespace.ip("route add 198.51.99.0/24 via 10.0.0.2 proto static");
    namespace.ip("route append 198.51.100.0/24 via 10.0.0.2 table 7 proto bird");
    drop(before);
    let mut after = Both::new(&namespace);
    assert_eq!(after.0.list().expect("a dump").len(), routes.len());
    assert_eq!(after.0.take_all().expect("swept"), routes.len());
    assert_eq!(after.0.list().expect("a dump"), []);
    assert_eq!(after.0.take_all().expect("swept"), 0);
    assert!(has(&namespace, "-4", 254, &["198.51.99.0/24", "proto static"]));
    assert!(has(&namespace, "-4", 7, &["198.51.100.0/24", "proto bird"]));
}

#[test]
fn errors_name_prefix_table_and_reason() {
    let (namespace, _tap) = prepared();
    let mut both = Both::new(&namespace);
    let vrf = |device: &str| SignalRoute {
        table: SignalTable::Vrf(device.into()),
        ..route("198.51.100.0/24", 1, SignalTarget::Discard)
    };
    let cases: [(SignalRoute, &[&str]); 6] = [
        (vrf("p0"), &["198.51.100.0/24", "p0 is no VRF"]),
        (vrf("blue"), &["198.51.100.0/24", "\"blue\""]),
        (
            route("198.51.100.0/24", 254, through("p7")),
            &["198.51.100.0/24", "\"p7\""],
        ),
        (
            route("198.51.100.0/24", 77, via("203.0.113.1")),
            &["198.51.100.0/24", "table 77", "unreachable"],
        ),
        (
            route("2001:db8:9::/48", 254, via("10.0.0.2")),
            &["2001:db8:9::/48", "IPv4 next hop"],
        ),
        (
            route("198.51.100.0/24", 0, SignalTarget::Discard),
            &["198.51.100.0/24", "table 0"],
        ),
    ];
    for (route, parts) in cases {
        let text = both.put(&route).expect_err("refused").to_string();
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn the_dataplane_follows_them() {
    let (namespace, _tap) = prepared();
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(0))]);
    let mut both = Both::new(&lab.namespace);
    let (discard, receive) = (
        route("198.51.100.0/24", 254, SignalTarget::Discard),
        route("2001:db8:2::/48", 254, SignalTarget::Receive),
    );
    let hop = route("198.51.102.0/24", 254, via("10.0.0.2"));
    for (route, prefix, action) in [
        (&discard, "198.51.100.0/24", Some(RouteAction::Blackhole)),
        (&receive, "2001:db8:2::/48", Some(RouteAction::Local)),
        (&hop, "198.51.102.0/24", hops("0 10.0.0.2 1")),
    ] {
        both.put(route).expect("put");
        lab.expect(prefix, action);
        both.take(route).expect("taken");
        lab.expect(prefix, None);
    }
}
