//! A packet from parts, with right lengths and checksums.
//!
//! ```
//! use tandem_wire::build::PacketBuilder;
//! let mut buf = [0u8; 128];
//! let len = PacketBuilder::udp(0x0a000001, 1000, 0xc0000201, 53).data(b"query").write(&mut buf).unwrap();
//! assert!(tandem_wire::l4::parse_ipv4_verified(&buf[..len]).is_ok());
//! ```

use crate::checksum::{checksum, pseudo_v4};
use crate::ethernet::{self, Mac, Tag};
use crate::field::copy;
use crate::ipv4::{self, Ipv4Mut};
use crate::{icmp, tcp, udp};

/// What follows the IPv4 header.
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
    /// An ICMP message: queries and errors alike.
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

/// Describes a packet; [`PacketBuilder::write`] writes it. Defaults: TTL 64, id 0, DF set, no options, no data,
/// no Ethernet header.
#[derive(Debug, Clone, Copy)]
pub struct PacketBuilder<'a> {
    src: u32,
    dst: u32,
    payload: Payload<'a>,
    data: &'a [u8],
    ip_options: &'a [u8],
    ethernet: Option<(Mac, Mac)>,
    tags: &'a [Tag],
    ttl: u8,
    tos: u8,
    id: u16,
    dont_fragment: bool,
    more_fragments: bool,
    offset: u16,
}

impl<'a> PacketBuilder<'a> {
    /// A packet with any payload.
    #[must_use]
    pub const fn new(src: u32, dst: u32, payload: Payload<'a>) -> Self {
        Self {
            src,
            dst,
            payload,
            data: &[],
            ip_options: &[],
            ethernet: None,
            tags: &[],
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            offset: 0,
        }
    }

    /// A UDP datagram with checksum.
    #[must_use]
    pub const fn udp(src: u32, sport: u16, dst: u32, dport: u16) -> Self {
        Self::new(
            src,
            dst,
            Payload::Udp {
                sport,
                dport,
                checksum: true,
            },
        )
    }

    /// A TCP segment with these flags, window 65535.
    #[must_use]
    pub const fn tcp(src: u32, sport: u16, dst: u32, dport: u16, flags: u8) -> Self {
        Self::new(
            src,
            dst,
            Payload::Tcp {
                sport,
                dport,
                seq: 0,
                ack: 0,
                flags,
                window: 65535,
                options: &[],
            },
        )
    }

    /// An ICMP echo request.
    #[must_use]
    pub const fn echo(src: u32, dst: u32, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp::ECHO, 0, (id as u32) << 16 | seq as u32)
    }

    /// An ICMP echo reply.
    #[must_use]
    pub const fn echo_reply(src: u32, dst: u32, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp::ECHO_REPLY, 0, (id as u32) << 16 | seq as u32)
    }

    /// Any ICMP message; of an error, [`PacketBuilder::data`] is the embedded packet.
    #[must_use]
    pub const fn icmp(src: u32, dst: u32, icmp_type: u8, code: u8, word: u32) -> Self {
        Self::new(
            src,
            dst,
            Payload::Icmp {
                icmp_type,
                code,
                word,
            },
        )
    }

    /// Sets the data behind the L4 header.
    #[must_use]
    pub const fn data(mut self, data: &'a [u8]) -> Self {
        self.data = data;
        self
    }

    /// Sets IPv4 options: a multiple of 4 octets, at most 40.
    #[must_use]
    pub const fn ip_options(mut self, options: &'a [u8]) -> Self {
        self.ip_options = options;
        self
    }

    /// Puts an Ethernet header in front.
    #[must_use]
    pub const fn ethernet(mut self, dst: Mac, src: Mac) -> Self {
        self.ethernet = Some((dst, src));
        self
    }

    /// Sets VLAN tags, outer first. They need [`PacketBuilder::ethernet`].
    #[must_use]
    pub const fn tags(mut self, tags: &'a [Tag]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the type of service.
    #[must_use]
    pub const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Sets the identification.
    #[must_use]
    pub const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Sets or clears DF.
    #[must_use]
    pub const fn dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.dont_fragment = dont_fragment;
        self
    }

    /// Makes it a fragment: clears DF, sets MF and the offset in octets (a multiple of 8).
    #[must_use]
    pub const fn fragment(mut self, more_fragments: bool, offset: u16) -> Self {
        self.dont_fragment = false;
        self.more_fragments = more_fragments;
        self.offset = offset;
        self
    }

    /// Sequence and acknowledgment numbers; only a TCP segment has them.
    #[must_use]
    pub const fn seq_ack(mut self, new_seq: u32, new_ack: u32) -> Self {
        if let Payload::Tcp {
            sport,
            dport,
            flags,
            window,
            options,
            ..
        } = self.payload
        {
            self.payload = Payload::Tcp {
                sport,
                dport,
                seq: new_seq,
                ack: new_ack,
                flags,
                window,
                options,
            };
        }
        self
    }

    /// TCP options: a multiple of 4 octets, at most 40; only a TCP segment has them.
    #[must_use]
    pub const fn tcp_options(mut self, new_options: &'a [u8]) -> Self {
        if let Payload::Tcp {
            sport,
            dport,
            seq,
            ack,
            flags,
            window,
            ..
        } = self.payload
        {
            self.payload = Payload::Tcp {
                sport,
                dport,
                seq,
                ack,
                flags,
                window,
                options: new_options,
            };
        }
        self
    }

    /// Octets `write` needs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ether_len() + self.ip_len()
    }

    /// A packet is never empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    fn ether_len(&self) -> usize {
        self.ethernet
            .map_or(0, |_| ethernet::HEADER_LEN + self.tags.len() * ethernet::TAG_LEN)
    }

    fn ip_len(&self) -> usize {
        let l4 = match self.payload {
            Payload::Udp { .. } => udp::HEADER_LEN,
            Payload::Tcp { options, .. } => tcp::HEADER_LEN + options.len(),
            Payload::Icmp { .. } => icmp::HEADER_LEN,
            Payload::Raw { .. } => 0,
        };
        ipv4::HEADER_LEN + self.ip_options.len() + l4 + self.data.len()
    }

    const fn proto(&self) -> u8 {
        match self.payload {
            Payload::Udp { .. } => ipv4::UDP,
            Payload::Tcp { .. } => ipv4::TCP,
            Payload::Icmp { .. } => ipv4::ICMP,
            Payload::Raw { proto } => proto,
        }
    }

    /// Writes the packet and returns its length. `None` when `buf` is too short, options are too long or no
    /// multiple of 4, or the packet would exceed 65535 octets.
    #[must_use]
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let options = self.ip_options.len();
        if options > 40 || !options.is_multiple_of(4) {
            return None;
        }
        if let Some((dst, src)) = self.ethernet {
            ethernet::write_header(buf, dst, src, self.tags, ethernet::IPV4)?;
        }
        let total_len = u16::try_from(self.ip_len()).ok()?;
        let l3 = buf
            .get_mut(self.ether_len()..)?
            .get_mut(..usize::from(total_len))?;
        let header_len = ipv4::HEADER_LEN + options;
        copy(l3.get_mut(..4)?, &[0x40 | (header_len / 4) as u8, self.tos, 0, 0])?;
        copy(l3.get_mut(2..4)?, &total_len.to_be_bytes())?;
        copy(l3.get_mut(ipv4::HEADER_LEN..header_len)?, self.ip_options)?;
        let mut ip = Ipv4Mut::new_checked(l3).ok()?;
        ip.set_id(self.id);
        ip.set_fragment(self.dont_fragment, self.more_fragments, self.offset);
        ip.set_ttl(self.ttl);
        ip.set_protocol(self.proto());
        ip.set_src(self.src);
        ip.set_dst(self.dst);
        ip.fill_checksum();
        self.write_l4(ip.payload_mut())?;
        Some(self.len())
    }

    /// Writes the L4 header and the data into the room behind the IPv4 header.
    fn write_l4(&self, l4: &mut [u8]) -> Option<()> {
        let len = u16::try_from(l4.len()).ok()?;
        let data_at = l4.len().checked_sub(self.data.len())?;
        copy(l4.get_mut(data_at..)?, self.data)?;
        match self.payload {
            Payload::Udp {
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
                    let sum = pseudo_v4(self.src, self.dst, ipv4::UDP, len)
                        .slice(l4)
                        .finish_udp();
                    copy(l4.get_mut(6..8)?, &sum.to_be_bytes())?;
                }
            }
            Payload::Tcp {
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
                let sum = pseudo_v4(self.src, self.dst, ipv4::TCP, len).slice(l4).finish();
                copy(l4.get_mut(16..18)?, &sum.to_be_bytes())?;
            }
            Payload::Icmp {
                icmp_type,
                code,
                word,
            } => {
                let head = l4.first_chunk_mut::<{ icmp::HEADER_LEN }>()?;
                [head[0], head[1], head[2], head[3]] = [icmp_type, code, 0, 0];
                [head[4], head[5], head[6], head[7]] = word.to_be_bytes();
                let sum = checksum(l4);
                copy(l4.get_mut(2..4)?, &sum.to_be_bytes())?;
            }
            Payload::Raw { .. } => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
