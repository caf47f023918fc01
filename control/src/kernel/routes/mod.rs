//! The routes: from the kernel's tables to the one action that each prefix has in the dataplane.
//!
//! ```text
//!   prefix -> candidates, best first: (table, metric, kernel's order)      10.0.0.0/8
//!               |                                                            main 10  -> hops via tap0   <- published
//!               +-> target: special | hops | next-hop object                 main 20  -> object 7
//!                     |
//!                     +-- devices (up? carrier? a tap of ours?), next-hop objects -> RouteAction
//! ```
//!
//! Pure: messages in, [`FibUpdate`]s out. The longest match is the FIB's; a prefix in two tables goes to the table that
//! the default rules ask first.
//!
//! **Resynchronisation.** A dump is no snapshot: notifications go on meanwhile, on another socket. Between
//! [`RouteTable::resync_begin`] and [`RouteTable::resync_end`] both are fed. What a notification says about a route
//! stands against the dump, whichever comes first here; what neither confirmed is forgotten at the end. Where that
//! rule has to guess, `resync_end` asks for another dump. Before the end, all notifications up to the end of the dump
//! must have been fed: applied later, to the newer state, they would undo parts of it.

mod interner;
mod store;
mod types;
mod world;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

pub use types::{
    Change, Hop, LinkState, NextHopObject, Prefix, Removal, RouteRecord, RouteTableId, Special, Target,
};

use super::types::{FibUpdate, RouteAction};
use store::{Dumped, Store};
use world::{Effect, World};

/// A prefix's candidates of equal rank.
type Rank = (Prefix, RouteTableId, u32);

/// What notifications said since the dump began.
#[derive(Default)]
struct Resync {
    /// Notified at all.
    touched: HashSet<Rank>,
    /// Routes removed, or put out by a replacement.
    removed: HashSet<(Rank, Target)>,
    /// A replacement of something not known here, or not for certain.
    replaced_blindly: HashSet<Rank>,
    /// A replacement of something confirmed by the dump.
    replaced: HashSet<Rank>,
    objects_seen: HashSet<u32>,
    objects_touched: HashSet<u32>,
    /// Went at some time of the dump, and took routes along without a word; they may be back.
    objects_lost: HashSet<u32>,
    devices_lost: HashSet<u32>,
    /// A guess was made that another dump should check.
    uncertain: bool,
}

/// The kernel's routes and the FIB that follows from them. Starts empty.
pub struct RouteTable {
    v4: Store<u32>,
    v6: Store<u128>,
    world: World,
    resync: Option<Resync>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new()
    }
}

impl RouteTable {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            v4: Store::new(),
            v6: Store::new(),
            world: World::new(),
            resync: None,
        }
    }

    /// RTM_NEWROUTE, notified.
    pub fn route_added(&mut self, route: RouteRecord, change: Change, out: &mut Vec<FibUpdate>) {
        if self.world.is_impossible(&route.target) {
            return;
        }
        let at: Rank = (route.prefix, route.table, route.metric);
        self.doubt_crowd(at);
        if let Some(resync) = &mut self.resync {
            resync.removed.remove(&(at, route.target.clone()));
        }
        let (rank, target) = ((route.table, route.metric), route.target);
        let put_out = match route.prefix {
            Prefix::V4(net, len) => self
                .v4
                .add(&mut self.world, (net, len), rank, target, change, out),
            Prefix::V6(net, len) => self
                .v6
                .add(&mut self.world, (net, len), rank, target, change, out),
        };
        self.doubt_crowd(at);
        if let Some(resync) = &mut self.resync {
            resync.touched.insert(at);
            match (put_out, change) {
                (Some(old), _) => {
                    resync.removed.insert((at, old));
                    resync.replaced.insert(at);
                }
                (None, Change::Replace) => {
                    resync.replaced_blindly.insert(at);
                }
                (None, Change::Create | Change::Append) => {}
            }
        }
    }

    /// RTM_DELROUTE, notified.
    pub fn route_removed(&mut self, route: &RouteRecord, out: &mut Vec<FibUpdate>) -> Removal {
        let at: Rank = (route.prefix, route.table, route.metric);
        self.doubt_crowd(at);
        if let Some(resync) = &mut self.resync {
            resync.touched.insert(at);
            resync.removed.insert((at, route.target.clone()));
            // What the dump named may have been an equal of the one replaced, and not the one itself.
            resync.uncertain |= resync.replaced.contains(&at);
        }
        let rank = (route.table, route.metric);
        match route.prefix {
            Prefix::V4(net, len) => self
                .v4
                .remove(&mut self.world, (net, len), rank, &route.target, out),
            Prefix::V6(net, len) => self
                .v6
                .remove(&mut self.world, (net, len), rank, &route.target, out),
        }
    }

    /// A device came or changed.
    pub fn link_set(&mut self, ifindex: u32, link: LinkState, out: &mut Vec<FibUpdate>) {
        let effect = self.world.set_link(ifindex, Some(link));
        self.refresh(&effect, out);
    }

    /// A device went; its routes and next-hop objects go with it.
    pub fn link_removed(&mut self, ifindex: u32, out: &mut Vec<FibUpdate>) {
        let effect = self.world.set_link(ifindex, None);
        self.refresh(&effect, out);
    }

    /// RTM_NEWNEXTHOP, notified.
    pub fn nexthop_set(&mut self, id: u32, object: NextHopObject, out: &mut Vec<FibUpdate>) {
        if let Some(resync) = &mut self.resync {
            resync.objects_touched.insert(id);
            resync.objects_seen.insert(id);
        }
        let effect = self.world.set_object(id, object);
        self.refresh(&effect, out);
    }

    /// RTM_DELNEXTHOP, notified. Routes over the object go with it.
    pub fn nexthop_removed(&mut self, id: u32, out: &mut Vec<FibUpdate>) {
        if let Some(resync) = &mut self.resync {
            resync.objects_touched.insert(id);
            resync.objects_seen.remove(&id);
        }
        let effect = self.world.remove_object(id);
        self.refresh(&effect, out);
    }

    /// A dump begins (again: an unfinished one is given up). Everything known so far stays until the end.
    pub fn resync_begin(&mut self) {
        self.world.generation = self.world.generation.wrapping_add(1);
        self.resync = Some(Resync::default());
    }

    /// A next-hop object of the dump. Dump objects before routes.
    pub fn nexthop_dumped(&mut self, id: u32, object: NextHopObject, out: &mut Vec<FibUpdate>) {
        if let Some(resync) = &mut self.resync {
            if resync.objects_touched.contains(&id) {
                return;
            }
            resync.objects_seen.insert(id);
        }
        let effect = self.world.set_object(id, object);
        self.refresh(&effect, out);
    }

    /// The dump of next-hop objects is complete: forgets those it did not name.
    pub fn nexthops_complete(&mut self, out: &mut Vec<FibUpdate>) {
        let Some(resync) = &self.resync else { return };
        let seen = &resync.objects_seen;
        let gone: Vec<u32> = self
            .world
            .objects
            .keys()
            .filter(|id| !seen.contains(id))
            .copied()
            .collect();
        for id in gone {
            let effect = self.world.remove_object(id);
            self.refresh(&effect, out);
        }
    }

    /// A route of the dump.
    pub fn route_dumped(&mut self, route: RouteRecord, out: &mut Vec<FibUpdate>) {
        if self.world.is_impossible(&route.target) || self.is_flushed(&route.target) {
            return;
        }
        let at: Rank = (route.prefix, route.table, route.metric);
        let (mut touched, mut removed, mut blindly) = (false, false, false);
        if let Some(resync) = self.resync.as_ref().filter(|resync| resync.touched.contains(&at)) {
            touched = true;
            removed = resync.removed.contains(&(at, route.target.clone()));
            blindly = resync.replaced_blindly.contains(&at);
        }
        let (rank, target, marks) = (
            (route.table, route.metric),
            route.target,
            (touched, removed || blindly),
        );
        let dumped = match route.prefix {
            Prefix::V4(net, len) => self
                .v4
                .dumped(&mut self.world, (net, len), rank, target, marks, out),
            Prefix::V6(net, len) => self
                .v6
                .dumped(&mut self.world, (net, len), rank, target, marks, out),
        };
        let uncertain = match dumped {
            Dumped::Taken => false,
            Dumped::Unsure => true,
            Dumped::Overtaken => !removed,
        };
        if let Some(resync) = self.resync.as_mut().filter(|_| uncertain) {
            resync.uncertain = true;
        }
    }

    /// The dump is complete, and every notification sent before its end has been fed: forgets what neither confirmed.
    /// `true`: take another dump before long.
    #[must_use]
    pub fn resync_end(&mut self, out: &mut Vec<FibUpdate>) -> bool {
        let Some(resync) = self.resync.take() else {
            return false;
        };
        self.v4.sweep(&mut self.world, out);
        self.v6.sweep(&mut self.world, out);
        resync.uncertain
    }

    /// A dump is under way.
    pub fn is_resyncing(&self) -> bool {
        self.resync.is_some()
    }

    /// Number of prefixes: (IPv4, IPv6).
    pub fn len(&self) -> (usize, usize) {
        (self.v4.len(), self.v6.len())
    }

    /// No prefix at all.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Number of distinct targets that the routes share.
    pub fn target_count(&self) -> usize {
        self.world.target_count()
    }

    /// The effective FIB, in order of prefix, IPv4 first: what all updates so far add up to.
    pub fn effective(&self) -> impl Iterator<Item = (Prefix, Arc<RouteAction>)> + '_ {
        let v4 = self
            .v4
            .published(&self.world)
            .map(|((net, len), action)| (Prefix::V4(net, len), action));
        let v6 = self
            .v6
            .published(&self.world)
            .map(|((net, len), action)| (Prefix::V6(net, len), action));
        v4.chain(v6)
    }

    /// The dump names a route whose way out went meanwhile. Had the route been added since, that would be notified.
    fn is_flushed(&self, target: &Target) -> bool {
        let Some(resync) = &self.resync else { return false };
        match target {
            Target::Special(Special::Local { ifindex }) => {
                resync.devices_lost.contains(ifindex) && !self.world.links.contains_key(ifindex)
            }
            Target::Special(_) => false,
            Target::Hops(hops) => hops.iter().all(|hop| resync.devices_lost.contains(&hop.ifindex)),
            Target::Object(id) => resync.objects_lost.contains(id),
        }
    }

    /// Amid a dump, a notification about one of several equals may be older than what the dump told of them: which
    /// of them it means, and in which order they are, is then a guess.
    fn doubt_crowd(&mut self, (prefix, table, metric): Rank) {
        let Some(resync) = &mut self.resync else { return };
        let count = match prefix {
            Prefix::V4(net, len) => self.v4.equals((net, len), (table, metric)),
            Prefix::V6(net, len) => self.v6.equals((net, len), (table, metric)),
        };
        resync.uncertain |= count > 1;
    }

    fn refresh(&mut self, effect: &Effect, out: &mut Vec<FibUpdate>) {
        if let Some(resync) = &mut self.resync {
            resync.objects_lost.extend(&effect.objects_gone);
            resync.devices_lost.extend(effect.device_down);
        }
        if effect.is_empty() {
            return;
        }
        self.v4
            .refresh(&mut self.world, &effect.changed, &effect.dead, out);
        self.v6
            .refresh(&mut self.world, &effect.changed, &effect.dead, out);
    }
}
