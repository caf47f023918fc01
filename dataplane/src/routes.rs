//! Routes: the one writer of both families' tables, and the reader every worker has.
//!
//! The control side tells what the kernel's tables say. IPv4's routes are in DPDK's `rte_fib`, IPv6's in [`crate::lpm6`]; both
//! give next-hop numbers of the same kind.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use rte_bindings::{Eal, Fib4, Fib4Reader, FibConfig, FibError};
use tandem_engine::packet::{Route, Router};
use tandem_engine::program::InterfaceId;

use crate::lpm6::{Full, GROUP_BYTES, Lpm6, Lpm6Reader, masked};
use crate::neighbours::{NEIGHBOURS_MAX, NEIGHBOURS6_MAX};
use crate::next_hop::{NEXT_HOP_KERNEL, NEXT_HOP_NO_ROUTE, NextHops};
use crate::numbers::{Key, NoNumber, Numbers};
use tandem_engine::address;

/// Groups of the IPv6 table made for each route: a table like the Internet's takes two each, a /48 far from all others eight.
const GROUPS_PER_ROUTE: u32 = 3;
/// Octets of memory that room for one IPv6 route takes.
pub const ROUTE6_BYTES: usize = GROUPS_PER_ROUTE as usize * GROUP_BYTES;

/// IPv6 destinations that are the kernel's whatever routes say: link-local and multicast. RFC 4291 sections 2.5.6 and 2.7: no
/// router forwards the first, and we have no multicast routing.
const KERNELS: [(u128, u8); 2] = [(0xfe80 << 112, 10), (0xff << 120, 8)];

/// One way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    /// Egress interface.
    pub interface: InterfaceId,
    /// The router, of either family whatever the route's; `None` when destinations are on the link.
    pub gateway: Option<IpAddr>,
    /// Share among its siblings.
    pub weight: u16,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel's: local, or over a device that is not ours.
    Kernel,
    /// Drop silently.
    Blackhole,
    /// Drop, host unreachable.
    Unreachable,
    /// Drop, prohibited.
    Prohibited,
    /// Out of one of these; without any, as [`Action::Unreachable`].
    Ways(Vec<Way>),
}

/// A route could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The IPv4 table is full or refused.
    #[error("the FIB refused {0}/{1}: {2}")]
    Fib(Ipv4Addr, u8, FibError),
    /// The IPv6 table is full.
    #[error("no room for {0}/{1}: {2}")]
    Fib6(Ipv6Addr, u8, Full),
    /// No next-hop number is left.
    #[error(transparent)]
    NoNumber(#[from] NoNumber),
}

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

/// Room for routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRoutes {
    /// IPv4 routes. DPDK's memory: 64 MiB and about 0.4 KiB each.
    pub ipv4: u32,
    /// IPv6 routes of a table like the Internet's, [`ROUTE6_BYTES`] of ordinary memory each; what lies more scattered takes
    /// more.
    pub ipv6: u32,
}

/// Groups of the IPv6 table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups6 {
    /// In use.
    pub used: usize,
    /// There are.
    pub total: usize,
}

/// Routes with their actions and numbers.
type Routes<A> = BTreeMap<(A, u8), (Arc<Action>, u16)>;

/// The tables' writer.
pub struct RouteWriter {
    fib: Fib4,
    lpm: Lpm6,
    table: Arc<NextHops>,
    numbers: Numbers,
    routes: Routes<u32>,
    routes6: Routes<u128>,
    neighbours: HashMap<(InterfaceId, u128), u16>,
    /// Those of the neighbours that are IPv6's.
    neighbours6: usize,
    changed: bool,
}

/// What a worker routes by.
#[derive(Clone)]
pub struct WorkerRouter {
    fib: Fib4Reader,
    lpm: Lpm6Reader,
    table: Arc<NextHops>,
}

impl WorkerRouter {
    /// The next-hop table.
    #[inline(always)]
    #[must_use]
    pub fn table(&self) -> &NextHops {
        &self.table
    }
}

impl Router for WorkerRouter {
    #[inline(always)]
    fn generation(&self) -> u32 {
        self.table.generation()
    }

    #[inline]
    fn route(&self, destination: u32, hash: u32) -> Route {
        let number = self
            .table
            .settle(self.fib.lookup(destination) as u16, destination, hash);
        Route {
            next_hop: number,
            kind: self.table.kind(number),
        }
    }

    #[inline]
    fn route6(&self, destination: u128, hash: u32) -> Route {
        let number = self
            .table
            .settle6(self.lpm.lookup(destination), destination, hash);
        Route {
            next_hop: number,
            kind: self.table.kind(number),
        }
    }

    #[inline(always)]
    fn next_hop(&self, number: u16) -> tandem_engine::packet::RouteKind {
        self.table.kind(number)
    }
}

impl RouteWriter {
    /// Empty tables with room for `max` routes; `mtus` are the interfaces'.
    ///
    /// # Errors
    /// [`FibError`] when DPDK has no memory for it.
    pub fn new(eal: &Eal, max: MaxRoutes, mtus: HashMap<InterfaceId, u16>) -> Result<Self, FibError> {
        let config = FibConfig {
            name: "tandem4".into(),
            max_routes: max.ipv4,
            num_tbl8: (max.ipv4 / 16).clamp(256, 1 << 16),
            default_next_hop: u32::from(NEXT_HOP_NO_ROUTE),
            socket: None,
        };
        let table = Arc::new(NextHops::default());
        let mut writer = Self {
            fib: Fib4::create(eal, &config)?,
            lpm: Lpm6::new(max.ipv6.saturating_mul(GROUPS_PER_ROUTE)),
            numbers: Numbers::new(Arc::clone(&table), mtus),
            table,
            routes: BTreeMap::new(),
            routes6: BTreeMap::new(),
            neighbours: HashMap::new(),
            neighbours6: 0,
            changed: false,
        };
        for (network, length) in KERNELS {
            // The root has them: no group is needed.
            if writer
                .lpm
                .set(network, length, NEXT_HOP_KERNEL, Instant::now())
                .is_ok()
            {
                let kernels = (Arc::new(Action::Kernel), NEXT_HOP_KERNEL);
                writer.routes6.insert((network, length), kernels);
            }
        }
        Ok(writer)
    }

    /// A reader for a worker.
    #[must_use]
    pub fn reader(&self) -> WorkerRouter {
        WorkerRouter {
            fib: self.fib.reader(),
            lpm: self.lpm.reader(),
            table: Arc::clone(&self.table),
        }
    }

    /// Enters or replaces an IPv4 route.
    ///
    /// # Errors
    /// [`RouteError`]; the prefix then keeps what it had.
    pub fn set(&mut self, network: u32, length: u8, action: Arc<Action>) -> Result<(), RouteError> {
        let number = self.numbers.of(&action)?;
        if let Err(error) = self.fib.add(network, length, tagged(number, length)) {
            self.numbers.unref(number);
            return Err(RouteError::Fib(network.into(), length, error));
        }
        if let Some((_, old)) = self.routes.insert((network, length), (action, number)) {
            self.numbers.unref(old);
        }
        self.changed = true;
        Ok(())
    }

    /// Takes an IPv4 route out.
    pub fn remove(&mut self, network: u32, length: u8) {
        if let Some((_, number)) = self.routes.remove(&(network, length)) {
            // What was added can be deleted.
            if self.fib.delete(network, length).is_ok() {
                self.changed = true;
            }
            self.numbers.unref(number);
        }
    }

    /// Enters or replaces an IPv6 route. Those for link-local and multicast destinations say nothing to us: such packets are
    /// the kernel's.
    ///
    /// # Errors
    /// [`RouteError`]; the prefix then keeps what it had.
    pub fn set6(&mut self, network: u128, length: u8, action: Arc<Action>) -> Result<(), RouteError> {
        if is_kernels(network, length) {
            return Ok(());
        }
        let number = self.numbers.of(&action)?;
        if let Err(full) = self.enter6(network, length, number) {
            self.numbers.unref(number);
            return Err(RouteError::Fib6(network.into(), length, full));
        }
        if let Some((_, old)) = self.routes6.insert((network, length), (action, number)) {
            self.numbers.unref(old);
        }
        self.changed = true;
        Ok(())
    }

    /// Enters a route into the IPv6 table. When groups only rest it waits for them, a tenth of a second at most: nobody would
    /// try again.
    fn enter6(&mut self, network: u128, length: u8, number: u16) -> Result<(), Full> {
        match self.lpm.set(network, length, number, Instant::now()) {
            Err(Full {
                later: Some(rest), ..
            }) => {
                std::thread::sleep(rest);
                self.lpm.set(network, length, number, Instant::now())
            }
            other => other,
        }
    }

    /// Takes an IPv6 route out.
    pub fn remove6(&mut self, network: u128, length: u8) {
        if is_kernels(network, length) {
            return;
        }
        if let Some((_, number)) = self.routes6.remove(&(network, length)) {
            let others = |network, length| self.routes6.get(&(network, length)).map(|(_, number)| *number);
            self.lpm.remove(network, length, others, Instant::now());
            self.changed = true;
            self.numbers.unref(number);
        }
    }

    /// An IPv4 neighbour's MAC, or `None` while it has none. `gone` forgets it.
    pub fn neighbour(&mut self, interface: InterfaceId, address: Ipv4Addr, mac: Option<[u8; 6]>, gone: bool) {
        self.neighbour_of(interface, address::of_v4(address.to_bits()), mac, gone);
    }

    /// An IPv6 neighbour's, likewise.
    pub fn neighbour6(
        &mut self,
        interface: InterfaceId,
        address: Ipv6Addr,
        mac: Option<[u8; 6]>,
        gone: bool,
    ) {
        // Nobody on a link has such an address, and here it would be an IPv4 one.
        if address::v4(address.to_bits()).is_none() {
            self.neighbour_of(interface, address.to_bits(), mac, gone);
        }
    }

    fn neighbour_of(&mut self, interface: InterfaceId, address: u128, mac: Option<[u8; 6]>, gone: bool) {
        let known = self.neighbours.get(&(interface, address)).copied();
        let number = match (known, gone) {
            (Some(number), true) => return self.forget_neighbour(interface, address, number),
            (None, true) => return,
            (Some(number), false) => number,
            (None, false) => match self.new_neighbour(interface, address) {
                Some(number) => number,
                None => return,
            },
        };
        self.table.set_mac(number, mac);
    }

    fn forget_neighbour(&mut self, interface: InterfaceId, address: u128, number: u16) {
        self.table.set_mac(number, None);
        self.table.remove_neighbour(interface, address, number);
        self.neighbours.remove(&(interface, address));
        self.neighbours6 -= usize::from(address::v4(address).is_none());
        self.numbers.unref(number);
        self.changed = true;
    }

    /// Its number; `None` when there are too many.
    fn new_neighbour(&mut self, interface: InterfaceId, address: u128) -> Option<u16> {
        let is_ipv6 = address::v4(address).is_none();
        let full = if is_ipv6 {
            self.neighbours6 >= NEIGHBOURS6_MAX
        } else {
            self.neighbours.len() - self.neighbours6 >= NEIGHBOURS_MAX
        };
        if full {
            return None;
        }
        let number = self.numbers.take(Key::Via(interface, address)).ok()?;
        if !self.table.enter_neighbour(interface, address, number) {
            self.numbers.unref(number);
            return None;
        }
        self.neighbours.insert((interface, address), number);
        self.neighbours6 += usize::from(is_ipv6);
        // Sessions that know only "on this link" may now know the neighbour.
        self.changed = true;
        Some(number)
    }

    /// Makes what changed since the last call count.
    pub fn publish(&mut self) {
        let freed = std::mem::take(&mut self.numbers.freed);
        if std::mem::take(&mut self.changed) | freed {
            self.table.bump();
        }
    }

    /// Neighbours that packets went to since the last call: the kernel does not see that traffic and has to be told that
    /// they are in use.
    pub fn used_neighbours(&self) -> Vec<(InterfaceId, IpAddr)> {
        self.numbers
            .iter()
            .filter_map(|(number, key)| match key {
                Key::Via(interface, gateway) if self.table.take_used(number) => {
                    Some((*interface, address::show(*gateway)))
                }
                _ => None,
            })
            .collect()
    }

    /// Neighbours with their MAC, if resolved.
    #[must_use]
    pub fn neighbours(&self) -> Vec<(InterfaceId, IpAddr, Option<[u8; 6]>)> {
        let mut rows: Vec<_> = self
            .neighbours
            .iter()
            .map(|((interface, address), number)| {
                (*interface, address::show(*address), self.table.mac(*number))
            })
            .collect();
        rows.sort_unstable();
        rows
    }

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

/// What the FIB stores for a route: readers take the lower 16 bits, the length above them makes it differ from what any other
/// route that covers it has. For DPDK 22.11 does not reserve a group for a route longer than /24 whose next hop is its parent's,
/// but gives one back when the route goes: its count falls below zero, and no such route ever finds room again.
fn tagged(number: u16, length: u8) -> u32 {
    u32::from(number) | u32::from(length) << 16
}

/// Whether a prefix lies in what is the kernel's.
fn is_kernels(network: u128, length: u8) -> bool {
    KERNELS
        .iter()
        .any(|&(kernels, least)| length >= least && masked(network, least) == kernels)
}
