//! `[[service-sets.NAME.static-mappings]]`: public addresses, or some of their ports, that always lead to the same inside.
//!
//! The same checks read a mapping from the file and one that is set at run time.

use tandem_engine::program::{AddressRange, DestinationMap, PortRange};

use super::addresses::{self, Addresses};
use super::fault::{Bad, FaultKind};
use super::names;
use super::section::Section;
use super::values;

/// A static mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMapping {
    /// Its name, for views and logs.
    pub name: String,
    /// Inside addresses: as many as public ones, or one.
    pub inside: Addresses,
    /// Public addresses.
    pub public: AddressRange,
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// Its ports; `None`: all, unchanged.
    pub ports: Option<StaticPorts>,
    /// Sessions from inside do not use it.
    pub inbound_only: bool,
    /// Twice NAT: what becomes of destinations.
    pub destination: Option<DestinationMap>,
}

/// Ports of a static mapping, as many inside as public ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticPorts {
    /// Inside ports.
    pub inside: PortRange,
    /// Public ports.
    pub public: PortRange,
}

impl StaticMapping {
    /// Whether several public addresses lead to one inside address.
    #[must_use]
    pub fn to_one(&self) -> bool {
        self.inside.span() == 0 && self.public.first != self.public.last
    }
}

/// A static mapping as texts, as the file or an operator gives it.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaticText<'t> {
    /// Address, prefix or range, IPv4 or IPv6.
    pub inside: &'t str,
    /// Address, prefix or range, IPv4.
    pub public: &'t str,
    /// Protocol name or number; with ports.
    pub protocol: Option<&'t str>,
    /// Port or ports inside; unset, they are the public ones.
    pub inside_ports: Option<&'t str>,
    /// Port or ports outside.
    pub public_ports: Option<&'t str>,
    /// Sessions from inside do not use it.
    pub inbound_only: bool,
}

/// Why a static mapping cannot be: the key it is about, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {remedy}")]
pub struct StaticFault {
    /// `inside`, `public`, `protocol`, `inside-ports`, `public-ports` or `inbound-only`.
    pub key: &'static str,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

impl StaticFault {
    fn new(key: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            key,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// The parts of a mapping, each right by itself.
struct Parts {
    inside: Addresses,
    public: AddressRange,
    protocol: Option<u8>,
    inside_ports: Option<PortRange>,
    public_ports: Option<PortRange>,
    inbound_only: bool,
}

impl StaticMapping {
    /// Reads a mapping, as for one that is set at run time.
    ///
    /// # Errors
    /// The first [`StaticFault`].
    pub fn parse(name: &str, text: &StaticText<'_>) -> Result<Self, StaticFault> {
        let bad = |key| move |bad: Bad| StaticFault::new(key, bad.problem, bad.remedy);
        names::name(name).map_err(bad("name"))?;
        let ports = |key, text: Option<&str>| text.map(values::port_range).transpose().map_err(bad(key));
        let parts = Parts {
            inside: inside(text.inside).map_err(bad("inside"))?,
            public: public(text.public).map_err(bad("public"))?,
            protocol: text
                .protocol
                .map(values::protocol)
                .transpose()
                .map_err(bad("protocol"))?,
            inside_ports: ports("inside-ports", text.inside_ports)?,
            public_ports: ports("public-ports", text.public_ports)?,
            inbound_only: text.inbound_only,
        };
        Self::of(name, &parts)
    }

    /// Puts parts together.
    fn of(name: &str, parts: &Parts) -> Result<Self, StaticFault> {
        let ports = match (parts.inside_ports, parts.public_ports) {
            (None, None) => None,
            (Some(_), None) => {
                let problem = "inside ports without public ones";
                return Err(StaticFault::new("inside-ports", problem, "add public-ports"));
            }
            (inside, Some(public)) => {
                let inside = inside.unwrap_or(public);
                if inside.last - inside.first != public.last - public.first {
                    let problem = format!(
                        "{} inside ports stand against {} public ones",
                        inside.last - inside.first + 1,
                        public.last - public.first + 1
                    );
                    let remedy = "use as many inside as public ports";
                    return Err(StaticFault::new("inside-ports", problem, remedy));
                }
                Some(StaticPorts { inside, public })
            }
        };
        if ports.is_some() && !parts.protocol.is_some_and(|p| [6, 17, 132].contains(&p)) {
            let problem = "public-ports belong to a protocol that has ports";
            let remedy = "add protocol = \"tcp\", \"udp\" or \"sctp\"";
            return Err(StaticFault::new("public-ports", problem, remedy));
        }
        let mapping = Self {
            name: name.to_owned(),
            inside: parts.inside,
            public: parts.public,
            protocol: parts.protocol.unwrap_or(0),
            ports,
            inbound_only: parts.inbound_only,
            destination: None,
        };
        let publics = u128::from(parts.public.last - parts.public.first);
        if mapping.inside.span() != publics && !mapping.to_one() {
            let problem = format!(
                "{} addresses stand against {} public ones",
                mapping.inside.span().saturating_add(1),
                publics + 1
            );
            let remedy = "use as many inside as public addresses, or one inside address";
            return Err(StaticFault::new("inside", problem, remedy));
        }
        if mapping.to_one() && !mapping.inbound_only {
            let problem =
                "several public addresses lead to one inside address, which can have only one when it sends";
            return Err(StaticFault::new("public", problem, "add inbound-only = true"));
        }
        Ok(mapping)
    }
}

fn inside(text: &str) -> Result<Addresses, Bad> {
    addresses::any_form(text)
}

fn public(text: &str) -> Result<AddressRange, Bad> {
    match addresses::any_form(text)? {
        Addresses::V4(range) => values::usable_as_public(range),
        Addresses::V6(_) => Err(Bad::new(
            format!("{text:?} is not IPv4"),
            "use public IPv4 addresses; between IPv6 prefixes see nptv6",
        )),
    }
}

/// A mapping as the file has it; `mapping` only if all of it is right.
pub(super) struct Raw {
    pub path: String,
    pub mapping: Option<StaticMapping>,
}

pub(super) fn decode(mut section: Section<'_>) -> Raw {
    const ANY_FORM: &str = "IPv4 or IPv6 address, prefix or range";
    let path = section.path().to_owned();
    let d = section.diagnostics();
    let name = section.parsed("name", "name", "", names::name_value);
    let inside = section.parsed("inside", ANY_FORM, "", inside);
    let public = section.parsed("public", "IPv4 address, prefix or range", "", public);
    let protocol = section.parsed_or_number("protocol", "IP protocol", values::protocol);
    let inside_ports = section.parsed_or_number("inside-ports", "port or port range", values::port_range);
    let public_ports = section.parsed_or_number("public-ports", "port or port range", values::port_range);
    let inbound_only = section.boolean("inbound-only", false);
    for (key, example) in [
        ("name", "name = \"...\""),
        ("inside", "inside = \"10.0.0.5\""),
        ("public", "public = \"203.0.113.5\""),
    ] {
        if !section.has(key) {
            let problem = format!("the static mapping has no {key}");
            d.fault(FaultKind::Missing, &path, problem, format!("add {example}"));
        }
    }
    // What is written wrongly was told already, and says nothing about the rest.
    let all_read = [
        ("protocol", protocol.is_none()),
        ("inside-ports", inside_ports.is_none()),
        ("public-ports", public_ports.is_none()),
    ]
    .iter()
    .all(|(key, none)| !(section.has(key) && *none));
    let mapping = match (name, inside, public) {
        (Some(name), Some(inside), Some(public)) if all_read => {
            let parts = Parts {
                inside,
                public,
                protocol,
                inside_ports,
                public_ports,
                inbound_only,
            };
            StaticMapping::of(&name, &parts)
                .map_err(|fault| {
                    d.fault(
                        FaultKind::Conflict,
                        &section.path_of(fault.key),
                        fault.problem,
                        fault.remedy,
                    );
                })
                .ok()
        }
        _ => None,
    };
    section.finish();
    Raw { path, mapping }
}
