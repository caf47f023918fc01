use std::sync::mpsc::{Receiver, TryRecvError, channel};

use tandem_engine::replica::SetRole;

use super::*;

mod automatic;

pub(super) const SET: u8 = 1;

/// A chassis whose workers take a role up when the test says so, and what its peer is told.
pub(super) struct Chassis {
    pub ours: SetRole,
    pub theirs: Option<SetRole>,
    pub peer: Peer,
    pub lack: Option<Lack>,
    pub asked: u32,
    /// The channel takes nothing at the moment.
    pub is_stuck: bool,
    pub released: Vec<u64>,
    pub refused: u32,
    pub drained: Vec<Drain>,
}

pub(super) const fn role(primary: bool, epoch: u64) -> SetRole {
    SetRole {
        set: SET,
        primary,
        epoch,
    }
}

pub(super) const IN_STEP: Peer = Peer::There { knows_all: true };
const BEHIND: Peer = Peer::There { knows_all: false };

impl Hands for Chassis {
    fn role(&self, set: u8) -> Option<SetRole> {
        (set == SET).then_some(self.ours)
    }
    fn peer(&self) -> Peer {
        self.peer
    }
    fn lack(&self) -> Option<Lack> {
        self.lack
    }
    fn peer_role(&self, set: u8) -> Option<SetRole> {
        self.theirs.filter(|_| set == SET)
    }
    fn drain(&mut self, _: u8, step: Drain) {
        self.drained.push(step);
    }
    fn take_up(&mut self, _: u8, role: Role, epoch: u64) {
        self.ours.primary = role == Role::Primary;
        self.ours.epoch = epoch;
    }
    fn adopt(&mut self, _: u8, epoch: u64) {
        self.ours.epoch = epoch;
    }
    fn yield_to(&mut self, _: u8, epoch: u64) {
        self.ours = role(false, epoch);
    }
    fn ask(&mut self, _: u8) -> bool {
        self.asked += 1;
        self.peer.is_there() && !self.is_stuck
    }
    fn released(&mut self, _: u8, epoch: u64) -> bool {
        self.released.push(epoch);
        self.peer.is_there()
    }
    fn refuse(&mut self, _: u8) {
        self.refused += 1;
    }
}

pub(super) struct Bench {
    pub chassis: Chassis,
    pub roles: Roles,
    pub history: Vec<Event>,
}

pub(super) type Answered = Result<RoleChange, RoleError>;

impl Bench {
    /// A set that has its role since long, beside a peer with a role.
    pub(super) fn new(start: Role, peer: Peer, theirs: Option<SetRole>) -> Self {
        let mut bench = Self::started(start, Peer::Gone, None);
        bench.tick(0);
        bench.tick(5000);
        bench.workers_take_it_up(5000);
        bench.chassis.ours.epoch = 1;
        (bench.chassis.peer, bench.chassis.theirs) = (peer, theirs);
        bench
    }

    /// A set that starts with a configured role, and has not looked at its peer yet.
    pub(super) fn started(configured: Role, peer: Peer, theirs: Option<SetRole>) -> Self {
        let mut bench = Self {
            chassis: Chassis {
                ours: role(true, 0),
                theirs,
                peer,
                lack: None,
                asked: 0,
                is_stuck: false,
                released: Vec::new(),
                refused: 0,
                drained: Vec::new(),
            },
            roles: Roles::new(5000),
            history: Vec::new(),
        };
        bench
            .roles
            .follow(&[(SET, Configured::As(configured))], &mut bench.chassis);
        bench
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        self.roles.tick(now_ms, &mut self.chassis);
    }

    pub(super) fn workers_take_it_up(&mut self, now_ms: u64) {
        let role = self.chassis.ours;
        self.roles.taken_up(&role, now_ms, &mut self.chassis);
    }

    pub(super) fn request(&mut self, to: WantedRole, forced: bool) -> Receiver<Answered> {
        let (sender, answered) = channel();
        // Whoever asked may be gone.
        let answer = Box::new(move |result| drop(sender.send(result)));
        self.roles
            .request(SET, to, forced, answer, 1000, &mut self.chassis);
        answered
    }

    /// All events until now.
    pub(super) fn history(&mut self) -> &[Event] {
        self.history
            .extend(std::iter::from_fn(|| self.roles.next_event()));
        &self.history
    }

    /// The latest event: from, to, epoch, why, whether it came about.
    pub(super) fn last(&mut self) -> (RoleState, RoleState, u64, RoleCause, bool) {
        let event = self.history().last().expect("an event");
        let is_done = event.reason.is_none();
        (event.from, event.to, event.epoch, event.cause, is_done)
    }
}

pub(super) fn now(answered: &mut Receiver<Answered>) -> Answered {
    answered.try_recv().expect("an answer")
}

pub(super) fn waits(answered: &mut Receiver<Answered>) -> bool {
    answered.try_recv() == Err(TryRecvError::Empty)
}

pub(super) fn changed(role: RoleState, epoch: u64) -> Answered {
    Ok(RoleChange {
        redundancy_set: SET,
        role,
        epoch,
        changed: true,
        note: None,
    })
}

/// A release that came about, with nobody primary as far as is known.
pub(super) fn note_of(answered: Answered) -> String {
    let done = answered.expect("the role was changed");
    assert_eq!((done.role, done.changed), (RoleState::Standby, true));
    done.note.expect("what happened is said")
}

#[test]
fn without_a_peer_a_standby_becomes_primary_as_soon_as_its_workers_have() {
    let mut bench = Bench::new(Role::Standby, Peer::Gone, Some(role(true, 7)));
    let mut answered = bench.request(WantedRole::Primary, false);
    assert!(waits(&mut answered), "the workers have not taken it up");
    assert_eq!(
        bench.roles.shown(SET).and_then(|set| set.changing_to),
        Some(WantedRole::Primary)
    );
    bench.workers_take_it_up(1010);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 8));
    assert_eq!(bench.chassis.asked, 0);
    assert_eq!(
        bench.last(),
        (
            RoleState::Standby,
            RoleState::Primary,
            8,
            RoleCause::Operator,
            true
        )
    );
}

#[test]
fn a_primary_peer_is_asked_and_its_release_is_waited_for() {
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 4)));
    let mut answered = bench.request(WantedRole::Primary, false);
    let mut same = bench.request(WantedRole::Primary, false);
    assert_eq!((bench.chassis.asked, bench.chassis.ours.primary), (1, false));
    bench.chassis.theirs = Some(role(false, 5));
    bench.roles.released(SET, 5, 1100, &mut bench.chassis);
    assert!(bench.chassis.ours.primary && waits(&mut answered));
    bench.workers_take_it_up(1200);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 6));
    assert_eq!(
        now(&mut same),
        changed(RoleState::Primary, 6),
        "both who asked are told"
    );
}

#[test]
fn a_peer_that_does_not_release_is_named_and_its_late_release_is_taken_all_the_same() {
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 4)));
    let mut answered = bench.request(WantedRole::Primary, false);
    bench.tick(5999);
    assert!(waits(&mut answered));
    bench.tick(6000);
    assert!(
        matches!(now(&mut answered), Err(RoleError::NoAnswer { who }) if who.contains("if it still does"))
    );
    assert_eq!(
        bench.last(),
        (
            RoleState::Standby,
            RoleState::Primary,
            1,
            RoleCause::Operator,
            false
        )
    );
    assert!(!bench.chassis.ours.primary);
    bench.roles.released(SET, 5, 7000, &mut bench.chassis);
    bench.workers_take_it_up(7001);
    assert_eq!(
        bench.last(),
        (RoleState::Standby, RoleState::Primary, 6, RoleCause::Peer, true)
    );
}

#[test]
fn a_refused_release_changes_nothing() {
    let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 4)));
    let mut answered = bench.request(WantedRole::Primary, false);
    bench.roles.release_refused(SET, &bench.chassis);
    assert!(matches!(now(&mut answered), Err(RoleError::Refused(_))));
    assert_eq!(bench.chassis.ours, role(false, 1));
    assert!(!bench.last().4);
    assert_eq!(bench.roles.shown(SET).and_then(|set| set.changing_to), None);
}

#[test]
fn a_standby_that_does_not_know_all_becomes_primary_only_by_force() {
    let mut bench = Bench::new(Role::Standby, BEHIND, Some(role(true, 4)));
    bench.chassis.lack = Some(Lack::Untold);
    let refused = now(&mut bench.request(WantedRole::Primary, false));
    assert!(matches!(refused, Err(RoleError::Refused(why)) if why.contains("force")));
    assert_eq!(bench.chassis.asked, 0);
    let mut answered = bench.request(WantedRole::Primary, true);
    assert_eq!(
        bench.chassis.asked, 1,
        "even by force nobody becomes a second primary"
    );
    assert!(waits(&mut answered) && !bench.chassis.ours.primary);
}

#[test]
fn in_wait_a_standby_becomes_primary_only_by_force_whatever_the_peer_is() {
    for (peer, theirs) in [
        (Peer::Gone, Some(role(true, 4))),
        (Peer::Gone, None),
        (Peer::Suspended, Some(role(false, 4))),
        (IN_STEP, Some(role(false, 4))),
    ] {
        for lack in [Lack::Untold, Lack::Refused] {
            let mut bench = Bench::new(Role::Standby, peer, theirs);
            bench.chassis.lack = Some(lack);
            let refused = now(&mut bench.request(WantedRole::Primary, false));
            let Err(RoleError::Refused(why)) = refused else {
                panic!("{peer:?}: {refused:?}");
            };
            assert!(why.contains("`wait`") && why.contains(lack.text()), "{why}");
            assert!(!bench.chassis.ours.primary && !bench.last().4);
            let mut answered = bench.request(WantedRole::Primary, true);
            bench.workers_take_it_up(1100);
            assert_eq!(now(&mut answered).map(|done| done.role), Ok(RoleState::Primary));
            let note = bench.history().last().and_then(|event| event.note.clone());
            let note = note.unwrap_or_default();
            assert!(note.contains(lack.text()) && note.ends_with("is lost"), "{note}");
        }
    }
}

#[test]
fn who_was_primary_last_lacks_nothing() {
    let mut bench = Bench::new(Role::Primary, Peer::Gone, None);
    bench.chassis.lack = Some(Lack::Untold);
    let _released = bench.request(WantedRole::Standby, true);
    bench.workers_take_it_up(1010);
    assert!(bench.roles.shown(SET).is_some_and(|set| set.was_last));
    let mut answered = bench.request(WantedRole::Primary, false);
    bench.workers_take_it_up(1020);
    assert_eq!(now(&mut answered), changed(RoleState::Primary, 3));
    // Not any more when the peer has been primary meanwhile.
    let _released = bench.request(WantedRole::Standby, true);
    bench.workers_take_it_up(1030);
    (bench.chassis.peer, bench.chassis.theirs) = (BEHIND, Some(role(true, 9)));
    bench.tick(1040);
    bench.chassis.peer = Peer::Gone;
    assert!(bench.roles.shown(SET).is_some_and(|set| !set.was_last));
    let refused = now(&mut bench.request(WantedRole::Primary, false));
    assert!(matches!(refused, Err(RoleError::Refused(_))));
}

#[test]
fn a_primary_releases_to_a_standby_that_knows_all_and_waits_until_it_is_primary() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    let mut answered = bench.request(WantedRole::Standby, false);
    assert!(
        bench.chassis.released.is_empty(),
        "workers first, then the peer is told"
    );
    bench.workers_take_it_up(1100);
    assert_eq!(bench.chassis.released, [2]);
    assert!(waits(&mut answered));
    bench.chassis.theirs = Some(role(true, 3));
    bench.roles.peer_said(1110, &mut bench.chassis);
    assert_eq!(now(&mut answered), changed(RoleState::Standby, 2));
}

#[test]
fn a_primary_stays_when_nobody_could_take_over_unless_forced() {
    for (peer, theirs) in [
        (Peer::Gone, Some(role(false, 1))),
        (IN_STEP, None),
        (BEHIND, Some(role(false, 1))),
    ] {
        let mut bench = Bench::new(Role::Primary, peer, theirs);
        let refused = now(&mut bench.request(WantedRole::Standby, false));
        assert!(matches!(refused, Err(RoleError::Refused(why)) if why.contains("force")));
        assert!(bench.chassis.ours.primary);
        assert_eq!(
            bench.last(),
            (
                RoleState::Primary,
                RoleState::Standby,
                1,
                RoleCause::Operator,
                false
            )
        );
        let mut answered = bench.request(WantedRole::Standby, true);
        bench.workers_take_it_up(1100);
        assert!(!bench.chassis.ours.primary);
        // A peer that can be told may take it; it does not here.
        bench.tick(1100 + CHANGE_MAX_MS);
        let note = note_of(now(&mut answered));
        assert!(note.contains("nobody is primary"), "{note}");
    }
}

#[test]
fn what_is_so_already_is_no_change_and_two_changes_at_once_are_refused() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(false, 1)));
    let same = now(&mut bench.request(WantedRole::Primary, false)).expect("no error");
    assert_eq!((same.changed, same.epoch), (false, 1));
    let mut answered = bench.request(WantedRole::Standby, false);
    let other = now(&mut bench.request(WantedRole::Primary, true));
    assert!(matches!(other, Err(RoleError::Refused(_))));
    assert!(waits(&mut answered));
    let (sender, mut unknown) = channel();
    let answer = Box::new(move |result| drop(sender.send(result)));
    bench
        .roles
        .request(9, WantedRole::Primary, true, answer, 1000, &mut bench.chassis);
    assert!(matches!(now(&mut unknown), Err(RoleError::Unknown(_))));
}

#[test]
fn a_higher_epoch_ends_a_change_under_way() {
    let mut bench = Bench::new(Role::Primary, IN_STEP, Some(role(true, 9)));
    let mut answered = bench.request(WantedRole::Standby, true);
    bench.chassis.ours = role(false, 9);
    bench.roles.yielded(&role(false, 9), &bench.chassis);
    assert!(matches!(now(&mut answered), Err(RoleError::Refused(_))));
    assert_eq!(
        bench.last(),
        (RoleState::Primary, RoleState::Standby, 9, RoleCause::Epoch, true)
    );
}

#[test]
fn a_worker_that_stands_still_is_not_waited_for_for_ever() {
    let mut bench = Bench::new(Role::Standby, Peer::Gone, None);
    let mut answered = bench.request(WantedRole::Primary, false);
    bench.tick(6000);
    assert!(matches!(now(&mut answered), Err(RoleError::NoAnswer { who }) if who.contains("worker")));
    bench.workers_take_it_up(9000);
    assert!(bench.last().4, "it comes about when the worker moves again");
}
