//! `[redundancy]`, `[redundancy-groups.N]` and `[redundancy-sets.N]`: the pair this chassis is one half of.
//!
//! ```text
//!   service set --redundancy-set--> redundancy set --redundancy-group--> redundancy group --redundancy-peer--> the other chassis
//!   what is translated              what is taken over as one             the channel, its keys
//! ```
//!
//! Redundancy spec, sections 1 and 2; the terms are those of inter-chassis stateful synchronization on service cards.

use std::net::{IpAddr, Ipv4Addr};

use tandem_engine::program::ServiceSetId;
use tandem_engine::replica::Role;

use super::diagnostics::Diagnostics;
use super::fault::{Bad, quoted};
use super::names;
use super::redundancy_event::{self, RedundancyEvent, WEIGHT_MAX};
use super::redundancy_exclusive;
use super::redundancy_group::{self, RedundancyGroup};
use super::redundancy_policy::{self, RedundancyPolicy};
use super::redundancy_set::{self, RedundancySet};
use super::registry::NameRegistry;
use super::section::{Item, Section};
use super::service_set::ServiceSet;
use super::standby_ports;
use super::tracking::{self, TrackedIp, Zone};
use super::{Interface, NAMED_MAX};

/// Redundancy groups are numbered 1..=16.
pub const REDUNDANCY_GROUPS_MAX: u8 = 16;
/// Redundancy sets are numbered 1..=128.
pub const REDUNDANCY_SETS_MAX: u8 = 128;
/// Redundancy sets of one group.
pub const GROUP_SETS_MAX: usize = 16;
/// Longest replication threshold in seconds: a day.
pub(super) const THRESHOLD_S_MAX: u32 = 86_400;

/// Longest wait for the peer at start, in milliseconds.
const INITIAL_HOLD_MS_MAX: u32 = 300_000;
/// The same, unless set, where there are no heartbeats to count.
const INITIAL_HOLD_MS_BY_HAND: u64 = 5000;
/// Heartbeats to wait for at start, unless the wait is set.
const INITIAL_BEATS: u64 = 5;
/// Shortest wait that is not set, in milliseconds.
const INITIAL_HOLD_MS_LEAST: u64 = 1000;

/// The pair as this chassis sees it. Without groups and sets, nothing is replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redundancy {
    /// Age in seconds at which a session is replicated, unless its service set has its own. 0: at once. 0..=86400.
    pub replication_threshold_s: u32,
    /// How long a set waits at start to hear of the peer, in milliseconds, if the file says so: see [`Redundancy::initial_hold_ms`].
    /// 0..=300000.
    pub initial_hold_ms: Option<u32>,
    /// The cluster's number, the same on both chassis, if it has one. 1..=7.
    pub cluster_id: Option<u8>,
    /// The cluster's name, the same on both chassis, if it has one.
    pub cluster_name: Option<String>,
    /// All sets of this chassis are inoperable when the weights of what has failed reach this. 1..=255.
    pub failover_threshold: u8,
    /// The peer takes the shared part of a configuration that is reloaded here.
    pub propagate_configuration: bool,
    /// `[redundancy-groups.N]`, by number.
    pub groups: Vec<RedundancyGroup>,
    /// `[redundancy-sets.N]`, by number.
    pub sets: Vec<RedundancySet>,
    /// `[redundancy-policies.NAME]`, in the order of the file.
    pub policies: Vec<RedundancyPolicy>,
    /// `[redundancy-events.NAME]`, in the order of the file.
    pub events: Vec<RedundancyEvent>,
    /// `[tracked-ips.NAME]`, in the order of the file.
    pub tracked_ips: Vec<TrackedIp>,
    /// `[zones.NAME]`, in the order of the file.
    pub zones: Vec<Zone>,
}

impl Redundancy {
    /// How long a set of `group` waits at start to hear of the peer, in milliseconds: as the file says, or five heartbeats but at
    /// least 1000; without heartbeats 5000.
    #[must_use]
    pub fn initial_hold_ms(&self, group: &RedundancyGroup) -> u64 {
        match (self.initial_hold_ms, &group.heartbeats) {
            (Some(hold_ms), _) => u64::from(hold_ms),
            (None, Some(beats)) => (INITIAL_BEATS * u64::from(beats.interval_ms)).max(INITIAL_HOLD_MS_LEAST),
            (None, None) => INITIAL_HOLD_MS_BY_HAND,
        }
    }

    /// The policy of a name.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&RedundancyPolicy> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// The event of a name.
    #[must_use]
    pub fn event(&self, name: &str) -> Option<&RedundancyEvent> {
        self.events.iter().find(|event| event.name == name)
    }

    /// The policies of a set, in its order.
    pub fn policies_of<'a>(&'a self, set: &'a RedundancySet) -> impl Iterator<Item = &'a RedundancyPolicy> {
        set.policies.iter().filter_map(|name| self.policy(name))
    }

    /// The events of a set's policies.
    pub fn events_of<'a>(&'a self, set: &'a RedundancySet) -> impl Iterator<Item = &'a RedundancyEvent> {
        let names = self.policies_of(set).flat_map(|policy| &policy.events);
        names.filter_map(|name| self.event(name))
    }

    /// The set one of whose policies has the event of a name: one at most, since an event is of one policy, and a policy of one set.
    #[must_use]
    pub fn set_with_event(&self, name: &str) -> Option<&RedundancySet> {
        let mut sets = self.sets.iter();
        sets.find(|set| self.events_of(set).any(|event| event.name == name))
    }

    /// The group of a number.
    #[must_use]
    pub fn group(&self, id: u8) -> Option<&RedundancyGroup> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// The set of a number.
    #[must_use]
    pub fn set(&self, id: u8) -> Option<&RedundancySet> {
        self.sets.iter().find(|set| set.id == id)
    }

    /// The sets of a group, by number.
    pub fn sets_of(&self, group: u8) -> impl Iterator<Item = &RedundancySet> {
        self.sets.iter().filter(move |set| set.group == group)
    }
}

impl RedundancySet {
    /// Names of the interfaces of its service sets, each once.
    #[must_use]
    pub fn interfaces<'a>(&self, sets: &'a [ServiceSet]) -> Vec<&'a str> {
        standby_ports::ports_of(self, sets)
    }

    /// Ids of its service sets in a program that `registry` compiled, in the order of [`RedundancySet::service_sets`].
    #[must_use]
    pub fn service_set_ids(&self, registry: &NameRegistry) -> Vec<ServiceSetId> {
        let names = self.service_sets.iter();
        names.filter_map(|name| registry.service_set(name)).collect()
    }
}

/// The three sections as the file has them, each key checked by itself.
pub(super) struct Raw {
    /// The global threshold.
    pub threshold_s: u32,
    initial_hold_ms: Option<u32>,
    cluster_id: Option<u32>,
    cluster_name: Option<String>,
    failover_threshold: u32,
    propagate_configuration: bool,
    local: Option<Item<IpAddr>>,
    pub groups: Vec<redundancy_group::Raw>,
    pub sets: Vec<redundancy_set::Raw>,
    pub policies: Vec<redundancy_policy::Raw>,
    pub events: Vec<redundancy_event::Raw>,
    pub tracked: Vec<tracking::RawTracked>,
    pub zones: Vec<tracking::RawZone>,
}

/// Numbers of the tables under `key`: a table whose number is none of 1 to `max` was told, and is left out.
fn numbered<T>(
    root: &mut Section<'_>,
    key: &'static str,
    max: u8,
    decode: impl Fn(u8, Section<'_>) -> T,
) -> Vec<T> {
    let sections = root.named(key, |text| number(key, text, max).map(drop));
    let decoded = sections.into_iter().map(|(text, section)| {
        let id = number(key, &text, max);
        // It is decoded all the same, so that one run finds its faults, too.
        let decoded = decode(id.clone().unwrap_or(0), section);
        id.ok().map(|_| decoded)
    });
    decoded.flatten().collect()
}

fn number(key: &str, text: &str, max: u8) -> Result<u8, Bad> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    let plain = number.filter(|number: &u8| number.to_string() == text);
    plain.ok_or_else(|| {
        Bad::new(
            format!(
                "{} is no number that [{key}] may have: there are {max} at most",
                quoted(text)
            ),
            format!("use 1..={max}; a name goes into the key name"),
        )
    })
}

/// An address that a chassis of the pair can have.
pub(super) fn address(text: &str) -> Result<IpAddr, Bad> {
    let bad = |problem: &str, remedy: &str| Err(Bad::new(format!("{} {problem}", quoted(text)), remedy));
    let Ok(address) = text.parse::<IpAddr>() else {
        return bad(
            "is not an IP address",
            "use an address without prefix length, like \"192.0.2.1\" or \"2001:db8::1\"",
        );
    };
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_multicast() || address.is_unspecified() || broadcast {
        return bad("is not the address of one chassis", "use a unicast address");
    }
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            bad("is an IPv4 address in disguise", "write it as IPv4")
        }
        _ => Ok(address),
    }
}

pub(super) fn decode(root: &mut Section<'_>) -> Raw {
    let mut section = root.table("redundancy");
    let local = section.parsed("redundancy-local", "IP address", "", address);
    let path = section.path_of("redundancy-local");
    let threshold_s = section.integer("replication-threshold-s", 0..=THRESHOLD_S_MAX, 180);
    let initial_hold_ms = section.optional_integer("initial-hold-ms", 0..=INITIAL_HOLD_MS_MAX);
    let cluster_id = section.optional_integer("cluster-id", 1..=7);
    let cluster_name = section.parsed("cluster-name", "name", "", names::name_value);
    let failover_threshold = section.integer("failover-threshold", 1..=WEIGHT_MAX, WEIGHT_MAX);
    let propagate_configuration = section.boolean("propagate-configuration", false);
    section.finish();
    Raw {
        threshold_s,
        initial_hold_ms,
        cluster_id,
        cluster_name,
        failover_threshold,
        propagate_configuration,
        local: local.map(|value| Item { path, value }),
        groups: numbered(
            root,
            "redundancy-groups",
            REDUNDANCY_GROUPS_MAX,
            redundancy_group::decode,
        ),
        sets: numbered(
            root,
            "redundancy-sets",
            REDUNDANCY_SETS_MAX,
            redundancy_set::decode,
        ),
        // Policies and tracked-IP objects have limits of their own, which name what they counted from.
        policies: super::named(root, "redundancy-policies", NAMED_MAX, redundancy_policy::decode),
        events: super::named(root, "redundancy-events", NAMED_MAX, redundancy_event::decode),
        tracked: super::named(root, "tracked-ips", NAMED_MAX, tracking::decode_tracked),
        zones: super::named(root, "zones", NAMED_MAX, tracking::decode_zone),
    }
}

/// Checks groups, sets and service sets against each other. `file` is where relative paths start.
pub(super) fn validate(
    raw: &Raw,
    file: &str,
    service_sets: &[ServiceSet],
    interfaces: &[Interface],
    d: &Diagnostics,
) -> Redundancy {
    let mut groups: Vec<RedundancyGroup> = raw
        .groups
        .iter()
        .filter_map(|group| redundancy_group::validate(group, raw.local.as_ref(), file, interfaces, d))
        .collect();
    groups.sort_by_key(|group| group.id);
    let interface_names: Vec<&str> = interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    let policy_names: Vec<&str> = raw.policies.iter().map(|policy| policy.name.as_str()).collect();
    let event_names: Vec<&str> = raw.events.iter().map(|event| event.name.as_str()).collect();
    let tracked_names: Vec<&str> = raw.tracked.iter().map(|object| object.name.as_str()).collect();
    let zone_names: Vec<&str> = raw.zones.iter().map(|zone| zone.name.as_str()).collect();
    let known = redundancy_event::Known {
        interfaces: &interface_names,
        tracked: &tracked_names,
        zones: &zone_names,
    };
    let parts = redundancy_set::Parts {
        service_sets,
        interfaces,
        policies: &policy_names,
        file,
    };
    let mut sets: Vec<RedundancySet> = raw
        .sets
        .iter()
        .filter_map(|set| redundancy_set::validate(set, &raw.groups, &parts, d))
        .collect();
    sets.sort_by_key(|set| set.id);
    redundancy_exclusive::check(raw, d);
    Redundancy {
        replication_threshold_s: raw.threshold_s,
        initial_hold_ms: raw.initial_hold_ms,
        cluster_id: raw.cluster_id.map(|id| id as u8),
        cluster_name: raw.cluster_name.clone(),
        failover_threshold: raw.failover_threshold as u8,
        propagate_configuration: raw.propagate_configuration,
        groups,
        sets,
        policies: raw
            .policies
            .iter()
            .map(|policy| redundancy_policy::validate(policy, &event_names, d))
            .collect(),
        events: raw
            .events
            .iter()
            .map(|event| redundancy_event::validate(event, &known, d))
            .collect(),
        tracked_ips: tracking::tracked(&raw.tracked, interfaces, d),
        zones: raw
            .zones
            .iter()
            .map(|zone| tracking::zone(zone, &interface_names, d))
            .collect(),
    }
}

/// How a role is written.
pub(super) const ROLES: [(&str, Role); 2] = [("primary", Role::Primary), ("standby", Role::Standby)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        let number = |text| super::number("redundancy-groups", text, 16);
        assert_eq!((number("1"), number("16")), (Ok(1), Ok(16)));
        for wrong in ["0", "17", "01", "+1", "one", "", "256"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_chassis_has_a_unicast_address_that_means_one_chassis() {
        for right in ["5.5.5.1", "127.0.0.1", "2001:db8::1", "fd00::1", "fe80::1", "::1"] {
            assert!(address(right).is_ok(), "{right}");
        }
        for wrong in [
            "5.5.5.1/32",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:5.5.5.1",
            "peer",
            "",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
