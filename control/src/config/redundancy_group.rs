//! `[redundancy-groups.N]`: the association with one other chassis: addresses, the way to it, keys, the channel's bounds.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ha_sync::net::{Bind, Endpoint, Fingerprint, Security, Stream, Timing, Tls, Trust, Way};

use super::Interface;
use super::data_forwarding::{self, DataForwarding};
use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, quoted};
use super::names;
use super::redundancy_heartbeat::{self, HaLink, Heartbeats, LinkKind};
use super::section::{Item, Section};

/// TCP port of the channel, unless set.
pub const DEFAULT_REDUNDANCY_PORT: u16 = ha_sync::net::DEFAULT_PORT;

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
    /// What the channel is bound to.
    pub bind: Bind,
    /// How the channel is secured. Paths that were relative start at the configuration file.
    pub security: Security,
    /// What was sent and not acknowledged is kept up to so many MiB, so that a short break needs no bulk. 1..=4096.
    pub replay_window_mb: u32,
    /// How often a silent channel is probed, in seconds. 1..=60.
    pub keepalive_interval_s: u32,
    /// So many silent intervals end the connection. 3..=255.
    pub keepalive_lost_threshold: u32,
    /// The highest wire version that is spoken.
    pub wire_version: u16,
    /// Its heartbeats. `None`: there are none, and roles are changed by hand only.
    pub heartbeats: Option<Heartbeats>,
    /// The paths of heartbeats and forwarded packets: a control link, a data link if there is one, then secondary paths.
    pub links: Vec<HaLink>,
    /// The HA data link, over which packets of sets that are primary on the other chassis go there. `None`: they are dropped.
    pub data_forwarding: Option<DataForwarding>,
    /// Sessions are replicated, as far as the service sets say so. Without, the two chassis have roles alone.
    pub session_replication: bool,
}

impl RedundancyGroup {
    /// This chassis' end of the channel: its only stream, with the channel's own timeouts. It goes by the control link, and while the
    /// peer cannot be reached by that, by the data link.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let way = |kind| {
            let link = self.links.iter().find(|link| link.kind == kind)?;
            Some(Way {
                local: link.local,
                peer: link.peer,
                bind: link.bind.clone(),
            })
        };
        let own = || Way {
            local: self.local,
            peer: self.peer,
            bind: self.bind.clone(),
        };
        let control = way(LinkKind::Control).unwrap_or_else(own);
        Endpoint {
            local: control.local,
            peer: control.peer,
            port: self.port,
            bind: control.bind,
            other: way(LinkKind::Data),
            security: self.security.clone(),
            stream: Stream::default(),
            timing: Timing::default(),
        }
    }

    /// Whether this is the chassis with the lower redundancy address: gateway 1, and unit 1 of the cluster. Whatever links there are.
    #[must_use]
    pub fn is_gateway_1(&self) -> bool {
        self.local < self.peer
    }
}

/// A group as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub id: u8,
    pub path: String,
    name: Option<String>,
    local: Option<IpAddr>,
    pub peer: Option<IpAddr>,
    port: u16,
    pub bind: Bind,
    secure: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    fingerprints: Vec<Item<Fingerprint>>,
    /// The list of fingerprints is there and has no element, right or wrong.
    pins_nothing: bool,
    ca: Option<PathBuf>,
    peer_name: Option<String>,
    replay_window_mb: u32,
    keepalive_interval_s: u32,
    keepalive_lost_threshold: u32,
    wire_version: u32,
    pub heartbeat: redundancy_heartbeat::Raw,
    data_forwarding: Option<data_forwarding::Raw>,
    pub session_replication: bool,
    /// Keys that the file sets, right or wrong.
    keys: Vec<&'static str>,
}

impl Raw {
    /// The files that it names, each with its key path.
    pub fn files(&self) -> impl Iterator<Item = (String, &Path)> {
        let files = [
            ("certificate", &self.certificate),
            ("key", &self.key),
            ("ca", &self.ca),
            ("heartbeat-key", &self.heartbeat.key),
        ];
        files
            .into_iter()
            .filter_map(|(key, file)| Some((format!("{}.{key}", self.path), file.as_deref()?)))
    }
}

/// The newest wire version.
const NEWEST: u32 = ha_sync::wire::VERSION as u32;

const KEYS: [&str; 7] = [
    "redundancy-local",
    "redundancy-peer",
    "certificate",
    "key",
    "peer-fingerprints",
    "ca",
    "peer-name",
];

pub(super) fn decode(id: u8, mut section: Section<'_>) -> Raw {
    let bind = bind(&mut section);
    let security = [("tls", true), ("none", false)];
    let raw = Raw {
        id,
        path: section.path().to_owned(),
        name: section.parsed("name", "name", "", names::name_value),
        local: section.parsed("redundancy-local", "IP address", "", super::redundancy::address),
        peer: section.parsed("redundancy-peer", "IP address", "", super::redundancy::address),
        port: section.integer("port", 1..=65_535, u32::from(DEFAULT_REDUNDANCY_PORT)) as u16,
        bind,
        secure: section.choice("security", &security, "tls").unwrap_or(true),
        certificate: section.parsed("certificate", "path", "", path),
        key: section.parsed("key", "path", "", path),
        fingerprints: section.list("peer-fingerprints", "SHA-256 fingerprints", fingerprint),
        pins_nothing: section.is_empty_list("peer-fingerprints"),
        ca: section.parsed("ca", "path", "", path),
        peer_name: section.parsed("peer-name", "DNS name or IP address", "", peer_name),
        replay_window_mb: section.integer("replay-window-mb", 1..=4096, 64),
        keepalive_interval_s: section.integer("keepalive-interval-s", 1..=60, 4),
        keepalive_lost_threshold: section.integer("keepalive-lost-threshold", 3..=255, 16),
        wire_version: section.integer("wire-version", 0..=NEWEST, NEWEST),
        heartbeat: redundancy_heartbeat::decode(&mut section),
        data_forwarding: data_forwarding::decode(&mut section),
        session_replication: section.boolean("session-replication", true),
        keys: KEYS.into_iter().filter(|key| section.has(key)).collect(),
    };
    section.finish();
    raw
}

/// Of VRF, namespace and interface at most one.
pub(super) fn bind(section: &mut Section<'_>) -> Bind {
    let d = section.diagnostics();
    let mut found: Vec<(String, Bind)> = Vec::new();
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
        found.extend(vrf.map(|name| (table.path_of("vrf"), Bind::Vrf(name))));
        found.extend(namespace.map(|name| (table.path_of("namespace"), Bind::Namespace(name))));
        table.finish();
    }
    let interface = section.parsed("interface", "kernel interface name", "", names::ifname);
    found.extend(interface.map(|name| (section.path_of("interface"), Bind::Interface(name))));
    if let [(first, _), others @ ..] = found.as_slice() {
        for (path, _) in others {
            let problem = format!("stands beside {first} (line {})", d.line(first));
            let remedy = "keep one: the channel is bound to one VRF, one namespace or one interface";
            d.fault(FaultKind::Conflict, path, problem, remedy);
        }
    }
    found.into_iter().next().map_or(Bind::None, |(_, bind)| bind)
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
pub(super) fn path(text: &str) -> Result<PathBuf, Bad> {
    if text.is_empty() || text.contains('\0') {
        return Err(Bad::new(
            format!("{} is not a path", quoted(text)),
            "use a path from the root, or from the directory of this file",
        ));
    }
    Ok(text.into())
}

fn fingerprint(text: &str) -> Result<Fingerprint, Bad> {
    text.parse().map_err(|_| {
        Bad::new(
            format!("{} is not a SHA-256 fingerprint", quoted(text)),
            "use 64 hexadecimal digits, as \"tandem ha keygen\" prints them; colons may stand between octets",
        )
    })
}

/// What a certificate can be for.
fn peer_name(text: &str) -> Result<String, Bad> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label)) {
        return Ok(text.to_owned());
    }
    Err(Bad::new(
        format!("{} is neither a DNS name nor an IP address", quoted(text)),
        "use a name that the other chassis' certificate has",
    ))
}

/// The group, if it is right in itself. `default` is `[redundancy]`'s address.
pub(super) fn validate(
    raw: &Raw,
    default: Option<&Item<IpAddr>>,
    file: &str,
    interfaces: &[Interface],
    d: &Diagnostics,
) -> Option<RedundancyGroup> {
    let security = security(raw, file, d);
    let heartbeats = raw.heartbeat.heartbeats(&raw.path, raw.secure, file, d);
    let link = raw.data_forwarding.as_ref();
    let data_forwarding = link.and_then(|link| data_forwarding::validate(link, interfaces, d));
    let (local, peer) = addresses(raw, default, d)?;
    let group = redundancy_heartbeat::Group {
        path: &raw.path,
        addresses: (local, peer),
        port: raw.port,
        bind: &raw.bind,
    };
    let links = raw.heartbeat.links(&group, d);
    Some(RedundancyGroup {
        id: raw.id,
        name: raw.name.clone(),
        local,
        peer,
        port: raw.port,
        bind: raw.bind.clone(),
        security: security?,
        replay_window_mb: raw.replay_window_mb,
        keepalive_interval_s: raw.keepalive_interval_s,
        keepalive_lost_threshold: raw.keepalive_lost_threshold,
        wire_version: raw.wire_version as u16,
        heartbeats,
        links,
        data_forwarding,
        session_replication: raw.session_replication,
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
    let peer_place = raw.key("redundancy-peer");
    let pair = Pair {
        local: (&place, local),
        peer: (&peer_place, peer),
        bind: &raw.bind,
        whose: "group",
    };
    check_pair(&pair, d);
    Some((local, peer))
}

/// Two addresses with their key paths, between which there is to be a way.
pub(super) struct Pair<'a> {
    pub local: (&'a str, IpAddr),
    pub peer: (&'a str, IpAddr),
    pub bind: &'a Bind,
    /// What has them.
    pub whose: &'a str,
}

/// Two addresses of one family, and an interface for link-local ones.
pub(super) fn check_pair(pair: &Pair<'_>, d: &Diagnostics) {
    let ((place, local), (peer_place, peer)) = (pair.local, pair.peer);
    let conflict = |problem: String, remedy: &str| d.fault(FaultKind::Conflict, peer_place, problem, remedy);
    let line = d.line(place);
    if local == peer {
        conflict(
            format!("{peer} is this chassis' own address, {place} (line {line})"),
            "use the other chassis' address",
        );
    } else if local.is_ipv4() != peer.is_ipv4() {
        conflict(
            format!("{peer} and {local}, {place} (line {line}), are of two families"),
            "use two IPv4 or two IPv6 addresses",
        );
    }
    let link_local = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if !matches!(pair.bind, Bind::Interface(_)) {
        for (place, address) in [pair.local, pair.peer] {
            if link_local(address) {
                let problem = format!("{address} is link-local, and so means another chassis on each link");
                let remedy = format!(
                    "add interface = \"...\" to the {}, or use a global or a unique local address",
                    pair.whose
                );
                d.fault(FaultKind::Conflict, place, problem, remedy);
            }
        }
    }
}

/// Certificates with TLS, none without.
fn security(raw: &Raw, file: &str, d: &Diagnostics) -> Option<Security> {
    const CERTIFICATES: [&str; 5] = ["certificate", "key", "peer-fingerprints", "ca", "peer-name"];
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
    if raw.has("peer-name") && !raw.has("ca") {
        let remedy = "remove it, or use ca = \"PATH\"";
        let problem = "is looked at with ca only";
        d.fault(FaultKind::Conflict, &raw.key("peer-name"), problem, remedy);
    }
    let from_file = |path: &PathBuf| Path::new(file).parent().unwrap_or(Path::new("")).join(path);
    let trust = match &raw.ca {
        Some(ca) => Trust::Authority {
            file: from_file(ca),
            peer_name: match &raw.peer_name {
                Some(name) => name.clone(),
                None => raw.peer?.to_string(),
            },
        },
        None => Trust::Fingerprints(raw.fingerprints.iter().map(|item| item.value).collect()),
    };
    Some(Security::Tls(Tls {
        certificate: from_file(raw.certificate.as_ref()?),
        key: from_file(raw.key.as_ref()?),
        trust,
    }))
}
