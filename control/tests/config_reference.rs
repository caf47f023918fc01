//! `docs/config.md` says of every key what the parser does: type, values, default; and of no key that the parser lacks.

use std::collections::BTreeMap;

use tandem_control::config::known_keys;

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

#[test]
fn the_napt44_example_shows_every_key() {
    let text = include_str!("../../configs/napt44.toml");
    for key in known_keys()
        .iter()
        .filter(|key| !key.path.contains(".port-block-allocation."))
    {
        let name = key.path.rsplit('.').next().expect("a last part");
        let shown = text.lines().any(|line| {
            line.split(['{', ',']).any(|part| {
                let part = part.trim_start_matches(['#', ' ']);
                part.strip_prefix(name)
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            })
        });
        assert!(shown, "configs/napt44.toml does not show {}", key.path);
    }
    let blocks = include_str!("../../configs/cgnat-pba.toml");
    for key in known_keys()
        .iter()
        .filter(|key| key.path.contains(".port-block-allocation."))
    {
        let name = key.path.rsplit('.').next().expect("a last part");
        assert!(
            blocks.contains(&format!("\n{name} = ")),
            "configs/cgnat-pba.toml does not show {name}"
        );
    }
}
