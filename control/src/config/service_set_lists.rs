//! The names in a service set: interfaces and the part they play, NAT rules in their order.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, suggestion};
use super::interface_redundant::absent;
use super::nat_rule::NatRule;
use super::section::Item;
use super::service_set::Raw;

/// Terms of all rules of a service set together.
const TERMS_MAX: usize = 4096;

/// A service set has both sides and something to do.
pub(super) fn lists_are_filled(raw: &Raw, d: &Diagnostics) {
    let texts = [
        (
            "inside-interfaces",
            "the service set has no inside interface",
            "add inside-interfaces = [\"NAME\"]",
        ),
        (
            "outside-interfaces",
            "the service set has no outside interface",
            "add outside-interfaces = [\"NAME\"]",
        ),
        (
            "nat-rules",
            "the service set has no rule, and nothing else to do",
            "add nat-rules = [\"NAME\"], static-mappings, a firewall, siit or nptv6, or remove the set: packets are then routed",
        ),
    ];
    let absent = |key: &str| !raw.filled.contains(&key) && (key != "nat-rules" || !raw.works_without_rules());
    for (key, problem, remedy) in texts.into_iter().filter(|(key, ..)| absent(key)) {
        d.fault(
            FaultKind::Missing,
            &format!("{}.{key}", raw.path),
            problem,
            remedy,
        );
    }
}

fn twice(items: &[Item<String>], d: &Diagnostics) {
    for (at, item) in items.iter().enumerate() {
        if let Some(first) = items[..at].iter().find(|other| other.value == item.value) {
            let problem = format!(
                "\"{}\" stands here twice: also as {} (line {})",
                item.value,
                first.path,
                d.line(&first.path)
            );
            d.fault(FaultKind::Conflict, &item.path, problem, "remove one of the two");
        }
    }
}

/// Interfaces are there, and inside of one set only.
pub(super) fn roles<'r>(
    raw: &'r Raw,
    names: &[&str],
    inside_of: &mut HashMap<&'r str, &'r Item<String>>,
    d: &Diagnostics,
) {
    twice(&raw.inside, d);
    twice(&raw.outside, d);
    for item in raw
        .inside
        .iter()
        .chain(&raw.outside)
        .filter(|item| !names.contains(&item.value.as_str()))
    {
        let problem = format!("there is no interface \"{}\"", item.value);
        absent(&item.path, &item.value, problem, names, d);
    }
    for item in &raw.outside {
        if let Some(inside) = raw.inside.iter().find(|inside| inside.value == item.value) {
            let problem = format!(
                "\"{}\" is inside of the same set: {} (line {})",
                item.value,
                inside.path,
                d.line(&inside.path)
            );
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "use different interfaces (VLANs will do) for inside and outside",
            );
        }
    }
    for item in &raw.inside {
        let first = *inside_of.entry(&item.value).or_insert(item);
        if !first.path.starts_with(&format!("{}.inside", raw.path)) {
            let problem = format!(
                "\"{}\" is inside of another set: {} (line {})",
                item.value,
                first.path,
                d.line(&first.path)
            );
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "an interface is inside of one service set: remove one of the two",
            );
        }
    }
}

/// An interface that is inside of one set is outside of no other: what comes in by it is looked at as the one's inside only, so
/// that the other's firewall would never see it, and answers to the other's sessions would not find them.
pub(super) fn sides_are_apart(raws: &[Raw], inside_of: &HashMap<&str, &Item<String>>, d: &Diagnostics) {
    for raw in raws {
        for item in &raw.outside {
            let Some(inside) = inside_of.get(item.value.as_str()) else {
                continue;
            };
            if raw.inside.iter().any(|own| own.value == item.value) {
                continue;
            }
            let escapes = if raw.firewall.is_some() {
                "what comes in by it would bypass this set's firewall"
            } else {
                "what comes in by it would not find this set's sessions and translations"
            };
            let problem = format!(
                "\"{}\" is inside of another set: {} (line {}); {escapes}",
                item.value,
                inside.path,
                d.line(&inside.path)
            );
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "put the two sets on separate interfaces (VLANs will do)",
            );
        }
    }
}

/// The rules of the set, in order.
pub(super) fn resolve(raw: &Raw, rules: &[Arc<NatRule>], d: &Diagnostics) -> Vec<Arc<NatRule>> {
    twice(&raw.rules, d);
    let mut found = Vec::with_capacity(raw.rules.len());
    for item in &raw.rules {
        match rules.iter().find(|rule| rule.name == item.value) {
            Some(rule) => found.push(Arc::clone(rule)),
            None => {
                let names = rules.iter().map(|rule| rule.name.as_str());
                let problem = format!("there is no NAT rule \"{}\"", item.value);
                d.fault(
                    FaultKind::UnknownName,
                    &item.path,
                    problem,
                    suggestion(&item.value, names),
                );
            }
        }
    }
    let terms: usize = found.iter().map(|rule| rule.terms.len()).sum();
    if terms > TERMS_MAX {
        let problem = format!("the rules have {terms} terms together");
        d.fault(
            FaultKind::BadValue,
            &format!("{}.nat-rules", raw.path),
            problem,
            format!("use at most {TERMS_MAX}"),
        );
    }
    found
}
