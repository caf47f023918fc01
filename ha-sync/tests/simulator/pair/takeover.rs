//! Crashes, what has to survive them, and restarts.

use super::{Pair, QUIET_MAX_MS};
use crate::program::chance;
use crate::side::{Known, Side};
use crate::survivors;
use crate::views::Ends;
use tandem_engine::ticks::Ticks;

/// A service set whose primary crashed, until the other takes over.
#[derive(Debug)]
pub struct Orphan {
    /// Sessions that must be there then.
    pub(super) due: Vec<(Ends, Ticks)>,
    /// Who has them.
    pub(super) heir: usize,
}

impl Pair {
    /// A chassis loses everything. The other takes over what it was primary of: at once, or when the operator comes by.
    pub fn crash(&mut self, at: usize, at_once: bool) {
        if self.around.is_some() {
            return self.crash_automatic(at);
        }
        let Some(side) = self.sides[at].take() else {
            if at_once {
                self.take_over();
            }
            return self.restart(at);
        };
        self.report.crashes += 1;
        let covered = side.covered && self.sides[1 - at].as_ref().is_some_and(Side::has_all);
        let known = side.knowledge(self.now, covered);
        for set in self.sets() {
            let index = usize::from(set) - 1;
            if let Some(orphan) = &mut self.orphans[index] {
                if orphan.heir == at {
                    // It was the last that knew: the other, if it is up, began anew.
                    orphan.due.clear();
                    self.ends.forget_if(set, |_, _| true);
                }
                continue;
            }
            // A role on its way goes to the one that is left, or stays there.
            let going = self.moves[index].take();
            if going.is_some() || self.heirs[index].as_ref().is_some_and(|h| h.to == at) {
                self.heirs[index] = None;
            }
            if self.deposed[index] == Some(at) {
                self.deposed[index] = None;
            }
            if self.primary[index] != Some(at) && going.is_none() {
                continue;
            }
            if self.primary[index] == Some(at) {
                self.forget_unknown(set, at, known);
            }
            let mut due = Vec::new();
            if self.primary[index] == Some(at) {
                due = self.due_of(&side, at, set);
                self.report.covered += u64::from(covered);
            }
            self.primary[index] = None;
            self.orphans[index] = Some(Orphan { due, heir: 1 - at });
        }
        self.leases[at] = Default::default();
        side.count(&mut self.report);
        self.break_connection();
        if let Some(other) = &mut self.sides[1 - at] {
            other.covered = false;
            other.inherit(side.told);
        }
        if self.sides.iter().all(Option::is_none) {
            self.ends.forget();
        }
        if at_once {
            self.take_over();
        }
    }

    /// Nobody can know any more what a set's primary gave away that the other was not told of: all of it, when its mirror was
    /// not complete, or what it took without leave because nobody was there to give it.
    pub(super) fn forget_unknown(&mut self, set: u16, at: usize, known: Known) {
        let leases = &self.leases[at];
        self.ends
            .forget_if(set, |public, since| !known.at(since) || leases.is_unknown(public));
    }

    /// Whoever is up becomes primary of what has no primary.
    pub fn take_over(&mut self) {
        let Some(up) = (0..2).find(|at| self.sides[*at].is_some()) else {
            return;
        };
        for set in self.sets() {
            let index = usize::from(set) - 1;
            if self.primary[index].is_some() {
                continue;
            }
            let heir = self.orphans[index].as_ref().map(|o| o.heir);
            let to = heir.filter(|heir| self.sides[*heir].is_some()).unwrap_or(up);
            self.make_primary(set, to);
            let mut rounds = 0;
            while !self.sides[to].as_ref().is_some_and(|s| s.has_taken_over(set)) {
                rounds += 1;
                assert!(rounds < 3000, "the role is not taken up");
                self.advance(1);
            }
            let orphan = self.orphans[index].take();
            if let (Some(orphan), Some(side)) = (orphan, &mut self.sides[to]) {
                survivors::are_there(&side.world, &orphan.due);
                survivors::pass(&mut side.world, &orphan.due);
                self.report.survived += orphan.due.len() as u64;
            }
        }
    }

    /// A chassis that is down starts, standby of everything, whether or not the other has taken over what it was primary of.
    pub fn restart(&mut self, at: usize) {
        if self.sides[at].is_some() {
            return;
        }
        self.report.early_restarts += u64::from(self.primary.contains(&None));
        self.starts += 1;
        self.sides[at] = Some(Side::new(&self.tuning, at, self.starts, self.now));
        self.pump();
    }

    /// Both are up, the network is well, somebody is primary of everything.
    pub fn make_whole(&mut self) {
        if self.around.is_some() {
            return self.make_whole_automatic();
        }
        let restart_first = chance(&mut self.rng, 50);
        self.network.heal();
        if !restart_first {
            self.take_over();
        }
        self.restart(0);
        self.restart(1);
        if restart_first {
            self.advance(2000);
        }
        self.take_over();
        let until = self.now + QUIET_MAX_MS;
        while !self.sides.iter().flatten().all(|s| s.is_active() && s.has_all()) || !self.roles_rest() {
            assert!(
                self.now < until,
                "both up and nothing lost, and no mirror: {}",
                self.summary()
            );
            self.advance(100);
            self.ask_for_missing();
        }
    }

    /// A standby that had to refuse something asks for a bulk by itself, but patiently; here an operator does so now and then.
    pub(super) fn ask_for_missing(&mut self) {
        if self.now < self.ask_at {
            return;
        }
        self.ask_at = self.now + 2000;
        let now = self.now;
        for side in self.sides.iter_mut().flatten() {
            if side.is_active() && !side.has_installed_all() {
                side.resynchronize(now, false);
            }
        }
    }
}
