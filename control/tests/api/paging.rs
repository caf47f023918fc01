//! Pages: one list over two workers, every row once, tokens only where they belong.

use std::collections::BTreeSet;

use serde_json::Value;

use super::daemon::Daemon;
use super::http::{get, get_json};
use super::mock::SESSIONS;

/// All pages of a list: the rows, and how many pages there were.
fn walk(daemon: &Daemon, path: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut rows, mut pages, mut next) = (Vec::new(), 0, String::new());
    loop {
        let page = get_json(
            daemon,
            &format!(
                "{path}{}limit={limit}{next}",
                if path.contains('?') { '&' } else { '?' }
            ),
        );
        let part = page["rows"].as_array().expect("rows").clone();
        assert!(part.len() <= limit, "{} rows, limit {limit}", part.len());
        rows.extend(part);
        pages += 1;
        assert!(pages < 100, "pages without end");
        match page["next"].as_str() {
            Some(token) => next = format!("&page={token}"),
            None => return (rows, pages),
        }
    }
}

#[test]
fn every_session_is_seen_once_whatever_the_page_size() {
    let daemon = Daemon::start();
    for limit in [1, 2, 7, 12, 13, 24, 25, 26, 10_000] {
        let (rows, pages) = walk(&daemon, "/v1/sessions", limit);
        let ports: BTreeSet<u64> = rows.iter().filter_map(|r| r["inside-port"].as_u64()).collect();
        assert_eq!((rows.len(), ports.len()), (SESSIONS, SESSIONS), "limit {limit}");
        assert!(pages >= SESSIONS.div_ceil(limit), "limit {limit}");
        let workers: BTreeSet<u64> = rows.iter().filter_map(|r| r["worker"].as_u64()).collect();
        assert_eq!(workers, BTreeSet::from([0, 1]), "limit {limit}");
    }
}

#[test]
fn a_page_may_span_both_workers() {
    let daemon = Daemon::start();
    let page = get_json(&daemon, "/v1/sessions?limit=20");
    let of_first = page["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|r| r["worker"] == 0)
        .count();
    assert_eq!(of_first, 13);
    assert_eq!(page["rows"].as_array().map(Vec::len), Some(20));
}

#[test]
fn the_default_page_is_100_rows_and_the_last_page_has_no_next() {
    let daemon = Daemon::start();
    let page = get_json(&daemon, "/v1/sessions");
    assert_eq!(page["rows"].as_array().map(Vec::len), Some(SESSIONS));
    assert!(page.get("next").is_none());
}

#[test]
fn the_other_lists_page_too() {
    let daemon = Daemon::start();
    for (path, expect) in [
        ("/v1/mappings", 4),
        ("/v1/blocks", 4),
        ("/v1/subscribers", 4),
        ("/v1/routes", 4),
    ] {
        for limit in 1..=5 {
            let (rows, _) = walk(&daemon, path, limit);
            let texts: BTreeSet<String> = rows.iter().map(Value::to_string).collect();
            assert_eq!(
                (rows.len(), texts.len()),
                (expect, expect),
                "{path} limit {limit}"
            );
        }
    }
    let (rows, _) = walk(&daemon, "/v1/routes?covers=192.0.2.1", 1);
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_token_of_another_list_or_filter_is_refused() {
    let daemon = Daemon::start();
    let token = |path: &str| {
        get_json(&daemon, path)["next"]
            .as_str()
            .expect("a next page")
            .to_owned()
    };
    let sessions = token("/v1/sessions?limit=1");
    let routes = token("/v1/routes?limit=1");
    for path in [
        format!("/v1/mappings?page={sessions}"),
        format!("/v1/sessions?protocol=tcp&page={sessions}"),
        format!("/v1/sessions?page={sessions}0"),
        format!("/v1/sessions?page={routes}"),
        "/v1/sessions?page=".to_owned(),
        format!("/v1/routes?interface=wan&page={routes}"),
        format!("/v1/routes?page={sessions}"),
        format!("/v1/routes?page={}", routes.replace("0.0.0.0", "0.0.0.x")),
    ] {
        let answer = get(&daemon, &path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        assert_eq!(answer.json()["field"], "page", "{path}");
    }
}
