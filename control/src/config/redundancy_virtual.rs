//! `[[redundancy-sets.N.virtual-addresses]]`: addresses that move with a redundancy set's primary role (virtual security interface,
//! VSI).
//!
//! Redundancy spec, terms and section 1.

use std::net::IpAddr;

use tandem_engine::program::AddressRange;

use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::interface_redundant::absent;
use super::names;
use super::pool::Pool;
use super::redundancy::Raw as RawRedundancy;
use super::section::Section;
use super::values::{self, InterfaceAddress};
use super::{Interface, Redundancy};

/// An address that only the primary has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// Name of its interface.
    pub interface: String,
    /// The address, with the prefix length it is put on the interface with.
    pub address: InterfaceAddress,
}

/// An address as the file has it.
pub(super) struct Raw {
    pub path: String,
    pub interface: Option<String>,
    pub address: Option<InterfaceAddress>,
}

pub(super) fn decode(mut section: Section<'_>) -> Raw {
    let raw = Raw {
        path: section.path().to_owned(),
        interface: section.parsed("interface", "interface name", "", names::reference),
        address: section.parsed(
            "address",
            "address with prefix length",
            "",
            values::interface_address,
        ),
    };
    section.needs("the virtual address", &["interface", "address"]);
    section.finish();
    raw
}

/// The address, if its interface is there and can have it.
pub(super) fn validate(raw: &Raw, interfaces: &[Interface], d: &Diagnostics) -> Option<VirtualAddress> {
    let (name, address) = (raw.interface.as_ref()?, raw.address?);
    let path = format!("{}.address", raw.path);
    let Some(interface) = interfaces.iter().find(|interface| interface.name == *name) else {
        let names: Vec<&str> = interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        let problem = format!("there is no {}", join("interfaces", name));
        absent(&format!("{}.interface", raw.path), name, problem, &names, d);
        return None;
    };
    let place = join("interfaces", name);
    for other in interfaces {
        for (at, own) in other.addresses.iter().enumerate() {
            if own.address == address.address {
                let own = format!("{}.addresses[{at}]", join("interfaces", &other.name));
                let problem = format!(
                    "{} is this chassis' own, {own} (line {})",
                    address.address,
                    d.line(&own)
                );
                let remedy = "use an address that neither chassis has for itself";
                d.fault(FaultKind::Conflict, &path, problem, remedy);
            }
        }
    }
    // An interface with an IPv6 address has a link-local subnet as well.
    let link_local = matches!(address.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let fits = |own: &InterfaceAddress| own.covers(address.address) || (link_local && own.address.is_ipv6());
    if !interface.addresses.iter().any(fits) {
        let addresses = format!("{place}.addresses");
        let problem = format!(
            "{} is in no subnet of {addresses} (line {})",
            address.address,
            d.line(&addresses)
        );
        let remedy = "use an address of one of its subnets: those next to it would not find it otherwise";
        d.fault(FaultKind::Conflict, &path, problem, remedy);
    }
    Some(VirtualAddress {
        interface: name.clone(),
        address,
    })
}

/// No address is virtual twice, or something else as well.
pub(super) fn check(raw: &RawRedundancy, redundancy: &Redundancy, pools: &[Pool], d: &Diagnostics) {
    let mut seen: Vec<(IpAddr, &str)> = Vec::new();
    for one in raw.sets.iter().flat_map(|set| &set.virtual_addresses) {
        let Some(address) = one.address.map(|address| address.address) else {
            continue;
        };
        let path = format!("{}.address", one.path);
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == address) {
            let problem = format!("{address} is {first} (line {}), too", d.line(first));
            let remedy = "keep one: an address moves with one redundancy set";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
            continue;
        }
        seen.push((address, &one.path));
        let IpAddr::V4(public) = address else { continue };
        let gives = |range: &AddressRange| (range.first..=range.last).contains(&public.to_bits());
        for pool in pools.iter().filter(|pool| pool.addresses.iter().any(gives)) {
            let place = join("pools", &pool.name);
            let problem = format!("{address} is an address of {place} (line {})", d.line(&place));
            let remedy = "use an address that no pool gives out";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
        }
    }
    stays_put(redundancy, &seen, d);
}

/// What finds the other chassis, or is looked for from here, does not move away.
fn stays_put(redundancy: &Redundancy, virtuals: &[(IpAddr, &str)], d: &Diagnostics) {
    let place = |address: IpAddr| virtuals.iter().find(|(other, _)| *other == address);
    let told = |path: &str, address: IpAddr, remedy: &str| {
        if let Some((_, virtual_path)) = place(address) {
            let problem = format!(
                "{address} is virtual, {virtual_path} (line {}), and so goes away with the role",
                d.line(virtual_path)
            );
            d.fault(FaultKind::Conflict, path, problem, remedy);
        }
    };
    for group in &redundancy.groups {
        let path = join("redundancy-groups", &group.id.to_string());
        for link in &group.links {
            for address in [link.local, link.peer] {
                told(
                    &path,
                    address,
                    "use addresses for the links that stay with their chassis",
                );
            }
        }
    }
    for object in &redundancy.tracked_ips {
        let path = join("tracked-ips", &object.name);
        for one in &object.addresses {
            told(&path, one.address, "track an address of another system");
        }
    }
}
