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
fn what_was_released_with_nobody_there_is_not_taken_back_for_that() {
    let mut bench = Bench::new(RoleState::Primary, settings(), PeerSeen::Lost);
    let released = bench.ask(Command::Switchover { force: true }).expect("it may be");
    assert_eq!(wishes(&released).map(|wish| wish.to), Some(WantedRole::Standby));
    bench.seen.ours.primary = false;
    assert_eq!(states(&bench.tick()), [RoleState::Wait, RoleState::Standby]);
    assert_eq!(bench.at(200_000), []);
    // But when the peer comes and goes it is.
    bench.seen.peer = heard(RoleState::Primary);
    bench.at(201_000);
    bench.seen.peer = PeerSeen::Gone;
    assert!(wishes(&bench.at(202_000)).is_some());
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
    bench.seen.is_warned = true;
    assert_eq!(
        bench.ask(Command::BroadcastWarning("link xe-0".to_owned())),
        Ok(vec![])
    );
    bench.tick();
    assert_eq!(bench.machine.warning(), Some("link xe-0"));
    bench.seen.is_warned = false;
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
