//! Building the tries of one family: the best order of fields, without taking the machine down.
//!
//! DPDK bounds what tries take when they are ready, but not what it takes on the way there, and rules that overlap in every field
//! at once make that explode: a few thousand prefixes of any length on both sides, each with ranges of ports, can want gigabytes
//! and minutes. Which field comes first matters as much, by ten times in either direction. So parts are tried before the whole:
//!
//! ```text
//!   512 rules in each order -> the smallest tries show the order
//!   1/16 of a long list -> bytes a     1/4 -> bytes b     all: b * (b / a), about; too much? then it is not tried
//! ```
//!
//! A build takes up to about four times the bytes of the ready tries for a while (measured with `examples/acl_measure.rs wild`).

use rte_bindings::acl::{Acl, Family, FieldOrder};
use rte_bindings::{AclConfig, AclError, AclRules, Eal, heap_usage};

/// Rules that the orders are tried with.
const ORDER_RULES: usize = 512;
/// Different pairs of port ranges up to which the ports may come first: with few services that is the fastest order, with many
/// ranges that overlap a hundred rules can want a gigabyte.
const SERVICES_FEW: usize = 64;
/// Rules from which on parts are tried first; fewer are bounded well enough by being few.
const PARTS_FROM: usize = 1024;
/// Most that four times the rules are thought to multiply the bytes by: more is seen in short lists only, whose tries are not
/// split yet.
const GROWTH_MAX: usize = 16;
/// NUMA nodes whose memory is looked at.
const NODES: u32 = 8;

/// The tries of `rules`, which have so many different pairs of port ranges, within `max_bytes`; `None` without rules.
pub(super) fn family<F: Family>(
    eal: &Eal,
    rules: &AclRules<F>,
    services: usize,
    max_bytes: usize,
) -> Result<Option<Acl<F>>, AclError> {
    if rules.is_empty() {
        return Ok(None);
    }
    let [best, other] = orders(eal, rules, services, max_bytes);
    let build = |order| {
        let settings = AclConfig {
            max_bytes,
            order,
            ..AclConfig::default()
        };
        expect_room(eal, rules, &settings)?;
        rules.clone().build(eal, &settings)
    };
    match build(best) {
        Err(_) if other != best => build(other),
        result => result,
    }
    .map(Some)
}

/// The order whose tries are smallest for a part of the rules, and the one of those that begin with an address: the ports' grow
/// faster, so the whole may be too much for them.
fn orders<F: Family>(eal: &Eal, rules: &AclRules<F>, services: usize, max_bytes: usize) -> [FieldOrder; 2] {
    use FieldOrder::{Destination, PortsDestination, PortsSource, Source};
    let of = rules.len().div_ceil(ORDER_RULES) as u32;
    let size = |order: FieldOrder| {
        let settings = AclConfig {
            max_bytes,
            order,
            ..AclConfig::default()
        };
        (part(eal, rules, &settings, of).unwrap_or(usize::MAX), order)
    };
    let least = |a: (usize, FieldOrder), b: (usize, FieldOrder)| if b.0 < a.0 { b } else { a };
    let address = least(size(Source), size(Destination));
    if services > SERVICES_FEW {
        return [address.1; 2];
    }
    let ports = least(size(PortsSource), size(PortsDestination));
    [least(address, ports).1, address.1]
}

/// Refuses a long list whose tries would become too large.
fn expect_room<F: Family>(eal: &Eal, rules: &AclRules<F>, settings: &AclConfig) -> Result<(), AclError> {
    if rules.len() < PARTS_FROM {
        return Ok(());
    }
    let too_big = || AclError::TooBig {
        rules: rules.len(),
        max_bytes: settings.max_bytes,
    };
    // Whatever is too much for a part is too much for the whole.
    let small = part(eal, rules, settings, 16).map_err(|_| too_big())?.max(1);
    let large = part(eal, rules, settings, 4).map_err(|_| too_big())?;
    let growth = large.div_ceil(small).min(GROWTH_MAX);
    if large.saturating_mul(growth) > settings.max_bytes {
        return Err(too_big());
    }
    Ok(())
}

/// Bytes that the tries of one in `of` rules take. Whatever else takes or gives back DPDK's memory meanwhile is counted too, but
/// nothing large does after start.
fn part<F: Family>(eal: &Eal, rules: &AclRules<F>, settings: &AclConfig, of: u32) -> Result<usize, AclError> {
    let part = rules.part(of);
    let rule_bytes = Acl::<F>::rule_bytes(part.len());
    if part.is_empty() {
        return Ok(0);
    }
    let before = allocated(eal);
    let _tries = part.build(eal, settings)?;
    Ok(allocated(eal).saturating_sub(before).saturating_sub(rule_bytes))
}

fn allocated(eal: &Eal) -> usize {
    let nodes = (0..NODES).filter_map(|node| heap_usage(eal, node));
    nodes.map(|usage| usage.allocated as usize).sum()
}
