//! `[nat-rules.NAME]`: ordered terms, each a match (`from`) and an action (`then`).

use tandem_engine::program::{AddressRange, FilteringType, MappingType, PortRange, TermMatch};

use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, suggestion};
use super::names;
use super::section::Section;
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
}

/// What a term does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forward untranslated (RFC 6888 REQ-6).
    NoTranslation,
    /// Source NAT with port translation.
    Napt44 {
        /// Name of the pool.
        pool: String,
        /// RFC 4787 section 4.1.
        mapping: MappingType,
        /// RFC 4787 section 5.
        filtering: FilteringType,
    },
}

/// A rule as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    path: String,
    terms: Vec<RawTerm>,
}

struct RawTerm {
    path: String,
    name: Option<String>,
    has_name: bool,
    matches: TermMatch,
    translation: Option<()>,
    no_translation: bool,
    pool: Option<String>,
    mapping: MappingType,
    filtering: FilteringType,
    /// Keys of `then` that the file sets.
    then: Vec<&'static str>,
}

const MAPPINGS: [(&str, MappingType); 2] = [
    ("endpoint-independent", MappingType::EndpointIndependent),
    ("address-and-port-dependent", MappingType::AddressAndPortDependent),
];
const FILTERINGS: [(&str, FilteringType); 3] = [
    ("endpoint-independent", FilteringType::EndpointIndependent),
    ("address-dependent", FilteringType::AddressDependent),
    (
        "address-and-port-dependent",
        FilteringType::AddressAndPortDependent,
    ),
];
const THEN_KEYS: [&str; 5] = [
    "translation-type",
    "pool",
    "mapping-type",
    "filtering-type",
    "no-translation",
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
    let matches = matches(section.table("from"));
    let mut then = section.table("then");
    let raw = RawTerm {
        path: section.path().to_owned(),
        name,
        has_name: section.has("name"),
        matches,
        translation: then.choice("translation-type", &[("napt-44", ())], ""),
        pool: then.parsed("pool", "pool name", "", names::reference),
        mapping: then
            .choice("mapping-type", &MAPPINGS, "endpoint-independent")
            .unwrap_or(MappingType::EndpointIndependent),
        filtering: then
            .choice("filtering-type", &FILTERINGS, "endpoint-independent")
            .unwrap_or(FilteringType::EndpointIndependent),
        no_translation: then.boolean("no-translation", false),
        then: THEN_KEYS.into_iter().filter(|key| then.has(key)).collect(),
    };
    then.finish();
    section.finish();
    raw
}

fn matches(mut from: Section<'_>) -> TermMatch {
    let mut addresses =
        |key, kind, parse: fn(&str) -> Result<AddressRange, super::fault::Bad>| -> Vec<AddressRange> {
            from.list(key, kind, parse)
                .into_iter()
                .map(|item| item.value)
                .collect()
        };
    let mut sources = addresses("source-addresses", "IPv4 prefixes", values::ipv4_prefix);
    sources.extend(addresses(
        "source-ranges",
        "IPv4 ranges \"first-last\"",
        values::ipv4_range,
    ));
    let destinations = addresses("destination-addresses", "IPv4 prefixes", values::ipv4_prefix);
    let ports = from.list("destination-ports", "ports or port ranges", values::port_range);
    let destination_ports: Vec<PortRange> = ports.into_iter().map(|item| item.value).collect();
    let protocols = from.list("protocols", "IP protocols", values::protocol);
    let protocols: Vec<u8> = protocols.into_iter().map(|item| item.value).collect();
    if !destination_ports.is_empty()
        && !protocols.is_empty()
        && !protocols.iter().any(|p| [6, 17].contains(p))
    {
        let d = from.diagnostics();
        let other = from.path_of("protocols");
        let problem = format!(
            "only TCP and UDP have ports, and {other} (line {}) has neither",
            d.line(&other)
        );
        let remedy = "remove destination-ports, or add \"tcp\" or \"udp\" to protocols";
        d.fault(
            FaultKind::Conflict,
            &from.path_of("destination-ports"),
            problem,
            remedy,
        );
    }
    from.finish();
    TermMatch {
        sources6: Vec::new(),
        sources,
        destinations,
        destination_ports,
        protocols,
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
    let mut match_all: Option<&RawTerm> = None;
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
        if let Some(first) = match_all {
            let problem = format!(
                "is never reached: {} (line {}) matches everything",
                first.path,
                d.line(&first.path)
            );
            d.warn(&term.path, problem, "put the term that matches everything last");
        } else if term.matches == TermMatch::default() {
            match_all = Some(term);
        }
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

fn finished(term: &RawTerm, pools: &[&str], d: &Diagnostics) -> Option<Term> {
    if !term.has_name {
        d.fault(
            FaultKind::Missing,
            &term.path,
            "the term has no name",
            "add name = \"...\"",
        );
    }
    let then = |key: &str| format!("{}.then.{key}", term.path);
    if term.no_translation {
        for key in term.then.iter().filter(|key| **key != "no-translation") {
            let problem = format!(
                "stands beside no-translation (line {})",
                d.line(&then("no-translation"))
            );
            d.fault(FaultKind::Conflict, &then(key), problem, "remove one of the two");
        }
        return Some(Term {
            name: term.name.clone()?,
            matches: term.matches.clone(),
            action: Action::NoTranslation,
        });
    }
    if !term.then.contains(&"translation-type") {
        let remedy = "add then = { translation-type = \"napt-44\", pool = \"...\" } or then = { no-translation = true }";
        d.fault(
            FaultKind::Missing,
            &format!("{}.then", term.path),
            "the term does nothing",
            remedy,
        );
    } else if !term.then.contains(&"pool") {
        let problem = "napt-44 translates to the addresses of a pool, and none is named";
        d.fault(
            FaultKind::Missing,
            &format!("{}.then", term.path),
            problem,
            "add pool = \"NAME\"",
        );
    }
    if let Some(pool) = term.pool.as_deref().filter(|pool| !pools.contains(pool)) {
        let problem = format!("there is no pool \"{pool}\"");
        d.fault(
            FaultKind::UnknownName,
            &then("pool"),
            problem,
            suggestion(pool, pools.iter().copied()),
        );
    }
    term.translation?;
    let action = Action::Napt44 {
        pool: term.pool.clone()?,
        mapping: term.mapping,
        filtering: term.filtering,
    };
    Some(Term {
        name: term.name.clone()?,
        matches: term.matches.clone(),
        action,
    })
}
