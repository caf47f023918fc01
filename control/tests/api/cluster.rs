//! Both chassis at once: configurations and files beside each other, what is taken from the peer, and what acts on both.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::cli::{ask, fits};
use super::daemon::Daemon;
use super::http::{delete, get, get_json, post};
use super::mock::SESSIONS;

#[test]
fn configurations_are_compared_and_pulled() {
    let daemon = Daemon::start();
    let compared = get_json(&daemon, "/v1/config/compare");
    assert_eq!(
        (&compared["alike"], &compared["peer-file-changed"]),
        (&json!(false), &json!(true))
    );
    assert!(
        compared["diff"]
            .as_str()
            .is_some_and(|diff| diff.contains("+fragments.timeout-s = 20\n"))
    );
    let asked = post(&daemon, "/v1/config/pull?dry-run=true", b"");
    assert_eq!((asked.status, &asked.json()["applied"]), (200, &json!(false)));
    let pulled = post(&daemon, "/v1/config/pull", b"").json();
    assert_eq!(
        (&pulled["applied"], &pulled["generation"]),
        (&json!(true), &json!(5))
    );
    daemon.mock.config_is_bad.store(true, Ordering::SeqCst);
    let refused = post(&daemon, "/v1/config/pull", b"");
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (422, &json!("config-refused"))
    );
    daemon.mock.alone.store(true, Ordering::SeqCst);
    for path in ["/v1/config/compare", "/v1/config/files"] {
        let refused = get(&daemon, path);
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (409, &json!("refused")),
            "{path}"
        );
    }
}

#[test]
fn files_are_compared_and_taken() {
    let daemon = Daemon::start();
    let state = |answer: &Value| answer["rows"][0]["state"].clone();
    assert_eq!(state(&get_json(&daemon, "/v1/config/files")), "differs");
    assert_eq!(
        state(&post(&daemon, "/v1/config/files/synchronize", b"").json()),
        "taken"
    );
}

#[test]
fn a_clear_of_the_cluster_says_what_each_did() {
    let daemon = Daemon::start();
    let both = delete(&daemon, "/v1/sessions?protocol=udp&cluster=true");
    assert_eq!(both.json(), json!({"cleared": 5, "peer": {"cleared": 2}}));
    daemon.mock.alone.store(true, Ordering::SeqCst);
    let one = delete(&daemon, "/v1/sessions?all=true&cluster=true").json();
    assert_eq!(one["cleared"], SESSIONS - 5);
    assert!(
        one["peer"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("not connected")),
        "{one}"
    );
}

#[test]
fn the_command_line_says_where_they_differ_and_what_was_taken() {
    let daemon = Daemon::start();
    let compared = ask(&daemon, "show configuration compare");
    fits(&compared);
    assert_eq!(compared.code, Some(1));
    assert!(
        compared.out.contains("\n-fragments.timeout-s = 10\n")
            && compared.out.contains("The peer's file has been changed")
    );
    let json: Value =
        serde_json::from_str(&ask(&daemon, "show configuration compare --json").out).expect("JSON");
    assert_eq!(json, get_json(&daemon, "/v1/config/compare"));
    let asked = ask(&daemon, "request configuration pull --dry-run");
    assert!(
        asked.code == Some(0)
            && asked
                .out
                .ends_with("It can be taken over; nothing was changed.\n"),
        "{}",
        asked.out
    );
    let pulled = ask(&daemon, "request configuration pull");
    assert!(
        pulled.out.ends_with("taken over, generation 5\n"),
        "{}",
        pulled.out
    );
    let files = ask(&daemon, "show configuration files");
    assert!(
        files.code == Some(1) && files.out.contains("differs"),
        "{}",
        files.out
    );
    let files = ask(&daemon, "request files synchronize");
    assert!(
        files.code == Some(0) && files.out.contains("taken"),
        "{}",
        files.out
    );
    daemon.mock.config_is_bad.store(true, Ordering::SeqCst);
    let refused = ask(&daemon, "request configuration pull");
    assert!(
        refused.code == Some(1) && refused.err.contains("the range is inverted"),
        "{}",
        refused.err
    );
}

#[test]
fn a_command_for_both_that_one_did_not_do_ends_with_1() {
    let daemon = Daemon::start();
    let both = ask(&daemon, "clear sessions --protocol udp --cluster");
    assert_eq!(
        (both.code, both.out.as_str()),
        (Some(0), "5 sessions cleared\n2 sessions cleared at the peer\n")
    );
    daemon.mock.propagates.store(true, Ordering::SeqCst);
    assert_eq!(
        ask(&daemon, "reload").out,
        "applied, generation 5\nat the peer, generation 9\n"
    );
    assert_eq!(ask(&daemon, "reload --local").out, "applied, generation 5\n");
    daemon.mock.alone.store(true, Ordering::SeqCst);
    let one = ask(&daemon, "clear sessions --all --cluster");
    assert!(
        one.code == Some(1) && one.err.contains("on this chassis only"),
        "{}",
        one.err
    );
    let alone = ask(&daemon, "reload");
    assert!(
        alone.code == Some(0) && alone.err.contains("not at the peer: the peer is not connected"),
        "{}",
        alone.err
    );
}
