//! `[service-sets.NAME]`: NAT rules bound to inside and outside interfaces, with timeouts and limits.

use std::collections::HashMap;
use std::sync::Arc;

use tandem_engine::program::{
    RefreshDirection, RefusalAnswer, Stateless, SubscriberLimits, TableSizes, TcpOptions, Timeouts,
    UnsolicitedAnswer,
};
use tandem_engine::ticks::Ticks;

use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::firewall::{self, Firewall};
use super::firewall_policy::FirewallPolicies;
use super::ipv6::{self, Ipv6};
use super::names;
use super::nat_rule::NatRule;
use super::redundancy;
use super::redundancy_set::{self, Membership};
use super::section::{Item, Section};
use super::service_set_family;
use super::service_set_lists::{lists_are_filled, resolve, roles, sides_are_apart};
use super::stateless;
use super::static_mapping::{self, StaticMapping};
use super::translation::Action;

/// Longest timeout, in seconds: a week.
const TIMEOUT_S_MAX: u32 = 604_800;

/// A service set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSet {
    /// Its name.
    pub name: String,
    /// Names of its inside interfaces; an interface is inside of at most one set.
    pub inside_interfaces: Vec<String>,
    /// Names of its outside interfaces.
    pub outside_interfaces: Vec<String>,
    /// Its rules in order.
    pub nat_rules: Vec<Arc<NatRule>>,
    /// Idle timeouts.
    pub timeouts: Timeouts,
    /// Limits of one subscriber.
    pub limits: SubscriberLimits,
    /// TCP behaviour.
    pub tcp: TcpOptions,
    /// RFC 4787 REQ-6.
    pub refresh: RefreshDirection,
    /// RFC 6888 REQ-11, RFC 5508 REQ-8.
    pub on_refusal: RefusalAnswer,
    /// RFC 5382 REQ-4.
    pub on_unsolicited: UnsolicitedAnswer,
    /// NAT64 prefixes and how packets change their family.
    pub ipv6: Ipv6,
    /// Its policies, if it has a firewall.
    pub firewall: Option<Firewall>,
    /// Its static mappings, but for those of terms.
    pub static_mappings: Vec<StaticMapping>,
    /// Translation without sessions.
    pub stateless: Vec<Stateless>,
    /// Number of its redundancy set, if it is of one.
    pub redundancy_set: Option<u8>,
    /// Age in seconds at which its sessions are replicated, its own or the global one; `None`: they are not.
    pub replication_threshold_s: Option<u32>,
}

impl ServiceSet {
    /// The static mappings of its terms, in their order, and its own.
    pub fn all_static_mappings(&self) -> impl Iterator<Item = &StaticMapping> {
        let terms = self.nat_rules.iter().flat_map(|rule| &rule.terms);
        terms
            .flat_map(|term| match &term.action {
                Action::Static(mappings) => mappings.as_slice(),
                _ => &[],
            })
            .chain(&self.static_mappings)
    }
}

/// A service set as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub path: String,
    pub inside: Vec<Item<String>>,
    pub outside: Vec<Item<String>>,
    pub rules: Vec<Item<String>>,
    pub ipv6: ipv6::Raw,
    pub firewall: Option<firewall::Raw>,
    pub static_mappings: Vec<static_mapping::Raw>,
    pub stateless: stateless::Raw,
    pub membership: Membership,
    /// Keys set to a list with elements, right or wrong.
    pub filled: Vec<&'static str>,
    rest: ServiceSet,
}

impl Raw {
    /// Whether it has something to do besides rules.
    pub fn works_without_rules(&self) -> bool {
        self.firewall.is_some() || !self.static_mappings.is_empty() || self.stateless.is_there()
    }
}

const LISTS: [&str; 3] = ["inside-interfaces", "outside-interfaces", "nat-rules"];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let inside = section.list("inside-interfaces", "interface names", names::reference);
    let outside = section.list("outside-interfaces", "interface names", names::reference);
    let rules = section.list("nat-rules", "rule names", names::reference);
    let short = section.boolean("allow-short-timeouts", false);
    let refresh = [
        ("outbound", RefreshDirection::Outbound),
        ("both", RefreshDirection::Both),
    ];
    let refusal = [
        ("silent", RefusalAnswer::Silent),
        ("host-unreachable", RefusalAnswer::HostUnreachable),
        ("admin-prohibited", RefusalAnswer::AdminProhibited),
    ];
    let unsolicited = [
        ("silent", UnsolicitedAnswer::Silent),
        (
            "hold-then-port-unreachable",
            UnsolicitedAnswer::HoldThenPortUnreachable,
        ),
    ];
    let ipv6 = ipv6::decode(section.table("ipv6"));
    let firewall = section.optional_table("firewall").map(firewall::decode);
    let static_mappings = section
        .array_of_tables("static-mappings")
        .into_iter()
        .map(static_mapping::decode)
        .collect();
    let stateless = stateless::decode(&mut section);
    let membership = redundancy_set::decode_membership(&mut section);
    let rest = ServiceSet {
        name,
        ipv6: ipv6.options.clone(),
        firewall: None,
        static_mappings: Vec::new(),
        stateless: Vec::new(),
        redundancy_set: membership.set,
        replication_threshold_s: None,
        inside_interfaces: Vec::new(),
        outside_interfaces: Vec::new(),
        nat_rules: Vec::new(),
        timeouts: timeouts(section.table("timeouts"), short),
        limits: limits(section.table("subscriber-limits")),
        tcp: tcp(section.table("tcp")),
        refresh: section
            .choice("refresh-direction", &refresh, "outbound")
            .unwrap_or(RefreshDirection::Outbound),
        on_refusal: section
            .choice("on-refusal", &refusal, "host-unreachable")
            .unwrap_or(RefusalAnswer::HostUnreachable),
        on_unsolicited: section
            .choice("on-unsolicited", &unsolicited, "silent")
            .unwrap_or(UnsolicitedAnswer::Silent),
    };
    let filled = LISTS
        .into_iter()
        .filter(|key| section.has(key) && !section.is_empty_list(key))
        .collect();
    let raw = Raw {
        path: section.path().to_owned(),
        inside,
        outside,
        rules,
        ipv6,
        firewall,
        static_mappings,
        stateless,
        membership,
        filled,
        rest,
    };
    section.finish();
    raw
}

fn timeouts(mut section: Section<'_>, short: bool) -> Timeouts {
    let mut timeout = |key, default: u32, least: u32, rfc: &str| {
        let seconds = section.integer(key, 1..=TIMEOUT_S_MAX, default);
        if seconds < least && !short {
            let remedy =
                format!("use at least {least}, or set allow-short-timeouts = true in the service set");
            let problem = format!("{seconds} is too short: {rfc}");
            section
                .diagnostics()
                .fault(FaultKind::BadValue, &section.path_of(key), problem, remedy);
        }
        Ticks::from_seconds(seconds)
    };
    let rfc_7857 =
        "RFC 7857 section 2.2 has 4 minutes, and RFC 5382 REQ-5 a transitory timeout of at least 4 minutes";
    let timeouts = Timeouts {
        tcp_established: timeout(
            "tcp-established-s",
            7440,
            7440,
            "RFC 5382 REQ-5 wants at least 2 hours 4 minutes",
        ),
        tcp_opening: timeout("tcp-opening-s", 240, 240, rfc_7857),
        tcp_closing: timeout("tcp-closing-s", 240, 240, rfc_7857),
        udp: timeout("udp-s", 300, 120, "RFC 4787 REQ-5 wants at least 2 minutes"),
        udp_well_known: timeout("udp-well-known-s", 300, 1, ""),
        icmp: timeout("icmp-s", 60, 60, "RFC 5508 REQ-2 wants at least 60 seconds"),
        other: timeout("other-s", 600, 1, ""),
    };
    section.finish();
    timeouts
}

fn limits(mut section: Section<'_>) -> SubscriberLimits {
    const MOST: u32 = 64 << 20;
    let limits = SubscriberLimits {
        max_sessions: section.integer("max-sessions", 0..=MOST, 0),
        max_session_rate: section.integer("max-session-rate", 0..=10_000_000, 0),
        max_ports: section.integer("max-ports", 0..=MOST, 0),
        max_tcp_ports: section.integer("max-tcp-ports", 0..=MOST, 0),
        max_udp_ports: section.integer("max-udp-ports", 0..=MOST, 0),
        max_icmp_ids: section.integer("max-icmp-ids", 0..=MOST, 0),
    };
    let parts = [
        ("max-tcp-ports", limits.max_tcp_ports),
        ("max-udp-ports", limits.max_udp_ports),
        ("max-icmp-ids", limits.max_icmp_ids),
    ];
    for (key, part) in parts
        .into_iter()
        .filter(|(_, part)| limits.max_ports > 0 && *part > limits.max_ports)
    {
        let d = section.diagnostics();
        let all = section.path_of("max-ports");
        let problem = format!(
            "{part} is never reached: {all} (line {}) stops at {}",
            d.line(&all),
            limits.max_ports
        );
        d.warn(
            &section.path_of(key),
            problem,
            format!("use at most {}", limits.max_ports),
        );
    }
    section.finish();
    limits
}

fn tcp(mut section: Section<'_>) -> TcpOptions {
    let accept_non_syn = section.boolean("accept-non-syn", false);
    let track_window = section.boolean("window-tracking", false);
    let mss_clamp = section.integer("mss-clamp", 0..=9000, 0) as u16;
    if (1..536).contains(&mss_clamp) {
        let problem = format!("{mss_clamp} is less than every host takes (RFC 9293 section 3.7.1)");
        section.diagnostics().fault(
            FaultKind::BadValue,
            &section.path_of("mss-clamp"),
            problem,
            "use 536..=9000, or 0 for no clamp",
        );
    }
    section.finish();
    TcpOptions {
        accept_non_syn,
        track_window,
        mss_clamp,
    }
}

/// What service sets refer to.
pub(super) struct Parts<'a> {
    pub interfaces: &'a [&'a str],
    pub rules: &'a [Arc<NatRule>],
    pub policies: &'a [Arc<FirewallPolicies>],
    pub sizes: &'a TableSizes,
    pub redundancy: &'a redundancy::Raw,
}

/// Checks service sets against interfaces, rules, policies and each other.
pub(super) fn validate(raws: &[Raw], parts: &Parts<'_>, d: &Diagnostics) -> Vec<ServiceSet> {
    let mut inside_of: HashMap<&str, &Item<String>> = HashMap::new();
    let sets: Vec<ServiceSet> = raws
        .iter()
        .map(|raw| {
            lists_are_filled(raw, d);
            roles(raw, parts.interfaces, &mut inside_of, d);
            one(raw, parts, d)
        })
        .collect();
    sides_are_apart(raws, &inside_of, d);
    firewall::ids_suffice(&sets, d);
    ipv6::prefixes_are_apart(raws.iter().map(|raw| &raw.ipv6), d);
    sets
}

fn one(raw: &Raw, parts: &Parts<'_>, d: &Diagnostics) -> ServiceSet {
    if raw.rest.limits.max_sessions > parts.sizes.max_sessions {
        let problem = format!(
            "is never reached: table-sizes.max-sessions is {}",
            parts.sizes.max_sessions
        );
        let remedy = "use less, or raise table-sizes.max-sessions";
        d.warn(
            &format!("{}.subscriber-limits.max-sessions", raw.path),
            problem,
            remedy,
        );
    }
    let names = |items: &[Item<String>]| items.iter().map(|item| item.value.clone()).collect();
    let set = ServiceSet {
        inside_interfaces: names(&raw.inside),
        outside_interfaces: names(&raw.outside),
        nat_rules: resolve(raw, parts.rules, d),
        firewall: raw
            .firewall
            .as_ref()
            .map(|firewall| firewall::validate(firewall, parts.policies, d)),
        static_mappings: raw
            .static_mappings
            .iter()
            .filter_map(|raw| raw.mapping.clone())
            .collect(),
        stateless: raw.stateless.stateless.clone(),
        replication_threshold_s: raw.membership.threshold_s(parts.redundancy),
        ..raw.rest.clone()
    };
    service_set_family::check(raw, &set, d);
    redundancy_set::check_membership(&raw.path, &raw.membership, parts.redundancy, d);
    set
}
