//! What terms take from pools: ports, ports by a formula, or whole addresses; a pool serves one of these only.

use std::collections::BTreeMap;

use tandem_engine::program::MappingType;

use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::nat_rule::{NatRule, Term};
use super::pool::Pool;
use super::service_set::ServiceSet;
use super::translation::{Action, SourceTranslation};

/// Checks every term against its pool, and marks pools that give out whole addresses.
pub(super) fn check(rules: &[std::sync::Arc<NatRule>], pools: &mut [Pool], d: &Diagnostics) {
    let mut first_use: BTreeMap<&str, (&Term, bool)> = BTreeMap::new();
    for term in rules.iter().flat_map(|rule| &rule.terms) {
        let Action::Source {
            translation,
            pool: name,
            mapping,
            ..
        } = &term.action
        else {
            continue;
        };
        let Some(pool) = pools.iter_mut().find(|pool| pool.name == *name) else {
            continue;
        };
        let whole = *translation == SourceTranslation::Dynamic44;
        let path = format!("{}.then.pool", term.path);
        let (first, first_whole) = *first_use.entry(name).or_insert((term, whole));
        if first_whole != whole {
            let (takes, other) = if whole {
                ("takes whole addresses", "ports")
            } else {
                ("takes ports", "whole addresses")
            };
            let problem = format!(
                "the term {takes} from \"{name}\", and {} (line {}) takes {other}",
                first.path,
                d.line(&first.path)
            );
            d.fault(FaultKind::Conflict, &path, problem, "make two pools");
            continue;
        }
        pool.whole_addresses = whole;
        pool.used = true;
        if let Some((problem, remedy)) = unfit(*translation, pool) {
            d.fault(FaultKind::Conflict, &path, problem, remedy);
        } else if pool.port_overloading && *mapping == MappingType::EndpointIndependent {
            let problem = format!(
                "\"{name}\" overloads ports, and an endpoint-independent mapping has its port for itself"
            );
            let remedy = "add mapping-type = \"address-and-port-dependent\", or use another pool";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
        }
    }
}

/// Why a translation cannot take from a pool, and what would be right.
fn unfit(translation: SourceTranslation, pool: &Pool) -> Option<(String, String)> {
    use SourceTranslation::{DeterministicNapt44, DeterministicNapt64, Dynamic44, Napt44, Nat64};
    let name = &pool.name;
    let takes = translation.name();
    match (translation, &pool.deterministic) {
        // A formula that is wrong was told where it stands.
        (_, None) if pool.wants_formula => None,
        (DeterministicNapt44 | DeterministicNapt64, None) => Some((
            format!("{takes} takes ports by a formula, and \"{name}\" has none"),
            format!("add [pools.{name}.deterministic], or use another pool"),
        )),
        (Napt44 | Nat64 | Dynamic44, Some(_)) => Some((
            format!("\"{name}\" gives out its ports by a formula, and {takes} does not ask it"),
            "use deterministic-napt44 or deterministic-napt64, or another pool".into(),
        )),
        (DeterministicNapt44 | DeterministicNapt64, Some(formula)) => {
            let is_ipv6 = formula
                .subscribers
                .first()
                .is_some_and(|(first, _)| first >> 32 != 0xffff);
            let (has, wants) = if is_ipv6 {
                ("IPv6", "IPv4")
            } else {
                ("IPv4", "IPv6")
            };
            (is_ipv6 != translation.is_nat64()).then(|| {
                (
                    format!(
                        "the subscribers of \"{name}\" are {has}, and {takes} translates {wants} sources"
                    ),
                    format!("use a pool with {wants} subscribers"),
                )
            })
        }
        (Dynamic44, None) => {
            let key = if pool.port_blocks.is_some() {
                "port-block-allocation"
            } else if pool.port_overloading {
                "port-overloading"
            } else if pool.interface.is_some() {
                "an interface's own addresses"
            } else {
                return None;
            };
            Some((
                format!("\"{name}\" has {key}, and {takes} takes whole addresses"),
                "use another pool".into(),
            ))
        }
        (Napt44 | Nat64, None) => None,
    }
}

/// Deterministic NAT64 counts subscribers as their service set does, or a subscriber's ports would be another's, too.
pub(super) fn check_prefixes(sets: &[ServiceSet], pools: &[Pool], d: &Diagnostics) {
    for set in sets {
        for term in set.nat_rules.iter().flat_map(|rule| &rule.terms) {
            let Action::Source {
                translation: SourceTranslation::DeterministicNapt64,
                pool: name,
                ..
            } = &term.action
            else {
                continue;
            };
            let formula = pools
                .iter()
                .find(|pool| pool.name == *name)
                .and_then(|pool| pool.deterministic.as_ref());
            let Some(formula) = formula.filter(|formula| formula.prefix != set.ipv6.subscriber_prefix) else {
                continue;
            };
            let other = super::diagnostics::join("pools", name) + ".deterministic";
            let path = super::diagnostics::join("service-sets", &set.name) + ".ipv6.subscriber-prefix-length";
            let problem = format!(
                "is {}, and the subscribers of {other} (line {}) have {} bits",
                set.ipv6.subscriber_prefix,
                d.line(&other),
                formula.prefix
            );
            d.fault(
                FaultKind::Conflict,
                &path,
                problem,
                "use the same length for both",
            );
        }
    }
}
