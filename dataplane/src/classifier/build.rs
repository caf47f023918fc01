//! Building the tries of one family without taking the machine down.
//!
//! DPDK bounds what tries take when they are ready, but not what it takes on the way there, and rules that overlap in every field
//! at once make that explode: a few thousand prefixes of any length on both sides, each with ranges of ports, can want gigabytes
//! and minutes. So a long list is tried in parts first:
//!
//! ```text
//!   1/16 of the rules -> bytes a     1/4 -> bytes b     all: b * (b / a), about; too much? then it is not tried
//! ```
//!
//! A build takes up to about four times the bytes of the ready tries for a while (measured with `examples/acl_measure.rs wild`).

use rte_bindings::acl::{Acl, Family};
use rte_bindings::{AclError, AclLimits, AclRules, Eal, heap_usage};

/// Rules from which on parts are tried first; fewer are bounded well enough by being few.
const PARTS_FROM: usize = 1024;
/// Most that four times the rules are thought to multiply the bytes by: more is seen in short lists only, whose tries are not
/// split yet.
const GROWTH_MAX: usize = 16;
/// NUMA nodes whose memory is looked at.
const NODES: u32 = 8;

/// The tries of `rules`; `None` without rules.
pub(super) fn family<F: Family>(
    eal: &Eal,
    rules: AclRules<F>,
    limits: &AclLimits,
) -> Result<Option<Acl<F>>, AclError> {
    if rules.is_empty() {
        return Ok(None);
    }
    if rules.len() >= PARTS_FROM {
        let whole = |error| match error {
            AclError::TooBig { max_bytes, .. } => AclError::TooBig {
                rules: rules.len(),
                max_bytes,
            },
            other => other,
        };
        let small = part(eal, &rules, limits, 16).map_err(whole)?.max(1);
        let large = part(eal, &rules, limits, 4).map_err(whole)?;
        let growth = large.div_ceil(small).min(GROWTH_MAX);
        if large.saturating_mul(growth) > limits.max_bytes {
            return Err(whole(AclError::TooBig {
                rules: 0,
                max_bytes: limits.max_bytes,
            }));
        }
    }
    rules.build(eal, limits).map(Some)
}

/// Bytes that the tries of one in `of` rules take. Whatever else takes or gives back DPDK's memory meanwhile is counted too, but
/// nothing large does after start.
fn part<F: Family>(eal: &Eal, rules: &AclRules<F>, limits: &AclLimits, of: u32) -> Result<usize, AclError> {
    let part = rules.part(of);
    let rule_bytes = Acl::<F>::rule_bytes(part.len());
    if part.is_empty() {
        return Ok(0);
    }
    let before = allocated(eal);
    let _tries = part.build(eal, limits)?;
    Ok(allocated(eal).saturating_sub(before).saturating_sub(rule_bytes))
}

fn allocated(eal: &Eal) -> usize {
    let nodes = (0..NODES).filter_map(|node| heap_usage(eal, node));
    nodes.map(|usage| usage.allocated as usize).sum()
}
