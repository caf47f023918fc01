//! What the HA data link, ports that show as down on the standby, and a pair without session replication exclude: each conflict is
//! told with both ends.

use tandem_control::config::{self, Extras, NameRegistry, compile};

mod common;

use common::{check, faults};

const BASE: &str = r#"[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24"]
[interfaces.ha]
device = "net_ring2"
mtu = 1536
addresses = ["10.9.0.1/24", "10.99.0.1/24"]
[redundancy]
redundancy-local = "5.5.5.1"
[redundancy-groups.1]
redundancy-peer = "5.5.5.2"
security = "none"
data-forwarding = { interface = "ha", peer = "10.99.0.2" }
[redundancy-sets.1]
redundancy-group = 1
virtual-addresses = [{ interface = "in", address = "10.0.0.9/24" }]
[pools.p]
prefixes = ["203.0.113.0/24"]
[nat-rules.r]
terms = [{ name = "t", then = { translation-type = "napt-44", pool = "p" } }]
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
nat-rules = ["r"]
redundancy-set = 1
"#;

const LINK: &str = "redundancy-groups.1.data-forwarding";

#[test]
fn the_link_has_no_other_use_and_takes_what_the_others_take() {
    let (interface, peer, port) = (
        format!("{LINK}.interface"),
        format!("{LINK}.peer"),
        format!("{LINK}.port"),
    );
    check(
        BASE,
        &[
            ("interface = \"ha\", ", "", 16, LINK, "has no interface"),
            (", peer = \"10.99.0.2\"", "", 16, LINK, "has no peer"),
            (
                "\"ha\", peer",
                "\"hb\", peer",
                16,
                &interface,
                "there is no interfaces.hb; did you mean \"ha\"?",
            ),
            (
                "inside-interfaces = [\"in\"]",
                "inside-interfaces = [\"in\", \"ha\"]",
                16,
                &interface,
                "interfaces.ha is the inside of a service set, service-sets.s.inside-interfaces (line 25), too",
            ),
            (
                "outside-interfaces = [\"out\"]",
                "outside-interfaces = [\"out\", \"ha\"]",
                16,
                &interface,
                "is the outside of a service set, service-sets.s.outside-interfaces (line 26), too",
            ),
            (
                "prefixes = [\"203.0.113.0/24\"]",
                "interface = \"ha\"",
                16,
                &interface,
                "is what a pool has its addresses from, pools.p.interface (line 21), too",
            ),
            (
                "interface = \"in\", address = \"10.0.0.9/24\"",
                "interface = \"ha\", address = \"10.9.0.9/24\"",
                16,
                &interface,
                "is where a virtual address is, redundancy-sets.1.virtual-addresses[0].interface (line 19), too",
            ),
            (
                "mtu = 1536",
                "mtu = 1535",
                16,
                &interface,
                "interfaces.ha (line 7) has an MTU of 1535, and the 1500 octets of a packet of interfaces.out (line 4) are 1536",
            ),
            (
                "\"10.99.0.2\"",
                "\"10.99.0.1\"",
                16,
                &peer,
                "is this chassis' own, interfaces.ha.addresses (line 10)",
            ),
            (
                "\"10.99.0.2\"",
                "\"fd00::2\"",
                16,
                &peer,
                "interfaces.ha.addresses (line 10) has no address of the family",
            ),
            ("\"10.99.0.2\"", "\"fe80::2\"", 16, &peer, "is link-local"),
            (
                "\"10.99.0.2\" }",
                "\"10.99.0.2\", port = 4793 }\nlinks = [{ kind = \"data\", local = \"10.99.0.1\", peer = \"10.99.0.2\" }]",
                16,
                &port,
                "4793 is the UDP port of heartbeats on 10.99.0.1, a link of redundancy-groups.1 (line 13), too",
            ),
        ],
    );
}

#[test]
fn the_link_ends_at_the_address_next_to_the_peer_and_is_compiled() {
    let config = config::parse(BASE, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let link = config.redundancy.groups[0]
        .data_forwarding
        .clone()
        .expect("a link");
    assert_eq!(
        (link.first.local.to_string().as_str(), link.port),
        ("10.99.0.1", 4794)
    );
    assert_eq!(link.other, None);
    let mut registry = NameRegistry::new();
    let program = compile(&config, &mut registry, None, &Extras::default()).expect("compiles");
    let set = registry.service_set("s").expect("an id");
    let linked = program
        .data_link
        .as_ref()
        .and_then(|link| link.by_id(set))
        .expect("the set");
    let name = |id| {
        program
            .interfaces
            .iter()
            .find(|one| one.id == id)
            .map(|one| one.name.as_str())
    };
    assert_eq!(
        (linked.redundancy_set, name(linked.inside), name(linked.outside)),
        (1, Some("in"), Some("out"))
    );
    // A peer in no subnet is behind a router.
    let routed = BASE.replace("10.99.0.2", "172.16.0.2");
    let config = config::parse(&routed, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let link = config.redundancy.groups[0]
        .data_forwarding
        .clone()
        .expect("a link");
    assert_eq!(link.first.local.to_string(), "10.9.0.1");
}

/// The same with a second way.
fn two_ways() -> String {
    BASE.replace(
        "[redundancy]\n",
        "[interfaces.hc]\ndevice = \"net_ring3\"\nmtu = 1536\naddresses = [\"10.98.0.1/24\"]\n[redundancy]\n",
    )
    .replace(
        "peer = \"10.99.0.2\" }",
        "peer = \"10.99.0.2\", other = { interface = \"hc\", peer = \"10.98.0.2\" } }",
    )
}

#[test]
fn the_other_way_is_as_the_first_and_another() {
    let path = format!("{LINK}.other");
    let (interface, peer, port) = (
        format!("{path}.interface"),
        format!("{path}.peer"),
        format!("{LINK}.port"),
    );
    check(
        &two_ways(),
        &[
            (
                "interface = \"hc\", ",
                "",
                20,
                &path,
                "the other HA link has no interface",
            ),
            (", peer = \"10.98.0.2\"", "", 20, &path, "has no peer"),
            (
                "\"hc\", peer",
                "\"hd\", peer",
                20,
                &interface,
                "there is no interfaces.hd",
            ),
            (
                "\"hc\", peer = \"10.98.0.2\"",
                "\"ha\", peer = \"10.9.0.2\"",
                20,
                &interface,
                "interfaces.ha is redundancy-groups.1.data-forwarding.interface (line 20), too",
            ),
            (
                "\"10.98.0.2\"",
                "\"10.99.0.2\"",
                20,
                &peer,
                "10.99.0.2 is redundancy-groups.1.data-forwarding.peer (line 20), too",
            ),
            (
                "\"10.98.0.2\"",
                "\"10.98.0.1\"",
                20,
                &peer,
                "is this chassis' own, interfaces.hc.addresses (line 14)",
            ),
            (
                "\"10.98.0.2\"",
                "\"fd00::2\"",
                20,
                &peer,
                "interfaces.hc.addresses (line 14) has no address of the family",
            ),
            ("\"10.98.0.2\"", "\"fe80::2\"", 20, &peer, "is link-local"),
            (
                "inside-interfaces = [\"in\"]",
                "inside-interfaces = [\"in\", \"hc\"]",
                20,
                &interface,
                "interfaces.hc is the inside of a service set, service-sets.s.inside-interfaces (line 29), too",
            ),
            (
                "outside-interfaces = [\"out\"]",
                "outside-interfaces = [\"out\", \"hc\"]",
                20,
                &interface,
                "is the outside of a service set, service-sets.s.outside-interfaces (line 30), too",
            ),
            (
                "prefixes = [\"203.0.113.0/24\"]",
                "interface = \"hc\"",
                20,
                &interface,
                "is what a pool has its addresses from, pools.p.interface (line 25), too",
            ),
            (
                "interface = \"in\", address = \"10.0.0.9/24\"",
                "interface = \"hc\", address = \"10.98.0.9/24\"",
                20,
                &interface,
                "is where a virtual address is, redundancy-sets.1.virtual-addresses[0].interface (line 23), too",
            ),
            (
                "mtu = 1536\naddresses = [\"10.98",
                "mtu = 1535\naddresses = [\"10.98",
                20,
                &interface,
                "interfaces.hc (line 11) has an MTU of 1535",
            ),
            (
                "security = \"none\"\n",
                "security = \"none\"\nlinks = [{ kind = \"data\", local = \"10.98.0.1\", peer = \"10.98.0.2\", port = 4794 }]\n",
                21,
                &port,
                "4794 is the UDP port of heartbeats on 10.98.0.1",
            ),
        ],
    );
}

#[test]
fn the_other_way_is_compiled_and_heartbeats_are_missed_on_either() {
    let parsed = |text: &str| config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let warned = |text: &str| -> Vec<(String, u32)> {
        let warnings = parsed(text).warnings;
        warnings
            .into_iter()
            .filter(|one| one.path.contains("data-forwarding"))
            .map(|one| (one.path, one.line))
            .collect()
    };
    let text = two_ways();
    let both = [(LINK.to_owned(), 20), (format!("{LINK}.other"), 20)];
    assert_eq!(warned(&text), both);
    let control = text.replace("5.5.5.", "10.98.0.");
    assert_eq!(warned(&control), both[..1]);
    let data =
        "links = [{ kind = \"data\", local = \"10.99.0.1\", peer = \"10.99.0.2\" }]\n[redundancy-sets.1]\n";
    let probed = control.replace("[redundancy-sets.1]\n", data);
    assert_eq!(warned(&probed), []);
    let without = probed.replace("links =", "heartbeat-interval-ms = 0\nlinks =");
    assert_eq!(warned(&without), both);
    assert_eq!(warned(BASE), []);

    let mut registry = NameRegistry::new();
    let program = compile(&parsed(&text), &mut registry, None, &Extras::default()).expect("compiles");
    let ways = program.data_link.as_ref().and_then(|link| link.both_ways());
    let shown = ways.expect("two ways").map(|one| {
        let named = program.interfaces.iter().find(|of| of.id == one.interface);
        (
            named.map(|of| of.name.as_str()),
            [one.way.local, one.way.peer].map(|end| end.to_string()),
            one.way.port,
        )
    });
    let ends = |local: &str, peer: &str| [local.to_owned(), peer.to_owned()];
    assert_eq!(
        shown,
        [
            (Some("ha"), ends("10.99.0.1", "10.99.0.2"), 4794),
            (Some("hc"), ends("10.98.0.1", "10.98.0.2"), 4794),
        ]
    );
}

/// The same without the link, with ports that show as down.
fn ports_down() -> String {
    let link = "data-forwarding = { interface = \"ha\", peer = \"10.99.0.2\" }\n";
    BASE.replace(link, "heartbeat-interval-ms = 200\n").replace(
        "[redundancy-sets.1]\n",
        "[redundancy-sets.1]\nstandby-ports-down = true\n",
    )
}

#[test]
fn ports_that_are_down_on_the_standby_are_needed_for_nothing_there() {
    let key = "redundancy-sets.1.standby-ports-down";
    let base = ports_down();
    check(
        &base,
        &[
            (
                "standby-ports-down = true\n",
                "standby-ports-down = true\ntrack-file = \"/run/tandem/set-1\"\n",
                18,
                key,
                "redundancy-sets.1.track-file (line 19) steers VRRP",
            ),
            (
                "heartbeat-interval-ms = 200",
                "data-forwarding = { interface = \"ha\", peer = \"10.99.0.2\" }",
                18,
                key,
                "redundancy-groups.1.data-forwarding (line 16) forwards",
            ),
            (
                "redundancy-set = 1\n",
                "redundancy-set = 1\n[pools.q]\nprefixes = [\"198.51.100.0/24\"]\n[nat-rules.q]\n\
                 terms = [{ name = \"t\", then = { translation-type = \"napt-44\", pool = \"q\" } }]\n\
                 [service-sets.other]\ninside-interfaces = [\"ha\"]\noutside-interfaces = [\"out\"]\nnat-rules = [\"q\"]\n",
                18,
                key,
                "service-sets.other (line 34) is of another redundancy set, or of none, and uses interfaces.out, too",
            ),
            (
                "heartbeat-interval-ms = 200",
                "links = [{ kind = \"secondary\", local = \"10.0.0.1\", peer = \"10.0.0.2\" }]",
                18,
                key,
                "redundancy-groups.1 (line 13) has a path of heartbeats, from 10.0.0.1, by one of these ports",
            ),
            (
                "[pools.p]\n",
                "policies = [\"w\"]\n[redundancy-policies.w]\nevents = [\"e\"]\naction = \"release-primary-role\"\n\
                 [redundancy-events.e]\ntracked = [\"t\"]\n[tracked-ips.t]\naddresses = [{ address = \"192.0.2.254\" }]\n[pools.p]\n",
                18,
                key,
                "tracked-ips.t (line 27) is probed by one of these ports",
            ),
            (
                "[pools.p]\n",
                "policies = [\"w\"]\n[redundancy-policies.w]\nevents = [\"e\"]\naction = \"release-primary-role\"\n\
                 [redundancy-events.e]\nrouting-process = [\"frr\"]\n[pools.p]\n",
                18,
                key,
                "redundancy-events.e.routing-process (line 26) watches routing",
            ),
            (
                "[pools.p]\n",
                "policies = [\"w\"]\n[redundancy-policies.w]\n\
                 signal-routes = [{ prefix = \"198.51.100.1/32\", discard = true }]\n[pools.p]\n",
                18,
                key,
                "redundancy-policies.w (line 22) has signal routes",
            ),
        ],
    );
}

#[test]
fn nothing_is_replicated_without_session_replication() {
    let lite = BASE.replace(
        "security = \"none\"\n",
        "security = \"none\"\nsession-replication = false\n",
    );
    assert_eq!(faults(&lite), []);
    let threshold =
        |text: &str| config::parse(text, "t.toml").expect("right").service_sets[0].replication_threshold_s;
    assert_eq!((threshold(BASE), threshold(&lite)), (Some(180), None));
    check(
        &lite,
        &[(
            "redundancy-set = 1\n",
            "redundancy-set = 1\nreplication-threshold-s = 5\n",
            30,
            "service-sets.s.replication-threshold-s",
            "is never reached: redundancy-groups.1.session-replication is false (line 16)",
        )],
    );
}
