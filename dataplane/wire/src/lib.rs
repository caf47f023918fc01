//! Packet headers: checked parsing, in-place rewriting, checksums.
//!
//! A view (`Ipv4`, `Tcp`, `Udp`, ...) is made once by `new_checked`, which looks at every length the header
//! claims; its accessors afterwards read a fixed-size array and can neither fail nor panic. Addresses of IPv4
//! are `u32` and of IPv6 `u128`, both in host order, as are ports and all other numbers; only the bytes of a
//! packet are in network order. [`l4::parse_ipv4`] is the one call the fast path makes per packet, and
//! [`rewrite::rewrite_ipv4`] the one that translates it; for IPv6 [`parse6::parse_ipv6`] and [`rewrite6::rewrite_ipv6`].
//!
//! Nothing here allocates (outside tests), logs, locks or reads a clock, and no input makes it panic.
#![forbid(unsafe_code)]

pub mod build;
pub mod checksum;
pub mod error;
pub mod ethernet;
mod field;
pub mod forwarded;
pub mod fragment;
pub mod icmp;
pub mod icmp6;
pub mod icmp6_error;
pub mod icmp_error;
pub mod ipv4;
pub mod ipv6;
pub mod l4;
pub mod meta6;
pub mod npt;
pub mod packet;
pub mod parse6;
pub mod prefix;
pub mod rewrite;
pub mod rewrite6;
pub mod rfc6052;
pub mod siit;
pub mod tcp;
pub mod udp;
pub mod xlat;

pub use checksum::Delta;
pub use error::ParseError;
pub use ethernet::Mac;
pub use ipv4::{Ipv4, Ipv4Mut};
pub use ipv6::{Ipv6, Ipv6Mut};
pub use l4::{Fragment, Ipv4Meta, L4, parse_ipv4};
pub use meta6::Ipv6Meta;
pub use packet::Packet;
pub use parse6::{parse_ipv6, parse_plain_ipv6};
pub use prefix::{Ipv4Prefix, Ipv4Range, Ipv6Prefix};
