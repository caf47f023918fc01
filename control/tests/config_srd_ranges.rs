//! The numbers of the redundancy daemon's configuration have ranges (redundancy spec, sections 1 to 4): the ends are taken, what is just
//! beyond them is refused at its place, with the range. (A check's times, which bound each other, are in `config_faults_srd`.)
//! And a second redundancy group is refused where a file is read.

use tandem_control::config::{self, Fault};

const TEXT: &str = r#"[workers]
count = 1
[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24"]
[redundancy]
[redundancy-groups.1]
redundancy-local = "5.5.5.1"
redundancy-peer = "5.5.5.2"
security = "none"
[redundancy-sets.1]
redundancy-group = 1
policies = ["p"]
[redundancy-policies.p]
events = ["e"]
action = "broadcast-warning"
[[redundancy-policies.p.signal-routes]]
prefix = "203.0.113.0/24"
discard = true
[redundancy-events.e]
links = ["in"]
zones = ["z"]
tracked = ["t"]
[redundancy-events.e.check]
command = ["/bin/true"]
[zones.z]
interfaces = ["out"]
[tracked-ips.t]
[[tracked-ips.t.addresses]]
address = "192.0.2.7"
"#;

/// Table, key, and the first and last number that may be.
const RANGES: [(&str, &str, u32, u32); 26] = [
    ("[redundancy]", "cluster-id", 1, 7),
    ("[redundancy]", "failover-threshold", 1, 255),
    ("[redundancy]", "initial-hold-ms", 0, 300_000),
    ("[redundancy]", "replication-threshold-s", 0, 86_400),
    ("[redundancy-groups.1]", "keepalive-interval-s", 1, 60),
    ("[redundancy-groups.1]", "keepalive-lost-threshold", 3, 255),
    ("[redundancy-groups.1]", "heartbeat-interval-ms", 0, 10_000),
    ("[redundancy-groups.1]", "heartbeat-lost-threshold", 3, 255),
    ("[redundancy-groups.1]", "port", 1, 65_535),
    ("[redundancy-sets.1]", "priority", 1, 254),
    ("[redundancy-sets.1]", "drain-ms", 0, 10_000),
    ("[redundancy-sets.1]", "preempt-hold-s", 0, 600),
    ("[redundancy-sets.1]", "recovery-hold-s", 0, 3600),
    ("[redundancy-sets.1]", "failover-threshold", 1, 255),
    ("[redundancy-sets.1]", "gratuitous-count", 1, 64),
    ("[[redundancy-policies.p.signal-routes]]", "table", 1, u32::MAX),
    ("[[redundancy-policies.p.signal-routes]]", "metric", 1, u32::MAX),
    ("[redundancy-events.e]", "link-weight", 1, 255),
    ("[redundancy-events.e]", "hold-s", 0, 3600),
    ("[redundancy-events.e.check]", "weight", 1, 255),
    ("[zones.z]", "weight", 1, 255),
    ("[tracked-ips.t]", "interval-s", 1, 200),
    ("[tracked-ips.t]", "lost-threshold", 1, 200),
    ("[tracked-ips.t]", "weight", 1, 255),
    ("[tracked-ips.t]", "threshold", 1, 255),
    ("[[tracked-ips.t.addresses]]", "weight", 1, 255),
];

fn faults(text: &str) -> Vec<Fault> {
    config::parse(text, "t.toml").map_or_else(|faults| faults, |_| Vec::new())
}

#[test]
fn every_number_has_its_range() {
    assert_eq!(faults(TEXT), []);
    for (table, key, first, last) in RANGES {
        let text = |value: i64| TEXT.replace(&format!("{table}\n"), &format!("{table}\n{key} = {value}\n"));
        for value in [first, last] {
            assert_eq!(faults(&text(value.into())), [], "{table} {key} = {value}");
        }
        let line = 2 + TEXT.lines().take_while(|line| *line != table).count();
        for value in [i64::from(first) - 1, i64::from(last) + 1] {
            let found = faults(&text(value));
            assert_eq!(found.len(), 1, "{table} {key} = {value}: {found:#?}");
            let told = found[0].to_string();
            let place = (found[0].line as usize, found[0].column as usize);
            assert_eq!(place, (line, key.len() + 4), "{told}");
            assert!(found[0].path.ends_with(key), "{told}");
            assert!(found[0].remedy.contains(&format!("{first}..={last}")), "{told}");
        }
    }
}

#[test]
fn a_second_group_is_refused_where_a_file_is_read() {
    let second = "[redundancy-groups.2]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.9\"\nsecurity = \"none\"\n";
    let folder = std::env::temp_dir().join(format!("tandem-second-group-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("t.toml");
    let read = |text: &str| {
        std::fs::write(&file, text).expect("written");
        [config::load(&file), config::read_to_run(text, "t.toml")]
            .map(|read| read.map_or_else(|faults| faults, |_| Vec::new()))
    };
    assert_eq!(read(TEXT), [[], []]);
    for found in read(&format!("{TEXT}{second}")) {
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].path, "redundancy-groups.2");
        let told = found[0].to_string();
        assert!(told.contains("redundancy-groups.1 (line 10)"), "{told}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
