//! Refusals: what is wrong is named, what would be right is said, and each is counted.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tandem_control::api::{Listener, ServeError, Server, Token, serve};

use super::daemon::{Daemon, TOKEN, listener, with_token};
use super::http::{Scratch, delete, get, get_json, get_with, post, raw};
use super::mock::{Mock, SESSIONS};

fn refused(daemon: &Daemon, path: &str, field: &str, says: &str) {
    let answer = get(daemon, path);
    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (400, "application/json"),
        "{path}: {}",
        answer.text
    );
    let problem = answer.json();
    assert_eq!(problem["error"], "bad-parameter", "{path}");
    assert_eq!(problem["field"], field, "{path}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(says), "{path}: {detail:?} does not say {says:?}");
}

#[test]
fn unknown_keys_are_refused_on_every_path_and_the_known_ones_named() {
    let daemon = Daemon::start();
    for path in [
        "/v1/health",
        "/v1/version",
        "/v1/interfaces",
        "/v1/workers",
        "/v1/neighbours",
        "/v1/pools",
        "/v1/counters",
        "/v1/drops",
        "/v1/config",
        "/metrics",
        "/openapi.json",
    ] {
        refused(&daemon, &format!("{path}?limit=1"), "limit", "takes: none");
    }
    refused(
        &daemon,
        "/v1/sessions?inside_port=80",
        "inside_port",
        "inside-port",
    );
    refused(
        &daemon,
        "/v1/mappings?outside-port=80",
        "outside-port",
        "public-port",
    );
    refused(&daemon, "/v1/blocks?protocol=tcp", "protocol", "inside-address");
    refused(&daemon, "/v1/subscribers?count=true", "count", "pool");
    refused(&daemon, "/v1/subscribers/10.0.0.1?page=0", "page", "limit");
    refused(&daemon, "/v1/routes?gateway=192.0.2.1", "gateway", "covers");
}

#[test]
fn bad_values_are_named_with_what_would_be_right() {
    let daemon = Daemon::start();
    for (path, field, says) in [
        ("/v1/sessions?limit=0", "limit", "1..=10000"),
        ("/v1/sessions?limit=10001", "limit", "1..=10000"),
        ("/v1/sessions?limit=ten", "limit", "1..=10000"),
        ("/v1/sessions?inside-port=65536", "inside-port", "0..=65535"),
        ("/v1/sessions?outside-port=-1", "outside-port", "0..=65535"),
        (
            "/v1/sessions?inside-address=10.0.0",
            "inside-address",
            "IPv4 or IPv6",
        ),
        ("/v1/sessions?protocol=tpc", "protocol", "tcp, udp"),
        ("/v1/sessions?protocol=256", "protocol", "0..=255"),
        ("/v1/sessions?pool=nobody", "pool", "residential"),
        ("/v1/sessions?service-set=", "service-set", "subscribers-a"),
        ("/v1/sessions?count=yes", "count", "true or false"),
        ("/v1/sessions?count=true&limit=5", "limit", "no meaning"),
        ("/v1/sessions?protocol=tcp&protocol=udp", "protocol", "twice"),
        ("/v1/routes?prefix=192.0.2.1/24", "prefix", "192.0.2.0/24"),
        ("/v1/routes?covers=here", "covers", "IPv4 or IPv6"),
        (
            "/v1/sessions?inside-address=10.0.0.1/24",
            "inside-address",
            "host bits",
        ),
        (
            "/v1/firewall/policies?direction=in",
            "direction",
            "outbound or inbound",
        ),
        (
            "/v1/firewall/policies?service-set=nobody",
            "service-set",
            "subscribers-a",
        ),
        ("/v1/firewall/policies?page=0", "page", "running configuration"),
        ("/v1/static-mappings?origin=file", "origin", "config or api"),
        ("/v1/static-mappings?page=1-2-3-x", "page", "unchanged"),
        ("/v1/lookup", "address", "missing"),
        ("/v1/lookup?address=203.0.113.7", "port", "missing"),
        (
            "/v1/lookup?address=203.0.113.7&port=1&inside=10.0.0.1",
            "inside",
            "not both",
        ),
        ("/v1/lookup?inside=10.0.0.0/8", "inside", "IPv4 or IPv6"),
        ("/v1/subscribers/nobody", "address", "IPv4 or IPv6"),
        ("/v1/subscribers/%ff", "address", "UTF-8"),
        ("/v1/redundancy-sets/0", "set", "1..=128"),
        ("/v1/redundancy-sets/residential", "set", "1..=128"),
        ("/v1/redundancy-sets/%ff", "set", "UTF-8"),
        (
            "/v1/redundancy-events?redundancy-set=129",
            "redundancy-set",
            "1..=128",
        ),
        ("/v1/redundancy-events?limit=0", "limit", "1..=10000"),
        ("/v1/replication/17/config", "group", "1..=16"),
    ] {
        refused(&daemon, path, field, says);
    }
}

#[test]
fn clear_wants_a_filter_or_all_but_not_both() {
    let daemon = Daemon::start();
    for path in [
        "/v1/sessions",
        "/v1/sessions?all=false",
        "/v1/sessions?all=true&protocol=tcp",
    ] {
        let answer = delete(&daemon, path);
        assert_eq!(
            (answer.status, answer.json()["field"].clone()),
            (400, json!("all")),
            "{path}"
        );
    }
    assert_eq!(
        delete(&daemon, "/v1/sessions?limit=5&all=true").json()["field"],
        "limit"
    );
    assert_eq!(get_json(&daemon, "/v1/sessions?count=true")["count"], SESSIONS);
}

#[test]
fn unknown_paths_and_methods_are_told_in_json() {
    let daemon = Daemon::start();
    for path in ["/", "/v1", "/v1/session", "/v2/sessions", "/v1/sessions/"] {
        let answer = get(&daemon, path);
        assert_eq!(
            (answer.status, answer.json()["error"].clone()),
            (404, json!("not-found")),
            "{path}"
        );
    }
    for answer in [
        post(&daemon, "/v1/sessions", b""),
        delete(&daemon, "/v1/health"),
        get(&daemon, "/v1/config/reload"),
    ] {
        assert_eq!(
            (answer.status, answer.json()["error"].clone()),
            (405, json!("method-not-allowed"))
        );
    }
    let counters = get_json(&daemon, "/v1/counters");
    assert_eq!(total(&counters, "api-not-found"), 5);
    assert_eq!(total(&counters, "api-method-not-allowed"), 3);
    assert_eq!(total(&counters, "api-requests"), 9);
}

fn total(counters: &Value, name: &str) -> u64 {
    let rows = counters["rows"].as_array().expect("rows");
    rows.iter()
        .find(|r| r["name"] == name)
        .and_then(|r| r["total"].as_u64())
        .expect("a counter by that name")
}

#[test]
fn with_a_token_nothing_is_told_without_it() {
    let daemon = Daemon::start_with(with_token());
    for path in [
        "/v1/health",
        "/metrics",
        "/openapi.json",
        "/v1/sessions",
        "/nothing",
    ] {
        let answer = get(&daemon, path);
        assert_eq!(
            (answer.status, answer.json()["error"].clone()),
            (401, json!("credentials-required")),
            "{path}"
        );
    }
    for wrong in [
        "Bearer wrong",
        "Bearer ",
        "Basic abc",
        &format!("Bearer {TOKEN}x"),
        TOKEN,
    ] {
        assert_eq!(
            get_with(&daemon, "/v1/health", "Authorization", wrong).status,
            401,
            "{wrong}"
        );
    }
    assert_eq!(delete(&daemon, "/v1/sessions?all=true").status, 401);
    let good = format!("Bearer {TOKEN}");
    let counters = get_with(&daemon, "/v1/counters", "Authorization", &good);
    assert_eq!(counters.status, 200);
    assert_eq!(total(&counters.json(), "api-credentials-required"), 11);
    let sessions = get_with(&daemon, "/v1/sessions?count=true", "Authorization", &good).json();
    assert_eq!(sessions["count"], SESSIONS);
}

#[test]
fn other_names_and_other_sites_are_refused_on_loopback() {
    let daemon = Daemon::start();
    let port = daemon.address.port();
    let ask = |head: &str| {
        raw(
            daemon.address,
            &format!("DELETE /v1/sessions?all=true HTTP/1.1\r\n{head}Connection: close\r\n\r\n"),
        )
    };
    let other_name = ask(&format!("Host: rebound.example:{port}\r\n"));
    assert!(other_name.starts_with("HTTP/1.1 403 "), "{other_name}");
    assert!(other_name.contains("origin-refused"), "{other_name}");
    let other_site = ask(&format!(
        "Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"
    ));
    assert!(other_site.starts_with("HTTP/1.1 403 "), "{other_site}");
    assert_eq!(get_json(&daemon, "/v1/sessions?count=true")["count"], SESSIONS);
    let same_site = ask(&format!(
        "Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"
    ));
    assert!(same_site.starts_with("HTTP/1.1 200 "), "{same_site}");
}

#[test]
fn another_token_holds_from_the_next_request_on() {
    let listener = with_token();
    let token = listener.token.clone();
    let daemon = Daemon::start_with(listener);
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        get_with(&daemon, "/v1/health", "Authorization", &bearer).status
    };
    let other = "another-token-of-some-length";
    assert_eq!((status(TOKEN), status(other)), (200, 401));
    token.set(Some(Token::new(other).expect("long enough")));
    assert_eq!((status(TOKEN), status(other)), (401, 200));
}

#[test]
fn a_bind_that_others_can_reach_needs_a_token() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let bind: SocketAddr = open.parse().expect("an address");
        let open = Listener { bind, ..listener() };
        let ended = runtime.block_on(serve(open, Arc::new(Mock::default()), std::future::pending()));
        assert!(
            matches!(ended, Err(ServeError::NeedsToken { bind: b }) if b == bind),
            "{bind}"
        );
    }
    let any = Listener {
        bind: "0.0.0.0:0".parse().expect("an address"),
        ..with_token()
    };
    assert!(
        runtime
            .block_on(Server::bind(any, Arc::new(Mock::default())))
            .is_ok()
    );
}

#[test]
fn a_taken_address_is_told() {
    let daemon = Daemon::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let taken = Listener {
        bind: daemon.address,
        ..listener()
    };
    let ended = runtime.block_on(Server::bind(taken, Arc::new(Mock::default())));
    assert!(matches!(ended, Err(ServeError::Bind { .. })));
}

#[test]
fn a_token_file_is_taken_when_it_is_a_secret() {
    use std::os::unix::fs::PermissionsExt;

    let bind: SocketAddr = "0.0.0.0:0".parse().expect("an address");
    let file = Scratch::new("listener-token", &format!("{TOKEN}\n"));
    let set =
        |mode| std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    set(0o640);
    assert!(Listener::new(bind, Some(&file.0)).is_ok_and(|l| l.token.get().is_some()));
    set(0o644);
    let open = Listener::new(bind, Some(&file.0)).expect_err("everybody may read it");
    assert!(open.to_string().contains("mode 0644"), "{open}");
    let short = Scratch::new("listener-short", "short");
    std::fs::set_permissions(&short.0, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    assert!(matches!(
        Listener::new(bind, Some(&short.0)),
        Err(ServeError::TokenFile { .. })
    ));
    assert!(Listener::new(bind, Some(std::path::Path::new("/nonexistent"))).is_err());
}
