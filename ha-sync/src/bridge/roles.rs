//! Roles of redundancy sets: given to the workers, done when all of them say so, and yielded to whoever has a higher epoch.

use tandem_engine::program::ServiceSetId;
use tandem_engine::replica::{Merge, Op, Role};
use tandem_engine::ticks::Ticks;

use super::merging::Offering;
use super::{Bridge, BridgeEvent, Listening};
use crate::chassis::{SetRole, Sets};

/// A redundancy set on this chassis.
#[derive(Debug)]
pub(super) struct SetState {
    pub number: u8,
    pub service_sets: Vec<ServiceSetId>,
    pub role: Role,
    pub epoch: u64,
    /// Number of the last change given to the workers, and how many of their answers are still to come.
    change: u32,
    waiting: usize,
    /// As [`Bridge::yield_equal_epochs`], of this set.
    yields_equal: Option<bool>,
    /// It was primary beside the peer, is so no more, and offers what it has.
    pub offer: Option<Offering>,
    /// As standby: it was primary last, as far as the peer's word goes, so that what the peer tells of it is no primary's.
    pub passes_over: bool,
    /// As primary: what workers have said of the merge that is under way.
    pub merge: Merge,
}

impl SetState {
    /// Whether some worker has still to take its role up.
    pub(super) const fn is_changing(&self) -> bool {
        self.waiting > 0
    }

    fn set_role(&self) -> SetRole {
        SetRole {
            set: self.number,
            primary: self.role == Role::Primary,
            epoch: self.epoch,
        }
    }
}

impl Bridge {
    /// The peer is known to be dead by other means than the connection (heartbeats), until there is a new connection: leases are
    /// required no more, so that a takeover gives ports to new subscribers at once. What the connection still brings counts, and until it
    /// brings something a takeover does not tell the peer everything anew: workers and this thread have better to do.
    pub fn peer_died(&mut self) {
        self.peer_is_dead = true;
        self.keeper.peer_died(&self.program, &mut self.stats);
    }

    /// Gives a redundancy set a role; [`BridgeEvent::RoleDone`] comes when all workers have taken it up. A chassis that becomes
    /// primary gives nobody the ports that the peer may have given out until they have rested. One that ceases to be, and whose peer
    /// is not known to be standby, offers it what it has. False: there is no such set.
    pub fn set_role(&mut self, set: u8, role: Role, epoch: u64) -> bool {
        self.change_role(set, role, epoch, false)
    }

    /// `yields`: it is known that the peer is primary, too.
    fn change_role(&mut self, set: u8, role: Role, epoch: u64, yields: bool) -> bool {
        let Some(state) = self.sets.iter_mut().find(|state| state.number == set) else {
            return false;
        };
        let takes_over = role == Role::Primary && state.role == Role::Standby;
        // Not as a process starts, which has nothing of its own.
        let was_primary = role == Role::Standby && state.role == Role::Primary && state.epoch > 0;
        if state.role != role {
            self.bulks.role_changes(set);
        }
        self.changes = self.changes.wrapping_add(1);
        if role != Role::Standby {
            state.offer = None;
        }
        if state.role != role {
            (state.merge, state.passes_over) = (Merge::default(), false);
        }
        (state.role, state.epoch, state.change) = (role, epoch, self.changes);
        state.waiting = state.service_sets.len() * self.rings.workers();
        let service_sets = state.service_sets.clone();
        let nothing = state.waiting == 0;
        let done = state.set_role();
        if takes_over {
            self.take_over_from_here();
            if self.keeper.forgets_rests(self.now, &self.program) {
                self.rings.command(Op::HoldsUnknown);
            }
            // Before any worker gives out the first port.
            let primary = self.primary_service_sets();
            self.keeper
                .becomes_primary(&self.program, &primary, &mut self.stats);
        }
        for service_set in &service_sets {
            self.rings.command(Op::Role {
                service_set: *service_set,
                role,
                epoch: self.changes,
            });
        }
        if was_primary && !self.peer_is_primary_of(set) {
            self.pass_over(set, true);
        }
        if takes_over {
            self.roles_are_told();
            // The peer may have sessions of its own time as primary that this chassis was never told of: a bulk sweeps them.
            self.bulks.renew |= self.listening == Listening::On;
            self.keeper.took_over(self.now, &self.program, &service_sets);
        } else if role == Role::Standby {
            self.keeper.gave_up(&self.program, &service_sets, &mut self.stats);
            // The peer was primary beside this chassis, or may have been: it knows nothing of what began here meanwhile, and tells
            // nothing anew because this one ceases to be. What it told before was refused here, and what it covered not swept.
            if (yields || was_primary && !self.peer_is_standby_of(set)) && !self.offer(set) {
                self.lack();
            }
        }
        if nothing {
            self.events.push_back(BridgeEvent::RoleDone(done));
        }
        true
    }

    /// Whether the peer is connected, and says that it is standby of a set: should it become primary, it tells everything anew.
    pub(super) fn peer_is_standby_of(&self, set: u8) -> bool {
        let theirs = self.peer_roles.iter().find(|role| role.set == set);
        theirs.is_some_and(|role| !role.primary)
    }

    /// A primary set's workers are to drain for so long at most when they are made standby next ([`Bridge::set_role`]); or, of those
    /// that drain, from now on. Zero ends it.
    pub fn drain(&mut self, set: u8, time: Ticks) {
        let known = self.sets.iter().find(|state| state.number == set);
        for service_set in known.map(|state| state.service_sets.clone()).unwrap_or_default() {
            self.rings.command(Op::Drain { service_set, time });
        }
    }

    /// A standby set has this epoch from now on, if it is higher: that of the primary that tells it its sessions.
    pub fn adopt_epoch(&mut self, set: u8, epoch: u64) {
        let standby = |state: &&mut SetState| state.number == set && state.role == Role::Standby;
        if let Some(state) = self.sets.iter_mut().find(standby) {
            state.epoch = state.epoch.max(epoch);
        }
    }

    pub(super) fn sets_that_are(&self, role: Role) -> Sets {
        let sets = self.sets.iter().filter(|set| set.role == role);
        sets.map(|set| set.number).collect()
    }

    /// All sets' roles here, for [`crate::link::Link::announce_roles`].
    #[must_use]
    pub fn roles(&self) -> Vec<SetRole> {
        self.sets.iter().map(SetState::set_role).collect()
    }

    /// A set's role here.
    #[must_use]
    pub fn role(&self, set: u8) -> Option<SetRole> {
        let known = self.sets.iter().find(|state| state.number == set);
        known.map(SetState::set_role)
    }

    /// Whether all workers have taken up a set's role.
    #[must_use]
    pub fn role_is_done(&self, set: u8) -> bool {
        self.sets.iter().any(|s| s.number == set && s.waiting == 0)
    }

    pub(super) fn number_sets(&mut self) {
        let mut before = std::mem::take(&mut self.sets);
        let member_of = std::mem::take(&mut self.of_service_set);
        let (mut renewed, mut joined) = (Vec::new(), Vec::new());
        for set in &self.config.sets {
            let known = before.iter().position(|s| s.number == set.number);
            let mut state = known.map_or_else(
                || SetState {
                    number: set.number,
                    service_sets: Vec::new(),
                    role: Role::Primary,
                    epoch: 0,
                    change: 0,
                    waiting: 0,
                    yields_equal: None,
                    offer: None,
                    passes_over: false,
                    merge: Merge::default(),
                },
                |at| before.swap_remove(at),
            );
            if state.waiting > 0 && state.service_sets != set.service_sets {
                renewed.push(set.number);
            }
            // Whoever drives the bridge gives a new set its role; until then its service sets have those of before.
            let role = known.map(|_| state.role);
            // What workers have of one that was in no set is as in a new one.
            let joins = |id: &&ServiceSetId| {
                !state.service_sets.contains(id) && (role.is_some() || member_of.contains_key(*id))
            };
            let joining = set.service_sets.iter().filter(joins);
            joined.extend(joining.map(|id| (*id, role, state.passes_over)));
            state.service_sets.clone_from(&set.service_sets);
            self.sets.push(state);
        }
        for (service_set, role, passes_over) in joined {
            if let Some(role) = role {
                self.command_role(service_set, role);
            }
            self.rings.command(Op::PassOver {
                service_set,
                passes_over,
            });
        }
        self.sets.sort_by_key(|set| set.number);
        let numbered = self.sets.iter().enumerate();
        self.of_service_set = numbered
            .flat_map(|(at, set)| set.service_sets.iter().map(move |id| (*id, at)))
            .collect();
        for id in member_of.keys() {
            // A role outlives its service set, which may come back, in no redundancy set.
            if !self.of_service_set.contains_key(id) {
                self.command_role(*id, Role::Primary);
            }
        }
        for number in renewed {
            // Of a change under way other service sets have to say that it is done.
            let state = self.sets.iter().find(|state| state.number == number);
            if let Some((role, epoch)) = state.map(|state| (state.role, state.epoch)) {
                self.set_role(number, role, epoch);
            }
        }
    }

    pub(super) fn role_done(&mut self, service_set: ServiceSetId, change: u32) {
        let at = self.of_service_set.get(&service_set).copied();
        let Some(state) = at.and_then(|at| self.sets.get_mut(at)) else {
            return;
        };
        if state.change != change || state.waiting == 0 {
            return;
        }
        state.waiting -= 1;
        if state.waiting == 0 {
            let done = state.set_role();
            self.events.push_back(BridgeEvent::RoleDone(done));
        }
    }

    /// Whether this chassis is the one that becomes standby where both are primary with the same epoch: of the two exactly one must
    /// be. It is decided here, and not by whoever drives the bridge, because what the peer tells next is for a standby.
    pub fn yield_equal_epochs(&mut self, yields: bool) {
        self.yields_equal = yields;
    }

    /// The same of one set, whatever is said of all: the better priority stays primary before the lower address does.
    pub fn yield_equal_epoch_of(&mut self, set: u8, yields: bool) {
        if let Some(state) = self.sets.iter_mut().find(|state| state.number == set) {
            state.yields_equal = Some(yields);
        }
    }

    /// Whether some worker has not yet taken up a role that it was told, or new extents wait for what it has still to read.
    #[must_use]
    pub fn is_changing_roles(&self) -> bool {
        self.taking.is_some() || self.sets.iter().any(SetState::is_changing)
    }

    /// A set that is primary here becomes standby with the peer's epoch, because the peer is primary, too, and has the better claim.
    pub fn yields(&mut self, set: u8, epoch: u64) {
        self.change_role(set, Role::Standby, epoch, true);
    }

    /// Two primaries: the one with the lower epoch yields. Redundancy spec, section 1.
    pub(super) fn yield_to(&mut self, peer: &[SetRole]) {
        for theirs in peer.iter().filter(|role| role.primary) {
            let ours = self.sets.iter().find(|s| s.number == theirs.set);
            let yields = |ours: &SetState| {
                let equal = ours.yields_equal.unwrap_or(self.yields_equal);
                ours.epoch < theirs.epoch || ours.epoch == theirs.epoch && equal
            };
            if ours.is_some_and(|s| s.role == Role::Primary && yields(s)) {
                self.yields(theirs.set, theirs.epoch);
                self.events.push_back(BridgeEvent::Yielded(SetRole {
                    primary: false,
                    ..*theirs
                }));
            }
        }
    }
}
