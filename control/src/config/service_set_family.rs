//! What a service set's translations need of each other: NAT64 terms a prefix, stateless translation a set for itself.

use super::addresses::Addresses;
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::service_set::{Raw, ServiceSet};
use super::translation::Action;

/// Checks one service set.
pub(super) fn check(raw: &Raw, set: &ServiceSet, d: &Diagnostics) {
    nat64_has_prefixes(raw, set, d);
    stateless_is_alone(raw, d);
}

fn nat64_has_prefixes(raw: &Raw, set: &ServiceSet, d: &Diagnostics) {
    let remedy = format!("add nat64-prefixes = [\"64:ff9b::/96\"] to [{}.ipv6]", raw.path);
    let mut used = false;
    for (at, rule) in set.nat_rules.iter().enumerate() {
        let nat64 = rule.terms.iter().find(
            |term| matches!(&term.action, Action::Source { translation, .. } if translation.is_nat64()),
        );
        let Some(term) = nat64 else { continue };
        used = true;
        if !raw.ipv6.filled && set.nat_rules.len() == raw.rules.len() {
            let problem = format!(
                "term \"{}\" of \"{}\" is NAT64, and the service set has no NAT64 prefix",
                term.name, rule.name
            );
            let path = raw.rules.get(at).map_or(&raw.path, |item| &item.path);
            d.fault(FaultKind::Missing, path, problem, remedy.clone());
        }
    }
    for one in &raw.static_mappings {
        let Some(mapping) = &one.mapping else { continue };
        if !matches!(mapping.inside, Addresses::V6(_)) {
            continue;
        }
        used = true;
        if !raw.ipv6.filled {
            let problem = "the inside is IPv6, and the service set has no NAT64 prefix";
            d.fault(
                FaultKind::Missing,
                &format!("{}.inside", one.path),
                problem,
                remedy.clone(),
            );
        }
    }
    if !used && raw.ipv6.filled && raw.stateless.siit.is_none() {
        d.warn(
            &format!("{}.nat64-prefixes", raw.ipv6.path),
            "nothing of the service set translates to these prefixes",
            "add a rule with a stateful-nat64 term, or remove them",
        );
    }
}

/// Packets that are translated without sessions meet nothing that needs sessions, but for NPTv6 and policies.
fn stateless_is_alone(raw: &Raw, d: &Diagnostics) {
    let Some(stateless) = raw.stateless.siit.as_ref().or(raw.stateless.nptv6.as_ref()) else {
        return;
    };
    let beside = format!(
        "stands beside {stateless} (line {}), which has no sessions",
        d.line(stateless)
    );
    let conflict = |path: &str| {
        d.fault(
            FaultKind::Conflict,
            path,
            beside.clone(),
            "remove one of the two, or make two service sets",
        );
    };
    if let Some(first) = raw.rules.first() {
        let list = first
            .path
            .rsplit_once('[')
            .map_or(first.path.as_str(), |(list, _)| list);
        conflict(list);
    }
    if let Some(first) = raw.static_mappings.first() {
        conflict(&first.path);
    }
    if let Some(first) = raw.ipv6.prefixes.first() {
        conflict(&first.path);
    }
    if raw.firewall.is_some() && raw.stateless.siit.is_some() {
        conflict(&format!("{}.firewall", raw.path));
    }
}
