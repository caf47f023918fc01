//! A routing process that is watched: the processes it consists of, which of them is gone, which does not answer, and what was
//! restarted.

use std::collections::BTreeMap;

use super::condition::{Condition, Observation};

/// One process of a routing daemon, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name, that of its pid file.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Whether there is such a process.
    pub alive: bool,
    /// Whether its control socket answers; `None` where it has none, or was not asked.
    pub answers: Option<bool>,
}

/// How a routing daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingState {
    /// All of it runs and answers.
    Well,
    /// Something of it does not; why.
    Failed(String),
}

/// A routing daemon of one process or several.
#[derive(Debug)]
pub struct RoutingDaemon {
    name: String,
    /// Process ids by name, as they were when all was well.
    known: BTreeMap<String, u32>,
    /// `None` until it was looked at.
    state: Option<RoutingState>,
}

impl RoutingDaemon {
    /// A daemon that was not looked at yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            known: BTreeMap::new(),
            state: None,
        }
    }

    /// The processes there are now.
    pub fn look(&mut self, instances: &[Instance], seen: &mut Vec<Observation>) {
        let state = self.judge(instances);
        if state == RoutingState::Well {
            let changed = |one: &Instance| self.known.get(&one.name).is_some_and(|pid| *pid != one.pid);
            let restarted: Vec<&str> = instances
                .iter()
                .filter(|one| changed(one))
                .map(|one| one.name.as_str())
                .collect();
            if !restarted.is_empty() && self.state == Some(RoutingState::Well) {
                let text = format!("{}: {} was restarted", self.name, restarted.join(", "));
                seen.push(Observation::Happened(self.condition(), text));
            }
            self.known = instances.iter().map(|one| (one.name.clone(), one.pid)).collect();
        }
        self.tell(state, seen);
    }

    /// A process has ended; told at once, whatever will be found later.
    pub fn exited(&mut self, name: &str, pid: u32, seen: &mut Vec<Observation>) {
        if self.known.get(name) == Some(&pid) {
            self.tell(
                RoutingState::Failed(format!("{name} (process {pid}) has ended")),
                seen,
            );
        }
    }

    fn judge(&self, instances: &[Instance]) -> RoutingState {
        let failed = RoutingState::Failed;
        if instances.is_empty() {
            return failed("no process of it is found".into());
        }
        if let Some(dead) = instances.iter().find(|one| !one.alive) {
            return failed(format!("{} (process {}) has ended", dead.name, dead.pid));
        }
        // One that is missing beside others that went on has ended; when all are new, the daemon has other parts now.
        let went_on = |one: &Instance| self.known.get(&one.name) == Some(&one.pid);
        let missing = self
            .known
            .keys()
            .find(|name| !instances.iter().any(|one| one.name == **name));
        if let Some(name) = missing.filter(|_| instances.iter().any(went_on)) {
            return failed(format!("{name} has ended"));
        }
        match instances.iter().find(|one| one.answers == Some(false)) {
            Some(silent) => failed(format!("the control socket of {} does not answer", silent.name)),
            None => RoutingState::Well,
        }
    }

    fn condition(&self) -> Condition {
        Condition::Routing(self.name.clone())
    }

    fn tell(&mut self, state: RoutingState, seen: &mut Vec<Observation>) {
        let is_well = state == RoutingState::Well;
        let was_well = self
            .state
            .as_ref()
            .is_none_or(|before| *before == RoutingState::Well);
        if is_well != was_well {
            let text = match &state {
                RoutingState::Well => format!("{} runs and answers", self.name),
                RoutingState::Failed(why) => format!("{}: {why}", self.name),
            };
            seen.push(if is_well {
                Observation::Well(self.condition(), text)
            } else {
                Observation::Failed(self.condition(), text)
            });
        }
        self.state = Some(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, pid: u32) -> Instance {
        Instance {
            name: name.into(),
            pid,
            alive: true,
            answers: Some(true),
        }
    }

    fn texts(seen: &mut Vec<Observation>) -> Vec<String> {
        let text = |one| match one {
            Observation::Failed(_, text) => format!("failed {text}"),
            Observation::Well(_, text) => format!("well {text}"),
            Observation::Happened(_, text) => format!("happened {text}"),
        };
        seen.drain(..).map(text).collect()
    }

    #[test]
    fn a_daemon_that_never_ran_has_failed_and_one_that_runs_says_nothing() {
        let mut seen = Vec::new();
        let mut frr = RoutingDaemon::new("frr");
        frr.look(&[], &mut seen);
        assert_eq!(texts(&mut seen), ["failed frr: no process of it is found"]);
        frr.look(&[one("zebra", 1)], &mut seen);
        assert_eq!(texts(&mut seen), ["well frr runs and answers"]);
        let mut frr = RoutingDaemon::new("frr");
        frr.look(&[one("zebra", 1), one("bgpd", 2)], &mut seen);
        assert_eq!(texts(&mut seen), [""; 0]);
    }

    #[test]
    fn death_is_told_once_and_recovery_when_another_process_answers() {
        let (mut seen, mut frr) = (Vec::new(), RoutingDaemon::new("frr"));
        frr.look(&[one("zebra", 1), one("bgpd", 2)], &mut seen);
        frr.exited("bgpd", 2, &mut seen);
        assert_eq!(texts(&mut seen), ["failed frr: bgpd (process 2) has ended"]);
        // The pid file stays behind; then it is taken away.
        let dead = Instance {
            alive: false,
            ..one("bgpd", 2)
        };
        frr.look(&[one("zebra", 1), dead], &mut seen);
        frr.look(&[one("zebra", 1)], &mut seen);
        assert_eq!(texts(&mut seen), [""; 0]);
        frr.look(&[one("zebra", 1), one("bgpd", 7)], &mut seen);
        assert_eq!(
            texts(&mut seen),
            ["well frr runs and answers"],
            "no restart beside it"
        );
        frr.exited("bgpd", 2, &mut seen);
        assert_eq!(
            texts(&mut seen),
            [""; 0],
            "of a process that is not known any more"
        );
    }

    #[test]
    fn a_restart_between_two_looks_happened() {
        let (mut seen, mut bird) = (Vec::new(), RoutingDaemon::new("bird"));
        bird.look(&[one("bird", 1)], &mut seen);
        bird.look(&[one("bird", 9)], &mut seen);
        assert_eq!(texts(&mut seen), ["happened bird: bird was restarted"]);
        bird.look(&[one("bird", 9)], &mut seen);
        assert_eq!(texts(&mut seen), [""; 0]);
    }

    #[test]
    fn after_a_whole_restart_other_parts_are_right_and_one_that_vanishes_alone_has_ended() {
        let (mut seen, mut frr) = (Vec::new(), RoutingDaemon::new("frr"));
        frr.look(&[one("zebra", 1), one("bgpd", 2), one("ospfd", 3)], &mut seen);
        frr.look(&[one("zebra", 1), one("bgpd", 2)], &mut seen);
        assert_eq!(texts(&mut seen), ["failed frr: ospfd has ended"]);
        frr.look(&[one("zebra", 11), one("bgpd", 12)], &mut seen);
        assert_eq!(texts(&mut seen), ["well frr runs and answers"]);
    }

    #[test]
    fn a_silent_control_socket_is_a_failure() {
        let (mut seen, mut bird) = (Vec::new(), RoutingDaemon::new("bird"));
        let silent = Instance {
            answers: Some(false),
            ..one("bird", 1)
        };
        bird.look(&[silent], &mut seen);
        assert_eq!(
            texts(&mut seen),
            ["failed bird: the control socket of bird does not answer"]
        );
        bird.look(
            &[Instance {
                answers: None,
                ..one("bird", 1)
            }],
            &mut seen,
        );
        assert_eq!(texts(&mut seen), ["well bird runs and answers"]);
    }
}
