//! Virtual addresses on a real tap, and neighbours that learn where they are now.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tandem_control::kernel::{Announcer, Binding, RouteAction, Rtnl, VirtualAddress};

use crate::lab::{Lab, Namespace, WAIT_MAX, frame};

fn on(ifindex: u32, address: &str, length: u8) -> VirtualAddress {
    VirtualAddress {
        ifindex,
        address: address.parse().expect("an address"),
        length,
    }
}

/// An ARP request for an address, from 10.0.0.2.
fn who_has(address: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([
        2, 0, 0, 0, 9, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 9, 9, 10, 0, 0, 2,
    ]);
    frame.extend([0; 6]);
    frame.extend(address);
    frame
}

fn is_reply(frame: &[u8], address: [u8; 4]) -> bool {
    frame.len() >= 42 && frame[12..14] == [8, 6] && frame[21] == 2 && frame[28..32] == address
}

#[test]
fn it_is_ours_while_it_is_there_and_forgotten_when_it_is_taken_off() {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    namespace.ip("address add 10.0.0.1/24 dev p0");
    let mut rtnl = namespace.inside(Rtnl::open).expect("socket");
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(0))]);
    for (address, length, whole) in [
        ("10.0.0.9", 24, 32),
        ("10.0.7.1", 24, 32),
        ("2001:db8::9", 64, 128),
    ] {
        let (all, host) = (on(tap.ifindex(), address, length), format!("{address}/{whole}"));
        assert!(all.put(&mut rtnl).expect("put"), "{address}");
        lab.expect(&host, Some(RouteAction::Local));
        assert!(!all.put(&mut rtnl).expect("put"), "nothing to do");
        assert!(all.take(&mut rtnl).expect("taken"));
        lab.expect(&host, None);
        assert!(!all.take(&mut rtnl).expect("taken"), "nothing to do");
    }
    lab.expect("10.0.0.1/32", Some(RouteAction::Local));
}

#[test]
fn the_kernel_answers_for_it_only_while_it_is_there() {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    namespace.ip("address add 10.0.0.1/24 dev p0");
    let mut rtnl = namespace.inside(Rtnl::open).expect("socket");
    let (address, virtual_one) = ([10, 0, 0, 9], on(tap.ifindex(), "10.0.0.9", 24));
    let ask = |address| assert!(tap.send(&who_has(address)).expect("tap sends"));
    virtual_one.put(&mut rtnl).expect("put");
    ask(address);
    let reply = frame(&tap, "an answer", |frame| is_reply(frame, address));
    assert_eq!(reply[22..28], [2, 0, 0, 0, 0, 1], "the tap's address");
    virtual_one.take(&mut rtnl).expect("taken");
    // The tap is a queue: the answer to the later question would come after one to the earlier.
    ask(address);
    ask([10, 0, 0, 1]);
    let mut answered = false;
    frame(&tap, "an answer", |frame| {
        answered |= is_reply(frame, address);
        is_reply(frame, [10, 0, 0, 1])
    });
    assert!(!answered, "nobody has the virtual address");
}

#[test]
fn it_outlives_the_interface_address_of_the_same_subnet() {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    let mut rtnl = namespace.inside(Rtnl::open).expect("socket");
    let own: IpAddr = [10, 0, 0, 1].into();
    rtnl.add_address(tap.ifindex(), own, 24).expect("added");
    let virtual_one = on(tap.ifindex(), "10.0.0.9", 24);
    virtual_one.put(&mut rtnl).expect("put");
    rtnl.remove_address(tap.ifindex(), own, 24).expect("removed");
    assert!(virtual_one.take(&mut rtnl).expect("taken"), "it was still there");
}

#[test]
fn neighbours_go_over_to_the_announced_address() {
    // The neighbour's namespace, and two chassis on its bridge.
    let (neighbour, first, second) = (Namespace::new(), Namespace::new(), Namespace::new());
    neighbour.ip("link add br0 type bridge");
    neighbour.ip("link set br0 up");
    for (port, chassis) in [("c1", &first), ("c2", &second)] {
        neighbour.ip(&format!(
            "link add {port} type veth peer name p0 netns {}",
            chassis.name
        ));
        neighbour.ip(&format!("link set {port} master br0"));
        neighbour.ip(&format!("link set {port} up"));
        chassis.ip("link set p0 up");
    }
    neighbour.ip("address add 10.0.0.2/24 dev br0");
    neighbour.ip("address add 2001:db8::2/64 dev br0 nodad");
    let addresses = [("10.0.0.9", 24), ("2001:db8::9", 64)];
    let mac = |chassis: &Namespace| {
        let link = chassis.inside(|| Rtnl::open().expect("socket").link("p0").expect("a device"));
        (link.ifindex, link.mac.expect("an address"))
    };
    let known = |address: &str| {
        let arguments = ["-n", &neighbour.name, "neigh", "show", address];
        let output = std::process::Command::new("ip")
            .args(arguments)
            .output()
            .expect("ip starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let colons = |mac: [u8; 6]| mac.map(|octet| format!("{octet:02x}")).join(":");
    let await_mac = |address: &str, mac: &str, again: &dyn Fn()| {
        let deadline = Instant::now() + WAIT_MAX;
        while !known(address).contains(mac) {
            assert!(
                Instant::now() < deadline,
                "{address} is not at {mac}: {}",
                known(address)
            );
            again();
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let (one, other) = (mac(&first), mac(&second));
    let mut rtnl = [&first, &second].map(|chassis| chassis.inside(Rtnl::open).expect("socket"));
    for (address, length) in addresses {
        on(one.0, address, length).put(&mut rtnl[0]).expect("put");
        // Whatever the answer, the neighbour has asked.
        let ask = || {
            let target = std::net::SocketAddr::new(address.parse().expect("an address"), 9);
            neighbour.inside(|| {
                let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = std::net::UdpSocket::bind(any).expect("socket");
                let _unreachable = socket.send_to(&[1], target);
            });
        };
        await_mac(address, &colons(one.1), &ask);
    }
    // The first is dead: it withdraws nothing. The second takes over, and nobody asks again.
    first.ip("link set p0 down");
    let announcer = second.inside(|| Announcer::open("p0")).expect("socket");
    for (address, length) in addresses {
        on(other.0, address, length).put(&mut rtnl[1]).expect("put");
        assert!(known(address).contains(&colons(one.1)), "{}", known(address));
        announcer
            .announce(address.parse().expect("an address"))
            .expect("sent");
        await_mac(address, &colons(other.1), &|| {});
    }
    assert!(second.inside(|| Announcer::open("nobody")).is_err());
}
