//! Translation of packets between IPv4 and IPv6 (RFC 7915), in place: headers are replaced, checksums move along.
//!
//! ```text
//!   IPv6 40 | extension headers | L4 ...       <->       IPv4 20 | L4 ...
//! ```
//! [`plain`] is the fast way, for whole TCP and UDP packets without extension headers and options.
//!
//! Addresses come from the caller (sessions, or [`crate::siit`]); so do decisions about time to live and MTU: here the
//! hop limit or time to live is taken one off, and whoever calls has seen that it is above 1.

pub mod plain;

pub use plain::{four_to_six_plain, six_to_four_plain};

/// The addresses and ports an IPv6 packet shall have, in host order; what stays is given as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints6 {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port; of an echo its identifier.
    pub sport: u16,
    /// Destination port; of an echo not looked at.
    pub dport: u16,
}

#[cfg(test)]
mod testing;
