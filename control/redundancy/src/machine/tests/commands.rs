//! What is asked of a set, and when it is refused.

use super::*;

const BY_HAND: RoleCause = RoleCause::Operator;

#[test]
fn a_release_needs_a_standby_and_by_force_one_that_rests() {
    for state in RoleState::ALL {
        for force in [false, true] {
            let mut bench = Bench::new(RoleState::Primary, settings(), heard(state));
            let before = bench.machine.clone();
            let asked = bench.ask(Command::Release {
                force,
                cause: BY_HAND,
            });
            let rests = matches!(state, RoleState::StandbyWarned | RoleState::Wait);
            let is_done = state == RoleState::Standby || force && rests;
            assert_eq!(asked.is_ok(), is_done, "{} {force}", state.as_str());
            if !is_done {
                assert_eq!(
                    format!("{before:?}"),
                    format!("{:?}", bench.machine),
                    "nothing changes"
                );
            }
        }
        let mut bench = Bench::new(RoleState::Primary, settings(), heard(state));
        let done = bench
            .ask(Command::ReleaseIfStandbyClear)
            .expect("it is never refused");
        assert_eq!(wishes(&done).is_some(), state == RoleState::Standby);
        let mut bench = Bench::new(RoleState::Primary, settings(), warns(state));
        assert_eq!(bench.ask(Command::ReleaseIfStandbyClear), Ok(vec![]), "it warns");
    }
    for peer in [
        PeerSeen::Unheard,
        PeerSeen::Lost,
        PeerSeen::Gone,
        PeerSeen::Leaving,
        PeerSeen::Without,
    ] {
        for always in [false, true] {
            let settings = Settings {
                primary_always_exists: always,
                ..settings()
            };
            let mut bench = Bench::new(RoleState::Primary, settings, peer);
            let plain = bench.ask(Command::Release {
                force: false,
                cause: BY_HAND,
            });
            assert_eq!(plain, Err(Refused::PeerNotThere));
            let forced = bench.ask(Command::Release {
                force: true,
                cause: BY_HAND,
            });
            assert_eq!(forced.is_ok(), !always);
        }
    }
}

#[test]
fn by_force_a_peer_that_is_heard_and_not_connected_is_as_one_that_is_not_there() {
    for state in [RoleState::Standby, RoleState::StandbyWarned, RoleState::Wait] {
        for (always, is_connected) in [(false, false), (false, true), (true, false), (true, true)] {
            let settings = Settings {
                primary_always_exists: always,
                ..settings()
            };
            for command in [
                Command::Release {
                    force: true,
                    cause: BY_HAND,
                },
                Command::Switchover { force: true },
            ] {
                let mut bench = Bench::new(RoleState::Primary, settings, heard(state));
                bench.seen.is_connected = is_connected;
                let before = format!("{:?}", bench.machine);
                let asked = bench.ask(command);
                match always && !is_connected {
                    true => {
                        assert_eq!(asked, Err(Refused::NotConnected));
                        assert_eq!(before, format!("{:?}", bench.machine), "nothing changes");
                    }
                    false => assert!(asked.is_ok(), "{} {always} {is_connected}", state.as_str()),
                }
            }
        }
    }
}

#[test]
fn what_was_released_with_nobody_there_is_not_taken_back_for_that() {
    let mut bench = Bench::new(RoleState::Primary, settings(), PeerSeen::Lost);
    let released = bench.ask(Command::Switchover { force: true }).expect("it may be");
    assert_eq!(wishes(&released).map(|wish| wish.to), Some(WantedRole::Standby));
    bench.seen.ours.primary = false;
    assert_eq!(states(&bench.tick()), [RoleState::Wait, RoleState::Standby]);
    assert_eq!(bench.at(200_000), []);
    // Nor after a failure that is over: it looks around anew, and still knows.
    bench.seen.failed_weight = 255;
    bench.at(200_100);
    bench.seen.failed_weight = 0;
    bench.at(200_200);
    assert_eq!(
        (bench.machine.state(), bench.at(210_000)),
        (RoleState::Initializing, vec![])
    );
    // But when the peer comes and goes it is.
    bench.seen.peer = heard(RoleState::Primary);
    bench.at(201_000);
    bench.seen.peer = PeerSeen::Gone;
    assert!(wishes(&bench.at(202_000)).is_some());
}

#[test]
fn what_was_released_by_force_to_a_peer_that_is_heard_is_left_to_that() {
    let after_release = || {
        let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Standby));
        bench.seen.is_connected = false;
        let released = bench.ask(Command::Switchover { force: true }).expect("it may be");
        assert_eq!(wishes(&released).map(|wish| wish.to), Some(WantedRole::Standby));
        // Its epoch is the higher one, so its claim is the better one.
        (bench.seen.ours.primary, bench.seen.ours.epoch) = (false, 2);
        assert_eq!(states(&bench.tick()), [RoleState::Wait, RoleState::Standby]);
        for now_ms in (100_000..108_000).step_by(100) {
            assert_eq!(bench.at(now_ms), [], "{now_ms}");
        }
        let holds = bench.machine.holds();
        assert!(holds.contains(&(Hold::Vacancy, 112_000)), "{holds:?}");
        bench
    };
    // It can be told again, and has not been; and does not take it in time.
    let mut bench = after_release();
    bench.seen.is_connected = true;
    assert_eq!(bench.at(108_000), []);
    assert_eq!(bench.at(111_999), []);
    assert!(wishes(&bench.at(112_000)).is_some());
    // It has it, and is lost; or is lost before it has it; or cannot take it any more.
    let mut bench = after_release();
    bench.seen.peer = heard(RoleState::Primary);
    assert_eq!(bench.at(108_000), []);
    bench.seen.peer = PeerSeen::Lost;
    assert!(wishes(&bench.at(108_100)).is_some());
    for then in [
        PeerSeen::Gone,
        heard(RoleState::Inoperable),
        heard(RoleState::Ineligible),
    ] {
        let mut bench = after_release();
        bench.seen.peer = then;
        assert!(wishes(&bench.at(108_000)).is_some(), "{then:?}");
    }
    // Somebody has to be primary now.
    let mut bench = after_release();
    bench.machine.set_settings(Settings {
        primary_always_exists: true,
        ..settings()
    });
    assert!(wishes(&bench.at(108_000)).is_some());
}

#[test]
fn an_acquire_is_refused_in_wait_and_worse_and_by_force_only_in_worse() {
    for (state, plain, forced) in [
        (RoleState::Standby, true, true),
        (RoleState::StandbyWarned, true, true),
        (RoleState::Wait, false, true),
        (RoleState::Initializing, false, true),
        (RoleState::Ineligible, false, false),
        (RoleState::Inoperable, false, false),
    ] {
        for (force, is_done) in [(false, plain), (true, forced)] {
            let mut bench = Bench::new(state, settings(), heard(RoleState::Primary));
            let asked = bench.ask(Command::Acquire {
                force,
                cause: RoleCause::Policy,
            });
            assert_eq!(asked.is_ok(), is_done, "{} {force}", state.as_str());
            if let Ok(outputs) = asked {
                let wish = wishes(&outputs).expect("a wish");
                assert_eq!(
                    (wish.to, wish.force, wish.cause),
                    (WantedRole::Primary, force, RoleCause::Policy)
                );
            }
        }
    }
}

#[test]
fn an_operators_switchover_is_not_undone_by_preemption() {
    let preempts = Settings {
        preempt: true,
        ..settings()
    };
    let mut bench = Bench::new(RoleState::Primary, preempts, heard(RoleState::Standby));
    assert!(bench.ask(Command::Switchover { force: false }).is_ok());
    (bench.seen.ours.primary, bench.seen.peer) = (false, heard(RoleState::Primary));
    assert_eq!(states(&bench.tick()), [RoleState::Wait, RoleState::Standby]);
    assert_eq!(bench.at(300_000), []);
}

#[test]
fn nor_is_one_that_was_asked_for_over_there() {
    let preempts = Settings {
        preempt: true,
        ..settings()
    };
    // What the peer takes because something is wrong is taken back when that is over; and what it takes because it is preferred, when
    // it is no more.
    for (is_warned, priority, comes_back) in [(false, 100, false), (true, 100, true), (false, 50, true)] {
        let mut bench = Bench::new(RoleState::Primary, preempts, heard(RoleState::Standby));
        (bench.seen.ours.primary, bench.seen.was_asked_for) = (false, true);
        let takes = PeerSet {
            priority,
            ..peer(RoleState::Primary)
        };
        (bench.seen.peer, bench.seen.is_warned) = (PeerSeen::Heard(takes), is_warned);
        bench.tick();
        (bench.seen.peer, bench.seen.is_warned) = (heard(RoleState::Primary), false);
        let outputs = [bench.at(300_000), bench.at(300_001)].concat();
        assert_eq!(wishes(&outputs).is_some(), comes_back);
    }
}

fn warns(state: RoleState) -> PeerSeen {
    PeerSeen::Heard(PeerSet {
        is_warned: true,
        ..peer(state)
    })
}

#[test]
fn what_a_policy_could_not_release_it_releases_when_the_peer_can_take_it() {
    let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Wait));
    let release = Command::Release {
        force: false,
        cause: RoleCause::Policy,
    };
    assert_eq!(bench.ask(release), Err(Refused::PeerNotStandby(RoleState::Wait)));
    (bench.seen.releases, bench.seen.is_warned) = (true, true);
    let unready = [
        heard(RoleState::Wait),
        heard(RoleState::StandbyWarned),
        warns(RoleState::Standby),
        PeerSeen::Lost,
    ];
    for peer in unready {
        bench.seen.peer = peer;
        assert_eq!(bench.tick(), [], "{peer:?}");
    }
    bench.seen.peer = heard(RoleState::Standby);
    let wish = wishes(&bench.at(101_000)).expect("a release");
    assert_eq!(
        (wish.to, wish.cause, wish.force),
        (WantedRole::Standby, RoleCause::Policy, false)
    );
    assert_eq!(bench.at(101_500), [], "not at once again");
    assert!(wishes(&bench.at(102_000)).is_some());
}

#[test]
fn a_release_that_the_peer_did_not_take_is_not_tried_again_at_once() {
    let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Standby));
    bench.seen.releases = true;
    assert!(wishes(&bench.tick()).is_some());
    (bench.seen.ours.primary, bench.seen.is_changing) = (false, true);
    assert_eq!(bench.at(105_000), []);
    (bench.seen.ours.primary, bench.seen.is_changing) = (true, false);
    assert_eq!((bench.at(106_000), bench.at(134_999)), (vec![], vec![]));
    assert!(wishes(&bench.at(105_000 + RELEASE_AGAIN_MS)).is_some());
}

#[test]
fn nor_what_the_operator_gives_it_over_there_and_what_a_peer_that_fails_gives_it_does() {
    let failed = PeerSeen::Heard(PeerSet {
        failed_weight: 255,
        ..peer(RoleState::Inoperable)
    });
    for (gives, stays) in [
        (heard(RoleState::Wait), true),
        (failed, false),
        (warns(RoleState::Wait), false),
    ] {
        let mut bench = Bench::new(RoleState::StandbyWarned, settings(), gives);
        (
            bench.seen.releases,
            bench.seen.ours.primary,
            bench.seen.was_asked_for,
        ) = (true, true, true);
        assert_eq!(states(&bench.tick()), [RoleState::Primary]);
        bench.seen.peer = heard(RoleState::Standby);
        assert_eq!(wishes(&bench.at(200_000)).is_none(), stays, "{gives:?}");
    }
    // And who has it already keeps it by saying so.
    let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Standby));
    bench.seen.releases = true;
    let acquire = Command::Acquire {
        force: false,
        cause: RoleCause::Operator,
    };
    assert_eq!(bench.ask(acquire), Ok(vec![]));
    assert_eq!(bench.at(200_000), []);
}

#[test]
fn a_policy_does_not_undo_what_the_operator_takes_while_its_event_is_active() {
    let mut bench = Bench::new(RoleState::StandbyWarned, settings(), heard(RoleState::Primary));
    bench.seen.releases = true;
    let acquire = Command::Acquire {
        force: false,
        cause: RoleCause::Operator,
    };
    assert!(bench.ask(acquire).is_ok());
    (bench.seen.ours.primary, bench.seen.peer) = (true, heard(RoleState::Standby));
    assert_eq!(states(&bench.tick()), [RoleState::Primary]);
    assert_eq!(bench.at(200_000), []);
    // The next event is another.
    bench.seen.releases = false;
    assert_eq!(bench.at(201_000), []);
    bench.seen.releases = true;
    assert!(wishes(&bench.at(202_000)).is_some());
}

#[test]
fn one_that_stops_takes_nothing_any_more() {
    for peer in [PeerSeen::Gone, PeerSeen::Lost, heard(RoleState::Standby)] {
        let mut bench = Bench::new(RoleState::Standby, settings(), peer);
        assert_eq!(bench.ask(Command::Stop), Ok(vec![]));
        assert_eq!((bench.at(101_000), bench.at(200_000)), (vec![], vec![]));
        assert_eq!(
            bench.ask(Command::Acquire {
                force: true,
                cause: BY_HAND
            }),
            Err(Refused::Stopping)
        );
    }
}

#[test]
fn a_broadcast_warning_lasts_as_long_as_an_event() {
    let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Standby));
    bench.seen.broadcasts = true;
    assert_eq!(
        bench.ask(Command::BroadcastWarning("link xe-0".to_owned())),
        Ok(vec![])
    );
    bench.tick();
    assert_eq!(bench.machine.warning(), Some("link xe-0"));
    (bench.seen.broadcasts, bench.seen.is_warned) = (false, true);
    bench.tick();
    assert_eq!(bench.machine.warning(), None);
}

#[test]
fn what_the_operator_warns_of_lasts_until_it_is_taken_back() {
    let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Standby));
    let warn = |text: Option<&str>| Command::Warn(text.map(str::to_owned));
    assert_eq!(bench.ask(warn(Some("maintenance"))), Ok(vec![]));
    bench.tick();
    assert_eq!(bench.machine.warning(), Some("maintenance"));
    assert_eq!(bench.ask(warn(None)), Ok(vec![]));
    assert_eq!(bench.machine.warning(), None);
}
