//! `[address-books.NAME]`: addresses by name, for firewall policies.

use std::collections::BTreeMap;

use super::addresses::{self, Addresses};
use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, suggestion};
use super::names;
use super::section::{Item, Section};

/// Addresses by name; empty is every address.
pub(super) type AddressBooks = BTreeMap<String, Vec<(u128, u128)>>;

/// A book as the file has it, each key checked by itself.
pub(super) struct Raw {
    name: String,
    path: String,
    addresses: Vec<Item<Addresses>>,
    /// Whether the file lists addresses, right or wrong.
    filled: bool,
}

/// One element of a policy's address list.
pub(super) enum AddressOrName {
    /// A prefix.
    Addresses(Addresses),
    /// The name of a book.
    Name(String),
}

/// The names that are always there.
const BUILT_IN: [(&str, &[&str]); 3] = [
    ("any", &[]),
    ("any-ipv4", &["0.0.0.0/0"]),
    ("any-ipv6", &["::/0"]),
];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let mut addresses = section.list("prefixes", "IPv4 or IPv6 prefixes", addresses::prefix);
    addresses.extend(section.list("ranges", "IPv4 or IPv6 ranges \"first-last\"", addresses::range));
    let filled = ["prefixes", "ranges"]
        .iter()
        .any(|key| section.has(key) && !section.is_empty_list(key));
    let raw = Raw {
        name,
        path: section.path().to_owned(),
        addresses,
        filled,
    };
    section.finish();
    raw
}

/// Reads an element of a policy's address list.
pub(super) fn address_or_name(text: &str) -> Result<AddressOrName, Bad> {
    if addresses::looks_like_addresses(text) {
        let read = if text.contains('-') {
            addresses::range
        } else {
            addresses::prefix
        };
        return read(text).map(AddressOrName::Addresses);
    }
    names::reference(text).map(AddressOrName::Name)
}

/// Puts built-in books and those of the file together.
pub(super) fn validate(raws: &[Raw], d: &Diagnostics) -> AddressBooks {
    let all = |prefixes: &[&str]| {
        let ranges = prefixes
            .iter()
            .filter_map(|prefix| addresses::prefix(prefix).ok());
        addresses::joined(ranges.map(Addresses::neutral).collect())
    };
    let mut books: AddressBooks = BUILT_IN
        .iter()
        .map(|(name, prefixes)| ((*name).to_owned(), all(prefixes)))
        .collect();
    for raw in raws {
        if !raw.filled {
            let remedy = "add prefixes = [\"192.0.2.0/24\", \"2001:db8::/32\"] or ranges";
            d.fault(FaultKind::Missing, &raw.path, "the address book is empty", remedy);
        }
        let problem = if books.contains_key(&raw.name) {
            Some("the name is that of a built-in address book")
        } else if addresses::looks_like_addresses(&raw.name) {
            Some("the name reads like an address")
        } else {
            None
        };
        if let Some(problem) = problem {
            d.fault(FaultKind::Conflict, &raw.path, problem, "use another name");
            continue;
        }
        let ranges = raw.addresses.iter().map(|item| item.value.neutral()).collect();
        books.insert(raw.name.clone(), addresses::joined(ranges));
    }
    books
}

/// The addresses of a policy's list, sorted and joined; empty is every address.
pub(super) fn resolve(
    items: &[Item<AddressOrName>],
    books: &AddressBooks,
    d: &Diagnostics,
) -> Vec<(u128, u128)> {
    let (mut all, mut found) = (false, Vec::new());
    for item in items {
        match &item.value {
            AddressOrName::Addresses(addresses) => found.push(addresses.neutral()),
            AddressOrName::Name(name) => match books.get(name) {
                Some(ranges) => {
                    all |= ranges.is_empty();
                    found.extend(ranges);
                }
                None => d.fault(
                    FaultKind::UnknownName,
                    &item.path,
                    format!("there is no address book \"{name}\""),
                    suggestion(name, books.keys().map(String::as_str)),
                ),
            },
        }
    }
    if all { Vec::new() } else { addresses::joined(found) }
}
