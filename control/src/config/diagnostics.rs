//! Where faults are collected while a configuration is read: places by key path, faults, warnings, effective values.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use super::fault::{Bad, Fault, FaultKind};

/// Byte offsets to lines and columns.
#[derive(Clone, Debug)]
pub(super) struct LineIndex {
    text: String,
    starts: Vec<usize>,
}

impl LineIndex {
    pub fn new(text: &str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            text: text.to_owned(),
            starts,
        }
    }

    /// Line and column (in characters), both from 1.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self
            .text
            .get(start..offset)
            .map_or(offset.saturating_sub(start), |before| before.chars().count());
        (line as u32, column as u32 + 1)
    }

    /// The bytes of an inclusive range of lines.
    pub fn bytes_of(&self, lines: (u32, u32)) -> Range<usize> {
        let start = self
            .starts
            .get(lines.0.saturating_sub(1) as usize)
            .copied()
            .unwrap_or(self.text.len());
        let end = self
            .starts
            .get(lines.1 as usize)
            .copied()
            .unwrap_or(self.text.len());
        start..end.max(start)
    }
}

/// A key that the parser knows; the reference in `docs/config.md` is checked against these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Key path with `NAME` for a name that the operator chooses and `[]` for the elements of an array of tables.
    pub path: String,
    /// Type and allowed values, `integer 576..=9000`.
    pub kind: String,
    /// Default, as it would be written; empty when there is none.
    pub default: String,
}

/// Line and column by key path.
pub(super) type Places = BTreeMap<String, (u32, u32)>;

/// Collects everything one run says about one file.
#[derive(Debug)]
pub(super) struct Diagnostics {
    file: String,
    lines: LineIndex,
    /// Lines were blanked after syntax errors: what is missing may be on them, and is not complained about.
    broken: bool,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    places: Places,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    known: Vec<KnownKey>,
    effective: BTreeMap<String, String>,
    /// Redundant interfaces by the names of their members.
    wholes: BTreeMap<String, String>,
}

/// What is left when the reading is over.
pub(super) struct Collected {
    pub places: Places,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Fault>,
    pub known: Vec<KnownKey>,
    pub effective: BTreeMap<String, String>,
}

impl Diagnostics {
    pub fn new(file: &str, text: &str, broken: bool) -> Self {
        Self {
            file: file.into(),
            lines: LineIndex::new(text),
            broken,
            state: RefCell::default(),
        }
    }

    /// Whether nothing was blanked: only then do absent keys surely have their defaults.
    pub fn is_whole(&self) -> bool {
        !self.broken
    }

    /// Remembers where `path` stands.
    pub fn place(&self, path: &str, offset: usize) {
        let position = self.lines.position(offset);
        self.state.borrow_mut().places.insert(path.into(), position);
    }

    /// Line of a key path, or of the nearest table above it that is in the file; 0 when there is none.
    pub fn line(&self, path: &str) -> u32 {
        position_of(&self.state.borrow().places, path).0
    }

    pub fn fault(&self, kind: FaultKind, path: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        if self.broken && kind == FaultKind::Missing {
            return;
        }
        let fault = self.make(kind, path, problem.into(), remedy.into());
        self.state.borrow_mut().faults.push(fault);
    }

    pub fn bad(&self, path: &str, bad: Bad) {
        self.fault(FaultKind::BadValue, path, bad.problem, bad.remedy);
    }

    pub fn warn(&self, path: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let fault = self.make(FaultKind::Doubtful, path, problem.into(), remedy.into());
        self.state.borrow_mut().warnings.push(fault);
    }

    fn make(&self, kind: FaultKind, path: &str, problem: String, remedy: String) -> Fault {
        let (line, column) = position_of(&self.state.borrow().places, path);
        Fault {
            kind,
            file: self.file.clone(),
            line,
            column,
            path: path.into(),
            problem,
            remedy,
        }
    }

    pub fn know(&self, key: KnownKey) {
        self.state.borrow_mut().known.push(key);
    }

    /// Records the value in force for a key, default or not.
    pub fn effective(&self, path: &str, value: impl Into<String>) {
        self.state
            .borrow_mut()
            .effective
            .insert(path.into(), value.into());
    }

    /// Remembers that the interface `name` is a member of `whole`, and so stands for nothing by itself.
    pub fn is_part_of(&self, name: &str, whole: &str) {
        self.state.borrow_mut().wholes.insert(name.into(), whole.into());
    }

    /// The redundant interface that `name` is a member of.
    pub fn whole_of(&self, name: &str) -> Option<String> {
        self.state.borrow().wholes.get(name).cloned()
    }

    pub fn finish(self) -> Collected {
        let State {
            places,
            mut faults,
            mut warnings,
            known,
            effective,
            wholes: _,
        } = self.state.into_inner();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults.dedup();
        warnings.sort_by_key(|fault| (fault.line, fault.column));
        warnings.dedup();
        Collected {
            places,
            faults,
            warnings,
            known,
            effective,
        }
    }
}

/// The position of `path`, or of its nearest ancestor that has one; (0, 0) when none has.
pub(super) fn position_of(places: &Places, path: &str) -> (u32, u32) {
    let mut rest = path;
    loop {
        if let Some(position) = places.get(rest) {
            return *position;
        }
        match rest.rfind(['.', '[']) {
            Some(cut) => rest = &rest[..cut],
            None => return (0, 0),
        }
    }
}

/// `parent.key`, with quotes around a key that TOML wants quoted; the key alone at the top.
pub(super) fn join(parent: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if parent.is_empty() {
        key
    } else {
        format!("{parent}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let lines = LineIndex::new("ä = 1\nb = \"ö\" x\n");
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position("ä = ".len()), (1, 5));
        assert_eq!(lines.position("ä = 1\nb = \"ö\" ".len()), (2, 9));
        assert_eq!(lines.bytes_of((1, 1)), 0..7);
        assert_eq!(lines.bytes_of((9, 9)), 18..18);
    }

    #[test]
    fn a_path_falls_back_to_what_is_in_the_file() {
        let places = Places::from([("pools".into(), (1, 1)), ("pools.a".into(), (2, 3))]);
        assert_eq!(position_of(&places, "pools.a.prefixes[3]"), (2, 3));
        assert_eq!(position_of(&places, "pools.b"), (1, 1));
        assert_eq!(position_of(&places, "api"), (0, 0));
        assert_eq!(join("pools", "a"), "pools.a");
        assert_eq!(join("interfaces", "eth0.7"), "interfaces.\"eth0.7\"");
    }
}
