//! What pools must not share, with each other and with interfaces: one public address has one owner.

use tandem_engine::program::AddressRange;

use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::interface::Interface;
use super::pool::Raw;
use super::section::Item;
use super::values::{InterfaceAddress, show_range};

/// Reports every range that stands in the way of another or of an interface.
pub(super) fn check(raws: &[Raw], interfaces: &[Interface], d: &Diagnostics) {
    overlaps(raws, d);
    interfaces_differ(raws, d);
    let ranges = raws.iter().flat_map(|raw| &raw.ranges);
    for (interface, address) in interfaces
        .iter()
        .flat_map(|i| i.addresses.iter().map(move |address| (i, address)))
    {
        ranges
            .clone()
            .for_each(|item| against_interface(item, interface, address, d));
    }
}

/// Every range that shares addresses with an earlier one.
fn overlaps(raws: &[Raw], d: &Diagnostics) {
    let mut ranges: Vec<&Item<AddressRange>> = raws.iter().flat_map(|raw| &raw.ranges).collect();
    ranges.sort_by_key(|item| (item.value.first, d.line(&item.path)));
    let mut widest: Option<&Item<AddressRange>> = None;
    for item in ranges {
        if let Some(wide) = widest.filter(|wide| item.value.first <= wide.value.last) {
            let shared = AddressRange {
                first: item.value.first,
                last: item.value.last.min(wide.value.last),
            };
            let (early, late) = if d.line(&wide.path) <= d.line(&item.path) {
                (wide, item)
            } else {
                (item, wide)
            };
            let problem = format!(
                "shares {} with {} (line {})",
                show_range(shared),
                early.path,
                d.line(&early.path)
            );
            d.fault(
                FaultKind::Conflict,
                &late.path,
                problem,
                "give each address to one pool, once",
            );
        }
        if widest.is_none_or(|wide| item.value.last > wide.value.last) {
            widest = Some(item);
        }
    }
}

/// An interface's addresses make one pool only.
fn interfaces_differ(raws: &[Raw], d: &Diagnostics) {
    for (at, raw) in raws.iter().enumerate() {
        let Some(name) = &raw.interface else { continue };
        if let Some(first) = raws[..at]
            .iter()
            .find(|other| other.interface.as_ref() == Some(name))
        {
            let first = format!("{}.interface", first.path);
            let problem = format!(
                "the addresses of \"{name}\" are those of {first} (line {}) already",
                d.line(&first)
            );
            d.fault(
                FaultKind::Conflict,
                &format!("{}.interface", raw.path),
                problem,
                "use that pool in both rules",
            );
        }
    }
}

/// A pool range must not have an interface's own address; in its subnet it needs the neighbours' help.
fn against_interface(
    item: &Item<AddressRange>,
    interface: &Interface,
    address: &InterfaceAddress,
    d: &Diagnostics,
) {
    let (Some(host), Some(subnet)) = (address.host(), address.subnet()) else {
        return;
    };
    let key = join(&join("interfaces", &interface.name), "addresses");
    let place = format!("{key} (line {})", d.line(&key));
    if item.value.contains(host.first) {
        let problem = format!("has {}, which is the address in {place}", show_range(host));
        let remedy = format!(
            "leave it out, or use a pool with interface = \"{}\"",
            interface.name
        );
        d.fault(FaultKind::Conflict, &item.path, problem, remedy);
    } else if item.value.first <= subnet.last && subnet.first <= item.value.last {
        let problem = format!("is on the link of {place}: neighbours ask for these addresses by ARP");
        let remedy = format!(
            "route the pool to this system instead, or answer ARP for it on \"{}\"",
            interface.name
        );
        d.warn(&item.path, problem, remedy);
    }
}
