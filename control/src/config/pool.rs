//! `[pools.NAME]`: public addresses, and how they and their ports are given out.

use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::{AddressAllocation, AddressPooling, AddressRange, PortAllocation, PortRange};

use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::interface::Interface;
use super::interface_redundant::absent;
use super::names;
use super::pool_blocks::{self, PortBlocks};
use super::pool_conflicts;
use super::pool_deterministic;
use super::section::{Item, Section};
use super::values;

/// Ports of a pool of its own addresses, unless set. RFC 4787 REQ-3a keeps the well-known ports apart.
pub const DEFAULT_PORTS: PortRange = PortRange {
    first: 1024,
    last: 65_535,
};
/// Ports of a pool on an interface's address, unless set: above Linux' default `ip_local_port_range` (32768..=60999).
pub const DEFAULT_INTERFACE_PORTS: PortRange = PortRange {
    first: 61_000,
    last: 65_535,
};
/// Public addresses in all pools together (a /12).
pub const POOL_ADDRESSES_MAX: u64 = 1 << 20;

/// A source pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The interface whose addresses these are, if so.
    pub interface: Option<String>,
    /// Its addresses, sorted, neighbours joined, without overlaps within or between pools.
    pub addresses: Vec<AddressRange>,
    /// The ports it may use.
    pub ports: PortRange,
    /// How a new subscriber's address is chosen.
    pub address_allocation: AddressAllocation,
    /// Whether a subscriber keeps one address.
    pub address_pooling: AddressPooling,
    /// How ports are chosen.
    pub port_allocation: PortAllocation,
    /// RFC 4787 REQ-3a.
    pub preserve_range: bool,
    /// RFC 4787 REQ-4.
    pub preserve_parity: bool,
    /// RFC 4787 section 4.2.3.
    pub preserve_contiguity: bool,
    /// A freed port rests so long, in seconds. RFC 6888 REQ-8.
    pub quarantine_s: u32,
    /// No new allocations.
    pub drain: bool,
    /// Port block allocation, if there is any.
    pub port_blocks: Option<PortBlocks>,
    /// Sessions to different outside ends may share a port. RFC 7857 section 3.
    pub port_overloading: bool,
    /// The formula of deterministic NAT, if there is one. RFC 7422.
    pub deterministic: Option<Deterministic>,
    /// Whether terms take whole addresses from it.
    pub whole_addresses: bool,
    /// Whether the file gives it a formula, right or wrong.
    pub(super) wants_formula: bool,
    /// Whether any term takes from it.
    pub(super) used: bool,
}

/// A pool as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    pub path: String,
    pub ranges: Vec<Item<AddressRange>>,
    /// Whether the file gives prefixes or ranges at all, right or wrong.
    has_ranges: bool,
    pub interface: Option<String>,
    ports: Option<PortRange>,
    deterministic: Option<pool_deterministic::Raw>,
    rest: Pool,
}

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let usable = |parse: fn(&str) -> Result<AddressRange, super::fault::Bad>| {
        move |text: &str| parse(text).and_then(values::usable_as_public)
    };
    let mut ranges = section.list("prefixes", "IPv4 prefixes", usable(values::ipv4_prefix));
    ranges.extend(section.list("ranges", "IPv4 ranges \"first-last\"", usable(values::ipv4_range)));
    let has_ranges = ["prefixes", "ranges"]
        .iter()
        .any(|key| section.has(key) && !section.is_empty_list(key));
    let interface = section.parsed("interface", "interface name", "", names::reference);
    let ports = section.parsed(
        "port-range",
        "ports \"first-last\" in 1..=65535",
        "",
        values::port_range,
    );
    let allocation = [
        ("round-robin", AddressAllocation::RoundRobin),
        ("sequential", AddressAllocation::Sequential),
    ];
    let pooling = [
        ("paired", AddressPooling::Paired),
        ("paired-soft", AddressPooling::PairedSoft),
        ("arbitrary", AddressPooling::Arbitrary),
    ];
    let port_allocation = [
        ("random", PortAllocation::Random),
        ("sequential", PortAllocation::Sequential),
    ];
    let rest = Pool {
        name: name.clone(),
        interface: interface.clone(),
        addresses: Vec::new(),
        ports: DEFAULT_PORTS,
        address_allocation: section
            .choice("address-allocation", &allocation, "round-robin")
            .unwrap_or(AddressAllocation::RoundRobin),
        address_pooling: section
            .choice("address-pooling", &pooling, "paired")
            .unwrap_or(AddressPooling::Paired),
        port_allocation: section
            .choice("port-allocation", &port_allocation, "random")
            .unwrap_or(PortAllocation::Random),
        preserve_range: section.boolean("preserve-range", true),
        preserve_parity: section.boolean("preserve-parity", false),
        preserve_contiguity: section.boolean("preserve-contiguity", false),
        quarantine_s: section.integer("quarantine-s", 0..=86_400, 120),
        drain: section.boolean("drain", false),
        port_blocks: section
            .optional_table("port-block-allocation")
            .map(pool_blocks::decode),
        port_overloading: section.boolean("port-overloading", false),
        deterministic: None,
        whole_addresses: false,
        wants_formula: false,
        used: false,
    };
    let deterministic = section
        .optional_table("deterministic")
        .map(pool_deterministic::decode);
    let raw = Raw {
        path: section.path().to_owned(),
        name,
        ranges,
        has_ranges,
        interface,
        ports,
        deterministic,
        rest,
    };
    section.finish();
    raw
}

/// Checks pools against the interfaces and each other; gives back those that can stand.
///
/// `names` are the names of all interfaces of the file; `interfaces` those without faults.
pub(super) fn validate(raws: &[Raw], names: &[&str], interfaces: &[Interface], d: &Diagnostics) -> Vec<Pool> {
    let pools = raws.iter().map(|raw| pool(raw, names, interfaces, d)).collect();
    pool_conflicts::check(raws, interfaces, d);
    let total: u64 = raws
        .iter()
        .flat_map(|raw| &raw.ranges)
        .map(|item| size(item.value))
        .sum();
    if total > POOL_ADDRESSES_MAX {
        let problem = format!("the pools have {total} addresses together");
        d.fault(
            FaultKind::Conflict,
            "pools",
            problem,
            format!("use at most {POOL_ADDRESSES_MAX} (a /12)"),
        );
    }
    pools
}

fn size(range: AddressRange) -> u64 {
    u64::from(range.last) - u64::from(range.first) + 1
}

fn pool(raw: &Raw, names: &[&str], interfaces: &[Interface], d: &Diagnostics) -> Pool {
    let path = &raw.path;
    let mut addresses: Vec<AddressRange> = raw.ranges.iter().map(|item| item.value).collect();
    match &raw.interface {
        Some(_) if raw.has_ranges => {
            let problem =
                "stands beside prefixes or ranges: a pool has addresses of its own, or an interface's";
            d.fault(
                FaultKind::Conflict,
                &format!("{path}.interface"),
                problem,
                "remove one of them, or make two pools",
            );
        }
        Some(name) => addresses = interface_addresses(name, path, names, interfaces, d),
        None if !raw.has_ranges => {
            let remedy = "add prefixes = [\"203.0.113.0/28\"], ranges = [\"a-b\"] or interface = \"NAME\"";
            d.fault(FaultKind::Missing, path, "the pool is empty", remedy);
        }
        None => {}
    }
    let default = if raw.interface.is_some() {
        DEFAULT_INTERFACE_PORTS
    } else {
        DEFAULT_PORTS
    };
    let ports = raw.ports.unwrap_or(default);
    d.effective(
        &format!("{path}.port-range"),
        format!("\"{}-{}\"", ports.first, ports.last),
    );
    if raw.interface.is_some() && ports.first < 61_000 && ports.last >= 32_768 {
        let problem = format!(
            "{}-{} overlaps the kernel's own ports (ip_local_port_range, 32768-60999 by default)",
            ports.first, ports.last
        );
        let remedy = "use \"61000-65535\", or set net.ipv4.ip_local_port_range beside it";
        d.warn(&format!("{path}.port-range"), problem, remedy);
    }
    if let Some(blocks) = &raw.rest.port_blocks {
        if raw.rest.port_overloading {
            let other = format!("{path}.port-block-allocation");
            let problem = format!("stands beside {other} (line {})", d.line(&other));
            let remedy =
                "remove one of the two: a block is one subscriber's, and overloaded ports are many's";
            d.fault(
                FaultKind::Conflict,
                &format!("{path}.port-overloading"),
                problem,
                remedy,
            );
        }
        pool_blocks::check(*blocks, ports, &raw.rest, path, d);
    }
    let addresses = joined(addresses);
    let deterministic = raw.deterministic.as_ref().and_then(|deterministic| {
        exclusive(raw, d);
        pool_deterministic::validate(deterministic, &addresses, ports, d)
    });
    Pool {
        addresses,
        ports,
        deterministic,
        wants_formula: raw.deterministic.is_some(),
        ..raw.rest.clone()
    }
}

/// A pool with a formula gives out nothing by choice.
fn exclusive(raw: &Raw, d: &Diagnostics) {
    for (key, set) in [
        ("port-block-allocation", raw.rest.port_blocks.is_some()),
        ("port-overloading", raw.rest.port_overloading),
        ("interface", raw.interface.is_some()),
        ("drain", raw.rest.drain),
    ] {
        if set {
            let other = format!("{}.deterministic", raw.path);
            let problem = format!("stands beside {other} (line {})", d.line(&other));
            d.fault(
                FaultKind::Conflict,
                &format!("{}.{key}", raw.path),
                problem,
                "remove one of the two: a formula leaves nothing to choose",
            );
        }
    }
}

fn interface_addresses(
    name: &str,
    path: &str,
    names: &[&str],
    interfaces: &[Interface],
    d: &Diagnostics,
) -> Vec<AddressRange> {
    let key = format!("{path}.interface");
    if !names.contains(&name) {
        let problem = format!("there is no interface \"{name}\"");
        absent(&key, name, problem, names, d);
    }
    let Some(interface) = interfaces.iter().find(|interface| interface.name == name) else {
        return Vec::new();
    };
    let addresses: Vec<AddressRange> = interface
        .addresses
        .iter()
        .filter_map(|address| address.host())
        .collect();
    if addresses.is_empty() {
        let problem = format!("\"{name}\" has no IPv4 address in this file");
        d.fault(
            FaultKind::Missing,
            &key,
            problem,
            format!("add addresses = [\"192.0.2.1/24\"] to [interfaces.{name}]"),
        );
    }
    addresses
}

/// Sorted, with neighbours joined.
fn joined(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.sort_unstable();
    let mut out: Vec<AddressRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        let range = |first, last| AddressRange { first, last };
        assert_eq!(
            joined(vec![range(8, 9), range(1, 3), range(4, 5)]),
            [range(1, 5), range(8, 9)]
        );
        assert_eq!(
            joined(vec![range(5, u32::MAX), range(7, 9)]),
            [range(5, u32::MAX)]
        );
    }
}
