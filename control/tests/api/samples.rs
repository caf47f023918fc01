//! Rows the mock daemon's tables hold.

use std::net::IpAddr;

use tandem_control::api::model::{
    DownReason, Interface, LinkState, Mac, MemberState, MemberSwitch, NextHop, PortCounters, RedundantState,
    Route, RouteAction, Use, Worker,
};
use tandem_engine::view::{Ask, BlockView, MappingView, Query, SessionState, SessionView, SubscriberView};

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The number of the one IPv6 subscriber, which only some tests have.
pub const SIX: usize = 100;

/// What the mock runs: ids of service sets and pools are their places, and those the rows below have.
pub const CONFIG: &str = r#"
[interfaces.lan]
device = "net_ring0"
[interfaces.wan]
device = "net_ring1"
addresses = ["192.0.2.2/24"]
[interfaces.lan2]
device = "net_ring2"
[pools.hotel]
prefixes = ["203.0.113.32/30"]
[pools.formula]
prefixes = ["203.0.113.64/28"]
deterministic = { subscribers = ["100.64.0.0/24"], ports-per-subscriber = 1024 }
[pools.games]
prefixes = ["203.0.113.96/28"]
[pools.residential]
prefixes = ["203.0.113.7/32"]
[nat-rules.guests]
[[nat-rules.guests.terms]]
name = "formula"
from = { source-addresses = ["100.64.0.0/24"] }
then = { translation-type = "deterministic-napt44", pool = "formula" }
[nat-rules.all]
[[nat-rules.all.terms]]
name = "games"
from = { source-addresses = ["10.0.3.0/24"] }
then = { translation-type = "dynamic-nat44", pool = "games" }
[[nat-rules.all.terms]]
name = "all"
from = { source-addresses = ["10.0.0.0/16"] }
then = { translation-type = "napt-44", pool = "residential" }
[[nat-rules.all.terms]]
name = "six"
then = { translation-type = "stateful-nat64", pool = "residential" }
[firewall-policies.to-internet]
[[firewall-policies.to-internet.policies]]
name = "no-mail"
from = { applications = ["smtp"] }
then = "reject"
log = true
[[firewall-policies.to-internet.policies]]
name = "web"
from = { applications = ["https"] }
then = "permit"
[service-sets.hotel]
inside-interfaces = ["lan2"]
outside-interfaces = ["wan"]
nat-rules = ["guests"]
[service-sets.subscribers-a]
inside-interfaces = ["lan"]
outside-interfaces = ["wan"]
nat-rules = ["all"]
[service-sets.subscribers-a.ipv6]
nat64-prefixes = ["64:ff9b::/96"]
subscriber-prefix-length = 56
[service-sets.subscribers-a.firewall]
outbound = ["to-internet"]
outbound-default = "deny"
[[service-sets.subscribers-a.static-mappings]]
name = "mail"
inside = "10.0.9.25"
public = "198.51.100.25"
[[service-sets.subscribers-a.static-mappings]]
name = "web"
inside = "10.0.9.80"
public = "198.51.100.80"
protocol = "tcp"
public-ports = "80"
inside-ports = "8080"
inbound-only = true
"#;

/// The subscriber that session `n` belongs to; even ones live on worker 0, odd ones on worker 1.
pub fn inside(n: usize) -> IpAddr {
    if n == SIX {
        return ip("2001:db8:1::");
    }
    ip(&format!("10.0.0.{}", n % 4 + 1))
}

/// A NAT64 session of the IPv6 subscriber.
pub fn session_six() -> SessionView {
    SessionView {
        worker: 0,
        protocol: 6,
        inside: ip("2001:db8:1:2::9"),
        inside_port: 50_000,
        public_port: 3000,
        outside: ip("64:ff9b::198.51.100.1"),
        remote: ip("198.51.100.1"),
        ..session(2)
    }
}

pub fn session(n: usize) -> SessionView {
    SessionView {
        worker: (n % 2) as u8,
        service_set: 1,
        protocol: if n.is_multiple_of(5) { 17 } else { 6 },
        state: if n.is_multiple_of(5) {
            SessionState::Active
        } else {
            SessionState::Established
        },
        initiated_outside: false,
        inside: inside(n),
        inside_port: 40_000 + n as u16,
        public: ip("203.0.113.7"),
        public_port: 1024 + n as u16,
        outside: ip("198.51.100.1"),
        outside_port: 443,
        remote: ip("198.51.100.1"),
        // Its place in the configuration: to-internet/web.
        policy: 1,
        pool: 3,
        term: 1,
        packets_out: 10 + n as u64,
        bytes_out: 1000,
        packets_in: 20,
        bytes_in: 2000,
        age_s: 60,
        idle_s: 5,
        timeout_s: 7440,
    }
}

pub fn push(query: &mut Query, worker: u8, n: u16, address: IpAddr, public: IpAddr) {
    match query.ask {
        Ask::Mappings => query.rows.mappings.push(MappingView {
            worker,
            service_set: 1,
            protocol: 17,
            inside: address,
            inside_port: 5000 + n,
            public,
            public_port: 2000 + n,
            pool: 3,
            sessions: 2,
        }),
        Ask::Blocks => query.rows.blocks.push(BlockView {
            worker,
            pool: 3,
            service_set: 1,
            subscriber: address,
            public,
            first_port: 1024 + 512 * n,
            last_port: 1535 + 512 * n,
            used: 9,
            active: true,
            age_s: 77,
        }),
        _ => query.rows.subscribers.push(SubscriberView {
            worker,
            service_set: 1,
            address,
            public: Some(public),
            pool: 3,
            sessions: 6,
            tcp_ports: 4,
            udp_ports: 2,
            icmp_ids: 0,
            blocks: 1,
            refused: 3,
        }),
    }
}

pub fn route(prefix: &str) -> Route {
    let hop = |gateway: &str, weight| NextHop {
        gateway: Some(ip(gateway)),
        interface: "wan".to_owned(),
        weight,
        usable: true,
    };
    Route {
        prefix: prefix.parse().expect("a prefix"),
        action: RouteAction::Forward,
        next_hops: vec![hop("192.0.2.1", 1), hop("192.0.2.2", 3)],
    }
}

pub fn worker(id: u8) -> Worker {
    Worker {
        id,
        core: Some(u16::from(id) + 2),
        heartbeat_age_ms: 12,
        stalled: false,
        busy_percent: 37.5,
        bursts: 1000,
        rx_packets: 32_000,
        rx_bytes: 2_048_000,
        tx_packets: 31_990,
        tx_bytes: 2_047_000,
        handed_over_packets: 5,
        punted_packets: 6,
        dropped_packets: 4,
        sessions_created: 99,
        sessions: Use {
            used: 13,
            total: 1024,
        },
        mappings: Use { used: 2, total: 1024 },
        subscribers: Use { used: 2, total: 16 },
        blocks: Use { used: 2, total: 16 },
    }
}

/// A redundant interface of the mock.
pub const REDUNDANT: &str = "red";

/// Its members: the secondary's link is down since the primary took back.
pub fn redundant() -> RedundantState {
    let member = |name: &str, up, rx_packets, rx_missed| MemberState {
        name: name.to_owned(),
        up,
        failed: None,
        counters: PortCounters {
            rx_packets,
            rx_missed,
            ..Default::default()
        },
    };
    RedundantState {
        active: "eth1".to_owned(),
        primary: "eth1".to_owned(),
        forced: None,
        waits: None,
        members: vec![member("eth1", true, 11, 0), member("eth2", false, 0, 5)],
        failovers: 3,
        take_backs: 2,
        switches: vec![MemberSwitch {
            at_unix_s: 1_000_000,
            from: "eth2".to_owned(),
            to: "eth1".to_owned(),
            cause: "the link of eth2 is down".to_owned(),
        }],
    }
}

pub fn interface(name: &str, down: Option<DownReason>) -> Interface {
    Interface {
        name: name.to_owned(),
        device: format!("net_af_xdp_{name}"),
        driver: "net_af_xdp".to_owned(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        vlan: None,
        tap: format!("t-{name}"),
        rx_queues: 1,
        tx_queues: 2,
        speed_mbps: None,
        state: if down.is_some() {
            LinkState::Down
        } else {
            LinkState::Up
        },
        down_reason: down,
        redundant: None,
        counters: PortCounters {
            rx_packets: 11,
            rx_bytes: 1100,
            tx_packets: 9,
            tx_bytes: 900,
            ..Default::default()
        },
    }
}
