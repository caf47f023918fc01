//! What is of one thing only, and how many there are: the limits and exclusivity rules of redundancy spec, section 1.
//!
//! A monitored interface is of one event, an event of one policy, a policy of one redundancy set; so each signal has one consequence,
//! and nothing that fails is counted twice.

use std::collections::BTreeMap;

use super::diagnostics::{Diagnostics, join};
use super::fault::{FaultKind, suggestion};
use super::interface_redundant::absent;
use super::redundancy::Raw;
use super::redundancy_policy::{self, RouteTable, RouteWhen};
use super::section::Item;

/// Redundancy policies.
pub const REDUNDANCY_POLICIES_MAX: usize = 256;
/// Link-down monitors of the events of one policy.
pub const POLICY_LINKS_MAX: usize = 256;
/// Policies of one redundancy set.
pub const SET_POLICIES_MAX: usize = 16;

/// The names of `items` that `known` has; a name that is not there, or is there twice, is told. `section` is what they name.
pub(super) fn resolve(items: &[Item<String>], section: &str, known: &[&str], d: &Diagnostics) -> Vec<String> {
    let mut found: Vec<&Item<String>> = Vec::new();
    for item in items {
        if !known.contains(&item.value.as_str()) {
            let problem = format!("there is no {}", join(section, &item.value));
            if section == "interfaces" {
                absent(&item.path, &item.value, problem, known, d);
                continue;
            }
            let remedy = suggestion(&item.value, known.iter().copied());
            d.fault(FaultKind::UnknownName, &item.path, problem, remedy);
        } else if let Some(first) = found.iter().find(|first| first.value == item.value) {
            let problem = format!(
                "{} is {} (line {}), too",
                item.value,
                first.path,
                d.line(&first.path)
            );
            d.fault(FaultKind::Conflict, &item.path, problem, "name it once");
        } else {
            found.push(item);
        }
    }
    found.into_iter().map(|item| item.value.clone()).collect()
}

pub(super) fn check(raw: &Raw, d: &Diagnostics) {
    policies_fit(&raw.policies, d);
    links_fit(raw, d);
    for set in &raw.sets {
        for (at, item) in set.policies.iter().enumerate().skip(SET_POLICIES_MAX) {
            let problem = format!(
                "is policy {} of {} (line {})",
                at + 1,
                set.path,
                d.line(&set.path)
            );
            let remedy = format!("use at most {SET_POLICIES_MAX} policies in a set");
            d.fault(FaultKind::BadValue, &item.path, problem, remedy);
        }
    }
    let mut links = OneHolder::new("interfaces", "a monitored interface is of one event");
    let mut objects = OneHolder::new("tracked-ips", "a monitored object is of one event");
    let mut zones = OneHolder::new("zones", "a monitored object is of one event");
    for event in &raw.events {
        links.take_all(&event.links, &event.path, d);
        objects.take_all(&event.tracked, &event.path, d);
        zones.take_all(&event.zones, &event.path, d);
        let of_zones = event
            .zones
            .iter()
            .filter_map(|item| raw.zones.iter().find(|zone| zone.name == item.value));
        for zone in of_zones {
            links.take_all(&zone.interfaces, &event.path, d);
        }
    }
    let mut zoned = OneHolder::new("interfaces", "an interface is of one zone");
    for zone in &raw.zones {
        zoned.take_all(&zone.interfaces, &zone.path, d);
    }
    let mut events = OneHolder::new("redundancy-events", "an event is of one policy");
    for policy in &raw.policies {
        events.take_all(&policy.events, &policy.path, d);
    }
    let mut policies = OneHolder::new("redundancy-policies", "a policy is of one redundancy set");
    for set in &raw.sets {
        policies.take_all(&set.policies, &set.path, d);
    }
    routes_are_apart(&raw.policies, d);
}

/// Names that have one holder each.
struct OneHolder<'a> {
    section: &'static str,
    rule: &'static str,
    /// By name: the holder's key path, and where it names it.
    holders: BTreeMap<&'a str, (&'a str, &'a str)>,
}

impl<'a> OneHolder<'a> {
    fn new(section: &'static str, rule: &'static str) -> Self {
        let holders = BTreeMap::new();
        Self {
            section,
            rule,
            holders,
        }
    }

    /// `holder` names all of `items`.
    fn take_all(&mut self, items: &'a [Item<String>], holder: &'a str, d: &Diagnostics) {
        for item in items {
            self.take(item, holder, d);
        }
    }

    /// `holder` names `item`: told if another one did before. Twice in one list is told elsewhere.
    fn take(&mut self, item: &'a Item<String>, holder: &'a str, d: &Diagnostics) {
        let (first, place) = *self.holders.entry(&item.value).or_insert((holder, &item.path));
        if first == holder {
            return;
        }
        let problem = format!(
            "{} is of {first} already, {place} (line {}), and so not of {holder}",
            join(self.section, &item.value),
            d.line(place)
        );
        let remedy = format!("keep it in one of them: {}", self.rule);
        d.fault(FaultKind::Conflict, &item.path, problem, remedy);
    }
}

fn policies_fit(policies: &[redundancy_policy::Raw], d: &Diagnostics) {
    let Some(first) = policies.first() else { return };
    for (at, policy) in policies.iter().enumerate().skip(REDUNDANCY_POLICIES_MAX) {
        let problem = format!(
            "is redundancy policy {}, counted from {} (line {})",
            at + 1,
            first.path,
            d.line(&first.path)
        );
        let remedy = format!("use at most {REDUNDANCY_POLICIES_MAX}");
        d.fault(FaultKind::BadValue, &policy.path, problem, remedy);
    }
}

/// A policy has no more link-down monitors than fit, those of all its events together.
fn links_fit(raw: &Raw, d: &Diagnostics) {
    for policy in &raw.policies {
        let named = policy.events.iter().map(|item| item.value.as_str());
        let of_policy = named.filter_map(|name| raw.events.iter().find(|event| event.name == name));
        // Those of a zone are monitored as well.
        let links = of_policy.flat_map(|event| {
            let of_event = event.zones.iter().map(|item| item.value.as_str());
            let found = of_event.filter_map(|name| raw.zones.iter().find(|zone| zone.name == name));
            event.links.iter().chain(found.flat_map(|zone| &zone.interfaces))
        });
        if let Some((at, item)) = links.enumerate().nth(POLICY_LINKS_MAX) {
            let problem = format!(
                "is link-down monitor {} of {} (line {})",
                at + 1,
                policy.path,
                d.line(&policy.path)
            );
            let remedy = format!("use at most {POLICY_LINKS_MAX} in the events of a policy");
            d.fault(FaultKind::BadValue, &item.path, problem, remedy);
        }
    }
}

/// No two signal routes can be in a table at once under the same prefix. One policy may say what is so while its set is primary, and
/// what while it is not; or while an event of it is active, and while none is.
fn routes_are_apart(policies: &[redundancy_policy::Raw], d: &Diagnostics) {
    // Policy, condition and key path of those that are there already.
    type Others<'a> = Vec<(&'a str, RouteWhen, &'a str)>;
    let mut taken: BTreeMap<(&ipnet::IpNet, &RouteTable), Others<'_>> = BTreeMap::new();
    for policy in policies {
        for raw in &policy.routes {
            let Some(route) = &raw.route else { continue };
            let others = taken.entry((&route.prefix, &route.table)).or_default();
            let apart = |policy_of: &str, when: RouteWhen| {
                let both = [when, route.when];
                let are = |one, other| both.contains(&one) && both.contains(&other);
                policy_of == policy.path
                    && (are(RouteWhen::Primary, RouteWhen::Standby)
                        || are(RouteWhen::Event, RouteWhen::NoEvent))
            };
            if let Some((_, _, first)) = others.iter().find(|(of, when, _)| !apart(of, *when)) {
                let problem = format!(
                    "{} in {} is {first} (line {}), too, and both may be wanted at once",
                    route.prefix,
                    route.table,
                    d.line(first)
                );
                let remedy = "use another prefix or table, or \"primary\" and \"standby\" in one policy";
                d.fault(FaultKind::Conflict, &raw.path, problem, remedy);
            }
            others.push((&policy.path, route.when, &raw.path));
        }
    }
}
