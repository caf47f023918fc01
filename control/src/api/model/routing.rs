//! Routes and neighbours as the dataplane has them: what the kernel told and the workers use.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Mac;

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteAction {
    /// To one of its next hops.
    Forward,
    /// To the kernel mirror: the address is the box's own.
    Local,
    /// Dropped silently.
    Blackhole,
    /// Dropped, the sender is told "unreachable".
    Unreachable,
    /// Dropped, the sender is told "prohibited".
    Prohibit,
}

impl RouteAction {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Local => "local",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }
}

/// One way on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NextHop {
    /// Address of the gateway; none when the destination is on the link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// Interface it leaves by.
    pub interface: String,
    /// Share among the next hops of the route. 1..=256.
    pub weight: u16,
    /// Whether it can be used now (its interface is up).
    pub usable: bool,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Route {
    /// Destination.
    #[schema(value_type = String, example = "192.0.2.0/24")]
    pub prefix: IpNet,
    /// What it does.
    pub action: RouteAction,
    /// Next hops; empty unless it forwards.
    pub next_hops: Vec<NextHop>,
}

/// Which routes are wanted. `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteQuery {
    /// Exactly this prefix.
    pub prefix: Option<IpNet>,
    /// Routes that cover this address, the one that is used last.
    pub covers: Option<IpAddr>,
    /// Routes with a next hop by this interface.
    pub interface: Option<String>,
    /// Only routes behind this one, in the order of [`RouteRows::routes`].
    pub after: Option<IpNet>,
    /// At most this many. 1..=10000.
    pub limit: usize,
}

impl RouteQuery {
    /// Whether `route` is wanted, `limit` aside.
    #[must_use]
    pub fn matches(&self, route: &Route) -> bool {
        self.prefix.is_none_or(|p| p == route.prefix)
            && self.covers.is_none_or(|a| route.prefix.contains(&a))
            && self
                .interface
                .as_ref()
                .is_none_or(|i| route.next_hops.iter().any(|n| n.interface == *i))
            && self.after.is_none_or(|p| p < route.prefix)
    }
}

/// Routes that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRows {
    /// The routes in the order of `IpNet`: IPv4 first, then by address, then shorter prefixes first.
    pub routes: Vec<Route>,
    /// There are more behind the last one.
    pub more: bool,
    /// Routes in the table, whatever the filter.
    pub total: u64,
}

/// State of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NeighbourState {
    /// Its Ethernet address is known.
    Resolved,
    /// It has been asked for.
    Resolving,
    /// It did not answer.
    Failed,
}

impl NeighbourState {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Resolving => "resolving",
            Self::Failed => "failed",
        }
    }
}

/// One neighbour on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Neighbour {
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The interface it is behind.
    pub interface: String,
    /// Its Ethernet address, when known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub mac: Option<Mac>,
    /// State.
    pub state: NeighbourState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_query_matches_by_every_field_it_has() {
        let hop = NextHop {
            gateway: None,
            interface: "wan".to_owned(),
            weight: 1,
            usable: true,
        };
        let route = Route {
            prefix: "192.0.2.0/24".parse().expect("a prefix"),
            action: RouteAction::Forward,
            next_hops: vec![hop],
        };
        let any = RouteQuery {
            limit: 1,
            ..RouteQuery::default()
        };
        assert!(any.matches(&route));
        assert!(
            RouteQuery {
                covers: "192.0.2.9".parse().ok(),
                ..any.clone()
            }
            .matches(&route)
        );
        assert!(
            !RouteQuery {
                covers: "192.0.3.9".parse().ok(),
                ..any.clone()
            }
            .matches(&route)
        );
        assert!(
            !RouteQuery {
                covers: "2001:db8::1".parse().ok(),
                ..any.clone()
            }
            .matches(&route)
        );
        assert!(
            !RouteQuery {
                prefix: "192.0.2.0/25".parse().ok(),
                ..any.clone()
            }
            .matches(&route)
        );
        assert!(
            !RouteQuery {
                interface: Some("lan".to_owned()),
                ..any.clone()
            }
            .matches(&route)
        );
        assert!(
            RouteQuery {
                after: "192.0.2.0/23".parse().ok(),
                ..any.clone()
            }
            .matches(&route)
        );
        assert!(
            !RouteQuery {
                after: Some(route.prefix),
                ..any
            }
            .matches(&route)
        );
    }
}
