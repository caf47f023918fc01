//! `[firewall-policies.NAME]`: lists of policies, each a match (`from`) and an action (`then`).

use tandem_engine::program::PolicyAction;
use tandem_engine::program::policy::PolicyMatch;

use super::address_book::{self, AddressBooks, AddressOrName};
use super::addresses::prefixes_in;
use super::application::{self, Applications};
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::names;
use super::section::{Item, Section};

/// Combinations of source prefix, destination prefix and application of one policy: the rules it costs a classifier.
pub const POLICY_COMBINATIONS_MAX: u64 = 1 << 16;

/// A list of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallPolicies {
    /// Its name.
    pub name: String,
    /// Its policies; the first that matches decides.
    pub policies: Vec<FirewallPolicy>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallPolicy {
    /// Its name, unique in the list.
    pub name: String,
    /// What it matches.
    pub matches: PolicyMatch,
    /// What it does.
    pub action: PolicyAction,
    /// Whether each session begun or refused by it is logged.
    pub log: bool,
    /// Sessions that it lets begin are not replicated.
    pub no_session_backup: bool,
    /// Combinations of source prefix, destination prefix and application.
    pub(super) combinations: u64,
}

/// A list as the file has it, each key checked by itself.
pub(super) struct Raw {
    name: String,
    path: String,
    policies: Vec<RawPolicy>,
}

struct RawPolicy {
    path: String,
    name: Option<String>,
    has_name: bool,
    sources: Vec<Item<AddressOrName>>,
    destinations: Vec<Item<AddressOrName>>,
    applications: Vec<Item<String>>,
    action: Option<PolicyAction>,
    has_action: bool,
    log: bool,
    no_session_backup: bool,
}

/// What a policy, or the default of a direction, can do.
pub(super) const ACTIONS: [(&str, PolicyAction); 3] = [
    ("permit", PolicyAction::Permit),
    ("deny", PolicyAction::Deny),
    ("reject", PolicyAction::Reject),
];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let raw = Raw {
        name,
        path: section.path().to_owned(),
        policies: section
            .array_of_tables("policies")
            .into_iter()
            .map(policy)
            .collect(),
    };
    section.finish();
    raw
}

fn policy(mut section: Section<'_>) -> RawPolicy {
    const KIND: &str = "IPv4 or IPv6 prefixes, ranges or address book names";
    let name = section.parsed("name", "name", "", names::name_value);
    let mut from = section.table("from");
    let raw = RawPolicy {
        path: section.path().to_owned(),
        name,
        has_name: section.has("name"),
        sources: from.list("source-addresses", KIND, address_book::address_or_name),
        destinations: from.list("destination-addresses", KIND, address_book::address_or_name),
        applications: from.list("applications", "application names", names::reference),
        action: section.choice("then", &ACTIONS, ""),
        has_action: section.has("then"),
        log: section.boolean("log", false),
        no_session_backup: section.boolean("no-session-backup", false),
    };
    from.finish();
    section.finish();
    raw
}

/// Checks lists against address books and applications.
pub(super) fn validate(
    raws: &[Raw],
    books: &AddressBooks,
    applications: &Applications,
    d: &Diagnostics,
) -> Vec<FirewallPolicies> {
    raws.iter()
        .map(|raw| FirewallPolicies {
            name: raw.name.clone(),
            policies: list(raw, books, applications, d),
        })
        .collect()
}

fn list(
    raw: &Raw,
    books: &AddressBooks,
    applications: &Applications,
    d: &Diagnostics,
) -> Vec<FirewallPolicy> {
    if raw.policies.is_empty() {
        let remedy = format!("add [[{}.policies]] with name, from and then", raw.path);
        d.fault(FaultKind::Missing, &raw.path, "the list has no policy", remedy);
    }
    let mut match_all: Option<&RawPolicy> = None;
    let mut first_of = std::collections::HashMap::new();
    let mut policies = Vec::with_capacity(raw.policies.len());
    for policy in &raw.policies {
        if let Some(name) = &policy.name {
            let first: &RawPolicy = first_of.entry(name).or_insert(policy);
            if first.path != policy.path {
                let place = format!("{}.name", first.path);
                let problem = format!("the name is that of {} (line {}) too", first.path, d.line(&place));
                d.fault(
                    FaultKind::Conflict,
                    &format!("{}.name", policy.path),
                    problem,
                    "give each policy its own name",
                );
            }
        }
        let done = finished(policy, books, applications, d);
        if let Some(first) = match_all {
            let problem = format!(
                "is never reached: {} (line {}) matches everything",
                first.path,
                d.line(&first.path)
            );
            d.warn(
                &policy.path,
                problem,
                "put the policy that matches everything last",
            );
        } else if done.as_ref().is_some_and(|p| p.matches == PolicyMatch::default()) {
            match_all = Some(policy);
        }
        policies.extend(done);
    }
    policies
}

fn finished(
    raw: &RawPolicy,
    books: &AddressBooks,
    applications: &Applications,
    d: &Diagnostics,
) -> Option<FirewallPolicy> {
    if !raw.has_name {
        d.fault(
            FaultKind::Missing,
            &raw.path,
            "the policy has no name",
            "add name = \"...\"",
        );
    }
    if !raw.has_action {
        let remedy = "add then = \"permit\", \"deny\" or \"reject\"";
        d.fault(FaultKind::Missing, &raw.path, "the policy does nothing", remedy);
    }
    let mut parts = Vec::new();
    for item in &raw.applications {
        match applications.get(&item.value) {
            Some(found) => parts.extend(found),
            None => application::unknown(&item.path, &item.value, applications.keys(), d),
        }
    }
    parts.sort_unstable();
    parts.dedup();
    if parts.contains(&tandem_engine::program::policy::Application::ANY) {
        parts.clear();
    }
    let matches = PolicyMatch {
        sources: address_book::resolve(&raw.sources, books, d),
        destinations: address_book::resolve(&raw.destinations, books, d),
        applications: parts,
    };
    let combinations = combinations(&matches);
    if combinations > POLICY_COMBINATIONS_MAX {
        let problem = format!(
            "source prefixes, destination prefixes and applications make {combinations} classifier rules ({} x {} x {})",
            prefixes(&matches.sources).0.max(1),
            prefixes(&matches.destinations).0.max(1),
            matches.applications.len().max(1),
        );
        let remedy = format!(
            "use at most {POLICY_COMBINATIONS_MAX}: split the policy, or use ranges that are whole prefixes"
        );
        d.fault(
            FaultKind::BadValue,
            &format!("{}.from", raw.path),
            problem,
            remedy,
        );
    }
    Some(FirewallPolicy {
        name: raw.name.clone()?,
        matches,
        action: raw.action?,
        log: raw.log,
        no_session_backup: raw.no_session_backup,
        combinations,
    })
}

/// Prefixes of a list of ranges: all of them, and those of IPv4.
fn prefixes(ranges: &[(u128, u128)]) -> (u64, u64) {
    let of = |ranges: &mut dyn Iterator<Item = &(u128, u128)>| -> u64 {
        ranges.map(|range| u64::from(prefixes_in(*range))).sum()
    };
    let is_ipv4 = |range: &&(u128, u128)| range.0 >> 32 == 0xffff;
    (of(&mut ranges.iter()), of(&mut ranges.iter().filter(is_ipv4)))
}

/// Pairs within IPv4 stand in one table, all others in another; a list that is empty is one prefix in each.
fn combinations(matches: &PolicyMatch) -> u64 {
    let count = |ranges: &[(u128, u128)]| match prefixes(ranges) {
        (0, _) => (1, 0, 1),
        (all, ipv4) => (all, ipv4, ipv4),
    };
    let (sources, sources4, narrow_sources) = count(&matches.sources);
    let (destinations, destinations4, narrow_destinations) = count(&matches.destinations);
    let pairs = narrow_sources
        .saturating_mul(narrow_destinations)
        .saturating_add(sources.saturating_mul(destinations))
        .saturating_sub(sources4.saturating_mul(destinations4));
    pairs.saturating_mul(matches.applications.len().max(1) as u64)
}
