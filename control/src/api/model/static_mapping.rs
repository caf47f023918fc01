//! Static mappings: those of the file, and those that were set through the API.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use tandem_engine::address;
use tandem_engine::program::{self, AddressRange};
use utoipa::ToSchema;

use super::names::static_translation;
use super::{Names, protocol_name};
use crate::config;

/// A static mapping that is to be set; written as one in `[[service-sets.NAME.static-mappings]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewStaticMapping {
    /// Service set.
    pub service_set: String,
    /// Its name, which no other static mapping of the service set has.
    pub name: String,
    /// Inside address, prefix or range, IPv4 or IPv6.
    #[schema(example = "10.0.0.5")]
    pub inside: String,
    /// Public address, prefix or range, IPv4.
    #[schema(example = "203.0.113.5")]
    pub public: String,
    /// Protocol, by name or number; with ports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub protocol: Option<String>,
    /// Port or ports inside; the public ones when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inside_ports: Option<String>,
    /// Port or ports outside; the whole address when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "8000-8009")]
    pub public_ports: Option<String>,
    /// Sessions from inside do not use it.
    #[serde(default)]
    pub inbound_only: bool,
}

impl NewStaticMapping {
    /// The mapping it asks for.
    ///
    /// # Errors
    /// What is wrong with it by itself.
    pub fn read(&self) -> Result<config::RuntimeStatic, config::StaticFault> {
        let text = config::StaticText {
            inside: &self.inside,
            public: &self.public,
            protocol: self.protocol.as_deref(),
            inside_ports: self.inside_ports.as_deref(),
            public_ports: self.public_ports.as_deref(),
            inbound_only: self.inbound_only,
        };
        Ok(config::RuntimeStatic {
            service_set: self.service_set.clone(),
            mapping: config::StaticMapping::parse(&self.name, &text)?,
        })
    }
}

/// A static mapping in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StaticMapping {
    /// Service set.
    pub service_set: Option<String>,
    /// Its name; of one that a NAT term makes `rule/term`.
    pub name: String,
    /// `config`: of the file; `api`: set at run time.
    pub origin: String,
    /// What it is, in the words of the configuration: `basic-nat44`, `dnat-44`, `twice-basic-nat-44`; `static-nat64`.
    pub translation_type: String,
    /// Inside address or addresses.
    pub inside: String,
    /// Public address or addresses, as many as inside, or several for the one inside.
    pub public: String,
    /// Protocol; none is any.
    pub protocol: Option<String>,
    /// Ports inside; none is all.
    pub inside_ports: Option<String>,
    /// Public ports; none is all.
    pub public_ports: Option<String>,
    /// Sessions from inside do not use it.
    pub inbound_only: bool,
}

/// `first`, or `first-last`.
fn span<T: PartialEq + std::fmt::Display>(first: T, last: T) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

/// First and last inside address of a mapping, IPv4 under `::ffff:0:0/96`.
#[must_use]
pub fn inside_range(mapping: &program::StaticMapping) -> (u128, u128) {
    let AddressRange { first, last } = mapping.public;
    let others = if mapping.to_one {
        0
    } else {
        last.saturating_sub(first)
    };
    (mapping.inside, mapping.inside.saturating_add(u128::from(others)))
}

impl StaticMapping {
    /// From the program's.
    #[must_use]
    pub fn new(mapping: &program::StaticMapping, names: &Names, of_api: bool) -> Self {
        let (first, last) = inside_range(mapping);
        let show = |address: u128| -> IpAddr { address::show(address) };
        let ports =
            |first: u16| (mapping.ports != 0).then(|| span(first, first.saturating_add(mapping.ports - 1)));
        Self {
            service_set: names.service_set(mapping.service_set),
            name: mapping.name.clone(),
            origin: if of_api { "api" } else { "config" }.to_owned(),
            translation_type: static_translation(mapping).to_owned(),
            inside: span(show(first), show(last)),
            public: span(
                Ipv4Addr::from_bits(mapping.public.first),
                Ipv4Addr::from_bits(mapping.public.last),
            ),
            protocol: (mapping.protocol != 0).then(|| protocol_name(mapping.protocol)),
            inside_ports: ports(mapping.inside_port),
            public_ports: ports(mapping.public_port),
            inbound_only: mapping.inbound_only,
        }
    }
}

/// A change of the running configuration that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Committed {
    /// Generation that runs after it.
    pub generation: u32,
    /// It is kept across restarts; without a state directory it ends with the process.
    pub kept: bool,
}
