//! `[redundancy-sets.N]`: what is taken over as one, and which service sets are of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tandem_engine::replica::Role;
use tandem_redundancy::roles::DRAIN_MS_MAX;

use super::Interface;
use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::names;
use super::redundancy::{
    self, GROUP_SETS_MAX, REDUNDANCY_GROUPS_MAX, REDUNDANCY_SETS_MAX, ROLES, THRESHOLD_S_MAX,
};
use super::redundancy_event::WEIGHT_MAX;
use super::redundancy_exclusive::resolve;
use super::redundancy_group;
use super::redundancy_virtual::{self, VirtualAddress};
use super::section::{Item, Section};
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
    /// The role it starts with where roles are changed by hand, i.e. without heartbeats.
    pub role: Role,
    /// Whose is the better one when both chassis are healthy: the lower. 1..=254.
    pub priority: u8,
    /// Whether the better one takes the role back; otherwise a running primary keeps it.
    pub preempt: bool,
    /// How long it must have been the better one before it takes the role, in seconds. 0..=600.
    pub preempt_hold_s: u16,
    /// How long it is in `wait` after a recovered failure, in seconds. 0..=3600.
    pub recovery_hold_s: u16,
    /// How long it goes on with the sessions it knows after the other chassis has taken it over, in milliseconds. 0..=10000.
    pub drain_ms: u16,
    /// When the monitors of both chassis have failed, the better one carries on.
    pub primary_always_exists: bool,
    /// The set is inoperable when the weights of what has failed reach this. 1..=255.
    pub failover_threshold: u8,
    /// Gratuitous ARPs and unsolicited neighbour advertisements for each virtual address after a takeover. 1..=64.
    pub gratuitous_count: u8,
    /// While it is not primary here, the taps of its service sets' interfaces have no carrier.
    pub standby_ports_down: bool,
    /// Names of its policies. At most 16.
    pub policies: Vec<String>,
    /// Addresses that move with the primary role.
    pub virtual_addresses: Vec<VirtualAddress>,
    /// The file by which VRRP follows its role, if there is one. A path that was relative starts at the configuration file.
    pub track_file: Option<PathBuf>,
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
    role: Option<Role>,
    priority: u32,
    preempt: bool,
    preempt_hold_s: u32,
    recovery_hold_s: u32,
    drain_ms: u32,
    primary_always_exists: bool,
    failover_threshold: u32,
    gratuitous_count: u32,
    standby_ports_down: bool,
    pub policies: Vec<Item<String>>,
    pub virtual_addresses: Vec<redundancy_virtual::Raw>,
    track_file: Option<PathBuf>,
}

pub(super) fn decode(id: u8, mut section: Section<'_>) -> Raw {
    let groups = u32::from(REDUNDANCY_GROUPS_MAX);
    let raw = Raw {
        id,
        path: section.path().to_owned(),
        name: section.parsed("name", "name", "", names::name_value),
        group: section
            .number_of(
                "redundancy-group",
                1..=groups,
                "redundancy-groups",
                "a redundancy set is of one group",
            )
            .map(|group| group as u8),
        has_group: section.has("redundancy-group"),
        role: section.choice("role", &ROLES, ""),
        priority: section.integer("priority", 1..=254, 100),
        preempt: section.boolean("preempt", false),
        preempt_hold_s: section.integer("preempt-hold-s", 0..=600, 0),
        recovery_hold_s: section.integer("recovery-hold-s", 0..=3600, 30),
        drain_ms: section.integer("drain-ms", 0..=DRAIN_MS_MAX as u32, 2000),
        primary_always_exists: section.boolean("primary-always-exists", false),
        failover_threshold: section.integer("failover-threshold", 1..=WEIGHT_MAX, WEIGHT_MAX),
        gratuitous_count: section.integer("gratuitous-count", 1..=64, 4),
        standby_ports_down: section.boolean("standby-ports-down", false),
        policies: section.list("policies", "names of redundancy policies", names::reference),
        virtual_addresses: section
            .array_of_tables("virtual-addresses")
            .into_iter()
            .map(redundancy_virtual::decode)
            .collect(),
        track_file: section.parsed("track-file", "path", "", redundancy_group::path),
    };
    section.finish();
    raw
}

/// What a set may refer to.
pub(super) struct Parts<'a> {
    pub service_sets: &'a [ServiceSet],
    pub interfaces: &'a [Interface],
    pub policies: &'a [&'a str],
    /// The configuration file: where relative paths start.
    pub file: &'a str,
}

/// The set, if its group is there.
pub(super) fn validate(
    raw: &Raw,
    groups: &[redundancy_group::Raw],
    parts: &Parts<'_>,
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
    role_fits(raw, groups, d);
    if raw.preempt_hold_s > 0 && !raw.preempt {
        let problem = "says nothing: without preempt a running primary keeps its role";
        let path = format!("{}.preempt-hold-s", raw.path);
        d.warn(&path, problem, "add preempt = true, or remove it");
    }
    let virtuals = raw.virtual_addresses.iter();
    let of_set = parts
        .service_sets
        .iter()
        .filter(|set| set.redundancy_set == Some(raw.id));
    Some(RedundancySet {
        id: raw.id,
        name: raw.name.clone(),
        group,
        role: raw.role.unwrap_or(Role::Standby),
        priority: raw.priority as u8,
        preempt: raw.preempt,
        preempt_hold_s: raw.preempt_hold_s as u16,
        recovery_hold_s: raw.recovery_hold_s as u16,
        drain_ms: raw.drain_ms as u16,
        primary_always_exists: raw.primary_always_exists,
        failover_threshold: raw.failover_threshold as u8,
        gratuitous_count: raw.gratuitous_count as u8,
        standby_ports_down: raw.standby_ports_down,
        policies: resolve(&raw.policies, "redundancy-policies", parts.policies, d),
        virtual_addresses: virtuals
            .filter_map(|one| redundancy_virtual::validate(one, parts.interfaces, d))
            .collect(),
        track_file: raw.track_file.as_ref().map(|path| {
            let directory = Path::new(parts.file).parent();
            directory.unwrap_or(Path::new("")).join(path)
        }),
        service_sets: of_set.map(|set| set.name.clone()).collect(),
    })
}

/// A role in the file is for those who change roles by hand; with heartbeats the chassis decide by priority.
fn role_fits(raw: &Raw, groups: &[redundancy_group::Raw], d: &Diagnostics) {
    let group = groups.iter().find(|one| Some(one.id) == raw.group);
    let Some(group) = group.filter(|group| group.heartbeat.beats() && raw.role.is_some()) else {
        return;
    };
    let interval = group.key("heartbeat-interval-ms");
    let problem = format!(
        "stands beside heartbeats, {interval} (line {}): the two chassis decide who is primary",
        d.line(&interval)
    );
    let remedy = "use priority instead (the lower is primary), or heartbeat-interval-ms = 0 in the group for roles by hand";
    d.fault(
        FaultKind::Conflict,
        &format!("{}.role", raw.path),
        problem,
        remedy,
    );
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

/// A tracking file is of one set, and nothing else that the configuration names: it is replaced with each change of role.
pub(super) fn track_files_are_apart(raws: &[Raw], groups: &[redundancy_group::Raw], d: &Diagnostics) {
    let of_groups = groups.iter().flat_map(redundancy_group::Raw::files);
    let mut taken: Vec<(String, &Path)> = of_groups.collect();
    for raw in raws {
        let Some(path) = raw.track_file.as_deref() else {
            continue;
        };
        let key = format!("{}.track-file", raw.path);
        if let Some((other, _)) = taken.iter().find(|(_, there)| *there == path) {
            let problem = format!("{} is {other} (line {}), too", path.display(), d.line(other));
            let remedy = "use a file of its own: it is replaced with each change of the set's role";
            d.fault(FaultKind::Conflict, &key, problem, remedy);
        }
        taken.push((key, path));
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
            .number_of(
                "redundancy-set",
                1..=sets,
                "redundancy-sets",
                "a service set is of one redundancy set at most",
            )
            .map(|set| set as u8),
        threshold_s: section.optional_integer("replication-threshold-s", 0..=THRESHOLD_S_MAX),
        disabled: section.boolean("disable-replication-capability", false),
    }
}

impl Membership {
    /// The age in seconds at which its sessions are replicated; `None`: they are not.
    pub fn threshold_s(&self, redundancy: &redundancy::Raw) -> Option<u32> {
        let replicated = self.set.is_some() && !self.disabled && self.group_without(redundancy).is_none();
        replicated.then(|| self.threshold_s.unwrap_or(redundancy.threshold_s))
    }

    /// Its redundancy group, if that replicates no sessions.
    fn group_without<'a>(&self, redundancy: &'a redundancy::Raw) -> Option<&'a redundancy_group::Raw> {
        let set = redundancy.sets.iter().find(|raw| Some(raw.id) == self.set)?;
        let mut groups = redundancy.groups.iter();
        groups.find(|group| Some(group.id) == set.group && !group.session_replication)
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
    if let Some(threshold_s) = one.threshold_s(redundancy) {
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
    if let Some(group) = one
        .group_without(redundancy)
        .filter(|_| one.threshold_s.is_some())
    {
        let place = group.key("session-replication");
        let problem = format!("is never reached: {place} is false (line {})", d.line(&place));
        d.fault(
            FaultKind::Conflict,
            &key("replication-threshold-s"),
            problem,
            "remove one of the two",
        );
    }
}
