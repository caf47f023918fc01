//! `[service-sets.NAME.ipv6]`: NAT64 prefixes and how packets change their family.

use tandem_wire::rfc6052::Prefix64;

use super::addresses;
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::section::{Item, Section};

/// Most NAT64 prefixes of all service sets together.
pub(super) const PREFIXES_MAX: usize = 1024;

/// What a service set does with IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Its NAT64 prefixes, in order. RFC 6052.
    pub nat64_prefixes: Vec<Prefix64>,
    /// Bits of an IPv6 source address that make a subscriber: 48..=64, or 128.
    pub subscriber_prefix: u8,
    /// RFC 7915 section 4.5: whether a UDP packet over IPv4 without a checksum gets one.
    pub compute_udp_checksum: bool,
    /// RFC 7915 sections 4.1 and 5.1.
    pub copy_traffic_class: bool,
    /// RFC 7915 section 4.1: IPv4 packets without DF are fragmented to this length. 1280..=65535.
    pub lowest_mtu: u16,
    /// RFC 6052 section 3.1: whether the well-known prefix stands for addresses that are not global, too.
    pub well_known_for_private: bool,
}

/// The same as the file has it, each key checked by itself.
#[derive(Clone)]
pub(super) struct Raw {
    pub path: String,
    pub prefixes: Vec<Item<Prefix64>>,
    /// Whether the file lists prefixes, right or wrong.
    pub filled: bool,
    pub options: Ipv6,
}

pub(super) fn decode(mut section: Section<'_>) -> Raw {
    let prefixes = section.list("nat64-prefixes", "NAT64 prefixes", addresses::nat64_prefix);
    let bits = section.integer("subscriber-prefix-length", 48..=128, 64);
    check_subscriber_prefix(&section, bits);
    let checksum = [("compute", true), ("drop", false)];
    let options = Ipv6 {
        nat64_prefixes: prefixes.iter().map(|item| item.value).collect(),
        subscriber_prefix: bits as u8,
        compute_udp_checksum: section
            .choice("udp-zero-checksum", &checksum, "compute")
            .unwrap_or(true),
        copy_traffic_class: section.boolean("copy-traffic-class", true),
        lowest_mtu: section.integer("lowest-ipv6-mtu", 1280..=65_535, 1280) as u16,
        well_known_for_private: section.boolean("allow-well-known-prefix-for-private", false),
    };
    let raw = Raw {
        path: section.path().to_owned(),
        prefixes,
        filled: section.has("nat64-prefixes") && !section.is_empty_list("nat64-prefixes"),
        options,
    };
    section.finish();
    raw
}

/// A subscriber is what one household or one host gets: a prefix of 48 to 64 bits, or one address.
pub(super) fn check_subscriber_prefix(section: &Section<'_>, bits: u32) {
    if (65..128).contains(&bits) {
        section.diagnostics().fault(
            FaultKind::BadValue,
            &section.path_of("subscriber-prefix-length"),
            format!("{bits} makes neither a site's prefix nor a single address a subscriber"),
            "use 48..=64, or 128",
        );
    }
}

/// A NAT64 prefix belongs to one service set, and none lies in another.
pub(super) fn prefixes_are_apart<'r>(sets: impl Iterator<Item = &'r Raw>, d: &Diagnostics) {
    let mut seen: Vec<(usize, &Item<Prefix64>)> = Vec::new();
    let of_sets = sets
        .enumerate()
        .flat_map(|(set, raw)| raw.prefixes.iter().map(move |item| (set, item)));
    for (set, item) in of_sets {
        if seen.len() == PREFIXES_MAX {
            let problem = format!("there are more than {PREFIXES_MAX} NAT64 prefixes in the file");
            d.fault(
                FaultKind::BadValue,
                &item.path,
                problem,
                format!("use at most {PREFIXES_MAX}"),
            );
            return;
        }
        // Each service set translates for its own inside, so the same prefix may serve several.
        let overlaps = |(of, other): &&(usize, &Item<Prefix64>)| {
            let shared = *of != set && other.value == item.value;
            !shared && other.value.prefix().overlaps(&item.value.prefix())
        };
        if let Some((_, first)) = seen.iter().find(overlaps) {
            let problem = format!(
                "{} overlaps {} of {} (line {})",
                item.value,
                first.value,
                first.path,
                d.line(&first.path)
            );
            let remedy =
                "use prefixes that share no address; the same prefix may stand in several service sets";
            d.fault(FaultKind::Conflict, &item.path, problem, remedy);
        }
        seen.push((set, item));
    }
}
