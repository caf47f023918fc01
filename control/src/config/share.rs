//! What of a configuration both chassis of a pair share, and what is each chassis' own: one table, which docs/config.md shows.
//!
//! ```text
//!   operator's file = shared part         compared, pulled, propagated
//!                   + kept part           as shared where a table is new here, else as it is here
//!                   + local-only part     never leaves the chassis, and nothing of the peer's takes its place
//! ```
//!
//! What only service sets without a redundancy set use is this chassis' own, too. Redundancy spec, section 3.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, TableLike};

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The same on both.
    Shared,
    /// Each chassis' own where it has the table; comes with a table that is new.
    Kept,
    /// Each chassis' own.
    Local,
}

/// By key path, `*` for a name that the operator chooses; the longest path that fits decides.
pub const SHARES: &[(&str, Share)] = &[
    ("system", Share::Local),
    ("dpdk", Share::Local),
    ("workers", Share::Local),
    ("api", Share::Local),
    ("table-sizes", Share::Local),
    ("interfaces", Share::Local),
    ("fragments", Share::Shared),
    ("forwarding", Share::Shared),
    ("pools", Share::Shared),
    ("pools.*.interface", Share::Kept),
    ("nat-rules", Share::Shared),
    ("applications", Share::Shared),
    ("application-sets", Share::Shared),
    ("address-books", Share::Shared),
    ("firewall-policies", Share::Shared),
    ("service-sets", Share::Shared),
    ("service-sets.*.inside-interfaces", Share::Kept),
    ("service-sets.*.outside-interfaces", Share::Kept),
    ("redundancy", Share::Shared),
    ("redundancy.redundancy-local", Share::Local),
    ("redundancy.failover-threshold", Share::Local),
    ("redundancy-groups", Share::Local),
    ("redundancy-sets", Share::Shared),
    ("redundancy-sets.*.redundancy-group", Share::Kept),
    ("redundancy-sets.*.role", Share::Local),
    ("redundancy-sets.*.priority", Share::Local),
    ("redundancy-sets.*.failover-threshold", Share::Local),
    ("redundancy-sets.*.policies", Share::Local),
    ("redundancy-sets.*.track-file", Share::Local),
    ("redundancy-events", Share::Local),
    ("redundancy-policies", Share::Local),
    ("tracked-ips", Share::Local),
    ("zones", Share::Local),
];

/// Tables of tables by the operator's names, of which some are shared.
const NAMED: [&str; 8] = [
    "pools",
    "nat-rules",
    "applications",
    "application-sets",
    "address-books",
    "firewall-policies",
    "service-sets",
    "redundancy-sets",
];

/// Whose the key of this path is. A key that nothing is said of is local: nothing leaves a chassis by mistake.
#[must_use]
pub fn share_of(path: &[&str]) -> Share {
    let fits = |pattern: &str| {
        let mut parts = pattern.split('.');
        let mut keys = path.iter();
        parts.all(|part| keys.next().is_some_and(|key| part == "*" || part == *key))
    };
    let longest = SHARES
        .iter()
        .filter(|(pattern, _)| fits(pattern))
        .max_by_key(|(pattern, _)| pattern.split('.').count());
    longest.map_or(Share::Local, |(_, share)| *share)
}

/// Whether the path is that of a table by an operator's name, which is there whole or not at all.
pub(super) fn is_entry(path: &[&str]) -> bool {
    matches!(path, [table, _] if NAMED.contains(table))
}

/// An entry: the table of tables, and its name in it.
type Entry = (&'static str, String);

/// What only service sets without a redundancy set use, and these themselves.
#[derive(Debug, Default)]
pub(super) struct Own(BTreeSet<Entry>);

impl Own {
    pub fn of(document: &DocumentMut) -> Self {
        let (mut own, mut shared) = (BTreeSet::new(), BTreeSet::new());
        for (name, set) in entries(document, "service-sets") {
            let into = if set.contains_key("redundancy-set") {
                &mut shared
            } else {
                &mut own
            };
            reach(document, ("service-sets", name.to_owned()), into);
        }
        Self(own.difference(&shared).cloned().collect())
    }

    pub fn has(&self, path: &[&str]) -> bool {
        matches!(path, [table, name, ..] if self.0.iter().any(|(t, n)| t == table && n == name))
    }
}

fn entries<'d>(
    document: &'d DocumentMut,
    table: &str,
) -> impl Iterator<Item = (&'d str, &'d dyn TableLike)> + use<'d> {
    let table = document.get(table).and_then(Item::as_table_like);
    let all = table.into_iter().flat_map(|table| table.iter());
    all.filter_map(|(name, item)| Some((name, item.as_table_like()?)))
}

/// An entry and all that it refers to by name.
fn reach(document: &DocumentMut, entry: Entry, into: &mut BTreeSet<Entry>) {
    let found = entries(document, entry.0).find(|(name, _)| *name == entry.1);
    let Some((_, table)) = found else { return };
    let kind = entry.0;
    if !into.insert(entry) {
        return;
    }
    let next: Vec<Entry> = match kind {
        "service-sets" => {
            let lists = table.get("firewall").and_then(Item::as_table_like);
            let lists = ["outbound", "inbound"].map(|way| lists.and_then(|lists| lists.get(way)));
            let lists = lists.into_iter().flatten().flat_map(texts);
            let rules = table.get("nat-rules").into_iter().flat_map(texts);
            rules
                .map(|rule| ("nat-rules", rule))
                .chain(lists.map(|list| ("firewall-policies", list)))
                .collect()
        }
        "nat-rules" => {
            let terms = table.get("terms").map(elements).unwrap_or_default();
            let pool = |term: &dyn TableLike| {
                let then = term.get("then")?.as_table_like()?;
                Some(("pools", then.get("pool")?.as_str()?.to_owned()))
            };
            terms.into_iter().filter_map(pool).collect()
        }
        "firewall-policies" => {
            let policies = table.get("policies").map(elements).unwrap_or_default();
            let from = policies
                .iter()
                .filter_map(|policy| policy.get("from")?.as_table_like());
            let mut names = Vec::new();
            for from in from {
                for key in ["source-addresses", "destination-addresses"] {
                    let books = from.get(key).into_iter().flat_map(texts);
                    names.extend(books.map(|book| ("address-books", book)));
                }
                for application in from.get("applications").into_iter().flat_map(texts) {
                    names.push(("applications", application.clone()));
                    names.push(("application-sets", application));
                }
            }
            names
        }
        "application-sets" => {
            let members = table.get("applications").into_iter().flat_map(texts);
            members.map(|member| ("applications", member)).collect()
        }
        _ => Vec::new(),
    };
    for entry in next {
        reach(document, entry, into);
    }
}

/// The texts of a list.
fn texts(item: &Item) -> Vec<String> {
    let values = item.as_array().into_iter().flat_map(|array| array.iter());
    values
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// The tables of a list, however they are written.
fn elements(item: &Item) -> Vec<&dyn TableLike> {
    if let Some(tables) = item.as_array_of_tables() {
        return tables.iter().map(|table| table as &dyn TableLike).collect();
    }
    let values = item.as_array().into_iter().flat_map(|array| array.iter());
    values
        .filter_map(|value| value.as_inline_table().map(|table| table as &dyn TableLike))
        .collect()
}
