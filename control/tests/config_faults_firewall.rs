//! Single faults of applications, address books, firewall policies and a service set's firewall: each is told once, where it
//! stands.

mod common;

use common::{check, faults};

const BASE: &str = r#"[interfaces.in]
device = "net_ring0"
[interfaces.out]
device = "net_ring1"
[applications.backend]
protocol = "tcp"
destination-ports = ["8443", "9000-9010"]
[applications.probe]
protocol = "icmp"
icmp-types = ["echo-request"]
[application-sets.web]
applications = ["http", "https", "backend"]
[address-books.servers]
prefixes = ["10.0.0.16/28", "2001:db8::/64"]
ranges = ["10.0.1.1-10.0.1.9"]
[[firewall-policies.up.policies]]
name = "web"
from = { source-addresses = ["10.0.0.0/8"], applications = ["web"] }
then = "permit"
[[firewall-policies.up.policies]]
name = "rest"
then = "reject"
[[firewall-policies.down.policies]]
name = "servers"
from = { destination-addresses = ["servers"], applications = ["web", "probe"] }
then = "permit"
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
[service-sets.s.firewall]
outbound = ["up"]
inbound = ["down"]
"#;

const CASES: &[(&str, &str, u32, &str, &str)] = &[
    // Applications.
    (
        "protocol = \"tcp\"",
        "protocol = \"tpc\"",
        6,
        "applications.backend.protocol",
        "\"sctp\"",
    ),
    (
        "protocol = \"tcp\"",
        "protocol = 256",
        6,
        "applications.backend.protocol",
        "0..=255",
    ),
    (
        "protocol = \"tcp\"\n",
        "",
        5,
        "applications.backend",
        "has no protocol",
    ),
    (
        "protocol = \"tcp\"",
        "protocol = \"gre\"",
        7,
        "applications.backend.destination-ports",
        "TCP, UDP and SCTP have ports",
    ),
    (
        "protocol = \"tcp\"",
        "protocol = \"tcp\"\nicmp-types = [8]",
        7,
        "applications.backend.icmp-types",
        "applications.backend.protocol (line 6)",
    ),
    (
        "9000-9010",
        "9010-9000",
        7,
        "applications.backend.destination-ports[1]",
        "use \"9000-9010\"",
    ),
    (
        "echo-request",
        "echo-reqest",
        10,
        "applications.probe.icmp-types[0]",
        "did you mean \"echo-request\"?",
    ),
    (
        "\"echo-request\"",
        "\"packet-too-big\"",
        10,
        "applications.probe.icmp-types[0]",
        "not a type of ICMP",
    ),
    (
        "\"echo-request\"",
        "256",
        10,
        "applications.probe.icmp-types[0]",
        "0..=255",
    ),
    (
        "icmp-types = [\"echo-request\"]",
        "icmp-codes = [0]",
        10,
        "applications.probe.icmp-codes",
        "add icmp-types",
    ),
    (
        "[applications.probe]",
        "[applications.https]\nprotocol = \"udp\"\n[applications.probe]",
        8,
        "applications.https",
        "built-in application",
    ),
    (
        "[application-sets.web]",
        "[application-sets.probe]\napplications = [\"http\"]\n[application-sets.web]",
        11,
        "application-sets.probe",
        "applications.probe (line 8)",
    ),
    (
        "\"http\", \"https\", \"backend\"",
        "\"http\", \"htps\", \"backend\"",
        12,
        "application-sets.web.applications[1]",
        "did you mean \"https\"?",
    ),
    (
        "\"http\", \"https\", \"backend\"",
        "",
        11,
        "application-sets.web",
        "has no application",
    ),
    (
        "[application-sets.web]",
        "[application-sets.more]\napplications = [\"web\"]\n[application-sets.web]",
        12,
        "application-sets.more.applications[0]",
        "is a set itself",
    ),
    // Address books.
    (
        "\"10.0.0.16/28\"",
        "\"10.0.0.17/28\"",
        14,
        "address-books.servers.prefixes[0]",
        "use \"10.0.0.16/28\"",
    ),
    (
        "\"2001:db8::/64\"",
        "\"::ffff:10.0.0.0/120\"",
        14,
        "address-books.servers.prefixes[1]",
        "write IPv4 addresses as such",
    ),
    (
        "10.0.1.1-10.0.1.9",
        "10.0.1.9-10.0.1.1",
        15,
        "address-books.servers.ranges[0]",
        "use \"10.0.1.1-10.0.1.9\"",
    ),
    (
        "[address-books.servers]",
        "[address-books.any]\nprefixes = [\"10.0.0.0/8\"]\n[address-books.servers]",
        13,
        "address-books.any",
        "built-in address book",
    ),
    (
        "[address-books.servers]",
        "[address-books.none]\n[address-books.servers]",
        13,
        "address-books.none",
        "is empty",
    ),
    (
        "[address-books.servers]",
        "[address-books.\"10.0.0.1\"]\nprefixes = [\"10.0.0.0/8\"]\n[address-books.servers]",
        13,
        "address-books.\"10.0.0.1\"",
        "reads like an address",
    ),
    // Policies.
    (
        "name = \"web\"\n",
        "",
        16,
        "firewall-policies.up.policies[0]",
        "has no name",
    ),
    (
        "name = \"rest\"",
        "name = \"web\"",
        21,
        "firewall-policies.up.policies[1].name",
        "firewall-policies.up.policies[0] (line 17)",
    ),
    (
        "then = \"reject\"\n",
        "",
        20,
        "firewall-policies.up.policies[1]",
        "does nothing",
    ),
    (
        "then = \"reject\"",
        "then = \"drop\"",
        22,
        "firewall-policies.up.policies[1].then",
        "\"permit\", \"deny\", \"reject\"",
    ),
    (
        "then = \"reject\"",
        "then = \"reject\"\nlog = 1",
        23,
        "firewall-policies.up.policies[1].log",
        "true or false",
    ),
    (
        "applications = [\"web\"] }",
        "applications = [\"wed\"] }",
        18,
        "firewall-policies.up.policies[0].from.applications[0]",
        "did you mean \"web\"?",
    ),
    (
        "[\"servers\"]",
        "[\"server\"]",
        25,
        "firewall-policies.down.policies[0].from.destination-addresses[0]",
        "did you mean \"servers\"?",
    ),
    (
        "[\"10.0.0.0/8\"]",
        "[\"10.0.0.1\"]",
        18,
        "firewall-policies.up.policies[0].from.source-addresses[0]",
        "use \"10.0.0.1/32\"",
    ),
    (
        "source-addresses = [",
        "ports = [80], source-addresses = [",
        18,
        "firewall-policies.up.policies[0].from.ports",
        "unknown key",
    ),
    (
        "[service-sets.s]",
        "[firewall-policies.none]\n[service-sets.s]",
        27,
        "firewall-policies.none",
        "has no policy",
    ),
    // The firewall of a service set.
    (
        "[\"up\"]",
        "[\"upp\"]",
        31,
        "service-sets.s.firewall.outbound[0]",
        "did you mean \"up\"?",
    ),
    (
        "[\"down\"]",
        "[\"down\", \"down\"]",
        32,
        "service-sets.s.firewall.inbound[1]",
        "stands here twice",
    ),
    (
        "inbound = [",
        "inbound-default = \"drop\"\ninbound = [",
        32,
        "service-sets.s.firewall.inbound-default",
        "\"deny\"",
    ),
    (
        "[service-sets.s.firewall]\noutbound = [\"up\"]\ninbound = [\"down\"]\n",
        "",
        27,
        "service-sets.s.nat-rules",
        "nothing else to do",
    ),
    (
        "[service-sets.s.firewall]",
        "[service-sets.s.tcp]\nwindow-tracking = \"yes\"\n[service-sets.s.firewall]",
        31,
        "service-sets.s.tcp.window-tracking",
        "true or false",
    ),
    // What comes in from "out" would be the other set's inside, and nothing to this firewall.
    (
        "inbound = [\"down\"]\n",
        "inbound = [\"down\"]\n[interfaces.wan]\ndevice = \"net_ring2\"\n[service-sets.x]\ninside-interfaces = [\"out\"]\noutside-interfaces = [\"wan\"]\nfirewall = {}\n",
        29,
        "service-sets.s.outside-interfaces[0]",
        "service-sets.x.inside-interfaces[0] (line 36); what comes in by it would bypass this set's firewall",
    ),
    (
        "[service-sets.s]\n",
        "[interfaces.wan]\ndevice = \"net_ring2\"\n[service-sets.a]\ninside-interfaces = [\"out\"]\noutside-interfaces = [\"wan\"]\nfirewall = {}\n[service-sets.s]\n",
        35,
        "service-sets.s.outside-interfaces[0]",
        "put the two sets on separate interfaces",
    ),
];

#[test]
fn each_fault_is_told_once_where_it_stands() {
    check(BASE, CASES);
}

/// Ranges that cost a classifier many prefixes are told before it is built.
#[test]
fn a_policy_has_a_bound_on_what_it_costs() {
    // 600 hosts on each side: one rule for each pair.
    let hosts: Vec<String> = (0..600)
        .map(|n| format!("\"10.{}.{}.1/32\"", n / 200, n % 200))
        .collect();
    let wide = BASE.replace(
        "[\"10.0.0.0/8\"], applications = [\"web\"]",
        &format!("[{0}], destination-addresses = [{0}]", hosts.join(", ")),
    );
    let found = faults(&wide);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(
        (found[0].line, found[0].path.as_str()),
        (18, "firewall-policies.up.policies[0].from")
    );
    assert!(
        found[0]
            .problem
            .contains("360000 classifier rules (600 x 600 x 1)"),
        "{}",
        found[0]
    );
    assert_eq!(
        (found[1].line, found[1].path.as_str()),
        (31, "service-sets.s.firewall.outbound")
    );
}

#[test]
fn a_direction_has_a_bound_on_its_policies() {
    use std::fmt::Write;
    let mut text = String::new();
    for number in 0..=65_534 {
        writeln!(text, "[[firewall-policies.many.policies]]\nname = \"p{number}\"\nfrom = {{ applications = [\"ssh\"] }}\nthen = \"permit\"")
            .expect("a string takes it");
    }
    let text = format!(
        "{}{text}",
        BASE.replace("[\"up\"]", "[\"many\"]")
            .replace("inbound = [\"down\"]\n", "")
    );
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].line, found[0].path.as_str()),
        (31, "service-sets.s.firewall.outbound")
    );
    assert!(
        found[0]
            .to_string()
            .contains("65535 policies together; use at most 65534"),
        "{}",
        found[0]
    );
}

#[test]
fn all_directions_together_have_a_bound_on_their_policies() {
    use std::fmt::Write;
    let mut text = BASE
        .replace("[\"up\"]", "[\"many\"]")
        .replace("[\"down\"]", "[\"many\"]");
    for number in 0..32_768 {
        writeln!(text, "[[firewall-policies.many.policies]]\nname = \"p{number}\"\nfrom = {{ applications = [\"ssh\"] }}\nthen = \"permit\"")
            .expect("a string takes it");
    }
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].path, "firewall-policies");
    assert!(
        found[0]
            .to_string()
            .contains("65536 policies together; use at most 65535"),
        "{}",
        found[0]
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = BASE
        .replace("outbound = [\"up\"]\n", "")
        .replace("[[firewall-policies.down.policies]]", "[[firewall-policies.up.policies]]\nname = \"late\"\nthen = \"deny\"\n[[firewall-policies.down.policies]]");
    let config = tandem_control::config::parse(&text, "t.toml").expect("right");
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].contains("firewall-policies.up: no service set uses these policies"),
        "{told:#?}"
    );
    assert!(
        told[1].contains("up.policies[2]: is never reached: firewall-policies.up.policies[1] (line 20)"),
        "{told:#?}"
    );
}
