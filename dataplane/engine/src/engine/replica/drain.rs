//! Draining: what is handed over goes on until the other chassis has it.
//!
//! ```text
//!   primary --Drain, Role(standby)--> standby, draining --time is over, or Drain(0)--> standby
//!                                         '--Role(primary)--> primary
//! ```
//!
//! In everything but its packets a chassis that drains is a standby: it gives out nothing, tells nothing, ends nothing by time, and
//! takes what it is told. Packets of sessions that it has pass as before; both chassis translate them alike, because both have
//! the same sessions. What would begin one is refused ([`DropReason::Draining`]), and so is what would move the state of a TCP
//! connection: the new primary would not hear of it, and the ends send it again. But a RST passes, which nobody sends twice, and
//! moves nothing here; on the new primary such a session ends when it has been idle for its time, as if the RST had been lost.
//!
//! An established packet is asked nothing for it. The start and the end make routes old, as every role change does (roles.rs).

use super::roles::SetRole;
use super::{Engine, Replica};
use crate::drop_reason::DropReason;
use crate::engine::leaving::drop;
use crate::packet::Verdict;
use crate::program::ServiceSetId;
use crate::replica::Role;
use crate::ticks::Ticks;

impl SetRole {
    pub(super) fn is_draining(&self) -> bool {
        self.role == Role::Standby && self.drains_until != Ticks::ZERO
    }
}

impl Replica {
    /// Whether a service set drains.
    pub(in crate::engine) fn is_draining(&self, set: ServiceSetId) -> bool {
        self.roles.get(usize::from(set)).is_some_and(SetRole::is_draining)
    }
}

impl Engine {
    /// Whether packets of known sessions of a service set that was handed over still pass here.
    #[inline]
    #[must_use]
    pub fn is_draining(&self, set: ServiceSetId) -> bool {
        self.has_draining && self.replica.is_draining(set)
    }

    /// [`crate::replica::Op::Drain`].
    pub(super) fn drain(&mut self, set: ServiceSetId, time: Ticks) {
        let until = match time {
            Ticks::ZERO => Ticks::ZERO,
            time => self.now.plus(time),
        };
        let part = self.replica.role_mut(set);
        let (is_primary, was_draining) = (part.role == Role::Primary, part.is_draining());
        if is_primary || was_draining {
            part.drains_until = until;
        }
        if was_draining && until == Ticks::ZERO {
            self.drained();
        }
    }

    /// Whoever began it may not be there to end it.
    pub(super) fn end_drains(&mut self) {
        if !self.has_draining {
            return;
        }
        let now = self.now;
        let mut has_ended = false;
        for part in &mut self.replica.roles {
            if part.is_draining() && part.drains_until <= now {
                part.drains_until = Ticks::ZERO;
                has_ended = true;
            }
        }
        if has_ended {
            self.drained();
        }
    }

    /// A set drains no more: its sessions look up their routes again, and are a standby's.
    fn drained(&mut self) {
        self.replica.shrink_at = 0;
        self.roles_changed();
    }

    /// What becomes of a packet that would begin something, and a standby does not take. While the set drains it is refused, but
    /// where packets can be forwarded the other chassis is to say.
    pub(super) fn for_the_other(&self, set: ServiceSetId) -> Verdict {
        if self.is_draining(set) && self.program.data_link.is_none() {
            return drop(DropReason::Draining);
        }
        Verdict::NotPrimary(set)
    }

    /// Counts what passed in a burst by sessions of sets that drain.
    #[cold]
    #[inline(never)]
    pub(in crate::engine) fn count_drained(&mut self, burst: impl Iterator<Item = (Verdict, u32)>) {
        let passed = burst.filter(|(verdict, number)| {
            let hot = self.sessions.hot(*number);
            matches!(verdict, Verdict::Forward | Verdict::Hairpin)
                && hot.is_some_and(|h| self.is_draining(h.service_set))
        });
        self.counters.drained += passed.count() as u64;
    }
}
