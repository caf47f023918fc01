//! Answers to a received IPv6 packet: ICMPv6 errors about it (RFC 4443) and TCP resets (RFC 9293).

use super::answer::reset_of;
use super::packet6::PacketBuilder6;
use crate::ipv6::{self, Ipv6};
use crate::{icmp6, ipv4, tcp};

/// Octets of the longest error: the quoted packet is cut so that the whole fits into the smallest MTU (RFC 4443, 2.4 (c)).
const ERROR_LEN_MAX: usize = 1280;
/// Octets of a quoted packet at most.
const QUOTE_LEN_MAX: usize = ERROR_LEN_MAX - ipv6::HEADER_LEN - icmp6::HEADER_LEN;
/// Traffic class of errors: CS6, network control, as that of ICMPv4's (RFC 1812, 4.3.2.5).
const ERROR_CLASS: u8 = 0xc0;

/// Which error to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icmp6ErrorKind {
    /// 1/code: [`icmp6::CODE_NO_ROUTE`] and its kind.
    Unreachable(u8),
    /// 2/0: the packet is larger than the next hop's MTU, given in octets.
    PacketTooBig(u32),
    /// 3/0: the hop limit ran out.
    HopLimitExceeded,
    /// 3/1: not all fragments came in time.
    ReassemblyTimeExceeded,
    /// 4/code: a header that cannot be processed.
    ParameterProblem {
        /// 0 erroneous field, 1 unknown next header, 2 unknown option.
        code: u8,
        /// Octets from the start of the packet to the field in question.
        pointer: u32,
    },
}

impl Icmp6ErrorKind {
    const fn header(self) -> (u8, u8, u32) {
        match self {
            Self::Unreachable(code) => (icmp6::UNREACHABLE, code, 0),
            Self::PacketTooBig(mtu) => (icmp6::PACKET_TOO_BIG, 0, mtu),
            Self::HopLimitExceeded => (icmp6::TIME_EXCEEDED, icmp6::CODE_HOP_LIMIT, 0),
            Self::ReassemblyTimeExceeded => (icmp6::TIME_EXCEEDED, icmp6::CODE_REASSEMBLY, 0),
            Self::ParameterProblem { code, pointer } => (icmp6::PARAMETER_PROBLEM, code, pointer),
        }
    }

    /// Whether it is sent although the packet went to a multicast address: path MTU discovery works there, and an unknown
    /// option can ask for it (RFC 4443, 2.4 (e.3)).
    const fn answers_multicast(self) -> bool {
        matches!(
            self,
            Self::PacketTooBig(_)
                | Self::ParameterProblem {
                    code: icmp6::CODE_UNKNOWN_OPTION,
                    ..
                }
        )
    }
}

/// Whether an address is multicast, ff00::/8.
const fn is_multicast(addr: u128) -> bool {
    addr >> 120 == 0xff
}

/// Whether an address names one host that could have sent a packet: neither unspecified nor loopback nor multicast.
const fn is_host(addr: u128) -> bool {
    addr > 1 && !is_multicast(addr)
}

/// Whether an error of this kind may be sent about a packet (RFC 4443, 2.4 (e)): its headers can be followed, it is no
/// later fragment, no ICMPv6 error and no redirect, came from one host, and went to no multicast address, except for
/// what RFC 4443 excepts. A packet that came as a link-layer multicast or broadcast, or from an anycast address, must be
/// held back by the caller, who alone can know; and so must rates be limited there (2.4 (f)).
#[must_use]
pub fn may_send_error6_about(l3: &[u8], kind: Icmp6ErrorKind) -> bool {
    let Ok(ip) = Ipv6::new_checked(l3) else {
        return false;
    };
    let Ok(upper) = ip.upper() else {
        return false;
    };
    if upper.is_later_fragment() || !is_host(ip.src()) || ip.dst() == 0 {
        return false;
    }
    if is_multicast(ip.dst()) && !kind.answers_multicast() {
        return false;
    }
    upper.proto != ipv4::ICMPV6
        || ip
            .packet()
            .get(usize::from(upper.offset))
            .is_some_and(|t| !icmp6::is_error(*t) && *t != icmp6::REDIRECT)
}

/// Writes an ICMPv6 error about the packet `l3`, from address `src` of this box to the packet's source, quoting as much of
/// it as fits into 1280 octets. Returns its length; `None` when no such error may be sent ([`may_send_error6_about`]) or
/// `out` is too short.
#[must_use]
pub fn icmp6_error(out: &mut [u8], l3: &[u8], src: u128, kind: Icmp6ErrorKind) -> Option<usize> {
    if !may_send_error6_about(l3, kind) {
        return None;
    }
    let ip = Ipv6::new_checked(l3).ok()?;
    let packet = ip.packet();
    let quote = packet.get(..packet.len().min(QUOTE_LEN_MAX))?;
    let (icmp_type, code, word) = kind.header();
    PacketBuilder6::icmp(src, ip.src(), icmp_type, code, word)
        .data(quote)
        .traffic_class(ERROR_CLASS)
        .write(out)
}

/// Writes the reset that answers the TCP segment in `l3` as its destination would (RFC 9293, 3.10.7.1), without extension
/// headers. Returns its length; `None` for a reset, a fragment (an atomic one is whole), a packet with segments left to
/// visit, a malformed one, a source or destination that is no host, or when `out` is too short.
#[must_use]
pub fn tcp_reset6(out: &mut [u8], l3: &[u8]) -> Option<usize> {
    let ip = Ipv6::new_checked(l3).ok()?;
    let upper = ip.upper().ok()?;
    let is_part = upper.fragment.is_some_and(|f| f.more || f.offset != 0);
    if upper.proto != ipv4::TCP
        || is_part
        || upper.segments_left != 0
        || !is_host(ip.src())
        || !is_host(ip.dst())
    {
        return None;
    }
    let segment = tcp::Tcp::new_checked(ip.packet().get(usize::from(upper.offset)..)?).ok()?;
    PacketBuilder6::new(ip.dst(), ip.src(), reset_of(&segment)?).write(out)
}

#[cfg(test)]
mod tests;
