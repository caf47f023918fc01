//! The kernel's side of the actions: netlink, packet sockets, and the guard.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::plan::{PlannedAddress, PlannedPort};
use super::work::Hands;
use crate::guard::{Keeper, Undo};
use crate::kernel::{
    AnnounceError, Announcer, Carriers, KernelError, KernelRoute, Rtnl, SignalRoute, SignalRouteError,
    SignalRoutes,
};
use crate::track_file::{self, TrackFileError};

/// Works on the kernel of one network namespace.
pub struct Kernel {
    rtnl: Rtnl,
    routes: SignalRoutes,
    /// By device; opened ahead of need.
    announcers: BTreeMap<String, Announcer>,
    guard: Option<Arc<Keeper>>,
    carriers: Arc<Carriers>,
}

impl Kernel {
    /// Opens what is needed in the calling thread's network namespace, and removes stale signal routes.
    ///
    /// # Errors
    /// When the kernel cannot be spoken to, or keeps stale routes.
    pub fn open(guard: Option<Arc<Keeper>>, carriers: Arc<Carriers>) -> Result<Self, SignalRouteError> {
        let mut routes = SignalRoutes::open()?;
        let stale = routes.take_all()?;
        if stale > 0 {
            info!(stale, "signal routes of an earlier process were removed");
        }
        Ok(Self {
            rtnl: Rtnl::open()?,
            routes,
            announcers: BTreeMap::new(),
            guard,
            carriers,
        })
    }
}

impl Hands for Kernel {
    fn list(&mut self, undo: Undo) {
        // Without a guard the role changes all the same: what it would undo is found by its protocol at the next start.
        if let Some(Err(error)) = self.guard.as_ref().map(|guard| guard.update(undo)) {
            warn!(%error, "the guard does not know of a change");
        }
    }

    fn prepare(&mut self, device: &str) -> Result<(), AnnounceError> {
        if let Entry::Vacant(vacant) = self.announcers.entry(device.to_owned()) {
            vacant.insert(Announcer::open(device)?);
        }
        Ok(())
    }

    fn resolve(&mut self, route: &SignalRoute) -> Result<KernelRoute, SignalRouteError> {
        self.routes.resolve(&mut self.rtnl, route)
    }

    fn put_route(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError> {
        self.routes.put(route)
    }

    fn take_route(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError> {
        self.routes.take(route)
    }

    fn put_address(&mut self, planned: &PlannedAddress) -> Result<bool, KernelError> {
        planned.address.put(&mut self.rtnl)
    }

    fn take_address(&mut self, planned: &PlannedAddress) -> Result<bool, KernelError> {
        planned.address.take(&mut self.rtnl)
    }

    fn hide_port(&mut self, port: &PlannedPort, hidden: bool) -> Result<(), KernelError> {
        let rtnl = &mut self.rtnl;
        self.carriers.hide(port.ifindex, hidden, |carrier| {
            rtnl.set_carrier(port.ifindex, carrier)
        })
    }

    fn announce(&mut self, planned: &PlannedAddress) -> Result<(), AnnounceError> {
        self.prepare(&planned.device)?;
        let announcer = self.announcers.get(&planned.device);
        let sent = announcer.map_or(Ok(()), |announcer| announcer.announce(planned.address.address));
        if sent.is_err() {
            // The device may have been made anew, with another number: look it up again the next time.
            self.announcers.remove(&planned.device);
        }
        sent
    }

    fn put_track_file(&mut self, path: &Path, is_primary: bool) -> Result<bool, TrackFileError> {
        track_file::put(path, is_primary)
    }

    fn sweep(&mut self) -> Result<(), SignalRouteError> {
        self.routes.take_all().map(|_| ())
    }
}
