//! Service sets: what is bound to inside and outside interfaces, and how its sessions behave: timeouts, limits, TCP, answers.

use super::ServiceSetId;
use super::policy::Firewall;
use super::term::NatTerm;
use super::translation::{Ipv6Options, Stateless};
use crate::replica::Replication;
use crate::ticks::Ticks;

/// A service set: NAT rules bound to inside and outside interfaces (next-hop style).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSet {
    /// Its id.
    pub id: ServiceSetId,
    /// Its name in the config.
    pub name: String,
    /// NAT terms in order; the first that matches decides.
    pub terms: Vec<NatTerm>,
    /// Idle timeouts.
    pub timeouts: Timeouts,
    /// Limits of one subscriber.
    pub limits: SubscriberLimits,
    /// TCP behaviour.
    pub tcp: TcpOptions,
    /// Which packets keep a UDP, ICMP or other session alive. RFC 4787 REQ-6.
    pub refresh: RefreshDirection,
    /// What is told to a sender whose packet found no port, address or table room. RFC 6888 REQ-11, RFC 5508 REQ-8.
    pub on_refusal: RefusalAnswer,
    /// What an unsolicited packet from outside gets. RFC 5382 REQ-4.
    pub on_unsolicited: UnsolicitedAnswer,
    /// IPv6 and NAT64.
    pub ipv6: Ipv6Options,
    /// Its policies. Without a firewall, sessions from inside may begin, those from outside where mappings let them.
    pub firewall: Option<Firewall>,
    /// Translation without sessions. A service set has either this or terms, static mappings and IPv4 policies.
    pub stateless: Vec<Stateless>,
    /// What of it the other chassis is told.
    pub replication: Replication,
}

/// Idle timeouts of a service set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established. RFC 5382 REQ-5: at least 2 h 4 min.
    pub tcp_established: Ticks,
    /// TCP, opening (first SYN seen). RFC 7857 section 2.2: 4 min by default.
    pub tcp_opening: Ticks,
    /// TCP, closing (both FINs seen, or RST). RFC 7857 section 2.2: 4 min by default.
    pub tcp_closing: Ticks,
    /// UDP. RFC 4787 REQ-5: at least 2 min, 5 min by default.
    pub udp: Ticks,
    /// UDP whose outside port is below 1024. RFC 4787 REQ-5a: may be shorter.
    pub udp_well_known: Ticks,
    /// ICMP queries. RFC 5508 REQ-2: at least 60 s.
    pub icmp: Ticks,
    /// Other protocols, translated by address only.
    pub other: Ticks,
}

/// Limits of one subscriber; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriberLimits {
    /// Sessions at once. RFC 6888 REQ-5.
    pub max_sessions: u32,
    /// New sessions per second (token bucket of one second). RFC 6888 REQ-4C, REQ-5.
    pub max_session_rate: u32,
    /// Public ports and ICMP ids at once, all protocols. RFC 6888 REQ-4A.
    pub max_ports: u32,
    /// Of these, TCP ports. RFC 6888 REQ-4B.
    pub max_tcp_ports: u32,
    /// Of these, UDP ports.
    pub max_udp_ports: u32,
    /// Of these, ICMP query ids.
    pub max_icmp_ids: u32,
}

/// TCP behaviour of a service set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// A session may start with a segment that has ACK, but neither SYN nor RST (after a restart, or asymmetric paths).
    /// Default no.
    pub accept_non_syn: bool,
    /// Segments whose sequence numbers lie outside the windows both ends agreed on are dropped. Default no.
    pub track_window: bool,
    /// Clamp the MSS of SYNs to this many bytes; 0 leaves them alone. 0 or 536..=9000.
    pub mss_clamp: u16,
}

/// Which direction's packets keep a non-TCP session alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshDirection {
    /// Only packets from inside (default; RFC 4787 REQ-6 requires these, RFC 7857 section 7 advises against the others).
    Outbound,
    /// Packets of both directions.
    Both,
}

/// What the sender of a refused first packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalAnswer {
    /// Nothing.
    Silent,
    /// ICMP destination unreachable, host unreachable (3/1): RFC 6888 REQ-11B. Default.
    HostUnreachable,
    /// ICMP destination unreachable, administratively prohibited (3/13): RFC 5508 REQ-8.
    AdminProhibited,
}

/// What the sender of an unsolicited packet from outside is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsolicitedAnswer {
    /// Nothing (default).
    Silent,
    /// For a TCP SYN: hold it 6 s; if no SYN of the same tuple leaves meanwhile, ICMP port unreachable (3/3). RFC 5382 REQ-4.
    HoldThenPortUnreachable,
}
