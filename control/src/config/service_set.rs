//! `[service-sets.NAME]`: NAT rules bound to inside and outside interfaces, with timeouts and limits.

use std::collections::HashMap;
use std::sync::Arc;

use tandem_engine::program::{
    RefreshDirection, RefusalAnswer, SubscriberLimits, TableSizes, TcpOptions, Timeouts, UnsolicitedAnswer,
};
use tandem_engine::ticks::Ticks;

use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, suggestion};
use super::names;
use super::nat_rule::NatRule;
use super::section::{Item, Section};

/// Longest timeout, in seconds: a week.
const TIMEOUT_S_MAX: u32 = 604_800;
/// Terms of all rules of a service set together.
const TERMS_MAX: usize = 4096;

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
}

/// A service set as the file has it, each key checked by itself.
pub(super) struct Raw {
    path: String,
    inside: Vec<Item<String>>,
    outside: Vec<Item<String>>,
    rules: Vec<Item<String>>,
    /// Keys set to a list with elements, right or wrong.
    filled: Vec<&'static str>,
    rest: ServiceSet,
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
    let rest = ServiceSet {
        name,
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
        track_window: false,
        accept_non_syn,
        mss_clamp,
    }
}

/// Checks service sets against interfaces, rules and each other.
pub(super) fn validate(
    raws: &[Raw],
    interfaces: &[&str],
    rules: &[Arc<NatRule>],
    sizes: &TableSizes,
    d: &Diagnostics,
) -> Vec<ServiceSet> {
    let mut inside_of: HashMap<&str, &Item<String>> = HashMap::new();
    raws.iter()
        .map(|raw| {
            lists_are_filled(raw, d);
            roles(raw, interfaces, &mut inside_of, d);
            if raw.rest.limits.max_sessions > sizes.max_sessions {
                let problem = format!(
                    "is never reached: table-sizes.max-sessions is {}",
                    sizes.max_sessions
                );
                let remedy = "use less, or raise table-sizes.max-sessions";
                d.warn(
                    &format!("{}.subscriber-limits.max-sessions", raw.path),
                    problem,
                    remedy,
                );
            }
            let names = |items: &[Item<String>]| items.iter().map(|item| item.value.clone()).collect();
            ServiceSet {
                inside_interfaces: names(&raw.inside),
                outside_interfaces: names(&raw.outside),
                nat_rules: resolve(raw, rules, d),
                ..raw.rest.clone()
            }
        })
        .collect()
}

fn lists_are_filled(raw: &Raw, d: &Diagnostics) {
    let texts = [
        (
            "inside-interfaces",
            "the service set has no inside interface",
            "add inside-interfaces = [\"NAME\"]",
        ),
        (
            "outside-interfaces",
            "the service set has no outside interface",
            "add outside-interfaces = [\"NAME\"]",
        ),
        (
            "nat-rules",
            "the service set has no rule",
            "add nat-rules = [\"NAME\"], or remove the set: packets are then routed",
        ),
    ];
    for (key, problem, remedy) in texts.into_iter().filter(|(key, ..)| !raw.filled.contains(key)) {
        d.fault(
            FaultKind::Missing,
            &format!("{}.{key}", raw.path),
            problem,
            remedy,
        );
    }
}

fn twice(items: &[Item<String>], d: &Diagnostics) {
    for (at, item) in items.iter().enumerate() {
        if let Some(first) = items[..at].iter().find(|other| other.value == item.value) {
            let problem = format!(
                "\"{}\" stands here twice: also as {} (line {})",
                item.value,
                first.path,
                d.line(&first.path)
            );
            d.fault(FaultKind::Conflict, &item.path, problem, "remove one of the two");
        }
    }
}

fn roles<'r>(
    raw: &'r Raw,
    names: &[&str],
    inside_of: &mut HashMap<&'r str, &'r Item<String>>,
    d: &Diagnostics,
) {
    twice(&raw.inside, d);
    twice(&raw.outside, d);
    for item in raw
        .inside
        .iter()
        .chain(&raw.outside)
        .filter(|item| !names.contains(&item.value.as_str()))
    {
        let problem = format!("there is no interface \"{}\"", item.value);
        d.fault(
            FaultKind::UnknownName,
            &item.path,
            problem,
            suggestion(&item.value, names.iter().copied()),
        );
    }
    for item in &raw.outside {
        if let Some(inside) = raw.inside.iter().find(|inside| inside.value == item.value) {
            let problem = format!(
                "\"{}\" is inside of the same set: {} (line {})",
                item.value,
                inside.path,
                d.line(&inside.path)
            );
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "use different interfaces (VLANs will do) for inside and outside",
            );
        }
    }
    for item in &raw.inside {
        let first = *inside_of.entry(&item.value).or_insert(item);
        if !first.path.starts_with(&format!("{}.inside", raw.path)) {
            let problem = format!(
                "\"{}\" is inside of another set: {} (line {})",
                item.value,
                first.path,
                d.line(&first.path)
            );
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "an interface is inside of one service set: remove one of the two",
            );
        }
    }
}

fn resolve(raw: &Raw, rules: &[Arc<NatRule>], d: &Diagnostics) -> Vec<Arc<NatRule>> {
    twice(&raw.rules, d);
    let mut found = Vec::with_capacity(raw.rules.len());
    for item in &raw.rules {
        match rules.iter().find(|rule| rule.name == item.value) {
            Some(rule) => found.push(Arc::clone(rule)),
            None => {
                let names = rules.iter().map(|rule| rule.name.as_str());
                let problem = format!("there is no NAT rule \"{}\"", item.value);
                d.fault(
                    FaultKind::UnknownName,
                    &item.path,
                    problem,
                    suggestion(&item.value, names),
                );
            }
        }
    }
    let terms: usize = found.iter().map(|rule| rule.terms.len()).sum();
    if terms > TERMS_MAX {
        let problem = format!("the rules have {terms} terms together");
        d.fault(
            FaultKind::BadValue,
            &format!("{}.nat-rules", raw.path),
            problem,
            format!("use at most {TERMS_MAX}"),
        );
    }
    found
}
