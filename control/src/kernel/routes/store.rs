//! The candidates of every prefix of one address family, in the kernel's order of preference.
//!
//! A prefix has nearly always one candidate, kept inline: a slot is 24 octets beside its key. Candidates are sorted
//! by (table, metric); among equals the kernel's list order holds. The first candidate whose target is usable is the
//! one published.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::types::{Change, Hop, Removal, RouteTableId, Target};
use super::world::{NO_ACTION, World};
use crate::kernel::types::{FibUpdate, RouteAction};

/// An address family: IPv4 (u32) or IPv6 (u128).
pub(super) trait Address: Copy + Ord {
    /// IPv6: routes of one metric with gateways are siblings of one multipath route, and messages name parts of it.
    const SIBLINGS: bool;
    fn set(prefix: (Self, u8), action: Arc<RouteAction>) -> FibUpdate;
    fn gone(prefix: (Self, u8)) -> FibUpdate;
}

impl Address for u32 {
    const SIBLINGS: bool = false;
    fn set(prefix: (u32, u8), action: Arc<RouteAction>) -> FibUpdate {
        FibUpdate::Route4 { prefix, action }
    }
    fn gone(prefix: (u32, u8)) -> FibUpdate {
        FibUpdate::Route4Gone { prefix }
    }
}

impl Address for u128 {
    const SIBLINGS: bool = true;
    fn set(prefix: (u128, u8), action: Arc<RouteAction>) -> FibUpdate {
        FibUpdate::Route6 { prefix, action }
    }
    fn gone(prefix: (u128, u8)) -> FibUpdate {
        FibUpdate::Route6Gone { prefix }
    }
}

/// One route of a prefix; the target is a number of [`World`].
#[derive(Clone, Copy)]
struct Candidate {
    metric: u32,
    target: u32,
    table: RouteTableId,
    /// The dump that confirmed it last.
    generation: u8,
}

const _: () = assert!(std::mem::size_of::<Slot>() == 24);

impl Candidate {
    fn rank(&self) -> (RouteTableId, u32) {
        (self.table, self.metric)
    }
}

enum Candidates {
    One(Candidate),
    #[expect(
        clippy::box_collection,
        reason = "a slot is 24 octets; a Vec in place would make it 32"
    )]
    Many(Box<Vec<Candidate>>),
}

struct Slot {
    /// The action last sent for the prefix, holding a reference; [`NO_ACTION`]: none.
    published: u32,
    candidates: Candidates,
}

impl Candidates {
    fn as_slice(&self) -> &[Candidate] {
        match self {
            Self::One(candidate) => std::slice::from_ref(candidate),
            Self::Many(list) => list,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Candidate] {
        match self {
            Self::One(candidate) => std::slice::from_mut(candidate),
            Self::Many(list) => list,
        }
    }

    fn insert(&mut self, at: usize, candidate: Candidate) {
        match self {
            Self::One(first) => {
                let list = if at == 0 {
                    vec![candidate, *first]
                } else {
                    vec![*first, candidate]
                };
                *self = Self::Many(Box::new(list));
            }
            Self::Many(list) => list.insert(at.min(list.len()), candidate),
        }
    }
}

/// What became of a dumped route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dumped {
    /// Stored, or confirmed.
    Taken,
    /// Stored or confirmed, but its place among equals is a guess.
    Unsure,
    /// Left out: notifications since the dump began know better.
    Overtaken,
}

/// The routes of one family.
pub(super) struct Store<A> {
    slots: BTreeMap<(A, u8), Slot>,
}

/// The place of the equals of (table, metric) among candidates.
fn equals(candidates: &[Candidate], rank: (RouteTableId, u32)) -> std::ops::Range<usize> {
    candidates.partition_point(|c| c.rank() < rank)..candidates.partition_point(|c| c.rank() <= rank)
}

/// The same way out, weights aside (a message about one sibling does not tell its weight).
fn same_way(a: &Hop, b: &Hop) -> bool {
    a.ifindex == b.ifindex && a.gateway == b.gateway
}

impl<A: Address> Store<A> {
    pub(super) fn new() -> Self {
        Self {
            slots: BTreeMap::new(),
        }
    }

    /// Number of prefixes, with or without a usable route.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Number of candidates of a prefix, table and metric.
    pub(super) fn equals(&self, key: (A, u8), rank: (RouteTableId, u32)) -> usize {
        self.slots
            .get(&key)
            .map_or(0, |slot| equals(slot.candidates.as_slice(), rank).len())
    }

    /// The published actions, in order of prefix.
    pub(super) fn published<'a>(
        &'a self,
        world: &'a World,
    ) -> impl Iterator<Item = ((A, u8), Arc<RouteAction>)> + 'a {
        self.slots
            .iter()
            .filter_map(|(key, slot)| Some((*key, world.action(slot.published)?)))
    }

    /// Adds a route as a notification tells it. Returns the target that it put out, if that was confirmed by the
    /// current dump: of an older one it is not sure that it was the one the kernel replaced.
    pub(super) fn add(
        &mut self,
        world: &mut World,
        key: (A, u8),
        rank: (RouteTableId, u32),
        target: Target,
        change: Change,
        out: &mut Vec<FibUpdate>,
    ) -> Option<Target> {
        let Some(slot) = self.slots.get_mut(&key) else {
            self.insert_first(world, key, rank, target, out);
            return None;
        };
        let candidates = slot.candidates.as_mut_slice();
        let range = equals(candidates, rank);
        let generation = world.generation;
        if let Some(number) = world.find(&target)
            && let Some(same) = candidates[range.clone()].iter_mut().find(|c| c.target == number)
        {
            same.generation = generation;
            return None;
        }
        let alike =
            |c: &Candidate| world.target(c.target).is_some_and(|t| t.is_gatewayed()) == target.is_gatewayed();
        let place = match change {
            Change::Replace if A::SIBLINGS => range
                .clone()
                .find(|&i| alike(&candidates[i]))
                .or(range.clone().next()),
            Change::Replace => range.clone().next(),
            Change::Create | Change::Append if A::SIBLINGS && target.is_gatewayed() => {
                range.clone().find(|&i| alike(&candidates[i]))
            }
            Change::Create | Change::Append => None,
        };
        let Some(place) = place else {
            let at = if change == Change::Create && !A::SIBLINGS {
                range.start
            } else {
                range.end
            };
            let candidate = world.candidate(rank, target);
            slot.candidates.insert(at, candidate);
            reselect(world, key, slot, out);
            return None;
        };
        let old = candidates[place];
        let before = world.target(old.target).map(|t| Target::clone(t));
        // The kernel tells all siblings; joining covers those it keeps apart (router advertisements). A part not yet
        // confirmed by the dump that is under way may be long gone.
        let target = match (&before, change) {
            (Some(before), Change::Create | Change::Append) if old.generation == generation => {
                join(before, target)
            }
            _ => target,
        };
        candidates[place] = world.candidate(rank, target);
        world.release_target(old.target);
        reselect(world, key, slot, out);
        before.filter(|_| old.generation == generation)
    }

    fn insert_first(
        &mut self,
        world: &mut World,
        key: (A, u8),
        rank: (RouteTableId, u32),
        target: Target,
        out: &mut Vec<FibUpdate>,
    ) {
        let candidate = world.candidate(rank, target);
        let mut slot = Slot {
            published: NO_ACTION,
            candidates: Candidates::One(candidate),
        };
        reselect(world, key, &mut slot, out);
        self.slots.insert(key, slot);
    }

    /// Takes a route of a dump. `touched`: notifications of this (prefix, table, metric) came since the dump began;
    /// `overtaken`: they removed this very route, or may have.
    ///
    /// A dump names equals in the kernel's order; those it has named so far stand before those it has not, so the
    /// order comes out right and nothing is published that the next record takes back.
    pub(super) fn dumped(
        &mut self,
        world: &mut World,
        key: (A, u8),
        rank: (RouteTableId, u32),
        target: Target,
        (touched, overtaken): (bool, bool),
        out: &mut Vec<FibUpdate>,
    ) -> Dumped {
        let Some(slot) = self.slots.get_mut(&key) else {
            return self.dumped_new(world, key, rank, target, (touched, overtaken), out);
        };
        let (generation, number) = (world.generation, world.find(&target));
        let gatewayed = A::SIBLINGS && target.is_gatewayed();
        let candidates = slot.candidates.as_mut_slice();
        let range = equals(candidates, rank);
        let certain = if touched && range.len() > 1 {
            Dumped::Unsure
        } else {
            Dumped::Taken
        };
        let next = range.start
            + candidates[range.clone()]
                .iter()
                .filter(|c| c.generation == generation)
                .count();
        if let Some(at) = range.clone().find(|&i| Some(candidates[i].target) == number) {
            candidates[at].generation = generation;
            if !touched && next < at {
                candidates[next..=at].rotate_right(1);
                reselect(world, key, slot, out);
            }
            return certain;
        }
        let alike = |c: &Candidate| world.target(c.target).is_some_and(|t| t.is_gatewayed());
        let sibling = range
            .clone()
            .filter(|_| gatewayed)
            .find(|&i| alike(&candidates[i]));
        if overtaken || (A::SIBLINGS && touched) {
            // Better what the notifications left of it than nothing, until the next dump tells.
            if let Some(at) = sibling.filter(|_| !overtaken) {
                candidates[at].generation = generation;
            }
            return Dumped::Overtaken;
        }
        match sibling {
            // A multipath route whose siblings changed unseen: the dump tells all of them.
            Some(at) if candidates[at].generation != generation => {
                let old = candidates[at].target;
                candidates[at] = world.candidate(rank, target);
                world.release_target(old);
                if next < at {
                    candidates[next..=at].rotate_right(1);
                }
                reselect(world, key, slot, out);
                Dumped::Taken
            }
            Some(_) => {
                self.add(world, key, rank, target, Change::Append, out);
                Dumped::Taken
            }
            None => {
                let candidate = world.candidate(rank, target);
                let unsure = touched && !range.is_empty();
                slot.candidates
                    .insert(if touched { range.end } else { next }, candidate);
                reselect(world, key, slot, out);
                if unsure { Dumped::Unsure } else { Dumped::Taken }
            }
        }
    }

    fn dumped_new(
        &mut self,
        world: &mut World,
        key: (A, u8),
        rank: (RouteTableId, u32),
        target: Target,
        (touched, overtaken): (bool, bool),
        out: &mut Vec<FibUpdate>,
    ) -> Dumped {
        if overtaken || (A::SIBLINGS && touched) {
            return Dumped::Overtaken;
        }
        self.insert_first(world, key, rank, target, out);
        Dumped::Taken
    }

    /// Removes a route, or some siblings of an IPv6 multipath route.
    pub(super) fn remove(
        &mut self,
        world: &mut World,
        key: (A, u8),
        rank: (RouteTableId, u32),
        target: &Target,
        out: &mut Vec<FibUpdate>,
    ) -> Removal {
        let Some(slot) = self.slots.get_mut(&key) else {
            return Removal::Unknown;
        };
        let candidates = slot.candidates.as_mut_slice();
        let range = equals(candidates, rank);
        if let Some(number) = world.find(target)
            && let Some(at) = range.clone().find(|&i| candidates[i].target == number)
        {
            self.retain(world, key, out, |i, _| i != at);
            return Removal::Found;
        }
        let Target::Hops(leaving) = target else {
            return Removal::Unknown;
        };
        if !A::SIBLINGS {
            return Removal::Unknown;
        }
        for at in range {
            let Some(Target::Hops(present)) = world.target(candidates[at].target).map(|t| &**t) else {
                continue;
            };
            // Out of step, some of those leaving may be unknown here.
            if !leaving.iter().any(|l| present.iter().any(|p| same_way(p, l))) {
                continue;
            }
            let rest: Vec<Hop> = present
                .iter()
                .filter(|p| !leaving.iter().any(|l| same_way(p, l)))
                .cloned()
                .collect();
            let rest = Target::Hops(rest);
            if world.is_impossible(&rest) {
                self.retain(world, key, out, |i, _| i != at);
            } else {
                let old = candidates[at];
                // What is left is no more confirmed by this than before.
                candidates[at] = Candidate {
                    generation: old.generation,
                    ..world.candidate(rank, rest)
                };
                world.release_target(old.target);
                reselect(world, key, slot, out);
            }
            return Removal::Found;
        }
        Removal::Unknown
    }

    /// Keeps the candidates of a prefix that the test wants (by place and generation).
    fn retain(
        &mut self,
        world: &mut World,
        key: (A, u8),
        out: &mut Vec<FibUpdate>,
        keep: impl Fn(usize, &Candidate) -> bool,
    ) {
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        let emptied = !slot.filter(world, keep);
        reselect_or_clear(world, key, slot, emptied, out);
        if emptied {
            self.slots.remove(&key);
        }
    }

    /// Looks again at every prefix with a candidate whose target is marked in `changed`, and forgets those marked in
    /// `dead`. Both are indexed by target number.
    pub(super) fn refresh(
        &mut self,
        world: &mut World,
        changed: &[bool],
        dead: &[bool],
        out: &mut Vec<FibUpdate>,
    ) {
        let marked = |list: &[bool], number: u32| list.get(number as usize).copied().unwrap_or(false);
        self.slots.retain(|&key, slot| {
            let hit = |c: &Candidate| marked(changed, c.target) || marked(dead, c.target);
            if !slot.candidates.as_slice().iter().any(hit) {
                return true;
            }
            let left = slot.filter(world, |_, c| !marked(dead, c.target));
            reselect_or_clear(world, key, slot, !left, out);
            left
        });
    }

    /// Forgets what the dump just ended did not confirm.
    pub(super) fn sweep(&mut self, world: &mut World, out: &mut Vec<FibUpdate>) {
        let generation = world.generation;
        self.slots.retain(|&key, slot| {
            if slot
                .candidates
                .as_slice()
                .iter()
                .all(|c| c.generation == generation)
            {
                return true;
            }
            let left = slot.filter(world, |_, c| c.generation == generation);
            reselect_or_clear(world, key, slot, !left, out);
            left
        });
    }
}

impl Slot {
    /// Drops unwanted candidates; `false`: none is left (and the slot must go).
    fn filter(&mut self, world: &mut World, keep: impl Fn(usize, &Candidate) -> bool) -> bool {
        let mut kept = Vec::new();
        for (place, candidate) in self.candidates.as_slice().iter().enumerate() {
            if keep(place, candidate) {
                kept.push(*candidate);
            } else {
                world.release_target(candidate.target);
            }
        }
        match kept.as_slice() {
            [] => return false,
            [one] => self.candidates = Candidates::One(*one),
            _ => self.candidates = Candidates::Many(Box::new(kept)),
        }
        true
    }
}

impl World {
    fn candidate(&mut self, (table, metric): (RouteTableId, u32), target: Target) -> Candidate {
        Candidate {
            metric,
            target: self.acquire_target(target),
            table,
            generation: self.generation,
        }
    }
}

/// All siblings of two parts of an IPv6 multipath route; the newer part tells the weights.
fn join(before: &Target, news: Target) -> Target {
    let (Target::Hops(before), Target::Hops(mut news)) = (before, news.clone()) else {
        return news;
    };
    let missing: Vec<Hop> = before
        .iter()
        .filter(|b| !news.iter().any(|n| same_way(b, n)))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Target::Hops(news);
    }
    let mut hops = missing;
    hops.append(&mut news);
    hops.sort_unstable();
    Target::Hops(hops)
}

/// Publishes the first usable candidate, if that is news.
fn reselect<A: Address>(world: &mut World, key: (A, u8), slot: &mut Slot, out: &mut Vec<FibUpdate>) {
    let best = slot
        .candidates
        .as_slice()
        .iter()
        .map(|c| world.effective(c.target))
        .find(|&a| a != NO_ACTION);
    publish(world, key, slot, best.unwrap_or(NO_ACTION), out);
}

fn reselect_or_clear<A: Address>(
    world: &mut World,
    key: (A, u8),
    slot: &mut Slot,
    clear: bool,
    out: &mut Vec<FibUpdate>,
) {
    if clear {
        publish(world, key, slot, NO_ACTION, out);
    } else {
        reselect(world, key, slot, out);
    }
}

fn publish<A: Address>(
    world: &mut World,
    key: (A, u8),
    slot: &mut Slot,
    action: u32,
    out: &mut Vec<FibUpdate>,
) {
    if slot.published == action {
        return;
    }
    match world.action(action) {
        Some(shared) => out.push(A::set(key, shared)),
        None => out.push(A::gone(key)),
    }
    world.retain_action(action);
    world.release_action(slot.published);
    slot.published = action;
}
