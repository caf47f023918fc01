//! The network between two chassis, and their lives.

use std::collections::VecDeque;

use tandem_redundancy::machine::Settings;

use super::chassis::{Beat, Chassis, Link, Message};
use super::checks::Checks;
use super::clock::Clock;
use super::monitors::{LINKS, Plan, SERVICE};
use super::storm::Mix;

pub const STEP_MS: u64 = 100;
/// How long things are done to them, and how long all is well afterwards.
const STORM_MS: u64 = 80_000;
const CALM_MS: u64 = 30_000;
/// How long a channel that brings nothing in one direction lives.
const SILENT_MS: u64 = 1500;
/// Control link, data link, secondary path. The channel goes over the first two.
pub const PATHS: usize = 3;

/// What must not be.
pub struct Fault {
    pub now_ms: u64,
    pub what: String,
}

#[derive(Default)]
struct Connection {
    queues: [VecDeque<(u64, Message)>; 2],
    /// Since when a direction brings nothing.
    silent_since: Option<u64>,
}

pub struct World {
    pub mix: Mix,
    pub sets: Vec<u8>,
    pub settings: [Vec<(u8, Settings)>; 2],
    pub plan: Plan,
    clocks: [Clock; 2],
    pub chassis: [Option<Chassis>; 2],
    /// What is monitored: of each chassis, which links are down.
    pub down: [[bool; LINKS]; 2],
    /// Whether each path brings something from chassis 0, and from chassis 1.
    pub paths: [[bool; 2]; PATHS],
    /// A filter that lets only the channel through, from chassis 0 and 1.
    pub beats_pass: [bool; 2],
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
        let mix = Mix::draw(&mut rng);
        let sets: Vec<u8> = (1..=rng.u8(1..=3)).collect();
        let acts = mix.commands > 0;
        let plan = Plan::draw(&mut rng, &sets, acts);
        let always = rng.bool();
        let preempt = rng.bool();
        let same = rng.bool();
        let settings = [0, 1].map(|side| {
            let of = |set: &u8| {
                let settings = Settings {
                    priority: if same { 100 } else { rng.u8(1..=254) },
                    is_gateway_1: side == 0,
                    preempt,
                    // None is the default.
                    preempt_hold_ms: if seed.is_multiple_of(2) { 0 } else { 1000 },
                    recovery_hold_ms: 3000,
                    initial_hold_ms: 1000,
                    primary_always_exists: always,
                    set_threshold: plan.set_threshold,
                    chassis_threshold: plan.chassis_threshold,
                };
                (*set, settings)
            };
            sets.iter().map(of).collect()
        });
        Self {
            mix,
            settings,
            clocks: [Clock::draw(&mut rng), Clock::draw(&mut rng)],
            checks: Checks::new(&sets),
            sets,
            plan,
            chassis: [None, None],
            down: [[false; LINKS]; 2],
            paths: [[true; 2]; PATHS],
            beats_pass: [true; 2],
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
        }
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
                self.calm()?;
            }
            self.step()?;
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

    /// One time in so many; 0 never.
    pub fn chance(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.rng.u32(0..one_in) == 0
    }

    /// Whether heartbeats from a side get through, on any path.
    pub fn beats_come(&self, from: usize) -> bool {
        self.beats_pass[from] && self.paths.iter().any(|path| path[from])
    }

    /// Whether the channel brings something from a side, on a path of its own.
    fn channel_comes(&self, from: usize) -> bool {
        self.paths.iter().take(PATHS - 1).any(|path| path[from])
    }

    /// Whether the network is as it should be.
    pub fn is_whole(&self) -> bool {
        let comes = |from: usize| self.beats_come(from) && self.channel_comes(from);
        self.loss == 0.0 && comes(0) && comes(1)
    }

    pub fn send_beat(&mut self, from: usize, beat: Beat) {
        if self.beats_come(from) && self.rng.f64() >= self.loss {
            let due_ms = self.now_ms + self.rng.u64(0..=1) * STEP_MS;
            self.beats.push((due_ms, 1 - from, beat));
        }
    }

    pub fn disconnect(&mut self) {
        if self.connection.take().is_some() {
            self.show(|| "the channel is closed".to_owned());
            self.checks.is_disturbed(self.now_ms);
            for chassis in self.chassis.iter_mut().flatten() {
                chassis.disconnected(self.now_ms);
            }
        }
        self.unconnected_ms = self.now_ms;
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.start_and_end();
        self.carry_the_channel();
        self.carry_heartbeats();
        for side in 0..2 {
            let Some(chassis) = &mut self.chassis[side] else {
                continue;
            };
            self.down[side][SERVICE] = chassis.body.stalled_ms > self.now_ms;
            let actions = chassis.look(&self.down[side], self.now_ms);
            for (set, action) in actions {
                self.command(side, set, action.command())?;
            }
            let Some(chassis) = &mut self.chassis[side] else {
                continue;
            };
            let before = chassis.events.len();
            chassis.tick(self.now_ms);
            if self.shows {
                show_events(side, &chassis.events[before..]);
            }
        }
        Ok(())
    }

    /// Whether a connection is there, and brings something both ways.
    pub fn channel_passes(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.silent_since.is_none())
    }

    fn start_and_end(&mut self) {
        for side in 0..2 {
            if self.chassis[side].is_none() && self.now_ms >= self.starts_ms[side] {
                self.lives += 1;
                let take_up_ms = self.rng.u64(0..3) * STEP_MS;
                self.chassis[side] = Some(Chassis::start(
                    self.lives,
                    &self.settings[side],
                    &self.plan,
                    self.clocks[side],
                    take_up_ms,
                    self.now_ms,
                ));
                // A new process knows nothing of the old one's connection.
                self.disconnect();
                self.show(|| format!("{side} starts"));
                self.checks.is_disturbed(self.now_ms);
            }
            let none = |chassis: &Chassis| self.sets.iter().all(|set| !chassis.body.is_primary(*set));
            let is_done = self.chassis[side].as_ref().is_some_and(none);
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

    fn connect(&mut self) {
        self.connection = Some(Connection::default());
        self.checks.is_disturbed(self.now_ms);
        let bulk_ms = [500, 2000].map(|max| self.now_ms + self.rng.u64(100..max));
        for (side, chassis) in self.chassis.iter_mut().flatten().enumerate() {
            chassis.connected();
            chassis.body.told_ms = bulk_ms[side];
            chassis.body.received_ms = bulk_ms[1 - side];
        }
        self.show(|| "the channel is there".to_owned());
    }

    fn carry_the_channel(&mut self) {
        let both_run = self.chassis.iter().all(Option::is_some);
        let all_pass = self.channel_comes(0) && self.channel_comes(1) && both_run;
        let comes = [self.channel_comes(0), self.channel_comes(1)];
        let Some(connection) = &mut self.connection else {
            if all_pass && self.now_ms >= self.unconnected_ms + 300 {
                self.connect();
            }
            return;
        };
        if all_pass {
            connection.silent_since = None;
        } else if self.now_ms - *connection.silent_since.get_or_insert(self.now_ms) >= SILENT_MS {
            self.disconnect();
            return;
        }
        for (from, comes) in comes.into_iter().enumerate() {
            let Some(chassis) = &mut self.chassis[from] else {
                continue;
            };
            if chassis.body.link == Link::There && self.now_ms.is_multiple_of(1000) {
                chassis.body.out.push_back(Message::Keepalive);
            }
            let due_ms = self.now_ms + self.rng.u64(0..=1) * STEP_MS;
            let sent = chassis.body.out.drain(..).map(|message| (due_ms, message));
            connection.queues[from].extend(sent);
            if !comes {
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
                if let Some(beat) = self.chassis[from].as_ref().map(Chassis::beat) {
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

fn show_events(side: usize, events: &[(u64, tandem_redundancy::Event)]) {
    for (at_ms, event) in events {
        let (set, from, to) = (event.set, event.from.as_str(), event.to.as_str());
        let (cause, epoch) = (event.cause.as_str(), event.epoch);
        let why = event.reason.as_deref().map(|why| format!("REFUSED {why}"));
        let why = why.or(event.note.clone()).unwrap_or_default();
        println!("{at_ms:>7} {side}.{set}: {from} -> {to} epoch {epoch} {cause}: {why}");
    }
}
