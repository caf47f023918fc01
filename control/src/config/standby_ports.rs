//! `standby-ports-down` of `[redundancy-sets.N]`: while the set is not primary here, the taps of its ports show as down. Redundancy
//! spec, section 3: refused together with all that needs those ports on the standby.

use std::net::IpAddr;

use ha_sync::net::Bind;

use super::Interface;
use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::redundancy::Redundancy;
use super::redundancy_set::RedundancySet;
use super::service_set::ServiceSet;

/// The interfaces of a set's service sets, each once.
pub(super) fn ports_of<'a>(set: &RedundancySet, sets: &'a [ServiceSet]) -> Vec<&'a str> {
    let of_set = sets.iter().filter(|one| one.redundancy_set == Some(set.id));
    let names = of_set.flat_map(|one| one.inside_interfaces.iter().chain(&one.outside_interfaces));
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn check(redundancy: &Redundancy, sets: &[ServiceSet], interfaces: &[Interface], d: &Diagnostics) {
    for set in redundancy.sets.iter().filter(|set| set.standby_ports_down) {
        let ports = ports_of(set, sets);
        let told = Told {
            key: join("redundancy-sets", &set.id.to_string()) + ".standby-ports-down",
            d,
        };
        if let Some(group) = redundancy
            .group(set.group)
            .filter(|one| one.data_forwarding.is_some())
        {
            let link = join("redundancy-groups", &group.id.to_string()) + ".data-forwarding";
            told.beside(&link, "forwards what comes to these ports on the standby");
        }
        if set.track_file.is_some() {
            let place = join("redundancy-sets", &set.id.to_string()) + ".track-file";
            told.beside(
                &place,
                "steers VRRP, whose sessions need the ports on the standby",
            );
        }
        shared(set, &ports, sets, &told);
        for object in &redundancy.tracked_ips {
            if object
                .addresses
                .iter()
                .any(|one| ports.contains(&one.interface.as_str()))
            {
                told.beside(
                    &join("tracked-ips", &object.name),
                    "is probed by one of these ports",
                );
            }
        }
        let of_set = |name: &str| interfaces.iter().find(|one| one.name == name);
        let taps: Vec<&Interface> = ports.iter().filter_map(|name| of_set(name)).collect();
        let has = |address: IpAddr| {
            taps.iter()
                .any(|one| one.addresses.iter().any(|own| own.address == address))
        };
        let bound =
            |bind: &Bind| matches!(bind, Bind::Interface(name) if taps.iter().any(|one| one.tap == *name));
        for group in &redundancy.groups {
            let by_port = |link: &&super::HaLink| has(link.local) || bound(&link.bind);
            if let Some(link) = group.links.iter().find(by_port) {
                let place = join("redundancy-groups", &group.id.to_string());
                let why = format!(
                    "has a path of heartbeats, from {}, by one of these ports",
                    link.local
                );
                told.beside(&place, &why);
            }
        }
        for policy in redundancy
            .policies_of(set)
            .filter(|policy| !policy.signal_routes.is_empty())
        {
            let place = join("redundancy-policies", &policy.name);
            told.beside(
                &place,
                "has signal routes, and routing sessions need the ports on the standby",
            );
        }
        for event in redundancy
            .events_of(set)
            .filter(|event| !event.routing_processes.is_empty())
        {
            let place = join("redundancy-events", &event.name) + ".routing-process";
            told.beside(
                &place,
                "watches routing, whose sessions need the ports on the standby",
            );
        }
    }
}

/// A port that shows as down is down for all that use it.
fn shared(set: &RedundancySet, ports: &[&str], sets: &[ServiceSet], told: &Told<'_>) {
    for other in sets.iter().filter(|other| other.redundancy_set != Some(set.id)) {
        let names = other.inside_interfaces.iter().chain(&other.outside_interfaces);
        if let Some(port) = names.map(String::as_str).find(|name| ports.contains(name)) {
            let why = format!(
                "is of another redundancy set, or of none, and uses {}, too",
                join("interfaces", port)
            );
            told.beside(&join("service-sets", &other.name), &why);
        }
    }
}

/// Faults of the key.
struct Told<'a> {
    key: String,
    d: &'a Diagnostics,
}

impl Told<'_> {
    fn beside(&self, place: &str, why: &str) {
        let problem = format!(
            "the ports are down on the standby, and {place} (line {}) {why}",
            self.d.line(place)
        );
        self.d
            .fault(FaultKind::Conflict, &self.key, problem, "remove one of the two");
    }
}
