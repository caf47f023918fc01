//! What tests of the configuration share.

use tandem_control::config::{self, Fault};

/// The faults of a text; none when it is right.
pub fn faults(text: &str) -> Vec<Fault> {
    config::parse(text, "t.toml").err().unwrap_or_default()
}

/// `base` has no fault, and each replacement of the first text by the second makes exactly one: its line, its key path, and
/// a part of what it says.
pub fn check(base: &str, cases: &[(&str, &str, u32, &str, &str)]) {
    assert_eq!(faults(base), []);
    for (from, to, line, path, part) in cases {
        assert!(base.contains(from), "{from}");
        let found = faults(&base.replacen(from, to, 1));
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{from} -> {to}: {told:#?}");
        assert_eq!(
            (found[0].line, found[0].path.as_str()),
            (*line, *path),
            "{told:#?}"
        );
        assert!(told[0].contains(part), "{part} is not in {told:#?}");
        assert!(!found[0].remedy.is_empty(), "{told:#?}");
    }
}
