//! The thread's work: from orders to steps in the spec's order, with what is in place, what failed, and what is due later.
//!
//! A new primary: virtual addresses and their announcements, then signal routes, then VRRP's tracking file. The loser: the file first,
//! then signal routes, then the addresses. Before anything is put in place the guard has it on its list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tandem_redundancy::signal::is_latest;
use tracing::{info, warn};

use super::Order;
use super::plan::{PlannedAddress, PlannedPort, Policies, SetPlan};
use crate::guard::{Gone, Undo};
use crate::kernel::{
    ANNOUNCE_INTERVAL, AnnounceError, KernelError, KernelRoute, SignalRoute, SignalRouteError,
};
use crate::track_file::TrackFileError;

/// Who does the steps.
pub trait Hands {
    /// The guard is told what to undo.
    fn list(&mut self, undo: Undo);
    /// Makes announcements on a device possible, ahead of need.
    ///
    /// # Errors
    /// When there is no such device.
    fn prepare(&mut self, device: &str) -> Result<(), AnnounceError>;
    /// Looks up the names in a route.
    ///
    /// # Errors
    /// See [`SignalRouteError`].
    fn resolve(&mut self, route: &SignalRoute) -> Result<KernelRoute, SignalRouteError>;
    /// Puts a route in; `false` when it was there.
    ///
    /// # Errors
    /// See [`SignalRouteError`].
    fn put_route(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError>;
    /// Takes a route out; `false` when it was not there.
    ///
    /// # Errors
    /// See [`SignalRouteError`].
    fn take_route(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError>;
    /// Puts an address on its device; `false` when it was there.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn put_address(&mut self, planned: &PlannedAddress) -> Result<bool, KernelError>;
    /// Takes an address off its device; `false` when it was not there.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn take_address(&mut self, planned: &PlannedAddress) -> Result<bool, KernelError>;
    /// Hides a port from the kernel, or shows it again.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn hide_port(&mut self, port: &PlannedPort, hidden: bool) -> Result<(), KernelError>;
    /// Announces an address once.
    ///
    /// # Errors
    /// See [`AnnounceError`].
    fn announce(&mut self, planned: &PlannedAddress) -> Result<(), AnnounceError>;
    /// Makes a tracking file say whether its set is primary; `false` when it did already.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put_track_file(&mut self, path: &Path, is_primary: bool) -> Result<bool, TrackFileError>;
    /// Takes all signal routes out, also those nobody remembers.
    ///
    /// # Errors
    /// See [`SignalRouteError`].
    fn sweep(&mut self) -> Result<(), SignalRouteError>;
}

/// What came of a set's latest orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetActions {
    /// The role that was carried out; `None`: none yet.
    pub is_primary: Option<bool>,
    /// Its epoch.
    pub epoch: u64,
    /// Signal routes that are in the kernel.
    pub routes: Vec<KernelRoute>,
    /// Virtual addresses that are on their devices.
    pub addresses: Vec<PlannedAddress>,
    /// The tracking file, and whether it says that the set is primary here.
    pub track_file: Option<(PathBuf, bool)>,
    /// Ports that show as down.
    pub hidden: Vec<PlannedPort>,
    /// Why something is not as it should be; empty: everything is. They are tried again every second.
    pub failures: Vec<String>,
    /// How long the last change of role took.
    pub took: Duration,
}

/// A set as the thread knows it.
struct Set {
    plan: SetPlan,
    /// The latest order: whether it is primary, and the epoch.
    ordered: Option<(bool, u64)>,
    /// It is being handed over: its addresses are to go, its routes stay.
    is_leaving: bool,
    /// Its addresses are announced although they are in place.
    announces: bool,
    /// Something has changed since it was last acted on.
    is_due: bool,
    actions: SetActions,
    /// Routes in place, by what was configured.
    routes: Vec<(SignalRoute, KernelRoute)>,
    /// The set is configured no more: it goes when nothing of it is left.
    is_gone: bool,
}

/// An announcement that is still to be made.
struct Announcement {
    at: Instant,
    set: u8,
    planned: PlannedAddress,
    left: u8,
}

/// All sets, and who does the work.
pub(super) struct Work<H> {
    hands: H,
    sets: BTreeMap<u8, Set>,
    /// Roles of sets whose plans are yet to come: at the start, and with a commit that brings a set.
    early: BTreeMap<u8, (bool, u64)>,
    policies: Policies,
    announcements: Vec<Announcement>,
    gone: Vec<Gone>,
    /// When it last tried what had failed.
    tried: Option<Instant>,
    /// As the guard has it.
    listed: Undo,
}

impl<H: Hands> Work<H> {
    pub(super) fn new(hands: H) -> Self {
        Self {
            hands,
            sets: BTreeMap::new(),
            early: BTreeMap::new(),
            policies: Policies::default(),
            announcements: Vec::new(),
            gone: Vec::new(),
            tried: None,
            listed: Undo::default(),
        }
    }

    /// Takes an order in, without doing anything yet. `true`: it is the last.
    pub(super) fn take_in(&mut self, order: Order) -> bool {
        match order {
            Order::Stop => return true,
            Order::Assert => self.assert(),
            Order::Gone(gone) => self.gone = gone,
            Order::Plans(plans) => self.take_plans(plans),
            Order::Policy { name, is_active } => {
                let changed = if is_active {
                    self.policies.active.insert(name)
                } else {
                    self.policies.active.remove(&name)
                };
                if changed {
                    self.sets.values_mut().for_each(|set| set.is_due = true);
                }
            }
            Order::Watched(policies) => {
                if self.policies.watched != policies {
                    self.policies.watched = policies;
                    self.sets.values_mut().for_each(|set| set.is_due = true);
                }
            }
            Order::Leaving { set } => {
                if let Some(known) = self.sets.get_mut(&set) {
                    (known.is_leaving, known.is_due) = (true, true);
                }
            }
            Order::Announce { set } => {
                if let Some(known) = self.sets.get_mut(&set).filter(|known| known.role() == Some(true)) {
                    (known.announces, known.is_due) = (true, true);
                }
            }
            Order::Role {
                set,
                is_primary,
                epoch,
            } => match self.sets.get_mut(&set) {
                Some(known) if !known.is_gone && is_latest(known.ordered.map(|(_, last)| last), epoch) => {
                    known.ordered = Some((is_primary, epoch));
                    (known.is_leaving, known.is_due) = (false, true);
                }
                Some(known) if !known.is_gone => {}
                _ => {
                    if is_latest(self.early.get(&set).map(|(_, last)| *last), epoch) {
                        self.early.insert(set, (is_primary, epoch));
                    }
                }
            },
        }
        false
    }

    /// All that should be there is put in once more with the next [`Work::act`].
    pub(super) fn assert(&mut self) {
        self.sets.values_mut().for_each(|set| set.is_due = true);
    }

    fn take_plans(&mut self, plans: Vec<SetPlan>) {
        for set in self.sets.values_mut() {
            if set.is_gone {
                // Should it come back, it begins anew, and so does its epoch.
                set.ordered = None;
            }
            set.is_gone = true;
            set.is_due = true;
        }
        for plan in plans {
            for planned in &plan.addresses {
                if let Err(error) = self.hands.prepare(&planned.device) {
                    warn!(set = plan.set, %error, "announcements of a virtual address");
                }
            }
            match self.sets.get_mut(&plan.set) {
                Some(set) => {
                    set.ordered = set.ordered.or_else(|| self.early.get(&plan.set).copied());
                    (set.plan, set.is_gone) = (plan, false);
                }
                None => {
                    let set = Set {
                        ordered: self.early.get(&plan.set).copied(),
                        is_due: true,
                        is_leaving: false,
                        announces: false,
                        actions: SetActions::default(),
                        routes: Vec::new(),
                        is_gone: false,
                        plan,
                    };
                    self.sets.insert(set.plan.set, set);
                }
            }
        }
        self.early.clear();
    }

    /// When something is to be done without an order.
    pub(super) fn next_due(&self, retry: Duration) -> Option<Instant> {
        let announcement = self.announcements.iter().map(|next| next.at).min();
        let has_failed = self.sets.values().any(|set| !set.actions.failures.is_empty());
        let again = self.tried.filter(|_| has_failed).map(|tried| tried + retry);
        announcement.into_iter().chain(again).min()
    }

    /// Does what is due. Sets that lose come first.
    pub(super) fn act(&mut self, now: Instant, retry: Duration) {
        let is_again = self.tried.is_none_or(|tried| now >= tried + retry);
        for set in self.sets.values_mut() {
            set.is_due |= is_again && !set.actions.failures.is_empty();
        }
        let mut due: Vec<u8> = self
            .sets
            .values()
            .filter(|s| s.is_due)
            .map(|s| s.plan.set)
            .collect();
        due.sort_by_key(|number| self.sets.get(number).is_some_and(Set::gains));
        if !due.is_empty() {
            self.tried = Some(now);
            self.list_with(&due);
        } else if self.listed.gone != self.gone {
            self.list_with(&[]);
        }
        for number in &due {
            if let Some(mut set) = self.sets.remove(number) {
                let begun = Instant::now();
                self.change(&mut set, now);
                set.settle(begun);
                let is_left = !set.routes.is_empty()
                    || !set.actions.addresses.is_empty()
                    || set.actions.track_file.is_some()
                    || !set.actions.hidden.is_empty();
                if is_left || !set.is_gone {
                    self.sets.insert(*number, set);
                }
            }
        }
        if !due.is_empty() {
            self.list_with(&[]);
        }
        self.announce_due(now);
    }

    /// Everything is taken out: the clean stop.
    pub(super) fn withdraw(&mut self) {
        for set in self.sets.values_mut() {
            set.is_gone = true;
            set.is_due = true;
        }
        self.announcements.clear();
        self.act(Instant::now(), Duration::ZERO);
        if let Err(error) = self.hands.sweep() {
            warn!(%error, "signal routes are left behind");
        }
    }

    pub(super) fn results(&self) -> BTreeMap<u8, SetActions> {
        let actions = self
            .sets
            .iter()
            .map(|(number, set)| (*number, set.actions.clone()));
        actions.collect()
    }

    /// Gives the guard all that is in place, and what these sets are about to put in.
    fn list_with(&mut self, due: &[u8]) {
        let mut undo = Undo {
            gone: self.gone.clone(),
            ..Undo::default()
        };
        for (number, set) in &self.sets {
            undo.routes
                .extend(set.routes.iter().map(|(_, route)| route.clone()));
            undo.addresses
                .extend(set.actions.addresses.iter().map(|a| a.address));
            // Whatever they say: that nobody is primary here is true then.
            undo.track_files.extend(set.plan.track_file.clone());
            undo.track_files
                .extend(set.actions.track_file.iter().map(|(path, _)| path.clone()));
            if due.contains(number) {
                // A name that cannot be looked up fails once more when the route is put in, and is told then.
                let wanted = set.wanted_routes(&self.policies);
                undo.routes
                    .extend(wanted.iter().filter_map(|r| self.hands.resolve(r).ok()));
                undo.addresses
                    .extend(set.wanted_addresses().iter().map(|a| a.address));
            }
        }
        undo.routes.sort_unstable();
        undo.routes.dedup();
        undo.addresses.sort_unstable();
        undo.addresses.dedup();
        undo.track_files.sort_unstable();
        undo.track_files.dedup();
        if undo != self.listed {
            self.listed = undo.clone();
            self.hands.list(undo);
        }
    }

    /// Brings a set to what it should be. It is not among the others meanwhile.
    fn change(&mut self, set: &mut Set, now: Instant) {
        set.is_due = false;
        set.actions.failures.clear();
        if set.is_leaving && !set.is_gone {
            // The routes are a primary's still, and were looked after as such.
            self.put_track_file(set);
            self.take_addresses(set);
        } else if set.role() == Some(true) {
            self.follow_ports(set);
            self.put_addresses(set, now);
            self.put_routes(set);
            self.take_routes(set);
            self.take_addresses(set);
            self.put_track_file(set);
        } else {
            self.put_track_file(set);
            self.take_routes(set);
            self.put_routes(set);
            self.take_addresses(set);
            self.follow_ports(set);
        }
    }

    /// Hides the set's ports, or shows them. Nobody hears an announcement by a port that is hidden.
    fn follow_ports(&mut self, set: &mut Set) {
        let wanted = if set.is_gone || set.role() == Some(true) {
            Vec::new()
        } else {
            set.plan.ports.clone()
        };
        for port in std::mem::take(&mut set.actions.hidden) {
            if !wanted.contains(&port)
                && let Err(error) = self.hands.hide_port(&port, false)
            {
                set.fail(format!(
                    "the port {} still shows as down: {error}",
                    port.interface
                ));
                set.actions.hidden.push(port);
            }
        }
        for port in wanted {
            match self.hands.hide_port(&port, true) {
                Ok(()) => set.actions.hidden.push(port),
                Err(error) => set.fail(format!(
                    "the port {} does not show as down: {error}",
                    port.interface
                )),
            }
        }
    }

    fn put_addresses(&mut self, set: &mut Set, now: Instant) {
        let announces = std::mem::take(&mut set.announces) || set.actions.is_primary != Some(true);
        for planned in set.wanted_addresses() {
            match self.hands.put_address(&planned) {
                Ok(is_new) => {
                    if !set.actions.addresses.contains(&planned) {
                        set.actions.addresses.push(planned.clone());
                    }
                    if is_new || announces {
                        let number = set.plan.set;
                        self.announcements
                            .retain(|a| a.set != number || a.planned != planned);
                        if let Err(error) = self.hands.announce(&planned) {
                            warn!(set = number, address = %planned.address.address, %error, "not announced");
                        }
                        self.schedule(number, planned, now, set.plan.announcements.saturating_sub(1));
                    }
                }
                Err(error) => set.fail(format!("virtual address: {error}")),
            }
        }
    }

    fn take_addresses(&mut self, set: &mut Set) {
        let wanted = set.wanted_addresses();
        let number = set.plan.set;
        for planned in std::mem::take(&mut set.actions.addresses) {
            if wanted.contains(&planned) {
                set.actions.addresses.push(planned);
                continue;
            }
            self.announcements
                .retain(|a| a.set != number || a.planned != planned);
            if let Err(error) = self.hands.take_address(&planned) {
                set.fail(format!("virtual address: {error}"));
                set.actions.addresses.push(planned);
            }
        }
    }

    fn put_routes(&mut self, set: &mut Set) {
        let all = set.wanted_routes(&self.policies);
        for wanted in &all {
            let resolved = self.hands.resolve(wanted);
            if let Ok(route) = &resolved {
                self.take_predecessors(set, route, &all);
            }
            let put = resolved.and_then(|route| self.hands.put_route(&route).map(|_| route));
            let wanted = wanted.clone();
            match put {
                Ok(route) => {
                    set.routes.retain(|(configured, _)| *configured != wanted);
                    set.routes.push((wanted, route));
                }
                Err(error) => set.fail(error.to_string()),
            }
        }
    }

    /// Takes out what is in a route's place and not wanted any more: the same one of an older epoch, or what was to be there in
    /// the other role. With another metric the kernel would keep both, and use the wrong one. The removal comes first: a
    /// routing daemon that imports a table knows one route to a prefix, and would lose the new one with the old one.
    fn take_predecessors(&mut self, set: &mut Set, route: &KernelRoute, all: &[SignalRoute]) {
        let place = (route.prefix, route.table);
        for (configured, old) in std::mem::take(&mut set.routes) {
            if (old.prefix, old.table) != place || all.contains(&configured) {
                set.routes.push((configured, old));
            } else {
                self.take_route(set, configured, old);
            }
        }
    }

    fn take_routes(&mut self, set: &mut Set) {
        let wanted = set.wanted_routes(&self.policies);
        for (configured, route) in std::mem::take(&mut set.routes) {
            if wanted.contains(&configured) {
                set.routes.push((configured, route));
            } else {
                self.take_route(set, configured, route);
            }
        }
    }

    /// Takes a route out that is not wanted any more, unless another set has it too.
    fn take_route(&mut self, set: &mut Set, configured: SignalRoute, route: KernelRoute) {
        let mut others = self.sets.values().flat_map(|other| &other.routes);
        if others.any(|(_, theirs)| *theirs == route) {
            return;
        }
        if let Err(error) = self.hands.take_route(&route) {
            set.fail(error.to_string());
            set.routes.push((configured, route));
        }
    }

    /// The set's file says its role. One that is its own no more, unless it is another set's now, says that nobody is primary here.
    fn put_track_file(&mut self, set: &mut Set) {
        let (is_primary, wanted) = (set.gains(), set.wanted_track_file());
        if let Some((old, said)) = set
            .actions
            .track_file
            .take_if(|(old, _)| Some(&*old) != wanted.as_ref())
        {
            let is_taken = |other: &Set| !other.is_gone && other.plan.track_file.as_ref() == Some(&old);
            if !self.sets.values().any(is_taken)
                && let Err(error) = self.hands.put_track_file(&old, false)
            {
                set.fail(error.to_string());
                // A set that goes stays until this is done; of one that stays the new file counts.
                set.actions.track_file = wanted.is_none().then_some((old, said));
            }
        }
        if let Some(path) = wanted {
            match self.hands.put_track_file(&path, is_primary) {
                Ok(_) => set.actions.track_file = Some((path, is_primary)),
                Err(error) => set.fail(error.to_string()),
            }
        }
    }

    fn schedule(&mut self, set: u8, planned: PlannedAddress, now: Instant, left: u8) {
        if left > 0 {
            self.announcements.push(Announcement {
                at: now + ANNOUNCE_INTERVAL,
                set,
                planned,
                left,
            });
        }
    }

    fn announce_due(&mut self, now: Instant) {
        let all = std::mem::take(&mut self.announcements);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|next| next.at <= now);
        self.announcements = later;
        for next in due {
            if let Err(error) = self.hands.announce(&next.planned) {
                warn!(set = next.set, address = %next.planned.address.address, %error, "not announced");
            }
            self.schedule(next.set, next.planned, now, next.left - 1);
        }
    }
}

impl Set {
    /// The role to bring about; that of a set that is gone is none.
    fn role(&self) -> Option<bool> {
        self.ordered
            .filter(|_| !self.is_gone)
            .map(|(is_primary, _)| is_primary)
    }

    /// It is to have what a primary has.
    fn gains(&self) -> bool {
        self.role() == Some(true) && !self.is_leaving
    }

    fn wanted_routes(&self, policies: &Policies) -> Vec<SignalRoute> {
        if self.is_gone {
            return Vec::new();
        }
        self.plan.wanted_routes(self.ordered, policies)
    }

    fn wanted_addresses(&self) -> Vec<PlannedAddress> {
        self.plan.wanted_addresses(Some(self.gains()))
    }

    fn wanted_track_file(&self) -> Option<PathBuf> {
        self.plan.track_file.clone().filter(|_| !self.is_gone)
    }

    fn fail(&mut self, why: String) {
        self.actions.failures.push(why);
    }

    /// What came of it, for whoever asks, and in the log when the role is another.
    fn settle(&mut self, begun: Instant) {
        let before = (self.actions.is_primary, self.actions.epoch);
        self.actions.is_primary = self.role();
        self.actions.epoch = self.ordered.map_or(0, |(_, epoch)| epoch);
        self.actions.routes = self.routes.iter().map(|(_, route)| route.clone()).collect();
        if before == (self.actions.is_primary, self.actions.epoch) {
            return;
        }
        self.actions.took = begun.elapsed();
        let (set, epoch) = (self.plan.set, self.actions.epoch);
        let (routes, addresses) = (self.routes.len(), self.actions.addresses.len());
        let took_us = self.actions.took.as_micros() as u64;
        info!(set, epoch, primary = ?self.actions.is_primary, routes, addresses, took_us, "actions of a role");
        for failure in &self.actions.failures {
            warn!(set, epoch, "{failure}");
        }
    }
}
