//! What must hold of the roles of a pair.

use tandem_redundancy::machine::VACANCY_HOLD_MS;
use tandem_redundancy::{RoleCause, RoleState};

use super::chassis::{Chassis, SET};
use super::world::{Kind, World};

/// How long two may be primary that hear each other.
const TWO_MAX_MS: u64 = 1500;
/// How long nobody may be primary with `primary-always-exists`: a release that the peer does not answer takes 5 s, and where only
/// the channel is heard, neither knows whether the other has failed or was taken out, so that each waits its time for the other.
const NOBODY_MAX_MS: u64 = 15_000;

/// How long after a failure a role may still be on its way to the other: the hold is counted from the failure.
const HANDOVER_MS: u64 = 500;

#[derive(Default)]
pub struct Checks {
    two_since: Option<u64>,
    nobody_since: Option<u64>,
    epochs: [(u64, u64); 2],
    /// Who was primary last, and since when.
    primary: Option<(usize, u64)>,
    /// It had not failed when it got the role.
    was_fit: bool,
    disturbed_ms: u64,
    seen_events: [(u64, usize); 2],
    pub takeovers: usize,
}

impl Checks {
    /// Something happened that changes roles whatever the hold times say.
    pub fn is_disturbed(&mut self, now_ms: u64) {
        self.disturbed_ms = now_ms;
    }

    pub fn look(&mut self, world: &World) -> Result<(), String> {
        let now_ms = world.now_ms;
        let running: Vec<(usize, &Chassis)> = world
            .chassis
            .iter()
            .enumerate()
            .filter_map(|(side, chassis)| Some((side, chassis.as_ref()?)))
            .collect();
        let primaries: Vec<usize> = running
            .iter()
            .filter(|(_, chassis)| chassis.body.ours.primary)
            .map(|(side, _)| *side)
            .collect();
        let both_hear = running.len() == 2 && running.iter().all(|(_, chassis)| chassis.hears_the_peer());
        let lasts = |since: &mut Option<u64>, is: bool, max_ms: u64| {
            *since = is.then(|| since.unwrap_or(now_ms));
            since.is_some_and(|since| now_ms - since > max_ms)
        };
        if lasts(&mut self.two_since, both_hear && primaries.len() == 2, TWO_MAX_MS) {
            return Err("two primaries that hear each other".to_owned());
        }
        let always = world.settings[0].primary_always_exists;
        let nobody = always && !running.is_empty() && primaries.is_empty();
        if lasts(&mut self.nobody_since, nobody, NOBODY_MAX_MS) {
            return Err("nobody is primary".to_owned());
        }
        for (side, chassis) in &running {
            self.epochs(*side, chassis)?;
            self.events(*side, chassis, world)?;
        }
        self.holds(&primaries, world)
    }

    /// Epochs do not go back within a life.
    fn epochs(&mut self, side: usize, chassis: &Chassis) -> Result<(), String> {
        let (life, epoch) = self.epochs[side];
        let now = chassis.body.ours.epoch;
        self.epochs[side] = (chassis.life, now);
        if life == chassis.life && now < epoch {
            return Err(format!("the epoch of {side} went from {epoch} to {now}"));
        }
        Ok(())
    }

    /// A role that is preempted was held for the hold.
    fn events(&mut self, side: usize, chassis: &Chassis, world: &World) -> Result<(), String> {
        let (life, seen) = self.seen_events[side];
        let from = if life == chassis.life { seen } else { 0 };
        self.seen_events[side] = (chassis.life, chassis.events.len());
        for (at_ms, event) in &chassis.events[from..] {
            let is_done = event.reason.is_none() && event.to == RoleState::Primary;
            self.takeovers += usize::from(is_done);
            let settings = &world.settings[side];
            if is_done && event.cause == RoleCause::Preempt {
                if !settings.preempt {
                    return Err(format!("{side} preempts and may not"));
                }
                let since = self
                    .primary
                    .filter(|(who, _)| *who != side)
                    .map(|(_, since)| since);
                if since.is_some_and(|since| at_ms - since < settings.preempt_hold_ms) {
                    return Err(format!("{side} preempts before the hold is over"));
                }
            }
        }
        Ok(())
    }

    /// Where only monitors change anything, the role moves no faster than the recovery hold; and than the vacancy hold where a
    /// set may have no primary meanwhile.
    fn holds(&mut self, primaries: &[usize], world: &World) -> Result<(), String> {
        let [now] = primaries else { return Ok(()) };
        let before = self.primary.filter(|(who, _)| who == now);
        if before.is_some() {
            return Ok(());
        }
        let moved = self.primary.replace((*now, world.now_ms));
        let is_fit = |chassis: &Chassis| chassis.monitored.failed_weight < 255;
        let fit = world.chassis[*now].as_ref().is_some_and(is_fit);
        // Who fails while it is given the role gives it on.
        let was_fit = std::mem::replace(&mut self.was_fit, fit);
        let settings = &world.settings[*now];
        let hold_ms = match (settings.preempt, settings.primary_always_exists) {
            (false, true) => settings.recovery_hold_ms,
            (false, false) => VACANCY_HOLD_MS,
            // What is preempted has its own hold, and the peer is ready to take it back.
            (true, _) => 0,
        };
        // The start has no hold.
        let counts = was_fit && world.kind == Kind::Monitors && self.disturbed_ms + 5000 < world.now_ms;
        match moved.filter(|(_, since)| counts && world.now_ms - since + HANDOVER_MS < hold_ms) {
            Some((_, since)) => Err(format!("the role moved twice within {} ms", world.now_ms - since)),
            None => Ok(()),
        }
    }

    /// After a while without trouble one is primary and the other ready.
    pub fn at_the_end(world: &World) -> Result<(), String> {
        let mut states: Vec<_> = world
            .chassis
            .iter()
            .flatten()
            .filter_map(|chassis| chassis.automatic.shown(SET, &chassis.body))
            .map(|view| view.state)
            .collect();
        states.sort();
        if states == [RoleState::Primary, RoleState::Standby] {
            return Ok(());
        }
        Err(format!("in the end they are {states:?}"))
    }
}
