//! What a switch does to the workers' interfaces, and what the API says of it; taps are not there.

use super::*;
use crate::config;
use crate::daemon::{monitors, views};
use tandem_dataplane::interfaces::InterfaceState;

const TEXT: &str = "[interfaces.in]\ndevice = \"net_ring0\"\n[interfaces.a]\ndevice = \"net_ring1\"\n\
                    [interfaces.b]\ndevice = \"net_ring2\"\n[interfaces.red]\nmembers = [\"a\", \"b\"]\n\
                    tap = \"tnd-test-none\"\ntrack = \"t\"\naddresses = [\"10.0.0.1/24\"]\n\
                    [interfaces.red7]\nparent = \"red\"\nvlan = 7\ntap = \"tnd-test-none7\"\n\
                    [tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\n";

fn made() -> (RedundantInterfaces, Arc<Interfaces>) {
    made_of(TEXT)
}

fn made_of(text: &str) -> (RedundantInterfaces, Arc<Interfaces>) {
    let config = config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let state = |id, name: &str, port, vlan| InterfaceState::new(id, name.into(), port, vlan, [2; 6], 1500);
    let all = vec![
        state(1, "in", 0, None),
        state(2, "red", 1, None).with_member(2),
        state(3, "red7", 1, Some(7)).with_member(2),
    ];
    let all = Arc::new(Interfaces::new(all));
    let (feed, _nobody) = monitors::feed();
    (
        RedundantInterfaces::new(&config, Arc::clone(&all), feed, Clock::stopped()),
        all,
    )
}

/// Port and flag of each interface.
fn seen(all: &Interfaces) -> Vec<(u8, bool)> {
    all.all
        .iter()
        .map(|state| (state.port(), state.is_up()))
        .collect()
}

fn links(made: &RedundantInterfaces, a: Option<bool>, b: Option<bool>) {
    made.links(|port| if port.position == 1 { a } else { b });
}

#[test]
fn workers_follow_the_active_member_with_port_and_flag_of_all_vlans() {
    let (made, all) = made();
    let of = |port, up| vec![(0, false), (port, up), (port, up)];
    links(&made, None, None);
    assert_eq!(seen(&all), of(1, false), "not known yet, and no failure");
    links(&made, Some(true), Some(true));
    assert_eq!(seen(&all), of(1, true));
    links(&made, Some(false), Some(true));
    assert_eq!(seen(&all), of(2, true));
    assert_eq!(
        made.unannounced(),
        2,
        "it was tried by both taps, which are not there"
    );
    links(&made, Some(false), Some(false));
    assert_eq!(seen(&all), of(2, false));
    let troubles: Vec<_> = made
        .members()
        .into_iter()
        .filter_map(|(name, why)| Some((name, why?)))
        .collect();
    let down = || "its link is down".to_owned();
    assert_eq!(troubles, [("a".to_owned(), down()), ("b".to_owned(), down())]);
    links(&made, Some(true), Some(true));
    assert_eq!(seen(&all), of(1, true));
    let shown = made.view("red").expect("a redundant interface");
    let causes: Vec<_> = shown
        .switches
        .iter()
        .map(|one| (one.to.as_str(), one.cause.as_str()))
        .collect();
    assert_eq!(causes, [("a", "a is well again"), ("b", "the link of a is down")]);
    assert_eq!(
        (shown.active.as_str(), shown.failovers, shown.take_backs),
        ("a", 1, 1)
    );
    assert!(made.view("in").is_none() && made.view("red7").is_none());
}

#[test]
fn tracked_ips_and_commands_switch_and_what_is_not_there_is_refused() {
    let (made, all) = made();
    links(&made, Some(true), Some(true));
    let verdict = |name: &str, failed: bool| Verdict {
        object: name.to_owned(),
        failed: failed.then(|| format!("{name} is lost")),
    };
    made.judged(&[verdict("other", true)]);
    assert_eq!(seen(&all)[1].0, 1);
    assert_eq!(made.to_be_judged(), [""; 0]);
    made.judged(&[verdict("t", true)]);
    assert_eq!(seen(&all)[1].0, 2);
    let shown = made.view("red").expect("a redundant interface");
    assert_eq!(shown.members[0].failed.as_deref(), Some("t is lost"));
    made.judged(&[verdict("t", true)]);
    let shown = made.view("red").expect("a redundant interface");
    assert_eq!(shown.members[1].failed, None, "that was about a");
    assert_eq!(made.to_be_judged(), ["t"]);
    assert_eq!(made.to_be_judged(), [""; 0], "once");
    made.judged(&[verdict("t", false)]);
    assert_eq!(seen(&all)[1].0, 2, "by b: nothing is known of a");
    let forced = made.request("red", Some("a")).expect("its link is up");
    assert_eq!(
        (forced.active.as_str(), forced.forced.as_deref(), seen(&all)[2].0),
        ("a", Some("a"), 1)
    );
    links(&made, Some(true), Some(false));
    let refused = made.request("red", Some("b"));
    assert_eq!(
        refused,
        Err(BackendError::Refused("the link of b is down".into()))
    );
    assert_eq!(made.request("red", None).map(|shown| shown.forced), Ok(None));
    for (name, member) in [("red", Some("in")), ("in", None), ("red7", None)] {
        assert!(
            matches!(made.request(name, member), Err(BackendError::Unknown(_))),
            "{name}"
        );
    }
}

#[test]
fn a_member_that_waits_for_its_hold_down_is_shown_while_nothing_is_forwarded() {
    let held = TEXT.replace("\"net_ring2\"\n", "\"net_ring2\"\nhold-down-ms = 600000\n");
    let (made, all) = made_of(&held);
    links(&made, Some(true), Some(true));
    let waits = || made.view("red").expect("a redundant interface").waits;
    assert_eq!(waits(), None);
    links(&made, Some(false), Some(true));
    assert_eq!(seen(&all)[1], (1, false), "a black hole");
    let expected = MemberWait {
        member: "b".to_owned(),
        ends_in_ms: 600_000,
    };
    assert_eq!(waits(), Some(expected));
    let why = "its link is down; b waits for hold-down, ends in 600000 ms";
    let health = [("a".to_owned(), Some(why.to_owned())), ("b".to_owned(), None)];
    assert_eq!(made.members(), health);
    let forced = made.request("red", Some("b")).expect("its link is up");
    assert_eq!((forced.waits, seen(&all)[1]), (None, (2, true)));
}

#[test]
fn an_interface_has_the_sum_of_its_members_whichever_is_active_and_each_its_own() {
    let (made, _all) = made();
    let of = |rx_packets, rx_missed| PortCounters {
        rx_packets,
        rx_missed,
        ..PortCounters::default()
    };
    let counters = [of(100, 0), of(7, 3)];
    for a_is_up in [true, false] {
        links(&made, Some(a_is_up), Some(true));
        let state = made.view("red").expect("a redundant interface");
        let counted = views::counted(state, &counters);
        let own: Vec<_> = counted.members.iter().map(|member| member.counters).collect();
        assert_eq!(own, counters);
        assert_eq!(own.into_iter().sum::<PortCounters>(), of(107, 3));
    }
}
