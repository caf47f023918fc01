//! The kernel's side of a route: what a message says, before it is known what the dataplane makes of it.

use std::net::IpAddr;

/// An IP prefix in host order, bits beyond the length zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prefix {
    /// IPv4 network and length (0 to 32).
    V4(u32, u8),
    /// IPv6 network and length (0 to 128).
    V6(u128, u8),
}

/// The tables that the kernel's default rules consult, in their order (`ip rule`: 0, 32766, 32767).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteTableId {
    /// Table 255: the box's own and broadcast addresses.
    Local,
    /// Table 254: what `ip route` and the routing daemons write.
    Main,
    /// Table 253: usually empty.
    Default,
}

/// One next hop as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// The device.
    pub ifindex: u32,
    /// The router; `None` for an on-link route.
    pub gateway: Option<IpAddr>,
    /// 1 to 256 for routes, to 65535 for group members.
    pub weight: u16,
}

/// A route's target that names no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Special {
    /// Local, anycast or broadcast address on a device.
    Local {
        /// The device that carries the address; the route goes when the device goes.
        ifindex: u32,
    },
    /// The kernel's own affair: multicast, encapsulation, a next-hop object of a kind not mirrored.
    Punt,
    /// RTN_BLACKHOLE.
    Blackhole,
    /// RTN_UNREACHABLE, and RTN_THROW (no further table follows).
    Unreachable,
    /// RTN_PROHIBIT.
    Prohibited,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// No next hop.
    Special(Special),
    /// Next hops of the route itself; not empty.
    Hops(Vec<Hop>),
    /// A next-hop object (`ip nexthop`), by its id.
    Object(u32),
}

/// A next-hop object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHopObject {
    /// One next hop.
    Hop(Hop),
    /// Drops.
    Blackhole,
    /// Members by id, with weights (1 to 65535). Resilient groups are treated as plain ones.
    Group(Vec<(u32, u16)>),
    /// An object the dataplane does not act on (encapsulation): the kernel forwards.
    Opaque,
}

/// One route of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRecord {
    /// Destination.
    pub prefix: Prefix,
    /// Its table.
    pub table: RouteTableId,
    /// Priority; the lowest wins.
    pub metric: u32,
    /// Where it leads.
    pub target: Target,
}

/// How a route came (the flags of RTM_NEWROUTE), which decides its place among routes of the same prefix and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Added; before its equals in IPv4, a sibling of them in IPv6.
    Create,
    /// Added behind its equals (NLM_F_APPEND).
    Append,
    /// Took the place of the first of its equals (NLM_F_REPLACE).
    Replace,
}

/// Whether a removal found its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Removed.
    Found,
    /// There was no such route: already purged, or the mirror is out of step.
    Unknown,
}

/// What matters of a device for routes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Administratively up. Routes over a device that is down do not exist.
    pub up: bool,
    /// Has a carrier. A next hop without one is used only when no sibling has one.
    pub carrier: bool,
    /// The dataplane's interface when the device is a tap of ours.
    pub interface: Option<crate::kernel::InterfaceId>,
}

impl LinkState {
    pub(super) fn usable(&self) -> bool {
        self.up && self.carrier
    }
}

impl Target {
    /// IPv6 routes that the kernel may join to one multipath route: every hop has a gateway.
    pub(super) fn is_gatewayed(&self) -> bool {
        matches!(self, Target::Hops(hops) if !hops.is_empty() && hops.iter().all(|hop| hop.gateway.is_some()))
    }
}
