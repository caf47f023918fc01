//! `[tracked-ips.NAME]` and `[zones.NAME]`: what is monitored beside single links, each with its weight.
//!
//! A tracked-IP object has addresses that are probed, and fails when the weights of those that are lost reach its threshold. A zone
//! fails when all its interfaces are down. Redundancy spec, section 4.

use std::net::IpAddr;

use super::Interface;
use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::interface_redundant::absent;
use super::names;
use super::redundancy_event::WEIGHT_MAX;
use super::redundancy_exclusive::resolve;
use super::section::{Item, Section};

/// Addresses of one tracked-IP object.
pub const TRACKED_ADDRESSES_MAX: usize = 16;
/// Addresses of all tracked-IP objects.
pub const TRACKED_ADDRESSES_ALL_MAX: usize = 64;
/// Tracked-IP objects.
pub const TRACKED_IPS_MAX: usize = 32;

/// An object of addresses that are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedIp {
    /// Its name.
    pub name: String,
    /// What is probed, in the order of the file. At most 16.
    pub addresses: Vec<TrackedAddress>,
    /// How.
    pub method: TrackMethod,
    /// From probe to probe, in seconds. 1..=200.
    pub interval_s: u8,
    /// An address is lost after so many probes in a row without an answer. 1..=200.
    pub lost_threshold: u8,
    /// Its weight while it has failed. 1..=255.
    pub weight: u8,
    /// It has failed when the weights of its lost addresses reach this. 1..=255.
    pub threshold: u8,
}

/// An address that is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedAddress {
    /// The address.
    pub address: IpAddr,
    /// Its weight within its object while it is lost. 1..=255.
    pub weight: u8,
    /// The interface that probes leave by.
    pub interface: String,
    /// The address that probes leave from: the interface's own, never a virtual one. `None`: its link-local address, for an address
    /// that is link-local as well.
    pub source: Option<IpAddr>,
}

/// How an address is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackMethod {
    /// ICMP or ICMPv6 echo.
    Ping,
    /// ARP or neighbour discovery: the address is in a subnet of the interface.
    Neighbour,
}

/// Interfaces that are monitored as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Names of its interfaces. A zone without any cannot fail.
    pub interfaces: Vec<String>,
    /// Its weight while all its interfaces are down. 1..=255.
    pub weight: u8,
}

/// A tracked-IP object as the file has it.
pub(super) struct RawTracked {
    pub name: String,
    pub path: String,
    interface: Option<String>,
    addresses: Vec<RawAddress>,
    method: TrackMethod,
    interval_s: u32,
    lost_threshold: u32,
    weight: u32,
    threshold: u32,
}

struct RawAddress {
    path: String,
    address: Option<IpAddr>,
    weight: u32,
}

/// A zone as the file has it.
pub(super) struct RawZone {
    pub name: String,
    pub path: String,
    pub interfaces: Vec<Item<String>>,
    weight: u32,
}

pub(super) fn decode_tracked(name: String, mut section: Section<'_>) -> RawTracked {
    let methods = [("ping", TrackMethod::Ping), ("neighbour", TrackMethod::Neighbour)];
    let raw = RawTracked {
        path: section.path().to_owned(),
        interface: section.parsed("interface", "interface name", "", names::reference),
        addresses: section
            .array_of_tables("addresses")
            .into_iter()
            .map(decode_address)
            .collect(),
        method: section
            .choice("method", &methods, "ping")
            .unwrap_or(TrackMethod::Ping),
        interval_s: section.integer("interval-s", 1..=200, 1),
        lost_threshold: section.integer("lost-threshold", 1..=200, 3),
        weight: section.integer("weight", 1..=WEIGHT_MAX, WEIGHT_MAX),
        threshold: section.integer("threshold", 1..=WEIGHT_MAX, WEIGHT_MAX),
        name,
    };
    section.finish();
    raw
}

fn decode_address(mut section: Section<'_>) -> RawAddress {
    let raw = RawAddress {
        path: section.path().to_owned(),
        address: section.parsed("address", "IP address", "", super::redundancy::address),
        weight: section.integer("weight", 1..=WEIGHT_MAX, 1),
    };
    if !section.has("address") {
        let problem = "there is no address to probe";
        let remedy = "add address = \"...\"";
        section
            .diagnostics()
            .fault(FaultKind::Missing, section.path(), problem, remedy);
    }
    section.finish();
    raw
}

pub(super) fn decode_zone(name: String, mut section: Section<'_>) -> RawZone {
    let raw = RawZone {
        path: section.path().to_owned(),
        interfaces: section.list("interfaces", "interface names", names::reference),
        weight: section.integer("weight", 1..=WEIGHT_MAX, WEIGHT_MAX),
        name,
    };
    section.finish();
    raw
}

/// The zone, its interfaces resolved.
pub(super) fn zone(raw: &RawZone, interfaces: &[&str], d: &Diagnostics) -> Zone {
    Zone {
        name: raw.name.clone(),
        interfaces: resolve(&raw.interfaces, "interfaces", interfaces, d),
        weight: raw.weight as u8,
    }
}

/// The tracked-IP objects, each address with the way to it.
pub(super) fn tracked(raws: &[RawTracked], interfaces: &[Interface], d: &Diagnostics) -> Vec<TrackedIp> {
    sizes_fit(raws, d);
    raws.iter().map(|raw| one(raw, interfaces, d)).collect()
}

fn sizes_fit(raws: &[RawTracked], d: &Diagnostics) {
    let mut all: usize = 0;
    for (at, raw) in raws.iter().enumerate() {
        if let (TRACKED_IPS_MAX, Some(first)) = (at, raws.first()) {
            let problem = format!(
                "is tracked-IP object {}, counted from {} (line {})",
                at + 1,
                first.path,
                d.line(&first.path)
            );
            let remedy = format!("use at most {TRACKED_IPS_MAX}");
            d.fault(FaultKind::BadValue, &raw.path, problem, remedy);
        }
        for (place, address) in raw.addresses.iter().enumerate() {
            if place == TRACKED_ADDRESSES_MAX {
                let (object, line) = (&raw.path, d.line(&raw.path));
                let problem = format!("is address {} of {object} (line {line})", place + 1);
                let remedy = format!("use at most {TRACKED_ADDRESSES_MAX} addresses in one object");
                d.fault(FaultKind::BadValue, &address.path, problem, remedy);
            }
            if let (TRACKED_ADDRESSES_ALL_MAX, Some(first)) = (all, raws.first()) {
                let problem = format!(
                    "is tracked address {}, counted from {} (line {})",
                    all + 1,
                    first.path,
                    d.line(&first.path)
                );
                let remedy = format!("use at most {TRACKED_ADDRESSES_ALL_MAX} addresses in all objects");
                d.fault(FaultKind::BadValue, &address.path, problem, remedy);
            }
            all += 1;
        }
    }
}

fn one(raw: &RawTracked, interfaces: &[Interface], d: &Diagnostics) -> TrackedIp {
    let key = format!("{}.interface", raw.path);
    let named = raw.interface.as_ref().and_then(|name| {
        let found = interfaces.iter().find(|interface| interface.name == *name);
        if found.is_none() {
            let names: Vec<&str> = interfaces
                .iter()
                .map(|interface| interface.name.as_str())
                .collect();
            let problem = format!("there is no {}", join("interfaces", name));
            absent(&key, name, problem, &names, d);
        }
        found
    });
    if raw.addresses.is_empty() {
        let problem = "the object has no address, and so cannot fail";
        let remedy = "add addresses = [{ address = \"...\" }]";
        d.fault(FaultKind::Missing, &raw.path, problem, remedy);
    }
    let sum: u32 = raw.addresses.iter().map(|address| address.weight).sum();
    if sum < raw.threshold && !raw.addresses.is_empty() {
        let problem = format!(
            "is never reached: the weights of the addresses are {sum} together, {}.addresses (line {})",
            raw.path,
            d.line(&format!("{}.addresses", raw.path))
        );
        let remedy = format!("use at most {sum}, or heavier addresses");
        d.warn(&format!("{}.threshold", raw.path), problem, remedy);
    }
    let unknown = raw.interface.is_some() && named.is_none();
    let mut addresses: Vec<TrackedAddress> = Vec::new();
    for (at, one) in raw.addresses.iter().enumerate() {
        let Some(address) = one.address.filter(|_| !unknown) else {
            continue;
        };
        let path = format!("{}.address", one.path);
        if let Some(first) = raw.addresses[..at]
            .iter()
            .find(|first| first.address == Some(address))
        {
            let first = format!("{}.address", first.path);
            let problem = format!("{address} is {first} (line {}), too", d.line(&first));
            d.fault(FaultKind::Conflict, &path, problem, "keep one");
        }
        if let Some((interface, source)) = way(address, raw.method, named, interfaces, &path, d) {
            addresses.push(TrackedAddress {
                address,
                weight: one.weight as u8,
                interface,
                source,
            });
        }
    }
    TrackedIp {
        name: raw.name.clone(),
        addresses,
        method: raw.method,
        interval_s: raw.interval_s as u8,
        lost_threshold: raw.lost_threshold as u8,
        weight: raw.weight as u8,
        threshold: raw.threshold as u8,
    }
}

/// The interface that probes of `address` leave by, and the address they leave from.
fn way(
    address: IpAddr,
    method: TrackMethod,
    named: Option<&Interface>,
    interfaces: &[Interface],
    path: &str,
    d: &Diagnostics,
) -> Option<(String, Option<IpAddr>)> {
    let own = interfaces.iter().find_map(|interface| {
        let found = interface.addresses.iter().position(|own| own.address == address);
        found.map(|at| (interface, at))
    });
    if let Some((interface, at)) = own {
        let place = format!("{}.addresses[{at}]", join("interfaces", &interface.name));
        let problem = format!(
            "{address} is this chassis' own, {place} (line {})",
            d.line(&place)
        );
        let remedy = "track an address of another system";
        d.fault(FaultKind::Conflict, path, problem, remedy);
        return None;
    }
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if link_local && let Some(interface) = named {
        return Some((interface.name.clone(), None));
    }
    let in_subnet = |interface: &&Interface| interface.addresses.iter().any(|own| own.covers(address));
    let near = match named {
        Some(interface) => Some(interface).filter(in_subnet),
        None => interfaces.iter().find(in_subnet),
    };
    if method == TrackMethod::Neighbour && near.is_none() && !link_local {
        let problem = match named {
            Some(interface) => {
                let place = join("interfaces", &interface.name);
                format!("{address} is in no subnet of {place} (line {})", d.line(&place))
            }
            None => format!("{address} is in no subnet of an interface"),
        };
        let remedy = "use method = \"ping\", or an address next to an interface";
        d.fault(FaultKind::Conflict, path, problem, remedy);
        return None;
    }
    let Some(interface) = near.or(named) else {
        let problem =
            format!("{address} is in no subnet of an interface, so there is no address to probe it from");
        let remedy = "add interface = \"...\" to the object";
        d.fault(FaultKind::Missing, path, problem, remedy);
        return None;
    };
    let own = interface.addresses.iter().find(|own| own.covers(address));
    let same_family = |own: &&super::InterfaceAddress| own.address.is_ipv4() == address.is_ipv4();
    let Some(source) = own.or_else(|| interface.addresses.iter().find(same_family)) else {
        let place = join("interfaces", &interface.name);
        let problem = format!(
            "{place} (line {}) has no address of {address}'s family to probe from",
            d.line(&place)
        );
        d.fault(
            FaultKind::Conflict,
            path,
            problem,
            "give the interface one, or name another interface",
        );
        return None;
    };
    Some((interface.name.clone(), Some(source.address)))
}
