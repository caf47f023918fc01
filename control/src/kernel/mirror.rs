//! The whole model: decoded kernel messages in, the dataplane's updates out. Pure glue between the three tables.

use std::collections::HashSet;

use super::links::{Binding, LinkTable};
use super::message::Event;
use super::neighbours::{NeighbourChange, NeighbourTable};
use super::routes::{Removal, RouteTable};
use super::types::{FibUpdate, LinkUpdate, NeighbourState, NeighbourUpdate, Update};

/// Links, routes and neighbours together.
#[derive(Default)]
pub(super) struct Mirror {
    pub links: LinkTable,
    pub routes: RouteTable,
    pub neighbours: NeighbourTable,
    fib: Vec<FibUpdate>,
    link: Vec<LinkUpdate>,
    neighbour: Vec<NeighbourChange>,
    /// Devices of which neighbours were heard before it was known which interface they are.
    untold: HashSet<u32>,
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
                self.untold.remove(&ifindex);
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
        // Nobody says again what was said too early.
        if self.links.interface(ifindex).is_some() && self.untold.remove(&ifindex) {
            self.neighbours.tell_again(ifindex, &mut self.neighbour);
        }
        if let Some(state) = self.links.state(ifindex) {
            self.routes.link_set(ifindex, state, &mut self.fib);
        }
    }

    /// Links first: a route may name an interface only just reported.
    fn collect(&mut self, out: &mut Vec<Update>) {
        out.extend(self.link.drain(..).map(Update::Link));
        out.extend(self.fib.drain(..).map(Update::Fib));
        for (ifindex, address, state) in self.neighbour.drain(..) {
            let interface = self.links.interface(ifindex);
            if interface.is_none() && state != NeighbourState::Gone {
                self.untold.insert(ifindex);
            }
            if let Some(interface) = interface {
                out.push(Update::Neighbour(NeighbourUpdate {
                    interface,
                    address,
                    state,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::links::LinkRecord;
    use crate::kernel::neighbours::{NeighbourRecord, NudState};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn link() -> Event {
        Event::Link(LinkRecord {
            ifindex: 4,
            name: "outside0".into(),
            up: true,
            carrier: true,
            mtu: 1500,
            mac: None,
        })
    }

    fn neighbour(state: NudState) -> Event {
        Event::Neighbour(NeighbourRecord {
            ifindex: 4,
            address: [192, 0, 2, 1].into(),
            state,
            mac: Some(MAC),
        })
    }

    /// How often the neighbour was told as resolved.
    fn told(updates: &[Update]) -> usize {
        let told = |update: &&Update| {
            matches!(update, Update::Neighbour(update)
                if update.interface == 7 && update.state == NeighbourState::Reachable(MAC))
        };
        updates.iter().filter(told).count()
    }

    #[test]
    fn a_neighbour_that_is_heard_of_before_its_link_is_told_with_the_link() {
        for notified in [false, true] {
            let (mut mirror, mut updates) = (Mirror::default(), Vec::new());
            mirror.bind("outside0", Some(Binding::Tap(7)), &mut updates);
            // It spoke between the subscription and the dump.
            mirror.notified(neighbour(NudState::Stale), &mut updates);
            assert_eq!(told(&updates), 0);
            mirror.resync_begin();
            if notified {
                mirror.notified(link(), &mut updates);
            } else {
                mirror.dumped(link(), &mut updates);
            }
            mirror.links_complete(&mut updates);
            mirror.dumped(neighbour(NudState::Stale), &mut updates);
            mirror.resync_end(&mut updates);
            assert_eq!(told(&updates), 1);
            mirror.notified(neighbour(NudState::Reachable), &mut updates);
            mirror.notified(link(), &mut updates);
            assert_eq!(told(&updates), 1, "and once");
        }
    }
}
