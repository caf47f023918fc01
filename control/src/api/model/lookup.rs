//! Who has a public address and port, and which public address and ports an inside address has.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an answer comes from, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A static mapping.
    Static,
    /// A mapping there is now.
    LiveMapping,
    /// A session there is now.
    LiveSession,
    /// A public address that is wholly in the subscriber's hands now.
    WholeAddress,
    /// A port block in the subscriber's hands now.
    PortBlock,
    /// The formula of a deterministic pool: always so while the configuration stays.
    DeterministicFormula,
    /// The formula of a translation without sessions: always so while the configuration stays.
    StatelessFormula,
    /// The subscriber is paired with the address now: its next ports come from there.
    PairedAddress,
    /// Nobody has it.
    Nobody,
}

impl Source {
    /// In words, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::LiveMapping => "live mapping",
            Self::LiveSession => "live session",
            Self::WholeAddress => "whole address",
            Self::PortBlock => "port block",
            Self::DeterministicFormula => "deterministic formula",
            Self::StatelessFormula => "stateless formula",
            Self::PairedAddress => "paired address",
            Self::Nobody => "nobody",
        }
    }
}

/// One answer: an inside and the public address and ports that are its.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// Where it comes from.
    pub source: Source,
    /// Service set.
    pub service_set: Option<String>,
    /// Pool.
    pub pool: Option<String>,
    /// Name of the static mapping.
    pub name: Option<String>,
    /// Protocol; none is any.
    pub protocol: Option<String>,
    /// Inside address, of an IPv6 subscriber its prefix.
    pub inside: String,
    /// Inside port or ICMP id; none where only the subscriber is known, or ports stay.
    pub inside_port: Option<u16>,
    /// Public address.
    #[schema(value_type = String)]
    pub public_address: IpAddr,
    /// First public port or ICMP id.
    pub first_port: u16,
    /// Last one, inclusive.
    pub last_port: u16,
}

/// The answer to a look-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Lookup {
    /// The surest source that answered; `nobody` when none did.
    pub source: Source,
    /// All answers, the surest first.
    pub rows: Vec<Holder>,
    /// There are more than are shown: of each source at most 100 are.
    pub more: bool,
}
