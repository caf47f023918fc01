//! What service sets must not share when a packet from outside is to find the one that translates it: addresses of stateless
//! translation, with each other, with NAT64 prefixes and with public addresses of pools and static mappings.

use tandem_engine::program::AddressRange;
use tandem_wire::{Ipv4Prefix, Ipv6Prefix};

use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::pool::Pool;
use super::service_set::{Raw, ServiceSet};
use super::values::show_range;

/// Something a packet from outside is addressed to: its service set, its key path, first and last address.
struct Outside {
    set: usize,
    path: String,
    first: u128,
    last: u128,
    shown: String,
    /// Prefixes of NAT64: these are compared with each other elsewhere.
    nat64: bool,
}

/// Reports whatever leaves open who translates a packet from outside.
pub(super) fn check(raws: &[Raw], sets: &[ServiceSet], pools: &[Pool], d: &Diagnostics) {
    if raws.iter().all(|raw| !raw.stateless.is_there()) {
        return;
    }
    between_sets(ipv4(raws), d);
    between_sets(ipv6(raws), d);
    against_public(raws, sets, pools, d);
}

fn ipv4(raws: &[Raw]) -> Vec<Outside> {
    let of = |set, raw: &Raw| -> Vec<Outside> {
        let eams = raw.stateless.eams.iter();
        eams.map(|item| {
            let prefix: Ipv4Prefix = item.value.v4;
            Outside {
                set,
                path: format!("{}.ipv4", item.path),
                first: u128::from(prefix.first()),
                last: u128::from(prefix.last()),
                shown: prefix.to_string(),
                nat64: false,
            }
        })
        .collect()
    };
    raws.iter()
        .enumerate()
        .flat_map(|(set, raw)| of(set, raw))
        .collect()
}

fn ipv6(raws: &[Raw]) -> Vec<Outside> {
    let mut all = Vec::new();
    for (set, raw) in raws.iter().enumerate() {
        let mut push = |path: String, prefix: Ipv6Prefix, nat64| {
            all.push(Outside {
                set,
                path,
                first: prefix.first(),
                last: prefix.last(),
                shown: prefix.to_string(),
                nat64,
            });
        };
        for item in &raw.ipv6.prefixes {
            push(item.path.clone(), item.value.prefix(), true);
        }
        if let Some(item) = &raw.stateless.prefix {
            push(item.path.clone(), item.value.prefix(), false);
        }
        for item in &raw.stateless.eams {
            push(format!("{}.ipv6", item.path), item.value.v6, false);
        }
        for item in &raw.stateless.pairs {
            push(format!("{}.outside", item.path), item.value.outside(), false);
        }
    }
    all
}

/// Prefixes either nest or are apart: by first address, wider ones first, those around one stand before it.
fn between_sets(mut all: Vec<Outside>, d: &Diagnostics) {
    all.sort_by_key(|one| (one.first, std::cmp::Reverse(one.last)));
    let mut around: Vec<&Outside> = Vec::new();
    for one in &all {
        around.retain(|wide| wide.last >= one.first);
        let foreign = |wide: &&&Outside| wide.set != one.set && !(wide.nat64 && one.nat64);
        if let Some(wide) = around.iter().find(foreign) {
            let (early, late) = if wide.set < one.set {
                (*wide, one)
            } else {
                (one, *wide)
            };
            let problem = format!(
                "{} overlaps {} of {} (line {})",
                late.shown,
                early.shown,
                early.path,
                d.line(&early.path)
            );
            let remedy = "give each service set addresses of its own: packets from outside find it by them";
            d.fault(FaultKind::Conflict, &late.path, problem, remedy);
        }
        around.push(one);
    }
}

/// An IPv4 address of an explicit mapping is no pool's and no static mapping's.
fn against_public(raws: &[Raw], sets: &[ServiceSet], pools: &[Pool], d: &Diagnostics) {
    let mut public: Vec<(AddressRange, String)> = Vec::new();
    for pool in pools {
        let whose = super::diagnostics::join("pools", &pool.name);
        public.extend(pool.addresses.iter().map(|range| (*range, whose.clone())));
    }
    for set in sets {
        let whose = |name: &str| format!("static mapping \"{name}\" of \"{}\"", set.name);
        public.extend(
            set.all_static_mappings()
                .map(|one| (one.public, whose(&one.name))),
        );
    }
    public.sort();
    // Static mappings may lie in a pool, so ends are not sorted with the beginnings: the widest so far is.
    let mut last_so_far = 0;
    let ends: Vec<u32> = public
        .iter()
        .map(|(range, _)| {
            last_so_far = last_so_far.max(range.last);
            last_so_far
        })
        .collect();
    for item in raws.iter().flat_map(|raw| &raw.stateless.eams) {
        let range = AddressRange {
            first: item.value.v4.first(),
            last: item.value.v4.last(),
        };
        let from = ends.partition_point(|end| *end < range.first);
        let met = public
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|(other, _)| other.first <= range.last)
            .find(|(other, _)| other.last >= range.first);
        if let Some((other, whose)) = met {
            let problem = format!(
                "{} shares addresses with {} of {whose}",
                item.value.v4,
                show_range(*other)
            );
            let remedy = "use addresses that nothing else translates to";
            d.fault(
                FaultKind::Conflict,
                &format!("{}.ipv4", item.path),
                problem,
                remedy,
            );
        }
    }
}
