//! The order of actions, with hands that only write down what they are told.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::work::Work;
use super::*;
use crate::guard::Undo;
use crate::kernel::{
    ANNOUNCE_INTERVAL, AnnounceError, KernelError, KernelRoute, KernelTarget, SignalRoute, SignalTable,
    SignalTarget, VirtualAddress,
};
use crate::track_file::TrackFileError;

const RETRY: Duration = Duration::from_secs(1);

/// What was done, and what fails.
#[derive(Default)]
struct Book {
    steps: Vec<String>,
    /// Prefixes and addresses that the kernel refuses.
    refused: Vec<String>,
    /// Addresses that are there: what is put in again is not new, as in the kernel.
    there: Vec<String>,
    listed: Undo,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Book>>);

impl Fake {
    fn steps(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic").steps)
    }

    fn refuse(&self, what: &[&str]) {
        self.0.lock().expect("no panic").refused = what.iter().map(|w| (*w).to_owned()).collect();
    }

    fn do_it(&self, verb: &str, what: String) -> Result<bool, KernelError> {
        let mut book = self.0.lock().expect("no panic");
        if book.refused.contains(&what) {
            return Err(KernelError::NoDevice(what));
        }
        book.steps.push(format!("{verb} {what}"));
        Ok(true)
    }

    /// What goes in is on the guard's list already.
    fn is_listed(&self, found: impl FnOnce(&Undo) -> bool) {
        assert!(
            found(&self.0.lock().expect("no panic").listed),
            "the guard does not know"
        );
    }
}

fn kernel_route(route: &SignalRoute) -> KernelRoute {
    KernelRoute {
        prefix: route.prefix,
        table: 254,
        target: KernelTarget::Discard,
        metric: route.metric,
    }
}

impl Hands for Fake {
    fn list(&mut self, undo: Undo) {
        self.0.lock().expect("no panic").listed = undo;
    }

    fn prepare(&mut self, _device: &str) -> Result<(), AnnounceError> {
        Ok(())
    }

    fn resolve(&mut self, route: &SignalRoute) -> Result<KernelRoute, SignalRouteError> {
        Ok(kernel_route(route))
    }

    fn put_route(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError> {
        self.is_listed(|undo| undo.routes.contains(route));
        Ok(self.do_it("put", route.prefix.to_string())?)
    }

    fn take_route(&mut self, route: &KernelRoute) -> Result<bool, SignalRouteError> {
        Ok(self.do_it("take", route.prefix.to_string())?)
    }

    fn put_address(&mut self, planned: &PlannedAddress) -> Result<bool, KernelError> {
        self.is_listed(|undo| undo.addresses.contains(&planned.address));
        let address = planned.address.address.to_string();
        self.do_it("put", address.clone())?;
        let there = &mut self.0.lock().expect("no panic").there;
        let is_new = !there.contains(&address);
        if is_new {
            there.push(address);
        }
        Ok(is_new)
    }

    fn take_address(&mut self, planned: &PlannedAddress) -> Result<bool, KernelError> {
        let address = planned.address.address.to_string();
        self.do_it("take", address.clone())?;
        self.0
            .lock()
            .expect("no panic")
            .there
            .retain(|there| *there != address);
        Ok(true)
    }

    fn hide_port(&mut self, port: &PlannedPort, hidden: bool) -> Result<(), KernelError> {
        let verb = if hidden { "hide" } else { "show" };
        self.do_it(verb, port.interface.clone()).map(|_| ())
    }

    fn announce(&mut self, planned: &PlannedAddress) -> Result<(), AnnounceError> {
        let done = self.do_it("announce", planned.address.address.to_string());
        done.map(|_| ())
            .map_err(|_| AnnounceError::NoDevice(planned.device.clone()))
    }

    fn put_track_file(&mut self, path: &Path, is_primary: bool) -> Result<bool, TrackFileError> {
        self.is_listed(|undo| undo.track_files.iter().any(|listed| listed == path));
        let word = if is_primary { "primary" } else { "not-primary" };
        self.do_it(word, path.display().to_string())
            .map_err(|_| TrackFileError {
                path: path.to_owned(),
                source: std::io::ErrorKind::PermissionDenied.into(),
            })
    }

    fn sweep(&mut self) -> Result<(), SignalRouteError> {
        Ok(self.do_it("sweep", String::new()).map(|_| ())?)
    }
}

fn route(prefix: &str, when: When) -> PlannedRoute {
    PlannedRoute {
        route: SignalRoute {
            prefix: prefix.parse().expect("a prefix"),
            table: SignalTable::Number(254),
            target: SignalTarget::Discard,
            metric: None,
        },
        when: Presence::While(when),
    }
}

fn plan(set: u8, address: [u8; 4], routes: Vec<PlannedRoute>) -> SetPlan {
    let address = PlannedAddress {
        device: "p0".into(),
        address: VirtualAddress {
            ifindex: 7,
            address: IpAddr::from(address),
            length: 24,
        },
    };
    SetPlan {
        set,
        addresses: vec![address],
        routes,
        ports: Vec::new(),
        announcements: 3,
        track_file: None,
    }
}

fn role(set: u8, is_primary: bool, epoch: u64) -> Order {
    Order::Role {
        set,
        is_primary,
        epoch,
    }
}

/// Work on set 1 with an address and a route for each occasion.
fn prepared() -> (Fake, Work<Fake>) {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let routes = vec![
        route("10.1.0.0/16", When::Primary),
        route("10.2.0.0/16", When::Standby),
        route("10.3.0.0/16", When::Event("uplink".into())),
    ];
    assert!(!work.take_in(Order::Plans(vec![plan(1, [192, 0, 2, 1], routes)])));
    work.act(Instant::now(), RETRY);
    assert_eq!(fake.steps(), [""; 0], "no role, nothing to do");
    (fake, work)
}

fn done(work: &mut Work<Fake>, fake: &Fake, orders: Vec<Order>) -> Vec<String> {
    for order in orders {
        assert!(!work.take_in(order));
    }
    work.act(Instant::now(), RETRY);
    fake.steps()
}

/// Two chassis never answer for an address; two ways to a prefix are better than none.
#[test]
fn who_hands_over_takes_its_addresses_out_at_once_and_its_routes_later() {
    let (fake, mut work) = prepared();
    done(&mut work, &fake, vec![role(1, true, 2)]);
    let leaving = || vec![Order::Leaving { set: 1 }];
    assert_eq!(done(&mut work, &fake, leaving()), ["take 192.0.2.1"]);
    // A look brings nothing back.
    assert_eq!(done(&mut work, &fake, vec![Order::Assert]), [""; 0]);
    assert_eq!(
        done(&mut work, &fake, vec![role(1, false, 3)]),
        ["take 10.1.0.0/16", "put 10.2.0.0/16"]
    );
    // It gets the role back before it has withdrawn.
    done(&mut work, &fake, vec![role(1, true, 4)]);
    done(&mut work, &fake, leaving());
    let back = done(&mut work, &fake, vec![role(1, true, 5)]);
    assert_eq!(
        back.get(..2),
        Some(&["put 192.0.2.1".into(), "announce 192.0.2.1".into()][..]),
        "{back:?}"
    );
}

#[test]
fn the_new_primary_answers_and_announces_before_its_routes_change_and_the_loser_withdraws_routes_first() {
    let (fake, mut work) = prepared();
    assert_eq!(
        done(&mut work, &fake, vec![role(1, false, 1)]),
        ["put 10.2.0.0/16"]
    );
    assert_eq!(
        done(&mut work, &fake, vec![role(1, true, 2)]),
        [
            "put 192.0.2.1",
            "announce 192.0.2.1",
            "put 10.1.0.0/16",
            "take 10.2.0.0/16"
        ]
    );
    let actions = &work.results()[&1];
    assert_eq!((actions.is_primary, actions.epoch), (Some(true), 2));
    assert_eq!((actions.routes.len(), actions.addresses.len()), (1, 1));
    assert_eq!(actions.failures, [""; 0]);
    assert_eq!(
        done(&mut work, &fake, vec![role(1, false, 3)]),
        ["take 10.1.0.0/16", "put 10.2.0.0/16", "take 192.0.2.1"]
    );
    assert_eq!(work.results()[&1].addresses, []);
    assert_eq!(
        fake.0.lock().expect("no panic").listed.addresses,
        [],
        "nothing left to undo"
    );
}

#[test]
fn a_role_that_comes_before_its_plan_is_carried_out_with_it() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let early = vec![role(1, true, 4), role(1, false, 3)];
    assert!(done(&mut work, &fake, early).is_empty());
    let plans = Order::Plans(vec![plan(1, [192, 0, 2, 1], Vec::new())]);
    let steps = done(&mut work, &fake, vec![plans]);
    assert_eq!(steps, ["put 192.0.2.1", "announce 192.0.2.1"]);
    assert_eq!(work.results()[&1].epoch, 4);
}

#[test]
fn only_the_latest_role_counts_and_an_old_epoch_does_not() {
    let (fake, mut work) = prepared();
    let orders = vec![
        role(1, true, 5),
        role(1, false, 6),
        role(1, true, 4),
        role(9, true, 1),
    ];
    assert_eq!(done(&mut work, &fake, orders), ["put 10.2.0.0/16"]);
    assert_eq!(work.results()[&1].epoch, 6);
}

/// What was done with routes; addresses are made sure of beside that.
fn routes_done(work: &mut Work<Fake>, fake: &Fake, orders: Vec<Order>) -> Vec<String> {
    let mut steps = done(work, fake, orders);
    steps.retain(|step| step.contains('/'));
    steps
}

fn metrics(work: &Work<Fake>) -> Vec<Option<u32>> {
    work.results()[&1]
        .routes
        .iter()
        .map(|route| route.metric)
        .collect()
}

#[test]
fn a_primary_s_routes_have_the_metric_of_its_epoch_and_one_of_an_older_epoch_goes_first() {
    let (fake, mut work) = prepared();
    done(&mut work, &fake, vec![role(1, false, 1)]);
    assert_eq!(metrics(&work), [None], "a standby's has the usual one");
    done(&mut work, &fake, vec![role(1, true, 2)]);
    assert_eq!(metrics(&work), [Some(16_777_213)]);
    assert_eq!(
        routes_done(&mut work, &fake, vec![role(1, true, 2), Order::Assert]),
        ["put 10.1.0.0/16"],
        "the same epoch: it is made sure that it is there"
    );
    let steps = routes_done(&mut work, &fake, vec![role(1, true, 4)]);
    assert_eq!(steps, ["take 10.1.0.0/16", "put 10.1.0.0/16"]);
    assert_eq!(metrics(&work), [Some(16_777_211)]);
    let listed = fake.0.lock().expect("no panic").listed.clone();
    assert_eq!(
        listed.routes,
        work.results()[&1].routes,
        "the guard has this one only"
    );
}

#[test]
fn a_configured_metric_stays_whatever_the_epoch() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let mut fixed = route("10.1.0.0/16", When::Primary);
    fixed.route.metric = Some(7);
    work.take_in(Order::Plans(vec![plan(1, [192, 0, 2, 1], vec![fixed])]));
    done(&mut work, &fake, vec![role(1, true, 1)]);
    assert_eq!(metrics(&work), [Some(7)]);
    assert_eq!(
        routes_done(&mut work, &fake, vec![role(1, true, 2)]),
        ["put 10.1.0.0/16"]
    );
    assert_eq!(metrics(&work), [Some(7)]);
}

#[test]
fn what_a_standby_has_in_a_primary_s_place_goes_before_the_primary_s_comes() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let both = vec![
        route("10.1.0.0/16", When::Primary),
        route("10.1.0.0/16", When::Standby),
    ];
    work.take_in(Order::Plans(vec![plan(1, [192, 0, 2, 1], both)]));
    done(&mut work, &fake, vec![role(1, false, 1)]);
    let steps = done(&mut work, &fake, vec![role(1, true, 2)]);
    assert_eq!(steps[2..], ["take 10.1.0.0/16", "put 10.1.0.0/16"]);
    assert_eq!(metrics(&work), [Some(16_777_213)]);
}

#[test]
fn a_route_without_events_is_there_once_they_are_looked_at_and_none_is_active() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let unless = PlannedRoute {
        when: Presence::NoEvent("uplink".into()),
        ..route("10.4.0.0/16", When::Primary)
    };
    let mut planned = plan(
        1,
        [192, 0, 2, 1],
        vec![unless, route("10.3.0.0/16", When::Event("uplink".into()))],
    );
    planned.addresses.clear();
    let policy = |name: &str, is_active| {
        vec![Order::Policy {
            name: name.to_owned(),
            is_active,
        }]
    };
    let mut there = |orders: Vec<Order>| -> Vec<String> {
        done(&mut work, &fake, orders);
        let routes = &work.results()[&1].routes;
        routes.iter().map(|route| route.prefix.to_string()).collect()
    };
    let watched = |names: &[&str]| {
        vec![Order::Watched(
            names.iter().map(|name| (*name).to_owned()).collect(),
        )]
    };
    let plans = || Order::Plans(vec![planned.clone()]);
    assert_eq!(there(vec![plans()]), [""; 0], "nobody has looked yet");
    assert_eq!(there(policy("uplink", true)), ["10.3.0.0/16"]);
    assert_eq!(there(watched(&["uplink"])), ["10.3.0.0/16"], "active at start");
    assert_eq!(there(policy("uplink", false)), ["10.4.0.0/16"]);
    // A reload that takes the policy out, and one that brings it back: whoever of the two speaks first.
    assert_eq!(there(watched(&[])), [""; 0]);
    assert_eq!(there(vec![plans()]), [""; 0]);
    assert_eq!(there(watched(&["uplink", "other"])), ["10.4.0.0/16"]);
    assert_eq!(there(vec![plans()]), ["10.4.0.0/16"]);
    assert_eq!(there(policy("other", true)), ["10.4.0.0/16"]);
    for (is_primary, epoch) in [(false, 1), (true, 2)] {
        assert_eq!(
            there(vec![role(1, is_primary, epoch)]),
            ["10.4.0.0/16"],
            "whatever the role"
        );
        assert_eq!(there(policy("uplink", true)), ["10.3.0.0/16"]);
        assert_eq!(there(policy("uplink", false)), ["10.4.0.0/16"]);
    }
    assert_eq!(
        done(&mut work, &fake, vec![Order::Plans(Vec::new())]),
        ["take 10.4.0.0/16"],
        "it goes with its set"
    );
}

#[test]
fn a_role_that_comes_before_its_set_is_carried_out_with_it() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let orders = vec![role(1, false, 0), role(1, true, 1)];
    assert_eq!(done(&mut work, &fake, orders), [""; 0]);
    let plans = || {
        Order::Plans(vec![plan(
            1,
            [192, 0, 2, 1],
            vec![route("10.2.0.0/16", When::Standby)],
        )])
    };
    assert_eq!(
        done(&mut work, &fake, vec![plans()]),
        ["put 192.0.2.1", "announce 192.0.2.1"]
    );
    // It goes, not wholly, and comes back: its epochs begin anew.
    fake.refuse(&["192.0.2.1"]);
    assert_eq!(done(&mut work, &fake, vec![Order::Plans(Vec::new())]), [""; 0]);
    fake.refuse(&[]);
    let again = done(&mut work, &fake, vec![role(1, false, 0), plans()]);
    assert_eq!(again, ["put 10.2.0.0/16", "take 192.0.2.1"]);
}

fn tracked(set: u8, path: &str) -> SetPlan {
    SetPlan {
        track_file: Some(path.into()),
        ..plan(set, [192, 0, 2, set], vec![route("10.1.0.0/16", When::Primary)])
    }
}

#[test]
fn the_tracking_file_is_last_of_a_primary_and_first_of_a_loser_and_stale_until_there_is_a_role() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let plans = Order::Plans(vec![tracked(1, "/f")]);
    assert_eq!(done(&mut work, &fake, vec![plans]), ["not-primary /f"]);
    let steps = done(&mut work, &fake, vec![role(1, true, 1)]);
    assert_eq!(
        steps,
        [
            "put 192.0.2.1",
            "announce 192.0.2.1",
            "put 10.1.0.0/16",
            "primary /f"
        ]
    );
    assert_eq!(work.results()[&1].track_file, Some(("/f".into(), true)));
    let steps = done(&mut work, &fake, vec![role(1, false, 2)]);
    assert_eq!(steps, ["not-primary /f", "take 10.1.0.0/16", "take 192.0.2.1"]);
    done(&mut work, &fake, vec![role(1, true, 3)]);
    let steps = done(&mut work, &fake, vec![Order::Plans(Vec::new())]);
    assert_eq!(steps, ["not-primary /f", "take 10.1.0.0/16", "take 192.0.2.1"]);
    assert_eq!(work.results().len(), 0, "nothing of it is left");
}

#[test]
fn a_tracking_file_that_cannot_be_written_is_a_failure_and_tried_again() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    fake.refuse(&["/f"]);
    work.take_in(Order::Plans(vec![tracked(1, "/f")]));
    done(&mut work, &fake, vec![role(1, true, 1)]);
    let told = work.results()[&1].failures.concat();
    assert!(told.contains("tracking file /f: permission denied"), "{told}");
    assert_eq!(work.results()[&1].track_file, None);
    fake.refuse(&[]);
    work.act(Instant::now() + RETRY, RETRY);
    assert_eq!(work.results()[&1].track_file, Some(("/f".into(), true)));
    assert_eq!(work.results()[&1].failures, [""; 0]);
    // A set that goes stays until its file says so.
    fake.refuse(&["/f"]);
    done(&mut work, &fake, vec![Order::Plans(Vec::new())]);
    assert_eq!(work.results()[&1].track_file, Some(("/f".into(), true)));
    fake.refuse(&[]);
    fake.steps();
    work.act(Instant::now() + RETRY + RETRY, RETRY);
    assert_eq!(fake.steps(), ["not-primary /f"]);
    assert_eq!(work.results().len(), 0);
}

#[test]
fn a_tracking_file_that_moves_to_another_set_is_that_one_s_alone() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    work.take_in(Order::Plans(vec![tracked(1, "/f"), tracked(2, "/g")]));
    done(&mut work, &fake, vec![role(1, true, 1), role(2, true, 1)]);
    let swapped = Order::Plans(vec![tracked(1, "/g"), tracked(2, "/h")]);
    let mut steps = done(&mut work, &fake, vec![swapped]);
    steps.retain(|step| step.contains("primary"));
    assert_eq!(steps, ["not-primary /f", "primary /g", "primary /h"]);
    let listed = fake.0.lock().expect("no panic").listed.track_files.clone();
    assert_eq!(listed, [Path::new("/g"), Path::new("/h")]);
}

#[test]
fn a_policy_s_event_changes_its_routes_whatever_the_role() {
    let (fake, mut work) = prepared();
    let event = |is_active| Order::Policy {
        name: "uplink".into(),
        is_active,
    };
    assert_eq!(done(&mut work, &fake, vec![event(true)]), ["put 10.3.0.0/16"]);
    assert_eq!(done(&mut work, &fake, vec![event(true)]), [""; 0]);
    assert_eq!(done(&mut work, &fake, vec![event(false)]), ["take 10.3.0.0/16"]);
}

#[test]
fn announcements_are_spaced_counted_and_end_with_the_role() {
    let (fake, mut work) = prepared();
    done(&mut work, &fake, vec![role(1, true, 1)]);
    let begun = Instant::now();
    let due = work.next_due(RETRY).expect("there is more to announce");
    assert!(due > begun && due <= begun + ANNOUNCE_INTERVAL);
    work.act(begun, RETRY);
    assert_eq!(fake.steps(), [""; 0], "not yet");
    work.act(begun + ANNOUNCE_INTERVAL, RETRY);
    assert_eq!(fake.steps(), ["announce 192.0.2.1"]);
    work.act(begun + 2 * ANNOUNCE_INTERVAL, RETRY);
    assert_eq!(fake.steps(), ["announce 192.0.2.1"]);
    assert_eq!(work.next_due(RETRY), None, "three in all");
    done(&mut work, &fake, vec![role(1, false, 2), Order::Assert]);
    done(&mut work, &fake, vec![role(1, true, 3)]);
    done(&mut work, &fake, vec![role(1, false, 4)]);
    assert_eq!(work.next_due(RETRY), None, "a standby announces nothing");
}

#[test]
fn a_primary_announces_again_when_nobody_else_answers_any_more() {
    let (fake, mut work) = prepared();
    let announce = || vec![Order::Announce { set: 1 }];
    let announced = |steps: Vec<String>| steps.iter().filter(|step| *step == "announce 192.0.2.1").count();
    assert_eq!(
        announced(done(&mut work, &fake, announce())),
        0,
        "it is not primary"
    );
    done(&mut work, &fake, vec![role(1, true, 1)]);
    let again = |orders| {
        while let Some(due) = work.next_due(RETRY) {
            work.act(due, RETRY);
        }
        fake.steps();
        let begun = announced(done(&mut work, &fake, orders));
        while let Some(due) = work.next_due(RETRY) {
            work.act(due, RETRY);
        }
        begun + announced(fake.steps())
    };
    let orders = [announce(), vec![Order::Assert], vec![Order::Announce { set: 2 }]];
    assert_eq!(orders.map(again), [3, 0, 0]);
}

#[test]
fn what_fails_is_told_does_not_hold_up_the_rest_and_is_tried_again() {
    let (fake, mut work) = prepared();
    fake.refuse(&["10.1.0.0/16", "192.0.2.1"]);
    assert_eq!(done(&mut work, &fake, vec![role(1, true, 1)]), [""; 0]);
    let failures = work.results()[&1].failures.clone();
    assert_eq!(failures.len(), 2);
    assert!(
        failures[0].contains("192.0.2.1") && failures[1].contains("10.1.0.0/16"),
        "{failures:?}"
    );
    let due = work.next_due(RETRY).expect("it is tried again");
    work.act(due, RETRY);
    assert_eq!(work.results()[&1].failures.len(), 2);
    fake.refuse(&[]);
    work.act(due, RETRY);
    assert_eq!(fake.steps(), [""; 0], "not yet");
    work.act(due + RETRY, RETRY);
    assert_eq!(
        fake.steps(),
        ["put 192.0.2.1", "announce 192.0.2.1", "put 10.1.0.0/16"]
    );
    assert_eq!(work.results()[&1].failures, [""; 0]);
}

#[test]
fn what_cannot_be_taken_out_stays_known_to_the_guard() {
    let (fake, mut work) = prepared();
    done(&mut work, &fake, vec![role(1, true, 1)]);
    fake.refuse(&["10.1.0.0/16"]);
    assert_eq!(
        done(&mut work, &fake, vec![role(1, false, 2)]),
        ["put 10.2.0.0/16", "take 192.0.2.1"]
    );
    let listed = fake.0.lock().expect("no panic").listed.clone();
    assert_eq!(listed.routes.len(), 2, "{listed:?}");
    assert_eq!(work.results()[&1].routes.len(), 2);
}

#[test]
fn a_route_of_two_sets_stays_until_both_have_lost() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let shared = || vec![route("10.1.0.0/16", When::Primary)];
    let plans = vec![
        plan(1, [192, 0, 2, 1], shared()),
        plan(2, [192, 0, 2, 2], shared()),
    ];
    work.take_in(Order::Plans(plans));
    done(&mut work, &fake, vec![role(1, true, 1), role(2, true, 1)]);
    assert_eq!(
        done(&mut work, &fake, vec![role(1, false, 2)]),
        ["take 192.0.2.1"]
    );
    let last = done(&mut work, &fake, vec![role(2, false, 2)]);
    assert_eq!(last, ["take 10.1.0.0/16", "take 192.0.2.2"]);
}

#[test]
fn losers_come_before_winners_and_a_set_that_is_configured_no_more_is_cleared() {
    let fake = Fake::default();
    let mut work = Work::new(fake.clone());
    let plans = || vec![plan(1, [192, 0, 2, 1], vec![]), plan(2, [192, 0, 2, 2], vec![])];
    work.take_in(Order::Plans(plans()));
    done(&mut work, &fake, vec![role(1, false, 1), role(2, true, 1)]);
    assert_eq!(
        done(&mut work, &fake, vec![role(1, true, 2), role(2, false, 2)]),
        ["take 192.0.2.2", "put 192.0.2.1", "announce 192.0.2.1"]
    );
    let left = plans().split_off(1);
    assert_eq!(
        done(&mut work, &fake, vec![Order::Plans(left)]),
        ["take 192.0.2.1"]
    );
    assert_eq!(work.results().into_keys().collect::<Vec<_>>(), [2]);
}

#[test]
fn the_thread_takes_orders_and_withdraws_everything_at_its_end() {
    let fake = Fake::default();
    let srd = Srd::with(fake.clone()).expect("a thread");
    let orders = srd.orders();
    let routes = vec![route("10.1.0.0/16", When::Primary)];
    orders.give(Order::Plans(vec![plan(1, [192, 0, 2, 1], routes)]));
    orders.give(role(1, true, 7));
    let deadline = Instant::now() + Duration::from_secs(30);
    while srd.results().get(&1).map(|actions| actions.epoch) != Some(7) {
        assert!(Instant::now() < deadline, "the order is carried out");
        std::thread::yield_now();
    }
    assert!(srd.is_alive());
    srd.stop();
    assert!(!srd.is_alive());
    let steps = fake.steps();
    let end = ["take 10.1.0.0/16", "take 192.0.2.1", "sweep "];
    assert!(
        steps
            .iter()
            .rev()
            .zip(end.iter().rev())
            .all(|(step, end)| step == end),
        "{steps:?}"
    );
    orders.give(role(1, false, 8));
}

#[test]
fn what_the_kernel_has_dropped_is_put_in_again_without_an_order() {
    let fake = Fake::default();
    let srd = Srd::with(fake.clone()).expect("a thread");
    let orders = srd.orders();
    orders.give(Order::Plans(vec![plan(1, [192, 0, 2, 1], vec![])]));
    orders.give(role(1, true, 7));
    let deadline = Instant::now() + Duration::from_secs(60);
    let puts = |fake: &Fake| {
        let steps = &fake.0.lock().expect("no panic").steps;
        steps.iter().filter(|step| *step == "put 192.0.2.1").count()
    };
    while puts(&fake) < 2 {
        assert!(Instant::now() < deadline, "nobody looks after it");
        std::thread::sleep(Duration::from_millis(10));
    }
    srd.stop();
}

#[test]
fn ports_of_a_set_that_is_not_primary_are_hidden_last_and_shown_first() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut work = Work::new(fake.clone());
    let mut planned = plan(1, [10, 0, 0, 1], vec![route("192.0.2.1/32", When::Primary)]);
    planned.ports = vec![PlannedPort {
        interface: "in".into(),
        ifindex: 4,
    }];
    let role = |is_primary, epoch| Order::Role {
        set: 1,
        is_primary,
        epoch,
    };
    work.take_in(Order::Plans(vec![planned.clone()]));
    work.act(now, RETRY);
    assert_eq!(fake.steps(), ["hide in"], "nobody has said that it is primary");
    work.take_in(role(true, 1));
    work.act(now, RETRY);
    let steps = fake.steps();
    assert_eq!(steps.first().map(String::as_str), Some("show in"), "{steps:?}");
    assert!(work.results()[&1].hidden.is_empty());
    work.take_in(role(false, 2));
    work.act(now, RETRY);
    let steps = fake.steps();
    assert_eq!(steps.last().map(String::as_str), Some("hide in"), "{steps:?}");
    assert_eq!(work.results()[&1].hidden, planned.ports);
    // A reload takes the key back.
    planned.ports.clear();
    work.take_in(Order::Plans(vec![planned]));
    work.act(now, RETRY);
    assert_eq!(fake.steps().first().map(String::as_str), Some("show in"));
}
