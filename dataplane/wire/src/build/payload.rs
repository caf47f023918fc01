//! The upper layer of a packet from parts: its header, its data and its checksum over either family's pseudo header.

use crate::checksum::{Sum, pseudo_v4, pseudo_v6};
use crate::field::copy;
use crate::{icmp, ipv4, tcp, udp};

/// What follows the IP header and its extension headers.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// A UDP datagram.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Whether the checksum is computed; else it is 0 (none).
        checksum: bool,
    },
    /// A TCP segment.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Sequence number.
        seq: u32,
        /// Acknowledgment number.
        ack: u32,
        /// Flags.
        flags: u8,
        /// Window.
        window: u16,
        /// Options: a multiple of 4 octets, at most 40.
        options: &'a [u8],
    },
    /// An ICMP message, over IPv6 an ICMPv6 one: queries and errors alike.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
        /// The second word: identifier and sequence number, or what the error has there.
        word: u32,
    },
    /// The data alone, for any protocol number and for later fragments.
    Raw {
        /// Protocol number.
        proto: u8,
    },
}

/// The addresses of the pseudo header.
#[derive(Debug, Clone, Copy)]
pub(super) enum Addresses {
    V4(u32, u32),
    V6(u128, u128),
}

impl Addresses {
    fn pseudo(self, proto: u8, len: u16) -> Sum {
        match self {
            Self::V4(src, dst) => pseudo_v4(src, dst, proto, len),
            Self::V6(src, dst) => pseudo_v6(src, dst, proto, u32::from(len)),
        }
    }

    /// ICMPv4 has no pseudo header.
    fn icmp_pseudo(self, len: u16) -> Sum {
        match self {
            Self::V4(..) => Sum::new(),
            Self::V6(..) => self.pseudo(ipv4::ICMPV6, len),
        }
    }
}

impl Payload<'_> {
    /// Octets of the L4 header.
    pub(super) fn header_len(&self) -> usize {
        match self {
            Self::Udp { .. } => udp::HEADER_LEN,
            Self::Tcp { options, .. } => tcp::HEADER_LEN + options.len(),
            Self::Icmp { .. } => icmp::HEADER_LEN,
            Self::Raw { .. } => 0,
        }
    }

    /// Its protocol number, given that of the family's ICMP.
    pub(super) const fn proto(&self, icmp: u8) -> u8 {
        match self {
            Self::Udp { .. } => ipv4::UDP,
            Self::Tcp { .. } => ipv4::TCP,
            Self::Icmp { .. } => icmp,
            Self::Raw { proto } => *proto,
        }
    }

    /// Writes the L4 header and the data over the whole of `l4`. `None` when their lengths differ, or TCP options are too
    /// long or no multiple of 4.
    pub(super) fn write(&self, l4: &mut [u8], data: &[u8], addresses: Addresses) -> Option<()> {
        let len = u16::try_from(l4.len()).ok()?;
        let data_at = l4.len().checked_sub(data.len())?;
        if data_at != self.header_len() {
            return None;
        }
        copy(l4.get_mut(data_at..)?, data)?;
        match *self {
            Self::Udp {
                sport,
                dport,
                checksum,
            } => {
                let head = l4.first_chunk_mut::<{ udp::HEADER_LEN }>()?;
                [head[0], head[1]] = sport.to_be_bytes();
                [head[2], head[3]] = dport.to_be_bytes();
                [head[4], head[5]] = len.to_be_bytes();
                [head[6], head[7]] = [0, 0];
                if checksum {
                    let sum = addresses.pseudo(ipv4::UDP, len).slice(l4).finish_udp();
                    copy(l4.get_mut(6..8)?, &sum.to_be_bytes())?;
                }
            }
            Self::Tcp {
                sport,
                dport,
                seq,
                ack,
                flags,
                window,
                options,
            } => {
                if options.len() > 40 || !options.len().is_multiple_of(4) {
                    return None;
                }
                copy(l4.get_mut(tcp::HEADER_LEN..data_at)?, options)?;
                let head = l4.first_chunk_mut::<{ tcp::HEADER_LEN }>()?;
                [head[0], head[1]] = sport.to_be_bytes();
                [head[2], head[3]] = dport.to_be_bytes();
                [head[4], head[5], head[6], head[7]] = seq.to_be_bytes();
                [head[8], head[9], head[10], head[11]] = ack.to_be_bytes();
                head[12] = (data_at / 4 * 16) as u8;
                head[13] = flags;
                [head[14], head[15]] = window.to_be_bytes();
                [head[16], head[17], head[18], head[19]] = [0; 4];
                let sum = addresses.pseudo(ipv4::TCP, len).slice(l4).finish();
                copy(l4.get_mut(16..18)?, &sum.to_be_bytes())?;
            }
            Self::Icmp {
                icmp_type,
                code,
                word,
            } => {
                let head = l4.first_chunk_mut::<{ icmp::HEADER_LEN }>()?;
                [head[0], head[1], head[2], head[3]] = [icmp_type, code, 0, 0];
                [head[4], head[5], head[6], head[7]] = word.to_be_bytes();
                let sum = addresses.icmp_pseudo(len).slice(l4).finish();
                copy(l4.get_mut(2..4)?, &sum.to_be_bytes())?;
            }
            Self::Raw { .. } => {}
        }
        Some(())
    }
}
