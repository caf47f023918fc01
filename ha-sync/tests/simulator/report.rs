//! What runs have seen, added up, and how a failing one is told.

use std::collections::BTreeMap;
use std::fmt;

use crate::program::Kind;

/// Numbers of one run or of many.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs.
    pub seeds: u64,
    /// Steps.
    pub steps: u64,
    /// Times a chassis lost everything.
    pub crashes: u64,
    /// Of these, primaries with a complete standby.
    pub covered: u64,
    /// Chassis that started again before the other had taken over.
    pub early_restarts: u64,
    /// Roles moved by hand, both chassis being up.
    pub flips: u64,
    /// Chassis made primary while the other was it, too.
    pub forced: u64,
    /// Of these, primaries that yielded.
    pub yielded: u64,
    /// Crashes in the midst of a bulk.
    pub amid_crashes: u64,
    /// Roles that moved in the midst of a bulk.
    pub amid_moves: u64,
    /// Roles that an automatic pair took by itself.
    pub takeovers: u64,
    /// Sets that drained after a handover.
    pub drains: u64,
    /// Packets that passed there meanwhile.
    pub drained: u64,
    /// Chassis that stopped cleanly.
    pub stops: u64,
    /// What was asked of it, and of that was refused at once.
    pub commands: u64,
    /// See there.
    pub refused: u64,
    /// Connections that broke or were made anew.
    pub breaks: u64,
    /// Sessions made.
    pub sessions: u64,
    /// Operations the chassis told each other.
    pub told: u64,
    /// Sessions that had to survive their primary, and did.
    pub survived: u64,
    /// Times both sides were compared after quiet time.
    pub compared: u64,
    /// Sessions there were in these comparisons.
    pub equal: u64,
    /// Streams that went on where they broke.
    pub resumes: u64,
    /// Bulks begun.
    pub bulks: u64,
    /// Batches sent again.
    pub retransmits: u64,
    /// Sessions marked for a later walk because a ring was full.
    pub dirty: u64,
    /// First packets that had to wait for a lease.
    pub lease_waits: u64,
    /// Runs by kind of service set.
    pub kinds: BTreeMap<Kind, u64>,
}

impl Report {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.covered += other.covered;
        self.early_restarts += other.early_restarts;
        self.flips += other.flips;
        self.forced += other.forced;
        self.yielded += other.yielded;
        self.amid_crashes += other.amid_crashes;
        self.amid_moves += other.amid_moves;
        self.takeovers += other.takeovers;
        self.drains += other.drains;
        self.drained += other.drained;
        self.stops += other.stops;
        self.commands += other.commands;
        self.refused += other.refused;
        self.breaks += other.breaks;
        self.sessions += other.sessions;
        self.told += other.told;
        self.survived += other.survived;
        self.compared += other.compared;
        self.equal += other.equal;
        self.resumes += other.resumes;
        self.bulks += other.bulks;
        self.retransmits += other.retransmits;
        self.dirty += other.dirty;
        self.lease_waits += other.lease_waits;
        for (kind, count) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} steps, {} crashes ({} of a primary with a complete standby), {} restarts before the takeover, {} flips, {} broken connections",
            self.seeds, self.steps, self.crashes, self.covered, self.early_restarts, self.flips, self.breaks
        )?;
        writeln!(
            f,
            "{} roles taken by themselves, {} drains that {} packets passed, {} clean stops, {} commands, {} of them refused at once; {} forced primaries, {} yielded; {} crashes and {} role changes in the midst of a bulk",
            self.takeovers,
            self.drains,
            self.drained,
            self.stops,
            self.commands,
            self.refused,
            self.forced,
            self.yielded,
            self.amid_crashes,
            self.amid_moves
        )?;
        writeln!(
            f,
            "{} sessions made, {} operations told, {} sessions survived their primary, {} found equal in {} comparisons",
            self.sessions, self.told, self.survived, self.equal, self.compared
        )?;
        write!(
            f,
            "{} resumed streams, {} bulks, {} batches sent again, {} sessions marked dirty, {} waits for a lease; sets {:?}",
            self.resumes, self.bulks, self.retransmits, self.dirty, self.lease_waits, self.kinds
        )
    }
}

impl Report {
    /// Random runs that no longer reach something say nothing about it.
    pub fn assert_something_of_everything(&self, is_automatic: bool) {
        let by_hand = [
            ("a restart before the takeover", self.early_restarts),
            ("a flip", self.flips),
            ("a role change amid a bulk", self.amid_moves),
        ];
        let by_itself = [
            ("a role taken", self.takeovers),
            ("a packet that passes where a set drains", self.drained),
            ("a clean stop", self.stops),
            ("a command", self.commands),
            ("a command that is refused", self.refused),
        ];
        let reached = [
            ("a covered crash", self.covered),
            ("a forced primary", self.forced),
            ("a primary that yields", self.yielded),
            ("a crash amid a bulk", self.amid_crashes),
            ("a broken connection", self.breaks),
            ("a session that survived", self.survived),
            ("equal sessions", self.equal),
            ("a resumed stream", self.resumes),
            ("a bulk", self.bulks),
            ("a batch sent again", self.retransmits),
            ("a dirty session", self.dirty),
            ("a wait for a lease", self.lease_waits),
        ];
        let own: &[_] = if is_automatic { &by_itself } else { &by_hand };
        for (what, times) in reached.iter().chain(own).copied() {
            assert!(times > 0, "no {what} in {} runs", self.seeds);
        }
        assert_eq!(self.kinds.len(), 7, "all kinds of service sets: {:?}", self.kinds);
    }
}
