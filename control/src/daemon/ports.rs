//! The port monitor: an interface is up when DPDK's link and the netdev's carrier both are, and its tap follows it.
//!
//! ```text
//!   DPDK link, polled --+
//!                       +--> up? --> the workers' flag, the tap's carrier --> the kernel's routes --> the FIB
//!   netlink, told ------+        '--> the monitors of redundancy sets
//! ```
//!
//! A redundant interface is up while the link of either member is; which one is active is decided beside ([`RedundantInterfaces`]).
//! Both are needed: DPDK's AF_XDP and AF_PACKET drivers go on saying "up" when the cable is out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_dataplane::dataplane::RunningPort;
use tandem_dataplane::interfaces::{InterfaceState, Interfaces};
use tracing::{info, warn};

use super::monitors::Feed;
use super::redundant::{PortLink, RedundantInterfaces};
use crate::api::model::DownReason;
use crate::kernel::{Carriers, LinkUpdate, Rtnl};

/// How often DPDK is asked for a link.
const POLL: Duration = Duration::from_millis(150);

const UP: u8 = 0;
const NO_LINK: u8 = 1;
const NO_CARRIER: u8 = 2;
const UNKNOWN: u8 = 3;

/// An interface as the control side knows it.
pub(super) struct InterfaceRecord {
    /// Its port; of a redundant interface both members'.
    pub ports: Vec<PortLink>,
    /// Its tap's name.
    pub tap: String,
    /// Its tap's number in the kernel.
    pub tap_ifindex: Option<u32>,
    /// [`UP`], [`NO_LINK`], [`NO_CARRIER`] or [`UNKNOWN`].
    state: AtomicU8,
}

impl InterfaceRecord {
    pub(super) fn new(ports: Vec<PortLink>, tap: String, tap_ifindex: Option<u32>) -> Self {
        Self {
            ports,
            tap,
            tap_ifindex,
            state: AtomicU8::new(UNKNOWN),
        }
    }

    /// Why it is down; `None` when it is up.
    pub(super) fn down_reason(&self) -> Option<DownReason> {
        match self.state.load(Ordering::Relaxed) {
            UP => None,
            NO_LINK => Some(DownReason::DpdkLink),
            NO_CARRIER => Some(DownReason::Carrier),
            _ => Some(DownReason::NotStarted),
        }
    }
}

/// DPDK's ports, for control threads: one at a time may speak to a port.
pub(super) struct Ports(Mutex<Vec<RunningPort>>);

impl Ports {
    pub(super) fn new(ports: Vec<RunningPort>) -> Self {
        Self(Mutex::new(ports))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<RunningPort>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// DPDK's link by port position.
    fn links(&self) -> Vec<bool> {
        let link = |p: &RunningPort| p.port.link().is_ok_and(|l| l.up);
        self.lock().iter().map(link).collect()
    }
}

/// What the monitor works on.
pub(super) struct Monitor {
    pub interfaces: Arc<Interfaces>,
    /// In the order of the interfaces.
    pub records: Arc<Vec<InterfaceRecord>>,
    pub ports: Arc<Ports>,
    pub links: Receiver<LinkUpdate>,
    pub rtnl: Rtnl,
    pub carriers: Arc<Carriers>,
    pub redundant: Arc<RedundantInterfaces>,
    /// Who has to know of links beside.
    pub feed: Feed,
    pub stop: Arc<AtomicBool>,
}

impl Monitor {
    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        // By netdev; one that was never reported has no carrier yet.
        let mut carriers: HashMap<String, bool> = HashMap::new();
        let mut told: Vec<Option<bool>> = vec![None; self.records.len()];
        while !self.stop.load(Ordering::Relaxed) {
            let due = self.redundant.due().map_or(POLL, |due| due.min(POLL));
            let mut update = match self.links.recv_timeout(due) {
                Ok(update) => Some(update),
                Err(RecvTimeoutError::Timeout) => None,
                // Without a watcher carriers stay as they were last seen.
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(POLL);
                    None
                }
            };
            while let Some(link) = update {
                carriers.insert(link.name, link.present && link.up && link.carrier);
                update = self.links.try_recv().ok();
            }
            let links = self.ports.links();
            let state_of = |port: &PortLink| {
                let reported = port.netdev.as_ref().map(|netdev| carriers.get(netdev).copied());
                let carrier = reported.is_none_or(|carrier| carrier.unwrap_or(false));
                let link = links.get(port.position).copied().unwrap_or(false);
                let state = match (link, carrier) {
                    (true, true) => UP,
                    (false, _) => NO_LINK,
                    (true, false) => NO_CARRIER,
                };
                // A carrier that was not reported yet has not failed.
                let is_known = reported.is_none_or(|carrier| carrier.is_some()) || !link;
                (state, is_known)
            };
            self.redundant.links(|port| {
                let (state, is_known) = state_of(port);
                is_known.then_some(state == UP)
            });
            let interfaces = Arc::clone(&self.interfaces);
            let records = Arc::clone(&self.records);
            for ((interface, record), told) in interfaces.all.iter().zip(records.iter()).zip(&mut told) {
                let states: Vec<(u8, bool)> = record.ports.iter().map(state_of).collect();
                // One member suffices: the codes grow with what is missing.
                let state = states.iter().map(|(state, _)| *state).min().unwrap_or(UNKNOWN);
                if record.state.swap(state, Ordering::Relaxed) != state {
                    self.changed(interface, record, state);
                }
                let is_known = state == UP || states.iter().all(|(_, is_known)| *is_known);
                if is_known && *told != Some(state == UP) {
                    *told = Some(state == UP);
                    self.feed.link(&interface.name, state == UP);
                }
            }
        }
    }

    fn changed(&mut self, interface: &InterfaceState, record: &InterfaceRecord, state: u8) {
        let up = state == UP;
        if !interface.is_redundant() {
            interface.set_up(up);
        }
        if up {
            info!(interface = %interface.name, "interface is up");
        } else {
            let reason = record.down_reason().map_or("", DownReason::as_str);
            warn!(interface = %interface.name, reason, "interface is down");
        }
        let Some(ifindex) = record.tap_ifindex else { return };
        let rtnl = &mut self.rtnl;
        let told = self
            .carriers
            .port(ifindex, up, |carrier| rtnl.set_carrier(ifindex, carrier));
        if let Err(error) = told {
            warn!(interface = %interface.name, %error, "the tap does not follow its port");
        }
    }
}
