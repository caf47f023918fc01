//! A list of policies as rules for DPDK: the cross product of what each match lists, bounded.
//!
//! ```text
//!   policy -> match -> sources x destinations x applications ──┬─> IPv4 rules: both addresses IPv4
//!                                                              └─> IPv6 rules: every other pair of prefixes
//! ```
//!
//! A key with one address of each family (NAT64: the subscriber's IPv6 address and the real IPv4 destination) is looked up among
//! the IPv6 rules with the IPv4 address under `::ffff:0:0/96`, so those hold every pair that such a key can match.

use std::collections::HashSet;
use std::num::NonZeroU32;

use rte_bindings::acl::{Family, Ipv4Prefix, Ipv6Prefix, PRIORITY_MAX, V4, V6};
use rte_bindings::{AclError, AclRule, AclRules};
use tandem_engine::program::policy::{Application, Policy, PolicyMatch};

use super::ranges::{Prefix, merged, prefixes, prefixes4};

/// Most rules that one list of policies may become, both families together.
pub const RULES_MAX: usize = 200_000;

/// The rules of a list of policies.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) v4: AclRules<V4>,
    pub(super) v6: AclRules<V6>,
    ports: HashSet<[(u16, u16); 2]>,
}

/// The parts of one match that are multiplied.
struct Parts {
    applications: Vec<Application>,
    v4: [Vec<Prefix>; 2],
    all: [Vec<Prefix>; 2],
}

impl Parts {
    fn of(part: &PolicyMatch) -> Self {
        let mut applications = part.applications.clone();
        if applications.is_empty() {
            applications.push(Application::ANY);
        }
        let in_order = |ports: (u16, u16)| ports.0 <= ports.1;
        applications.retain(|a| in_order(a.source_ports) && in_order(a.destination_ports));
        applications.sort_unstable();
        applications.dedup();
        let ranges = [merged(&part.sources), merged(&part.destinations)];
        Self {
            applications,
            v4: ranges.each_ref().map(|list| prefixes4(list)),
            all: ranges.each_ref().map(|list| prefixes(list)),
        }
    }

    /// Rules that come of it.
    fn count(&self) -> usize {
        let product = |of: &dyn Fn(&Vec<Prefix>) -> usize, lists: &[Vec<Prefix>; 2]| {
            of(&lists[0]).saturating_mul(of(&lists[1]))
        };
        let both_v4 = product(&|list| list.iter().filter(|p| p.is_v4()).count(), &self.all);
        let pairs = product(&Vec::len, &self.v4).saturating_add(product(&Vec::len, &self.all) - both_v4);
        pairs.saturating_mul(self.applications.len())
    }
}

impl Rules {
    /// The rules of `policies`: the first one has the highest priority, and what comes out is the position plus one.
    ///
    /// # Errors
    /// Which policy makes them too many, in words.
    pub(super) fn of(policies: &[Policy]) -> Result<Self, String> {
        let mut rules = Self::default();
        let everything = [PolicyMatch::default()];
        let mut total = 0usize;
        for (position, policy) in policies.iter().enumerate() {
            let matches = if policy.matches.is_empty() {
                &everything[..]
            } else {
                &policy.matches
            };
            let before = total;
            for part in matches {
                let parts = Parts::of(part);
                total = total.saturating_add(parts.count());
                if total > RULES_MAX {
                    return Err(too_many(policy, total - before, before));
                }
                rules
                    .add(position, &parts)
                    .map_err(|error| format!("policy {:?}: {error}", policy.name))?;
            }
        }
        Ok(rules)
    }

    /// Different pairs of port ranges.
    pub(super) fn services(&self) -> usize {
        self.ports.len()
    }

    fn add(&mut self, position: usize, parts: &Parts) -> Result<(), AclError> {
        for application in &parts.applications {
            self.ports
                .insert([application.source_ports, application.destination_ports]);
            for source in &parts.v4[0] {
                for destination in &parts.v4[1] {
                    push(&mut self.v4, position, application, v4(source), v4(destination))?;
                }
            }
            for source in &parts.all[0] {
                for destination in &parts.all[1] {
                    if !(source.is_v4() && destination.is_v4()) {
                        push(&mut self.v6, position, application, v6(source), v6(destination))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn too_many(policy: &Policy, own: usize, before: usize) -> String {
    format!(
        "policy {:?} needs {own} classifier rules or more (sources x destinations x applications, ranges split into prefixes), \
         {before} are taken by policies before it, and a list has {RULES_MAX} at most: use prefixes instead of ranges, fewer \
         addresses or fewer applications",
        policy.name
    )
}

fn push<F: Family>(
    rules: &mut AclRules<F>,
    position: usize,
    application: &Application,
    source: F::Prefix,
    destination: F::Prefix,
) -> Result<(), AclError> {
    // Positions are below 65535, so both fit well.
    let position = position as u32;
    rules.push(&AclRule {
        source,
        destination,
        source_ports: application.source_ports,
        destination_ports: application.destination_ports,
        protocol: application.protocol,
        priority: PRIORITY_MAX - position,
        userdata: NonZeroU32::MIN.saturating_add(position),
    })
}

/// Of a prefix that lies in `::ffff:0:0/96`.
fn v4(prefix: &Prefix) -> Ipv4Prefix {
    Ipv4Prefix {
        address: prefix.first as u32,
        length: prefix.length.saturating_sub(96),
    }
}

fn v6(prefix: &Prefix) -> Ipv6Prefix {
    Ipv6Prefix {
        address: prefix.first,
        length: prefix.length,
    }
}
