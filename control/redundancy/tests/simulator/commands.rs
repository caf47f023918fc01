//! What people and policies ask for, and what must become of it: the rules of the specification, told anew.

use std::sync::mpsc::channel;

use tandem_redundancy::machine::{Command, PeerSeen};
use tandem_redundancy::{Hands, RoleCause, RoleState, SetView};

use super::chassis::Chassis;
use super::world::{Fault, World};

/// Why a command must be refused: redundancy spec, section 1, rules for a role change. `is_primary`: the set is primary here.
fn must_refuse(
    command: &Command,
    view: &SetView,
    is_primary: bool,
    is_stopping: bool,
    is_connected: bool,
) -> Option<&'static str> {
    let always = view.settings.primary_always_exists;
    let releases = |force: bool| match view.peer {
        PeerSeen::Heard(_) if force && always && !is_connected => {
            Some("primary-always-exists, and the peer is not connected")
        }
        PeerSeen::Heard(peer) => {
            let may = match peer.state {
                RoleState::Standby => peer.is_eligible,
                RoleState::StandbyWarned | RoleState::Wait => force && peer.is_eligible,
                _ => false,
            };
            (!may).then_some("the peer is not standby, or not what force needs")
        }
        _ if !force => Some("the peer is not there"),
        _ if always => Some("primary-always-exists, and the peer is not there"),
        _ => None,
    };
    let acquires = |force: bool| match view.state {
        _ if is_stopping => Some("it stops"),
        RoleState::Ineligible | RoleState::Inoperable => Some("it cannot be primary"),
        RoleState::Initializing | RoleState::Wait if !force => Some("it is not ready"),
        _ => None,
    };
    match command {
        Command::Release { force, .. } if is_primary => releases(*force),
        Command::Acquire { force, .. } if !is_primary => acquires(*force),
        Command::Switchover { force } if is_primary => releases(*force),
        Command::Switchover { force } => acquires(*force),
        _ => None,
    }
}

/// Everything about a chassis that a command can change, in words.
fn everything(chassis: &Chassis) -> String {
    let shown: Vec<_> = chassis
        .automatic
        .numbers()
        .into_iter()
        .map(|set| chassis.roles.shown(set))
        .collect();
    format!("{:?} {:?} {shown:?}", chassis.automatic, chassis.body)
}

impl World {
    pub fn any_command(&mut self) -> Command {
        let force = self.rng.bool();
        let cause = if self.rng.bool() {
            RoleCause::Operator
        } else {
            RoleCause::Policy
        };
        match self.rng.u8(0..9) {
            0 | 1 => Command::Acquire { force, cause },
            2 | 3 => Command::Release { force, cause },
            4 => Command::ReleaseIfStandbyClear,
            5 => Command::Switchover { force },
            6 => Command::TakeOut(self.rng.bool()),
            7 => Command::Warn(self.rng.bool().then(|| "played".to_owned())),
            _ => Command::BroadcastWarning("played".to_owned()),
        }
    }

    /// Asks, and looks at the answer: what the rules refuse is refused, and what is refused has changed nothing.
    pub fn command(&mut self, side: usize, set: u8, command: Command) -> Result<(), Fault> {
        let now_ms = self.now_ms;
        let Some(chassis) = &mut self.chassis[side] else {
            return Ok(());
        };
        chassis.at(now_ms);
        let Some(view) = chassis.automatic.shown(set, &chassis.body) else {
            return Ok(());
        };
        let is_primary = chassis.body.is_primary(set);
        let is_connected = chassis.body.peer().is_there();
        let refusal = must_refuse(&command, &view, is_primary, chassis.is_stopping, is_connected);
        if !matches!(command, Command::Warn(_) | Command::BroadcastWarning(_)) {
            self.checks.is_commanded(set, now_ms);
        }
        chassis.is_stopping |= command == Command::Stop;
        // These two are done in any case, and what follows from them later may not come about.
        let is_wish = !matches!(command, Command::Stop | Command::TakeOut(_));
        let is_clear = matches!(&view.peer, PeerSeen::Heard(peer) if peer.state == RoleState::Standby && !peer.is_warned);
        let is_idle = command == Command::ReleaseIfStandbyClear && !(is_primary && is_clear);
        let before = everything(chassis);
        let text = format!("{command:?}");
        let (sender, answered) = channel();
        let answer = Box::new(move |answer| drop(sender.send(answer)));
        chassis.command(set, command, answer, now_ms);
        let after = everything(chassis);
        let answer = answered.try_recv();
        let is_refused = matches!(answer, Ok(Err(_)));
        self.show(|| format!("command to {side}, set {set}: {text}: {answer:?}"));
        if let Some(why) = refusal.filter(|_| !is_refused) {
            let state = view.state.as_str();
            return self.fault(Err(format!(
                "{text} in {state} is not refused although {why}: {answer:?}"
            )));
        }
        if is_idle && before != after {
            return self.fault(Err(format!(
                "{text} beside {:?} has changed {before} to {after}",
                view.peer
            )));
        }
        if is_refused && is_wish && before != after {
            return self.fault(Err(format!(
                "{text} was refused, and has changed {before} to {after}"
            )));
        }
        Ok(())
    }
}
