//! `[nat-rules.NAME]`: ordered terms, each a match (`from`) and an action (`then`).

use tandem_engine::program::{AddressRange, TermMatch};

use super::addresses::{self, Addresses};
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::names;
use super::section::{Item, Section};
use super::translation::{self, Action, RawThen};
use super::values;

/// A NAT rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRule {
    /// Its name.
    pub name: String,
    /// Its terms; the first that matches decides.
    pub terms: Vec<Term>,
}

/// One term of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its name, unique in the rule.
    pub name: String,
    /// What it matches.
    pub matches: TermMatch,
    /// What it does.
    pub action: Action,
    /// Its sessions are not replicated.
    pub no_session_backup: bool,
    /// Its key path.
    pub(super) path: String,
}

/// A rule as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    path: String,
    terms: Vec<RawTerm>,
}

pub(super) struct RawTerm {
    pub path: String,
    pub name: Option<String>,
    has_name: bool,
    no_session_backup: bool,
    pub from: RawFrom,
    pub then: RawThen,
}

/// `from` of a term.
pub(super) struct RawFrom {
    pub path: String,
    pub sources: Vec<Item<Addresses>>,
    pub destinations: Vec<Item<AddressRange>>,
    pub ports: Vec<Item<tandem_engine::program::PortRange>>,
    pub protocols: Vec<Item<u8>>,
    /// Keys that are set to a list with elements, right or wrong.
    pub filled: Vec<&'static str>,
}

const FROM_KEYS: [&str; 5] = [
    "source-addresses",
    "source-ranges",
    "destination-addresses",
    "destination-ports",
    "protocols",
];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let terms = section.array_of_tables("terms").into_iter().map(term).collect();
    let raw = Raw {
        name,
        path: section.path().to_owned(),
        terms,
    };
    section.finish();
    raw
}

fn term(mut section: Section<'_>) -> RawTerm {
    let name = section.parsed("name", "name", "", names::name_value);
    let raw = RawTerm {
        path: section.path().to_owned(),
        name,
        has_name: section.has("name"),
        from: from(section.table("from")),
        then: translation::decode(section.table("then")),
        no_session_backup: section.boolean("no-session-backup", false),
    };
    section.finish();
    raw
}

fn from(mut section: Section<'_>) -> RawFrom {
    let mut sources = section.list("source-addresses", "IPv4 or IPv6 prefixes", addresses::prefix);
    sources.extend(section.list(
        "source-ranges",
        "IPv4 or IPv6 ranges \"first-last\"",
        addresses::range,
    ));
    let destinations = section.list("destination-addresses", "IPv4 prefixes", values::ipv4_prefix);
    let ports = section.list("destination-ports", "ports or port ranges", values::port_range);
    let protocols = section.list("protocols", "IP protocols", values::protocol);
    if !ports.is_empty() && !protocols.is_empty() && !protocols.iter().any(|p| [6, 17].contains(&p.value)) {
        let d = section.diagnostics();
        let other = section.path_of("protocols");
        let problem = format!(
            "only TCP and UDP have ports, and {other} (line {}) has neither",
            d.line(&other)
        );
        let remedy = "remove destination-ports, or add \"tcp\" or \"udp\" to protocols";
        d.fault(
            FaultKind::Conflict,
            &section.path_of("destination-ports"),
            problem,
            remedy,
        );
    }
    let filled = FROM_KEYS
        .into_iter()
        .filter(|key| section.has(key) && !section.is_empty_list(key));
    let raw = RawFrom {
        path: section.path().to_owned(),
        sources,
        destinations,
        ports,
        protocols,
        filled: filled.collect(),
    };
    section.finish();
    raw
}

impl RawFrom {
    /// The match as the program has it.
    fn matches(&self) -> TermMatch {
        let mut matches = TermMatch {
            destinations: self.destinations.iter().map(|item| item.value).collect(),
            destination_ports: self.ports.iter().map(|item| item.value).collect(),
            protocols: self.protocols.iter().map(|item| item.value).collect(),
            ..TermMatch::default()
        };
        for item in &self.sources {
            match item.value {
                Addresses::V4(range) => matches.sources.push(range),
                Addresses::V6(range) => matches.sources6.push(range),
            }
        }
        matches
    }

    fn matches_everything(&self) -> bool {
        self.filled.is_empty()
    }
}

/// Checks rules against the pools; gives back those that can stand.
pub(super) fn validate(raws: &[Raw], pools: &[&str], d: &Diagnostics) -> Vec<NatRule> {
    raws.iter().map(|raw| rule(raw, pools, d)).collect()
}

fn rule(raw: &Raw, pools: &[&str], d: &Diagnostics) -> NatRule {
    if raw.terms.is_empty() {
        let remedy = format!("add [[{}.terms]] with name, from and then", raw.path);
        d.fault(FaultKind::Missing, &raw.path, "the rule has no term", remedy);
    }
    // The first terms that match everything, of IPv4 and of IPv6.
    let mut match_all: [Option<&RawTerm>; 2] = [None, None];
    for (at, term) in raw.terms.iter().enumerate() {
        let first = raw.terms[..at]
            .iter()
            .find(|other| other.name.is_some() && other.name == term.name);
        if let Some(first) = first {
            let place = format!("{}.name", first.path);
            let problem = format!("the name is that of {} (line {}) too", first.path, d.line(&place));
            d.fault(
                FaultKind::Conflict,
                &format!("{}.name", term.path),
                problem,
                "give each term its own name",
            );
        }
        never_reached(term, &mut match_all, d);
    }
    let terms = raw
        .terms
        .iter()
        .filter_map(|term| finished(term, pools, d))
        .collect();
    NatRule {
        name: raw.name.clone(),
        terms,
    }
}

fn never_reached<'r>(term: &'r RawTerm, match_all: &mut [Option<&'r RawTerm>; 2], d: &Diagnostics) {
    let families = term.then.families();
    let mut earlier = (0..2)
        .filter(|family| families[*family])
        .map(|family| match_all[family]);
    if let Some(Some(first)) = earlier.next()
        && earlier.all(|other| other.is_some())
    {
        let problem = format!(
            "is never reached: {} (line {}) matches everything",
            first.path,
            d.line(&first.path)
        );
        d.warn(&term.path, problem, "put the term that matches everything last");
    }
    for (family, place) in match_all.iter_mut().enumerate() {
        if families[family] && term.from.matches_everything() {
            place.get_or_insert(term);
        }
    }
}

fn finished(term: &RawTerm, pools: &[&str], d: &Diagnostics) -> Option<Term> {
    if !term.has_name {
        d.fault(
            FaultKind::Missing,
            &term.path,
            "the term has no name",
            "add name = \"...\"",
        );
    }
    let action = translation::validate(term, pools, d);
    Some(Term {
        name: term.name.clone()?,
        matches: term.from.matches(),
        action: action?,
        no_session_backup: term.no_session_backup,
        path: term.path.clone(),
    })
}
