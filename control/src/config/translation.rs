//! `then` of a NAT term: the translation types, which keys each of them takes, and what it becomes.
//!
//! ```text
//!   source from a pool    napt-44, stateful-nat64, deterministic-napt44, deterministic-napt64, dynamic-nat44
//!   static                basic-nat44 (both ways), dnat-44 (sessions from outside)
//!   twice                 twice-napt-44, twice-dynamic-nat-44, twice-basic-nat-44: the destination is translated, too
//!   destination only      outbound-dnat-44 (sessions from inside)
//! ```

use tandem_engine::program::{AddressRange, DestinationMap, FilteringType, MappingType, PortRange};

use super::diagnostics::Diagnostics;
use super::fault::{FaultKind, one_of, suggestion};
use super::names;
use super::nat_rule::RawTerm;
use super::section::Section;
use super::static_mapping::StaticMapping;
use super::translation_static;
use super::values;

/// What a term does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forward untranslated (RFC 6888 REQ-6).
    NoTranslation,
    /// The source becomes one of a pool's.
    Source {
        /// How.
        translation: SourceTranslation,
        /// Name of the pool.
        pool: String,
        /// RFC 4787 section 4.1.
        mapping: MappingType,
        /// RFC 4787 section 5.
        filtering: FilteringType,
        /// Twice NAT: what becomes of the destination.
        destination: Option<DestinationMap>,
    },
    /// Only the destination of sessions from inside is translated.
    DestinationOnly(DestinationMap),
    /// Static mappings; the term itself matches nothing.
    Static(Vec<StaticMapping>),
}

/// How a source becomes one of a pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceTranslation {
    /// Address and port, IPv4 to IPv4. RFC 3022.
    Napt44,
    /// Address and port, IPv6 to IPv4. RFC 6146.
    Nat64,
    /// The same by a formula, IPv4 to IPv4. RFC 7422.
    DeterministicNapt44,
    /// The same by a formula, IPv6 to IPv4.
    DeterministicNapt64,
    /// The address only, IPv4 to IPv4.
    Dynamic44,
}

impl SourceTranslation {
    /// The name of the translation type without twice NAT.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Napt44 => "napt-44",
            Self::Nat64 => "stateful-nat64",
            Self::DeterministicNapt44 => "deterministic-napt44",
            Self::DeterministicNapt64 => "deterministic-napt64",
            Self::Dynamic44 => "dynamic-nat44",
        }
    }

    /// Whether its sources are IPv6.
    #[must_use]
    pub const fn is_nat64(self) -> bool {
        matches!(self, Self::Nat64 | Self::DeterministicNapt64)
    }
}

/// A translation type by its name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Source(SourceTranslation),
    TwiceSource(SourceTranslation),
    Basic,
    TwiceBasic,
    Destination,
    OutboundDestination,
}

const TYPES: [(&str, Type); 11] = [
    ("napt-44", Type::Source(SourceTranslation::Napt44)),
    ("stateful-nat64", Type::Source(SourceTranslation::Nat64)),
    (
        "deterministic-napt44",
        Type::Source(SourceTranslation::DeterministicNapt44),
    ),
    (
        "deterministic-napt64",
        Type::Source(SourceTranslation::DeterministicNapt64),
    ),
    ("dynamic-nat44", Type::Source(SourceTranslation::Dynamic44)),
    ("basic-nat44", Type::Basic),
    ("dnat-44", Type::Destination),
    ("outbound-dnat-44", Type::OutboundDestination),
    ("twice-napt-44", Type::TwiceSource(SourceTranslation::Napt44)),
    (
        "twice-dynamic-nat-44",
        Type::TwiceSource(SourceTranslation::Dynamic44),
    ),
    ("twice-basic-nat-44", Type::TwiceBasic),
];

impl Type {
    pub(super) fn name(self) -> &'static str {
        TYPES
            .iter()
            .find(|(_, one)| *one == self)
            .map_or("", |(name, _)| *name)
    }

    /// Keys of `then` it needs, and those it may have besides.
    fn then_keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        const BOTH: &[&str] = &["mapping-type", "filtering-type"];
        const FILTERING: &[&str] = &["filtering-type"];
        use SourceTranslation::{DeterministicNapt44, DeterministicNapt64, Dynamic44, Napt44, Nat64};
        match self {
            Self::Source(Napt44 | Nat64) => (&["pool"], BOTH),
            Self::Source(DeterministicNapt44 | DeterministicNapt64 | Dynamic44) => (&["pool"], FILTERING),
            Self::TwiceSource(Dynamic44) => (&["pool", "destination-prefix"], FILTERING),
            Self::TwiceSource(_) => (&["pool", "destination-prefix"], BOTH),
            Self::Basic => (&["public-prefix"], &[]),
            Self::TwiceBasic => (&["public-prefix", "destination-prefix"], &[]),
            Self::Destination => (&["destination-prefix"], &["destination-ports"]),
            Self::OutboundDestination => (&["destination-prefix"], &[]),
        }
    }

    /// Keys of `from` it may have.
    fn match_keys(self) -> &'static [&'static str] {
        match self {
            Self::Basic => &["source-addresses"],
            Self::TwiceBasic => &["source-addresses", "destination-addresses"],
            Self::Destination => &["destination-addresses", "destination-ports", "protocols"],
            _ => &[
                "source-addresses",
                "source-ranges",
                "destination-addresses",
                "destination-ports",
                "protocols",
            ],
        }
    }
}

/// `then` as the file has it, each key checked by itself.
pub(super) struct RawThen {
    pub path: String,
    translation: Option<Type>,
    no_translation: bool,
    pool: Option<String>,
    mapping: MappingType,
    filtering: FilteringType,
    pub public_prefix: Option<AddressRange>,
    pub destination_prefix: Option<AddressRange>,
    pub destination_ports: Option<PortRange>,
    /// Keys that the file sets.
    keys: Vec<&'static str>,
}

const MAPPINGS: [(&str, MappingType); 2] = [
    ("endpoint-independent", MappingType::EndpointIndependent),
    ("address-and-port-dependent", MappingType::AddressAndPortDependent),
];
const FILTERINGS: [(&str, FilteringType); 3] = [
    ("endpoint-independent", FilteringType::EndpointIndependent),
    ("address-dependent", FilteringType::AddressDependent),
    (
        "address-and-port-dependent",
        FilteringType::AddressAndPortDependent,
    ),
];
const THEN_KEYS: [&str; 8] = [
    "translation-type",
    "pool",
    "mapping-type",
    "filtering-type",
    "public-prefix",
    "destination-prefix",
    "destination-ports",
    "no-translation",
];

pub(super) fn decode(mut then: Section<'_>) -> RawThen {
    let public = |text: &str| values::ipv4_prefix(text).and_then(values::usable_as_public);
    let raw = RawThen {
        path: then.path().to_owned(),
        translation: then.choice("translation-type", &TYPES, ""),
        pool: then.parsed("pool", "pool name", "", names::reference),
        mapping: then
            .choice("mapping-type", &MAPPINGS, "endpoint-independent")
            .unwrap_or(MappingType::EndpointIndependent),
        filtering: then
            .choice("filtering-type", &FILTERINGS, "endpoint-independent")
            .unwrap_or(FilteringType::EndpointIndependent),
        public_prefix: then.parsed("public-prefix", "IPv4 prefix", "", public),
        destination_prefix: then.parsed("destination-prefix", "IPv4 prefix", "", values::ipv4_prefix),
        destination_ports: then.parsed_or_number(
            "destination-ports",
            "port or port range",
            values::port_range,
        ),
        no_translation: then.boolean("no-translation", false),
        keys: THEN_KEYS.into_iter().filter(|key| then.has(key)).collect(),
    };
    then.finish();
    raw
}

impl RawThen {
    /// Whether it takes sessions of IPv4 and of IPv6 subscribers from the terms after it.
    pub(super) fn families(&self) -> [bool; 2] {
        match self.translation {
            _ if self.no_translation => [true, true],
            Some(Type::Source(source)) => [!source.is_nat64(), source.is_nat64()],
            Some(Type::TwiceSource(_) | Type::OutboundDestination) => [true, false],
            Some(Type::Basic | Type::TwiceBasic | Type::Destination) | None => [false, false],
        }
    }
}

/// Checks what a term does against its match and the pools.
pub(super) fn validate(term: &RawTerm, pools: &[&str], d: &Diagnostics) -> Option<Action> {
    let then = &term.then;
    let place = |key: &str| format!("{}.{key}", then.path);
    if then.no_translation {
        for key in then.keys.iter().filter(|key| **key != "no-translation") {
            let problem = format!(
                "stands beside no-translation (line {})",
                d.line(&place("no-translation"))
            );
            d.fault(FaultKind::Conflict, &place(key), problem, "remove one of the two");
        }
        return Some(Action::NoTranslation);
    }
    if !then.keys.contains(&"translation-type") {
        let remedy = "add then = { translation-type = \"napt-44\", pool = \"...\" } or then = { no-translation = true }";
        d.fault(FaultKind::Missing, &then.path, "the term does nothing", remedy);
    }
    if let Some(pool) = then.pool.as_deref().filter(|pool| !pools.contains(pool)) {
        let problem = format!("there is no pool \"{pool}\"");
        d.fault(
            FaultKind::UnknownName,
            &place("pool"),
            problem,
            suggestion(pool, pools.iter().copied()),
        );
    }
    let translation = then.translation?;
    if !keys_fit(term, translation, d) {
        return None;
    }
    match translation {
        Type::Source(source) => {
            family_fits(term, source, d);
            source_action(then, source, None)
        }
        Type::TwiceSource(source) => {
            family_fits(term, source, d);
            let map = translation_static::destination_map(term, translation.name(), d)?;
            source_action(then, source, Some(map))
        }
        Type::OutboundDestination => {
            family_fits(term, SourceTranslation::Napt44, d);
            translation_static::destination_map(term, translation.name(), d).map(Action::DestinationOnly)
        }
        Type::Basic => translation_static::basic(term, false, translation.name(), d),
        Type::TwiceBasic => translation_static::basic(term, true, translation.name(), d),
        Type::Destination => translation_static::destination(term, translation.name(), d),
    }
}

fn source_action(
    then: &RawThen,
    translation: SourceTranslation,
    destination: Option<DestinationMap>,
) -> Option<Action> {
    Some(Action::Source {
        translation,
        pool: then.pool.clone()?,
        mapping: then.mapping,
        filtering: then.filtering,
        destination,
    })
}

/// Every key the type needs is there, and none it has no use for.
fn keys_fit(term: &RawTerm, translation: Type, d: &Diagnostics) -> bool {
    let then = &term.then;
    let name = translation.name();
    let mut fit = true;
    let (needed, allowed) = translation.then_keys();
    for key in needed.iter().filter(|key| !then.keys.contains(key)) {
        let (problem, remedy) = match *key {
            "pool" => (
                format!("{name} translates to the addresses of a pool, and none is named"),
                "add pool = \"NAME\"",
            ),
            "public-prefix" => (
                format!("{name} translates to a public prefix, and there is none"),
                "add public-prefix = \"203.0.113.0/28\"",
            ),
            _ => (
                format!("{name} translates the destination, and does not say to what"),
                "add destination-prefix = \"10.0.0.5/32\"",
            ),
        };
        d.fault(FaultKind::Missing, &then.path, problem, remedy);
        fit = false;
    }
    let surplus = then
        .keys
        .iter()
        .filter(|key| **key != "translation-type" && **key != "no-translation")
        .filter(|key| !needed.contains(key) && !allowed.contains(key));
    for key in surplus {
        let known = needed.iter().chain(allowed).copied();
        let remedy = format!("remove it; {name} takes {}", one_of(known));
        let problem = format!("{name} has no use for it");
        d.fault(
            FaultKind::Conflict,
            &format!("{}.{key}", then.path),
            problem,
            remedy,
        );
        fit = false;
    }
    let from = translation.match_keys();
    for key in term.from.filled.iter().filter(|key| !from.contains(key)) {
        let remedy = format!("remove it; {name} matches by {}", one_of(from.iter().copied()));
        let problem = format!("{name} does not look at it");
        d.fault(
            FaultKind::Conflict,
            &format!("{}.{key}", term.from.path),
            problem,
            remedy,
        );
        fit = false;
    }
    fit
}

/// Sources are of the family that the type translates.
fn family_fits(term: &RawTerm, translation: SourceTranslation, d: &Diagnostics) {
    use super::addresses::Addresses;
    let (name, wanted) = (
        term.then.translation.map_or("", Type::name),
        if translation.is_nat64() { "IPv6" } else { "IPv4" },
    );
    let wrong = |item: &&super::section::Item<Addresses>| {
        matches!(item.value, Addresses::V6(_)) != translation.is_nat64()
    };
    for item in term.from.sources.iter().filter(wrong) {
        let problem = format!(
            "{} is not {wanted}, and {name} translates {wanted} sources",
            item.value
        );
        let remedy = format!("use {wanted} prefixes, or another translation type");
        d.fault(FaultKind::Conflict, &item.path, problem, remedy);
    }
}
