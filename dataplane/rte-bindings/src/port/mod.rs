//! Network ports: finding or making them, configuring, starting, stopping.
//!
//! ```text
//!   attach / by_name -> configure -> start -> rx_queue, tx_queue -> (drop queues) -> stop -> configure ..
//!                                                                                        \-> drop: closed
//! ```
//!
//! A port has one [`Port`] handle, which controls it, and one handle per queue, which moves packets. Closing
//! waits for the last of them: a `Port` dropped while a worker still polls is closed when the worker drops
//! its queues.
//!
//! Not every driver keeps to that. `net_af_xdp` of DPDK 22.11 gives back neither its socket nor the mbufs in
//! its fill ring: the same device cannot be configured again, or attached again, until the process ends
//! (`EINVAL` from "set up receive queue"), and each try takes another 2048 mbufs. Stop and start do work. So
//! configure such a port once and keep it.

mod config;
mod configure;
mod control;
mod error;
mod queue;

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::CString;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;

pub use config::{
    DeviceInfo, Link, MacAddr, PortConfig, PortGrants, PortStats, RssFields, RxOffloads, TxOffloads,
};
pub use error::PortError;
pub use queue::{RxQueue, TxQueue};

use crate::eal::{Eal, Registry};
use crate::errno::Errno;

/// Control of one network port. One per port, movable between threads, not shared: DPDK's control functions
/// are not thread-safe for the same port.
pub struct Port {
    core: Arc<PortCore>,
    name: String,
    queues: Option<(u16, u16)>,
    _not_sync: PhantomData<Cell<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Rx,
    Tx,
}

/// The open port. Closed when the last handle, of port or queue, goes.
struct PortCore {
    id: u16,
    /// Whether this process attached the device, and so should detach it.
    attached: bool,
    state: Mutex<PortState>,
    eal: Eal,
}

#[derive(Default)]
struct PortState {
    started: bool,
    taken: HashSet<(Direction, u16)>,
}

impl PortCore {
    fn state(&self) -> MutexGuard<'_, PortState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, direction: Direction, queue: u16) {
        self.state().taken.remove(&(direction, queue));
    }
}

impl Drop for PortCore {
    fn drop(&mut self) {
        let mut registry = self.eal.registry();
        let device = control::raw_info(self.id).map_or(std::ptr::null_mut(), |info| info.device);
        if self
            .state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .started
        {
            // SAFETY: no queue handle is left, so nobody polls.
            unsafe { sys::rte_eth_dev_stop(self.id) };
        }
        // SAFETY: stopped, and no handle is left.
        unsafe { sys::rte_eth_dev_close(self.id) };
        let shared = port_ids().any(|id| control::raw_info(id).is_ok_and(|info| info.device == device));
        if self.attached && !device.is_null() && !shared {
            // SAFETY: the device outlives its closed port, and has no other open one; the registry is locked,
            // as in attach.
            unsafe { sys::rte_dev_remove(device) };
        }
        registry.ports.retain(|&id| id != self.id);
    }
}

impl Port {
    /// The names of all ports DPDK has, with and without handle.
    pub fn names(_eal: &Eal) -> Vec<String> {
        port_ids().filter_map(port_name).collect()
    }

    /// Takes control of a port that EAL made at start (by `--vdev`, or found on PCI).
    ///
    /// # Errors
    /// [`PortError::NotFound`], [`PortError::InUse`].
    pub fn by_name(eal: &Eal, name: &str) -> Result<Self, PortError> {
        Self::open(eal, &mut eal.registry(), name, false)
    }

    /// Attaches a device, unless it is already, and takes control of its (first free) port. Dropping the
    /// handle detaches the device.
    ///
    /// `devargs` is a PCI address or virtual device name, with arguments: `0000:3b:00.0`,
    /// `net_af_xdp0,iface=eth1`. A virtual device's name starts with its driver's.
    ///
    /// # Errors
    /// [`PortError::Attach`]; [`PortError::InUse`] when the device's ports all have handles;
    /// [`PortError::NotFound`] when the device has no port.
    pub fn attach(eal: &Eal, devargs: &str) -> Result<Self, PortError> {
        let fail = |errno| PortError::Attach {
            devargs: devargs.to_owned(),
            errno,
        };
        let c_devargs = CString::new(devargs).map_err(|_| fail(Errno::new(libc::EINVAL)))?;
        let mut registry = eal.registry();
        // SAFETY: EAL is initialised (`eal`); the string is terminated and copied; the registry's lock keeps
        // other threads from attaching and detaching, which the buses' device lists do not guard against.
        Errno::check(unsafe { sys::rte_dev_probe(c_devargs.as_ptr()) }).map_err(fail)?;
        let device = devargs.split(',').next().unwrap_or(devargs);
        Self::open(eal, &mut registry, device, true)
    }

    fn open(eal: &Eal, registry: &mut Registry, name: &str, attached: bool) -> Result<Self, PortError> {
        let candidates = port_ids().filter(|&id| {
            port_name(id).as_deref() == Some(name)
                || control::raw_info(id).is_ok_and(|info| control::device_name(&info) == name)
        });
        let (taken, free): (Vec<u16>, Vec<u16>) = candidates.partition(|id| registry.ports.contains(id));
        let Some(&id) = free.first() else {
            let name = name.to_owned();
            return Err(if taken.is_empty() {
                PortError::NotFound(name)
            } else {
                PortError::InUse(name)
            });
        };
        registry.ports.push(id);
        let core = PortCore {
            id,
            attached,
            state: Mutex::default(),
            eal: eal.clone(),
        };
        let name = port_name(id).unwrap_or_else(|| name.to_owned());
        Ok(Self {
            core: Arc::new(core),
            name,
            queues: None,
            _not_sync: PhantomData,
        })
    }

    /// DPDK's number for the port: what [`crate::Mbuf::port`] says.
    pub fn id(&self) -> u16 {
        self.core.id
    }

    /// DPDK's name for the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts receiving and sending.
    ///
    /// # Errors
    /// The driver's; [`PortError::NotStarted`] when it was not configured.
    pub fn start(&mut self) -> Result<(), PortError> {
        if self.queues.is_none() {
            return Err(PortError::NotStarted(self.name.clone()));
        }
        // SAFETY: configured, queues set up. Starting a started port does nothing.
        self.check("start", unsafe { sys::rte_eth_dev_start(self.id()) })?;
        self.core.state().started = true;
        Ok(())
    }

    /// Stops receiving and sending. Does nothing on a stopped port.
    ///
    /// # Errors
    /// [`PortError::QueuesInUse`] while queue handles exist.
    pub fn stop(&mut self) -> Result<(), PortError> {
        let mut state = self.core.state();
        if !state.taken.is_empty() {
            return Err(PortError::QueuesInUse(self.name.clone()));
        }
        if state.started {
            // SAFETY: no queue handle exists, so nobody polls, and none is made while the state is locked.
            self.check("stop", unsafe { sys::rte_eth_dev_stop(self.id()) })?;
            state.started = false;
        }
        Ok(())
    }

    /// Takes a receive queue of the started port.
    ///
    /// # Errors
    /// [`PortError::NotStarted`], [`PortError::Queue`].
    pub fn rx_queue(&self, queue: u16) -> Result<RxQueue, PortError> {
        self.take(Direction::Rx, queue)?;
        Ok(RxQueue::new(self.core.clone(), queue))
    }

    /// Takes a transmit queue of the started port.
    ///
    /// # Errors
    /// [`PortError::NotStarted`], [`PortError::Queue`].
    pub fn tx_queue(&self, queue: u16) -> Result<TxQueue, PortError> {
        self.take(Direction::Tx, queue)?;
        Ok(TxQueue::new(self.core.clone(), queue))
    }

    fn take(&self, direction: Direction, queue: u16) -> Result<(), PortError> {
        let mut state = self.core.state();
        let Some((rx, tx)) = self.queues.filter(|_| state.started) else {
            return Err(PortError::NotStarted(self.name.clone()));
        };
        let count = if direction == Direction::Rx { rx } else { tx };
        if queue >= count || !state.taken.insert((direction, queue)) {
            return Err(PortError::Queue {
                port: self.name.clone(),
                queue,
            });
        }
        Ok(())
    }

    fn check(&self, what: &'static str, result: i32) -> Result<(), PortError> {
        Errno::check(result)
            .map(|_| ())
            .map_err(|errno| self.fail(what, errno))
    }

    fn fail(&self, what: &'static str, errno: Errno) -> PortError {
        PortError::Driver {
            port: self.name.clone(),
            what,
            errno,
        }
    }
}

fn port_ids() -> impl Iterator<Item = u16> {
    // SAFETY: takes any number; returns the next valid port or RTE_MAX_ETHPORTS.
    let next = |from| unsafe { sys::rte_eth_find_next(from) };
    std::iter::successors(Some(next(0)), move |&id| Some(next(id + 1)))
        .take_while(|&id| id < sys::SYS_ETH_MAX_PORTS)
}

fn port_name(id: u16) -> Option<String> {
    let mut name = [0; sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the buffer has the documented size.
    let result = unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: terminated on success.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}
