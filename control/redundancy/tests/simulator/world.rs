//! The network between two chassis, and their lives.

use std::collections::VecDeque;

use tandem_redundancy::machine::Settings;

use super::chassis::{Beat, Chassis, Link, Message};
use super::checks::Checks;

pub const STEP_MS: u64 = 100;
/// How long things are done to them, and how long all is well afterwards.
const STORM_MS: u64 = 80_000;
const CALM_MS: u64 = 30_000;
/// How long a channel that brings nothing in one direction lives.
const SILENT_MS: u64 = 1500;

/// What must not be.
pub struct Fault {
    pub now_ms: u64,
    pub what: String,
}

/// What is done to a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything.
    Storm,
    /// Only monitors fail and recover.
    Monitors,
}

#[derive(Default)]
struct Connection {
    queues: [VecDeque<(u64, Message)>; 2],
    /// Since when a direction brings nothing.
    silent_since: Option<u64>,
}

pub struct World {
    pub kind: Kind,
    pub settings: [Settings; 2],
    pub chassis: [Option<Chassis>; 2],
    /// From chassis 0, from chassis 1.
    pub beats_pass: [bool; 2],
    pub channel_passes: [bool; 2],
    pub loss: f64,
    connection: Option<Connection>,
    unconnected_ms: u64,
    beats: Vec<(u64, usize, Beat)>,
    /// When a stopped or crashed chassis comes back, and when one that stops ends.
    pub starts_ms: [u64; 2],
    pub ends_ms: [Option<u64>; 2],
    lives: u64,
    pub now_ms: u64,
    pub rng: fastrand::Rng,
    pub shows: bool,
    pub checks: Checks,
}

impl World {
    pub fn new(seed: u64, shows: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let always = rng.bool();
        let preempt = rng.bool();
        let same = rng.bool();
        let settings = [0, 1].map(|side| Settings {
            priority: if same { 100 } else { rng.u8(1..=254) },
            is_gateway_1: side == 0,
            preempt,
            preempt_hold_ms: 1000,
            recovery_hold_ms: 3000,
            initial_hold_ms: 1000,
            primary_always_exists: always,
            set_threshold: 255,
            chassis_threshold: 255,
        });
        let kind = if rng.u8(0..4) == 0 {
            Kind::Monitors
        } else {
            Kind::Storm
        };
        Self {
            kind,
            settings,
            chassis: [None, None],
            beats_pass: [true; 2],
            channel_passes: [true; 2],
            loss: 0.0,
            connection: None,
            unconnected_ms: 0,
            beats: Vec::new(),
            starts_ms: [0, rng.u64(0..3000)],
            ends_ms: [None; 2],
            lives: 0,
            now_ms: 0,
            rng,
            shows,
            checks: Checks::default(),
        }
    }

    pub fn takeovers(&self) -> usize {
        self.checks.takeovers
    }

    pub fn show(&self, what: impl FnOnce() -> String) {
        if self.shows {
            println!("{:>7} {}", self.now_ms, what());
        }
    }

    pub fn run(&mut self) -> Result<(), Fault> {
        while self.now_ms < STORM_MS + CALM_MS {
            if self.now_ms >= 5000 && self.now_ms < STORM_MS {
                self.disturb()?;
            } else if self.now_ms == STORM_MS {
                self.calm();
            }
            self.step();
            let mut checks = std::mem::take(&mut self.checks);
            let checked = checks.look(self);
            self.checks = checks;
            self.fault(checked)?;
            self.now_ms += STEP_MS;
        }
        let ended = Checks::at_the_end(self);
        self.fault(ended)
    }

    pub fn fault(&self, checked: Result<(), String>) -> Result<(), Fault> {
        let now_ms = self.now_ms;
        checked.map_err(|what| Fault { now_ms, what })
    }

    pub fn chance(&mut self, one_in: u32) -> bool {
        self.rng.u32(0..one_in) == 0
    }

    pub fn send_beat(&mut self, from: usize, beat: Beat) {
        if self.beats_pass[from] && self.rng.f64() >= self.loss {
            let due_ms = self.now_ms + self.rng.u64(0..=1) * STEP_MS;
            self.beats.push((due_ms, 1 - from, beat));
        }
    }

    pub fn disconnect(&mut self) {
        if self.connection.take().is_some() {
            self.show(|| "the channel is closed".to_owned());
            for chassis in self.chassis.iter_mut().flatten() {
                chassis.disconnected(self.now_ms);
            }
        }
        self.unconnected_ms = self.now_ms;
    }

    fn step(&mut self) {
        self.start_and_end();
        self.carry_the_channel();
        self.carry_heartbeats();
        for side in 0..2 {
            let Some(chassis) = &mut self.chassis[side] else {
                continue;
            };
            let before = chassis.events.len();
            chassis.tick(self.now_ms);
            if self.shows {
                for (_, event) in &chassis.events[before..] {
                    let (from, to) = (event.from.as_str(), event.to.as_str());
                    let (cause, epoch) = (event.cause.as_str(), event.epoch);
                    let why = event.reason.as_deref().map(|why| format!("REFUSED {why}"));
                    let why = why.or(event.note.clone()).unwrap_or_default();
                    println!(
                        "{:>7} {side}: {from} -> {to} epoch {epoch} {cause}: {why}",
                        self.now_ms
                    );
                }
            }
        }
    }

    fn start_and_end(&mut self) {
        for side in 0..2 {
            if self.chassis[side].is_none() && self.now_ms >= self.starts_ms[side] {
                self.lives += 1;
                let take_up_ms = self.rng.u64(0..3) * STEP_MS;
                let settings = self.settings[side];
                self.chassis[side] = Some(Chassis::start(self.lives, settings, take_up_ms, self.now_ms));
                // A new process knows nothing of the old one's connection.
                self.disconnect();
                self.show(|| format!("{side} starts"));
                self.checks.is_disturbed(self.now_ms);
            }
            let ends = |chassis: &Chassis| !chassis.body.ours.primary;
            let is_done = self.chassis[side].as_ref().is_some_and(ends);
            if self.ends_ms[side].is_some_and(|at| is_done && at < self.now_ms + 4000 || at <= self.now_ms)
                && let Some(chassis) = self.chassis[side].take()
            {
                self.show(|| format!("{side} has stopped"));
                self.ends_ms[side] = None;
                self.starts_ms[side] = self.now_ms + self.rng.u64(200..8000);
                self.send_beat(side, Beat::Leaving { life: chassis.life });
                self.disconnect();
                self.checks.is_disturbed(self.now_ms);
            }
        }
    }

    fn carry_the_channel(&mut self) {
        let both_run = self.chassis.iter().all(Option::is_some);
        let all_pass = self.channel_passes == [true; 2] && both_run;
        let Some(connection) = &mut self.connection else {
            if all_pass && self.now_ms >= self.unconnected_ms + 300 {
                self.connection = Some(Connection::default());
                let bulk_ms = [500, 2000].map(|max| self.now_ms + self.rng.u64(100..max));
                for (side, chassis) in self.chassis.iter_mut().flatten().enumerate() {
                    chassis.connected();
                    chassis.body.told_ms = bulk_ms[side];
                    chassis.body.received_ms = bulk_ms[1 - side];
                }
                self.show(|| "the channel is there".to_owned());
            }
            return;
        };
        if all_pass {
            connection.silent_since = None;
        } else if self.now_ms - *connection.silent_since.get_or_insert(self.now_ms) >= SILENT_MS {
            self.disconnect();
            return;
        }
        for from in 0..2 {
            let Some(chassis) = &mut self.chassis[from] else {
                continue;
            };
            if chassis.body.link == Link::There && self.now_ms.is_multiple_of(1000) {
                chassis.body.out.push_back(Message::Keepalive);
            }
            let due_ms = self.now_ms + self.rng.u64(0..=1) * STEP_MS;
            let sent = chassis.body.out.drain(..).map(|message| (due_ms, message));
            connection.queues[from].extend(sent);
            if !self.channel_passes[from] {
                continue;
            }
            while connection.queues[from]
                .front()
                .is_some_and(|(due, _)| *due <= self.now_ms)
            {
                let message = connection.queues[from].pop_front();
                if let (Some((_, message)), Some(chassis)) = (message, &mut self.chassis[1 - from]) {
                    chassis.receive(message, self.now_ms);
                }
            }
        }
    }

    fn carry_heartbeats(&mut self) {
        if self.now_ms.is_multiple_of(200) {
            for from in 0..2 {
                if let Some(beat) = self.chassis[from].as_ref().and_then(Chassis::beat) {
                    self.send_beat(from, beat);
                }
            }
        }
        let now_ms = self.now_ms;
        let (due, later) = std::mem::take(&mut self.beats)
            .into_iter()
            .partition(|(at, ..)| *at <= now_ms);
        self.beats = later;
        let due: Vec<(u64, usize, Beat)> = due;
        for (_, to, beat) in due {
            if let Some(chassis) = &mut self.chassis[to] {
                chassis.hear(beat, now_ms);
            }
        }
    }
}
