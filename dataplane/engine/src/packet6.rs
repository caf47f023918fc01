//! The description of an IPv6 packet: what [`crate::packet::Desc`] is for IPv4.

use tandem_wire::l4::L4;
use tandem_wire::meta6::Ipv6Meta;
use tandem_wire::{ipv4, tcp};

use crate::index::Place;
use crate::packet::{Shape, Side, Verdict};
use crate::program::{InterfaceId, PrefixId};
use crate::session::{Direction, Key66, NO_NEXT_HOP, NO_RECORD};

/// What kind of session a packet belongs to, as far as its addresses say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Not looked at yet.
    Unknown,
    /// IPv6 on both sides; the key its session is found by.
    Six(Key66),
    /// From inside to an IPv4 address in a NAT64 prefix.
    Four {
        /// Id of the prefix.
        prefix: PrefixId,
        /// The address.
        address: u32,
    },
    /// Translated without a session.
    Stateless,
}

/// All that is known about an IPv6 packet on its way through.
#[derive(Clone, Copy, Debug)]
pub struct Desc6 {
    /// Its parse.
    pub meta: Ipv6Meta,
    /// Ports to look up by; for later fragments those of the first one.
    pub sport: u16,
    /// Destination port likewise.
    pub dport: u16,
    /// The side its interface is on.
    pub side: Side,
    /// Interface it came in on.
    pub interface: InterfaceId,
    /// Next hop, when the verdict is [`Verdict::Forward`].
    pub next_hop: u16,
    pub(crate) candidate: u32,
    pub(crate) place: Place,
    pub(crate) target: Target,
    /// What to do.
    pub verdict: Verdict,
    pub(crate) shape: Shape,
}

impl Desc6 {
    /// A packet just parsed.
    #[inline]
    #[must_use]
    pub fn new(meta: Ipv6Meta, interface: InterfaceId, side: Side) -> Self {
        let (sport, dport) = (meta.sport(), meta.dport());
        Self {
            meta,
            sport,
            dport,
            side,
            interface,
            next_hop: NO_NEXT_HOP,
            candidate: NO_RECORD,
            place: Place::NOWHERE,
            target: Target::Unknown,
            verdict: Verdict::Pending,
            shape: Shape::General,
        }
    }

    /// A packet that [`tandem_wire::parse6::parse_plain_ipv6`] parsed: with its shape, which saves the engine a look.
    #[inline(always)]
    #[must_use]
    pub fn plain(meta: Ipv6Meta, interface: InterfaceId, side: Side) -> Self {
        let shape = match meta.l4 {
            L4::Udp { .. } => Shape::Udp,
            L4::Tcp { flags, .. } if flags & (tcp::SYN | tcp::FIN | tcp::RST) == 0 => Shape::QuietTcp,
            _ => Shape::General,
        };
        Self {
            shape,
            ..Self::new(meta, interface, side)
        }
    }

    /// The same packet, looked up by what its datagram's first fragment said: ports and protocol.
    #[inline]
    #[must_use]
    pub fn with_first_fragment(mut self, sport: u16, dport: u16, protocol: u8) -> Self {
        (self.sport, self.dport) = (sport, dport);
        self.meta.proto = protocol;
        self
    }

    /// Direction, for a side of a service set.
    #[inline]
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self.side {
            Side::Inside(_) => Direction::Out,
            Side::Outside | Side::Neither => Direction::In,
        }
    }

    /// What picks among equal routes: the same for all packets of a flow.
    #[inline]
    #[must_use]
    pub const fn flow_hash(&self) -> u32 {
        let folded = self.meta.src ^ self.meta.src >> 64;
        (folded ^ folded >> 32) as u32 ^ (self.sport as u32) << 16 ^ self.dport as u32
    }

    /// Whether the packet is an ICMPv6 echo or a later fragment of one.
    #[inline]
    #[must_use]
    pub const fn is_echo(&self) -> bool {
        self.meta.proto == ipv4::ICMPV6 && matches!(self.meta.l4, L4::IcmpQuery { .. } | L4::LaterFragment)
    }

    /// Ports as a session has them, source and destination: of an ICMP echo the identifier is the port of the inside end.
    #[inline(always)]
    #[must_use]
    pub const fn ports(&self) -> (u16, u16) {
        if self.is_echo() {
            return match self.direction() {
                Direction::Out => (self.sport, 0),
                Direction::In => (0, self.dport),
            };
        }
        (self.sport, self.dport)
    }
}
