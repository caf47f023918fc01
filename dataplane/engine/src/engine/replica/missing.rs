//! What a standby had to refuse is not told again by itself. So it asks for a bulk when there is room again, and when that
//! helped nothing, less and less often.

use super::{Engine, NotInstalled};
use crate::program::ServiceSetId;
use crate::replica::{Op, Role};
use crate::ticks::Ticks;

/// From a refusal to asking for a bulk, at least; it doubles with each time that one was asked for in vain.
const PATIENCE: Ticks = Ticks::from_seconds(30);
/// And at most.
const PATIENCE_MAX: Ticks = Ticks::from_seconds(960);

/// Whether something is missing here that the other chassis has.
#[derive(Debug)]
pub(super) struct Missing {
    /// Something was refused since the last bulk began.
    refused: bool,
    /// Whether that was said last.
    said: bool,
    /// A bulk is coming in.
    incoming: bool,
    /// No bulk is asked for before.
    not_before: Ticks,
    patience: Ticks,
}

impl Default for Missing {
    fn default() -> Self {
        Self {
            refused: false,
            said: false,
            incoming: false,
            not_before: Ticks::ZERO,
            patience: PATIENCE,
        }
    }
}

impl Missing {
    pub fn bulk_begins(&mut self) {
        (self.refused, self.incoming) = (false, true);
    }

    pub fn bulk_ends(&mut self) {
        self.incoming = false;
        if !self.refused {
            self.patience = PATIENCE;
        }
    }

    /// Something was refused.
    pub fn note(&mut self, now: Ticks) {
        if !self.refused {
            self.refused = true;
            self.not_before = self.not_before.max(now.plus(self.patience));
        }
    }

    /// Whether a bulk is coming in.
    pub const fn is_incoming(&self) -> bool {
        self.incoming
    }

    fn is_due(&self, now: Ticks) -> bool {
        self.refused && !self.incoming && now >= self.not_before
    }

    fn asked(&mut self, now: Ticks) {
        self.patience = Ticks(self.patience.0.saturating_mul(2)).min(PATIENCE_MAX);
        self.not_before = now.plus(self.patience);
    }
}

impl Engine {
    /// Counts what became of an operation.
    pub(super) fn count_install(&mut self, op: &Op, result: Result<(), NotInstalled>) {
        match result {
            Ok(()) => return,
            Err(NotInstalled::NotStandby) => {
                self.counters.replica_refused_role += 1;
                return;
            }
            // It comes again from who is primary next, or is offered to it.
            Err(NotInstalled::Unoffered | NotInstalled::Offered) => {
                self.counters.replica_unoffered += 1;
                return;
            }
            Err(NotInstalled::NoRoom) => self.counters.replica_refused_room += 1,
            Err(NotInstalled::NoGround | NotInstalled::Contested) => {
                self.counters.replica_refused_ground += 1;
            }
        }
        // Of an ending nothing is missing.
        let set = match op {
            Op::Session(record) => Some(record.service_set),
            Op::Mapping(record) => Some(record.service_set),
            Op::Block(record) => Some(record.service_set),
            // What stands on it is refused as well.
            Op::Extent(_) => None,
            _ => return,
        };
        self.replica.missing.note(self.now);
        if let Some(set) = set {
            self.replica.role_mut(set).refused_in = Some(self.replica.epoch);
        }
    }

    /// A bulk of everything is complete: what was refused before it is missing still, if it is of a service set that it did not cover.
    pub(super) fn note_uncovered(&mut self, bulk: u16) {
        for set in 0..self.replica.roles.len() {
            let is_there = self.set_plan(set as ServiceSetId).is_some();
            let Some(part) = self.replica.roles.get_mut(set) else {
                return;
            };
            if part.is_covered || !is_there {
                part.refused_in = part.refused_in.filter(|of| *of == bulk);
            } else if part.role == Role::Standby && part.refused_in.is_some() {
                self.replica.missing.note(self.now);
            }
        }
    }

    /// Whether something is missing here that the other chassis told: it was refused, or waits for another worker.
    #[must_use]
    pub fn lacks(&self) -> bool {
        self.replica.missing.refused || self.replica.awaited.is_lacking(self.now)
    }

    /// Says that something is missing here, or no more: whether this chassis is ready to take over goes by it.
    pub(super) fn tell_missing(&mut self) {
        let lacks = self.lacks();
        if lacks != self.replica.missing.said && self.push(Op::Lacks(lacks)) {
            self.replica.missing.said = lacks;
        }
    }

    /// Asks for a bulk if something was refused and there is room now.
    pub(super) fn ask_for_missing(&mut self) {
        if !self.replica.listening || !self.has_standby || !self.replica.missing.is_due(self.now) {
            return;
        }
        // Not for a single record that came free: a bulk costs both chassis something.
        let has_room = |(live, capacity): (u32, u32)| live + capacity / 64 < capacity;
        if self.table_use().into_iter().all(has_room) && self.push(Op::Refused) {
            self.replica.missing.asked(self.now);
        }
    }
}
