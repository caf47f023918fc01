//! Neighbours: followed, and resolved on demand by the kernel's own ARP and ND, out of the tap.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use tandem_control::kernel::{Binding, NeighbourState, Tap};

use crate::lab::{Lab, Namespace, frame};

const PEER: [u8; 6] = [2, 0, 0, 0, 9, 9];

fn port() -> (Lab, Tap) {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    let lab = Lab::new(namespace, &[("p0", Binding::Tap(4))]);
    lab.ip("address add 10.0.0.1/24 dev p0");
    lab.ip("-6 address add 2001:db8::1/64 dev p0 nodad");
    lab.expect("2001:db8::/64", crate::lab::hops("4 - 1"));
    (lab, tap)
}

fn expect(lab: &Lab, address: IpAddr, wanted: NeighbourState) {
    lab.wait(&format!("{address} {wanted:?}"), |state| {
        state.neighbours.get(&(4, address)) == Some(&wanted)
    });
}

/// An ARP request (RFC 826) for an address.
fn is_arp_request(frame: &[u8], target: [u8; 4]) -> bool {
    frame.len() >= 42 && frame[12..14] == [8, 6] && frame[20..22] == [0, 1] && frame[38..42] == target
}

fn arp_reply(request: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    reply.extend(&request[6..12]);
    reply.extend(PEER);
    reply.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend(PEER);
    reply.extend(&request[38..42]);
    reply.extend(&request[22..32]);
    reply
}

#[test]
fn changes_by_hand_are_followed() {
    let (lab, _tap) = port();
    let (four, six): (IpAddr, IpAddr) = ("10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap());
    for address in [four, six] {
        lab.ip(&format!(
            "neigh add {address} lladdr 02:00:00:00:09:09 dev p0 nud permanent"
        ));
        expect(&lab, address, NeighbourState::Reachable(PEER));
        lab.ip(&format!(
            "neigh replace {address} lladdr 02:00:00:00:09:0a dev p0 nud stale"
        ));
        expect(&lab, address, NeighbourState::Reachable([2, 0, 0, 0, 9, 10]));
        lab.ip(&format!("neigh del {address} dev p0"));
        lab.wait("gone", |state| {
            matches!(
                state.neighbours[&(4, address)],
                NeighbourState::Gone | NeighbourState::Failed
            )
        });
    }
}

#[test]
fn resolve_sends_an_arp_request_out_of_the_tap_and_takes_the_answer() {
    let (lab, tap) = port();
    let address: IpAddr = "10.0.0.77".parse().unwrap();
    lab.handle.resolve(4, address);
    let request = frame(&tap, "an ARP request", |frame| {
        is_arp_request(frame, [10, 0, 0, 77])
    });
    assert_eq!(request[..6], [0xff; 6]);
    assert_eq!(request[6..12], [2, 0, 0, 0, 0, 1], "from the tap's address");
    assert!(tap.send(&arp_reply(&request)).expect("tap sends"));
    expect(&lab, address, NeighbourState::Reachable(PEER));

    // A stale entry in use is probed, by unicast.
    lab.ip("neigh replace 10.0.0.77 lladdr 02:00:00:00:09:09 dev p0 nud stale");
    lab.wait("time enough for another wish", |_| {
        lab.handle.refresh(4, address);
        lab.handle.stats().resolve_sent.load(Ordering::Relaxed) >= 2
    });
    let probe = frame(&tap, "a probe", |frame| {
        is_arp_request(frame, [10, 0, 0, 77]) && frame[..6] == PEER
    });
    assert!(tap.send(&arp_reply(&probe)).expect("tap sends"));
}

#[test]
fn resolve_sends_a_neighbour_solicitation_and_reports_failure() {
    let (lab, tap) = port();
    let address: IpAddr = "2001:db8::77".parse().unwrap();
    for _ in 0..100 {
        lab.handle.resolve(4, address);
    }
    // ICMPv6 type 135 behind a plain IPv6 header, RFC 4861 section 4.3; the target is its last 16 octets.
    let target = "2001:db8::77".parse::<std::net::Ipv6Addr>().unwrap().octets();
    frame(&tap, "a neighbour solicitation", |frame| {
        frame.len() >= 78 && frame[12..14] == [0x86, 0xdd] && frame[54] == 135 && frame[62..78] == target
    });
    expect(&lab, address, NeighbourState::Failed);
    let stats = lab.handle.stats();
    let (sent, limited) = (
        stats.resolve_sent.load(Ordering::Relaxed),
        stats.resolve_limited.load(Ordering::Relaxed),
    );
    assert_eq!(
        (sent, limited),
        (1, 99),
        "the same wish within a second is one wish"
    );
    lab.handle.resolve(9, address);
    lab.wait("counted", |_| {
        lab.handle.stats().resolve_failed.load(Ordering::Relaxed) == 1
    });
}
