//! A service set of the program: its terms, its policies with their classifiers, its IPv6 side.

use tandem_engine::program::policy::{ClassifierBuilder, PolicyList};
use tandem_engine::program::{self, Ipv6Options, NatAction, NatTerm, Pref64};

use super::compile::CompileError;
use super::firewall::{Direction, Firewall};
use super::numbers::Numbers;
use super::registry::NameRegistry;
use super::service_set::ServiceSet;
use super::translation::{Action, SourceTranslation};

/// NAT64 prefixes of all service sets, each with its id.
pub(super) fn prefixes(
    sets: &[ServiceSet],
    registry: &mut NameRegistry,
) -> Result<Vec<Pref64>, CompileError> {
    let mut all: Vec<Pref64> = Vec::new();
    for prefix in sets.iter().flat_map(|set| &set.ipv6.nat64_prefixes) {
        if all.iter().any(|known| known.prefix == *prefix) {
            continue;
        }
        all.push(Pref64 {
            id: registry.prefixes.id(&prefix.to_string())?,
            prefix: *prefix,
        });
    }
    Ok(all)
}

pub(super) fn service_set(
    set: &ServiceSet,
    registry: &mut NameRegistry,
    numbers: &mut Numbers,
    classifiers: &dyn ClassifierBuilder,
) -> Result<program::ServiceSet, CompileError> {
    let firewall = match &set.firewall {
        Some(firewall) => Some(policies(set, firewall, registry, classifiers)?),
        None => None,
    };
    Ok(program::ServiceSet {
        id: registry.service_sets.id(&set.name)?,
        name: set.name.clone(),
        terms: terms(set, registry, numbers)?,
        timeouts: set.timeouts,
        limits: set.limits,
        tcp: set.tcp,
        refresh: set.refresh,
        on_refusal: set.on_refusal,
        on_unsolicited: set.on_unsolicited,
        ipv6: ipv6(set, registry)?,
        firewall,
        stateless: set.stateless.clone(),
        // Static mappings have their numbers later, and some are terms that replication may leave out.
        replication: Default::default(),
    })
}

/// Terms in order, without those that are static mappings.
fn terms(
    set: &ServiceSet,
    registry: &mut NameRegistry,
    numbers: &mut Numbers,
) -> Result<Vec<NatTerm>, CompileError> {
    let id = registry.service_sets.id(&set.name)?;
    let mut terms = Vec::new();
    let all = set
        .nat_rules
        .iter()
        .flat_map(|rule| rule.terms.iter().map(move |term| (rule, term)));
    for (rule, term) in all {
        let (action, destination) = match &term.action {
            Action::Static(_) => continue,
            Action::NoTranslation => (NatAction::NoTranslation, None),
            Action::DestinationOnly(map) => (NatAction::DestinationOnly, Some(*map)),
            Action::Source {
                translation,
                pool,
                mapping,
                filtering,
                destination,
            } => {
                let (pool, mapping, filtering) = (registry.pools.id(pool)?, *mapping, *filtering);
                let action = match translation {
                    SourceTranslation::Napt44 | SourceTranslation::DeterministicNapt44 => NatAction::Napt44 {
                        pool,
                        mapping,
                        filtering,
                    },
                    SourceTranslation::Nat64 | SourceTranslation::DeterministicNapt64 => NatAction::Nat64 {
                        pool,
                        mapping,
                        filtering,
                    },
                    SourceTranslation::Dynamic44 => NatAction::Dynamic44 { pool, filtering },
                };
                (action, *destination)
            }
        };
        let name = format!("{}/{}", rule.name, term.name);
        terms.push(NatTerm {
            number: numbers.number(id, &name),
            name,
            matches: term.matches.clone(),
            action,
            destination,
        });
    }
    Ok(terms)
}

fn ipv6(set: &ServiceSet, registry: &mut NameRegistry) -> Result<Ipv6Options, CompileError> {
    let options = &set.ipv6;
    Ok(Ipv6Options {
        nat64_prefixes: options
            .nat64_prefixes
            .iter()
            .map(|prefix| registry.prefixes.id(&prefix.to_string()))
            .collect::<Result<_, _>>()?,
        subscriber_prefix: options.subscriber_prefix,
        compute_udp_checksum: options.compute_udp_checksum,
        copy_traffic_class: options.copy_traffic_class,
        lowest_mtu: options.lowest_mtu,
        well_known_for_private: options.well_known_for_private,
    })
}

fn policies(
    set: &ServiceSet,
    firewall: &Firewall,
    registry: &mut NameRegistry,
    classifiers: &dyn ClassifierBuilder,
) -> Result<program::Firewall, CompileError> {
    let mut direction = |name, direction| policy_list(set, name, direction, registry, classifiers);
    Ok(program::Firewall {
        outbound: direction("outbound", &firewall.outbound)?,
        inbound: direction("inbound", &firewall.inbound)?,
    })
}

fn policy_list(
    set: &ServiceSet,
    name: &'static str,
    direction: &Direction,
    registry: &mut NameRegistry,
    classifiers: &dyn ClassifierBuilder,
) -> Result<PolicyList, CompileError> {
    let mut policies = Vec::with_capacity(direction.policies());
    for list in &direction.lists {
        for policy in &list.policies {
            let id = format!("{}/{name}/{}/{}", set.name, list.name, policy.name);
            policies.push(program::Policy {
                id: registry.policies.id(&id)?,
                name: format!("{}/{}", list.name, policy.name),
                action: policy.action,
                log: policy.log,
                matches: vec![policy.matches.clone()],
            });
        }
    }
    let classifier = classifiers
        .build(&policies)
        .map_err(|why| CompileError::Classifier {
            service_set: set.name.clone(),
            direction: name,
            why,
        })?;
    Ok(PolicyList {
        policies,
        default: direction.default,
        classifier,
    })
}
