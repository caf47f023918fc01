//! `data-forwarding` of `[redundancy-groups.N]`: the HA data link, over which a packet of a redundancy set that is primary on the
//! other chassis goes there. Redundancy spec, section 3. Its `other` is the other HA link, which carries them when that one fails:
//! section 2.
//!
//! The link is an interface of its own: whoever is on it is believed to be the other chassis as far as his address says so.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tandem_engine::program::{DataLink, LinkWay, LinkedSet};
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
use super::{Config, Interface, RedundancyGroup};

/// UDP port of forwarded packets, unless set: beside that of the channel and the heartbeats.
pub const DEFAULT_DATA_PORT: u16 = super::DEFAULT_REDUNDANCY_PORT + 1;

/// The HA data link, and what stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataForwarding {
    /// The way that packets go.
    pub first: DataWay,
    /// The way they go when the first is cut.
    pub other: Option<DataWay>,
    /// UDP port on both chassis, by both ways.
    pub port: u16,
}

impl DataForwarding {
    /// Its ways, each with what the file calls it.
    fn ways<'a>(&'a self, path: &str) -> impl Iterator<Item = (String, &'a DataWay)> {
        let other = self.other.as_ref().map(|other| (join(path, OTHER), other));
        std::iter::once((path.to_owned(), &self.first)).chain(other)
    }
}

/// One way to the other chassis: an HA link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataWay {
    /// Name of the interface that is the link.
    pub interface: String,
    /// This chassis' address: that of the interface, in whose subnet the other one is, if there is one.
    pub local: IpAddr,
    /// The other chassis' address.
    pub peer: IpAddr,
}

/// The table of the other way.
const OTHER: &str = "other";

/// The link as the file has it.
pub(super) struct Raw {
    first: RawWay,
    other: Option<RawWay>,
    port: u16,
}

struct RawWay {
    path: String,
    interface: Option<String>,
    peer: Option<IpAddr>,
}

pub(super) fn decode(group: &mut Section<'_>) -> Option<Raw> {
    let mut section = group.optional_table("data-forwarding")?;
    let first = way(&mut section, "the HA data link");
    let other = section.optional_table(OTHER).map(|mut section| {
        let raw = way(&mut section, "the other HA link");
        section.finish();
        raw
    });
    let raw = Raw {
        first,
        other,
        port: section.integer("port", 1..=65_535, u32::from(DEFAULT_DATA_PORT)) as u16,
    };
    section.finish();
    Some(raw)
}

fn way(section: &mut Section<'_>, what: &str) -> RawWay {
    let raw = RawWay {
        path: section.path().to_owned(),
        interface: section.parsed("interface", "interface name", "", names::reference),
        peer: section.parsed("peer", "IP address", "", super::redundancy::address),
    };
    section.needs(what, &["interface", "peer"]);
    raw
}

/// The link, if each of its interfaces is there and has an address towards the other chassis.
pub(super) fn validate(raw: &Raw, interfaces: &[Interface], d: &Diagnostics) -> Option<DataForwarding> {
    let first = valid_way(&raw.first, interfaces, d);
    let other = raw
        .other
        .as_ref()
        .map(|other| valid_way(other, interfaces, d).filter(|_| ways_differ(&raw.first, other, d)));
    Some(DataForwarding {
        first: first?,
        other: match other {
            Some(other) => Some(other?),
            None => None,
        },
        port: raw.port,
    })
}

/// What fails with the first way is none that stands in for it.
fn ways_differ(first: &RawWay, other: &RawWay, d: &Diagnostics) -> bool {
    let told = |key: &str, value: String| {
        let (path, place) = (join(&other.path, key), join(&first.path, key));
        let problem = format!("{value} is {place} (line {}), too", d.line(&place));
        let remedy = "use the other HA link: a second way must not fail with the first";
        d.fault(FaultKind::Conflict, &path, problem, remedy);
    };
    let same = |interface: &&String| first.interface.as_ref() == Some(*interface);
    let interface = other.interface.as_ref().filter(same);
    let peer = other.peer.filter(|peer| first.peer == Some(*peer));
    if let Some(interface) = interface {
        told("interface", join("interfaces", interface));
    } else if let Some(peer) = peer {
        told("peer", peer.to_string());
    }
    interface.is_none() && peer.is_none()
}

fn valid_way(raw: &RawWay, interfaces: &[Interface], d: &Diagnostics) -> Option<DataWay> {
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
    Some(DataWay {
        interface: name.clone(),
        local: local.address,
        peer,
    })
}

/// The link against everything else: its interfaces have no other use and take packets of the others with their headers.
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
        let members = || {
            let ids = redundancy.sets_of(group.id).map(|set| set.id);
            let ids: Vec<u8> = ids.collect();
            sets.iter()
                .filter(move |set| set.redundancy_set.is_some_and(|id| ids.contains(&id)))
        };
        for (path, way) in link.ways(&path) {
            has_no_other_use(way, &path, raw, (sets, pools), d);
            takes_packets((link, way), &path, members(), interfaces, d);
        }
        keys_differ(members(), d);
        is_probed(link, &path, group, d);
        let is_local = |address| link.ways(&path).any(|(_, way)| way.local == address);
        for at in group
            .links
            .iter()
            .filter(|one| is_local(one.local) && one.port == link.port)
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

/// Warns when nothing but the carrier tells which of two ways is cut.
fn is_probed(link: &DataForwarding, path: &str, group: &RedundancyGroup, d: &Diagnostics) {
    if link.other.is_none() {
        return;
    }
    let beats = |way: &DataWay| {
        let mut links = group.links.iter();
        group.heartbeats.is_some() && links.any(|one| (one.local, one.peer) == (way.local, way.peer))
    };
    for (way_path, way) in link.ways(path).filter(|(_, way)| !beats(way)) {
        let problem = format!(
            "there are no heartbeats from {} to {}: a way that is cut beyond its port is not left",
            way.local, way.peer
        );
        let remedy = "give both ways heartbeats: their addresses are those of the group, or of a link of kind = \"data\"";
        d.warn(&way_path, problem, remedy);
    }
}

fn has_no_other_use(
    link: &DataWay,
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
    (all_ways, link): (&DataForwarding, &DataWay),
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
    // That a link is one of them was told.
    let is_link = |name: &str| all_ways.ways("").any(|(_, way)| way.interface == name);
    let names = all.filter(|name| !is_link(name));
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
    let mut way = |way: &DataWay| -> Result<LinkWay, CompileError> {
        Ok(LinkWay {
            interface: registry.interfaces.id(&way.interface)?,
            way: Way {
                local: way.local,
                peer: way.peer,
                port: link.port,
            },
        })
    };
    let first = way(&link.first)?;
    let other = link.other.as_ref().map(way).transpose()?;
    Ok(Some(DataLink::new(first, other, sets)))
}
