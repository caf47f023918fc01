//! The table of static mappings: found by their public end and by their inside end, in logarithmic time.
//!
//! ```text
//!   StaticMapping --+-- covers (public addresses,              protocol, public ports) --> index by public end
//!                   +-- covers (service set, inside addresses, protocol, inside ports) --> index by inside end
//! ```
//!
//! A mapping covers a whole address, a whole address in one protocol, or ports of it. Of several that cover an end the
//! narrowest decides, so a port may be forwarded on an address that is translated as a whole. Two of the same width that
//! cover one end contradict each other and are refused. A range costs one entry per aligned prefix it consists of: a
//! prefix one, however long.

mod index;

use std::net::Ipv6Addr;

use crate::program::{AddressRange, ServiceSetId, StaticMapping};
use index::{Cover, RangeIndex};

/// Two mappings of the same width cover one end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "static mappings `{first}` and `{second}` both cover the {end} address {address}, protocol {protocol}, port {port} \
     (protocol 0: any)"
)]
pub struct StaticConflict {
    /// Name of the one that comes first.
    pub first: String,
    /// Name of the other.
    pub second: String,
    /// On which side.
    pub end: MappingEnd,
    /// An address both cover; IPv4 as such.
    pub address: std::net::IpAddr,
    /// The protocol both cover; 0 is any.
    pub protocol: u8,
    /// A port both cover; 0 when they cover all.
    pub port: u16,
}

/// One of the two ends of a static mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEnd {
    /// The end that the outside sees.
    Public,
    /// The subscriber's.
    Inside,
}

impl std::fmt::Display for MappingEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Inside => "inside",
        })
    }
}

/// A mapping that covers an end, and the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a, A> {
    /// The mapping.
    pub mapping: &'a StaticMapping,
    /// Its number in this table, for [`StaticTable::get`]; another table numbers anew.
    pub number: u32,
    /// Address of the other end.
    pub address: A,
    /// Port of the other end; the same port where the mapping covers whole addresses.
    pub port: u16,
}

/// All static mappings of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticTable {
    mappings: Vec<StaticMapping>,
    by_public: RangeIndex,
    by_inside: RangeIndex,
    /// Public addresses: sorted, apart from each other.
    owned: Vec<AddressRange>,
}

/// What a mapping covers, the narrowest first.
#[derive(Clone, Copy)]
enum Width {
    Ports,
    Protocol,
    Address,
}

/// Width and protocol in one word, the class of [`index`].
const fn class(width: Width, protocol: u8) -> u16 {
    match width {
        Width::Ports => 0x200 | protocol as u16,
        Width::Protocol => 0x100 | protocol as u16,
        Width::Address => 0,
    }
}

fn width(mapping: &StaticMapping) -> Width {
    match (mapping.protocol, mapping.ports) {
        (0, _) => Width::Address,
        (_, 0) => Width::Protocol,
        _ => Width::Ports,
    }
}

/// First and last of `mapping.ports` ports from `first` on, without those that would lie beyond 65535 at either end.
fn ports_from(mapping: &StaticMapping, first: u16) -> (u16, u16) {
    if !matches!(width(mapping), Width::Ports) {
        return (0, u16::MAX);
    }
    let room = u16::MAX - mapping.public_port.max(mapping.inside_port);
    (first, first + (mapping.ports - 1).min(room))
}

/// Whether sessions from inside use it.
fn serves_inside(mapping: &StaticMapping) -> bool {
    let one_address = mapping.public.first == mapping.public.last;
    !mapping.inbound_only && (one_address || !mapping.to_one)
}

fn public_cover(number: u32, mapping: &StaticMapping) -> Cover {
    Cover {
        scope: 0,
        class: class(width(mapping), mapping.protocol),
        first: u128::from(mapping.public.first),
        last: u128::from(mapping.public.last),
        ports: ports_from(mapping, mapping.public_port),
        number,
    }
}

fn inside_cover(number: u32, mapping: &StaticMapping) -> Cover {
    let further = u128::from(mapping.public.last.saturating_sub(mapping.public.first));
    Cover {
        scope: mapping.service_set,
        first: mapping.inside,
        last: mapping.inside.saturating_add(further),
        ports: ports_from(mapping, mapping.inside_port),
        ..public_cover(number, mapping)
    }
}

/// The port at the other end.
fn other_port(mapping: &StaticMapping, port: u16, here: u16, there: u16) -> u16 {
    match width(mapping) {
        Width::Ports => there.wrapping_add(port.wrapping_sub(here)),
        Width::Protocol | Width::Address => port,
    }
}

impl StaticTable {
    /// The table of these mappings. With protocol 0 a mapping's `ports` count for nothing, and ports beyond 65535 do not
    /// exist.
    ///
    /// # Errors
    /// [`StaticConflict`] when two mappings of the same width cover one public address, protocol and port, or, among those
    /// that serve sessions from inside, one service set, inside address, protocol and port.
    pub fn new(mappings: Vec<StaticMapping>) -> Result<Self, StaticConflict> {
        let numbered = || (0u32..).zip(&mappings);
        let publics = numbered().map(|(n, m)| public_cover(n, m));
        let insides = numbered()
            .filter(|(_, m)| serves_inside(m))
            .map(|(n, m)| inside_cover(n, m));
        let say = |end, overlap: index::Overlap| {
            let name = |n: u32| {
                mappings
                    .get(n as usize)
                    .map(|m| m.name.clone())
                    .unwrap_or_default()
            };
            StaticConflict {
                first: name(overlap.first),
                second: name(overlap.second),
                end,
                address: match end {
                    MappingEnd::Public => std::net::Ipv4Addr::from_bits(overlap.address as u32).into(),
                    MappingEnd::Inside => Ipv6Addr::from_bits(overlap.address).to_canonical(),
                },
                protocol: (overlap.class & 0xff) as u8,
                port: overlap.port,
            }
        };
        let by_public = RangeIndex::new(publics).map_err(|o| say(MappingEnd::Public, o))?;
        let by_inside = RangeIndex::new(insides).map_err(|o| say(MappingEnd::Inside, o))?;
        let owned = union(mappings.iter().map(|m| m.public).collect());
        Ok(Self {
            mappings,
            by_public,
            by_inside,
            owned,
        })
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    /// All mappings, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &StaticMapping> {
        self.mappings.iter()
    }

    /// A mapping by its number.
    #[inline]
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&StaticMapping> {
        self.mappings.get(number as usize)
    }

    /// Whether some mapping has this public address, in whatever protocol and port.
    #[inline]
    #[must_use]
    pub fn owns(&self, address: u32) -> bool {
        let after = self.owned.partition_point(|r| r.first <= address);
        after
            .checked_sub(1)
            .and_then(|at| self.owned.get(at))
            .is_some_and(|r| r.contains(address))
    }

    /// The mapping of a public end, and its inside end. `port` is 0 for protocols without ports, the identifier for ICMP.
    #[inline]
    #[must_use]
    pub fn by_public(&self, address: u32, protocol: u8, port: u16) -> Option<Found<'_, u128>> {
        if self.is_empty() {
            return None;
        }
        let (number, mapping) = self.narrowest(&self.by_public, 0, u128::from(address), protocol, port)?;
        let offset = if mapping.to_one {
            0
        } else {
            u128::from(address.wrapping_sub(mapping.public.first))
        };
        Some(Found {
            mapping,
            number,
            address: mapping.inside.saturating_add(offset),
            port: other_port(mapping, port, mapping.public_port, mapping.inside_port),
        })
    }

    /// The mapping that serves sessions from this inside end, and its public end. An IPv4 address stands under
    /// `::ffff:0:0/96`; `port` as in [`StaticTable::by_public`].
    #[inline]
    #[must_use]
    pub fn by_inside(
        &self,
        service_set: ServiceSetId,
        address: u128,
        protocol: u8,
        port: u16,
    ) -> Option<Found<'_, u32>> {
        if self.is_empty() {
            return None;
        }
        let (number, mapping) = self.narrowest(&self.by_inside, service_set, address, protocol, port)?;
        let offset = address.wrapping_sub(mapping.inside) as u32;
        Some(Found {
            mapping,
            number,
            address: mapping.public.first.wrapping_add(offset),
            port: other_port(mapping, port, mapping.inside_port, mapping.public_port),
        })
    }

    fn narrowest(
        &self,
        index: &RangeIndex,
        scope: u16,
        address: u128,
        protocol: u8,
        port: u16,
    ) -> Option<(u32, &StaticMapping)> {
        let number = [Width::Ports, Width::Protocol, Width::Address]
            .into_iter()
            .find_map(|width| index.find(scope, class(width, protocol), address, port))?;
        Some((number, self.get(number)?))
    }
}

/// The union of ranges: sorted, joined where they touch.
fn union(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.retain(|r| r.first <= r.last);
    ranges.sort_unstable();
    let mut union: Vec<AddressRange> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => union.push(range),
        }
    }
    union
}

#[cfg(test)]
mod tests;
