//! What the engine is handed: packets, a description of each, and a router; and what it says about each: a verdict.

use tandem_wire::l4::{Ipv4Meta, L4};
use tandem_wire::{icmp6, tcp};

pub use tandem_wire::packet::Packet;

use crate::drop_reason::DropReason;
use crate::index::Place;
use crate::program::{InterfaceId, NONE, ServiceSetId};
use crate::session::{Direction, NO_NEXT_HOP, NO_RECORD, Tuple4};

/// What a route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Out of an interface, with its MTU.
    Forward {
        /// Egress interface.
        interface: InterfaceId,
        /// Its MTU, IP header included.
        mtu: u16,
    },
    /// To this box, or over a device that is not ours: the kernel's.
    Kernel,
    /// No way; the reason says which.
    Drop(DropReason),
}

/// A route: a number that stays valid while the router's generation does, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Next-hop number, below [`NO_NEXT_HOP`].
    pub next_hop: u16,
    /// What it says.
    pub kind: RouteKind,
}

/// Routes, as the engine needs them. Look-ups are on the packet way: no lock, no allocation.
pub trait Router {
    /// Changes whenever a cached next-hop number may have become wrong.
    fn generation(&self) -> u32;
    /// The route for a destination; `hash` picks among equal ones.
    fn route(&self, destination: u32, hash: u32) -> Route;
    /// The route for an IPv6 destination. Next-hop numbers of both families are of one kind.
    fn route6(&self, destination: u128, hash: u32) -> Route;
    /// What a next-hop number says, for one obtained in this generation.
    fn next_hop(&self, number: u16) -> RouteKind;
}

/// What the sender of a packet is told: an ICMP error of the packet's family, or a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// Time exceeded in transit: 11/0, ICMPv6 3/0.
    TimeExceeded,
    /// Destination unreachable, 3 (ICMPv6: 1) with this code of the packet's family.
    Unreachable(u8),
    /// Too big for the next hop, with the largest length the sender may use: 3/4, ICMPv6 2/0.
    FragmentationNeeded(u16),
    /// Parameter problem, erroneous header field, with the pointer to it: 12/0, ICMPv6 4/0.
    ParameterProblem(u16),
    /// A TCP reset for a segment, ICMP administratively prohibited for anything else.
    Reset,
}

impl Answer {
    /// What a sender is told when a route says no. RFC 1812 section 5.2.7.1.
    #[must_use]
    pub const fn to_route(reason: DropReason) -> Self {
        match reason {
            DropReason::NoRoute => Self::Unreachable(0),
            DropReason::RouteUnreachable => Self::Unreachable(1),
            DropReason::RouteProhibited => Self::Unreachable(13),
            _ => Self::None,
        }
    }

    /// The same about an IPv6 packet. RFC 4443 section 3.1.
    #[must_use]
    pub const fn to_route6(reason: DropReason) -> Self {
        match reason {
            DropReason::NoRoute => Self::Unreachable(icmp6::CODE_NO_ROUTE),
            DropReason::RouteUnreachable => Self::Unreachable(icmp6::CODE_ADDRESS),
            DropReason::RouteProhibited => Self::Unreachable(icmp6::CODE_ADMIN_PROHIBITED),
            _ => Self::None,
        }
    }
}

/// What shall happen to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet: what a packet comes in with.
    Pending,
    /// Translated, perhaps to the other family; TTL already decremented. Send it to the description's `next_hop`.
    Forward,
    /// The same, in fragments of at most this many octets: an IPv6 packet that has a fragment header. RFC 7915 section 4.1.
    ForwardFragmented(u16),
    /// Translated, and its destination is one of our public addresses: it comes back as a packet from outside
    /// (hairpinning, RFC 4787 REQ-9). TTL already decremented.
    Hairpin,
    /// No service set's business: route it by its destination.
    Route,
    /// The kernel's.
    Kernel,
    /// Keep it for up to 6 s: a SYN from outside that may turn out to be one half of a simultaneous open (RFC 5382 REQ-4).
    HoldSyn,
    /// The other chassis is primary of this service set: forward it there as it came, which it still is, or drop it.
    NotPrimary(ServiceSetId),
    /// Drop it, count it, and answer its sender.
    Drop(DropReason, Answer),
}

/// A packet's side of a service set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Came in on an inside interface.
    Inside(ServiceSetId),
    /// Came in on an outside interface, or by hairpinning.
    Outside,
    /// No service set has that interface.
    Neither,
}

/// All that is known about a packet on its way through.
#[derive(Clone, Copy, Debug)]
#[repr(C)] // What is constant at first lies together, so that it is written at once.
pub struct Desc {
    /// Its parse.
    pub meta: Ipv4Meta,
    /// Ports to look up by; for later fragments those of the first one.
    pub sport: u16,
    /// Destination port likewise.
    pub dport: u16,
    /// The side its interface is on.
    pub side: Side,
    /// Interface it came in on; [`NONE`] after hairpinning.
    pub interface: InterfaceId,
    /// Next hop, when the verdict is [`Verdict::Forward`].
    pub next_hop: u16,
    pub(crate) candidate: u32,
    pub(crate) place: Place,
    /// What to do.
    pub verdict: Verdict,
    /// Already went round by hairpinning.
    pub hairpinned: bool,
    pub(crate) shape: Shape,
    /// Its service set translates it without a session.
    pub(crate) stateless: bool,
}

/// What can be seen of a packet before its session is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Anything.
    General,
    /// A whole UDP packet without IP options.
    Udp,
    /// A whole TCP packet without IP options, and without SYN, FIN or RST.
    QuietTcp,
}

impl Desc {
    /// A packet just parsed. Sides are the program's; see [`crate::program::Program`].
    #[inline]
    #[must_use]
    pub fn new(meta: Ipv4Meta, interface: InterfaceId, side: Side) -> Self {
        let (sport, dport) = (meta.sport(), meta.dport());
        Self {
            meta,
            sport,
            dport,
            interface,
            next_hop: NO_NEXT_HOP,
            side,
            verdict: Verdict::Pending,
            hairpinned: false,
            shape: Shape::General,
            stateless: false,
            place: Place::NOWHERE,
            candidate: NO_RECORD,
        }
    }

    /// A packet that [`tandem_wire::l4::parse_plain`] parsed: with its shape, which saves the engine a look.
    #[inline(always)]
    #[must_use]
    pub fn plain(meta: Ipv4Meta, interface: InterfaceId, side: Side) -> Self {
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

    /// The same packet, looked up by other ports than its own: a later fragment's are its first one's.
    #[inline]
    #[must_use]
    pub fn with_ports(mut self, sport: u16, dport: u16) -> Self {
        (self.sport, self.dport) = (sport, dport);
        self
    }

    /// The same packet as it comes back from outside after hairpinning: `meta` is its new parse.
    #[must_use]
    pub fn hairpin(meta: Ipv4Meta, sport: u16, dport: u16) -> Self {
        Self {
            sport,
            dport,
            hairpinned: true,
            ..Self::new(meta, NONE, Side::Outside)
        }
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
        self.meta.src ^ (self.sport as u32) << 16 ^ self.dport as u32
    }

    /// What its session is found by: of an ICMP query the identifier is the port of the inside (or public) end.
    #[inline(always)]
    #[must_use]
    pub const fn tuple(&self) -> Tuple4 {
        let (mut sport, mut dport) = (self.sport, self.dport);
        if self.is_icmp_query() {
            match self.direction() {
                Direction::Out => dport = 0,
                Direction::In => sport = 0,
            }
        }
        Tuple4 {
            src: self.meta.src,
            dst: self.meta.dst,
            sport,
            dport,
        }
    }

    /// Whether the packet is an ICMP query or a later fragment of one.
    #[inline]
    #[must_use]
    pub const fn is_icmp_query(&self) -> bool {
        self.meta.proto == tandem_wire::ipv4::ICMP
            && matches!(self.meta.l4, L4::IcmpQuery { .. } | L4::LaterFragment)
    }
}

/// Sides of interfaces, by interface id: the program's, laid out for the packet way.
#[derive(Clone, Debug, Default)]
pub struct Sides(Vec<Side>);

impl Sides {
    /// The sides of a program's interfaces.
    #[must_use]
    pub fn of(program: &crate::program::Program) -> Self {
        let mut sides = Vec::new();
        for interface in &program.interfaces {
            let at = usize::from(interface.id);
            if sides.len() <= at {
                sides.resize(at + 1, Side::Neither);
            }
            sides[at] = if interface.inside_of != NONE {
                Side::Inside(interface.inside_of)
            } else if interface.outside_of.is_empty() {
                Side::Neither
            } else {
                Side::Outside
            };
        }
        Self(sides)
    }

    /// The side of an interface.
    #[inline]
    #[must_use]
    pub fn side(&self, interface: InterfaceId) -> Side {
        self.0
            .get(usize::from(interface))
            .copied()
            .unwrap_or(Side::Neither)
    }
}
