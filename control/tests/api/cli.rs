//! The real `tandem` binary against the mock daemon.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::daemon::{Daemon, TOKEN, with_token};
use super::http::Scratch;
use super::mock::SESSIONS;

fn tandem(api: &str, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["--api", api])
        .args(words.split_whitespace())
        .env_remove("TANDEM_TOKEN_FILE")
        .output()
        .expect("the binary runs")
}

pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

pub fn ask(daemon: &Daemon, words: &str) -> Said {
    said(tandem(&daemon.url(), words))
}

const EVERY: [&str; 15] = [
    "health",
    "version",
    "config",
    "interfaces",
    "workers",
    "routes",
    "neighbours",
    "pools",
    "subscriber 10.0.0.1",
    "subscribers",
    "sessions",
    "mappings",
    "blocks",
    "policies",
    "counters",
];

#[test]
fn every_table_is_aligned_and_fits_in_100_columns() {
    let daemon = Daemon::start();
    for what in EVERY.iter().chain(&["drops", "drops --all", "counters --all"]) {
        let said = ask(&daemon, &format!("show {what}"));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{what}");
        assert!(said.out.lines().count() >= 2, "{what}: {}", said.out);
        for line in said.out.lines() {
            assert!(
                line.chars().count() <= 100,
                "{what}: {} columns: {line}",
                line.chars().count()
            );
            assert_eq!(line, line.trim_end(), "{what}");
        }
        assert!(
            !said.out.contains('\u{1b}'),
            "{what} is coloured without a terminal"
        );
    }
}

#[test]
fn json_is_what_the_api_says() {
    let daemon = Daemon::start();
    for what in EVERY.iter().chain(&["drops"]) {
        let said = ask(&daemon, &format!("show {what} --json"));
        assert_eq!(said.code, Some(0), "{what}: {}", said.err);
        let json: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{what}: {e}: {}", said.out));
        let path = format!("/v1/{}", what.replace("subscriber ", "subscribers/"));
        let path = path.replace("/policies", "/firewall/policies");
        if *what != "counters" {
            assert_eq!(json, super::http::get_json(&daemon, &path), "{what}");
        }
    }
}

#[test]
fn sessions_are_filtered_counted_and_paged() {
    let daemon = Daemon::start();
    let said = ask(&daemon, "show sessions --protocol udp");
    assert_eq!(said.out.lines().count(), 6);
    assert!(
        said.out.lines().skip(1).all(|line| line.starts_with("udp")),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("10.0.0.1:40000  203.0.113.7:1024  198.51.100.1:443"),
        "{}",
        said.out
    );
    assert_eq!(ask(&daemon, "show sessions --count").out, format!("{SESSIONS}\n"));
    let some = ask(&daemon, "show sessions --limit 20");
    assert_eq!(some.out.lines().count(), 21);
    assert!(some.err.contains("more rows"), "{}", some.err);
    let all = ask(&daemon, "show sessions --limit 0 --wide");
    assert_eq!((all.out.lines().count(), all.err.as_str()), (SESSIONS + 1, ""));
    assert!(all.out.contains("subscribers-a"));
}

#[test]
fn drops_show_only_what_happened_with_its_meaning() {
    let daemon = Daemon::start();
    let said = ask(&daemon, "show drops");
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        lines[0].starts_with("REASON") && lines[0].contains("PACKETS"),
        "{}",
        said.out
    );
    assert!(
        lines[1].starts_with("ipv4-truncated") && lines[1].contains('7'),
        "the largest first: {}",
        said.out
    );
    assert!(said.out.contains("No route to the destination"), "{}", said.out);
    assert!(!said.out.contains("mtu-exceeded"));
    assert!(ask(&daemon, "show drops --all").out.contains("mtu-exceeded"));
}

#[test]
fn clear_and_reload_do_what_they_say() {
    let daemon = Daemon::start();
    assert_eq!(
        ask(&daemon, "clear sessions --protocol udp").out,
        "5 sessions cleared\n"
    );
    let none = ask(&daemon, "clear sessions");
    assert_eq!(none.code, Some(2));
    assert!(none.err.contains("at least one filter"), "{}", none.err);
    assert_eq!(
        ask(&daemon, "clear sessions --all").out,
        format!("{} sessions cleared\n", SESSIONS - 5)
    );
    assert_eq!(ask(&daemon, "reload").out, "applied, generation 5\n");
    assert_eq!(
        ask(&daemon, "reload --reevaluate").out,
        "applied, generation 5, 0 sessions ended\n"
    );
    daemon.mock.config_is_bad.store(true, Ordering::SeqCst);
    let refused = ask(&daemon, "reload");
    assert_eq!(refused.code, Some(1));
    let fault =
        "/etc/tandem/tandem.toml:12:3: pools.cgn.port-range: the range is inverted; use \"1024-65535\"";
    assert!(refused.err.contains(fault), "{}", refused.err);
}

/// Every line fits and ends where its text does.
pub fn fits(said: &Said) {
    for line in said.out.lines() {
        assert!(line.chars().count() <= 100 && line == line.trim_end(), "{line:?}");
    }
}

#[test]
fn policies_are_a_table_that_ends_with_the_default() {
    let daemon = Daemon::start();
    let said = ask(
        &daemon,
        "show policies --service-set subscribers-a --direction outbound",
    );
    let lines: Vec<Vec<&str>> = said.out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        lines[1..],
        [
            vec![
                "subscribers-a",
                "outbound",
                "1",
                "reject",
                "yes",
                "12",
                "to-internet/no-mail"
            ],
            vec![
                "subscribers-a",
                "outbound",
                "2",
                "permit",
                "no",
                "2",
                "to-internet/web"
            ],
            vec!["subscribers-a", "outbound", "3", "deny", "no", "24", "(default)"],
        ]
    );
    assert_eq!(ask(&daemon, "show policies --direction up").code, Some(2));
}

#[test]
fn a_reload_that_reevaluates_says_how_many_it_ended() {
    let daemon = Daemon::start();
    assert_eq!(
        ask(&daemon, "reload --reevaluate").out,
        "applied, generation 5, 5 sessions ended\n"
    );
}

#[test]
fn look_ups_say_the_source_and_nobody_is_exit_1() {
    let daemon = Daemon::start();
    let said = ask(&daemon, "lookup 203.0.113.65:2048");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("deterministic formula"), "{}", said.out);
    assert!(
        said.out.contains("100.64.0.64") && said.out.contains("2048-3071"),
        "{}",
        said.out
    );
    fits(&said);
    let back = ask(&daemon, "lookup --inside 100.64.0.64");
    assert_eq!(back.out, said.out);
    let web = ask(&daemon, "lookup 198.51.100.80:80 --protocol tcp");
    assert!(
        web.out.contains("10.0.9.80:8080") && web.out.contains("static"),
        "{}",
        web.out
    );
    fits(&web);
    fits(&ask(&daemon, "lookup 203.0.113.7:2001"));
    let nobody = ask(&daemon, "lookup 192.0.2.77:9");
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(1), "nobody\n"));
    let json = ask(&daemon, "lookup [2001:db8::7]:9 --json");
    let answer: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((json.code, answer["source"].as_str()), (Some(1), Some("nobody")));
    for wrong in [
        "lookup",
        "lookup 203.0.113.7",
        "lookup 203.0.113.7:1 --inside 10.0.0.1",
        "lookup --inside x",
    ] {
        assert_eq!(ask(&daemon, wrong).code, Some(2), "{wrong}");
    }
}

#[test]
fn static_mappings_are_listed_set_and_taken_away() {
    let daemon = Daemon::start();
    let add = "static-mapping add subscribers-a camera --inside 10.0.5.1 --public 198.51.100.90 --protocol udp \
               --public-ports 5000-5009 --inbound-only";
    let said = ask(&daemon, add);
    assert_eq!(
        said.out, "set, generation 5; not kept: it ends with the daemon\n",
        "{}",
        said.err
    );
    let list = ask(&daemon, "static-mapping list");
    fits(&list);
    assert_eq!(list.out.lines().count(), 4, "{}", list.out);
    let camera: Vec<&str> = list
        .out
        .lines()
        .nth(1)
        .expect("a row")
        .split_whitespace()
        .collect();
    assert_eq!(
        camera,
        [
            "camera",
            "10.0.5.1:5000-5009",
            "198.51.100.90:5000-5009",
            "udp",
            "api",
            "dnat-44",
            "subscribers-a"
        ]
    );
    let json = ask(&daemon, "static-mapping list --json --origin api --limit 1");
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["rows"][0]["name"], "camera");
    let again = ask(&daemon, add);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("conflict: name: "), "{}", again.err);
    let wrong = ask(
        &daemon,
        "static-mapping add subscribers-a x --inside here --public 198.51.100.91",
    );
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    let remove = "static-mapping remove subscribers-a camera";
    assert_eq!(ask(&daemon, remove).out, "removed, generation 6\n");
    assert_eq!(ask(&daemon, remove).code, Some(1));
}

#[test]
fn exit_codes_tell_refusal_usage_and_unreachable_apart() {
    let daemon = Daemon::start();
    assert_eq!(ask(&daemon, "show subscriber 10.9.9.9").code, Some(1));
    assert_eq!(ask(&daemon, "show subscriber nobody").code, Some(2));
    let filter = ask(&daemon, "show sessions --inside-port 70000");
    assert_eq!(filter.code, Some(2));
    assert!(
        filter.err.contains("inside-port") && filter.err.contains("0..=65535"),
        "{}",
        filter.err
    );
    assert_eq!(ask(&daemon, "show nothing").code, Some(2));
    assert_eq!(ask(&daemon, "").code, Some(2));
    assert_eq!(ask(&daemon, "--help").code, Some(0));
    assert_eq!(said(tandem("https://127.0.0.1:1", "show health")).code, Some(2));
    daemon.mock.silent.store(0, Ordering::SeqCst);
    assert_eq!(ask(&daemon, "show sessions").code, Some(1));
    daemon.mock.down.store(true, Ordering::SeqCst);
    let down = ask(&daemon, "show health");
    assert_eq!(down.code, Some(1));
    assert!(down.out.contains("worker 0 stalled"), "{}", down.out);
    let url = daemon.url();
    daemon.stop();
    let gone = said(tandem(&url, "show health"));
    assert_eq!(gone.code, Some(3));
    assert!(gone.err.contains("cannot reach the daemon"), "{}", gone.err);
}

#[test]
fn the_token_comes_from_a_file() {
    let daemon = Daemon::start_with(with_token());
    let without = ask(&daemon, "show version");
    assert_eq!(without.code, Some(1));
    assert!(without.err.contains("credentials-required"), "{}", without.err);
    let file = Scratch::new("token", &format!("{TOKEN}\n"));
    let with = ask(
        &daemon,
        &format!("--token-file {} show version", file.0.display()),
    );
    assert_eq!((with.code, with.err.as_str()), (Some(0), ""));
    let short = Scratch::new("short-token", "short\n");
    assert_eq!(
        ask(
            &daemon,
            &format!("--token-file {} show version", short.0.display())
        )
        .code,
        Some(2)
    );
    assert_eq!(
        ask(&daemon, "--token-file /nonexistent show version").code,
        Some(2)
    );
}

#[test]
fn check_prints_every_fault_and_needs_no_daemon() {
    let nowhere = "http://127.0.0.1:1";
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/napt44.toml");
    let passed = said(tandem(nowhere, &format!("check {good}")));
    assert_eq!(
        (passed.code, passed.out.contains("no faults")),
        (Some(0), true),
        "{}",
        passed.err
    );
    let bad = Scratch::new("bad.toml", "[system]\nnme = \"x\"\n\n[nonsense]\n");
    let failed = said(tandem(nowhere, &format!("check {}", bad.0.display())));
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""));
    assert!(failed.err.contains(":2:1: system.nme"), "{}", failed.err);
    assert!(failed.err.contains("nonsense"), "{}", failed.err);
    assert_eq!(said(tandem(nowhere, "check /nonexistent.toml")).code, Some(1));
}

#[test]
fn a_reader_that_had_enough_is_no_failure() {
    let daemon = Daemon::start();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["--api", &daemon.url(), "show", "drops", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}
