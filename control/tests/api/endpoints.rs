//! Every endpoint: what it answers when all is well.

use std::sync::atomic::Ordering;

use serde_json::json;
use tandem_engine::drop_reason::DropReason;

use super::daemon::Daemon;
use super::http::{delete, get, get_json, post};
use super::mock::SESSIONS;

#[test]
fn health_is_200_until_it_is_down() {
    let daemon = Daemon::start();
    let health = get_json(&daemon, "/v1/health");
    assert_eq!(health["status"], "ok");
    assert_eq!(health["uptime-s"], 3600);
    daemon.mock.down.store(true, Ordering::SeqCst);
    let answer = get(&daemon, "/v1/health");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["status"], "down");
    assert_eq!(answer.json()["checks"][0]["detail"], "worker 0 stalled");
}

#[test]
fn version_and_config_are_shown() {
    let daemon = Daemon::start();
    assert_eq!(
        get_json(&daemon, "/v1/version"),
        json!({"tandem": "0.1.0", "dpdk": "DPDK 22.11.9"})
    );
    let config = get_json(&daemon, "/v1/config");
    assert_eq!(config["generation"], 4);
    assert_eq!(config["loaded-at-unix-s"], 1_790_000_000);
    assert!(config.get("last-reload").is_none());
}

#[test]
fn interfaces_say_why_they_are_down() {
    let daemon = Daemon::start();
    let rows = get_json(&daemon, "/v1/interfaces")["rows"].clone();
    assert_eq!(rows[0]["state"], "up");
    assert!(rows[0].get("down-reason").is_none());
    assert_eq!(rows[1]["state"], "down");
    assert_eq!(rows[1]["down-reason"], "carrier");
    assert_eq!(rows[1]["mac"], "02:00:00:00:00:01");
    assert_eq!(rows[0]["counters"]["rx-bytes"], 1100);
}

#[test]
fn workers_neighbours_and_pools_are_shown() {
    let daemon = Daemon::start();
    let workers = get_json(&daemon, "/v1/workers");
    assert_eq!(workers["rows"].as_array().map(Vec::len), Some(2));
    assert_eq!(workers["rows"][1]["id"], 1);
    assert_eq!(workers["rows"][0]["sessions"], json!({"used": 13, "total": 1024}));
    let neighbours = get_json(&daemon, "/v1/neighbours");
    assert_eq!(neighbours["rows"][0]["mac"], "02:00:00:00:00:09");
    let pools = get_json(&daemon, "/v1/pools");
    assert_eq!(
        pools["rows"][0]["tcp-ports"],
        json!({"used": 16128, "total": 64512})
    );
    assert_eq!(pools["rows"][0]["service-sets"], json!(["subscribers-a"]));
}

#[test]
fn routes_are_found_by_prefix_address_and_interface() {
    let daemon = Daemon::start();
    let prefixes = |path: &str| -> Vec<String> {
        let rows = get_json(&daemon, path)["rows"].clone();
        rows.as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| r["prefix"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(
        prefixes("/v1/routes?covers=192.0.2.7"),
        ["0.0.0.0/0", "192.0.2.0/24"]
    );
    assert_eq!(prefixes("/v1/routes?prefix=2001:db8::/32"), ["2001:db8::/32"]);
    assert_eq!(prefixes("/v1/routes?interface=lan"), Vec::<String>::new());
    let routes = get_json(&daemon, "/v1/routes");
    assert_eq!(routes["count"], 4);
    assert_eq!(
        routes["rows"][0]["next-hops"][1],
        json!({
            "gateway": "192.0.2.2", "interface": "wan", "weight": 3, "usable": true
        })
    );
}

#[test]
fn a_session_shows_its_whole_tuple_with_names() {
    let daemon = Daemon::start();
    let rows = get_json(&daemon, "/v1/sessions?inside-port=40001")["rows"].clone();
    let expect = json!([{
        "worker": 1, "service-set": "subscribers-a", "protocol": "tcp", "state": "established",
        "initiated-outside": false, "inside-address": "10.0.0.2", "inside-port": 40001,
        "public-address": "203.0.113.7", "public-port": 1025,
        "outside-address": "198.51.100.1", "outside-port": 443, "remote-address": "198.51.100.1",
        "translation-type": "napt-44", "pool": "residential", "term": 1, "policy": "to-internet/web",
        "packets-out": 11, "bytes-out": 1000, "packets-in": 20, "bytes-in": 2000,
        "age-s": 60, "idle-s": 5, "timeout-s": 7440
    }]);
    assert_eq!(rows, expect);
}

#[test]
fn sessions_are_filtered_by_every_field() {
    let daemon = Daemon::start();
    let all = SESSIONS;
    for (filter, expect) in [
        ("protocol=udp", 5),
        ("protocol=17", 5),
        ("protocol=gre", 0),
        ("inside-address=10.0.0.1", 7),
        ("inside-address=10.0.0.9", 0),
        ("inside-port=40024", 1),
        ("public-address=203.0.113.7", all),
        ("public-address=203.0.113.8", 0),
        ("public-port=1030", 1),
        ("outside-address=198.51.100.1", all),
        ("outside-address=2001:db8::1", 0),
        ("outside-port=443", all),
        ("outside-port=80", 0),
        ("service-set=subscribers-a", all),
        ("service-set=%231", all),
        ("pool=residential", all),
        ("pool=%239", 0),
        ("protocol=tcp&inside-address=10.0.0.1", 5),
    ] {
        let found = get_json(&daemon, &format!("/v1/sessions?{filter}"));
        assert_eq!(found["rows"].as_array().map(Vec::len), Some(expect), "{filter}");
        let counted = get_json(&daemon, &format!("/v1/sessions?{filter}&count=true"));
        assert_eq!(counted, json!({"rows": [], "count": expect}), "{filter}");
    }
}

#[test]
fn mappings_blocks_and_subscribers_are_shown() {
    let daemon = Daemon::start();
    let mappings = get_json(&daemon, "/v1/mappings?inside-address=10.0.0.3");
    assert_eq!(mappings["rows"][0]["inside-port"], 5002);
    assert_eq!(mappings["rows"][0]["sessions"], 2);
    let blocks = get_json(&daemon, "/v1/blocks?pool=residential");
    assert_eq!(blocks["rows"].as_array().map(Vec::len), Some(4));
    assert_eq!(blocks["rows"][0]["last-port"], 1535);
    let subscribers = get_json(&daemon, "/v1/subscribers");
    assert_eq!(subscribers["rows"].as_array().map(Vec::len), Some(4));
    assert_eq!(subscribers["rows"][0]["refused"], 3);
    assert!(subscribers["rows"][0].get("limits").is_none());
}

#[test]
fn one_subscriber_shows_everything_about_it() {
    let daemon = Daemon::start();
    let detail = get_json(&daemon, "/v1/subscribers/10.0.0.2?limit=3");
    assert_eq!(detail["subscribers"].as_array().map(Vec::len), Some(1));
    assert_eq!(detail["subscribers"][0]["limits"]["max-sessions"], 2000);
    assert_eq!(detail["blocks"][0]["inside-address"], "10.0.0.2");
    assert_eq!(detail["sessions"]["rows"].as_array().map(Vec::len), Some(3));
    // Its `next` goes on in the list of sessions.
    let next = detail["sessions"]["next"].as_str().expect("more than three");
    let rest = get_json(
        &daemon,
        &format!("/v1/sessions?inside-address=10.0.0.2&page={next}"),
    );
    assert_eq!(rest["rows"].as_array().map(Vec::len), Some(3));
    let nobody = get(&daemon, "/v1/subscribers/10.9.9.9");
    assert_eq!(
        (nobody.status, nobody.json()["error"].clone()),
        (404, json!("not-found"))
    );
}

#[test]
fn clear_ends_what_matches_and_nothing_else() {
    let daemon = Daemon::start();
    let answer = delete(&daemon, "/v1/sessions?protocol=udp");
    assert_eq!((answer.status, answer.json()), (200, json!({"cleared": 5})));
    assert_eq!(
        get_json(&daemon, "/v1/sessions?count=true")["count"],
        SESSIONS - 5
    );
    let answer = delete(&daemon, "/v1/sessions?all=true");
    assert_eq!(answer.json(), json!({"cleared": SESSIONS - 5}));
    assert_eq!(get_json(&daemon, "/v1/sessions?count=true")["count"], 0);
    assert_eq!(counter(&daemon, "api-sessions-cleared"), SESSIONS as u64);
}

fn counter(daemon: &Daemon, name: &str) -> u64 {
    let rows = get_json(daemon, "/v1/counters")["rows"].clone();
    let row = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|r| r["name"] == name))
        .cloned();
    row.and_then(|r| r["total"].as_u64())
        .unwrap_or_else(|| panic!("no counter {name}"))
}

#[test]
fn counters_hold_every_drop_reason_and_the_drops_are_a_part_of_them() {
    let daemon = Daemon::start();
    for reason in DropReason::ALL {
        let expect = match reason {
            DropReason::NoRoute => 2,
            DropReason::TtlExpired => 1,
            _ => 0,
        };
        assert_eq!(counter(&daemon, reason.as_str()), expect, "{reason:?}");
    }
    assert_eq!(counter(&daemon, "reload-refused"), 1);
    let drops = get_json(&daemon, "/v1/drops")["rows"].clone();
    let drops = drops.as_array().expect("rows");
    assert_eq!(drops.len(), DropReason::COUNT + 1);
    assert!(
        drops
            .iter()
            .all(|r| r["group"] == "drop" || r["group"] == "parse")
    );
    assert!(
        drops
            .iter()
            .any(|r| r["name"] == "ipv4-truncated" && r["workers"] == json!([0, 7]))
    );
}

#[test]
fn reload_applies_or_names_every_fault() {
    let daemon = Daemon::start();
    let answer = post(&daemon, "/v1/config/reload", b"");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["generation"], 5);
    assert!(answer.json().get("sessions-ended").is_none());
    daemon.mock.config_is_bad.store(true, Ordering::SeqCst);
    let answer = post(&daemon, "/v1/config/reload", b"");
    assert_eq!(answer.status, 422);
    let problem = answer.json();
    assert_eq!(problem["error"], "config-refused");
    assert_eq!(problem["faults"][0]["line"], 12);
    assert_eq!(problem["faults"][0]["path"], "pools.cgn.port-range");
    assert_eq!(counter(&daemon, "api-config-refused"), 1);
}
