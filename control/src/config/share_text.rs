//! The shared part of a configuration as a text: taken out of an operator's file, compared, and put into another one whose
//! comments, order and local-only part stay.

use std::fmt::Write;

use ring::digest::{SHA256, digest as sha256};
use similar::TextDiff;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use super::share::{Own, Share, is_entry, share_of};

/// Octets of a shared part at most that go from one chassis to the other.
pub const SHARED_BYTES_MAX: usize = 1 << 20;

/// Why a text is not merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// One of the two is no TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A name is of the shared part there, and of the local-only one here.
    #[error(
        "{0} is this chassis' own, because only service sets without a redundancy set use it, and the peer shares another one of this name; give one of the two another name"
    )]
    Own(String),
}

fn document(text: &str) -> Result<DocumentMut, MergeError> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| MergeError::Syntax(error.message().to_owned()))
}

/// The shared part of `text`, with what a chassis that lacks a table would take beside: what the peer is given.
///
/// # Errors
/// [`MergeError::Syntax`].
pub fn shared_part(text: &str) -> Result<String, MergeError> {
    let mut document = document(text)?;
    let own = Own::of(&document);
    strip(&mut Vec::new(), document.as_table_mut(), &own);
    document.set_trailing("");
    Ok(document.to_string())
}

/// Takes everything out that is local-only.
fn strip(path: &mut Vec<String>, table: &mut dyn TableLike, own: &Own) {
    for key in keys(table) {
        path.push(key.clone());
        let here: Vec<&str> = path.iter().map(String::as_str).collect();
        if own.has(&here) || share_of(&here) == Share::Local {
            table.remove(&key);
        } else if let Some(child) = table.get_mut(&key).and_then(Item::as_table_like_mut) {
            strip(path, child, own);
        }
        path.pop();
    }
}

/// The shared part of `text`, one line for each key: comments, blanks, the order of tables and the way a value is written do not
/// count, nor does what is kept.
///
/// # Errors
/// [`MergeError::Syntax`].
pub fn shared_lines(text: &str) -> Result<String, MergeError> {
    let document = document(text)?;
    let own = Own::of(&document);
    let mut lines = String::new();
    flatten(&mut Vec::new(), document.as_table(), Some(&own), &mut lines);
    Ok(lines)
}

/// SHA-256 of [`shared_lines`].
#[must_use]
pub fn lines_digest(lines: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(sha256(&SHA256, lines.as_bytes()).as_ref());
    bytes
}

/// The lines of two shared parts as a unified diff, what is here before what is there; empty when they are alike.
#[must_use]
pub fn shared_diff(ours: &str, theirs: &str) -> String {
    let diff = TextDiff::from_lines(ours, theirs);
    let mut unified = diff.unified_diff();
    if ours == theirs {
        return String::new();
    }
    unified
        .context_radius(2)
        .header("this chassis", "the peer")
        .to_string()
}

/// One line for each value under `table`. `own`: of what is shared only.
fn flatten(path: &mut Vec<String>, table: &dyn TableLike, own: Option<&Own>, lines: &mut String) {
    let mut all: Vec<(&str, &Item)> = table.iter().collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    for (key, item) in all {
        path.push(shown_key(key));
        let here: Vec<&str> = path.iter().map(String::as_str).collect();
        let counts = own.is_none_or(|own| !own.has(&here) && share_of(&here) == Share::Shared);
        if counts {
            item_lines(path, item, own, lines);
        }
        path.pop();
    }
}

fn item_lines(path: &mut Vec<String>, item: &Item, own: Option<&Own>, lines: &mut String) {
    if let Some(tables) = item.as_array_of_tables() {
        for table in tables.iter() {
            element(path, table, lines);
        }
    } else if let Some(table) = item.as_table_like() {
        if table.is_empty() {
            // Some tables mean something by being there.
            line(path, "{}", lines);
        }
        flatten(path, table, own, lines);
    } else if let Some(array) = item
        .as_array()
        .filter(|array| array.iter().any(Value::is_inline_table))
    {
        for value in array {
            match value.as_inline_table() {
                Some(table) => element(path, table, lines),
                None => line(path, &shown(value), lines),
            }
        }
    } else if let Some(value) = item.as_value() {
        line(path, &shown(value), lines);
    }
}

/// An element of an array of tables.
fn element(path: &mut Vec<String>, table: &dyn TableLike, lines: &mut String) {
    let Some(last) = path.pop() else { return };
    path.push(format!("{last}[]"));
    line(path, "{", lines);
    flatten(path, table, None, lines);
    path.pop();
    path.push(last);
}

fn line(path: &[String], value: &str, lines: &mut String) {
    // A String takes whatever it is given.
    let _ = writeln!(lines, "{} = {value}", path.join("."));
}

fn shown_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        format!("\"{key}\"")
    }
}

/// A value in one way of writing.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => Value::from(text.value().as_str()).to_string(),
        Value::Integer(number) => number.value().to_string(),
        Value::Float(number) => number.value().to_string(),
        Value::Boolean(is) => is.value().to_string(),
        Value::Datetime(time) => time.value().to_string(),
        Value::Array(array) => {
            let values: Vec<String> = array.iter().map(shown).collect();
            format!("[{}]", values.join(", "))
        }
        Value::InlineTable(table) => {
            let mut lines = String::new();
            flatten(&mut Vec::new(), table, None, &mut lines);
            format!("{{ {} }}", lines.trim_end().replace('\n', ", "))
        }
    }
}

/// `ours` with the shared part `theirs` in place of its own. What is alike stays as it is written.
///
/// # Errors
/// [`MergeError`].
pub fn merged(ours: &str, theirs: &str) -> Result<String, MergeError> {
    let mut document = document(ours)?;
    let theirs: DocumentMut = self::document(&shared_part(theirs)?)?;
    let own = Own::of(&document);
    merge(&mut Vec::new(), document.as_table_mut(), theirs.as_table(), &own)?;
    Ok(document.to_string())
}

fn keys(table: &dyn TableLike) -> Vec<String> {
    table.iter().map(|(key, _)| key.to_owned()).collect()
}

fn merge(
    path: &mut Vec<String>,
    ours: &mut dyn TableLike,
    theirs: &dyn TableLike,
    own: &Own,
) -> Result<(), MergeError> {
    let nothing = Table::new();
    for key in keys(ours) {
        path.push(key.clone());
        let here: Vec<&str> = path.iter().map(String::as_str).collect();
        let (share, is_own) = (share_of(&here), own.has(&here));
        let (Some(item), told) = (ours.get_mut(&key), theirs.get(&key)) else {
            path.pop();
            continue;
        };
        if is_own {
            if told.is_some_and(|told| !is_alike(item, told)) && is_entry(&here) {
                return Err(MergeError::Own(path.join(".")));
            }
        } else if share == Share::Shared {
            let whole = is_entry(&here);
            match told {
                Some(told) if is_alike(item, told) => {}
                Some(told) => match (item.as_table_like_mut(), told.as_table_like()) {
                    (Some(child), Some(told)) => merge(path, child, told, own)?,
                    _ => put(item, told),
                },
                None if whole || item.as_table_like().is_none() => {
                    ours.remove(&key);
                }
                None => {
                    // It may have keys that are this chassis' own.
                    if let Some(child) = item.as_table_like_mut() {
                        merge(path, child, &nothing, own)?;
                        if child.is_empty() {
                            ours.remove(&key);
                        }
                    }
                }
            }
        }
        path.pop();
    }
    for (key, told) in theirs
        .iter()
        .filter(|(key, _)| !ours.contains_key(key))
        .collect::<Vec<_>>()
    {
        path.push(key.to_owned());
        let here: Vec<&str> = path.iter().map(String::as_str).collect();
        // What is kept comes with its table only, which then is what is put in.
        let takes = share_of(&here) == Share::Shared;
        path.pop();
        if takes {
            let mut item = told.clone();
            place(&mut item);
            ours.insert(key, item);
        }
    }
    Ok(())
}

/// Whether two items say the same.
fn is_alike(one: &Item, other: &Item) -> bool {
    let lines = |item: &Item| {
        let mut lines = String::new();
        item_lines(&mut vec![String::new()], item, None, &mut lines);
        lines
    };
    lines(one) == lines(other)
}

/// Puts `told` in the place of `item`, whose comment stays.
fn put(item: &mut Item, told: &Item) {
    let mut told = told.clone();
    if let Some(old) = item.as_value() {
        // Within an inline table there are only values.
        told = told.into_value().map_or_else(|told| told, Item::Value);
        if let Some(new) = told.as_value_mut() {
            *new.decor_mut() = old.decor().clone();
        }
    }
    place(&mut told);
    *item = told;
}

/// Tables of another document have places there that mean nothing here: they come behind what stands before them in the tree.
fn place(item: &mut Item) {
    match item {
        Item::Table(table) => {
            table.set_position(None);
            table.iter_mut().for_each(|(_, item)| place(item));
        }
        Item::ArrayOfTables(tables) => {
            for table in tables.iter_mut() {
                table.set_position(None);
                table.iter_mut().for_each(|(_, item)| place(item));
            }
        }
        Item::None | Item::Value(_) => {}
    }
}
