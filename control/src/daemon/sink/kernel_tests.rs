//! From the kernel's tables, in a network namespace of the test's own, to what a worker reads. Needs root, as the daemon does.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rte_bindings::Eal;
use tandem_dataplane::interfaces::Interfaces;
use tandem_dataplane::next_hop::Exit;
use tandem_dataplane::routes::{MaxRoutes, WorkerRouter};
use tandem_engine::address;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{RouteKind, Router};

use super::super::views;
use super::*;
use crate::api::model::RouteQuery;
use crate::kernel::{Binding, Tap, TapConfig, Watcher, WatcherConfig};

/// Bound of every wait; only a failing test waits that long.
const WAIT_MAX: Duration = Duration::from_secs(30);

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
}

fn tap(name: &str, last: u8) -> Tap {
    Tap::create(&TapConfig {
        name: name.into(),
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1500,
    })
    .expect("a tap (root?)")
}

fn wait(what: &str, wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !wanted() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn bits(address: &str) -> u128 {
    address::from_ip(address.parse().expect("an address"))
}

fn kind(router: &WorkerRouter, address: &str) -> RouteKind {
    match address.parse().expect("an address") {
        IpAddr::V4(address) => router.route(address.to_bits(), 0).kind,
        IpAddr::V6(address) => router.route6(address.to_bits(), 0).kind,
    }
}

fn exit(router: &WorkerRouter, address: &str) -> Exit {
    match address.parse().expect("an address") {
        IpAddr::V4(address) => {
            let to = address.to_bits();
            router.table().exit(router.route(to, 0).next_hop, to)
        }
        IpAddr::V6(address) => {
            let to = address.to_bits();
            router.table().exit6(router.route6(to, 0).next_hop, to)
        }
    }
}

fn expect(router: &WorkerRouter, address: &str, wanted: RouteKind) {
    wait(&format!("{address} {wanted:?}"), || {
        kind(router, address) == wanted
    });
}

const fn forward(interface: InterfaceId) -> RouteKind {
    RouteKind::Forward { interface, mtu: 1500 }
}

const fn resolved(interface: InterfaceId, last: u64) -> Exit {
    Exit::Neighbour {
        interface,
        mac: 0x0200_0000_0900 | last,
    }
}

#[test]
fn ipv6_routes_and_neighbours_of_the_kernel_reach_the_workers() {
    // A thread of its own: the namespace is that thread's, and goes with the last socket in it.
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace (root?)");
        let args = "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 128";
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let eal = Eal::init(&args).expect("DPDK starts");
        let max = MaxRoutes {
            ipv4: 4096,
            ipv6: 4096,
        };
        let mtus = HashMap::from([(3, 1500), (4, 1500)]);
        let writer = RouteWriter::new(&eal, max, mtus).expect("tables");
        let router = writer.reader();
        let routing = Arc::new(Routing::new(writer));
        let (links, _no_monitor) = mpsc::channel();
        let _taps = (tap("p3", 3), tap("p4", 4));
        let config = WatcherConfig {
            bindings: vec![("p3".into(), Binding::Tap(3)), ("p4".into(), Binding::Tap(4))],
            ..WatcherConfig::default()
        };
        let (watcher, handle) =
            Watcher::open(config, Sink::new(Arc::clone(&routing), links)).expect("a watcher");
        let thread = std::thread::spawn(move || watcher.run().expect("the watcher ends well"));
        wait("the first dump", || routing.is_loaded());
        follow(&routing, &router);
        handle.stop();
        thread.join().expect("the watcher's thread");
    };
    std::thread::scope(|scope| scope.spawn(run).join()).expect("the thread in the namespace");
}

fn follow(routing: &Routing, router: &WorkerRouter) {
    for n in [3, 4] {
        ip(&format!("link set p{n} up"));
        ip(&format!("-4 address add 10.0.{n}.1/24 dev p{n}"));
        ip(&format!("-6 address add 2001:db8:{n}::1/64 dev p{n} nodad"));
        expect(router, &format!("2001:db8:{n}::9"), forward(n));
        expect(router, &format!("2001:db8:{n}::1"), RouteKind::Kernel);
    }
    assert_eq!(kind(router, "fe80::1"), RouteKind::Kernel);
    assert_eq!(kind(router, "ff02::1"), RouteKind::Kernel);
    assert_eq!(
        kind(router, "2001:db8:9::1"),
        RouteKind::Drop(DropReason::NoRoute)
    );

    // By routers on the link, by their link-local addresses, and not at all.
    ip("-6 route add default via fe80::9 dev p4");
    expect(router, "2001:db8:9::1", forward(4));
    ip("-6 route add 2001:db8:9::/48 via 2001:db8:3::9");
    expect(router, "2001:db8:9::1", forward(3));
    ip("-6 route add prohibit 2001:db8:a::/48");
    expect(
        router,
        "2001:db8:a::1",
        RouteKind::Drop(DropReason::RouteProhibited),
    );
    // RFC 8950.
    ip("-4 route add 198.51.100.0/24 via inet6 fe80::9 dev p4");
    expect(router, "198.51.100.7", forward(4));

    let unresolved = |interface, gateway: Option<&str>| Exit::Unresolved {
        interface,
        gateway: gateway.map(bits),
    };
    assert_eq!(
        exit(router, "2001:db8:9::1"),
        unresolved(3, Some("2001:db8:3::9"))
    );
    assert_eq!(exit(router, "2001:db8:4::7"), unresolved(4, None));
    assert_eq!(exit(router, "2001:db8:b::1"), unresolved(4, Some("fe80::9")));
    for (address, device, last) in [
        ("2001:db8:3::9", "p3", "03"),
        ("2001:db8:4::7", "p4", "07"),
        ("fe80::9", "p4", "09"),
    ] {
        ip(&format!(
            "-6 neigh replace {address} lladdr 02:00:00:00:09:{last} dev {device} nud permanent"
        ));
    }
    for (address, wanted) in [
        ("2001:db8:9::1", resolved(3, 3)),
        ("2001:db8:4::7", resolved(4, 7)),
        ("2001:db8:b::1", resolved(4, 9)),
        ("198.51.100.7", resolved(4, 9)),
    ] {
        wait(&format!("{address} by {wanted:?}"), || {
            exit(router, address) == wanted
        });
    }
    let used = routing.writer().used_neighbours();
    assert_eq!(used.len(), 3, "each was used: {used:?}");

    rows(routing);

    // And all of it goes again.
    ip("-6 neigh del 2001:db8:4::7 dev p4");
    wait("no neighbour", || {
        matches!(
            exit(router, "2001:db8:4::7"),
            Exit::Unresolved { interface: 4, .. }
        )
    });
    ip("-6 route del 2001:db8:9::/48");
    expect(router, "2001:db8:9::1", forward(4));
    ip("-6 route del default");
    expect(router, "2001:db8:9::1", RouteKind::Drop(DropReason::NoRoute));
    assert_eq!((routing.missing(), routing.refused()), (0, 0));
}

/// What the API shows.
fn rows(routing: &Routing) {
    let interfaces = Interfaces::new(Vec::new());
    let show = |query: &RouteQuery| {
        let found = views::routes(&routing.writer(), &interfaces, query);
        let text = |route: &crate::api::model::Route| {
            let hop = route.next_hops.first().and_then(|hop| hop.gateway);
            let hop = hop.map_or("-".to_owned(), |gateway| gateway.to_string());
            format!("{} {} {hop}", route.prefix, route.action.as_str())
        };
        found.routes.iter().map(text).collect::<Vec<_>>()
    };
    let mut query = RouteQuery {
        covers: "2001:db8:9::1".parse().ok(),
        limit: 10,
        ..RouteQuery::default()
    };
    assert_eq!(
        show(&query),
        ["::/0 forward fe80::9", "2001:db8:9::/48 forward 2001:db8:3::9"]
    );
    query.after = "::/0".parse().ok();
    assert_eq!(show(&query), ["2001:db8:9::/48 forward 2001:db8:3::9"]);
    query.covers = "198.51.100.7".parse().ok();
    assert_eq!(show(&query), [""; 0], "behind an IPv6 route there is no IPv4 one");
    query.after = "0.0.0.0/0".parse().ok();
    assert_eq!(show(&query), ["198.51.100.0/24 forward fe80::9"]);
    let neighbours = views::neighbours(&routing.neighbours(), &interfaces);
    let found = neighbours
        .iter()
        .find(|n| n.address == IpAddr::V6(bits("2001:db8:4::7").into()));
    assert_eq!(
        found.and_then(|n| n.mac).map(|mac| mac.to_string()).as_deref(),
        Some("02:00:00:00:09:07")
    );
}
