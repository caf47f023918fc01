//! What translation changes in the upper layer: ports, identifiers, ICMP types, and the checksums over pseudo headers.

use crate::checksum::{Delta, Sum};
use crate::field::{put_u16, u16_at};
use crate::{icmp, ipv4, tcp, udp};

/// The change of the pseudo header's addresses; lengths and protocol numbers of TCP and UDP stay. RFC 7915 sections 4.5, 5.5.
pub(super) fn addresses(old: Sum, new: Sum) -> Delta {
    Delta::new().remove(old).add(new)
}

/// Writes both ports and moves the checksum of a TCP or UDP header along, as far as the header is there (in an ICMP error
/// it may be cut off). A UDP checksum of 0 stays 0.
pub(super) fn set_ports(l4: &mut [u8], proto: u8, new: (u16, u16), addresses: Delta) -> Option<()> {
    let ports = l4.first_chunk_mut::<4>()?;
    let old = u32::from_be_bytes(*ports);
    let new = u32::from(new.0) << 16 | u32::from(new.1);
    *ports = new.to_be_bytes();
    let delta = addresses.replace_u32(old, new);
    let at = if proto == ipv4::UDP {
        udp::CHECKSUM_OFFSET
    } else {
        tcp::CHECKSUM_OFFSET
    };
    let sum = u16_at(l4, at)?;
    let new_sum = if proto == ipv4::UDP {
        delta.apply_udp(sum)
    } else {
        delta.apply(sum)
    };
    put_u16(l4, at, new_sum)
}

/// Protocols that are passed as they are, but whose checksum covers the addresses: DCCP (RFC 4340 section 9.1) and UDP-Lite
/// (RFC 3828 section 3.1), both at octet 6. RFC 7915 section 4.5 leaves them to the translator.
pub(super) fn pseudo_header_only(l4: &mut [u8], proto: u8, addresses: Delta) -> Option<()> {
    if !matches!(proto, ipv4::DCCP | ipv4::UDPLITE) {
        return Some(());
    }
    let sum = u16_at(l4, udp::CHECKSUM_OFFSET)?;
    let new_sum = if proto == ipv4::UDPLITE {
        addresses.apply_udp(sum)
    } else {
        addresses.apply(sum)
    };
    put_u16(l4, udp::CHECKSUM_OFFSET, new_sum)
}

/// Gives an ICMP echo another type and identifier and moves its checksum along; `pseudo` is the pseudo header it loses or
/// gets. As far as the message is there.
pub(super) fn set_echo(message: &mut [u8], new_type: u8, id: u16, pseudo: Delta) -> Option<()> {
    let old = u16_at(message, 0)?;
    let new = u16::from_be_bytes([new_type, old as u8]);
    put_u16(message, 0, new)?;
    let sum = u16_at(message, 2)?;
    put_u16(message, 2, pseudo.replace_u16(old, new).apply(sum))?;
    if message.len() >= icmp::HEADER_LEN {
        // It knows the two forms of zero over an ICMPv4 message, which has no pseudo header.
        return icmp::set_query_id(message, id);
    }
    // In an ICMP error it may be cut off behind its identifier.
    let (old, sum) = (u16_at(message, 4)?, u16_at(message, 2)?);
    put_u16(message, 4, id)?;
    put_u16(message, 2, Delta::new().replace_u16(old, id).apply(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checksum, icmp6};

    #[test]
    fn an_echo_cut_off_behind_its_identifier_is_translated() {
        let echo = |icmp_type, id: u16| {
            let mut message = [icmp_type, 0, 0, 0, (id >> 8) as u8, id as u8, 0, 0];
            let sum = checksum::checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            message
        };
        for quoted in [6, 7, 8] {
            let (mut message, expected) = (echo(icmp6::ECHO, 7), echo(icmp::ECHO, 0x1234));
            set_echo(&mut message[..quoted], icmp::ECHO, 0x1234, Delta::new()).unwrap();
            assert_eq!(message, expected);
        }
        let mut message = echo(icmp6::ECHO, 7);
        assert_eq!(set_echo(&mut message[..5], icmp::ECHO, 9, Delta::new()), None);
    }
}
