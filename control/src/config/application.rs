//! `[applications.NAME]` and `[application-sets.NAME]`: protocols and ports by name, for firewall policies.

use std::collections::BTreeMap;

use tandem_engine::program::PortRange;
use tandem_engine::program::policy::Application;

use super::application_builtin::{BUILT_IN, ICMP, ICMP_TYPES, ICMP6, ICMP6_TYPES, Part, SCTP, TCP, UDP};
use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, nearest, one_of, quoted, suggestion};
use super::names;
use super::section::{Item, Section};
use super::values;

const ALL: (u16, u16) = (0, u16::MAX);

/// Applications by name, built-in ones and sets included; each matches any of its parts.
pub(super) type Applications = BTreeMap<String, Vec<Application>>;

/// An application as the file has it, each key checked by itself.
pub(super) struct Raw {
    name: String,
    path: String,
    parts: Vec<Application>,
}

/// A set of applications as the file has it.
pub(super) struct RawSet {
    name: String,
    path: String,
    members: Vec<Item<String>>,
    /// Whether the file lists members, right or wrong.
    filled: bool,
}

/// What the parser is told to expect for `icmp-types`: a number, or a name that depends on the protocol.
enum IcmpType {
    Number(u8),
    Name(String),
}

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let path = section.path().to_owned();
    let protocol = section.parsed_or_number("protocol", "IP protocol", values::protocol);
    let source_ports = section.list("source-ports", "ports or port ranges", values::port_range);
    let destination_ports = section.list("destination-ports", "ports or port ranges", values::port_range);
    let types = section.list("icmp-types", "ICMP types", icmp_type);
    let codes = section.list("icmp-codes", "ICMP codes", octet);
    let d = section.diagnostics();
    if !section.has("protocol") {
        let remedy = "add protocol = \"tcp\", \"udp\", \"icmp\" or another";
        d.fault(
            FaultKind::Missing,
            &path,
            "the application has no protocol",
            remedy,
        );
    }
    let belongs = |key: &str, right: bool, whose: &str| {
        if section.has(key) && !right && protocol.is_some() {
            let problem = format!(
                "only {whose}, and {path}.protocol (line {}) is another",
                d.line(&format!("{path}.protocol"))
            );
            d.fault(
                FaultKind::Conflict,
                &section.path_of(key),
                problem,
                "remove one of the two",
            );
        }
    };
    let has_ports = protocol.is_some_and(|p| [TCP, UDP, SCTP].contains(&p));
    let is_icmp = protocol.is_some_and(|p| [ICMP, ICMP6].contains(&p));
    belongs("source-ports", has_ports, "TCP, UDP and SCTP have ports");
    belongs("destination-ports", has_ports, "TCP, UDP and SCTP have ports");
    belongs("icmp-types", is_icmp, "ICMP and ICMPv6 have types");
    belongs("icmp-codes", is_icmp, "ICMP and ICMPv6 have codes");
    if section.has("icmp-codes") && !section.has("icmp-types") && is_icmp {
        let problem = "a code means nothing without its type";
        d.fault(
            FaultKind::Missing,
            &section.path_of("icmp-codes"),
            problem,
            "add icmp-types",
        );
    }
    let parts = match protocol {
        Some(protocol) if is_icmp => icmp_parts(protocol, &types, &codes, d),
        Some(protocol) => port_parts(protocol, &source_ports, &destination_ports),
        None => Vec::new(),
    };
    section.finish();
    Raw { name, path, parts }
}

fn icmp_type(text: &str) -> Result<IcmpType, Bad> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        octet(text).map(IcmpType::Number)
    } else {
        Ok(IcmpType::Name(text.to_owned()))
    }
}

fn octet(text: &str) -> Result<u8, Bad> {
    text.parse::<u8>()
        .ok()
        .filter(|_| !text.starts_with('+'))
        .ok_or_else(|| {
            Bad::new(
                format!("{} is not an ICMP type or code", quoted(text)),
                "use 0..=255",
            )
        })
}

fn port_parts(
    protocol: u8,
    sources: &[Item<PortRange>],
    destinations: &[Item<PortRange>],
) -> Vec<Application> {
    let ranges = |items: &[Item<PortRange>]| -> Vec<(u16, u16)> {
        match items {
            [] => vec![ALL],
            items => items
                .iter()
                .map(|item| (item.value.first, item.value.last))
                .collect(),
        }
    };
    let destinations = ranges(destinations);
    let each = |source_ports| {
        destinations.iter().map(move |destination_ports| Application {
            protocol: Some(protocol),
            source_ports,
            destination_ports: *destination_ports,
        })
    };
    ranges(sources).into_iter().flat_map(each).collect()
}

fn icmp_parts(
    protocol: u8,
    types: &[Item<IcmpType>],
    codes: &[Item<u8>],
    d: &Diagnostics,
) -> Vec<Application> {
    let known = if protocol == ICMP { ICMP_TYPES } else { ICMP6_TYPES };
    let numbers = types.iter().filter_map(|item| match &item.value {
        IcmpType::Number(number) => Some(*number),
        IcmpType::Name(name) => {
            let found = known
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, number)| *number);
            if found.is_none() {
                let names = known.iter().map(|(name, _)| *name);
                let near = nearest(name, names.clone());
                let near = near.map_or(String::new(), |name| format!("did you mean \"{name}\"? "));
                let version = if protocol == ICMP { "ICMP" } else { "ICMPv6" };
                d.bad(
                    &item.path,
                    Bad::new(
                        format!("{} is not a type of {version}", quoted(name)),
                        format!("{near}use a number 0..=255 or one of {}", one_of(names)),
                    ),
                );
            }
            found
        }
    });
    let numbers: Vec<u16> = numbers.map(u16::from).collect();
    let part = |destination_ports| Application {
        protocol: Some(protocol),
        source_ports: ALL,
        destination_ports,
    };
    if types.is_empty() {
        return vec![part(ALL)];
    }
    let mut parts = Vec::new();
    for number in numbers {
        match codes {
            [] => parts.push(part((number << 8, number << 8 | 0xff))),
            codes => parts.extend(codes.iter().map(|code| {
                let both = number << 8 | u16::from(code.value);
                part((both, both))
            })),
        }
    }
    parts
}

pub(super) fn decode_set(name: String, mut section: Section<'_>) -> RawSet {
    let members = section.list("applications", "application names", names::reference);
    let raw = RawSet {
        name,
        path: section.path().to_owned(),
        members,
        filled: section.has("applications") && !section.is_empty_list("applications"),
    };
    section.finish();
    raw
}

/// The names of the built-in applications, sorted but for `any` and its like at the top.
pub fn built_in_applications() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The parts of a built-in application.
fn built_in(parts: &[Part]) -> Vec<Application> {
    let one = |part: &Part| match *part {
        Part::Any => Application::ANY,
        Part::Protocol(protocol) => Application {
            protocol: Some(protocol),
            ..Application::ANY
        },
        Part::Ports(protocol, first, last) => Application {
            protocol: Some(protocol),
            source_ports: ALL,
            destination_ports: (first, last),
        },
        Part::Icmp(protocol, kind) => Application {
            protocol: Some(protocol),
            source_ports: ALL,
            destination_ports: (u16::from(kind) << 8, u16::from(kind) << 8 | 0xff),
        },
    };
    parts.iter().map(one).collect()
}

/// Puts built-in applications, those of the file and sets together; a name means one thing.
pub(super) fn validate(raws: &[Raw], sets: &[RawSet], d: &Diagnostics) -> Applications {
    let mut known: Applications = BUILT_IN
        .iter()
        .map(|(name, parts)| ((*name).to_owned(), built_in(parts)))
        .collect();
    let mut places: BTreeMap<&str, &str> = BTreeMap::new();
    let taken = |name: &str, path: &str, first: Option<&&str>| {
        let problem = match first {
            Some(first) => format!("the name is that of {first} (line {}) too", d.line(first)),
            None => "the name is that of a built-in application".to_owned(),
        };
        d.fault(
            FaultKind::Conflict,
            path,
            problem,
            format!("use another name than \"{name}\""),
        );
    };
    for raw in raws {
        if known.contains_key(&raw.name) {
            taken(&raw.name, &raw.path, None);
            continue;
        }
        places.insert(&raw.name, &raw.path);
        known.insert(raw.name.clone(), raw.parts.clone());
    }
    let single = known.clone();
    for set in sets {
        if !set.filled {
            let remedy = "add applications = [\"http\", \"https\"]";
            d.fault(
                FaultKind::Missing,
                &set.path,
                "the set has no application",
                remedy,
            );
        }
        if known.contains_key(&set.name) {
            taken(&set.name, &set.path, places.get(set.name.as_str()));
            continue;
        }
        let mut parts = Vec::new();
        for member in &set.members {
            match single.get(&member.value) {
                Some(found) => parts.extend(found),
                None if sets.iter().any(|other| other.name == member.value) => d.fault(
                    FaultKind::BadValue,
                    &member.path,
                    format!("\"{}\" is a set itself", member.value),
                    "list its applications here",
                ),
                None => unknown(&member.path, &member.value, single.keys(), d),
            }
        }
        parts.sort_unstable();
        parts.dedup();
        known.insert(set.name.clone(), parts);
    }
    known
}

/// The fault of a name that no application has.
pub(super) fn unknown<'n>(
    path: &str,
    name: &str,
    names: impl Iterator<Item = &'n String> + Clone,
    d: &Diagnostics,
) {
    let problem = format!("there is no application \"{name}\"");
    d.fault(
        FaultKind::UnknownName,
        path,
        problem,
        suggestion(name, names.map(String::as_str)),
    );
}
