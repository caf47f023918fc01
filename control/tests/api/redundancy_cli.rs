//! The real `tandem` binary: what it shows and asks of the pair.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::cli::{Said, ask, fits};
use super::daemon::Daemon;
use super::http::{Scratch, get_json};

fn row<'s>(said: &'s Said, first: &str) -> Vec<&'s str> {
    let mut rows = said
        .out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find(|row| row.first() == Some(&first))
        .unwrap_or_else(|| panic!("no row {first}: {}{}", said.out, said.err))
}

#[test]
fn replication_is_one_line_a_group_and_why_it_is_not_active() {
    let daemon = Daemon::start();
    let said = ask(&daemon, "show replication");
    fits(&said);
    assert_eq!(
        row(&said, "1"),
        [
            "1",
            "5.5.5.2",
            "synchronizing",
            "set",
            "active",
            "25",
            "40",
            "7",
            "16384",
            "rack-2"
        ]
    );
    assert!(
        said.out.contains("digest") && said.out.contains("22222222 there"),
        "{}",
        said.out
    );
    let all = ask(&daemon, "show replication extensive");
    fits(&all);
    for text in [
        "TLS13_AES_256_GCM_SHA384",
        &"bb".repeat(32),
        "collapsed",
        "closed by the peer",
        "backlogged",
        // Of the link and of the workers: two words for two things.
        "connections refused",
        "peer lost",
        "changes refused: room",
        "endings lost",
        "held back",
        "static mapping web of residential",
        "pools.p1",
        "NOT UNDERSTOOD",
    ] {
        assert!(all.out.contains(text), "{text}: {}", all.out);
    }
    for words in ["show replication --json", "show replication extensive --json"] {
        let json: Value = serde_json::from_str(&ask(&daemon, words).out).expect("JSON");
        assert_eq!(json, get_json(&daemon, "/v1/replication"));
    }
}

#[test]
fn sets_and_events_are_tables() {
    let daemon = Daemon::start();
    let sets = ask(&daemon, "show redundancy");
    fits(&sets);
    assert_eq!(
        row(&sets, "7"),
        [
            "7",
            "1",
            "wait",
            "primary",
            "4",
            "2026-09-21T14:13:20Z",
            "start",
            "-",
            "-",
            "subscribers-a"
        ]
    );
    assert_eq!(ask(&daemon, "show redundancy events").out, "Nothing happened.\n");
    let refused = ask(&daemon, "request redundancy set 7 primary");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("refused: the bulk"), "{}", refused.err);
    let forced = ask(&daemon, "request redundancy set 7 primary --force");
    assert_eq!(
        (forced.code, forced.out.as_str()),
        (Some(0), "redundancy set 7 is primary, epoch 5\n")
    );
    let again = ask(&daemon, "request redundancy set 7 primary");
    assert_eq!(again.out, "redundancy set 7 was primary already, epoch 5\n");
    let events = ask(&daemon, "show redundancy events --set 7");
    fits(&events);
    assert_eq!(
        row(&events, "2"),
        [
            "2",
            "2026-09-21T14:15:00Z",
            "7",
            "wait",
            "primary",
            "5",
            "operator,",
            "force",
            "done:",
            "what",
            "it",
            "lacks",
            "is",
            "lost"
        ]
    );
    assert!(row(&events, "1").contains(&"refused:"), "{}", events.out);
    let json: Value = serde_json::from_str(&ask(&daemon, "show redundancy events --json").out).expect("JSON");
    assert_eq!(json, get_json(&daemon, "/v1/redundancy-events"));
    for (words, code) in [
        ("request redundancy set 9 primary", 1),
        ("request redundancy set 129 primary", 2),
        ("request redundancy set 1 master", 2),
        ("request redundancy set 1", 2),
        ("request redundancy set 1 primary because", 2),
        ("request redundancy set 1 ineligible --force", 2),
        ("show redundancy set 9", 1),
        ("show redundancy events --limit 10000", 0),
        ("show redundancy events --limit 10001", 2),
        ("show redundancy events --limit 0", 2),
    ] {
        assert_eq!(ask(&daemon, words).code, Some(code), "{words}");
    }
}

#[test]
fn a_resynchronization_goes_one_way() {
    let daemon = Daemon::start();
    let said = ask(
        &daemon,
        "request replication resync --group 1 --from-peer --objects session,mapping",
    );
    assert_eq!(
        said.out, "resynchronizing from the peer of group 1: session, mapping\n",
        "{}",
        said.err
    );
    let several = ask(&daemon, "request replication resync --to-peer");
    assert_eq!(several.code, Some(2));
    assert!(several.err.contains("one of 1, 2"), "{}", several.err);
    for (words, code) in [
        ("request replication resync --group 1", 2),
        ("request replication resync --group 1 --to-peer --from-peer", 2),
        ("request replication resync --group 1 --to-peer --objects arp", 2),
        ("request replication resync --group 2 --to-peer", 1),
    ] {
        assert_eq!(ask(&daemon, words).code, Some(code), "{words}");
    }
}

#[test]
fn what_both_must_have_alike_is_shown_and_compared() {
    let daemon = Daemon::start();
    let text = ask(&daemon, "show replication config 1").out;
    assert_eq!(
        text,
        "canonical-configuration = 1\npools.p2.port-allocation = \"random\"\n"
    );
    let same = Scratch::new("same.txt", &text);
    let alike = ask(
        &daemon,
        &format!("show replication config 1 --compare {}", same.0.display()),
    );
    assert_eq!((alike.code, alike.out.as_str()), (Some(0), "They are alike.\n"));
    let other = Scratch::new("other.txt", &text.replace("random", "sequential"));
    let differ = ask(
        &daemon,
        &format!("show replication config 1 --compare {}", other.0.display()),
    );
    assert_eq!(differ.code, Some(1));
    assert_eq!(
        differ.out,
        "- pools.p2.port-allocation = \"random\"\n+ pools.p2.port-allocation = \"sequential\"\n"
    );
    assert_eq!(
        ask(&daemon, "show replication config 1 --compare /nonexistent").code,
        Some(2)
    );
    assert_eq!(ask(&daemon, "show replication config 5").code, Some(1));
}

#[test]
fn a_chassis_alone_says_so() {
    let daemon = Daemon::start();
    daemon.mock.alone.store(true, Ordering::SeqCst);
    let said = ask(&daemon, "show replication");
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "Nothing is replicated: no redundancy group runs.\n")
    );
    assert_eq!(ask(&daemon, "show redundancy").out, "No redundancy set runs.\n");
    assert_eq!(ask(&daemon, "request replication resync --to-peer").code, Some(2));
}

#[test]
fn a_set_is_shown_with_what_it_waits_for_and_what_is_outside() {
    let daemon = Daemon::start();
    let set = ask(&daemon, "show redundancy set 1");
    fits(&set);
    for text in [
        "it has the role",
        "recovery 12.345 s",
        "60 of 100",
        "80 of 255",
        "100, preempts",
        "heard on control, channel",
        "lan 10.0.0.1",
        "not here",
        "203.0.113.0/24 table 100 discard",
        "/run/tandem/set-7",
        "no such device",
    ] {
        assert!(set.out.contains(text), "{text}: {}", set.out);
    }
    let json: Value = serde_json::from_str(&ask(&daemon, "show redundancy set 1 --json").out).expect("JSON");
    assert_eq!(json, get_json(&daemon, "/v1/redundancy-sets/1"));
    let by_hand = ask(&daemon, "show redundancy set 7").out;
    assert!(
        by_hand.contains("by command alone") && !by_hand.contains("holds"),
        "{by_hand}"
    );
}

#[test]
fn the_pair_is_shown_in_short_and_at_length() {
    let daemon = Daemon::start();
    let brief = ask(&daemon, "show redundancy brief");
    assert_eq!(row(&brief, "amber").first(), Some(&"amber"));
    assert!(!brief.out.contains("secondary-1"), "{}", brief.out);
    let some = ask(&daemon, "show redundancy");
    for text in [
        "the path secondary-1 is down",
        "control",
        "0.250",
        "CLUSTER",
        "north",
    ] {
        assert!(some.out.contains(text), "{text}: {}", some.out);
    }
    let all = ask(&daemon, "show redundancy extensive");
    for text in ["recovery 12.345 s", "200 ms x 3", "-1.500", "GUARD", "signal 9"] {
        assert!(all.out.contains(text), "{text}: {}", all.out);
    }
    let counted = ask(&daemon, "show redundancy statistics");
    for text in ["peer-lost", "bad-mac", "490", "RESTARTS"] {
        assert!(counted.out.contains(text), "{text}: {}", counted.out);
    }
    assert!(
        !counted.out.contains("replayed"),
        "what stands at zero is left out"
    );
    for said in [&brief, &some, &all, &counted] {
        fits(said);
    }
    let json: Value = serde_json::from_str(&ask(&daemon, "show redundancy brief --json").out).expect("JSON");
    assert_eq!(json, get_json(&daemon, "/v1/redundancy"));
}

#[test]
fn the_operator_switches_takes_out_and_warns() {
    let daemon = Daemon::start();
    for (words, code, said) in [
        (
            "request redundancy set 1 ineligible",
            0,
            "redundancy set 1 is taken out; it is primary\n",
        ),
        (
            "request redundancy set 1 ineligible",
            0,
            "redundancy set 1 was taken out already; it is primary\n",
        ),
        (
            "request redundancy set 1 eligible",
            0,
            "redundancy set 1 is eligible; it is primary\n",
        ),
        (
            "request redundancy set 1 warning maintenance",
            0,
            "redundancy set 1 warns the peer\n",
        ),
        (
            "request redundancy set 1 warning",
            0,
            "redundancy set 1 warns of nothing\n",
        ),
        ("request redundancy set 7 ineligible", 1, ""),
        (
            "request redundancy switchover 1",
            0,
            "redundancy set 1 is standby, epoch 5\n",
        ),
        ("request redundancy switchover 7", 1, ""),
        (
            "request redundancy switchover 7 --force",
            0,
            "redundancy set 7 is primary, epoch 5\n",
        ),
    ] {
        let answer = ask(&daemon, words);
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (Some(code), said),
            "{words}: {}",
            answer.err
        );
    }
}

#[test]
fn members_of_a_redundant_interface_are_shown_and_forced() {
    let daemon = Daemon::start();
    let shown = ask(&daemon, "show interfaces");
    for text in [
        "eth1    up, active, primary",
        "eth2    down",
        "1970-01-12T13:46:40Z  the link of eth2 is down",
    ] {
        assert!(shown.out.contains(text), "{text}: {}", shown.out);
    }
    let forced = ask(&daemon, "request redundancy interface red force eth1");
    assert_eq!(
        (forced.code, forced.out.as_str()),
        (Some(0), "red: eth1 is active, forced\n"),
        "{}",
        forced.err
    );
    let reverted = ask(&daemon, "request redundancy interface red revert");
    assert_eq!(
        (reverted.code, reverted.out.as_str()),
        (Some(0), "red: eth1 is active\n"),
        "{}",
        reverted.err
    );
    let refused = ask(&daemon, "request redundancy interface red force eth2");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("the link of eth2 is down"),
        "{}",
        refused.err
    );
    let unknown = ask(&daemon, "request redundancy interface lan revert");
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.err.contains("there is no redundant interface lan"),
        "{}",
        unknown.err
    );
}
