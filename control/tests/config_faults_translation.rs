//! Single faults of NAT64, translation types, static mappings, deterministic pools and stateless translation: each is told
//! once, where it stands.

mod common;

use common::check;

/// Everything right, so that one replacement makes one fault.
const BASE: &str = r#"[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24", "2001:db8:0:1::1/64"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24"]
[pools.a]
prefixes = ["203.0.113.0/28"]
[pools.d]
prefixes = ["203.0.113.16/28"]
deterministic = { subscribers = ["100.64.0.0/24"], ports-per-subscriber = 1024 }
[pools.w]
prefixes = ["203.0.113.32/28"]
[nat-rules.r]
[[nat-rules.r.terms]]
name = "six"
from = { source-addresses = ["2001:db8:1::/48"] }
then = { translation-type = "stateful-nat64", pool = "a" }
[[nat-rules.r.terms]]
name = "det"
from = { source-addresses = ["100.64.0.0/24"] }
then = { translation-type = "deterministic-napt44", pool = "d" }
[[nat-rules.r.terms]]
name = "whole"
from = { source-addresses = ["10.1.0.0/24"] }
then = { translation-type = "dynamic-nat44", pool = "w" }
[[nat-rules.r.terms]]
name = "basic"
from = { source-addresses = ["10.2.0.0/28"] }
then = { translation-type = "basic-nat44", public-prefix = "198.51.100.0/28" }
[[nat-rules.r.terms]]
name = "dnat"
from = { destination-addresses = ["198.51.100.16/32"], destination-ports = [80], protocols = ["tcp"] }
then = { translation-type = "dnat-44", destination-prefix = "10.3.0.5/32", destination-ports = 8080 }
[[nat-rules.r.terms]]
name = "twice"
from = { destination-addresses = ["10.99.0.0/24"] }
then = { translation-type = "twice-napt-44", pool = "a", destination-prefix = "10.98.0.0/24" }
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
nat-rules = ["r"]
[service-sets.s.ipv6]
nat64-prefixes = ["64:ff9b::/96"]
[[service-sets.s.static-mappings]]
name = "web"
inside = "10.4.0.5"
public = "203.0.113.5"
protocol = "tcp"
public-ports = 443
[[service-sets.s.static-mappings]]
name = "host"
inside = "10.4.0.6"
public = "198.51.100.40"
[[service-sets.s.static-mappings]]
name = "six"
inside = "2001:db8:1::80"
public = "198.51.100.41"
"#;

/// What is replaced in BASE, by what, and the line, path and text of the one fault that comes of it.
const CASES: &[(&str, &str, u32, &str, &str)] = &[
    // NAT64 prefixes and IPv6 options.
    (
        "64:ff9b::/96",
        "64:ff9b::/95",
        44,
        "service-sets.s.ipv6.nat64-prefixes[0]",
        "32, 40, 48, 56, 64 or 96",
    ),
    (
        "64:ff9b::/96",
        "2001:db8::1/64",
        44,
        "service-sets.s.ipv6.nat64-prefixes[0]",
        "use \"2001:db8::/64\"",
    ),
    (
        "64:ff9b::/96",
        "2001:db8:0:0:100::/96",
        44,
        "service-sets.s.ipv6.nat64-prefixes[0]",
        "bits 64 to 71",
    ),
    (
        "[\"64:ff9b::/96\"]",
        "[\"64:ff9b::/96\", \"64:ff9b::/32\"]",
        44,
        "service-sets.s.ipv6.nat64-prefixes[1]",
        "overlaps 64:ff9b::/96 of service-sets.s.ipv6.nat64-prefixes[0] (line 44)",
    ),
    (
        "nat64-prefixes = ",
        "subscriber-prefix-length = 65\nnat64-prefixes = ",
        44,
        "service-sets.s.ipv6.subscriber-prefix-length",
        "48..=64, or 128",
    ),
    (
        "nat64-prefixes = ",
        "subscriber-prefix-length = 32\nnat64-prefixes = ",
        44,
        "service-sets.s.ipv6.subscriber-prefix-length",
        "48..=128",
    ),
    (
        "nat64-prefixes = ",
        "lowest-ipv6-mtu = 1279\nnat64-prefixes = ",
        44,
        "service-sets.s.ipv6.lowest-ipv6-mtu",
        "1280..=65535",
    ),
    (
        "nat64-prefixes = ",
        "udp-zero-checksum = \"keep\"\nnat64-prefixes = ",
        44,
        "service-sets.s.ipv6.udp-zero-checksum",
        "\"compute\", \"drop\"",
    ),
    // Translation types and their keys.
    (
        "[\"2001:db8:1::/48\"]",
        "[\"10.0.0.0/8\"]",
        17,
        "nat-rules.r.terms[0].from.source-addresses[0]",
        "stateful-nat64 translates IPv6 sources",
    ),
    (
        "[\"10.1.0.0/24\"]",
        "[\"2001:db8::/32\"]",
        25,
        "nat-rules.r.terms[2].from.source-addresses[0]",
        "dynamic-nat44 translates IPv4 sources",
    ),
    (
        "\"deterministic-napt44\", pool = \"d\"",
        "\"deterministic-napt44\", pool = \"a\"",
        22,
        "nat-rules.r.terms[1].then.pool",
        "add [pools.a.deterministic]",
    ),
    (
        "\"deterministic-napt44\", pool",
        "\"napt-44\", pool",
        22,
        "nat-rules.r.terms[1].then.pool",
        "by a formula",
    ),
    (
        "pool = \"w\"",
        "pool = \"a\"",
        26,
        "nat-rules.r.terms[2].then.pool",
        "nat-rules.r.terms[0] (line 15) takes ports",
    ),
    (
        "pool = \"w\"",
        "pool = \"w\", mapping-type = \"endpoint-independent\"",
        26,
        "nat-rules.r.terms[2].then.mapping-type",
        "dynamic-nat44 has no use for it",
    ),
    (
        ", public-prefix = \"198.51.100.0/28\"",
        "",
        30,
        "nat-rules.r.terms[3].then",
        "add public-prefix",
    ),
    (
        "198.51.100.0/28",
        "198.51.100.0/29",
        30,
        "nat-rules.r.terms[3].then.public-prefix",
        "is not as large as 10.2.0.0-10.2.0.15",
    ),
    (
        "[\"10.2.0.0/28\"]",
        "[\"10.2.0.0/28\", \"10.2.1.0/28\"]",
        29,
        "nat-rules.r.terms[3].from.source-addresses",
        "maps one prefix, and here are 2",
    ),
    (
        "[\"10.2.0.0/28\"] }",
        "[\"10.2.0.0/28\"], protocols = [\"tcp\"] }",
        29,
        "nat-rules.r.terms[3].from.protocols",
        "basic-nat44 does not look at it",
    ),
    (
        "from = { source-addresses = [\"10.2.0.0/28\"] }",
        "from = {}",
        29,
        "nat-rules.r.terms[3].from",
        "there are none",
    ),
    (
        "[\"198.51.100.16/32\"]",
        "[\"224.0.0.0/32\"]",
        33,
        "nat-rules.r.terms[4].from.destination-addresses[0]",
        "multicast",
    ),
    (
        "[\"198.51.100.16/32\"], destination-ports = [80]",
        "[\"203.0.113.32/32\"], destination-ports = [8080]",
        33,
        "nat-rules.r.terms[4].from.destination-addresses",
        "203.0.113.32 lies in pools.w, whose subscribers have whole addresses",
    ),
    (
        "destination-ports = 8080",
        "destination-ports = \"8080-8081\"",
        34,
        "nat-rules.r.terms[4].then.destination-ports",
        "2 ports stand against 1",
    ),
    (
        "10.3.0.5/32",
        "10.3.0.4/31",
        34,
        "nat-rules.r.terms[4].then.destination-prefix",
        "as large as 198.51.100.16",
    ),
    (
        "10.98.0.0/24",
        "10.98.0.0/25",
        38,
        "nat-rules.r.terms[5].then.destination-prefix",
        "as large as 10.99.0.0-10.99.0.255",
    ),
    (
        ", destination-prefix = \"10.98.0.0/24\"",
        "",
        38,
        "nat-rules.r.terms[5].then",
        "add destination-prefix",
    ),
    (
        "\"twice-napt-44\"",
        "\"napt-44\"",
        38,
        "nat-rules.r.terms[5].then.destination-prefix",
        "napt-44 has no use for it",
    ),
    // Pools.
    (
        "[pools.w]",
        "[pools.w]\nport-overloading = true",
        27,
        "nat-rules.r.terms[2].then.pool",
        "\"w\" has port-overloading",
    ),
    (
        "\"twice-napt-44\", pool = \"a\"",
        "\"twice-napt-44\", pool = \"o\"",
        38,
        "nat-rules.r.terms[5].then.pool",
        "there is no pool \"o\"",
    ),
    (
        "ports-per-subscriber = 1024",
        "ports-per-subscriber = 8192",
        11,
        "pools.d.deterministic.ports-per-subscriber",
        "use at most 4032 ports",
    ),
    (
        "100.64.0.0/24\"], ports",
        "100.64.0.0/24\", \"100.64.0.128/25\"], ports",
        11,
        "pools.d.deterministic.subscribers[1]",
        "list each subscriber once",
    ),
    (
        "100.64.0.0/24\"], ports",
        "100.64.0.0/24\", \"2001:db8::/64\"], ports",
        11,
        "pools.d.deterministic.subscribers[1]",
        "not of the family of pools.d.deterministic.subscribers[0] (line 11)",
    ),
    (
        "ports-per-subscriber = 1024",
        "subscriber-prefix-length = 64",
        11,
        "pools.d.deterministic.subscriber-prefix-length",
        "an IPv4 subscriber is one address",
    ),
    (
        "deterministic = {",
        "drain = true\ndeterministic = {",
        11,
        "pools.d.drain",
        "stands beside pools.d.deterministic (line 12)",
    ),
    (
        "deterministic = {",
        "port-block-allocation = {}\ndeterministic = {",
        11,
        "pools.d.port-block-allocation",
        "stands beside pools.d.deterministic (line 12)",
    ),
    (
        "[pools.w]",
        "[pools.b]\nprefixes = [\"203.0.113.48/28\"]\nport-overloading = true\nport-block-allocation = {}\n[pools.w]",
        14,
        "pools.b.port-overloading",
        "stands beside pools.b.port-block-allocation (line 15)",
    ),
    // Static mappings.
    (
        "inside = \"10.4.0.5\"\n",
        "",
        45,
        "service-sets.s.static-mappings[0]",
        "has no inside",
    ),
    (
        "protocol = \"tcp\"\n",
        "",
        49,
        "service-sets.s.static-mappings[0].public-ports",
        "add protocol",
    ),
    (
        "public-ports = 443",
        "public-ports = \"443-444\"\ninside-ports = 8443",
        51,
        "service-sets.s.static-mappings[0].inside-ports",
        "1 inside ports stand against 2",
    ),
    (
        "198.51.100.40",
        "203.0.113.6",
        54,
        "service-sets.s.static-mappings[1].public",
        "takes all of its ports",
    ),
    (
        "198.51.100.40",
        "192.0.2.1",
        54,
        "service-sets.s.static-mappings[1].public",
        "this system's own (interfaces.out.addresses)",
    ),
    (
        "198.51.100.40",
        "2001:db8::1",
        54,
        "service-sets.s.static-mappings[1].public",
        "is not IPv4",
    ),
    (
        "198.51.100.40",
        "198.51.100.5",
        54,
        "service-sets.s.static-mappings[1].public",
        "so does nat-rules.r.terms[3] (line 27)",
    ),
    (
        "\"198.51.100.40\"",
        "\"198.51.100.40/31\"",
        54,
        "service-sets.s.static-mappings[1].public",
        "add inbound-only = true",
    ),
    (
        "\"10.4.0.6\"",
        "\"10.4.0.6/31\"",
        53,
        "service-sets.s.static-mappings[1].inside",
        "2 addresses stand against 1",
    ),
    (
        "10.4.0.6",
        "10.2.0.6",
        53,
        "service-sets.s.static-mappings[1].inside",
        "so does nat-rules.r.terms[3] (line 27)",
    ),
    (
        "name = \"host\"",
        "name = \"web\"",
        52,
        "service-sets.s.static-mappings[1].name",
        "service-sets.s.static-mappings[0] (line 45)",
    ),
    (
        "2001:db8:1::80",
        "::ffff:10.0.0.5",
        57,
        "service-sets.s.static-mappings[2].inside",
        "write IPv4 addresses as such: \"10.0.0.5\"",
    ),
];

#[test]
fn each_fault_is_told_once_where_it_stands() {
    check(BASE, CASES);
}

#[test]
fn overloaded_ports_are_not_for_endpoint_independent_mappings() {
    let text = BASE.replace("[pools.a]", "[pools.a]\nport-overloading = true");
    let found = common::faults(&text);
    let told: Vec<_> = found
        .iter()
        .map(|fault| (fault.line, fault.path.as_str()))
        .collect();
    let wanted = [
        (19, "nat-rules.r.terms[0].then.pool"),
        (39, "nat-rules.r.terms[5].then.pool"),
    ];
    assert_eq!(told, wanted, "{found:#?}");
    let dependent = "pool = \"a\", mapping-type = \"address-and-port-dependent\"";
    assert_eq!(common::faults(&text.replace("pool = \"a\"", dependent)), []);
}

#[test]
fn nat64_needs_a_prefix() {
    let text = BASE.replace("nat64-prefixes = [\"64:ff9b::/96\"]\n", "");
    let found = common::faults(&text);
    let told: Vec<_> = found
        .iter()
        .map(|fault| (fault.line, fault.path.as_str()))
        .collect();
    let wanted = [
        (42, "service-sets.s.nat-rules[0]"),
        (56, "service-sets.s.static-mappings[2].inside"),
    ];
    assert_eq!(told, wanted, "{found:#?}");
    assert!(
        found[0].remedy.contains("to [service-sets.s.ipv6]"),
        "{}",
        found[0]
    );
}

const STATELESS: &str = r#"[interfaces.in]
device = "net_ring0"
[interfaces.out]
device = "net_ring1"
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
[service-sets.s.siit]
prefix = "64:ff9b:1::/96"
[[service-sets.s.siit.explicit-mappings]]
ipv4 = "192.0.2.0/28"
ipv6 = "2001:db8::/124"
[[service-sets.s.nptv6]]
inside = "fd00:1::/48"
outside = "2001:db8:1::/48"
"#;

const STATELESS_CASES: &[(&str, &str, u32, &str, &str)] = &[
    (
        "prefix = \"64:ff9b:1::/96\"",
        "prefix = \"64:ff9b:1::/97\"",
        9,
        "service-sets.s.siit.prefix",
        "32, 40, 48, 56, 64 or 96",
    ),
    (
        "2001:db8::/124",
        "2001:db8::/125",
        12,
        "service-sets.s.siit.explicit-mappings[0].ipv6",
        "use at most /124",
    ),
    (
        "ipv6 = \"2001:db8::/124\"",
        "ipv6 = \"2001:db8::/124\"\n[[service-sets.s.siit.explicit-mappings]]\nipv4 = \"192.0.2.0/28\"\nipv6 = \"2001:db8::100/124\"",
        14,
        "service-sets.s.siit.explicit-mappings[1].ipv4",
        "explicit-mappings[0] (line 10) too",
    ),
    (
        "ipv4 = \"192.0.2.0/28\"\n",
        "",
        10,
        "service-sets.s.siit.explicit-mappings[0]",
        "has no ipv4",
    ),
    (
        "2001:db8:1::/48",
        "2001:db8:1::/49",
        15,
        "service-sets.s.nptv6[0].outside",
        "use a prefix length of 48",
    ),
    (
        "fd00:1::/48",
        "fd00:1::/65",
        14,
        "service-sets.s.nptv6[0].inside",
        "1..=64",
    ),
    (
        "2001:db8:1::/48",
        "fd00:1::/48",
        15,
        "service-sets.s.nptv6[0].outside",
        "two prefixes that differ",
    ),
    (
        "outside = \"2001:db8:1::/48\"\n",
        "",
        13,
        "service-sets.s.nptv6[0]",
        "has no outside",
    ),
    (
        "[[service-sets.s.nptv6]]",
        "[service-sets.s.firewall]\n[[service-sets.s.nptv6]]",
        13,
        "service-sets.s.firewall",
        "stands beside service-sets.s.siit (line 8)",
    ),
    (
        "[service-sets.s.siit]",
        "[service-sets.s.ipv6]\nnat64-prefixes = [\"2001:db8:64::/96\"]\n[service-sets.s.siit]",
        9,
        "service-sets.s.ipv6.nat64-prefixes[0]",
        "which has no sessions",
    ),
    (
        "[[service-sets.s.nptv6]]",
        "[[service-sets.s.static-mappings]]\nname = \"x\"\ninside = \"10.0.0.1\"\npublic = \"203.0.113.1\"\n[[service-sets.s.nptv6]]",
        13,
        "service-sets.s.static-mappings[0]",
        "make two service sets",
    ),
];

/// A second service set, whose packets from outside must be told from those of the first.
const SECOND: &str = r#"[interfaces.in2]
device = "net_ring2"
[service-sets.t]
inside-interfaces = ["in2"]
outside-interfaces = ["out"]
[service-sets.t.siit]
prefix = "64:ff9b:2::/96"
[[service-sets.t.siit.explicit-mappings]]
ipv4 = "192.0.2.16/28"
ipv6 = "2001:db8::10/124"
[[service-sets.t.nptv6]]
inside = "fd00:1::/48"
outside = "2001:db8:2::/48"
[pools.a]
prefixes = ["203.0.113.0/28"]
[nat-rules.r]
terms = [{ name = "x", then = { translation-type = "napt-44", pool = "a" } }]
[service-sets.u]
inside-interfaces = ["in3"]
outside-interfaces = ["out"]
nat-rules = ["r"]
ipv6 = { nat64-prefixes = ["64:ff9b:3::/96"] }
static-mappings = [{ name = "m", inside = "10.0.0.1", public = "198.51.100.1" }]
[interfaces.in3]
device = "net_ring3"
"#;

const SECOND_CASES: &[(&str, &str, u32, &str, &str)] = &[
    (
        "64:ff9b:2::/96",
        "64:ff9b:1::/48",
        22,
        "service-sets.t.siit.prefix",
        "overlaps 64:ff9b:1::/96 of service-sets.s.siit.prefix (line 9)",
    ),
    (
        "192.0.2.16/28",
        "192.0.2.8/29",
        24,
        "service-sets.t.siit.explicit-mappings[0].ipv4",
        "service-sets.s.siit.explicit-mappings[0].ipv4 (line 11)",
    ),
    (
        "192.0.2.16/28",
        "203.0.113.0/30",
        24,
        "service-sets.t.siit.explicit-mappings[0].ipv4",
        "of pools.a",
    ),
    (
        "192.0.2.16/28",
        "198.51.100.0/30",
        24,
        "service-sets.t.siit.explicit-mappings[0].ipv4",
        "static mapping \"m\" of \"u\"",
    ),
    (
        "2001:db8::10/124",
        "2001:db8::/120",
        25,
        "service-sets.t.siit.explicit-mappings[0].ipv6",
        "overlaps 2001:db8::/124 of service-sets.s",
    ),
    (
        "2001:db8:2::/48",
        "2001:db8:1::/48",
        28,
        "service-sets.t.nptv6[0].outside",
        "overlaps 2001:db8:1::/48 of service-sets.s.nptv6[0].outside (line 15)",
    ),
    (
        "64:ff9b:3::/96",
        "64:ff9b:1::/96",
        37,
        "service-sets.u.ipv6.nat64-prefixes[0]",
        "overlaps 64:ff9b:1::/96 of service-sets.s.siit.prefix",
    ),
];

#[test]
fn packets_from_outside_find_one_service_set() {
    check(&format!("{STATELESS}{SECOND}"), SECOND_CASES);
}

#[test]
fn each_fault_of_stateless_translation_is_told_once() {
    check(STATELESS, STATELESS_CASES);
}
