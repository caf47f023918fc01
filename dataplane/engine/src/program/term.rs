//! NAT terms: what they match, what they do, and who may use the mappings they make.

use super::translation::{AddressRange6, DestinationMap};
use super::{AddressRange, PoolId, PortRange};

/// One NAT term: a match and an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatTerm {
    /// Rule and term name, `rule/term`, for views and logs.
    pub name: String,
    /// Number of the term in the service set's first-to-last order, 0..=65534; counters are kept by it.
    pub number: u16,
    /// What it matches.
    pub matches: TermMatch,
    /// What it does.
    pub action: NatAction,
    /// Twice NAT: the destination is translated, too; the match sees the one before.
    pub destination: Option<DestinationMap>,
}

/// The match of a term. An empty list matches everything; between lists all must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermMatch {
    /// Inside source addresses, IPv4.
    pub sources: Vec<AddressRange>,
    /// Inside source addresses, IPv6.
    pub sources6: Vec<AddressRange6>,
    /// Destination addresses.
    pub destinations: Vec<AddressRange>,
    /// Destination ports (TCP and UDP only; a term with ports never matches other protocols).
    pub destination_ports: Vec<PortRange>,
    /// IP protocol numbers.
    pub protocols: Vec<u8>,
}

/// The action of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatAction {
    /// Forward untranslated, without a session. RFC 6888 REQ-6.
    NoTranslation,
    /// Source NAT with port translation.
    Napt44 {
        /// From which pool.
        pool: PoolId,
        /// How mappings are shared.
        mapping: MappingType,
        /// Who may use a mapping from outside.
        filtering: FilteringType,
    },
    /// Stateful NAT64: source NAT with port translation of IPv6 sources, for destinations in a NAT64 prefix. RFC 6146. The
    /// term's destinations are the IPv4 ones.
    Nat64 {
        /// From which pool.
        pool: PoolId,
        /// How mappings are shared.
        mapping: MappingType,
        /// Who may use a mapping from outside.
        filtering: FilteringType,
    },
    /// Source NAT of the address only: a subscriber has a public address for itself and keeps its ports.
    Dynamic44 {
        /// From which pool; its mode is [`PoolMode::Addresses`](super::PoolMode::Addresses).
        pool: PoolId,
        /// Who may use the address from outside.
        filtering: FilteringType,
    },
    /// Only the destination is translated (by [`NatTerm::destination`]); the source stays.
    DestinationOnly,
}

impl NatAction {
    /// The pool it takes from, if any.
    #[must_use]
    pub const fn pool(&self) -> Option<PoolId> {
        match self {
            Self::Napt44 { pool, .. } | Self::Nat64 { pool, .. } | Self::Dynamic44 { pool, .. } => {
                Some(*pool)
            }
            Self::NoTranslation | Self::DestinationOnly => None,
        }
    }
}

/// RFC 4787 section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingType {
    /// One mapping per inside address and port, whatever the destination. RFC 4787 REQ-1.
    EndpointIndependent,
    /// One public port per session.
    AddressAndPortDependent,
}

/// RFC 4787 section 5. The last two also apply to endpoint-independent mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilteringType {
    /// Anyone may send to a mapping.
    EndpointIndependent,
    /// Only addresses the mapping has sent to.
    AddressDependent,
    /// Only address and port pairs the mapping has sent to.
    AddressAndPortDependent,
}
