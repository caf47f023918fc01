//! Canonical numbers: what service sets, pools, NAT64 prefixes and policies are called between the chassis, whose own ids
//! depend on the order in which things were configured.
//!
//! Numbered is what replicated service sets are made of: those sets and their pools by name, their prefixes by content, their
//! policies by service set, direction and name. What else a chassis has does not change the numbers, so equal configurations
//! of the replicated part have equal dictionaries; [`Dictionary::checksum`] tells.

use std::collections::BTreeSet;

use tandem_engine::program::{NONE, Policy, Program, ServiceSet};

/// One kind of thing: local ids by number, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    ids: Vec<u16>,
    numbers: Vec<u16>,
}

impl Table {
    /// Of ids in canonical order. An id that comes more than once is called by its first number.
    fn of(ids: Vec<u16>) -> Self {
        let end = ids.iter().max().map_or(0, |id| usize::from(*id) + 1);
        let mut numbers = vec![NONE; end];
        for (number, id) in ids.iter().enumerate() {
            if let Some(place) = numbers.get_mut(usize::from(*id)).filter(|n| **n == NONE) {
                *place = u16::try_from(number).unwrap_or(NONE);
            }
        }
        Self { ids, numbers }
    }

    fn number(&self, id: u16) -> Option<u16> {
        let number = self.numbers.get(usize::from(id)).copied();
        number.filter(|n| *n != NONE)
    }

    fn id(&self, number: u16) -> Option<u16> {
        self.ids.get(usize::from(number)).copied()
    }
}

/// Canonical numbers of one program. `Default` has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    sets: Table,
    pools: Table,
    prefixes: Table,
    policies: Table,
    checksum: u32,
}

impl Dictionary {
    /// Of the replicated service sets of a program.
    #[must_use]
    pub fn of(program: &Program) -> Self {
        let mut sum = Sum::default();
        let mut sets: Vec<&ServiceSet> = program.service_sets.iter().collect();
        sets.retain(|set| set.replication.threshold.is_some());
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        sum.names(sets.iter().map(|set| set.name.as_str()));

        let used = pools_of(program, &sets);
        let mut pools: Vec<_> = program.pools.iter().filter(|p| used.contains(&p.id)).collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        sum.names(pools.iter().map(|pool| pool.name.as_str()));

        let used: BTreeSet<u16> = sets
            .iter()
            .flat_map(|s| &s.ipv6.nat64_prefixes)
            .copied()
            .collect();
        let mut prefixes: Vec<_> = program
            .prefixes
            .iter()
            .filter(|p| used.contains(&p.id))
            .map(|p| (p.prefix.embed(0), p.prefix.len(), p.id))
            .collect();
        prefixes.sort_unstable();
        for (base, len, _) in &prefixes {
            sum.octets(&base.to_be_bytes());
            sum.octets(&[*len]);
        }
        sum.octets(b"policies");

        let mut policies = Vec::new();
        for set in &sets {
            let Some(firewall) = &set.firewall else { continue };
            for list in [&firewall.outbound, &firewall.inbound] {
                let mut list: Vec<&Policy> = list.policies.iter().collect();
                list.sort_by(|a, b| a.name.cmp(&b.name));
                sum.names(list.iter().map(|policy| policy.name.as_str()));
                policies.extend(list.iter().map(|policy| policy.id));
            }
        }
        policies.truncate(usize::from(NONE));
        Self {
            sets: Table::of(sets.iter().map(|set| set.id).collect()),
            pools: Table::of(pools.iter().map(|pool| pool.id).collect()),
            prefixes: Table::of(prefixes.iter().map(|(_, _, id)| *id).collect()),
            policies: Table::of(policies),
            checksum: sum.0.finalize(),
        }
    }

    /// A checksum of what is numbered, in order. Equal on both chassis, or they misunderstand each other.
    #[must_use]
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    pub(crate) fn set_number(&self, id: u16) -> Option<u16> {
        self.sets.number(id)
    }

    pub(crate) fn set_id(&self, number: u16) -> Option<u16> {
        self.sets.id(number)
    }

    pub(crate) fn pool_number(&self, id: u16) -> Option<u16> {
        self.pools.number(id)
    }

    pub(crate) fn pool_id(&self, number: u16) -> Option<u16> {
        self.pools.id(number)
    }

    pub(crate) fn prefix_number(&self, id: u16) -> Option<u16> {
        self.prefixes.number(id)
    }

    pub(crate) fn prefix_id(&self, number: u16) -> Option<u16> {
        self.prefixes.id(number)
    }

    pub(crate) fn policy_number(&self, id: u16) -> Option<u16> {
        self.policies.number(id)
    }

    pub(crate) fn policy_id(&self, number: u16) -> Option<u16> {
        self.policies.id(number)
    }
}

/// Pools whose addresses sessions of these service sets may have: their terms', and those behind their static mappings.
fn pools_of(program: &Program, sets: &[&ServiceSet]) -> BTreeSet<u16> {
    let terms = sets.iter().flat_map(|set| &set.terms);
    let mut pools: BTreeSet<u16> = terms.filter_map(|term| term.action.pool()).collect();
    let ids: BTreeSet<u16> = sets.iter().map(|set| set.id).collect();
    let statics = program.statics.iter().filter(|m| ids.contains(&m.service_set));
    let spaces = statics.filter_map(|m| program.public_space.find(m.public.first));
    pools.extend(spaces.map(|found| found.pool));
    pools
}

/// CRC-32 over values that cannot run into each other.
#[derive(Default)]
struct Sum(crc32fast::Hasher);

impl Sum {
    fn octets(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    fn names<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str>) {
        self.octets(&(names.len() as u32).to_be_bytes());
        for name in names {
            self.octets(&(name.len() as u32).to_be_bytes());
            self.octets(name.as_bytes());
        }
    }
}
