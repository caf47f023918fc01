//! Network ports: finding or making them, configuring, starting, stopping.
//!
//! ```text
//!   attach / by_name -> configure -> start -> rx_queue, tx_queue -> (drop queues) -> stop -> configure ..
//!                                                                                        \-> drop: closed
//! ```
//!
//! A port has one [`Port`] handle, which controls it, and one handle per queue, which moves packets. Closing
//! waits for the last of them: a `Port` dropped while a worker still polls is closed when the worker drops its
//! queues.

mod config;
mod control;
mod queue;

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::CString;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;
use thiserror::Error;

pub use config::{
    DeviceInfo, Link, MacAddr, PortConfig, PortGrants, PortStats, RssFields, RxOffloads, TxOffloads,
};
pub use queue::{RxQueue, TxQueue};

use crate::eal::{Eal, Registry};
use crate::errno::Errno;
use crate::mempool::Mempool;

/// Why something was not done with a port.
#[derive(Debug, Error)]
pub enum PortError {
    /// There is no such port.
    #[error("no port named {0:?}")]
    NotFound(String),
    /// The port has a [`Port`] handle already.
    #[error("port {0:?} is in use")]
    InUse(String),
    /// The device could not be attached: it is missing, taken, bound to another driver, or the arguments are
    /// wrong. DPDK's log has more.
    #[error("cannot attach {devargs:?}: {errno}")]
    Attach {
        /// The device and its arguments.
        devargs: String,
        /// DPDK's reason.
        errno: Errno,
    },
    /// A configured number is beyond what the device can do.
    #[error("port {port}: {what} {asked} out of range {least}..={most}")]
    Range {
        /// The port's name.
        port: String,
        /// Which number.
        what: &'static str,
        /// What was asked for.
        asked: u32,
        /// The smallest possible.
        least: u32,
        /// The largest possible.
        most: u32,
    },
    /// The port is started; stop it first.
    #[error("port {0} is started")]
    Started(String),
    /// The port is not started, or was never configured.
    #[error("port {0} is not started")]
    NotStarted(String),
    /// Queue handles exist; drop them first.
    #[error("port {0} has queues in use")]
    QueuesInUse(String),
    /// There is no such queue, or it has a handle already.
    #[error("port {port} has no free queue {queue}")]
    Queue {
        /// The port's name.
        port: String,
        /// The queue's number.
        queue: u16,
    },
    /// The driver or DPDK refused.
    #[error("port {port}: cannot {what}: {errno}")]
    Driver {
        /// The port's name.
        port: String,
        /// What was tried.
        what: &'static str,
        /// The reason.
        errno: Errno,
    },
}

impl PortError {
    /// Whether the driver merely lacks the function.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Driver { errno, .. } if errno.is_unsupported())
    }
}

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
            // SAFETY: the device outlives its closed port, and has no other open one; the registry is locked, as
            // in attach.
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

    /// Attaches a device, unless it is already, and takes control of its (first free) port. Dropping the handle
    /// detaches the device.
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

    /// Sets up the port and its queues; received packets come in mbufs of `pool`. Can be repeated while
    /// stopped.
    ///
    /// # Errors
    /// [`PortError::Started`], [`PortError::Range`], or the driver's. The port then needs another `configure`
    /// before it can start.
    pub fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<PortGrants, PortError> {
        if self.core.state().started {
            return Err(PortError::Started(self.name.clone()));
        }
        self.queues = None;
        let info = raw_info_of(self)?;
        self.in_range("rx_queues", config.rx_queues, 1, info.max_rx_queues)?;
        self.in_range("tx_queues", config.tx_queues, 1, info.max_tx_queues)?;
        if let Some(mtu) = config.mtu {
            self.in_range("mtu", mtu, info.min_mtu, info.max_mtu)?;
        }

        let rss = granted_rss(config, &info);
        let mut rx_offloads = config.rx_offloads;
        rx_offloads.set(RxOffloads::RSS_HASH, !rss.is_empty());
        // Ethernet header, two VLAN tags, and the frame check sequence that some devices deliver.
        const L2_OVERHEAD: u32 = 14 + 8 + 4;
        if config
            .mtu
            .is_some_and(|mtu| u32::from(mtu) + L2_OVERHEAD > u32::from(pool.data_room()))
        {
            rx_offloads |= RxOffloads::SCATTER;
        }
        let rx_offloads = rx_offloads & RxOffloads::from_bits_truncate(info.rx_offload_capa);
        let tx_offloads = config.tx_offloads & TxOffloads::from_bits_truncate(info.tx_offload_capa);

        // SAFETY: integers, null pointers, and unions of such: zero is the documented default.
        let mut raw: sys::rte_eth_conf = unsafe { std::mem::zeroed() };
        raw.rxmode.mtu = config.mtu.map_or(0, u32::from);
        raw.rxmode.offloads = rx_offloads.bits();
        raw.txmode.offloads = tx_offloads.bits();
        if !rss.is_empty() {
            raw.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            raw.rx_adv_conf.rss_conf.rss_hf = rss.bits();
        }
        // SAFETY: stopped, so nobody polls; `raw` is readable and copied.
        let result =
            unsafe { sys::rte_eth_dev_configure(self.id(), config.rx_queues, config.tx_queues, &raw) };
        self.check("configure", result)?;
        let (rx_desc, tx_desc) = self.set_up_queues(config, pool)?;

        let mtu_applied = match config.mtu {
            None => true,
            Some(mtu) => self.granted(Port::set_mtu, mtu)?,
        };
        if config.promiscuous != self.promiscuous() {
            self.granted(Port::set_promiscuous, config.promiscuous)?;
        }
        if config.allmulticast != self.allmulticast() {
            self.granted(Port::set_allmulticast, config.allmulticast)?;
        }
        self.queues = Some((config.rx_queues, config.tx_queues));
        Ok(PortGrants {
            rx_desc,
            tx_desc,
            mtu: self.mtu()?,
            mtu_applied,
            promiscuous: self.promiscuous(),
            allmulticast: self.allmulticast(),
            rss,
            rx_offloads,
            tx_offloads,
        })
    }

    fn set_up_queues(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(u16, u16), PortError> {
        let id = self.id();
        let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
        // SAFETY: both numbers are writable.
        let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx_desc, &mut tx_desc) };
        self.check("size queues", result)?;
        // SAFETY: takes any port number. -1, for none, is also DPDK's value for any.
        let socket = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
        for queue in 0..config.rx_queues {
            // SAFETY: configured and stopped; a null configuration is the default; the pool outlives the port,
            // since both hold the EAL and pools go with it.
            let result = unsafe {
                sys::rte_eth_rx_queue_setup(id, queue, rx_desc, socket, std::ptr::null(), pool.as_ptr())
            };
            self.check("set up receive queue", result)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let result = unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx_desc, socket, std::ptr::null()) };
            self.check("set up transmit queue", result)?;
        }
        Ok((rx_desc, tx_desc))
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

    /// Whether the driver did it; a missing function is no error.
    fn granted<T>(
        &mut self,
        set: impl FnOnce(&mut Self, T) -> Result<(), PortError>,
        value: T,
    ) -> Result<bool, PortError> {
        match set(self, value) {
            Ok(()) => Ok(true),
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn in_range(&self, what: &'static str, asked: u16, least: u16, most: u16) -> Result<(), PortError> {
        if (least..=most).contains(&asked) {
            return Ok(());
        }
        let (asked, least, most) = (asked.into(), least.into(), most.into());
        Err(PortError::Range {
            port: self.name.clone(),
            what,
            asked,
            least,
            most,
        })
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

/// RSS as far as the device lists it. Narrowing flags are passed as asked, since devices that can do them often
/// do not list them; one that cannot refuses or, documented as such, ignores them.
fn granted_rss(config: &PortConfig, info: &sys::rte_eth_dev_info) -> RssFields {
    let capable = RssFields::from_bits_truncate(info.flow_type_rss_offloads);
    let Some(asked) = config.rss else {
        return RssFields::empty();
    };
    let packets = asked & capable & !RssFields::NARROWING;
    if packets.is_empty() {
        packets
    } else {
        packets | (asked & RssFields::NARROWING)
    }
}

fn raw_info_of(port: &Port) -> Result<sys::rte_eth_dev_info, PortError> {
    control::raw_info(port.id()).map_err(|errno| port.fail("get device info", errno))
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
