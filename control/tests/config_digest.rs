//! The digest of what both chassis of a pair must have alike: every key that decides what becomes of a session changes it, and
//! nothing else does.

use ha_sync::wire::Part;
use tandem_control::config::{
    self, Config, Extras, KnownKey, NameRegistry, canonical, differences, digest, group_digest, group_parts,
    known_keys,
};

/// Every sort of table that is compared, each under a header of its own.
const BASE: &str = include_str!("config/digest.toml");

fn parse(text: &str) -> Result<Config, Vec<String>> {
    config::parse(text, "t.toml").map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn base() -> Config {
    parse(BASE).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// The headers of a text, each with its table's path as the list of known keys has it.
fn headers(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.starts_with('['));
    let tables = lines.map(|(at, line)| {
        let parts: Vec<&str> = line.trim_matches(['[', ']']).split('.').collect();
        let parts = parts.iter().enumerate().map(|(at, part)| match (at, *part) {
            (1, _) if parts[0].starts_with("redundancy") => "N".into(),
            (1, _) => "NAME".into(),
            (_, "terms" | "policies" | "static-mappings" | "explicit-mappings" | "nptv6") => {
                format!("{part}[]")
            }
            _ => (*part).to_owned(),
        });
        (at, parts.collect::<Vec<_>>().join("."))
    });
    tables.collect()
}

/// The text with `key` of the table at line `header` set to `value`.
fn with(text: &str, header: usize, key: &str, value: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let end = lines
        .iter()
        .skip(header + 1)
        .position(|line| line.starts_with('['));
    let end = end.map_or(lines.len(), |end| header + 1 + end);
    let line = format!("{key} = {value}");
    match (header + 1..end).find(|at| lines[*at].starts_with(&format!("{key} ="))) {
        Some(at) => lines[at] = line,
        None => lines.insert(header + 1, line),
    }
    lines.join("\n") + "\n"
}

/// Values to try for a key: of its range, of its words, or of this list.
fn candidates(key: &KnownKey) -> Vec<String> {
    let last = key.path.rsplit('.').next().unwrap_or_default();
    let strings: &[&str] = match (last, key.path.as_str()) {
        ("prefixes", "address-books.NAME.prefixes") => &["[\"198.51.100.0/25\"]"],
        ("ranges", "address-books.NAME.ranges") => &["[\"198.18.0.1-198.18.0.7\"]"],
        ("prefixes", _) => &["[\"203.0.120.0/28\"]"],
        ("ranges", _) => &["[\"203.0.121.0-203.0.121.7\"]"],
        ("port-range", _) => &["\"2048-61439\""],
        ("subscribers", _) => &["[\"100.65.0.0/26\"]"],
        ("name", _) => &["\"another\""],
        ("source-addresses", _) => &["[\"100.66.0.0/24\"]"],
        ("source-ranges", _) => &["[\"100.67.0.0-100.67.0.9\"]"],
        ("destination-addresses", _) => &["[\"198.51.101.0/24\"]", "[\"203.0.124.9/32\"]"],
        ("destination-ports", "nat-rules.NAME.terms[].then.destination-ports") => &["8081"],
        ("source-ports" | "destination-ports", _) => &["[8443]"],
        ("protocols", _) => &["[\"udp\"]"],
        ("pool", _) => &["\"spare\""],
        ("public-prefix", _) => &["\"203.0.122.0/28\""],
        ("destination-prefix", _) => &["\"10.0.0.77/32\""],
        ("protocol", "service-sets.NAME.static-mappings[].protocol") => &["\"udp\""],
        ("protocol", _) => &["\"sctp\"", "\"icmp6\""],
        ("icmp-types", _) => &["[3]"],
        ("icmp-codes", _) => &["[1]"],
        ("applications", _) => &["[\"https\"]"],
        ("nat-rules", _) => &["[\"more\", \"r\"]"],
        ("inside-interfaces" | "outside-interfaces", _) => &["[\"spare\"]"],
        ("interface", _) => &["\"spare\""],
        ("nat64-prefixes", _) => &["[\"2001:db8:64::/96\"]"],
        ("outbound" | "inbound", _) => &["[\"other\"]", "[]"],
        ("inside", "service-sets.NAME.nptv6[].inside") => &["\"fd00:9::/48\""],
        ("outside", _) => &["\"2001:db8:9::/48\""],
        ("inside", _) => &["\"10.0.0.78\""],
        ("public", _) => &["\"203.0.125.9\""],
        ("inside-ports" | "public-ports", _) => &["8082"],
        ("prefix", _) => &["\"2001:db8:65::/96\""],
        ("ipv4", _) => &["\"198.51.102.0/28\""],
        ("ipv6", _) => &["\"2001:db8:66::/120\""],
        _ => &[],
    };
    if !strings.is_empty() {
        return strings.iter().map(|text| (*text).to_owned()).collect();
    }
    if key.kind == "boolean" {
        return vec!["true".into(), "false".into()];
    }
    if let Some((_, range)) = key.kind.split_once("integer ") {
        let (low, high) = range.split_once("..=").expect("a range");
        let (low, high): (u32, u32) = (low.parse().expect("a number"), high.parse().expect("a number"));
        let some = [low, high, 1, 2, 4, 48, 56, 128, 256, 600, 1300, 4000, 8000];
        return some
            .iter()
            .filter(|n| (low..=high).contains(n))
            .map(u32::to_string)
            .collect();
    }
    key.kind
        .split(", ")
        .filter(|word| word.starts_with('"'))
        .map(str::to_owned)
        .collect()
}

/// Whether the table at a line of [`BASE`] is of what is replicated.
fn is_replicated(header: usize) -> bool {
    BASE.lines()
        .nth(header)
        .is_some_and(|line| !line.contains(".own"))
}

/// Keys of the compared sections that chassis may have differently.
const OWN: [&str; 4] = [
    "service-sets.NAME.inside-interfaces",
    "service-sets.NAME.outside-interfaces",
    "service-sets.NAME.allow-short-timeouts",
    // Its addresses are compared instead: below.
    "pools.NAME.interface",
];

fn is_compared(path: &str) -> bool {
    const SECTIONS: [&str; 7] = [
        "pools.",
        "nat-rules.",
        "applications.",
        "application-sets.",
        "address-books.",
        "firewall-policies.",
        "service-sets.",
    ];
    path == "workers.shards"
        || path == "redundancy.replication-threshold-s"
        // Nothing is compared then; beside a peer that compares all, that is a difference.
        || path == "redundancy-groups.N.session-replication"
        || (SECTIONS.iter().any(|section| path.starts_with(section)) && !OWN.contains(&path))
}

#[test]
fn every_key_that_matters_changes_the_digest_and_no_other_does() {
    let base = base();
    let (before, lines) = (digest(&base), canonical(&base));
    let headers = headers(BASE);
    let (mut tried, mut untouched) = (0, Vec::new());
    for key in known_keys() {
        let (table, name) = key.path.rsplit_once('.').expect("a key in a table");
        let mut told = Vec::new();
        let mut changed = false;
        for (header, _) in headers
            .iter()
            .filter(|(at, path)| path == table && is_replicated(*at))
        {
            for value in candidates(&key) {
                let text = with(BASE, *header, name, &value);
                match parse(&text) {
                    // Defaults written down, and values that stand there already, change nothing.
                    Ok(config) if config.effective() == base.effective() => {
                        assert_eq!(digest(&config), before)
                    }
                    Ok(config) => {
                        tried += 1;
                        changed = true;
                        assert_eq!(
                            digest(&config) != before,
                            is_compared(&key.path),
                            "{} = {value}, line {header}: {:#?}",
                            key.path,
                            differences(&lines, &canonical(&config))
                        );
                    }
                    Err(faults) => told.extend(faults),
                }
            }
        }
        if !changed {
            assert!(
                !is_compared(&key.path) || SPECIAL.contains(&key.path.as_str()),
                "{} was never changed: {told:#?}",
                key.path
            );
            untouched.push(key.path);
        }
    }
    assert!(tried > 150, "{tried} changes; untouched were {untouched:#?}");
}

/// Compared keys that cannot be changed alone: the next test.
const SPECIAL: [&str; 3] = [
    "pools.NAME.deterministic.subscriber-prefix-length",
    "nat-rules.NAME.terms[].then.no-translation",
    "service-sets.NAME.static-mappings[].inbound-only",
];

#[test]
fn keys_that_change_with_others_change_the_digest() {
    let before = base();
    for (from, to, key) in [
        (
            "no-translation = true",
            "translation-type = \"napt-44\"\npool = \"spare\"",
            ".then.no-translation",
        ),
        (
            "public-ports = 8080",
            "public-ports = 8080\ninbound-only = true",
            ".inbound-only",
        ),
        (
            "subscriber-prefix-length = 64",
            "subscriber-prefix-length = 62",
            ".deterministic.subscriber-prefix-length",
        ),
    ] {
        assert!(BASE.contains(from), "{from}");
        let changed = parse(&BASE.replace(from, to)).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_ne!(digest(&changed), digest(&before), "{to}");
        let told = differences(&canonical(&before), &canonical(&changed));
        assert!(told.iter().any(|line| line.contains(key)), "{told:#?}");
    }
}

/// Tables of a text, each with the tables of arrays that belong to it, last one first.
fn reversed(text: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        // A table of an array, and those under it, stay in their order behind their first.
        let starts = line.starts_with('[')
            && !line.contains(".terms")
            && !line.contains(".policies")
            && !line.starts_with("[[");
        if starts || blocks.is_empty() {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("pushed");
        block.push_str(line);
        block.push('\n');
    }
    blocks.reverse();
    blocks.concat()
}

#[test]
fn the_order_of_tables_does_not_change_it() {
    let turned = reversed(BASE);
    assert!(turned.find("[service-sets.").unwrap() < turned.find("[pools.").unwrap());
    let turned = parse(&turned).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(
        differences(&canonical(&base()), &canonical(&turned)),
        Vec::<String>::new()
    );
    assert_eq!(digest(&turned), digest(&base()));
    // Nor that of static mappings, which have no order.
    let first = "[[service-sets.a.static-mappings]]\nname = \"www\"\n";
    let second = "[[service-sets.a.static-mappings]]\nname = \"whole\"\n";
    let (head, rest) = BASE.split_once(first).expect("the first");
    let (www, rest) = rest.split_once(second).expect("the second");
    let (whole, rest) = rest.split_at(rest.find("\n[").expect("an end") + 1);
    let swapped = format!("{head}{second}{whole}{first}{www}{rest}");
    assert_ne!(swapped, BASE);
    let swapped = parse(&swapped).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(digest(&swapped), digest(&base()));
    // Terms have one.
    let (a, b) = ("name = \"local\"", "name = \"internet\"");
    let terms = BASE
        .replace(a, "name = \"x\"")
        .replace(b, a)
        .replace("name = \"x\"", b);
    assert_ne!(digest(&parse(&terms).expect("right")), digest(&base()));
}

#[test]
fn a_difference_is_in_the_part_it_belongs_to() {
    let file = |n: u8| {
        let path = format!(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/pair/chassis-{}.toml"),
            n
        );
        std::fs::read_to_string(path).expect("the example")
    };
    let parts = |text: &str| {
        let config = parse(text).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let mut names = NameRegistry::default();
        let program = config::compile(&config, &mut names, None, &Extras::default()).expect("it compiles");
        group_parts(&config, 1, &program, &names)
    };
    let first = parts(&file(1));
    assert_eq!(first, parts(&file(2)), "both of the example are alike");
    let names: Vec<&str> = first.iter().map(|part| part.name.as_str()).collect();
    for name in ["pools.p2", "service-sets.ss2", "nat-rules.r2", "workers.shards"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let differing = |text: &str| -> Vec<(String, bool)> {
        let other = parts(text).into_iter().filter(|part| !first.contains(part));
        other.map(|part| (part.name, part.beside)).collect()
    };
    assert_eq!(
        differing(&file(1).replace("32.0.0.0/24", "32.0.9.0/24")),
        [("pools.p2".to_owned(), false)]
    );
    let mapping = "[[service-sets.ss2.static-mappings]]\nname = \"web\"\ninside = \"128.0.0.9\"\npublic = \"32.0.7.1\"\n";
    assert_eq!(
        differing(&format!("{}\n{mapping}", file(1))),
        [
            ("service-sets.ss2".to_owned(), false),
            ("static mapping web of ss2".to_owned(), true)
        ]
    );
    for (key, there) in [
        ("cluster-id", "cluster-id = 1 "),
        ("cluster-name", "cluster-name = \"cgn-pair\""),
    ] {
        let beside = (format!("redundancy.{key}"), true);
        let other = file(1).replace(there, &there.replace('1', "4").replace("cgn", "north"));
        assert_eq!(differing(&other), std::slice::from_ref(&beside));
        // The peer has none.
        let none = parts(&file(1).replace(there, "# "));
        let lacks: Vec<&Part> = first.iter().filter(|part| !none.contains(part)).collect();
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        assert_eq!((lacks[0].name.clone(), lacks[0].beside), beside);
    }
}

#[test]
fn both_chassis_of_the_example_have_one_digest() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/pair/chassis-");
    let load = |n: u8| {
        config::load(format!("{path}{n}.toml").as_ref()).unwrap_or_else(|faults| panic!("{faults:#?}"))
    };
    let (first, second) = (load(1), load(2));
    assert_eq!(canonical(&first), canonical(&second));
    assert_eq!(digest(&first), digest(&second));
    assert_eq!(
        digest(&first),
        group_digest(&first, 1),
        "one group is all there is"
    );
    let text = canonical(&first);
    for line in [
        "pools.p2.prefixes = [\"32.0.0.0/24\"]",
        "pools.p2.port-range = \"1024-65535\"",
        "nat-rules.r2.terms[0].from.source-addresses = [\"129.0.0.0/8\", \"128.0.0.0/8\"]",
        "service-sets.ss2.replication-threshold-s = 180",
        "workers.shards = 12",
    ] {
        assert!(text.lines().any(|one| one == line), "no {line} in:\n{text}");
    }
    for word in [
        "interfaces",
        "redundancy-local",
        "redundancy-peer",
        "certificate",
        "role",
        "3b:00",
    ] {
        assert!(!text.contains(word), "{word} in:\n{text}");
    }
}

#[test]
fn what_is_not_replicated_is_not_compared() {
    let base = base();
    let change = |from: &str, to: &str| {
        assert!(BASE.contains(from), "{from}");
        parse(&BASE.replacen(from, to, 1)).unwrap_or_else(|faults| panic!("{faults:#?}"))
    };
    for (from, to) in [
        ("203.0.126.0/28", "203.0.126.0/29"),
        ("[pools.own]", "[pools.own]\nquarantine-s = 1"),
        (
            "[service-sets.own]",
            "[service-sets.own]\ntimeouts = { udp-s = 400 }",
        ),
        ("role = \"primary\"", "role = \"standby\""),
        ("192.0.2.1/24", "192.0.2.2/24"),
    ] {
        assert_eq!(digest(&change(from, to)), digest(&base), "{to}");
    }
    // Each peer is asked for its own.
    let second = change("udp-s = 301", "udp-s = 302");
    assert_eq!(group_digest(&second, 2), group_digest(&base, 2));
    assert_ne!(group_digest(&second, 1), group_digest(&base, 1));
    assert_ne!(group_digest(&base, 1), group_digest(&base, 2));
}

#[test]
fn a_pool_on_an_interface_is_compared_by_its_addresses() {
    let on = |name: &str, address: &str| {
        let text = BASE
            .replace(
                "prefixes = [\"203.0.113.0/28\"]",
                &format!("interface = \"{name}\""),
            )
            .replace("[interfaces.spare]", &format!("[interfaces.{name}]"))
            .replace("198.18.99.1/24", address);
        digest(&parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}")))
    };
    assert_eq!(on("spare", "198.18.99.1/24"), on("renamed", "198.18.99.1/24"));
    assert_ne!(on("spare", "198.18.99.1/24"), on("spare", "198.18.99.2/24"));
}

#[test]
fn a_difference_is_told_line_by_line() {
    let other = parse(
        &BASE
            .replace("udp-s = 301", "udp-s = 302")
            .replace("\"www\"", "\"web\""),
    )
    .expect("right");
    let told = differences(&canonical(&base()), &canonical(&other));
    assert_eq!(told[..2].len(), 2);
    assert!(
        told.contains(&"- service-sets.a.timeouts.udp-s = 301".to_owned()),
        "{told:#?}"
    );
    assert!(
        told.contains(&"+ service-sets.a.timeouts.udp-s = 302".to_owned()),
        "{told:#?}"
    );
    assert!(
        told.contains(&"+ service-sets.a.static-mappings[\"web\"].public-ports = \"8080\"".to_owned()),
        "{told:#?}"
    );
    assert_eq!(
        differences(&canonical(&base()), &canonical(&base())),
        Vec::<String>::new()
    );
}
