//! Why a packet could not be parsed: one closed enum, whose names are the names of the drop counters.

/// Declares the enum together with its names, so that none can be forgotten.
macro_rules! parse_errors {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet was refused. Each reason is a drop counter: [`ParseError::as_str`] is its name and
        /// [`ParseError::index`] its place in an array of [`ParseError::COUNT`] counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ParseError {
            $($(#[$doc])* $variant,)*
        }

        impl ParseError {
            /// Every reason, in the order of `index`.
            pub const ALL: &'static [ParseError] = &[$(ParseError::$variant,)*];

            /// The counter's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(ParseError::$variant => $name,)*
                }
            }
        }
    };
}

parse_errors! {
    /// A frame shorter than its Ethernet header and VLAN tags.
    EthernetTruncated = "ethernet-truncated",
    /// Less than 20 octets, or less than the header length says.
    Ipv4Truncated = "ipv4-truncated",
    /// The version is not 4.
    Ipv4BadVersion = "ipv4-bad-version",
    /// The header length is below 20 octets.
    Ipv4BadHeaderLength = "ipv4-bad-header-length",
    /// The total length is below the header length or beyond the frame.
    Ipv4BadTotalLength = "ipv4-bad-total-length",
    /// The header checksum is wrong (RFC 1812, 5.2.2).
    Ipv4BadChecksum = "ipv4-bad-checksum",
    /// An option's length is zero, one, or beyond the header.
    Ipv4BadOption = "ipv4-bad-option",
    /// A fragment that ends beyond 65535 octets, is empty, is not a multiple of 8 octets though more follow,
    /// or hides the L4 header (RFC 1858, RFC 3128).
    Ipv4BadFragment = "ipv4-bad-fragment",
    /// A TCP segment of less than 20 octets, or less than its data offset says.
    TcpTruncated = "tcp-truncated",
    /// A data offset below 5 words.
    TcpBadDataOffset = "tcp-bad-data-offset",
    /// A UDP datagram of less than 8 octets.
    UdpTruncated = "udp-truncated",
    /// A UDP length below 8 or beyond the packet.
    UdpBadLength = "udp-bad-length",
    /// An ICMP or ICMPv6 message of less than 8 octets.
    IcmpTruncated = "icmp-truncated",
    /// An ICMP error whose embedded packet is cut off before its IP header ends.
    IcmpErrorTruncated = "icmp-error-truncated",
    /// An ICMP error whose embedded packet has no IP header of the right version and length.
    IcmpErrorBadHeader = "icmp-error-bad-header",
    /// Source and destination address and port are the same ("land" attack).
    Land = "land",
    /// Less than 40 octets.
    Ipv6Truncated = "ipv6-truncated",
    /// The version is not 6.
    Ipv6BadVersion = "ipv6-bad-version",
    /// The payload length is beyond the frame.
    Ipv6BadPayloadLength = "ipv6-bad-payload-length",
    /// An extension header that is cut off, or a hop-by-hop header that is not first.
    Ipv6BadExtension = "ipv6-bad-extension",
    /// More extension headers than are followed.
    Ipv6TooManyExtensions = "ipv6-too-many-extensions",
    /// A fragment that ends beyond 65535 octets, is empty, is not a multiple of 8 octets though more follow,
    /// or does not hold the whole header chain (RFC 7112).
    Ipv6BadFragment = "ipv6-bad-fragment",
    /// A UDP datagram over IPv6 whose checksum is zero (RFC 8200, 8.1).
    UdpZeroChecksum = "udp-zero-checksum",
}

impl ParseError {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Place in an array of counters: `0..COUNT`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_indexed() {
        for (i, e) in ParseError::ALL.iter().enumerate() {
            assert_eq!(e.index(), i);
            assert!(
                e.as_str()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            );
            assert_eq!(
                ParseError::ALL
                    .iter()
                    .filter(|o| o.as_str() == e.as_str())
                    .count(),
                1,
                "{e}"
            );
        }
    }
}
