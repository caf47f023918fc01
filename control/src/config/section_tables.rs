//! The tables within a table: one by its key, many by the operator's names, many in a row; and the keys nobody asked for.

use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::diagnostics::join;
use super::fault::{Bad, FaultKind, nearest, one_of};
use super::section::{Item, Mixed, Section};

impl<'a> Section<'a> {
    /// A sub-table that has its defaults when absent.
    pub fn table(&mut self, key: &'static str) -> Section<'a> {
        let table = self.table_value(key);
        Section::new(self.diagnostics, self.path_of(key), table)
    }

    /// A sub-table that means something by being there.
    pub fn optional_table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let table = self.table_value(key)?;
        Some(Section::new(self.diagnostics, self.path_of(key), Some(table)))
    }

    fn table_value(&mut self, key: &'static str) -> Option<&'a DeTable<'a>> {
        match self.get(key) {
            Some(DeValue::Table(table)) => Some(table),
            Some(other) => {
                let path = self.path_of(key);
                self.wrong_type(&path, other, &format!("a table: [{path}]"));
                None
            }
            None => None,
        }
    }

    /// The tables under `key` by the operator's names, in the order of the file.
    pub fn named(
        &mut self,
        key: &'static str,
        check: impl Fn(&str) -> Result<(), Bad>,
    ) -> Vec<(String, Section<'a>)> {
        let path = self.path_of(key);
        let Some(parent) = self.table_value(key) else {
            return Vec::new();
        };
        let mut entries: Vec<_> = parent.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut sections = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let child = join(&path, name.get_ref());
            self.diagnostics.place(&child, name.span().start);
            if let Err(bad) = check(name.get_ref()) {
                self.diagnostics.bad(&child, bad);
            }
            match value.get_ref() {
                DeValue::Table(table) => {
                    let section = Section::new(self.diagnostics, child, Some(table));
                    sections.push((name.get_ref().to_string(), section));
                }
                other => self.wrong_type(&child, other, &format!("a table: [{child}]")),
            }
        }
        sections
    }

    /// The tables of an array of tables.
    pub fn array_of_tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let path = self.path_of(key);
        let array = match self.get(key) {
            Some(DeValue::Array(array)) => array,
            Some(other) => {
                self.wrong_type(&path, other, &format!("an array of tables: [[{path}]]"));
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut sections = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let child = format!("{path}[{index}]");
            self.diagnostics.place(&child, element.span().start);
            match element.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(self.diagnostics, child, Some(table))),
                other => self.wrong_type(&child, other, &format!("a table: [[{path}]]")),
            }
        }
        sections
    }

    /// A list in which a text stands for something known by its name, and a table describes another one. `kind` is what the reference
    /// says of it.
    pub fn list_or_tables<T, U>(
        &mut self,
        key: &'static str,
        kind: &str,
        parse: impl Fn(&str) -> Result<T, Bad>,
        decode: impl Fn(Section<'a>) -> U,
    ) -> Vec<Mixed<T, U>> {
        self.know(key, format!("list of {kind}"), "[]");
        let path = self.path_of(key);
        let array = match self.get(key) {
            Some(DeValue::Array(array)) => array,
            Some(other) => {
                self.wrong_type(&path, other, &format!("a list of {kind}, in brackets"));
                return Vec::new();
            }
            None => {
                self.effective(key, "[]");
                return Vec::new();
            }
        };
        let (mut found, mut rendered) = (Vec::with_capacity(array.len()), Vec::new());
        for (index, element) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.diagnostics.place(&path, element.span().start);
            match element.get_ref() {
                DeValue::String(text) => match parse(text) {
                    Ok(value) => {
                        rendered.push(format!("{text:?}"));
                        found.push(Mixed::Text(Item { path, value }));
                    }
                    Err(bad) => self.diagnostics.bad(&path, bad),
                },
                DeValue::Table(table) => {
                    rendered.push("{...}".into());
                    let section = Section::new(self.diagnostics, path, Some(table));
                    found.push(Mixed::Table(decode(section)));
                }
                other => self.wrong_type(&path, other, kind),
            }
        }
        self.effective(key, format!("[{}]", rendered.join(", ")));
        found
    }

    /// The number of a table under `section` that this one is of, if it says so. It is of one only: a list of several is a conflict.
    pub fn number_of(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        section: &str,
        rule: &str,
    ) -> Option<u32> {
        let several = self
            .table
            .and_then(|table| table.get(key))
            .map(|value| value.get_ref());
        if let Some(DeValue::Array(array)) = several
            && array.len() > 1
        {
            // Its place.
            self.get(key);
            let shown = array.iter().map(|element| match element.get_ref() {
                DeValue::Integer(digits) => {
                    let place = join(section, digits.as_str());
                    let line = self.diagnostics.line(&place);
                    format!("{place} (line {line})")
                }
                _ => "what is no number".into(),
            });
            let problem = format!("names {}", shown.collect::<Vec<_>>().join(" and "));
            let path = self.path_of(key);
            self.diagnostics.fault(
                FaultKind::Conflict,
                &path,
                problem,
                format!("keep one number: {rule}"),
            );
            return None;
        }
        self.optional_integer(key, range)
    }

    /// Reports every key that nobody asked for. To be called once all questions were asked.
    pub fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let path = self.path_of(name);
            self.diagnostics.place(&path, key.span().start);
            let known = self.asked.iter().copied();
            let remedy = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("use one of {}", one_of(known)),
            };
            self.diagnostics
                .fault(FaultKind::UnknownKey, &path, "unknown key", remedy);
        }
    }
}
