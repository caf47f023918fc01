//! Tables of who is primary and why: redundancy sets, heartbeats, the guard, what was counted.

use super::table::{Table, or_dash, time, yes_or_no};
use crate::api::model::{HeartbeatGroup, HeartbeatPath, Hold, Redundancy, RedundancySet};

/// The colour and one line for each set.
pub fn brief(all: &Redundancy) -> Vec<Table> {
    vec![colour(all, false), cluster(all), sets(&all.sets)]
}

/// The same, with what is not as it should be, and the paths of heartbeats.
pub fn redundancy(all: &Redundancy) -> Vec<Table> {
    vec![
        colour(all, true),
        cluster(all),
        sets(&all.sets),
        paths(&all.heartbeats),
    ]
}

/// Everything.
pub fn extensive(all: &Redundancy) -> Vec<Table> {
    let mut tables = redundancy(all);
    tables.extend(all.sets.iter().flat_map(set));
    tables.extend(all.heartbeats.iter().map(group));
    tables.push(guard(all));
    tables
}

/// What was counted, without what stands at zero.
pub fn statistics(all: &Redundancy) -> Vec<Table> {
    let mut roles = Table::new(&[">SET", "CAUSE", ">TRANSITIONS", ">REFUSALS"]);
    let counted = all.counts.iter();
    for count in counted.filter(|count| count.transitions > 0 || count.refusals > 0) {
        roles.row(vec![
            count.redundancy_set.to_string(),
            count.cause.as_str().to_owned(),
            count.transitions.to_string(),
            count.refusals.to_string(),
        ]);
    }
    let mut beats = Table::new(&[">GROUP", "PATH", "HEARTBEATS", ">COUNT"]);
    for group in &all.heartbeats {
        for path in &group.paths {
            for (kind, count) in path.counters.named().into_iter().filter(|(_, count)| *count > 0) {
                beats.row(vec![
                    group.redundancy_group.to_string(),
                    path.path.clone(),
                    kind.to_owned(),
                    count.to_string(),
                ]);
            }
        }
    }
    vec![roles, beats, guard(all)]
}

fn colour(all: &Redundancy, with_reasons: bool) -> Table {
    let mut table = Table::new(&["COLOUR", "WHY"]);
    let light = all.light.as_str();
    match all.why.as_slice() {
        [] => table.row(vec![light.to_owned(), "all is well".to_owned()]),
        why if with_reasons => {
            for (at, text) in why.iter().enumerate() {
                let light = if at == 0 { light } else { "" };
                table.row(vec![light.to_owned(), text.clone()]);
            }
        }
        why => table.row(vec![light.to_owned(), format!("{} reasons", why.len())]),
    }
    table
}

fn cluster(all: &Redundancy) -> Table {
    let cluster = &all.cluster;
    let mut table = Table::new(&[">CLUSTER", ">UNIT", "NAME"]);
    if cluster.id.is_some() || cluster.name.is_some() || cluster.unit.is_some() {
        table.row(vec![
            or_dash(&cluster.id),
            or_dash(&cluster.unit),
            or_dash(&cluster.name),
        ]);
    }
    table
}

fn sets(rows: &[RedundancySet]) -> Table {
    let mut table = Table::new(&[
        ">SET",
        ">GROUP",
        "ROLE",
        "PEER",
        ">EPOCH",
        "SINCE",
        "CAUSE",
        "NEXT",
        "NAME",
        "SERVICE SETS",
    ]);
    for set in rows {
        table.row(vec![
            set.id.to_string(),
            set.redundancy_group.to_string(),
            set.role.as_str().to_owned(),
            set.peer_role.map_or("-", |role| role.as_str()).to_owned(),
            set.epoch.to_string(),
            time(set.since_unix_s),
            set.last_cause.as_str().to_owned(),
            set.changing_to.map_or("-", |role| role.as_str()).to_owned(),
            or_dash(&set.name),
            set.service_sets.join(" "),
        ]);
    }
    table
}

/// Microseconds as milliseconds.
fn ms(us: f64) -> String {
    format!("{:.3}", us / 1000.0)
}

fn paths(groups: &[HeartbeatGroup]) -> Table {
    let mut table = Table::new(&[
        ">GROUP",
        "PATH",
        "STATE",
        "HEARD THERE",
        ">RTT ms",
        ">HEARD ms AGO",
        "PEER",
        "FAULT",
    ]);
    for group in groups {
        let row = |path: &HeartbeatPath| {
            vec![
                group.redundancy_group.to_string(),
                path.path.clone(),
                if path.up { "up" } else { "down" }.to_owned(),
                yes_or_no(path.heard_by_peer),
                or_dash(&path.round_trip_us.map(|us| ms(f64::from(us)))),
                or_dash(&path.heard_ms_ago),
                path.peer_address.to_string(),
                or_dash(&path.fault),
            ]
        };
        group.paths.iter().for_each(|path| table.row(row(path)));
    }
    table
}

fn group(group: &HeartbeatGroup) -> Table {
    let mut table = Table::new(&[&format!("GROUP {}", group.redundancy_group), "HEARTBEATS"]);
    let ahead = group.clock_ahead_us.map(|us| ms(us as f64));
    for (what, value) in [
        ("peer", format!("{} for {} ms", group.peer, group.since_ms)),
        (
            "timing",
            format!("{} ms x {}", group.interval_ms, group.lost_threshold),
        ),
        ("peer's clock ahead ms", or_dash(&ahead)),
        ("latest wake-up ms", ms(group.late_max_us as f64)),
        (
            "real-time priority",
            group
                .no_real_time
                .as_ref()
                .map_or("yes".to_owned(), |why| format!("no: {why}")),
        ),
    ] {
        table.row(vec![what.to_owned(), value]);
    }
    table
}

fn guard(all: &Redundancy) -> Table {
    let mut table = Table::new(&["GUARD", "PID", ">RESTARTS", "LAST END"]);
    if let Some(guard) = &all.guard {
        table.row(vec![
            if guard.pid.is_some() {
                "runs"
            } else {
                "does not run"
            }
            .to_owned(),
            or_dash(&guard.pid),
            guard.restarts.to_string(),
            or_dash(&guard.last_end),
        ]);
    }
    table
}

fn hold(hold: &Hold) -> String {
    format!(
        "{} {}.{:03} s",
        hold.hold,
        hold.left_ms / 1000,
        hold.left_ms % 1000
    )
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(", ")
    }
}

/// One set: what it is and why, and what is outside.
pub fn set(set: &RedundancySet) -> Vec<Table> {
    let mut table = Table::new(&[&format!("SET {}", set.id), "VALUE"]);
    let mut row = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    row("name", or_dash(&set.name));
    row("group", set.redundancy_group.to_string());
    row("service sets", set.service_sets.join(" "));
    row("colour", set.light.as_str().to_owned());
    set.why.iter().for_each(|why| row("", why.clone()));
    row("role", set.role.as_str().to_owned());
    row("reason", or_dash(&set.reason));
    row(
        "since",
        format!("{}, by {}", time(set.since_unix_s), set.last_cause.as_str()),
    );
    row(
        "changing to",
        set.changing_to.map_or("-", |role| role.as_str()).to_owned(),
    );
    row("epoch", set.epoch.to_string());
    let how = if set.automatic {
        "automatic"
    } else {
        "by command alone"
    };
    row("roles change", how.to_owned());
    if set.automatic {
        let preempt = if set.preempt {
            "preempts"
        } else {
            "does not preempt"
        };
        row("priority", format!("{}, {preempt}", set.priority));
        row("taken out", yes_or_no(set.taken_out));
        row("warning", or_dash(&set.warning));
        row("holds", listed(set.holds.iter().map(hold)));
    }
    if let Some(weights) = set.weights {
        row(
            "failed weight",
            format!("{} of {}", weights.failed, weights.threshold),
        );
        row(
            "of the chassis",
            format!("{} of {}", weights.chassis_failed, weights.chassis_threshold),
        );
    }
    row(
        "peer",
        format!(
            "{} on {}",
            set.peer.life,
            listed(set.peer.heard_on.iter().cloned())
        ),
    );
    row(
        "its role",
        set.peer_role.map_or("-", |role| role.as_str()).to_owned(),
    );
    row("its epoch", or_dash(&set.peer_epoch));
    row("its priority", or_dash(&set.peer.priority));
    row("its failed weight", or_dash(&set.peer.failed_weight));
    row("it has all", or_dash(&set.peer.complete.map(yes_or_no)));
    row("it is eligible", or_dash(&set.peer.eligible.map(yes_or_no)));
    row("an event is active", or_dash(&set.peer.warned.map(yes_or_no)));
    row("it warns", or_dash(&set.peer.warns.map(yes_or_no)));
    let event = set.last_event.as_ref().map(|event| {
        let (from, to, cause) = (event.from.as_str(), event.to.as_str(), event.cause.as_str());
        let why = event.reason.as_ref().or(event.note.as_ref());
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        let done = if event.ok { "" } else { ", refused" };
        format!("{} {from} to {to}, {cause}{done}{why}", time(event.at_unix_s))
    });
    row("last event", or_dash(&event));
    vec![table, outside(set)]
}

fn outside(set: &RedundancySet) -> Table {
    let mut table = Table::new(&[&format!("SET {}", set.id), "WHAT", "STATE"]);
    let mut row = |what: &str, which: String, state: &str| {
        table.row(vec![what.to_owned(), which, state.to_owned()]);
    };
    for one in &set.outside.virtual_addresses {
        let state = if one.in_place { "here" } else { "not here" };
        row(
            "virtual address",
            format!("{} {}", one.interface, one.address),
            state,
        );
    }
    for one in &set.outside.signal_routes {
        let which = format!("{} table {} {}", one.prefix, one.table, one.target);
        row("signal route", which, "in the kernel");
    }
    if let Some(file) = &set.outside.track_file {
        row("tracking file", file.path.clone(), &file.number.to_string());
    }
    for interface in &set.outside.ports_down {
        row("port", interface.clone(), "shows as down: not primary");
    }
    for failure in &set.outside.failures {
        row("failure", "tried again every second".to_owned(), failure);
    }
    table
}
