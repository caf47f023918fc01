//! Members and a real tracker together: probes leave by the active member, and are answered where its path leads somewhere.

use super::*;
use crate::monitor::{Observation, Tracker};

/// An interface with two members, and what is behind them.
struct Lab {
    members: Members,
    tracker: Tracker,
    /// Of each member: whether its link is up, and whether probes are answered by it.
    links: [bool; 2],
    paths: [bool; 2],
    now_ms: u64,
    /// What redundancy events were told, and what was switched.
    told: Vec<String>,
    switches: Vec<(u64, Member)>,
}

const STEP_MS: u64 = 100;
/// Losses until an address is lost, and so about the seconds until a verdict.
const LOST_THRESHOLD: usize = 3;

impl Lab {
    fn new(keys: &str) -> Self {
        let text = format!(
            "[interfaces.a]\ndevice = \"net_ring0\"\n[interfaces.b]\ndevice = \"net_ring1\"\n\
             [interfaces.red]\nmembers = [\"a\", \"b\"]\naddresses = [\"10.0.0.1/24\"]\ntrack = \"t\"\n{keys}\n\
             [tracked-ips.t]\naddresses = [{{ address = \"10.0.0.7\" }}]\nthreshold = 1\n\
             lost-threshold = {LOST_THRESHOLD}\n"
        );
        let config = config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
        let Attachment::Redundant(redundant) = &config.interfaces[0].attachment else {
            panic!("{:?}", config.interfaces);
        };
        Self {
            members: Members::new(redundant),
            tracker: Tracker::new(0, &config.redundancy),
            links: [true; 2],
            paths: [true; 2],
            now_ms: 0,
            told: Vec::new(),
            switches: Vec::new(),
        }
    }

    fn link(&mut self, member: Member, up: bool) {
        self.links[member] = up;
        self.members.link(member, up);
        self.poll();
    }

    fn poll(&mut self) {
        if let Some(switch) = self.members.poll(self.now_ms) {
            self.switches.push((self.now_ms, switch.to));
        }
    }

    /// As the thread of the probes does it.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 / STEP_MS {
            if self.members.is_to_be_judged() {
                self.tracker.judge_anew("t");
            }
            let (mut probes, mut seen) = (Vec::new(), Vec::new());
            self.tracker.poll(self.now_ms, &mut probes, &mut seen);
            let by = self.members.active();
            for probe in probes.iter().filter(|_| self.links[by] && self.paths[by]) {
                self.tracker
                    .answered(probe.to.address, probe.id, probe.sequence, &mut seen);
            }
            for verdict in self.tracker.verdicts() {
                self.members.tracked(self.now_ms, verdict.failed);
            }
            self.told.extend(seen.into_iter().map(|one| match one {
                Observation::Failed(..) => "failed".to_owned(),
                Observation::Well(..) => "well".to_owned(),
                Observation::Happened(_, text) => text,
            }));
            self.poll();
            self.now_ms += STEP_MS;
        }
    }

    fn failed(&self) -> [bool; 2] {
        [0, 1].map(|member| self.members.failed(member).is_some())
    }
}

#[test]
fn of_two_links_that_come_back_the_first_with_a_dead_path_the_second_carries_on() {
    let mut lab = Lab::new("");
    lab.run(5);
    lab.link(PRIMARY, false);
    lab.link(SECONDARY, false);
    lab.run(10);
    assert_eq!(lab.told, ["failed"]);
    lab.paths[PRIMARY] = false;
    lab.link(PRIMARY, true);
    lab.run(1);
    lab.link(SECONDARY, true);
    lab.run(10);
    assert_eq!(lab.members.active(), SECONDARY, "{:?}", lab.switches);
    assert_eq!(lab.failed(), [true, false]);
    assert_eq!(lab.told, ["failed", "well"], "once each");
}

#[test]
fn a_try_that_lands_on_a_dead_member_is_failed_again_also_before_the_other_has_answered() {
    let mut lab = Lab::new("track-retry-s = 2");
    lab.run(5);
    lab.paths = [false, false];
    lab.run(5);
    assert_eq!(lab.members.active(), SECONDARY);
    lab.paths[SECONDARY] = true;
    // Whatever the tries, none lasts longer than its window.
    for _ in 0..20 {
        lab.run(LOST_THRESHOLD as u64 + 2);
        let lasts = |pair: &[(u64, Member)]| pair[0].1 == PRIMARY && pair[1].0 - pair[0].0 > 5000;
        assert!(!lab.switches.windows(2).any(lasts), "{:?}", lab.switches);
    }
    let on_primary = lab.switches.iter().filter(|(_, to)| *to == PRIMARY).count();
    assert!(on_primary > 2, "it is tried again and again: {:?}", lab.switches);
    assert!(lab.now_ms - lab.switches.last().expect("some").0 < 10_000);
}

#[test]
fn a_command_for_a_dead_member_while_the_object_has_failed_ends_with_its_window() {
    for force in [false, true] {
        let mut lab = Lab::new("");
        lab.paths = [false, false];
        lab.run(20);
        assert_eq!((lab.members.active(), lab.failed()), (SECONDARY, [true, true]));
        lab.paths[SECONDARY] = true;
        if force {
            lab.members.force(PRIMARY).expect("its link is up");
        } else {
            lab.members.revert();
        }
        lab.poll();
        assert_eq!(lab.members.active(), PRIMARY);
        lab.run(1);
        // Of the secondary nothing is known any more after a revert; a force trusts the primary alone.
        lab.run(LOST_THRESHOLD as u64 + 1);
        assert!(lab.failed()[PRIMARY], "force {force}");
        let wanted = if force { PRIMARY } else { SECONDARY };
        assert_eq!(lab.members.active(), wanted, "force {force}");
    }
}

#[test]
fn a_failed_member_that_carries_on_and_answers_is_well_and_keeps_the_interface() {
    let mut lab = Lab::new("");
    lab.run(5);
    lab.paths[PRIMARY] = false;
    lab.run(5);
    assert_eq!((lab.members.active(), lab.failed()), (SECONDARY, [true, false]));
    lab.paths[PRIMARY] = true;
    lab.link(SECONDARY, false);
    lab.run(5);
    assert_eq!((lab.members.active(), lab.failed()), (PRIMARY, [false, false]));
    let before = lab.switches.len();
    lab.link(SECONDARY, true);
    lab.run(5);
    assert_eq!((lab.members.active(), lab.switches.len()), (PRIMARY, before));
}

#[test]
fn a_member_that_never_answered_is_shown_as_failed() {
    let mut lab = Lab::new("");
    lab.run(5);
    lab.paths = [false, false];
    lab.run(20);
    assert_eq!((lab.members.active(), lab.failed()), (SECONDARY, [true, true]));
    assert_eq!(lab.told, ["failed"]);
}

#[test]
fn what_was_lost_by_one_member_is_no_loss_of_the_other() {
    let mut lab = Lab::new("");
    lab.run(5);
    // Two of three are lost by the primary, and one by the secondary, until its switch has learned.
    lab.paths = [false, false];
    lab.run(2);
    lab.link(PRIMARY, false);
    assert_eq!(lab.members.active(), SECONDARY);
    lab.run(2);
    lab.paths[SECONDARY] = true;
    lab.run(10);
    assert_eq!(lab.failed(), [false, false]);
    assert_eq!(lab.told, [""; 0]);
}
