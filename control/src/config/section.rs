//! The decode layer: one TOML table, read key by key with types and ranges.
//!
//! Asking for a key makes it known: what nobody asked for is an unknown key, and the list of known keys (which the reference
//! in `docs/config.md` is checked against) is the list of questions. A wrong value is recorded as a fault and its default
//! taken instead, so that one run finds everything.

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::{DeInteger, DeTable, DeValue};

use super::diagnostics::{Diagnostics, KnownKey, join};
use super::fault::{Bad, FaultKind, nearest, one_of, quoted};

/// One table of the file, or one that is absent (every key then has its default).
pub(super) struct Section<'a> {
    pub(super) diagnostics: &'a Diagnostics,
    pub(super) path: String,
    pub(super) table: Option<&'a DeTable<'a>>,
    pub(super) asked: Vec<&'static str>,
}

/// A list element with its key path.
#[derive(Clone, Debug)]
pub(super) struct Item<T> {
    pub path: String,
    pub value: T,
}

/// An element of a list that has texts and tables.
pub(super) enum Mixed<T, U> {
    /// A text, parsed.
    Text(Item<T>),
    /// A table, decoded.
    Table(U),
}

impl<'a> Section<'a> {
    pub fn new(diagnostics: &'a Diagnostics, path: String, table: Option<&'a DeTable<'a>>) -> Self {
        Self {
            diagnostics,
            path,
            table,
            asked: Vec::new(),
        }
    }

    pub fn diagnostics(&self) -> &'a Diagnostics {
        self.diagnostics
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Key path of one of this table's keys.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// A fault for each of `keys` that is not there; `what` is named as lacking it: `the link`.
    pub fn needs(&self, what: &str, keys: &[&str]) {
        for key in keys.iter().filter(|key| !self.has(key)) {
            let (problem, remedy) = (format!("{what} has no {key}"), format!("add {key} = \"...\""));
            self.diagnostics()
                .fault(FaultKind::Missing, self.path(), problem, remedy);
        }
    }

    /// Whether `key` is set to a list without elements.
    pub fn is_empty_list(&self, key: &str) -> bool {
        let value = self
            .table
            .and_then(|table| table.get(key))
            .map(|value| value.get_ref());
        matches!(value, Some(DeValue::Array(array)) if array.is_empty())
    }

    /// The value of `key`, its place remembered.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.asked.push(key);
        let (name, value) = self.table?.get_key_value(key)?;
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let offset = if is_table {
            name.span().start
        } else {
            value.span().start
        };
        self.diagnostics.place(&self.path_of(key), offset);
        Some(value.get_ref())
    }

    pub(super) fn know(&self, key: &str, kind: impl Into<String>, default: impl Into<String>) {
        self.diagnostics.know(KnownKey {
            path: self.path_of(key),
            kind: kind.into(),
            default: default.into(),
        });
    }

    pub(super) fn wrong_type(&self, path: &str, value: &DeValue<'_>, wanted: &str) {
        let problem = format!("is {}", shown(value));
        self.diagnostics
            .fault(FaultKind::WrongType, path, problem, format!("use {wanted}"));
    }

    /// A number in `range`, if set.
    pub fn optional_integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.know(key, format!("integer {}..={}", range.start(), range.end()), "");
        self.integer_value(key, range)
    }

    /// A number in `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>, default: u32) -> u32 {
        self.know(
            key,
            format!("integer {}..={}", range.start(), range.end()),
            default.to_string(),
        );
        let value = self.integer_value(key, range).unwrap_or(default);
        self.effective(key, value);
        value
    }

    /// A number in `range`, or `"auto"` (the default), which is `None`.
    pub fn integer_or_auto(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.know(
            key,
            format!("\"auto\" or integer {}..={}", range.start(), range.end()),
            "\"auto\"",
        );
        let value = match self.get(key) {
            Some(DeValue::String(text)) if text == "auto" => None,
            Some(DeValue::Integer(_)) => self.integer_value(key, range),
            Some(other) => {
                let wanted = format!("\"auto\" or an integer {}..={}", range.start(), range.end());
                self.wrong_type(&self.path_of(key), other, &wanted);
                None
            }
            None => None,
        };
        self.effective(key, value.map_or("\"auto\"".into(), |number| number.to_string()));
        value
    }

    fn integer_value(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.get(key)?;
        let path = self.path_of(key);
        let wanted = format!("an integer {}..={}", range.start(), range.end());
        let DeValue::Integer(digits) = value else {
            self.wrong_type(&path, value, &wanted);
            return None;
        };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            self.diagnostics.fault(
                FaultKind::BadValue,
                &path,
                format!("{digits} is out of range"),
                format!("use {wanted}"),
            );
        } else {
            self.effective(key, number.map_or(String::new(), |number| number.to_string()));
        }
        number
    }

    pub fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.know(key, "boolean", default.to_string());
        let value = match self.get(key) {
            Some(DeValue::Boolean(value)) => *value,
            Some(other) => {
                self.wrong_type(&self.path_of(key), other, "a boolean, true or false");
                default
            }
            None => default,
        };
        self.effective(key, value);
        value
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
        default: &str,
    ) -> Option<T> {
        let kind: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.know(
            key,
            kind.join(", "),
            if default.is_empty() {
                String::new()
            } else {
                format!("\"{default}\"")
            },
        );
        let names = words.iter().map(|(word, _)| *word);
        let chosen = match self.get(key) {
            Some(DeValue::String(text)) => {
                let found = words.iter().find(|(word, _)| word == text);
                if found.is_none() {
                    let near = nearest(text, names.clone());
                    let near = near.map_or(String::new(), |word| format!("did you mean \"{word}\"? "));
                    let remedy = format!("{near}use one of {}", one_of(names));
                    self.diagnostics.bad(
                        &self.path_of(key),
                        Bad::new(format!("{} is not a choice", quoted(text)), remedy),
                    );
                }
                found
            }
            Some(other) => {
                self.wrong_type(&self.path_of(key), other, &format!("one of {}", one_of(names)));
                None
            }
            None => None,
        };
        let chosen = chosen.or_else(|| words.iter().find(|(word, _)| *word == default))?;
        self.effective(key, format!("\"{}\"", chosen.0));
        Some(chosen.1)
    }

    /// A text that `parse` turns into a value, if set. `kind` is what the reference says of it.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        kind: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        self.know(
            key,
            kind,
            if default.is_empty() {
                String::new()
            } else {
                format!("\"{default}\"")
            },
        );
        let text = match self.get(key) {
            Some(DeValue::String(text)) => text.as_ref(),
            other => {
                if let Some(other) = other {
                    self.wrong_type(&self.path_of(key), other, &format!("a string: {kind}"));
                }
                if default.is_empty() {
                    return None;
                }
                default
            }
        };
        match parse(text) {
            Ok(value) => {
                self.effective(key, format!("{text:?}"));
                Some(value)
            }
            Err(bad) => {
                self.diagnostics.bad(&self.path_of(key), bad);
                parse(default).ok().filter(|_| !default.is_empty())
            }
        }
    }

    /// A text or a number that `parse` turns into a value, if set. `kind` is what the reference says of it.
    pub fn parsed_or_number<T>(
        &mut self,
        key: &'static str,
        kind: &str,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        self.know(key, kind, "");
        let text = match self.get(key)? {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(digits) => decimal(digits),
            other => {
                self.wrong_type(
                    &self.path_of(key),
                    other,
                    &format!("a string or a number: {kind}"),
                );
                return None;
            }
        };
        match parse(&text) {
            Ok(value) => {
                self.effective(key, format!("{text:?}"));
                Some(value)
            }
            Err(bad) => {
                self.diagnostics.bad(&self.path_of(key), bad);
                None
            }
        }
    }

    /// A list of texts (integers count as their digits), each parsed; bad elements are reported and left out.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        kind: &str,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> Vec<Item<T>> {
        self.know(key, format!("list of {kind}"), "[]");
        let array = match self.get(key) {
            Some(DeValue::Array(array)) => array,
            Some(other) => {
                self.wrong_type(
                    &self.path_of(key),
                    other,
                    &format!("a list of {kind}, in brackets"),
                );
                return Vec::new();
            }
            None => {
                self.effective(key, "[]");
                return Vec::new();
            }
        };
        let mut items = Vec::with_capacity(array.len());
        let mut rendered = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            self.diagnostics.place(&path, element.span().start);
            let text = match element.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(digits) => decimal(digits),
                other => {
                    self.wrong_type(&path, other, kind);
                    continue;
                }
            };
            match parse(&text) {
                Ok(value) => {
                    rendered.push(format!("{text:?}"));
                    items.push(Item { path, value });
                }
                Err(bad) => self.diagnostics.bad(&path, bad),
            }
        }
        self.effective(key, format!("[{}]", rendered.join(", ")));
        items
    }

    pub fn effective(&self, key: &str, value: impl Display) {
        self.diagnostics.effective(&self.path_of(key), value.to_string());
    }
}

/// An integer as its decimal digits; one that fits nowhere stays as it is written.
fn decimal(digits: &DeInteger<'_>) -> String {
    match i64::from_str_radix(digits.as_str(), digits.radix()) {
        Ok(number) => number.to_string(),
        Err(_) => digits.to_string(),
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("a string ({})", quoted(text)),
        DeValue::Integer(digits) => format!("an integer ({digits})"),
        DeValue::Float(digits) => format!("a float ({})", digits.as_str()),
        DeValue::Boolean(value) => format!("a boolean ({value})"),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
