//! Every row of the transition table, the conditions' edges, and the commands.

use tandem_engine::replica::SetRole;

use super::*;
use crate::Lack;

mod commands;

const HOLD_MS: u64 = 30_000;

fn settings() -> Settings {
    Settings {
        priority: 100,
        is_gateway_1: true,
        preempt: false,
        preempt_hold_ms: 0,
        recovery_hold_ms: HOLD_MS,
        initial_hold_ms: 1000,
        primary_always_exists: false,
        set_threshold: 255,
        chassis_threshold: 255,
    }
}

fn peer(state: RoleState) -> PeerSet {
    PeerSet {
        state,
        is_primary: state == RoleState::Primary,
        epoch: 1,
        priority: 100,
        failed_weight: 0,
        is_complete: true,
        is_eligible: state != RoleState::Ineligible,
        is_warned: state == RoleState::StandbyWarned,
        broadcasts: false,
    }
}

fn heard(state: RoleState) -> PeerSeen {
    PeerSeen::Heard(peer(state))
}

/// A machine in a state since time 0, and what it sees at 100 s.
struct Bench {
    machine: Machine,
    seen: Seen,
}

impl Bench {
    fn new(state: RoleState, settings: Settings, peer: PeerSeen) -> Self {
        let mut machine = Machine::new(settings);
        (machine.state, machine.is_fresh) = (state, state == RoleState::Initializing);
        machine.has_looked = true;
        let is_primary = state == RoleState::Primary;
        machine.is_taken_out = state == RoleState::Ineligible;
        let seen = Seen {
            now_ms: 100_000,
            ours: SetRole {
                set: 1,
                primary: is_primary,
                epoch: 1,
            },
            is_changing: false,
            lack: (state == RoleState::Wait).then_some(Lack::Untold),
            failed_weight: if state == RoleState::Inoperable { 255 } else { 0 },
            chassis_failed_weight: 0,
            is_warned: state == RoleState::StandbyWarned,
            releases: false,
            broadcasts: false,
            was_asked_for: false,
            peer,
            knows_priority: peer.set().is_some(),
            is_connected: peer.set().is_some(),
        };
        Self { machine, seen }
    }

    /// The first row that holds now.
    fn row(&mut self) -> Option<&'static Row> {
        self.machine.remember(&self.seen);
        self.machine.row(&self.seen).map(|(_, row)| row)
    }

    fn tick(&mut self) -> Vec<Output> {
        self.machine.tick(&self.seen)
    }

    fn at(&mut self, now_ms: u64) -> Vec<Output> {
        self.seen.now_ms = now_ms;
        self.tick()
    }

    fn ask(&mut self, command: Command) -> Result<Vec<Output>, Refused> {
        self.machine.ask(command, &self.seen)
    }
}

/// What makes a row hold, beside its state: a bench whose first row it is.
fn example(state: RoleState, when: When) -> Bench {
    let standby = heard(RoleState::Standby);
    let primary = heard(RoleState::Primary);
    let always = Settings {
        primary_always_exists: true,
        ..settings()
    };
    let quiet = if state == RoleState::Primary {
        standby
    } else {
        primary
    };
    let mut bench = Bench::new(state, settings(), quiet);
    let unfit_peer = heard(RoleState::Inoperable);
    match when {
        When::WorkersPrimary => bench.seen.ours.primary = true,
        When::WorkersStandby => bench.seen.ours.primary = false,
        When::PeerClaimsBetter => {
            bench.seen.peer = PeerSeen::Heard(PeerSet {
                epoch: 2,
                ..peer(RoleState::Primary)
            })
        }
        When::UnfitPeerReady => bench.seen.failed_weight = 255,
        When::UnfitPeerBetter => {
            let worse = Settings {
                priority: 101,
                ..always
            };
            bench = Bench::new(state, worse, unfit_peer);
            bench.seen.failed_weight = 255;
        }
        When::UnfitAlone => {
            bench = Bench::new(state, settings(), PeerSeen::Lost);
            bench.seen.chassis_failed_weight = 300;
        }
        When::StoppingPeerReady => bench.machine.is_stopping = true,
        When::TakenOut => bench.machine.is_taken_out = true,
        When::PutBack => bench.machine.is_taken_out = false,
        When::Failed => bench.seen.failed_weight = 255,
        When::Recovered => bench.seen.failed_weight = 254,
        When::PeerGone => bench.seen.peer = PeerSeen::Gone,
        When::PeerLeft => bench.seen.peer = PeerSeen::Leaving,
        When::PeerLost => bench.seen.peer = PeerSeen::Lost,
        When::PeerNone => bench.seen.peer = PeerSeen::Without,
        When::HoldOver => bench.seen.peer = PeerSeen::Unheard,
        When::Elected => bench.seen.peer = heard(RoleState::Initializing),
        When::PeerHeard | When::Clear | When::Ready => {
            (bench.seen.lack, bench.seen.is_warned) = (None, false);
        }
        When::Vacant | When::VacantAlways => {
            let settings = if when == When::Vacant { settings() } else { always };
            let rests = if when == When::Vacant {
                standby
            } else {
                heard(state)
            };
            bench = Bench::new(state, settings, rests);
            if let PeerSeen::Heard(set) = &mut bench.seen.peer {
                set.is_complete = bench.seen.lack.is_none();
            }
            bench.machine.vacant_since_ms = Some(bench.seen.now_ms - VACANCY_HOLD_MS);
        }
        When::AloneAlways => bench = Bench::new(state, always, PeerSeen::Gone),
        When::NotReady => bench.seen.lack = Some(Lack::Refused),
        When::Warned => bench.seen.is_warned = true,
        When::PreemptDue => bench.machine.settings.preempt = true,
        When::PolicyReleases => {
            bench = Bench::new(state, settings(), standby);
            bench.seen.releases = true;
        }
    }
    bench
}

#[test]
fn every_row_comes_about_from_every_state_it_is_for_and_does_what_it_says() {
    for (at, row) in TABLE.iter().enumerate() {
        for state in row.from {
            let mut bench = example(*state, row.when);
            let first = bench.row();
            assert_eq!(first, Some(row), "row {} from {}", at + 1, state.as_str());
            let output = bench.tick().into_iter().next();
            let expected = match row.then {
                Then::Go(to) => Output::State {
                    from: *state,
                    to,
                    reason: row.reason,
                },
                Then::Wish {
                    to,
                    cause,
                    force,
                    hands_over,
                } => Output::Wish(Wish {
                    to,
                    cause,
                    force,
                    hands_over,
                    repeats: true,
                    reason: row.reason,
                }),
                Then::Yield => Output::Yield {
                    epoch: 2,
                    reason: row.reason,
                },
            };
            assert_eq!(output, Some(expected), "row {} from {}", at + 1, state.as_str());
        }
    }
}

#[test]
fn nothing_happens_while_all_is_well() {
    for (state, theirs) in [
        (RoleState::Primary, RoleState::Standby),
        (RoleState::Primary, RoleState::Inoperable),
        (RoleState::Standby, RoleState::Primary),
        (RoleState::StandbyWarned, RoleState::Primary),
        (RoleState::Wait, RoleState::Primary),
        (RoleState::Ineligible, RoleState::Primary),
        (RoleState::Inoperable, RoleState::Primary),
    ] {
        let mut bench = Bench::new(state, settings(), heard(theirs));
        assert_eq!(bench.tick(), [], "{} beside {}", state.as_str(), theirs.as_str());
    }
    // A primary needs no peer.
    for peer in [
        PeerSeen::Unheard,
        PeerSeen::Lost,
        PeerSeen::Gone,
        PeerSeen::Leaving,
        PeerSeen::Without,
    ] {
        assert_eq!(Bench::new(RoleState::Primary, settings(), peer).tick(), []);
    }
}

#[test]
fn the_documentation_has_the_whole_table() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redundancy.md");
    let page = std::fs::read_to_string(page).expect("docs/redundancy.md");
    let shown: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| # |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let rows: Vec<String> = (1..)
        .zip(TABLE)
        .map(|(number, row)| row.markdown(number))
        .collect();
    assert_eq!(shown, rows, "the page is to show:\n{}\n", rows.join("\n"));
}

fn wishes(outputs: &[Output]) -> Option<Wish> {
    outputs.iter().find_map(|output| match output {
        Output::Wish(wish) => Some(*wish),
        Output::State { .. } | Output::Yield { .. } => None,
    })
}

fn states(outputs: &[Output]) -> Vec<RoleState> {
    let to = |output: &Output| match output {
        Output::State { to, .. } => Some(*to),
        Output::Wish(_) | Output::Yield { .. } => None,
    };
    outputs.iter().filter_map(to).collect()
}

#[test]
fn of_two_that_start_exactly_one_is_primary() {
    for (ours, theirs, gateway_1, is_ours) in [
        (100, 100, true, true),
        (100, 100, false, false),
        (99, 100, false, true),
        (101, 100, true, false),
    ] {
        let settings = Settings {
            priority: ours,
            is_gateway_1: gateway_1,
            ..settings()
        };
        let mut bench = Bench::new(RoleState::Initializing, settings, PeerSeen::Unheard);
        bench.machine.since_ms = bench.seen.now_ms;
        assert_eq!(bench.tick(), [], "the hold runs");
        bench.seen.peer = PeerSeen::Heard(PeerSet {
            priority: theirs,
            ..peer(RoleState::Initializing)
        });
        bench.seen.knows_priority = true;
        let outputs = bench.tick();
        assert_eq!(wishes(&outputs).is_some(), is_ours, "{ours} {theirs} {gateway_1}");
        assert_eq!(states(&outputs).is_empty(), is_ours);
    }
}

#[test]
fn the_initial_hold_is_counted_from_the_first_look() {
    let mut bench = Bench::new(RoleState::Initializing, settings(), PeerSeen::Unheard);
    bench.machine = Machine::new(settings());
    assert_eq!((bench.at(100_000), bench.at(100_999)), (vec![], vec![]));
    let wish = wishes(&bench.at(101_000)).expect("nobody was heard");
    assert_eq!((wish.to, wish.cause), (WantedRole::Primary, RoleCause::Start));
}

#[test]
fn who_holds_more_is_primary_whatever_is_preferred() {
    let worse = Settings {
        priority: 200,
        is_gateway_1: false,
        ..settings()
    };
    for (theirs, is_ours) in [
        (
            PeerSet {
                is_complete: false,
                ..peer(RoleState::Wait)
            },
            true,
        ),
        (
            PeerSet {
                epoch: 0,
                ..peer(RoleState::Standby)
            },
            true,
        ),
        (
            PeerSet {
                epoch: 2,
                ..peer(RoleState::Standby)
            },
            false,
        ),
        (peer(RoleState::Inoperable), true),
        (peer(RoleState::Standby), false),
    ] {
        let mut bench = Bench::new(RoleState::Standby, worse, PeerSeen::Heard(theirs));
        assert_eq!(bench.tick(), [], "a handover may be on its way");
        let outputs = bench.at(100_000 + VACANCY_HOLD_MS);
        assert_eq!(wishes(&outputs).is_some(), is_ours, "{theirs:?}");
    }
}

#[test]
fn a_recovered_set_rests_before_it_is_ready() {
    let mut bench = Bench::new(RoleState::Inoperable, settings(), heard(RoleState::Primary));
    bench.at(100_000);
    bench.seen.failed_weight = 0;
    assert_eq!(states(&bench.tick()), [RoleState::Initializing, RoleState::Wait]);
    assert_eq!(bench.at(100_000 + HOLD_MS - 1), []);
    assert_eq!(states(&bench.at(100_000 + HOLD_MS)), [RoleState::Standby]);
}

#[test]
fn preemption_waits_for_its_hold_and_not_beside_a_warning() {
    let preempts = Settings {
        preempt: true,
        preempt_hold_ms: 5000,
        ..settings()
    };
    let mut bench = Bench::new(RoleState::Standby, preempts, heard(RoleState::Primary));
    assert_eq!((bench.at(100_000), bench.at(104_999)), (vec![], vec![]));
    let wish = wishes(&bench.at(105_000)).expect("it is due");
    assert_eq!(
        (wish.to, wish.cause, wish.force),
        (WantedRole::Primary, RoleCause::Preempt, false)
    );
    assert_eq!(bench.at(105_999), [], "it is not repeated at once");
    assert!(wishes(&bench.at(106_000)).is_some());
    bench.seen.is_warned = true;
    assert_eq!(states(&bench.at(107_000)), [RoleState::StandbyWarned]);
    bench.seen.is_warned = false;
    assert_eq!(states(&bench.at(108_000)), [RoleState::Standby]);
    assert_eq!(
        (bench.at(109_000), bench.at(113_999)),
        (vec![], vec![]),
        "the hold begins anew"
    );
    assert!(wishes(&bench.at(114_000)).is_some());
    // Nor one that does not know whether it is the better one.
    let mut bench = Bench::new(RoleState::Standby, preempts, heard(RoleState::Primary));
    bench.seen.knows_priority = false;
    assert_eq!((bench.at(100_000), bench.at(200_000)), (vec![], vec![]));
    bench.seen.knows_priority = true;
    assert_eq!((bench.at(200_100), bench.at(205_099)), (vec![], vec![]));
    assert!(wishes(&bench.at(205_100)).is_some());
    // The worse one does not.
    let mut bench = Bench::new(
        RoleState::Standby,
        Settings {
            is_gateway_1: false,
            ..preempts
        },
        heard(RoleState::Primary),
    );
    assert_eq!((bench.at(100_000), bench.at(200_000)), (vec![], vec![]));
}

#[test]
fn of_two_that_have_just_started_nobody_is_elected_before_a_heartbeat_told_the_priority() {
    let mut bench = Bench::new(
        RoleState::Initializing,
        settings(),
        heard(RoleState::Initializing),
    );
    bench.seen.knows_priority = false;
    assert_eq!(wishes(&bench.tick()), None);
    let mut bench = Bench::new(
        RoleState::Initializing,
        settings(),
        heard(RoleState::Initializing),
    );
    assert!(wishes(&bench.tick()).is_some_and(|wish| wish.to == WantedRole::Primary));
}

#[test]
fn flapping_monitors_on_both_are_damped_by_the_recovery_hold() {
    let mut bench = Bench::new(RoleState::Primary, settings(), heard(RoleState::Wait));
    bench.machine.since_ms = 100_000;
    bench.seen.failed_weight = 255;
    assert_eq!(
        bench.at(100_000 + HOLD_MS - 1),
        [],
        "the peer rests, and the role is new here"
    );
    assert!(wishes(&bench.at(100_000 + HOLD_MS)).is_some());
}

#[test]
fn a_primary_that_fails_beside_a_failed_peer() {
    for (always, priority, is_kept) in [(false, 99, false), (true, 99, true), (true, 101, false)] {
        let settings = Settings {
            primary_always_exists: always,
            priority,
            ..settings()
        };
        let mut bench = Bench::new(RoleState::Primary, settings, heard(RoleState::Inoperable));
        bench.seen.failed_weight = 255;
        assert_eq!(wishes(&bench.tick()).is_none(), is_kept, "{always} {priority}");
    }
    // Nor does one that was taken out carry on before one that has failed.
    let always = Settings {
        primary_always_exists: true,
        priority: 1,
        ..settings()
    };
    let mut bench = Bench::new(RoleState::Primary, always, heard(RoleState::Inoperable));
    assert!(wishes(&bench.ask(Command::TakeOut(true)).expect("it can be")).is_some());
}

#[test]
fn wishes_wait_for_a_change_under_way_and_yielding_does_not() {
    let mut bench = example(RoleState::Standby, When::PeerGone);
    bench.seen.is_changing = true;
    assert_eq!(bench.tick(), []);
    let mut bench = example(RoleState::Primary, When::PeerClaimsBetter);
    bench.seen.is_changing = true;
    assert!(matches!(
        bench.tick().first(),
        Some(Output::Yield { epoch: 2, .. })
    ));
    // Of equal epochs the better priority stays, then gateway 1. The peer's is 100.
    for (priority, gateway_1, yields) in [
        (100, true, false),
        (100, false, true),
        (99, false, false),
        (101, true, true),
    ] {
        let settings = Settings {
            is_gateway_1: gateway_1,
            priority,
            ..settings()
        };
        let mut bench = Bench::new(RoleState::Primary, settings, heard(RoleState::Primary));
        assert_eq!(!bench.tick().is_empty(), yields);
    }
}

#[test]
fn a_channel_that_breaks_is_no_death_where_no_heartbeat_ever_came() {
    let mut bench = Bench::new(RoleState::Standby, settings(), heard(RoleState::Primary));
    assert_eq!(bench.at(100_000), []);
    bench.seen.peer = PeerSeen::Unheard;
    assert_eq!(bench.at(100_999), [], "it may connect again");
    let wish = wishes(&bench.at(101_000)).expect("nobody else is there");
    assert_eq!((wish.to, wish.cause), (WantedRole::Primary, RoleCause::PeerLost));
    // Heartbeats that were lost say more.
    let mut bench = Bench::new(RoleState::Standby, settings(), heard(RoleState::Primary));
    assert_eq!(bench.at(100_000), []);
    bench.seen.peer = PeerSeen::Lost;
    assert!(wishes(&bench.at(100_001)).is_some());
}

#[test]
fn who_fails_waits_no_longer_for_somebody_else_to_take_the_set() {
    let always = Settings {
        primary_always_exists: true,
        ..settings()
    };
    // Its claim is the better one as far as is known here, and it does not take the set.
    let mut better = peer(RoleState::Wait);
    better.epoch = 9;
    let mut bench = Bench::new(RoleState::Standby, always, PeerSeen::Heard(better));
    let since = bench.seen.now_ms;
    let wishes = |bench: &mut Bench, now_ms| {
        bench.seen.now_ms = now_ms;
        let is_wish = |output: &Output| matches!(output, Output::Wish(_));
        bench.tick().iter().any(is_wish)
    };
    assert!(!wishes(&mut bench, since));
    bench.seen.failed_weight = 255;
    assert!(!wishes(&mut bench, since + VACANCY_MAX_MS - 1));
    assert_eq!(bench.machine.state(), RoleState::Inoperable);
    assert!(wishes(&mut bench, since + VACANCY_MAX_MS));
    // Who recovers does: the peer may have, too.
    let mut bench = Bench::new(RoleState::Inoperable, always, PeerSeen::Heard(better));
    assert!(!wishes(&mut bench, since));
    bench.seen.failed_weight = 0;
    assert!(!wishes(&mut bench, since + VACANCY_MAX_MS - 1));
    assert!(!wishes(&mut bench, since + VACANCY_MAX_MS));
    assert!(wishes(&mut bench, since + 2 * VACANCY_MAX_MS - 1));
}
