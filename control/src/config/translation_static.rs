//! NAT terms that are static mappings, and the destination part of twice NAT: prefixes that map one to one.

use tandem_engine::program::{AddressRange, DestinationMap, PortRange};

use super::addresses::Addresses;
use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::nat_rule::RawTerm;
use super::section::Item;
use super::static_mapping::{StaticMapping, StaticPorts};
use super::translation::Action;
use super::values::{show_range, usable_as_public};

/// The one element of a list of `from`. Silent when the list has faults of its own.
fn single<'r, T>(
    items: &'r [Item<T>],
    term: &RawTerm,
    (key, example): (&'static str, &str),
    name: &str,
    d: &Diagnostics,
) -> Option<&'r Item<T>> {
    match items {
        [one] => Some(one),
        [] if term.from.filled.contains(&key) => None,
        _ => {
            let (path, problem) = if items.is_empty() {
                let problem = format!("{name} maps from.{key} one to one, and there are none");
                (term.from.path.clone(), problem)
            } else {
                let problem = format!("{name} maps one prefix, and here are {}", items.len());
                (format!("{}.{key}", term.from.path), problem)
            };
            let kind = if items.is_empty() {
                FaultKind::Missing
            } else {
                FaultKind::BadValue
            };
            let remedy = format!("use one, from = {{ {key} = [\"{example}\"] }}, and a term for each");
            d.fault(kind, &path, problem, remedy);
            None
        }
    }
}

fn same_size(path: &str, one: AddressRange, other: AddressRange, place: &str, d: &Diagnostics) -> bool {
    let same = one.last - one.first == other.last - other.first;
    if !same {
        let problem = format!(
            "{} is not as large as {} of {place} (line {})",
            show_range(one),
            show_range(other),
            d.line(place)
        );
        d.fault(
            FaultKind::Conflict,
            path,
            problem,
            "use the same prefix length for both",
        );
    }
    same
}

/// What becomes of the destination: the term's one destination prefix, address by address.
pub(super) fn destination_map(term: &RawTerm, name: &str, d: &Diagnostics) -> Option<DestinationMap> {
    let to = term.then.destination_prefix?;
    let key = ("destination-addresses", "198.51.100.0/28");
    let from = single(&term.from.destinations, term, key, name, d)?;
    let path = format!("{}.destination-prefix", term.then.path);
    same_size(&path, to, from.value, &from.path, d).then_some(DestinationMap {
        from: from.value,
        to_first: to.first,
    })
}

/// basic-nat44 and twice-basic-nat-44: the term's one source prefix becomes the public prefix, address by address.
pub(super) fn basic(term: &RawTerm, twice: bool, name: &str, d: &Diagnostics) -> Option<Action> {
    let public = term.then.public_prefix?;
    let inside = single(
        &term.from.sources,
        term,
        ("source-addresses", "10.0.0.0/28"),
        name,
        d,
    )?;
    let destination = if twice {
        Some(destination_map(term, name, d)?)
    } else {
        None
    };
    let Addresses::V4(range) = inside.value else {
        let problem = format!("{} is not IPv4, and {name} translates IPv4 sources", inside.value);
        d.fault(
            FaultKind::Conflict,
            &inside.path,
            problem,
            "use an IPv4 prefix; for one IPv6 host see static-mappings of the service set",
        );
        return None;
    };
    let path = format!("{}.public-prefix", term.then.path);
    if !same_size(&path, public, range, &inside.path, d) {
        return None;
    }
    Some(Action::Static(vec![StaticMapping {
        name: term.name.clone()?,
        inside: inside.value,
        public,
        protocol: 0,
        ports: None,
        inbound_only: false,
        destination,
    }]))
}

/// dnat-44: what outside sends to the term's one destination prefix goes to the destination prefix inside.
pub(super) fn destination(term: &RawTerm, name: &str, d: &Diagnostics) -> Option<Action> {
    let inside = term.then.destination_prefix?;
    let key = ("destination-addresses", "203.0.113.80/32");
    let public = single(&term.from.destinations, term, key, name, d)?;
    if let Err(bad) = usable_as_public(public.value) {
        d.bad(&public.path, bad);
        return None;
    }
    let path = format!("{}.destination-prefix", term.then.path);
    if inside.first != inside.last && !same_size(&path, inside, public.value, &public.path, d) {
        return None;
    }
    let ports = port_pairs(term, d)?;
    let mapping = StaticMapping {
        name: term.name.clone()?,
        inside: Addresses::V4(inside),
        public: public.value,
        protocol: 0,
        ports: None,
        inbound_only: true,
        destination: None,
    };
    let mut protocols: Vec<u8> = term.from.protocols.iter().map(|item| item.value).collect();
    if protocols.is_empty() && !ports.is_empty() {
        protocols = vec![6, 17];
    }
    if !ports.is_empty() {
        protocols.retain(|protocol| [6, 17].contains(protocol));
    }
    protocols.sort_unstable();
    protocols.dedup();
    let each = |protocol: u8| {
        let with = |ports: Option<StaticPorts>| StaticMapping {
            protocol,
            ports,
            ..mapping.clone()
        };
        if ports.is_empty() {
            vec![with(None)]
        } else {
            ports.iter().map(|pair| with(Some(*pair))).collect()
        }
    };
    let mappings = if protocols.is_empty() {
        vec![mapping.clone()]
    } else {
        protocols.into_iter().flat_map(each).collect()
    };
    Some(Action::Static(mappings))
}

/// Public and inside ports of a dnat-44 term.
fn port_pairs(term: &RawTerm, d: &Diagnostics) -> Option<Vec<StaticPorts>> {
    let same = |ports: PortRange| StaticPorts {
        inside: ports,
        public: ports,
    };
    let Some(inside) = term.then.destination_ports else {
        return Some(term.from.ports.iter().map(|item| same(item.value)).collect());
    };
    let path = format!("{}.destination-ports", term.then.path);
    match term.from.ports.as_slice() {
        [one] if one.value.last - one.value.first == inside.last - inside.first => Some(vec![StaticPorts {
            inside,
            public: one.value,
        }]),
        [one] => {
            let problem = format!(
                "{} ports stand against {} of {} (line {})",
                inside.last - inside.first + 1,
                one.value.last - one.value.first + 1,
                one.path,
                d.line(&one.path)
            );
            d.fault(
                FaultKind::Conflict,
                &path,
                problem,
                "use as many inside as public ports",
            );
            None
        }
        [] if term.from.filled.contains(&"destination-ports") => None,
        ports => {
            let problem = format!("stands against {} ranges of from.destination-ports", ports.len());
            let remedy = "use one range of public ports, and a term for each";
            d.fault(FaultKind::Conflict, &path, problem, remedy);
            None
        }
    }
}
