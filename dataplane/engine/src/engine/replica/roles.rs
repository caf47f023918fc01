//! Roles: of a service set that this chassis is standby of nothing is forwarded, nothing ends by time, nothing is told.
//!
//! A role change makes all that sessions know of routes old ([`Engine::route_generation`]). So each session's next packet
//! looks its route up again, and there a standby's is refused: the way of an established packet has no question more.

use super::offer::Offer;
use super::{BACKLOG, Engine, WALK_STEP};
use crate::engine::first_packet::Draft;
use crate::engine::flow::{Described, Flow};
use crate::mapping::Mapping;
use crate::packet::{Side, Verdict};
use crate::program::{NONE, ServiceSetId, UnsolicitedAnswer};
use crate::replica::{Op, Role};
use crate::session::{FLAG_REPLICATED, Hot, NO_RECORD};
use crate::tcp_state::TimerClass;
use crate::ticks::Ticks;

/// How long ports that were in extents at a takeover are nobody's, at least: RFC 6888 REQ-8.
pub(super) const HELD: Ticks = Ticks::from_seconds(120);

/// The part played for a service set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SetRole {
    pub role: Role,
    /// When it was last taken over, if ever: idle times count from then at the earliest.
    pub since: Ticks,
    /// Until when it drains; zero: it does not.
    pub drains_until: Ticks,
    /// The bulk that came in last told all there was of it.
    pub is_covered: bool,
    /// The bulk of whose time something of it was refused last, until one that covers it is complete.
    pub refused_in: Option<u16>,
    /// What a standby was primary of beside the other chassis, and tells it.
    pub offer: Offer,
    /// As primary: what the other chassis offers is taken.
    pub merges: bool,
    /// As standby: this chassis was primary last, so what the other one tells is what it offers a primary.
    pub passes_over: bool,
}

impl Engine {
    /// The part this chassis plays for a service set; primary until something else was said.
    #[must_use]
    pub fn role(&self, set: ServiceSetId) -> Role {
        self.set_role(set).role
    }

    fn set_role(&self, set: ServiceSetId) -> SetRole {
        self.replica
            .roles
            .get(usize::from(set))
            .copied()
            .unwrap_or_default()
    }

    #[inline]
    pub(in crate::engine) fn is_standby(&self, set: ServiceSetId) -> bool {
        self.has_standby && self.role(set) == Role::Standby
    }

    /// Whether a session ends only when the other chassis says so.
    pub(in crate::engine) fn is_kept(&self, hot: &Hot) -> bool {
        hot.flags & FLAG_REPLICATED != 0 && self.is_standby(hot.service_set)
    }

    /// Takes up a role. What was to be told under the old one goes out first, then [`Op::RoleDone`].
    pub(super) fn take_role(&mut self, set: ServiceSetId, role: Role, epoch: u32) {
        self.replicates = true;
        // What was taken and given back since the last look was this role's, and is told as its.
        self.tell_ports();
        let before = self.role(set);
        if before != role {
            if role == Role::Primary {
                self.end_sweep(set);
                self.settle_awaited();
                self.settle_all_contested();
            }
            let now = self.now;
            let has_swept = self.replica.sweep.is_none();
            let part = self.replica.role_mut(set);
            let knows_all = part.is_covered && has_swept;
            (part.role, part.is_covered, part.refused_in) = (role, false, None);
            (part.offer, part.merges, part.passes_over) = (Offer::None, false, false);
            if role == Role::Primary {
                part.drains_until = Ticks::ZERO;
                self.take_over(set, knows_all);
            } else {
                if part.drains_until <= now {
                    part.drains_until = Ticks::ZERO;
                }
                self.replica.shrink_at = 0;
                self.drop_awaited(set);
            }
            self.replica.merging.forget(set);
            self.roles_changed();
            if role == Role::Standby {
                // How long extents are held that the other chassis has, it says.
                self.ports.forget_holds();
            }
        }
        if self.replica.done.len() < BACKLOG {
            self.replica.done.push_back((set, epoch));
        }
    }

    /// `knows_all`: it had been told everything, so that it has nothing of an earlier time as primary that was told to nobody.
    fn take_over(&mut self, set: ServiceSetId, knows_all: bool) {
        // Never the same twice: what is known of TCP windows goes by it.
        let since = &mut self.replica.role_mut(set).since;
        *since = Ticks(self.now.0.max(since.0.saturating_add(1)));
        // What stands on a mapping here may not be all that stood on it there: its subscriber finds it for a while.
        let keep = self
            .set_plan(set)
            .map_or(0, |p| p.timeouts[TimerClass::Udp as usize]);
        self.replica.kept_until = self.replica.kept_until.max(self.now.plus(Ticks(keep)));
        if !cfg!(feature = "plant-stale-mapping-on-flip") {
            self.replica.kept_at = 0;
        }
        self.hold_ports(set, HELD, knows_all);
    }

    /// A standby's sessions follow no TCP windows and count little: what they have for that beside their record is free for
    /// what the other chassis tells.
    pub(super) fn shrink(&mut self) {
        if self.replica.shrink_at == NO_RECORD {
            return;
        }
        let high_water = self.sessions.high_water();
        let end = high_water.min(self.replica.shrink_at.saturating_add(WALK_STEP));
        for number in self.replica.shrink_at..end {
            let is_standby = |h: &Hot| {
                h.is_session() && self.is_standby(h.service_set) && !self.is_draining(h.service_set)
            };
            if self.sessions.hot(number).is_some_and(is_standby) {
                self.sessions.shrink(number);
            }
        }
        self.replica.shrink_at = if end >= high_water { NO_RECORD } else { end };
    }

    /// What follows from roles, after one of them or the program changed.
    pub(in crate::engine) fn roles_changed(&mut self) {
        let roles = &self.replica.roles;
        let role = |set: ServiceSetId| roles.get(usize::from(set)).copied().unwrap_or_default();
        self.has_standby = roles.iter().any(|r| r.role == Role::Standby);
        self.has_draining = roles.iter().any(SetRole::is_draining);
        self.hold_syns = self.program.service_sets.iter().any(|s| {
            s.on_unsolicited == UnsolicitedAnswer::HoldThenPortUnreachable && role(s.id).role == Role::Primary
        });
        for (set, plan) in self.sets.iter_mut().enumerate() {
            if let Some(plan) = plan {
                plan.not_before = role(set as ServiceSetId).since.0;
            }
        }
        self.program_salt = self.program_salt.wrapping_add(0x9E37_79B1);
        self.follow_pools();
    }

    /// Reports roles that were taken up, once all that came before is out.
    pub(super) fn report_roles(&mut self) {
        while self.replica.has_told_marked() && self.replica.backlog.is_empty() && !self.replica.lost {
            let Some((service_set, epoch)) = self.replica.done.front().copied() else {
                return;
            };
            if !self.push(Op::RoleDone { service_set, epoch }) {
                return;
            }
            self.replica.done.pop_front();
        }
    }

    /// Whether the subscriber may hold a mapping by sessions that only the other chassis knew: for a while after a takeover.
    #[inline]
    pub(in crate::engine) fn may_be_held(&self, mapping: &Mapping) -> bool {
        mapping.is_known() && self.now < self.replica.kept_until
    }

    /// Ends mappings that were kept over a takeover and that nobody has used since.
    pub(super) fn end_kept_mappings(&mut self) {
        if self.replica.kept_at == NO_RECORD || self.now < self.replica.kept_until {
            return;
        }
        let high_water = self.mappings.high_water();
        let end = high_water.min(self.replica.kept_at.saturating_add(WALK_STEP));
        for number in self.replica.kept_at..end {
            // Of a set that is still standby, they end when the other chassis says so.
            let unused = self.mappings.get(number).filter(|m| m.sessions == 0);
            let of = unused.and_then(|m| self.subscribers.get(m.subscriber));
            if unused.is_some() && of.is_none_or(|s| !self.is_standby(s.service_set)) {
                self.end_mapping_if_unused(number);
            }
        }
        self.replica.kept_at = if end >= high_water { NO_RECORD } else { end };
    }

    /// A packet of a service set that this chassis is standby of is for the other one, unless what it is of is known and drains.
    #[inline]
    pub(in crate::engine) fn check_primary(&self, set: ServiceSetId) -> Result<(), Verdict> {
        if self.is_standby(set) && !self.is_draining(set) {
            return Err(Verdict::NotPrimary(set));
        }
        Ok(())
    }

    /// One that would begin something is in any case.
    pub(in crate::engine) fn check_begins(&self, set: ServiceSetId) -> Result<(), Verdict> {
        if self.is_standby(set) {
            return Err(self.for_the_other(set));
        }
        Ok(())
    }

    /// What becomes of a packet without a session, decided as `verdict`, when it is a standby's: it is neither refused in the
    /// primary's name nor held, but what is for this box, or no service set's, is as ever.
    #[cold]
    #[inline(never)]
    pub(in crate::engine) fn refused_here(&self, side: Side, flow: &Flow, verdict: Verdict) -> Verdict {
        let set = match side {
            Side::Inside(set) => Some(set),
            Side::Outside => self.set_of_public(flow),
            Side::Neither => None,
        };
        match (verdict, set) {
            (Verdict::Drop(..) | Verdict::HoldSyn, Some(set)) if self.is_standby(set) => {
                self.for_the_other(set)
            }
            _ => verdict,
        }
    }

    /// The service set of a public end: of who has it, or of those that use its pool, which are of one redundancy set. Short
    /// sessions are never told a standby.
    fn set_of_public(&self, flow: &Flow) -> Option<ServiceSetId> {
        let public = crate::address::v4(flow.dst)?;
        let number = self
            .mappings
            .find_public(public, flow.dport, flow.proto)
            .or_else(|| {
                self.mappings
                    .find_public(public, 0, crate::mapping::WHOLE_ADDRESS)
            });
        if let Some(mapping) = number.and_then(|n| self.mappings.get(n)) {
            return self.subscribers.get(mapping.subscriber).map(|s| s.service_set);
        }
        if let Some(found) = self.program.statics.by_public(public, flow.proto, flow.dport) {
            return Some(found.mapping.service_set);
        }
        let pool = self.program.public_space.find(public)?.pool;
        let set = self.set_of_pool.get(usize::from(pool)).copied();
        set.filter(|set| *set != NONE)
    }

    /// Refuses the drafts of service sets that this chassis is standby of. The others come first then; how many there are.
    #[cold]
    #[inline(never)]
    pub(in crate::engine) fn refuse_standby<D: Described>(
        &self,
        drafts: &mut [Draft],
        descs: &mut [D],
    ) -> usize {
        let mut left = 0;
        for at in 0..drafts.len() {
            let draft = drafts[at];
            if !self.is_standby(draft.service_set) {
                drafts[left] = draft;
                left += 1;
            } else if let Some(desc) = descs.get_mut(usize::from(draft.packet)) {
                desc.set_verdict(self.for_the_other(draft.service_set));
            }
        }
        left
    }
}
