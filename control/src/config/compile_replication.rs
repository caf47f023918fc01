//! What of a service set is replicated: its threshold, and the numbers of terms and policies whose sessions are not.

use std::collections::HashSet;

use tandem_engine::program;
use tandem_engine::replica::Replication;
use tandem_engine::statics::StaticTable;
use tandem_engine::ticks::Ticks;

use super::firewall::Direction;
use super::service_set::ServiceSet;

/// The replication of `set`, which became `compiled`; terms that became static mappings are found among `statics`.
pub(super) fn replication(
    set: &ServiceSet,
    compiled: &program::ServiceSet,
    statics: &StaticTable,
) -> Replication {
    let Some(threshold_s) = set.replication_threshold_s else {
        return Replication::default();
    };
    Replication {
        threshold: Some(Ticks::from_seconds(threshold_s)),
        excluded_terms: terms(set, compiled, statics),
        excluded_policies: policies(set, compiled),
    }
}

/// Numbers, sorted. Names of terms have a slash, which those of other static mappings cannot have.
fn terms(set: &ServiceSet, compiled: &program::ServiceSet, statics: &StaticTable) -> Vec<u16> {
    let excluded: HashSet<String> = set
        .nat_rules
        .iter()
        .flat_map(|rule| rule.terms.iter().map(move |term| (rule, term)))
        .filter(|(_, term)| term.no_session_backup)
        .map(|(rule, term)| format!("{}/{}", rule.name, term.name))
        .collect();
    if excluded.is_empty() {
        return Vec::new();
    }
    let terms = compiled.terms.iter().map(|term| (&term.name, term.number));
    let of_set = statics.iter().filter(|one| one.service_set == compiled.id);
    let mut numbers: Vec<u16> = terms
        .chain(of_set.map(|one| (&one.name, one.number)))
        .filter(|(name, _)| excluded.contains(*name))
        .map(|(_, number)| number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Ids, sorted. A direction was compiled policy by policy, in order.
fn policies(set: &ServiceSet, compiled: &program::ServiceSet) -> Vec<program::PolicyId> {
    let (Some(firewall), Some(compiled)) = (&set.firewall, &compiled.firewall) else {
        return Vec::new();
    };
    let direction =
        |direction: &Direction, compiled: &program::policy::PolicyList| -> Vec<program::PolicyId> {
            let policies = direction.lists.iter().flat_map(|list| &list.policies);
            let both = policies.zip(&compiled.policies);
            both.filter(|(policy, _)| policy.no_session_backup)
                .map(|(_, compiled)| compiled.id)
                .collect()
        };
    let mut ids = direction(&firewall.outbound, &compiled.outbound);
    ids.extend(direction(&firewall.inbound, &compiled.inbound));
    ids.sort_unstable();
    ids
}
