//! What routes refer to: devices, next-hop objects, and the action that a target has at present.
//!
//! ```text
//!   candidate --target no.--> Target --(devices, objects)--> effective action no. --> RouteAction
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::interner::Interner;
use super::types::{Hop, LinkState, NextHopObject, Special, Target};
use crate::kernel::types::{NextHop, RouteAction};

/// The number of "no action": no usable route.
pub(super) const NO_ACTION: u32 = u32::MAX;

/// Devices, objects, and the interned targets and actions.
pub(super) struct World {
    targets: Interner<Target>,
    /// By target number: its action's number, holding a reference, or [`NO_ACTION`].
    effective: Vec<u32>,
    actions: Interner<RouteAction>,
    pub(super) links: HashMap<u32, LinkState>,
    pub(super) objects: HashMap<u32, NextHopObject>,
    /// The number of the current dump, modulo 256.
    pub(super) generation: u8,
}

/// What a change of devices or objects did to targets, indexed by target number.
#[derive(Default)]
pub(super) struct Effect {
    /// The action is another.
    pub(super) changed: Vec<bool>,
    /// The kernel has flushed all routes with this target.
    pub(super) dead: Vec<bool>,
    /// Next-hop objects that are no more.
    pub(super) objects_gone: HashSet<u32>,
    /// A device that is down or gone.
    pub(super) device_down: Option<u32>,
}

impl Effect {
    pub(super) fn is_empty(&self) -> bool {
        !self.changed.contains(&true) && !self.dead.contains(&true)
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            targets: Interner::new(),
            effective: Vec::new(),
            actions: Interner::new(),
            links: HashMap::new(),
            objects: HashMap::new(),
            generation: 0,
        }
    }

    pub(super) fn find(&self, target: &Target) -> Option<u32> {
        self.targets.find(target)
    }

    pub(super) fn target(&self, number: u32) -> Option<&Arc<Target>> {
        self.targets.get(number)
    }

    pub(super) fn target_count(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn acquire_target(&mut self, target: Target) -> u32 {
        let action = match self.targets.find(&target) {
            Some(_) => None,
            None => Some(self.resolve(&target)),
        };
        let (number, _) = self.targets.acquire(target);
        if let Some(action) = action {
            if self.effective.len() <= number as usize {
                self.effective.resize(number as usize + 1, NO_ACTION);
            }
            self.effective[number as usize] = self.acquire_action(action);
        }
        number
    }

    pub(super) fn release_target(&mut self, number: u32) {
        if self.targets.release(number)
            && let Some(action) = self.effective.get_mut(number as usize)
        {
            let action = std::mem::replace(action, NO_ACTION);
            self.release_action(action);
        }
    }

    /// The number of a target's action.
    pub(super) fn effective(&self, target: u32) -> u32 {
        self.effective.get(target as usize).copied().unwrap_or(NO_ACTION)
    }

    pub(super) fn action(&self, number: u32) -> Option<Arc<RouteAction>> {
        self.actions.get(number).cloned()
    }

    fn acquire_action(&mut self, action: Option<RouteAction>) -> u32 {
        action.map_or(NO_ACTION, |action| self.actions.acquire(action).0)
    }

    pub(super) fn retain_action(&mut self, number: u32) {
        self.actions.retain(number);
    }

    pub(super) fn release_action(&mut self, number: u32) {
        self.actions.release(number);
    }

    /// A route that the kernel cannot hold at present: all its hops on devices that are down, or through an object
    /// that does not exist. Told by a message that the state known here has overtaken.
    pub(super) fn is_impossible(&self, target: &Target) -> bool {
        match target {
            Target::Special(_) => false,
            Target::Hops(hops) => hops.iter().all(|hop| self.is_down(hop.ifindex)),
            Target::Object(id) => !self.objects.contains_key(id),
        }
    }

    /// Down, gone, or not heard of yet (a dump of routes may be ahead of the news of a device).
    fn is_down(&self, ifindex: u32) -> bool {
        !self.links.get(&ifindex).is_some_and(|link| link.up)
    }

    /// Works out a target's action from devices and objects as they are. `None`: not usable.
    fn resolve(&self, target: &Target) -> Option<RouteAction> {
        match target {
            Target::Special(special) => Some(match special {
                Special::Local { .. } => RouteAction::Local,
                Special::Punt => RouteAction::Punt,
                Special::Blackhole => RouteAction::Blackhole,
                Special::Unreachable => RouteAction::Unreachable,
                Special::Prohibited => RouteAction::Prohibited,
            }),
            Target::Hops(hops) => self.resolve_hops(hops),
            Target::Object(id) => match self.objects.get(id)? {
                NextHopObject::Hop(hop) => self.resolve_hops(std::slice::from_ref(hop)),
                NextHopObject::Blackhole => Some(RouteAction::Blackhole),
                NextHopObject::Opaque => Some(RouteAction::Punt),
                NextHopObject::Group(members) => self.resolve_group(members),
            },
        }
    }

    fn resolve_group(&self, members: &[(u32, u16)]) -> Option<RouteAction> {
        let mut hops = Vec::with_capacity(members.len());
        for (id, weight) in members {
            match self.objects.get(id) {
                Some(NextHopObject::Hop(hop)) => hops.push(Hop {
                    weight: *weight,
                    ..hop.clone()
                }),
                // The kernel allows a blackhole only as the single member.
                Some(NextHopObject::Blackhole) => return Some(RouteAction::Blackhole),
                Some(NextHopObject::Opaque) => return Some(RouteAction::Punt),
                Some(NextHopObject::Group(_)) | None => {}
            }
        }
        self.resolve_hops(&hops)
    }

    /// Hops over taps of ours make the action; the kernel's other devices count only when no tap is among them. A
    /// hop without carrier is left out while a sibling has one, as routers do and as the kernel does under
    /// `ignore_routes_with_linkdown`.
    fn resolve_hops(&self, hops: &[Hop]) -> Option<RouteAction> {
        let mut ours: Vec<(bool, NextHop)> = Vec::with_capacity(hops.len());
        let mut foreign = false;
        for hop in hops {
            match self.links.get(&hop.ifindex) {
                None => {}
                Some(link) if !link.up => {}
                Some(LinkState {
                    carrier,
                    interface: Some(interface),
                    ..
                }) => ours.push((
                    *carrier,
                    NextHop {
                        interface: *interface,
                        gateway: hop.gateway,
                        weight: hop.weight.max(1),
                    },
                )),
                Some(_) => foreign = true,
            }
        }
        if ours.is_empty() {
            return foreign.then_some(RouteAction::Punt);
        }
        let any_carrier = ours.iter().any(|(carrier, _)| *carrier);
        let hops = ours
            .into_iter()
            .filter(|(carrier, _)| *carrier || !any_carrier)
            .map(|(_, hop)| hop)
            .collect();
        Some(RouteAction::NextHops(hops))
    }

    /// Works out again the action of some targets, and says which changed.
    fn recompute(&mut self, numbers: &[u32], effect: &mut Effect) {
        effect.changed.resize(self.effective.len(), false);
        effect.dead.resize(self.effective.len(), false);
        for &number in numbers {
            let Some(target) = self.targets.get(number).cloned() else {
                continue;
            };
            let action = self.resolve(&target);
            let action = self.acquire_action(action);
            let old = std::mem::replace(&mut self.effective[number as usize], action);
            effect.changed[number as usize] |= old != action;
            self.release_action(old);
        }
    }

    /// A device changed or came (`Some`), or went (`None`).
    ///
    /// The kernel does not tell each route that goes with it: IPv4 routes whose last living hop was on a device now
    /// down are flushed in silence (fib_sync_down_dev), and so are the next-hop objects of a device that goes down or
    /// loses its carrier (nexthop_flush_dev), with the routes over them. The same is done here.
    pub(super) fn set_link(&mut self, ifindex: u32, link: Option<LinkState>) -> Effect {
        let before = match link {
            Some(link) => self.links.insert(ifindex, link),
            None => self.links.remove(&ifindex),
        };
        if before == link {
            return Effect::default();
        }
        let mut gone = HashSet::new();
        if before.is_some_and(|b| b.usable()) && !link.is_some_and(|l| l.usable()) {
            let on_it =
                |object: &NextHopObject| matches!(object, NextHopObject::Hop(hop) if hop.ifindex == ifindex);
            let ids: Vec<u32> = self
                .objects
                .iter()
                .filter(|(_, o)| on_it(o))
                .map(|(id, _)| *id)
                .collect();
            for id in ids {
                self.drop_object(id, &mut gone);
            }
        }
        let numbers: Vec<u32> = self.targets.iter().map(|(number, _)| number).collect();
        let mut effect = Effect::default();
        self.recompute(&numbers, &mut effect);
        let went_down = !link.is_some_and(|l| l.up);
        for (number, target) in self.targets.iter() {
            let dead = match &**target {
                Target::Special(Special::Local { ifindex: on }) => link.is_none() && *on == ifindex,
                Target::Special(_) => false,
                Target::Hops(hops) => {
                    let lost = |hop: &Hop| self.is_down(hop.ifindex);
                    went_down && hops.iter().any(|h| h.ifindex == ifindex) && hops.iter().all(lost)
                }
                Target::Object(id) => gone.contains(id),
            };
            effect.dead[number as usize] |= dead;
        }
        effect.objects_gone = gone;
        effect.device_down = went_down.then_some(ifindex);
        effect
    }

    /// A next-hop object came or changed.
    pub(super) fn set_object(&mut self, id: u32, object: NextHopObject) -> Effect {
        if self.objects.get(&id) == Some(&object) {
            return Effect::default();
        }
        self.objects.insert(id, object);
        let mut touched: Vec<u32> = self.groups_with(id);
        touched.push(id);
        self.effect_of(&touched, HashSet::new())
    }

    /// A next-hop object went; routes over it go with it, without further notice.
    pub(super) fn remove_object(&mut self, id: u32) -> Effect {
        if !self.objects.contains_key(&id) {
            return Effect::default();
        }
        let touched = self.groups_with(id);
        let mut gone = HashSet::new();
        self.drop_object(id, &mut gone);
        self.effect_of(&touched, gone)
    }

    fn groups_with(&self, id: u32) -> Vec<u32> {
        let has = |o: &NextHopObject| matches!(o, NextHopObject::Group(members) if members.iter().any(|m| m.0 == id));
        self.objects
            .iter()
            .filter(|(_, object)| has(object))
            .map(|(group, _)| *group)
            .collect()
    }

    /// Forgets an object and its membership in groups; a group left empty goes too.
    fn drop_object(&mut self, id: u32, gone: &mut HashSet<u32>) {
        if self.objects.remove(&id).is_none() {
            return;
        }
        gone.insert(id);
        for group in self.groups_with(id) {
            if let Some(NextHopObject::Group(members)) = self.objects.get_mut(&group) {
                members.retain(|member| member.0 != id);
                if members.is_empty() {
                    self.drop_object(group, gone);
                }
            }
        }
    }

    fn effect_of(&mut self, touched: &[u32], gone: HashSet<u32>) -> Effect {
        let ids = touched.iter().chain(&gone);
        let numbers: Vec<u32> = ids
            .filter_map(|id| self.targets.find(&Target::Object(*id)))
            .collect();
        let mut effect = Effect::default();
        self.recompute(&numbers, &mut effect);
        for id in &gone {
            if let Some(number) = self.targets.find(&Target::Object(*id)) {
                effect.dead[number as usize] = true;
            }
        }
        effect.objects_gone = gone;
        effect
    }
}
