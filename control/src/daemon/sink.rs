//! The kernel's tables on their way to the workers: routes and neighbours into the FIB's writer, links to the port monitor.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use tandem_dataplane::routes::{Action, RouteWriter, Way};
use tandem_engine::program::InterfaceId;
use tracing::{debug, warn};

use crate::kernel::{
    FibUpdate, LinkUpdate, MirrorSink, NeighbourState, NeighbourUpdate, RouteAction, Update,
};

/// Actions remembered by pointer: what a dump of a million routes shares.
const ACTIONS_MAX: usize = 4096;

/// What the sink and everybody who asks about routes share. Control threads only.
pub(super) struct Routing {
    writer: Mutex<RouteWriter>,
    neighbours: Mutex<BTreeMap<(InterfaceId, IpAddr), NeighbourState>>,
    /// The first dump is complete: the FIB says what the kernel's tables say.
    loaded: AtomicBool,
    /// Routes the FIB refused.
    refused: AtomicU64,
}

impl Routing {
    pub(super) fn new(writer: RouteWriter) -> Self {
        Self {
            writer: Mutex::new(writer),
            neighbours: Mutex::default(),
            loaded: AtomicBool::new(false),
            refused: AtomicU64::new(0),
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
                if let Err(error) = self.routing.writer().set(network, length, action) {
                    // The first is told; the rest is a number.
                    if self.routing.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                        warn!(%error, "a route of the kernel did not fit; more of them are only counted");
                    }
                }
            }
            FibUpdate::Route4Gone {
                prefix: (network, length),
            } => self.routing.writer().remove(network, length),
            // IPv6 goes to the kernel whole, which routes it by its own table.
            FibUpdate::Route6 { .. } | FibUpdate::Route6Gone { .. } => {}
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
        if let IpAddr::V4(address) = update.address {
            let mac = match update.state {
                NeighbourState::Reachable(mac) => Some(mac),
                NeighbourState::Unresolved | NeighbourState::Failed | NeighbourState::Gone => None,
            };
            self.routing
                .writer()
                .neighbour(update.interface, address, mac, gone);
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
        RouteAction::NextHops(hops) => {
            let ways: Option<Vec<Way>> = hops
                .iter()
                .map(|hop| {
                    let gateway = match hop.gateway {
                        None => None,
                        Some(IpAddr::V4(gateway)) => Some(gateway),
                        // An IPv4 route by an IPv6 router (RFC 8950): the kernel sends these.
                        Some(IpAddr::V6(_)) => return None,
                    };
                    Some(Way {
                        interface: hop.interface,
                        gateway,
                        weight: hop.weight,
                    })
                })
                .collect();
            ways.map_or(Action::Kernel, Action::Ways)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::NextHop;

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
        assert_eq!(
            translate(&six),
            Action::Kernel,
            "the kernel can do all of it, we only half"
        );
    }
}
