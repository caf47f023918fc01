//! `[pools.NAME.deterministic]`: ports by a formula, so that who had which port needs no log. RFC 7422.

use tandem_engine::ports::deterministic::{Deterministic, DeterministicError};
use tandem_engine::program::{AddressRange, PortRange};

use super::addresses::{self, Addresses};
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::ipv6::check_subscriber_prefix;
use super::section::{Item, Section};

/// Fewest ports that are left for a subscriber when their number follows from the pool's size.
const PORTS_EACH_MIN: u32 = 16;

/// The table as the file has it, each key checked by itself.
pub(super) struct Raw {
    path: String,
    subscribers: Vec<Item<Addresses>>,
    /// Whether the file lists subscribers, right or wrong.
    filled: bool,
    prefix: u8,
    has_prefix: bool,
    ports_each: Option<u32>,
}

pub(super) fn decode(mut section: Section<'_>) -> Raw {
    let subscribers = section.list("subscribers", "IPv4 or IPv6 prefixes", addresses::prefix);
    let bits = section.integer("subscriber-prefix-length", 48..=128, 64);
    check_subscriber_prefix(&section, bits);
    let raw = Raw {
        path: section.path().to_owned(),
        subscribers,
        filled: section.has("subscribers") && !section.is_empty_list("subscribers"),
        prefix: bits as u8,
        has_prefix: section.has("subscriber-prefix-length"),
        ports_each: section.integer_or_auto("ports-per-subscriber", 1..=65_535),
    };
    section.finish();
    raw
}

/// The formula of a pool with these addresses and ports.
pub(super) fn validate(
    raw: &Raw,
    pool: &[AddressRange],
    ports: PortRange,
    d: &Diagnostics,
) -> Option<Deterministic> {
    if !raw.filled {
        let remedy = "add subscribers = [\"100.64.0.0/16\"]";
        d.fault(FaultKind::Missing, &raw.path, "there are no subscribers", remedy);
    }
    let prefix = one_family(raw, d)?;
    let subscribers = counted(raw, prefix, d)?;
    let total = subscribers
        .iter()
        .fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
    let addresses: u64 = pool
        .iter()
        .map(|range| u64::from(range.last) - u64::from(range.first) + 1)
        .sum();
    if addresses == 0 || total == 0 {
        return None;
    }
    let port_count = u64::from(ports.last - ports.first) + 1;
    let most = port_count / total.div_ceil(addresses);
    let each = u64::from(raw.ports_each.unwrap_or(most as u32));
    let least = if raw.ports_each.is_some() {
        1
    } else {
        u64::from(PORTS_EACH_MIN)
    };
    if each > most || each < least {
        let problem = format!(
            "{total} subscribers do not fit: {addresses} addresses with {port_count} ports each leave {most} for one"
        );
        let remedy = if most >= u64::from(PORTS_EACH_MIN) {
            format!("use at most {most} ports for each, more addresses, or fewer subscribers")
        } else {
            "use more addresses or fewer subscribers".into()
        };
        let key = if raw.ports_each.is_some() {
            "ports-per-subscriber"
        } else {
            "subscribers"
        };
        d.fault(
            FaultKind::Conflict,
            &format!("{}.{key}", raw.path),
            problem,
            remedy,
        );
        return None;
    }
    let formula = Deterministic::new(subscribers, prefix, each as u16);
    formula.map_err(|error| told(raw, &error, d)).ok()
}

/// What the engine finds wrong with ranges that are each right by themselves.
fn told(raw: &Raw, error: &DeterministicError, d: &Diagnostics) {
    let items = || raw.subscribers.iter().enumerate();
    let begins = |first: u128| items().filter(move |(_, item)| item.value.neutral().0 == first);
    if let DeterministicError::Overlap(one, other) = error
        && let (Some(one), Some(other)) = (begins(*one).next_back(), begins(*other).next())
    {
        let (early, late) = if one.0 < other.0 {
            (one.1, other.1)
        } else {
            (other.1, one.1)
        };
        let problem = format!(
            "{} shares subscribers with {} (line {})",
            late.value,
            early.path,
            d.line(&early.path)
        );
        d.fault(
            FaultKind::Conflict,
            &late.path,
            problem,
            "list each subscriber once",
        );
        return;
    }
    let path = format!("{}.subscribers", raw.path);
    d.fault(
        FaultKind::Conflict,
        &path,
        error.to_string(),
        "list each subscriber once",
    );
}

/// Bits of a subscriber: subscribers of a pool are of one family.
fn one_family(raw: &Raw, d: &Diagnostics) -> Option<u8> {
    let first = raw.subscribers.first()?;
    let is_v6 = |item: &Item<Addresses>| matches!(item.value, Addresses::V6(_));
    if let Some(other) = raw.subscribers.iter().find(|item| is_v6(item) != is_v6(first)) {
        let problem = format!(
            "is not of the family of {} (line {})",
            first.path,
            d.line(&first.path)
        );
        d.fault(
            FaultKind::Conflict,
            &other.path,
            problem,
            "make a pool for each family",
        );
        return None;
    }
    if is_v6(first) {
        return Some(raw.prefix);
    }
    if raw.has_prefix {
        d.fault(
            FaultKind::Conflict,
            &format!("{}.subscriber-prefix-length", raw.path),
            "an IPv4 subscriber is one address",
            "remove it",
        );
    }
    Some(128)
}

/// First address and number of subscribers of each prefix.
fn counted(raw: &Raw, prefix: u8, d: &Diagnostics) -> Option<Vec<(u128, u64)>> {
    let host_bits = u32::from(128 - prefix);
    let mut counted = Vec::with_capacity(raw.subscribers.len());
    for item in &raw.subscribers {
        let (first, last) = item.value.neutral();
        let whole = (last - first)
            .checked_add(1)
            .is_some_and(|size| size >> host_bits > 0);
        let count = ((last - first) >> host_bits).saturating_add(1);
        if !whole {
            let problem = format!(
                "{} is longer than a subscriber's prefix of {prefix} bits",
                item.value
            );
            let remedy = "use a shorter prefix, or raise subscriber-prefix-length";
            d.fault(FaultKind::Conflict, &item.path, problem, remedy);
            return None;
        }
        counted.push((first, u64::try_from(count).unwrap_or(u64::MAX)));
    }
    Some(counted)
}
