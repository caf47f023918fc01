//! Routes: the one writer of both families' tables, and the reader every worker has.
//!
//! The control side tells what the kernel's tables say. IPv4's routes are in DPDK's `rte_fib`, IPv6's in [`crate::lpm6`]; both
//! give next-hop numbers of the same kind.

mod neighbours;
mod reader;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

pub use reader::WorkerRouter;
pub use rows::{Groups6, RouteRow};
use rte_bindings::{Eal, Fib4, FibConfig, FibError};
use tandem_engine::program::InterfaceId;

use crate::lpm6::{Full, GROUP_BYTES, Lpm6, masked};
use crate::next_hop::{NEXT_HOP_KERNEL, NEXT_HOP_NO_ROUTE, NextHops};
use crate::numbers::{NoNumber, Numbers};

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

/// Room for routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRoutes {
    /// IPv4 routes. DPDK's memory: 64 MiB and about 0.4 KiB each.
    pub ipv4: u32,
    /// IPv6 routes of a table like the Internet's, [`ROUTE6_BYTES`] of ordinary memory each; what lies more scattered takes
    /// more.
    pub ipv6: u32,
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

    /// Makes what changed since the last call count.
    pub fn publish(&mut self) {
        let freed = std::mem::take(&mut self.numbers.freed);
        if std::mem::take(&mut self.changed) | freed {
            self.table.bump();
        }
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
