//! What is wrong with a redundancy pair's configuration: each fault and warning names its line, its key, what it contradicts and
//! what would be right.

use ha_sync::net::Bind;
use tandem_control::config::{self, Config, Fault, FaultKind};

/// Two service sets of one redundancy set, and one of none.
const BASE: &str = include_str!("config/redundancy.toml");

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// What is warned of beside the one way that the group has.
fn warnings(config: &Config) -> Vec<Fault> {
    let others = config
        .warnings
        .iter()
        .filter(|told| !told.problem.contains("one way for them"));
    others.cloned().collect()
}

fn faults(text: &str) -> Vec<Fault> {
    config::parse(text, "t.toml").map_or_else(|faults| faults, |_| Vec::new())
}

fn line_of(text: &str, of: &str) -> u32 {
    let at = text.find(of).unwrap_or_else(|| panic!("no {of}"));
    text[..at].lines().count() as u32 + u32::from(at == 0 || text[..at].ends_with('\n'))
}

#[test]
fn shards_are_a_multiple_of_the_workers() {
    assert_eq!(parse(BASE).workers.shards, 2, "as many as workers");
    assert_eq!(
        parse(&BASE.replace("count = 2", "count = 2\nshards = 12"))
            .workers
            .shards,
        12
    );
    assert_eq!(
        parse(&BASE.replace("count = 2", "cores = [1, 2, 3]"))
            .workers
            .shards,
        3
    );
    let found = faults(&BASE.replace("count = 2", "count = 4\nshards = 6"));
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "t.toml:4:10: workers.shards: 6 shards cannot be shared out evenly: there are 4 workers, workers.count (line 3); \
             use a multiple of 4, like 4 or 8"
        ]
    );
}

#[test]
fn each_fault_names_its_line_its_key_and_what_would_be_right() {
    const GROUP: &str = "redundancy-groups.1";
    let second_group = "[redundancy-groups.2]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n[redundancy-sets.2]\nredundancy-group = 2\n[pools.a]";
    let tls = "certificate = \"a.crt\"\nkey = \"a.key\"\n";
    // From, to, a text that the fault's line begins with, key path, a part of the message.
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        (
            "redundancy-groups.1",
            "redundancy-groups.17",
            "[redundancy-groups.17]",
            "redundancy-groups.17",
            "use 1..=16",
        ),
        (
            "redundancy-sets.1",
            "redundancy-sets.0",
            "[redundancy-sets.0]",
            "redundancy-sets.0",
            "use 1..=128",
        ),
        (
            "redundancy-sets.1",
            "redundancy-sets.cgn",
            "[redundancy-sets.cgn]",
            "redundancy-sets.cgn",
            "a name goes into the key name",
        ),
        (
            "redundancy-peer = \"5.5.5.2\"\n",
            "",
            "[redundancy-groups.1]",
            GROUP,
            "add redundancy-peer",
        ),
        (
            "redundancy-local = \"5.5.5.1\"\n",
            "",
            "[redundancy-groups.1]",
            GROUP,
            "here or in [redundancy]",
        ),
        (
            "5.5.5.2",
            "5.5.5.1",
            "redundancy-peer",
            "redundancy-groups.1.redundancy-peer",
            "redundancy-groups.1.redundancy-local (line 15)",
        ),
        (
            "5.5.5.2",
            "2001:db8::2",
            "redundancy-peer",
            "redundancy-groups.1.redundancy-peer",
            "of two families; use two IPv4 or two IPv6",
        ),
        (
            "redundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"",
            "redundancy-local = \"fd00::1\"\nredundancy-peer = \"fe80::2\"",
            "redundancy-peer",
            "redundancy-groups.1.redundancy-peer",
            "link-local, and so means another chassis on each link; add interface",
        ),
        (
            "5.5.5.2",
            "5.5.5.2/32",
            "redundancy-peer",
            "redundancy-groups.1.redundancy-peer",
            "without prefix length",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nport = 0",
            "port",
            "redundancy-groups.1.port",
            "1..=65535",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\ncertificate = \"a\"",
            "certificate",
            "redundancy-groups.1.certificate",
            "beside security = \"none\" (line 17)",
        ),
        (
            "security = \"none\"",
            "peer-fingerprints = [\"00\"]\ncertificate = \"a\"\nkey = \"b\"\nheartbeat-interval-ms = 0",
            "peer-fingerprints",
            "redundancy-groups.1.peer-fingerprints[0]",
            "64 hexadecimal digits",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nrouting-instance = { vrf = \"HA\", namespace = \"ha\" }",
            "routing-instance",
            "redundancy-groups.1.routing-instance.namespace",
            "beside redundancy-groups.1.routing-instance.vrf (line 18)",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nrouting-instance = { vrf = \"HA\" }\ninterface = \"eth0\"",
            "interface = ",
            "redundancy-groups.1.interface",
            "beside redundancy-groups.1.routing-instance.vrf (line 18)",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nrouting-instance = {}",
            "routing-instance",
            "redundancy-groups.1.routing-instance",
            "{ vrf = \"DEVICE\" }",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nrouting-instance = { namespace = \"a/b\" }",
            "routing-instance",
            "redundancy-groups.1.routing-instance.namespace",
            "ip netns list",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nrouting-instance = \"HA\"",
            "routing-instance",
            "redundancy-groups.1.routing-instance",
            "use a table",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nreplay-window-mb = 5000",
            "replay-window",
            "redundancy-groups.1.replay-window-mb",
            "1..=4096",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nkeepalive-lost-threshold = 2",
            "keepalive",
            "redundancy-groups.1.keepalive-lost-threshold",
            "3..=255",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nkeepalive-interval = 2",
            "keepalive",
            "redundancy-groups.1.keepalive-interval",
            "did you mean \"keepalive-interval-s\"?",
        ),
        (
            "replication-threshold-s = 100",
            "replication-threshold-s = 86401",
            "replication-threshold-s",
            "redundancy.replication-threshold-s",
            "0..=86400",
        ),
        (
            "replication-threshold-s = 100",
            "initial-hold-ms = 300001",
            "initial-hold-ms",
            "redundancy.initial-hold-ms",
            "0..=300000",
        ),
        (
            "redundancy-group = 1\n",
            "",
            "[redundancy-sets.1]",
            "redundancy-sets.1",
            "of no redundancy group; add redundancy-group = N",
        ),
        (
            "redundancy-group = 1\n",
            "redundancy-group = 2\n",
            "redundancy-group = 2",
            "redundancy-sets.1.redundancy-group",
            "there is no redundancy-groups.2; use one of 1, or add",
        ),
        (
            "redundancy-group = 1\n",
            "redundancy-group = 1\nrole = \"secondary\"\n",
            "role",
            "redundancy-sets.1.role",
            "\"primary\", \"standby\"",
        ),
        (
            "nat-rules = [\"q\"]",
            "nat-rules = [\"q\"]\nredundancy-set = 7",
            "redundancy-set = 7",
            "service-sets.z.redundancy-set",
            "there is no redundancy-sets.7",
        ),
        (
            "nat-rules = [\"q\"]",
            "nat-rules = [\"q\"]\nredundancy-set = [1, 2]",
            "redundancy-set = [",
            "service-sets.z.redundancy-set",
            "names redundancy-sets.1 (line 18) and redundancy-sets.2 (line 18); keep one number",
        ),
        // Leases are by pool.
        (
            "nat-rules = [\"q\"]",
            "nat-rules = [\"r\"]",
            "[service-sets.z]",
            "service-sets.z",
            "service-sets.s (line 32), of redundancy set 1, does so, too",
        ),
        (
            "nat-rules = [\"r\"]\nredundancy-set = 1\n[service-sets.x]",
            "nat-rules = [\"r\"]\n[service-sets.x]",
            "redundancy-set = 1",
            "service-sets.x.redundancy-set",
            "takes from pools.a (line 20) and is of redundancy set 1; service-sets.s (line 32), of no redundancy set",
        ),
        (
            "[pools.a]",
            second_group,
            "redundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n[redundancy-sets.2]",
            "redundancy-groups.2.redundancy-peer",
            "is the peer of redundancy-groups.1.redundancy-peer (line 16), too; put all",
        ),
    ];
    for (from, to, line, path, part) in cases {
        assert!(BASE.contains(from), "{from}");
        let text = BASE.replacen(from, to, 1);
        let found = faults(&text);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        // A set or group that is not there leaves those who name it behind.
        let about: Vec<&Fault> = found.iter().filter(|fault| fault.path == *path).collect();
        assert_eq!(about.len(), 1, "{from} -> {to}: {told:#?}");
        assert_eq!(about[0].line, line_of(&text, line), "{told:#?}");
        assert!(about[0].to_string().contains(part), "{part} is not in {told:#?}");
        let others = found.len() - 1;
        let renamed = from.starts_with("redundancy-groups") || from.starts_with("redundancy-sets");
        assert_eq!(others > 0, renamed, "{told:#?}");
    }
    for (keys, path, part) in [
        ("", GROUP, "TLS needs a certificate"),
        (
            &format!(
                "{tls}peer-name = \"b\"\npeer-fingerprints = [\"{}\"]\n",
                "ab".repeat(32)
            ),
            "redundancy-groups.1.peer-name",
            "looked at with ca only",
        ),
        (
            &format!("{tls}ca = \"c\"\npeer-name = \"b b\"\n"),
            "redundancy-groups.1.peer-name",
            "neither a DNS name nor an IP address",
        ),
        (
            "security = \"tsl\"\n",
            "redundancy-groups.1.security",
            "did you mean \"tls\"?",
        ),
        (tls, GROUP, "add peer-fingerprints = [\"...\"], or ca"),
        (
            "certificate = \"a.crt\"\nca = \"ca.crt\"\n",
            GROUP,
            "add key = \"PATH\"",
        ),
        (
            &format!("{tls}peer-fingerprints = []\n"),
            "redundancy-groups.1.peer-fingerprints",
            "no fingerprint is listed",
        ),
        (
            &format!("{tls}ca = \"c\"\npeer-fingerprints = [\"{}\"]\n", "ab".repeat(32)),
            "redundancy-groups.1.ca",
            "beside redundancy-groups.1.peer-fingerprints (line 20)",
        ),
    ] {
        let found = faults(&BASE.replace("security = \"none\"\n", keys));
        assert!(
            found
                .iter()
                .any(|fault| fault.path == path && fault.to_string().contains(part)),
            "{keys}: {found:#?}"
        );
    }
}

#[test]
fn a_group_has_sixteen_sets_and_the_seventeenth_is_refused() {
    let sets = |last: u8| -> String {
        (2..=last)
            .map(|n| format!("[redundancy-sets.{n}]\nredundancy-group = 1\n"))
            .collect()
    };
    assert_eq!(faults(&format!("{BASE}{}", sets(16))), []);
    let found = faults(&format!("{BASE}{}", sets(17)));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].kind, found[0].path.as_str()),
        (FaultKind::BadValue, "redundancy-sets.17.redundancy-group")
    );
    assert_eq!(found[0].problem, "is set 17 of redundancy-groups.1 (line 14)");
}

#[test]
fn link_local_addresses_need_an_interface() {
    let text = BASE
        .replace("5.5.5.1", "fe80::1")
        .replace("5.5.5.2", "fe80::2")
        .replace("security = \"none\"", "security = \"none\"\ninterface = \"ha0\"");
    let group = &parse(&text).redundancy.groups[0];
    assert_eq!(group.bind, Bind::Interface("ha0".into()));
    assert_eq!(group.endpoint().check(), Ok(()));
}

#[test]
fn peers_of_two_routing_instances_may_have_the_same_address() {
    let second = "[redundancy-groups.2]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\nrouting-instance = { namespace = \"ha\" }\n[pools.a]";
    let config = parse(&BASE.replace("[pools.a]", second));
    let warnings = warnings(&config);
    let warnings: Vec<&str> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(warnings, ["redundancy-groups.2"], "no redundancy set is of it");
    assert_eq!(config.redundancy.groups[1].bind, Bind::Namespace("ha".into()));
}

#[test]
fn what_says_nothing_is_warned_about() {
    let warned = |from: &str, to: &str, path: &str, part: &str| {
        let config = parse(&BASE.replacen(from, to, 1));
        let warnings = warnings(&config);
        let found: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(
            warnings.len() == 1 && warnings[0].path == path && found[0].contains(part),
            "{found:#?}"
        );
    };
    assert_eq!(warnings(&parse(BASE)), []);
    let alone = "nat-rules = [\"q\"]";
    let key = |key: &str| format!("{alone}\n{key}");
    warned(
        alone,
        &key("replication-threshold-s = 1"),
        "service-sets.z.replication-threshold-s",
        "of no redundancy set",
    );
    warned(
        alone,
        &key("disable-replication-capability = true"),
        "service-sets.z.disable-replication-capability",
        "of no redundancy set",
    );
    warned(
        "redundancy-set = 1",
        "redundancy-set = 1\nreplication-threshold-s = 1\ndisable-replication-capability = true",
        "service-sets.s.replication-threshold-s",
        "(line 38)",
    );
    warned(
        "[pools.a]",
        "[redundancy-sets.9]\nredundancy-group = 1\n[pools.a]",
        "redundancy-sets.9",
        "redundancy-set = 9",
    );
    let text = BASE
        .replace("prefixes = [\"203.0.113.0/28\"]", "interface = \"out\"")
        .replace("net_ring3\"", "net_ring3\"\naddresses = [\"192.0.2.1/24\"]");
    let found = warnings(&parse(&text));
    assert_eq!(found.len(), 2, "one for each replicated service set: {found:#?}");
    assert_eq!(found[0].path, "pools.a.interface");
    assert!(
        found[0]
            .problem
            .contains("service-sets.s (line 33) is replicated"),
        "{found:#?}"
    );
}
