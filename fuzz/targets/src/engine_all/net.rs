//! Where everything is: interfaces, addresses, routes.
//!
//! ```text
//!   set 1  inside 10.0/16, 2001:db8:1::/48   interface 1   NAPT44, NAT64, policies
//!   set 2  inside 10.1/16                    interface 3   whole addresses, a formula, static mappings, twice NAT
//!   set 3  inside 10.2/16, 2001:db8:3::/48   interface 4   SIIT with explicit mappings, or NPTv6: no sessions
//!   set 4  inside 10.3/16, 2001:db8:4::/48   interface 6   NAT64 by several prefixes, static bindings; or NPTv6 with policies
//!   outside                                  interface 2   all others; 192/8 and 2001:db8:f000::/36 are the kernel's,
//!                                                          172/8 and 2001:db8:e000::/36 nobody's
//! ```

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Route, RouteKind, Router};

/// The /24 of all public addresses.
pub const PUBLIC: u32 = 0xcb00_7100;
/// 2001:db8::/32, where all IPv6 addresses are but those in NAT64 prefixes.
pub const WIDE: u128 = 0x2001_0db8 << 96;

/// What of NPTv6 is outside: set 3 and set 4.
pub const NPT_OUTSIDE: [u128; 2] = [WIDE | 0xd3 << 80, WIDE | 0xd4 << 80];

/// Interfaces by service set; the outside is 2, and 5 is nobody's.
pub const INSIDE: [u16; 4] = [1, 3, 4, 6];
pub const OUTSIDE: u16 = 2;
pub const ALONE: u16 = 5;

pub struct Net {
    pub generation: u32,
}

/// Next hops 1 to 6 are interfaces.
const KERNEL: u16 = 8;
const NOBODY: u16 = 9;

impl Router for Net {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn route(&self, destination: u32, _hash: u32) -> Route {
        let next_hop = match destination.to_be_bytes() {
            [10, set @ 0..=3, ..] => INSIDE[usize::from(set)],
            [192, ..] => KERNEL,
            [172, ..] => NOBODY,
            _ => OUTSIDE,
        };
        Route {
            next_hop,
            kind: self.next_hop(next_hop),
        }
    }

    fn route6(&self, destination: u128, _hash: u32) -> Route {
        let next_hop = match (destination >> 96, (destination >> 80) as u16) {
            (0x2001_0db8, 1) => INSIDE[0],
            (0x2001_0db8, 3) => INSIDE[2],
            (0x2001_0db8, 4) => INSIDE[3],
            (0x2001_0db8, 0xf000..) => KERNEL,
            (0x2001_0db8, 0xe000..=0xefff) => NOBODY,
            _ => OUTSIDE,
        };
        Route {
            next_hop,
            kind: self.next_hop(next_hop),
        }
    }

    fn next_hop(&self, number: u16) -> RouteKind {
        match number {
            OUTSIDE => RouteKind::Forward {
                interface: OUTSIDE,
                mtu: 1400,
            },
            1..=6 => RouteKind::Forward {
                interface: number,
                mtu: 1500,
            },
            KERNEL => RouteKind::Kernel,
            _ => RouteKind::Drop(DropReason::NoRoute),
        }
    }
}

/// An inside host of a service set.
pub fn host4(set: usize, n: u8) -> u32 {
    0x0a00_0001 + ((set as u32) << 16) + u32::from(n % 12)
}

/// Likewise; hosts 4 n to 4 n + 3 are of one /64, and pairs of those of one /56.
pub fn host6(set: usize, n: u8) -> u128 {
    let net = u128::from(n / 4 % 3);
    WIDE | (set as u128 + 1) << 80 | net << 64 | (1 + u128::from(n % 4))
}
