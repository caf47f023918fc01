//! `[interfaces.NAME]`: ports, redundant interfaces, and their VLANs.
//!
//! A port has a `device`; a redundant interface has two ports as `members`; a VLAN has `parent` and `vlan` instead and shares everything
//! of the device with its parent.

use super::device::Device;
use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, suggestion};
use super::interface_conflicts;
use super::interface_redundant::{self as redundant, REDUNDANT_KEYS, RedundantInterface};
use super::names;
use super::section::{Item, Section};
use super::values::{self, InterfaceAddress};

/// A logical interface: a port, a redundant interface, or one VLAN of either. A member of a redundant interface is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it stands on.
    pub attachment: Attachment,
    /// Largest IP packet, in bytes. 576..=9000; a VLAN's is at most its parent's.
    pub mtu: u16,
    /// Name of the tap that mirrors it into the kernel.
    pub tap: String,
    /// Addresses put on the tap.
    pub addresses: Vec<InterfaceAddress>,
}

/// What a logical interface stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A device of its own; carries untagged packets.
    Port(Port),
    /// Two devices, of which one is active; carries untagged packets.
    Redundant(RedundantInterface),
    /// The tagged packets of another interface's device.
    Vlan {
        /// Name of the interface that has the device.
        parent: String,
        /// VLAN id, 1..=4094 (IEEE 802.1Q).
        vlan: u16,
    },
}

impl Attachment {
    /// The ports it brings, the primary member's first.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        let (one, both) = match self {
            Self::Port(port) => (Some(port), None),
            Self::Redundant(redundant) => (None, Some(&redundant.members)),
            Self::Vlan { .. } => (None, None),
        };
        one.into_iter()
            .chain(both.into_iter().flatten().map(|member| &member.port))
    }
}

/// A DPDK port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The device.
    pub device: Device,
    /// Kernel netdev whose carrier counts beside DPDK's link state.
    pub netdev: Option<String>,
    /// MAC address to set; `None` leaves the device's own.
    pub mac: Option<[u8; 6]>,
    /// Whether it takes frames for other MAC addresses.
    pub promiscuous: bool,
    /// Receive queues; `None`: one per worker if the device has so many.
    pub rx_queues: Option<u16>,
    /// Descriptors per receive queue. 64..=32768.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue. 64..=32768.
    pub tx_descriptors: u16,
}

/// An interface as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    pub path: String,
    pub device: Option<Device>,
    netdev: Option<String>,
    mtu: Option<u32>,
    pub mac: Option<[u8; 6]>,
    promiscuous: bool,
    rx_queues: Option<u32>,
    rx_descriptors: u32,
    tx_descriptors: u32,
    pub parent: Option<String>,
    pub vlan: Option<u32>,
    pub tap: Option<String>,
    pub addresses: Vec<Item<InterfaceAddress>>,
    pub members: Vec<Item<String>>,
    pub primary: Option<String>,
    pub track: Option<String>,
    pub track_retry_s: u32,
    pub hold_down_ms: Option<u32>,
    /// Keys that the file sets.
    keys: Vec<&'static str>,
}

/// Keys that say what the interface stands on, and those that ports and redundant interfaces share with VLANs.
const OTHER_KEYS: [&str; 6] = ["device", "parent", "vlan", "mtu", "tap", "addresses"];
const PORT_KEYS: [&str; 7] = [
    "netdev",
    "mac",
    "promiscuous",
    "rx-queues",
    "rx-descriptors",
    "tx-descriptors",
    "hold-down-ms",
];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let raw = Raw {
        path: section.path().to_owned(),
        device: section.parsed("device", "PCI address or net_ virtual device", "", Device::parse),
        parent: section.parsed("parent", "interface name", "", names::reference),
        vlan: section.optional_integer("vlan", 1..=4094),
        netdev: section.parsed("netdev", "kernel interface name", "", names::ifname),
        mtu: section.optional_integer("mtu", 576..=9000),
        mac: section.parsed("mac", "MAC address", "", names::mac),
        promiscuous: section.boolean("promiscuous", false),
        rx_queues: section.integer_or_auto("rx-queues", 1..=240),
        rx_descriptors: section.integer("rx-descriptors", 64..=32_768, 1024),
        tx_descriptors: section.integer("tx-descriptors", 64..=32_768, 1024),
        tap: section.parsed("tap", "kernel interface name", "", names::ifname),
        addresses: section.list(
            "addresses",
            "addresses with prefix length",
            values::interface_address,
        ),
        members: section.list("members", "interface names", names::reference),
        primary: section.parsed("primary", "interface name", "", names::reference),
        hold_down_ms: section.optional_integer("hold-down-ms", 0..=redundant::MEMBER_HOLD_DOWN_MS_MAX),
        track: section.parsed("track", "tracked-IP object name", "", names::reference),
        track_retry_s: section.integer("track-retry-s", 0..=86_400, 0),
        keys: [&OTHER_KEYS[..], &PORT_KEYS, &REDUNDANT_KEYS]
            .concat()
            .into_iter()
            .filter(|key| section.has(key))
            .collect(),
        name,
    };
    section.finish();
    raw
}

impl Raw {
    /// Key path of one of its keys.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// Whether the file sets this key.
    pub fn sets(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }

    /// The tap's name: as set, or the interface's own.
    pub fn tap(&self) -> &str {
        self.tap.as_deref().unwrap_or(&self.name)
    }

    /// Whether VLANs can stand on it.
    fn carries(&self) -> bool {
        self.sets("device") || self.sets("members")
    }

    /// The netdev whose carrier counts: as set, or the one the device takes its packets from.
    pub fn netdev(&self) -> Option<&str> {
        self.netdev
            .as_deref()
            .or_else(|| self.device.as_ref()?.kernel_netdev())
    }
}

/// Checks interfaces against each other; gives back those that can stand.
pub(super) fn validate(raws: &[Raw], d: &Diagnostics) -> Vec<Interface> {
    if raws.is_empty() {
        d.fault(
            FaultKind::Missing,
            "interfaces",
            "there is no interface",
            "add a section [interfaces.NAME] with a device",
        );
    }
    interface_conflicts::check(raws, d);
    let mut interfaces = Vec::new();
    for raw in raws {
        match redundant::whole_of(&raw.name, raws) {
            Some((whole, _)) => redundant::check_member(raw, whole, d),
            None => interfaces.extend(interface(raw, raws, d)),
        }
    }
    interfaces
}

fn interface(raw: &Raw, raws: &[Raw], d: &Diagnostics) -> Option<Interface> {
    let parent = raw
        .parent
        .as_ref()
        .and_then(|name| raws.iter().find(|other| other.name == *name));
    let mtu = raw.mtu.or_else(|| parent?.mtu).unwrap_or(1500);
    d.effective(&raw.key("mtu"), mtu.to_string());
    d.effective(&raw.key("tap"), format!("{:?}", raw.tap()));
    let is_redundant = raw.sets("members");
    if !is_redundant {
        let problem = "belongs to a redundant interface, and this has no members";
        redundant::misplaced(
            raw,
            &REDUNDANT_KEYS,
            problem,
            "add members = [\"...\", \"...\"], or remove it",
            d,
        );
        let problem = "is of a member of a redundant interface, and this is none";
        redundant::misplaced(raw, &["hold-down-ms"], problem, "remove it", d);
    }
    let attachment = match (raw.sets("device"), raw.sets("parent") || raw.sets("vlan")) {
        _ if is_redundant => redundant::attachment(raw, raws, d)?,
        (true, false) => port(raw, d)?,
        (false, true) => vlan(raw, parent, raws, mtu, d)?,
        (true, true) => {
            let other = if raw.sets("parent") { "parent" } else { "vlan" };
            let problem = format!(
                "stands beside {} (line {})",
                raw.key(other),
                d.line(&raw.key(other))
            );
            let remedy = "keep device for a port, or parent and vlan for a VLAN of another interface";
            d.fault(FaultKind::Conflict, &raw.key("device"), problem, remedy);
            return None;
        }
        (false, false) => {
            let remedy = "add device = \"0000:3b:00.0\" (a PCI address or a net_ virtual device), parent and vlan, or members";
            d.fault(
                FaultKind::Missing,
                &raw.path,
                "the interface has no device",
                remedy,
            );
            return None;
        }
    };
    Some(Interface {
        name: raw.name.clone(),
        attachment,
        mtu: mtu as u16,
        tap: raw.tap().to_owned(),
        addresses: raw.addresses.iter().map(|item| item.value).collect(),
    })
}

/// The port of an interface that has a device.
pub(super) fn port(raw: &Raw, d: &Diagnostics) -> Option<Attachment> {
    let device = raw.device.clone()?;
    if let Err(bad) = device.check_arguments() {
        d.bad(&raw.key("device"), bad);
    }
    if let Some(doubt) = device.doubt() {
        d.warn(&raw.key("device"), doubt.problem, doubt.remedy);
    }
    if let Some(netdev) = raw.netdev() {
        d.effective(&raw.key("netdev"), format!("{netdev:?}"));
    }
    Some(Attachment::Port(Port {
        netdev: raw.netdev().map(str::to_owned),
        mac: raw.mac,
        promiscuous: raw.promiscuous,
        rx_queues: raw.rx_queues.map(|queues| queues as u16),
        rx_descriptors: raw.rx_descriptors as u16,
        tx_descriptors: raw.tx_descriptors as u16,
        device,
    }))
}

fn vlan(raw: &Raw, parent: Option<&Raw>, raws: &[Raw], mtu: u32, d: &Diagnostics) -> Option<Attachment> {
    for key in PORT_KEYS
        .iter()
        .filter(|key| raw.sets(key) && **key != "hold-down-ms")
    {
        let problem = "belongs to a port, and this is a VLAN";
        d.fault(
            FaultKind::Conflict,
            &raw.key(key),
            problem,
            "set it on the parent, or use device instead of parent and vlan",
        );
    }
    for (key, present, remedy) in [
        ("parent", raw.sets("parent"), "add parent = \"NAME\""),
        ("vlan", raw.sets("vlan"), "add vlan = 1..=4094"),
    ] {
        if !present {
            d.fault(
                FaultKind::Missing,
                &raw.path,
                format!("the VLAN interface has no {key}"),
                remedy,
            );
        }
    }
    let (name, vlan) = (raw.parent.as_ref()?, raw.vlan?);
    let Some(parent) = parent else {
        let names = raws
            .iter()
            .filter(|other| other.carries())
            .map(|other| other.name.as_str());
        let problem = format!("there is no interface \"{name}\"");
        d.fault(
            FaultKind::UnknownName,
            &raw.key("parent"),
            problem,
            suggestion(name, names),
        );
        return None;
    };
    if let Some((whole, _)) = redundant::whole_of(name, raws) {
        let problem = format!(
            "\"{name}\" is a member of {} (line {})",
            whole.path,
            d.line(&whole.path)
        );
        d.fault(
            FaultKind::Conflict,
            &raw.key("parent"),
            problem,
            format!("use \"{}\"", whole.name),
        );
    } else if !parent.carries() {
        let problem = format!("\"{name}\" (line {}) has no device itself", d.line(&parent.path));
        d.fault(
            FaultKind::Conflict,
            &raw.key("parent"),
            problem,
            "use an interface that has a device",
        );
    }
    let limit = parent.mtu.unwrap_or(1500);
    if mtu > limit {
        let problem = format!(
            "{mtu} is more than the {limit} of {} (line {})",
            parent.key("mtu"),
            d.line(&parent.key("mtu"))
        );
        d.fault(
            FaultKind::Conflict,
            &raw.key("mtu"),
            problem,
            format!("use at most {limit}, or raise the parent's"),
        );
    }
    Some(Attachment::Vlan {
        parent: name.clone(),
        vlan: vlan as u16,
    })
}
