//! `docs/config.md` says of every key what the parser does: type, values, default; and of no key that the parser lacks.

use std::collections::BTreeMap;

use tandem_control::config::{built_in_applications, known_keys};

/// The rows of the reference: key, type and values, default, meaning, source.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = include_str!("../../docs/config.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect();
        assert_eq!(cells.len(), 5, "{line}");
        let key = cells[0].trim_matches('`').to_owned();
        assert!(rows.insert(key, cells).is_none(), "twice: {line}");
    }
    rows
}

#[test]
fn every_key_is_documented_with_its_type_and_default() {
    let mut rows = rows();
    let known = known_keys();
    assert!(known.len() > 60, "{} keys", known.len());
    for key in known {
        let row = rows
            .remove(&key.path)
            .unwrap_or_else(|| panic!("docs/config.md has no row for {key:?}"));
        let default = if key.default.is_empty() {
            "none"
        } else {
            &key.default
        };
        assert_eq!(
            (row[1].as_str(), row[2].as_str()),
            (key.kind.as_str(), default),
            "{}",
            key.path
        );
        assert!(row[3].len() > 5 && !row[4].is_empty(), "{row:?}");
    }
    assert!(rows.is_empty(), "documented, but not known: {:?}", rows.keys());
}

/// The example that shows a key.
fn example(path: &str) -> (&'static str, &'static str) {
    let within = |parts: &[&str]| parts.iter().any(|part| path.contains(part));
    if within(&[".port-block-allocation."]) {
        ("cgnat-pba.toml", include_str!("../../configs/cgnat-pba.toml"))
    } else if within(&[".deterministic."]) {
        (
            "deterministic.toml",
            include_str!("../../configs/deterministic.toml"),
        )
    } else if within(&[".siit.", ".nptv6[]."]) {
        ("stateless.toml", include_str!("../../configs/stateless.toml"))
    } else if within(&[".ipv6."]) {
        ("nat64.toml", include_str!("../../configs/nat64.toml"))
    } else if within(&[
        "applications.",
        "application-sets.",
        "address-books.",
        "firewall-policies.",
        ".firewall.",
    ]) {
        ("firewall.toml", include_str!("../../configs/firewall.toml"))
    } else if within(&["redundancy", "replication", "tracked-ips.", "zones."]) {
        (
            "pair/chassis-1.toml",
            include_str!("../../configs/pair/chassis-1.toml"),
        )
    } else if within(&[".static-mappings[].", ".then.public-prefix", ".then.destination-"]) {
        (
            "translations.toml",
            include_str!("../../configs/translations.toml"),
        )
    } else {
        ("napt44.toml", include_str!("../../configs/napt44.toml"))
    }
}

#[test]
fn every_key_stands_in_the_example_it_belongs_to() {
    for key in known_keys() {
        let (file, text) = example(&key.path);
        let name = key.path.rsplit('.').next().expect("a last part");
        let shown = text.lines().any(|line| {
            line.split(['{', ',']).any(|part| {
                let part = part.trim_start_matches(['#', ' ']);
                part.strip_prefix(name)
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            })
        });
        assert!(shown, "configs/{file} does not show {}", key.path);
    }
}

#[test]
fn every_built_in_application_is_documented() {
    let text = include_str!("../../docs/config.md");
    let (_, table) = text.split_once("| application | matches |").expect("the table");
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| "))
        .map(|line| {
            line.trim_matches(['|', ' '])
                .split(" | ")
                .next()
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(rows, built_in_applications().collect::<Vec<_>>());
}
