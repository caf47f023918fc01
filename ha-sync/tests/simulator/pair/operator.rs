//! The operator: moves roles from one chassis to the other and back, with the peer's help where it can be reached, else by force.

use super::{Around, Pair};
use crate::side::{Known, Side};
use tandem_redundancy::machine::Command;

/// After so long an operator no longer waits for a release.
const PATIENCE_MS: u64 = 5000;

/// A role on its way.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    from: usize,
    to: usize,
    since: u64,
    stage: Stage,
    /// What the new primary knew of the old one's gifts when that became standby.
    known: Known,
    /// Number of the last bulk of the old one when that became standby, and number of that role change.
    bulk: u16,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The new primary asked the old one to release.
    Asked,
    /// The old one becomes standby, and says so when it is.
    Leaving,
    /// The old one has released; the word is on its way.
    Released,
    /// The peer is not to be reached: the old one becomes standby without a word.
    Forced,
}

impl Pair {
    /// The primary of a set whose role is not on its way anywhere.
    pub(super) fn settled_primary(&self, at: usize) -> Option<usize> {
        let is_settled = self.around.as_ref().is_none_or(Around::rests)
            && self.moves[at].is_none()
            && self.heirs[at].is_none()
            && self.deposed[at].is_none();
        self.primary[at].filter(|_| is_settled)
    }

    /// Moves a set's role to the other chassis.
    pub fn flip(&mut self, set: u16) -> &'static str {
        if self.around.is_some() {
            self.order(0, set, Command::Switchover { force: false });
            return "a switchover is asked for";
        }
        let at = usize::from(set) - 1;
        let Some(from) = self.settled_primary(at) else {
            return "no flip";
        };
        let to = 1 - from;
        let [Some(_), Some(_)] = &self.sides else {
            return "no flip, the other is down";
        };
        let now = self.now;
        let covered = self.sides[from].as_ref().is_some_and(|s| s.covered)
            && self.sides[to].as_ref().is_some_and(Side::has_all);
        let asked = covered
            && self.sides[to]
                .as_mut()
                .is_some_and(|s| s.request_release(set, now));
        let known = self.knowledge_of(from);
        let stage = if asked { Stage::Asked } else { Stage::Forced };
        if !asked {
            self.bequeath(set, from);
            self.make_standby(set, from);
        }
        self.moves[at] = Some(Move {
            from,
            to,
            since: now,
            stage,
            known,
            bulk: 0,
            epoch: 0,
        });
        self.pump();
        if asked { "a flip" } else { "a forced flip" }
    }

    /// Roles on their way go on.
    pub(super) fn drive_moves(&mut self) {
        for at in 0..self.moves.len() {
            let Some(mut going) = self.moves[at] else { continue };
            let known = self.knowledge_of(going.from);
            let set = at as u16 + 1;
            let epoch = u64::from(self.epoch);
            let late = self.now > going.since + PATIENCE_MS;
            let [Some(a), Some(b)] = &mut self.sides else {
                continue;
            };
            let (from, to) = if going.from == 0 { (a, b) } else { (b, a) };
            match going.stage {
                Stage::Asked if from.take_release_asked(set) => {
                    (going.stage, going.known) = (Stage::Leaving, known);
                    going.bulk = from.bulk_number();
                    self.make_standby(set, going.from);
                    going.epoch = u64::from(self.epoch);
                }
                Stage::Leaving if from.is_settled(set) => {
                    going.stage = Stage::Forced;
                    if from.released(set, epoch, self.now) {
                        going.stage = Stage::Released;
                        if from.covered && going.bulk == from.bulk_number() && to.has_all() {
                            self.bequeath_all(set, going.from);
                        }
                    }
                }
                Stage::Released if to.take_released(set, going.epoch) => {
                    self.finish(set, going.to);
                    continue;
                }
                Stage::Forced if from.is_standby(set) => {
                    let known = if from.covered && to.has_all() {
                        going.known
                    } else {
                        Known::NOTHING
                    };
                    self.forget_unknown(set, going.from, known);
                    self.finish(set, going.to);
                    continue;
                }
                Stage::Asked if late => {
                    (going.stage, going.known) = (Stage::Forced, known);
                    self.bequeath(set, going.from);
                    self.make_standby(set, going.from);
                }
                Stage::Leaving | Stage::Released if late => {
                    going.stage = Stage::Forced;
                    self.heirs[at] = None;
                }
                _ => {}
            }
            self.moves[at] = Some(going);
        }
    }

    /// What the other chassis knows at this moment of what one has given away.
    pub(super) fn knowledge_of(&self, from: usize) -> Known {
        let covered = self.sides[1 - from].as_ref().is_some_and(Side::has_all);
        let side = self.sides[from].as_ref();
        side.map_or(Known::NOTHING, |side| {
            side.knowledge(self.now, side.covered && covered)
        })
    }

    fn finish(&mut self, set: u16, to: usize) {
        self.moves[usize::from(set) - 1] = None;
        self.report.flips += 1;
        self.make_primary(set, to);
    }

    /// A chassis becomes primary of a set, and the traffic comes to it.
    pub(super) fn make_primary(&mut self, set: u16, to: usize) {
        self.epoch += 1;
        let epoch = self.epoch;
        if let Some(side) = &mut self.sides[to] {
            side.take_role(set, true, epoch);
            // It may have yielded to one that crashed.
            side.take_yielded(set);
            let index = usize::from(set) - 1;
            self.primary[index] = Some(to);
            self.deposed[index] = self.deposed[index].filter(|deposed| *deposed != to);
        }
    }

    fn make_standby(&mut self, set: u16, from: usize) {
        self.epoch += 1;
        let epoch = self.epoch;
        if let Some(side) = &mut self.sides[from] {
            side.take_role(set, false, epoch);
        }
    }
}
