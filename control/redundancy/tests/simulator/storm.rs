//! What is done to a pair: paths are cut, chassis die and stop, workers stand still, monitors flap, people command.

use tandem_redundancy::machine::Command;

use super::chassis::Beat;
use super::monitors::{LINKS, SERVICE};
use super::world::{Fault, PATHS, World};

/// How often each thing is done: one step in so many, 0 never. Drawn for each run, so that some have only a few kinds of trouble.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub monitors: u32,
    pub paths: u32,
    pub beats: u32,
    pub crashes: u32,
    pub stops: u32,
    pub commands: u32,
    pub stalls: u32,
    pub loss: u32,
}

impl Mix {
    /// Only monitors fail and recover.
    const MONITORS: Self = Self {
        monitors: 30,
        paths: 0,
        beats: 0,
        crashes: 0,
        stops: 0,
        commands: 0,
        stalls: 0,
        loss: 0,
    };

    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        if rng.u8(0..4) == 0 {
            return Self::MONITORS;
        }
        let mut some = |usual| if rng.u8(0..3) == 0 { 0 } else { usual };
        Self {
            monitors: some(30),
            paths: some(50),
            beats: some(300),
            crashes: some(200),
            stops: some(300),
            commands: some(100),
            stalls: some(200),
            loss: some(100),
        }
    }
}

impl World {
    pub fn disturb(&mut self) -> Result<(), Fault> {
        for side in 0..2 {
            self.disturb_paths(side);
            if self.chance(self.mix.monitors) {
                let link = self.rng.usize(0..SERVICE);
                let is_down = self.rng.bool();
                self.down[side][link] = is_down;
                self.show(|| format!("link {link} of {side} is down: {is_down}"));
            }
            if self.chance(self.mix.stalls)
                && let Some(chassis) = &mut self.chassis[side]
            {
                chassis.body.stalled_ms = self.now_ms + self.rng.u64(300..9000);
                let until = chassis.body.stalled_ms;
                self.show(|| format!("workers of {side} stand still until {until}"));
            }
            if self.chance(self.mix.crashes) {
                self.crash(side);
            }
            if self.chance(self.mix.stops) && self.ends_ms[side].is_none() && self.chassis[side].is_some() {
                self.ends_ms[side] = Some(self.now_ms + 5000);
                for set in self.sets.clone() {
                    self.command(side, set, Command::Stop)?;
                }
            }
            if self.chance(self.mix.commands) {
                let set = self.sets[self.rng.usize(0..self.sets.len())];
                let command = self.any_command();
                self.command(side, set, command)?;
            }
        }
        Ok(())
    }

    /// Paths and ways, from one side.
    fn disturb_paths(&mut self, side: usize) {
        if self.chance(self.mix.paths) {
            let path = self.rng.usize(0..PATHS);
            let passes = self.rng.u8(0..10) < 6;
            self.paths[path][side] = passes;
            if self.rng.bool() {
                // The cable, and not one of its ways.
                self.paths[path][1 - side] = passes;
            }
            self.show(|| format!("paths {:?}", self.paths));
        }
        if self.chance(self.mix.paths * 4) {
            let passes = self.rng.bool();
            self.paths.iter_mut().for_each(|path| path[side] = passes);
            self.show(|| format!("paths {:?}", self.paths));
        }
        if self.chance(self.mix.beats) {
            self.beats_pass[side] = self.rng.bool();
            self.show(|| format!("heartbeats from {side} pass a filter: {}", self.beats_pass[side]));
        }
        if side == 0 && self.chance(self.mix.loss) {
            self.loss = if self.rng.bool() {
                0.0
            } else {
                0.3 * self.rng.f64()
            };
        }
    }

    fn crash(&mut self, side: usize) {
        let Some(chassis) = self.chassis[side].take() else {
            return;
        };
        self.ends_ms[side] = None;
        let is_host = self.rng.bool();
        self.show(|| format!("{side} dies, host {is_host}"));
        self.starts_ms[side] = self.now_ms + self.rng.u64(200..8000);
        if !is_host {
            // Its guard says so, and its kernel closes the channel.
            self.send_beat(side, Beat::Gone { life: chassis.life });
            self.disconnect();
        }
        self.checks.is_disturbed(self.now_ms);
    }

    /// All is well from now on.
    pub fn calm(&mut self) -> Result<(), Fault> {
        self.show(|| "calm".to_owned());
        (self.beats_pass, self.paths, self.loss) = ([true; 2], [[true; 2]; PATHS], 0.0);
        self.down = [[false; LINKS]; 2];
        for side in 0..2 {
            self.starts_ms[side] = self.starts_ms[side].min(self.now_ms);
            if let Some(chassis) = &mut self.chassis[side] {
                chassis.body.stalled_ms = 0;
            }
            for set in self.sets.clone() {
                self.command(side, set, Command::TakeOut(false))?;
                self.command(side, set, Command::Warn(None))?;
            }
        }
        Ok(())
    }
}
