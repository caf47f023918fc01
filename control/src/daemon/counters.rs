//! Every named counter of the daemon, for the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_dataplane::stats::{PublishedStats, WorkerCounters};
use tandem_engine::drop_reason::DropCounts;
use tandem_engine::engine::Counters as EngineCounters;

use super::backend::Daemon;
use crate::api::model::{Counter, CounterGroup};

/// Fills an array of the type's size; a worker publishes as many.
fn filled<const N: usize>(values: Vec<u64>) -> [u64; N] {
    let mut all = [0; N];
    all.iter_mut().zip(values).for_each(|(cell, value)| *cell = value);
    all
}

fn by_worker(
    names: &[&str],
    help: &[&str],
    stats: &[Arc<PublishedStats>],
    read: impl Fn(&PublishedStats) -> Vec<u64>,
) -> Vec<Counter> {
    let rows: Vec<Vec<u64>> = stats.iter().map(|s| read(s)).collect();
    let row = |(at, (name, help)): (usize, (&&str, &&str))| {
        let values = rows.iter().map(|r| r.get(at).copied().unwrap_or(0)).collect();
        Counter::of_workers(name, CounterGroup::Dataplane, help.trim(), values)
    };
    names.iter().zip(help).enumerate().map(row).collect()
}

pub(super) fn all(daemon: &Daemon) -> Vec<Counter> {
    let stats = &daemon.stats;
    let drops: Vec<DropCounts> = stats.iter().map(|s| DropCounts(filled(s.drops()))).collect();
    let parse: Vec<_> = stats.iter().map(|s| filled(s.parse_errors())).collect();
    let mut counters = Counter::of_drops(&drops);
    counters.extend(Counter::of_parse_errors(&parse));
    counters.extend(by_worker(
        WorkerCounters::NAMES,
        WorkerCounters::HELP,
        stats,
        PublishedStats::worker,
    ));
    counters.extend(by_worker(
        EngineCounters::NAMES,
        EngineCounters::HELP,
        stats,
        PublishedStats::engine,
    ));
    counters.extend(mirror(daemon));
    counters.extend(control(daemon));
    counters
}

fn single(group: CounterGroup, rows: &[(&str, &str, u64)]) -> Vec<Counter> {
    rows.iter()
        .map(|(name, help, value)| Counter::single(name, group, help, *value))
        .collect()
}

/// Frames between the workers and the kernel's taps. What is dropped there is a drop like any other.
fn mirror(daemon: &Daemon) -> Vec<Counter> {
    let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let m = &daemon.mirror;
    let mut counters = single(
        CounterGroup::Dataplane,
        &[
            (
                "mirror-to-kernel",
                "Frames given to the kernel's taps.",
                read(&m.to_kernel),
            ),
            (
                "mirror-from-kernel",
                "Frames taken from the kernel's taps.",
                read(&m.from_kernel),
            ),
        ],
    );
    counters.extend(single(
        CounterGroup::Drop,
        &[
            (
                "mirror-to-kernel-dropped",
                "Frames for the kernel that its tap refused or had no room for.",
                read(&m.to_kernel_dropped),
            ),
            (
                "mirror-from-kernel-dropped",
                "Frames of the kernel that found no buffer or no room on their way to a worker.",
                read(&m.from_kernel_dropped),
            ),
        ],
    ));
    counters
}

fn control(daemon: &Daemon) -> Vec<Counter> {
    let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let w = daemon.watcher.stats();
    let (applied, refused) = {
        let in_force = daemon.running.in_force();
        (in_force.applied, in_force.refused)
    };
    single(
        CounterGroup::Control,
        &[
            ("reloads-applied", "Reloads that took effect.", applied),
            ("reloads-refused", "Reloads refused because of the file.", refused),
            (
                "log-lines-lost",
                "Log lines, port blocks' among them, that were lost because the log did not keep up.",
                daemon.log_lost.dropped_lines() as u64,
            ),
            (
                "policy-lines-suppressed",
                "Policy log lines that were not written: too many in one second.",
                daemon.policy_lines.suppressed(),
            ),
            (
                "routes-refused",
                "Routes of the kernel that did not fit into the FIB.",
                daemon.routing.refused(),
            ),
            (
                "redundancy-events-activated",
                "Times a redundancy event became active.",
                read(&daemon.monitor_counts.activated),
            ),
            (
                "redundancy-events-cleared",
                "Times a redundancy event became inactive.",
                read(&daemon.monitor_counts.cleared),
            ),
            (
                "redundancy-policy-actions",
                "Actions that redundancy policies asked for.",
                read(&daemon.monitor_counts.actions),
            ),
            (
                "member-announcements-refused",
                "Announcements after a switch of a redundant interface's member that the kernel refused; none are made by a tap that shows as down.",
                daemon.redundant.unannounced(),
            ),
            (
                "netlink-notifications",
                "Changes the kernel told.",
                read(&w.notifications),
            ),
            (
                "netlink-dumps",
                "Times all of the kernel's tables were read.",
                read(&w.dumps),
            ),
            (
                "netlink-overruns",
                "Times notifications were lost, and all was read again.",
                read(&w.overruns),
            ),
            (
                "netlink-dump-failures",
                "Reads of the kernel's tables that had to be repeated.",
                read(&w.dump_failures),
            ),
            (
                "neighbours-asked",
                "Neighbours the kernel was asked to resolve or to confirm.",
                read(&w.resolve_sent),
            ),
            (
                "neighbours-limited",
                "Such wishes held back: asked already, or too many in a second.",
                read(&w.resolve_limited),
            ),
            (
                "neighbours-failed",
                "Such wishes the kernel refused.",
                read(&w.resolve_failed),
            ),
        ],
    )
}
