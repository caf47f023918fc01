//! Stateless translation of addresses between IPv4 and IPv6: explicit mappings (RFC 7757), else a prefix (RFC 6052).

use crate::prefix::{Ipv4Prefix, Ipv6Prefix};
use crate::rfc6052::Prefix64;

/// One explicit address mapping: both prefixes have as many host bits, and these are copied. RFC 7757 section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eam {
    /// IPv4 side.
    pub v4: Ipv4Prefix,
    /// IPv6 side.
    pub v6: Ipv6Prefix,
}

/// A stateless translator's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Siit {
    eams: Vec<Eam>,
    prefix: Option<Prefix64>,
}
