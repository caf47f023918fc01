//! IPv6-to-IPv6 network prefix translation (RFC 6296): one prefix becomes another, and no checksum changes.

use crate::prefix::Ipv6Prefix;

/// A pair of prefixes of the same length, at most 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nptv6 {
    inside: Ipv6Prefix,
    outside: Ipv6Prefix,
}
