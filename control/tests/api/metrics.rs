//! The metrics: every line has the form OpenMetrics wants, and the numbers are the backend's.

use std::collections::BTreeMap;

use tandem_engine::drop_reason::DropReason;

use super::daemon::Daemon;
use super::http::get;

#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    help: String,
}

/// A parsed exposition: families by name, samples by name and labels.
#[derive(Debug, Default)]
struct Exposition {
    families: BTreeMap<String, Family>,
    samples: BTreeMap<String, f64>,
}

fn is_name(text: &str) -> bool {
    text.starts_with("tandem_")
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `a="b",c="d"`; values hold no quote or backslash here.
fn check_labels(labels: &str) {
    for label in labels.split(',').filter(|l| !l.is_empty()) {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("label {label:?}"));
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "label {label:?}"
        );
        assert!(
            value.len() >= 2 && value.starts_with('"') && value.ends_with('"'),
            "label {label:?}"
        );
    }
}

fn parse(text: &str) -> Exposition {
    let mut all = Exposition::default();
    let mut current = String::new();
    let body = text.strip_suffix("# EOF\n").expect("the text ends with EOF");
    for line in body.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next());
            let (name, rest) = (name.expect("a name"), rest.expect("a value"));
            assert!(is_name(name), "{line}");
            if name != current {
                assert!(!all.families.contains_key(name), "{name} is declared twice");
                current = name.to_owned();
            }
            let family = all.families.entry(current.clone()).or_default();
            match what {
                Some("HELP") => family.help = rest.to_owned(),
                Some("TYPE") => family.kind = rest.to_owned(),
                Some("UNIT") => family.unit = Some(rest.to_owned()),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        check_labels(labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")));
        let suffix = match all.families[&current].kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            kind => panic!("{current} is a {kind}"),
        };
        assert_eq!(name, format!("{current}{suffix}"), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(
            all.samples.insert(sample.to_owned(), value).is_none(),
            "{sample} twice"
        );
    }
    all
}

fn scrape(daemon: &Daemon) -> Exposition {
    let answer = get(daemon, "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    parse(&answer.text)
}

#[test]
fn every_line_is_well_formed_and_every_family_says_what_it_is() {
    let all = scrape(&Daemon::start());
    assert!(all.families.len() > 40, "{:?}", all.families.keys());
    for (name, family) in &all.families {
        assert!(
            family.help.ends_with('.') && family.help.len() > 5,
            "{name}: {family:?}"
        );
        assert!(
            ["counter", "gauge", "info"].contains(&family.kind.as_str()),
            "{name}: {family:?}"
        );
        if let Some(unit) = &family.unit {
            assert!(name.ends_with(&format!("_{unit}")), "{name}: {unit}");
        }
        for (word, unit) in [
            ("_bytes", "bytes"),
            ("_seconds", "seconds"),
            ("_packets", "packets"),
            ("_ratio", "ratio"),
        ] {
            if name.ends_with(word) {
                assert!(family.unit.as_deref() == Some(unit), "{name}: {family:?}");
            }
        }
    }
}

#[test]
fn every_drop_reason_is_there_for_every_worker() {
    let all = scrape(&Daemon::start());
    for reason in DropReason::ALL {
        for worker in 0..2 {
            let name = reason.as_str();
            let sample = format!(
                "tandem_dropped_packets_total{{reason=\"{name}\",kind=\"drop\",worker=\"{worker}\"}}"
            );
            let expect = match (reason, worker) {
                (DropReason::NoRoute, 0) => 2.0,
                (DropReason::TtlExpired, 0) => 1.0,
                _ => 0.0,
            };
            assert_eq!(all.samples.get(&sample), Some(&expect), "{sample}");
        }
    }
    let parse = "tandem_dropped_packets_total{reason=\"ipv4-truncated\",kind=\"parse\",worker=\"1\"}";
    assert_eq!(all.samples.get(parse), Some(&7.0));
}

#[test]
fn the_numbers_are_the_backends() {
    let all = scrape(&Daemon::start());
    for (sample, expect) in [
        ("tandem_worker_received_packets_total{worker=\"1\"}", 32_000.0),
        ("tandem_worker_received_bytes_total{worker=\"0\"}", 2_048_000.0),
        ("tandem_worker_heartbeat_age_seconds{worker=\"0\"}", 0.012),
        ("tandem_sessions{worker=\"0\"}", 13.0),
        ("tandem_sessions_max{worker=\"0\"}", 1024.0),
        ("tandem_mappings{worker=\"1\"}", 2.0),
        ("tandem_subscribers{worker=\"1\"}", 2.0),
        (
            "tandem_pool_ports_used{pool=\"residential\",protocol=\"tcp\"}",
            16_128.0,
        ),
        (
            "tandem_pool_utilisation_ratio{pool=\"residential\",protocol=\"tcp\"}",
            0.25,
        ),
        ("tandem_worker_busy_ratio{worker=\"0\"}", 0.375),
        ("tandem_pool_refused_allocations_total{pool=\"residential\"}", 1.0),
        ("tandem_interface_up{interface=\"lan\"}", 1.0),
        ("tandem_interface_up{interface=\"wan\"}", 0.0),
        (
            "tandem_interface_member_active{interface=\"red\",member=\"eth1\"}",
            1.0,
        ),
        (
            "tandem_interface_member_active{interface=\"red\",member=\"eth2\"}",
            0.0,
        ),
        (
            "tandem_interface_member_well{interface=\"red\",member=\"eth2\"}",
            0.0,
        ),
        (
            "tandem_interface_member_received_packets_total{interface=\"red\",member=\"eth1\"}",
            11.0,
        ),
        (
            "tandem_interface_member_receive_missed_total{interface=\"red\",member=\"eth2\"}",
            5.0,
        ),
        ("tandem_interface_failovers_total{interface=\"red\"}", 3.0),
        ("tandem_interface_take_backs_total{interface=\"red\"}", 2.0),
        ("tandem_interface_sent_bytes_total{interface=\"wan\"}", 900.0),
        (
            "tandem_replication_state{group=\"1\",state=\"synchronizing\"}",
            1.0,
        ),
        ("tandem_replication_state{group=\"1\",state=\"active\"}", 0.0),
        ("tandem_replication_state{group=\"2\",state=\"suspended\"}", 1.0),
        ("tandem_replication_lag_seconds{group=\"1\"}", 0.04),
        (
            "tandem_replication_acknowledgment_seconds{group=\"1\",quantile=\"0.5\"}",
            0.002,
        ),
        (
            "tandem_replication_acknowledgment_seconds{group=\"1\",quantile=\"1\"}",
            0.04,
        ),
        ("tandem_replication_window_bytes{group=\"1\"}", 16_384.0),
        ("tandem_replication_held_back{group=\"1\"}", 3.0),
        ("tandem_replication_config_differences{group=\"1\"}", 0.0),
        ("tandem_replication_queue{group=\"1\",queue=\"pending\"}", 7.0),
        ("tandem_replication_queue{group=\"1\",queue=\"outbox\"}", 64.0),
        (
            "tandem_replication_queue_max{group=\"1\",queue=\"inbox\"}",
            131_072.0,
        ),
        ("tandem_replication_retransmits_total{group=\"1\"}", 3.0),
        ("tandem_replication_collapsed_total{group=\"1\"}", 12.0),
        ("tandem_replication_offers_total{group=\"1\"}", 71.0),
        ("tandem_replication_offers_in_vain_total{group=\"1\"}", 72.0),
        ("tandem_replication_merges_total{group=\"1\"}", 73.0),
        ("tandem_replication_sent_bytes_total{group=\"1\"}", 700_000.0),
        (
            "tandem_replication_mirror_active{group=\"1\",direction=\"receiving\"}",
            1.0,
        ),
        (
            "tandem_replication_mirror_active{group=\"1\",direction=\"sending\"}",
            0.0,
        ),
        (
            "tandem_replication_mirror_active{group=\"2\",direction=\"sending\"}",
            0.0,
        ),
        (
            "tandem_replication_bulk_progress_ratio{group=\"1\",direction=\"sending\"}",
            0.25,
        ),
        (
            "tandem_replication_channel_failures_total{group=\"2\",kind=\"wrong-fingerprint\"}",
            0.0,
        ),
        (
            "tandem_replication_certificate_expiry_timestamp_seconds{group=\"1\",chassis=\"peer\"}",
            2_100_000_000.0,
        ),
        ("tandem_redundancy_set_role{set=\"1\",role=\"primary\"}", 1.0),
        ("tandem_redundancy_set_role{set=\"7\",role=\"wait\"}", 1.0),
        ("tandem_redundancy_set_epoch{set=\"7\"}", 4.0),
        (
            "tandem_redundancy_set_since_timestamp_seconds{set=\"1\"}",
            1_790_000_000.0,
        ),
        // Not by the time of day, which may be put back.
        ("tandem_redundancy_set_role_age_seconds{set=\"1\"}", 90.0),
        (
            "tandem_redundancy_cluster_info{id=\"3\",name=\"north\",unit=\"2\"}",
            1.0,
        ),
        ("tandem_redundancy_light{light=\"amber\"}", 1.0),
        ("tandem_redundancy_set_light{set=\"7\",light=\"green\"}", 0.0),
        ("tandem_redundancy_set_peer_heard{set=\"1\"}", 1.0),
        ("tandem_redundancy_set_failed_weight{set=\"1\"}", 60.0),
        ("tandem_redundancy_set_failover_threshold{set=\"1\"}", 100.0),
        (
            "tandem_redundancy_set_transitions_total{set=\"1\",cause=\"peer-lost\"}",
            3.0,
        ),
        (
            "tandem_redundancy_set_transitions_total{set=\"1\",cause=\"preempt\"}",
            0.0,
        ),
        (
            "tandem_redundancy_set_refusals_total{set=\"1\",cause=\"operator\"}",
            1.0,
        ),
        ("tandem_redundancy_set_virtual_addresses{set=\"1\"}", 1.0),
        (
            "tandem_redundancy_set_virtual_addresses_configured{set=\"1\"}",
            2.0,
        ),
        ("tandem_redundancy_set_signal_routes{set=\"1\"}", 1.0),
        ("tandem_redundancy_set_failed_actions{set=\"1\"}", 1.0),
        ("tandem_heartbeat_peer_alive{group=\"1\"}", 1.0),
        ("tandem_heartbeat_clock_ahead_seconds{group=\"1\"}", -0.0015),
        ("tandem_heartbeat_path_up{group=\"1\",path=\"secondary-1\"}", 0.0),
        (
            "tandem_heartbeat_round_trip_seconds{group=\"1\",path=\"control\"}",
            0.000_25,
        ),
        (
            "tandem_heartbeat_datagrams_total{group=\"1\",path=\"control\",kind=\"bad-mac\"}",
            2.0,
        ),
        (
            "tandem_heartbeat_datagrams_total{group=\"1\",path=\"control\",kind=\"replayed\"}",
            0.0,
        ),
        ("tandem_guard_running", 1.0),
        ("tandem_guard_restarts_total", 1.0),
        (
            "tandem_events_total{event=\"replica-installed\",group=\"dataplane\",worker=\"1\"}",
            5.0,
        ),
        ("tandem_config_generation", 4.0),
        ("tandem_uptime_seconds", 3600.0),
        (
            "tandem_events_total{event=\"reload-refused\",group=\"control\",worker=\"\"}",
            1.0,
        ),
        (
            "tandem_events_total{event=\"api-requests\",group=\"api\",worker=\"\"}",
            1.0,
        ),
    ] {
        assert_eq!(all.samples.get(sample), Some(&expect), "{sample}");
    }
    let lag = "tandem_replication_lag_seconds{group=\"2\"}";
    assert_eq!(all.samples.get(lag), None, "nothing is replicated with it");
}
