//! `[service-sets.NAME.siit]` and `[[service-sets.NAME.nptv6]]`: translation without sessions.

use std::collections::HashMap;

use tandem_engine::program::Stateless;
use tandem_wire::npt::Nptv6;
use tandem_wire::rfc6052::Prefix64;
use tandem_wire::siit::{Eam, Siit};
use tandem_wire::{Ipv4Prefix, Ipv6Prefix};

use super::addresses;
use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, quoted};
use super::section::{Item, Section};
use super::values;

/// Stateless translation as the file has it; what is wrong by itself is left out.
pub(super) struct Raw {
    pub stateless: Vec<Stateless>,
    /// The prefix of `siit`.
    pub prefix: Option<Item<Prefix64>>,
    /// Explicit mappings, by key path.
    pub eams: Vec<Item<Eam>>,
    /// Prefix pairs, by key path.
    pub pairs: Vec<Item<Nptv6>>,
    /// Key path of `siit`, if it is there.
    pub siit: Option<String>,
    /// Key path of the first `nptv6`, if there is one.
    pub nptv6: Option<String>,
}

impl Raw {
    pub fn is_there(&self) -> bool {
        self.siit.is_some() || self.nptv6.is_some()
    }
}

/// Longest prefix that NPTv6 translates. RFC 6296 section 3.
const NPTV6_LENGTH_MAX: u8 = 64;

pub(super) fn decode(section: &mut Section<'_>) -> Raw {
    let siit = section.optional_table("siit");
    let nptv6 = section.array_of_tables("nptv6");
    let mut raw = Raw {
        stateless: Vec::new(),
        prefix: None,
        eams: Vec::new(),
        pairs: Vec::new(),
        siit: siit.as_ref().map(|section| section.path().to_owned()),
        nptv6: nptv6.first().map(|section| section.path().to_owned()),
    };
    if let Some(siit) = siit {
        raw.stateless
            .extend(decode_siit(siit, &mut raw.prefix, &mut raw.eams).map(Stateless::Siit));
    }
    raw.pairs = nptv6.into_iter().filter_map(decode_nptv6).collect();
    apart(&raw.pairs, section.diagnostics());
    raw.stateless
        .extend(raw.pairs.iter().map(|pair| Stateless::Nptv6(pair.value)));
    raw
}

fn decode_siit(
    mut section: Section<'_>,
    place: &mut Option<Item<Prefix64>>,
    eams: &mut Vec<Item<Eam>>,
) -> Option<Siit> {
    let prefix = section.parsed("prefix", "NAT64 prefix", "", addresses::nat64_prefix);
    let tables = section.array_of_tables("explicit-mappings");
    let d = section.diagnostics();
    if !section.has("prefix") && tables.is_empty() {
        let remedy = format!(
            "add prefix = \"64:ff9b:1::/96\", or [[{}.explicit-mappings]] with ipv4 and ipv6",
            section.path()
        );
        let problem = "nothing says which addresses become which";
        d.fault(FaultKind::Missing, section.path(), problem, remedy);
    }
    *place = prefix.map(|value| Item {
        path: section.path_of("prefix"),
        value,
    });
    let (mut ipv4s, mut ipv6s) = (HashMap::new(), HashMap::new());
    for mut table in tables {
        let v4 = table.parsed("ipv4", "IPv4 prefix", "", ipv4_prefix);
        let v6 = table.parsed("ipv6", "IPv6 prefix", "", routed_prefix);
        let path = table.path().to_owned();
        missing(&table, &[("ipv4", "192.0.2.0/28"), ("ipv6", "2001:db8::/124")]);
        table.finish();
        let (Some(v4), Some(v6)) = (v4, v6) else { continue };
        if 32 - v4.len() > 128 - v6.len() {
            let problem = format!("{v6} has fewer addresses than {v4}");
            let remedy = format!("use at most /{} (RFC 7757 section 3)", 96 + v4.len());
            d.fault(FaultKind::Conflict, &format!("{path}.ipv6"), problem, remedy);
            continue;
        }
        // One may lie in another, and the longest match decides; the same twice decides nothing.
        let first4 = ipv4s.entry(v4).or_insert_with(|| path.clone());
        let first6 = ipv6s.entry(v6).or_insert_with(|| path.clone());
        let mut once = true;
        for (key, first) in [("ipv4", &*first4), ("ipv6", &*first6)] {
            if *first != path {
                once = false;
                let problem = format!("stands in {first} (line {}) too", d.line(first));
                let remedy = "map each prefix once";
                d.fault(FaultKind::Conflict, &format!("{path}.{key}"), problem, remedy);
            }
        }
        if once {
            let value = Eam { v4, v6 };
            eams.push(Item { path, value });
        }
    }
    let mappings = eams.iter().map(|item| item.value).collect();
    let siit = Siit::new(mappings, prefix).map_err(|error| {
        let path = format!("{}.explicit-mappings", section.path());
        d.fault(FaultKind::Conflict, &path, error.to_string(), "remove some");
    });
    section.finish();
    siit.ok()
}

fn decode_nptv6(mut section: Section<'_>) -> Option<Item<Nptv6>> {
    let inside = section.parsed("inside", "IPv6 prefix", "", npt_prefix);
    let outside = section.parsed("outside", "IPv6 prefix", "", npt_prefix);
    missing(
        &section,
        &[("inside", "fd00:1::/48"), ("outside", "2001:db8:1::/48")],
    );
    let path = section.path().to_owned();
    let d = section.diagnostics();
    section.finish();
    let (inside, outside) = (inside?, outside?);
    let key = format!("{path}.outside");
    if inside.overlaps(&outside) {
        let problem = "overlaps the prefix inside";
        d.fault(FaultKind::Conflict, &key, problem, "use two prefixes that differ");
        return None;
    }
    match Nptv6::new(inside, outside) {
        Ok(value) => Some(Item { path, value }),
        Err(error) => {
            let problem = format!("{outside} does not go with {inside}: {error}");
            let remedy = format!("use a prefix length of {}", inside.len());
            d.fault(FaultKind::Conflict, &key, problem, remedy);
            None
        }
    }
}

/// Pairs of one service set share no address on either side.
fn apart(pairs: &[Item<Nptv6>], d: &Diagnostics) {
    for (at, pair) in pairs.iter().enumerate() {
        for other in &pairs[..at] {
            let twins = [
                ("inside", pair.value.inside().overlaps(&other.value.inside())),
                ("outside", pair.value.outside().overlaps(&other.value.outside())),
            ];
            for (key, _) in twins.into_iter().filter(|(_, overlap)| *overlap) {
                let problem = format!("overlaps that of {} (line {})", other.path, d.line(&other.path));
                let remedy = "translate each prefix once";
                d.fault(
                    FaultKind::Conflict,
                    &format!("{}.{key}", pair.path),
                    problem,
                    remedy,
                );
            }
        }
    }
}

fn missing(section: &Section<'_>, keys: &[(&str, &str)]) {
    for (key, example) in keys.iter().filter(|(key, _)| !section.has(key)) {
        section.diagnostics().fault(
            FaultKind::Missing,
            section.path(),
            format!("the mapping has no {key}"),
            format!("add {key} = \"{example}\""),
        );
    }
}

fn ipv4_prefix(text: &str) -> Result<Ipv4Prefix, Bad> {
    let range = values::ipv4_prefix(text)?;
    let bits = (range.last - range.first).count_ones() as u8;
    Ok(Ipv4Prefix::containing(range.first, 32 - bits))
}

/// An IPv6 prefix that has routed addresses only.
fn routed_prefix(text: &str) -> Result<Ipv6Prefix, Bad> {
    let prefix = addresses::ipv6_prefix(text)?;
    addresses::prefix(text).map(|_| prefix)
}

fn npt_prefix(text: &str) -> Result<Ipv6Prefix, Bad> {
    let prefix = routed_prefix(text)?;
    if (1..=NPTV6_LENGTH_MAX).contains(&prefix.len()) {
        return Ok(prefix);
    }
    Err(Bad::new(
        format!("{} is longer than 64 bits, or all of IPv6", quoted(text)),
        "use a prefix length of 1..=64 (RFC 6296 section 3)",
    ))
}
