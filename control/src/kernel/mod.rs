//! The kernel mirror, control half: every dataplane port (or VLAN of it) has a TAP device in the kernel.
//!
//! ```text
//!             addresses, ARP, ND, BGP, ping              ip route, FRR, BIRD, keepalived
//!                         |                                         |
//!   kernel      +---------v---------+   routes, next-hop objects, neighbours, links, addresses
//!   ------------|  tap (one a port) |-------------------------------+------------------------
//!               +----^---------+----+                               | rtnetlink: dump + notifications
//!     frames of      |         |   frames not forwarded      +------v------+
//!     the kernel     |         |   ("punt")                  |   Watcher   |  one thread
//!                    v         |                             | Mirror      |  (pure model)
//!              dataplane rings +                             +------+------+
//!                                                                   | Update: FIB, neighbours, links
//!                                                                   v
//!                                                              MirrorSink
//! ```
//!
//! [`Tap`] creates the device and moves frames, [`Rtnl`] configures it, [`Watcher`] follows the kernel's tables and
//! feeds a [`MirrorSink`]. What the kernel's messages mean is decided in [`RouteTable`], [`NeighbourTable`] and
//! [`LinkTable`], which do no I/O and are tested against naive models; the netlink half is a thin shell round them.
//! Nothing here is on the packet way.
//!
//! What a redundancy set's role does in the kernel is here too: [`SignalRoutes`], [`VirtualAddress`] and [`Announcer`].

mod addresses;
mod announce;
mod carriers;
mod codec;
mod links;
mod message;
mod mirror;
mod neighbours;
mod resolve;
mod routes;
mod rtnl;
mod signal_routes;
mod socket;
mod tap;
mod types;
mod virtual_address;
mod watcher;

pub use addresses::OwnedAddresses;
pub use announce::{
    ANNOUNCE_INTERVAL, ANNOUNCEMENTS, AnnounceError, Announcer, frames as announcement_frames,
};
pub use carriers::Carriers;
pub use links::{Binding, LinkRecord, LinkTable};
pub use neighbours::{NeighbourRecord, NeighbourTable, NudState};
pub use resolve::{ResolveLimits, Resolver};
pub use routes::{
    Change, Hop, LinkState, NextHopObject, Prefix, Removal, RouteRecord, RouteTable, RouteTableId, Special,
    Target,
};
pub use rtnl::Rtnl;
pub use signal_routes::{
    KernelRoute, KernelTarget, PROTOCOL as SIGNAL_ROUTE_PROTOCOL, SignalRoute, SignalRouteError,
    SignalRoutes, SignalTable, SignalTarget,
};
pub use socket::KernelError;
pub use tap::{Tap, TapConfig, TapError};
pub use types::{
    FibUpdate, InterfaceId, LinkUpdate, MacAddress, MirrorSink, NeighbourState, NeighbourUpdate, NextHop,
    RouteAction, Update,
};
pub use virtual_address::VirtualAddress;
pub use watcher::{Watcher, WatcherConfig, WatcherHandle, WatcherStats};
