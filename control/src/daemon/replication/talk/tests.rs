use ha_sync::bridge::{BridgeConfig, RedundancySet};
use ha_sync::heartbeat::{
    BeatTiming, Codec, FileKey, HeartbeatConfig, HeartbeatEvent, LostWhy, PathConfig, PathId, SetState, run,
};
use ha_sync::link::LinkConfig;
use ha_sync::net::{Bind, DEFAULT_PORT};
use ha_sync::wire::Dictionary;
use rtrb::RingBuffer;
use tandem_redundancy::RoleError;
use tandem_redundancy::machine::Settings;
use tandem_redundancy::roles::Configured;

use super::*;
use crate::api::model::{
    EligibilityRequest, RoleCause, RoleState, SetRequest, SwitchoverRequest, WarningRequest,
};
use crate::config::{self, Extras, NameRegistry, PeerEvent, PolicyAction};
use crate::daemon::monitors;
use crate::daemon::replication::order::Report;
use crate::daemon::running::tests::GOOD;
use crate::monitor::{Condition, Consequences, DueAction, Observation, SetMonitored};

/// A conversation of one worker about set 1, which has no service sets: its roles are taken up at once. Its clock stands still.
pub(super) fn talk(automatic: bool) -> Talk {
    talk_about(&[1], automatic)
}

/// The same about these sets.
fn talk_about(numbers: &[u8], automatic: bool) -> Talk {
    let config = config::parse(GOOD, "test.toml").expect("a configuration");
    let mut registry = NameRegistry::default();
    let program = config::compile(&config, &mut registry, None, &Extras::default()).expect("a program");
    let dictionary = Dictionary::of(&program);
    let set = |number: &u8| RedundancySet {
        number: *number,
        service_sets: Vec::new(),
    };
    let bridge = BridgeConfig {
        shards: 1,
        sets: numbers.iter().map(set).collect(),
        tick_zero_ms: 0,
    };
    let (_, outbox) = RingBuffer::new(16);
    let (inbox, _) = RingBuffer::new(16);
    let mut line = Line {
        link: Link::new(LinkConfig::new(1, 1, [0; 32], dictionary)),
        bridge: Bridge::new(bridge, Arc::new(program), vec![outbox], vec![inbox]).expect("a bridge"),
        now_ms: 0,
        is_complete: false,
        replicates: true,
        outward: None,
        draining: BTreeSet::new(),
        apart: BTreeSet::new(),
    };
    let (mut roles, mut sets) = (Roles::new(5000), Automatic::default());
    let settings = Settings {
        priority: 100,
        is_gateway_1: false,
        preempt: false,
        preempt_hold_ms: 0,
        recovery_hold_ms: 30_000,
        initial_hold_ms: 1000,
        primary_always_exists: false,
        set_threshold: 255,
        chassis_threshold: 255,
    };
    let with = |configured| numbers.iter().map(|set| (*set, configured)).collect::<Vec<_>>();
    if automatic {
        roles.follow(&with(Configured::Automatic), &mut line);
        let settings = numbers.iter().map(|set| (*set, settings));
        sets.follow(&settings.collect::<Vec<_>>());
    } else {
        roles.follow(&with(Configured::As(Role::Standby)), &mut line);
    }
    let published = Published {
        sets: Arc::default(),
        history: Arc::default(),
        beats: Arc::default(),
    };
    Talk::new(line, roles, sets, Clock::stopped(), published, None)
}

pub(super) fn primary_peer() -> HeartbeatEvent {
    HeartbeatEvent::Sets(vec![SetBeat {
        set: 1,
        state: SetState::Primary,
        primary: true,
        complete: true,
        warned: false,
        broadcasts: false,
        eligible: true,
        epoch: 4,
        priority: 100,
        failed_weight: 0,
    }])
}

pub(super) fn latest(talk: &Talk) -> Option<(RoleState, RoleCause, u64)> {
    let event = talk.shown.history.events().into_iter().next()?;
    Some((event.to, event.cause, event.epoch))
}

#[test]
fn with_heartbeats_a_standby_whose_peer_is_gone_becomes_primary_by_itself() {
    let mut talk = talk(true);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    assert_eq!(latest(&talk), Some((RoleState::Wait, RoleCause::Peer, 0)));
    talk.command(Order::Heartbeat(HeartbeatEvent::Gone), 0);
    talk.tick(0);
    assert_eq!(
        talk.line.role(1).map(|role| (role.primary, role.epoch)),
        Some((true, 5))
    );
    assert_eq!(latest(&talk), Some((RoleState::Primary, RoleCause::PeerLost, 5)));
    let event = talk.shown.history.latest(1).expect("an event");
    assert_eq!(
        event.from,
        RoleState::Wait,
        "not ready, and nobody else was there"
    );
    let note = event.note.unwrap_or_default();
    assert!(
        note.contains("process is gone") && note.contains("what it lacks is lost"),
        "{note}"
    );
    let lost = talk.shown.history.counts([1].into_iter());
    let lost = lost.iter().find(|count| count.cause == RoleCause::PeerLost);
    assert_eq!(
        lost.map(|count| (count.transitions, count.refusals)),
        Some((1, 0))
    );
}

/// What comes of something that is asked of set 1.
fn asked(talk: &mut Talk, wanted: SetRequest) -> Result<tandem_redundancy::RoleChange, RoleError> {
    let (answer, answered) = mpsc::channel();
    let answer = Box::new(move |result| drop(answer.send(result)));
    talk.command(
        Order::Ask {
            set: 1,
            wanted,
            answer,
        },
        0,
    );
    talk.tick(0);
    answered.try_recv().expect("an answer")
}

fn eligible(eligible: bool) -> SetRequest {
    SetRequest::Eligibility(EligibilityRequest { eligible })
}

#[test]
fn the_operator_takes_an_automatic_set_out_and_warns() {
    let mut talk = talk(true);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    let out = asked(&mut talk, eligible(false)).map(|done| (done.role, done.changed));
    assert_eq!(out, Ok((tandem_redundancy::RoleState::Ineligible, true)));
    let again = asked(&mut talk, eligible(false)).map(|done| done.changed);
    assert_eq!(again, Ok(false));
    let text = Some("maintenance".to_owned());
    assert!(asked(&mut talk, SetRequest::Warning(WarningRequest { text })).is_ok());
    let told = talk.automatic.told(1, &talk.roles, &talk.line);
    assert!(told.is_some_and(|told| told.is_warned && !told.is_eligible));
    let switched = asked(
        &mut talk,
        SetRequest::Switchover(SwitchoverRequest { force: true }),
    );
    assert!(matches!(switched, Err(RoleError::Refused(why)) if why.contains("ineligible")));
    assert_eq!(
        latest(&talk).map(|(_, cause, _)| cause),
        Some(RoleCause::Operator)
    );
}

#[test]
fn a_set_by_hand_is_switched_over_and_nothing_else() {
    let mut talk = talk(false);
    for wanted in [
        eligible(false),
        SetRequest::Warning(WarningRequest { text: None }),
    ] {
        let refused = asked(&mut talk, wanted);
        assert!(matches!(refused, Err(RoleError::Refused(why)) if why.contains("by command alone")));
    }
    let switched = asked(
        &mut talk,
        SetRequest::Switchover(SwitchoverRequest { force: true }),
    );
    assert_eq!(
        switched.map(|done| (done.role, done.changed)),
        Ok((tandem_redundancy::RoleState::Primary, true))
    );
}

#[test]
fn what_moves_with_a_role_comes_with_it_and_leaves_before_the_workers() {
    let mut talk = talk(true);
    let (sender, orders) = mpsc::channel();
    talk.line.outward = Some(srd::Orders::to(sender));
    talk.command(Order::Heartbeat(primary_peer()), 0);
    talk.command(Order::Heartbeat(HeartbeatEvent::Gone), 0);
    talk.tick(0);
    let ordered = |order| match order {
        Ok(srd::Order::Role {
            set,
            is_primary,
            epoch,
        }) => Some((set, is_primary, epoch)),
        _ => None,
    };
    assert_eq!(
        ordered(orders.try_recv()),
        Some((1, false, 0)),
        "the first role of all"
    );
    assert_eq!(ordered(orders.try_recv()), Some((1, true, 5)));
    talk.line.take_up(1, Role::Standby, 6);
    assert_eq!(
        ordered(orders.try_recv()),
        Some((1, false, 6)),
        "before the workers"
    );
    talk.line.take_up(1, Role::Primary, 7);
    talk.line.yield_to(1, 8);
    assert_eq!(
        ordered(orders.try_recv()),
        Some((1, false, 8)),
        "before the workers, too, who have not said yet that they are primary"
    );
}

#[test]
fn a_peer_that_was_lost_and_is_back_over_the_same_connection_has_to_connect_anew() {
    let mut talk = talk(true);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    talk.command(Order::Heartbeat(HeartbeatEvent::Alive { incarnation: 1 }), 0);
    assert_eq!(talk.objection(), None);
    let why = ha_sync::heartbeat::LostWhy::Silent;
    talk.command(Order::Heartbeat(HeartbeatEvent::Lost { why }), 0);
    assert_eq!(talk.objection(), None, "it may still bring what it had said");
    talk.command(Order::Heartbeat(HeartbeatEvent::Alive { incarnation: 1 }), 0);
    assert_eq!(talk.objection(), None, "its sets are to come");
    talk.command(Order::Heartbeat(primary_peer()), 0);
    assert!(talk.objection().is_some());
    talk.connected(0);
    assert_eq!(talk.objection(), None);
}

#[test]
fn a_connection_that_outlived_a_loss_stays_until_the_peer_hears_heartbeats_too() {
    let mut talk = talk(true);
    // Addresses of nobody (RFC 5737): nothing comes of its own accord.
    let [local, peer] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().expect("address"));
    let config = HeartbeatConfig {
        group: 1,
        incarnation: 1,
        timing: BeatTiming {
            interval_ms: 50,
            lost_threshold: 4,
        },
        codec: Codec::new(&FileKey::known_to_all(), local, peer),
        paths: vec![PathConfig {
            id: PathId::Control,
            local,
            peer,
            port: DEFAULT_PORT,
            bind: Bind::None,
        }],
    };
    talk.beats(Some(run(config, |_| {}).expect("a thread")));
    let why = LostWhy::Silent;
    talk.command(Order::Heartbeat(HeartbeatEvent::Lost { why }), 0);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    talk.line.now_ms += 199;
    assert_eq!(
        talk.objection(),
        None,
        "the peer may hear nothing but this connection yet"
    );
    talk.line.now_ms += 1;
    assert!(talk.objection().is_some());
    talk.command(Order::Heartbeat(HeartbeatEvent::Lost { why }), 0);
    assert_eq!(talk.objection(), None, "it may still bring what it had said");
}

#[test]
fn without_heartbeats_nothing_is_taken_over() {
    let mut talk = talk(false);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    talk.command(Order::Heartbeat(HeartbeatEvent::Gone), 0);
    talk.tick(0);
    assert_eq!(
        talk.line.role(1).map(|role| (role.primary, role.epoch)),
        Some((false, 0))
    );
}

#[test]
fn who_leaves_is_answered_when_nobody_is_there_to_hand_over_to() {
    let mut talk = talk(true);
    let (answer, answered) = mpsc::channel();
    talk.command(Order::Leave { answer }, 0);
    assert_eq!(answered.try_recv(), Ok(()));
}

#[test]
fn what_monitors_say_is_in_the_history_and_makes_a_set_inoperable() {
    let mut talk = talk(true);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    let report = |failed_weight, told: &[&str]| {
        Order::Monitored(Box::new(Report {
            sets: vec![SetMonitored {
                set: 1,
                failed_weight,
                is_warned: true,
                releases: false,
                broadcasts: false,
            }],
            chassis_failed_weight: 0,
            actions: Vec::new(),
            told: told.iter().map(|text| (1, (*text).to_owned())).collect(),
        }))
    };
    talk.command(report(254, &["event e is active"]), 0);
    let event = talk.shown.history.events().into_iter().next().expect("an event");
    assert_eq!(
        (
            event.from,
            event.to,
            event.cause,
            event.ok,
            event.reason.as_deref()
        ),
        (
            RoleState::Wait,
            RoleState::Wait,
            RoleCause::Monitor,
            true,
            Some("event e is active")
        )
    );
    talk.command(report(255, &[]), 0);
    assert_eq!(latest(&talk).map(|(to, ..)| to), Some(RoleState::Inoperable));
    talk.command(report(0, &[]), 0);
    assert_eq!(latest(&talk).map(|(to, ..)| to), Some(RoleState::Wait));
}

#[test]
fn an_action_that_is_refused_is_the_policys_and_changes_nothing() {
    let mut talk = talk(true);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    let action = DueAction {
        set: 1,
        policy: "p".into(),
        action: PolicyAction::AcquirePrimaryRole,
        cause: "event e: a test".into(),
    };
    let report = Report {
        sets: Vec::new(),
        chassis_failed_weight: 0,
        actions: vec![action],
        told: Vec::new(),
    };
    talk.command(Order::Monitored(Box::new(report)), 0);
    let event = talk.shown.history.events().into_iter().next().expect("an event");
    assert_eq!(
        (event.to, event.cause, event.ok),
        (RoleState::Wait, RoleCause::Policy, false)
    );
}

#[test]
fn monitors_hear_what_the_peer_asks_for() {
    let mut talk = talk(true);
    let (feed, inbox) = monitors::feed();
    talk.watched = watched::Watched::over(Some(feed));
    let next = || inbox.next_seen(std::time::Duration::ZERO);
    talk.peer(ha_sync::chassis::PeerEvent::ReleaseAsked { set: 1 });
    let asks = Condition::Peer(PeerEvent::Acquire, Some(1));
    assert!(matches!(next(), Some(Observation::Happened(of, _)) if of == asks));
    talk.peer(ha_sync::chassis::PeerEvent::Released { set: 1, epoch: 7 });
    let releases = Condition::Peer(PeerEvent::Release, Some(1));
    assert!(matches!(next(), Some(Observation::Happened(of, _)) if of == releases));
    talk.peer(ha_sync::chassis::PeerEvent::ReleaseRefused { set: 1 });
    assert_eq!(next(), None);
}

#[test]
fn monitors_hear_when_the_peer_is_lost_and_heard_again_and_when_it_warns() {
    let mut talk = talk(true);
    let (feed, inbox) = monitors::feed();
    talk.watched = watched::Watched::over(Some(feed));
    let next = || inbox.next_seen(std::time::Duration::ZERO);
    talk.command(Order::Heartbeat(primary_peer()), 0);
    assert_eq!(next(), None, "it was never lost");
    talk.command(Order::Heartbeat(HeartbeatEvent::Gone), 0);
    let lost = Condition::Peer(PeerEvent::Lost, None);
    assert!(matches!(next(), Some(Observation::Failed(of, _)) if of == lost));
    let mut warned = primary_peer();
    if let HeartbeatEvent::Sets(sets) = &mut warned {
        sets[0].warned = true;
    }
    talk.command(Order::Heartbeat(warned.clone()), 0);
    assert!(matches!(next(), Some(Observation::Well(of, _)) if of == lost));
    assert_eq!(next(), None, "an event is active there, and nobody warns of it");
    if let HeartbeatEvent::Sets(sets) = &mut warned {
        sets[0].broadcasts = true;
    }
    talk.command(Order::Heartbeat(warned), 0);
    let warns = Condition::Peer(PeerEvent::Warned, Some(1));
    assert!(matches!(next(), Some(Observation::Failed(of, _)) if of == warns));
    talk.command(Order::Heartbeat(primary_peer()), 0);
    assert!(matches!(next(), Some(Observation::Well(of, _)) if of == warns));
}

/// The peer's heartbeat about sets 1 and 2, of which it warns about these.
fn warns_about(warned: &[u8]) -> Order {
    let HeartbeatEvent::Sets(sets) = primary_peer() else {
        panic!("sets")
    };
    let beat = |set: u8| SetBeat {
        set,
        broadcasts: warned.contains(&set),
        ..sets[0]
    };
    Order::Heartbeat(HeartbeatEvent::Sets([1, 2].map(beat).into()))
}

/// Each of two sets acquires the role by what the peer does.
const ACTIVE_ACTIVE: &str = "[redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n\
    [redundancy-sets.1]\nredundancy-group = 1\npolicies = [\"one\"]\n[redundancy-sets.2]\nredundancy-group = 1\npolicies = [\"two\"]\n\
    [redundancy-policies.one]\nevents = [\"e\"]\naction = \"acquire-primary-role\"\n\
    [redundancy-policies.two]\nevents = [\"f\"]\naction = \"acquire-primary-role\"\n\
    [redundancy-events.e]\npeer = [\"acquire\", \"release\", \"warned\"]\n[redundancy-events.f]\npeer = [\"acquire\", \"release\", \"warned\"]\n";

#[test]
fn what_the_peer_does_about_one_set_is_for_the_policies_of_that_set_alone() {
    let config = config::parse(&format!("{GOOD}{ACTIVE_ACTIVE}"), "t.toml").expect("a configuration");
    let mut all = Consequences::new(&config.redundancy);
    let mut talk = talk_about(&[1, 2], true);
    let (feed, inbox) = monitors::feed();
    talk.watched = watched::Watched::over(Some(feed));
    // The sets whose policies act, and those of which an event is active or over now.
    let mut followed = || {
        let next = || inbox.next_seen(std::time::Duration::ZERO);
        let seen: Vec<_> = std::iter::from_fn(next).collect();
        let followed = all.observe(0, &seen);
        let edges = followed.edges.iter();
        (
            followed.actions.iter().map(|due| due.set).collect::<Vec<_>>(),
            edges.map(|one| (one.set, one.edge.active)).collect::<Vec<_>>(),
        )
    };
    let (on, off) = (|set| (Some(set), true), |set| (Some(set), false));
    talk.command(warns_about(&[]), 0);
    assert_eq!(followed(), (vec![], vec![]));
    talk.command(warns_about(&[2]), 0);
    assert_eq!(followed(), (vec![2], vec![on(2)]));
    talk.command(warns_about(&[1, 2]), 0);
    assert_eq!(followed(), (vec![1], vec![on(1)]), "while the other one lasts");
    talk.command(warns_about(&[1]), 0);
    assert_eq!(followed(), (vec![], vec![off(2)]));
    talk.command(warns_about(&[]), 0);
    assert_eq!(followed(), (vec![], vec![off(1)]));
    talk.peer(ha_sync::chassis::PeerEvent::ReleaseAsked { set: 2 });
    assert_eq!(followed(), (vec![2], vec![on(2), off(2)]));
    talk.peer(ha_sync::chassis::PeerEvent::Released { set: 1, epoch: 7 });
    assert_eq!(followed(), (vec![1], vec![on(1), off(1)]));
}

#[test]
fn a_set_that_goes_while_the_peer_warns_about_it_is_warned_about_no_more() {
    let mut talk = talk_about(&[1, 2], true);
    let (feed, inbox) = monitors::feed();
    talk.watched = watched::Watched::over(Some(feed));
    let next = || inbox.next_seen(std::time::Duration::ZERO);
    let warns = Condition::Peer(PeerEvent::Warned, Some(2));
    talk.command(warns_about(&[2]), 0);
    assert!(matches!(next(), Some(Observation::Failed(of, _)) if of == warns));
    talk.automatic.follow(&[]);
    talk.tick(0);
    assert!(matches!(next(), Some(Observation::Well(of, _)) if of == warns));
    assert_eq!(next(), None);
}
