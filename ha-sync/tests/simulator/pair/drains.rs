//! Sets that drain: the old primary goes on with the sessions it has, and routers send to it still. Nothing begins there, what passes looks as
//! it does on the new primary, and that has given none of it to anybody else.

use tandem_engine::hash::Rng;
use tandem_engine::packet::Verdict;
use tandem_engine_testkit::world::Got;
use tandem_redundancy::roles::DRAIN_MS_MAX;

use super::Pair;
use crate::program::chance;
use crate::side::Side;
use crate::survivors;
use crate::traffic::{self, Burst, inside_of};
use crate::views::{self, Ends, MappingEnds, Set};

/// How long a set drains at most: what it waits for the new primary, and what it drains then, by a slow clock; milliseconds.
const DRAINS_MAX_MS: u64 = (5000 + DRAIN_MS_MAX) * 11 / 10;
/// How long workers take to hear that it is over, milliseconds.
const HEARS_MS: u64 = 2000;

/// A set that was handed over, and drains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    at: usize,
    /// Routers send there still.
    is_sent: bool,
    /// Whoever has it now was told all before.
    is_whole: bool,
    /// Since when it is to be over, milliseconds.
    over_since: Option<u64>,
}

/// What workers have of the sets that they drain.
fn had(side: &Side, drains: &[(usize, u16)]) -> (Set<Ends>, Set<MappingEnds>) {
    let (mut sessions, mut mappings) = (Set::default(), Set::default());
    for (at, engine) in side.world.engines.iter().enumerate() {
        let drains = |set: u16| drains.contains(&(at, set));
        let ends = views::sessions(engine).map(|session| session.ends);
        sessions.extend(ends.filter(|ends| drains(ends.set)));
        mappings.extend(views::mappings(engine).filter(|mapping| drains(mapping.0)));
    }
    (sessions, mappings)
}

impl Pair {
    /// Workers of a chassis are to drain a set.
    pub(super) fn drains(&mut self, at: usize, set: u16) {
        self.report.drains += 1;
        if let Some(around) = &mut self.around {
            around.draining[usize::from(set) - 1] = Some(Draining {
                at,
                is_sent: true,
                is_whole: false,
                over_since: None,
            });
        }
    }

    fn draining(&mut self, set: u16) -> Option<&mut Draining> {
        self.around.as_mut()?.draining[usize::from(set) - 1].as_mut()
    }

    /// Routers do not send to it any more.
    pub(super) fn withdraws(&mut self, at: usize, set: u16) {
        if let Some(draining) = self.draining(set).filter(|draining| draining.at == at) {
            draining.is_sent = false;
        }
    }

    /// The other chassis has the set, and everything that was told.
    pub(super) fn is_taken_whole(&mut self, set: u16) {
        if let Some(draining) = self.draining(set) {
            draining.is_whole = true;
        }
    }

    /// A chassis crashes, and with it what it was told.
    pub(super) fn drains_crash(&mut self, at: usize) {
        let places = self.around.iter_mut().flat_map(|around| &mut around.draining);
        for draining in places.flatten().filter(|draining| draining.at != at) {
            draining.is_whole = false;
        }
    }

    /// Who drains a set and is still sent packets.
    fn drained_by(&self, set: u16) -> Option<usize> {
        let draining = self.around.as_ref()?.draining[usize::from(set) - 1]?;
        let side = self.sides[draining.at].as_ref()?;
        let passes = draining.is_sent && side.drains(set) && !side.is_stalled(self.now);
        passes.then_some(draining.at)
    }

    /// Where a packet of a set comes to: where it was made primary last, or where it drains.
    pub(super) fn way_of(&self, set: u16, rng: &mut Rng) -> Option<usize> {
        let drained_by = self.drained_by(set).filter(|_| chance(rng, 50));
        drained_by.or(self.primary[usize::from(set) - 1])
    }

    /// A packet of a session comes to a chassis that drains its set.
    pub(super) fn known_where_it_drains(&mut self, rng: &mut Rng) -> Option<&'static str> {
        let mut sets = self.sets().into_iter();
        let (set, at) = sets.find_map(|set| Some((set, self.drained_by(set)?)))?;
        let side = self.sides[at].as_ref().filter(|_| chance(rng, 50))?;
        let known = traffic::known(&side.world, rng);
        let (session, burst) = known.filter(|(session, _)| session.ends.set == set)?;
        let is_from_inside = burst.0 == inside_of(set);
        for got in self.come(at, burst) {
            if got.verdict == Verdict::Forward && !got.hairpinned {
                survivors::looks_as_ever(&session.ends, is_from_inside, &got.packet);
            }
        }
        self.pump();
        Some("a known session where it drains")
    }

    /// Packets come to a chassis. Of sets that a worker drains nothing begins there. (Another one, whose inbox was full, may still be primary.)
    pub(super) fn come(&mut self, at: usize, (interface, packets): Burst) -> Vec<Got> {
        let sets = self.sets();
        let Some(side) = &mut self.sides[at] else {
            return Vec::new();
        };
        let engines = side.world.engines.iter().enumerate();
        let drains = engines.flat_map(|(at, engine)| {
            let drained = sets.iter().filter(|set| engine.is_draining(**set));
            drained.map(move |set| (at, *set))
        });
        let drains: Vec<(usize, u16)> = drains.collect();
        if drains.is_empty() {
            return side.world.burst(interface, packets);
        }
        let (sessions, mappings) = had(side, &drains);
        let got = side.world.burst(interface, packets);
        let has = had(side, &drains);
        let new: Vec<_> = has.0.difference(&sessions).collect();
        assert!(new.is_empty(), "{new:x?} began where its set drains");
        let new: Vec<_> = has.1.difference(&mappings).collect();
        assert!(new.is_empty(), "the mapping {new:x?} began where its set drains");
        got
    }

    /// What passes where a set drains is nobody else's on the new primary; and it ends.
    pub(super) fn check_drains(&mut self) {
        let Some(around) = &mut self.around else { return };
        for (index, place) in around.draining.iter_mut().enumerate() {
            let (Some(draining), set) = (place.as_mut(), index as u16 + 1) else {
                continue;
            };
            let side = self.sides[draining.at].as_ref();
            let Some(side) = side.filter(|side| side.is_to_drain(set) || side.drains(set)) else {
                *place = None;
                continue;
            };
            let since = draining
                .over_since
                .filter(|since| !side.stood_still_since(*since));
            draining.over_since = (!side.is_to_drain(set)).then(|| since.unwrap_or(self.now));
            let over_ms = draining.over_since.map_or(0, |since| self.now - since);
            assert!(over_ms <= HEARS_MS, "{set} drains for {over_ms} ms too long");
            if !draining.is_whole || self.primary[index] != Some(1 - draining.at) {
                continue;
            }
            for engine in side.world.engines.iter().filter(|engine| engine.is_draining(set)) {
                views::taken(engine, |taken| {
                    if taken.set == set {
                        let program = &side.world.program;
                        self.ends.passes_elsewhere(DRAINS_MAX_MS, program, &taken);
                    }
                });
            }
        }
    }
}
