//! Translation of packets between IPv4 and IPv6 (RFC 7915), in place: headers are replaced, checksums move along.
//!
//! ```text
//!   IPv6 40 | extension headers | L4 ...       <->       IPv4 20 | options | L4 ...
//!
//!   plain        whole TCP and UDP packets without extension headers or options: the fast way
//!   six_to_four  \ everything else but ICMP errors: fragments, extension headers, options, echoes, other protocols,
//!   four_to_six  / UDP without checksum
//!   icmp         ICMP errors and the packets in them
//! ```
//! Addresses come from the caller (sessions, or [`crate::siit`]); so do decisions about time to live and MTU: here the
//! hop limit or time to live is taken one off, and whoever calls has seen that it is above 1. A checksum that is wrong
//! stays wrong.

mod four_to_six;
mod header;
pub mod icmp;
mod legal;
pub mod plain;
mod six_to_four;
mod upper;

pub use crate::rewrite6::Endpoints6;
pub use four_to_six::{check_packet as check_four_to_six, four_to_six};
pub use icmp::{icmp_error_four_to_six, icmp_error_six_to_four};
pub use legal::{is_legal_source4, is_legal_source6};
pub use plain::{four_to_six_plain, six_to_four_plain};
pub use six_to_four::{check as check_six_to_four, six_to_four};

/// What a translator may choose, and the links on its two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Type of service and traffic class are copied; otherwise set to zero. RFC 7915 sections 4.1 and 5.1.
    pub copy_traffic_class: bool,
    /// A whole UDP datagram over IPv4 without checksum gets one; otherwise it is refused. RFC 7915 section 4.5.
    pub compute_udp_checksum: bool,
    /// MTU of the link towards IPv4 in octets, for ICMP errors that tell an MTU; 65535 when not known.
    pub mtu4: u16,
    /// MTU of the link towards IPv6 in octets, likewise.
    pub mtu6: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            copy_traffic_class: true,
            compute_udp_checksum: true,
            mtu4: u16::MAX,
            mtu6: u16::MAX,
        }
    }
}

/// Why a packet is not translated. Unless said otherwise nothing is sent back (RFC 7915 sections 4.2 and 5.2: "silently
/// drop"), and nothing ever about an ICMP error. The packet is as it was, except after `NoRoom` and `Malformed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XlatError {
    /// IPv4 with a source route that has not reached its end: answer with ICMPv4 type 3 code 5. RFC 7915 section 4.1.
    SourceRoute,
    /// IPv6 with a routing header whose segments left are not zero: answer with ICMPv6 type 4 code 0 and this pointer. RFC
    /// 7915 section 5.1.
    SegmentsLeft {
        /// Where the field stands in the IPv6 packet.
        pointer: u16,
    },
    /// UDP over IPv4 without checksum, a fragment or not to be computed. RFC 7915 section 4.5.
    UdpNoChecksum,
    /// A fragment of an ICMP message, whose pseudo header nobody knows. RFC 7915 section 1.2.
    FragmentedIcmp,
    /// An ICMP type or code, or the field a parameter problem points to, without a counterpart. RFC 7915 sections 4.2, 5.2.
    IcmpType,
    /// A protocol number without a counterpart.
    Protocol,
    /// A first fragment with extension headers behind its fragment header: without them, the later ones would not fit.
    ExtensionInFragment,
    /// A fragment whose end an IPv4 datagram cannot have: its header counts among the 65535 octets, an IPv6 one does not.
    FragmentEnd,
    /// The packet inside an ICMP error is cut off too early or malformed.
    Embedded,
    /// The packet inside an ICMP error is an ICMP error. RFC 7915 sections 4.3 and 5.3.
    DoublyEmbedded,
    /// The checksum of an ICMP error is wrong: it is computed anew, so a wrong one must not come in. RFC 5508 REQ-3.
    IcmpChecksum,
    /// There is no room before the packet, or it is spread over buffers where it must not be.
    NoRoom,
    /// The parse that came with the packet is not its own, or its options are malformed.
    Malformed,
}

impl core::fmt::Display for XlatError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::SourceRoute => "unexpired source route",
            Self::SegmentsLeft { .. } => "routing header with segments left",
            Self::UdpNoChecksum => "UDP without checksum",
            Self::FragmentedIcmp => "fragment of an ICMP message",
            Self::IcmpType => "ICMP message without counterpart",
            Self::Protocol => "protocol without counterpart",
            Self::ExtensionInFragment => "extension header inside a fragment",
            Self::FragmentEnd => "fragment beyond the end of a datagram",
            Self::Embedded => "malformed packet in an ICMP error",
            Self::DoublyEmbedded => "ICMP error about an ICMP error",
            Self::IcmpChecksum => "wrong checksum of an ICMP error",
            Self::NoRoom => "no room for the new header",
            Self::Malformed => "malformed packet",
        })
    }
}

impl core::error::Error for XlatError {}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
