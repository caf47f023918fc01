//! Tables of the daemon as a whole: health, version, configuration, counters.

use super::table::{Table, or_dash, time};
use crate::api::model::{ConfigSummary, Counter, Health, Version};

/// Health: the word, then the checks.
pub fn health(health: &Health) -> Vec<Table> {
    let mut whole = Table::new(&["STATUS", ">UPTIME s"]);
    whole.row(vec![
        health.status.as_str().to_owned(),
        health.uptime_s.to_string(),
    ]);
    let mut checks = Table::new(&["CHECK", "RESULT", "DETAIL"]);
    for check in &health.checks {
        let result = if check.ok { "ok" } else { "FAILED" };
        checks.row(vec![check.name.clone(), result.to_owned(), check.detail.clone()]);
    }
    vec![whole, checks]
}

/// Versions.
pub fn version(version: &Version) -> Vec<Table> {
    let mut table = Table::new(&["PART", "VERSION"]);
    table.row(vec!["tandem".to_owned(), version.tandem.clone()]);
    table.row(vec!["dpdk".to_owned(), version.dpdk.clone()]);
    vec![table]
}

/// The configuration, the last reload, its faults.
pub fn config(config: &ConfigSummary) -> Vec<Table> {
    let mut whole = Table::new(&[
        ">GENERATION",
        "LOADED",
        ">SERVICE SETS",
        ">POOLS",
        ">INTERFACES",
        "FILE",
    ]);
    whole.row(vec![
        config.generation.to_string(),
        time(config.loaded_at_unix_s),
        config.service_sets.to_string(),
        config.pools.to_string(),
        config.interfaces.to_string(),
        config.file.clone(),
    ]);
    let mut reload = Table::new(&["LAST RELOAD", "AT", ">FAULTS"]);
    let mut faults = Table::new(&[">LINE", "PATH", "FAULT"]);
    if let Some(last) = &config.last_reload {
        let result = if last.applied { "applied" } else { "refused" };
        reload.row(vec![
            result.to_owned(),
            time(last.at_unix_s),
            last.faults.len().to_string(),
        ]);
        for fault in &last.faults {
            let text = format!("{}; {}", fault.problem, fault.remedy);
            faults.row(vec![or_dash(&fault.line), fault.path.clone(), text]);
        }
        for warning in &last.warnings {
            faults.row(vec![or_dash(&None::<u32>), "-".into(), warning.clone()]);
        }
    }
    vec![whole, reload, faults]
}

/// Counters; those at zero only with `all`.
pub fn counters(rows: &[Counter], all: bool) -> Table {
    let mut table = Table::new(&["GROUP", "COUNTER", ">TOTAL", "BY WORKER"]);
    for counter in rows.iter().filter(|c| all || c.total > 0) {
        let workers: Vec<String> = counter.workers.iter().map(ToString::to_string).collect();
        let (group, workers) = (counter.group.as_str().to_owned(), workers.join(" "));
        table.row(vec![
            group,
            counter.name.clone(),
            counter.total.to_string(),
            workers,
        ]);
    }
    table
}

/// Drops, largest first; reasons at zero only with `all`.
pub fn drops(rows: &[Counter], all: bool) -> Table {
    let mut shown: Vec<&Counter> = rows.iter().filter(|c| all || c.total > 0).collect();
    shown.sort_by_key(|c| std::cmp::Reverse(c.total));
    let mut table = Table::new(&["REASON", ">PACKETS", "MEANING"]);
    for counter in shown {
        table.row(vec![
            counter.name.clone(),
            counter.total.to_string(),
            counter.help.clone(),
        ]);
    }
    table
}
