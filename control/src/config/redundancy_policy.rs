//! `[redundancy-policies.NAME]`: what follows from events: a change of role or a warning, and signal routes.
//!
//! Redundancy spec, section 1.

use std::net::IpAddr;

use ipnet::IpNet;

use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, quoted};
use super::names;
use super::redundancy_exclusive::resolve;
use super::section::{Item, Section};

/// The kernel's main routing table.
const MAIN_TABLE: u32 = 254;
/// Most signal routes of one policy.
pub const POLICY_ROUTES_MAX: usize = 256;

/// Events, and what follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedundancyPolicy {
    /// Its name.
    pub name: String,
    /// Names of its events: the action follows when one of them becomes active.
    pub events: Vec<String>,
    /// The action, if it has one.
    pub action: Option<PolicyAction>,
    /// Routes that are in the kernel while something is so.
    pub signal_routes: Vec<SignalRoute>,
}

/// What a policy does to the role of its redundancy set when an event becomes active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// The peer is asked to release; not in `wait`.
    AcquirePrimaryRole,
    /// The same, also in `wait`.
    AcquirePrimaryRoleForce,
    /// The role is given up if the peer is `standby`.
    ReleasePrimaryRole,
    /// The same if the peer is `standby`, `standby-warned` or `wait`.
    ReleasePrimaryRoleForce,
    /// The same if no event is active on the peer.
    ReleasePrimaryRoleIfStandbyClear,
    /// The peer is told, and no role changes.
    BroadcastWarning,
}

impl PolicyAction {
    /// Whether it gives the role up, and does so later when it could not at once.
    #[must_use]
    pub const fn is_release(self) -> bool {
        matches!(self, Self::ReleasePrimaryRole | Self::ReleasePrimaryRoleForce)
    }
}

/// How an action is written.
pub(super) const ACTIONS: [(&str, PolicyAction); 6] = [
    ("acquire-primary-role", PolicyAction::AcquirePrimaryRole),
    (
        "acquire-primary-role-force",
        PolicyAction::AcquirePrimaryRoleForce,
    ),
    ("release-primary-role", PolicyAction::ReleasePrimaryRole),
    (
        "release-primary-role-force",
        PolicyAction::ReleasePrimaryRoleForce,
    ),
    (
        "release-primary-role-if-standby-clear",
        PolicyAction::ReleasePrimaryRoleIfStandbyClear,
    ),
    ("broadcast-warning", PolicyAction::BroadcastWarning),
];

impl PolicyAction {
    /// As the file writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = ACTIONS.iter().find(|(_, action)| *action == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A static route that is added to a kernel routing table and deleted from it, so that the routing daemon advertises differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalRoute {
    /// Its destination, without host bits.
    pub prefix: IpNet,
    /// Where it goes.
    pub table: RouteTable,
    /// What it says.
    pub target: RouteTarget,
    /// Its metric, 1 up. `None`: while this chassis is primary one that falls with the epoch, else the kernel's usual one.
    pub metric: Option<u32>,
    /// While what it is there.
    pub when: RouteWhen,
}

/// A kernel routing table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteTable {
    /// By its number; 254 is the main table.
    Number(u32),
    /// That of a VRF device.
    Vrf(String),
}

impl std::fmt::Display for RouteTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "table {number}"),
            Self::Vrf(name) => write!(f, "VRF {name}"),
        }
    }
}

/// What a signal route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// By this next hop, of the prefix' family.
    NextHop(IpAddr),
    /// Packets are discarded.
    Discard,
    /// Packets are for this chassis itself.
    Receive,
}

/// While what a signal route is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteWhen {
    /// This chassis is primary.
    Primary,
    /// This chassis is not primary.
    Standby,
    /// An event of the policy is active.
    Event,
    /// No event of the policy is active.
    NoEvent,
}

/// A policy as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    pub path: String,
    pub events: Vec<Item<String>>,
    action: Option<PolicyAction>,
    has_action: bool,
    has_routes: bool,
    pub routes: Vec<RawRoute>,
}

/// A signal route that is right in itself, and where it stands.
pub(super) struct RawRoute {
    pub path: String,
    pub route: Option<SignalRoute>,
}

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let raw = Raw {
        path: section.path().to_owned(),
        events: section.list("events", "names of redundancy events", names::reference),
        action: section.choice("action", &ACTIONS, ""),
        has_action: section.has("action"),
        has_routes: section.has("signal-routes") && !section.is_empty_list("signal-routes"),
        routes: section
            .array_of_tables("signal-routes")
            .into_iter()
            .map(route)
            .collect(),
        name,
    };
    section.finish();
    raw
}

fn route(mut section: Section<'_>) -> RawRoute {
    let d = section.diagnostics();
    let whens = [
        ("primary", RouteWhen::Primary),
        ("standby", RouteWhen::Standby),
        ("event", RouteWhen::Event),
        ("no-event", RouteWhen::NoEvent),
    ];
    let prefix = section.parsed("prefix", "prefix", "", prefix);
    let number = section.optional_integer("table", 1..=u32::MAX);
    let vrf = section.parsed("vrf", "kernel interface name", "", names::ifname);
    let hop = section.parsed("next-hop", "IP address", "", super::redundancy::address);
    let discard = section.boolean("discard", false);
    let receive = section.boolean("receive", false);
    let metric = section.optional_integer("metric", 1..=u32::MAX);
    let when = section
        .choice("when", &whens, "primary")
        .unwrap_or(RouteWhen::Primary);
    let conflict = |key: &str, other: &str, remedy: &str| {
        let other = section.path_of(other);
        let problem = format!("stands beside {other} (line {})", d.line(&other));
        d.fault(FaultKind::Conflict, &section.path_of(key), problem, remedy);
    };
    if !section.has("prefix") {
        let problem = "the signal route has no prefix";
        d.fault(
            FaultKind::Missing,
            section.path(),
            problem,
            "add prefix = \"...\"",
        );
    }
    if section.has("table") && section.has("vrf") {
        conflict(
            "vrf",
            "table",
            "keep one: a route is in one table, by its number or as a VRF's",
        );
    }
    let said: Vec<&str> = [
        ("next-hop", section.has("next-hop")),
        ("discard", discard),
        ("receive", receive),
    ]
    .into_iter()
    .filter_map(|(key, said)| said.then_some(key))
    .collect();
    match said.as_slice() {
        [] => {
            let remedy = "add next-hop = \"...\", discard = true or receive = true";
            d.fault(
                FaultKind::Missing,
                section.path(),
                "the signal route goes nowhere",
                remedy,
            );
        }
        [first, others @ ..] => {
            for other in others {
                conflict(
                    other,
                    first,
                    "keep one: a route has a next hop, discards or receives",
                );
            }
        }
    }
    if let (Some(prefix), Some(hop)) = (prefix, hop)
        && prefix.addr().is_ipv4() != hop.is_ipv4()
    {
        let place = section.path_of("prefix");
        let problem = format!(
            "{hop} and {prefix}, {place} (line {}), are of two families",
            d.line(&place)
        );
        let remedy = "use a next hop of the prefix' family";
        d.fault(FaultKind::Conflict, &section.path_of("next-hop"), problem, remedy);
    }
    let target = match (hop, discard, receive) {
        (Some(hop), ..) => Some(RouteTarget::NextHop(hop)),
        (None, true, _) => Some(RouteTarget::Discard),
        (None, false, true) => Some(RouteTarget::Receive),
        (None, false, false) => None,
    };
    let table = vrf.map_or(RouteTable::Number(number.unwrap_or(MAIN_TABLE)), RouteTable::Vrf);
    let route = || {
        Some(SignalRoute {
            prefix: prefix?,
            table,
            target: target?,
            metric,
            when,
        })
    };
    let raw = RawRoute {
        path: section.path().to_owned(),
        route: route(),
    };
    section.finish();
    raw
}

/// A prefix of either family without host bits.
fn prefix(text: &str) -> Result<IpNet, Bad> {
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(Bad::new(
            format!("{} is not a prefix", quoted(text)),
            "use one like \"203.0.113.1/32\" or \"2001:db8::/64\"",
        ));
    };
    if net.trunc() == net {
        return Ok(net);
    }
    Err(Bad::new(
        format!("{} has host bits set", quoted(text)),
        format!("use \"{}\"", net.trunc()),
    ))
}

/// The policy, its events resolved.
pub(super) fn validate(raw: &Raw, events: &[&str], d: &Diagnostics) -> RedundancyPolicy {
    let none = |key: &str| format!("{}.{key}", raw.path);
    if !raw.has_action && !raw.has_routes {
        let problem = "the policy has neither an action nor signal routes, and so does nothing";
        let remedy = "add action = \"...\", or [[signal-routes]]";
        d.fault(FaultKind::Missing, &raw.path, problem, remedy);
    }
    if raw.has_action && raw.events.is_empty() {
        let problem = "the policy has no event, and so its action would never be done";
        d.fault(
            FaultKind::Missing,
            &none("action"),
            problem,
            "add events = [\"...\"]",
        );
    }
    if raw.routes.len() > POLICY_ROUTES_MAX {
        let problem = format!("there are {} signal routes", raw.routes.len());
        let remedy = format!("use at most {POLICY_ROUTES_MAX} in one policy");
        d.fault(FaultKind::BadValue, &none("signal-routes"), problem, remedy);
    }
    for route in &raw.routes {
        let by_event = match route.route.as_ref().map(|route| route.when) {
            Some(RouteWhen::Event) => Some("event"),
            Some(RouteWhen::NoEvent) => Some("no-event"),
            Some(RouteWhen::Primary | RouteWhen::Standby) | None => None,
        };
        if let Some(when) = by_event
            && raw.events.is_empty()
        {
            let path = format!("{}.when", route.path);
            let problem = format!(
                "is \"{when}\", and {} (line {}) has no event",
                raw.path,
                d.line(&raw.path)
            );
            let remedy = "add events = [\"...\"] to the policy, or use \"primary\" or \"standby\"";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
        }
    }
    RedundancyPolicy {
        name: raw.name.clone(),
        events: resolve(&raw.events, "redundancy-events", events, d),
        action: raw.action,
        signal_routes: raw.routes.iter().filter_map(|raw| raw.route.clone()).collect(),
    }
}
