//! The kernel's tables on their way to the workers: routes and neighbours into the FIB's writer, links to the port monitor.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use tandem_dataplane::routes::{Action, RouteError, RouteWriter, Way};
use tandem_engine::program::InterfaceId;
use tracing::{debug, warn};

use crate::kernel::{
    FibUpdate, LinkUpdate, MirrorSink, NeighbourState, NeighbourUpdate, Prefix, RouteAction, Update,
};

/// Actions remembered by pointer: what a dump of a million routes shares.
const ACTIONS_MAX: usize = 4096;

/// What the sink and everybody who asks about routes share. Control threads only.
pub(super) struct Routing {
    writer: Mutex<RouteWriter>,
    neighbours: Mutex<BTreeMap<(InterfaceId, IpAddr), NeighbourState>>,
    /// The first dump is complete: the FIB says what the kernel's tables say.
    loaded: AtomicBool,
    /// Times the FIB refused a route.
    refused: AtomicU64,
    /// Routes of the kernel that the FIB does not have now.
    missing: Missing,
}

impl Routing {
    pub(super) fn new(writer: RouteWriter) -> Self {
        Self {
            writer: Mutex::new(writer),
            neighbours: Mutex::default(),
            loaded: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            missing: Missing::default(),
        }
    }

    /// The FIB's writer.
    pub(super) fn writer(&self) -> MutexGuard<'_, RouteWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Neighbours as the kernel told, by interface and address.
    pub(super) fn neighbours(&self) -> MutexGuard<'_, BTreeMap<(InterfaceId, IpAddr), NeighbourState>> {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Routes of the kernel that the FIB refused and that the kernel still has.
    pub(super) fn missing(&self) -> usize {
        self.missing
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Prefixes that the kernel has a route for, and the FIB not the same. A later dump does not tell them again when nothing
/// has changed, so they stay known until they fit or are gone.
#[derive(Default)]
struct Missing(Mutex<HashSet<Prefix>>);

impl Missing {
    fn note(&self, prefix: Prefix, missing: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missing {
            all.insert(prefix);
        } else if !all.is_empty() {
            all.remove(&prefix);
        }
    }
}

/// Takes the watcher's updates.
pub(super) struct Sink {
    routing: Arc<Routing>,
    links: mpsc::Sender<LinkUpdate>,
    actions: HashMap<usize, (Arc<RouteAction>, Arc<Action>)>,
}

impl Sink {
    pub(super) fn new(routing: Arc<Routing>, links: mpsc::Sender<LinkUpdate>) -> Self {
        Self {
            routing,
            links,
            actions: HashMap::new(),
        }
    }

    /// Equal actions come as the same allocation: translated once. The map keeps the allocation, so that an address in it
    /// names one action.
    fn action(&mut self, action: Arc<RouteAction>) -> Arc<Action> {
        let key = Arc::as_ptr(&action) as usize;
        if let Some((_, known)) = self.actions.get(&key) {
            return Arc::clone(known);
        }
        if self.actions.len() >= ACTIONS_MAX {
            self.actions.clear();
        }
        let made = Arc::new(translate(&action));
        self.actions.insert(key, (action, Arc::clone(&made)));
        made
    }

    fn fib(&mut self, update: FibUpdate) {
        match update {
            FibUpdate::Route4 {
                prefix: (network, length),
                action,
            } => {
                let action = self.action(action);
                let set = self.routing.writer().set(network, length, action);
                self.entered(Prefix::V4(network, length), set);
            }
            FibUpdate::Route6 {
                prefix: (network, length),
                action,
            } => {
                let action = self.action(action);
                let set = self.routing.writer().set6(network, length, action);
                self.entered(Prefix::V6(network, length), set);
            }
            FibUpdate::Route4Gone {
                prefix: (network, length),
            } => {
                self.routing.writer().remove(network, length);
                self.routing.missing.note(Prefix::V4(network, length), false);
            }
            FibUpdate::Route6Gone {
                prefix: (network, length),
            } => {
                self.routing.writer().remove6(network, length);
                self.routing.missing.note(Prefix::V6(network, length), false);
            }
        }
    }

    fn entered(&self, prefix: Prefix, set: Result<(), RouteError>) {
        self.routing.missing.note(prefix, set.is_err());
        if let Err(error) = set {
            // The first is told; the rest is a number.
            if self.routing.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                warn!(%error, "a route of the kernel did not fit; more of them are only counted");
            }
        }
    }

    fn neighbour(&self, update: &NeighbourUpdate) {
        let key = (update.interface, update.address);
        let gone = update.state == NeighbourState::Gone;
        if gone {
            self.routing.neighbours().remove(&key);
        } else {
            self.routing.neighbours().insert(key, update.state);
        }
        let mac = match update.state {
            NeighbourState::Reachable(mac) => Some(mac),
            NeighbourState::Unresolved | NeighbourState::Failed | NeighbourState::Gone => None,
        };
        let mut writer = self.routing.writer();
        match update.address {
            IpAddr::V4(address) => writer.neighbour(update.interface, address, mac, gone),
            IpAddr::V6(address) => writer.neighbour6(update.interface, address, mac, gone),
        }
    }
}

impl MirrorSink for Sink {
    fn apply(&mut self, update: Update) {
        match update {
            Update::Fib(update) => self.fib(update),
            Update::Neighbour(update) => self.neighbour(&update),
            Update::Link(update) => {
                // A monitor that has ended needs no links.
                let _stopping = self.links.send(update);
            }
            Update::EndOfDump => {
                self.routing.writer().publish();
                self.routing.loaded.store(true, Ordering::Release);
                debug!(routes = self.routing.writer().route_count(), "kernel tables read");
            }
        }
    }

    fn batch_end(&mut self) {
        self.routing.writer().publish();
    }
}

/// What the workers make of an action of the kernel's.
fn translate(action: &RouteAction) -> Action {
    match action {
        RouteAction::Local | RouteAction::Punt => Action::Kernel,
        RouteAction::Blackhole => Action::Blackhole,
        RouteAction::Unreachable => Action::Unreachable,
        RouteAction::Prohibited => Action::Prohibited,
        RouteAction::NextHops(hops) => Action::Ways(
            hops.iter()
                .map(|hop| Way {
                    interface: hop.interface,
                    gateway: hop.gateway,
                    weight: hop.weight,
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod kernel_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::NextHop;

    #[test]
    fn a_refused_route_is_missing_until_it_fits_or_goes() {
        let missing = Missing::default();
        let count = || missing.0.lock().expect("no panic").len();
        let prefix = |last: u8| match last {
            3.. => Prefix::V4(0xc633_6400 | u32::from(last), 32),
            _ => Prefix::V6(0x2001_0db8 << 96 | u128::from(last), 128),
        };
        missing.note(prefix(1), false);
        assert_eq!(count(), 0);
        missing.note(prefix(1), true);
        missing.note(prefix(1), true);
        missing.note(prefix(2), true);
        assert_eq!(count(), 2, "each once, however often it was refused");
        missing.note(prefix(3), false);
        missing.note(prefix(1), false);
        assert_eq!(count(), 1);
        missing.note(prefix(2), false);
        assert_eq!(count(), 0);
    }

    #[test]
    fn actions_keep_their_meaning() {
        let hop = |gateway: Option<&str>, weight| NextHop {
            interface: 3,
            gateway: gateway.map(|g| g.parse().expect("address")),
            weight,
        };
        assert_eq!(translate(&RouteAction::Local), Action::Kernel);
        assert_eq!(translate(&RouteAction::Prohibited), Action::Prohibited);
        let two = RouteAction::NextHops(vec![hop(Some("192.0.2.1"), 2), hop(None, 1)]);
        let way = |gateway, weight| Way {
            interface: 3,
            gateway,
            weight,
        };
        let gateway = Some("192.0.2.1".parse().expect("address"));
        assert_eq!(translate(&two), Action::Ways(vec![way(gateway, 2), way(None, 1)]));
        let six = RouteAction::NextHops(vec![hop(Some("192.0.2.1"), 1), hop(Some("fe80::1"), 1)]);
        let router = Some("fe80::1".parse().expect("address"));
        assert_eq!(
            translate(&six),
            Action::Ways(vec![way(gateway, 1), way(router, 1)])
        );
    }
}
