//! What is known of an IPv6 packet after its one parse: addresses, where the upper layer starts, what it says.

use crate::l4::{Fragment, L4};

/// A parsed IPv6 packet. Numbers are in host order.
///
/// ICMPv6 is told in the terms of [`L4`]: echo request and reply are `IcmpQuery`, types below 128 `IcmpError`, all others
/// (neighbour discovery among them) `IcmpOther`. Ports of protocols without them are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv6Meta {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// The upper layer's header.
    pub l4: L4,
    /// Where the upper layer's header (or a later fragment's payload) starts: 40 or more.
    pub l4_offset: u16,
    /// Octets of the packet, fixed header included.
    pub total_len: u16,
    /// Offset of this fragment in octets; 0 for whole packets.
    pub fragment_offset: u16,
    /// Where the fragment header starts; 0 when there is none.
    pub fragment_header: u16,
    /// Identification of its fragment header, or 0.
    pub fragment_id: u32,
    /// Whether it is whole, a first or a later fragment. An atomic fragment (RFC 6946) is whole, with a fragment header.
    pub fragment: Fragment,
    /// M flag.
    pub more_fragments: bool,
    /// Protocol number of the upper layer.
    pub proto: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Whether extension headers other than a fragment header stand between the fixed header and the upper layer.
    pub has_extensions: bool,
    /// Where the "segments left" octet of a routing header stands that is not zero, or 0. RFC 7915 section 5.1 wants an
    /// ICMPv6 parameter problem pointing there.
    pub segments_left_at: u16,
}

impl Ipv6Meta {
    /// Source port, or the identifier of an echo; 0 when there is none.
    #[inline(always)]
    #[must_use]
    pub const fn sport(&self) -> u16 {
        match self.l4 {
            L4::Tcp { sport, .. } | L4::Udp { sport, .. } => sport,
            L4::IcmpQuery { id, .. } => id,
            L4::IcmpError { .. } | L4::IcmpOther { .. } | L4::Other | L4::LaterFragment => 0,
        }
    }

    /// Destination port, or the identifier of an echo; 0 when there is none.
    #[inline(always)]
    #[must_use]
    pub const fn dport(&self) -> u16 {
        match self.l4 {
            L4::Tcp { dport, .. } | L4::Udp { dport, .. } => dport,
            _ => self.sport(),
        }
    }

    /// Octets from the upper layer's header to the packet's end.
    #[inline(always)]
    #[must_use]
    pub const fn payload_len(&self) -> u16 {
        self.total_len.saturating_sub(self.l4_offset)
    }
}
