//! Deterministic NAT (RFC 7422): each subscriber's ports follow from its address by a formula, and back.

/// The formula of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deterministic {
    /// Subscribers in order: first address of each range (IPv4 under `::ffff:0:0/96`) and how many subscribers it has.
    pub subscribers: Vec<(u128, u64)>,
    /// Bits of an address that make a subscriber: 128 for IPv4, 48..=64 or 128 for IPv6.
    pub prefix: u8,
    /// Ports of each subscriber.
    pub ports_each: u16,
}
