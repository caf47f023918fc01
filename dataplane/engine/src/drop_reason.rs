//! Why a packet ended here: one closed list, each with a counter of that name in the API, the CLI and the metrics.
//!
//! Parse errors have their own list in the wire crate and are counted beside these.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            /// All reasons, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The counter's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, for people.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The packet came from inside for outside, and no NAT term of its service set matches it.
    NatNoRuleMatch = "nat-no-rule-match",
    /// No free port on the subscriber's address (paired) or on any address of the pool.
    NatOutOfPorts = "nat-out-of-ports",
    /// Ports are free, but may not be given out yet: their lease waits for the other chassis' acknowledgment, or they rest after
    /// a takeover, because the other chassis may have given them out without a word. Redundancy spec, section 2.
    NatLeaseWait = "nat-lease-wait",
    /// The pool has no address that may be given out (all drained, or none left for this worker).
    NatOutOfAddresses = "nat-out-of-addresses",
    /// Another session already uses this public address, protocol and outside address (protocols without ports).
    NatAddressOnlyConflict = "nat-address-only-conflict",
    /// The table of sessions without ports, which all workers share, has no room for another (protocols without ports).
    NatAddressOnlyFull = "nat-address-only-full",
    /// A firewall policy says deny.
    FirewallDenied = "firewall-denied",
    /// A firewall policy says reject: the sender was told where that is allowed.
    FirewallRejected = "firewall-rejected",
    /// No firewall policy matches, and the default of the direction is to refuse.
    FirewallDefault = "firewall-default",
    /// The session would look from outside like one there is already (untranslated, static).
    SessionConflict = "session-conflict",
    /// From inside with a source address in a NAT64 prefix: a loop. RFC 6146 section 3.5.
    Nat64SourceInPrefix = "nat64-source-in-prefix",
    /// To an IPv4 address in a NAT64 prefix that no packet may have (loopback, multicast, 0/8, class E).
    Nat64IllegalAddress = "nat64-illegal-address",
    /// To a private IPv4 address in the well-known NAT64 prefix. RFC 6052 section 3.1.
    Nat64NonGlobal = "nat64-non-global",
    /// Its protocol cannot be translated between families. RFC 6146 section 3.5.
    NatUnsupportedProtocol = "nat-unsupported-protocol",
    /// An IPv4 UDP packet without a checksum, for IPv6, which cannot be given one: a fragment, or so configured. RFC 7915
    /// section 4.5.
    UdpZeroChecksum = "udp-zero-checksum",
    /// An IPv4 source route, which cannot be translated; ICMP source route failed was sent where allowed. RFC 7915 section 4.1.
    SourceRoute = "source-route",
    /// An IPv6 routing header with segments left, which cannot be translated (a parameter problem was sent where allowed, RFC
    /// 7915 section 5.1), nor pass a firewall, which does not know where it ends.
    RoutingHeader = "routing-header",
    /// A packet that RFC 7915 gives no translation for: an ICMP type without counterpart, an error about an error.
    Untranslatable = "untranslatable",
    /// Stateless translation has no mapping for an address of the packet. RFC 7915 section 1.1.
    StatelessNoMapping = "stateless-no-mapping",
    /// For stateless translation between families, from or to an address that no packet may have on a wire (loopback,
    /// multicast, 0/8, class E, link-local). RFC 7915 sections 4.1 and 5.1.
    StatelessIllegalAddress = "stateless-illegal-address",
    /// A TCP segment outside the windows both ends agreed on (window tracking).
    TcpOutOfWindow = "tcp-out-of-window",
    /// The subscriber has as many sessions as it may have.
    SubscriberSessionLimit = "subscriber-session-limit",
    /// The subscriber opens sessions faster than it may.
    SubscriberSessionRate = "subscriber-session-rate",
    /// The subscriber has as many public ports as it may have.
    SubscriberPortLimit = "subscriber-port-limit",
    /// The subscriber's port blocks are full and it has as many as it may have.
    SubscriberBlockLimit = "subscriber-block-limit",
    /// The session table is full.
    SessionTableFull = "session-table-full",
    /// The session index found no room near the key's home bucket.
    SessionIndexFull = "session-index-full",
    /// The mapping table is full.
    MappingTableFull = "mapping-table-full",
    /// The subscriber table is full.
    SubscriberTableFull = "subscriber-table-full",
    /// The port block table is full.
    BlockTableFull = "block-table-full",
    /// The other chassis is primary of the service set: packets shall go there, and are not forwarded there from here.
    NotPrimary = "not-primary",
    /// The service set is being handed over to the other chassis, and only what sessions have passes here still: the packet would
    /// begin one, or move a TCP connection's state. Sent again, it goes there.
    Draining = "draining",
    /// Forwarded by the other chassis over the HA data link, and this one is not primary of its service set, either: no packet
    /// crosses the link twice.
    ForwardedNotPrimary = "forwarded-not-primary",
    /// For the HA data link's port, but not from the other chassis' address.
    ForwardedByStranger = "forwarded-by-stranger",
    /// Forwarded by the other chassis with a header of another version, or with one that contradicts itself.
    ForwardedMalformed = "forwarded-malformed",
    /// Forwarded by the other chassis for a service set that is not there, or is of another redundancy set, here.
    ForwardedUnknownSet = "forwarded-unknown-set",
    /// For the other chassis, but too large for the HA data link.
    ForwardTooLarge = "forward-too-large",
    /// From outside to a pool address and port that nobody has mapped.
    NoMapping = "no-mapping",
    /// From outside to a mapping that has not sent to this address (and port): the filtering policy refuses it.
    Filtered = "filtered",
    /// A TCP segment that is not a SYN and belongs to no session.
    TcpNonSyn = "tcp-non-syn",
    /// A TCP SYN from outside was held for a simultaneous open that did not come. RFC 5382 REQ-4.
    TcpUnsolicitedSyn = "tcp-unsolicited-syn",
    /// A SYN from outside could not be held: the bounded store is full.
    TcpUnsolicitedFull = "tcp-unsolicited-full",
    /// An ICMP error about a packet of no session. RFC 5508 REQ-4.
    IcmpErrorNoSession = "icmp-error-no-session",
    /// An ICMP error whose own checksum is wrong. RFC 5508 REQ-3.
    IcmpErrorBadChecksum = "icmp-error-bad-checksum",
    /// An ICMP error whose embedded packet is unusable. RFC 5508 REQ-3a.
    IcmpErrorBadEmbedded = "icmp-error-bad-embedded",
    /// An ICMP message that is neither query nor error, or a reply nobody asked for. RFC 5508 REQ-11.
    IcmpUnsupported = "icmp-unsupported",
    /// TTL reached zero; ICMP time exceeded was sent where allowed.
    TtlExpired = "ttl-expired",
    /// A fragment could not be tracked: the reassembly table is full.
    FragmentTableFull = "fragment-table-full",
    /// A fragment could not wait for its first fragment: the store is full.
    FragmentStoreFull = "fragment-store-full",
    /// A fragment waited for its first fragment, which did not come in time.
    FragmentTimeout = "fragment-timeout",
    /// A fragment overlaps another of its packet, or contradicts it.
    FragmentOverlap = "fragment-overlap",
    /// A datagram came in more fragments than are tracked.
    FragmentTooMany = "fragment-too-many",
    /// A fragment of an ICMP error, which can be neither verified nor translated in parts. RFC 5508 REQ-3.
    FragmentOfIcmpError = "fragment-of-icmp-error",
    /// A packet from inside went round by hairpinning more than once.
    HairpinLoop = "hairpin-loop",
    /// The IPv4 header checksum is wrong.
    Ipv4BadChecksum = "ipv4-bad-checksum",
    /// The frame holds more segments than the worker takes, or its first segment ends inside the headers.
    FrameNotContiguous = "frame-not-contiguous",
    /// A source address no packet may have (multicast, broadcast, loopback, zero), or, from inside, a public one of ours.
    MartianSource = "martian-source",
    /// No route to the destination; ICMP net unreachable was sent where allowed.
    NoRoute = "no-route",
    /// The route says blackhole.
    RouteBlackhole = "route-blackhole",
    /// The route says unreachable.
    RouteUnreachable = "route-unreachable",
    /// The route says prohibited.
    RouteProhibited = "route-prohibited",
    /// The next hop did not answer ARP or ND in time; ICMP host unreachable was sent where allowed.
    NeighbourUnresolved = "neighbour-unresolved",
    /// Too many packets wait for unresolved next hops.
    NeighbourQueueFull = "neighbour-queue-full",
    /// Larger than the egress MTU with DF set; ICMP fragmentation needed was sent where allowed.
    MtuExceeded = "mtu-exceeded",
    /// Larger than the egress MTU and could not be fragmented.
    FragmentationFailed = "fragmentation-failed",
    /// The port's transmit queue stayed full.
    TxFull = "tx-full",
    /// The egress port is down.
    PortDown = "port-down",
    /// The ring to the owning worker is full.
    HandoverFull = "handover-full",
    /// The ring to the kernel mirror is full.
    PuntFull = "punt-full",
    /// The packet for the kernel mirror is larger than it takes, or the mirror refused it.
    PuntFailed = "punt-failed",
    /// No packet buffer was left for a packet of our own or a copy.
    NoBuffer = "no-buffer",
    /// A VLAN tag no interface has.
    VlanUnknown = "vlan-unknown",
    /// Received by a member of a redundant interface that is not the active one: the same frame may have come by that one, too.
    MemberNotActive = "member-not-active",
    /// A frame for another station (unicast destination MAC that is not ours).
    NotForUs = "not-for-us",
    /// The worker stopped with the packet still in hand.
    Stopping = "stopping",
}

/// Counts by reason.
#[derive(Clone, Debug)]
pub struct DropCounts(pub [u64; DropReason::COUNT]);

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; DropReason::COUNT])
    }
}

impl DropCounts {
    /// Counts one packet.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Packets counted under `reason`.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        assert!(names.iter().all(|n| {
            n.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        }));
        assert!(DropReason::ALL.iter().enumerate().all(|(i, r)| *r as usize == i));
    }
}
