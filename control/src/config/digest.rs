//! What both chassis of a pair must have alike, as a text and as its digest.
//!
//! ```text
//!   pools.p2.port-allocation = "random"          one line for each key that decides what becomes of a replicated session,
//!   pools.p2.prefixes = ["32.0.0.0/24"]          defaults included, in the order of the key paths, whatever that of the file
//!   service-sets.ss2.timeouts.udp-s = 300
//! ```
//!
//! The text is made from the values in force by leaving keys out (`LEFT_OUT`), so that a key which is new is compared until
//! somebody decides otherwise. The digests of two chassis are compared when they connect and at each commit; when they
//! differ, [`differences`] of the texts says where. Redundancy spec, section 2.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv6Addr;

use ha_sync::wire::Part;
use ring::digest::{SHA256, digest as sha256};
use tandem_engine::program::Program;
use tandem_engine::program::policy::{Application, PolicyMatch};

use super::diagnostics::join;
use super::pool::Pool;
use super::redundancy_conflicts::pools_of;
use super::service_set::ServiceSet;
use super::values::show_range;
use super::{Config, NameRegistry};

/// The first line of every text: another way to make it has another number.
const VERSION: &str = "canonical-configuration = 1";

/// Last parts of keys that both chassis may have differently: names of interfaces, and a key that only the reading of the file
/// looks at. Of policies `from` is replaced by what it resolves to.
const LEFT_OUT: [&str; 4] = [
    "inside-interfaces",
    "outside-interfaces",
    "interface",
    "allow-short-timeouts",
];

/// Arrays of tables whose order means nothing, each with the key that names an element.
const UNORDERED: [(&str, &str); 3] = [
    ("static-mappings", "name"),
    ("siit.explicit-mappings", "ipv4"),
    ("nptv6", "inside"),
];

/// SHA-256 over [`canonical`]: of all redundancy groups together.
#[must_use]
pub fn digest(config: &Config) -> [u8; 32] {
    sum(&canonical(config))
}

/// SHA-256 over [`group_canonical`]: what the peer of one redundancy group must have, too.
#[must_use]
pub fn group_digest(config: &Config, group: u8) -> [u8; 32] {
    sum(&group_canonical(config, group))
}

fn sum(text: &str) -> [u8; 32] {
    let digest = sha256(&SHA256, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// The text over all service sets that are replicated, to whichever peer.
#[must_use]
pub fn canonical(config: &Config) -> String {
    text(config, |_| true)
}

/// The text over the service sets that are replicated to the peer of one redundancy group.
#[must_use]
pub fn group_canonical(config: &Config, group: u8) -> String {
    let sets: BTreeSet<u8> = config.redundancy.sets_of(group).map(|set| set.id).collect();
    text(config, |set| {
        set.redundancy_set.is_some_and(|id| sets.contains(&id))
    })
}

/// The parts of [`group_canonical`], each with a digest of its lines: a service set, a pool, a rule, a policy list; and beside
/// the text the cluster's number and name, and the static mappings in force of the replicated service sets, which may have been set at
/// run time.
#[must_use]
pub fn group_parts(config: &Config, group: u8, program: &Program, names: &NameRegistry) -> Vec<Part> {
    let text = group_canonical(config, group);
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    for line in text.lines() {
        let lines = parts.entry(part_of(line)).or_default();
        lines.push_str(line);
        lines.push('\n');
    }
    let part = |name: String, content: &str, beside| Part {
        name,
        digest: short_sum(content),
        beside,
    };
    let mut all: Vec<Part> = parts
        .into_iter()
        .map(|(name, lines)| part(name.to_owned(), &lines, false))
        .collect();
    // No session is otherwise by them: replication goes on.
    let cluster = &config.redundancy;
    let id = cluster.cluster_id.map(|id| id.to_string());
    let named = [("cluster-id", id), ("cluster-name", cluster.cluster_name.clone())];
    for (key, value) in named {
        all.extend(value.map(|value| part(format!("redundancy.{key}"), &value, true)));
    }
    for set in config.redundancy.sets_of(group) {
        for name in &set.service_sets {
            let Some(id) = names.service_set(name) else {
                continue;
            };
            let statics = program.statics.iter().filter(|mapping| mapping.service_set == id);
            all.extend(statics.map(|mapping| {
                let name = format!("static mapping {} of {}", mapping.name, name);
                // Ids and numbers are each chassis' own.
                let rest = (mapping.inside, &mapping.public, mapping.to_one, mapping.protocol);
                let ports = (mapping.inside_port, mapping.public_port, mapping.ports);
                let way = (mapping.inbound_only, &mapping.destination);
                part(name, &format!("{rest:?} {ports:?} {way:?}"), true)
            }));
        }
    }
    all
}

/// The key's first two parts: what it belongs to.
fn part_of(line: &str) -> &str {
    let key = line.split_once(" = ").map_or(line, |(key, _)| key);
    let (mut quoted, mut dots) = (false, 0);
    for (at, character) in key.char_indices() {
        quoted ^= character == '"';
        dots += u32::from(character == '.' && !quoted);
        if dots == 2 {
            return key.get(..at).unwrap_or(key);
        }
    }
    key
}

fn short_sum(content: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sum(content);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Lines that only one of two texts has, in order: `- ` before those of `ours`, `+ ` before those of `theirs`.
#[must_use]
pub fn differences(ours: &str, theirs: &str) -> Vec<String> {
    let lines = |text| -> BTreeSet<&str> { str::lines(text).collect() };
    let (ours, theirs) = (lines(ours), lines(theirs));
    let mut found: Vec<(&str, &str)> = ours.difference(&theirs).map(|line| (*line, "- ")).collect();
    found.extend(theirs.difference(&ours).map(|line| (*line, "+ ")));
    found.sort_by_key(|(line, sign)| (line.split(" = ").next(), std::cmp::Reverse(*sign)));
    found
        .into_iter()
        .map(|(line, sign)| format!("{sign}{line}"))
        .collect()
}

fn text(config: &Config, wanted: impl Fn(&ServiceSet) -> bool) -> String {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let replicated = |set: &&ServiceSet| set.replication_threshold_s.is_some() && wanted(set);
    for set in config.service_sets.iter().filter(replicated) {
        service_set(config, set, &mut lines);
    }
    // Both decide which shard a subscriber is of, and with it whose an extent of ports is.
    lines.insert("workers.shards".into(), config.workers.shards.to_string());
    let bits = config.shortest_subscriber_prefix().to_string();
    lines.insert("shortest subscriber-prefix-length".into(), bits);
    let mut text = format!("{VERSION}\n");
    for (key, value) in lines {
        // A String takes whatever it is given.
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// A service set and all it refers to.
fn service_set(config: &Config, set: &ServiceSet, lines: &mut BTreeMap<String, String>) {
    let path = join("service-sets", &set.name);
    take(config, &path, lines);
    for (array, name) in UNORDERED {
        by_name(&format!("{path}.{array}"), name, lines);
    }
    for rule in &set.nat_rules {
        take(config, &join("nat-rules", &rule.name), lines);
    }
    let pools = pools_of(set);
    for pool in config
        .pools
        .iter()
        .filter(|pool| pools.contains(pool.name.as_str()))
    {
        let path = join("pools", &pool.name);
        take(config, &path, lines);
        if pool.interface.is_some() {
            lines.insert(format!("{path}.addresses of its interface"), addresses(pool));
        }
    }
    let directions = set
        .firewall
        .iter()
        .flat_map(|firewall| [&firewall.outbound, &firewall.inbound]);
    for list in directions.flat_map(|direction| &direction.lists) {
        let path = join("firewall-policies", &list.name);
        take(config, &path, lines);
        for (at, policy) in list.policies.iter().enumerate() {
            let path = format!("{path}.policies[{at}].from");
            lines.retain(|key, _| !is_under(key, &path));
            lines.insert(path, matches(&policy.matches));
        }
    }
}

fn is_under(key: &str, path: &str) -> bool {
    key.strip_prefix(path)
        .is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// The values in force of all keys under `path`.
fn take(config: &Config, path: &str, lines: &mut BTreeMap<String, String>) {
    let from = config.effective().range(path.to_owned()..);
    for (key, value) in from.take_while(|(key, _)| key.starts_with(path)) {
        let last = key.rsplit('.').next().unwrap_or(key);
        if is_under(key, path) && !LEFT_OUT.contains(&last) {
            lines.insert(key.clone(), value.clone());
        }
    }
}

/// Elements of an array of tables get their names in place of their positions.
fn by_name(array: &str, name: &str, lines: &mut BTreeMap<String, String>) {
    let keys: Vec<String> = lines
        .keys()
        .filter(|key| key.starts_with(&format!("{array}[")))
        .cloned()
        .collect();
    let renamed = keys.iter().filter_map(|key| {
        let (position, rest) = key.get(array.len() + 1..)?.split_once(']')?;
        let name = lines.get(&format!("{array}[{position}].{name}"))?;
        Some((key.clone(), format!("{array}[{name}]{rest}")))
    });
    for (key, new) in renamed.collect::<Vec<_>>() {
        if let Some(value) = lines.remove(&key) {
            lines.insert(new, value);
        }
    }
}

fn addresses(pool: &Pool) -> String {
    let ranges: Vec<String> = pool.addresses.iter().map(|range| show_range(*range)).collect();
    ranges.join(", ")
}

/// What a policy matches, with address books and applications resolved.
fn matches(matches: &PolicyMatch) -> String {
    let addresses = |ranges: &[(u128, u128)]| -> String {
        let shown = |address: u128| Ipv6Addr::from_bits(address).to_canonical().to_string();
        let ranges = ranges
            .iter()
            .map(|(first, last)| format!("{}-{}", shown(*first), shown(*last)));
        ranges.collect::<Vec<_>>().join(", ")
    };
    let applications: Vec<String> = matches.applications.iter().map(application).collect();
    format!(
        "[{}] to [{}] of [{}]",
        addresses(&matches.sources),
        addresses(&matches.destinations),
        applications.join(", ")
    )
}

fn application(one: &Application) -> String {
    let protocol = one.protocol.map_or("any".into(), |protocol| protocol.to_string());
    let ((a, b), (c, d)) = (one.source_ports, one.destination_ports);
    format!("{protocol}:{a}-{b}>{c}-{d}")
}
