//! What an operator can see of the tables: questions that a worker answers between two bursts, and the rows it answers with.
//!
//! A query is a boxed piece of work: the control side allocates it with room for the rows, sends it to a worker, and gets
//! it back filled. The worker walks a bounded number of slots per burst and never allocates.

use std::net::IpAddr;

use crate::program::policy::PolicyKey;
use crate::program::{PolicyAction, PolicyId, PoolId, ServiceSetId};
use crate::session::Direction;

/// State of a session as shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Not TCP: packets have been seen.
    Active,
    /// TCP: a SYN left from inside and was not answered yet.
    OpeningInside,
    /// TCP: a SYN came from outside and was not answered yet.
    OpeningOutside,
    /// TCP: both SYNs seen.
    Established,
    /// TCP: FIN seen from inside.
    FinInside,
    /// TCP: FIN seen from outside.
    FinOutside,
    /// TCP: both FINs seen, or a RST (RFC 6146 "TRANS").
    Closing,
}

impl SessionState {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::OpeningInside => "opening-inside",
            Self::OpeningOutside => "opening-outside",
            Self::Established => "established",
            Self::FinInside => "fin-inside",
            Self::FinOutside => "fin-outside",
            Self::Closing => "closing",
        }
    }
}

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Worker that owns it.
    pub worker: u8,
    /// Service set.
    pub service_set: ServiceSetId,
    /// IP protocol number.
    pub protocol: u8,
    /// State.
    pub state: SessionState,
    /// The first packet came from outside (endpoint-independent filtering, static mappings).
    pub initiated_outside: bool,
    /// Inside address, as the subscriber has it.
    pub inside: IpAddr,
    /// Inside port or ICMP id; 0 for protocols without ports.
    pub inside_port: u16,
    /// Public address.
    pub public: IpAddr,
    /// Public port or ICMP id.
    pub public_port: u16,
    /// Outside address, as the subscriber addresses it.
    pub outside: IpAddr,
    /// Outside port.
    pub outside_port: u16,
    /// Outside address, as it is: of NAT64 the IPv4 one, of twice NAT the translated one.
    pub remote: IpAddr,
    /// Pool of the public address.
    pub pool: PoolId,
    /// Number of the NAT term that made it.
    pub term: u16,
    /// Policy that let it begin, or `NONE`.
    pub policy: PolicyId,
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

/// A session begun or refused by a policy that logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEvent {
    /// Service set.
    pub service_set: ServiceSetId,
    /// The policy.
    pub policy: PolicyId,
    /// What it did.
    pub action: PolicyAction,
    /// Which way the first packet went.
    pub direction: Direction,
    /// What it looked like to the policy.
    pub key: PolicyKey,
}

/// What decides about a first packet in a firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decider {
    /// The default of a service set's direction, which no policy matched and nothing else had let in.
    Default(ServiceSetId, Direction),
    /// A policy.
    Policy(PolicyId),
}

/// One endpoint-independent mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingView {
    /// Worker that owns it.
    pub worker: u8,
    /// Service set.
    pub service_set: ServiceSetId,
    /// IP protocol number.
    pub protocol: u8,
    /// Inside address.
    pub inside: IpAddr,
    /// Inside port or ICMP id.
    pub inside_port: u16,
    /// Public address.
    pub public: IpAddr,
    /// Public port or ICMP id.
    pub public_port: u16,
    /// Pool.
    pub pool: PoolId,
    /// Sessions that use it.
    pub sessions: u32,
}

/// One port block in a subscriber's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Worker that owns it.
    pub worker: u8,
    /// Pool.
    pub pool: PoolId,
    /// Service set of the subscriber.
    pub service_set: ServiceSetId,
    /// The subscriber.
    pub subscriber: IpAddr,
    /// Public address.
    pub public: IpAddr,
    /// First port.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
    /// Ports of it in use, all protocols.
    pub used: u32,
    /// New sessions take ports here.
    pub active: bool,
    /// Seconds since it was given out.
    pub age_s: u32,
}

/// One subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriberView {
    /// Worker that owns it.
    pub worker: u8,
    /// Service set.
    pub service_set: ServiceSetId,
    /// Its inside address (an IPv6 prefix's first address).
    pub address: IpAddr,
    /// Its paired public address, if any.
    pub public: Option<IpAddr>,
    /// Pool of that.
    pub pool: PoolId,
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
}

/// Use of one pool on one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Pool.
    pub pool: PoolId,
    /// Public TCP ports in use.
    pub tcp_ports: u64,
    /// Public UDP ports in use.
    pub udp_ports: u64,
    /// Public ICMP ids in use.
    pub icmp_ids: u64,
    /// Extents of 4096 ports owned by this worker.
    pub extents: u64,
    /// Port blocks given out.
    pub blocks: u64,
    /// Subscribers paired with an address of it.
    pub subscribers: u64,
    /// Allocations refused because nothing was free.
    pub refused: u64,
}

impl PoolUse {
    /// The use of the same pool here and there.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            pool: self.pool,
            tcp_ports: self.tcp_ports + other.tcp_ports,
            udp_ports: self.udp_ports + other.udp_ports,
            icmp_ids: self.icmp_ids + other.icmp_ids,
            extents: self.extents + other.extents,
            blocks: self.blocks + other.blocks,
            subscribers: self.subscribers + other.subscribers,
            refused: self.refused + other.refused,
        }
    }
}

/// Which rows are wanted. `None` matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Service set.
    pub service_set: Option<ServiceSetId>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Inside address; of an IPv6 subscriber any of its prefix.
    pub inside: Option<IpAddr>,
    /// How many first bits of `inside` count, of IPv4 0..=32, of IPv6 0..=128; `None` is all.
    pub inside_bits: Option<u8>,
    /// Inside port.
    pub inside_port: Option<u16>,
    /// Public address.
    pub public: Option<IpAddr>,
    /// Public port (for blocks: a port inside the block).
    pub public_port: Option<u16>,
    /// Outside address.
    pub outside: Option<IpAddr>,
    /// Outside port.
    pub outside_port: Option<u16>,
    /// Pool.
    pub pool: Option<PoolId>,
}

/// What is asked of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Sessions that match.
    Sessions,
    /// Mappings that match (outside fields are ignored).
    Mappings,
    /// Port blocks that match.
    Blocks,
    /// Subscribers that match (inside address, service set, pool, public address).
    Subscribers,
    /// End the sessions that match; counts them.
    ClearSessions,
    /// Only count the sessions that match.
    CountSessions,
    /// End the sessions that match and that the policies in force now would not let begin; counts them.
    Reevaluate,
    /// What decided about first packets, defaults before policies; the filter is ignored.
    Policies,
}

/// Rows of an answer: the one vector that belongs to [`Ask`] is filled, up to the capacity it came with.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Sessions.
    pub sessions: Vec<SessionView>,
    /// Mappings.
    pub mappings: Vec<MappingView>,
    /// Blocks.
    pub blocks: Vec<BlockView>,
    /// Subscribers.
    pub subscribers: Vec<SubscriberView>,
    /// Defaults and policies, and the first packets each decided about.
    pub policies: Vec<(Decider, u64)>,
}

/// A question and its answer.
#[derive(Clone, Debug)]
pub struct Query {
    /// What.
    pub ask: Ask,
    /// Which.
    pub filter: Filter,
    /// Slot to go on from: 0 at first, then what the last answer left here. Paging goes by slots, so a page stays
    /// cheap however far into the table it lies.
    pub cursor: u32,
    /// The answer is full, or the table's end was reached.
    pub done: bool,
    /// The table's end was reached: no further page.
    pub end: bool,
    /// Matching rows seen (or sessions ended, for [`Ask::ClearSessions`]).
    pub matched: u64,
    /// The rows.
    pub rows: Rows,
}

impl Query {
    /// A query with room for `limit` rows.
    #[must_use]
    pub fn new(ask: Ask, filter: Filter, cursor: u32, limit: usize) -> Self {
        let mut rows = Rows::default();
        match ask {
            Ask::Sessions => rows.sessions.reserve_exact(limit),
            Ask::Mappings => rows.mappings.reserve_exact(limit),
            Ask::Blocks => rows.blocks.reserve_exact(limit),
            Ask::Subscribers => rows.subscribers.reserve_exact(limit),
            Ask::Policies => rows.policies.reserve_exact(limit),
            Ask::ClearSessions | Ask::CountSessions | Ask::Reevaluate => {}
        }
        Self {
            ask,
            filter,
            cursor,
            done: false,
            end: false,
            matched: 0,
            rows,
        }
    }
}
