//! Rows of the workers' tables: the engine's views with names in place of ids.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tandem_engine::program::SubscriberLimits;
use tandem_engine::view::{BlockView, MappingView, SessionView, SubscriberView};
use utoipa::ToSchema;

use super::{Names, Page};

/// The protocol of a mapping that is a whole public address (dynamic-nat44).
pub const ANY_PROTOCOL: u8 = 255;

/// Protocols with a name. The others are shown and asked for by number.
const PROTOCOLS: &[(u8, &str)] = &[
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (132, "sctp"),
    (136, "udplite"),
    // What the mapping of a whole address says: all that the address is used for.
    (ANY_PROTOCOL, "any"),
];

/// `tcp` for 6, `"99"` for 99.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    PROTOCOLS
        .iter()
        .find(|(n, _)| *n == number)
        .map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// 6 for `tcp` or `6`; `None` when it is neither a known name nor a number 0..=255.
#[must_use]
pub fn protocol_number(text: &str) -> Option<u8> {
    PROTOCOLS
        .iter()
        .find(|(_, name)| *name == text)
        .map(|(n, _)| *n)
        .or_else(|| text.parse().ok())
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// Worker that owns it.
    pub worker: u8,
    /// Service set.
    pub service_set: Option<String>,
    /// IP protocol: a name, or the number of one without a name.
    #[schema(example = "tcp")]
    pub protocol: String,
    /// State: `active` for anything but TCP; `opening-inside`, `opening-outside`, `established`, `fin-inside`,
    /// `fin-outside`, `closing` for TCP.
    pub state: String,
    /// Who sent the first packet: true when outside did.
    pub initiated_outside: bool,
    /// Inside address, as the subscriber has it.
    #[schema(value_type = String)]
    pub inside_address: IpAddr,
    /// Inside port or ICMP id; 0 for protocols without ports.
    pub inside_port: u16,
    /// Public address.
    #[schema(value_type = String)]
    pub public_address: IpAddr,
    /// Public port or ICMP id.
    pub public_port: u16,
    /// Outside address, as the subscriber addresses it.
    #[schema(value_type = String)]
    pub outside_address: IpAddr,
    /// Outside port.
    pub outside_port: u16,
    /// Outside address, as it is: of NAT64 the IPv4 one, of twice NAT the translated one.
    #[schema(value_type = String)]
    pub remote_address: IpAddr,
    /// What is translated, in the words of the configuration; `none` when nothing is.
    #[schema(example = "napt-44")]
    pub translation_type: String,
    /// Pool of the public address.
    pub pool: Option<String>,
    /// Number of the NAT term or static mapping that made it; 65535 when none did.
    pub term: u16,
    /// Policy that let it begin, `list/policy`; none when no policy matched or there is no firewall.
    pub policy: Option<String>,
    /// Packets from inside.
    pub packets_out: u64,
    /// Bytes from inside, IP header included.
    pub bytes_out: u64,
    /// Packets from outside.
    pub packets_in: u64,
    /// Bytes from outside, IP header included.
    pub bytes_in: u64,
    /// Seconds since it was made.
    pub age_s: u32,
    /// Seconds since a packet refreshed it.
    pub idle_s: u32,
    /// Idle seconds after which it ends.
    pub timeout_s: u32,
}

impl Session {
    /// From the engine's row.
    #[must_use]
    pub fn new(row: &SessionView, names: &Names) -> Self {
        Self {
            worker: row.worker,
            service_set: names.service_set(row.service_set),
            protocol: protocol_name(row.protocol),
            state: row.state.as_str().to_owned(),
            initiated_outside: row.initiated_outside,
            inside_address: row.inside,
            inside_port: row.inside_port,
            public_address: row.public,
            public_port: row.public_port,
            outside_address: row.outside,
            outside_port: row.outside_port,
            remote_address: row.remote,
            translation_type: names.translation(row).to_owned(),
            pool: names.pool(row.pool),
            term: row.term,
            policy: names.policy(row.policy),
            packets_out: row.packets_out,
            bytes_out: row.bytes_out,
            packets_in: row.packets_in,
            bytes_in: row.bytes_in,
            age_s: row.age_s,
            idle_s: row.idle_s,
            timeout_s: row.timeout_s,
        }
    }
}

/// One endpoint-independent mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Mapping {
    /// Worker that owns it.
    pub worker: u8,
    /// Service set.
    pub service_set: Option<String>,
    /// IP protocol; `any` when the subscriber has the whole public address, and then the ports are 0.
    pub protocol: String,
    /// Inside address.
    #[schema(value_type = String)]
    pub inside_address: IpAddr,
    /// Inside port or ICMP id.
    pub inside_port: u16,
    /// Public address.
    #[schema(value_type = String)]
    pub public_address: IpAddr,
    /// Public port or ICMP id.
    pub public_port: u16,
    /// Pool.
    pub pool: Option<String>,
    /// Sessions that use it.
    pub sessions: u32,
}

impl Mapping {
    /// From the engine's row.
    #[must_use]
    pub fn new(row: &MappingView, names: &Names) -> Self {
        Self {
            worker: row.worker,
            service_set: names.service_set(row.service_set),
            protocol: protocol_name(row.protocol),
            inside_address: row.inside,
            inside_port: row.inside_port,
            public_address: row.public,
            public_port: row.public_port,
            pool: names.pool(row.pool),
            sessions: row.sessions,
        }
    }
}

/// One port block in a subscriber's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Block {
    /// Worker that owns it.
    pub worker: u8,
    /// Pool.
    pub pool: Option<String>,
    /// Service set of the subscriber.
    pub service_set: Option<String>,
    /// The subscriber: an address, of IPv6 a prefix.
    #[schema(example = "2001:db8:1000::/56")]
    pub inside_address: String,
    /// Public address.
    #[schema(value_type = String)]
    pub public_address: IpAddr,
    /// First port.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
    /// Ports of it in use, all protocols.
    pub used_ports: u32,
    /// New sessions take ports here.
    pub active: bool,
    /// Seconds since it was given out.
    pub age_s: u32,
}

impl Block {
    /// From the engine's row.
    #[must_use]
    pub fn new(row: &BlockView, names: &Names) -> Self {
        Self {
            worker: row.worker,
            pool: names.pool(row.pool),
            service_set: names.service_set(row.service_set),
            inside_address: names.subscriber(row.service_set, row.subscriber),
            public_address: row.public,
            first_port: row.first_port,
            last_port: row.last_port,
            used_ports: row.used,
            active: row.active,
            age_s: row.age_s,
        }
    }
}

/// One subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Subscriber {
    /// Worker that owns it.
    pub worker: u8,
    /// Service set.
    pub service_set: Option<String>,
    /// Its inside address, of IPv6 its prefix.
    #[schema(example = "2001:db8:1000::/56")]
    pub inside_address: String,
    /// Its paired public address, if any.
    #[schema(value_type = Option<String>)]
    pub public_address: Option<IpAddr>,
    /// Pool of that.
    pub pool: Option<String>,
    /// Sessions.
    pub sessions: u32,
    /// Public TCP ports in use.
    pub tcp_ports: u32,
    /// Public UDP ports in use.
    pub udp_ports: u32,
    /// Public ICMP ids in use.
    pub icmp_ids: u32,
    /// Port blocks held.
    pub blocks: u32,
    /// First packets refused because of a limit.
    pub refused: u64,
    /// What it may have; only when one subscriber is asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limits: Option<Limits>,
}

impl Subscriber {
    /// From the engine's row.
    #[must_use]
    pub fn new(row: &SubscriberView, names: &Names) -> Self {
        Self {
            worker: row.worker,
            service_set: names.service_set(row.service_set),
            inside_address: names.subscriber(row.service_set, row.address),
            public_address: row.public,
            pool: names.pool(row.pool),
            sessions: row.sessions,
            tcp_ports: row.tcp_ports,
            udp_ports: row.udp_ports,
            icmp_ids: row.icmp_ids,
            blocks: row.blocks,
            refused: row.refused,
            limits: None,
        }
    }
}

/// What one subscriber may have; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Sessions at once.
    pub max_sessions: u32,
    /// New sessions per second.
    pub max_session_rate: u32,
    /// Public ports and ICMP ids at once, all protocols.
    pub max_ports: u32,
    /// Of these, TCP ports.
    pub max_tcp_ports: u32,
    /// Of these, UDP ports.
    pub max_udp_ports: u32,
    /// Of these, ICMP query ids.
    pub max_icmp_ids: u32,
}

impl From<SubscriberLimits> for Limits {
    fn from(limits: SubscriberLimits) -> Self {
        Self {
            max_sessions: limits.max_sessions,
            max_session_rate: limits.max_session_rate,
            max_ports: limits.max_ports,
            max_tcp_ports: limits.max_tcp_ports,
            max_udp_ports: limits.max_udp_ports,
            max_icmp_ids: limits.max_icmp_ids,
        }
    }
}

/// Everything about one inside address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SubscriberDetail {
    /// The subscriber, once for every service set it is in, with its limits.
    pub subscribers: Vec<Subscriber>,
    /// Its port blocks; at most `limit`.
    pub blocks: Vec<Block>,
    /// The first page of its sessions; `next` goes on in `/v1/sessions?inside-address=...`.
    pub sessions: Page<Session>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_go_by_name_or_number() {
        assert_eq!(protocol_name(6), "tcp");
        assert_eq!(protocol_name(99), "99");
        for n in 0..=255u8 {
            assert_eq!(protocol_number(&protocol_name(n)), Some(n));
        }
        assert_eq!(protocol_number("17"), Some(17));
        assert_eq!(protocol_number("256"), None);
        assert_eq!(protocol_number("TCP?"), None);
    }
}
