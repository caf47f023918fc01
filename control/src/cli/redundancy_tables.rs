//! Tables of replication, and of the events of redundancy sets.

mod trouble;

use super::table::{Table, or_dash, percent, time, yes_or_no};
use crate::api::model::{
    BulkSync, Certificate, LinkCounters, ObjectType, RedundancyEvent, Replication, ReplicationGroup, Use,
    WorkerReplication,
};

/// One line for each redundancy group: state, mirrors, lag, what waits; then why those that are not active are not.
pub fn replication(all: &Replication) -> Vec<Table> {
    let mut groups = Table::new(&[
        ">GROUP",
        "PEER",
        "STATE",
        "SEND",
        "RECEIVE",
        ">BULK %",
        ">LAG ms",
        ">PENDING",
        ">WINDOW bytes",
        "NAME",
    ]);
    let mut reasons = Table::new(&[">GROUP", "REASON", "DETAIL"]);
    for group in &all.rows {
        groups.row(vec![
            group.id.to_string(),
            group.channel.peer_address.to_string(),
            group.state.as_str().to_owned(),
            mirror(group.sending),
            mirror(group.receiving),
            bulk_percent(&group.bulk_sent),
            or_dash(&group.lag.now_ms),
            group.queues.pending.used.to_string(),
            group.queues.window_bytes.used.to_string(),
            or_dash(&group.name),
        ]);
        if !group.detail.is_empty() {
            reasons.row(vec![
                group.id.to_string(),
                or_dash(&group.reason),
                group.detail.clone(),
            ]);
        }
    }
    vec![groups, reasons, trouble::differences(all), trouble::poison(all)]
}

/// Everything there is about replication.
pub fn extensive(all: &Replication) -> Vec<Table> {
    let mut tables = replication(all);
    for group in &all.rows {
        tables.push(channel(group));
        tables.push(bulks(group));
        tables.push(queues(group));
        tables.push(counters(group.id, &group.counters));
        tables.push(failures(group));
    }
    tables.push(workers(&all.workers));
    tables
}

fn mirror(state: Option<crate::api::model::MirrorState>) -> String {
    state.map_or("-", |state| state.as_str()).to_owned()
}

fn types(types: &[ObjectType]) -> String {
    match types.len() {
        0 => "-".to_owned(),
        all if all == ObjectType::ALL.len() => "all".to_owned(),
        _ => types.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(","),
    }
}

fn bulk_percent(bulk: &BulkSync) -> String {
    or_dash(&bulk.percent.map(|percent| format!("{percent:.0}")))
}

fn channel(group: &ReplicationGroup) -> Table {
    let channel = &group.channel;
    let certificate = |one: &Option<Certificate>| match one {
        Some(one) => {
            let expires = or_dash(&one.expires_unix_s.map(time));
            format!("{} until {expires}", one.fingerprint)
        }
        None => "-".to_owned(),
    };
    let secured = match (&channel.protocol, &channel.cipher) {
        (Some(protocol), Some(cipher)) => format!("{protocol} {cipher}"),
        _ => "-".to_owned(),
    };
    let mut table = Table::new(&[&format!("GROUP {}", group.id), "CHANNEL"]);
    for (what, value) in [
        ("local", channel.local_address.to_string()),
        ("peer", format!("{} port {}", channel.peer_address, channel.port)),
        ("side", channel.side.clone()),
        ("security", channel.security.clone()),
        ("connected to", or_dash(&channel.connected_to)),
        ("since", or_dash(&channel.connected_since_unix_s.map(time))),
        ("secured by", secured),
        ("certificate", certificate(&channel.certificate)),
        ("of the peer", certificate(&channel.peer_certificate)),
        ("wire version", or_dash(&group.wire_version)),
        ("digest", group.digest.ours.clone()),
        ("of the peer", or_dash(&group.digest.theirs)),
    ] {
        table.row(vec![what.to_owned(), value]);
    }
    table
}

fn bulks(group: &ReplicationGroup) -> Table {
    let mut table = Table::new(&[
        &format!("GROUP {}", group.id),
        ">BULK",
        "TYPES",
        "RUNNING",
        ">RESTS ms",
        ">%",
        ">TOOK ms",
        ">SESSIONS",
        ">MAPPINGS",
        ">BLOCKS",
        ">EXTENTS",
    ]);
    for (direction, bulk) in [("sent", &group.bulk_sent), ("received", &group.bulk_received)] {
        table.row(vec![
            direction.to_owned(),
            bulk.number.to_string(),
            types(&bulk.types),
            yes_or_no(bulk.running),
            bulk.rests_ms.to_string(),
            bulk_percent(bulk),
            bulk.took_ms.to_string(),
            bulk.objects.sessions.to_string(),
            bulk.objects.mappings.to_string(),
            bulk.objects.blocks.to_string(),
            bulk.objects.extents.to_string(),
        ]);
    }
    table
}

fn queues(group: &ReplicationGroup) -> Table {
    let (lag, queues) = (group.lag, &group.queues);
    let mut table = Table::new(&[&format!("GROUP {}", group.id), ">NOW", ">ROOM", ">%", ">PEAK"]);
    let mut row = |name: &str, n: Use, peak: Option<u64>| {
        table.row(vec![
            name.to_owned(),
            n.used.to_string(),
            n.total.to_string(),
            percent(n.used, n.total),
            or_dash(&peak),
        ]);
    };
    row(
        "window bytes",
        queues.window_bytes,
        Some(queues.window_peak_bytes),
    );
    row("pending", queues.pending, Some(queues.pending_peak));
    row("outbox", queues.outbox, None);
    row("inbox", queues.inbox, None);
    let dash = || "-".to_owned();
    for (name, ms) in [
        ("lag ms", lag.now_ms),
        ("held back", Some(queues.held_back)),
        ("install waits ms", Some(queues.install_wait_ms)),
        ("lag ms p50", Some(lag.p50_ms)),
        ("lag ms p99", Some(lag.p99_ms)),
    ] {
        let peak = if name == "lag ms" {
            lag.max_ms.to_string()
        } else {
            dash()
        };
        table.row(vec![name.to_owned(), or_dash(&ms), dash(), dash(), peak]);
    }
    table
}

fn counters(group: u8, c: &LinkCounters) -> Table {
    let mut table = Table::new(&[&format!("GROUP {group}"), ">COUNT"]);
    for (name, count) in [
        ("updates sent", c.updates_sent),
        ("updates received", c.updates_received),
        ("sessions sent", c.objects_sent.sessions),
        ("mappings sent", c.objects_sent.mappings),
        ("blocks sent", c.objects_sent.blocks),
        ("extents sent", c.objects_sent.extents),
        ("sessions received", c.objects_received.sessions),
        ("mappings received", c.objects_received.mappings),
        ("blocks received", c.objects_received.blocks),
        ("extents received", c.objects_received.extents),
        ("batches sent", c.batches_sent),
        ("batches received", c.batches_received),
        ("bytes sent", c.sent_bytes),
        ("bytes received", c.received_bytes),
        ("retransmits", c.retransmits),
        ("duplicates", c.duplicates),
        ("gaps", c.gaps),
        ("batches dropped", c.batches_dropped),
        ("collapsed", c.collapsed),
        ("untranslatable", c.untranslatable),
        ("unknown messages", c.unknown_messages),
        ("install waits", c.install_waits),
        ("connects", c.connects),
        ("resumes", c.resumes),
        ("batches refused", c.batches_refused),
        ("batches skipped", c.batches_skipped),
        ("bulks sent", c.bulks_sent),
        ("bulks rested", c.bulks_rested),
        ("bulks received", c.bulks_received),
        ("bulk mismatches", c.bulk_mismatches),
        ("connections refused", c.refused),
        ("peer lost", c.lost),
        ("leases acknowledged", c.leases_acknowledged),
        ("offers after two primaries", c.offers),
        ("offers in vain", c.offers_in_vain),
        ("merges", c.merges),
    ] {
        table.row(vec![name.to_owned(), count.to_string()]);
    }
    table
}

fn failures(group: &ReplicationGroup) -> Table {
    let mut table = Table::new(&[&format!("GROUP {}", group.id), ">FAILURES", "AT", "LAST"]);
    let last = group.channel.last_failure.as_ref();
    for one in group.channel.failures.iter() {
        let last = last.filter(|last| last.kind == one.kind);
        if one.count > 0 || last.is_some() {
            table.row(vec![
                one.kind.clone(),
                one.count.to_string(),
                or_dash(&last.map(|last| time(last.at_unix_s))),
                or_dash(&last.map(|last| last.text.clone())),
            ]);
        }
    }
    table
}

fn workers(w: &WorkerReplication) -> Table {
    let mut table = Table::new(&["WORKERS", ">COUNT"]);
    for (name, count) in [
        ("emitted", w.emitted),
        ("dirty", w.dirty),
        ("walked", w.walked),
        ("backlogged", w.backlogged),
        ("endings lost", w.lost),
        ("installed", w.installed),
        ("updated", w.updated),
        ("ended", w.ended),
        ("changes refused: role", w.refused.role),
        ("changes refused: room", w.refused.room),
        ("changes refused: ground", w.refused.ground),
        ("conflicts", w.conflicts),
        ("swept", w.swept),
        ("merged sessions", w.merge.sessions),
        ("merge conflicts: public ends", w.merge.public_ends),
        ("merge conflicts: inside ends", w.merge.inside_ends),
        ("merge conflicts: blocks", w.merge.blocks),
        ("merge conflicts: extents", w.merge.extents_of_others),
        ("merge: sessions refused", w.merge.refused),
        ("merge: not taken beside an offer", w.merge.unoffered),
    ] {
        table.row(vec![name.to_owned(), count.to_string()]);
    }
    table
}

/// Events of redundancy sets.
pub fn events(rows: &[RedundancyEvent]) -> Table {
    let mut table = Table::new(&[">EVENT", "AT", ">SET", "FROM", "TO", ">EPOCH", "CAUSE", "RESULT"]);
    for event in rows {
        let cause = event.cause.as_str();
        let cause = if event.forced {
            format!("{cause}, force")
        } else {
            cause.to_owned()
        };
        let result = match &event.reason {
            // What a monitor saw.
            Some(what) if event.ok => what.clone(),
            None if event.ok => match &event.note {
                Some(note) => format!("done: {note}"),
                None => "done".to_owned(),
            },
            Some(reason) => format!("refused: {reason}"),
            None => "refused".to_owned(),
        };
        table.row(vec![
            event.id.to_string(),
            time(event.at_unix_s),
            event.redundancy_set.to_string(),
            event.from.as_str().to_owned(),
            event.to.as_str().to_owned(),
            event.epoch.to_string(),
            cause,
            result,
        ]);
    }
    table
}
