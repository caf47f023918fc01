//! Firewall policies, in the order in which they are looked at, with what they decided.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tandem_engine::program::{PolicyAction, PolicyId, PolicyList, Program};
use utoipa::ToSchema;

/// One policy, or what a direction does when none matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// Service set.
    pub service_set: String,
    /// `outbound` (sessions from inside) or `inbound` (from outside).
    pub direction: String,
    /// Its place in that direction, from 1; the first that matches decides, and the default stands last.
    pub position: u32,
    /// `list/policy` as the configuration names them; none for the default.
    pub policy: Option<String>,
    /// `permit`, `deny` or `reject`.
    pub action: String,
    /// Each session that it lets begin or refuses is logged.
    pub log: bool,
    /// First packets it decided about, since start; none for the default, which is counted for all service sets together
    /// where it refuses (drop reason `firewall-default`).
    pub hits: Option<u64>,
}

/// The action in the words of the configuration.
#[must_use]
pub const fn action_name(action: PolicyAction) -> &'static str {
    match action {
        PolicyAction::Permit => "permit",
        PolicyAction::Deny => "deny",
        PolicyAction::Reject => "reject",
    }
}

/// The names of the directions, in the order of the rows.
pub const DIRECTIONS: [&str; 2] = ["outbound", "inbound"];

impl Policy {
    /// All policies of a program: by service set, outbound first, in order, each direction ended by its default.
    pub fn all<'p>(
        program: &'p Program,
        hits: &'p BTreeMap<PolicyId, u64>,
    ) -> impl Iterator<Item = Self> + 'p {
        program.service_sets.iter().flat_map(move |set| {
            let lists = set.firewall.iter().flat_map(|f| [&f.outbound, &f.inbound]);
            DIRECTIONS
                .iter()
                .zip(lists)
                .flat_map(move |(direction, list)| Self::of_list(&set.name, direction, list, hits))
        })
    }

    fn of_list<'p>(
        service_set: &'p str,
        direction: &'p str,
        list: &'p PolicyList,
        hits: &'p BTreeMap<PolicyId, u64>,
    ) -> impl Iterator<Item = Self> + 'p {
        let row = move |position: u32, action, log| Self {
            service_set: service_set.to_owned(),
            direction: direction.to_owned(),
            position,
            policy: None,
            action: action_name(action).to_owned(),
            log,
            hits: None,
        };
        let policies = (1..).zip(&list.policies).map(move |(position, policy)| Self {
            policy: Some(policy.name.clone()),
            hits: Some(hits.get(&policy.id).copied().unwrap_or(0)),
            ..row(position, policy.action, policy.log)
        });
        let last = list.policies.len() as u32 + 1;
        policies.chain(std::iter::once_with(move || row(last, list.default, false)))
    }
}
