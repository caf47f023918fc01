//! What only the whole file can tell: sizes against what the sections need, and what nothing refers to.

use super::diagnostics::{Diagnostics, join};
use super::fault::FaultKind;
use super::{Config, Direction, Firewall};

/// Table sizes and packet buffers against what the other sections need.
pub(super) fn sizes_fit(config: &Config, d: &Diagnostics) {
    let sizes = &config.table_sizes;
    let blocks = config.pools.iter().find(|pool| pool.port_blocks.is_some());
    if let Some(pool) = blocks.filter(|_| sizes.max_blocks < sizes.max_subscribers) {
        let path = join("pools", &pool.name) + ".port-block-allocation";
        let problem = format!(
            "{} is less than table-sizes.max-subscribers = {} (line {}), and each subscriber of {path} (line {}) needs a block",
            sizes.max_blocks,
            sizes.max_subscribers,
            d.line("table-sizes.max-subscribers"),
            d.line(&path),
        );
        let remedy = format!("use at least {}, or lower max-subscribers", sizes.max_subscribers);
        d.fault(FaultKind::Conflict, "table-sizes.max-blocks", problem, remedy);
    }
    let descriptors: u64 = config
        .interfaces
        .iter()
        .flat_map(|interface| interface.attachment.ports())
        .map(|port| u64::from(port.rx_descriptors) * u64::from(port.rx_queues.unwrap_or(1)))
        .sum();
    if let Some(mbufs) = config.dpdk.mbufs.filter(|mbufs| u64::from(*mbufs) <= descriptors) {
        let problem = format!(
            "{mbufs} packet buffers do not fill the {descriptors} receive descriptors of the interfaces"
        );
        let remedy = format!("use more than {descriptors} (twice is usual), or \"auto\"");
        d.fault(FaultKind::Conflict, "dpdk.mbufs", problem, remedy);
    }
}

/// Warns about what nothing refers to.
pub(super) fn unused(config: &Config, d: &Diagnostics) {
    for pool in &config.pools {
        if !pool.used {
            let path = join("pools", &pool.name);
            d.warn(
                &path,
                "no rule uses this pool",
                "name it in a term's then.pool, or remove it",
            );
        }
    }
    for rule in &config.nat_rules {
        if !config.service_sets.iter().any(|set| set.nat_rules.contains(rule)) {
            let path = join("nat-rules", &rule.name);
            d.warn(
                &path,
                "no service set uses this rule",
                "name it in a service set's nat-rules, or remove it",
            );
        }
    }
    for list in &config.firewall_policies {
        let has = |direction: &Direction| direction.lists.contains(list);
        let uses = |firewall: &Firewall| has(&firewall.outbound) || has(&firewall.inbound);
        if !config
            .service_sets
            .iter()
            .any(|set| set.firewall.as_ref().is_some_and(uses))
        {
            let path = join("firewall-policies", &list.name);
            d.warn(
                &path,
                "no service set uses these policies",
                "name them in a service set's firewall.outbound or firewall.inbound, or remove them",
            );
        }
    }
}
