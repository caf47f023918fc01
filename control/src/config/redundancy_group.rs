//! `[redundancy-groups.N]`: the association with one other chassis: addresses, the way to it, keys, the channel's bounds.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, quoted};
use super::names;
use super::section::{Item, Section};

/// TCP port of the channel, unless set.
pub const DEFAULT_REDUNDANCY_PORT: u16 = 4791;

/// The association with one other chassis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedundancyGroup {
    /// Its number, 1..=16.
    pub id: u8,
    /// Its name in views and logs, if it has one.
    pub name: Option<String>,
    /// This chassis' address.
    pub local: IpAddr,
    /// The other chassis' address, of the same family.
    pub peer: IpAddr,
    /// TCP port on both chassis.
    pub port: u16,
    /// Where the addresses are.
    pub routing_instance: RoutingInstance,
    /// How the channel is protected.
    pub security: Security,
    /// What was sent and not acknowledged is kept up to so many MiB, so that a short break needs no bulk. 1..=4096.
    pub replay_window_mb: u32,
    /// How often a silent channel is probed, in seconds. 1..=60.
    pub keepalive_interval_s: u32,
    /// So many silent intervals end the connection. 3..=255.
    pub keepalive_lost_threshold: u32,
}

/// Where the redundancy addresses are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RoutingInstance {
    /// In the daemon's own network namespace.
    Default,
    /// Behind this VRF device.
    Vrf(String),
    /// In this named network namespace.
    Namespace(String),
    /// On this kernel interface.
    Interface(String),
}

/// How the channel is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS 1.3, both sides with certificates.
    Tls(Tls),
    /// Not at all: whoever reaches the port can read and make sessions.
    None,
}

/// Certificates of one group. Paths that were relative start at the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// This chassis' certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whose certificates are taken for the peer's.
    pub trust: Trust,
}

/// Whose certificates are taken for the peer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those with one of these SHA-256 fingerprints, of the certificate in DER.
    Fingerprints(Vec<[u8; 32]>),
    /// Those that this CA signed (PEM) for the peer's address.
    Ca(PathBuf),
}

/// A group as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub id: u8,
    pub path: String,
    name: Option<String>,
    local: Option<IpAddr>,
    pub peer: Option<IpAddr>,
    port: u16,
    pub place: RoutingInstance,
    secure: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    fingerprints: Vec<Item<[u8; 32]>>,
    /// The list of fingerprints is there and has no element, right or wrong.
    pins_nothing: bool,
    ca: Option<PathBuf>,
    replay_window_mb: u32,
    keepalive_interval_s: u32,
    keepalive_lost_threshold: u32,
    /// Keys that the file sets, right or wrong.
    keys: Vec<&'static str>,
}

const KEYS: [&str; 6] = [
    "redundancy-local",
    "redundancy-peer",
    "certificate",
    "key",
    "peer-fingerprints",
    "ca",
];

pub(super) fn decode(id: u8, mut section: Section<'_>) -> Raw {
    let place = routing_instance(&mut section);
    let security = [("tls", true), ("none", false)];
    let raw = Raw {
        id,
        path: section.path().to_owned(),
        name: section.parsed("name", "name", "", names::name_value),
        local: section.parsed("redundancy-local", "IP address", "", super::redundancy::address),
        peer: section.parsed("redundancy-peer", "IP address", "", super::redundancy::address),
        port: section.integer("port", 1..=65_535, u32::from(DEFAULT_REDUNDANCY_PORT)) as u16,
        place,
        secure: section.choice("security", &security, "tls").unwrap_or(true),
        certificate: section.parsed("certificate", "path", "", path),
        key: section.parsed("key", "path", "", path),
        fingerprints: section.list("peer-fingerprints", "SHA-256 fingerprints", fingerprint),
        pins_nothing: section.is_empty_list("peer-fingerprints"),
        ca: section.parsed("ca", "path", "", path),
        replay_window_mb: section.integer("replay-window-mb", 1..=4096, 64),
        keepalive_interval_s: section.integer("keepalive-interval-s", 1..=60, 4),
        keepalive_lost_threshold: section.integer("keepalive-lost-threshold", 3..=255, 16),
        keys: KEYS.into_iter().filter(|key| section.has(key)).collect(),
    };
    section.finish();
    raw
}

/// Of VRF, namespace and interface at most one.
fn routing_instance(section: &mut Section<'_>) -> RoutingInstance {
    let d = section.diagnostics();
    let mut found: Vec<(String, RoutingInstance)> = Vec::new();
    if let Some(mut table) = section.optional_table("routing-instance") {
        let vrf = table.parsed("vrf", "kernel interface name", "", names::ifname);
        let namespace = table.parsed("namespace", "name of a network namespace", "", namespace);
        if !table.has("vrf") && !table.has("namespace") {
            let remedy = "use { vrf = \"DEVICE\" } or { namespace = \"NAME\" }, or leave it out";
            d.fault(
                FaultKind::Missing,
                table.path(),
                "names no routing instance",
                remedy,
            );
        }
        found.extend(vrf.map(|name| (table.path_of("vrf"), RoutingInstance::Vrf(name))));
        found.extend(namespace.map(|name| (table.path_of("namespace"), RoutingInstance::Namespace(name))));
        table.finish();
    }
    let interface = section.parsed("interface", "kernel interface name", "", names::ifname);
    found.extend(interface.map(|name| (section.path_of("interface"), RoutingInstance::Interface(name))));
    if let [(first, _), others @ ..] = found.as_slice() {
        for (path, _) in others {
            let problem = format!("stands beside {first} (line {})", d.line(first));
            let remedy = "keep one: the channel is bound to one VRF, one namespace or one interface";
            d.fault(FaultKind::Conflict, path, problem, remedy);
        }
    }
    found
        .into_iter()
        .next()
        .map_or(RoutingInstance::Default, |(_, place)| place)
}

/// A network namespace as `ip netns` names it.
fn namespace(text: &str) -> Result<String, Bad> {
    let fits = (1..=255).contains(&text.len()) && text != "." && text != "..";
    if fits && text.chars().all(|c| c.is_ascii_graphic() && c != '/') {
        return Ok(text.to_owned());
    }
    Err(Bad::new(
        format!("{} cannot be the name of a network namespace", quoted(text)),
        "use a name that \"ip netns list\" shows, without \"/\"",
    ))
}

/// A path, from the root or from the configuration file.
fn path(text: &str) -> Result<PathBuf, Bad> {
    if text.is_empty() || text.contains('\0') {
        return Err(Bad::new(
            format!("{} is not a path", quoted(text)),
            "use a path from the root, or from the directory of this file",
        ));
    }
    Ok(text.into())
}

/// SHA-256 as 64 hexadecimal digits, with colons between octets or without.
fn fingerprint(text: &str) -> Result<[u8; 32], Bad> {
    let wrong = || {
        Bad::new(
            format!("{} is not a SHA-256 fingerprint", quoted(text)),
            "use 64 hexadecimal digits, as \"tandem ha keygen\" prints them; colons may stand between octets",
        )
    };
    let octet = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
    };
    let octets: Option<Vec<u8>> = if text.contains(':') {
        text.split(':').map(octet).collect()
    } else {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| std::str::from_utf8(pair).ok().and_then(octet))
            .collect()
    };
    octets.ok_or_else(wrong)?.try_into().map_err(|_| wrong())
}

/// The group, if it is right in itself. `default` is `[redundancy]`'s address.
pub(super) fn validate(
    raw: &Raw,
    default: Option<&Item<IpAddr>>,
    file: &str,
    d: &Diagnostics,
) -> Option<RedundancyGroup> {
    let security = security(raw, file, d);
    let (local, peer) = addresses(raw, default, d)?;
    Some(RedundancyGroup {
        id: raw.id,
        name: raw.name.clone(),
        local,
        peer,
        port: raw.port,
        routing_instance: raw.place.clone(),
        security: security?,
        replay_window_mb: raw.replay_window_mb,
        keepalive_interval_s: raw.keepalive_interval_s,
        keepalive_lost_threshold: raw.keepalive_lost_threshold,
    })
}

impl Raw {
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn has(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }
}

/// This chassis' address and the other's.
fn addresses(raw: &Raw, default: Option<&Item<IpAddr>>, d: &Diagnostics) -> Option<(IpAddr, IpAddr)> {
    let own = raw.has("redundancy-local");
    if !own && default.is_none() {
        let problem = "the group has no address of this chassis";
        let remedy = "add redundancy-local = \"...\" here or in [redundancy]";
        d.fault(FaultKind::Missing, &raw.path, problem, remedy);
    }
    if !raw.has("redundancy-peer") {
        let problem = "the group has no address of the other chassis";
        d.fault(
            FaultKind::Missing,
            &raw.path,
            problem,
            "add redundancy-peer = \"...\"",
        );
    }
    let place = match default {
        Some(item) if !own => item.path.clone(),
        _ => raw.key("redundancy-local"),
    };
    let local = if own {
        raw.local
    } else {
        default.map(|item| item.value)
    };
    let (local, peer) = (local?, raw.peer?);
    let conflict = |problem: String, remedy: &str| {
        d.fault(FaultKind::Conflict, &raw.key("redundancy-peer"), problem, remedy);
    };
    let line = d.line(&place);
    if local == peer {
        conflict(
            format!("{peer} is this chassis' own address, {place} (line {line})"),
            "use the other chassis' redundancy-local",
        );
    } else if local.is_ipv4() != peer.is_ipv4() {
        conflict(
            format!("{peer} and {local}, {place} (line {line}), are of two families"),
            "use two IPv4 or two IPv6 addresses",
        );
    }
    Some((local, peer))
}

/// Certificates with TLS, none without.
fn security(raw: &Raw, file: &str, d: &Diagnostics) -> Option<Security> {
    const CERTIFICATES: [&str; 4] = ["certificate", "key", "peer-fingerprints", "ca"];
    if !raw.secure {
        for key in CERTIFICATES.into_iter().filter(|key| raw.has(key)) {
            let place = raw.key("security");
            let problem = format!("stands beside security = \"none\" (line {})", d.line(&place));
            let remedy = "remove it, or use security = \"tls\"";
            d.fault(FaultKind::Conflict, &raw.key(key), problem, remedy);
        }
        return Some(Security::None);
    }
    for key in ["certificate", "key"].into_iter().filter(|key| !raw.has(key)) {
        let problem = format!("TLS needs a {key} of this chassis");
        let remedy = format!(
            "add {key} = \"PATH\" (\"tandem ha keygen\" makes what a pair needs), or say security = \"none\""
        );
        d.fault(FaultKind::Missing, &raw.path, problem, remedy);
    }
    let (pinned, ca) = (raw.key("peer-fingerprints"), raw.key("ca"));
    if raw.has("ca") && raw.has("peer-fingerprints") {
        let problem = format!("stands beside {pinned} (line {})", d.line(&pinned));
        let remedy =
            "keep fingerprints for certificates of the chassis' own, or ca for those that a CA signed";
        d.fault(FaultKind::Conflict, &ca, problem, remedy);
    } else if !raw.has("ca") && !raw.has("peer-fingerprints") {
        let problem = "TLS needs to know the other chassis' certificate";
        let remedy = "add peer-fingerprints = [\"...\"], or ca = \"PATH\"";
        d.fault(FaultKind::Missing, &raw.path, problem, remedy);
    } else if raw.pins_nothing {
        let problem = "no fingerprint is listed, so no certificate would do";
        let remedy = "list the fingerprint of the other chassis' certificate";
        d.fault(FaultKind::BadValue, &pinned, problem, remedy);
    }
    let from_file = |path: &PathBuf| Path::new(file).parent().unwrap_or(Path::new("")).join(path);
    let trust = match &raw.ca {
        Some(ca) => Trust::Ca(from_file(ca)),
        None => Trust::Fingerprints(raw.fingerprints.iter().map(|item| item.value).collect()),
    };
    Some(Security::Tls(Tls {
        certificate: from_file(raw.certificate.as_ref()?),
        key: from_file(raw.key.as_ref()?),
        trust,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_with_colons_and_without() {
        let plain = "00ff".repeat(16);
        let colons = vec!["00:FF"; 16].join(":");
        let wanted: Vec<u8> = [0x00, 0xff].repeat(16);
        assert_eq!(fingerprint(&plain).map(|f| f.to_vec()), Ok(wanted.clone()));
        assert_eq!(fingerprint(&colons).map(|f| f.to_vec()), Ok(wanted));
        for wrong in [
            "",
            "00",
            &plain[1..],
            &format!("{plain}00"),
            &plain.replace("ff", "fg"),
            &colons[1..],
            &"+f".repeat(32),
            &"é".repeat(32),
        ] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }
}
