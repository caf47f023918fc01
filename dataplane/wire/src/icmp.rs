//! ICMPv4 (RFC 792): types, the query identifier, and which messages are errors or queries.
//!
//! ```text
//!  type 1 | code 1 | checksum 2 | id 2 seq 2  (queries)   or   unused/pointer/MTU 4, embedded packet (errors)
//! ```

use crate::checksum::{self, Delta, Sum};
use crate::error::ParseError;

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (deprecated by RFC 6633, still an error).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO: u8 = 8;
/// Router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 9;
/// Router solicitation.
pub const ROUTER_SOLICITATION: u8 = 10;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Timestamp request.
pub const TIMESTAMP: u8 = 13;
/// Timestamp reply.
pub const TIMESTAMP_REPLY: u8 = 14;
/// Information request (deprecated).
pub const INFORMATION: u8 = 15;
/// Information reply (deprecated).
pub const INFORMATION_REPLY: u8 = 16;
/// Address mask request (deprecated).
pub const ADDRESS_MASK: u8 = 17;
/// Address mask reply (deprecated).
pub const ADDRESS_MASK_REPLY: u8 = 18;

/// Unreachable: network.
pub const CODE_NET: u8 = 0;
/// Unreachable: host.
pub const CODE_HOST: u8 = 1;
/// Unreachable: protocol.
pub const CODE_PROTOCOL: u8 = 2;
/// Unreachable: port.
pub const CODE_PORT: u8 = 3;
/// Unreachable: fragmentation needed and DF set.
pub const CODE_FRAG_NEEDED: u8 = 4;
/// Unreachable: source route failed.
pub const CODE_SOURCE_ROUTE: u8 = 5;
/// Unreachable: communication administratively prohibited (RFC 1812).
pub const CODE_ADMIN_PROHIBITED: u8 = 13;
/// Time exceeded: in transit.
pub const CODE_TTL: u8 = 0;
/// Time exceeded: fragment reassembly.
pub const CODE_REASSEMBLY: u8 = 1;

/// Whether a type is an error, which carries the packet it is about (RFC 1122, 3.2.2).
#[inline(always)]
#[must_use]
pub const fn is_error(icmp_type: u8) -> bool {
    matches!(
        icmp_type,
        UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
    )
}

/// Whether a type is a query or the reply to one, with an identifier that NAT treats as a port (RFC 5508, 3).
#[inline(always)]
#[must_use]
pub const fn is_query(icmp_type: u8) -> bool {
    is_query_request(icmp_type) || is_query_reply(icmp_type)
}

/// Whether a type asks.
#[inline(always)]
#[must_use]
pub const fn is_query_request(icmp_type: u8) -> bool {
    matches!(icmp_type, ECHO | TIMESTAMP | INFORMATION | ADDRESS_MASK)
}

/// Whether a type answers.
#[inline(always)]
#[must_use]
pub const fn is_query_reply(icmp_type: u8) -> bool {
    matches!(
        icmp_type,
        ECHO_REPLY | TIMESTAMP_REPLY | INFORMATION_REPLY | ADDRESS_MASK_REPLY
    )
}

/// A checked ICMPv4 message.
#[derive(Debug, Clone, Copy)]
pub struct Icmp<'a> {
    head: &'a [u8; HEADER_LEN],
    message: &'a [u8],
}

impl<'a> Icmp<'a> {
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

    /// Identifier of a query.
    #[inline(always)]
    #[must_use]
    pub const fn id(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// Sequence number of a query.
    #[inline(always)]
    #[must_use]
    pub const fn seq(&self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }

    /// Next-hop MTU of an unreachable with code 4 (RFC 1191); 0 when the router gave none.
    #[inline(always)]
    #[must_use]
    pub const fn next_hop_mtu(&self) -> u16 {
        self.seq()
    }

    /// What follows the header: data, or the embedded packet.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.message.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// Whether the checksum over the whole message is right.
    #[inline]
    #[must_use]
    pub fn verify_checksum(&self) -> bool {
        checksum::is_valid(self.message)
    }
}

/// Replaces the identifier of a query and moves the checksum along. `None`, and nothing changed, when the
/// message is shorter than its header.
///
/// `message` starts at the ICMP header and may be a first fragment.
#[inline]
pub fn set_query_id(message: &mut [u8], id: u16) -> Option<()> {
    let (head, rest) = message.split_first_chunk_mut::<HEADER_LEN>()?;
    let old_sum = u16::from_be_bytes([head[2], head[3]]);
    let old_id = u16::from_be_bytes([head[4], head[5]]);
    let mut fixed = Delta::new().replace_u16(old_id, id).apply(old_sum);
    [head[4], head[5]] = id.to_be_bytes();
    if fixed == 0 {
        fixed = zero_or_all_ones(head, rest);
    }
    [head[2], head[3]] = fixed.to_be_bytes();
    Some(())
}

/// The right form of a zero checksum: 0xffff over a message that is all zeros (an echo reply with identifier 0,
/// sequence 0 and zero data), else 0. One packet in 65536 comes here.
#[cold]
fn zero_or_all_ones(head: &[u8; HEADER_LEN], rest: &[u8]) -> u16 {
    let sum = Sum::new()
        .u16(u16::from_be_bytes([head[0], head[1]]))
        .slice(&head[4..])
        .slice(rest);
    if sum == Sum::new() { 0xffff } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(icmp_type: u8, id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
        let mut m = vec![icmp_type, 0, 0, 0];
        m.extend_from_slice(&id.to_be_bytes());
        m.extend_from_slice(&seq.to_be_bytes());
        m.extend_from_slice(data);
        let sum = checksum::checksum(&m);
        m[2..4].copy_from_slice(&sum.to_be_bytes());
        m
    }

    #[test]
    fn types_are_errors_queries_or_neither() {
        for t in 0..=255u8 {
            assert!(!(is_error(t) && is_query(t)));
            assert!(!(is_query_request(t) && is_query_reply(t)));
        }
        assert!(!is_error(ROUTER_SOLICITATION) && !is_query(ROUTER_ADVERTISEMENT));
    }

    #[test]
    fn all_zero_reply_keeps_a_valid_checksum() {
        let mut m = message(ECHO_REPLY, 5, 0, &[0; 32]);
        set_query_id(&mut m, 0).unwrap();
        assert_eq!(m, message(ECHO_REPLY, 0, 0, &[0; 32]));
        assert!(Icmp::new_checked(&m).unwrap().verify_checksum());
        set_query_id(&mut m, 5).unwrap();
        assert_eq!(m, message(ECHO_REPLY, 5, 0, &[0; 32]));
        assert_eq!(set_query_id(&mut m[..7], 1), None);
    }

    proptest! {
        #[test]
        fn set_query_id_is_exact(
            t in prop_oneof![Just(ECHO), Just(ECHO_REPLY)],
            old in any::<u16>(), new in prop_oneof![Just(0), Just(0xffff), any::<u16>()],
            seq in prop_oneof![Just(0), Just(0xffff), any::<u16>()],
            data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..9),
        ) {
            let mut m = message(t, old, seq, &data);
            set_query_id(&mut m, new).unwrap();
            prop_assert_eq!(m, message(t, new, seq, &data));
        }
    }
}
