//! `docs/conformance.md` against the checklist and the tests: every item has a row, every test it names exists.

use std::collections::BTreeSet;
use std::path::Path;

/// Items by section: name and number of the last.
const ITEMS: &[(&str, u32)] = &[
    ("U", 18),
    ("T", 11),
    ("I", 12),
    ("C", 13),
    ("P", 12),
    ("A", 4),
    ("X", 13),
    ("N", 15),
];

fn items() -> impl Iterator<Item = String> {
    ITEMS
        .iter()
        .flat_map(|(section, last)| (1..=*last).map(move |n| format!("{section}{n}")))
}

fn rust_sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_item_is_told_and_every_test_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../../docs/conformance.md")).expect("docs/conformance.md");
    let rows: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .map(str::trim)
        .collect();
    let missing: Vec<_> = items().filter(|item| !rows.contains(item.as_str())).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");

    let mut sources = String::new();
    rust_sources(&root.join("tests"), &mut sources);
    rust_sources(&root.join("src"), &mut sources);
    let named: BTreeSet<&str> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| is_test_name(word))
        .collect();
    let gone: Vec<_> = named
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}()")))
        .collect();
    assert!(gone.is_empty(), "no such test: {gone:?}");
    assert!(named.len() > 60, "the table names its tests in backquotes");

    // And the other way: a conformance test that no row names would be lost to the reader.
    let mut untold: Vec<&str> = sources
        .lines()
        .filter_map(|line| line.strip_prefix("fn ")?.strip_suffix("() {"))
        .filter(|name| is_test_name(name) && !named.contains(name))
        .collect();
    untold.sort_unstable();
    assert!(untold.is_empty(), "not in the table: {untold:?}");
}

/// Whether a word is the name of a conformance test: a section, a number, an underscore.
fn is_test_name(word: &str) -> bool {
    let rest = word.strip_prefix(['u', 't', 'i', 'c', 'p', 'a', 'x', 'n']);
    let digits = rest.map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
    digits > 0 && rest.is_some_and(|r| r[digits..].starts_with('_'))
}
