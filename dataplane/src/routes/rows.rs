//! Routes and the room for them, as they are shown to people.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;

use super::{Action, RouteWriter};

/// A row for the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// Network.
    pub network: IpAddr,
    /// Prefix length.
    pub length: u8,
    /// What it does.
    pub action: Arc<Action>,
}

/// Groups of the IPv6 table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups6 {
    /// In use.
    pub used: usize,
    /// There are.
    pub total: usize,
}

impl RouteWriter {
    /// Routes behind `after`: IPv4 first, in order of network and length.
    pub fn routes(&self, after: Option<(IpAddr, u8)>) -> impl Iterator<Item = RouteRow> + '_ {
        let (from, from6) = match after {
            None => (Some(Bound::Unbounded), Bound::Unbounded),
            Some((IpAddr::V4(network), length)) => (
                Some(Bound::Excluded((network.to_bits(), length))),
                Bound::Unbounded,
            ),
            Some((IpAddr::V6(network), length)) => (None, Bound::Excluded((network.to_bits(), length))),
        };
        let row = |network, length, action: &Arc<Action>| RouteRow {
            network,
            length,
            action: Arc::clone(action),
        };
        let ipv4 = from
            .map(|from| self.routes.range((from, Bound::Unbounded)))
            .into_iter()
            .flatten()
            .map(move |((network, length), (action, _))| {
                row(Ipv4Addr::from_bits(*network).into(), *length, action)
            });
        let ipv6 =
            self.routes6
                .range((from6, Bound::Unbounded))
                .map(move |((network, length), (action, _))| {
                    row(Ipv6Addr::from_bits(*network).into(), *length, action)
                });
        ipv4.chain(ipv6)
    }

    /// How full the IPv6 table is.
    #[must_use]
    pub fn groups6(&self) -> Groups6 {
        Groups6 {
            used: self.lpm.used(),
            total: self.lpm.total(),
        }
    }

    /// Routes there are, of both families, those of the box itself included.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.routes.len() + self.routes6.len()
    }
}
