//! From text to a tree that knows where everything stands.
//!
//! A syntax error must not hide the faults after it, so the text is parsed in rounds: the first error of a round is
//! recorded, the lines of the broken statement are blanked (every byte becomes a space, so that all offsets stay true), and
//! the rest is parsed again.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::diagnostics::LineIndex;
use super::fault::{Fault, FaultKind, quoted};

/// Rounds of parsing, i.e. syntax errors reported in one run.
const ROUNDS_MAX: usize = 64;

/// The text with broken statements blanked out, and the syntax errors that were found. Parsing the text again gives no other
/// errors than duplicate keys (already recorded), unless [`ROUNDS_MAX`] was reached.
pub(super) fn syntax_faults(text: &str, file: &str) -> (String, Vec<Fault>) {
    let lines = LineIndex::new(text);
    let mut rest = text.to_owned();
    let mut faults = Vec::new();
    let mut duplicates = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let (tree, errors) = DeTable::parse_recoverable(&rest);
        let mut first: Option<(usize, &Error)> = None;
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            if error.message() == "duplicate key" {
                if duplicates.insert(offset) {
                    faults.push(duplicate(text, file, &lines, error));
                }
            } else if first.is_none_or(|(earliest, _)| offset < earliest) {
                first = Some((offset, error));
            }
        }
        let Some((offset, error)) = first else { break };
        faults.push(syntax(file, &lines, offset, error));
        let broken = broken_lines(tree.get_ref(), offset, &errors, &lines);
        let blanked = blank(&rest, lines.bytes_of(broken));
        drop(tree);
        if blanked == rest {
            break;
        }
        rest = blanked;
    }
    (rest, faults)
}

fn syntax(file: &str, lines: &LineIndex, offset: usize, error: &Error) -> Fault {
    let (line, column) = lines.position(offset);
    let (problem, expected) = match error.message().split_once(", expected ") {
        Some((problem, expected)) => (problem, Some(expected)),
        None => (error.message(), None),
    };
    let remedy = match expected {
        Some("literal string") => "put strings in quotes; true, false and numbers go without".into(),
        Some(expected) => format!("expected {expected}"),
        None => "write it as TOML: key = value, strings in quotes".into(),
    };
    Fault {
        kind: FaultKind::Syntax,
        file: file.into(),
        line,
        column,
        path: String::new(),
        problem: format!("not TOML: {problem}"),
        remedy,
    }
}

fn duplicate(text: &str, file: &str, lines: &LineIndex, error: &Error) -> Fault {
    let span = error.span().unwrap_or(0..0);
    let (line, column) = lines.position(span.start);
    let key = text.get(span.clone()).unwrap_or_default();
    let first = match first_line(text, span.start, key) {
        Some(first) => format!(" (line {first})"),
        None => String::new(),
    };
    Fault {
        kind: FaultKind::Syntax,
        file: file.into(),
        line,
        column,
        path: String::new(),
        problem: format!("{} is already set in the same table{first}", quoted(key)),
        remedy: "keep one of the two".into(),
    }
}

/// The line on which a key that is at `offset` again is set first, where the line begins with it.
fn first_line(text: &str, offset: usize, key: &str) -> Option<usize> {
    let before = text.get(..offset)?;
    let lines: Vec<&str> = before.lines().collect();
    let header = lines.iter().rposition(|line| line.trim_start().starts_with('['));
    let from = header.map_or(0, |at| at + 1);
    let sets = |line: &&str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let at = lines.get(from..)?.iter().position(sets)?;
    Some(from + at + 1)
}

/// The lines (from 1, inclusive) to blank for an error at `offset`: the statement it stands in, but only the first line of
/// a value that is never closed, because that one swallows what follows.
fn broken_lines(tree: &DeTable<'_>, offset: usize, errors: &[Error], lines: &LineIndex) -> (u32, u32) {
    let line = lines.position(offset).0;
    let Some(span) = value_around(tree, offset) else {
        return (line, line);
    };
    let (first, last) = (
        lines.position(span.start).0,
        lines.position(span.end.saturating_sub(1)).0,
    );
    let unclosed = errors.iter().any(|error| {
        error.message().starts_with("unclosed")
            && error
                .span()
                .is_some_and(|at| at.start >= span.start && at.start <= span.end)
    });
    if unclosed {
        (first, first)
    } else {
        (first, last.max(line))
    }
}

/// The span of the outermost array or inline table around `offset`.
fn value_around(table: &DeTable<'_>, offset: usize) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let span = value.span();
        // A table under a header has the header as its span, so only values that follow their key count.
        let inline = span.start > key.span().start && span.start <= offset && offset <= span.end;
        match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) if inline => Some(span),
            DeValue::Table(inner) => value_around(inner, offset),
            DeValue::Array(items) => items.iter().find_map(|item| match item.get_ref() {
                DeValue::Table(inner) => value_around(inner, offset),
                _ => None,
            }),
            _ => None,
        }
    })
}

fn blank(text: &str, bytes: Range<usize>) -> String {
    let mut out = String::with_capacity(text.len());
    for (offset, c) in text.char_indices() {
        if bytes.contains(&offset) && c != '\n' && c != '\r' {
            out.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<u32> {
        let mut lines: Vec<u32> = syntax_faults(text, "t")
            .1
            .iter()
            .map(|fault| fault.line)
            .collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn every_broken_statement_is_found_once() {
        assert_eq!(lines_of("a 1\nb = 2\n[c\nd = 1\n[e]\nf = yes\n"), [1, 3, 6]);
        assert_eq!(lines_of("a = \"un\nb = 2\nc = \"x\n"), [1, 3]);
    }

    #[test]
    fn an_unclosed_array_does_not_swallow_what_follows() {
        let (rest, faults) = syntax_faults("a = [1, 2\nb = 2\n[c]\nd = 1\n", "t");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(rest, "         \nb = 2\n[c]\nd = 1\n");
    }

    #[test]
    fn a_missing_comma_costs_its_array_only() {
        let (rest, faults) = syntax_faults("x = 1\na = [\n  1\n  2,\n]\nb = 2\n", "t");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(rest.starts_with("x = 1\n") && rest.ends_with("\nb = 2\n"));
    }

    #[test]
    fn duplicates_are_found_and_the_rest_is_kept() {
        let (rest, faults) = syntax_faults("a = 1\na = 2\n[c]\n[c]\n", "t");
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(rest, "a = 1\na = 2\n[c]\n[c]\n");
    }
}
