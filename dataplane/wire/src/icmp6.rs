//! ICMPv6 (RFC 4443): types, the query identifier, and which messages are errors or queries.
//!
//! Its checksum covers the IPv6 pseudo header, so unlike ICMPv4 it depends on the addresses.

use crate::checksum::{Delta, pseudo_v6};
use crate::error::ParseError;

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Router solicitation (RFC 4861).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Redirect.
pub const REDIRECT: u8 = 137;

/// Unreachable: no route.
pub const CODE_NO_ROUTE: u8 = 0;
/// Unreachable: administratively prohibited.
pub const CODE_ADMIN_PROHIBITED: u8 = 1;
/// Unreachable: address.
pub const CODE_ADDRESS: u8 = 3;
/// Unreachable: port.
pub const CODE_PORT: u8 = 4;
/// Time exceeded: hop limit in transit.
pub const CODE_HOP_LIMIT: u8 = 0;
/// Time exceeded: fragment reassembly.
pub const CODE_REASSEMBLY: u8 = 1;
/// Parameter problem: erroneous header field.
pub const CODE_HEADER_FIELD: u8 = 0;
/// Parameter problem: unrecognized next header.
pub const CODE_NEXT_HEADER: u8 = 1;
/// Parameter problem: unrecognized option.
pub const CODE_UNKNOWN_OPTION: u8 = 2;

/// Whether a type is an error: the high bit is clear (RFC 4443, 2.1).
#[inline(always)]
#[must_use]
pub const fn is_error(icmp_type: u8) -> bool {
    icmp_type < 128
}

/// Whether a type is a query or its reply, with an identifier that NAT64 treats as a port.
#[inline(always)]
#[must_use]
pub const fn is_query(icmp_type: u8) -> bool {
    matches!(icmp_type, ECHO | ECHO_REPLY)
}

/// Whether a type belongs to neighbour discovery, which never leaves the link.
#[inline(always)]
#[must_use]
pub const fn is_neighbour_discovery(icmp_type: u8) -> bool {
    matches!(icmp_type, ROUTER_SOLICITATION..=REDIRECT)
}

/// A checked ICMPv6 message.
#[derive(Debug, Clone, Copy)]
pub struct Icmp6<'a> {
    head: &'a [u8; HEADER_LEN],
    message: &'a [u8],
}

impl<'a> Icmp6<'a> {
    /// Checks that the eight octets of the header are there.
    ///
    /// # Errors
    /// `IcmpTruncated`.
    #[inline(always)]
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        let head = message.first_chunk().ok_or(ParseError::IcmpTruncated)?;
        Ok(Self { head, message })
    }

    /// Type.
    #[inline(always)]
    #[must_use]
    pub const fn icmp_type(&self) -> u8 {
        self.head[0]
    }

    /// Code.
    #[inline(always)]
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.head[1]
    }

    /// Checksum as it stands.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Identifier of an echo.
    #[inline(always)]
    #[must_use]
    pub const fn id(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// Sequence number of an echo.
    #[inline(always)]
    #[must_use]
    pub const fn seq(&self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }

    /// The word behind the checksum: MTU of "packet too big", pointer of a parameter problem.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self) -> u32 {
        u32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]])
    }

    /// What follows the header.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.message.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// Whether the checksum is right between these addresses.
    #[inline]
    #[must_use]
    pub fn verify_checksum(&self, src: u128, dst: u128) -> bool {
        let Ok(len) = u32::try_from(self.message.len()) else {
            return false;
        };
        pseudo_v6(src, dst, crate::ipv4::ICMPV6, len)
            .slice(self.message)
            .is_valid()
    }
}

/// Replaces the identifier of an echo and moves the checksum along by this and by `addresses`, the change of the
/// pseudo header. `None`, and nothing changed, when the message is shorter than its header.
#[inline]
pub fn set_query_id(message: &mut [u8], id: u16, addresses: Delta) -> Option<()> {
    let head = message.first_chunk_mut::<HEADER_LEN>()?;
    let old = u16::from_be_bytes([head[4], head[5]]);
    let fixed = addresses
        .replace_u16(old, id)
        .apply(u16::from_be_bytes([head[2], head[3]]));
    [head[4], head[5]] = id.to_be_bytes();
    [head[2], head[3]] = fixed.to_be_bytes();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types() {
        assert!(is_error(PACKET_TOO_BIG) && !is_error(ECHO) && is_query(ECHO_REPLY));
        assert!(is_neighbour_discovery(NEIGHBOUR_SOLICITATION) && !is_neighbour_discovery(ECHO));
        assert_eq!(
            Icmp6::new_checked(&[128, 0, 0, 0, 0, 0, 0]).map(|_| ()),
            Err(ParseError::IcmpTruncated)
        );
    }

    proptest! {
        #[test]
        fn set_query_id_is_exact(src in any::<u128>(), dst in any::<u128>(), to in any::<u128>(), id in any::<u16>(), rest in any::<[u8; 9]>()) {
            let mut m = vec![ECHO, 0, 0, 0, 0x12, 0x34];
            m.extend_from_slice(&rest);
            let sum = pseudo_v6(src, dst, crate::ipv4::ICMPV6, m.len() as u32).slice(&m).finish();
            m[2..4].copy_from_slice(&sum.to_be_bytes());
            prop_assert!(Icmp6::new_checked(&m).unwrap().verify_checksum(src, dst));
            set_query_id(&mut m, id, Delta::new().replace_u128(src, to)).unwrap();
            let icmp = Icmp6::new_checked(&m).unwrap();
            prop_assert_eq!((icmp.id(), icmp.icmp_type(), icmp.code()), (id, ECHO, 0));
            prop_assert!(icmp.verify_checksum(to, dst));
        }
    }
}
