//! `data-forwarding` of `[redundancy-groups.N]`: the HA data link, over which a packet of a redundancy set that is primary on the
//! other chassis goes there. Redundancy spec, section 3.
//!
//! The link is an interface of its own: whoever is on it is believed to be the other chassis as far as his address says so.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tandem_engine::program::{DataLink, LinkedSet};
use tandem_wire::forwarded::{Way, name_key, overhead};

use super::compile::CompileError;
use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::interface_redundant::absent;
use super::names;
use super::pool::Pool;
use super::redundancy::{Raw as RawRedundancy, Redundancy};
use super::registry::NameRegistry;
use super::section::Section;
use super::service_set::ServiceSet;
use super::{Config, Interface};

/// UDP port of forwarded packets, unless set: beside that of the channel and the heartbeats.
pub const DEFAULT_DATA_PORT: u16 = super::DEFAULT_REDUNDANCY_PORT + 1;

/// The HA data link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataForwarding {
    /// Name of the interface that is the link.
    pub interface: String,
    /// This chassis' address: that of the interface, in whose subnet the other one is, if there is one.
    pub local: IpAddr,
    /// The other chassis' address.
    pub peer: IpAddr,
    /// UDP port on both.
    pub port: u16,
}

/// The link as the file has it.
pub(super) struct Raw {
    path: String,
    interface: Option<String>,
    peer: Option<IpAddr>,
    port: u16,
}

pub(super) fn decode(group: &mut Section<'_>) -> Option<Raw> {
    let mut section = group.optional_table("data-forwarding")?;
    let raw = Raw {
        path: section.path().to_owned(),
        interface: section.parsed("interface", "interface name", "", names::reference),
        peer: section.parsed("peer", "IP address", "", super::redundancy::address),
        port: section.integer("port", 1..=65_535, u32::from(DEFAULT_DATA_PORT)) as u16,
    };
    section.needs("the HA data link", &["interface", "peer"]);
    section.finish();
    Some(raw)
}

/// The link, if its interface is there and has an address towards the other chassis.
pub(super) fn validate(raw: &Raw, interfaces: &[Interface], d: &Diagnostics) -> Option<DataForwarding> {
    let (name, peer) = (raw.interface.as_ref()?, raw.peer?);
    let Some(interface) = interfaces.iter().find(|interface| interface.name == *name) else {
        let names: Vec<&str> = interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        let problem = format!("there is no {}", join("interfaces", name));
        let path = format!("{}.interface", raw.path);
        absent(&path, name, problem, &names, d);
        return None;
    };
    let path = format!("{}.peer", raw.path);
    let addresses = join("interfaces", name) + ".addresses";
    let conflict = |problem: String, remedy: &str| d.fault(FaultKind::Conflict, &path, problem, remedy);
    let line = d.line(&addresses);
    if interface.addresses.iter().any(|own| own.address == peer) {
        conflict(
            format!("{peer} is this chassis' own, {addresses} (line {line})"),
            "use the other chassis' address",
        );
        return None;
    }
    let link_local = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if link_local(peer) {
        conflict(
            format!("{peer} is link-local, and packets are forwarded by routes"),
            "use a global or a unique local address",
        );
        return None;
    }
    let of_family = |own: &IpAddr| own.is_ipv4() == peer.is_ipv4() && !link_local(*own);
    let next_to = interface.addresses.iter().find(|own| own.covers(peer));
    let any = || interface.addresses.iter().find(|own| of_family(&own.address));
    let Some(local) = next_to.or_else(any) else {
        conflict(
            format!("{addresses} (line {line}) has no address of the family of {peer}"),
            "give the interface an address in the subnet of the other chassis'",
        );
        return None;
    };
    Some(DataForwarding {
        interface: name.clone(),
        local: local.address,
        peer,
        port: raw.port,
    })
}

/// The link against everything else: its interface has no other use and takes packets of the others with their headers.
pub(super) fn check(
    raw: &RawRedundancy,
    redundancy: &Redundancy,
    sets: &[ServiceSet],
    (pools, interfaces): (&[Pool], &[Interface]),
    d: &Diagnostics,
) {
    for group in &redundancy.groups {
        let Some(link) = &group.data_forwarding else {
            continue;
        };
        let path = join("redundancy-groups", &group.id.to_string()) + ".data-forwarding";
        has_no_other_use(link, &path, raw, (sets, pools), d);
        let members = || {
            let ids = redundancy.sets_of(group.id).map(|set| set.id);
            let ids: Vec<u8> = ids.collect();
            sets.iter()
                .filter(move |set| set.redundancy_set.is_some_and(|id| ids.contains(&id)))
        };
        takes_packets(link, &path, members(), interfaces, d);
        keys_differ(members(), d);
        for at in group
            .links
            .iter()
            .filter(|one| one.local == link.local && one.port == link.port)
        {
            let problem = format!(
                "{} is the UDP port of heartbeats on {}, a link of {} (line {}), too",
                link.port,
                at.local,
                join("redundancy-groups", &group.id.to_string()),
                d.line(&join("redundancy-groups", &group.id.to_string())),
            );
            let remedy = "use another port for forwarded packets, the same on both chassis";
            d.fault(FaultKind::Conflict, &format!("{path}.port"), problem, remedy);
        }
    }
}

fn has_no_other_use(
    link: &DataForwarding,
    path: &str,
    raw: &RawRedundancy,
    (sets, pools): (&[ServiceSet], &[Pool]),
    d: &Diagnostics,
) {
    let told = |other: String, what: &str| {
        let problem = format!(
            "{} is {what}, {other} (line {}), too",
            join("interfaces", &link.interface),
            d.line(&other)
        );
        let remedy = "use an interface of its own for the HA data link";
        d.fault(FaultKind::Conflict, &format!("{path}.interface"), problem, remedy);
    };
    for set in sets {
        let place = join("service-sets", &set.name);
        if set.inside_interfaces.contains(&link.interface) {
            told(
                place.clone() + ".inside-interfaces",
                "the inside of a service set",
            );
        }
        if set.outside_interfaces.contains(&link.interface) {
            told(place + ".outside-interfaces", "the outside of a service set");
        }
    }
    for pool in pools
        .iter()
        .filter(|pool| pool.interface.as_ref() == Some(&link.interface))
    {
        told(
            join("pools", &pool.name) + ".interface",
            "what a pool has its addresses from",
        );
    }
    for one in raw.sets.iter().flat_map(|set| &set.virtual_addresses) {
        if one.interface.as_ref() == Some(&link.interface) {
            told(one.path.clone() + ".interface", "where a virtual address is");
        }
        if one.address.is_some_and(|address| address.address == link.peer) {
            let place = one.path.clone() + ".address";
            let problem = format!(
                "{} is virtual, {place} (line {}), and moves away",
                link.peer,
                d.line(&place)
            );
            let remedy = "use an address of the link that stays with the other chassis";
            d.fault(FaultKind::Conflict, &format!("{path}.peer"), problem, remedy);
        }
    }
}

/// What comes in by an interface of the service sets goes over the link with headers before it.
fn takes_packets<'a>(
    link: &DataForwarding,
    path: &str,
    sets: impl Iterator<Item = &'a ServiceSet>,
    interfaces: &[Interface],
    d: &Diagnostics,
) {
    let mtu_of = |name: &str| interfaces.iter().find(|one| one.name == name).map(|one| one.mtu);
    let Some(mtu) = mtu_of(&link.interface) else {
        return;
    };
    let all = sets.flat_map(|set| set.inside_interfaces.iter().chain(&set.outside_interfaces));
    // That the link itself is one of them was told.
    let names = all.filter(|name| **name != link.interface);
    let largest = names.filter_map(|name| Some((mtu_of(name)?, name))).max();
    let Some((largest, name)) = largest else { return };
    let needed = u32::from(largest) + u32::from(overhead(link.local.is_ipv4()));
    if u32::from(mtu) < needed {
        let (own, other) = (join("interfaces", &link.interface), join("interfaces", name));
        let problem = format!(
            "{own} (line {}) has an MTU of {mtu}, and the {largest} octets of a packet of {other} (line {}) are {needed} on the link",
            d.line(&own),
            d.line(&other)
        );
        let remedy = format!(
            "use mtu = {needed} or more there, on the whole way between the chassis, or less than {largest} here"
        );
        d.fault(FaultKind::Conflict, &format!("{path}.interface"), problem, remedy);
    }
}

/// Service sets are called by 32 bits of their names on the link.
fn keys_differ<'a>(sets: impl Iterator<Item = &'a ServiceSet>, d: &Diagnostics) {
    let mut first_of: BTreeMap<u32, &str> = BTreeMap::new();
    for set in sets {
        let first = *first_of.entry(name_key(&set.name)).or_insert(&set.name);
        if first != set.name {
            let (place, other) = (join("service-sets", &set.name), join("service-sets", first));
            let problem = format!(
                "is called as {other} (line {}) on the HA data link, by 32 bits of its name",
                d.line(&other)
            );
            d.fault(
                FaultKind::Conflict,
                &place,
                problem,
                "give one of them another name",
            );
        }
    }
}

/// The link in a program.
pub(super) fn data_link(
    config: &Config,
    registry: &mut NameRegistry,
) -> Result<Option<DataLink>, CompileError> {
    let linked = |group: &&super::RedundancyGroup| group.data_forwarding.is_some();
    let Some(group) = config.redundancy.groups.iter().find(linked) else {
        return Ok(None);
    };
    let Some(link) = &group.data_forwarding else {
        return Ok(None);
    };
    let mut sets = Vec::new();
    for redundancy_set in config.redundancy.sets_of(group.id) {
        let of_set = |set: &&ServiceSet| set.redundancy_set == Some(redundancy_set.id);
        for set in config.service_sets.iter().filter(of_set) {
            // Both lists of a service set have an interface at least.
            let (Some(inside), Some(outside)) =
                (set.inside_interfaces.first(), set.outside_interfaces.first())
            else {
                continue;
            };
            sets.push(LinkedSet::new(
                &set.name,
                redundancy_set.id,
                registry.service_sets.id(&set.name)?,
                registry.interfaces.id(inside)?,
                registry.interfaces.id(outside)?,
            ));
        }
    }
    let way = Way {
        local: link.local,
        peer: link.peer,
        port: link.port,
    };
    Ok(Some(DataLink::new(
        registry.interfaces.id(&link.interface)?,
        way,
        sets,
    )))
}
