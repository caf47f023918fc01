//! What is translated without a pool: NAT64 prefixes, static mappings, destination NAT, stateless translation.

use tandem_wire::npt::Nptv6;
use tandem_wire::rfc6052::Prefix64;
use tandem_wire::siit::Siit;

use super::{AddressRange, ServiceSetId};

/// Id of a NAT64 prefix, stable for the process' life. Range 0..=1023.
pub type PrefixId = u16;

/// A NAT64 prefix some service set translates to. RFC 6052.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pref64 {
    /// Its id.
    pub id: PrefixId,
    /// The prefix.
    pub prefix: Prefix64,
}

/// What a service set does with IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6Options {
    /// Its NAT64 prefixes, by id.
    pub nat64_prefixes: Vec<PrefixId>,
    /// Bits of an IPv6 source address that make a subscriber: 48..=64, or 128.
    pub subscriber_prefix: u8,
    /// A UDP packet over IPv4 with no checksum gets one on its way to IPv6; otherwise it is dropped. RFC 7915 section 4.5.
    pub compute_udp_checksum: bool,
    /// Type of service and traffic class are copied; otherwise set to zero. RFC 7915 sections 4.1 and 5.1.
    pub copy_traffic_class: bool,
    /// IPv4 packets without DF that would be longer than this are fragmented on their way to IPv6. 1280..=65535, 1280 by
    /// default. RFC 7915 section 4.1.
    pub lowest_mtu: u16,
    /// The well-known prefix also stands for addresses that are not global. RFC 6052 section 3.1 says no.
    pub well_known_for_private: bool,
}

impl Default for Ipv6Options {
    fn default() -> Self {
        Self {
            nat64_prefixes: Vec::new(),
            subscriber_prefix: 64,
            compute_udp_checksum: true,
            copy_traffic_class: true,
            lowest_mtu: 1280,
            well_known_for_private: false,
        }
    }
}

/// An inclusive range of IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange6 {
    /// First address.
    pub first: u128,
    /// Last address, inclusive.
    pub last: u128,
}

impl AddressRange6 {
    /// Whether `address` lies inside.
    #[must_use]
    pub const fn contains(&self, address: u128) -> bool {
        self.first <= address && address <= self.last
    }
}

/// A range of destinations and what each becomes, one to one: twice NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationMap {
    /// What the subscriber sends to.
    pub from: AddressRange,
    /// Where the first of these goes; the others follow.
    pub to_first: u32,
}

impl DestinationMap {
    /// Where a destination goes.
    #[must_use]
    pub fn map(&self, destination: u32) -> Option<u32> {
        let offset = destination.wrapping_sub(self.from.first);
        self.from
            .contains(destination)
            .then(|| self.to_first.wrapping_add(offset))
    }

    /// What a subscriber calls a destination.
    #[must_use]
    pub fn unmap(&self, real: u32) -> Option<u32> {
        let offset = real.wrapping_sub(self.to_first);
        (offset <= self.from.last - self.from.first).then(|| self.from.first + offset)
    }
}

/// A static mapping: basic NAT44 of an address or a prefix, a port forward, a static NAT64 binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMapping {
    /// Its name, for views and logs.
    pub name: String,
    /// Service set.
    pub service_set: ServiceSetId,
    /// Number of its term, as [`super::NatTerm::number`]; unique among terms and static mappings of the service set.
    pub number: u16,
    /// First inside address; IPv4 under `::ffff:0:0/96`.
    pub inside: u128,
    /// Public addresses, one for each inside address in order; with `to_one` all for the one.
    pub public: AddressRange,
    /// All public addresses lead to the one inside address. Implies `inbound_only` unless there is one public address.
    pub to_one: bool,
    /// IP protocol number; 0 is any, and then `ports` is 0.
    pub protocol: u8,
    /// First inside port.
    pub inside_port: u16,
    /// First public port.
    pub public_port: u16,
    /// How many ports in order; 0: the whole address, ports and identifiers stay.
    pub ports: u16,
    /// Destination NAT: sessions from inside do not use it.
    pub inbound_only: bool,
    /// Twice NAT: destinations of sessions from inside, and sources of those from outside, are mapped, too.
    pub destination: Option<DestinationMap>,
}

/// Translation without sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stateless {
    /// Between IPv4 and IPv6, by explicit address mappings and a prefix. RFC 7915, RFC 7757.
    Siit(Siit),
    /// Between two IPv6 prefixes. RFC 6296.
    Nptv6(Nptv6),
}
