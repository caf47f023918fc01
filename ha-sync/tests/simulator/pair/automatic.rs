//! A pair that decides about its roles by itself: what is done to it, and what its checks make of who is primary.
//!
//! Traffic of a set comes to whoever was made primary last. What the other chassis must have, and what it can know of public ends, is
//! taken down when a primary ceases to be one, and looked at when the next one is.

use ha_sync::heartbeat::{Datagram, PathId};
use tandem_engine::hash::Rng;
use tandem_engine::ticks::Ticks;
use tandem_redundancy::RoleCause;
use tandem_redundancy::RoleState;
use tandem_redundancy::machine::Command;

use super::drains::Draining;
use super::heirs::Heir;
use super::takeover::Orphan;
use super::{Pair, QUIET_MAX_MS};
use crate::monitors::{LINKS, SERVICE};
use crate::program::{chance, pick};
use crate::side::{Did, Known, PATHS, Side, TIMING};
use crate::survivors;
use crate::views::{Ends, Set};

/// How long two may be primary that hear each other, milliseconds: as long as a heartbeat may be out, by the slower clock, and on its
/// way, and an interval for what it says to be told.
const TWO_MAX_MS: u64 = TIMING.interval_ms as u64 * (TIMING.lost_threshold as u64 + 1) + 500;

/// A primary that was told to be standby, until somebody is told to be primary.
#[derive(Debug)]
struct Leaving {
    from: usize,
    /// What the other knew then.
    known: Known,
    /// Number of the last bulk it told.
    bulk: u16,
    /// What it had then: what it is told as standby, it need not have told.
    had: Set<(Ends, Ticks)>,
    /// Since when it is standby: what comes of age later is told to nobody, however long it takes to release the set.
    since: u64,
    /// Sessions the other has when it hears of the release; none: it was not told all before.
    released: Option<Vec<(Ends, Ticks)>>,
    /// It has heard of it.
    is_heard: bool,
}

/// What is beside the pair.
#[derive(Debug)]
pub struct Around {
    /// Whether each path brings something from chassis 0, and from chassis 1.
    paths: [[bool; 2]; PATHS.len()],
    flying: Vec<(u64, usize, Datagram)>,
    /// What is monitored: of each chassis, which links are down.
    down: [[bool; LINKS]; 2],
    leaving: Vec<Option<Leaving>>,
    /// Sets that were handed over and drain.
    pub(super) draining: Vec<Option<Draining>>,
    /// Chassis that stop, and until when.
    pub(super) stopping: [Option<u64>; 2],
    /// Who was primary beside the other last and yielded, until it is told all.
    untold: Vec<Option<usize>>,
    /// Since when two are primary that hear each other.
    two_since: Vec<Option<u64>>,
}

impl Around {
    pub fn new(sets: usize) -> Self {
        Self {
            paths: [[true; 2]; PATHS.len()],
            flying: Vec::new(),
            down: [[false; LINKS]; 2],
            leaving: (0..sets).map(|_| None).collect(),
            draining: vec![None; sets],
            stopping: [None; 2],
            untold: vec![None; sets],
            two_since: vec![None; sets],
        }
    }

    pub fn rests(&self) -> bool {
        self.leaving.iter().all(Option::is_none)
    }

    fn passes(&self, path: PathId, from: usize) -> bool {
        let at = PATHS.iter().position(|one| *one == path);
        at.is_some_and(|at| self.paths[at][from])
    }
}

impl Pair {
    /// Heartbeats are carried, and both decide.
    pub(super) fn think(&mut self) {
        if self.around.is_none() {
            return;
        }
        self.carry_beats();
        for at in 0..2 {
            let (Some(around), Some(side)) = (&mut self.around, &mut self.sides[at]) else {
                continue;
            };
            around.down[at][SERVICE] = side.is_stalled(self.now);
            for did in side.think(self.now, &around.down[at]) {
                self.look_at(at, did);
            }
        }
        self.look_at_two();
        self.look_at_stops();
    }

    fn carry_beats(&mut self) {
        let now = self.now;
        for at in 0..2 {
            let sent = self.sides[at].as_mut().map(|side| side.beat(now));
            for datagram in sent.into_iter().flatten() {
                self.send(at, datagram);
            }
        }
        let Some(around) = &mut self.around else { return };
        let (due, later) = std::mem::take(&mut around.flying)
            .into_iter()
            .partition(|(arrives, ..)| *arrives <= now);
        around.flying = later;
        let due: Vec<(u64, usize, Datagram)> = due;
        for (_, to, datagram) in due {
            if let Some(side) = &mut self.sides[to] {
                side.hear_beat(now, &datagram);
            }
        }
    }

    fn send(&mut self, from: usize, datagram: Datagram) {
        let arrives = self.network.beat_arrives(self.now);
        if let Some(around) = &mut self.around
            && around.passes(datagram.path, from)
            && let Some(at) = arrives
        {
            around.flying.push((at, 1 - from, datagram));
        }
    }

    fn look_at(&mut self, at: usize, did: Did) {
        if self.tuning.loud {
            eprintln!("    chassis {at}: {did:?}");
        }
        match did {
            Did::Primary(set) => self.takes(at, set),
            Did::Standby(set) => self.leaves(at, set),
            Did::Released(set) => self.has_released(at, set),
            Did::Drains(set) => self.drains(at, set),
            Did::Withdrawn(set) => self.withdraws(at, set),
            Did::HeardReleased(set) => {
                let index = usize::from(set) - 1;
                let leaving = self.around.as_mut().and_then(|a| a.leaving[index].as_mut());
                if let Some(leaving) = leaving.filter(|leaving| leaving.from != at) {
                    leaving.is_heard = leaving.released.is_some();
                }
            }
        }
    }

    /// A chassis is told to be standby of a set.
    fn leaves(&mut self, at: usize, set: u16) {
        let index = usize::from(set) - 1;
        if self.primary[index] != Some(at) {
            return;
        }
        if self.deposed[index] == Some(1 - at) && self.sides[1 - at].as_ref().is_some_and(|s| s.has_role(set))
        {
            // The other was primary all the time, and took nothing that it was told: what went by here is lost.
            self.ends.forget_if(set, |_, _| true);
            if let Some(side) = &mut self.sides[1 - at] {
                // And this one may have ended meanwhile what the other goes on with.
                side.covered = false;
            }
            self.heirs[index] = None;
            (self.primary[index], self.deposed[index]) = (Some(1 - at), Some(at));
            if let Some(around) = &mut self.around {
                around.untold[index] = Some(at);
            }
            return;
        }
        let known = self.knowledge_of(at);
        self.bequeath(set, at);
        let bulk = self.sides[at].as_ref().map_or(0, Side::bulk_number);
        let had = self.sides[at]
            .iter()
            .flat_map(|side| survivors::due(&side.world, set, Ticks::ZERO))
            .collect();
        if let Some(around) = &mut self.around {
            around.leaving[index] = Some(Leaving {
                from: at,
                known,
                bulk,
                had,
                since: self.now,
                released: None,
                is_heard: false,
            });
        }
    }

    /// A chassis that is standby of a set says so, behind all that it told.
    fn has_released(&mut self, at: usize, set: u16) {
        let index = usize::from(set) - 1;
        let (Some(side), Some(other)) = (&self.sides[at], &self.sides[1 - at]) else {
            return;
        };
        let Some(around) = &mut self.around else { return };
        let Some(leaving) = around.leaving[index].as_mut().filter(|l| l.from == at) else {
            return;
        };
        // The workers told nothing more, or nothing even before because they stood still.
        let silent_ms = side.silent_ms(self.now).max(self.now - leaving.since);
        // What was being told when it became standby is not told to its end.
        let was_covered = leaving.known != Known::NOTHING;
        if was_covered && side.covered && leaving.bulk == side.bulk_number() && other.has_all() {
            let age = self
                .tuning
                .threshold
                .plus(Ticks(((1200 + silent_ms) / 100) as u32 + 1));
            let due = survivors::due(&side.world, set, age).into_iter();
            leaving.released = Some(due.filter(|session| leaving.had.contains(session)).collect());
        }
    }

    /// A chassis is told to be primary of a set.
    fn takes(&mut self, at: usize, set: u16) {
        self.report.takeovers += 1;
        let index = usize::from(set) - 1;
        let leaving = self.around.as_mut().and_then(|a| a.leaving[index].take());
        let untold = self.around.as_mut().map(|a| &mut a.untold[index]);
        let is_untold = untold
            .and_then(|untold| untold.take_if(|who| *who == at))
            .is_some();
        self.deposed[index] = self.deposed[index].filter(|deposed| *deposed != at);
        let Some(from) = self.primary[index] else {
            self.primary[index] = Some(at);
            match self.orphans[index].take() {
                Some(orphan) if orphan.heir == at => {
                    self.heirs[index] = Some(Heir {
                        due: orphan.due,
                        from: None,
                        to: at,
                        is_untold: false,
                    });
                }
                // The one that knew is there, and does not carry on.
                Some(_) => self.ends.forget_if(set, |_, _| true),
                None => {}
            }
            return;
        };
        if from == at {
            self.heirs[index] = None;
            return;
        }
        let is_heard = leaving.as_ref().is_some_and(|leaving| leaving.is_heard);
        if let Some(side) = self.sides[at]
            .as_mut()
            .filter(|side| !is_heard && !side.is_active())
        {
            // The old primary may have ended meanwhile what this one goes on with, and nobody told it of either.
            side.covered = false;
        }
        match leaving {
            Some(leaving) if leaving.is_heard => {
                self.is_taken_whole(set);
                let due = leaving.released.unwrap_or_default();
                self.heirs[index] = Some(Heir {
                    due,
                    from: Some(from),
                    to: at,
                    is_untold: false,
                });
            }
            Some(leaving) => {
                let old = self.sides[from].as_ref();
                let has_all = self.sides[at].as_ref().is_some_and(Side::has_all);
                let still = old.is_some_and(|old| old.covered) && has_all;
                let known = if still { leaving.known } else { Known::NOTHING };
                self.forget_unknown(set, from, known);
            }
            None => {
                let known = self.knowledge_of(from);
                self.bequeath(set, from);
                if let Some(heir) = &mut self.heirs[index] {
                    heir.is_untold = is_untold;
                }
                self.forget_unknown(set, from, known);
                self.report.forced += 1;
            }
        }
        let rests = self.sides[from].as_ref().is_some_and(|side| rests(side, set));
        self.primary[index] = Some(at);
        self.deposed[index] = (!rests).then_some(from);
    }

    /// Of two primaries that hear each other one yields.
    fn look_at_two(&mut self) {
        let ([Some(a), Some(b)], Some(around)) = (&self.sides, &mut self.around) else {
            return;
        };
        let both_hear = a.hears() && b.hears();
        for (index, since) in around.two_since.iter_mut().enumerate() {
            let set = index as u16 + 1;
            let two = both_hear
                && [a, b]
                    .iter()
                    .all(|side| side.has_role(set) && side.is_settled(set));
            *since = two.then(|| since.unwrap_or(self.now));
            let ms = since.map_or(0, |since| self.now - since);
            assert!(
                ms <= TWO_MAX_MS,
                "two primaries of {set} hear each other for {ms} ms"
            );
        }
        for (index, untold) in around.untold.iter_mut().enumerate() {
            let side = untold.and_then(|who| self.sides[who].as_ref());
            let is_told = |side: &Side| rests(side, index as u16 + 1) && side.is_active() && side.has_all();
            if side.is_none_or(is_told) {
                *untold = None;
            }
        }
        for (index, deposed) in self.deposed.iter_mut().enumerate() {
            let side = deposed.and_then(|deposed| self.sides[deposed].as_ref());
            if side.is_none_or(|side| rests(side, index as u16 + 1)) {
                self.report.yielded += u64::from(deposed.take().is_some());
            }
        }
    }

    /// A chassis loses everything; the other finds out by itself. Or one that has is there again.
    pub(super) fn crash_automatic(&mut self, at: usize) {
        if self.sides[at].is_none() {
            return self.restart(at);
        }
        self.report.crashes += 1;
        self.lose(at, false);
    }

    /// A chassis is gone, and has said so if it stopped.
    pub(super) fn lose(&mut self, at: usize, is_stopped: bool) {
        let Some(mut side) = self.sides[at].take() else {
            return;
        };
        if let Some(around) = &mut self.around {
            around.stopping[at] = None;
        }
        self.drains_crash(at);
        // What it was told by one that left a set to it goes with it, and that one is standby and tells it to nobody again.
        for leaving in self
            .around
            .iter_mut()
            .flat_map(|a| a.leaving.iter_mut().flatten())
        {
            if leaving.from != at {
                (leaving.known, leaving.released, leaving.is_heard) = (Known::NOTHING, None, false);
            }
        }
        let covered = side.covered && self.sides[1 - at].as_ref().is_some_and(Side::has_all);
        let known = side.knowledge(self.now, covered);
        for set in self.sets() {
            self.orphan(set, at, &side, known);
            self.report.covered += u64::from(covered && side.is_primary(set));
        }
        self.leases[at] = Default::default();
        side.count(&mut self.report);
        self.break_connection();
        let words = if is_stopped {
            side.leave(self.now)
        } else if chance(&mut self.rng, 50) {
            // Not the host: its guard says so.
            side.last_words()
        } else {
            Vec::new()
        };
        for word in words {
            self.send(at, word);
        }
        if let Some(other) = &mut self.sides[1 - at] {
            other.covered = false;
            other.inherit(side.told);
        }
        if self.sides.iter().all(Option::is_none) {
            self.ends.forget();
        }
    }

    /// What becomes of a set when one chassis crashes.
    fn orphan(&mut self, set: u16, at: usize, side: &Side, known: Known) {
        let index = usize::from(set) - 1;
        if let Some(orphan) = &mut self.orphans[index] {
            if orphan.heir == at {
                orphan.due.clear();
                self.ends.forget_if(set, |_, _| true);
            }
            return;
        }
        let is_overtaken = self.deposed[index] == Some(1 - at);
        self.deposed[index] = self.deposed[index].filter(|deposed| *deposed != at);
        if self.primary[index] != Some(at) {
            if self.heirs[index].as_ref().is_some_and(|heir| heir.to == at) {
                self.heirs[index] = None;
            }
            return;
        }
        let leaving = self.around.as_mut().and_then(|a| a.leaving[index].take());
        self.heirs[index] = None;
        if is_overtaken
            && self.sides[1 - at]
                .as_ref()
                .is_some_and(|other| other.has_role(set))
        {
            self.ends.forget_if(set, |_, _| true);
            (self.primary[index], self.deposed[index]) = (Some(1 - at), None);
            return;
        }
        let (due, known) = match leaving {
            // What it left in time was looked at when it did.
            Some(leaving) => {
                let knew = if known == Known::NOTHING {
                    known
                } else {
                    leaving.known
                };
                (Vec::new(), knew)
            }
            None => (self.due_of(side, at, set), known),
        };
        self.forget_unknown(set, at, known);
        self.primary[index] = None;
        self.deposed[index] = None;
        self.orphans[index] = Some(Orphan { due, heir: 1 - at });
    }

    /// Paths are cut, or bring something again.
    pub fn change_paths(&mut self, rng: &mut Rng) -> &'static str {
        let (path, from) = (rng.below(PATHS.len() as u32) as usize, rng.below(2) as usize);
        let (passes, whole, all) = (chance(rng, 60), chance(rng, 50), chance(rng, 20));
        let Some(around) = &mut self.around else {
            return "no path";
        };
        let paths = if all { 0..PATHS.len() } else { path..path + 1 };
        for path in paths {
            around.paths[path][from] = passes;
            if whole {
                around.paths[path][1 - from] = passes;
            }
        }
        self.cut_channel();
        if passes { "a path is open" } else { "a path is cut" }
    }

    /// The channel goes over the first two paths, whichever brings something.
    fn cut_channel(&mut self) {
        let Some(around) = &self.around else { return };
        for from in 0..2 {
            let passes = around.paths[0][from] || around.paths[1][from];
            self.network.cut(from, !passes);
        }
    }

    /// Links that are monitored fail or recover.
    pub fn flap(&mut self, rng: &mut Rng) -> &'static str {
        let (at, link, is_down) = (rng.below(2) as usize, rng.below(SERVICE as u32), chance(rng, 40));
        if let Some(around) = &mut self.around {
            around.down[at][link as usize] = is_down;
        }
        "a monitored link"
    }

    /// The workers of a chassis stand still.
    pub fn stall_workers(&mut self, rng: &mut Rng) -> &'static str {
        let (at, ms) = (rng.below(2) as usize, u64::from(rng.below(8000)));
        if let Some(side) = &mut self.sides[at] {
            side.stall(self.now, ms);
        }
        "workers stand still"
    }

    /// People or policies want something.
    pub fn ask(&mut self, rng: &mut Rng) -> &'static str {
        let (at, set, force) = (rng.below(2) as usize, pick(rng, &self.sets()), chance(rng, 50));
        let cause = pick(rng, &[RoleCause::Operator, RoleCause::Policy]);
        let has_stops = self.tuning.terms.as_ref().is_some_and(|terms| terms.stops);
        let command = match rng.below(if has_stops { 12 } else { 8 }) {
            8 | 9 => return self.stop(at),
            10 => Command::Warn(Some("played".to_owned())),
            11 => Command::Warn(None),
            0 | 1 => Command::Switchover { force },
            2 | 3 => Command::Acquire { force, cause },
            4 => Command::Release { force, cause },
            5 => Command::ReleaseIfStandbyClear,
            _ => Command::TakeOut(chance(rng, 40)),
        };
        self.order(at, set, command);
        "a command"
    }

    pub(super) fn order(&mut self, at: usize, set: u16, command: Command) {
        if let Some(side) = &mut self.sides[at] {
            self.report.commands += 1;
            self.report.refused += u64::from(side.command(self.now, set, command));
            self.pump();
        }
    }

    /// Both are up, everything is well, somebody is primary of everything and the other ready.
    pub(super) fn make_whole_automatic(&mut self) {
        self.network.heal();
        if let Some(around) = &mut self.around {
            around.paths = [[true; 2]; PATHS.len()];
            around.down = [[false; LINKS]; 2];
        }
        self.end_stops();
        self.restart(0);
        self.restart(1);
        let has_stops = self.tuning.terms.as_ref().is_some_and(|terms| terms.stops);
        for at in 0..2 {
            if let Some(side) = &mut self.sides[at] {
                side.go_on(self.now);
            }
            for set in self.sets() {
                self.order(at, set, Command::TakeOut(false));
                if has_stops {
                    self.order(at, set, Command::Warn(None));
                }
            }
        }
        let until = self.now + QUIET_MAX_MS;
        while !self.is_whole() {
            if self.now >= until {
                let thoughts: Vec<_> = self.sides.iter_mut().flatten().map(Side::thoughts).collect();
                panic!("not whole: {}; {}", self.summary(), thoughts.join("; "));
            }
            self.advance(100);
            self.ask_for_missing();
        }
    }

    fn is_whole(&mut self) -> bool {
        let sets = self.sets();
        let rests = self.roles_rest();
        let [Some(a), Some(b)] = &mut self.sides else {
            return false;
        };
        let mut ready = |set: &u16| {
            let mut states = [a.state(*set), b.state(*set)];
            states.sort();
            states == [Some(RoleState::Primary), Some(RoleState::Standby)]
        };
        let roles = sets.iter().all(&mut ready);
        roles && rests && [a, b].iter().all(|side| side.is_active() && side.has_all())
    }
}

/// Whether a chassis is standby of a set, and was not told to be primary.
fn rests(side: &Side, set: u16) -> bool {
    side.is_standby(set) && !side.has_role(set)
}
