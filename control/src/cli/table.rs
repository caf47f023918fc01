//! Tables for people: aligned columns, units in the headers, a last column that wraps.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Width that rows with a text column are wrapped to, characters.
const WIDTH: usize = 100;
/// 9999-12-31T23:59:59Z.
const RFC3339_MAX_UNIX_S: u64 = 253_402_300_799;

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lean {
    Left,
    Right,
}

/// A table that is being filled.
#[derive(Clone, Debug)]
pub struct Table {
    heads: Vec<(String, Lean)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A head with a leading `>` is a column of numbers and leans right; the sign is not shown.
    pub fn new(heads: &[&str]) -> Self {
        let head = |text: &&str| match text.strip_prefix('>') {
            Some(rest) => (rest.to_owned(), Lean::Right),
            None => ((*text).to_owned(), Lean::Left),
        };
        Self {
            heads: heads.iter().map(head).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has a cell for every head.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let cell = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |c| c.chars().count());
        let heads = self.heads.iter().enumerate();
        heads
            .map(|(at, (head, _))| {
                self.rows
                    .iter()
                    .map(|row| cell(row, at))
                    .max()
                    .unwrap_or(0)
                    .max(head.chars().count())
            })
            .collect()
    }

    /// Writes it. A left-leaning last column is wrapped to 100 characters per line.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths();
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| head.clone()).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            self.write_row(row, &widths, out)?;
        }
        Ok(())
    }

    fn write_row(&self, row: &[String], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
        let last = row.len().saturating_sub(1);
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = widths.get(at).copied().unwrap_or(0);
            if at > 0 {
                line.push_str("  ");
            }
            match self.heads.get(at).map(|(_, lean)| *lean) {
                Some(Lean::Right) => line.push_str(&format!("{cell:>width$}")),
                _ if at == last => {
                    let indent = line.chars().count();
                    let lines = wrap(cell, WIDTH.saturating_sub(indent).max(20));
                    line.push_str(&lines.join(&format!("\n{:indent$}", "")));
                }
                _ => line.push_str(&format!("{cell:width$}")),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Breaks a text between words into lines of at most `width` characters; a longer word has a line to itself.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A share of a whole as percent, `-` when there is no whole.
pub fn percent(used: u64, total: u64) -> String {
    if total == 0 {
        "-".to_owned()
    } else {
        format!("{:.1}", used as f64 * 100.0 / total as f64)
    }
}

/// A value, or `-`.
pub fn or_dash<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// `yes` or `no`.
pub fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Seconds since 1970-01-01 UTC as RFC 3339 has them; beyond the year 9999, which it lacks, the number.
pub fn time(unix_s: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(unix_s));
    match at.filter(|_| unix_s <= RFC3339_MAX_UNIX_S) {
        Some(at) => humantime::format_rfc3339_seconds(at).to_string(),
        None => unix_s.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table) -> String {
        let mut out = Vec::new();
        table.write(&mut out).expect("memory takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn columns_align_and_numbers_lean_right() {
        let mut table = Table::new(&["NAME", ">PACKETS", "STATE"]);
        table.row(vec!["lan".into(), "7".into(), "up".into()]);
        table.row(vec!["a-long-name".into(), "123456789".into(), "down".into()]);
        let expect =
            "NAME           PACKETS  STATE\nlan                  7  up\na-long-name  123456789  down\n";
        assert_eq!(text(&table), expect);
    }

    #[test]
    fn the_last_column_wraps_at_the_width() {
        let mut table = Table::new(&["REASON", "MEANING"]);
        table.row(vec!["no-route".into(), "word ".repeat(40)]);
        let text = text(&table);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.matches("word").count(), 40);
        assert!(
            text.lines()
                .nth(2)
                .is_some_and(|line| line.starts_with("          word")),
            "{text}"
        );
    }

    #[test]
    fn times_are_utc_and_none_is_too_late_to_be_shown() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_790_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(time(RFC3339_MAX_UNIX_S), "9999-12-31T23:59:59Z");
        for late in [RFC3339_MAX_UNIX_S + 1, u64::MAX] {
            assert_eq!(time(late), late.to_string());
        }
    }

    #[test]
    fn percent_of_nothing_is_a_dash() {
        assert_eq!(percent(0, 0), "-");
        assert_eq!(percent(1, 8), "12.5");
    }
}
