//! Redundant interfaces: `members`, `primary` and what goes with them in `[interfaces.NAME]`.
//!
//! ```text
//!   [interfaces.eth1] device --+
//!                              +--> [interfaces.red0] members, addresses, tap --> zones, service sets, VLANs, monitors
//!   [interfaces.eth2] device --+
//! ```
//!
//! A member gives its port and nothing else: whatever names an interface names the redundant one. Redundancy spec, section 3; NSRP
//! seed, "Redundant Interfaces and Zones".

use super::Interface;
use super::diagnostics::{Diagnostics, join};
use super::fault::{FaultKind, suggestion};
use super::interface::{Attachment, Port, Raw, port};
use super::redundancy::Redundancy;
use super::section::Item;

/// Longest hold-down of a member, in milliseconds: as long as that of a preempting chassis.
pub const MEMBER_HOLD_DOWN_MS_MAX: u32 = 600_000;

/// Two ports of which one is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedundantInterface {
    /// The primary member, then the secondary.
    pub members: [MemberPort; 2],
    /// MAC address of both; `None`: the primary's own.
    pub mac: Option<[u8; 6]>,
    /// The tracked-IP object whose failure fails the active member.
    pub track: Option<String>,
    /// A member that it failed is tried again after so many seconds; 0: only when its link was down meanwhile, or by command.
    pub track_retry_s: u32,
}

/// A member of a redundant interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPort {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: Port,
    /// How long it waits before it becomes active in place of the other, in milliseconds.
    pub hold_down_ms: u32,
}

/// Keys of a port that its redundant interface has instead.
const OF_THE_WHOLE: [&str; 4] = ["mac", "mtu", "tap", "addresses"];
/// Keys that only a redundant interface has.
pub(super) const REDUNDANT_KEYS: [&str; 4] = ["members", "primary", "track", "track-retry-s"];

/// The redundant interface that a name is a member of.
pub(super) fn whole_of<'r>(name: &str, raws: &'r [Raw]) -> Option<(&'r Raw, &'r Item<String>)> {
    // One that names itself is told of where its members are looked at.
    let others = raws.iter().filter(|raw| raw.name != name);
    let mut wholes =
        others.filter_map(|raw| Some((raw, raw.members.iter().find(|item| item.value == name)?)));
    wholes.next()
}

/// Tells that there is no interface of this name, with what is there instead.
pub(super) fn absent(path: &str, name: &str, problem: String, names: &[&str], d: &Diagnostics) {
    match d.whole_of(name) {
        Some(whole) => {
            let place = join("interfaces", &whole);
            let problem = format!("\"{name}\" is a member of {place} (line {})", d.line(&place));
            d.fault(FaultKind::Conflict, path, problem, format!("use \"{whole}\""));
        }
        None => d.fault(
            FaultKind::UnknownName,
            path,
            problem,
            suggestion(name, names.iter().copied()),
        ),
    }
}

/// What is told of keys that an interface cannot have.
pub(super) fn misplaced(raw: &Raw, keys: &[&str], problem: &str, remedy: &str, d: &Diagnostics) {
    for key in keys.iter().filter(|key| raw.sets(key)) {
        d.fault(FaultKind::Conflict, &raw.key(key), problem, remedy);
    }
}

/// Checks a member's own section.
pub(super) fn check_member(raw: &Raw, whole: &Raw, d: &Diagnostics) {
    d.is_part_of(&raw.name, &whole.name);
    let key = whole.key("members");
    let problem = format!(
        "belongs to the redundant interface, and this is a member: {key} (line {})",
        d.line(&key)
    );
    misplaced(
        raw,
        &OF_THE_WHOLE,
        &problem,
        &format!("set it in {}", whole.path),
        d,
    );
}

/// The redundant interface, when both members are there.
pub(super) fn attachment(raw: &Raw, raws: &[Raw], d: &Diagnostics) -> Option<Attachment> {
    let of_members = [
        "netdev",
        "promiscuous",
        "rx-queues",
        "rx-descriptors",
        "tx-descriptors",
        "hold-down-ms",
    ];
    let problem = "belongs to a member, and this is a redundant interface";
    misplaced(
        raw,
        &of_members,
        problem,
        "set it in the sections of the members",
        d,
    );
    for key in ["device", "parent", "vlan"]
        .into_iter()
        .filter(|key| raw.sets(key))
    {
        let members = raw.key("members");
        let problem = format!("stands beside {members} (line {})", d.line(&members));
        let remedy =
            "keep device for a port, parent and vlan for a VLAN, or members for a redundant interface";
        d.fault(FaultKind::Conflict, &raw.key(key), problem, remedy);
    }
    if raw.track_retry_s > 0 && raw.track.is_none() {
        let problem = "says when a member that a tracked IP failed is tried again, and there is no track";
        d.fault(
            FaultKind::Conflict,
            &raw.key("track-retry-s"),
            problem,
            "add track, or remove it",
        );
    }
    let [first, second] = &raw.members[..] else {
        let problem = format!("names {} interfaces", raw.members.len());
        d.fault(
            FaultKind::BadValue,
            &raw.key("members"),
            problem,
            "name two ports",
        );
        return None;
    };
    if first.value == second.value {
        let problem = format!(
            "{} is {} (line {}), too",
            second.value,
            first.path,
            d.line(&first.path)
        );
        d.fault(FaultKind::Conflict, &second.path, problem, "name another port");
        return None;
    }
    let (first, second) = (member(first, raw, raws, d), member(second, raw, raws, d));
    let names: Vec<&str> = raw.members.iter().map(|item| item.value.as_str()).collect();
    let primary = raw
        .primary
        .as_deref()
        .or(names.first().copied())
        .unwrap_or_default();
    d.effective(&raw.key("primary"), format!("{primary:?}"));
    if !names.contains(&primary) {
        let problem = format!("\"{primary}\" is no member");
        let remedy = suggestion(primary, names.iter().copied());
        d.fault(FaultKind::UnknownName, &raw.key("primary"), problem, remedy);
        return None;
    }
    let (first, second) = (first?, second?);
    if first.port.rx_queues != second.port.rx_queues {
        let (one, other) = (join("interfaces", &first.name), join("interfaces", &second.name));
        let problem = format!(
            "is another number than in {one} (line {}), and both are members of {}",
            d.line(&one),
            raw.path
        );
        let remedy = "give both members the same number, or neither";
        d.fault(
            FaultKind::Conflict,
            &format!("{other}.rx-queues"),
            problem,
            remedy,
        );
    }
    let members = if first.name == primary {
        [first, second]
    } else {
        [second, first]
    };
    Some(Attachment::Redundant(RedundantInterface {
        members,
        mac: raw.mac,
        track: raw.track.clone(),
        track_retry_s: raw.track_retry_s,
    }))
}

/// The port that an element of `members` names.
fn member(item: &Item<String>, raw: &Raw, raws: &[Raw], d: &Diagnostics) -> Option<MemberPort> {
    let name = &item.value;
    let Some(found) = raws.iter().find(|other| other.name == *name) else {
        let ports = raws
            .iter()
            .filter(|other| other.sets("device"))
            .map(|other| other.name.as_str());
        let problem = format!("there is no {}", join("interfaces", name));
        d.fault(
            FaultKind::UnknownName,
            &item.path,
            problem,
            suggestion(name, ports),
        );
        return None;
    };
    let fault = |problem: String, remedy: &str| d.fault(FaultKind::Conflict, &item.path, problem, remedy);
    if let Some((first, of_first)) = whole_of(name, raws)
        && first.name != raw.name
    {
        fault(
            format!(
                "{name} is a member of {} (line {}), too",
                first.path,
                d.line(&of_first.path)
            ),
            "name another port",
        );
        return None;
    }
    if !found.sets("device") {
        fault(
            format!(
                "{} (line {}) has no device itself",
                found.path,
                d.line(&found.path)
            ),
            "name a port",
        );
        return None;
    }
    let Attachment::Port(port) = port(found, d)? else {
        return None;
    };
    d.effective(
        &found.key("hold-down-ms"),
        found.hold_down_ms.unwrap_or(0).to_string(),
    );
    Some(MemberPort {
        name: name.clone(),
        port,
        hold_down_ms: found.hold_down_ms.unwrap_or(0),
    })
}

/// The tracked-IP object of each redundant interface is there, and its probes leave by that interface.
pub(super) fn check_tracks(interfaces: &[Interface], redundancy: &Redundancy, d: &Diagnostics) {
    for interface in interfaces {
        let Attachment::Redundant(RedundantInterface {
            track: Some(track), ..
        }) = &interface.attachment
        else {
            continue;
        };
        let key = join("interfaces", &interface.name) + ".track";
        let Some(object) = redundancy.tracked_ips.iter().find(|object| object.name == *track) else {
            let names = redundancy.tracked_ips.iter().map(|object| object.name.as_str());
            let problem = format!("there is no {}", join("tracked-ips", track));
            d.fault(FaultKind::UnknownName, &key, problem, suggestion(track, names));
            continue;
        };
        let leaves_by = |name: &str| {
            name == interface.name || interfaces.iter().any(|one| {
                one.name == name
                    && matches!(&one.attachment, Attachment::Vlan { parent, .. } if *parent == interface.name)
            })
        };
        if let Some(address) = object.addresses.iter().find(|one| !leaves_by(&one.interface)) {
            let problem = format!(
                "{} (line {}) has {}, which is probed by interfaces.{}",
                join("tracked-ips", track),
                d.line(&join("tracked-ips", track)),
                address.address,
                address.interface
            );
            let remedy = "use an object whose addresses are all probed by this interface";
            d.fault(FaultKind::Conflict, &key, problem, remedy);
        }
    }
}
