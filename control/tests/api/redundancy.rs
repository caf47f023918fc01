//! The pair: replication, redundancy sets, and what they are asked to do.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::http::{Answer, get, get_json, post};

fn ask(daemon: &Daemon, path: &str, body: &Value) -> Answer {
    post(daemon, path, body.to_string().as_bytes())
}

#[test]
fn a_group_shows_its_channel_its_mirrors_and_what_waits() {
    let daemon = Daemon::start();
    let all = get_json(&daemon, "/v1/replication");
    let group = &all["rows"][0];
    assert_eq!(group["state"], "synchronizing");
    assert_eq!(
        (&group["sending"], &group["receiving"]),
        (&json!("set"), &json!("active"))
    );
    assert_eq!((&group["reason"], &group["detail"]), (&Value::Null, &json!("")));
    let channel = &group["channel"];
    assert_eq!(channel["peer-address"], "5.5.5.2");
    assert_eq!(channel["cipher"], "TLS13_AES_256_GCM_SHA384");
    assert_eq!(
        channel["peer-certificate"],
        json!({"fingerprint": "bb".repeat(32), "expires-unix-s": 2_100_000_000u64})
    );
    assert_eq!(channel["last-failure"]["kind"], "closed");
    let kinds = channel["failures"].as_array().expect("failures");
    assert!(
        kinds
            .iter()
            .any(|one| *one == json!({"kind": "wrong-fingerprint", "count": 0}))
    );
    // 250 of 1000, and the one received long ago is complete.
    assert_eq!(group["bulk-sent"]["percent"], 25.0);
    assert_eq!(group["bulk-received"]["percent"], 100.0);
    assert_eq!(group["bulk-received"]["expected-objects"], Value::Null);
    assert_eq!(
        group["lag"],
        json!({"now-ms": 40, "p50-ms": 2, "p99-ms": 2, "max-ms": 40})
    );
    assert_eq!(
        group["queues"]["window-bytes"],
        json!({"used": 16_384, "total": 67_108_864})
    );
    assert_eq!(group["counters"]["retransmits"], 3);
    assert_eq!(all["workers"]["installed"], 9);
}

#[test]
fn a_peer_with_another_configuration_is_named_with_both_digests() {
    let daemon = Daemon::start();
    let group = get_json(&daemon, "/v1/replication")["rows"][1].clone();
    assert_eq!(
        (&group["state"], &group["reason"]),
        (&json!("suspended"), &json!("digest"))
    );
    let detail = group["detail"].as_str().expect("words");
    assert!(detail.contains("11111111 here, 22222222 there"), "{detail}");
    assert_eq!(
        group["digest"],
        json!({"ours": "11".repeat(32), "theirs": "22".repeat(32)})
    );
    assert_eq!(
        (&group["sending"], &group["receiving"], &group["lag"]["now-ms"]),
        (&Value::Null, &Value::Null, &Value::Null),
        "nothing is replicated, so nobody is behind"
    );
    assert_eq!(
        group["differences"],
        json!([
            {"part": "pools.p1", "differs": "otherwise", "suspends": true},
            {"part": "static mapping web of residential", "differs": "only-here", "suspends": false},
        ])
    );
}

#[test]
fn what_workers_hold_back_and_what_is_not_understood_is_shown() {
    let daemon = Daemon::start();
    let group = get_json(&daemon, "/v1/replication")["rows"][0].clone();
    assert_eq!(
        (&group["state"], &group["sending"]),
        (&json!("synchronizing"), &json!("set"))
    );
    assert_eq!(group["queues"]["held-back"], 3);
    assert_eq!(group["counters"]["offers-in-vain"], 72);
    assert_eq!(group["differences"], json!([]));
    let poison = json!({"sequence": 9, "times": 3, "skipped": true, "error": "a record of type 250"});
    assert_eq!(group["poison"]["sequence"], poison["sequence"]);
    assert_eq!(
        (&group["poison"]["times"], &group["poison"]["skipped"]),
        (&poison["times"], &poison["skipped"])
    );
    assert!(
        group["poison"]["error"]
            .as_str()
            .is_some_and(|why| why.contains("250")),
        "{group}"
    );
}

#[test]
fn a_chassis_alone_has_no_rows() {
    let daemon = Daemon::start();
    daemon.mock.alone.store(true, Ordering::SeqCst);
    assert_eq!(get_json(&daemon, "/v1/replication")["rows"], json!([]));
    assert_eq!(get_json(&daemon, "/v1/redundancy-sets"), json!({"rows": []}));
    assert_eq!(get(&daemon, "/v1/redundancy-sets/1").status, 404);
    assert_eq!(get(&daemon, "/metrics").status, 200);
}

#[test]
fn the_text_that_is_compared_can_be_had() {
    let daemon = Daemon::start();
    let config = get_json(&daemon, "/v1/replication/1/config");
    assert_eq!(config["digest"], "11".repeat(32));
    assert!(
        config["text"]
            .as_str()
            .is_some_and(|text| text.contains("pools.p2.port-allocation"))
    );
    assert_eq!(get(&daemon, "/v1/replication/9/config").status, 404);
}

#[test]
fn a_resynchronization_says_what_it_tells() {
    let daemon = Daemon::start();
    let wanted = json!({"direction": "from-peer", "objects": ["session"]});
    let answer = ask(&daemon, "/v1/replication/1/resync", &wanted);
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"redundancy-group": 1, "direction": "from-peer", "objects": ["session"]})
        )
    );
    // All when none is named; in their order, and once.
    for (objects, told) in [
        (json!([]), json!(["session", "mapping", "block"])),
        (json!(["block", "session", "block"]), json!(["session", "block"])),
    ] {
        let wanted = json!({"direction": "to-peer", "objects": objects});
        let answer = ask(&daemon, "/v1/replication/1/resync", &wanted);
        assert_eq!((answer.status, &answer.json()["objects"]), (200, &told));
    }
    let suspended = ask(
        &daemon,
        "/v1/replication/2/resync",
        &json!({"direction": "to-peer"}),
    );
    assert_eq!(
        (suspended.status, &suspended.json()["error"]),
        (409, &json!("refused")),
        "{}",
        suspended.text
    );
    let unknown = ask(
        &daemon,
        "/v1/replication/9/resync",
        &json!({"direction": "to-peer"}),
    );
    assert_eq!(
        (unknown.status, &unknown.json()["error"]),
        (404, &json!("not-found"))
    );
    for wrong in [
        json!({}),
        json!({"direction": "sideways"}),
        json!({"direction": "to-peer", "objects": ["arp"]}),
        json!({"direction": "to-peer", "object": ["session"]}),
    ] {
        let answer = ask(&daemon, "/v1/replication/1/resync", &wrong);
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &json!("bad-parameter")),
            "{wrong}"
        );
    }
}

#[test]
fn a_role_is_taken_up_and_told() {
    let daemon = Daemon::start();
    let answer = ask(&daemon, "/v1/redundancy-sets/1/role", &json!({"role": "standby"}));
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"redundancy-set": 1, "role": "standby", "epoch": 5, "changed": true, "note": null})
        )
    );
    let set = get_json(&daemon, "/v1/redundancy-sets/1");
    assert_eq!((&set["role"], &set["epoch"]), (&json!("standby"), &json!(5)));
    assert_eq!(set["last-cause"], "operator");
    let again = ask(&daemon, "/v1/redundancy-sets/1/role", &json!({"role": "standby"}));
    assert_eq!((again.status, &again.json()["changed"]), (200, &json!(false)));
    assert_eq!(
        get_json(&daemon, "/v1/redundancy-events"),
        json!({"rows": [{
            "id": 1, "at-unix-s": 1_790_000_100u64, "redundancy-set": 1, "from": "primary", "to": "standby", "epoch": 5,
            "cause": "operator", "forced": false, "ok": true, "reason": null, "note": null
        }]})
    );
}

#[test]
fn a_role_that_the_state_does_not_allow_is_refused_and_told() {
    let daemon = Daemon::start();
    let path = "/v1/redundancy-sets/7/role";
    let refused = ask(&daemon, path, &json!({"role": "primary"}));
    let problem = refused.json();
    assert_eq!((refused.status, &problem["error"]), (409, &json!("refused")));
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| text.contains("not complete"))
    );
    assert_eq!(get_json(&daemon, "/v1/redundancy-sets/7")["role"], "wait");
    let forced = ask(&daemon, path, &json!({"role": "primary", "force": true}));
    assert_eq!((forced.status, &forced.json()["role"]), (200, &json!("primary")));
    let of_set = |query: &str| get_json(&daemon, &format!("/v1/redundancy-events?{query}"))["rows"].clone();
    let rows = of_set("redundancy-set=7");
    assert_eq!((&rows[0]["ok"], &rows[0]["forced"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&rows[1]["ok"], &rows[1]["to"]),
        (&json!(false), &json!("primary"))
    );
    assert_eq!(of_set("limit=1").as_array().map(Vec::len), Some(1));
    assert_eq!(of_set("redundancy-set=1"), json!([]));
    assert_eq!(
        ask(&daemon, "/v1/redundancy-sets/9/role", &json!({"role": "primary"})).status,
        404
    );
    for wrong in [
        json!({"role": "wait"}),
        json!({"role": "primary", "now": true}),
        json!([]),
    ] {
        assert_eq!(ask(&daemon, path, &wrong).status, 400, "{wrong}");
    }
}

#[test]
fn a_set_says_what_it_is_and_why() {
    let daemon = Daemon::start();
    let set = get_json(&daemon, "/v1/redundancy-sets/1");
    assert_eq!(
        (&set["automatic"], &set["reason"], &set["preempt"]),
        (&json!(true), &json!("it has the role"), &json!(true))
    );
    assert_eq!(set["holds"], json!([{"hold": "recovery", "left-ms": 12_345}]));
    assert_eq!(
        set["weights"],
        json!({"failed": 60, "threshold": 100, "chassis-failed": 80, "chassis-threshold": 255})
    );
    assert_eq!(set["peer"]["heard-on"], json!(["control", "channel"]));
    assert_eq!(
        set["outside"]["virtual-addresses"][1],
        json!({"interface": "wan", "address": "192.0.2.9", "in-place": false})
    );
    assert_eq!(
        set["outside"]["signal-routes"],
        json!([{"prefix": "203.0.113.0/24", "table": 100, "target": "discard"}])
    );
    assert_eq!(
        set["outside"]["track-file"],
        json!({"path": "/run/tandem/set-7", "number": 0})
    );
    assert_eq!(
        (&set["light"], &set["last-event"]),
        (&json!("amber"), &Value::Null)
    );
    ask(
        &daemon,
        "/v1/redundancy-sets/7/role",
        &json!({"role": "primary", "force": true}),
    );
    let set = get_json(&daemon, "/v1/redundancy-sets/7");
    assert_eq!(
        (&set["light"], &set["why"][0]),
        (&json!("red"), &json!("both chassis are primary"))
    );
    assert_eq!(
        (&set["last-event"]["from"], &set["last-event"]["note"]),
        (&json!("wait"), &json!("what it lacks is lost"))
    );
}

#[test]
fn the_pair_shows_heartbeats_guard_and_counts() {
    let daemon = Daemon::start();
    let all = get_json(&daemon, "/v1/redundancy");
    assert_eq!(all["light"], "amber");
    let why = all["why"].to_string();
    assert!(why.contains("set 7: this chassis is wait"), "{why}");
    assert!(
        why.contains("the path secondary-1 is down: no such device"),
        "{why}"
    );
    assert_eq!(all["rows"], get_json(&daemon, "/v1/redundancy-sets")["rows"]);
    let group = &all["heartbeats"][0];
    assert_eq!(
        (&group["peer"], &group["interval-ms"], &group["clock-ahead-us"]),
        (&json!("alive"), &json!(200), &json!(-1500))
    );
    assert_eq!(group["paths"][0]["counters"]["bad-mac"], 2);
    assert_eq!(
        all["guard"],
        json!({"pid": 77, "restarts": 1, "last-end": "signal 9"})
    );
    let counts = all["counts"].as_array().expect("counts");
    let lost = json!({"redundancy-set": 1, "cause": "peer-lost", "transitions": 3, "refusals": 0});
    assert!(counts.contains(&lost), "{counts:?}");
    daemon.mock.alone.store(true, Ordering::SeqCst);
    let alone = get_json(&daemon, "/v1/redundancy");
    assert_eq!(
        (&alone["light"], &alone["guard"]),
        (&json!("green"), &Value::Null)
    );
}

#[test]
fn a_switchover_is_checked_as_the_role_it_comes_to() {
    let daemon = Daemon::start();
    let released = ask(&daemon, "/v1/redundancy-sets/1/switchover", &json!({}));
    assert_eq!(
        (released.status, &released.json()["role"]),
        (200, &json!("standby")),
        "{}",
        released.text
    );
    let path = "/v1/redundancy-sets/7/switchover";
    let refused = ask(&daemon, path, &json!({"force": false}));
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (409, &json!("refused"))
    );
    let forced = ask(&daemon, path, &json!({"force": true}));
    assert_eq!((forced.status, &forced.json()["role"]), (200, &json!("primary")));
    for (path, status) in [
        ("/v1/redundancy-sets/9/switchover", 404),
        ("/v1/redundancy-sets/129/switchover", 400),
    ] {
        assert_eq!(ask(&daemon, path, &json!({})).status, status, "{path}");
    }
    assert_eq!(ask(&daemon, path, &json!({"role": "primary"})).status, 400);
}

#[test]
fn a_set_is_taken_out_and_warns_where_heartbeats_say_so() {
    let daemon = Daemon::start();
    let path = "/v1/redundancy-sets/1/eligibility";
    for (eligible, changed) in [(false, true), (false, false), (true, true)] {
        let answer = ask(&daemon, path, &json!({"eligible": eligible}));
        assert_eq!((answer.status, &answer.json()["changed"]), (200, &json!(changed)));
        let shown = get_json(&daemon, "/v1/redundancy-sets/1");
        assert_eq!(shown["taken-out"], json!(!eligible));
    }
    let path = "/v1/redundancy-sets/1/warning";
    for text in [json!("maintenance of the wan"), Value::Null] {
        assert_eq!(ask(&daemon, path, &json!({"text": text})).status, 200);
        assert_eq!(get_json(&daemon, "/v1/redundancy-sets/1")["warning"], text);
    }
    for wrong in [
        json!({"text": ""}),
        json!({"text": "x".repeat(201)}),
        json!({"text": "a\nb"}),
    ] {
        let answer = ask(&daemon, path, &wrong);
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (400, &json!("text")),
            "{wrong}"
        );
    }
    for (path, body) in [
        ("/v1/redundancy-sets/7/eligibility", json!({"eligible": false})),
        ("/v1/redundancy-sets/7/warning", json!({"text": "x"})),
    ] {
        let answer = ask(&daemon, path, &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (409, &json!("refused")),
            "{path}"
        );
        assert!(answer.text.contains("by command alone"), "{}", answer.text);
    }
}
