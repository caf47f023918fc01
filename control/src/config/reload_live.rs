//! Live keys whose change is not live after all: what sessions were begun by would mean something else.
//!
//! Workers share IPv6 subscribers out by the first bits of their addresses, and a pool's addresses are given out in one way:
//! while sessions live on, neither may change under them.

use tandem_engine::program::AddressRange;

use super::Config;
use super::diagnostics::{join, position_of};
use super::fault::{Fault, FaultKind};
use super::pool::Pool;

/// One fault for each change of this sort.
pub(super) fn faults(old: &Config, new: &Config) -> Vec<Fault> {
    let mut faults = subscriber_prefixes(old, new);
    faults.extend(pools(old, new));
    faults
}

fn fault(new: &Config, path: String, problem: String, remedy: String) -> Fault {
    let (line, column) = position_of(&new.places, &path);
    Fault {
        kind: FaultKind::NeedsRestart,
        file: new.file.clone(),
        line,
        column,
        path,
        problem: format!("{problem}: this needs a restart, so nothing of the file was applied"),
        remedy,
    }
}

/// No subscriber prefix may be shorter than the bits that choose a worker.
fn subscriber_prefixes(old: &Config, new: &Config) -> Vec<Fault> {
    let bits = old.shortest_subscriber_prefix();
    let shorter = new
        .service_sets
        .iter()
        .filter(|set| set.ipv6.subscriber_prefix < bits);
    shorter
        .map(|set| {
            let problem = format!(
                "workers choose IPv6 subscribers by {bits} bits, and {} are fewer",
                set.ipv6.subscriber_prefix
            );
            let path = join("service-sets", &set.name) + ".ipv6.subscriber-prefix-length";
            fault(
                new,
                path,
                problem,
                format!("restart tandemd, or use at least {bits}"),
            )
        })
        .collect()
}

/// A pool that keeps its name, or takes over another's addresses, gives out what was given out before.
fn pools(old: &Config, new: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    let ranges = by_address(&old.pools);
    for pool in &new.pools {
        let same_name = old.pools.iter().filter(|other| other.name == pool.name);
        let same_addresses = pool.addresses.iter().flat_map(|range| {
            let from = ranges.partition_point(|(other, _)| other.last < range.first);
            let met = ranges[from..]
                .iter()
                .take_while(|(other, _)| other.first <= range.last);
            met.map(|(_, other)| *other)
        });
        let differs = same_name
            .chain(same_addresses)
            .find_map(|other| difference(other, pool).map(|what| (other, what)));
        if let Some((other, what)) = differs {
            let whose = join("pools", &other.name);
            let problem = format!("{what}, and sessions of {whose} may live on");
            let remedy = if pool.used {
                "restart tandemd, or make a pool of another name and other addresses"
            } else {
                "remove the pool as well, since no term uses it, or restart tandemd"
            };
            let remedy = remedy.to_owned();
            faults.push(fault(new, join("pools", &pool.name), problem, remedy));
        }
    }
    faults
}

fn by_address(pools: &[Pool]) -> Vec<(AddressRange, &Pool)> {
    let mut ranges: Vec<(AddressRange, &Pool)> = pools
        .iter()
        .flat_map(|pool| pool.addresses.iter().map(move |range| (*range, pool)))
        .collect();
    ranges.sort_by_key(|(range, _)| range.first);
    ranges
}

/// What a pool gives out, in words.
fn gives(pool: &Pool) -> &'static str {
    if pool.deterministic.is_some() {
        "ports by a formula"
    } else if pool.whole_addresses {
        "whole addresses"
    } else if pool.port_overloading {
        "overloaded ports"
    } else {
        "ports"
    }
}

/// Why sessions of `old` and of `new` could meet, if they could.
fn difference(old: &Pool, new: &Pool) -> Option<String> {
    let (before, after) = (gives(old), gives(new));
    if before != after {
        return Some(format!("the pool would give out {after} instead of {before}"));
    }
    let (Some(before), Some(after)) = (&old.deterministic, &new.deterministic) else {
        return None;
    };
    if before.ports_each != after.ports_each {
        return Some(format!(
            "ports-per-subscriber would be {} instead of {}",
            after.ports_each, before.ports_each
        ));
    }
    let same = before.prefix == after.prefix
        && after.subscribers.starts_with(&before.subscribers)
        && old.ports == new.ports
        && starts_with(&new.addresses, &old.addresses);
    (!same).then(|| "the formula would give ports of one subscriber to another".to_owned())
}

/// Whether the first addresses of `new` are those of `old`, in order.
fn starts_with(new: &[AddressRange], old: &[AddressRange]) -> bool {
    let Some((last, before)) = old.split_last() else {
        return true;
    };
    new.starts_with(before)
        && new
            .get(before.len())
            .is_some_and(|range| range.first == last.first && range.last >= last.last)
}
