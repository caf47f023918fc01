//! Look-ups: each source that knows answers, and says that it did.

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::http::get_json;

fn ask(daemon: &Daemon, query: &str) -> Value {
    get_json(daemon, &format!("/v1/lookup?{query}"))
}

/// Source, inside, inside port, first and last public port of each row.
fn rows(answer: &Value) -> Vec<(String, String, Option<u64>, u64, u64)> {
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
    let number = |row: &Value, key: &str| row[key].as_u64();
    let rows = answer["rows"].as_array().expect("rows");
    rows.iter()
        .map(|row| {
            (
                text(row, "source"),
                text(row, "inside"),
                number(row, "inside-port"),
                number(row, "first-port").expect("a port"),
                number(row, "last-port").expect("a port"),
            )
        })
        .collect()
}

fn row(
    source: &str,
    inside: &str,
    port: Option<u64>,
    first: u64,
    last: u64,
) -> (String, String, Option<u64>, u64, u64) {
    (source.to_owned(), inside.to_owned(), port, first, last)
}

#[test]
fn a_mapping_and_the_block_around_it_answer() {
    let daemon = Daemon::start();
    let answer = ask(&daemon, "address=203.0.113.7&port=2001&protocol=udp");
    assert_eq!(answer["source"], "live-mapping");
    // The mock's blocks and mappings are not of one mind; each answers what it knows.
    assert_eq!(
        rows(&answer),
        [
            row("live-mapping", "10.0.0.2", Some(5001), 2001, 2001),
            row("port-block", "10.0.0.2", None, 1536, 2047),
        ]
    );
    assert_eq!(answer["rows"][0]["pool"], "residential");
    assert_eq!(answer["rows"][0]["service-set"], "subscribers-a");
    assert_eq!(answer["rows"][0]["protocol"], "udp");
}

#[test]
fn a_session_without_a_mapping_answers() {
    let daemon = Daemon::start();
    let answer = ask(&daemon, "address=203.0.113.7&port=1030&protocol=tcp");
    assert_eq!(
        rows(&answer),
        [
            row("live-session", "10.0.0.3", Some(40006), 1030, 1030),
            row("port-block", "10.0.0.1", None, 1024, 1535),
        ]
    );
}

#[test]
fn the_formula_answers_both_ways() {
    let daemon = Daemon::start();
    // 63 subscribers of 1024 ports fit on an address: number 64 is the second of the second.
    let answer = ask(&daemon, "inside=100.64.0.64");
    assert_eq!(answer["source"], "deterministic-formula");
    assert_eq!(
        rows(&answer),
        [row("deterministic-formula", "100.64.0.64", None, 2048, 3071)]
    );
    assert_eq!(answer["rows"][0]["public-address"], "203.0.113.65");
    assert_eq!(answer["rows"][0]["pool"], "formula");
    for port in [2048, 3071] {
        let back = ask(&daemon, &format!("address=203.0.113.65&port={port}"));
        assert_eq!(back["rows"], answer["rows"]);
    }
    let other = ask(&daemon, "address=203.0.113.65&port=3072");
    assert_eq!(other["rows"][0]["inside"], "100.64.0.65");
}

#[test]
fn static_mappings_answer_both_ways() {
    let daemon = Daemon::start();
    let web = ask(&daemon, "address=198.51.100.80&port=80&protocol=tcp");
    assert_eq!(rows(&web), [row("static", "10.0.9.80", Some(8080), 80, 80)]);
    assert_eq!(web["rows"][0]["name"], "web");
    assert_eq!(
        ask(&daemon, "address=198.51.100.80&port=80")["rows"],
        web["rows"],
        "of any protocol"
    );
    assert_eq!(
        ask(&daemon, "address=198.51.100.80&port=80&protocol=udp")["source"],
        "nobody"
    );
    let mail = ask(&daemon, "address=198.51.100.25&port=25");
    assert_eq!(rows(&mail), [row("static", "10.0.9.25", Some(25), 25, 25)]);
    let inside = ask(&daemon, "inside=10.0.9.25");
    assert_eq!(rows(&inside), [row("static", "10.0.9.25", None, 0, 65535)]);
    assert_eq!(inside["rows"][0]["public-address"], "198.51.100.25");
    let inside = ask(&daemon, "inside=10.0.9.80&port=8080");
    assert_eq!(rows(&inside), [row("static", "10.0.9.80", Some(8080), 80, 80)]);
    assert_eq!(ask(&daemon, "inside=10.0.9.80&port=80")["source"], "nobody");
}

#[test]
fn nobody_is_an_answer() {
    let daemon = Daemon::start();
    for query in [
        "address=192.0.2.77&port=1",
        "address=2001:db8::7&port=1",
        "inside=10.77.0.1",
    ] {
        assert_eq!(
            ask(&daemon, query),
            json!({"source": "nobody", "rows": [], "more": false}),
            "{query}"
        );
    }
}

#[test]
fn an_ipv6_subscriber_is_looked_up_by_any_of_its_addresses_and_shown_as_a_prefix() {
    let daemon = Daemon::start();
    daemon.mock.add_six();
    let answer = ask(&daemon, "inside=2001:db8:1:2::9");
    let sources: Vec<String> = rows(&answer).into_iter().map(|r| r.0).collect();
    assert!(sources.contains(&"live-session".to_owned()), "{answer}");
    let paired = answer["rows"]
        .as_array()
        .and_then(|rows| rows.last())
        .expect("rows");
    assert_eq!(
        (&paired["source"], &paired["inside"], &paired["first-port"]),
        (&json!("paired-address"), &json!("2001:db8:1::/56"), &json!(1024))
    );
    let detail = get_json(&daemon, "/v1/subscribers/2001:db8:1:2::9");
    assert_eq!(detail["subscribers"][0]["inside-address"], "2001:db8:1::/56");
    assert_eq!(detail["blocks"][0]["inside-address"], "2001:db8:1::/56");
    let session = detail["sessions"]["rows"][0].clone();
    assert_eq!(session["inside-address"], "2001:db8:1:2::9");
    assert_eq!(session["translation-type"], "stateful-nat64");
    assert_eq!(
        (&session["outside-address"], &session["remote-address"]),
        (&json!("64:ff9b::c633:6401"), &json!("198.51.100.1"))
    );
    for (prefix, count) in [
        ("2001:db8:1::/56", 1),
        ("2001:db8:1:3::/64", 0),
        ("::/0", 1),
        ("10.0.0.0/30", 19),
    ] {
        let page = get_json(
            &daemon,
            &format!("/v1/sessions?inside-address={prefix}&count=true"),
        );
        assert_eq!(page["count"], count, "{prefix}");
    }
}
