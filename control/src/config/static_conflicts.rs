//! What static mappings must not share: their ends with each other, their public side with pools and interfaces.

use std::collections::BTreeMap;

use tandem_engine::program::AddressRange;
use tandem_engine::statics::{MappingEnd, StaticTable};

use super::compile_static::of_program;
use super::diagnostics::{Diagnostics, join};
use super::fault::{Bad, FaultKind};
use super::interface::Interface;
use super::numbers::NUMBERED_MAX;
use super::pool::{POOL_ADDRESSES_MAX, Pool};
use super::service_set::{Raw, ServiceSet};
use super::static_mapping::StaticMapping;
use super::translation::Action;
use super::values::show_range;

/// Contradictions told in one run.
const CONFLICTS_MAX: usize = 64;

/// Reports every static mapping that cannot stand beside others, pools and interfaces.
pub(super) fn check(
    raws: &[Raw],
    sets: &[ServiceSet],
    pools: &[Pool],
    interfaces: &[Interface],
    d: &Diagnostics,
) {
    let public = PublicSide::new(pools, interfaces);
    let mut all: Vec<(usize, String, &str, &StaticMapping)> = Vec::new();
    for (at, (raw, set)) in raws.iter().zip(sets).enumerate() {
        let before = all.len();
        for term in set.nat_rules.iter().flat_map(|rule| &rule.terms) {
            if let Action::Static(mappings) = &term.action {
                let key = if mappings.iter().any(|one| one.inbound_only) {
                    "from.destination-addresses"
                } else {
                    "then.public-prefix"
                };
                all.extend(mappings.iter().map(|one| (at, term.path.clone(), key, one)));
            }
        }
        names_differ(raw, d);
        let own = raw.static_mappings.iter();
        all.extend(own.filter_map(|one| Some((at, one.path.clone(), "public", one.mapping.as_ref()?))));
        let terms: usize = set.nat_rules.iter().map(|rule| rule.terms.len()).sum();
        let numbered = terms + all.len() - before;
        if numbered > NUMBERED_MAX {
            let problem = format!("there are {numbered} terms and static mappings");
            let path = format!("{}.static-mappings", raw.path);
            d.fault(
                FaultKind::BadValue,
                &path,
                problem,
                format!("use at most {NUMBERED_MAX}"),
            );
            return;
        }
    }
    for (_, path, key, mapping) in &all {
        if let Err(bad) = public.allows(mapping) {
            d.fault(
                FaultKind::Conflict,
                &format!("{path}.{key}"),
                bad.problem,
                bad.remedy,
            );
        }
    }
    let in_pools: u64 = pools.iter().flat_map(|pool| &pool.addresses).map(size).sum();
    let in_mappings: u64 = all.iter().map(|(.., mapping)| size(&mapping.public)).sum();
    if !all.is_empty() && in_pools.saturating_add(in_mappings) > POOL_ADDRESSES_MAX {
        let problem = format!(
            "pools and static mappings have {} addresses together",
            in_pools + in_mappings
        );
        let remedy = format!("use at most {POOL_ADDRESSES_MAX} (a /12)");
        let path = all.last().map_or("service-sets", |(_, path, ..)| path.as_str());
        d.fault(FaultKind::Conflict, path, problem, remedy);
        return;
    }
    ends_differ(&all, d);
}

fn size(range: &AddressRange) -> u64 {
    u64::from(range.last) - u64::from(range.first) + 1
}

fn names_differ(raw: &Raw, d: &Diagnostics) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for one in &raw.static_mappings {
        let Some(mapping) = &one.mapping else { continue };
        let first = *seen.entry(&mapping.name).or_insert(&one.path);
        if first != one.path {
            let problem = format!("the name is that of {first} (line {}) too", d.line(first));
            d.fault(
                FaultKind::Conflict,
                &format!("{}.name", one.path),
                problem,
                "give each static mapping its own name",
            );
        }
    }
}

/// The engine's own table says which ends two mappings share; each contradiction costs the later mapping its place.
fn ends_differ(all: &[(usize, String, &str, &StaticMapping)], d: &Diagnostics) {
    let mut rest: Vec<usize> = (0..all.len()).collect();
    for _ in 0..CONFLICTS_MAX {
        let mappings = rest
            .iter()
            .filter_map(|at| all.get(*at).map(|one| (at, one)))
            .map(|(at, (set, _, _, mapping))| of_program(mapping, at.to_string(), *set as u16, 0))
            .collect();
        let Err(conflict) = StaticTable::new(mappings) else {
            return;
        };
        let place = |name: &str| name.parse::<usize>().ok().and_then(|at| Some((at, all.get(at)?)));
        let (Some(one), Some(other)) = (place(&conflict.first), place(&conflict.second)) else {
            return;
        };
        let ((_, first), (at, second)) = if one.0 < other.0 {
            (one, other)
        } else {
            (other, one)
        };
        let key = match (conflict.end, second.2) {
            (MappingEnd::Public, key) => key,
            (MappingEnd::Inside, "public") => "inside",
            (MappingEnd::Inside, _) => "from.source-addresses",
        };
        let ports = if conflict.port == 0 {
            String::new()
        } else {
            format!(" port {}", conflict.port)
        };
        let problem = format!(
            "maps {}{ports}, and so does {} (line {})",
            conflict.address,
            first.1,
            d.line(&first.1)
        );
        let remedy = "use another address or other ports, or remove one of the two";
        d.fault(
            FaultKind::Conflict,
            &format!("{}.{key}", second.1),
            problem,
            remedy,
        );
        rest.retain(|other| *other != at);
    }
}

/// Public addresses that are somebody's already.
pub(super) struct PublicSide<'c> {
    /// Ranges of pools, by first address; they do not overlap.
    pools: Vec<(AddressRange, &'c Pool)>,
    hosts: Vec<(u32, &'c Interface)>,
}

impl<'c> PublicSide<'c> {
    pub fn new(pools: &'c [Pool], interfaces: &'c [Interface]) -> Self {
        let mut ranges: Vec<(AddressRange, &Pool)> = pools
            .iter()
            .flat_map(|pool| pool.addresses.iter().map(move |range| (*range, pool)))
            .collect();
        ranges.sort_by_key(|(range, _)| range.first);
        let hosts = interfaces.iter().flat_map(|interface| {
            let hosts = interface.addresses.iter().filter_map(|address| address.host());
            hosts.map(move |host| (host.first, interface))
        });
        Self {
            pools: ranges,
            hosts: hosts.collect(),
        }
    }

    /// Whether a mapping may have its public addresses, and why not.
    pub fn allows(&self, mapping: &StaticMapping) -> Result<(), Bad> {
        let from = self
            .pools
            .partition_point(|(range, _)| range.last < mapping.public.first);
        let met = self.pools[from..]
            .iter()
            .take_while(|(range, _)| range.first <= mapping.public.last);
        for (range, pool) in met {
            let shared = AddressRange {
                first: range.first.max(mapping.public.first),
                last: range.last.min(mapping.public.last),
            };
            let whose = join("pools", &pool.name);
            let shared = show_range(shared);
            let remedy = if pool.whole_addresses {
                "use addresses outside the pool"
            } else {
                "use public-ports, or addresses outside the pool"
            };
            match mapping.ports {
                Some(_) if pool.whole_addresses => {
                    let problem = format!("{shared} lies in {whose}, whose subscribers have whole addresses");
                    return Err(Bad::new(problem, remedy));
                }
                // The pool gives these ports to nobody.
                Some(_) => {}
                None => {
                    let problem = format!("{shared} lies in {whose}, and the mapping takes all of its ports");
                    return Err(Bad::new(problem, remedy));
                }
            }
        }
        let own = self.hosts.iter().find(|(host, _)| mapping.public.contains(*host));
        if let (Some((host, interface)), None) = (own, mapping.ports) {
            let key = join(&join("interfaces", &interface.name), "addresses");
            let host = std::net::Ipv4Addr::from_bits(*host);
            let problem =
                format!("{host} is this system's own ({key}), and the mapping takes all of its ports");
            return Err(Bad::new(problem, "use public-ports, or another address"));
        }
        Ok(())
    }
}

/// What of `wanted` lies beyond `taken`, sorted and joined.
pub(super) fn beyond(mut wanted: Vec<AddressRange>, taken: &[AddressRange]) -> Vec<AddressRange> {
    wanted.sort_unstable();
    let mut taken: Vec<AddressRange> = taken.to_vec();
    taken.sort_unstable();
    let mut left: Vec<AddressRange> = Vec::new();
    for range in wanted {
        // The next address that is still to be placed; beyond the last one there is none.
        let mut next = u64::from(range.first);
        if let Some(last) = left.last() {
            next = next.max(u64::from(last.last) + 1);
        }
        let end = u64::from(range.last);
        let mut push = |first: u64, last: u64| {
            if first > last {
                return;
            }
            // Both lie within `range`.
            let (first, last) = (first as u32, last as u32);
            match left.last_mut() {
                Some(before) if u64::from(before.last) + 1 == u64::from(first) => before.last = last,
                _ => left.push(AddressRange { first, last }),
            }
        };
        for hole in taken
            .iter()
            .filter(|hole| hole.first <= range.last && hole.last >= range.first)
        {
            if u64::from(hole.first) > next {
                push(next, u64::from(hole.first) - 1);
            }
            next = next.max(u64::from(hole.last) + 1);
        }
        push(next, end);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32) -> AddressRange {
        AddressRange { first, last }
    }

    #[test]
    fn what_lies_beyond() {
        assert_eq!(beyond(vec![range(1, 9)], &[]), [range(1, 9)]);
        assert_eq!(
            beyond(vec![range(1, 9)], &[range(3, 4), range(9, 20)]),
            [range(1, 2), range(5, 8)]
        );
        assert_eq!(
            beyond(vec![range(5, 6), range(1, 9), range(10, 11)], &[range(0, 1)]),
            [range(2, 11)]
        );
        assert_eq!(beyond(vec![range(3, u32::MAX)], &[range(0, u32::MAX)]), []);
        assert_eq!(
            beyond(vec![range(u32::MAX, u32::MAX)], &[]),
            [range(u32::MAX, u32::MAX)]
        );
    }
}
