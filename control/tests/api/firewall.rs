//! Policies, what they decided, and sessions put to them again after a reload.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::http::{get, get_json, post};
use super::mock::SESSIONS;

fn field(page: &Value, key: &str) -> Vec<Value> {
    let rows = page["rows"].as_array().expect("rows");
    rows.iter().map(|row| row[key].clone()).collect()
}

#[test]
fn policies_stand_in_order_with_their_hits_and_end_with_the_default() {
    let daemon = Daemon::start();
    let page = get_json(&daemon, "/v1/firewall/policies");
    let expect = json!([
        {"service-set": "subscribers-a", "direction": "outbound", "position": 1, "policy": "to-internet/no-mail",
         "action": "reject", "log": true, "hits": 12},
        {"service-set": "subscribers-a", "direction": "outbound", "position": 2, "policy": "to-internet/web",
         "action": "permit", "log": false, "hits": 2},
        {"service-set": "subscribers-a", "direction": "outbound", "position": 3, "policy": null,
         "action": "deny", "log": false, "hits": 24},
        {"service-set": "subscribers-a", "direction": "inbound", "position": 1, "policy": null,
         "action": "deny", "log": false, "hits": 0},
    ]);
    assert_eq!(page["rows"], expect);
    let inbound = get_json(
        &daemon,
        "/v1/firewall/policies?direction=inbound&service-set=subscribers-a",
    );
    assert_eq!(field(&inbound, "direction"), ["inbound"]);
    assert_eq!(
        get_json(&daemon, "/v1/firewall/policies?service-set=hotel")["rows"],
        json!([])
    );
}

#[test]
fn policies_come_in_pages() {
    let daemon = Daemon::start();
    let first = get_json(&daemon, "/v1/firewall/policies?limit=3");
    assert_eq!(field(&first, "position"), [1, 2, 3]);
    let next = first["next"].as_str().expect("one is left");
    let second = get_json(&daemon, &format!("/v1/firewall/policies?limit=3&page={next}"));
    assert_eq!(field(&second, "direction"), ["inbound"]);
    assert!(second.get("next").is_none());
    let other = get(
        &daemon,
        &format!("/v1/firewall/policies?direction=outbound&page={next}"),
    );
    assert_eq!(other.status, 400, "a page of another filter");
}

#[test]
fn a_silent_worker_is_told_but_does_not_cost_the_metrics() {
    let daemon = Daemon::start();
    let text = get(&daemon, "/metrics").text;
    for (direction, policy, action, hits) in [
        ("outbound", "to-internet/no-mail", "reject", 12),
        ("outbound", "default", "deny", 24),
        ("inbound", "default", "deny", 0),
    ] {
        let sample = format!(
            "tandem_firewall_policy_hits_total{{service_set=\"subscribers-a\",direction=\"{direction}\",\
             policy=\"{policy}\",action=\"{action}\"}} {hits}\n"
        );
        assert!(text.contains(&sample), "{sample} is not in {text}");
    }
    daemon.mock.silent.store(1, Ordering::SeqCst);
    assert_eq!(get(&daemon, "/v1/firewall/policies").status, 503);
    let answer = get(&daemon, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(!answer.text.contains("tandem_firewall_policy_hits_total{"));
}

#[test]
fn a_reload_puts_sessions_to_the_new_policies_when_asked() {
    let daemon = Daemon::start();
    let answer = post(&daemon, "/v1/config/reload?reevaluate=false", b"");
    assert!(answer.json().get("sessions-ended").is_none());
    assert_eq!(get_json(&daemon, "/v1/sessions?count=true")["count"], SESSIONS);
    let answer = post(&daemon, "/v1/config/reload?reevaluate=true", b"");
    assert_eq!(
        (answer.status, answer.json()["sessions-ended"].clone()),
        (200, json!(5))
    );
    assert_eq!(
        get_json(&daemon, "/v1/sessions?count=true")["count"],
        SESSIONS - 5
    );
    assert_eq!(
        get_json(&daemon, "/v1/sessions?protocol=udp&count=true")["count"],
        0
    );
}

#[test]
fn a_refused_file_ends_no_session_and_a_silent_worker_is_told_after_the_commit() {
    let daemon = Daemon::start();
    daemon.mock.silent.store(1, Ordering::SeqCst);
    let answer = post(&daemon, "/v1/config/reload?reevaluate=true", b"");
    assert_eq!(answer.status, 503);
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(
        detail.contains("applied, generation 5") && detail.contains("3 sessions were ended before"),
        "{detail}"
    );
    daemon.mock.config_is_bad.store(true, Ordering::SeqCst);
    let refused = post(&daemon, "/v1/config/reload?reevaluate=true", b"");
    assert_eq!(refused.status, 422, "nobody was asked");
}
