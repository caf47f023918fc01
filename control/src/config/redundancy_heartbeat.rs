//! Heartbeats of `[redundancy-groups.N]`, and the paths they take: `[[redundancy-groups.N.links]]`.
//!
//! Redundancy spec, sections 2 and 6: HA links for control and data, each able to carry both, and secondary paths over ordinary
//! interfaces, which carry heartbeats alone, so that a cut HA cable does not make two primaries.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ha_sync::net::Bind;

use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::redundancy_group::{self, Pair};
use super::section::Section;

/// Shortest interval of heartbeats in milliseconds.
pub const HEARTBEAT_INTERVAL_MS_MIN: u32 = 10;
/// Longest one.
const HEARTBEAT_INTERVAL_MS_MAX: u32 = 10_000;
/// Secondary paths of one group.
const SECONDARIES_MAX: usize = 2;

/// The heartbeats of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeats {
    /// From beat to beat, in milliseconds. 10..=10000.
    pub interval_ms: u16,
    /// The peer is lost after so many intervals without a beat. 3..=255.
    pub lost_threshold: u8,
    /// The file of the key that authenticates beats, 64 hexadecimal digits. A path that was relative starts at the configuration
    /// file. `None` with `security = "none"` only: then whoever reaches the port is believed.
    pub key: Option<PathBuf>,
}

impl Heartbeats {
    /// Silence after which the peer is lost, in milliseconds.
    #[must_use]
    pub fn lost_after_ms(&self) -> u64 {
        u64::from(self.interval_ms) * u64::from(self.lost_threshold)
    }
}

/// A path to the other chassis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaLink {
    /// What it carries.
    pub kind: LinkKind,
    /// This chassis' address on it.
    pub local: IpAddr,
    /// The other chassis' address, of the same family.
    pub peer: IpAddr,
    /// UDP port on both chassis.
    pub port: u16,
    /// What its sockets are bound to.
    pub bind: Bind,
}

/// What a path carries when all are well; control and data carry both when the other has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// Heartbeats and the channel.
    Control,
    /// Packets that are forwarded to the other chassis.
    Data,
    /// Heartbeats, when nothing else is left: an ordinary interface.
    Secondary,
}

const KINDS: [(&str, LinkKind); 3] = [
    ("control", LinkKind::Control),
    ("data", LinkKind::Data),
    ("secondary", LinkKind::Secondary),
];

/// The keys of a group as the file has them.
pub(super) struct Raw {
    interval_ms: u32,
    lost_threshold: u32,
    pub key: Option<PathBuf>,
    has_key: bool,
    links: Vec<RawLink>,
}

struct RawLink {
    path: String,
    kind: Option<LinkKind>,
    local: Option<IpAddr>,
    peer: Option<IpAddr>,
    port: Option<u32>,
    bind: Bind,
}

pub(super) fn decode(section: &mut Section<'_>) -> Raw {
    let d = section.diagnostics();
    let interval_ms = section.integer("heartbeat-interval-ms", 0..=HEARTBEAT_INTERVAL_MS_MAX, 200);
    if (1..HEARTBEAT_INTERVAL_MS_MIN).contains(&interval_ms) {
        let problem = format!("{interval_ms} ms is too short");
        let remedy = format!("use {HEARTBEAT_INTERVAL_MS_MIN}..={HEARTBEAT_INTERVAL_MS_MAX}, or 0 for none");
        d.fault(
            FaultKind::BadValue,
            &section.path_of("heartbeat-interval-ms"),
            problem,
            remedy,
        );
    }
    Raw {
        interval_ms,
        lost_threshold: section.integer("heartbeat-lost-threshold", 3..=255, 3),
        key: section.parsed("heartbeat-key", "path", "", redundancy_group::path),
        has_key: section.has("heartbeat-key"),
        links: section.array_of_tables("links").into_iter().map(link).collect(),
    }
}

fn link(mut section: Section<'_>) -> RawLink {
    let bind = redundancy_group::bind(&mut section);
    let raw = RawLink {
        path: section.path().to_owned(),
        kind: section.choice("kind", &KINDS, ""),
        local: section.parsed("local", "IP address", "", super::redundancy::address),
        peer: section.parsed("peer", "IP address", "", super::redundancy::address),
        port: section.optional_integer("port", 1..=65_535),
        bind,
    };
    section.needs("the link", &["kind", "local", "peer"]);
    section.finish();
    raw
}

/// What the paths of a group that name no port, no binding or no addresses take from it.
pub(super) struct Group<'a> {
    pub path: &'a str,
    pub addresses: (IpAddr, IpAddr),
    pub port: u16,
    pub bind: &'a Bind,
}

impl Raw {
    /// Whether beats are sent.
    pub fn beats(&self) -> bool {
        self.interval_ms > 0
    }

    /// The heartbeats; `None` where there are none. `file` is where relative paths start.
    pub fn heartbeats(&self, group: &str, secure: bool, file: &str, d: &Diagnostics) -> Option<Heartbeats> {
        let (key, interval) = (
            format!("{group}.heartbeat-key"),
            format!("{group}.heartbeat-interval-ms"),
        );
        if !self.beats() {
            if self.has_key {
                let line = d.line(&interval);
                let problem =
                    format!("says nothing: {interval} (line {line}) is 0, so there are no heartbeats");
                d.warn(&key, problem, "remove one of the two");
            }
            return None;
        }
        if secure && !self.has_key {
            let problem = "heartbeats need a key that both chassis have";
            let remedy = "add heartbeat-key = \"pair.key\" (\"tandem ha keygen\" makes it on one chassis, the other one gets a copy), \
                          or heartbeat-interval-ms = 0 for roles that are changed by hand";
            d.fault(FaultKind::Missing, group, problem, remedy);
        }
        let directory = Path::new(file).parent().unwrap_or(Path::new(""));
        Some(Heartbeats {
            interval_ms: self.interval_ms as u16,
            lost_threshold: self.lost_threshold as u8,
            key: self.key.as_ref().map(|key| directory.join(key)),
        })
    }

    /// The paths: control first, then data, then secondary ones in the order of the file.
    pub fn links(&self, group: &Group<'_>, d: &Diagnostics) -> Vec<HaLink> {
        self.kinds_fit(d);
        let mut links: Vec<(HaLink, &str)> = Vec::new();
        let (local, peer) = group.addresses;
        let own = HaLink {
            kind: LinkKind::Control,
            local,
            peer,
            port: group.port,
            bind: group.bind.clone(),
        };
        if !self.links.iter().any(|link| link.kind == Some(LinkKind::Control)) {
            links.push((own, group.path));
        }
        for raw in &self.links {
            let Some(link) = raw.link(group, d) else {
                continue;
            };
            let same = |other: &&(HaLink, &str)| {
                (other.0.local, other.0.peer, &other.0.bind) == (link.local, link.peer, &link.bind)
            };
            if let Some((_, first)) = links.iter().find(same) {
                let problem = format!("goes the same way as {first} (line {})", d.line(first));
                let remedy =
                    "use other addresses, or another interface: a second path must not fail with the first";
                d.fault(FaultKind::Conflict, &raw.path, problem, remedy);
            }
            links.push((link, &raw.path));
        }
        if self.beats() && links.len() == 1 {
            let problem =
                "has heartbeats and one way for them: when that is cut, both chassis take the primary role";
            let remedy = format!(
                "add [[{}.links]]: a data link, or a secondary path over an ordinary interface",
                group.path
            );
            d.warn(group.path, problem, remedy);
        }
        links.sort_by_key(|(link, _)| link.kind);
        links.into_iter().map(|(link, _)| link).collect()
    }

    /// One control link, one data link, two secondary paths.
    fn kinds_fit(&self, d: &Diagnostics) {
        for (name, kind) in KINDS {
            let most = if kind == LinkKind::Secondary {
                SECONDARIES_MAX
            } else {
                1
            };
            let mut of_kind = self.links.iter().filter(|link| link.kind == Some(kind));
            let Some(first) = of_kind.next() else { continue };
            for link in of_kind.skip(most - 1) {
                let problem = format!(
                    "is a {name} link beside {} (line {})",
                    first.path,
                    d.line(&first.path)
                );
                let remedy = format!("use at most {most} of this kind");
                d.fault(
                    FaultKind::Conflict,
                    &format!("{}.kind", link.path),
                    problem,
                    remedy,
                );
            }
        }
    }
}

impl RawLink {
    fn link(&self, group: &Group<'_>, d: &Diagnostics) -> Option<HaLink> {
        let (kind, local, peer) = (self.kind?, self.local?, self.peer?);
        let bind = match (&self.bind, kind) {
            (Bind::None, LinkKind::Control | LinkKind::Data) => group.bind,
            (own, _) => own,
        };
        let (local_path, peer_path) = (format!("{}.local", self.path), format!("{}.peer", self.path));
        redundancy_group::check_pair(
            &Pair {
                local: (&local_path, local),
                peer: (&peer_path, peer),
                bind,
                whose: "link",
            },
            d,
        );
        Some(HaLink {
            kind,
            local,
            peer,
            port: self.port.map_or(group.port, |port| port as u16),
            bind: bind.clone(),
        })
    }
}
