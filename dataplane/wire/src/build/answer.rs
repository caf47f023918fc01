//! Answers to a received packet: ICMPv4 errors about it (RFC 792, 1122, 1191, 1812) and TCP resets (RFC 9293).

use super::packet::PacketBuilder;
use super::payload::Payload;
use crate::ipv4::{self, Ipv4};
use crate::{icmp, tcp};

/// Octets of the longest error: the quoted packet is cut so that the whole datagram fits (RFC 1812, 4.3.2.3).
const ERROR_LEN_MAX: usize = 576;
/// Octets of a quoted packet at most.
const QUOTE_LEN_MAX: usize = ERROR_LEN_MAX - ipv4::HEADER_LEN - icmp::HEADER_LEN;
/// Type of service of errors: precedence 6, internetwork control (RFC 1812, 4.3.2.5).
const ERROR_TOS: u8 = 0xc0;

/// Which error to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpErrorKind {
    /// 11/0: the time to live ran out.
    TtlExceeded,
    /// 11/1: not all fragments came in time.
    ReassemblyTimeExceeded,
    /// 3/code, except 4.
    Unreachable(u8),
    /// 3/4: the packet is larger than the next hop's MTU, given in octets, and must not be fragmented.
    FragmentationNeeded(u16),
}

impl IcmpErrorKind {
    const fn header(self) -> (u8, u8, u32) {
        match self {
            Self::TtlExceeded => (icmp::TIME_EXCEEDED, icmp::CODE_TTL, 0),
            Self::ReassemblyTimeExceeded => (icmp::TIME_EXCEEDED, icmp::CODE_REASSEMBLY, 0),
            Self::Unreachable(code) => (icmp::UNREACHABLE, code, 0),
            Self::FragmentationNeeded(mtu) => (icmp::UNREACHABLE, icmp::CODE_FRAG_NEEDED, mtu as u32),
        }
    }
}

/// Whether an address names one host that could have sent a packet: not 0/8, 127/8, multicast, class E or
/// broadcast.
const fn is_host(addr: u32) -> bool {
    !matches!(addr >> 24, 0 | 127 | 224..)
}

/// Whether an error may be sent about a packet (RFC 1122, 3.2.2; RFC 1812, 4.3.2.7): it parses, is no later
/// fragment, no ICMP error (nor of a type that is not known to be none), came from one host and went to neither
/// multicast nor broadcast. A packet that came as a link-layer broadcast or to a directed broadcast address must
/// be held back by the caller, who alone can know.
#[must_use]
pub fn may_send_error_about(l3: &[u8]) -> bool {
    let Ok(ip) = Ipv4::new_checked(l3) else {
        return false;
    };
    if ip.fragment_offset() != 0 || !is_host(ip.src()) {
        return false;
    }
    let dst = ip.dst();
    if dst >> 28 == 0xe || dst == u32::MAX || dst == 0 {
        return false;
    }
    ip.protocol() != ipv4::ICMP || ip.payload().first().is_some_and(|t| icmp::is_query(*t))
}

/// Writes an ICMP error about the packet `l3`, from address `src` of this box to the packet's source, quoting as
/// much of it as fits into 576 octets. `id`: identification of the new packet, which may be fragmented.
/// Returns its length; `None` when no error may be sent ([`may_send_error_about`]) or `out` is too short.
#[must_use]
pub fn icmp_error(out: &mut [u8], l3: &[u8], src: u32, id: u16, kind: IcmpErrorKind) -> Option<usize> {
    if !may_send_error_about(l3) {
        return None;
    }
    let ip = Ipv4::new_checked(l3).ok()?;
    let packet = ip.packet();
    let quote = packet.get(..packet.len().min(QUOTE_LEN_MAX))?;
    let (icmp_type, code, word) = kind.header();
    PacketBuilder::icmp(src, ip.src(), icmp_type, code, word)
        .data(quote)
        .tos(ERROR_TOS)
        .id(id)
        .dont_fragment(false)
        .write(out)
}

/// Writes the reset that answers the TCP segment in `l3` as its destination would (RFC 9293, 3.10.7.1):
/// with ACK set, sequence number = its acknowledgment number; else sequence number 0, acknowledging it.
/// Returns its length; `None` for a reset, a fragment, a malformed segment, a source or destination that is no
/// host, or when `out` is too short.
#[must_use]
pub fn tcp_reset(out: &mut [u8], l3: &[u8]) -> Option<usize> {
    let ip = Ipv4::new_checked(l3).ok()?;
    if ip.protocol() != ipv4::TCP || ip.is_fragment() || !is_host(ip.src()) || !is_host(ip.dst()) {
        return None;
    }
    let segment = tcp::Tcp::new_checked(ip.payload()).ok()?;
    PacketBuilder::new(ip.dst(), ip.src(), reset_of(&segment)?).write(out)
}

/// The reset that answers a segment, of either family; `None` when it is one itself.
pub(super) fn reset_of(segment: &tcp::Tcp<'_>) -> Option<Payload<'static>> {
    if segment.flags() & tcp::RST != 0 {
        return None;
    }
    let (seq, ack, flags) = if segment.flags() & tcp::ACK != 0 {
        (segment.ack(), 0, tcp::RST)
    } else {
        (
            0,
            segment.seq().wrapping_add(segment.sequence_len()),
            tcp::RST | tcp::ACK,
        )
    };
    Some(Payload::Tcp {
        sport: segment.dport(),
        dport: segment.sport(),
        seq,
        ack,
        flags,
        window: 0,
        options: &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l4::{L4, parse_ipv4_verified};

    const HOST: u32 = 0x0a00_0001;
    const PEER: u32 = 0xc000_0201;
    const BOX: u32 = 0x0a00_00fe;

    fn written(builder: &PacketBuilder<'_>) -> Vec<u8> {
        let mut buf = vec![0; builder.len()];
        assert_eq!(builder.write(&mut buf), Some(buf.len()));
        buf
    }

    #[test]
    fn error_quotes_the_packet() {
        let long = written(&PacketBuilder::udp(HOST, 1, PEER, 2).data(&[7; 1400]));
        let short = written(&PacketBuilder::udp(HOST, 1, PEER, 2).data(&[7; 3]));
        let mut out = [0u8; 600];
        for (l3, kind, head) in [
            (&long, IcmpErrorKind::TtlExceeded, [11, 0, 0, 0, 0, 0]),
            (&short, IcmpErrorKind::ReassemblyTimeExceeded, [11, 1, 0, 0, 0, 0]),
            (
                &short,
                IcmpErrorKind::Unreachable(icmp::CODE_ADMIN_PROHIBITED),
                [3, 13, 0, 0, 0, 0],
            ),
            (
                &long,
                IcmpErrorKind::FragmentationNeeded(1300),
                [3, 4, 0, 0, 0x05, 0x14],
            ),
        ] {
            let len = icmp_error(&mut out, l3, BOX, 77, kind).unwrap();
            assert_eq!(len, (28 + l3.len()).min(576));
            let meta = parse_ipv4_verified(&out[..len]).unwrap();
            assert_eq!((meta.src, meta.dst, meta.id, meta.tos), (BOX, HOST, 77, 0xc0));
            assert_eq!(
                meta.l4,
                L4::IcmpError {
                    icmp_type: head[0],
                    code: head[1]
                }
            );
            assert_eq!(out[24..28], head[2..6]);
            assert_eq!(out[28..len], l3[..len - 28]);
            assert!(icmp::Icmp::new_checked(&out[20..len]).unwrap().verify_checksum());
            assert!(!may_send_error_about(&out[..len]), "never about an error");
            assert_eq!(icmp_error(&mut out[..len - 1], l3, BOX, 77, kind), None);
        }
    }

    #[test]
    fn padding_is_not_quoted() {
        let mut l3 = written(&PacketBuilder::udp(HOST, 1, PEER, 2));
        l3.resize(46, 0);
        let mut out = [0u8; 600];
        assert_eq!(
            icmp_error(&mut out, &l3, BOX, 0, IcmpErrorKind::TtlExceeded),
            Some(56)
        );
    }

    #[test]
    fn no_error_about() {
        let udp = |src, dst| written(&PacketBuilder::udp(src, 1, dst, 2));
        assert!(may_send_error_about(&udp(HOST, PEER)));
        for bad in [0, 0x0000_0001, 0x7f00_0001, 0xe000_0001, 0xf000_0001, u32::MAX] {
            assert!(!may_send_error_about(&udp(bad, PEER)), "{bad:#x}");
        }
        for bad in [0xe000_0005, 0xefff_ffff, u32::MAX, 0] {
            assert!(!may_send_error_about(&udp(HOST, bad)), "{bad:#x}");
        }
        assert!(may_send_error_about(&written(&PacketBuilder::echo(
            HOST, PEER, 1, 1
        ))));
        for t in [icmp::UNREACHABLE, icmp::REDIRECT, icmp::SOURCE_QUENCH, 200] {
            assert!(!may_send_error_about(&written(&PacketBuilder::icmp(
                HOST, PEER, t, 0, 0
            ))));
        }
        let raw = PacketBuilder::new(HOST, PEER, Payload::Raw { proto: ipv4::UDP }).data(&[0; 16]);
        assert!(may_send_error_about(&written(&raw.fragment(true, 0))));
        assert!(!may_send_error_about(&written(&raw.fragment(false, 8))));
        assert!(!may_send_error_about(&udp(HOST, PEER)[..27]));
    }

    #[test]
    fn reset_by_the_book() {
        let mut out = [0u8; 40];
        let syn = PacketBuilder::tcp(HOST, 1000, PEER, 80, tcp::SYN)
            .seq_ack(u32::MAX, 0)
            .data(b"ab");
        let ack = PacketBuilder::tcp(HOST, 1000, PEER, 80, tcp::ACK).seq_ack(9, 55);
        for (builder, seq, ack, flags) in [(syn, 0, 2, tcp::RST | tcp::ACK), (ack, 55, 0, tcp::RST)] {
            let len = tcp_reset(&mut out, &written(&builder)).unwrap();
            let ip = Ipv4::new_checked(&out[..len]).unwrap();
            assert!(ip.verify_checksum());
            assert_eq!((ip.src(), ip.dst()), (PEER, HOST));
            let rst = tcp::Tcp::new_checked(ip.payload()).unwrap();
            assert_eq!(
                (rst.sport(), rst.dport(), rst.seq(), rst.ack(), rst.flags()),
                (80, 1000, seq, ack, flags)
            );
            assert!(rst.verify_checksum_v4(PEER, HOST));
            assert_eq!(tcp_reset(&mut [0; 600], &out[..len]), None, "never about a reset");
        }
        assert_eq!(
            tcp_reset(&mut out, &written(&PacketBuilder::udp(HOST, 1, PEER, 2))),
            None
        );
        assert_eq!(tcp_reset(&mut out, &written(&syn.fragment(true, 0))), None);
        assert_eq!(tcp_reset(&mut out[..39], &written(&ack)), None);
    }
}
