//! What can be wrong with a configuration, and how it is said.
//!
//! Every fault names its place (file, line, column, key path), what is wrong and what would be right, in one line:
//! `configs/x.toml:12:14: pools.cgn.port-range: the range is inverted (65535-1024); use "1024-65535"`.

use std::fmt;

/// What sort of fault it is; tools and tests may branch on it, people read the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The file cannot be read or is not UTF-8.
    Unreadable,
    /// Not TOML.
    Syntax,
    /// A key nobody asks for.
    UnknownKey,
    /// A value of another type than the key has.
    WrongType,
    /// A value outside the allowed values or range, or malformed.
    BadValue,
    /// Something needed is not there.
    Missing,
    /// A name that nothing has.
    UnknownName,
    /// Two things that cannot stand together; the text names both.
    Conflict,
    /// A change that a running daemon cannot take.
    NeedsRestart,
    /// Allowed, but probably not meant: a warning.
    Doubtful,
}

/// One fault, or one warning, of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What sort.
    pub kind: FaultKind,
    /// The file, as it was given.
    pub file: String,
    /// Line, from 1; 0 when the fault has no place in the file.
    pub line: u32,
    /// Column in characters, from 1; 0 when the fault has no place in the file.
    pub column: u32,
    /// Key path, `pools.cgn.prefixes[1]`; empty when the fault has none.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for Fault {}

/// A value that a scalar parser refused: the fault's text without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub problem: String,
    pub remedy: String,
}

impl Bad {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// The name of `names` that `wanted` was probably meant to be.
pub(super) fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let bound = (wanted.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean "x"?" or the names there are: the remedy for a name that does not exist.
pub(super) fn suggestion<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str> + Clone) -> String {
    match nearest(wanted, names.clone()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => match one_of(names) {
            list if list.is_empty() => "there is none yet".into(),
            list => format!("use one of {list}"),
        },
    }
}

/// `"a", "b", "c"`; cut after twenty names.
pub(super) fn one_of<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    match names.len() {
        0..=20 => names.join(", "),
        all => format!("{}, ... ({all} in all)", names[..20].join(", ")),
    }
}

/// A text as a message quotes it: escaped, in quotes, cut after 48 characters.
pub(super) fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(48).collect();
    if cut.len() < text.len() {
        cut.push_str("...");
    }
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_place_path_problem_and_remedy() {
        let fault = Fault {
            kind: FaultKind::BadValue,
            file: "configs/x.toml".into(),
            line: 12,
            column: 5,
            path: "pools.cgn.port-range".into(),
            problem: "the range is inverted".into(),
            remedy: "use \"1024-65535\"".into(),
        };
        assert_eq!(
            fault.to_string(),
            "configs/x.toml:12:5: pools.cgn.port-range: the range is inverted; use \"1024-65535\""
        );
        let placeless = Fault {
            line: 0,
            path: String::new(),
            ..fault
        };
        assert_eq!(
            placeless.to_string(),
            "configs/x.toml: the range is inverted; use \"1024-65535\""
        );
    }

    #[test]
    fn names_are_suggested_when_near_and_listed_when_not() {
        let names = ["port-range", "prefixes", "drain"];
        assert_eq!(nearest("port-rage", names), Some("port-range"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(suggestion("prefixs", names), "did you mean \"prefixes\"?");
        assert!(suggestion("zebra", names).starts_with("use one of \"port-range\""));
        assert_eq!(suggestion("zebra", []), "there is none yet");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        assert!(quoted(&"x".repeat(500)).len() < 60);
    }
}
