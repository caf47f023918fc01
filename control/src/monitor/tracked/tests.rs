//! What is told of objects, second by second.

use super::*;
use crate::config;

fn redundancy(keys: &str) -> Redundancy {
    let text = format!(
        "[interfaces.a]\ndevice = \"net_ring0\"\naddresses = [\"10.0.0.1/24\"]\n[tracked-ips.t]\n{keys}"
    );
    config::parse(&text, "t.toml")
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
        .redundancy
}

const TWO: &str =
    "addresses = [{ address = \"10.0.0.7\", weight = 2 }, { address = \"10.0.0.8\" }]\nthreshold = 3\n";

/// Polls second by second; `answers` says who does. The times at which something was seen.
fn run(tracker: &mut Tracker, from_s: u64, to_s: u64, answers: impl Fn(u64, &IpAddr) -> bool) -> Vec<String> {
    let mut told = Vec::new();
    for now_ms in (from_s * 1000..to_s * 1000).step_by(100) {
        let (mut probes, mut seen) = (Vec::new(), Vec::new());
        tracker.poll(now_ms, &mut probes, &mut seen);
        for probe in probes {
            if answers(now_ms, &probe.to.address) {
                tracker.answered(probe.to.address, probe.id, probe.sequence, &mut seen);
            }
        }
        told.extend(seen.into_iter().map(|one| match one {
            Observation::Failed(_, text) => format!("{now_ms} failed {text}"),
            Observation::Well(_, text) => format!("{now_ms} well {text}"),
            Observation::Happened(_, text) => format!("{now_ms} happened {text}"),
        }));
    }
    told
}

#[test]
fn an_object_fails_when_the_weights_of_its_lost_addresses_reach_its_threshold() {
    let mut tracker = Tracker::new(0, &redundancy(TWO));
    let eight = |_: u64, address: &IpAddr| address.to_string() == "10.0.0.8";
    assert_eq!(run(&mut tracker, 0, 10, |_, _| true), [""; 0]);
    assert_eq!(run(&mut tracker, 10, 20, eight), [""; 0], "2 of 3");
    let told = run(&mut tracker, 20, 30, |_, _| false);
    assert_eq!(
        told,
        ["23500 failed tracked IP t: 10.0.0.8 does not answer (3 of 3 lost)"]
    );
    let told = run(&mut tracker, 30, 40, |_, _| true);
    assert_eq!(told, ["30000 well tracked IP t: 10.0.0.7 answers (1 of 3 lost)"]);
}

#[test]
fn an_address_is_lost_after_so_many_losses_in_a_row_and_not_before() {
    let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\nlost-threshold = 3\n";
    let mut tracker = Tracker::new(0, &redundancy(keys));
    // Two of three are lost, for a hundred times.
    assert_eq!(
        run(&mut tracker, 0, 300, |now_ms, _| now_ms / 1000 % 3 == 0),
        [""; 0]
    );
    let told = run(&mut tracker, 300, 310, |_, _| false);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn late_answers_count_and_foreign_ones_do_not() {
    let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\nlost-threshold = 3\n";
    let mut tracker = Tracker::new(0, &redundancy(keys));
    let (address, stranger): (IpAddr, IpAddr) = ([10, 0, 0, 7].into(), [10, 0, 0, 9].into());
    let mut seen = Vec::new();
    tracker.answered(address, 0, 0, &mut seen);
    let mut probes = Vec::new();
    for second in 0..100u64 {
        tracker.poll(second * 1000, &mut probes, &mut seen);
        // The answer is two probes late.
        if let Some(late) = second.checked_sub(2) {
            tracker.answered(address, 0, late as u16 + 1, &mut seen);
        }
    }
    assert_eq!(seen, []);
    for second in 100..110u64 {
        tracker.poll(second * 1000, &mut probes, &mut seen);
        let last = probes.last().expect("one").sequence;
        tracker.answered(stranger, 0, last, &mut seen);
        tracker.answered(address, 1, last, &mut seen);
        tracker.answered(address, 0, last.wrapping_sub(3), &mut seen);
        tracker.answered(address, 0, last.wrapping_add(1), &mut seen);
    }
    assert!(matches!(&seen[..], [Observation::Failed(..)]), "{seen:?}");
}

#[test]
fn a_neighbour_answers_by_its_address_and_interface() {
    let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\nmethod = \"neighbour\"\n";
    let mut tracker = Tracker::new(0, &redundancy(keys));
    let (mut probes, mut seen) = (Vec::new(), Vec::new());
    for second in 0..10u64 {
        tracker.poll(second * 1000, &mut probes, &mut seen);
        tracker.neighbour_answered([10, 0, 0, 7].into(), "a", &mut seen);
    }
    assert_eq!(seen, []);
    for second in 10..20u64 {
        tracker.poll(second * 1000, &mut probes, &mut seen);
        tracker.neighbour_answered([10, 0, 0, 7].into(), "b", &mut seen);
        tracker.neighbour_answered([10, 0, 0, 8].into(), "a", &mut seen);
    }
    assert!(matches!(&seen[..], [Observation::Failed(..)]), "{seen:?}");
}

#[test]
fn a_pause_is_followed_by_one_probe_and_not_by_a_burst() {
    let keys = "addresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\n";
    let mut tracker = Tracker::new(0, &redundancy(keys));
    let (mut probes, mut seen) = (Vec::new(), Vec::new());
    tracker.poll(0, &mut probes, &mut seen);
    for now_ms in (60_000..60_500).step_by(50) {
        tracker.poll(now_ms, &mut probes, &mut seen);
    }
    assert_eq!(probes.len(), 2);
}

#[test]
fn a_reload_keeps_what_is_lost_and_judges_anew() {
    let mut tracker = Tracker::new(0, &redundancy(TWO));
    let told = run(&mut tracker, 0, 10, |_, _| false);
    assert_eq!(told.len(), 1, "{told:?}");
    let mut seen = Vec::new();
    tracker.reload(
        10_000,
        &redundancy(&TWO.replace("threshold = 3", "threshold = 4")),
        &mut seen,
    );
    assert!(matches!(&seen[..], [Observation::Well(..)]), "{seen:?}");
    seen.clear();
    tracker.reload(10_000, &redundancy(TWO), &mut seen);
    assert!(matches!(&seen[..], [Observation::Failed(..)]), "{seen:?}");
}
