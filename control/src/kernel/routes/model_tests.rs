//! Generated sequences of what a kernel does, against a naive kernel that recomputes everything from lists.
//!
//! Covered: candidates and their order, siblings, objects and groups, devices up, down, gone and without carrier,
//! silent flushes, and dumps that run while changes go on and after notifications were lost. Not covered: whether the
//! naive kernel is Linux; the tests in network namespaces compare with that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{ETH, TAP0, TAP1, link};
use super::*;
use crate::kernel::types::NextHop;

/// What happens in the kernel; indices choose among what exists.
#[derive(Clone, Debug)]
enum Op {
    Add(RouteRecord, Change),
    Delete(usize),
    DeleteSibling(usize, usize),
    Object(u32, NextHopObject),
    DeleteObject(usize),
    Link(u32, bool, bool),
    LinkGone(u32),
}

/// What the kernel tells.
#[derive(Clone, Debug)]
enum Notice {
    Added(RouteRecord, Change),
    Removed(RouteRecord),
    Object(u32, NextHopObject),
    ObjectGone(u32),
    Link(u32, LinkState),
    LinkGone(u32),
}

#[derive(Default)]
struct Kernel {
    /// In the kernel's order within a prefix, table and metric.
    routes: Vec<RouteRecord>,
    objects: BTreeMap<u32, NextHopObject>,
    links: BTreeMap<u32, LinkState>,
}

fn interface(ifindex: u32) -> Option<u16> {
    [(TAP0, 0), (TAP1, 1)]
        .into_iter()
        .find(|(tap, _)| *tap == ifindex)
        .map(|(_, interface)| interface)
}

fn is_v6(route: &RouteRecord) -> bool {
    matches!(route.prefix, Prefix::V6(..))
}

impl Kernel {
    fn new() -> Self {
        let links = [TAP0, TAP1, ETH].map(|ifindex| (ifindex, link(true, true, interface(ifindex))));
        Self {
            links: links.into(),
            ..Self::default()
        }
    }

    fn up(&self, ifindex: u32) -> bool {
        self.links.get(&ifindex).is_some_and(|link| link.up)
    }

    fn accepts(&self, target: &Target) -> bool {
        match target {
            Target::Special(Special::Local { ifindex }) => self.links.contains_key(ifindex),
            Target::Special(_) => true,
            Target::Hops(hops) => hops.iter().all(|hop| self.up(hop.ifindex)),
            Target::Object(id) => self.objects.contains_key(id),
        }
    }

    fn run(&mut self, op: Op) -> Vec<Notice> {
        match op {
            Op::Add(route, change) => self.add(route, change),
            Op::Delete(n) if !self.routes.is_empty() => {
                let route = self.routes.remove(n % self.routes.len());
                vec![Notice::Removed(route)]
            }
            Op::DeleteSibling(n, sibling) => self.delete_sibling(n, sibling),
            Op::Object(id, object) => self.set_object(id, object),
            Op::DeleteObject(n) if !self.objects.is_empty() => {
                let id = *self.objects.keys().nth(n % self.objects.len()).expect("in range");
                self.forget_object(id);
                vec![Notice::ObjectGone(id)]
            }
            Op::Link(ifindex, up, carrier) => {
                let before = self.links.insert(ifindex, link(up, carrier, interface(ifindex)));
                if before.is_some_and(|b| b.up && b.carrier) && !(up && carrier) {
                    self.flush_objects(ifindex);
                }
                if !up {
                    self.flush_routes();
                }
                vec![Notice::Link(ifindex, link(up, carrier, interface(ifindex)))]
            }
            Op::LinkGone(ifindex) if self.links.contains_key(&ifindex) => {
                // Taken down first, as the kernel does.
                let mut notices = self.run(Op::Link(ifindex, false, false));
                self.links.remove(&ifindex);
                let on_it = Target::Special(Special::Local { ifindex });
                self.routes.retain(|route| route.target != on_it);
                notices.push(Notice::LinkGone(ifindex));
                notices
            }
            Op::Delete(_) | Op::DeleteObject(_) | Op::LinkGone(_) => vec![],
        }
    }

    fn add(&mut self, route: RouteRecord, change: Change) -> Vec<Notice> {
        let equal =
            |r: &RouteRecord| (r.prefix, r.table, r.metric) == (route.prefix, route.table, route.metric);
        if !self.accepts(&route.target) || self.routes.contains(&route) {
            return vec![];
        }
        let mut equals: Vec<usize> = (0..self.routes.len())
            .filter(|&i| equal(&self.routes[i]))
            .collect();
        let gatewayed = route.target.is_gatewayed();
        let mut told = route.clone();
        if is_v6(&route) {
            let alike = equals
                .iter()
                .position(|&i| self.routes[i].target.is_gatewayed() == gatewayed);
            if let Some(alike) = alike {
                equals.swap(0, alike);
            }
            if let (Some(&at), true, false) = (
                equals.first(),
                gatewayed && alike.is_some(),
                change == Change::Replace,
            ) {
                let (Target::Hops(present), Target::Hops(new)) = (&mut self.routes[at].target, &route.target)
                else {
                    unreachable!("gatewayed")
                };
                present.retain(|p| {
                    !new.iter()
                        .any(|n| (n.ifindex, n.gateway) == (p.ifindex, p.gateway))
                });
                present.extend(new.iter().cloned());
                told.target = self.routes[at].target.clone();
                // Joining may make it equal to nothing else: one multipath route per rank.
                return vec![Notice::Added(told, change)];
            }
        }
        match (change, equals.first(), equals.iter().max()) {
            (Change::Replace, Some(&first), _) => self.routes[first] = route,
            (Change::Create, Some(&first), _) if !is_v6(&route) => self.routes.insert(first, route),
            (_, _, Some(&last)) => self.routes.insert(last + 1, route),
            (_, _, None) => self.routes.push(route),
        }
        vec![Notice::Added(told, change)]
    }

    fn delete_sibling(&mut self, n: usize, sibling: usize) -> Vec<Notice> {
        let multipath = |r: &RouteRecord| matches!(&r.target, Target::Hops(hops) if hops.len() > 1);
        let wanted = |r: &&mut RouteRecord| is_v6(r) && r.target.is_gatewayed() && multipath(r);
        let mut found: Vec<&mut RouteRecord> = self.routes.iter_mut().filter(wanted).collect();
        if found.is_empty() {
            return vec![];
        }
        let at = n % found.len();
        let route = &mut found[at];
        let mut told = (*route).clone();
        if let Target::Hops(hops) = &mut route.target {
            let gone = hops.remove(sibling % hops.len());
            told.target = Target::Hops(vec![Hop { weight: 1, ..gone }]);
        }
        self.flush_routes();
        vec![Notice::Removed(told)]
    }

    fn set_object(&mut self, id: u32, object: NextHopObject) -> Vec<Notice> {
        let sound = match &object {
            NextHopObject::Hop(hop) => self.links.get(&hop.ifindex).is_some_and(|l| l.up && l.carrier),
            NextHopObject::Group(members) => members
                .iter()
                .all(|(id, _)| matches!(self.objects.get(id), Some(NextHopObject::Hop(_)))),
            NextHopObject::Blackhole | NextHopObject::Opaque => true,
        };
        let is_group = |o: &NextHopObject| matches!(o, NextHopObject::Group(_));
        if !sound
            || self
                .objects
                .get(&id)
                .is_some_and(|old| is_group(old) != is_group(&object))
        {
            return vec![];
        }
        self.objects.insert(id, object.clone());
        vec![Notice::Object(id, object)]
    }

    fn forget_object(&mut self, id: u32) {
        self.objects.remove(&id);
        self.routes.retain(|route| route.target != Target::Object(id));
        for object in self.objects.values_mut() {
            if let NextHopObject::Group(members) = object {
                members.retain(|member| member.0 != id);
            }
        }
        let empty = |o: &NextHopObject| matches!(o, NextHopObject::Group(members) if members.is_empty());
        let emptied: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, o)| empty(o))
            .map(|(id, _)| *id)
            .collect();
        for group in emptied {
            self.objects.remove(&group);
            self.routes.retain(|route| route.target != Target::Object(group));
        }
    }

    fn flush_objects(&mut self, ifindex: u32) {
        let on_it = |o: &NextHopObject| matches!(o, NextHopObject::Hop(hop) if hop.ifindex == ifindex);
        let ids: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, o)| on_it(o))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| self.forget_object(id));
    }

    fn flush_routes(&mut self) {
        let up: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, link)| link.up)
            .map(|(ifindex, _)| *ifindex)
            .collect();
        self.routes.retain(|route| match &route.target {
            Target::Hops(hops) => hops.iter().any(|hop| up.contains(&hop.ifindex)),
            Target::Special(_) | Target::Object(_) => true,
        });
    }

    fn action(&self, target: &Target) -> Option<RouteAction> {
        let hops = match target {
            Target::Special(Special::Local { .. }) => return Some(RouteAction::Local),
            Target::Special(Special::Punt) => return Some(RouteAction::Punt),
            Target::Special(Special::Blackhole) => return Some(RouteAction::Blackhole),
            Target::Special(Special::Unreachable) => return Some(RouteAction::Unreachable),
            Target::Special(Special::Prohibited) => return Some(RouteAction::Prohibited),
            Target::Hops(hops) => hops.clone(),
            Target::Object(id) => match self.objects.get(id)? {
                NextHopObject::Hop(hop) => vec![hop.clone()],
                NextHopObject::Blackhole => return Some(RouteAction::Blackhole),
                NextHopObject::Opaque => return Some(RouteAction::Punt),
                NextHopObject::Group(members) => {
                    let member = |(id, weight): &(u32, u16)| match self.objects.get(id)? {
                        NextHopObject::Hop(hop) => Some(Hop {
                            weight: *weight,
                            ..hop.clone()
                        }),
                        other => panic!("a group of {other:?}"),
                    };
                    members.iter().filter_map(member).collect()
                }
            },
        };
        let alive: Vec<Hop> = hops.into_iter().filter(|hop| self.up(hop.ifindex)).collect();
        let on_tap: Vec<Hop> = alive
            .iter()
            .filter(|hop| interface(hop.ifindex).is_some())
            .cloned()
            .collect();
        if on_tap.is_empty() {
            return (!alive.is_empty()).then_some(RouteAction::Punt);
        }
        let mut best: Vec<Hop> = on_tap
            .iter()
            .filter(|hop| self.links[&hop.ifindex].carrier)
            .cloned()
            .collect();
        if best.is_empty() {
            best = on_tap;
        }
        let next = |hop: Hop| NextHop {
            interface: interface(hop.ifindex).expect("a tap"),
            gateway: hop.gateway,
            weight: hop.weight,
        };
        Some(RouteAction::NextHops(best.into_iter().map(next).collect()))
    }

    fn fib(&self) -> BTreeMap<Prefix, RouteAction> {
        let mut order: Vec<&RouteRecord> = self.routes.iter().collect();
        order.sort_by_key(|route| (route.table, route.metric));
        let mut fib = BTreeMap::new();
        for route in order {
            if let Some(action) = self.action(&route.target) {
                fib.entry(route.prefix).or_insert(action);
            }
        }
        fib
    }
}

/// The model under test with the FIB that its updates add up to.
struct Follower {
    table: RouteTable,
    fib: BTreeMap<Prefix, RouteAction>,
}

impl Follower {
    fn new(kernel: &Kernel) -> Self {
        let mut follower = Self {
            table: RouteTable::new(),
            fib: BTreeMap::new(),
        };
        for (ifindex, state) in &kernel.links {
            follower.hear(Notice::Link(*ifindex, *state));
        }
        follower
    }

    fn hear(&mut self, notice: Notice) {
        let mut out = Vec::new();
        match notice {
            Notice::Added(route, change) => self.table.route_added(route, change, &mut out),
            Notice::Removed(route) => {
                self.table.route_removed(&route, &mut out);
            }
            Notice::Object(id, object) => self.table.nexthop_set(id, object, &mut out),
            Notice::ObjectGone(id) => self.table.nexthop_removed(id, &mut out),
            Notice::Link(ifindex, state) => self.table.link_set(ifindex, state, &mut out),
            Notice::LinkGone(ifindex) => self.table.link_removed(ifindex, &mut out),
        }
        self.take(out);
    }

    fn take(&mut self, out: Vec<FibUpdate>) {
        for update in out {
            let before = self.fib.clone();
            match update {
                FibUpdate::Route4 {
                    prefix: (net, len),
                    action,
                } => {
                    self.fib.insert(Prefix::V4(net, len), RouteAction::clone(&action));
                }
                FibUpdate::Route4Gone { prefix: (net, len) } => {
                    self.fib.remove(&Prefix::V4(net, len));
                }
                FibUpdate::Route6 {
                    prefix: (net, len),
                    action,
                } => {
                    self.fib.insert(Prefix::V6(net, len), RouteAction::clone(&action));
                }
                FibUpdate::Route6Gone { prefix: (net, len) } => {
                    self.fib.remove(&Prefix::V6(net, len));
                }
            }
            assert_ne!(before, self.fib, "an update that changes nothing");
        }
    }

    fn quiet_resync(&mut self, kernel: &Kernel) {
        let mut out = Vec::new();
        self.table.resync_begin();
        for (id, object) in &kernel.objects {
            self.table.nexthop_dumped(*id, object.clone(), &mut out);
        }
        self.table.nexthops_complete(&mut out);
        for route in &kernel.routes {
            self.table.route_dumped(route.clone(), &mut out);
        }
        assert!(!self.table.resync_end(&mut out), "nothing to guess about");
        self.take(out);
    }

    fn check(&self, kernel: &Kernel) {
        let held: BTreeMap<Prefix, RouteAction> = self
            .table
            .effective()
            .map(|(prefix, action)| (prefix, Arc::unwrap_or_clone(action)))
            .collect();
        assert_eq!(held, kernel.fib(), "effective FIB");
        assert_eq!(self.fib, held, "the updates add up to it");
    }
}

fn hop() -> impl Strategy<Value = Hop> {
    (prop::sample::select(vec![TAP0, TAP1, ETH]), 0u8..3, 1u16..3).prop_map(|(ifindex, gateway, weight)| {
        Hop {
            ifindex,
            gateway: (gateway > 0).then(|| [10, 0, 0, gateway].into()),
            weight,
        }
    })
}

fn distinct(hops: Vec<Hop>) -> Vec<Hop> {
    let mut seen = HashSet::new();
    hops.into_iter()
        .filter(|hop| seen.insert((hop.ifindex, hop.gateway)))
        .collect()
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        4 => hop().prop_map(|hop| Target::Hops(vec![hop])),
        4 => prop::collection::vec(hop(), 1..4).prop_map(|hops| Target::Hops(distinct(hops))),
        3 => prop::sample::select(vec![1u32, 2, 3, 8, 9]).prop_map(Target::Object),
        1 => prop::sample::select(vec![
            Special::Local { ifindex: TAP0 }, Special::Punt, Special::Blackhole, Special::Unreachable, Special::Prohibited,
        ]).prop_map(Target::Special),
    ]
}

/// As kernels have it: a single hop carries no weight, and the hops of an IPv6 multipath route all have gateways.
fn sound(mut route: RouteRecord) -> RouteRecord {
    let v6 = is_v6(&route);
    if let Target::Hops(hops) = &mut route.target {
        match hops.as_mut_slice() {
            [one] => one.weight = 1,
            many if v6 => many.iter_mut().for_each(|hop| {
                hop.gateway.get_or_insert([10, 0, 0, 3].into());
            }),
            _ => {}
        }
    }
    route
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop::sample::select(vec![
        Prefix::V4(0, 0),
        Prefix::V4(10 << 24, 8),
        Prefix::V6(0, 0),
        Prefix::V6(0x2001 << 112, 16),
    ])
}

fn route_op() -> impl Strategy<Value = Op> {
    let table = prop::sample::select(vec![RouteTableId::Local, RouteTableId::Main, RouteTableId::Main]);
    let change = prop::sample::select(vec![Change::Create, Change::Append, Change::Replace]);
    let route = (prefix(), table, 0u32..2, target()).prop_map(|(prefix, table, metric, target)| {
        sound(RouteRecord {
            prefix,
            table,
            metric,
            target,
        })
    });
    prop_oneof![
        6 => (route, change).prop_map(|(route, change)| Op::Add(route, change)),
        3 => any::<usize>().prop_map(Op::Delete),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(n, sibling)| Op::DeleteSibling(n, sibling)),
    ]
}

fn object_op() -> impl Strategy<Value = Op> {
    let group = prop::collection::vec((1u32..4, 1u16..4), 1..3).prop_map(|members| {
        let mut seen = HashSet::new();
        NextHopObject::Group(
            members
                .into_iter()
                .filter(|member| seen.insert(member.0))
                .collect(),
        )
    });
    prop_oneof![
        3 => (1u32..4, hop()).prop_map(|(id, hop)| Op::Object(id, NextHopObject::Hop(Hop { weight: 1, ..hop }))),
        2 => (8u32..10, group).prop_map(|(id, group)| Op::Object(id, group)),
        1 => any::<usize>().prop_map(Op::DeleteObject),
    ]
}

fn link_op() -> impl Strategy<Value = Op> {
    let device = || prop::sample::select(vec![TAP0, TAP1, ETH]);
    prop_oneof![
        4 => (device(), any::<bool>(), any::<bool>()).prop_map(|(d, up, carrier)| Op::Link(d, up, up && carrier)),
        4 => device().prop_map(|d| Op::Link(d, true, true)),
        1 => device().prop_map(Op::LinkGone),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![6 => route_op(), 2 => object_op(), 1 => link_op()]
}

/// What happens next while a dump runs.
#[derive(Clone, Debug)]
enum Step {
    Kernel(Op),
    Hear,
    Dump,
    DumpRead,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop_oneof![4 => route_op(), 1 => object_op()].prop_map(Step::Kernel),
        3 => Just(Step::Hear),
        1 => Just(Step::Dump),
        1 => Just(Step::DumpRead),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_leaves_the_fib_of_the_naive_kernel(ops in prop::collection::vec(any_op(), 1..60)) {
        let mut kernel = Kernel::new();
        let mut follower = Follower::new(&kernel);
        for op in ops {
            for notice in kernel.run(op) {
                follower.hear(notice);
            }
            follower.check(&kernel);
        }
    }

    #[test]
    fn everything_is_freed_in_the_end(ops in prop::collection::vec(any_op(), 1..40)) {
        let mut kernel = Kernel::new();
        let mut follower = Follower::new(&kernel);
        for op in ops {
            kernel.run(op).into_iter().for_each(|notice| follower.hear(notice));
        }
        while !kernel.routes.is_empty() {
            kernel.run(Op::Delete(0)).into_iter().for_each(|notice| follower.hear(notice));
        }
        prop_assert!(follower.table.is_empty());
        prop_assert_eq!(follower.table.target_count(), 0);
        prop_assert_eq!(follower.table.effective().count(), 0);
    }

    #[test]
    fn a_quiet_dump_mends_every_loss(ops in prop::collection::vec((any_op(), any::<bool>()), 1..60)) {
        let mut kernel = Kernel::new();
        let mut follower = Follower::new(&kernel);
        for (op, heard) in ops {
            for notice in kernel.run(op) {
                // Links are dumped on their own; here they are always heard.
                if heard || matches!(notice, Notice::Link(..) | Notice::LinkGone(_)) {
                    follower.hear(notice);
                }
            }
        }
        follower.quiet_resync(&kernel);
        follower.check(&kernel);
    }

    #[test]
    fn a_dump_amid_changes_ends_in_step(
        before in prop::collection::vec((prop_oneof![4 => route_op(), 1 => object_op()], any::<bool>()), 0..20),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut kernel = Kernel::new();
        let mut follower = Follower::new(&kernel);
        for (op, heard) in before {
            kernel.run(op).into_iter().filter(|_| heard).for_each(|notice| follower.hear(notice));
        }
        let mut queue: VecDeque<Notice> = VecDeque::new();
        let mut out = Vec::new();
        follower.table.resync_begin();
        for (id, object) in &kernel.objects {
            follower.table.nexthop_dumped(*id, object.clone(), &mut out);
        }
        follower.table.nexthops_complete(&mut out);
        follower.take(std::mem::take(&mut out));
        // The dump walks the prefixes in order; what it has read may lie in its socket for a while.
        let prefixes = [Prefix::V4(0, 0), Prefix::V4(10 << 24, 8), Prefix::V6(0, 0), Prefix::V6(0x2001 << 112, 16)];
        let mut unread: VecDeque<Prefix> = prefixes.into();
        let mut read: VecDeque<RouteRecord> = VecDeque::new();
        let tail = prefixes.iter().flat_map(|_| [Step::Dump, Step::DumpRead]).chain([Step::DumpRead]);
        for step in steps.into_iter().chain(tail) {
            match step {
                Step::Kernel(op) => queue.extend(kernel.run(op)),
                Step::Hear => queue.pop_front().into_iter().for_each(|notice| follower.hear(notice)),
                Step::Dump => {
                    if let Some(prefix) = unread.pop_front() {
                        let mut records: Vec<_> =
                            kernel.routes.iter().filter(|route| route.prefix == prefix).cloned().collect();
                        records.sort_by_key(|route| (route.table, route.metric));
                        read.extend(records);
                    }
                }
                Step::DumpRead => {
                    read.drain(..).for_each(|route| follower.table.route_dumped(route, &mut out));
                    follower.take(std::mem::take(&mut out));
                }
            }
        }
        queue.into_iter().for_each(|notice| follower.hear(notice));
        let again = follower.table.resync_end(&mut out);
        follower.take(out);
        if again {
            follower.quiet_resync(&kernel);
        }
        follower.check(&kernel);
    }
}
