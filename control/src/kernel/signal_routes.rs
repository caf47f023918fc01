//! Signal routes: static routes that say to the routing daemon which chassis a redundancy set is primary on.
//!
//! FRR or BIRD redistribute them, or watch them, and keepalived tracks them. They are routes of the kernel like any other, but
//! carry a protocol number of their own ([`PROTOCOL`]), by which they are found again after a process that could not remove
//! them, and told from everybody else's. Nothing here changes or removes a route with another number.

mod message;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::codec::Request;
use super::rtnl::Rtnl;
use super::socket::{KernelError, RequestSocket};
use message::Found;

/// The number in `rtm_protocol`: the letter t. Free in rtnetlink.h, in iproute2's `rt_protos` and in FRR (which reads it as a
/// kernel route, as it does every number it does not know). `configs/iproute2/tandem.conf` gives it its name.
pub const PROTOCOL: u8 = 116;

/// The loopback device has this number in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;

/// Attempts to put a route in while others change the same one.
const ATTEMPTS_MAX: u32 = 3;

/// Where a signal route is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalTable {
    /// A table by its number, 1 up; 254 is the main one.
    Number(u32),
    /// The table of a VRF device, by the device's name.
    Vrf(String),
}

/// What a signal route does with packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalTarget {
    /// Sends them to a router, through a device, or both. One of them at least is there.
    NextHop {
        /// The router. One of IPv6 serves IPv4 prefixes too (RFC 8950), not the other way round.
        gateway: Option<IpAddr>,
        /// The device's name.
        device: Option<String>,
    },
    /// Drops them ("blackhole").
    Discard,
    /// Takes them for the box's own ("local").
    Receive,
}

/// A signal route as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalRoute {
    /// The prefix. Bits beyond its length do not count.
    pub prefix: IpNet,
    /// Its table.
    pub table: SignalTable,
    /// What it does.
    pub target: SignalTarget,
    /// Its metric, 1 up. `None`: the kernel's usual one.
    pub metric: Option<u32>,
}

/// A signal route with its names looked up: all that is needed to put it in and to take it out, also by another process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KernelRoute {
    /// The prefix, without bits beyond its length.
    pub prefix: IpNet,
    /// The table's number.
    pub table: u32,
    /// What it does.
    pub target: KernelTarget,
    /// Its metric, 1 up: a part of its name, as prefix and table are. `None`: the kernel's usual one, 0 for IPv4 and 1024 for
    /// IPv6.
    pub metric: Option<u32>,
}

/// What a [`KernelRoute`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KernelTarget {
    /// Sends packets to a router or through a device.
    NextHop {
        /// The router.
        gateway: Option<IpAddr>,
        /// The device's number.
        ifindex: Option<u32>,
    },
    /// Drops them.
    Discard,
    /// Takes them for the box's own.
    Receive {
        /// The loopback device, or the VRF's.
        ifindex: u32,
    },
}

/// Why a signal route is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum SignalRouteError {
    /// Neither a next hop nor a device, or a next hop of the wrong family.
    #[error("signal route {prefix}: {reason}")]
    Nonsense {
        /// The prefix.
        prefix: IpNet,
        /// What is wrong.
        reason: &'static str,
    },
    /// A name could not be looked up.
    #[error("signal route {prefix}: {source}")]
    Name {
        /// The prefix.
        prefix: IpNet,
        /// The kernel's answer.
        source: KernelError,
    },
    /// The device is no VRF.
    #[error("signal route {prefix}: the device {device} is no VRF")]
    NoVrf {
        /// The prefix.
        prefix: IpNet,
        /// The device's name.
        device: String,
    },
    /// Somebody else's route is in the place.
    #[error(
        "signal route {prefix} in table {table}: the table has such a route already, and it is not Tandem's (protocol {PROTOCOL}); \
         it is left alone"
    )]
    Taken {
        /// The prefix.
        prefix: IpNet,
        /// The table's number.
        table: u32,
    },
    /// The kernel refused.
    #[error("signal route {prefix} in table {table}: {source}")]
    Kernel {
        /// The prefix.
        prefix: IpNet,
        /// The table's number.
        table: u32,
        /// The kernel's answer.
        source: KernelError,
    },
    /// The kernel's tables could not be searched for signal routes, or one of them not be removed.
    #[error("signal routes: {0}")]
    Sweep(#[from] KernelError),
}

/// Puts signal routes in and takes them out, in the network namespace of the thread that opened it. Needs CAP_NET_ADMIN.
pub struct SignalRoutes {
    socket: RequestSocket,
}

impl SignalRoutes {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            socket: RequestSocket::open()?,
        })
    }

    /// Looks a route's names up. To be done again when a device was made anew: its number is another then.
    ///
    /// # Errors
    /// What makes no sense, and names that nobody has.
    pub fn resolve(&mut self, rtnl: &mut Rtnl, route: &SignalRoute) -> Result<KernelRoute, SignalRouteError> {
        let prefix = route.prefix.trunc();
        let nonsense = |reason| SignalRouteError::Nonsense { prefix, reason };
        let unnamed = |source| SignalRouteError::Name { prefix, source };
        let (table, vrf) = match &route.table {
            SignalTable::Number(0) => return Err(nonsense("there is no table 0")),
            SignalTable::Number(number) => (*number, None),
            SignalTable::Vrf(device) => {
                let found = message::vrf_table(&mut self.socket, device).map_err(unnamed)?;
                let (ifindex, table) = found.ok_or_else(|| SignalRouteError::NoVrf {
                    prefix,
                    device: device.clone(),
                })?;
                (table, Some(ifindex))
            }
        };
        let target = match &route.target {
            SignalTarget::Discard => KernelTarget::Discard,
            SignalTarget::Receive => KernelTarget::Receive {
                ifindex: vrf.unwrap_or(LOOPBACK),
            },
            SignalTarget::NextHop {
                gateway: None,
                device: None,
            } => return Err(nonsense("it has neither a next hop nor a device")),
            SignalTarget::NextHop {
                gateway: Some(IpAddr::V4(_)),
                ..
            } if matches!(prefix, IpNet::V6(_)) => {
                return Err(nonsense("an IPv6 prefix has no IPv4 next hop"));
            }
            SignalTarget::NextHop { gateway, device } => {
                let device = device.as_ref().map(|name| rtnl.link(name)).transpose();
                KernelTarget::NextHop {
                    gateway: *gateway,
                    ifindex: device.map_err(unnamed)?.map(|link| link.ifindex),
                }
            }
        };
        Ok(KernelRoute {
            prefix,
            table,
            target,
            metric: route.metric,
        })
    }

    /// Puts a route in; one of ours with the same metric that does something else is replaced. `Ok(false)`: it was there already.
    ///
    /// A replacement is a removal and an addition: netlink's own replaces whatever has the prefix, also somebody else's route.
    /// A route with another metric is another route to the kernel, and stays beside it.
    ///
    /// # Errors
    /// [`SignalRouteError::Taken`] when the kernel has such a route of another protocol; the kernel's refusals, for example
    /// of a next hop that no connected network has.
    pub fn put(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.run(message::addition(route), "add it") {
                Ok(()) => return Ok(true),
                Err(error) if error.errno() == Some(nix::libc::EEXIST) => {}
                Err(source) => return Err(refused(route, source)),
            }
            let ours = self.find(route).map_err(|source| refused(route, source))?;
            if ours.iter().any(|found| found.does(&route.target)) {
                return Ok(false);
            }
            if ours.is_empty() {
                break;
            }
            for found in &ours {
                self.remove_found(found)
                    .map_err(|source| refused(route, source))?;
            }
        }
        Err(SignalRouteError::Taken {
            prefix: route.prefix,
            table: route.table,
        })
    }

    /// Takes a route out. `Ok(false)`: it was not there, as when its device is gone.
    ///
    /// # Errors
    /// The kernel's refusals.
    pub fn take(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError> {
        match self.run(message::removal(route), "remove it") {
            Ok(()) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(source) => Err(refused(route, source)),
        }
    }

    /// Takes all signal routes out of all tables, whoever put them in. Returns how many there were. Goes on after a refusal.
    ///
    /// # Errors
    /// The first refusal.
    pub fn take_all(&mut self) -> Result<usize, SignalRouteError> {
        let (mut count, mut first) = (0, None);
        for found in self.present()? {
            match self.remove_found(&found) {
                Ok(()) => count += 1,
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(count), |error| Err(error.into()))
    }

    /// The prefixes and tables of all signal routes in the kernel, in order.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn list(&mut self) -> Result<Vec<(IpNet, u32)>, KernelError> {
        let mut all: Vec<(IpNet, u32)> = self.present()?.iter().map(|f| (f.prefix, f.table)).collect();
        all.sort_unstable();
        Ok(all)
    }

    fn present(&mut self) -> Result<Vec<Found>, KernelError> {
        let mut all = message::dump(&mut self.socket, true, None)?;
        all.extend(message::dump(&mut self.socket, false, None)?);
        Ok(all)
    }

    /// Signal routes with this route's prefix, table and metric.
    fn find(&mut self, route: &KernelRoute) -> Result<Vec<Found>, KernelError> {
        let is_v4 = matches!(route.prefix, IpNet::V4(_));
        let mut found = message::dump(&mut self.socket, is_v4, Some(route.table))?;
        found.retain(|f| f.stands_at(route));
        Ok(found)
    }

    fn remove_found(&mut self, found: &Found) -> Result<(), KernelError> {
        let what = || format!("remove {} from table {}", found.prefix, found.table);
        match self.socket.execute(found.removal(), what, |_| {}) {
            Err(error) if !is_absence(&error) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn run(&mut self, request: Request, what: &str) -> Result<(), KernelError> {
        self.socket.execute(request, || what.to_owned(), |_| {})
    }
}

fn refused(route: &KernelRoute, source: KernelError) -> SignalRouteError {
    SignalRouteError::Kernel {
        prefix: route.prefix,
        table: route.table,
        source,
    }
}

/// The route, its table or its device is not there: what a removal is to reach.
fn is_absence(error: &KernelError) -> bool {
    matches!(
        error.errno(),
        Some(nix::libc::ESRCH | nix::libc::ENOENT | nix::libc::ENODEV)
    )
}
