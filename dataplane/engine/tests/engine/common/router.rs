//! A toy router: prefixes in a list, the longest match wins.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Route, RouteKind, Router};

use super::ip;
use super::plan::{INSIDE, OUTSIDE};

/// Prefix, length and what it says; the position is the next-hop number.
#[derive(Clone, Debug)]
pub struct Net {
    routes: Vec<(u32, u8, RouteKind)>,
    routes6: Vec<(u128, u8, RouteKind)>,
}

const fn via(interface: u16, mtu: u16) -> RouteKind {
    RouteKind::Forward { interface, mtu }
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Net {
    /// The network all tests run in.
    pub fn new() -> Self {
        let routes = vec![
            (0, 0, via(OUTSIDE, 1500)),
            (ip(10, 0, 0, 0), 8, via(INSIDE, 1500)),
            (ip(192, 0, 2, 1), 32, RouteKind::Kernel),
            (ip(198, 51, 101, 0), 24, via(OUTSIDE, 1280)),
            (ip(198, 18, 0, 0), 24, RouteKind::Drop(DropReason::NoRoute)),
            (
                ip(198, 18, 1, 0),
                24,
                RouteKind::Drop(DropReason::RouteProhibited),
            ),
            (ip(198, 18, 2, 0), 24, RouteKind::Drop(DropReason::RouteBlackhole)),
            (
                ip(198, 18, 3, 0),
                24,
                RouteKind::Drop(DropReason::RouteUnreachable),
            ),
            (ip(198, 51, 102, 0), 24, via(OUTSIDE, 1000)),
        ];
        let site = 0x2001_0db8 << 96;
        let routes6 = vec![
            (0, 0, via(OUTSIDE, 1500)),
            (site, 48, via(INSIDE, 1500)),
            (site | 0xff << 64 | 1, 128, RouteKind::Kernel),
            (0x2001_0db8_00ff_u128 << 80, 48, via(OUTSIDE, 1280)),
            (
                0x2001_0db8_00fe_u128 << 80,
                48,
                RouteKind::Drop(DropReason::NoRoute),
            ),
            (site | 0xff00 << 64, 56, via(INSIDE, 1280)),
        ];
        Self { routes, routes6 }
    }
}

impl Router for Net {
    fn generation(&self) -> u32 {
        1
    }

    fn route(&self, destination: u32, _hash: u32) -> Route {
        let (next_hop, (_, _, kind)) = self
            .routes
            .iter()
            .enumerate()
            .filter(|(_, (prefix, length, _))| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
                destination & mask == *prefix
            })
            .max_by_key(|(at, (_, length, _))| (*length, *at))
            .expect("the default route matches everything");
        Route {
            next_hop: next_hop as u16,
            kind: *kind,
        }
    }

    fn route6(&self, destination: u128, _hash: u32) -> Route {
        let (next_hop, (_, _, kind)) = self
            .routes6
            .iter()
            .enumerate()
            .filter(|(_, (prefix, length, _))| {
                let mask = u128::MAX.checked_shl(128 - u32::from(*length)).unwrap_or(0);
                destination & mask == *prefix
            })
            .max_by_key(|(at, (_, length, _))| (*length, *at))
            .expect("the default route matches everything");
        Route {
            next_hop: (self.routes.len() + next_hop) as u16,
            kind: *kind,
        }
    }

    fn next_hop(&self, number: u16) -> RouteKind {
        let at = usize::from(number);
        match at.checked_sub(self.routes.len()) {
            None => self.routes[at].2,
            Some(at) => self.routes6[at].2,
        }
    }
}
