//! Devices: taps and watched ones, and the routes that the kernel flushes in silence when they go.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tandem_control::kernel::{Binding, OwnedAddresses, Rtnl, WatcherConfig};

use crate::lab::{Lab, Namespace, hops};

fn quick() -> WatcherConfig {
    WatcherConfig {
        verify_interval_min: Duration::from_millis(50),
        ..WatcherConfig::default()
    }
}

/// So slow that nothing but the model's own purging can have done what the test sees.
fn never_verifying() -> WatcherConfig {
    WatcherConfig {
        verify_after: Duration::from_secs(3600),
        ..WatcherConfig::default()
    }
}

#[test]
fn link_down_takes_routes_along_and_up_brings_back_the_connected_ones() {
    for config in [quick(), never_verifying()] {
        let namespace = Namespace::new();
        let (_tap0, _tap1) = (namespace.tap("p0", 1), namespace.tap("p1", 2));
        let lab = Lab::with(
            namespace,
            &[("p0", Binding::Tap(0)), ("p1", Binding::Tap(1))],
            config,
        );
        lab.ip("address add 10.0.0.1/24 dev p0");
        lab.ip("address add 10.0.1.1/24 dev p1");
        lab.ip("route add 192.0.2.0/24 via 10.0.0.2");
        lab.ip("route add 192.0.3.0/24 nexthop via 10.0.0.2 nexthop via 10.0.1.2");
        lab.ip("nexthop add id 1 via 10.0.0.2 dev p0");
        lab.ip("nexthop add id 2 via 10.0.1.2 dev p1");
        lab.ip("nexthop add id 3 group 1/2");
        lab.ip("route add 192.0.4.0/24 nhid 3");
        lab.ip("route add 192.0.5.0/24 nhid 1");
        lab.expect("192.0.5.0/24", hops("0 10.0.0.2 1"));
        lab.expect("192.0.4.0/24", hops("0 10.0.0.2 1,1 10.0.1.2 1"));
        lab.ip("link set p0 down");
        lab.expect("192.0.5.0/24", None);
        lab.expect("192.0.2.0/24", None);
        lab.expect("10.0.0.0/24", None);
        lab.expect("192.0.3.0/24", hops("1 10.0.1.2 1"));
        lab.expect("192.0.4.0/24", hops("1 10.0.1.2 1"));
        lab.ip("link set p0 up");
        lab.expect("10.0.0.0/24", hops("0 - 1"));
        lab.expect("192.0.3.0/24", hops("0 10.0.0.2 1,1 10.0.1.2 1"));
        lab.ip("route add 192.0.6.0/24 via 10.0.1.2");
        lab.expect("192.0.6.0/24", hops("1 10.0.1.2 1"));
        lab.expect("192.0.2.0/24", None);
        lab.expect_in_step();
    }
}

#[test]
fn a_device_removed_takes_everything_along() {
    let namespace = Namespace::new();
    let tap0 = namespace.tap("p0", 1);
    let lab = Lab::with(namespace, &[("p0", Binding::Tap(0))], quick());
    lab.ip("address add 10.0.0.1/24 dev p0");
    lab.ip("-6 address add 2001:db8::1/64 dev p0 nodad");
    lab.ip("route add 192.0.2.0/24 via 10.0.0.2");
    lab.ip("-6 route add 2001:db8:9::/48 via 2001:db8::2");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 1"));
    lab.expect("2001:db8:9::/48", hops("0 2001:db8::2 1"));
    drop(tap0);
    for prefix in [
        "192.0.2.0/24",
        "10.0.0.0/24",
        "10.0.0.1/32",
        "2001:db8:9::/48",
        "2001:db8::/64",
        "2001:db8::1/128",
    ] {
        lab.expect(prefix, None);
    }
    lab.wait("the tap reported absent", |state| !state.links["p0"].present);
    let _again = lab.namespace.tap("p0", 1);
    lab.ip("address add 10.0.0.1/24 dev p0");
    lab.expect("10.0.0.0/24", hops("0 - 1"));
    lab.expect_in_step();
}

#[test]
fn routes_bound_to_a_source_address_go_with_it() {
    let namespace = Namespace::new();
    let _tap0 = namespace.tap("p0", 1);
    let lab = Lab::with(namespace, &[("p0", Binding::Tap(0))], quick());
    lab.ip("address add 10.0.0.1/24 dev p0");
    lab.ip("address add 10.9.9.9/32 dev p0");
    lab.ip("route add 192.0.2.0/24 via 10.0.0.2 src 10.9.9.9");
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 1"));
    lab.ip("address del 10.9.9.9/32 dev p0");
    lab.expect("192.0.2.0/24", None);
}

#[test]
fn carrier_of_taps_and_of_watched_devices() {
    let namespace = Namespace::new();
    let (tap0, _tap1) = (namespace.tap("p0", 1), namespace.tap("p1", 2));
    namespace.ip("link add v0 type veth peer name v1");
    namespace.ip("link set v0 up");
    let bindings = [
        ("p0", Binding::Tap(0)),
        ("p1", Binding::Tap(1)),
        ("v0", Binding::Watched),
        ("none", Binding::Watched),
    ];
    let lab = Lab::new(namespace, &bindings);
    lab.wait("absent", |state| {
        state.links.get("none").is_some_and(|link| !link.present)
    });
    lab.wait("no carrier", |state| {
        state.links.get("v0").is_some_and(|link| link.up && !link.carrier)
    });
    lab.ip("link set v1 up");
    lab.wait("carrier", |state| state.links["v0"].carrier);
    lab.ip("link set v0 mtu 1400");
    lab.wait("mtu", |state| state.links["v0"].mtu == 1400);

    lab.ip("address add 10.0.0.1/24 dev p0");
    lab.ip("address add 10.0.1.1/24 dev p1");
    lab.ip("route add 192.0.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.1.2");
    lab.ip("nexthop add id 1 via 10.0.0.2 dev p0");
    lab.ip("route add 192.0.3.0/24 nhid 1");
    lab.expect("192.0.3.0/24", hops("0 10.0.0.2 1"));
    let set = |carrier| {
        lab.namespace
            .inside(|| Rtnl::open()?.set_carrier(tap0.ifindex(), carrier))
            .expect("carrier of a tap");
    };
    set(false);
    lab.wait("no carrier", |state| {
        state.links["p0"].up && !state.links["p0"].carrier
    });
    lab.expect("192.0.2.0/24", hops("1 10.0.1.2 1"));
    lab.expect("192.0.3.0/24", None);
    set(true);
    lab.expect("192.0.2.0/24", hops("0 10.0.0.2 1,1 10.0.1.2 1"));
    lab.expect_in_step();
}

/// The addresses of which the kernel tells all that listen while `work` is done, in the order in which it does.
fn told_of(work: impl FnOnce()) -> Vec<IpAddr> {
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kind = (AddressFamily::Netlink, SockType::Raw, SockProtocol::NetlinkRoute);
    let listener = socket(kind.0, kind.1, flags, kind.2).expect("a socket");
    // RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
    bind(listener.as_raw_fd(), &NetlinkAddr::new(0, 0x10 | 0x100)).expect("bound");
    work();
    let mut told = Vec::new();
    let mut buffer = [0; 8192];
    // What the kernel tells it has told when it acknowledges.
    while let Ok(octets) = recv(listener.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        let message = &buffer[..octets];
        assert_eq!(message[4], 20, "RTM_NEWADDR");
        // The first attribute, IFA_ADDRESS, is behind 16 octets of netlink's header and 8 of its own.
        told.push(match message[16] {
            2 => IpAddr::from(<[u8; 4]>::try_from(&message[28..32]).expect("four")),
            _ => IpAddr::from(<[u8; 16]>::try_from(&message[28..44]).expect("sixteen")),
        });
    }
    told
}

#[test]
fn our_addresses_are_told_of_once_more_and_nothing_else_is() {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(0))]);
    lab.ip("address add 10.0.0.9/24 dev p0");
    let address = |text: &str| text.parse().expect("an address");
    let (four, six) = ((address("10.0.2.1"), 31), (address("2001:db8::1"), 64));
    lab.namespace.inside(|| {
        // An address that is still being tried is told of when that is over, and not before.
        for device in ["all", "p0"] {
            let file = format!("/proc/sys/net/ipv6/conf/{device}/accept_dad");
            std::fs::write(file, "0").expect("no duplicates are looked for");
        }
        let (mut rtnl, mut owned) = (Rtnl::open().expect("socket"), OwnedAddresses::default());
        owned
            .apply(&mut rtnl, tap.ifindex(), &[four, six, (address("10.0.0.9"), 24)])
            .expect("added");
        let again = told_of(|| {
            owned
                .apply(&mut rtnl, tap.ifindex(), &[four, six])
                .expect("there");
        });
        assert_eq!(again, Vec::<IpAddr>::new(), "to put it there again tells nobody");
        let told = told_of(|| owned.repeat(&mut rtnl, tap.ifindex()).expect("repeated"));
        assert_eq!(told, vec![four.0, six.0]);
    });
    lab.expect("10.0.2.1/32", Some(tandem_control::kernel::RouteAction::Local));
}

#[test]
fn only_our_own_addresses_are_removed() {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(0))]);
    lab.ip("address add 10.0.0.9/24 dev p0");
    let address = |text: &str| text.parse().expect("an address");
    let (a, b, six) = (
        (address("10.0.0.1"), 24),
        (address("10.0.2.1"), 31),
        (address("2001:db8::1"), 64),
    );
    let theirs = (address("10.0.0.9"), 24);
    lab.namespace.inside(|| {
        let (mut rtnl, mut owned) = (Rtnl::open().expect("socket"), OwnedAddresses::default());
        for _ in 0..2 {
            owned
                .apply(&mut rtnl, tap.ifindex(), &[a, b, six, theirs])
                .expect("added");
        }
        assert_eq!(owned.iter().collect::<Vec<_>>(), vec![a, b, six]);
        lab.expect("10.0.2.1/32", Some(tandem_control::kernel::RouteAction::Local));
        owned.apply(&mut rtnl, tap.ifindex(), &[a]).expect("removed");
        assert_eq!(owned.iter().collect::<Vec<_>>(), vec![a]);
        assert!(
            !rtnl.remove_address(tap.ifindex(), b.0, b.1).expect("no error"),
            "it was gone already"
        );
        assert!(owned.apply(&mut rtnl, 999_999, &[b]).is_err(), "no such device");
    });
    lab.expect("10.0.2.1/32", None);
    lab.expect("2001:db8::/64", None);
    lab.expect("10.0.0.9/32", Some(tandem_control::kernel::RouteAction::Local));
}
