//! What the checks ask of a chassis.

use ha_sync::link::{LinkState, Mirror};
use tandem_engine::engine::Engine;
use tandem_engine::replica::Role;

use super::{Known, Side};
use crate::report::Report;
use crate::views::{self, Ends, Set};

/// How much a worker had to refuse of what it should have: a standby asks for that anew when there is room.
pub(super) fn refused(engine: &Engine) -> u64 {
    let counters = engine.counters();
    counters.replica_refused_ground + counters.replica_refused_room
}

impl Side {
    /// Whether a worker is primary of a set.
    pub fn is_primary_on(&self, engine: &Engine, set: u16) -> bool {
        engine.role(set) == Role::Primary
    }

    /// Whether all workers are primary of a set.
    pub fn is_primary(&self, set: u16) -> bool {
        self.world.engines.iter().all(|e| e.role(set) == Role::Primary)
    }

    /// Whether all workers are primary of a set, and have what had to wait until all had read what was told before.
    pub fn has_taken_over(&self, set: u16) -> bool {
        let waits = self.world.engines.iter().any(Engine::waits_for_workers);
        self.is_primary(set) && !waits
    }

    /// Whether all workers are standby of a set.
    pub fn is_standby(&self, set: u16) -> bool {
        self.world.engines.iter().all(|e| e.role(set) == Role::Standby)
    }

    /// Whether it has everything the other told.
    pub fn has_all(&self) -> bool {
        self.has_installed_all() && !self.bridge.is_lacking()
    }

    /// Whether it could install everything since the last bulk began, and does not say that it lacks something.
    pub fn has_installed_all(&self) -> bool {
        let engines = self.world.engines.iter().zip(&self.refused_before);
        engines
            .into_iter()
            .all(|(engine, before)| refused(engine) == *before && !engine.lacks())
    }

    /// Whether nothing of a bulk is to be installed or swept.
    pub fn is_tidy(&self) -> bool {
        self.filled
            && self.inboxes.iter().all(|inbox| inbox.is_empty())
            && self
                .world
                .engines
                .iter()
                .all(|e| e.has_told_all() && !e.waits_for_workers())
    }

    /// Number of the last bulk it told, or is telling.
    pub fn bulk_number(&self) -> u16 {
        self.link.stats().bulk_sent.number
    }

    /// Whether it is telling everything there is.
    pub fn is_telling_all(&self) -> bool {
        matches!(
            self.link.state(),
            LinkState::Connected {
                sending: Mirror::Set,
                ..
            }
        )
    }

    /// How far the other is behind, milliseconds.
    pub fn lag_ms(&self) -> u64 {
        self.link.stats().lag_ms
    }

    /// For how long it has taken nothing that the other had of its own, and may have been told to end since.
    pub const fn unmerged_ms(&self, now: u64) -> u64 {
        now - self.merged_ms
    }

    /// Nothing is on its way to the other.
    pub fn is_calm(&self) -> bool {
        let stats = self.link.stats();
        self.link.state().is_active()
            && self.has_all()
            && stats.lag_ms == 0
            && stats.pending == 0
            && self.inboxes.iter().all(|inbox| inbox.is_empty())
            && self
                .world
                .engines
                .iter()
                .all(|e| e.has_told_all() && !e.waits_for_workers())
            && self.world.engines.iter().all(|e| e.extents_leaving() == 0)
    }

    /// Whether both ways are up, and each has all the other has.
    pub fn is_active(&self) -> bool {
        self.link.state().is_active()
    }

    /// What the other chassis knows now of what this one has given away, `covered` being whether its mirror is complete.
    pub fn knowledge(&self, now: u64, covered: bool) -> Known {
        if !covered {
            return Known::NOTHING;
        }
        let told = now.saturating_sub(self.link.stats().lag_ms);
        if told > self.strict_since {
            Known::ALL
        } else {
            Known(told)
        }
    }

    /// Whether leases are required and the other has everything.
    pub fn is_strict(&self) -> bool {
        let connected = matches!(self.link.state(), LinkState::Connected { .. });
        connected && self.covered && self.world.program.public_space.leases_required()
    }

    /// Memory stays within what was set, and no engine found its books wrong.
    pub fn check_bounds(&self) {
        let stats = self.link.stats();
        assert!(
            stats.window_peak <= 64 << 10,
            "the window holds {}",
            stats.window_peak
        );
        assert!(
            stats.pending_peak <= self.tuning.pending_max as u64 + 64,
            "{} operations beside the window",
            stats.pending_peak
        );
        assert_eq!(stats.bulk_mismatches, 0, "bulks that were not complete");
        for engine in &self.world.engines {
            assert_eq!(engine.counters().port_release_mismatch, 0);
        }
    }

    /// All it has as a standby, it was told by the other, or had of its own.
    pub fn check_subset(&self, told: &Set<Ends>) {
        for engine in &self.world.engines {
            for session in views::sessions(engine) {
                let ends = session.ends;
                assert!(
                    engine.role(ends.set) == Role::Primary
                        || told.contains(&ends)
                        || self.own.contains(&ends),
                    "nobody told of {ends:x?}"
                );
            }
        }
    }

    /// Adds what it did to a report, at its end.
    pub fn count(&self, report: &mut Report) {
        let stats = self.link.stats();
        report.told += self.told.operations;
        report.resumes += stats.resumes;
        report.retransmits += stats.retransmits;
        report.bulks += u64::from(stats.bulk_sent.number);
        for engine in &self.world.engines {
            let counters = engine.counters();
            report.sessions += counters.sessions_created_out + counters.sessions_created_in;
            report.dirty += counters.replica_dirty;
            report.drained += counters.drained;
        }
        report.lease_waits += self
            .world
            .drops
            .get(tandem_engine::drop_reason::DropReason::NatLeaseWait);
    }
}
