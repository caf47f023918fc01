//! What must hold of the roles of a pair: docs/redundancy.md has the rules, and says why each bound is what it is.

use std::collections::BTreeMap;

use tandem_redundancy::machine::{RETRY_MS, VACANCY_HOLD_MS, VACANCY_MAX_MS};
use tandem_redundancy::{RoleCause, RoleState, TIE_MS, WantedRole};

use super::chassis::{Chassis, LOST_MS, Link};
use super::clock::SKEW_MAX;
use super::world::{STEP_MS, World};

/// How long two may be primary that hear each other. Each is heard within the time after which it would be lost, with what it said
/// up to two steps before, and a step later the one with the worse claim has yielded.
const TWO_MAX_MS: u64 = LOST_MS + 3 * STEP_MS;
/// The same of two that talk over the channel, of which one or both hear no heartbeats: each may take itself for the better one until
/// gateway 1, by its clock, has waited for the other to yield. What says that it is primary is a step on its way, as is the answer.
const TWO_TALK_MAX_MS: u64 = TIE_MS * (1000 + SKEW_MAX) / 1000 + 5 * STEP_MS;
/// How long nobody may be primary with `primary-always-exists`, from when who runs and who hears whom is the same, and nobody has just
/// recovered. Where only the channel is heard, neither knows whether the other has failed or was taken out, and each waits its time for
/// the other, by its clock; a wish that was refused just before is repeated; what changed is heard of when heartbeats would be lost.
const NOBODY_MAX_MS: u64 = VACANCY_MAX_MS * (1000 + SKEW_MAX) / 1000 + RETRY_MS + LOST_MS + 3 * STEP_MS;
/// How long after a failure a role may still be on its way to the other: its hold is counted from the failure.
const HANDOVER_MS: u64 = 500;
/// How long after the last trouble only monitors change roles.
const RESTS_MS: u64 = 5000;

/// What was seen of a set.
#[derive(Debug, Default)]
struct OfSet {
    two_since: Option<u64>,
    two_talk_since: Option<u64>,
    /// Since when nobody is primary and the situation is the same.
    nobody_since: Option<u64>,
    /// Which sides have failed or were taken out, and when one last was so no more.
    unfit: [bool; 2],
    fit_ms: u64,
    /// Of each side its life and last epoch.
    epochs: [(u64, u64); 2],
    /// Who was primary last, and since when.
    primary: Option<(usize, u64)>,
    /// It had not failed when it got the role.
    was_fit: bool,
    /// When somebody asked for something last.
    commanded_ms: u64,
    /// Of each side that is becoming primary: how it was when that began.
    becoming: [Option<Becoming>; 2],
    /// Of each side its life, and when what is monitored had failed there last, by its clock, as at the last look: a chassis that wishes for
    /// a role before it looks at what has failed meanwhile has not seen that.
    failed: [(u64, Option<u64>); 2],
}

/// A chassis that is becoming primary: it asks its peer, or its workers take it up.
#[derive(Clone, Copy, Debug)]
struct Becoming {
    life: u64,
    /// For how long nothing that is monitored of the set had failed there, if anything ever had.
    well_ms: Option<u64>,
}

impl OfSet {
    /// For how long nothing that is monitored of the set had failed on a side, as that knew when it was last looked at.
    fn well_ms(&self, side: usize, chassis: &Chassis, now_ms: u64) -> Option<u64> {
        let (life, failed) = self.failed[side];
        let failed = failed.filter(|_| life == chassis.life)?;
        Some(chassis.clock.local(now_ms) - failed)
    }
}

/// The longest times something lasted that is bounded, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Longest {
    pub two_ms: u64,
    /// The same over the channel alone.
    pub two_talk_ms: u64,
    pub nobody_ms: u64,
    /// In which run.
    pub nobody_seed: u64,
    pub takeovers: usize,
}

impl Longest {
    pub fn add(&mut self, seed: u64, other: &Self) {
        if other.nobody_ms > self.nobody_ms {
            (self.nobody_ms, self.nobody_seed) = (other.nobody_ms, seed);
        }
        self.two_ms = self.two_ms.max(other.two_ms);
        self.two_talk_ms = self.two_talk_ms.max(other.two_talk_ms);
        self.takeovers += other.takeovers;
    }
}

/// Who runs and who hears whom. When that changes, whoever waited for the other begins to wait anew, as does who has recovered.
type Situation = [Option<(u64, bool, Link)>; 2];

#[derive(Debug, Default)]
pub struct Checks {
    sets: BTreeMap<u8, OfSet>,
    situation: Situation,
    situation_ms: u64,
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
            self.begin(side, chassis, world.now_ms);
        }
        let sides = world.chassis.each_ref();
        let now = sides.map(|one| {
            one.as_ref()
                .map(|one| (one.life, one.hears_the_peer(), one.body.link))
        });
        if std::mem::replace(&mut self.situation, now) != now {
            self.situation_ms = world.now_ms;
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
        let both = |is: &dyn Fn(&Chassis) -> bool| running(world).filter(|(_, one)| is(one)).count() == 2;
        let both_hear = both(&|one| one.hears_the_peer());
        let both_talk = world.channel_passes() && both(&|one| one.body.link == Link::There);
        // Workers that were told to be primary and stand still are none.
        let two = count(|one, set| one.body.is_primary(set) && one.body.has_taken(set)) == 2;
        let two_ms = lasts(&mut of.two_since, two && both_hear, now_ms);
        if two_ms > TWO_MAX_MS {
            return Err(format!(
                "two primaries of set {set} hear each other for {two_ms} ms"
            ));
        }
        let talk_ms = lasts(&mut of.two_talk_since, two && both_talk, now_ms);
        if talk_ms > TWO_TALK_MAX_MS {
            return Err(format!(
                "two primaries of set {set} talk to each other for {talk_ms} ms"
            ));
        }
        let always = world.settings[0].iter().all(|(_, one)| one.primary_always_exists);
        // Workers that stand still take up no role.
        let stalls = running(world).any(|(_, one)| one.body.stalled_ms > now_ms);
        let none = is_there > 0 && count(|one, set| one.body.is_primary(set)) == 0;
        let nobody = always && none && !stalls;
        let unfit = world.chassis.each_ref().map(|one| {
            let state = one.as_ref().and_then(|one| one.automatic.shown(set, &one.body));
            state.is_some_and(|view| matches!(view.state, RoleState::Ineligible | RoleState::Inoperable))
        });
        let before = std::mem::replace(&mut of.unfit, unfit);
        if (0..2).any(|side| before[side] && !unfit[side]) {
            of.fit_ms = now_ms;
        }
        let anew_ms = self.situation_ms.max(of.fit_ms);
        of.nobody_since = of.nobody_since.map(|since| since.max(anew_ms));
        let nobody_ms = lasts(&mut of.nobody_since, nobody, now_ms);
        if nobody_ms > NOBODY_MAX_MS {
            return Err(format!("nobody is primary of set {set} for {nobody_ms} ms"));
        }
        self.longest.two_ms = self.longest.two_ms.max(two_ms);
        self.longest.two_talk_ms = self.longest.two_talk_ms.max(talk_ms);
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

    /// A role that is preempted was held for the hold, and whoever preempts had not failed within the recovery hold and that.
    fn events(&mut self, side: usize, chassis: &Chassis, world: &World) -> Result<(), String> {
        let (life, seen) = self.seen_events[side];
        let from = if life == chassis.life { seen } else { 0 };
        self.seen_events[side] = (chassis.life, chassis.events.len());
        for (at_ms, event) in &chassis.events[from..] {
            if event.to != RoleState::Primary {
                continue;
            }
            let Some(of) = self.sets.get_mut(&event.set) else {
                continue;
            };
            let becoming = of.becoming[side].take();
            if event.reason.is_some() {
                // What is asked for after that is another change.
                continue;
            }
            self.longest.takeovers += 1;
            if event.cause == RoleCause::Preempt {
                // Or it has begun since the last look.
                let becoming = becoming.filter(|becoming| becoming.life == chassis.life);
                let well_ms = becoming.map_or_else(|| of.well_ms(side, chassis, *at_ms), |b| b.well_ms);
                self.preempts(side, *at_ms, event.set, well_ms, world)?;
            }
        }
        Ok(())
    }

    /// Which sets a chassis is becoming primary of, and how it was when that began.
    fn begin(&mut self, side: usize, chassis: &Chassis, now_ms: u64) {
        for (set, of) in &mut self.sets {
            let (life, shown) = (chassis.life, chassis.roles.shown(*set));
            let is_becoming = shown.and_then(|shown| shown.changing_to) == Some(WantedRole::Primary);
            let began = of.becoming[side].filter(|becoming| becoming.life == life);
            let well_ms = of.well_ms(side, chassis, now_ms);
            of.becoming[side] = is_becoming.then(|| began.unwrap_or(Becoming { life, well_ms }));
            of.failed[side] = (life, chassis.failed_ms.get(set).copied());
        }
    }

    /// It may fail while the role is on its way to it, which takes long where workers stand still: what it was when it asked counts.
    fn preempts(
        &self,
        side: usize,
        at_ms: u64,
        set: u8,
        well_ms: Option<u64>,
        world: &World,
    ) -> Result<(), String> {
        let settings = settings_of(world, side, set);
        if !settings.preempt {
            return Err(format!("{side} preempts set {set} and may not"));
        }
        // Whatever it knows of the other one.
        let theirs = settings_of(world, 1 - side, set);
        if (settings.priority, side) > (theirs.priority, 1 - side) {
            return Err(format!(
                "{side} preempts set {set} with priority {}, and the other one has {}",
                settings.priority, theirs.priority
            ));
        }
        let primary = self.sets.get(&set).and_then(|of| of.primary);
        let since = primary.filter(|(who, _)| *who != side).map(|(_, since)| since);
        if since.is_some_and(|since| at_ms - since < at_least(settings.preempt_hold_ms)) {
            return Err(format!("{side} preempts set {set} before the hold is over"));
        }
        let hold_ms = settings.recovery_hold_ms + settings.preempt_hold_ms;
        if well_ms.is_some_and(|ms| ms < hold_ms) {
            return Err(format!(
                "{side} preempts set {set}, and began to {well_ms:?} ms after it had failed"
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
