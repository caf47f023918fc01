//! Next hops and neighbours: what the control thread writes and every worker reads without a lock.
//!
//! ```text
//!   FIB -> next-hop number -> entry: kind, interface, MTU | MAC      a few words, each an atomic
//!                               |-> group: 64 buckets of numbers (ECMP, weighted)
//!                               '-> on-link: (interface, destination) -> neighbour table -> number
//! ```
//!
//! Numbers are one space for both families: a next hop is an interface and a MAC address, and an IPv4 route may go by a router
//! that has an IPv6 address alone (RFC 8950). Where an address may be of either family it is a `u128`, IPv4 in
//! `::ffff:0:0/96`.
//!
//! Sessions keep numbers, not addresses: a neighbour's new MAC is one store. Whenever a number a session may hold can have
//! become wrong, the generation changes and sessions look their route up again.

mod write;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use tandem_engine::address;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::RouteKind;
use tandem_engine::program::InterfaceId;

use crate::neighbours::{Neighbours, Neighbours6};

/// No route: also what an empty FIB says.
pub const NEXT_HOP_NO_ROUTE: u16 = 0;
/// The kernel's.
pub const NEXT_HOP_KERNEL: u16 = 1;
/// Drop silently.
pub const NEXT_HOP_BLACKHOLE: u16 = 2;
/// Drop, host unreachable.
pub const NEXT_HOP_UNREACHABLE: u16 = 3;
/// Drop, prohibited.
pub const NEXT_HOP_PROHIBITED: u16 = 4;
/// First number for everything else.
pub const NEXT_HOP_FIRST: u16 = 5;
/// Numbers end here; the two above have a meaning of their own in session records.
pub const NEXT_HOP_END: u16 = 0xfffe;

/// Buckets of a group: the resolution of ECMP weights.
pub const GROUP_BUCKETS: usize = 64;
/// Groups there can be.
pub const MAX_GROUPS: usize = 2048;
// 0: never written.
const KIND_KERNEL: u64 = 1;
const KIND_DROP: u64 = 2;
const KIND_ON_LINK: u64 = 3;
const KIND_VIA: u64 = 4;
const KIND_GROUP: u64 = 5;
const RESOLVED: u64 = 1 << 63;

#[derive(Debug, Default)]
struct Entry {
    /// kind 0..8, interface 8..24, MTU 24..40, drop reason or group 40..56.
    head: AtomicU64,
    /// MAC in the lower 48 bits, [`RESOLVED`].
    mac: AtomicU64,
    used: AtomicBool,
}

/// A next hop's own address, upper and lower half. Apart from the entries: few packets ask for it.
#[derive(Debug, Default)]
struct Gateway([AtomicU64; 2]);

impl Gateway {
    fn load(&self) -> u128 {
        let [upper, lower] = &self.0;
        u128::from(upper.load(Ordering::Acquire)) << 64 | u128::from(lower.load(Ordering::Acquire))
    }

    fn store(&self, address: u128) {
        let [upper, lower] = &self.0;
        upper.store((address >> 64) as u64, Ordering::Release);
        lower.store(address as u64, Ordering::Release);
    }
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Out of `interface` to this MAC.
    Neighbour {
        /// Egress interface.
        interface: InterfaceId,
        /// Destination MAC, most significant octet first in the lower 48 bits.
        mac: u64,
    },
    /// The neighbour has to be resolved first: `gateway`, or the destination itself.
    Unresolved {
        /// Egress interface.
        interface: InterfaceId,
        /// The router, if the route names one: IPv4 in `::ffff:0:0/96`, whatever the packet's family.
        gateway: Option<u128>,
    },
    /// The kernel's.
    Kernel,
    /// Nowhere.
    Drop(DropReason),
}

/// The shared table.
#[derive(Debug)]
pub struct NextHops {
    entries: Box<[Entry]>,
    gateways: Box<[Gateway]>,
    groups: Box<[[AtomicU16; GROUP_BUCKETS]]>,
    neighbours: Neighbours,
    neighbours6: Neighbours6,
    generation: AtomicU32,
}

impl Default for NextHops {
    fn default() -> Self {
        let table = Self {
            entries: (0..=u16::MAX).map(|_| Entry::default()).collect(),
            gateways: (0..=u16::MAX).map(|_| Gateway::default()).collect(),
            groups: (0..MAX_GROUPS)
                .map(|_| std::array::from_fn(|_| AtomicU16::new(0)))
                .collect(),
            neighbours: Neighbours::default(),
            neighbours6: Neighbours6::default(),
            generation: AtomicU32::new(1),
        };
        table.write(NEXT_HOP_NO_ROUTE, KIND_DROP, 0, 0, DropReason::NoRoute as u64);
        table.write(NEXT_HOP_KERNEL, KIND_KERNEL, 0, 0, 0);
        table.write(
            NEXT_HOP_BLACKHOLE,
            KIND_DROP,
            0,
            0,
            DropReason::RouteBlackhole as u64,
        );
        table.write(
            NEXT_HOP_UNREACHABLE,
            KIND_DROP,
            0,
            0,
            DropReason::RouteUnreachable as u64,
        );
        table.write(
            NEXT_HOP_PROHIBITED,
            KIND_DROP,
            0,
            0,
            DropReason::RouteProhibited as u64,
        );
        table
    }
}

impl NextHops {
    /// Changes when cached numbers may be wrong.
    #[inline(always)]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn head(&self, number: u16) -> u64 {
        self.entries
            .get(usize::from(number))
            .map_or(0, |e| e.head.load(Ordering::Acquire))
    }

    /// From what the FIB said to the number to keep: the group's member, the on-link destination's neighbour.
    #[inline]
    #[must_use]
    pub fn settle(&self, number: u16, destination: u32, hash: u32) -> u16 {
        let (number, head) = self.member(number, destination, hash);
        if head & 0xff == KIND_ON_LINK
            && let Some(neighbour) = self.neighbours.find((head >> 8) as u16, destination)
        {
            return neighbour;
        }
        number
    }

    /// [`NextHops::settle`] for an IPv6 destination.
    #[inline]
    #[must_use]
    pub fn settle6(&self, number: u16, destination: u128, hash: u32) -> u16 {
        let folded = (destination >> 64) as u64 ^ destination as u64;
        let (number, head) = self.member(number, (folded >> 32) as u32 ^ folded as u32, hash);
        if head & 0xff == KIND_ON_LINK
            && let Some(neighbour) = self.neighbour6((head >> 8) as u16, destination)
        {
            return neighbour;
        }
        number
    }

    /// The member of a group for a flow, or what is no group itself; and its head.
    #[inline(always)]
    fn member(&self, number: u16, destination: u32, hash: u32) -> (u16, u64) {
        let head = self.head(number);
        if head & 0xff != KIND_GROUP {
            return (number, head);
        }
        let mixed = hash.wrapping_mul(0x9E37_79B1) ^ destination.wrapping_mul(0x85EB_CA77);
        let bucket = (mixed.wrapping_mul(0xC2B2_AE3D) >> 26) as usize % GROUP_BUCKETS;
        let group = (head >> 40 & 0xffff) as usize;
        let member = self
            .groups
            .get(group)
            .map_or(0, |g| g[bucket].load(Ordering::Acquire));
        (member, self.head(member))
    }

    /// What a settled number says.
    #[inline(always)]
    #[must_use]
    pub fn kind(&self, number: u16) -> RouteKind {
        let head = self.head(number);
        match head & 0xff {
            KIND_VIA | KIND_ON_LINK => RouteKind::Forward {
                interface: (head >> 8) as u16,
                mtu: (head >> 24) as u16,
            },
            KIND_KERNEL => RouteKind::Kernel,
            _ => RouteKind::Drop(drop_reason(head)),
        }
    }

    /// Where a packet for `destination` with this number goes now.
    #[inline]
    #[must_use]
    pub fn exit(&self, number: u16, destination: u32) -> Exit {
        self.exit_by(number, |interface| self.neighbours.find(interface, destination))
    }

    /// [`NextHops::exit`] for an IPv6 packet. A destination on the link is named as the one to be resolved when it has no
    /// entry: `gateway` is then `None`.
    #[inline]
    #[must_use]
    pub fn exit6(&self, number: u16, destination: u128) -> Exit {
        self.exit_by(number, |interface| self.neighbour6(interface, destination))
    }

    #[inline(always)]
    fn exit_by(&self, number: u16, neighbour: impl Fn(InterfaceId) -> Option<u16>) -> Exit {
        let head = self.head(number);
        let interface = (head >> 8) as u16;
        match head & 0xff {
            KIND_VIA => self.exit_via(number, interface),
            KIND_ON_LINK => match neighbour(interface) {
                Some(neighbour) => self.exit_via(neighbour, interface),
                None => Exit::Unresolved {
                    interface,
                    gateway: None,
                },
            },
            KIND_KERNEL => Exit::Kernel,
            _ => Exit::Drop(drop_reason(head)),
        }
    }

    /// Where packets with this number go now, whatever their destination; `Unresolved` when that depends on it.
    #[must_use]
    pub fn exit_of(&self, number: u16) -> Exit {
        self.exit_by(number, |_| None)
    }

    #[inline(always)]
    fn exit_via(&self, number: u16, interface: InterfaceId) -> Exit {
        let Some(entry) = self.entries.get(usize::from(number)) else {
            return Exit::Drop(DropReason::NoRoute);
        };
        let mac = entry.mac.load(Ordering::Acquire);
        // Marks are read before they are written: the line stays shared between workers.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        if mac & RESOLVED != 0 {
            Exit::Neighbour {
                interface,
                mac: mac & !RESOLVED,
            }
        } else {
            Exit::Unresolved {
                interface,
                gateway: self.gateways.get(usize::from(number)).map(Gateway::load),
            }
        }
    }

    /// Where a packet for this neighbour goes now.
    #[must_use]
    pub fn neighbour_exit(&self, interface: InterfaceId, address: u32) -> Exit {
        self.neighbour_exit6(interface, address::of_v4(address))
    }

    /// [`NextHops::neighbour_exit`] for an address of either family, IPv4 in `::ffff:0:0/96`.
    #[must_use]
    pub fn neighbour_exit6(&self, interface: InterfaceId, address: u128) -> Exit {
        let number = match address::v4(address) {
            Some(address) => self.neighbours.find(interface, address),
            None => self.neighbour6(interface, address),
        };
        match number {
            Some(number) => self.exit_via(number, interface),
            None => Exit::Unresolved {
                interface,
                gateway: Some(address),
            },
        }
    }

    #[inline]
    fn neighbour6(&self, interface: InterfaceId, address: u128) -> Option<u16> {
        self.neighbours6.find(interface, address, |number| {
            let head = self.head(number);
            let gateway = self.gateways.get(usize::from(number)).map(Gateway::load);
            head & 0xff == KIND_VIA && (head >> 8) as u16 == interface && gateway == Some(address)
        })
    }
}

#[inline]
fn drop_reason(head: u64) -> DropReason {
    DropReason::ALL
        .get((head >> 40 & 0xff) as usize)
        .copied()
        .unwrap_or(DropReason::NoRoute)
}

#[cfg(test)]
mod tests;
