//! `[redundancy-sets.N]`: what is taken over as one, and which service sets are of it.

use std::collections::BTreeMap;

use tandem_engine::replica::Role;

use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::names;
use super::redundancy::{
    self, GROUP_SETS_MAX, REDUNDANCY_GROUPS_MAX, REDUNDANCY_SETS_MAX, ROLES, THRESHOLD_S_MAX,
};
use super::redundancy_group;
use super::section::Section;
use super::service_set::ServiceSet;

/// The unit of takeover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedundancySet {
    /// Its number, 1..=128, the same on both chassis.
    pub id: u8,
    /// Its name in views and logs, if it has one.
    pub name: Option<String>,
    /// The number of its redundancy group.
    pub group: u8,
    /// The role it starts with.
    pub role: Role,
    /// Names of its service sets, in the order of the file.
    pub service_sets: Vec<String>,
}

/// A set as the file has it, each key checked by itself.
pub(super) struct Raw {
    id: u8,
    pub path: String,
    name: Option<String>,
    pub group: Option<u8>,
    has_group: bool,
    role: Role,
}

pub(super) fn decode(id: u8, mut section: Section<'_>) -> Raw {
    let groups = u32::from(REDUNDANCY_GROUPS_MAX);
    let raw = Raw {
        id,
        path: section.path().to_owned(),
        name: section.parsed("name", "name", "", names::name_value),
        group: section
            .optional_integer("redundancy-group", 1..=groups)
            .map(|group| group as u8),
        has_group: section.has("redundancy-group"),
        role: section.choice("role", &ROLES, "standby").unwrap_or(Role::Standby),
    };
    section.finish();
    raw
}

/// The set, if its group is there.
pub(super) fn validate(
    raw: &Raw,
    groups: &[redundancy_group::Raw],
    service_sets: &[ServiceSet],
    d: &Diagnostics,
) -> Option<RedundancySet> {
    if !raw.has_group {
        let problem = "the redundancy set is of no redundancy group";
        d.fault(FaultKind::Missing, &raw.path, problem, "add redundancy-group = N");
    }
    let group = raw.group?;
    if !groups.iter().any(|one| one.id == group) {
        let key = format!("{}.redundancy-group", raw.path);
        unknown(
            &key,
            "redundancy-groups",
            group,
            groups.iter().map(|one| one.id),
            d,
        );
    }
    let of_set = service_sets
        .iter()
        .filter(|set| set.redundancy_set == Some(raw.id));
    Some(RedundancySet {
        id: raw.id,
        name: raw.name.clone(),
        group,
        role: raw.role,
        service_sets: of_set.map(|set| set.name.clone()).collect(),
    })
}

fn unknown(key: &str, section: &str, number: u8, there: impl Iterator<Item = u8>, d: &Diagnostics) {
    let numbers: Vec<String> = there.map(|number| number.to_string()).collect();
    let remedy = match numbers.as_slice() {
        [] => format!("add [{section}.{number}]"),
        some => format!("use one of {}, or add [{section}.{number}]", some.join(", ")),
    };
    let problem = format!("there is no {section}.{number}");
    d.fault(FaultKind::UnknownName, key, problem, remedy);
}

/// No group has more sets than fit.
pub(super) fn groups_fit(raws: &[Raw], d: &Diagnostics) {
    let mut members: BTreeMap<u8, usize> = BTreeMap::new();
    for (raw, group) in raws.iter().filter_map(|raw| Some((raw, raw.group?))) {
        let count = members.entry(group).or_default();
        *count += 1;
        if *count > GROUP_SETS_MAX {
            let place = join("redundancy-groups", &group.to_string());
            let problem = format!("is set {count} of {place} (line {})", d.line(&place));
            let remedy = format!("use at most {GROUP_SETS_MAX} sets in a group");
            let key = format!("{}.redundancy-group", raw.path);
            d.fault(FaultKind::BadValue, &key, problem, remedy);
        }
    }
}

/// What a service set says of redundancy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Membership {
    /// Its redundancy set.
    pub set: Option<u8>,
    /// Its own threshold.
    threshold_s: Option<u32>,
    /// It is not replicated.
    disabled: bool,
}

pub(super) fn decode_membership(section: &mut Section<'_>) -> Membership {
    let sets = u32::from(REDUNDANCY_SETS_MAX);
    Membership {
        set: section
            .optional_integer("redundancy-set", 1..=sets)
            .map(|set| set as u8),
        threshold_s: section.optional_integer("replication-threshold-s", 0..=THRESHOLD_S_MAX),
        disabled: section.boolean("disable-replication-capability", false),
    }
}

impl Membership {
    /// The age in seconds at which its sessions are replicated; `None`: they are not.
    pub fn threshold_s(&self, global: u32) -> Option<u32> {
        let replicated = self.set.is_some() && !self.disabled;
        replicated.then(|| self.threshold_s.unwrap_or(global))
    }
}

/// A service set's redundancy set is there, and what it says of replication means something.
pub(super) fn check_membership(path: &str, one: &Membership, redundancy: &redundancy::Raw, d: &Diagnostics) {
    let sets = &redundancy.sets;
    let key = |key: &str| format!("{path}.{key}");
    if let Some(set) = one.set.filter(|set| !sets.iter().any(|raw| raw.id == *set)) {
        let there = sets.iter().map(|raw| raw.id);
        unknown(&key("redundancy-set"), "redundancy-sets", set, there, d);
    }
    if let Some(threshold_s) = one.threshold_s(redundancy.threshold_s) {
        d.effective(&key("replication-threshold-s"), threshold_s.to_string());
    }
    let said = [
        ("replication-threshold-s", one.threshold_s.is_some()),
        ("disable-replication-capability", one.disabled),
    ];
    for (name, _) in said.into_iter().filter(|(_, said)| *said && one.set.is_none()) {
        let problem = "says nothing: the service set is of no redundancy set, so nothing of it is replicated";
        d.warn(&key(name), problem, "add redundancy-set = N, or remove it");
    }
    if one.set.is_some() && one.disabled && one.threshold_s.is_some() {
        let place = key("disable-replication-capability");
        let problem = format!("is never reached: {place} is true (line {})", d.line(&place));
        d.warn(&key("replication-threshold-s"), problem, "remove one of the two");
    }
}
