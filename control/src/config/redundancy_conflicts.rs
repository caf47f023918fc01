//! What redundancy groups, redundancy sets, service sets and pools say against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::data_forwarding;
use super::diagnostics::{Diagnostics, join};
use super::fault::{Fault, FaultKind};
use super::pool::Pool;
use super::redundancy::{Raw, Redundancy};
use super::redundancy_event::PeerEvent;
use super::redundancy_group;
use super::redundancy_policy::PolicyAction;
use super::redundancy_set;
use super::redundancy_virtual;
use super::section::Item;
use super::service_set::ServiceSet;
use super::standby_ports;
use super::translation::Action;
use super::{Attachment, Config, Interface};

pub(super) fn check(
    raw: &Raw,
    redundancy: &Redundancy,
    sets: &[ServiceSet],
    (pools, interfaces): (&[Pool], &[Interface]),
    d: &Diagnostics,
) {
    redundancy_set::groups_fit(&raw.sets, d);
    redundancy_set::track_files_are_apart(&raw.sets, &raw.groups, d);
    peers_differ(&raw.groups, d);
    warnings_end(redundancy, d);
    pools_are_apart(sets, d);
    interface_pools(sets, pools, d);
    redundancy_virtual::check(raw, redundancy, pools, d);
    data_forwarding::check(raw, redundancy, sets, (pools, interfaces), d);
    standby_ports::check(redundancy, sets, interfaces, d);
    unused(raw, redundancy, interfaces, d);
}

/// The workers have one ring each to the other chassis: what this release runs is one group, whatever the file may describe.
pub(super) fn second_group(config: &Config) -> Option<Fault> {
    let (first, second) = (
        config.redundancy.groups.first()?,
        config.redundancy.groups.get(1)?,
    );
    let path = |id: u8| join("redundancy-groups", &id.to_string());
    let ((line, column), other) = (config.position(&path(second.id)), path(first.id));
    Some(Fault {
        kind: FaultKind::Conflict,
        file: config.file.clone(),
        line,
        column,
        path: path(second.id),
        problem: format!(
            "a second redundancy group beside {other} (line {}); this release replicates to one other chassis",
            config.position(&other).0
        ),
        remedy: format!("put all redundancy sets into {other}"),
    })
}

/// One chassis is the peer of one group. Addresses of different routing instances may be alike.
fn peers_differ(groups: &[redundancy_group::Raw], d: &Diagnostics) {
    for (at, group) in groups
        .iter()
        .enumerate()
        .filter(|(_, group)| group.peer.is_some())
    {
        let same = |other: &&redundancy_group::Raw| other.peer == group.peer && other.bind == group.bind;
        if let Some(first) = groups[..at].iter().find(same) {
            let place = first.key("redundancy-peer");
            let problem = format!("is the peer of {place} (line {}), too", d.line(&place));
            let remedy = "put all redundancy sets with this peer into one group";
            d.fault(
                FaultKind::Conflict,
                &group.key("redundancy-peer"),
                problem,
                remedy,
            );
        }
    }
}

/// Two chassis that warn because the other one does would never cease.
fn warnings_end(redundancy: &Redundancy, d: &Diagnostics) {
    let warns = |action| action == Some(PolicyAction::BroadcastWarning);
    for policy in redundancy.policies.iter().filter(|one| warns(one.action)) {
        let hears = |event: &str| {
            let mut all = redundancy.events.iter().filter(|one| one.name == event);
            all.any(|one| one.peer.contains(&PeerEvent::Warned))
        };
        for event in policy.events.iter().filter(|event| hears(event)) {
            let place = join("redundancy-events", event) + ".peer";
            let path = join("redundancy-policies", &policy.name) + ".action";
            let problem = format!(
                "the policy warns the peer while {place} (line {}) says that the peer warns: two chassis with this file would warn each other for ever",
                d.line(&place)
            );
            let remedy = "take another action, or leave \"warned\" out of the event";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
        }
    }
}

/// Names of the pools a service set takes from.
pub(super) fn pools_of(set: &ServiceSet) -> BTreeSet<&str> {
    let terms = set.nat_rules.iter().flat_map(|rule| &rule.terms);
    terms
        .filter_map(|term| match &term.action {
            Action::Source { pool, .. } => Some(pool.as_str()),
            _ => None,
        })
        .collect()
}

fn shown(set: &ServiceSet) -> String {
    match set.redundancy_set {
        Some(id) => format!("redundancy set {id}"),
        None => "no redundancy set".into(),
    }
}

/// Leases are by pool, and one chassis at a time gives them out: a pool is of one redundancy set, or of none.
fn pools_are_apart(sets: &[ServiceSet], d: &Diagnostics) {
    let mut first_of: BTreeMap<&str, &ServiceSet> = BTreeMap::new();
    for set in sets {
        for pool in pools_of(set) {
            let first = *first_of.entry(pool).or_insert(set);
            if first.redundancy_set == set.redundancy_set {
                continue;
            }
            let (pool, other) = (join("pools", pool), join("service-sets", &first.name));
            let problem = format!(
                "the service set takes from {pool} (line {}) and is of {}; {other} (line {}), of {}, does so, too: \
                 both chassis would give out the same ports",
                d.line(&pool),
                shown(set),
                d.line(&other),
                shown(first),
            );
            let path = join("service-sets", &set.name);
            let path = match set.redundancy_set {
                Some(_) => path + ".redundancy-set",
                None => path,
            };
            let remedy = "make a pool for each, or put both service sets into one redundancy set";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
        }
    }
}

/// An interface's own address stays with its chassis, and so do the sessions that have it.
fn interface_pools(sets: &[ServiceSet], pools: &[Pool], d: &Diagnostics) {
    for set in sets.iter().filter(|set| set.replication_threshold_s.is_some()) {
        let used = pools_of(set);
        let of_interface = |pool: &&Pool| pool.interface.is_some() && used.contains(pool.name.as_str());
        for pool in pools.iter().filter(of_interface) {
            let (path, other) = (
                join("pools", &pool.name) + ".interface",
                join("service-sets", &set.name),
            );
            let problem = format!(
                "{other} (line {}) is replicated, and after a takeover its sessions need these addresses on the other chassis",
                d.line(&other)
            );
            let remedy =
                "use prefixes or ranges that are routed to the primary, or give both chassis these addresses";
            d.warn(&path, problem, remedy);
        }
    }
}

/// Warns about what nothing refers to.
fn unused(raw: &Raw, redundancy: &Redundancy, interfaces: &[Interface], d: &Diagnostics) {
    for group in &raw.groups {
        if !raw.sets.iter().any(|set| set.group == Some(group.id)) {
            let remedy = format!(
                "add [redundancy-sets.N] with redundancy-group = {}, or remove it",
                group.id
            );
            d.warn(&group.path, "no redundancy set is of this group", remedy);
        }
    }
    for set in redundancy.sets.iter().filter(|set| set.service_sets.is_empty()) {
        let remedy = format!("add redundancy-set = {} to a service set, or remove it", set.id);
        let path = join("redundancy-sets", &set.id.to_string());
        d.warn(&path, "no service set is of this redundancy set", remedy);
    }
    let named = |name: &str, items: &[Item<String>]| items.iter().any(|item| item.value == name);
    for policy in raw
        .policies
        .iter()
        .filter(|one| !raw.sets.iter().any(|set| named(&one.name, &set.policies)))
    {
        let remedy = "name it in a redundancy set's policies, or remove it";
        d.warn(&policy.path, "no redundancy set has this policy", remedy);
    }
    for event in raw
        .events
        .iter()
        .filter(|one| !raw.policies.iter().any(|policy| named(&one.name, &policy.events)))
    {
        let remedy = "name it in a policy's events, or remove it";
        d.warn(&event.path, "no redundancy policy has this event", remedy);
    }
    let remedy = "name it in an event or as an interface's track, or remove it";
    let is_track = |name: &str| {
        interfaces.iter().any(|interface| match &interface.attachment {
            Attachment::Redundant(redundant) => redundant.track.as_deref() == Some(name),
            Attachment::Port(_) | Attachment::Vlan { .. } => false,
        })
    };
    for object in raw.tracked.iter().filter(|one| {
        !is_track(&one.name) && !raw.events.iter().any(|event| named(&one.name, &event.tracked))
    }) {
        d.warn(&object.path, "no redundancy event has this object", remedy);
    }
    let remedy = "name it in an event, or remove it";
    for zone in raw
        .zones
        .iter()
        .filter(|one| !raw.events.iter().any(|event| named(&one.name, &event.zones)))
    {
        d.warn(&zone.path, "no redundancy event has this zone", remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn an_object_that_a_redundant_interface_tracks_is_used_without_an_event() {
        let text = |track: &str| {
            format!(
                "[interfaces.a]\ndevice = \"net_null0\"\n[interfaces.b]\ndevice = \"net_null1\"\n\
                 [interfaces.red]\nmembers = [\"a\", \"b\"]\naddresses = [\"10.0.0.1/24\"]\n{track}\n\
                 [tracked-ips.t]\naddresses = [{{ address = \"10.0.0.7\" }}]\nthreshold = 1\n"
            )
        };
        let warned = |text: &str| {
            let config = parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
            let warnings = config.warnings.iter();
            warnings.filter(|one| one.path == "tracked-ips.t").count()
        };
        assert_eq!(warned(&text("")), 1);
        assert_eq!(warned(&text("track = \"t\"")), 0);
    }

    #[test]
    fn one_group_runs_and_a_second_one_is_named_with_its_line() {
        let one = "[redundancy]\nredundancy-local = \"5.5.5.1\"\n[interfaces.a]\ndevice = \"net_null0\"\n\
                   [redundancy-groups.3]\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n";
        let two =
            one.to_owned() + "[redundancy-groups.7]\nredundancy-peer = \"5.5.5.3\"\nsecurity = \"none\"\n";
        let found = |text: &str| second_group(&parse(text, "t.toml").expect("valid"));
        assert_eq!(found(one), None);
        let fault = found(&two).expect("a second group");
        assert_eq!((fault.line, fault.path.as_str()), (8, "redundancy-groups.7"));
        assert!(
            fault.problem.contains("redundancy-groups.3 (line 5)"),
            "{}",
            fault.problem
        );
    }
}
