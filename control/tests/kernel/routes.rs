//! Routes: what `ip route` and `ip nexthop` do must be what the FIB gets.

use tandem_control::kernel::{Binding, RouteAction, Tap};

use crate::lab::{Lab, Namespace, hops};

/// Two taps with IPv4 and IPv6 subnets: 10.0.N.1/24 and 2001:db8:N::1/64 on interface N.
fn two_ports() -> (Lab, Tap, Tap) {
    let namespace = Namespace::new();
    let (tap0, tap1) = (namespace.tap("p0", 1), namespace.tap("p1", 2));
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(0)), ("p1", Binding::Tap(1))]);
    addresses(&lab, 0);
    addresses(&lab, 1);
    (lab, tap0, tap1)
}

fn addresses(lab: &Lab, n: u8) {
    lab.ip(&format!("address add 10.0.{n}.1/24 dev p{n}"));
    lab.ip(&format!("address add 2001:db8:{n}::1/64 dev p{n} nodad"));
    lab.expect(&format!("10.0.{n}.0/24"), hops(&format!("{n} - 1")));
    lab.expect(&format!("2001:db8:{n}::/64"), hops(&format!("{n} - 1")));
}

#[test]
fn own_and_connected_prefixes() {
    let (lab, _tap0, _tap1) = two_ports();
    lab.expect("10.0.0.1/32", Some(RouteAction::Local));
    lab.expect("10.0.0.255/32", Some(RouteAction::Local));
    lab.expect("127.0.0.0/8", Some(RouteAction::Local));
    lab.expect("2001:db8::1/128", Some(RouteAction::Local));
    lab.ip("address del 10.0.0.1/24 dev p0");
    lab.expect("10.0.0.1/32", None);
    lab.expect("10.0.0.0/24", None);
    lab.expect_in_step();
}

#[test]
fn add_replace_delete() {
    let (lab, _tap0, _tap1) = two_ports();
    lab.ip("route add 192.0.2.0/24 via 10.0.0.2");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 1"));
    lab.ip("route replace 192.0.2.0/24 via 10.0.1.2");
    lab.expect("192.0.2.0/24", hops("1 10.0.1.2 1"));
    assert_eq!(
        lab.read(|state| state.withdrawals.len()),
        0,
        "a replacement withdraws nothing"
    );
    lab.ip("route del 192.0.2.0/24");
    lab.expect("192.0.2.0/24", None);
    lab.ip("route add default via 10.0.0.2");
    lab.ip("-6 route add default via 2001:db8:1::2");
    lab.expect("0.0.0.0/0", hops("0 10.0.0.2 1"));
    lab.expect("::/0", hops("1 2001:db8:1::2 1"));
    lab.ip("-6 route replace default via 2001:db8::2");
    lab.expect("::/0", hops("0 2001:db8::2 1"));
    lab.ip("-6 route del default");
    lab.expect("::/0", None);
    lab.ip("route add 192.0.2.0/24 via inet6 2001:db8::9 dev p0");
    lab.expect("192.0.2.0/24", hops("0 2001:db8::9 1"));
    lab.expect_in_step();
}

#[test]
fn routes_without_next_hop() {
    let (lab, _tap0, _tap1) = two_ports();
    for (kind, action) in [
        ("blackhole", RouteAction::Blackhole),
        ("unreachable", RouteAction::Unreachable),
        ("prohibit", RouteAction::Prohibited),
    ] {
        lab.ip(&format!("route add {kind} 198.51.100.0/24"));
        lab.ip(&format!("-6 route add {kind} 2001:db8:ff::/48"));
        lab.expect("198.51.100.0/24", Some(action.clone()));
        lab.expect("2001:db8:ff::/48", Some(action));
        lab.ip("route del 198.51.100.0/24");
        lab.ip("-6 route del 2001:db8:ff::/48");
        lab.expect("198.51.100.0/24", None);
        lab.expect("2001:db8:ff::/48", None);
    }
    lab.ip("route add 198.51.100.0/24 via 10.0.0.2 table 100");
    lab.ip("route add 198.51.101.0/24 via 10.0.0.2");
    lab.expect("198.51.101.0/24", hops("0 10.0.0.2 1"));
    lab.expect("198.51.100.0/24", None);
}

#[test]
fn the_lowest_metric_wins_and_the_next_takes_over() {
    let (lab, _tap0, _tap1) = two_ports();
    for (family, prefix, a, b) in [
        ("", "192.0.2.0/24", "10.0.0.2", "10.0.1.2"),
        ("-6 ", "2001:db8:9::/48", "2001:db8::2", "2001:db8:1::2"),
    ] {
        lab.ip(&format!("{family}route add {prefix} via {a} metric 200"));
        lab.expect(prefix, hops(&format!("0 {a} 1")));
        lab.ip(&format!("{family}route add {prefix} via {b} metric 100"));
        lab.expect(prefix, hops(&format!("1 {b} 1")));
        lab.ip(&format!("{family}route del {prefix} metric 100"));
        lab.expect(prefix, hops(&format!("0 {a} 1")));
        lab.ip(&format!("{family}route del {prefix} metric 200"));
        lab.expect(prefix, None);
    }
    lab.expect_in_step();
}

#[test]
fn equals_keep_the_order_of_the_kernel() {
    let (lab, _tap0, _tap1) = two_ports();
    lab.ip("route add 192.0.2.0/24 via 10.0.0.2");
    lab.ip("route append 192.0.2.0/24 via 10.0.0.3");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 1"));
    lab.ip("route prepend 192.0.2.0/24 via 10.0.0.4");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.4 1"));
    lab.ip("route replace 192.0.2.0/24 via 10.0.0.5");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.5 1"));
    lab.expect_in_step();
    for (gone, next) in [("5", Some("2")), ("2", Some("3")), ("3", None)] {
        lab.ip(&format!("route del 192.0.2.0/24 via 10.0.0.{gone}"));
        lab.expect(
            "192.0.2.0/24",
            next.and_then(|n| hops(&format!("0 10.0.0.{n} 1"))),
        );
    }
}

#[test]
fn multipath_of_both_families() {
    let (lab, _tap0, _tap1) = two_ports();
    lab.ip("route add 192.0.2.0/24 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.2");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 3,1 10.0.1.2 1"));
    lab.ip("-6 route add 2001:db8:9::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2 weight 2");
    lab.expect("2001:db8:9::/48", hops("0 2001:db8::2 1,1 2001:db8:1::2 2"));
    // Siblings one by one, as some daemons do.
    lab.ip("-6 route add 2001:db8:a::/48 via 2001:db8::2");
    lab.ip("-6 route append 2001:db8:a::/48 via 2001:db8:1::2");
    lab.expect("2001:db8:a::/48", hops("0 2001:db8::2 1,1 2001:db8:1::2 1"));
    lab.ip("-6 route del 2001:db8:a::/48 via 2001:db8::2");
    lab.expect("2001:db8:a::/48", hops("1 2001:db8:1::2 1"));
    lab.expect_in_step();
    lab.ip("-6 route del 2001:db8:9::/48");
    lab.expect("2001:db8:9::/48", None);
    lab.ip("-6 route add 2001:db8:b::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2");
    lab.ip("-6 route replace 2001:db8:b::/48 via 2001:db8::3");
    lab.expect("2001:db8:b::/48", hops("0 2001:db8::3 1"));
    lab.expect_in_step();
}

#[test]
fn next_hop_objects_and_groups() {
    let (lab, _tap0, _tap1) = two_ports();
    lab.ip("nexthop add id 1 via 10.0.0.2 dev p0");
    lab.ip("nexthop add id 2 via 10.0.1.2 dev p1");
    lab.ip("nexthop add id 3 blackhole");
    lab.ip("nexthop add id 10 group 1,5/2");
    lab.ip("nexthop add id 6 via 2001:db8::6 dev p0");
    lab.ip("route add 192.0.2.0/24 nhid 10");
    lab.ip("route add 192.0.3.0/24 nhid 3");
    lab.ip("-6 route add 2001:db8:9::/48 nhid 6");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 5,1 10.0.1.2 1"));
    lab.expect("192.0.3.0/24", Some(RouteAction::Blackhole));
    lab.expect("2001:db8:9::/48", hops("0 2001:db8::6 1"));
    lab.ip("nexthop replace id 2 via 10.0.1.7 dev p1");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 5,1 10.0.1.7 1"));
    lab.ip("nexthop replace id 10 group 2");
    lab.expect("192.0.2.0/24", hops("1 10.0.1.7 1"));
    lab.expect_in_step();
    lab.ip("nexthop del id 2");
    lab.expect("192.0.2.0/24", None);
    lab.ip("nexthop del id 3");
    lab.ip("nexthop del id 6");
    lab.expect("192.0.3.0/24", None);
    lab.expect("2001:db8:9::/48", None);
    lab.expect_in_step();
}

#[test]
fn routes_over_other_devices_are_the_kernels() {
    let (lab, _tap0, _tap1) = two_ports();
    lab.ip("link add mgmt0 type veth peer name mgmt1");
    lab.ip("link set mgmt0 up");
    lab.ip("link set mgmt1 up");
    lab.ip("address add 172.16.0.1/24 dev mgmt0");
    lab.ip("route add 203.0.113.0/24 via 172.16.0.2");
    lab.expect("172.16.0.0/24", Some(RouteAction::Punt));
    lab.expect("203.0.113.0/24", Some(RouteAction::Punt));
    lab.expect("172.16.0.1/32", Some(RouteAction::Local));
    lab.handle.bind("mgmt0", Some(Binding::Tap(7)));
    lab.expect("203.0.113.0/24", hops("7 172.16.0.2 1"));
    lab.handle.bind("mgmt0", None);
    lab.expect("203.0.113.0/24", Some(RouteAction::Punt));
    lab.ip("link del mgmt0");
    lab.expect("203.0.113.0/24", None);
    lab.expect("172.16.0.1/32", None);
    lab.expect_in_step();
}
