//! Service sets that come into redundancy sets and leave them: which roles workers are told, and that those of a standby are
//! read before the program that brings them.

mod common;

use std::sync::Arc;

use common::model::session;
use common::{WorkerEnds, program, rings};
use ha_sync::bridge::{Bridge, BridgeConfig, BridgeEvent, RedundancySet};
use ha_sync::chassis::{Chassis, PeerEvent};
use rtrb::Consumer;
use tandem_engine::program::{Program, ServiceSetId};
use tandem_engine::replica::{Op, Role};
use tandem_engine::ticks::Ticks;

struct Side {
    bridge: Bridge,
    program: Arc<Program>,
    /// Two workers' ends.
    workers: Vec<WorkerEnds>,
}

fn set(number: u8, service_sets: &[ServiceSetId]) -> RedundancySet {
    RedundancySet {
        number,
        service_sets: service_sets.to_vec(),
    }
}

impl Side {
    /// Set 1 with service set 1 is standby, set 2 with service set 2 primary.
    fn new() -> Self {
        let program = Arc::new(program());
        let (outboxes, inboxes, workers) = rings(2);
        let config = BridgeConfig {
            shards: 2,
            sets: vec![set(1, &[1]), set(2, &[2])],
            tick_zero_ms: 0,
        };
        let bridge = Bridge::new(config, Arc::clone(&program), outboxes, inboxes).expect("rings that fit");
        let mut side = Self {
            bridge,
            program,
            workers,
        };
        side.bridge.set_role(1, Role::Standby, 1);
        side.bridge.set_role(2, Role::Primary, 1);
        side.work();
        assert_eq!(side.events().len(), 2, "both roles are taken up");
        side
    }

    /// Workers take up what they are told, and say so.
    fn work(&mut self) {
        for (outbox, inbox) in &mut self.workers {
            while let Ok(op) = inbox.pop() {
                if let Op::Role {
                    service_set, epoch, ..
                } = op
                {
                    outbox.push(Op::RoleDone { service_set, epoch }).expect("room");
                }
            }
        }
        self.bridge.service(1000);
    }

    fn events(&mut self) -> Vec<BridgeEvent> {
        std::iter::from_fn(|| self.bridge.next_event()).collect()
    }

    fn commit(&mut self, sets: &[RedundancySet]) {
        self.bridge.set_program(Arc::clone(&self.program), sets.to_vec());
    }

    /// The roles that worker 0 is told, after it has read all; the other reads the same.
    fn read(&mut self) -> Vec<(ServiceSetId, Role)> {
        let roles = |inbox: &mut Consumer<Op>| {
            let all = std::iter::from_fn(|| inbox.pop().ok());
            let role = |op| match op {
                Op::Role {
                    service_set, role, ..
                } => Some((service_set, role)),
                _ => None,
            };
            all.filter_map(role).collect::<Vec<_>>()
        };
        let mut told = self.workers.iter_mut().map(|(_, inbox)| roles(inbox));
        let first = told.next().expect("a worker");
        assert!(told.all(|other| other == first));
        first
    }
}

#[test]
fn a_standby_knows_of_a_service_set_before_its_program_comes() {
    let mut side = Side::new();
    let sets = [set(1, &[1, 3]), set(2, &[2, 4]), set(7, &[5])];
    let joining = side.bridge.join(&sets);
    assert!(!side.bridge.has_joined(&joining));
    let told = side.workers[0].1.pop().expect("a role");
    assert!(matches!(
        told,
        Op::Role {
            service_set: 3,
            role: Role::Standby,
            ..
        }
    ));
    assert!(
        !side.bridge.has_joined(&joining),
        "nor the other role, nor the other worker"
    );
    while side.workers[0].1.pop().is_ok() {}
    assert!(!side.bridge.has_joined(&joining), "the other worker stands still");
    while side.workers[1].1.pop().is_ok() {}
    assert!(side.bridge.has_joined(&joining));
    // What comes later is not waited for.
    assert!(side.bridge.install(&Op::Session(session(1, 1, Ticks(5)))));
    assert!(side.bridge.has_joined(&joining));
    side.read();
    side.commit(&sets);
    // Service set 5 is what it was told to be until set 7 has its role.
    assert_eq!(side.read(), [(3, Role::Standby), (4, Role::Primary)]);
}

#[test]
fn new_sets_start_as_standby_and_members_of_primaries_are_not_touched_before() {
    let mut side = Side::new();
    let joining = side.bridge.join(&[set(1, &[1]), set(2, &[2, 4]), set(7, &[5])]);
    assert_eq!(side.read(), [(5, Role::Standby)]);
    assert!(side.bridge.has_joined(&joining));
    // Not changed: nothing to wait for.
    let joining = side.bridge.join(&[set(1, &[1]), set(2, &[2])]);
    assert!(side.bridge.has_joined(&joining));
}

#[test]
fn what_does_not_come_after_all_is_as_before() {
    let mut side = Side::new();
    // 2 moves from a primary set to a standby one, 9 comes from outside.
    let joining = side.bridge.join(&[set(1, &[1, 2, 9]), set(2, &[])]);
    assert_eq!(side.read(), [(2, Role::Standby), (9, Role::Standby)]);
    side.bridge.leave(&joining);
    assert_eq!(side.read(), [(2, Role::Primary), (9, Role::Primary)]);
}

#[test]
fn whatever_leaves_redundancy_is_primary() {
    let mut side = Side::new();
    side.commit(&[set(2, &[2])]);
    assert_eq!(side.read(), [(1, Role::Primary)]);
    // From a standby set to a primary one.
    let mut side = Side::new();
    side.commit(&[set(1, &[]), set(2, &[1, 2])]);
    assert_eq!(side.read(), [(1, Role::Primary)]);
}

#[test]
fn what_workers_lack_is_known_until_all_are_told_again() {
    let mut side = Side::new();
    assert!(!side.bridge.lacks());
    for (worker, lacks, any) in [
        (0, true, true),
        (1, true, true),
        (0, false, true),
        (1, false, false),
    ] {
        side.workers[worker].0.push(Op::Lacks(lacks)).expect("room");
        side.bridge.service(1000);
        assert_eq!(side.bridge.lacks(), any);
    }
    // The same while somebody listens, and it goes to no peer.
    side.bridge.peer(PeerEvent::Connected { new_bulk: Some(1) });
    side.work();
    side.workers[1].0.push(Op::Lacks(true)).expect("room");
    while side.bridge.next().is_some() {}
    assert!(side.bridge.lacks());
}

#[test]
fn a_change_that_a_commit_comes_in_between_is_done_all_the_same() {
    let mut side = Side::new();
    side.commit(&[set(1, &[1, 3])]);
    side.bridge.set_role(1, Role::Primary, 2);
    // Service set 1 leaves; its answer would be waited for for ever.
    side.commit(&[set(1, &[3])]);
    side.work();
    let events = side.events();
    assert!(
        matches!(events.as_slice(), [BridgeEvent::RoleDone(done)] if done.primary && done.epoch == 2),
        "{events:?}"
    );
}
