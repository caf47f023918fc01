//! What all tests of the engine stand on: programs from a small set of words, a toy router, packets, and a world of one or
//! several workers under virtual time.

pub mod any;
pub mod batch;
pub mod packets;
pub mod packets6;
pub mod plan;
pub mod router;
pub mod translated;
pub mod world;

/// An IPv4 address from its four octets, as everything here writes them.
pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// Subscribers of service set 1.
pub const IN1: u32 = ip(10, 0, 0, 1);
/// Another.
pub const IN2: u32 = ip(10, 0, 0, 2);
/// A host outside.
pub const OUT1: u32 = ip(198, 51, 100, 1);
/// Another.
pub const OUT2: u32 = ip(198, 51, 100, 2);
/// A router outside nobody ever sent to.
pub const OUT_ROUTER: u32 = ip(198, 51, 100, 254);
/// First address of pool 1.
pub const POOL: u32 = ip(203, 0, 113, 0);
/// First address of pool 2.
pub const POOL2: u32 = ip(203, 0, 114, 0);
/// An address of this box that no pool has.
pub const BOX: u32 = ip(192, 0, 2, 1);
/// A host outside behind a link with a small MTU.
pub const OUT_SMALL_MTU: u32 = ip(198, 51, 101, 1);
/// A destination without a route.
pub const NO_ROUTE: u32 = ip(198, 18, 0, 1);
/// A destination that is routed back inside.
pub const INSIDE_SERVER: u32 = ip(10, 255, 0, 1);

/// An IPv6 address in the inside's prefix, `2001:db8::/48`: host `host` of subnet `subnet`.
pub const fn in6(subnet: u16, host: u64) -> u128 {
    0x2001_0db8 << 96 | (subnet as u128) << 64 | host as u128
}

/// An IPv6 address outside, in `2001:db8:1::/48`.
pub const fn out6(host: u64) -> u128 {
    0x2001_0db8_0001 << 80 | host as u128
}

/// A host of an IPv6 subscriber.
pub const HOST1: u128 = in6(1, 1);
/// Another host of the same /64.
pub const HOST1B: u128 = in6(1, 2);
/// A host of another /64 in the same /56.
pub const HOST2: u128 = in6(2, 1);
/// A host of another /56.
pub const HOST3: u128 = in6(0x101, 1);
/// A host behind a link with the smallest MTU of IPv6.
pub const HOST_SMALL_MTU: u128 = in6(0xff00, 1);
/// A router inside.
pub const ROUTER6: u128 = in6(9, 9);
/// The NAT64 prefix of most tests, 2001:db8:64::/96.
pub const PREF64: u128 = 0x2001_0db8_0064 << 80;
/// A host outside behind a link with an MTU below what IPv6 knows.
pub const OUT_TINY_MTU: u32 = ip(198, 51, 102, 1);

/// An IPv4 address in [`PREF64`].
pub const fn in64(v4: u32) -> u128 {
    PREF64 | v4 as u128
}
