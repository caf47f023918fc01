//! A chassis of an automatic pair, as the pair and the checks see it.

use ha_sync::heartbeat::Datagram;
use tandem_redundancy::RoleState;
use tandem_redundancy::machine::Command;

use super::Side;
use super::brain::{Brain, Did};
use crate::monitors::LINKS;

/// Workers stand, or stood, still: since when, and until when, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    since: u64,
    until: u64,
}

/// How long workers take to make up for what they did not do, milliseconds.
const MAKES_UP_MS: u64 = 2000;

impl Side {
    fn with_brain<T>(
        &mut self,
        work: impl FnOnce(&mut Brain, &mut ha_sync::link::Link, &mut ha_sync::bridge::Bridge) -> T,
    ) -> Option<T> {
        let done = self
            .brain
            .as_mut()
            .map(|brain| work(brain, &mut self.link, &mut self.bridge));
        self.covered &= !self.bridge.is_renewing();
        done
    }

    /// Decides about roles; what was done with them.
    pub fn think(&mut self, now: u64, down: &[bool; LINKS]) -> Vec<Did> {
        self.with_brain(|brain, link, bridge| brain.follow(now, down, link, bridge))
            .unwrap_or_default()
    }

    /// The heartbeats it sends now.
    pub fn beat(&mut self, now: u64) -> Vec<Datagram> {
        self.with_brain(|brain, link, bridge| brain.beat(now, link, bridge))
            .unwrap_or_default()
    }

    /// A heartbeat of the other came.
    pub fn hear_beat(&mut self, now: u64, datagram: &Datagram) {
        self.with_brain(|brain, link, bridge| brain.hear(now, datagram, link, bridge));
    }

    /// Somebody asks for something; whether it is refused at once.
    pub fn command(&mut self, now: u64, set: u16, command: Command) -> bool {
        self.with_brain(|brain, link, bridge| brain.command(now, set as u8, command, link, bridge))
            .unwrap_or(true)
    }

    /// What a set is called.
    pub fn state(&mut self, set: u16) -> Option<RoleState> {
        self.with_brain(|brain, link, bridge| brain.state(set as u8, link, bridge))
            .flatten()
    }

    /// What it thinks of its sets, in a few words.
    pub fn thoughts(&mut self) -> String {
        let lacks = (
            self.has_installed_all(),
            self.bridge.is_lacking(),
            self.bridge.lacks(),
        );
        let hears = self.hears();
        let shown = self.with_brain(|brain, link, bridge| brain.shown(link, bridge));
        format!(
            "has all, lacks {lacks:?}, hears {hears}, {}",
            shown.unwrap_or_default()
        )
    }

    /// It is to stop cleanly.
    pub fn stop(&mut self, now: u64) {
        self.with_brain(|brain, link, bridge| brain.stop(now, link, bridge));
    }

    /// Whether it has handed over all that it is to.
    pub fn has_stopped(&mut self, now: u64) -> bool {
        self.with_brain(|brain, link, bridge| brain.has_stopped(now, link, bridge))
            .unwrap_or(true)
    }

    /// What it says last when it stops.
    pub fn leave(&mut self, now: u64) -> Vec<Datagram> {
        self.brain
            .as_mut()
            .map(|brain| brain.leave(now))
            .unwrap_or_default()
    }

    /// What its guard says when it is dead.
    pub fn last_words(&self) -> Vec<Datagram> {
        self.brain
            .as_ref()
            .map(|brain| brain.last_words())
            .unwrap_or_default()
    }

    /// Whether it is primary of a set, whatever its workers have taken up.
    pub fn has_role(&self, set: u16) -> bool {
        self.bridge.role(set as u8).is_some_and(|role| role.primary)
    }

    /// Whether a set that it handed over is to drain here.
    pub fn is_to_drain(&self, set: u16) -> bool {
        self.brain.as_ref().is_some_and(|brain| brain.drains(set as u8))
    }

    /// Whether a worker passes packets of a set's sessions although it is standby.
    pub fn drains(&self, set: u16) -> bool {
        self.world.engines.iter().any(|engine| engine.is_draining(set))
    }

    /// Whether its heartbeats say that the other lives.
    pub fn hears(&self) -> bool {
        self.brain.as_ref().is_some_and(|brain| brain.hears)
    }

    /// Whether the connection outlived the other, by its heartbeats.
    pub fn is_stale(&self) -> bool {
        self.brain.as_ref().is_some_and(|brain| brain.is_stale)
    }

    /// Workers stand still for a while.
    pub fn stall(&mut self, now: u64, ms: u64) {
        if !self.is_stalled(now) {
            self.stalls.push(Stall {
                since: now,
                until: now + ms,
            });
        }
    }

    /// They do not any more.
    pub fn go_on(&mut self, now: u64) {
        for stall in &mut self.stalls {
            stall.until = stall.until.min(now);
        }
    }

    /// Whether workers stand still.
    pub fn is_stalled(&self, now: u64) -> bool {
        self.stood_still_since(now)
    }

    /// Whether workers stood still after a time.
    pub fn stood_still_since(&self, at: u64) -> bool {
        self.stalls.last().is_some_and(|stall| stall.until > at)
    }

    /// For how long workers have told nothing that the other has, because they stood still then or had just begun to make up for it.
    pub fn silent_ms(&self, now: u64) -> u64 {
        let told = now.saturating_sub(self.lag_ms());
        let is_felt = |stall: &&Stall| told < stall.until + MAKES_UP_MS;
        self.stalls
            .iter()
            .find(is_felt)
            .map_or(0, |stall| now - stall.since)
    }
}
