//! What the mirror tells the dataplane: abstract updates, free of netlink and of DPDK.
//!
//! Updates come in one ordered stream. Applying them in order to an empty FIB, adjacency table and link table gives
//! the kernel's view; each update is complete in itself (a route replaces the prefix's earlier action).

use std::net::IpAddr;
use std::sync::Arc;

/// The dataplane's number of an interface (a port, or one VLAN of it).
pub type InterfaceId = u16;

/// An Ethernet address, in the order of the wire.
pub type MacAddress = [u8; 6];

/// One way out for a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// The dataplane interface whose tap the kernel's route names.
    pub interface: InterfaceId,
    /// The router to send to. `None`: on-link, the packet's own destination is the neighbour. An IPv4 route may have
    /// an IPv6 gateway (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// The share of this next hop among its siblings, 1 to 65535.
    pub weight: u16,
}

/// What to do with a packet whose longest match is this route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteAction {
    /// The address is the box's own (or a broadcast or anycast address of it): hand it to the kernel.
    Local,
    /// The kernel forwards this one: the way out is no port of the dataplane, or needs an encapsulation.
    Punt,
    /// Drop without a word.
    Blackhole,
    /// Drop and answer with ICMP destination unreachable (host, or "no route" in IPv6).
    Unreachable,
    /// Drop and answer with ICMP communication administratively prohibited.
    Prohibited,
    /// Send through one of these, chosen by flow hash in proportion to the weights. Never empty.
    NextHops(Vec<NextHop>),
}

/// A change of the effective FIB.
///
/// Prefixes are in host byte order with all bits beyond the length zero. Actions are shared: routes with the same
/// action usually carry the same allocation, so that a consumer can intern by pointer first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FibUpdate {
    /// The IPv4 prefix now has this action.
    Route4 {
        /// Network address in host order, and length (0 to 32).
        prefix: (u32, u8),
        /// The action, replacing an earlier one.
        action: Arc<RouteAction>,
    },
    /// The IPv4 prefix has no route any more.
    Route4Gone {
        /// Network address in host order, and length (0 to 32).
        prefix: (u32, u8),
    },
    /// The IPv6 prefix now has this action.
    Route6 {
        /// Network address in host order, and length (0 to 128).
        prefix: (u128, u8),
        /// The action, replacing an earlier one.
        action: Arc<RouteAction>,
    },
    /// The IPv6 prefix has no route any more.
    Route6Gone {
        /// Network address in host order, and length (0 to 128).
        prefix: (u128, u8),
    },
}

/// How far the kernel is with a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeighbourState {
    /// The link-layer address is known and may be used (kernel states REACHABLE, STALE, DELAY, PROBE, PERMANENT, NOARP).
    Reachable(MacAddress),
    /// Resolution is under way; nothing to send to yet. Linux does not announce that it began: a neighbour never
    /// reported is to be treated alike, and one that answers or fails is reported next.
    Unresolved,
    /// Resolution failed: answer with host unreachable until it is tried again.
    Failed,
    /// The kernel forgot the entry.
    Gone,
}

/// A change of a neighbour on one of the dataplane's interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourUpdate {
    /// The interface on whose tap the neighbour lives.
    pub interface: InterfaceId,
    /// The neighbour's network address.
    pub address: IpAddr,
    /// Its new state.
    pub state: NeighbourState,
}

/// A change of a link: of a tap of ours, or of a network device watched by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUpdate {
    /// The kernel's name of the device.
    pub name: String,
    /// The kernel's number of the device; 0 when it is gone.
    pub ifindex: u32,
    /// The interface whose tap it is; `None` for a device that is only watched.
    pub interface: Option<InterfaceId>,
    /// The device exists. A watched name that vanished is reported once with `false`.
    pub present: bool,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// It has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// MTU in octets, without the Ethernet header.
    pub mtu: u32,
}

/// One item of the mirror's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The FIB changed.
    Fib(FibUpdate),
    /// A neighbour changed.
    Neighbour(NeighbourUpdate),
    /// A link changed.
    Link(LinkUpdate),
    /// A dump of the kernel's tables is complete: the stream up to here equals the kernel's state. The first one says
    /// that the FIB may be used; later ones follow every resynchronisation.
    EndOfDump,
}

/// Where the updates go. Called on the watcher's thread, in order.
pub trait MirrorSink: Send {
    /// Takes one update. Must not block for long: notifications pile up in the socket meanwhile (and an overrun
    /// costs a new dump).
    fn apply(&mut self, update: Update);

    /// The updates applied since the last call belong together and no more are waiting right now: a good moment to
    /// publish them to the workers.
    fn batch_end(&mut self) {}
}
