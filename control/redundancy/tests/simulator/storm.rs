//! What is done to a pair: paths are cut, chassis die and stop, monitors flap, people command.

use std::sync::mpsc::channel;

use tandem_redundancy::machine::Command;
use tandem_redundancy::{Monitored, RoleCause};

use super::chassis::{Beat, Chassis, SET};
use super::world::{Fault, Kind, World};

impl World {
    pub fn disturb(&mut self) -> Result<(), Fault> {
        for side in 0..2 {
            if self.chance(60) {
                let failed = self.rng.bool();
                let weight = if failed { self.rng.u16(100..400) } else { 0 };
                let is_warned = self.rng.u8(0..4) == 0;
                if let Some(chassis) = &mut self.chassis[side] {
                    chassis.monitored = Monitored {
                        failed_weight: weight,
                        is_warned,
                    };
                }
                self.show(|| format!("monitors of {side}: {weight} {is_warned}"));
            }
            if self.kind == Kind::Monitors {
                continue;
            }
            if self.chance(150) {
                self.beats_pass[side] = self.rng.bool();
                self.show(|| format!("heartbeats from {side} pass: {}", self.beats_pass[side]));
            }
            if self.chance(150) {
                self.channel_passes[side] = self.rng.bool();
                self.show(|| format!("channel from {side} passes: {}", self.channel_passes[side]));
            }
            if self.chance(200) {
                self.crash(side);
            }
            if self.chance(300) && self.ends_ms[side].is_none() && self.chassis[side].is_some() {
                self.ends_ms[side] = Some(self.now_ms + 5000);
                self.command(side, Command::Stop)?;
            }
            if self.chance(100) {
                let command = self.any_command();
                self.command(side, command)?;
            }
        }
        if self.kind == Kind::Storm && self.chance(100) {
            self.loss = if self.rng.bool() {
                0.0
            } else {
                0.3 * self.rng.f64()
            };
        }
        Ok(())
    }

    fn any_command(&mut self) -> Command {
        let force = self.rng.bool();
        let cause = if self.rng.bool() {
            RoleCause::Operator
        } else {
            RoleCause::Policy
        };
        match self.rng.u8(0..8) {
            0 | 1 => Command::Acquire { force, cause },
            2 | 3 => Command::Release { force, cause },
            4 => Command::ReleaseIfStandbyClear,
            5 => Command::Switchover { force },
            6 => Command::TakeOut(self.rng.bool()),
            _ => Command::BroadcastWarning("played".to_owned()),
        }
    }

    fn command(&mut self, side: usize, command: Command) -> Result<(), Fault> {
        let now_ms = self.now_ms;
        let Some(chassis) = &mut self.chassis[side] else {
            return Ok(());
        };
        let before = (chassis.body.ours, chassis.automatic.shown(SET, &chassis.body));
        let (sender, answered) = channel();
        let text = format!("{command:?}");
        chassis.automatic.command(
            SET,
            command,
            Box::new(move |answer| drop(sender.send(answer))),
            now_ms,
            &mut chassis.roles,
            &mut chassis.body,
        );
        let after = (chassis.body.ours, chassis.automatic.shown(SET, &chassis.body));
        let answer = answered.try_recv();
        let is_refused = matches!(answer, Ok(Err(_)));
        self.show(|| format!("command to {side}: {text}: {answer:?}"));
        if is_refused && before != after {
            return self.fault(Err(format!(
                "what was refused has changed {before:?} to {after:?}"
            )));
        }
        Ok(())
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

    pub fn calm(&mut self) {
        self.show(|| "calm".to_owned());
        (self.beats_pass, self.channel_passes, self.loss) = ([true; 2], [true; 2], 0.0);
        for side in 0..2 {
            self.starts_ms[side] = self.starts_ms[side].min(self.now_ms);
            if let Some(chassis) = &mut self.chassis[side] {
                chassis.monitored = Monitored::default();
                let Chassis {
                    automatic,
                    roles,
                    body,
                    ..
                } = chassis;
                automatic.command(
                    SET,
                    Command::TakeOut(false),
                    Box::new(drop),
                    self.now_ms,
                    roles,
                    body,
                );
            }
        }
    }
}
