//! Firewall policies, in the order in which they are looked at, with what they decided.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tandem_engine::program::{PolicyAction, PolicyList, Program, ServiceSet};
use tandem_engine::session::Direction;
use tandem_engine::view::Decider;
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
    /// First packets it decided about, since start, over all workers. Of the default those that no policy matched and that
    /// no mapping, static mapping or destination NAT had let in.
    #[schema(example = 1234)]
    pub hits: u64,
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

/// First packets by what decided about them; what decided about none is left out.
pub type Hits = HashMap<Decider, u64>;

/// The names of the directions, in the order of the rows.
pub const DIRECTIONS: [&str; 2] = ["outbound", "inbound"];

impl Policy {
    /// All policies of a program: by service set, outbound first, in order, each direction ended by its default.
    pub fn all<'p>(program: &'p Program, hits: &'p Hits) -> impl Iterator<Item = Self> + 'p {
        program.service_sets.iter().flat_map(move |set| {
            let directions = DIRECTIONS.into_iter().zip([Direction::Out, Direction::In]);
            set.firewall.iter().flat_map(move |firewall| {
                directions.clone().flat_map(move |(name, direction)| {
                    let default = Decider::Default(set.id, direction);
                    Self::of_list(set, name, default, firewall.list(direction), hits)
                })
            })
        })
    }

    fn of_list<'p>(
        set: &'p ServiceSet,
        direction: &'p str,
        default: Decider,
        list: &'p PolicyList,
        hits: &'p Hits,
    ) -> impl Iterator<Item = Self> + 'p {
        let row = move |position: u32, action, log, decider| Self {
            service_set: set.name.clone(),
            direction: direction.to_owned(),
            position,
            policy: None,
            action: action_name(action).to_owned(),
            log,
            hits: hits.get(&decider).copied().unwrap_or(0),
        };
        let policies = (1..).zip(&list.policies).map(move |(position, policy)| Self {
            policy: Some(policy.name.clone()),
            ..row(position, policy.action, policy.log, Decider::Policy(policy.id))
        });
        let last = list.policies.len() as u32 + 1;
        policies.chain(std::iter::once_with(move || {
            row(last, list.default, false, default)
        }))
    }
}
