//! Bounds: time, size, how many at once, and stopping.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tandem_control::api::{Limits, Listener};

use super::daemon::{Daemon, listener};
use super::http::{delete, get, post, raw, try_raw};

fn with_limits(limits: Limits) -> Daemon {
    Daemon::start_with(Listener { limits, ..listener() })
}

/// Asks until there is something, failing after a generous time.
fn wait_for<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::yield_now();
    }
}

/// Waits for `met`.
fn wait_until(what: &str, met: impl Fn() -> bool) {
    wait_for(what, || met().then_some(()));
}

#[test]
fn a_worker_that_does_not_answer_makes_503() {
    let daemon = Daemon::start();
    daemon.mock.silent.store(1, Ordering::SeqCst);
    for path in [
        "/v1/sessions",
        "/v1/sessions?count=true",
        "/v1/blocks",
        "/v1/subscribers/10.0.0.1",
    ] {
        let answer = get(&daemon, path);
        assert_eq!(
            (answer.status, answer.json()["error"].clone()),
            (503, json!("no-answer")),
            "{path}"
        );
        assert!(answer.text.contains("worker 1"), "{path}: {}", answer.text);
    }
    // What needs no worker goes on.
    assert_eq!(get(&daemon, "/v1/workers").status, 200);
    assert_eq!(get(&daemon, "/metrics").status, 200);
}

#[test]
fn a_clear_that_stops_half_way_says_how_far_it_came() {
    let daemon = Daemon::start();
    daemon.mock.silent.store(1, Ordering::SeqCst);
    let answer = delete(&daemon, "/v1/sessions?all=true");
    assert_eq!(answer.status, 503);
    assert!(
        answer.text.contains("13 sessions were cleared before"),
        "{}",
        answer.text
    );
}

#[test]
fn a_request_ends_with_its_time() {
    let daemon = with_limits(Limits {
        timeout: Duration::from_millis(200),
        ..Limits::default()
    });
    daemon.mock.hanging.store(0, Ordering::SeqCst);
    let answer = get(&daemon, "/v1/sessions");
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("within 200 ms"), "{}", answer.text);
}

#[test]
fn a_large_body_is_refused() {
    let daemon = with_limits(Limits {
        body_bytes_max: 1000,
        ..Limits::default()
    });
    assert_eq!(post(&daemon, "/v1/config/reload", &[b' '; 1000]).status, 200);
    let answer = post(&daemon, "/v1/config/reload", &[b' '; 1001]);
    assert_eq!(
        (answer.status, answer.json()["error"].clone()),
        (413, json!("body-too-large"))
    );
}

#[test]
fn one_request_too_many_is_told_busy() {
    let daemon = with_limits(Limits {
        requests_max: 1,
        ..Limits::default()
    });
    daemon.mock.gated.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get(&daemon, "/v1/sessions?count=true"));
        wait_until("the first request", || {
            daemon.mock.waiting.load(Ordering::SeqCst) > 0
        });
        let second = get(&daemon, "/v1/version");
        assert_eq!(
            (second.status, second.json()["error"].clone()),
            (503, json!("busy"))
        );
        daemon.mock.gated.store(false, Ordering::SeqCst);
        daemon.mock.gate.notify_waiters();
        assert_eq!(first.join().expect("the first request").status, 200);
    });
    assert_eq!(get(&daemon, "/v1/version").status, 200);
}

#[test]
fn one_connection_too_many_is_closed_and_counted() {
    let daemon = with_limits(Limits {
        connections_max: 1,
        ..Limits::default()
    });
    let mut first = TcpStream::connect(daemon.address).expect("a connection");
    first
        .write_all(b"GET /v1/version HTTP/1.1\r\n")
        .expect("half a request");
    // Closed without a word; a reset is as good, since our request was never read.
    let mut second = TcpStream::connect(daemon.address).expect("a connection");
    second
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let read = std::io::Read::read(&mut second, &mut [0; 16]);
    assert!(matches!(&read, Ok(0)) || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    drop(first);
    let request = "GET /v1/counters HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let counters = wait_for("a free place", || {
        try_raw(daemon.address, request)
            .ok()
            .filter(|text| text.starts_with("HTTP/1.1 200 "))
    });
    let row = counters
        .split("\"name\":\"api-connections-refused\"")
        .nth(1)
        .expect("the counter");
    let total = row
        .split("\"total\":")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    assert!(total.and_then(|n| n.parse::<u64>().ok()) >= Some(1), "{total:?}");
}

#[test]
fn half_a_request_does_not_hold_a_place_for_ever() {
    let daemon = with_limits(Limits {
        timeout: Duration::from_millis(200),
        ..Limits::default()
    });
    let text = raw(daemon.address, "GET /v1/version HTTP/1.1\r\nHost: loc");
    assert!(!text.contains(" 200 "), "{text}");
}

#[test]
fn stopping_lets_the_request_under_way_finish() {
    let daemon = Daemon::start();
    daemon.mock.gated.store(true, Ordering::SeqCst);
    let (mock, address) = (std::sync::Arc::clone(&daemon.mock), daemon.address);
    let request = "GET /v1/sessions?count=true HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let client = std::thread::spawn(move || raw(address, request));
    wait_until("the request", || mock.waiting.load(Ordering::SeqCst) > 0);
    let stopping = std::thread::spawn(move || daemon.stop());
    wait_until("the listener's end", || TcpStream::connect(address).is_err());
    mock.gated.store(false, Ordering::SeqCst);
    mock.gate.notify_waiters();
    let text = client.join().expect("the client");
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    stopping.join().expect("a clean stop");
}
