//! What interfaces must not share: devices, netdevs, tap names, VLAN ids, addresses. Each fault names both ends.

use std::collections::HashMap;

use super::device::Device;
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::interface::Raw;
use super::interface_redundant::whole_of;
use super::names;

/// Reports every pair of interfaces that cannot stand beside each other.
pub(super) fn check(raws: &[Raw], d: &Diagnostics) {
    devices_differ(raws, d);
    taps_differ(raws, d);
    vlans_differ(raws, d);
    addresses_differ(raws, d);
}

fn devices_differ(raws: &[Raw], d: &Diagnostics) {
    let mut names: HashMap<&str, &Raw> = HashMap::new();
    let mut netdevs: HashMap<&str, &Raw> = HashMap::new();
    let mut members: HashMap<String, &Raw> = HashMap::new();
    for raw in raws {
        let Some(device) = &raw.device else { continue };
        if let Some(first) = names.get(device.name()) {
            let problem = format!(
                "{} is used twice: also by {} (line {})",
                device.name(),
                first.key("device"),
                d.line(&first.key("device"))
            );
            let remedy = match device {
                Device::Pci { .. } => {
                    "give each interface its own device, or make one a VLAN (parent and vlan)"
                }
                Device::Vdev { .. } => "number virtual devices differently, as net_af_xdp0 and net_af_xdp1",
            };
            d.fault(FaultKind::Conflict, &raw.key("device"), problem, remedy);
        } else if let Some(netdev) = device.kernel_netdev()
            && let Some(first) = netdevs.get(netdev)
        {
            let problem = format!(
                "netdev {netdev} is used twice: also by {} (line {})",
                first.key("device"),
                d.line(&first.key("device"))
            );
            d.fault(
                FaultKind::Conflict,
                &raw.key("device"),
                problem,
                "give each interface its own netdev, or make one a VLAN",
            );
        }
        members_are_apart(device, raw, &mut members, d);
        names.entry(device.name()).or_insert(raw);
        if let Some(netdev) = device.kernel_netdev() {
            netdevs.entry(netdev).or_insert(raw);
        }
    }
}

/// A PCI device is a port of its own or part of one bonding device; two ports that are the same one were told already.
fn members_are_apart<'a>(
    device: &Device,
    raw: &'a Raw,
    members: &mut HashMap<String, &'a Raw>,
    d: &Diagnostics,
) {
    for address in device.pci_addresses() {
        let first = *members.entry(address.clone()).or_insert(raw);
        let same = first
            .device
            .as_ref()
            .is_some_and(|other| other.name() == device.name());
        if !std::ptr::eq(first, raw) && !same {
            let problem = format!(
                "{address} is used twice: also by {} (line {})",
                first.key("device"),
                d.line(&first.key("device"))
            );
            let remedy = "give each interface its own devices, as itself or in one net_bonding device";
            d.fault(FaultKind::Conflict, &raw.key("device"), problem, remedy);
        }
    }
}

fn taps_differ(raws: &[Raw], d: &Diagnostics) {
    let mut taps: HashMap<&str, &Raw> = HashMap::new();
    // A member has no tap.
    for raw in raws.iter().filter(|raw| whole_of(&raw.name, raws).is_none()) {
        let (tap, path) = (
            raw.tap(),
            if raw.tap.is_some() {
                raw.key("tap")
            } else {
                raw.path.clone()
            },
        );
        if raw.tap.is_none()
            && let Err(bad) = names::ifname(tap)
        {
            let problem = format!("the interface's name is its tap's too, and {}", bad.problem);
            d.fault(
                FaultKind::BadValue,
                &path,
                problem,
                format!("add tap = \"...\": {}", bad.remedy),
            );
            continue;
        }
        if let Some(first) = taps.get(tap) {
            let problem = format!(
                "tap \"{tap}\" is used twice: also by {} (line {})",
                first.path,
                d.line(&first.key("tap"))
            );
            d.fault(
                FaultKind::Conflict,
                &path,
                problem,
                "give each interface its own tap name",
            );
            continue;
        }
        taps.insert(tap, raw);
        if let Some(user) = raws.iter().find(|other| other.netdev() == Some(tap)) {
            let problem = format!(
                "tap \"{tap}\" has the name of the netdev of {} (line {})",
                user.key("device"),
                d.line(&user.key("device"))
            );
            d.fault(
                FaultKind::Conflict,
                &path,
                problem,
                "set tap to a name that no netdev has",
            );
        }
    }
}

fn vlans_differ(raws: &[Raw], d: &Diagnostics) {
    let mut vlans: HashMap<(&str, u32), &Raw> = HashMap::new();
    for raw in raws {
        let (Some(parent), Some(vlan)) = (raw.parent.as_deref(), raw.vlan) else {
            continue;
        };
        if let Some(first) = vlans.get(&(parent, vlan)) {
            let line = d.line(&first.key("vlan"));
            let problem = format!(
                "VLAN {vlan} of \"{parent}\" is used twice: also by {} (line {line})",
                first.path
            );
            d.fault(
                FaultKind::Conflict,
                &raw.key("vlan"),
                problem,
                "use another VLAN id, or remove one of the two",
            );
        } else {
            vlans.insert((parent, vlan), raw);
        }
    }
}

fn addresses_differ(raws: &[Raw], d: &Diagnostics) {
    let mut seen: HashMap<std::net::IpAddr, &str> = HashMap::new();
    for item in raws.iter().flat_map(|raw| &raw.addresses) {
        let address = item.value.address;
        if let Some(first) = seen.get(&address) {
            let problem = format!(
                "{address} is used twice: also by {first} (line {})",
                d.line(first)
            );
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "give each interface its own address",
            );
        } else {
            seen.insert(address, &item.path);
        }
    }
}
