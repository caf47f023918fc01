//! The whole model: decoded kernel messages in, the dataplane's updates out. Pure glue between the three tables.

use super::links::{Binding, LinkTable};
use super::message::Event;
use super::neighbours::{NeighbourChange, NeighbourTable};
use super::routes::{Removal, RouteTable};
use super::types::{FibUpdate, LinkUpdate, NeighbourUpdate, Update};

/// Links, routes and neighbours together.
#[derive(Default)]
pub(super) struct Mirror {
    pub links: LinkTable,
    pub routes: RouteTable,
    pub neighbours: NeighbourTable,
    fib: Vec<FibUpdate>,
    link: Vec<LinkUpdate>,
    neighbour: Vec<NeighbourChange>,
}

/// What the kernel may have done without a word, so that a dump should follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aftermath {
    Nothing,
    /// Routes or next-hop objects may be gone (or not as assumed).
    VerifyRoutes,
}

impl Mirror {
    /// A notification.
    pub(super) fn notified(&mut self, event: Event, out: &mut Vec<Update>) -> Aftermath {
        let mut aftermath = Aftermath::Nothing;
        match event {
            Event::Link(link) => {
                let ifindex = link.ifindex;
                let before = self.links.state(ifindex);
                self.links.set(link, &mut self.link);
                self.relink(ifindex);
                let after = self.links.state(ifindex);
                if before.is_some_and(|b| b.up && b.carrier) && !after.is_some_and(|a| a.up && a.carrier) {
                    aftermath = Aftermath::VerifyRoutes;
                }
            }
            Event::LinkGone(ifindex) => {
                self.neighbours.remove_device(ifindex, &mut self.neighbour);
                self.collect(out);
                self.links.remove(ifindex, &mut self.link);
                self.routes.link_removed(ifindex, &mut self.fib);
                aftermath = Aftermath::VerifyRoutes;
            }
            Event::AddressGone => aftermath = Aftermath::VerifyRoutes,
            Event::Route(route, change) => self.routes.route_added(route, change, &mut self.fib),
            Event::RouteGone(route) => {
                if self.routes.route_removed(&route, &mut self.fib) == Removal::Unknown {
                    aftermath = Aftermath::VerifyRoutes;
                }
            }
            Event::NextHop(id, object) => self.routes.nexthop_set(id, object, &mut self.fib),
            Event::NextHopGone(id) => {
                self.routes.nexthop_removed(id, &mut self.fib);
            }
            Event::Neighbour(entry) => self.neighbours.set(entry, &mut self.neighbour),
            Event::NeighbourGone { ifindex, address } => {
                self.neighbours.remove(ifindex, address, &mut self.neighbour);
            }
        }
        self.collect(out);
        aftermath
    }

    /// A message of a dump.
    pub(super) fn dumped(&mut self, event: Event, out: &mut Vec<Update>) {
        match event {
            Event::Link(link) => {
                let ifindex = link.ifindex;
                if self.links.dumped(link, &mut self.link) {
                    self.relink(ifindex);
                }
            }
            Event::Route(route, _) => self.routes.route_dumped(route, &mut self.fib),
            Event::NextHop(id, object) => self.routes.nexthop_dumped(id, object, &mut self.fib),
            Event::Neighbour(entry) => self.neighbours.dumped(entry, &mut self.neighbour),
            // Dumps name what exists.
            Event::LinkGone(_)
            | Event::AddressGone
            | Event::RouteGone(_)
            | Event::NextHopGone(_)
            | Event::NeighbourGone { .. } => {}
        }
        self.collect(out);
    }

    /// A dump of everything begins.
    pub(super) fn resync_begin(&mut self) {
        self.links.resync_begin();
        self.neighbours.resync_begin();
        self.routes.resync_begin();
    }

    /// The dump of links is complete.
    pub(super) fn links_complete(&mut self, out: &mut Vec<Update>) {
        for ifindex in self.links.resync_end(&mut self.link) {
            self.neighbours.remove_device(ifindex, &mut self.neighbour);
            self.routes.link_removed(ifindex, &mut self.fib);
        }
        self.collect(out);
    }

    /// The dump of next-hop objects is complete.
    pub(super) fn nexthops_complete(&mut self, out: &mut Vec<Update>) {
        self.routes.nexthops_complete(&mut self.fib);
        self.collect(out);
    }

    /// The dump is complete. `true`: take another before long.
    pub(super) fn resync_end(&mut self, out: &mut Vec<Update>) -> bool {
        let again = self.routes.resync_end(&mut self.fib);
        self.neighbours.resync_end(&mut self.neighbour);
        self.collect(out);
        out.push(Update::EndOfDump);
        again
    }

    /// Gives a device name its meaning. Neighbours on it become (un)interesting: resynchronise afterwards.
    pub(super) fn bind(&mut self, name: &str, binding: Option<Binding>, out: &mut Vec<Update>) {
        if let Some(ifindex) = self.links.find(name) {
            self.neighbours.remove_device(ifindex, &mut self.neighbour);
            self.collect(out);
        }
        match binding {
            Some(binding) => self.links.bind(name, binding, &mut self.link),
            None => self.links.unbind(name),
        }
        if let Some(ifindex) = self.links.find(name) {
            self.relink(ifindex);
        }
        self.collect(out);
    }

    fn relink(&mut self, ifindex: u32) {
        if let Some(state) = self.links.state(ifindex) {
            self.routes.link_set(ifindex, state, &mut self.fib);
        }
    }

    /// Links first: a route may name an interface only just reported.
    fn collect(&mut self, out: &mut Vec<Update>) {
        out.extend(self.link.drain(..).map(Update::Link));
        out.extend(self.fib.drain(..).map(Update::Fib));
        for (ifindex, address, state) in self.neighbour.drain(..) {
            if let Some(interface) = self.links.interface(ifindex) {
                out.push(Update::Neighbour(NeighbourUpdate {
                    interface,
                    address,
                    state,
                }));
            }
        }
    }
}
