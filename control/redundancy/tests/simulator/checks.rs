//! What must hold of the roles of a pair: docs/redundancy.md has the rules, and says why each bound is what it is.

use std::collections::BTreeMap;

use tandem_redundancy::machine::VACANCY_HOLD_MS;
use tandem_redundancy::{Event, RoleCause, RoleState};

use super::chassis::{Chassis, LOST_MS};
use super::clock::SKEW_MAX;
use super::world::{STEP_MS, World};

/// How long two may be primary that hear each other. Each is heard within the time after which it would be lost, with what it said
/// up to two steps before, and a step later the one with the worse claim has yielded.
const TWO_MAX_MS: u64 = LOST_MS + 3 * STEP_MS;
/// How long nobody may be primary with `primary-always-exists`: a release that the peer does not answer takes 5 s, and where only
/// the channel is heard, neither knows whether the other has failed or was taken out, so that each waits its time for the other.
const NOBODY_MAX_MS: u64 = 15_000;
/// How long after a failure a role may still be on its way to the other: the hold is counted from the failure.
const HANDOVER_MS: u64 = 500;
/// How long after the last trouble only monitors change roles.
const RESTS_MS: u64 = 5000;

/// What was seen of a set.
#[derive(Debug, Default)]
struct OfSet {
    two_since: Option<u64>,
    nobody_since: Option<u64>,
    /// Of each side its life and last epoch.
    epochs: [(u64, u64); 2],
    /// Who was primary last, and since when.
    primary: Option<(usize, u64)>,
    /// It had not failed when it got the role.
    was_fit: bool,
    /// When somebody asked for something last.
    commanded_ms: u64,
}

/// The longest times something lasted that is bounded, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Longest {
    pub two_ms: u64,
    pub nobody_ms: u64,
    pub takeovers: usize,
}

impl Longest {
    pub fn add(&mut self, other: &Self) {
        self.two_ms = self.two_ms.max(other.two_ms);
        self.nobody_ms = self.nobody_ms.max(other.nobody_ms);
        self.takeovers += other.takeovers;
    }
}

#[derive(Debug, Default)]
pub struct Checks {
    sets: BTreeMap<u8, OfSet>,
    disturbed_ms: u64,
    was_commanded: bool,
    seen_events: [(u64, usize); 2],
    pub longest: Longest,
}

fn lasts(since: &mut Option<u64>, is: bool, now_ms: u64) -> u64 {
    *since = is.then(|| since.unwrap_or(now_ms));
    since.map_or(0, |since| now_ms - since)
}

fn running(world: &World) -> impl Iterator<Item = (usize, &Chassis)> {
    let sides = world.chassis.iter().enumerate();
    sides.filter_map(|(side, chassis)| Some((side, chassis.as_ref()?)))
}

impl Checks {
    pub fn new(sets: &[u8]) -> Self {
        Self {
            sets: sets.iter().map(|set| (*set, OfSet::default())).collect(),
            ..Self::default()
        }
    }

    /// Something happened that changes roles whatever the hold times say.
    pub fn is_disturbed(&mut self, now_ms: u64) {
        self.disturbed_ms = now_ms;
    }

    /// Somebody asks for something of a set.
    pub fn is_commanded(&mut self, set: u8, now_ms: u64) {
        self.was_commanded = true;
        if let Some(of) = self.sets.get_mut(&set) {
            of.commanded_ms = now_ms;
        }
    }

    pub fn look(&mut self, world: &World) -> Result<(), String> {
        let stalls = |chassis: &Chassis| chassis.body.stalled_ms > world.now_ms;
        if !world.is_whole() || running(world).any(|(_, chassis)| stalls(chassis) || chassis.is_stopping) {
            self.is_disturbed(world.now_ms);
        }
        for (side, chassis) in running(world) {
            chassis
                .monitors
                .check()
                .map_err(|what| format!("on {side} {what}"))?;
            self.events(side, chassis, world)?;
        }
        for set in &world.sets {
            self.how_many(*set, world)?;
            for (side, chassis) in running(world) {
                self.one(*set, side, chassis, world)?;
            }
            self.holds(*set, world)?;
        }
        Ok(())
    }

    /// One primary: not two that hear each other, and with `primary-always-exists` not none.
    fn how_many(&mut self, set: u8, world: &World) -> Result<(), String> {
        let now_ms = world.now_ms;
        let Some(of) = self.sets.get_mut(&set) else {
            return Ok(());
        };
        let count = |is: fn(&Chassis, u8) -> bool| running(world).filter(|(_, one)| is(one, set)).count();
        let is_there = running(world).count();
        let both_hear = running(world).filter(|(_, one)| one.hears_the_peer()).count() == 2;
        // Workers that were told to be primary and stand still are none.
        let two = both_hear && count(|one, set| one.body.is_primary(set) && one.body.has_taken(set)) == 2;
        let two_ms = lasts(&mut of.two_since, two, now_ms);
        if two_ms > TWO_MAX_MS {
            return Err(format!(
                "two primaries of set {set} hear each other for {two_ms} ms"
            ));
        }
        let always = world.settings[0].iter().all(|(_, one)| one.primary_always_exists);
        // Workers that stand still take up no role.
        let stalls = running(world).any(|(_, one)| one.body.stalled_ms > now_ms);
        let none = is_there > 0 && count(|one, set| one.body.is_primary(set)) == 0;
        let nobody = always && none && !stalls;
        let nobody_ms = lasts(&mut of.nobody_since, nobody, now_ms);
        if nobody_ms > NOBODY_MAX_MS {
            return Err(format!("nobody is primary of set {set} for {nobody_ms} ms"));
        }
        self.longest.two_ms = self.longest.two_ms.max(two_ms);
        self.longest.nobody_ms = self.longest.nobody_ms.max(nobody_ms);
        Ok(())
    }

    /// A set on one chassis: its epoch does not go back within a life, its signal route is there while it is primary, and it is not
    /// `standby` before its hold is over.
    fn one(&mut self, set: u8, side: usize, chassis: &Chassis, world: &World) -> Result<(), String> {
        let (Some(of), Some(one)) = (self.sets.get_mut(&set), chassis.body.sets.get(&set)) else {
            return Ok(());
        };
        let (life, epoch) = of.epochs[side];
        let now = one.ours.epoch;
        of.epochs[side] = (chassis.life, now);
        if life == chassis.life && now < epoch {
            return Err(format!(
                "the epoch of set {set} on {side} went from {epoch} to {now}"
            ));
        }
        let routes = chassis.body.routes.check(&one.ours, chassis.body.has_taken(set));
        routes.map_err(|what| format!("on {side} {what}"))?;
        let state = chassis.automatic.shown(set, &chassis.body).map(|view| view.state);
        let is_ready = matches!(state, Some(RoleState::Standby | RoleState::StandbyWarned));
        let held_ms = chassis
            .failed_ms
            .get(&set)
            .map(|failed| chassis.clock.local(world.now_ms) - failed);
        let hold_ms = settings_of(world, side, set).recovery_hold_ms;
        if is_ready && held_ms.is_some_and(|held_ms| held_ms < hold_ms) {
            return Err(format!(
                "set {set} on {side} is ready {held_ms:?} ms after a failure"
            ));
        }
        Ok(())
    }

    /// A role that is preempted was held for the hold, and whoever preempts has not failed within the recovery hold and that.
    fn events(&mut self, side: usize, chassis: &Chassis, world: &World) -> Result<(), String> {
        let (life, seen) = self.seen_events[side];
        let from = if life == chassis.life { seen } else { 0 };
        self.seen_events[side] = (chassis.life, chassis.events.len());
        for (at_ms, event) in &chassis.events[from..] {
            if event.reason.is_some() || event.to != RoleState::Primary {
                continue;
            }
            self.longest.takeovers += 1;
            if event.cause == RoleCause::Preempt {
                self.preempts(side, chassis, *at_ms, event, world)?;
            }
        }
        Ok(())
    }

    fn preempts(
        &self,
        side: usize,
        chassis: &Chassis,
        at_ms: u64,
        event: &Event,
        world: &World,
    ) -> Result<(), String> {
        let set = event.set;
        let settings = settings_of(world, side, set);
        if !settings.preempt {
            return Err(format!("{side} preempts set {set} and may not"));
        }
        let primary = self.sets.get(&set).and_then(|of| of.primary);
        let since = primary.filter(|(who, _)| *who != side).map(|(_, since)| since);
        if since.is_some_and(|since| at_ms - since < at_least(settings.preempt_hold_ms)) {
            return Err(format!("{side} preempts set {set} before the hold is over"));
        }
        let failed = chassis.failed_ms.get(&set);
        let well_ms = failed.map(|failed| chassis.clock.local(at_ms) - failed);
        // It may fail while the role is on its way to it, which takes longer where workers stand still.
        let was_long = running(world).any(|(_, one)| one.body.stalled_ms + RESTS_MS > at_ms);
        let is_failed = was_long || well_ms.is_some_and(|ms| ms < HANDOVER_MS);
        let hold_ms = settings.recovery_hold_ms + settings.preempt_hold_ms;
        if !is_failed && well_ms.is_some_and(|ms| ms < hold_ms) {
            return Err(format!(
                "{side} preempts set {set} {well_ms:?} ms after it had failed"
            ));
        }
        Ok(())
    }

    /// Where for a while nothing but monitors has changed anything, the role moves no faster than the recovery hold; and than the
    /// vacancy hold where a set may have no primary meanwhile.
    fn holds(&mut self, set: u8, world: &World) -> Result<(), String> {
        let primaries: Vec<usize> = running(world)
            .filter(|(_, one)| one.body.is_primary(set))
            .map(|(side, _)| side)
            .collect();
        let ([now], Some(of)) = (&primaries[..], self.sets.get_mut(&set)) else {
            return Ok(());
        };
        if of.primary.is_some_and(|(who, _)| who == *now) {
            return Ok(());
        }
        let moved = of.primary.replace((*now, world.now_ms));
        let is_fit = |chassis: &Chassis| !chassis.monitors.has_failed(set);
        let fit = world.chassis[*now].as_ref().is_some_and(is_fit);
        // Who fails while it is given the role gives it on.
        let was_fit = std::mem::replace(&mut of.was_fit, fit);
        let settings = settings_of(world, *now, set);
        let hold_ms = match (settings.preempt, settings.primary_always_exists) {
            (false, true) => settings.recovery_hold_ms,
            (false, false) => VACANCY_HOLD_MS,
            // What is preempted has its own hold, and the peer is ready to take it back.
            (true, _) => 0,
        };
        let Some((_, since)) = moved else { return Ok(()) };
        // All that time there was no other trouble, nor shortly before.
        let trouble_ms = self.disturbed_ms.max(of.commanded_ms);
        let counts = was_fit && trouble_ms + RESTS_MS < since;
        let held_ms = world.now_ms - since;
        if counts && held_ms + HANDOVER_MS < at_least(hold_ms) {
            return Err(format!("the role of set {set} moved twice within {held_ms} ms"));
        }
        Ok(())
    }

    /// After a while without trouble one is primary and the other ready; with `preempt` the preferred one, unless people had a say.
    pub fn at_the_end(world: &World) -> Result<(), String> {
        for set in &world.sets {
            let state = |chassis: &Chassis| Some(chassis.automatic.shown(*set, &chassis.body)?.state);
            let states: Vec<_> = running(world).map(|(side, one)| (state(one), side)).collect();
            let mut sorted = states.clone();
            sorted.sort();
            let [(Some(RoleState::Primary), primary), (Some(RoleState::Standby), _)] = sorted[..] else {
                return Err(format!("in the end set {set} is {states:?}"));
            };
            let [one, other] = [0, 1].map(|side| settings_of(world, side, *set));
            let preferred = usize::from(other.priority < one.priority);
            if one.preempt && !world.checks.was_commanded && primary != preferred {
                return Err(format!(
                    "in the end {primary} is primary of set {set}, and not the preferred one"
                ));
            }
        }
        Ok(())
    }
}

/// What a hold of a chassis' clock takes of the world's at least.
const fn at_least(hold_ms: u64) -> u64 {
    hold_ms * 1000 / (1000 + SKEW_MAX)
}

fn settings_of(world: &World, side: usize, set: u8) -> &tandem_redundancy::machine::Settings {
    let mut all = world.settings[side].iter();
    let of = all.find(|(number, _)| *number == set);
    of.map_or(&world.settings[side][0].1, |(_, settings)| settings)
}
