//! `[service-sets.NAME.firewall]`: which policies a service set has in each direction.

use std::sync::Arc;

use tandem_engine::program::PolicyAction;

use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, suggestion};
use super::firewall_policy::{ACTIONS, FirewallPolicies};
use super::names;
use super::section::{Item, Section};
use super::service_set::ServiceSet;

/// Most policies of one direction of one service set: a position is 16 bits, and one value means "none".
pub const DIRECTION_POLICIES_MAX: usize = 65_534;
/// Combinations of source prefix, destination prefix and application of one direction of one service set: the rules of one
/// classifier.
pub const DIRECTION_COMBINATIONS_MAX: u64 = 200_000;

/// Policies of all directions of all service sets: each has an id.
const POLICIES_MAX: usize = 65_535;

/// A service set's firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Sessions from inside.
    pub outbound: Direction,
    /// Sessions from outside.
    pub inbound: Direction,
}

/// The policies of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Lists in order.
    pub lists: Vec<Arc<FirewallPolicies>>,
    /// What happens when no policy matches.
    pub default: PolicyAction,
}

impl Direction {
    /// How many policies its lists have together.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.lists.iter().map(|list| list.policies.len()).sum()
    }
}

/// A firewall as the file has it, each key checked by itself.
pub(super) struct Raw {
    path: String,
    outbound: (Vec<Item<String>>, PolicyAction),
    inbound: (Vec<Item<String>>, PolicyAction),
}

pub(super) fn decode(mut section: Section<'_>) -> Raw {
    let outbound = section.list("outbound", "policy list names", names::reference);
    let inbound = section.list("inbound", "policy list names", names::reference);
    let raw = Raw {
        path: section.path().to_owned(),
        outbound: (
            outbound,
            section
                .choice("outbound-default", &ACTIONS, "permit")
                .unwrap_or(PolicyAction::Permit),
        ),
        inbound: (
            inbound,
            section
                .choice("inbound-default", &ACTIONS, "deny")
                .unwrap_or(PolicyAction::Deny),
        ),
    };
    section.finish();
    raw
}

/// Checks a firewall against the lists of the file.
pub(super) fn validate(raw: &Raw, lists: &[Arc<FirewallPolicies>], d: &Diagnostics) -> Firewall {
    let direction = |key: &str, (items, default): &(Vec<Item<String>>, PolicyAction)| {
        let path = format!("{}.{key}", raw.path);
        Direction {
            lists: resolve(items, &path, lists, d),
            default: *default,
        }
    };
    Firewall {
        outbound: direction("outbound", &raw.outbound),
        inbound: direction("inbound", &raw.inbound),
    }
}

/// A policy has an id for each service set and direction it is in.
pub(super) fn ids_suffice(sets: &[ServiceSet], d: &Diagnostics) {
    let firewalls = sets.iter().filter_map(|set| set.firewall.as_ref());
    let policies: usize = firewalls
        .map(|firewall| firewall.outbound.policies() + firewall.inbound.policies())
        .sum();
    if policies > POLICIES_MAX {
        let problem = format!("all directions of all service sets have {policies} policies together");
        let remedy = format!("use at most {POLICIES_MAX}; a list counts once for each direction it is in");
        d.fault(FaultKind::BadValue, "firewall-policies", problem, remedy);
    }
}

fn resolve(
    items: &[Item<String>],
    path: &str,
    lists: &[Arc<FirewallPolicies>],
    d: &Diagnostics,
) -> Vec<Arc<FirewallPolicies>> {
    let mut found: Vec<Arc<FirewallPolicies>> = Vec::with_capacity(items.len());
    for item in items {
        match lists.iter().find(|list| list.name == item.value) {
            Some(list) if found.iter().any(|other| Arc::ptr_eq(other, list)) => d.fault(
                FaultKind::Conflict,
                &item.path,
                format!("\"{}\" stands here twice", item.value),
                "remove one of the two",
            ),
            Some(list) => found.push(Arc::clone(list)),
            None => d.fault(
                FaultKind::UnknownName,
                &item.path,
                format!("there is no list \"{}\" in [firewall-policies]", item.value),
                suggestion(&item.value, lists.iter().map(|list| list.name.as_str())),
            ),
        }
    }
    let policies: usize = found.iter().map(|list| list.policies.len()).sum();
    if policies > DIRECTION_POLICIES_MAX {
        let problem = format!("the lists have {policies} policies together");
        let remedy = format!("use at most {DIRECTION_POLICIES_MAX}");
        d.fault(FaultKind::BadValue, path, problem, remedy);
    }
    let combinations: u64 = found
        .iter()
        .flat_map(|list| &list.policies)
        .map(|policy| policy.combinations)
        .sum();
    if combinations > DIRECTION_COMBINATIONS_MAX {
        let problem = format!(
            "the policies have {combinations} combinations of source prefix, destination prefix and application together"
        );
        let remedy = format!("use at most {DIRECTION_COMBINATIONS_MAX}");
        d.fault(FaultKind::BadValue, path, problem, remedy);
    }
    found
}
